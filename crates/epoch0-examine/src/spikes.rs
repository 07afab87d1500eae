//! Spikes: how often the neurons of a spiking network fire, where they are silent, and what that saves.
//!
//! # Idea
//! Over few time steps spikes die out from layer to layer: neurons of which each needs several spikes to fire pass on fewer
//! than they get, and a layer that never fires passes nothing on, and nothing back. Where neurons do fire, each spike is an
//! addition in the place of a multiplication, and the fewer there are the less energy an answer takes.
//!
//! # Method
//! The network is run on the examples. For each layer: the share of time steps and examples at which a neuron fires, as the
//! mean over neurons, and the share of neurons that never do. Energy by Horowitz's numbers for 45 nm: 4.6 pJ for a
//! multiplication with an addition, 0.9 pJ for an addition. The network of rectifiers has a multiplication for each use of a
//! weight. The spiking one has them in maps that read the input itself, once for all time steps, and elsewhere additions:
//! steps · mean of what the map reads · uses of its weights.
//!
//! # Shapes
//! Networks with `spiking=T`; of others a note says that they have no neurons that spike.
//!
//! # Cost
//! One run over all time steps.
//!
//! # Departures
//! Energy counts maps alone: what neurons, sums, means and memory take is left out, for both networks. Spikes that were
//! averaged over windows count as their mean.
//!
//! # Traps
//! - Inputs drawn at random fire other neurons than data do: give `--data`.
//! - A rate is that of the examples' time steps; a layer that fires at the last step alone counts as little.
//!
//! # Example
//! ```
//! assert!(epoch0_examine::find("spikes").is_ok());
//! ```
//!
//! # References
//! - [chowdhury2021one] Section 4

use std::collections::HashSet;

use epoch0_engine::{Mode, Value as Found, run};
use epoch0_method::reading::{Bound, Cell, Column, Finding, Health, Kind, Place, Quantity, Severity, Table};
use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{Network, Op, Spiking, ValueId};
use epoch0_train::{Firing, firing};

use crate::shared::show::{not_finite, percent};
use crate::{Error, Examiner, Reading, Subject, Watch};

/// Picojoules of a multiplication with an addition, in 32-bit floating point at 45 nm.
const MULTIPLICATION: f64 = 4.6;
/// Picojoules of an addition.
const ADDITION: f64 = 0.9;

/// Parameters of the examination: none.
#[derive(Clone, Debug, Params)]
pub struct Spikes {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "spikes",
    aliases: &["spike_rates"],
    family: Family::Examine,
    papers: &["chowdhury2021one"],
    source: include_str!("spikes.rs"),
    params: Spikes::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, MethodError> {
    Ok(Box::new(Spikes::from_values(INFO.id, values)?))
}

/// Picojoules of an example.
struct Energy {
    spiking: f64,
    rectifiers: f64,
}

impl Examiner for Spikes {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error> {
        let Subject { network, weights, probe, .. } = *subject;
        watch.reach(0.0)?;
        let mut reading = Reading::new(INFO.id, "Spikes", "");
        if let Some(finding) = not_finite(subject) {
            reading.findings.push(finding);
            watch.reach(1.0)?;
            return Ok(reading);
        }
        let Some(steps) = network.spiking_steps() else {
            let what = "The network has no neurons that spike.";
            reading.findings.push(Finding::new("no_neurons", Severity::Note, Health::Healthy, what));
            watch.reach(1.0)?;
            return Ok(reading);
        };
        let layers = firing(network, weights, &probe.inputs)?;
        watch.reach(0.5)?;
        let energy = energy(subject, steps)?;
        let rate = layers.iter().map(Firing::mean).sum::<f64>() / layers.len().max(1) as f64;
        let last = layers.last().map_or(f64::NAN, Firing::mean);
        reading.summary = format!(
            "{} layers of neurons over {steps} time {}, on {} examples.",
            layers.len(),
            if steps == 1 { "step" } else { "steps" },
            probe.len()
        );
        reading.findings = findings(&layers, steps);
        reading.quantities = vec![
            Quantity::new("rate", "mean rate of the layers", rate, "share"),
            Quantity::new("last_rate", "rate of the last layer", last, "share"),
            Quantity::new("energy", "energy of an answer", energy.spiking * 1e-3, "nJ").help(
                "Maps alone, at 45 nm: 4.6 pJ for a multiplication with an addition, 0.9 pJ for an addition.",
            ),
            Quantity::new("energy_rectifiers", "the same of rectifiers", energy.rectifiers * 1e-3, "nJ"),
        ];
        if energy.spiking > 0.0 {
            let ratio = energy.rectifiers / energy.spiking;
            reading.quantities.push(
                Quantity::new("saving", "times less", ratio, "")
                    .help("Energy of rectifiers over that of spikes."),
            );
        }
        reading.tables.push(table(subject, &layers));
        watch.reach(1.0)?;
        Ok(reading)
    }
}

fn findings(layers: &[Firing], steps: usize) -> Vec<Finding> {
    let dead: Vec<&Firing> = layers.iter().filter(|layer| layer.silent() == 1.0).collect();
    if let Some(first) = dead.first() {
        let help = if steps == 1 {
            "Begin with a network of more time steps that was trained: `epoch0 init NET,spiking=1 --from NET,spiking=2 --with iir_snn`."
        } else {
            "Find thresholds on data (`epoch0 init … --with iir_snn --data …`), with a lower `percentile` or `scaling`, or take more time steps."
        };
        let what = format!("{} of {} layers never fire.", dead.len(), layers.len());
        return vec![
            Finding::new("dead_layers", Severity::Bad, Health::Dead, what)
                .at(Place::new(&first.name))
                .measured(dead.len() as f64, "layers", Some(Bound::AtMost(0.0)))
                .reason("A layer without spikes passes nothing on; behind it all examples look the same.")
                .help(help),
        ];
    }
    let sparse = layers.iter().find(|layer| layer.silent() > 0.5);
    vec![match sparse {
        Some(layer) => {
            let what = format!(
                "{} of the neurons of {} never fire on these examples.",
                percent(layer.silent()),
                layer.name
            );
            Finding::new("dead_layers", Severity::Note, Health::Healthy, what)
        }
        None => Finding::new("dead_layers", Severity::Ok, Health::Healthy, "Every layer fires."),
    }]
}

/// Values that hold spikes, or what was made of them.
fn behind_neurons(network: &Network) -> HashSet<ValueId> {
    let mut found = HashSet::new();
    for node in network.nodes() {
        let fires = matches!(node.op, Op::Spiking { by: Spiking::Fire { .. }, .. });
        if fires || node.inputs.iter().any(|input| found.contains(input)) {
            found.extend(&node.outputs);
        }
    }
    found
}

fn energy(subject: &Subject<'_>, steps: usize) -> Result<Energy, Error> {
    let Subject { network, weights, probe, .. } = *subject;
    let spikes = behind_neurons(network);
    let mut energy = Energy { spiking: 0.0, rectifiers: 0.0 };
    run(network, &weights.constants(), &probe.inputs, Mode::Eval, &mut |done| {
        let Some(Found::Real(read)) = done.inputs.first() else { return Ok(()) };
        // At one time step.
        let uses = network.multiply_adds_of(done.node, None).unwrap_or(0) as f64;
        energy.rectifiers += MULTIPLICATION * uses;
        energy.spiking += if spikes.contains(&done.node.inputs[0]) {
            let values = read.value().to_f64();
            let rate = values.iter().map(|spike| spike.abs()).sum::<f64>() / values.len().max(1) as f64;
            ADDITION * rate * steps as f64 * uses
        } else {
            MULTIPLICATION * uses
        };
        Ok(())
    })?;
    Ok(energy)
}

fn table(subject: &Subject<'_>, layers: &[Firing]) -> Table {
    let Subject { network, weights, .. } = *subject;
    let mut table = Table::new(
        "layers",
        "Layers of neurons",
        [
            Column::new("layer", "layer", Kind::Text).help("The map before the neurons."),
            Column::new("neurons", "neurons", Kind::Integer),
            Column::new("rate", "rate", Kind::Share)
                .help("Share of time steps and examples at which a neuron fires."),
            Column::new("silent", "silent", Kind::Share).help("Neurons that never fire."),
            Column::new("threshold", "threshold", Kind::Real),
            Column::new("leak", "leak", Kind::Real),
        ],
    );
    for (layer, (threshold, leak)) in layers.iter().zip(network.neurons()) {
        let number = |param| weights.get(param).map_or(Cell::Missing, |value| Cell::Real(value.item()));
        table.push([
            Cell::Text(layer.name.clone()),
            Cell::Integer(layer.rates.len() as i64),
            Cell::Real(layer.mean()),
            Cell::Real(layer.silent()),
            number(threshold),
            number(leak),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Batch, Device, Elements, Precision, Tensor, Weights};
    use epoch0_net::zoo;

    use super::*;
    use crate::Probe;

    /// Two neurons of which the first fires at two of four steps, and the second never, before three others.
    fn examined(threshold: f64) -> Reading {
        let network = zoo::build("mlp:1-2-3-1,bias=false,spiking=4").unwrap();
        let weights =
            Weights::read::<epoch0_engine::Error>(&network, Precision::Double, &Device::cpu(), |_, param| {
                Ok(Elements::Double(match param.name.as_str() {
                    "0.weight" => vec![1.0, -1.0],
                    "2.threshold" => vec![threshold],
                    _ => vec![1.0; param.len()],
                }))
            });
        let mut probe = Probe::matched(&network, 2, 0, Precision::Double, &Device::cpu()).unwrap();
        let input = Tensor::from_f64(vec![0.75, 0.75], &[2, 1], Precision::Double, &Device::cpu());
        probe.batch = Batch::from(vec![Found::constant(input)]);
        let weights = weights.unwrap();
        let subject = Subject { network: &network, weights: &weights, probe: &probe, seed: 0 };
        Spikes {}.examine(&subject, Watch::default()).unwrap()
    }

    #[test]
    fn energy_is_that_of_spikes_and_of_the_first_map() {
        // Potentials of the first neuron: 0.75, 1.5, 1.25, 1: it fires at the second and the third step.
        let reading = examined(0.5);
        let at = |name: &str| reading.quantity(name).unwrap();
        let second = at("last_rate");
        assert!((at("rate") - f64::midpoint(0.25, second)).abs() < 1e-12);
        assert!((at("energy_rectifiers") - 4.6e-3 * (2.0 + 6.0 + 3.0)).abs() < 1e-12);
        let wanted = 1e-3 * (4.6 * 2.0 + 0.9 * 4.0 * (0.25 * 6.0 + second * 3.0));
        assert!((at("energy") - wanted).abs() < 1e-12, "{} is not {wanted}", at("energy"));
        assert!((at("saving") - at("energy_rectifiers") / at("energy")).abs() < 1e-12);
        // Potentials of the second layer: 0, 1, 1.5, 1 over a threshold of a half: it fires at the last three.
        assert!((second - 0.75).abs() < 1e-12, "{second}");
        assert_eq!(reading.findings[0].severity, Severity::Ok);
    }

    #[test]
    fn dead_layers_are_found() {
        let reading = examined(100.0);
        let finding = &reading.findings[0];
        assert_eq!((finding.name.as_str(), finding.health), ("dead_layers", Health::Dead));
        assert_eq!(reading.quantity("last_rate"), Some(0.0));
    }
}

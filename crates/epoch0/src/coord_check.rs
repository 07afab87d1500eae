//! Whether features move alike at every width: a network at several widths, trained for a few steps (Yang, Simon and
//! Bernstein 2023, "A Spectral Condition for Feature Learning", Condition 1).

use epoch0_data::Dataset;
use epoch0_engine::{Device, Precision, Run};
use epoch0_examine::Probe;
use epoch0_init::start::Recipe;
use epoch0_method::reading::{
    Axis, Bound, Cell, Column, Examination, Figure, Finding, Health, Kind, Place, Reading, Severity, Shape,
    Table,
};
use epoch0_num::stats::slope;
use epoch0_train::{FewSteps, Moved, Optimizer, beside, movement};

use crate::follow::versions;
use crate::{Calibrating, Described, Error, Widths, data_probe, start_training, summary};

/// How features are followed over widths.
#[derive(Clone, Copy, Debug)]
pub struct CoordCheck<'a> {
    /// The widths, at least three.
    pub widths: &'a [usize],
    /// Seeds of the starts.
    pub seeds: u64,
    /// Steps of training, all on one batch.
    pub steps: u64,
    /// Examples of the batch.
    pub batch: usize,
    /// How gradients change weights.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub learning_rate: f64,
    /// How far from 0 a slope may be; that of logits, which start as 1 / √width, by 0.5 less.
    pub tolerance: f64,
}

/// Layers that a figure shows at most.
const LINES: usize = 8;

/// Slopes of one layer: of the logarithm of each number over the logarithm of the width.
struct Layer {
    name: String,
    depth: usize,
    answers: bool,
    /// Mean over seeds of how far features moved, by width.
    moved: Vec<f64>,
    features: f64,
    features_moved: f64,
    norm: f64,
    norm_moved: f64,
}

/// Trains the starts that `recipe` gives at each width, and says whether features move alike: on `data`, or on inputs that
/// match the network.
///
/// # Errors
/// When a network cannot be built, drawn or run, or its training diverges.
pub fn coord_check(
    open: &Widths,
    recipe: &(dyn Fn(&Described) -> Result<Recipe, Error> + Sync),
    start: &str,
    data: Option<(&str, &Dataset)>,
    how: &CoordCheck<'_>,
    progress: &(dyn Fn() + Sync),
) -> Result<Examination, Error> {
    let mut widths = how.widths.to_vec();
    widths.sort_unstable();
    widths.dedup();
    if widths.len() < 3 {
        let why = format!("found {} different ones, and a slope needs at least three", widths.len());
        return Err(Error::Width { given: open.name().to_owned(), why });
    }
    let nets = widths.iter().map(|&width| open.at(width)).collect::<Result<Vec<_>, _>>()?;
    let seeds = how.seeds.max(1);
    let found = beside(nets.len() * seeds as usize, |job| {
        let (described, seed) = (&nets[job / seeds as usize], job as u64 % seeds);
        let on = Calibrating { data, examples: None };
        let device = Device::cpu();
        let (start, _) = start_training(described, &recipe(described)?, seed, &on, &how.optimizer, &device)?;
        let net = &described.net;
        let probe = match data {
            Some((_, data)) => {
                data_probe(net, &start.weights, data, Some(how.batch), seed, Precision::Single, &device)?
            }
            None => Probe::matched(net, how.batch, seed, Precision::Single, &device)?,
        };
        let loss = |run: &Run| {
            let sum = probe.total_loss(probe.answers(run)?, seed)?;
            Ok::<_, Error>(sum.scale(1.0 / probe.len() as f64))
        };
        let plan = FewSteps {
            steps: how.steps,
            optimizer: how.optimizer,
            learning_rate: how.learning_rate,
            inputs: &probe.inputs,
            loss: &loss,
        };
        let moved = movement(net, start, &plan)?;
        progress();
        Ok::<_, Error>((moved, probe.summary))
    })?;
    let by_width: Vec<Vec<&[Moved]>> = found
        .chunks(seeds as usize)
        .map(|seeds| seeds.iter().map(|(moved, _)| &moved[..]).collect())
        .collect();
    let layers = layers(&widths, &by_width);
    let reading = read(&layers, &widths, how);
    let widest = &nets[nets.len() - 1].net;
    let mut network = summary(widest, start);
    open.name().clone_into(&mut network.name);
    Ok(Examination::new(network, found[0].1.clone(), 0, vec![reading], versions()))
}

fn layers(widths: &[usize], by_width: &[Vec<&[Moved]>]) -> Vec<Layer> {
    let logs: Vec<f64> = widths.iter().map(|&width| (width as f64).ln()).collect();
    let n_layers = by_width.iter().flatten().map(|moved| moved.len()).min().unwrap_or(0);
    let layer = |at: usize| {
        let by = |of: fn(&Moved) -> f64| -> Vec<f64> {
            let mean = |seeds: &Vec<&[Moved]>| {
                seeds.iter().map(|moved| of(&moved[at]).ln()).sum::<f64>() / seeds.len() as f64
            };
            by_width.iter().map(mean).collect()
        };
        let moved = by(|layer| layer.features_moved);
        let first = &by_width[0][0][at];
        Layer {
            name: first.layer.clone(),
            depth: first.depth,
            answers: first.answers,
            features: slope(&logs, &by(|layer| layer.features)),
            features_moved: slope(&logs, &moved),
            norm: slope(&logs, &by(|layer| layer.norm)),
            norm_moved: slope(&logs, &by(|layer| layer.norm_moved)),
            moved: moved.into_iter().map(f64::exp).collect(),
        }
    };
    (0..n_layers).map(layer).collect()
}

fn read(layers: &[Layer], widths: &[usize], how: &CoordCheck<'_>) -> Reading {
    let summary = format!(
        "How far the features of each layer move in {} steps on one batch of {}, at widths {} to {}: slopes of logarithms \
         over logarithms.",
        how.steps,
        how.batch,
        widths[0],
        widths[widths.len() - 1]
    );
    let mut reading = Reading::new("coord_check", "Features over widths", summary);
    reading.findings = findings(layers, how);
    let mut figure = Figure::new(
        "features_moved",
        "How far features move",
        words(layers),
        Axis::new("width").log(),
        Axis::new("root mean square of the change").log(),
    );
    let x: Vec<f64> = widths.iter().map(|&width| width as f64).collect();
    let mut drawn: Vec<&Layer> = layers.iter().collect();
    if drawn.len() > LINES {
        drawn.sort_by(|a, b| b.features_moved.abs().total_cmp(&a.features_moved.abs()));
        drawn.truncate(LINES);
        figure.note = format!("The {LINES} steepest of {} layers.", layers.len());
    }
    for layer in drawn {
        figure = figure.with(&layer.name, Shape::Line { x: x.clone(), y: layer.moved.clone() });
    }
    reading.figures.push(figure);
    let real = |name: &str, label: &str, help: &str| Column::new(name, label, Kind::Real).help(help);
    let mut table = Table::new(
        "slopes",
        "Slopes over the width",
        [
            Column::new("layer", "layer", Kind::Text),
            real("features_moved", "features' change", "Alike at every width where it is 0."),
            real("features", "features", "Their size at the start."),
            real("norm", "weight", "Spectral norm at the start over √(fan_out / fan_in)."),
            real("norm_moved", "weight's change", "The same of the change."),
        ],
    );
    for layer in layers {
        let number = |value: f64| if value.is_finite() { Cell::from(value) } else { Cell::Missing };
        table.push([
            layer.name.as_str().into(),
            number(layer.features_moved),
            number(layer.features),
            number(layer.norm),
            number(layer.norm_moved),
        ]);
    }
    reading.tables.push(table);
    reading
}

fn words(layers: &[Layer]) -> String {
    let steepest = layers.iter().max_by(|a, b| a.features_moved.abs().total_cmp(&b.features_moved.abs()));
    steepest.map_or_else(String::new, |layer| {
        format!("The steepest line is that of {}, with a slope of {:.3}.", layer.name, layer.features_moved)
    })
}

fn findings(layers: &[Layer], how: &CoordCheck<'_>) -> Vec<Finding> {
    const REASON: &str = "Features learn at every width if and only if the spectral norms of weights and of their changes go \
                          as √(fan_out / fan_in) (Yang, Simon and Bernstein 2023, Condition 1).";
    // The change of logits has a part that the start of the readout makes, which falls as 1 / √width.
    let bound = |layer: &Layer| {
        let low = if layer.answers { -0.5 - how.tolerance } else { -how.tolerance };
        Bound::Within((low, how.tolerance))
    };
    let mut failing: Vec<&Layer> =
        layers.iter().filter(|layer| !bound(layer).allows(layer.features_moved)).collect();
    // The steepest is the verdict; NaN is steeper than any.
    failing.sort_by(|a, b| b.features_moved.abs().total_cmp(&a.features_moved.abs()));
    if failing.is_empty() {
        let hidden = layers.iter().filter(|layer| !layer.answers);
        let worst = hidden.map(|layer| layer.features_moved.abs()).fold(0.0, f64::max);
        let what = format!(
            "Features move alike at every width: no slope of a hidden layer is steeper than {worst:.3}."
        );
        let fine = Finding::new("features_moved", Severity::Ok, Health::Healthy, what);
        return vec![fine.measured(worst, "", Some(Bound::AtMost(how.tolerance))).reason(REASON)];
    }
    let found = failing.iter().map(|layer| {
        let slope = layer.features_moved;
        let (health, verb) = match slope {
            slope if slope.is_nan() => (Health::Broken, "do not move at all at some width"),
            slope if slope > 0.0 => (Health::Uneven, "move the further the wider the network is"),
            _ => (Health::Uneven, "move the less the wider the network is"),
        };
        let is_off = |slope: f64| slope.abs() > how.tolerance;
        let help = if is_off(layer.norm_moved) {
            "Its learning rate does not go with the width: take the factors of `--with mup`."
        } else if is_off(layer.norm) {
            "Its start does not go with the width: `--with mup`."
        } else {
            "Its own weight starts and moves as it should: look at the layers before it, and for steps that are too large."
        };
        let what = format!("Features of {} {verb}: their change goes as width^{slope:.3}.", layer.name);
        Finding::new("features_moved", Severity::Bad, health, what)
            .at(Place::new(&layer.name).depth(layer.depth))
            .measured(slope, "", Some(bound(layer)))
            .reason(REASON)
            .help(help)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use epoch0_train::Sgd;

    use super::*;

    fn check(with: &str) -> Examination {
        let open = Widths::open("mlp:32-{w}-{w}-4").unwrap();
        let how = CoordCheck {
            widths: &[32, 64, 128, 256],
            seeds: 4,
            steps: 3,
            batch: 32,
            optimizer: Optimizer::Sgd(Sgd::default()),
            learning_rate: 1e-3,
            tolerance: 0.15,
        };
        coord_check(&open, &|described| Ok(described.recipe_with(with)), with, None, &how, &|| {}).unwrap()
    }

    #[test]
    fn one_rate_for_all_moves_wide_networks_further() {
        assert!(check("mup").is_healthy(), "{:?}", check("mup").verdict);
        let standard = check("he_normal");
        assert_eq!(standard.health, Health::Uneven);
        assert!(standard.verdict.unwrap().measured.unwrap() > 0.3);
    }
}

//! Pseudo-NTK: the tangent kernel of the sum of a network's outputs, close to that of each output at a wide start.
//!
//! # Idea
//! The neural tangent kernel says how a step on one example moves the outputs at another: its largest eigenvalue bounds
//! the learning rate, its condition how long the slowest direction takes, its effective rank how many directions learn at
//! all. With O outputs it has O² numbers for each pair of examples. At a start with a wide linear readout of random
//! weights it is close to one number times the identity, and that number is had from a single backward pass. Take it
//! before training, to compare starts; after training it may be far off.
//!
//! # Method
//! With the Jacobian `J(x)` of the outputs by all parameters, `Θ(x, x') = J(x) J(x')ᵀ` is O × O. The kernel here is
//! `K(x, x') = 1ᵀ Θ(x, x') 1 / O = ⟨∇s(x), ∇s(x')⟩` with `s = Σ_o f_o / √O`. For a readout of width n with weights
//! N(0, σ²/n), `‖Θ − K I‖ / ‖Θ‖` and the relative difference of the largest eigenvalues are `O(1/√n)`.
//!
//! Readings are, of K, `lambda_max`, `condition`, `effective_rank` (exponential of the spectrum's entropy), `participation`
//! (`(Σλ)²/Σλ²`) and `learning_rate_limit`, the rate `2 n / λ_max` from which on gradient descent on `Σ ‖f − y‖² / (2 n)`
//! of n examples diverges; on the first `compare` examples, against the full kernel, `error`, `error_of_lambda_max`,
//! `error_of_single` (the first output's kernel in place of K) and `error_of_trace` (the outputs' mean kernel); and
//! `linear_readout`, 1 where the theorem's readout is there and 0 where nothing is promised.
//!
//! # Shapes
//! Any network with an output of real numbers whose first dimension is the examples. Outputs are the elements of the
//! first one: logits of classes, or of words at each position. Batch normalization uses the statistics of the
//! inputs, held fast.
//!
//! # Cost
//! A forward and a backward pass, and inner products of gradients that are not formed: for a linear map
//! `(H Hᵀ) ∘ (Δ Δᵀ)`. Eigenvalues take n³. The full kernel takes a backward pass for each output.
//!
//! # Departures
//! Without weights the start is drawn here: by the laws of the network's source where it has such, otherwise normal with
//! variance 2/fan_in, and 1/fan_in for the readout, biases zero, norms the identity. Without data the inputs are normal,
//! or words by equal chance. Both in double precision, as the smallest eigenvalues need it.
//!
//! # Traps
//! - The kernel of a single output has the same rate: what the sum adds is that it does not depend on which output.
//! - Without `1/√O` every number is O times too large.
//! - Kernel regression has to start from the network's own outputs: `f(x) = f₀(x) + K(x, X) K⁻¹ (Y − f₀(X))`.
//! - The theorem is about starts: training makes the readout's rows depend on each other; see the claims.
//!
//! # Example
//! ```
//! let pntk = epoch0_examine::find("pntk").unwrap();
//! assert_eq!(pntk.info.papers, ["mohamadi2022fast"]);
//! ```
//!
//! # References
//! - [mohamadi2022fast]

mod claims;

use epoch0_engine::kernel::Gram;
use epoch0_engine::taps::Taps;
use epoch0_engine::{Batch, Mode, Parameters, Value, ntk};
use epoch0_method::reading::{Finding, Health, Quantity, Reading, Severity};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::Network;

use crate::shared::inputs::settled;
use crate::shared::kernel::{heatmap, label_alignment, spectrum_figure};
use crate::shared::show::broken;
use crate::{Examiner, Subject, Watch};

/// Parameters of the kernel.
#[derive(Clone, Debug, Params)]
pub struct Pntk {
    /// Examples whose kernel is computed, where none are given.
    #[param(default = 64, range = "[2, 5000]")]
    pub examples: u32,
    /// How many of them the full kernel is computed of, to compare with, fewer where it would be too large; 0 leaves it out.
    #[param(default = 8, range = "[0, 1000]")]
    pub compare: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "pntk",
    aliases: &["pseudo_ntk"],
    family: Family::Examine,
    papers: &["mohamadi2022fast"],
    source: include_str!("mod.rs"),
    params: Pntk::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, Error> {
    Ok(Box::new(Pntk::from_values(INFO.id, values)?))
}

impl Examiner for Pntk {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, crate::Error> {
        watch.reach(0.0)?;
        let Subject { network, weights, .. } = *subject;
        let probe = subject.probe.first(network, self.examples as usize);
        let params = settled(network, weights, &probe.inputs)?.leaves(network);
        // A network that is bound to a number of examples has no kernel of fewer.
        let compare = if Batch::bound(network).is_some() { 0 } else { self.compare };
        let pntk = Self { compare, ..self.clone() };
        let reading = pntk.read(network, &params, &probe.inputs, probe.labels.as_deref())?;
        watch.reach(1.0)?;
        Ok(reading)
    }
}

impl Pntk {
    /// Reads the kernel of a network with given parameters (those that are tracked count) on given inputs, with a class
    /// for each example where there are some.
    ///
    /// # Errors
    /// When the network cannot be run, or the examples of a batch depend on each other.
    pub fn read(
        &self,
        net: &Network,
        params: &Parameters,
        inputs: &[Value],
        labels: Option<&[i64]>,
    ) -> Result<Reading, Error> {
        let taps = Taps::record(net, params, inputs, Mode::Eval).map_err(|error| failed(&error))?;
        let kernel = ntk::pseudo(&taps, None).map_err(|error| failed(&error))?;
        let examples = taps.examples();
        let mut reading = Reading::new(
            INFO.id,
            "Pseudo-NTK",
            format!("The kernel of the normalized sum of outputs, on {examples} examples."),
        );
        if kernel.values().iter().any(|value| !value.is_finite()) {
            reading.findings.push(broken("The kernel is not finite."));
            return Ok(reading);
        }
        let spectrum = kernel.spectrum().map_err(|error| failed(&error))?;
        let mut say = |name: &str, label: &str, value: f64, help: &str| {
            // Distances of a kernel that is zero are none.
            if !value.is_nan() {
                reading.quantities.push(Quantity::new(name, label, value, "").help(help));
            }
        };
        say("trace", "trace of the kernel", kernel.trace(), "");
        say("lambda_max", "largest eigenvalue", spectrum.max(), "");
        say(
            "condition",
            "condition number",
            spectrum.condition(),
            "Directions of small eigenvalues are learned last.",
        );
        say("effective_rank", "effective rank", spectrum.effective_rank(), "exp of the spectrum's entropy.");
        say("participation", "participation of eigenvalues", spectrum.participation(), "(Σλ)² / Σλ².");
        say(
            "learning_rate_limit",
            "learning rate from which gradient descent on squares diverges",
            spectrum.learning_rate_limit(examples),
            "2 N / λ_max for the mean over examples.",
        );
        if let Some(labels) = labels.filter(|labels| labels.len() == examples) {
            say(
                "alignment",
                "alignment with the labels",
                label_alignment(&kernel, labels),
                "Cosine of the centred kernel and that of the classes.",
            );
        }
        // As many as have a full kernel that is not too large.
        let outputs = taps.output().map_err(|error| failed(&error))?.value().len() / examples.max(1);
        let compare = (self.compare as usize).min(examples).min(ntk::LIMIT / outputs.max(1));
        if compare > 0 {
            let first = Batch::from(inputs.to_vec()).part(net, &(0..compare)).inputs;
            let taps = Taps::record(net, params, &first, Mode::Eval).map_err(|error| failed(&error))?;
            let of = |kernel: Result<Gram, epoch0_engine::Error>| kernel.map_err(|error| failed(&error));
            let full = of(ntk::full(&taps, None))?;
            let pseudo = of(ntk::pseudo(&taps, None))?;
            say("error", "relative distance of the full kernel", distance(&full, &pseudo), "");
            let (top, other) = (full.spectrum(), pseudo.spectrum());
            let (top, other) = (top.map_err(|error| failed(&error))?, other.map_err(|error| failed(&error))?);
            let error = (top.max() - other.max()).abs() / top.max();
            say("error_of_lambda_max", "relative distance of its largest eigenvalue", error, "");
            let single = distance(&full, &of(ntk::single(&taps, None, 0))?);
            say("error_of_single", "relative distance of a single output's kernel", single, "");
            let trace = distance(&full, &of(ntk::trace(&taps, None))?);
            say("error_of_trace", "relative distance of the mean of the outputs' kernels", trace, "");
        }
        let is_linear = ntk::readout(net).is_some();
        say("linear_readout", "whether the answer is a linear map", f64::from(u8::from(is_linear)), "");
        if !is_linear {
            reading.findings.push(
                Finding::new("linear_readout", Severity::Note, Health::Healthy, "The network's answer is no linear map.")
                    .reason("The theorem that the sum of outputs stands for all of them is about random linear readouts."),
            );
        }
        reading.figures = vec![spectrum_figure(spectrum.values()), heatmap(&kernel)];
        Ok(reading)
    }
}

/// `‖Θ − K ⊗ I‖ / ‖Θ‖` of a full kernel and one of as many examples, in Frobenius norms.
pub fn distance(full: &Gram, kernel: &Gram) -> f64 {
    let outputs = full.rows() / kernel.rows().max(1);
    let mut sum = 0.0;
    for row in 0..full.rows() {
        for (column, value) in full.row(row).iter().enumerate() {
            let is_same = row % outputs == column % outputs;
            let near = if is_same { kernel.at(row / outputs, column / outputs) } else { 0.0 };
            sum += (value - near).powi(2);
        }
    }
    sum.sqrt() / full.norm()
}

fn failed(error: &epoch0_engine::Error) -> Error {
    epoch0_train::claims::failed(INFO.id, error)
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Device, Precision};
    use epoch0_net::zoo;
    use epoch0_num::Stream;

    use super::*;
    use crate::Probe;

    fn read(net: &Network, pntk: &Pntk) -> Result<Reading, crate::Error> {
        let weights = epoch0_train::claims::draw("pntk", net, &Stream::new(0, "pntk"))?;
        let examples = pntk.examples as usize;
        let probe = Probe::matched(net, examples, 0, Precision::Double, &Device::cpu())?;
        let subject = Subject { network: net, weights: &weights, probe: &probe, seed: 0 };
        pntk.examine(&subject, Watch::default())
    }

    #[test]
    fn networks_of_every_kind_are_read() {
        let pntk = Pntk { examples: 12, compare: 4 };
        for spec in ["mlp:6-32-32-4", "lenet:size=16", "gpt:layers=1,heads=2,embed=8,vocab=5,positions=16"] {
            let net = zoo::build(spec).unwrap();
            let reading = read(&net, &pntk).unwrap();
            let value = |name: &str| reading.quantity(name).unwrap();
            assert!(value("lambda_max") > 0.0, "{spec}");
            assert!(value("condition") >= 1.0, "{spec}");
            assert!(value("effective_rank") <= 12.0 + 1e-9, "{spec}");
            assert_eq!(value("linear_readout"), 1.0, "{spec}");
            assert_eq!(reading, read(&net, &pntk).unwrap(), "{spec}");
        }
    }

    #[test]
    fn an_answer_that_is_no_linear_map_is_told() {
        let mut b = epoch0_net::Builder::new("net", epoch0_net::Source::Built, epoch0_num::Dtype::F32);
        let x = b.input("x", &[None, Some(6)]);
        let y = b.linear(x, "fc", epoch0_net::Linear::new(4));
        let y = b.activation(y, epoch0_num::Activation::Tanh);
        b.output(y, "y");
        let reading = read(&b.finish().unwrap(), &Pntk { examples: 8, compare: 0 }).unwrap();
        assert_eq!(reading.quantity("linear_readout"), Some(0.0));
        assert_eq!(reading.quantity("error"), None);
        assert_eq!(reading.findings.len(), 1);
    }
}

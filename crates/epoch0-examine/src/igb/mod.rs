//! Initial guessing bias: how unevenly an untrained network spreads its answers over the classes, from its architecture.
//!
//! # Idea
//! Once weights are drawn, the logits' averages over the data differ from class to class, and an untrained network may
//! give one class to most inputs though data are balanced and biases 0. Rectifiers, max-pooling and depth cause it; odd
//! activations on centred data do not. It is a property of draws, not of their mean, which is even. Look at it before
//! training a deep plain network, or one that stalls in one class.
//!
//! # Method
//! Over draws a logit's average over the data is Gaussian of variance V, over the data a logit is Gaussian of variance
//! s². All depends on `γ = V/s²`, and `γ = ρ/(1 - ρ)` with the correlation ρ of two independent inputs behind the network,
//! which follows from stage to stage:
//! - linear map: `q = σ_w² m + σ_b²`, `k = σ_w² k' + σ_b²` for second moment m and cross moment k' below; `ρ = k/q`
//! - activation: `m = E[φ(u)²]`, `k = E[φ(u) φ(v)]` with u, v Gaussian of variance q and correlation ρ
//! - max-pool of n: the same for the largest of n; mean-pool of n: `m/n + (1 - 1/n) k` and k
//! - batch norm: `ρ = 0`; layer norm: the units' mean taken away; RMS norm: nothing changes
//!
//! For two classes the share of the first is `G = Φ(√γ Z)` over draws: `E|G - ½| = arctan(√γ)/π`, uniform at γ = 1, and
//! nearly all inputs in one class beyond. The readings are `rho` behind every stage, and of the whole `gamma`,
//! `imbalance = E|G - ½|` for two classes, `beyond_0.9`, the probability that one of two classes gets more than 0.9 of the
//! answers, and `top_share`, the expected share of the class that gets most, for as many classes as the network has.
//!
//! What the start at hand guesses is measured beside: the share of each class, ties split, and `γ` from its logits. Where
//! one class has more than 0.9 of the guesses (or with `remedies`) what takes the bias away is tried, means over the first
//! half of the examples and guesses counted on the second:
//! - `bias`: the mean logit of each class taken from the readout's bias
//! - `center`: inputs less their mean
//! - `shift`: activations less their mean over units and data, `φ(u) − E φ(u)`, written into the biases of the layers that
//!   read them, layer by layer
//!
//! # Shapes
//! Networks that are one chain: linear maps and convolutions, activations, max- and mean-pooling, batch, layer and RMS
//! norms, flattening. What branches is refused, by the name of the operation.
//!
//! # Cost
//! Two-dimensional quadrature for each activation without a closed form, about 10 ms; `draws` sums for `top_share`; a
//! forward pass. Remedies take two more and for `shift` one of up to 16 examples for each layer.
//!
//! # Departures
//! The paper treats MLPs of ReLU and max-pooling by its own recursion; here ρ comes from the covariance of the infinitely
//! wide network, which is the same number and holds for any activation. Positions of a map are taken to be as independent
//! as inputs are. `shift` is exact for linear maps; at the zeros that convolutions pad with it is not. Normalization after
//! the activation, the fourth remedy, is another network, and only named.
//!
//! # Traps
//! - torch's default biases bring a bias of their own, tanh or not: set `sigma_b` (1/√3 with `sigma_w` 1/√3).
//! - Data that are not centred bring ρ = ‖E x‖²/E‖x‖² even into linear networks: about 0.4 for MNIST in [0, 1].
//! - At finite width γ is larger by about 1/width.
//!
//! # Example
//! ```
//! let igb = epoch0_examine::find("initial_guessing_bias").unwrap();
//! assert_eq!(igb.info.id, "igb");
//! ```
//!
//! # References
//! - [francazi2023initial]; the recursion for ReLU is the arc-cosine kernel of order 1

mod claims;
mod measure;
mod remedies;
mod simulate;

pub use remedies::{Remedy, fixed};

use epoch0_method::reading::{Axis, Figure, Finding, Health, Quantity, Reading, Severity, Shape};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{Network, NormKind, Op, Pool, Window};
use epoch0_num::Stream;
use epoch0_num::meanfield::MeanFieldError;
use epoch0_num::meanfield::guessing::{Guess, expected_top_share};
use epoch0_num::meanfield::{Signal, Stage};

use crate::shared::show::broken;
use crate::{Examiner, Subject, Watch};
use measure::{Logits, Measured};

/// Parameters of the prediction.
#[derive(Clone, Debug, Params)]
pub struct Igb {
    /// Standard deviation of weights times √fan_in.
    #[param(default = std::f64::consts::SQRT_2, range = "(0, inf)", symbol = "σ_w")]
    pub sigma_w: f64,
    /// Standard deviation of biases.
    #[param(default = 0.0, range = "[0, inf)", symbol = "σ_b")]
    pub sigma_b: f64,
    /// Mean cosine of two inputs: ‖E x‖² / E‖x‖², 0 for centred data.
    #[param(default = 0.0, range = "[0, 1)")]
    pub input_rho: f64,
    /// Draws of the logits' averages for `top_share`.
    #[param(default = 2000, range = "[2, 1000000]")]
    pub draws: u32,
    /// Whether remedies are tried where nothing is biased, too.
    #[param(default = false)]
    pub remedies: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "igb",
    aliases: &["initial_guessing_bias"],
    family: Family::Examine,
    papers: &["francazi2023initial"],
    source: include_str!("mod.rs"),
    params: Igb::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, Error> {
    Ok(Box::new(Igb::from_values(INFO.id, values)?))
}

impl Examiner for Igb {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, crate::Error> {
        watch.reach(0.0)?;
        let mut reading = Reading::new(INFO.id, "Initial guessing bias", "");
        let predicted = self.predict(subject.network);
        watch.reach(0.3)?;
        let logits = Logits::of(subject, subject.weights, &subject.probe.inputs)?;
        let measured = logits.as_ref().map(|logits| Measured::of(&logits.values, logits.classes));
        watch.reach(0.4)?;
        if measured.as_ref().is_some_and(|measured| !measured.is_finite) {
            "What the untrained network guesses.".clone_into(&mut reading.summary);
            reading.findings.push(broken("Logits are not finite: nothing is guessed."));
            return Ok(reading);
        }
        reading.summary = match (&predicted, &measured) {
            (_, None) => "The network does not choose among classes.".to_owned(),
            (Ok(_), Some(_)) => {
                "What the untrained network guesses, and what is expected of its kind.".to_owned()
            }
            (Err(error), Some(_)) => {
                let why = error.to_string();
                let why =
                    why.split("\nhint: ").next().unwrap_or_default().trim_start_matches("igb: ").to_owned();
                format!("What the untrained network guesses. Nothing is predicted: {why}.")
            }
        };
        if let (Ok(predicted), Some(_)) = (predicted, &measured) {
            reading.quantities.extend(predicted.quantities);
            reading.figures.push(predicted.figure);
        }
        if let (Some(measured), Some(logits)) = (measured, logits) {
            let tried = match measured.is_biased() || self.remedies {
                true => remedies::tried(subject, &logits, watch)?,
                false => Vec::new(),
            };
            reading.quantities.extend(measured.quantities());
            reading.figures.push(measured.figure());
            let before = Measured::of(logits.halves().1, logits.classes);
            reading.findings.push(measured.finding(before.top, &tried));
            if !tried.is_empty() {
                reading.tables.push(remedies::table(&before, &tried));
            }
        }
        if reading.findings.is_empty() {
            let what = "The network does not choose among classes: there is nothing to guess.";
            reading.findings.push(Finding::new("guessing_bias", Severity::Note, Health::Healthy, what));
        }
        watch.reach(1.0)?;
        Ok(reading)
    }
}

/// What the theory says of a network's kind.
#[derive(Debug)]
struct Predicted {
    quantities: Vec<Quantity>,
    figure: Figure,
}

impl Igb {
    fn predict(&self, network: &Network) -> Result<Predicted, Error> {
        let stages = self.stages(network)?;
        let mut signal = Signal::input(self.input_rho).map_err(|error| failed("the input", &error))?;
        let mut rhos = Vec::new();
        for (place, stage) in &stages {
            signal = signal.behind(stage).map_err(|error| failed(place, &error))?;
            rhos.push(signal.rho());
        }
        let gamma = signal.gamma();
        let guess = Guess::new(gamma).map_err(|error| failed("the output", &error))?;
        let mut quantities = vec![
            Quantity::new("gamma", "expected spread of the logits' averages over that of logits", gamma, "")
                .help("In wide networks; 0 is no bias."),
            Quantity::new(
                "imbalance",
                "expected distance of a share of two classes from one half",
                guess.imbalance(),
                "share",
            ),
            Quantity::new(
                "beyond_0.9",
                "starts that guess one of two classes for over 90 %",
                guess.beyond(0.9),
                "share",
            ),
        ];
        if let Some(classes) = classes(network) {
            let stream = Stream::new(0, "igb top share");
            let top = expected_top_share(gamma, classes, self.draws as usize, &stream);
            let top = top.map_err(|error| failed("the output", &error))?.mean;
            quantities.push(Quantity::new(
                "top_share",
                "expected largest share of guesses that one class has",
                top,
                "share",
            ));
        }
        let (x, y) = (Axis::new("operation"), Axis::new("ρ"));
        let alt = format!(
            "What two inputs have in common goes to {:.3} at the output.",
            rhos.last().copied().unwrap_or(0.0)
        );
        let line = Shape::Line { x: (1..=rhos.len()).map(|at| at as f64).collect(), y: rhos };
        let figure = Figure::new("rho", "What independent inputs have in common", alt, x, y)
            .with("predicted cosine", line);
        Ok(Predicted { quantities, figure })
    }

    /// The network as a chain of stages, each with its place.
    fn stages(&self, net: &Network) -> Result<Vec<(String, Stage)>, Error> {
        let [mut value] = *net.inputs() else {
            return Err(unsupported("the network", "it has several inputs"));
        };
        let mut stages = Vec::new();
        for (nth, node) in net.nodes().iter().enumerate() {
            let place = format!("{nth} {}", node.op.name());
            if node.inputs != [value] || node.outputs.len() != 1 {
                return Err(unsupported(&place, "it is not the next of one chain"));
            }
            value = node.outputs[0];
            let linear = |has_bias: bool| Stage::Linear {
                sigma_w: self.sigma_w,
                sigma_b: if has_bias { self.sigma_b } else { 0.0 },
            };
            let positions = |window: &Window| window.kernel.iter().product::<usize>() as u32;
            let stage = match &node.op {
                Op::Linear { bias, .. } | Op::Conv { bias, transposed: false, .. } => linear(bias.is_some()),
                Op::Activation(act) => Stage::Activation(act.clone()),
                Op::Pool(Pool::Max(window) | Pool::MaxCeil(window)) => Stage::MaxPool(positions(window)),
                Op::Pool(Pool::Mean(window)) => Stage::MeanPool(positions(window)),
                Op::Norm { kind: NormKind::Batch, .. } => Stage::BatchNorm,
                Op::Norm { kind: NormKind::Layer | NormKind::LayerChannelsFirst, .. } => Stage::LayerNorm,
                Op::Norm { kind: NormKind::Rms { .. }, .. } => Stage::RmsNorm,
                Op::Flatten | Op::Permute { .. } | Op::SpaceToSequence => continue,
                _ => {
                    return Err(unsupported(
                        &place,
                        "no rule says what it does to what inputs have in common",
                    ));
                }
            };
            stages.push((place, stage));
        }
        Ok(stages)
    }
}

/// Number of logits, where the network ends in a linear map of more than one output.
fn classes(net: &Network) -> Option<usize> {
    let last = net.sites().iter().rev().find(|site| site.role.is_matrix())?;
    Some(last.view.n_out()).filter(|&classes| classes > 1)
}

fn unsupported(place: &str, why: &str) -> Error {
    Error::Unsupported {
        method: INFO.id.to_owned(),
        what: place.to_owned(),
        why: why.to_owned(),
        hint: "the prediction is for one chain of linear maps, activations, pools and norms".to_owned(),
    }
}

fn failed(place: &str, error: &MeanFieldError) -> Error {
    let text = error.to_string();
    unsupported(place, text.split("\nhint: ").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo;

    use super::*;

    fn predict(net: &str, change: impl FnOnce(&mut Igb)) -> Result<Predicted, Error> {
        let mut igb = Igb::from_values("igb", &Values::new()).unwrap();
        change(&mut igb);
        igb.predict(&zoo::build(net).unwrap())
    }

    fn value(predicted: &Predicted, name: &str) -> f64 {
        predicted.quantities.iter().find(|quantity| quantity.name == name).unwrap().value
    }

    #[test]
    fn a_perceptron_is_read_stage_by_stage() {
        let predicted = predict("mlp:784-100-100-100-100-10", |_| ()).unwrap();
        assert!((value(&predicted, "gamma") - 2.134).abs() < 1e-3);
        let Shape::Line { x, .. } = &predicted.figure.series[0].shape else { panic!("a line") };
        assert_eq!(x.len(), 9);
        let top = value(&predicted, "top_share");
        assert!(top > 0.4 && top < 0.9, "{top}");
        let biased = predict("mlp:784-100-10", |igb| (igb.input_rho, igb.sigma_b) = (0.41, 0.5)).unwrap();
        assert!(value(&biased, "gamma") > 0.9);
    }

    #[test]
    fn what_branches_is_refused_by_name() {
        let error = predict("resnet18", |_| ()).unwrap_err().to_string();
        assert!(
            error.starts_with("igb: ") && error.contains("\nhint: the prediction is for one chain"),
            "{error}"
        );
    }
}

//! Gradient noise: how much of each layer's gradient is common to the examples, and the batch size that follows.
//!
//! # Idea
//! A gradient of a batch is the mean gradient plus noise from which examples happen to be in it. Where the noise is larger a
//! batch tells little, and more examples a step are worth their price; where it is smaller they are wasted. The batch at
//! which both are equal is a scale that one can read before training, and layers whose gradients share nothing show where
//! the signal from the loss is lost.
//!
//! # Method
//! With `g_i` the gradient of example i by a parameter and ḡ their mean over n examples:
//! - noise `tr Σ = (Σ‖g_i‖² − n‖ḡ‖²)/(n − 1)`, the trace of the covariance of one example's gradient
//! - signal `‖G‖² = ‖ḡ‖² − tr Σ/n`, without the noise that is left in a mean of n; it may come out below zero
//! - signal to noise `‖G‖²/tr Σ`; its inverse over all parameters is the gradient noise scale (McCandlish et al. 2018): the
//!   batch size at which signal and noise are equal
//! - cosine of two examples' gradients, `(n‖ḡ‖² − Σ‖g_i‖²/n)/((n − 1) Σ‖g_i‖²/n)`: 1 where all are one, 0 where they share
//!   nothing (shattered, Balduzzi et al. 2017)
//!
//! Per-example gradients come from what each weight meets and what comes back to it; they are not formed for matrices.
//!
//! A layer is noted where its signal is below the noise of a mean over all n examples. It is no fault of a start by itself:
//! with random labels there is little to share. Bad is only what is not finite.
//!
//! # Shapes
//! Any network that has a loss and whose examples do not depend on each other. Where there are no labels they are drawn, and
//! the reading says so. Batch normalization uses the statistics of the inputs, held fast.
//!
//! # Cost
//! A forward and a backward pass, and squared norms of gradients by layer.
//!
//! # Departures
//! The noise scale of the paper is followed through training; this is that of the start, where it is smallest.
//!
//! # Traps
//! - With few examples the estimate of a small signal is noise: more than the noise scale's number of examples are needed for
//!   it to be seen. Where it comes out below zero the scale is reported as infinite.
//! - Labels drawn at random leave the signal that pushes all answers to the mean, and nothing else.
//!
//! # Example
//! ```
//! let noise = epoch0_examine::find("noise_scale").unwrap();
//! assert_eq!(noise.info.id, "gradient_noise");
//! ```
//!
//! # References
//! - [mccandlish2018empirical] Eq. 2.9, Appendix A.1
//! - [balduzzi2017shattered]

mod claims;

use epoch0_engine::taps::{Gradients, Taps};
use epoch0_engine::{Loss, Mode, Order, Var, grad};
use epoch0_method::reading::{
    Axis, Bound, Cell, Column, Direction, Figure, Finding, Health, Kind, Pass, Place, Quantity, Reading,
    Severity, Shape, Table,
};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::ParamId;

use crate::shared::inputs::{settled, square, within};
use crate::shared::show::{broken, show};
use crate::{Examiner, Subject, Watch};

/// Real numbers that a run may keep.
const VALUES: usize = 1 << 27;

/// Parameters of the examination.
#[derive(Clone, Debug, Params)]
pub struct GradientNoise {
    /// Examples, fewer where memory asks for it.
    #[param(default = 64, range = "[2, 65536]")]
    pub examples: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "gradient_noise",
    aliases: &["noise_scale", "snr"],
    family: Family::Examine,
    papers: &["mccandlish2018empirical", "balduzzi2017shattered"],
    source: include_str!("mod.rs"),
    params: GradientNoise::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, Error> {
    Ok(Box::new(GradientNoise::from_values(INFO.id, values)?))
}

/// What per-example gradients by a parameter, or by all, have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    examples: f64,
    /// `‖ḡ‖²`.
    mean: f64,
    /// `Σ ‖g_i‖²`.
    squares: f64,
}

impl Noise {
    /// `tr Σ`.
    fn noise(self) -> f64 {
        ((self.squares - self.examples * self.mean) / (self.examples - 1.0)).max(0.0)
    }

    /// `‖G‖²`; may be below zero.
    fn signal(self) -> f64 {
        self.mean - self.noise() / self.examples
    }

    /// `‖G‖² / tr Σ`; infinite without noise, none where all gradients are zero.
    fn ratio(self) -> Option<f64> {
        (self.squares > 0.0)
            .then(|| if self.noise() > 0.0 { self.signal() / self.noise() } else { f64::INFINITY })
    }

    /// Mean cosine of two examples' gradients, each weighted by its norm; none where all are zero.
    fn cosine(self) -> Option<f64> {
        let of_one = self.squares / self.examples;
        (self.squares > 0.0).then(|| (self.examples * self.mean - of_one) / ((self.examples - 1.0) * of_one))
    }

    fn plus(self, other: Self) -> Self {
        Self { examples: self.examples, mean: self.mean + other.mean, squares: self.squares + other.squares }
    }
}

/// A parameter's noise.
struct Row {
    name: String,
    depth: Option<usize>,
    is_matrix: bool,
    noise: Noise,
}

struct Measured {
    loss: Loss,
    has_labels: bool,
    examples: usize,
    rows: Vec<Row>,
    total: Noise,
}

impl Examiner for GradientNoise {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, crate::Error> {
        let measured = self.measure(subject, watch)?;
        let mut reading = Reading::new(INFO.id, "Gradient noise", "");
        let labels = match (measured.loss, measured.has_labels) {
            (Loss::NextWord, _) => "the words that follow",
            (Loss::Classes, true) => "the labels of the data",
            (Loss::Classes, false) => "random labels",
            (Loss::Squares, _) => "standard normal targets",
        };
        reading.summary =
            format!("Gradients of {} examples one by one, against {labels}.", measured.examples);
        if !(measured.total.squares.is_finite() && measured.total.mean.is_finite()) {
            reading.findings.push(broken("Gradients are not finite."));
            return Ok(reading);
        }
        reading.findings = measured.judge();
        reading.quantities = measured.quantities();
        reading.figures = measured.figures();
        reading.tables.push(measured.table());
        Ok(reading)
    }
}

impl GradientNoise {
    fn measure(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Measured, crate::Error> {
        watch.reach(0.0)?;
        let Subject { network, weights, seed, .. } = *subject;
        let probe = within(subject, self.examples as usize, VALUES)?;
        if probe.len() < 2 {
            return Err(crate::Error::Probe {
                what: "examples".to_owned(),
                found: probe.len().to_string(),
                allowed: "at least 2, for what they have in common".to_owned(),
            });
        }
        let params = settled(network, weights, &subject.probe.inputs)?.leaves(network);
        let taps = Taps::record(network, &params, &probe.inputs, Mode::Eval)?;
        watch.reach(0.3)?;
        let answers = taps.outputs().iter().find_map(epoch0_engine::Value::real);
        let answers = answers.ok_or_else(|| crate::Error::Probe {
            what: "outputs of the network".to_owned(),
            found: "none with real numbers".to_owned(),
            allowed: "at least one".to_owned(),
        })?;
        let leaf = Var::leaf(answers.value().clone());
        let cotangent = grad(&probe.total_loss(&leaf, seed)?, &[&leaf], Order::Last).remove(0);
        let gradients = taps.backward(&[(answers, cotangent.value().clone())])?;
        watch.reach(0.6)?;
        let ids: Vec<ParamId> = gradients.params().collect();
        let mut rows = Vec::with_capacity(ids.len());
        for (at, &id) in ids.iter().enumerate() {
            let param = network.param(id);
            rows.push(Row {
                name: param.name.clone(),
                depth: network.sites_of(id).next().map(|site| site.depth),
                is_matrix: param.role.is_matrix(),
                noise: noise(&gradients, id),
            });
            watch.reach(0.6 + 0.4 * (at + 1) as f64 / ids.len() as f64)?;
        }
        let zero = Noise { examples: probe.len() as f64, ..Noise::default() };
        Ok(Measured {
            loss: probe.loss_of(answers),
            has_labels: probe.labels.is_some(),
            examples: probe.len(),
            total: rows.iter().fold(zero, |total, row| total.plus(row.noise)),
            rows,
        })
    }
}

fn noise(gradients: &Gradients, id: ParamId) -> Noise {
    let n = gradients.examples() as f64;
    Noise {
        examples: n,
        mean: square(&gradients.sum(id).to_f64()) / (n * n),
        squares: gradients.squared_norms(|param| param == id).iter().sum(),
    }
}

impl Measured {
    /// Matrices in the order of depth, with what they have in common.
    fn layers(&self) -> Vec<(&Row, usize)> {
        let mut layers: Vec<_> =
            self.rows.iter().filter(|row| row.is_matrix).filter_map(|row| Some((row, row.depth?))).collect();
        layers.sort_by_key(|(_, depth)| *depth);
        layers
    }

    fn judge(&self) -> Vec<Finding> {
        let n = self.examples as f64;
        let reason = "The mean over a batch of B examples has noise of tr Σ/B: below 1/B the signal is smaller than that \
                      (McCandlish et al. 2018).";
        if self.total.squares == 0.0 {
            let what = "No gradient reaches any parameter.";
            return vec![
                Finding::new("gradient_noise", Severity::Bad, Health::Vanishing, what)
                    .measured(0.0, "", Some(Bound::AtLeast(f64::MIN_POSITIVE)))
                    .reason("Gradient descent stands still without a gradient.")
                    .help("Draw the weights: `epoch0 init`; leave at most the readout at zero."),
            ];
        }
        let bound = Bound::AtLeast(1.0 / n);
        // From the loss backwards, as the signal goes.
        let lost = self.layers().into_iter().rev().find_map(|(row, depth)| {
            let ratio = row.noise.ratio()?;
            (!bound.allows(ratio)).then_some((row, depth, ratio))
        });
        vec![match lost {
            Some((row, depth, ratio)) => {
                let random = match (self.loss, self.has_labels) {
                    (Loss::Classes, false) => ", as random labels have it",
                    _ => "",
                };
                let what = format!(
                    "From {} back gradients of {n} examples have less in common than noise{random}.",
                    row.name
                );
                Finding::new("gradient_noise", Severity::Note, Health::Healthy, what)
                    .at(Place::new(&row.name).depth(depth).pass(Pass::Backward))
                    .measured(ratio, "", Some(bound))
                    .reason(reason)
                    .help(if self.has_labels {
                        "Larger batches at first; residual branches and normalization keep gradients alike."
                    } else {
                        "Data with labels to look at (`--data`); larger batches at first; residual branches keep \
                         gradients alike."
                    })
            }
            None => {
                let worst =
                    self.layers().into_iter().filter_map(|(row, _)| row.noise.ratio()).reduce(f64::min);
                let what = format!("Gradients of all layers stand out of the noise of {n} examples.");
                let finding =
                    Finding::new("gradient_noise", Severity::Ok, Health::Healthy, what).reason(reason);
                match worst {
                    Some(worst) => finding.measured(worst, "", Some(bound)),
                    None => finding,
                }
            }
        }]
    }

    fn quantities(&self) -> Vec<Quantity> {
        let mut found = Vec::new();
        let mut say = |name: &str, label: &str, value: Option<f64>, help: &str| {
            found.extend(value.map(|value| Quantity::new(name, label, value, "").help(help)));
        };
        let scale = self.total.ratio().map(|ratio| if ratio > 0.0 { 1.0 / ratio } else { f64::INFINITY });
        say(
            "noise_scale",
            "gradient noise scale: examples at which signal and noise are equal",
            scale,
            "Batches well below it learn as much from each example.",
        );
        say(
            "signal",
            "squared norm of the mean gradient, without its noise",
            Some(self.total.signal()),
            "‖G‖².",
        );
        say("noise", "trace of the covariance of an example's gradient", Some(self.total.noise()), "tr Σ.");
        say("cosine", "mean cosine of two examples' gradients", self.total.cosine(), "1 where all are one.");
        found
    }

    fn figures(&self) -> Vec<Figure> {
        let layers = self.layers();
        let line = |number: &dyn Fn(Noise) -> Option<f64>| {
            let points: Vec<(f64, f64)> = layers
                .iter()
                .filter_map(|(row, depth)| {
                    Some((*depth as f64, number(row.noise).filter(|x| x.is_finite())?))
                })
                .collect();
            let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
            (!x.is_empty()).then_some((x, y))
        };
        let mut figures = Vec::new();
        // A logarithmic axis has no place for signals that come out below zero.
        if let Some((x, y)) = line(&|noise| noise.ratio().filter(|ratio| *ratio > 0.0)) {
            let most = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let alt = format!("Signal to noise of weights is at most {}.", show(most));
            figures.push(
                Figure::new(
                    "signal_to_noise",
                    "Signal to noise of gradients",
                    alt,
                    Axis::new("depth (weights from the input)"),
                    Axis::new("‖G‖² / tr Σ").log(),
                )
                .with(
                    "noise of all examples",
                    Shape::Rule { axis: Direction::Y, at: 1.0 / self.examples as f64 },
                )
                .with("signal to noise", Shape::Points { x, y }),
            );
        }
        if let Some((x, y)) = line(&Noise::cosine) {
            let (first, last) =
                (y.first().copied().unwrap_or(f64::NAN), y.last().copied().unwrap_or(f64::NAN));
            let alt = format!(
                "The cosine goes from {} at the first layer to {} at the last.",
                show(first),
                show(last)
            );
            figures.push(
                Figure::new(
                    "cosine",
                    "Cosine of two examples' gradients",
                    alt,
                    Axis::new("depth (weights from the input)"),
                    Axis::new("cosine"),
                )
                .with("cosine", Shape::Points { x, y }),
            );
        }
        figures
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
            "parameters",
            "Parameters",
            [
                Column::new("parameter", "parameter", Kind::Text),
                Column::new("depth", "depth", Kind::Integer),
                Column::new("signal", "‖G‖²", Kind::Real)
                    .help("Squared norm of the mean gradient, without its noise."),
                Column::new("noise", "tr Σ", Kind::Real)
                    .help("Trace of the covariance of an example's gradient."),
                Column::new("ratio", "signal/noise", Kind::Real)
                    .help("Below 1/n a mean of n examples is mostly noise."),
                Column::new("cosine", "cosine", Kind::Real).help("Of two examples' gradients."),
            ],
        );
        for row in &self.rows {
            table.push([
                Cell::Text(row.name.clone()),
                row.depth.into(),
                Cell::Real(row.noise.signal()),
                Cell::Real(row.noise.noise()),
                row.noise.ratio().into(),
                row.noise.cosine().into(),
            ]);
        }
        table
    }
}

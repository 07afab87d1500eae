//! Curvature: the sharpness of the loss at the start, the learning rates it allows, and the layers it comes from.
//!
//! # Idea
//! Gradient descent with rate η on a loss of curvature λ multiplies the distance from the bottom by `1 − ηλ` a step: above
//! `2/λ_max` it diverges along the sharpest direction. At many starts λ_max is larger than anywhere later, which is what
//! warm-up is for. Look at it before choosing a learning rate, or when the first steps blow up.
//!
//! # Method
//! With H the Hessian of the mean loss over the examples by all learned parameters, exact by products with vectors:
//! - `lambda_max`, `lambda_min` by Lanczos with full reorthogonalization, until both are within `tolerance` of λ_max
//! - `gauss_newton_max`, the largest eigenvalue of `G = Jᵀ Λ J / n` with Λ the Hessian of an example's loss by the answers:
//!   what is left of H without the curvature of the network. For cross-entropy G is the Fisher information
//! - `trace` by Hutchinson's estimator with its standard error
//! - `gradient_curvature`, `gᵀHg / ‖g‖²` along the gradient: the first step is best at its inverse
//! - with `density` above zero the density of eigenvalues by stochastic Lanczos quadrature, from that many random vectors
//! - the share of each parameter in the eigenvector of λ_max (squared), which says where the sharpest direction lies
//!
//! The largest rate is `2/λ_max` for gradient descent and `2(1+β)/λ_max` with momentum β. With `rate` given, the start is
//! bad where it passes twice that of its momentum, and warned of above it: between one and two times, losses of networks
//! often rise first and then settle where it is flatter (Lewkowycz et al. 2020). Without, it is bad where no rate from 10⁻⁴
//! on is allowed.
//!
//! # Shapes
//! Any network that has a loss: classes, next words, or squares against targets. Where there are no labels they are drawn,
//! as `propagation` does, and the reading says so. Batch normalization uses the batch's statistics, as in training.
//!
//! # Cost
//! Each product is a backward pass through a backward pass, about four times a gradient; up to `steps` for each of H and G,
//! then one for each of `probes`, and `steps` for each vector of `density`. Lanczos keeps its vectors, 8 bytes for each
//! learned number and step, up to `memory`: fewer steps are taken where that is less, and none below six.
//!
//! # Departures
//! λ_max of mini-batches is larger than of all data; what is read is that of the probe.
//!
//! # Traps
//! - `2/λ_max` is the limit on a quadratic. Trained networks at a fixed rate rise to it and stay (the edge of stability, Cohen
//!   et al. 2021), so a start below it says that the first step does not diverge, not that later ones are optimal.
//! - Adam and its kin scale each direction: the limit is not theirs.
//! - Rectifiers have no curvature of their own: H and G then differ by paths through several weights only.
//! - The loss at a readout of zeros has curvature in the readout alone.
//!
//! # Example
//! ```
//! let curvature = epoch0_examine::find("sharpness").unwrap();
//! assert_eq!(curvature.info.id, "curvature");
//! ```
//!
//! # References
//! - [cohen2021gradient] Section 2
//! - [gilmer2021loss]
//! - [ghorbani2019investigation], for the density
//! - [martens2010deep], for the Gauss–Newton matrix
//! - [lewkowycz2020large]

mod claims;
mod measure;

use epoch0_engine::Loss;
use epoch0_method::reading::{
    Axis, Bound, Cell, Column, Direction, Figure, Finding, Health, Kind, Place, Quantity, Reading, Severity,
    Shape, Table,
};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};

use crate::shared::show::{broken, percent, show};
use crate::{Examiner, Subject, Watch};
use measure::{Measured, measure};

/// Parameters of the examination.
#[derive(Clone, Debug, Params)]
pub struct Curvature {
    /// Learning rate that is to be used; without it the largest is only reported.
    #[param(default = None, range = "(0, inf)", symbol = "η")]
    pub rate: Option<f64>,
    /// Momentum.
    #[param(default = 0.9, range = "[0, 1)", symbol = "β")]
    pub momentum: f64,
    /// Examples, fewer where memory asks for it.
    #[param(default = 32, range = "[1, 65536]")]
    pub examples: u32,
    /// Products for the ends of a spectrum at most.
    #[param(default = 40, range = "[6, 10000]")]
    pub steps: u32,
    /// Distance of eigenvalues from true ones that ends the iteration, as a part of the largest.
    #[param(default = 1e-3, range = "(0, 1)")]
    pub tolerance: f64,
    /// Random vectors for the trace; 0 leaves it out.
    #[param(default = 8, range = "[0, 10000]")]
    pub probes: u32,
    /// Random vectors for the spectral density; 0 leaves it out.
    #[param(default = 0, range = "[0, 1000]")]
    pub density: u32,
    /// Memory for the vectors of an iteration.
    #[param(default = 2.0, range = "(0, 1024]", unit = "GiB")]
    pub memory: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "curvature",
    aliases: &["sharpness", "hessian"],
    family: Family::Examine,
    papers: &[
        "cohen2021gradient",
        "gilmer2021loss",
        "ghorbani2019investigation",
        "martens2010deep",
        "lewkowycz2020large",
    ],
    source: include_str!("mod.rs"),
    params: Curvature::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

/// Rates in use for gradient descent begin here.
const SMALLEST_RATE: f64 = 1e-4;

fn build(values: &Values) -> Result<Box<dyn Examiner>, Error> {
    Ok(Box::new(Curvature::from_values(INFO.id, values)?))
}

impl Examiner for Curvature {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, crate::Error> {
        let mut reading = Reading::new(INFO.id, "Curvature of the loss", "");
        let Some(measured) = measure(self, subject, watch)? else {
            reading.findings.push(broken("The loss or its gradient is not finite."));
            return Ok(reading);
        };
        let (of, labels) = match (measured.loss, measured.has_labels) {
            (Loss::NextWord, _) => ("cross-entropy of the next word", "the words of the inputs"),
            (Loss::Classes, true) => ("cross-entropy", "the labels of the data"),
            (Loss::Classes, false) => ("cross-entropy", "random labels"),
            (Loss::Squares, _) => ("half the mean square", "standard normal targets"),
        };
        reading.summary = format!(
            "Of the {of} against {labels}, over {} examples, by {} learned numbers; {} products.",
            measured.examples, measured.size, measured.products
        );
        reading.findings = self.judge(&measured);
        reading.quantities = self.quantities(&measured);
        reading.figures = figures(&measured);
        reading.tables.push(table(&measured));
        Ok(reading)
    }
}

impl Curvature {
    /// The largest learning rate with momentum.
    fn limit(&self, measured: &Measured) -> f64 {
        2.0 * (1.0 + self.momentum) / measured.max
    }

    fn judge(&self, measured: &Measured) -> Vec<Finding> {
        let mut findings = Vec::new();
        let reason = "Along a direction of curvature λ a step with rate η multiplies the distance by 1 − ηλ, so above 2/λ_max it \
                      grows, with momentum β above 2(1+β)/λ_max; up to about twice that losses rise first and often settle \
                      where it is flatter (Lewkowycz et al. 2020).";
        let place = measured.shares.first().map(|share| Place::new(&share.name));
        let at = |finding: Finding| match &place {
            Some(place) => finding.at(place.clone()),
            None => finding,
        };
        if measured.max <= 0.0 {
            let what = "The loss is flat in all directions, or bends down only: no curvature bounds the learning rate.";
            let finding = Finding::new("sharpness", Severity::Note, Health::Healthy, what);
            return vec![finding.measured(measured.max, "", None).reason(reason)];
        }
        let limit = self.limit(measured);
        let sharp = || {
            let first = measured.shares.first();
            let share = first.map_or_else(String::new, |share| {
                format!("; {} of that direction is in {}", percent(share.top), share.name)
            });
            format!("λ_max = {}: rates below {} do not diverge{share}.", show(measured.max), show(limit))
        };
        let help = "A smaller rate or warm-up; a smaller gain or normalization where one parameter holds the direction.";
        findings.push(match self.rate {
            Some(rate) => {
                let bound = Bound::AtMost(limit);
                let (severity, health) = match rate / limit {
                    ratio if ratio <= 1.0 => (Severity::Ok, Health::Healthy),
                    ratio if ratio <= 2.0 => (Severity::Warn, Health::IllConditioned),
                    _ => (Severity::Bad, Health::IllConditioned),
                };
                let what = match severity {
                    Severity::Ok => format!("A rate of {} does not diverge; {}", show(rate), sharp()),
                    Severity::Warn => {
                        format!("At a rate of {} the first losses may rise; {}", show(rate), sharp())
                    }
                    _ => format!("A rate of {} diverges; {}", show(rate), sharp()),
                };
                let finding =
                    at(Finding::new("sharpness", severity, health, what)).measured(rate, "", Some(bound));
                let finding = finding.reason(reason);
                if severity == Severity::Ok { finding } else { finding.help(help) }
            }
            None => {
                let bound = Bound::AtLeast(SMALLEST_RATE);
                let (severity, health) = if bound.allows(limit) {
                    (Severity::Ok, Health::Healthy)
                } else {
                    (Severity::Bad, Health::IllConditioned)
                };
                let finding =
                    at(Finding::new("sharpness", severity, health, sharp())).measured(limit, "", Some(bound));
                let finding = finding.reason(format!(
                    "{reason} Rates in use for gradient descent lie above {SMALLEST_RATE:e}."
                ));
                if severity == Severity::Ok { finding } else { finding.help(help) }
            }
        });
        if measured.residual > 10.0 * self.tolerance * measured.max {
            let what = format!(
                "λ_max is only known to ±{} after {} products.",
                show(measured.residual),
                measured.products
            );
            findings.push(
                Finding::new("residual", Severity::Note, Health::Healthy, what)
                    .measured(
                        measured.residual,
                        "",
                        Some(Bound::AtMost(10.0 * self.tolerance * measured.max)),
                    )
                    .reason("Few steps of Lanczos' iteration leave a residual.")
                    .help("More `steps`, or more `memory` for their vectors."),
            );
        }
        findings
    }

    fn quantities(&self, measured: &Measured) -> Vec<Quantity> {
        let mut found = Vec::new();
        let mut say = |name: &str, label: &str, value: f64, help: &str| {
            found.push(Quantity::new(name, label, value, "").help(help));
        };
        say("lambda_max", "largest eigenvalue of the Hessian", measured.max, "Sharpness.");
        say(
            "lambda_min",
            "smallest eigenvalue of the Hessian",
            measured.min,
            "Below zero the loss bends down.",
        );
        if let Some(gauss_newton) = measured.gauss_newton {
            let help = "Fisher information for cross-entropy; without the network's own curvature.";
            say("gauss_newton_max", "largest eigenvalue of the Gauss–Newton matrix", gauss_newton, help);
        }
        if let Some(trace) = measured.trace {
            say("trace", "trace of the Hessian", trace.mean, "");
            if trace.error.is_finite() {
                say("trace_error", "its standard error", trace.error, "");
            }
        }
        if measured.max > 0.0 {
            let help = "2/λ_max; the edge of stability.";
            say("learning_rate_limit", "rate from which gradient descent diverges", 2.0 / measured.max, help);
            say(
                "learning_rate_limit_momentum",
                "the same with momentum",
                self.limit(measured),
                "2(1+β)/λ_max.",
            );
        }
        if let Some(curvature) = measured.along_gradient {
            say(
                "gradient_curvature",
                "curvature along the gradient",
                curvature,
                "The first step is best at its inverse.",
            );
        }
        say("loss", "loss", measured.value, "");
        say("gradient_norm", "norm of the gradient", measured.gradient, "");
        found
    }
}

fn figures(measured: &Measured) -> Vec<Figure> {
    let mut figures = Vec::new();
    if !measured.shares.is_empty() {
        let shares: Vec<_> = measured.shares.iter().take(24).collect();
        let alt = format!("{} of the sharpest direction is in {}.", percent(shares[0].top), shares[0].name);
        let names = shares.iter().map(|share| share.name.clone());
        figures.push(
            Figure::new(
                "sharpest",
                "Where the sharpest direction lies",
                alt,
                Axis::new("parameter").names(names),
                Axis::new("share of the eigenvector").unit("share"),
            )
            .with("share", Shape::Bars { y: shares.iter().map(|share| share.top).collect() }),
        );
    }
    if let Some(density) = &measured.density {
        let (low, high) = (measured.min.min(0.0), measured.max.max(f64::MIN_POSITIVE));
        let std = (high - low) / 100.0;
        let x: Vec<f64> =
            (0..=240).map(|at| low - 0.1 * (high - low) + f64::from(at) / 200.0 * (high - low)).collect();
        let mut y: Vec<f64> = x.iter().map(|&x| density.at(x, std)).collect();
        // Tails of the bells that points are widened to say nothing.
        let least = 1e-4 * y.iter().copied().fold(0.0, f64::max);
        y.iter_mut().filter(|y| **y < least).for_each(|y| *y = f64::NAN);
        let alt = format!(
            "{} of the eigenvalues lie within a hundredth of λ_max of zero.",
            percent(density.below(0.01 * high) - density.below(-0.01 * high))
        );
        figures.push(
            Figure::new(
                "density",
                "Density of eigenvalues",
                alt,
                Axis::new("eigenvalue"),
                Axis::new("density").log(),
            )
            .with("density", Shape::Line { x, y })
            .with("λ_max", Shape::Rule { axis: Direction::X, at: measured.max }),
        );
    }
    figures
}

fn table(measured: &Measured) -> Table {
    let mut table = Table::new(
        "parameters",
        "Parameters",
        [
            Column::new("parameter", "parameter", Kind::Text),
            Column::new("size", "numbers", Kind::Integer),
            Column::new("sharpest", "sharpest", Kind::Share)
                .help("Share of the eigenvector of λ_max, squared."),
            Column::new("gradient", "gradient", Kind::Share).help("Share of the squared gradient."),
        ],
    );
    for share in &measured.shares {
        table.push([
            Cell::Text(share.name.clone()),
            share.size.into(),
            Cell::Real(share.top),
            share.gradient.into(),
        ]);
    }
    table
}

//! Propagation: how signals, gradients and differences of inputs change from layer to layer.
//!
//! # Idea
//! A network can be trained from a start when what comes in still arrives at its end, what the loss says still arrives at
//! its beginning, and different inputs stay different on the way. All three are seen in one forward and one backward
//! pass, before any training.
//!
//! # Method
//! At the output z of every weight (before the activation), over examples, positions and units: mean, variance, second
//! moment `q = E[z²]`; the mean cosine c of two examples; the effective rank of the examples, `exp(−Σ p ln p)` with p the
//! shares of variance (Roy and Vetterli 2007); the share of units that the activation behind it makes zero for every
//! example, and of values at which it is flat. Backwards the second moment of `∂ Σ loss / ∂z`, summed over the positions
//! of a unit, and the mean square of gradients of weights. And forwards again, along a random direction of the inputs, `E[ż²] / E[z²]`: in the mean field
//! this is multiplied by χ₁ over the growth of q at each layer, so it grows beyond the edge of chaos and falls before it.
//!
//! The verdict looks at the largest value of each depth, relative to the first layer (backwards: to the last): outside
//! `1/range … range` the start is vanishing or exploding; if q stays and differences grow, chaotic; if `1 − c` falls below
//! 10⁻⁶ of its first value, collapsed. Batch normalization uses the batch's statistics, as in the first step of
//! training. Where there are no labels they are drawn.
//!
//! # Shapes
//! Any network; values are taken as `[examples, …]`. Weights that are all zero (a branch that starts closed) are shown
//! and not judged.
//!
//! # Cost
//! One forward pass that keeps its values, one backward pass, one pass of tangents.
//!
//! # Departures
//! The mean field is of many starts at infinite width; what is read is this one at its width. Second moments are relative to
//! the first layer's (backwards: the last's), not to a fixed point.
//!
//! # Traps
//! A random probe has no correlations between pixels or words; with data of yours numbers can differ. In a narrow network
//! q fluctuates from start to start: its logarithm spreads as `√(5 depth / width)` for rectifiers.
//!
//! # Example
//! ```
//! let entry = epoch0_examine::find("propagation").unwrap();
//! assert_eq!(entry.info.id, "propagation");
//! ```
//!
//! # References
//! - [glorot2010understanding] Section 4.2
//! - [poole2016exponential] Eq. 3, 5
//! - [schoenholz2016deep] Eq. 9, Section 4

mod judge;
mod measure;

use epoch0_method::reading::{Axis, Cell, Column, Direction, Figure, Kind, Quantity, Shape, Table};
use epoch0_method::{Entry, Family, Info, Params, Status, Values};

use crate::{Error, Examiner, Reading, Subject, Watch};
use judge::{Profile, judge};
use measure::{Layer, Measured, measure};

/// Parameters of the examination.
#[derive(Clone, Debug, Params)]
pub struct Propagation {
    /// Factor by which second moments may change over the whole depth, both ways.
    #[param(default = 1e4, range = "(1, inf)")]
    pub range: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "propagation",
    aliases: &["signal", "gradients"],
    family: Family::Examine,
    papers: &["glorot2010understanding", "poole2016exponential", "schoenholz2016deep"],
    source: include_str!("mod.rs"),
    params: Propagation::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, epoch0_method::Error> {
    Ok(Box::new(Propagation::from_values(INFO.id, values)?))
}

impl Examiner for Propagation {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error> {
        let measured = measure(subject, watch)?;
        let n = measured.layers.len();
        let mut reading = Reading::new(
            INFO.id,
            "Signals and gradients over depth",
            format!(
                "{n} layers, {} examples, forwards, backwards and along a direction of the inputs.",
                subject.probe.len()
            ),
        );
        reading.findings = judge(self, &measured);
        reading.quantities = quantities(&measured);
        reading.figures = figures(self, &measured.layers);
        reading.tables.push(table(&measured.layers));
        Ok(reading)
    }
}

fn quantities(measured: &Measured) -> Vec<Quantity> {
    let layers = &measured.layers;
    let rate = |name: &str, label: &str, rate: Option<f64>, help: &str| {
        rate.map(|rate| Quantity::new(name, label, rate, "").help(help))
    };
    let forward = Profile::of(layers, |layer| layer.forward.second).rate();
    let backward = Profile::of(layers, Layer::gradient).rate();
    let change = Profile::of(layers, |layer| layer.change).rate();
    let last = layers.iter().rev().find(|layer| layer.is_matrix && !layer.is_zero);
    [
        rate(
            "forward_rate",
            "second moment of activations, factor a layer",
            forward,
            "1 keeps the signal's size.",
        ),
        rate(
            "backward_rate",
            "second moment of gradients, factor a layer on the way back",
            backward.map(|rate| 1.0 / rate),
            "1 keeps the gradient's size.",
        ),
        rate(
            "sensitivity_rate",
            "relative size of a small change, factor a layer",
            change,
            "1 is the edge of chaos.",
        ),
        last.filter(|layer| !layer.cosine.is_nan()).map(|layer| {
            Quantity::new("last_cosine", "cosine of two inputs at the last layer", layer.cosine, "")
        }),
        Some(Quantity::new("initial_loss", "loss of an example at the start", measured.loss, "nat")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn figures(method: &Propagation, layers: &[Layer]) -> Vec<Figure> {
    let depth = || Axis::new("depth (weights from the input)");
    let points = |number: &dyn Fn(&Layer) -> f64| {
        let Profile(found) = Profile::of(layers, number);
        let x = found.iter().map(|(depth, ..)| *depth as f64).collect();
        Shape::Line { x, y: found.iter().map(|(_, value, _)| *value).collect() }
    };
    let ends = |shape: &Shape| match shape {
        Shape::Line { y, .. } => format!(
            "from {:.3e} at the first layer to {:.3e} at the last",
            y.first().copied().unwrap_or(f64::NAN),
            y.last().copied().unwrap_or(f64::NAN)
        ),
        _ => String::new(),
    };
    let forward = points(&|layer| layer.forward.second);
    let backward = points(&Layer::gradient);
    let change = points(&|layer| layer.change);
    let apart = points(&|layer| 1.0 - layer.cosine);
    let rank = points(&|layer| layer.rank);
    let healthy = |shape: &Shape, to_last: bool| match shape {
        Shape::Line { y, .. } => {
            let at = if to_last { y.last() } else { y.first() }.copied().unwrap_or(1.0);
            Shape::Span { axis: Direction::Y, low: at / method.range, high: at * method.range }
        }
        _ => Shape::Span { axis: Direction::Y, low: 0.0, high: 0.0 },
    };
    let figure = |name: &str, title: &str, what: &str, label: &str, shape: Shape, span: Option<Shape>| {
        let alt = format!("{what} goes {}.", ends(&shape));
        let mut figure = Figure::new(name, title, alt, depth(), Axis::new(label).log());
        if let Some(span) = span {
            figure = figure.with("healthy", span);
        }
        figure.with(what, shape)
    };
    let (forward_span, backward_span) = (healthy(&forward, false), healthy(&backward, true));
    vec![
        figure("forward", "Activations", "forward second moment", "E[z²]", forward, Some(forward_span)),
        figure(
            "backward",
            "Gradients",
            "backward second moment",
            "E[(∂L/∂z)²]",
            backward,
            Some(backward_span),
        ),
        figure("distance", "Distance of two inputs", "one less the cosine", "1 − cos", apart, None),
        figure(
            "sensitivity",
            "A small change of the input",
            "relative second moment",
            "E[ż²] / E[z²]",
            change,
            None,
        ),
        figure("rank", "Effective rank of the examples", "effective rank", "directions", rank, None),
    ]
}

fn table(layers: &[Layer]) -> Table {
    let mut table = Table::new(
        "layers",
        "Layers",
        [
            Column::new("layer", "layer", Kind::Text),
            Column::new("op", "operation", Kind::Text),
            Column::new("depth", "depth", Kind::Integer),
            Column::new("mean", "mean", Kind::Real).help("Mean of the output, before the activation."),
            Column::new("variance", "variance", Kind::Real).help("Variance of the output."),
            Column::new("second_moment", "E[z²]", Kind::Real).help("Second moment of the output."),
            Column::new("cosine", "cosine", Kind::Real).help("Mean cosine of two examples' outputs."),
            Column::new("rank", "rank", Kind::Real).help("Effective rank of the examples' outputs."),
            Column::new("dead", "dead", Kind::Share).help("Units that are zero for every example."),
            Column::new("saturated", "saturated", Kind::Share)
                .help("Values at which the activation is flat."),
            Column::new("backward", "E[δ²]", Kind::Real)
                .help("Second moment of the gradient at the output, summed over positions."),
            Column::new("sensitivity", "change", Kind::Real)
                .help("Relative second moment of a small change."),
            Column::new("weight", "weight", Kind::Real).help("Root mean square of the weights."),
            Column::new("gradient", "gradient", Kind::Real).help("Root mean square of their gradient."),
        ],
    );
    for layer in layers {
        let maybe =
            |value: Option<f64>| value.filter(|value| !value.is_nan()).map_or(Cell::Missing, Cell::Real);
        table.push([
            Cell::Text(layer.name.clone()),
            Cell::Text(layer.op.to_owned()),
            Cell::Integer(layer.depth as i64),
            Cell::Real(layer.forward.mean),
            Cell::Real(layer.forward.variance()),
            Cell::Real(layer.forward.second),
            maybe(Some(layer.cosine)),
            maybe(Some(layer.rank)),
            maybe(layer.activation.map(|after| after.dead)),
            maybe(layer.activation.and_then(|after| after.saturated)),
            maybe(Some(layer.gradient())),
            maybe(Some(layer.change)),
            Cell::Real(layer.weight_rms),
            maybe(layer.gradient_rms),
        ]);
    }
    table
}

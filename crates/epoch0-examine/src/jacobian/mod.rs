//! Jacobian: singular values of the map from an input to what the network makes of it, and how far it is an isometry.
//!
//! # Idea
//! To first order a network is its Jacobian `J = ∂y/∂x`. Its singular values say how much small changes of the input are
//! stretched, in how many directions, and by the transpose what happens to errors on their way back. Where all of them are
//! close to one number (dynamical isometry) depth costs next to nothing; where a few are large and the rest nearly zero,
//! nearly all directions are lost. Look at it before a deep plain network, or to compare orthogonal with Gaussian starts.
//!
//! # Method
//! For each layer ℓ, with `J_ℓ` its Jacobian by the input, v of random signs and expectations over `probes` of them and
//! `examples`:
//! - `tr J_ℓᵀJ_ℓ = E‖J_ℓ v‖²`, `tr (J_ℓᵀJ_ℓ)² = E‖J_ℓᵀ J_ℓ v‖²` (Hutchinson's estimator)
//! - mean square singular value `m₁ = tr J_ℓᵀJ_ℓ / m`, over `m = min(inputs, units)` of them
//! - spread `tr (J_ℓᵀJ_ℓ)² / (m m₁²) − 1`, the variance of squared singular values over the square of their mean, 0 where
//!   all are equal; `m / (1 + spread)` is the number of directions that pass. Traces and their squares are summed over
//!   examples before they are divided
//!
//! Of L square layers of Gaussian weights the spread is L if they are linear and 2 L with rectifiers; of orthogonal ones 0
//! and L. At the output all singular values are computed where there are at most `exact` outputs (or inputs), with the
//! condition number, the largest over the smallest; otherwise the largest by Golub and Kahan's bidiagonalization, of one
//! example.
//!
//! The mean square is judged by its change from the first layer on, outside `1/range … range` the start is exploding or
//! vanishing. The spread is a note where it passes `isometry`, since networks are trained at far more of it, and a warning
//! where fewer than two of at least four directions pass.
//!
//! # Shapes
//! Any network with an input of real numbers, by its first such input; words count by their embeddings, of which those of
//! the first table. Batch normalization uses the statistics of the inputs, held fast.
//!
//! # Cost
//! A forward pass, for each probe a pass of tangents, and for each of at most `layers` layers a backward pass; then a
//! backward pass for each output, or two passes for each of `steps`. A ResNet-18 at 224 × 224 takes about a minute.
//!
//! # Departures
//! The literature divides by the number of units of square layers; here by the smaller side, so that maps to fewer
//! dimensions count as isometries when they keep what they can keep.
//!
//! # Traps
//! - Behind a bottleneck there are fewer singular values than either side has; those that are zero count as spread.
//! - A readout of ten classes has ten singular values at most: the layers before it say more.
//! - A readout of zeros has no Jacobian yet, which is no fault.
//!
//! # Example
//! ```
//! let jacobian = epoch0_examine::find("dynamical_isometry").unwrap();
//! assert_eq!(jacobian.info.id, "jacobian");
//! ```
//!
//! # References
//! - [saxe2013exact]
//! - [pennington2017resurrecting]
//! - [pennington2018emergence], for the spread

mod claims;
mod measure;

use epoch0_method::reading::{
    Axis, Bound, Cell, Column, Direction, Figure, Finding, Health, Kind, Pass, Place, Quantity, Reading,
    Severity, Shape, Table,
};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};

use crate::shared::show::{broken, show};
use crate::{Examiner, Subject, Watch};
use measure::{Layer, Measured, Singular, measure};

/// Parameters of the examination.
#[derive(Clone, Debug, Params)]
pub struct Jacobian {
    /// Factor by which the mean square singular value may change over the whole depth, both ways.
    #[param(default = 1e4, range = "(1, inf)")]
    pub range: f64,
    /// Spread of squared singular values up to which the map counts as close to an isometry.
    #[param(default = 1.0, range = "(0, inf)")]
    pub isometry: f64,
    /// Examples, fewer where memory asks for it.
    #[param(default = 8, range = "[1, 4096]")]
    pub examples: u32,
    /// Random vectors for each example.
    #[param(default = 2, range = "[2, 10000]")]
    pub probes: u32,
    /// Layers whose spread is estimated, evenly spaced over depth.
    #[param(default = 12, range = "[1, 100000]")]
    pub layers: u32,
    /// Outputs (or inputs) up to which all singular values are computed.
    #[param(default = 64, range = "[0, 4096]")]
    pub exact: u32,
    /// Steps of the bidiagonalization where they are not.
    #[param(default = 12, range = "[2, 1000]")]
    pub steps: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "jacobian",
    aliases: &["dynamical_isometry", "singular_values"],
    family: Family::Examine,
    papers: &["pennington2017resurrecting", "saxe2013exact", "pennington2018emergence"],
    source: include_str!("mod.rs"),
    params: Jacobian::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, Error> {
    Ok(Box::new(Jacobian::from_values(INFO.id, values)?))
}

impl Examiner for Jacobian {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, crate::Error> {
        let measured = measure(self, subject, watch)?;
        let mut reading = Reading::new(
            INFO.id,
            "Jacobian of the output by the input",
            format!(
                "By {}, of {} examples: {} numbers to {}.",
                measured.input, measured.examples, measured.n_inputs, measured.n_outputs
            ),
        );
        let Some(measured) = measured.finite() else {
            reading.findings.push(broken("The Jacobian is not finite."));
            return Ok(reading);
        };
        reading.findings = self.judge(&measured);
        reading.quantities = quantities(&measured);
        reading.figures = self.figures(&measured);
        reading.tables.push(table(&measured.layers));
        Ok(reading)
    }
}

impl Jacobian {
    fn judge(&self, measured: &Measured) -> Vec<Finding> {
        if measured.answers.mean_square == 0.0 {
            let what = "The output does not depend on the input.";
            let first = measured.layers.iter().find(|layer| layer.mean_square == 0.0);
            let is_readout = first.is_none_or(|first| first.name == measured.last);
            let (severity, health) = if is_readout {
                (Severity::Note, Health::Healthy)
            } else {
                (Severity::Bad, Health::Vanishing)
            };
            let finding = Finding::new("jacobian_size", severity, health, what)
                .at(Place::new(first.map_or("output", |first| &first.name)).pass(Pass::Forward))
                .measured(0.0, "", None)
                .reason(
                    "What is multiplied by zero passes nothing on. A readout of zeros is a usual start, as it is the first \
                     to move.",
                );
            return vec![if is_readout { finding } else { finding.help("Draw the weights: `epoch0 init`.") }];
        }
        [self.size(measured), self.spread(measured)].into_iter().flatten().collect()
    }

    /// Whether the mean square singular value stays within the range of the first layer's.
    fn size(&self, measured: &Measured) -> Option<Finding> {
        let layers: Vec<&Layer> = measured.layers.iter().filter(|layer| layer.mean_square > 0.0).collect();
        let first = layers.first()?.mean_square;
        let leaves = |bound: Bound| {
            let inside = layers.iter().rposition(|layer| bound.allows(layer.mean_square / first));
            layers.get(inside.map_or(0, |at| at + 1)).copied()
        };
        let range = Bound::Within((1.0 / self.range, self.range));
        let careful = Bound::Within((1.0 / self.range.sqrt(), self.range.sqrt()));
        let last = layers.last()?.mean_square / first;
        let bad = leaves(range);
        let Some(layer) = bad.or_else(|| leaves(careful)) else {
            let what = format!(
                "Changes of the input keep their size: the mean square singular value goes to {} of the first layer's.",
                show(last)
            );
            return Some(Finding::new("jacobian_size", Severity::Ok, Health::Healthy, what).measured(
                last,
                "",
                Some(range),
            ));
        };
        let ratio = layer.mean_square / first;
        let (word, health) =
            if ratio > 1.0 { ("grow", Health::Exploding) } else { ("shrink", Health::Vanishing) };
        let severity = if bad.is_some() { Severity::Bad } else { Severity::Warn };
        let what = format!(
            "Changes of the input {word} with depth: the mean square singular value goes to {} of the first layer's.",
            show(last)
        );
        Some(
            Finding::new("jacobian_size", severity, health, what)
                .at(Place::new(&layer.name).depth(layer.depth).pass(Pass::Forward))
                .measured(ratio, "", Some(range))
                .reason(
                    "What the input is multiplied by on its way forward, errors are multiplied by on their way back \
                     (Pennington et al. 2017).",
                )
                .help(if ratio > 1.0 {
                    "A smaller gain, normalization, or residual branches that start small or at zero."
                } else {
                    "The gain of the activation (`epoch0 gain`), orthogonal weights, or residual branches."
                }),
        )
    }

    /// Whether singular values stay close to each other.
    fn spread(&self, measured: &Measured) -> Option<Finding> {
        let bound = Bound::AtMost(self.isometry);
        let answers = &measured.answers;
        let last = answers.spread?;
        let passing = answers.directions()?;
        let reason = "Where squared singular values spread, errors come back in a few directions only and learning takes \
                      longer with depth; where they do not it takes as long at any depth (Saxe et al. 2014, Pennington et \
                      al. 2017).";
        if bound.allows(last) {
            let what =
                format!("The map is close to an isometry: squared singular values spread by {}.", show(last));
            return Some(Finding::new("isometry", Severity::Ok, Health::Healthy, what).measured(
                last,
                "",
                Some(bound),
            ));
        }
        let is_narrow = answers.width >= 4 && passing < 2.0;
        let (severity, health) =
            if is_narrow { (Severity::Warn, Health::Collapsed) } else { (Severity::Note, Health::Healthy) };
        let what =
            format!("No isometry: about {} of {} directions reach the output.", show(passing), answers.width);
        let known: Vec<&Layer> = measured.layers.iter().filter(|layer| layer.spread.is_some()).collect();
        let is_inside = |layer: &&Layer| layer.spread.is_some_and(|spread| bound.allows(spread));
        let place = known.get(known.iter().rposition(is_inside).map_or(0, |at| at + 1));
        let finding =
            Finding::new("isometry", severity, health, what).measured(last, "", Some(bound)).reason(reason);
        let finding = match place {
            Some(layer) => finding.at(Place::new(&layer.name).depth(layer.depth).pass(Pass::Forward)),
            None => finding,
        };
        Some(finding.help(
            "`--with orthogonal` with an activation that is close to linear at zero, or residual branches.",
        ))
    }

    fn figures(&self, measured: &Measured) -> Vec<Figure> {
        let depth = || Axis::new("depth (weights from the input)");
        let x = measured.layers.iter().map(|layer| layer.depth as f64).collect();
        let sizes: Vec<f64> = measured.layers.iter().map(|layer| layer.mean_square).collect();
        let (first, last) =
            (sizes.first().copied().unwrap_or(1.0), sizes.last().copied().unwrap_or(f64::NAN));
        let alt = format!("The mean square singular value goes from {first:.3e} to {last:.3e}.");
        let size =
            Figure::new("mean_square", "Size of the Jacobian", alt, depth(), Axis::new("mean s²").log())
                .with(
                    "healthy",
                    Shape::Span { axis: Direction::Y, low: first / self.range, high: first * self.range },
                )
                .with("mean square singular value", Shape::Line { x, y: sizes });
        let known: Vec<(f64, f64)> =
            measured.layers.iter().filter_map(|layer| Some((layer.depth as f64, layer.spread?))).collect();
        let mut figures = vec![size];
        if let (Some((_, first)), Some((_, last))) = (known.first(), known.last()) {
            let alt = format!("The spread of squared singular values goes from {first:.3} to {last:.3}.");
            let line = Shape::Line {
                x: known.iter().map(|(depth, _)| *depth).collect(),
                y: known.iter().map(|(_, spread)| *spread).collect(),
            };
            figures.push(
                Figure::new(
                    "spread",
                    "Spread of squared singular values",
                    alt,
                    depth(),
                    Axis::new("variance / mean²"),
                )
                .with("isometry", Shape::Span { axis: Direction::Y, low: 0.0, high: self.isometry })
                .with("spread", line),
            );
        }
        figures.extend(measured.singular.figure());
        figures
    }
}

fn quantities(measured: &Measured) -> Vec<Quantity> {
    let answers = &measured.answers;
    let mut found = vec![
        Quantity::new("mean_square", "mean square singular value, input to output", answers.mean_square, "")
            .help("1 keeps the size of small changes."),
    ];
    if let (Some(spread), Some(directions)) = (answers.spread, answers.directions()) {
        found.push(
            Quantity::new(
                "spread",
                "variance of squared singular values over their mean squared",
                spread,
                "",
            )
            .help(
                "0 is an isometry; L and 2 L are usual for L orthogonal or Gaussian layers with rectifiers.",
            ),
        );
        found.push(
            Quantity::new("directions", "directions that reach the output", directions, "")
                .help(format!("Of {}.", answers.width)),
        );
    }
    let singular = &measured.singular;
    if let Some(max) = singular.max() {
        found.push(Quantity::new("singular_max", "largest singular value", max, ""));
    }
    if let Singular::All(all) = singular {
        found.push(Quantity::new(
            "singular_min",
            "smallest singular value",
            singular.min().unwrap_or(0.0),
            "",
        ));
        let mut conditions: Vec<f64> = all.iter().filter_map(|values| condition(values)).collect();
        conditions.sort_by(f64::total_cmp);
        if let Some(middle) = conditions.get(conditions.len() / 2) {
            found.push(
                Quantity::new(
                    "condition",
                    "largest singular value over the smallest, median of examples",
                    *middle,
                    "",
                )
                .help("1 is an isometry."),
            );
        }
    }
    found
}

/// Largest over smallest; infinite where the smallest is zero, none where all are.
fn condition(values: &[f64]) -> Option<f64> {
    let (max, min) = (values.first()?, values.last()?);
    (*max > 0.0).then(|| if *min > 0.0 { max / min } else { f64::INFINITY })
}

impl Singular {
    fn figure(&self) -> Option<Figure> {
        let y = Axis::new("singular value").log();
        Some(match self {
            Self::All(all) => {
                let mut sorted: Vec<f64> =
                    all.iter().flatten().copied().filter(|value| *value > 0.0).collect();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let (max, min) = (*sorted.first()?, *sorted.last()?);
                let alt =
                    format!("Singular values of {} examples fall from {max:.3e} to {min:.3e}.", all.len());
                let shape =
                    Shape::Stems { x: (1..=sorted.len()).map(|rank| rank as f64).collect(), y: sorted };
                Figure::new("singular_values", "All singular values", alt, Axis::new("rank, all examples"), y)
                    .with("singular value", shape)
            }
            Self::Largest(values) => {
                let (max, min) = (*values.first()?, *values.last()?);
                let alt =
                    format!("The largest singular values of one example fall from {max:.3e} to {min:.3e}.");
                let shape = Shape::Stems {
                    x: (1..=values.len()).map(|rank| rank as f64).collect(),
                    y: values.clone(),
                };
                Figure::new(
                    "singular_values",
                    "Largest singular values, one example",
                    alt,
                    Axis::new("rank"),
                    y,
                )
                .with("singular value", shape)
            }
        })
    }
}

fn table(layers: &[Layer]) -> Table {
    let mut table = Table::new(
        "layers",
        "Layers",
        [
            Column::new("layer", "layer", Kind::Text),
            Column::new("depth", "depth", Kind::Integer),
            Column::new("mean_square", "mean s²", Kind::Real)
                .help("Mean square singular value from the input."),
            Column::new("spread", "spread", Kind::Real)
                .help("Variance of squared singular values over their mean squared."),
            Column::new("directions", "directions", Kind::Real).help("Directions that pass."),
            Column::new("width", "of", Kind::Integer)
                .help("Directions that could: the smaller of inputs and units."),
        ],
    );
    for layer in layers {
        table.push([
            Cell::Text(layer.name.clone()),
            Cell::Integer(layer.depth as i64),
            Cell::Real(layer.mean_square),
            layer.spread.into(),
            layer.directions().into(),
            layer.width.into(),
        ]);
    }
    table
}

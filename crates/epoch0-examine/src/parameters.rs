//! Parameters: whether they can be right, and which law they look like.
//!
//! # Idea
//! Much goes wrong before anything runs: a NaN, a tensor that was never drawn, two that were drawn from one stream, a
//! standard deviation that nobody asked for.
//!
//! # Method
//! For each learned tensor: mean, standard deviation, extremes; whether all elements are one number; the law that its
//! elements look like, by Kolmogorov and Smirnov's distance (n at most 10,000, evenly spaced) to the uniform, normal and
//! truncated normal law of its moments, accepted at p ≥ 10⁻³; whether a matrix is orthogonal up to scale
//! (`|WWᵀ/s − I| ≤ 10⁻³`, for up to 512 rows); its standard deviation as `gain / √fan_in`, named where it is He's, Xavier's
//! or LeCun's within 3 standard errors; whether two tensors have equal elements.
//!
//! # Shapes
//! Any; fans are those of the tensor's first site.
//!
//! # Cost
//! One pass over the weights.
//!
//! # Departures
//! The sources give scales; that a tensor has one is a test at 3 standard errors here.
//!
//! # Traps
//! A law is not proved by a sample that does not contradict it: small tensors look like many laws.
//!
//! # Example
//! ```
//! assert!(epoch0_examine::find("parameters").is_ok());
//! ```
//!
//! # References
//! - [glorot2010understanding] Eq. 12
//! - [he2015delving] Eq. 10

use std::collections::HashMap;

use epoch0_engine::Tensor;
use epoch0_method::reading::{Bound, Cell, Column, Finding, Health, Kind, Place, Quantity, Severity, Table};
use epoch0_method::{Entry, Family, Info, Params, Status, Values};
use epoch0_net::{Fans, Role};
use epoch0_num::{Law, stats};

use crate::shared::numbers::Moments;
use crate::{Error, Examiner, Reading, Subject, Watch};

/// Elements that are tested at most.
const SAMPLE: usize = 10_000;
/// Rows that are tested for orthogonality at most.
const ROWS: usize = 512;

/// Parameters of the examination: none.
#[derive(Clone, Debug, Params)]
pub struct Parameters {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "parameters",
    aliases: &["params"],
    family: Family::Examine,
    papers: &["glorot2010understanding", "he2015delving"],
    source: include_str!("parameters.rs"),
    params: Parameters::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, epoch0_method::Error> {
    Ok(Box::new(Parameters::from_values(INFO.id, values)?))
}

/// What was found of a tensor.
struct Found {
    name: String,
    shape: Vec<usize>,
    role: Role,
    moments: Moments,
    law: &'static str,
    scale: Option<String>,
}

impl Examiner for Parameters {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error> {
        let Subject { network, weights, .. } = *subject;
        let learned: Vec<_> = weights.iter().filter(|(id, _)| !network.param(*id).role.is_buffer()).collect();
        let mut found = Vec::with_capacity(learned.len());
        let mut twins: HashMap<(Vec<usize>, Vec<u32>), Vec<String>> = HashMap::new();
        for (at, (id, value)) in learned.iter().enumerate() {
            watch.reach(at as f64 / learned.len() as f64)?;
            let param = network.param(*id);
            let values = value.to_f32();
            let fans = network.sites_of(*id).find_map(|site| site.fans);
            let moments = Moments::of(&values);
            let law = law(&values, &moments, value);
            if law != "constant" && values.len() > 1 {
                let head = values.iter().take(64).map(|x| x.to_bits()).collect();
                twins.entry((param.shape.clone(), head)).or_default().push(param.name.clone());
            }
            found.push(Found {
                name: param.name.clone(),
                shape: param.shape.clone(),
                role: param.role,
                moments,
                law,
                scale: fans.filter(|_| param.role.is_matrix()).and_then(|fans| scale(&moments, fans)),
            });
        }
        let mut twins: Vec<Vec<String>> = twins.into_values().filter(|names| names.len() > 1).collect();
        twins.sort();
        let mut reading = Reading::new(
            "parameters",
            "Parameters",
            format!("{} tensors, {} learned numbers.", found.len(), network.n_params()),
        );
        reading.findings = findings(&found, &twins);
        let recognized = found.iter().filter(|found| found.law != "unknown").count();
        reading.quantities = vec![
            Quantity::new("n_tensors", "tensors", found.len() as f64, ""),
            Quantity::new("n_recognized", "tensors whose law is recognized", recognized as f64, ""),
        ];
        reading.tables.push(table(&found));
        watch.reach(1.0)?;
        Ok(reading)
    }
}

fn findings(found: &[Found], twins: &[Vec<String>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let broken: Vec<_> = found.iter().filter(|found| found.moments.non_finite > 0).collect();
    findings.push(match broken.first() {
        Some(first) => Finding::new(
            "finite_weights",
            Severity::Bad,
            Health::Broken,
            format!("{} tensors hold NaN or infinities.", broken.len()),
        )
        .at(Place::new(&first.name))
        .measured(first.moments.non_finite as f64, "", Some(Bound::AtMost(0.0)))
        .reason("Every value that such a weight reaches is none.")
        .help("Draw the tensor again: `epoch0 init`."),
        None => Finding::new("finite_weights", Severity::Ok, Health::Healthy, "All weights are finite."),
    });
    // All matrices zero but a few (branches that start closed, a readout) is a start; all of them is none.
    let matrices: Vec<_> = found.iter().filter(|found| found.role.is_matrix()).collect();
    let zero: Vec<_> = matrices.iter().filter(|found| found.moments.second == 0.0).collect();
    if let Some(first) = zero.first() {
        let all = zero.len() == matrices.len();
        let (severity, health) =
            if all { (Severity::Bad, Health::Vanishing) } else { (Severity::Note, Health::Healthy) };
        let finding = Finding::new(
            "zero_weights",
            severity,
            health,
            format!("{} of {} weights are all zero.", zero.len(), matrices.len()),
        )
        .at(Place::new(&first.name))
        .reason(
            "A weight of zeros passes nothing on, and nothing back to what is before it, until it has moved.",
        );
        findings.push(if all { finding.help("Draw the weights: `epoch0 init`.") } else { finding });
    }
    if let Some(names) = twins.first() {
        findings.push(
            Finding::new(
                "equal_tensors",
                Severity::Warn,
                Health::Healthy,
                format!("{} tensors have the same elements as another: {}.", names.len(), names.join(", ")),
            )
            .at(Place::new(&names[0]))
            .reason("Layers that start equal and are not tied were drawn from one stream of random numbers.")
            .help("Draw each tensor from a stream of its own, as `epoch0 init` does, or tie them."),
        );
    }
    findings
}

/// Which law the elements look like.
fn law(values: &[f32], moments: &Moments, tensor: &Tensor) -> &'static str {
    let Some(&first) = values.first() else { return "empty" };
    if moments.non_finite > 0 {
        return "not finite";
    }
    if values.iter().all(|&x| x == first) {
        return match first {
            0.0 => "zeros",
            1.0 => "ones",
            _ => "constant",
        };
    }
    if is_orthogonal(tensor) {
        return "orthogonal";
    }
    let step = values.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<f64> = values.iter().step_by(step).map(|&x| f64::from(x)).collect();
    if sample.len() < 16 {
        return "too few to tell";
    }
    let (mean, std) = (moments.mean, moments.variance().sqrt());
    let half = std * 3f64.sqrt();
    let truncated = Law::truncated_in_std(mean, std, -2.0, 2.0, true);
    let candidates = [
        ("uniform", Some(Law::Uniform { low: mean - half, high: mean + half })),
        ("normal", Some(Law::Normal { mean, std })),
        ("truncated normal (±2σ)", truncated.ok()),
    ];
    let mut best = ("unknown", 1e-3);
    for (name, law) in candidates {
        let Some(law) = law else { continue };
        let p = stats::kolmogorov_smirnov(&sample, |x| law.cdf(x)).p_value;
        if p > best.1 {
            best = (name, p);
        }
    }
    best.0
}

/// Whether rows (or columns, where there are fewer) are orthogonal and of one length.
fn is_orthogonal(tensor: &Tensor) -> bool {
    let shape = tensor.shape();
    if shape.len() < 2 {
        return false;
    }
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    let small = rows.min(columns);
    if !(2..=ROWS).contains(&small) {
        return false;
    }
    let values = tensor.to_f32();
    let at = |vector: usize, along: usize| {
        f64::from(if rows <= columns {
            values[vector * columns + along]
        } else {
            values[along * columns + vector]
        })
    };
    let long = rows.max(columns);
    let dot = |a: usize, b: usize| (0..long).map(|k| at(a, k) * at(b, k)).sum::<f64>();
    let size = dot(0, 0);
    // Neighbours first: what is not orthogonal is seen at once.
    size > 0.0
        && (0..small).all(|a| (dot(a, a) / size - 1.0).abs() < 1e-3)
        && (1..small).all(|a| (dot(a, a - 1) / size).abs() < 1e-3)
        && (0..small).all(|a| (a + 1..small).all(|b| (dot(a, b) / size).abs() < 1e-3))
}

/// The standard deviation by fans, with the name of the start that asks for it.
fn scale(moments: &Moments, fans: Fans) -> Option<String> {
    let std = moments.variance().sqrt();
    if std == 0.0 || !std.is_finite() {
        return None;
    }
    let gain = std * fans.in_.sqrt();
    // Relative standard error of a standard deviation, of the law with the widest tails in use.
    let error = 3.0 / (2.0 * moments.n as f64).sqrt();
    let named = [
        ("He, fan-in", (2.0 / fans.in_).sqrt()),
        ("He, fan-out", (2.0 / fans.out).sqrt()),
        ("LeCun", (1.0 / fans.in_).sqrt()),
        ("Xavier", (2.0 / (fans.in_ + fans.out)).sqrt()),
        ("torch's default", (1.0 / (3.0 * fans.in_)).sqrt()),
        ("0.02", 0.02),
    ];
    let name = named
        .iter()
        .find(|(_, asked)| (std / asked - 1.0).abs() <= error)
        .map(|(name, _)| format!(" ({name})"));
    Some(format!("{gain:.3}/√fan_in{}", name.unwrap_or_default()))
}

fn table(found: &[Found]) -> Table {
    let mut table = Table::new(
        "parameters",
        "Parameters",
        [
            Column::new("parameter", "parameter", Kind::Text),
            Column::new("shape", "shape", Kind::Text),
            Column::new("role", "role", Kind::Text),
            Column::new("law", "law", Kind::Text).help("What its elements look like."),
            Column::new("scale", "scale", Kind::Text).help("Standard deviation by the fan-in."),
            Column::new("mean", "mean", Kind::Real),
            Column::new("std", "std", Kind::Real),
        ],
    );
    for found in found {
        let shape: Vec<String> = found.shape.iter().map(ToString::to_string).collect();
        table.push([
            Cell::Text(found.name.clone()),
            Cell::Text(shape.join("×")),
            Cell::Text(found.role.to_string()),
            Cell::Text(found.law.to_owned()),
            found.scale.clone().map_or(Cell::Missing, Cell::Text),
            Cell::Real(found.moments.mean),
            Cell::Real(found.moments.variance().sqrt()),
        ]);
    }
    table
}

//! `epoch0 eoc`.

use std::fmt::Write as _;

use epoch0::num::Activation;
use epoch0::num::meanfield::{
    EdgePoint, Layer, MeanFieldError, PhaseReport, Rate, Stability, edge_at_depth, edge_at_q,
    edge_at_sigma_b, edge_range, sparse_edge, sparsity,
};
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Eoc;
use crate::number::short;
use crate::table::{Align, FAINT, NAME, Table};
use crate::terminal;

/// A point of the edge, with its depth scale.
#[derive(Serialize)]
struct Shown {
    activation: String,
    #[serde(flatten)]
    point: EdgePoint,
    /// Share of units that are 0, of activations that have a threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    sparsity: Option<f64>,
    /// Layers over which the variance settles; absent where it does not.
    xi_q: Option<f64>,
    /// Whether a small deviation of the variance comes back, or at least does not grow.
    stable: bool,
    /// What becomes of it.
    verdict: Stability,
}

#[derive(Serialize)]
struct Curve {
    activation: String,
    points: Vec<Shown>,
}

#[derive(Serialize)]
struct Phase<'a> {
    activation: String,
    sigma_w: f64,
    sigma_b: f64,
    start: f64,
    #[serde(flatten)]
    report: &'a PhaseReport,
}

impl Shown {
    fn new(act: &Activation, point: EdgePoint) -> Self {
        let verdict = point.stability();
        Self {
            activation: act.to_string(),
            point,
            sparsity: sparsity(act, point.q),
            xi_q: Some(point.xi_q()).filter(|xi| xi.is_finite()),
            stable: matches!(verdict, Stability::Stable | Stability::Marginal),
            verdict,
        }
    }
}

/// A verdict, for people.
fn said(verdict: Stability) -> &'static str {
    match verdict {
        Stability::Stable => "stable: q comes back",
        Stability::Marginal => "marginal: q stays where it is",
        Stability::UnstableFromAbove => "unstable from above: q does not come back once it is larger",
        Stability::UnstableFromBelow => "unstable from below: q does not come back once it is smaller",
        Stability::Unstable => "unstable: q does not come back",
    }
}

pub(super) fn run(args: &Eoc, json: bool) -> Result<Outcome, Failure> {
    if let Some(sigmas) = &args.phase {
        return phase(args, sigmas[0], sigmas[1], json);
    }
    if args.curve {
        return curve(args, json);
    }
    let q = args.q.unwrap_or(1.0);
    let (act, point) = match (args.sparsity, args.sigma_b, args.depth) {
        (Some(share), _, _) => {
            let edge = sparse_edge(&args.activation, share, args.slope, q)?;
            (edge.activation, edge.point)
        }
        (_, Some(sigma_b), _) => (args.activation.clone(), edge_at_sigma_b(&args.activation, sigma_b)?),
        (_, _, Some(depth)) => (args.activation.clone(), edge_at_depth(&args.activation, depth)?),
        _ => (args.activation.clone(), edge_at_q(&args.activation, q)?),
    };
    let point = Shown::new(&act, point);
    if json {
        return Outcome::json(&point);
    }
    let EdgePoint { q, sigma_w, sigma_b, chi1, variance_slope, variance_curvature, rate } = point.point;
    let mut table = rows();
    let mut row = |name: &str, value: f64, meaning: &str| table.row(cells(name, value, meaning));
    row("σ_w", sigma_w, "standard deviation of weights times √fan_in");
    row("σ_b", sigma_b, "standard deviation of biases");
    row("q", q, "variance of pre-activations, which stays");
    row("χ₁", chi1, "factor of gradients' variance per layer");
    row("V′", variance_slope, "factor of a small deviation of q per layer");
    if let Some(curvature) = variance_curvature {
        row("V″", curvature, "where V′ is 1, above 0 what lifts q is amplified");
    }
    if let Some(share) = point.sparsity {
        row("s", share, "share of units that are 0 behind the activation");
    }
    row("ξ_q", point.point.xi_q(), "layers over which the variance settles");
    let text = match rate {
        Rate::Inverse { beta } => {
            row("β_q", beta, "inputs come together as 1 - c ~ β_q / l");
            String::new()
        }
        Rate::InverseSquare { kappa } => {
            row("κ", kappa, "inputs come together as 1 - c ~ κ / l²");
            String::new()
        }
        Rate::Frozen => "\ncorrelations do not change: the activation is linear here\n".to_owned(),
        Rate::Unknown => {
            "\nthe rate is not known: the second derivative has no second moment, and the first does not jump\n"
                .to_owned()
        }
    };
    table.fit(terminal::width(), &["meaning"]);
    let said = said(point.verdict);
    Ok(Outcome::text(format!("{act} on the edge of chaos\n\n{}{text}\n{said}\n", table.render())))
}

fn rows() -> Table {
    Table::new(&[("", Align::Left), ("value", Align::Right), ("meaning", Align::Left)])
}

fn cells(name: &str, value: f64, meaning: &str) -> Vec<String> {
    let shown = if value.is_infinite() { "∞".to_owned() } else { precise(value) };
    vec![name.to_owned(), shown, meaning.to_owned()]
}

/// Seven digits behind the point, or an exponent where they would say nothing.
fn precise(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        format!("{value:.6e}")
    } else {
        format!("{value:.7}")
    }
}

fn curve(args: &Eoc, json: bool) -> Result<Outcome, Failure> {
    /// Variances that are shown, where the edge reaches so far.
    const SHOWN: (f64, f64) = (1e-2, 1e1);
    let act = &args.activation;
    let (low, high) = edge_range(act)?.unwrap_or((1.0, 1.0));
    let (low, high) = if high > SHOWN.0 && low < SHOWN.1 {
        // Just inside of the ends, where σ_b is 0 to rounding.
        (f64::max(low * (1.0 + 1e-9), SHOWN.0), f64::min(high, SHOWN.1))
    } else {
        (low, high)
    };
    let last = f64::from(args.points - 1);
    let mut points = Vec::new();
    for nth in 0..args.points {
        let q = low * (high / low).powf(f64::from(nth) / last);
        match edge_at_q(act, q) {
            Ok(point) => points.push(Shown::new(act, point)),
            // There may be gaps; nothing but gaps is an error.
            Err(MeanFieldError::NoEdge { .. }) if nth + 1 < args.points || !points.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let curve = Curve { activation: act.to_string(), points };
    if json {
        return Outcome::json(&curve);
    }
    if args.csv {
        let mut out = "q,sigma_w,sigma_b,chi1,variance_slope,horizon\n".to_owned();
        for Shown { point, .. } in &curve.points {
            let horizon = point.rate.horizon().map_or_else(String::new, |horizon| horizon.to_string());
            let EdgePoint { q, sigma_w, sigma_b, chi1, variance_slope, .. } = point;
            let _ = writeln!(out, "{q},{sigma_w},{sigma_b},{chi1},{variance_slope},{horizon}");
        }
        return Ok(Outcome::text(out));
    }
    let mut table = Table::new(&[
        ("q", Align::Right),
        ("σ_w", Align::Right),
        ("σ_b", Align::Right),
        ("V′", Align::Right),
        ("layers", Align::Right),
    ]);
    for Shown { point, .. } in &curve.points {
        let horizon = point.rate.horizon().map_or_else(|| "–".to_owned(), short);
        let numbers = [point.q, point.sigma_w, point.sigma_b, point.variance_slope].map(short);
        table.row(numbers.into_iter().chain([horizon]).collect());
    }
    Ok(Outcome::text(format!(
        "{act}, the edge of chaos (layers: β_q or √κ, by which inputs have come together)\n\n{}\n{}",
        table.render(),
        chart(&curve.points)
    )))
}

/// σ_b to the right, σ_w up.
fn chart(points: &[Shown]) -> String {
    const WIDTH: usize = 56;
    const HEIGHT: usize = 12;
    let ends = |of: fn(&EdgePoint) -> f64| {
        let values = points.iter().map(|point| of(&point.point));
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (bottom, top)) = (ends(|point| point.sigma_b), ends(|point| point.sigma_w));
    let at = |value: f64, low: f64, high: f64, cells: usize| {
        if high > low { ((value - low) / (high - low) * (cells - 1) as f64).round() as usize } else { 0 }
    };
    let mut grid = vec![[' '; WIDTH]; HEIGHT];
    for Shown { point, .. } in points {
        let row = HEIGHT - 1 - at(point.sigma_w, bottom, top, HEIGHT);
        grid[row][at(point.sigma_b, left, right, WIDTH)] = '•';
    }
    let mut out = String::new();
    for (nth, row) in grid.iter().enumerate() {
        let label = match nth {
            0 => short(top),
            _ if nth + 1 == HEIGHT => short(bottom),
            _ => String::new(),
        };
        let line: String = row.iter().collect();
        let _ = writeln!(out, "{FAINT}{label:>8} │{FAINT:#}{NAME}{}{NAME:#}", line.trim_end());
    }
    let (left, right) = (short(left), short(right));
    let gap = WIDTH.saturating_sub(left.len() + right.len());
    let _ = writeln!(out, "{FAINT}{:>8} └{}{FAINT:#}", "σ_w", "─".repeat(WIDTH));
    let _ = writeln!(out, "{FAINT}{:>10}{left}{:gap$}{right}  σ_b{FAINT:#}", "", "");
    out
}

fn phase(args: &Eoc, sigma_w: f64, sigma_b: f64, json: bool) -> Result<Outcome, Failure> {
    let act = &args.activation;
    let report = Layer::new(act, sigma_w, sigma_b)?.phase(args.start)?;
    if json {
        let activation = act.to_string();
        return Outcome::json(&Phase { activation, sigma_w, sigma_b, start: args.start, report: &report });
    }
    let mut table = rows();
    let mut row = |name: &str, value: Option<f64>, meaning: &str| {
        if let Some(value) = value {
            table.row(cells(name, value, meaning));
        }
    };
    row("q", report.q, "where the variance of pre-activations goes");
    row("V′", report.variance_slope, "factor of its deviations per layer");
    row("ξ_q", report.xi_q, "layers over which it settles");
    row("χ₁", report.chi1, "factor of gradients' variance per layer");
    row("ξ_∇", report.xi_gradient, "layers over which that changes by e");
    row("c", report.c, "correlation that two inputs go to");
    row("ξ_c", report.xi_c, "layers over which they do; ∞: as a power of depth");
    match report.rate {
        Some(Rate::Inverse { beta }) => row("β_q", Some(beta), "1 - c ~ β_q / l"),
        Some(Rate::InverseSquare { kappa }) => row("κ", Some(kappa), "1 - c ~ κ / l²"),
        _ => {}
    }
    let table = if report.q.is_some() { format!("\n{}", table.render()) } else { String::new() };
    let said = match report.phase {
        epoch0::num::meanfield::Phase::Ordered => ": inputs come together, gradients vanish",
        epoch0::num::meanfield::Phase::Edge => "",
        epoch0::num::meanfield::Phase::Chaotic => ": inputs come apart, gradients explode",
        epoch0::num::meanfield::Phase::Divergent => ": the variance grows without bound",
        epoch0::num::meanfield::Phase::Oscillating => ": the variance does not settle",
    };
    let name = report.phase.name();
    Ok(Outcome::text(format!("{act}, σ_w = {sigma_w}, σ_b = {sigma_b}: {NAME}{name}{NAME:#}{said}\n{table}")))
}

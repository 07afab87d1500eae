//! `epoch0 gain`.

use epoch0::num::Activation;
use epoch0::num::gain::{self, GainError, Keep};
use epoch0::num::rational::{DENOMINATOR, Form, NUMERATOR, Rational};
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Gain;
use crate::table::{Align, Table};
use crate::terminal;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    value: Option<f64>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    meaning: &'static str,
}

pub(super) fn run(args: &Gain, json: bool) -> Result<Outcome, Failure> {
    if !(args.sigma.is_finite() && args.sigma > 0.0) {
        return Err(Failure::Sigma(args.sigma));
    }
    let Some(act) = args.of() else { return maxout(args.maxout.unwrap_or(1), args.pool.unwrap_or(1), json) };
    if args.rational {
        return rational(act, &args.range, json);
    }
    let row = |name, meaning, value: Result<f64, GainError>| match value {
        Ok(value) => Row { name, value: Some(value), why: None, meaning },
        Err(error) => Row { name, value: None, why: Some(error.to_string()), meaning },
    };
    let fixed = gain::fixed_point_gain(act);
    let (steady, balanced) = (gain::steady_gain(act, args.sigma), gain::balanced_sigma(act));
    let chi_there = fixed.clone().and_then(|sigma| gain::chi(act, sigma));
    let rows = [
        row("torch", "calculate_gain's table", gain::torch_gain(act)),
        row("rms", "1/√E[φ(σz)²]: second moment back to one", gain::rms_gain(act, args.sigma)),
        row("fixed_point", "σ* with E[φ(σ*z)²] = 1: stays at one layer after layer", fixed),
        row("chi", "d log E[φ²] / d log variance at σ: how deviations grow", gain::chi(act, args.sigma)),
        row("chi_at_fixed_point", "the same at σ*", chi_there),
        row(
            "kumar",
            "1/(g′(0) √(1 + g(0)²)): first order, variance after",
            gain::kumar_gain(act, Keep::Post),
        ),
        row(
            "kumar_pre",
            "1/√(g(0)² + g′(0)²): first order, variance before",
            gain::kumar_gain(act, Keep::Pre),
        ),
        row("vi3nr", "σ/√E[φ(σz)²]: standard deviation before activations stays σ", steady.clone()),
        row(
            "vi3nr_squared",
            "its square: the variance of weights times fan_in",
            steady.map(|gain| gain * gain),
        ),
        row(
            "balance",
            "σ² E[φ′²] / E[φ²]: factor of gradients' second moment with it",
            gain::balance(act, args.sigma),
        ),
        row(
            "balanced_sigma",
            "σ_p*, at which that is 1 or closest to it",
            balanced.clone().map(|at| at.sigma),
        ),
        row("balance_at_balanced_sigma", "the factor there", balanced.map(|at| at.ratio)),
    ];
    show(&format!("{act}, σ = {}", args.sigma), &rows, json)
}

/// A rational function that is close to an activation.
#[derive(Serialize)]
struct Fit {
    form: &'static str,
    /// `a_0` to `a_5`.
    numerator: Vec<f64>,
    /// `b_1` to `b_4`.
    denominator: Vec<f64>,
    max_error: f64,
    /// `fan_in` times the variance of the weights behind it.
    alpha: Option<f64>,
}

fn rational(act: &Activation, range: &[f64], json: bool) -> Result<Outcome, Failure> {
    let range = match *range {
        [low, high] => (low, high),
        _ => (f64::NAN, f64::NAN),
    };
    let mut fits = Vec::new();
    for form in [Form::SumOfAbs, Form::AbsOfSum] {
        let found = Rational::fit_on(act, form, range).map_err(Failure::Rational)?;
        fits.push(Fit {
            form: form.name(),
            numerator: found.numerator.to_vec(),
            denominator: found.denominator.to_vec(),
            max_error: found.max_error(range),
            alpha: found.alpha().ok(),
        });
    }
    if json {
        return Outcome::json(&fits);
    }
    let mut table =
        Table::new(&[("", Align::Left), (fits[0].form, Align::Right), (fits[1].form, Align::Right)]);
    let mut row = |name: String, of: &dyn Fn(&Fit) -> f64| {
        let cells = fits.iter().map(|fit| format!("{:.9e}", of(fit)));
        table.row(std::iter::once(name).chain(cells).collect());
    };
    (0..NUMERATOR).for_each(|k| row(format!("a{k}"), &|fit| fit.numerator[k]));
    (0..DENOMINATOR).for_each(|k| row(format!("b{}", k + 1), &|fit| fit.denominator[k]));
    row("largest error".to_owned(), &|fit| fit.max_error);
    row("α".to_owned(), &|fit| fit.alpha.unwrap_or(f64::NAN));
    let (low, high) = range;
    let forms = "sum_abs: 1 + Σ |b_j| |x|^j below the line; abs_sum: 1 + |Σ b_j x^j|; α: fan_in times the variance of \
                 the weights behind it";
    Ok(Outcome::text(format!("{act} from {low} to {high}\n\n{}\n{forms}\n", table.render())))
}

/// Of maxout units, with max-pooling behind.
fn maxout(rank: u32, side: u32, json: bool) -> Result<Outcome, Failure> {
    let found = gain::maxout(rank.saturating_mul(side * side));
    let row = |name, meaning, of: fn(&gain::Maxout) -> f64| match &found {
        Ok(found) => Row { name, value: Some(of(found)), why: None, meaning },
        Err(error) => Row { name, value: None, why: Some(error.to_string()), meaning },
    };
    let rows = [
        row("maxout", "1/√M: second moment back to one", gain::Maxout::gain),
        row("c", "its square: the variance of weights times fan_in", |of| 1.0 / of.second),
        row("M", "E[max²], the second moment behind units of N(0, 1)", |of| of.second),
        row("mean", "E[max]", |of| of.mean),
        row("gradient_low", "cS: least factor of gradients' second moment per layer", |of| {
            of.least / of.second
        }),
        row("gradient_high", "cL: largest factor of it", |of| of.most / of.second),
    ];
    let pool = if side > 1 { format!(", max-pooling {side} × {side} behind") } else { String::new() };
    show(&format!("maxout of rank {rank}{pool}"), &rows, json)
}

fn show(title: &str, rows: &[Row], json: bool) -> Result<Outcome, Failure> {
    if json {
        return Outcome::json(&rows);
    }
    let mut table = Table::new(&[("gain", Align::Left), ("value", Align::Right), ("meaning", Align::Left)]);
    for row in rows {
        let value = row.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.7}"));
        let why = row.why.as_deref().and_then(|why| why.lines().next()).map(|why| format!(" ({why})"));
        table.row(vec![row.name.to_owned(), value, row.meaning.to_owned() + &why.unwrap_or_default()]);
    }
    table.fit(terminal::width(), &["meaning"]);
    Ok(Outcome::text(format!("{title}\n\n{}", table.render())))
}

//! The checks of the init family, and those that are of every family.

use epoch0_method::{At, Bibliography, Entry, Error, Initializer, Kind, SiteLaw, Value, Values};
use epoch0_net::{Network, ParamId};
use epoch0_num::Dtype;

use crate::sample::{covered, default_for, draw, numbers, plan};
use crate::{Check, fixtures};

type Method = &'static Entry<dyn Initializer>;

/// The checks of the init family.
pub static INIT: &[Check<dyn Initializer>] = &[
    Check { name: "info_is_complete", run: info_is_complete },
    Check { name: "params_refuse_what_they_say", run: params_refuse_what_they_say },
    Check { name: "is_for_something", run: is_for_something },
    Check { name: "same_seed_same_bits", run: same_seed_same_bits },
    Check { name: "seed_matters_if_random", run: seed_matters_if_random },
    Check { name: "threads_do_not_matter", run: threads_do_not_matter },
    Check { name: "other_parameters_do_not_matter", run: other_parameters_do_not_matter },
    Check { name: "edges_give_a_result_or_an_error", run: edges_give_a_result_or_an_error },
    Check { name: "moments_are_those_of_the_law", run: moments_are_those_of_the_law },
    Check { name: "values_are_in_the_support", run: values_are_in_the_support },
];

/// The sections of a method's header, in order.
pub const HEADINGS: &[&str] =
    &["Idea", "Method", "Shapes", "Cost", "Departures", "Traps", "Example", "References"];

pub(crate) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

pub(crate) fn info_is_complete<T: ?Sized>(entry: &'static Entry<T>) -> Result<(), String> {
    let info = entry.info;
    let doc = info.doc();
    let mut in_code = false;
    let headings: Vec<_> = doc
        .lines()
        .filter(|line| {
            in_code ^= line.starts_with("```");
            !in_code
        })
        .filter_map(|line| line.strip_prefix("# "))
        .collect();
    ensure(headings == HEADINGS, || format!("headings are {headings:?}, wanted {HEADINGS:?}"))?;
    for heading in HEADINGS {
        let empty = info.section(heading).is_none_or(|section| section.is_empty());
        ensure(!empty, || format!("section {heading} is empty"))?;
    }
    let first = doc.lines().next().unwrap_or_default();
    ensure(first.ends_with('.') && first.contains(": "), || format!("`{first}` is not `Name: sentence.`"))?;
    for key in info.papers {
        ensure(Bibliography::get().find(key).is_some(), || format!("paper `{key}` is not in papers.toml"))?;
    }
    for alias in info.aliases {
        // A name is looked up in lower case with `_`.
        let is_plain =
            alias.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
        ensure(is_plain, || format!("alias `{alias}` is never found: it has to be in lower case with `_`"))?;
    }
    for parameter in info.params {
        ensure(parameter.doc.ends_with('.'), || format!("the text of `{}` is no sentence", parameter.name))?;
    }
    Ok(())
}

pub(crate) fn params_refuse_what_they_say<T: ?Sized>(entry: &'static Entry<T>) -> Result<(), String> {
    let build = |name: &str, value: Value| (entry.build)(&Values::from([(name.to_owned(), value)]));
    let refused = |name: &str, value: Value| match build(name, value.clone()) {
        Err(Error::Param { name: named, .. }) if named == name => Ok(()),
        Err(other) => Err(format!("{name} = {value} is refused as `{other}`")),
        Ok(_) => Err(format!("{name} = {value} is accepted")),
    };
    for parameter in entry.info.params {
        let default = (parameter.default)();
        build(parameter.name, default).map_err(|error| format!("default of {}: {error}", parameter.name))?;
        if matches!(parameter.kind, Kind::Number | Kind::Integer) {
            refused(parameter.name, Value::Number(parameter.range.outside()))?;
            refused(parameter.name, Value::Number(f64::NAN))?;
            refused(parameter.name, Value::Number(f64::INFINITY))?;
        }
        if parameter.kind != Kind::Text {
            refused(parameter.name, Value::Text("no such word".to_owned()))?;
        }
        if !parameter.optional {
            refused(parameter.name, Value::Auto)?;
        }
    }
    match build("no_such_parameter", Value::Number(1.0)) {
        Err(Error::UnknownParam { .. }) => Ok(()),
        _ => Err("an unknown parameter is not refused".to_owned()),
    }
}

/// The fixtures, or for a method that is for none of them the one whose weights are learned through others.
fn fixtures_of(entry: Method) -> Result<Vec<Network>, String> {
    let all = fixtures::all();
    for net in &all {
        if !covered(entry, net)?.is_empty() {
            return Ok(all);
        }
    }
    Ok(vec![fixtures::learned()])
}

fn is_for_something(entry: Method) -> Result<(), String> {
    for net in fixtures_of(entry)? {
        if !covered(entry, &net)?.is_empty() {
            return Ok(());
        }
    }
    Err("no parameter of any fixture is covered".to_owned())
}

/// Runs `check` with every fixture that the method is for something in.
fn on_each(entry: Method, check: impl Fn(&Network, &[ParamId]) -> Result<(), String>) -> Result<(), String> {
    for net in fixtures_of(entry)? {
        let params = covered(entry, &net)?;
        if !params.is_empty() {
            check(&net, &params).map_err(|why| format!("{}: {why}", net.name()))?;
        }
    }
    Ok(())
}

fn same_seed_same_bits(entry: Method) -> Result<(), String> {
    on_each(entry, |net, params| {
        let (a, b) = (draw(entry, net, params, 7)?, draw(entry, net, params, 7)?);
        ensure(a == b, || "two draws with one seed differ".to_owned())
    })
}

fn seed_matters_if_random(entry: Method) -> Result<(), String> {
    let mut differs = false;
    let mut any = false;
    for net in fixtures_of(entry)? {
        let params = covered(entry, &net)?;
        any |= !params.is_empty();
        differs |= draw(entry, &net, &params, 1)? != draw(entry, &net, &params, 2)?;
    }
    let says = entry.info.random;
    ensure(!any || differs == says, || format!("says random: {says}, but two seeds differ: {differs}"))
}

fn threads_do_not_matter(entry: Method) -> Result<(), String> {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())
    };
    let (one, four) = (pool(1)?, pool(4)?);
    on_each(entry, |net, params| {
        let first = one.install(|| draw(entry, net, params, 7))?;
        if first != one.install(|| draw(entry, net, params, 7))? {
            // Not the same even alone: `same_seed_same_bits` says so.
            return Ok(());
        }
        ensure(first == four.install(|| draw(entry, net, params, 7))?, || "1 and 4 threads differ".to_owned())
    })
}

fn other_parameters_do_not_matter(entry: Method) -> Result<(), String> {
    let (small, large) = (fixtures::mlp(&[64, 256, 10]), fixtures::mlp(&[64, 256, 256, 10]));
    let Some(id) = small.find("0.weight") else { return Ok(()) };
    if !covered(entry, &small)?.contains(&id) {
        return Ok(());
    }
    let law = |net| Ok::<_, String>(plan(entry, net, &[id], 7)?.sites_of(id)[0].law.clone());
    if law(&small)? != law(&large)? {
        // A law may depend on depth; bits of equal laws may not depend on what else there is.
        return Ok(());
    }
    let drawn = draw(entry, &small, &[id], 7)?;
    if drawn != draw(entry, &small, &[id], 7)? {
        return Ok(());
    }
    ensure(drawn == draw(entry, &large, &[id], 7)?, || {
        "0.weight has other bits in a network with one layer more".to_owned()
    })
}

fn edges_give_a_result_or_an_error(entry: Method) -> Result<(), String> {
    for mut net in fixtures::edges() {
        let Some(method) = default_for(entry, &net)? else { continue };
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F64] {
            net.set_dtype(dtype);
            for site in net.sites().iter().filter(|site| site.is_own) {
                if let Err(error) = method.law(&At { net: &net, site }) {
                    let text = error.to_string();
                    ensure(text.starts_with(entry.info.id), || format!("`{text}` does not name the method"))?;
                }
            }
            let params = covered(entry, &net)?;
            draw(entry, &net, &params, 7).map_err(|why| format!("{} as {dtype}: {why}", net.name()))?;
        }
    }
    Ok(())
}

/// For every covered parameter with enough elements: its law, where one covers all of it, and its numbers.
fn samples(
    entry: Method,
    check: impl Fn(&str, &SiteLaw, &[f64]) -> Result<(), String>,
) -> Result<(), String> {
    on_each(entry, |net, params| {
        let plan = plan(entry, net, params, 7)?;
        for &id in params {
            let param = net.param(id);
            let sites = plan.sites_of(id);
            if param.dtype != Dtype::F32 || sites.iter().any(|site| site.law != sites[0].law) {
                continue;
            }
            let (bytes, _) = plan.draw_whole(id).map_err(|error| error.to_string())?;
            let mut values = numbers(&bytes);
            if let Some(row) = param.padding_row {
                values.drain(row * param.shape[1]..(row + 1) * param.shape[1]);
            }
            check(&param.name, &sites[0].law, &values)?;
        }
        Ok(())
    })
}

fn moments_are_those_of_the_law(entry: Method) -> Result<(), String> {
    samples(entry, |name, law, values| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let central = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / n;
        let (var, wanted) = (central(2), law.std() * law.std());
        // Spread of the squares: the law's where each weight is drawn by itself, else that of the sample.
        let fourth = match law {
            SiteLaw::Each(law) => law.fourth_central_moment(),
            SiteLaw::Joint(_) => central(4),
        };
        let roundoff = 1e-6 * (law.mean() * law.mean() + wanted).max(f64::MIN_POSITIVE);
        let mean_error = 5.0 * (wanted / n).sqrt() + roundoff.sqrt() * 1e-3;
        ensure((mean - law.mean()).abs() <= mean_error, || {
            format!("{name}: mean {mean:e}, law {:e} ± {mean_error:e}", law.mean())
        })?;
        let var_error = 5.0 * ((fourth - wanted * wanted).max(0.0) / n).sqrt() + 5.0 * wanted / n + roundoff;
        ensure((var - wanted).abs() <= var_error, || {
            format!("{name}: variance {var:e}, law {wanted:e} ± {var_error:e}")
        })
    })
}

fn values_are_in_the_support(entry: Method) -> Result<(), String> {
    samples(entry, |name, law, values| {
        let (low, high) = law.support();
        let slack = 1e-6 * low.abs().max(high.abs());
        let slack = if slack.is_finite() { slack } else { 0.0 };
        match values.iter().find(|&&value| value < low - slack || value > high + slack) {
            Some(value) => Err(format!("{name}: {value} is outside of {low} to {high}")),
            None => Ok(()),
        }
    })
}

//! `epoch0 learngene`.

use std::fmt::Write as _;
use std::path::Path;

use epoch0::data::Dataset;
use epoch0::engine::{Device, Precision};
use epoch0::format::{NewFolder, Replace};
use epoch0::inheriting::learngene_pool::{
    Described as Built, LearngenePool as Method, Start, Tested, distill,
};
use epoch0::method::{Params, Value, Values};
use epoch0::train::Status;
use epoch0::train::record::Teacher;
use epoch0::{Described, LearngenePool, draw_weights};
use serde::Serialize;
use serde_json::json;

use super::train::{Bar, Teaching};
use super::{Failure, Outcome};
use crate::args::{Distill, Export, Learngene, Stitch, Test, TrainPool};
use crate::number::short;
use crate::table::{Align, FAINT, Table};
use crate::terminal;

pub(super) fn run(args: &Learngene, json: bool) -> Result<Outcome, Failure> {
    terminal::catch_interrupts();
    match args {
        Learngene::Distill(args) => distilled(args, json),
        Learngene::Stitch(args) => stitched(args, json),
        Learngene::Train(args) => trained(args, json),
        Learngene::Test(args) => tested(args, json),
        Learngene::Export(args) => exported(args, json),
    }
}

fn method(set: &[(String, String)], more: &[(&str, Option<&String>)]) -> Result<Method, Failure> {
    let mut values: Values = set.iter().map(|(name, value)| (name.clone(), Value::parse(value))).collect();
    for (name, value) in more {
        if let Some(value) = value {
            values.insert((*name).to_owned(), Value::parse(value));
        }
    }
    Ok(Method::from_values("learngene_pool", &values)?)
}

fn replace(force: bool) -> Replace {
    if force { Replace::Checkpoint } else { Replace::Never }
}

/// What stands where the result is to be written is refused before anything is trained.
fn check_free(out: &Path, force: bool) -> Result<(), Failure> {
    NewFolder::begin(out, replace(force))?;
    Ok(())
}

fn ended(status: &Status) -> Result<(), Failure> {
    match status {
        Status::Finished => Ok(()),
        Status::Stopped { step } => Err(Failure::Interrupted { step: *step, out: None }),
        Status::Diverged { step, what } => {
            Err(Failure::Training(format!("{what} of step {step} is not finite\nhint: take a smaller --lr")))
        }
    }
}

/// A network that was distilled.
#[derive(Serialize)]
struct Row {
    network: String,
    #[serde(flatten)]
    tested: Tested,
    /// How much each transformation changed.
    moved: Vec<f64>,
    /// How far the rows of its transformation are from orthogonal.
    skew: Option<f64>,
}

fn distilled(args: &Distill, json: bool) -> Result<Outcome, Failure> {
    check_free(&args.out, args.force)?;
    let method = method(&args.set, &[])?;
    let settings = args.training.settings(args.seed).map_err(Failure::Training)?;
    let spec = args.training.data.as_deref().unwrap_or_default();
    let data = Dataset::open(spec)?;
    let ancestry = Described::open_with(&args.ancestry, true)?;
    let theirs = ancestry.own_weights(Precision::Single, &Device::cpu())?;
    let theirs =
        theirs.ok_or_else(|| Failure::NoWeights { what: "ancestry", given: args.ancestry.clone() })?;
    let networks = args.to.iter().map(|net| Described::open_with(net, true));
    let networks = networks.collect::<Result<Vec<_>, _>>()?;
    let (mut members, mut moved) = (Vec::new(), Vec::new());
    for described in &networks {
        let recipe = match &args.with {
            Some(method) => described.recipe_with(method),
            None => described.usual_recipe(),
        };
        let start = draw_weights(&described.net, &recipe, args.seed, Precision::Single, &Device::cpu())?;
        let steps = settings.length.steps(settings.pace(data.train.len()));
        let mut bar = Bar::over(steps, "distilling");
        let found =
            distill(&method, (&ancestry.net, &theirs), (&described.net, &start), &data, settings, &mut bar);
        bar.bar.finish_and_clear();
        let found = found?;
        ended(&found.status)?;
        members.push(found.member);
        moved.push(found.moved);
    }
    let history = json!({
        "stage": "distill", "ancestry": args.ancestry, "to": args.to, "data": spec, "seed": args.seed, "set": args.set,
        "settings": settings,
    });
    let pool = LearngenePool::new(&networks, &members, vec![history])?;
    let tested = pool.pool.test(&data)?;
    pool.write(&args.out, replace(args.force))?;
    let rows = tested.into_iter().zip(moved).enumerate().map(|(at, (tested, moved))| Row {
        network: args.to[at].clone(),
        tested,
        moved,
        skew: pool.pool.skew(at),
    });
    let rows: Vec<Row> = rows.collect();
    if json {
        return Outcome::json(&rows);
    }
    let mut table = Table::new(&[
        ("#", Align::Right),
        ("network", Align::Left),
        ("parameters", Align::Right),
        ("multiply-adds", Align::Right),
        ("test %", Align::Right),
        ("loss", Align::Right),
        ("M moved by", Align::Right),
        ("off orthogonal", Align::Right),
    ]);
    for (at, row) in rows.iter().enumerate() {
        let least = row.moved.iter().copied().fold(f64::INFINITY, f64::min);
        table.row(vec![
            at.to_string(),
            row.network.clone(),
            row.tested.of.n_params.to_string(),
            work(&row.tested.of),
            percent(row.tested.accuracy),
            short(row.tested.loss),
            format!("{:.0} %", 100.0 * least),
            row.skew.map_or_else(String::new, short),
        ]);
    }
    table.fit(terminal::width(), &["off orthogonal", "M moved by"]);
    Ok(Outcome::text(format!(
        "{}\n{FAINT}M is what a network's features are made of the ancestry's; 0 off orthogonal and Mᵀ undoes it{FAINT:#}\nwrote {}\n",
        table.render(),
        args.out.display()
    )))
}

fn work(of: &Built) -> String {
    of.multiply_adds.map_or_else(|| "?".to_owned(), |n| short(n as f64))
}

fn percent(accuracy: Option<f64>) -> String {
    accuracy.map_or_else(String::new, |share| format!("{:.1}", 100.0 * share))
}

fn stitched(args: &Stitch, json: bool) -> Result<Outcome, Failure> {
    check_free(&args.out, args.force)?;
    let method = method(&args.set, &[("start", args.start.as_ref())])?;
    let mut pool = LearngenePool::open(&args.pool)?;
    let n = pool.pool.networks().len();
    let pairs = match &args.pair[..] {
        [] if n > 1 => (1..n).map(|end| (end - 1, end)).collect(),
        pairs => pairs.to_vec(),
    };
    let data = match (&args.data, method.start) {
        (Some(spec), Start::LeastSquares) => Some(Dataset::open(spec)?),
        _ => None,
    };
    pool.pool = pool.pool.stitch(&method, pairs, data.as_ref(), args.seed)?;
    pool.history.push(json!({
        "stage": "stitch", "start": args.start, "data": args.data, "seed": args.seed, "set": args.set,
    }));
    pool.write(&args.out, replace(args.force))?;
    let described = pool.pool.described()?;
    if json {
        return Outcome::json(&described);
    }
    let mut text = list(&described, None);
    let _ = writeln!(text, "wrote {}", args.out.display());
    Ok(Outcome::text(text))
}

fn trained(args: &TrainPool, json: bool) -> Result<Outcome, Failure> {
    check_free(&args.out, args.force)?;
    let method = method(&[], &[("sample", args.sample.as_ref())])?;
    let settings = args.training.settings(args.seed).map_err(Failure::Training)?;
    let spec = args.training.data.as_deref().unwrap_or_default();
    let data = Dataset::open(spec)?;
    let mut pool = LearngenePool::open(&args.pool)?;
    let by = args.teacher.clone().map(|from| Teacher { from, loss: 0.5, answers: 0.5, temperature: 1.0 });
    let teaching = Teaching::open(by.as_ref(), &data, &Device::cpu())?;
    let lesson = teaching.as_ref().map(Teaching::lesson).transpose()?;
    let lesson = lesson.as_ref().map(|lesson| lesson as &dyn epoch0::train::lesson::Lesson);
    let steps = settings.length.steps(settings.pace(data.train.len()));
    let mut bar = Bar::over(steps, "training");
    let status = pool.pool.train(method.sample, &data, settings, lesson, &mut bar);
    bar.bar.finish_and_clear();
    ended(&status?)?;
    pool.history.push(json!({
        "stage": "train", "teacher": args.teacher, "sample": args.sample, "data": spec, "seed": args.seed,
        "settings": settings,
    }));
    let tested = pool.pool.test(&data)?;
    pool.write(&args.out, replace(args.force))?;
    if json {
        return Outcome::json(&tested);
    }
    let mut text = of_tested(&tested);
    let _ = writeln!(text, "wrote {}", args.out.display());
    Ok(Outcome::text(text))
}

fn tested(args: &Test, json: bool) -> Result<Outcome, Failure> {
    let pool = LearngenePool::open(&args.pool)?;
    let Some(data) = &args.data else {
        let described = pool.pool.described()?;
        return if json { Outcome::json(&described) } else { Ok(Outcome::text(list(&described, None))) };
    };
    let tested = pool.pool.test(&Dataset::open(data)?)?;
    if json { Outcome::json(&tested) } else { Ok(Outcome::text(of_tested(&tested))) }
}

fn exported(args: &Export, json: bool) -> Result<Outcome, Failure> {
    let pool = LearngenePool::open(&args.pool)?;
    let described = pool.pool.described()?;
    let given = |given: String, hint: String| Failure::Unknown { what: "network of the pool", given, hint };
    let one = match (args.network, args.at_most) {
        (Some(number), _) => described.get(number).cloned().ok_or_else(|| {
            given(number.to_string(), format!("they are 0 to {} (`learngene test`)", described.len() - 1))
        })?,
        (None, most) => {
            let most = most.unwrap_or(f64::INFINITY);
            let fits = |of: &Built| of.multiply_adds.is_some_and(|n| n as f64 <= most);
            let best = match &args.data {
                None => described.iter().filter(|of| fits(of)).max_by_key(|of| of.multiply_adds).cloned(),
                Some(data) => {
                    let tested = pool.pool.test(&Dataset::open(data)?)?;
                    let worth = |one: &Tested| one.accuracy.unwrap_or(-one.loss);
                    let best = tested.into_iter().filter(|one| fits(&one.of));
                    best.max_by(|a, b| worth(a).total_cmp(&worth(b))).map(|one| one.of)
                }
            };
            best.ok_or_else(|| {
                let least = described.iter().filter_map(|of| of.multiply_adds).min();
                let least = least.map_or_else(|| "not known".to_owned(), |least| least.to_string());
                given(format!("of at most {most}"), format!("the smallest takes {least} multiply-adds"))
            })?
        }
    };
    pool.export(one.build, &args.out, replace(args.force))?;
    if json {
        return Outcome::json(&one);
    }
    Ok(Outcome::text(format!(
        "{}: {} parameters, {} multiply-adds\nwrote {}\n",
        one.build,
        one.n_params,
        work(&one),
        args.out.display()
    )))
}

fn of_tested(tested: &[Tested]) -> String {
    let described: Vec<Built> = tested.iter().map(|one| one.of.clone()).collect();
    list(&described, Some(tested))
}

fn list(described: &[Built], tested: Option<&[Tested]>) -> String {
    let mut table = Table::new(&[
        ("#", Align::Right),
        ("network", Align::Left),
        ("parameters", Align::Right),
        ("multiply-adds", Align::Right),
        ("test %", Align::Right),
        ("loss", Align::Right),
    ]);
    for (at, of) in described.iter().enumerate() {
        let tested = tested.map(|tested| &tested[at]);
        table.row(vec![
            at.to_string(),
            of.build.to_string(),
            of.n_params.to_string(),
            work(of),
            percent(tested.and_then(|one| one.accuracy)),
            tested.map_or_else(String::new, |one| short(one.loss)),
        ]);
    }
    table.fit(terminal::width(), &["loss"]);
    table.render() + "\n"
}

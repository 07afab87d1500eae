//! The contract of the examine family.

pub mod mutants;
mod starts;

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use epoch0_examine::{Error, Examiner, Reading, Subject, Watch};
use epoch0_method::reading::{Cell, Health, Severity};
use epoch0_method::{Entry, Values};

use crate::Check;
use crate::checks::{ensure, info_is_complete, params_refuse_what_they_say};
use starts::Start;

type Method = &'static Entry<dyn Examiner>;

/// The checks of the examine family.
pub static EXAMINE: &[Check<dyn Examiner>] = &[
    Check { name: "info_is_complete", run: info_is_complete },
    Check { name: "params_refuse_what_they_say", run: params_refuse_what_they_say },
    Check { name: "healthy_starts_are_healthy", run: healthy_starts_are_healthy },
    Check { name: "same_seed_same_bits", run: same_seed_same_bits },
    Check { name: "seed_matters_if_random", run: seed_matters_if_random },
    Check { name: "threads_do_not_matter", run: threads_do_not_matter },
    Check { name: "start_is_left_as_it_is", run: start_is_left_as_it_is },
    Check { name: "edges_give_a_result_or_an_error", run: edges_give_a_result_or_an_error },
    Check { name: "weights_that_are_no_numbers_are_told", run: weights_that_are_no_numbers_are_told },
    Check { name: "findings_are_explained", run: findings_are_explained },
    Check { name: "is_followed_and_ended", run: is_followed_and_ended },
];

fn read(entry: Method, start: &Start, seed: u64, watch: Watch<'_>) -> Result<Reading, Error> {
    let method = (entry.build)(&Values::new())?;
    let subject = Subject { network: &start.network, weights: &start.weights, probe: &start.probe, seed };
    method.examine(&subject, watch)
}

/// A reading to the last bit, or what is said instead.
fn shown(entry: Method, start: &Start, seed: u64) -> String {
    // The shortest text of a number that reads back as it.
    match read(entry, start, seed, Watch::default()) {
        Ok(reading) => format!("{reading:?}"),
        Err(error) => error.to_string(),
    }
}

fn on_each(starts: &[Start], check: impl Fn(&Start) -> Result<(), String>) -> Result<(), String> {
    starts.iter().try_for_each(|start| check(start).map_err(|why| format!("{}: {why}", start.name)))
}

fn healthy_starts_are_healthy(entry: Method) -> Result<(), String> {
    on_each(&starts::healthy(), |start| {
        let reading = read(entry, start, 7, Watch::default()).map_err(|error| error.to_string())?;
        ensure(reading.method == entry.info.id, || format!("says that it is of `{}`", reading.method))?;
        let is_empty = reading.quantities.is_empty() && reading.findings.is_empty();
        ensure(!is_empty, || "nothing was read".to_owned())?;
        match reading.findings.iter().find(|finding| finding.severity == Severity::Bad) {
            Some(bad) => Err(format!("{}: {}", bad.name, bad.what)),
            None => Ok(()),
        }
    })
}

fn same_seed_same_bits(entry: Method) -> Result<(), String> {
    on_each(&starts::healthy(), |start| {
        ensure(shown(entry, start, 7) == shown(entry, start, 7), || {
            "two readings with one seed differ".to_owned()
        })
    })
}

fn seed_matters_if_random(entry: Method) -> Result<(), String> {
    let differs = starts::healthy().iter().any(|start| shown(entry, start, 1) != shown(entry, start, 2));
    let says = entry.info.random;
    ensure(differs == says, || format!("says random: {says}, but two seeds differ: {differs}"))
}

fn threads_do_not_matter(entry: Method) -> Result<(), String> {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())
    };
    let (one, four) = (pool(1)?, pool(4)?);
    on_each(&starts::healthy(), |start| {
        let first = one.install(|| shown(entry, start, 7));
        if first != one.install(|| shown(entry, start, 7)) {
            // Not the same even alone: `same_seed_same_bits` says so.
            return Ok(());
        }
        ensure(first == four.install(|| shown(entry, start, 7)), || "1 and 4 threads differ".to_owned())
    })
}

fn start_is_left_as_it_is(entry: Method) -> Result<(), String> {
    on_each(&starts::healthy(), |start| {
        let before = start.bits();
        shown(entry, start, 7);
        ensure(before == start.bits(), || "weights or inputs are others afterwards".to_owned())
    })
}

/// The first number that is NaN.
fn nan(reading: &Reading) -> Option<String> {
    let quantity = reading.quantities.iter().find(|quantity| quantity.value.is_nan());
    let finding = reading.findings.iter().find(|finding| finding.measured.is_some_and(f64::is_nan));
    let cell = reading.tables.iter().find_map(|table| {
        let is_nan = |cell: &Cell| matches!(cell, Cell::Real(value) if value.is_nan());
        let at = table.rows.iter().flatten().position(is_nan)?;
        let column = &table.columns[at % table.columns.len().max(1)].name;
        Some(format!("column `{column}` of table `{}`", table.name))
    });
    let quantity = quantity.map(|quantity| format!("quantity `{}`", quantity.name));
    quantity.or(finding.map(|finding| format!("finding `{}`", finding.name))).or(cell)
}

fn edges_give_a_result_or_an_error(entry: Method) -> Result<(), String> {
    on_each(&starts::edges(), |start| match read(entry, start, 7, Watch::default()) {
        Ok(reading) => nan(&reading).map_or(Ok(()), |place| Err(format!("{place} is NaN"))),
        Err(error) => {
            let text = error.to_string();
            ensure(text.len() > 10, || format!("`{text}` says nothing"))
        }
    })
}

fn weights_that_are_no_numbers_are_told(entry: Method) -> Result<(), String> {
    on_each(&starts::broken(), |start| match read(entry, start, 7, Watch::default()) {
        Ok(reading) => {
            let tells = reading
                .findings
                .iter()
                .any(|finding| finding.severity == Severity::Bad && finding.health == Health::Broken);
            ensure(tells, || "no finding says that numbers are none".to_owned())
        }
        Err(error) => Err(format!("an error instead of a verdict: {error}")),
    })
}

fn findings_are_explained(entry: Method) -> Result<(), String> {
    let all: Vec<Start> =
        [starts::healthy(), starts::sick(), starts::broken()].into_iter().flatten().collect();
    on_each(&all, |start| {
        let Ok(reading) = read(entry, start, 7, Watch::default()) else { return Ok(()) };
        for finding in &reading.findings {
            let name = &finding.name;
            ensure(finding.what.ends_with('.'), || format!("{name}: `{}` is no sentence", finding.what))?;
            if finding.severity >= Severity::Warn {
                ensure(!finding.reason.is_empty(), || format!("{name} gives no reason"))?;
                ensure(!finding.help.is_empty(), || format!("{name} does not say what helps"))?;
                // A finding that names no state would be called broken.
                let is_named = finding.severity == Severity::Warn || finding.health != Health::Healthy;
                ensure(is_named, || format!("{name} is bad, and names no state"))?;
            }
            let (Some(measured), Some(bound)) = (finding.measured, finding.bound) else { continue };
            let is_kept = bound.allows(measured);
            let is_right = match finding.severity {
                Severity::Ok => is_kept,
                Severity::Bad => !is_kept,
                _ => true,
            };
            ensure(is_right, || {
                format!("{name} is {}, with {measured} for {bound:?}", finding.severity.name())
            })?;
        }
        Ok(())
    })
}

fn is_followed_and_ended(entry: Method) -> Result<(), String> {
    let start = &starts::healthy()[0];
    let said = RefCell::new(Vec::new());
    let progress = |share: f64| said.borrow_mut().push(share);
    if let Err(error) = read(entry, start, 7, Watch { cancel: None, progress: Some(&progress) }) {
        return Err(error.to_string());
    }
    let said = said.into_inner();
    ensure(said.last() == Some(&1.0), || format!("the last share that is said is {:?}", said.last()))?;
    let rises = said.windows(2).all(|pair| pair[0] <= pair[1])
        && said.iter().all(|share| (0.0..=1.0).contains(share));
    ensure(rises, || format!("shares do not rise from 0 to 1: {said:?}"))?;
    let cancel = AtomicBool::new(true);
    match read(entry, start, 7, Watch { cancel: Some(&cancel), progress: None }) {
        Err(Error::Cancelled) => Ok(()),
        Err(error) => Err(format!("says `{error}` when it is to end")),
        Ok(_) => Err("does not end when it is to".to_owned()),
    }
}

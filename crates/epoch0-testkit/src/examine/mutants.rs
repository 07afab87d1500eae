//! Examiners that are broken in one way each: the check that is for it fails on them, and no other does.
//!
//! That a start is left as it is has no mutant: nothing but the engine can change one.

use std::sync::atomic::{AtomicU64, Ordering};

use epoch0_examine::{Error, Examiner, Reading, Subject, Watch};
use epoch0_method::reading::{Bound, Finding, Health, Quantity, Severity};
use epoch0_method::{Entry, Family, Info, Params, Status, Values};
use epoch0_num::Stream;

/// A mutant and the check that has to catch it.
#[derive(Debug)]
pub struct Mutant {
    /// The broken method.
    pub entry: &'static Entry<dyn Examiner>,
    /// The check that fails, and the only one; `None` for the method that the others are mutants of.
    pub caught_by: Option<&'static str>,
}

/// All of them.
pub static ALL: &[Mutant] = &[
    Mutant { entry: &SOUND, caught_by: None },
    Mutant { entry: &UNDOCUMENTED, caught_by: Some("info_is_complete") },
    Mutant { entry: &CREDULOUS, caught_by: Some("params_refuse_what_they_say") },
    Mutant { entry: &GLOOMY, caught_by: Some("healthy_starts_are_healthy") },
    Mutant { entry: &FORGETFUL, caught_by: Some("same_seed_same_bits") },
    Mutant { entry: &DEAF, caught_by: Some("seed_matters_if_random") },
    Mutant { entry: &COUNTS_THREADS, caught_by: Some("threads_do_not_matter") },
    Mutant { entry: &FRAGILE, caught_by: Some("edges_give_a_result_or_an_error") },
    Mutant { entry: &BLIND, caught_by: Some("weights_that_are_no_numbers_are_told") },
    Mutant { entry: &TERSE, caught_by: Some("findings_are_explained") },
    Mutant { entry: &STUBBORN, caught_by: Some("is_followed_and_ended") },
];

/// How a mutant is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Credulous,
    Gloomy,
    Forgetful,
    Deaf,
    CountsThreads,
    Fragile,
    Blind,
    Terse,
    Stubborn,
}

/// Parameters of the method that the mutants come from.
#[derive(Clone, Debug, Params)]
struct Size {
    /// Largest mean square of weights.
    #[param(default = 100.0, range = "(0, inf)")]
    most: f64,
}

#[derive(Debug)]
struct Broken {
    size: Size,
    flaw: Flaw,
}

const SOURCE: &str = include_str!("../sound.txt");

macro_rules! mutant {
    ($entry:ident, $info:ident, $id:literal, $source:expr, $flaw:ident) => {
        static $info: Info = Info {
            id: $id,
            aliases: &[],
            family: Family::Examine,
            papers: &["he2015delving"],
            source: $source,
            params: Size::PARAMS,
            random: true,
            status: Status::Checked { since: "0.1.0" },
            waivers: &[],
        };
        static $entry: Entry<dyn Examiner> =
            Entry { info: &$info, build: |values| make($id, values, Flaw::$flaw), claims: &[] };
    };
}
mutant!(SOUND, SOUND_INFO, "sound", SOURCE, None);
mutant!(UNDOCUMENTED, UNDOCUMENTED_INFO, "undocumented", "//! Undocumented: it says nothing.", None);
mutant!(CREDULOUS, CREDULOUS_INFO, "credulous", SOURCE, Credulous);
mutant!(GLOOMY, GLOOMY_INFO, "gloomy", SOURCE, Gloomy);
mutant!(FORGETFUL, FORGETFUL_INFO, "forgetful", SOURCE, Forgetful);
mutant!(DEAF, DEAF_INFO, "deaf", SOURCE, Deaf);
mutant!(COUNTS_THREADS, COUNTS_THREADS_INFO, "counts_threads", SOURCE, CountsThreads);
mutant!(FRAGILE, FRAGILE_INFO, "fragile", SOURCE, Fragile);
mutant!(BLIND, BLIND_INFO, "blind", SOURCE, Blind);
mutant!(TERSE, TERSE_INFO, "terse", SOURCE, Terse);
mutant!(STUBBORN, STUBBORN_INFO, "stubborn", SOURCE, Stubborn);

fn make(id: &'static str, values: &Values, flaw: Flaw) -> Result<Box<dyn Examiner>, epoch0_method::Error> {
    let size = if flaw == Flaw::Credulous { Size::default() } else { Size::from_values(id, values)? };
    Ok(Box::new(Named { id, broken: Broken { size, flaw } }))
}

/// A mutant with its id, which its readings carry.
#[derive(Debug)]
struct Named {
    id: &'static str,
    broken: Broken,
}

impl Examiner for Named {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let Broken { size, flaw } = &self.broken;
        let watch = if *flaw == Flaw::Stubborn { Watch { cancel: None, ..watch } } else { watch };
        watch.reach(0.0)?;
        let values: Vec<f32> = subject.weights.iter().flat_map(|(_, value)| value.to_f32()).collect();
        let mean =
            values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / values.len().max(1) as f64;
        let mut reading = Reading::new(self.id, "Size of weights", "All of them.");
        let bound = Bound::AtMost(if *flaw == Flaw::Gloomy { 0.0 } else { size.most });
        let finding = |severity, health, what: &str| {
            let finding = Finding::new("size", severity, health, what);
            let finding = finding.measured(mean, "", Some(bound)).reason("Large weights make large signals.");
            match severity {
                Severity::Ok => finding,
                _ if *flaw == Flaw::Terse => finding,
                _ => finding.help("Smaller weights."),
            }
        };
        reading.findings.push(if mean.is_nan() && *flaw != Flaw::Blind {
            finding(Severity::Bad, Health::Broken, "Weights are no numbers.")
        } else if bound.allows(mean) || mean.is_nan() {
            let severity = if mean.is_nan() { Severity::Note } else { Severity::Ok };
            finding(severity, Health::Healthy, "Weights are small.")
        } else {
            finding(Severity::Bad, Health::Exploding, "Weights are large.")
        });
        let seed = match flaw {
            Flaw::Deaf => 0,
            Flaw::Forgetful => CALLS.fetch_add(1, Ordering::Relaxed),
            Flaw::CountsThreads => subject.seed + 1000 * rayon::current_num_threads() as u64,
            _ => subject.seed,
        };
        let drawn = f64::from(Stream::new(seed, "size").word(0));
        let is_fragile = *flaw == Flaw::Fragile && subject.probe.len() == 1;
        reading.quantities.push(Quantity::new(
            "drawn",
            "a number",
            if is_fragile { f64::NAN } else { drawn },
            "",
        ));
        watch.reach(1.0)?;
        Ok(reading)
    }
}

//! Methods that are broken in one way each: the check that is for it fails on them, and no other does.

use std::sync::atomic::{AtomicU64, Ordering};

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::{Law, Stream};

/// A mutant and the check that has to catch it.
#[derive(Debug)]
pub struct Mutant {
    /// The broken method.
    pub entry: &'static Entry<dyn Initializer>,
    /// The check that fails, and the only one; `None` for the method that the others are mutants of.
    pub caught_by: Option<&'static str>,
}

/// All of them.
pub static ALL: &[Mutant] = &[
    Mutant { entry: &SOUND, caught_by: None },
    Mutant { entry: &UNDOCUMENTED, caught_by: Some("info_is_complete") },
    Mutant { entry: &CREDULOUS, caught_by: Some("params_refuse_what_they_say") },
    Mutant { entry: &IDLE, caught_by: Some("is_for_something") },
    Mutant { entry: &FORGETFUL, caught_by: Some("same_seed_same_bits") },
    Mutant { entry: &DEAF, caught_by: Some("seed_matters_if_random") },
    Mutant { entry: &COUNTS_THREADS, caught_by: Some("threads_do_not_matter") },
    Mutant { entry: &NOSY, caught_by: Some("other_parameters_do_not_matter") },
    Mutant { entry: &FRAGILE, caught_by: Some("edges_give_a_result_or_an_error") },
    Mutant { entry: &LAZY, caught_by: Some("moments_are_those_of_the_law") },
    Mutant { entry: &WIDE, caught_by: Some("values_are_in_the_support") },
];

/// How a mutant is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Credulous,
    Idle,
    Forgetful,
    Deaf,
    CountsThreads,
    Nosy,
    Fragile,
    Lazy,
    Wide,
}

/// Parameters of the method that the mutants come from.
#[derive(Clone, Debug, Params)]
struct Gaussian {
    /// Standard deviation.
    #[param(default = 0.5, range = "[0, inf)")]
    std: f64,
}

#[derive(Debug)]
struct Broken {
    law: Gaussian,
    flaw: Flaw,
}

const SOURCE: &str = include_str!("sound.txt");

macro_rules! mutant {
    ($entry:ident, $info:ident, $id:literal, $source:expr, $flaw:ident) => {
        static $info: Info = Info {
            id: $id,
            aliases: &[],
            family: Family::Init,
            papers: &["he2015delving"],
            source: $source,
            params: Gaussian::PARAMS,
            random: true,
            status: Status::Checked { since: "0.1.0" },
            waivers: &[],
        };
        static $entry: Entry<dyn Initializer> =
            Entry { info: &$info, build: |values| make($id, values, Flaw::$flaw), claims: &[] };
    };
}
mutant!(SOUND, SOUND_INFO, "sound", SOURCE, None);
mutant!(UNDOCUMENTED, UNDOCUMENTED_INFO, "undocumented", "//! Undocumented: it says nothing.", None);
mutant!(CREDULOUS, CREDULOUS_INFO, "credulous", SOURCE, Credulous);
mutant!(IDLE, IDLE_INFO, "idle", SOURCE, Idle);
mutant!(FORGETFUL, FORGETFUL_INFO, "forgetful", SOURCE, Forgetful);
mutant!(DEAF, DEAF_INFO, "deaf", SOURCE, Deaf);
mutant!(COUNTS_THREADS, COUNTS_THREADS_INFO, "counts_threads", SOURCE, CountsThreads);
mutant!(NOSY, NOSY_INFO, "nosy", SOURCE, Nosy);
mutant!(FRAGILE, FRAGILE_INFO, "fragile", SOURCE, Fragile);
mutant!(LAZY, LAZY_INFO, "lazy", SOURCE, Lazy);
mutant!(WIDE, WIDE_INFO, "wide", SOURCE, Wide);

fn make(id: &str, values: &Values, flaw: Flaw) -> Result<Box<dyn Initializer>, Error> {
    let law = if flaw == Flaw::Credulous { Gaussian::default() } else { Gaussian::from_values(id, values)? };
    Ok(Box::new(Broken { law, flaw }))
}

impl Initializer for Broken {
    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() && self.flaw != Flaw::Idle
    }

    fn law(&self, _at: &At<'_>) -> Result<SiteLaw, Error> {
        let reach = if self.flaw == Flaw::Wide { 2.0 * self.law.std } else { f64::INFINITY };
        Ok(SiteLaw::Joint(Joint {
            name: "gaussian".to_owned(),
            mean: 0.0,
            var: self.law.std * self.law.std,
            support: (-reach, reach),
        }))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let other = |n: u64| stream.child(&n.to_string());
        let stream = match self.flaw {
            Flaw::Forgetful => other(CALLS.fetch_add(1, Ordering::Relaxed)),
            Flaw::Deaf => Stream::new(0, &at.name),
            Flaw::CountsThreads => other(rayon::current_num_threads() as u64),
            Flaw::Nosy => other(at.net.params().len() as u64),
            _ => *stream,
        };
        let is_single = out.len() == 1;
        let law = Law::normal(0.0, self.law.std);
        match out {
            ArrayMut::F32(out) => {
                law.fill(&stream, 0, out).expect("a law in range");
                if self.flaw == Flaw::Lazy {
                    out.fill(0.0);
                    // Not the same for two seeds: that is another check's matter.
                    out[0] = 1e-3 * stream.word(0) as f32 / u32::MAX as f32;
                }
                if self.flaw == Flaw::Fragile && is_single {
                    out[0] = f32::NAN;
                }
            }
            ArrayMut::F64(out) => law.fill(&stream, 0, out).expect("a law in range"),
        }
        Ok(())
    }
}

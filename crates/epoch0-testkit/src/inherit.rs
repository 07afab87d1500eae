//! The contract of the inherit family.

use std::sync::atomic::{AtomicU64, Ordering};

use epoch0_data::Dataset;
use epoch0_engine::{Batch, Device, Elements, Mode, Precision, Value, Weights, run};
use epoch0_inherit::{
    Further, Inheritance, Inherited, Inheritor, Kin, Memory, Needs, Origin, Tensors, Training, Weighed,
    is_new, made_of,
};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{Network, Param, Role, zoo};
use epoch0_num::{Dtype, Law, Stream};

use crate::Check;
use crate::checks::{ensure, info_is_complete, params_refuse_what_they_say};

type Method = &'static Entry<dyn Inheritor>;

/// The checks of the inherit family.
pub static INHERIT: &[Check<dyn Inheritor>] = &[
    Check { name: "info_is_complete", run: info_is_complete },
    Check { name: "params_refuse_what_they_say", run: params_refuse_what_they_say },
    Check { name: "some_child_can_be_made", run: some_child_can_be_made },
    Check { name: "same_seed_same_child", run: same_seed_same_child },
    Check { name: "seed_matters_if_random", run: seed_matters_if_random },
    Check { name: "threads_do_not_matter", run: threads_do_not_matter },
    Check { name: "places_are_the_parents", run: places_are_the_parents },
    Check { name: "answers_stay_if_it_says", run: answers_stay_if_it_says },
    Check { name: "refusals_have_a_hint", run: refusals_have_a_hint },
];

/// A parent, a child, and what a method may look at.
struct Pair {
    parent: Network,
    child: Network,
    theirs: Weights,
    own: Weights,
    data: Dataset,
}

impl Pair {
    fn new(parent: &str, child: &str) -> Self {
        let build = |spec: &str| {
            let mut net = zoo::build(spec).expect("a fixture");
            net.set_dtype(Dtype::F64);
            net
        };
        let (parent, child) = (build(parent), build(child));
        let has_words = parent.inputs().iter().any(|&input| parent.value(input).is_index);
        let data = if has_words {
            Self::letters()
        } else {
            Dataset::open("gaussians:classes=4,dim=8,n=24,separation=4").expect("a generator")
        };
        let (theirs, own) = (weights(&parent, 1), weights(&child, 2));
        Self { parent, child, theirs, own, data }
    }

    fn letters() -> Dataset {
        let tokens: Vec<i64> = (0..48 * 8).map(|at| at * 7 % 19).collect();
        let next: Vec<i64> = (0..48 * 8).map(|at| (at + 1) * 7 % 19).collect();
        let array = |values| epoch0_data::Array::new(vec![48, 8], values).expect("as many as the shape has");
        let examples = epoch0_data::Examples::new(
            "letters",
            epoch0_data::Inputs::Tokens(array(tokens)),
            epoch0_data::Targets::Next(array(next)),
        );
        Dataset::new("letters", examples.expect("as many targets"), None)
    }

    fn inherit(&self, method: &dyn Inheritor, seed: u64) -> Result<Inheritance, Error> {
        let batch = Batch::matched(&self.parent, 4, 0, Precision::Double, &Device::cpu()).expect("no graph");
        let needs = method.needs();
        let tensors = Memory::new(&self.parent, &self.theirs);
        let others: Vec<Memory<'_>> =
            self.others(method).iter().map(|weights| Memory::new(&self.parent, weights)).collect();
        let further = others.iter().map(|memory| Further {
            net: &self.parent,
            tensors: (needs == Needs::Weights).then_some(memory as &dyn Tensors),
        });
        let further: Vec<Further<'_>> = further.collect();
        let training = Training { parent: &self.theirs, child: &self.own, data: &self.data };
        method.inherit(&Kin {
            parent: &self.parent,
            child: &self.child,
            further: &further,
            seed,
            tensors: (needs == Needs::Weights).then_some(&tensors),
            running: (needs == Needs::Activations).then_some((&self.theirs, &batch)),
            training: (needs == Needs::Training).then_some(training),
        })
    }

    /// Weights of further parents, which are the same network.
    fn others(&self, method: &dyn Inheritor) -> Vec<Weights> {
        (1..method.n_parents() as u64).map(|nth| weights(&self.parent, 10 + nth)).collect()
    }

    /// The weights of a child.
    fn made(&self, method: &dyn Inheritor, found: &Inheritance, child: &Network) -> Result<Weights, Error> {
        let others = self.others(method);
        let all = std::iter::once(&self.theirs).chain(&others);
        let parents: Vec<Weighed<'_>> = all.map(|weights| (&self.parent, weights)).collect();
        made_of(found, &parents, child, &self.own)
    }

    /// The child to the last bit, or what is said instead.
    fn shown(&self, entry: Method, seed: u64) -> String {
        let made = build(entry).and_then(|method| {
            let found = self.inherit(&*method, seed)?;
            let weights = self.made(&*method, &found, &self.child)?;
            let values = weights.iter().flat_map(|(_, value)| value.to_f64());
            Ok(values.map(f64::to_bits).collect::<Vec<_>>())
        });
        match made {
            Ok(bits) => format!("{bits:?}"),
            Err(error) => error.to_string(),
        }
    }
}

fn weights(net: &Network, seed: u64) -> Weights {
    let read = Weights::read::<epoch0_engine::Error>(net, Precision::Double, &Device::cpu(), |_, param| {
        let law = match param.role {
            Role::RunningVar => Law::Uniform { low: 0.5, high: 2.0 },
            Role::NormScale => Law::normal(1.0, 0.2),
            _ => Law::normal(0.0, 0.4),
        };
        let mut values = vec![0.0; param.len()];
        law.fill(&Stream::new(seed, &param.name), 0, &mut values).expect("a law within its range");
        Ok(Elements::Double(values))
    });
    read.expect("as many as the shapes have")
}

fn build(entry: Method) -> Result<Box<dyn Inheritor>, Error> {
    (entry.build)(&Values::new())
}

/// Networks and smaller, larger and equal ones; for methods that train, small ones only.
fn pairs(entry: Method) -> Vec<Pair> {
    let trains = build(entry).is_ok_and(|method| method.needs() == Needs::Training);
    let gpt = |layers: usize, heads: usize, embed: usize| {
        format!("gpt:layers={layers},heads={heads},embed={embed},vocab=19,positions=8")
    };
    let vit = |size: usize| format!("vit:layers=1,heads=2,embed=8,patch=4,in=1,size={size},classes=4");
    let more_words = "gpt:layers=2,heads=2,embed=8,vocab=22,positions=8".to_owned();
    [
        ("mlp:8-16-12-4".to_owned(), "mlp:8-6-5-4".to_owned()),
        ("mlp:8-6-5-4".to_owned(), "mlp:8-16-12-4".to_owned()),
        (gpt(3, 4, 16), gpt(2, 2, 8)),
        (gpt(2, 2, 8), gpt(3, 4, 16)),
        (gpt(2, 2, 8), gpt(3, 2, 8)),
        (gpt(2, 2, 8), more_words),
        (vit(8), vit(16)),
        ("mlp:8-6-5-4,norm=batch,templates=2".to_owned(), "mlp:8-12-10-4,norm=batch".to_owned()),
        ("mlp:8-6-5-4".to_owned(), "mlp:8-6-5-4,spiking=2".to_owned()),
    ]
    .iter()
    .take(if trains { 2 } else { usize::MAX })
    .map(|(parent, child)| Pair::new(parent, child))
    .collect()
}

/// Pairs of which nothing much can be made.
fn edges() -> Vec<Pair> {
    [
        ("mlp:8-1-4", "mlp:8-1-4"),
        ("mlp:8-3-4", "mlp:8-1-4"),
        ("mlp:8-1-4", "mlp:8-3-4"),
        ("mlp:8-16-4", "mlp:8-16-16-4"),
    ]
    .iter()
    .map(|(parent, child)| Pair::new(parent, child))
    .collect()
}

fn some_child_can_be_made(entry: Method) -> Result<(), String> {
    let method = build(entry).map_err(|error| error.to_string())?;
    let errors: Vec<String> = pairs(entry)
        .iter()
        .filter_map(|pair| pair.inherit(&*method, 7).err())
        .map(|error| error.to_string())
        .collect();
    ensure(errors.len() < pairs(entry).len(), || format!("no child: {}", errors.join("; ")))
}

fn same_seed_same_child(entry: Method) -> Result<(), String> {
    let is_same = |pair: &Pair| pair.shown(entry, 7) == pair.shown(entry, 7);
    ensure(pairs(entry).iter().all(is_same), || "two children with one seed differ".to_owned())
}

fn seed_matters_if_random(entry: Method) -> Result<(), String> {
    // Where one seed gives two children, `same_seed_same_child` says so.
    let differs = pairs(entry).iter().any(|pair| {
        let first = pair.shown(entry, 1);
        first == pair.shown(entry, 1) && first != pair.shown(entry, 2)
    });
    let says = entry.info.random;
    ensure(differs == says, || format!("says random: {says}, but two seeds differ: {differs}"))
}

fn threads_do_not_matter(entry: Method) -> Result<(), String> {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())
    };
    let (one, four) = (pool(1)?, pool(4)?);
    pairs(entry).iter().try_for_each(|pair| {
        let first = one.install(|| pair.shown(entry, 7));
        if first != one.install(|| pair.shown(entry, 7)) {
            // Not the same even alone: `same_seed_same_child` says so.
            return Ok(());
        }
        ensure(first == four.install(|| pair.shown(entry, 7)), || "1 and 4 threads differ".to_owned())
    })
}

fn places_are_the_parents(entry: Method) -> Result<(), String> {
    let method = build(entry).map_err(|error| error.to_string())?;
    for pair in pairs(entry).iter().chain(&edges()) {
        let Ok(found) = pair.inherit(&*method, 7) else { continue };
        ensure(found.params.len() == pair.child.params().len(), || {
            "it does not say it of all parameters".to_owned()
        })?;
        for (own, origin) in pair.child.params().iter().zip(&found.params) {
            for (nth, taken) in origin.all_taken() {
                let theirs = &pair.parent.param(taken.from).shape;
                let is_right = nth < method.n_parents()
                    && taken.dims.len() == own.shape.len()
                    && taken.dims.iter().zip(own.shape.iter().zip(theirs)).all(|(dim, (size, of))| {
                        dim.places.len() == *size
                            && dim.places.iter().all(|place| is_new(*place) || place < of)
                    });
                ensure(is_right, || {
                    format!("{} has shape {:?}, and takes {taken:?} of {theirs:?}", own.name, own.shape)
                })?;
            }
        }
    }
    Ok(())
}

fn answers(net: &Network, weights: &Weights, like: &Network) -> Vec<f64> {
    let batch = Batch::matched(like, 2, 0, Precision::Double, &Device::cpu()).expect("no graph");
    let ran = run(net, &weights.constants(), &batch.inputs, Mode::Eval, &mut |_| Ok(()));
    let outputs = ran.map(|ran| ran.outputs).unwrap_or_default();
    outputs.iter().filter_map(Value::real).flat_map(|var| var.value().to_f64()).collect()
}

fn answers_stay_if_it_says(entry: Method) -> Result<(), String> {
    let method = build(entry).map_err(|error| error.to_string())?;
    for pair in &pairs(entry) {
        let Ok(found) = pair.inherit(&*method, 7) else { continue };
        if !found.preserves || found.params.len() != pair.child.params().len() {
            continue;
        }
        let mut child = pair.child.clone();
        found.epsilon.into_iter().for_each(|epsilon| child.set_norm_epsilon(epsilon));
        let weights = pair.made(&*method, &found, &child).map_err(|error| error.to_string())?;
        let (others, got) = (pair.others(&*method), answers(&child, &weights, &pair.parent));
        let mut wanted = vec![0.0; got.len()];
        for (nth, weights) in std::iter::once(&pair.theirs).chain(&others).enumerate() {
            let share = found.shares.get(nth).copied().unwrap_or(1.0);
            let own = answers(&pair.parent, weights, &pair.parent);
            wanted.resize(own.len(), 0.0);
            wanted.iter_mut().zip(own).for_each(|(sum, own)| *sum += share * own);
        }
        let off = wanted.iter().zip(&got).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
        ensure(wanted.len() == got.len() && off < 1e-9, || {
            format!("{} to {}: answers differ by {off:e}", pair.parent.name(), pair.child.name())
        })?;
    }
    Ok(())
}

fn refusals_have_a_hint(entry: Method) -> Result<(), String> {
    let method = build(entry).map_err(|error| error.to_string())?;
    for pair in pairs(entry).iter().chain(&edges()) {
        if let Err(error) = pair.inherit(&*method, 7) {
            let text = error.to_string();
            ensure(text.contains("hint: "), || format!("no hint: {text}"))?;
        }
    }
    Ok(())
}

/// A mutant and the check that has to catch it.
#[derive(Debug)]
pub struct Mutant {
    /// The broken method.
    pub entry: &'static Entry<dyn Inheritor>,
    /// The check that fails, and the only one; none for the method that the others are mutants of.
    pub caught_by: Option<&'static str>,
}

/// How a mutant is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Barren,
    Forgetful,
    Deaf,
    CountsThreads,
    Beyond,
    Liar,
    Terse,
}

/// It has no parameters.
#[derive(Clone, Debug, Params)]
struct Nothing {}

#[derive(Debug)]
struct Broken(Flaw);

static CALLS: AtomicU64 = AtomicU64::new(0);

impl Inheritor for Broken {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let refused = |hint: &str| Error::Unsupported {
            method: "mutant".to_owned(),
            what: kin.child.name().to_owned(),
            why: "it is not wanted".to_owned(),
            hint: hint.to_owned(),
        };
        if self.0 == Flaw::Barren {
            return Err(refused("give another"));
        }
        let sizes = |net: &Network| net.params().iter().map(Param::len).sum::<usize>();
        if self.0 == Flaw::Terse && sizes(kin.child) > sizes(kin.parent) {
            return Err(Error::NotFinite {
                method: "mutant".to_owned(),
                site: "it".to_owned(),
                value: "NaN".to_owned(),
            });
        }
        let mut first = Some(match self.0 {
            Flaw::Forgetful => CALLS.fetch_add(1, Ordering::Relaxed) as f64,
            Flaw::Deaf => kin.seed as f64,
            Flaw::CountsThreads => rayon::current_num_threads() as f64,
            _ => 0.0,
        });
        let params = kin.child.params().iter().map(|param| {
            let theirs = kin.parent.find(&param.name).filter(|id| kin.parent.param(*id).shape == param.shape);
            match theirs.filter(|_| first.is_none()) {
                Some(from) => Origin::Taken(Inherited {
                    from,
                    dims: param.shape.iter().map(|&size| self.dim(size)).collect(),
                    affine: (1.0, 0.0),
                    noise: None,
                    new: None,
                }),
                None => first.take().map_or(Origin::Drawn, Origin::Constant),
            }
        });
        Ok(Inheritance {
            params: params.collect(),
            preserves: self.0 == Flaw::Liar,
            ..Inheritance::default()
        })
    }
}

impl Broken {
    fn dim(&self, size: usize) -> epoch0_inherit::Dim {
        let more = usize::from(self.0 == Flaw::Beyond);
        epoch0_inherit::Dim {
            places: (more..size + more).map(|place| place.min(size)).collect(),
            scales: None,
            mix: None,
        }
    }
}

macro_rules! mutants {
    ($($name:ident, $info:ident, $id:literal, $flaw:ident, $by:expr;)*) => {
        $(
            static $info: Info = Info {
                id: $id,
                aliases: &[],
                family: Family::Inherit,
                papers: &["xu2023initializing"],
                source: include_str!("sound.txt"),
                params: Nothing::PARAMS,
                random: false,
                status: Status::Checked { since: "0.1.0" },
                waivers: &[],
            };
            static $name: Entry<dyn Inheritor> = Entry {
                info: &$info,
                build: |values| {
                    Nothing::from_values($id, values)?;
                    Ok(Box::new(Broken(Flaw::$flaw)))
                },
                claims: &[],
            };
        )*
        /// All of them.
        pub static MUTANTS: &[Mutant] = &[$(Mutant { entry: &$name, caught_by: $by }),*];
    };
}

mutants! {
    SOUND, SOUND_INFO, "sound", None, None;
    BARREN, BARREN_INFO, "barren", Barren, Some("some_child_can_be_made");
    FORGETFUL, FORGETFUL_INFO, "forgetful", Forgetful, Some("same_seed_same_child");
    DEAF, DEAF_INFO, "deaf", Deaf, Some("seed_matters_if_random");
    COUNTS, COUNTS_INFO, "counts_threads", CountsThreads, Some("threads_do_not_matter");
    BEYOND, BEYOND_INFO, "beyond", Beyond, Some("places_are_the_parents");
    LIAR, LIAR_INFO, "liar", Liar, Some("answers_stay_if_it_says");
    TERSE, TERSE_INFO, "terse", Terse, Some("refusals_have_a_hint");
}

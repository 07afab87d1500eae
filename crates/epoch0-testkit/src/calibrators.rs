//! The contract of methods that look at a batch: checks, and mutants that each one of them catches.

use std::sync::atomic::{AtomicU64, Ordering};

use epoch0_engine::{Batch, Device, Precision, Tensor, Value, Weights};
use epoch0_init::METHODS;
use epoch0_init::calibrate::{Calibration, Calibrator, Change, Error, Factor, State, calibrate, sweep};
use epoch0_init::start::{Plan, Recipe, Rule, Use};
use epoch0_method::{Entry, Family, Info, Params, Status, Values};
use epoch0_net::Network;
use epoch0_num::{Law, Stream};

use crate::checks::{ensure, info_is_complete, params_refuse_what_they_say};
use crate::{Check, fixtures};

type Method = &'static Entry<dyn Calibrator>;

/// The checks of calibrators.
pub static CALIBRATORS: &[Check<dyn Calibrator>] = &[
    Check { name: "info_is_complete", run: info_is_complete },
    Check { name: "params_refuse_what_they_say", run: params_refuse_what_they_say },
    Check { name: "changes_something", run: changes_something },
    Check { name: "same_batch_same_bits", run: same_batch_same_bits },
    Check { name: "threads_do_not_matter", run: threads_do_not_matter },
    Check { name: "directions_are_kept", run: directions_are_kept },
    Check { name: "says_what_it_did", run: says_what_it_did },
    Check { name: "edges_give_a_result_or_an_error", run: edges_give_a_result_or_an_error },
    Check { name: "what_is_not_finite_is_named", run: what_is_not_finite_is_named },
];

/// Inputs of a network: standard normal numbers, words from the first few, edges between any nodes.
fn inputs(net: &Network, examples: usize) -> Vec<Value> {
    const POSITIONS: usize = 8;
    let n_words = if net.graph_inputs().is_some() { examples as u64 } else { 2 };
    let input = |(nth, &id): (usize, &epoch0_net::ValueId)| {
        let value = net.value(id);
        let shape: Vec<usize> = value
            .dims
            .iter()
            .enumerate()
            .map(|(dim, &axis)| net.axis(axis).size.unwrap_or(if dim == 0 { examples } else { POSITIONS }))
            .collect();
        let (n, stream) = (shape.iter().product::<usize>(), Stream::new(3, &format!("input {nth}")));
        if value.is_index {
            let words = (0..n as u64).map(|at| stream.below(at, n_words) as i64).collect();
            return Value::index(words, &shape).expect("as many as the shape has");
        }
        let mut values = vec![0.0f32; n];
        Law::normal(0.0, 1.0).fill(&stream, 0, &mut values).expect("a law in range");
        Value::constant(Tensor::from_f32(values, &shape, Precision::Single, &Device::cpu()))
    };
    net.inputs().iter().enumerate().map(input).collect()
}

/// Weights as they are drawn below the method.
fn drawn(entry: Method, net: &Network) -> Result<Weights, String> {
    let method = (entry.build)(&Values::new()).map_err(|error| error.to_string())?;
    let mut rules: Vec<Rule> = method.draws();
    rules.retain(|rule| {
        let one =
            Recipe { base: Some(Use::new("pytorch_default")), rules: vec![rule.clone()], calibrate: None };
        Plan::new(METHODS, net, &one, 7).is_ok()
    });
    let recipe = Recipe { base: Some(Use::new("pytorch_default")), rules, calibrate: None };
    let plan = Plan::new(METHODS, net, &recipe, 7).map_err(|error| error.to_string())?;
    plan.weights(Precision::Single, &Device::cpu()).map_err(|error| error.to_string())
}

fn done(
    entry: Method,
    net: &Network,
    weights: &Weights,
    batch: &[Value],
) -> Result<(Weights, Calibration), Error> {
    // What learns takes two steps here; a hundred, through second derivatives, are what its claims are for.
    let learns = entry.info.params.iter().any(|param| param.name == "steps");
    let few = Values::from_iter(learns.then(|| ("steps".to_owned(), epoch0_method::Value::Number(2.0))));
    let method = (entry.build)(&few)?;
    calibrate(entry.info.id, &*method, net, weights, &batch.to_vec().into())
}

/// The fixtures that a method is for: all, or, if it refuses every plain one, those of its own kind.
fn fixtures_of(entry: Method) -> Result<Vec<Network>, String> {
    let is_for = |net: &Network| {
        let found = done(entry, net, &drawn(entry, net)?, &inputs(net, 16));
        Ok::<_, String>(!matches!(found, Err(Error::Method(epoch0_method::Error::Unsupported { .. }))))
    };
    let mut plain = fixtures::all();
    let special = || fixtures::graphs().into_iter().chain([fixtures::post_norm()]);
    for net in &plain {
        if is_for(net)? {
            plain.extend(special());
            return Ok(plain);
        }
    }
    let mut own = Vec::new();
    for net in special() {
        if is_for(&net)? {
            own.push(net);
        }
    }
    Ok(own)
}

/// A fixture whose weights matter, and the name of one of them.
fn one_of(entry: Method) -> Result<(Network, String), String> {
    let plain = fixtures::mlp(&[64, 256, 256, 10]);
    let mut own = fixtures_of(entry)?;
    let net = if own.iter().any(|net| net.name() == plain.name()) { plain } else { own.swap_remove(0) };
    let matrices = net.params().iter().filter(|param| param.role.is_matrix());
    let name = matrices.map(|param| param.name.clone()).nth(1).ok_or("the fixture has no second matrix")?;
    Ok((net, name))
}

/// Runs a check on every fixture: the network, its weights before and after, and what is said of them.
fn on_each(
    entry: Method,
    check: impl Fn(&Network, &Weights, &Weights, &Calibration) -> Result<(), String>,
) -> Result<(), String> {
    for net in fixtures_of(entry)? {
        let before = drawn(entry, &net)?;
        let (after, said) = done(entry, &net, &before, &inputs(&net, 16))
            .map_err(|error| format!("{}: {error}", net.name()))?;
        check(&net, &before, &after, &said).map_err(|why| format!("{}: {why}", net.name()))?;
    }
    Ok(())
}

/// Whether all weights are the same bits.
fn same(a: &Weights, b: &Weights) -> bool {
    let bits = |weights: &Weights| -> Vec<Vec<u64>> {
        weights.iter().map(|(_, value)| value.to_f64().into_iter().map(f64::to_bits).collect()).collect()
    };
    bits(a) == bits(b)
}

fn changes_something(entry: Method) -> Result<(), String> {
    let (net, _) = one_of(entry)?;
    let before = drawn(entry, &net)?;
    let (after, _) = done(entry, &net, &before, &inputs(&net, 16)).map_err(|error| error.to_string())?;
    ensure(!same(&before, &after), || "no weight is another".to_owned())
}

fn same_batch_same_bits(entry: Method) -> Result<(), String> {
    on_each(entry, |net, before, after, _| {
        let (again, _) = done(entry, net, before, &inputs(net, 16)).map_err(|error| error.to_string())?;
        ensure(same(after, &again), || "the same weights and batch give others".to_owned())
    })
}

fn threads_do_not_matter(entry: Method) -> Result<(), String> {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())
    };
    let (one, four) = (pool(1)?, pool(4)?);
    on_each(entry, |net, before, _, _| {
        let run = || done(entry, net, before, &inputs(net, 16)).map_err(|error| error.to_string());
        let (first, again) = (one.install(run)?.0, one.install(run)?.0);
        // Not the same even alone: `same_batch_same_bits` says so.
        ensure(!same(&first, &again) || same(&first, &four.install(run)?.0), || {
            "1 and 4 threads differ".to_owned()
        })
    })
}

/// The factor of each row of a weight, or what is no multiple of what it was.
fn factors(before: &[f64], after: &[f64]) -> Result<f64, String> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let square = dot(before, before);
    if square == 0.0 {
        return ensure(after.iter().all(|x| *x == 0.0), || "zeros have become something".to_owned())
            .map(|()| 1.0);
    }
    let factor = dot(before, after) / square;
    let off = before.iter().zip(after).map(|(a, b)| (factor * a - b).powi(2)).sum::<f64>().sqrt();
    ensure(off <= 1e-5 * (factor * factor * square).sqrt() && factor > 0.0, || {
        format!("a row is no positive multiple of what it was (off by {off:e}, factor {factor})")
    })?;
    Ok(factor)
}

fn directions_are_kept(entry: Method) -> Result<(), String> {
    on_each(entry, |net, before, after, _| {
        for ((id, a), (_, b)) in before.iter().zip(after.iter()) {
            let param = net.param(id);
            if !(param.role.is_matrix() || param.shape.len() == 2) {
                continue;
            }
            // Rows may have factors of their own; a weight stored `[in, out]` has columns, packed ones parts.
            let (a, b) = (a.to_f64(), b.to_f64());
            let columns = param.shape.last().copied().unwrap_or(1);
            let rows =
                a.chunks(columns).zip(b.chunks(columns)).try_for_each(|(a, b)| factors(a, b).map(drop));
            let column =
                |at: usize, of: &[f64]| of.iter().skip(at).step_by(columns).copied().collect::<Vec<_>>();
            let by_columns =
                || (0..columns).try_for_each(|at| factors(&column(at, &a), &column(at, &b)).map(drop));
            rows.or_else(|_| by_columns()).map_err(|why| format!("{}: {why}", param.name))?;
        }
        Ok(())
    })
}

fn says_what_it_did(entry: Method) -> Result<(), String> {
    on_each(entry, |net, before, after, said| {
        for ((id, a), (_, b)) in before.iter().zip(after.iter()) {
            let name = &net.param(id).name;
            let own = |layer: &&epoch0_init::calibrate::Layer| {
                layer.name == *name
                    || layer.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('['))
            };
            let is_told = said.layers.iter().filter(own).any(|layer| layer.factor != 1.0);
            let is_changed = a.to_f64() != b.to_f64();
            ensure(is_told == is_changed, || format!("{name}: changed {is_changed}, told so {is_told}"))?;
        }
        Ok(())
    })
}

fn edges_give_a_result_or_an_error(entry: Method) -> Result<(), String> {
    for net in fixtures::edges().into_iter().chain(fixtures::graphs()) {
        for examples in [1, 2, 5] {
            let before = drawn(entry, &net)?;
            match done(entry, &net, &before, &inputs(&net, examples)) {
                Ok((after, _)) => {
                    let odd = after.iter().find(|(_, value)| value.to_f64().iter().any(|x| !x.is_finite()));
                    ensure(odd.is_none(), || format!("{}: a weight is not finite", net.name()))?;
                }
                Err(error) => {
                    let text = error.to_string();
                    ensure(text.starts_with(entry.info.id), || format!("`{text}` does not name the method"))?;
                }
            }
        }
    }
    Ok(())
}

fn what_is_not_finite_is_named(entry: Method) -> Result<(), String> {
    let (net, name) = one_of(entry)?;
    let mut weights = drawn(entry, &net)?;
    let id = net.find(&name).ok_or("a weight of that name")?;
    weights.set(id, Tensor::full(f64::NAN, &net.param(id).shape, Precision::Single, &Device::cpu()));
    match done(entry, &net, &weights, &inputs(&net, 16)) {
        Err(error) if error.to_string().contains(&name) => Ok(()),
        Err(error) => Err(format!("`{error}` does not name the weight that is not a number")),
        Ok(_) => Err("weights that are not numbers are accepted".to_owned()),
    }
}

/// A calibrator that is broken in one way, and the check that has to catch it.
#[derive(Debug)]
pub struct Mutant {
    /// The broken method.
    pub entry: &'static Entry<dyn Calibrator>,
    /// The check that fails, and the only one; `None` for the method that the others are mutants of.
    pub caught_by: Option<&'static str>,
}

/// All of them.
pub static MUTANTS: &[Mutant] = &[
    Mutant { entry: &STEADY, caught_by: None },
    Mutant { entry: &LAX, caught_by: Some("changes_something") },
    Mutant { entry: &MOODY, caught_by: Some("same_batch_same_bits") },
    Mutant { entry: &CROWDED, caught_by: Some("threads_do_not_matter") },
    Mutant { entry: &TURNED, caught_by: Some("directions_are_kept") },
    Mutant { entry: &SILENT, caught_by: Some("says_what_it_did") },
    Mutant { entry: &BRITTLE, caught_by: Some("edges_give_a_result_or_an_error") },
    Mutant { entry: &BLIND, caught_by: Some("what_is_not_finite_is_named") },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Lax,
    Moody,
    Crowded,
    Turned,
    Silent,
    Brittle,
    Blind,
}

/// Parameters of the method that the mutants come from.
#[derive(Clone, Debug, Params)]
struct Halving {
    /// What every map is multiplied by.
    #[param(default = 0.5, range = "(0, 1)")]
    factor: f64,
}

#[derive(Debug)]
struct Broken {
    by: Halving,
    flaw: Flaw,
    id: &'static str,
}

macro_rules! mutant {
    ($entry:ident, $info:ident, $id:literal, $flaw:ident) => {
        static $info: Info = Info {
            id: $id,
            aliases: &[],
            family: Family::Init,
            papers: &["he2015delving"],
            source: include_str!("sound.txt"),
            params: Halving::PARAMS,
            random: false,
            status: Status::Checked { since: "0.1.0" },
            waivers: &[],
        };
        static $entry: Entry<dyn Calibrator> = Entry {
            info: &$info,
            build: |values| {
                let by = Halving::from_values($id, values)?;
                Ok(Box::new(Broken { by, flaw: Flaw::$flaw, id: $id }))
            },
            claims: &[],
        };
    };
}
mutant!(STEADY, STEADY_INFO, "steady", None);
mutant!(LAX, LAX_INFO, "lax", Lax);
mutant!(MOODY, MOODY_INFO, "moody", Moody);
mutant!(CROWDED, CROWDED_INFO, "crowded", Crowded);
mutant!(TURNED, TURNED_INFO, "turned", Turned);
mutant!(SILENT, SILENT_INFO, "silent", Silent);
mutant!(BRITTLE, BRITTLE_INFO, "brittle", Brittle);
mutant!(BLIND, BLIND_INFO, "blind", Blind);

impl Calibrator for Broken {
    fn draws(&self) -> Vec<Rule> {
        Vec::new()
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let factor = match self.flaw {
            Flaw::Lax => 1.0,
            Flaw::Moody => self.by.factor / (1.0 + CALLS.fetch_add(1, Ordering::Relaxed) as f64),
            Flaw::Crowded => self.by.factor / rayon::current_num_threads() as f64,
            _ => self.by.factor,
        };
        if self.flaw == Flaw::Blind {
            let odd: Vec<_> = weights
                .iter()
                .filter(|(_, value)| value.to_f64().iter().any(|x| x.is_nan()))
                .map(|(id, value)| (id, value.zeros_like()))
                .collect();
            odd.into_iter().for_each(|(id, value)| weights.set(id, value));
        }
        let mut said = sweep(self.id, network, weights, &batch.inputs, |met| {
            let before = met.spread(1.0, None)?;
            if met.used_before.is_some() {
                return Ok(Change::none(before, "decided before"));
            }
            let factor = if self.flaw == Flaw::Brittle && before.n <= 3 { f64::INFINITY } else { factor };
            let (factor, after) = (Factor::One(factor), before);
            Ok(Change { factor, before, after, iterations: 1, state: State::Within, note: None })
        })?;
        if self.flaw == Flaw::Turned {
            // The first matrix that was met, with its elements in another order.
            let is_told = |name: &str| said.layers.iter().any(|layer| layer.name == name);
            let is_matrix = |id| network.param(id).role.is_matrix() && is_told(&network.param(id).name);
            let wide = weights.iter().find(|(id, _)| is_matrix(*id));
            let turned = wide.map(|(id, value)| {
                let mut values = value.to_f64();
                values.rotate_left(1);
                (id, Tensor::from_f64(values, &value.shape(), value.precision(), &value.device()))
            });
            turned.into_iter().for_each(|(id, value)| weights.set(id, value));
        }
        if self.flaw == Flaw::Silent {
            said.layers.iter_mut().for_each(|layer| layer.factor = 1.0);
        }
        Ok(said)
    }
}

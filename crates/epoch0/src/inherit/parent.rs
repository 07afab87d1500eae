//! A parent, opened, and where each of a child's parameters comes from.

use std::path::{Path, PathBuf};

use epoch0_data::Dataset;
use epoch0_engine::{Device, Precision, Weights};
use epoch0_examine::Probe;
use epoch0_format::{Checkpoint, Tensor};
use epoch0_inherit::{Further, Gather, Inheritance, Inheritor, Kin, Needs, Origin, Stored, Sum, Training};
use epoch0_init::start::Recipe;
use epoch0_method::reading::ProbeSummary;
use epoch0_method::{Entry, Family};
use epoch0_net::{Network, ParamId};
use epoch0_num::{Dtype, Element, with_element};

use super::Lineage;
use crate::examine::{data_probe, matched_probe};
use crate::weights::{draw_weights, own_precision, read_weights, tensor_of};
use crate::{Described, Error};

/// Examples that a parent is run on, where no other number is given.
const SCORED: usize = 512;

/// The method of that id; one of another family is named as such.
fn find(name: &str) -> Result<&'static Entry<dyn Inheritor>, epoch0_method::Error> {
    epoch0_inherit::find(name).map_err(|unknown| match crate::method(name) {
        Ok(other) => epoch0_method::Error::Unsupported {
            method: other.info.id.to_owned(),
            what: "a start from another network".to_owned(),
            why: match other.info.family {
                Family::Inherit => "it is of the family inherit, and makes no child of a parent".to_owned(),
                family => format!("it belongs to the family {}", family.name()),
            },
            hint: format!("leave `from` out: `epoch0 explain {}` says what it is for", other.info.id),
        },
        Err(_) => unknown,
    })
}

/// A parent with its weights, and what a child takes of it.
pub(crate) struct Parent {
    pub(super) net: Network,
    /// Where its files lie.
    pub(super) place: PathBuf,
    /// None where the parent is as it is drawn.
    checkpoint: Option<Checkpoint>,
    /// Further parents.
    pub(super) further: Vec<(Network, Checkpoint)>,
    pub(super) inheritance: Inheritance,
    /// What the parent was run on.
    pub(super) asked: Option<ProbeSummary>,
}

/// A parent's weights in its files.
pub(crate) struct Tensors<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) net: &'a Network,
}

impl epoch0_inherit::Tensors for Tensors<'_> {
    fn tensor(&self, param: ParamId) -> Result<Stored<'_>, epoch0_method::Error> {
        tensor_of(self.checkpoint, self.net, param).map(Stored::from).map_err(|error| {
            epoch0_method::Error::Unsupported {
                method: "init".to_owned(),
                what: self.net.param(param).name.clone(),
                why: error.to_string(),
                hint: "take a parent that has all its weights".to_owned(),
            }
        })
    }
}

fn no_checkpoint(method: &str, from: &str) -> Error {
    epoch0_method::Error::Missing {
        method: method.to_owned(),
        input: format!("a checkpoint in `{from}`"),
        hint: "name a folder with a config.json and weights, or NET@FILE".to_owned(),
    }
    .into()
}

/// That there are as many parents as the method takes.
fn check_number(lineage: &Lineage, wanted: usize) -> Result<(), Error> {
    let found = lineage.also.len() + 1;
    if found == wanted {
        return Ok(());
    }
    let of = |n: usize| if n == 1 { "one parent".to_owned() } else { format!("{n} parents") };
    let hint = match wanted {
        1 => "give `--from` once; `mixture_growth` joins two, `epoch0 average` takes means of several"
            .to_owned(),
        _ => format!("give `--from` {wanted} times, once for each parent"),
    };
    Err(epoch0_method::Error::Unsupported {
        method: lineage.method.clone(),
        what: of(found),
        why: format!("it makes a child of {}", of(wanted)),
        hint,
    }
    .into())
}

/// The parent's weights in memory, and examples to run it on.
fn running(lineage: &Lineage, net: &Network, path: &Path, seed: u64) -> Result<(Weights, Probe), Error> {
    let (precision, device) = (Precision::Single, Device::cpu());
    let weights = read_weights(net, path, precision, &device)?;
    let examples = Some(lineage.examples.unwrap_or(SCORED));
    let probe = match &lineage.data {
        Some(spec) => {
            let data = Dataset::open(spec)?;
            data_probe(net, &weights, &data, examples, seed, precision, &device)?
        }
        None => matched_probe(net, &weights, examples, seed, precision, &device)?,
    };
    Ok((weights, probe))
}

impl Parent {
    /// Opens the parent and makes of it what the child takes; what is drawn is drawn by a recipe.
    pub(crate) fn open(
        lineage: &Lineage,
        child: &Network,
        recipe: &Recipe,
        seed: u64,
    ) -> Result<Self, Error> {
        let method = (find(&lineage.method)?.build)(&lineage.set)?;
        check_number(lineage, method.n_parents())?;
        let described = Described::open_with(&lineage.from, true)?;
        let needs = method.needs();
        let Some(path) = &described.checkpoint else {
            if needs == Needs::Training {
                return Self::trained(lineage, described, None, &*method, child, recipe, seed);
            }
            return Err(no_checkpoint(&lineage.method, &lineage.from));
        };
        let path = path.clone();
        let checkpoint = Checkpoint::open(&path)?;
        if needs == Needs::Training {
            return Self::trained(lineage, described, Some(checkpoint), &*method, child, recipe, seed);
        }
        let net = &described.net;
        let stored = Tensors { checkpoint: &checkpoint, net };
        let others = lineage.also.iter().map(|from| {
            let described = Described::open_with(from, true)?;
            let path = described.checkpoint.ok_or_else(|| no_checkpoint(&lineage.method, from))?;
            Ok((described.net, Checkpoint::open(&path)?))
        });
        let others: Vec<(Network, Checkpoint)> = others.collect::<Result<_, Error>>()?;
        let stored_too: Vec<Tensors<'_>> =
            others.iter().map(|(net, checkpoint)| Tensors { checkpoint, net }).collect();
        let is_read = needs == Needs::Weights;
        let further = stored_too.iter().map(|stored| Further {
            net: stored.net,
            tensors: is_read.then_some(stored as &dyn epoch0_inherit::Tensors),
        });
        let further: Vec<Further<'_>> = further.collect();
        let running = match needs {
            Needs::Activations => Some(running(lineage, net, &path, seed)?),
            Needs::Nothing | Needs::Weights | Needs::Training => None,
        };
        let kin = Kin {
            seed,
            further: &further,
            tensors: is_read.then_some(&stored),
            running: running.as_ref().map(|(weights, probe)| (weights, &probe.batch)),
            ..Kin::new(net, child)
        };
        let inheritance = method.inherit(&kin)?;
        let asked = running.map(|(_, probe)| probe.summary);
        drop(further);
        drop(stored_too);
        let (net, place) = (described.net, path);
        Ok(Self { checkpoint: Some(checkpoint), further: others, net, place, inheritance, asked })
    }

    /// Has the child learn from the parent, whose weights are its own or as they are drawn.
    fn trained(
        lineage: &Lineage,
        described: Described,
        checkpoint: Option<Checkpoint>,
        method: &dyn Inheritor,
        child: &Network,
        recipe: &Recipe,
        seed: u64,
    ) -> Result<Self, Error> {
        let Some(spec) = &lineage.data else {
            return Err(epoch0_method::Error::Missing {
                method: lineage.method.clone(),
                input: "data".to_owned(),
                hint: "name them with `--data`: `epoch0 data list` shows those that are understood"
                    .to_owned(),
            }
            .into());
        };
        let data = Dataset::open(spec)?;
        let (precision, device) = (own_precision(child), Device::cpu());
        let own = described.own_weights(precision, &device)?;
        let theirs = match own {
            Some(weights) => weights,
            None => draw_weights(&described.net, &described.usual_recipe(), seed, precision, &device)?,
        };
        let drawn = draw_weights(child, recipe, seed, precision, &device)?;
        let training = Training { parent: &theirs, child: &drawn, data: &data };
        let kin = Kin { seed, training: Some(training), ..Kin::new(&described.net, child) };
        let inheritance = method.inherit(&kin)?;
        if inheritance.learned.is_none() && checkpoint.is_none() {
            return Err(no_checkpoint(&lineage.method, &lineage.from));
        }
        let place = described.place().to_owned();
        Ok(Self { checkpoint, further: Vec::new(), net: described.net, place, inheritance, asked: None })
    }

    /// Where a child's parameter comes from.
    pub(crate) fn of(&self, child: ParamId) -> Result<Heir<'_>, Error> {
        if let Some(value) = self.inheritance.learned.as_ref().and_then(|learned| learned.get(child)) {
            return Ok(Heir::Learned(value.to_f64()));
        }
        Ok(match (&self.inheritance.params[child.0 as usize], &self.checkpoint) {
            (Origin::Drawn, _) | (Origin::Taken(_) | Origin::Sum(_), None) => Heir::Drawn,
            (Origin::Constant(value), _) => Heir::Constant(*value),
            (Origin::Taken(inherited), Some(checkpoint)) => {
                let tensor = tensor_of(checkpoint, &self.net, inherited.from)?;
                Heir::Taken { gather: Box::new(Gather::new(inherited, tensor)), is_drawn: inherited.draws() }
            }
            (origin @ Origin::Sum(_), Some(_)) => {
                let tensors = self.tensors(child)?;
                let pairs = origin.all_taken().zip(tensors);
                Heir::Sum(Sum::new(pairs.map(|((_, of), tensor)| Gather::new(of, tensor)).collect()))
            }
        })
    }

    /// All parents with their checkpoints.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Network, &Checkpoint)> {
        let first = self.checkpoint.iter().map(|checkpoint| (&self.net, checkpoint));
        first.chain(self.further.iter().map(|(net, checkpoint)| (net, checkpoint)))
    }

    /// The tensors that a child's parameter is taken from.
    pub(super) fn tensors(&self, child: ParamId) -> Result<Vec<Tensor<'_>>, Error> {
        let all: Vec<_> = self.all().collect();
        let taken = self.inheritance.params[child.0 as usize].all_taken();
        let known = taken
            .filter_map(|(parent, of)| all.get(parent).map(|(net, checkpoint)| (*net, *checkpoint, of.from)));
        known.map(|(net, checkpoint, from)| tensor_of(checkpoint, net, from)).collect()
    }
}

/// A child's parameter.
pub(crate) enum Heir<'a> {
    Drawn,
    Constant(f64),
    /// What the child learned.
    Learned(Vec<f64>),
    /// Of several parameters.
    Sum(Sum<'a>),
    /// With whether some of it is drawn.
    Taken {
        gather: Box<Gather<'a>>,
        is_drawn: bool,
    },
}

impl Heir<'_> {
    /// Whether some of it is drawn.
    pub(crate) fn is_drawn(&self) -> bool {
        matches!(self, Self::Drawn | Self::Taken { is_drawn: true, .. })
    }

    /// Fills `out` with the elements from `start` on but for those that are drawn, which stay; answers the first that is not
    /// finite.
    pub(crate) fn read(&self, start: usize, dtype: Dtype, out: &mut [u8]) -> Option<f64> {
        match self {
            Self::Drawn => None,
            Self::Taken { gather, .. } => gather.read(start, dtype, out),
            Self::Sum(sum) => sum.read(start, dtype, out),
            Self::Learned(values) => {
                with_element!(dtype, T => {
                    for (value, to) in values[start..].iter().zip(out.chunks_exact_mut(size_of::<T>())) {
                        to.copy_from_slice(bytemuck::bytes_of(&T::from_f64(*value)));
                    }
                });
                values.iter().copied().find(|value| !value.is_finite())
            }
            Self::Constant(value) => {
                with_element!(dtype, T => {
                    let value = T::from_f64(*value);
                    out.chunks_exact_mut(size_of::<T>()).for_each(|to| to.copy_from_slice(bytemuck::bytes_of(&value)));
                });
                None
            }
        }
    }
}

//! What data say of a network's maps: moments of what they meet, or gradients by their weights.

use std::collections::HashMap;

use epoch0_data::Dataset;
use epoch0_data::prepare::order;
use epoch0_engine::{Device, Mode, Order, Precision, Value, Var, Weights, run, vjp};
use epoch0_inherit::adapter::{self, Digest, Looks, Matrix, Moments};
use epoch0_net::{NodeId, ParamId, ValueId};
use epoch0_train::Feed;

use super::{Planned, Work, oriented, refuse};
use crate::{Error, Options, data_probe, read_weights};

/// Examples of which gradients are added up, where no number is given.
const GRADIENT_EXAMPLES: usize = 64;
/// Examples of which gradients are taken at a time.
const AT_A_TIME: usize = 8;

/// What data said.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) digests: Vec<Digest>,
    pub(super) gradients: Vec<Matrix>,
    pub(super) examples: Option<usize>,
}

impl Work<'_> {
    /// Runs the network on the data, where the method looks at them.
    pub(super) fn look(&self, options: &Options<'_>) -> Result<Seen, Error> {
        let Some((_, data)) = options.calibrating.data else { return Ok(Seen::default()) };
        let weights = read_weights(self.net, self.checkpoint.path(), Precision::Single, &Device::cpu())?;
        match self.method.looks_at() {
            Looks::Inputs => self.inputs(&weights, data, options),
            _ => self.gradients(&weights, data, options),
        }
    }

    fn inputs(&self, weights: &Weights, data: &Dataset, options: &Options<'_>) -> Result<Seen, Error> {
        if let Some(other) = self.planned.iter().find(|planned| planned.target.kind != adapter::Kind::Linear)
        {
            let why = "it looks at vectors that linear maps meet".to_owned();
            return Err(refuse(
                self.id,
                &other.target.module,
                why,
                "leave it out of the targets, or take lora_ga",
            ));
        }
        let examples = options.calibrating.examples;
        let probe =
            data_probe(self.net, weights, data, examples, options.seed, Precision::Single, &Device::cpu())?;
        let by_node: HashMap<NodeId, Vec<usize>> =
            self.planned.iter().enumerate().fold(HashMap::new(), |mut map, (at, planned)| {
                planned
                    .target
                    .nodes
                    .iter()
                    .for_each(|node| map.entry(*node).or_insert_with(Vec::new).push(at));
                map
            });
        let mut digests: Vec<Option<Digest>> = vec![None; self.planned.len()];
        let mut open: HashMap<usize, Vec<Moments>> = HashMap::new();
        // Queries, keys and values meet the same.
        let mut last: Option<(ValueId, Moments)> = None;
        let mut failure: Option<Error> = None;
        let done = run(self.net, &weights.constants(), &probe.inputs, Mode::Eval, &mut |done| {
            let Some(which) = by_node.get(&done.id) else { return Ok(()) };
            let (Some(&value), Some(Value::Real(met))) = (done.node.inputs.first(), done.inputs.first())
            else {
                return Ok(());
            };
            if failure.is_some() {
                return Ok(());
            }
            if last.as_ref().is_none_or(|(known, _)| *known != value) {
                last = Some((value, moments(met)));
            }
            let Some((_, found)) = &last else { return Ok(()) };
            for &at in which {
                let all = open.entry(at).or_default();
                all.push(found.clone());
                if all.len() == self.planned[at].target.nodes.len() {
                    let met = open.remove(&at).map(|all| together(&all)).unwrap_or_default();
                    match self.digest(at, &met) {
                        Ok(digest) => digests[at] = Some(digest),
                        Err(error) => failure = Some(error),
                    }
                }
            }
            Ok(())
        });
        match (failure, done) {
            (Some(failure), _) => return Err(failure),
            (None, done) => done.map(|_| ())?,
        }
        let digests = digests.into_iter().map(Option::unwrap_or_default).collect();
        Ok(Seen { digests, examples: Some(probe.len()), ..Seen::default() })
    }

    fn digest(&self, at: usize, met: &Moments) -> Result<Digest, Error> {
        let planned = &self.planned[at];
        let weight = self.weight(&planned.target)?;
        let directions = self.method.directions(planned.rank).min(planned.target.columns);
        Ok(self.method.digest(&self.map(planned, Some(&weight)), met, directions)?)
    }

    fn gradients(&self, weights: &Weights, data: &Dataset, options: &Options<'_>) -> Result<Seen, Error> {
        let feed = Feed::new(self.net, data)?;
        let asked = options.calibrating.examples.unwrap_or(GRADIENT_EXAMPLES);
        let mut which = order(data.train.len(), options.seed, 0);
        which.truncate(feed.batch(asked, data.train.len()));
        let params = weights.parameters(|id| self.planned.iter().any(|planned| planned.target.param == id));
        let (ids, vars): (Vec<ParamId>, Vec<&Var>) = params.tracked().unzip();
        let mut sums: Vec<Vec<f64>> = vars.iter().map(|var| vec![0.0; var.value().len()]).collect();
        for part in which.chunks(feed.batch(AT_A_TIME, which.len())) {
            options.check_cancelled()?;
            let inputs = feed.inputs(&data.train.inputs().pick(part), Precision::Single, &Device::cpu());
            let done = run(self.net, &params, &inputs, Mode::Eval, &mut |_| Ok(()))?;
            let loss = feed.loss(feed.answer(&done.outputs)?, &data.train.targets().pick(part))?.mean;
            let share = part.len() as f64 / which.len() as f64;
            let seed = Var::constant(loss.value().full_like(share, &loss.shape()));
            for (sum, term) in sums.iter_mut().zip(vjp(&[(&loss, seed)], &vars, Order::Last)) {
                let Some(term) = term else { continue };
                sum.iter_mut().zip(term.value().to_f64()).for_each(|(sum, term)| *sum += term);
            }
        }
        let of = |planned: &Planned| {
            let at = ids.iter().position(|id| *id == planned.target.param);
            let values = at.map_or_else(Vec::new, |at| sums[at].clone());
            match values.iter().find(|value| !value.is_finite()) {
                None => Ok(oriented(&planned.target, values)),
                Some(odd) => Err(Error::from(epoch0_method::Error::NotFinite {
                    method: self.id.to_owned(),
                    site: format!("the gradient by {}", self.net.param(planned.target.param).name),
                    value: odd.to_string(),
                })),
            }
        };
        let gradients = self.planned.iter().map(of).collect::<Result<_, _>>()?;
        Ok(Seen { gradients, examples: Some(which.len()), ..Seen::default() })
    }
}

/// Of vectors along the last dimension.
fn moments(met: &Var) -> Moments {
    let columns = met.shape().last().copied().unwrap_or(1).max(1);
    let values = met.value().to_f64();
    let n = values.len() / columns;
    let mut mean = vec![0.0; columns];
    for vector in values.chunks_exact(columns) {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / n as f64);
    }
    let vectors = Matrix::new(n, columns, values);
    Moments { n, mean, second: vectors.transposed().times(&vectors).scaled(1.0 / n as f64) }
}

/// Of the vectors of all.
fn together(all: &[Moments]) -> Moments {
    let n: usize = all.iter().map(|one| one.n).sum();
    let mut found = Moments {
        n,
        mean: vec![0.0; all.first().map_or(0, |one| one.mean.len())],
        second: all
            .first()
            .map_or_else(Matrix::default, |one| Matrix::zeros(one.second.rows(), one.second.columns())),
    };
    for one in all {
        let share = one.n as f64 / n.max(1) as f64;
        found.mean.iter_mut().zip(&one.mean).for_each(|(sum, value)| *sum += share * value);
        found.second = found.second.plus(share, &one.second);
    }
    found
}

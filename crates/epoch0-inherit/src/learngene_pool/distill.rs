//! A network that learns from the ancestry, and what its features are made of the ancestry's.

use std::collections::BTreeMap;

use epoch0_data::Dataset;
use epoch0_engine::{Elements, Var, Weights};
use epoch0_method::Error;
use epoch0_net::{Builder, Network, Op, ParamId, Source, ValueId};
use epoch0_num::{Dtype, Law, Stream};
use epoch0_train::lesson::{Answered, Lesson, apart};
use epoch0_train::{Observer, Settings, Status, Trainer};

use super::{ID, LearngenePool, Member, Taps, Transform};
use crate::adapter::Matrix;
use crate::pair::refuse;

/// What came of a distillation.
#[derive(Clone, Debug)]
pub struct Distilled {
    /// The network with its weights and transformations.
    pub member: Member,
    /// How the training ended.
    pub status: Status,
    /// How much each transformation changed, `‖M - M₀‖ / ‖M₀‖`.
    pub moved: Vec<f64>,
}

/// Where both networks are looked at.
struct Tap {
    /// Block of the network.
    after: usize,
    /// Whether it is what attention adds there.
    of_attention: bool,
    /// The ancestry's value, and the network's.
    values: [ValueId; 2],
}

/// Trains a network, from `start`, by the data and by the ancestry's answers and features.
///
/// # Errors
/// When the networks do not go together or with the data, and what an observer answers.
pub fn distill(
    method: &LearngenePool,
    ancestry: (&Network, &Weights),
    (network, start): (&Network, &Weights),
    data: &Dataset,
    settings: Settings,
    observer: &mut dyn Observer,
) -> Result<Distilled, Error> {
    let taps = taps(method.taps, ancestry.0, network)?;
    let (joint, lesson) = Joint::new(method, ancestry.0, network, &taps)?;
    let from = |id: ParamId| {
        let name = &joint.network.param(id).name;
        let theirs = name.strip_prefix("ancestry.").and_then(|name| ancestry.0.find(name));
        theirs
            .and_then(|id| ancestry.1.get(id))
            .or_else(|| name.strip_prefix("own.").and_then(|name| start.get(network.find(name)?)))
            .cloned()
    };
    let failed = |error: &dyn std::fmt::Display| {
        refuse(ID, network.name(), &error.to_string(), "distill on data that both networks take")
    };
    let (_, like) = start.iter().next().ok_or_else(|| failed(&"it has no weights"))?;
    let (precision, device) = (like.precision(), like.device());
    let drawn = Weights::read::<epoch0_engine::Error>(&joint.network, precision, &device, |id, param| {
        if let Some(value) = from(id) {
            return Ok(Elements::Double(value.to_f64()));
        }
        // As torch draws linear maps.
        let of = joint.transforms.iter().find(|(_, _, params)| params.contains(&id));
        let n_in = of.map_or(1, |(_, _, [weight, _])| joint.network.param(*weight).shape[1]);
        let bound = 1.0 / (n_in as f64).sqrt();
        let law = Law::Uniform { low: -bound, high: bound };
        let mut values = vec![0.0; param.len()];
        let _ = law.fill(&Stream::new(settings.seed, &param.name), 0, &mut values);
        Ok(Elements::Double(values))
    });
    let drawn = drawn.map_err(|error| failed(&error))?;
    let before = joint.transforms(&drawn)?;
    let trainer = Trainer::new(&joint.network, drawn, data, settings).map_err(|error| failed(&error))?;
    let is_own = |name: &str| !name.starts_with("ancestry.");
    let mut trainer = trainer
        .per_param(|_, param, own| epoch0_train::PerParam {
            is_trained: own.is_trained && is_own(&param.name),
            ..own
        })
        .with_lesson(&lesson);
    let status = trainer.run(observer).map_err(|error| failed(&error))?;
    let learned = trainer.into_weights();
    let transforms = joint.transforms(&learned)?;
    let moved = before.iter().zip(&transforms).map(|(before, after)| {
        let change = after.matrix.clone().plus(-1.0, &before.matrix).squares();
        (change / before.matrix.squares()).sqrt()
    });
    let moved = moved.collect();
    let own: Vec<ParamId> = network
        .params()
        .iter()
        .map(|param| joint.network.find(&format!("own.{}", param.name)).unwrap_or(ParamId(0)))
        .collect();
    let member = Member { network: network.clone(), weights: learned.picked(&own), transforms };
    Ok(Distilled { member, status, moved })
}

/// The ancestry and the network as one: the network's answer is the answer, the ancestry is run beside it.
struct Joint {
    network: Network,
    transforms: Vec<(usize, bool, [ParamId; 2])>,
}

impl Joint {
    fn new(
        method: &LearngenePool,
        ancestry: &Network,
        network: &Network,
        taps: &[Tap],
    ) -> Result<(Self, Taught), Error> {
        let wrong = |why: &str| {
            refuse(ID, network.name(), why, "take networks that are given the same and answer the same")
        };
        let mut b = Builder::new(network.name(), Source::Built, Dtype::F32);
        let given = b.inputs_of(network);
        let theirs = super::pool::same_inputs(&given, ancestry).map_err(|why| wrong(&why))?;
        let place = |net: &Network| {
            let logits = net.outputs().iter().position(|&id| net.value(id).name.as_deref() == Some("logits"));
            logits.unwrap_or(0)
        };
        let mut wanted: Vec<ValueId> = ancestry.outputs().to_vec();
        wanted.extend(taps.iter().map(|tap| tap.values[0]));
        let from_ancestry = b.graft(ancestry, "ancestry.", &theirs, &wanted);
        let mut wanted: Vec<ValueId> = network.outputs().to_vec();
        wanted.extend(taps.iter().map(|tap| tap.values[1]));
        let own = b.graft(network, "own.", &given, &wanted);
        for (&ours, &theirs) in own.iter().zip(network.outputs()) {
            b.output(ours, network.value(theirs).name.as_deref().unwrap_or("output"));
        }
        let own_taps = &own[network.outputs().len()..];
        let their_taps = &from_ancestry[ancestry.outputs().len()..];
        let mut pairs = Vec::new();
        let mut names = Vec::new();
        for ((tap, &theirs), &own) in taps.iter().zip(their_taps).zip(own_taps) {
            let width = network.width_of(tap.values[1]).ok_or_else(|| wrong("its width is not known"))?;
            let of = if tap.of_attention { "attention" } else { "features" };
            let name = format!("transform.{of}.{}", tap.after);
            pairs.push((b.features_to(theirs, &name, width, true), own));
            names.push((tap.after, tap.of_attention, name));
        }
        let answers = from_ancestry.get(place(ancestry)).copied();
        let joint = b.finish().map_err(|error| wrong(&error.to_string()))?;
        let transforms = names.into_iter().map(|(after, of_attention, name)| {
            let find = |part: &str| joint.find(&format!("{name}.{part}")).unwrap_or(ParamId(0));
            (after, of_attention, [find("weight"), find("bias")])
        });
        let transforms = transforms.collect();
        let taught = Taught {
            answers: answers.ok_or_else(|| wrong("the ancestry answers nothing"))?,
            pairs,
            factors: [method.loss, method.answers, method.features],
            temperature: method.temperature,
        };
        Ok((Self { network: joint, transforms }, taught))
    }

    fn transforms(&self, weights: &Weights) -> Result<Vec<Transform>, Error> {
        let read = |id: ParamId| {
            let value = weights.get(id).map(epoch0_engine::Tensor::to_f64);
            value.ok_or_else(|| refuse(ID, &self.network.param(id).name, "it has no value", "distill again"))
        };
        let made = self.transforms.iter().map(|&(after, of_attention, [weight, bias])| {
            let shape = &self.network.param(weight).shape;
            let matrix = Matrix::new(shape[0], shape[1], read(weight)?);
            Ok(Transform { after, of_attention, matrix, bias: read(bias)? })
        });
        made.collect()
    }
}

/// Answers and features of the ancestry.
#[derive(Debug)]
struct Taught {
    answers: ValueId,
    /// What is made of the ancestry's features, and the network's.
    pairs: Vec<(ValueId, ValueId)>,
    /// Of the data's loss, of the distance of answers, and of features.
    factors: [f64; 3],
    temperature: f64,
}

impl Lesson for Taught {
    fn values(&self, _: u64) -> Vec<ValueId> {
        self.pairs.iter().flat_map(|&(theirs, own)| [theirs, own]).chain([self.answers]).collect()
    }

    fn objective(&self, answered: &Answered<'_>) -> Result<Var, epoch0_train::Error> {
        let [loss, answers, features] = self.factors;
        let mut objective = answered.loss.scale(loss);
        let value = |id: ValueId| answered.values.get(&id);
        if let Some(theirs) = value(self.answers).filter(|_| answers > 0.0) {
            let distance = apart(answered.answer, theirs, self.temperature)?;
            let factor = answers * self.temperature * self.temperature;
            objective = objective.add(&distance.scale(factor).reshape(&objective.shape()));
        }
        for &(theirs, own) in &self.pairs {
            let (Some(theirs), Some(own)) = (value(theirs), value(own)) else { continue };
            let (shape, other) = (own.shape(), theirs.shape());
            if shape != other {
                return Err(epoch0_train::Error::Setting {
                    name: "ancestry",
                    found: format!("features of shape {other:?}"),
                    allowed: format!("as many positions as the network has, {shape:?}"),
                });
            }
            let n = shape.iter().product::<usize>().max(1) as f64;
            let distance = theirs.sub(own).square().sum().scale(features / n);
            objective = objective.add(&distance.reshape(&objective.shape()));
        }
        Ok(objective)
    }
}

/// Where the networks are compared.
fn taps(taps: Taps, ancestry: &Network, network: &Network) -> Result<Vec<Tap>, Error> {
    let chain = |net: &Network| {
        let hint = "take networks of blocks that stand in a chain, such as vision transformers";
        net.chain().map_err(|error| refuse(ID, net.name(), &error.to_string(), hint))
    };
    let (theirs, own) = (chain(ancestry)?, chain(network)?);
    let (n_theirs, n) = (theirs.len(), own.len());
    if n > n_theirs {
        let why = format!("it has {n} blocks, the ancestry {n_theirs}");
        return Err(refuse(ID, network.name(), &why, "distill into networks of as many blocks or fewer"));
    }
    let blocks: Vec<usize> = match taps {
        Taps::End => vec![n - 1],
        Taps::Both => vec![0, n - 1],
        Taps::All => (0..n).collect(),
    };
    let blocks: std::collections::BTreeSet<usize> = blocks.into_iter().collect();
    let mut found = Vec::new();
    let (their_attention, own_attention) = (attended(ancestry), attended(network));
    for after in blocks {
        let block = ((after + 1) * n_theirs).div_ceil(n) - 1;
        let values = [theirs[block].answer, own[after].answer];
        found.push(Tap { after, of_attention: false, values });
        if let (Some(&a), Some(&b)) = (their_attention.get(&block), own_attention.get(&after)) {
            found.push(Tap { after, of_attention: true, values: [a, b] });
        }
    }
    Ok(found)
}

/// What attention adds in each block that has any: its output behind the map that follows.
fn attended(net: &Network) -> BTreeMap<usize, ValueId> {
    let mut found = BTreeMap::new();
    for node in net.nodes() {
        if let (Op::Attention(_), Some(block)) = (&node.op, node.block) {
            let out = node.outputs[0];
            let behind = net
                .nodes()
                .iter()
                .find(|next| matches!(next.op, Op::Linear { .. }) && next.inputs.first() == Some(&out));
            found.insert(block, behind.map_or(out, |next| next.outputs[0]));
        }
    }
    found
}

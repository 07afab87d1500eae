//! What effects of starts from other networks are shown on: a transformer that has learned digits, and smaller ones made of it.

use std::ops::ControlFlow;

use epoch0_data::Dataset;
use epoch0_engine::{Batch, Device, Precision, Tensor, Weights};
use epoch0_method::{Error, Values};
use epoch0_net::{Network, Role, Site, zoo};
use epoch0_num::{Law, Stream};
use epoch0_train::claims::{Examples, draw, of};
use epoch0_train::lesson::Distillation;
use epoch0_train::record::Teacher;
use epoch0_train::{Adam, Evaluation, Feed, Observer, Optimizer, Settings, Span, Trainer};

use crate::made;
use crate::{Kin, Needs, find};

/// Steps that a parent learns for.
const PARENT: u64 = 900;
/// Examples that a parent is run on.
const SCORED: usize = 512;

/// A parent that has learned, and a smaller network.
pub(crate) struct Digits {
    data: Dataset,
    parent: Network,
    theirs: Weights,
    child: Network,
    seed: u64,
}

/// Tests of a training, by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve(Vec<Evaluation>);

impl Curve {
    /// Share of right answers in % and mean loss at a step.
    pub(crate) fn at(&self, step: u64) -> (f64, f64) {
        let found = self.0.iter().find(|found| found.step == step);
        found.map_or((f64::NAN, f64::NAN), |found| (100.0 * found.accuracy.unwrap_or(f64::NAN), found.loss))
    }
}

impl Observer for Curve {
    fn tested(
        &mut self,
        _: &Trainer<'_>,
        found: &Evaluation,
    ) -> Result<ControlFlow<()>, epoch0_train::Error> {
        self.0.push(*found);
        Ok(ControlFlow::Continue(()))
    }
}

/// Single precision of weights that were drawn in double.
pub(crate) fn single(net: &Network, weights: &Weights) -> Result<Weights, Error> {
    of(Weights::read::<epoch0_engine::Error>(net, Precision::Single, &Device::cpu(), |id, _| {
        Ok(epoch0_engine::Elements::Double(weights.get(id).map(Tensor::to_f64).unwrap_or_default()))
    }))
}

/// As torch and timm draw vision transformers.
fn usual(site: &Site) -> Option<Law> {
    match site.role {
        Role::Position | Role::Token => Some(Law::normal(0.0, 0.02)),
        Role::Weight | Role::Readout | Role::Bias => {
            let bound = 1.0 / site.fans?.in_.sqrt();
            Some(Law::Uniform { low: -bound, high: bound })
        }
        _ => None,
    }
}

impl Digits {
    /// A vision transformer of width 64 with 4 layers that has learned MNIST for 900 steps, and one of width 32 with 3.
    pub(crate) fn new(seed: u64) -> Result<Self, Error> {
        let data = Examples::images(10_000, 2_000)?;
        let build = |layers: usize, heads: usize, embed: usize| {
            let mlp = 2 * embed;
            let spec =
                format!("vit:layers={layers},heads={heads},embed={embed},mlp={mlp},patch=7,in=1,size=28");
            let mut net = of(zoo::build(&spec))?;
            net.set_native(|_, site| usual(site));
            Ok::<_, Error>(net)
        };
        let (parent, child) = (build(4, 4, 64)?, build(3, 2, 32)?);
        let drawn = single(&parent, &draw("inherit", &parent, &Stream::new(seed, "parent"))?)?;
        let settings = settings(1e-3, PARENT, seed);
        let mut trainer = of(Trainer::new(&parent, drawn, &data, settings))?;
        of(trainer.run(&mut ()))?;
        let theirs = trainer.weights().clone();
        drop(trainer);
        Ok(Self { data, parent, theirs, child, seed })
    }

    /// How the parent ended: accuracy in %.
    pub(crate) fn parents_accuracy(&self) -> Result<f64, Error> {
        let trainer = of(Trainer::new(&self.parent, self.theirs.clone(), &self.data, settings(1e-3, 1, 0)))?;
        Ok(of(trainer.test())?.and_then(|found| found.accuracy).map_or(f64::NAN, |share| 100.0 * share))
    }

    /// The child as it is drawn.
    pub(crate) fn drawn(&self) -> Result<Weights, Error> {
        single(&self.child, &draw("inherit", &self.child, &Stream::new(self.seed, "child"))?)
    }

    /// The child as a method makes it of the parent.
    pub(crate) fn made(&self, method: &str, set: &Values) -> Result<Weights, Error> {
        let method = (find(method)?.build)(set)?;
        let inputs = self.data.train.inputs().pick(&(0..SCORED).collect::<Vec<_>>());
        let feed = of(Feed::new(&self.parent, &self.data))?;
        let batch = Batch::from(feed.inputs(&inputs, Precision::Single, &Device::cpu()));
        let running = (method.needs() == Needs::Activations).then_some((&self.theirs, &batch));
        let kin = Kin { seed: self.seed, running, ..Kin::new(&self.parent, &self.child) };
        made(&method.inherit(&kin)?, (&self.parent, &self.theirs), &self.child, &self.drawn()?)
    }

    /// What training makes of a start, tested every so many steps; with half of the loss the distance to the parent's answers
    /// where it is taught.
    pub(crate) fn curve(
        &self,
        start: Weights,
        rate: f64,
        [steps, every]: [u64; 2],
        is_taught: bool,
    ) -> Result<Curve, Error> {
        let by = Teacher { from: String::new(), loss: 0.5, answers: 0.5, temperature: 4.0 };
        let lesson = of(Distillation::new(&self.parent, &self.theirs, &self.data, &by))?;
        let settings = Settings { test_every: Span::Steps(every), ..settings(rate, steps, self.seed) };
        let mut curve = Curve::default();
        let trainer = of(Trainer::new(&self.child, start, &self.data, settings))?;
        let mut trainer = if is_taught { trainer.with_lesson(&lesson) } else { trainer };
        of(trainer.run(&mut curve))?;
        Ok(curve)
    }
}

fn settings(learning_rate: f64, steps: u64, seed: u64) -> Settings {
    let length = Span::Steps(steps);
    let optimizer = Optimizer::Adam(Adam::default());
    Settings { length, optimizer, learning_rate, batch: 64, seed, test_every: length, ..Settings::default() }
}

//! Answers of a teacher (Hinton et al. 2015).

use epoch0_data::Dataset;
use epoch0_engine::{Mode, Var, Weights, run};
use epoch0_net::{Network, ValueId};

use super::{Answered, Lesson};
use crate::{Error, Feed};

/// Loss of the data and distance to a teacher's answers:
/// `loss · L + answers · T² · KL(softmax(z_teacher / T) ‖ softmax(z / T))`, the mean over what is answered.
#[derive(Debug)]
pub struct Distillation<'a> {
    teacher: &'a Network,
    weights: &'a Weights,
    feed: Feed,
    /// Factor of the data's loss.
    pub loss: f64,
    /// Factor of the distance.
    pub answers: f64,
    /// Temperature T, above 0.
    pub temperature: f64,
}

impl<'a> Distillation<'a> {
    /// From a teacher that answers for the same data.
    ///
    /// # Errors
    /// When it does not, and when a number is out of its range.
    pub fn new(
        teacher: &'a Network,
        weights: &'a Weights,
        data: &Dataset,
        [loss, answers, temperature]: [f64; 3],
    ) -> Result<Self, Error> {
        for (name, value) in [("loss", loss), ("answers", answers)] {
            crate::error::within(name, value, 0.0.., "a finite number, at least 0")?;
        }
        crate::error::within("temperature", temperature, 1e-3.., "a finite number, at least 0.001")?;
        let feed = Feed::new(teacher, data)?;
        if !feed.task().has_accuracy() {
            return Err(Error::Setting {
                name: "teacher",
                found: "data with numbers to answer".to_owned(),
                allowed: "data with classes or words".to_owned(),
            });
        }
        Ok(Self { teacher, weights, feed, loss, answers, temperature })
    }
}

impl Lesson for Distillation<'_> {
    fn values(&self, _: u64) -> Vec<ValueId> {
        Vec::new()
    }

    fn objective(&self, answered: &Answered<'_>) -> Result<Var, Error> {
        let inputs = self.feed.inputs(answered.examples, answered.precision, answered.device);
        let done = run(self.teacher, &self.weights.constants(), &inputs, Mode::Eval, &mut |_| Ok(()))?;
        let theirs = self.feed.answer(&done.outputs)?;
        let (shape, other) = (answered.answer.shape(), theirs.shape());
        if shape != other {
            return Err(Error::Setting {
                name: "teacher",
                found: format!("one whose answers have shape {other:?}"),
                allowed: format!("one that answers as the network does, {shape:?}"),
            });
        }
        let last = shape.len() - 1;
        let n = shape[..last].iter().product::<usize>().max(1) as f64;
        let soft = |logits: &Var| logits.scale(1.0 / self.temperature).log_softmax(last);
        let (own, theirs) = (soft(answered.answer), soft(theirs));
        let distance = theirs.exp().mul(&theirs.sub(&own)).sum();
        let factor = self.answers * self.temperature * self.temperature / n;
        let distance = distance.scale(factor).reshape(&answered.loss.shape());
        Ok(answered.loss.scale(self.loss).add(&distance))
    }
}

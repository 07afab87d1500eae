//! Answers of a teacher (Hinton et al. 2015).

use epoch0_data::Dataset;
use epoch0_engine::{Mode, Var, Weights, run};
use epoch0_net::{Network, ValueId};

use super::{Answered, Lesson};
use crate::record::Teacher;
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
        by: &Teacher,
    ) -> Result<Self, Error> {
        let Teacher { loss, answers, temperature, .. } = *by;
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
        let distance = apart(answered.answer, theirs, self.temperature)?;
        let factor = self.answers * self.temperature * self.temperature;
        let distance = distance.scale(factor).reshape(&answered.loss.shape());
        Ok(answered.loss.scale(self.loss).add(&distance))
    }
}

/// How far answers are from a teacher's: `KL(softmax(theirs / T) ‖ softmax(own / T))`, the mean over what is answered.
///
/// # Errors
/// When they have different shapes.
pub fn apart(own: &Var, theirs: &Var, temperature: f64) -> Result<Var, Error> {
    let (shape, other) = (own.shape(), theirs.shape());
    if shape != other {
        return Err(Error::Setting {
            name: "teacher",
            found: format!("one whose answers have shape {other:?}"),
            allowed: format!("one that answers as the network does, {shape:?}"),
        });
    }
    let last = shape.len() - 1;
    let n = shape[..last].iter().product::<usize>().max(1) as f64;
    let soft = |logits: &Var| logits.scale(1.0 / temperature).log_softmax(last);
    let (own, theirs) = (soft(own), soft(theirs));
    Ok(theirs.exp().mul(&theirs.sub(&own)).sum().scale(1.0 / n))
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Device, Elements, Precision};
    use epoch0_net::zoo;
    use epoch0_num::{Law, Stream};

    use super::*;
    use crate::{Settings, Span, Trainer};

    fn weights(net: &Network, seed: u64) -> Weights {
        Weights::read(net, Precision::Double, &Device::cpu(), |_, param| {
            let mut values = vec![0.0; param.len()];
            Law::normal(0.0, 0.3).fill(&Stream::new(seed, &param.name), 0, &mut values).unwrap();
            Ok::<_, epoch0_engine::Error>(Elements::Double(values))
        })
        .unwrap()
    }

    fn trained(by: Option<(u64, [f64; 3])>) -> Vec<f64> {
        let net = zoo::build("mlp:8-16-3").unwrap();
        let data = Dataset::open("gaussians:classes=3,dim=8,n=60,separation=4").unwrap();
        let theirs = weights(&net, by.map_or(0, |by| by.0));
        let [loss, answers, temperature] = by.map_or([1.0, 0.0, 1.0], |by| by.1);
        let teacher = Teacher { from: String::new(), loss, answers, temperature };
        let lesson = Distillation::new(&net, &theirs, &data, &teacher).unwrap();
        let settings = Settings { length: Span::Steps(3), batch: 16, ..Settings::default() };
        let trainer = Trainer::new(&net, weights(&net, 0), &data, settings).unwrap();
        let mut trainer = if by.is_some() { trainer.with_lesson(&lesson) } else { trainer };
        trainer.run(&mut ()).unwrap();
        trainer.weights().iter().flat_map(|(_, value)| value.to_f64()).collect()
    }

    #[test]
    fn without_its_answers_it_is_plain_training() {
        let off = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let plain = trained(None);
        assert!(off(&plain, &trained(Some((1, [1.0, 0.0, 2.0])))) < 1e-12);
        assert!(off(&plain, &trained(Some((1, [1.0, 1.0, 2.0])))) > 1e-3);
        // A teacher that answers alike teaches nothing.
        let start = weights(&zoo::build("mlp:8-16-3").unwrap(), 0);
        let start: Vec<f64> = start.iter().flat_map(|(_, value)| value.to_f64()).collect();
        assert!(off(&start, &trained(Some((0, [0.0, 1.0, 3.0])))) < 1e-12);
    }
}

//! What happens in a training, and who sees it.

use std::ops::ControlFlow;

use crate::{Error, Look, Trainer};

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its number, from 1.
    pub step: u64,
    /// Passes over the training examples so far.
    pub epoch: f64,
    /// Mean loss of its examples, before the weights were changed.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Euclidean norm of all gradients, before they were clipped; NaN where the loss was not finite.
    pub gradient_norm: f64,
}

/// What a test gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Steps taken before it.
    pub step: u64,
    /// Passes over the training examples before it.
    pub epoch: f64,
    /// Mean loss over the test examples.
    pub loss: f64,
    /// Share of right answers, where answers are right or wrong.
    pub accuracy: Option<f64>,
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It ran to its end.
    Finished,
    /// An observer stopped it; it can go on.
    Stopped {
        /// Steps taken.
        step: u64,
    },
    /// A loss or a gradient was not finite. The weights are those before that step.
    Diverged {
        /// The step that could not be taken, from 1.
        step: u64,
        /// What was not finite.
        what: &'static str,
    },
}

/// Sees a training on its way. `ControlFlow::Break` stops it after what was just done.
pub trait Observer {
    /// After each step.
    ///
    /// # Errors
    /// The observer's own, which end the training.
    fn step(&mut self, _trainer: &Trainer<'_>, _step: &Step) -> Result<ControlFlow<()>, Error> {
        Ok(ControlFlow::Continue(()))
    }

    /// After each test; the first is before the first step.
    ///
    /// # Errors
    /// The observer's own, which end the training.
    fn tested(&mut self, _trainer: &Trainer<'_>, _found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        Ok(ControlFlow::Continue(()))
    }

    /// After each look at the layers that are followed; the first is before the first step.
    ///
    /// # Errors
    /// The observer's own, which end the training.
    fn followed(&mut self, _trainer: &Trainer<'_>, _look: &Look) -> Result<(), Error> {
        Ok(())
    }
}

/// Sees nothing.
impl Observer for () {}

/// All of them see everything, in order; one is enough to stop the training.
impl Observer for Vec<&mut dyn Observer> {
    fn step(&mut self, trainer: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        each(self, |observer| observer.step(trainer, step))
    }

    fn tested(&mut self, trainer: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        each(self, |observer| observer.tested(trainer, found))
    }

    fn followed(&mut self, trainer: &Trainer<'_>, look: &Look) -> Result<(), Error> {
        self.iter_mut().try_for_each(|observer| observer.followed(trainer, look))
    }
}

fn each(
    observers: &mut [&mut dyn Observer],
    mut see: impl FnMut(&mut dyn Observer) -> Result<ControlFlow<()>, Error>,
) -> Result<ControlFlow<()>, Error> {
    let mut flow = ControlFlow::Continue(());
    for observer in observers {
        if see(*observer)?.is_break() {
            flow = ControlFlow::Break(());
        }
    }
    Ok(flow)
}

/// An observer that looks at a training every so many steps: for what is measured on the way.
pub struct Every<F> {
    steps: u64,
    look: F,
}

/// Looks at the training after every `steps` steps.
pub fn every<F: FnMut(&Trainer<'_>, &Step) -> Result<(), Error>>(steps: u64, look: F) -> Every<F> {
    Every { steps: steps.max(1), look }
}

impl<F: FnMut(&Trainer<'_>, &Step) -> Result<(), Error>> Observer for Every<F> {
    fn step(&mut self, trainer: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        if step.step.is_multiple_of(self.steps) {
            (self.look)(trainer, step)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

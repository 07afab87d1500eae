//! The loop.

use std::collections::HashMap;
use std::ops::ControlFlow;

use epoch0_data::{Batch, BatchSize, Batches, Dataset, Examples, Order as DataOrder};
use epoch0_engine::{
    BatchStatistics, Device, Mode, Order, Parameters, Precision, Tensor, Var, Weights, run, vjp,
};
use epoch0_net::{Network, Op, Param, ParamId, Role};

use crate::lesson::{Answered, Lesson};
use crate::optimizer::{PerParam, State};
use crate::paths::Paths;
use crate::schedule::Curve;
use crate::statistics::{self, NormStatistics};
use crate::{Error, Evaluation, Feed, Following, Look, Observer, Pace, Path, Settings, Status, Step, Task};

/// Batches of tests hold at least this many numbers of inputs, or all examples.
const TEST_NUMBERS: usize = 1 << 18;

/// A network in training.
///
/// Everything it does is a function of the weights it starts from, the data and the settings; threads change nothing.
#[derive(Debug)]
pub struct Trainer<'a> {
    network: &'a Network,
    data: &'a Dataset,
    settings: Settings,
    feed: Feed,
    weights: Weights,
    /// Batches that each batch normalization has seen, at the index of its count.
    counts: Vec<i64>,
    state: State,
    per_param: Vec<PerParam>,
    pace: Pace,
    steps: u64,
    curve: Curve,
    step: u64,
    /// Layers that are followed.
    following: Option<Following>,
    /// Parameters that are kept within bounds.
    bounds: Vec<(ParamId, [f64; 2])>,
    /// What it learns from besides its data.
    lesson: Option<&'a dyn Lesson>,
    /// Parts of the network, one of which a step trains.
    paths: Option<Paths<'a>>,
    /// The epoch that is read, and its number.
    epoch: Option<(u64, epoch0_data::prepare::Epoch<'a>)>,
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    ///
    /// # Errors
    /// When a setting is out of its range, or network and data do not belong together.
    pub fn new(
        network: &'a Network,
        weights: Weights,
        data: &'a Dataset,
        settings: Settings,
    ) -> Result<Self, Error> {
        settings.check()?;
        let feed = Feed::new(network, data)?;
        let settings = Settings { batch: feed.batch(settings.batch, data.train.len()), ..settings };
        check_last_batch(network, data.train.len(), settings.batch)?;
        let pace = settings.pace(data.train.len());
        let steps = settings.length.steps(pace);
        let n_params = network.params().len();
        Ok(Self {
            network,
            data,
            settings,
            feed,
            weights,
            counts: vec![0; n_params],
            state: State::new(settings.optimizer, settings.clip, n_params),
            per_param: settings.decayed.of(network),
            pace,
            steps,
            curve: settings.schedule.over(steps, pace),
            step: 0,
            following: None,
            bounds: network.bounds(),
            lesson: None,
            paths: None,
            epoch: None,
        })
    }

    /// Follows layers: [`Observer::followed`] is told how what their activations meet is distributed.
    #[must_use]
    pub fn following(self, following: Following) -> Self {
        Self { following: Some(following), ..self }
    }

    /// Learns from something besides its data. The losses that are told stay those of the data.
    #[must_use]
    pub fn with_lesson(self, lesson: &'a dyn Lesson) -> Self {
        Self { lesson: Some(lesson), ..self }
    }

    /// Trains one of these parts of the network in each step, and tests them all: what is told is the mean over them. A lesson
    /// beside them must look at answers alone.
    ///
    /// # Errors
    /// When there are none, or one does not go with the data.
    pub fn with_paths(self, paths: &'a [Path]) -> Result<Self, Error> {
        if self.settings.statistics == NormStatistics::Population {
            return Err(Error::Setting {
                name: "statistics",
                found: "those of all examples".to_owned(),
                allowed: "running ones, where several networks share weights".to_owned(),
            });
        }
        let paths = Some(Paths::new(paths, self.data, self.settings.seed)?);
        Ok(Self { paths, ..self })
    }

    /// Trains each parameter in its own way: factors of the learning rate, as muP needs, of the weight decay, or not at
    /// all. `choose` is given what it would be without. Buffers stay what they are.
    #[must_use]
    pub fn per_param(mut self, choose: impl Fn(ParamId, &Param, PerParam) -> PerParam) -> Self {
        for (index, param) in self.network.params().iter().enumerate() {
            let own = choose(ParamId(index as u32), param, self.per_param[index]);
            self.per_param[index] = PerParam { is_trained: own.is_trained && !param.role.is_buffer(), ..own };
        }
        self
    }

    /// Multiplies the learning rates of some parameters.
    #[must_use]
    pub fn with_learning_rates(mut self, factors: &[(ParamId, f64)]) -> Self {
        for &(id, factor) in factors {
            self.per_param[id.0 as usize].learning_rate *= factor;
        }
        self
    }

    /// Factors of the learning rate other than 1.
    pub fn learning_rates(&self) -> impl Iterator<Item = (ParamId, f64)> {
        let factors = self.per_param.iter().enumerate();
        factors
            .map(|(index, own)| (ParamId(index as u32), own.learning_rate))
            .filter(|(_, factor)| *factor != 1.0)
    }

    /// The network.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// The data.
    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    /// How it is trained.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How examples go into the network.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The weights as they are.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The weights as they are, for keeps.
    pub fn into_weights(self) -> Weights {
        self.weights
    }

    /// Puts other weights in their place, such as the mean of several trainings'; what the optimizer remembers stays.
    pub fn set_weights(&mut self, weights: Weights) {
        self.weights = weights;
    }

    /// What the optimizer remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Batches that the batch normalization with this count has seen.
    pub fn batch_count(&self, id: ParamId) -> i64 {
        self.counts[id.0 as usize]
    }

    /// Sets how many batches a batch normalization has seen, as a checkpoint says.
    pub fn set_batch_count(&mut self, id: ParamId, count: i64) {
        self.counts[id.0 as usize] = count;
    }

    /// Steps taken.
    pub fn step_number(&self) -> u64 {
        self.step
    }

    /// Steps in all.
    pub fn n_steps(&self) -> u64 {
        self.steps
    }

    /// Passes over the training examples so far.
    pub fn epoch_number(&self) -> f64 {
        (self.step * self.pace.per_step) as f64 / self.pace.per_epoch as f64
    }

    /// Goes on from a step with what the optimizer remembered there.
    pub(crate) fn go_on(&mut self, step: u64, state: State) {
        (self.step, self.state, self.epoch) = (step, state, None);
    }

    fn home(&self) -> (Precision, Device) {
        self.weights.iter().next().map_or_else(
            || (Precision::Single, Device::cpu()),
            |(_, tensor)| (tensor.precision(), tensor.device()),
        )
    }

    /// The batch at that place in all epochs, one after another: a function of seed and place.
    fn batch(&mut self, at: u64) -> Option<Batch> {
        let (epoch, nth) = (at / self.pace.per_epoch, at % self.pace.per_epoch);
        let open = self
            .epoch
            .take()
            .filter(|(number, rest)| *number == epoch && rest.len() as u64 == self.pace.per_epoch - nth);
        let mut rest = match open {
            Some((_, rest)) => rest,
            None => {
                let size = BatchSize::new(self.settings.batch).ok()?;
                let order = DataOrder::Shuffled { seed: self.settings.seed };
                let mut rest = Batches::new(&self.data.train, size, order).epoch(epoch);
                if nth > 0 {
                    rest.nth(nth as usize - 1);
                }
                rest
            }
        };
        let batch = rest.next();
        self.epoch = Some((epoch, rest));
        batch
    }

    /// Takes a step; the error is what was not finite.
    ///
    /// # Errors
    /// When the network cannot be run on the data.
    pub fn step(&mut self) -> Result<(Step, Option<&'static str>), Error> {
        let first = self.step * self.pace.per_step;
        let batches: Vec<Batch> =
            (first..first + self.pace.per_step).filter_map(|at| self.batch(at)).collect();
        let learning_rate = self.settings.learning_rate * self.curve.factor(self.step);
        let (precision, device) = self.home();
        let n_examples: usize = batches.iter().map(Batch::len).sum();
        let path = self.paths.as_ref().map(|paths| {
            let at = paths.at(self.step);
            (&paths.all[at], &paths.feeds[at])
        });
        let is_trained = |id: ParamId| self.per_param[id.0 as usize].is_trained;
        let (network, feed, params) = match path {
            None => (self.network, &self.feed, self.weights.parameters(is_trained)),
            Some((path, feed)) => (path.network(), feed, path.parameters(&self.weights, is_trained)),
        };
        let (ids, vars): (Vec<ParamId>, Vec<&Var>) = params.tracked().unzip();
        let mut gradients: Vec<Option<Var>> = vec![None; ids.len()];
        let mut loss = 0.0;
        let mut trouble = None;
        let mut met = Vec::new();
        for batch in &batches {
            let inputs = feed.inputs(&batch.inputs, precision, &device);
            let wanted = self.lesson.map(|lesson| lesson.values(self.step)).unwrap_or_default();
            let mut values = HashMap::new();
            let done = run(network, &params, &inputs, Mode::Train, &mut |done| {
                let made = done.node.outputs.iter().zip(done.outputs).filter(|(id, _)| wanted.contains(id));
                values.extend(made.filter_map(|(id, value)| Some((*id, value.real()?.clone()))));
                Ok(())
            })?;
            let answer = feed.answer(&done.outputs)?;
            let found = feed.loss(answer, &batch.targets)?;
            let share = batch.len() as f64 / n_examples as f64;
            loss += share * found.mean.value().item();
            if !loss.is_finite() {
                trouble = Some("the training loss");
                break;
            }
            let objective = match self.lesson {
                None => found.mean,
                Some(lesson) => lesson.objective(&Answered {
                    step: self.step,
                    examples: &batch.inputs,
                    values: &values,
                    answer,
                    loss: &found.mean,
                    precision,
                    device: &device,
                })?,
            };
            let objective = if batches.len() > 1 { objective.scale(share) } else { objective };
            let one = Var::constant(objective.value().full_like(1.0, &objective.shape()));
            for (sum, term) in gradients.iter_mut().zip(vjp(&[(&objective, one)], &vars, Order::Last)) {
                *sum = match (sum.take(), term) {
                    (Some(sum), Some(term)) => Some(sum.add(&term).detach()),
                    (sum, term) => sum.or(term.map(|term| term.detach())),
                };
            }
            met.push(done.statistics);
        }
        drop(vars);
        drop(params);
        let mut gradient_norm = f64::NAN;
        if trouble.is_none() {
            let gradients: Vec<(ParamId, Tensor)> = ids
                .into_iter()
                .map(|id| path.map_or(id, |(path, _)| path.params()[id.0 as usize]))
                .zip(gradients)
                .filter_map(|(id, gradient)| Some((id, self.masked(id, gradient?.value().clone()))))
                .collect();
            gradient_norm = self.state.step(&mut self.weights, gradients, &self.per_param, learning_rate);
            if gradient_norm.is_finite() {
                keep_within(&self.bounds, &mut self.weights);
                let momentum = self.settings.statistics_momentum;
                let at = path.map(|(path, _)| path);
                for met in met.iter().flatten() {
                    if let Some(count) = Self::followed(self.network, at, &mut self.weights, met, momentum) {
                        self.counts[count.0 as usize] += 1;
                    }
                }
                self.step += 1;
            } else {
                trouble = Some("the norm of the gradients");
            }
        }
        let step = Step {
            step: self.step + u64::from(trouble.is_some()),
            epoch: self.epoch_number(),
            loss,
            learning_rate,
            gradient_norm,
        };
        Ok((step, trouble))
    }

    /// Moves running statistics towards those of a batch; the count of the normalization that has them.
    fn followed(
        network: &Network,
        path: Option<&Path>,
        weights: &mut Weights,
        met: &BatchStatistics,
        momentum: f64,
    ) -> Option<ParamId> {
        let Some(path) = path else { return statistics::follow(network, weights, met, momentum) };
        let mut own = path.weights(weights);
        let count = statistics::follow(path.network(), &mut own, met, momentum)?;
        own.iter().for_each(|(id, value)| weights.set(path.params()[id.0 as usize], value.clone()));
        Some(path.params()[count.0 as usize])
    }

    /// A gradient without the row of an embedding's padding word, which is not learned.
    fn masked(&self, id: ParamId, gradient: Tensor) -> Tensor {
        let param = self.network.param(id);
        let (Some(row), [rows, width]) = (param.padding_row, &param.shape[..]) else { return gradient };
        let is_read_otherwise = self
            .network
            .nodes()
            .iter()
            .any(|node| !matches!(node.op, Op::Embedding { .. }) && node.op.params().contains(&id));
        if is_read_otherwise {
            return gradient;
        }
        let mut mask = vec![1.0; *rows];
        mask[row] = 0.0;
        let mask = Tensor::from_f64(mask, &[*rows, 1], gradient.precision(), &gradient.device());
        debug_assert_eq!(gradient.shape(), [*rows, *width]);
        Var::constant(gradient).mul(&Var::constant(mask)).value().clone()
    }

    /// Puts the statistics of the training examples in the place of the running ones: one pass over them, with the weights
    /// as they are. See [`NormStatistics::Population`].
    ///
    /// # Errors
    /// When the network cannot be run on them.
    pub fn settle_statistics(&mut self) -> Result<(), Error> {
        let Settings { batch, seed, .. } = self.settings;
        let found = statistics::of_population(
            self.network,
            &self.weights,
            &self.feed,
            &self.data.train,
            batch,
            seed,
        )?;
        found.into_iter().for_each(|(id, value)| self.weights.set(id, value));
        Ok(())
    }

    /// Looks at the layers that are followed, if there are any.
    fn look(&self) -> Result<Option<Look>, Error> {
        let Some(following) = &self.following else { return Ok(None) };
        let layers =
            following.look(self.network, &self.weights, &self.feed, self.data, self.settings.seed)?;
        Ok(Some(Look { step: self.step, epoch: self.epoch_number(), layers }))
    }

    /// Tests the network on the test examples; on none where the data have none.
    ///
    /// # Errors
    /// When the network cannot be run on them.
    pub fn test(&self) -> Result<Option<Evaluation>, Error> {
        let Some(examples) = &self.data.test else { return Ok(None) };
        Ok(Some(self.evaluate(examples)?))
    }

    /// Tests the network on examples, in the order in which they are stored; where it has paths, all of them.
    ///
    /// # Errors
    /// When the network cannot be run on them.
    pub fn evaluate(&self, examples: &Examples) -> Result<Evaluation, Error> {
        let Some(paths) = &self.paths else {
            return self.tested(self.network, &self.feed, &self.weights.constants(), examples);
        };
        let found = (0..paths.all.len()).map(|at| self.evaluate_path(at, examples));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let mean = |of: &dyn Fn(&Evaluation) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
        let accuracy = |one: &Evaluation| one.accuracy.unwrap_or(f64::NAN);
        let has_accuracy = self.feed.task().has_accuracy();
        Ok(Evaluation {
            loss: mean(&|one| one.loss),
            accuracy: has_accuracy.then(|| mean(&accuracy)),
            ..found[0]
        })
    }

    /// Tests one of its paths.
    ///
    /// # Errors
    /// When it cannot be run on the examples.
    ///
    /// # Panics
    /// When there is no such path.
    pub fn evaluate_path(&self, path: usize, examples: &Examples) -> Result<Evaluation, Error> {
        let paths = self.paths.as_ref().expect("a network with paths");
        let params = paths.all[path].parameters(&self.weights, |_| false);
        self.tested(paths.all[path].network(), &paths.feeds[path], &params, examples)
    }

    fn tested(
        &self,
        network: &Network,
        feed: &Feed,
        params: &Parameters,
        examples: &Examples,
    ) -> Result<Evaluation, Error> {
        let (precision, device) = self.home();
        let per_example: usize = examples.input_shape().iter().product();
        let size = match feed.task() {
            _ if feed.sees_graph() => examples.len(),
            // Logits of many words for each token take more room than the tokens.
            Task::NextToken => self.settings.batch,
            _ => (TEST_NUMBERS / per_example.max(1)).max(self.settings.batch),
        };
        let size = BatchSize::new(size)?;
        let (mut loss, mut right, mut n) = (0.0, 0.0, 0usize);
        for batch in Batches::new(examples, size, DataOrder::Stored).epoch(0) {
            let inputs = feed.inputs(&batch.inputs, precision, &device);
            let done = run(network, params, &inputs, Mode::Eval, &mut |_| Ok(()))?;
            let answer = feed.answer(&done.outputs)?;
            let found = feed.loss(answer, &batch.targets)?;
            let share = found.n_answers as f64;
            loss += share * found.mean.value().item();
            right += share * feed.accuracy(answer.value(), &batch.targets)?.unwrap_or(f64::NAN);
            n += found.n_answers;
        }
        Ok(Evaluation {
            step: self.step,
            epoch: self.epoch_number(),
            loss: loss / n as f64,
            accuracy: feed.task().has_accuracy().then_some(right / n as f64),
        })
    }

    /// Trains to the end, or until an observer stops it or a number is not finite.
    ///
    /// # Errors
    /// When the network cannot be run on the data, or an observer fails.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Status, Error> {
        let every = self.settings.test_every.steps(self.pace).max(1);
        let look_every = self.following.as_ref().map_or(u64::MAX, |following| following.steps(self.pace));
        if self.step == 0
            && let Some(look) = self.look()?
        {
            observer.followed(self, &look)?;
        }
        if self.step == 0
            && let Some(found) = self.test()?
            && observer.tested(self, &found)?.is_break()
        {
            return Ok(Status::Stopped { step: 0 });
        }
        while self.step < self.steps {
            let (step, trouble) = self.step()?;
            let mut flow = observer.step(self, &step)?;
            if let Some(what) = trouble {
                return Ok(Status::Diverged { step: step.step, what });
            }
            let is_last = self.step == self.steps;
            if (is_last || self.step.is_multiple_of(look_every))
                && let Some(look) = self.look()?
            {
                observer.followed(self, &look)?;
            }
            if is_last && self.settings.statistics == NormStatistics::Population {
                self.settle_statistics()?;
            }
            if (is_last || self.step.is_multiple_of(every))
                && let Some(found) = self.test()?
                && observer.tested(self, &found)?.is_break()
            {
                flow = ControlFlow::Break(());
            }
            if flow.is_break() && !is_last {
                return Ok(Status::Stopped { step: self.step });
            }
        }
        Ok(Status::Finished)
    }
}

/// Batch normalization over vectors needs two of them: refused before the training rather than in its midst.
fn check_last_batch(network: &Network, n_examples: usize, batch: usize) -> Result<(), Error> {
    let is_over_vectors = network.nodes().iter().any(|node| {
        node.op.is_batch_norm()
            && node.inputs.first().is_some_and(|&input| network.value(input).dims.len() == 2)
    });
    if is_over_vectors && (n_examples % batch == 1 || batch == 1) {
        return Err(Error::Setting {
            name: "batch",
            found: format!("{batch}, which leaves a batch of one of {n_examples} examples"),
            allowed: "what leaves none or more: batch normalization needs two".to_owned(),
        });
    }
    Ok(())
}

/// Puts parameters that have left their bounds back to them.
fn keep_within(bounds: &[(ParamId, [f64; 2])], weights: &mut Weights) {
    for &(id, [low, high]) in bounds {
        if let Some(value) = weights.get(id) {
            let kept = Var::constant(value.clone()).clip(low, high);
            weights.set(id, kept.value().clone());
        }
    }
}

/// Whether a parameter counts batches.
pub(crate) fn is_count(param: &Param) -> bool {
    param.role == Role::BatchCount
}

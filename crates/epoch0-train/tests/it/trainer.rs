//! The loop.

use std::ops::ControlFlow;

use epoch0_data::{Array, Dataset, Examples, Inputs, Targets, Vocabulary};
use epoch0_engine::{Device, Elements, Precision, Weights};
use epoch0_net::{Builder, Linear, NormKind, Role, Source};
use epoch0_num::Dtype;
use epoch0_train::{
    Adam, Clip, Error, Evaluation, Following, Look, NormStatistics, Observer, Optimizer, PerParam, Settings,
    Span, Status, Step, Trainer, every, wandering,
};

use crate::common::{bits, gaussians, images, network, plain, settings, weights, weights_in};

#[derive(Default)]
struct Seen {
    steps: Vec<Step>,
    tests: Vec<Evaluation>,
    stop_at: Option<u64>,
}

impl Observer for Seen {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        self.steps.push(*step);
        Ok(if self.stop_at == Some(step.step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn tested(&mut self, _: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        self.tests.push(*found);
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn classes_are_learned() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings("6ep")).unwrap();
    let mut seen = Seen::default();
    assert_eq!(trainer.run(&mut seen).unwrap(), Status::Finished);
    let per_epoch = data.train.len().div_ceil(16) as u64;
    assert_eq!(trainer.step_number(), 6 * per_epoch);
    assert_eq!(seen.tests.len(), 7);
    assert_eq!(seen.tests[0].step, 0);
    let (first, last) = (seen.tests[0], seen.tests[6]);
    assert!(last.accuracy.unwrap() > 0.9 && last.loss < 0.5 * first.loss, "{first:?} to {last:?}");
    assert!((last.epoch - 6.0).abs() < 1e-12);
}

/// One step of gradient descent on one linear map, by hand: with the mean of squared errors over n examples of one
/// number, dL/dw = 2/n Σ (w x + b − t) x.
#[test]
fn a_step_is_what_it_is_by_hand() {
    let network = network("mlp:1-1");
    let inputs = Inputs::Values(Array::new([3, 1], vec![1.0, 2.0, -1.0]).unwrap());
    let targets = Targets::Values(Array::new([3, 1], vec![0.5, -1.0, 2.0]).unwrap());
    let data = Dataset::new("three", Examples::new("three", inputs, targets).unwrap(), None);
    let start = Weights::read(&network, Precision::Double, &Device::cpu(), |_, param| {
        Ok::<_, epoch0_engine::Error>(Elements::Double(vec![0.25; param.len()]))
    })
    .unwrap();
    let mut trainer = Trainer::new(&network, start, &data, plain(0.1, "1it")).unwrap();
    let (step, trouble) = trainer.step().unwrap();
    assert_eq!(trouble, None);
    // Errors are 0, 1.75 and -2.
    assert!((step.loss - (1.75f64.powi(2) + 4.0) / 3.0).abs() < 1e-12);
    let (dw, db): (f64, f64) = (2.0 / 3.0 * (1.75 * 2.0 + 2.0), 2.0 / 3.0 * (1.75 - 2.0));
    assert!((step.gradient_norm - (dw * dw + db * db).sqrt()).abs() < 1e-12);
    let found: Vec<f64> = trainer.weights().iter().flat_map(|(_, value)| value.to_f64()).collect();
    assert!((found[0] - (0.25 - 0.1 * dw)).abs() < 1e-12);
    assert!((found[1] - (0.25 - 0.1 * db)).abs() < 1e-12);
    assert!(trainer.test().unwrap().is_none());
}

#[test]
fn accumulated_batches_are_one_large_batch() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let start = || weights_in(&network, 1, Precision::Double);
    // 160 or so examples: three batches of 16 make 48; the last of an epoch is smaller.
    let large = Settings { batch: 48, ..plain(0.1, "3it") };
    let small = Settings { batch: 16, accumulate: 3, ..plain(0.1, "3it") };
    let mut one = Trainer::new(&network, start(), &data, large).unwrap();
    let mut other = Trainer::new(&network, start(), &data, small).unwrap();
    for _ in 0..3 {
        let (a, b) = (one.step().unwrap().0, other.step().unwrap().0);
        assert!((a.loss - b.loss).abs() < 1e-12, "{} and {}", a.loss, b.loss);
        assert!((a.gradient_norm - b.gradient_norm).abs() < 1e-12);
    }
    for ((_, a), (_, b)) in one.weights().iter().zip(other.weights().iter()) {
        for (a, b) in a.to_f64().iter().zip(b.to_f64()) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let (network, data) = (network("lenet,size=12,padding=2,classes=2"), images(12));
    let train = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let optimizer = Optimizer::AdamW(Adam::default());
            let settings = Settings { optimizer, learning_rate: 1e-3, ..settings("4it") };
            let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings).unwrap();
            trainer.run(&mut ()).unwrap();
            bits(trainer.weights())
        })
    };
    let one = train(1);
    assert_eq!(one, train(2));
    assert_eq!(one, train(5));
}

/// A network that is one batch normalization with a readout, on the inputs that torch was given:
/// `BatchNorm1d(2)` on [[1, 2], [3, -4], [0.5, 8]] and then on their doubles.
#[test]
fn running_statistics_are_those_of_torch() {
    let mut b = Builder::new("bn", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(2)]);
    let x = b.norm(x, "bn", NormKind::Batch, 1e-5, true);
    let x = b.linear(x, "fc", Linear::new(2));
    b.output(x, "logits");
    let network = b.finish().unwrap();
    let inputs = Inputs::Values(Array::new([3, 2], vec![1.0, 2.0, 3.0, -4.0, 0.5, 8.0]).unwrap());
    let doubled = Inputs::Values(Array::new([3, 2], vec![2.0, 4.0, 6.0, -8.0, 1.0, 16.0]).unwrap());
    let targets = || Targets::Values(Array::new([3, 2], vec![0.0; 6]).unwrap());
    let set = |inputs| Dataset::new("three", Examples::new("three", inputs, targets()).unwrap(), None);
    let (first, second) = (set(inputs), set(doubled));
    let start = weights_in(&network, 0, Precision::Double);
    let mut trainer = Trainer::new(&network, start, &first, plain(0.0, "1it")).unwrap();
    trainer.step().unwrap();
    let mut trainer = Trainer::new(&network, trainer.into_weights(), &second, plain(0.0, "1it")).unwrap();
    trainer.step().unwrap();
    let of = |role: Role| {
        let at = network.params().iter().position(|param| param.role == role).unwrap();
        epoch0_net::ParamId(at as u32)
    };
    let found: Vec<f64> = [Role::RunningMean, Role::RunningVar]
        .into_iter()
        .flat_map(|role| trainer.weights().get(of(role)).unwrap().to_f64())
        .collect();
    for (found, wanted) in found.iter().zip([0.435, 0.58, 1.6675, 18.45]) {
        assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
    }
    assert_eq!(trainer.batch_count(of(Role::BatchCount)), 1);
}

/// Two full batches of `BatchNorm1d(2)`, and an example that fills none: the mean of the batches' means, and m / (m − 1)
/// times the mean of their biased variances, by hand.
#[test]
fn population_statistics_are_those_of_the_paper() {
    let mut b = Builder::new("bn", Source::Built, Dtype::F64);
    let x = b.input("x", &[None, Some(2)]);
    let x = b.norm(x, "bn", NormKind::Batch, 1e-5, true);
    let x = b.linear(x, "fc", Linear::new(2));
    b.output(x, "logits");
    let network = b.finish().unwrap();
    let rows: Vec<[f32; 2]> = (0..8).map(|at| [at as f32, ((at * at) % 5) as f32 - 1.0]).collect();
    let inputs = Inputs::Values(Array::new([8, 2], rows.concat()).unwrap());
    let targets = Targets::Values(Array::new([8, 2], vec![0.0; 16]).unwrap());
    let data = Dataset::new("eight", Examples::new("eight", inputs, targets).unwrap(), None);
    let settings =
        Settings { statistics: NormStatistics::Population, batch: 3, seed: 4, ..plain(0.0, "2it") };
    let mut trainer =
        Trainer::new(&network, weights_in(&network, 0, Precision::Double), &data, settings).unwrap();
    trainer.run(&mut ()).unwrap();
    let order = epoch0_data::prepare::order(8, 4, 0);
    let (mut means, mut variances) = ([0.0; 2], [0.0; 2]);
    for batch in order.chunks_exact(3) {
        for unit in 0..2 {
            let own: Vec<f64> = batch.iter().map(|&nth| f64::from(rows[nth][unit])).collect();
            let mean = own.iter().sum::<f64>() / 3.0;
            means[unit] += mean / 2.0;
            variances[unit] += own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0 / 2.0;
        }
    }
    for (name, wanted) in
        [("bn.running_mean", means), ("bn.running_var", variances.map(|variance| variance * 3.0 / 2.0))]
    {
        let found = trainer.weights().get(network.find(name).unwrap()).unwrap().to_f64();
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{name}: {found}, not {wanted}");
        }
    }
}

#[test]
fn momentum_is_what_a_batch_replaces() {
    let (network, data) = (network("mlp:8-16-3,norm=batch"), gaussians());
    let mean = |momentum: f64| {
        let settings = Settings { statistics_momentum: momentum, ..plain(0.0, "1it") };
        let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings).unwrap();
        trainer.step().unwrap();
        trainer.weights().get(network.find("1.running_mean").unwrap()).unwrap().to_f64()
    };
    let (whole, tenth) = (mean(1.0), mean(0.1));
    assert!(mean(0.0).iter().all(|&mean| mean == 0.0));
    for (whole, tenth) in whole.iter().zip(tenth) {
        assert!((0.1 * whole - tenth).abs() < 1e-6 * whole.abs().max(0.1), "{whole} and {tenth}");
    }
}

#[derive(Default)]
struct Looks(Vec<Look>);

impl Observer for Looks {
    fn followed(&mut self, _: &Trainer<'_>, look: &Look) -> Result<(), Error> {
        self.0.push(look.clone());
        Ok(())
    }
}

#[test]
fn layers_are_followed_to_what_their_activation_meets() {
    let (network, data) = (network("mlp:8-16-12-3,norm=batch,act=sigmoid"), gaussians());
    let following =
        |pattern: &str| Following::of(&network, pattern, |name| name.starts_with(pattern), Span::Steps(4));
    let start = || weights(&network, 0);
    let run = |rate: f64| {
        let trainer = Trainer::new(&network, start(), &data, plain(rate, "10it")).unwrap();
        let mut looks = Looks::default();
        trainer.following(following("").unwrap()).run(&mut looks).unwrap();
        looks.0
    };
    let looks = run(0.5);
    assert_eq!(looks.iter().map(|look| look.step).collect::<Vec<_>>(), [0, 4, 8, 10]);
    let names: Vec<(&str, usize)> =
        looks[0].layers.iter().map(|layer| (layer.name.as_str(), layer.units.len())).collect();
    // Linear maps; the norms between them and their activations are what is looked at.
    assert_eq!(names, [("0", 16), ("3", 12), ("6", 3)]);
    // Normalized, with factor 1 and shift 0: around 0, with about one deviation to either side.
    for unit in &looks[0].layers[0].units {
        assert!(unit.p50.abs() < 0.6 && (-1.6..-0.4).contains(&unit.p15) && (0.4..1.6).contains(&unit.p85));
    }
    let spreads = wandering(&looks);
    assert!(spreads.iter().all(|(_, spread)| *spread > 0.0));
    // What does not learn does not move, although its batches differ.
    assert!(wandering(&run(0.0)).iter().all(|(_, spread)| *spread == 0.0));
    let error = following("nothing").unwrap_err().to_string();
    assert!(error.contains("`nothing`") && error.contains("0.weight"), "{error}");
    // Being followed changes nothing.
    let mut alone = Trainer::new(&network, start(), &data, plain(0.5, "10it")).unwrap();
    alone.run(&mut ()).unwrap();
    let trainer = Trainer::new(&network, start(), &data, plain(0.5, "10it")).unwrap();
    let mut trainer = trainer.following(following("").unwrap());
    trainer.run(&mut ()).unwrap();
    assert_eq!(bits(alone.weights()), bits(trainer.weights()));
}

#[test]
fn what_is_not_finite_stops_with_a_status() {
    let (network, data) = (network("mlp:8-64-64-3"), gaussians());
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, plain(1e20, "50it")).unwrap();
    let mut seen = Seen::default();
    let status = trainer.run(&mut seen).unwrap();
    let Status::Diverged { step, .. } = status else { panic!("{status:?}") };
    assert!(step > 1 && step < 50);
    assert_eq!(seen.steps.last().unwrap().step, step);
    assert_eq!(trainer.step_number(), step - 1);
}

#[test]
fn observers_stop_and_look() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings("20it")).unwrap();
    let mut seen = Seen { stop_at: Some(9), ..Seen::default() };
    let mut looks = Vec::new();
    let mut look = every(4, |trainer: &Trainer<'_>, step: &Step| {
        looks.push((step.step, trainer.weights().iter().count()));
        Ok(())
    });
    let mut both: Vec<&mut dyn Observer> = vec![&mut seen, &mut look];
    assert_eq!(trainer.run(&mut both).unwrap(), Status::Stopped { step: 9 });
    assert_eq!(looks.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [4, 8]);
    assert_eq!(trainer.run(&mut ()).unwrap(), Status::Finished);
    assert_eq!(trainer.step_number(), 20);
}

#[test]
fn parameters_can_be_trained_apart() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let start = weights(&network, 0);
    let trainer = Trainer::new(&network, start.clone(), &data, plain(0.1, "1it")).unwrap();
    let mut trainer = trainer.per_param(|_, param, usual| match param.role {
        Role::Bias => PerParam { is_trained: false, ..usual },
        Role::Readout => PerParam { learning_rate: 0.5, ..usual },
        _ => usual,
    });
    let mut alike = Trainer::new(&network, start.clone(), &data, plain(0.1, "1it")).unwrap();
    trainer.step().unwrap();
    alike.step().unwrap();
    for (id, before) in start.iter() {
        let moved = |trainer: &Trainer<'_>| -> f64 {
            let after = trainer.weights().get(id).unwrap().to_f64();
            after.iter().zip(before.to_f64()).map(|(a, b)| (a - b).abs()).sum()
        };
        let ratio = moved(&trainer) / moved(&alike);
        let wanted = match network.param(id).role {
            Role::Bias => 0.0,
            Role::Readout => 0.5,
            _ => 1.0,
        };
        assert!((ratio - wanted).abs() < 1e-4, "{}: {ratio}", network.param(id).name);
    }
}

#[test]
fn clipped_training_keeps_its_bound() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let start = weights(&network, 0);
    let settings = Settings { clip: Clip::Norm(1e-3), ..plain(1.0, "1it") };
    let mut trainer = Trainer::new(&network, start.clone(), &data, settings).unwrap();
    trainer.step().unwrap();
    let moved: f64 = start
        .iter()
        .flat_map(|(id, before)| {
            let after = trainer.weights().get(id).unwrap().to_f64();
            after.into_iter().zip(before.to_f64()).map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>()
        })
        .sum();
    assert!((moved.sqrt() - 1e-3).abs() < 2e-6, "{}", moved.sqrt());
}

#[test]
fn the_next_token_is_learned() {
    // Each token is followed by the next of five.
    let tokens: Vec<i64> = (0..40 * 8).map(|at| ((at / 8) + at % 8) % 5).collect();
    let next: Vec<i64> = tokens.iter().map(|token| (token + 1) % 5).collect();
    let array = |values: Vec<i64>| Array::new([40, 8], values).unwrap();
    let examples = Examples::new("cycle", Inputs::Tokens(array(tokens)), Targets::Next(array(next))).unwrap();
    let mut data = Dataset::new("cycle", examples.clone(), Some(examples));
    data.vocabulary = Some(Vocabulary::Characters("abcde".chars().collect()));
    let network = network("gpt:layers=1,heads=2,embed=16,vocab=5,positions=8");
    let settings = Settings {
        optimizer: Optimizer::AdamW(Adam::default()),
        learning_rate: 1e-2,
        batch: 8,
        ..settings("15ep")
    };
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings).unwrap();
    trainer.run(&mut ()).unwrap();
    let found = trainer.test().unwrap().unwrap();
    assert!(found.accuracy.unwrap() > 0.95, "{found:?}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let refused = |settings: Settings| {
        Trainer::new(&network, weights(&network, 0), &data, settings).unwrap_err().to_string()
    };
    assert!(refused(Settings { batch: 0, ..settings("1it") }).contains("allowed 1 or more"));
    assert!(refused(Settings { accumulate: 0, ..settings("1it") }).contains("accumulate is 0"));
    assert!(refused(Settings { statistics_momentum: 1.5, ..settings("1it") }).contains("allowed 0 to 1"));
    assert!(
        refused(Settings { learning_rate: f64::NAN, ..settings("1it") }).contains("learning rate is NaN")
    );
    let normed = crate::common::network("mlp:8-16-3,norm=batch");
    let one_left = Settings { batch: data.train.len() - 1, ..settings("1it") };
    let error = Trainer::new(&normed, weights(&normed, 0), &data, one_left).unwrap_err().to_string();
    assert!(error.contains("leaves a batch of one"), "{error}");
    assert!(refused(Settings { clip: Clip::Value(-1.0), ..settings("1it") }).contains("clip is -1"));
}

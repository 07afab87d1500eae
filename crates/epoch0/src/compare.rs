//! Starts side by side, over seeds.
//!
//! Arms are paired: with one seed all of them see the same examples in the same order, so that what a difference is tested
//! against is how it varies from seed to seed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use epoch0_data::Dataset;
use epoch0_engine::Device;
use epoch0_init::start::Recipe;
use epoch0_method::reading::{Arm, Axis, Better, Comparison, Figure, Health, Metric, Shape, Versus};
use epoch0_num::paired::{holm, mean, signed_rank_test, t_test};
use epoch0_train::{Evaluation, Feed, Settings, Status, Trial, Watch, trials};

use crate::follow::{data_in_words, settings_in_words, versions};
use crate::{
    Calibrating, Described, Error, Examining, data_probe, examine, own_precision, start_training,
    start_weights, summary,
};

/// A start to be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender {
    /// What it is called.
    pub name: String,
    /// What it is drawn from.
    pub recipe: Recipe,
}

/// What starts are compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Criterion {
    /// Share of right answers on the test examples at the end.
    Accuracy,
    /// Loss on the test examples at the end.
    Loss,
    /// Mean over training of the test accuracy, or of the test loss where there is no accuracy: the area under its curve,
    /// divided by the number of steps.
    Area,
    /// Steps until a test first shows that accuracy, or a loss as small where there is no accuracy. Who never gets there
    /// counts with all steps.
    StepsTo(f64),
}

impl FromStr for Criterion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|bound: &f64| bound.is_finite());
        match text {
            "accuracy" => Ok(Self::Accuracy),
            "loss" => Ok(Self::Loss),
            "area" => Ok(Self::Area),
            _ => match text.strip_prefix("steps_to=").and_then(number) {
                Some(bound) => Ok(Self::StepsTo(bound)),
                None => {
                    Err(format!("`{text}` is no criterion, allowed accuracy, loss, area and steps_to=NUMBER"))
                }
            },
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accuracy => f.write_str("accuracy"),
            Self::Loss => f.write_str("loss"),
            Self::Area => f.write_str("area"),
            Self::StepsTo(bound) => write!(f, "steps_to={bound}"),
        }
    }
}

/// How a difference is tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PairedTest {
    /// Student's paired t-test.
    #[default]
    T,
    /// Wilcoxon's signed-rank test, exact.
    SignedRank,
}

/// How starts are compared.
#[derive(Clone, Copy, Default)]
pub struct Contest<'a> {
    /// How each is trained; its seed is that of the trial.
    pub settings: Settings,
    /// Seeds of the weights and of the order of examples.
    pub seeds: &'a [u64],
    /// Learning rates to try each start with, each start counting at its best; that of the settings where there are none.
    pub rates: &'a [f64],
    /// Whether each start is examined before it is trained.
    pub examine: bool,
    /// What they are compared by; by accuracy where there is one, else by loss.
    pub criterion: Option<Criterion>,
    /// How differences are tested.
    pub test: PairedTest,
    /// How trials are watched.
    pub watch: Watch<'a>,
}

/// Trains each start with each seed and compares them with the first.
///
/// # Errors
/// When there are no seeds, fewer than two starts or no test examples, a start or a training fails, or the watch cancels.
pub fn compare(
    described: &Described,
    data: &Dataset,
    contenders: &[Contender],
    contest: &Contest<'_>,
) -> Result<Comparison, Error> {
    let net = &described.net;
    let refuse = |why: &str| Err(Error::Compare { why: why.to_owned() });
    let mut seeds = contest.seeds.to_vec();
    seeds.sort_unstable();
    seeds.dedup();
    if contest.seeds.is_empty() || seeds.len() != contest.seeds.len() {
        return refuse("seeds have to be different, and at least one");
    }
    if contenders.len() < 2 {
        return refuse("a comparison needs two starts\nhint: name them as --with he_normal,xavier_normal");
    }
    if let Some(name) = contenders.iter().enumerate().find_map(|(at, one)| {
        contenders[..at].iter().any(|other| other.name == one.name).then_some(&one.name)
    }) {
        return refuse(&format!("`{name}` is there twice"));
    }
    let feed = Feed::new(net, data)?;
    if data.test.is_none() {
        return refuse(&format!(
            "{} has no test examples\nhint: `holdout=1000` behind the name of a file keeps some of its examples",
            data.name
        ));
    }
    let has_accuracy = feed.task().has_accuracy();
    let criterion =
        contest.criterion.unwrap_or(if has_accuracy { Criterion::Accuracy } else { Criterion::Loss });
    if criterion == Criterion::Accuracy && !has_accuracy {
        return refuse(
            "numbers are neither right nor wrong, so there is no accuracy\nhint: compare by loss or area",
        );
    }
    let on = Calibrating { data: Some((&data.name, data)), examples: None };
    let shortfalls = Mutex::new(BTreeMap::new());
    let start = &|arm: usize, seed: u64| {
        let (recipe, optimizer) = (&contenders[arm].recipe, &contest.settings.optimizer);
        let (start, done) = start_training(described, recipe, seed, &on, optimizer, &Device::cpu())?;
        if let (Some(shortfall), Ok(mut all)) = (done.and_then(|done| done.shortfall()), shortfalls.lock()) {
            all.insert((arm, seed), shortfall);
        }
        Ok::<_, Error>(start)
    };
    let rates = if contest.rates.is_empty() { &[contest.settings.learning_rate][..] } else { contest.rates };
    let mut by_rate = Vec::with_capacity(rates.len());
    for &learning_rate in rates {
        let settings = Settings { learning_rate, ..contest.settings };
        let found = trials(net, data, &settings, contenders.len(), contest.seeds, start, contest.watch)?;
        if found.iter().any(|trial| matches!(trial.status, Status::Stopped { .. })) {
            return Err(epoch0_format::Error::Cancelled.into());
        }
        by_rate.push(found);
    }

    let n_steps = contest.settings.length.steps(contest.settings.pace(data.train.len()));
    let measure = Measure { criterion, has_accuracy, n_steps };
    let n_seeds = contest.seeds.len();
    let best: Vec<usize> = (0..contenders.len())
        .map(|arm| {
            let of_rate: Vec<&[Trial]> = by_rate.iter().map(|all| &all[arm * n_seeds..][..n_seeds]).collect();
            measure.best(&of_rate)
        })
        .collect();
    let by_arm: Vec<&[Trial]> =
        best.iter().enumerate().map(|(arm, &rate)| &by_rate[rate][arm * n_seeds..][..n_seeds]).collect();
    let health = if contest.examine {
        let state = |arm: usize| health(described, data, &contenders[arm].recipe, contest.seeds[0], &on);
        (0..contenders.len()).map(state).collect()
    } else {
        vec![None; contenders.len()]
    };
    let metric = measure.metric();
    let values: Vec<Vec<f64>> =
        by_arm.iter().map(|trials| trials.iter().map(|trial| measure.of(trial)).collect()).collect();
    let tested = Tested::new(&values, metric.better, contest.test);
    let arms = contenders
        .iter()
        .zip(&values)
        .zip(&by_arm)
        .enumerate()
        .map(|(at, ((contender, values), trials))| {
            let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let of_all = mean(&finite, LEVEL);
            let diverged =
                trials.iter().filter(|trial| matches!(trial.status, Status::Diverged { .. })).count();
            Arm {
                method: contender.name.clone(),
                values: values.clone(),
                mean: of_all.mean,
                interval: of_all.interval,
                versus: (at > 0).then(|| tested.versus[at - 1]),
                diverged,
                learning_rate: (rates.len() > 1).then(|| rates[best[at]]),
                health: health[at],
            }
        })
        .collect::<Vec<_>>();
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    let is_any_diverged = arms.iter().any(|arm| arm.diverged > 0);
    let shortfalls = shortfalls.into_inner().unwrap_or_default();
    let shortfall = match shortfalls.first_key_value() {
        Some(((_, seed), first)) => {
            format!(" In {} of the trials a start fell short; with seed {seed}, {first}.", shortfalls.len())
        }
        None => String::new(),
    };
    let drawn = drawn(&values, metric.better);
    let of_drawn = |at: &usize| (names[*at], by_arm[*at]);
    let (drawn_names, drawn_arms): (Vec<&str>, Vec<&[Trial]>) = drawn.iter().map(of_drawn).unzip();
    let mut figures = figures(&drawn_names, &drawn_arms, has_accuracy);
    if drawn.len() < names.len() {
        let note = format!(" The baseline and the best {} of {} starts.", drawn.len() - 1, names.len());
        figures.iter_mut().for_each(|figure| figure.note += &note);
    }
    let settings =
        Settings { batch: feed.batch(contest.settings.batch, data.train.len()), ..contest.settings };
    let training = match rates {
        [rate] => settings_in_words(&settings, &rate.to_string()),
        _ => settings_in_words(&settings, "at its best rate"),
    };
    Ok(Comparison {
        title: format!("{} on {}", net.name(), data.name),
        network: summary(net, ""),
        data: data_in_words(data),
        training,
        metric,
        baseline: names[0].to_owned(),
        test: tested.in_words(contest.test),
        level: 1.0 - LEVEL,
        seeds: contest.seeds.to_vec(),
        figures,
        note: tested.note(&names, contest.seeds.len(), is_any_diverged) + &shortfall + &tried(rates),
        arms,
        versions: versions(),
    })
}

/// What is to be known of several rates.
fn tried(rates: &[f64]) -> String {
    let several = rates.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    match rates.len() {
        1 => String::new(),
        _ => format!(
            " Each start is shown at the best for it of the learning rates {several}, by these seeds."
        ),
    }
}

/// The state of a start before training; none where it cannot be examined.
fn health(
    described: &Described,
    data: &Dataset,
    recipe: &Recipe,
    seed: u64,
    on: &Calibrating<'_>,
) -> Option<Health> {
    let (precision, device) = (own_precision(&described.net), Device::cpu());
    let (weights, _) = start_weights(described, recipe, seed, on, precision, &device).ok()?;
    let probe = data_probe(&described.net, &weights, data, None, seed, precision, &device).ok()?;
    let found = examine(&described.net, &weights, &probe, &Examining { seed, ..Examining::default() });
    found.ok().map(|found| found.health)
}

/// Probability with which an interval holds the true mean.
const LEVEL: f64 = 0.95;

/// What is read of a trial.
struct Measure {
    criterion: Criterion,
    has_accuracy: bool,
    n_steps: u64,
}

impl Measure {
    fn value(&self, test: &Evaluation) -> f64 {
        if self.has_accuracy { test.accuracy.unwrap_or(f64::NAN) } else { test.loss }
    }

    fn of(&self, trial: &Trial) -> f64 {
        if let Criterion::StepsTo(bound) = self.criterion {
            let is_there = |test: &&Evaluation| {
                let value = self.value(test);
                if self.has_accuracy { value >= bound } else { value <= bound }
            };
            let first = trial.tests.iter().find(is_there).map(|test| test.step);
            return match (first, &trial.status) {
                (Some(step), _) => step as f64,
                (None, Status::Diverged { .. }) => f64::NAN,
                (None, _) => self.n_steps as f64,
            };
        }
        let (false, Some(last)) = (matches!(trial.status, Status::Diverged { .. }), trial.tests.last())
        else {
            return f64::NAN;
        };
        match self.criterion {
            Criterion::Loss => last.loss,
            Criterion::Area if self.n_steps > 0 => {
                let piece = |pair: &[Evaluation]| {
                    let width = (pair[1].step - pair[0].step) as f64;
                    width * f64::midpoint(self.value(&pair[0]), self.value(&pair[1]))
                };
                trial.tests.windows(2).map(piece).sum::<f64>() / self.n_steps as f64
            }
            _ => self.value(last),
        }
    }

    /// Which of the same start's trials, by rate, are best: those of which fewer diverged, then by their mean.
    fn best(&self, by_rate: &[&[Trial]]) -> usize {
        let is_higher = self.metric().better == Better::Higher;
        let rank = |trials: &[Trial]| {
            let values: Vec<f64> = trials.iter().map(|trial| self.of(trial)).collect();
            let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
            (values.len() - finite.len(), if is_higher { -mean } else { mean })
        };
        let ranks: Vec<(usize, f64)> = by_rate.iter().map(|trials| rank(trials)).collect();
        let best = (0..ranks.len())
            .min_by(|&a, &b| ranks[a].0.cmp(&ranks[b].0).then(ranks[a].1.total_cmp(&ranks[b].1)));
        best.unwrap_or(0)
    }

    fn metric(&self) -> Metric {
        let accuracy_or_loss = if self.has_accuracy { "accuracy" } else { "loss" };
        let (name, label) = match self.criterion {
            Criterion::Accuracy => ("test_accuracy".to_owned(), "test accuracy".to_owned()),
            Criterion::Loss => ("test_loss".to_owned(), "test loss".to_owned()),
            Criterion::Area => (
                format!("mean_test_{accuracy_or_loss}"),
                format!("test {accuracy_or_loss}, mean over training"),
            ),
            Criterion::StepsTo(bound) => {
                (format!("steps_to_{accuracy_or_loss}"), format!("steps to test {accuracy_or_loss} {bound}"))
            }
        };
        let is_share = self.has_accuracy && matches!(self.criterion, Criterion::Accuracy | Criterion::Area);
        let unit = if is_share {
            "share"
        } else if matches!(self.criterion, Criterion::Loss | Criterion::Area) && self.has_accuracy {
            "nats"
        } else {
            ""
        };
        let better = if is_share { Better::Higher } else { Better::Lower };
        Metric { name, label, unit: unit.to_owned(), better }
    }
}

/// Every arm but the first against the first.
struct Tested {
    versus: Vec<Versus>,
    /// p-values of the other test, not corrected.
    others: Vec<f64>,
}

impl Tested {
    fn new(values: &[Vec<f64>], better: Better, test: PairedTest) -> Self {
        let mut others = Vec::new();
        let mut versus: Vec<Versus> = values[1..]
            .iter()
            .map(|own| {
                let pairs: Vec<(f64, f64)> = own.iter().copied().zip(values[0].iter().copied()).collect();
                let both: Vec<f64> = pairs
                    .iter()
                    .filter(|(a, b)| a.is_finite() && b.is_finite())
                    .map(|(a, b)| a - b)
                    .collect();
                let of_both = mean(&both, LEVEL);
                let (t, ranks) = (t_test(&both), signed_rank_test(&both));
                let (p_value, other) = if test == PairedTest::T { (t, ranks) } else { (ranks, t) };
                others.push(other);
                // Who diverged has lost against who has not.
                let is_better = |a: f64, b: f64| match better {
                    Better::Lower => a < b,
                    Better::Higher => a > b,
                };
                let has_won = |(a, b): &&(f64, f64)| is_better(*a, *b) || (b.is_nan() && !a.is_nan());
                let is_even = |(a, b): &&(f64, f64)| a == b || (a.is_nan() && b.is_nan());
                Versus {
                    difference: of_both.mean,
                    interval: of_both.interval,
                    p_value,
                    wins: pairs.iter().filter(has_won).count(),
                    ties: pairs.iter().filter(is_even).count(),
                }
            })
            .collect();
        let corrected = holm(&versus.iter().map(|one| one.p_value).collect::<Vec<_>>());
        versus.iter_mut().zip(corrected).for_each(|(one, p_value)| one.p_value = p_value);
        Self { versus, others }
    }

    fn in_words(&self, test: PairedTest) -> String {
        let name = match test {
            PairedTest::T => "paired t-test",
            PairedTest::SignedRank => "exact signed-rank test of the pairs",
        };
        match self.versus.len() {
            1 => name.to_owned(),
            n => format!("{name}, p-values corrected for {n} comparisons (Holm)"),
        }
    }

    fn note(&self, names: &[&str], n_seeds: usize, is_any_diverged: bool) -> String {
        let mut notes = Vec::new();
        let shown = |p: f64| if p.is_nan() { "none".to_owned() } else { format!("{p:.3}") };
        let others: Vec<String> =
            names[1..].iter().zip(&self.others).map(|(name, p)| format!("{name} {}", shown(*p))).collect();
        let least = 0.5f64.powi(n_seeds as i32 - 1);
        notes.push(match self.others.is_empty() {
            true => String::new(),
            false => format!(
                "p by the other paired test, not corrected: {}. With {n_seeds} seeds a signed-rank test can give no \
                 less than {least:.3}.",
                others.join(", ")
            ),
        });
        if n_seeds < 2 {
            notes.push("One seed shows no spread, so nothing is tested.".to_owned());
        }
        if is_any_diverged {
            notes.push(
                "Trials that diverged have no number: means, intervals and tests are of the others."
                    .to_owned(),
            );
        }
        notes.retain(|note| !note.is_empty());
        notes.join(" ")
    }
}

/// Starts that a figure shows at most.
const DRAWN: usize = 10;

/// The starts to be drawn: the baseline, and of the others the best, as they stand.
fn drawn(values: &[Vec<f64>], better: Better) -> Vec<usize> {
    let mean = |at: &usize| {
        let mean = values[*at].iter().sum::<f64>() / values[*at].len() as f64;
        if better == Better::Higher { -mean } else { mean }
    };
    let mut others: Vec<usize> = (1..values.len()).collect();
    // NaN, of who diverged, comes last.
    others.sort_by(|a, b| mean(a).is_nan().cmp(&mean(b).is_nan()).then(mean(a).total_cmp(&mean(b))));
    others.truncate(DRAWN - 1);
    others.push(0);
    others.sort_unstable();
    others
}

/// Points that a curve of steps is drawn with at most.
const POINTS: usize = 100;

/// Curves of a few numbers over seeds: where each stands at some steps.
struct Means {
    steps: Vec<f64>,
    mean: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Means {
    /// Of the trials' values at each of these steps.
    fn new(steps: Vec<f64>, at: impl Fn(usize) -> Vec<f64>) -> Self {
        let found: Vec<_> = (0..steps.len())
            .map(|nth| {
                let finite: Vec<f64> = at(nth).into_iter().filter(|value| value.is_finite()).collect();
                mean(&finite, LEVEL)
            })
            .collect();
        Self {
            steps,
            mean: found.iter().map(|one| one.mean).collect(),
            low: found.iter().map(|one| one.interval.0).collect(),
            high: found.iter().map(|one| one.interval.1).collect(),
        }
    }

    fn on(self, figure: Figure, name: &str) -> Figure {
        let has_band = self.low.iter().any(|low| low.is_finite());
        let band = Shape::Band { x: self.steps.clone(), low: self.low, high: self.high };
        let figure = if has_band { figure.with(name, band) } else { figure };
        figure.with(name, Shape::Line { x: self.steps, y: self.mean })
    }

    fn ends_at(&self) -> f64 {
        self.mean.iter().copied().rfind(|value| value.is_finite()).unwrap_or(f64::NAN)
    }
}

fn figures(names: &[&str], by_arm: &[&[Trial]], has_accuracy: bool) -> Vec<Figure> {
    let unit = if has_accuracy { "nats" } else { "" };
    let (name, label, value): (_, _, fn(&Evaluation) -> f64) = if has_accuracy {
        ("test_accuracy", "Test accuracy", |test| test.accuracy.unwrap_or(f64::NAN))
    } else {
        ("test_loss", "Test loss", |test| test.loss)
    };
    let tests = |trials: &[Trial]| {
        let longest = trials.iter().max_by_key(|trial| trial.tests.len());
        let steps =
            longest.map_or(&[][..], |trial| trial.tests.as_slice()).iter().map(|test| test.step as f64);
        Means::new(steps.collect(), |nth| {
            trials.iter().filter_map(|trial| trial.tests.get(nth).map(value)).collect()
        })
    };
    let losses = |trials: &[Trial]| {
        let longest = trials.iter().map(|trial| trial.losses.len()).max().unwrap_or(0);
        let width = longest.div_ceil(POINTS).max(1);
        let steps = (0..longest.div_ceil(width)).map(|nth| (nth * width) as f64 + 0.5 * (width + 1) as f64);
        Means::new(steps.collect(), |nth| {
            let piece = |trial: &Trial| {
                let piece = trial.losses.get(nth * width..((nth + 1) * width).min(trial.losses.len()))?;
                (!piece.is_empty()).then(|| piece.iter().sum::<f64>() / piece.len() as f64)
            };
            trials.iter().filter_map(piece).collect()
        })
    };
    let note = match by_arm.first().map_or(0, |trials| trials.len()) {
        1 => "One seed.".to_owned(),
        n => format!("Means over {n} seeds, with 95 % intervals."),
    };
    let draw = |mut figure: Figure, all: Vec<Means>| {
        let ends: Vec<String> =
            names.iter().zip(&all).map(|(name, one)| format!("{name} at {:.4}", one.ends_at())).collect();
        figure.alt = format!("At the end: {}.", ends.join(", "));
        figure.note.clone_from(&note);
        names.iter().zip(all).fold(figure, |figure, (name, one)| one.on(figure, name))
    };
    let share = if has_accuracy { "share" } else { "" };
    let tested =
        Figure::new(name, label, "", Axis::new("steps"), Axis::new(&label.to_lowercase()).unit(share));
    let trained = Figure::new(
        "train_loss",
        "Training loss",
        "",
        Axis::new("steps"),
        Axis::new("training loss").unit(unit),
    );
    vec![
        draw(tested, by_arm.iter().map(|trials| tests(trials)).collect()),
        draw(trained, by_arm.iter().map(|trials| losses(trials)).collect()),
    ]
}

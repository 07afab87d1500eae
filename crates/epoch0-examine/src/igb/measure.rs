//! What a start guesses.

use epoch0_engine::{Loss, Mode, Value, Weights, run};
use epoch0_method::reading::{Axis, Bound, Direction, Figure, Finding, Health, Quantity, Severity, Shape};

use super::remedies::Tried;
use crate::shared::show::percent;
use crate::{Error, Subject};

/// Share of the guesses for one class from which a start is biased.
const BIASED: f64 = 0.9;

/// What a network guesses for some inputs.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Share of the guesses that each class has; ties are split.
    pub(super) shares: Vec<f64>,
    pub(super) top: f64,
    /// Variance over classes of the logits' averages over the data, by their variance over the data.
    pub(super) gamma: f64,
    /// Whether all logits of every row are equal.
    is_flat: bool,
    pub(super) is_finite: bool,
}

/// Logits of examples, row by row.
#[derive(Clone, Debug)]
pub(super) struct Logits {
    pub(super) values: Vec<f32>,
    pub(super) classes: usize,
    pub(super) examples: usize,
}

impl Logits {
    /// Of a subject with other weights and inputs; `None` where there are no classes.
    pub(super) fn of(
        subject: &Subject<'_>,
        weights: &Weights,
        inputs: &[Value],
    ) -> Result<Option<Self>, Error> {
        let Subject { network, probe, .. } = *subject;
        let ran = run(network, &weights.constants(), inputs, Mode::Train, &mut |_| Ok(()))?;
        let answers = probe.answers(&ran)?;
        if probe.loss_of(answers) == Loss::Squares {
            return Ok(None);
        }
        let shape = answers.shape();
        let classes = shape.last().copied().unwrap_or(1);
        Ok(Some(Self { values: answers.value().to_f32(), classes, examples: shape[0] }))
    }

    /// The first half of the examples, and the second; of a single one both are that.
    pub(super) fn halves(&self) -> (&[f32], &[f32]) {
        let of_one = self.values.len() / self.examples.max(1);
        match self.examples / 2 {
            0 => (&self.values, &self.values),
            half => self.values.split_at(half * of_one),
        }
    }

    /// Means over the rows of some logits.
    pub(super) fn means(&self, logits: &[f32]) -> Vec<f64> {
        let mut means = vec![0.0; self.classes];
        let rows = (logits.len() / self.classes).max(1) as f64;
        for row in logits.chunks_exact(self.classes) {
            means.iter_mut().zip(row).for_each(|(mean, &logit)| *mean += f64::from(logit) / rows);
        }
        means
    }
}

impl Measured {
    pub(super) fn of(logits: &[f32], classes: usize) -> Self {
        let rows = logits.len() / classes;
        let mut shares = vec![0.0; classes];
        let (mut sums, mut squares) = (vec![0.0; classes], vec![0.0; classes]);
        let mut is_flat = true;
        let is_finite = logits.iter().all(|logit| logit.is_finite());
        for row in logits.chunks_exact(classes) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let n_ties = row.iter().filter(|&&logit| logit == largest).count();
            is_flat &= n_ties == classes;
            for (class, &logit) in row.iter().enumerate() {
                if logit == largest {
                    shares[class] += 1.0 / (n_ties * rows) as f64;
                }
                sums[class] += f64::from(logit) / rows as f64;
                squares[class] += f64::from(logit) * f64::from(logit) / rows as f64;
            }
        }
        let n = classes as f64;
        let middle = sums.iter().sum::<f64>() / n;
        let between = sums.iter().map(|mean| (mean - middle) * (mean - middle)).sum::<f64>() / (n - 1.0);
        let within = sums.iter().zip(&squares).map(|(mean, square)| square - mean * mean).sum::<f64>() / n;
        // Averages over finitely many rows spread a little by themselves. One row does not vary, equal ones neither.
        let gamma = match within > 0.0 {
            true => (between / within - 1.0 / rows as f64).max(0.0),
            false if between > 0.0 => f64::INFINITY,
            false => 0.0,
        };
        let top = shares.iter().copied().fold(0.0, f64::max);
        Self { shares, top, gamma, is_flat, is_finite }
    }

    pub(super) fn is_biased(&self) -> bool {
        self.top > BIASED && !self.is_flat
    }

    pub(super) fn quantities(&self) -> [Quantity; 2] {
        [
            Quantity::new(
                "measured_top_share",
                "largest share of guesses that one class has",
                self.top,
                "share",
            )
            .help("One class of C has 1/C where nothing is preferred."),
            Quantity::new(
                "measured_gamma",
                "spread of the logits' averages over that of logits",
                self.gamma,
                "",
            )
            .help("Of this one start; 0 is no bias, above 1 most starts prefer one class for most inputs."),
        ]
    }

    pub(super) fn finding(&self, before: f64, tried: &[Tried]) -> Finding {
        let reason = "Gradients first have to undo what the start prefers; for a fixed start the share of a class can be \
                      far from even though data are balanced (Francazi et al. 2023).";
        if self.is_flat {
            let what = "All logits are equal: the start prefers nothing.";
            return Finding::new("guessing_bias", Severity::Note, Health::Healthy, what).reason(reason);
        }
        let is_biased = self.is_biased();
        let (severity, health) =
            if is_biased { (Severity::Warn, Health::Biased) } else { (Severity::Ok, Health::Healthy) };
        let what = format!(
            "Before training one of {} classes is guessed for {} of the inputs.",
            self.shares.len(),
            percent(self.top)
        );
        let finding = Finding::new("guessing_bias", severity, health, what)
            .measured(self.top, "share", Some(Bound::AtMost(BIASED)))
            .reason(reason);
        if is_biased { finding.help(help(before, tried)) } else { finding }
    }

    pub(super) fn figure(&self) -> Figure {
        let mut shares = self.shares.clone();
        shares.sort_by(|a, b| b.total_cmp(a));
        shares.truncate(50);
        let names = (1..=shares.len()).map(|rank| rank.to_string());
        let alt = format!("The most guessed class has {} of the guesses.", percent(self.top));
        let (x, y) = (
            Axis::new("classes, the most guessed first").names(names),
            Axis::new("share of guesses").unit("share"),
        );
        Figure::new("shares", "Guesses before training", alt, x, y)
            .with("share", Shape::Bars { y: shares })
            .with("even", Shape::Rule { axis: Direction::Y, at: 1.0 / self.shares.len() as f64 })
    }
}

/// What to do, with what it came to on this start; what did not lower the largest share is left out.
fn help(before: f64, tried: &[Tried]) -> String {
    let mut best: Vec<(&Tried, f64)> = tried
        .iter()
        .filter_map(|tried| Some((tried, tried.after.as_ref().ok()?.top)))
        .filter(|(_, top)| *top < before)
        .collect();
    best.sort_by(|a, b| a.1.total_cmp(&b.1));
    let measured: Vec<String> = best
        .iter()
        .map(|(tried, top)| {
            format!("{} brings it to {} (`{}`)", tried.remedy.what(), percent(*top), tried.remedy.name())
        })
        .collect();
    let measured = if measured.is_empty() {
        String::new()
    } else {
        format!("Measured on this start: {}. ", measured.join("; "))
    };
    measured + "An odd activation, or normalization after the activation, has none to begin with."
}

//! What the numbers mean: bounds, their reasons, and what helps.

use epoch0_method::reading::{Bound, Finding, Health, Pass, Place, Severity};

use super::Propagation;
use super::measure::{Layer, Measured};
use crate::shared::show::{percent, show};

/// A number at each depth, with the layer that it is of.
#[derive(Clone, Debug)]
pub(super) struct Profile<'a>(pub(super) Vec<(usize, f64, &'a Layer)>);

impl<'a> Profile<'a> {
    /// The largest of each depth among matrices that are not all zero: queries and keys of attention that is still even
    /// have next to no gradient, and that is as it should be.
    pub(super) fn of(layers: &'a [Layer], number: impl Fn(&Layer) -> f64) -> Self {
        let mut found: Vec<(usize, f64, &Layer)> = Vec::new();
        for layer in layers.iter().filter(|layer| layer.is_matrix && !layer.is_zero) {
            let value = number(layer);
            if value.is_nan() {
                continue;
            }
            match found.iter_mut().find(|(depth, ..)| *depth == layer.depth) {
                Some(same) if same.1 >= value => {}
                Some(same) => *same = (layer.depth, value, layer),
                None => found.push((layer.depth, value, layer)),
            }
        }
        found.sort_by_key(|(depth, ..)| *depth);
        Self(found)
    }

    /// Divided by the number at one end.
    fn relative(&self, to_last: bool) -> Self {
        let end = if to_last { self.0.last() } else { self.0.first() };
        let by = end.map_or(1.0, |(_, value, _)| *value);
        Self(self.0.iter().map(|&(depth, value, layer)| (depth, value / by, layer)).collect())
    }

    /// Factor per layer: `exp` of the slope of the logarithm over depth, by least squares.
    pub(super) fn rate(&self) -> Option<f64> {
        let points: Vec<(f64, f64)> = self
            .0
            .iter()
            .filter(|(_, value, _)| *value > 0.0)
            .map(|&(depth, value, _)| (depth as f64, value.ln()))
            .collect();
        if points.len() < 2 {
            return None;
        }
        let n = points.len() as f64;
        let (mx, my) =
            (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
        let (xx, xy) = points
            .iter()
            .fold((0.0, 0.0), |(xx, xy), p| (xx + (p.0 - mx) * (p.0 - mx), xy + (p.0 - mx) * (p.1 - my)));
        (xx > 0.0).then(|| (xy / xx).exp())
    }

    /// Where it leaves the bound and does not come back, walking away from the end that it is relative to.
    fn leaves(&self, bound: Bound, from_last: bool) -> Option<(usize, f64, &'a Layer)> {
        let mut way: Vec<_> = self.0.clone();
        if from_last {
            way.reverse();
        }
        let inside = way.iter().rposition(|(_, value, _)| bound.allows(*value));
        let at = inside.map_or(0, |at| at + 1);
        way.get(at).copied()
    }
}

const DEPTH_REASON: &str = "Over this range a step that suits one end of the network does nothing, or too much, at the \
                            other: gradients of weights are products of what comes forward and what comes back \
                            (Glorot and Bengio 2010).";

pub(super) fn judge(method: &Propagation, measured: &Measured) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(broken) = broken(measured) {
        findings.push(broken);
        return findings;
    }
    let layers = &measured.layers;
    let forward = Profile::of(layers, |layer| layer.forward.second).relative(false);
    let backward = Profile::of(layers, Layer::gradient);
    let backward = backward.relative(true);
    let change = Profile::of(layers, |layer| layer.change).relative(false);
    let apart = Profile::of(layers, |layer| 1.0 - layer.cosine);
    // Examples that are equal to begin with cannot become so.
    let are_equal = apart.0.first().is_some_and(|(_, value, _)| *value == 0.0);
    let apart = if are_equal { Profile(Vec::new()) } else { apart.relative(false) };

    let range = Bound::Within((1.0 / method.range, method.range));
    let careful = Bound::Within((1.0 / method.range.sqrt(), method.range.sqrt()));
    let forward_leaves = forward.leaves(range, false);
    findings.push(match forward_leaves.or_else(|| forward.leaves(careful, false)) {
        Some((depth, ratio, layer)) => {
            let grows = ratio > 1.0;
            let (word, health) = if grows { ("grow", Health::Exploding) } else { ("shrink", Health::Vanishing) };
            let severity = if forward_leaves.is_some() { Severity::Bad } else { Severity::Warn };
            let last = forward.0.last().map_or(ratio, |(_, value, _)| *value);
            let what = format!(
                "Activations {word} with depth: their second moment changes by a factor of {} a layer, to {} of the \
                 first layer's at the last.",
                show(forward.rate().unwrap_or(f64::NAN)),
                show(last)
            );
            Finding::new("forward_second_moment", severity, health, what)
                .at(Place::new(&layer.name).depth(depth).pass(Pass::Forward))
                .measured(ratio, "", Some(range))
                .reason(DEPTH_REASON)
                .help(if grows {
                    "Draw weights with a smaller gain, or add normalization: `--with he_normal` for rectifiers, \
                     `--with xavier_normal` for tanh, a smaller scale on residual branches."
                } else {
                    "Draw weights with the activation's gain: `--with he_normal` for rectifiers; or add normalization or \
                     residual branches."
                })
        }
        None => Finding::new(
            "forward_second_moment",
            Severity::Ok,
            Health::Healthy,
            format!(
                "Activations keep their size: a factor of {} a layer.",
                show(forward.rate().unwrap_or(1.0))
            ),
        ),
    });

    let is_forward_fine = forward_leaves.is_none();
    let backward_leaves = backward.leaves(range, true);
    let comes_apart = change.leaves(Bound::AtMost(method.range), false);
    let collapses = apart.leaves(Bound::AtLeast(COLLAPSED), false);
    findings.push(match backward_leaves.or_else(|| backward.leaves(careful, true)) {
        Some((depth, ratio, layer)) => {
            let grows = ratio > 1.0;
            // With activations of one size, gradients follow the phase: beyond the edge of chaos they grow, before it
            // they shrink, as differences of inputs do.
            let health = match (grows, is_forward_fine) {
                (true, true) if comes_apart.is_some() => Health::Chaotic,
                (false, true) if collapses.is_some() => Health::Collapsed,
                (true, _) => Health::Exploding,
                (false, _) => Health::Vanishing,
            };
            let word = if grows { "grow" } else { "shrink" };
            let severity = if backward_leaves.is_some() { Severity::Bad } else { Severity::Warn };
            let rate = backward.rate().map_or(f64::NAN, |rate| 1.0 / rate);
            let first = backward.0.first().map_or(ratio, |(_, value, _)| *value);
            Finding::new(
                "backward_second_moment",
                severity,
                health,
                format!(
                    "Gradients {word} on their way back: their second moment changes by a factor of {} a layer, to {} \
                     of the last layer's at the first.",
                    show(rate),
                    show(first)
                ),
            )
            .at(Place::new(&layer.name).depth(depth).pass(Pass::Backward))
            .measured(ratio, "", Some(range))
            .reason(DEPTH_REASON)
            .help(match health {
                Health::Chaotic | Health::Collapsed => EDGE_HELP,
                _ if grows => "A smaller gain, or residual branches that start small or at zero.",
                _ => "The gain of the activation (`epoch0 gain`), or residual branches and normalization.",
            })
        }
        None => Finding::new(
            "backward_second_moment",
            Severity::Ok,
            Health::Healthy,
            format!("Gradients keep their size: a factor of {} a layer.", show(backward.rate().map_or(1.0, |rate| 1.0 / rate))),
        ),
    });

    if let Some(finding) = correlation(&apart, collapses) {
        findings.push(finding);
    }
    findings.push(match comes_apart {
        Some((depth, ratio, layer)) => Finding::new(
            "sensitivity",
            Severity::Bad,
            Health::Chaotic,
            format!(
                "Small changes of the input grow against the signal by a factor of {} a layer.",
                show(change.rate().unwrap_or(f64::NAN))
            ),
        )
        .at(Place::new(&layer.name).depth(depth).pass(Pass::Forward))
        .measured(ratio, "", Some(Bound::AtMost(method.range)))
        .reason(
            "Beyond the edge of chaos close inputs come apart exponentially, and gradients explode with them (Poole et \
             al. 2016; Schoenholz et al. 2017).",
        )
        .help(EDGE_HELP),
        None => Finding::new("sensitivity", Severity::Ok, Health::Healthy, "Close inputs stay close."),
    });
    findings.extend(units(layers));
    findings.extend(initial_loss(measured));
    findings
}

const EDGE_HELP: &str = "Draw weights and biases on the edge of chaos of the activation: `epoch0 eoc --activation …`, or \
                         add residual branches.";

fn broken(measured: &Measured) -> Option<Finding> {
    let finding = |what: String, place: Place| {
        Finding::new("finite", Severity::Bad, Health::Broken, what)
            .at(place)
            .reason("Nothing that follows a NaN or an infinity is a number.")
            .help("Look for NaN in the weights, for exponentials of large numbers, for a division by zero.")
    };
    if let Some(layer) = measured.layers.iter().find(|layer| layer.forward.non_finite > 0) {
        let what = format!("{} of {} values are NaN or infinite.", layer.forward.non_finite, layer.forward.n);
        return Some(finding(what, Place::new(&layer.name).depth(layer.depth).pass(Pass::Forward)));
    }
    if measured.answers.non_finite > 0 || !measured.loss.is_finite() {
        return Some(finding("The network's answer is not finite.".to_owned(), Place::new("output")));
    }
    let name = measured.broken_gradients.first()?;
    let n = measured.broken_gradients.len();
    Some(finding(
        format!("Gradients of {n} parameters are NaN or infinite."),
        Place::new(name).pass(Pass::Backward),
    ))
}

/// What is left of the distance `1 − cos` of two inputs where they count as one: a thousandth of their separation. At the
/// edge of chaos rectifiers keep `4.4e-3` after 100 layers if they are wide, and some ten times less if they are narrow.
const COLLAPSED: f64 = 1e-6;
/// From here on it is worth a warning.
const ALIKE: f64 = 1e-4;

fn correlation(apart: &Profile<'_>, collapses: Option<(usize, f64, &Layer)>) -> Option<Finding> {
    let &(_, last, _) = apart.0.last()?;
    let bound = Bound::AtLeast(COLLAPSED);
    let reason = "Inputs that a network no longer tells apart cannot be learned: the distance of two falls by a \
                  constant factor a layer in the ordered phase, but only as a power of depth at the edge of chaos \
                  (Schoenholz et al. 2017; Hayou et al. 2019).";
    Some(match collapses {
        Some((depth, ratio, layer)) => Finding::new(
            "correlation",
            Severity::Bad,
            Health::Collapsed,
            format!(
                "Different inputs become the same: what is left of their distance is {} at the last layer.",
                show(last)
            ),
        )
        .at(Place::new(&layer.name).depth(depth).pass(Pass::Forward))
        .measured(ratio, "", Some(bound))
        .reason(reason)
        .help(EDGE_HELP),
        None => {
            let is_alike = last < ALIKE;
            let (severity, health, word) = if is_alike {
                (Severity::Warn, Health::Collapsed, "become alike")
            } else {
                (Severity::Ok, Health::Healthy, "stay different")
            };
            Finding::new(
                "correlation",
                severity,
                health,
                format!(
                    "Different inputs {word}: {} of their distance is left at the last layer.",
                    show(last)
                ),
            )
            .measured(last, "", Some(bound))
            .reason(reason)
        }
    })
}

/// Dead and saturated units, at the worst layer.
fn units(layers: &[Layer]) -> Vec<Finding> {
    let worst = |share: &dyn Fn(&Layer) -> Option<f64>| {
        layers
            .iter()
            .filter_map(|layer| Some((share(layer)?, layer)))
            .reduce(|a, b| if b.0 > a.0 { b } else { a })
    };
    let judge = |share: f64, warn: f64, bad: f64, health: Health| match share {
        share if share > bad => (Severity::Bad, health),
        share if share > warn => (Severity::Warn, health),
        _ => (Severity::Ok, Health::Healthy),
    };
    let place = |layer: &Layer| Place::new(&layer.name).depth(layer.depth).pass(Pass::Forward);
    let mut findings = Vec::new();
    if let Some((share, layer)) = worst(&|layer| layer.activation.map(|after| after.dead)) {
        let (severity, health) = judge(share, 0.6, 0.9, Health::Dead);
        let what = if share == 0.0 {
            "No unit is zero for all inputs.".to_owned()
        } else {
            format!("At the worst layer {} of the units are zero for all inputs.", percent(share))
        };
        let finding = Finding::new("dead_units", severity, health, what)
            .at(place(layer))
            .measured(share, "share", Some(Bound::AtMost(0.9)))
            .reason(
                "A rectifier that is off for every input has no gradient. Where inputs have become alike, half of the \
                 units are off for all of them, which is no harm by itself.",
            );
        findings.push(if severity == Severity::Ok {
            finding
        } else {
            finding.help("Smaller or no negative biases; leaky rectifiers.")
        });
    }
    if let Some((share, layer)) = worst(&|layer| layer.activation.and_then(|after| after.saturated)) {
        let (severity, health) = judge(share, 0.5, 0.8, Health::Saturated);
        let finding = Finding::new(
            "saturated_units",
            severity,
            health,
            format!("At the worst layer {} of the values lie where the activation is flat.", percent(share)),
        )
        .at(place(layer))
        .measured(share, "share", Some(Bound::AtMost(0.8)))
        .reason("Where an activation is flat no gradient passes.");
        findings.push(if severity == Severity::Ok {
            finding
        } else {
            finding.help("A smaller gain: `--with xavier_normal`.")
        });
    }
    findings
}

fn initial_loss(measured: &Measured) -> Option<Finding> {
    let ignorance = measured.ignorance?;
    let ratio = measured.loss / ignorance;
    let severity = if ratio > 3.0 { Severity::Warn } else { Severity::Ok };
    let health = if severity == Severity::Ok { Health::Healthy } else { Health::Exploding };
    let finding = Finding::new(
        "initial_loss",
        severity,
        health,
        format!(
            "The loss starts at {} nats; answers that know nothing have {}.",
            show(measured.loss),
            show(ignorance)
        ),
    )
    .measured(measured.loss, "nat", Some(Bound::AtMost(3.0 * ignorance)))
    .reason("A start that is sure of wrong answers spends its first steps on unlearning them.");
    Some(if severity == Severity::Ok { finding } else { finding.help("A smaller readout, or one of zeros.") })
}

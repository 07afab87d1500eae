//! Codes and books learned together: what a map makes of a batch is to be what it made before.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::Gradient;
use super::fit::{Fit, half};

/// Rows of a matrix product that are computed together, whatever the number of threads.
const BLOCK: usize = 64;
/// Most logits of a weight.
pub(super) const MOST: usize = 16;
/// Decay of Adam's means.
const BETAS: [f32; 2] = [0.9, 0.999];
/// Adam's learning rate of logits, and that of books and scales as a share of their size.
const RATES: [f32; 2] = [1e-2, 1e-3];
/// Temperature of the softmax in the beginning and in the end.
const HEAT: [f64; 2] = [1.0, 0.1];
/// Added to distances, as a share of the distance of two levels.
const NEAR: f32 = 0.1;

/// What is learned, and from what.
#[derive(Clone, Copy, Debug)]
pub(super) struct By {
    pub(super) steps: u32,
    pub(super) gradient: Gradient,
    /// How many levels about its own a weight can go to in a step; all, up to 16, for 0.
    pub(super) reach: usize,
}

/// How a map answers to inputs X: means over examples.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// Rows and columns of the weight.
    pub(super) size: [usize; 2],
    /// XᵀX.
    pub(super) gram: Vec<f32>,
    /// YᵀX with the answers Y of the whole network.
    pub(super) cross: Vec<f32>,
    /// ‖Y‖².
    pub(super) energy: f64,
}

/// What learning did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Learned {
    /// Squared distance of the answers before, and after.
    pub(super) loss: [f64; 2],
    /// How often a weight went to another level, and over how many levels all together.
    pub(super) flips: [u64; 2],
}

/// `a b` of `a [n, k]` and `b [k, m]`, in blocks of rows.
pub(super) fn product(a: &[f32], b: &[f32], [n, k, m]: [usize; 3]) -> Vec<f32> {
    let mut out = vec![0.0f32; n * m];
    if k == 0 || m == 0 {
        return out;
    }
    let right = MatRef::from_row_major_slice(b, k, m);
    out.par_chunks_mut(BLOCK * m).zip(a.par_chunks(BLOCK * k)).for_each(|(out, a)| {
        let rows = a.len() / k;
        let left = MatRef::from_row_major_slice(a, rows, k);
        matmul(MatMut::from_row_major_slice_mut(out, rows, m), Accum::Replace, left, right, 1.0, Par::Seq);
    });
    out
}

impl Problem {
    /// Of inputs `[n, columns]` and answers `[n, rows]`; both about their means where a bias makes up for those.
    pub(super) fn new(
        mut x: Vec<f32>,
        mut y: Vec<f32>,
        [rows, columns]: [usize; 2],
        is_centred: bool,
    ) -> Self {
        let n = x.len() / columns.max(1);
        if is_centred {
            centre(&mut x, columns);
            centre(&mut y, rows);
        }
        let scale = 1.0 / n.max(1) as f32;
        let turned = |values: &[f32], width: usize| -> Vec<f32> {
            (0..width).flat_map(|at| (0..n).map(move |row| values[row * width + at] * scale)).collect()
        };
        let gram = product(&turned(&x, columns), &x, [columns, n, columns]);
        let cross = product(&turned(&y, rows), &x, [rows, n, columns]);
        let energy = y.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>() / n.max(1) as f64;
        Self { size: [rows, columns], gram, cross, energy }
    }

    /// Half the gradient by the weight, and the squared distance of the answers.
    pub(super) fn gradient(&self, weights: &[f32]) -> (Vec<f32>, f64) {
        let [rows, columns] = self.size;
        let mut gradient = product(weights, &self.gram, [rows, columns, columns]);
        let sums = gradient.par_chunks_mut(columns.max(1)).enumerate().map(|(row, gradient)| {
            let range = row * columns..(row + 1) * columns;
            let mut sum = 0.0;
            for ((g, b), w) in gradient.iter_mut().zip(&self.cross[range.clone()]).zip(&weights[range]) {
                *g -= b;
                sum += f64::from(*w) * (f64::from(*g) - f64::from(*b));
            }
            sum
        });
        let sum: f64 = sums.collect::<Vec<f64>>().into_iter().sum();
        (gradient, (self.energy + sum).max(0.0))
    }
}

/// Means over examples.
pub(super) fn means(values: &[f32], width: usize) -> Vec<f64> {
    let n = values.len() / width.max(1);
    let mut means = vec![0.0; width];
    for row in values.chunks(width.max(1)) {
        means.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value));
    }
    means.iter_mut().for_each(|mean| *mean /= n.max(1) as f64);
    means
}

fn centre(values: &mut [f32], width: usize) {
    let means = means(values, width);
    for row in values.chunks_mut(width.max(1)) {
        row.iter_mut().zip(&means).for_each(|(value, mean)| *value = (f64::from(*value) - mean) as f32);
    }
}

/// Adam's means of numbers, each with its own.
#[derive(Clone, Debug)]
struct Adam(Vec<[f32; 2]>);

impl Adam {
    fn step(&mut self, values: &mut [f32], gradient: &[f32], rate: impl Fn(usize) -> f32, undo: [f32; 2]) {
        for (at, ((value, g), mean)) in values.iter_mut().zip(gradient).zip(&mut self.0).enumerate() {
            mean[0] = BETAS[0] * mean[0] + (1.0 - BETAS[0]) * g;
            mean[1] = BETAS[1] * mean[1] + (1.0 - BETAS[1]) * g * g;
            *value -= rate(at) * (mean[0] * undo[0]) / ((mean[1] * undo[1]).sqrt() + 1e-8);
        }
    }
}

/// The logits of a row's weights, and Adam's means of their gradients. The second mean is one for all logits of a weight: one for
/// each would take away what the two gradients differ in.
struct Logits {
    /// How many a weight has.
    m: usize,
    /// The first level of each weight's.
    first: Vec<u8>,
    values: Vec<f32>,
    means: Vec<f32>,
    squares: Vec<f32>,
}

/// What a step does to a row.
#[derive(Clone, Copy)]
struct Turn<'a> {
    levels: &'a [f32],
    gap: f32,
    heat: f32,
    undo: [f32; 2],
    gradient: Gradient,
}

/// The middle one of the distances of neighbouring levels; of all where most are the same.
fn gap(levels: &[f32]) -> f32 {
    let mut gaps: Vec<f32> = levels.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f32::total_cmp);
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(0.0);
    let all = levels.last().unwrap_or(&0.0) - levels.first().unwrap_or(&0.0);
    let mean = all / gaps.len().max(1) as f32;
    [middle, mean].into_iter().find(|gap| *gap > 0.0).unwrap_or(1.0)
}

impl Logits {
    /// By how far each level is from the weight.
    fn new(weights: &[f32], codes: &[u8], levels: &[f32], reach: usize) -> Self {
        let k = levels.len();
        let m = if reach == 0 { k.min(MOST) } else { reach.min(k) };
        let gap = gap(levels);
        let first: Vec<u8> = codes.iter().map(|&code| first(code, m, k)).collect();
        let logit = |(w, first): (&f32, &u8)| {
            let own = levels[usize::from(*first)..][..m].iter();
            own.map(|level| -0.5 * ((w - level) / gap).powi(2)).collect::<Vec<f32>>()
        };
        let values: Vec<f32> = weights.iter().zip(&first).flat_map(logit).collect();
        let (means, squares) = (vec![0.0; values.len()], vec![0.0; codes.len()]);
        Self { m, first, values, means, squares }
    }

    /// Moves codes by the gradient of each weight; answers how many went elsewhere, and how far.
    fn step(&mut self, codes: &mut [u8], gradient: &[f32], turn: Turn<'_>) -> [u64; 2] {
        let m = self.m;
        let (mut flips, mut p, mut h) = ([0; 2], [0.0f32; MOST], [0.0f32; MOST]);
        for (at, (code, &g)) in codes.iter_mut().zip(gradient).enumerate() {
            let first_of = usize::from(self.first[at]);
            let levels = &turn.levels[first_of..first_of + m];
            let values = &mut self.values[at * m..(at + 1) * m];
            let means = &mut self.means[at * m..(at + 1) * m];
            let own = turn.levels[usize::from(*code)];
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (p, value) in p.iter_mut().zip(&*values) {
                *p = ((value - most) / turn.heat).exp();
                sum += *p;
            }
            let soft: f32 = p.iter().zip(levels).map(|(p, level)| p / sum * level).sum();
            let mut square = 0.0;
            for ((h, p), level) in h.iter_mut().zip(&p).zip(levels) {
                let toward = match (turn.gradient, level - own) {
                    (Gradient::Plain, _) => level - soft,
                    (Gradient::Proximal, 0.0) => 0.0,
                    (Gradient::Proximal, off) => {
                        off.signum() * turn.gap * turn.gap / (off.abs() + NEAR * turn.gap)
                    }
                };
                *h = g * p / sum * toward / turn.heat;
                square += *h * *h / m as f32;
            }
            self.squares[at] = BETAS[1] * self.squares[at] + (1.0 - BETAS[1]) * square;
            let size = (self.squares[at] * turn.undo[1]).sqrt() + 1e-8;
            let mut best = 0;
            for nth in 0..m {
                means[nth] = BETAS[0] * means[nth] + (1.0 - BETAS[0]) * h[nth];
                values[nth] -= RATES[0] * means[nth] * turn.undo[0] / size;
                if values[nth] > values[best] {
                    best = nth;
                }
            }
            let new = (first_of + best) as u8;
            if new != *code {
                flips[0] += 1;
                flips[1] += u64::from(new.abs_diff(*code));
                *code = new;
                self.shift(at, new, turn.levels, turn.gap);
            }
        }
        flips
    }

    /// Puts a weight's logits about its new level.
    fn shift(&mut self, at: usize, code: u8, levels: &[f32], gap: f32) {
        let (m, old) = (self.m, usize::from(self.first[at]));
        let new = usize::from(first(code, m, levels.len()));
        if new == old {
            return;
        }
        let (values, means) = (&mut self.values[at * m..(at + 1) * m], &mut self.means[at * m..(at + 1) * m]);
        let own = values[usize::from(code) - old];
        let level = levels[usize::from(code)];
        let before: Vec<(f32, f32)> = values.iter().copied().zip(means.iter().copied()).collect();
        for nth in 0..m {
            let known = (new + nth).checked_sub(old).and_then(|nth| before.get(nth));
            let far = ((levels[new + nth] - level) / gap).powi(2);
            (values[nth], means[nth]) = known.copied().unwrap_or((own - 0.5 * far, 0.0));
        }
        self.first[at] = new as u8;
    }
}

/// The first of `m` of `k` levels about one.
fn first(code: u8, m: usize, k: usize) -> u8 {
    usize::from(code).saturating_sub(m / 2).min(k - m) as u8
}

/// Sums of a gradient by level of each group, and how many weights are at each.
fn by_level(fit: &Fit, gradient: &[f32], of: &[u32]) -> Vec<[f64; 2]> {
    let (k, width) = (1usize << fit.bits, fit.width);
    let n = of.iter().max().map_or(1, |&most| most as usize + 1);
    let row = |(codes, gradient): (&[u8], &[f32])| {
        let mut sums = vec![[0.0; 2]; k];
        for (&code, &g) in codes.iter().zip(gradient) {
            let sum = &mut sums[usize::from(code)];
            *sum = [sum[0] + f64::from(g), sum[1] + 1.0];
        }
        sums
    };
    let rows: Vec<_> = fit.codes.par_chunks(width).zip(gradient.par_chunks(width)).map(row).collect();
    let mut sums = vec![[0.0; 2]; n * k];
    for (row, &group) in rows.iter().zip(of) {
        for (sum, own) in sums[group as usize * k..].iter_mut().zip(row) {
            *sum = [sum[0] + own[0], sum[1] + own[1]];
        }
    }
    sums
}

/// The gradients of books and scales: means over the weights that each makes.
fn gradients(fit: &Fit, sums: &[[f64; 2]]) -> (Vec<f32>, Vec<f32>) {
    let k = 1usize << fit.bits;
    let mean = |sum: f64, n: f64| if n > 0.0 { (sum / n) as f32 } else { 0.0 };
    match &fit.scales {
        None => (sums.iter().map(|&[sum, n]| mean(sum, n)).collect(), Vec::new()),
        Some(scales) => {
            let groups = || sums.chunks(k).zip(scales);
            let book = (0..k).map(|code| {
                let own = groups().map(|(sums, &scale)| (sums[code][0] * f64::from(scale), sums[code][1]));
                let (sum, n) = own.fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
                mean(sum, n)
            });
            let scale = groups().map(|(sums, _)| {
                let own = sums.iter().zip(&fit.books).map(|(&[sum, n], &level)| (sum * f64::from(level), n));
                let (sum, n) = own.fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
                mean(sum, n)
            });
            (book.collect(), scale.collect())
        }
    }
}

/// As a file holds it, in ascending order.
fn rounded(mut fit: Fit) -> Fit {
    fit.books
        .iter_mut()
        .chain(fit.scales.iter_mut().flatten())
        .for_each(|value| *value = half(f64::from(*value)));
    fit
}

/// Learns from where k-means left it; the best that was met is kept, which is no worse than that.
pub(super) fn learn(problem: &Problem, weights: &[f32], start: &Fit, of: &[u32], by: By) -> (Fit, Learned) {
    let mut fit = start.clone();
    let k = 1usize << fit.bits;
    let width = fit.width;
    let mut logits: Vec<Logits> = (0..of.len())
        .into_par_iter()
        .map(|row| {
            let range = row * width..(row + 1) * width;
            Logits::new(&weights[range.clone()], &fit.codes[range], &fit.levels(of[row] as usize), by.reach)
        })
        .collect();
    let squares = weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / weights.len().max(1) as f64;
    let std = squares.sqrt() as f32;
    let mut books = Adam(vec![[0.0; 2]; fit.books.len()]);
    let mut scales = Adam(vec![[0.0; 2]; fit.scales.as_ref().map_or(0, Vec::len)]);
    let sizes = fit.scales.clone();
    let mut learned = Learned::default();
    let (mut best, mut unit) = (None::<(f64, Fit)>, 0.0f32);
    for step in 0..=by.steps {
        let (mut gradient, loss) = problem.gradient(&fit.values(of));
        if step == 0 {
            learned.loss[0] = loss;
            let squares = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
            unit = (squares / gradient.len().max(1) as f64).sqrt() as f32;
        }
        if best.as_ref().is_none_or(|(least, _)| loss < *least) {
            best = Some((loss, fit.clone()));
        }
        if step == by.steps || unit == 0.0 || width == 0 {
            break;
        }
        gradient.par_iter_mut().for_each(|g| *g /= unit);
        let share = f64::from(step) / f64::from(by.steps);
        let heat = HEAT[1] + 0.5 * (HEAT[0] - HEAT[1]) * (1.0 + (std::f64::consts::PI * share).cos());
        let undo = BETAS.map(|beta| 1.0 / (1.0 - beta.powi(step as i32 + 1)));
        let (of_books, of_scales) = gradients(&fit, &by_level(&fit, &gradient, of));
        let turns: Vec<(Vec<f32>, f32)> = (0..of.iter().max().map_or(1, |&most| most as usize + 1))
            .map(|group| {
                let levels = fit.levels(group);
                let gap = gap(&levels);
                (levels, gap)
            })
            .collect();
        let rows = fit.codes.par_chunks_mut(width).zip(gradient.par_chunks(width));
        let flips: Vec<[u64; 2]> = rows
            .zip(&mut logits)
            .zip(of)
            .map(|(((codes, gradient), logits), &group)| {
                let (levels, gap) = &turns[group as usize];
                let (gap, heat, gradient_by) = (*gap, heat as f32, by.gradient);
                logits.step(codes, gradient, Turn { levels, gap, heat, undo, gradient: gradient_by })
            })
            .collect();
        flips.iter().for_each(|own| learned.flips = [learned.flips[0] + own[0], learned.flips[1] + own[1]]);
        let size = if fit.scales.is_some() { 1.0 } else { std };
        books.step(&mut fit.books, &of_books, |_| RATES[1] * size, undo);
        fit.books.chunks_mut(k).for_each(|book| book.sort_by(f32::total_cmp));
        if let (Some(own), Some(sizes)) = (&mut fit.scales, &sizes) {
            scales.step(own, &of_scales, |at| RATES[1] * sizes[at], undo);
        }
    }
    // What the file holds is rounded: that is what has to be better.
    let found = best.map_or_else(|| start.clone(), |(_, fit)| rounded(fit));
    learned.loss[1] = problem.gradient(&found.values(of)).1;
    if learned.loss[1] < learned.loss[0] {
        return (found, learned);
    }
    learned.loss[1] = learned.loss[0];
    (start.clone(), learned)
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;
    use epoch0_num::{Law, Stream};

    fn drawn(n: usize, name: &str) -> Vec<f32> {
        let mut values = vec![0.0; n];
        Law::normal(0.0, 1.0).fill(&Stream::new(0, name), 0, &mut values).unwrap();
        values
    }

    /// Inputs that hang together, which is what there is to gain from.
    fn problem(weights: &[f32], [rows, columns]: [usize; 2]) -> (Problem, Vec<f32>, Vec<f32>) {
        let (n, mix) = (200, drawn(columns * columns, "mix"));
        let x = product(&drawn(n * columns, "x"), &mix, [n, columns, columns]);
        let turned: Vec<f32> =
            (0..columns).flat_map(|c| (0..rows).map(move |r| weights[r * columns + c])).collect();
        let y = product(&x, &turned, [n, columns, rows]);
        (Problem::new(x.clone(), y.clone(), [rows, columns], false), x, y)
    }

    #[test]
    fn losses_and_gradients_are_those_of_the_answers() {
        let size = [3, 5];
        let weights = drawn(15, "w");
        let (problem, x, y) = problem(&weights, size);
        assert!(problem.gradient(&weights).1 < 1e-3 * problem.energy);
        let other = drawn(15, "v");
        let loss = |weights: &[f32]| {
            let answers = |row: &[f32]| -> Vec<f32> {
                weights.chunks(5).map(|w| w.iter().zip(row).map(|(w, x)| w * x).sum()).collect()
            };
            let off = |(x, y): (&[f32], &[f32])| -> f64 {
                answers(x).iter().zip(y).map(|(a, y)| f64::from(a - y).powi(2)).sum()
            };
            x.chunks(5).zip(y.chunks(3)).map(off).sum::<f64>() / 200.0
        };
        let (gradient, found) = problem.gradient(&other);
        assert!((found / loss(&other) - 1.0).abs() < 1e-4, "{found} {}", loss(&other));
        for at in 0..15 {
            let moved = |by: f32| {
                let mut weights = other.clone();
                weights[at] += by;
                loss(&weights)
            };
            let wanted = (moved(0.5) - moved(-0.5)) / 2.0;
            assert!((f64::from(gradient[at]) - wanted).abs() < 1e-3 * (1.0 + wanted.abs()), "{at}");
        }
    }

    #[test]
    fn learning_gains_and_never_loses() {
        let size = [12, 16];
        let weights = drawn(192, "w");
        let (problem, ..) = problem(&weights, size);
        let of: Vec<u32> = (0..12).map(|row| row / 6).collect();
        for mode in [Mode::Books, Mode::Scales, Mode::Uniform] {
            let of = if mode == Mode::Uniform { (0..12).collect() } else { of.clone() };
            let start = Fit::new("w", &weights, 16, &of, 2, mode).unwrap();
            for gradient in [Gradient::Proximal, Gradient::Plain] {
                for reach in [0, 3] {
                    let by = By { steps: 200, gradient, reach };
                    let (fit, learned) = learn(&problem, &weights, &start, &of, by);
                    assert!(learned.loss[1] < 0.9 * learned.loss[0], "{mode:?} {gradient:?} {learned:?}");
                    assert_eq!(problem.gradient(&fit.values(&of)).1, learned.loss[1]);
                    assert!(
                        fit.books.chunks(4).all(<[f32]>::is_sorted) && fit.codes.iter().all(|&code| code < 4)
                    );
                }
            }
            let none = By { steps: 0, gradient: Gradient::Plain, reach: 0 };
            assert_eq!(learn(&problem, &weights, &start, &of, none).0, start);
        }
    }

    #[test]
    fn windows_move_with_codes() {
        let levels: Vec<f32> = (0..8).map(|at| at as f32).collect();
        let mut logits = Logits::new(&[3.2], &[3], &levels, 3);
        assert_eq!(logits.first, [2]);
        let turn =
            Turn { levels: &levels, gap: 1.0, heat: 1.0, undo: [10.0, 1000.0], gradient: Gradient::Proximal };
        let mut code = [3];
        // Downhill is up.
        let flips = (0..3000).fold([0, 0], |all, _| {
            let own = logits.step(&mut code, &[-1.0], turn);
            [all[0] + own[0], all[1] + own[1]]
        });
        assert_eq!((code, flips, &logits.first[..]), ([7], [4, 4], &[5u8][..]));
    }
}

//! Which blocks are stitched, and what the maps between them start from.

use std::collections::{HashMap, HashSet};

use epoch0_data::Dataset;
use epoch0_engine::{Device, Mode, Precision, Tensor, Weights, run};
use epoch0_method::Error;
use epoch0_net::{Network, ValueId};
use epoch0_num::{Law, Stream};
use epoch0_train::Feed;
use faer::Mat;

use super::{ID, LearngenePool, Pool, Start};
use crate::adapter::Matrix;
use crate::adapter::matrix::Factors;
use crate::pair::refuse;

/// Two blocks that may follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The last block of the front.
    pub after: usize,
    /// The first block of the end.
    pub before: usize,
    /// Which map stands between.
    pub stitch: usize,
}

/// A map of features, `P x + c`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Map {
    /// P, `[width of the end, width of the front]`.
    pub(super) matrix: Matrix,
    /// c.
    pub(super) bias: Vec<f64>,
}

/// Every pair of blocks in a window that slides by one over `n` of them, with a map for what is first seen in a window.
pub fn shared(n: usize, window: usize) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut stitch = 0;
    for first in 0..n {
        let blocks = first..(first + window.max(1)).min(n);
        let before = pairs.len();
        for after in blocks.clone() {
            for before in blocks.clone() {
                if !pairs.iter().any(|pair| (pair.after, pair.before) == (after, before)) {
                    pairs.push(Pair { after, before, stitch });
                }
            }
        }
        stitch += usize::from(pairs.len() > before);
    }
    pairs
}

impl Pool {
    /// Stitches members: pairs of a front and an end. The seed is that of what is drawn; data are for least squares.
    ///
    /// # Errors
    /// When there are no such members, they have not as many blocks, or what the start needs is missing.
    pub fn stitch(
        &self,
        method: &LearngenePool,
        stitched: Vec<(usize, usize)>,
        data: Option<&Dataset>,
        seed: u64,
    ) -> Result<Self, Error> {
        let window = method.window as usize;
        let n = self.networks().len();
        for &(front, end) in &stitched {
            let pair = format!("{front}:{end}");
            if front >= n || end >= n || front == end {
                let why = format!("the pool has members 0 to {}", n.saturating_sub(1));
                return Err(refuse(ID, &pair, &why, "name two of them as FRONT:END"));
            }
            let blocks = [front, end].map(|at| self.networks()[at].blocks().len());
            if blocks[0] != blocks[1] {
                let why = format!("they have {} and {} blocks", blocks[0], blocks[1]);
                return Err(refuse(ID, &pair, &why, "distill networks of as many blocks each"));
            }
        }
        let maps = stitched.iter().map(|&pair| Ok((pair, self.maps(method, pair, data, seed)?)));
        let maps = maps.collect::<Result<Vec<_>, Error>>()?;
        self.with_stitches(stitched, window, &maps)
    }

    fn maps(
        &self,
        method: &LearngenePool,
        (front, end): (usize, usize),
        data: Option<&Dataset>,
        seed: u64,
    ) -> Result<Vec<Map>, Error> {
        let pairs = shared(self.networks()[front].blocks().len(), method.window as usize);
        let n_maps = pairs.iter().map(|pair| pair.stitch + 1).max().unwrap_or(0);
        match method.start {
            Start::Learned | Start::Inverse => {
                let map = self.learned(front, end, method.start == Start::Inverse)?;
                Ok(vec![map; n_maps])
            }
            Start::LeastSquares => {
                let hint = "name them with `--data`";
                let data = data.ok_or_else(|| Error::Missing {
                    method: ID.to_owned(),
                    input: "data for least squares".to_owned(),
                    hint: hint.to_owned(),
                })?;
                self.least_squares((front, end), &pairs, n_maps, data, method.examples as usize)
            }
            Start::Random => {
                let widths = self.widths(front, end)?;
                let draw = |nth: usize| {
                    let stream = Stream::new(seed, &format!("stitch.{front}-{end}.{nth}"));
                    let bound = 1.0 / (widths[0] as f64).sqrt();
                    let law = Law::Uniform { low: -bound, high: bound };
                    let matrix = Matrix::drawn(ID, widths[1], widths[0], law, &stream.child("weight"))?;
                    let bias = Matrix::drawn(ID, 1, widths[1], law, &stream.child("bias"))?;
                    Ok(Map { matrix, bias: bias.values().to_vec() })
                };
                (0..n_maps).map(draw).collect()
            }
        }
    }

    /// Widths of the front's blocks and of the end's, which have to be the same for each of them.
    fn widths(&self, front: usize, end: usize) -> Result<[usize; 2], Error> {
        let width = |at: usize| {
            let net = &self.networks()[at];
            let hint = "stitch networks whose blocks are all of one width";
            let chain = net.chain().map_err(|error| refuse(ID, net.name(), &error.to_string(), hint))?;
            let values = chain.iter().flat_map(|link| [link.read, link.answer]);
            let mut widths = values.map(|value| net.width_of(value));
            let first = widths.next().flatten();
            first
                .filter(|&first| widths.all(|width| width == Some(first)))
                .ok_or_else(|| refuse(ID, net.name(), "its blocks have several widths", hint))
        };
        Ok([width(front)?, width(end)?])
    }

    /// From what both learned of the ancestry.
    fn learned(&self, front: usize, end: usize, is_inverse: bool) -> Result<Map, Error> {
        let widths = self.widths(front, end)?;
        let (matrix, bias) = self.transform(front)?;
        // The front's features are M x + b of the ancestry's x: from them back to x.
        let back = if is_inverse { pseudo_inverse(&matrix)? } else { matrix.transposed() };
        let shift: Vec<f64> = Matrix::new(1, bias.len(), bias).times(&back.transposed()).values().to_vec();
        let (matrix, shift, theirs) = if widths[1] == back.rows() {
            // An end as wide as the ancestry was distilled in its coordinates.
            (back, shift, vec![0.0; widths[1]])
        } else {
            let (onward, theirs) = self.transform(end)?;
            let shift = Matrix::new(1, shift.len(), shift).times(&onward.transposed());
            (onward.times(&back), shift.values().to_vec(), theirs)
        };
        let bias = theirs.iter().zip(&shift).map(|(theirs, shift)| theirs - shift).collect();
        Ok(Map { matrix, bias })
    }

    /// A member's M and b, the means over blocks.
    fn transform(&self, member: usize) -> Result<(Matrix, Vec<f64>), Error> {
        let mut found: Vec<_> = self.transforms(member);
        found.retain(|transform| !transform.of_attention);
        let Some(first) = found.first() else {
            let why = "it learned no transformations of an ancestry's features";
            let hint = "distill it, or start stitches by `least_squares`";
            return Err(refuse(ID, &format!("member {member}"), why, hint));
        };
        let mut matrix = Matrix::zeros(first.matrix.rows(), first.matrix.columns());
        let mut bias = vec![0.0; first.bias.len()];
        let share = 1.0 / found.len() as f64;
        for transform in &found {
            matrix = matrix.plus(share, &transform.matrix);
            bias.iter_mut().zip(&transform.bias).for_each(|(sum, term)| *sum += share * term);
        }
        Ok((matrix, bias))
    }

    /// How far the rows of a member's M are from orthogonal and of one length: `‖M Mᵀ / σ² - I‖ / √d`, σ² their mean square.
    /// None where it learned none.
    pub fn skew(&self, member: usize) -> Option<f64> {
        let (matrix, _) = self.transform(member).ok()?;
        let gram = matrix.times(&matrix.transposed());
        let d = gram.rows();
        let mean = (0..d).map(|at| gram.row(at)[at]).sum::<f64>() / d as f64;
        let identity = Mat::<f64>::identity(d, d);
        let off = gram.scaled(1.0 / mean).plus(-1.0, &Matrix::of(identity.as_ref()));
        Some((off.squares() / d as f64).sqrt())
    }

    fn least_squares(
        &self,
        (front, end): (usize, usize),
        pairs: &[Pair],
        n_maps: usize,
        data: &Dataset,
        examples: usize,
    ) -> Result<Vec<Map>, Error> {
        let features = |at: usize| {
            let (network, weights) = self.built(super::Build::Member(at))?;
            features(&network, &weights, data, examples)
        };
        let (theirs, own) = (features(front)?, features(end)?);
        let mut maps: Vec<Option<(Map, f64)>> = vec![None; n_maps];
        for pair in pairs {
            let found = closest(&theirs[pair.after][1], &own[pair.before][0])?;
            let slot = &mut maps[pair.stitch];
            *slot = Some(match slot.take() {
                None => (found, 1.0),
                Some((sum, n)) => {
                    let bias = sum.bias.iter().zip(&found.bias).map(|(a, b)| a + b).collect();
                    (Map { matrix: sum.matrix.plus(1.0, &found.matrix), bias }, n + 1.0)
                }
            });
        }
        let mean = |(map, n): (Map, f64)| Map {
            matrix: map.matrix.scaled(1.0 / n),
            bias: map.bias.iter().map(|sum| sum / n).collect(),
        };
        Ok(maps.into_iter().flatten().map(mean).collect())
    }
}

/// What blocks read and answer for the first examples, `[positions of all examples, width]` each.
fn features(
    network: &Network,
    weights: &Weights,
    data: &Dataset,
    examples: usize,
) -> Result<Vec<[Matrix; 2]>, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        refuse(ID, network.name(), &error.to_string(), "give data that the pool's networks take")
    };
    let feed = Feed::new(network, data).map_err(|error| failed(&error))?;
    let n = examples.min(data.train.len());
    let inputs = data.train.inputs().pick(&(0..n).collect::<Vec<_>>());
    let inputs = feed.inputs(&inputs, Precision::Single, &Device::cpu());
    let chain = network.chain().map_err(|error| failed(&error))?;
    let wanted: HashSet<ValueId> = chain.iter().flat_map(|link| [link.read, link.answer]).collect();
    let mut found: HashMap<ValueId, Matrix> = HashMap::new();
    let done = run(network, &weights.constants(), &inputs, Mode::Eval, &mut |done| {
        for (id, value) in done.node.outputs.iter().zip(done.outputs) {
            if let Some(value) = value.real().filter(|_| wanted.contains(id)) {
                found.insert(*id, rows(value.value(), network.features_of(*id)));
            }
        }
        Ok(())
    });
    done.map_err(|error| failed(&error))?;
    let of = |value: ValueId| {
        let missing = || failed(&format!("value {} of a block was not met", value.0));
        found.get(&value).cloned().ok_or_else(missing)
    };
    chain.iter().map(|link| Ok([of(link.read)?, of(link.answer)?])).collect()
}

/// A value as a matrix whose columns are its features.
fn rows(value: &Tensor, features: usize) -> Matrix {
    let shape = value.shape();
    let (width, inner) = (shape[features], shape[features + 1..].iter().product::<usize>());
    let outer = shape[..features].iter().product::<usize>();
    let values = value.to_f64();
    let mut matrix = Vec::with_capacity(values.len());
    for at in 0..outer {
        for place in 0..inner {
            matrix.extend((0..width).map(|feature| values[(at * width + feature) * inner + place]));
        }
    }
    Matrix::new(outer * inner, width, matrix)
}

/// Singular values below this share of the largest are taken for zero.
const SMALLEST: f64 = 1e-6;

fn pseudo_inverse(matrix: &Matrix) -> Result<Matrix, Error> {
    let factors = Factors::of(ID, "a transformation", matrix.faer())?;
    let largest = factors.values.first().copied().unwrap_or(0.0);
    let inverse = |value: f64| if value > SMALLEST * largest { 1.0 / value } else { 0.0 };
    let scaled = Mat::from_fn(factors.right.ncols(), factors.values.len(), |row, k| {
        factors.right[(k, row)] * inverse(factors.values[k])
    });
    Ok(Matrix::of((scaled * factors.left.transpose()).as_ref()))
}

/// P and c that make `P x + c` closest to `y`, over rows.
pub(super) fn closest(x: &Matrix, y: &Matrix) -> Result<Map, Error> {
    if x.rows() != y.rows() {
        let why = format!("the front has {} positions, the end {}", x.rows(), y.rows());
        return Err(refuse(ID, "least squares", &why, "stitch networks with as many positions"));
    }
    let (x_mean, x_off) = centred(x);
    let (y_mean, y_off) = centred(y);
    let matrix = pseudo_inverse(&x_off)?.times(&y_off).transposed();
    let shift = Matrix::new(1, x_mean.len(), x_mean).times(&matrix.transposed());
    let bias = y_mean.iter().zip(shift.values()).map(|(mean, shift)| mean - shift).collect();
    Ok(Map { matrix, bias })
}

/// Means of columns, and what is left without them.
fn centred(matrix: &Matrix) -> (Vec<f64>, Matrix) {
    let n = matrix.rows().max(1) as f64;
    let mut mean = vec![0.0; matrix.columns()];
    for row in 0..matrix.rows() {
        mean.iter_mut().zip(matrix.row(row)).for_each(|(sum, value)| *sum += value / n);
    }
    let mut off = matrix.clone();
    let columns = matrix.columns().max(1);
    off.values_mut().chunks_exact_mut(columns).for_each(|row| {
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
    });
    (mean, off)
}

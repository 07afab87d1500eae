//! Operations with parameters: linear maps, convolutions, embeddings, norms; pooling.

use epoch0_net::{Layout, NormKind, ParamId, Pool, Window};

use super::{Mode, Step};
use crate::primitive::conv::Moves;
use crate::value::{Value, to_indices};
use crate::{Error, Tensor, Var};

/// A vector along dimension `dim` of something of rank `rank`.
fn along(vector: &Var, dim: usize, rank: usize) -> Var {
    let mut shape = vec![1; rank];
    shape[dim] = vector.value().len();
    vector.reshape(&shape)
}

impl Step<'_> {
    pub(super) fn linear(
        &self,
        inputs: &[Value],
        weight: ParamId,
        bias: Option<ParamId>,
        layout: Layout,
    ) -> Result<Var, Error> {
        let x = self.real(inputs, 0)?;
        let weight = self.weight(weight)?;
        self.need_rank(x, 1)?;
        self.need_rank(&weight, 2)?;
        let matrix = match layout {
            Layout::OutIn => weight.swap(0, 1),
            Layout::InOut => weight,
        };
        let shape = x.shape();
        let (found, n_in) = (shape[shape.len() - 1], matrix.shape()[0]);
        if found != n_in {
            return Err(
                self.operand(format!("last dimension of {found}"), format!("{n_in}, the weight's inputs"))
            );
        }
        let y = match shape.len() {
            1 => x.reshape(&[1, n_in]).matmul(&matrix).reshape(&[matrix.shape()[1]]),
            _ => x.matmul(&matrix),
        };
        Ok(match bias {
            Some(bias) => y.add(self.param(bias)?),
            None => y,
        })
    }

    pub(super) fn conv(
        &self,
        inputs: &[Value],
        weight: ParamId,
        bias: Option<ParamId>,
        window: &Window,
        groups: usize,
        transposed: bool,
    ) -> Result<Var, Error> {
        let x = self.real(inputs, 0)?;
        let weight = self.weight(weight)?;
        let (shape, kernel, n_space) = (x.shape(), weight.shape(), window.kernel.len());
        if shape.len() != n_space + 2 || kernel.len() != n_space + 2 || !(1..=3).contains(&n_space) {
            return Err(self.operand(
                format!("input of shape {shape:?} and kernel {kernel:?}"),
                "one to three dimensions of space behind batch and channels",
            ));
        }
        let channels = if transposed { kernel[0] } else { kernel[1] * groups };
        if shape[1] != channels {
            return Err(self.operand(format!("{} channels", shape[1]), format!("{channels}")));
        }
        let moves = Moves {
            stride: window.stride.clone(),
            padding: window.padding.clone(),
            dilation: window.dilation.clone(),
            groups,
        };
        let y = if transposed {
            let space: Vec<usize> =
                (0..n_space).map(|dim| moves.reach(dim, shape[dim + 2], kernel[dim + 2])).collect();
            if space.contains(&0) {
                return Err(self.operand(format!("input of shape {shape:?}"), "one with an output"));
            }
            x.conv_input(&weight, &moves, &space)
        } else {
            for dim in 0..n_space {
                if window.output(dim, shape[dim + 2]).is_none() {
                    let padded = shape[dim + 2] + 2 * window.padding[dim];
                    return Err(self.operand(
                        format!("a kernel of {}", window.kernel[dim]),
                        format!("at most the padded input, {padded} wide"),
                    ));
                }
            }
            x.conv(&weight, &moves)
        };
        Ok(match bias {
            Some(bias) => y.add(&along(self.param(bias)?, 1, n_space + 2)),
            None => y,
        })
    }

    pub(super) fn embedding(&self, inputs: &[Value], table: ParamId) -> Result<Var, Error> {
        let Some(Value::Index(words)) = inputs.first() else {
            let found = inputs.first().map_or("nothing", Value::kind);
            return Err(self.operand(found, "integers"));
        };
        let table = self.param(table)?;
        let [rows, width] = table.shape()[..] else {
            return Err(self.operand(format!("a table of shape {:?}", table.shape()), "two dimensions"));
        };
        self.check_range(words.iter().copied(), rows)?;
        let mut shape = words.shape().to_vec();
        shape.push(width);
        let flat = to_indices(words, table.value()).reshape(&[words.len()]);
        Ok(table.select(0, &flat).reshape(&shape))
    }

    pub(super) fn check_range(
        &self,
        mut indices: impl Iterator<Item = i64>,
        size: usize,
    ) -> Result<(), Error> {
        match indices.find(|&index| index < 0 || index as usize >= size) {
            Some(index) => {
                Err(self.operand(format!("index {index}"), format!("0 to {}", size.saturating_sub(1))))
            }
            None => Ok(()),
        }
    }

    pub(super) fn norm(
        &self,
        inputs: &[Value],
        kind: NormKind,
        eps: f64,
        affine: [Option<ParamId>; 2],
        running: Option<[ParamId; 3]>,
        mut statistics: impl FnMut(Tensor, Tensor, usize),
    ) -> Result<Var, Error> {
        let x = self.real(inputs, 0)?;
        let [scale, shift] = affine;
        let scale = scale.map(|id| self.param(id)).transpose()?;
        let shift = shift.map(|id| self.param(id)).transpose()?;
        let by_channel =
            matches!(kind, NormKind::Batch | NormKind::Group { .. } | NormKind::LayerChannelsFirst);
        self.need_rank(x, if by_channel { 2 } else { 1 })?;
        let shape = x.shape();
        let last = shape.len() - 1;
        let over = shape[if by_channel { 1 } else { last }];
        let width = scale.or(shift).map_or(over, |vector| vector.value().len());
        if width == 0 || (by_channel && width != over) || over % width != 0 {
            return Err(
                self.operand(format!("{over} values to normalize"), format!("{width}, the scale's length"))
            );
        }
        if shape.contains(&0) {
            return Err(self.operand(format!("shape {shape:?}"), "at least one element"));
        }
        match kind {
            NormKind::Layer | NormKind::Rms { .. } => {
                // A scale shorter than the dimension is one of a head, and heads are normalized alone.
                let mut split = shape.clone();
                if width < over {
                    split.splice(last..=last, [over / width, width]);
                }
                let x = x.reshape(&split);
                let y = match (kind, both(scale, shift)) {
                    (NormKind::Rms { offset }, _) => {
                        let scale = match scale {
                            Some(scale) if offset != 0.0 => scale.add_scalar(offset),
                            Some(scale) => scale.clone(),
                            None => Var::constant(x.value().full_like(1.0, &[width])),
                        };
                        let y = x.rms_norm(eps, &scale);
                        shift.map_or(y.clone(), |shift| y.add(shift))
                    }
                    (_, Some([scale, shift])) => x.layer_norm(eps, &scale, &shift),
                    (_, None) => x.standardize(&[split.len() - 1], eps),
                };
                Ok(y.reshape(&shape))
            }
            NormKind::LayerChannelsFirst => Ok(affine_channels(&x.standardize(&[1], eps), scale, shift)),
            NormKind::Group { groups } => {
                if groups == 0 || over % groups != 0 {
                    return Err(
                        self.operand(format!("{groups} groups"), format!("a divisor of {over} channels"))
                    );
                }
                let rest: usize = shape[1..].iter().product::<usize>() / groups;
                let y = x.reshape(&[shape[0], groups, rest]).standardize(&[2], eps).reshape(&shape);
                Ok(affine_channels(&y, scale, shift))
            }
            NormKind::Batch => match (self.mode, running) {
                (Mode::Eval, Some([mean, variance, _])) => {
                    let (mean, variance) = (self.param(mean)?, self.param(variance)?);
                    let one = |value: f64| Var::constant(mean.value().full_like(value, &[over]));
                    let [scale, shift] = both(scale, shift).unwrap_or_else(|| [one(1.0), one(0.0)]);
                    Ok(x.batch_norm_eval(eps, mean, variance, &scale, &shift))
                }
                _ => {
                    let count = x.value().len() / over;
                    if count < 2 {
                        return Err(self.operand(
                            "one value per feature",
                            "more than one: in training batch normalization needs a variance\nhint: a larger batch, or \
                             evaluation by running statistics",
                        ));
                    }
                    let (mean, variance) = x.value().batch_statistics();
                    statistics(mean, variance, count);
                    Ok(match both(scale, shift) {
                        Some([scale, shift]) => x.batch_norm(eps, &scale, &shift),
                        None => {
                            let dims: Vec<usize> = (0..shape.len()).filter(|&dim| dim != 1).collect();
                            x.standardize(&dims, eps)
                        }
                    })
                }
            },
        }
    }

    pub(super) fn pool(&self, x: &Var, pool: &Pool) -> Result<Var, Error> {
        self.need_rank(x, 3)?;
        let shape = x.shape();
        let space: Vec<usize> = (2..shape.len()).collect();
        let (window, ceil) = match pool {
            Pool::GlobalMean => return Ok(x.mean_keep(&space)),
            Pool::AdaptiveMean(sizes) if sizes.len() == space.len() => return Ok(x.adaptive_mean(sizes)),
            Pool::AdaptiveMean(sizes) => {
                return Err(
                    self.operand(format!("shape {shape:?}"), format!("{} dimensions of space", sizes.len()))
                );
            }
            Pool::Max(window) | Pool::Mean(window) => (window, false),
            Pool::MaxCeil(window) => (window, true),
        };
        if window.kernel.len() != space.len() || space.len() > 2 {
            return Err(self.operand(
                format!("a window of {} dimensions over shape {shape:?}", window.kernel.len()),
                "one or two dimensions of space",
            ));
        }
        let size = |dim: usize| match ceil {
            true => window.output_ceil(dim, shape[dim + 2]),
            false => window.output(dim, shape[dim + 2]),
        };
        if (0..space.len()).any(|dim| size(dim).is_none()) {
            return Err(
                self.operand(format!("shape {shape:?}"), format!("at least a window of {:?}", window.kernel))
            );
        }
        Ok(match pool {
            Pool::Mean(_) => x.mean_pool(window),
            _ => x.max_pool(window, ceil),
        })
    }
}

/// Scale and shift; ones or zeros for what a norm has not, where it has the other.
fn both(scale: Option<&Var>, shift: Option<&Var>) -> Option<[Var; 2]> {
    let like = scale.or(shift)?.value();
    let or = |own: Option<&Var>, value: f64| {
        own.cloned().unwrap_or_else(|| Var::constant(like.full_like(value, &like.shape())))
    };
    Some([or(scale, 1.0), or(shift, 0.0)])
}

fn affine_channels(x: &Var, scale: Option<&Var>, shift: Option<&Var>) -> Var {
    both(scale, shift).map_or(x.clone(), |[scale, shift]| x.affine(1, &scale, &shift))
}

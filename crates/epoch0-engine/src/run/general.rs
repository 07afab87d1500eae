//! Operations without parameters, on real numbers, integers and truth values.

use epoch0_net::{Binary, Constant, ConstantData, Extent, Op, Relation, Unary};
use ndarray::{ArrayD, Zip};

use super::Step;
use crate::primitive::elementwise::try_broadcast;
use crate::value::{Value, elements, expanded, to_mask};
use crate::{Error, Indices, Tensor, Var};

impl Step<'_> {
    pub(super) fn general(&self, inputs: &[Value]) -> Result<Vec<Value>, Error> {
        let one = |value: Value| Ok(vec![value]);
        let real = |var: Var| Ok(vec![Value::Real(var)]);
        match &self.node.op {
            Op::Add => one(self.fold(inputs, Var::add, i64::wrapping_add)?),
            Op::Mul => one(self.fold(inputs, Var::mul, i64::wrapping_mul)?),
            Op::Scale(factor) => real(self.real(inputs, 0)?.scale(*factor)),
            Op::Softcap(cap) => real(self.real(inputs, 0)?.scale(1.0 / cap).tanh().scale(*cap)),
            Op::Exp => real(self.real(inputs, 0)?.exp()),
            Op::UnitNorm => {
                let x = self.real(inputs, 0)?;
                self.need_rank(x, 1)?;
                real(x.div(&x.square().sum_keep(&[x.rank() - 1]).sqrt()))
            }
            Op::MatMulTransposed => {
                let (x, y) = (self.real(inputs, 0)?, self.real(inputs, 1)?);
                self.need_rank(y, 2)?;
                real(self.matmul(x, &y.swap(y.rank() - 2, y.rank() - 1))?)
            }
            Op::MatMul => real(self.matmul(self.real(inputs, 0)?, self.real(inputs, 1)?)?),
            Op::Concat { dim } => one(self.concat(inputs, *dim)?),
            Op::Split { parts } => {
                let x = self.any(inputs, 0)?;
                let shape = x.shape();
                let last = self.dim(&shape, shape.len().wrapping_sub(1))?;
                let total: usize = parts.iter().map(|(_, size)| size).sum();
                if shape[last] != total {
                    return Err(
                        self.operand(format!("last dimension of {}", shape[last]), format!("{total}"))
                    );
                }
                let mut start = 0;
                let cut = parts.iter().map(|(_, size)| {
                    start += size;
                    x.slice(last, start - size, start, 1)
                });
                Ok(cut.collect())
            }
            Op::SplitInHeads { heads, parts } => {
                let x = self.real(inputs, 0)?;
                self.need_rank(x, 1)?;
                let mut shape = x.shape();
                let last = shape.len() - 1;
                let per_head = *heads * parts.len();
                if per_head == 0 || shape[last] % per_head != 0 {
                    return Err(self.operand(
                        format!("last dimension of {}", shape[last]),
                        format!("a multiple of {heads} heads of {} parts", parts.len()),
                    ));
                }
                let dim = shape[last] / per_head;
                let mut split = shape[..last].to_vec();
                split.extend([*heads, parts.len(), dim]);
                let x = x.reshape(&split);
                shape[last] = heads * dim;
                let cut =
                    (0..parts.len()).map(|at| Value::Real(x.slice(last + 1, at, at + 1, 1).reshape(&shape)));
                Ok(cut.collect())
            }
            Op::Flatten => {
                let x = self.any(inputs, 0)?;
                let shape = x.shape();
                self.dim(&shape, 0)?;
                one(x.reshape(&[shape[0], shape[1..].iter().product()]))
            }
            Op::SpaceToSequence => {
                let x = self.real(inputs, 0)?;
                self.need_rank(x, 2)?;
                let shape = x.shape();
                let n = shape[2..].iter().product();
                real(x.reshape(&[shape[0], shape[1], n]).swap(1, 2))
            }
            Op::Permute { channels_last } => {
                let x = self.any(inputs, 0)?;
                let shape = x.shape();
                self.dim(&shape, 1)?;
                let mut order: Vec<usize> = (0..shape.len()).collect();
                if *channels_last {
                    let channels = order.remove(1);
                    order.push(channels);
                } else if let Some(channels) = order.pop() {
                    order.insert(1, channels);
                }
                one(x.permute(&order))
            }
            Op::Select { index } => {
                let x = self.any(inputs, 0)?;
                let mut shape = x.shape();
                self.dim(&shape, 1)?;
                let at = if *index < 0 { index + shape[1] as i64 } else { *index };
                self.check_range(std::iter::once(at), shape[1])?;
                let part = x.slice(1, at as usize, at as usize + 1, 1);
                shape.remove(1);
                one(part.reshape(&shape))
            }
            Op::SelectToken { token } => real(self.select_token(inputs, *token)?),
            Op::Mean { dim } => {
                let x = self.real(inputs, 0)?;
                let mut shape = x.shape();
                self.dim(&shape, *dim)?;
                shape.remove(*dim);
                real(x.mean_keep(&[*dim]).reshape(&shape))
            }
            Op::Pad { dim, before, after } => {
                let x = self.real(inputs, 0)?;
                self.dim(&x.shape(), *dim)?;
                real(x.pad(*dim, *before, *after))
            }
            Op::ChannelShuffle { groups } => {
                let x = self.real(inputs, 0)?;
                self.need_rank(x, 2)?;
                let shape = x.shape();
                if *groups == 0 || shape[1] % groups != 0 {
                    return Err(
                        self.operand(format!("{} channels", shape[1]), format!("a multiple of {groups}"))
                    );
                }
                let rest: usize = shape[2..].iter().product();
                let dealt = x.reshape(&[shape[0], *groups, shape[1] / groups, rest]).swap(1, 2);
                real(dealt.reshape(&shape))
            }
            Op::Constant(constant) => one(self.held(constant)?),
            Op::Transpose { order } => {
                let x = self.any(inputs, 0)?;
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if sorted != (0..x.shape().len()).collect::<Vec<_>>() {
                    return Err(self
                        .operand(format!("shape {:?}", x.shape()), format!("one for the order {order:?}")));
                }
                one(x.permute(order))
            }
            Op::Reshape { to } => {
                let x = self.any(inputs, 0)?;
                let shape = self.sizes(inputs, to, x.shape().iter().product())?;
                one(x.reshape(&shape))
            }
            Op::Expand { to } => {
                let x = self.any(inputs, 0)?;
                let mine = x.shape();
                let mut shape = Vec::with_capacity(to.len());
                for (at, extent) in to.iter().enumerate() {
                    let own = (at + mine.len()).checked_sub(to.len()).map_or(1, |at| mine[at]);
                    let size = self.size(inputs, *extent)?.unwrap_or(own);
                    // As exchange formats have it, a size of one does not shrink what is there.
                    shape.push(if size == 1 { own } else { size });
                }
                if mine.len() > shape.len() || try_broadcast(&mine, &shape).as_ref() != Some(&shape) {
                    return Err(
                        self.operand(format!("shape {mine:?}"), format!("one that broadcasts to {shape:?}"))
                    );
                }
                one(x.expand(&shape))
            }
            Op::Unary(unary) => one(self.unary(self.any(inputs, 0)?, *unary)?),
            Op::Binary(binary) => one(self.binary(inputs, *binary)?),
            Op::Relation(relation) => one(self.relation(inputs, *relation)?),
            Op::Where => one(self.choose(inputs)?),
            Op::Clip { min, max } => match self.any(inputs, 0)? {
                Value::Index(array) => {
                    one(array.mapv(|x| x.max(min.ceil() as i64).min(max.floor() as i64)).into())
                }
                _ => real(self.real(inputs, 0)?.clip(*min, *max)),
            },
            Op::Reduce { by, dims, keep } => one(self.reduce(self.any(inputs, 0)?, *by, dims, *keep)?),
            Op::Softmax { dim } => {
                let x = self.real(inputs, 0)?;
                self.dim(&x.shape(), *dim)?;
                real(x.softmax(*dim))
            }
            Op::LogSoftmax { dim } => {
                let x = self.real(inputs, 0)?;
                self.dim(&x.shape(), *dim)?;
                real(x.log_softmax(*dim))
            }
            Op::Slice { dim, start, end, step } => {
                let x = self.any(inputs, 0)?;
                let shape = x.shape();
                let size = shape[self.dim(&shape, *dim)?];
                let end = (*end).min(size);
                if *start >= end || *step == 0 {
                    return Err(self.operand(format!("elements {start} to {end} by {step}"), "at least one"));
                }
                one(x.slice(*dim, *start, end, *step))
            }
            Op::Flip { dim } => {
                let x = self.any(inputs, 0)?;
                self.dim(&x.shape(), *dim)?;
                one(x.flip(*dim))
            }
            Op::Gather { dim } => one(self.gather(inputs, *dim)?),
            Op::Propagate { by } => real(self.propagate(inputs, *by)?),
            Op::GatherElements { dim } => one(self.gather_elements(inputs, *dim)?),
            Op::Positions { n } => {
                let n = self.size(inputs, *n)?;
                let n = n.ok_or_else(|| self.unsupported("counts positions without saying how many"))?;
                one(ArrayD::from_shape_vec(vec![n], (0..n as i64).collect()).expect("as many").into())
            }
            Op::CumulativeSum { dim } => match self.any(inputs, 0)? {
                Value::Index(array) => {
                    let mut array = (**array).clone();
                    self.dim(array.shape(), *dim)?;
                    array.accumulate_axis_inplace(ndarray::Axis(*dim), |&before, now| {
                        *now = now.wrapping_add(before);
                    });
                    one(array.into())
                }
                _ => {
                    let x = self.real(inputs, 0)?;
                    self.dim(&x.shape(), *dim)?;
                    real(x.cumulative_sum(*dim))
                }
            },
            Op::ToReal => match self.any(inputs, 0)? {
                Value::Real(var) => real(var.clone()),
                Value::Index(array) => real(self.numbers(array, |x| x as f64)),
                Value::Truth(array) => real(self.numbers(array, |x| f64::from(u8::from(x)))),
            },
            Op::ToIndex { truth } => one(match (self.any(inputs, 0)?, truth) {
                (Value::Real(var), true) => host(var).mapv(|x| x != 0.0).into(),
                (Value::Real(var), false) => host(var).mapv(|x| x as i64).into(),
                (Value::Index(array), true) => array.mapv(|x| x != 0).into(),
                (Value::Truth(array), false) => array.mapv(i64::from).into(),
                (same, _) => same.clone(),
            }),
            other => Err(self.unsupported(format!("the operation `{}` is not known", other.name()))),
        }
    }

    pub(super) fn any<'v>(&self, inputs: &'v [Value], at: usize) -> Result<&'v Value, Error> {
        inputs
            .get(at)
            .ok_or_else(|| self.operand(format!("{} inputs", inputs.len()), format!("at least {}", at + 1)))
    }

    pub(super) fn indices<'v>(&self, inputs: &'v [Value], at: usize) -> Result<&'v ArrayD<i64>, Error> {
        let value = self.any(inputs, at)?;
        value.as_index().ok_or_else(|| self.operand(format!("{} as input {at}", value.kind()), "integers"))
    }

    pub(super) fn dim(&self, shape: &[usize], dim: usize) -> Result<usize, Error> {
        if dim < shape.len() {
            return Ok(dim);
        }
        Err(self.operand(format!("shape {shape:?}"), format!("at least {} dimensions", dim.wrapping_add(1))))
    }

    fn numbers<T: Copy>(&self, array: &ArrayD<T>, number: impl Fn(T) -> f64) -> Var {
        self.constant(array.iter().map(|&x| number(x)).collect(), array.shape())
    }

    fn held(&self, constant: &Constant) -> Result<Value, Error> {
        let Constant { shape, data } = constant;
        let value = match data {
            ConstantData::Real(values) if values.len() == shape.iter().product::<usize>() => {
                Some(Value::Real(self.constant(values.to_vec(), shape)))
            }
            ConstantData::Real(_) => None,
            ConstantData::Index(values) => Value::index(values.to_vec(), shape),
            ConstantData::Bool(values) => Value::truth(values.to_vec(), shape),
        };
        value.ok_or_else(|| {
            self.operand("a constant with too few or too many elements", format!("shape {shape:?}"))
        })
    }

    /// The size that an extent says; `None` for [`Extent::Infer`].
    fn size(&self, inputs: &[Value], extent: Extent) -> Result<Option<usize>, Error> {
        Ok(match extent {
            Extent::Fixed(size) => Some(size),
            Extent::Like { input, dim } => {
                let shape = self.any(inputs, input)?.shape();
                Some(shape[self.dim(&shape, dim)?])
            }
            Extent::Infer => None,
        })
    }

    fn sizes(&self, inputs: &[Value], to: &[Extent], total: usize) -> Result<Vec<usize>, Error> {
        let sizes: Vec<Option<usize>> =
            to.iter().map(|&extent| self.size(inputs, extent)).collect::<Result<_, _>>()?;
        let known: usize = sizes.iter().flatten().product();
        let rest = total.checked_div(known).unwrap_or(0);
        let shape: Vec<usize> = sizes.iter().map(|size| size.unwrap_or(rest)).collect();
        if sizes.iter().filter(|size| size.is_none()).count() > 1 || shape.iter().product::<usize>() != total
        {
            return Err(self.operand(format!("{total} elements"), format!("as many as shape {shape:?} has")));
        }
        Ok(shape)
    }

    /// Sum or product of all inputs.
    fn fold(
        &self,
        inputs: &[Value],
        real: fn(&Var, &Var) -> Var,
        index: fn(i64, i64) -> i64,
    ) -> Result<Value, Error> {
        let mut all = inputs.iter();
        let first = all.next().ok_or_else(|| self.operand("no input", "at least one"))?.clone();
        all.try_fold(first, |sum, next| self.pair(&sum, next, real, index))
    }

    fn broadcast(&self, a: &[usize], b: &[usize]) -> Result<Vec<usize>, Error> {
        try_broadcast(a, b)
            .ok_or_else(|| self.operand(format!("shapes {a:?} and {b:?}"), "two that broadcast"))
    }

    fn pair(
        &self,
        a: &Value,
        b: &Value,
        real: fn(&Var, &Var) -> Var,
        index: fn(i64, i64) -> i64,
    ) -> Result<Value, Error> {
        let shape = self.broadcast(&a.shape(), &b.shape())?;
        match (a, b) {
            (Value::Real(a), Value::Real(b)) => Ok(Value::Real(real(a, b))),
            (Value::Index(a), Value::Index(b)) => Ok(zip(a, b, &shape, index).into()),
            _ => Err(self.operand(format!("{} and {}", a.kind(), b.kind()), "two of one kind")),
        }
    }

    fn matmul(&self, x: &Var, y: &Var) -> Result<Var, Error> {
        // A vector is a row on the left and a column on the right.
        if x.rank() == 1 {
            let product = self.matmul(&x.reshape(&[1, x.value().len()]), y)?;
            let mut shape = product.shape();
            shape.remove(shape.len() - 2);
            return Ok(product.reshape(&shape));
        }
        if y.rank() == 1 {
            let product = self.matmul(x, &y.reshape(&[y.value().len(), 1]))?;
            let mut shape = product.shape();
            shape.pop();
            return Ok(product.reshape(&shape));
        }
        let (a, b) = (x.shape(), y.shape());
        let fits = a.len() >= 2
            && b.len() >= 2
            && a[a.len() - 1] == b[b.len() - 2]
            && try_broadcast(&a[..a.len() - 2], &b[..b.len() - 2]).is_some();
        if !fits {
            return Err(self.operand(format!("shapes {a:?} and {b:?}"), "matrices that can be multiplied"));
        }
        Ok(x.matmul(y))
    }

    fn concat(&self, inputs: &[Value], dim: usize) -> Result<Value, Error> {
        let rank = inputs.iter().map(|value| value.shape().len()).max().unwrap_or(0);
        if dim >= rank {
            return Err(self.operand(format!("{rank} dimensions"), format!("at least {}", dim + 1)));
        }
        // The other dimensions broadcast; a value that lacks dimensions has ones there.
        let padded: Vec<Value> = inputs
            .iter()
            .map(|value| {
                let shape = value.shape();
                let shape: Vec<usize> = std::iter::repeat_n(1, rank - shape.len()).chain(shape).collect();
                value.reshape(&shape)
            })
            .collect();
        let mut common = vec![1; rank];
        for value in &padded {
            let mut shape = value.shape();
            shape[dim] = 1;
            common = self.broadcast(&common, &shape)?;
        }
        let parts: Vec<Value> = padded
            .iter()
            .map(|value| {
                let mut shape = common.clone();
                shape[dim] = value.shape()[dim];
                value.expand(&shape)
            })
            .collect();
        Value::concat(&parts, dim)
            .ok_or_else(|| self.operand("values of several kinds", "values of one kind"))
    }

    /// The value of `x [batch, positions, …]` at the first position of a word in each row.
    fn select_token(&self, inputs: &[Value], token: Option<usize>) -> Result<Var, Error> {
        let (x, words) = (self.real(inputs, 0)?, self.indices(inputs, 1)?);
        let shape = x.shape();
        if shape.len() < 2 || words.shape() != &shape[..2] {
            return Err(self.operand(
                format!("{shape:?} and words {:?}", words.shape()),
                "words for each row and position",
            ));
        }
        let (batch, n) = (shape[0], shape[1]);
        let words = elements(words);
        let rows = words.chunks(n.max(1)).enumerate().map(|(row, words)| {
            let at = match token {
                // torch's argmax of a comparison: the first, or position 0 where there is none.
                Some(token) => words.iter().position(|&word| word == token as i64).unwrap_or(0),
                None => {
                    let largest = words.iter().max();
                    words.iter().position(|word| Some(word) == largest).unwrap_or(0)
                }
            };
            (row * n + at) as i64
        });
        let rows = Indices::new(rows.collect(), &[batch], &self.home.device);
        let mut flat = vec![batch * n];
        flat.extend(&shape[2..]);
        Ok(x.reshape(&flat).select(0, &rows))
    }

    fn unary(&self, x: &Value, unary: Unary) -> Result<Value, Error> {
        Ok(match (x, unary) {
            (Value::Truth(array), Unary::Not) => array.mapv(|x| !x).into(),
            (Value::Index(array), Unary::Neg) => array.mapv(i64::wrapping_neg).into(),
            (Value::Index(array), Unary::Abs) => array.mapv(i64::wrapping_abs).into(),
            (Value::Index(array), Unary::Sign) => array.mapv(i64::signum).into(),
            (Value::Index(_), Unary::Floor | Unary::Ceil | Unary::Round) => x.clone(),
            (Value::Real(x), unary) => {
                let steps = |value: Tensor| Var::constant(value);
                Value::Real(match unary {
                    Unary::Neg => x.neg(),
                    Unary::Abs => x.abs(),
                    Unary::Sqrt => x.sqrt(),
                    Unary::Reciprocal => x.recip(),
                    Unary::Log => x.log(),
                    Unary::Sin => x.sin(),
                    Unary::Cos => x.cos(),
                    Unary::Erf => x.erf(),
                    // Their derivative is zero wherever they have one.
                    Unary::Sign => steps(x.value().sign()),
                    Unary::Floor => steps(x.value().floor()),
                    Unary::Ceil => steps(x.value().ceil()),
                    Unary::Round => steps(x.value().round()),
                    Unary::Not => return Err(self.operand("real numbers", "truth values")),
                })
            }
            (other, _) => return Err(self.operand(other.kind(), "numbers")),
        })
    }

    fn binary(&self, inputs: &[Value], binary: Binary) -> Result<Value, Error> {
        let (a, b) = (self.any(inputs, 0)?, self.any(inputs, 1)?);
        if let (Binary::Div | Binary::Mod, Value::Index(by)) = (binary, b)
            && by.iter().any(|&x| x == 0)
        {
            return Err(self.operand("a divisor of zero", "another number"));
        }
        match binary {
            Binary::Sub => self.pair(a, b, Var::sub, i64::wrapping_sub),
            Binary::Div => self.pair(a, b, Var::div, i64::wrapping_div),
            Binary::Min => self.pair(a, b, Var::minimum, i64::min),
            Binary::Max => self.pair(a, b, Var::maximum, i64::max),
            Binary::Mod => self.pair(
                a,
                b,
                |a, b| {
                    let quotient = Var::constant(a.value().div(b.value()).floor());
                    a.sub(&quotient.mul(b))
                },
                i64::wrapping_rem_euclid,
            ),
            Binary::Pow => {
                // A power that is one number has a derivative for negative bases too.
                if let (Value::Real(a), Value::Real(b)) = (a, b)
                    && b.value().len() == 1
                    && !b.is_tracked()
                {
                    let shape = self.broadcast(&a.shape(), &b.shape())?;
                    return Ok(Value::Real(a.powf(b.value().item()).expand(&shape)));
                }
                let index = |a: i64, b: i64| a.wrapping_pow(b.clamp(0, 64) as u32);
                self.pair(a, b, |a, b| a.log().mul(b).exp(), index)
            }
        }
    }

    fn relation(&self, inputs: &[Value], relation: Relation) -> Result<Value, Error> {
        fn holds<T: PartialOrd + Copy>(a: T, b: T, relation: Relation) -> bool {
            match relation {
                Relation::Equal => a == b,
                Relation::Less => a < b,
                Relation::LessEqual => a <= b,
                Relation::Greater => a > b,
                Relation::GreaterEqual => a >= b,
                Relation::And | Relation::Or => false,
            }
        }
        let (a, b) = (self.any(inputs, 0)?, self.any(inputs, 1)?);
        let shape = self.broadcast(&a.shape(), &b.shape())?;
        Ok(match (a, b) {
            (Value::Truth(a), Value::Truth(b)) => zip(a, b, &shape, |a, b| match relation {
                Relation::And => a && b,
                Relation::Or => a || b,
                _ => holds(a, b, relation),
            })
            .into(),
            (Value::Index(a), Value::Index(b)) if !matches!(relation, Relation::And | Relation::Or) => {
                zip(a, b, &shape, |a, b| holds(a, b, relation)).into()
            }
            (Value::Real(a), Value::Real(b)) if !matches!(relation, Relation::And | Relation::Or) => {
                zip(&host(a), &host(b), &shape, |a, b| holds(a, b, relation)).into()
            }
            _ => {
                return Err(
                    self.operand(format!("{} and {}", a.kind(), b.kind()), "two of one kind that compares")
                );
            }
        })
    }

    fn choose(&self, inputs: &[Value]) -> Result<Value, Error> {
        let condition = self.any(inputs, 0)?;
        let Value::Truth(condition) = condition else {
            return Err(self.operand(format!("{} as condition", condition.kind()), "truth values"));
        };
        let (yes, no) = (self.any(inputs, 1)?, self.any(inputs, 2)?);
        let shape = self.broadcast(&self.broadcast(&yes.shape(), &no.shape())?, condition.shape())?;
        let pick = |yes: &ArrayD<i64>, no: &ArrayD<i64>| {
            let condition = expanded(condition, &shape);
            let (yes, no) = (expanded(yes, &shape), expanded(no, &shape));
            Zip::from(&condition).and(&yes).and(&no).map_collect(|&c, &yes, &no| if c { yes } else { no })
        };
        match (yes, no) {
            (Value::Real(yes), Value::Real(no)) => {
                Ok(Value::Real(no.choose(&to_mask(condition, yes.value()), yes)))
            }
            (Value::Index(yes), Value::Index(no)) => Ok(pick(yes, no).into()),
            (Value::Truth(yes), Value::Truth(no)) => {
                let (yes, no) = (yes.mapv(i64::from), no.mapv(i64::from));
                Ok(pick(&yes, &no).mapv(|x| x != 0).into())
            }
            _ => Err(self.operand(format!("{} and {}", yes.kind(), no.kind()), "two of one kind")),
        }
    }
}

/// Real numbers with the processor.
fn host(x: &Var) -> ArrayD<f64> {
    ArrayD::from_shape_vec(x.shape(), x.value().to_f64()).expect("as many elements")
}

fn zip<T: Copy, U>(a: &ArrayD<T>, b: &ArrayD<T>, shape: &[usize], f: impl Fn(T, T) -> U) -> ArrayD<U> {
    let (a, b) = (a.broadcast(shape).expect("broadcasts"), b.broadcast(shape).expect("broadcasts"));
    Zip::from(&a).and(&b).map_collect(|&a, &b| f(a, b))
}

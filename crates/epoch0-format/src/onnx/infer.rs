//! What can be known of a node's outputs before a run: their sizes, and their elements where the inputs' are known.

use super::OnnxFault;
use super::fold::{self, fold, order_of, reduced_dims, reduction, shape_part, squeezed, unsqueezed};
use super::graph::{Fact, Graph, Node, Val};
use super::known::{Kind, Known, broadcast_sizes, dim_of, reshape_target};
use super::size::{Size, product};
use super::sliding::Sliding;

type Answer = Option<(Vec<Size>, Kind)>;

impl<'a> Graph<'a> {
    /// What a node makes.
    pub(super) fn infer(&mut self, node: &Node<'a>) -> Result<Vec<Fact>, OnnxFault> {
        if node.op == "Shape" {
            let dims = self.dims(node, 0)?;
            return Ok(vec![Fact::of(Known::list(shape_part(node, &dims)), Kind::Index)]);
        }
        let inputs: Vec<_> = node.inputs.iter().map(|&val| self.known(val)).collect();
        let is_known = node.inputs.iter().zip(&inputs).all(|(val, known)| val.is_none() || known.is_some());
        let folded = if is_known && !node.inputs.is_empty() { fold(node, &inputs) } else { None };
        if let Some(outputs) = folded {
            let kinds = self.kind_of(node);
            let origin = self.origin(node);
            let mut facts: Vec<_> = outputs.into_iter().map(|known| Fact::of(known, kinds)).collect();
            if let ([fact], origin) = (&mut facts[..], origin) {
                fact.origin = origin;
            }
            return Ok(facts);
        }
        let n = node.inputs.len();
        let mut facts = self.shapes(node)?;
        let origins =
            if facts.len() == 1 { vec![self.origin(node)] } else { self.origins_of_split(node, &facts) };
        for (fact, origin) in facts.iter_mut().zip(origins) {
            fact.origin = origin.filter(|_| n > 0);
        }
        Ok(facts)
    }

    /// Sizes of an input.
    pub(super) fn dims(&self, node: &Node<'_>, at: usize) -> Result<Vec<Size>, OnnxFault> {
        let val = node.input(at).ok_or_else(|| node.refuse(format!("input {at} is missing")))?;
        Ok(self.facts[val].dims.clone())
    }

    pub(super) fn kind(&self, val: Option<Val>) -> Kind {
        val.map_or(Kind::Real, |val| self.facts[val].kind)
    }

    /// What the elements of a node's outputs are.
    pub(super) fn kind_of(&self, node: &Node<'_>) -> Kind {
        match node.op {
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor"
            | "Not" | "IsNaN" | "IsInf" => Kind::Bool,
            "Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" => Kind::Index,
            "Cast" => match node.int("to") {
                Some(9) => Kind::Bool,
                Some(1 | 10 | 11 | 16) => Kind::Real,
                _ => Kind::Index,
            },
            "CastLike" | "Where" => self.kind(node.input(1)),
            "ConstantOfShape" => Known::scalar(node.fill()).kind(),
            _ => self.kind(node.input(0)),
        }
    }

    /// Shapes and kinds of a node's outputs.
    fn shapes(&mut self, node: &Node<'a>) -> Result<Vec<Fact>, OnnxFault> {
        let fact = |(dims, kind): (Vec<Size>, Kind)| Fact { dims, kind, known: None, origin: None };
        let kind = self.kind_of(node);
        let several = match node.op {
            "Split" => Some(self.split(node)?),
            "LSTM" | "GRU" | "RNN" => Some(self.recurrent(node)?),
            _ => None,
        };
        if let Some(all) = several {
            return Ok(all.into_iter().map(|dims| fact((dims, kind))).collect());
        }
        let found = self.shape(node, kind)?;
        let (dims, kind) = found.ok_or_else(|| self.misfit(node))?;
        if dims.iter().any(|size| size.fixed().is_some_and(|size| !(0..=1 << 40).contains(&size)))
            || dims.len() > 32
        {
            return Err(node.refuse(format!(
                "it makes an array of sizes {dims:?}, allowed up to 2^40 each and 32 in all"
            )));
        }
        Ok(vec![fact((dims, kind))])
    }

    fn misfit(&self, node: &Node<'_>) -> OnnxFault {
        let shapes: Vec<String> = node
            .inputs
            .iter()
            .map(|val| val.map_or_else(|| "-".to_owned(), |val| format!("{:?}", self.facts[val].dims)))
            .take(8)
            .collect();
        node.refuse(format!(
            "its inputs of sizes {} do not fit together, or a size in them is not settled",
            shapes.join(", ")
        ))
    }

    /// Sizes of the only output; `None` where inputs do not fit.
    fn shape(&mut self, node: &Node<'a>, kind: Kind) -> Result<Answer, OnnxFault> {
        let known = |graph: &Self, at: usize| graph.known(node.input(at)).cloned();
        let ints = |graph: &Self, at: usize, name: &str| match node.input(at) {
            Some(val) => graph.facts[val].known.as_ref().and_then(Known::ints),
            None => node.ints(name),
        };
        let x = if node.op == "Range" { Vec::new() } else { self.dims(node, 0)? };
        let answer = match node.op {
            "Relu"
            | "LeakyRelu"
            | "Elu"
            | "Selu"
            | "Celu"
            | "Gelu"
            | "Sigmoid"
            | "HardSigmoid"
            | "HardSwish"
            | "Tanh"
            | "Softplus"
            | "Softsign"
            | "Mish"
            | "Swish"
            | "Erf"
            | "Exp"
            | "Log"
            | "Sqrt"
            | "Reciprocal"
            | "Abs"
            | "Neg"
            | "Sign"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Sin"
            | "Shrink"
            | "Cos"
            | "Not"
            | "Clip"
            | "Cast"
            | "CastLike"
            | "Softmax"
            | "LogSoftmax"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "GroupNormalization"
            | "LayerNormalization"
            | "RMSNormalization"
            | "CumSum"
            | "IsNaN"
            | "IsInf"
            | "LpNormalization"
            | "Trilu"
            | "ThresholdedRelu"
            | "Identity"
            | "ScatterND" => Some(x),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Equal" | "Less" | "LessOrEqual" | "Greater"
            | "GreaterOrEqual" | "And" | "Or" | "Xor" | "PRelu" => broadcast_sizes(&x, &self.dims(node, 1)?),
            "Min" | "Max" | "Sum" | "Mean" => {
                let mut all = Some(x);
                for at in 1..node.inputs.len() {
                    let other = self.dims(node, at)?;
                    all = all.and_then(|all| broadcast_sizes(&all, &other));
                }
                all
            }
            "Where" => {
                let (a, b) = (self.dims(node, 1)?, self.dims(node, 2)?);
                broadcast_sizes(&x, &a).and_then(|all| broadcast_sizes(&all, &b))
            }
            "Reshape" => {
                let Some(target) = known(self, 1).and_then(|known| known.sizes()) else {
                    return Err(node.refuse(
                        "its shape depends on what the network is given, allowed shapes that do not",
                    ));
                };
                self.reshaped(&x, &target, node.int("allowzero") == Some(1))
            }
            "Flatten" => {
                let axis = node.int("axis").unwrap_or(1);
                let axis = if axis == x.len() as i64 { Some(x.len()) } else { dim_of(axis, x.len()) };
                axis.and_then(|axis| Some(vec![product(&x[..axis])?, product(&x[axis..])?]))
            }
            "Squeeze" => squeezed(&x, ints(self, 1, "axes"), |size| *size == Size::ONE),
            "Unsqueeze" => ints(self, 1, "axes").and_then(|axes| unsqueezed(&x, &axes, Size::ONE)),
            "Transpose" => {
                order_of(node, x.len()).map(|order| order.iter().map(|&dim| x[dim].clone()).collect())
            }
            "Concat" => self.concat(node)?,
            "Slice" => {
                let inputs: Vec<_> = node.inputs.iter().map(|&val| self.known(val)).collect();
                fold::cuts(node, &inputs, &x).map(|cuts| {
                    let mut sizes = x.clone();
                    for cut in cuts {
                        sizes[cut.dim] = cut.size;
                    }
                    sizes
                })
            }
            "Gather" => dim_of(node.int("axis").unwrap_or(0), x.len()).and_then(|dim| {
                let at = self.dims(node, 1).ok()?;
                let mut sizes = x.clone();
                (dim < sizes.len()).then(|| sizes.splice(dim..=dim, at).for_each(drop))?;
                Some(sizes)
            }),
            "GatherElements" => Some(self.dims(node, 1)?),
            "GatherND" => {
                let at = self.dims(node, 1)?;
                let depth =
                    at.last().and_then(Size::fixed).filter(|&depth| depth >= 1 && depth as usize <= x.len());
                depth.map(|depth| [&at[..at.len() - 1], &x[depth as usize..]].concat())
            }
            "Expand" => {
                let Some(target) = known(self, 1).and_then(|known| known.sizes()) else {
                    return Err(node.refuse(
                        "its shape depends on what the network is given, allowed shapes that do not",
                    ));
                };
                broadcast_sizes(&x, &self.with_batch(&x, target))
            }
            "ConstantOfShape" => {
                let target = known(self, 0).and_then(|known| known.sizes());
                target.map(|target| self.with_batch(&[], target))
            }
            "Range" => {
                let all = [known(self, 0), known(self, 1), known(self, 2)]
                    .map(|known| known.and_then(|known| known.single()?.size()));
                match all {
                    [Some(start), Some(end), Some(step)] if step == Size::ONE => end
                        .sub(&start)
                        .filter(|size| size.least().is_some_and(|least| least >= 0))
                        .map(|size| vec![size]),
                    _ => return Err(node.refuse(
                        "its bounds depend on what the network is given, allowed steps of 1 between sizes",
                    )),
                }
            }
            "MatMul" => {
                let y = self.dims(node, 1)?;
                Self::matmul(&x, &y)
            }
            "Gemm" => {
                let y = self.dims(node, 1)?;
                let turned = |dims: &[Size], name: &str| {
                    let [a, b] = dims else { return None };
                    Some(if node.int(name) == Some(1) {
                        [b.clone(), a.clone()]
                    } else {
                        [a.clone(), b.clone()]
                    })
                };
                match (turned(&x, "transA"), turned(&y, "transB")) {
                    (Some([rows, inner]), Some([same, columns])) if inner == same => {
                        Some(vec![rows, columns])
                    }
                    _ => None,
                }
            }
            "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" => self.windowed(node, &x)?,
            "GlobalAveragePool" | "GlobalMaxPool" => {
                (x.len() >= 2).then(|| [&x[..2], &vec![Size::ONE; x.len() - 2][..]].concat())
            }
            "Pad" => {
                let pads = ints(self, 1, "pads");
                let axes = ints(self, 3, "axes");
                padded(&x, pads, axes).map(|pads| pads.into_iter().map(|(_, _, size)| size).collect())
            }
            "Tile" => known(self, 1).and_then(|known| known.sizes()).and_then(|repeats| {
                (repeats.len() == x.len())
                    .then(|| x.iter().zip(&repeats).map(|(size, n)| size.mul(n)).collect::<Option<_>>())?
            }),
            "ArgMax" | "ArgMin" => {
                let keep = node.int("keepdims").unwrap_or(1) == 1;
                dim_of(node.int("axis").unwrap_or(0), x.len()).map(|dim| kept(&x, &[dim], keep))
            }
            op if reduction(op).is_some() => {
                let axes = ints(self, 1, "axes");
                if node.input(1).is_some() && axes.is_none() {
                    return Ok(None);
                }
                let keep = node.int("keepdims").unwrap_or(1) == 1;
                reduced_dims(node, axes, x.len()).map(|dims| kept(&x, &dims, keep))
            }
            _ => {
                return Err(
                    node.refuse("this operator is not known; most of those that PyTorch's exporters use are")
                );
            }
        };
        Ok(answer.map(|dims| (dims, kind)))
    }

    /// A shape in which the batch that the network was exported with stands as a number.
    fn with_batch(&self, from: &[Size], mut to: Vec<Size>) -> Vec<Size> {
        if let (Some((batch, exported)), Some(first)) = (&self.batch, to.first_mut())
            && *exported > 1
            && *first == Size::Fixed(*exported)
            && from.first().is_none_or(|size| *size == Size::ONE || size == batch)
        {
            *first = batch.clone();
        }
        to
    }

    /// What a reshape makes. Where the shape was written down with the exported batch in it, the batch goes where the
    /// elements that it counts go.
    fn reshaped(&self, from: &[Size], target: &[Size], keep_zero: bool) -> Option<Vec<Size>> {
        let total = product(from)?;
        let fits = |to: &Vec<Size>| product(to).as_ref() == Some(&total);
        let as_exported = self.reshaped_batch(from, target, keep_zero).filter(fits);
        as_exported.or_else(|| reshape_target(from, target, keep_zero).filter(fits))
    }

    /// As [`Graph::reshaped`], where the shape has the exported batch in it, said or left to be found.
    fn reshaped_batch(&self, from: &[Size], target: &[Size], keep_zero: bool) -> Option<Vec<Size>> {
        let (batch, exported) = self.batch.as_ref()?;
        if target.iter().any(|size| size.fixed().is_none()) {
            return None;
        }
        // As it was when exported.
        let old: Vec<Size> =
            from.iter().map(|size| Some(Size::Fixed(self.symbols.exported(size)?))).collect::<Option<_>>()?;
        let mut to = reshape_target(&old, target, keep_zero)?;
        if product(&to)? != product(&old)? {
            return None;
        }
        let holder = from.iter().position(|size| size.div(batch).is_some())?;
        let place = product(&old[..holder])?.fixed()?;
        let mut before = 1i64;
        let mut found = None;
        for (at, size) in to.iter().enumerate() {
            let size = size.fixed()?;
            let after = before.checked_mul(size)?;
            // The dimension that holds the batch's own step, and can be divided by it.
            if before <= place && place.checked_mul(*exported)? <= after && size % exported == 0 {
                found = Some((at, size));
                break;
            }
            before = after;
        }
        let (at, size) = found?;
        to[at] = batch.mul(&Size::Fixed(size / exported))?;
        Some(to)
    }

    fn concat(&self, node: &Node<'_>) -> Result<Option<Vec<Size>>, OnnxFault> {
        let mut sizes = self.dims(node, 0)?;
        let Some(dim) =
            node.int("axis").and_then(|axis| dim_of(axis, sizes.len())).filter(|&dim| dim < sizes.len())
        else {
            return Ok(None);
        };
        for at in 1..node.inputs.len() {
            let other = self.dims(node, at)?;
            if other.len() != sizes.len() {
                return Ok(None);
            }
            for (d, theirs) in other.iter().enumerate() {
                let mine = &sizes[d];
                sizes[d] = if d == dim {
                    match mine.add(theirs) {
                        Some(sum) => sum,
                        None => return Ok(None),
                    }
                } else if mine == theirs || *theirs == Size::ONE {
                    mine.clone()
                } else if *mine == Size::ONE {
                    theirs.clone()
                } else {
                    return Ok(None);
                };
            }
        }
        Ok(Some(sizes))
    }

    fn split(&self, node: &Node<'_>) -> Result<Vec<Vec<Size>>, OnnxFault> {
        let x = self.dims(node, 0)?;
        let dim = dim_of(node.int("axis").unwrap_or(0), x.len()).filter(|&dim| dim < x.len());
        let sizes = dim.and_then(|dim| fold::parts_of(node, self.known(node.input(1)), &x[dim]));
        let (Some(dim), Some(sizes)) = (dim, sizes) else { return Err(self.misfit(node)) };
        Ok(sizes
            .into_iter()
            .map(|size| {
                let mut part = x.clone();
                part[dim] = Size::Fixed(size);
                part
            })
            .collect())
    }

    fn matmul(x: &[Size], y: &[Size]) -> Option<Vec<Size>> {
        match (x.len(), y.len()) {
            (0, _) | (_, 0) => None,
            (1, 1) => (x == y).then(Vec::new),
            (1, _) => {
                let full = Self::matmul(&[&[Size::ONE], x].concat(), y)?;
                Some([&full[..full.len() - 2], &full[full.len() - 1..]].concat())
            }
            (_, 1) => {
                let full = Self::matmul(x, &[y, &[Size::ONE]].concat())?;
                Some(full[..full.len() - 1].to_vec())
            }
            (a, b) => {
                let (rows, inner) = (&x[a - 2], &x[a - 1]);
                let (same, columns) = (&y[b - 2], &y[b - 1]);
                if inner != same {
                    return None;
                }
                let mut sizes = broadcast_sizes(&x[..a - 2], &y[..b - 2])?;
                sizes.extend([rows.clone(), columns.clone()]);
                Some(sizes)
            }
        }
    }

    fn windowed(&mut self, node: &Node<'a>, x: &[Size]) -> Result<Option<Vec<Size>>, OnnxFault> {
        let weight = if node.op.starts_with("Conv") { Some(self.dims(node, 1)?) } else { None };
        let Some(sliding) = Sliding::of(node, x, weight.as_deref()) else { return Ok(None) };
        let channels = match (&weight, node.op) {
            (None, _) => x[1].clone(),
            (Some(weight), "Conv") => weight[0].clone(),
            (Some(weight), _) => match weight[1].mul(&Size::Fixed(node.int("group").unwrap_or(1))) {
                Some(channels) => channels,
                None => return Ok(None),
            },
        };
        let mut sizes = vec![x[0].clone(), channels];
        for (dim, size) in x[2..].iter().enumerate() {
            let out = match size.fixed() {
                Some(size) => match sliding.output(dim, size) {
                    Some(size) => Size::Fixed(size),
                    None => return Ok(None),
                },
                // Windows that keep the size keep an open one.
                None if sliding.keeps(dim) => size.clone(),
                None => self.symbols.of(format!("{sliding:?} {dim} {size:?}"), None),
            };
            sizes.push(out);
        }
        Ok(Some(sizes))
    }

    fn recurrent(&self, node: &Node<'_>) -> Result<Vec<Vec<Size>>, OnnxFault> {
        let (x, state) = (self.dims(node, 0)?, self.dims(node, 2)?);
        let ([steps, batch, _], [directions, _, hidden]) = (&x[..], &state[..]) else {
            return Err(self.misfit(node));
        };
        if node.int("layout").unwrap_or(0) != 0 {
            return Err(node.refuse("its layout is 1, allowed 0 (steps first)"));
        }
        let last = vec![directions.clone(), batch.clone(), hidden.clone()];
        let all = vec![steps.clone(), directions.clone(), batch.clone(), hidden.clone()];
        let n = if node.op == "LSTM" { 2 } else { 1 };
        Ok([&[all][..], &vec![last; n]].concat())
    }
}

fn kept(x: &[Size], dims: &[usize], keep: bool) -> Vec<Size> {
    let one = |(dim, size): (usize, &Size)| match (dims.contains(&dim), keep) {
        (false, _) => Some(size.clone()),
        (true, true) => Some(Size::ONE),
        (true, false) => None,
    };
    x.iter().enumerate().filter_map(one).collect()
}

/// For each dimension how much is put before and after, and its size then.
pub(super) fn padded(
    x: &[Size],
    pads: Option<Vec<i64>>,
    axes: Option<Vec<i64>>,
) -> Option<Vec<(i64, i64, Size)>> {
    let pads = pads?;
    let axes = axes.unwrap_or_else(|| (0..x.len() as i64).collect());
    if pads.len() != axes.len() * 2 {
        return None;
    }
    let mut all: Vec<_> = x.iter().map(|size| (0, 0, size.clone())).collect();
    for (at, &axis) in axes.iter().enumerate() {
        let dim = dim_of(axis, x.len()).filter(|&dim| dim < x.len())?;
        let (before, after) = (pads[at], pads[axes.len() + at]);
        let size = x[dim].add(&Size::Fixed(before.checked_add(after)?))?;
        if size.least().is_some_and(|least| least < 1) {
            return None;
        }
        all[dim] = (before, after, size);
    }
    Some(all)
}

//! Computing what is known already: operators on known arrays.

use epoch0_net::Reduction;

use super::graph::Node;
use super::known::{
    Elem, Known, MOST_KNOWN, advance, broadcast_sizes, count, dim_of, fixed_shape, reshape_target, strides,
};
use super::scalar::{arithmetic, unary};
use super::size::Size;

type Inputs<'a> = [Option<&'a Known>];

/// What a node makes of known inputs; `None` where that is left to a run.
pub(super) fn fold(node: &Node<'_>, inputs: &Inputs<'_>) -> Option<Vec<Known>> {
    let input = |at: usize| inputs.get(at).copied().flatten();
    let one = |known: Option<Known>| known.map(|known| vec![known]);
    // Lists that came to be inputs in a later version of the operator.
    let ints = |at: usize, name: &str| match input(at) {
        Some(known) => known.ints(),
        None => node.ints(name),
    };
    match node.op {
        "Identity" | "Dropout" => one(input(0).cloned()),
        "Cast" => one(cast(input(0)?, node.int("to")?)),
        "CastLike" => {
            let like = input(1)?.data.first()?.clone();
            let elem = match like {
                Elem::Real(_) => 1,
                Elem::Int(_) => 7,
                Elem::Bool(_) => 9,
            };
            one(cast(input(0)?, elem))
        }
        "Shape" => {
            let sizes = input(0)?.shape.iter().map(|&size| Size::Fixed(size as i64)).collect::<Vec<_>>();
            one(Some(Known::list(shape_part(node, &sizes))))
        }
        "Size" => one(Some(Known::scalar(Elem::int(input(0)?.data.len() as i64)))),
        "Reshape" => {
            let (from, target) = (sizes_of(input(0)?), input(1)?.sizes()?);
            let to = reshape_target(&from, &target, node.int("allowzero") == Some(1))?;
            one(input(0)?.reshaped(fixed_shape(&to)?))
        }
        "Flatten" => {
            let x = input(0)?;
            let axis = node.int("axis").unwrap_or(1);
            let axis =
                if axis == x.shape.len() as i64 { x.shape.len() } else { dim_of(axis, x.shape.len())? };
            one(x.reshaped(vec![count(&x.shape[..axis])?, count(&x.shape[axis..])?]))
        }
        "Squeeze" => {
            let x = input(0)?;
            one(x.reshaped(squeezed(&x.shape, ints(1, "axes"), |&size| size == 1)?))
        }
        "Unsqueeze" => {
            let x = input(0)?;
            one(x.reshaped(unsqueezed(&x.shape, &ints(1, "axes")?, 1)?))
        }
        "Transpose" => {
            let x = input(0)?;
            let order = order_of(node, x.shape.len())?;
            let steps: Vec<_> = order.iter().map(|&dim| strides(&x.shape)[dim]).collect();
            let shape = order.iter().map(|&dim| x.shape[dim]).collect();
            one(x.gathered(shape, |index| Some(index.iter().zip(&steps).map(|(at, step)| at * step).sum())))
        }
        "Concat" => one(concat(node, inputs)),
        "Slice" => one(slice(node, inputs)),
        "Split" => split(node, inputs),
        "Gather" => one(gather(node, input(0)?, input(1)?)),
        "GatherElements" => {
            let (x, at) = (input(0)?, input(1)?);
            let dim = dim_of(node.int("axis").unwrap_or(0), x.shape.len())?;
            let (own, given) = (strides(&x.shape), strides(&at.shape));
            one(x.gathered(at.shape.clone(), |index| {
                let place: usize = index.iter().zip(&given).map(|(at, step)| at * step).sum();
                let chosen = dim_of(at.data.get(place)?.size()?.fixed()?, x.shape[dim])?;
                Some(
                    index
                        .iter()
                        .zip(&own)
                        .enumerate()
                        .map(|(d, (at, step))| if d == dim { chosen * step } else { at * step })
                        .sum(),
                )
            }))
        }
        "GatherND" => one(gather_nd(node, input(0)?, input(1)?)),
        "ScatterND" => {
            let (x, at, new) = (input(0)?, input(1)?, input(2)?);
            let depth = *at.shape.last()?;
            if !matches!(node.text("reduction").unwrap_or("none"), "none")
                || depth == 0
                || depth > x.shape.len()
            {
                return None;
            }
            let own = strides(&x.shape);
            let run = count(&x.shape[depth..])?;
            let mut data = x.data.to_vec();
            for (row, index) in at.data.chunks_exact(depth).enumerate() {
                let mut place = 0;
                for (dim, elem) in index.iter().enumerate() {
                    place += dim_of(elem.size()?.fixed()?, x.shape[dim])? * own[dim];
                }
                data.get_mut(place..place + run)?.clone_from_slice(new.data.get(row * run..(row + 1) * run)?);
            }
            one(Known::new(x.shape.clone(), data))
        }
        "Expand" => {
            let x = input(0)?;
            let shape = broadcast_sizes(&sizes_of(x), &input(1)?.sizes()?)?;
            one(x.broadcast(&fixed_shape(&shape)?))
        }
        "ConstantOfShape" => {
            let shape = fixed_shape(&input(0)?.sizes()?)?;
            let n = count(&shape).filter(|&n| n <= MOST_KNOWN)?;
            let value = node.fill();
            one(Known::new(shape, vec![value; n]))
        }
        "Range" => one(range(input(0)?, input(1)?, input(2)?)),
        "Trilu" => {
            let x = input(0)?;
            let k = input(1).map_or(Some(0), |k| k.single()?.size()?.fixed())?;
            let upper = node.int("upper").unwrap_or(1) == 1;
            let [.., _, columns] = x.shape[..] else { return None };
            let rows = x.shape[x.shape.len() - 2];
            let mut data = x.data.to_vec();
            for (at, elem) in data.iter_mut().enumerate() {
                let (row, column) = ((at / columns % rows) as i64, (at % columns) as i64);
                let stays = if upper { column - row >= k } else { column - row <= k };
                if !stays {
                    *elem = match elem {
                        Elem::Real(_) => Elem::Real(0.0),
                        Elem::Int(_) => Elem::int(0),
                        Elem::Bool(_) => Elem::Bool(false),
                    };
                }
            }
            one(Known::new(x.shape.clone(), data))
        }
        "CumSum" => {
            let x = input(0)?;
            let dim = dim_of(input(1)?.single()?.size()?.fixed()?, x.shape.len())?;
            if node.int("reverse") == Some(1) || node.int("exclusive") == Some(1) {
                return None;
            }
            let step = strides(&x.shape)[dim];
            let mut data = x.data.to_vec();
            for at in 0..data.len() {
                if !(at / step).is_multiple_of(x.shape[dim]) {
                    data[at] = arithmetic("Add", &data[at - step], &data[at])?;
                }
            }
            one(Known::new(x.shape.clone(), data))
        }
        "Where" => {
            let (c, x, y) = (input(0)?, input(1)?, input(2)?);
            let shape = broadcast_sizes(&broadcast_sizes(&sizes_of(c), &sizes_of(x))?, &sizes_of(y))?;
            let shape = fixed_shape(&shape)?;
            let (c, x, y) = (c.broadcast(&shape)?, x.broadcast(&shape)?, y.broadcast(&shape)?);
            let pick =
                |at: usize| Some(if c.data[at].truth()? { x.data[at].clone() } else { y.data[at].clone() });
            one(Known::new(shape, (0..c.data.len()).map(pick).collect::<Option<_>>()?))
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Equal" | "Less" | "LessOrEqual" | "Greater"
        | "GreaterOrEqual" | "And" | "Or" | "Xor" | "BitwiseAnd" | "BitwiseOr" => {
            one(zip(input(0)?, input(1)?, |a, b| arithmetic(node.op, a, b)))
        }
        "Min" | "Max" => {
            let mut all = input(0)?.clone();
            for at in 1..inputs.len() {
                all = zip(&all, input(at)?, |a, b| arithmetic(node.op, a, b))?;
            }
            one(Some(all))
        }
        _ if reduction(node.op).is_some() => one(reduce(node, input(0)?, ints(1, "axes"))),
        _ => {
            let x = input(0).filter(|_| inputs.len() == 1)?;
            let data = x.data.iter().map(|elem| unary(node.op, elem)).collect::<Option<_>>()?;
            one(Known::new(x.shape.clone(), data))
        }
    }
}

fn sizes_of(known: &Known) -> Vec<Size> {
    known.shape.iter().map(|&size| Size::Fixed(size as i64)).collect()
}

/// The part of a shape that `Shape` asks for.
pub(super) fn shape_part(node: &Node<'_>, sizes: &[Size]) -> Vec<Size> {
    let rank = sizes.len() as i64;
    let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (bound(node.int("start").unwrap_or(0)), bound(node.int("end").unwrap_or(rank)));
    sizes.get(start..end).unwrap_or(&[]).to_vec()
}

/// A shape without the dimensions that go.
pub(super) fn squeezed<T: Clone>(
    shape: &[T],
    axes: Option<Vec<i64>>,
    is_one: impl Fn(&T) -> bool,
) -> Option<Vec<T>> {
    let gone: Vec<usize> = match axes {
        Some(axes) => axes.into_iter().map(|axis| dim_of(axis, shape.len())).collect::<Option<_>>()?,
        None => (0..shape.len()).filter(|&dim| is_one(&shape[dim])).collect(),
    };
    if gone.iter().any(|&dim| !shape.get(dim).is_some_and(&is_one)) {
        return None;
    }
    Some((0..shape.len()).filter(|dim| !gone.contains(dim)).map(|dim| shape[dim].clone()).collect())
}

/// A shape with dimensions of size one put in.
pub(super) fn unsqueezed<T: Clone>(shape: &[T], axes: &[i64], one: T) -> Option<Vec<T>> {
    let rank = shape.len().checked_add(axes.len()).filter(|&rank| rank <= 64)?;
    let new: Vec<usize> = axes.iter().map(|&axis| dim_of(axis, rank)).collect::<Option<_>>()?;
    let mut old = shape.iter();
    let all: Vec<_> = (0..rank)
        .map(|dim| if new.contains(&dim) { Some(one.clone()) } else { old.next().cloned() })
        .collect::<Option<_>>()?;
    old.next().is_none().then_some(all)
}

/// The order of a transposition.
pub(super) fn order_of(node: &Node<'_>, rank: usize) -> Option<Vec<usize>> {
    let order = match node.ints("perm") {
        Some(perm) => perm.into_iter().map(|dim| dim_of(dim, rank)).collect::<Option<Vec<_>>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..rank).then_some(order)
}

fn cast(x: &Known, to: i64) -> Option<Known> {
    let data = x.data.iter().map(|elem| {
        Some(match to {
            1 | 10 | 11 | 16 => Elem::Real(elem.real()?),
            9 => Elem::Bool(elem.truth()?),
            2..=7 | 12 | 13 => match elem {
                Elem::Int(size) => Elem::Int(size.clone()),
                _ => Elem::int(elem.real()?.trunc() as i64),
            },
            _ => return None,
        })
    });
    Known::new(x.shape.clone(), data.collect::<Option<_>>()?)
}

fn concat(node: &Node<'_>, inputs: &Inputs<'_>) -> Option<Known> {
    let parts: Vec<&Known> = inputs.iter().copied().collect::<Option<_>>()?;
    let first = parts.first()?;
    let dim = dim_of(node.int("axis")?, first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[dim] = 0;
    for part in &parts {
        if part.shape.len() != shape.len()
            || (0..shape.len()).any(|at| at != dim && part.shape[at] != shape[at])
        {
            return None;
        }
        shape[dim] = shape[dim].checked_add(part.shape[dim])?;
    }
    count(&shape).filter(|&n| n <= MOST_KNOWN)?;
    let outer = count(&shape[..dim])?;
    let mut data = Vec::new();
    for row in 0..outer {
        for part in &parts {
            let run = count(&part.shape[dim..])?;
            data.extend_from_slice(part.data.get(row * run..(row + 1) * run)?);
        }
    }
    Known::new(shape, data)
}

/// A cut of one dimension.
pub(super) struct Cut {
    pub dim: usize,
    pub start: Size,
    pub end: Size,
    pub step: i64,
    pub size: Size,
}

/// The cuts of a `Slice` of an array of these sizes; `None` where a bound cannot be settled.
pub(super) fn cuts(node: &Node<'_>, inputs: &Inputs<'_>, sizes: &[Size]) -> Option<Vec<Cut>> {
    let list = |at: usize| inputs.get(at).copied().flatten().map(Known::sizes);
    let (starts, ends) = (list(1)??, list(2)??);
    let axes = match inputs.get(3).copied().flatten() {
        Some(axes) => axes.ints()?,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match inputs.get(4).copied().flatten() {
        Some(steps) => steps.ints()?,
        None => vec![1; starts.len()],
    };
    if node.op != "Slice"
        || axes.len() != starts.len()
        || ends.len() != starts.len()
        || steps.len() != starts.len()
    {
        return None;
    }
    let mut cuts = Vec::new();
    for (at, axis) in axes.into_iter().enumerate() {
        let dim = dim_of(axis, sizes.len())?;
        let (size, step) = (sizes.get(dim)?, steps[at]);
        let inside = |bound: &Size, is_reverse: bool| {
            let bound =
                if bound.least().is_none_or(|least| least < 0) { bound.add(size)? } else { bound.clone() };
            // Clamped, where that can be told; exporters write the largest integer for "to the end".
            if bound.fixed().is_some_and(|bound| bound > 1 << 40) {
                return if is_reverse { size.sub(&Size::ONE) } else { Some(size.clone()) };
            }
            let over = bound.sub(size)?;
            if over.least().is_some_and(|least| least >= 0) {
                return if is_reverse { size.sub(&Size::ONE) } else { Some(size.clone()) };
            }
            if bound.fixed().is_some_and(|bound| bound < 0) {
                return Some(Size::Fixed(if is_reverse { -1 } else { 0 }));
            }
            Some(bound)
        };
        match step {
            1.. => {
                let (start, end) = (inside(&starts[at], false)?, inside(&ends[at], false)?);
                let length = end.sub(&start)?;
                let length = match length.fixed() {
                    Some(length) if length <= 0 => Size::Fixed(0),
                    Some(length) => Size::Fixed((length - 1) / step + 1),
                    None if step == 1 => length,
                    None => length.div(&Size::Fixed(step))?,
                };
                cuts.push(Cut { dim, start, end, step, size: length });
            }
            // Only whole dimensions are turned round.
            -1 => {
                let start = inside(&starts[at], true)?;
                let whole =
                    start == size.sub(&Size::ONE)? && ends[at].fixed().is_some_and(|end| end < -1 << 20);
                let size = size.clone();
                cuts.push(Cut {
                    dim,
                    start: Size::Fixed(0),
                    end: size.clone(),
                    step,
                    size: whole.then_some(size)?,
                });
            }
            _ => return None,
        }
    }
    Some(cuts)
}

fn slice(node: &Node<'_>, inputs: &Inputs<'_>) -> Option<Known> {
    let x = inputs.first().copied().flatten()?;
    let mut out = x.clone();
    for cut in cuts(node, inputs, &sizes_of(x))? {
        let (start, n) = (cut.start.fixed()?, usize::try_from(cut.size.fixed()?).ok()?);
        let mut shape = out.shape.clone();
        let steps = strides(&shape);
        shape[cut.dim] = n;
        let last = out.shape[cut.dim];
        out = out.gathered(shape, |index| {
            let place = |dim: usize, at: usize| match (dim == cut.dim, cut.step) {
                (false, _) => Some(at),
                (true, -1) => last.checked_sub(1 + at),
                (true, step) => usize::try_from(start + at as i64 * step).ok(),
            };
            let mut sum = 0;
            for (dim, &at) in index.iter().enumerate() {
                sum += place(dim, at)? * steps[dim];
            }
            Some(sum)
        })?;
    }
    Some(out)
}

/// Sizes of the parts of a `Split`.
pub(super) fn split_sizes(node: &Node<'_>, given: Option<&Known>, size: &Size) -> Option<Vec<i64>> {
    if let Some(sizes) = given.map_or_else(|| node.ints("split").map(Some), |known| Some(known.ints()))? {
        return (sizes.iter().try_fold(0i64, |all, size| all.checked_add(*size)) == size.fixed())
            .then_some(sizes);
    }
    None
}

/// Sizes of the parts of a `Split`, equal where they are not given.
pub(super) fn parts_of(node: &Node<'_>, given: Option<&Known>, size: &Size) -> Option<Vec<i64>> {
    if given.is_some() || node.ints("split").is_some() {
        return split_sizes(node, given, size);
    }
    let (n, size) = (node.outputs.len() as i64, size.fixed()?);
    let each = size.checked_add(n)?.checked_sub(1)? / n.max(1);
    let last = size - each * (n - 1);
    (each > 0 && last > 0).then(|| (0..n).map(|at| if at == n - 1 { last } else { each }).collect())
}

fn split(node: &Node<'_>, inputs: &Inputs<'_>) -> Option<Vec<Known>> {
    let x = inputs.first().copied().flatten()?;
    let dim = dim_of(node.int("axis").unwrap_or(0), x.shape.len())?;
    let sizes = parts_of(node, inputs.get(1).copied().flatten(), &Size::Fixed(x.shape[dim] as i64))?;
    let steps = strides(&x.shape);
    let mut offset = 0;
    let mut parts = Vec::new();
    for size in sizes {
        let mut shape = x.shape.clone();
        shape[dim] = usize::try_from(size).ok()?;
        parts.push(x.gathered(shape, |index| {
            Some(index.iter().zip(&steps).map(|(at, step)| at * step).sum::<usize>() + offset * steps[dim])
        })?);
        offset += size as usize;
    }
    Some(parts)
}

fn gather(node: &Node<'_>, x: &Known, at: &Known) -> Option<Known> {
    let dim = dim_of(node.int("axis").unwrap_or(0), x.shape.len())?;
    let chosen: Vec<usize> = at
        .data
        .iter()
        .map(|elem| dim_of(elem.size()?.fixed()?, *x.shape.get(dim)?))
        .collect::<Option<_>>()?;
    let mut shape = x.shape.clone();
    shape.splice(dim..=dim, at.shape.iter().copied());
    let (own, given) = (strides(&x.shape), strides(&at.shape));
    let n = at.shape.len();
    x.gathered(shape, |index| {
        let place: usize = index[dim..dim + n].iter().zip(&given).map(|(at, step)| at * step).sum();
        let before: usize = index[..dim].iter().zip(&own).map(|(at, step)| at * step).sum();
        let after: usize = index[dim + n..].iter().zip(&own[dim + 1..]).map(|(at, step)| at * step).sum();
        Some(before + chosen.get(place)? * own[dim] + after)
    })
}

fn gather_nd(node: &Node<'_>, x: &Known, at: &Known) -> Option<Known> {
    let depth = *at.shape.last()?;
    if node.int("batch_dims").unwrap_or(0) != 0 || depth > x.shape.len() || depth == 0 {
        return None;
    }
    let own = strides(&x.shape);
    let mut shape = at.shape[..at.shape.len() - 1].to_vec();
    let outer = shape.len();
    shape.extend(&x.shape[depth..]);
    let given = strides(&at.shape);
    x.gathered(shape, |index| {
        let row: usize = index[..outer].iter().zip(&given).map(|(at, step)| at * step).sum();
        let mut place = 0;
        for dim in 0..depth {
            place += dim_of(at.data.get(row + dim)?.size()?.fixed()?, x.shape[dim])? * own[dim];
        }
        place += index[outer..].iter().zip(&own[depth..]).map(|(at, step)| at * step).sum::<usize>();
        Some(place)
    })
}

fn range(start: &Known, limit: &Known, delta: &Known) -> Option<Known> {
    if let (Elem::Int(start), Elem::Int(limit), Elem::Int(delta)) =
        (start.single()?, limit.single()?, delta.single()?)
    {
        let (start, limit, delta) = (start.fixed()?, limit.fixed()?, delta.fixed()?);
        let span = limit.checked_sub(start)?;
        let n = if delta == 0 || span == 0 || (span > 0) != (delta > 0) {
            0
        } else {
            (span.abs() - 1) / delta.checked_abs()? + 1
        };
        let n = usize::try_from(n).ok().filter(|&n| n <= MOST_KNOWN)?;
        return Known::new(vec![n], (0..n as i64).map(|at| Elem::int(start + at * delta)).collect());
    }
    let (start, limit, delta) = (start.single()?.real()?, limit.single()?.real()?, delta.single()?.real()?);
    let n = ((limit - start) / delta).ceil().max(0.0);
    let n = (n <= MOST_KNOWN as f64).then_some(n as usize)?;
    Known::new(vec![n], (0..n).map(|at| Elem::Real(start + at as f64 * delta)).collect())
}

fn zip(a: &Known, b: &Known, of: impl Fn(&Elem, &Elem) -> Option<Elem>) -> Option<Known> {
    let shape = fixed_shape(&broadcast_sizes(&sizes_of(a), &sizes_of(b))?)?;
    count(&shape).filter(|&n| n <= MOST_KNOWN)?;
    let (a, b) = (a.broadcast(&shape)?, b.broadcast(&shape)?);
    let data = a.data.iter().zip(b.data.iter()).map(|(a, b)| of(a, b)).collect::<Option<_>>()?;
    Known::new(shape, data)
}

/// What a reducing operator computes.
pub(super) fn reduction(op: &str) -> Option<Reduction> {
    Some(match op {
        "ReduceSum" => Reduction::Sum,
        "ReduceMean" => Reduction::Mean,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        "ReduceProd" => Reduction::Prod,
        "ReduceL1" => Reduction::Norm1,
        "ReduceL2" => Reduction::Norm2,
        _ => return None,
    })
}

/// The dimensions that a reducing operator goes over.
pub(super) fn reduced_dims(node: &Node<'_>, axes: Option<Vec<i64>>, rank: usize) -> Option<Vec<usize>> {
    let axes = axes.unwrap_or_default();
    if axes.is_empty() {
        let none = node.int("noop_with_empty_axes") == Some(1);
        return Some(if none { Vec::new() } else { (0..rank).collect() });
    }
    let mut dims: Vec<_> = axes.into_iter().map(|axis| dim_of(axis, rank)).collect::<Option<_>>()?;
    dims.sort_unstable();
    dims.dedup();
    Some(dims)
}

fn reduce(node: &Node<'_>, x: &Known, axes: Option<Vec<i64>>) -> Option<Known> {
    let dims = reduced_dims(node, axes, x.shape.len())?;
    let by = reduction(node.op)?;
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(dim, &size)| if dims.contains(&dim) { 1 } else { size }).collect();
    let steps = strides(&kept);
    let mut groups: Vec<Vec<Elem>> = vec![Vec::new(); count(&kept)?];
    let mut index = vec![0; x.shape.len()];
    for elem in x.data.iter() {
        let place: usize = index
            .iter()
            .zip(&steps)
            .zip(&kept)
            .map(|((at, step), &size)| if size == 1 { 0 } else { at * step })
            .sum();
        groups.get_mut(place)?.push(elem.clone());
        advance(&mut index, &x.shape);
    }
    let data = groups.iter().map(|group| reduce_group(by, group)).collect::<Option<_>>()?;
    let reduced = Known::new(kept, data)?;
    if node.int("keepdims").unwrap_or(1) == 1 {
        return Some(reduced);
    }
    let shape = (0..x.shape.len()).filter(|dim| !dims.contains(dim)).map(|dim| x.shape[dim]).collect();
    reduced.reshaped(shape)
}

fn reduce_group(by: Reduction, group: &[Elem]) -> Option<Elem> {
    let first = group.first()?.clone();
    let op = match by {
        Reduction::Sum | Reduction::Mean => "Add",
        Reduction::Prod => "Mul",
        Reduction::Max => "Max",
        Reduction::Min => "Min",
        Reduction::Norm1 | Reduction::Norm2 => return None,
    };
    let all = group[1..].iter().try_fold(first, |all, elem| arithmetic(op, &all, elem))?;
    if by == Reduction::Mean {
        return Some(Elem::Real(all.real()? / group.len() as f64));
    }
    Some(all)
}

//! Carrying out what a view has put off.

use epoch0_net::{Extent, ValueId};

use super::{Lower, OnnxFault, Size, View};
use crate::onnx::known::Kind;
use crate::onnx::view::runs;

impl Lower<'_, '_> {
    /// The size as an operation on `x` may name it; `None` where it cannot be told.
    pub(super) fn extent(
        &self,
        size: &Size,
        x: ValueId,
        like: &mut Vec<ValueId>,
        can_infer: &mut bool,
    ) -> Option<Extent> {
        if let Some(size) = size.fixed() {
            return usize::try_from(size).ok().map(Extent::Fixed);
        }
        if let Some(dim) = self.sizes.get(&x).and_then(|sizes| sizes.iter().position(|own| own == size)) {
            return Some(Extent::Like { input: 0, dim });
        }
        if let Some(&(value, dim)) = self.places.get(size) {
            let at = like.iter().position(|known| *known == value).unwrap_or_else(|| {
                like.push(value);
                like.len() - 1
            });
            return Some(Extent::Like { input: at + 1, dim });
        }
        std::mem::take(can_infer).then_some(Extent::Infer)
    }

    /// The same elements in another shape.
    pub(super) fn reshape(&mut self, x: ValueId, to: &[Size]) -> Result<ValueId, OnnxFault> {
        let own = self.sizes.get(&x).cloned().unwrap_or_default();
        if own == to {
            return Ok(x);
        }
        let (mut like, mut can_infer) = (Vec::new(), true);
        let mut extents = Vec::new();
        for (at, size) in to.iter().enumerate() {
            // A dimension that stays in its place is named by it.
            let extent = match (size.fixed(), own.get(at) == Some(size)) {
                (None, true) => Some(Extent::Like { input: 0, dim: at }),
                _ => self.extent(size, x, &mut like, &mut can_infer),
            };
            extents.push(extent.ok_or_else(|| {
                OnnxFault::Weights(format!(
                    "a reshape to sizes {to:?} needs two sizes that no value of the network has, allowed one"
                ))
            })?);
        }
        let is_flat = to.len() == 2
            && own.len() > 2
            && own[0] == to[0]
            && own[1..].iter().all(|size| size.fixed().is_some())
            && to[1].fixed().is_some();
        let value = if is_flat { self.b.flatten(x) } else { self.b.reshape(x, &like, &extents) };
        self.made(value, to.to_vec());
        Ok(value)
    }

    fn transpose(&mut self, x: ValueId, order: &[usize]) -> ValueId {
        let own = self.sizes.get(&x).cloned().unwrap_or_default();
        let rank = order.len();
        let to_end = || (0..rank).map(|at| [0].into_iter().chain(2..rank).chain([1]).nth(at).unwrap_or(0));
        let to_front =
            || (0..rank).map(|at| [0, rank - 1].into_iter().chain(1..rank - 1).nth(at).unwrap_or(0));
        let value = if rank > 3 && order.iter().copied().eq(to_end()) {
            self.b.permute(x, true)
        } else if rank > 3 && order.iter().copied().eq(to_front()) {
            self.b.permute(x, false)
        } else {
            self.b.transpose(x, order)
        };
        self.made(value, order.iter().map(|&dim| own[dim].clone()).collect());
        value
    }

    /// The value as it is seen.
    pub(super) fn settle(&mut self, view: &View) -> Result<ValueId, OnnxFault> {
        if view.is_whole() {
            return Ok(view.base);
        }
        let size = |dim: &[usize]| {
            view.size(dim)
                .ok_or_else(|| OnnxFault::Weights("sizes of a value are too large to count".to_owned()))
        };
        let to: Vec<Size> = view.dims.iter().map(|dim| size(dim)).collect::<Result<_, _>>()?;
        let mut x = view.base;
        let mut groups = view.base_dims.clone();
        let (own, seen) = (view.own_order(), view.seen_order());
        if !view.repeats() && view.dims.len() == view.base_dims.len() {
            // Whole dimensions in another order.
            let mut is_used = vec![false; groups.len()];
            let order: Option<Vec<usize>> = view
                .dims
                .iter()
                .map(|dim| {
                    let at = (0..groups.len()).find(|&at| !is_used[at] && groups[at] == *dim)?;
                    is_used[at] = true;
                    Some(at)
                })
                .collect();
            if let Some(order) = order {
                return Ok(self.transpose(x, &order));
            }
        }
        if own != seen {
            let parts = runs(&own, &seen);
            if let [batch, space, channels] = &view.dims[..]
                && view.base_dims.len() >= 4
                && *batch == view.base_dims[0]
                && *channels == view.base_dims[1]
                && *space == view.base_dims[2..].concat()
                && view.base_dims[2..].iter().all(|dim| !dim.is_empty())
                && space.iter().all(|&atom| view.atoms[atom].fixed().is_some())
            {
                let value = self.b.space_to_sequence(x);
                self.made(value, to);
                return Ok(value);
            }
            if parts != groups {
                let sizes: Vec<Size> = parts.iter().map(|part| size(part)).collect::<Result<_, _>>()?;
                x = self.reshape(x, &sizes)?;
            }
            let mut order: Vec<usize> = (0..parts.len()).collect();
            order.sort_by_key(|&at| seen.iter().position(|atom| parts[at].first() == Some(atom)));
            x = self.transpose(x, &order);
            groups = order.iter().map(|&at| parts[at].clone()).collect();
        }
        if view.repeats() {
            // Dimensions cut so that each is of the value itself or repeats it.
            let mut segments: Vec<(bool, Vec<usize>)> = Vec::new();
            for dim in &view.dims {
                let mut last = None;
                for &atom in dim {
                    let is_own = view.is_own(atom);
                    match segments.last_mut() {
                        Some(segment) if last == Some(true) && is_own => segment.1.push(atom),
                        _ => segments.push((is_own, vec![atom])),
                    }
                    last = Some(is_own);
                }
                if dim.is_empty() {
                    segments.push((true, Vec::new()));
                }
            }
            let single =
                segments.iter().map(|(is_own, part)| if *is_own { size(part) } else { Ok(Size::ONE) });
            let single: Vec<Size> = single.collect::<Result<_, _>>()?;
            let wide: Vec<Size> = segments.iter().map(|(_, part)| size(part)).collect::<Result<_, _>>()?;
            x = self.reshape(x, &single)?;
            let (mut like, mut extents) = (Vec::new(), Vec::new());
            for ((is_own, _), size) in segments.iter().zip(&wide) {
                let extent =
                    if *is_own { Some(Extent::Infer) } else { self.extent(size, x, &mut like, &mut false) };
                extents.push(extent.ok_or_else(|| {
                    OnnxFault::Weights(format!(
                        "a value is repeated {size:?} times, a size that no other value has"
                    ))
                })?);
            }
            x = self.b.expand(x, &like, &extents);
            self.made(x, wide);
            groups = segments.into_iter().map(|(_, part)| part).collect();
        }
        if groups != view.dims {
            x = self.reshape(x, &to)?;
        }
        Ok(x)
    }

    /// The value of a value of the graph, as the graph has it.
    pub(super) fn value(&mut self, val: usize) -> Result<ValueId, OnnxFault> {
        let view = self.view(val)?;
        let value = self.settle(&view)?;
        // What is put off is carried out once.
        let sizes = self.dims(val).to_vec();
        if !view.is_whole() && self.graph.facts[val].kind != Kind::Bool {
            self.views.entry(val).or_insert_with(|| View::whole(value, &sizes));
        }
        Ok(value)
    }

    /// Another shape, put off if it can be.
    pub(super) fn reshaped(&mut self, view: &View, to: &[Size]) -> Result<View, OnnxFault> {
        if let Some(view) = view.reshaped(to) {
            return Ok(view);
        }
        let x = self.settle(view)?;
        let x = self.reshape(x, to)?;
        Ok(View::whole(x, to))
    }
}

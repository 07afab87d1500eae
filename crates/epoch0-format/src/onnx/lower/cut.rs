//! Parts of values: slices, splits, elements at indices.

use epoch0_net::{Head, Op, Reduction, ValueId};

use super::{Lower, Node, OnnxFault, View};
use crate::onnx::fold::{cuts, parts_of};
use crate::onnx::graph::{Origin, Val};
use crate::onnx::known::{Kind, Known, dim_of};
use crate::onnx::size::{Size, product};

impl Lower<'_, '_> {
    /// The last dimension of a projection in parts, each named by what becomes of it.
    fn packed(&mut self, view: &View, sizes: &[i64], labels: &[String]) -> Vec<View> {
        let key = (view.base, sizes.to_vec());
        if let Some(parts) = self.cuts.get(&key) {
            return parts.clone();
        }
        let parts: Vec<(&str, usize)> =
            labels.iter().zip(sizes).map(|(label, &size)| (label.as_str(), size as usize)).collect();
        let values = self.b.split(view.base, &parts);
        let mut own = self.sizes[&view.base].clone();
        let mut views = Vec::new();
        for (value, &size) in values.into_iter().zip(sizes) {
            if let Some(last) = own.last_mut() {
                *last = Size::Fixed(size);
            }
            views.push(self.made(value, own.clone()));
        }
        self.cuts.insert(key, views.clone());
        views
    }

    /// A view of a part of the value that `view` shows: the last dimension is the part's.
    fn part_of(view: &View, part: &View) -> View {
        let mut seen = view.onto(part.base);
        let size = part.base_dims.last().and_then(|dim| part.size(dim)).unwrap_or(Size::ONE);
        let last: Vec<usize> = if size == Size::ONE { Vec::new() } else { vec![seen.atoms.len()] };
        seen.atoms.push(size);
        for dims in [&mut seen.base_dims, &mut seen.dims] {
            if let Some(dim) = dims.last_mut() {
                dim.clone_from(&last);
            }
        }
        seen
    }

    fn label(&self, val: Option<Val>, at: usize) -> String {
        val.and_then(|val| self.plan.labels.get(&val))
            .map_or_else(|| at.to_string(), |label| (*label).to_owned())
    }

    /// Labels that are all different.
    fn distinct(labels: Vec<String>) -> Vec<String> {
        let is_distinct = labels.iter().enumerate().all(|(at, label)| !labels[..at].contains(label));
        if is_distinct { labels } else { (0..labels.len()).map(|at| at.to_string()).collect() }
    }

    pub(super) fn split(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let dims = self.dims(x).to_vec();
        let dim = dim_of(node.int("axis").unwrap_or(0), dims.len()).filter(|&dim| dim < dims.len());
        let sizes = dim.and_then(|dim| parts_of(node, self.graph.known(node.input(1)), &dims[dim]));
        let (Some(dim), Some(sizes)) = (dim, sizes) else {
            return Err(node.refuse("its parts are not known"));
        };
        let view = self.view(x)?;
        if sizes.len() == 1 {
            self.set(node, 0, view);
            return Ok(());
        }
        if dim + 1 == dims.len() && view.keeps_last() && !view.repeats() {
            let labels = (0..sizes.len()).map(|at| self.label(node.output(at), at)).collect();
            let parts = self.packed(&view, &sizes, &Self::distinct(labels));
            for (at, part) in parts.iter().enumerate() {
                self.set(node, at, Self::part_of(&view, part));
            }
            return Ok(());
        }
        let value = self.settle(&view)?;
        let mut start = 0;
        for (at, size) in sizes.into_iter().enumerate() {
            let mut own = dims.clone();
            own[dim] = Size::Fixed(size);
            if node.output(at).is_some_and(|val| self.plan.readers.contains_key(&val) || self.is_output(val))
            {
                let part = self.b.slice(value, dim, start as usize, (start + size) as usize, 1);
                let part = self.made(part, own);
                self.set(node, at, part);
            }
            start += size;
        }
        Ok(())
    }

    pub(super) fn is_output(&self, val: Val) -> bool {
        self.graph.outputs.iter().any(|(output, _)| *output == val)
    }

    pub(super) fn slice(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let dims = self.dims(x).to_vec();
        let inputs: Vec<_> = node.inputs.iter().map(|&val| self.graph.known(val)).collect();
        let all = cuts(node, &inputs, &dims).ok_or_else(|| {
            node.refuse("its bounds depend on what the network is given, or its step is below −1")
        })?;
        let view = self.view(x)?;
        let all: Vec<_> = all.into_iter().filter(|cut| cut.step != 1 || cut.size != dims[cut.dim]).collect();
        if let [cut] = &all[..]
            && cut.step == 1
            && cut.dim + 1 == dims.len()
            && view.keeps_last()
            && !view.repeats()
            && let Some((sizes, labels, at)) = self.slices_beside(node, x, &dims)
        {
            let parts = self.packed(&view, &sizes, &labels);
            let part = Self::part_of(&view, &parts[at]);
            self.set(node, 0, part);
            return Ok(());
        }
        let mut value = self.settle(&view)?;
        let mut sizes = dims;
        for cut in all {
            value = if cut.step == -1 {
                let made = self.b.pointwise(value, Op::Flip { dim: cut.dim });
                self.made(made, sizes.clone());
                made
            } else if let (Some(start), true) =
                (cut.start.fixed(), cut.end.fixed().is_some() || cut.end == sizes[cut.dim])
            {
                // An end beyond the size is the size.
                let end = cut.end.fixed().map_or(usize::MAX, |end| end as usize);
                self.b.slice(value, cut.dim, start as usize, end, cut.step as usize)
            } else if cut.step == 1 {
                let mut places = self.positions(&cut.size)?;
                if cut.start != Size::Fixed(0) {
                    let start =
                        self.known(&Known::scalar(crate::onnx::known::Elem::Int(cut.start.clone())))?;
                    places = self.b.arithmetic(Op::Add, &[places, start]);
                    self.made(places, vec![cut.size.clone()]);
                }
                self.b.gather(value, places, cut.dim)
            } else {
                return Err(
                    node.refuse("its bounds are sizes of inputs and its step is not 1, allowed one of both")
                );
            };
            sizes[cut.dim] = cut.size.clone();
            self.made(value, sizes.clone());
        }
        let view = View::whole(value, &sizes);
        self.set(node, 0, view);
        Ok(())
    }

    /// The slices of a value that cut its last dimension into parts without a gap: sizes, labels, and which is `node`.
    fn slices_beside(
        &self,
        node: &Node<'_>,
        x: Val,
        dims: &[Size],
    ) -> Option<(Vec<i64>, Vec<String>, usize)> {
        let last = dims.len() - 1;
        let mut found: Vec<(i64, i64, Option<Val>)> = Vec::new();
        for &reader in self.plan.readers.get(&x)? {
            let other = &self.graph.nodes[reader];
            let inputs: Vec<_> = other.inputs.iter().map(|&val| self.graph.known(val)).collect();
            let Some(all) = cuts(other, &inputs, dims) else { continue };
            if let [cut] = &all[..]
                && cut.dim == last
                && cut.step == 1
            {
                found.push((cut.start.fixed()?, cut.end.fixed()?, other.output(0)));
            }
        }
        found.sort_by_key(|&(start, end, _)| (start, end));
        let is_whole = found.first()?.0 == 0
            && found.last()?.1 == dims[last].fixed()?
            && found.windows(2).all(|pair| pair[0].1 == pair[1].0);
        let at = found.iter().position(|(_, _, output)| *output == node.output(0))?;
        let labels = found.iter().enumerate().map(|(at, (_, _, output))| self.label(*output, at)).collect();
        let sizes = found.iter().map(|(start, end, _)| end - start).collect::<Vec<_>>();
        (is_whole && sizes.len() > 1).then(|| (sizes, Self::distinct(labels), at))
    }

    pub(super) fn gather(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, at) = (Self::input(node, 0)?, Self::input(node, 1)?);
        let dims = self.dims(x).to_vec();
        let dim = dim_of(node.int("axis").unwrap_or(0), dims.len()).filter(|&dim| dim < dims.len());
        let Some(dim) = dim else { return Err(node.refuse("its axis is none of its input's")) };
        // A matrix of the file is a table.
        if dim == 0
            && let Some(Origin::Runs(runs)) = &self.graph.facts[x].origin
            && let [(raw, 0, n)] = runs[..]
            && self.graph.facts[x].kind == Kind::Real
            && self.graph.raws[raw].shape.len() == 2
            && n == self.graph.raws[raw].len()
            && dims.len() == 2
            && (self.graph.facts[x].known.is_none() || self.depends(at))
        {
            return self.embedding(node, raw);
        }
        let view = self.view(x)?;
        let index = self
            .graph
            .known(Some(at))
            .filter(|known| known.shape.is_empty())
            .and_then(|known| known.single()?.size()?.fixed());
        let size = dims[dim].fixed();
        if let Some(index) = index {
            if let Some(size) = size
                && !(-size..size).contains(&index)
            {
                return Err(node.refuse(format!("its index is {index}, allowed -{size} to {}", size - 1)));
            }
            if let Some(part) = self.part(node, x, &view, dim, index) {
                self.set(node, 0, part);
                return Ok(());
            }
            let value = self.settle(&view)?;
            let mut sizes = dims.clone();
            sizes.remove(dim);
            if dim == 1 {
                let made = self.b.select(value, index);
                return self.answer(node, made);
            }
            let start = if index < 0 { size.map(|size| size + index) } else { Some(index) };
            if let Some(start) = start {
                let cut = self.b.slice(value, dim, start as usize, start as usize + 1, 1);
                let mut single = dims;
                single[dim] = Size::ONE;
                let cut = self.made(cut, single);
                let view = self.reshaped(&cut, &sizes)?;
                self.set(node, 0, view);
                return Ok(());
            }
        }
        let (value, at) = (self.settle(&view)?, self.value(at)?);
        let made = self.b.gather(value, at, dim);
        self.answer(node, made)
    }

    fn depends(&self, at: Val) -> bool {
        self.graph.facts[at].known.is_none()
    }

    /// One of the parts that a projection's outputs are packed of, where a dimension counts them.
    fn part(&mut self, node: &Node<'_>, x: Val, view: &View, dim: usize, index: i64) -> Option<View> {
        let [atom] = view.dims[dim][..] else { return None };
        let last = view.base_dims.last()?.clone();
        let n = view.atoms[atom].fixed()?;
        let place = last.iter().position(|own| *own == atom)?;
        let is_linear = self.b.maker(view.base).is_some_and(|op| matches!(op, Op::Linear { .. }));
        if view.repeats() || !is_linear || last.len() < 2 {
            return None;
        }
        let at = dim_of(index, n as usize)?;
        let labels: Vec<String> = (0..n as usize).map(|part| self.label_beside(node, x, part, n)).collect();
        let labels = Self::distinct(labels);
        let whole = view.size(&last)?.fixed()?;
        let (rest_before, rest_after) = (&last[..place], &last[place + 1..]);
        let part = if place == 0 {
            let parts = self.packed(view, &vec![whole / n; n as usize], &labels);
            parts[at].clone()
        } else {
            let heads = view.size(rest_before)?.fixed()?;
            let size = view.size(rest_after)?.fixed()?;
            let key = (view.base, vec![-heads, n, size]);
            let parts = if let Some(parts) = self.cuts.get(&key) {
                parts.clone()
            } else {
                let names: Vec<&str> = labels.iter().map(String::as_str).collect();
                let head = Head { count: heads as usize, dim: size as usize };
                let values = self.b.split_in_heads(view.base, head, &names);
                let mut own = self.sizes[&view.base].clone();
                *own.last_mut()? = Size::Fixed(heads * size);
                let views: Vec<View> =
                    values.into_iter().map(|value| self.made(value, own.clone())).collect();
                self.cuts.insert(key, views.clone());
                views
            };
            parts[at].clone()
        };
        // The part's last dimension is made of the pieces that are left.
        let mut seen = view.onto(part.base);
        *seen.base_dims.last_mut()? = [rest_before, rest_after].concat();
        seen.dims.remove(dim);
        Some(seen)
    }

    /// The label of a part by what is gathered beside.
    fn label_beside(&self, node: &Node<'_>, x: Val, part: usize, n: i64) -> String {
        let readers = self.plan.readers.get(&x).map_or(&[][..], Vec::as_slice);
        let found = readers.iter().map(|&reader| &self.graph.nodes[reader]).find(|other| {
            let index = self.graph.known(other.input(1)).and_then(|known| known.single()?.size()?.fixed());
            other.op == "Gather"
                && other.int("axis") == node.int("axis")
                && index.and_then(|index| dim_of(index, n as usize)) == Some(part)
        });
        self.label(found.and_then(|other| other.output(0)), part)
    }

    /// Elements at indices of several dimensions.
    pub(super) fn gather_nd(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, at) = (Self::input(node, 0)?, Self::input(node, 1)?);
        if node.int("batch_dims").unwrap_or(0) != 0 {
            return Err(node.refuse("it has batch_dims, allowed none"));
        }
        let (dims, places) = (self.dims(x).to_vec(), self.dims(at).to_vec());
        let depth = places.last().and_then(Size::fixed).unwrap_or(0) as usize;
        let wide = self.value(at)?;
        // Each index times the steps of its dimension, summed.
        let mut sum: Option<ValueId> = None;
        let outer = places[..places.len() - 1].to_vec();
        for dim in 0..depth {
            let mut single = outer.clone();
            single.push(Size::ONE);
            let part = self.b.slice(wide, places.len() - 1, dim, dim + 1, 1);
            self.made(part, single);
            let mut part = self.reshape(part, &outer)?;
            let step = product(&dims[dim + 1..depth]).ok_or_else(|| node.refuse("its input is too large"))?;
            if step != Size::ONE {
                let step = self.known(&Known::scalar(crate::onnx::known::Elem::Int(step)))?;
                part = self.b.arithmetic(Op::Mul, &[part, step]);
                self.made(part, outer.clone());
            }
            sum = Some(match sum {
                None => part,
                Some(all) => {
                    let all = self.b.arithmetic(Op::Add, &[all, part]);
                    self.made(all, outer.clone());
                    all
                }
            });
        }
        let Some(sum) = sum else { return Err(node.refuse("its indices have no dimension")) };
        let n = product(&dims[..depth]).ok_or_else(|| node.refuse("its input is too large"))?;
        let flat = [&[n][..], &dims[depth..]].concat();
        let value = self.value(x)?;
        let value = self.reshape(value, &flat)?;
        let made = self.b.gather(value, sum, 0);
        self.answer(node, made)
    }

    /// Several numbers made one.
    pub(super) fn reduce(&mut self, node: &Node<'_>, by: Reduction) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let axes = match node.input(1) {
            Some(axes) => self.graph.known(Some(axes)).and_then(Known::ints),
            None => node.ints("axes"),
        };
        let rank = self.dims(x).len();
        let over = crate::onnx::fold::reduced_dims(node, axes, rank)
            .ok_or_else(|| node.refuse("its axes are not known"))?;
        let keep = node.int("keepdims").unwrap_or(1) == 1;
        let value = self.value(x)?;
        let is_space = rank > 2 && over.iter().copied().eq(2..rank);
        if by == Reduction::Mean && is_space {
            let made = self.b.pool(value, epoch0_net::Pool::GlobalMean);
            let mut sizes = self.dims(x)[..2].to_vec();
            sizes.resize(rank, Size::ONE);
            let view = self.made(made, sizes);
            let to = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
            let view = self.reshaped(&view, &to)?;
            self.set(node, 0, view);
            return Ok(());
        }
        let made = match (by, &over[..], keep) {
            (Reduction::Mean, [dim], false) => self.b.mean(value, *dim),
            _ => self.b.reduce(value, by, &over, keep),
        };
        self.answer(node, made)
    }
}

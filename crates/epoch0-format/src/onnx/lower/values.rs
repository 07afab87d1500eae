//! Values that no node makes in a run: constants, parameters, sizes.

use std::sync::Arc;

use epoch0_net::{Constant, ConstantData, Extent, Op, Reduction, ValueId};

use super::{Lower, OnnxFault, View};
use crate::onnx::graph::{Origin, Val};
use crate::onnx::known::{Elem, Kind, Known};
use crate::onnx::names::is_param_name;
use crate::onnx::size::Size;
use crate::onnx::store::Order;
use crate::read::convert_f64;

impl Lower<'_, '_> {
    /// A value of the graph.
    pub(super) fn view(&mut self, val: Val) -> Result<View, OnnxFault> {
        if let Some(view) = self.views.get(&val) {
            return Ok(view.clone());
        }
        let fact = &self.graph.facts[val];
        let view = if fact.kind == Kind::Real
            && let Some(Origin::Runs(runs)) = &fact.origin
            && let [(raw, 0, n)] = runs[..]
            && n == self.graph.raws[raw].len()
            && is_param_name(&self.graph.raws[raw].name)
        {
            let role = self.role_of(val);
            let value = self.parameter_value(raw, role);
            let sizes: Vec<Size> = self.sizes[&value].clone();
            let view = View::whole(value, &sizes);
            self.reshaped(&view, &fact.dims.clone())?
        } else if let Some(known) = &fact.known {
            let value = self.known(&known.clone())?;
            View::whole(value, &fact.dims.clone())
        } else if let Some(origin) = fact.origin.clone() {
            self.stored_value(val, &origin)?
        } else {
            return Err(OnnxFault::Weights(format!(
                "a value of sizes {:?} is read before it is made",
                fact.dims
            )));
        };
        self.views.insert(val, view.clone());
        Ok(view)
    }

    /// A known array as a value.
    pub(super) fn known(&mut self, known: &Known) -> Result<ValueId, OnnxFault> {
        let sizes = known.shape.iter().map(|&size| Size::Fixed(size as i64)).collect();
        let data = match known.kind() {
            Kind::Real => ConstantData::Real(
                known.data.iter().map(|elem| elem.real().unwrap_or(f64::NAN)).collect::<Arc<[_]>>(),
            ),
            Kind::Bool => ConstantData::Bool(
                known.data.iter().map(|elem| elem.truth().unwrap_or(false)).collect::<Arc<[_]>>(),
            ),
            Kind::Index => match known.ints() {
                Some(ints) => ConstantData::Index(ints.into()),
                None => return self.size_value(known),
            },
        };
        let value = self.b.constant(Constant { shape: known.shape.clone(), data });
        self.made(value, sizes);
        Ok(value)
    }

    /// Sizes as integers of a run: n is the last of `0, 1, …, n − 1`, and one more.
    fn size_value(&mut self, known: &Known) -> Result<ValueId, OnnxFault> {
        let mut parts = Vec::new();
        for elem in known.data.iter() {
            let part = match elem {
                Elem::Int(Size::Fixed(value)) => self.known(&Known::list([Size::Fixed(*value)]))?,
                Elem::Int(size) => {
                    let positions = self.positions(size)?;
                    let last = self.b.reduce(positions, Reduction::Max, &[0], true);
                    let one = self.known(&Known::list([Size::ONE]))?;
                    self.b.arithmetic(Op::Add, &[last, one])
                }
                _ => return Err(OnnxFault::Weights("sizes are mixed with numbers".to_owned())),
            };
            self.made(part, vec![Size::ONE]);
            parts.push(part);
        }
        let value = if parts.len() == 1 { parts[0] } else { self.b.concat(&parts, 0) };
        self.made(value, vec![Size::Fixed(parts.len() as i64)]);
        let shape: Vec<_> = known.shape.iter().map(|&size| Size::Fixed(size as i64)).collect();
        self.reshape(value, &shape)
    }

    /// `0, 1, …, n − 1`.
    pub(super) fn positions(&mut self, n: &Size) -> Result<ValueId, OnnxFault> {
        let value = match (n.fixed(), self.places.get(n)) {
            (Some(n), _) => self.b.positions(&[], Extent::Fixed(n.max(0) as usize)),
            (None, Some(&(value, dim))) => self.b.positions(&[value], Extent::Like { input: 0, dim }),
            (None, None) => {
                return Err(OnnxFault::Weights(format!(
                    "positions up to {n:?}, a size that no value of the network has"
                )));
            }
        };
        self.made(value, vec![n.clone()]);
        Ok(value)
    }

    /// Elements of the file that are no parameter.
    fn stored_value(&mut self, val: Val, origin: &Origin) -> Result<View, OnnxFault> {
        let fact = &self.graph.facts[val];
        match origin {
            Origin::Transposed(raw) => {
                let whole = Origin::Runs(vec![(*raw, 0, self.graph.raws[*raw].len())]);
                let sizes: Vec<Size> = fact.dims.iter().rev().cloned().collect();
                let view = self.runs_value(&whole, &sizes, fact.kind)?;
                Ok(view.transposed(&[1, 0]))
            }
            runs @ Origin::Runs(_) => self.runs_value(runs, &fact.dims.clone(), fact.kind),
        }
    }

    fn runs_value(&mut self, origin: &Origin, sizes: &[Size], kind: Kind) -> Result<View, OnnxFault> {
        let Origin::Runs(runs) = origin else {
            return Err(OnnxFault::Weights("a matrix is turned twice".to_owned()));
        };
        // Parts of a parameter are cut out of it, so that it is drawn and written as a whole.
        if let [(raw, start, n)] = runs[..]
            && kind == Kind::Real
            && is_param_name(&self.graph.raws[raw].name)
        {
            let role = if self.graph.raws[raw].shape.len() > 1 {
                epoch0_net::Role::Weight
            } else {
                epoch0_net::Role::Bias
            };
            let all = self.graph.raws[raw].len();
            let value = self.parameter_value(raw, role);
            let shape = self.sizes[&value].clone();
            if n == all {
                return self.reshaped(&View::whole(value, &shape), sizes);
            }
            let inner = all / self.graph.raws[raw].shape[0].max(1);
            if inner > 0 && start % inner == 0 && n % inner == 0 {
                let cut = self.b.slice(value, 0, start / inner, (start + n) / inner, 1);
                let mut cut_sizes = shape;
                cut_sizes[0] = Size::Fixed((n / inner) as i64);
                self.made(cut, cut_sizes.clone());
                return self.reshaped(&View::whole(cut, &cut_sizes), sizes);
            }
        }
        let mut real = Vec::new();
        let mut ints = Vec::new();
        for &(raw, start, n) in runs {
            let raw = &self.graph.raws[raw];
            let width = raw.dtype.bytes();
            let bytes = (self.bytes)(raw);
            let bytes = bytes.get(start * width..(start + n) * width).unwrap_or(&[]);
            if raw.dtype.is_float() {
                let at = real.len();
                real.resize(at + n, 0.0);
                convert_f64(raw.dtype, bytes, &mut real[at..]);
            } else {
                ints.extend(bytes.chunks_exact(width).map(|chunk| {
                    let negative = chunk.last().is_some_and(|byte| byte & 0x80 != 0)
                        && raw.dtype != epoch0_num::Dtype::U8;
                    let mut all = if negative { [0xff; 8] } else { [0; 8] };
                    all[..width].copy_from_slice(chunk);
                    i64::from_le_bytes(all)
                }));
            }
        }
        let shape: Option<Vec<usize>> =
            sizes.iter().map(|size| usize::try_from(size.fixed()?).ok()).collect();
        let data = match kind {
            Kind::Real => ConstantData::Real(real.into()),
            Kind::Index => ConstantData::Index(ints.into()),
            Kind::Bool => ConstantData::Bool(ints.into_iter().map(|value| value != 0).collect()),
        };
        let value = self.b.constant(Constant { shape: shape.unwrap_or_default(), data });
        Ok(self.made(value, sizes.to_vec()))
    }

    /// A whole tensor of the file as a parameter's value.
    pub(super) fn parameter_value(&mut self, raw: usize, role: epoch0_net::Role) -> ValueId {
        let tensor = &self.graph.raws[raw];
        let (shape, order) = (tensor.shape.clone(), Order::Runs(vec![(raw, 0, tensor.len())]));
        let name = self.parameter(raw, order, shape.clone(), &format!("tensor.{raw}"));
        let value = self.b.param_named(&name, &shape, role);
        self.store_type(&name);
        self.made(value, shape.iter().map(|&size| Size::Fixed(size as i64)).collect());
        value
    }
}

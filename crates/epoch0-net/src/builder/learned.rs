//! Learned functions, and maps whose weights are signed powers of two.

use std::collections::BTreeMap;

use epoch0_num::rational::{DENOMINATOR, NUMERATOR, Rational};

use super::Builder;
use crate::{NetError, Op, ParamId, Role, Share, Shift, ValueId};

impl Builder {
    /// A rational function of each number, one for each of `groups` groups of the last dimension's features: parameters
    /// `NAME.weight_numerator` and `NAME.weight_denominator`, with a row for each group or one for all.
    pub fn rational(
        &mut self,
        x: ValueId,
        name: &str,
        groups: usize,
        share: Share,
        start: &Rational,
    ) -> ValueId {
        let width = self.size(x, -1).unwrap_or(0);
        if groups == 0 || !width.is_multiple_of(groups) {
            self.attribute(name, "groups", groups, format!("a divisor of {width} features"));
            return x;
        }
        if start.numerator.iter().chain(&start.denominator).any(|c| !c.is_finite()) {
            self.attribute(name, "coefficients", "not finite", "finite numbers");
            return x;
        }
        let mut table = |part: &str, is_shared: bool, n: usize| {
            let name = format!("{name}.weight_{part}");
            let axes = [if is_shared { 1 } else { groups }, n].map(|size| self.axes.fresh(Some(size)));
            for (axis, what) in axes.into_iter().zip(["groups", "powers"]) {
                self.axes.name(axis, 1, &format!("{name}.{what}"));
            }
            self.declare(&name, Role::Coefficient, axes.to_vec())
        };
        let numerator = table("numerator", share == Share::Numerator, NUMERATOR);
        let denominator = table("denominator", share == Share::Denominator, DENOMINATOR);
        self.unary(x, Op::Rational { numerator, denominator, groups, start: Box::new(start.clone()) })
    }

    /// Makes the weights of linear maps and convolutions signed powers of two of so many bits (2 to 4), all but those of
    /// the first map and of readouts, once the network is finished (see [`Shift`]). Gates are called `WEIGHT_t1`,
    /// `WEIGHT_t2`, ….
    pub fn shift_maps(&mut self, bits: u32) {
        self.shift = Some(bits);
    }

    pub(super) fn shifts(&mut self) -> BTreeMap<ParamId, Shift> {
        let Some(bits) = self.shift else { return BTreeMap::new() };
        let place = self.name.clone();
        if !(2..=4).contains(&bits) {
            self.attribute(&place, "shift", bits, "2 to 4 bits");
            return BTreeMap::new();
        }
        let maps = self.nodes.iter().filter_map(|node| match node.op {
            Op::Linear { weight, .. } | Op::Conv { weight, .. } => Some(weight),
            _ => None,
        });
        let maps: Vec<ParamId> = maps.collect();
        let inner = maps.iter().skip(1).filter(|&&weight| {
            Some(&weight) != maps.first() && self.params[weight.0 as usize].role == Role::Weight
        });
        let inner: std::collections::BTreeSet<ParamId> = inner.copied().collect();
        if inner.is_empty() {
            self.refuse(NetError::Attribute {
                place,
                name: "shift",
                got: bits.to_string(),
                allowed: "networks with a map between the first one and the readout".to_owned(),
            });
        }
        let gates_of = |weight: ParamId| {
            let param = self.params[weight.0 as usize].clone();
            let names = (1..1usize << (bits - 1)).map(|gate| format!("{}_t{gate}", param.name));
            let gates = names.map(|name| self.declare(&name, Role::Weight, param.axes.clone())).collect();
            (weight, Shift { bits, gates })
        };
        inner.into_iter().map(gates_of).collect()
    }
}

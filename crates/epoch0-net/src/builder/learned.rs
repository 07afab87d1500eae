//! Learned functions, and maps whose weights are made of what is learned in their place.

use std::collections::{BTreeMap, BTreeSet};

use epoch0_num::rational::{DENOMINATOR, NUMERATOR, Rational};

use super::Builder;
use crate::{Made, Mixture, NetError, Op, ParamId, Role, Share, Shift, ValueId};

/// What weights of maps are made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Maps {
    /// Signs and gates of so many bits.
    Shifts(u32),
    /// So many templates.
    Mixtures(usize),
}

/// Templates of a weight.
const TEMPLATES: std::ops::RangeInclusive<usize> = 1..=64;

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
        self.maps = Some(Maps::Shifts(bits));
    }

    /// Makes the weights of linear maps and convolutions sums of so many templates (1 to 64), once the network is finished
    /// (see [`Mixture`]). Tables that are read as maps too stay as they are. Templates are called WEIGHT, `WEIGHT_t2`,
    /// `WEIGHT_t3`, …, their coefficients `WEIGHT_mix`.
    pub fn mix_maps(&mut self, templates: usize) {
        self.maps = Some(Maps::Mixtures(templates));
    }

    /// Weights of linear maps and convolutions, in the order of the network.
    fn maps(&self) -> Vec<ParamId> {
        let maps = self.nodes.iter().filter_map(|node| match node.op {
            Op::Linear { weight, .. } | Op::Conv { weight, .. } => Some(weight),
            _ => None,
        });
        maps.collect()
    }

    pub(super) fn made(&mut self) -> BTreeMap<ParamId, Made> {
        match self.maps {
            None => BTreeMap::new(),
            Some(Maps::Shifts(bits)) => self.shifts(bits),
            Some(Maps::Mixtures(templates)) => self.mixtures(templates),
        }
    }

    fn shifts(&mut self, bits: u32) -> BTreeMap<ParamId, Made> {
        let place = self.name.clone();
        if !(2..=4).contains(&bits) {
            self.attribute(&place, "shift", bits, "2 to 4 bits");
            return BTreeMap::new();
        }
        let maps = self.maps();
        let inner = maps.iter().skip(1).filter(|&&weight| {
            Some(&weight) != maps.first() && self.params[weight.0 as usize].role == Role::Weight
        });
        let inner: BTreeSet<ParamId> = inner.copied().collect();
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
            (weight, Made::Shift(Shift { bits, gates }))
        };
        inner.into_iter().map(gates_of).collect()
    }

    fn mixtures(&mut self, n: usize) -> BTreeMap<ParamId, Made> {
        let place = self.name.clone();
        if !TEMPLATES.contains(&n) {
            self.attribute(&place, "templates", n, "1 to 64 of them");
            return BTreeMap::new();
        }
        let is_map = |weight: &ParamId| self.params[weight.0 as usize].role.is_matrix();
        let maps: BTreeSet<ParamId> = self.maps().into_iter().filter(is_map).collect();
        if maps.is_empty() {
            self.attribute(&place, "templates", n, "networks with a linear map or a convolution");
        }
        let made_of = |weight: ParamId| {
            let param = self.params[weight.0 as usize].clone();
            let more = (2..=n).map(|nth| format!("{}_t{nth}", param.name));
            let more: Vec<ParamId> =
                more.map(|name| self.declare(&name, param.role, param.axes.clone())).collect();
            let templates = std::iter::once(weight).chain(more).collect();
            let axis = self.axes.fresh(Some(n));
            self.axes.name(axis, 1, &format!("{}.templates", param.name));
            let coefficients = self.declare(&format!("{}_mix", param.name), Role::Coefficient, vec![axis]);
            (weight, Made::Mixture(Mixture { templates, coefficients }))
        };
        maps.into_iter().map(made_of).collect()
    }
}

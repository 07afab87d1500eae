//! What a network learns besides plain weights: coefficients of rational functions, and weights that are signed powers
//! of two.

use epoch0_num::rational::{DENOMINATOR, NUMERATOR};

use crate::{Network, Node, Op, ParamId};

/// How a weight is made of what is learned in its place: `sign · 2^S` (Li et al. 2022).
///
/// The parameter that the operation names is learned for the sign, which is 1 where it is at least 0. The gates are
/// parameters of the same shape; with `g_j` = 1 where gate j is above 0 and 0 elsewhere, `S_1 = g_1` and
/// `S_j = (S_(j-1) + 1) g_j`, and S is the last: from 0 to as many as there are gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Bits of a weight: 2, 3 or 4.
    pub bits: u32,
    /// `2^(bits - 1) - 1` of them.
    pub gates: Vec<ParamId>,
}

/// Which coefficients of rational functions all groups share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// None.
    None,
    /// Those of the numerator, as in the authors' networks.
    Numerator,
    /// Those of the denominator.
    Denominator,
}

impl Network {
    /// What makes a weight a signed power of two, where something does.
    pub fn shift_of(&self, weight: ParamId) -> Option<&Shift> {
        self.shifts.get(&weight)
    }

    /// Weights that are signed powers of two, with what makes them that.
    pub fn shifts(&self) -> impl Iterator<Item = (ParamId, &Shift)> {
        self.shifts.iter().map(|(weight, shift)| (*weight, shift))
    }

    /// Whether a parameter is learned in the place of a weight that is a signed power of two.
    pub fn is_latent(&self, param: ParamId) -> bool {
        self.shifts().any(|(weight, shift)| weight == param || shift.gates.contains(&param))
    }

    /// Parameters that an operation uses: those that it names, and gates behind its weight.
    pub fn params_of(&self, node: &Node) -> Vec<ParamId> {
        let mut params = node.op.params();
        let gates = params.first().and_then(|weight| self.shift_of(*weight));
        params.extend(gates.into_iter().flat_map(|shift| shift.gates.iter().copied()));
        params
    }

    /// What a parameter of coefficients starts as where nothing else is said, in its order; `None` for others.
    pub fn coefficients(&self, param: ParamId) -> Option<Vec<f64>> {
        self.nodes.iter().find_map(|node| {
            let Op::Rational { numerator, denominator, start, .. } = &node.op else { return None };
            let row: &[f64] = match param {
                _ if param == *numerator => &start.numerator,
                _ if param == *denominator => &start.denominator,
                _ => return None,
            };
            Some(row.repeat(self.param(param).len() / row.len()))
        })
    }
}

/// Names of the coefficients of a parameter of a rational function: `a0` to `a5` or `b1` to `b4`.
pub(crate) fn labels(is_numerator: bool) -> impl Iterator<Item = String> {
    let (letter, first, n) = if is_numerator { ('a', 0, NUMERATOR) } else { ('b', 1, DENOMINATOR) };
    (first..first + n).map(move |power| format!("{letter}{power}"))
}

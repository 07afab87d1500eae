//! What a network learns besides plain weights: coefficients of rational functions, and what weights are made of: signs and
//! exponents, or templates that are mixed.

use epoch0_num::rational::{DENOMINATOR, NUMERATOR};

use crate::{Network, Node, Op, ParamId, Spiking};

/// How a weight is made of what is learned in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is a signed power of two.
    Shift(Shift),
    /// It is a sum of templates.
    Mixture(Mixture),
}

impl Made {
    /// Parameters that lie as the weight does, besides the one that the operation names.
    fn alike(&self) -> &[ParamId] {
        match self {
            Self::Shift(shift) => &shift.gates,
            Self::Mixture(mixture) => &mixture.templates[1..],
        }
    }

    /// All parameters besides the one that the operation names.
    fn more(&self) -> impl Iterator<Item = ParamId> {
        let coefficients = match self {
            Self::Shift(_) => None,
            Self::Mixture(mixture) => Some(mixture.coefficients),
        };
        self.alike().iter().copied().chain(coefficients)
    }
}

/// How a weight is made of templates: `Σ_j α_j T_j` (Pham et al. 2023). All of it is learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// The templates, of the weight's shape. The first is the parameter that the operation names.
    pub templates: Vec<ParamId>,
    /// Their coefficients, in this order.
    pub coefficients: ParamId,
}

/// How a weight is made a signed power of two, `sign · 2^S` (Li et al. 2022).
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

impl Shift {
    /// The word of a weight, from what is learned for its sign and of its gates in order: the exponent, and above it a bit
    /// that says that it is negative.
    pub fn code(&self, sign: f64, gates: impl IntoIterator<Item = f64>) -> u8 {
        let exponent = gates.into_iter().fold(0u8, |before, gate| if gate > 0.0 { before + 1 } else { 0 });
        exponent | u8::from(sign < 0.0) << (self.bits - 1)
    }

    /// The weight of a word.
    pub fn value(&self, code: u8) -> f64 {
        let negative = 1u8 << (self.bits - 1);
        let size = f64::from(1u32 << (code & (negative - 1)));
        if code & negative == 0 { size } else { -size }
    }

    /// `E[w²]` where signs and gates are as often above 0 as below: what a sum of such weights multiplies second moments by,
    /// for each input. Exponent k has probability `2^-(k+1)`, the largest twice that.
    pub fn second_moment(&self) -> f64 {
        let largest = f64::from(1u32 << self.gates.len());
        (largest - 1.0) / 2.0 + largest
    }
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
    /// What a weight is made of, where it is not learned as it is.
    pub fn made_of(&self, weight: ParamId) -> Option<&Made> {
        self.made.get(&weight)
    }

    /// What makes a weight a signed power of two, where something does.
    pub fn shift_of(&self, weight: ParamId) -> Option<&Shift> {
        if let Made::Shift(shift) = self.made_of(weight)? { Some(shift) } else { None }
    }

    /// Weights that are signed powers of two, with what makes them that.
    pub fn shifts(&self) -> impl Iterator<Item = (ParamId, &Shift)> {
        self.made.keys().filter_map(|&weight| Some((weight, self.shift_of(weight)?)))
    }

    /// The templates that a weight is made of, where it is.
    pub fn mixture_of(&self, weight: ParamId) -> Option<&Mixture> {
        if let Made::Mixture(mixture) = self.made_of(weight)? { Some(mixture) } else { None }
    }

    /// Weights that are made of templates, with those.
    pub fn mixtures(&self) -> impl Iterator<Item = (ParamId, &Mixture)> {
        self.made.keys().filter_map(|&weight| Some((weight, self.mixture_of(weight)?)))
    }

    /// Whether a parameter is learned in the place of a weight that is made of it and others.
    pub fn is_latent(&self, param: ParamId) -> bool {
        self.made.iter().any(|(weight, made)| *weight == param || made.more().any(|more| more == param))
    }

    /// The weight in whose place a parameter that lies as it does is learned; the parameter itself where there is none.
    pub fn weight_of(&self, param: ParamId) -> ParamId {
        let found = self.made.iter().find(|(_, made)| made.alike().contains(&param));
        found.map_or(param, |(weight, _)| *weight)
    }

    /// Parameters that an operation uses: those that it names, and the others that its weight is made of.
    pub fn params_of(&self, node: &Node) -> Vec<ParamId> {
        let mut params = node.op.params();
        let made = params.first().and_then(|weight| self.made_of(*weight));
        params.extend(made.into_iter().flat_map(Made::more));
        params
    }

    /// What a parameter of coefficients starts as where nothing else is said, in its order; `None` for others. Those of
    /// templates have squares whose sum is 1: of templates that are drawn alike, any such mixture has their variance.
    pub fn coefficients(&self, param: ParamId) -> Option<Vec<f64>> {
        if let Some((_, mixture)) = self.mixtures().find(|(_, mixture)| mixture.coefficients == param) {
            let n = mixture.templates.len();
            return Some(vec![1.0 / (n as f64).sqrt(); n]);
        }
        let of_neurons = self.neurons().find_map(|(threshold, leak)| match param {
            _ if param == threshold => Some(vec![Spiking::THRESHOLD]),
            _ if param == leak => Some(vec![1.0]),
            _ => None,
        });
        of_neurons.or_else(|| self.rational_coefficients(param))
    }

    fn rational_coefficients(&self, param: ParamId) -> Option<Vec<f64>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_weights_and_back() {
        for (bits, second_moment) in [(2u32, 2.5), (3, 11.5), (4, 191.5)] {
            let n_gates = (1u32 << (bits - 1)) - 1;
            let shift = Shift { bits, gates: (0..n_gates).map(ParamId).collect() };
            assert_eq!(shift.second_moment(), second_moment);
            let mut moment = 0.0;
            let mut seen = std::collections::BTreeSet::new();
            for open in 0..1u32 << n_gates {
                for sign in [-1e-3, 0.0] {
                    let gates = (0..n_gates).map(|gate| if open >> gate & 1 == 1 { 1e-3 } else { 0.0 });
                    let code = shift.code(sign, gates);
                    let value = shift.value(code);
                    assert!(code < 1 << bits && (value < 0.0) == (sign < 0.0), "{code} is {value}");
                    seen.insert((code, value as i64));
                    moment += value * value / f64::from(2u32 << n_gates);
                }
            }
            assert_eq!(moment, second_moment);
            assert_eq!(seen.len(), 1 << bits, "every word is a weight of its own");
        }
    }
}

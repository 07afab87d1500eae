//! Sizes that only a run decides: whole numbers and polynomials of named sizes.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// A term: which symbols it multiplies, sorted, and by what factor.
type Term = (Vec<u32>, i64);

/// Terms that a size may have; longer ones get a name of their own.
const MOST_TERMS: usize = 8;

/// A whole number, or a polynomial with whole coefficients of sizes that are not known (each at least 1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Size {
    Fixed(i64),
    /// Sorted by symbols, no coefficient zero, and not constant.
    Poly(Rc<Vec<Term>>),
}

impl Size {
    pub(super) const ONE: Self = Self::Fixed(1);

    fn terms(&self) -> Vec<Term> {
        match self {
            Self::Fixed(0) => Vec::new(),
            Self::Fixed(value) => vec![(Vec::new(), *value)],
            Self::Poly(terms) => terms.to_vec(),
        }
    }

    fn of(mut terms: Vec<Term>) -> Option<Self> {
        terms.sort();
        let mut merged: Vec<Term> = Vec::new();
        for (symbols, factor) in terms {
            match merged.last_mut() {
                Some(last) if last.0 == symbols => last.1 = last.1.checked_add(factor)?,
                _ => merged.push((symbols, factor)),
            }
        }
        merged.retain(|(_, factor)| *factor != 0);
        match &merged[..] {
            [] => Some(Self::Fixed(0)),
            [(symbols, factor)] if symbols.is_empty() => Some(Self::Fixed(*factor)),
            terms
                if terms.len() > MOST_TERMS
                    || terms.iter().any(|(symbols, _)| symbols.len() > MOST_TERMS) =>
            {
                None
            }
            _ => Some(Self::Poly(Rc::new(merged))),
        }
    }

    pub(super) fn symbol(id: u32) -> Self {
        Self::Poly(Rc::new(vec![(vec![id], 1)]))
    }

    pub(super) fn fixed(&self) -> Option<i64> {
        match self {
            Self::Fixed(value) => Some(*value),
            Self::Poly(_) => None,
        }
    }

    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        Self::of([self.terms(), other.terms()].concat())
    }

    pub(super) fn neg(&self) -> Option<Self> {
        self.mul(&Self::Fixed(-1))
    }

    pub(super) fn sub(&self, other: &Self) -> Option<Self> {
        self.add(&other.neg()?)
    }

    pub(super) fn mul(&self, other: &Self) -> Option<Self> {
        if let (Self::Fixed(a), Self::Fixed(b)) = (self, other) {
            return a.checked_mul(*b).map(Self::Fixed);
        }
        let mut terms = Vec::new();
        for (left, a) in self.terms() {
            for (right, b) in other.terms() {
                let mut symbols = [&left[..], &right].concat();
                symbols.sort_unstable();
                terms.push((symbols, a.checked_mul(b)?));
            }
        }
        Self::of(terms)
    }

    /// The quotient, where it is exact whatever the symbols are. The divisor has one term, or is the dividend's twin.
    pub(super) fn div(&self, other: &Self) -> Option<Self> {
        if self == other && *self != Self::Fixed(0) {
            return Some(Self::ONE);
        }
        let [(symbols, factor)] = &other.terms()[..] else { return None };
        let mut terms = Vec::new();
        for (mut own, a) in self.terms() {
            for symbol in symbols {
                let at = own.iter().position(|other| other == symbol)?;
                own.remove(at);
            }
            if a.checked_rem(*factor)? != 0 {
                return None;
            }
            terms.push((own, a.checked_div(*factor)?));
        }
        Self::of(terms)
    }

    /// A bound from below, with every symbol at least 1; `None` where there is none.
    pub(super) fn least(&self) -> Option<i64> {
        match self {
            Self::Fixed(value) => Some(*value),
            Self::Poly(terms) => {
                let mut least = 0i64;
                for (symbols, factor) in terms.iter() {
                    if *factor < 0 && !symbols.is_empty() {
                        return None;
                    }
                    least = least.checked_add(*factor)?;
                }
                Some(least)
            }
        }
    }

    /// The value with numbers in the place of symbols.
    pub(super) fn at(&self, value: impl Fn(u32) -> Option<i64>) -> Option<i64> {
        let mut sum = 0i64;
        for (symbols, factor) in self.terms() {
            let mut product = factor;
            for symbol in symbols {
                product = product.checked_mul(value(symbol)?)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "{value}"),
            Self::Poly(terms) => {
                for (at, (symbols, factor)) in terms.iter().enumerate() {
                    let plus = if at > 0 { " + " } else { "" };
                    write!(f, "{plus}{factor}")?;
                    for symbol in symbols {
                        write!(f, "·n{symbol}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Product of sizes.
pub(super) fn product<'a>(sizes: impl IntoIterator<Item = &'a Size>) -> Option<Size> {
    sizes.into_iter().try_fold(Size::ONE, |all, size| all.mul(size))
}

/// The symbols of a network.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    by_key: HashMap<String, u32>,
    /// What a symbol was when the network was exported, where that is known.
    pub exported: Vec<Option<i64>>,
}

impl Symbols {
    /// The symbol of that meaning.
    pub(super) fn of(&mut self, key: String, exported: Option<i64>) -> Size {
        let next = self.exported.len() as u32;
        let id = *self.by_key.entry(key).or_insert(next);
        if id == next {
            self.exported.push(exported);
        }
        Size::symbol(id)
    }

    /// What a size was when the network was exported.
    pub(super) fn exported(&self, size: &Size) -> Option<i64> {
        size.at(|symbol| self.exported.get(symbol as usize).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_that_of_polynomials() {
        let mut symbols = Symbols::default();
        let (b, s) = (symbols.of("b".into(), Some(2)), symbols.of("s".into(), None));
        let windows = b.mul(&Size::Fixed(64)).unwrap();
        assert_eq!(windows.div(&b), Some(Size::Fixed(64)));
        assert_eq!(windows.div(&Size::Fixed(16)), b.mul(&Size::Fixed(4)));
        assert_eq!(windows.div(&s), None);
        assert_eq!(symbols.exported(&windows), Some(128));
        let more = s.add(&Size::Fixed(3)).unwrap();
        assert_eq!(more.least(), Some(4));
        assert_eq!(more.sub(&s), Some(Size::Fixed(3)));
        assert_eq!(s.sub(&b).unwrap().least(), None);
        assert_eq!(symbols.of("b".into(), None), b);
    }
}

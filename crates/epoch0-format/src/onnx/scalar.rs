//! Operators on elements that are known.

use super::known::Elem;
use super::size::Size;

/// An operator on two elements.
pub(super) fn arithmetic(op: &str, a: &Elem, b: &Elem) -> Option<Elem> {
    if let (Elem::Int(a), Elem::Int(b)) = (a, b) {
        return of_sizes(op, a, b);
    }
    if let (Elem::Bool(a), Elem::Bool(b)) = (a, b) {
        let truth = match op {
            "And" | "BitwiseAnd" | "Mul" | "Min" => *a && *b,
            "Or" | "BitwiseOr" | "Add" | "Max" => *a || *b,
            "Xor" => a != b,
            "Equal" => a == b,
            _ => return None,
        };
        return Some(Elem::Bool(truth));
    }
    let (a, b) = (a.real()?, b.real()?);
    Some(match op {
        "Add" => Elem::Real(a + b),
        "Sub" => Elem::Real(a - b),
        "Mul" => Elem::Real(a * b),
        "Div" => Elem::Real(a / b),
        "Pow" => Elem::Real(libm::pow(a, b)),
        "Min" => Elem::Real(a.min(b)),
        "Max" => Elem::Real(a.max(b)),
        "Equal" => Elem::Bool(a == b),
        "Less" => Elem::Bool(a < b),
        "LessOrEqual" => Elem::Bool(a <= b),
        "Greater" => Elem::Bool(a > b),
        "GreaterOrEqual" => Elem::Bool(a >= b),
        _ => return None,
    })
}

fn of_sizes(op: &str, a: &Size, b: &Size) -> Option<Elem> {
    // The sign of a difference, where it is the same whatever the symbols are.
    let difference = || a.sub(b);
    let least = |size: Option<Size>| size.and_then(|size| size.least());
    let less = || {
        if least(difference()).is_some_and(|least| least >= 0) {
            Some(false)
        } else {
            least(b.sub(a)).filter(|&least| least >= 1).map(|_| true)
        }
    };
    let more = || {
        if least(b.sub(a)).is_some_and(|least| least >= 0) {
            Some(false)
        } else {
            least(difference()).filter(|&least| least >= 1).map(|_| true)
        }
    };
    Some(match op {
        "Add" => Elem::Int(a.add(b)?),
        "Sub" => Elem::Int(difference()?),
        "Mul" => Elem::Int(a.mul(b)?),
        "Div" => match (a.fixed(), b.fixed()) {
            (Some(a), Some(b)) => Elem::int(a.checked_div(b)?),
            _ => Elem::Int(a.div(b)?),
        },
        "Mod" => match (a.fixed(), b.fixed()) {
            (Some(a), Some(b)) => Elem::int(a.checked_rem(b)?.checked_add(b)?.checked_rem(b)?),
            _ if a.div(b).is_some() => Elem::int(0),
            _ => return None,
        },
        "Pow" => Elem::int(a.fixed()?.checked_pow(u32::try_from(b.fixed()?).ok()?)?),
        "Min" => Elem::Int(if less()? { a.clone() } else { b.clone() }),
        "Max" => Elem::Int(if less()? { b.clone() } else { a.clone() }),
        "Equal" => {
            // Different sizes may still be equal in a run, unless one is always larger.
            let apart =
                |size: Option<Size>| size.and_then(|size| size.least()).is_some_and(|least| least >= 1);
            if a != b && !apart(difference()) && !apart(b.sub(a)) {
                return None;
            }
            Elem::Bool(a == b)
        }
        "Less" => Elem::Bool(less()?),
        "GreaterOrEqual" => Elem::Bool(!less()?),
        "Greater" => Elem::Bool(more()?),
        "LessOrEqual" => Elem::Bool(!more()?),
        "And" | "BitwiseAnd" => Elem::int(a.fixed()? & b.fixed()?),
        "Or" | "BitwiseOr" => Elem::int(a.fixed()? | b.fixed()?),
        _ => return None,
    })
}

/// A function of one element.
pub(super) fn unary(op: &str, x: &Elem) -> Option<Elem> {
    if let Elem::Int(size) = x {
        return Some(match op {
            "Neg" => Elem::Int(size.neg()?),
            "Abs" if size.least().is_some_and(|least| least >= 0) => x.clone(),
            "Abs" => Elem::int(size.fixed()?.checked_abs()?),
            "Sign" => Elem::int(size.fixed()?.signum()),
            _ => return None,
        });
    }
    if let Elem::Bool(truth) = x {
        return (op == "Not").then_some(Elem::Bool(!truth));
    }
    let x = x.real()?;
    let value = match op {
        "Neg" => -x,
        "Abs" => x.abs(),
        "Sign" => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        "Sqrt" => x.sqrt(),
        "Reciprocal" => 1.0 / x,
        "Exp" => libm::exp(x),
        "Log" => libm::log(x),
        "Sin" => libm::sin(x),
        "Cos" => libm::cos(x),
        "Floor" => x.floor(),
        "Ceil" => x.ceil(),
        "Round" => x.round_ties_even(),
        "Tanh" => libm::tanh(x),
        "Erf" => libm::erf(x),
        "Sigmoid" => 1.0 / (1.0 + libm::exp(-x)),
        "Relu" => x.max(0.0),
        "IsNaN" => return Some(Elem::Bool(x.is_nan())),
        "IsInf" => return Some(Elem::Bool(x.is_infinite())),
        _ => return None,
    };
    Some(Elem::Real(value))
}

//! A root between two points.

/// A zero of `f` between `low` and `high`, at which `f` has opposite signs, to a few units in the last place: false
/// position with halved ends (the Illinois rule), and bisection where that is slow.
///
/// # Errors
/// What `f` fails with.
pub(super) fn between<E>(
    mut f: impl FnMut(f64) -> Result<f64, E>,
    mut low: (f64, f64),
    mut high: (f64, f64),
    tol: f64,
) -> Result<f64, E> {
    let mut last = 0.0;
    for step in 0..200 {
        if low.1 == 0.0 {
            return Ok(low.0);
        }
        if high.1 == 0.0 {
            return Ok(high.0);
        }
        let width = high.0 - low.0;
        if width.abs() <= tol * low.0.abs().max(high.0.abs()) {
            break;
        }
        let mut x = high.0 - high.1 * width / (high.1 - low.1);
        let inside = (x > low.0.min(high.0)) && (x < low.0.max(high.0));
        if step % 4 == 3 || !inside {
            x = 0.5 * (low.0 + high.0);
            if x == low.0 || x == high.0 {
                break;
            }
        }
        let y = f(x)?;
        if (y > 0.0) == (high.1 > 0.0) {
            high = (x, y);
            if last > 0.0 {
                low.1 *= 0.5;
            }
            last = 1.0;
        } else {
            low = (x, y);
            if last < 0.0 {
                high.1 *= 0.5;
            }
            last = -1.0;
        }
    }
    Ok(0.5 * (low.0 + high.0))
}

/// As [`between`], to all digits that doubles have.
///
/// # Errors
/// What `f` fails with.
pub(crate) fn between_closely<E>(
    f: impl FnMut(f64) -> Result<f64, E>,
    low: (f64, f64),
    high: (f64, f64),
) -> Result<f64, E> {
    between(f, low, high, 1e-14)
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn roots_are_found() {
        let cube = |x: f64| Ok::<_, ()>(x * x * x - 2.0);
        let root = between(cube, (0.0, -2.0), (100.0, 999_998.0), 1e-15).unwrap();
        assert!((root - 2f64.cbrt()).abs() < 1e-14, "{root}");
        let flat = |x: f64| Ok::<_, ()>(if x < 0.3 { -1e-9 } else { 1e9 });
        let step = between(flat, (0.0, -1e-9), (1.0, 1e9), 1e-12).unwrap();
        assert!((step - 0.3).abs() < 1e-11, "{step}");
    }
}

//! Colors of matrices. Series take theirs from the page's style sheet.

/// Steps that a matrix's values are rounded to.
pub(super) const STEPS: usize = 24;

/// Viridis at equal distances (S. van der Walt, N. Smith 2015; public domain): its lightness rises evenly, whatever
/// colors one sees.
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 45, 123],
    [59, 82, 139],
    [44, 114, 142],
    [33, 145, 140],
    [40, 174, 128],
    [94, 201, 98],
    [173, 220, 48],
    [253, 231, 37],
];

/// Color of a step from small to large.
pub(super) fn rising(step: usize) -> String {
    let at = step as f64 / (STEPS - 1) as f64 * (VIRIDIS.len() - 1) as f64;
    let below = (at.floor() as usize).min(VIRIDIS.len() - 2);
    let part = at - below as f64;
    let mix = |channel: usize| {
        let (low, high) = (f64::from(VIRIDIS[below][channel]), f64::from(VIRIDIS[below + 1][channel]));
        (low + part * (high - low)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

/// Color of a step from one extreme over the middle to the other.
pub(super) fn parting(step: usize) -> String {
    let at = step as f64 / (STEPS - 1) as f64 * 2.0 - 1.0;
    let name = if at < 0.0 { "--cool" } else { "--warm" };
    format!("color-mix(in oklab,var({name}) {:.0}%,var(--middle))", at.abs() * 100.0)
}

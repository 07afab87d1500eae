//! Numbers in the names of laws.

/// Six digits behind the point, without zeros at the end.
pub(crate) fn short(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

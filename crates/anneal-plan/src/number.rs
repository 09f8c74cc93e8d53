//! Numbers in words.

/// A number with three digits.
pub(crate) fn short(number: f64) -> String {
    let rounded: f64 = format!("{number:.2e}").parse().unwrap_or(number);
    match rounded.abs() {
        size if size == 0.0 || (1e-3..1e5).contains(&size) => format!("{rounded}"),
        _ => format!("{rounded:e}"),
    }
}

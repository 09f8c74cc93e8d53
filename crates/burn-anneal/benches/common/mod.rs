//! Helpers for the benches that compare variants of an update.

/// The number of times each variant is timed. `cargo test` runs benches too, to check that they start.
pub fn rounds() -> usize {
    if std::env::args().any(|argument| argument == "--bench") { 41 } else { 1 }
}

/// The median, of at least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

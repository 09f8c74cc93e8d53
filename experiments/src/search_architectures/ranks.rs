//! Rank correlation.

/// Spearman's rank correlation of two lists; equal values share the mean of their ranks.
pub fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let (one, other) = (ranks(one), ranks(other));
    let mean = (one.len() as f64 - 1.0) / 2.0;
    let product = |one: &[f64], other: &[f64]| -> f64 {
        one.iter().zip(other).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    product(&one, &other) / (product(&one, &one) * product(&other, &other)).sqrt()
}

/// Ranks from 0; NaN counts as infinite.
fn ranks(values: &[f64]) -> Vec<f64> {
    let known = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| known(**other) < known(*value)).count();
        let equal = values.iter().filter(|other| known(**other) == known(*value)).count();
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_alone_counts_and_ties_share_their_ranks() {
        assert_eq!(correlation(&[1.0, 2.0, 30.0], &[-5.0, 0.0, f64::NAN]), 1.0);
        assert_eq!(correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        assert_eq!(ranks(&[4.0, f64::INFINITY, f64::NAN, 1.0]), [1.0, 2.5, 2.5, 0.0]);
        // d = (0, -1, 1, 0), so 1 − 6 · 2 / (4 · 15).
        assert!((correlation(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]) - 0.8).abs() < 1e-12);
    }
}

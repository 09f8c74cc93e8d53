//! The standard normal distribution, including its far tail.

use std::f64::consts::TAU;

/// ln Φ(x) = ln P(N(0, 1) ≤ x), with a relative error of Φ(x) of about 1e-13.
pub fn ln_cdf(x: f64) -> f64 {
    if x > 0.0 {
        return (-ln_cdf(-x).exp()).ln_1p();
    }
    let ln_density = -0.5 * (x * x + TAU.ln());
    match x > -3.0 {
        true => (0.5 - ln_density.exp() * series(-x)).ln(),
        false => ln_density + mills_ratio(-x).ln(),
    }
}

/// (Φ(x) − ½) / φ(x) = Σ x^(2k+1) / (2k+1)!!, for 0 ≤ x ≤ 3.
fn series(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term > 1e-17 * sum {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    sum
}

/// Φ(−x) / φ(x) = 1/(x + 1/(x + 2/(x + 3/(x + …)))), for x ≥ 3; the further out, the fewer terms.
fn mills_ratio(x: f64) -> f64 {
    let terms = 6 + (300.0 / (x * x)) as u32;
    (1..=terms).rev().fold(x, |rest, k| x + f64::from(k) / rest).recip()
}

#[cfg(test)]
mod tests {
    use super::ln_cdf;

    #[test]
    fn values_are_those_of_fifty_digits() {
        // mpmath 1.3: log(ncdf(x)) with 50 digits.
        let expected = [
            (-1e4, -50_000_010.129_278_91),
            (-300.0, -45_006.622_732_118_66),
            (-10.0, -53.231_285_150_512_47),
            (-3.5, -8.366_065_308_344_092),
            (-3.0, -6.607_726_221_510_349),
            (-2.99, -6.574_941_701_748_696),
            (-1.0, -1.841_021_645_009_263_6),
            (0.0, -std::f64::consts::LN_2),
            (0.5, -0.368_946_415_288_656_4),
            (3.5, -0.000_232_656_141_376_804_55),
            (8.0, -6.220_960_574_271_786e-16),
        ];
        for (x, expected) in expected {
            let found = ln_cdf(x);
            assert!((found / expected - 1.0).abs() < 2e-13, "{x}: {found}, not {expected}");
        }
        assert_eq!(ln_cdf(f64::INFINITY), 0.0);
        assert_eq!(ln_cdf(f64::NEG_INFINITY), f64::NEG_INFINITY);
    }
}

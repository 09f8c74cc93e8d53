//! Curve peeling.

use super::super::check::finite;
use super::check_curve;
use crate::OutOfRange;

/// A · e^(−kt).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialDecay {
    /// A, the value at time 0.
    pub amplitude: f64,
    /// k, per unit of time; below 0 if the curve rises.
    pub rate: f64,
}

impl ExponentialDecay {
    /// The value at a time.
    pub fn at(&self, time: f64) -> f64 {
        self.amplitude * (-self.rate * time).exp()
    }
}

/// A sum of two exponential decays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoExponentials {
    /// What is left at late times.
    pub slow: ExponentialDecay,
    /// What is beyond it at early times.
    pub fast: ExponentialDecay,
}

impl TwoExponentials {
    /// The value at a time.
    pub fn at(&self, time: f64) -> f64 {
        self.slow.at(time) + self.fast.at(time)
    }
}

/// Peels a curve into two exponential decays.
///
/// ```text
/// y(t) ≈ A₁ e^(−k₁t) + A₂ e^(−k₂t),  k₁ < k₂
/// slow: the line through ln y at the times from `slow_from` on
/// fast: the line through ln(y − slow) at the times before `fast_until`
/// ```
///
/// Both lines are of least squares. Assumes that the fast decay is over at `slow_from`, and that both
/// amplitudes are above 0: the error of the slow decay is of the order of A₂/A₁ · e^(−(k₂ − k₁) slow_from).
/// Noise is larger in the logarithm of a small value, so `fast_until` must come before the rest of the slow
/// decay is lost in it.
///
/// Source: Perl 1960, "A method for curve-fitting by exponential functions".
///
/// ```
/// use anneal_plan::theory::peel;
///
/// let loss = |t: f64| 0.5 * (-0.01 * t).exp() + 2.0 * (-1.0 * t).exp();
/// let curve: Vec<(f64, f64)> = (0..200).map(|t| (f64::from(t), loss(f64::from(t)))).collect();
/// let found = peel(&curve, 10.0, 40.0)?;
/// assert!((found.slow.rate - 0.01).abs() < 1e-9 && (found.slow.amplitude - 0.5).abs() < 1e-9);
/// assert!((found.fast.rate - 1.0).abs() < 1e-9 && (found.fast.amplitude - 2.0).abs() < 1e-9);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// Points that are not finite or not in order of time; a `fast_until` after `slow_from`; fewer than two
/// points for a line; a value, or a rest that the slow decay leaves, that is not above 0.
pub fn peel(
    curve: &[(f64, f64)],
    fast_until: f64,
    slow_from: f64,
) -> Result<TwoExponentials, OutOfRange> {
    check_curve(curve)?;
    finite("slow_from", slow_from)?;
    let allowed = format!("at most `slow_from`, {slow_from:?}");
    OutOfRange::require("fast_until", fast_until, fast_until <= slow_from, allowed)?;
    let before = |end: f64| curve.partition_point(|&(time, _)| time < end);
    let slow = fit("late", &curve[before(slow_from)..])?;
    let early = curve[..before(fast_until)].iter();
    let rest: Vec<(f64, f64)> = early.map(|&(time, value)| (time, value - slow.at(time))).collect();
    Ok(TwoExponentials { slow, fast: fit("early", &rest)? })
}

/// The exponential through points, by least squares of the logarithm.
fn fit(part: &str, points: &[(f64, f64)]) -> Result<ExponentialDecay, OutOfRange> {
    let count = points.len() as f64;
    OutOfRange::require(format!("{part} points"), points.len(), count >= 2.0, "at least 2")?;
    for &(time, value) in points {
        let field = format!("{part} value at {time:?}");
        OutOfRange::require(field, value, value > 0.0, "above 0: it decays to 0")?;
    }
    let mean_time = points.iter().map(|&(time, _)| time).sum::<f64>() / count;
    let mean_log = points.iter().map(|&(_, value)| value.ln()).sum::<f64>() / count;
    let (mut products, mut squares) = (0.0, 0.0);
    for &(time, value) in points {
        products += (time - mean_time) * (value.ln() - mean_log);
        squares += (time - mean_time).powi(2);
    }
    let rate = -products / squares;
    Ok(ExponentialDecay { amplitude: (mean_log + rate * mean_time).exp(), rate })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Normals, assert_close, assert_mean};
    use super::*;

    const EXACT: TwoExponentials = TwoExponentials {
        slow: ExponentialDecay { amplitude: 0.7, rate: 0.02 },
        fast: ExponentialDecay { amplitude: 3.0, rate: 0.9 },
    };

    fn curve(points: u32) -> Vec<(f64, f64)> {
        (0..points).map(|i| f64::from(i) * 0.25).map(|time| (time, EXACT.at(time))).collect()
    }

    /// From 50 on, nothing of the fast decay is left in an f64; before 5, its rest is exact to 1e-13.
    #[test]
    fn two_decays_are_found_where_the_fast_one_is_over() {
        let found = peel(&curve(400), 5.0, 50.0).unwrap();
        assert_close(found.slow.rate, EXACT.slow.rate, 1e-12);
        assert_close(found.slow.amplitude, EXACT.slow.amplitude, 1e-12);
        assert_close(found.fast.rate, EXACT.fast.rate, 1e-11);
        assert_close(found.fast.amplitude, EXACT.fast.amplitude, 1e-11);
        assert_close(found.at(3.0), EXACT.at(3.0), 1e-11);
    }

    /// What is left of the fast decay changes the logarithms by at most
    /// (A₂/A₁) e^(−(k₂ − k₁) slow_from), and so it changes the line at the mean time, which is their mean.
    #[test]
    fn the_error_falls_with_the_rest_of_the_fast_decay() {
        let mut last = f64::INFINITY;
        for slow_from in [4.0, 8.0, 12.0, 16.0] {
            let late: Vec<(f64, f64)> =
                curve(400).into_iter().filter(|&(time, _)| time >= slow_from).collect();
            let slow = fit("late", &late).unwrap();
            let middle = late.iter().map(|&(time, _)| time).sum::<f64>() / late.len() as f64;
            let error = (slow.at(middle) / EXACT.slow.at(middle)).ln().abs();
            let bound = 3.0 / 0.7 * f64::exp(-0.88 * slow_from);
            assert!(error <= bound && error < last, "{slow_from}: {error}, {bound}");
            last = error;
        }
    }

    /// 1,000 curves with relative noise of 1 %: the mean rate is within 4 standard errors, of about 0.01 %.
    #[test]
    fn noise_does_not_bias_the_slow_rate() {
        let mut normals = Normals::new(8);
        let mut rate = || {
            let noisy: Vec<(f64, f64)> =
                curve(400).iter().map(|&(t, y)| (t, y * (0.01 * normals.next()).exp())).collect();
            let late = noisy.partition_point(|&(time, _)| time < 50.0);
            fit("late", &noisy[late..]).unwrap().rate
        };
        let rates: Vec<f64> = (0..1_000).map(|_| rate()).collect();
        assert_mean(&rates, 0.02);
    }

    #[test]
    fn arguments_are_checked() {
        let field = |curve: &[(f64, f64)], until, from| peel(curve, until, from).unwrap_err().field;
        assert_eq!(field(&[(0.0, 1.0), (0.0, 1.0)], 1.0, 1.0), "time");
        assert_eq!(field(&[(0.0, f64::NAN)], 1.0, 1.0), "value");
        assert_eq!(field(&curve(10), 0.0, f64::NAN), "slow_from");
        assert_eq!(field(&curve(10), f64::NAN, 1.0), "fast_until");
        assert_eq!(field(&curve(10), 1.1, 1.0), "fast_until");
        assert_eq!(field(&curve(10), 1.0, 99.0), "late points");
        assert_eq!(field(&curve(10), 0.0, 1.0), "early points");
        let falls_below_0 = [(0.0, 3.0), (1.0, 2.0), (2.0, 1.0), (3.0, -1.0)];
        assert_eq!(field(&falls_below_0, 2.0, 2.0), "late value at 3.0");
        let starts_below_its_tail = [(0.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 1.0)];
        assert_eq!(field(&starts_below_its_tail, 2.0, 2.0), "early value at 0.0");
    }
}

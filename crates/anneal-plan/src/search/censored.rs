//! Handles values that are known only as a bound.

use super::gaussian_process::{GaussianProcess, Kernel, Posterior};
use crate::OutOfRange;
use std::f64::consts::TAU;

/// Fits a process to values, some of which are only lower bounds, and returns it with estimates of these:
///
/// ```text
/// y_i ← E[y_i | the other y, y_i ≥ bound_i] = m + s φ(α) / (1 − Φ(α)),   α = (bound_i − m) / s
/// m = y_i − w_i / C_ii,   s² = 1 / C_ii,   w = C y,   C = (K + noise·I)⁻¹
/// ```
///
/// It starts at the bounds and updates one after another until they converge; then it refits the
/// hyperparameters, and so on.
///
/// Sources: Schmee and Hahn 1979; Hutter, Hoos and Leyton-Brown 2013; m and s: Rasmussen and Williams 2006, 5.12.
pub(super) fn fit(
    kernel: Kernel,
    x: &[Vec<f64>],
    mut y: Vec<f64>,
    is_bound: &[bool],
) -> Result<Posterior, OutOfRange> {
    let mut process = GaussianProcess::fit(kernel, x, &y)?;
    let censored: Vec<usize> = (0..x.len()).filter(|i| is_bound[*i]).collect();
    if !censored.is_empty() {
        let bounds = y.clone();
        impute(&process, x, &mut y, &bounds, &censored)?;
        process = process.refit(x, &y)?;
        impute(&process, x, &mut y, &bounds, &censored)?;
    }
    process.observe(x, &y)
}

const SWEEPS: usize = 50;

fn impute(
    process: &GaussianProcess,
    x: &[Vec<f64>],
    y: &mut [f64],
    bounds: &[f64],
    censored: &[usize],
) -> Result<(), OutOfRange> {
    let precision = process.observe(x, y)?.precision();
    for _ in 0..SWEEPS {
        let mut largest: f64 = 0.0;
        for &i in censored {
            let weight: f64 = precision.column(i).iter().zip(&*y).map(|(c, y)| c * y).sum();
            let variance = 1.0 / precision[(i, i)];
            let expected = mean_above(bounds[i], y[i] - weight * variance, variance.sqrt());
            largest = largest.max((expected - y[i]).abs());
            y[i] = expected;
        }
        if largest < 1e-4 {
            break;
        }
    }
    Ok(())
}

/// The mean of a normal distribution truncated below at a bound.
fn mean_above(bound: f64, mean: f64, std: f64) -> f64 {
    // Far out, the difference would be lost to rounding.
    (mean + std * hazard((bound - mean) / std)).max(bound)
}

/// φ(a) / (1 − Φ(a)).
fn hazard(a: f64) -> f64 {
    let density = (-0.5 * a * a).exp() / TAU.sqrt();
    if a > 3.0 {
        // Laplace's continued fraction.
        return (1..=60).rev().fold(a, |below, k| a + f64::from(k) / below);
    }
    if a < -9.0 {
        return density;
    }
    // Φ(a) = ½ + φ(a) (a + a³/3 + a⁵/(3·5) + …): Marsaglia 2004.
    let (mut term, mut sum) = (a, a);
    for k in 1..200 {
        term *= a * a / f64::from(2 * k + 1);
        sum += term;
    }
    density / (0.5 - density * sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Values from mpmath.
    #[test]
    fn the_hazard_is_exact() {
        let expected = [
            (-9.5, 1.007793539430001e-20),
            (-8.0, 5.052271083536895e-15),
            (-3.0, 0.004437839042125664),
            (-0.5, 0.5091604338370335),
            (0.0, 0.7978845608028654),
            (1.0, 1.525135276160981),
            (2.5, 2.822744797663907),
            (2.999, 3.2821692298557137),
            (3.001, 3.284028111475833),
            (8.0, 8.121368112236112),
            (40.0, 40.02496884720726),
            (1000.0, 1000.000999998),
        ];
        for (a, hazard_of_a) in expected {
            let error: f64 = hazard(a) / hazard_of_a - 1.0;
            assert!(error.abs() < 1e-9, "{a}: {error:e}");
        }
    }

    /// E[y | y ≥ b] in a simulation, within five standard errors.
    #[test]
    fn the_mean_above_a_bound_is_that_of_a_simulation() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || {
            let (u, v): (f64, f64) = (random.random(), random.random());
            2.0 + 3.0 * (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
        };
        let draws: Vec<f64> = (0..200_000).map(|_| normal()).collect();
        for bound in [-4.0, 2.0, 5.0] {
            let above: Vec<f64> = draws.iter().copied().filter(|y| *y >= bound).collect();
            let n = above.len() as f64;
            let mean = above.iter().sum::<f64>() / n;
            let variance = above.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
            assert!((mean_above(bound, 2.0, 3.0) - mean).abs() < 5.0 * (variance / n).sqrt());
        }
    }

    #[test]
    fn far_bounds_are_no_obstacle() {
        assert_eq!(mean_above(0.0, 1e6, 1.0), 1e6);
        assert!((mean_above(1e6, 0.0, 1.0) - 1e6).abs() < 1e-3);
        assert!(mean_above(1e6, 0.0, 1e-9) >= 1e6);
    }

    /// A line whose upper half is cut off at 0.5: bounds alone give a plateau; their expectations keep
    /// rising.
    #[test]
    fn what_is_cut_off_is_expected_above_its_bound() {
        let x: Vec<Vec<f64>> = (0..16).map(|i| vec![f64::from(i) / 15.0]).collect();
        let line: Vec<f64> = x.iter().map(|x| 3.0 * x[0] - 1.5).collect();
        let is_bound: Vec<bool> = line.iter().map(|y| *y > 0.5).collect();
        let cut: Vec<f64> = line.iter().map(|y| y.min(0.5)).collect();
        let posterior = fit(Kernel::Rbf, &x, cut.clone(), &is_bound).unwrap();
        let plateau = fit(Kernel::Rbf, &x, cut, &[false; 16]).unwrap();
        // A line is smoother than a bent one.
        let scale = |posterior: &Posterior| posterior.process().length_scales()[0];
        assert!(scale(&posterior) > 1.2 * scale(&plateau));
        for (x, y) in x.iter().zip(&line) {
            let error = |posterior: &Posterior| (posterior.at(x).mean - y).abs();
            if *y > 0.8 {
                assert!(error(&posterior) < error(&plateau), "{y}");
            } else {
                assert!(error(&posterior) < 0.1, "{y} {}", posterior.at(x).mean);
            }
        }
    }
}

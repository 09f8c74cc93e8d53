//! Relaxation spectra.

use super::super::check::positive;
use super::check_curve;
use crate::OutOfRange;
use nalgebra::{DMatrix, DVector};

/// A curve as a sum of decays with amplitudes that are not negative.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RelaxationSpectrum {
    /// The rates k_j of the grid, from slow to fast.
    pub rates: Vec<f64>,
    /// The amplitude A_j of each, at least 0.
    pub amplitudes: Vec<f64>,
    /// √Σ(y_i − Σ_j A_j e^(−k_j t_i))².
    pub residual: f64,
}

impl RelaxationSpectrum {
    /// The decays with an amplitude above 0, from slow to fast: rate and amplitude.
    pub fn lines(&self) -> impl Iterator<Item = (f64, f64)> {
        let all = self.rates.iter().copied().zip(self.amplitudes.iter().copied());
        all.filter(|&(_, amplitude)| amplitude > 0.0)
    }

    /// The spectral gap: the neighbouring lines with the largest ratio of their rates, slow and fast.
    /// `None` for fewer than two lines.
    pub fn gap(&self) -> Option<(f64, f64)> {
        let rates: Vec<f64> = self.lines().map(|(rate, _)| rate).collect();
        let pairs = rates.windows(2).map(|pair| (pair[0], pair[1]));
        pairs.max_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)))
    }
}

/// The relaxation spectrum of a curve of (time, value) on a grid of `count` rates from `slowest` to
/// `fastest`, evenly spaced in the logarithm.
///
/// ```text
/// minimize Σ_i (y_i − Σ_j A_j e^(−k_j t_i))²  over A_j ≥ 0
/// ```
///
/// By the active-set method of Lawson and Hanson. Rates that differ by less than a factor of about 2 are
/// hardly told apart, whatever the method: a line between two rates of the grid appears as both. Every
/// completely monotonic curve is such a sum or a limit of them, so a large residual says that the curve is
/// none, or that the grid is too short.
///
/// Source: Lawson and Hanson 1974, "Solving least squares problems", chapter 23; Provencher 1982, "CONTIN".
///
/// ```
/// use anneal_plan::theory::relaxation_spectrum;
///
/// let curve: Vec<(f64, f64)> =
///     (0..100).map(|i| 0.1 * f64::from(i)).map(|t| (t, (-t).exp() + 2.0 * (-0.01 * t).exp())).collect();
/// let spectrum = relaxation_spectrum(&curve, 1e-3, 10.0, 5)?;
/// let lines: Vec<(f64, f64)> = spectrum.lines().filter(|line| line.1 > 1e-6).collect();
/// assert!(lines.len() == 2 && (lines[0].1 - 2.0).abs() < 1e-6);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// Points that are not finite or not in order of time, a time below 0, fewer points than rates or fewer
/// than two rates, or rates that are not above 0 and in order.
pub fn relaxation_spectrum(
    curve: &[(f64, f64)],
    slowest: f64,
    fastest: f64,
    count: usize,
) -> Result<RelaxationSpectrum, OutOfRange> {
    check_curve(curve)?;
    let first = curve.first().map_or(0.0, |point| point.0);
    OutOfRange::require("time", first, first >= 0.0, "at least 0")?;
    positive("slowest", slowest)?;
    positive("fastest", fastest)?;
    let allowed = format!("above the slowest, {slowest:?}");
    OutOfRange::require("fastest", fastest, fastest > slowest, allowed)?;
    let enough = (2..=curve.len()).contains(&count);
    OutOfRange::require("count", count, enough, "at least 2, at most the number of points")?;
    let step = (fastest / slowest).ln() / (count - 1) as f64;
    let rates: Vec<f64> = (0..count).map(|j| slowest * (step * j as f64).exp()).collect();
    let decays = DMatrix::from_fn(curve.len(), count, |i, j| (-rates[j] * curve[i].0).exp());
    let values = DVector::from_iterator(curve.len(), curve.iter().map(|point| point.1));
    let amplitudes = not_negative_least_squares(&decays, &values);
    let residual = (values - decays * &amplitudes).norm();
    Ok(RelaxationSpectrum { rates, amplitudes: amplitudes.as_slice().to_vec(), residual })
}

/// The x ≥ 0 with the least ‖Ax − b‖.
fn not_negative_least_squares(matrix: &DMatrix<f64>, values: &DVector<f64>) -> DVector<f64> {
    let mut solution = DVector::zeros(matrix.ncols());
    let mut free: Vec<usize> = vec![];
    let rounding = 1e-14 * matrix.norm() * values.norm();
    // Each pass lowers the sum of squares, or ends; in practice there are about as many as rates.
    for _ in 0..10 * matrix.ncols() {
        let slope = matrix.tr_mul(&(values - matrix * &solution));
        let bound = (0..matrix.ncols()).filter(|j| !free.contains(j) && slope[*j] > rounding);
        let Some(steepest) = bound.max_by(|&a, &b| slope[a].total_cmp(&slope[b])) else { break };
        free.push(steepest);
        loop {
            let target = least_squares(matrix, values, &free);
            // The largest step to the target that keeps all at least 0.
            let steps = free.iter().filter(|&&j| target[j] <= 0.0).map(|&j| {
                let fall = solution[j] - target[j];
                if fall > 0.0 { solution[j] / fall } else { 0.0 }
            });
            let Some(step) = steps.min_by(f64::total_cmp) else {
                solution = target;
                break;
            };
            solution += step * (&target - &solution);
            free.retain(|&j| target[j] > 0.0 || solution[j] > 1e-15 * solution.amax());
            (0..solution.len()).filter(|j| !free.contains(j)).for_each(|j| solution[j] = 0.0);
        }
    }
    solution
}

/// The least squares over the columns `free`; 0 elsewhere.
fn least_squares(matrix: &DMatrix<f64>, values: &DVector<f64>, free: &[usize]) -> DVector<f64> {
    let mut all = DVector::zeros(matrix.ncols());
    let decomposed = matrix.select_columns(free).svd(true, true);
    let smallest = 1e-14 * decomposed.singular_values.max();
    if let Ok(found) = decomposed.solve(values, smallest) {
        free.iter().zip(found.iter()).for_each(|(&j, &value)| all[j] = value);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Normals, assert_close};
    use super::super::mittag_leffler;
    use super::*;

    fn curve(of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..200).map(|i| 0.05 * f64::from(i)).map(|time| (time, of(time))).collect()
    }

    /// Rates 0.01, 0.1, … 100; lines at 0.1 and 10.
    #[test]
    fn lines_on_the_grid_and_the_gap_between_them_are_found() {
        let two = curve(|t| 1.5 * (-0.1 * t).exp() + 0.5 * (-10.0 * t).exp());
        let found = relaxation_spectrum(&two, 0.01, 100.0, 5).unwrap();
        let expected = [0.0, 1.5, 0.0, 0.5, 0.0];
        for (amplitude, expected) in found.amplitudes.iter().zip(expected) {
            assert!((amplitude - expected).abs() < 1e-9, "{found:?}");
        }
        assert!(found.residual < 1e-12, "{found:?}");
        let (slow, fast) = found.gap().unwrap();
        assert_close(slow, 0.1, 1e-12);
        assert_close(fast, 10.0, 1e-12);
        let one = relaxation_spectrum(&curve(|t| (-t).exp()), 0.01, 100.0, 5).unwrap();
        assert_eq!(one.lines().filter(|line| line.1 > 1e-9).count(), 1, "{one:?}");
    }

    /// The conditions of Karush, Kuhn and Tucker: with amplitudes of at least 0, the slope is 0 at those
    /// above 0, and does not rise at the others. They are sufficient, because the problem is convex. Curves
    /// without any meaning.
    #[test]
    fn no_other_amplitudes_are_better() {
        let mut normals = Normals::new(4);
        for _ in 0..50 {
            let points: Vec<(f64, f64)> =
                (0..30).map(|i| (0.3 * f64::from(i), normals.next())).collect();
            let found = relaxation_spectrum(&points, 0.02, 20.0, 8).unwrap();
            let rest = |&(t, y): &(f64, f64)| {
                y - found
                    .lines()
                    .map(|(rate, amplitude)| amplitude * (-rate * t).exp())
                    .sum::<f64>()
            };
            for (rate, amplitude) in found.rates.iter().zip(&found.amplitudes) {
                let slope: f64 = points.iter().map(|at| rest(at) * (-rate * at.0).exp()).sum();
                assert!(*amplitude >= 0.0 && slope < 1e-9, "{rate} {amplitude} {slope}");
                assert!(*amplitude == 0.0 || slope > -1e-9, "{rate} {amplitude} {slope}");
            }
            let squares: f64 = points.iter().map(|at| rest(at).powi(2)).sum();
            assert_close(found.residual, squares.sqrt(), 1e-9);
        }
    }

    /// A power-law relaxation is completely monotonic, so a fine grid leaves little; an oscillation is not.
    #[test]
    fn only_monotonic_relaxations_have_a_spectrum() {
        let power = curve(|t| mittag_leffler(0.5, -t.sqrt()).unwrap());
        let coarse = relaxation_spectrum(&power, 1e-3, 1e3, 7).unwrap().residual;
        let fine = relaxation_spectrum(&power, 1e-3, 1e3, 25).unwrap().residual;
        assert!(fine < 0.1 * coarse, "{fine} {coarse}");
        let wave = relaxation_spectrum(&curve(f64::cos), 1e-3, 1e3, 25).unwrap().residual;
        // Of a norm of about 10.
        assert!(wave > 5.0, "{wave}");
    }

    #[test]
    fn arguments_are_checked() {
        let good = curve(|t| (-t).exp());
        let field = |curve: &[(f64, f64)], slowest, fastest, count| {
            relaxation_spectrum(curve, slowest, fastest, count).unwrap_err().field
        };
        assert_eq!(field(&good, 0.0, 1.0, 5), "slowest");
        assert_eq!(field(&good, 1.0, 1.0, 5), "fastest");
        assert_eq!(field(&good, 0.1, f64::NAN, 5), "fastest");
        assert_eq!(field(&good, 0.1, 1.0, 1), "count");
        assert_eq!(field(&good, 0.1, 1.0, 201), "count");
        assert_eq!(field(&[(-1.0, 1.0), (0.0, 1.0)], 0.1, 1.0, 2), "time");
        assert_eq!(field(&[(0.0, f64::NAN)], 0.1, 1.0, 2), "value");
    }
}

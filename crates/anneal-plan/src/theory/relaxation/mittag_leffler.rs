//! Power-law relaxation.

use super::super::check::{not_negative, positive};
use crate::OutOfRange;
use std::f64::consts::PI;

/// The relaxation of a fractional order α from 1: E_α(−(t/τ)^α).
///
/// ```text
/// d^α y/dt^α = −y/τ^α (Caputo's derivative), y(0) = 1
/// early   1 − (t/τ)^α/Γ(1 + α)        late   (t/τ)^(−α)/Γ(1 − α)
/// ```
///
/// At α = 1 it is e^(−t/τ). Below, it has no time of its own: a power law after τ, a mixture of
/// exponentials at every time scale. Source: Mainardi 2010, "Fractional calculus and waves in linear
/// viscoelasticity", chapter 3.
///
/// ```
/// use anneal_plan::theory::power_law_relaxation;
///
/// let late = |time| power_law_relaxation(time, 1.0, 0.5);
/// // Ten times later, √10 times less.
/// assert!((late(1e6)? / late(1e7)? - 10f64.sqrt()).abs() < 1e-5);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// A time below 0 or not finite, a relaxation time τ that is not above 0, or an order outside (0, 1].
pub fn power_law_relaxation(
    time: f64,
    relaxation_time: f64,
    order: f64,
) -> Result<f64, OutOfRange> {
    not_negative("time", time)?;
    positive("relaxation_time", relaxation_time)?;
    check_order(order)?;
    // The power may be infinite, and the function is 0 there.
    let power = (time / relaxation_time).powf(order);
    if power.is_infinite() { Ok(0.0) } else { mittag_leffler(order, -power) }
}

/// The Mittag-Leffler function E_α(z) = Σ zᵏ/Γ(αk + 1) of order α = `order` in (0, 1], at z ≤ 0.
///
/// ```text
/// E_α(−x) = sin(πα)/π ∫ e^(−e^u)/(2 cosh(αu − ln x) + 2 cos(πα)) du        over all u
/// ```
///
/// It falls from 1 to 0. The relative error is about 1e-14: the trapezoidal rule of an analytic function,
/// whose poles near the axis for α > 2/3 are accounted for by their residues. The cost is 400/α
/// exponentials, and no more than for α = 0.001.
///
/// Source: Gorenflo and Mainardi 1997, "Fractional calculus: integral and differential equations of
/// fractional order"; Trefethen and Weideman 2014, "The exponentially convergent trapezoidal rule".
///
/// ```
/// use anneal_plan::theory::mittag_leffler;
/// assert_eq!(mittag_leffler(1.0, -2.0)?, (-2f64).exp());
/// // e^(x²) erfc(x) at 1
/// assert!((mittag_leffler(0.5, -1.0)? - 0.427_583_576_155_807).abs() < 1e-15);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// An order outside (0, 1], or a z above 0 or not finite.
pub fn mittag_leffler(order: f64, z: f64) -> Result<f64, OutOfRange> {
    check_order(order)?;
    OutOfRange::require("z", z, z.is_finite() && z <= 0.0, "at most 0, finite")?;
    if order == 1.0 {
        return Ok(z.exp());
    }
    // 1 − x/Γ(1 + α) is 1 to an f64.
    if -z < 1e-17 {
        return Ok(1.0);
    }
    let integral = Integral::new(order, (-z).ln());
    Ok(integral.sum() + integral.tail() + integral.poles())
}

fn check_order(order: f64) -> Result<(), OutOfRange> {
    OutOfRange::require("order", order, order > 0.0 && order <= 1.0, "above 0, at most 1")
}

/// The distance of the points. The strip without growth of e^(−e^u) is π/2 wide on both sides, so the error
/// is about e^(−π²/h) = 4e-22.
const STEP: f64 = 0.2;

/// e^(−e^u) is 0 above this u.
const OVER: f64 = 6.7;

/// The size of y at which 1/cosh y is no longer seen, and −u at which e^(−e^u) is 1.
const UNSEEN: f64 = 40.0;

/// The integral in the variable u, with y = αu − ln x.
struct Integral {
    order: f64,
    log_x: f64,
    /// sin(πα).
    sine: f64,
    /// Points at (k + ½) STEP + offset: poles near the axis lie between two of them.
    offset: f64,
    first: i64,
    end: i64,
}

impl Integral {
    fn new(order: f64, log_x: f64) -> Self {
        let offset = if has_near_poles(order) { log_x / order } else { 0.0 };
        let highest = OVER.min((log_x + UNSEEN) / order);
        let lowest = if has_long_tail(order) {
            -UNSEEN
        } else {
            highest.min(log_x / order) - UNSEEN / order
        };
        Self {
            order,
            log_x,
            sine: (PI * order.min(1.0 - order)).sin(),
            offset,
            first: ((lowest - offset) / STEP).floor() as i64,
            end: ((highest - offset) / STEP).ceil() as i64,
        }
    }

    fn sum(&self) -> f64 {
        // 2 cosh y + 2 cos(πα) = 4 sinh²(y/2) + 4 sin²(π(1 − α)/2), without cancellation.
        let least = (0.5 * PI * (1.0 - self.order)).sin().powi(2);
        let value = |k: i64| {
            let u = (k as f64 + 0.5) * STEP + self.offset;
            let y = self.order * u - self.log_x;
            (-u.exp()).exp() / (4.0 * ((0.5 * y).sinh().powi(2) + least))
        };
        self.sine / PI * STEP * (self.first..self.end).map(value).sum::<f64>()
    }

    /// For a tiny order, the points before `first`, where e^(−e^u) is 1: the integral of 1/(2 cosh y + 2
    /// cos(πα)), and the first term by which the midpoint rule differs.
    fn tail(&self) -> f64 {
        if !has_long_tail(self.order) {
            return 0.0;
        }
        let (order, cosine) = (self.order, (PI * self.order).cos());
        let y = order * self.first as f64 * STEP - self.log_x;
        let integral = (self.sine * y.exp()).atan2(1.0 + cosine * y.exp()) / (PI * order);
        let slope = -y.sinh() / (2.0 * (y.cosh() + cosine).powi(2));
        let difference = if slope.is_finite() { STEP * STEP / 24.0 * order * slope } else { 0.0 };
        integral - self.sine / PI * difference
    }

    /// What the sum lacks because of the poles at y = ±iπ(1 − α).
    fn poles(&self) -> f64 {
        if !has_near_poles(self.order) {
            return 0.0;
        }
        let angle = PI * (1.0 - self.order) / self.order;
        let share = (-2.0 * PI * angle / STEP).exp();
        let size = (self.log_x / self.order).exp();
        let decay = size * angle.cos();
        // The pole's e^(−e^u) is 0 to an f64.
        if decay > 745.0 {
            return 0.0;
        }
        2.0 / self.order * (-decay).exp() * (size * angle.sin()).cos() * share / (1.0 + share)
    }
}

/// Whether the poles are in the strip of width π/2.
fn has_near_poles(order: f64) -> bool {
    order > 2.0 / 3.0
}

/// Whether the integrand is so wide that a formula replaces most points.
fn has_long_tail(order: f64) -> bool {
    order < 1e-3
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::assert_close;
    use super::*;

    /// From the power series and, at large x, the asymptotic series −Σ (−x)^(−k)/Γ(1 − αk), in 60 and more
    /// digits (by mpmath). All orders are exact in binary.
    #[test]
    fn values_are_those_of_the_series() {
        for (order, x, expected) in [
            (2f64.powi(-40), 0.5, 0.6666666666665501),
            (2f64.powi(-40), 8.0, 0.11111111111105926),
            (2f64.powi(-10), 0.75, 0.5712905474690337),
            (2f64.powi(-10), 1e6, 9.994346885033169e-7),
            (0.0078125, 0.875, 0.5322116313303942),
            (0.125, 2f64.powi(-10), 0.9989640773130332),
            (0.125, 1.5, 0.38217949846933064),
            (0.125, 1e12, 9.177238898139768e-13),
            (0.5, 1.0, 0.427583576155807),
            (0.5, 16.0, 0.03519337782493084),
            (0.625, 4.0, 0.11482709279555507),
            (0.6875, 4.0, 0.10237699306323005),
            (0.6875, 2f64.powi(-20), 0.9999989477627449),
            (0.75, 30.0, 0.009516692693117128),
            (0.875, 0.5, 0.6030606230226945),
            (0.875, 5.0, 0.040581116297528745),
            (0.875, 1e10, 1.3273264559356879e-11),
            (0.984375, 1.0, 0.3689404439802079),
            (0.984375, 50.0, 0.00032836548219922137),
            (1.0 - 2f64.powi(-20), 1.0, 0.36787950321224894),
            (1.0 - 2f64.powi(-20), 20.0, 5.542476719290933e-8),
            (1.0 - 2f64.powi(-20), 60.0, 1.6452820140730094e-8),
        ] {
            assert_close(mittag_leffler(order, -x).unwrap(), expected, 1e-14);
        }
    }

    /// At both sides of a change of the method, the function is continuous in its order.
    #[test]
    fn methods_agree_where_they_meet() {
        for x in [1e-6, 0.3, 1.0, 40.0, 1e5] {
            for border in [1e-3, 2.0 / 3.0] {
                let at = |order: f64| mittag_leffler(order, -x).unwrap();
                assert_close(at(border * (1.0 - 1e-15)), at(border * (1.0 + 1e-15)), 1e-13);
            }
        }
        // dE/dα at α = 1 is finite.
        assert_close(mittag_leffler(1.0 - f64::EPSILON, -3.0).unwrap(), (-3f64).exp(), 1e-14);
    }

    #[test]
    fn it_falls_from_1_to_0_at_every_size() {
        for order in [1e-300, 1e-5, 0.3, 0.67, 0.999, 1.0] {
            let mut last = 1.0;
            for exponent in -300..=300 {
                let found = mittag_leffler(order, -(10f64.powi(exponent))).unwrap();
                assert!((0.0..=1.0 + 1e-14).contains(&found), "{order} {exponent}: {found}");
                assert!(found <= last * (1.0 + 1e-13), "{order} {exponent}: {found} {last}");
                last = found;
            }
            assert!(last < 1e-299, "{order}: {last}");
        }
        assert_eq!(mittag_leffler(0.5, 0.0).unwrap(), 1.0);
    }

    /// Grünwald and Letnikov's derivative, whose error halves with the step.
    #[test]
    fn relaxation_solves_its_fractional_equation() {
        let (order, time, relaxation_time) = (0.6, 2.0, 1.3);
        // Σ_k (−1)^k binomial(α, k) (y(t − kh) − 1)/h^α, Caputo's derivative.
        let derivative = |steps: u32| {
            let width = time / f64::from(steps);
            let (mut sum, mut weight) = (0.0, 1.0);
            for k in 0..=steps {
                let at = (time - f64::from(k) * width).max(0.0);
                sum += weight * (power_law_relaxation(at, relaxation_time, order).unwrap() - 1.0);
                weight *= 1.0 - (order + 1.0) / f64::from(k + 1);
            }
            sum / width.powf(order)
        };
        let (coarse, fine) = (derivative(1_000), derivative(2_000));
        let expected = -power_law_relaxation(time, relaxation_time, order).unwrap()
            / relaxation_time.powf(order);
        assert_close((coarse - expected) / (fine - expected), 2.0, 0.01);
    }

    #[test]
    fn arguments_are_checked() {
        let field = |order, z| mittag_leffler(order, z).unwrap_err().field;
        for order in [0.0, -0.5, 1.1, f64::NAN] {
            assert_eq!(field(order, -1.0), "order");
            assert_eq!(power_law_relaxation(1.0, 1.0, order).unwrap_err().field, "order");
        }
        for z in [0.1, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(field(0.5, z), "z");
        }
        assert_eq!(power_law_relaxation(-1.0, 1.0, 0.5).unwrap_err().field, "time");
        assert_eq!(power_law_relaxation(1.0, 0.0, 0.5).unwrap_err().field, "relaxation_time");
        assert_eq!(power_law_relaxation(1e300, 1e-300, 1.0).unwrap(), 0.0);
    }
}

//! The energy that a step of gradient descent injects.

use super::check::{finite, not_negative, positive};
use crate::OutOfRange;

/// How the weight came to where the step starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// It rests: there was no step before.
    Rest,
    /// It came by a step at the same rate.
    Trajectory,
}

/// The change of the energy V = f + ½‖Δ‖² by one step of gradient descent on f = ½λw²; Δ is the last step.
///
/// ```text
/// from rest:           ½λ²w² η ((λ + 1)η − 2)                   above 0 iff η > 2/(λ + 1)
/// along a trajectory:  ½λw² (1 + η²λ/(1 − ηλ)²) ((1 − ηλ)² − 1)  above 0 iff η > 2/λ
/// ```
///
/// From rest, the step itself becomes kinetic energy, so that a rate may inject energy on a curvature on
/// which gradient descent is stable. Along a trajectory both parts of V change by (1 − ηλ)². On a quadratic
/// with more directions V is the sum over them.
///
/// ```
/// use anneal_plan::theory::{Motion, injected_energy};
///
/// // λ = 3: stable below 2/3, but from rest energy is injected above 1/2.
/// assert!(injected_energy(0.6, 3.0, 1.0, Motion::Rest)? > 0.0);
/// assert!(injected_energy(0.6, 3.0, 1.0, Motion::Trajectory)? < 0.0);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// A rate below 0, a curvature that is not above 0, a weight that is not finite; on a trajectory ηλ = 1,
/// where each step ends in the minimum, so that only a weight of 0 can have come by one.
pub fn injected_energy(
    rate: f64,
    curvature: f64,
    weight: f64,
    motion: Motion,
) -> Result<f64, OutOfRange> {
    not_negative("rate", rate)?;
    positive("curvature", curvature)?;
    finite("weight", weight)?;
    let loss = 0.5 * curvature * weight * weight;
    match motion {
        Motion::Rest => Ok(loss * curvature * rate * ((curvature + 1.0) * rate - 2.0)),
        Motion::Trajectory => {
            let factor = 1.0 - rate * curvature;
            OutOfRange::require("rate", rate, factor != 0.0, "not 1/curvature on a trajectory")?;
            let kinetic = rate * rate * curvature / (factor * factor);
            Ok(loss * (1.0 + kinetic) * (factor * factor - 1.0))
        }
    }
}

/// The rate above which a step injects energy: 2/(λ + 1) from rest, 2/λ along a trajectory.
///
/// ```
/// use anneal_plan::theory::{Motion, largest_passive_rate};
/// assert_eq!(largest_passive_rate(3.0, Motion::Rest)?, 0.5);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// A curvature that is not above 0.
pub fn largest_passive_rate(curvature: f64, motion: Motion) -> Result<f64, OutOfRange> {
    positive("curvature", curvature)?;
    Ok(match motion {
        Motion::Rest => 2.0 / (curvature + 1.0),
        Motion::Trajectory => 2.0 / curvature,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;

    /// The energies before and after, from the steps themselves.
    fn by_steps(rate: f64, curvature: f64, weight: f64, motion: Motion) -> f64 {
        let energy = |w: f64, step: f64| 0.5 * curvature * w * w + 0.5 * step * step;
        let before = match motion {
            Motion::Rest => 0.0,
            Motion::Trajectory => weight - weight / (1.0 - rate * curvature),
        };
        let step = -rate * curvature * weight;
        energy(weight + step, step) - energy(weight, before)
    }

    #[test]
    fn energies_are_those_of_the_steps() {
        for motion in [Motion::Rest, Motion::Trajectory] {
            for (rate, curvature) in [(0.1, 1.0), (0.9, 0.5), (0.6, 3.0), (0.7, 3.0), (3.0, 10.0)] {
                for weight in [-1.0, 0.3, 20.0] {
                    let found = injected_energy(rate, curvature, weight, motion).unwrap();
                    assert_close(found, by_steps(rate, curvature, weight, motion), 1e-11);
                }
            }
        }
    }

    #[test]
    fn energy_is_injected_above_the_limit_only() {
        for motion in [Motion::Rest, Motion::Trajectory] {
            for curvature in [0.1, 1.0, 3.0, 50.0] {
                let limit = largest_passive_rate(curvature, motion).unwrap();
                for (factor, sign) in
                    [(0.5, -1.0), (1.0 - 1e-6, -1.0), (1.0 + 1e-6, 1.0), (2.0, 1.0)]
                {
                    // Half of 2/λ ends in the minimum.
                    let rate = factor * limit * if factor == 0.5 { 0.9 } else { 1.0 };
                    let change = by_steps(rate, curvature, 1.0, motion);
                    assert_eq!(change.signum(), sign, "{motion:?} {curvature} {factor}: {change}");
                }
            }
        }
    }

    #[test]
    fn arguments_are_checked() {
        let field = |rate, curvature, weight, motion| {
            injected_energy(rate, curvature, weight, motion).unwrap_err().field
        };
        assert_eq!(field(-1.0, 1.0, 1.0, Motion::Rest), "rate");
        assert_eq!(field(1.0, 0.0, 1.0, Motion::Rest), "curvature");
        assert_eq!(field(1.0, 1.0, f64::NAN, Motion::Rest), "weight");
        assert_eq!(field(0.5, 2.0, 1.0, Motion::Trajectory), "rate");
        assert!(largest_passive_rate(f64::INFINITY, Motion::Rest).is_err());
    }
}

//! RMSProp.

use super::parameter::Parameter;
use super::pass::{Rule, Rules};
use super::probe::{TINY, number, one, recorded, step};
use super::real::Real;
use super::rule::{HasRule, Kept, Names};
use burn::optim::{CenteredState, RmsProp, RmsPropMomentumState, RmsPropState, SquareAvgState};

/// The numbers of Burn's RMSProp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    alpha: f32,
    momentum: f32,
    epsilon: f32,
    is_centered: bool,
    penalty: f32,
}

/// The name of the velocity in a record of Burn's.
const VELOCITY: &str = "momentum.buf";

/// s ← α s + (1 − α) g², r = g / (√s + ε), v ← μ v + r, w ← w − η v, or w ← w − η r without momentum; centered,
/// a ← α a + (1 − α) g and s − a² in place of s.
#[derive(Clone, Copy, Debug)]
struct RmsPropRule<E> {
    rate: E,
    penalty: E,
    alpha: E,
    new: E,
    epsilon: E,
    momentum: E,
}

impl<const N: usize> Rules<N> for RmsPropRule<f64> {
    type For<E: Real> = RmsPropRule<E>;

    fn rounded<E: Real>(&self) -> RmsPropRule<E> {
        RmsPropRule {
            rate: E::of(self.rate),
            penalty: E::of(self.penalty),
            alpha: E::of(self.alpha),
            new: E::of(self.new),
            epsilon: E::of(self.epsilon),
            momentum: E::of(self.momentum),
        }
    }
}

/// The mean square; the mean and the variance if it is centered; the velocity if there is momentum. Their number says
/// which.
impl<E: Real, const N: usize> Rule<E, N> for RmsPropRule<E> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, moments: &mut [E; N]) -> E {
        let gradient = weight * self.penalty + gradient;
        let squares = moments[0] * self.alpha + gradient * gradient * self.new;
        moments[0] = squares;
        let variance = if N > 2 {
            let mean = moments[1] * self.alpha + gradient * self.new;
            let variance = squares - mean * mean;
            (moments[1], moments[2]) = (mean, variance);
            variance
        } else {
            squares
        };
        let mut direction = gradient / (variance.root() + self.epsilon);
        if N.is_multiple_of(2) {
            direction = moments[N - 1] * self.momentum + direction;
            moments[N - 1] = direction;
        }
        weight - direction * self.rate
    }
}

impl HasRule for RmsProp {
    type Numbers = Numbers;
    // The variance is the mean square if it is not centered.
    const NAMES: Names =
        Names::of(&["square_avg.square_avg", "centered.avg", "centered.grad_avg", VELOCITY], 2);

    fn numbers(&self) -> Option<Numbers> {
        let state = |squares, velocity| {
            let centered = CenteredState::new(None, one(squares));
            let velocity = Some(RmsPropMomentumState::new(one(velocity)));
            RmsPropState::new(SquareAvgState::new(one(squares)), centered, velocity)
        };
        let (_, kept) = step(self, 0.0, [0.0, 0.0], Some(state(1.0, 1.0)));
        let kept = kept?;
        let alpha = number(&kept.square_avg.square_avg) as f32;
        let momentum = recorded(&kept, VELOCITY).unwrap_or(0.0) as f32;
        let (moved, _) = step(self, 1.0, [0.0, TINY], None);
        let epsilon = (TINY / -moved) as f32;
        let (_, penalized) = step(self, 0.0, [1.0, 0.0], None);
        let squares = number(&penalized?.square_avg.square_avg);
        let penalty = (squares / f64::from(1.0 - alpha)).sqrt() as f32;
        let is_known = alpha < 1.0 && epsilon > 0.0 && penalty.is_finite();
        let is_centered = kept.centered.grad_avg.is_some();
        is_known.then_some(Numbers { alpha, momentum, epsilon, is_centered, penalty })
    }

    fn with_momentum(numbers: &Numbers, momentum: f64) -> Numbers {
        Numbers { momentum: momentum as f32, ..*numbers }
    }

    fn update(numbers: &Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
        let Numbers { alpha, momentum, epsilon, is_centered, penalty } = *numbers;
        let rule = RmsPropRule {
            rate,
            penalty: penalty.into(),
            alpha: alpha.into(),
            new: (1.0 - alpha).into(),
            epsilon: epsilon.into(),
            momentum: momentum.into(),
        };
        let [squares, variance, mean, velocity] = &mut kept.moments;
        if !is_centered {
            *variance = None;
        }
        let now = parameter.moment(squares);
        match (is_centered, momentum > 0.0) {
            (false, false) => parameter.update([now], &rule),
            (false, true) => parameter.update([now, parameter.moment(velocity)], &rule),
            (true, false) => {
                let centered = [parameter.moment(mean), parameter.moment(variance)];
                let [mean, variance] = centered;
                parameter.update([now, mean, variance], &rule);
            }
            (true, true) => {
                let (mean, variance) = (parameter.moment(mean), parameter.moment(variance));
                parameter.update([now, mean, variance, parameter.moment(velocity)], &rule);
            }
        }
        if !is_centered {
            variance.clone_from(squares);
        }
    }
}

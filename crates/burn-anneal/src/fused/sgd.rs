//! SGD.

use super::parameter::Parameter;
use super::pass::{Rule, Rules};
use super::probe::{LONG, one, recorded, step};
use super::real::Real;
use super::rule::{HasRule, Kept, Names};
use burn::optim::momentum::MomentumState;
use burn::optim::{Sgd, SgdState};

/// The numbers of Burn's SGD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    momentum: Option<Momentum>,
    /// What is added to the gradient, in units of the weight.
    penalty: f32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Momentum {
    momentum: f32,
    /// 1 − dampening.
    push: f64,
    is_nesterov: bool,
}

/// The name of the velocity in a record of Burn's.
const VELOCITY: &str = "momentum.velocity";

/// w ← w − η (g + p w).
#[derive(Clone, Copy, Debug)]
struct Plain<E> {
    rate: E,
    penalty: E,
}

impl Rules<0> for Plain<f64> {
    type For<E: Real> = Plain<E>;

    fn rounded<E: Real>(&self) -> Plain<E> {
        Plain { rate: E::of(self.rate), penalty: E::of(self.penalty) }
    }
}

impl<E: Real> Rule<E, 0> for Plain<E> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, _: &mut [E; 0]) -> E {
        weight - (weight * self.penalty + gradient) * self.rate
    }
}

/// v ← push g + keep v, w ← w − η v, or w ← w − η (g + μ v) with Nesterov's.
#[derive(Clone, Copy, Debug)]
struct WithMomentum<E, const NESTEROV: bool> {
    plain: Plain<E>,
    push: E,
    keep: E,
    momentum: E,
}

impl<const NESTEROV: bool> Rules<1> for WithMomentum<f64, NESTEROV> {
    type For<E: Real> = WithMomentum<E, NESTEROV>;

    fn rounded<E: Real>(&self) -> WithMomentum<E, NESTEROV> {
        WithMomentum {
            plain: self.plain.rounded(),
            push: E::of(self.push),
            keep: E::of(self.keep),
            momentum: E::of(self.momentum),
        }
    }
}

impl<E: Real, const NESTEROV: bool> Rule<E, 1> for WithMomentum<E, NESTEROV> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, [velocity]: &mut [E; 1]) -> E {
        let gradient = weight * self.plain.penalty + gradient;
        *velocity = gradient * self.push + *velocity * self.keep;
        let direction = match NESTEROV {
            true => *velocity * self.momentum + gradient,
            false => *velocity,
        };
        weight - direction * self.plain.rate
    }
}

impl HasRule for Sgd {
    type Numbers = Numbers;
    const NAMES: Names = Names::of(&[VELOCITY], 0);

    fn numbers(&self) -> Option<Numbers> {
        // The weight and the velocity after a step of 1.
        let with_velocity = |gradient, before| {
            let state = SgdState::new(Some(MomentumState::new(one(before))));
            let (weight, state) = step(self, 1.0, [0.0, gradient], Some(state));
            Some((weight, recorded(&state?, VELOCITY)?))
        };
        let (shrunk, first) = step(self, LONG, [1.0, 0.0], None);
        let has_momentum = recorded(&first?, VELOCITY).is_some();
        let momentum = match has_momentum {
            true => {
                let (_, momentum) = with_velocity(0.0, 1.0)?;
                let (moved, push) = with_velocity(1.0, 0.0)?;
                Some(Momentum { momentum: momentum as f32, push, is_nesterov: moved != -push })
            }
            false => None,
        };
        // The first step is that of the penalty, and with Nesterov's μ times it again.
        let once = momentum.filter(|momentum| momentum.is_nesterov);
        let once = once.map_or(1.0, |momentum| 1.0 + f64::from(momentum.momentum));
        let penalty = ((1.0 - shrunk) / LONG / once) as f32;
        penalty.is_finite().then_some(Numbers { momentum, penalty })
    }

    fn with_momentum(numbers: &Numbers, momentum: f64) -> Numbers {
        let with = |form: Momentum| Momentum { momentum: momentum as f32, ..form };
        Numbers { momentum: numbers.momentum.map(with), ..*numbers }
    }

    fn update(numbers: &Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
        let plain = Plain { rate, penalty: numbers.penalty.into() };
        let Some(Momentum { momentum, push, is_nesterov }) = numbers.momentum else {
            return parameter.update([], &plain);
        };
        let velocity = &mut kept.moments[0];
        // The first velocity is the gradient.
        let (push, keep) = if velocity.is_some() { (push, momentum.into()) } else { (1.0, 0.0) };
        let (velocity, momentum) = (parameter.moment(velocity), momentum.into());
        match is_nesterov {
            true => {
                let rule = WithMomentum::<_, true> { plain, push, keep, momentum };
                parameter.update([velocity], &rule);
            }
            false => {
                let rule = WithMomentum::<_, false> { plain, push, keep, momentum };
                parameter.update([velocity], &rule);
            }
        }
    }
}

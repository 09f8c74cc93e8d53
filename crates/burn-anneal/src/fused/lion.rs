//! Lion.

use super::parameter::Parameter;
use super::pass::{Rule, Rules};
use super::probe::{LONG, number, one, step};
use super::real::Real;
use super::rule::{HasRule, Kept, Names};
use burn::optim::{Lion, LionState};

/// The numbers of Burn's Lion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    beta_1: f32,
    beta_2: f32,
    decay: f32,
}

/// w ← keep w − η sign(β₁ m + (1 − β₁) g), m ← β₂ m + (1 − β₂) g.
#[derive(Clone, Copy, Debug)]
struct LionRule<E> {
    rate: E,
    keep: E,
    betas: [E; 2],
    new: [E; 2],
}

impl Rules<1> for LionRule<f64> {
    type For<E: Real> = LionRule<E>;

    fn rounded<E: Real>(&self) -> LionRule<E> {
        LionRule {
            rate: E::of(self.rate),
            keep: E::of(self.keep),
            betas: self.betas.map(E::of),
            new: self.new.map(E::of),
        }
    }
}

impl<E: Real> Rule<E, 1> for LionRule<E> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, [momentum]: &mut [E; 1]) -> E {
        let direction = *momentum * self.betas[0] + gradient * self.new[0];
        *momentum = *momentum * self.betas[1] + gradient * self.new[1];
        let zero = E::default();
        let step = if direction > zero {
            self.rate
        } else if direction < zero {
            -self.rate
        } else {
            zero
        };
        weight * self.keep - step
    }
}

impl HasRule for Lion {
    type Numbers = Numbers;
    const NAMES: Names = Names::of(&["momentum"], 1);

    fn numbers(&self) -> Option<Numbers> {
        let update = |rate, numbers, before| {
            let (weight, state) = step(self, rate, numbers, Some(LionState::new(one(before))));
            (weight, number(&state.expect("Lion has a state").momentum))
        };
        let (_, beta_2) = update(0.0, [0.0, 0.0], 1.0);
        let (shrunk, _) = update(LONG, [1.0, 0.0], 0.0);
        // β₁ shows in a sign alone: that of β₁ (1 − b) − (1 − β₁) b, whose products are exact in f64, rises with β₁,
        // and is 0 at b = β₁. So search for it among the f32 from 0 to 1, whose bits ascend with them.
        let (mut low, mut high) = (0, 1.0f32.to_bits());
        while low < high {
            let middle = low + (high - low) / 2;
            let beta = f32::from_bits(middle);
            let (weight, _) = update(1.0, [0.0, -f64::from(beta)], f64::from(1.0 - beta));
            // The weight moves against the sign.
            if -weight > 0.0 { low = middle + 1 } else { high = middle }
        }
        let (beta_1, beta_2) = (f32::from_bits(low), beta_2 as f32);
        let decay = ((1.0 - shrunk) / LONG) as f32;
        (beta_1 < 1.0 && decay.is_finite()).then_some(Numbers { beta_1, beta_2, decay })
    }

    fn with_momentum(numbers: &Numbers, momentum: f64) -> Numbers {
        Numbers { beta_1: momentum as f32, ..*numbers }
    }

    fn update(numbers: &Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
        let Numbers { beta_1, beta_2, decay } = *numbers;
        let rule = LionRule {
            rate,
            keep: 1.0 - rate * f64::from(decay),
            betas: [beta_1.into(), beta_2.into()],
            new: [(1.0 - beta_1).into(), (1.0 - beta_2).into()],
        };
        let momentum = parameter.moment(&mut kept.moments[0]);
        parameter.update([momentum], &rule);
    }
}

//! Adam and AdamW.

use super::parameter::Parameter;
use super::pass::{Rule, Rules};
use super::probe::{LONG, TINY, number, one, step};
use super::real::{Divisor, Real};
use super::rule::{HasRule, Kept, Names};
use burn::optim::{Adam, AdamState, AdamW, AdamWState, AdaptiveMomentumState};

/// The numbers of Burn's Adam or AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    amsgrad: bool,
    /// AdamW's decay, or the penalty that Adam adds to the gradient.
    decay: f32,
    is_cautious: bool,
}

/// The rule of a form of Adam, in f64; `E` once it is rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamRule<E, F> {
    /// β₁ and β₂, and the factors of a new gradient and its square.
    pub betas: [E; 2],
    pub new: [E; 2],
    pub epsilon: E,
    /// The rate, or its quotient by a bias correction.
    pub rate: E,
    pub form: F,
}

/// What the forms differ in.
pub(crate) trait Form<E>: Copy + Send + Sync {
    /// The gradient with a penalty.
    #[inline(always)]
    fn penalized(&self, _weight: E, gradient: E) -> E {
        gradient
    }

    /// The weight after a decay of the optimizer's own.
    #[inline(always)]
    fn decayed(&self, weight: E, _first: E) -> E {
        weight
    }

    /// Both moments with their bias corrections, the second as a root.
    fn corrected(&self, first: E, second: E) -> (E, E);
}

/// A form in f64.
pub(crate) trait Rounds {
    type For<E: Real>: Form<E>;

    fn rounded<E: Real>(&self) -> Self::For<E>;
}

impl<F: Rounds, const N: usize> Rules<N> for AdamRule<f64, F> {
    type For<E: Real> = AdamRule<E, F::For<E>>;

    fn rounded<E: Real>(&self) -> Self::For<E> {
        AdamRule {
            betas: self.betas.map(E::of),
            new: self.new.map(E::of),
            epsilon: E::of(self.epsilon),
            rate: E::of(self.rate),
            form: self.form.rounded(),
        }
    }
}

/// Two moments, and a third, the largest second one, under AMSGrad.
impl<E: Real, F: Form<E>, const N: usize> Rule<E, N> for AdamRule<E, F> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, moments: &mut [E; N]) -> E {
        let gradient = self.form.penalized(weight, gradient);
        let first = moments[0] * self.betas[0] + gradient * self.new[0];
        let mut second = moments[1] * self.betas[1] + gradient * gradient * self.new[1];
        (moments[0], moments[1]) = (first, second);
        if N > 2 {
            second = if moments[2] < second { second } else { moments[2] };
            moments[2] = second;
        }
        let (corrected, root) = self.form.corrected(first, second);
        self.form.decayed(weight, first) - corrected / (root + self.epsilon) * self.rate
    }
}

/// The names of what each form keeps.
pub(crate) const NAMES: Names = Names {
    moments: &["momentum.moment_1", "momentum.moment_2", "momentum.max_moment_2"],
    required: 2,
    updates: Some("momentum.time"),
    number: None,
};

/// Updates with a rule.
pub(crate) fn update<F: Rounds>(
    parameter: &mut Parameter,
    kept: &mut Kept,
    amsgrad: bool,
    rule: &AdamRule<f64, F>,
) {
    let [first, second, largest, _] = &mut kept.moments;
    let (first, second) = (parameter.moment(first), parameter.moment(second));
    match amsgrad {
        true => parameter.update([first, second, parameter.moment(largest)], rule),
        false => parameter.update([first, second], rule),
    }
}

/// Burn's AdamW: (m/c₁) / (√(v/c₂) + ε), and its decay; a cautious one only of weights with the sign of their first
/// moment.
#[derive(Clone, Copy, Debug)]
struct OfAdamW<C, E, const CAUTIOUS: bool> {
    corrections: [C; 2],
    /// The share of a weight that decays.
    share: E,
    /// The share that is kept.
    keep: E,
}

impl<const CAUTIOUS: bool> Rounds for OfAdamW<f64, f64, CAUTIOUS> {
    type For<E: Real> = OfAdamW<Divisor<E>, E, CAUTIOUS>;

    fn rounded<E: Real>(&self) -> Self::For<E> {
        OfAdamW {
            corrections: self.corrections.map(Divisor::new),
            share: E::of(self.share),
            keep: E::of(self.keep),
        }
    }
}

impl<E: Real, const CAUTIOUS: bool> Form<E> for OfAdamW<Divisor<E>, E, CAUTIOUS> {
    #[inline(always)]
    fn decayed(&self, weight: E, first: E) -> E {
        if !CAUTIOUS {
            return weight * self.keep;
        }
        let zero = E::default();
        let agree = (weight >= zero) == (first >= zero);
        weight - if agree { weight * self.share } else { zero }
    }

    #[inline(always)]
    fn corrected(&self, first: E, second: E) -> (E, E) {
        let [first_by, second_by] = self.corrections;
        (first_by.divide(first), second_by.divide(second).root())
    }
}

/// Burn's Adam: m √c₂/c₁ / (√v + ε √c₂), with its penalty.
#[derive(Clone, Copy, Debug)]
struct OfAdam<E> {
    penalty: E,
    factor: E,
}

impl Rounds for OfAdam<f64> {
    type For<E: Real> = OfAdam<E>;

    fn rounded<E: Real>(&self) -> OfAdam<E> {
        OfAdam { penalty: E::of(self.penalty), factor: E::of(self.factor) }
    }
}

impl<E: Real> Form<E> for OfAdam<E> {
    #[inline(always)]
    fn penalized(&self, weight: E, gradient: E) -> E {
        weight * self.penalty + gradient
    }

    #[inline(always)]
    fn corrected(&self, first: E, second: E) -> (E, E) {
        (first * self.factor, second.root())
    }
}

impl Numbers {
    /// The numbers of an optimizer that makes of an update of one number the weight, and its moments.
    fn find(
        update: impl Fn(f64, [f64; 2], AdaptiveMomentumState<1>) -> (f64, AdaptiveMomentumState<1>),
    ) -> Option<Self> {
        let state = |time, first, second| AdaptiveMomentumState::new(time, one(first), one(second));
        let (_, betas) = update(0.0, [0.0, 0.0], state(0, 1.0, 1.0));
        let (beta_1, beta_2) = (number(&betas.moment_1), number(&betas.moment_2));
        // So late that both bias corrections are 1. The step is TINY (1 − β₁) / ε.
        let late = 1 << 30;
        let (moved, after) = update(1.0, [0.0, TINY], state(late, 0.0, 0.0));
        let epsilon = number(&after.moment_1) / -moved;
        // AdamW shrinks the weight; Adam puts it into the moments.
        let (shrunk, after) = update(LONG, [1.0, 0.0], state(late, 0.0, 1.0));
        let penalty = number(&after.moment_1) / f64::from(1.0 - beta_1 as f32);
        let decay = if penalty == 0.0 { (1.0 - shrunk) / LONG } else { penalty };
        // A moment of another sign than the weight holds a cautious decay up.
        let (held, _) = update(LONG, [1.0, -TINY], state(late, -TINY, 1.0));
        let found = Self {
            beta_1: beta_1 as f32,
            beta_2: beta_2 as f32,
            epsilon: epsilon as f32,
            amsgrad: betas.max_moment_2.is_some(),
            decay: decay as f32,
            is_cautious: penalty == 0.0 && decay != 0.0 && held == 1.0,
        };
        let is_known = found.beta_1 < 1.0 && found.beta_2 < 1.0 && found.epsilon > 0.0;
        (is_known && found.decay.is_finite()).then_some(found)
    }

    fn rule<F>(&self, rate: f64, epsilon: f32, form: F) -> AdamRule<f64, F> {
        let Self { beta_1, beta_2, .. } = *self;
        AdamRule {
            betas: [beta_1.into(), beta_2.into()],
            new: [(1.0 - beta_1).into(), (1.0 - beta_2).into()],
            epsilon: epsilon.into(),
            rate,
            form,
        }
    }
}

/// Torch's Adam: m / (√v/√c₂ + ε); c₁ is in the rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfTorch<C> {
    pub root: C,
}

impl Rounds for OfTorch<f64> {
    type For<E: Real> = OfTorch<Divisor<E>>;

    fn rounded<E: Real>(&self) -> Self::For<E> {
        OfTorch { root: Divisor::new(self.root) }
    }
}

impl<E: Real> Form<E> for OfTorch<Divisor<E>> {
    #[inline(always)]
    fn corrected(&self, first: E, second: E) -> (E, E) {
        (first, self.root.divide(second.root()))
    }
}

impl Numbers {
    fn adam_w<const CAUTIOUS: bool>(
        &self,
        rate: f64,
        updates: usize,
    ) -> AdamRule<f64, OfAdamW<f64, f64, CAUTIOUS>> {
        let share = rate * f64::from(self.decay);
        let correction = |beta: f32| f64::from(1.0 - beta.powi(updates as i32));
        let corrections = [self.beta_1, self.beta_2].map(correction);
        self.rule(rate, self.epsilon, OfAdamW { corrections, share, keep: 1.0 - share })
    }
}

impl HasRule for AdamW {
    type Numbers = Numbers;
    const NAMES: Names = NAMES;

    fn numbers(&self) -> Option<Numbers> {
        Numbers::find(|rate, numbers, state| {
            let (weight, state) = step(self, rate, numbers, Some(AdamWState::new(state)));
            (weight, state.expect("AdamW has a state").momentum)
        })
    }

    fn with_momentum(numbers: &Numbers, momentum: f64) -> Numbers {
        Numbers { beta_1: momentum as f32, ..*numbers }
    }

    fn update(numbers: &Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
        kept.updates += 1;
        let (updates, amsgrad) = (kept.updates, numbers.amsgrad);
        match numbers.is_cautious {
            true => update(parameter, kept, amsgrad, &numbers.adam_w::<true>(rate, updates)),
            false => update(parameter, kept, amsgrad, &numbers.adam_w::<false>(rate, updates)),
        }
    }
}

impl HasRule for Adam {
    type Numbers = Numbers;
    const NAMES: Names = NAMES;

    fn numbers(&self) -> Option<Numbers> {
        Numbers::find(|rate, numbers, state| {
            let (weight, state) = step(self, rate, numbers, Some(AdamState::new(state)));
            (weight, state.expect("Adam has a state").momentum)
        })
    }

    fn with_momentum(numbers: &Numbers, momentum: f64) -> Numbers {
        Numbers { beta_1: momentum as f32, ..*numbers }
    }

    fn update(numbers: &Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
        kept.updates += 1;
        let Numbers { beta_1, beta_2, .. } = *numbers;
        let root = (1.0 - beta_2.powi(kept.updates as i32)).sqrt();
        let factor = (root / (1.0 - beta_1.powi(kept.updates as i32))).into();
        let form = OfAdam { penalty: numbers.decay.into(), factor };
        let rule = numbers.rule(rate, numbers.epsilon * root, form);
        update(parameter, kept, numbers.amsgrad, &rule);
    }
}

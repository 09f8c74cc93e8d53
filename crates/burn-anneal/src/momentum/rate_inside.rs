//! SGD with the rate inside its buffer.

use super::check_momentum;
use crate::update::{current_drop, current_momentum};
use anneal_schedule::OutOfRange;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// SGD with the rate inside the velocity: v ← β v + η g and w ← w − v, or w ← w − (β v + η g) with
/// Nesterov's.
///
/// This is the form of Polyak 1964, Sutskever et al. 2013 and Keras. At a constant rate it equals the form
/// of PyTorch and Burn's [`Sgd`](burn::optim::Sgd): v ← β v + g and w ← w − η v. When the rate falls, the
/// velocity still has the old rate; [`RateDrop`](crate::momentum::RateDrop) controls what happens then. The
/// velocity has another unit, so the record has its own name and is not interchangeable with Burn's `Sgd`.
///
/// β follows a momentum schedule if there is one, as in
/// [`ScheduledMomentum`](super::ScheduledMomentum).
///
/// ```
/// use burn_anneal::momentum::{RateDrop, RateInsideSgd};
/// use burn_anneal::prelude::*;
///
/// # fn train<M: burn::module::Module>(model: M, run: RunLength) -> Result<(), BuildError> {
/// let schedule = step_decay(0.1, Span::epochs(30), 0.1);
/// let training = LearnerBuilder::new(model, RateInsideSgd::new(0.9)?.nesterov(), schedule).run(run)
///     .rate_drop(RateDrop::rescale())
///     .build_loop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct RateInsideSgd {
    momentum: f64,
    nesterov: bool,
}

impl RateInsideSgd {
    /// SGD with momentum β, at least 0 and below 1.
    ///
    /// # Errors
    /// [`OutOfRange`] if β is out of its range.
    pub fn new(momentum: f64) -> Result<Self, OutOfRange> {
        check_momentum("momentum", momentum)?;
        Ok(Self { momentum, nesterov: false })
    }

    /// Uses Nesterov momentum.
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }
}

/// The velocity, in units of the weight.
#[derive(Clone, Debug)]
pub struct RateInsideState<const D: usize> {
    velocity: Tensor<D>,
}

/// Its name in the record.
const VELOCITY: &str = "velocity_with_rate";

impl<const D: usize> RecordState for RateInsideState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, VELOCITY, self.velocity.to_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = source.take_tensor(prefix, VELOCITY)?;
        Some(Self { velocity: Tensor::from_data(velocity, device) })
    }
}

impl Optimizer for RateInsideSgd {
    type State<const D: usize> = RateInsideState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let drop = current_drop();
        let momentum = current_momentum().unwrap_or(self.momentum) * drop.momentum;
        let push = gradient.mul_scalar(rate);
        let kept = momentum * drop.velocity;
        let velocity = match state {
            // A dropped velocity may be infinite.
            Some(state) if kept != 0.0 => state.velocity.mul_scalar(kept) + push.clone(),
            _ => push.clone(),
        };
        let step = if self.nesterov {
            velocity.clone().mul_scalar(momentum) + push
        } else {
            velocity.clone()
        };
        (weight - step, Some(RateInsideState { velocity }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        RateInsideState { velocity: state.velocity.to_device(device) }
    }
}

#[cfg(feature = "flex")]
mod fused {
    use super::{RateInsideSgd, VELOCITY};
    use crate::fused::parameter::Parameter;
    use crate::fused::pass::{Rule, Rules};
    use crate::fused::real::Real;
    use crate::fused::rule::{HasRule, Kept, Names};
    use crate::update::{current_drop, current_momentum};

    #[derive(Clone, Copy, Debug)]
    struct RateInside<E, const NESTEROV: bool> {
        rate: E,
        keep: E,
        momentum: E,
    }

    impl<const NESTEROV: bool> Rules<1> for RateInside<f64, NESTEROV> {
        type For<E: Real> = RateInside<E, NESTEROV>;

        fn rounded<E: Real>(&self) -> RateInside<E, NESTEROV> {
            RateInside {
                rate: E::of(self.rate),
                keep: E::of(self.keep),
                momentum: E::of(self.momentum),
            }
        }
    }

    impl<E: Real, const NESTEROV: bool> Rule<E, 1> for RateInside<E, NESTEROV> {
        #[inline(always)]
        fn update(&self, weight: E, gradient: E, [velocity]: &mut [E; 1]) -> E {
            let push = gradient * self.rate;
            *velocity = *velocity * self.keep + push;
            let step = if NESTEROV { *velocity * self.momentum + push } else { *velocity };
            weight - step
        }
    }

    impl HasRule for RateInsideSgd {
        type Numbers = Self;
        const NAMES: Names = Names::of(&[VELOCITY], 1);

        fn numbers(&self) -> Option<Self> {
            Some(*self)
        }

        fn with_momentum(sgd: &Self, momentum: f64) -> Self {
            Self { momentum, ..*sgd }
        }

        fn update(sgd: &Self, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
            let drop = current_drop();
            let momentum = current_momentum().unwrap_or(sgd.momentum) * drop.momentum;
            let keep = momentum * drop.velocity;
            let [velocity, ..] = &mut kept.moments;
            // A dropped velocity may be infinite.
            if keep == 0.0 {
                *velocity = None;
            }
            let velocity = parameter.moment(velocity);
            match sgd.nesterov {
                true => {
                    let rule = RateInside::<_, true> { rate, keep, momentum };
                    parameter.update([velocity], &rule);
                }
                false => {
                    let rule = RateInside::<_, false> { rate, keep, momentum };
                    parameter.update([velocity], &rule);
                }
            }
        }
    }
}

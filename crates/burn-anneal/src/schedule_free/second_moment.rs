//! The base of schedule-free AdamW.

use crate::momentum::check_momentum;
use anneal_schedule::OutOfRange;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// The optimizer inside [`ScheduleFree::adamw`](super::ScheduleFree::adamw): Adam without its first moment.
///
/// ```text
/// v ← β₂ v + (1 − β₂) g²,   z ← z − γ g / (√(v / (1 − β₂ⁿ)) + ε)
/// ```
///
/// n counts the updates of the parameter from 1. Adam with a β₁ of 0 makes the same updates, but keeps a useless first
/// moment of the size of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondMoment {
    pub(super) beta_2: f64,
    pub(super) epsilon: f64,
}

impl SecondMoment {
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        check_momentum("beta_2", self.beta_2)?;
        let ok = self.epsilon > 0.0 && self.epsilon.is_finite();
        OutOfRange::require("epsilon", self.epsilon, ok, "a finite number above 0")
    }
}

/// The second moment of one parameter, and its updates.
#[derive(Clone, Debug)]
pub struct SecondMomentState<const D: usize> {
    moment: Tensor<D>,
    updates: u64,
}

/// Names in the record.
const MOMENT: &str = "moment_2";
const UPDATES: &str = "updates";

impl<const D: usize> RecordState for SecondMomentState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, MOMENT, self.moment.to_data());
        out.push_scalar(prefix, UPDATES, self.updates.into());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let updates = source.take_scalar(prefix, UPDATES)?.try_into().ok()?;
        let moment = source.take_tensor(prefix, MOMENT)?;
        let dtype = moment.dtype();
        Some(Self { moment: Tensor::from_data(moment, (device, dtype)), updates })
    }
}

impl Optimizer for SecondMoment {
    type State<const D: usize> = SecondMomentState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let square = gradient.clone().square().mul_scalar(1.0 - self.beta_2);
        let (moment, updates) = match state {
            Some(state) => (state.moment.mul_scalar(self.beta_2) + square, state.updates + 1),
            None => (square, 1),
        };
        let correction = -f64::exp_m1(updates as f64 * self.beta_2.ln());
        let root = moment.clone().sqrt().div_scalar(correction.sqrt()).add_scalar(self.epsilon);
        let weight = weight - gradient.div(root).mul_scalar(rate);
        (weight, Some(SecondMomentState { moment, updates }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        SecondMomentState { moment: state.moment.to_device(device), ..state }
    }
}

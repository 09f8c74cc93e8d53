//! A forward and a backward pass, and how the loss scale reaches it.

use super::tensors::in_f32;
use burn::tensor::{Gradients, Tensor};
use std::cell::RefCell;

/// The backward pass of a loss that may be scaled, for a model's `TrainStep::step`.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn::train::{ClassificationOutput, TrainOutput};
/// use burn_anneal::prelude::*;
///
/// fn step<M: burn::module::Module>(model: &M, output: ClassificationOutput) -> TrainOutput<ClassificationOutput> {
///     let gradients = output.loss.clone().scaled_backward();
///     TrainOutput::new(model, gradients, output)
/// }
/// ```
pub trait ScaledBackward {
    /// Goes backward from the loss times the scale of the update that runs, in f32; from the loss as it is where
    /// no update with loss scaling runs, so that the same model trains without.
    ///
    /// Once a pass, of the whole loss, and on the thread that `TrainStep::step` or
    /// [`TrainingLoop::pass`](crate::TrainingLoop::pass) runs on: sum several losses before. None or two in one pass
    /// with loss scaling stop the run.
    fn scaled_backward(self) -> Gradients;
}

impl<const D: usize> ScaledBackward for Tensor<D> {
    fn scaled_backward(self) -> Gradients {
        let scale = PASS.with_borrow_mut(|pass| {
            let Context { scale: Some(scale), calls, loss } = pass.as_mut()? else { return None };
            *calls += 1;
            *loss = Some(value(&self));
            Some(*scale)
        });
        match scale {
            // In f32: a scale may be more than the largest number of f16.
            Some(scale) => (in_f32(self) * scale).backward(),
            None => self.backward(),
        }
    }
}

/// The value of a loss, to be looked at.
pub(super) fn value<const D: usize>(loss: &Tensor<D>) -> Tensor<1> {
    let loss = loss.clone();
    let loss = if loss.device().is_autodiff() { loss.inner() } else { loss };
    in_f32(loss).mean()
}

struct Context {
    /// `None` where no loss is scaled, so that the scale of a pass around this one is not taken for its own.
    scale: Option<f64>,
    calls: usize,
    loss: Option<Tensor<1>>,
}

thread_local! {
    static PASS: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// A forward and a backward pass from beginning to end.
pub(super) struct Pass(Option<Context>);

impl Pass {
    pub fn begin(scale: Option<f64>) -> Self {
        Self(PASS.replace(Some(Context { scale, calls: 0, loss: None })))
    }

    /// How often a loss was scaled, and the last one before it was.
    pub fn end(self) -> (usize, Option<Tensor<1>>) {
        PASS.with_borrow_mut(|pass| {
            pass.as_mut().map_or((0, None), |pass| (pass.calls, pass.loss.take()))
        })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        PASS.set(self.0.take());
    }
}

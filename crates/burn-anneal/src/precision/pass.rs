//! How the scale reaches a loss.
//!
//! `TrainStep::step` gets a model and a batch, nothing else. So the scale of the update stands here while a
//! forward and a backward pass run, and only for the thread that they run on.

use super::in_f32;
use burn::tensor::Tensor;
use std::cell::RefCell;

/// Scaling of a loss, for a model's `TrainStep::step`.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn::train::{ClassificationOutput, TrainOutput};
/// use burn_anneal::prelude::*;
///
/// fn step<M: burn::module::Module>(model: &M, output: ClassificationOutput) -> TrainOutput<ClassificationOutput> {
///     let gradients = output.loss.clone().scale_loss().backward();
///     TrainOutput::new(model, gradients, output)
/// }
/// ```
pub trait ScaleLoss {
    /// The loss times the scale of the update that runs, in f32; the loss as it is where no update with loss
    /// scaling runs, so that the same model trains without.
    fn scale_loss(self) -> Self;
}

impl<const D: usize> ScaleLoss for Tensor<D> {
    fn scale_loss(self) -> Self {
        PASS.with_borrow_mut(|pass| match pass {
            None => self,
            Some(pass) => {
                pass.losses.push(unscaled(&self));
                scaled(self, pass.scale)
            }
        })
    }
}

/// In f32: a scale may be more than the largest number of f16.
pub(super) fn scaled<const D: usize>(loss: Tensor<D>, scale: f64) -> Tensor<D> {
    in_f32(loss) * scale
}

/// The value of a loss, to be looked at.
pub(super) fn unscaled<const D: usize>(loss: &Tensor<D>) -> Tensor<1> {
    let loss = loss.clone();
    let loss = if loss.device().is_autodiff() { loss.inner() } else { loss };
    in_f32(loss).mean()
}

struct Context {
    scale: f64,
    losses: Vec<Tensor<1>>,
}

thread_local! {
    static PASS: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// A forward and a backward pass from beginning to end.
pub(super) struct Pass(Option<Context>);

impl Pass {
    pub fn begin(scale: f64) -> Self {
        Self(PASS.replace(Some(Context { scale, losses: vec![] })))
    }

    /// The losses that were scaled in it, before they were.
    pub fn losses(self) -> Vec<Tensor<1>> {
        PASS.with_borrow_mut(|pass| {
            pass.as_mut().map_or(vec![], |pass| std::mem::take(&mut pass.losses))
        })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        PASS.set(self.0.take());
    }
}

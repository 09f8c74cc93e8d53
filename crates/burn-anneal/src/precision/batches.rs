//! What the batches of an update showed, until it is made.

use super::gradients::{difference, in_f32_gradients};
use super::pass::Pass;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::train::TrainStep;
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// What the batches of the next update showed, on whatever thread and device they ran.
///
/// Clones share it, so it is made anew with each update: clones of a learner that are trained on, each by
/// itself, share none but that of their first update, of which one may find what the other left and the
/// other nothing: its loss is then not known.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Vec<Batch>>>);

/// What a batch showed, on its device.
pub(super) struct Batch {
    /// Those that the model scaled, before it did.
    pub losses: Vec<Tensor<1>>,
    /// The largest entry of its scaled gradient, for a cap.
    pub largest: Option<Tensor<1>>,
    pub again: Option<Again>,
}

/// A batch that is looked at again after the update, and its gradient before it.
pub(super) struct Again {
    pub item: Box<dyn Any + Send>,
    pub gradients: GradientsParams,
}

impl Batches {
    pub fn push(&self, batch: Batch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }

    pub fn take(&mut self) -> Vec<Batch> {
        let batches = std::mem::take(self);
        let mut batches = batches.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *batches)
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Again {
    /// ‖Δg‖_∞ between the gradients of the batch before and after an update, unscaled. Waits for the device.
    pub fn gradient_change<M: TrainStep + Module>(self, model: &M, scale: f64) -> Option<f64> {
        let item = self.item.downcast::<M::Input>().ok()?;
        let pass = Pass::begin(scale);
        let after = in_f32_gradients(model, model.step(*item).grads);
        drop(pass);
        let change = difference(model, self.gradients, after)?.try_into_scalar::<f32>().ok()?;
        Some(f64::from(change) / scale)
    }
}

/// Makes a copy of a batch of which only the caller knows the type.
pub(crate) type CopyItem = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

/// Copies a batch of type `Item`.
pub(crate) fn copy_of<Item: Clone + Send + 'static>(item: &dyn Any) -> Option<Box<dyn Any + Send>> {
    item.downcast_ref::<Item>().map(|item| Box::new(item.clone()) as _)
}

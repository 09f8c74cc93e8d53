//! What the batches of an update showed, until it is made.

use super::gradients::{difference, distance, in_f32_gradients};
use super::pass::Pass;
use crate::clip::Rescale;
use anneal_control::BatchChange;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
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
    /// Of the model that it ran through.
    pub devices: Vec<Device>,
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
    /// What an update that made `after` of the model `before` did to the batch, whose gradient before it was
    /// scaled by `scale`, and after it is by `again`. Waits for the device.
    pub fn change<M: TrainStep + Module>(
        self,
        [before, after]: [&M; 2],
        scale: f64,
        again: f64,
    ) -> Option<BatchChange> {
        let item = self.item.downcast::<M::Input>().ok()?;
        let weights = distance(before, after)?;
        // Where several devices train, the model is updated on one, and the batch may lie on another.
        let model = match self.devices.first() {
            Some(device) if self.devices != after.devices() => after.clone().fork(device),
            _ => after.clone(),
        };
        let pass = Pass::begin(again);
        let gradients = in_f32_gradients(&model, model.step(*item).grads);
        drop(pass);
        let gradients = Rescale::multiply(&model, gradients, scale / again);
        let gradient = difference(&model, self.gradients, gradients)?;
        let weights = weights.to_device(&gradient.device());
        let read = Tensor::cat(vec![gradient, weights], 0).into_data();
        let [gradient, weights] = read.iter::<f64>().collect::<Vec<_>>()[..] else { return None };
        Some(BatchChange { gradient: gradient / scale, weights })
    }
}

/// Makes a copy of a batch of which only the caller knows the type.
pub(crate) type CopyItem = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

/// Copies a batch of type `Item`.
pub(crate) fn copy_of<Item: Clone + Send + 'static>(item: &dyn Any) -> Option<Box<dyn Any + Send>> {
    item.downcast_ref::<Item>().map(|item| Box::new(item.clone()) as _)
}

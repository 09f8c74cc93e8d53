//! The measurements of an update's batches, until the update is made.

use super::tensors::ByParameter;
use crate::tasks::TaskError;
use burn::tensor::{Device, Tensor};
use std::any::Any;
use std::fmt;

/// The measurements of the next update's batches, from all threads and devices.
///
/// A copy is empty: they belong to one learner.
#[derive(Default)]
pub(crate) struct Batches(Vec<Batch>);

impl Clone for Batches {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} batches", self.0.len())
    }
}

/// The measurements of a batch, on its device.
pub(crate) struct Batch {
    /// The number of the model replica that it went through.
    pub lane: u64,
    /// The scale of its loss; `None` without loss scaling.
    pub loss_scale: Option<f64>,
    /// The number of times that a loss was scaled.
    pub scaled: usize,
    /// Whether there is a gradient.
    pub learns: bool,
    /// The unscaled loss.
    pub loss: Option<Tensor<1>>,
    /// The mean cosine between pairs of task gradients, if needed.
    pub task_cosine: Option<Tensor<1>>,
    /// Why its tasks cannot be trained.
    pub task_error: Option<TaskError>,
    /// ‖g‖₂ of its scaled gradient, if needed.
    pub norm: Option<Tensor<1>>,
    /// The largest entry of its scaled gradient, if needed.
    pub largest: Option<Tensor<1>>,
    pub again: Option<Again>,
}

/// A batch to repeat after the update, and its gradient before it.
pub(crate) struct Again {
    /// The batch; only the user knows its type.
    pub item: Option<Box<dyn Any + Send>>,
    /// Its scaled gradients.
    pub gradients: ByParameter,
    /// The devices of the model that it went through.
    pub devices: Vec<Device>,
}

impl Batches {
    pub fn push(&mut self, batch: Batch) {
        self.0.push(batch);
    }

    /// Takes all batches, ordered by lane and, within a lane, by time.
    pub fn take(&mut self) -> Vec<Batch> {
        let mut batches = std::mem::take(&mut self.0);
        batches.sort_by_key(|batch| batch.lane);
        batches
    }

    /// Whether the next batch of `lane` comes before all batches so far.
    pub fn is_first(&self, lane: u64) -> bool {
        self.0.iter().all(|batch| lane < batch.lane)
    }
}

/// Copies a batch whose type only the caller knows.
pub(crate) type CopyItem = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

/// Copies a batch of type `Item`.
pub(crate) fn copy_of<Item: Clone + Send + 'static>(item: &dyn Any) -> Option<Box<dyn Any + Send>> {
    item.downcast_ref::<Item>().map(|item| Box::new(item.clone()) as _)
}

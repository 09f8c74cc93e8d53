//! What the batches of an update showed, until it is made.

use super::tensors::ByParameter;
use crate::tasks::TaskError;
use burn::tensor::{Device, Tensor};
use std::any::Any;
use std::fmt;

/// What the batches of the next update showed, on whatever thread and device they ran.
///
/// A copy has none: they are those of one learner.
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

/// What a batch showed, on its device.
pub(crate) struct Batch {
    /// Which of the models that pass batches at once it went through.
    pub lane: u64,
    /// The scale of its loss; `None` where no loss is scaled.
    pub loss_scale: Option<f64>,
    /// How often a loss was scaled.
    pub scaled: usize,
    /// Whether there is a gradient.
    pub learns: bool,
    /// Before it was scaled.
    pub loss: Option<Tensor<1>>,
    /// The mean cosine between pairs of task gradients, where somebody needs it.
    pub task_cosine: Option<Tensor<1>>,
    /// Why its tasks cannot be trained.
    pub task_error: Option<TaskError>,
    /// ‖g‖₂ of its scaled gradient, where somebody needs it.
    pub norm: Option<Tensor<1>>,
    /// The largest entry of its scaled gradient, where somebody needs it.
    pub largest: Option<Tensor<1>>,
    pub again: Option<Again>,
}

/// A batch that is looked at again after the update, and its gradient before it.
pub(crate) struct Again {
    /// The batch, where only its owner knows the type.
    pub item: Option<Box<dyn Any + Send>>,
    /// Scaled.
    pub gradients: ByParameter,
    /// Of the model that it ran through.
    pub devices: Vec<Device>,
}

impl Batches {
    pub fn push(&mut self, batch: Batch) {
        self.0.push(batch);
    }

    /// All of them, by lane; those of one lane as they came.
    pub fn take(&mut self) -> Vec<Batch> {
        let mut batches = std::mem::take(&mut self.0);
        batches.sort_by_key(|batch| batch.lane);
        batches
    }

    /// Whether one that goes through `lane` now is the first of all so far.
    pub fn is_first(&self, lane: u64) -> bool {
        self.0.iter().all(|batch| lane < batch.lane)
    }
}

/// Makes a copy of a batch of which only the caller knows the type.
pub(crate) type CopyItem = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

/// Copies a batch of type `Item`.
pub(crate) fn copy_of<Item: Clone + Send + 'static>(item: &dyn Any) -> Option<Box<dyn Any + Send>> {
    item.downcast_ref::<Item>().map(|item| Box::new(item.clone()) as _)
}

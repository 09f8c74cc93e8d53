//! A forward and a backward pass, and how the loss scale reaches it.

use super::tensors::in_f32;
use crate::tasks::TaskError;
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
    /// [`TrainingLoop::pass`](crate::TrainingLoop::pass) runs on: sum several losses before, or give each to
    /// [`TaskGradients`](crate::TaskGradients). None or two in one pass with loss scaling stop the run.
    fn scaled_backward(self) -> Gradients;
}

impl<const D: usize> ScaledBackward for Tensor<D> {
    fn scaled_backward(self) -> Gradients {
        let scale = PASS.with_borrow_mut(|pass| {
            let Context { asked: Asked { scale: Some(scale), .. }, shown } = pass.as_mut()? else {
                return None;
            };
            shown.scaled += 1;
            shown.scaled_loss = Some(value(&self));
            Some(*scale)
        });
        backward(self, scale)
    }
}

/// Goes backward from a loss, times a scale where there is one.
pub(crate) fn backward<const D: usize>(loss: Tensor<D>, scale: Option<f64>) -> Gradients {
    match scale {
        // In f32: a scale may be more than the largest number of f16.
        Some(scale) => (in_f32(loss) * scale).backward(),
        None => loss.backward(),
    }
}

/// The value of a loss, to be looked at.
pub(crate) fn value<const D: usize>(loss: &Tensor<D>) -> Tensor<1> {
    let loss = loss.clone();
    let loss = if loss.device().is_autodiff() { loss.inner() } else { loss };
    in_f32(loss).mean()
}

/// What a pass is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// `None` where no loss is scaled, so that the scale of a pass around this one is not taken for its own.
    pub scale: Option<f64>,
    /// Whether gradients of half precision are summed in f32, and stay in it.
    pub keeps_f32: bool,
    /// Whether somebody needs the cosine between task gradients.
    pub task_cosine: bool,
}

/// What a pass showed beside its output.
#[derive(Default)]
pub(super) struct Shown {
    /// How often a loss was scaled.
    pub scaled: usize,
    /// The last one before it was.
    pub scaled_loss: Option<Tensor<1>>,
    pub tasks: Option<ShownTasks>,
}

/// What the tasks of a pass showed together.
pub(crate) struct ShownTasks {
    /// The sum of their weighted losses.
    pub loss: Tensor<1>,
    /// The mean cosine between pairs of their gradients, where somebody needs it.
    pub cosine: Option<Tensor<1>>,
    /// Why they cannot be trained.
    pub error: Option<TaskError>,
}

struct Context {
    asked: Asked,
    shown: Shown,
}

thread_local! {
    static PASS: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// A forward and a backward pass from beginning to end.
pub(super) struct Pass(Option<Context>);

impl Pass {
    pub fn begin(asked: Asked) -> Self {
        Self(PASS.replace(Some(Context { asked, shown: Shown::default() })))
    }

    /// What it showed.
    pub fn end(self) -> Shown {
        PASS.with_borrow_mut(|pass| {
            pass.as_mut().map_or_else(Shown::default, |pass| std::mem::take(&mut pass.shown))
        })
    }
}

/// What the pass that runs on this thread is asked for; nothing where none runs.
pub(crate) fn asked() -> Asked {
    PASS.with_borrow(|pass| pass.as_ref().map_or_else(Asked::default, |pass| pass.asked))
}

/// Tells the pass that runs on this thread of its tasks, which count as one loss that was scaled. Gives them back where
/// none runs.
pub(crate) fn show_tasks(mut tasks: ShownTasks) -> Option<ShownTasks> {
    PASS.with_borrow_mut(|pass| {
        let Some(Context { asked, shown }) = pass else { return Some(tasks) };
        shown.scaled += usize::from(asked.scale.is_some());
        if shown.tasks.is_some() {
            tasks.error = tasks.error.or(Some(TaskError::Again));
        }
        shown.tasks = Some(tasks);
        None
    })
}

impl Drop for Pass {
    fn drop(&mut self) {
        PASS.set(self.0.take());
    }
}

//! Passes the loss scale to a forward and backward pass.

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
    /// Runs the backward pass from the loss times the current loss scale, in f32; without loss scaling, from the
    /// unscaled loss, so that the same model trains without it too.
    ///
    /// Call it once per pass, on the whole loss, and on the thread of `TrainStep::step` or
    /// [`TrainingLoop::pass`](crate::TrainingLoop::pass): sum several losses first, or give each to
    /// [`TaskGradients`](crate::TaskGradients). With loss scaling, no call or two calls in a pass stop the run.
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

/// Runs the backward pass from a loss, times a scale if there is one.
pub(crate) fn backward<const D: usize>(loss: Tensor<D>, scale: Option<f64>) -> Gradients {
    match scale {
        // In f32, because a scale may exceed the range of f16.
        Some(scale) => (in_f32(loss) * scale).backward(),
        None => loss.backward(),
    }
}

/// The value of a loss, without its graph.
pub(crate) fn value<const D: usize>(loss: &Tensor<D>) -> Tensor<1> {
    let loss = loss.clone();
    let loss = if loss.device().is_autodiff() { loss.inner() } else { loss };
    in_f32(loss).mean()
}

/// The settings of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// The loss scale; `None` without loss scaling, so that the scale of an outer pass is not used.
    pub scale: Option<f64>,
    /// Whether half-precision gradients are summed in f32, and stay in f32.
    pub keeps_f32: bool,
    /// Whether the cosine between task gradients is needed.
    pub task_cosine: bool,
}

/// The measurements of a pass, apart from its output.
#[derive(Default)]
pub(super) struct Shown {
    /// The number of times that a loss was scaled.
    pub scaled: usize,
    /// The last scaled loss, before scaling.
    pub scaled_loss: Option<Tensor<1>>,
    pub tasks: Option<ShownTasks>,
}

/// The measurements of a pass's tasks.
pub(crate) struct ShownTasks {
    /// The sum of their weighted losses.
    pub loss: Tensor<1>,
    /// The mean cosine between pairs of their gradients, if needed.
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

/// The scope of a forward and backward pass.
pub(super) struct Pass(Option<Context>);

impl Pass {
    pub fn begin(asked: Asked) -> Self {
        Self(PASS.replace(Some(Context { asked, shown: Shown::default() })))
    }

    /// Ends the pass and returns its measurements.
    pub fn end(self) -> Shown {
        PASS.with_borrow_mut(|pass| {
            pass.as_mut().map_or_else(Shown::default, |pass| std::mem::take(&mut pass.shown))
        })
    }
}

/// The settings of the current pass on this thread; the default without a pass.
pub(crate) fn asked() -> Asked {
    PASS.with_borrow(|pass| pass.as_ref().map_or_else(Asked::default, |pass| pass.asked))
}

/// Reports tasks to the current pass on this thread, as one scaled loss. Returns them if there is no pass.
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

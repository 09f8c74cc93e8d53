//! The gradients of several tasks that train one model together.

mod cosine;
mod error;

pub use cosine::{NoCosine, TaskCosine};
pub use error::TaskError;

use crate::update::{
    AskedOfPass, ByParameter, ShownTasks, asked_of_pass, backward, in_f32, is_half, show_tasks,
    value,
};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;

/// Computes the gradient of each task of a model, their cosines, and the gradient of the weighted sum of losses.
///
/// ```text
/// g = Σ w_i g_i          cos(i, j) = g_i · g_j / (‖g_i‖ ‖g_j‖)
/// ```
///
/// with the weight w_i of a task, at least 0 and by default 1. Cosines cover the parameters that have a gradient of
/// both tasks, for example a trunk; a head that only one task trains does not count.
///
/// Burn cannot go backward twice through one graph. So **each task runs its own forward pass**, in its closure, and one
/// backward pass: n tasks cost n forward and n backward passes, whereas a sum of losses runs the trunk only once. All
/// gradients are kept until the pass is over.
///
/// In a model's `TrainStep::step`, or in [`TrainingLoop::pass`](crate::TrainingLoop::pass), the losses are scaled as by
/// one call of [`scaled_backward`](crate::ScaledBackward::scaled_backward), and the loss of the pass is the weighted
/// sum, whatever its output holds. The mean cosine is measured if a controller (for example
/// [`TaskConflict`](crate::control::TaskConflict)) or the [log of updates](crate::LogUpdates) needs it. Elsewhere
/// nothing is scaled or measured.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig, loss::MseLoss, loss::Reduction};
/// use burn::optim::SgdConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::control::TaskConflict;
/// use burn_anneal::prelude::*;
///
/// #[derive(Module, Debug)]
/// struct TwoHeads {
///     trunk: Linear,
///     heads: Vec<Linear>,
/// }
///
/// impl TwoHeads {
///     fn loss(&self, head: usize, input: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
///         let output = self.heads[head].forward(self.trunk.forward(input).tanh());
///         MseLoss::new().forward(output, target, Reduction::Mean)
///     }
/// }
///
/// let device = Device::default().autodiff();
/// let layer = |inputs, outputs| LinearConfig::new(inputs, outputs).init(&device);
/// let model = TwoHeads { trunk: layer(4, 8), heads: vec![layer(8, 1), layer(8, 1)] };
/// let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), cosine(0.1))
///     .run(RunLength::updates(100))
///     .groups(GroupsConfig::new().group(Group::new("trunk", "^trunk")).group(Group::rest("heads")))
///     .controller("conflict", TaskConflict::new().on_group("trunk"))
///     .build_loop()?;
/// let input = || Tensor::<2>::ones([1, 4], &device);
/// training.pass(|model| {
///     let mut tasks = TaskGradients::of(model);
///     tasks.task("up", |model| model.loss(0, input(), Tensor::ones([1, 1], &device)));
///     tasks.weighted_task("down", 0.5, |model| model.loss(1, input(), -Tensor::ones([1, 1], &device)));
///     let loss = tasks.loss();
///     tasks.output(loss)
/// });
/// training.update()?;
/// assert!(training.observation().task_cosine.unwrap().abs() <= 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug)]
pub struct TaskGradients<'a, M> {
    model: &'a M,
    asked: AskedOfPass,
    tasks: Vec<Task>,
    error: Option<TaskError>,
}

/// The result of a task's closure: its loss, or an output that has it.
pub trait TaskLoss {
    /// The loss; the mean is used if it has several elements.
    fn task_loss(&self) -> Tensor<1>;
}

impl TaskLoss for Tensor<1> {
    fn task_loss(&self) -> Tensor<1> {
        self.clone()
    }
}

#[derive(Debug)]
struct Task {
    name: String,
    weight: f64,
    loss: Tensor<1>,
    /// Scaled, but not weighted.
    gradients: ByParameter,
}

impl<'a, M: Module> TaskGradients<'a, M> {
    /// Starts without tasks for a model.
    pub fn of(model: &'a M) -> Self {
        Self { model, asked: asked_of_pass(), tasks: vec![], error: None }
    }

    /// Adds a task of weight 1; see [`weighted_task`](Self::weighted_task).
    pub fn task<L: TaskLoss>(&mut self, name: impl Into<String>, run: impl FnOnce(&M) -> L) -> L {
        self.weighted_task(name, 1.0, run)
    }

    /// Runs the forward and backward pass of a task, and returns the result of its closure. A loss without parameters,
    /// for example of a batch without items for the task, has no gradient.
    ///
    /// Names must be unique, weights finite and at least 0; a task of weight 0 is measured, but not trained.
    /// [`check`](Self::check) returns any error, which also stops the run.
    pub fn weighted_task<L: TaskLoss>(
        &mut self,
        name: impl Into<String>,
        weight: f64,
        run: impl FnOnce(&M) -> L,
    ) -> L {
        let name = name.into();
        let found = run(self.model);
        if !(weight >= 0.0 && weight.is_finite()) {
            self.error.get_or_insert(TaskError::Weight { name, weight });
        } else if self.tasks.iter().any(|task| task.name == name) {
            self.error.get_or_insert(TaskError::SameName { name });
        } else {
            let loss = found.task_loss().mean();
            let shown = value(&loss);
            let gradients = match loss.is_tracked() {
                true => self.backward(loss),
                false => ByParameter::default(),
            };
            self.tasks.push(Task { name, weight, loss: shown, gradients });
        }
        found
    }

    fn backward(&self, loss: Tensor<1>) -> ByParameter {
        let gradients = backward(loss, self.asked.scale);
        let gradients = GradientsParams::from_grads(gradients, self.model);
        ByParameter::gradients(self.model, gradients.into())
    }

    /// Checks the tasks.
    ///
    /// # Errors
    /// [`TaskError`] if two tasks have the same name, a weight is out of its range, or there is no task.
    pub fn check(&self) -> Result<(), TaskError> {
        match &self.error {
            Some(error) => Err(error.clone()),
            None if self.tasks.is_empty() => Err(TaskError::None),
            None => Ok(()),
        }
    }

    /// The sum of the weighted losses, in at least f32; 0 without tasks.
    pub fn loss(&self) -> Tensor<1> {
        let weighted = self.trained().map(|task| task.loss.clone() * task.weight);
        let sum = weighted.reduce(|sum, loss| sum.clone() + loss.to_device(&sum.device()));
        sum.unwrap_or_else(|| {
            let device = self.model.devices().into_iter().next();
            Tensor::from_floats([0.0], &device.map_or_else(Device::default, Device::inner))
        })
    }

    /// The cosine of each pair of tasks, in the order in which they were added. Waits for the device once.
    pub fn cosines(&self) -> Vec<TaskCosine> {
        cosine::of_pairs(&self.tasks)
    }

    /// The unweighted gradient of a task, times the loss scale of the pass; `None` if there is no such task.
    pub fn gradients(&self, name: &str) -> Option<GradientsParams> {
        let task = self.tasks.iter().find(|task| task.name == name)?;
        Some(task.gradients.clone().into_single(self.model))
    }

    /// The tasks that train.
    fn trained(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.weight > 0.0)
    }

    /// The gradient of the weighted sum, times the loss scale of the pass. Half-precision gradients are summed in f32.
    pub fn combined(&self) -> GradientsParams {
        let weighted = |task: &Task| task.gradients.clone().map(in_f32).times(task.weight);
        let sum = self.trained().map(weighted).reduce(ByParameter::plus).unwrap_or_default();
        let gradients = self.tasks.iter().flat_map(|task| task.gradients.iter());
        let is_rounded =
            !self.asked.keeps_f32 && gradients.map(|(_, found)| found).any(|g| is_half(g.dtype()));
        let sum = if is_rounded { sum.into_stored(self.model) } else { sum };
        sum.into_single(self.model)
    }

    /// The result of the pass, with the [`combined`](Self::combined) gradient and this output. If the tasks are
    /// invalid, there is no gradient, and the run stops with [`UpdateError::Tasks`](crate::UpdateError::Tasks) before
    /// its update.
    pub fn output<O>(self, output: O) -> TrainOutput<O> {
        let gradients = self.combined();
        self.output_with(gradients, output)
    }

    /// Like [`output`](Self::output), with your own combination of the gradients of the [tasks](Self::gradients).
    pub fn output_with<O>(self, gradients: GradientsParams, output: O) -> TrainOutput<O> {
        let (loss, error) = (self.loss(), self.check().err());
        let is_wrong = error.is_some();
        let cosine =
            (self.asked.task_cosine && !is_wrong).then(|| cosine::mean(&self.tasks, &loss));
        let alone = show_tasks(ShownTasks { loss, cosine, error });
        if let Some(error) = alone.and_then(|tasks| tasks.error) {
            log::error!("TaskGradients: {error}");
        }
        let grads = if is_wrong { GradientsParams::new() } else { gradients };
        TrainOutput { grads, item: output }
    }
}

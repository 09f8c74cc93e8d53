//! An average of a model's weights in a custom loop.

use super::{Average, AverageError};
use crate::schedule_free::ScheduleFree;
use crate::update::{Averaging, InOperations, Points, Steered, Taken};
use anneal_schedule::{OutOfRange, RunLength};
use burn::module::Module;
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer, OptimizerRecord};
use burn::tensor::{Device, Tensor};
use std::fmt;

/// Averages the weights of a model in a loop with Burn's own optimizers.
///
/// ```
/// use burn_anneal::prelude::*;
/// # use burn::nn::LinearConfig;
/// # use burn::module::Module;
/// # use burn::optim::{GradientsParams, SgdConfig};
/// # use burn::tensor::{Device, Tensor};
/// # let device = Device::default().autodiff();
/// # let mut model = LinearConfig::new(2, 1).init(&device);
/// # let mut optimizer = SgdConfig::new().init();
/// # let input = Tensor::<2>::ones([4, 2], &device);
/// let mut average = AveragedModel::new(Average::ema(0.999).warmup())?;
/// for _ in 0..10 {
///     let gradients = model.forward(input.clone()).powi_scalar(2).mean().backward();
///     let gradients = GradientsParams::from_grads(gradients, &model);
///     model = optimizer.step(0.1, model, gradients);
///     average.update(&model);
/// }
/// let averaged = average.valid(&model); // to be evaluated or saved; after `train()` to be trained on
/// # assert_ne!(averaged.weight.val().into_data(), model.valid().weight.val().into_data());
/// # Ok::<(), AverageError>(())
/// ```
///
/// It averages the trained parameters, or all parameters of a model without autodiff, in at least f32, and shares no
/// memory with the model. [`valid`](Self::valid) takes everything else from the model that it is given. In a
/// [`TrainingLoop`](crate::TrainingLoop), use [`LearnerBuilder::average`](crate::LearnerBuilder::average) instead.
#[derive(Clone)]
pub struct AveragedModel {
    averaging: Averaging,
    /// Makes no updates; its state of a parameter is the average.
    keeper: ModuleOptimizer,
    updates: u64,
    points: Points,
}

impl fmt::Debug for AveragedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AveragedModel").field("updates", &self.updates).finish_non_exhaustive()
    }
}

impl AveragedModel {
    /// Averages all trained parameters, with lengths in updates.
    ///
    /// # Errors
    /// [`AverageError`] names the field, its value and the allowed range. An average [`on`](Average::on) a part of the
    /// model needs [`LearnerBuilder::average`](crate::LearnerBuilder::average).
    pub fn new(average: Average) -> Result<Self, AverageError> {
        Self::in_run(average, RunLength::unbounded())
    }

    /// Like [`new`](Self::new), in a run of known length, so that lengths may be epochs and percentages.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_run(average: Average, run: RunLength) -> Result<Self, AverageError> {
        let run = run.resolve()?;
        if average.part().is_some() {
            let allowed =
                "an average of the whole model; for a part of it, use LearnerBuilder::average";
            return Err(AverageError::OutOfRange(OutOfRange::new("on", &average, allowed)));
        }
        let averages: Vec<_> = average.resolve(&run)?.into_iter().collect();
        let of_others = (!averages.is_empty()).then_some(0);
        Ok(Self {
            averaging: Averaging { averages, of_others, ..Averaging::default() },
            keeper: Steered::of(InOperations(Still)).into(),
            updates: 0,
            points: Points::default(),
        })
    }

    /// Adds the weights after an update, if the average takes this one.
    pub fn update<M: Module>(&mut self, model: &M) {
        let taken = Taken { number: self.updates, is_made: true, are_new: false };
        self.updates += 1;
        if self.averaging.is_due(taken) {
            self.points = Points::default();
            self.points = self.averaging.take(taken, Points::default(), model, &mut self.keeper);
        }
    }

    /// The model in its `valid()` form with the averages, or with its own weights before the first average.
    pub fn valid<M: Module>(&self, model: &M) -> M {
        self.points.put(model.valid())
    }

    /// The number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The state to save, with the number of [`updates`](Self::updates), to continue later.
    pub fn to_record(&self) -> OptimizerRecord {
        self.keeper.to_record()
    }

    /// Continues an average of this model that was saved after `updates` updates.
    ///
    /// # Errors
    /// [`AverageError::OtherRecord`] if the record has no average of this kind for the parameters of the model.
    pub fn load_record<M: Module>(
        self,
        record: OptimizerRecord,
        updates: u64,
        model: &M,
    ) -> Result<Self, AverageError> {
        let is_empty = record.is_empty();
        let mut keeper = self.keeper.load_record(record);
        let points = self.averaging.look(updates, model, &mut keeper);
        match points.is_empty() && !is_empty {
            true => Err(AverageError::OtherRecord),
            false => Ok(Self { averaging: self.averaging, keeper, updates, points }),
        }
    }
}

/// The model with the averages in an optimizer's record, which a schedule-free optimizer has too; `None` if there are
/// none.
pub(crate) fn with_averages<M: Module>(model: &M, record: OptimizerRecord) -> Option<M> {
    let keeper = ModuleOptimizer::from(Steered {
        evaluates: true,
        ..Steered::of(InOperations(ScheduleFree::reader(Still)))
    });
    let points = Averaging::by_optimizer(model, keeper.load_record(record));
    (!points.is_empty()).then(|| points.put(model.clone()))
}

/// An optimizer that changes nothing.
#[derive(Clone)]
struct Still;

impl Optimizer for Still {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        _rate: LearningRate,
        weight: Tensor<D>,
        _gradient: Tensor<D>,
        _state: Option<()>,
    ) -> (Tensor<D>, Option<()>) {
        (weight, None)
    }

    fn to_device<const D: usize>(_state: (), _device: &Device) {}
}

//! Trains with Burn's `SupervisedTraining` in this crate's own loop.
//!
//! Burn's own loops are private, and a training does not expose its settings, but it passes all of them to a custom
//! strategy. So epochs, batch size and devices are given once, and a run can start in mid-epoch.

mod feed;
mod metrics;
mod run;
mod workers;

pub(crate) use metrics::epoch_metrics;

use crate::build_error::BuildError;
use crate::builder::{Driver, For, LearnerBuilder};
use crate::checkpoint::{Checkpoint, Records, Store};
use crate::groups::GroupError;
use anneal_schedule::{OutOfRange, RunLength};
use burn::data::dataloader::split::split_dataloader;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::{
    ExecutionStrategy, Learner, LearnerModel, LearningResult, MultiDeviceOptim,
    SupervisedLearningStrategy, SupervisedTraining, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, TrainingStrategy, ValidLoader,
};
pub(crate) use feed::Feed;
use run::{InEpoch, Run};
use std::cell::RefCell;
use std::sync::Arc;

impl<M: LearnerModel> LearnerBuilder<M> {
    /// Trains with Burn's `SupervisedTraining` and returns the trained model. Dashboard, metrics, loggers, early
    /// stopping and checkpointing strategy are Burn's.
    ///
    /// Everything is checked before the first update. The epochs come from the training, items and batch size from its
    /// loader; they must agree with [`run`](Self::run), if given. Training can resume ([`resume`](Self::resume)) and
    /// save in mid-epoch ([`checkpoints`](Self::checkpoints)).
    ///
    /// The model of the result is in its `valid()` form, as in Burn; after `train()` it requires gradients as before
    /// the run. If an error stops the run, it is in the result's `error`, which [`finished`](Finished::finished)
    /// returns, and, typed, in [`watch`](Self::watch).
    ///
    /// ```no_run
    /// use burn::optim::AdamWConfig;
    /// use burn::train::{LearnerModel, SupervisedTraining, TrainLoader, ValidLoader};
    /// use burn_anneal::prelude::*;
    ///
    /// fn train<M: LearnerModel>(model: M, train: TrainLoader<M>, valid: ValidLoader<M>) -> Result<M, BuildError> {
    ///     let training = SupervisedTraining::new("runs/mine", train, valid).num_epochs(10);
    ///     let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
    ///     LearnerBuilder::new(model, optimizer, cosine(3e-4).warmup(Span::percent(5.0)))
    ///         .clip_global_norm(1.0)
    ///         .checkpoints(Checkpoints::new("runs/mine"))
    ///         .resume(Newest)
    ///         .launch(training)?
    ///         .finished()
    /// }
    /// ```
    ///
    /// # Errors
    /// [`BuildError`] names the part, its field and the allowed range.
    pub fn launch(self, training: SupervisedTraining<M>) -> Result<LearningResult<M>, BuildError> {
        let devices = self.devices()?;
        let metrics = self.asked_metrics()?;
        let store = match &self.checkpoints {
            Some(checkpoints) => match checkpoints.wrong() {
                Some((field, value, allowed)) => {
                    return Err(BuildError::Checkpoints(OutOfRange::new(field, value, allowed)));
                }
                None => Some(Store::of(checkpoints.directory())),
            },
            None => None,
        };
        let saved = self.records()?;
        if let (None, Some(store), Some(checkpoints)) = (&saved, &store, &self.checkpoints)
            && !store.is_empty()?
        {
            let directory = checkpoints.directory().to_path_buf();
            return Err(BuildError::OldCheckpoints { directory });
        }
        let training = metrics.into_iter().fold(training, SupervisedTraining::metric_train_numeric);
        let training = match &store {
            Some(store) => training.with_custom_checkpointers(
                store.checkpointer("model"),
                store.checkpointer("optim"),
                store.checkpointer("scheduler"),
            ),
            None => training,
        };
        // Burn needs a learner, but only its model is used.
        let shown = Learner::new(self.model.clone(), SgdConfig::new().init(), 0.0);
        let in_epoch = self.checkpoints.as_ref().zip(store);
        let in_epoch = in_epoch.map(|(checkpoints, store)| InEpoch::new(checkpoints, store));
        let resumes = saved.as_ref().map(|(checkpoint, _)| checkpoint.clone());
        let (error, started) = (Shared::default(), Shared::default());
        *started.borrow_mut() = Some(Start { builder: self, devices, saved, in_epoch });
        let strategy = Strategy { resumes, started, error: error.clone() };
        let training =
            training.with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
        let result = training.launch(shown);
        match error.borrow_mut().take() {
            Some(error) => Err(error),
            None => Ok(result),
        }
    }

    /// The devices that train; the first one updates the model.
    pub(crate) fn devices(&self) -> Result<Vec<Device>, BuildError> {
        let refused = |strategy, instead| Err(BuildError::Execution { strategy, instead });
        if self.model.devices().is_empty() {
            return Err(GroupError::NoParameters { parameters: 0 }.into());
        }
        let devices = match self.execution.as_deref() {
            None => self.model.devices().into_iter().take(1).collect(),
            Some(ExecutionStrategy::SingleDevice(device)) => vec![device.clone()],
            Some(ExecutionStrategy::MultiDevice(devices, MultiDeviceOptim::OptimMainDevice)) => {
                devices.clone()
            }
            Some(ExecutionStrategy::MultiDevice(..)) => {
                let instead = "launch updates the model on the first device; train with \
                               MultiDeviceOptim::OptimMainDevice, or build a learner for Burn's own loop, which supports it";
                return refused("MultiDeviceOptim::OptimSharded", instead);
            }
            Some(ExecutionStrategy::DistributedDataParallel { .. }) => {
                let instead = "it trains a clone of the learner on each device, without synchronizing loss scales and \
                               controllers; train with ExecutionStrategy::multi(devices, \
                               MultiDeviceOptim::OptimMainDevice)";
                return refused("ExecutionStrategy::DistributedDataParallel", instead);
            }
        };
        if devices.is_empty() {
            return refused("a run without devices", "give at least one");
        }
        let autodiff = |device: Device| match device.is_autodiff() {
            true => device,
            false => device.autodiff(),
        };
        Ok(devices.into_iter().map(autodiff).collect())
    }
}

/// Takes the model out of the result of a run.
pub trait Finished<M> {
    /// The model, even if the run was interrupted.
    ///
    /// # Errors
    /// [`BuildError::Stopped`] if an error stopped the run.
    fn finished(self) -> Result<M, BuildError>;
}

impl<M> Finished<M> for LearningResult<M> {
    fn finished(self) -> Result<M, BuildError> {
        match self.error {
            Some(error) => Err(BuildError::Stopped(error)),
            None => Ok(self.model),
        }
    }
}

/// A value in a strategy, which Burn uses by reference, on the thread that launched it.
type Shared<T> = std::rc::Rc<RefCell<Option<T>>>;

/// Everything to start a run, once Burn has passed the settings of the training.
struct Start<M> {
    builder: LearnerBuilder<M>,
    devices: Vec<Device>,
    saved: Option<(Checkpoint, Records)>,
    in_epoch: Option<InEpoch>,
}

/// The strategy by which Burn enters the loop.
struct Strategy<M> {
    resumes: Option<Checkpoint>,
    started: Shared<Start<M>>,
    /// The error if nothing was trained.
    error: Shared<BuildError>,
}

impl<M: LearnerModel> SupervisedLearningStrategy<M> for Strategy<M> {
    fn train(
        &self,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        mut components: TrainingComponents<M>,
    ) -> LearningResult<M> {
        if let Some(epoch) = components.checkpoint {
            let resume = self.resumes.clone();
            *self.error.borrow_mut() = Some(BuildError::CheckpointTwice { epoch, resume });
        }
        // The dashboard starts counting here.
        components.checkpoint = self.resumes.as_ref().map(Checkpoint::epoch);
        Loop(self).train(learner, train, valid, components)
    }

    fn fit(
        &self,
        components: TrainingComponents<M>,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        Loop(self).fit(components, learner, train, valid, starting_epoch)
    }
}

/// The loop itself, with Burn's default `train` around it, which `Strategy` overrides and so cannot call.
struct Loop<'a, M>(&'a Strategy<M>);

impl<M: LearnerModel> SupervisedLearningStrategy<M> for Loop<'_, M> {
    fn fit(
        &self,
        mut components: TrainingComponents<M>,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        _starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let start = self.0.started.borrow_mut().take().filter(|_| self.0.error.borrow().is_none());
        let Some(start) = start else { return (learner.model(), components.event_processor) };
        let model = learner.model();
        drop(learner);
        match start.run(&mut components, train, valid, model) {
            Ok(model) => (model, components.event_processor),
            Err((error, model)) => {
                *self.0.error.borrow_mut() = Some(error);
                (model, components.event_processor)
            }
        }
    }
}

impl<M: LearnerModel> Start<M> {
    /// Finds the length of the run, builds the parts, and trains. `shown` is the model that Burn was given.
    fn run(
        self,
        components: &mut TrainingComponents<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        shown: M,
    ) -> Result<M, (BuildError, M)> {
        let Self { builder, devices, saved, in_epoch } = self;
        let loaders = match &devices[..] {
            [device] => vec![train.to_device(device)],
            devices => split_dataloader(train.clone(), devices),
        };
        let valid = valid.to_device(&devices[0].clone().inner());
        let mut first = Feed::open(&loaders, 1, 0);
        let is_known = first.is_known();
        let said = builder.run.unwrap_or(RunLength::of_training());
        let length = length(&mut first, said, components, devices.len());
        let in_mid_epoch = in_epoch.as_ref().is_some_and(InEpoch::saves);
        let run = match length {
            Ok(_) if in_mid_epoch && !is_known => Err(BuildError::UnknownOrder),
            length => length,
        };
        let interrupter = Some(components.interrupter.clone());
        let statistics = builder.recompute();
        let parts = run.and_then(|run| {
            let passes = Some(builder.passes());
            let how = For { run, saved, driver: Driver::Launch, passes, interrupter };
            let parts = builder.parts(how)?;
            if parts.updater.monitor.place().rounds > 0 && !is_known {
                return Err(BuildError::UnknownOrder);
            }
            in_epoch.as_ref().map_or(Ok(()), InEpoch::prepare)?;
            Ok((parts, run))
        });
        let (parts, run) = match parts {
            Ok(parts) => parts,
            Err(error) => return Err((error, shown)),
        };
        drop(shown);
        let run = Run::new(parts, statistics, run, devices, in_epoch, components);
        Ok(run.train(&loaders, first, valid))
    }
}

/// The length of the run, from its loader and training, checked against the length given to the builder.
fn length<M: LearnerModel, I>(
    first: &mut Feed<'_, I>,
    said: RunLength,
    components: &TrainingComponents<M>,
    devices: usize,
) -> Result<RunLength, BuildError> {
    if components.num_epochs == 0 {
        return Err(BuildError::NoEpochs);
    }
    let batch_size = first.batch_size().map_err(|reason| BuildError::Loader { reason })?;
    let Some(batch_size) = batch_size.filter(|_| first.items() > 0) else {
        return Err(BuildError::NoItems);
    };
    let found = RunLength::from_items(first.items(), batch_size);
    let found = found.epochs(components.num_epochs).devices(devices);
    let found = match components.grad_accumulation {
        Some(accumulation) => found.gradient_accumulation(accumulation),
        None => found,
    };
    Ok(said.agree(found)?)
}

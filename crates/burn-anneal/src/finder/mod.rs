//! Finds a rate before a run, on copies of the training.

mod batches;
mod error;
mod first_rate;
mod range;
mod steered;
mod warmup;

pub(crate) use batches::{Batches, NoBatch};
pub use error::FindError;
pub use first_rate::FirstRateFound;
pub use range::{FinderProgress, LrFinder};
pub use warmup::WarmupFound;

use crate::build_error::BuildError;
use crate::builder::{Driver, For, LearnerBuilder, Parts};
use crate::deep_copy::deep_copy;
use crate::launch::Feed;
use crate::training_loop::TrainingLoop;
use anneal_schedule::{AgreementError, Contradiction, RunLength};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::{LearnerModel, TrainLoader, TrainStep};
use std::sync::Arc;

/// The epochs of a run if their number is not given.
const EPOCHS: usize = 1_000;

/// The training that a finder copies, and its batches.
struct Subject<M: LearnerModel> {
    base: TrainingLoop<M>,
    loader: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
    /// Whether the loader is not advanced.
    stays: bool,
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// The training, with a loader of its batches on its device. A resumed run starts where it continues.
    fn subject(&self, loader: &TrainLoader<M>) -> Result<Subject<M>, FindError> {
        let device = self.devices()?.swap_remove(0);
        let loader = loader.to_device(&device);
        let mut feed = Feed::look(loader.as_ref(), 1);
        let batch_size = feed.batch_size().map_err(|reason| FindError::Loader { reason })?;
        let Some(batch_size) = batch_size.filter(|_| feed.items() > 0) else {
            return Err(FindError::NoBatches);
        };
        let found = RunLength::from_items(feed.items(), batch_size);
        let run = run_of(self.run.unwrap_or(RunLength::of_training()), found)?;
        let passes = self.passes();
        let mut builder = self.clone().traceless();
        if builder.model.devices() != [device.clone()] {
            // Without the copy, the running statistics of clones would change too.
            builder.model = deep_copy(&builder.model).fork(&device);
        }
        let how = For {
            run,
            saved: self.records()?,
            driver: Driver::OwnLoop,
            passes: Some(passes),
            interrupter: None,
        };
        let Parts { model, updater, optimizer, scheduler } = builder.parts(how)?;
        if !passes.knows_loss && updater.monitor.slot().lock().controllers.loss_scale().is_none() {
            let controller = "rate finder".to_string();
            return Err(BuildError::LossUnknown { controller }.into());
        }
        let stays = feed.is_known();
        drop(feed);
        let base = TrainingLoop::new(model, updater, optimizer, scheduler, None);
        Ok(Subject { base, loader, stays })
    }
}

/// The length of a run over this loader; the number of epochs is optional.
fn run_of(said: RunLength, found: RunLength) -> Result<RunLength, AgreementError> {
    match said.agree(found.epochs(EPOCHS)) {
        Err(AgreementError::Contradiction(Contradiction { what: "epochs", run, .. })) => {
            said.agree(found.epochs(usize::try_from(run).unwrap_or(usize::MAX)))
        }
        // It has this many updates, in any number of epochs.
        Err(AgreementError::Contradiction(Contradiction { what: "updates", .. })) => Ok(said),
        agreed => agreed,
    }
}

/// The notes about the loader: how often it ended, and whether it was advanced.
fn notes(ended: u64, stays: bool) -> Vec<String> {
    let repeated = (ended > 0).then(|| {
        format!("the loader has fewer batches than needed; it was repeated {} times", ended + 1)
    });
    let moved = (!stays).then(|| {
        "the loader is not a SeededLoader: if it shuffles, the search has changed its next epoch".into()
    });
    repeated.into_iter().chain(moved).collect()
}

/// Seeds the generators of devices, and again on drop: Burn's generators cannot be saved and restored.
struct Seeded {
    devices: Vec<Device>,
    seed: u64,
}

impl Seeded {
    fn new<M: Module>(model: &M, seed: u64) -> Self {
        let seeded = Self { devices: model.devices(), seed };
        seeded.begin(0);
        seeded
    }

    /// Seeds the generators for the trial of this number.
    fn begin(&self, number: u64) {
        self.devices.iter().for_each(|device| device.seed(self.seed.wrapping_add(number)));
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        self.begin(0);
    }
}

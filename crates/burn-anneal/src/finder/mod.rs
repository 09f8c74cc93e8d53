//! Finding a rate before a run, on copies of what would train.

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

/// Epochs of a run of which nobody says how many it has.
const EPOCHS: usize = 1_000;

/// What a finder trains copies of, and its batches.
struct Subject<M: LearnerModel> {
    base: TrainingLoop<M>,
    loader: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
    /// Whether the loader gives next what it would have given.
    stays: bool,
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// What would train, with a loader of its batches on its device. Where a run is resumed, it goes on from there.
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
            // Forked, the running statistics of clones would move too.
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

/// The length of a run over such a loader, of which nobody need say how many epochs it has.
fn run_of(said: RunLength, found: RunLength) -> Result<RunLength, AgreementError> {
    match said.agree(found.epochs(EPOCHS)) {
        Err(AgreementError::Contradiction(Contradiction { what: "epochs", run, .. })) => {
            said.agree(found.epochs(usize::try_from(run).unwrap_or(usize::MAX)))
        }
        // It has so many updates, in however many epochs.
        Err(AgreementError::Contradiction(Contradiction { what: "updates", .. })) => Ok(said),
        agreed => agreed,
    }
}

/// What is to be said of the loader: how often it came to its end, and whether it gives next what it would have given.
fn notes(ended: u64, stays: bool) -> Vec<String> {
    let repeated = (ended > 0).then(|| {
        format!(
            "the loader has fewer batches than are needed: it was gone through {} times",
            ended + 1
        )
    });
    let moved = (!stays).then(|| {
        "the loader is no SeededLoader: if it shuffles, its next epoch is another than it would have been".into()
    });
    repeated.into_iter().chain(moved).collect()
}

/// Seeds the generators of devices, and again when it is dropped: Burn's cannot be read, and so not be put back.
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

    /// Seeds them for the trial of this number.
    fn begin(&self, number: u64) {
        self.devices.iter().for_each(|device| device.seed(self.seed.wrapping_add(number)));
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        self.begin(0);
    }
}

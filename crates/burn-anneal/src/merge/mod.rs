//! Merges checkpoints from a constant rate into the model that a decay would have given.

mod error;
mod mean;

pub use error::MergeError;

use crate::checkpoint::{Checkpoint, CheckpointError, load_model};
use crate::snapshots::Snapshot;
use anneal_schedule::{MergeRecipeError, ScheduleConfig, merge_coefficients};
use burn::module::Module;
use mean::Mean;
use std::path::{Path, PathBuf};

/// Merges checkpoints of a phase at a constant rate into the model that decaying over that phase would have given.
///
/// ```text
/// θ = Σ c_j θ_j = θ₀ + Σ w_j (θ_j − θ_{j−1})
/// ```
///
/// w_j is the mean of the decay curve in the updates between two checkpoints, relative to its first rate, and c_j
/// follows from it. [`merge_coefficients`] tells when this is exact; for a network it never is. The recipe can be any
/// curve that never rises; its length is optional, because it is resolved over the updates from the first checkpoint to
/// the last. The checkpoints may have any distances.
///
/// Give `checkpoints` in the order in which they were saved: [`Snapshot`]s, for example of
/// [`Snapshots::every`](crate::Snapshots::every); [`Checkpoint`]s, of which master weights are used in half precision;
/// or pairs of the number of updates and the path of a Burn record of the model. Each file is read once; one at a time
/// is in memory, plus the sum, which is in at least f32.
///
/// The result has the precision, device and form of `model` (ready to train, or `valid()`). Running statistics are
/// merged like weights; integers, booleans and quantized weights come from the last checkpoint. Logs one line per file.
///
/// # Errors
/// [`MergeError`] names the file that cannot be read, is from another model, has NaN or infinite weights, or is not
/// later than the one before. It is also returned for fewer than two checkpoints, for an invalid curve, and if a merged
/// weight exceeds the range of `model`'s precision.
///
/// Source: Tian et al. 2025, "WSM: Decay-free learning rate schedule via checkpoint merging for LLM pre-training" (arXiv 2507.17634);
/// Sanyal et al. 2023, "Early weight averaging meets high learning rates for LLM pre-training" (arXiv 2306.03241).
///
/// ```
/// use burn_anneal::prelude::*;
/// # use burn::module::Module;
/// # use burn::nn::LinearConfig;
/// # use burn::optim::SgdConfig;
/// # use burn::tensor::{Device, Tensor};
/// # use burn::train::TrainOutput;
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// # let device = Device::default().autodiff();
/// # let model = LinearConfig::new(2, 2).init(&device);
/// // A snapshot after every ten of 100 updates; any of launch, build and build_loop.
/// let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.01))
///     .run(RunLength::updates(100))
///     .snapshots(Snapshots::new(directory).every(10))
///     .build_loop()?;
/// # for _ in 0..100 {
/// #     training.pass(|model| {
/// #         let loss = model.forward(Tensor::<2>::ones([1, 2], &device)).powi_scalar(2).sum();
/// #         TrainOutput::new(model, loss.backward(), loss)
/// #     });
/// #     training.update()?;
/// # }
/// // … training …
/// let model = training.into_model();
/// let last = Snapshots::list(directory)?.into_iter().filter(|snapshot| snapshot.update() >= 59);
/// let model = merge(linear(1.0, 0.0), last, model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge<M: Module, C: Into<SavedWeights>>(
    decay: impl Into<ScheduleConfig>,
    checkpoints: impl IntoIterator<Item = C>,
    model: M,
) -> Result<M, MergeError> {
    let files: Vec<SavedWeights> = checkpoints.into_iter().map(Into::into).collect();
    let updates = files.iter().map(SavedWeights::updates).collect::<Result<Vec<_>, _>>()?;
    let coefficients = merge_coefficients(decay, &updates).map_err(|error| match error {
        MergeRecipeError::NotAscending { index, before, update } => {
            MergeError::Order { path: files[index].path(), updates: update, before }
        }
        error => MergeError::Recipe(error),
    })?;
    let is_autodiff = model.devices().iter().any(|device| device.is_autodiff());
    // With its own running statistics, which clones would share.
    let model = model.valid();
    let (mut mean, mut last) = (Mean::default(), None);
    for ((file, updates), coefficient) in files.iter().zip(updates).zip(coefficients) {
        // Keeps only one model in memory.
        drop(last.take());
        let path = file.path();
        log::info!("merge: {coefficient:.6} × {}, after {updates} updates", path.display());
        let loaded = file.load(model.valid())?;
        mean.add(coefficient, &loaded)
            .map_err(|parameter| MergeError::NotFinite { path, parameter })?;
        last = Some(loaded);
    }
    let last = last.expect("a recipe has two checkpoints at least");
    let merged = mean.into_model(last, &model);
    let merged = merged.map_err(|parameter| MergeError::OutOfPrecision { parameter })?;
    Ok(if is_autodiff { merged.train() } else { merged })
}

/// Weights in a file and the number of updates before they were saved, for [`merge`].
///
/// Made from a [`Snapshot`], a [`Checkpoint`], or a pair of that number and the path of a Burn record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedWeights(Source);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Record(u64, PathBuf),
    Checkpoint(Checkpoint),
}

impl SavedWeights {
    fn updates(&self) -> Result<u64, CheckpointError> {
        match &self.0 {
            Source::Record(updates, _) => Ok(*updates),
            Source::Checkpoint(checkpoint) => checkpoint.updates(),
        }
    }

    fn path(&self) -> PathBuf {
        match &self.0 {
            Source::Record(_, path) => path.clone(),
            Source::Checkpoint(checkpoint) => checkpoint.path("model"),
        }
    }

    fn load<M: Module>(&self, model: M) -> Result<M, CheckpointError> {
        match &self.0 {
            Source::Record(_, path) => load_model(path, model),
            Source::Checkpoint(checkpoint) => checkpoint.load_in_f32(model),
        }
    }
}

impl From<&Snapshot> for SavedWeights {
    fn from(snapshot: &Snapshot) -> Self {
        (snapshot.update().saturating_add(1), snapshot.path()).into()
    }
}

impl From<Snapshot> for SavedWeights {
    fn from(snapshot: Snapshot) -> Self {
        (&snapshot).into()
    }
}

impl From<&Checkpoint> for SavedWeights {
    fn from(checkpoint: &Checkpoint) -> Self {
        checkpoint.clone().into()
    }
}

impl From<Checkpoint> for SavedWeights {
    fn from(checkpoint: Checkpoint) -> Self {
        Self(Source::Checkpoint(checkpoint))
    }
}

impl<P: AsRef<Path>> From<(u64, P)> for SavedWeights {
    fn from((updates, path): (u64, P)) -> Self {
        Self(Source::Record(updates, path.as_ref().to_path_buf()))
    }
}

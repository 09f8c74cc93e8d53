//! The errors of checkpoints.

use super::Checkpoint;
use anneal_control::RestoreError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// A file is missing, truncated or not a Burn record.
    #[error("checkpoint {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint has no averages.
    #[error(
        "{checkpoint}: the run had no averages; load its weights with Checkpoint::load_in_f32, or train with LearnerBuilder::average"
    )]
    NoAverage {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// There are checkpoints, but none is complete.
    #[error(
        "no checkpoint in {} is complete; the newest fails with: {newest}. Remove the folder and start \
         without resuming",
        directory.display()
    )]
    NoneWhole {
        /// The folder of the checkpoints.
        directory: PathBuf,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
    /// Models that resume together have no checkpoint after the same epoch.
    #[error(
        "there is no epoch after which all of {} have a complete checkpoint; remove them to start from scratch",
        directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoneOfAll {
        /// The folders of the models.
        directories: Vec<PathBuf>,
    },
    /// Another scheduler than Anneal's saved the checkpoint.
    #[error(
        "checkpoint {}: another scheduler saved it, without a step to continue from; choose OnMismatch::Restart to \
         start the schedule at step 0, over the rest of the training",
        path.display()
    )]
    ForeignScheduler {
        /// The scheduler's file.
        path: PathBuf,
    },
    /// The checkpoint was saved under another schedule.
    #[error(
        "the checkpoint of {checkpoint} was saved under another schedule; saved: `{saved}`; now: `{now}`; choose \
         OnMismatch::KeepStep to continue at step {step} of the new one, at a rate of {rate:.3e}, or OnMismatch::Restart to \
         start it at step 0, over the rest of the training"
    )]
    DifferentSchedule {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The step it would continue from.
        step: u64,
        /// The rate of the current schedule there.
        rate: f64,
        /// The schedule it was saved under.
        saved: String,
        /// The current schedule.
        now: String,
    },
    /// The checkpoint was saved by a run with other data or other batches.
    #[error(
        "the checkpoint of {checkpoint} was saved in a run over {saved}, but the current run is over {now}; choose \
         OnMismatch::KeepEpoch to continue at the same part of the epochs, KeepSamples after the same number of samples, \
         KeepStep after the same number of updates, or Restart to start the schedule at step 0, over the rest of the \
         training"
    )]
    DifferentEpochs {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// An epoch of the saved run.
        saved: String,
        /// An epoch of the current run.
        now: String,
    },
    /// The data or batches differ under a ramp.
    #[error(
        "the checkpoint of {checkpoint} was saved in a run over {saved}, but the current run is over {now}; with a \
         changing gradient accumulation, progress does not carry over to other batches: resume with those of that run"
    )]
    Ramp {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// An epoch of the saved run.
        saved: String,
        /// An epoch of the current run.
        now: String,
    },
    /// The chosen measure of progress is not known.
    #[error("the checkpoint of {checkpoint}: OnMismatch::{choice} needs {needs}; choose another")]
    NotCounted {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The choice.
        choice: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// Nothing is left to train.
    #[error(
        "the checkpoint of {checkpoint} is at update {done} of {updates}, so nothing is left to train; give the \
         training more epochs"
    )]
    NothingLeft {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The updates made so far.
        done: u64,
        /// The updates of the run.
        updates: u64,
    },
    /// The checkpoint is from mid-epoch, but the loop starts at the beginning of an epoch.
    #[error(
        "the checkpoint of {checkpoint} was saved in mid-epoch, where Burn's own loop cannot start; resume with \
         LearnerBuilder::launch, or from an earlier checkpoint"
    )]
    MidEpoch {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// The checkpoint was saved in another precision, or with other exceptions to it.
    #[error(
        "the checkpoint of {checkpoint} has `{path}` in {saved}, but the current model has it in {now}; resume with the \
         precision and exceptions of that run, or start a new run from its weights: Checkpoint::load_in_f32"
    )]
    DifferentPrecision {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The first parameter that differs.
        path: String,
        /// Its precision in the checkpoint.
        saved: String,
        /// Its precision in the model.
        now: String,
    },
    /// The checkpoint was saved with another optimizer.
    #[error(
        "the checkpoint of {checkpoint} was trained with `{saved}`, but the optimizer is now `{now}`, which cannot use \
         its state; give the builder the optimizer of that run, or start a new run from its weights: \
         Checkpoint::load_in_f32"
    )]
    DifferentOptimizer {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The optimizer of the checkpoint.
        saved: String,
        /// The current optimizer.
        now: String,
    },
    /// The checkpoint was saved with other controllers, which include loss scaling.
    #[error("the controllers of the checkpoint of {checkpoint}: {error}")]
    DifferentControllers {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// What differs.
        error: RestoreError,
    },
    /// The checkpoint was saved by a run with other groups, or without groups.
    #[error(
        "the checkpoint of {checkpoint} was trained {}, but now {}; give the builder the groups of that run, or choose \
         OnMismatch::KeepStep to continue with other groups",
        if *saved { "in groups" } else { "without groups" },
        match (*saved, *now) {
            (true, true) => "their rates, members or starts differ",
            (_, true) => "there are groups",
            (_, false) => "there are none",
        }
    )]
    DifferentGroups {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// Whether it was trained in groups.
        saved: bool,
        /// Whether the current run has groups.
        now: bool,
    },
    /// A file cannot be written or removed.
    #[error("checkpoint {}: cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

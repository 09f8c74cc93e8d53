//! Why a checkpoint cannot be used.

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
    /// A file is missing, cut off or no Burn record.
    #[error("checkpoint {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint without averages.
    #[error(
        "{checkpoint}: the run had no averages; load its weights with Checkpoint::load_in_f32, or train with LearnerBuilder::average"
    )]
    NoAverage {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// There are checkpoints, but none is whole.
    #[error(
        "no checkpoint in {} is whole; the newest fails with: {newest}. Remove the folder and start \
         without resuming",
        directory.display()
    )]
    NoneWhole {
        /// The folder of the checkpoints.
        directory: PathBuf,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
    /// Models that go on together have no checkpoint after the same epoch.
    #[error(
        "there is no epoch after which all of {} have a checkpoint that is whole; remove them to begin anew",
        directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoneOfAll {
        /// The folders of the models.
        directories: Vec<PathBuf>,
    },
    /// The checkpoint was saved by a scheduler that is not Anneal's.
    #[error(
        "checkpoint {}: it was saved by another scheduler and has no step to go on from; to start the schedule at its \
         step 0, over what is left to train, choose OnMismatch::Restart",
        path.display()
    )]
    ForeignScheduler {
        /// The scheduler's file.
        path: PathBuf,
    },
    /// The checkpoint was saved under another schedule.
    #[error(
        "the checkpoint of {checkpoint} was saved under another schedule; saved: `{saved}`; now: `{now}`; to go on at \
         step {step} under the new one choose OnMismatch::KeepStep, to start it at its step 0, over what is left to \
         train, OnMismatch::Restart"
    )]
    DifferentSchedule {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The step it would go on from.
        step: u64,
        /// The schedule it was saved under.
        saved: String,
        /// The schedule asked for now.
        now: String,
    },
    /// The checkpoint was saved by a run over other data, or in other batches.
    #[error(
        "the checkpoint of {checkpoint} was saved in a run over {saved}, and the current one is over {now}; say what of \
         its progress counts: OnMismatch::KeepStep, KeepEpoch, KeepSamples, or Restart"
    )]
    DifferentEpochs {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// What an epoch was made of then.
        saved: String,
        /// What it is made of now.
        now: String,
    },
    /// Other data, or other batches, under a ramp.
    #[error(
        "the checkpoint of {checkpoint} was saved in a run over {saved}, and the current one is over {now}; under a \
         changing gradient accumulation progress has no place in other batches: resume with those of that run"
    )]
    Ramp {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// What an epoch was made of then.
        saved: String,
        /// What it is made of now.
        now: String,
    },
    /// What progress is to be counted by is not known.
    #[error("the checkpoint of {checkpoint}: OnMismatch::{choice} needs {needs}; choose another")]
    NotCounted {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// What was chosen.
        choice: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// Nothing is left to train.
    #[error(
        "the checkpoint of {checkpoint} stands at update {done} of a run of {updates}, so nothing is left to train; \
         give the training more epochs"
    )]
    NothingLeft {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// Updates that are made.
        done: u64,
        /// Those of the run.
        updates: u64,
    },
    /// A checkpoint of mid-epoch, for a loop that begins with an epoch.
    #[error(
        "the checkpoint of {checkpoint} was saved in mid-epoch, where Burn's own loop cannot begin; resume with \
         LearnerBuilder::launch, or from an earlier checkpoint"
    )]
    MidEpoch {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// The checkpoint was saved by a run of another precision, or with other exceptions from it.
    #[error(
        "the checkpoint of {checkpoint} has `{path}` in {saved}, and the current model has it in {now}; resume in the \
         precision of that run, with its exceptions, or start anew from its weights, which \
         Checkpoint::load_in_f32 reads"
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
        "the checkpoint of {checkpoint} was trained with `{saved}`, and now there is `{now}`, which cannot go on with \
         its state; give the builder the optimizer of that run, or start anew from its weights, which \
         Checkpoint::load_in_f32 reads"
    )]
    DifferentOptimizer {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The optimizer of the checkpoint.
        saved: String,
        /// The optimizer of now.
        now: String,
    },
    /// The checkpoint was saved with other controllers, loss scaling among them.
    #[error("the controllers of the checkpoint of {checkpoint}: {error}")]
    DifferentControllers {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// What differs.
        error: RestoreError,
    },
    /// The checkpoint was saved by a run whose parameters were in other groups, or in none.
    #[error(
        "the checkpoint of {checkpoint} was trained {}, and now {}; give the builder the groups of that run, or to go \
         on with others choose OnMismatch::KeepStep",
        if *saved { "in groups" } else { "without groups" },
        match (*saved, *now) {
            (true, true) => "their rates, members or starts are others",
            (_, true) => "there are groups",
            (_, false) => "there are none",
        }
    )]
    DifferentGroups {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// Whether it was trained in groups.
        saved: bool,
        /// Whether groups are asked for now.
        now: bool,
    },
    /// A file cannot be written, or removed.
    #[error("checkpoint {}: cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

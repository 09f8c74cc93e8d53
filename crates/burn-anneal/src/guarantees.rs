//! Guarantees for all public types.

use crate::decay::DecayedError;
use crate::groups::{Explanation, GroupError, Groups, GroupsConfig};
use crate::precision::{OutOfRange, PrecisionError};
use crate::*;
use anneal_schedule::{RunLength, ScheduleError};
use burn::nn::Linear;
use std::error::Error;

#[test]
fn everything_may_go_to_another_thread() {
    fn check<T: Send + Sync + 'static>() {}
    check::<(TrainingConfig, GroupsConfig, Groups, Explanation, Checkpoint, Checkpoints)>();
    check::<(Scheduler, Watch, Monitor, SeededLoader<u8, u8>, Average, Snapshots, Evaluation)>();
    check::<(BuildError, UpdateError, CheckpointError, EvaluateError, EnsembleError, MergeError)>();
    check::<(FindError, FederationError, ExploreError, PruningError, TaskError, PrecisionError)>();
    // A model of Burn's is not shared between threads, but moves to one.
    fn moves<T: Send + 'static>() {}
    moves::<(LearnerBuilder<Linear>, TrainingLoop<Linear>, Annealed<Linear>)>();
}

/// A printer of chains, such as anyhow's, prints each cause once.
#[test]
fn no_error_says_its_cause_twice() {
    let no_run = || -> ScheduleError { RunLength::updates(0).resolve().unwrap_err() };
    let groups = || GroupError::NothingTrains;
    let range = || OutOfRange::new("rate", 2.0, "below 1");
    let errors: Vec<Box<dyn Error>> = vec![
        Box::new(BuildError::from(no_run())),
        Box::new(BuildError::from(groups())),
        Box::new(BuildError::from(AverageError::from(no_run()))),
        Box::new(BuildError::from(GlobalNormClip::new(-1.0).unwrap_err())),
        Box::new(BuildError::from(PrecisionError::from(groups()))),
        Box::new(BuildError::Control { part: "loss_scaling", error: range() }),
        Box::new(DecayedError::from(no_run())),
        Box::new(FindError::from(BuildError::from(no_run()))),
        Box::new(FindError::from(range())),
        Box::new(PruningError::from(groups())),
    ];
    for error in errors {
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            assert!(!text.contains(&error.to_string()), "{text}: {error}");
            text += &error.to_string();
            cause = error.source();
        }
    }
}

//! Explores candidates that are trainings.

use crate::finder::{Batches, NoBatch};
use crate::training_loop::TrainingLoop;
use crate::update::{Monitored, UpdateError, numbers, value};
use anneal_control::{Exploration, Explorer, OutOfRange};
use anneal_schedule::Schedule;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::TrainStep;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// Explores candidates that are trainings.
pub trait ExploreTrainings {
    /// Trains all candidates briefly at a high rate, and continues with the best: see [`Exploration`]. Each candidate
    /// is a [`TrainingLoop`] without updates, built with the [schedule](Exploration::schedule) and the
    /// [length](Exploration::length) of the exploration. Their models may have different types, as long as they take
    /// the same batches. The caller keeps them; [`best`](Explorer::best) of the result tells which one to use.
    ///
    /// Each candidate gets the batches of the loader from the first epoch on, one per update, on its own device. With a
    /// [`SeededLoader`](crate::SeededLoader) all get the same batches; other loaders shuffle for each candidate. A
    /// dropped candidate makes no update for the loss that it is dropped for.
    ///
    /// ```no_run
    /// use burn::data::dataloader::DataLoader;
    /// use burn::optim::SgdConfig;
    /// use burn::train::TrainStep;
    /// use burn_anneal::control::Exploration;
    /// use burn_anneal::prelude::*;
    /// use std::sync::Arc;
    ///
    /// # fn search<A, B, I: 'static>(
    /// #     wide: A, deep: B, loader: Arc<dyn DataLoader<I>>,
    /// # ) -> Result<(), Box<dyn std::error::Error>>
    /// # where A: TrainStep<Input = I> + burn::module::Module, B: TrainStep<Input = I> + burn::module::Module {
    /// let exploration = Exploration::new(2, 100, 1.0, 0.1, 1_200);
    /// let (schedule, run) = (exploration.schedule(), exploration.length());
    /// let sgd = || SgdConfig::new().build();
    /// let mut wide = LearnerBuilder::new(wide, sgd(), schedule.clone()).run(run).build_loop()?;
    /// let mut deep = LearnerBuilder::new(deep, sgd(), schedule).run(run).build_loop()?;
    /// let explored = exploration.train(&mut [&mut wide, &mut deep], &loader)?;
    /// println!("best: {:?}, dropped: {:?}", explored.best(), explored.dropped().collect::<Vec<_>>());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ExploreError`] for a setting out of its range, for a training with another schedule, and if a candidate or the
    /// loader fails.
    fn train<I: 'static>(
        &self,
        candidates: &mut [&mut dyn Candidate<I>],
        loader: &Arc<dyn DataLoader<I>>,
    ) -> Result<Explorer, ExploreError>;
}

/// A training that can be a candidate: a [`TrainingLoop`], or anything that trains on batches.
pub trait Candidate<I> {
    /// The device of its batches.
    fn device(&self) -> Device;

    /// The schedule that it trains under.
    fn schedule(&self) -> &Schedule;

    /// The number of its next update, from 0.
    fn next_update(&self) -> u64;

    /// Runs the forward and backward pass of a batch, and returns the loss, by which candidates are compared.
    ///
    /// # Errors
    /// [`UpdateError::LossUnknown`] if the loss in the output of the model's `TrainStep` is not known; name it with
    /// [`LearnerBuilder::loss`](crate::LearnerBuilder::loss).
    fn loss(&mut self, batch: I) -> Result<f64, Arc<UpdateError>>;

    /// Makes the update of the last pass.
    ///
    /// # Errors
    /// [`UpdateError`] if training cannot continue.
    fn update(&mut self) -> Result<(), Arc<UpdateError>>;
}

/// Why an exploration failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExploreError {
    /// A setting is out of its range.
    #[error(transparent)]
    Control(#[from] OutOfRange),
    /// The exploration expects another number of candidates.
    #[error("the exploration is for {expected} candidates, not {given}")]
    OtherCount {
        /// The expected number.
        expected: usize,
        /// The number of candidates given.
        given: usize,
    },
    /// A candidate is not built for this exploration.
    #[error(
        "candidate {candidate} is at update {update} of `{found}`; candidates start at update 0 of `{expected}`: build \
         them with the schedule() and the length() of the exploration"
    )]
    OtherRun {
        /// The candidate, from 0.
        candidate: usize,
        /// The number of its next update.
        update: u64,
        /// Its schedule.
        found: Box<Schedule>,
        /// The schedule of the exploration.
        expected: Box<Schedule>,
    },
    /// A candidate cannot continue.
    #[error("candidate {candidate}: {error}")]
    Training {
        /// The candidate, from 0.
        candidate: usize,
        /// Why.
        error: Arc<UpdateError>,
    },
    /// A batch cannot be loaded.
    #[error("the loader gives no batch: {reason}")]
    Loader {
        /// Why.
        reason: String,
    },
    /// The loader is empty.
    #[error("the loader has no batches; give it a dataset with at least one item")]
    NoBatches,
}

impl From<NoBatch> for ExploreError {
    fn from(error: NoBatch) -> Self {
        match error {
            NoBatch::Failed(reason) => Self::Loader { reason },
            NoBatch::Empty => Self::NoBatches,
        }
    }
}

impl ExploreTrainings for Exploration {
    fn train<I: 'static>(
        &self,
        candidates: &mut [&mut dyn Candidate<I>],
        loader: &Arc<dyn DataLoader<I>>,
    ) -> Result<Explorer, ExploreError> {
        let mut explorer = self.build()?;
        let given = candidates.len();
        if given != self.candidates {
            return Err(ExploreError::OtherCount { expected: self.candidates, given });
        }
        for (number, candidate) in candidates.iter().enumerate() {
            check(number, &**candidate, explorer.schedule())?;
        }
        let loaders: Vec<_> =
            candidates.iter().map(|candidate| loader.to_device(&candidate.device())).collect();
        let mut batches = HashMap::new();
        while let Some(turn) = explorer.turn() {
            let number = turn.candidate;
            let failed = |error| ExploreError::Training { candidate: number, error };
            let batches =
                batches.entry(number).or_insert_with(|| Batches::new(&loaders[number], 1, 1));
            let loss = candidates[number].loss(batches.next()?).map_err(failed)?;
            let dropped = explorer.hear(number, loss).expect("it is its turn");
            if dropped.is_none() {
                candidates[number].update().map_err(failed)?;
            }
        }
        Ok(explorer)
    }
}

fn check<I>(
    number: usize,
    candidate: &dyn Candidate<I>,
    expected: &Schedule,
) -> Result<(), ExploreError> {
    let (update, found) = (candidate.next_update(), candidate.schedule());
    if update == 0 && found == expected {
        return Ok(());
    }
    let [found, expected] = [found, expected].map(|schedule| Box::new(schedule.clone()));
    Err(ExploreError::OtherRun { candidate: number, update, found, expected })
}

impl<M> Candidate<M::Input> for TrainingLoop<M>
where
    M: Module + TrainStep,
    M::Input: 'static,
{
    fn device(&self) -> Device {
        self.model().devices().into_iter().next().unwrap_or_default()
    }

    fn schedule(&self) -> &Schedule {
        self.groups().schedule()
    }

    fn next_update(&self) -> u64 {
        self.next_update()
    }

    fn loss(&mut self, batch: M::Input) -> Result<f64, Arc<UpdateError>> {
        let output = self.pass_batch(batch, |model, batch| TrainStep::step(model, batch));
        let loss = (self.monitor().plan.loss_of)(&output).ok_or(UpdateError::LossUnknown)?;
        Ok(numbers(vec![value(&loss)]).into_iter().sum())
    }

    fn update(&mut self) -> Result<(), Arc<UpdateError>> {
        self.update().map(|_| ())
    }
}

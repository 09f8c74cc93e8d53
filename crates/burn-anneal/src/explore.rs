//! An exploration whose candidates are trainings.

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

/// Explores over trainings.
pub trait ExploreTrainings {
    /// Trains candidates a little at a high rate, and the best of them on: see [`Exploration`]. Each is a
    /// [`TrainingLoop`] that has made no update, built with the [schedule](Exploration::schedule) and the
    /// [length](Exploration::length) of the exploration; their models may be of different types, as long as they take the
    /// same batches. They stay with the caller: [`best`](Explorer::best) of what is returned says which of them to take.
    ///
    /// All candidates are shown the batches of the loader from its first epoch on, one an update, on their own device:
    /// with a [`SeededLoader`](crate::SeededLoader) the same ones; another loader shuffles for each. A candidate that is
    /// dropped makes no update of the loss that it is dropped for.
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
    /// [`ExploreError`] for a setting out of its range, a training of another schedule, and where a candidate or the loader
    /// fails.
    fn train<I: 'static>(
        &self,
        candidates: &mut [&mut dyn Candidate<I>],
        loader: &Arc<dyn DataLoader<I>>,
    ) -> Result<Explorer, ExploreError>;
}

/// A training that can be a candidate: a [`TrainingLoop`], or whatever trains by batches.
pub trait Candidate<I> {
    /// Where it has its batches.
    fn device(&self) -> Device;

    /// What it trains under.
    fn schedule(&self) -> &Schedule;

    /// The number of its next update, from 0.
    fn next_update(&self) -> u64;

    /// Runs a forward and a backward pass of a batch, and gives the loss, by which candidates are compared.
    ///
    /// # Errors
    /// [`UpdateError::LossUnknown`] where the output of the model's `TrainStep` has none that is known:
    /// [`LearnerBuilder::loss`](crate::LearnerBuilder::loss) names it.
    fn loss(&mut self, batch: I) -> Result<f64, Arc<UpdateError>>;

    /// Makes the update of the last pass.
    ///
    /// # Errors
    /// [`UpdateError`] where training cannot go on.
    fn update(&mut self) -> Result<(), Arc<UpdateError>>;
}

/// Why an exploration came to no end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExploreError {
    /// A setting out of its range.
    #[error(transparent)]
    Control(#[from] OutOfRange),
    /// There are more or fewer candidates than the exploration is for.
    #[error("the exploration is for {expected} candidates, not {given}")]
    OtherCount {
        /// How many it is for.
        expected: usize,
        /// How many are given.
        given: usize,
    },
    /// A candidate is not built for this exploration.
    #[error(
        "candidate {candidate} is at update {update} of `{found}`; candidates begin at update 0 of `{expected}`: build \
         them with the schedule() and the length() of the exploration"
    )]
    OtherRun {
        /// The candidate, from 0.
        candidate: usize,
        /// The number of its next update.
        update: u64,
        /// Its schedule.
        found: Box<Schedule>,
        /// That of the exploration.
        expected: Box<Schedule>,
    },
    /// A candidate cannot go on.
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

//! Searches over trials that are trainings.

use crate::builder::LearnerBuilder;
use crate::launch::Finished;
use anneal_control::{Answer, Controller, Event, MetricOf, OutOfRange, Stop};
use anneal_plan::{Next, Search, SearchError, Study, Trial, Values};
use burn::train::{Interrupter, LearnerModel, SupervisedTraining};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the controller that reports the metric of a trial.
const NAME: &str = "search";

/// Searches over trials that are trainings.
pub trait SearchTrainings {
    /// Trains each trial with [`LearnerBuilder::launch`], and searches for the best final value of a metric. `builder`
    /// makes the builder for the values and the number of a trial; `training` makes its training, in a separate folder,
    /// which also holds its logs, checkpoints and snapshots. To start each trial from the same weights, clone the
    /// model, or create it after `device.seed(…)`.
    ///
    /// The metric is [reported](Trial::report) at the end of each epoch. With [halving](Search::halving), whose
    /// resource is epochs, a trial that is not among the best ends there. A trial that cannot be built, stops with an
    /// error, or panics has failed, and the search continues. To search over your own loop, use [`Search::run`].
    ///
    /// ```no_run
    /// use burn::optim::AdamWConfig;
    /// use burn::train::{LearnerModel, SupervisedTraining};
    /// use burn_anneal::control::MetricOf;
    /// use burn_anneal::plan::{Halving, Search, Space};
    /// use burn_anneal::prelude::*;
    ///
    /// # fn find<M: LearnerModel>(
    /// #     model: impl Fn() -> M, training: impl Fn(usize) -> SupervisedTraining<M>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let space = Space::new().log("rate", 1e-5, 1e-1).log("decay", 1e-3, 1.0);
    /// let mut found = Search::new(space)
    ///     .trials(20)
    ///     .halving(Halving::new(1, 9))                 // epochs
    ///     .file("runs/search.json")                    // a search that was killed goes on where it was
    ///     .launch(
    ///         MetricOf::valid("Loss"),
    ///         |values, _| {
    ///             let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
    ///             LearnerBuilder::new(model(), optimizer, cosine(values["rate"])).weight_decay(values["decay"])
    ///         },
    ///         |number| training(number).num_epochs(9),
    ///     )?;
    /// println!("{}", found.study);                     // the trials, the best first
    /// if let Some(surrogate) = found.study.surrogate()? {
    ///     println!("{}", surrogate.terminal(100));     // what is to be expected in between, with its band
    /// }
    /// let best = found.best_builder();                 // to train with for longer
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SearchError`] for a setting out of its range or a file that cannot be used.
    fn launch<M, Builder>(
        self,
        metric: MetricOf,
        builder: Builder,
        training: impl FnMut(usize) -> SupervisedTraining<M>,
    ) -> Result<Searched<Builder>, SearchError>
    where
        M: LearnerModel,
        Builder: FnMut(&Values, usize) -> LearnerBuilder<M>;
}

/// A finished search.
#[derive(Debug)]
pub struct Searched<Builder> {
    /// Its trials and their surrogate model.
    pub study: Study,
    builder: Builder,
}

impl<Builder> Searched<Builder> {
    /// Makes the builder of the best trial again; `None` if no trial has finished.
    pub fn best_builder<M>(&mut self) -> Option<LearnerBuilder<M>>
    where
        Builder: FnMut(&Values, usize) -> LearnerBuilder<M>,
    {
        let best = self.study.best()?;
        Some((self.builder)(&best.values, best.number))
    }
}

impl SearchTrainings for Search {
    fn launch<M, Builder>(
        self,
        metric: MetricOf,
        mut builder: Builder,
        mut training: impl FnMut(usize) -> SupervisedTraining<M>,
    ) -> Result<Searched<Builder>, SearchError>
    where
        M: LearnerModel,
        Builder: FnMut(&Values, usize) -> LearnerBuilder<M>,
    {
        let study = self.run(|trial| {
            let training = training(trial.number());
            let last = Arc::default();
            let reporter = Reporter {
                trial: trial.clone(),
                metric: metric.clone(),
                last: Arc::clone(&last),
                interrupter: training.interrupter(),
            };
            let builder = builder(trial.values(), trial.number()).controller(NAME, reporter);
            builder.launch(training)?.finished()?;
            // The result of a stopped trial does not count.
            let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
            Ok::<f64, crate::BuildError>(last.unwrap_or(f64::NAN))
        })?;
        Ok(Searched { study, builder })
    }
}

/// Reports the metric of each epoch of a trial, and ends its training on request.
#[derive(Clone)]
struct Reporter {
    trial: Trial,
    metric: MetricOf,
    last: Arc<Mutex<Option<f64>>>,
    interrupter: Interrupter,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reporter").field(&self.trial).finish_non_exhaustive()
    }
}

impl Controller for Reporter {
    type State = ();

    fn metrics(&self) -> Vec<MetricOf> {
        vec![self.metric.clone()]
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Epoch(seen) = event
            && let Some(value) = seen.metrics.get(&self.metric)
        {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            if self.trial.report(seen.epoch, value).map_err(Stop::new)? == Next::Stop {
                let reason = format!("trial {} is not among the best", self.trial.number());
                self.interrupter.stop(Some(&reason));
            }
        }
        Ok(Answer::default())
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}

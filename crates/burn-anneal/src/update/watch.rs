//! Watches a run from outside, before, during and after training.

use super::error::UpdateError;
use super::monitor::{Monitor, Monitored};
use crate::groups::Explanation;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Watches a run of [`launch`](crate::LearnerBuilder::launch), from another thread during training, and after it.
/// Before the run starts, nothing is known.
///
/// Made by [`LearnerBuilder::watch`](crate::LearnerBuilder::watch); clones watch the same run.
///
/// ```no_run
/// # use burn::train::{LearnerModel, SupervisedTraining};
/// use burn_anneal::prelude::*;
///
/// # fn train<M: LearnerModel>(
/// #     builder: LearnerBuilder<M>, training: SupervisedTraining<M>,
/// # ) -> Result<(), BuildError> {
/// let watch = builder.watch();
/// let result = builder.metrics([RunMetrics::Rates, RunMetrics::Norms]).launch(training)?;
/// match watch.failure() {
///     Some(failure) => eprintln!("{failure}"), // typed: an UpdateError
///     None => watch.explain().into_iter().for_each(|table| println!("{table}")),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Watch(Arc<OnceLock<Monitor>>);

impl Watch {
    pub(crate) fn of(monitor: Monitor) -> Self {
        Self(Arc::new(OnceLock::from(monitor)))
    }

    /// Starts watching the run.
    pub(crate) fn begin(&self, monitor: &Monitor) {
        // A builder starts only one run.
        let _ = self.0.set(monitor.clone());
    }

    pub(super) fn monitor_of(&self) -> Option<&Monitor> {
        self.0.get()
    }

    /// The run; `None` before it starts.
    pub fn run(&self) -> Option<&impl Monitored> {
        self.0.get()
    }

    /// Like [`Monitored::explain`].
    pub fn explain(&self) -> Option<Explanation> {
        Some(self.run()?.explain())
    }

    /// Like [`Monitored::failure`].
    pub fn failure(&self) -> Option<Arc<UpdateError>> {
        self.run()?.failure()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.get()).finish()
    }
}

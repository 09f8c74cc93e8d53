//! A running search.

use super::description::Search;
use super::error::SearchError;
use super::halving::Halving;
use super::space::Values;
use super::surrogate::Surrogate;
use super::trials::{Status, TrialRecord, TrialsFile, finite};
use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether a trial continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It continues.
    KeepGoing,
    /// It ends: it is not among the best. Any later result does not count.
    Stop,
}

/// A running [`Search`]: it hands out trials, and receives their results.
///
/// ```
/// use anneal_plan::{Search, Space};
///
/// let study = Search::new(Space::new().log("rate", 1e-4, 1.0)).trials(8).build()?;
/// while let Some(trial) = study.ask()? {
///     let rate = trial.values()["rate"];
///     trial.tell((rate.log10() + 2.0).powi(2))?;
/// }
/// assert!((study.best().unwrap().values["rate"].log10() + 2.0).abs() < 0.3);
/// println!("{study}");
/// # Ok::<(), anneal_plan::SearchError>(())
/// ```
#[derive(Debug)]
pub struct Study {
    ledger: Arc<Mutex<Ledger>>,
}

/// A running trial: the values it tries, and where it reports results. A clone is the same trial, and can be
/// sent to the training.
#[derive(Clone, Debug)]
pub struct Trial {
    number: usize,
    values: Values,
    ledger: Arc<Mutex<Ledger>>,
}

impl Study {
    pub(super) fn open(search: Search) -> Result<Self, SearchError> {
        let mut ledger = Ledger { search, trials: vec![], again: vec![], file: None };
        if let Some(path) = &ledger.search.file {
            let (file, trials) = TrialsFile::open(path, &ledger.search)?;
            (ledger.file, ledger.trials) = (Some(file), trials);
        }
        for trial in ledger.trials.iter_mut().filter(|trial| trial.status == Status::Running) {
            trial.rungs.clear();
            ledger.again.push(trial.number);
        }
        ledger.again.reverse();
        Ok(Self { ledger: Arc::new(Mutex::new(ledger)) })
    }

    /// The next trial, or `None` at the end of the search: first those that were running when the file was
    /// left, then new ones. Trials may run in parallel; an [`UpperConfidence`](crate::UpperConfidence) search
    /// takes running trials into account.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn ask(&self) -> Result<Option<Trial>, SearchError> {
        let asked = lock(&self.ledger).ask()?;
        Ok(asked.map(|(number, values)| Trial { number, values, ledger: self.ledger.clone() }))
    }

    /// The next trials to run in parallel, at most this many.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub fn ask_batch(&self, trials: usize) -> Result<Vec<Trial>, SearchError> {
        std::iter::from_fn(|| self.ask().transpose()).take(trials).collect()
    }

    /// Runs the remaining trials one after another.
    ///
    /// An objective is any function that trains with the values of a trial and returns the value to optimize.
    /// It may [report](Trial::report) intermediate values, and should return once it is told to stop: its
    /// result then does not count. A trial that returns an error, or panics, has failed; the objective's data
    /// must be unwind-safe.
    ///
    /// # Errors
    /// The search has no end, or its file cannot be written.
    pub fn run<E: Display>(
        &self,
        mut objective: impl FnMut(&Trial) -> Result<f64, E>,
    ) -> Result<(), SearchError> {
        lock(&self.ledger).search.check_end()?;
        while let Some(trial) = self.ask()? {
            match catch_unwind(AssertUnwindSafe(|| objective(&trial))) {
                Ok(Ok(value)) => trial.tell(value)?,
                Ok(Err(error)) => trial.fail(error.to_string())?,
                Err(panic) => trial.fail(format!("it panicked: {}", message(&*panic)))?,
            }
        }
        Ok(())
    }

    /// The search.
    pub fn search(&self) -> Search {
        lock(&self.ledger).search.clone()
    }

    /// All trials, by number.
    pub fn trials(&self) -> Vec<TrialRecord> {
        lock(&self.ledger).trials.clone()
    }

    /// The finished trial with the best value, the first of ties. With noisy values it may just be a lucky
    /// one; [`Surrogate::best`](crate::Surrogate::best) avoids that.
    pub fn best(&self) -> Option<TrialRecord> {
        let ledger = lock(&self.ledger);
        let score =
            |trial: &&TrialRecord| ledger.search.direction.score(trial.value().unwrap_or(f64::NAN));
        let finished = ledger.trials.iter().filter(|trial| trial.value().is_some());
        finished.min_by(|a, b| score(a).total_cmp(&score(b))).cloned()
    }

    /// A model of all values, fitted to the finished trials; `None` before one has finished. Its kernel is
    /// that of the search, or Matérn 5/2.
    ///
    /// # Errors
    /// No process fits the values.
    pub fn surrogate(&self) -> Result<Option<Surrogate>, SearchError> {
        let ledger = lock(&self.ledger);
        let kernel = ledger.search.strategy.kernel();
        Ok(Surrogate::new(&ledger.search, &ledger.trials, kernel)?)
    }

    /// The total cost of the trials, in halving's resource: a finished one costs all, a stopped one what it
    /// had reported but at least 1, a running one its last rung, and a failed one its last rung but at least
    /// the first, so that a budget ends a search in which all trials fail. `None` without halving.
    pub fn spent(&self) -> Option<u64> {
        let ledger = lock(&self.ledger);
        ledger.search.halving.as_ref().map(|halving| ledger.spent(halving))
    }
}

impl Trial {
    /// Its number, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The values it tries.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Reports the value after this much of the resource, for example at the end of an epoch, and returns
    /// whether to continue. The first report at or after a rung counts for it. Without
    /// [`halving`](Search::halving) all trials continue; with it, one that reports a non-finite value stops.
    ///
    /// # Errors
    /// The trial has already ended other than by being stopped, or the file cannot be written.
    pub fn report(&self, resource: u64, value: f64) -> Result<Next, SearchError> {
        lock(&self.ledger).report(self.number, resource, value)
    }

    /// Ends the trial with this value; a non-finite value is a failure. Does nothing if it was stopped.
    ///
    /// # Errors
    /// The trial has already ended other than by being stopped, or the file cannot be written.
    pub fn tell(&self, value: f64) -> Result<(), SearchError> {
        let status = match finite(value) {
            Some(value) => Status::Finished(value),
            None => Status::Failed(format!("its value is {value}")),
        };
        lock(&self.ledger).end(self.number, status)
    }

    /// Ends the trial without a value, with the reason. Does nothing if it was stopped.
    ///
    /// # Errors
    /// As for [`tell`](Self::tell).
    pub fn fail(&self, reason: impl Into<String>) -> Result<(), SearchError> {
        lock(&self.ledger).end(self.number, Status::Failed(reason.into()))
    }
}

/// The shared state of a study and its trials.
#[derive(Debug)]
pub(super) struct Ledger {
    search: Search,
    trials: Vec<TrialRecord>,
    /// Trials to repeat, last first.
    again: Vec<usize>,
    file: Option<TrialsFile>,
}

impl Ledger {
    fn ask(&mut self) -> Result<Option<(usize, Values)>, SearchError> {
        if let Some(number) = self.again.pop() {
            return Ok(Some((number, self.trials[number].values.clone())));
        }
        let number = self.trials.len();
        let spent = self.search.halving.as_ref().map_or(0, |halving| self.spent(halving));
        if !self.search.goes_on(number, spent) {
            return Ok(None);
        }
        let point = self.search.strategy.suggest(&self.search, &self.trials)?;
        let values = self.search.space.values(&point);
        let (rungs, status) = (vec![], Status::Running);
        self.trials.push(TrialRecord { number, values: values.clone(), rungs, status });
        if let Err(error) = self.save() {
            self.trials.pop();
            return Err(error);
        }
        Ok(Some((number, values)))
    }

    fn report(&mut self, number: usize, resource: u64, value: f64) -> Result<Next, SearchError> {
        match self.trials[number].status {
            Status::Running => {}
            Status::Stopped { .. } => return Ok(Next::Stop),
            _ => return Err(SearchError::Ended { number }),
        }
        let Some(halving) = self.search.halving.clone() else {
            return Ok(Next::KeepGoing);
        };
        let direction = self.search.direction;
        let score = |value: Option<f64>| value.map_or(f64::NAN, |value| direction.score(value));
        let passed = self.trials[number].rungs.len();
        let mut going = value.is_finite();
        let reached = halving.rungs().into_iter().skip(passed).take_while(|rung| *rung <= resource);
        for rung in passed..passed + reached.count() {
            let others = self.trials.iter().filter(|trial| trial.number != number);
            let others: Vec<f64> =
                others.filter_map(|trial| trial.rungs.get(rung).copied().map(score)).collect();
            self.trials[number].rungs.push(finite(value));
            if !halving.keep_going(&others, score(finite(value))) {
                going = false;
                break;
            }
        }
        if !going {
            self.trials[number].status = Status::Stopped { at: resource, value: finite(value) };
        }
        if !going || self.trials[number].rungs.len() > passed {
            self.save()?;
        }
        Ok(if going { Next::KeepGoing } else { Next::Stop })
    }

    fn end(&mut self, number: usize, status: Status) -> Result<(), SearchError> {
        match self.trials[number].status {
            Status::Running => {
                self.trials[number].status = status;
                self.save()
            }
            Status::Stopped { .. } => Ok(()),
            _ => Err(SearchError::Ended { number }),
        }
    }

    fn save(&mut self) -> Result<(), SearchError> {
        match &mut self.file {
            Some(file) => file.save(&self.search, &self.trials),
            None => Ok(()),
        }
    }

    fn spent(&self, halving: &Halving) -> u64 {
        let rungs = halving.rungs();
        let of = |trial: &TrialRecord| match trial.status {
            Status::Finished(_) => halving.most(),
            Status::Stopped { at, .. } => at.max(1),
            Status::Running => trial.rungs.len().checked_sub(1).map_or(0, |last| rungs[last]),
            Status::Failed(_) => rungs[trial.rungs.len().saturating_sub(1)],
        };
        self.trials.iter().map(of).fold(0, u64::saturating_add)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    // Its state is consistent even if a thread panicked.
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

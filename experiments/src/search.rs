//! Compares searches for rate and decay at equal budget.

use std::cell::RefCell;

use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn_anneal::plan::{
    Axis, Halving, Search, SearchError, Space, Strategy, Study, Target, UpperConfidence, Values,
};
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::course::{Course, Plan, unchanged};
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study as Experiment, Trial};
use crate::model::Classifier;
use crate::table::Column;

/// The rates and the weight decays that are searched.
const RATES: (f64, f64) = (1e-5, 10.0);
const DECAYS: (f64, f64) = (1e-5, 1.0);

/// The largest excess loss over the best trial at which a rate counts as good.
const GOOD: f64 = 1.25;

const EXPERIMENT: Experiment = Experiment {
    name: "search",
    title: "Searches for rate and weight decay at equal budget",
    columns: &[
        Column::lower("best valid loss"),
        Column::share("test accuracy of the best"),
        Column::share("hit a good rate"),
        Column::share("trials with a good rate"),
        Column::neutral("trials"),
    ],
    panels: &[Drawn::new("epochs of all trials", "best valid loss so far", Scale::Logarithmic)],
    expected: Expected {
        words: "uniform samples of the rate lie in the highest decade nine times out of ten, and mostly miss; \
                log-uniform samples hit in proportion to the width of the target; a Gaussian process learns where it \
                is, and halving makes more trials in the same epochs.",
        better: &[
            ("log random", "linear random"),
            ("Gaussian process", "log random"),
            ("halving, random", "log random"),
            ("halving, Gaussian process", "Gaussian process"),
        ],
        by: 0,
        adaptive: &["Gaussian process", "halving, random", "halving, Gaussian process"],
    },
};

/// How trials are chosen, and whether bad ones are stopped.
type Arm = (Strategy, bool);

/// The training and its length.
struct Problem {
    digits: Digits,
    plan: Plan,
    trials: usize,
    halving: Halving,
}

/// Runs all searches from all seeds.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let epochs = settings.either(6, 2);
    let problem = Problem {
        digits: Digits::load(settings, Dataset::Mnist.normalization())?,
        plan: Plan { batch_size: 32, epochs, change: unchanged },
        trials: settings.either(16, 4),
        halving: Halving::new(1, epochs as u64),
    };
    let gaussian: Strategy = UpperConfidence::new().into();
    let arms: [(&str, Arm); 7] = [
        ("linear random", (Strategy::LinearRandom, false)),
        ("log random", (Strategy::Random, false)),
        ("grid", (Strategy::Grid(settings.either(4, 2)), false)),
        ("Sobol", (Strategy::Sobol, false)),
        ("Gaussian process", (gaussian.clone(), false)),
        ("halving, random", (Strategy::Random, true)),
        ("halving, Gaussian process", (gaussian, true)),
    ];
    let good = problem.good_rates(settings)?;
    let note = problem.note(good)?;
    EXPERIMENT.conduct(settings, &arms, &note, |arm, seed| problem.search(arm, seed, good))
}

impl Problem {
    fn search(
        &self,
        (strategy, halves): &Arm,
        seed: u64,
        good: (f64, f64),
    ) -> Result<Trial, ExperimentError> {
        let space = Space::new().log("rate", RATES.0, RATES.1).log("decay", DECAYS.0, DECAYS.1);
        let search = Search::new(space).strategy(strategy.clone()).seed(seed);
        let search = match halves {
            false => search.trials(self.trials),
            true => {
                search.halving(self.halving.clone()).budget((self.trials * self.plan.epochs) as u64)
            }
        };
        // After each trained epoch, the best loss of finished trials so far.
        let (line, best) = (RefCell::new(vec![]), RefCell::new((f64::INFINITY, 0.0)));
        let study = search
            .run(|trial| {
                let course = self.train(trial.values(), seed, |epoch, loss| {
                    let spent = line.borrow().len() as f64 + 1.0;
                    line.borrow_mut().push((spent, best.borrow().0));
                    Ok(trial.report(epoch, loss)? == burn_anneal::plan::Next::KeepGoing)
                })?;
                let loss = course.valid_loss();
                if course.valid.len() == self.plan.epochs && loss < best.borrow().0 {
                    *best.borrow_mut() = (loss, course.test.accuracy);
                }
                Ok::<f64, ExperimentError>(loss)
            })
            .map_err(failed)?;
        let (loss, accuracy) = *best.borrow();
        let (hits, trials) = (hits(&study, good), study.trials().len());
        let line = line.into_inner();
        let line = line.into_iter().filter(|(_, loss)| loss.is_finite()).collect();
        let numbers = vec![
            loss,
            accuracy,
            f64::from(u8::from(hits > 0)),
            hits as f64 / trials as f64,
            trials as f64,
        ];
        Ok(Trial { numbers, lines: vec![line] })
    }

    fn train(
        &self,
        values: &Values,
        seed: u64,
        keep: impl FnMut(u64, f64) -> Result<bool, SearchError>,
    ) -> Result<Course, ExperimentError> {
        let (rate, decay) = (values["rate"], values["decay"]);
        let build = |model: Classifier| {
            let schedule = cosine(rate).warmup(Span::percent(10.0));
            LearnerBuilder::new(model, SgdConfig::new().build(), schedule).weight_decay(decay)
        };
        let mut keep = keep;
        self.plan
            .train_while(&self.digits, seed, build, |epoch, loss| keep(epoch, loss).map_err(failed))
    }

    /// The rates of the first seed that are nearly as good as the best, with hardly any decay.
    fn good_rates(&self, settings: &Settings) -> Result<(f64, f64), ExperimentError> {
        let decades = (RATES.1 / RATES.0).log10();
        let points = settings.either(25, 7);
        let rate = |i: usize| RATES.0 * 10f64.powf(decades * i as f64 / (points - 1) as f64);
        let mut losses = vec![];
        for i in 0..points {
            let values = Values::from_iter([("rate", rate(i)), ("decay", DECAYS.0)]);
            let loss = self.train(&values, settings.seeds().start, |_, _| Ok(true))?.valid_loss();
            say(format_args!("rate {:.2e}: valid loss {loss:.4}", rate(i)));
            losses.push(if loss.is_finite() { loss } else { f64::INFINITY });
        }
        let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let is_good = |loss: &f64| *loss <= GOOD * best;
        let first = losses.iter().position(is_good).unwrap_or(0);
        let last = losses.iter().rposition(is_good).unwrap_or(0);
        // Halfway to the neighbors that are not good.
        let between = |i: f64| RATES.0 * 10f64.powf(decades * i / (points - 1) as f64);
        Ok((
            between((first as f64 - 0.5).max(0.0)),
            between((last as f64 + 0.5).min((points - 1) as f64)),
        ))
    }

    fn note(&self, good: (f64, f64)) -> Result<String, ExperimentError> {
        let target = Target::new(Axis::log("rate", RATES.0, RATES.1), good.0..=good.1)
            .map_err(|error| failed(error.into()))?;
        let trials = self.trials as u64;
        Ok(format!(
            "Plain SGD under a warm-up and a cosine; rates from {:e} to {}, decays from {:e} to {}; {} trials of {} epochs, or \
             as many epochs in all with halving. Good rates are those from {:.2e} to {:.2e}: within {GOOD} of the best loss on \
             a line of rates. By theory {trials} uniform samples hit them in {:.0} % of searches, log-uniform ones in {:.0} %; {} \
             of the log-uniform ones would do so in 95 %.",
            RATES.0,
            RATES.1,
            DECAYS.0,
            DECAYS.1,
            self.trials,
            self.plan.epochs,
            good.0,
            good.1,
            100.0 * target.uniform(trials),
            100.0 * target.log_uniform(trials),
            target.log_uniform_samples(0.95),
        ))
    }
}

/// The trials with a good rate.
fn hits(study: &Study, good: (f64, f64)) -> usize {
    let is_good = |rate: f64| (good.0..=good.1).contains(&rate);
    study.trials().iter().filter(|trial| is_good(trial.values["rate"])).count()
}

fn failed(error: SearchError) -> ExperimentError {
    ExperimentError::Search(error)
}

//! Workers that synchronize rarely or often: the rate that each communication budget allows.

use std::cell::RefCell;
use std::collections::HashMap;

use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn_anneal::control::LocalSteps;
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::clients::{FederatedCourse, Rounds};
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::rates::{Tried, at_rates, best};
use crate::table::Column;

/// Rates to choose from.
const RATES: [f64; 6] = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4];

const WORKERS: usize = 8;
const BATCH: usize = 16;
const UPDATES: u64 = 256;
const MOMENTUM: f64 = 0.9;

/// The local steps whose best rate sets the budget.
const OF_BUDGET: u64 = 16;

const STUDY: Study = Study {
    name: "local_sgd",
    title: "Local SGD of eight workers",
    columns: &[
        Column::lower("valid loss"),
        Column::lower("test loss"),
        Column::share("test accuracy"),
        Column::neutral("rate"),
        Column::neutral("drift"),
        Column::neutral("drift / movement"),
    ],
    panels: &[
        Drawn::new("rate, in hundredths", "valid loss", Scale::Rate).within(0.0, 0.6),
        Drawn::new("rate, in hundredths", "drift", Scale::Logarithmic),
    ],
    expected: Expected {
        words: "a larger rate needs more frequent synchronization: the best rate falls as the steps between two \
                synchronizations grow, at most as fast as the budget b/H; and more communication gives a better model.",
        better: &[
            ("every step", "every 4"),
            ("every 4", "every 16"),
            ("every 16", "every 64"),
            ("every 64, budget", "every 64, rate of 1"),
            ("every 16, momentum", "every 16, momentum forgotten"),
        ],
        by: 0,
        adaptive: &["every 4, budget", "every 64, budget"],
    },
};

/// How the rate is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The arm's best rate.
    Best,
    /// The best rate with synchronization after every step.
    OfEveryStep,
    /// The same within the budget of 16 steps at their best rate.
    Budget,
}

/// How workers train.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Arm {
    steps: u64,
    choice: Choice,
    momentum: Option<Kept>,
}

/// Whether momentum is kept from round to round.
type Kept = bool;

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let bench = Bench { digits, updates: settings.either(UPDATES, 64), best: RefCell::default() };
    let of = |steps, choice| Arm { steps, choice, momentum: None };
    let momentum = |kept| Arm { momentum: Some(kept), ..of(16, Choice::Best) };
    let arms = [
        ("every step", of(1, Choice::Best)),
        ("every 4", of(4, Choice::Best)),
        ("every 16", of(16, Choice::Best)),
        ("every 64", of(64, Choice::Best)),
        ("every 4, budget", of(4, Choice::Budget)),
        ("every 64, budget", of(64, Choice::Budget)),
        ("every 64, rate of 1", of(64, Choice::OfEveryStep)),
        ("every 16, momentum", momentum(true)),
        ("every 16, momentum forgotten", momentum(false)),
    ];
    let note = format!(
        "{WORKERS} workers share {} digits at random; plain SGD, batches of {BATCH}, {} local updates of each worker in every arm, the mean \
         of the weights after so many. Rates are the best of {RATES:?} by the validation loss for each arm and seed, with \
         momentum {MOMENTUM} the best of a tenth of these. A budget b is {OF_BUDGET} times the best rate of synchronizing every \
         {OF_BUDGET}, and the rate the smaller of b/H and the best one of synchronizing every step. The picture has ten times the rates of momentum. Drift and its ratio are means \
         over the rounds.",
        bench.digits.train.len(),
        bench.updates,
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| bench.trial(arm, seed))
}

/// What all arms share.
struct Bench {
    digits: Digits,
    updates: u64,
    /// The best rate of plain SGD, by its steps and the seed.
    best: RefCell<HashMap<(u64, u64), f64>>,
}

impl Bench {
    fn trial(&self, arm: &Arm, seed: u64) -> Result<Trial, ExperimentError> {
        let scale = if arm.momentum.is_some() { 1.0 - MOMENTUM } else { 1.0 };
        let rates = match arm.choice {
            Choice::Best => RATES.map(|rate| rate * scale).to_vec(),
            Choice::OfEveryStep | Choice::Budget => vec![self.best_of(1, seed)],
        };
        let budget = (arm.choice == Choice::Budget)
            .then(|| self.best_of(OF_BUDGET, seed) * OF_BUDGET as f64);
        let train = |rate| self.train(arm, rate, budget, seed);
        let tried = at_rates(&rates, train, |course| course.valid.loss)?;
        let Tried { rate, found: course, .. } = best(&tried);
        let rate = budget.map_or(*rate, |budget| rate.min(budget / arm.steps as f64));
        let mut lines = vec![];
        if arm.choice == Choice::Best {
            let line = |of: fn(&FederatedCourse) -> f64| {
                tried.iter().map(|it| (100.0 * it.rate / scale, of(&it.found))).collect()
            };
            lines = vec![line(|course| course.valid.loss), line(FederatedCourse::drift)];
            if arm.momentum.is_none() {
                self.best.borrow_mut().insert((arm.steps, seed), rate);
            }
        }
        let (drift, relative) = (course.drift(), course.relative_drift());
        Ok(Trial {
            numbers: vec![
                course.valid.loss,
                course.test.loss,
                course.test.accuracy,
                rate,
                drift,
                relative,
            ],
            lines,
        })
    }

    /// The best rate of an earlier arm.
    fn best_of(&self, steps: u64, seed: u64) -> f64 {
        self.best.borrow()[&(steps, seed)]
    }

    fn train(
        &self,
        arm: &Arm,
        rate: f64,
        budget: Option<f64>,
        seed: u64,
    ) -> Result<FederatedCourse, ExperimentError> {
        let (steps, split) = (arm.steps, ClientSplit::Even);
        let rounds = Rounds {
            clients: WORKERS,
            split,
            batch_size: BATCH,
            steps,
            count: self.updates / steps,
        };
        let momentum = MomentumConfig { momentum: MOMENTUM, dampening: 0.0, nesterov: false };
        let sgd = SgdConfig::new().with_momentum(arm.momentum.map(|_| momentum)).build();
        let worker = |_, model| {
            let builder = LearnerBuilder::new(model, sgd.clone(), constant(rate));
            match budget {
                Some(budget) => {
                    builder.controller("local steps", LocalSteps::new(steps).budget(budget))
                }
                None => builder,
            }
        };
        rounds.train(&self.digits, seed, worker, |builder| match arm.momentum {
            Some(false) => builder.stateless_clients(),
            _ => builder,
        })
    }
}

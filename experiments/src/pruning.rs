//! Weights pruned in three shocks, and rates that fall smoothly, in steps, or restart.

use anneal_examples::loader::ImageLoader;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn_anneal::control::PruningRestart;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::course::Course;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::evaluation::evaluate;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::Classifier;
use crate::rates::{Tried, at_rates, best};
use crate::table::Column;

/// When weights are pruned, in percent of the run, and the pruned share of all weights afterwards.
const SHOCKS: [(usize, f64); 3] = [(40, 0.75), (55, 0.9), (70, 0.95)];

/// The factor on the rate at each shock.
const STEP: f64 = 0.3;

/// The jump of the rate after a shock, and the half-life of its excess over 1.
const JUMP: f64 = 4.0;
const HALF_LIFE: u64 = 50;

/// Peak rates; each arm uses its best one.
const RATES: [f64; 4] = [0.0125, 0.025, 0.05, 0.1];
const MOMENTUM: f64 = 0.9;

const BATCH_SIZE: usize = 32;
const EPOCHS: usize = 16;

/// Tests over a run.
const TESTS: usize = 80;

const STUDY: Study = Study {
    name: "pruning",
    title: "Three shocks of pruning, and rates that answer to them",
    columns: &[
        Column::lower("test loss"),
        Column::share("test accuracy"),
        Column::lower("rise of the valid loss at the last shock"),
        Column::lower("updates until half of it is undone"),
        Column::neutral("peak rate"),
    ],
    panels: &[
        Drawn::new("update", "valid accuracy", Scale::Percent),
        Drawn::new("update", "learning rate", Scale::Rate),
    ],
    expected: Expected {
        words: "a smooth decay recovers better than steps, whose drops add to the shock, and a rate that jumps after \
                each shock and decays back recovers sooner than one that keeps falling.",
        better: &[
            ("cosine", "steps at the shocks"),
            ("cosine, restarts", "steps, restarts"),
            ("cosine, restarts", "cosine"),
            ("steps, restarts", "steps at the shocks"),
            ("cosine", "constant"),
        ],
        by: 0,
        adaptive: &["cosine, restarts", "steps, restarts"],
    },
};

/// A schedule for a peak rate, and whether it restarts after each shock.
type Arm = (fn(f64) -> ScheduleConfig, bool);

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let level: fn(f64) -> ScheduleConfig = |rate| constant(rate).into();
    let smooth: fn(f64) -> ScheduleConfig = |rate| cosine(rate).into();
    let steps: fn(f64) -> ScheduleConfig = |rate| {
        let shocks = SHOCKS.map(|(percent, _)| Span::percent(percent as f64));
        multi_step(rate, shocks, STEP).into()
    };
    let arms: [(&str, Arm); 6] = [
        ("constant", (level, false)),
        ("cosine", (smooth, false)),
        ("steps at the shocks", (steps, false)),
        ("constant, restarts", (level, true)),
        ("cosine, restarts", (smooth, true)),
        ("steps, restarts", (steps, true)),
    ];
    let rates = settings.either(&RATES[..], &RATES[1..3]);
    let shocks = SHOCKS.map(|(percent, sparsity)| {
        format!("{:.0} % of the weights at {percent} % of the run", 100.0 * sparsity)
    });
    let note = format!(
        "SGD with momentum {MOMENTUM}, {EPOCHS} epochs; each arm and seed at the one of the peak rates {rates:?} whose validation loss is \
         lowest at the end. Pruned by magnitude, over all layers: {}. Steps multiply the rate by {STEP} at each of them; a \
         restart is `PruningRestart::new({JUMP:?}, {HALF_LIFE})`. What is not undone by the end of the run counts as \
         undone there.",
        shocks.join(", ")
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let train = |rate| train(&digits, arm, rate, seed);
        let tried = at_rates(rates, train, |cut| cut.course.valid_loss())?;
        let Tried { rate, found, .. } = best(&tried);
        let Cut { course, shock, recovery, accuracies } = found;
        // The part long before the first shock is much the same, and far from the rest.
        let drawn = |line: &[(f64, f64)]| line[line.len() / 4..].to_vec();
        Ok(Trial {
            numbers: vec![course.test.loss, course.test.accuracy, *shock, *recovery, *rate],
            lines: vec![drawn(accuracies), drawn(&course.rate_line())],
        })
    })
}

/// A network that is pruned.
#[derive(Default)]
struct Cut {
    course: Course,
    /// The rise of the validation loss at the last shock.
    shock: f64,
    /// The updates until half of the rise is undone.
    recovery: f64,
    /// The validation accuracy by updates.
    accuracies: Vec<(f64, f64)>,
}

impl Cut {
    /// Tests the network after this many updates, and returns the loss.
    fn test(
        &mut self,
        training: &TrainingLoop<Classifier>,
        valid: &ImageLoader,
        updates: usize,
    ) -> Result<f64, ExperimentError> {
        let found = evaluate(&training.valid(), valid)?;
        self.accuracies.push((updates as f64, found.accuracy));
        self.course.valid.push(found);
        Ok(found.loss)
    }
}

/// Trains a network with its shocks.
fn train(
    digits: &Digits,
    (schedule, restarts): &Arm,
    rate: f64,
    seed: u64,
) -> Result<Cut, ExperimentError> {
    digits.device.seed(seed);
    let classifier = Classifier::new(&digits.device.clone().autodiff());
    let momentum = MomentumConfig { momentum: MOMENTUM, dampening: 0.0, nesterov: false };
    let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
    let run = RunLength::from_items(digits.train.len(), BATCH_SIZE).epochs(EPOCHS);
    let builder = LearnerBuilder::new(classifier, sgd, schedule(rate)).run(run);
    let mut training = match restarts {
        true => builder.controller("restart", PruningRestart::new(JUMP, HALF_LIFE)),
        false => builder,
    }
    .build_loop()?;
    let loader = digits.train_loader(BATCH_SIZE, seed);
    let updates = EPOCHS * digits.train.len().div_ceil(BATCH_SIZE);
    let valid = digits.loader_of(&digits.valid);
    let mut cut = Cut::default();
    let mut last_shock = None;
    for (update, batch) in (1..=EPOCHS).flat_map(|epoch| loader.batches_of(epoch)).enumerate() {
        let shock = SHOCKS.iter().find(|(percent, _)| update == percent * updates / 100);
        if let Some((_, sparsity)) = shock {
            let before = cut.test(&training, &valid, update)?;
            training.prune(MagnitudePruning::new(*sparsity).mask(training.model())?);
            if *restarts {
                training.announce("pruned")?;
            }
            cut.shock = cut.test(&training, &valid, update)? - before;
            cut.recovery = (updates - update) as f64;
            last_shock = Some((update, before + cut.shock / 2.0));
        }
        cut.course.update(&mut training, batch)?;
        let made = update + 1;
        if made.is_multiple_of((updates / TESTS).max(1)) {
            let loss = cut.test(&training, &valid, made)?;
            if let Some((shocked, half)) = last_shock
                && loss <= half
            {
                cut.recovery = cut.recovery.min((made - shocked) as f64);
            }
        }
    }
    cut.course.test = evaluate(&training.into_model().valid(), &digits.loader_of(&digits.test))?;
    Ok(cut)
}

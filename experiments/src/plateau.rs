//! A rate that falls when the validation loss stops improving, compared with rates that know only the update.

use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn_anneal::control::{MetricOf, Plateau};
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::course::{Plan, unchanged};
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::table::Column;

/// The rate after the warm-up.
const RATE: f64 = 0.05;
const MOMENTUM: f64 = 0.9;

/// The factor on the rate at a plateau, and the number of epochs without improvement.
const FACTOR: f64 = 0.5;
const PATIENCE: u64 = 2;

const STUDY: Study = Study {
    name: "plateau",
    title: "Rates that know the validation loss, and rates that do not",
    columns: &[
        Column::lower("valid loss"),
        Column::lower("test loss"),
        Column::share("test accuracy"),
    ],
    panels: &[
        Drawn::new("epoch", "valid loss", Scale::Logarithmic),
        Drawn::new("update", "learning rate", Scale::Rate),
    ],
    expected: Expected {
        words: "under a constant rate, SGD stays noisy; a rate that falls when the validation loss stops improving \
                ends lower, and comes close to schedules that know the length of the run, without knowing it.",
        better: &[("plateau", "constant")],
        by: 0,
        adaptive: &["plateau"],
    },
};

/// A schedule, and whether it falls at a plateau.
type Arm = (ScheduleConfig, bool);

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let plan = Plan { batch_size: 32, epochs: settings.either(30, 3), change: unchanged };
    let warm_up = Span::epochs(1);
    let arms: [(&str, Arm); 4] = [
        ("constant", (constant(RATE).warmup(warm_up).into(), false)),
        ("step", (step_decay(RATE, Span::percent(30.0), 0.2).warmup(warm_up).into(), false)),
        ("cosine", (cosine(RATE).warmup(warm_up).into(), false)),
        ("plateau", (constant(RATE).warmup(warm_up).into(), true)),
    ];
    let note = format!(
        "SGD with momentum {MOMENTUM}, at {RATE} after a warm-up of an epoch; at a plateau the rate is multiplied by \
         {FACTOR} after more than {PATIENCE} epochs that are no better."
    );
    STUDY.conduct(settings, &arms, &note, |(schedule, falls), seed| {
        let momentum = MomentumConfig { momentum: MOMENTUM, dampening: 0.0, nesterov: false };
        let course = plan.train(&digits, seed, |classifier| {
            let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
            let builder = LearnerBuilder::new(classifier, sgd, schedule.clone());
            let plateau = Plateau::min(MetricOf::valid("Loss")).factor(FACTOR).patience(PATIENCE);
            if *falls { builder.controller("plateau", plateau) } else { builder }
        })?;
        Ok(Trial {
            numbers: vec![course.valid_loss(), course.test.loss, course.test.accuracy],
            lines: vec![course.valid_losses(), course.rate_line()],
        })
    })
}

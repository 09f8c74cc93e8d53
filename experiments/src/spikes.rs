//! Broken batches, and guards that keep them from breaking the network.

use anneal_examples::loader::ImageBatch;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn_anneal::control::SpikeGuard;
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::course::{Course, Plan, unchanged};
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, LOSSES, Report, Study, Trial, smoothed};
use crate::table::Column;

/// One of this many batches is broken, and the factor on its pixels.
const EVERY: u64 = 40;
const TIMES: f64 = 50.0;

/// The rate of plain SGD.
const RATE: f64 = 0.1;

/// A momentum with which each gradient finally moves the weights ten times as far, and the rate for it.
const MOMENTUM: f64 = 0.9;
const RATE_WITH_MOMENTUM: f64 = RATE * (1.0 - MOMENTUM);

/// The usual norm for clipping, and a higher one.
const MAX_NORM: f64 = 1.0;
const HIGH_NORM: f64 = 4.0;

const STUDY: Study = Study {
    name: "spikes",
    title: "One of 40 batches is broken",
    columns: &[
        Column::lower("valid loss"),
        Column::lower("test loss"),
        Column::share("test accuracy"),
    ],
    panels: &[
        Drawn::new("update with a whole batch", "its loss", Scale::Logarithmic)
            .within(LOSSES.0, LOSSES.1),
        Drawn::new("epoch", "valid loss", Scale::Logarithmic).within(LOSSES.0, LOSSES.1),
    ],
    expected: Expected {
        words: "a norm far above its moving mean is detected, and clipping to the mean, cutting the rate or skipping \
                the update lets the network learn almost as if no batch were broken; clipping to a fixed norm shortens \
                other gradients too.",
        better: &[
            ("guard that clips", "nothing"),
            ("guard that clips", "clipping at 1"),
            ("guard that clips", "clipping at 4"),
            ("guard that cuts the rate", "nothing"),
            ("guard that skips", "nothing"),
            ("guard that cuts, momentum", "nothing"),
        ],
        by: 0,
        adaptive: &[
            "guard that clips",
            "guard that cuts the rate",
            "guard that skips",
            "guard that cuts, momentum",
        ],
    },
};

/// The guard against broken batches.
#[derive(Debug, Clone)]
enum Guard {
    Nothing,
    GlobalNorm(f64),
    Spikes(SpikeGuard),
}

/// How a network trains.
#[derive(Debug, Clone)]
struct Arm {
    guard: Guard,
    momentum: bool,
    broken: bool,
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let epochs = settings.either(10, 5);
    let plain = |guard| Arm { guard, momentum: false, broken: true };
    let cuts = || plain(Guard::Spikes(SpikeGuard::cut(1e-3, Span::steps(1))));
    let arms = [
        ("nothing", plain(Guard::Nothing)),
        ("clipping at 1", plain(Guard::GlobalNorm(MAX_NORM))),
        ("clipping at 4", plain(Guard::GlobalNorm(HIGH_NORM))),
        ("guard that clips", plain(Guard::Spikes(SpikeGuard::clip()))),
        ("guard that cuts the rate", cuts()),
        ("guard that skips", plain(Guard::Spikes(SpikeGuard::skip(10)))),
        ("guard that cuts, momentum", Arm { momentum: true, ..cuts() }),
        ("no broken batch", Arm { broken: false, ..plain(Guard::Nothing) }),
    ];
    let note = format!(
        "In one of {EVERY} batches pixels are {TIMES} times as large. Plain SGD under a cosine from {RATE}, or with \
         momentum {MOMENTUM} from {RATE_WITH_MOMENTUM:.2}; a guard that cuts multiplies the rate of that one update by \
         1/1000."
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let course = train(&digits, arm, epochs, seed)?;
        Ok(Trial {
            numbers: vec![course.valid_loss(), course.test.loss, course.test.accuracy],
            lines: vec![smoothed(&of_whole_batches(&course), 10), course.valid_losses()],
        })
    })
}

fn train(digits: &Digits, arm: &Arm, epochs: usize, seed: u64) -> Result<Course, ExperimentError> {
    let change = if arm.broken { broken } else { unchanged };
    let plan = Plan { batch_size: 32, epochs, change };
    let momentum = MomentumConfig { momentum: MOMENTUM, dampening: 0.0, nesterov: false };
    let sgd = SgdConfig::new().with_momentum(arm.momentum.then_some(momentum)).build();
    let rate = if arm.momentum { RATE_WITH_MOMENTUM } else { RATE };
    plan.train(digits, seed, |classifier| {
        let builder = LearnerBuilder::new(classifier, sgd, cosine(rate));
        match &arm.guard {
            Guard::Nothing => builder,
            Guard::GlobalNorm(norm) => builder.clip_global_norm(*norm),
            Guard::Spikes(rule) => builder.controller("spikes", rule.clone()),
        }
    })
}

/// The losses of updates whose batch would not be broken in any arm.
fn of_whole_batches(course: &Course) -> Vec<f64> {
    let numbered = (0..).zip(&course.losses);
    numbered.filter(|(update, _)| !is_broken(*update)).map(|(_, loss)| *loss).collect()
}

fn is_broken(update: u64) -> bool {
    (update + 1).is_multiple_of(EVERY)
}

/// Breaks the chosen batches.
fn broken(update: u64, batch: ImageBatch) -> ImageBatch {
    match is_broken(update) {
        true => ImageBatch { images: batch.images.mul_scalar(TIMES), ..batch },
        false => batch,
    }
}

//! Rates far too low and too high, and gradient descent on the rate.

use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn_anneal::control::Hypergradient;
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::course::{Plan, unchanged};
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, LOSSES, Report, Study, Trial, smoothed};
use crate::table::Column;

/// A rate that fits plain SGD on this network, a rate 100 times too low, and one that is too high.
const FITTING: f64 = 0.1;
const TOO_LOW: f64 = FITTING / 100.0;
const TOO_HIGH: f64 = 1.0;

/// The step of the rate of Baydin et al.: η ← η + β g·g′.
const BETA: f64 = 1e-3;

/// The step of its logarithm: ln η ← ln η + γ g·g′.
const GAMMA: f64 = 2e-2;

const STUDY: Study = Study {
    name: "hypergradient",
    title: "Gradient descent on the rate",
    columns: &[
        Column::lower("valid loss"),
        Column::share("test accuracy"),
        Column::neutral("last rate"),
    ],
    panels: &[
        Drawn::new("", "loss of an update", Scale::Logarithmic).within(LOSSES.0, LOSSES.1),
        Drawn::new("update", "learning rate", Scale::Logarithmic),
    ],
    expected: Expected {
        words: "gradients of successive updates point the same way if the rate is too low, and in opposite directions \
                if it is too high, so the rate converges from both sides.",
        better: &[
            ("too low, additive", "too low"),
            ("too low, on its logarithm", "too low"),
            ("too high, additive", "too high"),
            ("too high, on its logarithm", "too high"),
        ],
        by: 0,
        adaptive: &[
            "too low, additive",
            "too low, on its logarithm",
            "too high, additive",
            "too high, on its logarithm",
        ],
    },
};

/// A rate, and perhaps a controller.
type Arm = (f64, Option<Hypergradient>);

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let plan = Plan { batch_size: 64, epochs: settings.either(20, 2), change: unchanged };
    let additive = |rate: f64| Some(Hypergradient::additive(BETA / (rate * rate)));
    let on_log = |rate: f64| Some(Hypergradient::on_log(GAMMA / rate));
    let arms: [(&str, Arm); 7] = [
        ("too low", (TOO_LOW, None)),
        ("too low, additive", (TOO_LOW, additive(TOO_LOW))),
        ("too low, on its logarithm", (TOO_LOW, on_log(TOO_LOW))),
        ("too high", (TOO_HIGH, None)),
        ("too high, additive", (TOO_HIGH, additive(TOO_HIGH))),
        ("too high, on its logarithm", (TOO_HIGH, on_log(TOO_HIGH))),
        ("fitting", (FITTING, None)),
    ];
    let note = format!(
        "Plain SGD under constant rates: {TOO_LOW} is too low, {TOO_HIGH} too high, {FITTING} fits. The additive rule \
         has β = {BETA}, that on the logarithm {GAMMA}, from whatever rate it begins with."
    );
    STUDY.conduct(settings, &arms, &note, |(rate, rule), seed| {
        let course = plan.train(&digits, seed, |classifier| {
            let builder =
                LearnerBuilder::new(classifier, SgdConfig::new().build(), constant(*rate));
            match rule {
                Some(rule) => builder.controller("hypergradient", *rule),
                None => builder,
            }
        })?;
        let last_rate = course.rates.last().copied().unwrap_or(f64::NAN);
        Ok(Trial {
            numbers: vec![course.valid_loss(), course.test.accuracy, last_rate],
            lines: vec![smoothed(&course.losses, 10), course.rate_line()],
        })
    })
}

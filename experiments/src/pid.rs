//! A rate that is far too high, and a PID controller on the loss.

use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn_anneal::control::{Pid, Signal};
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::course::{Plan, unchanged};
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, LOSSES, Report, Study, Trial, smoothed};
use crate::table::Column;

/// Far too high for this network, and one that fits it.
const TOO_HIGH: f64 = 2.0;
const FITTING: f64 = 0.1;

/// The target loss: the rate falls with the excess, and the more the longer it lasts.
const SET_POINT: f64 = 0.0;
const ON_LOSS: [f64; 3] = [1.0, 0.02, 0.0];

/// The gains on the rise of the mean loss over this number of updates.
const ON_CHANGE: [f64; 3] = [1.0, 1.0, 0.0];
const MEAN_OVER: u64 = 5;

/// The limits of the controllers' factors: a rate above the one that is far too high is useless.
const LIMITS: (f64, f64) = (1e-3, 1.0);

const STUDY: Study = Study {
    name: "pid",
    title: "A rate far too high",
    columns: &[
        Column::lower("valid loss"),
        Column::lower("test loss"),
        Column::share("test accuracy"),
    ],
    panels: &[
        Drawn::new("", "loss of an update", Scale::Logarithmic).within(LOSSES.0, LOSSES.1),
        Drawn::new("update", "learning rate", Scale::Logarithmic).within(1e-3, 10.0),
    ],
    expected: Expected {
        words: "plain SGD diverges if the rate is above 2 divided by the curvature; feedback that lowers the rate \
                while the loss is high keeps it below, and training continues; its integral lowers it permanently.",
        better: &[
            ("PI on the loss", "constant, too high"),
            ("PI on the loss", "cosine, too high"),
            ("PI on the loss", "P on the loss"),
            ("PI on its change", "constant, too high"),
        ],
        by: 0,
        adaptive: &["PI on the loss", "P on the loss", "PI on its change"],
    },
};

/// A schedule, and perhaps a controller.
type Arm = (ScheduleConfig, Option<Pid>);

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let plan = Plan { batch_size: 32, epochs: settings.either(10, 2), change: unchanged };
    let on_loss = |gains| Pid::set_point(Signal::Loss, SET_POINT, gains);
    let on_change = Pid::change_of(Signal::Loss, ON_CHANGE).mean_over(MEAN_OVER);
    let limited = |pid: Pid| Some(pid.limits(LIMITS.0, LIMITS.1));
    let arms: [(&str, Arm); 7] = [
        ("constant, too high", (constant(TOO_HIGH).into(), None)),
        ("cosine, too high", (cosine(TOO_HIGH).into(), None)),
        ("PI on the loss", (constant(TOO_HIGH).into(), limited(on_loss(ON_LOSS)))),
        ("P on the loss", (constant(TOO_HIGH).into(), limited(on_loss([ON_LOSS[0], 0.0, 0.0])))),
        ("PI on its change", (constant(TOO_HIGH).into(), limited(on_change))),
        ("constant, fitting", (constant(FITTING).into(), None)),
        ("cosine, fitting", (cosine(FITTING).into(), None)),
    ];
    let note = format!(
        "Plain SGD; too high is a rate of {TOO_HIGH}, fitting {FITTING}. The controllers have the gains kp, ki, kd = \
         {ON_LOSS:?} on the loss, P without ki, and {ON_CHANGE:?} on the change of its mean over {MEAN_OVER} updates."
    );
    STUDY.conduct(settings, &arms, &note, |(schedule, pid), seed| {
        let course = plan.train(&digits, seed, |classifier| {
            let builder =
                LearnerBuilder::new(classifier, SgdConfig::new().build(), schedule.clone());
            match pid {
                Some(pid) => builder.controller("pid", pid.clone()),
                None => builder,
            }
        })?;
        Ok(Trial {
            numbers: vec![course.valid_loss(), course.test.loss, course.test.accuracy],
            lines: vec![smoothed(&course.losses, 10), course.rate_line()],
        })
    })
}

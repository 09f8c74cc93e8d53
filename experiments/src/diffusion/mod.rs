//! A denoiser of digits, whose rate or loss follows the noise level.

mod bench;
mod denoiser;

use anneal_examples::plot::Scale;
use bench::{Bench, PEAKS};
use burn_anneal::prelude::*;
use denoiser::{LEVELS, Process};

use crate::cli::Settings;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Study};
use crate::table::Column;

const COLUMNS: &[Column] = &[
    Column::lower("mean loss"),
    Column::share("mean progress"),
    Column::share("of the slowest level"),
    Column::lower("spread over levels"),
];

const PANELS: &[Drawn] =
    &[Drawn::new("level of noise", "progress", Scale::Percent).within(0.0, 1.0)];

const STUDY: Study = Study {
    name: "diffusion",
    title: "A denoiser whose rates answer to the level of noise",
    columns: COLUMNS,
    panels: PANELS,
    expected: Expected {
        words: "a rate of η₀/(1 + β), or one inverse to the curvature, evens out the progress over the noise levels; \
                so do the same factors as loss weights in batches that mix levels.",
        better: &[
            ("one level, 1/(1 + β)", "one level, constant"),
            ("one level, 1/(1 + sum)", "one level, constant"),
            ("one level, 1/curvature", "one level, constant"),
            ("mixed, weights 1/(1 + β)", "mixed, constant"),
            ("mixed, weights 1/(1 + sum)", "mixed, constant"),
            ("mixed, weights 1/curvature", "mixed, constant"),
        ],
        by: 3,
        adaptive: &[
            "one level, 1/(1 + β)",
            "one level, 1/(1 + sum)",
            "one level, 1/curvature",
            "mixed, weights 1/(1 + β)",
            "mixed, weights 1/(1 + sum)",
            "mixed, weights 1/curvature",
        ],
    },
};

const OF_SHAPES: Study = Study {
    name: "diffusion_shapes",
    title: "Steps and cosines for smooth and sharp noise",
    columns: COLUMNS,
    panels: PANELS,
    expected: Expected {
        words: "steps suit a noise schedule of two phases, a smooth decay a smooth one.",
        better: &[
            ("sharp, mixed, steps", "sharp, mixed, cosine"),
            ("smooth, mixed, cosine", "smooth, mixed, steps"),
            ("sharp, in order, steps", "sharp, in order, cosine"),
            ("smooth, in order, cosine", "smooth, in order, steps"),
        ],
        by: 0,
        adaptive: &[],
    },
};

/// The levels of the batches.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Batches {
    /// One level per batch, varying between batches.
    OneLevel,
    /// One level per batch, from the most noise to the least over the run.
    InOrder,
    /// All levels in each batch.
    Mixed,
}

/// The quantity that the rate, or the weight of a loss, is inverse to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Inverse {
    Nothing,
    Beta,
    Cumulative,
    Curvature,
}

/// How a network trains.
#[derive(Debug, Clone, Copy)]
struct Arm {
    batches: Batches,
    inverse: Inverse,
    is_sharp: bool,
    shape: fn(f64) -> ScheduleConfig,
}

/// Batches of all levels, under a cosine.
const MIXED: Arm =
    Arm { batches: Batches::Mixed, inverse: Inverse::Nothing, is_sharp: false, shape: wave };

fn constantly(rate: f64) -> ScheduleConfig {
    constant(rate).into()
}

fn steps(rate: f64) -> ScheduleConfig {
    step_decay(rate, Span::percent(50.0), 0.1).into()
}

fn wave(rate: f64) -> ScheduleConfig {
    cosine(rate).into()
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<String, ExperimentError> {
    let smooth = Bench::new(settings, Process::smooth()?)?;
    let sharp = Bench::new(settings, Process::sharp()?)?;
    let arm = |batches, inverse| Arm { batches, inverse, is_sharp: false, shape: constantly };
    let arms = [
        ("one level, constant", arm(Batches::OneLevel, Inverse::Nothing)),
        ("one level, 1/(1 + β)", arm(Batches::OneLevel, Inverse::Beta)),
        ("one level, 1/(1 + sum)", arm(Batches::OneLevel, Inverse::Cumulative)),
        ("one level, 1/curvature", arm(Batches::OneLevel, Inverse::Curvature)),
        ("mixed, constant", arm(Batches::Mixed, Inverse::Nothing)),
        ("mixed, weights 1/(1 + β)", arm(Batches::Mixed, Inverse::Beta)),
        ("mixed, weights 1/(1 + sum)", arm(Batches::Mixed, Inverse::Cumulative)),
        ("mixed, weights 1/curvature", arm(Batches::Mixed, Inverse::Curvature)),
    ];
    let (arms, peaks) = smooth.with_peaks(arms)?;
    let note = smooth.note(&peaks);
    let first = STUDY
        .conduct(settings, &arms, &note, |(arm, peak), seed| smooth.trial(arm, *peak, seed))?;

    let arm = |is_sharp, batches, shape: fn(f64) -> ScheduleConfig| Arm {
        batches,
        inverse: Inverse::Nothing,
        is_sharp,
        shape,
    };
    let (mut arms, smooth_peaks) = smooth.with_peaks([
        ("smooth, mixed, steps", arm(false, Batches::Mixed, steps)),
        ("smooth, mixed, cosine", arm(false, Batches::Mixed, wave)),
        ("smooth, in order, steps", arm(false, Batches::InOrder, steps)),
        ("smooth, in order, cosine", arm(false, Batches::InOrder, wave)),
    ])?;
    let (sharp_arms, sharp_peaks) = sharp.with_peaks([
        ("sharp, mixed, steps", arm(true, Batches::Mixed, steps)),
        ("sharp, mixed, cosine", arm(true, Batches::Mixed, wave)),
        ("sharp, in order, steps", arm(true, Batches::InOrder, steps)),
        ("sharp, in order, cosine", arm(true, Batches::InOrder, wave)),
    ])?;
    arms.extend(sharp_arms);
    let note = format!(
        "As in `diffusion`; β is linear in the smooth process, and 0.002 and then 0.2 in the sharp one. Levels come in order from the \
         most noise to the least, each for a tenth of the run, or mixed in each batch. Steps are one drop by 10 after half of the run. Peak \
         rates, the best of {PEAKS:?} each: {smooth_peaks}, {sharp_peaks}. Losses of the two processes do not compare."
    );
    let second =
        OF_SHAPES.conduct_for(STUDY.name, settings, &arms, &note, |(arm, peak), seed| {
            let bench = if arm.is_sharp { &sharp } else { &smooth };
            bench.trial(arm, *peak, seed)
        })?;
    Ok(format!("{first}\n\n{second}"))
}

impl Inverse {
    /// The name of the announced value that a rate follows.
    fn announced_as(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Beta | Self::Cumulative => Some("noise level"),
            Self::Curvature => Some("curvature"),
        }
    }
}

impl Arm {
    /// The level of an update, or of the first sample if levels are mixed.
    fn level(&self, update: u64, updates: u64) -> usize {
        match self.batches {
            Batches::InOrder => LEVELS - 1 - (update * LEVELS as u64 / updates) as usize,
            // In turns, but not in order.
            _ => (update * 7) as usize % LEVELS,
        }
    }
}

//! Trains the same network from the same seeds under five schedules, and compares them.
//!
//! ```text
//! cargo run --bin experiments -- schedules                            2,000 images, 20 epochs each
//! cargo run --bin experiments -- schedules --seeds 3               with a spread
//! cargo run --bin experiments -- schedules --help                  everything else
//! ```

use std::num::NonZeroUsize;

use anneal_examples::arguments::whole_number;
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn_anneal::prelude::*;
use clap::Args;

use crate::comparison::{Comparison, Session, Subject, seeds};
use crate::error::ExperimentError;

/// The defaults of the command line.
pub const DEFAULTS: Defaults =
    Defaults { about: "", epochs: 20, batch_size: 64, learning_rate: 4e-3 };

#[derive(Debug, Clone, Args)]
pub struct ComparisonArguments {
    #[command(flatten)]
    shared: Arguments,

    /// Train every schedule from N seeds: --seed, --seed + 1, ...
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,
}

/// Trains and compares.
///
/// # Errors
/// If something is wrong with the arguments, or a run fails.
pub fn run(arguments: &ComparisonArguments) -> Result<Comparison, ExperimentError> {
    let shared = &arguments.shared;
    let seeds = seeds(shared, arguments.seeds)?;
    let group =
        Session::open_group("schedules", Dataset::Cifar10, Augmentation::CROP_AND_FLIP, shared)?;
    let contenders = contenders(shared)?;
    // Errors are reported before anything is trained or overwritten.
    for seed in seeds.clone() {
        for (name, schedule) in &contenders {
            let session = group.member(name, seed)?;
            session.finished(schedule)?;
        }
    }
    say(format_args!("{group}\n"));
    let mut comparison = Comparison::begin(&group, Subject::Schedules)?;
    for seed in seeds {
        for (name, schedule) in &contenders {
            let session = group.member(name, seed)?;
            let (rates, report) = train(&session, schedule)?;
            comparison.add(name, &rates, report);
        }
    }
    comparison.finish()
}

/// All schedules have the same peak; a schedule from a file is added.
fn contenders(
    arguments: &Arguments,
) -> Result<Vec<(&'static str, ScheduleConfig)>, ExperimentError> {
    let peak = arguments.learning_rate;
    let decay = Decay::Toward { end: Level::Rate(peak / 100.0), length: Span::Rest };
    let mut contenders: Vec<(_, ScheduleConfig)> = vec![
        ("constant", constant(peak).into()),
        ("step", step_decay(peak, Span::percent(30.0), 0.2).into()),
        ("exponential", exponential(peak, decay).into()),
        ("cosine", cosine(peak).into()),
        (
            "warmup-stable-decay",
            warmup_stable_decay(peak, Span::percent(10.0), Span::percent(30.0)).into(),
        ),
    ];
    if arguments.schedule.is_some() {
        contenders.push(("from-file", arguments.schedule(|_| constant(peak).into())?));
    }
    Ok(contenders)
}

fn train(
    session: &Session,
    schedule: &ScheduleConfig,
) -> Result<(Schedule, Report), ExperimentError> {
    let model = ResidualNetworkConfig::default().init(&session.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
    session.train_unless_finished(schedule.clone(), |schedule| {
        LearnerBuilder::new(model, optimizer, schedule)
    })
}

//! Trains the same network from the same seeds under one schedule and several weight decays of the same
//! strength, and shows the effect of each on the norm of the weights.
//!
//! ```text
//! cargo run --bin experiments -- weight_decay                          2,000 images, 20 epochs each
//! cargo run --bin experiments -- weight_decay --seeds 3             with a spread
//! cargo run --bin experiments -- weight_decay --help                everything else
//! ```
//!
//! At the peak rate all of them shrink a weight to 1/e within the time scale; they differ when the rate falls.
//! A relative decay is not included: under one schedule it equals the coupled one, and differs only if the peak
//! rate changes.

use std::num::NonZeroUsize;

use anneal_examples::arguments::whole_number;
use anneal_examples::plot::{self, Scale, Series, Titles};
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn_anneal::prelude::*;
use clap::Args;

use crate::comparison::{Comparison, Session, Subject, seeds};
use crate::error::ExperimentError;

/// The defaults of the command line.
pub const DEFAULTS: Defaults =
    Defaults { about: "", epochs: 20, batch_size: 64, learning_rate: 4e-3 };

/// The group of decayed parameters: the kernels and the last layer's matrix, not biases and norms.
const WEIGHTS: &str = "weights";

#[derive(Debug, Clone, Args)]
pub struct DecayArguments {
    #[command(flatten)]
    shared: Arguments,

    /// Train with every decay from N seeds: --seed, --seed + 1, ...
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,

    /// The time in which weights shrink to 1/e at the peak rate: 500, 10ep or 50%
    #[arg(long, value_name = "SPAN", default_value = "5ep", allow_hyphen_values = true)]
    time_scale: Span,
}

/// Trains and compares.
///
/// # Errors
/// If something is wrong with the arguments, or a run fails.
pub fn run(arguments: &DecayArguments) -> Result<Comparison, ExperimentError> {
    let shared = &arguments.shared;
    let seeds = seeds(shared, arguments.seeds)?;
    let group =
        Session::open_group("weight_decay", Dataset::Cifar10, Augmentation::CROP_AND_FLIP, shared)?
            .measuring_norms()
            .with_flags([("--time-scale", arguments.time_scale.to_string())])?;
    say(format_args!("{group}\n"));
    let schedule = shared.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let policies = policies(arguments.time_scale);
    let rates = schedule.clone().resolve(group.run_length())?;
    for (_, decay) in &policies {
        // Errors are reported before anything is trained.
        let resolved = decay.resolve(&rates, group.run_length());
        resolved
            .map_err(|source| ExperimentError::TimeScale { span: arguments.time_scale, source })?;
    }
    let mut comparison = Comparison::begin(&group, Subject::Methods)?;
    let mut norms = vec![];
    for seed in seeds {
        for (name, decay) in &policies {
            let session = group.member(name, seed)?;
            let (rates, report) = train(&session, &schedule, decay)?;
            comparison.add(name, &rates, report);
            if seed == shared.seed {
                norms.push(series(name, session.logged(&format!("Norm {WEIGHTS}"))?));
            }
        }
    }
    let titles = Titles {
        title: "How long the weights are",
        subtitle: "Euclidean norm of all that decays, first seed",
        x: "update",
        y: "norm",
    };
    comparison.add_picture("norms.svg", &plot::comparison(titles, Scale::Rate, &norms))?;
    say(table(&norms));
    comparison.finish()
}

/// A norm after each update, counted from 1.
fn series(name: &str, norms: Vec<f64>) -> Series {
    let points = norms.into_iter().zip(1..).map(|(norm, update)| (f64::from(update), norm));
    Series { name: name.to_owned(), points: points.collect() }
}

/// The norm after a quarter, a half, three quarters and all of the run.
fn table(norms: &[Series]) -> String {
    let mut text = format!(
        "{:20}  {:>7}  {:>7}  {:>7}  {:>7}\n",
        "norm after", "25 %", "50 %", "75 %", "100 %"
    );
    for Series { name, points } in norms {
        let at = |quarter: usize| match (points.len() * quarter / 4).checked_sub(1) {
            Some(index) => format!("{:.2}", points[index].1),
            None => "-".to_owned(),
        };
        text += &format!("{name:20}  {:>7}  {:>7}  {:>7}  {:>7}\n", at(1), at(2), at(3), at(4));
    }
    text
}

/// All remove the same share of a weight at the peak rate.
fn policies(time_scale: Span) -> [(&'static str, WeightDecay); 5] {
    [
        ("none", WeightDecay::none()),
        ("coupled", WeightDecay::coupled(time_scale)),
        ("independent", WeightDecay::independent(time_scale)),
        ("corrected", WeightDecay::corrected(time_scale)),
        ("cautious", WeightDecay::independent(time_scale).cautious()),
    ]
}

fn train(
    session: &Session,
    schedule: &ScheduleConfig,
    decay: &WeightDecay,
) -> Result<(Schedule, Report), ExperimentError> {
    let model = ResidualNetworkConfig::default().init(&session.device());
    let weights = Selection::none().globs(["*.weight"]);
    let groups = GroupsConfig::new()
        .group(Group::new(WEIGHTS, weights).weight_decay(decay.clone()))
        .group(Group::rest("biases and norms"));
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
    session.train_unless_finished(schedule.clone(), |schedule| {
        LearnerBuilder::new(model, optimizer, schedule).groups(groups)
    })
}

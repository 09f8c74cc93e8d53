//! Measures the effect of Anneal's schedules and controllers on real images, over several seeds.
//!
//! ```text
//! cargo run --bin experiments -- gan                                 table and pictures in docs/experiments
//! cargo run --bin experiments -- gan --seeds 5 --out FOLDER          elsewhere
//! cargo run --bin experiments -- gan --short --out FOLDER            a few seconds, to see that it works
//! cargo run --bin experiments -- schedules --seeds 3                 a comparison that can be resumed, in runs/schedules
//! ```

mod averages;
mod batches;
mod cli;
mod clients;
mod colors;
mod comparison;
mod continual;
mod contrastive;
mod course;
mod curriculum;
mod curvature;
mod diffusion;
mod digits;
mod efficientnet;
mod error;
mod evaluation;
mod exam;
mod federated;
mod finetune;
mod gan;
mod half_precision;
mod harness;
mod hypergradient;
mod local_sgd;
mod merge;
mod model;
mod multitask;
mod noise_scale;
mod picture;
mod pid;
mod plateau;
mod privacy;
mod pruning;
mod range_test;
mod rates;
mod schedules;
mod search;
mod search_architectures;
mod snapshots;
mod spikes;
mod table;
mod weight_decay;

use std::process::ExitCode;

use anneal_examples::prelude::*;

use cli::{Arguments, Experiment};
use multitask::Beside;

use crate::error::ExperimentError;

fn main() -> ExitCode {
    conclude(run(&Arguments::read().experiment).map_err(Into::into))
}

fn run(experiment: &Experiment) -> Result<String, ExperimentError> {
    match experiment {
        Experiment::Averages(settings) => Ok(averages::run(settings, false)?.to_string()),
        Experiment::Averages10000(settings) => Ok(averages::run(settings, true)?.to_string()),
        Experiment::Efficientnet(arguments) => Ok(efficientnet::run(arguments)?.to_string()),
        Experiment::Finetune(arguments) => Ok(finetune::run(arguments)?.to_string()),
        Experiment::HalfPrecision(arguments) => Ok(half_precision::run(arguments)?.to_string()),
        Experiment::Schedules(arguments) => Ok(schedules::run(arguments)?.to_string()),
        Experiment::WeightDecay(arguments) => Ok(weight_decay::run(arguments)?.to_string()),
        Experiment::Continual(settings) => Ok(continual::run(settings)?.to_string()),
        Experiment::Contrastive(settings) => Ok(contrastive::run(settings)?.to_string()),
        Experiment::Curriculum(settings) => Ok(curriculum::run(settings)?.to_string()),
        Experiment::Curvature(settings) => Ok(curvature::run(settings)?.to_string()),
        Experiment::Diffusion(settings) => diffusion::run(settings),
        Experiment::Federated(settings) => Ok(federated::run(settings)?.to_string()),
        Experiment::Gan(settings) => Ok(gan::run(settings)?.to_string()),
        Experiment::Hypergradient(settings) => Ok(hypergradient::run(settings)?.to_string()),
        Experiment::LocalSgd(settings) => Ok(local_sgd::run(settings)?.to_string()),
        Experiment::Merge(settings) => Ok(merge::run(settings)?.to_string()),
        Experiment::Multitask(settings) => {
            Ok(multitask::run(settings, Beside::Parity)?.to_string())
        }
        Experiment::MultitaskPixels(settings) => {
            Ok(multitask::run(settings, Beside::Pixels)?.to_string())
        }
        Experiment::NoiseScale(settings) => Ok(noise_scale::run(settings)?.to_string()),
        Experiment::Pid(settings) => Ok(pid::run(settings)?.to_string()),
        Experiment::Plateau(settings) => Ok(plateau::run(settings)?.to_string()),
        Experiment::Privacy(settings) => Ok(privacy::run(settings)?.to_string()),
        Experiment::Pruning(settings) => Ok(pruning::run(settings)?.to_string()),
        Experiment::RangeTest(settings) => range_test::run(settings),
        Experiment::Search(settings) => Ok(search::run(settings)?.to_string()),
        Experiment::SearchArchitectures(settings) => search_architectures::run(settings),
        Experiment::Snapshots(settings) => Ok(snapshots::run(settings)?.to_string()),
        Experiment::Spikes(settings) => Ok(spikes::run(settings)?.to_string()),
    }
}

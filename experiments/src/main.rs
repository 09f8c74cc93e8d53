//! What Anneal's schedules and controllers do on real digits, measured over seeds.
//!
//! ```text
//! cargo run --bin experiments -- gan                                 table and pictures in docs/experiments
//! cargo run --bin experiments -- gan --seeds 5 --out FOLDER          elsewhere
//! cargo run --bin experiments -- gan --short --out FOLDER            a few seconds, to see that it works
//! ```

mod cli;
mod course;
mod digits;
mod gan;
mod harness;
mod hypergradient;
mod model;
mod picture;
mod pid;
mod plateau;
mod spikes;
mod table;

use std::process::ExitCode;

use anneal_examples::prelude::*;
use clap::Parser;

use cli::{Arguments, Experiment};
use harness::Report;

fn main() -> ExitCode {
    conclude(run(&Arguments::parse().experiment))
}

fn run(experiment: &Experiment) -> Result<Report, ExampleError> {
    match experiment {
        Experiment::Gan(settings) => gan::run(settings),
        Experiment::Hypergradient(settings) => hypergradient::run(settings),
        Experiment::Pid(settings) => pid::run(settings),
        Experiment::Plateau(settings) => plateau::run(settings),
        Experiment::Spikes(settings) => spikes::run(settings),
    }
}

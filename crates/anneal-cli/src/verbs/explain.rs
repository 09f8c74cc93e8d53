//! `anneal explain`: describes a training in words.

use crate::drawing::short;
use crate::error::{Error, without_control};
use crate::figures::Figures;
use crate::input::Input;
use crate::run_arguments::RunArgs;
use anneal_config::TrainingConfig;
use anneal_schedule::Schedule;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Describe in words what a file trains with: schedule, groups, decay, precision, controllers and averages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal explain train.toml
  anneal explain train.toml --epochs 20 --steps-per-epoch 391
  anneal explain 'cosine(3e-4).warmup(5%)'

Given the length of the run, checks every value for it and says the rates. Errors that need the model, for example a pattern
that matches nothing, are found when training starts. anneal show draws the schedule, and anneal lint finds
likely mistakes.")]
pub struct Explain {
    /// A .toml or .json file, a text such as 'cosine(3e-4).warmup(5%)', or - for stdin
    #[arg(value_name = "TRAINING")]
    training: String,
    #[command(flatten)]
    run: RunArgs,
}

impl Explain {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let input = Input::read_whole(&self.training)?;
        let run = self.run.run()?;
        let mut rates = None;
        if run.is_known() {
            input.check(&run)?;
            let schedule = input.resolve(&run)?;
            rates = schedule.length().map(|updates| in_words(&schedule, updates));
        }
        let training = input.training.unwrap_or_else(|| TrainingConfig::new(input.config));
        for line in training.to_string().lines() {
            writeln!(out, "{}", without_control(line))?;
        }
        if let Some(rates) = rates {
            writeln!(out, "rates       {rates}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The rates of a run of so many updates.
fn in_words(schedule: &Schedule, updates: u64) -> String {
    let Figures { first, peak_at, peak, last, .. } = Figures::of(schedule, updates);
    let [first, peak, last] = [first, peak, last].map(short);
    format!("{first} at first, {peak} at update {peak_at}, {last} at the last of {updates} updates")
}

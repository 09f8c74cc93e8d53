//! `anneal sample`: prints the rates.

use crate::count::count;
use crate::error::Error;
use crate::input::Input;
use crate::run_arguments::LengthArgs;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::iter::successors;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::str::FromStr;

/// Print the rates of a range of updates at full precision
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal sample 'exponential(0.1, half_life(100))' --steps 0..1000 --every 10
  anneal sample gpt.toml --steps 0..2000 --run-steps 100000 --format json > rates.json

Update t of 0, 1, … uses the rate at t. --steps selects the updates to print; the length of the
run, which spans in percent or epochs need, is --run-steps, or --epochs with --steps-per-epoch.
Each number is the shortest decimal that reads back as the same double.")]
pub struct Sample {
    /// A .toml or .json file, a text such as 'cosine(3e-4).warmup(5%)', or - for stdin
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// The updates to print: FIRST..END, excluding END
    #[arg(long, value_name = "FIRST..END")]
    steps: Range,
    /// Print only every K-th of these updates
    #[arg(long, value_name = "K", value_parser = at_least_1, default_value = "1")]
    every: NonZeroU64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Length of the run in updates
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = ["epochs", "samples", "tokens"])]
    run_steps: Option<u64>,
    #[command(flatten)]
    length: LengthArgs,
}

/// The output format of the rates
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A header, then a line `step,rate` per update
    #[default]
    Csv,
    /// A list of objects {"step": …, "rate": …}
    Json,
}

/// A range of updates, excluding the end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    first: u64,
    end: u64,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "allowed: FIRST..END, such as 0..100";
        let (first, end) = text.split_once("..").ok_or(allowed)?;
        let range = Self { first: count(first)?, end: count(end)? };
        if range.first < range.end {
            Ok(range)
        } else {
            Err(format!("the range is empty; {allowed}"))
        }
    }
}

fn at_least_1(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(count(text)?).ok_or("allowed: at least 1".into())
}

impl Sample {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let run = self.length.run_or("--run-steps", self.run_steps)?;
        let schedule = Input::read(&self.schedule)?.resolve(&run)?;
        let Range { first, end } = self.steps;
        let next = |&step: &u64| step.checked_add(self.every.get());
        let rates = successors(Some(first), next)
            .take_while(|&step| step < end)
            .map(|step| (step, schedule.rate(step)));
        // `{:?}` of an f64 is the shortest decimal that reads back as the same number, and is valid JSON.
        match self.format {
            Format::Csv => {
                writeln!(out, "step,rate")?;
                for (step, rate) in rates {
                    writeln!(out, "{step},{rate:?}")?;
                }
            }
            Format::Json => {
                let mut separator = "[\n";
                for (step, rate) in rates {
                    write!(out, "{separator}{{\"step\": {step}, \"rate\": {rate:?}}}")?;
                    separator = ",\n";
                }
                writeln!(out, "\n]")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_at_least_one_update() {
        assert_eq!("0..100".parse(), Ok(Range { first: 0, end: 100 }));
        assert_eq!("5 .. 6".parse(), Ok(Range { first: 5, end: 6 }));
        assert_eq!("1e3..2k".parse(), Ok(Range { first: 1_000, end: 2_000 }));
        for text in ["", "100", "5..5", "6..5", "-1..5", "..", "0..99999999999999999999"] {
            let error = text.parse::<Range>().unwrap_err();
            assert!(error.contains("allowed: "), "{text}: {error}");
        }
    }
}

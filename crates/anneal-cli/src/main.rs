//! The `anneal` program: works with learning-rate schedules before training.
//!
//! Each verb is a file in `verbs/` and a line in its list; the other modules hold what several verbs need:
//! reading a schedule ([`input`]) and a number ([`count`]), stdin and files ([`files`]), options about the
//! loss ([`analysis_arguments`]) and what theory predicts of it ([`predictions`]), key figures
//! ([`figures`]), and drawing ([`drawing`]).

mod analysis_arguments;
mod count;
mod drawing;
mod error;
mod figures;
mod files;
mod input;
mod predictions;
mod run_arguments;
mod stdin;
mod verbs;

use clap::Parser;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Learning-rate schedules: list the available curves, show, sample, lint, analyze and translate schedules.
#[derive(Debug, Parser)]
#[command(name = "anneal", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: verbs::Verb,
}

const AFTER_HELP: &str = "\
A SCHEDULE is a .toml or .json file, the text of a builder chain, or - for either on stdin:
  anneal list
  anneal show 'cosine(3e-4).warmup(5%)' --steps 1000
  anneal show resnet.toml --epochs 90 --steps-per-epoch 5005
  anneal sample 'step_decay(0.1, 30ep, 0.1)' --steps 0..10 --epochs 90 --steps-per-epoch 5005
  anneal lint 'cosine(3e-4).warmup(5%)' --steps 1000 --curvature 100
  anneal analyze 'cosine(3e-4).warmup(5%)' --steps 1000
  anneal match --exponential 'exponential(0.1, half_life(1000))'
  anneal translate --from torch --name StepLR --base-lr 0.1 '{\"step_size\": 30}'
  echo 'cosine(3e-4)' | anneal show - --steps 1e6

Lengths in a schedule are updates (500), epochs (5ep), samples (2Msp), tokens (260Btok), shares of the
run (10%) or the rest of it.
Counts in flags may be written 20000, 20_000, 2e4 or 20k.

Exit codes:
  0  fine, or nothing but notes
  1  lint has warnings or errors, or the schedule is wrong
  2  the command is wrong, or a file cannot be read or written";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::report_arguments(&error),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let ran = cli.verb.run(&mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    ran.unwrap_or_else(|error| {
        // Print earlier output before the error.
        let _ = out.flush();
        error.report()
    })
}

//! `anneal lint`: what is wrong with a schedule before training.

use crate::error::Error;
use crate::input::{Input, RunArgs};
use crate::analysis_arguments::{AnalysisArguments, ReportFormat, unanswered};
use anneal_schedule::lint::{Finding, lint};
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Say what is wrong with a schedule before training
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal lint gpt.toml --steps 100000
  anneal lint 'step_decay(0.1, 30ep, 0.1)' --epochs 90 --steps-per-epoch 5005 --weight-decay 1e-4
  anneal lint 'constant(0.1)' --steps 1000 --curvature 50 --optimizer heavy-ball --momentum 0.9

Each finding has a code that never changes, where it is, and what to change. The exit code is 1 when
anything was found. A schedule is judged in a run: give its length.")]
pub struct Lint {
    /// .toml or .json files, or texts such as 'cosine(3e-4).warmup(5%)'
    #[arg(value_name = "SCHEDULE", required = true)]
    schedules: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    look: AnalysisArguments,
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

impl Lint {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let run = self.run.run()?;
        let options = self.look.options()?;
        let mut all = vec![];
        for argument in &self.schedules {
            let input = Input::read(argument)?;
            // Says which flag is missing, where the length of the run is.
            input.check_length(&run)?;
            let findings = lint(&input.config, run.length, &options)
                .map_err(|error| unanswered(&input.name, &error))?;
            all.push((input.name, findings));
        }
        match self.format {
            ReportFormat::Text => write_text(out, &all)?,
            ReportFormat::Json => write_json(out, &all)?,
        }
        let found = all.iter().any(|(_, findings)| !findings.is_empty());
        Ok(ExitCode::from(u8::from(found)))
    }
}

fn write_text(out: &mut impl Write, all: &[(String, Vec<Finding>)]) -> Result<(), Error> {
    for (name, findings) in all {
        if findings.is_empty() {
            writeln!(out, "{name}: fine")?;
        }
        for finding in findings {
            writeln!(out, "{name}: {finding}")?;
        }
    }
    Ok(())
}

fn write_json(out: &mut impl Write, all: &[(String, Vec<Finding>)]) -> Result<(), Error> {
    let all: Vec<serde_json::Value> = all
        .iter()
        .map(|(name, findings)| serde_json::json!({ "schedule": name, "findings": findings }))
        .collect();
    writeln!(out, "{}", serde_json::Value::Array(all))?;
    Ok(())
}

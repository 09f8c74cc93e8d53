//! `anneal match`: matches step decays with exponential decays.

use crate::analysis_arguments::{ReportFormat, unanswered};
use crate::count::count;
use crate::error::Error;
use crate::input::Input;
use crate::run_arguments::RunArgs;
use anneal_schedule::ScheduleConfig;
use anneal_schedule::analysis::{AnalysisError, partner};
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Find the exponential decay that matches a step decay, or vice versa
#[derive(Debug, Args)]
#[command(
    name = "match",
    after_help = "\
Examples:
  anneal match --step 'step_decay(0.1, 30ep, 0.1)' --epochs 90 --steps-per-epoch 5005
  anneal match --exponential 'exponential(0.1, half_life(1000))'
  anneal match --exponential 'exponential(0.1, kappa(0.001))' --every 500

A step decay and its exponential have the same rate at the end of the run: κ = −n ln γ / E for n
drops in E updates. An exponential and its step decay have the same half-life, γ = ½, or with --every T
the same decay, γ = e^(−κT). The log-gap is ln(step decay / exponential decay) at the same update."
)]
pub struct Match {
    /// A step decay: a .toml or .json file, or a text such as 'step_decay(0.1, 30ep, 0.1)'
    #[arg(long, value_name = "SCHEDULE", required_unless_present = "exponential")]
    step: Option<String>,
    /// An exponential decay: a file, or a text such as 'exponential(0.1, half_life(1000))'
    #[arg(long, value_name = "SCHEDULE", conflicts_with = "step")]
    exponential: Option<String>,
    /// Let the step decay drop every T updates
    #[arg(
        long,
        value_name = "T",
        value_parser = count,
        allow_negative_numbers = true,
        conflicts_with = "step"
    )]
    every: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

impl Match {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let argument = self.step.as_ref().or(self.exponential.as_ref());
        let argument =
            argument.ok_or_else(|| Error::Usage("give --step or --exponential".into()))?;
        let input = Input::read(argument)?;
        let mixed_up = match (&input.config, self.step.is_some()) {
            (ScheduleConfig::StepDecay(_), false) => Some("a step decay: pass it to --step"),
            (ScheduleConfig::Exponential(_), true) => {
                Some("an exponential decay: pass it to --exponential")
            }
            _ => None,
        };
        if let Some(advice) = mixed_up {
            return Err(Error::Usage(format!("{argument}: is {advice}")));
        }
        let schedule = input.resolve(&self.run.run()?)?;
        let steps = match schedule.length() {
            Some(steps) => steps,
            None if self.step.is_some() => {
                return Err(unanswered(argument, &AnalysisError::NeedsSteps));
            }
            // An exponential decay does not need one.
            None => 1,
        };
        let found =
            partner(&schedule, steps, self.every).map_err(|error| unanswered(argument, &error))?;
        match self.format {
            ReportFormat::Text => {
                writeln!(out, "step decay   {}", found.step_decay)?;
                writeln!(out, "exponential  {}", found.exponential)?;
                writeln!(out, "kappa        {:?} per update", found.kappa)?;
                writeln!(
                    out,
                    "log-gap      in [{:?}, {:?})",
                    found.log_gap.least, found.log_gap.below
                )?;
            }
            ReportFormat::Json => writeln!(out, "{}", serde_json::json!(found))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `anneal analyze`: analyzes a schedule without training.

use crate::analysis_arguments::{AnalysisArguments, ReportFormat, unanswered};
use crate::error::Error;
use crate::input::Input;
use crate::predictions::{PredictionArguments, Predictions};
use crate::run_arguments::RunArgs;
use anneal_schedule::analysis::Analysis;
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Analyze a schedule without training
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal analyze gpt.toml --steps 100000
  anneal analyze 'cosine(0.1).warmup(5%)' --steps 1000 --weight-decay 1e-4 --curvature 15
  anneal analyze 'cosine(0.1).warmup(5%)' --steps 1000 --curvature 15 --noise 2 --batch 64
  anneal analyze 'power_law(0.1, 100, 0.7)' --steps 1000 --format json

Reports flatness (total variation, largest jump), travel Ση and noise Ση², the Robbins–Monro conditions
of the endless curve, half-life and frozen share, and the matching exponential or step decay; with
--curvature also the stability, and with --weight-decay the effective decay. Each number states
whether it comes from a closed form or from a sum over the updates.

With --noise also what theory predicts of plain SGD on a quadratic, and with --noise or --barrier how
early it escapes from a minimum, each with its formula.")]
pub struct Analyze {
    /// A .toml or .json file, a text such as 'cosine(3e-4).warmup(5%)', or - for stdin
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    look: AnalysisArguments,
    #[command(flatten)]
    predict: PredictionArguments,
    /// Count updates below this share of the peak as frozen
    #[arg(long, value_name = "SHARE", default_value = "0.01")]
    frozen_below: f64,
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

/// Both as one JSON object.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    analysis: Analysis,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Predictions>,
}

impl Analyze {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let schedule = Input::read(&self.schedule)?.resolve(&self.run.run()?)?;
        let options = self.look.options()?.frozen_below(self.frozen_below);
        let analysis = Analysis::of(&schedule, &options)
            .map_err(|error| unanswered(&self.schedule, &error))?;
        let predictions = self.predict.predict(&self.schedule, &schedule, &options, &analysis)?;
        match (self.format, &predictions) {
            (ReportFormat::Text, None) => write!(out, "{analysis}")?,
            (ReportFormat::Text, Some(predictions)) => write!(out, "{analysis}\n{predictions}")?,
            (ReportFormat::Json, _) => {
                writeln!(out, "{}", serde_json::json!(Report { analysis, predictions }))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

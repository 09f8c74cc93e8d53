//! `anneal lint`: what is wrong with a schedule before training.

use crate::analysis_arguments::{AnalysisArguments, ReportFormat, unanswered};
use crate::error::Error;
use crate::input::{Input, Run, RunArgs};
use anneal_schedule::analysis::Options;
use anneal_schedule::lint::{Code, Example, Finding, Severity, lint};
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Say what is wrong with a schedule before training
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal lint gpt.toml --steps 100000
  anneal lint gpt.toml resnet.toml --epochs 90 --steps-per-epoch 5005 --allow fading-decay --strict
  anneal lint 'step_decay(0.1, 30ep, 0.1)' --epochs 90 --steps-per-epoch 5005 --weight-decay 1e-4
  anneal lint 'constant(0.1)' --steps 1000 --curvature 10 --optimizer heavy-ball --momentum 0.9
  anneal lint --explain ends-early

Each finding has a code that never changes, a severity, where it is, and what to change. A note costs
something and may be meant; a warning is most likely not meant; with an error there is nothing to train.
A schedule is judged in a run: give its length.

Exit codes:
  0  fine, or nothing but notes
  1  warnings or errors, with --strict notes too, or a schedule that is wrong
  2  the command is wrong, or a file cannot be read; the others are reported all the same")]
pub struct Lint {
    /// .toml or .json files, texts such as 'cosine(3e-4).warmup(5%)', or - for stdin
    #[arg(value_name = "SCHEDULE", required_unless_present = "explain")]
    schedules: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    look: AnalysisArguments,
    /// Leave out findings with this code; may be given several times
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    allow: Vec<Code>,
    /// Let notes give exit code 1 too
    #[arg(long)]
    strict: bool,
    /// Explain a code, with a schedule that has it and one that does not; without CODE, list all
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<Option<Code>>,
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

/// What came of one schedule.
struct Linted {
    name: String,
    /// Its name, with line and column where a value in its file does not resolve.
    place: String,
    found: Result<Vec<Finding>, Error>,
}

impl Lint {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        match self.explain {
            Some(Some(code)) => return explain(code, out),
            Some(None) => return list(out),
            None => {}
        }
        let (run, options) = (self.run.run()?, self.look.options()?);
        let all = self.schedules.iter().map(|argument| self.lint(argument, &run, &options));
        let all: Vec<Linted> = all.collect();
        match self.format {
            ReportFormat::Text => write_text(out, &all)?,
            ReportFormat::Json => write_json(out, &all)?,
        }
        // What was found comes first.
        out.flush()?;
        let errors = all.iter().filter_map(|linted| linted.found.as_ref().err());
        for error in errors {
            error.report();
        }
        Ok(ExitCode::from(all.iter().map(|linted| self.code(linted)).max().unwrap_or(0)))
    }

    fn lint(&self, argument: &str, run: &Run, options: &Options) -> Linted {
        let input = match Input::read(argument) {
            Ok(input) => input,
            Err(error) => {
                let name = argument.to_string();
                return Linted { place: name.clone(), name, found: Err(error) };
            }
        };
        // Says which flag is missing, where the length of the run is.
        let found = input.check_length(run).and_then(|()| {
            lint(&run.config(&input), run.length, options)
                .map_err(|error| unanswered(&input.name, &error))
        });
        let found = found.map(|mut findings| {
            findings.retain(|finding| !self.allow.contains(&finding.code));
            findings
        });
        Linted { place: input.place(run), name: input.name, found }
    }

    fn code(&self, linted: &Linted) -> u8 {
        let least = if self.strict { Severity::Note } else { Severity::Warning };
        match &linted.found {
            Ok(findings) => findings.iter().any(|finding| finding.severity >= least).into(),
            Err(error) => error.code(),
        }
    }
}

fn write_text(out: &mut impl Write, all: &[Linted]) -> Result<(), Error> {
    for Linted { place, found, .. } in all {
        match found {
            Ok(findings) if findings.is_empty() => writeln!(out, "{place}: fine")?,
            Ok(findings) => {
                for finding in findings {
                    writeln!(out, "{place}: {finding}")?;
                }
            }
            // Said on stderr.
            Err(_) => {}
        }
    }
    Ok(())
}

fn write_json(out: &mut impl Write, all: &[Linted]) -> Result<(), Error> {
    let all: Vec<serde_json::Value> = all
        .iter()
        .map(|Linted { name, found, .. }| match found {
            Ok(findings) => serde_json::json!({ "schedule": name, "findings": findings }),
            Err(error) => serde_json::json!({ "schedule": name, "error": error.to_string() }),
        })
        .collect();
    writeln!(out, "{}", serde_json::Value::Array(all))?;
    Ok(())
}

fn list(out: &mut impl Write) -> Result<ExitCode, Error> {
    let width = Code::ALL.iter().map(|code| code.as_str().len()).max().unwrap_or(0);
    for code in Code::ALL {
        writeln!(out, "{:width$}  {}", code.as_str(), code.meaning())?;
    }
    writeln!(out, "\nMore of each: anneal lint --explain CODE")?;
    Ok(ExitCode::SUCCESS)
}

fn explain(code: Code, out: &mut impl Write) -> Result<ExitCode, Error> {
    let explanation = code.explanation();
    let command = |Example { schedule, flags, .. }| format!("anneal lint '{schedule}' {flags}");
    writeln!(out, "{code}\n")?;
    writeln!(out, "{}\n\n{}\n", wrapped(code.meaning()), wrapped(explanation.reason))?;
    writeln!(out, "It is found in\n  {}", command(explanation.bad))?;
    writeln!(out, "and not in\n  {}\n", command(explanation.good))?;
    writeln!(out, "Where it is meant: --allow {code}")?;
    Ok(ExitCode::SUCCESS)
}

/// A text in lines of at most 80 characters.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 80;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("at least one line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(word.to_string());
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines.join("\n")
}

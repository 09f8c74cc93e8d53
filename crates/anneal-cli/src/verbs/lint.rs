//! `anneal lint`: finds likely mistakes in a schedule before training.

use crate::analysis_arguments::{AnalysisArguments, ReportFormat, unanswered};
use crate::error::Error;
use crate::input::Input;
use crate::run_arguments::{Run, RunArgs};
use anneal_schedule::analysis::Options;
use anneal_schedule::decay::{Policy, Strength};
use anneal_schedule::lint::{Code, Example, Finding, Severity, lint};
use anneal_schedule::{ScheduleConfig, WeightDecay};
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Find likely mistakes in a schedule, or a whole training, before training
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal lint gpt.toml --steps 100000
  anneal lint train.toml --epochs 20 --steps-per-epoch 391
  anneal lint gpt.toml resnet.toml --epochs 90 --steps-per-epoch 5005 --allow fading-decay --strict
  anneal lint 'step_decay(0.1, 30ep, 0.1)' --epochs 90 --steps-per-epoch 5005 --weight-decay 1e-4
  anneal lint 'constant(0.1)' --steps 1000 --curvature 10 --optimizer heavy-ball --momentum 0.9
  anneal lint --explain ends-early

Each finding has a stable code, a severity, a position, and a suggested change. A note points out a
cost that may be intended; a warning is probably a mistake; a schedule with an error cannot be trained.
A schedule is checked for a run: give its length.

Exit codes:
  0  fine, or only notes
  1  warnings or errors, with --strict notes too, or a wrong schedule
  2  the command is wrong, or a file cannot be read; the other files are still reported")]
pub struct Lint {
    /// .toml or .json files, texts such as 'cosine(3e-4).warmup(5%)', or - for stdin
    #[arg(value_name = "SCHEDULE", required_unless_present = "explain")]
    schedules: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    look: AnalysisArguments,
    /// Ignore findings with this code; may be given several times
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    allow: Vec<Code>,
    /// Return exit code 1 for notes too
    #[arg(long)]
    strict: bool,
    /// Explain a code, with an example that triggers it and one that does not; without CODE, list all
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<Option<Code>>,
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

/// The result for one schedule.
struct Linted {
    name: String,
    /// Its name, with line and column if a value in its file does not resolve.
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
        let all = self.schedules.iter().flat_map(|argument| self.lint(argument, &run, &options));
        let all: Vec<Linted> = all.collect();
        match self.format {
            ReportFormat::Text => write_text(out, &all)?,
            ReportFormat::Json => write_json(out, &all)?,
        }
        // Print the findings first.
        out.flush()?;
        let errors = all.iter().filter_map(|linted| linted.found.as_ref().err());
        for error in errors {
            error.report();
        }
        Ok(ExitCode::from(all.iter().map(|linted| self.code(linted)).max().unwrap_or(0)))
    }

    /// Findings in a schedule. In a training, checks everything else too, and lints the schedules of its groups.
    fn lint(&self, argument: &str, run: &Run, options: &Options) -> Vec<Linted> {
        let input = match Input::read_whole(argument) {
            Ok(input) => input,
            Err(error) => {
                let name = argument.to_string();
                return vec![Linted { place: name.clone(), name, found: Err(error) }];
            }
        };
        let options = options_of(&input, options);
        let findings = |config: &ScheduleConfig| {
            let found = lint(config, run.length, &options);
            let mut found = found.map_err(|error| unanswered(&input.name, &error))?;
            found.retain(|finding| !self.allow.contains(&finding.code));
            Ok(found)
        };
        // Names the missing flag if the length of the run is needed.
        let whole = input.check_length(run).and_then(|()| findings(&run.config(&input)));
        let whole = whole.and_then(|found| {
            match found.iter().any(|finding| finding.severity == Severity::Error) {
                // A finding reports it already.
                true => Ok(found),
                false => input.check(run).map(|()| found),
            }
        });
        let of_groups = input.training.iter().flat_map(|training| &training.groups);
        let of_groups = of_groups.flat_map(|groups| &groups.groups).filter_map(|group| {
            let found = findings(group.schedule.as_ref()?);
            let place = input.place_of_field(&format!("groups.{}.schedule", group.name));
            let name = format!("{} (group {})", input.name, group.name);
            Some(Linted { name, place, found })
        });
        let of_groups: Vec<Linted> = of_groups.collect();
        let first = Linted { place: input.place(run), name: input.name.clone(), found: whole };
        [first].into_iter().chain(of_groups).collect()
    }

    fn code(&self, linted: &Linted) -> u8 {
        let least = if self.strict { Severity::Note } else { Severity::Warning };
        match &linted.found {
            Ok(findings) => findings.iter().any(|finding| finding.severity >= least).into(),
            Err(error) => error.code(),
        }
    }
}

/// The options, with the weight decay of the file.
fn options_of(input: &Input, options: &Options) -> Options {
    let decay = input.training.as_ref().and_then(|training| training.weight_decay.as_ref());
    let mut options = *options;
    if let (
        None,
        Some(WeightDecay {
            policy: Policy::Coupled, strength: Strength::Coefficient(omega), ..
        }),
    ) = (options.weight_decay, decay)
        && *omega > 0.0
    {
        options.weight_decay = Some(*omega);
    }
    options
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
            // Already printed to stderr.
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
    writeln!(out, "\nMore about each: anneal lint --explain CODE")?;
    Ok(ExitCode::SUCCESS)
}

fn explain(code: Code, out: &mut impl Write) -> Result<ExitCode, Error> {
    let explanation = code.explanation();
    let command = |Example { schedule, flags, .. }| format!("anneal lint '{schedule}' {flags}");
    writeln!(out, "{code}\n")?;
    writeln!(out, "{}\n\n{}\n", wrapped(code.meaning()), wrapped(explanation.reason))?;
    writeln!(out, "It is found in\n  {}", command(explanation.bad))?;
    writeln!(out, "and not in\n  {}\n", command(explanation.good))?;
    writeln!(out, "If it is intended: --allow {code}")?;
    Ok(ExitCode::SUCCESS)
}

/// Wraps a text to lines of at most 80 characters.
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

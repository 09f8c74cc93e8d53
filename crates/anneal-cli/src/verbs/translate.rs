//! `anneal translate`: a peer's scheduler as a schedule file.

use crate::error::{Error, note};
use anneal_schedule::peers::{self, PeerError, Translation};
use anneal_schedule::{Build, FileError, RunLength, ScheduleConfig, ScheduleError};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use std::io::Write;
use std::process::ExitCode;

/// Print another library's scheduler as a schedule file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal translate --from torch --name StepLR --base-lr 0.1 '{\"step_size\": 30}' > step.toml
  anneal translate --from torch --base-lr 0.1 '{\"name\": \"StepLR\", \"args\": {\"step_size\": 30}}'
  anneal translate --list

Arguments are the peer's own, by name; what the peer lets you leave out may be left out. Lengths
are in updates. A scheduler that moves the momentum too is two schedules: the rate's is printed,
and with --momentum the momentum's.")]
pub struct Translate {
    /// The library that the scheduler is from; see --list
    #[arg(long, value_name = "PEER", required_unless_present = "list")]
    from: Option<String>,
    /// The scheduler's name, unless ARGS says it
    #[arg(long)]
    name: Option<String>,
    /// The rate that the peer's optimizer was made with
    #[arg(long, value_name = "RATE", required_unless_present = "list")]
    base_lr: Option<f64>,
    /// The scheduler's arguments as a JSON object, or {"name": …, "args": {…}}
    #[arg(value_name = "ARGS", required_unless_present = "list")]
    arguments: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the momentum's schedule instead of the rate's
    #[arg(long)]
    momentum: bool,
    /// List the peers and exit
    #[arg(long, exclusive = true)]
    list: bool,
}

/// How the schedule is written
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Toml,
    Json,
    /// The builder chain
    Text,
}

impl Translate {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let (Some(peer), Some(base_lr), Some(arguments)) =
            (&self.from, self.base_lr, &self.arguments)
        else {
            for name in peers::names() {
                writeln!(out, "{name}")?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let (name, arguments) = self.scheduler(arguments)?;
        let translation = peers::translate(peer, &name, &arguments, base_lr).map_err(wrong)?;
        let config = self.chosen(&name, translation)?;
        check(&name, &config)?;
        let text = match self.format {
            Format::Toml => config.to_toml().map_err(unwritable)?,
            Format::Json => config.to_json().map_err(unwritable)?,
            Format::Text => config.to_string(),
        };
        writeln!(out, "{}", text.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The scheduler's name and its arguments.
    fn scheduler(&self, arguments: &str) -> Result<(String, Value), Error> {
        let value: Value = serde_json::from_str(arguments)
            .map_err(|error| Error::Usage(format!("ARGS is no JSON: {error}")))?;
        let said = value.get("name").and_then(Value::as_str);
        match (&self.name, said) {
            (Some(name), None) => Ok((name.clone(), value)),
            (None, Some(name)) => {
                let none = || Value::Object(Map::new());
                Ok((name.to_string(), value.get("args").cloned().unwrap_or_else(none)))
            }
            (None, None) => Err(Error::Usage(
                "which scheduler? give --name NAME, or {\"name\": …, \"args\": {…}}".into(),
            )),
            (Some(_), Some(_)) => Err(Error::Usage(
                "the scheduler is named twice, by --name and in ARGS; give one of them".into(),
            )),
        }
    }

    /// The schedule that was asked for.
    fn chosen(&self, name: &str, translation: Translation) -> Result<ScheduleConfig, Error> {
        match (self.momentum, translation.momentum) {
            (true, Some(momentum)) => Ok(momentum),
            (true, None) => Err(Error::Usage(format!("{name} does not move the momentum"))),
            (false, Some(_)) => {
                note(&format!("{name} moves the momentum too; print it with --momentum"));
                Ok(translation.rate)
            }
            (false, None) => Ok(translation.rate),
        }
    }
}

/// A schedule that could not be used is not printed.
fn check(name: &str, config: &ScheduleConfig) -> Result<(), Error> {
    match config.clone().resolve(RunLength::unbounded()) {
        // It may be right in a run of known length.
        Ok(_) | Err(ScheduleError::NeedsRunLength { .. }) => Ok(()),
        Err(error) => Err(Error::Schedule(format!("{name}: {error}"))),
    }
}

fn wrong(error: PeerError) -> Error {
    match error {
        PeerError::UnknownPeer { .. } | PeerError::UnknownScheduler { .. } => {
            Error::Usage(error.to_string())
        }
        _ => Error::Schedule(error.to_string()),
    }
}

fn unwritable(error: FileError) -> Error {
    Error::Schedule(error.to_string())
}

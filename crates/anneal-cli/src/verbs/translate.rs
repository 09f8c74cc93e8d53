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
  anneal translate --from torch '{\"name\": \"StepLR\", \"args\": {\"step_size\": 30}, \"base_lr\": 0.1}'
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
    /// The rate that the peer's optimizer was made with, unless ARGS says it; schedules of optax, keras
    /// and fastai need none
    #[arg(long, value_name = "RATE")]
    base_lr: Option<f64>,
    /// The scheduler's arguments as a JSON object, or {"name": …, "args": {…}, "base_lr": …}
    #[arg(value_name = "ARGS", required_unless_present = "list")]
    arguments: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the momentum's schedule instead of the rate's
    #[arg(long)]
    momentum: bool,
    /// List the peers with their schedulers and exit
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
        let (Some(peer), Some(arguments)) = (&self.from, &self.arguments) else {
            for peer in peers::names() {
                writeln!(out, "{peer}: {}", peers::schedulers(peer).map_err(wrong)?.join(", "))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let given: Value = serde_json::from_str(arguments)
            .map_err(|error| Error::Usage(format!("ARGS is no JSON: {error}")))?;
        let base_lr = self.base_lr(peer, &given)?;
        let (name, arguments) = self.scheduler(given)?;
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

    /// The rate that the scheduler scales; any, where it scales none.
    fn base_lr(&self, peer: &str, given: &Value) -> Result<f64, Error> {
        let said = given.get("name").and(given.get("base_lr")).and_then(Value::as_f64);
        match (self.base_lr, said) {
            (Some(base_lr), None) | (None, Some(base_lr)) => Ok(base_lr),
            (None, None) if peers::scales_base_rate(peer).map_err(wrong)? => {
                Err(Error::Usage(format!(
                    "{peer} scales the rate of its optimizer: give it with --base-lr RATE"
                )))
            }
            (None, None) => Ok(1.0),
            (Some(_), Some(_)) => Err(Error::Usage(
                "the base rate is given twice, by --base-lr and in ARGS; give one of them".into(),
            )),
        }
    }

    /// The scheduler's name and its arguments.
    fn scheduler(&self, given: Value) -> Result<(String, Value), Error> {
        let said = given.get("name").and_then(Value::as_str);
        match (&self.name, said) {
            (Some(name), None) => Ok((name.clone(), given)),
            (None, Some(name)) => {
                let none = || Value::Object(Map::new());
                Ok((name.to_string(), given.get("args").cloned().unwrap_or_else(none)))
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

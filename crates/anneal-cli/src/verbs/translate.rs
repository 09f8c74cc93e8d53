//! `anneal translate`: converts another library's scheduler to a schedule file.

use crate::error::{Error, note};
use crate::stdin;
use anneal_config::{ControllerConfig, TrainingConfig};
use anneal_control::peers::{self, PeerError, Translation};
use anneal_control::{Describe, Scoped, Signal};
use anneal_schedule::{FileError, RunLength, ScheduleConfig, ScheduleError, ScheduleExt};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Print another library's scheduler as a schedule file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal translate --from torch --name StepLR --base-lr 0.1 '{\"step_size\": 30}' > step.toml
  anneal translate --from torch '{\"name\": \"StepLR\", \"args\": {\"step_size\": 30}, \"base_lr\": 0.1}'
  anneal translate --from torch --base-lr 0.1 --name StepLR @step.json
  anneal translate --list

Arguments have the peer's names and defaults. Lengths are in updates; patience and cooldown count
values of the metric. A scheduler that also changes the momentum becomes two schedules: the rate's is
printed, or with --momentum the momentum's. One that needs a metric, such as ReduceLROnPlateau,
becomes a schedule and a controller: both are printed.")]
pub struct Translate {
    /// The scheduler's library; see --list
    #[arg(long, value_name = "PEER", required_unless_present = "list")]
    from: Option<String>,
    /// The scheduler's name, unless ARGS contains it
    #[arg(long)]
    name: Option<String>,
    /// The rate of the peer's optimizer, unless ARGS contains it; not needed for optax, keras and fastai
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    base_lr: Option<f64>,
    /// The scheduler's arguments as a JSON object, or {"name": …, "args": {…}, "base_lr": …}; @FILE, a .json
    /// file name, or - for stdin reads them from there
    #[arg(value_name = "ARGS", required_unless_present = "list")]
    arguments: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the momentum's schedule instead of the rate's
    #[arg(long)]
    momentum: bool,
    /// The metric of a scheduler that needs one, for example "valid Accuracy" or "train Loss" [default:
    /// "valid Loss", or "valid Accuracy" if higher is better]
    #[arg(long)]
    signal: Option<Signal>,
    /// List the peers and their schedulers, and exit
    #[arg(long, exclusive = true)]
    list: bool,
}

/// The output format of the schedule
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
        let given = Given::read(arguments, self.name.as_deref())?;
        if let Some(other) = given.peer.as_ref().filter(|&other| other != peer) {
            return Err(Error::Usage(format!("--from says {peer}, and ARGS says {other}")));
        }
        let base_lr = self.base_lr(peer, &given)?;
        let (name, arguments) = (given.name, given.arguments);
        let translation = peers::translate(peer, &name, &arguments, base_lr).map_err(wrong)?;
        let translation = self.listening(&name, translation)?;
        let text = match translation.controller {
            Some(_) if !self.momentum => self.controlled(&translation)?,
            _ => self.schedule(&name, &self.chosen(&name, translation)?)?,
        };
        writeln!(out, "{}", text.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The rate that the scheduler scales; arbitrary if it does not scale one.
    fn base_lr(&self, peer: &str, given: &Given) -> Result<f64, Error> {
        match (self.base_lr, given.base_lr) {
            (Some(base_lr), None) | (None, Some(base_lr)) => Ok(base_lr),
            (None, None) if peers::scales_base_rate(peer).map_err(wrong)? => Err(Error::Usage(
                format!("{peer} scales the rate of its optimizer: give it with --base-lr RATE"),
            )),
            (None, None) => Ok(1.0),
            (Some(_), Some(_)) => Err(Error::Usage(
                "the base rate is given twice, by --base-lr and in ARGS; give one of them".into(),
            )),
        }
    }

    fn schedule(&self, name: &str, config: &ScheduleConfig) -> Result<String, Error> {
        check(name, config)?;
        match self.format {
            Format::Toml => config.to_toml().map_err(unwritable),
            Format::Json => config.to_json().map_err(unwritable),
            Format::Text => Ok(config.to_string()),
        }
    }

    /// The schedule and its controller: a training.
    fn controlled(&self, translation: &Translation) -> Result<String, Error> {
        let training = || {
            let mut training = TrainingConfig::new(translation.rate.clone());
            let scoped = translation.controller.clone();
            training.controllers.extend(scoped.map(
                |Scoped { rule, group, after, until, at_end }| {
                    let mut controller = ControllerConfig::new(rule.kind(), rule);
                    (controller.group, controller.after) = (group, after);
                    (controller.until, controller.at_end) = (until, at_end);
                    controller
                },
            ));
            training
        };
        match self.format {
            Format::Toml => training().to_toml().map_err(unwritable),
            Format::Json => training().to_json().map_err(unwritable),
            Format::Text => Ok(translation.to_string()),
        }
    }

    /// Uses the requested signal.
    fn listening(&self, name: &str, translation: Translation) -> Result<Translation, Error> {
        let translation = match &self.signal {
            Some(_) if translation.controller.is_none() => {
                return Err(Error::Usage(format!("{name} does not use a metric; omit --signal")));
            }
            Some(signal) => translation.signal(signal.clone()),
            None => translation,
        };
        let wrong = |error: &dyn fmt::Display| Error::Schedule(format!("{name}: {error}"));
        if let Some(controller) = &translation.controller {
            let run = RunLength::unbounded().resolve().map_err(|error| wrong(&error))?;
            controller.build(&run).map_err(|error| wrong(&error))?;
        }
        Ok(translation)
    }

    /// The requested schedule.
    fn chosen(&self, name: &str, translation: Translation) -> Result<ScheduleConfig, Error> {
        match (self.momentum, translation.momentum) {
            (true, Some(momentum)) => Ok(momentum),
            (true, None) => Err(Error::Usage(format!("{name} does not change the momentum"))),
            (false, Some(_)) => {
                note(&format!("{name} changes the momentum too; print it with --momentum"));
                Ok(translation.rate)
            }
            (false, None) => Ok(translation.rate),
        }
    }
}

/// The content of ARGS.
struct Given {
    name: String,
    arguments: Value,
    base_lr: Option<f64>,
    peer: Option<String>,
}

/// A scheduler that is named in ARGS.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default = "no_arguments")]
    args: Value,
    base_lr: Option<f64>,
    peer: Option<String>,
}

fn no_arguments() -> Value {
    Value::Object(Map::new())
}

impl Given {
    fn read(argument: &str, name: Option<&str>) -> Result<Self, Error> {
        let (place, text) = text_of(argument)?;
        let Unique(value) = serde_json::from_str(&text).map_err(|error| {
            Error::Usage(format!(
                "{place}: not a JSON object: {error}; allowed: {{\"step_size\": 30}}"
            ))
        })?;
        let names_itself = value.get("name").is_some();
        match name {
            Some(name) if !names_itself => {
                let (name, none) = (name.to_string(), None);
                Ok(Self { name, arguments: value, base_lr: none, peer: None })
            }
            None if names_itself => {
                let Named { name, args: arguments, base_lr, peer } = serde_json::from_value(value)
                    .map_err(|error| Error::Usage(format!("{place}: {error}")))?;
                Ok(Self { name, arguments, base_lr, peer })
            }
            None => Err(Error::Usage(
                "which scheduler? give --name NAME, or {\"name\": …, \"args\": {…}}".into(),
            )),
            Some(_) => Err(Error::Usage(format!(
                "the scheduler is named twice, by --name and in {place}; give one of them"
            ))),
        }
    }
}

/// The source of the arguments and their text: `@FILE`, a name in .json, `-` for stdin, or the text itself.
fn text_of(argument: &str) -> Result<(String, String), Error> {
    let is_json_file = || Path::new(argument).extension().is_some_and(|ending| ending == "json");
    let file = argument.strip_prefix('@').or_else(|| is_json_file().then_some(argument));
    match file {
        _ if argument == "-" => Ok(("stdin".into(), stdin::read()?)),
        Some(file) => match std::fs::read_to_string(file) {
            Ok(text) => Ok((file.into(), text)),
            Err(error) => Err(Error::Usage(format!("{file}: {error}"))),
        },
        None => Ok(("ARGS".into(), argument.into())),
    }
}

/// JSON without duplicate keys; [`Value`] alone silently keeps the last one.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = vec![];
        while let Some(Unique(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` is given twice")));
            }
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

/// An unusable schedule is not printed.
fn check(name: &str, config: &ScheduleConfig) -> Result<(), Error> {
    match config.clone().resolve(RunLength::unbounded()) {
        // It may be valid in a run of known length.
        Ok(_) | Err(ScheduleError::NeedsRunLength { .. } | ScheduleError::NeedsEpochs { .. }) => {
            Ok(())
        }
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

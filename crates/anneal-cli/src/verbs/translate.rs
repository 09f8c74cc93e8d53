//! `anneal translate`: converts another library's scheduler or configuration to a file.

use crate::count::count;
use crate::error::{Error, note};
use crate::stdin;
use anneal_config::TrainingConfig;
use anneal_config::peers::{self, Options, TranslatedConfig, TranslationError, Unit};
use anneal_control::Signal;
use anneal_control::peers::{Translation, schedulers};
use anneal_schedule::FileError;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Print another library's scheduler or configuration as a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal translate --from torch --base-lr 0.1 --unit ep 'StepLR(optimizer, step_size=30)'
  anneal translate --from torch --name StepLR --base-lr 0.1 --unit ep @step.json > step.toml
  anneal translate --from hf-args training_args.json --steps-per-epoch 391
  anneal translate --from timm-args -- --sched cosine --lr 1e-3 --epochs 300
  anneal translate --from deepspeed ds_config.json
  anneal translate --from composer config.yaml
  anneal translate --list

Names and defaults are the peer's. A bare length counts what --unit says, and updates without it;
patience and cooldown count values of the metric. What a configuration says beside the training, and
what has no counterpart, is printed on stderr. A scheduler that also changes the momentum becomes two
schedules: the rate's is printed, or with --momentum the momentum's. One that needs a metric, such as
ReduceLROnPlateau, becomes a schedule and a controller: both are printed.")]
pub struct Translate {
    /// The library of a scheduler, or the kind of a configuration; see --list
    #[arg(long, value_name = "PEER", required_unless_present = "list")]
    from: Option<String>,
    /// The scheduler's name, unless ARGS contains it
    #[arg(long)]
    name: Option<String>,
    /// The rate of the peer's optimizer, unless ARGS contains it or the scheduler states its own
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    base_lr: Option<f64>,
    /// What a bare length of the peer's scheduler counts
    #[arg(long, value_enum)]
    unit: Option<UnitArg>,
    /// Updates in each epoch, for lengths in epochs
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    steps_per_epoch: Option<u64>,
    /// The name of a group of parameters, and a regular expression for the beginning of their paths; once for each
    /// group, in the peer's order
    #[arg(long = "group", value_name = "NAME=PATTERN", value_parser = group)]
    groups: Vec<(String, String)>,
    /// The scheduler's call or arguments, or the configuration, as text, JSON or YAML; a file, @FILE, or - for stdin
    /// reads them from there; a command line follows --
    #[arg(value_name = "ARGS", required_unless_present = "list")]
    arguments: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the momentum's schedule instead of the rate's
    #[arg(long)]
    momentum: bool,
    /// The metric of a scheduler that needs one, for example "valid Accuracy" or "train Loss" [default:
    /// "valid Loss", or "valid Accuracy" if higher is better]
    #[arg(long)]
    signal: Option<Signal>,
    /// List the peers with their schedulers and the kinds of configurations, and exit
    #[arg(long, exclusive = true)]
    list: bool,
}

/// The output format
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Toml,
    Json,
    /// The builder chain; of a whole training, its description in words
    Text,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnitArg {
    /// Epochs
    #[value(alias = "epochs")]
    Ep,
    /// Updates of the optimizer
    #[value(alias = "updates")]
    Steps,
}

impl From<UnitArg> for Unit {
    fn from(unit: UnitArg) -> Self {
        match unit {
            UnitArg::Ep => Self::Epochs,
            UnitArg::Steps => Self::Updates,
        }
    }
}

fn group(text: &str) -> Result<(String, String), String> {
    let parts =
        text.split_once('=').filter(|(name, pattern)| !name.is_empty() && !pattern.is_empty());
    let (name, pattern) =
        parts.ok_or_else(|| format!("`{text}` is not NAME=PATTERN, such as head=^head"))?;
    Ok((name.to_string(), pattern.to_string()))
}

impl Translate {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let Some(from) = self.from.as_ref().filter(|_| !self.list) else {
            for peer in peers::names() {
                match schedulers(peer) {
                    Ok(schedulers) => writeln!(out, "{peer}: {}", schedulers.join(", "))?,
                    Err(_) => writeln!(out, "{peer}: {}", peers::description(peer))?,
                }
            }
            return Ok(ExitCode::SUCCESS);
        };
        let (place, text) = text_of(&self.arguments)?;
        let options = Options {
            unit: self.unit.map(Unit::from),
            updates_per_epoch: self.steps_per_epoch,
            base_lr: self.base_lr,
            name: self.name.clone(),
            groups: self.groups.clone(),
            signal: self.signal.clone(),
        };
        let translated =
            peers::translate(from, &text, &options).map_err(|error| wrong(&place, &error))?;
        let printed = self.printed(&translated)?;
        self.say(&translated);
        writeln!(out, "{}", printed.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }

    fn printed(&self, translated: &TranslatedConfig) -> Result<String, Error> {
        let training = &translated.training;
        if self.momentum {
            let momentum = translated.momentum.as_ref();
            let momentum = momentum.ok_or_else(|| {
                let name = self.name.as_deref().or(self.from.as_deref()).unwrap_or_default();
                Error::Usage(format!("{name} does not change the momentum"))
            })?;
            return match self.format {
                Format::Toml => {
                    TrainingConfig::new(momentum.clone()).to_concise_toml().map_err(unwritable)
                }
                Format::Json => momentum.to_json().map_err(unwritable),
                Format::Text => Ok(momentum.to_string()),
            };
        }
        match self.format {
            Format::Toml => training.to_concise_toml().map_err(unwritable),
            Format::Json => training.to_json().map_err(unwritable),
            Format::Text => Ok(text(training)),
        }
    }

    /// Says what the translation does not contain.
    fn say(&self, translated: &TranslatedConfig) {
        translated.notes.iter().for_each(|line| note(line));
        if translated.momentum.is_some() && !self.momentum {
            note("print the momentum's schedule with --momentum");
        }
        for one in &translated.untranslated {
            note(&format!("not translated: {}: {}", one.setting, one.reason));
        }
        if !translated.unrelated.is_empty() {
            note(&format!("not about training: {}", translated.unrelated.join(", ")));
        }
    }
}

/// The builder chain of a schedule and its controller; of a whole training, its description.
fn text(training: &TrainingConfig) -> String {
    let rate = training.schedule.clone();
    let (alone, one) = (TrainingConfig::new(rate.clone()), training.controllers.first());
    let controller = one.map(|controller| controller.scoped());
    let mut with_one = alone;
    with_one.controllers = training.controllers.iter().take(1).cloned().collect();
    let is_whole = match (with_one.to_json(), training.to_json()) {
        (Ok(one), Ok(whole)) => one != whole,
        _ => true,
    };
    match is_whole {
        true => training.to_string(),
        false => Translation { rate, momentum: None, controller }.to_string(),
    }
}

/// The source of the arguments and their text: `@FILE`, a file, `-` for stdin, or the text itself.
fn text_of(arguments: &[String]) -> Result<(String, String), Error> {
    let [argument] = arguments else {
        return Ok((
            "ARGS".into(),
            arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        ));
    };
    let path = Path::new(argument);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is_file = || matches!(ending, Some("json" | "yaml" | "yml")) || path.is_file();
    let is_text = argument.starts_with(['{', '[', '-']) || argument.contains('(');
    let file = argument.strip_prefix('@').or_else(|| (!is_text && is_file()).then_some(argument));
    match file {
        _ if argument == "-" => Ok(("stdin".into(), stdin::read()?)),
        Some(file) => match std::fs::read_to_string(file) {
            Ok(text) => Ok((file.into(), text)),
            Err(error) => Err(Error::Usage(format!("{file}: {error}"))),
        },
        None => Ok(("ARGS".into(), argument.into())),
    }
}

/// A word of a command line as a shell would take it.
fn quoted(word: &str) -> String {
    match word.contains(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '\\')) {
        true => format!("'{}'", word.replace('\'', r"'\''")),
        false => word.to_string(),
    }
}

fn wrong(place: &str, error: &TranslationError) -> Error {
    let message = match error {
        TranslationError::Syntax { .. }
        | TranslationError::Empty { .. }
        | TranslationError::OtherKind { .. } => format!("{place}: {error}"),
        error => error.to_string(),
    };
    if error.is_usage() { Error::Usage(message) } else { Error::Schedule(message) }
}

fn unwritable(error: FileError) -> Error {
    Error::Schedule(error.to_string())
}

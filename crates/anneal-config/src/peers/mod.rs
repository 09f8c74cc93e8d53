//! Translates whole configurations of other libraries.
//!
//! | kind | text | gives |
//! | --- | --- | --- |
//! | `hf-args` | transformers' `TrainingArguments` as JSON or YAML | schedule, weight decay and its exclusions, clipping, half precision |
//! | `timm-args` | the command line of timm's `train.py`, or its `args.yaml` | the same, layer decay, average of the weights |
//! | `deepspeed` | DeepSpeed's configuration as JSON | schedule, weight decay, clipping, half precision and its loss scale |
//! | `composer` | a configuration of Composer as YAML or JSON | schedule, weight decay, clipping, half precision, average of the weights |
//! | `torch`, `optax`, `timm`, `transformers`, `keras`, `fastai` | a scheduler as JSON, or a call | schedule, and a controller or groups |
//!
//! A translation lists what it does not contain: what to write elsewhere ([`notes`](TranslatedConfig::notes)), what has
//! no counterpart ([`untranslated`](TranslatedConfig::untranslated)), and what is not about training
//! ([`unrelated`](TranslatedConfig::unrelated)).
//!
//! ```
//! use anneal_config::peers::{self, Options};
//!
//! let arguments = r#"{
//!     "learning_rate": 3e-5, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "max_steps": 1000,
//!     "weight_decay": 0.01, "bf16": true, "output_dir": "out"
//! }"#;
//! let translated = peers::translate("hf-args", arguments, &Options::default())?;
//! let training = &translated.training;
//! assert_eq!(training.schedule.to_string(), "cosine(3e-5).warmup(100).include_start()");
//! assert_eq!(training.clip_global_norm, Some(1.0));
//! assert_eq!(translated.unrelated, ["output_dir"]);
//! # Ok::<(), peers::TranslationError>(())
//! ```
//!
//! Lengths of timm and of most torch schedulers count epochs: see [`Options::unit`].

mod call;
mod command_line;
mod composer;
mod deepspeed;
mod error;
mod fastai;
mod groups;
mod hf_args;
mod input;
mod keras;
mod optimizer;
mod report;
mod scheduler;
mod tidy;
mod timm_args;
mod torch_state;
mod units;

pub use error::TranslationError;

use crate::TrainingConfig;
use anneal_control::peers::PeerError;
use anneal_control::{Describe, Signal};
use anneal_schedule::peers::Arguments;
use anneal_schedule::{RunLength, ScheduleConfig, ScheduleError, ScheduleExt, Span};
use report::Report;
use serde_json::Value;

/// A translated configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TranslatedConfig {
    /// The training: the schedule, and what else the configuration says.
    pub training: TrainingConfig,
    /// The momentum, if the scheduler changes it too. It is not part of the training, because it needs an optimizer that
    /// follows it.
    pub momentum: Option<ScheduleConfig>,
    /// What to write elsewhere, and what differs.
    pub notes: Vec<String>,
    /// The settings without a counterpart.
    pub untranslated: Vec<Untranslated>,
    /// The settings that are not about training.
    pub unrelated: Vec<String>,
}

/// A setting without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslated {
    /// Its name.
    pub setting: String,
    /// Why it has none, and what to use instead.
    pub reason: String,
}

/// What the text of a configuration does not say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a bare length of the peer counts, for a scheduler: by default updates, or epochs if the updates per epoch are
    /// given and the peer usually counts epochs. An epoch of a schedule that a peer sets
    /// once per epoch is a length such as `30ep` where its rate changes only between epochs; elsewhere it is stretched by
    /// [`updates_per_epoch`](Self::updates_per_epoch), or without them gets lengths in epochs, so that its rate
    /// changes with every update.
    pub unit: Option<Unit>,
    /// The updates of one epoch, 1 to 10⁶.
    pub updates_per_epoch: Option<u64>,
    /// The rate of the peer's optimizer, unless the text contains it.
    pub base_lr: Option<f64>,
    /// The name of the scheduler, unless the text contains it.
    pub name: Option<String>,
    /// Names and patterns of the groups of parameters, in the order of the peer's.
    pub groups: Vec<(String, String)>,
    /// The metric of a scheduler that reacts to one.
    pub signal: Option<Signal>,
}

/// What a bare length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Updates of the optimizer.
    Updates,
    /// Epochs.
    Epochs,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Updates => "updates",
            Self::Epochs => "epochs",
        }
    }
}

type Translate = fn(&str, &Options) -> Result<TranslatedConfig, TranslationError>;

/// Kinds of whole configurations, and what each of them is.
const CONFIGURATIONS: &[(&str, &str, Translate)] = &[
    ("hf-args", "transformers' TrainingArguments, as a call, JSON or YAML", hf_args::translate),
    ("timm-args", "the command line of timm's train.py, or its args.yaml", timm_args::translate),
    ("deepspeed", "DeepSpeed's configuration, as JSON", deepspeed::translate),
    (
        "composer",
        "a configuration of Composer or llm-foundry, as YAML or JSON",
        composer::translate,
    ),
];

/// The names of all kinds of configurations and of all peers.
pub fn names() -> impl Iterator<Item = &'static str> {
    anneal_control::peers::names().chain(CONFIGURATIONS.iter().map(|known| known.0))
}

/// What a configuration of this kind is; empty for a peer's scheduler.
pub fn description(name: &str) -> &'static str {
    CONFIGURATIONS.iter().find(|known| known.0 == name).map_or("", |known| known.1)
}

/// Translates the text of a configuration.
///
/// `from` is one of [`names`].
///
/// # Errors
/// [`TranslationError`] with what is unknown, wrong or refused.
pub fn translate(
    from: &str,
    text: &str,
    options: &Options,
) -> Result<TranslatedConfig, TranslationError> {
    if let Some(updates) = options.updates_per_epoch.filter(|n| !(1..=1_000_000).contains(n)) {
        return Err(TranslationError::UpdatesPerEpoch(updates));
    }
    let translated = match CONFIGURATIONS.iter().find(|known| known.0 == from) {
        Some((.., translate)) => {
            unused(from, options)?;
            let translated = translate(text, options)?;
            if options.signal.is_some() && translated.training.controllers.is_empty() {
                return Err(TranslationError::NoMetric {
                    name: format!("the scheduler of {from}"),
                });
            }
            translated
        }
        None if anneal_control::peers::names().any(|name| name == from) => {
            scheduler::translate(from, text, options)?
        }
        None => return Err(TranslationError::unknown_kind(from, &names().collect::<Vec<_>>())),
    };
    check(from, &translated.training)?;
    Ok(tidied(translated))
}

fn tidied(mut translated: TranslatedConfig) -> TranslatedConfig {
    let training = &mut translated.training;
    let groups = training.groups.iter_mut().flat_map(|groups| &mut groups.groups);
    let of_groups = groups.filter_map(|group| group.schedule.as_mut());
    let schedules = of_groups.chain([&mut training.schedule]).chain(&mut translated.momentum);
    schedules.for_each(|schedule| *schedule = tidy::tidy(schedule));
    translated
}

const NAMED_INSIDE: &str = "the name of a scheduler: the configuration names it, for DeepSpeed as {\"scheduler\": {\"type\": \
                            NAME, \"params\": {…}}}, for Composer as scheduler: {name: NAME, …}";

/// Refuses what is only for schedulers.
fn unused(from: &str, options: &Options) -> Result<(), TranslationError> {
    let of_timm = from == "timm-args";
    let has_metric = of_timm || from == "hf-args";
    let unused = [
        ("a unit: its lengths have their own", options.unit.is_some() && !of_timm),
        (NAMED_INSIDE, options.name.is_some()),
        ("names of groups", !options.groups.is_empty() && from != "deepspeed"),
        ("a metric", options.signal.is_some() && !has_metric),
        ("a base rate: it states its own", options.base_lr.is_some() && has_metric),
    ];
    match unused.iter().find(|one| one.1) {
        Some(&(option, _)) => Err(TranslationError::NotUsed { from: from.to_string(), option }),
        None => Ok(()),
    }
}

/// Refuses a training that no run allows.
fn check(from: &str, training: &TrainingConfig) -> Result<(), TranslationError> {
    let invalid = |error: String| TranslationError::Invalid { name: from.to_string(), error };
    let mut schedules = vec![&training.schedule];
    schedules.extend(
        training.groups.iter().flat_map(|groups| &groups.groups).flat_map(|group| &group.schedule),
    );
    for group in training.groups.iter().flat_map(|groups| &groups.groups) {
        let field = format!("groups.{}.select", group.name);
        group.select.check(&field).map_err(|error| invalid(error.to_string()))?;
    }
    for schedule in schedules {
        match schedule.clone().resolve(RunLength::unbounded()) {
            // It may be valid in a run of known length.
            Ok(_)
            | Err(
                ScheduleError::NeedsRunLength { .. }
                | ScheduleError::NeedsEpochs { .. }
                | ScheduleError::NeedsSamples { .. },
            ) => {}
            Err(error) => return Err(invalid(error.to_string())),
        }
    }
    let endless = RunLength::unbounded().resolve().map_err(|error| invalid(error.to_string()))?;
    for controller in &training.controllers {
        match controller.scoped().build(&endless) {
            Err(error) if !matches!(controller.after, Some(Span::Epochs(_))) => {
                return Err(invalid(error.to_string()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The schedule, cut off where the run ends if it is longer, as the peer's is.
fn fitted(schedule: ScheduleConfig, run: RunLength) -> ScheduleConfig {
    match schedule.clone().resolve(run) {
        Err(ScheduleError::TooLong { .. }) => schedule.truncate().into(),
        _ => schedule,
    }
}

/// The same without lengths that the run has anyway, where the configuration says how long it is.
fn filling(schedule: ScheduleConfig, run: RunLength) -> ScheduleConfig {
    // Tidied, it may be longer: a warm-up leaves an update for what follows it.
    tidy::tidy_in(&fitted(tidy::tidy(&schedule), run), run)
}

impl TranslatedConfig {
    fn new(training: TrainingConfig, report: Report) -> Self {
        let Report { notes, untranslated, unrelated } = report;
        Self { training, momentum: None, notes, untranslated, unrelated }
    }
}

/// What a configuration may be.
const ALLOWED: &str = "a configuration as JSON or YAML";

/// Reads the settings of a configuration of this kind.
fn settings(from: &'static str, text: &str) -> Result<Value, TranslationError> {
    if text.trim().is_empty() {
        return Err(TranslationError::Empty { allowed: ALLOWED });
    }
    let value = match input::is_json(text) {
        true => input::json(text, "")?,
        false => input::yaml(text)?,
    };
    if value.is_null() {
        return Err(TranslationError::Empty { allowed: ALLOWED });
    }
    is_of(from, &value)?;
    Ok(value)
}

/// Refuses the settings of another kind.
fn is_of(from: &'static str, value: &Value) -> Result<(), TranslationError> {
    let looks = looks_like(value);
    match looks.first() {
        Some(&looks_like) if !looks.contains(&from) => {
            Err(TranslationError::OtherKind { from: from.to_string(), looks_like })
        }
        _ => Ok(()),
    }
}

/// Settings that only one kind of configuration has.
const MARKS: &[(&str, &str)] = &[
    ("hf-args", "per_device_train_batch_size"),
    ("hf-args", "lr_scheduler_type"),
    ("hf-args", "num_train_epochs"),
    ("hf-args", "adam_beta1"),
    ("timm-args", "sched"),
    ("timm-args", "warmup_epochs"),
    ("timm-args", "lr_k_decay"),
    ("deepspeed", "train_micro_batch_size_per_gpu"),
    ("deepspeed", "zero_optimization"),
    ("composer", "max_duration"),
    ("keras", "class_name"),
];

fn looks_like(value: &Value) -> Vec<&'static str> {
    let has = |mark: &str| value.get(mark).is_some();
    MARKS.iter().filter(|mark| has(mark.1)).map(|mark| mark.0).collect()
}

/// A count above 0, or none.
fn at_least_1(arguments: &Arguments<'_>, argument: &'static str) -> Result<Option<u64>, PeerError> {
    let count = arguments.optional_count(argument)?;
    count.map(|count| arguments.require(argument, count, count > 0, "at least 1")).transpose()
}

/// The error for an argument of a configuration that is wrong.
fn wrong(name: &str, argument: &str, value: &Value, allowed: &str) -> TranslationError {
    PeerError::Argument {
        name: name.to_string(),
        argument: argument.to_string(),
        value: value.to_string(),
        allowed: allowed.to_string(),
    }
    .into()
}

//! A configuration of MosaicML's Composer, as its Trainer or llm-foundry takes it.
//!
//! | setting | becomes |
//! | --- | --- |
//! | `scheduler`, `schedulers`: a name, or a class, and its arguments | the schedule |
//! | `optimizer` | the rate, `weight_decay`, and a note |
//! | `algorithms`: `gradient_clipping`, `ema` | `clip_global_norm`, an average |
//! | `precision` | `half_precision` |
//! | `max_duration`, `scale_schedule_ratio`, `global_train_batch_size`, `max_seq_len` | lengths, and a note |
//!
//! Times are epochs (`10ep`), batches (`500ba`), samples (`50000sp`), tokens (`260e9tok`) and shares of the run
//! (`0.06dur`). A batch is an update. With the updates per epoch, or a `max_duration` in batches, lengths are in updates
//! and rounded as Composer does. Samples and tokens stay what they are: where they make whole updates, the rates are
//! Composer's.

use super::hf_args::AUTOCAST;
use super::optimizer::Optimizer;
use super::report::{Report, Unread};
use super::units::percent;
use super::{
    Options, TranslatedConfig, TranslationError, at_least_1, filling, fitted, settings, wrong,
};
use crate::{Average, HalfPrecision, TrainingConfig};
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{
    Decay, Level, Part, RunLength, ScheduleConfig, ScheduleExt, Span, WeightDecay, constant,
    cosine, exponential, inverse_sqrt, linear, multi_step, piecewise_constant, polynomial, product,
    sequence, step_decay, warm_restarts,
};
use serde_json::{Map, Value};
use std::cell::Cell;

const NAME: &str = "composer";

const UNREAD: Unread = Unread {
    unrelated: &[
        "model",
        "model_name",
        "model_config",
        "tokenizer*",
        "train_loader",
        "eval_loader*",
        "train_dataloader",
        "eval_dataloader",
        "train_dataset",
        "eval_dataset",
        "train_subset_num_batches",
        "eval_*",
        "loggers",
        "callbacks",
        "save_*",
        "load_*",
        "run_name",
        "autoresume",
        "seed",
        "global_seed",
        "device",
        "device_*",
        "console_log_interval",
        "log_*",
        "progress_bar",
        "profiler",
        "python_log_level",
        "fsdp_config",
        "deepspeed_config",
        "parallelism_config",
        "dist_timeout",
        "ddp_sync_strategy",
        "icl_*",
        "variables",
        "data_local",
        "data_remote",
        "checkpoint_save_path",
        "metadata",
        "data_dir",
        "deterministic_mode",
        "compile_config",
        "dataset",
        "dataloader",
        "backends",
    ],
    without: &[
        ("grad_accum", "batches are split to fit the memory: training.grads_accumulation(…)"),
        ("step_schedulers_every_batch", "schedules here change with every update"),
        ("spin_dataloaders", "resume in mid-epoch with burn-anneal's SeededLoader"),
    ],
};

pub(super) fn translate(
    text: &str,
    options: &Options,
) -> Result<TranslatedConfig, TranslationError> {
    let mut given = settings(NAME, text)?;
    let whole_config = given.clone();
    interpolate(&mut given, &whole_config);
    let mut report = Report::default();
    let training = report
        .read(NAME, &given, &UNREAD, |arguments, report| whole(arguments, options, report))?;
    Ok(TranslatedConfig::new(training, report))
}

/// Puts the settings that `${…}` names in its place, as omegaconf does.
fn interpolate(value: &mut Value, config: &Value) {
    match value {
        Value::String(text) => {
            let path = text.strip_prefix("${").and_then(|path| path.strip_suffix('}'));
            let place = path.map(|path| format!("/{}", path.replace('.', "/")));
            if let Some(found) = place.and_then(|place| config.pointer(&place)) {
                *value = found.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| interpolate(item, config)),
        Value::Object(entries) => entries.values_mut().for_each(|one| interpolate(one, config)),
        _ => {}
    }
}

fn whole(
    arguments: &Arguments<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<TrainingConfig, TranslationError> {
    let run = Run::read(arguments, options, report)?;
    let optimizers =
        named(arguments, "optimizer")?.into_iter().chain(named(arguments, "optimizers")?);
    let optimizer = optimizers.collect::<Vec<_>>();
    let rate = match optimizer.first().and_then(|(_, settings)| settings.get("lr")) {
        Some(_) if options.base_lr.is_some() => return Err(TranslationError::BaseRateTwice),
        Some(rate) => rate
            .as_f64()
            .filter(|&rate| rate > 0.0)
            .ok_or_else(|| wrong("optimizer", "lr", rate, "a rate above 0"))?,
        None => options
            .base_lr
            .ok_or_else(|| arguments.missing("optimizer", "an optimizer with its rate `lr`"))?,
    };
    let schedulers =
        named(arguments, "scheduler")?.into_iter().chain(named(arguments, "schedulers")?);
    let mut schedules = vec![];
    for (name, settings) in schedulers {
        // Several schedulers are factors of one rate.
        let base = if schedules.is_empty() { rate } else { 1.0 };
        schedules.push(scheduler(&name, &settings, base, &run, report)?);
    }
    let schedule = match schedules.len() {
        0 => constant(rate).into(),
        1 => schedules.remove(0),
        _ => product(schedules).into(),
    };
    let mut training = TrainingConfig::new(match run.length() {
        Some(length) if run.is_known() => filling(schedule, length),
        Some(length) => fitted(schedule, length),
        None => schedule,
    });
    if run.counts_samples.get() {
        run.say(report);
    } else if let Some(Time { value, unit: TimeUnit::Batches }) = run.duration {
        report.note(format!("run: {value} updates, RunLength::updates({value})"));
    } else if run.updates().is_none() && training.schedule.to_string().contains('%') {
        report.note(
            "shares of the run are rounded to the nearest update; Composer rounds them down: with the updates per epoch \
             they are exact",
        );
    }
    for (name, _) in optimizer.iter().skip(1) {
        report.without(format!("optimizer {name}"), "one optimizer counts, the first");
    }
    if let Some((name, settings)) = optimizer.first() {
        of_optimizer(name, settings, &mut training, report)?;
    }
    algorithms(arguments, &mut training, &run, report)?;
    let precision = arguments
        .choice("precision", &["fp32", "amp_bf16", "amp_fp16", "bf16", "fp16", "amp_fp8", "amp"])?;
    training.half_precision = match precision {
        "amp_bf16" | "bf16" => Some(HalfPrecision::bf16()),
        "amp_fp16" | "fp16" | "amp" => Some(HalfPrecision::f16()),
        "amp_fp8" => {
            report.without(
                "precision amp_fp8",
                "8-bit training has no counterpart; half_precision = \"bf16\" is the nearest",
            );
            None
        }
        _ => None,
    };
    if training.half_precision.is_some() {
        report.note(AUTOCAST);
    }
    Ok(training)
}

/// The parts of a section: `{name: …, …}`, `{part: {…}, …}`, or a list of either.
fn named(
    arguments: &Arguments<'_>,
    section: &'static str,
) -> Result<Vec<(String, Value)>, PeerError> {
    let Some(value) = arguments.value(section) else { return Ok(vec![]) };
    let allowed = "a name with its arguments, as {name: NAME, …}";
    let items = match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let mut parts = vec![];
    for item in items {
        let entries = item.as_object().ok_or_else(|| arguments.wrong(section, item, allowed))?;
        if let Some(name) = entries.get("name").and_then(Value::as_str) {
            let mut settings: Map<String, Value> = entries.clone();
            settings.remove("name");
            parts.push((name.to_string(), settings.into()));
            continue;
        }
        for (name, settings) in entries {
            let settings = match settings {
                Value::Null => Value::Object(Map::new()),
                Value::Object(_) => settings.clone(),
                _ => return Err(arguments.wrong(section, item, allowed)),
            };
            parts.push((name.clone(), settings));
        }
    }
    Ok(parts)
}

/// A time of Composer's.
#[derive(Clone, Copy)]
struct Time {
    value: f64,
    unit: TimeUnit,
}

#[derive(Clone, Copy, PartialEq)]
enum TimeUnit {
    Epochs,
    Batches,
    Samples,
    Tokens,
    Duration,
}

impl TimeUnit {
    fn name(self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::Batches => "batches",
            Self::Samples => "samples",
            Self::Tokens => "tokens",
            Self::Duration => "shares of the run",
        }
    }
}

impl Time {
    fn read(name: &str, argument: &str, value: &Value) -> Result<Self, TranslationError> {
        const ALLOWED: &str = "a time in epochs, batches, samples, tokens or shares of the run, such as \"10ep\", \"500ba\", \
                               \"2e6sp\", \"260e9tok\" or \"0.06dur\"";
        let wrong = || wrong(name, argument, value, ALLOWED);
        let text = value.as_str().ok_or_else(wrong)?.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        // An exponent is no unit.
        let number: f64 = digits.trim().replace('_', "").parse().map_err(|_| wrong())?;
        let unit = match &text[digits.len()..] {
            "ep" => TimeUnit::Epochs,
            "ba" => TimeUnit::Batches,
            "sp" => TimeUnit::Samples,
            "tok" => TimeUnit::Tokens,
            "dur" => TimeUnit::Duration,
            other => return Err(of_other_unit(name, argument, text, other).unwrap_or_else(wrong)),
        };
        let whole = unit == TimeUnit::Duration || number.fract() == 0.0;
        match number.is_finite() && number >= 0.0 && whole {
            true => Ok(Self { value: number, unit }),
            false => Err(wrong()),
        }
    }
}

/// A time in iterations or seconds.
fn of_other_unit(name: &str, argument: &str, text: &str, unit: &str) -> Option<TranslationError> {
    let unit = match unit {
        "iter" => "iterations of a data loader",
        "sec" => "seconds",
        _ => return None,
    };
    Some(TranslationError::Unit {
        name: name.to_string(),
        argument: argument.to_string(),
        value: text.to_string(),
        unit,
        allowed: "epochs (10ep), batches (500ba), samples (2e6sp), tokens (260e9tok) or shares of the run (0.06dur)",
    })
}

/// The length of the run.
struct Run {
    duration: Option<Time>,
    updates_per_epoch: Option<u64>,
    /// `global_train_batch_size`: the samples of an update.
    batch_size: Option<u64>,
    /// `max_seq_len`: the tokens of a sample.
    tokens_per_sample: Option<u64>,
    /// `scale_schedule_ratio`.
    ratio: f64,
    /// Whether a length is in samples or tokens.
    counts_samples: Cell<bool>,
    /// Whether a length is in tokens.
    counts_tokens: Cell<bool>,
    /// Whether a length in samples or tokens may end within an update.
    is_rounded: Cell<bool>,
}

impl Run {
    fn read(
        arguments: &Arguments<'_>,
        options: &Options,
        report: &mut Report,
    ) -> Result<Self, TranslationError> {
        let ratio = arguments.number_or("scale_schedule_ratio", 1.0)?;
        arguments.require("scale_schedule_ratio", ratio, ratio > 0.0, "above 0")?;
        let run = Self {
            duration: None,
            updates_per_epoch: options.updates_per_epoch,
            batch_size: at_least_1(arguments, "global_train_batch_size")?,
            tokens_per_sample: at_least_1(arguments, "max_seq_len")?,
            ratio,
            counts_samples: Cell::new(false),
            counts_tokens: Cell::new(false),
            is_rounded: Cell::new(false),
        };
        let Some(value) = arguments.value("max_duration") else { return Ok(run) };
        let value = match value {
            // A bare number counts epochs.
            Value::Number(epochs) => Value::from(format!("{epochs}ep")),
            other => other.clone(),
        };
        let mut duration = Time::read(NAME, "max_duration", &value)?;
        duration.value = (duration.value * ratio).trunc();
        let length = duration.value;
        match duration.unit {
            TimeUnit::Epochs => report.note(format!("run: training.num_epochs({length})")),
            // Lengths in samples need another run.
            TimeUnit::Batches => {}
            unit @ (TimeUnit::Samples | TimeUnit::Tokens) => {
                run.counts(length, unit);
            }
            TimeUnit::Duration => {
                return Err(wrong(
                    NAME,
                    "max_duration",
                    &value,
                    "epochs, batches, samples or tokens, such as \"10ep\"",
                ));
            }
        }
        Ok(Self { duration: Some(duration), ..run })
    }

    /// Says which run lengths in samples and tokens need.
    fn say(&self, report: &mut Report) {
        let batch = self.batch_size.map_or("BATCH_SIZE".into(), |size| size.to_string());
        let mut run = match self.duration {
            Some(Time { value, unit: TimeUnit::Samples }) => {
                format!("RunLength::samples({value}, {batch})")
            }
            Some(Time { value, unit: TimeUnit::Tokens }) => {
                format!("RunLength::tokens({value}, {batch})")
            }
            Some(Time { value, unit: TimeUnit::Batches }) => match self.batch_size {
                Some(size) => format!("RunLength::samples({}, {batch})", value * size as f64),
                None => format!("RunLength::samples({value} * {batch}, {batch})"),
            },
            Some(Time { value, .. }) => {
                format!("RunLength::from_items(ITEMS, {batch}).epochs({value})")
            }
            None => format!("RunLength::from_items(ITEMS, {batch})"),
        };
        let mut missing = vec![];
        if self.batch_size.is_none() {
            missing.push("global_train_batch_size");
        }
        if self.counts_tokens.get() {
            let tokens = self.tokens_per_sample.map(|tokens| tokens.to_string());
            run += &format!(".tokens_per_sample({})", tokens.as_deref().unwrap_or("TOKENS"));
            if tokens.is_none() {
                missing.push("max_seq_len");
            }
        }
        report.note(format!("lengths in samples or tokens need a run that counts them: {run}"));
        if !missing.is_empty() {
            report.note(format!(
                "the configuration does not say {}: fill the gap, or give the setting",
                missing.join(" and ")
            ));
        }
        if self.is_rounded.get() {
            report.note(
                "lengths in samples or tokens are rounded to the nearest update; Composer's may end within one",
            );
        }
    }

    /// The length of the run. Where the updates per epoch are unknown, any number of them shows what lasts longer.
    fn length(&self) -> Option<RunLength> {
        let Time { value, unit } = self.duration?;
        let of_samples = |run: RunLength| match self.counts_tokens.get() {
            true => run.tokens_per_sample(self.tokens_per_sample.unwrap_or(1) as usize),
            false => run,
        };
        let batch_size = self.batch_size.unwrap_or(1) as usize;
        Some(match (unit, self.updates_per_epoch) {
            (TimeUnit::Tokens, _) => of_samples(RunLength::tokens(value as u64, batch_size)),
            (TimeUnit::Samples, _) => of_samples(RunLength::samples(value as u64, batch_size)),
            (TimeUnit::Batches, _) if self.counts_samples.get() => {
                let samples = value * self.batch_size? as f64;
                of_samples(RunLength::samples(samples as u64, batch_size))
            }
            (TimeUnit::Epochs, updates) => {
                RunLength::updates_per_epoch(updates.unwrap_or(1_000)).epochs(value as usize)
            }
            // It may end within an epoch.
            (_, Some(updates)) if (value as u64).is_multiple_of(updates) => {
                RunLength::updates_per_epoch(updates).epochs((value as u64 / updates) as usize)
            }
            _ => RunLength::updates(value as u64),
        })
    }

    /// Whether its length is the one that the training will have.
    fn is_known(&self) -> bool {
        self.updates().is_some() && !(self.counts_tokens.get() && self.tokens_per_sample.is_none())
    }

    /// All updates of the run, if they are known.
    fn updates(&self) -> Option<f64> {
        let Time { value, unit } = self.duration?;
        match unit {
            TimeUnit::Batches => Some(value),
            TimeUnit::Samples | TimeUnit::Tokens => Some((value / self.of_update(unit)?).ceil()),
            _ => self.updates_per_epoch.map(|updates| value * updates as f64),
        }
    }

    /// The samples or tokens of an update, if they are known.
    fn of_update(&self, unit: TimeUnit) -> Option<f64> {
        let samples = self.batch_size? as f64;
        match unit {
            TimeUnit::Tokens => Some(samples * self.tokens_per_sample? as f64),
            _ => Some(samples),
        }
    }

    /// The unit that a time has for Composer, which counts epochs in batches.
    fn unit_of(&self, time: Time) -> TimeUnit {
        match (time.unit, self.duration) {
            (TimeUnit::Duration, Some(Time { unit, .. })) => {
                self.unit_of(Time { value: 0.0, unit })
            }
            (TimeUnit::Epochs, _) => TimeUnit::Batches,
            (unit, _) => unit,
        }
    }

    /// The samples or tokens of a time, if it counts them; rounded down as Composer does.
    fn amount(&self, time: Time, ratio: f64) -> Option<(f64, TimeUnit)> {
        match (time.unit, self.duration) {
            (TimeUnit::Samples | TimeUnit::Tokens, _) => {
                Some(((time.value * ratio).trunc(), time.unit))
            }
            (
                TimeUnit::Duration,
                Some(Time { value, unit: unit @ (TimeUnit::Samples | TimeUnit::Tokens) }),
            ) => Some(((time.value * value).trunc(), unit)),
            _ => None,
        }
    }

    /// A time in updates, if it can be known.
    fn updates_of(&self, time: Time) -> Option<f64> {
        if let Some((amount, unit)) = self.amount(time, 1.0) {
            return Some(amount / self.of_update(unit)?);
        }
        match time.unit {
            TimeUnit::Batches => Some(time.value),
            TimeUnit::Epochs => self.updates_per_epoch.map(|updates| time.value * updates as f64),
            _ => self.updates().map(|updates| time.value * updates),
        }
    }

    /// Remembers a length in samples or tokens, for the notes.
    fn counts(&self, amount: f64, unit: TimeUnit) {
        self.counts_samples.set(true);
        self.counts_tokens.set(self.counts_tokens.get() || unit == TimeUnit::Tokens);
        let is_whole = self.of_update(unit).is_some_and(|each| amount % each == 0.0);
        self.is_rounded.set(self.is_rounded.get() || !is_whole);
    }

    /// A time as a length: in samples or tokens, if it counts these; in updates, rounded down as Composer does, if it
    /// can be known.
    fn span(&self, time: Time, ratio: f64) -> Span {
        if let Some((amount, unit)) = self.amount(time, ratio) {
            self.counts(amount, unit);
            return match unit {
                TimeUnit::Tokens => Span::tokens(amount),
                _ => Span::samples(amount),
            };
        }
        let known = match time.unit {
            TimeUnit::Batches => Some(time.value * ratio),
            TimeUnit::Epochs => {
                self.updates_per_epoch.map(|updates| time.value * updates as f64 * ratio)
            }
            _ => self.updates().map(|updates| time.value * updates),
        };
        match (known, time.unit) {
            (Some(updates), _) => Span::steps(updates as u64),
            (None, TimeUnit::Duration) => Span::percent(percent(time.value)),
            (None, _) => Span::epochs(time.value * ratio),
        }
    }

    /// A time at which the rate jumps: that of the first update which begins after it.
    fn position(&self, time: Time, ratio: f64) -> Span {
        let updates = self.amount(time, ratio).and_then(|(amount, unit)| {
            let each = self.of_update(unit).filter(|each| amount % each != 0.0)?;
            Some(Span::steps((amount / each).ceil() as u64))
        });
        updates.unwrap_or_else(|| self.span(time, ratio))
    }
}

/// The times and factors of one scheduler.
struct Scheduler<'r, 'a> {
    arguments: &'r Arguments<'a>,
    run: &'r Run,
    rate: f64,
}

type Read = fn(&Scheduler<'_, '_>) -> Result<ScheduleConfig, TranslationError>;

/// Names in lower case, without underscores and `scheduler`.
const SCHEDULERS: &[(&str, Read)] = &[
    ("step", |one| one.step()),
    ("multistep", |one| one.multi_step()),
    ("constant", |one| one.constant()),
    ("linear", |one| one.linear()),
    ("lineardecay", |one| one.linear()),
    ("exponential", |one| one.exponential()),
    ("cosineannealing", |one| one.cosine()),
    ("cosinedecay", |one| one.cosine()),
    ("cosineannealingwarmrestarts", |one| one.warm_restarts()),
    ("cosinewarmrestart", |one| one.warm_restarts()),
    ("polynomial", |one| one.polynomial()),
    ("multistepwithwarmup", |one| one.multi_step_with_warmup()),
    ("constantwithwarmup", |one| one.constant_with_warmup()),
    ("linearwithwarmup", |one| one.linear_with_warmup()),
    ("lineardecaywithwarmup", |one| one.linear_with_warmup()),
    ("cosineannealingwithwarmup", |one| one.cosine_with_warmup()),
    ("cosinewithwarmup", |one| one.cosine_with_warmup()),
    ("cosinedecaywithwarmup", |one| one.cosine_with_warmup()),
    ("polynomialwithwarmup", |one| one.polynomial_with_warmup()),
    ("inversesquarerootwithwarmup", |one| one.inverse_sqrt_with_warmup()),
    ("invsqrtwithwarmup", |one| one.inverse_sqrt_with_warmup()),
];

/// The names as Composer and llm-foundry write them.
const NAMES: &[&str] = &[
    "StepScheduler",
    "MultiStepScheduler",
    "ConstantScheduler",
    "LinearScheduler",
    "ExponentialScheduler",
    "CosineAnnealingScheduler",
    "CosineAnnealingWarmRestartsScheduler",
    "PolynomialScheduler",
    "MultiStepWithWarmupScheduler",
    "ConstantWithWarmupScheduler",
    "LinearWithWarmupScheduler",
    "CosineAnnealingWithWarmupScheduler",
    "PolynomialWithWarmupScheduler",
    "constant_with_warmup",
    "cosine_with_warmup",
    "linear_decay_with_warmup",
    "inv_sqrt_with_warmup",
];

fn scheduler(
    name: &str,
    settings: &Value,
    rate: f64,
    run: &Run,
    report: &mut Report,
) -> Result<ScheduleConfig, TranslationError> {
    let plain = name.to_lowercase().replace('_', "");
    let plain = plain.trim_end_matches("scheduler");
    let found = SCHEDULERS.iter().find(|known| known.0 == plain);
    let (_, read) = found.ok_or_else(|| PeerError::unknown_scheduler(NAME, name, NAMES))?;
    let (schedule, unread, _) = Arguments::read_some(name, settings, |arguments| {
        if arguments.flag_or("scale_warmup", false)? && run.ratio != 1.0 {
            report.note("scale_warmup: Composer compares the unscaled warm-up with the scaled curve; here it is unscaled");
        }
        read(&Scheduler { arguments, run, rate })
    })?;
    for setting in unread {
        report.without(setting, format!("{name} has no such argument"));
    }
    Ok(schedule)
}

impl Scheduler<'_, '_> {
    fn time(
        &self,
        argument: &'static str,
        default: Option<Time>,
    ) -> Result<Time, TranslationError> {
        let time = match (self.arguments.value(argument), default) {
            (Some(value), _) => Time::read(self.arguments.scheduler(), argument, value)?,
            (None, Some(time)) => time,
            (None, None) => {
                return Err(self.arguments.missing(argument, "a time such as \"10ep\"").into());
            }
        };
        let is_known = self.run.updates().is_some() || self.run.amount(time, 1.0).is_some();
        let ok = time.unit != TimeUnit::Duration || time.value <= 1.0 || is_known;
        let allowed = "at most 1dur, unless the length of the run is known: give max_duration, and the number of updates \
                       per epoch (--steps-per-epoch N)";
        self.arguments.require(argument, time.value, ok, allowed)?;
        Ok(time)
    }

    fn span(&self, time: Time) -> Span {
        self.run.span(time, self.run.ratio)
    }

    /// A length above 0.
    fn length(
        &self,
        argument: &'static str,
        default: Option<Time>,
    ) -> Result<Span, TranslationError> {
        let time = self.time(argument, default)?;
        match self.span(time) {
            span if !is_zero(span) => Ok(span),
            _ => Err(self.arguments.wrong(argument, time.value, "a time above 0").into()),
        }
    }

    /// `t_max`; `None` if it is the whole run.
    fn t_max(&self) -> Result<Option<Span>, TranslationError> {
        let time = self.time("t_max", Some(WHOLE))?;
        let known = self.run.amount(time, 1.0).is_none() && self.run.updates().is_some();
        match time.unit == TimeUnit::Duration && time.value == 1.0 && !known {
            true => Ok(None),
            false => self.length("t_max", Some(WHOLE)).map(Some),
        }
    }

    fn factor(&self, argument: &'static str, default: f64) -> Result<f64, PeerError> {
        let factor = self.arguments.number_or(argument, default)?;
        self.arguments.require(argument, factor, factor >= 0.0, "at least 0")
    }

    fn gamma(&self) -> Result<f64, PeerError> {
        let gamma = self.arguments.number_or("gamma", 0.1)?;
        self.arguments.require("gamma", gamma, gamma > 0.0 && gamma <= 1.0, "above 0, at most 1")
    }

    /// The end, as a share of the rate.
    fn alpha_f(&self) -> Result<Level, PeerError> {
        let alpha = self.arguments.number_or("alpha_f", 0.0)?;
        self.arguments.require("alpha_f", alpha, (0.0..=1.0).contains(&alpha), "in [0, 1]")?;
        Ok(if alpha == 0.0 { Level::default() } else { Level::percent(percent(alpha)) })
    }

    fn step(&self) -> Result<ScheduleConfig, TranslationError> {
        let (time, gamma) = (self.time("step_size", None)?, self.gamma()?);
        Ok(match self.uneven_steps(time) {
            Some(positions) => multi_step(self.rate, positions, gamma).into(),
            None => step_decay(self.rate, self.length("step_size", None)?, gamma).into(),
        })
    }

    /// The updates at which a rate steps that does so within updates, if the run has few of them.
    fn uneven_steps(&self, every: Time) -> Option<Vec<Span>> {
        let (amount, unit) = self.run.amount(every, self.run.ratio)?;
        let each = self.run.of_update(unit).filter(|each| amount > 0.0 && amount % each != 0.0)?;
        let updates = self.run.updates()?;
        let at = |step: u64| (step as f64 * amount / each).ceil();
        let steps = (updates * each / amount).ceil();
        let positions = || (1..=steps as u64).map(at).filter(|&at| at < updates);
        (1.0..=MOST_STEPS)
            .contains(&steps)
            .then(|| positions().map(|at| Span::steps(at as u64)).collect::<Vec<_>>())
            .filter(|positions| !positions.is_empty())
    }

    fn milestones(&self) -> Result<Vec<Time>, TranslationError> {
        let list = self.arguments.list("milestones")?;
        let list = list.ok_or_else(|| self.arguments.missing("milestones", "a list of times"))?;
        let name = self.arguments.scheduler();
        list.iter().map(|value| Time::read(name, "milestones", value)).collect()
    }

    fn multi_step(&self) -> Result<ScheduleConfig, TranslationError> {
        let mut milestones = self.milestones()?;
        let places = milestones.iter().map(|&time| self.run.updates_of(time));
        // Times of several units are compared in updates.
        if places.collect::<Option<Vec<_>>>().is_some() {
            milestones.sort_by(|&one, &other| {
                let (one, other) = (self.run.updates_of(one), self.run.updates_of(other));
                one.unwrap_or(0.0).total_cmp(&other.unwrap_or(0.0))
            });
        }
        let position = |time| self.run.position(time, self.run.ratio);
        let positions: Vec<Span> = milestones.into_iter().map(position).collect();
        let gamma = self.gamma()?;
        Ok(if positions.is_empty() {
            constant(self.rate).into()
        } else {
            multi_step(self.rate, positions, gamma).into()
        })
    }

    fn constant(&self) -> Result<ScheduleConfig, TranslationError> {
        let alpha = self.factor("alpha", 1.0)?;
        let held = held(alpha * self.rate);
        // After t_max the factor is 1.
        Ok(match self.t_max()? {
            Some(_) if alpha != 1.0 && !self.is_whole()? => {
                let length = self.run.position(self.time("t_max", None)?, self.run.ratio);
                held.then(length, constant(self.rate)).into()
            }
            _ => held,
        })
    }

    /// Whether `t_max` is the whole run.
    fn is_whole(&self) -> Result<bool, TranslationError> {
        let time = self.time("t_max", Some(WHOLE))?;
        Ok(time.unit == TimeUnit::Duration && time.value >= 1.0)
    }

    fn linear(&self) -> Result<ScheduleConfig, TranslationError> {
        let (from, to) = (self.factor("alpha_i", 1.0)?, self.factor("alpha_f", 0.0)?);
        let curve = linear(from * self.rate, to * self.rate);
        Ok(match self.t_max()? {
            _ if from == to => held(from * self.rate),
            Some(length) => curve.length(length).into(),
            None => curve.into(),
        })
    }

    fn exponential(&self) -> Result<ScheduleConfig, TranslationError> {
        let one = Time { value: 1.0, unit: TimeUnit::Epochs };
        let per = self.length("decay_period", Some(one))?;
        let gamma = self.arguments.number("gamma")?;
        self.arguments.require("gamma", gamma, gamma > 0.0 && gamma < 1.0, "above 0, below 1")?;
        Ok(exponential(self.rate, Decay::Factor { factor: gamma, per }).into())
    }

    fn cosine(&self) -> Result<ScheduleConfig, TranslationError> {
        let curve = cosine(self.rate).end(self.alpha_f()?);
        Ok(match self.t_max()? {
            Some(length) => curve.length(length).into(),
            None => curve.into(),
        })
    }

    fn warm_restarts(&self) -> Result<ScheduleConfig, TranslationError> {
        let growth = self.arguments.number_or("t_mult", 1.0)?;
        self.arguments.require("t_mult", growth, growth >= 1.0, "at least 1")?;
        if growth.fract() != 0.0 {
            return self.uneven_cycles(growth);
        }
        let curve = warm_restarts(self.rate, self.length("t_0", None)?).multiplier(growth);
        Ok(curve.end(self.alpha_f()?).into())
    }

    /// Cycles that grow by a fraction: Composer rounds each of them down.
    fn uneven_cycles(&self, growth: f64) -> Result<ScheduleConfig, TranslationError> {
        const ALLOWED: &str = "a whole number, unless the length of the run is known in batches, and the cycles are at most 100: \
                               give max_duration, and the number of updates per epoch";
        let refused = || self.arguments.wrong("t_mult", growth, ALLOWED);
        let Span::Steps(first) = self.length("t_0", None)? else { return Err(refused().into()) };
        let updates = self.run.updates().ok_or_else(refused)?;
        let wave = cosine(self.rate).end(self.alpha_f()?);
        let (mut cycle, mut end) = (first, first);
        let mut parts: Vec<Part> = vec![];
        while (end as f64) < updates {
            if parts.len() as f64 >= MOST_STEPS {
                return Err(refused().into());
            }
            parts.push((Span::steps(cycle), wave.clone()).into());
            cycle = (cycle as f64 * growth) as u64;
            end = end.saturating_add(cycle);
        }
        // The last cycle may end after the run.
        let last = wave.length(Span::steps(cycle)).truncate();
        if parts.is_empty() {
            return Ok(last.into());
        }
        parts.push((Span::Rest, last).into());
        Ok(sequence(parts).into())
    }

    fn power(&self, default: Option<f64>) -> Result<f64, PeerError> {
        let power = match default {
            Some(power) => self.arguments.number_or("power", power)?,
            None => self.arguments.number("power")?,
        };
        self.arguments.require("power", power, power > 0.0, "above 0")
    }

    fn polynomial(&self) -> Result<ScheduleConfig, TranslationError> {
        let curve = polynomial(self.rate, self.alpha_f()?, self.power(None)?);
        Ok(match self.t_max()? {
            Some(length) => curve.length(length).into(),
            None => curve.into(),
        })
    }

    fn multi_step_with_warmup(&self) -> Result<ScheduleConfig, TranslationError> {
        let warmup = self.time("t_warmup", None)?;
        let curve = self.multi_step()?;
        // Milestones count from the beginning of the run, those within the warm-up too.
        Ok(match self.run.span(warmup, 1.0) {
            length if is_zero(length) => curve,
            length => curve.warmup(length).include_start().replace().into(),
        })
    }

    fn constant_with_warmup(&self) -> Result<ScheduleConfig, TranslationError> {
        let alpha = self.factor("alpha", 1.0)?;
        self.arguments.ignore("t_max");
        let warmup = self.time("t_warmup", None)?;
        Ok(self.warmed_up(warmup, held(alpha * self.rate)))
    }

    fn linear_with_warmup(&self) -> Result<ScheduleConfig, TranslationError> {
        let (from, to) = (self.factor("alpha_i", 1.0)?, self.factor("alpha_f", 0.0)?);
        let warmup = self.time("t_warmup", None)?;
        let curve = linear(from * self.rate, to * self.rate);
        let tail = match self.after(warmup)? {
            _ if from == to => held(from * self.rate),
            Some(length) => curve.length(length).into(),
            None => curve.into(),
        };
        Ok(self.warmed_up(warmup, tail))
    }

    fn cosine_with_warmup(&self) -> Result<ScheduleConfig, TranslationError> {
        let warmup = self.time("t_warmup", None)?;
        let curve = cosine(self.rate).end(self.alpha_f()?);
        let tail = match self.after(warmup)? {
            Some(length) => curve.length(length).into(),
            None => curve.into(),
        };
        Ok(self.warmed_up(warmup, tail))
    }

    fn polynomial_with_warmup(&self) -> Result<ScheduleConfig, TranslationError> {
        let warmup = self.time("t_warmup", None)?;
        let curve = polynomial(self.rate, self.alpha_f()?, self.power(Some(2.0))?);
        let tail = match self.after(warmup)? {
            Some(length) => curve.length(length).into(),
            None => curve.into(),
        };
        Ok(self.warmed_up(warmup, tail))
    }

    /// llm-foundry's: α + (1 − α)/√(1 + t/s) of the rate after the warm-up, and a straight line at the end.
    fn inverse_sqrt_with_warmup(&self) -> Result<ScheduleConfig, TranslationError> {
        let share = |name| {
            let share = self.arguments.number_or(name, 0.0)?;
            self.arguments.require(name, share, (0.0..=1.0).contains(&share), "in [0, 1]")
        };
        let (decays_to, cools_to) = (share("alpha_f_decay")?, share("alpha_f_cooldown")?);
        let at_most = "at most alpha_f_decay";
        self.arguments.require("alpha_f_cooldown", cools_to, cools_to <= decays_to, at_most)?;
        let (warmup, scale) = (self.time("t_warmup", None)?, self.time("t_scale", None)?);
        let cooldown = self.time("t_cooldown", None)?;
        let whole = self.time("t_max", Some(WHOLE))?;
        let duration = self.run.duration.ok_or_else(|| {
            self.arguments
                .missing("max_duration", "given: the cooldown counts from the end of the run")
        })?;
        for (argument, time) in [("t_warmup", warmup), ("t_scale", scale), ("t_cooldown", cooldown)]
        {
            let allowed = format!("{}, as max_duration does", duration.unit.name());
            let ok = time.unit == duration.unit;
            self.arguments.require(
                argument,
                time.unit.name(),
                ok,
                &format!("a time that counts {allowed}"),
            )?;
        }
        let scaled = |time: Time| match time.unit {
            TimeUnit::Duration => time.value * duration.value,
            _ => time.value * self.run.ratio,
        };
        let scale_span = self.length("t_scale", None)?;
        let curve = |share: f64| inverse_sqrt(share * self.rate, scale_span);
        let fall: ScheduleConfig = match decays_to {
            0.0 => curve(1.0).into(),
            1.0 => constant(self.rate).into(),
            _ => curve(1.0 - decays_to).plus(constant(decays_to * self.rate)).into(),
        };
        let cooled = scaled(cooldown);
        let fallen = (scaled(whole) - cooled - warmup.value).max(0.0);
        let from = decays_to + (1.0 - decays_to) / (1.0 + fallen / scaled(scale)).sqrt();
        let line = linear(from * self.rate, cools_to * self.rate);
        let time = |value| Time { value, unit: duration.unit };
        let tail: ScheduleConfig = match (fallen > 0.0, cooled > 0.0) {
            (_, false) => fall,
            (false, true) => line.length(self.run.span(time(cooled), 1.0)).into(),
            (true, true) => {
                let line = line.length(self.run.span(time(cooled), 1.0));
                fall.then(self.run.span(time(fallen), 1.0), line).into()
            }
        };
        Ok(self.warmed_up(warmup, tail))
    }

    /// What is left of `t_max` after the warm-up; `None` if that is the rest of the run.
    fn after(&self, warmup: Time) -> Result<Option<Span>, TranslationError> {
        let t_max = self.time("t_max", Some(WHOLE))?;
        let (first, whole) = (self.run.unit_of(warmup), self.run.unit_of(t_max));
        let unknown = TimeUnit::Duration;
        if first != whole && first != unknown && whole != unknown {
            return Err(TranslationError::Refused {
                name: self.arguments.scheduler().to_string(),
                reason: format!(
                    "t_warmup counts {}, t_max {}, and Composer takes one unit for both; give t_warmup in {}",
                    first.name(),
                    whole.name(),
                    whole.name()
                ),
            });
        }
        if self.t_max()?.is_none() {
            return Ok(None);
        }
        let left = self.left(t_max, warmup)?;
        // The run may end within the warm-up.
        if left.is_none() && !self.is_whole()? {
            let warmup = format!("{} {}", warmup.value, warmup.unit.name());
            return Err(self.arguments.wrong("t_warmup", warmup, "a time before t_max").into());
        }
        Ok(left)
    }

    /// What is left of `t_max` after the warm-up; `None` if nothing is.
    fn left(&self, t_max: Time, warmup: Time) -> Result<Option<Span>, TranslationError> {
        // A warm-up is not scaled.
        let (whole, first) = (self.span(t_max), self.run.span(warmup, 1.0));
        let left = match (whole, first) {
            (Span::Steps(whole), Span::Steps(first)) => Span::steps(whole.saturating_sub(first)),
            (Span::Epochs(whole), Span::Epochs(first)) => Span::epochs((whole - first).max(0.0)),
            (Span::Percent(whole), Span::Percent(first)) => Span::percent((whole - first).max(0.0)),
            (Span::Samples(whole), Span::Samples(first)) => Span::samples((whole - first).max(0.0)),
            (Span::Tokens(whole), Span::Tokens(first)) => Span::tokens((whole - first).max(0.0)),
            // Nothing is taken away.
            (whole, _) if warmup.value == 0.0 => whole,
            _ => {
                return Err(TranslationError::NeedsUpdatesPerEpoch {
                    name: self.arguments.scheduler().to_string(),
                    argument: "t_max".to_string(),
                    why: "the warm-up has another unit",
                });
            }
        };
        Ok(Some(left).filter(|&left| !is_zero(left)))
    }

    /// From 0 to the first rate of the tail, then the tail.
    fn warmed_up(&self, warmup: Time, tail: ScheduleConfig) -> ScheduleConfig {
        match self.run.span(warmup, 1.0) {
            length if is_zero(length) => tail,
            length => tail.warmup(length).include_start().into(),
        }
    }
}

/// More steps than these are no list that one reads.
const MOST_STEPS: f64 = 100.0;

fn is_zero(span: Span) -> bool {
    match span {
        Span::Steps(steps) => steps == 0,
        Span::Epochs(n) | Span::Samples(n) | Span::Tokens(n) | Span::Percent(n) => n == 0.0,
        Span::Rest => false,
    }
}

/// All of the run.
const WHOLE: Time = Time { value: 1.0, unit: TimeUnit::Duration };

/// A constant rate, possibly 0.
fn held(rate: f64) -> ScheduleConfig {
    if rate == 0.0 { piecewise_constant(0.0, [], []).into() } else { constant(rate).into() }
}

fn of_optimizer(
    name: &str,
    settings: &Value,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), TranslationError> {
    let known = Unread {
        unrelated: &["foreach", "fused", "amsgrad", "maximize", "capturable"],
        without: &[],
    };
    report.read(name, settings, &known, |arguments, report| {
        arguments.ignore("lr");
        let decay = arguments.not_negative_or("weight_decay", 0.0)?;
        // DecoupledAdamW and DecoupledSGDW shrink by weight_decay · rate / first rate.
        let is_relative = name.to_lowercase().contains("decoupled");
        if decay > 0.0 {
            training.weight_decay = Some(match is_relative {
                true => WeightDecay::relative(decay),
                false => WeightDecay::coupled(decay),
            });
            report.note(
                "Composer decays every weight, unless groups say otherwise: set no_weight_decay",
            );
        }
        let betas = arguments.value("betas").and_then(Value::as_array);
        let betas = betas.and_then(|betas| betas.first()?.as_f64().zip(betas.get(1)?.as_f64()));
        // Composer's own AdamW, and llm-foundry's Lion, have defaults of their own.
        let usual = if name.to_lowercase().contains("lion") { (0.9, 0.99) } else { (0.9, 0.95) };
        let betas = betas.or(is_relative.then_some(usual));
        let optimizer = Optimizer {
            name: name.to_string(),
            betas,
            epsilon: arguments.optional_number("eps")?,
            momentum: arguments.optional_number("momentum")?,
            nesterov: arguments.flag_or("nesterov", false)?,
        };
        optimizer.say(report, decay);
        Ok(())
    })
}

fn algorithms(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    run: &Run,
    report: &mut Report,
) -> Result<(), TranslationError> {
    if let Some(norm) = arguments.optional_number("grad_clip_norm")?.filter(|&norm| norm > 0.0) {
        training.clip_global_norm = Some(norm);
    }
    for (name, settings) in named(arguments, "algorithms")? {
        match name.to_lowercase().replace('_', "").as_str() {
            "gradientclipping" => {
                Arguments::read(&name, &settings, |arguments| {
                    let kind = arguments.choice("clipping_type", &["norm", "value", "adaptive"])?;
                    let threshold = arguments.number("clipping_threshold")?;
                    arguments.require(
                        "clipping_threshold",
                        threshold,
                        threshold > 0.0,
                        "above 0",
                    )?;
                    match kind {
                        "norm" => training.clip_global_norm = Some(threshold),
                        kind => report.without(
                            format!("{name}: {kind}"),
                            "only the global norm is clipped here; Burn's optimizers clip values",
                        ),
                    }
                    Ok(())
                })?;
            }
            "ema" => training.averages.push(average(&name, &settings, run)?),
            "lowprecisionlayernorm" => {
                report.note("low_precision_layernorm: norms are in half precision unless excepted")
            }
            _ => report.without(format!("algorithms.{name}"), reason(&name)),
        }
    }
    Ok(())
}

fn reason(name: &str) -> &'static str {
    match name.to_lowercase().replace('_', "").as_str() {
        "labelsmoothing" => {
            "it belongs to the loss: CrossEntropyLossConfig::new().with_smoothing(Some(…))"
        }
        "swa" => "write an average: mean_from = \"70%\", every = \"1ep\"",
        "layerfreezing" => {
            "freezing as training goes on has no counterpart; groups freeze with `frozen`"
        }
        "sam" => "two passes for each update have no counterpart",
        "mixup"
        | "cutmix"
        | "cutout"
        | "randaugment"
        | "augmix"
        | "colout"
        | "progressiveresizing" => "it belongs to the data",
        _ => "it belongs to the model or the data",
    }
}

fn average(name: &str, settings: &Value, run: &Run) -> Result<Average, TranslationError> {
    let (average, ..) = Arguments::read_some(name, settings, |arguments| {
        arguments.ignore("ema_start");
        let smoothing = arguments.optional_number("smoothing")?;
        let half_life = match arguments.value("half_life") {
            None if smoothing.is_some() => None,
            None => Some(Span::steps(1_000)),
            Some(value) => Some(run.span(Time::read(name, "half_life", value)?, 1.0)),
        };
        let average = match (smoothing, half_life) {
            (Some(smoothing), _) => Average::ema(smoothing),
            (None, half_life) => Average::half_life(half_life.unwrap_or(Span::steps(1_000))),
        };
        let every = arguments.value("update_interval");
        let every = every.map(|value| Time::read(name, "update_interval", value)).transpose()?;
        Ok::<_, TranslationError>(match every.map(|time| run.span(time, 1.0)) {
            Some(every) if every != Span::steps(1) => average.every(every),
            _ => average,
        })
    })?;
    Ok(average)
}

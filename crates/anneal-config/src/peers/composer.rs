//! A configuration of MosaicML's Composer, as its Trainer or llm-foundry takes it.
//!
//! | setting | becomes |
//! | --- | --- |
//! | `scheduler`, `schedulers`: a name, or a class, and its arguments | the schedule |
//! | `optimizer` | the rate, `weight_decay`, and a note |
//! | `algorithms`: `gradient_clipping`, `ema` | `clip_global_norm`, an average |
//! | `precision` | `half_precision` |
//! | `max_duration`, `scale_schedule_ratio` | lengths, and a note |
//!
//! Times are epochs (`10ep`), batches (`500ba`) and shares of the run (`0.06dur`). A batch is an update. With the updates
//! per epoch, or a `max_duration` in batches, lengths are in updates and rounded as Composer does.

use super::hf_args::AUTOCAST;
use super::optimizer::Optimizer;
use super::report::{Report, Unread};
use super::units::percent;
use super::{Options, TranslatedConfig, TranslationError, fitted, settings, wrong};
use crate::{Average, HalfPrecision, TrainingConfig};
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{
    Decay, Level, RunLength, ScheduleConfig, ScheduleExt, Span, WeightDecay, constant, cosine,
    exponential, linear, multi_step, piecewise_constant, polynomial, product, step_decay,
    warm_restarts,
};
use serde_json::{Map, Value};

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
        "max_seq_len",
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
        "global_train_batch_size",
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
    let given = settings(NAME, text)?;
    let mut report = Report::default();
    let training = report
        .read(NAME, &given, &UNREAD, |arguments, report| whole(arguments, options, report))?;
    Ok(TranslatedConfig::new(training, report))
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
        Some(length) => fitted(schedule, length),
        None => schedule,
    });
    if run.updates().is_none() && training.schedule.to_string().contains('%') {
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
    Duration,
}

impl Time {
    fn read(name: &str, argument: &str, value: &Value) -> Result<Self, TranslationError> {
        const ALLOWED: &str = "a time in epochs, batches or shares of the run, such as \"10ep\", \"500ba\" or \"0.06dur\"";
        let wrong = || wrong(name, argument, value, ALLOWED);
        let text = value.as_str().ok_or_else(wrong)?.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        // An exponent is no unit.
        let number: f64 = digits.trim().replace('_', "").parse().map_err(|_| wrong())?;
        let unit = match &text[digits.len()..] {
            "ep" => TimeUnit::Epochs,
            "ba" => TimeUnit::Batches,
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

/// A time in samples, tokens, iterations or seconds.
fn of_other_unit(name: &str, argument: &str, text: &str, unit: &str) -> Option<TranslationError> {
    let unit = match unit {
        "sp" => "samples",
        "tok" => "tokens",
        "iter" => "iterations of a data loader",
        "sec" => "seconds",
        _ => return None,
    };
    Some(TranslationError::Unit {
        name: name.to_string(),
        argument: argument.to_string(),
        value: text.to_string(),
        unit,
        allowed: "batches (500ba), epochs (10ep) or shares of the run (0.06dur)",
    })
}

/// The length of the run.
struct Run {
    duration: Option<Time>,
    updates_per_epoch: Option<u64>,
    /// `scale_schedule_ratio`.
    ratio: f64,
}

impl Run {
    fn read(
        arguments: &Arguments<'_>,
        options: &Options,
        report: &mut Report,
    ) -> Result<Self, TranslationError> {
        let ratio = arguments.number_or("scale_schedule_ratio", 1.0)?;
        arguments.require("scale_schedule_ratio", ratio, ratio > 0.0, "above 0")?;
        let updates_per_epoch = options.updates_per_epoch;
        let Some(value) = arguments.value("max_duration") else {
            return Ok(Self { duration: None, updates_per_epoch, ratio });
        };
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
            TimeUnit::Batches => {
                report.note(format!("run: {length} updates, RunLength::updates({length})"));
            }
            TimeUnit::Duration => {
                return Err(wrong(
                    NAME,
                    "max_duration",
                    &value,
                    "epochs or batches, such as \"10ep\"",
                ));
            }
        }
        Ok(Self { duration: Some(duration), updates_per_epoch, ratio })
    }

    /// The length of the run. Where the updates per epoch are unknown, any number of them shows what lasts longer.
    fn length(&self) -> Option<RunLength> {
        let Time { value, unit } = self.duration?;
        Some(match (unit, self.updates_per_epoch) {
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

    /// All updates of the run, if they are known.
    fn updates(&self) -> Option<f64> {
        let Time { value, unit } = self.duration?;
        match unit {
            TimeUnit::Batches => Some(value),
            _ => self.updates_per_epoch.map(|updates| value * updates as f64),
        }
    }

    /// A time as a length: in updates, rounded down as Composer does, if it can be known.
    fn span(&self, time: Time, ratio: f64) -> Span {
        let known = match time.unit {
            TimeUnit::Batches => Some(time.value * ratio),
            TimeUnit::Epochs => {
                self.updates_per_epoch.map(|updates| time.value * updates as f64 * ratio)
            }
            TimeUnit::Duration => self.updates().map(|updates| time.value * updates),
        };
        match (known, time.unit) {
            (Some(updates), _) => Span::steps(updates as u64),
            (None, TimeUnit::Duration) => Span::percent(percent(time.value)),
            (None, _) => Span::epochs(time.value * ratio),
        }
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
        match (self.arguments.value(argument), default) {
            (Some(value), _) => Time::read(self.arguments.scheduler(), argument, value),
            (None, Some(time)) => Ok(time),
            (None, None) => Err(self.arguments.missing(argument, "a time such as \"10ep\"").into()),
        }
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
            Span::Steps(0) => {
                Err(self.arguments.wrong(argument, time.value, "a time above 0").into())
            }
            span if time.value > 0.0 => Ok(span),
            _ => Err(self.arguments.wrong(argument, time.value, "a time above 0").into()),
        }
    }

    /// `t_max`; `None` if it is the whole run.
    fn t_max(&self) -> Result<Option<Span>, TranslationError> {
        let time = self.time("t_max", Some(WHOLE))?;
        let known = self.run.updates().is_some();
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
        Ok(Level::percent(percent(alpha)))
    }

    fn step(&self) -> Result<ScheduleConfig, TranslationError> {
        Ok(step_decay(self.rate, self.length("step_size", None)?, self.gamma()?).into())
    }

    fn milestones(&self) -> Result<Vec<Time>, TranslationError> {
        let list = self.arguments.list("milestones")?;
        let list = list.ok_or_else(|| self.arguments.missing("milestones", "a list of times"))?;
        let name = self.arguments.scheduler();
        list.iter().map(|value| Time::read(name, "milestones", value)).collect()
    }

    fn multi_step(&self) -> Result<ScheduleConfig, TranslationError> {
        let mut milestones = self.milestones()?;
        milestones.sort_by(|one, other| one.value.total_cmp(&other.value));
        let spans: Vec<Span> = milestones.into_iter().map(|time| self.span(time)).collect();
        let gamma = self.gamma()?;
        Ok(if spans.is_empty() {
            constant(self.rate).into()
        } else {
            multi_step(self.rate, spans, gamma).into()
        })
    }

    fn constant(&self) -> Result<ScheduleConfig, TranslationError> {
        let alpha = self.factor("alpha", 1.0)?;
        let held = held(alpha * self.rate);
        // After t_max the factor is 1.
        Ok(match self.t_max()? {
            Some(length) if alpha != 1.0 && !self.is_whole()? => {
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
        let ok = growth >= 1.0 && growth.fract() == 0.0;
        let allowed = "a whole number, at least 1: Composer rounds the cycles of another one down, one by one";
        self.arguments.require("t_mult", growth, ok, allowed)?;
        let curve = warm_restarts(self.rate, self.length("t_0", None)?).multiplier(growth);
        Ok(curve.end(self.alpha_f()?).into())
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
        let gamma = self.gamma()?;
        let mut milestones = self.milestones()?;
        milestones.sort_by(|one, other| one.value.total_cmp(&other.value));
        let (mut passed, mut later) = (0, vec![]);
        for milestone in milestones {
            match self.left(milestone, warmup, "milestones")? {
                Some(left) => later.push(left),
                None => passed += 1,
            }
        }
        let first = self.rate * gamma.powi(passed);
        let tail = match later.is_empty() {
            true => constant(first).into(),
            false => multi_step(first, later, gamma).into(),
        };
        Ok(self.warmed_up(warmup, tail))
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

    /// What is left of `t_max` after the warm-up; `None` if that is the rest of the run.
    fn after(&self, warmup: Time) -> Result<Option<Span>, TranslationError> {
        if self.t_max()?.is_none() {
            return Ok(None);
        }
        let t_max = self.time("t_max", Some(WHOLE))?;
        self.left(t_max, warmup, "t_max")?.map(Some).ok_or_else(|| {
            self.arguments.wrong("t_max", t_max.value, "a time after the warm-up").into()
        })
    }

    /// What is left of a time after the warm-up; `None` if nothing is.
    fn left(
        &self,
        time: Time,
        warmup: Time,
        argument: &str,
    ) -> Result<Option<Span>, TranslationError> {
        // A warm-up is not scaled.
        let (whole, first) = (self.span(time), self.run.span(warmup, 1.0));
        let left = match (whole, first) {
            (Span::Steps(whole), Span::Steps(first)) => Span::steps(whole.saturating_sub(first)),
            (Span::Epochs(whole), Span::Epochs(first)) => Span::epochs((whole - first).max(0.0)),
            (Span::Percent(whole), Span::Percent(first)) => Span::percent((whole - first).max(0.0)),
            // Nothing is taken away.
            (whole, _) if warmup.value == 0.0 => whole,
            _ => {
                return Err(TranslationError::NeedsUpdatesPerEpoch {
                    name: self.arguments.scheduler().to_string(),
                    argument: argument.to_string(),
                    why: "the warm-up has another unit",
                });
            }
        };
        Ok(Some(left).filter(|left| {
            !matches!(left, Span::Steps(0))
                && *left != Span::epochs(0.0)
                && *left != Span::percent(0.0)
        }))
    }

    /// From 0 to the first rate of the tail, then the tail.
    fn warmed_up(&self, warmup: Time, tail: ScheduleConfig) -> ScheduleConfig {
        match self.run.span(warmup, 1.0) {
            Span::Steps(0) => tail,
            _ if warmup.value == 0.0 => tail,
            length => tail.warmup(length).include_start().into(),
        }
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
        // Composer's own AdamW has other defaults than torch's.
        let betas = betas.or(is_relative.then_some((0.9, 0.95)));
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

//! DeepSpeed's configuration.
//!
//! | setting | becomes |
//! | --- | --- |
//! | `scheduler`: `WarmupLR`, `WarmupDecayLR`, `WarmupCosineLR`, `OneCycle`, `LRRangeTest` | the schedule |
//! | `optimizer` | the rate of a run without a scheduler, `weight_decay`, and a note |
//! | `gradient_clipping` | `clip_global_norm` |
//! | `fp16`, `bf16` | `half_precision` and its loss scale |
//! | `gradient_accumulation_steps` | `gradient_reduction`, and a note |
//!
//! Values `"auto"`, which transformers fills in, are not read. DeepSpeed's warm-ups hold the first rate for two updates,
//! because its schedulers count from −1.

use super::optimizer::Optimizer;
use super::report::{Report, Unread, has_effect};
use super::{Options, TranslatedConfig, TranslationError, at_least_1, settings, wrong};
use crate::{Group, GroupsConfig, HalfPrecision, TrainingConfig};
use anneal_control::LossScaling;
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{
    Ramp, ScheduleConfig, ScheduleExt, Span, WeightDecay, constant, cosine, inverse_time, linear,
    piecewise_constant,
};
use serde_json::Value;

const NAME: &str = "deepspeed";

const UNREAD: Unread = Unread {
    unrelated: &[
        "zero_*",
        "communication_data_type",
        "prescale_gradients",
        "gradient_predivide_factor",
        "sparse_gradients",
        "steps_per_print",
        "wall_clock_breakdown",
        "dump_state",
        "flops_profiler",
        "activation_checkpointing",
        "aio",
        "autotuning",
        "elasticity",
        "tensorboard",
        "wandb",
        "csv_monitor",
        "comet",
        "comms_logger",
        "checkpoint",
        "data_types",
        "memory_breakdown",
        "disable_allgather",
        "pipeline",
        "tensor_parallel",
        "compile",
        "timers",
        "seq_parallel_communication_data_type",
        "load_universal_checkpoint",
        "use_data_before_expert_parallelism",
        "graph_harvesting",
        "dataloader_drop_last",
    ],
    without: &[
        ("amp", "apex: half_precision has master weights, as its O2"),
        ("torch_autocast", "torch casts single operations: half_precision casts the model"),
        ("curriculum_learning", "a controller of its own: the curriculum"),
        ("progressive_layer_drop", "it belongs to the model"),
        ("data_efficiency", "it belongs to the data"),
        ("compression_training", "pruning has its own builder; quantization has no counterpart"),
        ("eigenvalue", "it belongs to quantization"),
        ("quantize_training", "it belongs to quantization"),
    ],
};

pub(super) fn translate(
    text: &str,
    options: &Options,
) -> Result<TranslatedConfig, TranslationError> {
    let mut given = settings(NAME, text)?;
    let mut report = Report::default();
    let mut auto = vec![];
    without_auto(&mut given, String::new(), &mut auto);
    if !auto.is_empty() {
        report.without(auto.join(", "), AUTO);
    }
    let is_auto =
        |argument: &str| auto.iter().any(|place| place.rsplit('.').next() == Some(argument));
    let training = report
        .read(NAME, &given, &UNREAD, |arguments, report| whole(arguments, options, report))
        .map_err(|error| match error {
            TranslationError::Peer(PeerError::Missing { name, argument, .. })
                if is_auto(argument) =>
            {
                let reason = format!("`{argument}` is {AUTO}, or write its value");
                TranslationError::Refused { name, reason }
            }
            error => error,
        })?;
    Ok(TranslatedConfig { momentum: training.1, ..TranslatedConfig::new(training.0, report) })
}

const AUTO: &str = "\"auto\": transformers fills it in; translate its TrainingArguments as hf-args";

/// Removes settings that are "auto", and lists them.
fn without_auto(value: &mut Value, place: String, auto: &mut Vec<String>) {
    let Some(entries) = value.as_object_mut() else { return };
    entries.retain(|key, value| {
        let is_auto = value.as_str() == Some("auto");
        if is_auto {
            auto.push(format!("{place}{key}"));
        }
        !is_auto
    });
    for (key, value) in entries {
        without_auto(value, format!("{place}{key}."), auto);
    }
}

type Whole = (TrainingConfig, Option<ScheduleConfig>);

fn whole(
    arguments: &Arguments<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<Whole, TranslationError> {
    let optimizer = section(arguments, "optimizer")?;
    let rate = optimizer.and_then(|(_, params)| params.get("lr")).or(None);
    let rate = match rate {
        Some(_) if options.base_lr.is_some() => return Err(TranslationError::BaseRateTwice),
        Some(rate) => Some(
            rate.as_f64()
                .filter(|&rate| rate > 0.0)
                .ok_or_else(|| wrong("optimizer", "lr", rate, "a rate above 0"))?,
        ),
        None => options.base_lr,
    };
    let mut of_groups = vec![];
    let (schedule, momentum) = match section(arguments, "scheduler")? {
        Some((kind, params)) => {
            let mut schedules = vec![];
            for params in per_group(kind, params, options)? {
                schedules.push(scheduler(kind, &params, rate, report)?);
            }
            let first = schedules[0].clone();
            of_groups = if schedules.len() > 1 { schedules } else { vec![] };
            first
        }
        None => {
            let missing =
                || arguments.missing("scheduler", "a scheduler, or an optimizer with a rate `lr`");
            (constant(rate.ok_or_else(missing)?).into(), None)
        }
    };
    if momentum.is_some() {
        report.note("the scheduler changes the momentum too: it is apart, because it needs an optimizer that follows it");
    }
    let mut training = TrainingConfig::new(schedule);
    if of_groups.is_empty() && !options.groups.is_empty() {
        let option = "names of groups: it has one value for all parameters";
        return Err(TranslationError::NotUsed { from: NAME.into(), option });
    }
    if !of_groups.is_empty() {
        let named = options.groups.iter().zip(of_groups);
        let groups = named
            .map(|((name, pattern), (rate, _))| Group::new(name, pattern.as_str()).schedule(rate));
        training.groups = Some(groups.fold(GroupsConfig::new(), GroupsConfig::group));
    }
    if let Some((kind, params)) = optimizer {
        of_optimizer(kind, params, &mut training, report)?;
    }
    let clip = arguments.not_negative_or("gradient_clipping", 0.0)?;
    training.clip_global_norm = Some(clip).filter(|&norm| norm > 0.0);
    precision(arguments, &mut training, report)?;
    batches(arguments, &mut training, report)?;
    Ok((training, momentum))
}

/// Rates that may be a list with one for each group.
const PER_GROUP: &[&str] =
    &["warmup_min_lr", "warmup_max_lr", "cycle_min_lr", "cycle_max_lr", "lr_range_test_min_lr"];

/// The parameters of a scheduler for each group; for all parameters, if there is one value of each.
fn per_group(
    kind: &str,
    params: &Value,
    options: &Options,
) -> Result<Vec<Value>, TranslationError> {
    let list = |name: &&&str| params.get(**name).and_then(Value::as_array);
    let lists: Vec<(&str, usize)> =
        PER_GROUP.iter().filter_map(|name| Some((*name, list(&name)?.len()))).collect();
    let Some(&(argument, count)) = lists.iter().find(|(_, count)| *count > 1) else {
        return Ok(vec![params.clone()]);
    };
    if let Some((name, other)) = lists.iter().find(|(_, other)| ![1, count].contains(other)) {
        let allowed = format!("as many values as {argument}, {count}");
        return Err(wrong(kind, name, &(*other).into(), &allowed));
    }
    if options.groups.len() != count {
        return Err(TranslationError::Groups {
            name: kind.to_string(),
            argument: argument.to_string(),
            count,
            named: options.groups.len(),
        });
    }
    let of_group = |index: usize| {
        let mut params = params.clone();
        for name in PER_GROUP {
            if let Some(one) = params.get(*name).and_then(|list| list.get(index)).cloned() {
                params[*name] = one;
            }
        }
        params
    };
    Ok((0..count).map(of_group).collect())
}

/// The type and the parameters of a section.
fn section<'a>(
    arguments: &Arguments<'a>,
    name: &'static str,
) -> Result<Option<(&'a str, &'a Value)>, PeerError> {
    const EMPTY: &Value = &Value::Null;
    let Some(section) = arguments.value(name) else { return Ok(None) };
    let kind = section.get("type").and_then(Value::as_str);
    let allowed = "an object with a `type` and `params`";
    let kind = kind.ok_or_else(|| arguments.wrong(name, section, allowed))?;
    Ok(Some((kind, section.get("params").unwrap_or(EMPTY))))
}

const NO_PARAMS: fn() -> Value = || Value::Object(serde_json::Map::new());

fn of_optimizer(
    kind: &str,
    params: &Value,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), TranslationError> {
    let none = NO_PARAMS();
    let params = if params.is_null() { &none } else { params };
    let known = Unread {
        unrelated: &["torch_adam", "fused", "foreach", "bias_correction", "amsgrad"],
        without: &[],
    };
    report.read(kind, params, &known, |arguments, report| {
        arguments.ignore("lr");
        let decay = arguments.not_negative_or("weight_decay", 0.0)?;
        if decay > 0.0 {
            training.weight_decay = Some(WeightDecay::coupled(decay));
            report.note("DeepSpeed decays every weight, unless the model's groups say otherwise: set no_weight_decay");
        }
        let betas = arguments.value("betas").and_then(Value::as_array);
        let betas = betas.and_then(|betas| betas.first()?.as_f64().zip(betas.get(1)?.as_f64()));
        let decoupled = arguments.flag_or("adam_w_mode", true)?;
        // Its Adam is AdamW, unless adam_w_mode is false.
        let name = match kind.to_lowercase() {
            name if name == "adam" && decoupled => "AdamW".to_string(),
            _ => kind.to_string(),
        };
        let epsilon = arguments.optional_number("eps")?;
        let momentum = arguments.optional_number("momentum")?;
        Optimizer { name, betas, epsilon, momentum, nesterov: false }.say(report, decay);
        Ok(())
    })
}

fn precision(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), TranslationError> {
    let (f16, bf16) =
        (arguments.value("fp16"), arguments.value("bf16").or(arguments.value("bfloat16")));
    let on = |section: Option<&Value>| section.is_some_and(|one| has_effect(&one["enabled"]));
    arguments.require(
        "bf16",
        on(bf16),
        !(on(f16) && on(bf16)),
        "not enabled with fp16; DeepSpeed takes one of them",
    )?;
    if on(bf16) {
        training.half_precision = Some(HalfPrecision::bf16());
    }
    let Some(f16) = f16.filter(|f16| on(Some(f16))) else { return Ok(()) };
    let known = Unread {
        unrelated: &["auto_cast", "fp16_master_weights_and_grads", "opt_level"],
        without: &[("consecutive_hysteresis", "the scale falls at every overflow")],
    };
    let scaling = report.read("fp16", f16, &known, |arguments, report| {
        arguments.ignore("enabled");
        let fixed = arguments.not_negative_or("loss_scale", 0.0)?;
        let power = arguments.count_or("initial_scale_power", 16)?;
        arguments.require("initial_scale_power", power, power <= 127, "at most 127")?;
        let window = arguments.count_or("loss_scale_window", 1_000)?;
        let least = arguments.not_negative_or("min_loss_scale", 1.0)?;
        let hysteresis = arguments.count_or("hysteresis", 2)?;
        if fixed > 0.0 {
            return Ok::<_, TranslationError>(LossScaling::fixed(fixed));
        }
        if hysteresis > 1 {
            report.without(
                "fp16.hysteresis",
                format!("DeepSpeed lowers the scale only after {hysteresis} overflows, here each one lowers it"),
            );
        }
        let scale = 2f64.powi(power as i32);
        Ok(LossScaling::new().scale(scale).growth_interval(window).minimum(least))
    })?;
    let built = scaling.build().map(drop);
    built.map_err(|error| TranslationError::Invalid {
        name: "fp16".into(),
        error: error.to_string(),
    })?;
    training.half_precision =
        Some(HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() });
    Ok(())
}

fn batches(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), PeerError> {
    let accumulation = at_least_1(arguments, "gradient_accumulation_steps")?.unwrap_or(1);
    let all = at_least_1(arguments, "train_batch_size")?;
    let of_device = at_least_1(arguments, "train_micro_batch_size_per_gpu")?;
    report.accumulation(accumulation, training);
    match (of_device, all) {
        (Some(items), _) => report.batches(items),
        (None, Some(items)) => report.note(format!(
            "batches of {items} items over all devices and accumulated batches: set it in your data loader"
        )),
        (None, None) => {}
    }
    Ok(())
}

const SCHEDULERS: &[&str] =
    &["WarmupLR", "WarmupDecayLR", "WarmupCosineLR", "OneCycle", "LRRangeTest"];

fn scheduler(
    kind: &str,
    params: &Value,
    rate: Option<f64>,
    report: &mut Report,
) -> Result<(ScheduleConfig, Option<ScheduleConfig>), TranslationError> {
    let none = NO_PARAMS();
    let params = if params.is_null() { &none } else { params };
    Arguments::read(kind, params, |arguments| {
        arguments.ignore("last_batch_iteration");
        Ok(match kind {
            "WarmupLR" => (warmup(arguments, rate, None)?, None),
            "WarmupDecayLR" => {
                let total = arguments.length("total_num_steps")?;
                (warmup(arguments, rate, Some(total))?, None)
            }
            "WarmupCosineLR" => (warmup_cosine(arguments, rate)?, None),
            "OneCycle" => one_cycle(arguments)?,
            "LRRangeTest" => {
                report.note("a range test: find_rate runs one and suggests a rate, see docs/finding_rates.md");
                (range_test(arguments)?, None)
            }
            kind => return Err(PeerError::unknown_scheduler(NAME, kind, SCHEDULERS)),
        })
    })
    .map_err(Into::into)
}

/// One rate; DeepSpeed also takes one for each group.
fn one(arguments: &Arguments<'_>, name: &'static str) -> Result<Option<f64>, PeerError> {
    let allowed = "one rate, at least 0, or a list with one for each group";
    let Some(value) = arguments.value(name) else { return Ok(None) };
    let rate = match value.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_f64(),
        Some(_) => None,
        None => value.as_f64(),
    };
    let rate = rate.filter(|&rate| rate >= 0.0 && rate.is_finite());
    rate.map(Some).ok_or_else(|| arguments.wrong(name, value, allowed))
}

/// The shape of a warm-up, and its length.
fn ramp(arguments: &Arguments<'_>) -> Result<(bool, u64), PeerError> {
    let updates = arguments.count_or("warmup_num_steps", 1_000)?;
    arguments.require("warmup_num_steps", updates, updates > 0, "a whole number, at least 1")?;
    let is_linear = arguments.choice("warmup_type", &["log", "linear"])? == "linear";
    Ok((is_linear, updates.max(2)))
}

/// The lowest rate for an update, a rise over `updates` updates, and `after`, which begins at the highest rate. The
/// logarithmic rise has low + (high − low) · ln t / ln n at its update t of n.
fn risen(
    after: impl Into<ScheduleConfig>,
    (low, high): (f64, f64),
    (is_linear, updates): (bool, u64),
) -> ScheduleConfig {
    let after = after.into();
    if low == high {
        return after.delay(Span::steps(updates + 1)).into();
    }
    let rise = after.warmup(Span::steps(updates)).start(low).include_start();
    let rise = if is_linear { rise } else { rise.ramp(Ramp::Logarithmic).include_peak() };
    rise.delay(Span::steps(1)).into()
}

fn warmup(
    arguments: &Arguments<'_>,
    rate: Option<f64>,
    total: Option<u64>,
) -> Result<ScheduleConfig, PeerError> {
    let low = one(arguments, "warmup_min_lr")?.unwrap_or(0.0);
    let usual = if total.is_some() { Some(1e-3) } else { rate };
    let high = one(arguments, "warmup_max_lr")?.or(usual);
    let high = high.ok_or_else(|| {
        arguments.missing("warmup_max_lr", "a rate, unless the optimizer has one")
    })?;
    arguments.require(
        "warmup_max_lr",
        high,
        high > 0.0 && high >= low,
        "above 0, at least warmup_min_lr",
    )?;
    let (is_linear, updates) = ramp(arguments)?;
    let ramp = (is_linear, updates);
    let Some(total) = total else { return Ok(risen(constant(high), (low, high), ramp)) };
    let allowed = format!("more than the {updates} updates of the warm-up");
    arguments.require("total_num_steps", total, total > updates, &allowed)?;
    let fall = linear(high, low).length(Span::steps(total - updates));
    // The fall ends one update after the run.
    Ok(risen(fall, (low, high), ramp).truncate().into())
}

fn warmup_cosine(
    arguments: &Arguments<'_>,
    rate: Option<f64>,
) -> Result<ScheduleConfig, PeerError> {
    const ALLOWED: &str = "given as `lr` of the optimizer, or as the base rate";
    let rate = rate.ok_or_else(|| arguments.missing("lr", ALLOWED))?;
    let total = arguments.length("total_num_steps")?;
    let share = |name, default| {
        let share = arguments.number_or(name, default)?;
        arguments.require(name, share, (0.0..=1.0).contains(&share), "in [0, 1]")
    };
    let (low, end) = (share("warmup_min_ratio", 0.0)? * rate, share("cos_min_ratio", 1e-4)? * rate);
    let (is_linear, updates) = ramp(arguments)?;
    let allowed = format!("more than the {updates} updates of the warm-up");
    arguments.require("total_num_steps", total, total > updates, &allowed)?;
    let length = Span::steps(updates);
    let rise: ScheduleConfig = match is_linear {
        true => linear(low, rate).length(length).into(),
        false if low < rate => {
            let rise = constant(rate).warmup(length).ramp(Ramp::Logarithmic).start(low);
            // It fills its part, so it leaves nothing of the constant.
            rise.include_start().include_peak().replace().into()
        }
        false => constant(rate).into(),
    };
    // The cosine begins with its second rate, and ends one update after the run.
    let fall = cosine(rate).end(end).length(Span::steps(total - updates)).phase(Span::steps(1));
    Ok(match low == 0.0 && is_linear {
        true => rise.delay(Span::steps(1)).then(Span::steps(updates + 1), fall),
        // The very first rate is 0, whatever the lowest one is.
        false => nothing().then(Span::steps(1), rise).then(length, fall),
    }
    .truncate()
    .into())
}

fn nothing() -> ScheduleConfig {
    piecewise_constant(0.0, [], []).into()
}

fn one_cycle(
    arguments: &Arguments<'_>,
) -> Result<(ScheduleConfig, Option<ScheduleConfig>), PeerError> {
    let required = |name| {
        let rate = one(arguments, name)?;
        rate.ok_or_else(|| arguments.missing(name, "a rate"))
    };
    let (low, high) = (required("cycle_min_lr")?, required("cycle_max_lr")?);
    arguments.require("cycle_max_lr", high, high > 0.0, "above 0")?;
    let up = arguments.count_or("cycle_first_step_size", 2_000)?;
    arguments.require("cycle_first_step_size", up, up > 0, "at least 1")?;
    let down = arguments.count_or("cycle_second_step_size", up)?;
    let first_stairs = stairs(arguments, "cycle_first_stair_count", 0, up)?;
    let second_stairs = stairs(arguments, "cycle_second_stair_count", first_stairs, down)?;
    let every = arguments.count_or("decay_step_size", 0)?;
    let decay = arguments.not_negative_or("decay_lr_rate", 0.0)?;
    let cycles_momentum = arguments.flag_or("cycle_momentum", true)?;
    let momentum = |name, default| Ok(one(arguments, name)?.unwrap_or(default));
    let (least, most) = (momentum("cycle_min_mom", 0.8)?, momentum("cycle_max_mom", 0.9)?);
    let grows = arguments.not_negative_or("decay_mom_rate", 0.0)?;
    arguments.require(
        "decay_mom_rate",
        grows,
        grows == 0.0 || every == 0,
        "0: the momentum would grow past 1",
    )?;
    let decays = every > 0 && decay > 0.0 && low > 0.0;
    let after = decays.then(|| inverse_time(low, decay, Span::steps(every)).into());
    let half = |from: f64, to: f64, length: u64, stairs: u64| match stairs {
        0 => linear(from, to).into(),
        stairs => flight(from, to, length, stairs),
    };
    let cycle = |from: f64, to: f64, after: Option<ScheduleConfig>| -> ScheduleConfig {
        let rise = half(from, to, up, first_stairs);
        let held = || if from > 0.0 { constant(from).into() } else { nothing() };
        let fall: ScheduleConfig = match (down, second_stairs, &after) {
            (0, ..) => return rise.then(Span::steps(up), after.unwrap_or_else(held)).into(),
            // It holds its end.
            (down, 0, None) => {
                return rise
                    .then(Span::steps(up), linear(to, from).length(Span::steps(down)))
                    .into();
            }
            (_, 0, _) => linear(to, from).into(),
            // The top of the rise is a stair of its own, of one update.
            (down, stairs, _) => falling_flight(from, to, down, stairs),
        };
        rise.then(Span::steps(up), fall).then(Span::steps(down), after.unwrap_or_else(held)).into()
    };
    let momentum = cycles_momentum.then(|| cycle(most, least, None));
    Ok((cycle(low, high, after), momentum))
}

/// The stairs of half a cycle, 0 for none.
fn stairs(
    arguments: &Arguments<'_>,
    argument: &'static str,
    usual: u64,
    length: u64,
) -> Result<u64, PeerError> {
    let count = arguments.whole_or(argument, usual as i64)?.max(0) as u64;
    let ok = count <= MOST_STAIRS.min(length);
    let allowed = "at most 100, and not more than the updates: 0 is a straight line, which so many stairs resemble";
    arguments.require(argument, count, ok || length == 0, allowed)
}

/// More stairs are no list that one reads.
const MOST_STAIRS: u64 = 100;

/// A rise in stairs, each of them at the rate that the line from `from` to `to` has at its beginning.
fn flight(from: f64, to: f64, length: u64, stairs: u64) -> ScheduleConfig {
    let rate = |stair: u64| from + (to - from) * stair as f64 / stairs as f64;
    let begins: Vec<u64> = (1..stairs).map(|stair| (stair * length).div_ceil(stairs)).collect();
    let at = begins.into_iter().map(Span::steps).collect::<Vec<_>>();
    piecewise_constant(from, at, (1..stairs).map(rate).collect::<Vec<_>>()).into()
}

/// The fall from `to` to `from`, each stair at the rate that the line has at its end.
fn falling_flight(from: f64, to: f64, length: u64, stairs: u64) -> ScheduleConfig {
    let rate = |stair: u64| from + (to - from) * stair as f64 / stairs as f64;
    // Stair s, counted from below, is left when less than s / stairs of the length is left.
    let begin = |stair: u64| length - (stair * length).div_ceil(stairs) + 1;
    let left = (1..=stairs).rev().filter(|&stair| begin(stair) < length);
    let (at, rates): (Vec<Span>, Vec<f64>) =
        left.map(|stair| (Span::steps(begin(stair)), rate(stair - 1))).unzip();
    piecewise_constant(to, at, rates).into()
}

/// The intervals after which a range test ends here; DeepSpeed's never does.
const INTERVALS: u64 = 1_000;

fn range_test(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let low = one(arguments, "lr_range_test_min_lr")?.unwrap_or(1e-3);
    arguments.require("lr_range_test_min_lr", low, low > 0.0, "above 0")?;
    let size = arguments.count_or("lr_range_test_step_size", 2_000)?;
    arguments.require(
        "lr_range_test_step_size",
        size,
        (1..=1_000_000).contains(&size),
        "1 to 1,000,000",
    )?;
    let rate = arguments.not_negative_or("lr_range_test_step_rate", 1.0)?;
    let top = low * (1.0 + rate * INTERVALS as f64);
    Ok(match arguments.flag_or("lr_range_test_staircase", false)? {
        true => {
            linear(low, top).length(Span::steps(INTERVALS)).truncate().stretch(size as f64).into()
        }
        false => linear(low, top).length(Span::steps(INTERVALS * size)).truncate().into(),
    })
}

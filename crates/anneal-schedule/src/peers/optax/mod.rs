//! optax: `optax.schedules`, as of 0.2.8: functions of the step count.
//!
//! | schedule | arguments |
//! | --- | --- |
//! | `constant_schedule` | `value` |
//! | `polynomial_schedule` | `init_value`, `end_value`, `power`, `transition_steps`, `transition_begin` = 0 |
//! | `linear_schedule` | `init_value`, `end_value`, `transition_steps`, `transition_begin` = 0 |
//! | `exponential_decay` | `init_value`, `transition_steps`, `decay_rate`, `transition_begin` = 0, `staircase` = false, `end_value` = none |
//! | `cosine_decay_schedule` | `init_value`, `decay_steps`, `alpha` = 0, `exponent` = 1 |
//! | `piecewise_constant_schedule` | `init_value`, `boundaries_and_scales` = none |
//! | `piecewise_interpolate_schedule` | `interpolate_type` (`linear` or `cosine`), `init_value`, `boundaries_and_scales` = none |
//! | `linear_onecycle_schedule` | `transition_steps`, `peak_value`, `pct_start` = 0.3, `pct_final` = 0.85, `div_factor` = 25, `final_div_factor` = 10⁴ |
//! | `cosine_onecycle_schedule` | `transition_steps`, `peak_value`, `pct_start` = 0.3, `div_factor` = 25, `final_div_factor` = 10⁴ |
//! | `warmup_constant_schedule` | `init_value`, `peak_value`, `warmup_steps` |
//! | `warmup_cosine_decay_schedule` | `init_value`, `peak_value`, `warmup_steps`, `decay_steps`, `end_value` = 0, `exponent` = 1 |
//! | `warmup_exponential_decay_schedule` | `init_value`, `peak_value`, `warmup_steps`, and those of `exponential_decay` except its `init_value` |
//! | `sgdr_schedule` | `cosine_kwargs`: a list of the arguments of `warmup_cosine_decay_schedule` |
//! | `join_schedules` | `schedules`: a list of `{"name": …, "args": {…}}`; `boundaries` |
//!
//! `boundaries_and_scales` is an object such as `{"100": 0.1}`. Rates are at least 0 and steps are whole
//! numbers. The base rate is not used: these schedules state their own rates.
//!
//! A translation follows optax even where that is surprising:
//! - `transition_steps` ≤ 0 (and a plain warm-up of 0 updates) holds `init_value` forever; so does a
//!   `decay_rate` of 0. A negative `transition_begin` counts as 0.
//! - `end_value` of `exponential_decay` bounds the rate even before the decay starts: from below if
//!   `decay_rate` < 1, otherwise from above.
//! - Points of a one-cycle that round to the same update merge, with the later scale.
//! - In `join_schedules`, the last passed boundary in list order counts; excess entries of the longer list
//!   are ignored.
//!
//! Because no rate can be NaN, infinite or negative, these are not accepted: a negative `power`, `exponent`,
//! `alpha` or `decay_rate`; in `cosine_decay_schedule` and schedules built on it, `decay_steps` that leave no
//! update for the decay, where optax raises an error too; negative boundaries and warm-ups, which would start
//! a schedule in its middle.
//!
//! | refused | reason |
//! | --- | --- |
//! | `inject_hyperparams`, `inject_stateful_hyperparams`, `WrappedSchedule`, `StatefulSchedule` | wrap an optimizer or carry state |
//! | `scale_by_schedule`, `scale_by_learning_rate` | transform gradients by a schedule: translate the schedule |
//! | `reduce_on_plateau` | reacts to the loss |

mod cosine;
mod join;

pub use cosine::OptaxCosine;
pub use join::OptaxJoin;

use super::forms::{hold, line, powers, wave};
use super::{Arguments, PeerError, Translation, find};
use crate::{
    AnnealStrategy, RunLength, ScheduleConfig, ScheduleExt, Sequence, Span, piecewise_constant,
    piecewise_interpolate, sequence,
};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) type Read = fn(&Arguments<'_>) -> Result<ScheduleConfig, PeerError>;

pub(super) const SCHEDULES: &[(&str, Read)] = &[
    ("constant_schedule", constant_schedule),
    ("polynomial_schedule", polynomial_schedule),
    ("linear_schedule", linear_schedule),
    ("exponential_decay", exponential_decay),
    ("cosine_decay_schedule", cosine_decay_schedule),
    ("piecewise_constant_schedule", piecewise_constant_schedule),
    ("piecewise_interpolate_schedule", piecewise_interpolate_schedule),
    ("linear_onecycle_schedule", linear_onecycle_schedule),
    ("cosine_onecycle_schedule", cosine_onecycle_schedule),
    ("warmup_constant_schedule", warmup_constant_schedule),
    ("warmup_cosine_decay_schedule", warmup_cosine_decay_schedule),
    ("warmup_exponential_decay_schedule", warmup_exponential_decay_schedule),
    ("sgdr_schedule", sgdr_schedule),
    ("join_schedules", join_schedules),
];

const STATEFUL: &str = "it carries state; translate the schedule that it injects";
const TRANSFORM: &str = "it transforms gradients; translate the schedule that it scales by";

const REFUSED: &[(&str, &str)] = &[
    ("inject_hyperparams", STATEFUL),
    ("inject_stateful_hyperparams", STATEFUL),
    ("WrappedSchedule", STATEFUL),
    ("StatefulSchedule", STATEFUL),
    ("scale_by_schedule", TRANSFORM),
    ("scale_by_learning_rate", TRANSFORM),
    ("reduce_on_plateau", "it reacts to the loss; use a plateau controller"),
];

/// Translates the schedule `name`; see the [module](self) for the names and arguments.
///
/// # Errors
/// [`PeerError`] with what is unknown, wrong or refused.
pub fn translate(name: &str, arguments: &Value, _base_lr: f64) -> Result<Translation, PeerError> {
    schedule(name, arguments).map(Translation::from)
}

fn schedule(name: &str, arguments: &Value) -> Result<ScheduleConfig, PeerError> {
    Arguments::read(name, arguments, find("optax", name, SCHEDULES, REFUSED)?)
}

fn constant_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    Ok(hold(arguments.rate("value")?))
}

fn polynomial_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let power = arguments.not_negative("power")?;
    transition(arguments, power)
}

fn linear_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    transition(arguments, 1.0)
}

fn transition(arguments: &Arguments<'_>, power: f64) -> Result<ScheduleConfig, PeerError> {
    let (start, end) = (arguments.rate("init_value")?, arguments.rate("end_value")?);
    let steps = arguments.whole("transition_steps")?;
    let begin = arguments.whole_or("transition_begin", 0)?;
    Ok(after(begin, start, line_or_hold(start, end, power, steps)))
}

/// Without a transition, the start rate is held forever.
fn line_or_hold(start: f64, end: f64, power: f64, steps: i64) -> ScheduleConfig {
    match u64::try_from(steps) {
        Ok(steps @ 1..) => line(start, end, power, steps),
        _ => hold(start),
    }
}

/// `schedule` after `begin` updates at `rate`.
fn after(begin: i64, rate: f64, schedule: ScheduleConfig) -> ScheduleConfig {
    match u64::try_from(begin) {
        Ok(begin @ 1..) if schedule != hold(rate) => {
            hold(rate).then(Span::steps(begin), schedule).into()
        }
        _ => schedule,
    }
}

fn exponential_decay(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    exponential_from(arguments, arguments.rate("init_value")?)
}

fn exponential_from(arguments: &Arguments<'_>, start: f64) -> Result<ScheduleConfig, PeerError> {
    let factor = arguments.not_negative("decay_rate")?;
    let steps = arguments.whole("transition_steps")?;
    let begin = arguments.whole_or("transition_begin", 0)?;
    let staircase = arguments.flag_or("staircase", false)?;
    let end = arguments.optional_number("end_value")?;
    let per = match u64::try_from(steps) {
        Ok(steps @ 1..) if factor > 0.0 => steps,
        _ => return Ok(hold(start)),
    };
    let decayed = powers(start, factor, per, staircase);
    let Some(end) = end else { return Ok(after(begin, start, decayed)) };
    let bounded = if factor < 1.0 {
        if end >= start {
            return Ok(hold(end));
        }
        if end > 0.0 { decayed.floor(end).into() } else { decayed }
    } else {
        if end <= start {
            let end = arguments.require("end_value", end, end >= 0.0, RATE)?;
            return Ok(hold(end));
        }
        // Only growth reaches its bound.
        if decayed == hold(start) { decayed } else { decayed.cap(end).into() }
    };
    Ok(after(begin, start, bounded))
}

const RATE: &str = "a rate, at least 0";

fn cosine_decay_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("init_value")?;
    let steps = arguments.length("decay_steps")?;
    let alpha = arguments.not_negative_or("alpha", 0.0)?;
    Ok(wave(start, alpha, arguments.not_negative_or("exponent", 1.0)?, steps))
}

fn piecewise_constant_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("init_value")?;
    let scales = boundaries_and_scales(arguments)?;
    if scales.is_empty() {
        return Ok(hold(start));
    }
    // A boundary below 0 has been passed at the first update.
    let boundaries: Vec<Span> = scales.keys().map(|&at| steps(at)).collect();
    let scales: Vec<f64> = scales.into_values().collect();
    Ok(piecewise_constant(start, boundaries, scales).scales().into())
}

fn piecewise_interpolate_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    const TYPES: &str = "linear, cosine";
    let kind = arguments.value("interpolate_type");
    let anneal = match kind.map(|kind| (kind, kind.as_str())) {
        Some((_, Some("linear"))) => AnnealStrategy::Linear,
        Some((_, Some("cosine"))) => AnnealStrategy::Cosine,
        Some((kind, _)) => return Err(arguments.wrong("interpolate_type", kind, TYPES)),
        None => return Err(arguments.missing("interpolate_type", TYPES)),
    };
    let start = arguments.rate("init_value")?;
    let scales = boundaries_and_scales(arguments)?;
    let first = scales.keys().next().copied().unwrap_or(0);
    arguments.require("boundaries_and_scales", first, first >= 0, "boundaries of at least 0")?;
    Ok(interpolate(anneal, start, scales))
}

fn interpolate(anneal: AnnealStrategy, start: f64, scales: BTreeMap<i64, f64>) -> ScheduleConfig {
    if scales.is_empty() {
        return hold(start);
    }
    let boundaries: Vec<Span> = scales.keys().map(|&at| steps(at)).collect();
    let scales: Vec<f64> = scales.into_values().collect();
    piecewise_interpolate(start, boundaries, scales).scales().anneal(anneal).into()
}

fn steps(at: i64) -> Span {
    Span::steps(u64::try_from(at).unwrap_or(0))
}

/// The scale at each boundary, in the order of the boundaries.
fn boundaries_and_scales(arguments: &Arguments<'_>) -> Result<BTreeMap<i64, f64>, PeerError> {
    const ARGUMENT: &str = "boundaries_and_scales";
    const ALLOWED: &str =
        "an object of boundaries and scales of at least 0, such as {\"100\": 0.1}";
    let Some(value) = arguments.value(ARGUMENT) else { return Ok(BTreeMap::new()) };
    let wrong = || arguments.wrong(ARGUMENT, value, ALLOWED);
    let mut scales = BTreeMap::new();
    for (boundary, scale) in value.as_object().ok_or_else(wrong)? {
        let boundary = whole(boundary).ok_or_else(wrong)?;
        let scale = scale.as_f64().filter(|&scale| scale >= 0.0).ok_or_else(wrong)?;
        if scales.insert(boundary, scale).is_some() {
            return Err(arguments.wrong(ARGUMENT, value, "each boundary once"));
        }
    }
    Ok(scales)
}

/// A whole number, possibly written as a float.
fn whole(text: &str) -> Option<i64> {
    let float = || {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
    };
    text.parse().ok().or_else(float)
}

fn linear_onecycle_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let cycle = Cycle::read(arguments)?;
    let turn = cycle.update("pct_start", 0.3)?;
    let back = cycle.update("pct_final", 0.85)?;
    // A later entry replaces an earlier one at the same update.
    let mut scales = BTreeMap::from([(turn, cycle.div)]);
    scales.insert(back, 1.0 / cycle.div);
    scales.insert(cycle.steps, 1.0 / cycle.final_div);
    Ok(interpolate(AnnealStrategy::Linear, cycle.start, scales))
}

fn cosine_onecycle_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let cycle = Cycle::read(arguments)?;
    let mut scales = BTreeMap::from([(cycle.update("pct_start", 0.3)?, cycle.div)]);
    scales.insert(cycle.steps, 1.0 / (cycle.div * cycle.final_div));
    Ok(interpolate(AnnealStrategy::Cosine, cycle.start, scales))
}

/// The common part of the two one-cycle schedules.
struct Cycle<'r, 'a> {
    arguments: &'r Arguments<'a>,
    steps: i64,
    start: f64,
    div: f64,
    final_div: f64,
}

impl<'r, 'a> Cycle<'r, 'a> {
    fn read(arguments: &'r Arguments<'a>) -> Result<Self, PeerError> {
        let divisor = |argument, default| {
            let divisor = arguments.number_or(argument, default)?;
            arguments.require(argument, divisor, divisor > 0.0, "a number above 0")
        };
        let (peak, div) = (arguments.rate("peak_value")?, divisor("div_factor", 25.0)?);
        let steps = arguments.whole("transition_steps")?;
        Ok(Self {
            arguments,
            steps: arguments.require("transition_steps", steps, steps > 0, "at least 1")?,
            start: peak / div,
            div,
            final_div: divisor("final_div_factor", 1e4)?,
        })
    }

    /// The update at a share of the cycle, rounded towards 0 as Python's `int` does.
    fn update(&self, argument: &'static str, default: f64) -> Result<i64, PeerError> {
        let share = self.arguments.number_or(argument, default)?;
        let update = (share * self.steps as f64) as i64;
        self.arguments.require(argument, share, update >= 0, "a share of at least 0")?;
        Ok(update)
    }
}

fn warmup_constant_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let (start, peak) = (arguments.rate("init_value")?, arguments.rate("peak_value")?);
    Ok(line_or_hold(start, peak, 1.0, arguments.whole("warmup_steps")?))
}

fn warmup_cosine_decay_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    Ok(warmup_cosine(arguments)?.0)
}

/// The schedule and its length.
fn warmup_cosine(arguments: &Arguments<'_>) -> Result<(ScheduleConfig, u64), PeerError> {
    let (start, peak) = (arguments.rate("init_value")?, arguments.rate("peak_value")?);
    let (warmup, total) = (arguments.count("warmup_steps")?, arguments.count("decay_steps")?);
    let end = arguments.not_negative_or("end_value", 0.0)?;
    let exponent = arguments.not_negative_or("exponent", 1.0)?;
    let allowed = format!("more than the {warmup} updates of the warm-up");
    arguments.require("decay_steps", total, total > warmup, &allowed)?;
    let alpha = if peak == 0.0 { 0.0 } else { end / peak };
    let decay = wave(peak, alpha, exponent, total - warmup);
    Ok((warmed_up(start, peak, warmup, decay), total))
}

fn warmup_exponential_decay_schedule(
    arguments: &Arguments<'_>,
) -> Result<ScheduleConfig, PeerError> {
    let (start, peak) = (arguments.rate("init_value")?, arguments.rate("peak_value")?);
    let warmup = arguments.count("warmup_steps")?;
    Ok(warmed_up(start, peak, warmup, exponential_from(arguments, peak)?))
}

/// A linear rise from `start` to `peak`, then `schedule`.
fn warmed_up(start: f64, peak: f64, warmup: u64, schedule: ScheduleConfig) -> ScheduleConfig {
    if warmup == 0 {
        return schedule;
    }
    line(start, peak, 1.0, warmup).then(Span::steps(warmup), schedule).into()
}

fn sgdr_schedule(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    const ALLOWED: &str = "a list of arguments of warmup_cosine_decay_schedule, at least one";
    let cycles = arguments
        .list("cosine_kwargs")?
        .ok_or_else(|| arguments.missing("cosine_kwargs", ALLOWED))?;
    let (mut schedules, mut boundaries, mut end) = (vec![], vec![], 0u64);
    for cycle in cycles {
        let (schedule, length) =
            Arguments::read("warmup_cosine_decay_schedule", cycle, warmup_cosine)?;
        schedules.push(schedule);
        end = end.saturating_add(length);
        boundaries.push(end);
    }
    arguments.require("cosine_kwargs", schedules.len(), !schedules.is_empty(), ALLOWED)?;
    Ok(join(schedules, boundaries))
}

fn join_schedules(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    const ALLOWED: &str = "a list of {\"name\": …, \"args\": {…}}, at least one";
    let list =
        arguments.list("schedules")?.ok_or_else(|| arguments.missing("schedules", ALLOWED))?;
    let nested = |value: &Value| {
        let object = value.as_object().filter(|object| object.len() == 2);
        let parts =
            object.and_then(|object| Some((object.get("name")?.as_str()?, object.get("args")?)));
        let (name, args) = parts.ok_or_else(|| arguments.wrong("schedules", value, ALLOWED))?;
        schedule(name, args)
    };
    let schedules: Vec<ScheduleConfig> = list.iter().map(nested).collect::<Result<_, _>>()?;
    let boundaries = arguments.counts("boundaries")?;
    arguments.require("schedules", schedules.len(), !schedules.is_empty(), ALLOWED)?;
    Ok(join(schedules, boundaries))
}

/// Schedule i + 1 takes over at boundary i, unless a later one already has.
fn join(schedules: Vec<ScheduleConfig>, boundaries: Vec<u64>) -> ScheduleConfig {
    let begins = [0].into_iter().chain(boundaries);
    let joined: Vec<(u64, ScheduleConfig)> = begins.zip(schedules).collect();
    let (mut parts, mut end) = (vec![], None);
    for (begin, schedule) in joined.into_iter().rev() {
        if end.is_none_or(|end| begin < end) {
            let length = end.map_or(Span::Rest, |end| Span::steps(end - begin));
            parts.push((length, schedule));
            end = Some(begin);
        }
    }
    parts.reverse();
    if parts.len() == 1 {
        return parts.remove(0).1;
    }
    let whole: Sequence = sequence(parts.clone());
    if whole.clone().resolve(RunLength::unbounded()).is_ok() {
        return whole.into();
    }
    OptaxJoin::new(parts).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(name: &str, arguments: Value) -> String {
        translate(name, &arguments, 1.0).unwrap().rate.to_string()
    }

    fn error(name: &str, arguments: Value) -> String {
        match translate(name, &arguments, 1.0) {
            Err(error) => error.to_string(),
            Ok(translation) => translation.schedule().unwrap_err().to_string(),
        }
    }

    #[test]
    fn a_translation_reads_as_a_user_would_write_it() {
        let warmup_cosine =
            json!({ "init_value": 0, "peak_value": 0.1, "warmup_steps": 10, "decay_steps": 100 });
        assert_eq!(
            text("warmup_cosine_decay_schedule", warmup_cosine.clone()),
            "linear(0.0, 0.1).length(10).then(10, cosine(0.1).length(90))"
        );
        assert_eq!(
            text(
                "exponential_decay",
                json!({ "init_value": 0.1, "transition_steps": 30, "decay_rate": 0.5, "staircase": true, "end_value": 0.01 })
            ),
            "step_decay(0.1, 30, 0.5).floor(0.01)"
        );
        assert_eq!(
            text(
                "piecewise_constant_schedule",
                json!({ "init_value": 0.1, "boundaries_and_scales": { "100": 0.5, "20": 0.1 } })
            ),
            "piecewise_constant(0.1, [20, 100], [0.1, 0.5]).scales()"
        );
        assert_eq!(
            text("constant_schedule", json!({ "value": 0 })),
            "piecewise_constant(0.0, [], [])"
        );
        let cut = json!({
            "schedules": [
                { "name": "warmup_cosine_decay_schedule", "args": warmup_cosine },
                { "name": "constant_schedule", "args": { "value": 0.5 } },
            ],
            "boundaries": [50],
        });
        assert_eq!(
            text("join_schedules", cut),
            "optax_join([(50, linear(0.0, 0.1).length(10).then(10, cosine(0.1).length(90))), (rest, constant(0.5))])"
        );
    }

    #[test]
    fn the_last_boundary_passed_counts() {
        let level = |value: f64| json!({ "name": "constant_schedule", "args": { "value": value } });
        let levels = [1.0, 2.0, 3.0, 4.0].map(level);
        let joined = |boundaries: Value| {
            text("join_schedules", json!({ "schedules": levels, "boundaries": boundaries }))
        };
        assert_eq!(joined(json!([20, 10])), "constant(1.0).then(10, constant(3.0))");
        assert_eq!(joined(json!([0, 10, 10])), "constant(2.0).then(10, constant(4.0))");
        assert_eq!(joined(json!([])), "constant(1.0)");
    }

    #[test]
    fn each_mistake_is_named() {
        let linear = |name: &str, value: f64| {
            let mut arguments =
                json!({ "init_value": 0.1, "end_value": 0.0, "transition_steps": 9 });
            arguments[name] = json!(value);
            error("linear_schedule", arguments)
        };
        for (message, words) in [
            (
                linear("init_value", -0.1),
                "`init_value` = -0.1 is not allowed; allowed: a rate, at least 0",
            ),
            (
                linear("transition_steps", 1.5),
                "`transition_steps` = 1.5 is not allowed; allowed: a whole number",
            ),
            (linear("transition_step", 1.0), "did you mean `transition_steps`?"),
            (error("linear_schedul", json!({})), "did you mean `linear_schedule`?"),
            (error("inject_hyperparams", json!({})), "cannot be translated: it carries state"),
            (error("sgdr_schedule", json!({ "cosine_kwargs": [] })), "at least one"),
            (
                error("join_schedules", json!({ "schedules": [1], "boundaries": [] })),
                "`schedules` = 1",
            ),
            (
                error(
                    "piecewise_interpolate_schedule",
                    json!({ "interpolate_type": "cubic", "init_value": 1 }),
                ),
                "allowed: linear, cosine",
            ),
            (
                error(
                    "piecewise_constant_schedule",
                    json!({ "init_value": 1, "boundaries_and_scales": { "1": -1 } }),
                ),
                "scales of at least 0",
            ),
            (
                error("cosine_decay_schedule", json!({ "init_value": 1, "decay_steps": 0 })),
                "`decay_steps` = 0 is not allowed",
            ),
            (
                error(
                    "warmup_cosine_decay_schedule",
                    json!({ "init_value": 0, "peak_value": 1, "warmup_steps": 9, "decay_steps": 9 }),
                ),
                "more than the 9 updates of the warm-up",
            ),
            (
                error(
                    "exponential_decay",
                    json!({ "init_value": 1, "transition_steps": 9, "decay_rate": 2, "end_value": -1 }),
                ),
                "`end_value` = -1.0 is not allowed",
            ),
        ] {
            assert!(message.contains(words), "{message}");
        }
    }
}

//! keras: `keras.optimizers.schedules`, as of 3.15.
//!
//! | schedule | arguments |
//! | --- | --- |
//! | `CosineDecay` | `initial_learning_rate`, `decay_steps`, `alpha` = 0, `warmup_target` = none, `warmup_steps` = 0 |
//! | `CosineDecayRestarts` | `initial_learning_rate`, `first_decay_steps`, `t_mul` = 2, `m_mul` = 1, `alpha` = 0 |
//! | `ExponentialDecay` | `initial_learning_rate`, `decay_steps`, `decay_rate`, `staircase` = false |
//! | `InverseTimeDecay` | `initial_learning_rate`, `decay_steps`, `decay_rate`, `staircase` = false |
//! | `PiecewiseConstantDecay` | `boundaries`, `values` |
//! | `PolynomialDecay` | `initial_learning_rate`, `decay_steps`, `end_learning_rate` = 10⁻⁴, `power` = 1, `cycle` = false |
//!
//! `name` is accepted and has no effect. Rates are at least 0 and steps are whole numbers, at least 1. The
//! base rate is not used: these schedules state their own rates. keras computes in f32; a translation
//! evaluates the same formulas in f64.
//!
//! A translation follows keras even where that is surprising:
//! - `PiecewiseConstantDecay` changes one update after each boundary, truncates fractional boundaries, and if
//!   boundaries do not ascend, adds up the values of all intervals that contain the step.
//! - `CosineDecay` ignores `warmup_steps` without a `warmup_target`; its `decay_steps` start after the
//!   warm-up.
//! - `CosineDecayRestarts` with `m_mul` ≠ 1 and `alpha` > 0 lowers the peaks towards alpha, and with `t_mul`
//!   ≠ 1 may start a cycle one update late: see [`KerasRestarts`].
//!
//! Because no rate can be NaN or negative, these are not accepted: a negative `alpha`, `power`, `decay_rate`
//! or `m_mul`, `m_mul` > 1 with `alpha` > 1, and `t_mul` < 1, for which keras gives NaN after
//! first_decay_steps / (1 − t_mul) steps; nor a negative `warmup_steps`, nor a `t_mul` above 10⁶.
//!
//! | refused | reason |
//! | --- | --- |
//! | `LearningRateSchedule` | a base class: its rate is code |
//! | `LearningRateScheduler` | a callback whose rate is code |
//! | `ReduceLROnPlateau` | reacts to a metric |

mod restarts;

pub use restarts::KerasRestarts;

use super::forms::{hold, line, powers, wave};
use super::{Arguments, PeerError, Translation, find};
use crate::{
    ScheduleConfig, ScheduleExt, Span, inverse_time, piecewise_constant, polynomial, warm_restarts,
};
use serde_json::Value;

pub(super) type Read = fn(&Arguments<'_>) -> Result<ScheduleConfig, PeerError>;

pub(super) const SCHEDULES: &[(&str, Read)] = &[
    ("CosineDecay", cosine_decay),
    ("CosineDecayRestarts", cosine_decay_restarts),
    ("ExponentialDecay", exponential_decay),
    ("InverseTimeDecay", inverse_time_decay),
    ("PiecewiseConstantDecay", piecewise_constant_decay),
    ("PolynomialDecay", polynomial_decay),
];

const REFUSED: &[(&str, &str)] = &[
    ("LearningRateSchedule", "it is a base class whose rate is code; write a custom schedule"),
    ("LearningRateScheduler", "its rate is code; write a custom schedule"),
    ("ReduceLROnPlateau", "it reacts to a metric; use a plateau controller"),
];

/// Translates the schedule `name`; see the [module](self) for the names and arguments.
///
/// # Errors
/// [`PeerError`] with what is unknown, wrong or refused.
pub fn translate(name: &str, arguments: &Value, _base_lr: f64) -> Result<Translation, PeerError> {
    let read = find("keras", name, SCHEDULES, REFUSED)?;
    Arguments::read(name, arguments, |arguments| {
        arguments.ignore("name");
        read(arguments).map(Translation::from)
    })
}

fn cosine_decay(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("initial_learning_rate")?;
    let steps = arguments.length("decay_steps")?;
    let alpha = arguments.not_negative_or("alpha", 0.0)?;
    let warmup = arguments.count_or("warmup_steps", 0)?;
    let target = arguments.optional_number("warmup_target")?;
    let Some(target) = target else { return Ok(wave(start, alpha, 1.0, steps)) };
    arguments.require("warmup_target", target, target >= 0.0, "a rate, at least 0")?;
    let decay = wave(target, alpha, 1.0, steps);
    if warmup == 0 {
        return Ok(decay);
    }
    Ok(line(start, target, 1.0, warmup).then(Span::steps(warmup), decay).into())
}

fn cosine_decay_restarts(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("initial_learning_rate")?;
    let cycle = Span::steps(arguments.length("first_decay_steps")?);
    let multiplier = arguments.number_or("t_mul", 2.0)?;
    let peak_factor = arguments.not_negative_or("m_mul", 1.0)?;
    let alpha = arguments.not_negative_or("alpha", 0.0)?;
    let in_range = (1.0..=1e6).contains(&multiplier);
    arguments.require("t_mul", multiplier, in_range, "in [1, 1e6]; below 1 keras gives NaN")?;
    if start == 0.0 || alpha == 1.0 {
        return Ok(hold(start));
    }
    let upright = alpha <= 1.0 || peak_factor <= 1.0;
    arguments.require("m_mul", peak_factor, upright, "at most 1 with an alpha above 1")?;
    let same = peak_factor == 1.0 || (alpha == 0.0 && peak_factor > 0.0 && peak_factor < 1.0);
    if multiplier == 1.0 && alpha < 1.0 && same {
        let cycles = warm_restarts(start, cycle).end(alpha * start).peak_decay(peak_factor);
        return Ok(cycles.into());
    }
    Ok(KerasRestarts { start, cycle, multiplier, peak_factor, alpha }.into())
}

fn exponential_decay(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("initial_learning_rate")?;
    let steps = arguments.length("decay_steps")?;
    let factor = arguments.not_negative("decay_rate")?;
    let staircase = arguments.flag_or("staircase", false)?;
    if factor == 0.0 {
        // 0⁰ = 1: the first update, or the first stair, keeps its rate.
        let first = Span::steps(if staircase { steps } else { 1 });
        return Ok(piecewise_constant(start, [first], [0.0]).into());
    }
    Ok(powers(start, factor, steps, staircase))
}

fn inverse_time_decay(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("initial_learning_rate")?;
    let per = Span::steps(arguments.length("decay_steps")?);
    let decay = arguments.not_negative("decay_rate")?;
    let staircase = arguments.flag_or("staircase", false)?;
    if start == 0.0 || decay == 0.0 {
        return Ok(hold(start));
    }
    let schedule = inverse_time(start, decay, per);
    Ok(if staircase { schedule.staircase() } else { schedule }.into())
}

fn piecewise_constant_decay(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let boundaries = arguments.numbers("boundaries")?;
    let values = arguments.numbers("values")?;
    // Cast to the type of the step, as keras does.
    let boundaries: Vec<i64> = boundaries.into_iter().map(|boundary| boundary as i64).collect();
    let counts = !boundaries.is_empty() && values.len() == boundaries.len() + 1;
    let allowed = "one value more than boundaries, and at least one boundary";
    arguments.require("values", values.len(), counts, allowed)?;
    if let Some(&value) = values.iter().find(|&&value| value < 0.0) {
        return Err(arguments.wrong("values", value, "rates of at least 0"));
    }
    let mut changes: Vec<i64> =
        boundaries.iter().map(|boundary| boundary.saturating_add(1)).collect();
    changes.retain(|&change| change > 0);
    changes.sort_unstable();
    changes.dedup();
    let value = |&step: &i64| sum_of_intervals(&boundaries, &values, step);
    let rates: Vec<f64> = changes.iter().map(value).collect();
    let changes: Vec<Span> =
        changes.iter().map(|&change| Span::steps(change.unsigned_abs())).collect();
    Ok(piecewise_constant(value(&0), changes, rates).into())
}

/// The sum that keras computes: terms in order, all but one of them 0 if boundaries ascend.
fn sum_of_intervals(boundaries: &[i64], values: &[f64], step: i64) -> f64 {
    let last = boundaries.len() - 1;
    let first = if step <= boundaries[0] { values[0] } else { 0.0 };
    let end = if step > boundaries[last] { values[last + 1] } else { 0.0 };
    let between = |i: usize| boundaries[i] < step && step <= boundaries[i + 1];
    (0..last).filter(|&i| between(i)).fold(first + end, |sum, i| sum + values[i + 1])
}

fn polynomial_decay(arguments: &Arguments<'_>) -> Result<ScheduleConfig, PeerError> {
    let start = arguments.rate("initial_learning_rate")?;
    let steps = arguments.length("decay_steps")?;
    let end = arguments.not_negative_or("end_learning_rate", 1e-4)?;
    let power = arguments.not_negative_or("power", 1.0)?;
    if arguments.flag_or("cycle", false)? && start != end && power > 0.0 {
        return Ok(polynomial(start, end, power).length(Span::steps(steps)).cycle().into());
    }
    Ok(line(start, end, power, steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(name: &str, arguments: Value) -> String {
        translate(name, &arguments, 1.0).unwrap().rate.to_string()
    }

    fn error(name: &str, arguments: Value) -> String {
        translate(name, &arguments, 1.0).unwrap_err().to_string()
    }

    #[test]
    fn a_translation_reads_as_a_user_would_write_it() {
        let cosine = json!({ "initial_learning_rate": 0, "decay_steps": 90, "warmup_target": 0.1, "warmup_steps": 10, "name": "a" });
        assert_eq!(
            text("CosineDecay", cosine),
            "linear(0.0, 0.1).length(10).then(10, cosine(0.1).length(90))"
        );
        let inverse = json!({ "initial_learning_rate": 0.1, "decay_steps": 9, "decay_rate": 0.5, "staircase": true });
        assert_eq!(text("InverseTimeDecay", inverse), "inverse_time(0.1, 0.5, 9).staircase()");
        let restarts = json!({ "initial_learning_rate": 0.1, "first_decay_steps": 9 });
        assert_eq!(text("CosineDecayRestarts", restarts), "keras_restarts(0.1, 9)");
        let even = json!({ "initial_learning_rate": 0.1, "first_decay_steps": 9, "t_mul": 1, "m_mul": 0.5 });
        assert_eq!(text("CosineDecayRestarts", even), "warm_restarts(0.1, 9).peak_decay(0.5)");
    }

    #[test]
    fn boundaries_in_any_order_are_added_up_as_keras_does() {
        let pieces = |boundaries: Value| {
            text("PiecewiseConstantDecay", json!({ "boundaries": boundaries, "values": [1, 2, 4] }))
        };
        assert_eq!(pieces(json!([10, 20])), "piecewise_constant(1.0, [11, 21], [2.0, 4.0])");
        // Between 11 and 20 the step is both below the first and above the last boundary.
        assert_eq!(pieces(json!([20, 10])), "piecewise_constant(1.0, [11, 21], [5.0, 4.0])");
        assert_eq!(pieces(json!([-3, 9.9])), "piecewise_constant(2.0, [10], [4.0])");
    }

    #[test]
    fn each_mistake_is_named() {
        let restarts = |name: &str, value: f64| {
            let mut arguments =
                json!({ "initial_learning_rate": 0.1, "first_decay_steps": 9, "alpha": 1.5 });
            arguments[name] = json!(value);
            error("CosineDecayRestarts", arguments)
        };
        for (message, words) in [
            (restarts("t_mul", 0.5), "`t_mul` = 0.5 is not allowed; allowed: in [1, 1e6]"),
            (restarts("m_mul", 1.1), "at most 1 with an alpha above 1"),
            (restarts("alpha", -0.1), "`alpha` = -0.1 is not allowed"),
            (
                restarts("first_decay_steps", 0.0),
                "`first_decay_steps` = 0 is not allowed; allowed: a whole number, at least 1",
            ),
            (error("LearningRateSchedule", json!({})), "whose rate is code"),
            (error("CosineDecays", json!({})), "did you mean `CosineDecay`?"),
            (
                error("PiecewiseConstantDecay", json!({ "boundaries": [1], "values": [1] })),
                "one value more than boundaries",
            ),
            (
                error("PiecewiseConstantDecay", json!({ "boundaries": [], "values": [1] })),
                "at least one",
            ),
            (
                error("PiecewiseConstantDecay", json!({ "boundaries": [1], "values": [1, -1] })),
                "rates of at least 0",
            ),
        ] {
            assert!(message.contains(words), "{message}");
        }
    }
}

//! timm: `timm.scheduler`, as of 1.0.31.
//!
//! | scheduler | arguments |
//! | --- | --- |
//! | `CosineLRScheduler` | `t_initial`, `lr_min` = 0, `cycle_mul` = 1, `cycle_decay` = 1, `cycle_limit` = 1, `warmup_t` = 0, `warmup_lr_init` = 0, `warmup_prefix` = false, `k_decay` = 1 |
//! | `TanhLRScheduler` | `t_initial`, `lb` = −7, `ub` = 3, `lr_min` = 0, `cycle_mul` = 1, `cycle_decay` = 1, `cycle_limit` = 1, `warmup_t` = 0, `warmup_lr_init` = 0, `warmup_prefix` = false |
//! | `PolyLRScheduler` | `t_initial`, `power` = 0.5, `lr_min` = 0, `cycle_mul` = 1, `cycle_decay` = 1, `cycle_limit` = 1, `warmup_t` = 0, `warmup_lr_init` = 0, `warmup_prefix` = false, `k_decay` = 1 |
//! | `StepLRScheduler` | `decay_t` (may be fractional), `decay_rate` = 1, `warmup_t` = 0, `warmup_lr_init` = 0, `warmup_prefix` = true |
//! | `MultiStepLRScheduler` | `decay_t`, a list, `decay_rate` = 1, `warmup_t` = 0, `warmup_lr_init` = 0, `warmup_prefix` = true |
//! | `WSDLRScheduler` | `t_initial`, `decay_t`, `lr_min` = 0, `stable_fn` = constant, `rsqrt` or `power`, `stable_timescale` = `warmup_t`, `stable_power` = 0.5, `decay_fn` = 1-sqrt, `linear`, `cosine`, `power` or `exp`, `decay_power` = 0.5, `decay_ratio` = 0.1, `warmup_t` = 0, `warmup_lr_init` = 0 |
//!
//! A name of `--sched`, such as `cosine`, stands for its class.
//!
//! Every scheduler also takes `t_in_epochs` = false: lengths are in updates, whatever timm's own default is.
//! `initialize`, which tells timm where to find the base rate, is accepted.
//!
//! Refused, with the reason:
//!
//! | what | why |
//! | --- | --- |
//! | `PlateauLRScheduler` | it reacts to training, so it is not a function of the step: anneal-control translates it |
//! | `noise_range_t`, `noise_pct`, `noise_std`, `noise_seed` | the noise comes from torch's random generator |
//! | `t_in_epochs` = true | the lengths would be in epochs: multiply them by the updates per epoch |
//! | a callable as `decay_fn` | it has no name |
//!
//! The rate of update 0 is the one set by the scheduler's constructor: `warmup_lr_init`, or without a warm-up
//! the base rate itself, even if the curve starts elsewhere. Where timm raises an error (far out with a
//! `cycle_mul` below 1, or with `k_decay` at a boundary that the logarithm misses), the rate is `lr_min` or
//! that of the boundary.
//!
//! Curves that this crate does not have are written as [`TimmCycles`], [`TimmStep`] or [`TimmWsd`].

mod cycles;
mod step;
mod wsd;

pub use cycles::{CycleShape, TimmCycles};
pub use step::TimmStep;
pub use wsd::{TimmWsd, WsdDecay, WsdStable};

use super::{Arguments, PeerError, Translation};
use crate::curve::Rate;
use crate::{
    DecayShape, ScheduleConfig, ScheduleExt, Span, constant, cosine, linear, multi_step,
    polynomial, sequence, stable_decay, step_decay, tanh, warm_restarts,
};
use serde_json::Value;

pub(super) const NAMES: &[&str] = &[
    "CosineLRScheduler",
    "TanhLRScheduler",
    "PolyLRScheduler",
    "StepLRScheduler",
    "MultiStepLRScheduler",
    "WSDLRScheduler",
];

/// Names for timm's `--sched`, with the scheduler of each.
#[doc(hidden)]
pub const SCHED: &[(&str, &str)] = &[
    ("cosine", "CosineLRScheduler"),
    ("tanh", "TanhLRScheduler"),
    ("step", "StepLRScheduler"),
    ("multistep", "MultiStepLRScheduler"),
    ("poly", "PolyLRScheduler"),
    ("wsd", "WSDLRScheduler"),
    ("rsqrt", "WSDLRScheduler"),
    ("constant", "StepLRScheduler"),
];

const NOISE: &str = "no noise: it comes from timm's own random generator, which a pure function of \
                     the step cannot follow";

/// Translates the scheduler `name`; see the [module](self) for the names and arguments.
///
/// # Errors
/// [`PeerError`] with what is unknown, wrong or refused.
pub fn translate(name: &str, arguments: &Value, base_lr: f64) -> Result<Translation, PeerError> {
    let name = SCHED.iter().find(|known| known.0 == name).map_or(name, |known| known.1);
    Arguments::read(name, arguments, |arguments| {
        if matches!(name, "PlateauLRScheduler" | "plateau") {
            return Err(PeerError::answers_to_training(name));
        }
        if !NAMES.contains(&name) {
            return Err(PeerError::unknown_scheduler("timm", name, NAMES));
        }
        for noise in ["noise_range_t", "noise_pct", "noise_std", "noise_seed"] {
            arguments.refuse(noise, NOISE)?;
        }
        arguments.ignore("initialize");
        let in_epochs = arguments.flag_or("t_in_epochs", false)?;
        let in_updates = "false, with all lengths in updates (epochs times updates per epoch)";
        arguments.require("t_in_epochs", in_epochs, !in_epochs, in_updates)?;
        match name {
            "CosineLRScheduler" => {
                let k_decay = not_negative(arguments, "k_decay", 1.0)?;
                in_cycles(arguments, base_lr, CycleShape::CosineCycles { k_decay })
            }
            "TanhLRScheduler" => {
                let (lb, ub) = (arguments.number_or("lb", -7.0)?, arguments.number_or("ub", 3.0)?);
                arguments.require("lb", lb, lb < ub, "below ub")?;
                in_cycles(arguments, base_lr, CycleShape::TanhCycles { lb, ub })
            }
            "PolyLRScheduler" => {
                let power = not_negative(arguments, "power", 0.5)?;
                let k_decay = not_negative(arguments, "k_decay", 1.0)?;
                in_cycles(arguments, base_lr, CycleShape::PolyCycles { power, k_decay })
            }
            "StepLRScheduler" => step(arguments, base_lr),
            "MultiStepLRScheduler" => multi_steps(arguments, base_lr),
            _ => wsd(arguments, base_lr),
        }?
        .checked(name)
    })
}

fn not_negative(
    arguments: &Arguments<'_>,
    argument: &'static str,
    default: f64,
) -> Result<f64, PeerError> {
    let number = arguments.number_or(argument, default)?;
    arguments.require(argument, number, number >= 0.0, "at least 0")
}

fn at_least_1(arguments: &Arguments<'_>, argument: &'static str) -> Result<u64, PeerError> {
    let count = arguments.count(argument)?;
    arguments.require(argument, count, count > 0, "at least 1")
}

/// A linear warm-up of `updates` updates before another schedule.
struct Warmup {
    updates: u64,
    init: f64,
}

impl Warmup {
    fn read(arguments: &Arguments<'_>) -> Result<Self, PeerError> {
        let updates = arguments.count_or("warmup_t", 0)?;
        Ok(Self { updates, init: not_negative(arguments, "warmup_lr_init", 0.0)? })
    }

    /// Rises to `target`, then continues with `tail`.
    fn before(&self, target: f64, tail: ScheduleConfig) -> ScheduleConfig {
        if self.updates == 0 {
            return tail;
        }
        let rise = if self.init == 0.0 && target == 0.0 {
            nothing()
        } else {
            linear(self.init, target).into()
        };
        rise.then(Span::steps(self.updates), tail).into()
    }
}

/// A rate that is always 0.
fn nothing() -> ScheduleConfig {
    let shape = CycleShape::CosineCycles { k_decay: 1.0 };
    TimmCycles {
        base_lr: 1.0,
        t_initial: 1,
        shape,
        lr_min: 0.0,
        cycle_mul: 1.0,
        cycle_decay: 1.0,
        cycle_limit: 0,
        offset: 0,
    }
    .into()
}

/// A constant rate, possibly 0.
fn always(rate: f64) -> ScheduleConfig {
    if rate == 0.0 { nothing() } else { constant(rate).into() }
}

fn in_cycles(
    arguments: &Arguments<'_>,
    base_lr: f64,
    shape: CycleShape,
) -> Result<Translation, PeerError> {
    let warmup = Warmup::read(arguments)?;
    let prefix = arguments.flag_or("warmup_prefix", false)?;
    let cycle_mul = arguments.number_or("cycle_mul", 1.0)?;
    let cycles = TimmCycles {
        base_lr,
        t_initial: at_least_1(arguments, "t_initial")?,
        shape,
        lr_min: not_negative(arguments, "lr_min", 0.0)?,
        cycle_mul: arguments.require("cycle_mul", cycle_mul, cycle_mul > 0.0, "above 0")?,
        cycle_decay: not_negative(arguments, "cycle_decay", 1.0)?,
        cycle_limit: arguments.count_or("cycle_limit", 1)?,
        offset: if prefix { 0 } else { warmup.updates },
    };
    if warmup.updates == 0 && !cycles.begins_at_base() {
        // The constructor leaves the base rate for the first update.
        let later = TimmCycles { offset: 1, ..cycles };
        return Ok(constant(base_lr).then(Span::steps(1), later).into());
    }
    // Only timm's tanh rises to its curve after an overlaid warm-up.
    let target = match shape {
        CycleShape::TanhCycles { .. } if !prefix => cycles.rate(0),
        _ => base_lr,
    };
    let tail = plain(&cycles).unwrap_or_else(|| cycles.into());
    Ok(warmup.before(target, tail).into())
}

impl TimmCycles {
    fn begins_at_base(&self) -> bool {
        let at_1 = match self.shape {
            CycleShape::TanhCycles { .. } => false,
            CycleShape::CosineCycles { k_decay } => k_decay > 0.0,
            CycleShape::PolyCycles { power, k_decay } => k_decay > 0.0 || power == 0.0,
        };
        at_1 && self.cycle_limit > 0
    }
}

/// One of this crate's own curves, if it is equal.
fn plain(cycles: &TimmCycles) -> Option<ScheduleConfig> {
    let &TimmCycles { base_lr, t_initial, shape, lr_min, cycle_limit, cycle_decay, .. } = cycles;
    if cycles.offset > 0 || cycles.cycle_mul != 1.0 || cycle_limit == 0 || lr_min > base_lr {
        return None;
    }
    let length = Span::steps(t_initial);
    let once = cycle_limit == 1;
    match shape {
        CycleShape::CosineCycles { k_decay } if once && k_decay > 0.0 => {
            Some(cosine(base_lr).end(lr_min).length(length).k(k_decay).into())
        }
        CycleShape::CosineCycles { k_decay: 1.0 } => {
            // A peak below the minimum makes timm's cycles rise.
            let falls = cycle_decay > 0.0 && cycle_decay <= 1.0;
            let last_peak = base_lr * cycle_decay.powf((cycle_limit - 1) as f64);
            let restarts = warm_restarts(base_lr, length).end(lr_min);
            (falls && last_peak >= lr_min)
                .then(|| restarts.peak_decay(cycle_decay).limit(cycle_limit).into())
        }
        CycleShape::TanhCycles { lb, ub } if once => {
            Some(tanh(base_lr).end(lr_min).length(length).lower(lb).upper(ub).into())
        }
        CycleShape::PolyCycles { power, k_decay: 1.0 } if once && power > 0.0 => {
            Some(polynomial(base_lr, lr_min, power).length(length).into())
        }
        _ => None,
    }
}

fn decay_rate(arguments: &Arguments<'_>) -> Result<f64, PeerError> {
    not_negative(arguments, "decay_rate", 1.0)
}

fn step(arguments: &Arguments<'_>, base_lr: f64) -> Result<Translation, PeerError> {
    let warmup = Warmup::read(arguments)?;
    let prefix = arguments.flag_or("warmup_prefix", true)?;
    let decay_t = arguments.number("decay_t")?;
    arguments.require("decay_t", decay_t, decay_t > 0.0, "above 0")?;
    let rate = decay_rate(arguments)?;
    arguments.require(
        "decay_rate",
        rate,
        rate <= 1.0,
        "in [0, 1]: above 1 it grows without bound",
    )?;
    let offset = if prefix { 0 } else { warmup.updates };
    let whole = decay_t.fract() == 0.0 && decay_t < 9.0e15;
    let tail = if offset == 0 && whole && rate > 0.0 {
        step_decay(base_lr, Span::steps(decay_t as u64), rate).into()
    } else {
        TimmStep { base_lr, decay_t, decay_rate: rate, offset }.into()
    };
    Ok(warmup.before(base_lr, tail).into())
}

fn multi_steps(arguments: &Arguments<'_>, base_lr: f64) -> Result<Translation, PeerError> {
    let warmup = Warmup::read(arguments)?;
    let prefix = arguments.flag_or("warmup_prefix", true)?;
    let decay_t = arguments.counts("decay_t")?;
    let rate = decay_rate(arguments)?;
    // timm counts the milestones up to t + 1, and without a warm-up the constructor leaves the base rate for
    // the first update.
    let first = u64::from(warmup.updates == 0);
    let offset = if prefix { 0 } else { warmup.updates };
    let border = |milestone: u64| milestone.saturating_sub(1 + offset).max(first);
    let tail = if decay_t.is_empty() {
        constant(base_lr).into()
    } else if decay_t.is_sorted() && rate > 0.0 && rate <= 1.0 {
        let milestones: Vec<Span> = decay_t.iter().map(|&at| Span::steps(border(at))).collect();
        multi_step(base_lr, milestones, rate).into()
    } else {
        let mut borders: Vec<u64> = decay_t.iter().map(|&at| border(at)).collect();
        borders.extend([0, first]);
        borders.sort_unstable();
        borders.dedup();
        let rate_at = |border: u64| {
            let passed =
                if border < first { 0 } else { bisect_right(&decay_t, border + offset + 1) };
            base_lr * rate.powf(passed as f64)
        };
        let mut parts = vec![];
        for (i, &border) in borders.iter().enumerate() {
            let length = borders.get(i + 1).map_or(Span::Rest, |next| Span::steps(next - border));
            let rate = rate_at(border);
            arguments.require(
                "decay_rate",
                rate,
                rate.is_finite(),
                "a factor that keeps the rates finite",
            )?;
            parts.push((length, always(rate)));
        }
        sequence(parts).into()
    };
    Ok(warmup.before(base_lr, tail).into())
}

/// Python's `bisect.bisect_right`, which does not check whether the list is sorted.
fn bisect_right(list: &[u64], value: u64) -> usize {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = (low + high) / 2;
        if value < list[middle] {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn wsd(arguments: &Arguments<'_>, base_lr: f64) -> Result<Translation, PeerError> {
    let warmup = Warmup::read(arguments)?;
    let t_initial = at_least_1(arguments, "t_initial")?;
    let decay_t = at_least_1(arguments, "decay_t")?;
    arguments.require("decay_t", decay_t, decay_t <= t_initial, "at most t_initial")?;
    let lr_min = not_negative(arguments, "lr_min", 0.0)?;
    let stable = wsd_stable(arguments, warmup.updates)?;
    let decay = wsd_decay(arguments)?;
    if lr_min > base_lr {
        // The minimum applies from the end of the warm-up, or after the constructor's first update.
        let tail = constant(lr_min).into();
        return Ok(match warmup.updates {
            0 => constant(base_lr).then(Span::steps(1), constant(lr_min)).into(),
            _ => warmup.before(base_lr, tail).into(),
        });
    }
    let shape = match decay {
        WsdDecay::Power(0.5) => Some(DecayShape::OneMinusSqrt),
        WsdDecay::Power(1.0) => Some(DecayShape::Linear),
        WsdDecay::Cosine => Some(DecayShape::Cosine),
        _ => None,
    };
    let tail = match (stable, shape) {
        (None, Some(shape)) => {
            let curve = stable_decay(base_lr, Span::steps(decay_t)).length(Span::steps(t_initial));
            curve.shape(shape).end(lr_min).into()
        }
        _ => TimmWsd { base_lr, t_initial, decay_t, lr_min, stable, decay }.into(),
    };
    Ok(warmup.before(base_lr, tail).into())
}

fn wsd_stable(arguments: &Arguments<'_>, warmup: u64) -> Result<Option<WsdStable>, PeerError> {
    let function = arguments.choice("stable_fn", &["constant", "rsqrt", "power"])?;
    let timescale = arguments.number_or("stable_timescale", warmup as f64)?;
    let power = arguments.number_or("stable_power", 0.5)?;
    arguments.require("stable_power", power, power > 0.0, "above 0")?;
    if function == "constant" {
        return Ok(None);
    }
    let allowed = "above 0; it defaults to warmup_t";
    arguments.require("stable_timescale", timescale, timescale > 0.0, allowed)?;
    let power = if function == "rsqrt" { 0.5 } else { power };
    Ok(Some(WsdStable::Falling { timescale, power }))
}

fn wsd_decay(arguments: &Arguments<'_>) -> Result<WsdDecay, PeerError> {
    let words = ["1-sqrt", "linear", "cosine", "power", "exp"];
    let function = arguments.choice("decay_fn", &words)?;
    let power = arguments.number_or("decay_power", 0.5)?;
    arguments.require("decay_power", power, power > 0.0, "above 0")?;
    let ratio = arguments.number_or("decay_ratio", 0.1)?;
    arguments.require("decay_ratio", ratio, ratio > 0.0 && ratio < 1.0, "in (0, 1)")?;
    Ok(match function {
        "1-sqrt" => WsdDecay::Power(0.5),
        "linear" => WsdDecay::Power(1.0),
        "cosine" => WsdDecay::Cosine,
        "power" => WsdDecay::Power(power),
        _ => WsdDecay::Exp(ratio),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(name: &str, arguments: Value) -> String {
        translate(name, &arguments, 1.0).unwrap().rate.to_string()
    }

    fn refusal(name: &str, arguments: Value) -> String {
        translate(name, &arguments, 1.0).unwrap_err().to_string()
    }

    #[test]
    fn common_schedulers_become_our_own_curves() {
        let warm = |mut arguments: Value| {
            arguments["warmup_t"] = 5.into();
            arguments["warmup_prefix"] = true.into();
            arguments
        };
        let ten = json!({ "t_initial": 10 });
        for (name, arguments, expected) in [
            ("CosineLRScheduler", ten.clone(), "cosine(1.0).length(10)"),
            (
                "CosineLRScheduler",
                warm(ten.clone()),
                "linear(0.0, 1.0).then(5, cosine(1.0).length(10))",
            ),
            (
                "CosineLRScheduler",
                json!({ "t_initial": 10, "cycle_limit": 3, "cycle_decay": 0.5 }),
                "warm_restarts(1.0, 10).peak_decay(0.5).limit(3)",
            ),
            (
                "TanhLRScheduler",
                warm(ten.clone()),
                "linear(0.0, 1.0).then(5, tanh(1.0).length(10))",
            ),
            ("PolyLRScheduler", ten, "polynomial(1.0, 0.0, 0.5).length(10)"),
            (
                "StepLRScheduler",
                json!({ "decay_t": 10, "decay_rate": 0.5 }),
                "step_decay(1.0, 10, 0.5)",
            ),
            (
                "MultiStepLRScheduler",
                json!({ "decay_t": [10, 20], "decay_rate": 0.5 }),
                "multi_step(1.0, [9, 19], 0.5)",
            ),
            (
                "WSDLRScheduler",
                json!({ "t_initial": 10, "decay_t": 4 }),
                "stable_decay(1.0, 4).shape(one_minus_sqrt).length(10)",
            ),
        ] {
            assert_eq!(text(name, arguments), expected);
        }
    }

    #[test]
    fn the_first_update_without_a_warm_up_has_the_base_rate() {
        let milestone = json!({ "decay_t": [1], "decay_rate": 0.5 });
        for (name, arguments, second) in [
            ("MultiStepLRScheduler", milestone, 0.5),
            ("TanhLRScheduler", json!({ "t_initial": 1 }), 0.0),
            ("CosineLRScheduler", json!({ "t_initial": 9, "cycle_limit": 0, "lr_min": 0.1 }), 0.1),
            ("WSDLRScheduler", json!({ "t_initial": 9, "decay_t": 1, "lr_min": 2 }), 2.0),
        ] {
            let schedule = translate(name, &arguments, 1.0).unwrap().schedule().unwrap();
            assert_eq!((schedule.rate(0), schedule.rate(1)), (1.0, second), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_the_reason() {
        for (name, arguments, words) in [
            ("PlateauLRScheduler", json!({}), "reacts to training"),
            ("PlateauLRScheduler", json!({ "patience_t": 3 }), "reacts to training"),
            ("CosinLRScheduler", json!({}), "did you mean `CosineLRScheduler`?"),
            ("CosineLRScheduler", json!({}), "`t_initial` is missing"),
            ("CosineLRScheduler", json!({ "t_initial": 0 }), "`t_initial` = 0"),
            ("CosineLRScheduler", json!({ "t_initial": 9, "lr_min": -1 }), "`lr_min`"),
            ("CosineLRScheduler", json!({ "t_initial": 9, "cycle_mul": 0 }), "`cycle_mul`"),
            ("CosineLRScheduler", json!({ "t_initial": 9, "k_decay": -1 }), "`k_decay`"),
            ("CosineLRScheduler", json!({ "t_initial": 9, "power": 2 }), "no argument `power`"),
            (
                "CosineLRScheduler",
                json!({ "t_initial": 9, "warmup_lr_init": -1 }),
                "`warmup_lr_init`",
            ),
            (
                "CosineLRScheduler",
                json!({ "t_initial": 9, "noise_range_t": 5 }),
                "random generator",
            ),
            ("StepLRScheduler", json!({ "decay_t": 9, "noise_seed": 5 }), "`noise_seed` = 5"),
            ("StepLRScheduler", json!({ "decay_t": 9, "t_in_epochs": true }), "lengths in updates"),
            ("StepLRScheduler", json!({ "decay_t": 0 }), "`decay_t` = 0.0"),
            ("StepLRScheduler", json!({ "decay_t": 9, "decay_rate": 2 }), "`decay_rate` = 2.0"),
            ("MultiStepLRScheduler", json!({ "decay_t": 9 }), "`decay_t` = 9"),
            ("TanhLRScheduler", json!({ "t_initial": 9, "lb": 4 }), "below ub"),
            ("PolyLRScheduler", json!({ "t_initial": 9, "power": -1 }), "`power`"),
            ("WSDLRScheduler", json!({ "t_initial": 9, "decay_t": 10 }), "at most t_initial"),
            ("WSDLRScheduler", json!({ "t_initial": 9, "decay_t": 1, "decay_ratio": 1 }), "(0, 1)"),
            (
                "WSDLRScheduler",
                json!({ "t_initial": 9, "decay_t": 1, "stable_fn": "rsqrt" }),
                "defaults to warmup_t",
            ),
        ] {
            let message = refusal(name, arguments);
            assert!(message.contains(words), "{message}");
        }
        let wrong_base = translate("StepLRScheduler", &json!({ "decay_t": 9 }), 0.0).unwrap_err();
        assert!(wrong_base.to_string().contains("step_decay.peak"), "{wrong_base}");
    }
}

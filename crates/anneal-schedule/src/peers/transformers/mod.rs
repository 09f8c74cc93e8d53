//! transformers: the schedules of `optimization.py` by their names in `get_scheduler`, as of 5.23.
//!
//! | schedule | arguments |
//! | --- | --- |
//! | `constant` | |
//! | `constant_with_warmup` | `num_warmup_steps` |
//! | `linear` | `num_warmup_steps`, `num_training_steps` |
//! | `cosine` | `num_warmup_steps`, `num_training_steps`, `num_cycles` = 0.5 |
//! | `cosine_with_restarts` | `num_warmup_steps`, `num_training_steps`, `num_cycles` = 1 |
//! | `polynomial` | `num_warmup_steps`, `num_training_steps`, `lr_end` = 10⁻⁷, `power` = 1 |
//! | `inverse_sqrt` | `num_warmup_steps`, `timescale` = `num_warmup_steps`, or 10,000 without them |
//! | `cosine_with_min_lr` | `num_warmup_steps`, `num_training_steps`, `num_cycles` = 0.5, one of `min_lr` and `min_lr_rate` |
//! | `cosine_warmup_with_min_lr` | the same, and `warmup_lr_rate` = 1/`num_warmup_steps` |
//! | `warmup_stable_decay` | `num_warmup_steps`, `num_decay_steps`, one of `num_training_steps` and `num_stable_steps` (which takes precedence), `warmup_type` = linear, `cosine` or `1-sqrt`, `decay_type` = cosine, `linear` or `1-sqrt`, `min_lr_ratio` = 0, `num_cycles` = 0.5 |
//!
//! The functions that make them, such as `get_cosine_schedule_with_warmup`, are accepted as names too.
//!
//! `num_warmup_steps` and `num_training_steps` are accepted everywhere, as in `get_scheduler`, and so is
//! `last_epoch`: a resumed run stores its own step.
//!
//! `reduce_lr_on_plateau` and `greedy` are refused because they react to training and are not functions of
//! the step; anneal-control translates them. Arguments for which transformers divides by zero, or which give
//! rates below 0, are refused too.
//!
//! The rate of update 0 is that of the peer's step 0: after a usual warm-up from 0 it is 0. Curves that this
//! crate does not have are written as [`TransformersDecay`].

mod decay;

pub use decay::{Falling, TransformersDecay};

use super::{Arguments, PeerError, Translation};
use crate::{
    AfterEnd, DecayShape, ScheduleConfig, ScheduleExt, Span, constant, cosine, inverse_sqrt,
    linear, polynomial, stable_decay, warm_restarts,
};
use serde_json::Value;

pub(super) const NAMES: &[&str] = &[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
];

/// The functions that make the schedules, with the name of each in `get_scheduler`.
const FUNCTIONS: &[(&str, &str)] = &[
    ("get_constant_schedule", "constant"),
    ("get_constant_schedule_with_warmup", "constant_with_warmup"),
    ("get_linear_schedule_with_warmup", "linear"),
    ("get_cosine_schedule_with_warmup", "cosine"),
    ("get_cosine_with_hard_restarts_schedule_with_warmup", "cosine_with_restarts"),
    ("get_polynomial_decay_schedule_with_warmup", "polynomial"),
    ("get_inverse_sqrt_schedule", "inverse_sqrt"),
    ("get_cosine_with_min_lr_schedule_with_warmup", "cosine_with_min_lr"),
    ("get_cosine_with_min_lr_schedule_with_warmup_lr_rate", "cosine_warmup_with_min_lr"),
    ("get_wsd_schedule", "warmup_stable_decay"),
    ("get_reduce_on_plateau_schedule", "reduce_lr_on_plateau"),
];

/// The name in `get_scheduler` of a schedule, which may be given by its function.
#[doc(hidden)]
pub fn plain_name(name: &str) -> &str {
    FUNCTIONS.iter().find(|known| known.0 == name).map_or(name, |known| known.1)
}

/// Translates the schedule `name`; see the [module](self) for the names and arguments.
///
/// # Errors
/// [`PeerError`] with what is unknown, wrong or refused.
pub fn translate(name: &str, arguments: &Value, base_lr: f64) -> Result<Translation, PeerError> {
    let name = plain_name(name);
    Arguments::read(name, arguments, |arguments| {
        if matches!(name, "reduce_lr_on_plateau" | "greedy" | "GreedyLR") {
            return Err(PeerError::answers_to_training(name));
        }
        if !NAMES.contains(&name) {
            return Err(PeerError::unknown_scheduler("transformers", name, NAMES));
        }
        arguments.ignore("last_epoch");
        arguments.ignore("optimizer");
        let phases = Phases { arguments, base_lr };
        let schedule = match name {
            "constant" => phases.constant(),
            "constant_with_warmup" => phases.constant_with_warmup(),
            "linear" => phases.linear(),
            "cosine" => phases.cosine(0.0),
            "cosine_with_restarts" => phases.cosine_with_restarts(),
            "polynomial" => phases.polynomial(),
            "inverse_sqrt" => phases.inverse_sqrt(),
            "cosine_with_min_lr" => phases.min_lr_rate().and_then(|rate| phases.cosine(rate)),
            "cosine_warmup_with_min_lr" => phases.cosine_warmup_with_min_lr(),
            _ => phases.warmup_stable_decay(),
        };
        Translation::from(schedule?).checked(name)
    })
}

/// The arguments of one schedule, and its phases.
struct Phases<'a> {
    arguments: &'a Arguments<'a>,
    base_lr: f64,
}

type Phase = Result<ScheduleConfig, PeerError>;

impl Phases<'_> {
    fn constant(&self) -> Phase {
        self.arguments.ignore("num_warmup_steps");
        self.arguments.ignore("num_training_steps");
        Ok(constant(self.base_lr).into())
    }

    fn constant_with_warmup(&self) -> Phase {
        self.arguments.ignore("num_training_steps");
        Ok(self.warmed_up(self.warmup()?, constant(self.base_lr).into()))
    }

    fn linear(&self) -> Phase {
        let (warmup, training) = self.steps()?;
        let tail = match training.checked_sub(warmup).filter(|&length| length > 0) {
            Some(length) => linear(self.base_lr, 0.0).length(Span::steps(length)).into(),
            None => self.nothing(),
        };
        Ok(self.warmed_up(warmup, tail))
    }

    fn cosine(&self, min_lr_rate: f64) -> Phase {
        let (warmup, training) = self.steps()?;
        let length = training.saturating_sub(warmup).max(1);
        let cycles = self.arguments.number_or("num_cycles", 0.5)?.abs();
        let tail = if !(0.0..=1.0).contains(&min_lr_rate) {
            self.decay(length, Falling::Waves(cycles), min_lr_rate, 0)
        } else if cycles == 0.0 {
            constant(self.base_lr).into()
        } else {
            let wave = cosine(self.base_lr).end(min_lr_rate * self.base_lr).cycles(cycles);
            wave.length(Span::steps(length)).after(AfterEnd::Continue).into()
        };
        Ok(self.warmed_up(warmup, tail))
    }

    fn cosine_with_restarts(&self) -> Phase {
        let (warmup, training) = self.steps()?;
        let cycles = self.arguments.number_or("num_cycles", 1.0)?;
        // Even a training that ends with its warm-up has one update of the first cycle.
        let length = training.saturating_sub(warmup).max(1);
        let tail = if cycles == 1.0 {
            cosine(self.base_lr).length(Span::steps(length)).into()
        } else if let Some((count, cycle)) = even_cycles(cycles, length) {
            warm_restarts(self.base_lr, Span::steps(cycle)).limit(count).into()
        } else {
            self.decay(length, Falling::Restarts(cycles), 0.0, 0)
        };
        Ok(self.warmed_up(warmup, tail))
    }

    fn polynomial(&self) -> Phase {
        let (warmup, training) = self.steps()?;
        let lr_end = self.arguments.number_or("lr_end", 1e-7)?;
        let below = lr_end >= 0.0 && lr_end < self.base_lr;
        self.arguments.require("lr_end", lr_end, below, "at least 0, below the base rate")?;
        let power = self.arguments.number_or("power", 1.0)?;
        self.arguments.require("power", power, power >= 0.0, "at least 0")?;
        let above = "a number other than num_warmup_steps; transformers divides by the difference";
        self.arguments.require("num_training_steps", training, training != warmup, above)?;
        let tail = match training.checked_sub(warmup) {
            None => self.always(lr_end),
            Some(length) if power == 0.0 => {
                // 0⁰ is 1: the last step has the base rate too.
                constant(self.base_lr).then(Span::steps(length + 1), self.always(lr_end)).into()
            }
            Some(length) => {
                polynomial(self.base_lr, lr_end, power).length(Span::steps(length)).into()
            }
        };
        Ok(self.warmed_up(warmup, tail))
    }

    fn inverse_sqrt(&self) -> Phase {
        self.arguments.ignore("num_training_steps");
        let warmup = self.warmup()?;
        let default = if warmup == 0 { 10_000 } else { warmup };
        let timescale = self.arguments.count_or("timescale", default)?;
        self.arguments.require("timescale", timescale, timescale > 0, "at least 1")?;
        let tail = inverse_sqrt(self.base_lr, Span::steps(timescale));
        Ok(self.warmed_up(warmup, tail.into()))
    }

    fn cosine_warmup_with_min_lr(&self) -> Phase {
        let (warmup, training) = self.steps()?;
        let min_lr_rate = self.min_lr_rate()?;
        let from = self.arguments.optional_number("warmup_lr_rate")?;
        let from = from.unwrap_or(1.0 / warmup.max(1) as f64);
        self.arguments.require("warmup_lr_rate", from, from >= 0.0, "at least 0")?;
        let length = training.saturating_sub(warmup).max(1);
        let cycles = self.arguments.number_or("num_cycles", 0.5)?;
        // This one reaches the base rate at the last update of the warm-up.
        let tail = if (0.0..=1.0).contains(&min_lr_rate) && cycles > 0.0 {
            let wave = cosine(self.base_lr).end(min_lr_rate * self.base_lr).cycles(cycles);
            let wave = wave.length(Span::steps(length)).after(AfterEnd::Continue);
            wave.phase(Span::steps(1)).into()
        } else {
            self.decay(length, Falling::Waves(cycles), min_lr_rate, 1)
        };
        let rise = match warmup {
            0 => return Ok(tail),
            1 => self.always(from * self.base_lr),
            _ => linear(from * self.base_lr, self.base_lr).length(Span::steps(warmup - 1)).into(),
        };
        Ok(rise.then(Span::steps(warmup), tail).into())
    }

    fn warmup_stable_decay(&self) -> Phase {
        let warmup = self.warmup()?;
        let decay = self.arguments.count("num_decay_steps")?;
        let training = self.arguments.optional_count("num_training_steps")?;
        let stable = self.arguments.optional_count("num_stable_steps")?;
        let min_lr = self.arguments.number_or("min_lr_ratio", 0.0)?;
        self.arguments.require("min_lr_ratio", min_lr, min_lr >= 0.0, "at least 0")?;
        // Signed: a training shorter than its phases starts inside the decay.
        let stable = match (stable, training) {
            (Some(stable), _) => i128::from(stable),
            (None, Some(training)) => i128::from(training) - i128::from(warmup) - i128::from(decay),
            (None, None) => {
                let allowed = "a count, unless num_stable_steps is given";
                return Err(self.arguments.missing("num_training_steps", allowed));
            }
        };
        let rise = self.arguments.choice("warmup_type", &["linear", "cosine", "1-sqrt"])?;
        let tail = self.stable_and_decay(stable, decay, min_lr)?;
        if warmup == 0 {
            return Ok(tail);
        }
        let (base, low) = (self.base_lr, min_lr * self.base_lr);
        let rise: ScheduleConfig = match rise {
            "linear" => linear(low, base).into(),
            // 1 − √(1 − x) from below is √(1 − x) from above.
            "1-sqrt" => polynomial(low, base, 0.5).into(),
            // The rising half of the wave.
            _ => self.decay(warmup, Falling::Waves(0.5), min_lr, warmup),
        };
        Ok(rise.then(Span::steps(warmup), tail).into())
    }

    fn stable_and_decay(&self, stable: i128, decay: u64, min_lr: f64) -> Phase {
        let decay_type = self.arguments.choice("decay_type", &["cosine", "linear", "1-sqrt"])?;
        let cycles = self.arguments.number_or("num_cycles", 0.5)?;
        let low = self.always(min_lr * self.base_lr);
        // A negative stable phase takes its updates from the decay.
        let early = u64::try_from(-stable).unwrap_or(0).min(decay);
        let stable = u64::try_from(stable).unwrap_or(0);
        let left = decay - early;
        let shape = match decay_type {
            "linear" => Some(DecayShape::Linear),
            "1-sqrt" => Some(DecayShape::OneMinusSqrt),
            _ => (cycles == 0.5).then_some(DecayShape::Cosine),
        };
        if let Some(shape) = shape.filter(|_| left > 0 && early == 0 && min_lr <= 1.0) {
            let curve = stable_decay(self.base_lr, Span::steps(decay)).end(min_lr * self.base_lr);
            let length = Span::steps(stable.saturating_add(decay));
            return Ok(curve.length(length).shape(shape).into());
        }
        let falling = match decay_type {
            "linear" => Falling::Straight,
            "1-sqrt" => Falling::OneMinusSqrt,
            _ => Falling::Waves(cycles),
        };
        let end = match left {
            0 => low,
            _ => self.decay(decay, falling, min_lr, early).then(Span::steps(left), low).into(),
        };
        Ok(match stable {
            0 => end,
            _ => constant(self.base_lr).then(Span::steps(stable), end).into(),
        })
    }

    fn warmup(&self) -> Result<u64, PeerError> {
        const WARMUP: &str = "num_warmup_steps";
        let share = self
            .arguments
            .value(WARMUP)
            .filter(|value| value.as_f64().is_some_and(|share| share > 0.0 && share < 1.0));
        let allowed =
            "a number of updates; a share is `warmup_ratio` of TrainingArguments (hf-args)";
        match share {
            Some(share) => Err(self.arguments.wrong(WARMUP, share, allowed)),
            None => self.arguments.count(WARMUP),
        }
    }

    fn steps(&self) -> Result<(u64, u64), PeerError> {
        Ok((self.warmup()?, self.arguments.count("num_training_steps")?))
    }

    /// The lowest rate as a share of the base rate.
    fn min_lr_rate(&self) -> Result<f64, PeerError> {
        let absolute = self.arguments.optional_number("min_lr")?;
        let rate = self.arguments.optional_number("min_lr_rate")?;
        match (absolute, rate) {
            (Some(absolute), None) => Ok(absolute / self.base_lr),
            (None, Some(rate)) => Ok(rate),
            (None, None) => {
                Err(self.arguments.missing("min_lr_rate", "a number, unless min_lr is given"))
            }
            (Some(absolute), Some(_)) => {
                Err(self.arguments.wrong("min_lr", absolute, "only one of min_lr and min_lr_rate"))
            }
        }
    }

    /// The usual warm-up: t/n of the base rate, then `tail`.
    fn warmed_up(&self, updates: u64, tail: ScheduleConfig) -> ScheduleConfig {
        match updates {
            0 => tail,
            _ => linear(0.0, self.base_lr).then(Span::steps(updates), tail).into(),
        }
    }

    fn decay(&self, length: u64, shape: Falling, min_lr_rate: f64, offset: u64) -> ScheduleConfig {
        TransformersDecay { base_lr: self.base_lr, length, shape, min_lr_rate, offset }.into()
    }

    /// A rate that is always 0.
    fn nothing(&self) -> ScheduleConfig {
        self.decay(1, Falling::Straight, 0.0, 1)
    }

    /// A constant rate, possibly 0.
    fn always(&self, rate: f64) -> ScheduleConfig {
        if rate == 0.0 { self.nothing() } else { constant(rate).into() }
    }
}

/// The number of restarts and their length, if transformers restarts exactly there: it takes the remainder of a rounded
/// product.
fn even_cycles(cycles: f64, length: u64) -> Option<(u64, u64)> {
    let count = cycles as u64;
    if count as f64 != cycles || count == 0 || !length.is_multiple_of(count) {
        return None;
    }
    let cycle = length / count;
    let passed = |restart: u64| cycles * ((restart * cycle) as f64 / length as f64);
    (count <= 1_000 && (1..count).all(|restart| passed(restart) == restart as f64))
        .then_some((count, cycle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_steps(mut arguments: Value) -> Value {
        arguments["num_warmup_steps"] = 5.into();
        arguments["num_training_steps"] = 25.into();
        arguments
    }

    #[test]
    fn common_schedules_become_our_own_curves() {
        for (name, arguments, expected) in [
            ("constant", json!({}), "constant(1.0)"),
            ("constant_with_warmup", json!({}), "linear(0.0, 1.0).then(5, constant(1.0))"),
            ("linear", json!({}), "linear(0.0, 1.0).then(5, linear(1.0, 0.0).length(20))"),
            (
                "cosine",
                json!({}),
                "linear(0.0, 1.0).then(5, cosine(1.0).length(20).after(continue))",
            ),
            ("cosine_with_restarts", json!({}), "linear(0.0, 1.0).then(5, cosine(1.0).length(20))"),
            (
                "polynomial",
                json!({ "power": 2 }),
                "linear(0.0, 1.0).then(5, polynomial(1.0, 1e-7, 2.0).length(20))",
            ),
            ("inverse_sqrt", json!({}), "linear(0.0, 1.0).then(5, inverse_sqrt(1.0, 5))"),
            (
                "cosine_with_min_lr",
                json!({ "min_lr_rate": 0.1 }),
                "linear(0.0, 1.0).then(5, cosine(1.0).end(0.1).length(20).after(continue))",
            ),
            (
                "warmup_stable_decay",
                json!({ "num_decay_steps": 4, "min_lr_ratio": 0.1 }),
                "linear(0.1, 1.0).then(5, stable_decay(1.0, 4).shape(cosine).end(0.1).length(20))",
            ),
        ] {
            let text = translate(name, &with_steps(arguments), 1.0).unwrap().rate.to_string();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_the_reason() {
        let steps = with_steps;
        for (name, arguments, words) in [
            ("greedy", json!({ "patience": 3 }), "reacts to training"),
            ("reduce_lr_on_plateau", json!({}), "reacts to training"),
            ("cosine_with_min", json!({}), "did you mean `cosine_with_min_lr`?"),
            ("linear", json!({}), "`num_warmup_steps` is missing"),
            ("linear", json!({ "num_warmup_steps": 5 }), "`num_training_steps` is missing"),
            ("linear", steps(json!({ "num_cycles": 1 })), "no argument `num_cycles`"),
            ("polynomial", steps(json!({ "lr_end": 1 })), "below the base rate"),
            ("polynomial", steps(json!({ "lr_end": -1 })), "at least 0"),
            ("polynomial", steps(json!({ "power": -1 })), "`power` = -1.0"),
            (
                "polynomial",
                json!({ "num_warmup_steps": 5, "num_training_steps": 5 }),
                "`num_training_steps` = 5",
            ),
            ("inverse_sqrt", steps(json!({ "timescale": 0 })), "`timescale` = 0"),
            ("cosine_with_min_lr", steps(json!({})), "`min_lr_rate` is missing"),
            (
                "cosine_with_min_lr",
                steps(json!({ "min_lr": 0.1, "min_lr_rate": 0.1 })),
                "only one of min_lr and min_lr_rate",
            ),
            (
                "cosine_warmup_with_min_lr",
                steps(json!({ "min_lr": 0.1, "warmup_lr_rate": -1 })),
                "`warmup_lr_rate` = -1.0",
            ),
            (
                "warmup_stable_decay",
                json!({ "num_warmup_steps": 5, "num_decay_steps": 5 }),
                "`num_training_steps` is missing",
            ),
            (
                "warmup_stable_decay",
                steps(json!({ "num_decay_steps": 5, "min_lr_ratio": -0.1 })),
                "`min_lr_ratio` = -0.1",
            ),
            (
                "warmup_stable_decay",
                steps(json!({ "num_decay_steps": 5, "decay_type": "exp" })),
                "cosine, linear, 1-sqrt",
            ),
            ("cosine", steps(json!({ "num_cycles": 2e9 })), "cosine.cycles"),
        ] {
            let message = translate(name, &arguments, 1.0).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}

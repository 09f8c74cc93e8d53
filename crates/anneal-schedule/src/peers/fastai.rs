//! fastai: the schedulers of `fastai.callback.schedule`, as of 2.8.
//!
//! | scheduler | arguments |
//! | --- | --- |
//! | `SchedNo` | `start`, `end` (ignored), `steps` |
//! | `SchedLin` | `start`, `end`, `steps` |
//! | `SchedCos` | `start`, `end`, `steps` |
//! | `SchedExp` | `start`, `end`, `steps` |
//! | `SchedPoly` | `start`, `end`, `power`, `steps` |
//! | `combined_cos` | `pct`, `start`, `middle`, `end`, `steps` |
//!
//! A fastai scheduler is a function of the position in training, from 0 to 1. `steps`, at least 2, is the
//! number of updates that sample it: update t is at t/(steps − 1), and the last value is held. fastai's own
//! training loop never reaches position 1: for N updates of `fit_one_cycle` use `steps` = N + 1. No argument
//! has a default.
//!
//! | refused | because |
//! | --- | --- |
//! | `combine_scheds` | it combines functions; give its parts as a sequence |
//! | rates below 0, `power` below 0, `SchedExp` from 0, `combined_cos` with `pct` 1 | the rate would be negative, or fastai divides by 0 |
//!
//! `combined_cos` computes the position within a phase in 32-bit floats, which changes the rates by a
//! relative error of about 10⁻⁵; the translation does so too. `base_lr` is not used.
//!
//! The translation uses this crate's own curves if they are equal, and otherwise `fastai_annealer` and
//! `fastai_combined_cos`, which files and the text form know, but which have no builder.

use super::{Arguments, PeerError, Translation};
use crate::curve::{Describe, Rate, fraction, half_cosine, mix};
use crate::{Decay, ScheduleError, Span, constant, cosine, exponential, linear, scope::Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) const NAMES: &[&str] =
    &["SchedNo", "SchedLin", "SchedCos", "SchedExp", "SchedPoly", "combined_cos"];

const REFUSED: &[(&str, &str)] =
    &[("combine_scheds", "it combines functions; give its parts as a sequence")];

/// Translates the scheduler `name`; see the [module](self) for the names and arguments.
///
/// ```
/// use anneal_schedule::peers::fastai;
/// use serde_json::json;
///
/// let arguments = json!({ "start": 0.1, "end": 0.01, "steps": 91 });
/// let translation = fastai::translate("SchedLin", &arguments, 0.1)?;
/// assert_eq!(translation.rate.to_string(), "linear(0.1, 0.01).length(90)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PeerError`] with what is unknown, wrong or refused.
pub fn translate(name: &str, arguments: &Value, _base_lr: f64) -> Result<Translation, PeerError> {
    if let Some((_, reason)) = REFUSED.iter().find(|refused| refused.0 == name) {
        return Err(PeerError::Refused { name: name.to_string(), reason });
    }
    Arguments::read(name, arguments, read)?.checked(name)
}

fn read(arguments: &Arguments<'_>) -> Result<Translation, PeerError> {
    let name = arguments.scheduler();
    if !NAMES.contains(&name) {
        return Err(PeerError::unknown_scheduler("fastai", name, NAMES));
    }
    let rate = |name| {
        let rate = arguments.number(name)?;
        arguments.require(name, rate, rate >= 0.0, "at least 0")
    };
    let (start, end) = (rate("start")?, rate("end")?);
    let steps = arguments.count("steps")?;
    let length = arguments.require("steps", steps, steps >= 2, "a whole number, at least 2")? - 1;
    let span = Span::steps(length);
    let annealer = |shape| FastaiAnnealer { start, end, length, shape };
    Ok(match name {
        "SchedNo" => constant(start).into(),
        "SchedLin" if start > 0.0 => linear(start, end).length(span).into(),
        "SchedLin" => annealer(FastaiShape::Poly(1.0)).into(),
        "SchedCos" if start > 0.0 && end <= start => cosine(start).end(end).length(span).into(),
        "SchedCos" => annealer(FastaiShape::Cos).into(),
        "SchedExp" => {
            arguments.require("start", start, start > 0.0, "above 0; fastai divides by it")?;
            match end > 0.0 {
                true => exponential(start, Decay::Toward { end: end.into(), length: span }).into(),
                false => annealer(FastaiShape::Exp).into(),
            }
        }
        "SchedPoly" => {
            let power = arguments.number("power")?;
            let allowed = "at least 0; fastai divides by 0 below it";
            let power = arguments.require("power", power, power >= 0.0, allowed)?;
            match power == 1.0 && start > 0.0 {
                true => linear(start, end).length(span).into(),
                false => annealer(FastaiShape::Poly(power)).into(),
            }
        }
        _ => {
            let pct = arguments.number("pct")?;
            let ok = (0.0..1.0).contains(&(pct as f32)) && pct >= 0.0;
            let pct = arguments.require("pct", pct, ok, "in [0, 1)")?;
            FastaiCombinedCos { start, middle: rate("middle")?, end, length, pct }.into()
        }
    })
}

/// A fastai annealer that no curve of this crate equals: from `start` to `end` with x = t / length, then
/// held.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FastaiAnnealer {
    /// The first rate, at least 0.
    pub start: f64,
    /// The last rate, at least 0.
    pub end: f64,
    /// The updates between them, at least 1.
    pub length: u64,
    /// The shape of the curve.
    pub shape: FastaiShape,
}

/// The shape of a [`FastaiAnnealer`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FastaiShape {
    /// start + (end − start) · ½(1 + cos(π(1 − x)))
    Cos,
    /// start · (end/start)^x
    Exp,
    /// start + (end − start) · x^p, p at least 0
    Poly(f64),
}

impl Describe for FastaiAnnealer {
    type Resolved = FastaiAnnealer;

    fn resolve(&self, scope: &Scope<'_>) -> Result<FastaiAnnealer, ScheduleError> {
        let resolved = FastaiAnnealer {
            start: scope.within("start", self.start, 0.0..=f64::MAX)?,
            end: scope.within("end", self.end, 0.0..=f64::MAX)?,
            length: at_least_1(scope, self.length)?,
            shape: self.shape,
        };
        if let FastaiShape::Poly(power) = self.shape {
            scope.within("shape.poly", power, 0.0..=f64::MAX)?;
        }
        above_0(resolved, scope)
    }
}

impl Rate for FastaiAnnealer {
    fn rate(&self, step: u64) -> f64 {
        let x = fraction(step, self.length);
        match self.shape {
            FastaiShape::Cos => mix(self.start, self.end, half_cosine(x)),
            FastaiShape::Poly(power) => mix(self.end, self.start, x.powf(power)),
            // start^(1−x) · end^x; as separate powers, because either rate may be 0.
            FastaiShape::Exp => {
                let rate = self.start.powf(1.0 - x) * self.end.powf(x);
                rate.clamp(self.start.min(self.end), self.start.max(self.end))
            }
        }
    }

    fn peak(&self) -> f64 {
        self.start.max(self.end)
    }
}

/// fastai's `combined_cos`, with the position within a phase in 32-bit floats as there.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FastaiCombinedCos {
    /// The first rate, at least 0.
    pub start: f64,
    /// The rate at the turn, at least 0.
    pub middle: f64,
    /// The last rate, at least 0.
    pub end: f64,
    /// The updates from the first to the last rate, at least 1.
    pub length: u64,
    /// The share of them before the turn, in [0, 1).
    pub pct: f64,
}

impl Describe for FastaiCombinedCos {
    type Resolved = FastaiCombinedCos;

    fn resolve(&self, scope: &Scope<'_>) -> Result<FastaiCombinedCos, ScheduleError> {
        // Also in 32 bits: a share that rounds to 1 leaves no second phase.
        let ok = self.pct >= 0.0 && (self.pct as f32) < 1.0;
        let resolved = FastaiCombinedCos {
            start: scope.within("start", self.start, 0.0..=f64::MAX)?,
            middle: scope.within("middle", self.middle, 0.0..=f64::MAX)?,
            end: scope.within("end", self.end, 0.0..=f64::MAX)?,
            length: at_least_1(scope, self.length)?,
            pct: scope.require("pct", self.pct, ok, "in [0, 1)")? + 0.0,
        };
        above_0(resolved, scope)
    }
}

impl Rate for FastaiCombinedCos {
    fn rate(&self, step: u64) -> f64 {
        let position = fraction(step, self.length) as f32;
        let turn = self.pct as f32;
        let last = turn + (1.0 - self.pct) as f32;
        if position < turn {
            mix(self.start, self.middle, half_cosine(f64::from(position / turn)))
        } else {
            let x = (position - turn) / (last - turn);
            mix(self.middle, self.end, half_cosine(f64::from(x)))
        }
    }

    fn peak(&self) -> f64 {
        self.start.max(self.middle).max(self.end)
    }
}

fn at_least_1(scope: &Scope<'_>, length: u64) -> Result<u64, ScheduleError> {
    if length > 0 {
        Ok(length)
    } else {
        Err(scope.out_of_range("length", "0".into(), "at least 1"))
    }
}

/// Refuses a schedule that is always 0.
fn above_0<R: Rate>(resolved: R, scope: &Scope<'_>) -> Result<R, ScheduleError> {
    let allowed = "rates that are not all 0";
    scope.require("start", resolved.peak(), resolved.peak() > 0.0, allowed)?;
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::refused;
    use serde_json::json;

    #[test]
    fn rises_from_0_and_falls_to_0() {
        let rates = |name: &str, start: f64, end: f64| {
            let arguments = json!({ "start": start, "end": end, "steps": 5 });
            let schedule = translate(name, &arguments, 1.0).unwrap().schedule().unwrap();
            [0, 1, 2, 3, 4, 5].map(|step| schedule.rate(step))
        };
        assert_eq!(rates("SchedLin", 0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(rates("SchedExp", 1.0, 0.0), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let cosine = rates("SchedCos", 0.0, 1.0);
        for (step, rate) in cosine.into_iter().enumerate().take(5) {
            let expected = 0.5 - 0.5 * (std::f64::consts::PI * step as f64 / 4.0).cos();
            assert!((rate - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn refuses_what_fastai_cannot_compute() {
        let base =
            json!({ "start": 0.1, "end": 0.2, "middle": 0.3, "pct": 0.5, "power": 1, "steps": 9 });
        for (name, field, value) in [
            ("SchedExp", "start", json!(0.0)),
            ("SchedLin", "end", json!(-0.1)),
            ("SchedLin", "steps", json!(1)),
            ("SchedPoly", "power", json!(-1.0)),
            ("combined_cos", "pct", json!(1.0)),
            ("combined_cos", "middle", json!(-1.0)),
        ] {
            let mut arguments = base.clone();
            arguments[field] = value;
            match translate(name, &arguments, 0.1) {
                Err(PeerError::Argument { argument, .. }) => assert_eq!(argument, field, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let error = translate("combine_scheds", &base, 0.1).unwrap_err();
        assert!(matches!(error, PeerError::Refused { .. }), "{error}");
    }

    #[test]
    fn refuses_each_field() {
        let shape = FastaiShape::Cos;
        let annealer =
            |start, end, length, shape| refused(FastaiAnnealer { start, end, length, shape });
        assert_eq!(annealer(-1.0, 0.1, 1, shape), "fastai_annealer.start");
        assert_eq!(annealer(0.0, 0.0, 1, shape), "fastai_annealer.start");
        assert_eq!(annealer(0.1, f64::NAN, 1, shape), "fastai_annealer.end");
        assert_eq!(annealer(0.1, 0.2, 0, shape), "fastai_annealer.length");
        assert_eq!(annealer(0.1, 0.2, 1, FastaiShape::Poly(-1.0)), "fastai_annealer.shape.poly");
        let combined = |start, middle, end, length, pct| {
            refused(FastaiCombinedCos { start, middle, end, length, pct })
        };
        assert_eq!(combined(-1.0, 0.1, 0.1, 1, 0.5), "fastai_combined_cos.start");
        assert_eq!(combined(0.1, -1.0, 0.1, 1, 0.5), "fastai_combined_cos.middle");
        assert_eq!(combined(0.1, 0.1, -1.0, 1, 0.5), "fastai_combined_cos.end");
        assert_eq!(combined(0.1, 0.1, 0.1, 0, 0.5), "fastai_combined_cos.length");
        assert_eq!(combined(0.1, 0.1, 0.1, 1, 1.0), "fastai_combined_cos.pct");
    }
}

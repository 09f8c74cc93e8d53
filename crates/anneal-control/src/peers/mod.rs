//! Translates schedulers that react to training into a schedule and a controller.
//!
//! | peer | scheduler | arguments, with the peer's defaults |
//! | --- | --- | --- |
//! | torch | `ReduceLROnPlateau` | `mode` = `"min"`, `factor` = 0.1, `patience` = 10, `threshold` = 1e-4, `threshold_mode` = `"rel"` (`"abs"`), `cooldown` = 0, `min_lr` = 0, `eps` = 1e-8; `verbose` has no effect |
//! | transformers | `reduce_lr_on_plateau` | the same |
//! | transformers | `greedy`, `GreedyLR` | `mode` = `"min"`, `factor` = 0.95, `patience` = 10, `threshold` = 1e-6, `threshold_mode` = `"abs"` (`"rel"`), `cooldown` = 0, `warmup` = 0, `min_lr` = 1e-3, `max_lr` = 1, `eps` = 1e-8, `smooth` = false, `window_size` = 50, `reset_start` = 500; `verbose` has no effect |
//! | timm | `plateau`, `PlateauLRScheduler` | `decay_rate` = 0.1, `patience_t` = 10, `threshold` = 1e-4, `cooldown_t` = 0, `warmup_t` = 0, `warmup_lr_init` = 0, `lr_min` = 0, `mode` = `"max"`; `initialize` is accepted, noise refused |
//!
//! All others are translated by [`anneal_schedule::peers`], without a controller.
//!
//! A patience, a cooldown, a window and GreedyLR's `warmup` count values of the metric, as in the peers.
//! timm's `warmup_t` is a length in updates, like all lengths of schedules: its epochs times the updates per
//! epoch. The rate then rises with each update, while timm changes it once per epoch; the metrics ignored
//! during the warm-up are the same.
//!
//! The peers' arguments do not name the metric: it is `valid Loss` for `mode` `min` and `valid Accuracy` for
//! `max`, unless changed by [`Translation::signal`]. If a peer has a `min_lr` or `max_lr` for each parameter
//! group, translate once for each and put the controllers [on their groups](crate::Describe::on_group).
//!
//! ```
//! use anneal_control::{MetricOf, Plateau, peers};
//! use anneal_schedule::constant;
//! use serde_json::json;
//!
//! let arguments = json!({ "mode": "max", "factor": 0.5, "patience": 3 });
//! let translation = peers::translate("torch", "ReduceLROnPlateau", &arguments, 0.1)?;
//! let translation = translation.signal(MetricOf::valid("F1"));
//! let plateau = Plateau::max(MetricOf::valid("F1")).factor(0.5).patience(3);
//! assert_eq!(translation.rate, constant(0.1).into());
//! assert_eq!(translation.controller.unwrap().rule, plateau.into());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod greedy;
mod plateau;

use crate::{Rule, Scoped, Signal};
use anneal_schedule::peers::Arguments;
pub use anneal_schedule::peers::{PeerError, counts_epochs, names, scales_base_rate};
use anneal_schedule::{RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt};
use serde_json::Value;
use std::fmt;

/// A translated scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// The learning rate that the controller multiplies.
    pub rate: ScheduleConfig,
    /// The momentum, if the scheduler changes it too.
    pub momentum: Option<ScheduleConfig>,
    /// The controller, if the scheduler reacts to training.
    pub controller: Option<Scoped<Rule>>,
}

/// The chains of calls that construct the schedule and the controller, one line each.
impl fmt::Display for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(f)?;
        let Some(Scoped { rule, after, .. }) = &self.controller else { return Ok(()) };
        match rule {
            Rule::Plateau(rule) => write!(f, "\n{rule}")?,
            Rule::Greedy(rule) => write!(f, "\n{rule}")?,
            other => write!(f, "\n{other:?}")?,
        }
        after.map_or(Ok(()), |after| write!(f, ".after({after})"))
    }
}

impl Translation {
    /// The learning rate as an endless schedule, like the peer's own.
    ///
    /// # Errors
    /// [`ScheduleError`] if a value that the peer accepts is out of range here.
    pub fn schedule(&self) -> Result<Schedule, ScheduleError> {
        self.rate.clone().resolve(RunLength::unbounded())
    }

    /// Sets the signal of the controller.
    #[must_use]
    pub fn signal(mut self, signal: impl Into<Signal>) -> Self {
        self.controller = self.controller.map(|scoped| {
            let rule = match scoped.rule {
                Rule::Plateau(rule) => rule.signal(signal).into(),
                Rule::Greedy(rule) => rule.signal(signal).into(),
                other => other,
            };
            Scoped { rule, ..scoped }
        });
        self
    }
}

impl From<anneal_schedule::peers::Translation> for Translation {
    fn from(of_step: anneal_schedule::peers::Translation) -> Self {
        Self { rate: of_step.rate, momentum: of_step.momentum, controller: None }
    }
}

/// A schedule at a base rate, and its controller.
type Read = fn(&Arguments<'_>, f64) -> Result<(ScheduleConfig, Scoped<Rule>), PeerError>;

const CONTROLLED: &[(&str, &str, Read)] = &[
    ("torch", "ReduceLROnPlateau", plateau::torch),
    ("timm", "PlateauLRScheduler", plateau::timm),
    ("timm", "plateau", plateau::timm),
    ("transformers", "reduce_lr_on_plateau", plateau::torch),
    ("transformers", "greedy", greedy::read),
    ("transformers", "GreedyLR", greedy::read),
];

fn controlled(peer: &str) -> impl Iterator<Item = &'static str> {
    CONTROLLED.iter().filter(move |known| known.0 == peer).map(|known| known.1)
}

/// Translates the scheduler `name` of `peer` with its `arguments`, a JSON object, at the rate of the peer's
/// optimizer. See [`anneal_schedule::peers::translate`] for schedulers that do not react to training.
///
/// # Errors
/// [`PeerError`] with the peer, scheduler or argument that is unknown, wrong or refused.
pub fn translate(
    peer: &str,
    name: &str,
    arguments: &Value,
    base_lr: f64,
) -> Result<Translation, PeerError> {
    let name = match peer {
        "transformers" => anneal_schedule::peers::transformers::plain_name(name),
        _ => name,
    };
    let known = CONTROLLED.iter().find(|known| (known.0, known.1) == (peer, name));
    let Some((_, _, read)) = known else {
        return anneal_schedule::peers::translate(peer, name, arguments, base_lr)
            .map(Translation::from)
            .map_err(with_controlled);
    };
    Arguments::read(name, arguments, |arguments| {
        let ok = base_lr > 0.0 && base_lr.is_finite();
        arguments.require("base_lr", base_lr, ok, "a finite number above 0")?;
        let (rate, controller) = read(arguments, base_lr)?;
        let translation = Translation { rate, momentum: None, controller: Some(controller) };
        let wrong = |error| PeerError::Schedule { name: name.to_string(), error };
        translation.schedule().map_err(wrong)?;
        Ok(translation)
    })
}

/// Adds the schedulers with a controller to the suggestions.
fn with_controlled(error: PeerError) -> PeerError {
    match error {
        PeerError::UnknownScheduler { peer, name, .. } => {
            let known = schedulers(peer).unwrap_or_default();
            PeerError::unknown_scheduler(peer, &name, &known)
        }
        other => other,
    }
}

/// The names of the schedulers of `peer` that can be translated.
///
/// # Errors
/// [`PeerError::UnknownPeer`].
pub fn schedulers(peer: &str) -> Result<Vec<&'static str>, PeerError> {
    let mut names = anneal_schedule::peers::schedulers(peer)?;
    names.extend(controlled(peer));
    Ok(names)
}

/// A bound of the rate, possibly a list with one entry per parameter group: only one is supported.
fn bound(
    arguments: &Arguments<'_>,
    argument: &'static str,
    default: f64,
) -> Result<f64, PeerError> {
    let allowed = "one finite rate, at least 0; for several groups, translate once for each, and put each controller \
                   on its group";
    let Some(value) = arguments.value(argument) else { return Ok(default) };
    let one = match value.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_f64(),
        Some(_) => None,
        None => value.as_f64(),
    };
    let rate = one.filter(|rate| *rate >= 0.0 && rate.is_finite());
    rate.ok_or_else(|| arguments.wrong(argument, value, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(peer: &str, name: &str, arguments: Value) -> String {
        translate(peer, name, &arguments, 0.1).unwrap_err().to_string()
    }

    #[test]
    fn schedules_are_translated_as_before() {
        let arguments = json!({ "max_lr": 0.1, "total_steps": 100 });
        let found = translate("torch", "OneCycleLR", &arguments, 0.1).unwrap();
        assert!(found.momentum.is_some() && found.controller.is_none());
    }

    #[test]
    fn every_name_is_listed_and_defaults_are_the_peers() {
        for (peer, name, rule) in [
            (
                "torch",
                "ReduceLROnPlateau",
                "Plateau::min(MetricOf::valid(\"Loss\")).factor(0.1).patience(10)",
            ),
            (
                "transformers",
                "reduce_lr_on_plateau",
                "Plateau::min(MetricOf::valid(\"Loss\")).factor(0.1).patience(10)",
            ),
            (
                "timm",
                "plateau",
                "Plateau::max(MetricOf::valid(\"Accuracy\")).factor(0.1).patience(10)",
            ),
            (
                "transformers",
                "greedy",
                "Greedy::min(MetricOf::valid(\"Loss\"), 0.001..=1.0).factor(0.95).patience(10)",
            ),
        ] {
            assert!(schedulers(peer).unwrap().contains(&name));
            let found = translate(peer, name, &json!({}), 0.1).unwrap();
            assert_eq!(found.to_string(), format!("constant(0.1)\n{rule}"));
        }
    }

    #[test]
    fn arguments_become_fields() {
        let arguments = json!({
            "mode": "max", "factor": 0.5, "patience": 2, "threshold": 0.01, "threshold_mode": "abs",
            "cooldown": 3, "min_lr": [1e-5], "eps": 0, "verbose": true,
        });
        let found = translate("torch", "ReduceLROnPlateau", &arguments, 0.1).unwrap();
        let rule = "Plateau::max(MetricOf::valid(\"Accuracy\")).factor(0.5).patience(2)\
                    .threshold(Threshold::Absolute(0.01)).cooldown(3).min_rate(1e-5).smallest_change(0.0)";
        assert_eq!(found.to_string(), format!("constant(0.1)\n{rule}"));
        let arguments = json!({ "smooth": true, "window_size": 7, "reset_start": 0, "warmup": 2 });
        let found = translate("transformers", "GreedyLR", &arguments, 0.1).unwrap();
        let rule = "Greedy::min(MetricOf::valid(\"Loss\"), 0.001..=1.0).factor(0.95).patience(10)\
                    .warmup(2).reset_after(1).window(7)";
        assert_eq!(found.to_string(), format!("constant(0.1)\n{rule}"));
    }

    /// The controller is inactive during timm's warm-up.
    #[test]
    fn a_warm_up_is_a_schedule() {
        let arguments = json!({ "warmup_t": 5, "warmup_lr_init": 0.01, "mode": "min" });
        let found = translate("timm", "plateau", &arguments, 0.1).unwrap();
        assert_eq!(found.rate.to_string(), "linear(0.01, 0.1).then(5, constant(0.1))");
        assert_eq!(found.controller.unwrap().after, Some(crate::Span::steps(5)));
    }

    #[test]
    fn each_mistake_is_named() {
        for (peer, name, arguments, words) in [
            ("torch", "ReduceLROnPlateu", json!({}), "did you mean `ReduceLROnPlateau`?"),
            ("torch", "StpLR", json!({}), "did you mean `StepLR`?"),
            ("transformers", "greed", json!({}), "did you mean `greedy`?"),
            ("torh", "ReduceLROnPlateau", json!({}), "did you mean `torch`?"),
            ("timm", "plateau", json!({ "patience": 3 }), "did you mean `patience_t`?"),
            ("timm", "plateau", json!({ "noise_pct": 3 }), "random generator"),
            ("timm", "plateau", json!({ "warmup_t": -3 }), "at least 0"),
            ("timm", "plateau", json!({ "lr_min": -3 }), "`lr_min` = -3"),
            ("torch", "ReduceLROnPlateau", json!([]), "must be a JSON object"),
            ("torch", "ReduceLROnPlateau", json!({ "factor": 1 }), "above 0, below 1"),
            ("torch", "ReduceLROnPlateau", json!({ "factor": "x" }), "a finite number"),
            ("torch", "ReduceLROnPlateau", json!({ "threshold": 1 }), "`threshold` = 1.0"),
            ("torch", "ReduceLROnPlateau", json!({ "min_lr": [0, 1] }), "translate once for each"),
            ("torch", "ReduceLROnPlateau", json!({ "min_lr": -1 }), "at least 0"),
            ("torch", "ReduceLROnPlateau", json!({ "eps": -1 }), "at least 0"),
            ("torch", "ReduceLROnPlateau", json!({ "mode": "mean" }), "min, max"),
            ("transformers", "greedy", json!({ "max_lr": 1e-4 }), "at least min_lr, 0.001"),
            ("transformers", "greedy", json!({ "smooth": true, "window_size": 0 }), "at least 1"),
            ("transformers", "greedy", json!({ "threshold": -1 }), "at least 0"),
        ] {
            let error = refusal(peer, name, arguments.clone());
            assert!(error.contains(words), "{name} {arguments}: {error}");
        }
        let error = translate("torch", "ReduceLROnPlateau", &json!({}), 0.0).unwrap_err();
        assert!(error.to_string().contains("a finite number above 0"), "{error}");
    }
}

//! Schedules by their names in transformers or timm.

use super::timm::{self, SCHED};
use super::{PeerError, Translation, transformers};
use crate::scope::Scope;
use crate::{Run, RunLength, ScheduleConfig, ScheduleError, ScheduleExt, Span, constant};
use serde_json::{Value, json};

/// Returns the schedule that transformers' `get_scheduler` or timm's `--sched` makes under this name, stepped
/// every update: at `peak`, after a warm-up, over all of `run`.
///
/// | name | library |
/// | --- | --- |
/// | `linear`, `cosine`, `cosine_with_restarts`, `polynomial`, `constant`, `constant_with_warmup`, `inverse_sqrt` | transformers |
/// | `cosine_with_min_lr`, `cosine_warmup_with_min_lr`, `warmup_stable_decay`: with [`schedule_by_name_with`] | transformers |
/// | `step`, `multistep`, `poly`, `tanh`, `wsd`, `rsqrt`, `none` | timm |
///
/// Both have a `cosine` and a `constant`: the plain name is transformers', `timm.cosine` is timm's.
/// transformers warms up by t/n of the peak, except `constant`, which has no warm-up. timm has its own
/// defaults: a warm-up from 10⁻⁵ over the curve instead of before it, drops by 0.1 every 90 epochs or at 90,
/// 180 and 270, a `poly` of power 0.1, a decay over the last fifth. `reduce_lr_on_plateau`, `greedy` and
/// `plateau` react to training: the error says where to find them.
///
/// The warm-up is a span, 0 for none. The result is a description in updates, for a run as long as `run`; if
/// a drop would come after its end, it is [`truncate`](ScheduleExt::truncate)d.
///
/// ```
/// use anneal_schedule::peers::schedule_by_name;
/// use anneal_schedule::prelude::*;
/// let run = RunLength::from_items(50_000, 64).epochs(10);
/// let schedule = schedule_by_name("cosine", 5e-5, Span::percent(10.0), run)?.resolve(run)?;
/// assert_eq!((schedule.rate(0), schedule.rate(391), schedule.rate(782)), (0.0, 2.5e-5, 5e-5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PeerError`] if the name is unknown (with the nearest one), a value or a length is out of range, or an
/// argument is missing.
pub fn schedule_by_name(
    name: &str,
    peak: f64,
    warmup: Span,
    run: RunLength,
) -> Result<ScheduleConfig, PeerError> {
    schedule_by_name_with(name, peak, warmup, run, &json!({}))
}

/// Like [`schedule_by_name`], with further arguments of the scheduler as a JSON object, in the names and
/// units of the [peer's module](super): transformers' `scheduler_specific_kwargs`, timm's arguments of the
/// scheduler's class. They override those derived from the warm-up and the run.
///
/// ```
/// use anneal_schedule::peers::schedule_by_name_with;
/// use anneal_schedule::prelude::*;
/// use serde_json::json;
/// let run = RunLength::updates(1_000);
/// let tenth = json!({ "min_lr_rate": 0.1 });
/// let config = schedule_by_name_with("cosine_with_min_lr", 1.0, Span::steps(100), run, &tenth)?;
/// assert_eq!(config.resolve(run)?.rate(1_000), 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`schedule_by_name`].
pub fn schedule_by_name_with(
    name: &str,
    peak: f64,
    warmup: Span,
    run: RunLength,
    arguments: &Value,
) -> Result<ScheduleConfig, PeerError> {
    let failed = |error| PeerError::Schedule { name: name.to_string(), error };
    let lengths = Lengths::of(warmup, run).map_err(failed)?;
    let given = |defaults: Value| merged(name, defaults, arguments);
    let in_timm = name.strip_prefix("timm.").or(Some(name).filter(|name| {
        !transformers::NAMES.contains(name) && SCHED.iter().any(|known| known.0 == *name)
    }));
    let translation = match in_timm {
        _ if name == "none" => Ok(Translation::from(constant(peak))),
        _ if matches!(name, "plateau" | "timm.plateau") => {
            Err(PeerError::answers_to_training(name))
        }
        Some(sched) => {
            let known = SCHED.iter().find(|known| known.0 == sched);
            let (_, class) = known.ok_or_else(|| unknown(name))?;
            let arguments = given(lengths.timm(sched, arguments)?)?;
            timm::translate(class, &arguments, peak)
        }
        None => {
            let plain = name.strip_prefix("transformers.").unwrap_or(name);
            let arguments = given(lengths.transformers())?;
            if plain == "warmup_stable_decay" && arguments.get("num_decay_steps").is_none() {
                let (name, allowed) = (name.to_string(), "a count of updates".to_string());
                return Err(PeerError::Missing { name, argument: "num_decay_steps", allowed });
            }
            match transformers::translate(plain, &arguments, peak) {
                Err(PeerError::UnknownScheduler { .. }) => Err(unknown(name)),
                translation => translation,
            }
        }
    };
    let config = translation?.rate;
    match config.clone().resolve(run) {
        Err(ScheduleError::TooLong { .. }) => Ok(config.truncate().into()),
        _ => Ok(config),
    }
}

fn unknown(name: &str) -> PeerError {
    let of_timm = SCHED.iter().map(|known| known.0).chain(["none"]);
    let of_timm = of_timm.filter(|name| !transformers::NAMES.contains(name));
    let known: Vec<&str> = transformers::NAMES.iter().copied().chain(of_timm).collect();
    PeerError::unknown_scheduler("transformers or timm", name, &known)
}

/// The `arguments`, completed by the `defaults`.
fn merged(name: &str, mut defaults: Value, arguments: &Value) -> Result<Value, PeerError> {
    let Some(given) = arguments.as_object() else {
        let (name, found) = (name.to_string(), arguments.to_string());
        return Err(PeerError::NoObject { name, found });
    };
    for (argument, value) in given {
        defaults[argument] = value.clone();
    }
    Ok(defaults)
}

/// A run and its warm-up in updates.
struct Lengths {
    warmup: u64,
    updates: u64,
    run: Run,
}

impl Lengths {
    fn of(warmup: Span, run: RunLength) -> Result<Self, ScheduleError> {
        let run = run.resolve()?;
        let scope = Scope::whole(&run);
        let warmup = scope.milestone("warmup", scope.stated("warmup", warmup)?)?;
        Ok(Self { warmup, updates: scope.rounded_length("run", Span::Rest)?, run })
    }

    fn transformers(&self) -> Value {
        json!({ "num_warmup_steps": self.warmup, "num_training_steps": self.updates })
    }

    /// The arguments that timm's `create_scheduler_v2` passes to its schedulers.
    fn timm(&self, sched: &str, arguments: &Value) -> Result<Value, PeerError> {
        let epochs = |argument: &'static str, epochs: &[u64]| {
            // If the argument is given, no default is needed.
            let updates = self.run.updates_per_epoch().or(arguments.get(argument).map(|_| 1));
            let missing = || PeerError::Missing {
                name: sched.to_string(),
                argument,
                allowed: format!(
                    "given in updates, because timm's default {epochs:?} is in epochs, which the run does not have"
                ),
            };
            let updates = updates.ok_or_else(missing)?;
            Ok(epochs.iter().map(|epoch| epoch.saturating_mul(updates)).collect::<Vec<_>>())
        };
        let mut all = json!({ "warmup_t": self.warmup, "warmup_lr_init": 1e-5 });
        let mut set = |argument: &str, value: Value| all[argument] = value;
        if matches!(sched, "cosine" | "tanh" | "poly") {
            set("t_initial", self.updates.into());
        }
        match sched {
            "step" => {
                set("decay_t", epochs("decay_t", &[90])?[0].into());
                set("decay_rate", 0.1.into());
            }
            "multistep" => {
                set("decay_t", epochs("decay_t", &[90, 180, 270])?.into());
                set("decay_rate", 0.1.into());
            }
            "constant" => {
                set("decay_t", 1.into());
                set("decay_rate", 1.0.into());
            }
            "poly" => set("power", 0.1.into()),
            "wsd" | "rsqrt" => {
                // Its warm-up is always a prefix; timm makes room for it.
                let left = self.updates.saturating_sub(self.warmup);
                set("t_initial", left.into());
                set("decay_t", ((0.2 * left as f64).round_ties_even() as u64).into());
            }
            _ => {}
        }
        if sched == "rsqrt" {
            set("stable_fn", "rsqrt".into());
            set("decay_fn", "linear".into());
        }
        if matches!(sched, "step" | "multistep" | "constant") {
            set("warmup_prefix", false.into());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: fn() -> RunLength = || RunLength::updates_per_epoch(10).epochs(30);

    fn rates(name: &str, warmup: Span, steps: &[u64]) -> Vec<f64> {
        let config = schedule_by_name(name, 1.0, warmup, RUN()).unwrap();
        let schedule = config.resolve(RUN()).unwrap();
        steps.iter().map(|&step| schedule.rate(step)).collect()
    }

    fn refused(name: &str, warmup: Span, run: RunLength) -> String {
        schedule_by_name(name, 1.0, warmup, run).unwrap_err().to_string()
    }

    #[test]
    fn warm_up_and_run_are_counted_in_updates() {
        // A tenth of 300 updates, then the cosine over 270.
        let found = rates("cosine", Span::percent(10), &[0, 15, 30, 165, 300]);
        for (found, expected) in found.into_iter().zip([0.0, 0.5, 1.0, 0.5, 0.0]) {
            assert!((found - expected).abs() < 1e-15, "{found} is not {expected}");
        }
        assert_eq!(rates("linear", Span::steps(0), &[0, 150, 300]), [1.0, 0.5, 0.0]);
        assert_eq!(rates("constant", Span::epochs(1), &[0, 299]), [1.0, 1.0]);
        assert_eq!(rates("none", Span::epochs(1), &[0, 299]), [1.0, 1.0]);
    }

    /// From timm's formulas, with the defaults of its `create_scheduler_v2`.
    #[test]
    fn timm_has_its_own_defaults() {
        let ten = Span::epochs(1);
        let rise = |t: f64| 1e-5 + t * (1.0 - 1e-5) / 10.0;
        let half_cosine = |t: f64| 0.5 * (1.0 + (std::f64::consts::PI * t / 300.0).cos());
        for (found, expected) in [
            (
                rates("timm.cosine", ten, &[3, 10, 100]),
                [rise(3.0), half_cosine(10.0), half_cosine(100.0)],
            ),
            (rates("timm.constant", ten, &[3, 10, 100]), [rise(3.0), 1.0, 1.0]),
            (
                rates("poly", ten, &[3, 10, 150]),
                [rise(3.0), (1.0f64 - 10.0 / 300.0).powf(0.1), 0.5f64.powf(0.1)],
            ),
            // The first drop would come after 90 epochs; the run has 30.
            (rates("step", ten, &[3, 10, 299]), [rise(3.0), 1.0, 1.0]),
            // 290 updates after the warm-up, of which the last 58 decay.
            (rates("wsd", ten, &[3, 242, 271]), [rise(3.0), 1.0, 1.0 - 0.5f64.sqrt()]),
        ] {
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
            }
        }
        let long = RunLength::updates_per_epoch(10).epochs(100);
        let step = schedule_by_name("step", 1.0, ten, long).unwrap().resolve(long).unwrap();
        assert_eq!((step.rate(899), step.rate(900)), (1.0, 0.1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let ten = Span::steps(10);
        for (name, warmup, run, words) in [
            ("cosin", ten, RUN(), "did you mean `cosine`?"),
            ("multi_step", ten, RUN(), "did you mean `multistep`?"),
            ("timm.cosin", ten, RUN(), "transformers or timm has no scheduler `timm.cosin`"),
            ("plateau", ten, RUN(), "reacts to training"),
            ("reduce_lr_on_plateau", ten, RUN(), "reacts to training"),
            ("cosine_with_min_lr", ten, RUN(), "`min_lr_rate` is missing"),
            ("warmup_stable_decay", ten, RUN(), "`num_decay_steps` is missing"),
            ("cosine", Span::Rest, RUN(), "warmup: rest is not allowed"),
            ("cosine", Span::steps(301), RUN(), "warmup: 301 is 301 updates"),
            ("cosine", Span::epochs(1), RunLength::updates(9), "updates per epoch"),
            ("cosine", ten, RunLength::unbounded(), "known length"),
            ("step", ten, RunLength::updates(100), "`decay_t` is missing"),
        ] {
            let message = refused(name, warmup, run);
            assert!(message.contains(words), "{name}: {message}");
        }
        let list = schedule_by_name_with("linear", 1.0, ten, RUN(), &json!([1])).unwrap_err();
        assert!(list.to_string().contains("JSON object"), "{list}");
        let zero = schedule_by_name("linear", 0.0, ten, RUN()).unwrap_err();
        assert!(zero.to_string().contains("a finite number above 0"), "{zero}");
    }
}

//! PyTorch: `torch.optim.lr_scheduler`, as of 2.15, and `SWALR` of `torch.optim.swa_utils`.
//!
//! | scheduler | arguments, with torch's defaults |
//! | --- | --- |
//! | `ConstantLR` | `factor` = 1/3, `total_iters` = 5 |
//! | `LinearLR` | `start_factor` = 1/3, `end_factor` = 1, `total_iters` = 5 |
//! | `StepLR` | `step_size`, `gamma` = 0.1 |
//! | `MultiStepLR` | `milestones`, `gamma` = 0.1 |
//! | `ExponentialLR` | `gamma` |
//! | `PolynomialLR` | `total_iters` = 5, `power` = 1 |
//! | `CosineAnnealingLR` | `T_max`, `eta_min` = 0 |
//! | `CosineAnnealingWarmRestarts` | `T_0`, `T_mult` = 1, `eta_min` = 0 |
//! | `CyclicLR` | `base_lr`, `max_lr`, `step_size_up` = 2000, `step_size_down` = `step_size_up`, `mode` = `"triangular"` (`"triangular2"`, `"exp_range"`), `gamma` = 1, `cycle_momentum` = true, `base_momentum` = 0.8, `max_momentum` = 0.9; `scale_mode` is ignored as torch ignores it |
//! | `OneCycleLR` | `max_lr`, `total_steps` or `epochs` and `steps_per_epoch`, `pct_start` = 0.3, `anneal_strategy` = `"cos"` (`"linear"`), `div_factor` = 25, `final_div_factor` = 10⁴, `three_phase` = false, `cycle_momentum` = true, `base_momentum` = 0.85, `max_momentum` = 0.95 |
//! | `SWALR` | `swa_lr`, `anneal_epochs` = 10, `anneal_strategy` = `"cos"` (`"linear"`) |
//! | `SequentialLR` | `schedulers`, a list of `{"name": …, "args": {…}}`, and `milestones` |
//! | `ChainedScheduler` | `schedulers`, the same list |
//!
//! Each also takes `last_epoch` = −1 (a resumed run evaluates the schedule at a later update) and `verbose`,
//! and the last two take `optimizer`; they have no effect. If a scheduler cycles the momentum, the
//! translation includes the momentum's curve, for SGD's momentum or Adam's β₁.
//!
//! | refused | because |
//! | --- | --- |
//! | `LambdaLR`, `MultiplicativeLR`, `CyclicLR`'s `scale_fn` | their rate is code |
//! | `ReduceLROnPlateau` | it reacts to training, so it is not a function of the step: anneal-control translates it |
//! | arguments that make a rate negative, for example `eta_min` or `gamma` below 0 | no optimizer has a use for it |
//! | arguments for which torch divides by 0: `ConstantLR` with factor 0, `PolynomialLR` with power below 0, `OneCycleLR` with `pct_start` · `total_steps` = 1, `LinearLR` or `PolynomialLR` with `total_iters` 0 at a milestone | torch raises an error |
//! | a `SequentialLR` or `ChainedScheduler` inside a `SequentialLR`, unless it comes first | torch raises an error at the milestone |
//! | a nested first one that contains a `SWALR`, a `CosineAnnealingLR` with `T_max` 1, or another nested first one | torch steps it more often than intended |
//! | in a `ChainedScheduler`: two `CosineAnnealingLR`; one after a scheduler that sets the rate; one with `eta_min` above 0 and a scheduler that never settles, for example `ExponentialLR` | there is no closed form |
//!
//! A `CosineAnnealingLR` with `eta_min` above 0 next to a warm-up or another scheduler that settles, and a
//! `SWALR` next to any scheduler, have no closed form until the others have settled: these updates, at most a
//! million, are computed when the schedule is resolved.
//!
//! The rates are those of a fresh run that calls `step()` after every update. A translation follows torch
//! even where that is surprising: a `CosineAnnealingLR` continues along its wave; a `ConstantLR` with
//! `total_iters` 0 keeps its factor; a scheduler that sets the rate undoes the ones before it in a
//! `ChainedScheduler`; one that multiplies the rate after it acts on that update alone; a `OneCycleLR`
//! changes the rate from which later schedulers start. Where torch raises an error after its last step, in
//! `OneCycleLR`, the end is held. Rates that overflow in torch stay at the largest f64.
//!
//! The translation uses this crate's own curves if they are equal, and otherwise a curve `torch_chain` that
//! computes as torch does, which files and the text form know, but which has no builder.

mod arrange;
mod build;
mod chain;
mod link;
mod public;

#[doc(hidden)]
pub use chain::{TorchChain, TorchPhase};
#[doc(hidden)]
pub use link::{TorchCyclicMode, TorchLink};

use super::error::ANSWERS_TO_TRAINING;
use super::{PeerCurve, PeerError, Translation};
use crate::ScheduleConfig;
use serde_json::Value;

pub(super) const NAMES: &[&str] = &[
    "ConstantLR",
    "LinearLR",
    "StepLR",
    "MultiStepLR",
    "ExponentialLR",
    "PolynomialLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "OneCycleLR",
    "SWALR",
    "SequentialLR",
    "ChainedScheduler",
];

/// The schedulers that state their own rates, and that torch steps after every batch.
pub(super) const OWN_RATES: &[&str] = &["OneCycleLR", "CyclicLR"];

const REFUSED: &[(&str, &str)] =
    &[("LambdaLR", CODE), ("MultiplicativeLR", CODE), ("ReduceLROnPlateau", ANSWERS_TO_TRAINING)];

const CODE: &str = "its rate is code; write the function as a schedule of your own";

/// Translates the scheduler `name`; see the [module](self) for the names and arguments.
///
/// ```
/// use anneal_schedule::peers::torch;
/// use serde_json::json;
///
/// let translation = torch::translate("StepLR", &json!({ "step_size": 30 }), 0.1)?;
/// assert_eq!(translation.rate.to_string(), "step_decay(0.1, 30, 0.1)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PeerError`] with what is unknown, wrong or refused.
pub fn translate(name: &str, arguments: &Value, base_lr: f64) -> Result<Translation, PeerError> {
    let mut group = build::Group::new(base_lr);
    let mut scheduler = build::scheduler(name, arguments, &mut group, 0)?;
    scheduler.share(&group);
    let tracks = arrange::tracks(&scheduler)?;
    let rates = tracks.iter().map(|track| track.iter().map(arrange::rate_phase).collect());
    let start = match &scheduler {
        build::Scheduler::Sequence { initial_lr, .. } => *initial_lr,
        _ => base_lr,
    };
    let momentum = group
        .momentum
        .map(|made| public::description(made, arrange::momentum_tracks(&tracks, made)));
    let rate = public::description(start, rates.collect::<Result<_, _>>()?);
    if let ScheduleConfig::Peer(PeerCurve::TorchChain(chain)) = &rate {
        let refused = |reason| PeerError::Refused { name: name.to_string(), reason };
        chain.start_length().map_err(refused)?;
    }
    Translation { rate, momentum }.checked(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schedule;
    use serde_json::json;
    use std::f64::consts::PI;

    fn schedule(name: &str, arguments: Value, base_lr: f64) -> Schedule {
        let translation = translate(name, &arguments, base_lr);
        translation.unwrap_or_else(|error| panic!("{error}")).schedule().unwrap()
    }

    fn assert_rates(schedule: &Schedule, expected: impl IntoIterator<Item = f64>) {
        for (step, expected) in expected.into_iter().enumerate() {
            let rate = schedule.rate(step as u64);
            assert!((rate - expected).abs() <= 1e-12 * expected, "{schedule} at {step}: {rate}");
        }
    }

    fn several(schedulers: &[(&str, Value)], milestones: &[i64]) -> Value {
        let one = |(name, args): &(&str, Value)| json!({ "name": name, "args": args });
        let schedulers: Vec<Value> = schedulers.iter().map(one).collect();
        match milestones.len() + 1 == schedulers.len() && !milestones.is_empty() {
            true => json!({ "schedulers": schedulers, "milestones": milestones }),
            false => json!({ "schedulers": schedulers }),
        }
    }

    /// From torch's documentation: a constant for 20 epochs, then a decay by 0.9.
    #[test]
    fn a_sequence_is_what_torch_documents() {
        let parts = [
            ("ConstantLR", json!({ "factor": 0.1, "total_iters": 20 })),
            ("ExponentialLR", json!({ "gamma": 0.9 })),
        ];
        let sequence = schedule("SequentialLR", several(&parts, &[20]), 0.05);
        assert_rates(&sequence, [0.005; 20].into_iter().chain([0.05, 0.045, 0.0405]));
        let chain = schedule("ChainedScheduler", several(&parts, &[]), 0.05);
        let expected = |t: i32| if t < 20 { 0.005 } else { 0.05 } * 0.9f64.powi(t);
        assert_rates(&chain, (0..40).map(expected));
    }

    /// By torch's rule: it multiplies by gamma at every epoch but 0, whatever set the rate.
    #[test]
    fn what_follows_a_scheduler_that_sets_the_rate_acts_on_one_update_alone() {
        let parts = [
            ("CosineAnnealingWarmRestarts", json!({ "T_0": 5 })),
            ("ExponentialLR", json!({ "gamma": 0.5 })),
        ];
        let chain = schedule("ChainedScheduler", several(&parts, &[]), 1.0);
        let wave = |t: usize| 0.5 + 0.5 * (PI * (t % 5) as f64 / 5.0).cos();
        assert_rates(&chain, (0..12).map(|t| wave(t) * if t == 0 { 1.0 } else { 0.5 }));
        let parts = [parts[1].clone(), parts[0].clone()];
        let chain = schedule("ChainedScheduler", several(&parts, &[]), 1.0);
        assert_rates(&chain, (0..12).map(wave));
    }

    /// torch's recursions, step by step.
    #[test]
    fn a_warm_up_chained_with_a_cosine_towards_a_floor_is_the_recursion() {
        let (total, floor) = (20.0, 0.1);
        let parts = [
            ("LinearLR", json!({ "start_factor": 0.1, "total_iters": 5 })),
            ("CosineAnnealingLR", json!({ "T_max": 20, "eta_min": floor })),
        ];
        let chain = schedule("ChainedScheduler", several(&parts, &[]), 1.0);
        let wave = |t: f64| 1.0 + (PI * t / total).cos();
        let mut rates = vec![0.1];
        for t in 1..100 {
            let (mut rate, t) = (rates[rates.len() - 1], f64::from(t));
            if t <= 5.0 {
                rate *= 1.0 + 0.9 / (5.0 * 0.1 + (t - 1.0) * 0.9);
            }
            rate = if (t - 1.0 - total).rem_euclid(2.0 * total) == 0.0 {
                rate + (1.0 - floor) * (1.0 - (PI / total).cos()) / 2.0
            } else {
                wave(t) / wave(t - 1.0) * (rate - floor) + floor
            };
            rates.push(rate);
        }
        assert_rates(&chain, rates);
    }

    #[test]
    fn a_milestone_of_0_skips_the_first() {
        let parts = [
            ("ConstantLR", json!({ "factor": 0.1 })),
            ("StepLR", json!({ "step_size": 2, "gamma": 0.5 })),
        ];
        let sequence = schedule("SequentialLR", several(&parts, &[0]), 1.0);
        assert_rates(&sequence, [1.0, 1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn odd_arguments_do_what_torch_does() {
        let growing = schedule("ExponentialLR", json!({ "gamma": 2.0 }), 1.0);
        assert_rates(&growing, [1.0, 2.0, 4.0]);
        assert_eq!(growing.rate(u64::MAX), f64::MAX);
        let kept = schedule("ConstantLR", json!({ "factor": 0.5, "total_iters": 0 }), 1.0);
        assert_rates(&kept, [0.5; 8]);
        let rising = schedule("CosineAnnealingLR", json!({ "T_max": 4, "eta_min": 3.0 }), 1.0);
        assert_rates(&rising, (0..20).map(|t| 2.0 - (PI * f64::from(t) / 4.0).cos()));
        let milestones = json!({ "milestones": [3, 0, 3, -2], "gamma": 0.5 });
        assert_rates(&schedule("MultiStepLR", milestones, 8.0), [4.0, 4.0, 4.0, 1.0, 1.0]);
        let saw = json!({ "base_lr": 0.0, "max_lr": 1.0, "step_size_up": 4, "step_size_down": 0 });
        assert_rates(&schedule("CyclicLR", saw, 1.0), [0.0, 0.25, 0.5, 0.75, 0.0, 0.25]);
        let one_cycle = json!({ "max_lr": 1.0, "total_steps": 10 });
        let one_cycle = schedule("OneCycleLR", one_cycle, 1.0);
        assert_eq!(one_cycle.rate(u64::MAX), one_cycle.rate(9));
    }

    #[test]
    fn momentum_mirrors_the_rate() {
        let arguments = json!({ "base_lr": 0.1, "max_lr": 1.1, "step_size_up": 4 });
        let translation = translate("CyclicLR", &arguments, 0.5).unwrap();
        let momentum = translation.momentum.as_ref().unwrap().to_string();
        assert_eq!(momentum, "cyclic(0.9, 0.8, 4)");
        let fixed = json!({ "base_lr": 0.1, "max_lr": 1.1, "cycle_momentum": false });
        assert_eq!(translate("CyclicLR", &fixed, 0.5).unwrap().momentum, None);
    }

    #[test]
    fn each_refusal_says_why() {
        let wave = |eta_min: f64| ("CosineAnnealingLR", json!({ "T_max": 9, "eta_min": eta_min }));
        let decay = ("ExponentialLR", json!({ "gamma": 0.9 }));
        let chain = ("ChainedScheduler", several(std::slice::from_ref(&decay), &[]));
        let still = ("PolynomialLR", json!({ "total_iters": 0 }));
        let cyclic = json!({ "base_lr": 1, "max_lr": 2, "mode": "exp_range", "gamma": 1.1 });
        for (name, arguments, words) in [
            ("LambdaLR", json!({}), "its rate is code"),
            ("MultiplicativeLR", json!({}), "its rate is code"),
            ("ReduceLROnPlateau", json!({}), "reacts to training"),
            ("CosineLR", json!({}), "torch has no scheduler `CosineLR`"),
            ("StepLR", json!({ "step_size": 0 }), "`step_size` = 0"),
            ("StepLR", json!({ "step_size": 3, "last_epoch": 4 }), "`last_epoch` = 4"),
            ("ExponentialLR", json!({ "gamma": -0.9 }), "`gamma` = -0.9"),
            ("ConstantLR", json!({ "factor": 0.0 }), "torch divides by it"),
            ("LinearLR", json!({ "start_factor": 1.5 }), "`start_factor` = 1.5"),
            ("PolynomialLR", json!({ "power": -1 }), "`power` = -1.0"),
            ("CosineAnnealingLR", json!({ "T_max": 9, "eta_min": -1 }), "`eta_min` = -1.0"),
            ("CyclicLR", json!({ "base_lr": 1, "max_lr": 2, "scale_fn": "f" }), "a function"),
            ("CyclicLR", cyclic, "the momentum falls first"),
            ("OneCycleLR", json!({ "max_lr": 1 }), "`total_steps` is missing"),
            (
                "OneCycleLR",
                json!({ "max_lr": 1, "total_steps": 4, "pct_start": 0.25 }),
                "divides by 0",
            ),
            ("SequentialLR", json!({ "schedulers": [] }), "at least one"),
            (
                "SequentialLR",
                json!({ "schedulers": [{ "args": {} }] }),
                "`schedulers` = {\"args\":{}}",
            ),
            ("SequentialLR", several(&[decay.clone(), chain], &[3]), "NotImplementedError"),
            ("SequentialLR", several(&[decay.clone(), still], &[3]), "total_iters 0"),
            ("ChainedScheduler", several(&[wave(0.0), wave(0.0)], &[]), "next to another one"),
            ("ChainedScheduler", several(&[wave(0.1), decay.clone()], &[]), "never settles"),
        ] {
            let error = translate(name, &arguments, 0.1).unwrap_err().to_string();
            assert!(error.contains(words), "{name} {arguments}: {error}");
        }
        let error = translate("StepLR", &json!({ "step_size": 3 }), f64::NAN).unwrap_err();
        assert!(matches!(error, PeerError::Schedule { .. }), "{error}");
    }
}

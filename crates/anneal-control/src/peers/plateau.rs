//! torch's `ReduceLROnPlateau`, and timm's, which wraps it.

use super::bound;
use crate::{AtEnd, MetricOf, Mode, Plateau, Rule, Scoped, Threshold};
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{ScheduleConfig, ScheduleExt, Span, constant, linear};

pub(super) fn torch(
    arguments: &Arguments<'_>,
    base_lr: f64,
) -> Result<(ScheduleConfig, Scoped<Rule>), PeerError> {
    arguments.ignore("verbose");
    let mode = mode(arguments, &["min", "max"])?;
    let rule = plateau(mode)
        .factor(factor(arguments, "factor", 0.1)?)
        .patience(arguments.count_or("patience", 10)?)
        .threshold(threshold(arguments, mode, 1e-4, &["rel", "abs"])?)
        .cooldown(arguments.count_or("cooldown", 0)?)
        .min_rate(bound(arguments, "min_lr", 0.0)?)
        .smallest_change(arguments.not_negative_or("eps", 1e-8)?);
    Ok((constant(base_lr).into(), always(rule.into())))
}

pub(super) fn timm(
    arguments: &Arguments<'_>,
    base_lr: f64,
) -> Result<(ScheduleConfig, Scoped<Rule>), PeerError> {
    for noise in ["noise_range_t", "noise_pct", "noise_std", "noise_seed"] {
        arguments.refuse(noise, "no noise: it comes from timm's own random generator")?;
    }
    arguments.ignore("initialize");
    let mode = mode(arguments, &["max", "min"])?;
    let threshold = arguments.not_negative_or("threshold", 1e-4)?;
    let threshold = in_range(arguments, mode, Threshold::Relative(threshold))?;
    let rule = plateau(mode)
        .factor(factor(arguments, "decay_rate", 0.1)?)
        .patience(arguments.count_or("patience_t", 10)?)
        .threshold(threshold)
        .cooldown(arguments.count_or("cooldown_t", 0)?)
        .min_rate(bound(arguments, "lr_min", 0.0)?);
    let warmup = arguments.count_or("warmup_t", 0)?;
    let init = arguments.not_negative_or("warmup_lr_init", 0.0)?;
    let controller = always(rule.into());
    if warmup == 0 {
        return Ok((constant(base_lr).into(), controller));
    }
    let length = Span::steps(warmup);
    let rate = linear(init, base_lr).then(length, constant(base_lr));
    Ok((rate.into(), controller.after(length)))
}

fn plateau(mode: Mode) -> Plateau {
    match mode {
        Mode::Min => Plateau::min(metric(mode)),
        Mode::Max => Plateau::max(metric(mode)),
    }
}

/// The most likely metric.
pub(super) fn metric(mode: Mode) -> MetricOf {
    MetricOf::valid(if mode == Mode::Min { "Loss" } else { "Accuracy" })
}

/// Active in the whole run, on all groups.
pub(super) fn always(rule: Rule) -> Scoped<Rule> {
    Scoped { rule, group: None, after: None, until: None, at_end: AtEnd::Hold }
}

/// The `mode`; the first is the default.
pub(super) fn mode(
    arguments: &Arguments<'_>,
    modes: &[&'static str; 2],
) -> Result<Mode, PeerError> {
    Ok(if arguments.choice("mode", modes)? == "min" { Mode::Min } else { Mode::Max })
}

pub(super) fn factor(
    arguments: &Arguments<'_>,
    argument: &'static str,
    default: f64,
) -> Result<f64, PeerError> {
    let factor = arguments.number_or(argument, default)?;
    arguments.require(argument, factor, factor > 0.0 && factor < 1.0, "above 0, below 1")
}

/// The `threshold` in its mode; the first is the default.
pub(super) fn threshold(
    arguments: &Arguments<'_>,
    mode: Mode,
    default: f64,
    modes: &[&'static str; 2],
) -> Result<Threshold, PeerError> {
    let threshold = arguments.not_negative_or("threshold", default)?;
    let relative = arguments.choice("threshold_mode", modes)? == "rel";
    let threshold = match relative {
        true => Threshold::Relative(threshold),
        false => Threshold::Absolute(threshold),
    };
    in_range(arguments, mode, threshold)
}

fn in_range(
    arguments: &Arguments<'_>,
    mode: Mode,
    threshold: Threshold,
) -> Result<Threshold, PeerError> {
    let (Threshold::Relative(x) | Threshold::Absolute(x)) = threshold;
    match threshold.check(mode) {
        Ok(()) => Ok(threshold),
        Err(error) => Err(arguments.wrong("threshold", format!("{x:?}"), &error.allowed)),
    }
}

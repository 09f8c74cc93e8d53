//! transformers' `GreedyLR`.

use super::bound;
use super::plateau::{always, factor, metric, mode, threshold};
use crate::{Greedy, Mode, Rule, Scoped};
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{ScheduleConfig, constant};

pub(super) fn read(
    arguments: &Arguments<'_>,
    base_lr: f64,
) -> Result<(ScheduleConfig, Scoped<Rule>), PeerError> {
    arguments.ignore("verbose");
    let mode = mode(arguments, &["min", "max"])?;
    let (min_lr, max_lr) = (bound(arguments, "min_lr", 1e-3)?, bound(arguments, "max_lr", 1.0)?);
    let ok = max_lr > 0.0 && max_lr >= min_lr;
    arguments.require("max_lr", max_lr, ok, &format!("above 0, at least min_lr, {min_lr:?}"))?;
    let rule = match mode {
        Mode::Min => Greedy::min(metric(mode), min_lr..=max_lr),
        Mode::Max => Greedy::max(metric(mode), min_lr..=max_lr),
    };
    let rule = rule
        .factor(factor(arguments, "factor", 0.95)?)
        .patience(arguments.count_or("patience", 10)?)
        .threshold(threshold(arguments, mode, 1e-6, &["abs", "rel"])?)
        .cooldown(arguments.count_or("cooldown", 0)?)
        .warmup(arguments.count_or("warmup", 0)?)
        .smallest_change(arguments.not_negative_or("eps", 1e-8)?)
        // 0 reductions in vain have the same effect as 1.
        .reset_after(arguments.count_or("reset_start", 500)?.max(1));
    let smooth = arguments.flag_or("smooth", false)?;
    let window = arguments.count_or("window_size", 50)?;
    arguments.require("window_size", window, window >= 1, "at least 1")?;
    let rule = if smooth { rule.window(window) } else { rule };
    Ok((constant(base_lr).into(), always(rule.into())))
}

//! Forms shared by optax and keras, including limits that this crate's curves do not have.

use super::PeerGrowth;
use super::optax::OptaxCosine;
use crate::{
    AnnealStrategy, Decay, ScheduleConfig, Span, constant, cosine, exponential, piecewise_constant,
    piecewise_interpolate, polynomial, step_decay,
};

/// A constant `rate`; peers also allow 0.
pub(super) fn hold(rate: f64) -> ScheduleConfig {
    if rate == 0.0 { piecewise_constant(0.0, [], []).into() } else { constant(rate).into() }
}

/// end + (start − end)(1 − t/length)^power, power at least 0.
pub(super) fn line(start: f64, end: f64, power: f64, length: u64) -> ScheduleConfig {
    if start == end || power == 0.0 {
        return hold(start);
    }
    polynomial(start, end, power).length(Span::steps(length)).into()
}

/// start · ((1 − alpha) · (½(1 + cos(π t/length)))^exponent + alpha), which rises for alpha > 1.
pub(super) fn wave(start: f64, alpha: f64, exponent: f64, length: u64) -> ScheduleConfig {
    let (end, length) = (alpha * start, Span::steps(length));
    if start == 0.0 || alpha == 1.0 || exponent == 0.0 {
        hold(start)
    } else if end <= start {
        cosine(start).end(end).exponent(exponent).length(length).into()
    } else if exponent == 1.0 {
        piecewise_interpolate(start, [length], [end]).anneal(AnnealStrategy::Cosine).into()
    } else {
        OptaxCosine { start, end, length, exponent }.into()
    }
}

/// start · factor^(t/per) with a factor above 0, t/per rounded down for a staircase.
pub(super) fn powers(start: f64, factor: f64, per: u64, staircase: bool) -> ScheduleConfig {
    let per = Span::steps(per);
    if start == 0.0 || factor == 1.0 {
        hold(start)
    } else if factor > 1.0 {
        PeerGrowth { start, factor, per, staircase }.into()
    } else if staircase {
        step_decay(start, per, factor).into()
    } else {
        exponential(start, Decay::Factor { factor, per }).into()
    }
}

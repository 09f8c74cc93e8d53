//! The behaviour of a rate in an endless run.

use serde::Serialize;

/// How a curve continues forever, which decides whether Ση_t and Ση_t² are finite.
///
/// It describes the formula, ignoring the end of the run and underflow: an exponential decay is geometric
/// although its f64 eventually becomes 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tail {
    /// Tends to this rate, above 0.
    Constant(f64),
    /// Is 0 from some step on.
    Zero,
    /// Falls at least as fast as some geometric sequence.
    Geometric,
    /// Stays between two multiples of t^(−p), p above 0.
    Power(f64),
    /// Oscillates forever, with cycles that fall as t^(−p), p above 0.
    Waves(f64),
    /// Keeps returning above some positive rate, for a lasting share of all updates.
    Recurring,
    /// Unknown.
    Unknown,
}

impl Tail {
    /// A curve that reaches or tends to `rate`.
    pub(crate) fn settled(rate: f64) -> Self {
        if rate > 0.0 { Self::Constant(rate) } else { Self::Zero }
    }

    /// The tail of `factor` times the curve.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Constant(rate) => Self::settled(rate * factor),
            other => other,
        }
    }

    /// The tail of the curve with the floor `floor`, above 0.
    pub(crate) fn floored(self, floor: f64) -> Self {
        self.most(Self::Constant(floor))
    }

    /// The tail of the curve with the cap `cap`, above 0.
    pub(crate) fn capped(self, cap: f64) -> Self {
        self.least(Self::Constant(cap))
    }

    /// The tail of the product of two curves.
    pub(crate) fn times(self, other: Self) -> Self {
        self.lowered(other, |a, b| a * b, |p, q| p + q)
    }

    /// The tail of the minimum of two curves.
    pub(crate) fn least(self, other: Self) -> Self {
        self.lowered(other, f64::min, f64::max)
    }

    /// The common part of product and minimum: rates are bounded, so the faster decay wins.
    fn lowered(self, other: Self, rates: fn(f64, f64) -> f64, powers: fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Zero, _) | (_, Self::Zero) => Self::Zero,
            (Self::Geometric, _) | (_, Self::Geometric) => Self::Geometric,
            (Self::Constant(a), Self::Constant(b)) => Self::settled(rates(a, b)),
            (Self::Constant(_), tail) | (tail, Self::Constant(_)) => tail,
            (Self::Power(p), Self::Power(q)) => Self::Power(powers(p, q)),
            _ => Self::Unknown,
        }
    }

    /// The tail of the sum of two curves: the slower decay wins.
    pub(crate) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Zero, tail) | (tail, Self::Zero) => tail,
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a + b),
            (Self::Constant(_) | Self::Recurring, Self::Recurring | Self::Unknown)
            | (Self::Recurring | Self::Unknown, Self::Constant(_) | Self::Recurring) => {
                Self::Recurring
            }
            (tail @ (Self::Constant(_) | Self::Recurring), _)
            | (_, tail @ (Self::Constant(_) | Self::Recurring)) => tail,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Geometric, tail) | (tail, Self::Geometric) => tail,
            (Self::Power(p), Self::Power(q)) => Self::Power(p.min(q)),
            (Self::Power(p) | Self::Waves(p), Self::Power(q) | Self::Waves(q)) => {
                Self::Waves(p.min(q))
            }
        }
    }

    /// The tail of the maximum of two curves, which is at least half their sum.
    pub(crate) fn most(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a.max(b)),
            _ => self.plus(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tail::{self, *};
    use crate::curve::{AfterEnd, one_cycle, polynomial, stable_decay, step_decay, warm_restarts};
    use crate::curve::{
        CycleScaling, cyclic, inverse_sqrt, inverse_time, noam, power_law, table, tanh,
    };
    use crate::curve::{Decay, Rate, constant, cosine, exponential, linear, multi_step};
    use crate::curve::{piecewise_constant, piecewise_interpolate};
    use crate::{Level, RunLength, ScheduleConfig, ScheduleExt, Span, maximum, minimum};

    fn tail(config: impl Into<ScheduleConfig>) -> Tail {
        config.into().resolve(RunLength::unbounded()).unwrap().node().tail()
    }

    const TEN: Span = Span::Steps(10);

    #[test]
    fn every_curve_has_the_tail_of_its_formula() {
        assert_eq!(tail(constant(0.5)), Constant(0.5));
        assert_eq!(tail(step_decay(1.0, TEN, 0.5)), Geometric);
        assert_eq!(tail(step_decay(1.0, TEN, 1.0)), Constant(1.0));
        assert_eq!(tail(multi_step(1.0, [TEN, TEN], 0.5)), Constant(0.25));
        assert_eq!(tail(exponential(1.0, Decay::HalfLife(TEN))), Geometric);
        assert_eq!(tail(exponential(1.0, Decay::Kappa(0.1))), Geometric);
        assert_eq!(tail(exponential(1.0, Decay::Kappa(0.0))), Constant(1.0));
        assert_eq!(tail(exponential(1.0, Decay::Factor { factor: 1.0, per: TEN })), Constant(1.0));
        let toward = Decay::Toward { end: Level::Rate(0.25), length: TEN };
        assert_eq!(tail(exponential(1.0, toward)), Constant(0.25));
        assert_eq!(tail(linear(1.0, 0.0).length(TEN)), Zero);
        assert_eq!(tail(linear(1.0, 0.1).length(TEN)), Constant(0.1));
        assert_eq!(tail(polynomial(1.0, 0.0, 0.75).length(TEN).cycle()), Waves(0.75));
        assert_eq!(tail(polynomial(1.0, 0.1, 0.75).length(TEN).cycle()), Constant(0.1));
        // Every step ends a cycle of one update.
        assert_eq!(tail(polynomial(1.0, 0.0, 0.75).length(Span::Steps(1)).cycle()), Zero);
        assert_eq!(tail(cosine(1.0).length(TEN)), Zero);
        assert_eq!(tail(cosine(1.0).length(TEN).cycles(2.0)), Constant(1.0));
        assert_eq!(tail(cosine(1.0).length(TEN).after(AfterEnd::Continue)), Recurring);
        assert_eq!(tail(one_cycle(1.0).end(0.125).length(TEN)), Constant(0.125));
        assert_eq!(tail(stable_decay(1.0, Span::Steps(2)).length(TEN)), Zero);
        assert_eq!(tail(power_law(1.0, TEN, 0.75)), Power(0.75));
        assert_eq!(tail(power_law(1.0, TEN, 0.0)), Constant(1.0));
        assert_eq!(tail(inverse_time(1.0, 0.5, TEN)), Power(1.0));
        assert_eq!(tail(inverse_sqrt(1.0, TEN)), Power(0.5));
        assert_eq!(tail(noam(1.0, 64, TEN)), Power(0.5));
        assert_eq!(tail(tanh(1.0).length(TEN)), Zero);
        assert_eq!(tail(table([1.0, 0.5])), Constant(0.5));
        assert_eq!(tail(piecewise_constant(1.0, [TEN], [0.25])), Constant(0.25));
        assert_eq!(tail(piecewise_interpolate(1.0, [TEN], [0.0])), Zero);
        assert_eq!(tail(cyclic(0.0, 1.0, TEN)), Recurring);
        let halved = |base| cyclic(base, 1.0, TEN).scaling(CycleScaling::Triangular2);
        assert_eq!((tail(halved(0.0)), tail(halved(0.5))), (Geometric, Constant(0.5)));
    }

    #[test]
    fn what_moves_or_averages_a_curve_keeps_its_law() {
        let power = || power_law(1.0, TEN, 0.75);
        assert_eq!(tail(power().delay(TEN)), Power(0.75));
        assert_eq!(tail(power().stretch(3.0)), Power(0.75));
        assert_eq!(tail(power().phase(TEN)), Power(0.75));
        assert_eq!(tail(power().smooth(TEN)), Power(0.75));
        assert_eq!(tail(linear(1.0, 0.0).length(TEN).repeat_every(TEN)), Recurring);
        assert_eq!(tail(linear(1.0, 0.0).length(TEN).repeat_every(TEN).count(3)), Zero);
        assert_eq!(tail(power().follow_noise(0.5)), Constant(0.5));
    }

    #[test]
    fn restarts_fall_with_their_peaks_against_their_lengths() {
        let config = || warm_restarts(1.0, TEN);
        assert_eq!(tail(config()), Recurring);
        assert_eq!(tail(config().multiplier(2.0)), Recurring);
        assert_eq!(tail(config().peak_decay(0.5)), Geometric);
        assert_eq!(tail(config().multiplier(2.0).peak_decay(0.5)), Waves(1.0));
        assert_eq!(tail(config().multiplier(4.0).peak_decay(0.5)), Waves(0.5));
        assert_eq!(tail(config().multiplier(2.0).peak_decay(0.5).end(0.1)), Constant(0.1));
        let warming = config().peak_decay(0.5).end(0.1).cycle_warmup(Span::Steps(3));
        assert_eq!(tail(warming), Recurring);
        assert_eq!(tail(config().limit(2)), Zero);
        assert_eq!(tail(config().limit(2).end(0.1)), Constant(0.1));
    }

    #[test]
    fn combinators_combine_what_is_known() {
        let geometric = || exponential(1.0, Decay::HalfLife(TEN));
        let waves = || polynomial(1.0, 0.0, 0.75).length(TEN).cycle();
        assert_eq!(tail(geometric().warmup(TEN)), Geometric);
        assert_eq!(tail(constant(0.5).scale(3.0)), Constant(1.5));
        assert_eq!(tail(geometric().floor(0.25)), Constant(0.25));
        assert_eq!(tail(constant(0.5).cap(0.25)), Constant(0.25));
        assert_eq!(tail(constant(0.5).floor(0.25)), Constant(0.5));
        assert_eq!(tail(constant(0.5).then(TEN, geometric())), Geometric);
        assert_eq!(tail(geometric().times(constant(2.0))), Geometric);
        assert_eq!(tail(waves().times(constant(2.0))), Waves(0.75));
        assert_eq!(tail(waves().times(waves())), Unknown);
        assert_eq!(tail(waves().plus(geometric())), Waves(0.75));
        assert_eq!(tail(geometric().plus(constant(2.0))), Constant(2.0));
        assert_eq!(tail(warm_restarts(1.0, TEN).plus(waves())), Recurring);
        let both = || [ScheduleConfig::from(constant(0.5)), geometric().into()];
        assert_eq!(tail(minimum(both())), Geometric);
        assert_eq!(tail(maximum(both())), Constant(0.5));
    }

    #[test]
    fn combining_is_symmetric_and_powers_add() {
        let all = [Constant(0.5), Zero, Geometric, Power(0.75), Waves(0.75), Recurring, Unknown];
        for a in all {
            for b in all {
                assert_eq!(a.times(b), b.times(a), "{a:?} × {b:?}");
                assert_eq!(a.plus(b), b.plus(a), "{a:?} + {b:?}");
                assert_eq!(a.least(b), b.least(a), "min {a:?} {b:?}");
                assert_eq!(a.most(b), b.most(a), "max {a:?} {b:?}");
            }
        }
        assert_eq!(Power(0.25).times(Power(0.5)), Power(0.75));
        assert_eq!(Power(0.25).plus(Power(0.5)), Power(0.25));
        assert_eq!(Power(0.25).least(Power(0.5)), Power(0.5));
        // A floor settles even an unknown tail.
        assert_eq!(Unknown.floored(0.1), Recurring);
        assert_eq!(Unknown.capped(0.1), Unknown);
    }
}

//! Whether a schedule would converge if it continued forever.

use super::Tail;
use crate::Schedule;
use crate::curve::Rate;
use serde::Serialize;
use std::fmt;

/// Yes, no, or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// It cannot be decided.
    Unknown,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

/// Whether Ση_t = ∞ and Ση_t² < ∞: the conditions under which stochastic approximation converges.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RobbinsMonro {
    /// Whether both conditions hold.
    pub answer: Answer,
    /// Whether Ση_t is infinite: the weights can travel any distance.
    pub sum_diverges: Answer,
    /// Whether Ση_t² is finite: the noise vanishes.
    pub squares_converge: Answer,
    /// How the curve continues forever.
    pub tail: Tail,
    /// The reason, in one sentence.
    pub reason: String,
}

/// Checks whether the curve of a schedule satisfies the Robbins–Monro conditions.
///
/// The conditions concern an endless run, so the answer is about the *curve*: what its formula does as steps
/// grow, not the schedule, which holds its last rate when the run ends. A cosine over the run has then
/// reached its end; an exponential decay would continue to fall. Combinators combine the answers if that is
/// certain, and are unknown otherwise.
///
/// | tail | Ση = ∞ | Ση² < ∞ |
/// | --- | --- | --- |
/// | 0 from some step on, geometric | no | yes |
/// | constant, recurring | yes | no |
/// | power t^(−p) | iff p ≤ 1 | iff p > ½ |
///
/// An exponent within 10⁻¹² of ½ or 1 counts as equal, because it is a quotient of logarithms.
///
/// Source: Robbins and Monro 1951, "A stochastic approximation method".
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::analysis::{Answer, robbins_monro};
/// let run = RunLength::unbounded();
/// let decay = exponential(0.1, Decay::Kappa(1e-3)).resolve(run)?;
/// let restarts = warm_restarts(0.1, Span::steps(10)).multiplier(2.0).peak_decay(0.6).resolve(run)?;
/// assert_eq!(robbins_monro(&decay).answer, Answer::No);
/// assert_eq!(robbins_monro(&restarts).answer, Answer::Yes);
/// # Ok::<(), ScheduleError>(())
/// ```
pub fn robbins_monro(schedule: &Schedule) -> RobbinsMonro {
    of_tail(schedule.node().tail())
}

fn of_tail(tail: Tail) -> RobbinsMonro {
    use Answer::{No, Unknown, Yes};
    let (sum_diverges, squares_converge, reason) = match tail {
        Tail::Zero => (No, Yes, "The rate is 0 from some step on, so Ση is finite.".into()),
        Tail::Geometric => {
            (No, Yes, "The rate falls at least geometrically, so Ση is finite.".into())
        }
        Tail::Constant(rate) => {
            (Yes, No, format!("The rate stays near {rate:?}, so Ση² is infinite."))
        }
        Tail::Recurring => {
            (Yes, No, "The rate keeps returning to a level above 0, so Ση² is infinite.".into())
        }
        Tail::Power(power) | Tail::Waves(power) => of_power(power),
        Tail::Unknown => {
            (Unknown, Unknown, "How the curve continues forever is unknown.".to_string())
        }
    };
    let answer = match (sum_diverges, squares_converge) {
        (Unknown, _) | (_, Unknown) => Unknown,
        (Yes, Yes) => Yes,
        _ => No,
    };
    RobbinsMonro { answer, sum_diverges, squares_converge, tail, reason }
}

fn of_power(power: f64) -> (Answer, Answer, String) {
    const ROUNDING: f64 = 1e-12;
    let yes = |truth| if truth { Answer::Yes } else { Answer::No };
    let (diverges, converge) = (power <= 1.0 + ROUNDING, power > 0.5 + ROUNDING);
    let why = match (diverges, converge) {
        (true, true) => "½ < p ≤ 1: Ση is infinite and Ση² is finite",
        (true, false) => "p ≤ ½: Ση² is infinite",
        _ => "p > 1: Ση is finite",
    };
    (yes(diverges), yes(converge), format!("The rate falls as t^(−p) with p = {power:.4}; {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn answers(tail: Tail) -> [Answer; 3] {
        let found = of_tail(tail);
        assert!(found.reason.ends_with('.'), "{}", found.reason);
        [found.answer, found.sum_diverges, found.squares_converge]
    }

    #[test]
    fn each_tail_has_its_answer() {
        use Answer::{No, Unknown, Yes};
        assert_eq!(answers(Tail::Zero), [No, No, Yes]);
        assert_eq!(answers(Tail::Geometric), [No, No, Yes]);
        assert_eq!(answers(Tail::Constant(0.1)), [No, Yes, No]);
        assert_eq!(answers(Tail::Recurring), [No, Yes, No]);
        assert_eq!(answers(Tail::Unknown), [Unknown; 3]);
        // p ≤ ½, ½ < p ≤ 1, p > 1
        for (power, expected) in [
            (0.25, [No, Yes, No]),
            (0.5, [No, Yes, No]),
            (0.51, [Yes, Yes, Yes]),
            (1.0, [Yes, Yes, Yes]),
            (1.01, [No, No, Yes]),
        ] {
            assert_eq!(answers(Tail::Power(power)), expected, "{power}");
            assert_eq!(answers(Tail::Waves(power)), expected, "{power}");
        }
    }

    /// SGDR with cycles × m and peaks × d: cycle n adds about (md)ⁿ to Ση and (md²)ⁿ to Ση².
    #[test]
    fn restarts_are_decided_as_by_their_geometric_series() {
        for (m, d) in [(2.0, 0.5), (2.0, 0.4), (2.0, 0.8), (3.0, 1.0 / 3.0), (4.0, 0.5)] {
            let config = warm_restarts(1.0, Span::steps(10)).multiplier(m).peak_decay(d);
            let found = robbins_monro(&config.resolve(RunLength::unbounded()).unwrap());
            let expected = m * d >= 1.0 - 1e-9 && m * d * d < 1.0 - 1e-9;
            assert_eq!(found.answer == Answer::Yes, expected, "m = {m}, d = {d}");
        }
    }

    #[test]
    fn a_bounded_run_is_asked_about_its_curve() {
        let decay = exponential(0.1, Decay::Kappa(0.1)).resolve(RunLength::updates(10)).unwrap();
        assert_eq!(robbins_monro(&decay).tail, Tail::Geometric);
    }
}

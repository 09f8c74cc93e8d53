//! A periodic schedule that starts at a later point.

use crate::curve::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = inner(t + shift).
///
/// Meant for an endless periodic schedule such as [`Repeat`](super::Repeat), warm restarts, or a cosine told
/// to continue: a schedule that ends with the run would end `shift` updates before it, and hold. Half a
/// period apart, two schedules alternate, for example for the two players of a GAN.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `shift` | a span | 0 … what is left of the run |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let run = RunLength::updates(100);
/// let wave = || linear(1.0, 0.0).repeat_every(Span::steps(10));
/// let generator = wave().resolve(run)?;
/// let discriminator = wave().phase(Span::steps(5)).resolve(run)?;
/// assert_eq!([0, 5].map(|step| generator.rate(step)), [1.0, 0.5]);
/// assert_eq!([0, 5].map(|step| discriminator.rate(step)), [0.5, 1.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Phase<L: Length = Span> {
    /// The position in the schedule of the first update.
    pub shift: L,
    /// The shifted schedule.
    pub schedule: Box<ScheduleConfig<L>>,
}

impl Describe for Phase {
    type Resolved = Phase<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Phase<u64>, ScheduleError> {
        // The shift must not change the period, so the inner schedule sees the same run.
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let shift = scope.milestone("shift", scope.stated("shift", self.shift)?)?;
        Ok(Phase { shift, schedule })
    }
}

impl Rate for Phase<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(step.saturating_add(self.shift))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.schedule.end_rate(step.saturating_add(self.shift))
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        self.schedule.cycle_end(from.checked_add(self.shift)?)?.checked_sub(self.shift)
    }

    fn tail(&self) -> Tail {
        self.schedule.tail()
    }
}

#[cfg(test)]
mod tests {
    use crate::Span;
    use crate::combine::ScheduleExt;
    use crate::curve::{AfterEnd, constant, cosine, refused, resolved, step_decay, warm_restarts};

    #[test]
    fn half_a_wave_apart_two_cosines_sum_to_their_peak() {
        // cos²(x) + sin²(x) = 1: a full wave lasts 20 updates, half a wave 10.
        let wave = || cosine(1.0).length(Span::steps(10)).after(AfterEnd::Continue);
        let both = resolved(wave().plus(wave().phase(Span::steps(10))), 1_000);
        for step in (0..1_000).chain([u64::MAX]) {
            assert!((both.rate(step) - 1.0).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn a_share_of_the_run_moves_restarts_by_it() {
        let restarts = || warm_restarts(1.0, Span::percent(25));
        let (plain, shifted) =
            (resolved(restarts(), 400), resolved(restarts().phase(Span::percent(12.5)), 400));
        for step in 0..350 {
            assert_eq!(shifted.rate(step), plain.rate(step + 50));
        }
        assert_eq!(shifted.rate(350), 1.0, "it goes on where the plain one ends");
        assert_eq!(resolved(restarts().phase(Span::steps(0)), 400).rate(7), plain.rate(7));
    }

    #[test]
    fn holds_what_it_has_reached() {
        let steps = step_decay(1.0, Span::steps(4), 0.5).repeat_every(Span::steps(8));
        let schedule = resolved(steps.phase(Span::steps(6)), 10);
        assert_eq!([1, 2, 5, 6, 9, 10].map(|t| schedule.rate(t)), [0.5, 1.0, 1.0, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn refuses_each_field() {
        for shift in [Span::steps(101), Span::epochs(-1), Span::percent(f64::NAN), Span::Rest] {
            assert_eq!(refused(constant(1.0).phase(shift)), "phase.shift");
        }
        assert_eq!(refused(constant(0.0).phase(Span::steps(5))), "phase.schedule.constant.rate");
    }
}

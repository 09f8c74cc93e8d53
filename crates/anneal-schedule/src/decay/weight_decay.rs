//! The description of a weight decay.

use super::shrinkage::Coefficient;
use super::{Shrinkage, peak_rate};
use crate::{OutOfRange, RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, Span};
use std::fmt;

/// What a weight decay depends on: see [`WeightDecay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// d_t = η_t ω: it fades with the rate, as in torch's and Burn's AdamW.
    Coupled,
    /// d_t = ω, whatever the rate, even at a rate of 0.
    Independent,
    /// d_t = ω η_t/η₀: it follows the shape of the schedule, not its peak. Used by Composer; the form of
    /// Loshchilov and Hutter 2019, "Decoupled weight decay regularization".
    Relative,
    /// d_t = ω η_t²/η₀: for weights followed by a normalization layer. timm's `corrected_weight_decay`;
    /// Defazio 2025, "Why gradients rapidly increase near the end of training".
    Corrected,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 4] = [Self::Coupled, Self::Independent, Self::Relative, Self::Corrected];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coupled => "coupled",
            Self::Independent => "independent",
            Self::Relative => "relative",
            Self::Corrected => "corrected",
        }
    }

    /// The factor of the coefficient of a time scale: 1/η₀ if the share includes η₀.
    fn per_peak(self, peak: f64) -> f64 {
        match self {
            Self::Coupled | Self::Corrected => 1.0 / peak,
            Self::Independent | Self::Relative => 1.0,
        }
    }
}

/// The strength of a weight decay.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Strength {
    /// ω; finite, at least 0.
    Coefficient(f64),
    /// The updates at the peak rate after which a weight without a gradient has shrunk to 1/e.
    TimeScale(Span),
    /// α of a penalty ½ α ‖w‖², which an independent decay converts to ω = α η₀; finite, at least 0.
    L2(f64),
    /// ω(t), any schedule.
    Scheduled(Box<ScheduleConfig>),
}

impl From<f64> for Strength {
    fn from(coefficient: f64) -> Self {
        Self::Coefficient(coefficient)
    }
}

impl From<Span> for Strength {
    fn from(time_scale: Span) -> Self {
        Self::TimeScale(time_scale)
    }
}

impl<T: Into<ScheduleConfig>> From<T> for Strength {
    fn from(schedule: T) -> Self {
        Self::Scheduled(Box::new(schedule.into()))
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coefficient(value) | Self::L2(value) => write!(f, "{value:?}"),
            Self::TimeScale(span) => write!(f, "{span}"),
            Self::Scheduled(schedule) => write!(f, "{schedule}"),
        }
    }
}

/// The description of a decoupled weight decay.
///
/// Before update t each weight becomes (1 − d_t) w, with d_t set by the [`Policy`]:
///
/// | built by | d_t | what stays the same |
/// | --- | --- | --- |
/// | [`coupled`](Self::coupled) | η_t ω | nothing: it fades with the rate |
/// | [`independent`](Self::independent) | ω | the shrink per update |
/// | [`from_l2`](Self::from_l2) | α η₀ | the regularization α while η₀ is tuned |
/// | [`relative`](Self::relative) | ω η_t/η₀ | the shrink at the peak while η₀ is tuned |
/// | [`corrected`](Self::corrected) | ω η_t²/η₀ | the relative update of normalized weights |
///
/// The strength is a number ω ≥ 0, a schedule ω(t), or a time scale τ (a [`Span`]): the updates at the peak
/// rate after which a weight without a gradient has shrunk to 1/e. d_t must be below 1 at every update of the
/// run.
///
/// A bare number is a coupled decay, as `weight_decay` is everywhere else.
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::WeightDecay;
///
/// let run = RunLength::from_items(6_400, 64).epochs(10);
/// let schedule = cosine(1e-3).resolve(run)?;
/// let coupled = WeightDecay::coupled(0.1).resolve(&schedule, run)?;
/// let independent = WeightDecay::independent(Span::epochs(100)).resolve(&schedule, run)?;
/// // At the peak both remove 1e-4 of a weight; halfway down the cosine the coupled one removes half as much.
/// for (step, expected) in [(0, 1e-4), (500, 0.5e-4)] {
///     assert!((coupled.at(step, schedule.rate(step)) - expected).abs() < 1e-18);
///     assert_eq!(independent.at(step, schedule.rate(step)), 1e-4);
/// }
/// # Ok::<(), ScheduleError>(())
/// ```
///
/// Sources: Loshchilov and Hutter 2019, "Decoupled weight decay regularization"; Wang and Aitchison 2024,
/// "How to set AdamW's weight decay as you scale model and dataset size" (time scales); Defazio 2025;
/// Chen et al. 2025, "Cautious weight decay".
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct WeightDecay {
    /// What it depends on.
    pub policy: Policy,
    /// Its strength.
    pub strength: Strength,
    /// Whether it shrinks only weights that the update also moves towards 0.
    pub cautious: bool,
}

impl WeightDecay {
    /// No decay.
    pub fn none() -> Self {
        Self::coupled(0.0)
    }

    /// d_t = η_t ω, as in torch's and Burn's AdamW.
    pub fn coupled(strength: impl Into<Strength>) -> Self {
        Self::new(Policy::Coupled, strength)
    }

    /// d_t = ω at every update, whatever the rate.
    pub fn independent(strength: impl Into<Strength>) -> Self {
        Self::new(Policy::Independent, strength)
    }

    /// d_t = ω η_t/η₀.
    pub fn relative(strength: impl Into<Strength>) -> Self {
        Self::new(Policy::Relative, strength)
    }

    /// d_t = ω η_t²/η₀.
    pub fn corrected(strength: impl Into<Strength>) -> Self {
        Self::new(Policy::Corrected, strength)
    }

    /// d_t = α η₀: an independent decay with the same fixed point as a penalty ½ α ‖w‖² under plain gradient
    /// descent, for any peak rate η₀.
    pub fn from_l2(alpha: f64) -> Self {
        Self::new(Policy::Independent, Strength::L2(alpha))
    }

    fn new(policy: Policy, strength: impl Into<Strength>) -> Self {
        Self { policy, strength: strength.into(), cautious: false }
    }

    /// Shrinks only weights that the update moves towards 0, or leaves: those with w u ≥ 0, where w ← w − η
    /// u. Chen et al. 2025, "Cautious weight decay".
    pub fn cautious(mut self) -> Self {
        self.cautious = true;
        self
    }

    /// Whether it never shrinks anything, as described.
    pub fn is_none(&self) -> bool {
        matches!(self.strength, Strength::Coefficient(0.0) | Strength::L2(0.0))
    }

    /// Checks it for weights that train at the rates of `schedule`.
    ///
    /// # Errors
    /// [`ScheduleError`] with the field, the value, and what is allowed; if a share d_t is 1 or more, also
    /// the update.
    pub fn resolve(&self, schedule: &Schedule, run: RunLength) -> Result<Shrinkage, ScheduleError> {
        self.resolve_for("weight_decay", peak_rate(schedule), |step| schedule.rate(step), run)
    }

    /// Like [`resolve`](Self::resolve), for rates that do not come from a schedule alone; `peak` is an upper
    /// bound of them, η₀, and `field` is the name in errors.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_for(
        &self,
        field: &str,
        peak: f64,
        rate: impl Fn(u64) -> f64,
        run: RunLength,
    ) -> Result<Shrinkage, ScheduleError> {
        let field = self.field(field);
        let coefficient = self.coefficient(&field, peak, run)?;
        let shrinkage = Shrinkage::new(self.policy, coefficient, peak, self.cautious);
        match shrinkage.too_large(rate, run.resolve()?.updates()) {
            None => Ok(shrinkage),
            Some(allowed) => Err(self.refused(&field, allowed)),
        }
    }

    /// Checks everything that does not need a rate.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn check(&self, field: &str, run: RunLength) -> Result<(), ScheduleError> {
        self.coefficient(&self.field(field), 1.0, run).map(drop)
    }

    /// A bare number is a coupled coefficient.
    fn field(&self, field: &str) -> String {
        match (self.policy, &self.strength) {
            (Policy::Coupled, Strength::Coefficient(_)) => field.to_string(),
            _ => format!("{field}.{}", self.key()),
        }
    }

    fn refused(&self, field: &str, allowed: impl Into<String>) -> ScheduleError {
        OutOfRange::new(field, &self.strength, allowed).into()
    }

    fn coefficient(
        &self,
        field: &str,
        peak: f64,
        run: RunLength,
    ) -> Result<Coefficient, ScheduleError> {
        let at_least_0 = |value: f64| match value >= 0.0 && value.is_finite() {
            true => Ok(value),
            false => Err(self.refused(field, "a finite number, at least 0")),
        };
        let omega = match &self.strength {
            Strength::Coefficient(omega) => at_least_0(*omega)?,
            Strength::L2(alpha) if self.policy == Policy::Independent => at_least_0(*alpha)? * peak,
            Strength::L2(_) => {
                let allowed = "none for this policy; only an independent decay has an L2 strength";
                return Err(self.refused(field, allowed));
            }
            Strength::TimeScale(span) => {
                let updates = span.update_in(&run.resolve()?).filter(|&updates| updates > 0);
                let allowed = "a length above 0 that the run can count, such as 500, 10ep or 200%";
                let updates = updates.ok_or_else(|| self.refused(field, allowed))?;
                let omega = self.policy.per_peak(peak) / updates as f64;
                let allowed = "a time scale only where some rate is above 0";
                Some(omega)
                    .filter(|omega| omega.is_finite())
                    .ok_or_else(|| self.refused(field, allowed))?
            }
            Strength::Scheduled(config) => {
                let schedule = (**config).clone().resolve(run);
                let schedule = schedule.map_err(|error| error.inside(field))?;
                return Ok(Coefficient::Scheduled(Box::new(schedule)));
            }
        };
        Ok(Coefficient::Constant(omega))
    }

    /// Its name in files.
    pub(super) fn key(&self) -> &'static str {
        match self.strength {
            Strength::L2(_) => "l2",
            _ => self.policy.name(),
        }
    }
}

impl Default for WeightDecay {
    fn default() -> Self {
        Self::none()
    }
}

impl From<f64> for WeightDecay {
    fn from(coefficient: f64) -> Self {
        Self::coupled(coefficient)
    }
}

/// `independent(0.0001)`, `coupled(0.05), cautious`.
impl fmt::Display for WeightDecay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.key(), self.strength)?;
        f.write_str(if self.cautious { ", cautious" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn shares(decay: WeightDecay, schedule: &Schedule, run: RunLength, steps: &[u64]) -> Vec<f64> {
        let shrinkage = decay.resolve(schedule, run).unwrap();
        steps.iter().map(|&step| shrinkage.at(step, schedule.rate(step))).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{found}, not {expected}");
        }
    }

    #[test]
    fn each_policy_has_its_formula() {
        let run = RunLength::updates(100);
        // 0.2, 0.1, 0 at 0, 50 and 100.
        let schedule = linear(0.2, 0.0).resolve(run).unwrap();
        let of = |decay| shares(decay, &schedule, run, &[0, 50, 100]);
        close(&of(WeightDecay::coupled(0.5)), &[0.1, 0.05, 0.0]);
        close(&of(WeightDecay::independent(0.5)), &[0.5, 0.5, 0.5]);
        close(&of(WeightDecay::relative(0.5)), &[0.5, 0.25, 0.0]);
        close(&of(WeightDecay::corrected(0.5)), &[0.1, 0.025, 0.0]);
        close(&of(WeightDecay::from_l2(0.5)), &[0.1, 0.1, 0.1]);
        close(&of(WeightDecay::coupled(linear(0.0, 1.0))), &[0.0, 0.05, 0.0]);
        close(&of(WeightDecay::independent(linear(0.0, 0.5))), &[0.0, 0.25, 0.5]);
    }

    /// At the peak rate every policy shrinks a weight to (1 − 1/τ)^τ ≈ 1/e over τ updates.
    #[test]
    fn a_time_scale_says_how_fast_weights_forget_at_the_peak() {
        let run = RunLength::updates_per_epoch(50).epochs(4);
        for peak in [1e-3, 0.3, 20.0] {
            let schedule = constant(peak).resolve(run).unwrap();
            for policy in Policy::ALL {
                let decay = WeightDecay::new(policy, Span::epochs(10));
                close(&shares(decay, &schedule, run, &[0, 199]), &[1.0 / 500.0; 2]);
            }
        }
    }

    /// Gradient descent on ½(w − 1)² + ½ α w² settles at 1/(1 + α); so does the shrink w ← (1 − α η) w − η g
    /// with the gradient taken first, at every rate.
    #[test]
    fn an_l2_strength_keeps_its_fixed_point_while_the_rate_is_tuned() {
        for rate in [0.5, 0.05] {
            let run = RunLength::updates(2_000);
            let schedule = constant(rate).resolve(run).unwrap();
            let shrinkage = WeightDecay::from_l2(0.25).resolve(&schedule, run).unwrap();
            let mut weight = 0.0;
            for step in 0..2_000 {
                let gradient = weight - 1.0;
                weight = (1.0 - shrinkage.at(step, rate)) * weight - rate * gradient;
            }
            assert!((weight - 1.0 / 1.25).abs() < 1e-12, "{rate}: {weight}");
        }
    }

    #[test]
    fn bad_values_name_field_value_and_range() {
        let run = RunLength::updates(100);
        let schedule = linear(0.5, 0.0).warmup(Span::steps(9)).resolve(run).unwrap();
        let error = |decay: WeightDecay| decay.resolve(&schedule, run).unwrap_err().to_string();
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            for policy in Policy::ALL {
                let text = error(WeightDecay::new(policy, value));
                let start = match policy {
                    Policy::Coupled => format!("weight_decay: {value:?} is not allowed"),
                    _ => format!("weight_decay.{}: {value:?} is not allowed", policy.name()),
                };
                assert!(text.starts_with(&start), "{text}");
            }
            assert!(error(WeightDecay::from_l2(value)).starts_with("weight_decay.l2: "));
        }
        let text = error(WeightDecay::coupled(2.0));
        assert!(text.contains("update 9, at the rate 0.5") && text.contains("below 1"), "{text}");
        let text = error(WeightDecay::independent(1.0));
        assert!(text.contains("update 0"), "{text}");
        let text = error(WeightDecay::coupled(constant(0.1).then(Span::steps(50), constant(9.0))));
        assert!(text.contains("update 50, at the rate"), "{text}");
        assert!(error(WeightDecay::coupled(Span::steps(0))).contains("500, 10ep"));
        let text = error(WeightDecay::coupled(cosine(-1.0)));
        assert!(text.starts_with("weight_decay.coupled.cosine.peak: -1.0"), "{text}");
    }

    /// 1.9 · 0.5 < 1, although with the bound of the sum's peak, 1, it would be 1.9.
    #[test]
    fn what_only_a_bound_forbids_is_allowed() {
        let run = RunLength::updates(100);
        let schedule = linear(0.5, 0.0).plus(linear(0.0, 0.5)).resolve(run).unwrap();
        assert_eq!(schedule.peak(), 1.0);
        assert!(WeightDecay::coupled(1.9).resolve(&schedule, run).is_ok());
        assert!(WeightDecay::coupled(2.0).resolve(&schedule, run).is_err());
        // A relative decay refers to the largest rate, 0.5.
        close(&shares(WeightDecay::relative(0.1), &schedule, run, &[0, 50]), &[0.1, 0.1]);
    }

    #[test]
    fn a_run_too_long_to_look_at_says_that_it_knows_a_bound_only() {
        let run = RunLength::updates(1 << 40);
        let schedule = cosine(0.5).resolve(run).unwrap();
        let error = WeightDecay::coupled(linear(0.0, 2.5)).resolve(&schedule, run).unwrap_err();
        assert!(error.to_string().contains("may reach 1.25"), "{error}");
        assert!(error.to_string().contains("cap"), "{error}");
    }
}

//! Loss scaling for half-precision training.

use crate::{Answer, Controller, Event, LossScale, Needs, Observation, OutOfRange, Stop};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The initial loss scale and how it changes: the description.
///
/// The loss is multiplied by the scale before the backward pass, so that small gradients do not underflow in
/// half precision, and gradients are divided by it before the update. After each update
///
/// ```text
/// overflow:                                    scale ← scale · backoff_factor, and the update is skipped
/// growth_interval updates without one in a row: scale ← scale · growth_factor
/// ```
///
/// in f32, as in torch; a scale that would become infinite does not grow.
///
/// A loss that is infinite or NaN before scaling is unrelated to the scale: the update is skipped and the
/// scale stays. An overflow at the minimum scale is handled alike. After `max_failures` such updates in a row
/// there is an error, because no scale helps.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `scale` | 65,536 | 1.2e-38 to 3.4e38, the range of f32 |
/// | `growth_factor` | 2 | above 1, finite in f32 |
/// | `backoff_factor` | 0.5 | above 0, below 1 in f32 |
/// | `growth_interval` | 2,000 updates | at least 1 |
/// | `minimum` | 2⁻²⁴, or `scale` if that is less | 1.2e-38 to `scale` |
/// | `max_failures` | 20 updates | at least 1 |
///
/// Source: torch `GradScaler`; Micikevicius et al. 2018, "Mixed precision training", section 3.2. torch has
/// no minimum: its scale may fall to 0, and it skips updates forever.
///
/// ```
/// use anneal_control::{LossScaling, Observation};
/// let mut scaler = LossScaling::new().scale(8.0).growth_interval(2).build()?;
/// let good = Observation::default();
/// let mut scales = vec![];
/// for _ in 0..4 {
///     scaler.observe(&good)?;
///     scales.push(scaler.scale());
/// }
/// assert_eq!(scales, [8.0, 16.0, 16.0, 32.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[must_use]
pub struct LossScaling {
    scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
    minimum: Option<f64>,
    max_failures: u64,
    fixed: bool,
}

impl Default for LossScaling {
    fn default() -> Self {
        Self {
            scale: 65_536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2_000,
            minimum: None,
            max_failures: 20,
            fixed: false,
        }
    }
}

impl LossScaling {
    /// torch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses a constant scale; an update that overflows is still skipped. Of the other fields only
    /// `max_failures` then has an effect.
    pub fn fixed(scale: f64) -> Self {
        Self { scale, fixed: true, ..Self::default() }
    }

    /// Sets the initial scale.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Sets the factor of the scale after good updates.
    pub fn growth_factor(mut self, factor: f64) -> Self {
        self.growth_factor = factor;
        self
    }

    /// Sets the factor of the scale after an overflow.
    pub fn backoff_factor(mut self, factor: f64) -> Self {
        self.backoff_factor = factor;
        self
    }

    /// Sets how many consecutive good updates let the scale grow.
    pub fn growth_interval(mut self, updates: u64) -> Self {
        self.growth_interval = updates;
        self
    }

    /// Sets the minimum scale.
    pub fn minimum(mut self, scale: f64) -> Self {
        self.minimum = Some(scale);
        self
    }

    /// Sets how many consecutive updates may be skipped for a reason that a smaller scale cannot fix.
    pub fn max_failures(mut self, updates: u64) -> Self {
        self.max_failures = updates;
        self
    }

    fn min_scale(&self) -> f64 {
        match self.minimum {
            _ if self.fixed => self.scale,
            Some(minimum) => minimum,
            None => self.scale.min(f64::powi(2.0, -24)),
        }
    }

    /// Checks the description.
    ///
    /// # Errors
    /// [`OutOfRange`] with the field, the value, and what is allowed.
    pub fn build(self) -> Result<LossScaler, OutOfRange> {
        // The inverse of a smaller scale is infinite.
        let in_f32 = |value: f64| value > 0.0 && (value as f32).is_normal();
        let Self { scale, growth_factor, backoff_factor, growth_interval, .. } = self;
        OutOfRange::require("scale", scale, in_f32(scale), "1.2e-38 to 3.4e38, the range of f32")?;
        // In f32, 0.999999999 is 1, so a scale would never fall.
        let grows = growth_factor as f32 > 1.0 && (growth_factor as f32).is_finite();
        OutOfRange::require("growth_factor", growth_factor, grows, "above 1, finite in f32")?;
        let falls = backoff_factor as f32 > 0.0 && (backoff_factor as f32) < 1.0;
        OutOfRange::require("backoff_factor", backoff_factor, falls, "above 0, below 1 in f32")?;
        let counts = growth_interval >= 1;
        OutOfRange::require("growth_interval", growth_interval, counts, "at least 1")?;
        let minimum = self.min_scale();
        let below = in_f32(minimum) && minimum <= scale;
        OutOfRange::require("minimum", minimum, below, "1.2e-38 to scale")?;
        OutOfRange::require(
            "max_failures",
            self.max_failures,
            self.max_failures >= 1,
            "at least 1",
        )?;
        let state = LossScalerState { scale: scale as f32, good_updates: 0, failures_in_a_row: 0 };
        Ok(LossScaler { rule: self, state })
    }
}

/// The loss scale, adjusted by the observed updates: see [`LossScaling`].
#[derive(Clone, Debug, PartialEq)]
pub struct LossScaler {
    rule: LossScaling,
    state: LossScalerState,
}

/// The state of a [`LossScaler`] that a checkpoint saves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScalerState {
    /// The scale of the next update.
    pub scale: f32,
    /// Updates without an overflow since the last change of the scale.
    #[serde(default)]
    pub good_updates: u64,
    /// Updates skipped since the last good one for a reason that a smaller scale cannot fix.
    #[serde(default)]
    pub failures_in_a_row: u64,
}

/// What happens to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScaledUpdate {
    /// It is made.
    Done,
    /// It is skipped, and the scale falls: a gradient overflowed.
    Overflow,
    /// It is skipped: a gradient overflowed at the minimum scale.
    OverflowAtMinimum,
    /// It is skipped: the loss was infinite or NaN before scaling.
    LossNotFinite,
}

impl ScaledUpdate {
    /// Whether it is skipped.
    pub fn is_skipped(self) -> bool {
        self != Self::Done
    }

    fn answer(self) -> Answer {
        match self {
            Self::Done => Answer::default(),
            Self::Overflow => Answer::skip("a gradient overflowed; the loss scale falls"),
            Self::OverflowAtMinimum => {
                Answer::skip("a gradient overflowed at the minimum loss scale")
            }
            Self::LossNotFinite => Answer::skip("the loss is infinite or NaN before scaling"),
        }
    }
}

/// Why training cannot continue.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ScalingError {
    /// The loss is not finite.
    #[error(
        "the loss was {loss} before scaling in {updates} updates in a row, so no scale helps: look \
         for a division by 0, the logarithm of 0, inputs that are not finite, or a forward pass that \
         exceeds the largest number of its precision (65,504 in f16); a lower learning rate may keep \
         weights from getting there"
    )]
    LossNotFinite {
        /// The last loss.
        loss: f64,
        /// The number of consecutive skipped updates.
        updates: u64,
    },
    /// Gradients overflow at the minimum scale.
    #[error(
        "gradients were infinite or NaN at scale {scale}, which cannot fall further, in {updates} updates in a \
         row: allow a smaller scale, or look for an operation whose gradient is not finite, such as \
         a square root at 0"
    )]
    OverflowAtMinimum {
        /// The scale.
        scale: f64,
        /// The number of consecutive skipped updates.
        updates: u64,
    },
}

impl LossScaler {
    /// The scale of the next update.
    pub fn scale(&self) -> f64 {
        f64::from(self.state.scale)
    }

    /// The description.
    pub fn rule(&self) -> LossScaling {
        self.rule
    }

    /// Whether the scale can still fall.
    pub fn can_fall(&self) -> bool {
        self.state.scale > self.rule.min_scale() as f32
    }

    /// Observes an update, and decides what happens to it.
    ///
    /// # Errors
    /// [`ScalingError`] if too many consecutive updates were skipped for a reason that a smaller scale cannot
    /// fix. Its state changes nevertheless.
    pub fn observe(&mut self, seen: &Observation) -> Result<ScaledUpdate, ScalingError> {
        if seen.is_finite() {
            self.state.failures_in_a_row = 0;
            self.grow();
            return Ok(ScaledUpdate::Done);
        }
        if let Some(loss) = seen.loss.filter(|loss| !loss.is_finite()) {
            let updates = self.fail();
            let error = ScalingError::LossNotFinite { loss, updates };
            return self.unless_too_many(ScaledUpdate::LossNotFinite, error);
        }
        self.state.good_updates = 0;
        if self.can_fall() {
            self.state.failures_in_a_row = 0;
            self.back_off();
            return Ok(ScaledUpdate::Overflow);
        }
        let updates = self.fail();
        let error = ScalingError::OverflowAtMinimum { scale: self.scale(), updates };
        self.unless_too_many(ScaledUpdate::OverflowAtMinimum, error)
    }

    fn fail(&mut self) -> u64 {
        self.state.failures_in_a_row += 1;
        self.state.failures_in_a_row
    }

    fn unless_too_many(
        &self,
        update: ScaledUpdate,
        error: ScalingError,
    ) -> Result<ScaledUpdate, ScalingError> {
        if self.state.failures_in_a_row < self.rule.max_failures { Ok(update) } else { Err(error) }
    }

    fn back_off(&mut self) {
        let least = self.rule.min_scale() as f32;
        self.state.scale = (self.state.scale * self.rule.backoff_factor as f32).max(least);
        self.state.good_updates = 0;
    }

    fn grow(&mut self) {
        self.state.good_updates += 1;
        if self.state.good_updates >= self.rule.growth_interval {
            self.state.good_updates = 0;
            let grown = self.state.scale * self.rule.growth_factor as f32;
            if grown.is_finite() && !self.rule.fixed {
                self.state.scale = grown;
            }
        }
    }

    /// Adopts a scale that another controller has lowered; it stays there until it is due to grow.
    fn follow(&mut self, scale: f64) {
        if (scale as f32) < self.state.scale {
            self.state.scale = scale as f32;
            self.state.good_updates = 0;
        }
    }
}

impl Controller for LossScaler {
    type State = LossScalerState;

    fn needs(&self) -> Needs {
        Needs { loss: true, gradient_norm: true, now: true, ..Needs::default() }
    }

    fn loss_scale(&self) -> Option<LossScale> {
        Some(LossScale { next: self.scale(), least: self.rule.min_scale() })
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        self.follow(seen.loss_scale);
        let update = self.observe(seen.observation).map_err(Stop::new)?;
        Ok(Answer { loss_scale: Controller::loss_scale(self), ..update.answer() })
    }

    fn state(&self) -> LossScalerState {
        self.state
    }

    /// A constant scale keeps its value, and no scale falls below the minimum.
    fn restore(&mut self, state: LossScalerState) -> Result<(), OutOfRange> {
        let ok = state.scale > 0.0 && state.scale.is_finite();
        OutOfRange::require("scale", state.scale, ok, "above 0, finite")?;
        let scale = match self.rule.fixed {
            true => self.state.scale,
            false => state.scale.max(self.rule.min_scale() as f32),
        };
        self.state = LossScalerState { scale, ..state };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: Observation = Observation {
        loss: None,
        gradient_norm: None,
        gradient_l1: None,
        gradient_dot: None,
        batch_gradient_norm: None,
        mean_gradient_norm: None,
        largest_gradient: None,
        task_cosine: None,
        movement: None,
        last_movement: None,
        batches: None,
        overflow: false,
    };
    const OVERFLOW: Observation = Observation { overflow: true, ..GOOD };

    fn restored(rule: LossScaling, state: LossScalerState) -> LossScaler {
        let mut scaler = rule.build().unwrap();
        scaler.restore(state).unwrap();
        scaler
    }

    #[test]
    fn a_fixed_scale_skips_and_stays() {
        let mut scaler = LossScaling::fixed(128.0).growth_interval(1).build().unwrap();
        assert_eq!(scaler.observe(&GOOD), Ok(ScaledUpdate::Done));
        assert_eq!(scaler.observe(&OVERFLOW), Ok(ScaledUpdate::OverflowAtMinimum));
        assert_eq!(scaler.scale(), 128.0);
    }

    #[test]
    fn the_scale_stops_at_its_minimum_and_training_after_it() {
        let rule = LossScaling::new().scale(2.0).minimum(0.5).max_failures(2);
        let mut scaler = rule.build().unwrap();
        let told: Vec<_> = (0..4).map(|_| scaler.observe(&OVERFLOW)).collect();
        assert_eq!(told[..2], [Ok(ScaledUpdate::Overflow), Ok(ScaledUpdate::Overflow)]);
        assert_eq!(told[2], Ok(ScaledUpdate::OverflowAtMinimum));
        assert_eq!(told[3], Err(ScalingError::OverflowAtMinimum { scale: 0.5, updates: 2 }));
        scaler.observe(&GOOD).unwrap();
        assert_eq!(scaler.observe(&OVERFLOW), Ok(ScaledUpdate::OverflowAtMinimum));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_not_the_scales_fault() {
        let mut scaler = LossScaling::new().max_failures(3).build().unwrap();
        let loss = |loss: f64| Observation { loss: Some(loss), ..OVERFLOW };
        assert_eq!(scaler.observe(&loss(f64::NAN)), Ok(ScaledUpdate::LossNotFinite));
        assert_eq!(scaler.observe(&loss(f64::INFINITY)), Ok(ScaledUpdate::LossNotFinite));
        assert_eq!(scaler.scale(), 65_536.0);
        // A smaller scale may fix an overflow of a finite loss, so the count restarts.
        assert_eq!(scaler.observe(&loss(1.0)), Ok(ScaledUpdate::Overflow));
        assert_eq!(scaler.scale(), 32_768.0);
        for _ in 0..2 {
            assert_eq!(scaler.observe(&loss(f64::NAN)), Ok(ScaledUpdate::LossNotFinite));
        }
        let error = scaler.observe(&loss(f64::NEG_INFINITY)).unwrap_err();
        let loss = f64::NEG_INFINITY;
        assert_eq!(error, ScalingError::LossNotFinite { loss, updates: 3 });
        // The gradient of a sum that overflows is finite.
        let seen = Observation { loss: Some(f64::INFINITY), ..GOOD };
        let mut scaler = LossScaling::new().build().unwrap();
        assert_eq!(scaler.observe(&seen), Ok(ScaledUpdate::LossNotFinite));
    }

    #[test]
    fn it_does_not_grow_to_infinity() {
        let mut scaler = LossScaling::new().scale(3e38).growth_interval(1).build().unwrap();
        scaler.observe(&GOOD).unwrap();
        assert_eq!(scaler.scale(), f64::from(3e38f32));
    }

    #[test]
    fn a_small_scale_needs_no_minimum() {
        assert!(!LossScaling::new().scale(1e-9).build().unwrap().can_fall());
    }

    #[test]
    fn refuses_each_field() {
        let field = |rule: LossScaling| rule.build().unwrap_err().field;
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e39, 1e-60, 1e-39] {
            assert_eq!(field(LossScaling::new().scale(scale)), "scale");
            assert_eq!(field(LossScaling::fixed(scale)), "scale");
        }
        for factor in [1.0, 0.5, 1.000_000_01, 1e39, f64::NAN, f64::INFINITY] {
            assert_eq!(field(LossScaling::new().growth_factor(factor)), "growth_factor");
        }
        for factor in [1.0, 0.0, -0.5, 0.999_999_999, 1e-60, f64::NAN] {
            assert_eq!(field(LossScaling::new().backoff_factor(factor)), "backoff_factor");
        }
        assert_eq!(field(LossScaling::new().growth_interval(0)), "growth_interval");
        for minimum in [0.0, f64::NAN, 1e6] {
            assert_eq!(field(LossScaling::new().minimum(minimum)), "minimum");
        }
        assert_eq!(field(LossScaling::new().max_failures(0)), "max_failures");
    }

    #[test]
    fn a_state_goes_on_within_the_rule_of_now() {
        let saved = LossScaling::new().build().unwrap().state();
        let restored = |rule: LossScaling| restored(rule, saved).scale();
        assert_eq!(restored(LossScaling::new().scale(8.0)), 65_536.0);
        assert_eq!(restored(LossScaling::fixed(1_024.0)), 1_024.0);
        assert_eq!(restored(LossScaling::new().scale(2e5).minimum(1e5)), 1e5);
    }

    proptest! {
        /// Saved at any update and restored, it continues as if nothing had happened.
        #[test]
        fn a_state_goes_on_where_it_was(
            seen in prop::collection::vec(prop::bool::weighted(0.2), 1..200),
            cut in 0usize..200,
            interval in 1u64..9,
        ) {
            let rule = LossScaling::new().growth_interval(interval);
            let mut whole = rule.build().unwrap();
            let mut split = rule.build().unwrap();
            for (i, overflow) in seen.into_iter().enumerate() {
                if i == cut {
                    let text = serde_json::to_string(&split.state()).unwrap();
                    let state = serde_json::from_str(&text).unwrap();
                    split = restored(rule, state);
                }
                let seen = Observation { overflow, ..GOOD };
                prop_assert_eq!(whole.observe(&seen), split.observe(&seen));
                prop_assert_eq!(whole.scale(), split.scale());
            }
        }
    }
}

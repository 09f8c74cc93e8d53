//! The scale of the loss in half-precision training.

use crate::{ControlError, Observation};
use serde::{Deserialize, Serialize};

/// How a loss scale starts and moves: the description.
///
/// The loss is multiplied by the scale before the backward pass, so that small gradients do not become 0
/// in half precision, and gradients are divided by it before the update. After each update
///
/// ```text
/// overflow:                                    scale ← scale · backoff_factor, and the update is skipped
/// growth_interval updates without one in a row: scale ← scale · growth_factor
/// ```
///
/// in f32, as torch has it; a scale that would become infinite does not grow.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `scale` | 65,536 | finite in f32, above 0 |
/// | `growth_factor` | 2 | finite, above 1 |
/// | `backoff_factor` | 0.5 | above 0, below 1 |
/// | `growth_interval` | 2,000 updates | at least 1 |
/// | `minimum` | 2⁻²⁴ | above 0, at most `scale` |
///
/// Source: torch `GradScaler`; Micikevicius et al. 2018, "Mixed precision training", section 3.2. torch has
/// no minimum: its scale falls until it is 0.
///
/// ```
/// use anneal_control::{LossScaling, Observation};
/// let mut scaler = LossScaling::new().scale(8.0).growth_interval(2).build()?;
/// let good = Observation::default();
/// let scales: Vec<f64> = (0..4).map(|_| { scaler.observe(&good); scaler.scale() }).collect();
/// assert_eq!(scales, [8.0, 16.0, 16.0, 32.0]);
/// # Ok::<(), anneal_control::ControlError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossScaling {
    scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
    minimum: f64,
    fixed: bool,
}

impl Default for LossScaling {
    fn default() -> Self {
        Self {
            scale: 65_536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2_000,
            minimum: f64::powi(2.0, -24),
            fixed: false,
        }
    }
}

impl LossScaling {
    /// torch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A scale that never changes; an update that overflows is skipped all the same.
    pub fn fixed(scale: f64) -> Self {
        Self { scale, fixed: true, minimum: scale, ..Self::default() }
    }

    /// The first scale.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// What the scale is multiplied by after good updates.
    pub fn growth_factor(mut self, factor: f64) -> Self {
        self.growth_factor = factor;
        self
    }

    /// What the scale is multiplied by after an overflow.
    pub fn backoff_factor(mut self, factor: f64) -> Self {
        self.backoff_factor = factor;
        self
    }

    /// How many good updates in a row let the scale grow.
    pub fn growth_interval(mut self, updates: u64) -> Self {
        self.growth_interval = updates;
        self
    }

    /// The least scale.
    pub fn minimum(mut self, scale: f64) -> Self {
        self.minimum = scale;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// [`ControlError`] names the field, the value, and what is allowed.
    pub fn build(self) -> Result<LossScaler, ControlError> {
        let in_f32 = |value: f64| value as f32 > 0.0 && (value as f32).is_finite();
        let Self { scale, growth_factor, backoff_factor, growth_interval, minimum, .. } = self;
        ControlError::require("scale", scale, in_f32(scale), "above 0, finite in f32")?;
        let grows = growth_factor > 1.0 && growth_factor.is_finite();
        ControlError::require("growth_factor", growth_factor, grows, "a finite number above 1")?;
        let falls = backoff_factor > 0.0 && backoff_factor < 1.0;
        ControlError::require("backoff_factor", backoff_factor, falls, "above 0, below 1")?;
        let counts = growth_interval >= 1;
        ControlError::require("growth_interval", growth_interval, counts, "at least 1")?;
        let below = in_f32(minimum) && minimum <= scale;
        ControlError::require("minimum", minimum, below, "above 0, at most scale")?;
        let state = LossScalerState { scale: scale as f32, good_updates: 0, overflows_in_a_row: 0 };
        Ok(LossScaler { rule: self, state })
    }
}

/// The scale of the loss, moved by what updates show: see [`LossScaling`].
#[derive(Clone, Debug, PartialEq)]
pub struct LossScaler {
    rule: LossScaling,
    state: LossScalerState,
}

/// What a checkpoint saves of a [`LossScaler`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScalerState {
    /// The scale of the next update.
    pub scale: f32,
    /// Updates without an overflow since the scale changed.
    pub good_updates: u64,
    /// Skipped updates since the last good one.
    pub overflows_in_a_row: u64,
}

/// What becomes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaledUpdate {
    /// It is done.
    Done,
    /// It is skipped because a gradient overflowed.
    Skipped {
        /// Skipped updates in a row, this one included.
        in_a_row: u64,
        /// Whether the scale was at its minimum, so that a smaller one cannot help.
        at_minimum: bool,
    },
}

impl ScaledUpdate {
    /// Whether it is skipped.
    pub fn is_skipped(self) -> bool {
        self != Self::Done
    }
}

impl LossScaler {
    /// The scale of the next update.
    pub fn scale(&self) -> f64 {
        f64::from(self.state.scale)
    }

    /// The rule.
    pub fn rule(&self) -> LossScaling {
        self.rule
    }

    /// The scale that the update after the next will use if the next is good: growth included.
    pub fn scale_after_a_good_update(&self) -> f64 {
        let mut next = self.clone();
        next.observe(&Observation::default());
        next.scale()
    }

    /// Hears of an update, and says what becomes of it.
    pub fn observe(&mut self, seen: &Observation) -> ScaledUpdate {
        if seen.overflow { self.back_off() } else { self.grow() }
    }

    fn back_off(&mut self) -> ScaledUpdate {
        let LossScaling { backoff_factor, minimum, fixed, .. } = self.rule;
        let LossScalerState { scale, overflows_in_a_row, .. } = self.state;
        let at_minimum = scale <= minimum as f32;
        let in_a_row = overflows_in_a_row + 1;
        self.state = LossScalerState {
            scale: if fixed { scale } else { (scale * backoff_factor as f32).max(minimum as f32) },
            good_updates: 0,
            overflows_in_a_row: in_a_row,
        };
        ScaledUpdate::Skipped { in_a_row, at_minimum }
    }

    fn grow(&mut self) -> ScaledUpdate {
        self.state.overflows_in_a_row = 0;
        self.state.good_updates += 1;
        if self.state.good_updates >= self.rule.growth_interval {
            self.state.good_updates = 0;
            let grown = self.state.scale * self.rule.growth_factor as f32;
            if grown.is_finite() && !self.rule.fixed {
                self.state.scale = grown;
            }
        }
        ScaledUpdate::Done
    }

    /// What a checkpoint saves.
    pub fn state(&self) -> LossScalerState {
        self.state
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`ControlError`] for a scale that is not above 0 and finite.
    pub fn restored(self, state: LossScalerState) -> Result<Self, ControlError> {
        let ok = state.scale > 0.0 && state.scale.is_finite();
        ControlError::require("scale", state.scale, ok, "above 0, finite")?;
        Ok(Self { state, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OVERFLOW: Observation = Observation { loss: None, gradient_norm: None, overflow: true };
    const GOOD: Observation = Observation { loss: None, gradient_norm: None, overflow: false };

    #[test]
    fn a_fixed_scale_skips_and_stays() {
        let mut scaler = LossScaling::fixed(128.0).growth_interval(1).build().unwrap();
        assert_eq!(scaler.observe(&GOOD), ScaledUpdate::Done);
        let skipped = ScaledUpdate::Skipped { in_a_row: 1, at_minimum: true };
        assert_eq!(scaler.observe(&OVERFLOW), skipped);
        assert_eq!(scaler.scale(), 128.0);
    }

    #[test]
    fn the_scale_stops_at_its_minimum_and_says_so() {
        let mut scaler = LossScaling::new().scale(2.0).minimum(0.5).build().unwrap();
        let told: Vec<ScaledUpdate> = (0..4).map(|_| scaler.observe(&OVERFLOW)).collect();
        let skipped = |in_a_row, at_minimum| ScaledUpdate::Skipped { in_a_row, at_minimum };
        let expected = [skipped(1, false), skipped(2, false), skipped(3, true), skipped(4, true)];
        assert_eq!(told, expected);
        assert_eq!(scaler.scale(), 0.5);
        scaler.observe(&GOOD);
        assert_eq!(scaler.state().overflows_in_a_row, 0);
    }

    #[test]
    fn it_does_not_grow_to_infinity() {
        let mut scaler = LossScaling::new().scale(3e38).growth_interval(1).build().unwrap();
        scaler.observe(&GOOD);
        assert_eq!(scaler.scale(), f64::from(3e38f32));
    }

    #[test]
    fn refuses_each_field() {
        let field = |rule: LossScaling| rule.build().unwrap_err().field;
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e39, 1e-60] {
            assert_eq!(field(LossScaling::new().scale(scale)), "scale");
            assert_eq!(field(LossScaling::fixed(scale)), "scale");
        }
        for factor in [1.0, 0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(field(LossScaling::new().growth_factor(factor)), "growth_factor");
        }
        for factor in [1.0, 0.0, -0.5, f64::NAN] {
            assert_eq!(field(LossScaling::new().backoff_factor(factor)), "backoff_factor");
        }
        assert_eq!(field(LossScaling::new().growth_interval(0)), "growth_interval");
        for minimum in [0.0, f64::NAN, 1e6] {
            assert_eq!(field(LossScaling::new().minimum(minimum)), "minimum");
        }
    }

    proptest! {
        /// Saved at any update and loaded, it goes on as if nothing had been.
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
                    split = rule.build().unwrap().restored(state).unwrap();
                }
                let seen = Observation { overflow, ..GOOD };
                prop_assert_eq!(whole.observe(&seen), split.observe(&seen));
                prop_assert_eq!(whole.scale(), split.scale());
            }
        }
    }
}

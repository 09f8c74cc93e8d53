//! A rate that keeps the next gradient in the range of its precision.

use crate::{ControlError, LossScaler, Observation, ScaledUpdate, ScalingError};
use serde::{Deserialize, Serialize};

/// A cap on the rate, so that no scaled gradient of the next update overflows: the description.
///
/// A gradient changes by at most L times the distance that the weights move. So the largest entry of the
/// next scaled gradient stays below the limit F if
///
/// ```text
/// s' (‖g‖_∞ + L c ‖Δw‖₂) ≤ F        c = min(1, (F / s' − ‖g‖_∞) / (L ‖Δw‖₂))
/// ```
///
/// with s' the scale of the next update, g the gradient, Δw what the update adds to the weights at the rate
/// of the schedule, and c what is left of that rate. Where no c above 0 satisfies it, the scale falls
/// instead, also for movement that does not follow the rate; and a scale that is due to grow does not grow
/// where that would cut the rate.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | smoothness L | given, or measured every k updates | finite, above 0; k at least 1 |
/// | `limit` F | 61,410: 15/16 of f16's 65,504 | finite, above 0 |
///
/// L is a bound on |Hv|_∞ / ‖v‖₂ of the Hessian H of one batch's loss: its largest eigenvalue, or less, the
/// largest norm of a row. The sixteenth is for what rounding adds.
///
/// What it does not promise: that nothing overflows *inside* the backward pass, where gradients of
/// activations may be larger than those of weights; that another batch has a gradient like this one's; and
/// with a measured L, that the curvature of the next step is that of the last one measured. An overflow that
/// happens all the same is skipped.
///
/// ```
/// use anneal_control::{LossScaling, Observation, RateCap};
///
/// let mut scaler = LossScaling::fixed(1_000.0).build()?;
/// let mut limiter = RateCap::given(2.0).limit(60_000.0).build()?;
/// let seen = Observation { largest_gradient: Some(20.0), movement: Some(40.0), ..Observation::default() };
/// // 1,000 (20 + 2 · 0.5 · 40) is 60,000.
/// assert_eq!(limiter.observe(&mut scaler, &seen)?.factor, 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateCap {
    smoothness: Smoothness,
    limit: f64,
}

/// Where the smoothness L comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Smoothness {
    Given(f64),
    MeasuredEvery(u64),
}

impl RateCap {
    /// With a smoothness L that is known.
    pub fn given(smoothness: f64) -> Self {
        Self::new(Smoothness::Given(smoothness))
    }

    /// With a smoothness that is measured at the first update and then every so many: the gradient of one
    /// batch before and after the update, L = ‖Δg‖_∞ / ‖Δw‖₂. It costs a further forward and backward pass
    /// in those updates. (Gradients of two batches differ mostly by noise, and an L from them would drive the
    /// rate to 0.)
    ///
    /// An update that changes the gradient by less than a 64th of its largest entry measures nothing: that
    /// may be rounding, as with the small rates at the beginning of a warm-up. Until an L is known, the 1st,
    /// 2nd, 4th, 8th, … update after such a one measures again.
    pub fn measured_every(updates: u64) -> Self {
        Self::new(Smoothness::MeasuredEvery(updates))
    }

    fn new(smoothness: Smoothness) -> Self {
        Self { smoothness, limit: 65_504.0 * 15.0 / 16.0 }
    }

    /// What no entry of a scaled gradient shall exceed. The default is that of f16, for other precisions it is
    /// far too low.
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = limit;
        self
    }

    /// Whether it asks for measurements.
    pub fn measures(&self) -> bool {
        matches!(self.smoothness, Smoothness::MeasuredEvery(_))
    }

    /// Checks it.
    ///
    /// # Errors
    /// [`ControlError`] names the field, the value, and what is allowed.
    pub fn build(self) -> Result<RateLimiter, ControlError> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self.smoothness {
            Smoothness::Given(value) => {
                ControlError::require("smoothness", value, positive(value), POSITIVE)?;
            }
            Smoothness::MeasuredEvery(updates) => {
                ControlError::require(
                    "measured_every",
                    updates,
                    updates >= 1,
                    "at least 1 update",
                )?;
            }
        }
        ControlError::require("limit", self.limit, positive(self.limit), POSITIVE)?;
        let smoothness = match self.smoothness {
            Smoothness::Given(value) => Some(value),
            Smoothness::MeasuredEvery(_) => None,
        };
        Ok(RateLimiter { cap: self, state: RateLimiterState { smoothness, ..Default::default() } })
    }
}

const POSITIVE: &str = "a finite number above 0";

/// A cap on the rate, moved by what updates show: see [`RateCap`].
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimiter {
    cap: RateCap,
    state: RateLimiterState,
}

/// What a checkpoint saves of a [`RateLimiter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateLimiterState {
    /// The smoothness L; `None` before it is measured, when there is no cap.
    pub smoothness: Option<f64>,
    /// Updates since it was to be measured; 0 where it is to be with the next.
    pub since_measured: u64,
    /// Updates of which it cut the rate.
    pub cuts: u64,
}

/// What becomes of an update, and of its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CappedUpdate {
    /// What becomes of it.
    pub update: ScaledUpdate,
    /// What its rate is multiplied by: above 0, at most 1.
    pub factor: f64,
}

/// What an update did to one batch, for a smoothness to be measured from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchChange {
    /// ‖Δg‖_∞ between its gradients before and after the update, unscaled.
    pub gradient: f64,
    /// ‖Δw‖₂ of the weights that it was computed with: those of the model, not of their copies in f32.
    pub weights: f64,
}

impl RateLimiter {
    /// The description.
    pub fn cap(&self) -> RateCap {
        self.cap
    }

    /// Whether the smoothness is to be measured with the next update.
    pub fn measures_next(&self) -> bool {
        let RateLimiterState { smoothness, since_measured, .. } = self.state;
        let again = smoothness.is_none() && since_measured.is_power_of_two();
        self.cap.measures() && (since_measured == 0 || again)
    }

    /// Hears of an update whose `largest_gradient` and `movement` are known, moves the scale, and says what
    /// becomes of both.
    ///
    /// # Errors
    /// [`ScalingError`] as [`LossScaler::observe`], and where a scale that may not fall leaves no room for
    /// any rate, in too many updates in a row.
    pub fn observe(
        &mut self,
        scaler: &mut LossScaler,
        seen: &Observation,
    ) -> Result<CappedUpdate, ScalingError> {
        let mut next = scaler.clone();
        let update = next.observe(seen);
        let (Ok(ScaledUpdate::Done), Some(smoothness)) = (&update, self.state.smoothness) else {
            *scaler = next;
            return update.map(|update| CappedUpdate { update, factor: 1.0 });
        };
        let change = smoothness * movement_of(seen);
        let room = |scaler: &LossScaler| self.room(scaler, seen);
        if next.scale() > scaler.scale() && room(&next) < change {
            next.take_growth_back(scaler.scale());
        }
        while room(&next) <= 0.0 {
            if !next.can_fall() {
                let update = scaler.leave_no_room(seen.largest_gradient.unwrap_or(0.0))?;
                return Ok(CappedUpdate { update, factor: 1.0 });
            }
            next.back_off();
        }
        let cut = (room(&next) / change).max(f64::MIN_POSITIVE);
        let factor = if change > room(&next) { cut } else { 1.0 };
        if factor < 1.0 {
            self.state.cuts += 1;
        }
        *scaler = next;
        Ok(CappedUpdate { update: ScaledUpdate::Done, factor })
    }

    /// Looks at an update that was made again at less than its rate, of which `seen` has the movement now.
    ///
    /// Not all movement follows the rate: a velocity that the rate is a part of does not, nor a weight decay
    /// that is independent of it. Where they alone are too much, the scale falls, as far as it may.
    pub fn settle(&self, scaler: &mut LossScaler, seen: &Observation) {
        let change = self.state.smoothness.unwrap_or(0.0) * movement_of(seen);
        // What follows the rate comes to the room that there is, but for rounding.
        while change > 1.01 * self.room(scaler, seen) && scaler.can_fall() {
            scaler.back_off();
        }
    }

    /// How much larger the largest entry of a gradient may become.
    fn room(&self, scaler: &LossScaler, seen: &Observation) -> f64 {
        self.cap.limit / scaler.scale() - seen.largest_gradient.unwrap_or(0.0)
    }

    /// The scale at which a batch is looked at again after an update: that of the update, or less by a power
    /// of 2 where a gradient that became 64 times as large would overflow. It is a rate that is far too high
    /// of which the smoothness must be known.
    pub fn measuring_scale(&self, scale: f64, seen: &Observation) -> f64 {
        let headroom = self.cap.limit / 64.0 / (scale * seen.largest_gradient.unwrap_or(0.0));
        scale * headroom.log2().floor().clamp(-64.0, 0.0).exp2()
    }

    /// Counts an update that was done, and takes the smoothness from what it did to a batch, where that was
    /// measured and is more than rounding: see [`RateCap::measured_every`].
    pub fn count(&mut self, seen: &Observation, measured: Option<BatchChange>) {
        let Smoothness::MeasuredEvery(every) = self.cap.smoothness else { return };
        let rounding = seen.largest_gradient.unwrap_or(0.0) / 64.0;
        let smoothness = measured
            .filter(|change| change.gradient >= rounding)
            .map(|change| change.gradient / change.weights)
            .filter(|smoothness| *smoothness > 0.0 && smoothness.is_finite());
        self.state.smoothness = smoothness.or(self.state.smoothness);
        self.state.since_measured = (self.state.since_measured + 1) % every;
    }

    /// What a checkpoint saves.
    pub fn state(&self) -> RateLimiterState {
        self.state
    }

    /// Goes on from a checkpoint. A smoothness that is given stays what it is now.
    pub fn restored(self, state: RateLimiterState) -> Self {
        let state = match self.cap.smoothness {
            Smoothness::Given(_) => RateLimiterState { cuts: state.cuts, ..self.state },
            Smoothness::MeasuredEvery(every) => {
                RateLimiterState { since_measured: state.since_measured % every, ..state }
            }
        };
        Self { state, ..self }
    }
}

/// ‖Δw‖₂ as far as it is known. Weights that overflow are beyond what a rate can help: the next loss tells.
fn movement_of(seen: &Observation) -> f64 {
    seen.movement.filter(|movement| movement.is_finite()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LossScaling;
    use proptest::prelude::*;

    fn seen(largest: f64, movement: f64) -> Observation {
        Observation {
            largest_gradient: Some(largest),
            movement: Some(movement),
            ..Observation::default()
        }
    }

    proptest! {
        /// The bound holds at the scale that comes next, whatever was seen; and it does not cut without need.
        #[test]
        fn the_bound_holds_and_is_not_strict_without_need(
            exponent in -10i32..16,
            interval in 1u64..4,
            updates in prop::collection::vec((1e-6f64..1e5, 0.0f64..1e3), 1..40),
            smoothness in 1e-3f64..1e3,
        ) {
            let rule = LossScaling::new().scale(f64::exp2(exponent.into())).growth_interval(interval);
            let mut scaler = rule.build().unwrap();
            let limit = 61_410.0;
            let mut limiter = RateCap::given(smoothness).build().unwrap();
            for (largest, movement) in updates {
                let answer = limiter.observe(&mut scaler, &seen(largest, movement)).unwrap();
                let next = |factor: f64| scaler.scale() * (largest + smoothness * factor * movement);
                prop_assert!(answer.factor > 0.0 && answer.factor <= 1.0);
                prop_assert!(next(answer.factor) <= limit * (1.0 + 1e-12));
                if answer.factor < 1.0 {
                    prop_assert!(next(answer.factor) >= limit * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn the_scale_falls_only_where_no_rate_is_left() {
        let mut scaler = LossScaling::new().scale(1_024.0).build().unwrap();
        let mut limiter = RateCap::given(1.0).limit(1_024.0).build().unwrap();
        assert_eq!(limiter.observe(&mut scaler, &seen(0.75, 1.0)).unwrap().factor, 0.25);
        assert_eq!(scaler.scale(), 1_024.0);
        assert_eq!(limiter.observe(&mut scaler, &seen(1.0, 4.0)).unwrap().factor, 0.25);
        assert_eq!(scaler.scale(), 512.0);
        assert_eq!(limiter.state().cuts, 2);
    }

    #[test]
    fn a_scale_does_not_grow_at_the_cost_of_the_rate() {
        let rule = LossScaling::new().scale(1.0).growth_interval(1);
        let mut scaler = rule.build().unwrap();
        let mut limiter = RateCap::given(1.0).limit(8.0).build().unwrap();
        let scales: Vec<f64> = (0..3)
            .map(|_| {
                assert_eq!(limiter.observe(&mut scaler, &seen(1.0, 1.0)).unwrap().factor, 1.0);
                scaler.scale()
            })
            .collect();
        assert_eq!(scales, [2.0, 4.0, 4.0]);
    }

    #[test]
    fn a_scale_that_may_not_fall_is_an_error_in_the_end() {
        let mut scaler = LossScaling::fixed(100.0).max_failures(2).build().unwrap();
        let mut limiter = RateCap::given(1.0).limit(100.0).build().unwrap();
        let answer = limiter.observe(&mut scaler, &seen(1.0, 1.0)).unwrap();
        assert_eq!(answer.update, ScaledUpdate::NoRoom);
        let error = limiter.observe(&mut scaler, &seen(1.0, 1.0)).unwrap_err();
        assert_eq!(error, ScalingError::NoRoom { scale: 100.0, largest: 1.0, updates: 2 });
    }

    #[test]
    fn the_scale_falls_before_it_is_an_error() {
        let mut scaler = LossScaling::new().scale(1_024.0).minimum(512.0).build().unwrap();
        let mut limiter = RateCap::given(1.0).limit(200.0).build().unwrap();
        let answer = limiter.observe(&mut scaler, &seen(1.0, 1.0)).unwrap();
        assert_eq!((answer.update, scaler.scale()), (ScaledUpdate::NoRoom, 512.0));
    }

    /// Of a movement of 12 the rate is cut to 1/4, and 5 are left.
    #[test]
    fn the_scale_falls_for_what_does_not_follow_the_rate() {
        for (scaling, expected) in
            [(LossScaling::new().scale(8.0), 4.0), (LossScaling::fixed(8.0), 8.0)]
        {
            let mut scaler = scaling.build().unwrap();
            let mut limiter = RateCap::given(1.0).limit(32.0).build().unwrap();
            assert_eq!(limiter.observe(&mut scaler, &seen(1.0, 12.0)).unwrap().factor, 0.25);
            limiter.settle(&mut scaler, &seen(1.0, 3.0));
            assert_eq!(scaler.scale(), 8.0);
            limiter.settle(&mut scaler, &seen(1.0, 5.0));
            assert_eq!(scaler.scale(), expected);
        }
    }

    #[test]
    fn a_batch_is_looked_at_again_with_room_for_64_times_its_gradient() {
        let limiter = RateCap::measured_every(1).limit(65_536.0).build().unwrap();
        let scale = |largest| limiter.measuring_scale(1_000.0, &seen(largest, 1.0));
        assert_eq!([0.0, 1.0, 1.024, 1.025, 4.0].map(scale), [1e3, 1e3, 1e3, 500.0, 250.0]);
        assert_eq!(scale(f64::MAX), 1_000.0 * f64::exp2(-64.0));
    }

    #[test]
    fn a_smoothness_is_measured_every_k_updates_and_caps_nothing_before() {
        let mut scaler = LossScaling::fixed(1.0).build().unwrap();
        let mut limiter = RateCap::measured_every(3).limit(10.0).build().unwrap();
        let mut measured = vec![];
        for update in 0..7 {
            measured.push(limiter.measures_next());
            let seen = seen(1.0, 36.0);
            let factor = limiter.observe(&mut scaler, &seen).unwrap().factor;
            assert_eq!(factor, if update == 0 { 1.0 } else { 0.5 });
            // What says nothing is left out: no number, and what may be rounding.
            let gradient = [5.0, f64::NAN, f64::INFINITY, 0.01][update.min(3)];
            let change = BatchChange { gradient, weights: 10.0 };
            limiter.count(&seen, limiter.measures_next().then_some(change));
        }
        assert_eq!(measured, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_smoothness_that_rounding_hides_is_looked_for_again() {
        let mut limiter = RateCap::measured_every(100).build().unwrap();
        let mut measured = vec![];
        for update in 0..250 {
            if limiter.measures_next() {
                measured.push(update);
            }
            let gradient = if update < 107 { 1.0 / 65.0 } else { 1.0 / 63.0 };
            let change = BatchChange { gradient, weights: 1.0 / 63.0 };
            limiter.count(&seen(1.0, 1.0), limiter.measures_next().then_some(change));
        }
        assert_eq!(measured, [0, 1, 2, 4, 8, 16, 32, 64, 100, 101, 102, 104, 108, 200]);
        assert_eq!(limiter.state().smoothness, Some(1.0));
    }

    #[test]
    fn some_of_the_rate_is_left_whatever_the_smoothness_is() {
        let mut scaler = LossScaling::new().build().unwrap();
        let mut limiter = RateCap::given(1e308).build().unwrap();
        let answer = limiter.observe(&mut scaler, &seen(1e-3, 1e308)).unwrap();
        assert!(answer.factor > 0.0 && answer.update == ScaledUpdate::Done, "{answer:?}");
    }

    #[test]
    fn refuses_each_field() {
        let field = |cap: RateCap| cap.build().unwrap_err().field;
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(RateCap::given(value)), "smoothness");
            assert_eq!(field(RateCap::given(1.0).limit(value)), "limit");
        }
        assert_eq!(field(RateCap::measured_every(0)), "measured_every");
    }
}

//! Keeps the next gradient within the range of its precision.

use crate::{
    Answer, BatchAgain, BatchChange, Controller, Event, LossScale, Needs, Observation, OutOfRange,
    Seen, Stop,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Caps the rate so that no scaled gradient of the next update overflows: the description.
///
/// A gradient changes by at most L times the distance that the weights move. So the largest entry of the next
/// scaled gradient stays below the limit F if
///
/// ```text
/// s' (‖g‖_∞ + L c ‖Δw‖₂) ≤ F        c = min(1, (F / s' − ‖g‖_∞) / (L ‖Δw‖₂))
/// ```
///
/// with s' the scale of the next update, g the gradient, Δw the change of the weights at the rate of the
/// schedule, and c the factor on that rate. If no c above 0 satisfies it, the scale falls instead, also for
/// movement that does not scale with the rate; and a scale that is due to grow does not grow if that would
/// cut the rate.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | smoothness L | given, or measured every k updates | finite, above 0; k at least 1 |
/// | `limit` F | 61,410: 15/16 of f16's 65,504 | finite, above 0 |
///
/// L bounds |Hv|_∞ / ‖v‖₂ for the Hessian H of one batch's loss: its largest eigenvalue, or more tightly the
/// largest norm of a row. The sixteenth allows for rounding.
///
/// What it does not guarantee: that nothing overflows *inside* the backward pass, where gradients of
/// activations may exceed those of weights; that another batch has a similar gradient; and with a measured L,
/// that the curvature of the next step equals the last measured one. An overflow that still happens is
/// skipped.
///
/// It is called after the controller that sets the loss scale; without one the scale is 1.
///
/// ```
/// use anneal_control::{Controllers, Due, LossScaling, Observation, OverflowCap};
///
/// let mut controllers = Controllers::default();
/// controllers.add("loss scale", LossScaling::fixed(1_000.0).build()?);
/// controllers.add("overflow cap", OverflowCap::given(2.0).limit(60_000.0).build()?);
/// let seen = Observation { largest_gradient: Some(20.0), movement: Some(40.0), ..Observation::default() };
/// // 1,000 (20 + 2 · 0.5 · 40) is 60,000.
/// assert_eq!(controllers.update(Due::at(0, 0.1), &seen)?.answer.limit, Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct OverflowCap {
    smoothness: Smoothness,
    limit: f64,
}

/// The source of the smoothness L.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Smoothness {
    Given(f64),
    MeasuredEvery(u64),
}

impl OverflowCap {
    /// Uses a known smoothness L.
    pub fn given(smoothness: f64) -> Self {
        Self::new(Smoothness::Given(smoothness))
    }

    /// Measures the smoothness at the first update and then every `updates` updates: from the gradient of one
    /// batch before and after the update, L = ‖Δg‖_∞ / ‖Δw‖₂. It costs another forward and backward pass in
    /// those updates. (Gradients of two batches differ mostly by noise, and an L from them would drive the
    /// rate to 0.)
    ///
    /// An update that changes the gradient by less than a 64th of its largest entry gives no measurement: the
    /// change may be rounding, as at the small rates of an early warm-up. Until an L is known, the 1st, 2nd,
    /// 4th, 8th, … update after such a one measures again.
    pub fn measured_every(updates: u64) -> Self {
        Self::new(Smoothness::MeasuredEvery(updates))
    }

    fn new(smoothness: Smoothness) -> Self {
        Self { smoothness, limit: 65_504.0 * 15.0 / 16.0 }
    }

    /// Sets the limit of every entry of a scaled gradient. The default is for f16; it is far too low for
    /// other precisions.
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = limit;
        self
    }

    /// Whether it needs measurements.
    pub fn measures(&self) -> bool {
        matches!(self.smoothness, Smoothness::MeasuredEvery(_))
    }

    /// Checks the description.
    ///
    /// # Errors
    /// [`OutOfRange`] with the field, the value, and what is allowed.
    pub fn build(self) -> Result<OverflowLimiter, OutOfRange> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self.smoothness {
            Smoothness::Given(value) => {
                OutOfRange::require("smoothness", value, positive(value), POSITIVE)?;
            }
            Smoothness::MeasuredEvery(updates) => {
                OutOfRange::require("measured_every", updates, updates >= 1, "at least 1 update")?;
            }
        }
        OutOfRange::require("limit", self.limit, positive(self.limit), POSITIVE)?;
        let smoothness = match self.smoothness {
            Smoothness::Given(value) => Some(value),
            Smoothness::MeasuredEvery(_) => None,
        };
        Ok(OverflowLimiter {
            cap: self,
            state: OverflowLimiterState { smoothness, ..Default::default() },
        })
    }
}

const POSITIVE: &str = "a finite number above 0";

/// A cap on the rate, adjusted by the observed updates: see [`OverflowCap`].
#[derive(Clone, Debug, PartialEq)]
pub struct OverflowLimiter {
    cap: OverflowCap,
    state: OverflowLimiterState,
}

/// The state of an [`OverflowLimiter`] that a checkpoint saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverflowLimiterState {
    /// The smoothness L; `None` before the first measurement, while there is no cap.
    pub smoothness: Option<f64>,
    /// Updates since the last measurement was due; 0 if it is due with the next.
    pub since_measured: u64,
    /// Number of updates whose rate it cut.
    pub cuts: u64,
    /// Consecutive updates without room for any rate.
    pub failures_in_a_row: u64,
}

/// The cap has allowed no rate for too long.
#[derive(Clone, Debug, PartialEq, Error)]
#[error(
    "at scale {scale}, which cannot fall further, gradients as large as {largest} left no room for any rate in \
     {updates} updates in a row; allow a smaller scale"
)]
#[non_exhaustive]
pub struct NoRoom {
    /// The scale.
    pub scale: f64,
    /// The largest entry of the last gradient, unscaled.
    pub largest: f64,
    /// The number of consecutive skipped updates.
    pub updates: u64,
}

/// The maximum number of consecutive updates without room.
const MAX_FAILURES: u64 = 20;

impl OverflowLimiter {
    /// The description.
    pub fn cap(&self) -> OverflowCap {
        self.cap
    }

    /// Whether the smoothness is to be measured with the next update.
    fn measures_next(&self) -> bool {
        let OverflowLimiterState { smoothness, since_measured, .. } = self.state;
        let again = smoothness.is_none() && since_measured.is_power_of_two();
        self.cap.measures() && (since_measured == 0 || again)
    }

    /// The safety factor on the rate, at the next scale or a lower one.
    fn limit(&mut self, seen: &Seen<'_>) -> Result<Answer, Stop> {
        let Some(smoothness) = self.state.smoothness.filter(|_| seen.answered.skip.is_none())
        else {
            return Ok(Answer::default());
        };
        let change = smoothness * movement_of(seen.observation) * seen.largest_factor();
        let room = |scale: f64| self.room(scale, seen.observation);
        let LossScale { next, least } = next_scale(seen);
        // A scale that is due to grow does not if that would cut the rate.
        let grows = next > seen.loss_scale && room(next) < change;
        let mut scale = if grows { seen.loss_scale } else { next };
        while room(scale) <= 0.0 && scale > least {
            scale = halved(scale, least);
        }
        let loss_scale = (scale != next).then_some(LossScale { next: scale, least });
        if room(scale) <= 0.0 {
            let largest = seen.observation.largest_gradient.unwrap_or(0.0);
            return self.fail(scale, largest).map(|answer| Answer { loss_scale, ..answer });
        }
        let limit = (change > room(scale)).then(|| (room(scale) / change).max(f64::MIN_POSITIVE));
        self.state.failures_in_a_row = 0;
        self.state.cuts += u64::from(limit.is_some());
        Ok(Answer { limit, loss_scale, ..Answer::default() })
    }

    fn fail(&mut self, scale: f64, largest: f64) -> Result<Answer, Stop> {
        self.state.failures_in_a_row += 1;
        let updates = self.state.failures_in_a_row;
        match updates < MAX_FAILURES {
            true => Ok(Answer::skip("the overflow cap leaves no rate at the minimum loss scale")),
            false => Err(Stop::new(NoRoom { scale, largest, updates })),
        }
    }

    /// Checks an update as it was made: not all movement scales with the rate. A velocity that includes the
    /// rate does not, nor does a weight decay that is independent of it. If these alone are too large, the
    /// scale falls as far as it can.
    fn settle(&self, seen: &Seen<'_>) -> Answer {
        let Some(smoothness) = self.state.smoothness else { return Answer::default() };
        let change = smoothness * movement_of(seen.observation);
        let LossScale { next, least } = next_scale(seen);
        let mut scale = next;
        // Movement that scales with the rate fills the available room, up to rounding.
        while change > 1.01 * self.room(scale, seen.observation) && scale > least {
            scale = halved(scale, least);
        }
        let loss_scale = (scale != next).then_some(LossScale { next: scale, least });
        Answer { loss_scale, ..Answer::default() }
    }

    /// How much the largest entry of a gradient may grow.
    fn room(&self, scale: f64, seen: &Observation) -> f64 {
        self.cap.limit / scale - seen.largest_gradient.unwrap_or(0.0)
    }

    /// Takes the smoothness from the change of a batch, if that was measured and exceeds rounding: see
    /// [`OverflowCap::measured_every`].
    fn count(&mut self, seen: &Observation, measured: Option<BatchChange>) {
        let Smoothness::MeasuredEvery(every) = self.cap.smoothness else { return };
        let rounding = seen.largest_gradient.unwrap_or(0.0) / 64.0;
        let smoothness = measured
            .filter(|change| change.gradient >= rounding)
            .map(|change| change.gradient / change.weights)
            .filter(|smoothness| *smoothness > 0.0 && smoothness.is_finite());
        self.state.smoothness = smoothness.or(self.state.smoothness);
        self.state.since_measured = (self.state.since_measured + 1) % every;
    }
}

impl Controller for OverflowLimiter {
    type State = OverflowLimiterState;

    fn needs(&self) -> Needs {
        let batch_again = self.measures_next().then_some(BatchAgain { limit: self.cap.limit });
        Needs { largest_gradient: true, movement: true, batch_again, now: true, ..Needs::default() }
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        match event {
            Event::Update(seen) => self.limit(seen),
            Event::Outcome(seen, _) if seen.answered.skip.is_some() => Ok(Answer::default()),
            Event::Outcome(seen, change) => {
                let answer = self.settle(seen);
                self.count(seen.observation, *change);
                Ok(answer)
            }
            _ => Ok(Answer::default()),
        }
    }

    fn state(&self) -> OverflowLimiterState {
        self.state
    }

    /// A given smoothness keeps its current value.
    fn restore(&mut self, state: OverflowLimiterState) -> Result<(), OutOfRange> {
        self.state = match self.cap.smoothness {
            Smoothness::Given(value) => OverflowLimiterState { smoothness: Some(value), ..state },
            Smoothness::MeasuredEvery(every) => {
                OverflowLimiterState { since_measured: state.since_measured % every, ..state }
            }
        };
        Ok(())
    }
}

/// The scale of the next loss as decided so far.
fn next_scale(seen: &Seen<'_>) -> LossScale {
    let unscaled = LossScale { next: seen.loss_scale, least: seen.loss_scale };
    seen.answered.loss_scale.unwrap_or(unscaled)
}

/// Half of a scale, in f32.
fn halved(scale: f64, least: f64) -> f64 {
    f64::from(scale as f32 * 0.5).max(least)
}

/// ‖Δw‖₂ as far as it is known. If the weights themselves overflow, no rate helps: the next loss will show
/// it.
fn movement_of(seen: &Observation) -> f64 {
    seen.movement.filter(|movement| movement.is_finite()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Controllers, Decision, Due, LossScaling};
    use proptest::prelude::*;

    fn seen(largest: f64, movement: f64) -> Observation {
        Observation {
            largest_gradient: Some(largest),
            movement: Some(movement),
            ..Observation::default()
        }
    }

    fn due(number: u64) -> Due<'static> {
        Due::at(number, 1.0)
    }

    fn both(scaling: LossScaling, cap: OverflowCap) -> Controllers {
        let mut controllers = Controllers::default();
        controllers.add("loss scale", scaling.build().unwrap());
        controllers.add("overflow cap", cap.build().unwrap());
        controllers
    }

    fn factor(controllers: &mut Controllers, seen: &Observation) -> f64 {
        let decision = controllers.update(due(0), seen).unwrap();
        controllers.outcome(due(0), &made(seen, &decision), &decision, None).unwrap();
        decision.answer.rate(1.0)
    }

    /// A movement that scales with the rate.
    fn made(seen: &Observation, decision: &Decision) -> Observation {
        let movement = seen.movement.map(|movement| movement * decision.answer.rate(1.0));
        Observation { movement, ..*seen }
    }

    fn scale(controllers: &Controllers) -> f64 {
        controllers.loss_scale().unwrap()
    }

    fn state(controllers: &Controllers) -> OverflowLimiterState {
        serde_json::from_value(controllers.save().states["overflow cap"].clone()).unwrap()
    }

    proptest! {
        /// The bound holds at the next scale for any observation; and it does not cut needlessly.
        #[test]
        fn the_bound_holds_and_is_not_strict_without_need(
            exponent in -10i32..16,
            interval in 1u64..4,
            updates in prop::collection::vec((1e-6f64..1e5, 0.0f64..1e3), 1..40),
            smoothness in 1e-3f64..1e3,
        ) {
            let rule = LossScaling::new().scale(f64::exp2(exponent.into())).growth_interval(interval);
            let limit = 61_410.0;
            let mut controllers = both(rule, OverflowCap::given(smoothness));
            for (largest, movement) in updates {
                let factor = factor(&mut controllers, &seen(largest, movement));
                let next = scale(&controllers) * (largest + smoothness * factor * movement);
                prop_assert!(factor > 0.0 && factor <= 1.0);
                prop_assert!(next <= limit * (1.0 + 1e-12));
                if factor < 1.0 {
                    prop_assert!(next >= limit * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn the_scale_falls_only_where_no_rate_is_left() {
        let mut both =
            both(LossScaling::new().scale(1_024.0), OverflowCap::given(1.0).limit(1_024.0));
        assert_eq!(factor(&mut both, &seen(0.75, 1.0)), 0.25);
        assert_eq!(scale(&both), 1_024.0);
        assert_eq!(factor(&mut both, &seen(1.0, 4.0)), 0.25);
        assert_eq!(scale(&both), 512.0);
        assert_eq!(state(&both).cuts, 2);
    }

    /// An earlier controller has already halved the rate.
    #[test]
    fn it_cuts_what_others_have_left() {
        #[derive(Clone, Debug)]
        struct Half;
        impl Controller for Half {
            type State = ();
            fn hear(&mut self, _: &Event<'_>) -> Result<Answer, Stop> {
                Ok(Answer::factor(0.5))
            }
            fn state(&self) {}
            fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
                Ok(())
            }
        }
        let mut controllers = Controllers::default();
        controllers.add("half", Half);
        controllers.add("loss scale", LossScaling::fixed(1.0).build().unwrap());
        controllers.add("overflow cap", OverflowCap::given(1.0).limit(2.0).build().unwrap());
        // Half of 4 is 2, and there is room for 1.
        assert_eq!(factor(&mut controllers, &seen(1.0, 4.0)), 0.25);
        assert_eq!(factor(&mut controllers, &seen(1.0, 2.0)), 0.5);
    }

    #[test]
    fn a_scale_does_not_grow_at_the_cost_of_the_rate() {
        let rule = LossScaling::new().scale(1.0).growth_interval(1);
        let mut both = both(rule, OverflowCap::given(1.0).limit(8.0));
        let scales: Vec<f64> = (0..3)
            .map(|_| {
                assert_eq!(factor(&mut both, &seen(1.0, 1.0)), 1.0);
                scale(&both)
            })
            .collect();
        assert_eq!(scales, [2.0, 4.0, 4.0]);
    }

    #[test]
    fn a_scale_that_may_not_fall_is_an_error_in_the_end() {
        let mut both = both(LossScaling::fixed(100.0), OverflowCap::given(1.0).limit(100.0));
        for _ in 1..MAX_FAILURES {
            assert!(both.update(due(0), &seen(1.0, 1.0)).unwrap().answer.skip.is_some());
        }
        let stopped = both.update(due(0), &seen(1.0, 1.0)).unwrap_err();
        assert_eq!(stopped.controller, "overflow cap");
        let expected = NoRoom { scale: 100.0, largest: 1.0, updates: MAX_FAILURES };
        assert_eq!(stopped.stop.downcast_ref(), Some(&expected));
    }

    #[test]
    fn the_scale_falls_before_it_is_an_error() {
        let rule = LossScaling::new().scale(1_024.0).minimum(512.0);
        let mut both = both(rule, OverflowCap::given(1.0).limit(200.0));
        assert!(both.update(due(0), &seen(1.0, 1.0)).unwrap().answer.skip.is_some());
        assert_eq!(scale(&both), 512.0);
    }

    /// For a movement of 12 the rate is cut to 1/4, and 5 are left.
    #[test]
    fn the_scale_falls_for_what_does_not_follow_the_rate() {
        for (scaling, expected) in
            [(LossScaling::new().scale(8.0), 4.0), (LossScaling::fixed(8.0), 8.0)]
        {
            for (left, expected) in [(3.0, 8.0), (5.0, expected)] {
                let mut both = both(scaling, OverflowCap::given(1.0).limit(32.0));
                let decision = both.update(due(0), &seen(1.0, 12.0)).unwrap();
                assert_eq!(decision.answer.limit, Some(0.25));
                both.outcome(due(0), &seen(1.0, left), &decision, None).unwrap();
                assert_eq!(scale(&both), expected);
            }
        }
    }

    #[test]
    fn a_batch_is_looked_at_again_with_room_for_64_times_its_gradient() {
        let again = BatchAgain { limit: 65_536.0 };
        let scale = |largest| again.loss_scale(1_000.0, largest);
        assert_eq!([0.0, 1.0, 1.024, 1.025, 4.0].map(scale), [1e3, 1e3, 1e3, 500.0, 250.0]);
        assert_eq!(scale(f64::MAX), 1_000.0 * f64::exp2(-64.0));
    }

    #[test]
    fn a_smoothness_is_measured_every_k_updates_and_caps_nothing_before() {
        let mut both = both(LossScaling::fixed(1.0), OverflowCap::measured_every(3).limit(10.0));
        let mut measured = vec![];
        for update in 0..7 {
            let measures = both.needs().batch_again.is_some();
            measured.push(measures);
            let seen = seen(1.0, 36.0);
            let decision = both.update(due(update), &seen).unwrap();
            assert_eq!(decision.answer.limit, if update == 0 { None } else { Some(0.5) });
            // Invalid measurements are ignored: non-finite numbers, and changes that may be rounding.
            let gradient = [5.0, f64::NAN, f64::INFINITY, 0.01][update.min(3) as usize];
            let change = measures.then_some(BatchChange { gradient, weights: 10.0 });
            both.outcome(due(update), &made(&seen, &decision), &decision, change).unwrap();
        }
        assert_eq!(measured, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_smoothness_that_rounding_hides_is_looked_for_again() {
        let mut both = both(LossScaling::fixed(1.0), OverflowCap::measured_every(100));
        let mut measured = vec![];
        for update in 0..250 {
            let measures = both.needs().batch_again.is_some();
            if measures {
                measured.push(update);
            }
            let gradient = if update < 107 { 1.0 / 65.0 } else { 1.0 / 63.0 };
            let change = BatchChange { gradient, weights: 1.0 / 63.0 };
            let seen = seen(1.0, 1.0);
            let decision = both.update(due(update), &seen).unwrap();
            both.outcome(due(update), &seen, &decision, measures.then_some(change)).unwrap();
        }
        assert_eq!(measured, [0, 1, 2, 4, 8, 16, 32, 64, 100, 101, 102, 104, 108, 200]);
        assert_eq!(state(&both).smoothness, Some(1.0));
    }

    /// The largest entry is beyond the limit at this scale, but there is no L yet.
    #[test]
    fn the_scale_stays_where_no_smoothness_is_known() {
        let mut both =
            both(LossScaling::new().scale(1_024.0), OverflowCap::measured_every(9).limit(10.0));
        assert_eq!(factor(&mut both, &seen(1.0, 1.0)), 1.0);
        assert_eq!(scale(&both), 1_024.0);
    }

    #[test]
    fn some_of_the_rate_is_left_whatever_the_smoothness_is() {
        let mut both = both(LossScaling::new(), OverflowCap::given(1e308));
        let answer = both.update(due(0), &seen(1e-3, 1e308)).unwrap().answer;
        assert!(answer.limit.is_some_and(|limit| limit > 0.0) && answer.skip.is_none());
    }

    #[test]
    fn refuses_each_field() {
        let field = |cap: OverflowCap| cap.build().unwrap_err().field;
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(OverflowCap::given(value)), "smoothness");
            assert_eq!(field(OverflowCap::given(1.0).limit(value)), "limit");
        }
        assert_eq!(field(OverflowCap::measured_every(0)), "measured_every");
    }
}

//! The controller trait, its events and its answers.

use crate::{
    Decision, EpochMetrics, GradientNoise, MetricOf, Observation, OutOfRange, PrivacyAccountant,
    Signal,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A state machine that reacts to the updates of a training.
///
/// Before each update it [states](Self::needs) what must be measured; then it [hears](Self::hear) an
/// [`Event::Update`], whose answer decides what happens to the update, and afterwards an [`Event::Outcome`].
/// Controllers are called in the order in which they were added, and each sees the earlier answers. Its
/// [`State`](Self::State) is saved with every checkpoint, under the controller's name.
///
/// A controller fits in one file: [`Cooldown`](crate::Cooldown) is the shortest.
///
/// ```
/// use anneal_control::{Answer, OutOfRange, Controller, Event, Needs, Stop};
///
/// /// Ends training where the loss is low enough.
/// #[derive(Clone, Debug)]
/// struct LowEnough(f64);
///
/// impl Controller for LowEnough {
///     type State = ();
///
///     fn needs(&self) -> Needs {
///         Needs { loss: true, ..Needs::default() }
///     }
///
///     fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
///         match event {
///             Event::Update(seen) if seen.observation.loss.is_some_and(|loss| loss < self.0) => {
///                 Err(Stop::new(format!("the loss is below {}", self.0)))
///             }
///             _ => Ok(Answer::default()),
///         }
///     }
///
///     fn state(&self) {}
///
///     fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
///         Ok(())
///     }
/// }
/// ```
pub trait Controller: Clone + fmt::Debug + Send + Sync + 'static {
    /// The state that a checkpoint saves, as JSON: all numbers must be finite, because JSON has no others.
    type State: Serialize + DeserializeOwned;

    /// The single signal that it listens to, if any; the signal then implies its needs.
    fn signal(&self) -> Option<&Signal> {
        None
    }

    /// What must be measured in the next update. Anything that no controller needs costs nothing.
    fn needs(&self) -> Needs {
        self.signal().map_or(Needs::default(), Signal::needs)
    }

    /// The scale of the next loss, if it sets one.
    fn loss_scale(&self) -> Option<LossScale> {
        None
    }

    /// Its estimate of the gradient noise, if it measures that.
    fn gradient_noise(&self) -> Option<GradientNoise> {
        None
    }

    /// The privacy spent by private training, if it tracks that.
    fn privacy(&self) -> Option<&PrivacyAccountant> {
        None
    }

    /// The epoch metrics that it needs, for example `MetricOf::valid("Loss")`; each must exist.
    fn metrics(&self) -> Vec<MetricOf> {
        self.signal().map_or(vec![], Signal::metrics)
    }

    /// The names of the announcements that it handles. An announcement that no controller handles is refused.
    fn announcements(&self) -> Vec<String> {
        self.signal().map_or(vec![], Signal::announcements)
    }

    /// Its effect on the rate, if a second controller with the same effect on the same group would conflict.
    fn role(&self) -> Option<&'static str> {
        None
    }

    /// Whether it acts on the whole update or needs the whole model, so that it cannot be limited to one
    /// group.
    fn is_of_update(&self) -> bool {
        false
    }

    /// Settings that are allowed but probably not intended.
    fn warnings(&self) -> Vec<String> {
        vec![]
    }

    /// Handles an event and answers.
    ///
    /// # Errors
    /// [`Stop`] ends the run and states the reason.
    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop>;

    /// The state that a checkpoint saves.
    fn state(&self) -> Self::State;

    /// Continues from a checkpoint, under the current description.
    ///
    /// # Errors
    /// [`OutOfRange`] for a value that is not a valid state.
    fn restore(&mut self, state: Self::State) -> Result<(), OutOfRange>;
}

/// What a controller needs measured in an update. Everything is measured together and read back at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub struct Needs {
    /// The loss. If it is known, all controllers get it.
    pub loss: bool,
    /// ‖g‖₂, and with it whether all gradients are finite. Costs a sum over the gradients.
    pub gradient_norm: bool,
    /// ‖g‖₁. Costs a sum over the gradients.
    pub gradient_l1: bool,
    /// g·g′ with the gradient g′ of the previous update. Costs a copy of the gradients, which checkpoints
    /// include, and a sum over them.
    pub gradient_dot: bool,
    /// The norm of each batch's gradient; with [`gradient_norm`](Self::gradient_norm) also the norm of their
    /// mean. Costs a sum over the gradients of each batch.
    pub batch_gradient_norm: bool,
    /// The largest entry of a batch's gradient. Costs a maximum over the gradients of each batch.
    pub largest_gradient: bool,
    /// The mean cosine between pairs of task gradients. Costs two norms and a product over the gradients per
    /// pair.
    pub task_cosine: bool,
    /// How far this update moves the weights: it is tried once to measure that, and undone if the final
    /// update differs. Costs a temporary second copy of the weights and of the optimizer state.
    pub movement: bool,
    /// How far the previous update moved the weights. Costs a sum over the weights.
    pub last_movement: bool,
    /// How the update changes the gradient of one of its batches. Costs another forward and backward pass.
    pub batch_again: Option<BatchAgain>,
    /// Whether the answer concerns this very update, so that the previous observation is of no use.
    pub now: bool,
    /// Whether it is valid only for gradients of differentially private training: the sum of clipped per-item
    /// gradients with noise. Nothing is measured; other training refuses the controller.
    pub private_gradient: bool,
}

impl Needs {
    /// The union of two needs.
    pub fn and(self, other: Self) -> Self {
        let again = |a: BatchAgain, b: BatchAgain| BatchAgain { limit: a.limit.min(b.limit) };
        Self {
            loss: self.loss || other.loss,
            gradient_norm: self.gradient_norm || other.gradient_norm,
            gradient_l1: self.gradient_l1 || other.gradient_l1,
            gradient_dot: self.gradient_dot || other.gradient_dot,
            batch_gradient_norm: self.batch_gradient_norm || other.batch_gradient_norm,
            largest_gradient: self.largest_gradient || other.largest_gradient,
            task_cosine: self.task_cosine || other.task_cosine,
            movement: self.movement || other.movement,
            last_movement: self.last_movement || other.last_movement,
            batch_again: match (self.batch_again, other.batch_again) {
                (Some(a), Some(b)) => Some(again(a, b)),
                (a, b) => a.or(b),
            },
            now: self.now || other.now,
            private_gradient: self.private_gradient || other.private_gradient,
        }
    }

    /// Whether anything must be measured.
    pub fn measures(&self) -> bool {
        Self { now: false, private_gradient: false, ..*self } != Self::default()
    }

    /// Whether the update must be tried before the answers.
    pub fn tries(&self) -> bool {
        self.movement || self.batch_again.is_some()
    }
}

/// A batch whose gradient is measured again after the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchAgain {
    /// The largest representable value of an entry of its scaled gradient.
    pub limit: f64,
}

impl BatchAgain {
    /// The loss scale of the second measurement: that of the update, or lower by a power of 2 if a gradient
    /// that grew 64-fold would overflow. The measurement matters most when the rate is far too high.
    pub fn loss_scale(&self, scale: f64, largest_gradient: f64) -> f64 {
        let headroom = self.limit / 64.0 / (scale * largest_gradient);
        scale * headroom.log2().floor().clamp(-64.0, 0.0).exp2()
    }
}

/// How an update changed one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchChange {
    /// ‖Δg‖_∞ between its gradients before and after the update, unscaled.
    pub gradient: f64,
    /// ‖Δw‖₂ of the weights used in the forward pass: the model's own, not their f32 copies.
    pub weights: f64,
}

/// An event that a controller handles.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The gradients of an update are known. The answer decides what happens to it.
    Update(Seen<'a>),
    /// The update was made or skipped. Only the loss scale of the answer counts.
    Outcome(Seen<'a>, Option<BatchChange>),
    /// An epoch, including validation, is over. The answer is ignored: a controller applies its reaction in
    /// the updates that follow.
    Epoch(EpochSeen<'a>),
    /// The loop announced something under one of the [names](Controller::announcements) that a controller
    /// handles. The answer is ignored.
    Announced(Announcement<'a>),
}

/// An announcement by the loop: an event, for example the start of a phase, or a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announcement<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number, if any; it may be infinite or NaN.
    pub value: Option<f64>,
}

/// A finished epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochSeen<'a> {
    /// Its number, counted from 1.
    pub epoch: u64,
    /// The metrics named in [`Controller::metrics`] by all controllers.
    pub metrics: &'a EpochMetrics,
}

/// The next update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Due<'a> {
    /// Its number, counted from 0, including skipped ones.
    pub number: u64,
    /// Its step in the schedule.
    pub step: u64,
    /// The rate of the schedule.
    pub rate: f64,
    /// The rate of each group by index; empty without groups.
    pub group_rates: &'a [f64],
}

impl Due<'_> {
    /// Update `number` at this rate of the schedule, without groups.
    pub fn at(number: u64, rate: f64) -> Self {
        Self { number, step: number, rate, group_rates: &[] }
    }
}

/// An update and its measurements.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its number, counted from 0, including skipped ones.
    pub number: u64,
    /// Its step in the schedule.
    pub step: u64,
    /// The rate of the schedule for it: of the controller's group, or the schedule's own.
    pub rate: f64,
    /// The measurements. In an [`Event::Outcome`] the movement is that of the update as made.
    pub observation: &'a Observation,
    /// The factor of its losses; 1 without loss scaling.
    pub loss_scale: f64,
    /// The combined answers of the earlier controllers; in an [`Event::Outcome`], of all. Among answers for
    /// single groups it includes those for the controller's group.
    pub answered: &'a Answer,
    pub(crate) decision: &'a Decision,
    pub(crate) due: Due<'a>,
}

impl Seen<'_> {
    /// The largest ratio of a group's decided rate so far to its scheduled rate.
    pub fn largest_factor(&self) -> f64 {
        self.decision.largest_factor(self.due)
    }
}

/// The answer of a controller; every part is optional.
///
/// If the schedule gives the rate η to a group in an update, its final rate is
///
/// ```text
/// min(cap, limit · max(factor · η, min(floor, η)))
/// ```
///
/// Factor, floor, limit and cap apply to the group that a controller [acts on](crate::Describe::on_group), or
/// to all; the other parts always apply to the whole update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// The factor of the rate; finite, at least 0. Factors multiply.
    pub factor: Option<f64>,
    /// The floor below which factors cannot lower the rate; finite, at least 0. The highest floor counts. A
    /// rate that the schedule sets below it stays.
    pub floor: Option<f64>,
    /// A safety factor on the rate that ignores the floor; in [0, 1]. Limits multiply.
    pub limit: Option<f64>,
    /// The maximum of the rate; at least 0. The lowest cap counts.
    pub cap: Option<f64>,
    /// The factor of the gradients after clipping; finite. Factors multiply.
    pub gradient_factor: Option<f64>,
    /// The reason to skip the update.
    pub skip: Option<&'static str>,
    /// The scale of the next loss. The last answer counts.
    pub loss_scale: Option<LossScale>,
}

/// The scale of the next loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// The scale itself.
    pub next: f64,
    /// The minimum below which it may not fall.
    pub least: f64,
}

impl Answer {
    /// Multiplies the rates.
    pub fn factor(factor: f64) -> Self {
        Self { factor: Some(factor), ..Self::default() }
    }

    /// Skips the update.
    pub fn skip(reason: &'static str) -> Self {
        Self { skip: Some(reason), ..Self::default() }
    }

    /// The final rate of an update with the scheduled rate `rate`.
    pub fn rate(&self, rate: f64) -> f64 {
        let steered = rate * self.factor.unwrap_or(1.0);
        let floored = self.floor.map_or(steered, |floor| steered.max(floor.min(rate)));
        (floored * self.limit.unwrap_or(1.0)).min(self.cap.unwrap_or(f64::INFINITY))
    }

    /// Its total factor on the rate, ignoring floor and cap.
    pub fn total_factor(&self) -> f64 {
        self.factor.unwrap_or(1.0) * self.limit.unwrap_or(1.0)
    }

    /// The parts that concern rates.
    pub(crate) fn of_rates(self) -> Self {
        Self { gradient_factor: None, skip: None, loss_scale: None, ..self }
    }

    /// The parts that concern the whole update.
    pub(crate) fn of_update(self) -> Self {
        Self { factor: None, floor: None, limit: None, cap: None, ..self }
    }

    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Combines two answers.
    pub(crate) fn then(self, next: Self) -> Self {
        let both = |a: Option<f64>, b: Option<f64>, of: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(of(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            factor: both(self.factor, next.factor, |a, b| a * b),
            floor: both(self.floor, next.floor, f64::max),
            limit: both(self.limit, next.limit, |a, b| a * b),
            cap: both(self.cap, next.cap, f64::min),
            gradient_factor: both(self.gradient_factor, next.gradient_factor, |a, b| a * b),
            skip: self.skip.or(next.skip),
            loss_scale: next.loss_scale.or(self.loss_scale),
        }
    }

    /// Checks that every part is in its range.
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        let at_least_0 = |value: f64| value.is_finite() && value >= 0.0;
        if let Some(factor) = self.factor {
            OutOfRange::require("factor", factor, at_least_0(factor), "finite, at least 0")?;
        }
        if let Some(floor) = self.floor {
            OutOfRange::require("floor", floor, at_least_0(floor), "finite, at least 0")?;
        }
        if let Some(limit) = self.limit {
            OutOfRange::require("limit", limit, (0.0..=1.0).contains(&limit), "0 to 1")?;
        }
        if let Some(cap) = self.cap {
            OutOfRange::require("cap", cap, cap >= 0.0, "at least 0")?;
        }
        if let Some(factor) = self.gradient_factor {
            OutOfRange::require("gradient_factor", factor, factor.is_finite(), "finite")?;
        }
        if let Some(scale @ LossScale { next, least }) = self.loss_scale {
            let ok = next > 0.0 && next.is_finite() && (0.0..=next).contains(&least);
            OutOfRange::require("loss_scale", scale, ok, "finite, above 0, at least its minimum")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.factor.map(|factor| format!("rate × {factor:.4}")),
            self.floor.map(|floor| format!("rate at least {floor:.3e}")),
            self.limit.map(|limit| format!("rate × {limit:.4} for safety")),
            self.cap.map(|cap| format!("rate at most {cap:.3e}")),
            self.gradient_factor.map(|factor| format!("gradients × {factor:.4}")),
            self.skip.map(|reason| format!("skipped: {reason}")),
            self.loss_scale.map(|scale| format!("next loss scale {}", scale.next)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// Why training cannot continue.
#[derive(Clone, Debug)]
pub struct Stop(Arc<dyn Error + Send + Sync>);

impl Stop {
    /// A stop with an error or a text as the reason.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(reason.into()))
    }

    /// The error, if it has this type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Stop {}

//! What answers to training: one trait, its events and its answers.

use crate::{
    Decision, EpochMetrics, GradientNoise, MetricOf, Observation, OutOfRange, PrivacyAccountant,
    Signal,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A state machine that hears what updates show, and answers.
///
/// Before each update it [says](Self::needs) what must be measured; then it [hears](Self::hear) an
/// [`Event::Update`], of which the answer decides what becomes of the update, and an [`Event::Outcome`] when that
/// is done. Controllers hear in the order in which they were given, and each sees what those before it answered.
/// Its [`State`](Self::State) is saved with every checkpoint, under the name that it was given.
///
/// A controller is one file: [`Cooldown`](crate::Cooldown) is the shortest.
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
    /// What a checkpoint saves of it, as JSON: numbers in it are finite, for JSON knows no others.
    type State: Serialize + DeserializeOwned;

    /// The one signal that it listens to, where it is one: what it needs by that is then said.
    fn signal(&self) -> Option<&Signal> {
        None
    }

    /// What must be measured of the next update. What nobody needs costs nothing.
    fn needs(&self) -> Needs {
        self.signal().map_or(Needs::default(), Signal::needs)
    }

    /// The scale of the next loss, where it decides one.
    fn loss_scale(&self) -> Option<LossScale> {
        None
    }

    /// What it has found of the noise of gradients, where it measures that.
    fn gradient_noise(&self) -> Option<GradientNoise> {
        None
    }

    /// What it has counted of what private training spends, where it does.
    fn privacy(&self) -> Option<&PrivacyAccountant> {
        None
    }

    /// The metrics of an epoch that it needs, such as `MetricOf::valid("Loss")`; each must exist.
    fn metrics(&self) -> Vec<MetricOf> {
        self.signal().map_or(vec![], Signal::metrics)
    }

    /// The names of the announcements that it hears. One that nobody hears is refused.
    fn announcements(&self) -> Vec<String> {
        self.signal().map_or(vec![], Signal::announcements)
    }

    /// What it does to the rate, where a second one that does the same to the same group would contradict it.
    fn role(&self) -> Option<&'static str> {
        None
    }

    /// Whether it acts on the whole update, or hears of the whole model, so that it can be of no single group.
    fn is_of_update(&self) -> bool {
        false
    }

    /// What is allowed and will hardly be meant.
    fn warnings(&self) -> Vec<String> {
        vec![]
    }

    /// Hears of an event, and answers.
    ///
    /// # Errors
    /// [`Stop`] ends the run, and says why.
    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop>;

    /// What a checkpoint saves.
    fn state(&self) -> Self::State;

    /// Goes on from a checkpoint, within the rule of now.
    ///
    /// # Errors
    /// [`OutOfRange`] for a value that no state has.
    fn restore(&mut self, state: Self::State) -> Result<(), OutOfRange>;
}

/// What a controller needs measured of an update. Everything is measured together, and read at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub struct Needs {
    /// The loss. Where it is known others hear of it too.
    pub loss: bool,
    /// ‖g‖₂, and with it whether all gradients are finite. A sum over the gradients.
    pub gradient_norm: bool,
    /// ‖g‖₁. A sum over the gradients.
    pub gradient_l1: bool,
    /// g·g′ with the gradient g′ of the update before. A copy of the gradients, which checkpoints hold, and a sum
    /// over them.
    pub gradient_dot: bool,
    /// The norm of each batch's gradient; with [`gradient_norm`](Self::gradient_norm) also that of their mean. A sum over
    /// the gradients of each batch.
    pub batch_gradient_norm: bool,
    /// The largest entry of a batch's gradient. A maximum over the gradients of each batch.
    pub largest_gradient: bool,
    /// The mean cosine between pairs of task gradients. Two norms and a product over the gradients for each pair.
    pub task_cosine: bool,
    /// How far this update moves the weights: it is made once to see that, and taken back where it is made
    /// otherwise. A second copy of the weights and of the optimizer's state while it runs.
    pub movement: bool,
    /// How far the last update moved them. A sum over the weights.
    pub last_movement: bool,
    /// What the update does to the gradient of one of its batches: a further forward and backward pass.
    pub batch_again: Option<BatchAgain>,
    /// Whether the answer decides about this very update, so that what was seen of the one before is of no use.
    pub now: bool,
    /// Whether it holds only where the gradient is that of differentially private training: the sum of clipped
    /// gradients of single items, with noise. Nothing is measured; other training refuses the controller.
    pub private_gradient: bool,
}

impl Needs {
    /// What one or the other needs.
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

    /// Whether the update itself must be tried before the answers.
    pub fn tries(&self) -> bool {
        self.movement || self.batch_again.is_some()
    }
}

/// A batch that is looked at again after the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchAgain {
    /// The largest number that an entry of its scaled gradient can be.
    pub limit: f64,
}

impl BatchAgain {
    /// The scale at which it is looked at: that of the update, or less by a power of 2 where a gradient that
    /// became 64 times as large would overflow. It is a rate that is far too high of which the most must be
    /// known.
    pub fn loss_scale(&self, scale: f64, largest_gradient: f64) -> f64 {
        let headroom = self.limit / 64.0 / (scale * largest_gradient);
        scale * headroom.log2().floor().clamp(-64.0, 0.0).exp2()
    }
}

/// What an update did to one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchChange {
    /// ‖Δg‖_∞ between its gradients before and after the update, unscaled.
    pub gradient: f64,
    /// ‖Δw‖₂ of the weights that it was computed with: those of the model, not of their copies in f32.
    pub weights: f64,
}

/// What a controller hears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The gradients of an update are known. The answer decides what becomes of it.
    Update(Seen<'a>),
    /// It is made, or skipped. Of the answer only the loss scale counts.
    Outcome(Seen<'a>, Option<BatchChange>),
    /// An epoch is over, validation too. The answer is not looked at: what a controller makes of an epoch it answers
    /// to the updates after it.
    Epoch(EpochSeen<'a>),
    /// The loop says something, of the [names](Controller::announcements) that somebody hears. The answer is not looked
    /// at.
    Announced(Announcement<'a>),
}

/// What a loop says: that something happened, such as a phase that begins, or a number of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announcement<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number, where it is one; it may be infinite or NaN.
    pub value: Option<f64>,
}

/// An epoch as it is seen.
#[derive(Clone, Copy, Debug)]
pub struct EpochSeen<'a> {
    /// Its number, from 1.
    pub epoch: u64,
    /// The metrics that [`Controller::metrics`] named, of all controllers.
    pub metrics: &'a EpochMetrics,
}

/// An update that is due.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Due<'a> {
    /// Its number, from 0; skipped ones count.
    pub number: u64,
    /// Its step of the schedule.
    pub step: u64,
    /// The rate of the schedule.
    pub rate: f64,
    /// That of each group by its index; empty where there are none.
    pub group_rates: &'a [f64],
}

impl Due<'_> {
    /// Update `number`, at this rate of the schedule, without groups.
    pub fn at(number: u64, rate: f64) -> Self {
        Self { number, step: number, rate, group_rates: &[] }
    }
}

/// An update as it is seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its number, from 0; skipped ones count.
    pub number: u64,
    /// Its step of the schedule.
    pub step: u64,
    /// The rate that the schedule has for it: of the group that the controller acts on, or the schedule's own.
    pub rate: f64,
    /// What was measured. In an [`Event::Outcome`] the movement is that of the update as it was made.
    pub observation: &'a Observation,
    /// What its losses were multiplied by; 1 without loss scaling.
    pub loss_scale: f64,
    /// What the controllers before this one answered, together; in an [`Event::Outcome`] what all did. Of answers for
    /// single groups it has those for the group that the controller acts on.
    pub answered: &'a Answer,
    pub(crate) decision: &'a Decision,
    pub(crate) due: Due<'a>,
}

impl Seen<'_> {
    /// The largest quotient of any group's rate, as far as it is decided, and that of its schedule.
    pub fn largest_factor(&self) -> f64 {
        self.decision.largest_factor(self.due)
    }
}

/// What a controller answers; every part may be left out.
///
/// The rate of a group in an update, of which its schedule says η, is
///
/// ```text
/// min(cap, limit · max(factor · η, min(floor, η)))
/// ```
///
/// Factor, floor, limit and cap are those of the group that a controller [acts on](crate::Describe::on_group), or of all; the
/// rest is always of the whole update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// What the rate is multiplied by; finite, at least 0. Factors multiply.
    pub factor: Option<f64>,
    /// What factors may not take the rate below; finite, at least 0. The highest counts. A rate that the schedule
    /// has below it stays there.
    pub floor: Option<f64>,
    /// What is left of the rate for safety's sake, whatever the floor is; at least 0, at most 1. Limits multiply.
    pub limit: Option<f64>,
    /// What the rate may not exceed; at least 0. The lowest counts.
    pub cap: Option<f64>,
    /// What the gradients are multiplied by, after clipping; finite. Factors multiply.
    pub gradient_factor: Option<f64>,
    /// Why the update is skipped.
    pub skip: Option<&'static str>,
    /// The scale of the next loss. The last answer counts.
    pub loss_scale: Option<LossScale>,
}

/// The scale of the next loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// What it is multiplied by.
    pub next: f64,
    /// What the scale may not fall below.
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

    /// The rate of an update of which the schedule says `rate`.
    pub fn rate(&self, rate: f64) -> f64 {
        let steered = rate * self.factor.unwrap_or(1.0);
        let floored = self.floor.map_or(steered, |floor| steered.max(floor.min(rate)));
        (floored * self.limit.unwrap_or(1.0)).min(self.cap.unwrap_or(f64::INFINITY))
    }

    /// What it multiplies rates by, where neither its floor nor its cap comes into it.
    pub fn total_factor(&self) -> f64 {
        self.factor.unwrap_or(1.0) * self.limit.unwrap_or(1.0)
    }

    /// Its parts that are of rates.
    pub(crate) fn of_rates(self) -> Self {
        Self { gradient_factor: None, skip: None, loss_scale: None, ..self }
    }

    /// Its parts that are of the whole update.
    pub(crate) fn of_update(self) -> Self {
        Self { factor: None, floor: None, limit: None, cap: None, ..self }
    }

    /// Whether it leaves everything as it is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What both say together.
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

    /// A part outside its range.
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
            OutOfRange::require("loss_scale", scale, ok, "finite, above 0, at least its least")?;
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

/// Why training cannot go on.
#[derive(Clone, Debug)]
pub struct Stop(Arc<dyn Error + Send + Sync>);

impl Stop {
    /// With an error, or a text.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(reason.into()))
    }

    /// The error, where it is of this type.
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

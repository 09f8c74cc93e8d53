//! Closed-loop control of training: controllers that react to updates and metrics.
//!
//! A schedule knows only the step; a [`Controller`] gets an [`Observation`] of each update and the
//! [metrics](EpochMetrics) of each epoch, and answers with a factor or a cap on the rate, a factor on the
//! gradients, a skip, or the scale of the next loss. Controllers are state machines on plain numbers: no
//! tensors, no clock, no Burn. Checkpoints save their state.
//!
//! ```
//! use anneal_control::{Controllers, Describe, Due, EpochMetrics, MetricOf, Observation, Plateau, RunLength};
//!
//! let run = RunLength::updates(1_000).resolve()?;
//! let plateau = Plateau::min(MetricOf::valid("Loss")).factor(0.5).patience(0);
//! let mut controllers = Controllers::default();
//! controllers.add("plateau", plateau.build(&run)?);
//! let mut rates = vec![];
//! for (epoch, loss) in [(0, 0.7), (1, 0.8), (2, 0.6)] {
//!     let answer = controllers.update(Due::at(epoch, 0.1), &Observation::default())?.answer;
//!     rates.push(answer.rate(0.1));
//!     controllers.epoch(epoch + 1, &EpochMetrics::from_iter([(MetricOf::valid("Loss"), loss)]))?;
//! }
//! // The loss got worse in the second epoch.
//! assert_eq!(rates, [0.1, 0.1, 0.05]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`LossScaler`]: the scale of the loss in half-precision training, torch's `GradScaler`.
//! - [`OverflowLimiter`]: a cap on the rate, so that the next scaled gradient does not overflow.
//! - [`FiniteGuard`]: skips non-finite updates, or stops the run.
//! - [`Plateau`] and [`Greedy`]: a rate that falls when a metric stops improving, or rises while it improves.
//! - [`Pid`]: a PID controller on any signal, with the roots of its closed loop; [`Hypergradient`]: a rate
//!   adapted by the product of consecutive gradients.
//! - [`SpikeGuard`]: clips gradients far above their moving mean, cuts the rate, or skips the update.
//! - [`Curriculum`]: a factor for each phase, and a spike before the last; [`Rehearsal`]: a decay between rehearsals;
//!   [`PruningRestart`]: a higher rate after pruning, which decays back.
//! - [`Follow`]: a rate that follows a batch size, noise level, momentum, temperature or difficulty as it is announced.
//! - [`LocalSteps`]: the rate of a client between synchronizations; [`ServerRate`]: that of the server.
//! - [`PrivateRate`]: the best rate of differentially private training, estimated from its noisy gradient;
//!   [`PrivacyBudget`]: stops before the budget is exceeded.
//! - [`TaskConflict`]: a rate that falls while the gradients of several tasks point against each other.
//! - [`NoiseScale`]: measures the gradient noise, and thus how large a batch still pays off; it never changes
//!   an update.
//! - [`Cooldown`]: half the rate for a while after a non-finite loss; a template for custom controllers.
//!
//! Plans, not controllers: [`Seesaw`] replaces part of the rate's decay by larger batches, and
//! [`Exploration`] starts several trainings at a high rate and continues the best. [`PrivacyAccountant`]
//! computes the privacy spent by a training, and the noise that a budget needs.
//!
//! These names are descriptions: [`Describe::build`] checks one when the length of the run is known. It may
//! be limited to [one group](Describe::on_group), or to [a part](Describe::after) of the run; a file stores
//! it as a [`Rule`].
//!
//! [`Controllers`] combines several; [`peers`] translates those of other libraries. The crate has no
//! features.

mod best;
mod controller;
mod controllers;
mod cooldown;
mod curriculum;
mod decision;
mod describe;
#[cfg(test)]
mod driver;
mod exploration;
mod finite_guard;
mod follow;
mod followed;
mod greedy;
#[cfg(test)]
mod guarantees;
mod hypergradient;
mod local_steps;
mod log;
mod loss_scaler;
mod metrics;
mod noise_scale;
mod observation;
mod overflow_cap;
pub mod peers;
mod pid;
mod plant;
mod plateau;
mod privacy;
mod pruning_restart;
mod rehearsal;
mod rule;
mod seesaw;
mod server_rate;
mod signal;
mod since;
mod spike_guard;
mod task_conflict;
mod within;

pub use anneal_schedule::{OutOfRange, Run, RunLength, Span};
pub use best::{Mode, Threshold};
pub use controller::{
    Announcement, Answer, BatchAgain, BatchChange, Controller, Due, EpochSeen, Event, LossScale,
    Needs, Seen, Stop,
};
pub use controllers::{
    AnnounceError, Controllers, MissingMetric, RestoreError, SavedControllers, SetupError, Stopped,
    UnheardAnnouncement,
};
pub use cooldown::Cooldown;
pub use curriculum::Curriculum;
pub use decision::Decision;
pub use describe::{AnyController, Describe, Scoped};
pub use exploration::{Dropped, Exploration, Explorer, ExplorerState, NotItsTurn, Turn};
pub use finite_guard::{FiniteGuard, FiniteGuardState};
pub use follow::Follow;
pub use greedy::Greedy;
pub use hypergradient::Hypergradient;
pub use local_steps::LocalSteps;
pub use log::{LogError, LogStart, LoggedAnswer, LoggedUpdate, UpdateLog};
pub use loss_scaler::{LossScaler, LossScalerState, LossScaling, ScaledUpdate, ScalingError};
pub use metrics::{EpochMetrics, MetricOf, Split};
pub use noise_scale::{BatchAdvice, BatchCost, GradientNoise, NoiseScale, NoiseScaleEstimate};
pub use num_complex::Complex64;
pub use observation::Observation;
pub use overflow_cap::{NoRoom, OverflowCap, OverflowLimiter, OverflowLimiterState};
pub use pid::Pid;
pub use plant::Plant;
pub use plateau::Plateau;
pub use privacy::{PrivacyAccountant, PrivacyBudget, PrivateRate, PrivateStep};
pub use pruning_restart::PruningRestart;
pub use rehearsal::Rehearsal;
pub use rule::Rule;
pub use seesaw::{Seesaw, SeesawError, SeesawPlan, SeesawStage};
pub use server_rate::{ServerRate, ServerRateError, ServerSteps};
pub use signal::Signal;
pub use spike_guard::SpikeGuard;
pub use task_conflict::TaskConflict;
pub use within::AtEnd;

/// The code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

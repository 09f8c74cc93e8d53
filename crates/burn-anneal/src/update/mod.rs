//! The update engine, shared by Burn's learner and custom loops.
//!
//! ```text
//! passes ─► gradients of batches and devices        pass.rs, batches.rs
//!              │ mean or sum, unscaled, one norm      reduce.rs
//!              │ one read, or none                    signals.rs
//!              │ controllers answer                   anneal-control
//!              │ optimizer, group by group            context.rs, steered.rs, index.rs
//!              ▼
//!           weights, and the report                   state.rs, reports.rs
//! ```

mod apply;
mod average;
mod averaging;
mod batches;
mod clock;
mod context;
mod error;
mod index;
mod ledger;
mod log;
mod measure;
mod metric;
mod monitor;
mod one_update;
mod pass;
mod probe;
mod progress;
mod reduce;
mod reports;
mod schedule;
mod signals;
mod single_parameter;
mod state;
mod steered;
mod tensors;
mod updater;
mod watch;

pub use anneal_config::OnSkip;
pub use error::UpdateError;
pub use log::LogUpdates;
pub use metric::{RunMetrics, UpdateMetric};
pub use monitor::{Monitor, Monitored, Updated};
pub use pass::ScaledBackward;
pub use reduce::{ClipError, Clipped, GlobalNormClip};
pub use watch::Watch;

#[cfg(feature = "flex")]
pub(crate) use apply::Outcome;
pub(crate) use apply::{InOperations, Manner, Updates, Weight, step};
pub(crate) use averaging::{Averaging, Points, Taken};
pub(crate) use batches::{CopyItem, copy_of};
pub(crate) use clock::Clock;
pub(crate) use context::{
    Asked, Evaluated, Shrink, current_drop, current_momentum, current_shrink, evaluate_at,
    has_masters, is_averaging,
};
pub(crate) use index::Index;
pub(crate) use log::Log;
pub(crate) use monitor::{LossOf, Plan, is_known_output, known_loss};
pub(crate) use pass::{
    Asked as AskedOfPass, ShownTasks, asked as asked_of_pass, backward, show_tasks, value,
};
pub(crate) use probe::{decays_by_itself, refusal, state_tensors, what_it_asks};
#[cfg(feature = "flex")]
pub(crate) use reduce::Factor;
pub(crate) use reports::Reports;
pub(crate) use schedule::{SAYS_NOTHING, Tag, learner_scheduler, saved_state};
pub(crate) use signals::{known_mean, numbers, on_one_device};
pub(crate) use state::{Expected, Identity, OVERFLOW_CAP, Place, Saved, Slot, State};
pub(crate) use steered::Steered;
pub(crate) use tensors::{
    ByParameter, flat, half_parameters, in_f32, is_half, largest_entries, precisions, shaped, sum,
};
pub(crate) use updater::{
    Failed, How, Optimize, PassAgain, Updater, fail, panic_message, step_optimizer,
};

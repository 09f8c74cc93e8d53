//! Learning-rate schedules as values.
//!
//! A *description* ([`ScheduleConfig`]) is plain data: builder calls grow it, a file can hold it,
//! its lengths may be spans ("5ep", "10%"). [`ScheduleExt::resolve`] checks it once against the length of
//! the run ([`RunLength`]) and gives a [`Schedule`]: a pure function of the step, in closed form,
//! in f64, finite and not negative at every step.
//!
//! ```
//! use anneal_schedule::prelude::*;
//!
//! let run = RunLength::from_items(50_000, 64).epochs(10);
//! let schedule = cosine(3e-4).floor(1e-6).warmup(Span::percent(5.0)).resolve(run)?;
//!
//! assert_eq!(schedule.length(), Some(7_820));
//! assert_eq!(schedule.rate(391), 3e-4);
//! # Ok::<(), ScheduleError>(())
//! ```
//!
//! # Conventions
//! Update t = 0, 1, … uses the rate at t. A curve over T updates uses the fraction t/T, so its end
//! value belongs to t = T and is held from there. A warm-up of n updates gives (t+1)/(n+1) of the
//! peak. Spans become updates by rounding cumulative positions half up. What the last part does
//! not say fills the run.

mod agreement;
pub mod analysis;
mod combine;
mod curve;
pub mod decay;
mod error;
mod every;
pub mod file;
mod length;
pub mod lint;
mod merge;
mod node;
pub mod peers;
mod ramp;
mod rate_drop;
mod run;
mod schedule;
#[cfg(feature = "schema")]
mod schema;
mod scope;
mod span;
mod suggest;
mod text;

pub use agreement::{AgreementError, Contradiction};
pub use combine::*;
pub use curve::*;
pub use decay::{Shrinkage, WeightDecay};
pub use error::ScheduleError;
pub use every::Every;
pub use file::FileError;
pub use length::Length;
pub use merge::{MergeRecipeError, merge_coefficients};
pub use node::{Node, ScheduleConfig};
pub use rate_drop::{DropEffect, RateDrop};
pub use run::{MadeOf, Run, RunLength};
pub use schedule::{Fingerprint, Schedule};
#[cfg(feature = "schema")]
pub use schema::json_schema;
pub use scope::MAX_DEPTH;
pub use span::{ParseSpanError, Span};
pub use text::TextError;

/// What most users need: the builders, spans, the run's length and the errors.
pub mod prelude {
    pub use crate::combine::*;
    pub use crate::curve::*;
    pub use crate::{
        FileError, MAX_DEPTH, RateDrop, RunLength, Schedule, ScheduleConfig, ScheduleError, Span,
        TextError, WeightDecay,
    };
}

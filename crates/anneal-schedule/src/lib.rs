//! Learning-rate schedules as values: written like a sentence, checked once against the length of the run,
//! and exact at every step.
//!
//! ```
//! use anneal_schedule::prelude::*;
//!
//! let run = RunLength::from_items(50_000, 64).epochs(10);
//! let schedule = cosine(3e-4).end(1e-6).warmup(Span::percent(5.0)).resolve(run)?;
//!
//! assert_eq!(schedule.length(), Some(7_820));
//! assert_eq!(schedule.rate(391), 3e-4);
//! # Ok::<(), ScheduleError>(())
//! ```
//!
//! # Two types
//! A *description*, [`ScheduleConfig`], is plain data. Builder calls extend it and never fail, a file or a
//! text can hold it, and its lengths are [`Span`]s: `500` updates, `5ep`, `10%`, or the rest. An end, a start or
//! a floor is a [`Level`]: a rate, or a share of the peak.
//! [`ScheduleExt::resolve`] checks it against the length of the run, [`RunLength`], and returns a
//! [`Schedule`]: a pure function of the step, in closed form, in f64, finite and never negative.
//!
//! # Where to go
//! - Curves: [`constant`], [`linear`], [`cosine`], [`one_cycle`], [`step_decay`], [`multi_step`],
//!   [`exponential`], [`warmup_stable_decay`], [`warm_restarts`] and more; each returns a struct that
//!   documents its formula, fields and source.
//! - Combinators for all of them, for example [`warmup`](ScheduleExt::warmup), [`then`](ScheduleExt::then),
//!   [`floor`](ScheduleExt::floor) and [`repeat_every`](ScheduleExt::repeat_every): [`ScheduleExt`].
//! - Files: [`ScheduleConfig::load_for`], and [`Source`] for files that hold more than a schedule.
//! - Texts: `"cosine(3e-4).warmup(5%)".parse::<ScheduleConfig>()`.
//! - Analysis of a schedule: [`analysis`]. Likely mistakes in it: [`lint`].
//! - From PyTorch, optax, timm, transformers, Keras and fastai: [`peers`].
//!
//! # Features
//! | feature | default | provides |
//! | --- | --- | --- |
//! | `files` | yes | TOML and JSON files: [`mod@file`], [`Source`] |
//! | `peers` | yes | [`peers`] |
//! | `analysis` | yes | [`analysis`], [`lint`], [`decay`], [`merge_coefficients`] |
//! | `schema` | no | `json_schema`, the file format as a JSON Schema |
//!
//! # Conventions
//! Update t = 0, 1, … uses the rate at t. A curve over T updates uses the fraction t/T, so it reaches its end
//! value at t = T and holds it from there. A warm-up of n updates gives (t+1)/(n+1) of the peak. Spans become
//! updates by rounding cumulative positions half up. A last part without a length fills the run.

// Only the analysis uses some parts of the curves.
#![cfg_attr(not(feature = "analysis"), allow(dead_code))]

mod agreement;
#[cfg(feature = "analysis")]
pub mod analysis;
mod catalogue;
mod clock;
mod combine;
mod curve;
#[cfg(feature = "analysis")]
pub mod decay;
mod error;
mod every;
#[cfg(feature = "files")]
pub mod file;
#[cfg(all(test, feature = "analysis", feature = "files", feature = "peers"))]
mod guarantees;
mod length;
mod level;
#[cfg(feature = "analysis")]
pub mod lint;
#[cfg(feature = "analysis")]
mod merge;
mod names;
mod node;
mod out_of_range;
#[cfg(feature = "peers")]
pub mod peers;
mod position;
mod ramp;
mod rate_drop;
mod run;
mod run_file;
mod schedule;
#[cfg(feature = "schema")]
mod schema;
mod scope;
#[cfg(feature = "files")]
mod source;
mod span;
mod suggest;
mod text;

pub use agreement::{AgreementError, Contradiction};
pub use catalogue::{Argument, Entry, Kind, UnknownEntry, catalogue, find_entry};
pub use combine::*;
pub use curve::*;
#[cfg(feature = "analysis")]
pub use decay::{Shrinkage, WeightDecay};
pub use error::ScheduleError;
pub use every::Every;
#[cfg(feature = "files")]
pub use file::FileError;
pub use length::Length;
pub use level::{Level, ParseLevelError};
#[cfg(feature = "analysis")]
pub use merge::{MergeRecipeError, merge_coefficients};
pub use node::ScheduleConfig;
pub use out_of_range::OutOfRange;
pub use rate_drop::{DropEffect, RateDrop};
pub use run::{MadeOf, Run, RunLength};
pub use schedule::{Fingerprint, Schedule};
#[cfg(feature = "schema")]
pub use schema::{json_schema, tidy as tidy_schema};
pub use scope::MAX_DEPTH;
#[cfg(feature = "files")]
pub use source::Source;
pub use span::{ParseSpanError, Span};
pub use text::TextError;

/// The items most users need: the common curves and builder calls, spans, the run length and the errors.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = cosine(3e-4).warmup(Span::percent(5.0)).resolve(RunLength::updates(1_000))?;
/// # Ok::<(), ScheduleError>(())
/// ```
///
/// Builders with ambiguous names, like [`sum`], [`table`] and [`sequence`], and the structs that the builders
/// return, are only in the crate root.
pub mod prelude {
    #[cfg(feature = "files")]
    pub use crate::FileError;
    #[cfg(feature = "analysis")]
    pub use crate::WeightDecay;
    pub use crate::{
        AfterEnd, AnnealStrategy, CycleScaling, Decay, DecayShape, Level, OutOfRange, Ramp,
        RateDrop, RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, Span, Stable,
        TextError, constant, cosine, cyclic, exponential, inverse_sqrt, inverse_time, linear,
        multi_step, noam, one_cycle, piecewise_constant, piecewise_interpolate, polynomial,
        power_law, stable_decay, step_decay, warm_restarts, warmup_stable_decay,
    };
}

/// The code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

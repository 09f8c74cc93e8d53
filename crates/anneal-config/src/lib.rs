//! A whole training as plain data, for example from a file: the schedule, groups of parameters, weight decay, momentum,
//! clipping, half precision, controllers and averages. Everything but the model, the optimizer and the data.
//!
//! ```
//! use anneal_config::TrainingConfig;
//! use anneal_schedule::RunLength;
//!
//! let config = TrainingConfig::from_toml(r#"
//!     schedule = "cosine(3e-4).warmup(5%)"
//!     clip_global_norm = 1.0
//!
//!     [groups]
//!     layer_decay = 1.5
//! "#)?;
//! let error = config.check(RunLength::updates(1_000)).unwrap_err();
//! assert_eq!(error.to_string(), "layer_decay: 1.5 is not allowed; allowed: above 0, at most 1");
//! assert_eq!(config.locate(&error.field()).as_deref(), Some("toml:6:19"));
//! # Ok::<(), anneal_schedule::FileError>(())
//! ```
//!
//! [`peers`] translates configurations of other libraries into one.
//!
//! `burn-anneal` trains with it: `LearnerBuilder::new(model, optimizer, TrainingConfig::load("train.toml")?)`. The program
//! `anneal` checks and explains it.
//!
//! | feature | default | provides |
//! | --- | --- | --- |
//! | `peers` | yes | [`peers`] |
//! | `schema` | no | [`json_schema`] and [`groups_json_schema`]: the formats of the files as JSON Schemas |

mod average;
mod choices;
mod concise;
mod controller;
mod error;
mod explain;
mod groups;
#[cfg(test)]
mod guarantees;
mod half_precision;
mod names;
#[cfg(feature = "peers")]
pub mod peers;
#[cfg(feature = "schema")]
mod schema;
mod text_or_table;
mod training;

pub use average::{Average, AverageError, AverageRule, AveragedPart, TimedAverage, Weights};
pub use choices::{GradientReduction, NotFinite, OnSkip};
pub use controller::ControllerConfig;
pub use error::ConfigError;
pub use groups::{
    Group, GroupError, GroupsConfig, LayerMap, LayerPattern, Layers, Parameter, Selection,
    and_more, layer_decay, momentum_schedule, update_at,
};
pub use half_precision::{HalfDtype, HalfPrecision};
pub use names::{NameError, check_names};
#[cfg(feature = "schema")]
pub use schema::{groups_json_schema, json_schema};
pub use training::TrainingConfig;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Rates, weight decay and freezing for groups of parameters: what fine-tuning a pretrained model asks
//! for.
//!
//! [`GroupsConfig`] describes, [`Groups`] is what comes of it for a model, and
//! [`LearnerBuilder::groups`](crate::LearnerBuilder::groups) or [`GroupOptimizer`] trains with it.

mod config;
mod context;
mod curvature;
mod error;
mod explain;
mod freeze;
mod layers;
mod measure;
mod members;
mod metric;
mod optimizer;
mod parameter;
mod pattern;
mod precision;
mod resolve;
mod resolved;
mod selection;
mod step;

pub use config::{Group, GroupsConfig, layer_decay};
pub use curvature::{Curvature, Curvatures};
pub use error::GroupError;
pub use explain::{ExplainedGroup, Explanation};
pub use layers::{LayerMap, LayerPattern, Layers};
pub use metric::GroupMetric;
pub use optimizer::GroupOptimizer;
pub use parameter::{Parameter, parameters};
pub use resolved::Groups;
pub use selection::Selection;

pub(crate) use context::{current_drop, current_momentum, is_introducing};
pub(crate) use measure::{Measured, Sum};
pub(crate) use members::{At, Members};
pub(crate) use optimizer::{Grouped, check_optimizer, has_master_weights};
pub(crate) use step::{resumed_step, saved_groups, step_of, with_step};

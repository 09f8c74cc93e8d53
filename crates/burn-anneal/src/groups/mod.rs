//! Rates, weight decay and freezing for groups of parameters: what fine-tuning a pretrained model asks
//! for.
//!
//! [`GroupsConfig`] describes, [`Groups`] is what comes of it for a model, and
//! [`LearnerBuilder::groups`](crate::LearnerBuilder::groups) trains with it.

mod config;
mod curvature;
mod error;
mod explain;
mod freeze;
mod layers;
mod parameter;
mod pattern;
mod precision;
mod resolve;
mod resolved;
mod selection;

pub use config::{Group, GroupsConfig, layer_decay};
pub use curvature::{Curvature, Curvatures};
pub use error::GroupError;
pub use explain::{ControlSummary, ExplainedController, ExplainedGroup, Explanation};
pub use layers::{LayerMap, LayerPattern, Layers};
pub use parameter::{Parameter, parameters};
pub use resolved::Groups;
pub use selection::Selection;

pub(crate) use error::check_name;
pub(crate) use explain::Kept;
pub(crate) use resolved::{ResolvedGroup, Table};

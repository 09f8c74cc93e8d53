//! Rates, weight decay and freezing for groups of parameters, as needed for fine-tuning a pretrained model.
//!
//! [`GroupsConfig`] describes the groups, [`Groups`] are the resolved groups of a model, and
//! [`LearnerBuilder::groups`](crate::LearnerBuilder::groups) trains with them.

mod curvature;
mod explain;
mod freeze;
mod parameter;
mod precision;
mod resolve;
mod resolved;

pub use anneal_config::{
    Group, GroupError, GroupsConfig, LayerMap, LayerPattern, Layers, NameError, Parameter,
    Selection, layer_decay,
};
pub use curvature::{Curvature, Curvatures};
pub use explain::{ControlSummary, ExplainedController, ExplainedGroup, Explanation};
pub use parameter::parameters;
pub use resolved::{Groups, ResolveGroups};

pub(crate) use explain::Kept;
pub(crate) use parameter::{Found, found};
pub(crate) use resolved::{ResolvedGroup, Table, resolve_for};

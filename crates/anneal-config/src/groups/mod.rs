//! Groups of parameters: which parameters, and their rates, decay and start.

mod check;
mod config;
mod error;
mod layers;
mod parameter;
mod pattern;
mod selection;

pub use check::{momentum_schedule, update_at};
pub use config::{Group, GroupsConfig, layer_decay};
pub use error::{GroupError, and_more};
pub use layers::{LayerMap, LayerPattern, Layers};
pub use parameter::Parameter;
pub use selection::Selection;

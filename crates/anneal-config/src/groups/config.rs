//! The description of groups.

use super::{LayerMap, Selection};
use anneal_schedule::file::{self, VERSION};
use anneal_schedule::{FileError, RateDrop, ScheduleConfig, Source, Span, WeightDecay};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Describes groups of parameters: their learning rates, weight decay, and when they start to train.
///
/// The rate of a parameter at update t is
///
/// ```text
/// min(cap, rate of its group(t) · scale of its layer)
/// ```
///
/// The group's rate is its own schedule, or a multiple of the run's schedule; without named groups, it is
/// the run's schedule. With a layer decay α, the scale of layer l of 0 … L is max(minimum_scale, α^(L − l)):
/// the head has the full rate.
///
/// It is plain data, read from a file or built by calls that never fail. [`check`](Self::check) checks it for
/// a run; `burn-anneal` resolves it into the groups of a model.
///
/// ```
/// use anneal_config::{Group, Selection, layer_decay};
/// use anneal_schedule::prelude::*;
///
/// let groups = layer_decay(0.75)
///     .group(Group::new("head", "^head").schedule(step_decay(1e-2, Span::epochs(2), 0.1)))
///     .group(Group::rest("trunk"))
///     .unfreeze_every(Span::epochs(1))
///     .weight_decay(0.05)
///     .no_weight_decay(Selection::biases_and_norms());
/// ```
///
/// The same as a file:
///
/// ```toml
/// layer_decay = 0.75
/// unfreeze_every = "1ep"
/// weight_decay = 0.05
/// no_weight_decay = { biases = true, norms = true }
///
/// [[group]]
/// name = "head"
/// select = { regexes = ["^head"] }
/// [group.schedule.step_decay]
/// peak = 1e-2
/// every = "2ep"
/// gamma = 0.1
///
/// [[group]]
/// name = "trunk"
/// select = { everything = true }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[must_use]
pub struct GroupsConfig {
    /// The version of the file format.
    #[serde(skip_serializing)]
    pub(crate) version: u32,
    /// The factor on the rate from each layer to the one below it; in (0, 1].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// The smallest scale that a layer decay gives a layer; in \[0, 1\].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_scale: Option<f64>,
    /// The scale of each layer's rate, from layer 0 to the head, in place of a layer decay; above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_scales: Option<Vec<f64>>,
    /// The head trains from the start, and each layer below it starts one such span later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfreeze_every: Option<Span>,
    /// Where in the run each layer starts to train, from layer 0 to the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfreeze_layers_at: Option<Vec<Span>>,
    /// Whether batch norms of a frozen group use and keep their running statistics.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub freeze_statistics: bool,
    /// Decoupled weight decay: a coefficient, or a table named after its policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<WeightDecay>,
    /// Parameters without weight decay.
    #[serde(skip_serializing_if = "Selection::is_none")]
    pub no_weight_decay: Selection,
    /// The momentum, or β₁, of each update; below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<ScheduleConfig>,
    /// What happens to the momentum when the rate drops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_drop: Option<RateDrop>,
    /// The highest rate of a group, by the group's name; above 0.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub caps: BTreeMap<String, f64>,
    /// How layers are found: "tree", or a list of patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerMap>,
    /// Whether each parameter must match a pattern of the layers, those of the head too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict_layers: bool,
    /// The named groups. A parameter belongs to the first that selects it.
    #[serde(rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            version: VERSION,
            layer_decay: None,
            minimum_scale: None,
            layer_scales: None,
            unfreeze_every: None,
            unfreeze_layers_at: None,
            freeze_statistics: false,
            weight_decay: None,
            no_weight_decay: Selection::none(),
            momentum: None,
            rate_drop: None,
            caps: BTreeMap::new(),
            layers: None,
            strict_layers: false,
            groups: vec![],
        }
    }
}

/// Describes a named group of parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct Group {
    /// Its name, under which its metrics are logged.
    pub name: String,
    /// Its parameters, except those of earlier groups.
    pub select: Selection,
    /// Its rate as a multiple of the run's schedule; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<f64>,
    /// It is frozen before this position of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfreeze_at: Option<Span>,
    /// It is frozen for the whole run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Its weight decay, in place of the one for all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<WeightDecay>,
    /// Its momentum, in place of the one for all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<ScheduleConfig>,
    /// Its own schedule of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleConfig>,
}

impl Group {
    /// A group of the selected parameters that no earlier group has, for example `Group::new("head", "^head")`.
    pub fn new(name: impl Into<String>, select: impl Into<Selection>) -> Self {
        Self {
            name: name.into(),
            select: select.into(),
            multiple: None,
            unfreeze_at: None,
            frozen: false,
            weight_decay: None,
            momentum: None,
            schedule: None,
        }
    }

    /// A group of all parameters that no earlier group has.
    pub fn rest(name: impl Into<String>) -> Self {
        Self::new(name, Selection::everything())
    }

    /// Sets its rate to `multiple` × the run's schedule; above 0.
    pub fn multiple(mut self, multiple: f64) -> Self {
        self.multiple = Some(multiple);
        self
    }

    /// Sets its own schedule of the rate.
    pub fn schedule(mut self, schedule: impl Into<ScheduleConfig>) -> Self {
        self.schedule = Some(schedule.into());
        self
    }

    /// Freezes it before this position of the run, and trains it from there on. Overrides the start of its
    /// layers.
    pub fn unfreeze_at(mut self, position: Span) -> Self {
        self.unfreeze_at = Some(position);
        self
    }

    /// Freezes it for the whole run.
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Sets its weight decay, in place of [`GroupsConfig::weight_decay`].
    pub fn weight_decay(mut self, weight_decay: impl Into<WeightDecay>) -> Self {
        self.weight_decay = Some(weight_decay.into());
        self
    }

    /// Sets its momentum, in place of [`GroupsConfig::momentum`].
    pub fn momentum(mut self, momentum: impl Into<ScheduleConfig>) -> Self {
        self.momentum = Some(momentum.into());
        self
    }
}

/// Rates that fall by the factor `decay` from each layer to the one below it; see
/// [`GroupsConfig::layer_decay`].
pub fn layer_decay(decay: f64) -> GroupsConfig {
    GroupsConfig::new().layer_decay(decay)
}

impl GroupsConfig {
    /// One group with the rates of the run's schedule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rate of layer l of 0 … L to the head's rate × `decay`^(L − l); in (0, 1]. This is timm's
    /// and BEiT's layer-wise decay (Clark et al. 2020, Bao et al. 2021), and fastai's discriminative rates
    /// (Howard and Ruder 2018).
    pub fn layer_decay(mut self, decay: f64) -> Self {
        self.layer_decay = Some(decay);
        self
    }

    /// The smallest scale that a layer decay gives a layer; in \[0, 1\], 0 by default.
    pub fn minimum_scale(mut self, scale: f64) -> Self {
        self.minimum_scale = Some(scale);
        self
    }

    /// The scale of each layer's rate, from layer 0 to the head, in place of a layer decay; above 0.
    pub fn layer_scales(mut self, scales: impl IntoIterator<Item = f64>) -> Self {
        self.layer_scales = Some(scales.into_iter().collect());
        self
    }

    /// How layers are found; by default, from the module's tree.
    pub fn layers(mut self, layers: LayerMap) -> Self {
        self.layers = Some(layers);
        self
    }

    /// Whether each parameter must match a pattern of the layers, those of the head too; any other is an error. By
    /// default, what no pattern matches is in the last layer, and a warning names it unless it is the head: see
    /// [`Layers::stray`](super::Layers::stray).
    pub fn strict_layers(mut self, strict: bool) -> Self {
        self.strict_layers = strict;
        self
    }

    /// Adds a group. A parameter belongs to the first group that selects it. Without settings of layers,
    /// every parameter must be in a group.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Gradual unfreezing: the head trains from the first update on, the layer below it from `span`
    /// on, the next from 2 × `span` on, and so on (Howard and Ruder 2018).
    pub fn unfreeze_every(mut self, span: Span) -> Self {
        self.unfreeze_every = Some(span);
        self
    }

    /// Where in the run each layer starts to train, from layer 0 to the head; it is frozen before that.
    pub fn unfreeze_layers_at(mut self, positions: impl IntoIterator<Item = Span>) -> Self {
        self.unfreeze_layers_at = Some(positions.into_iter().collect());
        self
    }

    /// Whether batch norms of a frozen group use and keep their running statistics. By default, they use
    /// the statistics of each batch and update the running ones, as in fastai.
    pub fn freeze_statistics(mut self, freeze: bool) -> Self {
        self.freeze_statistics = freeze;
        self
    }

    /// Decoupled weight decay, with η_t the parameter's own rate and η₀ its peak: see [`WeightDecay`].
    /// A number is a coupled decay, w ← (1 − η ω) w, as in torch's AdamW. The optimizer's own decay must be
    /// off.
    pub fn weight_decay(mut self, weight_decay: impl Into<WeightDecay>) -> Self {
        self.weight_decay = Some(weight_decay.into());
        self
    }

    /// The momentum, or β₁, of each update; below 1. For an optimizer that follows it: a `ScheduledAdam`,
    /// a `ScheduledMomentum`, or a `RateInsideSgd`.
    pub fn momentum(mut self, momentum: impl Into<ScheduleConfig>) -> Self {
        self.momentum = Some(momentum.into());
        self
    }

    /// What happens to the momentum when the rate drops. For a `RateInsideSgd`.
    pub fn rate_drop(mut self, rate_drop: RateDrop) -> Self {
        self.rate_drop = Some(rate_drop);
        self
    }

    /// Parameters without weight decay.
    pub fn no_weight_decay(mut self, selection: Selection) -> Self {
        self.no_weight_decay = selection;
        self
    }

    /// The highest rate of a group with all its parts, whatever its schedule says; above 0. A single part has
    /// its own name in `Groups::explain`, such as `head, no decay`; a cap of that name replaces the group's.
    /// `Curvatures::caps` measures caps.
    pub fn cap(mut self, group: impl Into<String>, rate: f64) -> Self {
        self.caps.insert(group.into(), rate);
        self
    }

    /// Adds a cap for each of these groups.
    pub fn caps(mut self, caps: impl IntoIterator<Item = (String, f64)>) -> Self {
        self.caps.extend(caps);
        self
    }

    /// Whether any setting needs layers.
    pub fn uses_layers(&self) -> bool {
        self.layers.is_some()
            || self.layer_decay.is_some()
            || self.layer_scales.is_some()
            || self.unfreeze_every.is_some()
            || self.unfreeze_layers_at.is_some()
    }

    /// Reads a description from a `.toml` or `.json` file.
    ///
    /// # Errors
    /// [`FileError`] with file, line and column; for an unknown field, with the known ones.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::from_source(&Source::read(path)?)
    }

    /// Reads a description from TOML text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        Self::from_source(&Source::toml("toml", text))
    }

    /// Reads a description from JSON text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        Self::from_source(&Source::json("json", text))
    }

    /// Reads a description from the text of a file; see [`load`](Self::load).
    pub fn from_source(source: &Source) -> Result<Self, FileError> {
        source.parse_versioned()
    }

    /// Writes this description as TOML.
    ///
    /// # Errors
    /// [`FileError::Write`] if layers come from a closure.
    pub fn to_toml(&self) -> Result<String, FileError> {
        file::to_toml(self)
    }

    /// Writes this description as JSON.
    ///
    /// # Errors
    /// [`FileError::Write`] if layers come from a closure.
    pub fn to_json(&self) -> Result<String, FileError> {
        file::to_json(self)
    }
}

//! The description of groups.

use super::{LayerMap, Selection};
use anneal_schedule::{FileError, RateDrop, ScheduleConfig, Span, WeightDecay, file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the file format that this crate writes, and the newest that it reads.
const VERSION: u32 = 1;

/// Which rates, decay and start the parameters of a model have: the description.
///
/// The rate of a parameter at update t is
///
/// ```text
/// min(cap, rate of its group(t) · scale of its layer)
/// ```
///
/// where the group's rate is its own schedule, or a multiple of the run's schedule, and 1 × that where
/// no group is named. The scale of layer l of 0 … L is max(minimum_scale, α^(L − l)) under a layer
/// decay α: the head has the whole rate.
///
/// [`resolve`](Self::resolve) checks all of it against the model. It is plain data: a file holds it,
/// builder calls grow it and never fail.
///
/// ```
/// use burn_anneal::prelude::*;
/// use burn_anneal::groups::{Group, Selection, layer_decay};
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct GroupsConfig {
    #[serde(default = "current_version")]
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer_decay: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_scale: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer_scales: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unfreeze_every: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unfreeze_layers_at: Option<Vec<Span>>,
    #[serde(default)]
    pub(crate) freeze_statistics: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight_decay: Option<WeightDecay>,
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) no_weight_decay: Selection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) momentum: Option<ScheduleConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_drop: Option<RateDrop>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) caps: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<LayerMap>,
    #[serde(default, rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<Group>,
}

fn current_version() -> u32 {
    VERSION
}

fn is_none(selection: &Selection) -> bool {
    *selection == Selection::none()
}

/// A named group of parameters: the description.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct Group {
    pub(crate) name: String,
    pub(crate) select: Selection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) multiple: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unfreeze_at: Option<Span>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) frozen: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight_decay: Option<WeightDecay>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) momentum: Option<ScheduleConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<ScheduleConfig>,
}

impl Group {
    /// The parameters of a selection that no group before this one has: `Group::new("head", "^head")`.
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

    /// All parameters that no group before this one has.
    pub fn rest(name: impl Into<String>) -> Self {
        Self::new(name, Selection::everything())
    }

    /// Its rate is `multiple` × the rate of the run's schedule; above 0.
    pub fn multiple(mut self, multiple: f64) -> Self {
        self.multiple = Some(multiple);
        self
    }

    /// Its rate is a schedule of its own.
    pub fn schedule(mut self, schedule: impl Into<ScheduleConfig>) -> Self {
        self.schedule = Some(schedule.into());
        self
    }

    /// It is frozen before the update at this position of the run, and trains from it on. Goes before
    /// what the layers say.
    pub fn unfreeze_at(mut self, position: Span) -> Self {
        self.unfreeze_at = Some(position);
        self
    }

    /// It is frozen for the whole run.
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Its weight decay, in the place of [`GroupsConfig::weight_decay`].
    pub fn weight_decay(mut self, weight_decay: impl Into<WeightDecay>) -> Self {
        self.weight_decay = Some(weight_decay.into());
        self
    }

    /// Its momentum, in the place of [`GroupsConfig::momentum`].
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
        Self { version: VERSION, ..Self::default() }
    }

    /// The rate of layer l of 0 … L is that of the head × `decay`^(L − l); in (0, 1]. timm's and
    /// BEiT's layer-wise decay (Clark et al. 2020, Bao et al. 2021), fastai's discriminative rates
    /// (Howard and Ruder 2018).
    pub fn layer_decay(mut self, decay: f64) -> Self {
        self.layer_decay = Some(decay);
        self
    }

    /// The least scale that a layer decay gives a layer; in \[0, 1\], 0 unless said otherwise.
    pub fn minimum_scale(mut self, scale: f64) -> Self {
        self.minimum_scale = Some(scale);
        self
    }

    /// The scale of each layer's rate, from layer 0 to the head, in the place of a layer decay; above 0.
    pub fn layer_scales(mut self, scales: impl IntoIterator<Item = f64>) -> Self {
        self.layer_scales = Some(scales.into_iter().collect());
        self
    }

    /// What the layers are; unless said otherwise they are found in the module's tree.
    pub fn layers(mut self, layers: LayerMap) -> Self {
        self.layers = Some(layers);
        self
    }

    /// Adds a group. The first group that selects a parameter has it. Where there is no layer rule,
    /// every parameter must be in a group.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Gradual unfreezing: the head trains from the first update on, the layer below it from `span`
    /// on, the next from 2 × `span` on, and so forth (Howard and Ruder 2018).
    pub fn unfreeze_every(mut self, span: Span) -> Self {
        self.unfreeze_every = Some(span);
        self
    }

    /// Where in the run each layer begins to train, from layer 0 to the head; before, it is frozen.
    pub fn unfreeze_layers_at(mut self, positions: impl IntoIterator<Item = Span>) -> Self {
        self.unfreeze_layers_at = Some(positions.into_iter().collect());
        self
    }

    /// Whether batch norms of a frozen group use and keep their running statistics. Unless said so
    /// they go on with the statistics of each batch and the running ones move, as in fastai.
    pub fn freeze_statistics(mut self, freeze: bool) -> Self {
        self.freeze_statistics = freeze;
        self
    }

    /// Decoupled weight decay, with η_t the parameter's own rate and η₀ the peak of it: see
    /// [`WeightDecay`]. A number is a coupled one, w ← (1 − η ω) w, as torch's AdamW. The optimizer's own
    /// decay must be off.
    pub fn weight_decay(mut self, weight_decay: impl Into<WeightDecay>) -> Self {
        self.weight_decay = Some(weight_decay.into());
        self
    }

    /// The momentum, or β₁, of each update; below 1. For a
    /// [`ScheduledAdam`](crate::momentum::ScheduledAdam), a
    /// [`ScheduledMomentum`](crate::momentum::ScheduledMomentum), or a
    /// [`RateInsideSgd`](crate::momentum::RateInsideSgd).
    pub fn momentum(mut self, momentum: impl Into<ScheduleConfig>) -> Self {
        self.momentum = Some(momentum.into());
        self
    }

    /// What becomes of momentum where the schedule drops the rate. For a
    /// [`RateInsideSgd`](crate::momentum::RateInsideSgd).
    pub fn rate_drop(mut self, rate_drop: RateDrop) -> Self {
        self.rate_drop = Some(rate_drop);
        self
    }

    /// Parameters that do not decay.
    pub fn no_weight_decay(mut self, selection: Selection) -> Self {
        self.no_weight_decay = selection;
        self
    }

    /// A rate that a group never exceeds, whatever its schedule says; above 0. `group` is its name in
    /// [`Groups::explain`](super::Groups::explain). See
    /// [`Curvatures::caps`](super::Curvatures::caps).
    pub fn cap(mut self, group: impl Into<String>, rate: f64) -> Self {
        self.caps.insert(group.into(), rate);
        self
    }

    /// Adds a cap for each of these groups.
    pub fn caps(mut self, caps: impl IntoIterator<Item = (String, f64)>) -> Self {
        self.caps.extend(caps);
        self
    }

    /// The groups, if there are any, with what is said of the whole model beside them; all of it may be
    /// nothing.
    ///
    /// # Errors
    /// What is said in both places.
    pub(crate) fn with_whole(
        groups: Option<Self>,
        whole: Self,
    ) -> Result<Option<Self>, &'static str> {
        let (of, given) = match groups {
            Some(groups) => (groups, true),
            None => (Self::new(), false),
        };
        let excludes = |config: &Self| config.no_weight_decay != Selection::none();
        let said = [
            ("weight_decay", whole.weight_decay.is_some(), of.weight_decay.is_some()),
            ("no_weight_decay", excludes(&whole), excludes(&of)),
            ("momentum", whole.momentum.is_some(), of.momentum.is_some()),
            ("rate_drop", whole.rate_drop.is_some(), of.rate_drop.is_some()),
        ];
        if let Some((part, ..)) = said.iter().find(|(_, whole, of)| *whole && *of) {
            return Err(part);
        }
        if !given && said.iter().all(|(_, whole, _)| !whole) {
            return Ok(None);
        }
        let no_weight_decay =
            if excludes(&whole) { whole.no_weight_decay } else { of.no_weight_decay };
        Ok(Some(Self {
            weight_decay: whole.weight_decay.or(of.weight_decay),
            no_weight_decay,
            momentum: whole.momentum.or(of.momentum),
            rate_drop: whole.rate_drop.or(of.rate_drop),
            ..of
        }))
    }

    /// Whether layers have a part in it.
    pub(crate) fn uses_layers(&self) -> bool {
        self.layers.is_some()
            || self.layer_decay.is_some()
            || self.layer_scales.is_some()
            || self.unfreeze_every.is_some()
            || self.unfreeze_layers_at.is_some()
    }

    /// Reads a description from a `.toml` or `.json` file.
    ///
    /// # Errors
    /// [`FileError`] with file, line and column; unknown fields are refused with the known ones.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        file::load::<Self>(path)?.of_known_version(&path.display().to_string())
    }

    /// Reads a description from TOML text.
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        file::from_toml::<Self>(text, "toml")?.of_known_version("toml")
    }

    /// Reads a description from JSON text.
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        file::from_json::<Self>(text, "json")?.of_known_version("json")
    }

    /// Writes this description as JSON, which [`from_json`](Self::from_json) reads.
    ///
    /// # Errors
    /// [`FileError::Write`] where layers come from a closure.
    pub fn to_json(&self) -> Result<String, FileError> {
        serde_json::to_string_pretty(self).map_err(|error| FileError::Write(error.to_string()))
    }

    fn of_known_version(self, origin: &str) -> Result<Self, FileError> {
        if (1..=VERSION).contains(&self.version) {
            Ok(self)
        } else {
            Err(FileError::Version { origin: origin.to_string(), found: self.version })
        }
    }
}

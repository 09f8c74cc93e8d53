//! The description of a whole training.

use crate::average::{Average, Weights};
use crate::choices::{GradientReduction, NotFinite, OnSkip};
use crate::concise;
use crate::controller::ControllerConfig;
use crate::error::ConfigError;
use crate::groups::{GroupsConfig, Selection};
use crate::half_precision::HalfPrecision;
use crate::names::check_names;
use anneal_control::{Describe, FiniteGuard, LossScaling, OutOfRange, OverflowCap};
use anneal_schedule::file::{self, VERSION};
use anneal_schedule::{
    FileError, RateDrop, RunLength, ScheduleConfig, ScheduleExt, Source, WeightDecay,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Describes a whole training, except for model, optimizer and data: all plain data of a `LearnerBuilder`.
///
/// Each key of its file is a call of the builder: `clip_global_norm = 1.0` is `.clip_global_norm(1.0)`, the table
/// `[groups]` is `.groups(…)`, a table `[[average]]` is `.average(…)`.
///
/// ```
/// use anneal_config::TrainingConfig;
/// use anneal_schedule::RunLength;
///
/// let config = TrainingConfig::from_toml(r#"
///     schedule = "cosine(3e-4).warmup(5%)"
///     weight_decay = 0.05
///     no_weight_decay = { biases = true, norms = true }
///     clip_global_norm = 1.0
///     half_precision = "bf16"
///
///     [groups]
///     layer_decay = 0.75
///
///     [[average]]
///     half_life = "2ep"
/// "#)?;
/// config.check(RunLength::from_items(50_000, 64).epochs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Errors found later, when the model and the length of the run are known, also have the line and column of their
/// field: see [`locate`](Self::locate).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct TrainingConfig {
    /// The version of the file format.
    #[serde(default = "current_version")]
    pub(crate) version: u32,
    /// The learning rate of each update.
    pub schedule: ScheduleConfig,
    /// Decoupled weight decay for all parameters, in place of the optimizer's own: a coefficient, or a table named
    /// after its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<WeightDecay>,
    /// Parameters without weight decay.
    #[serde(default, skip_serializing_if = "Selection::is_none")]
    pub no_weight_decay: Selection,
    /// The momentum, or β₁, of each update; below 1. The optimizer must follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<ScheduleConfig>,
    /// What happens to the momentum when the rate drops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_drop: Option<RateDrop>,
    /// Rates, weight decay and freezing for groups of parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsConfig>,
    /// Clips gradients by their global norm; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_global_norm: Option<f64>,
    /// How the gradients of the batches of one update are combined: "sum" or "mean".
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_reduction: GradientReduction,
    /// Trains in "f16" or "bf16", with master weights in f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_precision: Option<HalfPrecision>,
    /// Scales the loss of a model in f32; in half precision, set it in `half_precision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scaling: Option<LossScaling>,
    /// Caps the rate so that the next scaled gradient does not overflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_cap: Option<OverflowCap>,
    /// Controllers of the rate, in the order in which they are called.
    #[serde(default, rename = "controller", skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<ControllerConfig>,
    /// The lowest rate that controllers set; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_floor: Option<f64>,
    /// How a skipped update affects the schedule: "advance" or "hold".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_skip: Option<OnSkip>,
    /// What happens to an update whose gradients are infinite or NaN: "report", "stop", or { skip = { most = 5 } }.
    #[serde(default, skip_serializing_if = "is_default")]
    pub not_finite: NotFinite,
    /// The number of updates within which each trained parameter must get a gradient, or "never".
    #[serde(default = "usual_patience", skip_serializing_if = "is_usual_patience", with = "never")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "never::schema"))]
    pub expect_gradients_within: Option<u64>,
    /// Delays the signals of controllers by one update, so that the device does not wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delay_signals: bool,
    /// Averages of the weights; if several select a parameter, the last one counts.
    #[serde(default, rename = "average", skip_serializing_if = "Vec::is_empty")]
    pub averages: Vec<Average>,
    /// Which weights are evaluated: "average" or "raw".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_with: Option<Weights>,
    /// Averages running statistics like the weights.
    #[serde(default, skip_serializing_if = "is_default")]
    pub average_statistics: bool,
    /// The text that it was read from.
    #[serde(skip)]
    source: Option<Arc<Source>>,
}

fn current_version() -> u32 {
    VERSION
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The default of `expect_gradients_within`.
const GRADIENTS_WITHIN: u64 = 100;

fn usual_patience() -> Option<u64> {
    Some(GRADIENTS_WITHIN)
}

pub(crate) fn is_usual_patience(updates: &Option<u64>) -> bool {
    *updates == usual_patience()
}

/// A number, or "never".
mod never {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Within {
        Updates(u64),
        Word(String),
    }

    pub fn serialize<S: Serializer>(updates: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match updates {
            Some(updates) => to.serialize_u64(*updates),
            None => to.serialize_str("never"),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        match Within::deserialize(from) {
            Ok(Within::Updates(updates)) => Ok(Some(updates)),
            Ok(Within::Word(word)) if word == "never" => Ok(None),
            _ => Err(D::Error::custom("allowed: a number of updates, or \"never\"")),
        }
    }

    #[cfg(feature = "schema")]
    pub fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "minimum": 1, "pattern": "^never$" })
    }
}

impl TrainingConfig {
    /// A training with a schedule, and defaults for all other fields.
    pub fn new(schedule: impl Into<ScheduleConfig>) -> Self {
        Self {
            version: VERSION,
            schedule: schedule.into(),
            weight_decay: None,
            no_weight_decay: Selection::none(),
            momentum: None,
            rate_drop: None,
            groups: None,
            clip_global_norm: None,
            gradient_reduction: GradientReduction::Sum,
            half_precision: None,
            loss_scaling: None,
            overflow_cap: None,
            controllers: vec![],
            rate_floor: None,
            on_skip: None,
            not_finite: NotFinite::Report,
            expect_gradients_within: usual_patience(),
            delay_signals: false,
            averages: vec![],
            evaluate_with: None,
            average_statistics: false,
            source: None,
        }
    }

    /// Reads a description from a `.toml` or `.json` file.
    ///
    /// # Errors
    /// [`FileError`] with file, line and column; for an unknown key, with the nearest known one.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::from_source(Source::read(path)?)
    }

    /// Reads a description from TOML text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        Self::from_source(Source::toml("toml", text))
    }

    /// Reads a description from JSON text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        Self::from_source(Source::json("json", text))
    }

    /// Reads a description from the text of a file; see [`load`](Self::load).
    pub fn from_source(source: Source) -> Result<Self, FileError> {
        let config: Self = source.parse_versioned()?;
        if let Some(groups) = &config.groups {
            source.check_version(groups.version)?;
        }
        Ok(Self { source: Some(Arc::new(source)), ..config })
    }

    /// Writes this description as TOML.
    ///
    /// # Errors
    /// [`FileError::Write`] if layers come from a closure.
    pub fn to_toml(&self) -> Result<String, FileError> {
        file::to_toml(self)
    }

    /// Writes this description as TOML for people to read: schedules as text, and only what differs from the defaults.
    ///
    /// ```
    /// use anneal_config::TrainingConfig;
    /// use anneal_schedule::prelude::*;
    /// let mut training = TrainingConfig::new(cosine(3e-4).warmup(Span::steps(500)));
    /// training.clip_global_norm = Some(1.0);
    /// let text = "schedule = \"cosine(0.0003).warmup(500)\"\nclip_global_norm = 1.0\n";
    /// assert_eq!(training.to_concise_toml()?, text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn to_concise_toml(&self) -> Result<String, FileError> {
        concise::toml(self).map_or_else(|| self.to_toml(), Ok)
    }

    /// Writes this description as JSON.
    ///
    /// # Errors
    /// [`FileError::Write`] if layers come from a closure.
    pub fn to_json(&self) -> Result<String, FileError> {
        file::to_json(self)
    }

    /// The [`groups`](Self::groups) with the settings for the whole model. `None` if neither is given.
    ///
    /// # Errors
    /// [`ConfigError::GivenTwice`] for a part given in both places.
    pub fn all_groups(&self) -> Result<Option<GroupsConfig>, ConfigError> {
        let own = self.groups.clone().unwrap_or_default();
        let (whole, inside) = (self, &own);
        let said = [
            ("weight_decay", whole.weight_decay.is_some(), inside.weight_decay.is_some()),
            (
                "no_weight_decay",
                !whole.no_weight_decay.is_none(),
                !inside.no_weight_decay.is_none(),
            ),
            ("momentum", whole.momentum.is_some(), inside.momentum.is_some()),
            ("rate_drop", whole.rate_drop.is_some(), inside.rate_drop.is_some()),
        ];
        if let Some((part, ..)) = said.iter().find(|(_, whole, inside)| *whole && *inside) {
            return Err(ConfigError::GivenTwice { part });
        }
        if self.groups.is_none() && said.iter().all(|(_, whole, _)| !whole) {
            return Ok(None);
        }
        let no_weight_decay = match whole.no_weight_decay.is_none() {
            true => own.no_weight_decay,
            false => whole.no_weight_decay.clone(),
        };
        Ok(Some(GroupsConfig {
            weight_decay: whole.weight_decay.clone().or(own.weight_decay),
            no_weight_decay,
            momentum: whole.momentum.clone().or(own.momentum),
            rate_drop: whole.rate_drop.or(own.rate_drop),
            ..own
        }))
    }

    /// Checks everything that needs no model, for a run of this length.
    ///
    /// # Errors
    /// [`ConfigError`] names the field, the value, and what is allowed.
    pub fn check(&self, run: RunLength) -> Result<(), ConfigError> {
        let resolved = run.resolve().map_err(ConfigError::Run)?;
        self.schedule.clone().resolve(run).map_err(ConfigError::Schedule)?;
        if let Some(groups) = self.all_groups()? {
            groups.check(run).map_err(ConfigError::Groups)?;
        }
        let positive = |value: f64| value > 0.0 && value.is_finite();
        for (field, value) in
            [("clip_global_norm", self.clip_global_norm), ("rate_floor", self.rate_floor)]
        {
            let ok = value.is_none_or(positive);
            OutOfRange::require(field, value.unwrap_or(0.0), ok, "a finite number above 0")?;
        }
        let within = self.expect_gradients_within;
        let allowed = "at least 1, or \"never\"";
        OutOfRange::require("expect_gradients_within", 0, within != Some(0), allowed)?;
        if let Some(half) = &self.half_precision {
            half.except.check("half_precision.except").map_err(ConfigError::Groups)?;
            if self.loss_scaling.is_some() {
                return Err(ConfigError::ScalingTwice);
            }
        }
        let of_half = self.half_precision.as_ref().and_then(|half| half.loss_scaling);
        for (field, scaling) in
            [("loss_scaling", self.loss_scaling), ("half_precision.loss_scaling", of_half)]
        {
            let built = scaling.map_or(Ok(()), |scaling| scaling.build().map(drop));
            built.map_err(|error| error.inside(field))?;
        }
        if let Some(cap) = self.overflow_cap {
            cap.build().map_err(|error| error.inside("overflow_cap"))?;
        }
        let scales = self.loss_scaling.or(of_half).is_some();
        if scales && self.not_finite != NotFinite::Report {
            return Err(ConfigError::GuardedTwice);
        }
        if let NotFinite::Skip { most } = self.not_finite {
            FiniteGuard::skip(most).map_err(|error| error.inside("not_finite.skip"))?;
        }
        check_names(self.controllers.iter().map(|controller| controller.name.as_str()))?;
        for controller in &self.controllers {
            let built = controller.scoped().build(&resolved);
            built.map_err(|error| ConfigError::Controller {
                controller: controller.name.clone(),
                error,
            })?;
        }
        for (index, average) in self.averages.iter().enumerate() {
            let resolved = average.resolve(&resolved);
            resolved.map_err(|error| ConfigError::Average { index, error })?;
        }
        Ok(())
    }

    /// The place of a field in the file that this was read from, for example `train.toml:4:8`; `None` if there is no
    /// file, or the file does not have the field.
    ///
    /// Fields have the names that errors give them, for example `layer_decay`, `groups.head.multiple` or
    /// `controller.plateau.factor`.
    pub fn locate(&self, field: &str) -> Option<String> {
        let source = self.source.as_ref()?;
        let place = source.locate(&self.place_of(field)?);
        // What the file does not have is located at its beginning.
        let (line, column) = Some(place).filter(|place| *place != source.locate(""))?;
        Some(format!("{}:{line}:{column}", source.origin()))
    }

    /// The path of a field in the file.
    fn place_of(&self, field: &str) -> Option<String> {
        if let Some(rest) = field.strip_prefix("controller.") {
            let all = self.controllers.iter().enumerate();
            // Of `a` and `a.b` the longer name.
            let found = all.filter_map(|(index, controller)| {
                let rest = rest.strip_prefix(&controller.name)?.strip_prefix('.')?;
                let kind = controller.rule.kind();
                let place = match rest {
                    "name" | "group" | "after" | "until" | "at_end" => {
                        format!("controller[{index}].{rest}")
                    }
                    rest => format!("controller[{index}].rule.{kind}.{rest}"),
                };
                Some((controller.name.len(), place))
            });
            let found = found.max().map(|(_, place)| place);
            return found;
        }
        let of_whole = |name: &str| match name {
            "weight_decay" => self.weight_decay.is_some(),
            "no_weight_decay" => !self.no_weight_decay.is_none(),
            "momentum" => self.momentum.is_some(),
            "rate_drop" => self.rate_drop.is_some(),
            "layer_decay" | "minimum_scale" | "layer_scales" | "layers" | "unfreeze_every"
            | "unfreeze_layers_at" | "caps" | "groups" => false,
            _ => true,
        };
        let first = field.split(['.', '[']).next().unwrap_or(field);
        if of_whole(first) {
            return Some(field.to_string());
        }
        let groups = self.groups.as_ref()?;
        match field {
            "groups" => Some(field.to_string()),
            _ => Some(format!("groups.{}", groups.place_of(field))),
        }
    }
}

impl<S: Into<ScheduleConfig>> From<S> for TrainingConfig {
    fn from(schedule: S) -> Self {
        Self::new(schedule)
    }
}

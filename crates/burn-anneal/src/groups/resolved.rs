//! The checked and resolved groups of a model.

use super::freeze::batch_norm_flags;
use super::precision::lost_decays;
use super::resolve::resolve;
use super::{Explanation, GroupError, GroupsConfig, Parameter, parameters};
use anneal_control::{Answer, Decision};
use anneal_schedule::decay::peak_rate;
use anneal_schedule::{RateDrop, RunLength, Schedule, Shrinkage, WeightDecay};
use burn::module::Module;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The groups of a model's parameters, made by [`ResolveGroups::resolve`].
///
/// Every trained parameter is in exactly one group. All methods are pure functions of the step; cloning is
/// cheap.
#[derive(Clone, Debug)]
pub struct Groups {
    pub(crate) table: Arc<Table>,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub groups: Vec<ResolvedGroup>,
    /// The group of each trained parameter.
    pub of_path: HashMap<String, usize>,
    /// The group of each batch norm that may update its statistics, by the path of its flag.
    pub of_flag: HashMap<String, usize>,
    pub base: Schedule,
    /// Its description.
    pub config: GroupsConfig,
    pub run: RunLength,
    pub rate_drop: RateDrop,
    /// The weight-decay setting, if any, for which the optimizer must not have its own decay.
    pub said_of_decay: Option<String>,
    pub freeze_statistics: bool,
    /// Settings without effect, and parameters that no pattern of a layer matches.
    pub notes: Vec<String>,
    /// The modules that are no layer of the tree.
    pub joined: Option<String>,
    /// Parameters that the model itself does not train, for example running statistics.
    pub untrained: usize,
}

/// A group of parameters with the same settings.
#[derive(Debug)]
pub(crate) struct ResolvedGroup {
    pub name: String,
    /// The names that it shares with other groups: its own without `, no decay`, and that of the group as
    /// described.
    pub shared_names: Vec<String>,
    pub layer: Option<usize>,
    pub rate: Rate,
    /// The scale of its layer.
    pub scale: f64,
    pub cap: Option<f64>,
    /// The first update that trains it; `None` if it never trains.
    pub trains_from: Option<u64>,
    /// The configured decay, and its share at each update.
    pub weight_decay: WeightDecay,
    pub shrinkage: Shrinkage,
    pub momentum: Option<Schedule>,
    pub paths: Vec<String>,
    pub elements: usize,
}

#[derive(Debug)]
pub(crate) enum Rate {
    Multiple(f64),
    Own(Box<Schedule>),
}

impl ResolvedGroup {
    /// Its own name, and the names that it shares, the most specific first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name].into_iter().chain(&self.shared_names).map(String::as_str)
    }

    /// The rate of update `step` before the cap; `base` is the rate of the run's schedule.
    pub fn uncapped(&self, base: f64, step: u64) -> f64 {
        match &self.rate {
            Rate::Multiple(multiple) => base * multiple * self.scale,
            Rate::Own(schedule) => schedule.rate(step) * self.scale,
        }
    }

    pub fn rate(&self, base: f64, step: u64) -> f64 {
        let rate = self.uncapped(base, step);
        self.cap.map_or(rate, |cap| rate.min(cap))
    }

    /// Its rate after controllers.
    pub fn decided(&self, answer: &Answer, base: f64, step: u64) -> f64 {
        answer.rate(self.rate(base, step)).min(self.cap.unwrap_or(f64::INFINITY))
    }

    /// The share of each weight that its decay removes while it trains.
    pub fn shrink(&self, base: f64, step: u64) -> f64 {
        self.shrinkage.at(step, self.rate(base, step))
    }

    pub fn is_frozen(&self, step: u64) -> bool {
        self.trains_from.is_none_or(|from| step < from)
    }

    /// Its largest rate, or an upper bound of it; see [`peak_rate`].
    pub fn peak(&self, base: &Schedule) -> f64 {
        let peak = match &self.rate {
            Rate::Multiple(multiple) => peak_rate(base) * multiple,
            Rate::Own(schedule) => peak_rate(schedule),
        };
        self.cap.map_or(peak * self.scale, |cap| (peak * self.scale).min(cap))
    }
}

/// Resolves a [`GroupsConfig`] into the groups of a model.
pub trait ResolveGroups {
    /// Resolves the description for a model on an autodiff device and a run.
    ///
    /// ```
    /// use burn::nn::LinearConfig;
    /// use burn::tensor::Device;
    /// use burn_anneal::groups::layer_decay;
    /// use burn_anneal::prelude::*;
    ///
    /// let run = RunLength::updates(10);
    /// let model = (LinearConfig::new(4, 8), LinearConfig::new(8, 2));
    /// let device = Device::default().autodiff();
    /// let model = vec![model.0.init(&device), model.1.init(&device)];
    /// let groups = layer_decay(0.5).resolve(&model, &constant(0.1).resolve(run)?, run)?;
    /// assert_eq!(groups.rate_of("0.weight", 0), Some(0.05));
    /// assert_eq!(groups.rate_of("1.weight", 0), Some(0.1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GroupError`] names the field, the pattern or the group, and the paths nearest to it.
    fn resolve<M: Module>(
        &self,
        model: &M,
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<Groups, GroupError>;

    /// Like [`resolve`](Self::resolve), for parameters with known paths and shapes only: to see the groups
    /// of another library's model.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn resolve_parameters(
        &self,
        parameters: &[Parameter],
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<Groups, GroupError>;
}

impl ResolveGroups for GroupsConfig {
    fn resolve<M: Module>(
        &self,
        model: &M,
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<Groups, GroupError> {
        resolve_for(self, model, false, schedule, run)
    }

    fn resolve_parameters(
        &self,
        parameters: &[Parameter],
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<Groups, GroupError> {
        Ok(Groups { table: Arc::new(resolve(self, parameters, schedule, run)?) })
    }
}

/// Like [`ResolveGroups::resolve`]; half-precision weights may have `masters` in f32.
pub(crate) fn resolve_for<M: Module>(
    config: &GroupsConfig,
    model: &M,
    masters: bool,
    schedule: &Schedule,
    run: RunLength,
) -> Result<Groups, GroupError> {
    let mut table = resolve(config, &parameters(model), schedule, run)?;
    table.of_flag = batch_norm_flags(model, &table.of_path);
    if !masters {
        table.notes.extend(lost_decays(model, &table));
    }
    if let Some(said) = &table.said_of_decay
        && table.groups.iter().all(|group| group.shrinkage.is_none())
    {
        table.notes.push(format!("{said}, but no parameter decays"));
    }
    table.notes.iter().for_each(|note| log::warn!("{note}"));
    Ok(Groups { table: Arc::new(table) })
}

/// The indices of the groups with this name, own or shared, which is given in `field`.
pub(super) fn groups_named(
    groups: &[ResolvedGroup],
    field: &str,
    name: &str,
) -> Result<Vec<usize>, GroupError> {
    let is_named = |index: &usize| groups[*index].names().any(|one| one == name);
    let found: Vec<usize> = (0..groups.len()).filter(is_named).collect();
    let names = || groups.iter().map(|group| group.name.clone()).collect();
    match found.is_empty() {
        true => Err(GroupError::UnknownGroup {
            field: field.into(),
            name: name.into(),
            groups: names(),
        }),
        false => Ok(found),
    }
}

impl Groups {
    /// The run's schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.table.base
    }

    /// The names of the groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.table.groups.iter().map(|group| group.name.as_str())
    }

    /// The rate of each group at update `step`, in the order of [`names`](Self::names); a frozen group has
    /// the rate that it would train with.
    pub fn rates(&self, step: u64) -> impl Iterator<Item = f64> {
        let base = self.table.base.rate(step);
        self.table.groups.iter().map(move |group| group.rate(base, step))
    }

    /// The rate of each group at update `step` after controllers: 0 if it is frozen or the update is skipped.
    pub(crate) fn decided(&self, decision: &Decision, step: u64) -> Vec<f64> {
        let base = self.table.base.rate(step);
        let rate = |(index, group): (usize, &ResolvedGroup)| match decision.answer.skip.is_some()
            || group.is_frozen(step)
        {
            true => 0.0,
            false => group.decided(&decision.of(index), base, step),
        };
        self.table.groups.iter().enumerate().map(rate).collect()
    }

    /// The group of the parameter with this path.
    pub fn group_of(&self, path: &str) -> Option<&str> {
        self.table.of_path.get(path).map(|&group| self.table.groups[group].name.as_str())
    }

    /// The own name of each group, and the names that it shares.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.table.groups.iter().map(ResolvedGroup::names)
    }

    /// The indices of the groups with this name, own or shared, which is given in `field`.
    pub(crate) fn named(&self, field: &str, name: &str) -> Result<Vec<usize>, GroupError> {
        groups_named(&self.table.groups, field, name)
    }

    /// The rate of the parameter with this path at update `step`; `None` if it does not train then.
    pub fn rate_of(&self, path: &str, step: u64) -> Option<f64> {
        let group = &self.table.groups[*self.table.of_path.get(path)?];
        (!group.is_frozen(step)).then(|| group.rate(self.table.base.rate(step), step))
    }

    /// Explains each group at update `step`, as a table or as JSON.
    pub fn explain(&self, step: u64) -> Explanation {
        Explanation::new(&self.table, step)
    }

    /// The groups of parameters that were added in mid-run, resolved from `all` parameters of the model.
    pub(crate) fn of_new(&self, all: &[Parameter]) -> Result<HashMap<String, usize>, GroupError> {
        let Table { config, base, run, groups, .. } = &*self.table;
        let now = resolve(config, all, base, *run)?;
        let is_new = |path: &&String| !self.table.of_path.contains_key(*path);
        let mut found = HashMap::new();
        for path in now.of_path.keys().filter(is_new) {
            let name = &now.groups[now.of_path[path]].name;
            let group = groups.iter().position(|group| group.name == *name);
            let unknown = || GroupError::UnknownGroup {
                field: path.clone(),
                name: name.clone(),
                groups: groups.iter().map(|group| group.name.clone()).collect(),
            };
            found.insert(path.clone(), group.ok_or_else(unknown)?);
        }
        Ok(found)
    }

    /// The groups that start late and train at `step`.
    pub(crate) fn late_until(&self, step: u64) -> impl Iterator<Item = String> {
        let late = move |group: &&ResolvedGroup| {
            group.trains_from.is_some_and(|from| from > 0 && from <= step)
        };
        self.table.groups.iter().filter(late).map(|group| group.name.clone())
    }

    /// Keeps groups that thawed in an earlier run trained, and names those that would have been frozen again.
    pub(crate) fn keep_thawed(&mut self, thawed: &[String], step: u64) -> Vec<String> {
        let mut kept = vec![];
        let table =
            Arc::get_mut(&mut self.table).expect("groups that were just made are not shared");
        for group in &mut table.groups {
            let is_frozen_again = group.trains_from.is_some_and(|from| from > step);
            if is_frozen_again && thawed.contains(&group.name) {
                group.trains_from = Some(0);
                kept.push(group.name.clone());
            }
        }
        kept
    }

    /// A hash of everything resolved except the run's schedule, the same on every machine. A custom loop saves
    /// it with the update, to check on resuming that the groups are the same. A learner of
    /// [`LearnerBuilder`](crate::LearnerBuilder) saves it automatically.
    pub fn fingerprint(&self) -> u64 {
        let Table { freeze_statistics, rate_drop, .. } = &*self.table;
        let mut text = format!("{freeze_statistics} {rate_drop:?}\n");
        for group in &self.table.groups {
            let rate = match &group.rate {
                Rate::Multiple(multiple) => format!("{multiple:?}"),
                Rate::Own(schedule) => schedule.to_string(),
            };
            let ResolvedGroup { name, scale, cap, trains_from, shrinkage, paths, .. } = group;
            let momentum = group.momentum.as_ref().map(Schedule::to_string);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name} {rate} {scale:?} {cap:?} {trains_from:?} {shrinkage} {momentum:?} {paths:?}"
            );
        }
        xxh3_64(text.as_bytes())
    }
}

//! Resolves a description of groups into the groups of a model.

use super::resolved::{Rate, ResolvedGroup, Table, groups_named};
use super::{Group, GroupError, GroupsConfig, LayerMap, Layers, Parameter};
use anneal_config::{and_more, check_names, momentum_schedule, update_at};
use anneal_schedule::{RateDrop, Run, RunLength, Schedule, ScheduleExt, Shrinkage, WeightDecay};
use std::collections::{HashMap, HashSet};

/// What the parameters of one group have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    layer: Option<usize>,
    group: Option<usize>,
    decays: bool,
}

pub(crate) fn resolve(
    config: &GroupsConfig,
    all: &[Parameter],
    schedule: &Schedule,
    run: RunLength,
) -> Result<Table, GroupError> {
    let trained: Vec<Parameter> = all.iter().filter(|p| p.trainable).cloned().collect();
    if trained.is_empty() {
        return Err(GroupError::NoParameters { parameters: all.len() });
    }
    config.check(run)?;
    let resolution = Resolution {
        layers: layers(config, &trained)?,
        named: named_groups(config, &trained)?,
        undecayed: config.no_weight_decay.named("no_weight_decay", &trained)?,
        parameters: trained,
        config,
        schedule,
        run_length: run,
        run: schedule.run(),
    };
    let (groups, of_path) = resolution.groups()?;
    if groups.iter().all(|group| group.is_frozen(0)) {
        return Err(GroupError::NothingTrains);
    }
    Ok(Table {
        notes: resolution.stray(&groups, &of_path).into_iter().collect(),
        joined: resolution.joined(),
        groups,
        of_path,
        of_flag: HashMap::new(),
        base: schedule.clone(),
        config: config.clone(),
        run,
        rate_drop: config.rate_drop.unwrap_or(RateDrop::keep()),
        said_of_decay: said_of_decay(config),
        freeze_statistics: config.freeze_statistics,
        untrained: all.len() - resolution.parameters.len(),
    })
}

fn layers(config: &GroupsConfig, trained: &[Parameter]) -> Result<Option<Layers>, GroupError> {
    if !config.uses_layers() {
        return Ok(None);
    }
    let layers = config.layers.clone().unwrap_or_else(LayerMap::from_tree).layers(trained)?;
    if config.strict_layers && !layers.unmatched.is_empty() {
        let patterns = config.layers.iter().flat_map(LayerMap::patterns);
        return Err(GroupError::Unmatched {
            paths: layers.unmatched.iter().map(|&i| trained[i].path.clone()).collect(),
            patterns: patterns.map(|pattern| pattern.pattern.clone()).collect(),
        });
    }
    if let [only] = &layers.names[..] {
        log::warn!(
            "groups: all parameters are in one layer, `{only}`, so settings of layers have no \
             effect; name the layers with LayerMap::from_patterns"
        );
    }
    Ok(Some(layers))
}

/// The named group of each parameter.
fn named_groups(
    config: &GroupsConfig,
    trained: &[Parameter],
) -> Result<Vec<Option<usize>>, GroupError> {
    let mut of: Vec<Option<usize>> = vec![None; trained.len()];
    for (index, group) in config.groups.iter().enumerate() {
        let selected = group.select.named(&format!("groups.{}.select", group.name), trained)?;
        let free = (0..trained.len()).filter(|&i| selected[i] && of[i].is_none());
        let free: Vec<usize> = free.collect();
        if free.is_empty() {
            return Err(empty(config, group, &selected, &of));
        }
        free.into_iter().for_each(|i| of[i] = Some(index));
    }
    let ungrouped: Vec<&Parameter> =
        trained.iter().zip(&of).filter(|(_, group)| group.is_none()).map(|(p, _)| p).collect();
    if config.groups.is_empty() || config.uses_layers() || ungrouped.is_empty() {
        return Ok(of);
    }
    Err(GroupError::Ungrouped {
        count: ungrouped.len(),
        first: ungrouped.iter().take(3).map(|p| p.path.clone()).collect(),
    })
}

/// Why a group has no parameter.
fn empty(
    config: &GroupsConfig,
    group: &Group,
    selected: &[bool],
    of: &[Option<usize>],
) -> GroupError {
    match (0..of.len()).find_map(|i| of[i].filter(|_| selected[i])) {
        Some(before) => GroupError::Empty {
            group: group.name.clone(),
            before: config.groups[before].name.clone(),
        },
        None => GroupError::NoMatch {
            field: format!("groups.{}.select", group.name),
            pattern: group.select.to_string(),
            nearest: vec![],
        },
    }
}

/// The first setting of weight decay in a description.
fn said_of_decay(config: &GroupsConfig) -> Option<String> {
    let of_groups = config.groups.iter().filter_map(|group| group.weight_decay.as_ref());
    let decays =
        of_groups.chain(&config.weight_decay).map(|decay| format!("weight_decay: {decay}"));
    let excluded = (!config.no_weight_decay.is_none())
        .then(|| format!("no_weight_decay: {}", config.no_weight_decay));
    decays.chain(excluded).next()
}

/// Everything that the groups are resolved from.
struct Resolution<'a> {
    config: &'a GroupsConfig,
    parameters: Vec<Parameter>,
    layers: Option<Layers>,
    named: Vec<Option<usize>>,
    undecayed: Vec<bool>,
    schedule: &'a Schedule,
    run_length: RunLength,
    run: Run,
}

impl Resolution<'_> {
    fn groups(&self) -> Result<(Vec<ResolvedGroup>, HashMap<String, usize>), GroupError> {
        let scales = self.scales()?;
        let starts = self.starts()?;
        let keys: Vec<Key> = (0..self.parameters.len()).map(|i| self.key(i)).collect();
        let present: HashSet<Key> = keys.iter().copied().collect();
        let mut distinct: Vec<Key> = present.iter().copied().collect();
        distinct.sort_by_key(|key| (key.layer, key.group, !key.decays));
        let mut groups = vec![];
        for key in &distinct {
            let layer = |per_layer: &[f64]| key.layer.map_or(1.0, |layer| per_layer[layer]);
            let start = key.layer.map_or(Some(0), |layer| Some(starts[layer]));
            groups.push(self.group(*key, &present, layer(&scales), start)?);
        }
        check_names(groups.iter().map(|group| group.name.as_str()))?;
        let index: HashMap<Key, usize> = distinct.iter().copied().zip(0..).collect();
        let mut of_path = HashMap::new();
        for (parameter, key) in self.parameters.iter().zip(keys) {
            let group = &mut groups[index[&key]];
            group.paths.push(parameter.path.clone());
            group.elements += parameter.elements();
            of_path.insert(parameter.path.clone(), index[&key]);
        }
        self.set_caps(&mut groups)?;
        for (group, key) in groups.iter_mut().zip(&distinct) {
            self.set_decay(group, *key)?;
        }
        Ok((groups, of_path))
    }

    /// The warning about parameters that no pattern of a layer matches, with their groups.
    fn stray(&self, groups: &[ResolvedGroup], of_path: &HashMap<String, usize>) -> Option<String> {
        let stray = self.layers.as_ref().map_or(&[][..], |layers| layers.stray());
        let named = stray.iter().map(|&parameter| {
            let path = &self.parameters[parameter].path;
            format!("`{path}` (group `{}`)", groups[of_path[path]].name)
        });
        let them = if stray.len() == 1 { "it" } else { "them" };
        (!stray.is_empty()).then(|| {
            format!(
                "layers: no pattern matches {}, so the last layer takes {them}, with the head's rate; add a \
                 pattern for {them} (a head needs one too, unless the model declares it last)",
                and_more(named)
            )
        })
    }

    /// Says which modules are no layer of the tree.
    fn joined(&self) -> Option<String> {
        let joined = &self.layers.as_ref()?.joined;
        let said = joined.iter().map(|(module, layer)| format!("`{module}` joins layer `{layer}`"));
        (!joined.is_empty()).then(|| and_more(said))
    }

    fn key(&self, parameter: usize) -> Key {
        let group = self.named[parameter];
        Key {
            layer: self.layers.as_ref().map(|layers| layers.of[parameter]),
            group,
            decays: !self.weight_decay(group).1.is_none() && !self.undecayed[parameter],
        }
    }

    /// The weight decay of a named group, or of parameters in none, and the field that sets it.
    fn weight_decay(&self, group: Option<usize>) -> (String, WeightDecay) {
        let named = group.map(|group| &self.config.groups[group]);
        match named.and_then(|group| Some((&group.name, group.weight_decay.clone()?))) {
            Some((name, own)) => (format!("groups.{name}.weight_decay"), own),
            None => ("weight_decay".into(), self.config.weight_decay.clone().unwrap_or_default()),
        }
    }

    /// The momentum of a named group, or of parameters in none.
    fn momentum(&self, group: Option<usize>) -> Result<Option<Schedule>, GroupError> {
        let named = group.map(|group| &self.config.groups[group]);
        let own = named.and_then(|group| Some((&group.name, group.momentum.as_ref()?)));
        let (field, config) = match (own, &self.config.momentum) {
            (Some((name, own)), _) => (format!("groups.{name}.momentum"), own),
            (None, Some(shared)) => ("momentum".into(), shared),
            (None, None) => return Ok(None),
        };
        momentum_schedule(&field, config, self.run_length).map(Some)
    }

    fn group(
        &self,
        key: Key,
        present: &HashSet<Key>,
        scale: f64,
        layer_start: Option<u64>,
    ) -> Result<ResolvedGroup, GroupError> {
        let named = key.group.map(|group| &self.config.groups[group]);
        let rate = match named.and_then(|group| group.schedule.as_ref().map(|own| (group, own))) {
            Some((group, own)) => {
                let field = format!("groups.{}.schedule", group.name);
                let own = own.clone().resolve(self.run_length);
                let own = own.map_err(|error| GroupError::Schedule { field, error })?;
                Rate::Own(Box::new(own))
            }
            None => Rate::Multiple(named.and_then(|group| group.multiple).unwrap_or(1.0)),
        };
        let trains_from = match named {
            Some(Group { frozen: true, .. }) => None,
            Some(Group { unfreeze_at: Some(position), name, .. }) => {
                Some(update_at(&format!("groups.{name}.unfreeze_at"), *position, &self.run)?)
            }
            _ => layer_start,
        };
        let (name, shared_names) = self.names(key, present);
        Ok(ResolvedGroup {
            name,
            shared_names,
            layer: key.layer,
            rate,
            scale,
            cap: None,
            trains_from,
            weight_decay: WeightDecay::none(),
            shrinkage: Shrinkage::none(),
            momentum: self.momentum(key.group)?,
            paths: vec![],
            elements: 0,
        })
    }

    /// `head`, `blocks.3`, `head blocks.3`, or `blocks.3, no decay` if another `blocks.3` decays; and the names
    /// that it shares with others.
    fn names(&self, key: Key, present: &HashSet<Key>) -> (String, Vec<String>) {
        let group = key.group.map(|group| self.config.groups[group].name.as_str());
        let layer =
            key.layer.zip(self.layers.as_ref()).map(|(layer, all)| all.names[layer].as_str());
        let mut parts: Vec<&str> = group.into_iter().chain(layer).collect();
        // If group and layer have the same name, it is used once.
        parts.dedup();
        let whole = if parts.is_empty() { "model".to_string() } else { parts.join(" ") };
        let has_decayed_twin = !key.decays && present.contains(&Key { decays: true, ..key });
        let name = if has_decayed_twin { format!("{whole}, no decay") } else { whole.clone() };
        let mut shared = vec![whole];
        shared.extend(group.map(String::from));
        shared.retain(|shared| *shared != name);
        (name, shared)
    }

    /// The scale of each layer's rate.
    fn scales(&self) -> Result<Vec<f64>, GroupError> {
        let Some(layers) = &self.layers else { return Ok(vec![]) };
        let count = layers.names.len();
        if let Some(scales) = &self.config.layer_scales {
            self.per_layer("layer_scales", scales.len())?;
            return Ok(scales.clone());
        }
        let decay = self.config.layer_decay.unwrap_or(1.0);
        let minimum = self.config.minimum_scale.unwrap_or(0.0);
        let scale = |layer: usize| decay.powf((count - 1 - layer) as f64).max(minimum);
        Ok((0..count).map(scale).collect())
    }

    /// The first update that trains each layer.
    fn starts(&self) -> Result<Vec<u64>, GroupError> {
        let Some(layers) = &self.layers else { return Ok(vec![]) };
        let count = layers.names.len();
        if let Some(positions) = &self.config.unfreeze_layers_at {
            self.per_layer("unfreeze_layers_at", positions.len())?;
            let update = |at: &_| update_at("unfreeze_layers_at", *at, &self.run);
            return positions.iter().map(update).collect();
        }
        let Some(every) = self.config.unfreeze_every else { return Ok(vec![0; count]) };
        let position = |layer: usize| every.times((count - 1 - layer) as u64);
        let update = |layer| update_at("unfreeze_every", position(layer), &self.run);
        (0..count).map(update).collect()
    }

    fn per_layer(&self, field: &str, found: usize) -> Result<(), GroupError> {
        match &self.layers {
            Some(layers) if layers.names.len() != found => Err(GroupError::LayerCount {
                field: field.into(),
                found,
                layers: layers.names.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn set_caps(&self, groups: &mut [ResolvedGroup]) -> Result<(), GroupError> {
        let caps = &self.config.caps;
        for name in caps.keys() {
            groups_named(groups, "caps", name)?;
        }
        for group in groups {
            let cap = group.names().find_map(|name| caps.get(name)).copied();
            group.cap = cap;
        }
        Ok(())
    }

    /// Sets the decay of a group, checked at the group's own rates after its cap.
    fn set_decay(&self, group: &mut ResolvedGroup, key: Key) -> Result<(), GroupError> {
        let (field, decay) = self.weight_decay(key.group);
        // Frozen weights do not shrink.
        let rate = |step| match group.is_frozen(step) {
            true => 0.0,
            false => group.rate(self.schedule.rate(step), step),
        };
        let peak = group.peak(self.schedule);
        let shrinkage = decay.resolve_for(&field, peak, rate, self.run_length)?;
        if key.decays {
            group.weight_decay = decay;
            group.shrinkage = shrinkage;
        }
        Ok(())
    }
}

//! torch's schedulers with a value for each group of parameters.

use super::report::Report;
use super::scheduler::{Given, say_unit, translation};
use super::{Options, TranslationError, wrong};
use crate::{ControllerConfig, Group, GroupsConfig, TrainingConfig};
use anneal_control::Scoped;
use anneal_schedule::WeightDecay;
use serde_json::Value;
use std::collections::BTreeSet;

/// Arguments that may have a value for each group.
const PER_GROUP: &[&str] =
    &["max_lr", "base_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum"];

/// The training of a scheduler with values for several groups; `None` if it has one value of each.
pub(super) fn training(
    given: &Given,
    options: &Options,
    report: &mut Report,
) -> Result<Option<TrainingConfig>, TranslationError> {
    let arguments =
        PER_GROUP.iter().filter_map(|&name| Some((name, given.arguments.get(name)?.as_array()?)));
    let base_lr = given.base_lr.as_ref().and_then(Value::as_array).map(|list| ("base_lr", list));
    let param_groups = given.param_groups.as_ref().and_then(Value::as_array);
    let lists: Vec<(&str, &Vec<Value>)> = param_groups
        .map(|groups| ("param_groups", groups))
        .into_iter()
        .chain(base_lr)
        .chain(arguments)
        .collect();
    let Some(&(first, list)) = lists.first() else { return Ok(None) };
    let count = list.len();
    for (name, list) in &lists {
        if list.len() != count || count == 0 {
            let allowed = format!("as many values as {first}, {count}, at least 1");
            return Err(wrong(&given.name, name, &list.len().into(), &allowed));
        }
    }
    let names = names(given, first, count, param_groups, options, report)?;
    let mut groups = GroupsConfig::new();
    let mut training: Option<TrainingConfig> = None;
    for index in 0..count {
        let mut arguments = given.arguments.clone();
        for name in PER_GROUP {
            if let Some(one) = given.arguments.get(*name).and_then(|list| list.get(index)) {
                arguments[*name] = one.clone();
            }
        }
        let of_group = param_groups.map(|groups| &groups[index]);
        let base = base_lr_of(given, of_group, index, options)?;
        let (translation, lengths) = translation("torch", &given.name, &arguments, base, options)?;
        if index == 0 {
            say_unit("torch", &given.name, &lengths, report);
            if translation.momentum.is_some() {
                report.note(format!(
                    "{} changes the momentum too; translate it for one group to see how",
                    given.name
                ));
            }
        }
        let training =
            training.get_or_insert_with(|| TrainingConfig::new(translation.rate.clone()));
        let name = names.get(index);
        if let Some(Scoped { rule, after, until, at_end, .. }) = translation.controller {
            let kind = rule.kind();
            let of = name.map_or_else(|| kind.to_string(), |(name, _)| format!("{kind} of {name}"));
            let mut controller = ControllerConfig::new(of, rule);
            controller.group = name.map(|(name, _)| name.clone());
            (controller.after, controller.until, controller.at_end) = (after, until, at_end);
            training.controllers.push(controller);
        }
        let Some((name, pattern)) = name else { continue };
        let mut group = Group::new(name, pattern.as_str()).schedule(translation.rate);
        if let Some(decay) = of_group.and_then(|group| group["weight_decay"].as_f64()) {
            group = group.weight_decay(decay);
        }
        groups = groups.group(group);
    }
    let Some(mut training) = training else { return Ok(None) };
    if let Some(groups) = param_groups {
        say_rest(groups, report);
    }
    if let [group] = param_groups.map_or(&[][..], Vec::as_slice)
        && let Some(decay) = group["weight_decay"].as_f64().filter(|&decay| decay > 0.0)
    {
        training.weight_decay = Some(WeightDecay::coupled(decay));
    }
    if count > 1 {
        training.groups = Some(groups);
    }
    Ok(Some(training))
}

/// Entries of a group of parameters that are the schedule's or the group's.
const READ: &[&str] = &[
    "name",
    "lr",
    "initial_lr",
    "weight_decay",
    "max_lr",
    "min_lr",
    "base_momentum",
    "max_momentum",
    "params",
];

/// Says which entries are the optimizer's.
fn say_rest(groups: &[Value], report: &mut Report) {
    let keys = groups.iter().filter_map(Value::as_object).flat_map(|group| group.keys());
    let rest: BTreeSet<&str> = keys.map(String::as_str).filter(|key| !READ.contains(key)).collect();
    if !rest.is_empty() {
        let rest = rest.into_iter().collect::<Vec<_>>().join(", ");
        report.note(format!("of param_groups, these are for the optimizer: {rest}"));
    }
}

/// The rate of the optimizer for a group.
fn base_lr_of(
    given: &Given,
    group: Option<&Value>,
    index: usize,
    options: &Options,
) -> Result<f64, TranslationError> {
    let of_list = given.base_lr.as_ref().and_then(|list| list.get(index).or(Some(list)));
    let of_group = group.and_then(|group| group.get("initial_lr").or(group.get("lr")));
    match of_list.or(of_group) {
        Some(value) => value
            .as_f64()
            .ok_or_else(|| wrong(&given.name, "base_lr", value, "a rate for each group")),
        None => super::scheduler::base_lr("torch", given, options),
    }
}

/// Names and patterns of the groups; none if there is only one group.
fn names(
    given: &Given,
    argument: &str,
    count: usize,
    param_groups: Option<&Vec<Value>>,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<(String, String)>, TranslationError> {
    if count == 1 {
        return Ok(vec![]);
    }
    if options.groups.len() == count {
        return Ok(options.groups.clone());
    }
    let own = param_groups.into_iter().flatten().filter_map(|group| group["name"].as_str());
    let own: Vec<&str> = own.collect();
    if own.len() == count && options.groups.is_empty() {
        report.note(format!(
            "each group has the parameters whose paths begin with its name in torch, {}: correct `select` where they are \
             called otherwise",
            own.join(", ")
        ));
        let pattern = |name: &&str| (name.to_string(), format!("^{}", regex::escape(name)));
        return Ok(own.iter().map(pattern).collect());
    }
    Err(TranslationError::Groups {
        name: given.name.clone(),
        argument: argument.to_string(),
        count,
        named: options.groups.len(),
    })
}

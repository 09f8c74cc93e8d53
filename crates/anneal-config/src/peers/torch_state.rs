//! torch's schedulers as their `state_dict()` has them.

use super::{Options, TranslationError};
use anneal_control::peers::PeerError;
use serde_json::{Map, Value, json};

/// The scheduler of a state, by an entry that only it has. Earlier lines count first.
const BY_ENTRY: &[(&str, &str)] = &[
    ("lr_lambdas", "LambdaLR"),
    ("_milestones", "SequentialLR"),
    ("_schedulers", "ChainedScheduler"),
    ("_schedule_phases", "OneCycleLR"),
    ("step_ratio", "CyclicLR"),
    ("T_0", "CosineAnnealingWarmRestarts"),
    ("T_max", "CosineAnnealingLR"),
    ("milestones", "MultiStepLR"),
    ("step_size", "StepLR"),
    ("start_factor", "LinearLR"),
    ("patience", "ReduceLROnPlateau"),
    ("power", "PolynomialLR"),
    ("factor", "ConstantLR"),
    ("swa_lrs", "SWALR"),
    ("gamma", "ExponentialLR"),
];

/// Entries that are arguments too.
const ARGUMENTS: &[&str] = &[
    "step_size",
    "gamma",
    "factor",
    "total_iters",
    "start_factor",
    "end_factor",
    "power",
    "T_max",
    "eta_min",
    "T_0",
    "T_mult",
    "patience",
    "cooldown",
    "threshold",
    "threshold_mode",
    "mode",
    "eps",
    "total_steps",
    "cycle_momentum",
];

/// A state as `{"name": …, "args": {…}}`; other values stay.
pub(super) fn arguments(value: Value, options: &Options) -> Result<Value, TranslationError> {
    let given = |key: &str| value.get(key).cloned();
    if let Some(state) = given("state_dict") {
        let name = given("name").or(options.name.clone().map(Value::from));
        let groups = given("param_groups");
        return named(name.as_ref().and_then(Value::as_str), &state, groups).map_err(Into::into);
    }
    let is_state = value.get("last_epoch").is_some()
        && (value.get("_last_lr").or(value.get("base_lrs"))).is_some();
    match is_state {
        true => {
            let inside = named(options.name.as_deref(), &value, None)?;
            // The name that was given apart stands within.
            Ok(if options.name.is_some() { inside["args"].clone() } else { inside })
        }
        false => Ok(value),
    }
}

/// The step of a state that is not the first one.
pub(super) fn step(value: &Value) -> Option<u64> {
    let step = value.get("state_dict").unwrap_or(value).get("last_epoch")?;
    step.as_u64().filter(|&step| step > 0)
}

fn named(
    name: Option<&str>,
    state: &Value,
    param_groups: Option<Value>,
) -> Result<Value, PeerError> {
    let found = BY_ENTRY.iter().find(|known| state.get(known.0).is_some()).map(|known| known.1);
    let name = name.or(found).unwrap_or_default();
    let mut arguments: Map<String, Value> = state
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| ARGUMENTS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    match name {
        "MultiStepLR" => {
            arguments.insert("milestones".into(), milestones(&state["milestones"]));
        }
        "CyclicLR" => cyclic(state, &mut arguments),
        "OneCycleLR" => one_cycle(name, state, param_groups.as_ref(), &mut arguments)?,
        "SequentialLR" | "ChainedScheduler" => {
            let inner = state["_schedulers"].as_array().into_iter().flatten();
            let inner: Vec<Value> =
                inner.map(|state| named(None, state, None)).collect::<Result<_, _>>()?;
            let inner: Vec<Value> = inner
                .into_iter()
                .map(|one| json!({ "name": one["name"], "args": one["args"] }))
                .collect();
            arguments.insert("schedulers".into(), inner.into());
            if name == "SequentialLR" {
                arguments.insert("milestones".into(), state["_milestones"].clone());
            }
        }
        "ReduceLROnPlateau" => {
            arguments.insert("min_lr".into(), state["min_lrs"].clone());
        }
        _ => {}
    }
    let mut named = json!({ "name": name, "args": arguments });
    let inner = state["_schedulers"].get(0);
    let base_lrs = state.get("base_lrs").or_else(|| inner?.get("base_lrs"));
    let own_rates = matches!(name, "CyclicLR" | "OneCycleLR");
    match base_lrs.and_then(Value::as_array).map(Vec::as_slice) {
        _ if own_rates || param_groups.is_some() => {}
        Some([one]) => named["base_lr"] = one.clone(),
        Some(several) => named["base_lr"] = several.into(),
        None => {}
    }
    if let Some(groups) = param_groups {
        named["param_groups"] = groups;
    }
    Ok(named)
}

/// A milestone may be passed several times: `{"30": 1, "80": 2}`.
fn milestones(counted: &Value) -> Value {
    let Some(counted) = counted.as_object() else { return counted.clone() };
    let times = |(at, count): (&String, &Value)| {
        let at: Value = at.parse::<u64>().map_or_else(|_| at.as_str().into(), Value::from);
        vec![at; count.as_u64().unwrap_or(1).min(1_000) as usize]
    };
    counted.iter().flat_map(times).collect()
}

fn cyclic(state: &Value, arguments: &mut Map<String, Value>) {
    if let (Some(total), Some(ratio)) = (state["total_size"].as_f64(), state["step_ratio"].as_f64())
    {
        let up = total * ratio;
        arguments.insert("step_size_up".into(), up.into());
        arguments.insert("step_size_down".into(), (total - up).into());
    }
    for (entry, argument) in [
        ("base_lrs", "base_lr"),
        ("max_lrs", "max_lr"),
        ("base_momentums", "base_momentum"),
        ("max_momentums", "max_momentum"),
        ("_gamma", "gamma"),
    ] {
        if let Some(value) = state.get(entry) {
            arguments.insert(argument.into(), value.clone());
        }
    }
}

/// Its rates stand in the groups of the optimizer.
fn one_cycle(
    name: &str,
    state: &Value,
    param_groups: Option<&Value>,
    arguments: &mut Map<String, Value>,
) -> Result<(), PeerError> {
    let missing = || {
        PeerError::Missing {
        name: name.to_string(),
        argument: "param_groups",
        allowed: "given beside the state, as {\"state_dict\": …, \"param_groups\": optimizer.param_groups}: there torch \
                  keeps max_lr, initial_lr and min_lr"
            .into(),
    }
    };
    let groups = param_groups
        .and_then(Value::as_array)
        .filter(|groups| !groups.is_empty())
        .ok_or_else(missing)?;
    let number = |group: &Value, key: &str| group[key].as_f64().ok_or_else(missing);
    let mut max_lr = vec![];
    for group in groups {
        max_lr.push(number(group, "max_lr")?);
    }
    let (first, top) = (&groups[0], max_lr[0]);
    let (start, end) = (number(first, "initial_lr")?, number(first, "min_lr")?);
    arguments.insert("max_lr".into(), max_lr.into());
    arguments.insert("div_factor".into(), (top / start).into());
    arguments.insert("final_div_factor".into(), (start / end).into());
    for key in ["base_momentum", "max_momentum"] {
        if let Some(momentum) = first.get(key) {
            arguments.insert(key.into(), momentum.clone());
        }
    }
    let phases = state["_schedule_phases"].as_array().map_or(&[][..], Vec::as_slice);
    arguments.insert("three_phase".into(), (phases.len() == 3).into());
    let turn = phases.first().and_then(|phase| phase["end_step"].as_f64());
    if let Some((turn, total)) = turn.zip(state["total_steps"].as_f64()) {
        arguments.insert("pct_start".into(), ((turn + 1.0) / total).into());
    }
    if let Some(anneal) = state.get("_anneal_func_type") {
        arguments.insert("anneal_strategy".into(), anneal.clone());
    }
    Ok(())
}

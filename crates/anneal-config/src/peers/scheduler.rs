//! A single scheduler: its name and arguments, as users have them.

use super::groups;
use super::report::Report;
use super::units::{PerEpoch, has_lengths, once_per_epoch};
use super::{ALLOWED, Options, TranslatedConfig, TranslationError, Unit, filling};
use super::{call, fastai, input, keras, torch_state};
use crate::{ControllerConfig, TrainingConfig};
use anneal_control::Scoped;
use anneal_control::peers::{self, PeerError, Translation};
use anneal_schedule::{RunLength, Span};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A scheduler and what stands beside its arguments.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) arguments: Value,
    pub(super) base_lr: Option<Value>,
    /// torch's groups of parameters.
    pub(super) param_groups: Option<Value>,
}

/// A scheduler that is named beside its arguments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(alias = "kwargs")]
    args: Option<Value>,
    base_lr: Option<Value>,
    peer: Option<String>,
    param_groups: Option<Value>,
}

pub(super) fn translate(
    peer: &str,
    text: &str,
    options: &Options,
) -> Result<TranslatedConfig, TranslationError> {
    let translated = read(peer, text, options)?;
    match translated.training.groups.is_none() && !options.groups.is_empty() {
        true => {
            let option = "names of groups: it has one value for all parameters";
            Err(TranslationError::NotUsed { from: peer.to_string(), option })
        }
        false => Ok(translated),
    }
}

fn read(peer: &str, text: &str, options: &Options) -> Result<TranslatedConfig, TranslationError> {
    if text.trim().is_empty() {
        return Err(TranslationError::Empty { allowed: ALLOWED });
    }
    let value = match call::read(text)? {
        Some(call) => call,
        None => input::json(text, "; allowed: {\"step_size\": 30}, or StepLR(step_size=30)")?,
    };
    if let Some(&looks_like) = super::looks_like(&value).first().filter(|&&kind| kind != peer) {
        return Err(TranslationError::OtherKind { from: peer.to_string(), looks_like });
    }
    if peer == "keras"
        && let Some(whole) = keras::optimizer(&value, options)?
    {
        return Ok(whole);
    }
    let mut report = Report::default();
    if let Some(step) = torch_state::step(&value).filter(|_| peer == "torch") {
        report.note(format!("the state is of step {step}; the schedule begins at update 0, and resuming continues it"));
    }
    let given = Given::read(peer, value, options)?;
    if peer == "fastai"
        && let Some(fit) = fastai::fit(&given, options)?
    {
        return Ok(fit);
    }
    if peer == "torch"
        && let Some(training) = groups::training(&given, options, &mut report)?
    {
        return Ok(TranslatedConfig::new(training, report));
    }
    let base_lr = base_lr(peer, &given, options)?;
    let (translation, unit) = translation(peer, &given.name, &given.arguments, base_lr, options)?;
    say_unit(peer, &given.name, &unit, &mut report);
    let mut translation = translation;
    if let Some(updates) = updates_of(peer, &given.arguments) {
        report.note(format!("run: {updates} updates, RunLength::updates({updates})"));
        translation.rate = filling(translation.rate, RunLength::updates(updates));
    }
    let momentum = translation.momentum.clone();
    if momentum.is_some() {
        report.note(format!(
            "{} changes the momentum too: it is apart, because it needs an optimizer that follows it",
            given.name
        ));
    }
    let mut translated = TranslatedConfig::new(with_controller(translation), report);
    translated.momentum = momentum;
    Ok(translated)
}

/// The updates of the run, which transformers' schedulers know.
fn updates_of(peer: &str, arguments: &Value) -> Option<u64> {
    let updates = arguments.get("num_training_steps").filter(|_| peer == "transformers")?;
    updates.as_u64().filter(|&updates| updates > 0)
}

/// The training of a scheduler of `peer` that counts updates.
pub(super) fn training(
    peer: &str,
    name: &str,
    arguments: &Value,
    base_lr: f64,
    options: &Options,
) -> Result<TrainingConfig, TranslationError> {
    let mut translation = peers::translate(peer, name, arguments, base_lr)?;
    if let Some(signal) = options.signal.clone().filter(|_| translation.controller.is_some()) {
        translation = translation.signal(signal);
    }
    Ok(with_controller(translation))
}

fn with_controller(translation: Translation) -> TrainingConfig {
    let mut training = TrainingConfig::new(translation.rate);
    training.controllers.extend(translation.controller.map(
        |Scoped { rule, group, after, until, at_end }| {
            let mut controller = ControllerConfig::new(rule.kind(), rule);
            (controller.group, controller.after) = (group, after);
            (controller.until, controller.at_end) = (until, at_end);
            controller
        },
    ));
    training
}

/// How the lengths of a scheduler are given.
pub(super) enum Lengths {
    /// In updates, as it is said.
    Said,
    /// In updates, though the peer usually counts epochs.
    Assumed,
    /// Once per epoch.
    PerEpoch(PerEpoch),
}

/// The translation of a scheduler in the unit of its lengths.
pub(super) fn translation(
    peer: &str,
    name: &str,
    arguments: &Value,
    base_lr: f64,
    options: &Options,
) -> Result<(Translation, Lengths), TranslationError> {
    let (unit, arguments) = unit(peer, arguments, options)?;
    let counts_epochs = peers::counts_epochs(peer, name)?;
    let unit =
        unit.or((counts_epochs && options.updates_per_epoch.is_some()).then_some(Unit::Epochs));
    let mut translation = peers::translate(peer, name, &arguments, base_lr)?;
    match &options.signal {
        Some(_) if translation.controller.is_none() => {
            return Err(TranslationError::NoMetric { name: name.to_string() });
        }
        Some(signal) => translation = translation.signal(signal.clone()),
        None => {}
    }
    if unit != Some(Unit::Epochs) {
        let is_assumed =
            unit.is_none() && peers::counts_epochs(peer, name)? && has_lengths(&translation.rate);
        return Ok((translation, if is_assumed { Lengths::Assumed } else { Lengths::Said }));
    }
    let (rate, how) = once_per_epoch(&translation.rate, name, options)?;
    translation.rate = rate;
    if let Some(momentum) = translation.momentum.take() {
        translation.momentum = Some(once_per_epoch(&momentum, name, options)?.0);
    }
    if let Some(Scoped { after: Some(Span::Steps(updates)), .. }) = translation.controller
        && let Some(controller) = &mut translation.controller
    {
        controller.after = Some(Span::epochs(updates as f64));
    }
    Ok((translation, Lengths::PerEpoch(how)))
}

/// The unit that is given, apart or by timm's `t_in_epochs`, and the arguments without it.
fn unit(
    peer: &str,
    arguments: &Value,
    options: &Options,
) -> Result<(Option<Unit>, Value), TranslationError> {
    const IN_EPOCHS: &str = "t_in_epochs";
    let inside = match arguments.get(IN_EPOCHS).filter(|_| peer == "timm") {
        Some(Value::Bool(true)) => Unit::Epochs,
        Some(Value::Bool(false)) => Unit::Updates,
        _ => return Ok((options.unit, arguments.clone())),
    };
    if let Some(given) = options.unit.filter(|given| *given != inside) {
        let (given, inside) = (given.name(), inside.name());
        return Err(TranslationError::TwoUnits { given, argument: IN_EPOCHS, inside });
    }
    let mut rest = arguments.clone();
    if let Some(arguments) = rest.as_object_mut() {
        arguments.remove(IN_EPOCHS);
    }
    Ok((Some(inside), rest))
}

pub(super) fn say_unit(peer: &str, name: &str, lengths: &Lengths, report: &mut Report) {
    match lengths {
        Lengths::Said => {}
        Lengths::Assumed => report.note(format!(
            "the lengths of {name} are taken as updates, and {peer} usually counts epochs: say which they are \
             (--unit ep or --unit steps)"
        )),
        Lengths::PerEpoch(how) => report.note(how.note()),
    }
}

/// The rate that the scheduler scales; arbitrary if it does not scale one.
pub(super) fn base_lr(
    peer: &str,
    given: &Given,
    options: &Options,
) -> Result<f64, TranslationError> {
    let inside = match &given.base_lr {
        None => None,
        Some(value) => Some(value.as_f64().ok_or_else(|| {
            super::wrong(&given.name, "base_lr", value, "a finite number above 0")
        })?),
    };
    match (options.base_lr, inside) {
        (Some(_), None) if !peers::scales_base_rate(peer, &given.name)? => {
            let option = "a base rate: its arguments state the rate";
            Err(TranslationError::NotUsed { from: given.name.clone(), option })
        }
        (Some(rate), None) | (None, Some(rate)) => Ok(rate),
        (None, None) if peers::scales_base_rate(peer, &given.name)? => {
            // Of an unknown scheduler the name is wrong, not the rate.
            match peers::translate(peer, &given.name, &given.arguments, 1.0) {
                Err(error @ (PeerError::UnknownScheduler { .. } | PeerError::Refused { .. })) => {
                    Err(error.into())
                }
                _ => Err(TranslationError::NeedsBaseRate { peer: peer.to_string() }),
            }
        }
        (None, None) => Ok(1.0),
        (Some(_), Some(_)) => Err(TranslationError::BaseRateTwice),
    }
}

impl Given {
    fn read(peer: &str, value: Value, options: &Options) -> Result<Self, TranslationError> {
        let value = match peer {
            "torch" => torch_state::arguments(value, options)?,
            "keras" => keras::named(value),
            _ => value,
        };
        let names_itself = value.get("name").is_some() && !is_keras_name(peer, &value, options);
        match &options.name {
            Some(name) if !names_itself => {
                let (name, none) = (plain_name(peer, name), None);
                Ok(Self { name, arguments: value, base_lr: none.clone(), param_groups: none })
            }
            None if names_itself => {
                let syntax = |error: serde_json::Error| TranslationError::Syntax {
                    format: "a named scheduler",
                    error: error.to_string(),
                    hint: "",
                };
                let Named { name, args, base_lr, peer: inside, param_groups } =
                    serde_json::from_value(value).map_err(syntax)?;
                if let Some(inside) = inside.filter(|inside| inside != peer) {
                    return Err(TranslationError::PeerTwice { given: peer.to_string(), inside });
                }
                let arguments = args.unwrap_or_else(|| Value::Object(Map::new()));
                let name = plain_name(peer, &name);
                Ok(Self { name, arguments, base_lr, param_groups })
            }
            None => Err(TranslationError::Unnamed),
            Some(given) => {
                let inside = value["name"].as_str().unwrap_or_default().to_string();
                Err(TranslationError::NamedTwice { given: given.clone(), inside })
            }
        }
    }
}

/// The name without what transformers' enumeration puts before it.
fn plain_name(peer: &str, name: &str) -> String {
    match name.strip_prefix("SchedulerType.").filter(|_| peer == "transformers") {
        Some(name) => name.to_lowercase(),
        None => name.to_string(),
    }
}

/// keras has an argument `name`, which is a label.
fn is_keras_name(peer: &str, value: &Value, options: &Options) -> bool {
    peer == "keras" && options.name.is_some() && value.get("args").is_none()
}

//! What keras writes: `keras.optimizers.serialize`, and a schedule within it.

use super::optimizer::Optimizer;
use super::report::{Report, Unread, has_effect};
use super::{Options, TranslatedConfig, TranslationError};
use crate::{Average, TrainingConfig};
use anneal_control::LossScaling;
use anneal_control::peers::{self, PeerError};
use anneal_schedule::peers::Arguments;
use anneal_schedule::{ScheduleConfig, WeightDecay, constant};
use serde_json::{Value, json};

/// A serialized object, `{"class_name": …, "config": {…}}`, as `{"name": …, "args": {…}}`.
pub(super) fn named(value: Value) -> Value {
    match class(&value) {
        Some((name, config)) => json!({ "name": name, "args": config }),
        None => value,
    }
}

fn class(value: &Value) -> Option<(&str, &Value)> {
    Some((value.get("class_name")?.as_str()?, value.get("config")?))
}

/// Optimizers of keras.
const OPTIMIZERS: &[&str] = &[
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Adafactor",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
    "Muon",
];

const UNREAD: Unread = Unread {
    unrelated: &["name", "jit_compile", "is_legacy_optimizer", "initial_accumulator_value"],
    without: &[
        (
            "clipnorm",
            "it clips each tensor by its own norm: GradientClippingConfig::Norm of Burn's optimizer",
        ),
        ("clipvalue", "it clips each value: GradientClippingConfig::Value of Burn's optimizer"),
        (
            "ema_overwrite_frequency",
            "the weights are not replaced by their average; evaluate_with = \"average\" uses it",
        ),
        ("amsgrad", "Burn's Adam has it: AdamConfig::new().with_amsgrad(true), AdamWConfig too"),
        ("centered", "RmsPropConfig::new().with_centered(true)"),
        ("rho", "RmsPropConfig::new().with_alpha(…)"),
    ],
};

/// The training of a serialized optimizer; `None` if this is none.
pub(super) fn optimizer(
    value: &Value,
    options: &Options,
) -> Result<Option<TranslatedConfig>, TranslationError> {
    let Some((name, config)) = class(value).filter(|class| OPTIMIZERS.contains(&class.0)) else {
        return Ok(None);
    };
    let mut report = Report::default();
    let training = report
        .read(name, config, &UNREAD, |arguments, report| whole(arguments, options, report))?;
    Ok(Some(TranslatedConfig::new(training, report)))
}

fn whole(
    arguments: &Arguments<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<TrainingConfig, PeerError> {
    let mut training = TrainingConfig::new(rate(arguments, options)?);
    let decay = arguments.optional_number("weight_decay")?.unwrap_or(0.0);
    let decay = arguments.require("weight_decay", decay, decay >= 0.0, "at least 0")?;
    if decay > 0.0 {
        training.weight_decay = Some(WeightDecay::coupled(decay));
        report.note("keras decays every weight, unless exclude_from_weight_decay was called: set no_weight_decay");
    }
    let clip = arguments.optional_number("global_clipnorm")?;
    training.clip_global_norm = clip.filter(|&norm| norm > 0.0);
    let momentum = arguments.number_or("ema_momentum", 0.99)?;
    if arguments.flag_or("use_ema", false)? {
        training.averages.push(Average::ema(momentum));
    }
    if let Some(scale) = arguments.optional_number("loss_scale_factor")? {
        training.loss_scaling = Some(LossScaling::fixed(scale));
    }
    if let Some(batches) =
        arguments.optional_count("gradient_accumulation_steps")?.filter(|&n| n > 1)
    {
        training.gradient_reduction = crate::GradientReduction::Mean;
        report.note(format!("accumulation: call training.grads_accumulation({batches})"));
    }
    let beta = |name| arguments.optional_number(name);
    let optimizer = Optimizer {
        name: arguments.scheduler().to_string(),
        betas: beta("beta_1")?.zip(beta("beta_2")?),
        epsilon: arguments.optional_number("epsilon")?,
        momentum: arguments.optional_number("momentum")?,
        nesterov: arguments.flag_or("nesterov", false)?,
    };
    // keras' weight decay is decoupled in all of its optimizers.
    optimizer.say(report, 0.0);
    Ok(training)
}

fn rate(arguments: &Arguments<'_>, options: &Options) -> Result<ScheduleConfig, PeerError> {
    const RATE: &str = "learning_rate";
    let Some(value) = arguments.value(RATE) else {
        return match options.base_lr {
            Some(rate) => Ok(constant(rate).into()),
            None => Err(arguments.missing(RATE, "a rate, or a serialized schedule")),
        };
    };
    match (class(value), value.as_f64()) {
        (Some((name, config)), _) => {
            peers::translate("keras", name, config, 1.0).map(|found| found.rate)
        }
        (None, Some(rate)) if rate > 0.0 && has_effect(value) => Ok(constant(rate).into()),
        _ => Err(arguments.wrong(RATE, value, "a rate above 0, or a serialized schedule")),
    }
}

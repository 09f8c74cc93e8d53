//! transformers' `TrainingArguments`.
//!
//! | setting | becomes |
//! | --- | --- |
//! | `learning_rate`, `lr_scheduler_type`, `lr_scheduler_kwargs`, `warmup_steps`, `warmup_ratio`, `max_steps`, `num_train_epochs` | the schedule |
//! | `weight_decay` | `weight_decay`, not for biases and norms |
//! | `max_grad_norm` | `clip_global_norm` |
//! | `fp16`, `bf16` | `half_precision` |
//! | `gradient_accumulation_steps` | `gradient_reduction`, and a note |
//! | `optim`, `adam_beta1`, `adam_beta2`, `adam_epsilon` | a note |
//!
//! With `max_steps`, or with the updates per epoch, lengths are in updates and the rates are those of transformers;
//! otherwise lengths are shares of the run.

use super::optimizer::Optimizer;
use super::report::{Report, Unread};
use super::units::percent;
use super::{
    Options, TranslatedConfig, TranslationError, at_least_1, call, filling, input, scheduler,
    settings,
};
use crate::{HalfPrecision, Selection, TrainingConfig};
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{
    RunLength, ScheduleConfig, ScheduleExt, Span, WeightDecay, constant, cosine, inverse_sqrt,
    linear, polynomial,
};
use serde_json::{Map, Value};

const NAME: &str = "TrainingArguments";

const UNREAD: Unread = Unread {
    unrelated: &[
        "output_dir",
        "overwrite_output_dir",
        "do_*",
        "eval_*",
        "evaluation_*",
        "per_device_eval_batch_size",
        "per_gpu_eval_batch_size",
        "prediction_loss_only",
        "logging_*",
        "log_level*",
        "log_on_each_node",
        "save_*",
        "seed",
        "data_seed",
        "run_name",
        "project",
        "trackio_*",
        "report_to",
        "push_to_hub*",
        "hub_*",
        "dataloader_*",
        "disable_tqdm",
        "remove_unused_columns",
        "label_names",
        "include_*",
        "resume_from_checkpoint",
        "load_best_model_at_end",
        "metric_for_best_model",
        "greater_is_better",
        "ignore_data_skip",
        "batch_eval_metrics",
        "no_cuda",
        "use_cpu",
        "use_mps_device",
        "use_ipex",
        "jit_mode_eval",
        "local_rank",
        "ddp_*",
        "tpu_*",
        "xpu_backend",
        "fsdp*",
        "accelerator_config",
        "parallelism_config",
        "torch_compile*",
        "torchdynamo",
        "ray_scope",
        "tf32",
        "debug",
        "mp_parameters",
        "skip_memory_metrics",
        "auto_find_batch_size",
        "full_determinism",
        "use_legacy_prediction_loop",
        "past_index",
        "restore_callback_states_from_checkpoint",
        "eval_use_gather_object",
        "enable_jit_checkpoint",
        "half_precision_backend",
        "fp16_backend",
        "bf16_full_eval",
        "fp16_full_eval",
        "use_liger_kernel",
        "liger_kernel_config",
        "gradient_checkpointing*",
        "torch_empty_cache_steps",
        "train_sampling_strategy",
        "group_by_length",
        "length_column_name",
        "average_tokens_across_devices",
        "split_batches",
        "_n_gpu",
        "n_gpu",
        "distributed_state",
        "deepspeed_plugin",
        "use_cache",
    ],
    without: &[
        (
            "label_smoothing_factor",
            "it belongs to the loss: CrossEntropyLossConfig::new().with_smoothing(Some(…))",
        ),
        ("deepspeed", "a configuration of its own: translate it as deepspeed"),
        ("neftune_noise_alpha", "noise on the embeddings belongs to the model"),
        ("fp16_opt_level", "apex; half precision here has master weights, as its O2"),
        ("optim_args", "arguments of the optimizer: give them to it"),
        (
            "optim_target_modules",
            "an optimizer for some parameters: .optimizer_for(selection, optimizer)",
        ),
        ("sharded_ddp", "how devices share the work: .execution(…)"),
    ],
};

pub(super) fn translate(
    text: &str,
    options: &Options,
) -> Result<TranslatedConfig, TranslationError> {
    let given = match call::read(text)? {
        Some(mut call) => call["args"].take(),
        None => settings("hf-args", text)?,
    };
    let mut report = Report::default();
    let training = report
        .read(NAME, &given, &UNREAD, |arguments, report| whole(arguments, options, report))?;
    Ok(TranslatedConfig::new(training, report))
}

fn whole(
    arguments: &Arguments<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<TrainingConfig, TranslationError> {
    let run = Length::read(arguments, options, report)?;
    let mut training = schedule(arguments, &run, options, report)?;
    let decay = arguments.not_negative_or("weight_decay", 0.0)?;
    if decay > 0.0 {
        training.weight_decay = Some(WeightDecay::coupled(decay));
        training.no_weight_decay = Selection::biases_and_norms();
    }
    let optim = match arguments.flag_or("adafactor", false)? {
        true => "adafactor",
        false => arguments.optional_text("optim")?.unwrap_or("adamw_torch"),
    };
    let optimizer = Optimizer {
        name: optim.strip_prefix("OptimizerNames.").unwrap_or(optim).to_string(),
        betas: Some((share(arguments, "adam_beta1", 0.9)?, share(arguments, "adam_beta2", 0.999)?)),
        epsilon: Some(arguments.not_negative_or("adam_epsilon", 1e-8)?),
        ..Optimizer::default()
    };
    optimizer.say(report, decay);
    let clip = arguments.not_negative_or("max_grad_norm", 1.0)?;
    training.clip_global_norm = Some(clip).filter(|&norm| norm > 0.0);
    let (f16, bf16) = (arguments.flag_or("fp16", false)?, arguments.flag_or("bf16", false)?);
    arguments.require(
        "bf16",
        bf16,
        !(f16 && bf16),
        "false with fp16; transformers takes one of them",
    )?;
    training.half_precision = match (f16, bf16) {
        (true, _) => Some(HalfPrecision::f16()),
        (_, true) => Some(HalfPrecision::bf16()),
        _ => None,
    };
    if f16 || bf16 {
        report.note(AUTOCAST);
    }
    batches(arguments, &mut training, report)?;
    Ok(training)
}

/// torch's automatic casts, and half precision here.
pub(super) const AUTOCAST: &str = "torch casts single operations, here the whole model is in half precision, with \
                                   master weights in f32; keep norms in f32 with half_precision.except";

fn share(
    arguments: &Arguments<'_>,
    argument: &'static str,
    default: f64,
) -> Result<f64, PeerError> {
    let value = arguments.number_or(argument, default)?;
    arguments.require(argument, value, (0.0..1.0).contains(&value), "at least 0, below 1")
}

fn batches(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), PeerError> {
    let accumulation = at_least_1(arguments, "gradient_accumulation_steps")?.unwrap_or(1);
    report.accumulation(accumulation, training);
    let per_device = at_least_1(arguments, "per_device_train_batch_size")?;
    let per_gpu = at_least_1(arguments, "per_gpu_train_batch_size")?;
    if let Some(items) = per_gpu.or(per_device) {
        report.batches(items);
    }
    Ok(())
}

/// The length of the run.
struct Length {
    /// All updates, if they are known.
    updates: Option<u64>,
}

impl Length {
    fn read(
        arguments: &Arguments<'_>,
        options: &Options,
        report: &mut Report,
    ) -> Result<Self, PeerError> {
        let epochs = arguments.number_or("num_train_epochs", 3.0)?;
        let most = arguments.whole_or("max_steps", -1)?;
        if let Some(updates) = u64::try_from(most).ok().filter(|&updates| updates > 0) {
            report.note(format!("run: {updates} updates, RunLength::updates({updates})"));
            return Ok(Self { updates: Some(updates) });
        }
        arguments.require("num_train_epochs", epochs, epochs > 0.0, "above 0")?;
        report.note(match epochs.fract() == 0.0 {
            true => format!("run: training.num_epochs({epochs})"),
            false => format!(
                "run: {epochs} epochs; Burn trains whole ones: give max_steps, or num_epochs({})",
                epochs.ceil()
            ),
        });
        // As transformers: a begun update counts.
        let updates =
            options.updates_per_epoch.map(|updates| (epochs * updates as f64).ceil() as u64);
        Ok(Self { updates })
    }
}

/// The warm-up.
enum Warmup {
    Updates(u64),
    Share(f64),
}

impl Warmup {
    fn read(arguments: &Arguments<'_>, report: &mut Report) -> Result<Self, PeerError> {
        let steps = arguments.not_negative_or("warmup_steps", 0.0)?;
        let ratio = arguments.not_negative_or("warmup_ratio", 0.0)?;
        arguments.require(
            "warmup_ratio",
            ratio,
            ratio <= 1.0,
            "in [0, 1]; a tenth of the run is 0.1",
        )?;
        if steps > 0.0 && ratio > 0.0 {
            report.note("warmup_steps overrides warmup_ratio, as in transformers");
        }
        // A number below 1 is a share.
        Ok(match steps {
            0.0 => Self::Share(ratio),
            steps if steps < 1.0 => Self::Share(steps),
            steps => Self::Updates(steps as u64),
        })
    }

    fn updates(&self, all: u64) -> u64 {
        match *self {
            Self::Updates(updates) => updates,
            Self::Share(share) => (all as f64 * share).ceil() as u64,
        }
    }

    fn span(&self) -> Span {
        match *self {
            Self::Updates(updates) => Span::steps(updates),
            Self::Share(share) => Span::percent(percent(share)),
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::Updates(0) | Self::Share(0.0))
    }
}

fn schedule(
    arguments: &Arguments<'_>,
    run: &Length,
    options: &Options,
    report: &mut Report,
) -> Result<TrainingConfig, TranslationError> {
    let rate = arguments.number_or("learning_rate", 5e-5)?;
    arguments.require("learning_rate", rate, rate > 0.0, "a rate above 0")?;
    let kind = arguments.optional_text("lr_scheduler_type")?.unwrap_or("linear");
    let kind = kind.strip_prefix("SchedulerType.").unwrap_or(kind).to_lowercase();
    let kind = kind.as_str();
    let mut kwargs = kwargs(arguments)?;
    let warmup = Warmup::read(arguments, report)?;
    if kind == "constant" && !warmup.is_none() {
        report.note("`constant` has no warm-up in transformers; `constant_with_warmup` has one");
    }
    if matches!(kind, "reduce_lr_on_plateau" | "greedy") {
        if !warmup.is_none() {
            report.note(format!("`{kind}` has no warm-up in transformers"));
        }
        return scheduler::training("transformers", kind, &kwargs.into(), rate, options);
    }
    if let Some(all) = run.updates {
        let updates = warmup.updates(all);
        kwargs.insert("num_warmup_steps".into(), updates.into());
        kwargs.insert("num_training_steps".into(), all.into());
        let translation =
            anneal_control::peers::translate("transformers", kind, &kwargs.into(), rate)?;
        let has_other_rise =
            matches!(kind, "constant" | "cosine_warmup_with_min_lr" | "warmup_stable_decay");
        let schedule = match updates >= all && !has_other_rise {
            // The run ends within the warm-up.
            true => linear(0.0, rate).length(Span::steps(updates)).into(),
            false => translation.rate,
        };
        return Ok(filling(schedule, RunLength::updates(all)).into());
    }
    if matches!(warmup, Warmup::Share(share) if share >= 1.0) && kind != "constant" {
        return Ok(linear(0.0, rate).into());
    }
    let tail = tail(kind, &kwargs, rate, &warmup)?;
    let rises = !warmup.is_none() && kind != "constant";
    if rises && matches!(warmup, Warmup::Share(_)) {
        report.note(
            "lengths are shares of the run; transformers rounds a warm-up up to a whole update, here it is rounded to \
             the nearest: with max_steps or the updates per epoch it is exact",
        );
    }
    // From 0 to the rate, then the tail.
    Ok(match rises {
        true => tail.warmup(warmup.span()).include_start().into(),
        false => tail.into(),
    })
}

/// The schedule after its warm-up, over what is left of the run.
fn tail(
    kind: &str,
    kwargs: &Map<String, Value>,
    rate: f64,
    warmup: &Warmup,
) -> Result<ScheduleConfig, TranslationError> {
    let is_share = matches!(warmup, Warmup::Share(share) if *share > 0.0);
    let warmup = if let Warmup::Updates(updates) = warmup { *updates } else { 0 };
    // The peer's own translation checks names and values.
    let mut checked = kwargs.clone();
    checked.insert("num_warmup_steps".into(), warmup.into());
    checked.insert("num_training_steps".into(), (warmup + 1_000).into());
    anneal_control::peers::translate("transformers", kind, &checked.into(), rate)?;
    let number = |name: &str| kwargs.get(name).and_then(Value::as_f64);
    let lowest = number("min_lr").or(number("min_lr_rate").map(|share| share * rate));
    Ok(match (kind, kwargs.len()) {
        ("constant" | "constant_with_warmup", _) => constant(rate).into(),
        ("linear", 0) => linear(rate, 0.0).into(),
        ("cosine", 0) => cosine(rate).into(),
        ("cosine_with_min_lr", 1) => cosine(rate).end(lowest.unwrap_or(0.0)).into(),
        ("polynomial", _) => {
            let end = number("lr_end").unwrap_or(1e-7);
            polynomial(rate, end, number("power").unwrap_or(1.0)).into()
        }
        ("inverse_sqrt", _) if number("timescale").is_some() || !is_share => {
            let usual = if warmup > 0 { warmup } else { 10_000 };
            let timescale = kwargs.get("timescale").and_then(Value::as_u64).unwrap_or(usual);
            inverse_sqrt(rate, Span::steps(timescale)).into()
        }
        _ => {
            return Err(TranslationError::NeedsUpdates {
                name: format!("{NAME}: `{kind}`"),
                allowed: "max_steps, or the number of updates per epoch",
            });
        }
    })
}

/// `lr_scheduler_kwargs`: a table, or one as JSON text.
fn kwargs(arguments: &Arguments<'_>) -> Result<Map<String, Value>, TranslationError> {
    const KWARGS: &str = "lr_scheduler_kwargs";
    let Some(value) = arguments.value(KWARGS) else { return Ok(Map::new()) };
    let read = match value {
        Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
        Value::String(text) => input::json(text, "")?,
        value => value.clone(),
    };
    match read {
        Value::Object(kwargs) => {
            let twice = ["num_warmup_steps", "num_training_steps"];
            match twice.into_iter().find(|name| kwargs.contains_key(*name)) {
                Some(name) => {
                    let argument = format!("{KWARGS}.{name}");
                    let allowed = "left out, as transformers sets it from warmup_steps or warmup_ratio, and max_steps";
                    Err(arguments.wrong(&argument, &kwargs[name], allowed).into())
                }
                None => Ok(kwargs),
            }
        }
        other => Err(arguments.wrong(KWARGS, other, "a table such as {\"min_lr\": 1e-6}").into()),
    }
}

//! The arguments of timm's `train.py`: its command line, or the `args.yaml` that it writes.
//!
//! | argument | becomes |
//! | --- | --- |
//! | `--sched`, `--lr`, `--lr-base`, `--epochs`, `--warmup-epochs`, `--warmup-lr`, `--min-lr`, `--decay-epochs`, `--lr-cycle-limit`, … | the schedule |
//! | `--weight-decay` | `weight_decay`, not for parameters of at most one dimension |
//! | `--layer-decay`, `--layer-decay-min-scale` | `groups.layer_decay`, `minimum_scale` |
//! | `--clip-grad` | `clip_global_norm` |
//! | `--model-ema`, `--model-ema-decay` | an average |
//! | `--amp`, `--amp-dtype` | `half_precision` |
//! | `--grad-accum-steps` | `gradient_reduction`, and a note |
//! | `--opt`, `--opt-betas`, `--opt-eps`, `--momentum` | a note |
//!
//! Defaults are those of `train.py`, as of timm 1.0.31. timm sets the rate once per epoch, unless `--sched-on-updates` is
//! given; see [`Options::updates_per_epoch`].

use super::command_line::{self, Shapes};
use super::hf_args::AUTOCAST;
use super::optimizer::Optimizer;
use super::report::{Report, Unread};
use super::units::{PerEpoch, once_per_epoch};
use super::{
    Options, TranslatedConfig, TranslationError, Unit, at_least_1, filling, fitted, is_of,
    scheduler, settings,
};
use crate::{Average, HalfPrecision, Selection, TrainingConfig, layer_decay};
use anneal_control::peers::{self, Translation};
use anneal_schedule::peers::timm::SCHED;
use anneal_schedule::peers::{Arguments, PeerError};
use anneal_schedule::{
    RunLength, ScheduleConfig, ScheduleExt, Span, WeightDecay, constant, cosine, linear,
    polynomial, step_decay, tanh,
};
use serde_json::{Map, Value, json};

const NAME: &str = "train.py";

const SHAPES: Shapes = Shapes {
    flags: &[
        "dataset_download",
        "dataset_trust_remote_code",
        "pretrained",
        "no_resume_opt",
        "channels_last",
        "grad_checkpointing",
        "fast_norm",
        "torchscript",
        "amp",
        "no_ddp_bb",
        "synchronize_step",
        "sched_on_updates",
        "warmup_prefix",
        "no_aug",
        "jsd_loss",
        "bce_loss",
        "bce_sum",
        "resplit",
        "sync_bn",
        "split_bn",
        "model_ema",
        "model_ema_force_cpu",
        "model_ema_warmup",
        "save_images",
        "pin_mem",
        "no_prefetcher",
        "use_multi_epochs_loader",
        "log_wandb",
        "naflex_loader",
        "naflex_patchify_channels_first",
        "native_amp",
        "apex_amp",
    ],
    lists: &[
        "input_size",
        "mean",
        "std",
        "model_kwargs",
        "device_modules",
        "opt_betas",
        "opt_kwargs",
        "lr_noise",
        "decay_milestones",
        "scale",
        "ratio",
        "cutmix_minmax",
        "wandb_tags",
        "train_img_sizes",
        "train_batch_sizes",
        "train_size_probs",
        "naflex_train_seq_lens",
        "naflex_patch_sizes",
        "naflex_patch_size_probs",
    ],
    aliases: &[
        ("b", "batch_size"),
        ("vb", "validation_batch_size"),
        ("j", "workers"),
        ("c", "config"),
        ("dr", "decay_rate"),
    ],
};

const UNREAD: Unread = Unread {
    unrelated: &[
        "config",
        "data",
        "data_dir",
        "dataset*",
        "train_split",
        "val_split",
        "train_num_samples",
        "val_num_samples",
        "class_map",
        "input_*",
        "target_key",
        "model",
        "pretrained*",
        "initial_checkpoint",
        "resume",
        "no_resume_opt",
        "num_classes",
        "gp",
        "img_size",
        "in_chans",
        "crop_pct",
        "mean",
        "std",
        "interpolation",
        "validation_batch_size",
        "channels_last",
        "fuser",
        "grad_checkpointing",
        "fast_norm",
        "model_kwargs",
        "head_init_*",
        "torchcompile*",
        "torchscript",
        "device*",
        "no_ddp_bb",
        "synchronize_step",
        "local_rank",
        "rank",
        "world_size",
        "distributed",
        "start_epoch",
        "no_aug",
        "train_crop_mode",
        "scale",
        "ratio",
        "hflip",
        "vflip",
        "color_jitter*",
        "grayscale_prob",
        "gaussian_blur_prob",
        "aa",
        "aug_*",
        "reprob",
        "remode",
        "recount",
        "resplit",
        "train_interpolation",
        "bn_momentum",
        "bn_eps",
        "sync_bn",
        "dist_bn",
        "split_bn",
        "seed",
        "worker_seeding",
        "log_*",
        "val_interval",
        "recovery_interval",
        "checkpoint_hist",
        "workers",
        "save_images",
        "pin_mem",
        "no_prefetcher",
        "prefetcher",
        "output",
        "experiment",
        "tta",
        "use_multi_epochs_loader",
        "wandb_*",
        "naflex_*",
        "kd_*",
        "distill_*",
        "task_loss_weight",
        "train_size_*",
        "mixup_*",
        "cutmix_minmax",
        "model_ema_force_cpu",
        "local-rank",
        "nproc_per_node",
        "lr_noise_pct",
        "lr_noise_std",
    ],
    without: &[
        (
            "smoothing",
            "label smoothing belongs to the loss: CrossEntropyLossConfig::new().with_smoothing(Some(…))",
        ),
        ("jsd_loss", "it belongs to the loss"),
        ("bce_loss", "it belongs to the loss"),
        ("bce_sum", "it belongs to the loss"),
        ("bce_target_thresh", "it belongs to the loss"),
        ("bce_pos_weight", "it belongs to the loss"),
        ("mixup", "it belongs to the data"),
        ("cutmix", "it belongs to the data"),
        ("drop", "it belongs to the model"),
        ("drop_connect", "it belongs to the model"),
        ("drop_path", "it belongs to the model"),
        ("drop_block", "it belongs to the model"),
        ("layer_decay_no_opt_scale", "layers below a scale are not frozen: Group::…frozen()"),
        ("opt_kwargs", "arguments of the optimizer: give them to it"),
        ("model_dtype", "the type of the weights: half_precision keeps master weights in f32"),
        ("epoch_repeats", "repeat the data set in your data loader"),
        ("kd_model_name", "distillation belongs to the loss"),
        ("train_img_sizes", "sizes of images belong to the data"),
        ("train_batch_sizes", "batches of changing size belong to the data loader"),
        ("train_batches_per_epoch", "set it in your data loader"),
        ("variable_batch_loss_scale", "it belongs to the loss"),
    ],
};

pub(super) fn translate(
    text: &str,
    options: &Options,
) -> Result<TranslatedConfig, TranslationError> {
    if text.trim().is_empty() {
        return Err(TranslationError::Empty {
            allowed: "the command line of train.py, or its args.yaml",
        });
    }
    let is_command = command_line::is_command_line(text.trim());
    let mut given = match is_command {
        true => {
            let given = command_line::options(text, &SHAPES)?;
            is_of("timm-args", &given)?;
            given
        }
        false => settings("timm-args", text)?,
    };
    numbers(&mut given);
    let mut report = Report::default();
    let training = report
        .read(NAME, &given, &UNREAD, |arguments, report| whole(arguments, options, report))?;
    Ok(TranslatedConfig::new(training, report))
}

/// PyYAML takes `1e-3` for a text, and train.py makes a number of it.
fn numbers(given: &mut Value) {
    for value in given.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(number) = value.as_str().and_then(super::input::number) {
            *value = Value::Number(number);
        }
    }
}

fn whole(
    arguments: &Arguments<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<TrainingConfig, TranslationError> {
    if options.unit == Some(Unit::Updates) && !arguments.flag_or("sched_on_updates", false)? {
        let (given, inside) = (Unit::Updates.name(), Unit::Epochs.name());
        return Err(TranslationError::TwoUnits {
            given,
            argument: "sched_on_updates = false",
            inside,
        });
    }
    let mut training = schedule(arguments, options, report)?;
    let decay = arguments.not_negative_or("weight_decay", 2e-5)?;
    if decay > 0.0 {
        training.weight_decay = Some(WeightDecay::coupled(decay));
        training.no_weight_decay = Selection::one_dimensional();
    }
    let opt = opt(arguments)?;
    let betas = arguments.value("opt_betas").and_then(Value::as_array);
    let betas = betas.and_then(|betas| betas.first()?.as_f64().zip(betas.get(1)?.as_f64()));
    let optimizer = Optimizer {
        name: opt.to_string(),
        betas,
        epsilon: arguments.optional_number("opt_eps")?,
        momentum: Some(arguments.number_or("momentum", 0.9)?),
        // timm's `sgd` is Nesterov's.
        nesterov: matches!(opt, "sgd" | "nesterov" | "sgdw"),
    };
    optimizer.say(report, decay);
    clip(arguments, &mut training, report)?;
    layers(arguments, &mut training, report)?;
    average(arguments, &mut training, report)?;
    precision(arguments, &mut training, report)?;
    report.accumulation(arguments.count_or("grad_accum_steps", 1)?, &mut training);
    Ok(training)
}

fn opt<'a>(arguments: &Arguments<'a>) -> Result<&'a str, PeerError> {
    Ok(arguments.optional_text("opt")?.unwrap_or("sgd"))
}

fn clip(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), PeerError> {
    let norm = arguments.optional_number("clip_grad")?;
    let mode = arguments.choice("clip_mode", &["norm", "value", "agc"])?;
    let Some(norm) = norm else { return Ok(()) };
    arguments.require("clip_grad", norm, norm > 0.0, "above 0")?;
    match mode {
        "norm" => training.clip_global_norm = Some(norm),
        "value" => report.without(
            "clip_mode",
            "it clips each value: GradientClippingConfig::Value of Burn's optimizer",
        ),
        _ => report.without(
            "clip_mode",
            "adaptive clipping has no counterpart; clip_global_norm clips by the global norm",
        ),
    }
    Ok(())
}

fn layers(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), PeerError> {
    let decay = arguments.optional_number("layer_decay")?;
    let least = arguments.not_negative_or("layer_decay_min_scale", 0.0)?;
    let Some(decay) = decay else { return Ok(()) };
    arguments.require("layer_decay", decay, decay > 0.0 && decay <= 1.0, "above 0, at most 1")?;
    let mut groups = layer_decay(decay);
    if least > 0.0 {
        groups = groups.minimum_scale(least);
    }
    training.groups = Some(groups);
    report.note("layers are found in the module's tree; for timm's own, set groups.layers to its group_matcher's patterns");
    Ok(())
}

fn average(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), PeerError> {
    let decay = arguments.number_or("model_ema_decay", 0.9998)?;
    let warms_up = arguments.flag_or("model_ema_warmup", false)?;
    if !arguments.flag_or("model_ema", false)? {
        return Ok(());
    }
    arguments.require(
        "model_ema_decay",
        decay,
        (0.0..1.0).contains(&decay),
        "at least 0, below 1",
    )?;
    let average = Average::ema(decay);
    if warms_up {
        report.note(
            "the average warms up by min(decay, (1 + n) / (10 + n)), timm's by 1 − (1 + n)^(−2/3)",
        );
    }
    training.averages.push(if warms_up { average.warmup() } else { average });
    training.average_statistics = true;
    Ok(())
}

fn precision(
    arguments: &Arguments<'_>,
    training: &mut TrainingConfig,
    report: &mut Report,
) -> Result<(), PeerError> {
    let dtype = arguments.choice("amp_dtype", &["float16", "bfloat16"])?;
    arguments.ignore("amp_impl");
    let amp = arguments.flag_or("amp", false)?;
    if amp || arguments.flag_or("native_amp", false)? || arguments.flag_or("apex_amp", false)? {
        training.half_precision = Some(match dtype {
            "bfloat16" => HalfPrecision::bf16(),
            _ => HalfPrecision::f16(),
        });
        report.note(AUTOCAST);
    }
    Ok(())
}

/// The rate, or the one that follows from the size of a batch.
fn rate(arguments: &Arguments<'_>, report: &mut Report) -> Result<f64, PeerError> {
    let lr = arguments.optional_number("lr")?.filter(|&lr| lr != 0.0);
    let base = arguments.number_or("lr_base", 0.1)?;
    let size = arguments.count_or("lr_base_size", 256)?;
    let scale = arguments.optional_text("lr_base_scale")?.unwrap_or("");
    let batch = at_least_1(arguments, "batch_size")?.unwrap_or(128);
    let accumulation = at_least_1(arguments, "grad_accum_steps")?.unwrap_or(1);
    if let Some(lr) = lr {
        report.batches(batch);
        return arguments.require("lr", lr, lr > 0.0, "a rate above 0");
    }
    arguments.require("lr_base", base, base > 0.0, "a rate above 0")?;
    arguments.require("lr_base_size", size, size > 0, "at least 1")?;
    let items = batch.saturating_mul(accumulation);
    let ratio = items as f64 / size as f64;
    let opt = opt(arguments)?.to_lowercase();
    let is_root = match scale {
        "sqrt" => true,
        "linear" => false,
        "" => opt.contains("ada") || opt.contains("lamb"),
        other => return Err(arguments.wrong("lr_base_scale", other, "linear, sqrt")),
    };
    let rate = base * if is_root { ratio.sqrt() } else { ratio };
    report.note(format!(
        "the rate {rate:?} is lr_base {base:?} for batches of {size} items, here {items} on one device; on several, \
         multiply it by {}",
        if is_root { "the square root of their number" } else { "their number" }
    ));
    Ok(rate)
}

/// The lengths of the schedule, in epochs.
struct Epochs {
    epochs: u64,
    warmup: u64,
    prefix: bool,
    cooldown: u64,
}

fn schedule(
    arguments: &Arguments<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<TrainingConfig, TranslationError> {
    let rate = rate(arguments, report)?;
    let sched = arguments.optional_text("sched")?.unwrap_or("cosine");
    let epochs = Epochs {
        epochs: arguments.count_or("epochs", 300)?,
        warmup: arguments.count_or("warmup_epochs", 5)?,
        prefix: arguments.flag_or("warmup_prefix", false)?,
        cooldown: arguments.count_or("cooldown_epochs", 0)?,
    };
    arguments.require("epochs", epochs.epochs, epochs.epochs > 0, "at least 1")?;
    let on_updates = arguments.flag_or("sched_on_updates", false)?;
    // Lengths in epochs, or in updates if the rate changes with each.
    let per_epoch = if on_updates { options.updates_per_epoch } else { None };
    let class = class_arguments(arguments, sched, &epochs, per_epoch)?;
    if sched == "none" {
        report.note(format!("run: training.num_epochs({})", epochs.epochs));
        return Ok(TrainingConfig::new(constant(rate)));
    }
    let class_name = match sched {
        "plateau" => "plateau",
        sched => {
            SCHED.iter().find(|known| known.0 == sched).map(|known| known.1).ok_or_else(|| {
                let known: Vec<&str> =
                    SCHED.iter().map(|known| known.0).chain(["plateau", "none"]).collect();
                PeerError::unknown_scheduler("timm", sched, &known)
            })?
        }
    };
    let mut translation = peers::translate("timm", class_name, &class, rate)?;
    // Its updates are epochs, unless the rate changes with each update.
    let all = total(arguments, sched, &epochs)?;
    let length = all.saturating_mul(per_epoch.unwrap_or(1));
    translation.rate = fitted(translation.rate, RunLength::updates(length));
    report.note(format!("run: training.num_epochs({all})"));
    if translation.controller.is_some() {
        return plateau(arguments, &translation, &class, rate, options);
    }
    if let Some(updates) = per_epoch {
        let steps = |epochs: u64| Span::steps(epochs.saturating_mul(updates));
        let schedule = beneath_warmup(arguments, sched, &epochs, rate, &steps)?;
        let schedule = schedule.unwrap_or(translation.rate);
        return Ok(filling(schedule, RunLength::updates(length)).into());
    }
    let known = options.updates_per_epoch;
    let unit = |epochs: u64| match known {
        Some(_) => Span::steps(epochs),
        None => Span::epochs(epochs as f64),
    };
    let own = beneath_warmup(arguments, sched, &epochs, rate, &unit)?;
    let (schedule, how) = match (own, known) {
        (Some(schedule), None) => {
            let run = RunLength::updates_per_epoch(1_000).epochs(all as usize);
            (filling(schedule, run), PerEpoch::Smooth)
        }
        (Some(schedule), Some(updates)) => {
            let schedule = filling(schedule, RunLength::updates(all));
            (schedule.stretch(updates as f64).into(), PerEpoch::Stretched)
        }
        (None, _) => {
            let name = format!("--sched {sched}");
            let (schedule, how) = once_per_epoch(&translation.rate, &name, options)?;
            let run = RunLength::updates_per_epoch(known.unwrap_or(1_000)).epochs(all as usize);
            (filling(schedule, run), how)
        }
    };
    match (on_updates, &how) {
        // Its lengths in epochs are exact.
        (true, _) => {}
        (false, how) => report.note(how.note()),
    }
    Ok(schedule.into())
}

/// The arguments of the scheduler's class, as timm's `create_scheduler_v2` makes them.
fn class_arguments(
    arguments: &Arguments<'_>,
    sched: &str,
    run: &Epochs,
    updates: Option<u64>,
) -> Result<Value, PeerError> {
    let times = |epochs: u64| epochs.saturating_mul(updates.unwrap_or(1));
    let (length, warmup) = (times(run.epochs), times(run.warmup));
    let decay_rate = arguments.number_or("decay_rate", 0.1)?;
    let decay_epochs = arguments.number_or("decay_epochs", 90.0)?;
    let min_lr = arguments.not_negative_or("min_lr", 0.0)?;
    let milestones = match arguments.value("decay_milestones") {
        None => vec![90, 180, 270],
        Some(_) => arguments.counts("decay_milestones")?,
    };
    let cycle = [
        ("cycle_mul", arguments.number_or("lr_cycle_mul", 1.0)?),
        ("cycle_decay", arguments.number_or("lr_cycle_decay", 0.5)?),
    ];
    let limit = arguments.count_or("lr_cycle_limit", 1)?;
    let k_decay = arguments.number_or("lr_k_decay", 1.0)?;
    let decay_fn = arguments.optional_text("lr_decay_fn")?;
    let timescale = arguments.optional_number("lr_stable_timescale")?;
    let patience = arguments.count_or("patience_epochs", 10)?;
    let metric = arguments.optional_text("eval_metric")?.unwrap_or("top1");
    if arguments.value("lr_noise").is_some_and(super::report::has_effect) {
        let reason = "its noise comes from torch's random generator, which a pure function of the step cannot follow";
        return Err(PeerError::Refused { name: "lr_noise".into(), reason });
    }
    let mut class = json!({
        "warmup_t": warmup, "warmup_lr_init": arguments.not_negative_or("warmup_lr", 1e-5)?,
    });
    let mut set = |name: &str, value: Value| class[name] = value;
    if matches!(sched, "cosine" | "tanh" | "poly") {
        set("t_initial", length.into());
        set("lr_min", min_lr.into());
        set("cycle_limit", limit.into());
        cycle.iter().for_each(|&(name, value)| set(name, value.into()));
        if sched != "tanh" {
            set("k_decay", k_decay.into());
        }
    }
    if !matches!(sched, "wsd" | "rsqrt" | "plateau") {
        set("warmup_prefix", run.prefix.into());
    }
    match sched {
        "step" => {
            set("decay_t", (decay_epochs * updates.unwrap_or(1) as f64).into());
            set("decay_rate", decay_rate.into());
        }
        "constant" => {
            set("decay_t", 1.into());
            set("decay_rate", 1.0.into());
        }
        "multistep" => {
            set("decay_t", milestones.into_iter().map(times).collect());
            set("decay_rate", decay_rate.into());
        }
        "poly" => set("power", decay_rate.into()),
        "plateau" => {
            set("decay_rate", decay_rate.into());
            set("patience_t", patience.into());
            set("lr_min", min_lr.into());
            set("mode", if metric.contains("loss") { "min" } else { "max" }.into());
        }
        "wsd" | "rsqrt" => {
            let all = if run.prefix { length } else { length.saturating_sub(warmup) };
            let decay = match decay_epochs {
                share if share > 0.0 && share < 1.0 => share * all as f64,
                epochs => epochs * updates.unwrap_or(1) as f64,
            };
            set("t_initial", all.into());
            set("lr_min", min_lr.into());
            set("decay_t", (decay.round_ties_even() as u64).into());
            let is_root = sched == "rsqrt";
            set("stable_fn", if is_root { "rsqrt" } else { "constant" }.into());
            set("decay_fn", decay_fn.unwrap_or(if is_root { "linear" } else { "1-sqrt" }).into());
            if let Some(timescale) = timescale {
                set("stable_timescale", (timescale * updates.unwrap_or(1) as f64).into());
            }
        }
        _ => {}
    }
    Ok(class)
}

/// The epochs that timm trains.
fn total(arguments: &Arguments<'_>, sched: &str, run: &Epochs) -> Result<u64, PeerError> {
    let prefix = if run.prefix { run.warmup } else { 0 };
    if !matches!(sched, "cosine" | "tanh" | "poly") {
        return Ok(run.epochs.saturating_add(prefix));
    }
    let cycles = arguments.count_or("lr_cycle_limit", 1)?.max(1);
    let growth = arguments.number_or("lr_cycle_mul", 1.0)?;
    let all = match growth == 1.0 {
        true => run.epochs.saturating_mul(cycles),
        false => (run.epochs as f64 * (growth.powf(cycles as f64) - 1.0) / (growth - 1.0)) as u64,
    };
    Ok(all.saturating_add(prefix).saturating_add(run.cooldown))
}

/// A schedule whose metric decides: the controller, after a warm-up in epochs.
fn plateau(
    arguments: &Arguments<'_>,
    translation: &Translation,
    class: &Value,
    rate: f64,
    options: &Options,
) -> Result<TrainingConfig, TranslationError> {
    arguments.ignore("lr_noise");
    let mut training = scheduler::training("timm", "plateau", class, rate, options)?;
    let options = Options { signal: None, ..options.clone() };
    training.schedule = once_per_epoch(&translation.rate, "--sched plateau", &options)?.0;
    for controller in &mut training.controllers {
        if let Some(Span::Steps(epochs)) = controller.after {
            controller.after = Some(Span::epochs(epochs as f64));
        }
    }
    Ok(training)
}

/// The schedule of one cycle, or of steps, that runs beneath its warm-up; `None` if it has another form. `length` gives
/// the length of a number of epochs.
fn beneath_warmup(
    arguments: &Arguments<'_>,
    sched: &str,
    run: &Epochs,
    rate: f64,
    length: &dyn Fn(u64) -> Span,
) -> Result<Option<ScheduleConfig>, PeerError> {
    let lowest = arguments.not_negative_or("min_lr", 0.0)?;
    let once = arguments.count_or("lr_cycle_limit", 1)? == 1;
    let k_decay = arguments.number_or("lr_k_decay", 1.0)?;
    let power = arguments.number_or("decay_rate", 0.1)?;
    let from = arguments.not_negative_or("warmup_lr", 1e-5)?;
    let drop = arguments.number_or("decay_epochs", 90.0)?;
    let whole = length(run.epochs);
    let is_curve = matches!(sched, "cosine" | "poly" | "tanh") && once;
    if is_curve
        && !run.prefix
        && run.warmup >= run.epochs.saturating_add(run.cooldown)
        && from < rate
    {
        // The run ends within the warm-up, whose target timm's tanh takes from its curve.
        let rises = sched != "tanh";
        return Ok(rises.then(|| linear(from, rate).length(length(run.warmup)).into()));
    }
    if run.prefix || run.warmup == 0 || !once || lowest > rate || run.warmup >= run.epochs {
        return Ok(None);
    }
    let curve: ScheduleConfig = match sched {
        "cosine" if k_decay > 0.0 => cosine(rate).end(lowest).length(whole).k(k_decay).into(),
        "poly" if k_decay == 1.0 && power > 0.0 => {
            polynomial(rate, lowest, power).length(whole).into()
        }
        "tanh" => tanh(rate).end(lowest).length(whole).into(),
        "constant" => constant(rate).into(),
        "step" if drop >= 1.0 && drop.fract() == 0.0 && power > 0.0 && power < 1.0 => {
            step_decay(rate, length(drop as u64), power).into()
        }
        _ => return Ok(None),
    };
    // timm's tanh warms up to where its curve is by then.
    let share = run.warmup as f64 / run.epochs as f64;
    let target = match sched {
        "tanh" => {
            lowest + (rate - lowest) * 0.5 * (1.0 - (-7.0 * (1.0 - share) + 3.0 * share).tanh())
        }
        _ => rate,
    };
    let warmup = length(run.warmup);
    Ok(Some(match target == rate && from < rate {
        true => curve.warmup(warmup).start(from).include_start().replace().into(),
        false => linear(from, target).then(warmup, curve.phase(warmup)).into(),
    }))
}

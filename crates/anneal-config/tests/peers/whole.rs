//! What a translation says beside the schedule.

use crate::translate;
use anneal_config::peers::{self, Options, TranslatedConfig};
use anneal_config::{
    Average, GradientReduction, HalfPrecision, Selection, TrainingConfig, layer_decay,
};
use anneal_control::LossScaling;
use anneal_schedule::prelude::*;

fn json(training: &TrainingConfig) -> String {
    training.to_json().unwrap()
}

/// Whether one of the notes contains these words.
fn notes(translated: &TranslatedConfig, words: &str) -> bool {
    translated.notes.iter().any(|note| note.contains(words))
}

fn reason<'a>(translated: &'a TranslatedConfig, setting: &str) -> &'a str {
    let found = translated.untranslated.iter().find(|one| one.setting == setting);
    &found.unwrap_or_else(|| panic!("{setting}: {:?}", translated.untranslated)).reason
}

#[test]
fn training_arguments_may_be_a_call() {
    let call = "TrainingArguments('out', learning_rate=2e-5, lr_scheduler_type=\"cosine\", max_steps=100, fp16=True)";
    let translated = translate("hf-args", call).unwrap();
    let mut expected = TrainingConfig::new(cosine(2e-5));
    expected.clip_global_norm = Some(1.0);
    expected.half_precision = Some(HalfPrecision::f16());
    assert_eq!(json(&translated.training), json(&expected));
    assert_eq!(translated.unrelated, ["output_dir"]);
    // Nothing is rounded.
    let epochs = translate("hf-args", "{}").unwrap();
    assert!(!notes(&epochs, "rounds a warm-up up"), "{:#?}", epochs.notes);
}

#[test]
fn a_warm_up_of_composers_may_outlast_the_run() {
    let config = "max_duration: 1ep\nscheduler: {name: cosine_with_warmup, t_warmup: 2ep}\noptimizer: {name: adam, lr: 1}\n";
    for updates_per_epoch in [None, Some(50)] {
        let options = Options { updates_per_epoch, ..Options::default() };
        let schedule = peers::translate("composer", config, &options).unwrap().training.schedule;
        let schedule = schedule.resolve(RunLength::updates_per_epoch(50)).unwrap();
        for step in 0..50 {
            assert!((schedule.rate(step) - step as f64 / 100.0).abs() < 1e-15, "{step}");
        }
    }
}

/// A warm-up written as one needs an update for what follows, which timm's does not.
#[test]
fn a_run_that_ends_with_its_warm_up_is_no_error() {
    let options = Options { updates_per_epoch: Some(25), ..Options::default() };
    let command =
        "--sched step --lr 1e-3 --epochs 10 --warmup-epochs 10 --warmup-lr 1e-4 --sched-on-updates";
    let translated = peers::translate("timm-args", command, &options).unwrap();
    let schedule = translated.training.schedule.resolve(RunLength::updates(250)).unwrap();
    for step in 0..250 {
        let expected = 1e-4 + step as f64 * (9e-4 / 250.0);
        assert!((schedule.rate(step) - expected).abs() < 1e-15, "{step}");
    }
}

#[test]
fn training_arguments_become_a_training() {
    let translated = translate(
        "hf-args",
        r#"{
            "output_dir": "out", "learning_rate": 2e-5, "lr_scheduler_type": "SchedulerType.COSINE", "warmup_ratio": 0.1,
            "num_train_epochs": 3, "weight_decay": 0.01, "adam_beta2": 0.98, "adam_epsilon": 1e-6, "max_grad_norm": 0.5,
            "per_device_train_batch_size": 16, "gradient_accumulation_steps": 4, "bf16": true,
            "label_smoothing_factor": 0.1, "logging_steps": 10, "save_strategy": "epoch", "lerning_rate": 1,
            "neftune_noise_alpha": null, "fsdp": ""
        }"#,
    )
    .unwrap();
    let mut expected = TrainingConfig::new(cosine(2e-5).warmup(Span::percent(10)).include_start());
    expected.weight_decay = Some(WeightDecay::coupled(0.01));
    expected.no_weight_decay = Selection::biases_and_norms();
    expected.clip_global_norm = Some(0.5);
    expected.gradient_reduction = GradientReduction::Mean;
    expected.half_precision = Some(HalfPrecision::bf16());
    assert_eq!(json(&translated.training), json(&expected));
    for words in [
        "AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.98).with_epsilon(1e-6).with_weight_decay(0.0).build()",
        "training.num_epochs(3)",
        "grads_accumulation(4)",
        "batches of 16 items",
        "rounds a warm-up up",
    ] {
        assert!(notes(&translated, words), "{words}: {:#?}", translated.notes);
    }
    assert_eq!(translated.unrelated, ["fsdp", "logging_steps", "output_dir", "save_strategy"]);
    assert!(reason(&translated, "label_smoothing_factor").contains("loss"));
    assert!(reason(&translated, "lerning_rate").contains("did you mean `learning_rate`?"));
    assert_eq!(translated.untranslated.len(), 2);
}

#[test]
fn a_plateau_of_transformers_is_a_controller() {
    let text = r#"{"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"factor": 0.5, "patience": 2}}"#;
    let training = translate("hf-args", text).unwrap().training;
    assert_eq!(training.schedule, constant(5e-5).into());
    assert_eq!(training.controllers[0].name, "plateau");
}

#[test]
fn a_command_line_of_timm_becomes_a_training() {
    let text = "train.py /data --model vit_base_patch16_224 --pretrained --opt adamw --lr 5e-4 --weight-decay 0.05 \
                --sched cosine --epochs 50 --warmup-epochs 5 --warmup-prefix --min-lr 1e-6 --layer-decay 0.65 \
                --clip-grad 1.0 --model-ema --model-ema-decay 0.9998 --amp --smoothing 0.1 --mixup 0.8 -b 64";
    let translated = translate("timm-args", text).unwrap();
    let schedule = cosine(5e-4).end(1e-6).warmup(Span::epochs(5)).start(1e-5).include_start();
    let mut expected = TrainingConfig::new(schedule);
    expected.weight_decay = Some(WeightDecay::coupled(0.05));
    expected.no_weight_decay = Selection::one_dimensional();
    expected.groups = Some(layer_decay(0.65));
    expected.clip_global_norm = Some(1.0);
    expected.averages.push(Average::ema(0.9998));
    expected.average_statistics = true;
    expected.half_precision = Some(HalfPrecision::f16());
    assert_eq!(json(&translated.training), json(&expected));
    assert!(notes(&translated, "training.num_epochs(55)"));
    assert!(notes(&translated, "equals the peer's at the beginning of each epoch"));
    assert!(reason(&translated, "smoothing").contains("loss"));
    assert!(reason(&translated, "mixup").contains("data"));
    assert_eq!(translated.unrelated, ["model", "pretrained"]);
}

/// Its stairs are exact, with and without the updates per epoch.
#[test]
fn stairs_of_timm_need_no_updates_per_epoch() {
    let text =
        "--sched step --lr 0.1 --decay-epochs 30 --epochs 90 --warmup-epochs 0 --weight-decay 0";
    for updates_per_epoch in [None, Some(100)] {
        let options = Options { updates_per_epoch, ..Options::default() };
        let translated = peers::translate("timm-args", text, &options).unwrap();
        let schedule = translated.training.schedule.to_string();
        assert_eq!(schedule, "step_decay(0.1, 30ep, 0.1)");
        assert!(notes(&translated, "only between epochs"));
    }
}

#[test]
fn a_configuration_of_deepspeed_becomes_a_training() {
    let translated = translate(
        "deepspeed",
        r#"{
            "train_batch_size": 256, "gradient_accumulation_steps": 8, "gradient_clipping": 0.5,
            "optimizer": {"type": "Adam", "params": {"lr": 1e-4, "betas": [0.9, 0.95], "weight_decay": 0.1, "torch_adam": true}},
            "fp16": {"enabled": true, "initial_scale_power": 12, "loss_scale_window": 500, "hysteresis": 1},
            "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": "auto", "warmup_num_steps": 100, "warmup_type": "linear"}},
            "zero_optimization": {"stage": 2}, "curriculum_learning": {"enabled": true}, "gradient_cliping": 1
        }"#,
    )
    .unwrap();
    let mut expected = TrainingConfig::new(
        constant(1e-4).warmup(Span::steps(100)).include_start().delay(Span::steps(1)),
    );
    expected.weight_decay = Some(WeightDecay::coupled(0.1));
    expected.clip_global_norm = Some(0.5);
    expected.gradient_reduction = GradientReduction::Mean;
    let scaling = LossScaling::new().scale(4096.0).growth_interval(500).minimum(1.0);
    expected.half_precision =
        Some(HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() });
    assert_eq!(json(&translated.training), json(&expected));
    assert!(notes(&translated, "AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95)"));
    assert!(reason(&translated, "scheduler.params.warmup_max_lr").contains("auto"));
    assert!(reason(&translated, "gradient_cliping").contains("did you mean `gradient_clipping`?"));
    assert!(reason(&translated, "curriculum_learning").contains("curriculum"));
    assert_eq!(translated.unrelated, ["torch_adam", "zero_optimization"]);
    let fixed = r#"{"fp16": {"enabled": true, "loss_scale": 128}, "optimizer": {"type": "SGD", "params": {"lr": 0.1}}}"#;
    let half = translate("deepspeed", fixed).unwrap().training.half_precision.unwrap();
    assert_eq!(half.loss_scaling, Some(LossScaling::fixed(128.0)));
}

#[test]
fn a_one_cycle_of_deepspeed_has_its_momentum_apart() {
    let text = r#"{"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 10}}}"#;
    let momentum = translate("deepspeed", text).unwrap().momentum.unwrap();
    assert_eq!(momentum.to_string(), "linear(0.9, 0.8).then(10, linear(0.8, 0.9).length(10))");
}

#[test]
fn a_configuration_of_composer_becomes_a_training() {
    let translated = translate(
        "composer",
        "max_duration: 10ep\nscheduler:\n  name: cosine_with_warmup\n  t_warmup: 0.05dur\n  alpha_f: 0.1\n\
         optimizer:\n  name: decoupled_adamw\n  lr: 1.0e-3\n  betas: [0.9, 0.95]\n  eps: 1.0e-8\n  weight_decay: 1.0e-5\n\
         algorithms:\n  gradient_clipping:\n    clipping_type: norm\n    clipping_threshold: 1.0\n  \
         ema:\n    half_life: 100ba\n    update_interval: 1ba\n  label_smoothing:\n    smoothing: 0.1\n\
         precision: amp_bf16\nseed: 17\ntrain_loader: {name: text}\n",
    )
    .unwrap();
    let schedule = cosine(1e-3).end(Level::percent(10)).warmup(Span::percent(5)).include_start();
    let mut expected = TrainingConfig::new(schedule);
    expected.weight_decay = Some(WeightDecay::relative(1e-5));
    expected.clip_global_norm = Some(1.0);
    expected.averages.push(Average::half_life(Span::steps(100)));
    expected.half_precision = Some(HalfPrecision::bf16());
    assert_eq!(json(&translated.training), json(&expected));
    assert!(notes(&translated, "training.num_epochs(10)"));
    assert!(reason(&translated, "algorithms.label_smoothing").contains("loss"));
    assert_eq!(translated.unrelated, ["seed", "train_loader"]);
}

#[test]
fn an_optimizer_of_keras_becomes_a_training() {
    let translated = translate(
        "keras",
        r#"{"class_name": "AdamW", "config": {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.004, "clipnorm": 1.0,
            "global_clipnorm": 2.0, "use_ema": true, "ema_momentum": 0.99, "loss_scale_factor": 8.0, "beta_1": 0.9,
            "beta_2": 0.999, "epsilon": 1e-07, "amsgrad": false}}"#,
    )
    .unwrap();
    let mut expected = TrainingConfig::new(constant(1e-3));
    expected.weight_decay = Some(WeightDecay::coupled(0.004));
    expected.clip_global_norm = Some(2.0);
    expected.averages.push(Average::ema(0.99));
    expected.loss_scaling = Some(LossScaling::fixed(8.0));
    assert_eq!(json(&translated.training), json(&expected));
    assert!(reason(&translated, "clipnorm").contains("each tensor"));
    assert!(notes(&translated, "with_epsilon(1e-7)"));
}

#[test]
fn groups_of_torch_have_names_and_patterns() {
    let named = r#"{"name": "StepLR", "args": {"step_size": 30}, "param_groups": [
        {"name": "body", "lr": 0.01, "weight_decay": 0.1}, {"name": "head.0", "lr": 0.1}]}"#;
    let translated = translate("torch", named).unwrap();
    let groups = translated.training.groups.as_ref().unwrap().to_toml().unwrap();
    for line in
        ["name = \"body\"", "regexes = [\"^body\"]", "coupled = 0.1", r"regexes = ['^head\.0']"]
    {
        assert!(groups.contains(line), "{line}: {groups}");
    }
    assert!(notes(&translated, "correct `select`"));
    let alone = r#"{"name": "StepLR", "args": {"step_size": 30}, "param_groups": [
        {"lr": 0.1, "weight_decay": 0.05, "momentum": 0.9, "nesterov": true}]}"#;
    let alone = translate("torch", alone).unwrap();
    assert_eq!(alone.training.weight_decay, Some(WeightDecay::coupled(0.05)));
    assert_eq!(alone.training.schedule, step_decay(0.1, Span::steps(30), 0.1).into());
    assert!(notes(&alone, "for the optimizer: momentum, nesterov"));
    let one = r#"{"name": "OneCycleLR", "args": {"max_lr": [0.1], "total_steps": 100}}"#;
    assert!(translate("torch", one).unwrap().training.groups.is_none());
    let options = Options {
        groups: vec![("body".into(), "^body".into()), ("head".into(), "^head".into())],
        ..Options::default()
    };
    let plateau = r#"{"name": "ReduceLROnPlateau", "args": {"min_lr": [1e-5, 1e-4]}, "base_lr": [0.01, 0.1]}"#;
    let training = peers::translate("torch", plateau, &options).unwrap().training;
    let controllers: Vec<_> =
        training.controllers.iter().map(|one| (one.name.as_str(), one.group.as_deref())).collect();
    assert_eq!(controllers, [("plateau of body", Some("body")), ("plateau of head", Some("head"))]);
    training.check(RunLength::updates_per_epoch(10).epochs(5)).unwrap();
}

#[test]
fn fine_tuning_of_fastai_unfreezes_its_groups() {
    let options = Options {
        groups: [("body", "^body"), ("neck", "^neck"), ("head", "^head")]
            .map(|(name, pattern)| (name.into(), pattern.into()))
            .into(),
        ..Options::default()
    };
    let translated = peers::translate("fastai", "learn.fine_tune(4, wd=0.1)", &options).unwrap();
    let groups = translated.training.groups.as_ref().unwrap();
    let rates: Vec<_> =
        groups.groups.iter().map(|group| (group.multiple, group.unfreeze_at)).collect();
    let at = Some(Span::epochs(1));
    assert_eq!(rates, [(Some(0.01), at), (Some(0.1), at), (None, None)]);
    assert_eq!(translated.training.weight_decay, Some(WeightDecay::coupled(0.1)));
    let alone = translate("fastai", "learn.fine_tune(4)").unwrap();
    assert!(reason(&alone, "the rates of the groups").contains("NAME=PATTERN"));
}

#[test]
fn of_a_one_cycle_the_momentum_is_apart() {
    let translated = translate("fastai", "learn.fit_one_cycle(5, 1e-3)").unwrap();
    let momentum =
        translated.momentum.unwrap().resolve(RunLength::updates_per_epoch(4).epochs(5)).unwrap();
    assert_eq!((momentum.rate(0), momentum.rate(5)), (0.95, 0.85));
}

/// The unit of the lengths of a scheduler.
#[test]
fn lengths_have_the_unit_that_is_said() {
    use anneal_config::peers::Unit::{Epochs, Updates};
    let cosine = "CosineAnnealingLR(optimizer, T_max=90)";
    for (text, unit, updates_per_epoch, expected, words) in [
        (cosine, None, None, "cosine(0.1).length(90).after(continue)", "taken as updates"),
        (cosine, Some(Updates), None, "cosine(0.1).length(90).after(continue)", ""),
        (
            cosine,
            Some(Epochs),
            None,
            "cosine(0.1).length(90ep).after(continue)",
            "beginning of each epoch",
        ),
        (
            cosine,
            Some(Epochs),
            Some(100),
            "cosine(0.1).length(90).after(continue).stretch(100.0)",
            "once per epoch",
        ),
        (
            cosine,
            None,
            Some(100),
            "cosine(0.1).length(90).after(continue).stretch(100.0)",
            "once per epoch",
        ),
        (
            "StepLR(o, 30)",
            Some(Epochs),
            Some(100),
            "step_decay(0.1, 30ep, 0.1)",
            "only between epochs",
        ),
        ("OneCycleLR(o, 0.1, 100)", None, None, "", ""),
        ("ReduceLROnPlateau(o)", None, None, "constant(0.1)", ""),
    ] {
        let base_lr = Some(0.1).filter(|_| !text.contains("OneCycle"));
        let options = Options { unit, updates_per_epoch, base_lr, ..Options::default() };
        let translated = peers::translate("torch", text, &options).unwrap();
        let schedule = translated.training.schedule.to_string();
        assert!(expected.is_empty() || schedule == expected, "{text}: {schedule}");
        let said = notes(&translated, words) || words.is_empty();
        assert!(said, "{text}: {:?}", translated.notes);
        assert!(
            !words.is_empty() || !notes(&translated, "updates, and"),
            "{text}: {:?}",
            translated.notes
        );
    }
}

#[test]
fn a_state_is_read_from_its_beginning() {
    let state = r#"{"step_size": 30, "gamma": 0.1, "base_lrs": [0.1], "last_epoch": 40, "_last_lr": [0.01]}"#;
    let translated = translate("torch", state).unwrap();
    assert_eq!(translated.training.schedule, step_decay(0.1, Span::steps(30), 0.1).into());
    assert!(notes(&translated, "the state is of step 40"));
}

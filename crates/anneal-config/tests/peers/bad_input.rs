//! Configurations that cannot be translated: each error says what is wrong.

use crate::translate;
use anneal_config::peers::{self, Options, Unit};

fn refused(from: &str, text: &str, options: &Options) -> String {
    match peers::translate(from, text, options) {
        Err(error) => error.to_string(),
        Ok(translated) => panic!("{from} {text}: {}", translated.training),
    }
}

#[test]
fn each_mistake_is_named() {
    const CYCLE: &str =
        r#"{"name": "OneCycleLR", "args": {"max_lr": [0.1, 0.2], "total_steps": 9}}"#;
    for (from, text, words) in [
        ("hf_args", "{}", "unknown peer `hf_args`; did you mean `hf-args`?"),
        ("torc", "{}", "did you mean `torch`?"),
        ("hf-args", "", "the text is empty; allowed: a configuration as JSON or YAML"),
        ("hf-args", " # nothing\n", "the text is empty"),
        ("hf-args", "[1, 2]", "must be a JSON object"),
        ("hf-args", "{\"learning_rate\": 1", "not a JSON object"),
        ("hf-args", "learning_rate: [", "not YAML"),
        (
            "hf-args",
            r#"{"learning_rate": 1, "learning_rate": 2}"#,
            "`learning_rate` is given twice",
        ),
        ("hf-args", r#"{"learning_rate": "x"}"#, "`learning_rate` = \"x\" is not allowed"),
        ("hf-args", r#"{"learning_rate": 0}"#, "a rate above 0"),
        ("hf-args", r#"{"lr_scheduler_type": "cosin"}"#, "did you mean `cosine`?"),
        ("hf-args", r#"{"lr_scheduler_type": "cosine_with_min_lr"}"#, "`min_lr_rate` is missing"),
        (
            "hf-args",
            r#"{"lr_scheduler_type": "cosine_with_restarts"}"#,
            "needs the number of updates of the run: give max_steps",
        ),
        ("hf-args", r#"{"lr_scheduler_kwargs": [1]}"#, "a table such as"),
        ("hf-args", r#"{"lr_scheduler_kwargs": "{"}"#, "not a JSON object"),
        ("hf-args", r#"{"warmup_ratio": 2}"#, "in [0, 1]"),
        (
            "hf-args",
            r#"{"max_steps": 9, "lr_scheduler_kwargs": {"num_warmup_steps": 3}}"#,
            "`lr_scheduler_kwargs.num_warmup_steps` = 3 is not allowed; allowed: left out",
        ),
        (
            "hf-args",
            r#"{"per_device_train_batch_size": 0}"#,
            "`per_device_train_batch_size` = 0 is not allowed; allowed: at least 1",
        ),
        (
            "hf-args",
            "TrainingArguments('out', learning_rate=LR)",
            "`learning_rate` is the variable LR: write its value",
        ),
        ("timm-args", "--lr 1 --batch-size 0", "`batch_size` = 0"),
        (
            "deepspeed",
            r#"{"optimizer": {"type": "SGD", "params": {"lr": 1}}, "train_micro_batch_size_per_gpu": 0}"#,
            "`train_micro_batch_size_per_gpu` = 0",
        ),
        (
            "deepspeed",
            r#"{"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": "auto", "warmup_max_lr": 1}}}"#,
            "`total_num_steps` is \"auto\": transformers fills it in",
        ),
        (
            "composer",
            "max_duration: 3ep\nscheduler: {name: cosine_with_warmup, t_warmup: 2ep, t_max: 1ep}\noptimizer: {name: adam, lr: 1}\n",
            "`t_warmup` = 2 epochs is not allowed; allowed: a time before t_max",
        ),
        ("hf-args", r#"{"fp16": true, "bf16": true}"#, "one of them"),
        ("hf-args", "sched: cosine\nepochs: 3\n", "it looks like one of timm-args"),
        ("timm-args", r#"{"lr_scheduler_type": "cosine"}"#, "it looks like one of hf-args"),
        ("timm-args", r#"{"zero_optimization": {}}"#, "it looks like one of deepspeed"),
        ("timm-args", "", "the command line of train.py"),
        ("timm-args", "--sched cosin", "did you mean `cosine`?"),
        ("timm-args", "--sched cosine --epochs 0", "`epochs` = 0"),
        ("timm-args", "--lr -1", "a rate above 0"),
        ("timm-args", "--lr 'abc", "does not end"),
        ("timm-args", "--lr abc", "`lr` = \"abc\""),
        ("timm-args", "--lr 1 --lr-noise 0.4 0.9", "random generator"),
        (
            "timm-args",
            "--lr 1 --lr-cycle-mul 2 --lr-cycle-limit 2",
            "give the number of updates per epoch",
        ),
        ("timm-args", "--layer-decay 1.5", "above 0, at most 1"),
        ("timm-args", "lr: 1\nlr: 2\n", "line 2 column 1: `lr` is given twice"),
        ("deepspeed", "{}", "`scheduler` is missing"),
        ("deepspeed", r#"{"scheduler": []}"#, "an object with a `type`"),
        ("deepspeed", r#"{"scheduler": {"type": "WarmupLr"}}"#, "did you mean `WarmupLR`?"),
        ("deepspeed", r#"{"scheduler": {"type": "WarmupLR"}}"#, "`warmup_max_lr` is missing"),
        (
            "deepspeed",
            r#"{"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1, "warmup_step": 3}}}"#,
            "no argument `warmup_step`",
        ),
        (
            "deepspeed",
            r#"{"scheduler": {"type": "WarmupDecayLR", "params": {}}}"#,
            "`total_num_steps` is missing",
        ),
        (
            "deepspeed",
            r#"{"optimizer": {"type": "SGD", "params": {"lr": 1}}, "fp16": {"enabled": true}, "bf16": {"enabled": true}}"#,
            "one of them",
        ),
        ("composer", "max_duration: 10ep\n", "`optimizer` is missing"),
        (
            "composer",
            "max_duration: 1000sec\noptimizer: {name: adam, lr: 1}\n",
            "counts seconds, which cannot be translated; allowed: epochs (10ep), batches (500ba), samples",
        ),
        (
            "composer",
            "max_duration: 10ep\nscheduler: {name: cosine_with_warmup, t_warmup: 1.5dur}\noptimizer: {name: adam, lr: 1}\n",
            "`t_warmup` = 1.5 is not allowed; allowed: at most 1dur, unless",
        ),
        ("timm", r#"{"name": "cosin", "base_lr": 1}"#, "did you mean `CosineLRScheduler`?"),
        (
            "transformers",
            r#"{"name": "cosine", "args": {"num_warmup_steps": 0.1, "num_training_steps": 10}, "base_lr": 1}"#,
            "a share is `warmup_ratio` of TrainingArguments",
        ),
        ("deepspeed", "max_duration: 3ep", "translate it as that (--from composer)"),
        (
            "deepspeed",
            r#"{"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": [1, 2]}}}"#,
            "`warmup_max_lr` has 2 values, one for each group of parameters, and 0 groups are named",
        ),
        (
            "deepspeed",
            r#"{"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": [1, 2], "warmup_min_lr": [1, 2, 3]}}}"#,
            "`warmup_max_lr` = 2 is not allowed; allowed: as many values as warmup_min_lr, 3",
        ),
        (
            "deepspeed",
            r#"{"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 1, "cycle_max_lr": 2, "cycle_first_step_size": 10, "cycle_first_stair_count": 11}}}"#,
            "not more than the updates",
        ),
        (
            "composer",
            "max_duration: 10ep 500ba\noptimizer: {name: adam, lr: 1}\n",
            "a time in epochs, batches, samples, tokens or shares of the run",
        ),
        (
            "composer",
            "max_duration: 0.5dur\noptimizer: {name: adam, lr: 1}\n",
            "epochs, batches, samples or tokens",
        ),
        (
            "composer",
            "max_duration: 1e6tok\nglobal_train_batch_size: 0\noptimizer: {name: adam, lr: 1}\n",
            "`global_train_batch_size` = 0 is not allowed; allowed: at least 1",
        ),
        (
            "composer",
            "max_duration: 1e6tok\nscheduler: {name: cosine_with_warmup, t_warmup: 100sp}\noptimizer: {name: adam, lr: 1}\n",
            "t_warmup counts samples, t_max tokens, and Composer takes one unit for both; give t_warmup in tokens",
        ),
        (
            "composer",
            "max_duration: 1e6tok\nscheduler: {name: inv_sqrt_with_warmup, t_warmup: 1e3tok, t_scale: 10ba, t_cooldown: 0tok}\n\
             optimizer: {name: adam, lr: 1}\n",
            "`t_scale` = \"batches\" is not allowed; allowed: a time that counts tokens",
        ),
        (
            "composer",
            "max_duration: 10ep\nscheduler: {name: CosineAnnealingWarmRestarts, t_0: 1ep, t_mult: 1.5}\n\
             optimizer: {name: adam, lr: 1}\n",
            "unless the length of the run is known in batches",
        ),
        (
            "composer",
            "max_duration: soon\noptimizer: {name: adam, lr: 1}\n",
            "a time in epochs, batches",
        ),
        (
            "composer",
            "max_duration: 1ep\noptimizer: {name: adam, lr: 1}\nscheduler: {name: cosine_with_warm, t_warmup: 1ba}\n",
            "did you mean `cosine_with_warmup`?",
        ),
        (
            "composer",
            "max_duration: 1ep\noptimizer: {name: adam, lr: 1}\nscheduler: {name: cosine_with_warmup}\n",
            "`t_warmup` is missing",
        ),
        (
            "composer",
            "max_duration: 1ep\noptimizer: {name: adam, lr: 1}\nscheduler: {name: cosine_with_warmup, t_warmup: 5}\n",
            "a time in epochs",
        ),
        (
            "composer",
            "max_duration: 9ep\noptimizer: {name: adam, lr: 1}\nscheduler: {name: cosine_with_warmup, t_warmup: 5ba, t_max: 9ep}\n",
            "the warm-up has another unit",
        ),
        ("torch", "", "the text is empty"),
        ("torch", "{}", "which scheduler?"),
        ("torch", r#"{"num_train_epochs": 3}"#, "it looks like one of hf-args"),
        ("optax", r#"{"class_name": "CosineDecay", "config": {}}"#, "it looks like one of keras"),
        (
            "torch",
            CYCLE,
            "`max_lr` has 2 values, one for each group of parameters, and 0 groups are named",
        ),
        (
            "torch",
            r#"{"name": "OneCycleLR", "args": {"max_lr": [0.1, 0.2], "total_steps": 9}, "base_lr": [0.1]}"#,
            "as many values as base_lr",
        ),
        (
            "torch",
            r#"{"name": "LambdaLR", "args": {"lr_lambda": [null, null]}}"#,
            "its rate is code",
        ),
        ("torch", "StepLR(o, 30)", "give the base rate"),
        ("torch", "StpLR(o)", "did you mean `StepLR`?"),
        (
            "torch",
            r#"{"name": "OneCycleLR", "state_dict": {"total_steps": 9, "_schedule_phases": []}}"#,
            "`param_groups` is missing",
        ),
        (
            "torch",
            r#"{"last_epoch": 3, "base_lrs": [0.1], "lr_lambdas": [null]}"#,
            "its rate is code",
        ),
        ("keras", r#"{"class_name": "CosinDecay", "config": {}}"#, "did you mean `CosineDecay`?"),
        (
            "keras",
            r#"{"class_name": "Adam", "config": {"learning_rate": "x"}}"#,
            "a serialized schedule",
        ),
        ("fastai", "learn.fit_one_cycle(5, 1e-3, pct=0.3)", "no argument `pct`"),
        ("fastai", "learn.fit_one_cycle(0, 1e-3)", "at least 1"),
        ("fastai", "learn.fit_one_cycle(3, slice(1e-5, 1e-4, 3))", "{\"slice\""),
        ("optax", "cosine_decay_schedule(0.1, 3 * 4)", "column 30: expected `,` or `)`"),
        ("transformers", "get_cosine_schedule_with_warmup(o, 10)", "give the base rate"),
    ] {
        let error = refused(from, text, &Options::default());
        assert!(error.contains(words), "{from} {text}: {error}");
    }
}

#[test]
fn what_has_no_effect_is_refused() {
    let none = Options::default;
    let rate = || Options { base_lr: Some(0.1), ..none() };
    let group = vec![("head".to_string(), "^head".to_string())];
    for (from, text, options, words) in [
        ("hf-args", "{}", Options { unit: Some(Unit::Epochs), ..none() }, "does not use a unit"),
        (
            "hf-args",
            "{}",
            Options { signal: Some("valid Loss".parse().unwrap()), ..none() },
            "does not use a metric",
        ),
        ("hf-args", "{}", rate(), "does not use a base rate"),
        ("timm-args", "--lr 1", rate(), "does not use a base rate"),
        ("keras", "CosineDecay(0.1, 9)", rate(), "CosineDecay does not use a base rate"),
        ("torch", "OneCycleLR(o, 0.1, 9)", rate(), "OneCycleLR does not use a base rate"),
        ("fastai", "fit_one_cycle(3, 0.1)", rate(), "the base rate is given twice"),
        ("fastai", "fine_tune(3, 0.1)", rate(), "the base rate is given twice"),
        (
            "deepspeed",
            r#"{"optimizer": {"type": "SGD", "params": {"lr": 1}}}"#,
            rate(),
            "the base rate is given twice",
        ),
        ("composer", "optimizer: {name: adam, lr: 1}", rate(), "the base rate is given twice"),
        ("composer", "{}", Options { name: Some("x".into()), ..none() }, "the name of a scheduler"),
        (
            "deepspeed",
            r#"{"optimizer": {"type": "SGD", "params": {"lr": 1}}}"#,
            Options { groups: group.clone(), ..none() },
            "names of groups",
        ),
        (
            "torch",
            "OneCycleLR(o, 0.1, 100)",
            Options { groups: group, ..none() },
            "one value for all parameters",
        ),
        (
            "torch",
            "OneCycleLR(o, [0.1, 0.2], 100)",
            Options {
                groups: vec![("head".into(), "[".into()), ("a".into(), "a".into())],
                ..none()
            },
            "groups.head.select",
        ),
        (
            "timm-args",
            "--lr 1",
            Options { unit: Some(Unit::Updates), ..none() },
            "two units: the unit is said to be updates, and `sched_on_updates = false` says epochs",
        ),
        (
            "timm",
            r#"{"name": "cosine", "args": {"t_initial": 9, "t_in_epochs": true}, "base_lr": 1}"#,
            Options { unit: Some(Unit::Updates), ..none() },
            "two units",
        ),
        (
            "torch",
            "StepLR(o, 3)",
            Options { updates_per_epoch: Some(0), ..none() },
            "1 to 1,000,000",
        ),
    ] {
        let error = refused(from, text, &options);
        assert!(error.contains(words), "{from} {text}: {error}");
    }
}

/// A configuration of another version, or a dump of all settings, is no reason to refuse it.
#[test]
fn settings_of_another_version_are_listed() {
    let old = "learning_rate: 1e-4\nwarmup_ratio: 0.1\nmax_steps: 100\nno_cuda: true\nevaluation_strategy: epoch\n\
               something_new: {a: 1}\n";
    let translated = translate("hf-args", old).unwrap();
    assert_eq!(translated.unrelated, ["evaluation_strategy", "no_cuda"]);
    assert_eq!(translated.untranslated[0].setting, "something_new");
    assert!(translated.untranslated[0].reason.starts_with("an unknown setting"));
}

//! Cases of users: what they wrote, and what they should see.

use crate::{anneal, anneal_of};

/// The translation as text, and what is said beside it.
fn translated<'a>(arguments: impl IntoIterator<Item = &'a str>) -> (String, String) {
    let ran = anneal(["translate", "--format", "text"].into_iter().chain(arguments));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    (ran.stdout.trim_end().to_string(), ran.stderr)
}

#[test]
fn translations_read_as_a_person_would_write_them() {
    for (arguments, expected) in [
        (
            &[
                "--from",
                "transformers",
                "--name",
                "get_cosine_schedule_with_warmup",
                "--base-lr",
                "3e-4",
                r#"{"num_warmup_steps": 500, "num_training_steps": 10000}"#,
            ] as &[&str],
            "cosine(0.0003).warmup(500).include_start()",
        ),
        (
            &[
                "--from",
                "transformers",
                "--name",
                "cosine_with_min_lr",
                "--base-lr",
                "2e-5",
                r#"{"num_warmup_steps": 10, "num_training_steps": 100, "min_lr": 2e-6}"#,
            ],
            "cosine(2e-5).end(2e-6).warmup(10).include_start()",
        ),
        (
            &[
                "--from",
                "transformers",
                "--name",
                "cosine_with_restarts",
                "--base-lr",
                "1e-4",
                r#"{"num_warmup_steps": 0, "num_training_steps": 600, "num_cycles": 3}"#,
            ],
            "warm_restarts(0.0001, 200).limit(3)",
        ),
        (
            &[
                "--from",
                "transformers",
                "--name",
                "SchedulerType.COSINE",
                "--base-lr",
                "2e-5",
                r#"{"num_warmup_steps": 10, "num_training_steps": 1000}"#,
            ],
            "cosine(2e-5).warmup(10).include_start()",
        ),
        (
            &["--from", "optax", "warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000)"],
            "cosine(0.001).length(900).warmup(100).include_start()",
        ),
        (
            &[
                "--from",
                "torch",
                "--unit",
                "steps",
                "--base-lr",
                "0.1",
                "SequentialLR(o, [LinearLR(o, 0.01, total_iters=50), CosineAnnealingLR(o, 950, 1e-3)], [50])",
            ],
            "cosine(0.1).end(0.001).length(950).after(continue).warmup(50).start(0.001).include_start()",
        ),
        (
            &[
                "--from",
                "deepspeed",
                r#"{"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1e-4, "warmup_num_steps": 10000}}}"#,
            ],
            "constant(0.0001).warmup(10000).ramp(logarithmic).include_start().include_peak().delay(1)",
        ),
    ] {
        assert_eq!(translated(arguments.iter().copied()).0, expected, "{arguments:?}");
    }
}

#[test]
fn a_file_says_only_what_is_no_default() {
    let arguments = r#"{"learning_rate": 2e-5, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "max_steps": 1000}"#;
    let printed = anneal(["translate", "--from", "hf-args", arguments]).stdout;
    assert_eq!(
        printed,
        "schedule = \"cosine(2e-5).warmup(100).include_start()\"\nclip_global_norm = 1.0\n"
    );
    let step = "StepLR(optimizer, step_size=30)";
    let step = ["translate", "--from", "torch", "--base-lr", "0.1", "--unit", "ep", step];
    assert_eq!(anneal(step).stdout, "schedule = \"step_decay(0.1, 30ep, 0.1)\"\n");
    let lint = ["lint", "-", "--epochs", "90", "--steps-per-epoch", "100"];
    assert_eq!(anneal_of(anneal(step).stdout, &lint).code, Some(0));
}

#[test]
fn lengths_in_samples_and_tokens_stay_what_they_are() {
    let config = "max_duration: 260e9tok\nglobal_train_batch_size: 512\nmax_seq_len: 2048\n\
                  scheduler: {name: cosine_with_warmup, t_warmup: 2_097_152_000tok, alpha_f: 0.1}\n\
                  optimizer: {name: adamw, lr: 3.0e-4}\n";
    let (schedule, notes) = translated(["--from", "composer", config]);
    assert_eq!(schedule, "cosine(0.0003).end(10%).warmup(2.097152Btok).include_start()");
    let run = "RunLength::tokens(260000000000, 512).tokens_per_sample(2048)";
    assert!(notes.contains(run) && !notes.contains("does not say"), "{notes}");
    let unknown = config.replace("global_train_batch_size: 512\nmax_seq_len: 2048\n", "");
    let (schedule, notes) = translated(["--from", "composer", &unknown]);
    assert_eq!(schedule, "cosine(0.0003).end(10%).warmup(2.097152Btok).include_start()");
    assert!(notes.contains("does not say global_train_batch_size and max_seq_len"), "{notes}");
    // How long 50,000 samples are in batches, nobody says.
    let step = "max_duration: 1000ba\nscheduler: {name: StepScheduler, step_size: 50000sp}\noptimizer: {name: adam, lr: 0.1}";
    assert_eq!(translated(["--from", "composer", step]).0, "step_decay(0.1, 50ksp, 0.1)");
    let run = ["--tokens", "260e9", "--batch-size", "512", "--tokens-per-sample", "2048"];
    assert_eq!(anneal(["lint", &schedule].into_iter().chain(run)).code, Some(0));
}

/// Lengths of a peer that counts epochs, and names and calls as users have them.
#[test]
fn what_users_have_is_read() {
    for (arguments, words) in [
        (
            &[
                "--from",
                "timm",
                "--name",
                "CosineLRScheduler",
                "--base-lr",
                "1e-3",
                r#"{"t_initial": 300, "lr_min": 1e-5, "warmup_t": 20}"#,
            ] as &[&str],
            "--unit ep or --unit steps",
        ),
        (&["--from", "fastai", "learn.fit_one_cycle(5, 1e-3)"], "run: training.num_epochs(5)"),
        (
            &[
                "--from",
                "hf-args",
                r#"{"learning_rate": 2e-5, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1}"#,
            ],
            "lengths are shares of the run",
        ),
        (
            &["--from", "torch", r#"OneCycleLR(o, max_lr=0.1, total_steps=100, epochs=None)"#],
            "--momentum",
        ),
    ] {
        let (_, notes) = translated(arguments.iter().copied());
        assert!(notes.contains(words), "{arguments:?}: {notes}");
    }
}

#[test]
fn what_is_wrong_says_what_to_do() {
    let run = ["--steps", "100"];
    for (verb, text, words) in [
        ("show", "cosine(0.1).warmup(5ep 10%)", "a length has one unit"),
        ("show", "cosine(0.1).warmup(10%ep)", "a length has one unit"),
        ("show", "cosine(0.1).end(110%)", "0% to 100% of the peak, or a rate"),
        ("show", "cosine(0.1).warmup(110%)", "in (0, 100] percent"),
        ("show", "cosine(10%)", "a share is of the peak"),
        ("show", "cosine(0.1).eta_min(0.01)", "`eta_min` is called `end` here"),
        ("show", "cosine(0.1).warmup(1ep)", "give --epochs N --steps-per-epoch M"),
        ("show", "cosine(0.1).warmup(5Mtok)", "--tokens-per-sample K"),
        ("show", "linear(0.1, -0.1)", "linear.end: -0.1 is not allowed"),
        (
            "show",
            "constant(0.1).then(10, linear(0.1, 0.0).length(500))",
            "linear.length: 500 is 500 updates",
        ),
        ("show", "cosine(0.1).length(500)", ".truncate()"),
        ("lint", "linear(0.1, 0.0).repeat(3)", "repeat_every takes a length, repeat_times a count"),
    ] {
        let error = anneal([verb, text].into_iter().chain(run)).error(if words.contains("--") {
            2
        } else {
            1
        });
        assert!(error.contains(words), "{text}: {error}");
    }
    for (arguments, code, words) in [
        (
            &[
                "--from",
                "transformers",
                "--name",
                "cosine",
                "--base-lr",
                "2e-5",
                r#"{"warmup_ratio": 0.1, "num_train_epochs": 1}"#,
            ] as &[&str],
            1,
            "(--from hf-args)",
        ),
        (
            &["--from", "torch", "--base-lr", "0.1", "CosineAnnealingWarmRestart(o, 10)"],
            2,
            "did you mean `CosineAnnealingWarmRestarts`?",
        ),
        (
            &["--from", "timm", "--base-lr", "0.1", "--name", "cosin", "{}"],
            2,
            "did you mean `CosineLRScheduler`?",
        ),
        (&["--from", "megatron", "{}"], 2, "unknown peer `megatron`; known: "),
        (&["--from", "timm-args", "lr: *unknown\n"], 2, "unknown anchor"),
        (
            &[
                "--from",
                "torch",
                "--base-lr",
                "0.1",
                "OneCycleLR(o, max_lr=[0.1, 0.01], total_steps=100)",
            ],
            2,
            "--group NAME=PATTERN",
        ),
    ] {
        let error = anneal(["translate"].into_iter().chain(arguments.iter().copied())).error(code);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let newer =
        anneal_of("version = 2\nschedule = \"cosine(0.1)\"\n", &["show", "-", "--steps", "9"]);
    assert!(newer.error(1).contains("allowed: 1 to 1; update anneal-schedule"));
}

/// A field of a straight line is found in a file by either name.
#[test]
fn a_field_of_a_line_has_its_place() {
    let text = "[schedule.polynomial]\nstart = 0.1\nend = -0.1\n";
    let error = anneal_of(text, &["show", "-", "--steps", "9"]).error(1);
    assert!(error.contains("stdin:3:7: linear.end: -0.1"), "{error}");
}

/// At 270, 1,000 and 450,450 updates the last rate alone shows nothing.
#[test]
fn a_cosine_that_rises_again_is_found_wherever_the_run_ends() {
    for steps in ["120", "200", "270", "1000", "450000", "450450"] {
        let lint = ["lint", "cosine(0.1).length(90).after(continue)", "--steps", steps];
        assert!(anneal(lint).stdout.contains("warning[rises-again]"), "{steps}");
    }
}

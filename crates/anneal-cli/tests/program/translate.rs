//! `anneal translate`

use crate::{anneal, anneal_of};
use anneal_config::TrainingConfig;
use anneal_control::peers;
use anneal_schedule::prelude::*;

const STEP: &str = r#"{"step_size": 30, "gamma": 0.5}"#;

fn translate<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let unit = ["translate", "--from", "torch", "--base-lr", "0.1", "--unit", "steps"];
    unit.iter().chain(arguments).copied().collect()
}

#[test]
fn every_format_says_the_same_schedule() {
    let expected: ScheduleConfig = step_decay(0.1, Span::steps(30), 0.5).into();
    let printed =
        |format| anneal(translate(&["--name", "StepLR", STEP, "--format", format])).fine();
    assert_eq!(ScheduleConfig::from_toml(&printed("toml")).unwrap(), expected);
    assert_eq!(ScheduleConfig::from_json(&printed("json")).unwrap(), expected);
    assert_eq!(printed("text"), "step_decay(0.1, 30, 0.5)\n");
}

const PLATEAU: &str = r#"{"factor": 0.5, "patience": 3}"#;

/// A scheduler that needs a metric becomes a schedule and a controller.
#[test]
fn a_plateau_is_printed_with_its_schedule() {
    let arguments = serde_json::from_str(PLATEAU).unwrap();
    let expected = peers::translate("torch", "ReduceLROnPlateau", &arguments, 0.1).unwrap();
    let plateau = ["--name", "ReduceLROnPlateau", PLATEAU];
    let printed =
        |format| anneal(translate(&[&plateau[..], &["--format", format]].concat())).fine();
    let toml = printed("toml");
    let of_file = |read: Result<TrainingConfig, FileError>| {
        let config = read.unwrap();
        let controller = config.controllers[0].scoped();
        (config.schedule, Some(controller))
    };
    let expected = (expected.rate, expected.controller);
    assert_eq!(of_file(TrainingConfig::from_toml(&toml)), expected);
    assert!(toml.starts_with("schedule = \"constant(0.1)\"\n"), "{toml}");
    assert!(toml.contains("[controller.rule.plateau]\nsignal = \"valid Loss\"\n"), "{toml}");
    assert_eq!(of_file(TrainingConfig::from_json(&printed("json"))), expected);
    let text = "constant(0.1)\nPlateau::min(MetricOf::valid(\"Loss\")).factor(0.5).patience(3)\n";
    assert_eq!(printed("text"), text);
    let momentum = anneal(translate(&[&plateau[..], &["--momentum"]].concat())).error(2);
    assert!(momentum.contains("does not change the momentum"), "{momentum}");
}

/// What a controller is told of the run is in the file too.
#[test]
fn a_warm_up_of_timm_is_one_of_the_file() {
    let arguments = r#"{"warmup_t": 5, "lr_min": 1e-5}"#;
    let named = ["--name", "plateau", "--base-lr", "0.1", "--unit", "steps", arguments];
    let toml = anneal(["translate", "--from", "timm"].into_iter().chain(named));
    let config = TrainingConfig::from_toml(&toml.fine()).unwrap();
    let given = serde_json::from_str(arguments).unwrap();
    let expected = peers::translate("timm", "plateau", &given, 0.1).unwrap();
    assert_eq!(config.controllers[0].scoped(), expected.controller.unwrap());
    assert_eq!(config.controllers[0].name, "plateau");
    assert_eq!(config.schedule.to_string(), "constant(0.1).warmup(5).include_start()");
}

#[test]
fn what_it_listens_to_can_be_said() {
    let of = |signal| {
        let plateau = ["--name", "ReduceLROnPlateau", PLATEAU, "--format", "text"];
        anneal(translate(&[&plateau[..], &["--signal", signal]].concat()))
    };
    assert!(of("train Perplexity").fine().contains("min(MetricOf::train(\"Perplexity\"))"));
    let highest = of("valid Accuracy").error(1);
    assert!(highest.contains("min: `valid Accuracy` is not allowed"), "{highest}");
    let unknown = of("los").error(2);
    assert!(unknown.contains("`valid NAME`"), "{unknown}");
    let deaf = anneal(translate(&["--name", "StepLR", STEP, "--signal", "loss"])).error(2);
    assert!(deaf.contains("StepLR does not use a metric"), "{deaf}");
}

#[test]
fn timms_warm_up_stands_before_its_plateau() {
    let timm = r#"{"name": "plateau", "base_lr": 0.1, "args": {"warmup_t": 50, "mode": "min"}}"#;
    let unit = ["--unit", "steps", timm];
    let printed =
        anneal(["translate", "--from", "timm", "--format", "text"].into_iter().chain(unit)).fine();
    let expected = "constant(0.1).warmup(50).include_start()\n\
                    Plateau::min(MetricOf::valid(\"Loss\")).factor(0.1).patience(10).after(50)\n";
    assert_eq!(printed, expected);
}

#[test]
fn the_name_may_stand_beside_the_arguments() {
    let apart = anneal(translate(&["--name", "StepLR", STEP])).fine();
    let together = format!(r#"{{"name": "StepLR", "args": {STEP}}}"#);
    assert_eq!(anneal(translate(&[&together])).fine(), apart);
    let twice = anneal(translate(&["--name", "StepLR", &together])).error(2);
    assert!(twice.contains("named twice"), "{twice}");
    let never = anneal(translate(&[STEP])).error(2);
    assert!(never.contains("--name NAME"), "{never}");
}

#[test]
fn the_base_rate_is_needed_where_something_scales_it() {
    let with_rate = format!(r#"{{"name": "StepLR", "args": {STEP}, "base_lr": 0.1}}"#);
    let apart = anneal(translate(&["--name", "StepLR", STEP])).fine();
    let unit = ["--unit", "steps", &with_rate];
    assert_eq!(anneal(["translate", "--from", "torch"].into_iter().chain(unit)).fine(), apart);
    let twice = anneal(translate(&[&with_rate])).error(2);
    assert!(twice.contains("given twice"), "{twice}");
    let never = anneal(["translate", "--from", "torch", "--name", "StepLR", STEP]).error(2);
    assert!(never.contains("--base-lr RATE"), "{never}");
    let text = r#"{"name": "StepLR", "args": {"step_size": 3}, "base_lr": "0.1"}"#;
    let text = anneal(["translate", "--from", "torch", text]).error(1);
    assert!(text.contains("`base_lr` = \"0.1\" is not allowed"), "{text}");
    let arguments = r#"{"name": "constant_schedule", "args": {"value": 0.5}}"#;
    let optax = ["translate", "--from", "optax", "--format", "text", arguments];
    assert_eq!(anneal(optax).fine(), "constant(0.5)\n");
}

#[test]
fn the_translation_can_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("step.toml");
    std::fs::write(&file, anneal(translate(&["--name", "StepLR", STEP])).fine()).unwrap();
    anneal(["show", file.to_str().unwrap(), "--steps", "90"]).fine();
}

#[test]
fn of_a_translation_with_a_controller_the_schedule_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plateau.toml");
    let plateau = anneal(translate(&["--name", "ReduceLROnPlateau", PLATEAU])).fine();
    std::fs::write(&file, &plateau).unwrap();
    let shown = anneal(["sample", file.to_str().unwrap(), "--steps", "0..3"]);
    assert!(shown.code == Some(0) && shown.stdout.contains("0.1"), "{shown:?}");
    assert!(shown.stderr.contains("its controllers are ignored"), "{shown:?}");
    std::fs::write(&file, plateau.replace("patience", "patiense")).unwrap();
    let error = anneal(["sample", file.to_str().unwrap(), "--steps", "0..3"]).error(1);
    assert!(error.contains("patiense"), "{error}");
}

#[test]
fn peers_are_listed() {
    let listed = anneal(["translate", "--list"]).fine();
    let peers: Vec<&str> = listed.lines().map(|line| line.split_once(':').unwrap().0).collect();
    let schedulers = ["torch", "optax", "timm", "transformers", "keras", "fastai"];
    let configurations = ["hf-args", "timm-args", "deepspeed", "composer"];
    assert_eq!(peers, [&schedulers[..], &configurations].concat());
    for name in ["StepLR", "WSDLRScheduler", "ReduceLROnPlateau", "plateau", "greedy"] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
}

#[test]
fn each_mistake_is_named() {
    for (arguments, code, words) in [
        (&["--name", "StpLR", "{}"] as &[&str], 2, "did you mean `StepLR`?"),
        (&["--name", "StepLR", "{"], 2, "ARGS: not a JSON object"),
        (
            &["--name", "StepLR", r#"{"step_size": 3, "step_size": 4}"#],
            2,
            "`step_size` is given twice",
        ),
        (&[r#"{"name": "StepLR", "arg": {"step_size": 3}}"#], 2, "unknown field `arg`"),
        (&[r#"{"name": "StepLR", "step_size": 3}"#], 2, "unknown field `step_size`"),
        (&[r#"{"name": "StepLR", "peer": "keras"}"#], 2, "said to be of torch and of keras"),
        (&["--name", "StepLR", "[]"], 1, "must be a JSON object"),
        (&["--name", "StepLR", "{}"], 1, "`step_size` is missing"),
        (&["--name", "StepLR", r#"{"step_sze": 3}"#], 1, "did you mean `step_size`?"),
        (&["--name", "StepLR", r#"{"step_size": 0}"#], 1, "at least 1"),
        (&["--name", "ReduceLROnPlateu", "{}"], 2, "did you mean `ReduceLROnPlateau`?"),
        (&["--name", "ReduceLROnPlateau", r#"{"factr": 0.5}"#], 1, "did you mean `factor`?"),
        (&["--name", "StepLR", STEP, "--momentum"], 2, "does not change the momentum"),
    ] {
        let error = anneal(translate(arguments)).error(code);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let peer = ["translate", "--from", "torc", "--name", "StepLR", "--base-lr", "0.1", STEP];
    assert!(anneal(peer).error(2).contains("did you mean `torch`?"));
    for rate in ["nan", "inf", "0"] {
        let rate = format!("--base-lr={rate}");
        let error =
            anneal(["translate", "--from", "torch", "--name", "StepLR", &rate, STEP]).error(1);
        assert!(error.contains("a finite number above 0"), "{error}");
    }
}

/// The file, the notes on stderr, and a name that says which is which.
#[test]
fn a_configuration_is_a_training_and_notes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("args.json");
    let text = r#"{"learning_rate": 2e-5, "max_steps": 100, "weight_decay": 0.01, "output_dir": "o", "label_smoothing_factor": 0.1}"#;
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let printed = anneal(["translate", "--from", "hf-args", file]);
    let training = TrainingConfig::from_toml(&printed.stdout).unwrap();
    assert_eq!(training.clip_global_norm, Some(1.0));
    for line in [
        "note: run: 100 updates, RunLength::updates(100)\n",
        "note: not translated: label_smoothing_factor: it belongs to the loss",
        "note: not about training: output_dir\n",
    ] {
        assert!(printed.stderr.contains(line), "{line}: {printed:?}");
    }
    let same = [
        anneal(["translate", "--from", "hf-args", text]),
        anneal(["translate", "--from", "hf-args", &format!("@{file}")]),
        anneal_of(text, &["translate", "--from", "hf-args", "-"]),
    ];
    assert!(same.iter().all(|other| other.stdout == printed.stdout), "{same:?}");
    let words = anneal(["translate", "--from", "hf-args", file, "--format", "text"]).stdout;
    assert!(words.contains("clipped to a norm of 1"), "{words}");
}

#[test]
fn a_command_line_follows_two_dashes() {
    let apart = ["translate", "--from", "timm-args", "--steps-per-epoch", "10", "--"];
    let words = ["--sched", "cosine", "--lr", "1e-3", "--epochs", "20", "--model", "a b"];
    let printed = anneal(apart.into_iter().chain(words));
    assert!(printed.stdout.contains(".stretch(10.0)"), "{printed:?}");
    assert!(printed.stderr.contains("not about training: model"), "{printed:?}");
    let one = "--sched cosine --lr 1e-3 --epochs 20 --model 'a b'";
    assert_eq!(anneal(apart.into_iter().chain([one])).stdout, printed.stdout);
    let piped =
        anneal_of(one, &["translate", "--from", "timm-args", "--steps-per-epoch", "10", "-"]);
    assert_eq!(piped.stdout, printed.stdout);
}

#[test]
fn a_unit_that_is_not_said_is_noted() {
    let step = [
        "translate",
        "--from",
        "torch",
        "--base-lr",
        "0.1",
        "StepLR(optimizer, 30)",
        "--format",
        "text",
    ];
    let assumed = anneal(step);
    assert_eq!(assumed.stdout, "step_decay(0.1, 30, 0.1)\n");
    assert!(assumed.stderr.contains("--unit ep or --unit steps"), "{assumed:?}");
    let epochs = anneal(step.into_iter().chain(["--unit", "ep"]));
    assert_eq!(epochs.stdout, "step_decay(0.1, 30ep, 0.1)\n");
    let cycle =
        anneal(["translate", "--from", "torch", "OneCycleLR(o, max_lr=0.1, total_steps=100)"]);
    assert!(cycle.stderr.contains("--momentum") && !cycle.stderr.contains("--unit"), "{cycle:?}");
}

#[test]
fn groups_are_named_in_their_order() {
    let cycle = "OneCycleLR(optimizer, max_lr=[0.01, 0.1], total_steps=100)";
    let unnamed = anneal(["translate", "--from", "torch", cycle]).error(2);
    assert!(unnamed.contains("--group NAME=PATTERN"), "{unnamed}");
    let named = ["--group", "body=^body", "--group", "head=^head", cycle];
    let printed = anneal(["translate", "--from", "torch"].into_iter().chain(named)).stdout;
    let groups = TrainingConfig::from_toml(&printed).unwrap().groups.unwrap().groups;
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["body", "head"]);
    let wrong = anneal(["translate", "--from", "torch", "--group", "head", cycle]).error(2);
    assert!(wrong.contains("is not NAME=PATTERN"), "{wrong}");
}

#[test]
fn a_wrong_configuration_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.yaml");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, code, words) in [
        (&["--from", "hf-arg", "{}"] as &[&str], 2, "did you mean `hf-args`?"),
        (&["--from", "hf-args", "{"], 2, "ARGS: not a JSON object"),
        (&["--from", "hf-args", "[1]"], 1, "must be a JSON object"),
        (&["--from", "hf-args", empty], 2, "empty.yaml: the text is empty"),
        (&["--from", "hf-args", "missing.json"], 2, "missing.json: "),
        (&["--from", "hf-args", "{}", "--unit", "ep"], 2, "its lengths have their own"),
        (&["--from", "hf-args", "{}", "--steps-per-epoch", "0"], 2, "updates per epoch: 0"),
        (
            &["--from", "deepspeed", "max_duration: 3ep"],
            1,
            "ARGS: this is not a configuration of deepspeed",
        ),
        (&["--from", "timm-args", "--", "--sched", "cosin"], 2, "did you mean `cosine`?"),
        (&["--from", "torch", "StepLR(o, 3)", "--unit", "hours"], 2, "ep, steps"),
    ] {
        let error = anneal(["translate"].into_iter().chain(arguments.iter().copied())).error(code);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

//! `anneal lint`

use crate::{anneal, anneal_of};
use anneal_schedule::lint::Code;
use serde_json::Value;

#[test]
fn a_good_schedule_has_no_findings() {
    let said = anneal(["lint", "cosine(3e-4).warmup(5%)", "--steps", "1000"]).fine();
    assert_eq!(said, "cosine(3e-4).warmup(5%): fine\n");
}

#[test]
fn a_finding_has_a_code_a_severity_a_step_and_exit_code_1() {
    let cut = ["lint", "warm_restarts(0.1, 600)", "--steps", "1000"];
    let ran = anneal(cut);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stdout.contains("warning[unreachable-end] at update 999: "), "{ran:?}");
    let ran = anneal(cut.into_iter().chain(["--format", "json"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{ran:?}");
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    let finding = &all[0]["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["severity"]),
        (&"unreachable-end".into(), &"warning".into())
    );
    assert_eq!(finding["step"], 999);
}

#[test]
fn notes_are_fine_unless_they_are_not() {
    let note = ["lint", "cosine(0.1).floor(0.02)", "--steps", "1000"];
    let said = anneal(note).fine();
    assert!(said.contains("note[flat-floor] at update "), "{said}");
    let strict = anneal(note.into_iter().chain(["--strict"]));
    assert_eq!((strict.code, strict.stdout), (Some(1), said));
}

#[test]
fn what_is_allowed_is_no_finding() {
    let of = |flags: &[&str]| {
        let cut = ["lint", "warm_restarts(20.0, 600)", "--steps", "1000"];
        anneal(cut.iter().chain(flags).copied())
    };
    assert_eq!(of(&[]).stdout.lines().count(), 2);
    let one = of(&["--allow", "unreachable-end"]);
    assert!(one.code == Some(1) && one.stdout.contains("rate-too-high"), "{one:?}");
    let both = ["--allow", "unreachable-end", "--allow", "rate-too-high"];
    assert_eq!(of(&both).fine(), "warm_restarts(20.0, 600): fine\n");
    assert_eq!(of(&["--allow", "unreachable-end,rate-too-high"]).code, Some(0));
    let error = of(&["--allow", "unreachable"]).error(2);
    assert!(error.contains("did you mean `unreachable-end`?"), "{error}");
    assert!(error.contains("allowed: never-warm, "), "{error}");
}

#[test]
fn all_schedules_are_linted_whatever_becomes_of_others() {
    let all = ["cosine(", "missing.toml", "cosine(0.1)", "constant(0.1).warmup(2000)"];
    let lint = |flags: &[&'static str]| {
        anneal(["lint", "--steps", "1000"].into_iter().chain(all).chain(flags.iter().copied()))
    };
    let ran = lint(&[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0] == "cosine(0.1): fine" && lines[1].contains("warmup-longer-than-run"));
    assert!(ran.stderr.contains("error: column 8") && ran.stderr.contains("error: missing.toml: "));

    let ran = lint(&["--format", "json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let schedules: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["schedule"].as_str().unwrap()).collect();
    assert_eq!((ran.code, schedules), (Some(2), all.to_vec()));
    assert!(found[0]["error"].as_str().unwrap().starts_with("column 8"), "{found}");
    assert_eq!(found[2]["findings"], Value::Array(vec![]));
}

#[test]
fn a_wrong_schedule_alone_is_exit_code_1() {
    let ran = anneal_of("cosine(0.1).flor(1)", &["lint", "-", "--steps", "100"]);
    assert!(ran.error(1).contains("did you mean `floor`?"));
}

/// The command below `line` in an explanation.
fn example(explained: &str, line: &str) -> Vec<String> {
    let (_, after) = explained.split_once(line).unwrap();
    let command = after.trim_start().lines().next().unwrap();
    let parts: Vec<&str> = command.split('\'').collect();
    let [anneal, schedule, flags] = parts[..] else { panic!("{command}") };
    assert_eq!(anneal, "anneal lint ");
    let flags = flags.split_whitespace().map(str::to_string);
    ["lint".to_string(), schedule.into()].into_iter().chain(flags).collect()
}

#[test]
fn every_code_is_explained_by_schedules_that_show_it() {
    for code in Code::ALL {
        let explained = anneal(["lint", "--explain", code.as_str()]).fine();
        assert!(explained.contains(code.meaning().split_whitespace().next().unwrap()));
        assert!(explained.lines().all(|line| line.chars().count() <= 100), "{explained}");
        let tag = format!("[{code}]");
        let arguments = example(&explained, "It is found in\n");
        let bad = anneal(arguments.iter().map(String::as_str)).stdout;
        // Nothing else is wrong with it.
        assert!(bad.lines().all(|line| line.contains(&tag)) && !bad.is_empty(), "{code}: {bad}");
        let arguments = example(&explained, "and not in\n");
        let good = anneal(arguments.iter().map(String::as_str)).fine();
        let teaches = |line: &str| line.ends_with(": fine") || line.contains("note[fading-decay]");
        assert!(good.lines().all(teaches) && !good.contains(&tag), "{code}: {good}");
    }
}

#[test]
fn codes_are_listed_and_an_unknown_one_names_them() {
    let listed = anneal(["lint", "--explain"]).fine();
    for code in Code::ALL {
        assert!(listed.lines().any(|line| line.starts_with(code.as_str())), "{code}: {listed}");
    }
    let error = anneal(["lint", "--explain", "ends-earli"]).error(2);
    assert!(
        error.contains("did you mean `ends-early`?") && error.contains("never-warm"),
        "{error}"
    );
}

/// From users' reports: these mistakes were once missed or only sometimes found.
#[test]
fn known_mistakes_are_found() {
    let epochs = |epochs, updates| ["--epochs", epochs, "--steps-per-epoch", updates];
    for (schedule, run, code) in [
        ("cosine(1e-3).end(1e-5).length(300)", epochs("300", "1251"), "looks-like-epochs"),
        ("cosine(0.1).length(10)", epochs("10", "391"), "looks-like-epochs"),
        ("step_decay(0.1, 30, 0.1)", epochs("90", "5005"), "looks-like-epochs"),
        ("multi_step(0.1, [30, 60], 0.1)", epochs("90", "5005"), "looks-like-epochs"),
        ("warm_restarts(0.1, 10)", epochs("90", "5005"), "looks-like-epochs"),
        ("step_decay(0.1, 150150ep, 0.1)", epochs("90", "5005"), "looks-like-updates"),
        ("linear(0.1, 0.0).repeat_every(3)", epochs("10", "391"), "short-period"),
        ("cosine(0.1).length(100).after(continue)", epochs("100", "250"), "looks-like-epochs"),
        ("cosine(0.1).length(100).after(continue)", epochs("100", "90"), "rises-again"),
        ("cosine(0.1).length(90).after(continue)", epochs("90", "5005"), "looks-like-epochs"),
        ("cosine(30)", epochs("10", "391"), "rate-too-high"),
        ("cosine(0.1).warmup(5%).warmup(500)", epochs("10", "391"), "double-warmup"),
        ("cosine(0.1).warmup(5)", epochs("90", "391"), "looks-like-epochs"),
        ("cosine(0.1).warmup(1%)", epochs("1", "10"), "warmup-rounds-to-zero"),
        ("constant(1e-4).then(50%, constant(0.1))", epochs("10", "391"), "sudden-jump"),
    ] {
        let ran = anneal(["lint", schedule].into_iter().chain(run));
        assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 1), "{ran:?}");
        assert!(ran.stdout.contains(&format!("[{code}]")), "{ran:?}");
    }
}

#[test]
fn a_warm_up_may_be_as_long_as_it_is_told() {
    let said = anneal(["lint", "cosine(3e-4).warmup(100)", "--steps", "14"]).stdout;
    assert!(said.contains("warm up for at most 13 updates"), "{said}");
    let said = anneal(["lint", "cosine(3e-4).warmup(13)", "--steps", "14"]).stdout;
    assert!(!said.contains("longer-than-run"), "{said}");
}

//! `anneal sample`

use crate::{anneal, program};
use anneal_schedule::prelude::*;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn rates_come_back_to_the_last_digit() {
    let text = "cosine(0.0003).end(1e-07).warmup(5%)";
    let config: ScheduleConfig = text.parse().unwrap();
    let schedule = config.resolve(RunLength::updates(1_000)).unwrap();
    let arguments =
        ["sample", text, "--steps", "30..100", "--every", "7", "--run-steps", "1000", "--format"];
    let csv = anneal(arguments.iter().copied().chain(["csv"])).fine();
    let rows: Vec<(u64, f64)> = csv
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .map(|(step, rate)| (step.parse().unwrap(), rate.parse().unwrap()))
        .collect();
    let expected: Vec<(u64, f64)> =
        (30..100).step_by(7).map(|step| (step, schedule.rate(step))).collect();
    assert_eq!(rows, expected);
    assert_eq!(csv.lines().next(), Some("step,rate"));

    let json = anneal(arguments.iter().copied().chain(["json"])).fine();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = json.as_array().unwrap().iter();
    let rows: Vec<(u64, f64)> =
        rows.map(|row| (row["step"].as_u64().unwrap(), row["rate"].as_f64().unwrap())).collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_range_and_the_length_of_the_run_are_two_things() {
    // Without a length the schedule has no end; with one it holds its last rate.
    let rates = |more: &[&str]| {
        let arguments = ["sample", "step_decay(1.0, 2, 0.5)", "--steps", "3..6"];
        anneal(arguments.iter().chain(more).copied()).fine()
    };
    assert_eq!(rates(&[]), "step,rate\n3,0.5\n4,0.25\n5,0.25\n");
    assert_eq!(rates(&["--run-steps", "4"]), "step,rate\n3,0.5\n4,0.5\n5,0.5\n");
    let error = anneal(["sample", "cosine(0.1)", "--steps", "0..9"]).error(2);
    assert!(error.contains("give --run-steps N, or --epochs N --steps-per-epoch M"), "{error}");
}

#[test]
fn the_last_updates_can_be_printed() {
    let range = "18446744073709551613..18446744073709551615";
    let printed = anneal(["sample", "constant(0.5)", "--steps", range]).fine();
    assert_eq!(printed, "step,rate\n18446744073709551613,0.5\n18446744073709551614,0.5\n");
    let every =
        anneal(["sample", "constant(1)", "--steps", "0..9", "--every", "18446744073709551615"]);
    assert_eq!(every.fine(), "step,rate\n0,1.0\n");
}

#[test]
fn a_range_without_updates_is_refused() {
    for range in ["5..5", "6..5", "5", "0..1e-3", "0..99999999999999999999", ".."] {
        let error = anneal(["sample", "constant(1)", "--steps", range]).error(2);
        assert!(error.contains("FIRST..END") && error.contains("allowed"), "{range}: {error}");
    }
    assert!(
        anneal(["sample", "constant(1)", "--steps", "0..9", "--every", "0"])
            .error(2)
            .contains("every")
    );
}

#[test]
fn a_reader_that_leaves_ends_a_long_range_quietly() {
    for format in ["csv", "json"] {
        let mut child = program()
            .args(["sample", "constant(0.5)", "--steps", "0..1000000000000", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.nth(1_000).unwrap().unwrap().contains("0.5"));
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn counts_are_written_as_people_write_them() {
    let rates = |steps: &str, run: &str| {
        anneal([
            "sample",
            "linear(1.0, 0.0)",
            "--steps",
            steps,
            "--run-steps",
            run,
            "--every",
            "1k",
        ])
        .fine()
    };
    let plain = rates("0..2000", "4000");
    assert_eq!(plain, "step,rate\n0,1.0\n1000,0.75\n");
    assert_eq!((rates("0..2e3", "4_000"), rates("0..2k", "4k")), (plain.clone(), plain));
    for flags in [
        ["--run-steps", "10,000"],
        ["--run-steps", "1.5"],
        ["--run-steps", "-3"],
        ["--every", "ten"],
    ] {
        let arguments = ["sample", "constant(1)", "--steps", "0..9"];
        let error = anneal(arguments.into_iter().chain(flags)).error(2);
        assert!(error.contains(flags[1]), "{error}");
    }
}

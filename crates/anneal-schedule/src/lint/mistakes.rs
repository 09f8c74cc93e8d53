//! Mistakes next to similar schedules that are correct: most mistakes are a length or a rate in the wrong
//! unit.

use super::*;
use crate::prelude::*;

fn codes_in(text: &str, run: RunLength) -> Vec<(Code, Option<u64>)> {
    let config: ScheduleConfig = text.parse().unwrap();
    let findings = lint(&config, run, &Options::new()).unwrap();
    findings.iter().map(|finding| (finding.code, finding.step)).collect()
}

/// The findings in a run of 3,910 updates.
fn codes(text: &str) -> Vec<(Code, Option<u64>)> {
    codes_in(text, RunLength::updates(3_910))
}

/// Expects a single finding, at this update.
fn only(text: &str, code: Code, step: u64) {
    assert_eq!(codes(text), [(code, Some(step))], "{text}");
}

fn fine(text: &str) {
    assert_eq!(codes(text), [], "{text}");
}

#[test]
fn rates_that_nothing_bears() {
    only("cosine(30)", Code::RateTooHigh, 0);
    only("cosine(20).warmup(100)", Code::RateTooHigh, 100);
    // Super-convergence.
    fine("one_cycle(3.0)");
    fine("cosine(10)");
}

#[test]
fn multipliers_are_no_rates() {
    only("linear(1.0, 0.0)", Code::LooksLikeMultiplier, 0);
    only("constant(1.0).warmup(100)", Code::LooksLikeMultiplier, 100);
    only("exponential(1.0, half_life(1000))", Code::LooksLikeMultiplier, 0);
    fine("linear(1.0, 0.0).scale(0.1)");
    fine("linear(0.9, 0.0)");
    // Its factor of 1 is not a rate.
    fine("noam(1.0, 512, 400)");
}

#[test]
fn decays_that_are_over_at_once() {
    only("cosine(0.1).length(10)", Code::EndsEarly, 10);
    only("cosine(0.1).end(0.01).length(10)", Code::EndsEarly, 10);
    only("cosine(0.1).length(10).warmup(100)", Code::EndsEarly, 110);
    only("multi_step(0.1, [10, 20], 0.5)", Code::EndsEarly, 20);
    // The first with a rate below 1 % of 0.1: ⌈ln 100 / −ln 0.95⌉.
    only("exponential(0.1, factor(factor = 0.95, per = 1))", Code::EndsEarly, 90);
    // Found in a part as in the whole.
    let parts = "constant(0.1).then(50%, linear(0.1, 0.01).length(50))";
    only(parts, Code::EndsEarly, 1_955 + 50);
    // A tenth of the run is early, more is not; and a rise is a warm-up.
    // Within a hundredth of 0.1 from 391 · 0.089/0.09 = 386.7 on.
    only("linear(0.1, 0.01).length(10%)", Code::EndsEarly, 387);
    fine("linear(0.1, 0.01).length(20%)");
    fine("linear(0.01, 0.1).length(10)");
    fine("one_cycle(0.1).length(3000).end(0.01)");
    fine("constant(0.1)");
}

/// torch's example in epochs, read as updates: 0.1, 0.01, 0.001 in the first 60 of 450,450.
#[test]
fn a_step_decay_in_updates_that_was_meant_in_epochs() {
    let run = RunLength::updates_per_epoch(5_005).epochs(90);
    assert_eq!(codes_in("step_decay(0.1, 30, 0.1)", run), [(Code::LooksLikeEpochs, Some(0))]);
    assert_eq!(codes_in("step_decay(0.1, 30ep, 0.1)", run), []);
    // Without epochs: from 0.001 on it is within 1 % of the peak, of 0.
    let run = RunLength::updates(450_450);
    assert_eq!(codes_in("step_decay(0.1, 30, 0.1)", run), [(Code::EndsEarly, Some(60))]);
    let floored = codes_in("step_decay(0.1, 30, 0.1).floor(1e-3)", run);
    assert_eq!(floored, [(Code::EndsEarly, Some(60))]);
}

#[test]
fn periods_of_a_few_updates() {
    for text in
        ["linear(0.1, 0.0).repeat_every(3)", "warm_restarts(0.1, 10)", "cyclic(0.01, 0.1, 5)"]
    {
        assert_eq!(codes(text), [(Code::ShortPeriod, None)], "{text}");
    }
    fine("linear(0.1, 0.01).repeat_every(3).count(3)");
    fine("cyclic(0.01, 0.1, 50)");
    // Cycles of 10, 20, … 1,280.
    assert_eq!(codes_in("warm_restarts(0.1, 10).multiplier(2.0)", RunLength::updates(2_550)), []);
    // A wave in each of many epochs.
    let run = RunLength::updates_per_epoch(20).epochs(200);
    assert_eq!(codes_in("cosine(0.1).repeat_every(20)", run), []);
    assert_eq!(codes_in("cosine(0.1).repeat_every(10)", run), [(Code::ShortPeriod, None)]);
}

#[test]
fn jumps_that_nobody_asked_for() {
    only("constant(1e-4).then(100, constant(0.1))", Code::SuddenJump, 100);
    only("linear(0.0, 3e-4).then(50, cosine(0.3))", Code::SuddenJump, 50);
    only("constant(0.1).then(100, constant(9e-4)).floor(2e-3)", Code::SuddenJump, 100);
    only("piecewise_constant(0.1, [1000, 3500], [0.01, 0.00001])", Code::SuddenJump, 3_500);
    // A first epoch at a tenth, drops by 10 and by 100, restarts from 0 and from a lower peak.
    fine("constant(0.01).then(400, constant(0.1))");
    fine("constant(0.1).then(50%, constant(0.001))");
    fine("piecewise_constant(0.1, [1000, 2000], [0.01, 0.001])");
    fine("cosine(0.1).then(50%, cosine(0.05))");
    fine("cosine(0.1).then(50%, linear(0.0, 0.1).then(5%, cosine(0.1)))");
    fine("multi_step(0.1, [3000], 0.001).floor(1e-3)");
}

#[test]
fn warm_ups_whose_number_could_be_epochs() {
    let found = |text| codes_in(text, RunLength::updates_per_epoch(391).epochs(90));
    assert_eq!(found("cosine(0.1).warmup(5)"), [(Code::LooksLikeEpochs, Some(0))]);
    assert_eq!(found("cosine(0.1).warmup(18)"), [(Code::LooksLikeEpochs, Some(0))]);
    // A twentieth of an epoch; more than the epochs; epochs.
    for text in ["cosine(0.1).warmup(19)", "cosine(0.1).warmup(91)", "cosine(0.1).warmup(5ep)"] {
        assert_eq!(found(text), [], "{text}");
    }
    assert_eq!(codes("cosine(0.1).warmup(5)"), []);
    let few = RunLength::updates_per_epoch(391).epochs(4);
    assert_eq!(codes_in("cosine(0.1).warmup(5)", few), []);
}

#[test]
fn lengths_whose_number_could_be_epochs() {
    let run = RunLength::updates_per_epoch(1_251).epochs(300);
    let found = |text: &str| {
        let findings = lint(&text.parse().unwrap(), run, &Options::new()).unwrap();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (text, change) in [
        ("cosine(1e-3).length(300)", "write 300ep"),
        (
            "cosine(1e-3).length(60)",
            "the length 60 is in updates, a small part of one of 300 epochs; write 60ep",
        ),
        ("cosine(1e-3).length(60).after(continue)", "write 60ep"),
        ("cosine(1e-3).length(50).warmup(80)", "write 50ep"),
        ("linear(1e-3, 1e-5).length(60)", "write 60ep"),
        ("one_cycle(1e-3).length(60)", "write 60ep"),
        ("step_decay(0.1, 30, 0.1)", "write 30ep"),
        ("warm_restarts(0.1, 10)", "write 10ep"),
        ("warm_restarts(0.1, 10).multiplier(2)", "write 10ep"),
        ("cyclic(0.01, 0.1, 5)", "write 5ep"),
        (
            "multi_step(0.1, [30, 60], 0.1)",
            "the lengths 30, 60 are in updates, a small part of one of 300 epochs; write 30ep, 60ep",
        ),
        ("piecewise_constant(0.1, [30, 60], [0.05, 0.01])", "write 30ep, 60ep"),
        ("linear(0.01, 0.1).then(5, cosine(0.1))", "write 5ep"),
    ] {
        let said = found(text);
        assert!(said.starts_with("warning[looks-like-epochs] at update"), "{text}: {said}");
        assert!(said.contains(change) && said.lines().count() == 1, "{text}: {said}");
    }
    for text in [
        "cosine(1e-3).length(300ep)",
        "linear(0.1, 0.01).then(200, constant(0.01))",
        "step_decay(0.1, 300, 0.9999)",
        "multi_step(0.1, [30, 200000], 0.1)",
        // A delay of an update.
        "constant(1e-9).then(1, cosine(1e-8))",
        "linear(0.01, 0.1).then(5ep, cosine(0.1))",
        "warm_restarts(0.1, 30ep)",
    ] {
        assert_eq!(found(text), "", "{text}");
    }
}

#[test]
fn lengths_whose_number_could_be_updates() {
    let run = RunLength::updates_per_epoch(5_005).epochs(90);
    let found = |text: &str| codes_in(text, run);
    let updates = [(Code::LooksLikeUpdates, None)];
    assert_eq!(found("step_decay(0.1, 150150ep, 0.1)"), updates);
    assert_eq!(found("exponential(0.1, half_life(100000ep))"), updates);
    assert_eq!(found("exponential(0.1, factor(factor = 0.5, per = 100000ep))"), updates);
    assert_eq!(found("cosine(0.1).length(200000ep)"), updates);
    // More than the run in both units, and too few to be updates.
    for text in ["step_decay(0.1, 500000ep, 0.1)", "step_decay(0.1, 100ep, 0.1)"] {
        assert_eq!(found(text), [(Code::UnreachableEnd, None)], "{text}");
    }
    for text in ["exponential(0.1, half_life(500000ep))", "exponential(0.1, half_life(2000ep))"] {
        assert!(found(text).iter().all(|found| found.0 != Code::LooksLikeUpdates), "{text}");
    }
}

#[test]
fn warm_ups_that_are_none_or_two() {
    only("cosine(0.1).warmup(0.01%)", Code::WarmupRoundsToZero, 0);
    only("cosine(0.1).warmup(100).warmup(200)", Code::DoubleWarmup, 0);
    only("cosine(0.1).warmup(100).scale(2.0).warmup(200)", Code::DoubleWarmup, 0);
    only("one_cycle(0.1).warmup(100)", Code::DoubleWarmup, 0);
    only("noam(0.1, 512, 400).warmup(100)", Code::DoubleWarmup, 0);
    only("linear(0.0, 0.1).then(100, cosine(0.1)).warmup(100)", Code::DoubleWarmup, 0);
    fine("cosine(0.1).warmup(100)");
    fine("constant(0.1).then(50%, cosine(0.1).warmup(100)).warmup(100)");
    assert_eq!(codes("cosine(0.1).warmup(0.02%)"), []);
}

#[test]
fn floors_that_hold_a_rate_flat() {
    // 1 − t/3,910 is below 0.2 from t = 3,128 on.
    only("linear(0.1, 0.0).floor(0.02)", Code::FlatFloor, 3_128);
    only("linear(0.1, 0.0).warmup(110).floor(0.02)", Code::FlatFloor, 110 + 3_040);
    only("linear(0.1, 0.0).warmup(110).replace().floor(20%)", Code::FlatFloor, 3_128);
    // The first of ten cycles.
    only("warm_restarts(0.1, 391).floor(0.05)", Code::FlatFloor, 196);
    for text in [
        "cosine(0.1).end(0.02)",
        "cosine(0.1).end(20%)",
        "exponential(0.1, half_life(1000)).floor(0.02)",
        "step_decay(0.1, 1000, 0.1).floor(1e-3)",
        "linear(0.0, 0.1).floor(0.02)",
        // 3,910 · 0.0005 is 2.
        "linear(0.1, 0.0).floor(0.00005)",
    ] {
        fine(text);
    }
    let note = lint(&cosine(0.1).floor(0.02).into(), RunLength::updates(100), &Options::new());
    assert_eq!(note.unwrap()[0].severity, Severity::Note);
}

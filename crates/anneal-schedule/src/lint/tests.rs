//! An example for each finding, and recipes without any.

use super::*;
use crate::analysis::Optimizer;
use crate::prelude::*;

fn found(config: impl Into<ScheduleConfig>, run: RunLength, options: Options) -> Vec<Finding> {
    lint(&config.into(), run, &options).unwrap()
}

const RUN: u64 = 1_000;

/// The single finding of a bad schedule in a run of 1,000 updates.
fn only(config: impl Into<ScheduleConfig>, options: Options) -> Finding {
    let mut findings = found(config, RunLength::updates(RUN), options);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

fn code(config: impl Into<ScheduleConfig>) -> (Code, Option<u64>) {
    let finding = only(config, Options::new());
    (finding.code, finding.step)
}

/// Published recipes, with their weight decay.
#[test]
fn good_recipes_raise_no_alarm() {
    let epochs = |updates| RunLength::updates_per_epoch(updates).epochs(90);
    let adam = Optimizer::Adam { beta_1: 0.9 };
    let momentum = Optimizer::HeavyBall { momentum: 0.9 };
    let recipes: Vec<(&str, ScheduleConfig, RunLength, f64, Optimizer)> = vec![
        (
            "BERT",
            linear(1e-4, 0.0).warmup(Span::steps(10_000)).include_start().replace().into(),
            RunLength::updates(1_000_000),
            0.01,
            adam,
        ),
        (
            "GPT-3",
            cosine(6e-4).end(6e-5).warmup(Span::steps(750)).into(),
            RunLength::updates(600_000),
            0.1,
            adam,
        ),
        (
            "cosine to 0 without warm-up",
            cosine(0.1).into(),
            RunLength::updates_per_epoch(391).epochs(200),
            5e-4,
            momentum,
        ),
        ("ResNet", step_decay(0.1, Span::epochs(30), 0.1).into(), epochs(5_005), 1e-4, momentum),
        (
            "ResNet in an hour",
            multi_step(0.4, [Span::epochs(30), Span::epochs(60), Span::epochs(80)], 0.1)
                .warmup(Span::epochs(5))
                .overlay()
                .into(),
            epochs(1_251),
            1e-4,
            momentum,
        ),
        (
            "ResNet on CIFAR",
            multi_step(0.1, [Span::steps(32_000), Span::steps(48_000)], 0.1).into(),
            RunLength::updates(64_000),
            1e-4,
            momentum,
        ),
        (
            "EfficientNet",
            step_decay(0.256, Span::epochs(2.4), 0.97)
                .warmup(Span::epochs(5))
                .include_start()
                .replace()
                .into(),
            RunLength::updates_per_epoch(312).epochs(350),
            1e-5,
            momentum,
        ),
        (
            "one-cycle",
            one_cycle(0.1).into(),
            RunLength::updates_per_epoch(391).epochs(30),
            5e-4,
            momentum,
        ),
        (
            "one-cycle in three phases",
            one_cycle(0.1).three_phase().anneal(AnnealStrategy::Linear).into(),
            RunLength::updates_per_epoch(391).epochs(30),
            5e-4,
            momentum,
        ),
        (
            "WSD",
            warmup_stable_decay(3e-4, Span::percent(2), Span::percent(10)).into(),
            RunLength::updates(50_000),
            0.1,
            adam,
        ),
        (
            "SGDR, equal cycles",
            warm_restarts(0.05, Span::epochs(50)).into(),
            RunLength::updates_per_epoch(391).epochs(200),
            5e-4,
            momentum,
        ),
        (
            "SGDR, doubling cycles",
            warm_restarts(0.05, Span::epochs(10)).multiplier(2.0).into(),
            RunLength::updates_per_epoch(391).epochs(150),
            5e-4,
            momentum,
        ),
        (
            "polynomial, DeepLab",
            polynomial(0.007, 0.0, 0.9).into(),
            RunLength::updates(30_000),
            4e-5,
            momentum,
        ),
        (
            "ViT",
            cosine(3e-3).warmup(Span::steps(10_000)).into(),
            RunLength::updates(300_000),
            0.3,
            adam,
        ),
        ("constant", constant(1e-3).into(), RunLength::updates(10_000), 0.01, adam),
        (
            "constant with warm-up",
            constant(1e-3).warmup(Span::steps(100)).into(),
            RunLength::updates(10_000),
            0.01,
            adam,
        ),
        ("a run of one update", cosine(0.1).into(), RunLength::updates(1), 0.1, momentum),
    ];
    for (name, config, run, weight_decay, optimizer) in recipes {
        let peak = config.clone().resolve(run).unwrap().peak();
        // The highest curvature that the optimizer tolerates with 10 % to spare.
        let curvature = 0.9 * optimizer.ceiling(peak).unwrap();
        let options = Options::new().curvature(curvature).optimizer(optimizer);
        let schedule = config.clone().resolve(run).unwrap();
        let last = schedule.rate(run.resolve().unwrap().updates().unwrap() - 1);
        let findings = found(config, run, options.weight_decay(weight_decay));
        let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
        // Published with a decay that follows the rate down, which deserves a note.
        let fades = if last < 0.0999 * peak { vec![Code::FadingDecay] } else { vec![] };
        assert_eq!(codes, fades, "{name}: {findings:#?}");
    }
}

#[test]
fn never_warm() {
    // The warm-up overlaps a line that has reached 0 when the warm-up has reached 1.
    let over = linear(1.0, 0.0).warmup(Span::percent(50)).overlay();
    assert!(found(over, RunLength::updates(RUN), Options::new()).is_empty());
    let capped = linear(1.0, 0.0).times(linear(1e-9, 1.0));
    // x(1 − x) is at most ¼.
    assert_eq!(code(capped), (Code::NeverWarm, Some(500)));
}

#[test]
fn frozen_tail() {
    let half = linear(0.1, 0.0).length(Span::percent(50));
    // 1 − t/500 < 1 % from t = 496 on.
    assert_eq!(code(half.clone()), (Code::FrozenTail, Some(496)));
    // e^(−κt) < 1 % from t = 100 ln 100 = 460.5 on.
    let exponential = exponential(0.1, Decay::Kappa(0.01));
    assert_eq!(code(exponential), (Code::FrozenTail, Some(461)));
    // 5 % of the run at 0.
    let cosine = cosine(0.1).length(Span::percent(95));
    assert_eq!(code(cosine), (Code::FrozenTail, Some(950)));
    // A floor of 2 % keeps it alive, and is below 1 − t/500 until t = 490.
    assert_eq!(code(half.floor(0.002)), (Code::FlatFloor, Some(490)));
}

#[test]
fn unreachable_end() {
    assert_eq!(code(cosine(0.1).length(Span::steps(2_000))), (Code::UnreachableEnd, None));
    // Cycles of 100, 200, 400 and 800: the last one starts at 700 and is cut off at 300 of 800.
    let cut = warm_restarts(0.1, Span::steps(100)).multiplier(2.0);
    assert_eq!(code(cut), (Code::UnreachableEnd, Some(999)));
    assert_eq!(code(cosine(0.1).end(1e-3).floor(1e-2)), (Code::UnreachableEnd, None));
    assert_eq!(code(cosine(0.1).floor(1e-2)).0, Code::FlatFloor);
    // Inside a sequence the end of the part counts.
    let parts = warm_restarts(0.1, Span::steps(100))
        .multiplier(2.0)
        .then(Span::steps(300), linear(0.01, 0.0));
    assert!(found(parts, RunLength::updates(RUN), Options::new()).is_empty());
    let parts = warm_restarts(0.1, Span::steps(100))
        .multiplier(2.0)
        .then(Span::steps(400), linear(0.01, 0.0));
    assert_eq!(code(parts), (Code::UnreachableEnd, Some(399)));
}

#[test]
fn decay_never_starts() {
    let every = step_decay(0.1, Span::steps(RUN), 0.1);
    assert_eq!(code(every), (Code::DecayNeverStarts, None));
    assert_eq!(code(step_decay(0.1, Span::steps(10), 1.0)), (Code::DecayNeverStarts, None));
    let late = multi_step(0.1, [Span::percent(100)], 0.1);
    assert_eq!(code(late), (Code::DecayNeverStarts, None));
    let slow = exponential(0.1, Decay::HalfLife(Span::steps(100 * RUN)));
    assert_eq!(code(slow), (Code::DecayNeverStarts, None));
    let warmed = step_decay(0.1, Span::steps(900), 0.1).warmup(Span::steps(100));
    assert_eq!(code(warmed), (Code::DecayNeverStarts, Some(100)));
    assert!(
        found(step_decay(0.1, Span::steps(RUN - 1), 0.1), RunLength::updates(RUN), Options::new())
            .is_empty()
    );
}

/// torch's `CosineAnnealingLR` in runs that are longer than its `T_max` of 90, and not by an update or two.
#[test]
fn rises_again() {
    let wave = |length| cosine(0.1).length(Span::steps(length)).after(AfterEnd::Continue);
    let of = |updates| found(wave(90), RunLength::updates(updates), Options::new());
    for updates in [120, 200, 270, 1_000, 450_000, 450_450] {
        let findings = of(updates);
        let codes: Vec<_> = findings.iter().map(|finding| (finding.code, finding.step)).collect();
        assert_eq!(codes, [(Code::RisesAgain, Some(90))], "{updates}: {findings:#?}");
    }
    // ½(1 + cos(π · 99/90)) is 0.024.
    assert!(of(90).is_empty() && of(100).is_empty());
    // To ½(1 + cos(π · 119/90)) = 0.235 of the peak in 120 updates, and to all of it in 200.
    assert!(of(120)[0].message.contains("2.350e-2"), "{}", of(120)[0]);
    assert!(of(200)[0].message.contains("1.000e-1"), "{}", of(200)[0]);
    // Several waves are intended.
    let waves = wave(RUN / 3).cycles(1.0).end(0.05);
    assert!(found(waves, RunLength::updates(RUN), Options::new()).is_empty());
}

#[test]
fn restart_resets_nothing() {
    let only_cycle = warm_restarts(0.1, Span::steps(RUN));
    assert_eq!(code(only_cycle), (Code::RestartResetsNothing, None));
    // The second cycle's peak is ½, which is the end.
    let flat = warm_restarts(0.1, Span::steps(100)).end(0.05).peak_decay(0.5);
    assert_eq!(code(flat), (Code::RestartResetsNothing, Some(100)));
    // 1, ½, ¼, then below the end of 0.2 from the fourth restart on.
    let fading = warm_restarts(2.0, Span::steps(100)).end(0.2).peak_decay(0.5);
    assert_eq!(code(fading), (Code::RestartResetsNothing, Some(400)));
    // Cycles of one update never leave their peak.
    let single = warm_restarts(0.1, Span::steps(1));
    assert_eq!(code(single), (Code::RestartResetsNothing, Some(1)));
    let limited = warm_restarts(0.1, Span::steps(990)).limit(1).end(0.01);
    assert_eq!(code(limited), (Code::RestartResetsNothing, None));
}

#[test]
fn a_vanishing_decay_is_seen_however_long_the_run() {
    // The sum over a cosine has a closed form, the product of the decay has none.
    let run = RunLength::updates(1_000_000_000_000);
    let strong = Options::new().weight_decay(0.1);
    assert_eq!(found(cosine(0.1), run, strong)[0].code, Code::FadingDecay);
    // Ση ω = 10¹² · 0.05 · 10⁻¹⁵
    let findings = found(cosine(0.1), run, Options::new().weight_decay(1e-15));
    assert_eq!(findings[0].code, Code::VanishingDecay);
    assert!(findings[0].message.contains("5.00e-5"), "{}", findings[0]);
    let beyond = lint(&constant(0.1).into(), run, &Options::new().weight_decay(20.0));
    assert!(matches!(beyond, Err(AnalysisError::OutOfRange { .. })), "{beyond:?}");
}

#[test]
fn warm_ups_that_are_too_long() {
    let long = cosine(0.1).warmup(Span::steps(501));
    assert_eq!(code(long), (Code::WarmupLongerThanHalf, Some(0)));
    let half = cosine(0.1).warmup(Span::steps(500));
    assert!(found(half, RunLength::updates(RUN), Options::new()).is_empty());
    let longer = cosine(0.1).warmup(Span::steps(2_000));
    assert_eq!(code(longer), (Code::WarmupLongerThanRun, None));
}

/// The limit that a finding names works, and is the largest that does.
#[test]
fn limits_can_be_followed_at_once() {
    let run = RunLength::updates(14);
    let configs: [fn(u64) -> ScheduleConfig; 7] = [
        |length| cosine(3e-4).warmup(Span::steps(length)).into(),
        |length| cosine(3e-4).warmup(Span::steps(length)).include_start().into(),
        |length| cosine(3e-4).warmup(Span::steps(length)).overlay().into(),
        |length| cosine(3e-4).warmup(Span::steps(length)).replace().into(),
        |length| cosine(3e-4).warmup(Span::steps(length)).delay(Span::steps(3)).into(),
        |length| cosine(3e-4).delay(Span::steps(length)).into(),
        |length| constant(0.1).then(Span::steps(4), cosine(0.1).warmup(Span::steps(length))).into(),
    ];
    for (config, most) in configs.into_iter().zip([13, 13, 14, 14, 10, 13, 9]) {
        let finding = &found(config(100), run, Options::new())[0];
        for text in [&finding.message, &finding.change] {
            assert!(
                text.contains(&format!("at most {most} updates")),
                "{}: {finding}",
                config(100)
            );
        }
        assert!(config(most).resolve(run).is_ok(), "{}", config(most));
        assert!(config(most + 1).resolve(run).is_err(), "{}", config(most + 1));
    }
}

#[test]
fn above_the_stability_ceiling() {
    let options = Options::new().curvature(40.0);
    // 2/40 = 0.05, which a line from 0.1 is below from its 501st update on.
    let finding = only(linear(0.1, 0.0), options);
    assert_eq!((finding.code, finding.step), (Code::AboveStabilityCeiling, Some(0)));
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.message.contains("501 updates"), "{finding}");
    let always = only(constant(0.1), options);
    assert_eq!((always.code, always.severity), (Code::AboveStabilityCeiling, Severity::Error));
    // The warm-up passes 0.05 at (t+1)/100 · 0.1 = 0.05: its 49th update.
    let warm = only(constant(0.1).warmup(Span::steps(99)), options);
    assert_eq!((warm.code, warm.step), (Code::AboveStabilityCeiling, Some(49)));
    let momentum = options.optimizer(Optimizer::HeavyBall { momentum: 0.9 });
    assert!(found(linear(0.094, 0.0), RunLength::updates(RUN), momentum).is_empty());
}

#[test]
fn vanishing_decay() {
    let schedule = || linear(1e-5, 0.0);
    // Σηω = ½ · 10⁻⁵ · 1,000 · 0.01 = 5·10⁻⁵.
    let finding = only(schedule(), Options::new().weight_decay(0.01));
    assert_eq!((finding.code, finding.step), (Code::VanishingDecay, None));
    let run = RunLength::updates(RUN);
    let strong = Options::new().weight_decay(1.0);
    assert!(found(linear(1e-5, 2e-6), run, strong).is_empty());
    // No decay, no finding.
    assert!(found(schedule(), run, Options::new().weight_decay(0.0)).is_empty());
}

#[test]
fn fading_decay() {
    let options = Options::new().weight_decay(0.1);
    // 1 − t/1,000 < 0.1 from t = 901 on.
    let finding = only(linear(0.1, 0.0), options);
    assert_eq!((finding.code, finding.step), (Code::FadingDecay, Some(901)));
    assert_eq!(finding.severity, Severity::Note);
    assert!(
        finding.message.contains(
            "1.00e-2 of a weight per update, and less than a tenth of that in the last 99 of 1000"
        ),
        "{finding}"
    );
    // After a warm-up it fades from its maximum, not from its first update.
    let warmed = linear(0.1, 0.0).warmup(Span::steps(500));
    assert_eq!(only(warmed, options).step, Some(951));
    let run = RunLength::updates(RUN);
    assert!(found(linear(0.1, 0.01), run, options).is_empty());
    assert!(found(step_decay(0.1, Span::steps(500), 0.1), run, options).is_empty());
    assert_eq!(only(step_decay(0.1, Span::steps(400), 0.1), options).step, Some(800));
}

#[test]
fn what_does_not_resolve_is_a_finding() {
    let finding = only(cosine(-1.0), Options::new());
    assert_eq!((finding.code, finding.severity), (Code::Invalid, Severity::Error));
    assert!(finding.message.contains("cosine.peak"), "{finding}");
}

#[test]
fn findings_are_found_inside_combinators() {
    // Cycles of 300 from 100 on: the last one is complete.
    let restarts = |cycle| warm_restarts(0.1, Span::steps(cycle));
    let good = restarts(300).scale(2.0).warmup(Span::steps(100));
    assert!(found(good, RunLength::updates(RUN), Options::new()).is_empty());
    // Cycles of 400 from 100 on: the third one starts at 900.
    let cut = restarts(400).scale(2.0).cap(0.1).warmup(Span::steps(100));
    assert_eq!(code(cut), (Code::UnreachableEnd, Some(999)));
    let slow = step_decay(0.5, Span::steps(500), 0.1).plus(linear(0.1, 0.0));
    let parts = constant(0.6).then(Span::steps(500), slow);
    assert_eq!(code(parts), (Code::DecayNeverStarts, Some(500)));
}

#[test]
fn codes_are_stable_and_findings_are_json_and_text() {
    let finding = only(linear(0.1, 0.0).length(Span::percent(50)), Options::new());
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!((&json["code"], &json["severity"]), (&"frozen-tail".into(), &"warning".into()));
    assert_eq!(json["step"], 496);
    assert!(finding.to_string().starts_with("warning[frozen-tail] at update 496: "), "{finding}");
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.to_string());
    }
}

#[test]
fn options_and_endless_runs_are_checked() {
    let config: ScheduleConfig = constant(0.1).into();
    let endless = RunLength::unbounded();
    let error = lint(&config, endless, &Options::new()).unwrap_err();
    assert_eq!(error, AnalysisError::NeedsSteps);
    assert!(lint(&config, endless, &Options::new().steps(100)).unwrap().is_empty());
    let bad = Options::new().curvature(-1.0);
    assert!(lint(&config, RunLength::updates(1), &bad).is_err());
    // Closed forms allow a lint of any length.
    let long = RunLength::updates(1 << 60);
    assert!(lint(&cosine(0.1).into(), long, &Options::new()).unwrap().is_empty());
    let error = lint(&polynomial(0.1, 0.0, 2.0).into(), long, &Options::new()).unwrap_err();
    assert!(matches!(error, AnalysisError::TooManySteps { .. }));
}

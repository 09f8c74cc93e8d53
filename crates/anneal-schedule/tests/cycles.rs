//! Compares cycle ends with a scan of the rates and with boundaries added up by hand.

use anneal_schedule::peers::keras::KerasRestarts;
use anneal_schedule::peers::timm::{CycleShape, TimmCycles};
use anneal_schedule::peers::torch::translate as torch;
use anneal_schedule::peers::transformers::{Falling, TransformersDecay};
use anneal_schedule::prelude::*;
use anneal_schedule::{AfterEnd, CycleScaling, sequence};

fn resolved(config: impl Into<ScheduleConfig>, updates: u64) -> Schedule {
    config.into().resolve(RunLength::updates(updates)).unwrap()
}

fn ends(config: impl Into<ScheduleConfig>, updates: u64) -> Vec<u64> {
    resolved(config, updates).cycle_ends().collect()
}

/// The updates after which the rate rises, if its last change was a fall; and the last update.
fn scanned(schedule: &Schedule) -> Vec<u64> {
    let updates = schedule.length().unwrap();
    let mut falls = false;
    let mut found = vec![];
    for step in 1..updates {
        let (before, now) = (schedule.rate(step - 1), schedule.rate(step));
        if now > before && falls {
            found.push(step - 1);
        }
        if now != before {
            falls = now < before;
        }
    }
    found.push(updates - 1);
    found
}

fn restarts() -> anneal_schedule::WarmRestarts {
    warm_restarts(1.0, Span::steps(10))
}

#[test]
fn what_falls_again_and_again_ends_where_a_scan_of_its_rates_says() {
    let saw = || linear(1.0, 0.2).repeat_every(Span::steps(7));
    let wave = |cycles| cosine(1.0).end(0.1).cycles(cycles);
    let configs: Vec<ScheduleConfig> = vec![
        constant(1.0).into(),
        cosine(1.0).into(),
        one_cycle(1.0).into(),
        step_decay(1.0, Span::steps(9), 0.5).warmup(Span::steps(5)).into(),
        restarts().into(),
        restarts().multiplier(2.0).peak_decay(0.7).end(0.1).into(),
        restarts().multiplier(1.3).into(),
        restarts().limit(3).end(0.1).into(),
        restarts().cycle_warmup(Span::steps(3)).into(),
        restarts().warmup(Span::steps(7)).into(),
        restarts().warmup(Span::steps(7)).include_start().include_peak().into(),
        restarts().warmup(Span::steps(13)).include_start().replace().into(),
        restarts().scale(0.3).floor(0.05).cap(0.2).into(),
        restarts().delay(Span::steps(11)).into(),
        restarts().phase(Span::steps(4)).into(),
        restarts().stretch(3.0).into(),
        restarts().truncate().into(),
        restarts().truncate().length(Span::steps(25)).into(),
        linear(1.0, 0.0).repeat_times(4).delay(Span::steps(3)).into(),
        restarts().stretch(0.5).into(),
        restarts().multiplier(2.0).stretch(0.3).into(),
        restarts().times(exponential(1.0, Decay::HalfLife(Span::steps(40)))).into(),
        cyclic(0.1, 1.0, Span::steps(4)).down(Span::steps(9)).into(),
        cyclic(0.1, 1.0, Span::steps(4)).scaling(CycleScaling::Triangular2).into(),
        cyclic(1.0, 0.1, Span::steps(4)).down(Span::steps(9)).into(),
        cyclic(0.1, 1.0, Span::steps(6)).warmup(Span::steps(3)).into(),
        saw().into(),
        saw().count(4).into(),
        saw().then(Span::steps(40), saw()).into(),
        restarts().repeat_every(Span::steps(25)).into(),
        wave(3.1).into(),
        wave(2.3).k(1.7).into(),
        wave(4.3).exponent(2.0).length(Span::steps(77)).into(),
        wave(0.5).length(Span::steps(13)).after(AfterEnd::Continue).into(),
        linear(1.0, 0.1).length(Span::steps(9)).cycle().into(),
        polynomial(1.0, 0.0, 2.0).length(Span::steps(9)).cycle().into(),
        // Parts of different heights, one that rises, and one that keeps falling.
        cosine(1.0).then(Span::steps(50), cosine(0.5)).into(),
        cosine(1.0).then(Span::steps(50), cosine(0.5).warmup(Span::steps(5))).into(),
        linear(0.1, 1.0).then(Span::steps(50), cosine(1.0)).into(),
        linear(1.0, 0.5).then(Span::steps(50), linear(0.5, 0.0)).into(),
        constant(0.1).then(Span::steps(50), constant(0.2)).into(),
        restarts().limit(2).end(0.1).then(Span::steps(33), restarts()).into(),
        KerasRestarts {
            start: 1.0,
            cycle: Span::steps(8),
            multiplier: 1.5,
            peak_factor: 0.9,
            alpha: 0.1,
        }
        .into(),
        TimmCycles {
            base_lr: 1.0,
            t_initial: 9,
            shape: CycleShape::CosineCycles { k_decay: 1.0 },
            lr_min: 0.1,
            cycle_mul: 1.5,
            cycle_decay: 0.8,
            cycle_limit: 4,
            offset: 3,
        }
        .into(),
    ];
    for config in configs {
        for updates in [1, 2, 60, 101] {
            // Some do not fit into the shortest runs.
            let Ok(schedule) = config.clone().resolve(RunLength::updates(updates)) else {
                assert!(updates < 101, "{config}");
                continue;
            };
            let found: Vec<u64> = schedule.cycle_ends().collect();
            assert_eq!(found, scanned(&schedule), "{schedule}");
            let asked = (0..updates + 5).filter(|step| schedule.ends_cycle(*step));
            assert_eq!(asked.collect::<Vec<_>>(), found, "{schedule}");
        }
    }
}

#[test]
fn translated_schedules_have_the_ends_of_their_peers() {
    let falling = |shape| {
        let base =
            TransformersDecay { base_lr: 1.0, length: 99, shape, min_lr_rate: 0.1, offset: 4 };
        resolved(base, 101)
    };
    for shape in [Falling::Waves(3.2), Falling::Restarts(4.0), Falling::Straight] {
        assert_eq!(falling(shape).cycle_ends().collect::<Vec<_>>(), scanned(&falling(shape)));
    }
    for (name, arguments) in [
        ("CosineAnnealingWarmRestarts", r#"{"T_0": 10, "T_mult": 2, "eta_min": 0.01}"#),
        ("CosineAnnealingLR", r#"{"T_max": 15}"#),
        ("CyclicLR", r#"{"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 7, "step_size_down": 11}"#),
        (
            "CyclicLR",
            r#"{"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 7.5, "mode": "exp_range", "gamma": 0.99}"#,
        ),
        (
            "SequentialLR",
            r#"{"schedulers": [
                {"name": "LinearLR", "args": {"start_factor": 0.1, "total_iters": 7}},
                {"name": "CosineAnnealingWarmRestarts", "args": {"T_0": 20}}
            ], "milestones": [7]}"#,
        ),
    ] {
        let arguments = serde_json::from_str(arguments).unwrap();
        let schedule = torch(name, &arguments, 1.0).unwrap().rate;
        let schedule = resolved(schedule, 101);
        assert_eq!(schedule.cycle_ends().collect::<Vec<_>>(), scanned(&schedule), "{schedule}");
    }
}

/// A restart counts even if its warm-up starts below the end of the previous cycle.
#[test]
fn a_restart_that_begins_low_ends_a_cycle_before_it() {
    let low = restarts().cycle_warmup(Span::steps(4)).end(0.5);
    assert_eq!(ends(low, 25), [9, 19, 24]);
    let triangle =
        linear(0.0, 1.0).then(Span::steps(5), linear(1.0, 0.0)).repeat_every(Span::steps(10));
    assert_eq!(ends(triangle, 25), [9, 19, 24]);
    let alike = constant(1.0).repeat_every(Span::steps(10));
    assert_eq!(ends(alike, 25), [9, 19, 24]);
}

/// A warm-up may start lower than its part ends.
#[test]
fn a_part_that_warms_up_and_falls_ends_a_cycle() {
    let parts: [ScheduleConfig; 3] = [
        cosine(1.0).end(0.1).into(),
        // Constant at the end.
        linear(1.0, 0.1).floor(0.3).into(),
        linear(0.2, 1.0).into(),
    ];
    for part in parts {
        for warmup in [0, 1, 5, 20, 49] {
            let warmed = || match warmup {
                0 => part.clone(),
                _ => part.clone().warmup(Span::steps(warmup)).into(),
            };
            let schedule = resolved(warmed().then(Span::steps(50), constant(2.0)), 100);
            assert_eq!(schedule.cycle_ends().collect::<Vec<_>>(), scanned(&schedule), "{schedule}");
            let again = resolved(warmed().then(Span::steps(50), warmed()), 100);
            assert!(again.cycle_ends().eq(schedule.cycle_ends()), "{again}");
        }
    }
}

#[test]
fn ends_are_exact_far_out_and_without_an_end() {
    // Cycle n with initial length 10 and doubling starts at 10(2ⁿ − 1).
    let schedule = resolved(restarts().multiplier(2.0), 1 << 63);
    let expected = (1..59).map(|n| 10 * ((1u64 << n) - 1) - 1);
    assert!(expected.eq(schedule.cycle_ends().take(58)));
    let endless = restarts().resolve(RunLength::unbounded()).unwrap();
    assert!((1..1_000).map(|n| 10 * n - 1).eq(endless.cycle_ends().take(999)));
    assert!(endless.ends_cycle(10_000_000_000_000_000_009) && !endless.ends_cycle(1 << 63));
    let constant = constant(1.0).resolve(RunLength::unbounded()).unwrap();
    assert_eq!(constant.cycle_ends().next(), None);
}

#[test]
fn an_end_of_the_run_within_a_cycle_is_one_and_on_one_no_second() {
    assert_eq!(ends(restarts(), 20), [9, 19]);
    assert_eq!(ends(restarts(), 21), [9, 19, 20]);
    assert_eq!(ends(restarts(), 10), [9]);
    let parts = sequence([(Span::steps(10), cosine(1.0)), (Span::steps(10), cosine(1.0))]);
    assert_eq!(ends(parts, 30), [9, 29]);
}

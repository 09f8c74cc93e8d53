//! Compares plans with walks over all batches.

use super::*;
use anneal_schedule::{cosine, linear, multi_step, one_cycle, step_decay, warm_restarts};

/// Walks the batches of both runs one by one: each update of the plan has the level of the schedule at its
/// first batch, and the same η/√B.
fn check(seesaw: Seesaw, schedule: impl Into<ScheduleConfig>, run: RunLength) -> SeesawPlan {
    let schedule = schedule.into();
    let plan = seesaw.plan(schedule.clone(), run).unwrap();
    let (original, planned) =
        (schedule.resolve(run).unwrap(), plan.schedule().clone().resolve(plan.run()).unwrap());
    let (rounds, k0) = (run.rounds_in_epoch().unwrap(), run.made_of().unwrap().accumulation);
    let epochs = plan.samples() / run.made_of().unwrap().items;
    let peak = (0..plan.updates_without()).map(|t| original.rate(t)).fold(0.0, f64::max);
    let (mut of_original, mut updates, mut lowest) = (0, 0, peak);
    for _ in 0..epochs {
        let mut left = 0;
        for round in 0..rounds {
            if round % k0 == 0 {
                lowest = original.rate(of_original);
                of_original += 1;
            }
            if left == 0 {
                let accumulation = plan.run().accumulation_of(updates);
                let share = accumulation as f64 / k0 as f64;
                let rate = planned.rate(updates) / share.sqrt();
                if updates < plan.rise {
                    assert_eq!(rate, lowest);
                } else {
                    let level = (peak / lowest).log(1.0 / seesaw.reduction) + ROUNDING;
                    let expected = peak * seesaw.reduction.powf(level.floor());
                    assert!(
                        (rate - expected).abs() <= 1e-9 * expected,
                        "{updates}: {rate} {expected}"
                    );
                }
                (left, updates) = (accumulation, updates + 1);
            }
            left = if round + 1 == rounds { 0 } else { left - 1 };
        }
    }
    assert_eq!((of_original, updates), (plan.updates_without(), plan.updates()));
    assert_eq!(plan.run().resolve().unwrap().updates(), Some(updates));
    plan
}

fn accumulations(plan: &SeesawPlan) -> Vec<(u64, u64)> {
    plan.stages().iter().map(|stage| (stage.first, stage.accumulation)).collect()
}

#[test]
fn a_step_decay_has_its_own_steps() {
    let run = RunLength::from_items(2_000 * 8, 8).gradient_accumulation(1);
    let plan = check(Seesaw::up_to(64), step_decay(0.4, Span::steps(800), 0.5), run);
    assert_eq!(accumulations(&plan), [(0, 1), (800, 2), (1_200, 4)]);
    assert_eq!(plan.stages().iter().map(|s| s.samples).collect::<Vec<_>>(), [6_400, 6_400, 3_200]);
    assert!((plan.stages()[1].rate - 0.4 * 0.5f64.sqrt()).abs() < 1e-15);
    assert_eq!((plan.updates(), plan.samples(), plan.stages()[2].updates), (1_300, 16_000, 100));
    // A jump by a² is a single stage with 1/a² of the batch; a factor of its own is exact too.
    let jump = || multi_step(0.4, [Span::steps(1_000)], 0.25);
    let plan = check(Seesaw::up_to(64), jump(), run.gradient_accumulation(2).epochs(2));
    assert_eq!(accumulations(&plan), [(0, 2), (1_000, 8)]);
    let tenth = multi_step(0.4, [Span::steps(1_000)], 0.1);
    let plan = check(Seesaw::up_to(64).reduction(0.1), tenth, run);
    assert_eq!(accumulations(&plan), [(0, 1), (1_000, 10)]);
    assert_eq!(plan.updates(), 1_100);
}

#[test]
fn any_fall_is_followed_over_epochs_and_devices() {
    for (items, accumulation, devices, epochs) in
        [(6_400, 1, 1, 7), (6_403, 3, 1, 11), (6_403, 2, 2, 5), (50, 1, 1, 300), (6_403, 4, 3, 1)]
    {
        let run = RunLength::from_items(items, 8).epochs(epochs).devices(devices);
        let run = run.gradient_accumulation(accumulation);
        for seesaw in [Seesaw::up_to(50), Seesaw::up_to(16).reduction(0.8)] {
            check(seesaw, cosine(0.1), run);
            check(seesaw, cosine(0.1).end(0.01).warmup(Span::percent(5)), run);
            check(seesaw, linear(0.1, 0.0).warmup(Span::steps(7)).floor(1e-4), run);
            check(seesaw, one_cycle(0.1), run);
            check(seesaw, multi_step(0.1, [Span::percent(30), Span::percent(31)], 0.3), run);
        }
    }
}

#[test]
fn a_cosine_is_cut_where_it_crosses_the_powers_of_a() {
    let run = RunLength::from_items(100_000, 1);
    let plan = check(Seesaw::up_to(1 << 15), cosine(1.0), run);
    // ½(1 + cos πx) is 2^−i at x_i; from there to x_(i+1) an update has 2^i batches.
    let x = |i: i32| (2.0 * 0.5f64.powi(i) - 1.0).acos() / std::f64::consts::PI;
    let updates: f64 = (0..30).map(|i| 1e5 * (x(i + 1) - x(i)) * 0.5f64.powi(i)).sum();
    assert!((plan.updates() as f64 - updates).abs() < 20.0, "{} {updates}", plan.updates());
    assert!((0.62..0.63).contains(&(updates / 1e5)));
}

#[test]
fn a_warmup_stays_a_warmup_and_any_other_rise_becomes_a_table() {
    let run = RunLength::from_items(1_000, 10).epochs(10);
    let plan = check(Seesaw::up_to(8), cosine(0.1).warmup(Span::epochs(1)), run);
    assert!(plan.schedule().to_string().ends_with(".warmup(100)"), "{}", plan.schedule());
    assert!(plan.to_string().contains("\nthe first 100 updates lead up to"), "{plan}");
    let plan = check(Seesaw::up_to(8), one_cycle(0.1), run);
    assert!(plan.schedule().to_string().starts_with("table("));
}

#[test]
fn it_reaches_rates_of_zero_and_the_ends_of_numbers() {
    let whole_epochs = RunLength::from_items(100, 1).epochs(20);
    let whole_epochs = whole_epochs.gradient_accumulation(usize::MAX - 1);
    let plan = check(Seesaw::up_to(usize::MAX), cosine(0.1), whole_epochs);
    assert_eq!((plan.updates(), plan.samples()), (20, 2_000));
    let to_zero = linear(1.0, 0.0).then(Span::percent(50), piecewise_constant(0.0, [], []));
    let plan = check(Seesaw::up_to(4), to_zero, RunLength::from_items(100, 1));
    let last = plan.stages().last().unwrap();
    assert_eq!((last.rate, last.accumulation), (0.0, 4));
    assert_eq!(plan.samples(), 100);
}

/// E of a quadratic of curvature h under normalized SGD, moment by moment, without assuming that noise
/// dominates.
fn loss(h: f64, run: RunLength, schedule: &ScheduleConfig, rate_of: impl Fn(f64) -> f64) -> f64 {
    let schedule = schedule.clone().resolve(run).unwrap();
    (0..schedule.length().unwrap()).fold(1.0, |second: f64, update| {
        let noise = 400.0 / run.accumulation_of(update) as f64;
        let rate = rate_of(schedule.rate(update)) / (h * h * second + noise).sqrt();
        (1.0 - rate * h).powi(2) * second + rate * rate * noise
    })
}

#[test]
fn a_noisy_quadratic_ends_where_it_would_without_the_plan() {
    let run = RunLength::from_items(20_000, 1);
    let original: ScheduleConfig = step_decay(0.02, Span::steps(5_000), 0.5).into();
    let plan = Seesaw::up_to(64).plan(original.clone(), run).unwrap();
    for h in [0.1, 1.0, 4.0] {
        let without = loss(h, run, &original, |rate| rate);
        let with = loss(h, plan.run(), plan.schedule(), |rate| rate);
        assert!((with / without - 1.0).abs() < 0.05, "{h}: {with} {without}");
    }
    // With the rate of plain SGD's rule, which does not fall, it ends elsewhere.
    let without = loss(4.0, run, &original, |rate| rate);
    let kept = loss(4.0, plan.run(), plan.schedule(), |_| 0.02);
    assert!(kept > 1.5 * without, "{kept} {without}");
}

#[test]
fn what_has_no_plan_is_refused() {
    let run = RunLength::from_items(1_000, 1);
    let refused = |seesaw: Seesaw, run| match seesaw.plan(cosine(0.1), run) {
        Err(SeesawError::Field(error)) => error.field,
        other => panic!("{other:?}"),
    };
    for reduction in [0.0, 1.0, -0.5, f64::NAN] {
        assert_eq!(refused(Seesaw::up_to(8).reduction(reduction), run), "reduction");
    }
    assert_eq!(refused(Seesaw::up_to(900).reduction(0.9), run), "reduction");
    assert_eq!(refused(Seesaw::up_to(3), run.gradient_accumulation(3)), "largest_accumulation");
    for run in [
        RunLength::updates(10),
        RunLength::updates_per_epoch(10),
        RunLength::unbounded(),
        run.after(5),
        run.gradient_accumulation_ramp(2, 5),
        run.epochs(10_001),
    ] {
        assert_eq!(refused(Seesaw::up_to(8), run), "run");
    }
    let plan = |schedule: ScheduleConfig| Seesaw::up_to(8).plan(schedule, run).unwrap_err();
    assert!(matches!(plan(cosine(0.1).end(0.06).into()), SeesawError::NeverFalls { .. }));
    let error = plan(warm_restarts(0.1, Span::steps(300)).into());
    assert!(matches!(error, SeesawError::Rises { update: 300, rate: 0.1, .. }), "{error}");
    assert!(matches!(plan(cosine(-0.1).into()), SeesawError::Schedule(_)));
    let zero = piecewise_constant(0.0, [], []).into();
    assert!(matches!(plan(zero), SeesawError::NeverFalls { .. }));
}

#[test]
fn it_is_read_back() {
    let seesaw = Seesaw::up_to(64).reduction(0.7);
    let text = serde_json::to_string(&seesaw).unwrap();
    assert_eq!(serde_json::from_str::<Seesaw>(&text).unwrap(), seesaw);
    let short: Seesaw = serde_json::from_str("{\"largest_accumulation\": 8}").unwrap();
    assert_eq!(short, Seesaw::up_to(8));
}

//! Any description that resolves gives finite rates that are not negative, at any step; files
//! give back what they were given.

use anneal_schedule::prelude::*;
use anneal_schedule::{AfterEnd, Anneal, DecayShape, Ramp, Stable, sequence};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// Numbers of every kind: usual rates, and what a user may get wrong.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 1e-6..2.0f64,
        2 => Just(0.5),
        1 => Just(1.0),
        1 => Just(0.0),
        1 => prop::sample::select(vec![f64::MAX, 1e308, 1e300, 1e-300, f64::MIN_POSITIVE, 5e-324]),
        1 => prop::num::f64::ANY,
    ]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        4 => (0.0..60.0f64).prop_map(Span::percent),
        4 => (0u64..200).prop_map(Span::steps),
        1 => (0u64..4).prop_map(|less| Span::steps((1 << 60) - less)),
        2 => (0.0..5.0f64).prop_map(Span::epochs),
        4 => Just(Span::Rest),
        1 => prop::num::f64::ANY.prop_map(Span::percent),
        1 => any::<u64>().prop_map(Span::steps),
    ]
}

fn decay() -> impl Strategy<Value = Decay> {
    prop_oneof![
        number().prop_map(Decay::Kappa),
        (number(), span()).prop_map(|(factor, per)| Decay::Factor { factor, per }),
        span().prop_map(Decay::HalfLife),
        (number(), span()).prop_map(|(end, length)| Decay::Toward { end, length }),
    ]
}

/// Integers, whose borders are exact, and the rest.
fn multiplier() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (1u32..6).prop_map(f64::from),
        1 => Just(1e6),
        2 => 0.9..4.0f64,
    ]
}

fn curve() -> BoxedStrategy<ScheduleConfig> {
    let n = number;
    prop_oneof![
        n().prop_map(|rate| constant(rate).into()),
        (n(), span(), n()).prop_map(|(peak, every, gamma)| step_decay(peak, every, gamma).into()),
        (n(), prop::collection::vec(span(), 0..4), n())
            .prop_map(|(peak, milestones, gamma)| multi_step(peak, milestones, gamma).into()),
        (n(), decay()).prop_map(|(peak, decay)| exponential(peak, decay).into()),
        (n(), n(), n(), span(), any::<bool>()).prop_map(|(start, end, power, length, cycle)| {
            let config = polynomial(start, end, power).length(length);
            if cycle { config.cycle().into() } else { config.into() }
        }),
        (n(), n(), n(), n(), n(), span(), any::<bool>()).prop_map(
            |(peak, end, exponent, k, cycles, length, on)| {
                let after = if on { AfterEnd::Continue } else { AfterEnd::Hold };
                let config = cosine(peak).end(end * peak).exponent(exponent).k(k).cycles(cycles);
                config.length(length).after(after).into()
            }
        ),
        (n(), n(), span(), multiplier(), n(), prop::option::of(span()), prop::option::of(0u64..9))
            .prop_map(|(peak, end, cycle, multiplier, peak_decay, warmup, limit)| {
                let config = warm_restarts(peak, cycle).end(end * peak).multiplier(multiplier);
                let config = config.peak_decay(peak_decay);
                let config = match warmup {
                    Some(warmup) => config.cycle_warmup(warmup),
                    None => config,
                };
                match limit {
                    Some(limit) => config.limit(limit).into(),
                    None => config.into(),
                }
            }),
        (n(), n(), n(), n(), span(), any::<bool>(), any::<bool>()).prop_map(
            |(peak, start, end, pct_start, length, linear, three)| {
                let anneal = if linear { Anneal::Linear } else { Anneal::Cosine };
                let config = one_cycle(peak).start(start).end(end).pct_start(pct_start);
                let config = config.length(length).anneal(anneal);
                if three { config.three_phase().into() } else { config.into() }
            }
        ),
        (n(), span(), n(), n(), 0..5usize, 0..3usize).prop_map(
            |(peak, decay, end, power, shape, stable)| {
                let shape = [
                    DecayShape::Linear,
                    DecayShape::OneMinusSqrt,
                    DecayShape::Cosine,
                    DecayShape::Power(power),
                    DecayShape::Exponential,
                ][shape];
                let stable = [
                    Stable::Constant,
                    Stable::Rsqrt { timescale: decay },
                    Stable::Power { timescale: decay, power },
                ][stable];
                stable_decay(peak, decay).end(end * peak).shape(shape).stable(stable).into()
            }
        ),
    ]
    .boxed()
}

fn ramp() -> impl Strategy<Value = Ramp> {
    prop::sample::select(vec![Ramp::Linear, Ramp::Cosine, Ramp::Exponential, Ramp::OneMinusSqrt])
}

/// Curves and combinators of them, a few levels deep.
fn description() -> impl Strategy<Value = ScheduleConfig> {
    curve().prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (inner.clone(), span(), ramp(), number(), any::<bool>()).prop_map(
                |(inner, length, ramp, start, over)| {
                    let config = inner.warmup(length).ramp(ramp).start(start);
                    if over { config.overlay().into() } else { config.into() }
                }
            ),
            prop::collection::vec((span(), inner.clone()), 1..4)
                .prop_map(|parts| sequence(parts).into()),
            (inner.clone(), number()).prop_map(|(inner, floor)| inner.floor(floor).into()),
            (inner.clone(), number()).prop_map(|(inner, cap)| inner.cap(cap).into()),
            (inner, number()).prop_map(|(inner, factor)| inner.scale(factor).into()),
            several.clone().prop_map(|all| product(all).into()),
            several.clone().prop_map(|all| sum(all).into()),
            several.clone().prop_map(|all| minimum(all).into()),
            several.prop_map(|all| maximum(all).into()),
        ]
    })
}

fn run() -> impl Strategy<Value = RunLength> {
    prop_oneof![
        6 => (1usize..2_000, 1usize..64, 1usize..20)
            .prop_map(|(items, batch, epochs)| RunLength::from_items(items, batch).epochs(epochs)),
        2 => (1u64..4).prop_map(RunLength::updates),
        2 => (1u64..=1 << 63).prop_map(RunLength::updates),
        1 => (1u64..=1 << 61).prop_map(|n| RunLength::updates_per_epoch(n).epochs(3)),
        1 => Just(RunLength::unbounded()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn rates_are_finite_and_not_negative(
        config in description(), run in run(), steps in prop::collection::vec(any::<u64>(), 4), near in 0u64..2_000,
    ) {
        let Ok(schedule) = config.resolve(run) else { return Ok(()) };
        let length = schedule.length().unwrap_or(0);
        let edges = [0, 1, near, length.saturating_sub(1), length, u64::MAX];
        for step in steps.into_iter().chain(edges) {
            let rate = schedule.rate(step);
            prop_assert!(rate.is_finite() && rate >= 0.0, "{schedule} at {step}: {rate}");
            let peak = schedule.peak();
            prop_assert!(rate <= peak * (1.0 + 1e-12), "{schedule} at {step}: {rate} above {peak}");
        }
    }

    #[test]
    fn files_give_back_the_same_schedule(config in description(), run in run()) {
        let Ok(schedule) = config.clone().resolve(run) else { return Ok(()) };
        let json = config.to_json().unwrap();
        let back = ScheduleConfig::from_json(&json).unwrap();
        prop_assert_eq!(&back, &config);
        prop_assert_eq!(back.resolve(run).unwrap().fingerprint(), schedule.fingerprint());
        // TOML numbers end at 2⁶³ − 1, which its writer says.
        if let Ok(toml) = config.to_toml() {
            prop_assert_eq!(ScheduleConfig::from_toml(&toml).unwrap(), config);
        }
    }
}

/// Descriptions that fail to resolve must not make the properties above empty.
#[test]
fn descriptions_resolve_often_enough() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let resolved = (0..2_000)
        .filter(|_| {
            let config = description().new_tree(&mut runner).unwrap().current();
            config.resolve(RunLength::from_items(1_000, 10).epochs(3)).is_ok()
        })
        .count();
    assert!(resolved > 200, "only {resolved} of 2,000 resolve");
}

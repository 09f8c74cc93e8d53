//! Every description that resolves gives finite, non-negative rates at any step; files round-trip.

use anneal_schedule::analysis::{AnalysisError, Tail, Window, robbins_monro};
use anneal_schedule::peers::PeerGrowth;
use anneal_schedule::peers::fastai::{FastaiAnnealer, FastaiCombinedCos, FastaiShape};
use anneal_schedule::peers::keras::KerasRestarts;
use anneal_schedule::peers::optax::{OptaxCosine, OptaxJoin};
use anneal_schedule::peers::timm::{
    CycleShape, TimmCycles, TimmStep, TimmWsd, WsdDecay, WsdStable,
};
use anneal_schedule::peers::torch::{TorchChain, TorchCyclicMode, TorchLink, TorchPhase};
use anneal_schedule::peers::transformers::{Falling, TransformersDecay};
use anneal_schedule::prelude::*;
use anneal_schedule::{
    Warmup, custom, inverse_curvature, maximum, minimum, product, sequence, sum, table, tanh,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// Numbers of every kind: usual rates, and mistakes that a user may make. Boxed, because many trees of them
/// side by side are too large for the stack of an unoptimized test.
fn number() -> BoxedStrategy<f64> {
    prop_oneof![
        8 => 1e-6..2.0f64,
        2 => Just(0.5),
        1 => Just(1.0),
        1 => Just(0.0),
        1 => prop::sample::select(vec![f64::MAX, 1e308, 1e300, 1e-300, f64::MIN_POSITIVE, 5e-324]),
        1 => prop::num::f64::ANY,
    ]
    .boxed()
}

fn span() -> BoxedStrategy<Span> {
    prop_oneof![
        4 => (0.0..60.0f64).prop_map(Span::percent),
        4 => (0u64..200).prop_map(Span::steps),
        1 => (0u64..4).prop_map(|less| Span::steps((1 << 60) - less)),
        2 => (0.0..5.0f64).prop_map(Span::epochs),
        4 => Just(Span::Rest),
        1 => prop::num::f64::ANY.prop_map(Span::percent),
        1 => any::<u64>().prop_map(Span::steps),
    ]
    .boxed()
}

/// Whole numbers, fractions of them, and others, up to both limits of a stretch.
fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![
        2 => (1u32..9).prop_map(f64::from),
        2 => (1u32..9).prop_map(|n| 1.0 / f64::from(n)),
        2 => prop::sample::select(vec![1e-6, 1e6, 1e-6f64.next_up(), 1e6f64.next_down(), 0.999, 2.5]),
        2 => number(),
    ]
}

/// Rates, shares of the peak, and mistakes.
fn level() -> BoxedStrategy<Level> {
    prop_oneof![
        2 => number().prop_map(Level::Rate),
        3 => (0.0..100.0f64).prop_map(Level::Percent),
        1 => prop::sample::select(vec![0.0, 10.0, 100.0, 100.5]).prop_map(Level::Percent),
        1 => number().prop_map(Level::Percent),
    ]
    .boxed()
}

fn decay() -> impl Strategy<Value = Decay> {
    prop_oneof![
        number().prop_map(Decay::Kappa),
        (number(), span()).prop_map(|(factor, per)| Decay::Factor { factor, per }),
        span().prop_map(Decay::HalfLife),
        (level(), span()).prop_map(|(end, length)| Decay::Toward { end, length }),
    ]
}

/// Integers, which have exact boundaries, and others.
fn multiplier() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (1u32..6).prop_map(f64::from),
        1 => Just(1e6),
        2 => 0.9..4.0f64,
    ]
}

/// Counts of updates, including impossible ones.
fn count() -> BoxedStrategy<u64> {
    prop_oneof![6 => 0u64..300, 1 => (0u64..3).prop_map(|less| (1 << 62) - less), 1 => any::<u64>()]
        .boxed()
}

/// Schedules that only translations of peers write.
fn of_a_peer() -> BoxedStrategy<ScheduleConfig> {
    let n = number;
    let shape = prop_oneof![
        n().prop_map(|k_decay| CycleShape::CosineCycles { k_decay }),
        (-9.0..1.0f64, n()).prop_map(|(lb, ub)| CycleShape::TanhCycles { lb, ub }),
        (n(), n()).prop_map(|(power, k_decay)| CycleShape::PolyCycles { power, k_decay }),
    ];
    let falling = prop_oneof![
        Just(Falling::Straight),
        Just(Falling::OneMinusSqrt),
        (-3.0..3.0f64).prop_map(Falling::Waves),
        (-9.0..9.0f64).prop_map(Falling::Restarts),
        n().prop_map(Falling::Restarts),
    ];
    let wsd_decay = prop_oneof![
        n().prop_map(WsdDecay::Power),
        Just(WsdDecay::Cosine),
        n().prop_map(WsdDecay::Exp),
    ];
    let stable = (n(), n()).prop_map(|(timescale, power)| WsdStable::Falling { timescale, power });
    let cycle_mul = prop_oneof![multiplier(), n()];
    let few = prop_oneof![4 => 0u64..9, 1 => count()];
    prop_oneof![
        (n(), count(), shape, n(), cycle_mul, n(), few, count()).prop_map(
            |(base_lr, t_initial, shape, lr_min, cycle_mul, cycle_decay, cycle_limit, offset)| {
                let config = TimmCycles {
                    base_lr,
                    t_initial,
                    shape,
                    lr_min,
                    cycle_mul,
                    cycle_decay,
                    cycle_limit,
                    offset,
                };
                config.into()
            }
        ),
        (n(), n(), n(), count()).prop_map(|(base_lr, decay_t, decay_rate, offset)| {
            TimmStep { base_lr, decay_t, decay_rate, offset }.into()
        }),
        (n(), count(), count(), n(), prop::option::of(stable), wsd_decay).prop_map(
            |(base_lr, t_initial, decay_t, lr_min, stable, decay)| {
                TimmWsd { base_lr, t_initial, decay_t, lr_min, stable, decay }.into()
            }
        ),
        (n(), count(), falling, prop_oneof![n(), -2.0..2.0f64], count()).prop_map(
            |(base_lr, length, shape, min_lr_rate, offset)| {
                TransformersDecay { base_lr, length, shape, min_lr_rate, offset }.into()
            }
        ),
    ]
    .boxed()
}

fn curve() -> BoxedStrategy<ScheduleConfig> {
    let n = number;
    prop_oneof![
        3 => of_a_peer(),
        1 => (n(), span()).prop_map(|(peak, timescale)| inverse_sqrt(peak, timescale).into()),
        1 => (n(), count(), span())
            .prop_map(|(factor, size, length)| noam(factor, size, length).into()),
        1 => (n(), n(), span(), -9.0..9.0f64, n()).prop_map(|(peak, end, length, lower, upper)| {
            tanh(peak).end(end * peak).length(length).lower(lower).upper(upper).into()
        }),
        12 => usual_curve(),
    ]
    .boxed()
}

/// A rate as a multiple of `peak`, so that it is often below it; a share as it is.
fn of(level: Level, peak: f64) -> Level {
    match level {
        Level::Rate(rate) => Level::Rate(rate * peak),
        share => share,
    }
}

fn usual_curve() -> BoxedStrategy<ScheduleConfig> {
    let n = number;
    prop_oneof![
        n().prop_map(|rate| constant(rate).into()),
        (n(), span(), n()).prop_map(|(peak, every, gamma)| step_decay(peak, every, gamma).into()),
        (n(), prop::collection::vec(span(), 0..4), n())
            .prop_map(|(peak, milestones, gamma)| multi_step(peak, milestones, gamma).into()),
        (n(), decay()).prop_map(|(peak, decay)| exponential(peak, decay).into()),
        (n(), level(), n(), span(), any::<bool>()).prop_map(
            |(start, end, power, length, cycle)| {
                let config = polynomial(start, end, power).length(length);
                if cycle { config.cycle().into() } else { config.into() }
            }
        ),
        (n(), level(), n(), n(), n(), span(), any::<bool>()).prop_map(
            |(peak, end, exponent, k, cycles, length, on)| {
                let after = if on { AfterEnd::Continue } else { AfterEnd::Hold };
                let config = cosine(peak).end(of(end, peak)).exponent(exponent).k(k).cycles(cycles);
                config.length(length).after(after).into()
            }
        ),
        (
            n(),
            level(),
            span(),
            multiplier(),
            n(),
            prop::option::of(span()),
            prop::option::of(0u64..9)
        )
            .prop_map(|(peak, end, cycle, multiplier, peak_decay, warmup, limit)| {
                let config = warm_restarts(peak, cycle).end(of(end, peak)).multiplier(multiplier);
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
        (level(), n(), span(), prop::option::of(span()), n(), 0..3usize).prop_map(
            |(base, peak, up, down, gamma, scaling)| {
                let scaling = [
                    CycleScaling::Triangular,
                    CycleScaling::Triangular2,
                    CycleScaling::ExpRange(gamma),
                ][scaling];
                let config = cyclic(base, peak, up).scaling(scaling);
                match down {
                    Some(down) => config.down(down).into(),
                    None => config.into(),
                }
            }
        ),
        (n(), level(), level(), n(), span(), any::<bool>(), any::<bool>()).prop_map(
            |(peak, start, end, pct_start, length, linear, three)| {
                let anneal = if linear { AnnealStrategy::Linear } else { AnnealStrategy::Cosine };
                let config = one_cycle(peak).start(start).end(end).pct_start(pct_start);
                let config = config.length(length).anneal(anneal);
                if three { config.three_phase().into() } else { config.into() }
            }
        ),
        (n(), span(), level(), n(), 0..5usize, 0..3usize).prop_map(
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
                stable_decay(peak, decay).end(of(end, peak)).shape(shape).stable(stable).into()
            }
        ),
        (values(), prop::option::of(span())).prop_map(|(rates, every)| match every {
            Some(every) => table(rates).every(every).into(),
            None => table(rates).into(),
        }),
        (n(), values(), prop::option::of(span())).prop_map(|(peak, curvatures, every)| {
            let config = inverse_curvature(peak, curvatures);
            match every {
                Some(every) => config.every(every).into(),
                None => config.into(),
            }
        }),
    ]
    .boxed()
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(number(), 0..6)
}

/// Functions that are valid, that are always invalid, and with faults where no probe looks.
fn code() -> BoxedStrategy<ScheduleConfig> {
    let plain = (number(), number()).prop_map(|(rate, peak)| {
        custom("plain", move |step| rate / (1.0 + step as f64)).peak(peak).into()
    });
    let faulty = (number(), 3u64..1_000).prop_map(|(fault, at)| {
        custom("faulty", move |step| if step % 1_000 == at { fault } else { 0.5 }).into()
    });
    prop_oneof![plain, faulty].boxed()
}

/// Curves that follow a law or a list of points.
fn law_or_points() -> BoxedStrategy<ScheduleConfig> {
    let n = number;
    let points = || prop::collection::vec((span(), number()), 0..5);
    prop_oneof![
        (n(), span(), n(), any::<bool>()).prop_map(|(peak, timescale, power, staircase)| {
            let config = power_law(peak, timescale, power);
            if staircase { config.staircase().into() } else { config.into() }
        }),
        (n(), n(), span(), any::<bool>()).prop_map(|(peak, decay, per, staircase)| {
            let config = inverse_time(peak, decay, per);
            if staircase { config.staircase().into() } else { config.into() }
        }),
        (n(), points(), any::<bool>()).prop_map(|(start, points, scales)| {
            let (boundaries, values): (Vec<_>, Vec<_>) = points.into_iter().unzip();
            let config = piecewise_constant(start, boundaries, values);
            if scales { config.scales().into() } else { config.into() }
        }),
        (n(), points(), any::<bool>(), any::<bool>()).prop_map(|(start, points, scales, wave)| {
            let (boundaries, values): (Vec<_>, Vec<_>) = points.into_iter().unzip();
            let anneal = if wave { AnnealStrategy::Cosine } else { AnnealStrategy::Linear };
            let config = piecewise_interpolate(start, boundaries, values).anneal(anneal);
            if scales { config.scales().into() } else { config.into() }
        }),
    ]
    .boxed()
}

/// Curves that only translations give.
fn translated_curve() -> BoxedStrategy<ScheduleConfig> {
    let n = number;
    let one_or_more = || prop_oneof![2 => 1.0..3.0f64, 1 => number()];
    prop_oneof![
        (n(), n(), span(), n()).prop_map(|(start, end, length, exponent)| {
            OptaxCosine { start, end, length, exponent }.into()
        }),
        (n(), one_or_more(), span(), any::<bool>()).prop_map(|(start, factor, per, staircase)| {
            PeerGrowth { start, factor, per, staircase }.into()
        }),
        (n(), span(), prop_oneof![multiplier(), 1.0..1.000001f64], one_or_more(), n()).prop_map(
            |(start, cycle, multiplier, peak_factor, alpha)| {
                KerasRestarts { start, cycle, multiplier, peak_factor, alpha }.into()
            }
        ),
    ]
    .boxed()
}

/// Counts of epochs: usual ones, and ones that could overflow.
fn epochs() -> BoxedStrategy<u64> {
    prop_oneof![8 => 0u64..60, 1 => Just(1u64 << 53), 1 => any::<u64>().prop_map(|n| n >> 1)]
        .boxed()
}

/// Shares and rates that are valid almost everywhere.
fn share() -> BoxedStrategy<f64> {
    prop_oneof![30 => 0.01..1.0f64, 1 => number()].boxed()
}

/// A torch scheduler with mostly valid arguments.
fn torch_link() -> BoxedStrategy<TorchLink> {
    let shares = prop::collection::vec(share(), 6);
    let arguments = (0..12usize, shares, epochs(), epochs(), any::<[bool; 2]>());
    let link = |(kind, n, first, second, flags): (_, Vec<f64>, u64, u64, [bool; 2])| {
        let anneal_strategy =
            if flags[0] { AnnealStrategy::Linear } else { AnnealStrategy::Cosine };
        // Including factors above 1.
        let gamma = if flags[1] { n[0] } else { 2.0 * n[0] };
        match kind {
            0 => TorchLink::Hold,
            1 => TorchLink::StepLr { step_size: first, gamma },
            2 => {
                let milestones = vec![first.min(second), first.max(second)];
                TorchLink::MultiStepLr { milestones, gamma }
            }
            3 => TorchLink::ExponentialLr { gamma },
            4 => TorchLink::ConstantLr { factor: n[0], total_iters: first },
            5 => TorchLink::LinearLr { start_factor: n[0], end_factor: n[1], total_iters: first },
            6 => TorchLink::PolynomialLr { total_iters: first, power: gamma },
            7 => TorchLink::CosineAnnealingLr { base_lr: n[0], t_max: first, eta_min: n[1] },
            8 => TorchLink::CosineAnnealingWarmRestarts {
                base_lr: n[0],
                t_0: first,
                t_mult: second,
                eta_min: n[1],
            },
            9 => TorchLink::CyclicLr {
                base_lr: n[1],
                max_lr: n[2],
                step_size_up: n[3] * 20.0,
                step_size_down: n[4] * 20.0,
                mode: match flags {
                    [true, true] => TorchCyclicMode::Triangular,
                    [true, false] => TorchCyclicMode::Triangular2,
                    _ => TorchCyclicMode::ExpRange(gamma),
                },
            },
            10 => TorchLink::OneCycleLr {
                initial_lr: n[0],
                max_lr: n[1],
                min_lr: n[2],
                total_steps: first,
                pct_start: n[3],
                anneal_strategy,
                three_phase: flags[1],
            },
            _ => TorchLink::Swalr { swa_lr: n[0], anneal_epochs: first % 1_000, anneal_strategy },
        }
    };
    arguments.prop_map(link).boxed()
}

fn torch_track() -> BoxedStrategy<Vec<TorchPhase>> {
    let phase = (0u64..40, 0..3usize, share(), torch_link());
    let track = |phases: Vec<(u64, usize, f64, TorchLink)>| {
        let mut next = 0;
        let phase = |(i, (gap, entry, lr, link)): (usize, _)| {
            let at = if i == 0 { 0 } else { next + gap };
            next = at + 1;
            match entry {
                0 => TorchPhase::Start { at, link },
                1 => TorchPhase::Restart { at, lr, link },
                _ => TorchPhase::Resume { at, link },
            }
        };
        phases.into_iter().enumerate().map(phase).collect()
    };
    prop::collection::vec(phase, 1..4).prop_map(track).boxed()
}

/// Curves that only the peers' own arithmetic gives.
fn peer_curve() -> BoxedStrategy<ScheduleConfig> {
    let shapes = |power| [FastaiShape::Cos, FastaiShape::Exp, FastaiShape::Poly(power)];
    prop_oneof![
        4 => (share(), prop::collection::vec(torch_track(), 1..4))
            .prop_map(|(lr, tracks)| TorchChain::new(lr, tracks).into()),
        1 => (number(), number(), epochs(), 0..3usize, number()).prop_map(
            move |(start, end, length, shape, power)| {
                FastaiAnnealer { start, end, length, shape: shapes(power)[shape] }.into()
            }
        ),
        1 => (number(), number(), number(), epochs(), number()).prop_map(
            |(start, middle, end, length, pct)| {
                FastaiCombinedCos { start, middle, end, length, pct }.into()
            }
        ),
    ]
    .boxed()
}

fn ramp() -> impl Strategy<Value = Ramp> {
    prop::sample::select(vec![
        Ramp::Linear,
        Ramp::Cosine,
        Ramp::Exponential,
        Ramp::OneMinusSqrt,
        Ramp::Logarithmic,
    ])
}

/// Curves that a file can hold.
fn curve_in_file() -> impl Strategy<Value = ScheduleConfig> {
    prop_oneof![
        9 => curve(),
        3 => law_or_points(),
        3 => translated_curve(),
        2 => peer_curve(),
    ]
}

/// Anything a file can hold: curves and combinators of them, a few levels deep.
fn description() -> impl Strategy<Value = ScheduleConfig> {
    combined(curve_in_file().boxed())
}

/// Any description, including code.
fn description_with_code() -> impl Strategy<Value = ScheduleConfig> {
    combined(prop_oneof![6 => curve_in_file(), 1 => code()].boxed())
}

/// Cheap averages, and some up to the limit.
fn window() -> impl Strategy<Value = Span> {
    prop_oneof![20 => (0u64..40).prop_map(Span::steps), 1 => span()]
}

fn combined(curve: BoxedStrategy<ScheduleConfig>) -> impl Strategy<Value = ScheduleConfig> {
    curve.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (inner.clone(), span(), ramp(), level(), any::<[bool; 4]>()).prop_map(
                |(inner, length, ramp, start, [include_start, include_peak, overlay, replace])| {
                    let warmup = inner.warmup(length).ramp(ramp).start(start);
                    Warmup { include_start, include_peak, overlay, replace, ..warmup }.into()
                }
            ),
            prop::collection::vec((span(), inner.clone()), 1..4)
                .prop_map(|parts| sequence(parts).into()),
            (prop::collection::vec((span(), inner.clone()), 0..3), inner.clone()).prop_map(
                |(mut parts, last)| {
                    parts.push((Span::Rest, last));
                    OptaxJoin::new(parts).into()
                }
            ),
            (inner.clone(), level()).prop_map(|(inner, floor)| inner.floor(floor).into()),
            (inner.clone(), level()).prop_map(|(inner, cap)| inner.cap(cap).into()),
            (inner.clone(), number()).prop_map(|(inner, factor)| inner.scale(factor).into()),
            (inner.clone(), span(), prop::option::of(0u64..9)).prop_map(|(inner, every, count)| {
                match (every, count) {
                    (Span::Rest, Some(count)) => inner.repeat_times(count).into(),
                    (every, Some(count)) => inner.repeat_every(every).count(count).into(),
                    (every, None) => inner.repeat_every(every).into(),
                }
            }),
            (inner.clone(), span()).prop_map(|(inner, length)| inner.delay(length).into()),
            (inner.clone(), factor()).prop_map(|(inner, factor)| inner.stretch(factor).into()),
            inner.clone().prop_map(|inner| inner.by_samples().into()),
            (inner.clone(), span())
                .prop_map(|(inner, length)| inner.truncate().length(length).into()),
            (inner.clone(), span()).prop_map(|(inner, shift)| inner.phase(shift).into()),
            (inner.clone(), window()).prop_map(|(inner, window)| inner.smooth(window).into()),
            (inner.clone(), number(), 0..5usize).prop_map(|(inner, number, follow)| match follow {
                0 => inner.follow_batch_size(number).into(),
                1 => inner.follow_noise(number).into(),
                2 => inner.follow_momentum(number).into(),
                3 => inner.mechanical_momentum(number).into(),
                _ => inner.follow_temperature(number).into(),
            }),
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
        2 => (1u64..1 << 40, 1usize..64, 1usize..9, span()).prop_map(|(samples, batch, rounds, at)| {
            let run = RunLength::samples(samples, batch).gradient_accumulation(4);
            run.batch_size_steps(&[(at, rounds * batch)])
        }),
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
        config in description_with_code(), run in run(), steps in prop::collection::vec(any::<u64>(), 4), near in 0u64..2_000,
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

    /// A schedule keeps no state between two calls: evaluated forwards, backwards, on a copy, or at 2⁶⁴ − 1
    /// in between, it gives the same bits. Because the steps are arbitrary 64-bit numbers and these tests
    /// terminate, no rate can come from a loop over steps, cycles or repetitions: it would count to 10¹⁸.
    /// Only a moving average loops, over a bounded window.
    #[test]
    fn rates_do_not_depend_on_the_order_of_asking(
        config in description_with_code(), run in run(), any in any::<u64>(), near in 0u64..2_000,
    ) {
        let Ok(schedule) = config.resolve(run) else { return Ok(()) };
        let steps = [0, 1, near, any, 1_000_000_000_000, u64::MAX];
        let forwards = steps.map(|step| schedule.rate(step).to_bits());
        let copy = schedule.clone();
        for (step, rate) in steps.into_iter().zip(forwards).rev() {
            prop_assert_eq!(schedule.rate(step).to_bits(), rate, "{} at {}", schedule, step);
            schedule.rate(u64::MAX);
            prop_assert_eq!(copy.rate(step).to_bits(), rate, "a copy of {} at {}", schedule, step);
        }
        // A batch of rates equals single rates, even across the end.
        let mut filled = [0.0; 40];
        for first in [near, schedule.length().unwrap_or(any).saturating_sub(20)] {
            schedule.fill(first, &mut filled);
            for (index, rate) in (0u64..).zip(filled) {
                let step = first.saturating_add(index);
                prop_assert_eq!(rate.to_bits(), schedule.rate(step).to_bits(), "{} at {}", schedule, step);
            }
        }
    }

    /// Cycle ends ascend, are correct, and are found without a loop over updates or cycles.
    #[test]
    fn ends_of_cycles_ascend_to_the_end_of_the_run(
        config in description_with_code(), run in run(), any in any::<u64>(),
    ) {
        let Ok(schedule) = config.resolve(run) else { return Ok(()) };
        let ends: Vec<u64> = schedule.cycle_ends().take(300).collect();
        prop_assert!(ends.is_sorted_by(|a, b| a < b), "{schedule}: {ends:?}");
        prop_assert!(ends.iter().all(|&end| schedule.ends_cycle(end)), "{schedule}: {ends:?}");
        let between = ends.windows(2).find(|pair| pair[1] - pair[0] > 1);
        prop_assert!(between.is_none_or(|pair| !schedule.ends_cycle(pair[0] + 1)), "{schedule}");
        let last = schedule.length().map(|updates| updates - 1);
        prop_assert!(ends.len() == 300 || last.is_none_or(|last| ends.last() == Some(&last)));
        prop_assert!(!schedule.ends_cycle(any) || last.is_none_or(|last| any <= last), "{schedule}");
    }

    #[test]
    fn files_and_text_give_back_the_same_schedule(config in description(), run in run()) {
        let Ok(schedule) = config.clone().resolve(run) else { return Ok(()) };
        let json = config.to_json().unwrap();
        let back = ScheduleConfig::from_json(&json).unwrap();
        prop_assert_eq!(&back, &config);
        prop_assert_eq!(back.resolve(run).unwrap().fingerprint(), schedule.fingerprint());
        // TOML numbers end at 2⁶³ − 1, and its writer says so.
        if let Ok(toml) = config.to_toml() {
            prop_assert_eq!(&ScheduleConfig::from_toml(&toml).unwrap(), &config);
        }
        let text = config.to_string();
        prop_assert_eq!(text.parse(), Ok(config), "{}", text);
    }
}

/// A line from 10³⁰⁰ down has lost all digits of its end value, capped or not.
fn has_huge_number(text: &str) -> bool {
    let numbers = text.split(|c: char| !c.is_ascii_alphanumeric() && !".-".contains(c));
    numbers
        .filter(|number| number.contains('e'))
        .any(|number| number.parse().is_ok_and(|n: f64| n > 1e9))
}

fn close(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-10 * scale + 1e-290
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_global_rejects: 100_000, failure_persistence: None, ..Default::default() })]

    /// With or without a closed form, an analysis equals its definition over the rates.
    #[test]
    fn an_analysis_equals_its_definition(config in description(), run in run(), steps in 1u64..300) {
        let Ok(schedule) = config.resolve(run) else { return Ok(()) };
        prop_assume!(!has_huge_number(&schedule.to_string()));
        let window = Window::first(&schedule, steps).unwrap();
        let rates: Vec<f64> = (0..steps).map(|step| schedule.rate(step)).collect();
        let jumps: Vec<f64> = rates.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        let peak = rates.iter().copied().fold(0.0, f64::max);
        // Rates are rounded relative to the schedule's peak, which a window of a long run may be far below.
        let scale = schedule.peak();
        let (sum, squares) = (rates.iter().sum::<f64>(), rates.iter().map(|rate| rate * rate).sum::<f64>());

        match window.travel() {
            Ok(found) => {
                prop_assert!(close(found.travel, sum, sum + 0.01 * scale), "{schedule}: {found:?}, not {sum}");
                prop_assert!(close(found.noise, squares, squares + 0.01 * scale * scale), "{schedule}: {found:?}, not {squares}");
            }
            Err(error) => {
                prop_assert!(matches!(error, AnalysisError::Overflow { .. }), "{schedule}: {error}");
                prop_assert!(squares > 1e300, "{schedule}: {error}, but {squares}");
            }
        }
        if peak < 1e150 {
            let peak = scale;
            let found = window.flatness();
            prop_assert!(found.is_ok(), "{schedule}: {found:?}");
            let found = found.unwrap();
            let variation = jumps.iter().sum::<f64>();
            prop_assert!(close(found.total_variation, variation, peak), "{schedule}: {found:?}, not {variation}");
            let largest = jumps.iter().copied().fold(0.0, f64::max);
            prop_assert!(close(found.largest_jump, largest, peak), "{schedule}: {found:?}, not {largest}");
            if let Some(step) = found.largest_jump_step {
                let there = jumps[step as usize - 1];
                prop_assert!(close(there, largest, peak), "{schedule}: {found:?}, but {there} there");
            }
            let squares = jumps.iter().map(|jump| jump * jump).sum::<f64>();
            prop_assert!(close(found.squared_jumps, squares, peak * peak), "{schedule}: {found:?}, not {squares}");
        }
        let found = window.cooling(0.01).unwrap();
        prop_assert!(close(found.peak, peak, peak), "{schedule}: {found:?}, not {peak}");
        let (peak_step, half) = (found.peak_step as usize, 0.5 * found.peak);
        let half_life = rates[peak_step + 1..].iter().position(|&rate| rate <= half);
        prop_assert_eq!(found.half_life, half_life.map(|steps| steps as u64 + 1), "{}", schedule);
        let frozen = rates.iter().filter(|&&rate| rate < 0.01 * found.peak).count();
        prop_assert_eq!(found.frozen_fraction, frozen as f64 / steps as f64, "{}", schedule);
    }

    /// A tail of 0 reaches 0, and a settled tail settles, in a run without an end.
    #[test]
    fn tails_are_what_becomes_of_the_rate(config in description()) {
        let Ok(schedule) = config.resolve(RunLength::unbounded()) else { return Ok(()) };
        // A curve may be too long to finish within 2⁶⁴ updates.
        let text = schedule.to_string();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        prop_assume!(!numbers.any(|number| number.parse().is_ok_and(|n: u64| n > 1 << 40)));
        let last = schedule.rate(u64::MAX);
        match robbins_monro(&schedule).tail {
            Tail::Zero => prop_assert_eq!(last, 0.0, "{}", schedule),
            // The cycles of a polynomial with a tiny power, and a noise that falls with one, are far from
            // their end even after 2⁶⁴ updates.
            Tail::Constant(rate)
                if !["cycle()", "follow_noise"].iter().any(|slow| schedule.to_string().contains(slow)) =>
            {
                prop_assert!(last >= rate * (1.0 - 1e-9), "{schedule}: {last} is not {rate}");
            }
            _ => {}
        }
    }
}

/// Too few descriptions that resolve would make the properties above vacuous.
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

//! The rate of each curve, and of combinators, near the start of a run and up to 10¹² updates into it.
//!
//! `cargo bench -p anneal-schedule --profile dev --config docs/benchmarks.toml --bench rate`
//!
//! Each line is the time of 1,000 rates: read microseconds as nanoseconds per rate.

use anneal_schedule::prelude::*;
use divan::{Bencher, black_box};

const UPDATES: u64 = 10_000_000_000_000;

const SCHEDULES: &[&str] = &[
    "constant(0.1)",
    "step_decay(0.1, 1000000, 0.999)",
    "multi_step(0.1, [10, 20, 50%], 0.5)",
    "exponential(0.1, half_life(50%))",
    "linear(0.1, 0.001)",
    "linear(0.1, 0.001).length(1000).cycle()",
    "polynomial(0.1, 0.001, 2.0)",
    "power_law(0.1, 100, 0.5)",
    "inverse_time(0.1, 0.5, 1000)",
    "piecewise_constant(0.1, [10, 20, 50%], [0.5, 0.1, 0.2])",
    "piecewise_interpolate(0.1, [10, 20, 50%], [0.5, 0.1, 0.2])",
    "cosine(0.1)",
    "cosine(0.1).length(1000).after(continue)",
    "warm_restarts(0.1, 1000)",
    "warm_restarts(0.1, 1000).multiplier(2.0)",
    "warm_restarts(0.1, 1000).multiplier(1.5)",
    "cyclic(0.01, 0.1, 1000)",
    "one_cycle(0.1)",
    "stable_decay(0.1, 10%)",
    "table([0.3, 0.2, 0.1]).every(1000000)",
    "inverse_curvature(0.1, [1.0, 2.0, 3.0])",
    "inverse_sqrt(0.1, 1000)",
    "noam(1.0, 512, 4000)",
    "tanh(0.1)",
    "cosine(0.1).warmup(1000)",
    "cosine(0.1).warmup(1000).then(50%, linear(0.01, 0.0001)).floor(0.001)",
    "cosine(0.1).length(1000).repeat_every(1000)",
    "cosine(0.1).stretch(2.5)",
    "cosine(0.1).delay(1000)",
    "warm_restarts(0.1, 1000).phase(500)",
    "cosine(0.1).smooth(1000)",
    "linear(0.1, 0.001).smooth(1000)",
    "linear(1.0, 1000.0).follow_batch_size(0.001)",
    "product([cosine(0.1), linear(1.0, 0.5)])",
];

fn main() {
    divan::main();
}

/// The rates of 1,000 updates from `start` on.
fn rates_from(bencher: Bencher, text: &str, start: u64) {
    let config: ScheduleConfig = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let schedule = config.resolve(RunLength::updates(UPDATES)).unwrap();
    bencher.bench_local(|| {
        for step in start..start + 1_000 {
            black_box(schedule.rate(black_box(step)));
        }
    });
}

#[divan::bench(args = SCHEDULES)]
fn at_10(bencher: Bencher, text: &str) {
    rates_from(bencher, text, 10);
}

#[divan::bench(args = SCHEDULES)]
fn at_a_million(bencher: Bencher, text: &str) {
    rates_from(bencher, text, 1_000_000);
}

#[divan::bench(args = SCHEDULES)]
fn at_a_trillion(bencher: Bencher, text: &str) {
    rates_from(bencher, text, 1_000_000_000_000);
}

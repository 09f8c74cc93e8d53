//! Times one step of a scheduler, Burn's and this crate's, through `ModuleLrScheduler::step`, as in the `Learner`.
//!
//! `cargo bench --workspace --profile dev --config docs/benchmarks.toml --bench scheduler`
//!
//! The configuration builds these crates like a release, and Burn like the profile.
//!
//! Each line is the time of 1,000 steps, so microseconds are nanoseconds per step.

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn_anneal::prelude::*;
use divan::{Bencher, black_box};

const UPDATES: usize = 1 << 40;
const PEAK: f64 = 0.1;
/// The factor per step of the exponential; no rate becomes subnormal during the measurement.
const GAMMA: f64 = 1.0 - 1e-9;
/// The interval of the step decay.
const EVERY: usize = 1_000_000;

fn main() {
    divan::main();
}

fn steps(bencher: Bencher, scheduler: impl Into<ModuleLrScheduler>) {
    let mut scheduler = scheduler.into();
    bencher.bench_local(|| {
        for _ in 0..1_000 {
            black_box(scheduler.step().base());
        }
    });
}

fn anneal(bencher: Bencher, schedule: impl Into<ScheduleConfig>) {
    steps(bencher, Scheduler::new(schedule, RunLength::updates(UPDATES as u64)).unwrap());
}

mod constant {
    use super::*;

    #[divan::bench]
    fn burn(bencher: Bencher) {
        steps(bencher, PEAK);
    }

    #[divan::bench]
    fn anneal(bencher: Bencher) {
        super::anneal(bencher, constant(PEAK));
    }
}

mod linear {
    use super::*;

    #[divan::bench]
    fn burn(bencher: Bencher) {
        steps(bencher, LinearLrSchedulerConfig::new(PEAK, 1e-3, UPDATES).init().unwrap());
    }

    #[divan::bench]
    fn anneal(bencher: Bencher) {
        super::anneal(bencher, linear(PEAK, 1e-3));
    }
}

mod exponential {
    use super::*;

    #[divan::bench]
    fn burn(bencher: Bencher) {
        steps(bencher, ExponentialLrSchedulerConfig::new(PEAK, GAMMA).init().unwrap());
    }

    #[divan::bench]
    fn anneal(bencher: Bencher) {
        let decay = Decay::Factor { factor: GAMMA, per: Span::steps(1) };
        super::anneal(bencher, exponential(PEAK, decay));
    }
}

mod step_decay {
    use super::*;

    #[divan::bench]
    fn burn(bencher: Bencher) {
        steps(bencher, StepLrSchedulerConfig::new(PEAK, EVERY).with_gamma(0.5).init().unwrap());
    }

    #[divan::bench]
    fn anneal(bencher: Bencher) {
        super::anneal(bencher, step_decay(PEAK, Span::steps(EVERY as u64), 0.5));
    }
}

mod cosine {
    use super::*;

    #[divan::bench]
    fn burn(bencher: Bencher) {
        steps(bencher, CosineAnnealingLrSchedulerConfig::new(PEAK, UPDATES).init().unwrap());
    }

    #[divan::bench]
    fn anneal(bencher: Bencher) {
        super::anneal(bencher, cosine(PEAK));
    }
}

/// The cost of its parts, the cosine and the line above.
#[divan::bench]
fn warmup_sequence_floor(bencher: Bencher) {
    let schedule = cosine(PEAK)
        .warmup(Span::steps(1_000_000))
        .then(Span::percent(50.0), linear(1e-2, 1e-4))
        .floor(1e-3);
    anneal(bencher, schedule);
}

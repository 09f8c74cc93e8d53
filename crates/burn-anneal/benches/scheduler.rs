//! One step of a scheduler, ours and Burn's, through `ModuleLrScheduler::step` as the `Learner` calls it.
//!
//! `cargo bench --workspace --profile dev --bench scheduler`

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn_anneal::prelude::*;
use divan::{Bencher, black_box};

const UPDATES: usize = 1_000_000;

fn main() {
    divan::main();
}

fn step(bencher: Bencher, scheduler: impl Into<ModuleLrScheduler>) {
    let mut scheduler = scheduler.into();
    bencher.bench_local(|| black_box(scheduler.step().base()));
}

fn run() -> RunLength {
    RunLength::updates(UPDATES as u64)
}

#[divan::bench]
fn burn_cosine(bencher: Bencher) {
    step(bencher, CosineAnnealingLrSchedulerConfig::new(0.1, UPDATES).init().unwrap());
}

#[divan::bench]
fn anneal_cosine(bencher: Bencher) {
    step(bencher, cosine(0.1).init(run()).unwrap());
}

#[divan::bench]
fn anneal_warmup_cosine_floor(bencher: Bencher) {
    let config = cosine(0.1).floor(1e-4).warmup(Span::percent(5.0));
    step(bencher, config.init(run()).unwrap());
}

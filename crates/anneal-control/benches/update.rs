//! The time each controller takes per update.
//!
//! `cargo bench -p anneal-control --profile dev --config docs/benchmarks.toml --bench update`
//!
//! Each line is the time of 1,000 updates: read microseconds as nanoseconds per update.

use anneal_control::{
    Controllers, Cooldown, Curriculum, Describe, Due, FiniteGuard, Follow, Greedy, Hypergradient,
    LocalSteps, LossScaling, MetricOf, NoiseScale, Observation, OverflowCap, Pid, Plateau,
    PruningRestart, Rehearsal, RunLength, Signal, SpikeGuard, TaskConflict,
};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// The controllers by name.
fn rules() -> Vec<(&'static str, Box<dyn Describe>)> {
    vec![
        ("cooldown", Box::new(Cooldown::after_non_finite_loss(10).unwrap())),
        ("curriculum", Box::new(Curriculum::new("easy", 1.0).phase("hard", 0.5, 500))),
        ("finite guard", Box::new(FiniteGuard::stop())),
        ("follow", Box::new(Follow::temperature(0.1))),
        ("greedy", Box::new(Greedy::min(Signal::Loss, 1e-3..=1.0).window(50))),
        ("hypergradient", Box::new(Hypergradient::on_log(1e-3))),
        ("local steps", Box::new(LocalSteps::new(8).budget(0.1).step_decay(0.5, 10))),
        ("loss scaling", Box::new(LossScaling::new().build().unwrap())),
        ("noise scale", Box::new(NoiseScale::new().batch_size(32))),
        ("pid", Box::new(Pid::change_of(Signal::Loss, [1.0, 0.1, 0.1]))),
        ("plateau of each loss", Box::new(Plateau::min(Signal::Loss))),
        ("plateau of a metric", Box::new(Plateau::min(MetricOf::valid("Loss")))),
        ("pruning restart", Box::new(PruningRestart::new(4.0, 100))),
        ("overflow cap", Box::new(OverflowCap::given(1.0).build().unwrap())),
        ("rehearsal", Box::new(Rehearsal::every(100))),
        ("spike guard", Box::new(SpikeGuard::clip())),
        ("task conflict", Box::new(TaskConflict::new())),
    ]
}

fn names() -> Vec<&'static str> {
    rules().into_iter().map(|(name, _)| name).chain(["all of them"]).collect()
}

#[divan::bench(args = names())]
fn thousand_updates(bencher: Bencher, name: &str) {
    let run = RunLength::updates(1_000_000).gradient_accumulation(4).resolve().unwrap();
    let mut controllers = Controllers::default();
    for (of, rule) in rules() {
        if of == name || name == "all of them" {
            controllers.add(of, rule.build(&run).unwrap());
        }
    }
    let seen = |t: u64| Observation {
        loss: Some(1.0 / (t as f64 + 1.0)),
        gradient_norm: Some(1.0 + (t as f64).sin() / 10.0),
        gradient_dot: Some(0.01),
        batch_gradient_norm: Some(2.0),
        mean_gradient_norm: Some(1.0),
        batches: Some(4),
        largest_gradient: Some(0.1),
        task_cosine: Some(-0.1),
        movement: Some(0.1),
        ..Observation::default()
    };
    let rates = [0.1; 12];
    bencher.bench_local(|| {
        for number in 0..1_000 {
            let due = Due { group_rates: &rates, ..Due::at(number, 0.1) };
            let seen = black_box(seen(number));
            let decision = controllers.update(due, &seen).unwrap();
            controllers.outcome(due, &seen, &decision, None).unwrap();
            black_box(decision);
        }
    });
}

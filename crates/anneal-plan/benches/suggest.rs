//! The time of a suggestion by a Bayesian search over two axes, after a number of trials.
//!
//! `cargo bench -p anneal-plan --profile dev --bench suggest`

use anneal_plan::{Halving, Next, Search, Space, Study, UpperConfidence};
use divan::Bencher;

fn main() {
    divan::main();
}

/// A study whose next suggestion is the first that is not a Sobol point.
fn study(trials: usize, search: impl Fn(Search) -> Search) -> Study {
    let space = Space::new().log("rate", 1e-5, 1.0).log("decay", 1e-6, 0.1);
    let rule = UpperConfidence::new().initial(trials as u64);
    let study = search(Search::new(space).strategy(rule)).build().unwrap();
    for trial in study.ask_batch(trials).unwrap() {
        let (rate, decay) = (trial.values()["rate"], trial.values()["decay"]);
        let noise = 0.1 * (1e9 * rate).sin();
        let loss = (rate / 3e-3).ln().powi(2) + (decay / 1e-3).ln().powi(2) + noise;
        let stopped =
            [1, 3, 9].iter().any(|epoch| trial.report(*epoch, loss).unwrap() == Next::Stop);
        if !stopped {
            trial.tell(loss).unwrap();
        }
    }
    study
}

#[divan::bench(args = [10, 30, 100, 300])]
fn all_finished(bencher: Bencher, trials: usize) {
    bencher.with_inputs(|| study(trials, |search| search)).bench_values(|study| study.ask());
}

#[divan::bench(args = [10, 30, 100, 300])]
fn most_stopped_early(bencher: Bencher, trials: usize) {
    let halving = |search: Search| search.halving(Halving::new(1, 27));
    bencher.with_inputs(|| study(trials, halving)).bench_values(|study| study.ask());
}

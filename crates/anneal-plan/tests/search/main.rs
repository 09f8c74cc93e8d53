//! Searches through the public API.

mod file;
mod going;
mod halving;
mod resume;

use anneal_plan::{Halving, Next, Search, Space, Strategy, Trial, UpperConfidence};

fn space() -> Space {
    Space::new().log("rate", 1e-5, 1.0).linear("momentum", 0.0, 0.99)
}

/// All strategies, the Bayesian one from its fourth trial on.
fn strategies() -> Vec<Strategy> {
    let rule = UpperConfidence::new().initial(4);
    vec![Strategy::Random, Strategy::LinearRandom, Strategy::Sobol, Strategy::Grid(4), rule.into()]
}

/// A loss that falls over nine epochs to a level set by rate and momentum, reported after each. High rates
/// diverge, some panic.
fn train(trial: &Trial) -> Result<f64, String> {
    let (rate, momentum) = (trial.values()["rate"], trial.values()["momentum"]);
    if rate > 0.5 {
        panic!("the loss of trial {} is no number", trial.number());
    }
    if rate > 0.2 {
        return Err("out of memory".into());
    }
    let end = (rate / 3e-3).ln().powi(2) + (momentum - 0.8).abs();
    for epoch in 1..=9 {
        let loss = end + 3.0 / epoch as f64;
        if trial.report(epoch, loss).map_err(|error| error.to_string())? == Next::Stop {
            return Ok(loss);
        }
    }
    Ok(end)
}

fn halved(strategy: Strategy) -> Search {
    Search::new(space()).strategy(strategy).seed(3).halving(Halving::new(1, 9)).trials(12)
}

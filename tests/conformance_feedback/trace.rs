//! A trace of a scheduler that follows a metric.

use anneal_control::{Controllers, Describe, Due, EpochMetrics, Observation, RunLength, peers};
use serde::Deserialize;
use serde_json::Value;

/// The metrics given to a peer, and its rates. One value of the metric is an epoch, and an epoch is one update.
#[derive(Deserialize)]
struct Trace {
    args: Value,
    base_lr: f64,
    metrics: Vec<f64>,
    rates_after: Vec<f64>,
}

/// Translates the scheduler, and drives it like a training.
pub fn compare(peer: &str, name: &str, line: Value) -> Result<(), String> {
    let trace: Trace = serde_json::from_value(line).map_err(|error| error.to_string())?;
    if trace.metrics.is_empty() || trace.metrics.len() != trace.rates_after.len() {
        return Err("it needs a rate after each metric".into());
    }
    drive(peer, name, &trace).map_err(|error| format!("{}: {error}", trace.args))
}

fn drive(peer: &str, name: &str, trace: &Trace) -> Result<(), Box<dyn std::error::Error>> {
    let translation = peers::translate(peer, name, &trace.args, trace.base_lr)?;
    let schedule = translation.schedule()?;
    let rule = translation.controller.ok_or("the translation has no controller")?;
    let mut controllers = Controllers::default();
    controllers.add("rule", rule.build(&RunLength::unbounded().resolve()?)?);
    let (metric, _) = controllers.metrics().pop().ok_or("it hears no metric")?;
    for update in 0..=trace.metrics.len() as u64 {
        let due = Due::at(update, schedule.rate(update));
        let decision = controllers.update(due, &Observation::default())?;
        controllers.outcome(due, &Observation::default(), &decision, None)?;
        let rate = decision.answer.rate(due.rate);
        if let Some(i) = update.checked_sub(1) {
            let expected = trace.rates_after[i as usize];
            if (rate - expected).abs() > 1e-9 * expected.abs() || rate.is_nan() {
                return Err(format!("{rate:e} after metric {i}, the peer has {expected:e}").into());
            }
        }
        if let Some(value) = trace.metrics.get(update as usize) {
            let metrics = EpochMetrics::from_iter([(metric.clone(), *value)]);
            controllers.epoch(update + 1, &metrics)?;
        }
    }
    Ok(())
}

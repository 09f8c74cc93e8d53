//! scikit-learn's `GaussianProcessRegressor`, with fixed hyperparameters.

use burn_anneal::plan::{GaussianProcess, Kernel};
use serde::Deserialize;
use serde_json::Value;

/// Observed values, and predictions from them.
#[derive(Deserialize)]
struct Case {
    kernel: Kernel,
    length_scale: f64,
    variance: f64,
    noise: f64,
    x: Vec<f64>,
    y: Vec<f64>,
    at: Vec<f64>,
    mean: Vec<f64>,
    std_of_function: Vec<f64>,
    log_marginal_likelihood: f64,
}

/// Compares predictions with scikit-learn's.
pub fn compare(line: Value) -> Result<(), String> {
    let case: Case = serde_json::from_value(line).map_err(|error| error.to_string())?;
    if case.at.is_empty() || [case.mean.len(), case.std_of_function.len()] != [case.at.len(); 2] {
        return Err("it needs a mean and a standard deviation at each place".into());
    }
    let process = GaussianProcess::new(case.kernel, case.variance, vec![case.length_scale]);
    let x: Vec<Vec<f64>> = case.x.iter().map(|x| vec![*x]).collect();
    let posterior = process.noise(case.noise).observe(&x, &case.y);
    let posterior = posterior.map_err(|error| error.to_string())?;
    let likelihood = posterior.log_marginal_likelihood();
    agree("log marginal likelihood", likelihood, case.log_marginal_likelihood)?;
    for (i, at) in case.at.iter().enumerate() {
        let prediction = posterior.predict(&[*at]).map_err(|error| error.to_string())?;
        agree(&format!("mean at {at}"), prediction.mean, case.mean[i])?;
        agree(&format!("standard deviation at {at}"), prediction.std, case.std_of_function[i])?;
    }
    Ok(())
}

fn agree(what: &str, found: f64, expected: f64) -> Result<(), String> {
    match (found - expected).abs() <= 1e-8 * (1.0 + expected.abs()) {
        true => Ok(()),
        false => Err(format!("{what}: {found:e}, scikit-learn has {expected:e}")),
    }
}

//! dp-accounting's `RdpAccountant`, under Poisson sampling.

use anneal_control::{OutOfRange, PrivacyAccountant};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "id")]
    _id: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    #[serde(rename = "peer")]
    _peer: Option<String>,
    sampling_rate: f64,
    noise_multiplier: f64,
    steps: u64,
    delta: f64,
    epsilon: f64,
    /// By default the peer's defaults, which are the same here.
    orders: Option<Vec<f64>>,
}

impl Line {
    fn epsilon(&self) -> Result<f64, OutOfRange> {
        let (noise, rate) = (self.noise_multiplier, self.sampling_rate);
        let mut accountant = match &self.orders {
            Some(orders) => PrivacyAccountant::with_orders(noise, rate, orders.clone())?,
            None => PrivacyAccountant::new(noise, rate)?,
        };
        accountant.steps(self.steps);
        accountant.epsilon(self.delta)
    }
}

/// Describes a difference from the peer.
pub fn compare(line: Value) -> Result<(), String> {
    let line: Line = serde_json::from_value(line).map_err(|error| error.to_string())?;
    let found = line.epsilon().map_err(|error| error.to_string())?;
    match (found - line.epsilon).abs() <= 1e-6 * line.epsilon.abs().max(1.0) {
        true => Ok(()),
        false => Err(format!("ε is {found}, not {}", line.epsilon)),
    }
}

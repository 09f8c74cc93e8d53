//! simple-pid: the input is announced, and the output is in the state of the controller.

use anneal_control::{Announcement, Controllers, Describe, Pid, RunLength, Signal};
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
    args: Arguments,
    inputs: Vec<f64>,
    outputs: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    kp: f64,
    ki: f64,
    kd: f64,
    setpoint: f64,
    low: Option<f64>,
    high: Option<f64>,
    proportional_on_measurement: bool,
    differential_on_measurement: bool,
    dt: f64,
}

impl Arguments {
    fn rule(&self) -> Pid {
        let signal = Signal::Announced("input".into());
        // The limits apply to the factor; the output is its logarithm.
        let least = self.low.map_or(1e-300, f64::exp);
        let most = self.high.map_or(1e300, f64::exp);
        let gains = [self.kp, self.ki, self.kd];
        let rule = Pid::set_point(signal, self.setpoint, gains).limits(least, most).dt(self.dt);
        let rule = match self.differential_on_measurement {
            true => rule,
            false => rule.derivative_of_error(),
        };
        match self.proportional_on_measurement {
            true => rule.proportional_on_measurement(),
            false => rule,
        }
    }
}

/// Describes a difference from the peer.
pub fn compare(line: Value) -> Result<(), String> {
    let Line { args, inputs, outputs, .. } =
        serde_json::from_value(line).map_err(|error| error.to_string())?;
    if inputs.is_empty() || inputs.len() != outputs.len() {
        return Err(format!("{} inputs, {} outputs", inputs.len(), outputs.len()));
    }
    let run = RunLength::updates(1).resolve().map_err(|error| error.to_string())?;
    let mut controllers = Controllers::default();
    controllers.add("pid", args.rule().build(&run).map_err(|error| error.to_string())?);
    for (i, (input, expected)) in inputs.into_iter().zip(outputs).enumerate() {
        let said = Announcement { name: "input", value: Some(input) };
        controllers.announce(said).map_err(|error| error.to_string())?;
        let state = controllers.states().next().map(|(_, state)| state);
        let output = state.as_ref().and_then(|state| state["terms"]["output"].as_f64());
        let close = |output: f64| (output - expected).abs() <= 1e-9 * expected.abs() + 1e-12;
        if !output.is_some_and(close) {
            return Err(format!("input {i}: {output:?}, not {expected}"));
        }
    }
    Ok(())
}

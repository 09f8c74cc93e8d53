//! torch's `GradScaler`.

use anneal_control::{LossScaling, Observation};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Trace {
    args: Arguments,
    found_inf: Vec<bool>,
    scales_after: Vec<f64>,
    stepped: Vec<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    init_scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
}

pub fn compare(line: Value) -> Result<(), String> {
    let trace: Trace = serde_json::from_value(line).map_err(|error| error.to_string())?;
    let lengths = (trace.found_inf.len(), trace.scales_after.len(), trace.stepped.len());
    if lengths.0 == 0 || lengths.0 != lengths.1 || lengths.1 != lengths.2 {
        return Err("it needs a scale after each update".into());
    }
    let rule = LossScaling::new()
        .scale(trace.args.init_scale)
        .growth_factor(trace.args.growth_factor)
        .backoff_factor(trace.args.backoff_factor)
        .growth_interval(trace.args.growth_interval)
        // torch's scale falls as long as f32 can represent it.
        .minimum(f64::from(f32::MIN_POSITIVE));
    let mut scaler = rule.build().map_err(|error| error.to_string())?;
    let answers = trace.scales_after.iter().zip(&trace.stepped);
    for (i, (&overflow, (&scale, &stepped))) in trace.found_inf.iter().zip(answers).enumerate() {
        let seen = Observation { overflow, ..Observation::default() };
        let update = scaler.observe(&seen).map_err(|error| error.to_string())?;
        if (scaler.scale(), !update.is_skipped()) != (scale, stepped) {
            return Err(format!("update {i}: {update:?}, scale {}, not {scale}", scaler.scale()));
        }
    }
    Ok(())
}

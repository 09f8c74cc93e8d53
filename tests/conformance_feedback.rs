//! Every trace of `tests/golden/feedback.jsonl` of a peer of a controller that exists is answered as the peer
//! answered it; the kinds that have no controller yet are listed here.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with a `feedback.jsonl`.

use anneal_control::{LossScaling, Observation};
use anneal_tests::golden_lines;
use serde::Deserialize;
use serde_json::Value;

/// torch's `GradScaler`.
#[derive(Deserialize)]
struct GradScaler {
    id: String,
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

impl GradScaler {
    /// What is answered otherwise.
    fn difference(&self) -> Result<(), String> {
        let rule = LossScaling::new()
            .scale(self.args.init_scale)
            .growth_factor(self.args.growth_factor)
            .backoff_factor(self.args.backoff_factor)
            .growth_interval(self.args.growth_interval)
            // torch's scale falls as long as f32 has a number for it.
            .minimum(f64::from(f32::MIN_POSITIVE));
        let mut scaler = rule.build().map_err(|error| error.to_string())?;
        let answers = self.scales_after.iter().zip(&self.stepped);
        for (i, (&overflow, (&scale, &stepped))) in self.found_inf.iter().zip(answers).enumerate() {
            let seen = Observation { overflow, ..Observation::default() };
            let update = scaler.observe(&seen).map_err(|error| error.to_string())?;
            if (scaler.scale(), !update.is_skipped()) != (scale, stepped) {
                return Err(format!(
                    "update {i}: {update:?}, scale {}, not {scale}",
                    scaler.scale()
                ));
            }
        }
        Ok(())
    }
}

/// Kinds of traces whose controllers do not exist yet.
const LATER: [&str; 3] = ["plateau", "greedy", "range_test"];

#[test]
fn traces_of_peers_are_answered_as_they_answered() {
    let (mut compared, mut wrong) = (0, vec![]);
    for line in golden_lines::<Value>("feedback.jsonl") {
        match line["kind"].as_str() {
            Some("grad_scaler") => {}
            Some(kind) if LATER.contains(&kind) => continue,
            _ => panic!("nothing here answers traces of the kind {}", line["kind"]),
        }
        let trace: GradScaler = serde_json::from_value(line).expect("a trace of GradScaler");
        let lengths = (trace.found_inf.len(), trace.scales_after.len(), trace.stepped.len());
        assert!(lengths.0 > 0 && lengths.0 == lengths.1 && lengths.1 == lengths.2, "{}", trace.id);
        compared += 1;
        if let Err(error) = trace.difference() {
            wrong.push(format!("{}: {error}", trace.id));
        }
    }
    println!("{} of {compared} traces of torch's GradScaler", compared - wrong.len());
    assert!(compared > 0, "there is nothing to compare with");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

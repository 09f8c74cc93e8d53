//! Each configuration of `configurations.jsonl` has the rates that the peer computed, in every form in which it can be
//! written. `experiments/peers/configurations.py` makes the file, with torch 2.15.0, timm 1.0.31, transformers 5.24.0,
//! DeepSpeed 0.19.8, Composer 0.32.1, llm-foundry 0.22.0.dev0, keras 3.15.1, optax 0.2.8 and fastai 2.8.12.

use anneal_config::TrainingConfig;
use anneal_config::peers::{self, Options, Unit};
use anneal_schedule::{RunLength, ScheduleConfig, ScheduleExt};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    from: String,
    text: String,
    options: Said,
    run: RunLength,
    steps: Vec<u64>,
    rates: Vec<f64>,
    /// The rates of each group.
    #[serde(default)]
    groups: Vec<Vec<f64>>,
    /// Where the peer computes in f32, as a share of the largest rate.
    tolerance: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    unit: Option<String>,
    steps_per_epoch: Option<u64>,
    base_lr: Option<f64>,
    #[serde(default)]
    groups: Vec<(String, String)>,
}

impl Said {
    fn options(&self) -> Options {
        Options {
            unit: self.unit.as_deref().map(|unit| match unit {
                "ep" => Unit::Epochs,
                _ => Unit::Updates,
            }),
            updates_per_epoch: self.steps_per_epoch,
            base_lr: self.base_lr,
            groups: self.groups.clone(),
            ..Options::default()
        }
    }
}

fn compare(line: &Line) -> Result<f64, String> {
    let translated = peers::translate(&line.from, &line.text, &line.options.options());
    let training = translated.map_err(|error| error.to_string())?.training;
    let run = line.run;
    training.check(run).map_err(|error| format!("{}: {error}", training.schedule))?;
    for written in [
        TrainingConfig::from_toml(&training.to_toml().unwrap()),
        TrainingConfig::from_toml(&training.to_concise_toml().unwrap()),
        TrainingConfig::from_json(&training.to_json().unwrap()),
    ] {
        let written = written.map_err(|error| error.to_string())?;
        assert_eq!(written.to_json().unwrap(), training.to_json().unwrap());
    }
    let mut worst = curve(&training.schedule, run, line, &line.rates)?;
    let groups = training.groups.map(|groups| groups.groups).unwrap_or_default();
    if groups.len() != line.groups.len() {
        return Err(format!("{} groups", groups.len()));
    }
    for (group, rates) in groups.iter().zip(&line.groups) {
        worst = worst.max(curve(group.schedule.as_ref().unwrap(), run, line, rates)?);
    }
    Ok(worst)
}

fn curve(
    config: &ScheduleConfig,
    run: RunLength,
    line: &Line,
    rates: &[f64],
) -> Result<f64, String> {
    assert_eq!(config.to_string().parse().as_ref(), Ok(config));
    let schedule = config.clone().resolve(run).map_err(|error| error.to_string())?;
    let tolerance = line.tolerance.unwrap_or(1e-9);
    let largest = rates.iter().copied().fold(0.0, f64::max);
    let mut worst = 0.0f64;
    for (&step, &expected) in line.steps.iter().zip(rates) {
        let found = schedule.rate(step);
        // Near a rate of 0 a cosine has rounding errors of the size of the peak's last digits.
        let scale =
            if line.tolerance.is_some() { largest } else { expected.abs().max(largest * 1e-6) };
        let error = (found - expected).abs() / scale;
        if error.is_nan() || error > tolerance {
            return Err(format!("{config}: {found:e} at update {step}, the peer has {expected:e}"));
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

#[test]
fn configurations_have_the_rates_of_their_peers() {
    let mut kinds: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    let mut wrong = vec![];
    for (number, line) in include_str!("configurations.jsonl").lines().enumerate() {
        let line: Line = serde_json::from_str(line).unwrap();
        assert!(!line.steps.is_empty() && line.steps.len() == line.rates.len(), "line {number}");
        let (count, worst) = kinds.entry(line.from.clone()).or_default();
        *count += 1;
        match compare(&line) {
            Ok(error) => *worst = worst.max(error),
            Err(error) => {
                wrong.push(format!("line {}: {} {}: {error}", number + 1, line.from, line.text))
            }
        }
    }
    for (kind, (count, worst)) in &kinds {
        println!("{kind:12} {count:4} configurations, worst relative error {worst:.1e}");
    }
    let first = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} differ:\n{first}", wrong.len());
    assert_eq!(kinds.len(), 8);
}

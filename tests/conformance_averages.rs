//! Every run of `tests/golden/training_averages.json`, built from its `spec`, trains and averages like its peer: losses
//! to a relative 1e-5, trained and evaluated weights to 2e-5.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with a `training_averages.json`, and the
//! `training.json` whose model and batches it uses.

use anneal_tests::{DigitModel, Digits, TorchSpec, golden_file};
use burn::tensor::Device;
use burn::train::TrainOutput;
use burn_anneal::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    #[serde(rename = "note")]
    _note: String,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    case: String,
    spec: serde_json::Map<String, serde_json::Value>,
    losses: Vec<f64>,
    #[serde(rename = "final")]
    trained: Weights,
    averaged: Weights,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    weights: Vec<Vec<f64>>,
    biases: Vec<Vec<f64>>,
}

/// One of schedulefree's optimizers.
#[derive(Clone, Copy, Deserialize)]
#[serde(tag = "name", deny_unknown_fields)]
enum Optimizer {
    #[serde(rename = "SGDScheduleFree")]
    SgdScheduleFree {
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        warmup_steps: u64,
        r: f64,
        weight_lr_power: f64,
    },
    AdamWScheduleFree {
        lr: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
        warmup_steps: u64,
        r: f64,
        weight_lr_power: f64,
    },
}

/// One of torch's averages.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Ema { decay: f64, start: u64 },
    Mean { start: u64 },
}

impl Run {
    /// The loop that trains like the peer.
    fn builder(&self, model: DigitModel) -> Result<LearnerBuilder<DigitModel>, Box<dyn Error>> {
        let run = RunLength::updates(self.losses.len() as u64);
        let mut spec = self.spec.clone();
        if let Some(average) = spec.remove("average") {
            let average = match serde_json::from_value(average)? {
                Kind::Ema { decay, start } => Average::ema(decay).start(start),
                Kind::Mean { start } => Average::mean_from(start),
            };
            let spec: TorchSpec = serde_json::from_value(spec.into())?;
            return Ok(spec.builder(model, run).groups(spec.groups()).average(average));
        }
        let optimizer = spec.remove("optimizer").ok_or("no optimizer")?;
        if let Some((field, _)) = spec.into_iter().next() {
            return Err(format!("`{field}` beside a schedule-free optimizer").into());
        }
        match serde_json::from_value(optimizer)? {
            Optimizer::SgdScheduleFree {
                lr,
                momentum,
                weight_decay,
                warmup_steps,
                r,
                weight_lr_power,
            } => {
                let optimizer = ScheduleFree::sgd().momentum(momentum).warmup(warmup_steps);
                let optimizer = optimizer.polynomial(r).weight_power(weight_lr_power).build()?;
                let builder = LearnerBuilder::new(model, optimizer, constant(lr));
                Ok(builder.run(run).weight_decay(weight_decay))
            }
            Optimizer::AdamWScheduleFree {
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                warmup_steps,
                r,
                weight_lr_power,
            } => {
                let optimizer = ScheduleFree::adamw().momentum(beta1).beta_2(beta2).epsilon(eps);
                let optimizer = optimizer.warmup(warmup_steps).polynomial(r);
                let optimizer = optimizer.weight_power(weight_lr_power).build()?;
                let builder = LearnerBuilder::new(model, optimizer, constant(lr));
                Ok(builder.run(run).weight_decay(weight_decay))
            }
        }
    }

    /// The largest distances of the trained and the evaluated weights from the peer's.
    fn distances(&self, golden: &Digits<IgnoredAny>) -> Result<[f64; 2], Box<dyn Error>> {
        let device = Device::default().autodiff();
        let mut training = self.builder(golden.model(&device))?.build_loop()?;
        if self.losses.len() != golden.batches.len() {
            return Err(format!("{} losses", self.losses.len()).into());
        }
        for (t, (batch, expected)) in golden.batches.iter().zip(&self.losses).enumerate() {
            let loss = training.pass(|model| {
                let loss = model.loss(batch, &device);
                TrainOutput::new(model, loss.clone().scaled_backward(), loss)
            });
            let found = f64::from(loss.into_scalar::<f32>());
            let off = (found - expected).abs();
            if off.is_nan() || off > 1e-5 * expected.abs() {
                return Err(
                    format!("loss of update {t}: {found:e}, the peer has {expected:e}").into()
                );
            }
            training.update()?;
        }
        let averaged = training.valid();
        Ok([
            training.model().distance(&self.trained.weights, &self.trained.biases)?,
            averaged.distance(&self.averaged.weights, &self.averaged.biases)?,
        ])
    }
}

/// The largest distance of a weight from the peer's.
const TOLERANCE: f64 = 2e-5;

#[test]
fn averages_are_those_of_the_peers() {
    let setup: Digits<IgnoredAny> = golden_file("training.json");
    setup.check();
    let golden: Golden = golden_file("training_averages.json");
    assert!(!golden.runs.is_empty(), "there is nothing to compare with");
    let mut wrong = vec![];
    for run in &golden.runs {
        match run.distances(&setup) {
            Ok([trained, averaged]) if trained <= TOLERANCE && averaged <= TOLERANCE => {
                println!("{:28} trained within {trained:.1e}, averaged {averaged:.1e}", run.case);
            }
            Ok([trained, averaged]) => {
                let how = format!("trained {trained:.1e} off, averaged {averaged:.1e}");
                wrong.push(format!("{}: {how}", run.case));
            }
            Err(error) => wrong.push(format!("{}: {error}", run.case)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Every run of `tests/golden/training.json`, built from its `spec`, trains like PyTorch: rates to 1e-9, losses to a
//! relative 1e-5, final weights to 2e-5.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with a `training.json`.

use anneal_tests::{DigitModel, Digits, TorchSpec, golden_file};
use burn::tensor::Device;
use burn::train::TrainOutput;
use burn_anneal::prelude::*;
use serde::Deserialize;

type Golden = Digits<Run>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    case: String,
    spec: TorchSpec,
    rates: Vec<Vec<f64>>,
    momenta: Option<Vec<f64>>,
    losses: Vec<f64>,
    final_weights: Vec<Vec<f64>>,
    final_biases: Vec<Vec<f64>>,
}

/// The largest distance of a final weight from PyTorch's.
const TOLERANCE: f64 = 2e-5;

/// The largest distance of a run's final weights from PyTorch's, or another failure.
fn train(
    golden: &Golden,
    run: &Run,
    builder: impl FnOnce(DigitModel, RunLength) -> LearnerBuilder<DigitModel>,
) -> Result<f64, String> {
    let device = Device::default().autodiff();
    let length = RunLength::updates(run.rates.len() as u64);
    let builder = builder(golden.model(&device), length).groups(run.spec.groups());
    let mut training = builder.build_loop().map_err(|error| error.to_string())?;
    for (t, (batch, rates)) in golden.batches.iter().zip(&run.rates).enumerate() {
        compare_rates(&training, golden.dims.len() - 1, t as u64, rates)?;
        if let Some(momenta) = &run.momenta {
            for group in &training.explain().groups {
                let found = group.momentum.ok_or("no momentum")?;
                close(&format!("momentum of update {t}"), found, momenta[t], 1e-9)?;
            }
        }
        let loss = training.pass(|model| {
            let loss = model.loss(batch, &device);
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        let found = f64::from(loss.into_scalar::<f32>());
        let expected = run.losses[t];
        close(&format!("loss of update {t}"), found, expected, 1e-5 * expected.abs())?;
        training.update().map_err(|error| error.to_string())?;
    }
    training.model().distance(&run.final_weights, &run.final_biases)
}

/// PyTorch's groups are the weight and the bias of each layer in order, or one group for all.
fn compare_rates(
    training: &TrainingLoop<DigitModel>,
    layers: usize,
    t: u64,
    rates: &[f64],
) -> Result<(), String> {
    let paths =
        (0..layers).flat_map(|i| [format!("layers.{i}.weight"), format!("layers.{i}.bias")]);
    let explanation = training.explain();
    for (i, path) in paths.enumerate() {
        let rate = match rates {
            [one] => *one,
            of_each => *of_each.get(i).ok_or("a rate of each parameter, or one for all")?,
        };
        let group = explanation.groups.iter().find(|group| group.paths.contains(&path));
        let group = group.ok_or_else(|| format!("{path} is in no group"))?;
        // A layer that does not train yet still has a rate in PyTorch.
        if !group.frozen {
            close(&format!("rate of {path} in update {t}"), group.rate, rate, 1e-9)?;
        }
    }
    Ok(())
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) -> Result<(), String> {
    // A NaN is not close.
    if (found - expected).abs() <= tolerance {
        Ok(())
    } else {
        Err(format!("{what}: {found:e}, PyTorch has {expected:e}"))
    }
}

#[test]
fn training_is_pytorchs() {
    let golden: Golden = golden_file("training.json");
    golden.check();
    assert!(!golden.runs.is_empty(), "there is nothing to compare with");
    let mut wrong = vec![];
    for run in &golden.runs {
        let updates = golden.batches.len();
        assert_eq!((run.rates.len(), run.losses.len()), (updates, updates), "{}", run.case);
        match train(&golden, run, |model, length| run.spec.builder(model, length)) {
            Ok(worst) if worst <= TOLERANCE => {
                println!("{:28} final weights within {worst:.1e}", run.case);
            }
            Ok(worst) => wrong.push(format!("{}: a final weight is {worst:.1e} off", run.case)),
            Err(error) => wrong.push(format!("{}: {error}", run.case)),
        }
        // For information: the distance of Burn's own AdamW, if it supports the run.
        if let Some(config) = run.spec.burns_adamw() {
            let burns = |model: DigitModel, length: RunLength| {
                LearnerBuilder::new(model, config.build(), run.spec.schedule()).run(length)
            };
            let worst = train(&golden, run, burns).unwrap_or(f64::NAN);
            println!("{:28} within {worst:.1e} with Burn's AdamW", run.case);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

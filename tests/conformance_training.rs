//! Every run of `tests/golden/training.json`, built from its `spec`, trains as PyTorch did: rates to 1e-9,
//! losses to 1e-5 of them, final weights to 2e-5.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with a `training.json`.

use anneal_schedule::peers;
use anneal_tests::golden_file;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::TrainOutput;
use burn_anneal::groups::{GroupsConfig, LayerMap, Selection};
use burn_anneal::prelude::*;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    #[serde(rename = "peer")]
    _peer: String,
    #[serde(rename = "version")]
    _version: String,
    dims: Vec<usize>,
    activation: String,
    loss: String,
    init_weights: Vec<Vec<f32>>,
    init_biases: Vec<Vec<f32>>,
    weight_layout: String,
    batches: Vec<Batch>,
    batch_size: usize,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    x: Vec<f32>,
    y: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    case: String,
    spec: Spec,
    rates: Vec<Vec<f64>>,
    momenta: Option<Vec<f64>>,
    losses: Vec<f64>,
    final_weights: Vec<Vec<f64>>,
    final_biases: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    optimizer: Optimizer,
    lr: f64,
    schedule: Kind,
    layer_decay: f64,
    weight_decay: Option<Decay>,
    unfreeze_at: Option<Vec<u64>>,
}

#[derive(Deserialize)]
#[serde(tag = "name", deny_unknown_fields)]
enum Optimizer {
    #[serde(rename = "SGD")]
    Sgd {
        momentum: f64,
        nesterov: bool,
        dampening: f64,
    },
    AdamW {
        beta1: f64,
        beta2: f64,
        eps: f64,
    },
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Constant {},
    Step {
        period: u64,
        factor: f64,
    },
    Exponential {
        factor: f64,
    },
    WarmupCosine {
        warmup: u64,
        total: u64,
    },
    OneCycle {
        total: u64,
        pct_start: f64,
        anneal_strategy: String,
        div_factor: f64,
        final_div_factor: f64,
        base_momentum: f64,
        max_momentum: f64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decay {
    coefficient: f64,
    policy: Policy,
    exclude_bias: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Policy {
    Coupled,
    Independent,
}

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(golden: &Golden, device: &Device) -> Self {
        let tensor = |values: &[f32], shape: Vec<usize>| TensorData::new(values.to_vec(), shape);
        let layer = |(i, sizes): (usize, &[usize])| {
            let weight = tensor(&golden.init_weights[i], vec![sizes[1], sizes[0]]);
            let bias = tensor(&golden.init_biases[i], vec![sizes[1]]);
            Linear {
                weight: Param::from_tensor(Tensor::<2>::from_data(weight, device).transpose()),
                bias: Some(Param::from_data(bias, device)),
            }
        };
        Self { layers: golden.dims.windows(2).enumerate().map(layer).collect() }
    }

    fn loss(&self, batch: &Batch, device: &Device) -> Tensor<1> {
        let n = batch.y.len();
        let x = TensorData::new(batch.x.clone(), [n, batch.x.len() / n]);
        let y = TensorData::new(batch.y.clone(), [n]);
        let last = self.layers.len() - 1;
        let mut x = Tensor::<2>::from_data(x, device);
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            x = if i < last { relu(x) } else { x };
        }
        let y = Tensor::<1, Int>::from_data(y, device);
        CrossEntropyLossConfig::new().init(device).forward(x, y)
    }
}

impl Spec {
    fn schedule(&self) -> ScheduleConfig {
        let peak = self.lr;
        match self.schedule {
            Kind::Constant {} => constant(peak).into(),
            Kind::Step { period, factor } => step_decay(peak, Span::steps(period), factor).into(),
            Kind::Exponential { factor } => {
                exponential(peak, anneal_schedule::Decay::Factor { factor, per: Span::steps(1) })
                    .into()
            }
            Kind::WarmupCosine { warmup, total } => {
                let wave = cosine(peak).length(Span::steps(total - warmup));
                // (t + 1)/warmup of the peak: a line that would reach it one update before its end.
                let first = peak / warmup as f64;
                let rise = linear(first, peak + first).length(Span::steps(warmup));
                rise.then(Span::steps(warmup), wave).into()
            }
            Kind::OneCycle { .. } => self.one_cycle().rate,
        }
    }

    fn momentum(&self) -> Option<ScheduleConfig> {
        match self.schedule {
            Kind::OneCycle { .. } => self.one_cycle().momentum,
            _ => None,
        }
    }

    fn one_cycle(&self) -> peers::Translation {
        let Kind::OneCycle {
            total,
            pct_start,
            anneal_strategy,
            div_factor,
            final_div_factor,
            base_momentum,
            max_momentum,
        } = &self.schedule
        else {
            unreachable!("only a one-cycle is one")
        };
        let arguments = json!({
            "max_lr": self.lr, "total_steps": total, "pct_start": pct_start,
            "anneal_strategy": anneal_strategy, "div_factor": div_factor,
            "final_div_factor": final_div_factor, "base_momentum": base_momentum,
            "max_momentum": max_momentum,
        });
        peers::translate("torch", "OneCycleLR", &arguments, self.lr).expect("torch took it")
    }

    fn groups(&self) -> GroupsConfig {
        let mut groups =
            GroupsConfig::new().layers(LayerMap::from_tree()).layer_decay(self.layer_decay);
        if let Some(decay) = &self.weight_decay {
            groups = groups.weight_decay(match decay.policy {
                Policy::Coupled => WeightDecay::coupled(decay.coefficient),
                Policy::Independent => WeightDecay::independent(decay.coefficient),
            });
            if decay.exclude_bias {
                groups = groups.no_weight_decay(Selection::biases());
            }
        }
        if let Some(starts) = &self.unfreeze_at {
            groups = groups.unfreeze_layers_at(starts.iter().map(|&start| Span::steps(start)));
        }
        match self.momentum() {
            Some(momentum) => groups.momentum(momentum),
            None => groups,
        }
    }

    /// Burn's AdamW, where β₁ stays.
    fn burns_adamw(&self) -> Option<AdamWConfig> {
        match (&self.optimizer, self.momentum()) {
            (&Optimizer::AdamW { beta1, beta2, eps }, None) => Some(
                AdamWConfig::new()
                    .with_beta_1(beta1 as f32)
                    .with_beta_2(beta2 as f32)
                    .with_epsilon(eps as f32)
                    .with_weight_decay(0.0),
            ),
            _ => None,
        }
    }

    /// A loop with the optimizer that torch had.
    fn builder(&self, model: Mlp, run: RunLength) -> LearnerBuilder<Mlp> {
        match self.optimizer {
            Optimizer::Sgd { momentum, nesterov, dampening } => {
                let form = MomentumConfig { momentum, dampening, nesterov };
                // torch keeps no buffer where the momentum is 0, and does not dampen then.
                let form =
                    Some(form).filter(|form| form.momentum != 0.0 || self.momentum().is_some());
                let sgd = ScheduledMomentum::from(SgdConfig::new().with_momentum(form));
                LearnerBuilder::new(model, sgd, self.schedule()).run(run)
            }
            Optimizer::AdamW { beta1, beta2, eps } => {
                let adam = ScheduledAdam::new().beta_1(beta1).beta_2(beta2).epsilon(eps).build();
                LearnerBuilder::new(model, adam.expect("torch took it"), self.schedule()).run(run)
            }
        }
    }
}

/// How far a final weight may be from PyTorch's.
const TOLERANCE: f64 = 2e-5;

/// The largest distance of a run's final weights from PyTorch's, or what else is wrong with it.
fn train(
    golden: &Golden,
    run: &Run,
    builder: impl FnOnce(Mlp, RunLength) -> LearnerBuilder<Mlp>,
) -> Result<f64, String> {
    let device = Device::default().autodiff();
    let length = RunLength::updates(run.rates.len() as u64);
    let builder = builder(Mlp::new(golden, &device), length).groups(run.spec.groups());
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
    let mut worst = 0.0_f64;
    for (i, layer) in training.model().layers.iter().enumerate() {
        let weight = layer.weight.val().transpose().into_data().try_to_vec::<f32>();
        let bias = layer.bias.as_ref().map(|bias| bias.val().into_data().try_to_vec::<f32>());
        let found = [weight, bias.ok_or("no bias")?];
        for (found, expected) in
            found.into_iter().zip([&run.final_weights[i], &run.final_biases[i]])
        {
            let found = found.map_err(|error| format!("{error:?}"))?;
            if found.len() != expected.len() {
                return Err(format!(
                    "layer {i} has {} values, not {}",
                    found.len(),
                    expected.len()
                ));
            }
            for (found, expected) in found.into_iter().zip(expected) {
                let distance = (f64::from(found) - expected).abs();
                if distance.is_nan() {
                    return Err(format!("a weight of layer {i} is no number"));
                }
                worst = worst.max(distance);
            }
        }
    }
    Ok(worst)
}

/// PyTorch's groups are the weight and the bias of each layer in order, or one for all.
fn compare_rates(
    training: &TrainingLoop<Mlp>,
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
        // A layer that does not train yet has a rate in PyTorch all the same.
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
    assert_eq!(golden.activation, "relu between layers");
    assert_eq!(golden.loss, "mean cross-entropy");
    assert_eq!(golden.weight_layout, "row-major [out, in]");
    assert!(golden.batches.iter().all(|batch| batch.y.len() == golden.batch_size));
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
        // Not ours to pass: how far Burn's own AdamW is, where it can do what the run asks for.
        if let Some(config) = run.spec.burns_adamw() {
            let burns = |model: Mlp, length: RunLength| {
                LearnerBuilder::new(model, config.build(), run.spec.schedule()).run(length)
            };
            let worst = train(&golden, run, burns).unwrap_or(f64::NAN);
            println!("{:28} within {worst:.1e} with Burn's AdamW", run.case);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

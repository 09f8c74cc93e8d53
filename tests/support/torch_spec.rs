//! The `spec` of a run of `tests/golden/training.json`, as a builder.

use super::DigitModel;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, SgdConfig};
use burn_anneal::groups::{GroupsConfig, LayerMap, Selection};
use burn_anneal::prelude::*;
use burn_anneal::schedule::peers;
use serde::Deserialize;
use serde_json::json;

/// The settings of PyTorch's training.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TorchSpec {
    optimizer: Optimizer,
    lr: f64,
    schedule: Kind,
    #[serde(default = "one")]
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

fn one() -> f64 {
    1.0
}

impl TorchSpec {
    /// Its schedule.
    pub fn schedule(&self) -> ScheduleConfig {
        let peak = self.lr;
        match self.schedule {
            Kind::Constant {} => constant(peak).into(),
            Kind::Step { period, factor } => step_decay(peak, Span::steps(period), factor).into(),
            Kind::Exponential { factor } => exponential(
                peak,
                burn_anneal::schedule::Decay::Factor { factor, per: Span::steps(1) },
            )
            .into(),
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

    /// Its layers, and their decay.
    pub fn groups(&self) -> GroupsConfig {
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

    /// Burn's AdamW, if β₁ is constant.
    pub fn burns_adamw(&self) -> Option<AdamWConfig> {
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

    /// A loop with torch's optimizer.
    pub fn builder(&self, model: DigitModel, run: RunLength) -> LearnerBuilder<DigitModel> {
        match self.optimizer {
            Optimizer::Sgd { momentum, nesterov, dampening } => {
                let form = MomentumConfig { momentum, dampening, nesterov };
                // torch keeps no buffer if the momentum is 0, and does not dampen then.
                let form =
                    Some(form).filter(|form| form.momentum != 0.0 || self.momentum().is_some());
                let sgd = ScheduledMomentum::from(SgdConfig::new().with_momentum(form));
                LearnerBuilder::new(model, sgd, self.schedule()).run(run)
            }
            Optimizer::AdamW { beta1, beta2, eps } => {
                let adam =
                    ScheduledAdamConfig::new().beta_1(beta1).beta_2(beta2).epsilon(eps).build();
                LearnerBuilder::new(model, adam.expect("torch took it"), self.schedule()).run(run)
            }
        }
    }
}

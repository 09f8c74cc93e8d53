//! Times one update in one pass beside Burn's own: each optimizer on one tensor, and AdamW and SGD on many small ones;
//! first with gradients that are kept, as torch keeps them, then as in a learner, which holds the weights of before, and
//! whose gradients are used up.
//!
//! `cargo bench --workspace --profile dev --config docs/benchmarks.toml --bench fused`
//!
//! The variants take turns within each round; a line gives the median of Burn's own time, and of the ratios to it within
//! rounds. This is wall time, because large tensors are updated on all cores. `experiments/peers/fused.py` is torch's
//! side.

mod common;

use burn::module::{Module, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, LionConfig, ModuleOptimizer, RmsPropConfig, SgdConfig,
};
use burn::tensor::{Device, Tensor};
use burn_anneal::{Fusable, Fused};
use common::{median, rounds};
use std::hint::black_box;
use std::time::Instant;

const RATE: f64 = 1e-3;

#[derive(Module, Debug)]
struct Weights<const D: usize> {
    weights: Vec<Param<Tensor<D>>>,
}

impl<const D: usize> Weights<D> {
    fn new(count: usize, dims: [usize; D]) -> Self {
        let device = Device::default().autodiff();
        let weight = |_| Param::from_tensor(Tensor::ones(dims, &device));
        Self { weights: (0..count).map(weight).collect() }
    }

    fn gradients(&self) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        for weight in &self.weights {
            let ones = Tensor::<D>::ones(weight.val().dims(), &Device::default());
            gradients.register(weight.id, ones);
        }
        gradients
    }
}

/// A model in training; each has its own, because its weights change.
struct Trained<const D: usize> {
    model: Option<Weights<D>>,
    optimizer: ModuleOptimizer,
    /// Whether the model before is held during an update, and gradients are not.
    in_learner: bool,
}

impl<const D: usize> Trained<D> {
    /// The microseconds per update.
    fn timed(&mut self, updates: usize) -> f64 {
        let model = self.model.as_ref().expect("it is put back");
        let gradients: Vec<GradientsParams> = (0..updates).map(|_| model.gradients()).collect();
        let of = |gradients: &GradientsParams| {
            let kept = |weight: &Param<Tensor<D>>| gradients.get::<D>(weight.id);
            model.weights.iter().map(kept).collect::<Vec<_>>()
        };
        let kept: Vec<_> = gradients.iter().filter(|_| !self.in_learner).map(of).collect();
        let start = Instant::now();
        for gradients in gradients {
            let before = self.model.take().expect("it is put back");
            let held = self.in_learner.then(|| before.clone());
            self.model = Some(self.optimizer.step(RATE, black_box(before), gradients));
            drop(held);
        }
        let elapsed = start.elapsed().as_secs_f64();
        drop(kept);
        elapsed * 1e6 / updates as f64
    }
}

/// Burn's own and fused, and both in a learner.
fn line<O: Fusable, const D: usize>(name: &str, optimizer: O, count: usize, dims: [usize; D]) {
    let numbers = count * dims.iter().product::<usize>();
    let updates = (1_000_000 / numbers).clamp(1, 300);
    let trained = |optimizer: ModuleOptimizer, in_learner| Trained {
        model: Some(Weights::new(count, dims)),
        optimizer,
        in_learner,
    };
    let mut variants = [
        trained(optimizer.clone().into(), false),
        trained(Fused::new(optimizer.clone()).into(), false),
        trained(optimizer.clone().into(), true),
        trained(Fused::new(optimizer).into(), true),
    ];
    let mut times = vec![vec![]; variants.len()];
    for round in 0..rounds() {
        // The first variant changes from round to round.
        for turn in 0..variants.len() {
            let which = (turn + round) % variants.len();
            times[which].push(variants[which].timed(updates));
        }
    }
    let ratio = |of: usize, to: usize| {
        median(times[of].iter().zip(&times[to]).map(|(time, own)| time / own).collect())
    };
    println!(
        "{name:18} {count:6} × {:9} | {:10.1}  {:10.1}  {:6.3} | {:10.1}  {:10.1}  {:6.3}",
        numbers / count,
        median(times[0].clone()),
        median(times[1].clone()),
        ratio(1, 0),
        median(times[2].clone()),
        median(times[3].clone()),
        ratio(3, 2),
    );
}

fn main() {
    println!("{:37} | Burn's, µs       fused   ratio | in a learner, the same", "");
    let momentum = || Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false });
    for count in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        line("AdamW", AdamWConfig::new().with_weight_decay(0.1).build(), 1, [count]);
        line("Adam", AdamConfig::new().build(), 1, [count]);
        line("SGD, momentum", SgdConfig::new().with_momentum(momentum()).build(), 1, [count]);
        let decayed = SgdConfig::new().with_weight_decay(Some(WeightDecayConfig::new(1e-4)));
        line("SGD, penalty", decayed.build(), 1, [count]);
        line("Lion", LionConfig::new().with_weight_decay(0.1).build(), 1, [count]);
        line("RMSProp", RmsPropConfig::new().build(), 1, [count]);
    }
    line("AdamW", AdamWConfig::new().with_weight_decay(0.1).build(), 12_000, [8, 8]);
    line("SGD, momentum", SgdConfig::new().with_momentum(momentum()).build(), 12_000, [8, 8]);
}

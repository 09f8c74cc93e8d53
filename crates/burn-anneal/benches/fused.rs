//! Times one update in one pass beside Burn's own: each optimizer on one tensor, and AdamW and SGD on many small ones;
//! first with gradients that are kept, as torch keeps them, then as in a learner, which holds the weights of before, and
//! whose gradients are used up. Then AdamW in a training loop beside itself with loss scaling, clipping, decay and an
//! average.
//!
//! `cargo bench --workspace --profile dev --config docs/benchmarks.toml --bench fused`, and `-- 1000 64` for some sizes only
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
use burn::train::TrainOutput;
use burn_anneal::prelude::*;
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

    fn ones(&self) -> Vec<Tensor<D>> {
        let ones = |weight: &Param<Tensor<D>>| Tensor::ones(weight.dims(), &Device::default());
        self.weights.iter().map(ones).collect()
    }

    fn gradients(&self, of: &[Tensor<D>]) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        for (weight, gradient) in self.weights.iter().zip(of) {
            gradients.register(weight.id, gradient.clone());
        }
        gradients
    }
}

/// A model in training.
struct Trained<const D: usize> {
    model: Option<Weights<D>>,
    optimizer: ModuleOptimizer,
    /// The gradients of all updates; if there are none, the model before is held during an update.
    kept: Option<Vec<Tensor<D>>>,
}

impl<const D: usize> Trained<D> {
    /// The microseconds per update.
    fn timed(&mut self, updates: usize) -> f64 {
        let model = self.model.as_ref().expect("it is put back");
        let gradients = || match &self.kept {
            Some(kept) => model.gradients(kept),
            None => model.gradients(&model.ones()),
        };
        let gradients: Vec<GradientsParams> = (0..updates).map(|_| gradients()).collect();
        let start = Instant::now();
        for gradients in gradients {
            let before = self.model.take().expect("it is put back");
            let held = self.kept.is_none().then(|| before.clone());
            self.model = Some(self.optimizer.step(RATE, black_box(before), gradients));
            drop(held);
        }
        start.elapsed().as_secs_f64() * 1e6 / updates as f64
    }
}

/// Burn's own and fused, and both in a learner.
fn line<O: Fusable, const D: usize>(name: &str, optimizer: O, count: usize, dims: [usize; D]) {
    let numbers = count * dims.iter().product::<usize>();
    let updates = (1_000_000 / numbers).clamp(1, 300);
    let (own, fused) = (optimizer.clone(), Fused::new(optimizer));
    let optimizers: [&dyn Fn() -> ModuleOptimizer; 2] =
        [&|| own.clone().into(), &|| fused.clone().into()];
    let trained = |which: usize| {
        let model = Weights::new(count, dims);
        let kept = (which < 2).then(|| model.ones());
        let optimizer = optimizers[which % 2]();
        let mut trained = Trained { model: Some(model), optimizer, kept };
        // It makes the moments.
        trained.timed(1);
        trained
    };
    let mut variants: Vec<Option<Trained<D>>> = (0..4).map(|_| None).collect();
    let times = in_turns(variants.len(), |which| {
        let mut one = variants[which].take().unwrap_or_else(|| trained(which));
        let time = one.timed(updates);
        // Many small tensors of one model would lie between those of another.
        variants[which] = Some(one).filter(|_| count == 1);
        time
    });
    println!(
        "{name:18} {count:6} × {:9} | {:10.1}  {:10.1}  {:6.3} | {:10.1}  {:10.1}  {:6.3}",
        numbers / count,
        median(times[0].clone()),
        median(times[1].clone()),
        ratio(&times, 1, 0),
        median(times[2].clone()),
        median(times[3].clone()),
        ratio(&times, 3, 2),
    );
}

#[derive(Module, Debug)]
struct Weight {
    weight: Param<Tensor<1>>,
}

/// A loop with AdamW, and the microseconds that an update takes after its pass.
fn in_loop(count: usize, all: impl FnOnce(Builder) -> Builder) -> impl FnMut(usize) -> f64 {
    let device = Device::default().autodiff();
    let model = Weight { weight: Param::from_tensor(Tensor::ones([count], &device)) };
    let adam_w = AdamWConfig::new().with_weight_decay(0.0).build();
    let builder = LearnerBuilder::new(model, adam_w, constant(RATE));
    let builder = builder.run(RunLength::updates(1 << 40));
    let mut training = all(builder).build_loop().expect("a loop that fits the model");
    let inputs = Tensor::<1>::ones([count], &device);
    move |updates| {
        let mut seconds = 0.0;
        for _ in 0..updates {
            training.pass(|model| {
                let loss = (model.weight.val() * inputs.clone()).sum();
                TrainOutput::new(model, loss.scaled_backward(), ())
            });
            let start = Instant::now();
            training.update().expect("nothing stops it");
            seconds += start.elapsed().as_secs_f64();
        }
        seconds * 1e6 / updates as f64
    }
}

type Builder = LearnerBuilder<Weight>;

/// Loss scaling, clipping, decay and an average.
fn all(builder: Builder) -> Builder {
    builder
        .loss_scaling(LossScaling::new())
        .clip_global_norm(1.0)
        .weight_decay(0.1)
        .average(Average::ema(0.999))
}

/// AdamW in a loop, the same with all of [`all`], and that in operations.
fn line_in_loop(count: usize) {
    let updates = (1_000_000 / count).clamp(1, 300);
    let mut variants: [Box<dyn FnMut(usize) -> f64>; 3] = [
        Box::new(in_loop(count, |builder| builder)),
        Box::new(in_loop(count, all)),
        Box::new(in_loop(count, |builder| all(builder).fused(false))),
    ];
    let times = in_turns(variants.len(), |which| variants[which](updates));
    println!(
        "{count:9} | {:10.1}  {:10.1}  {:6.3} | {:10.1}  {:6.3}",
        median(times[0].clone()),
        median(times[1].clone()),
        ratio(&times, 1, 0),
        median(times[2].clone()),
        ratio(&times, 1, 2),
    );
}

/// The times of variants, which take turns; the first one changes from round to round.
fn in_turns(variants: usize, mut time: impl FnMut(usize) -> f64) -> Vec<Vec<f64>> {
    let mut times = vec![vec![]; variants];
    for round in 0..rounds() {
        for turn in 0..variants {
            let which = (turn + round) % variants;
            times[which].push(time(which));
        }
    }
    times
}

/// The median of the ratios within rounds.
fn ratio(times: &[Vec<f64>], of: usize, to: usize) -> f64 {
    median(times[of].iter().zip(&times[to]).map(|(time, own)| time / own).collect())
}

fn main() {
    println!("{:37} | Burn's, µs       fused   ratio | in a learner, the same", "");
    let momentum = || Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false });
    let chosen: Vec<usize> = std::env::args().filter_map(|size| size.parse().ok()).collect();
    let is_chosen = |size: &usize| chosen.is_empty() || chosen.contains(size);
    let sizes = [1_000, 10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(is_chosen);
    for count in sizes.clone() {
        line("AdamW", AdamWConfig::new().with_weight_decay(0.1).build(), 1, [count]);
        line("Adam", AdamConfig::new().build(), 1, [count]);
        line("SGD, momentum", SgdConfig::new().with_momentum(momentum()).build(), 1, [count]);
        let decayed = SgdConfig::new().with_weight_decay(Some(WeightDecayConfig::new(1e-4)));
        line("SGD, penalty", decayed.build(), 1, [count]);
        line("Lion", LionConfig::new().with_weight_decay(0.1).build(), 1, [count]);
        line("RMSProp", RmsPropConfig::new().build(), 1, [count]);
    }
    if is_chosen(&64) {
        line("AdamW", AdamWConfig::new().with_weight_decay(0.1).build(), 12_000, [8, 8]);
        line("SGD, momentum", SgdConfig::new().with_momentum(momentum()).build(), 12_000, [8, 8]);
    }
    println!("{:9} | AdamW, µs     with all   ratio | all in operations, µs", "");
    for count in sizes {
        line_in_loop(count);
    }
}

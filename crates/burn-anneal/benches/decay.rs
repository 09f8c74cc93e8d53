//! Times one update of AdamW with weight decay: Burn's own decay, the same decay from this crate (bare and in
//! groups), an independent one and a cautious one.
//!
//! `cargo bench --workspace --profile dev --config docs/benchmarks.toml --bench decay`
//!
//! The variants take turns within each round; a line gives the median of Burn's own time, and of the ratios to it
//! within rounds. This is wall time, because large tensors are updated on all cores.

mod common;

use burn::module::{Module, Param, ParamId};
use burn::optim::{AdamW, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;
use burn_anneal::prelude::*;
use common::{median, rounds};
use std::hint::black_box;
use std::time::Instant;

const RATE: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 0.1;

#[derive(Module, Debug)]
struct Weight {
    weight: Param<Tensor<1>>,
}

/// A model in training; each has its own, because its weights change.
struct Trained {
    id: ParamId,
    length: [usize; 1],
    update: Box<dyn FnMut(GradientsParams)>,
}

impl Trained {
    fn new(weight: &Weight, update: impl FnMut(GradientsParams) + 'static) -> Self {
        let length = weight.weight.val().dims();
        Self { id: weight.weight.id, length, update: Box::new(update) }
    }

    /// Makes a model that a Burn optimizer trains at one rate.
    fn by(weight: &Weight, mut optimizer: ModuleOptimizer) -> Self {
        let mut model = Some(weight.clone());
        Self::new(weight, move |gradients| {
            let updated = model.take().map(|model| optimizer.step(RATE, model, gradients));
            model = black_box(updated);
        })
    }

    /// The microseconds per update.
    fn timed(&mut self, updates: usize) -> f64 {
        let gradients: Vec<GradientsParams> = (0..updates)
            .map(|_| {
                let mut gradients = GradientsParams::new();
                let ones = Tensor::<1>::ones(self.length, &Device::default());
                gradients.register(self.id, ones);
                gradients
            })
            .collect();
        let start = Instant::now();
        for gradients in gradients {
            (self.update)(gradients);
        }
        start.elapsed().as_secs_f64() * 1e6 / updates as f64
    }
}

fn without_decay() -> AdamW {
    AdamWConfig::new().with_weight_decay(0.0).build()
}

fn burns(weight: &Weight) -> Trained {
    let own = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY as f32);
    Trained::by(weight, own.init())
}

fn run() -> RunLength {
    RunLength::updates(1 << 40)
}

fn bare(weight: &Weight, decay: &WeightDecay) -> Trained {
    let schedule = constant(RATE).resolve(run()).expect("a valid schedule");
    let decayed = Decayed::new(without_decay(), decay, &schedule, run()).expect("a valid decay");
    Trained::by(weight, decayed.into())
}

fn in_groups(weight: &Weight) -> Trained {
    let groups = GroupsConfig::new().weight_decay(WEIGHT_DECAY);
    let mut training = LearnerBuilder::new(weight.clone(), without_decay(), constant(RATE))
        .run(run())
        .groups(groups)
        .build_loop()
        .expect("groups that fit the model");
    Trained::new(weight, move |gradients| {
        training.pass(|_| TrainOutput { grads: gradients, item: () });
        training.update().expect("nothing stops it");
        black_box(training.model());
    })
}

fn main() {
    let rounds = rounds();
    let device = Device::default().autodiff();
    println!("  weights | Burn's AdamW µs | coupled  in groups  independent  cautious");
    for count in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        let weight = Weight { weight: Param::from_tensor(Tensor::ones([count], &device)) };
        let mut variants = [
            burns(&weight),
            bare(&weight, &WeightDecay::coupled(WEIGHT_DECAY)),
            in_groups(&weight),
            bare(&weight, &WeightDecay::independent(1e-4)),
            bare(&weight, &WeightDecay::independent(1e-4).cautious()),
        ];
        let updates = (1_000_000 / count).clamp(1, 300);
        let mut times = vec![vec![]; variants.len()];
        for round in 0..rounds {
            // The first variant changes from round to round.
            for turn in 0..variants.len() {
                let which = (turn + round) % variants.len();
                times[which].push(variants[which].timed(updates));
            }
        }
        let ratio = |which: usize| {
            median(times[which].iter().zip(&times[0]).map(|(time, own)| time / own).collect())
        };
        println!(
            "{count:9} | {:15.1} | {:7.3}  {:9.3}  {:11.3}  {:8.3}",
            median(times[0].clone()),
            ratio(1),
            ratio(2),
            ratio(3),
            ratio(4),
        );
    }
}

//! One update of AdamW with a weight decay: Burn's own, the same decay of ours around it, bare and in
//! groups, and an independent and a cautious one.
//!
//! `cargo bench --workspace --profile dev --config docs/benchmarks.toml --bench decay`
//!
//! The variants take turns within each round; a line gives the median of Burn's own and those of the
//! ratios to it in each round. Wall time: large tensors are updated on all cores.

mod common;

use burn::module::{Module, Param};
use burn::optim::{AdamW, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn_anneal::groups::GroupOptimizer;
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
    model: Option<Weight>,
    step: Box<dyn FnMut(Weight, GradientsParams) -> Weight>,
}

impl Trained {
    fn new(weight: &Weight, step: impl FnMut(Weight, GradientsParams) -> Weight + 'static) -> Self {
        Self { model: Some(weight.clone()), step: Box::new(step) }
    }

    /// Microseconds of an update.
    fn timed(&mut self, updates: usize) -> f64 {
        let model = self.model.as_ref().expect("it is put back");
        let length = model.weight.val().dims();
        let gradients: Vec<GradientsParams> = (0..updates)
            .map(|_| {
                let mut gradients = GradientsParams::new();
                let ones = Tensor::<1>::ones(length, &Device::default());
                gradients.register(model.weight.id, ones);
                gradients
            })
            .collect();
        let start = Instant::now();
        for gradients in gradients {
            let model = self.model.take().map(|model| (self.step)(model, gradients));
            self.model = black_box(model);
        }
        start.elapsed().as_secs_f64() * 1e6 / updates as f64
    }
}

fn without_decay() -> AdamW {
    AdamWConfig::new().with_weight_decay(0.0).build()
}

fn burns(weight: &Weight) -> Trained {
    let own = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY as f32);
    let mut optimizer = own.init();
    Trained::new(weight, move |model, gradients| optimizer.step(RATE, model, gradients))
}

fn bare(weight: &Weight, decay: &WeightDecay) -> Trained {
    let run = RunLength::updates(1 << 40);
    let schedule = constant(RATE).resolve(run).expect("a valid schedule");
    let decayed = Decayed::new(without_decay(), decay, &schedule, run).expect("a valid decay");
    let mut optimizer = ModuleOptimizer::from(decayed);
    Trained::new(weight, move |model, gradients| optimizer.step(RATE, model, gradients))
}

fn in_groups(weight: &Weight) -> Trained {
    let run = RunLength::updates(1 << 40);
    let schedule = constant(RATE).resolve(run).expect("a valid schedule");
    let groups = GroupsConfig::new().weight_decay(WEIGHT_DECAY).resolve(weight, &schedule, run);
    let groups = groups.expect("groups that fit the model");
    let mut optimizer = GroupOptimizer::new(groups, without_decay()).expect("no other decay");
    Trained::new(weight, move |model, gradients| optimizer.step(model, gradients))
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
            // Who comes first changes from round to round.
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

//! Averages of weights: what they are, where they are evaluated, and what a checkpoint keeps of them.

use anneal_tests::{Points, TinyModel, flat, points};
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::TrainStep;
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

fn builder() -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(TinyModel::seeded(7, &device()), SgdConfig::new().build(), constant(0.1))
}

fn batch(number: u64) -> Points {
    let first = number as usize % 10 * 6;
    points(&(first..first + 6).collect::<Vec<_>>(), &device())
}

fn update(training: &mut TrainingLoop<TinyModel>) {
    let batch = batch(training.next_update());
    training.pass(|model| TrainStep::step(model, batch));
    training.update().unwrap();
}

/// The weights after each of so many updates.
fn path(updates: u64) -> Vec<Vec<f32>> {
    let mut training = builder().run(RunLength::updates(updates)).build_loop().unwrap();
    let step = |_| {
        update(&mut training);
        flat(training.model())
    };
    (0..updates).map(step).collect()
}

#[test]
fn a_moving_average_is_its_formula() {
    let mut expected: Vec<f64> = vec![];
    for (n, weights) in path(20).iter().enumerate() {
        let d = if n == 0 { 0.0 } else { 0.9f64.min((1.0 + n as f64) / (10.0 + n as f64)) };
        expected.resize(weights.len(), 0.0);
        let pairs = expected.iter_mut().zip(weights);
        pairs.for_each(|(e, w)| *e = d * *e + (1.0 - d) * f64::from(*w));
    }
    let mut training = builder()
        .run(RunLength::updates(20))
        .average(Average::ema(0.9).warmup())
        .build_loop()
        .unwrap();
    (0..20).for_each(|_| update(&mut training));
    let found = flat(&training.valid());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
}

//! Averages of weights: their values, their evaluation, and their checkpoints.

mod copies;
mod evaluated;
mod half;
mod raw;
mod refused;
mod resume;
mod rules;
mod selected;
mod statistics;

use anneal_tests::{Points, Quiet, TinyModel, batches, flat, points, supervised};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Optimizer, SgdConfig};
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{
    ClassificationOutput, InferenceStep, SupervisedTraining, TrainOutput, TrainStep,
};
use burn_anneal::prelude::*;
use burn_anneal::{AverageError, EvaluateError, evaluate, recompute_statistics};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Three epochs of ten updates.
const UPDATES: u64 = 30;

fn device() -> Device {
    Device::default().autodiff()
}

fn model() -> TinyModel {
    TinyModel::seeded(7, &device())
}

fn sgd() -> impl Optimizer {
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    SgdConfig::new().with_momentum(Some(momentum)).build()
}

fn builder() -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(model(), sgd(), constant(0.1))
}

fn run() -> RunLength {
    RunLength::from_items(60, 6).epochs(3)
}

fn a_loop(builder: LearnerBuilder<TinyModel>) -> TrainingLoop<TinyModel> {
    builder.run(run()).build_loop().unwrap()
}

/// The batch of an update, as from a loader of sixty points.
fn batch(number: u64) -> Points {
    let first = number as usize % 10 * 6;
    points(&(first..first + 6).collect::<Vec<_>>(), &device())
}

fn update<M>(training: &mut TrainingLoop<M>)
where
    M: Module + TrainStep<Input = Points, Output = ClassificationOutput>,
{
    let batch = batch(training.next_update());
    training.pass(|model| TrainStep::step(model, batch));
    training.update().unwrap();
}

/// The weights after each update of a run without averages.
fn path(builder: LearnerBuilder<TinyModel>) -> Vec<Vec<f32>> {
    let mut training = a_loop(builder);
    let step = |_| {
        update(&mut training);
        flat(training.model())
    };
    (0..UPDATES).map(step).collect()
}

fn training<M>(folder: &Path, epochs: usize) -> SupervisedTraining<M>
where
    M: burn::train::LearnerModel
        + TrainStep<Input = Points, Output = ClassificationOutput>
        + InferenceStep<Input = Points, Output = ClassificationOutput>,
{
    SupervisedTraining::new(folder, batches(60, 6, 0), batches(6, 3, 0))
        .num_epochs(epochs)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
}

/// The result of three epochs, in f32.
fn launched(builder: LearnerBuilder<TinyModel>) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    flat(&builder.launch(training(folder.path(), 3)).unwrap().finished().unwrap())
}

fn mean(all: &[Vec<f32>]) -> Vec<f64> {
    let sum = |j: usize| all.iter().map(|weights| f64::from(weights[j])).sum::<f64>();
    (0..all[0].len()).map(|j| sum(j) / all.len() as f64).collect()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let most = 2e-6 * expected.abs().max(1.0);
        assert!((f64::from(*found) - expected).abs() < most, "{what}: {found}, not {expected}");
    }
}

/// Weights, one after the other.
type SeenWeights = Arc<Mutex<Vec<Vec<f32>>>>;

/// A model that records the weights at which it is validated.
#[derive(Module, Debug)]
struct Seen {
    inner: TinyModel,
    #[module(skip)]
    weights: SeenWeights,
}

impl Seen {
    fn new() -> Self {
        Self { inner: model(), weights: Arc::default() }
    }
}

impl TrainStep for Seen {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> TrainOutput<ClassificationOutput> {
        TrainStep::step(&self.inner, points)
    }
}

impl InferenceStep for Seen {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> ClassificationOutput {
        self.weights.lock().unwrap().push(flat(&self.inner));
        self.inner.forward(points)
    }
}

//! A model and data that train in milliseconds.

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use burn_anneal::SeededLoader;
use burn_anneal::prelude::ScaledBackward;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Inputs per point.
pub const FEATURES: usize = 4;

/// Two linear layers: three classes from four features.
#[derive(Module, Debug)]
pub struct TinyModel {
    /// 4 → 5.
    pub hidden: Linear,
    /// 5 → 3.
    pub head: Linear,
}

impl TinyModel {
    /// A randomly initialized model.
    pub fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(FEATURES, 5).init(device),
            head: LinearConfig::new(5, 3).init(device),
        }
    }

    /// A model whose weights depend only on the seed; Burn's generator is shared by all threads.
    pub fn seeded(seed: u64, device: &Device) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut layer = |inputs: usize, outputs: usize| {
            let mut layer = LinearConfig::new(inputs, outputs).with_bias(true).init(device);
            let bound = (inputs as f32).sqrt().recip();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count).map(|_| random.random_range(-bound..bound)).collect()
            };
            let weight = Tensor::<1>::from_floats(draw(inputs * outputs).as_slice(), device);
            layer.weight = Param::from_tensor(weight.reshape([inputs, outputs]));
            let bias = Tensor::<1>::from_floats(draw(outputs).as_slice(), device);
            layer.bias = Some(Param::from_tensor(bias));
            layer
        };
        Self { hidden: layer(FEATURES, 5), head: layer(5, 3) }
    }

    /// Loss and logits of a batch.
    pub fn forward(&self, points: Points) -> ClassificationOutput {
        let features = points.features.cast(self.hidden.weight.val().dtype());
        let output = self.head.forward(self.hidden.forward(features).tanh()).cast(FloatDType::F32);
        let loss = CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), points.targets.clone());
        ClassificationOutput { loss, output, targets: points.targets }
    }
}

impl TrainStep for TinyModel {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> TrainOutput<ClassificationOutput> {
        let output = self.forward(points);
        TrainOutput::new(self, output.loss.clone().scaled_backward(), output)
    }
}

impl InferenceStep for TinyModel {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> ClassificationOutput {
        self.forward(points)
    }
}

/// A batch of points.
#[derive(Clone, Debug)]
pub struct Points {
    /// \[batch, 4\]
    pub features: Tensor<2>,
    /// \[batch\]
    pub targets: Tensor<1, Int>,
}

#[derive(Clone)]
struct PointBatcher;

impl Batcher<usize, Points> for PointBatcher {
    fn batch(&self, items: Vec<usize>, device: &Device) -> Points {
        points(&items, device)
    }
}

/// The points with these numbers, with learnable classes.
pub fn points(items: &[usize], device: &Device) -> Points {
    let features: Vec<f32> = items
        .iter()
        .flat_map(|&item| (0..FEATURES).map(move |k| ((item * (k + 3)) as f32).sin()))
        .collect();
    let targets: Vec<i64> = items.iter().map(|item| (item % 3) as i64).collect();
    Points {
        features: Tensor::from_data(TensorData::new(features, [items.len(), FEATURES]), device),
        targets: Tensor::from_data(TensorData::new(targets, [items.len()]), device),
    }
}

/// Burn's own loader over `items` points.
pub fn batches(items: usize, batch_size: usize, workers: usize) -> Arc<dyn DataLoader<Points>> {
    DataLoaderBuilder::new(PointBatcher)
        .batch_size(batch_size)
        .num_workers(workers)
        .build(InMemDataset::new((0..items).collect()))
}

/// The same points, shuffled differently in each epoch, in a reproducible order.
pub fn seeded(items: usize, batch_size: usize, seed: u64) -> Arc<dyn DataLoader<Points>> {
    let items = InMemDataset::new((0..items).collect());
    Arc::new(SeededLoader::new(items, PointBatcher, batch_size).shuffle(seed))
}

/// The same points, shuffled by Burn.
pub fn shuffled(items: usize, batch_size: usize) -> Arc<dyn DataLoader<Points>> {
    let loader = DataLoaderBuilder::new(PointBatcher).batch_size(batch_size).shuffle(7);
    loader.build(InMemDataset::new((0..items).collect()))
}

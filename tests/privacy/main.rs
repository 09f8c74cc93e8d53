//! Differentially private training: the parts of an update, its privacy cost, and refusals.

mod refused;
mod resume;
mod spent;
mod updates;

use anneal_tests::Needing;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::{Module, Param};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor};
use burn_anneal::control::{Answer, Controller, Event, Needs, OutOfRange, Stop};
use burn_anneal::prelude::*;

/// A model with a linear loss, so that the gradient of an item is the item: two entries for `first`, one for `second`.
#[derive(Module, Debug)]
struct Lines {
    first: Param<Tensor<1>>,
    second: Param<Tensor<1>>,
    /// The loss does not depend on it.
    unused: Param<Tensor<1>>,
}

type Item = [f32; 3];

const UNUSED: usize = 10_000;

impl Lines {
    fn new() -> Self {
        let zeros = |entries| Param::from_tensor(Tensor::<1>::zeros([entries], &device()));
        Self { first: zeros(2), second: zeros(1), unused: zeros(UNUSED) }
    }

    fn loss(&self, item: Tensor<1>) -> Tensor<1> {
        let first = self.first.val() * item.clone().slice(0..2);
        first.sum() + (self.second.val() * item.slice(2..3)).sum()
    }

    /// The entries that losses depend on.
    fn used(&self) -> Vec<f32> {
        [values(&self.first), values(&self.second)].concat()
    }
}

struct Rows;

impl Batcher<Item, Tensor<1>> for Rows {
    fn batch(&self, items: Vec<Item>, device: &Device) -> Tensor<1> {
        assert!(items.len() == 1 && device.is_autodiff());
        Tensor::from_floats(items[0], device)
    }
}

fn device() -> Device {
    Device::default().autodiff()
}

fn values(weights: &Param<Tensor<1>>) -> Vec<f32> {
    weights.val().into_data().iter::<f32>().collect()
}

/// Items with norms from well below 1 to well above.
fn items(count: usize) -> Vec<Item> {
    let entry = |i: usize, k: usize| ((i * (2 * k + 3)) as f32).sin() * 0.15 * (1 + i % 9) as f32;
    (0..count).map(|i| [entry(i, 0), entry(i, 1), entry(i, 2)]).collect()
}

fn loader(items: Vec<Item>, expected_batch: usize) -> PoissonLoader<Tensor<1>> {
    PoissonLoader::new(InMemDataset::new(items), Rows, expected_batch)
}

/// Plain SGD, so that an update moves the weights by the gradient times the rate.
fn builder(rate: f64, updates: u64) -> LearnerBuilder<Lines> {
    LearnerBuilder::new(Lines::new(), SgdConfig::new().build(), constant(rate))
        .run(RunLength::updates(updates))
}

/// With this clip and noise, and a seed.
fn privacy(clip: f64, noise_multiplier: f64) -> DifferentialPrivacy {
    DifferentialPrivacy::clip(clip).noise_multiplier(noise_multiplier).seed(7)
}

/// Makes this many updates.
fn train(training: &mut PrivateLoop<Lines, Tensor<1>>, updates: usize) {
    for _ in 0..updates {
        training.update(Lines::loss).unwrap();
    }
}

//! Accuracy against ε: fixed rates, and the best rate according to the noisy gradient.

use std::sync::Arc;

use anneal_examples::data::{CLASSES, Images};
use anneal_examples::loader::ImageBatch;
use anneal_examples::model::{ImageNetwork, inference_step};
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{ClassificationOutput, InferenceStep};
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::PIXELS;
use crate::table::Column;

/// The budgets ε at this δ.
const EPSILONS: [f64; 3] = [1.0, 3.0, 8.0];
const DELTA: f64 = 1e-4;

/// A noise multiplier that is effectively 0.
const NO_NOISE: f64 = 1e-9;

/// The norm that the gradient of each digit is clipped to.
const CLIP: f64 = 1.0;

/// The mean number of digits per sample.
const EXPECTED_BATCH: usize = 64;

/// The half-life, in updates, of the mean of ‖g̃‖².
const HALF_LIFE: u64 = 10;

/// The lower limit of the best rate, as a share of 1/L.
const LEAST: f64 = 1e-4;

const STUDY: Study = Study {
    name: "privacy",
    title: "Digits under differential privacy",
    columns: &[
        Column::share("accuracy, ε = 1"),
        Column::share("accuracy, ε = 3"),
        Column::share("accuracy, ε = 8"),
        Column::share("accuracy, no noise"),
        Column::neutral("mean rate, ε = 1"),
        Column::neutral("mean rate, ε = 8"),
    ],
    panels: &[
        Drawn::new("ε", "test accuracy", Scale::Percent),
        Drawn::new("update, at ε = 1", "learning rate", Scale::Logarithmic),
    ],
    expected: Expected {
        words: "the best rate for an update, ‖g‖²/(L(‖g‖² + dσ²C²/B²)), falls as the noise grows relative to the \
                gradient, so a smaller ε needs a lower rate; a rate that follows the noisy gradient falls \
                automatically, and one L works for every ε.",
        better: &[
            ("constant 0.2", "constant 0.8"),
            ("constant 0.2", "constant 3.2"),
            ("best rate, 1/L = 30", "constant 0.8"),
            ("best rate, 1/L = 30", "constant 0.2"),
        ],
        by: 0,
        adaptive: &[
            "best rate, 1/L = 3",
            "best rate, 1/L = 10",
            "best rate, 1/L = 30",
            "best rate, 1/L = 100",
        ],
    },
};

/// How rates are chosen.
#[derive(Debug, Clone, Copy)]
enum Rates {
    Constant(f64),
    /// The best rate for a loss with this 1/L, where L is the largest curvature.
    Best(f64),
}

#[derive(Debug, Clone, Copy)]
struct Arm {
    rates: Rates,
    is_drawn: bool,
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let updates = settings.either(200, 5);
    let rows = rows(&digits.train);
    let loader = PoissonLoader::new(InMemDataset::new(rows), Digit, EXPECTED_BATCH);
    let drawn = |rates| Arm { rates, is_drawn: true };
    let undrawn = |rates| Arm { rates, is_drawn: false };
    let arms = [
        ("constant 0.1", undrawn(Rates::Constant(0.1))),
        ("constant 0.2", drawn(Rates::Constant(0.2))),
        ("constant 0.4", drawn(Rates::Constant(0.4))),
        ("constant 0.8", drawn(Rates::Constant(0.8))),
        ("constant 1.6", undrawn(Rates::Constant(1.6))),
        ("constant 3.2", drawn(Rates::Constant(3.2))),
        ("best rate, 1/L = 3", undrawn(Rates::Best(3.0))),
        ("best rate, 1/L = 10", drawn(Rates::Best(10.0))),
        ("best rate, 1/L = 30", drawn(Rates::Best(30.0))),
        ("best rate, 1/L = 100", drawn(Rates::Best(100.0))),
    ];
    let note = format!(
        "Of all arms it draws those near the best. {updates} updates of plain SGD on a linear classifier of {} parameters; \
         {EXPECTED_BATCH} of {} digits are expected in a sample, each drawn for itself, and the gradient of each is clipped \
         to {CLIP}. δ is {DELTA}; the noise is the least that the whole run needs for its ε, and without noise σ is {NO_NOISE:e}. \
         The best rate follows a mean of ‖g̃‖² in which an update counts half after {HALF_LIFE}, and has no floor above \
         {LEAST} of 1/L.",
        (PIXELS + 1) * CLASSES,
        digits.train.len(),
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let private =
            EPSILONS.map(|epsilon| DifferentialPrivacy::clip(CLIP).budget(epsilon, DELTA));
        let none = DifferentialPrivacy::clip(CLIP).noise_multiplier(NO_NOISE);
        let train = |privacy| train(&digits, &loader, arm.rates, privacy, updates, seed);
        let courses = private.into_iter().chain([none]).map(train);
        let courses = courses.collect::<Result<Vec<Course>, ExperimentError>>()?;
        let accuracies = courses.iter().map(|course| course.accuracy);
        let means = [&courses[0], &courses[2]].map(Course::mean_rate);
        let of_epsilon = EPSILONS.iter().zip(&courses);
        let of_epsilon = of_epsilon.map(|(epsilon, course)| (*epsilon, course.accuracy)).collect();
        Ok(Trial {
            numbers: accuracies.chain(means).collect(),
            lines: match arm.is_drawn {
                true => vec![of_epsilon, courses[0].rates.clone()],
                false => vec![vec![]; 2],
            },
        })
    })
}

/// The results of a training.
#[derive(Debug)]
struct Course {
    /// The rate of each update, counted from 1.
    rates: Vec<(f64, f64)>,
    /// On the test digits.
    accuracy: f64,
}

impl Course {
    fn mean_rate(&self) -> f64 {
        self.rates.iter().map(|(_, rate)| rate).sum::<f64>() / self.rates.len() as f64
    }
}

fn train(
    digits: &Digits,
    loader: &PoissonLoader<ImageBatch>,
    rates: Rates,
    privacy: DifferentialPrivacy,
    updates: u64,
    seed: u64,
) -> Result<Course, ExperimentError> {
    let (rate, privacy) = match rates {
        Rates::Constant(rate) => (rate, privacy),
        Rates::Best(most) => {
            let best_rate = BestRate::new(1.0 / most).half_life(HALF_LIFE).limits(LEAST, 1.0);
            (most, privacy.best_rate(best_rate))
        }
    };
    digits.device.seed(seed);
    let classifier = Classifier::new(&digits.device.clone().autodiff());
    let mut training = LearnerBuilder::new(classifier, SgdConfig::new().build(), constant(rate))
        .run(RunLength::updates(updates))
        .build_private_loop(privacy.seed(seed), loader)?;
    let mut course = Course { rates: vec![], accuracy: 0.0 };
    for update in 1..=updates {
        let updated = training.update(|model, digit| inference_step(model, digit).loss)?;
        course.rates.push((update as f64, updated.rate));
    }
    let found = burn_anneal::evaluate(&training.valid(), &digits.loader_of(&digits.test))?;
    course.accuracy = found.accuracy.unwrap_or_default();
    Ok(course)
}

/// A digit: its pixels, and its class.
type Row = (Vec<f32>, i32);

fn rows(images: &Arc<Images>) -> Vec<Row> {
    let loader = test_loader(Arc::clone(images), 1, &Device::default());
    let row = |batch: ImageBatch| {
        let pixels = batch.images.into_data().iter::<f32>().collect();
        (pixels, batch.targets.into_data().iter::<i32>().sum())
    };
    loader.batches_of(1).map(row).collect()
}

struct Digit;

impl Batcher<Row, ImageBatch> for Digit {
    fn batch(&self, items: Vec<Row>, device: &Device) -> ImageBatch {
        let count = items.len();
        let (pixels, classes): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        ImageBatch {
            images: Tensor::from_data(TensorData::new(pixels.concat(), [count, 1, 28, 28]), device),
            targets: Tensor::from_data(TensorData::new(classes, [count]), device),
        }
    }
}

/// One layer, so that few parameters get noise.
#[derive(Module, Debug)]
struct Classifier {
    linear: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        Self { linear: LinearConfig::new(PIXELS, CLASSES).init(device) }
    }
}

impl ImageNetwork for Classifier {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.linear.forward(images.flatten(1, 3))
    }
}

impl InferenceStep for Classifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}

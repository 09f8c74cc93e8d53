//! A contrastive loss with a falling temperature, and a rate that follows it or not.

use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn::train::TrainOutput;
use burn_anneal::control::UpdateLog;
use burn_anneal::prelude::*;
use burn_anneal::schedule::{Schedule, temperature_drop_factor};

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::comparison::Spread;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study, Trial, smoothed};
use crate::model::PIXELS;
use crate::rates::{at_rates, best};
use crate::table::Column;

/// Digits per update, each of which is seen twice.
const BATCH: usize = 64;

/// Widths of the layers.
const WIDTHS: [usize; 4] = [PIXELS, 96, 64, 32];

/// The temperatures of the first and the last update.
const HOT: f64 = 0.5;
const COLD: f64 = 0.1;

/// Drops of a rate in steps.
const DROPS: u64 = 8;

/// Rates of plain SGD that are tried.
const PEAKS: [f64; 4] = [0.03, 0.1, 0.3, 1.0];

/// The temperature at which the losses of all arms are compared.
const TESTED_AT: f64 = 0.2;

/// The largest shift of a view in rows or columns, and the noise on its pixels.
const MOVED: i64 = 2;
const NOISE: f64 = 0.3;

const STUDY: Study = Study {
    name: "contrastive",
    title: "Temperature and rate, annealed together and apart",
    columns: &[
        Column::share("nearest neighbor"),
        Column::lower("test loss at 0.2"),
        Column::lower("spread of ‖update‖"),
        Column::neutral("last over first"),
        Column::neutral("gradient, last over first"),
    ],
    panels: &[
        Drawn::new("", "‖update‖", Scale::Logarithmic),
        Drawn::new("update", "η/τ", Scale::Rate),
    ],
    expected: Expected {
        words: "the gradient grows as 1/τ, so a rate that keeps η/τ, at each update or by drops of e^(−ρΔ), makes \
                updates of a steadier length than annealing only the temperature, only the rate, or both by \
                independent schedules.",
        better: &[
            ("together", "temperature alone"),
            ("together", "rate alone"),
            ("together", "apart"),
            ("together, in drops", "temperature alone"),
        ],
        by: 2,
        adaptive: &["together", "together, in drops"],
    },
};

/// The schedules of temperature and rate, for a peak rate and a number of updates.
type Arm = fn(f64, u64) -> Result<(ScheduleConfig, ScheduleConfig), ScheduleError>;

/// From hot to cold.
fn annealed() -> ScheduleConfig {
    exponential(HOT, Decay::Toward { end: Level::Rate(COLD), length: Span::percent(100) }).into()
}

fn constantly(temperature: f64) -> ScheduleConfig {
    constant(temperature).into()
}

const ARMS: [(&str, Arm); 7] = [
    ("together", |peak, _| Ok((annealed(), annealed().follow_temperature(peak / HOT).into()))),
    ("together, in drops", |peak, updates| {
        let every = (updates / DROPS).max(1);
        let factor = temperature_drop_factor((HOT / COLD).ln() / updates as f64, every)?;
        Ok((annealed(), step_decay(peak, Span::steps(every), factor).into()))
    }),
    ("temperature alone", |peak, _| Ok((annealed(), constantly(peak)))),
    ("rate alone", |peak, _| {
        Ok((constantly(HOT), annealed().follow_temperature(peak / HOT).into()))
    }),
    ("apart", |peak, _| Ok((annealed(), cosine(peak).into()))),
    ("constant, hot", |peak, _| Ok((constantly(HOT), constantly(peak)))),
    ("constant, cold", |peak, _| Ok((constantly(COLD), constantly(peak)))),
];

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let bench = Bench {
        digits: Digits::load(settings, Dataset::Mnist.normalization())?,
        updates: settings.either(300, 20),
    };
    let mut arms = vec![];
    let mut words = vec![];
    for (name, arm) in ARMS {
        let peak = bench.best_peak(name, arm)?;
        arms.push((name, (arm, peak)));
        words.push(format!("{peak} ({name})"));
    }
    let gradients = bench.gradients()?;
    let note = format!(
        "An encoder of three layers, two views of {BATCH} digits an update, moved by up to {MOVED} pixels and noisy, and the supervised \
         contrastive loss; plain SGD, {} updates. The temperature falls from {HOT} to {COLD} by e^(−ρt), or is constant. A digit of the test has the class \
         of the training digit whose embedding is nearest. The spread of ‖update‖ is the standard deviation by the mean, of means over 10 updates, after the \
         first tenth of the run; last over first compares the last tenth with the second. Peak rates, the best of {PEAKS:?} each by the \
         neighbors of validation digits, from the first seed: {}. At the same weights, after half of a run of the first arm, the norm \
         of the gradient times τ is {}.",
        bench.updates,
        words.join(", "),
        gradients.join(", "),
    );
    STUDY.conduct(settings, &arms, &note, |(arm, peak), seed| bench.trial(*arm, *peak, seed))
}

struct Bench {
    digits: Digits,
    updates: u64,
}

/// The measurements of a run.
struct Trained {
    encoder: Encoder,
    log: UpdateLog,
    temperatures: Schedule,
}

impl Bench {
    fn train(
        &self,
        arm: Arm,
        peak: f64,
        seed: u64,
        updates: u64,
    ) -> Result<Trained, ExperimentError> {
        let folder = tempfile::tempdir()
            .map_err(|source| ExperimentError::File { path: std::env::temp_dir(), source })?;
        self.digits.device.seed(seed);
        let run = RunLength::updates(self.updates);
        let (temperature, rate) = arm(peak, self.updates)?;
        let temperatures = temperature.resolve(run)?;
        let encoder = Encoder::new(&self.digits.device.clone().autodiff());
        let mut training = LearnerBuilder::new(encoder, SgdConfig::new().build(), rate)
            .run(run)
            .log_updates(folder.path())
            .build_loop()?;
        let loader = self.digits.train_loader(BATCH, seed);
        for (batch, update) in loader.all_batches().zip(0..updates) {
            training.pass(|encoder| {
                let loss = encoder.loss(batch, temperatures.rate(update));
                TrainOutput::new(encoder, loss.clone().scaled_backward(), loss)
            });
            training.update()?;
        }
        let encoder = training.into_model();
        let log = UpdateLog::read(folder.path())
            .map_err(|error| ExperimentError::Stopped { reason: error.to_string() })?;
        Ok(Trained { encoder, log, temperatures })
    }

    fn best_peak(&self, name: &str, arm: Arm) -> Result<f64, ExperimentError> {
        let valid = self.digits.loader_of(&self.digits.valid);
        let train = |peak| {
            let encoder = self.train(arm, peak, 0, self.updates)?.encoder.valid();
            let accuracy = self.neighbors(&encoder, &valid)?;
            say(format_args!("{name:20} at {peak}: {:.1} % of valid digits", 100.0 * accuracy));
            Ok(accuracy)
        };
        Ok(best(&at_rates(&PEAKS, train, |accuracy| -accuracy)?).rate)
    }

    /// The share of images whose class is that of the nearest training digit.
    fn neighbors(&self, encoder: &Encoder, images: &ImageLoader) -> Result<f64, ExperimentError> {
        let (mut known, mut classes) = (vec![], vec![]);
        for batch in self.digits.loader_of(&self.digits.train).batches_of(1) {
            known.push(encoder.embed(batch.images));
            classes.push(batch.targets);
        }
        let (known, classes) = (Tensor::cat(known, 0).transpose(), Tensor::cat(classes, 0));
        let mut right = 0.0;
        for batch in images.batches_of(1) {
            let nearest =
                encoder.embed(batch.images).matmul(known.clone()).argmax(1).squeeze_dim(1);
            let found = classes.clone().select(0, nearest).equal(batch.targets);
            right += f64::from(found.float().sum().try_into_scalar::<f32>()?);
        }
        Ok(right / images.num_items() as f64)
    }

    fn trial(&self, arm: Arm, peak: f64, seed: u64) -> Result<Trial, ExperimentError> {
        let Trained { encoder, log, temperatures } = self.train(arm, peak, seed, self.updates)?;
        let encoder = encoder.valid();
        let test = self.digits.loader_of(&self.digits.test);
        let accuracy = self.neighbors(&encoder, &test)?;
        self.digits.device.seed(1_000);
        let mut losses = vec![];
        for batch in test.batches_of(1) {
            losses.push(f64::from(encoder.loss(batch, TESTED_AT).try_into_scalar::<f32>()?));
        }
        let of = |number: fn(&burn_anneal::control::LoggedUpdate) -> Option<f64>| -> Vec<f64> {
            log.updates.iter().map(|update| number(update).unwrap_or(f64::NAN)).collect()
        };
        let (lengths, gradients) =
            (of(|update| update.update_norm), of(|update| update.gradient_norm));
        let ratio = |(update, line): (u64, &burn_anneal::control::LoggedUpdate)| {
            (update as f64, line.rates[0] / temperatures.rate(update))
        };
        Ok(Trial {
            numbers: vec![
                accuracy,
                mean(&losses),
                spread(&lengths),
                growth(&lengths),
                growth(&gradients),
            ],
            lines: vec![smoothed(&lengths, 10), (0..).zip(&log.updates).map(ratio).collect()],
        })
    }

    /// Norms of the gradient times the temperature, at the same weights and batch.
    fn gradients(&self) -> Result<Vec<String>, ExperimentError> {
        let (_, arm) = ARMS[0];
        let encoder = self.train(arm, 1.0, 0, self.updates / 2)?.encoder;
        let loader = self.digits.train_loader(BATCH, 1);
        let batch = loader.batches_of(1).next().expect("there are digits");
        let of = |temperature: f64| {
            self.digits.device.seed(1_000);
            let gradients = encoder.loss(batch.clone(), temperature).backward();
            let squares = encoder.layers.iter().map(|layer| {
                layer
                    .weight
                    .grad(&gradients)
                    .map_or(0.0, |gradient| gradient.square().sum().into_scalar::<f32>())
            });
            let norm = f64::from(squares.sum::<f32>().sqrt());
            format!("{:.3} at {temperature}", norm * temperature)
        };
        Ok([1.0, HOT, 0.2, COLD].map(of).to_vec())
    }
}

/// Embeds digits in a sphere.
#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<Linear>,
}

impl Encoder {
    fn new(device: &Device) -> Self {
        let layer = |sizes: &[usize]| LinearConfig::new(sizes[0], sizes[1]).init(device);
        Self { layers: WIDTHS.windows(2).map(layer).collect() }
    }

    /// The embeddings of images on the sphere.
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let first = self.layers[0].forward(images.flatten(1, 3));
        let embedded =
            self.layers[1..].iter().fold(first, |features, layer| layer.forward(relu(features)));
        let lengths = embedded.clone().square().sum_dim(1).add_scalar(1e-8).sqrt();
        embedded / lengths
    }

    /// The supervised contrastive loss of Khosla et al. 2020, of two views of each image: which of all others are of
    /// the same class?
    fn loss(&self, batch: ImageBatch, temperature: f64) -> Tensor<1> {
        let views = Tensor::cat(vec![view(batch.images.clone()), view(batch.images)], 0);
        let classes = batch.targets.repeat_dim(0, 2).unsqueeze_dim::<2>(1);
        let embedded = self.embed(views);
        let itself = Tensor::<2>::eye(embedded.dims()[0], &embedded.device());
        let alike = classes.clone().equal(classes.transpose()).float() - itself.clone();
        let similar = embedded.clone().matmul(embedded.transpose()).div_scalar(temperature);
        let likely = log_softmax(similar - itself.mul_scalar(1e4), 1);
        -((alike.clone() * likely).sum_dim(1) / alike.sum_dim(1)).mean()
    }
}

/// Images, each moved at random, with noise.
fn view(images: Tensor<4>) -> Tensor<4> {
    let noise = images.random_like(Distribution::Normal(0.0, NOISE));
    shifted(shifted(images, 2), 3) + noise
}

/// Images, each shifted along a dimension by a random number of pixels; the edges are extended.
fn shifted(images: Tensor<4>, dimension: usize) -> Tensor<4> {
    let dims = images.dims();
    let device = images.device();
    let drawn = Distribution::Uniform(-MOVED as f64, MOVED as f64 + 1.0);
    let by = Tensor::<4>::random([dims[0], 1, 1, 1], drawn, &device).floor().int();
    let size = dims[dimension] as i64;
    let mut line = [1; 4];
    line[dimension] = dims[dimension];
    let places = Tensor::<1, Int>::arange(0..size, &device).reshape(line).expand(dims);
    images.gather(dimension, (places + by.expand(dims)).clamp(0, size - 1))
}

/// The standard deviation divided by the mean, of means over 10 updates after the first tenth.
fn spread(values: &[f64]) -> f64 {
    let means: Vec<f64> =
        smoothed(&values[values.len() / 10..], 10).into_iter().map(|(_, mean)| mean).collect();
    let Spread { mean, standard_deviation } = Spread::of(&means);
    standard_deviation.unwrap_or(f64::NAN) / mean
}

/// The mean of the last tenth divided by that of the second.
fn growth(values: &[f64]) -> f64 {
    let tenth = values.len() / 10;
    mean(&values[values.len() - tenth..]) / mean(&values[tenth..2 * tenth])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

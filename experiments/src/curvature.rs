//! Compares the curvature from the first update and from a sweep with the largest eigenvalue.

use std::sync::Arc;

use anneal_examples::loader::ImageBatch;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::optim::SgdConfig;
use burn::train::TrainStep;
use burn_anneal::groups::Curvature;
use burn_anneal::plan::{Sweep, mean_curvature};
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::Classifier;
use crate::table::Column;

const STUDY: Study = Study {
    name: "curvature",
    title: "Curvature by several ways",
    columns: &[
        Column::neutral("largest eigenvalue"),
        Column::neutral("along the first update"),
        Column::neutral("mean, ‖g‖²/2 loss"),
        Column::neutral("from a sweep"),
        Column::neutral("largest first rate"),
    ],
    panels: &[Drawn::new("log10 of the rate", "loss after the first update", Scale::Logarithmic)],
    expected: Expected {
        words: "on a quadratic, the curvature along the gradient is at most the largest eigenvalue and at least the \
                mean, and the largest first rate is 2 divided by it. A network with ReLU is not a quadratic, so only \
                the order of magnitude is claimed.",
        better: &[],
        by: 0,
        adaptive: &[],
    },
};

/// Measures the same networks by all methods, at random weights and after some training.
///
/// # Errors
/// If the device fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let arms = [("random weights", 0), ("after 100 updates", 100)];
    let note = "A network of three layers, plain SGD, batches of 256 digits. All but the sweep are of one batch: the largest \
                eigenvalue as `Curvature::measure` finds it by power iteration, the others as `LrFinder::first_rate` shows \
                them, with the mean for a minimum of 0. A sweep that says nothing has none.";
    STUDY.conduct(settings, &arms, note, |updates, seed| measure(&digits, *updates, seed))
}

fn measure(digits: &Digits, updates: usize, seed: u64) -> Result<Trial, ExperimentError> {
    let device = digits.device.clone().autodiff();
    device.seed(seed);
    let loader = digits.train_loader(256, seed);
    let run = RunLength::updates(1_000);
    let builder =
        |model| LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1)).run(run);
    let mut training = builder(Classifier::new(&device)).build_loop()?;
    for batch in loader.all_batches().take(updates) {
        training.pass(|model| TrainStep::step(model, batch));
        training.update()?;
    }
    let model = training.into_model();
    let builder = builder(model.clone());
    let shared: Arc<dyn DataLoader<ImageBatch>> = Arc::new(loader.clone());
    let first = LrFinder::new().first_rate(&builder, &shared)?;
    let along = first.along_update();
    let mean = along.and_then(|along| mean_curvature(along.gradient_squared, first.loss, 0.0).ok());
    let sweep = LrFinder::new().sweep(Sweep::new(1e-4, 10.0)).seeds(1);
    let swept = sweep.find(&builder, &shared)?.tests()[0].curvature(0.0);
    let groups = GroupsConfig::new().resolve(&model, &constant(0.1).resolve(run)?, run)?;
    let mut largest = f64::NAN;
    if let Some(batch) = loader.batches_of(1).next() {
        let gradients = |model: &Classifier| TrainStep::step(model, batch.clone()).grads;
        let found = Curvature::new().measure(&model, &groups, gradients)?;
        largest = found.iter().next().map_or(f64::NAN, |(_, largest)| largest);
    }
    let mut line: Vec<(f64, f64)> =
        first.tried.iter().map(|(rate, loss)| (rate.log10(), loss.min(20.0))).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(Trial {
        numbers: vec![
            largest,
            along.map_or(f64::NAN, |along| along.curvature),
            mean.unwrap_or(f64::NAN),
            swept.map_or(f64::NAN, |swept| swept.curvature),
            first.rate().unwrap_or(f64::NAN),
        ],
        lines: vec![line],
    })
}

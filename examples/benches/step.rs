//! Times the cost of loading, augmentation, display, logs and the schedule per step.
//!
//! `CARGO_PROFILE_DEV_LTO=off cargo bench --workspace --profile dev --bench step`
//!
//! Two trainings of the same network on the CIFAR-10 sample with the same optimizer take turns: a bare loop over
//! prepared batches (forward, backward and AdamW only), and the training of `cifar_cosine`.

use std::sync::Arc;
use std::time::Instant;

use anneal_examples::prelude::*;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use burn::train::{SupervisedTraining, TrainStep};
use burn_anneal::prelude::*;

const ROUNDS: usize = 5;
const ABOUT: &str = "Times the updates of a training";

const DEFAULTS: Defaults =
    Defaults { about: ABOUT, epochs: 2, batch_size: 64, learning_rate: 4e-3 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut bare, mut full) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let arguments = Arguments { out: Some(folder.path().join("run")), ..defaults()? };
        let run = Run::open("step", Dataset::Cifar10, &arguments)?;
        bare.push(bare_loop(&run)?);
        full.push(training(&run)?);
    }
    let (bare, full) = (median(bare), median(full));
    say(format_args!("bare loop             {bare:6.2} ms per step"));
    say(format_args!(
        "launch                {full:6.2} ms per step, {:+.1} %",
        100.0 * (full / bare - 1.0)
    ));
    Ok(())
}

fn defaults() -> Result<Arguments, clap::Error> {
    DEFAULTS.parse_from(["step"])
}

fn optimizer() -> AdamWConfig {
    AdamWConfig::new().with_weight_decay(0.02)
}

fn loader(run: &Run) -> Result<ImageLoader, ExampleError> {
    let (images, augmentation) = (run.images()?.train, Augmentation::CROP_AND_FLIP);
    let Arguments { batch_size, seed, .. } = run.arguments();
    Ok(train_loader(images, batch_size.get(), augmentation, *seed, &run.device()))
}

fn bare_loop(run: &Run) -> Result<f64, Box<dyn std::error::Error>> {
    let batches = loader(run)?.epoch(1).collect::<Result<Vec<ImageBatch>, _>>()?;
    let mut model = ResidualNetworkConfig::default().init(&run.device());
    let mut optimizer: ModuleOptimizer = optimizer().init();
    let started = Instant::now();
    let steps = 2 * batches.len();
    for batch in batches.iter().chain(&batches) {
        let output = TrainStep::step(&model, batch.clone());
        model = optimizer.step(1e-3, model, output.grads);
    }
    Ok(1e3 * started.elapsed().as_secs_f64() / steps as f64)
}

fn training(run: &Run) -> Result<f64, Box<dyn std::error::Error>> {
    let schedule = cosine(4e-3).warmup(Span::percent(10.0));
    let model = ResidualNetworkConfig::default().init(&run.device());
    let test = test_loader(run.images()?.test, 64, &run.device().inner());
    let progress = run.start()?;
    let training = SupervisedTraining::new(run.folder(), Arc::new(loader(run)?), Arc::new(test))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(progress.clone()))
        .num_epochs(run.epochs());
    LearnerBuilder::new(model, optimizer().build(), schedule)
        .checkpoints(run.checkpoints())
        .launch(training)?
        .finished()?;
    let history = progress.history()?;
    Ok(1e3 * history.seconds() / history.updates() as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! Trains a small residual network on real CIFAR-10 images under a warm-up and a cosine.
//!
//! ```text
//! cargo run --example cifar_cosine                                  2,000 images, 20 epochs
//! cargo run --example cifar_cosine -- --data full --epochs 10       all 50,000 images
//! cargo run --example cifar_cosine --features wgpu                  on the GPU
//! cargo run --example cifar_cosine -- --help                        everything else
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::train::SupervisedTraining;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use burn_anneal::evaluate;
use burn_anneal::prelude::*;

const DEFAULTS: Defaults = Defaults {
    about: "Trains a small residual network on CIFAR-10 under a warm-up and a cosine",
    epochs: 20,
    batch_size: 64,
    learning_rate: 4e-3,
};

fn main() -> ExitCode {
    conclude(train(&DEFAULTS.parse()))
}

fn train(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    // The schedule: up for 10 % of the run, then down; or the one from --schedule.
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let run = Run::open("cifar_cosine", Dataset::Cifar10, arguments)?;

    // Data, model and optimizer: replace them by yours.
    let (batch_size, seed) = (arguments.batch_size.get(), arguments.seed);
    let images = run.images()?;
    let augmentation = Augmentation::CROP_AND_FLIP;
    let train = train_loader(images.train, batch_size, augmentation, seed, &run.device());
    let test = test_loader(images.test, batch_size, &run.device().inner());
    let model = ResidualNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();

    // Shows what will be trained, and at which rates.
    let rates = run.schedule(&schedule, run.length(train.num_items()))?;
    say(format_args!("{}\n{rates}\n", run.describe(train.num_items(), test.num_items())));

    // The training is Burn's; without the line `renderer` it shows Burn's dashboard.
    let progress = run.start()?;
    let training = SupervisedTraining::new(run.folder(), Arc::new(train), Arc::new(test.clone()))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(progress.clone()))
        .num_epochs(run.epochs());
    let learner = LearnerBuilder::new(model, optimizer, schedule)
        .checkpoints(run.checkpoints())
        .resume(if arguments.resume { Newest } else { Resume::Never })
        .on_mismatch(run.on_mismatch());
    let model = learner.launch(training)?.finished()?;

    // Tests and saves the trained model, and writes the results.
    let tested = evaluate(&model, &test)?;
    model.save_file(run.file("model.bpk"))?;
    Ok(run.finish(&rates, progress.history()?, tested)?)
}

//! Trains a small convolutional network on real MNIST digits in one cycle of the learning rate
//! (Smith and Topin, *Super-Convergence*, 2018).
//!
//! ```text
//! cargo run --example mnist_one_cycle                                4,000 digits, 10 epochs
//! cargo run --example mnist_one_cycle -- --data full                 all digits
//! cargo run --example mnist_one_cycle -- --help                      everything else
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
    about: "Trains a small network on MNIST in one cycle of the learning rate",
    epochs: 10,
    batch_size: 64,
    learning_rate: 2e-2,
};

fn main() -> ExitCode {
    conclude(train(&DEFAULTS.parse()))
}

fn train(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    // The rate goes up and down once.
    let schedule = arguments.schedule(|peak| one_cycle(peak).into())?;
    let run = Run::open("mnist_one_cycle", Dataset::Mnist, arguments)?;

    // Data, model and optimizer: replace them by yours.
    let (batch_size, seed) = (arguments.batch_size.get(), arguments.seed);
    let images = run.images()?;
    let train = train_loader(images.train, batch_size, Augmentation::SHIFT, seed, &run.device());
    let test = test_loader(images.test, batch_size, &run.device().inner());
    let model = DigitNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.01).build();

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
    let model = LearnerBuilder::new(model, optimizer, schedule)
        .clip_global_norm(1.0)
        .checkpoints(run.checkpoints())
        .resume(if arguments.resume { Newest } else { Resume::Never })
        .on_mismatch(run.on_mismatch())
        .launch(training)?
        .finished()?;

    let tested = evaluate(&model, &test)?;
    model.save_file(run.file("model.bpk"))?;
    Ok(run.finish(&rates, progress.history()?, tested)?)
}

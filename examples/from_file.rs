//! Trains as described in a file: schedule, groups, weight decay, clipping, averages. You can change the file without
//! compiling again.
//!
//! ```text
//! cargo run --example from_file                                     examples/data/training.toml
//! cargo run --example from_file -- --training FILE                  yours
//! cargo run --example from_file -- --help                           everything else
//! ```

use std::error::Error;
use std::path::PathBuf;
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
use clap::Parser;

const DEFAULTS: Defaults = Defaults {
    about: "Trains a small residual network on CIFAR-10 as described in a file",
    epochs: 20,
    batch_size: 64,
    learning_rate: 4e-3,
};

#[derive(Parser)]
#[command(version)]
struct FileArguments {
    #[command(flatten)]
    shared: Arguments,

    /// The description of the training, in TOML or JSON
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/training.toml"))]
    training: PathBuf,
}

fn main() -> ExitCode {
    let arguments: FileArguments = DEFAULTS.parse();
    conclude(train(&arguments.shared, arguments.training))
}

fn train(arguments: &Arguments, file: PathBuf) -> Result<Report, Box<dyn Error>> {
    // An error in the file names its line and what is allowed there.
    let config = TrainingConfig::load(file)?;
    let run = Run::open("from_file", Dataset::Cifar10, arguments)?;

    // Data, model and optimizer: replace them by yours. The file sets the weight decay, so the optimizer's is off.
    let (batch_size, seed) = (arguments.batch_size.get(), arguments.seed);
    let images = run.images()?;
    let augmentation = Augmentation::CROP_AND_FLIP;
    let train = train_loader(images.train, batch_size, augmentation, seed, &run.device());
    let test = test_loader(images.test, batch_size, &run.device().inner());
    let model = ResidualNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();

    // Shows the file in words, and the groups, rates and decays of this model and run as a table.
    let length = run.length(train.num_items());
    let rates = run.schedule(&config.schedule, length)?;
    say(run.describe(train.num_items(), test.num_items()));
    say(format_args!("{config}\n"));
    let builder = LearnerBuilder::new(model, optimizer, config);
    say(format_args!("{}\n", builder.explain(length)?));

    let progress = run.start()?;
    let training = SupervisedTraining::new(run.folder(), Arc::new(train), Arc::new(test.clone()))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(progress.clone()))
        .num_epochs(run.epochs());
    let model = builder
        .checkpoints(run.checkpoints())
        .resume(if arguments.resume { Newest } else { Resume::Never })
        .on_mismatch(run.on_mismatch())
        .launch(training)?
        .finished()?;

    let tested = evaluate(&model, &test)?;
    model.save_file(run.file("model.bpk"))?;
    Ok(run.finish(&rates, progress.history()?, tested)?)
}

//! Trains under what files say: the schedule, and the groups with their rates and weight decay. Change them, and nothing is
//! compiled again.
//!
//! ```text
//! cargo run --example from_file                                     examples/training/schedule.toml and groups.toml
//! cargo run --example from_file -- --training FOLDER                yours
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
    about: "Trains a small residual network on CIFAR-10 under a schedule and groups from files",
    epochs: 20,
    batch_size: 64,
    learning_rate: 4e-3,
};

#[derive(Parser)]
#[command(version)]
struct FileArguments {
    #[command(flatten)]
    shared: Arguments,

    /// Folder with schedule.toml and groups.toml
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/training"))]
    training: PathBuf,
}

fn main() -> ExitCode {
    let arguments: FileArguments = DEFAULTS.parse();
    conclude(train(&arguments.shared, arguments.training))
}

fn train(arguments: &Arguments, folder: PathBuf) -> Result<Report, Box<dyn Error>> {
    // What is wrong in a file is said with its line and what is allowed there.
    let schedule = ScheduleConfig::load(folder.join("schedule.toml"))?;
    let groups = GroupsConfig::load(folder.join("groups.toml"))?;
    let run = Run::open("from_file", Dataset::Cifar10, arguments)?;

    // Data, model and optimizer, in whose place yours go. The groups have weight decays of their own.
    let (batch_size, seed) = (arguments.batch_size.get(), arguments.seed);
    let images = run.images()?;
    let augmentation = Augmentation::CROP_AND_FLIP;
    let train = train_loader(images.train, batch_size, augmentation, seed, &run.device());
    let test = test_loader(images.test, batch_size, &run.device().inner());
    let model = ResidualNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();

    // What the files come to for this model and run: a table of groups, rates and decays.
    let length = run.length(train.num_items());
    let rates = run.schedule(&schedule, length)?;
    say(run.describe(train.num_items(), test.num_items()));
    say(format_args!("{}\n", groups.resolve(&model, &rates, length)?.explain(0)));

    let progress = run.start()?;
    let training = SupervisedTraining::new(run.folder(), Arc::new(train), Arc::new(test.clone()))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(progress.clone()))
        .num_epochs(run.epochs());
    let model = LearnerBuilder::new(model, optimizer, schedule)
        .groups(groups)
        .checkpoints(run.checkpoints())
        .resume(if arguments.resume { Newest } else { Resume::Never })
        .on_mismatch(run.on_mismatch())
        .launch(training)?
        .finished()?;

    let tested = evaluate(&model, &test)?;
    model.save_file(run.file("model.bpk"))?;
    Ok(run.finish(&rates, progress.history()?, tested)?)
}

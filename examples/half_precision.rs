//! Trains a small network on real MNIST digits in f16: weights and passes in half precision, master weights in f32 for
//! the optimizer, and dynamic loss scaling.
//!
//! ```text
//! cargo run --example half_precision                                 4,000 digits, 10 epochs
//! cargo run --example half_precision -- --precision bf16             in bf16, which needs no scale
//! cargo run --example half_precision -- --help                       everything else
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
use clap::{Parser, ValueEnum};

const DEFAULTS: Defaults = Defaults {
    about: "Trains a small network on MNIST in half precision",
    epochs: 10,
    batch_size: 64,
    learning_rate: 2e-2,
};

#[derive(Parser)]
#[command(version)]
struct PrecisionArguments {
    #[command(flatten)]
    shared: Arguments,

    /// Precision of weights and passes
    #[arg(long, value_enum, default_value_t = Precision::F16)]
    precision: Precision,
}

#[derive(Clone, Copy, ValueEnum)]
enum Precision {
    F16,
    Bf16,
}

fn main() -> ExitCode {
    let arguments: PrecisionArguments = DEFAULTS.parse();
    conclude(train(&arguments.shared, arguments.precision))
}

fn train(arguments: &Arguments, precision: Precision) -> Result<Report, Box<dyn Error>> {
    let schedule = arguments.schedule(|peak| one_cycle(peak).into())?;
    let run = Run::open("half_precision", Dataset::Mnist, arguments)?;

    // Data, model and optimizer: replace them by yours. The model's `TrainStep` calls `scaled_backward` on its loss
    // instead of `backward`, and casts logits to f32 for the loss: see support/model/step.rs.
    let (batch_size, seed) = (arguments.batch_size.get(), arguments.seed);
    let images = run.images()?;
    let train = train_loader(images.train, batch_size, Augmentation::SHIFT, seed, &run.device());
    let test = test_loader(images.test, batch_size, &run.device().inner());
    let model = DigitNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.01).build();

    let rates = run.schedule(&schedule, run.length(train.num_items()))?;
    say(format_args!("{}\n{rates}\n", run.describe(train.num_items(), test.num_items())));

    // The model is given in f32; half precision is one line of the learner. In a short run the loss scale should adapt
    // sooner than after torch's 2,000 good updates.
    let half = match precision {
        Precision::Bf16 => HalfPrecision::bf16(),
        Precision::F16 => HalfPrecision {
            loss_scaling: Some(LossScaling::new().growth_interval(50)),
            ..HalfPrecision::f16()
        },
    };
    let progress = run.start()?;
    let training = SupervisedTraining::new(run.folder(), Arc::new(train), Arc::new(test.clone()))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(progress.clone()))
        .num_epochs(run.epochs());
    let learner = LearnerBuilder::new(model, optimizer, schedule)
        .clip_global_norm(1.0)
        .half_precision(half)
        .metrics([RunMetrics::Control]) // logs "Loss Scale" and "Skipped"
        .checkpoints(run.checkpoints())
        .resume(if arguments.resume { Newest } else { Resume::Never })
        .on_mismatch(run.on_mismatch());
    let watch = learner.watch();
    let model = learner.launch(training)?.finished()?;

    // The table shows the loss scale; the model has its weights in half precision.
    watch.explain().into_iter().for_each(|table| say(format_args!("\n{table}")));
    let tested = evaluate(&model, &test)?;
    model.save_file(run.file("model.bpk"))?;
    Ok(run.finish(&rates, progress.history()?, tested)?)
}

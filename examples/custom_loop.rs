//! A hand-written training loop, without Burn's `Learner`: CIFAR-10 under a warm-up and a cosine.
//!
//! ```text
//! cargo run --example custom_loop                                    2,000 images, 20 epochs
//! cargo run --example custom_loop -- --help                          everything else
//! ```

use std::error::Error;
use std::process::ExitCode;

use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::Tensor;
use burn::train::TrainStep;
use burn_anneal::evaluate;
use burn_anneal::prelude::*;

const DEFAULTS: Defaults = Defaults {
    about: "Trains a small residual network on CIFAR-10 in a hand-written loop, under a warm-up and a cosine",
    epochs: 20,
    batch_size: 64,
    learning_rate: 4e-3,
};

fn main() -> ExitCode {
    conclude(train(&DEFAULTS.parse()))
}

fn train(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let run = Run::open("custom_loop", Dataset::Cifar10, arguments)?;

    // Data, model and optimizer: replace them by yours.
    let (batch_size, seed) = (arguments.batch_size.get(), arguments.seed);
    let images = run.images()?;
    let augmentation = Augmentation::CROP_AND_FLIP;
    let train = train_loader(images.train, batch_size, augmentation, seed, &run.device());
    let test = test_loader(images.test, batch_size, &run.device().inner());
    let model = ResidualNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();

    // A custom loop sets its own length. With --resume, `run.resuming` continues from the newest checkpoint.
    let length = run.length(train.num_items());
    let rates = run.schedule(&schedule, length)?;
    say(format_args!("{}\n{rates}\n", run.describe(train.num_items(), test.num_items())));
    let learner = LearnerBuilder::new(model, optimizer, schedule).run(length);
    let mut training = run.resuming(learner).build_loop()?;

    run.create()?;
    let epochs = run.epochs();
    for epoch in run.completed_epochs() + 1..=epochs {
        let (mut losses, mut rate) = (Vec::new(), 0.0);
        for batch in train.epoch(epoch) {
            let batch = batch?;
            // Forward and backward pass, then the update: scheduled, clipped and averaged, as configured in the
            // builder.
            let output = training.pass(|model| TrainStep::step(model, batch));
            rate = training.update()?.rate;
            losses.push(output.loss.without_autodiff());
        }
        // Read once per epoch: reading every loss would make the device wait.
        let loss: f64 = Tensor::cat(losses, 0).mean().try_into_scalar()?;
        let tested = evaluate(&training.valid(), &test)?;
        let accuracy = 100.0 * tested.accuracy.unwrap_or_default();
        say(format_args!(
            "epoch {epoch:2}/{epochs}   train loss {loss:.4}   valid loss {:.4}   valid accuracy {accuracy:5.2} %   rate {rate:.3e}",
            tested.loss
        ));
        training.save(run.folder(), epoch)?;
    }

    let model = training.into_model().valid();
    let accuracy = 100.0 * evaluate(&model, &test)?.accuracy.unwrap_or_default();
    model.save_file(run.file("model.bpk"))?;
    Ok(format!("test accuracy   {accuracy:.2} %\nsaved in        {}", run.folder().display()))
}

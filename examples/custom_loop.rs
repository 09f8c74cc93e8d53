//! A training loop of one's own, without Burn's `Learner`: CIFAR-10 under a warm-up and a cosine.
//!
//! ```text
//! cargo run --example custom_loop                                    2,000 images, 20 epochs
//! cargo run --example custom_loop -- --help                          everything else
//! ```

use std::process::ExitCode;
use std::time::Instant;

use anneal_examples::prelude::*;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::Tensor;
use burn::train::TrainStep;
use burn_anneal::prelude::*;

const ABOUT: &str = "Trains a small residual network on CIFAR-10 in a loop of one's own, under a warm-up and a cosine";

const DEFAULTS: Defaults =
    Defaults { about: ABOUT, epochs: 20, batch_size: 64, learning_rate: 4e-3 };

fn main() -> ExitCode {
    conclude(run(&DEFAULTS.parse()))
}

fn run(arguments: &Arguments) -> Result<Report, ExampleError> {
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let session =
        Session::open("custom_loop", Dataset::Cifar10, Augmentation::CROP_AND_FLIP, arguments)?;
    let rates = session.schedule_of(&schedule)?;
    say(format_args!("{session}\n{rates}\n"));

    let model = ResidualNetworkConfig::default().init(&session.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
    let builder = LearnerBuilder::new(model, optimizer, schedule).run(session.run_length());
    let mut training = session.resuming(builder).build_loop()?;

    let mut history = session.start()?;
    let (train_images, test_images) = (session.train_loader(), session.test_loader());
    for epoch in session.epochs_left() {
        let epoch_started = Instant::now();
        let mut losses = Vec::new();
        let mut last_rate = 0.0;
        for batch in train_images.epoch(epoch) {
            let output = training.pass(|model| TrainStep::step(model, batch));
            last_rate = training.update()?.rate;
            losses.push(output.loss.without_autodiff());
        }
        let updates = losses.len() as u64;
        let train_loss = mean(losses)?;
        let seconds = epoch_started.elapsed().as_secs_f64();

        let test = evaluate(&training.valid(), &test_images)?;
        history.epochs.push(EpochRecord {
            epoch,
            train_loss,
            valid_loss: test.loss,
            valid_accuracy: test.accuracy,
            rate: last_rate,
            updates,
            seconds,
        });
        say(format_args!(
            "epoch {epoch:2}/{}   {}",
            arguments.epochs,
            history.epochs[history.epochs.len() - 1]
        ));
        history.save(session.folder())?;
        training.save(session.folder(), epoch)?;
    }
    session.finish(Trained { model: training.into_model().valid(), history }, &rates)
}

/// Read once per epoch: reading every loss would make the device wait.
fn mean(losses: Vec<Tensor<1>>) -> Result<f64, ExampleError> {
    Ok(Tensor::cat(losses, 0).mean().try_into_scalar()?)
}

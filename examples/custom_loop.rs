//! A training loop of one's own, without Burn's `Learner`: CIFAR-10 under a warm-up and a cosine.
//!
//! ```text
//! cargo run --example custom_loop                                    2,000 images, 20 epochs
//! cargo run --example custom_loop -- --help                          everything else
//! ```

use std::process::ExitCode;
use std::time::Instant;

use anneal_examples::prelude::*;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer};
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
    let rates = schedule.resolve(session.run_length())?;
    say(format_args!("{session}\n{rates}\n"));

    let mut model = ResidualNetworkConfig::default().init(&session.device());
    let mut optimizer: ModuleOptimizer = AdamWConfig::new().with_weight_decay(0.02).build().into();
    let mut scheduler: ModuleLrScheduler =
        Scheduler::new(rates.clone()).on_mismatch(session.on_mismatch()).into();
    let checkpoints = Checkpoints::of_run(session.folder());
    session.check_saved(&rates)?;
    if let Some(saved) = session.saved_epoch() {
        (model, optimizer, scheduler) = checkpoints.restore(saved, model, optimizer, scheduler)?;
    }

    let mut history = session.start()?;
    let (train_images, test_images) = (session.train_loader(), session.test_loader());
    for epoch in session.epochs_left() {
        let epoch_started = Instant::now();
        let mut losses = Vec::new();
        let mut last_rate = 0.0;
        for batch in train_images.epoch(epoch) {
            let output = TrainStep::step(&model, batch);
            let rate = scheduler.step();
            last_rate = rate.base();
            model = optimizer.step(rate, model, output.grads);
            losses.push(output.item.loss.without_autodiff());
        }
        let updates = losses.len() as u64;
        let train_loss = mean(losses)?;
        let seconds = epoch_started.elapsed().as_secs_f64();

        let test = evaluate(&model.valid(), &test_images)?;
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
        checkpoints.save(epoch, &model, &optimizer, &scheduler)?;
    }
    session.finish(Trained { model: model.valid(), history }, &rates)
}

/// Read once per epoch: reading every loss would make the device wait.
fn mean(losses: Vec<Tensor<1>>) -> Result<f64, ExampleError> {
    Ok(Tensor::cat(losses, 0).mean().try_into_scalar()?)
}

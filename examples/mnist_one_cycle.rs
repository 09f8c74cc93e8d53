//! Trains a small convolutional network on real MNIST digits in one cycle of the learning rate
//! (Smith and Topin, *Super-Convergence*, 2018).
//!
//! ```text
//! cargo run --example mnist_one_cycle                                4,000 digits, 10 epochs
//! cargo run --example mnist_one_cycle -- --data full                 all digits
//! cargo run --example mnist_one_cycle -- --help                      everything else
//! ```

use std::process::ExitCode;

use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn_anneal::prelude::*;

const ABOUT: &str = "Trains a small network on MNIST in one cycle of the learning rate";

const DEFAULTS: Defaults =
    Defaults { about: ABOUT, epochs: 10, batch_size: 64, learning_rate: 2e-2 };

fn main() -> ExitCode {
    conclude(run(&DEFAULTS.parse()))
}

fn run(arguments: &Arguments) -> Result<Report, ExampleError> {
    let schedule = arguments.schedule(|peak| one_cycle(peak).into())?;
    let session = Session::open("mnist_one_cycle", Dataset::Mnist, Augmentation::SHIFT, arguments)?;
    say(format_args!("{session}\n{}\n", session.schedule_of(&schedule)?));

    let model = DigitNetworkConfig::default().init(&session.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.01).build();
    let learner = LearnerBuilder::new(model, optimizer, schedule);
    session.train(learner.clip_global_norm(1.0))
}

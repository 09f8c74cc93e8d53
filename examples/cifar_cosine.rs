//! Trains a small residual network on real CIFAR-10 images under a warm-up and a cosine.
//!
//! ```text
//! cargo run --example cifar_cosine                                  2,000 images, 20 epochs
//! cargo run --example cifar_cosine -- --data full --epochs 10       all 50,000 images
//! cargo run --example cifar_cosine --features wgpu                  on the GPU
//! cargo run --example cifar_cosine -- --help                        everything else
//! ```

use std::process::ExitCode;

use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn_anneal::prelude::*;

const ABOUT: &str = "Trains a small residual network on CIFAR-10 under a warm-up and a cosine";

const DEFAULTS: Defaults =
    Defaults { about: ABOUT, epochs: 20, batch_size: 64, learning_rate: 4e-3 };

fn main() -> ExitCode {
    conclude(run(&DEFAULTS.parse()))
}

fn run(arguments: &Arguments) -> Result<Report, ExampleError> {
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let session =
        Session::open("cifar_cosine", Dataset::Cifar10, Augmentation::CROP_AND_FLIP, arguments)?;
    say(format_args!("{session}\n{}\n", session.schedule_of(&schedule)?));

    let model = ResidualNetworkConfig::default().init(&session.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
    session.train(LearnerBuilder::new(model, optimizer, schedule))
}

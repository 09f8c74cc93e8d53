//! Looks for the rate, the first rate and the warm-up of `cifar_cosine`, and trains nothing.
//!
//! ```text
//! cargo run --example find_rate                                     on 2,000 images of this repository
//! cargo run --example find_rate -- --batch-size 256 --data full     of what you will train
//! cargo run --example find_rate -- --help                           everything else
//! ```

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anneal_examples::loader::ImageBatch;
use anneal_examples::prelude::*;
use anneal_examples::progress;
use burn::data::dataloader::DataLoader;
use burn::optim::AdamWConfig;
use burn_anneal::plan::Verdict;
use burn_anneal::prelude::*;

const ABOUT: &str =
    "Looks for the learning rate and the warm-up of a small residual network on CIFAR-10";

const DEFAULTS: Defaults =
    Defaults { about: ABOUT, epochs: 20, batch_size: 64, learning_rate: 4e-3 };

/// Columns of the picture in the terminal.
const COLUMNS: usize = 100;

fn main() -> ExitCode {
    conclude(run(&DEFAULTS.parse()))
}

fn run(arguments: &Arguments) -> Result<String, ExampleError> {
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let session =
        Session::open("find_rate", Dataset::Cifar10, Augmentation::CROP_AND_FLIP, arguments)?;
    say(format_args!("{session}\n"));

    let model = ResidualNetworkConfig::default().init(&session.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
    let builder = LearnerBuilder::new(model, optimizer, schedule).run(session.run_length());
    let loader: Arc<dyn DataLoader<ImageBatch>> = Arc::new(session.train_loader());

    let finder = LrFinder::new().on_progress(progress::of_finder());
    let found = finder.find(&builder, &loader)?;
    say(format_args!("{found}\n\n{}", found.terminal(COLUMNS)));
    say(format_args!("{}\n", finder.first_rate(&builder, &loader)?));
    say(format_args!("{}\n", finder.warmup(&builder, &loader, 32)?));

    let picture = session.folder().join("range_test.svg");
    fs::create_dir_all(session.folder())
        .and_then(|()| fs::write(&picture, found.svg()))
        .map_err(|source| ExampleError::File { path: picture.clone(), source })?;
    let next = match (found.verdict(), found.suggestion()) {
        (Verdict::Clear, Some(rate)) => {
            format!("cargo run --example cifar_cosine -- --lr {rate:.1e}")
        }
        _ => "the curves do not agree on a rate: see what is said above".to_owned(),
    };
    Ok(format!("{}\n{next}", picture.display()))
}

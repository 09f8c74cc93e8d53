//! Finds the rate, the first rate and the warm-up of `cifar_cosine`, without training it.
//!
//! ```text
//! cargo run --example find_rate                                     on 2,000 images of this repository
//! cargo run --example find_rate -- --batch-size 256 --data full     of what you will train
//! cargo run --example find_rate -- --help                           everything else
//! ```

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anneal_examples::prelude::*;
use anneal_examples::progress;
use burn::data::dataloader::DataLoader;
use burn::optim::AdamWConfig;
use burn_anneal::plan::Verdict;
use burn_anneal::prelude::*;

const DEFAULTS: Defaults = Defaults {
    about: "Finds the learning rate and the warm-up of a small residual network on CIFAR-10",
    epochs: 20,
    batch_size: 64,
    learning_rate: 4e-3,
};

fn main() -> ExitCode {
    conclude(find(&DEFAULTS.parse()))
}

fn find(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let run = Run::open("find_rate", Dataset::Cifar10, arguments)?;

    // Data, model and optimizer to be trained: replace them by yours.
    let images = run.images()?;
    let tested = images.test.len();
    let (batch_size, augmentation) = (arguments.batch_size.get(), Augmentation::CROP_AND_FLIP);
    let train = train_loader(images.train, batch_size, augmentation, arguments.seed, &run.device());
    let model = ResidualNetworkConfig::default().init(&run.device());
    let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
    let length = run.length(train.num_items());
    let builder = LearnerBuilder::new(model, optimizer, schedule).run(length);
    say(format_args!("{}\n", run.describe(train.num_items(), tested)));

    // A range test from two seeds, the curvature for the first rate, and trial warm-ups; each on copies of the model.
    let loader: Arc<dyn DataLoader<ImageBatch>> = Arc::new(train);
    let finder = LrFinder::new().on_progress(progress::of_finder());
    let found = finder.find(&builder, &loader)?;
    say(format_args!("{found}\n\n{}", found.terminal(100)));
    say(format_args!("{}\n", finder.first_rate(&builder, &loader)?));
    say(format_args!("{}\n", finder.warmup(&builder, &loader, 32)?));

    let picture = run.file("range_test.svg");
    fs::create_dir_all(run.folder())?;
    fs::write(&picture, found.svg())?;
    let next = match (found.verdict(), found.suggestion()) {
        (Verdict::Clear, Some(rate)) => {
            format!("cargo run --example cifar_cosine -- --lr {rate:.1e}")
        }
        _ => "the curves do not agree on a rate: see above".to_owned(),
    };
    Ok(format!("{}\n{next}", picture.display()))
}

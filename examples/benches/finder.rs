//! Times the cost of a range test, in training updates.
//!
//! ```text
//! cargo bench --workspace --profile dev --bench finder
//! ```
//!
//! With the network of `cifar_cosine`, 100 updates of a custom loop and a sweep of 100 updates take turns.

use std::sync::Arc;
use std::time::Instant;

use anneal_examples::arguments::BenchArguments;
use anneal_examples::loader::ImageBatch;
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::optim::AdamWConfig;
use burn::train::TrainStep;
use burn_anneal::plan::Sweep;
use burn_anneal::prelude::*;

const ROUNDS: usize = 5;
const UPDATES: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let about = "Times the cost of a range test, in training updates";
    let defaults = Defaults { about, epochs: 1, batch_size: 64, learning_rate: 4e-3 };
    let folder = tempfile::tempdir()?;
    let arguments = defaults.parse::<BenchArguments>().shared;
    let arguments = Arguments { out: Some(folder.path().join("run")), ..arguments };
    let run = Run::open("bench", Dataset::Cifar10, &arguments)?;
    let (images, device) = (run.images()?, run.device());
    say(run.describe(images.train.len(), images.test.len()));
    let batch_size = arguments.batch_size.get();
    let loader =
        train_loader(images.train, batch_size, Augmentation::NONE, arguments.seed, &device);
    let shared: Arc<dyn DataLoader<ImageBatch>> = Arc::new(loader.clone());
    let model = ResidualNetworkConfig::default().init(&device);
    let adamw = AdamWConfig::new().with_weight_decay(0.02).build();
    let builder =
        LearnerBuilder::new(model, adamw, constant(1e-3)).run(RunLength::updates(1 << 20));
    // Low enough that the sweep makes all of its updates.
    let finder = LrFinder::new().sweep(Sweep::new(1e-7, 1e-3).updates(UPDATES)).seeds(1);
    let mut ratios = vec![];
    // The first round warms up, and compiles kernels.
    for round in 0..=ROUNDS {
        let started = Instant::now();
        let mut training = builder.clone().build_loop()?;
        let batches = (1..).flat_map(|epoch| loader.epoch(epoch)).take(UPDATES as usize);
        for batch in batches {
            let batch = batch?;
            training.pass(|model| TrainStep::step(model, batch));
            training.update()?;
        }
        device.sync()?;
        let trained = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let found = finder.find(&builder, &shared)?;
        let swept = started.elapsed().as_secs_f64();
        assert_eq!(found.tests()[0].points().len() as u64, UPDATES);
        if round > 0 {
            say(format_args!("{UPDATES} updates {trained:.2} s, a sweep {swept:.2} s"));
            ratios.push(swept / trained);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    say(format_args!("a sweep of {UPDATES} updates costs {:.1} updates", median * UPDATES as f64));
    Ok(())
}

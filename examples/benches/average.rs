//! Times the cost of a weight average per update.
//!
//! ```text
//! cargo bench --workspace --profile dev --bench average
//! ```
//!
//! Custom loops with the network of `cifar_cosine`, with and without averages, take turns update by update.

use std::time::Instant;

use anneal_examples::arguments::BenchArguments;
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn::train::TrainStep;
use burn_anneal::prelude::*;

const UPDATES: usize = 150;
const WARMUP: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let about = "Times the cost of a weight average per update";
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
    let model = ResidualNetworkConfig::default().init(&device);
    let adamw = AdamWConfig::new().with_weight_decay(0.02).build();
    let builder =
        LearnerBuilder::new(model, adamw, constant(1e-3)).run(RunLength::updates(1 << 20));
    let ema = || Average::ema(0.999);
    let arms = [
        ("no average", builder.clone()),
        ("no average, again", builder.clone()),
        ("ema", builder.clone().average(ema())),
        ("ema every 10", builder.clone().average(ema().every(Span::steps(10)))),
        ("ema, with statistics", builder.clone().average(ema()).average_statistics()),
        ("latest 5, every 50", builder.average(Average::latest(5, Span::steps(50)))),
    ];
    let mut loops = vec![];
    for (name, builder) in arms {
        loops.push((name, builder.build_loop()?, vec![]));
    }
    let batches = (1..).flat_map(|epoch| loader.epoch(epoch)).take(WARMUP + UPDATES);
    for (number, batch) in batches.enumerate() {
        let batch = batch?;
        for (_, training, seconds) in &mut loops {
            let batch = batch.clone();
            let started = Instant::now();
            training.pass(|model| TrainStep::step(model, batch));
            training.update()?;
            device.sync()?;
            if number >= WARMUP {
                seconds.push(started.elapsed().as_secs_f64());
            }
        }
    }
    let plain = median(loops[0].2.clone());
    for (name, _, seconds) in &loops {
        // Compares each update with the one without an average just before, so that the machine is equally fast for
        // both.
        let ratios = seconds.iter().zip(&loops[0].2).map(|(one, other)| one / other);
        let ratio = median(ratios.collect());
        say(format_args!(
            "{name:22} {:6.2} ms   {:+.1} %",
            1e3 * plain * ratio,
            100.0 * (ratio - 1.0)
        ));
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

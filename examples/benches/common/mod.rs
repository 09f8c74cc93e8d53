//! Times learners of the network of `cifar_cosine` in turns on the same batches.

use std::time::Instant;

use anneal_examples::arguments::BenchArguments;
use anneal_examples::loader::ImageBatch;
use anneal_examples::model::ResidualNetwork;
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn::tensor::{Device, ExecutionError};
use burn::train::{Interrupter, Learner};
use burn_anneal::prelude::*;

pub type Builder = LearnerBuilder<ResidualNetwork>;
type Timed = Learner<Annealed<ResidualNetwork>>;

const ROUNDS: usize = 9;

/// A way to train, and the variant that it is compared with.
pub struct Variant {
    pub name: &'static str,
    pub ask: Box<dyn Fn(Builder) -> Result<Builder, BuildError>>,
    pub beside: usize,
}

/// Prints the median time per update of each variant, and its median ratio to the compared variant within rounds.
pub fn compare(
    about: &'static str,
    variants: Vec<Variant>,
) -> Result<(), Box<dyn std::error::Error>> {
    let defaults = Defaults { about, epochs: 1, batch_size: 64, learning_rate: 4e-3 };
    let folder = tempfile::tempdir()?;
    let arguments = defaults.parse::<BenchArguments>().shared;
    let limit = arguments.limit.or(std::num::NonZeroUsize::new(512));
    let arguments = Arguments { out: Some(folder.path().join("run")), limit, ..arguments };
    let run = Run::open("bench", Dataset::Cifar10, &arguments)?;
    let (images, device) = (run.images()?, run.device());
    say(run.describe(images.train.len(), images.test.len()));
    let batch_size = arguments.batch_size.get();
    let loader =
        train_loader(images.train, batch_size, Augmentation::NONE, arguments.seed, &device);
    let batches = loader.epoch(1).collect::<Result<Vec<ImageBatch>, _>>()?;
    let learner = |variant: &Variant| learner(&device, &variant.ask);
    let mut learners = variants.iter().map(learner).collect::<Result<Vec<_>, _>>()?;
    // The first round warms up, and compiles kernels.
    let mut rounds: Vec<Vec<f64>> = vec![];
    for _ in 0..=ROUNDS {
        let times = learners.iter_mut().map(|learner| timed(learner, &batches, &device));
        rounds.push(times.collect::<Result<_, _>>()?);
    }
    rounds.remove(0);
    for (index, Variant { name, beside, .. }) in variants.iter().enumerate() {
        let time = median(rounds.iter().map(|round| round[index]));
        let ratio = median(rounds.iter().map(|round| round[index] / round[*beside]));
        say(format_args!("{name:28} {time:9.2} ms an update  {ratio:.3}"));
    }
    Ok(())
}

fn learner(
    device: &Device,
    ask: impl FnOnce(Builder) -> Result<Builder, BuildError>,
) -> Result<Timed, BuildError> {
    let model = ResidualNetworkConfig::default().init(device);
    let adamw = AdamWConfig::new().with_weight_decay(0.02).build();
    let builder =
        LearnerBuilder::new(model, adamw, constant(1e-3)).run(RunLength::updates(1 << 20));
    ask(builder)?.build(Interrupter::new())
}

/// The milliseconds per update; waits for the last one.
fn timed(
    learner: &mut Timed,
    batches: &[ImageBatch],
    device: &Device,
) -> Result<f64, ExecutionError> {
    let started = Instant::now();
    for batch in batches {
        let output = learner.train_step(batch.clone());
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    device.sync()?;
    Ok(1e3 * started.elapsed().as_secs_f64() / batches.len() as f64)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

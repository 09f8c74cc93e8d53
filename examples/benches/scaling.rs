//! What loss scaling adds to an update: scaling the loss, unscaling the gradients, the check and its read.
//!
//! ```text
//! cargo bench --workspace --profile dev --bench scaling
//! cargo bench --workspace --profile dev --bench scaling --features wgpu -- --limit 32 --batch-size 16
//! ```
//!
//! The same network of `cifar_cosine`, in f32, on the same batches, in turns: as it is, with loss scaling, and
//! both with clipping by the global norm.

use std::time::Instant;

use anneal_examples::loader::ImageBatch;
use anneal_examples::model::ResidualNetwork;
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn::tensor::{Device, ExecutionError};
use burn::train::{Interrupter, Learner};
use burn_anneal::prelude::*;
use clap::Parser;

const ROUNDS: usize = 9;
const ABOUT: &str = "Times what loss scaling adds to an update";

const DEFAULTS: Defaults =
    Defaults { about: ABOUT, epochs: 1, batch_size: 64, learning_rate: 4e-3 };

#[derive(Parser)]
struct BenchArguments {
    #[command(flatten)]
    shared: Arguments,

    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let arguments = DEFAULTS.parse::<BenchArguments>().shared;
    let limit = arguments.limit.or(std::num::NonZeroUsize::new(512));
    let arguments = Arguments { out: Some(folder.path().join("run")), limit, ..arguments };
    let session = Session::open("scaling", Dataset::Cifar10, Augmentation::NONE, &arguments)?;
    say(format_args!("{session}"));
    let device = session.device();
    let batches: Vec<ImageBatch> = session.train_loader().epoch(1).collect();
    let mut variants = [
        ("f32", learner(&session, |builder| builder)?),
        ("f32, loss scaling", learner(&session, scaled)?),
        ("f32, clipped", learner(&session, clipped)?),
        ("f32, clipped, loss scaling", learner(&session, |builder| scaled(clipped(builder)))?),
    ];
    // The first round warms up, and compiles kernels.
    let mut rounds: Vec<Vec<f64>> = vec![];
    for _ in 0..=ROUNDS {
        let times = variants.iter_mut().map(|(_, learner)| timed(learner, &batches, &device));
        rounds.push(times.collect::<Result<_, _>>()?);
    }
    rounds.remove(0);
    for (variant, (name, _)) in variants.iter().enumerate() {
        // Scaling is compared with the same without it.
        let without = variant - variant % 2;
        let time = median(rounds.iter().map(|round| round[variant]));
        let ratio = median(rounds.iter().map(|round| round[variant] / round[without]));
        say(format_args!("{name:28} {time:9.2} ms an update  {ratio:.3}"));
    }
    Ok(())
}

type Builder = LearnerBuilder<ResidualNetwork>;

fn scaled(builder: Builder) -> Builder {
    builder.loss_scaling(LossScaling::new())
}

fn clipped(builder: Builder) -> Builder {
    builder.clip_global_norm(1.0)
}

fn learner(
    session: &Session,
    ask: impl FnOnce(Builder) -> Builder,
) -> Result<Learner<Annealed<ResidualNetwork>>, BuildError> {
    let model = ResidualNetworkConfig::default().init(&session.device());
    let adamw = AdamWConfig::new().with_weight_decay(0.02).build();
    let builder =
        LearnerBuilder::new(model, adamw, constant(1e-3)).run(RunLength::updates(1 << 20));
    ask(builder).build(Interrupter::new())
}

/// Milliseconds of an update, the last of which is waited for.
fn timed(
    learner: &mut Learner<Annealed<ResidualNetwork>>,
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

//! How often an update waits for the device: wgpu logs each buffer that it maps to be read.

#![cfg(feature = "wgpu")]

use anneal_tests::{TinyModel, points};
use burn::optim::{AdamConfig, MultiGradientsParams};
use burn::tensor::{Device, DeviceKind, Tensor};
use burn::train::{Interrupter, Learner};
use burn_anneal::prelude::*;
use log::{LevelFilter, Log, Metadata, Record};
use std::sync::atomic::{AtomicUsize, Ordering};

static READS: AtomicUsize = AtomicUsize::new(0);

/// Counts the reads of wgpu's log.
struct Counter;

impl Log for Counter {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target().starts_with("wgpu_core")
            && record.args().to_string().contains("map_async")
        {
            READS.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

fn reads(run: impl FnOnce()) -> usize {
    let before = READS.load(Ordering::SeqCst);
    run();
    READS.load(Ordering::SeqCst) - before
}

/// With one batch, or the gradients of several on the same device.
fn update(learner: &mut Learner<Annealed<TinyModel>>, device: &Device, batches: usize) {
    let items: Vec<usize> = (0..12).collect();
    let gradients = (0..batches).map(|_| {
        let output = learner.train_step(points(&items, &device.clone().autodiff()));
        (output.grads, device.clone())
    });
    let grads: Vec<_> = gradients.collect();
    learner.lr_step();
    match batches {
        1 => grads.into_iter().for_each(|(grads, _)| learner.optimizer_step(grads)),
        _ => learner.optimizer_step_multi(MultiGradientsParams { grads }),
    }
}

#[test]
fn loss_scaling_reads_once_an_update_whatever_else_is_on() {
    log::set_logger(&Counter).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let tensor = Tensor::<1>::from_floats([1.0, 2.0], &device) * 2.0;
    let read = || assert_eq!(tensor.clone().into_data().iter::<f32>().sum::<f32>(), 6.0);
    assert_eq!(reads(read), 1, "the log must show a read");

    type Ask = fn(LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel>;
    let scaled: Ask = |builder| builder.loss_scaling(LossScaling::new().growth_interval(2));
    let clipped: Ask =
        |builder| builder.loss_scaling(LossScaling::new().growth_interval(2)).clip_global_norm(0.1);
    // The largest scale overflows in f32 too, so these updates are skipped.
    let skipped: Ask = |builder| builder.loss_scaling(LossScaling::fixed(3e38));
    let capped: Ask =
        |builder| builder.loss_scaling(LossScaling::new()).overflow_cap(OverflowCap::given(1e-3));
    let cut: Ask =
        |builder| builder.loss_scaling(LossScaling::new()).overflow_cap(OverflowCap::given(1e3));
    let measured: Ask = |builder| {
        let capped =
            builder.loss_scaling(LossScaling::new()).overflow_cap(OverflowCap::measured_every(1));
        capped.repeat_batches()
    };
    let plain: Ask = |builder| builder.clip_global_norm(0.1);
    for (name, ask, batches, expected) in [
        ("plain", plain, 1, 0),
        ("scaled", scaled, 1, 1),
        ("of 3 batches", scaled, 3, 1),
        ("clipped", clipped, 1, 1),
        ("skipped", skipped, 1, 1),
        ("capped", capped, 1, 1),
        ("capped and cut", cut, 1, 2),
        ("capped by what is measured", measured, 1, 2),
    ] {
        let model = TinyModel::new(&device.clone().autodiff());
        let run = RunLength::updates(100).gradient_accumulation(batches);
        let adam = AdamConfig::new().build();
        let builder = LearnerBuilder::new(model, adam, constant(0.01)).run(run);
        let mut learner = ask(builder).build(Interrupter::new()).unwrap();
        // The first updates compile and tune kernels.
        update(&mut learner, &device, batches);
        let found = reads(|| (0..5).for_each(|_| update(&mut learner, &device, batches)));
        println!("{name}: {found} reads in 5 updates");
        assert_eq!(found, 5 * expected, "{name}");
    }
}

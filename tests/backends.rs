//! A few clipped updates under a schedule on every backend of this build: the losses are those of
//! `flex`.

#![cfg(any(feature = "wgpu", feature = "ndarray"))]

use anneal_tests::{TinyModel, points};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use burn_anneal::prelude::*;

/// The losses of five clipped AdamW updates, from the same weights on any device.
fn losses(device: Device, weights: &TinyModel) -> Vec<f32> {
    let device = device.autodiff();
    let record = weights.clone().into_record();
    let mut model = TinyModel::new(&device).load_record(record);
    let mut optimizer: ModuleOptimizer = AdamWConfig::new().init();
    let mut scheduler = cosine(0.1).warmup(Span::steps(2)).init(RunLength::updates(5)).unwrap();
    let clip = GlobalNormClip::new(0.1).unwrap();
    let items: Vec<usize> = (0..12).collect();
    (0..5)
        .map(|_| {
            let loss = model.forward(points(&items, &device)).loss;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let clipped = clip.clip(&model, gradients);
            let rate = ModuleLearningRate::from(scheduler.step());
            model = optimizer.step(rate, model.clone(), clipped.gradients);
            loss.into_scalar::<f32>()
        })
        .collect()
}

fn agrees_with_flex(device: Device) {
    let weights = TinyModel::new(&Device::flex());
    let (found, expected) = (losses(device, &weights), losses(Device::flex(), &weights));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }
    assert!(expected[4] < expected[0], "the model learns: {expected:?}");
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_trains_as_flex_does() {
    agrees_with_flex(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice));
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)]
fn ndarray_trains_as_flex_does() {
    agrees_with_flex(Device::ndarray());
}

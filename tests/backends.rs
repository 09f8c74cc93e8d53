//! A few clipped updates under a schedule on every backend of this build have the same losses as on `flex`.

#![cfg(any(feature = "wgpu", feature = "ndarray"))]

use anneal_tests::{TinyModel, Weight, points};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, MultiGradientsParams, SgdConfig};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::{Interrupter, TrainOutput, TrainStep};
use burn_anneal::prelude::*;

/// The losses of five clipped AdamW updates, from the same weights on any device.
fn losses(device: Device, weights: &TinyModel) -> Vec<f32> {
    let device = device.autodiff();
    let record = weights.clone().into_record();
    let mut model = TinyModel::new(&device).load_record(record);
    let mut optimizer: ModuleOptimizer = AdamWConfig::new().init();
    let mut scheduler =
        Scheduler::new(cosine(0.1).warmup(Span::steps(2)), RunLength::updates(5)).unwrap();
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
    let weights = TinyModel::seeded(2, &Device::flex());
    let (found, expected) = (losses(device, &weights), losses(Device::flex(), &weights));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }
    assert!(expected[4] < expected[0], "the model learns: {expected:?}");
}

/// Loss scaling in a custom loop, from a scale that overflows: the losses, the skipped updates, and the final master
/// weights with their average.
fn half_precision(device: &Device, weights: &TinyModel) -> (Vec<f32>, u64, Vec<f32>) {
    let device = device.clone().autodiff();
    let record = weights.clone().into_record();
    let model = TinyModel::new(&device).load_record(record);
    let scaling = LossScaling::new().scale(f64::exp2(22.0));
    let half = HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() };
    let (adamw, run) = (AdamWConfig::new().build(), RunLength::updates(10));
    let mut training = LearnerBuilder::new(model, adamw, constant(0.05))
        .run(run)
        .half_precision(half)
        .average(Average::ema(0.9))
        .build_loop()
        .unwrap();
    let items: Vec<usize> = (0..12).collect();
    let mut losses = vec![];
    for _ in 0..10 {
        let loss = training.pass(|model| {
            let loss = model.forward(points(&items, &device)).loss;
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        losses.push(loss.into_scalar::<f32>());
        training.update().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let exported = saved.load_in_f32(TinyModel::new(&device)).unwrap().head.weight.val();
    assert_eq!(exported.dtype(), DType::F32);
    let averaged = saved.load_averaged(TinyModel::new(&device)).unwrap().head.weight.val();
    let masters = exported.into_data().iter::<f32>().collect::<Vec<_>>();
    let masters = masters.into_iter().chain(averaged.into_data().iter::<f32>()).collect();
    (losses, training.explain().control.unwrap().skipped, masters)
}

/// The same as flex in f16 if the device supports f16, otherwise a clear error.
fn half_precision_agrees_with_flex(device: Device) {
    let interrupter = Interrupter::new();
    let model = TinyModel::new(&device.clone().autodiff());
    let (adamw, run) = (AdamWConfig::new().build(), RunLength::updates(10));
    let built = LearnerBuilder::new(model, adamw, constant(0.01))
        .run(run)
        .half_precision(HalfPrecision::f16())
        .build(interrupter.clone());
    if !device.supports_dtype(FloatDType::F16) {
        let error = built.err().unwrap().to_string();
        assert!(error.contains("does not compute in F16"), "{error}");
        println!("{error}");
        return;
    }
    let weights = TinyModel::seeded(2, &Device::flex());
    let (found, expected) =
        (half_precision(&device, &weights), half_precision(&Device::flex(), &weights));
    assert_eq!(found.1, expected.1, "updates skipped");
    assert!((1..8).contains(&found.1), "{found:?}");
    for (found, expected) in found.0.iter().zip(&expected.0) {
        assert!((found - expected).abs() < 5e-3, "{found} is not {expected}");
    }
    for (found, expected) in found.2.iter().zip(&expected.2) {
        assert!((found - expected).abs() < 2e-2, "{found} is not {expected}");
    }
    let mut learner = built.unwrap();
    for _ in 0..2 {
        let batch = points(&[1, 2, 3], &device.clone().autodiff());
        let output = TrainStep::step(&learner.model(), batch);
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    assert!(!interrupter.should_stop());
}

/// Two devices: a repeated batch on one, and the weights on the other, or moved by the update.
fn a_cap_measures_where_the_batch_is(other: Device) {
    let flex = Device::flex();
    let interrupter = Interrupter::new();
    let (model, adamw) = (TinyModel::new(&flex.clone().autodiff()), AdamWConfig::new().build());
    let mut learner = LearnerBuilder::new(model, adamw, constant(0.05))
        .run(RunLength::updates(10).devices(2))
        .loss_scaling(LossScaling::new())
        .overflow_cap(OverflowCap::measured_every(1))
        .repeat_batches()
        .build(interrupter.clone())
        .unwrap();
    for updates_on_flex in [true, false] {
        let mut grads = [&other, &flex].map(|device| {
            let device = device.clone().autodiff();
            let model = learner.model().fork(&device);
            (TrainStep::step(&model, points(&[1, 2, 3], &device)).grads, device)
        });
        // Burn updates on the first device.
        if updates_on_flex {
            grads.reverse();
        }
        learner.lr_step();
        learner.optimizer_step_multi(MultiGradientsParams { grads: grads.into() });
        assert!(!interrupter.should_stop(), "{:?}", learner.model().failure());
    }
    let control = learner.model().explain().control.unwrap();
    assert!(control.state("overflow cap", "smoothness").is_some(), "{control}");
}

/// A model with a parameter on each of two devices, whose averages stay where they are.
fn averages_are_where_their_parameters_are(other: Device) {
    let device = other.clone().autodiff();
    let model = vec![Weight::new(&[1.0, 2.0]), Weight::new(&[3.0]).fork(&device)];
    let ids = [model[0].weight.id, model[1].weight.id];
    let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(1.0))
        .run(RunLength::updates(2))
        .average(Average::mean_from(0))
        .build_loop()
        .unwrap();
    for _ in 0..2 {
        training.pass(|_| {
            let mut grads = GradientsParams::new();
            grads.register(ids[0], Tensor::<1>::from_floats([1.0, -1.0], &Device::flex()));
            grads.register(ids[1], Tensor::<1>::from_floats([0.5], &other));
            TrainOutput { grads, item: () }
        });
        training.update().unwrap();
    }
    // The means of 0 and −1, of 3 and 4, and of 2.5 and 2.
    let averaged = training.valid();
    assert_eq!(averaged[0].values(), [-0.5, 3.5]);
    assert_eq!(averaged[1].values(), [2.25]);
    assert_eq!(averaged[1].weight.val().device(), other);
    let folder = tempfile::tempdir().unwrap();
    let saved = training.save(folder.path(), 1).unwrap();
    let loaded = saved.load_averaged(training.into_model()).unwrap();
    assert_eq!([loaded[0].values(), loaded[1].values()], [vec![-0.5, 3.5], vec![2.25]]);
}

#[cfg(feature = "wgpu")]
#[test]
fn averages_of_flex_and_wgpu() {
    averages_are_where_their_parameters_are(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice));
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)]
fn averages_of_flex_and_ndarray() {
    averages_are_where_their_parameters_are(Device::ndarray());
}

#[cfg(feature = "wgpu")]
#[test]
fn a_cap_measures_on_wgpu_what_is_updated_on_flex() {
    a_cap_measures_where_the_batch_is(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice));
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)]
fn a_cap_measures_on_ndarray_what_is_updated_on_flex() {
    a_cap_measures_where_the_batch_is(Device::ndarray());
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_trains_in_half_precision_as_flex_does() {
    half_precision_agrees_with_flex(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice));
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated)]
fn ndarray_trains_in_half_precision_as_flex_does_or_says_that_it_cannot() {
    half_precision_agrees_with_flex(Device::ndarray());
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

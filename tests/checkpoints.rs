//! Checkpoints of earlier versions: this version reads each of them.
//!
//! `cargo test --workspace --test checkpoints -- --ignored` writes the checkpoint of this version to the folder of
//! `VERSION`; a change of the format needs a new folder, and keeps the old ones.

use anneal_tests::{TinyModel, points};
use burn::module::{Module, ParamId};
use burn::optim::AdamConfig;
use burn::tensor::{Device, FloatDType};
use burn::train::TrainStep;
use burn_anneal::control::Cooldown;
use burn_anneal::precision::to_precision;
use burn_anneal::prelude::*;
use std::path::PathBuf;

const VERSION: &str = "v3";

/// The updates before it was saved.
const UPDATES: u64 = 10;

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("checkpoints").join(version)
}

fn device() -> Device {
    Device::default().autodiff()
}

/// A run with everything that has state.
fn builder() -> LearnerBuilder<TinyModel> {
    let run = RunLength::updates(40);
    let half = HalfPrecision {
        loss_scaling: Some(LossScaling::new().scale(1_024.0).growth_interval(4)),
        ..HalfPrecision::f16()
    };
    LearnerBuilder::new(TinyModel::seeded(3, &device()), AdamConfig::new().build(), cosine(0.02))
        .run(run)
        .groups(layer_decay(0.5))
        .weight_decay(0.01)
        .half_precision(half)
        .controller("cooldown", Cooldown::after_non_finite_loss(5).unwrap())
        .overflow_cap(OverflowCap::measured_every(3))
        .on_skip(OnSkip::Hold)
}

fn update(training: &mut TrainingLoop<TinyModel>, number: usize) {
    let batch = || points(&(number * 6..number * 6 + 6).collect::<Vec<_>>(), &device());
    training.pass(|model| TrainStep::step(model, batch()));
    training.update_with(|model| TrainStep::step(model, batch())).unwrap();
}

#[test]
#[ignore = "writes the checkpoint of this version anew"]
fn write() {
    let mut training = builder().build_loop().unwrap();
    (0..UPDATES as usize).for_each(|number| update(&mut training, number));
    training.save(folder(VERSION), 1).unwrap();
}

#[test]
fn the_checkpoint_of_every_version_goes_on() {
    for version in ["v1", "v2", "v3"] {
        let saved = Checkpoint::newest(folder(version)).unwrap().expect(version);
        let mut resumed = builder().resume_from(&saved).build_loop().unwrap();
        assert_eq!(resumed.next_update(), UPDATES, "{version}");
        let control = resumed.explain().control.unwrap();
        // 10 good updates: the scale has doubled after the 4th and the 8th.
        assert_eq!((control.loss_scale, control.skipped), (Some(4_096.0), 0), "{version}");
        assert_eq!(control.state("loss scale", "good_updates"), Some(2.0), "{version}");
        // Measured with the updates 0, 3, 6 and 9.
        assert_eq!(control.state("overflow cap", "since_measured"), Some(1.0), "{version}");
        assert!(control.state("overflow cap", "smoothness").unwrap() > 0.0, "{version}");

        // The master weights match the weights.
        let masters = saved.load_in_f32(TinyModel::new(&Device::default())).unwrap();
        let half = to_precision(masters.clone(), FloatDType::F16);
        let weights = |model: &TinyModel| -> Vec<f32> {
            model.hidden.weight.val().into_data().iter::<f32>().collect()
        };
        assert_eq!(weights(&half), weights(resumed.model()), "{version}");
        assert_ne!(weights(&half), weights(&masters), "{version}");
        let ids =
            |model: &TinyModel| -> [ParamId; 2] { [model.hidden.weight.id, model.head.weight.id] };
        assert_eq!(ids(resumed.model()), ids(&masters), "{version}");

        // The run is the same: the same updates from the start lead to the same weights.
        let mut whole = builder().build_loop().unwrap();
        (0..UPDATES as usize).for_each(|number| update(&mut whole, number));
        let far = |a: &TinyModel, b: &TinyModel| {
            let pairs = weights(a).into_iter().zip(weights(b));
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        for number in UPDATES as usize..UPDATES as usize + 5 {
            update(&mut whole, number);
            update(&mut resumed, number);
        }
        // Another processor may round sums differently: by a unit in the last place of f16 at 1.
        let apart = far(whole.model(), resumed.model());
        assert!(apart <= 1e-3, "{version}: {apart}");
        assert_eq!(whole.model().num_params(), resumed.model().num_params());
    }
}

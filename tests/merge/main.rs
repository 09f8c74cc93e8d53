//! Merged checkpoints of a phase at a constant rate: compared with decaying and with the formula, and refusals.

mod refused;

use anneal_tests::{Term, TermModel, TinyModel, flat, points};
use burn::module::{Lora, Module, Param, ParamId, QLora, Quantizer, RunningState};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::optim::SgdConfig;
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{Bool, DType, Device, FloatDType, Int, Tensor};
use burn::train::TrainStep;
use burn_anneal::SavedWeights;
use burn_anneal::precision::to_precision;
use burn_anneal::prelude::*;
use burn_anneal::schedule::merge_coefficients;
use std::f64::consts::PI;
use std::path::{Path, PathBuf};

fn device() -> Device {
    Device::default().autodiff()
}

fn tiny(seed: u64) -> TinyModel {
    TinyModel::seeded(seed, &Device::default())
}

fn wide(weights: &[f32]) -> Vec<f64> {
    weights.iter().copied().map(f64::from).collect()
}

fn close(found: &[f32], expected: &[f64], most: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < most, "{found}, not {expected}");
    }
}

/// θ₀ + Σ w_j (θ_j − θ_{j−1}) in f64, with w_j from the curve f of x = t/T.
fn by_formula(updates: &[u64], weights: &[Vec<f32>], curve: impl Fn(f64) -> f64) -> Vec<f64> {
    let length = updates[updates.len() - 1] - updates[0];
    let mut sum = wide(&weights[0]);
    for j in 1..updates.len() {
        let steps = updates[j - 1] - updates[0]..updates[j] - updates[0];
        let count = (updates[j] - updates[j - 1]) as f64;
        let mean = steps.map(|t| curve(t as f64 / length as f64)).sum::<f64>() / count;
        for (i, sum) in sum.iter_mut().enumerate() {
            *sum += mean * (f64::from(weights[j][i]) - f64::from(weights[j - 1][i]));
        }
    }
    sum
}

fn half_wave(x: f64) -> f64 {
    0.5 * (1.0 + (PI * x).cos())
}

/// A curve that falls over this many updates, and the same as a function of x.
type Curve = (ScheduleConfig, fn(f64) -> f64);

fn curves(rate: f64, updates: u64) -> [Curve; 4] {
    let root = stable_decay(rate, Span::steps(updates)).shape(DecayShape::OneMinusSqrt);
    [
        (linear(rate, 0.0).into(), |x| 1.0 - x),
        (cosine(rate).into(), half_wave),
        (root.into(), |x| 1.0 - x.sqrt()),
        (linear(rate, 0.25 * rate).into(), |x| 1.0 - 0.75 * x),
    ]
}

/// A loss that is linear in the weights: its gradient depends only on the update.
fn linear_loss(number: u64) -> Term {
    let slope = |k: u64| ((number * (k + 3)) as f32).sin();
    Term::new(&vec![vec![0.0; 3]; 3], &[slope(0), slope(1), slope(2)])
}

/// The weights after 40 updates under a schedule, without momentum.
fn descend(
    schedule: impl Into<ScheduleConfig>,
    term: impl Fn(u64) -> Term,
    snapshots: Option<Snapshots>,
) -> Vec<f32> {
    let model = TermModel::new(&[1.0, -2.0, 0.5]);
    let builder = LearnerBuilder::new(model, SgdConfig::new().build(), schedule);
    let builder = builder.run(RunLength::updates(40));
    let builder = match snapshots {
        Some(snapshots) => builder.snapshots(snapshots),
        None => builder,
    };
    let mut training = builder.build_loop().unwrap();
    for update in 0..40 {
        training.pass(|model| TrainStep::step(model, term(update)));
        training.update().unwrap();
    }
    training.into_model().values()
}

const RATE: f64 = 0.1;

fn merged(decay: ScheduleConfig, snapshots: &[Snapshot]) -> Vec<f32> {
    merge(decay, snapshots, TermModel::new(&[0.0; 3])).unwrap().values()
}

/// The weights of a run at a constant rate after each of these updates.
fn snapshots_after(
    updates: impl Fn(u64) -> bool,
    every: u64,
    term: impl Fn(u64) -> Term,
) -> (tempfile::TempDir, Vec<Snapshot>) {
    let folder = tempfile::tempdir().unwrap();
    descend(constant(RATE), term, Some(Snapshots::new(folder.path()).every(every)));
    let mut all = Snapshots::list(folder.path()).unwrap();
    all.retain(|snapshot| updates(snapshot.update()));
    (folder, all)
}

/// With a snapshot of each update nothing is lost, whatever the gradients.
#[test]
fn where_gradients_do_not_depend_on_weights_merging_is_decaying() {
    let (_folder, last) = snapshots_after(|update| update >= 19, 1, linear_loss);
    assert_eq!(last.len(), 21);
    let stable = last[20].load(TermModel::new(&[0.0; 3])).unwrap().values();
    for (decay, _) in curves(RATE, 20) {
        let schedule = constant(RATE).then(Span::steps(20), decay.clone());
        let decayed = wide(&descend(schedule, linear_loss, None));
        close(&merged(decay, &last), &decayed, 1e-6);
        // The result differs from not decaying.
        assert!(stable.iter().zip(&decayed).any(|(a, b)| (f64::from(*a) - b).abs() > 1e-3));
    }
}

/// At distances of 4, 12, 1 and 3 updates, with a gradient that stays the same between two.
#[test]
fn at_unequal_distances_too() {
    let ends = [19, 23, 35, 36, 39];
    let piecewise = |update: u64| {
        let interval = ends.iter().position(|end| update <= *end).unwrap();
        linear_loss(interval as u64)
    };
    let (_folder, chosen) = snapshots_after(|update| ends.contains(&update), 1, piecewise);
    assert_eq!(chosen.len(), 5);
    for (decay, _) in curves(RATE, 20) {
        let schedule = constant(RATE).then(Span::steps(20), decay.clone());
        let decayed = descend(schedule, piecewise, None);
        close(&merged(decay, &chosen), &wide(&decayed), 1e-6);
    }
}

/// A decay in steps that end with the snapshots.
#[test]
fn steps_from_one_snapshot_to_the_next_are_merged_whatever_gradients_are() {
    let (_folder, last) = snapshots_after(|update| update >= 19, 5, linear_loss);
    assert_eq!(last.len(), 5);
    let steps = || step_decay(RATE, Span::steps(5), 0.5);
    let schedule = constant(RATE).then(Span::steps(20), steps());
    let decayed = descend(schedule, linear_loss, None);
    close(&merged(steps().into(), &last), &wide(&decayed), 1e-6);
}

/// Model records in files, each with its number of updates.
fn files<M: Module>(
    folder: &Path,
    models: impl IntoIterator<Item = (u64, M)>,
) -> Vec<(u64, PathBuf)> {
    let save = |(updates, model): (u64, M)| {
        let path = folder.join(format!("{updates}.bpk"));
        model.save_file(&path).unwrap();
        (updates, path)
    };
    models.into_iter().map(save).collect()
}

#[test]
fn files_of_any_weights_are_merged_by_the_formula() {
    let folder = tempfile::tempdir().unwrap();
    let updates = [3, 10, 12, 40];
    let models: Vec<_> = (1..=4).map(tiny).collect();
    let weights: Vec<_> = models.iter().map(flat).collect();
    let files = files(folder.path(), updates.into_iter().zip(models));
    for (decay, curve) in curves(3.0, 37) {
        let merged = merge(decay, files.clone(), tiny(9)).unwrap();
        close(&flat(&merged), &by_formula(&updates, &weights, curve), 1e-6);
    }
    // A rate that does not fall leaves the last, bit for bit.
    let last = merge(constant(1.0), files, tiny(9)).unwrap();
    assert_eq!(flat(&last), weights[3]);
}

#[test]
fn weights_that_stay_the_same_stay_so_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), (1..=20).map(|updates| (updates, tiny(5))));
    assert_eq!(flat(&merge(cosine(1.0), files, tiny(9)).unwrap()), flat(&tiny(5)));
}

/// Summed in half precision, 60 of them would be off by far more.
#[test]
fn files_in_half_precision_are_summed_in_f32() {
    for dtype in [FloatDType::F16, FloatDType::BF16] {
        let folder = tempfile::tempdir().unwrap();
        let models: Vec<_> = (1..=60).map(|seed| to_precision(tiny(seed), dtype)).collect();
        let weights: Vec<_> = models.iter().map(flat).collect();
        let files = files(folder.path(), (1..=60).zip(models));
        let updates: Vec<u64> = (1..=60).collect();
        let expected = by_formula(&updates, &weights, half_wave);

        let merged = merge(cosine(1.0), files.clone(), tiny(9)).unwrap();
        assert_eq!(merged.head.weight.val().dtype(), DType::F32);
        close(&flat(&merged), &expected, 1e-6);
        // A model in half precision gets the same, rounded once.
        let rounded = merge(cosine(1.0), files, to_precision(tiny(9), dtype)).unwrap();
        assert_eq!(rounded.head.weight.val().dtype(), DType::from(dtype));
        assert_eq!(flat(&rounded), flat(&to_precision(merged, dtype)));
    }
}

#[test]
fn checkpoints_in_half_precision_are_merged_by_their_master_weights() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::seeded(7, &device());
    let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.05))
        .half_precision(HalfPrecision::f16())
        .run(RunLength::updates(30))
        .build_loop()
        .unwrap();
    let (mut checkpoints, mut masters, mut halves) = (vec![], vec![], vec![]);
    for update in 1..=30_usize {
        let batch = points(&[update, update + 1, update + 2], &device());
        training.pass(|model| TrainStep::step(model, batch));
        training.update().unwrap();
        if [6, 10, 20, 30].contains(&update) {
            // In a separate folder, because a loop keeps only its last two.
            let place = folder.path().join(update.to_string());
            checkpoints.push(training.save(place, 1).unwrap());
            masters.push(flat(&training.model_in_f32()));
            halves.push(flat(training.model()));
        }
    }
    let updates = [6, 10, 20, 30];
    let merged = merge(linear(1.0, 0.0), &checkpoints, tiny(9)).unwrap();
    assert_eq!(merged.head.weight.val().dtype(), DType::F32);
    let expected = by_formula(&updates, &masters, |x| 1.0 - x);
    close(&flat(&merged), &expected, 1e-6);
    // The model's own weights are visibly rounded.
    let rounded = by_formula(&updates, &halves, |x| 1.0 - x);
    assert!(rounded.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-5));
}

#[derive(Module, Debug)]
struct Counting {
    norm: BatchNorm,
    count: Param<Tensor<1, Int>>,
    flags: Param<Tensor<1, Bool>>,
}

fn counting(value: f32, device: &Device) -> Counting {
    let mut norm = BatchNormConfig::new(2).init(device);
    norm.running_mean = RunningState::new(Tensor::from_floats([value, 2.0 * value], device));
    norm.running_var = RunningState::new(Tensor::from_floats([value + 1.0, 1.0], device));
    norm.gamma = Param::from_tensor(Tensor::from_floats([-value, 0.0], device));
    let count = Tensor::from_ints([value as i32, 3], device);
    let flags = Tensor::<1>::from_floats([value, 1.0], device).greater_elem(2.5);
    Counting {
        norm,
        count: Param::initialized(ParamId::new(), count),
        flags: Param::initialized(ParamId::new(), flags),
    }
}

fn statistics(norm: &BatchNorm) -> [Vec<f32>; 2] {
    [&norm.running_mean, &norm.running_var]
        .map(|state| state.value().into_data().iter::<f32>().collect())
}

#[test]
fn running_statistics_are_merged_and_integers_are_those_of_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let models = [1.0, 2.0, 4.0].map(|value| counting(value, &Device::default()));
    let files = files(folder.path(), [10, 20, 30].into_iter().zip(models));
    // The rates are 1 − t/20, with means of 0.775 and 0.275.
    let mean = 0.225 + 0.5 * 2.0 + 0.275 * 4.0;

    let model = counting(50.0, &device());
    let merged = merge(linear(1.0, 0.0), files, model.clone()).unwrap();
    let [means, variances] = statistics(&merged.norm);
    close(&means, &[mean, 2.0 * mean], 1e-6);
    close(&variances, &[mean + 1.0, 1.0], 1e-6);
    close(&merged.norm.gamma.val().into_data().iter().collect::<Vec<f32>>(), &[-mean, 0.0], 1e-6);
    assert_eq!(merged.count.val().into_data().iter::<i64>().collect::<Vec<_>>(), [4, 3]);
    assert_eq!(merged.flags.val().into_data().iter::<bool>().collect::<Vec<_>>(), [true, false]);
    // The given model is unchanged, including its running statistics, which clones share.
    assert_eq!(statistics(&model.norm), [vec![50.0, 100.0], vec![51.0, 1.0]]);
}

#[test]
fn the_result_is_ready_to_train_where_the_model_is() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), [(1, tiny(1)), (2, tiny(2))]);
    let plain = merge(linear(1.0, 0.0), files.clone(), tiny(9)).unwrap();
    assert!(!plain.head.weight.val().device().is_autodiff());

    let mut frozen = TinyModel::new(&device());
    frozen.hidden = frozen.hidden.no_grad();
    for (model, hidden) in [(TinyModel::new(&device()), true), (frozen, false)] {
        let merged = merge(linear(1.0, 0.0), files.clone(), model).unwrap();
        assert_eq!(flat(&merged), flat(&plain));
        assert!(merged.head.weight.val().is_require_grad());
        assert_eq!(merged.hidden.weight.val().is_require_grad(), hidden);
        // A model in the `valid()` form stays in it.
        let valid = merge(linear(1.0, 0.0), files.clone(), merged.valid()).unwrap();
        assert!(!valid.head.weight.val().device().is_autodiff());
        assert_eq!(valid.train().hidden.weight.val().is_require_grad(), hidden);
    }
}

/// The numbers of a checkpoint and of a snapshot count the same updates.
#[test]
fn a_checkpoint_and_a_snapshot_of_one_moment_count_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::seeded(7, &device());
    let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.05))
        .run(RunLength::updates(12))
        .snapshots(Snapshots::new(folder.path()).every(3))
        .build_loop()
        .unwrap();
    let mut checkpoints = vec![];
    for update in 1..=12_usize {
        training.pass(|model| TrainStep::step(model, points(&[update], &device())));
        training.update().unwrap();
        if update.is_multiple_of(3) {
            checkpoints.push(training.save(folder.path().join(update.to_string()), 1).unwrap());
        }
    }
    drop(training);
    let mut snapshots = Snapshots::list(folder.path()).unwrap();
    // After 3, 9 and 12 updates.
    checkpoints.remove(1);
    snapshots.remove(1);
    let coefficients = merge_coefficients(cosine(1.0), &[3, 9, 12]).unwrap();
    let mut sum = vec![0.0; flat(&tiny(0)).len()];
    for (snapshot, coefficient) in snapshots.iter().zip(coefficients) {
        let weights = flat(&snapshot.load(tiny(9)).unwrap());
        sum.iter_mut().zip(wide(&weights)).for_each(|(sum, weight)| *sum += coefficient * weight);
    }
    let merged = |all: Vec<SavedWeights>| flat(&merge(cosine(1.0), all, tiny(9)).unwrap());
    let rest = || checkpoints[1..].iter().map(SavedWeights::from);
    let after_3 = || [SavedWeights::from(&snapshots[0]), (3, snapshots[0].path()).into()];
    for first in after_3().into_iter().chain([SavedWeights::from(&checkpoints[0])]) {
        close(&merged(std::iter::once(first).chain(rest()).collect()), &sum, 1e-6);
    }
    close(&merged(snapshots.iter().map(SavedWeights::from).collect()), &sum, 1e-6);
}

/// The base of a quantized adapter does not train.
#[test]
fn quantized_weights_are_those_of_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let scheme = Device::default().settings().quantization.scheme.with_value(QuantValue::Q8S);
    let adapted = |seed: u64| {
        let quantizer = Quantizer::new(Calibration::MinMax, scheme);
        tiny(seed).apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer))
    };
    let files = files(folder.path(), [(1, adapted(1)), (2, adapted(2)), (3, adapted(3))]);
    let merged = merge(linear(1.0, 0.0), files, adapted(9)).unwrap();
    let base = |model: &TinyModel| {
        model.head.weight.base().clone().dequantize().into_data().iter::<f32>().collect::<Vec<_>>()
    };
    assert!(matches!(merged.head.weight.base().dtype(), DType::QFloat(_)));
    assert_eq!(base(&merged), base(&adapted(3)));
}

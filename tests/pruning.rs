//! Pruned weights stay pruned.

use anneal_tests::{TinyModel, Weight, points};
use burn::module::{Module, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, Optimizer, SgdConfig};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::{TrainOutput, TrainStep};
use burn_anneal::PruningError;
use burn_anneal::control::NoiseScale;
use burn_anneal::groups::Selection;
use burn_anneal::prelude::*;

/// Two matrices and a bias; the first matrix has the small weights.
#[derive(Module, Debug)]
struct Layers {
    first: Param<Tensor<2>>,
    second: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

const FIRST: [f32; 4] = [0.1, -0.2, 0.3, -0.4];
const SECOND: [f32; 6] = [0.25, 2.0, 3.0, -4.0, 5.0, 6.0];
const BIAS: [f32; 2] = [0.01, 0.0];

impl Layers {
    fn new(device: &Device) -> Self {
        let matrix = |values: &[f32], rows: i32| {
            Param::from_tensor(Tensor::<1>::from_floats(values, device).reshape([rows, 2]))
        };
        Self {
            first: matrix(&FIRST, 2),
            second: matrix(&SECOND, 3),
            bias: Param::from_tensor(Tensor::from_floats(BIAS, device)),
        }
    }

    /// The flattened weights of the matrices, and the bias.
    fn values(&self) -> (Vec<f32>, Vec<f32>) {
        let [first, second] = [&self.first, &self.second].map(|matrix| matrix.val().reshape([-1]));
        let values = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
        (values(Tensor::cat(vec![first, second], 0)), values(self.bias.val()))
    }

    /// A loss with the same gradient for each weight.
    fn pass(&self, gradient: f64) -> TrainOutput<Tensor<1>> {
        let [first, second] = [&self.first, &self.second].map(|matrix| matrix.val().sum());
        let loss = (first + second + self.bias.val().sum()).cast(FloatDType::F32) * gradient;
        TrainOutput::new(self, loss.clone().scaled_backward(), loss)
    }
}

fn device() -> Device {
    Device::default().autodiff()
}

fn with_momentum() -> impl Optimizer {
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    SgdConfig::new().with_momentum(Some(momentum)).build()
}

fn builder(optimizer: impl Optimizer, rate: f64) -> LearnerBuilder<Layers> {
    let model = Layers::new(&device());
    LearnerBuilder::new(model, optimizer, constant(rate)).run(RunLength::updates(100))
}

/// Makes this many updates with a gradient of 1 everywhere.
fn updates(training: &mut TrainingLoop<Layers>, count: usize) {
    for _ in 0..count {
        training.pass(|model| model.pass(1.0));
        training.update().unwrap();
    }
}

/// The weights of the matrices that a rule prunes.
fn pruned(rule: MagnitudePruning) -> Vec<bool> {
    let model = Layers::new(&Device::default());
    let (values, bias) = rule.mask(&model).unwrap().apply(model).values();
    assert_eq!(bias, BIAS);
    values.into_iter().map(|value| value == 0.0).collect()
}

#[test]
fn the_smallest_go_of_all_or_of_each_layer() {
    let flags = |pruned: &[usize]| (0..10).map(|it| pruned.contains(&it)).collect::<Vec<_>>();
    assert_eq!(pruned(MagnitudePruning::new(0.3)), flags(&[0, 1, 4]));
    assert_eq!(pruned(MagnitudePruning::new(0.5)), flags(&[0, 1, 2, 3, 4]));
    assert_eq!(pruned(MagnitudePruning::new(0.5).per_layer()), flags(&[0, 1, 4, 5, 6]));
    let only = MagnitudePruning::new(0.5).only(Selection::none().globs(["second"]));
    assert_eq!(pruned(only), flags(&[4, 5, 6]));
    assert_eq!(pruned(MagnitudePruning::new(0.0)), flags(&[]));

    let mask = MagnitudePruning::new(0.5).mask(&Layers::new(&device())).unwrap();
    assert_eq!(mask.layers().collect::<Vec<_>>(), [("first", 1.0), ("second", 1.0 / 6.0)]);
    assert_eq!((mask.pruned(), mask.sparsity()), (5, 0.5));
}

#[test]
fn shares_are_exact_and_pruned_weights_stay_pruned_as_they_rise() {
    let mut model = TinyModel::seeded(3, &Device::default());
    let mut before: Vec<bool> = vec![];
    for (sparsity, zeros) in [(0.5, 18), (0.75, 26), (0.9, 32)] {
        model = MagnitudePruning::new(sparsity).mask(&model).unwrap().apply(model);
        let [hidden, head] = [&model.hidden, &model.head].map(|it| it.weight.val().into_data());
        let zero: Vec<bool> = hidden.iter::<f32>().chain(head.iter()).map(|it| it == 0.0).collect();
        assert_eq!(zero.iter().filter(|zero| **zero).count(), zeros, "{sparsity} of 35");
        assert!(before.iter().zip(&zero).all(|(before, now)| now >= before));
        before = zero;
    }
    let bias = model.head.bias.unwrap().val().into_data();
    assert!(bias.iter::<f32>().all(|bias| bias != 0.0));
}

/// After three updates with momentum, weights have moved by 1 + 1.9 + 2.71 rates, and would keep moving without a
/// gradient.
#[test]
fn momentum_does_not_move_what_is_pruned() {
    let mut training = builder(with_momentum(), 0.01).build_loop().unwrap();
    updates(&mut training, 3);
    let moved = 0.01 * (1.0 + 1.9 + 2.71);
    let (before, _) = training.model().values();
    assert!((f64::from(before[9]) - (6.0 - moved)).abs() < 1e-6);

    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    updates(&mut training, 4);
    let (after, bias) = training.model().values();
    assert_eq!(after[..5], [0.0; 5]);
    // v₇ = 1 + 0.9 + … + 0.9⁶ and so on: Σ (1 − 0.9ᵏ) / 0.1 over k = 1 … 7.
    let moved: f64 = (1..=7).map(|k| 0.01 * (1.0 - 0.9f64.powi(k)) / 0.1).sum();
    assert!((f64::from(after[9]) - (6.0 - moved)).abs() < 1e-5);
    assert!((f64::from(bias[1]) + moved).abs() < 1e-5);
}

#[test]
fn neither_do_the_moments_of_adam_or_a_decay() {
    let decayed = AdamWConfig::new().with_weight_decay(0.1).build();
    let mut training = builder(decayed, 0.05).build_loop().unwrap();
    updates(&mut training, 3);
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    updates(&mut training, 10);
    let (after, bias) = training.model().values();
    assert_eq!(after[..5], [0.0; 5]);
    assert!(after[5..].iter().chain(&bias).all(|weight| *weight != 0.0));
}

/// Five matrix weights and two biases have a gradient of 1: clipped at 1 each is 1/√7.
#[test]
fn what_is_pruned_counts_in_no_norm() {
    let sgd = SgdConfig::new().build();
    let mut training = builder(sgd, 0.5).clip_global_norm(1.0).build_loop().unwrap();
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    updates(&mut training, 1);
    let (after, _) = training.model().values();
    assert!((f64::from(after[9]) - (6.0 - 0.5 / 7f64.sqrt())).abs() < 1e-5, "{}", after[9]);
}

/// Two equal batches of an update have no noise, whatever is pruned.
#[test]
fn what_is_pruned_is_no_noise() {
    let run = RunLength::from_items(160, 4).gradient_accumulation(2).epochs(5);
    let builder = builder(SgdConfig::new().build(), 0.01).run(run);
    let builder = builder.gradient_reduction(GradientReduction::Mean);
    let mut training = builder.controller("noise", NoiseScale::new()).build_loop().unwrap();
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    for _ in 0..3 {
        training.pass(|model| model.pass(1.0));
        updates(&mut training, 1);
    }
    let noise = training.gradient_noise().unwrap();
    assert!(noise.noise.abs() < 1e-4 && (noise.squared_gradient - 7.0).abs() < 1e-4, "{noise:?}");
}

/// In bf16 an update of 0.001 does not change a weight of 6, but its copy.
#[test]
fn master_weights_are_pruned_too_and_the_others_keep_what_they_have_gathered() {
    let half = HalfPrecision { loss_scaling: None, ..HalfPrecision::bf16() };
    let mut training = builder(with_momentum(), 1e-3).half_precision(half).build_loop().unwrap();
    updates(&mut training, 3);
    training.prune(MagnitudePruning::new(0.5).mask(&training.model_in_f32()).unwrap());
    updates(&mut training, 2);
    assert_eq!(training.model().first.val().dtype(), DType::BF16);
    assert_eq!(training.model().values().0[..5], [0.0; 5]);
    let (in_f32, _) = training.model_in_f32().values();
    assert_eq!(in_f32[..5], [0.0; 5]);
    let moved: f64 = (1..=5).map(|k| 1e-3 * (1.0 - 0.9f64.powi(k)) / 0.1).sum();
    assert!((f64::from(in_f32[9]) - (6.0 - moved)).abs() < 1e-5, "{}", in_f32[9]);
}

#[test]
fn averages_are_evaluated_pruned() {
    let mut training =
        builder(with_momentum(), 0.01).average(Average::ema(0.9)).build_loop().unwrap();
    updates(&mut training, 3);
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    updates(&mut training, 1);
    for model in [training.valid(), training.averaged(), training.averaged_in_f32()] {
        let (values, _) = model.values();
        assert_eq!(values[..5], [0.0; 5]);
        assert!(values[9] > training.model().values().0[9], "the average is behind");
    }
}

#[test]
fn snapshots_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path()).every(Span::steps(4));
    let mut training = builder(with_momentum(), 0.01).snapshots(snapshots).build_loop().unwrap();
    updates(&mut training, 3);
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    updates(&mut training, 2);
    drop(training);
    let saved = Snapshots::list(folder.path()).unwrap().remove(0);
    let (values, _) = saved.load(Layers::new(&device())).unwrap().values();
    assert_eq!(values[..5], [0.0; 5]);
    assert!(values[5..].iter().all(|weight| *weight != 0.0));
}

#[test]
fn a_run_goes_on_pruned_from_the_zeros_of_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = builder(with_momentum(), 0.01).build_loop().unwrap();
    updates(&mut whole, 3);
    whole.prune(MagnitudePruning::new(0.5).mask(whole.model()).unwrap());
    updates(&mut whole, 1);
    let saved = whole.save(folder.path(), 1).unwrap();
    let resumed = builder(with_momentum(), 0.01).resume_from(&saved);
    let mut resumed = resumed.build_loop().unwrap();
    resumed.prune(PruningMask::of_zeros(resumed.model()));
    for training in [&mut whole, &mut resumed] {
        updates(training, 3);
    }
    assert_eq!(resumed.model().values().0[..5], [0.0; 5]);
    assert_eq!(whole.model().values(), resumed.model().values());
}

#[test]
fn another_mask_takes_the_place_of_the_first() {
    let mut training = builder(SgdConfig::new().build(), 0.01).build_loop().unwrap();
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    training.prune(PruningMask::default());
    assert_eq!(training.model().values().0[..5], [0.0; 5]);
    updates(&mut training, 1);
    assert_eq!(training.model().values().0[..5], [-0.01; 5]);
}

/// Loaded weights are pruned like the earlier ones.
#[test]
fn weights_that_are_loaded_are_pruned() {
    let mut training = builder(SgdConfig::new().build(), 0.01).build_loop().unwrap();
    training.prune(MagnitudePruning::new(0.5).mask(training.model()).unwrap());
    training.map_model(|_| Layers::new(&device()));
    assert_eq!(training.model().values().0[..5], [0.0; 5]);
}

#[test]
fn a_tied_matrix_is_pruned_in_both_places_and_counted_once() {
    #[derive(Module, Debug)]
    struct Tied {
        embedding: Param<Tensor<2>>,
        head: Param<Tensor<2>>,
    }
    let embedding = Param::from_tensor(Tensor::from_floats([[1.0, 2.0, 3.0, 4.0]], &device()));
    let tied = Tied { head: embedding.clone(), embedding };
    let mask = MagnitudePruning::new(0.5).mask(&tied).unwrap();
    assert_eq!(mask.layers().collect::<Vec<_>>(), [("embedding", 0.5)]);
    let pruned = mask.apply(tied);
    for matrix in [pruned.embedding, pruned.head] {
        let values: Vec<f32> = matrix.val().into_data().iter().collect();
        assert_eq!(values, [0.0, 0.0, 3.0, 4.0]);
    }
}

/// A pruned parameter is a leaf of the graph, and still requires a gradient, or none if it was frozen.
#[test]
fn a_pruned_model_trains_on_and_what_is_frozen_stays_so() {
    let model = TinyModel::seeded(1, &device());
    let frozen = model.head.clone().no_grad();
    let model = TinyModel { head: frozen, ..model };
    let model = MagnitudePruning::new(0.5).mask(&model).unwrap().apply(model);
    let gradients = TrainStep::step(&model, points(&[0, 1, 2], &device())).grads;
    assert!(gradients.get::<2>(model.hidden.weight.id).is_some());
    assert!(gradients.get::<2>(model.head.weight.id).is_none());
}

#[test]
fn a_mask_leaves_other_models_alone() {
    let mask = MagnitudePruning::new(0.5).mask(&Layers::new(&Device::default())).unwrap();
    let other = TinyModel::seeded(1, &Device::default());
    let weights = |model: &TinyModel| model.hidden.weight.val().into_data();
    let before = weights(&other);
    assert_eq!(weights(&mask.apply(other)), before);
}

#[test]
fn it_says_what_cannot_be_pruned() {
    let model = Layers::new(&device());
    let error = |rule: MagnitudePruning| rule.mask(&model).unwrap_err();
    for sparsity in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let error = error(MagnitudePruning::new(sparsity));
        assert!(
            matches!(&error, PruningError::OutOfRange(error) if error.field == "sparsity"),
            "{error}"
        );
    }
    let text = error(MagnitudePruning::new(0.5).only("thrid")).to_string();
    assert!(text.starts_with("pruning.only.regexes: `thrid` matches no"), "{text}");
    assert_eq!(error(MagnitudePruning::new(0.5).only(Selection::none())), PruningError::Nothing);
    let vector = Weight::new(&[1.0, 2.0]);
    assert_eq!(MagnitudePruning::new(0.5).mask(&vector).unwrap_err(), PruningError::Nothing);
    for value in [f32::NAN, f32::INFINITY] {
        let second = Tensor::<2>::full([3, 2], value, &device());
        let broken = Layers { second: Param::from_tensor(second), ..Layers::new(&device()) };
        let parameter = "second".to_string();
        let error = MagnitudePruning::new(0.5).mask(&broken).unwrap_err();
        assert_eq!(error, PruningError::NotFinite { parameter });
    }
}

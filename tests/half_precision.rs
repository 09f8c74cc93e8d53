//! Half precision in real f16: loss scaling, master weights and the cap on the rate.

use anneal_tests::{TinyModel, Weight, points};
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, LionConfig, ModuleOptimizer, Optimizer,
    OptimizerRecord, RmsPropConfig, SgdConfig,
};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::{TrainOutput, TrainStep};
use burn_anneal::precision::{
    ScalingError, to_precision, to_precision_except, with_master_weights,
};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

fn in_f16(values: &[f32]) -> Weight {
    to_precision(Weight::new(values), FloatDType::F16)
}

/// A loss that is linear in the weights, with these gradients.
fn linear_loss(model: &Weight, gradient: &[f32]) -> Tensor<1> {
    let weight = model.weight.val();
    let gradient = Tensor::<1>::from_floats(gradient, &device()).cast(weight.dtype());
    (weight * gradient).cast(FloatDType::F32).sum()
}

fn sgd() -> impl Optimizer {
    SgdConfig::new().build()
}

/// SGD with v ← 0.9 v + g; the first velocity is the gradient.
fn with_momentum() -> impl Optimizer {
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    SgdConfig::new().with_momentum(Some(momentum)).build()
}

/// A loop at a constant rate, in half precision or in f32, that scales its loss.
fn scaled<M: Module>(
    model: M,
    optimizer: impl Optimizer,
    rate: f64,
    dtype: FloatDType,
    scaling: LossScaling,
) -> LearnerBuilder<M> {
    let builder =
        LearnerBuilder::new(model, optimizer, constant(rate)).run(RunLength::updates(1_000));
    match dtype {
        FloatDType::F32 => builder.loss_scaling(scaling),
        FloatDType::BF16 => builder
            .half_precision(HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::bf16() }),
        _ => builder
            .half_precision(HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() }),
    }
}

/// The same in f16, with one weight vector.
fn in_a_loop(weights: &[f32], rate: f64, scaling: LossScaling) -> TrainingLoop<Weight> {
    let builder = scaled(Weight::new(weights), sgd(), rate, FloatDType::F16, scaling);
    builder.build_loop().unwrap()
}

/// A pass of a batch with this gradient.
fn pass(training: &mut TrainingLoop<Weight>, gradient: &[f32]) {
    training.pass(|model| {
        let loss = linear_loss(model, gradient);
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    });
}

fn scale<M>(training: &TrainingLoop<M>) -> f64 {
    training.explain().control.unwrap().loss_scale.unwrap()
}

/// The master weights of a loop.
fn masters(training: &TrainingLoop<Weight>) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let model = saved.load_in_f32(training.model().clone()).unwrap();
    assert_eq!(model.weight.val().dtype(), DType::F32);
    model.values()
}

/// The number of tensors in the state of a loop's optimizer.
fn state_len<M: Module>(training: &TrainingLoop<M>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    OptimizerRecord::load(folder.path().join("checkpoint/optim-1.bpk")).unwrap().len()
}

#[test]
fn a_cast_model_trains_on_and_keeps_its_ids() {
    let model = TinyModel::new(&device());
    let id = model.head.weight.id;
    let half = to_precision(model, FloatDType::F16);
    assert_eq!(half.head.weight.id, id);
    assert_eq!(half.head.weight.val().dtype(), DType::F16);
    let output = TrainStep::step(&half, points(&[1, 2, 3], &device()));
    let gradient = output.grads.get::<2>(id).unwrap();
    assert_eq!(gradient.dtype(), DType::F16);
}

/// f16 ends at 65,504: a gradient of 70,000 is infinite there.
#[test]
fn a_gradient_of_70_000_is_caught() {
    for (gradient, scaled_by, overflows) in
        [(70.0, 1_000.0, true), (60.0, 1_000.0, false), (3.0, 65_536.0, true)]
    {
        let case = format!("{gradient} × {scaled_by}");
        let scaling = LossScaling::new().scale(scaled_by);
        let builder = scaled(Weight::new(&[1.0]), with_momentum(), 0.01, FloatDType::F16, scaling);
        let mut training = builder.build_loop().unwrap();
        let before = state_len(&training);
        pass(&mut training, &[gradient]);
        let updated = training.update().unwrap();
        assert_eq!((updated.number, updated.step), (0, 0));
        assert_eq!(
            updated.skipped.is_some_and(|why| why.contains("overflowed")),
            overflows,
            "{case}"
        );
        assert_eq!(updated.loss_scale, Some(scaled_by));
        assert_eq!(updated.rate, if overflows { 0.0 } else { 0.01 });
        assert_eq!(training.last_update(), Some(updated));
        let weight = if overflows { 1.0 } else { 0.4 };
        assert!((training.model().values()[0] - weight).abs() < 1e-3, "{case}");
        assert_eq!(training.model().values()[0] == 1.0, overflows, "{case}");
        assert_eq!(scale(&training), if overflows { scaled_by / 2.0 } else { scaled_by });
        assert_eq!(state_len(&training) == before, overflows, "{case}: its velocity is new");
    }
}

/// Forty parameters in twenty layers, with one NaN or infinite entry in one gradient.
#[test]
fn one_bad_number_in_one_parameter_of_many_is_caught() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for dtype in [FloatDType::F16, FloatDType::BF16, FloatDType::F32] {
            let layers: Vec<Linear> =
                (0..20).map(|_| LinearConfig::new(3, 3).init(&device())).collect();
            for (value, skipped) in [(bad, true), (0.5, false)] {
                let scaling = LossScaling::fixed(2.0);
                let builder = scaled(layers.clone(), sgd(), 0.1, dtype, scaling);
                let mut training = builder.build_loop().unwrap();
                let weights = |model: &Vec<Linear>| -> Vec<f32> {
                    let all = model.iter().map(|layer| layer.weight.val().reshape([9]));
                    Tensor::cat(all.collect(), 0).into_data().iter::<f32>().collect()
                };
                let start = weights(training.model());
                training.pass(|model| {
                    let loss = model[0].weight.val().sum();
                    drop(loss.clone().scaled_backward());
                    let mut grads = GradientsParams::new();
                    for (i, layer) in model.iter().enumerate() {
                        let mut values = [0.5f32; 9];
                        if i == 13 {
                            values[4] = value;
                        }
                        let weight = Tensor::<1>::from_floats(values, &Device::default());
                        let weight = weight.reshape([3, 3]).cast(dtype);
                        grads.register(layer.weight.id, weight);
                        let bias = Tensor::<1>::ones([3], &Device::default()).cast(dtype);
                        grads.register(layer.bias.as_ref().unwrap().id, bias);
                    }
                    TrainOutput { grads, item: loss }
                });
                let updated = training.update().unwrap();
                assert_eq!(updated.skipped.is_some(), skipped, "{value} in {dtype:?}");
                let found = weights(training.model());
                match skipped {
                    true => assert_eq!(found, start, "{value} in {dtype:?}"),
                    // Half of the gradient: it is unscaled by 2.
                    false => {
                        let moved = start.iter().zip(&found).map(|(start, found)| start - found);
                        let wrong = moved.map(|moved| (moved - 0.025).abs()).fold(0.0, f32::max);
                        let rounding = if dtype == FloatDType::BF16 { 4e-3 } else { 1e-3 };
                        assert!(wrong < rounding, "{wrong} in {dtype:?}");
                    }
                }
            }
        }
    }
}

/// Gradients of 10⁻⁹ to 10⁻⁵; f16 can represent those above 6e-8.
#[test]
fn scaling_keeps_small_gradients_from_becoming_zero() {
    let gradients: Vec<f32> =
        (0..1_000).map(|i| 10f32.powf(-9.0 + 4.0 * i as f32 / 999.0)).collect();
    let zeros = |scale: f64| {
        let mut training = in_a_loop(&vec![0.0; 1_000], 1.0, LossScaling::fixed(scale));
        // The factors are f32, but the gradient through the cast is f16.
        training.pass(|model| {
            let factors = Tensor::<1>::from_floats(gradients.as_slice(), &device());
            let loss = (model.weight.val().cast(FloatDType::F32) * factors).sum();
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        training.update().unwrap();
        // At a rate of 1 the master weights are the gradients, in f32.
        let found: Vec<f32> = masters(&training).iter().map(|weight| -weight).collect();
        let worst = found.iter().zip(&gradients).filter(|(found, _)| **found != 0.0);
        let worst =
            worst.map(|(found, expected)| (found / expected - 1.0).abs()).fold(0.0, f32::max);
        (found.iter().filter(|&&value| value == 0.0).count(), worst)
    };
    // Half of the smallest number of f16, 2⁻²⁵, is rounded to 0: log₁₀ of it is −7.53.
    let ((lost, _), (lost_scaled, error)) = (zeros(1.0), zeros(65_536.0));
    println!("{lost} of 1,000 gradients are 0 without scaling, {lost_scaled} with");
    assert!((365..=370).contains(&lost), "{lost}");
    assert_eq!(lost_scaled, 0);
    // 2⁻¹⁴ / 65,536 is below all of them: none is subnormal, each has its 11 bits.
    assert!(error < 0.04, "{error}");
}

/// 10⁴ updates of 10⁻⁴ of the weight's size.
#[test]
fn small_updates_add_up_in_master_weights_and_nowhere_else() {
    let run = |optimizer: ModuleOptimizer, dtype: FloatDType| {
        let mut optimizer = optimizer;
        let mut model = in_f16(&[1.0]);
        let gradient = Tensor::<1>::from_floats([-1.0], &Device::default()).cast(dtype);
        for _ in 0..10_000 {
            let mut gradients = GradientsParams::new();
            gradients.register(model.weight.id, gradient.clone());
            model = optimizer.step(1e-4, model, gradients);
        }
        (model, optimizer)
    };
    let (model, optimizer) = run(MasterWeights::new(sgd()).into(), FloatDType::F32);
    assert_eq!(model.weight.val().dtype(), DType::F16);
    assert!((model.values()[0] - 2.0).abs() < 2e-3, "{:?}", model.values());
    let master = with_master_weights(model, optimizer.to_record());
    assert_eq!(master.weight.val().dtype(), DType::F32);
    assert!((master.values()[0] - 2.0).abs() < 1e-3, "{:?}", master.values());

    let (model, _) = run(sgd().into(), FloatDType::F16);
    assert_eq!(model.values(), [1.0], "1 + 10⁻⁴ is 1 in f16");
}

fn gradients_of(model: &Weight, step: u32) -> GradientsParams {
    let values: Vec<f32> = (0..5).map(|i| ((step * 7 + i * 3) as f32).sin()).collect();
    let mut gradients = GradientsParams::new();
    gradients
        .register(model.weight.id, Tensor::<1>::from_floats(values.as_slice(), &Device::default()));
    gradients
}

const START: [f32; 5] = [1.0, -0.3, 0.02, 5.0, -1e-3];

/// With master weights, any optimizer gives the same result in f16 as in f32, from the same rounded start and with the
/// same gradients.
fn assert_masters_train_as_f32<O: Optimizer>(name: &str, optimizer: O) {
    let mut in_f32 = ModuleOptimizer::from(optimizer.clone());
    let mut expected = to_precision(in_f16(&START), FloatDType::F32);
    let mut half = ModuleOptimizer::from(MasterWeights::new(optimizer.clone()));
    let mut model = in_f16(&START);
    for step in 0..30 {
        let gradients = gradients_of(&expected, step);
        expected = in_f32.step(1e-3, expected, gradients);
        let gradients = gradients_of(&model, step);
        model = half.step(1e-3, model, gradients);
        if step == 14 {
            // Through bytes, like a checkpoint.
            let bytes = half.to_record().into_bytes().unwrap();
            half = ModuleOptimizer::from(MasterWeights::new(optimizer.clone()));
            half = half.from_bytes(bytes).unwrap();
            let record = model.clone().into_record();
            model = in_f16(&START).load_record(record);
            assert_eq!(model.weight.val().dtype(), DType::F16);
        }
    }
    let rounded = to_precision(expected.clone(), FloatDType::F16);
    assert_eq!(model.values(), rounded.values(), "{name}");
    let exported = with_master_weights(model.clone().valid(), half.to_record());
    assert_eq!(exported.values(), expected.values(), "{name}");
    let again = to_precision(exported, FloatDType::F16);
    assert_eq!(again.values(), model.values(), "{name}");
}

#[test]
fn masters_are_saved_loaded_and_exported_for_any_optimizer() {
    assert_masters_train_as_f32("SGD", SgdConfig::new().build());
    let momentum =
        burn::optim::momentum::MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: true };
    assert_masters_train_as_f32("momentum", SgdConfig::new().with_momentum(Some(momentum)).build());
    assert_masters_train_as_f32("AdamW", AdamWConfig::new().with_weight_decay(0.1).build());
    assert_masters_train_as_f32("Adam", AdamConfig::new().build());
    assert_masters_train_as_f32("Lion", LionConfig::new().build());
    assert_masters_train_as_f32("RMSProp", RmsPropConfig::new().build());
    assert_masters_train_as_f32("ours", RateInsideSgd::new(0.9).unwrap());
}

#[derive(Module, Debug)]
struct Normed {
    layer: Linear,
    norm: BatchNorm,
}

impl Normed {
    fn new() -> Self {
        let layer = LinearConfig::new(3, 2).init(&device());
        Self { layer, norm: BatchNormConfig::new(2).init(&device()) }
    }

    /// A batch of 4 in the precision of the weights.
    fn output(&self) -> Tensor<2> {
        let weight = self.layer.weight.val();
        let batch = Tensor::<1>::from_floats(
            [0.1, 0.9, -0.3, 0.7, -0.2, 0.4, -0.8, 0.5, 0.6, 0.3, 0.2, -0.1],
            &weight.device(),
        );
        let batch = batch.reshape([4, 3]).cast(weight.dtype());
        let features = self.layer.forward(batch).cast(self.norm.gamma.val().dtype());
        self.norm.forward(features).cast(FloatDType::F32)
    }

    fn mean(&self) -> Tensor<1> {
        self.norm.running_mean.value_sync()
    }
}

/// Burn shares running statistics among clones, and adds the statistics of a forward pass at the next one.
#[test]
fn batch_norms_are_cast_with_their_statistics_and_others_keep_theirs() {
    let exact = Normed::new();
    exact.output();
    let half = to_precision(exact.clone(), FloatDType::F16);
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(sgd()));
    let mut trained = half;
    for _ in 0..3 {
        let loss = trained.output().square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &trained);
        trained = optimizer.step(0.01, trained, gradients);
        // In mid-run, to get the model in f32.
        let exported = with_master_weights(trained.clone(), optimizer.to_record());
        assert_eq!(exported.mean().dtype(), DType::F32);
        exported.valid().output();
    }
    assert_eq!(trained.mean().dtype(), DType::F16);
    trained.valid().output();
    assert_eq!(exact.mean().dtype(), DType::F32, "its clone was cast, not it");
    exact.output();
}

/// Weights loaded in mid-run continue training.
#[test]
fn a_weight_that_was_changed_outside_is_taken_as_it_is() {
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(sgd()));
    let mut model = in_f16(&START);
    for step in 0..3 {
        let gradients = gradients_of(&model, step);
        model = optimizer.step(1e-5, model, gradients);
    }
    struct Set;
    impl ModuleMapper for Set {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let values =
                    Tensor::<1>::from_floats([3.0, -0.3, 0.02, 5.0, -1e-3], &Device::default());
                let values = values.cast(FloatDType::F16).reshape(tensor.dims());
                Tensor::from_inner(values).require_grad()
            })
        }
    }
    let gradients = gradients_of(&model, 3);
    let model = optimizer.step(0.0, model.map(&mut Set), gradients);
    assert_eq!(model.values()[0], 3.0);
}

/// Once in each update, by the scale of that update.
#[test]
fn gradients_are_unscaled_once() {
    let scaling = LossScaling::new().scale(1_024.0).growth_interval(1);
    let mut training = in_a_loop(&[2.0], 0.5, scaling);
    for (number, weight) in [0.5, -1.0, -2.5].into_iter().enumerate() {
        pass(&mut training, &[3.0]);
        let updated = training.update().unwrap();
        assert_eq!(updated.loss_scale, Some(f64::from(1_024 << number)));
        let seen = training.observation();
        assert_eq!((seen.gradient_norm, seen.overflow), (Some(3.0), false));
        assert_eq!(training.model().values(), [weight]);
    }
}

#[test]
fn clipping_comes_after_unscaling() {
    let scaling = LossScaling::fixed(1_024.0);
    let builder = scaled(Weight::new(&[0.0, 0.0]), sgd(), 1.0, FloatDType::F16, scaling);
    let mut training = builder.clip_global_norm(2.5).build_loop().unwrap();
    pass(&mut training, &[3.0, -4.0]);
    training.update().unwrap();
    assert_eq!(training.observation().gradient_norm, Some(5.0));
    for (found, expected) in training.model().values().into_iter().zip([-1.5, 2.0]) {
        assert!((found - expected).abs() < 1e-3, "{found}, not {expected}");
    }
    // A smaller one is left alone.
    pass(&mut training, &[-1.5, 2.0]);
    training.update().unwrap();
    for found in training.model().values() {
        assert!(found.abs() < 2e-3, "{found}");
    }
}

/// 1,024 · 32 fits in f16, but three times that does not; and in bf16, 256 + 1 is 256.
#[test]
fn passes_are_summed_in_f32_under_one_scale() {
    let mut training = in_a_loop(&[0.0], 1.0, LossScaling::new().scale(1_024.0).growth_interval(1));
    for _ in 0..3 {
        pass(&mut training, &[32.0]);
    }
    let updated = training.update().unwrap();
    assert_eq!((updated.skipped, updated.loss_scale), (None, Some(1_024.0)));
    assert_eq!(training.observation().batches, Some(3));
    assert_eq!(training.model().values(), [-96.0]);
    assert_eq!(scale(&training), 2_048.0);
    // The sum is gone.
    pass(&mut training, &[-16.0]);
    training.update().unwrap();
    assert_eq!(training.model().values(), [-80.0]);

    let run = RunLength::updates(10);
    let mut training = LearnerBuilder::new(Weight::new(&[0.0]), sgd(), constant(1.0))
        .run(run)
        .half_precision(HalfPrecision::bf16())
        .build_loop()
        .unwrap();
    for gradient in std::iter::once(256.0).chain([1.0; 64]) {
        pass(&mut training, &[gradient]);
    }
    training.update().unwrap();
    assert_eq!(training.model().values(), [-320.0]);
}

#[derive(Module, Debug)]
struct Pair {
    encoder: Weight,
    head: Weight,
}

/// An encoder and a head with an optimizer each, in one model; one part overflows.
#[test]
fn two_optimizers_of_one_model_are_skipped_together_and_unscaled_once() {
    for (gradients, scale_after) in
        [([3.0, 5.0], 1_024.0), ([3.0, 70.0], 512.0), ([70.0, 5.0], 512.0)]
    {
        let model = Pair { encoder: Weight::new(&[2.0]), head: Weight::new(&[2.0]) };
        let scaling = LossScaling::new().scale(1_024.0);
        let mut training = scaled(model, sgd(), 0.5, FloatDType::F16, scaling)
            .optimizer_for(Selection::regex("head"), with_momentum())
            .build_loop()
            .unwrap();
        let mut update = |gradients: [f32; 2]| {
            let [encoder, head] = gradients;
            pass_of_pair(&mut training, encoder, Some(head));
            let updated = training.update().unwrap();
            let model = training.model();
            let weights = [&model.encoder, &model.head].map(|weight| weight.values()[0]);
            (weights, updated.skipped.is_some(), scale(&training))
        };
        let skipped = scale_after == 512.0;
        let weights = if skipped { [2.0, 2.0] } else { [0.5, -0.5] };
        assert_eq!(update(gradients), (weights, skipped, scale_after), "{gradients:?}");
        // The velocity of the head is 0.9 · 5 + 5 after two updates, and 5 after one.
        let weights = if skipped { [0.5, -0.5] } else { [-1.0, -5.25] };
        assert_eq!(update([3.0, 5.0]), (weights, false, scale_after), "{gradients:?}");
    }
}

/// A norm in half precision with its statistics, which no optimizer updates.
#[test]
fn running_statistics_of_a_loop_are_those_that_were_trained() {
    let scaling = LossScaling::new().scale(64.0);
    let builder = scaled(Normed::new(), sgd(), 0.01, FloatDType::F16, scaling);
    let mut training = builder.build_loop().unwrap();
    for _ in 0..3 {
        training.pass(|model| {
            let loss = model.output().square().mean();
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        training.update().unwrap();
    }
    let mean = |model: &Normed| -> Vec<f32> { model.mean().into_data().iter().collect() };
    let trained = mean(training.model());
    assert!(trained.iter().any(|mean| mean.abs() > 1e-3), "{trained:?}");
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    assert_eq!(mean(&saved.load_in_f32(Normed::new()).unwrap()), trained);
}

/// Weights given to a loop after it was built; one of them never trains.
#[test]
fn a_weight_that_was_changed_outside_is_the_one_that_is_exported() {
    let model = Pair { encoder: Weight::new(&[0.1]), head: Weight::new(&[0.1]) };
    let scaling = LossScaling::new().scale(64.0);
    let groups = GroupsConfig::new()
        .group(Group::new("head", "head").frozen())
        .group(Group::rest("encoder"));
    let builder = scaled(model, sgd(), 0.5, FloatDType::F16, scaling).groups(groups);
    let mut training = builder.build_loop().unwrap();
    training.map_model(|model| {
        let set = |weight: Weight| Weight {
            weight: weight.weight.map(|old| {
                let device = Device::default();
                let new = Tensor::<1>::from_floats([3.0], &device).cast(FloatDType::F16);
                Tensor::from_inner(new).set_require_grad(old.is_require_grad())
            }),
        };
        Pair { encoder: set(model.encoder), head: set(model.head) }
    });
    pass_of_pair(&mut training, 2.0, None);
    training.update().unwrap();
    let model = training.model();
    assert_eq!([model.encoder.values(), model.head.values()], [[2.0], [3.0]]);
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let empty = Pair { encoder: Weight::new(&[0.0]), head: Weight::new(&[0.0]) };
    let exported = saved.load_in_f32(empty).unwrap();
    assert_eq!([exported.encoder.values(), exported.head.values()], [[2.0], [3.0]]);
}

/// A variance above 65,504 is infinite in f16.
#[test]
fn a_batch_norm_in_f32_takes_what_one_in_f16_does_not() {
    let normed = || {
        let mut model = Normed::new();
        model.layer.weight = Param::from_tensor(Tensor::from_floats(
            [[400.0, 3.0], [-300.0, 1.0], [500.0, -2.0]],
            &device(),
        ));
        model
    };
    let values = |model: &Normed| -> Vec<f32> { model.output().into_data().iter().collect() };
    let expected = values(&normed());
    let whole = values(&to_precision(normed(), FloatDType::F16));
    assert!(expected[0].abs() > 0.1 && whole[0] == 0.0, "{whole:?}, f32 {expected:?}");

    let mixed = to_precision_except(normed(), FloatDType::F16, &Selection::norms()).unwrap();
    assert_eq!(mixed.layer.weight.val().dtype(), DType::F16);
    assert_eq!(mixed.mean().dtype(), DType::F32);
    for (found, expected) in values(&mixed).iter().zip(&expected) {
        assert!((found - expected).abs() < 2e-3, "{found}, f32 {expected}");
    }
    // f32 weights train together with f16 ones, without a copy.
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(sgd()));
    let gradients = GradientsParams::from_grads(mixed.output().square().mean().backward(), &mixed);
    let trained = optimizer.step(0.1, mixed, gradients);
    assert_eq!(trained.norm.gamma.val().dtype(), DType::F32);
    assert_eq!(with_master_weights(trained, optimizer.to_record()).mean().dtype(), DType::F32);

    let nothing = Selection::regex("layre");
    let error = to_precision_except(normed(), FloatDType::F16, &nothing).unwrap_err().to_string();
    assert!(error.contains("layre") && error.contains("layer"), "{error}");
}

/// A loss of both parts, or of the encoder only.
fn pass_of_pair(training: &mut TrainingLoop<Pair>, encoder: f32, head: Option<f32>) {
    training.pass(|model| {
        let loss = linear_loss(&model.encoder, &[encoder]);
        let loss = match head {
            Some(head) => loss + linear_loss(&model.head, &[head]),
            None => loss,
        };
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    });
}

/// The files that a loop resumes from are deleted two epochs later, and the head trains again only then.
#[test]
fn a_loop_that_was_resumed_needs_the_files_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || {
        let model = Pair { encoder: Weight::new(&[2.0]), head: Weight::new(&[2.0]) };
        let scaling = LossScaling::new().scale(1_024.0);
        scaled(model, with_momentum(), 0.5, FloatDType::F16, scaling)
    };
    let mut training = builder().build_loop().unwrap();
    pass_of_pair(&mut training, 3.0, Some(5.0));
    training.update().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let mut training = builder().resume_from(&saved).build_loop().unwrap();
    for epoch in 2..=4 {
        pass_of_pair(&mut training, 0.0, None);
        training.update().unwrap();
        training.save(folder.path(), epoch).unwrap();
    }
    assert!(Checkpoint::open(folder.path(), 1).is_err());
    pass_of_pair(&mut training, 0.0, Some(5.0));
    training.update().unwrap();
    // −0.5, and half of the velocity 0.9 · 5 + 5.
    assert_eq!(training.model().head.values(), [-5.25]);
}

#[test]
fn a_loss_that_is_not_scaled_is_named() {
    let mut training = in_a_loop(&[2.0], 0.5, LossScaling::new().growth_interval(1));
    training.pass(|model| {
        let loss = linear_loss(model, &[3.0]);
        TrainOutput::new(model, loss.backward(), ())
    });
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::NotScaled), "{error:?}");
    assert!(error.to_string().contains("loss.scaled_backward()"), "{error}");
    assert_eq!((training.model().values(), scale(&training)), (vec![2.0], 65_536.0));
    assert_eq!(training.last_update(), None);

    // It does not continue.
    pass(&mut training, &[3.0]);
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::NotScaled), "{error:?}");
    assert!(matches!(training.failure().as_deref(), Some(UpdateError::NotScaled)));
    assert_eq!((training.model().values(), scale(&training)), (vec![2.0], 65_536.0));
}

/// The losses of a pass must be summed: each call would scale and accumulate separately.
#[test]
fn a_loss_that_is_scaled_twice_is_named() {
    let mut training = in_a_loop(&[2.0], 0.5, LossScaling::new());
    pass(&mut training, &[1e-3]);
    training.pass(|model| {
        let losses = [1e-3, 2e-3].map(|gradient| linear_loss(model, &[gradient]));
        let [one, other] = losses.map(Tensor::scaled_backward);
        drop(one);
        TrainOutput::new(model, other, ())
    });
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::ScaledTwice { calls: 2 }), "{error:?}");
    assert!(error.to_string().contains("the sum of the losses"), "{error}");
    assert_eq!((training.model().values(), scale(&training)), (vec![2.0], 65_536.0));
}

/// Parameters in f32 and in f64, and a loss in f64.
#[test]
fn precisions_may_be_mixed() {
    let model = vec![Weight::new(&[2.0]), to_precision(Weight::new(&[2.0]), FloatDType::F64)];
    let scaling = LossScaling::fixed(1_024.0);
    let builder = scaled(model, sgd(), 0.5, FloatDType::F32, scaling);
    let mut training = builder.clip_global_norm(2.5).build_loop().unwrap();
    training.pass(|model| {
        let [three, four] = [0, 1].map(|i| model[i].weight.val().cast(FloatDType::F64).sum());
        let loss = three * 3.0 + four * 4.0;
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    });
    training.update().unwrap();
    assert_eq!(training.observation().gradient_norm, Some(5.0));
    let model = training.model();
    assert_eq!(model[1].weight.val().dtype(), DType::F64);
    for (weight, gradient) in model.iter().zip([1.5, 2.0]) {
        assert!((weight.values()[0] - (2.0 - 0.5 * gradient)).abs() < 1e-5, "{model:?}");
    }
}

/// Parameters in f16, and some in f32 without a copy.
#[test]
fn what_stays_in_f32_trains_beside_f16() {
    let model = Pair { encoder: Weight::new(&[2.0]), head: Weight::new(&[2.0]) };
    let half = HalfPrecision {
        except: Selection::regex("head"),
        loss_scaling: Some(LossScaling::fixed(1_024.0)),
        ..HalfPrecision::f16()
    };
    let run = RunLength::updates(10);
    let mut training = LearnerBuilder::new(model, sgd(), constant(0.5))
        .run(run)
        .half_precision(half)
        .build_loop()
        .unwrap();
    // 70 · 1,024 is too large for f16, but not for f32.
    for (encoder, head, skipped) in [(3.0, 70.0, false), (70.0, 3.0, true)] {
        pass_of_pair(&mut training, encoder, Some(head));
        assert_eq!(training.update().unwrap().skipped.is_some(), skipped);
    }
    let model = training.model();
    let dtypes = [&model.encoder, &model.head].map(|weight| weight.weight.val().dtype());
    assert_eq!(dtypes, [DType::F16, DType::F32]);
    assert_eq!([model.encoder.values(), model.head.values()], [[0.5], [-33.0]]);
    assert_eq!(state_len(&training), 1, "the copy of the encoder");
}

/// A loss that overflows in the forward pass, with a finite gradient.
#[test]
fn a_loss_that_is_not_finite_is_the_models_fault_whatever_its_gradient_is() {
    let mut training = in_a_loop(&[2.0], 0.5, LossScaling::new().scale(1_024.0).max_failures(2));
    let mut update = || {
        training.pass(|model| {
            let loss = linear_loss(model, &[1e-3]) + f32::INFINITY;
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        let updated = training.update();
        let seen = training.observation();
        assert!(!seen.overflow && seen.gradient_norm.unwrap() < 2e-3, "{seen:?}");
        assert_eq!((training.model().values(), scale(&training)), (vec![2.0], 1_024.0));
        updated
    };
    let skipped = update().unwrap().skipped.unwrap();
    assert!(skipped.contains("the loss is infinite or NaN"), "{skipped}");
    let error = update().unwrap_err();
    assert!(error.to_string().contains("the loss was inf"), "{error}");
    let UpdateError::Controller(stopped) = &*error else { panic!("{error:?}") };
    assert_eq!(
        stopped.stop.downcast_ref(),
        Some(&ScalingError::LossNotFinite { loss: f64::INFINITY, updates: 2 })
    );
}

#[test]
fn a_decay_belongs_inside_of_the_masters() {
    let run = RunLength::updates(10);
    let schedule = constant(0.1).resolve(run).unwrap();
    let decay = WeightDecay::independent(1e-4);
    let masters = MasterWeights::new(SgdConfig::new().build());
    let error = Decayed::new(masters, &decay, &schedule, run).err().unwrap().to_string();
    assert!(error.contains("MasterWeights::new(Decayed::new(…)?)"), "{error}");
}

/// Training in f16 follows training in f32.
fn train(dtype: FloatDType, batches: usize) -> (TinyModel, u64) {
    let model = TinyModel::seeded(7, &device());
    let adam = AdamConfig::new().build();
    let mut training = scaled(model, adam, 0.02, dtype, LossScaling::new()).build_loop().unwrap();
    for update in 0..60 {
        for batch in 0..batches {
            let items: Vec<usize> = (0..12).map(|i| update * 12 + batch * 5 + i).collect();
            training.pass(|model| TrainStep::step(model, points(&items, &device())));
        }
        training.update().unwrap();
    }
    let skipped = training.explain().control.unwrap().skipped;
    (training.into_model(), skipped)
}

fn loss(model: &TinyModel) -> f32 {
    let items: Vec<usize> = (0..60).collect();
    let loss = model.clone().valid().forward(points(&items, &Device::default())).loss;
    loss.into_scalar::<f32>()
}

#[test]
fn a_loop_of_ones_own_trains_in_half_precision() {
    for batches in [1, 3] {
        let (exact, skipped) = train(FloatDType::F32, batches);
        assert_eq!(skipped, 0);
        for dtype in [FloatDType::F16, FloatDType::BF16] {
            let (model, _) = train(dtype, batches);
            assert_eq!(model.head.weight.val().dtype(), DType::from(dtype));
            let (found, expected) = (loss(&model), loss(&exact));
            assert!((found / expected - 1.0).abs() < 0.05, "{dtype:?}: {found}, f32 {expected}");
        }
    }
}

/// A model that is already in f16 still gets master weights in f32.
#[test]
fn a_model_that_is_in_f16_already_trains() {
    let scaling = LossScaling::fixed(1_024.0);
    let builder = scaled(in_f16(&[2.0]), sgd(), 2e-4, FloatDType::F16, scaling);
    let mut training = builder.build_loop().unwrap();
    for _ in 0..4 {
        pass(&mut training, &[0.5]);
        training.update().unwrap();
    }
    // Below 2, f16 has steps of 2⁻¹⁰; 4e-4 is less than half of that.
    assert_eq!(training.model().values(), [2.0]);
    let exact = training.model_in_f32().values()[0];
    assert!((exact - (2.0 - 4e-4)).abs() < 1e-6, "{exact}");
}

/// Epochs need not be consecutive.
#[test]
fn a_loop_keeps_the_last_two_epochs_that_it_saved() {
    let folder = tempfile::tempdir().unwrap();
    let training = in_a_loop(&[1.0], 0.1, LossScaling::new());
    for epoch in [5, 10, 15, 20] {
        training.save(folder.path(), epoch).unwrap();
    }
    let mut files: Vec<String> = std::fs::read_dir(folder.path().join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = ["model-15", "model-20", "optim-15", "optim-20", "scheduler-15", "scheduler-20"];
    assert_eq!(files, expected.map(|name| format!("{name}.bpk")));
}

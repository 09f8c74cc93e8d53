//! Half precision: loss scaling, master weights and the cap on the rate, in real f16.

use anneal_tests::{TinyModel, Weight, points};
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsAccumulator, GradientsParams, LionConfig, ModuleOptimizer,
    Optimizer, RmsPropConfig, SgdConfig,
};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::TrainStep;
use burn_anneal::precision::{
    LossScaling, MasterWeights, ScaledUpdate, ScalingFailure, to_precision, to_precision_except,
    with_master_weights,
};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

fn in_f16(values: &[f32]) -> Weight {
    to_precision(Weight::new(values), FloatDType::F16)
}

/// The gradients of a loss that is linear in the weights, and so has these.
fn linear_loss(model: &Weight, gradient: &[f32]) -> Tensor<1> {
    let gradient = Tensor::<1>::from_floats(gradient, &device()).cast(FloatDType::F16);
    (model.weight.val() * gradient).cast(FloatDType::F32).sum()
}

fn scaler(scaling: LossScaling) -> GradScaler {
    GradScaler::new(scaling).unwrap()
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
    for (gradient, scale, overflows) in
        [(70.0, 1_000.0, true), (60.0, 1_000.0, false), (3.0, 65_536.0, true)]
    {
        let model = in_f16(&[1.0]);
        let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
        let mut scaler = scaler(LossScaling::new().scale(scale));
        let loss = scaler.scale(linear_loss(&model, &[gradient]));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let gradients = scaler.unscale(&model, gradients);
        let model = scaler
            .step(model, gradients, |model, gradients| optimizer.step(0.01, model, gradients));
        let update = scaler.update().unwrap();
        assert_eq!(update == ScaledUpdate::Overflow, overflows, "{gradient} × {scale}");
        assert_eq!(model.values()[0] == 1.0, overflows, "{gradient} × {scale}");
        assert_eq!(scaler.current_scale(), if overflows { scale / 2.0 } else { scale });
        assert_eq!(optimizer.to_record().len(), usize::from(!overflows), "its state is new");
    }
}

/// Forty parameters in twenty layers, of which one entry of one gradient is NaN or infinite.
#[test]
fn one_bad_number_in_one_parameter_of_many_is_caught() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for dtype in [FloatDType::F16, FloatDType::BF16, FloatDType::F32] {
            let layers: Vec<Linear> =
                (0..20).map(|_| LinearConfig::new(3, 3).init(&device())).collect();
            let model = to_precision(layers, dtype);
            let gradients = |bad: f32| {
                let mut gradients = GradientsParams::new();
                for (i, layer) in model.iter().enumerate() {
                    let mut values = [0.5f32; 9];
                    if i == 13 {
                        values[4] = bad;
                    }
                    let weight = Tensor::<1>::from_floats(values, &Device::default());
                    let weight = weight.reshape([3, 3]).cast(dtype);
                    gradients.register(layer.weight.id, weight);
                    let bias = Tensor::<1>::ones([3], &Device::default()).cast(dtype);
                    gradients.register(layer.bias.as_ref().unwrap().id, bias);
                }
                gradients
            };
            for (value, skipped) in [(bad, true), (0.5, false)] {
                let mut scaler = scaler(LossScaling::fixed(2.0));
                scaler.scale(Tensor::<1>::zeros([1], &device()));
                let unscaled = scaler.unscale(&model, gradients(value));
                let mut done = false;
                scaler.step(model.clone(), unscaled, |model, _| {
                    done = true;
                    model
                });
                assert_eq!(done, !skipped, "{value} in {dtype:?}");
                assert_eq!(scaler.update().unwrap().is_skipped(), skipped);
            }
        }
    }
}

/// Gradients of 10⁻⁹ to 10⁻⁵ of which f16 has those above 6e-8.
#[test]
fn scaling_keeps_small_gradients_from_becoming_zero() {
    let gradients: Vec<f32> =
        (0..1_000).map(|i| 10f32.powf(-9.0 + 4.0 * i as f32 / 999.0)).collect();
    let zeros = |scale: f64| {
        let model = to_precision(Weight::new(&vec![1.0; 1_000]), FloatDType::F16);
        let mut scaler = scaler(LossScaling::fixed(scale));
        // The factors are f32, the gradient that goes back through the cast is f16.
        let factors = Tensor::<1>::from_floats(gradients.as_slice(), &device());
        let loss = scaler.scale((model.weight.val().cast(FloatDType::F32) * factors).sum());
        let found = GradientsParams::from_grads(loss.backward(), &model);
        let found = scaler.unscale(&model, found).get::<1>(model.weight.id).unwrap();
        assert_eq!(found.dtype(), DType::F32);
        let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
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
    let sgd = || SgdConfig::new().build();
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

/// With master weights any optimizer does in f16 what it does in f32, from the same rounded start, when the
/// gradients are the same.
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
            // Through bytes, as a checkpoint.
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

/// Burn shares running statistics among clones, and adds what a forward pass saw at the next one.
#[test]
fn batch_norms_are_cast_with_their_statistics_and_others_keep_theirs() {
    let exact = Normed::new();
    exact.output();
    let half = to_precision(exact.clone(), FloatDType::F16);
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
    let mut trained = half;
    for _ in 0..3 {
        let loss = trained.output().square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &trained);
        trained = optimizer.step(0.01, trained, gradients);
        // In mid-run, for a look at the model in f32.
        let exported = with_master_weights(trained.clone(), optimizer.to_record());
        assert_eq!(exported.mean().dtype(), DType::F32);
        exported.valid().output();
    }
    assert_eq!(trained.mean().dtype(), DType::F16);
    trained.valid().output();
    assert_eq!(exact.mean().dtype(), DType::F32, "its clone was cast, not it");
    exact.output();
}

/// Weights that somebody loads in mid-run are the ones that train on.
#[test]
fn a_weight_that_was_changed_outside_is_taken_as_it_is() {
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
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

/// As torch's: a step without an unscale does both.
#[test]
fn a_step_unscales_what_nobody_did() {
    let mut scaler = scaler(LossScaling::fixed(1_024.0));
    for unscaled_by_hand in [true, false, true] {
        let model = in_f16(&[2.0]);
        let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
        let loss = scaler.scale(linear_loss(&model, &[3.0]));
        let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
        if unscaled_by_hand {
            gradients = scaler.unscale(&model, gradients);
        }
        let model =
            scaler.step(model, gradients, |model, gradients| optimizer.step(0.5, model, gradients));
        scaler.update().unwrap();
        assert_eq!(scaler.seen().gradient_norm, Some(3.0));
        assert_eq!(model.values(), [0.5]);
    }
}

/// As in torch: two models, each with an optimizer, of which one overflows.
#[test]
fn two_models_are_unscaled_each_once_and_share_the_scale() {
    for (gradients, weights, scale) in [
        ([3.0, 5.0], [0.5, -0.5], 1_024.0),
        ([3.0, 70.0], [0.5, 2.0], 512.0),
        ([70.0, 5.0], [2.0, -0.5], 512.0),
    ] {
        let mut scaler = scaler(LossScaling::new().scale(1_024.0));
        let models = [in_f16(&[2.0]), in_f16(&[2.0])];
        let unscaled: Vec<_> = models
            .iter()
            .zip(gradients)
            .map(|(model, gradient)| {
                let loss = scaler.scale(linear_loss(model, &[gradient]));
                scaler.unscale(model, GradientsParams::from_grads(loss.backward(), model))
            })
            .collect();
        let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
        let found: Vec<f32> = models
            .into_iter()
            .zip(unscaled)
            .map(|(model, gradients)| {
                let step = |model, gradients| optimizer.step(0.5, model, gradients);
                scaler.step(model, gradients, step).values()[0]
            })
            .collect();
        let update = scaler.update().unwrap();
        assert_eq!((found, scaler.current_scale()), (weights.to_vec(), scale), "{gradients:?}");
        assert_eq!(update.is_skipped(), scale == 512.0);
    }
}

/// As in torch: an encoder and a head with an optimizer each, in one model.
#[test]
fn two_optimizers_of_one_model_are_unscaled_each_once() {
    let layers = || vec![Weight::new(&[2.0]), Weight::new(&[2.0])];
    for unscaled_by_hand in [[true, true], [true, false], [false, true], [false, false]] {
        let mut scaler = scaler(LossScaling::fixed(1_024.0));
        let mut model = to_precision(layers(), FloatDType::F16);
        let loss = linear_loss(&model[0], &[1.0]) + linear_loss(&model[1], &[3.0]);
        let mut all = scaler.scale(loss).backward();
        let of = [model[0].weight.id, model[1].weight.id]
            .map(|id| GradientsParams::from_params(&mut all, &model, &[id]));
        let both = of.into_iter().zip(unscaled_by_hand).map(|(gradients, unscale)| match unscale {
            true => scaler.unscale(&model, gradients),
            false => gradients,
        });
        for gradients in both.collect::<Vec<_>>() {
            let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
            let step = |model, gradients| optimizer.step(0.5, model, gradients);
            model = scaler.step(model, gradients, step);
        }
        scaler.update().unwrap();
        assert_eq!([model[0].values(), model[1].values()], [[1.5], [0.5]], "{unscaled_by_hand:?}");
    }
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
    // f32 weights train beside f16 ones, without a copy.
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
    let gradients = GradientsParams::from_grads(mixed.output().square().mean().backward(), &mixed);
    let trained = optimizer.step(0.1, mixed, gradients);
    assert_eq!(trained.norm.gamma.val().dtype(), DType::F32);
    assert_eq!(with_master_weights(trained, optimizer.to_record()).mean().dtype(), DType::F32);

    let nothing = Selection::path("layre");
    let error = to_precision_except(normed(), FloatDType::F16, &nothing).unwrap_err().to_string();
    assert!(error.contains("layre") && error.contains("layer"), "{error}");
}

#[test]
fn what_is_left_out_of_a_loop_is_named() {
    let mut scaler = scaler(LossScaling::new().growth_interval(1));
    let model = in_f16(&[2.0]);
    let gradients = || GradientsParams::from_grads(linear_loss(&model, &[3.0]).backward(), &model);
    let as_it_was = |_, _| panic!("nothing is updated");
    scaler.step(model.clone(), gradients(), as_it_was);
    let error = scaler.update().unwrap_err();
    assert_eq!(error, ScalingFailure::NotScaled);
    assert!(error.to_string().contains("scaler.scale(loss).backward()"), "{error}");
    assert_eq!(scaler.update(), Err(ScalingFailure::NotStepped));
    assert_eq!(scaler.current_scale(), 65_536.0);
}

/// Parameters in f32 beside some in f64, and a loss in f64.
#[test]
fn precisions_may_be_mixed() {
    let model = vec![Weight::new(&[2.0]), to_precision(Weight::new(&[2.0]), FloatDType::F64)];
    let mut scaler =
        scaler(LossScaling::fixed(1_024.0)).clip_global_norm(GlobalNormClip::new(2.5).unwrap());
    let losses = [0, 1].map(|i| model[i].weight.val().cast(FloatDType::F64).sum());
    let [three, four] = losses;
    let loss = scaler.scale(three * 3.0 + four * 4.0);
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
    let step = |model, gradients| optimizer.step(0.5, model, gradients);
    let model = scaler.step(model, gradients, step);
    scaler.update().unwrap();
    assert_eq!(scaler.seen().gradient_norm, Some(5.0));
    for (weight, gradient) in model.iter().zip([1.5, 2.0]) {
        assert!((weight.values()[0] - (2.0 - 0.5 * gradient)).abs() < 1e-5, "{model:?}");
    }
}

/// A loss that overflowed in the forward pass, of which the gradient is finite.
#[test]
fn a_loss_that_is_not_finite_is_the_models_fault_whatever_its_gradient_is() {
    let mut scaler = scaler(LossScaling::new().scale(1_024.0).max_failures(2));
    let model = in_f16(&[2.0]);
    let mut update = || {
        let loss = scaler.scale(linear_loss(&model, &[1e-3]) + f32::INFINITY);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        scaler.step(model.clone(), gradients, |_, _| panic!("nothing is updated"));
        assert!(!scaler.seen().overflow);
        scaler.update()
    };
    assert_eq!(update(), Ok(ScaledUpdate::LossNotFinite));
    assert!(update().unwrap_err().to_string().contains("the loss was inf"));
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

/// Scaled, unscaled and stepped by hand, training in f16 follows that in f32.
fn train_by_hand(dtype: Option<FloatDType>, batches: usize) -> (TinyModel, u64) {
    let model = TinyModel::seeded(7, &device());
    let mut model = match dtype {
        Some(dtype) => to_precision(model, dtype),
        None => model,
    };
    let mut optimizer = ModuleOptimizer::from(MasterWeights::new(AdamConfig::new().build()));
    let mut scaler = scaler(LossScaling::new());
    for update in 0..60 {
        let mut sum = GradientsAccumulator::new();
        for batch in 0..batches {
            let items: Vec<usize> = (0..12).map(|i| update * 12 + batch * 5 + i).collect();
            let loss = model.forward(points(&items, &device())).loss;
            let gradients = GradientsParams::from_grads(scaler.scale(loss).backward(), &model);
            sum.accumulate(&model, scaler.unscale(&model, gradients));
        }
        model = scaler
            .step(model, sum.grads(), |model, gradients| optimizer.step(0.02, model, gradients));
        scaler.update().unwrap();
    }
    (model, scaler.state().skipped)
}

fn loss(model: &TinyModel) -> f32 {
    let items: Vec<usize> = (0..60).collect();
    let loss = model.clone().valid().forward(points(&items, &Device::default())).loss;
    loss.into_scalar::<f32>()
}

#[test]
fn a_loop_of_ones_own_trains_in_half_precision() {
    for batches in [1, 3] {
        let (exact, skipped) = train_by_hand(None, batches);
        assert_eq!(skipped, 0);
        for dtype in [FloatDType::F16, FloatDType::BF16] {
            let (model, _) = train_by_hand(Some(dtype), batches);
            let (found, expected) = (loss(&model), loss(&exact));
            assert!((found / expected - 1.0).abs() < 0.05, "{dtype:?}: {found}, f32 {expected}");
        }
    }
}

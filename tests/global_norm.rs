//! Clipping by the global norm, compared with numbers computed by hand.

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, MultiGradientsParams, SgdConfig};
use burn::tensor::{Device, FloatDType, Tensor};
use burn::train::{InferenceStep, Interrupter, ItemLazy, TrainOutput, TrainStep};
use burn_anneal::prelude::*;

/// One parameter of each of three ranks.
#[derive(Module, Debug)]
struct Weights {
    vector: Param<Tensor<1>>,
    matrix: Param<Tensor<2>>,
    cube: Param<Tensor<3>>,
}

/// Nothing to report.
struct Done;

impl ItemLazy for Done {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        Ok(self)
    }
}

impl TrainStep for Weights {
    type Input = ();
    type Output = Done;

    fn step(&self, (): ()) -> TrainOutput<Done> {
        TrainOutput { grads: gradients(self, 1.0), item: Done }
    }
}

impl InferenceStep for Weights {
    type Input = ();
    type Output = Done;

    fn step(&self, (): ()) -> Done {
        Done
    }
}

fn zeros(device: &Device) -> Weights {
    Weights {
        vector: Param::from_tensor(Tensor::zeros([1], device)),
        matrix: Param::from_tensor(Tensor::zeros([1, 2], device)),
        cube: Param::from_tensor(Tensor::zeros([1, 1, 1], device)),
    }
}

/// Gradients (2), (4, 5) and (6) times `scale`: their norm is 9 · scale.
fn gradients(weights: &Weights, scale: f64) -> GradientsParams {
    let device = Device::default();
    let mut gradients = GradientsParams::new();
    gradients.register(weights.vector.id, Tensor::<1>::from_floats([2.0], &device) * scale);
    gradients.register(weights.matrix.id, Tensor::<2>::from_floats([[4.0, 5.0]], &device) * scale);
    gradients.register(weights.cube.id, Tensor::<3>::from_floats([[[6.0]]], &device) * scale);
    gradients
}

fn values(weights: &Weights, gradients: &GradientsParams) -> [f32; 4] {
    let vector = gradients.get::<1>(weights.vector.id).unwrap().into_data();
    let matrix = gradients.get::<2>(weights.matrix.id).unwrap().into_data();
    let cube = gradients.get::<3>(weights.cube.id).unwrap().into_data();
    let all: Vec<f32> =
        vector.iter::<f32>().chain(matrix.iter::<f32>()).chain(cube.iter::<f32>()).collect();
    all.try_into().unwrap()
}

fn assert_close(found: [f32; 4], expected: [f32; 4]) {
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} is not {expected}");
    }
}

fn autodiff() -> Device {
    Device::default().autodiff()
}

#[test]
fn one_norm_scales_every_gradient() {
    let weights = zeros(&autodiff());
    let clipped = GlobalNormClip::new(3.0).unwrap().clip(&weights, gradients(&weights, 1.0));
    assert_close(values(&weights, &clipped.gradients), [2.0 / 3.0, 4.0 / 3.0, 5.0 / 3.0, 2.0]);
    assert_eq!(clipped.norm.unwrap().into_scalar::<f32>(), 9.0);
}

#[test]
fn a_smaller_norm_is_left_alone() {
    let weights = zeros(&autodiff());
    let clipped = GlobalNormClip::new(9.1).unwrap().clip(&weights, gradients(&weights, 1.0));
    assert_eq!(values(&weights, &clipped.gradients), [2.0, 4.0, 5.0, 6.0]);
}

#[test]
fn missing_gradients_stay_missing_and_none_at_all_has_no_norm() {
    let weights = zeros(&autodiff());
    let clip = GlobalNormClip::new(1.0).unwrap();
    let mut some = gradients(&weights, 1.0);
    some.remove::<3>(weights.cube.id).unwrap();
    let clipped = clip.clip(&weights, some);
    assert_eq!(clipped.gradients.len(), 2);
    let norm = clipped.norm.unwrap().into_scalar::<f32>();
    assert!((norm - 45f32.sqrt()).abs() < 1e-6);
    assert!(clip.clip(&weights, GradientsParams::new()).norm.is_none());
}

#[test]
fn a_tied_parameter_counts_once() {
    #[derive(Module, Debug)]
    struct Tied {
        embedding: Param<Tensor<1>>,
        head: Param<Tensor<1>>,
    }
    let embedding = Param::from_tensor(Tensor::zeros([1], &autodiff()));
    let tied = Tied { head: embedding.clone(), embedding };
    let mut gradients = GradientsParams::new();
    gradients.register(tied.head.id, Tensor::<1>::from_floats([8.0], &Device::default()));
    let clipped = GlobalNormClip::new(2.0).unwrap().clip(&tied, gradients);
    assert_eq!(clipped.norm.unwrap().into_scalar::<f32>(), 8.0);
    let gradient = clipped.gradients.get::<1>(tied.embedding.id).unwrap();
    assert!((gradient.into_scalar::<f32>() - 2.0).abs() < 1e-5);
}

#[test]
fn half_precision_is_summed_in_single() {
    let weights = zeros(&autodiff());
    let device = Device::default();
    let mut gradients = GradientsParams::new();
    // 300² overflows f16.
    let half = Tensor::<1>::from_floats([300.0], &device).cast(FloatDType::F16);
    gradients.register(weights.vector.id, half);
    gradients.register(weights.cube.id, Tensor::<3>::from_floats([[[400.0]]], &device));
    let clipped = GlobalNormClip::new(5.0).unwrap().clip(&weights, gradients);
    let half = clipped.gradients.get::<1>(weights.vector.id).unwrap();
    assert_eq!(half.dtype(), FloatDType::F16.into());
    assert!((half.into_scalar::<f32>() - 3.0).abs() < 2e-3);
    let single = clipped.gradients.get::<3>(weights.cube.id).unwrap().into_scalar::<f32>();
    assert!((single - 4.0).abs() < 1e-5);
}

/// The weights after one update of plain SGD at a rate of 1 from zero: the negative gradients.
fn updated(builder: LearnerBuilder<Weights>, devices: usize) -> [f32; 4] {
    let interrupter = Interrupter::new();
    let mut learner = builder.build(interrupter.clone()).unwrap();
    learner.lr_step();
    let gradients = || gradients(learner.model().inner(), 1.0);
    if devices == 1 {
        let grads = gradients();
        learner.optimizer_step(grads);
    } else {
        let grads = (0..devices).map(|_| (gradients(), Device::default())).collect();
        learner.optimizer_step_multi(MultiGradientsParams { grads });
    }
    assert!(!interrupter.should_stop());
    let weights = learner.model().into_inner();
    let all: Vec<f32> = [
        weights.vector.val().into_data(),
        weights.matrix.val().into_data(),
        weights.cube.val().into_data(),
    ]
    .iter()
    .flat_map(|data| data.iter::<f32>().collect::<Vec<_>>())
    .collect();
    all.try_into().unwrap()
}

fn builder(run: RunLength) -> LearnerBuilder<Weights> {
    LearnerBuilder::new(zeros(&autodiff()), SgdConfig::new().build(), constant(1.0)).run(run)
}

#[test]
fn the_builders_learner_clips_each_update() {
    let clipped = builder(RunLength::updates(1)).clip_global_norm(3.0);
    assert_close(updated(clipped, 1), [-2.0 / 3.0, -4.0 / 3.0, -5.0 / 3.0, -2.0]);
}

#[test]
fn the_norm_is_that_of_the_sum_over_devices() {
    // Two devices: gradients of norm 18 in all, clipped to 6.
    let clipped = builder(RunLength::updates(1)).clip_global_norm(6.0);
    assert_close(updated(clipped, 2), [-4.0 / 3.0, -8.0 / 3.0, -10.0 / 3.0, -4.0]);
}

#[test]
fn a_mean_divides_before_it_clips() {
    let run = RunLength::updates(1).gradient_accumulation(2).devices(2);
    let mean = || builder(run).gradient_reduction(GradientReduction::Mean);
    // The sum over two devices has norm 18; over 4 batches the mean has 4.5.
    assert_close(updated(mean().clip_global_norm(5.0), 2), [-1.0, -2.0, -2.5, -3.0]);
    assert_close(updated(mean().clip_global_norm(2.25), 2), [-0.5, -1.0, -1.25, -1.5]);
    assert_close(updated(mean(), 2), [-1.0, -2.0, -2.5, -3.0]);
}

/// Batches that are passed one after the other are summed, also in a custom loop.
#[test]
fn a_loop_clips_the_sum_or_the_mean_of_its_passes() {
    let run = RunLength::updates(1).gradient_accumulation(2);
    let updated = |builder: LearnerBuilder<Weights>| {
        let mut training = builder.build_loop().unwrap();
        for scale in [1.0, 2.0] {
            training.pass(|model| TrainOutput { grads: gradients(model, scale), item: () });
        }
        training.update().unwrap();
        training.into_model().vector.val().into_scalar::<f32>()
    };
    // The sum has norm 27, and the mean 13.5.
    let sum = updated(builder(run).clip_global_norm(9.0));
    assert!((sum + 2.0).abs() < 1e-5, "{sum}");
    let mean = builder(run).gradient_reduction(GradientReduction::Mean);
    let mean = updated(mean.clip_global_norm(4.5));
    assert!((mean + 1.0).abs() < 1e-5, "{mean}");
}

//! Unexpected models, programs and numbers: an update trains like Burn, or the run fails with a reason and unchanged
//! weights.

use anneal_tests::{Quiet, Term, TermModel, TinyModel, flat, points};
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Lora, Module, ModuleMapper, ModuleVisitor, Param, QLora, Quantizer};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{Device, FloatDType, Tensor};
use burn::train::{
    InferenceStep, Interrupter, Learner, LearnerModel, RegressionOutput, SupervisedTraining,
    TrainOutput, TrainStep,
};
use burn_anneal::groups::parameters;
use burn_anneal::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

fn device() -> Device {
    Device::default().autodiff()
}

fn vector(values: &[f32]) -> Param<Tensor<1>> {
    Param::from_tensor(Tensor::from_floats(values, &device()))
}

fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().cast(FloatDType::F32).into_data().iter::<f32>().collect()
}

/// Makes one update of one batch, like Burn's training.
fn update<M: LearnerModel>(learner: &mut Learner<M>, item: <M as TrainStep>::Input) {
    let output = learner.train_step(item);
    learner.lr_step();
    learner.optimizer_step(output.grads);
}

fn output(loss: Tensor<1>) -> RegressionOutput {
    let nothing = loss.clone().unsqueeze_dim::<2>(1);
    RegressionOutput::new(loss, nothing.clone(), nothing)
}

/// A model with its own `loss`, and its own `change` in an update.
macro_rules! trains {
    ($model:ty, $item:ty) => {
        impl TrainStep for $model {
            type Input = $item;
            type Output = RegressionOutput;

            fn step(&self, item: $item) -> TrainOutput<RegressionOutput> {
                let loss = self.loss(item);
                TrainOutput::new(self, loss.clone().scaled_backward(), output(loss))
            }

            fn optimize(
                self,
                optimizer: &mut ModuleOptimizer,
                rates: ModuleLearningRate,
                gradients: GradientsParams,
            ) -> Self {
                self.change(optimizer, rates, gradients)
            }
        }

        impl InferenceStep for $model {
            type Input = $item;
            type Output = RegressionOutput;

            fn step(&self, item: $item) -> RegressionOutput {
                output(self.loss(item))
            }
        }
    };
}

fn scaled() -> LossScaling {
    LossScaling::new().scale(1_024.0)
}

fn f16() -> HalfPrecision {
    HalfPrecision { loss_scaling: Some(scaled()), ..HalfPrecision::f16() }
}

// Models with their own `TrainStep::optimize`.

type Hook = fn(Hooked, &mut ModuleOptimizer, ModuleLearningRate, GradientsParams) -> Hooked;

/// The loss ½ w² + b w of each of two weights, with a custom update; a weight that the loss does not depend on, but
/// that has a gradient; and an average without a gradient.
#[derive(Module, Debug)]
struct Hooked {
    weight: Param<Tensor<1>>,
    flat: Param<Tensor<1>>,
    average: Param<Tensor<1>>,
    #[module(skip)]
    hook: Hook,
}

/// Its initial weights.
const START: [f32; 2] = [1.0, -1.0];
const RATE: f64 = 0.125;
/// The b of all batches.
const SLOPE: f32 = 3.0;

impl Hooked {
    fn new(hook: Hook) -> Self {
        let average = vector(&START).no_grad();
        Self { weight: vector(&START), flat: vector(&[5.0]), average, hook }
    }

    fn loss(&self, slope: f32) -> Tensor<1> {
        let [weight, flat] = [&self.weight, &self.flat].map(|w| w.val().cast(FloatDType::F32));
        (weight.clone().square() * 0.5 + weight * slope).sum() + flat.sum() * 0.0
    }

    fn change(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        (self.hook)(self, optimizer, rates, gradients)
    }
}

trains!(Hooked, f32);

/// A setting of the builder, and its effect on the rate and the decay of `Hooked`.
struct Way {
    name: &'static str,
    ask: fn(LearnerBuilder<Hooked>) -> LearnerBuilder<Hooked>,
    multiple: f32,
    share: f32,
}

fn ways() -> Vec<Way> {
    let way = |name, ask| Way { name, ask, multiple: 1.0, share: 0.0 };
    vec![
        way("plain", |builder| builder),
        way("clip", |builder| builder.clip_global_norm(1e6)),
        Way {
            multiple: 0.5,
            ..way("groups", |builder| {
                builder.groups(GroupsConfig::new().group(Group::rest("all").multiple(0.5)))
            })
        },
        way("no decay", |builder| builder.weight_decay(0.0)),
        way("loss scaling", |builder| builder.loss_scaling(scaled())),
        way("a cap", |builder| {
            builder.loss_scaling(scaled()).overflow_cap(OverflowCap::given(1e-9).limit(1e30))
        }),
        way("bf16", |builder| builder.half_precision(HalfPrecision::bf16())),
        way("f16", |builder| builder.half_precision(f16())),
    ]
}

/// A hook changes only the rate, not the decay.
fn a_decay() -> Way {
    let ask = |builder: LearnerBuilder<Hooked>| builder.weight_decay(0.5);
    Way { name: "a decay", ask, multiple: 1.0, share: RATE as f32 * 0.5 }
}

fn hooked(hook: Hook) -> LearnerBuilder<Hooked> {
    let run = RunLength::updates(100);
    LearnerBuilder::new(Hooked::new(hook), SgdConfig::new().build(), constant(RATE)).run(run)
}

/// Two updates, and the weights after them. All numbers are short enough for bf16.
fn two_updates(way: &Way, hook: Hook) -> Hooked {
    let interrupter = Interrupter::new();
    let mut learner = (way.ask)(hooked(hook)).build(interrupter.clone()).unwrap();
    for _ in 0..2 {
        update(&mut learner, SLOPE);
    }
    let failure = learner.model().failure();
    assert!(failure.is_none() && !interrupter.should_stop(), "{}: {failure:?}", way.name);
    learner.model().into_inner()
}

/// A call of the optimizer, which subtracts a multiple of the gradient.
type Call<'a> = &'a dyn Fn(f32, f32) -> f32;

/// Two updates by hand: the optimizer does w ← (1 − share) w − factor η g with the gradient g = w + b of before the
/// update.
fn by_hand(way: &Way, change: impl Fn(f32, Call<'_>) -> f32) -> [f32; 2] {
    let rate = RATE as f32 * way.multiple;
    START.map(|start| {
        (0..2).fold(start, |before, _| {
            let gradient = before + SLOPE;
            change(before, &|w, factor| (1.0 - way.share) * w - factor * rate * gradient)
        })
    })
}

#[test]
fn a_model_that_halves_the_rate_trains_at_half_the_rate() {
    let halves: Hook =
        |model, optimizer, rates, gradients| optimizer.step(rates.base() * 0.5, model, gradients);
    for way in ways() {
        let expected = by_hand(&way, |w, call| call(w, 0.5));
        assert_eq!(values(&two_updates(&way, halves).weight), expected, "{}", way.name);
    }
}

#[test]
fn a_model_that_calls_the_optimizer_twice_moves_twice() {
    let twice: Hook = |model, optimizer, rates, gradients| {
        let mut copy = GradientsParams::new();
        copy.register(model.weight.id, gradients.get::<1>(model.weight.id).unwrap());
        let model = optimizer.step(rates.clone(), model, gradients);
        optimizer.step(rates, model, copy)
    };
    for way in ways().into_iter().chain([a_decay()]) {
        let expected = by_hand(&way, |w, call| call(call(w, 1.0), 1.0));
        assert_eq!(values(&two_updates(&way, twice).weight), expected, "{}", way.name);
    }
}

#[test]
fn a_model_that_keeps_an_average_keeps_it() {
    let averages: Hook = |model, optimizer, rates, gradients| {
        let mut model = optimizer.step(rates, model, gradients);
        let weight = model.weight.val().inner();
        let mean = |average: Tensor<1>| average.inner() * 0.5 + weight * 0.5;
        model.average = model.average.map(|average| Tensor::from_inner(mean(average))).no_grad();
        model
    };
    for way in ways().into_iter().chain([a_decay()]) {
        let model = two_updates(&way, averages);
        assert_eq!(values(&model.weight), by_hand(&way, |w, call| call(w, 1.0)), "{}", way.name);
        let rate = RATE as f32 * way.multiple;
        let average = START.map(|start| {
            let next = |w: f32| (1.0 - way.share) * w - rate * (w + SLOPE);
            let (first, second) = (next(start), next(next(start)));
            ((start + first) * 0.5 + second) * 0.5
        });
        assert_eq!(values(&model.average), average, "{}", way.name);
    }
}

/// Also if the weight is the rounded copy of an f32 weight.
#[test]
fn a_model_that_clamps_its_weights_has_them_clamped() {
    let clamps: Hook = |model, optimizer, rates, gradients| {
        let mut model = optimizer.step(rates, model, gradients);
        let clamp = |weight: Tensor<1>| Tensor::from_inner(weight.inner().clamp(-0.75, 0.75));
        model.weight = model.weight.map(|weight| clamp(weight).require_grad());
        model
    };
    for way in ways().into_iter().chain([a_decay()]) {
        let expected = by_hand(&way, |w, call| call(w, 1.0).clamp(-0.75, 0.75));
        assert_eq!(values(&two_updates(&way, clamps).weight), expected, "{}", way.name);
    }
}

// Violated assumptions of an update.

/// Serializes tests in which an optimizer runs outside its update.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// On a separate thread.
fn elsewhere(
    model: Hooked,
    optimizer: &mut ModuleOptimizer,
    rates: ModuleLearningRate,
    gradients: GradientsParams,
) -> Hooked {
    let step = || optimizer.step(rates, model, gradients);
    std::thread::scope(|scope| scope.spawn(step).join().unwrap())
}

/// Three updates that fail at the first for the same reason, which the interrupter has as text.
fn fails(way: &Way, hook: Hook) -> Arc<UpdateError> {
    let interrupter = Interrupter::new();
    let mut learner = (way.ask)(hooked(hook)).build(interrupter.clone()).unwrap();
    let before = flat(&learner.model());
    for _ in 0..3 {
        update(&mut learner, SLOPE);
        assert_eq!(flat(&learner.model()), before, "{}", way.name);
        let failure = learner.model().failure().expect(way.name);
        let error = interrupter.error().expect(way.name).to_string();
        assert!(error.ends_with(&failure.to_string()), "{}: {error}", way.name);
        assert!(interrupter.should_stop() && interrupter.interruption().is_none());
    }
    learner.model().failure().unwrap()
}

#[test]
fn an_optimizer_on_another_thread_fails_the_run() {
    let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for way in ways().into_iter().chain([a_decay()]) {
        let failure = fails(&way, elsewhere);
        assert!(
            matches!(*failure, UpdateError::NoContext { reached: 0, gradients: 2 }),
            "{}: {failure}",
            way.name
        );
    }
}

#[test]
fn an_update_that_calls_no_optimizer_fails_the_run() {
    let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for way in ways().into_iter().chain([a_decay()]) {
        let failure = fails(&way, |model, _, _, _| model);
        assert!(
            matches!(*failure, UpdateError::NothingReached { gradients: 2 }),
            "{}: {failure}",
            way.name
        );
    }
}

/// A model may omit a parameter from its update, whatever fails in other runs of the program.
#[test]
fn what_misses_its_update_is_no_failure_of_another_run() {
    let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let partly: Hook = |model, optimizer, rates, mut gradients| {
        gradients.remove::<1>(model.flat.id).unwrap();
        optimizer.step(rates, model, gradients)
    };
    let partly_while_another_fails: Hook = |model, optimizer, rates, mut gradients| {
        let plain = Way { name: "another", ask: |builder| builder, multiple: 1.0, share: 0.0 };
        std::thread::scope(|scope| scope.spawn(|| fails(&plain, elsewhere)).join().unwrap());
        gradients.remove::<1>(model.flat.id).unwrap();
        optimizer.step(rates, model, gradients)
    };
    for way in ways() {
        let expected = by_hand(&way, |w, call| call(w, 1.0));
        for hook in [partly, partly_while_another_fails] {
            assert_eq!(values(&two_updates(&way, hook).weight), expected, "{}", way.name);
        }
    }
}

#[derive(Clone)]
struct Slopes;

impl Batcher<usize, f32> for Slopes {
    fn batch(&self, _items: Vec<usize>, _device: &Device) -> f32 {
        SLOPE
    }
}

fn slopes(batches: usize) -> Arc<dyn DataLoader<f32>> {
    let data = InMemDataset::new((0..batches).collect());
    DataLoaderBuilder::new(Slopes).batch_size(1).num_workers(0).build(data)
}

#[test]
fn burns_training_ends_with_the_error() {
    let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), slopes(10), slopes(2))
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None);
    let learner = hooked(elsewhere).build(training.interrupter()).unwrap();
    let before = flat(&learner.model());
    let result = training.launch(learner);
    let failure = result.model.failure().unwrap();
    assert!(matches!(*failure, UpdateError::NoContext { .. }), "{failure}");
    let error = result.error.unwrap().to_string();
    assert!(error.ends_with(&failure.to_string()), "{error}");
    assert!(result.interrupted.is_none());
    assert_eq!(flat(&result.model), before);
}

#[test]
fn a_rate_in_the_place_of_zero_fails_the_run() {
    let hook: Hook = |model, optimizer, _, gradients| optimizer.step(0.5, model, gradients);
    let run = RunLength::updates(100);
    let optimizer = SgdConfig::new().build();
    let interrupter = Interrupter::new();
    let mut learner = LearnerBuilder::new(Hooked::new(hook), optimizer, linear(0.0, 0.1))
        .run(run)
        .build(interrupter.clone())
        .unwrap();
    let before = flat(&learner.model());
    update(&mut learner, SLOPE);
    let failure = learner.model().failure().unwrap();
    assert!(matches!(*failure, UpdateError::RateForZero { rate: 0.5 }), "{failure}");
    assert!(interrupter.error().unwrap().to_string().ends_with(&failure.to_string()));
    assert_eq!(flat(&learner.model()), before);
}

/// A model that is still in training; after `train()` it is only the bare model.
#[test]
fn the_model_of_one_run_fails_in_a_learner_of_burns_own() {
    let plain: Hook = |model, optimizer, rates, gradients| optimizer.step(rates, model, gradients);
    let interrupter = Interrupter::new();
    let first = hooked(plain).build(interrupter.clone()).unwrap();
    let mut learner = Learner::new(first.model(), SgdConfig::new().init(), 0.1);
    let before = flat(&learner.model());
    update(&mut learner, SLOPE);
    let failure = learner.model().failure().unwrap();
    assert!(matches!(*failure, UpdateError::Foreign), "{failure}");
    assert!(interrupter.error().unwrap().to_string().ends_with(&failure.to_string()));
    assert_eq!(flat(&learner.model()), before);
}

/// A weight that is forgotten in the loss.
#[derive(Module, Debug)]
struct Forgetful {
    used: Param<Tensor<1>>,
    forgotten: Param<Tensor<1>>,
}

impl Forgetful {
    fn new() -> Self {
        Self { used: vector(&[1.0]), forgotten: vector(&[2.0]) }
    }

    fn loss(&self, slope: f32) -> Tensor<1> {
        (self.used.val() * slope).sum()
    }

    fn change(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        optimizer.step(rates, self, gradients)
    }
}

trains!(Forgetful, f32);

/// "The weights are as they were before the update", says `UpdateError`.
#[test]
fn a_weight_that_gets_no_gradient_fails_the_run_before_the_update_is_made() {
    let builder = || {
        let run = RunLength::updates(100);
        LearnerBuilder::new(Forgetful::new(), SgdConfig::new().build(), constant(0.25))
            .run(run)
            .expect_gradients_within(3)
    };
    let fits = |failure: &UpdateError| {
        let UpdateError::NoGradient { paths, updates: 3 } = failure else {
            panic!("{failure}");
        };
        assert_eq!(paths, &["forgotten"]);
    };
    // Two updates move the weight by 0.25 each.
    let interrupter = Interrupter::new();
    let mut learner = builder().build(interrupter.clone()).unwrap();
    for number in 0..5 {
        update(&mut learner, 1.0);
        assert_eq!(learner.model().failure().is_some(), number >= 2);
    }
    fits(&learner.model().failure().unwrap());
    assert!(interrupter.error().is_some());
    assert_eq!(flat(&learner.model()), [0.5, 2.0]);

    let mut training = builder().build_loop().unwrap();
    let results = [(); 3].map(|()| {
        training.pass(|model| TrainStep::step(model, 1.0));
        training.update()
    });
    assert!(results[0].is_ok() && results[1].is_ok());
    fits(results[2].as_ref().unwrap_err());
    assert_eq!(flat(training.model()), [0.5, 2.0]);
}

// Losses that are not scaled exactly once per pass.

/// What a pass does with its two losses, each with the gradient b.
#[derive(Clone, Copy, Debug)]
enum Losses {
    Sum,
    NoneScaled,
    BothScaled,
    ScaledElsewhere,
    NothingToLearn,
}

#[derive(Module, Debug)]
struct Pair {
    weight: Param<Tensor<1>>,
    #[module(skip)]
    losses: Losses,
}

impl TrainStep for Pair {
    type Input = f32;
    type Output = RegressionOutput;

    fn step(&self, slope: f32) -> TrainOutput<RegressionOutput> {
        let loss = || (self.weight.val() * slope).sum();
        let gradients = |of: [burn::tensor::Gradients; 2]| {
            let [one, other] = of.map(|gradients| {
                let mut gradients = GradientsParams::from_grads(gradients, self);
                gradients.remove::<1>(self.weight.id).unwrap()
            });
            let mut sum = GradientsParams::new();
            sum.register(self.weight.id, one + other);
            sum
        };
        let grads = match self.losses {
            Losses::Sum => {
                let sum = loss() + loss();
                GradientsParams::from_grads(sum.scaled_backward(), self)
            }
            Losses::NoneScaled => gradients([loss().backward(), loss().backward()]),
            Losses::BothScaled => gradients([loss().scaled_backward(), loss().scaled_backward()]),
            Losses::ScaledElsewhere => {
                let backward = || (loss() + loss()).scaled_backward();
                let found = std::thread::scope(|scope| scope.spawn(backward).join().unwrap());
                GradientsParams::from_grads(found, self)
            }
            Losses::NothingToLearn => GradientsParams::new(),
        };
        TrainOutput { grads, item: output(loss()) }
    }
}

impl InferenceStep for Pair {
    type Input = f32;
    type Output = RegressionOutput;

    fn step(&self, slope: f32) -> RegressionOutput {
        output((self.weight.val() * slope).sum())
    }
}

#[test]
fn a_loss_that_is_not_scaled_once_fails_the_run() {
    for losses in [
        Losses::Sum,
        Losses::NoneScaled,
        Losses::BothScaled,
        Losses::ScaledElsewhere,
        Losses::NothingToLearn,
    ] {
        let interrupter = Interrupter::new();
        let model = Pair { weight: vector(&[0.0]), losses };
        let run = RunLength::updates(10);
        let mut learner = LearnerBuilder::new(model, SgdConfig::new().build(), constant(1.0))
            .run(run)
            .loss_scaling(scaled())
            .build(interrupter.clone())
            .unwrap();
        update(&mut learner, 1.0);
        let failure = learner.model().failure();
        let weight = flat(&learner.model())[0];
        match losses {
            Losses::Sum => assert!(failure.is_none() && weight == -2.0, "{failure:?} {weight}"),
            // Such a batch must not stop the run.
            Losses::NothingToLearn => {
                assert!(failure.is_none() && weight == 0.0, "{failure:?} {weight}");
            }
            _ => {
                let failure = failure.unwrap_or_else(|| panic!("{losses:?}"));
                let fits = match losses {
                    Losses::BothScaled => {
                        matches!(*failure, UpdateError::ScaledTwice { calls: 2 })
                    }
                    _ => matches!(*failure, UpdateError::NotScaled),
                };
                assert!(fits, "{losses:?}: {failure}");
                let error = interrupter.error().unwrap().to_string();
                assert!(error.ends_with(&failure.to_string()), "{error}");
                assert_eq!(weight, 0.0);
            }
        }
    }
}

// Learners that are nested, concurrent, and cloned.

/// Trains another model in the middle of its own pass, and of its own update.
#[derive(Module, Debug)]
struct Host {
    weight: Param<Tensor<1>>,
    #[module(skip)]
    guest: Option<Ask>,
}

type Ask = fn(LearnerBuilder<Host>) -> LearnerBuilder<Host>;

impl Host {
    fn loss(&self, slope: f32) -> Tensor<1> {
        let weight = self.weight.val().cast(FloatDType::F32);
        let loss = (weight.clone().square() * 0.5 + weight * slope).sum();
        self.train_guest();
        loss
    }

    fn change(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        self.train_guest();
        let model = optimizer.step(rates, self, gradients);
        model.train_guest();
        model
    }

    fn train_guest(&self) {
        if let Some(ask) = self.guest {
            assert_eq!(host(ask, None), ALONE);
        }
    }
}

trains!(Host, f32);

/// w ← w − ½ (w + 1), from 1, twice.
const ALONE: [f32; 1] = [-0.5];

fn host(ask: Ask, guest: Option<Ask>) -> Vec<f32> {
    let model = Host { weight: vector(&[1.0]), guest };
    let run = RunLength::updates(10);
    let builder = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.5)).run(run);
    let mut learner = ask(builder).build(Interrupter::new()).unwrap();
    for _ in 0..2 {
        update(&mut learner, 1.0);
    }
    assert!(learner.model().failure().is_none(), "{:?}", learner.model().failure());
    flat(&learner.model())
}

#[test]
fn a_learner_inside_the_pass_and_the_update_of_another_trains_as_alone() {
    let asks: [Ask; 5] = [
        |builder| builder,
        |builder| builder.loss_scaling(scaled()),
        |builder| builder.half_precision(f16()),
        |builder| builder.groups(GroupsConfig::new()).clip_global_norm(1e6),
        |builder| builder.loss_scaling(scaled()).overflow_cap(OverflowCap::given(1e-9).limit(1e30)),
    ];
    for (outer, inner) in (0..25).map(|i| (i / 5, i % 5)) {
        assert_eq!(host(asks[outer], None), ALONE);
        assert_eq!(host(asks[outer], Some(asks[inner])), ALONE, "{inner} in {outer}");
    }
}

/// Matrices that are large enough for `flex` to multiply in rayon's pool, whose threads do other work while they wait.
#[derive(Module, Debug)]
struct Wide {
    weight: Param<Tensor<2>>,
}

const WIDTH: usize = 200;

impl Wide {
    fn new(seed: usize) -> Self {
        let entry = |i: usize| ((i * 7 + seed) as f32).sin() * 0.02;
        let entries: Vec<f32> = (0..WIDTH * WIDTH).map(entry).collect();
        let weight = Tensor::<1>::from_floats(entries.as_slice(), &device());
        Self { weight: Param::from_tensor(weight.reshape([WIDTH, WIDTH])) }
    }

    fn loss(&self, factor: f32) -> Tensor<1> {
        let weight = || self.weight.val();
        (weight().matmul(weight()).matmul(weight()) * factor).square().mean()
    }

    fn change(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        optimizer.step(rates, self, gradients)
    }
}

trains!(Wide, f32);

#[test]
fn a_sweep_in_rayons_pool_trains_each_learner_as_alone() {
    const LEARNERS: usize = 40;
    let train = |learner: usize| {
        let run = RunLength::updates(100);
        let model = Wide::new(learner);
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), constant(1.0)).run(run);
        let builder =
            if learner.is_multiple_of(2) { builder.loss_scaling(scaled()) } else { builder };
        let mut learner = builder.build(Interrupter::new()).unwrap();
        for _ in 0..2 {
            update(&mut learner, 10.0);
        }
        assert!(learner.model().failure().is_none(), "{:?}", learner.model().failure());
        flat(&learner.model())
    };
    let alone: Vec<_> = (0..LEARNERS).map(train).collect();
    assert_ne!(alone[0], flat(&Wide::new(0)));
    for threads in [2, 4, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let swept: Vec<_> = pool.install(|| (0..LEARNERS).into_par_iter().map(train).collect());
        let wrong = (0..LEARNERS).filter(|&i| alone[i] != swept[i]).collect::<Vec<_>>();
        assert!(wrong.is_empty(), "on {threads} threads {wrong:?} differ");
    }
}

/// Everything with its own state.
fn everything(seed: u64, scale: f64) -> LearnerBuilder<TinyModel> {
    let run = RunLength::updates(60);
    let scaling = LossScaling::new().scale(scale).growth_interval(5);
    let model = TinyModel::seeded(seed, &device());
    LearnerBuilder::new(model, AdamConfig::new().build(), cosine(0.05))
        .run(run)
        .groups(layer_decay(0.5).unfreeze_every(Span::steps(7)).weight_decay(0.01))
        .half_precision(HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() })
        .clip_global_norm(0.5)
}

fn capped(seed: u64, scale: f64) -> LearnerBuilder<TinyModel> {
    everything(seed, scale).overflow_cap(OverflowCap::measured_every(3)).repeat_batches()
}

type TinyLearner = Learner<Annealed<TinyModel>>;

fn built(builder: LearnerBuilder<TinyModel>) -> TinyLearner {
    builder.build(Interrupter::new()).unwrap()
}

fn batch(number: usize) -> anneal_tests::Points {
    points(&[number, number + 1, number + 2, number + 3], &device())
}

fn train(learner: &mut TinyLearner, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| update(learner, batch(number)));
}

/// The weights, and the state of all controllers.
fn state(learner: &TinyLearner) -> (Vec<f32>, String) {
    let model = learner.model();
    assert!(model.failure().is_none(), "{:?}", model.failure());
    (flat(&model), model.explain().control.unwrap().to_string())
}

fn trained(builder: LearnerBuilder<TinyModel>) -> (Vec<f32>, String) {
    let mut learner = built(builder);
    train(&mut learner, 0..40);
    state(&learner)
}

/// The passes of both before the update of either.
fn update_both(one: &mut TinyLearner, other: &mut TinyLearner, number: usize) {
    let outputs = [one.train_step(batch(number)), other.train_step(batch(number))];
    one.lr_step();
    other.lr_step();
    let [of_one, of_other] = outputs;
    other.optimizer_step(of_other.grads);
    one.optimizer_step(of_one.grads);
}

#[test]
fn two_learners_side_by_side_train_as_alone() {
    let alone = [trained(capped(1, 65_536.0)), trained(capped(2, 1e9))];
    assert!(alone[1].1.contains("updates skipped") && !alone[1].1.contains(" 0 updates skipped"));
    for _ in 0..3 {
        let found = std::thread::scope(|scope| {
            let one = scope.spawn(|| trained(capped(1, 65_536.0)));
            let other = scope.spawn(|| trained(capped(2, 1e9)));
            [one.join().unwrap(), other.join().unwrap()]
        });
        assert_eq!(found, alone);
    }
    let (mut one, mut other) = (built(capped(1, 65_536.0)), built(capped(2, 1e9)));
    for number in 0..40 {
        update_both(&mut one, &mut other, number);
    }
    assert_eq!([state(&one), state(&other)], alone);
}

#[test]
fn a_clone_in_mid_run_goes_its_own_way() {
    let alone = trained(capped(1, 65_536.0));
    for cut in [0, 1, 7, 20] {
        let mut learner = built(capped(1, 65_536.0));
        train(&mut learner, 0..cut);
        let (mut clone, mut other) = (learner.clone(), learner.clone());
        for number in cut..40 {
            train(&mut learner, number..number + 1);
            update(&mut other, points(&[number * 7 + 1, number * 5], &device()));
            train(&mut clone, number..number + 1);
        }
        assert_eq!(state(&learner), alone, "cut at {cut}");
        assert_eq!(state(&clone), alone, "cut at {cut}");
        assert_ne!(state(&other).0, alone.0, "cut at {cut}");
    }
    // Passes of both before the updates of either.
    let alone = trained(everything(1, 65_536.0));
    for cut in [0, 1, 7, 20] {
        let mut learner = built(everything(1, 65_536.0));
        train(&mut learner, 0..cut);
        let mut clone = learner.clone();
        for number in cut..40 {
            update_both(&mut learner, &mut clone, number);
        }
        assert_eq!([state(&learner), state(&clone)], [alone.clone(), alone.clone()], "{cut}");
    }
}

#[test]
fn a_clone_with_a_bad_batch_does_not_skip_the_update_of_the_other() {
    let run = RunLength::updates(10);
    let model = TermModel::new(&[1.0]);
    let mut learner = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.25))
        .run(run)
        .loss_scaling(LossScaling::new())
        .build(Interrupter::new())
        .unwrap();
    let mut clone = learner.clone();
    let good = learner.train_step(Term::new(&[vec![1.0]], &[0.0]));
    let bad = clone.train_step(Term::new(&[vec![f32::NAN]], &[0.0]));
    learner.lr_step();
    clone.lr_step();
    learner.optimizer_step(good.grads);
    clone.optimizer_step(bad.grads);
    let skipped = |learner: &Learner<Annealed<TermModel>>| {
        (learner.model().inner().values(), learner.model().explain().control.unwrap().skipped)
    };
    assert_eq!(skipped(&learner), (vec![0.75], 0));
    assert_eq!(skipped(&clone), (vec![1.0], 1));
}

// Models of other shapes, and models that change their shape.

/// The loss g (Σ body + Σ extra), so that each gradient is g.
#[derive(Module, Debug)]
struct Growing {
    body: Linear,
    extra: Option<Linear>,
    #[module(skip)]
    calls: Arc<AtomicUsize>,
}

fn ones(inputs: usize, outputs: usize) -> Linear {
    let mut layer = LinearConfig::new(inputs, outputs).init(&device());
    layer.weight = Param::from_tensor(Tensor::ones([inputs, outputs], &device()));
    layer.bias = Some(Param::from_tensor(Tensor::ones([outputs], &device())));
    layer
}

impl Growing {
    fn loss(&self, gradient: f32) -> Tensor<1> {
        let sum = |layer: &Linear| {
            let bias = layer.bias.as_ref().unwrap().val();
            layer.weight.val().cast(FloatDType::F32).sum() + bias.cast(FloatDType::F32).sum()
        };
        let body = sum(&self.body);
        self.extra.as_ref().map_or(body.clone(), |extra| body + sum(extra)) * gradient
    }

    /// The extra layer comes with the third update.
    fn change(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let mut model = optimizer.step(rates, self, gradients);
        if model.calls.fetch_add(1, Ordering::Relaxed) + 1 == 3 {
            model.extra = Some(ones(1, 2));
        }
        model
    }
}

trains!(Growing, f32);

/// It gets the group, rate and decay according to the rules, from the next update on.
#[test]
fn a_parameter_that_comes_in_mid_run_trains_in_the_group_of_the_rules() {
    type Ask = fn(LearnerBuilder<Growing>) -> LearnerBuilder<Growing>;
    // A setting of the builder, and the rate factor and decay share of weights and of biases.
    let ways: [(&str, Ask, [f32; 2], [f32; 2]); 6] = [
        ("plain", |builder| builder, [1.0; 2], [0.0; 2]),
        ("clip", |builder| builder.clip_global_norm(1e6), [1.0; 2], [0.0; 2]),
        ("loss scaling", |builder| builder.loss_scaling(scaled()), [1.0; 2], [0.0; 2]),
        (
            "groups",
            |builder| {
                let matrices = Group::new("matrices", Selection::matrices()).multiple(0.5);
                builder.groups(GroupsConfig::new().group(matrices).group(Group::rest("others")))
            },
            [0.5, 1.0],
            [0.0; 2],
        ),
        (
            "decay of weights",
            |builder| {
                let decay = WeightDecay::independent(0.25);
                builder.weight_decay(decay).no_weight_decay(Selection::biases())
            },
            [1.0; 2],
            [0.25, 0.0],
        ),
        (
            "a controller",
            |builder| {
                let cooldown = burn_anneal::control::Cooldown::after_non_finite_loss(1);
                builder.controller("cooldown", cooldown.unwrap())
            },
            [1.0; 2],
            [0.0; 2],
        ),
    ];
    for (name, ask, multiples, shares) in ways {
        let (rate, gradient) = (0.125f32, 2.0f32);
        let model = Growing { body: ones(2, 1), extra: None, calls: Arc::default() };
        let run = RunLength::updates(100);
        let builder =
            LearnerBuilder::new(model, SgdConfig::new().build(), constant(f64::from(rate)))
                .run(run);
        let mut learner = ask(builder).build(Interrupter::new()).unwrap();
        for _ in 0..5 {
            update(&mut learner, gradient);
        }
        assert!(learner.model().failure().is_none(), "{name}: {:?}", learner.model().failure());
        // The 4th and the 5th update train it, all five the body.
        let after = |updates: usize, kind: usize| {
            let next = |w: f32, _| (1.0 - shares[kind]) * w - rate * multiples[kind] * gradient;
            (0..updates).fold(1.0, next)
        };
        let Growing { body, extra, .. } = learner.model().into_inner();
        let extra = extra.unwrap();
        assert_eq!(values(&body.weight), [after(5, 0); 2], "{name}");
        assert_eq!(values(body.bias.as_ref().unwrap()), [after(5, 1)], "{name}");
        assert_eq!(values(&extra.weight), [after(2, 0); 2], "{name}");
        assert_eq!(values(extra.bias.as_ref().unwrap()), [after(2, 1); 2], "{name}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Drop,
    Freeze,
    Thaw,
    Replace,
}

/// Two tied matrices, which the model ties again after each update; experts, one of which each batch uses; and a layer
/// that changes with the third or the fifth update. Optionally a tensor without elements.
#[derive(Module, Debug)]
struct Odd {
    tied: Param<Tensor<2>>,
    again: Param<Tensor<2>>,
    experts: Vec<Linear>,
    extra: Option<Linear>,
    empty: Option<Param<Tensor<2>>>,
    #[module(skip)]
    change: Change,
    #[module(skip)]
    calls: usize,
}

impl Odd {
    fn new(change: Change) -> Self {
        let entries = Tensor::<2>::from_floats([[0.5, -0.25], [0.125, 1.0]], &device());
        let tied = Param::from_tensor(entries);
        Self {
            again: tied.clone(),
            tied,
            experts: vec![ones(2, 2), ones(2, 2), ones(2, 2)],
            extra: Some(ones(2, 1)),
            empty: None,
            change,
            calls: 0,
        }
    }

    fn loss(&self, number: usize) -> Tensor<1> {
        let x = (number as f32).sin();
        let x = Tensor::<2>::from_floats([[x, 1.0]], &device()).cast(self.tied.val().dtype());
        let x = x.matmul(self.tied.val()).tanh().matmul(self.again.val()).tanh();
        let x = self.experts[number % 3].forward(x);
        let x = self.extra.as_ref().map_or(x.clone(), |extra| extra.forward(x.tanh()));
        let loss = (x.cast(FloatDType::F32) - 1.0).square().mean();
        let nothing = |empty: &Param<Tensor<2>>| empty.val().cast(FloatDType::F32).sum();
        self.empty.as_ref().map_or(loss.clone(), |empty| loss + nothing(empty))
    }

    fn change(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let mut model = optimizer.step(rates, self, gradients);
        model.again = model.tied.clone();
        model.calls += 1;
        match (model.change, model.calls) {
            (Change::Drop, 3) => model.extra = None,
            (Change::Replace, 3) => model.extra = Some(ones(2, 1)),
            (Change::Freeze | Change::Thaw, 3) => model.extra = model.extra.map(Module::no_grad),
            (Change::Thaw, 5) => {
                model.extra = model.extra.map(|mut extra| {
                    extra.weight = extra.weight.set_require_grad(true);
                    extra.bias = extra.bias.map(|bias| bias.set_require_grad(true));
                    extra
                });
            }
            _ => {}
        }
        model
    }
}

trains!(Odd, usize);

fn odd_by_hand(model: Odd) -> Vec<f32> {
    let mut optimizer = AdamConfig::new().init();
    let trained = (0..8).fold(model, |model, number| {
        let gradients = model.loss(number).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model.change(&mut optimizer, 0.1.into(), gradients)
    });
    flat(&trained)
}

type AskOdd = fn(LearnerBuilder<Odd>) -> LearnerBuilder<Odd>;

/// Settings that change no number.
const ODD_WAYS: [(&str, AskOdd); 8] = [
    ("plain", |builder| builder),
    ("clip", |builder| builder.clip_global_norm(1e9)),
    ("groups", |builder| builder.groups(GroupsConfig::new())),
    ("layers", |builder| builder.groups(layer_decay(1.0))),
    ("no decay", |builder| builder.weight_decay(0.0)),
    ("loss scaling", |builder| builder.loss_scaling(scaled())),
    ("a cap", |builder| {
        builder.loss_scaling(scaled()).overflow_cap(OverflowCap::given(1e-9).limit(1e30))
    }),
    ("a measured cap", |builder| {
        let cap = OverflowCap::measured_every(2).limit(1e30);
        builder.loss_scaling(scaled()).overflow_cap(cap).repeat_batches()
    }),
];

fn train_odd(builder: LearnerBuilder<Odd>, what: &str) -> Vec<f32> {
    let mut learner = builder.build(Interrupter::new()).unwrap();
    // Steps are measured.
    let _ = learner.model().step_metrics();
    (0..8).for_each(|number| update(&mut learner, number));
    let failure = learner.model().failure();
    assert!(failure.is_none(), "{what}: {failure:?}");
    flat(&learner.model())
}

fn odd(model: Odd) -> LearnerBuilder<Odd> {
    let run = RunLength::updates(100);
    LearnerBuilder::new(model, AdamConfig::new().build(), constant(0.1)).run(run)
}

#[test]
fn odd_models_train_as_in_a_loop_of_burns() {
    for change in [Change::Drop, Change::Freeze, Change::Thaw] {
        let expected = odd_by_hand(Odd::new(change));
        for (name, ask) in ODD_WAYS {
            let what = format!("{change:?}, {name}");
            assert_eq!(train_odd(ask(odd(Odd::new(change))), &what), expected, "{what}");
        }
    }
}

/// Another of the same shape, with other ids.
#[test]
fn a_layer_that_is_replaced_in_mid_run_trains_as_in_a_loop_of_burns() {
    let expected = odd_by_hand(Odd::new(Change::Replace));
    for (name, ask) in ODD_WAYS {
        assert_eq!(train_odd(ask(odd(Odd::new(Change::Replace))), name), expected, "{name}");
    }
}

#[test]
fn a_tensor_without_an_element_is_no_trouble() {
    let empty = || {
        let empty = Param::from_tensor(Tensor::zeros([0, 3], &device()));
        Odd { empty: Some(empty), ..Odd::new(Change::Drop) }
    };
    let expected = odd_by_hand(empty());
    for (name, ask) in ODD_WAYS {
        assert_eq!(train_odd(ask(odd(empty())), name), expected, "{name}");
    }
    for half in [f16(), HalfPrecision::bf16()] {
        let what = format!("{:?}", half.dtype);
        let trained = train_odd(odd(empty()).half_precision(half), &what);
        assert_eq!(trained.len(), expected.len(), "{what}");
    }
}

// Adapters.

/// Draws Burn's random factors again from one seed, because Burn's own generator is shared by all threads.
struct Redraw(ChaCha8Rng);

impl ModuleMapper for Redraw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        param.map(|factor| {
            // The second factor starts at 0.
            let is_zero = factor.clone().abs().max().into_scalar::<f32>() == 0.0;
            let drawn: Vec<f32> = (0..factor.shape().num_elements())
                .map(|_| self.0.random_range(-0.5..0.5))
                .collect();
            let drawn = Tensor::<1>::from_floats(drawn.as_slice(), &factor.device().inner());
            let drawn = Tensor::from_inner(drawn.reshape(factor.shape())).require_grad();
            if is_zero { factor } else { drawn }
        })
    }
}

fn redrawn(adapted: TinyModel) -> TinyModel {
    adapted.map(&mut Redraw(ChaCha8Rng::seed_from_u64(5)))
}

fn adapted() -> TinyModel {
    redrawn(TinyModel::seeded(3, &device()).apply_lora(Lora::new(2, 4.0)))
}

fn quantized(model: TinyModel) -> TinyModel {
    let scheme = device().settings().quantization.scheme.with_value(QuantValue::Q8S);
    let quantizer = Quantizer::new(Calibration::MinMax, scheme);
    redrawn(model.apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer)))
}

/// The trained weights in f32, without quantized ones.
fn trainable(module: &impl Module) -> Vec<f32> {
    struct Trainable(Vec<f32>);
    impl ModuleVisitor for Trainable {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0.extend(param.base().cast(FloatDType::F32).into_data().iter::<f32>());
            }
        }
    }
    let mut trainable = Trainable(vec![]);
    module.visit(&mut trainable);
    trainable.0
}

fn adapter_batch(number: usize) -> anneal_tests::Points {
    points(&[number, number + 1, number + 2], &device())
}

const ADAPTER_UPDATES: usize = 8;

type AskTiny = fn(LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel>;

/// Settings that change no number, except half precision.
const ADAPTER_WAYS: [(&str, AskTiny); 8] = [
    ("plain", |builder| builder),
    ("clip", |builder| builder.clip_global_norm(1e6)),
    ("groups", |builder| builder.groups(GroupsConfig::new())),
    ("layers", |builder| builder.groups(layer_decay(1.0))),
    ("no decay", |builder| builder.weight_decay(0.0)),
    ("loss scaling", |builder| builder.loss_scaling(scaled())),
    ("a cap", |builder| {
        builder.loss_scaling(scaled()).overflow_cap(OverflowCap::given(1e-9).limit(1e30))
    }),
    ("a measured cap", |builder| {
        let cap = OverflowCap::measured_every(1).limit(1e30);
        builder.loss_scaling(scaled()).overflow_cap(cap).repeat_batches()
    }),
];

fn train_adapters(model: TinyModel, decay: f32, ask: AskTiny) -> TinyModel {
    let run = RunLength::updates(20);
    let optimizer = AdamWConfig::new().with_weight_decay(decay).build();
    let builder = LearnerBuilder::new(model, optimizer, constant(0.05)).run(run);
    let mut learner = ask(builder).build(Interrupter::new()).unwrap();
    (0..ADAPTER_UPDATES).for_each(|number| update(&mut learner, adapter_batch(number)));
    let failure = learner.model().failure();
    assert!(failure.is_none(), "{failure:?}");
    learner.model().into_inner()
}

fn adapters_by_hand(mut model: TinyModel, decay: f32) -> TinyModel {
    let mut optimizer = AdamWConfig::new().with_weight_decay(decay).init();
    for number in 0..ADAPTER_UPDATES {
        let loss = model.forward(adapter_batch(number)).loss;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
    }
    model
}

/// With settings that change no number, and with Burn's own decay of 0.125 and Anneal's.
fn adapters_train_as_by_hand(model: &TinyModel) {
    let trains = parameters(model).iter().filter(|parameter| parameter.trainable).count();
    assert_eq!(trains, 4, "two factors of each matrix");
    let expected = trainable(&adapters_by_hand(model.clone(), 0.0));
    assert_ne!(trainable(model), expected);
    for (name, ask) in ADAPTER_WAYS {
        let found = trainable(&train_adapters(model.clone(), 0.0, ask));
        assert_eq!(found, expected, "{name}");
    }
    let expected = trainable(&adapters_by_hand(model.clone(), 0.125));
    let found = train_adapters(model.clone(), 0.0, |builder| builder.weight_decay(0.125));
    assert_eq!(trainable(&found), expected, "decay");
}

#[test]
fn lora_trains_as_in_a_loop_of_burns() {
    adapters_train_as_by_hand(&adapted());
}

#[test]
fn qlora_trains_as_in_a_loop_of_burns() {
    adapters_train_as_by_hand(&quantized(TinyModel::seeded(3, &device())));
}

/// Half precision rounds gradient entries, and weights in passes, by at most 2⁻⁹ or 2⁻¹²; Adam's steps of 0.05 follow
/// the signs and sizes of gradients, so 8 of them end near the f32 result: within a tenth of the way, whereas an
/// adapter that does not train is off by the whole way.
fn adapters_train_in_half_precision(model: &TinyModel) {
    let halves: [(&str, AskTiny); 3] = [
        ("f16", |builder| builder.half_precision(f16())),
        ("bf16", |builder| builder.half_precision(HalfPrecision::bf16())),
        ("f16 in groups", |builder| {
            builder.half_precision(f16()).groups(layer_decay(1.0)).weight_decay(0.0)
        }),
    ];
    let way = |from: &[f32], to: &[f32]| -> f32 {
        from.iter().zip(to).map(|(from, to)| (to - from).powi(2)).sum::<f32>().sqrt()
    };
    let start = trainable(model);
    let exact = trainable(&adapters_by_hand(model.clone(), 0.0));
    for (name, ask) in halves {
        let found = trainable(&train_adapters(model.clone(), 0.0, ask));
        let (off, far) = (way(&exact, &found), way(&start, &exact));
        assert!(off < 0.1 * far, "{name}: {off} off of {far}");
    }
}

#[test]
fn lora_trains_in_half_precision() {
    adapters_train_in_half_precision(&adapted());
}

/// Without biases, because Burn returns a quantized bias in f32, whatever it is added to.
#[test]
fn qlora_trains_in_half_precision() {
    let mut model = TinyModel::seeded(3, &device());
    (model.hidden.bias, model.head.bias) = (None, None);
    adapters_train_in_half_precision(&quantized(model));
}

// Gradients that are not finite, without loss scaling.

/// A batch with gradient 1.
fn good() -> Term {
    Term::new(&[vec![0.0]], &[1.0])
}

/// A batch whose loss and gradient are NaN.
fn bad() -> Term {
    Term::new(&[vec![f32::NAN]], &[1.0])
}

fn terms(loss: fn(Tensor<1>, Term) -> Tensor<1>) -> LearnerBuilder<TermModel> {
    let run = RunLength::updates(1_000);
    let model = TermModel::with_loss(&[1.0], loss);
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.25)).run(run)
}

/// The number of updates made with non-finite numbers, as far as the run knows.
fn known_not_finite(run: &impl Monitored) -> u64 {
    run.explain().control.map_or(0, |control| control.not_finite)
}

#[test]
fn a_gradient_that_is_nan_is_used_and_reported() {
    // The first two updates are good, and all updates after a NaN are bad.
    let batch = |number: u64| if number == 2 { bad() } else { good() };
    type Ask = fn(LearnerBuilder<TermModel>) -> LearnerBuilder<TermModel>;
    let asks: [Ask; 3] = [
        |builder| builder,
        |builder| builder.clip_global_norm(1e6),
        |builder| builder.groups(GroupsConfig::new()).weight_decay(0.0),
    ];
    for ask in asks {
        // It is reported on request.
        let mut learner = ask(terms(Term::value)).build(Interrupter::new()).unwrap();
        for number in 0..64u64 {
            assert_eq!(known_not_finite(&learner.model()), number.saturating_sub(2));
            update(&mut learner, batch(number));
            let weight = learner.model().inner().values()[0];
            assert_eq!(weight.is_nan(), number >= 2, "{weight}");
        }
        assert_eq!(known_not_finite(&learner.model()), 62);
        assert!(learner.model().failure().is_none());

        // Or with a checkpoint.
        let folder = tempfile::tempdir().unwrap();
        let mut training = ask(terms(Term::value)).build_loop().unwrap();
        for number in 0..5 {
            training.pass(|model| TrainStep::step(model, batch(number)));
            training.update().unwrap();
        }
        training.save(folder.path(), 1).unwrap();
        assert_eq!(known_not_finite(&training), 3);
        let text = training.explain().to_string();
        assert!(text.contains("3 updates made with a non-finite loss or gradients"));
    }
}

/// If the norm is known, it is used instead of the loss.
#[test]
fn a_gradient_that_is_nan_behind_a_finite_loss_is_reported_where_gradients_are_clipped() {
    // √0 is 0, and has no gradient.
    let loss = |weight: Tensor<1>, term: Term| {
        (weight.clone() * 0.0).sqrt().sum() + (weight * term.slope).sum()
    };
    for (clips, known) in [(false, 0), (true, 1)] {
        let builder = terms(loss);
        let builder = if clips { builder.clip_global_norm(1.0) } else { builder };
        let mut training = builder.build_loop().unwrap();
        training.pass(|model| TrainStep::step(model, good()));
        training.update().unwrap();
        let folder = tempfile::tempdir().unwrap();
        training.save(folder.path(), 1).unwrap();
        assert!(training.model().values()[0].is_nan());
        assert_eq!(known_not_finite(&training), known);
    }
}

fn is_finite_guard(failure: &UpdateError) {
    match failure {
        UpdateError::Controller(stopped) => assert_eq!(stopped.controller, "finite guard"),
        failure => panic!("{failure}"),
    }
    assert!(failure.to_string().contains("finite guard"), "{failure}");
}

#[test]
fn updates_that_are_not_finite_are_skipped_and_too_many_stop_the_run() {
    let builder = || terms(Term::value).not_finite(NotFinite::Skip { most: 3 });
    // Two bad ones in a row are skipped, three are too many.
    let batches = || [good(), bad(), bad(), good(), bad(), bad(), bad(), good()];
    let weights = [0.75, 0.75, 0.75, 0.5, 0.5, 0.5, 0.5, 0.5];
    let interrupter = Interrupter::new();
    let mut learner = builder().build(interrupter.clone()).unwrap();
    for (number, (batch, weight)) in batches().into_iter().zip(weights).enumerate() {
        update(&mut learner, batch);
        assert_eq!(learner.model().inner().values(), [weight], "update {number}");
        assert_eq!(interrupter.should_stop(), number >= 6, "update {number}");
    }
    let failure = learner.model().failure().unwrap();
    is_finite_guard(&failure);
    assert!(interrupter.error().unwrap().to_string().ends_with(&failure.to_string()));
    let control = learner.model().explain().control.unwrap();
    assert_eq!((control.skipped, control.not_finite), (4, 0));

    let mut training = builder().build_loop().unwrap();
    for (number, (batch, weight)) in batches().into_iter().zip(weights).enumerate() {
        training.pass(|model| TrainStep::step(model, batch));
        match training.update() {
            Ok(updated) => {
                assert_eq!(updated.skipped.is_some(), [1, 2, 4, 5].contains(&number));
                assert!(number < 6);
            }
            Err(failure) => {
                is_finite_guard(&failure);
                assert!(number >= 6);
            }
        }
        assert_eq!(training.model().values(), [weight], "update {number}");
    }
}

#[test]
fn an_update_that_is_not_finite_stops_the_run_where_that_is_asked_for() {
    // Also if only the gradient is bad.
    let behind = |weight: Tensor<1>, term: Term| {
        let nothing = (weight.clone() * 0.0).sqrt().sum();
        let curved = term.hessian.sum() * 0.0;
        (weight * term.slope).sum() + curved + nothing
    };
    for (loss, batches) in
        [(Term::value as fn(_, _) -> _, vec![good(), bad()]), (behind, vec![good()])]
    {
        let mut expected = 1.0;
        let interrupter = Interrupter::new();
        let builder = || terms(loss).not_finite(NotFinite::Stop);
        let mut learner = builder().build(interrupter.clone()).unwrap();
        let mut training = builder().build_loop().unwrap();
        let last = batches.len() - 1;
        for (number, batch) in batches.into_iter().enumerate() {
            if number < last {
                expected -= 0.25;
            }
            training.pass(|model| TrainStep::step(model, batch.clone()));
            let result = training.update();
            update(&mut learner, batch);
            assert_eq!(result.is_err(), number == last);
            assert_eq!(interrupter.should_stop(), number == last);
        }
        is_finite_guard(&learner.model().failure().unwrap());
        is_finite_guard(&training.failure().unwrap());
        assert_eq!(learner.model().inner().values(), [expected]);
        assert_eq!(training.model().values(), [expected]);
    }
}

//! Loss scaling in a learner, in all situations of Burn's loop.

use anneal_tests::{Term, TermModel, TinyModel, points, supervised};
use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, MultiGradientsParams, Optimizer, SgdConfig};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::{
    ExecutionStrategy, Interrupter, Learner, LearnerModel, MultiDeviceOptim, SupervisedTraining,
    TrainOutput,
};
use burn_anneal::control::Observation;
use burn_anneal::groups::ControlSummary;
use burn_anneal::precision::{PrecisionError, ScalingError, to_precision};
use burn_anneal::prelude::*;
use std::cell::RefCell;
use std::path::Path;

fn device() -> Device {
    Device::default().autodiff()
}

type TinyLearner = Learner<Annealed<TinyModel>>;
type TermLearner = Learner<Annealed<TermModel>>;

/// In half precision with this scaling.
fn half(dtype: FloatDType, scaling: LossScaling) -> HalfPrecision {
    let half = match dtype {
        FloatDType::BF16 => HalfPrecision::bf16(),
        _ => HalfPrecision::f16(),
    };
    HalfPrecision { loss_scaling: Some(scaling), ..half }
}

/// In half precision, or in f32 with its loss scaled.
fn scaled<M: Module>(
    builder: LearnerBuilder<M>,
    dtype: Option<FloatDType>,
    scaling: LossScaling,
) -> LearnerBuilder<M> {
    match dtype {
        Some(dtype) => builder.half_precision(half(dtype, scaling)),
        None => builder.loss_scaling(scaling),
    }
}

fn tiny_in(
    dtype: Option<FloatDType>,
    scaling: LossScaling,
    schedule: impl Into<ScheduleConfig>,
    run: RunLength,
) -> LearnerBuilder<TinyModel> {
    let model = TinyModel::seeded(11, &device());
    scaled(LearnerBuilder::new(model, AdamConfig::new().build(), schedule).run(run), dtype, scaling)
}

fn tiny(dtype: Option<FloatDType>, scaling: LossScaling) -> LearnerBuilder<TinyModel> {
    tiny_in(dtype, scaling, cosine(0.02), RunLength::updates(200))
}

fn term_in(
    model: TermModel,
    scaling: LossScaling,
    optimizer: impl Optimizer,
    schedule: impl Into<ScheduleConfig>,
    run: RunLength,
) -> LearnerBuilder<TermModel> {
    let builder = LearnerBuilder::new(model, optimizer, schedule).run(run);
    builder.half_precision(half(FloatDType::F16, scaling))
}

fn term(model: TermModel, scaling: LossScaling) -> LearnerBuilder<TermModel> {
    term_in(model, scaling, sgd(), linear(1.0, 0.0), RunLength::updates(100))
}

fn sgd() -> impl Optimizer {
    SgdConfig::new().build()
}

fn built<M: LearnerModel>(builder: LearnerBuilder<M>) -> Learner<Annealed<M>> {
    builder.build(Interrupter::new()).unwrap()
}

/// A gradient of b, whatever the weights.
fn slope(b: f32) -> Term {
    Term::new(&[vec![0.0]], &[b])
}

fn summary<M: LearnerModel>(learner: &Learner<Annealed<M>>) -> ControlSummary {
    learner.model().explain().control.unwrap()
}

/// The message of the error that stopped a run.
fn error_of(interrupter: &Interrupter) -> String {
    interrupter.error().expect("it was stopped by an error").to_string()
}

fn update(learner: &mut TermLearner, term: Term) {
    let output = learner.train_step(term);
    learner.lr_step();
    learner.optimizer_step(output.grads);
}

fn update_tiny(learner: &mut TinyLearner, number: usize) {
    let items: Vec<usize> = (number * 12..number * 12 + 12).collect();
    let output = learner.train_step(points(&items, &device()));
    learner.lr_step();
    learner.optimizer_step(output.grads);
}

fn values(model: &TinyModel) -> Vec<f32> {
    let weights = [model.hidden.weight.val(), model.head.weight.val()];
    weights
        .into_iter()
        .flat_map(|weight| weight.into_data().iter::<f32>().collect::<Vec<_>>())
        .collect()
}

fn loss_of(model: &TinyModel) -> f32 {
    let model = to_precision(model.clone(), FloatDType::F32);
    let items: Vec<usize> = (0..60).collect();
    model.forward(points(&items, &device())).loss.into_scalar::<f32>()
}

#[test]
fn a_learner_trains_in_half_precision_as_in_f32() {
    let trained = |dtype| {
        let mut learner = built(tiny(dtype, LossScaling::new()));
        (0..150).for_each(|number| update_tiny(&mut learner, number));
        let model = learner.model();
        (model.inner().clone(), summary(&learner))
    };
    let (exact, scaling) = trained(None);
    assert_eq!((scaling.loss_scale, scaling.skipped), (Some(65_536.0), 0));
    for dtype in [FloatDType::F16, FloatDType::BF16] {
        let (model, _) = trained(Some(dtype));
        assert_eq!(model.head.weight.val().dtype(), DType::from(dtype));
        let (found, expected) = (loss_of(&model), loss_of(&exact));
        assert!((found / expected - 1.0).abs() < 0.05, "{dtype:?}: {found}, f32 {expected}");
    }
}

/// In f32, and with powers of 2, scaling changes no bit.
#[test]
fn scaling_changes_nothing_in_f32() {
    let mut with = built(tiny(None, LossScaling::new().growth_interval(7)));
    let model = TinyModel::seeded(11, &device());
    let adam = AdamConfig::new().build();
    let mut without =
        built(LearnerBuilder::new(model, adam, cosine(0.02)).run(RunLength::updates(200)));
    for number in 0..30 {
        update_tiny(&mut with, number);
        update_tiny(&mut without, number);
    }
    assert_eq!(summary(&with).loss_scale, Some(65_536.0 * 16.0));
    assert_eq!(values(with.model().inner()), values(without.model().inner()));
}

#[test]
fn an_overflow_skips_the_whole_update() {
    let mut learner = built(tiny(Some(FloatDType::F16), LossScaling::new().scale(1e9)));
    let start = values(learner.model().inner());
    update_tiny(&mut learner, 0);
    assert_eq!(values(learner.model().inner()), start);
    let scaling = summary(&learner);
    assert_eq!((scaling.loss_scale, scaling.skipped), (Some(f64::from(1e9f32 / 2.0)), 1));
    let seen = learner.model().observation();
    assert!(seen.overflow && seen.loss.unwrap() > 0.5, "{seen:?}");
    // The scale falls until it fits, and training goes on.
    (1..40).for_each(|number| update_tiny(&mut learner, number));
    let scaling = summary(&learner);
    assert!((5..20).contains(&scaling.skipped), "{scaling}");
    assert_ne!(values(learner.model().inner()), start);
}

#[test]
fn what_an_update_saw_is_unscaled() {
    let mut learner = built(term(TermModel::new(&[3.0]), LossScaling::fixed(1_024.0)));
    update(&mut learner, slope(-0.5));
    let Observation { loss, gradient_norm, overflow, .. } = learner.model().observation();
    assert_eq!((loss, gradient_norm, overflow), (Some(-1.5), Some(0.5), false));
    assert_eq!(learner.model().inner().values(), [3.5]);
}

/// All batches of an update have the scale of that update, and their sum does not overflow in f16.
#[test]
fn accumulated_batches_have_one_scale_and_a_sum_in_f32() {
    let scaling = LossScaling::new().scale(1_000.0).growth_interval(1);
    let run = RunLength::updates(100).gradient_accumulation(3);
    let mut learner = built(term(TermModel::new(&[0.0]), scaling).run(run));
    let mut sum = burn::optim::GradientsAccumulator::new();
    for _ in 0..3 {
        // 1,000 · 50 fits in f16, but three times that does not.
        let output = learner.train_step(slope(50.0));
        sum.accumulate(&learner.model(), output.grads);
    }
    learner.lr_step();
    learner.optimizer_step(sum.grads());
    assert_eq!(learner.model().inner().values(), [-150.0]);
    assert_eq!(summary(&learner).loss_scale, Some(2_000.0));
    assert_eq!(learner.model().observation().loss, Some(0.0));
}

/// From 256 on, bf16 has only even numbers. It needs no loss scaling, but sums in f32.
#[test]
fn accumulated_batches_of_bf16_have_a_sum_in_f32() {
    let builder = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(), constant(1.0))
        .run(RunLength::updates(10).gradient_accumulation(65));
    let mut learner = built(builder.half_precision(HalfPrecision::bf16()).clip_global_norm(1e6));
    let mut sum = burn::optim::GradientsAccumulator::new();
    for b in std::iter::once(256.0).chain([1.0; 64]) {
        let output = learner.train_step(slope(b));
        sum.accumulate(&learner.model(), output.grads);
    }
    learner.lr_step();
    learner.optimizer_step(sum.grads());
    assert_eq!(learner.model().inner().values(), [-320.0]);
}

/// Burn's own loop with gradient accumulation.
#[test]
fn burns_loop_accumulates_under_one_scale() {
    let run = |dtype: Option<FloatDType>| {
        let folder = tempfile::tempdir().unwrap();
        let training: SupervisedTraining<Annealed<TinyModel>> =
            supervised(folder.path(), 2).grads_accumulation(3);
        let scaling = LossScaling::new().growth_interval(2);
        let run = RunLength::from_items(60, 6).epochs(2).gradient_accumulation(3);
        let builder =
            tiny_in(dtype, scaling, cosine(0.02), run).gradient_reduction(GradientReduction::Mean);
        let learner = builder.build(training.interrupter()).unwrap();
        let training = learner
            .model()
            .control_metrics()
            .into_iter()
            .fold(training, |training, metric| training.metric_train_numeric(metric));
        let result = training.launch(learner);
        assert!(result.error.is_none() && result.interrupted.is_none());
        let scales = log(folder.path(), 1, "Loss_Scale");
        (values(result.model.inner()), scales)
    };
    let (exact, _) = run(None);
    let (half, scales) = run(Some(FloatDType::F16));
    // An update every 3 batches, 4 per epoch, the last with one batch. Each batch reports the scale of the last
    // update, except those before the first update; the third is the first with a larger scale.
    assert_eq!(
        scales,
        [65_536.0, 65_536.0, 65_536.0, 65_536.0, 65_536.0, 65_536.0, 131_072.0, 131_072.0]
    );
    let far = half.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 3e-3, "{far}");
}

/// Burn's own loop over two devices, whose batches run on two threads.
#[test]
fn burns_loop_over_several_devices_scales_and_looks_at_a_batch_again() {
    let run = |dtype: Option<FloatDType>, optim| {
        let folder = tempfile::tempdir().unwrap();
        let strategy = ExecutionStrategy::multi(vec![device(); 2], optim);
        let training: SupervisedTraining<Annealed<TinyModel>> =
            supervised(folder.path(), 2).with_training_strategy(strategy.into());
        let run = RunLength::from_items(60, 6).epochs(2).devices(2);
        let learner = tiny_in(dtype, LossScaling::new(), cosine(0.02), run)
            .overflow_cap(OverflowCap::measured_every(2))
            .repeat_batches()
            .build(training.interrupter())
            .unwrap();
        let result = training.launch(learner);
        assert!(result.error.is_none() && result.interrupted.is_none());
        let seen = result.model.observation();
        assert!(seen.loss.is_some() && seen.movement.is_some(), "{seen:?}");
        let control = result.model.explain().control.unwrap();
        let smoothness = control.state("overflow cap", "smoothness");
        assert!(control.skipped == 0 && smoothness.is_some(), "{control}");
        values(result.model.inner())
    };
    for optim in [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded] {
        let (half, exact) = (run(Some(FloatDType::F16), optim), run(None, optim));
        let far = half.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 3e-3, "{optim:?}: {far}");
    }
}

/// The values of a metric in an epoch, one for each batch.
fn log(run: &Path, epoch: usize, metric: &str) -> Vec<f64> {
    let path = run.join(format!("train/epoch-{epoch}/{metric}.log"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let values = text.lines().filter(|line| !line.ends_with("final"));
    values.map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn gradients_of_several_devices_are_unscaled_checked_and_skipped() {
    let scaling = || LossScaling::new().scale(1_000.0);
    let run = RunLength::updates(100).devices(2);
    let mut learner =
        built(term(TermModel::new(&[0.0]), scaling()).run(run).clip_global_norm(60.0));
    let several = |learner: &TermLearner, slopes: [f32; 2]| {
        let grads = slopes.map(|b| (learner.train_step(slope(b)).grads, Device::default()));
        MultiGradientsParams { grads: grads.into() }
    };
    let gradients = several(&learner, [50.0, 70.0]);
    learner.lr_step();
    learner.optimizer_step_multi(gradients);
    assert_eq!(learner.model().inner().values(), [0.0], "70 · 1,000 is too much for f16");
    assert_eq!(summary(&learner).skipped, 1);
    let gradients = several(&learner, [50.0, 70.0]);
    learner.lr_step();
    learner.optimizer_step_multi(gradients);
    // The sum of 120 is clipped to 60; the second rate of 100 falls linearly.
    let expected = -60.0 * 0.99;
    assert!((learner.model().inner().values()[0] / expected - 1.0).abs() < 1e-3);
}

/// Clipping uses the norm of unscaled gradients, which also detects overflow.
#[test]
fn clipping_comes_after_unscaling() {
    let scaling = LossScaling::fixed(512.0);
    let mut learner = built(term(TermModel::new(&[0.0]), scaling).clip_global_norm(2.0));
    update(&mut learner, slope(8.0));
    assert_eq!(learner.model().observation().gradient_norm, Some(8.0));
    assert!((learner.model().inner().values()[0] + 2.0).abs() < 2e-3);
    update(&mut learner, slope(200.0));
    assert_eq!(summary(&learner).skipped, 1);
}

/// Update 1 of four is skipped. Rates of `linear(1, 0)` over 4 updates are 1, 0.75, 0.5, 0.25.
#[test]
fn a_skipped_update_takes_a_step_of_the_schedule_or_leaves_it() {
    for (on_skip, expected) in
        [(OnSkip::Advance, [1.0, 0.5, 0.25]), (OnSkip::Hold, [1.0, 0.75, 0.5])]
    {
        let scaling = LossScaling::new().scale(1_000.0);
        let model = TermModel::new(&[0.0]);
        let builder = term_in(model, scaling, sgd(), linear(1.0, 0.0), RunLength::updates(4));
        let mut learner = built(builder.on_skip(on_skip));
        let mut moved = vec![];
        for b in [-1.0, -100.0, -1.0, -1.0] {
            let before = learner.model().inner().values()[0];
            update(&mut learner, slope(b));
            moved.push(learner.model().inner().values()[0] - before);
        }
        assert_eq!(moved.remove(1), 0.0, "it is skipped");
        assert_eq!(moved, expected, "{on_skip:?}");
        let behind = u64::from(on_skip == OnSkip::Hold);
        assert_eq!((summary(&learner).skipped, summary(&learner).behind), (1, behind));
        let text = learner.model().explain().to_string();
        let waited = if behind == 1 { ", of which the schedule waited for 1" } else { "" };
        let expected =
            format!("loss scale 500, 1 updates skipped{waited}; the last update at 1 of its");
        assert!(text.contains(&expected), "{text}");
    }
}

/// A run whose scale grows far too large after each 9 good updates: it overflows at the last update of the first
/// epoch, and sometimes later.
fn overflowing() -> LossScaling {
    LossScaling::new().scale(1_024.0).growth_interval(9).growth_factor(1e4)
}

/// Update 0 is skipped, and update 1 trains the layer that starts with it.
#[test]
fn a_skipped_update_thaws_what_the_next_one_trains() {
    let hidden = |learner: &TinyLearner| {
        let weight = learner.model().inner().hidden.weight.val();
        weight.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    for (on_skip, thawed) in [(OnSkip::Advance, true), (OnSkip::Hold, false)] {
        let scaling = LossScaling::new().scale(1e8).backoff_factor(1e-6);
        let builder = tiny(Some(FloatDType::F16), scaling)
            .groups(layer_decay(1.0).unfreeze_layers_at([Span::steps(1), Span::steps(0)]))
            .on_skip(on_skip);
        let mut learner = built(builder);
        let start = hidden(&learner);
        update_tiny(&mut learner, 0);
        assert_eq!((summary(&learner).skipped, hidden(&learner)), (1, start.clone()));
        update_tiny(&mut learner, 1);
        assert_eq!(summary(&learner).skipped, 1);
        assert_eq!(hidden(&learner) != start, thawed, "{on_skip:?}");
        update_tiny(&mut learner, 2);
        assert_ne!(hidden(&learner), start);
    }
}

/// Clones of a learner train side by side, each with its own scale and losses.
#[test]
fn clones_of_a_learner_do_not_hear_of_each_other() {
    let scaling = LossScaling::new().scale(1_024.0).max_failures(2);
    let mut one = built(term(TermModel::new(&[0.0]), scaling));
    update(&mut one, slope(1.0));
    let mut other = one.clone();
    for number in 0..3 {
        let (good, bad) = (one.train_step(slope(1.0)), other.train_step(slope(100.0)));
        for (learner, output) in [(&mut one, good), (&mut other, bad)] {
            learner.lr_step();
            learner.optimizer_step(output.grads);
        }
        assert!(one.model().failure().is_none() && other.model().failure().is_none());
        assert_eq!((summary(&one).skipped, summary(&other).skipped), (0, 1), "{number}");
        let scales = [&one, &other].map(|learner| summary(learner).loss_scale);
        assert_eq!(scales, [Some(1_024.0), Some(512.0)]);
    }
}

/// Makes the builder of a run.
type Make = fn() -> LearnerBuilder<TinyModel>;

/// A run of four epochs in one group.
fn begin(
    optimizer: impl Optimizer,
    schedule: impl Into<ScheduleConfig>,
) -> LearnerBuilder<TinyModel> {
    let run = RunLength::from_items(60, 6).epochs(4);
    LearnerBuilder::new(TinyModel::seeded(5, &device()), optimizer, schedule)
        .run(run)
        .groups(GroupsConfig::new().group(Group::rest("all")))
        .weight_decay(0.01)
}

fn with_adam() -> LearnerBuilder<TinyModel> {
    begin(AdamConfig::new().build(), cosine(0.05).warmup(Span::steps(5)))
}

fn in_f16() -> LearnerBuilder<TinyModel> {
    with_adam().half_precision(HalfPrecision::f16())
}

fn run(folder: &Path, epochs: usize, from: Option<usize>, make: Make) -> Vec<f32> {
    let training = supervised(folder, epochs);
    let mut builder = make();
    let training = match from {
        Some(epoch) => {
            builder = builder.resume_from(&Checkpoint::open(folder, epoch).unwrap());
            training.checkpoint(epoch)
        }
        None => training,
    };
    let learner = builder.build(training.interrupter()).unwrap();
    let model = learner.model();
    let training = model
        .control_metrics()
        .into_iter()
        .fold(training, |training, metric| training.metric_train_numeric(metric));
    let training = model
        .rate_metrics()
        .into_iter()
        .fold(training, |training, metric| training.metric_train_numeric(metric));
    let result = training.launch(learner);
    assert!(result.error.is_none() && result.interrupted.is_none());
    let exported = Checkpoint::open(folder, epochs).unwrap();
    let exported = exported.load_in_f32(TinyModel::new(&Device::default())).unwrap();
    assert_eq!(exported.head.weight.val().dtype(), DType::F32);
    let half = match result.model.inner().head.weight.val().dtype() {
        DType::BF16 => FloatDType::BF16,
        _ => FloatDType::F16,
    };
    let half = to_precision(exported.clone(), half);
    assert_eq!(values(&half), values(result.model.inner()), "the masters are those of the model");
    values(&exported)
}

/// Four epochs at once, and one epoch and then three, have the same losses, scales and rates. Returns the logs of a
/// metric in the first epoch and in all.
fn assert_resumes_exactly(make: Make, metrics: &[&str]) -> impl Fn(&str) -> (Vec<f64>, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let expected = run(&whole, 4, None, make);
    run(&parts, 1, None, make);
    assert_eq!(run(&parts, 4, Some(1), make), expected);
    for epoch in 2..=4 {
        for metric in metrics {
            let (expected, found) = (log(&whole, epoch, metric), log(&parts, epoch, metric));
            assert_eq!(found, expected, "{metric} of epoch {epoch}");
        }
    }
    move |metric| {
        let _keep = &folder;
        let all = (1..=4).flat_map(|epoch| log(&whole, epoch, metric)).collect();
        (log(&whole, 1, metric), all)
    }
}

#[test]
fn a_run_resumes_exactly_right_after_a_skip() {
    let advance: Make = || with_adam().half_precision(half(FloatDType::F16, overflowing()));
    let hold: Make =
        || with_adam().half_precision(half(FloatDType::F16, overflowing())).on_skip(OnSkip::Hold);
    for make in [advance, hold] {
        let log = assert_resumes_exactly(make, &["Loss", "Loss_Scale", "Skipped", "Rate_all"]);
        let (first, all) = log("Skipped");
        assert_eq!(first.last(), Some(&1.0), "the epoch must end with a skip: {first:?}");
        assert!((4.0..25.0).contains(&all.iter().sum::<f64>()), "{all:?}");
        let rates = log("Rate_all").1;
        let moved =
            rates.iter().zip(&all).all(|(rate, skipped)| (*rate == 0.0) == (*skipped == 1.0));
        assert!(moved, "a skipped update has no rate: {rates:?}");
    }
}

#[test]
fn a_run_with_a_cap_resumes_exactly() {
    let make: Make = || {
        with_adam()
            .half_precision(half(FloatDType::F16, LossScaling::new().scale(1_024.0)))
            .overflow_cap(OverflowCap::measured_every(4).limit(120.0))
            .repeat_batches()
    };
    let metrics = ["Loss", "Loss_Scale", "Factor_overflow_cap", "Rate_all"];
    let log = assert_resumes_exactly(make, &metrics);
    let (_, factors) = log("Factor_overflow_cap");
    let cut = factors.iter().filter(|factor| **factor < 1.0).count();
    assert!((1..40).contains(&cut), "{factors:?}");
}

/// Rates of 1, and of 0.5 from update 2 on; the update of the drop is skipped. v ← v / 2 + η g, and 0 at a drop.
#[test]
fn a_drop_of_the_rate_at_a_skipped_update_is_that_of_the_next() {
    for (rate_drop, expected) in [(RateDrop::keep(), 3.75), (RateDrop::reset(), 3.0)] {
        let scaling = LossScaling::new().scale(1_000.0);
        let sgd = RateInsideSgd::new(0.5).unwrap();
        let schedule = step_decay(1.0, Span::steps(2), 0.5);
        let run = RunLength::updates(4);
        let builder = term_in(TermModel::new(&[0.0]), scaling, sgd, schedule, run);
        let mut learner = built(builder.rate_drop(rate_drop));
        for b in [-1.0, -1.0, -100.0, -1.0] {
            update(&mut learner, slope(b));
        }
        assert_eq!(summary(&learner).skipped, 1);
        assert_eq!(learner.model().inner().values(), [expected]);
    }
}

/// The last update of the first epoch, the first with a lower rate, is skipped: the velocity becomes 0 at the first
/// update after resuming.
#[test]
fn a_drop_of_the_rate_at_a_skipped_update_outlives_a_resume() {
    let make: Make = || {
        begin(RateInsideSgd::new(0.9).unwrap(), step_decay(0.1, Span::steps(9), 0.1))
            .rate_drop(RateDrop::reset())
            .half_precision(half(FloatDType::F16, overflowing()))
    };
    let log = assert_resumes_exactly(make, &["Loss", "Loss_Scale", "Skipped", "Rate_all"]);
    assert_eq!(log("Skipped").0.last(), Some(&1.0));
}

/// Nine of ten updates are made under an independent decay of 0.1, whatever the schedule does at the skipped one.
#[test]
fn metrics_of_groups_say_what_was_done() {
    for (on_skip, capped) in [(OnSkip::Advance, false), (OnSkip::Hold, false), (OnSkip::Hold, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let training = supervised(folder.path(), 1);
        let run = RunLength::from_items(60, 6).epochs(1);
        let builder = tiny_in(Some(FloatDType::F16), overflowing(), constant(0.01), run)
            .groups(GroupsConfig::new().group(Group::rest("all")))
            .weight_decay(WeightDecay::independent(0.1))
            .on_skip(on_skip);
        let builder = match capped {
            true => builder.overflow_cap(OverflowCap::given(1.0).limit(1e30)),
            false => builder,
        };
        let learner = builder.build(training.interrupter()).unwrap();
        let model = learner.model();
        let metrics = [model.decay_metrics(), model.norm_metrics(), model.step_metrics()];
        let training = metrics
            .into_iter()
            .flatten()
            .chain(model.rate_metrics())
            .fold(training, |training, metric| training.metric_train_numeric(metric));
        training.launch(learner);
        let case = format!("{on_skip:?}, {capped}");
        let kept = log(folder.path(), 1, "Kept_all");
        assert_eq!(kept.len(), 10, "{case}");
        for (number, kept) in kept.iter().enumerate() {
            let done = (number + 1).min(9) as i32;
            assert!((kept - 0.9f64.powi(done)).abs() < 1e-5, "{case}: {number}: {kept}");
        }
        let [rates, norms, steps] =
            ["Rate_all", "Norm_all", "Step_all"].map(|metric| log(folder.path(), 1, metric));
        assert_eq!(rates, [[0.01; 9].as_slice(), &[0.0]].concat(), "{case}");
        assert_eq!(norms[9], norms[8], "{case}: {norms:?}");
        assert!(norms[8] > 0.1 && steps[8] > 0.0 && steps[9] == 0.0, "{case}: {steps:?}");
    }
}

/// The error of a learner and of a loop that must not resume from the checkpoint of an epoch.
fn resume_error(folder: &Path, make: Make) -> CheckpointError {
    let saved = Checkpoint::open(folder, 1).unwrap();
    let of_loop = make().resume_from(&saved).build_loop().err().unwrap().to_string();
    match make().resume_from(&saved).build(Interrupter::new()).err() {
        Some(BuildError::Checkpoint(error)) => {
            assert_eq!(error.to_string(), of_loop);
            error
        }
        other => panic!("{other:?}"),
    }
}

/// A run whose first epoch was saved before.
fn save(folder: &Path, make: Make) {
    make().build_loop().unwrap().save(folder, 1).unwrap();
}

/// A schedule that waited would jump if the delay were not saved.
#[test]
fn a_schedule_that_waited_is_not_resumed_without_loss_scaling() {
    // The squares of the first gradients overflow f32.
    let hold: Make = || {
        let scaling = LossScaling::new().scale(1e24).backoff_factor(1e-6);
        with_adam().half_precision(half(FloatDType::BF16, scaling)).on_skip(OnSkip::Hold)
    };
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, None, hold);
    let bf16: Make = || with_adam().half_precision(HalfPrecision::bf16());
    let error = resume_error(folder.path(), bf16);
    assert!(
        matches!(&error, CheckpointError::DifferentControllers { checkpoint, .. } if checkpoint.epoch() == 1),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("saved with `loss scale`, but now there are none"), "{text}");
}

#[test]
fn a_run_with_loss_scaling_is_not_resumed_without_it() {
    let without: Make =
        || with_adam().half_precision(HalfPrecision { loss_scaling: None, ..HalfPrecision::f16() });
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, None, in_f16);
    let error = resume_error(folder.path(), without);
    assert!(
        matches!(&error, CheckpointError::DifferentControllers { checkpoint, .. } if checkpoint.epoch() == 1),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("saved with `loss scale`, but now there are none"), "{text}");

    save(folder.path(), without);
    let error = resume_error(folder.path(), in_f16);
    assert!(
        matches!(&error, CheckpointError::DifferentControllers { checkpoint, .. } if checkpoint.epoch() == 1),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("saved with no controllers, but now there are `loss scale`"), "{text}");
}

#[test]
fn a_run_is_not_resumed_with_other_exceptions_from_half_precision() {
    let but_head: Make = || {
        let except = Selection::regex("head");
        with_adam().half_precision(HalfPrecision { except, ..HalfPrecision::f16() })
    };
    for (saved_by, resumed_by, precisions) in
        [(in_f16 as Make, but_head, ["f16", "f32"]), (but_head, in_f16 as Make, ["f32", "f16"])]
    {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), saved_by);
        match resume_error(folder.path(), resumed_by) {
            CheckpointError::DifferentPrecision { checkpoint, path, saved, now } => {
                assert_eq!(checkpoint.epoch(), 1);
                assert_eq!(
                    (path.as_str(), [saved.as_str(), now.as_str()]),
                    ("head.weight", precisions)
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_fixed_scale_is_that_of_the_builder_after_a_resume_too() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, None, in_f16);
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let fixed = half(FloatDType::F16, LossScaling::fixed(1_024.0));
    let learner = built(with_adam().half_precision(fixed).resume_from(&saved));
    assert_eq!(summary(&learner).loss_scale, Some(1_024.0));
}

/// A loop that resumes from Burn's records only, without naming the checkpoint.
#[test]
fn a_record_that_burn_loads_by_itself_is_found_by_the_first_update() {
    let folder = tempfile::tempdir().unwrap();
    let training = |epochs| supervised(folder.path(), epochs);
    let learner = |training: &SupervisedTraining<Annealed<TinyModel>>, scale: f64| {
        let builder = tiny(Some(FloatDType::F16), LossScaling::new().scale(scale));
        builder.build(training.interrupter()).unwrap()
    };
    let first = training(1);
    let built_first = learner(&first, 64.0);
    first.launch(built_first);
    let second = training(2).checkpoint(1);
    let built_second = learner(&second, 4_096.0);
    let result = second.launch(built_second);
    assert!(result.error.is_none() && result.interrupted.is_none());
    assert_eq!(result.model.explain().control.unwrap().loss_scale, Some(64.0));

    // The batch that ran before is unscaled by its own scale.
    let steady = |scale: f64| {
        let model = TermModel::new(&[0.0]);
        term_in(model, LossScaling::new().scale(scale), sgd(), constant(1.0), RunLength::updates(9))
    };
    let folder = tempfile::tempdir().unwrap();
    steady(64.0).build_loop().unwrap().save(folder.path(), 1).unwrap();
    let record =
        || LrSchedulerRecord::load(folder.path().join("checkpoint/scheduler-1.bpk")).unwrap();
    for before_the_pass in [true, false] {
        let mut learner = built(steady(4_096.0));
        if before_the_pass {
            learner.load_scheduler(record());
        }
        let output = learner.train_step(slope(0.5));
        if !before_the_pass {
            learner.load_scheduler(record());
        }
        learner.lr_step();
        learner.optimizer_step(output.grads);
        assert_eq!(learner.model().inner().values(), [-0.5]);
        assert_eq!(summary(&learner).loss_scale, Some(64.0));
    }

    // A record with other controllers stops the run at its first update.
    let interrupter = Interrupter::new();
    let unscaled = HalfPrecision { loss_scaling: None, ..HalfPrecision::f16() };
    let run = RunLength::updates(9);
    let mut learner = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(), constant(1.0))
        .run(run)
        .half_precision(unscaled)
        .build(interrupter.clone())
        .unwrap();
    learner.load_scheduler(record());
    update(&mut learner, slope(0.5));
    assert_eq!(learner.model().inner().values(), [0.0]);
    let failure = learner.model().failure().unwrap();
    assert!(matches!(*failure, UpdateError::Record { .. }), "{failure:?}");
    let text = error_of(&interrupter);
    assert!(text.contains("it was saved with `loss scale`"), "{text}");
}

/// The error of the loss scaler that stopped a run.
fn scaling_error(learner: &TermLearner) -> ScalingError {
    match learner.model().failure().as_deref() {
        Some(UpdateError::Controller(stopped)) => {
            assert_eq!(stopped.controller, "loss scale");
            stopped.stop.downcast_ref::<ScalingError>().unwrap().clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_leaves_the_scale() {
    let interrupter = Interrupter::new();
    let mut learner = term(TermModel::new(&[1.0]), LossScaling::new().max_failures(3))
        .build(interrupter.clone())
        .unwrap();
    // The third bad update is not skipped: it ends the run.
    for skipped in [1, 2, 2] {
        assert!(!interrupter.should_stop());
        update(&mut learner, slope(f32::NAN));
        assert_eq!(summary(&learner).skipped, skipped);
    }
    assert!(interrupter.should_stop() && interrupter.interruption().is_none());
    assert_eq!(summary(&learner).loss_scale, Some(65_536.0));
    assert_eq!(learner.model().inner().values(), [1.0]);
    match scaling_error(&learner) {
        ScalingError::LossNotFinite { loss, updates: 3 } => assert!(loss.is_nan()),
        other => panic!("{other:?}"),
    }
    let text = error_of(&interrupter);
    assert!(text.contains("the loss was NaN before scaling in 3 updates"), "{text}");
    let failure = learner.model().failure().unwrap().to_string();
    assert!(text.ends_with(&failure), "{text}, not {failure}");
}

/// Burn's own loop ends, and its result has the reason.
#[test]
fn burns_loop_stops_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let training = supervised(folder.path(), 3);
    let builder = tiny(Some(FloatDType::F16), LossScaling::fixed(1e8).max_failures(4));
    let learner = builder.build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.interrupted.is_none());
    let text = result.error.unwrap().to_string();
    assert!(text.contains("scale 100000000, which cannot fall further, in 4 updates"), "{text}");
    let failure = result.model.failure().unwrap().to_string();
    assert!(text.ends_with(&failure), "{text}, not {failure}");
    assert!(!folder.path().join("train/epoch-2").exists(), "it stopped in the first epoch");
}

/// A finite loss whose gradient is NaN at every scale.
#[test]
fn an_overflow_at_the_least_scale_stops_the_run() {
    let interrupter = Interrupter::new();
    let root = |weight: Tensor<1>, _| (weight.cast(FloatDType::F32) * 0.0).sqrt().sum();
    let scaling = LossScaling::new().scale(8.0).minimum(2.0).max_failures(2);
    let mut learner =
        term(TermModel::with_loss(&[1.0], root), scaling).build(interrupter.clone()).unwrap();
    let mut updates = 0;
    while !interrupter.should_stop() {
        update(&mut learner, slope(0.0));
        updates += 1;
        assert!(updates < 10);
    }
    // Two updates lower the scale from 8 to 2, and two more are in vain.
    assert_eq!(updates, 4);
    assert_eq!(learner.model().observation().loss, Some(0.0));
    assert_eq!(scaling_error(&learner), ScalingError::OverflowAtMinimum { scale: 2.0, updates: 2 });
    let text = error_of(&interrupter);
    assert!(text.contains("at scale 2, which cannot fall further, in 2 updates"), "{text}");
}

/// One of many weights is NaN.
#[test]
fn a_weight_that_is_nan_is_the_models_fault() {
    let interrupter = Interrupter::new();
    let model = TermModel::new(&[0.5, 0.25, f32::NAN, 1.0]);
    let mut learner =
        term(model, LossScaling::new().max_failures(1)).build(interrupter.clone()).unwrap();
    let hessian: Vec<Vec<f32>> =
        (0..4).map(|i| (0..4).map(|j| f32::from(u8::from(i == j))).collect()).collect();
    update(&mut learner, Term::new(&hessian, &[0.0; 4]));
    assert!(interrupter.should_stop());
    assert!(matches!(scaling_error(&learner), ScalingError::LossNotFinite { .. }));
    assert_eq!(learner.model().inner().values()[0], 0.5, "the other weights are as they were");
}

#[test]
fn a_checkpoint_of_another_precision_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, None, in_f16);
    let in_f32: Make = || with_adam().loss_scaling(LossScaling::new());
    let error = resume_error(folder.path(), in_f32);
    assert!(
        matches!(&error, CheckpointError::DifferentPrecision { checkpoint, .. } if checkpoint.epoch() == 1),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("`hidden.weight` in f16, but the current model has it in f32"), "{text}");
}

#[test]
fn a_model_that_does_not_scale_its_loss_is_named() {
    let interrupter = Interrupter::new();
    let model = TermModel::new(&[1.0]).without_scaling();
    let mut learner = term(model, LossScaling::new()).build(interrupter.clone()).unwrap();
    update(&mut learner, slope(1.0));
    assert!(interrupter.should_stop());
    let failure = learner.model().failure().unwrap();
    assert!(matches!(*failure, UpdateError::NotScaled), "{failure:?}");
    assert_eq!(learner.model().inner().values(), [1.0]);
    let text = error_of(&interrupter);
    assert!(text.contains("loss.scaled_backward()"), "{text}");
    // The scale stays unchanged.
    update(&mut learner, slope(1.0));
    assert_eq!(learner.model().inner().values(), [1.0]);
}

/// Runs a second backward pass from another loss.
fn twice(weight: Tensor<1>, term: Term) -> Tensor<1> {
    drop((weight.clone().cast(FloatDType::F32).sum() * 2.0).scaled_backward());
    Term::value(weight, term)
}

#[test]
fn a_loss_that_is_scaled_twice_is_named() {
    let interrupter = Interrupter::new();
    let model = TermModel::with_loss(&[1.0], twice);
    let mut learner = term(model, LossScaling::new()).build(interrupter.clone()).unwrap();
    update(&mut learner, slope(1.0));
    assert!(interrupter.should_stop());
    assert_eq!(learner.model().inner().values(), [1.0]);
    let failure = learner.model().failure().unwrap();
    assert!(matches!(*failure, UpdateError::ScaledTwice { calls: 2 }), "{failure:?}");
    let text = error_of(&interrupter);
    assert!(text.ends_with(&failure.to_string()), "{text}");

    // Without loss scaling, a model may run any backward passes.
    let model = TermModel::with_loss(&[1.0], twice);
    let run = RunLength::updates(100);
    let mut learner = built(LearnerBuilder::new(model, sgd(), constant(1.0)).run(run));
    update(&mut learner, slope(0.25));
    assert_eq!(learner.model().inner().values(), [0.75]);
}

/// On another thread, a backward pass has no scale.
#[test]
fn a_loss_that_is_scaled_on_another_thread_is_named() {
    let pass = |training: &mut TrainingLoop<TermModel>| {
        training.pass(|model| {
            let loss = Term::value(model.weight.val(), slope(0.25));
            let backward = || loss.clone().scaled_backward();
            let gradients = std::thread::scope(|scope| scope.spawn(backward).join().unwrap());
            TrainOutput::new(model, gradients, loss)
        });
    };
    let mut training = term(TermModel::new(&[1.0]), LossScaling::new()).build_loop().unwrap();
    pass(&mut training);
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::NotScaled), "{error:?}");
    assert!(error.to_string().contains("on the thread of the pass"), "{error}");
    assert_eq!(training.model().values(), [1.0]);

    // Without loss scaling, any thread works.
    let run = RunLength::updates(100);
    let model = TermModel::new(&[1.0]);
    let mut training =
        LearnerBuilder::new(model, sgd(), constant(1.0)).run(run).build_loop().unwrap();
    pass(&mut training);
    training.update().unwrap();
    assert_eq!(training.model().values(), [0.75]);
}

thread_local! {
    static INNER: RefCell<Option<TermLearner>> = const { RefCell::new(None) };
}

/// A model whose forward pass trains another, of a gradient of 0.5.
fn around_another(weight: Tensor<1>, term: Term) -> Tensor<1> {
    INNER.with_borrow_mut(|inner| update(inner.as_mut().unwrap(), slope(0.5)));
    Term::value(weight, term)
}

#[test]
fn a_learner_inside_of_a_scaled_pass_has_its_own_scale() {
    let without = || {
        let run = RunLength::updates(10);
        built(LearnerBuilder::new(TermModel::new(&[0.0]), sgd(), constant(1.0)).run(run))
    };
    let with = || {
        let scaling = LossScaling::fixed(8.0);
        built(term_in(
            TermModel::new(&[0.0]),
            scaling,
            sgd(),
            constant(1.0),
            RunLength::updates(10),
        ))
    };
    for inner in [without(), with()] {
        INNER.set(Some(inner));
        let model = TermModel::with_loss(&[1.0], around_another);
        let scaling = LossScaling::fixed(1_024.0);
        let run = RunLength::updates(10);
        let mut outer = built(term_in(model, scaling, sgd(), constant(1.0), run));
        for number in 1u8..=3 {
            update(&mut outer, slope(0.25));
            assert!(outer.model().failure().is_none());
            assert_eq!(outer.model().observation().gradient_norm, Some(0.25));
            assert_eq!(outer.model().inner().values(), [1.0 - 0.25 * f32::from(number)]);
            INNER.with_borrow(|inner| {
                let inner = inner.as_ref().unwrap();
                assert!(inner.model().failure().is_none());
                assert_eq!(inner.model().inner().values(), [-0.5 * f32::from(number)]);
            });
        }
        INNER.set(None);
    }
}

/// A batch without a gradient, alone and together with another.
fn assert_learns_nothing<O: Clone + 'static>(output: O) {
    let scaling = LossScaling::new().scale(64.0).growth_interval(3);
    let model = TermModel::new(&[0.0]);
    let run = RunLength::updates(10);
    let mut training = term_in(model, scaling, sgd(), constant(1.0), run).build_loop().unwrap();
    let nothing = |training: &mut TrainingLoop<TermModel>| {
        let item = output.clone();
        training.pass(|_| TrainOutput { grads: GradientsParams::new(), item });
    };
    nothing(&mut training);
    let updated = training.update().unwrap();
    assert_eq!((updated.skipped, updated.loss_scale), (None, Some(64.0)));
    assert_eq!(training.model().values(), [0.0]);
    for before in [true, false] {
        if before {
            nothing(&mut training);
        }
        training.pass(|model| {
            let loss = Term::value(model.weight.val(), slope(-0.5));
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        if !before {
            nothing(&mut training);
        }
        assert_eq!(training.update().unwrap().skipped, None);
    }
    assert_eq!(training.model().values(), [1.0]);
    let control = training.explain().control.unwrap();
    assert_eq!((control.loss_scale, control.skipped), (Some(128.0), 0));
}

#[test]
fn a_batch_without_a_gradient_is_no_error() {
    assert_learns_nothing(Tensor::<1>::zeros([1], &device()));
}

/// Loss scaling gets the loss from `scaled_backward`, whatever the output is; here it is not called.
#[test]
fn a_batch_without_a_gradient_and_with_an_output_that_nobody_knows_is_no_error() {
    assert_learns_nothing(());
}

/// At a rate too small to change an f32 number, the master weights are the original weights, not their roundings.
#[test]
fn master_weights_begin_with_the_weights_before_they_are_rounded() {
    let start = TinyModel::seeded(11, &device());
    for dtype in [FloatDType::F16, FloatDType::BF16] {
        let rounded = to_precision(to_precision(start.clone(), dtype), FloatDType::F32);
        assert_ne!(values(&rounded), values(&start), "the start must not be one of {dtype:?}");
        let run = RunLength::from_items(60, 6).epochs(1);
        let builder = || tiny_in(Some(dtype), LossScaling::new(), constant(1e-30), run);
        let folder = tempfile::tempdir().unwrap();
        let exported = |folder: &Path| {
            let saved = Checkpoint::open(folder, 1).unwrap();
            saved.load_in_f32(TinyModel::new(&Device::default())).unwrap()
        };
        let (of_learner, of_loop) = (folder.path().join("learner"), folder.path().join("loop"));
        let training = supervised(&of_learner, 1);
        let learner = builder().build(training.interrupter()).unwrap();
        let result = training.launch(learner);
        assert!(result.error.is_none());
        assert_eq!(values(result.model.inner()), values(&rounded));
        assert_eq!(values(&exported(&of_learner)), values(&start));

        let mut training = builder().build_loop().unwrap();
        training.save(&of_loop, 1).unwrap();
        assert_eq!(values(&exported(&of_loop)), values(&start), "before the first update");
        for number in 0..3 {
            training.pass(|model| {
                burn::train::TrainStep::step(model, points(&[number, 4, 8], &device()))
            });
            training.update().unwrap();
        }
        training.save(&of_loop, 1).unwrap();
        assert_eq!(values(&exported(&of_loop)), values(&start));
    }
}

/// 0.1 − 0.125 is exact in f32; 0.1 in f16 is 0.09998.
#[test]
fn the_first_update_is_one_of_the_weights_before_they_are_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let scaling = LossScaling::new().scale(16.0);
    let run = RunLength::updates(10);
    let mut training =
        term_in(TermModel::new(&[0.1]), scaling, sgd(), constant(0.5), run).build_loop().unwrap();
    training.pass(|model| {
        let loss = Term::value(model.weight.val(), slope(0.25));
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    });
    training.update().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let exported = saved.load_in_f32(TermModel::new(&[0.0])).unwrap();
    assert_eq!(exported.values(), [0.1f32 - 0.125]);
}

/// f16 ends at 65,504, and rounds numbers below 65,520 to it.
#[test]
fn a_weight_that_half_precision_has_no_number_for_is_named() {
    let builder = |large: f32, half: HalfPrecision| {
        let model = vec![TermModel::new(&[1.0, -2.0]), TermModel::new(&[0.5, large])];
        LearnerBuilder::new(model, sgd(), constant(0.1))
            .run(RunLength::updates(10))
            .half_precision(half)
    };
    for large in [70_000.0, -70_000.0, 65_520.0, f32::MAX] {
        match builder(large, HalfPrecision::f16()).build_loop().err() {
            Some(BuildError::Precision(PrecisionError::TooLarge { path, value, dtype })) => {
                assert_eq!((path.as_str(), dtype), ("1.weight", FloatDType::F16));
                assert_eq!(value, f64::from(large.abs()));
            }
            other => panic!("{large}: {other:?}"),
        }
    }
    let text = builder(70_000.0, HalfPrecision::f16()).build_loop().err().unwrap().to_string();
    assert!(text.contains("`1.weight` has an entry of 70000") && text.contains("except"), "{text}");

    assert!(builder(65_519.0, HalfPrecision::f16()).build_loop().is_ok());
    assert!(builder(70_000.0, HalfPrecision::bf16()).build_loop().is_ok());
    let except = Selection::regex("1.weight");
    let kept = builder(70_000.0, HalfPrecision { except, ..HalfPrecision::f16() });
    let kept = kept.build_loop().unwrap();
    assert_eq!(kept.model()[1].values(), [0.5, 70_000.0]);
    assert_eq!(kept.model()[0].weight.val().dtype(), DType::F16);

    // In a learner too.
    let learner = term(TermModel::new(&[70_000.0]), LossScaling::new());
    let text = learner.build(Interrupter::new()).err().unwrap().to_string();
    assert!(text.contains("`weight` has an entry of 70000"), "{text}");
}

/// Decay, groups and freezing act on the master weights: f16 would round away a decay of 10⁻⁵.
#[test]
fn groups_and_decay_work_on_the_masters() {
    let model = TermModel::new(&[1.0]);
    let run = RunLength::updates(1_000);
    let builder = term_in(model, LossScaling::new(), sgd(), constant(0.1), run)
        .weight_decay(WeightDecay::independent(1e-4));
    let mut learner = built(builder);
    assert!(learner.model().explain().notes.is_empty());
    (0..1_000).for_each(|_| update(&mut learner, slope(0.0)));
    let expected = (1.0f64 - 1e-4).powi(1_000);
    assert!((f64::from(learner.model().inner().values()[0]) - expected).abs() < 5e-4);
}

#[test]
fn master_weights_do_not_go_inside_of_groups() {
    let masters = MasterWeights::new(sgd());
    let run = RunLength::updates(10);
    let error = LearnerBuilder::new(TermModel::new(&[1.0]), masters, constant(0.1))
        .run(run)
        .weight_decay(0.1)
        .build(Interrupter::new())
        .err()
        .unwrap();
    assert!(matches!(error, BuildError::MasterWeights), "{error:?}");
    assert!(error.to_string().contains("half_precision"), "{error}");
}

/// With master weights in a custom loop: the rate is 1 at the skipped update, and 0.9 at the next.
#[test]
fn a_loop_keeps_masters_and_skips() {
    let model: Vec<Linear> = vec![LinearConfig::new(1, 1).with_bias(false).init(&device())];
    let start = model[0].weight.val().into_scalar::<f32>();
    let scaling = LossScaling::new().scale(1_024.0);
    let mut training = LearnerBuilder::new(model, sgd(), linear(1.0, 0.0))
        .run(RunLength::updates(10))
        .half_precision(half(FloatDType::F16, scaling))
        .build_loop()
        .unwrap();
    for (gradient, skipped, scale) in [(100.0, true, 1_024.0), (1e-4, false, 512.0)] {
        training.pass(|model| {
            let loss = model[0].weight.val().cast(FloatDType::F32).sum() * gradient;
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        let updated = training.update().unwrap();
        assert_eq!((updated.skipped.is_some(), updated.loss_scale), (skipped, Some(scale)));
        assert_eq!(updated.rate, if skipped { 0.0 } else { 0.9 });
    }
    assert_eq!(training.next_update(), 2);
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    let exported = vec![LinearConfig::new(1, 1).with_bias(false).init(&device())];
    let exported = Checkpoint::open(folder.path(), 1).unwrap().load_in_f32(exported).unwrap();
    let found = exported[0].weight.val().into_scalar::<f32>();
    assert!((start - found - 0.9e-4).abs() < 1e-7, "{start} {found}");
}

#[test]
fn what_is_out_of_range_or_missing_is_named() {
    fn error(builder: LearnerBuilder<TinyModel>) -> String {
        builder.build(Interrupter::new()).err().unwrap().to_string()
    }
    let scaled = |scaling: LossScaling| error(tiny(None, scaling));
    for scale in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let expected = format!(
            "loss_scaling: scale: {scale:?} is not allowed; allowed: 1.2e-38 to 3.4e38, the range of f32"
        );
        assert_eq!(scaled(LossScaling::new().scale(scale)), expected);
        let half = error(tiny(Some(FloatDType::F16), LossScaling::new().scale(scale)));
        assert_eq!(half, expected);
    }
    assert!(scaled(LossScaling::new().growth_factor(1.0)).contains("growth_factor: 1.0"));
    assert!(scaled(LossScaling::new().backoff_factor(1.0)).contains("backoff_factor: 1.0"));
    assert!(scaled(LossScaling::new().growth_interval(0)).contains("growth_interval: 0"));

    let with = |model: TinyModel| {
        LearnerBuilder::new(model, AdamConfig::new().build(), cosine(0.02))
            .run(RunLength::updates(200))
    };
    let plain = || with(TinyModel::new(&device()));
    assert!(
        error(plain().overflow_cap(OverflowCap::given(1.0)))
            .contains("overflow_cap: has no effect without loss_scaling")
    );
    let on_skip = error(plain().on_skip(OnSkip::Hold));
    assert!(on_skip.contains("on_skip: has no effect without controller"), "{on_skip}");
    let cap = tiny(None, LossScaling::new()).overflow_cap(OverflowCap::given(-2.0));
    assert!(error(cap).contains("overflow_cap: smoothness: -2.0"));
    let measured = tiny(None, LossScaling::new()).overflow_cap(OverflowCap::measured_every(2));
    let measured = error(measured);
    assert!(
        measured.contains("`overflow cap`") && measured.contains("repeat_batches"),
        "{measured}"
    );
    let half = with(to_precision(TinyModel::new(&device()), FloatDType::F16));
    assert!(error(half.loss_scaling(LossScaling::new())).contains("half_precision"));
    let both = plain().half_precision(HalfPrecision::bf16()).loss_scaling(LossScaling::new());
    let both = error(both);
    assert!(both.contains("HalfPrecision { loss_scaling: Some(…), .. }"), "{both}");
    let guarded = tiny(None, LossScaling::new()).not_finite(NotFinite::Stop);
    assert!(error(guarded).contains("not_finite: loss scaling already skips updates"));
    let but =
        |path: &str| HalfPrecision { except: Selection::regex(path), ..HalfPrecision::bf16() };
    let nothing = error(plain().half_precision(but("haed")));
    assert!(
        nothing.starts_with("half_precision.except: ") && nothing.contains("head"),
        "{nothing}"
    );
    let mixed = built(plain().half_precision(but("head"))).model();
    let dtypes =
        [&mixed.inner().hidden, &mixed.inner().head].map(|layer| layer.weight.val().dtype());
    assert_eq!(dtypes, [DType::BF16, DType::F32]);
    // bf16 has the range of f32 and needs no scaling.
    assert!(
        built(plain().half_precision(HalfPrecision::bf16())).model().explain().control.is_none()
    );
}

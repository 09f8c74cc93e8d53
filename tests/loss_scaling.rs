//! Loss scaling in a learner, through everything that Burn's loop does with it.

use anneal_tests::{Term, TermModel, TinyModel, points, supervised};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, MultiGradientsParams, OptimizerRecord, SgdConfig};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::{ExecutionStrategy, Interrupter, Learner, MultiDeviceOptim, SupervisedTraining};
use burn_anneal::precision::{
    LossScaling, Observation, ScalingError, ScalingFailure, ScalingSummary, to_precision,
};
use burn_anneal::prelude::*;
use std::path::Path;

fn device() -> Device {
    Device::default().autodiff()
}

type TinyLearner = Learner<Annealed<TinyModel>>;
type TermLearner = Learner<Annealed<TermModel>>;

fn tiny(dtype: Option<FloatDType>, scaling: LossScaling) -> LearnerBuilder<TinyModel> {
    let builder = LearnerBuilder::new(TinyModel::seeded(11, &device()))
        .optimizer(AdamConfig::new().build())
        .schedule(cosine(0.02))
        .run(RunLength::updates(200))
        .loss_scaling(scaling)
        .interrupter(Interrupter::new());
    match dtype {
        Some(dtype) => builder.half_precision(dtype),
        None => builder,
    }
}

fn term(model: TermModel, scaling: LossScaling) -> LearnerBuilder<TermModel> {
    LearnerBuilder::new(model)
        .optimizer(SgdConfig::new().build())
        .schedule(linear(1.0, 0.0))
        .run(RunLength::updates(100))
        .half_precision(FloatDType::F16)
        .loss_scaling(scaling)
        .interrupter(Interrupter::new())
}

/// A gradient of b, whatever the weights are.
fn slope(b: f32) -> Term {
    Term::new(&[vec![0.0]], &[b])
}

fn summary<M: burn::train::LearnerModel>(learner: &Learner<Annealed<M>>) -> ScalingSummary {
    learner.model().explain().unwrap().scaling.unwrap()
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
        let mut learner = tiny(dtype, LossScaling::new()).build().unwrap();
        (0..150).for_each(|number| update_tiny(&mut learner, number));
        let model = learner.model();
        (model.inner().clone(), summary(&learner))
    };
    let (exact, scaling) = trained(None);
    assert_eq!((scaling.loss_scale, scaling.skipped), (65_536.0, 0));
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
    let mut with = tiny(None, LossScaling::new().growth_interval(7)).build().unwrap();
    let mut without = LearnerBuilder::new(TinyModel::seeded(11, &device()))
        .optimizer(AdamConfig::new().build())
        .schedule(cosine(0.02))
        .run(RunLength::updates(200))
        .build()
        .unwrap();
    for number in 0..30 {
        update_tiny(&mut with, number);
        update_tiny(&mut without, number);
    }
    assert_eq!(summary(&with).loss_scale, 65_536.0 * 16.0);
    assert_eq!(values(with.model().inner()), values(without.model().inner()));
}

#[test]
fn an_overflow_skips_the_whole_update() {
    let mut learner = tiny(Some(FloatDType::F16), LossScaling::new().scale(1e9)).build().unwrap();
    let start = values(learner.model().inner());
    update_tiny(&mut learner, 0);
    assert_eq!(values(learner.model().inner()), start);
    let scaling = summary(&learner);
    assert_eq!((scaling.loss_scale, scaling.skipped), (f64::from(1e9f32 / 2.0), 1));
    let seen = *learner.model().observation().unwrap();
    assert!(seen.overflow && seen.loss.unwrap() > 0.5, "{seen:?}");
    // The scale falls until it fits, and training goes on.
    (1..40).for_each(|number| update_tiny(&mut learner, number));
    let scaling = summary(&learner);
    assert!((5..20).contains(&scaling.skipped), "{scaling}");
    assert_ne!(values(learner.model().inner()), start);
}

#[test]
fn what_an_update_saw_is_unscaled() {
    let mut learner = term(TermModel::new(&[3.0]), LossScaling::fixed(1_024.0)).build().unwrap();
    update(&mut learner, slope(-0.5));
    let Observation { loss, gradient_norm, overflow, .. } = *learner.model().observation().unwrap();
    assert_eq!((loss, gradient_norm, overflow), (Some(-1.5), Some(0.5), false));
    assert_eq!(learner.model().inner().values(), [3.5]);
}

/// Both batches of an update have the scale of that update, and their sum does not overflow in f16.
#[test]
fn accumulated_batches_have_one_scale_and_a_sum_in_f32() {
    let scaling = LossScaling::new().scale(1_000.0).growth_interval(1);
    let mut learner = term(TermModel::new(&[0.0]), scaling).build().unwrap();
    let mut sum = burn::optim::GradientsAccumulator::new();
    for _ in 0..3 {
        // 1,000 · 50 fits in f16, three times that does not.
        let output = learner.train_step(slope(50.0));
        sum.accumulate(&learner.model(), output.grads);
    }
    learner.lr_step();
    learner.optimizer_step(sum.grads());
    assert_eq!(learner.model().inner().values(), [-150.0]);
    assert_eq!(summary(&learner).loss_scale, 2_000.0);
    assert_eq!(learner.model().observation().unwrap().loss, Some(0.0));
}

/// bf16 has even numbers only from 256 on. It needs no loss scaling, but sums in f32.
#[test]
fn accumulated_batches_of_bf16_have_a_sum_in_f32() {
    let mut learner = LearnerBuilder::new(TermModel::new(&[0.0]))
        .optimizer(SgdConfig::new().build())
        .schedule(constant(1.0))
        .run(RunLength::updates(10))
        .half_precision(FloatDType::BF16)
        .clip_global_norm(1e6)
        .build()
        .unwrap();
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
        let builder = tiny(dtype, LossScaling::new().growth_interval(2))
            .gradient_reduction(GradientReduction::Mean)
            .run(RunLength::from_items(60, 6).epochs(2).gradient_accumulation(3))
            .interrupter(training.interrupter());
        let learner = builder.build().unwrap();
        let training = learner
            .model()
            .scaling_metrics()
            .into_iter()
            .fold(training, |training, metric| training.metric_train_numeric(metric));
        let result = training.launch(learner);
        assert!(result.error.is_none() && result.interrupted.is_none());
        let scales = log(folder.path(), 1, "Loss_Scale");
        (values(result.model.inner()), scales)
    };
    let (exact, _) = run(None);
    let (half, scales) = run(Some(FloatDType::F16));
    // An update every 3 batches, 4 in an epoch, the last of one batch. Each batch but those before the
    // first update says the scale of the last update; the third is the first with a grown scale.
    let updates: Vec<f64> = scales.into_iter().filter(|scale| *scale != 0.0).collect();
    assert_eq!(
        updates,
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
        let learner = tiny(dtype, LossScaling::new())
            .run(RunLength::from_items(60, 6).epochs(2).devices(2))
            .cap_rate(RateCap::measured_every(2))
            .interrupter(training.interrupter())
            .build()
            .unwrap();
        let result = training.launch(learner);
        assert!(result.error.is_none() && result.interrupted.is_none());
        let seen = *result.model.observation().unwrap();
        assert!(seen.loss.is_some() && seen.movement.is_some(), "{seen:?}");
        let scaling = result.model.explain().unwrap().scaling.unwrap();
        assert!(scaling.skipped == 0 && scaling.smoothness.is_some(), "{scaling}");
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
    let mut learner =
        term(TermModel::new(&[0.0]), scaling()).clip_global_norm(60.0).build().unwrap();
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

/// The norm that clipping needs is that of unscaled gradients, and tells of overflow too.
#[test]
fn clipping_comes_after_unscaling() {
    let mut learner = term(TermModel::new(&[0.0]), LossScaling::fixed(512.0))
        .clip_global_norm(2.0)
        .build()
        .unwrap();
    update(&mut learner, slope(8.0));
    assert_eq!(learner.model().observation().unwrap().gradient_norm, Some(8.0));
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
        let mut learner = term(TermModel::new(&[0.0]), scaling)
            .run(RunLength::updates(4))
            .on_skip(on_skip)
            .build()
            .unwrap();
        let mut moved = vec![];
        for b in [-1.0, -100.0, -1.0, -1.0] {
            let before = learner.model().inner().values()[0];
            update(&mut learner, slope(b));
            moved.push(learner.model().inner().values()[0] - before);
        }
        assert_eq!(moved.remove(1), 0.0, "it is skipped");
        assert_eq!(moved, expected, "{on_skip:?}");
        let held = u64::from(on_skip == OnSkip::Hold);
        assert_eq!((summary(&learner).skipped, summary(&learner).held), (1, held));
        let text = learner.model().explain().unwrap().to_string();
        assert!(text.contains("loss scale 500, 1 updates skipped"), "{text}");
    }
}

/// A run whose scale grows to nonsense after each 9 good updates: it overflows at the last update of the first
/// epoch, and now and then later.
fn overflowing() -> LossScaling {
    LossScaling::new().scale(1_024.0).growth_interval(9).growth_factor(1e4)
}

/// Update 0 is skipped, and update 1 trains the layer that begins with it.
#[test]
fn a_skipped_update_thaws_what_the_next_one_trains() {
    let hidden = |learner: &TinyLearner| {
        let weight = learner.model().inner().hidden.weight.val();
        weight.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    for (on_skip, thawed) in [(OnSkip::Advance, true), (OnSkip::Hold, false)] {
        let scaling = LossScaling::new().scale(1e8).backoff_factor(1e-6);
        let mut learner = tiny(Some(FloatDType::F16), scaling)
            .groups(layer_decay(1.0).unfreeze_layers_at([Span::steps(1), Span::steps(0)]))
            .on_skip(on_skip)
            .build()
            .unwrap();
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
    let mut one = term(TermModel::new(&[0.0]), scaling).build().unwrap();
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
        assert_eq!((summary(&one).loss_scale, summary(&other).loss_scale), (1_024.0, 512.0));
    }
}

/// What `run` asks the builder for.
type Ask = fn(LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel>;

fn run(folder: &Path, epochs: usize, from: Option<usize>, ask: Ask) -> Vec<f32> {
    let training = supervised(folder, epochs);
    let builder = LearnerBuilder::new(TinyModel::seeded(5, &device()))
        .optimizer(AdamConfig::new().build())
        .schedule(cosine(0.05).warmup(Span::steps(5)))
        .run(RunLength::from_items(60, 6).epochs(4))
        .groups(GroupsConfig::new().group(Group::rest("all")))
        .weight_decay(0.01)
        .half_precision(FloatDType::F16)
        .interrupter(training.interrupter());
    let mut builder = ask(builder);
    let training = match from {
        Some(epoch) => {
            builder = builder.resume_from(&SavedEpoch::open(folder, epoch).unwrap());
            training.checkpoint(epoch)
        }
        None => training,
    };
    let learner = builder.build().unwrap();
    let model = learner.model();
    let training = model
        .scaling_metrics()
        .into_iter()
        .fold(training, |training, metric| training.metric_train_numeric(metric));
    let training = model
        .rate_metrics()
        .into_iter()
        .fold(training, |training, metric| training.metric_train_numeric(metric));
    let result = training.launch(learner);
    assert!(result.error.is_none() && result.interrupted.is_none());
    let exported = SavedEpoch::open(folder, epochs).unwrap();
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

/// Four epochs at once, and one epoch and then three: the same losses, scales and rates. Gives the logs of a
/// metric in the first epoch and in all.
fn assert_resumes_exactly(ask: Ask, metrics: &[&str]) -> impl Fn(&str) -> (Vec<f64>, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let expected = run(&whole, 4, None, ask);
    run(&parts, 1, None, ask);
    assert_eq!(run(&parts, 4, Some(1), ask), expected);
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
    let advance: Ask = |builder| builder.loss_scaling(overflowing());
    let hold: Ask = |builder| builder.loss_scaling(overflowing()).on_skip(OnSkip::Hold);
    for ask in [advance, hold] {
        let log = assert_resumes_exactly(ask, &["Loss", "Loss_Scale", "Skipped", "Rate_all"]);
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
    let ask: Ask = |builder| {
        builder
            .loss_scaling(LossScaling::new().scale(1_024.0))
            .cap_rate(RateCap::measured_every(4).limit(120.0))
    };
    let log = assert_resumes_exactly(ask, &["Loss", "Loss_Scale", "Rate_Cap", "Rate_all"]);
    let (_, factors) = log("Rate_Cap");
    let cut = factors.iter().filter(|factor| **factor < 1.0).count();
    assert!((1..40).contains(&cut), "{factors:?}");
}

/// Rates of 1, and from update 2 on of 0.5; the update of the drop is skipped. v ← v / 2 + η g, and 0 at a drop.
#[test]
fn a_drop_of_the_rate_at_a_skipped_update_is_that_of_the_next() {
    for (rate_drop, expected) in [(RateDrop::keep(), 3.75), (RateDrop::reset(), 3.0)] {
        let mut learner = term(TermModel::new(&[0.0]), LossScaling::new().scale(1_000.0))
            .optimizer(RateInsideSgd::new(0.5).unwrap())
            .schedule(step_decay(1.0, Span::steps(2), 0.5))
            .run(RunLength::updates(4))
            .rate_drop(rate_drop)
            .build()
            .unwrap();
        for b in [-1.0, -1.0, -100.0, -1.0] {
            update(&mut learner, slope(b));
        }
        assert_eq!(summary(&learner).skipped, 1);
        assert_eq!(learner.model().inner().values(), [expected]);
    }
}

/// The last update of the first epoch is skipped, and its rate is the first that is lower: the velocity becomes
/// 0 at the first update after the resume.
#[test]
fn a_drop_of_the_rate_at_a_skipped_update_outlives_a_resume() {
    let ask: Ask = |builder| {
        builder
            .optimizer(RateInsideSgd::new(0.9).unwrap())
            .schedule(step_decay(0.1, Span::steps(9), 0.1))
            .rate_drop(RateDrop::reset())
            .loss_scaling(overflowing())
    };
    let log = assert_resumes_exactly(ask, &["Loss", "Loss_Scale", "Skipped", "Rate_all"]);
    assert_eq!(log("Skipped").0.last(), Some(&1.0));
}

/// Nine updates of ten are done under an independent decay of 0.1, whatever the schedule does at the skipped one.
#[test]
fn metrics_of_groups_say_what_was_done() {
    for (on_skip, capped) in [(OnSkip::Advance, false), (OnSkip::Hold, false), (OnSkip::Hold, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let training = supervised(folder.path(), 1);
        let builder = tiny(Some(FloatDType::F16), overflowing())
            .schedule(constant(0.01))
            .run(RunLength::from_items(60, 6).epochs(1))
            .groups(GroupsConfig::new().group(Group::rest("all")))
            .weight_decay(WeightDecay::independent(0.1))
            .on_skip(on_skip)
            .interrupter(training.interrupter());
        let builder = match capped {
            true => builder.cap_rate(RateCap::given(1.0).limit(1e30)),
            false => builder,
        };
        let learner = builder.build().unwrap();
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

/// A schedule that waited would jump where nobody knows of it any more.
#[test]
fn a_schedule_that_waited_is_not_resumed_without_loss_scaling() {
    let folder = tempfile::tempdir().unwrap();
    // The squares of the first gradients are too much for f32.
    let hold: Ask = |builder| {
        let scaling = LossScaling::new().scale(1e24).backoff_factor(1e-6);
        builder.half_precision(FloatDType::BF16).loss_scaling(scaling).on_skip(OnSkip::Hold)
    };
    run(folder.path(), 1, None, hold);
    let saved = SavedEpoch::open(folder.path(), 1).unwrap();
    let resumed = LearnerBuilder::new(TinyModel::new(&device()))
        .optimizer(AdamConfig::new().build())
        .schedule(cosine(0.05).warmup(Span::steps(5)))
        .run(RunLength::from_items(60, 6).epochs(4))
        .groups(GroupsConfig::new().group(Group::rest("all")))
        .weight_decay(0.01)
        .half_precision(FloatDType::BF16)
        .resume_from(&saved);
    let error = resumed.build().err().unwrap().to_string();
    assert!(error.contains("waited for 1 updates"), "{error}");
}

#[test]
fn a_fixed_scale_is_that_of_the_builder_after_a_resume_too() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, None, |builder| builder);
    let saved = SavedEpoch::open(folder.path(), 1).unwrap();
    let learner = tiny(Some(FloatDType::F16), LossScaling::fixed(1_024.0))
        .schedule(cosine(0.05).warmup(Span::steps(5)))
        .run(RunLength::from_items(60, 6).epochs(4))
        .groups(GroupsConfig::new().group(Group::rest("all")))
        .weight_decay(0.01)
        .resume_from(&saved)
        .build()
        .unwrap();
    assert_eq!(summary(&learner).loss_scale, 1_024.0);
}

/// A loop that tells nobody what it resumes from: Burn's records alone.
#[test]
fn a_record_that_burn_loads_by_itself_is_found_by_the_first_update() {
    let folder = tempfile::tempdir().unwrap();
    let training = |epochs| supervised(folder.path(), epochs);
    let learner = |training: &SupervisedTraining<Annealed<TinyModel>>, scale: f64| {
        tiny(Some(FloatDType::F16), LossScaling::new().scale(scale))
            .interrupter(training.interrupter())
            .build()
            .unwrap()
    };
    let first = training(1);
    let built = learner(&first, 64.0);
    first.launch(built);
    let second = training(2).checkpoint(1);
    let built = learner(&second, 4_096.0);
    let result = second.launch(built);
    assert_eq!(result.model.explain().unwrap().scaling.unwrap().loss_scale, 64.0);

    // The batch that ran before anybody looked is unscaled by the scale that it had.
    let record = OptimizerRecord::load(folder.path().join("checkpoint/optim-2.bpk")).unwrap();
    let mut learner =
        term(TermModel::new(&[0.0]), LossScaling::new().scale(4_096.0)).build().unwrap();
    learner.load_optim(record);
    update(&mut learner, slope(0.5));
    assert_eq!(learner.model().inner().values(), [-0.5]);
    assert_eq!(summary(&learner).loss_scale, 64.0);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_leaves_the_scale() {
    let interrupter = Interrupter::new();
    let mut learner = term(TermModel::new(&[1.0]), LossScaling::new().max_failures(3))
        .interrupter(interrupter.clone())
        .build()
        .unwrap();
    for number in 1..=3 {
        assert!(!interrupter.should_stop());
        update(&mut learner, slope(f32::NAN));
        assert_eq!(summary(&learner).skipped, number);
    }
    assert!(interrupter.should_stop());
    assert_eq!(summary(&learner).loss_scale, 65_536.0);
    assert_eq!(learner.model().inner().values(), [1.0]);
    let model = learner.model();
    let Some(ScalingFailure::Scaling(ScalingError::LossNotFinite { loss, updates: 3 })) =
        model.failure()
    else {
        panic!("{:?}", model.failure());
    };
    assert!(loss.is_nan());
    let reason = interrupter.interruption().unwrap().reason.unwrap();
    assert!(reason.contains("the loss was NaN before it was scaled in 3 updates"), "{reason}");
}

/// Burn's own loop ends, and its result says why.
#[test]
fn burns_loop_stops_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let training = supervised(folder.path(), 3);
    let mut builder = tiny(Some(FloatDType::F16), LossScaling::fixed(1e8).max_failures(4));
    builder = builder.interrupter(training.interrupter());
    let result = training.launch(builder.build().unwrap());
    let reason = result.interrupted.unwrap().reason.unwrap();
    assert!(reason.contains("scale 100000000, which may not fall, in 4 updates"), "{reason}");
    assert!(result.model.failure().is_some());
    assert!(!folder.path().join("train/epoch-2").exists(), "it stopped in the first epoch");
}

/// A finite loss whose gradient is NaN at every scale.
#[test]
fn an_overflow_at_the_least_scale_stops_the_run() {
    let interrupter = Interrupter::new();
    let root = |weight: Tensor<1>, _| (weight.cast(FloatDType::F32) * 0.0).sqrt().sum();
    let scaling = LossScaling::new().scale(8.0).minimum(2.0).max_failures(2);
    let mut learner = term(TermModel::with_loss(&[1.0], root), scaling)
        .interrupter(interrupter.clone())
        .build()
        .unwrap();
    let mut updates = 0;
    while !interrupter.should_stop() {
        update(&mut learner, slope(0.0));
        updates += 1;
        assert!(updates < 10);
    }
    // Two that lower the scale from 8 to 2, and two in vain.
    assert_eq!(updates, 4);
    assert_eq!(learner.model().observation().unwrap().loss, Some(0.0));
    let reason = interrupter.interruption().unwrap().reason.unwrap();
    assert!(reason.contains("at scale 2, which may not fall, in 2 updates"), "{reason}");
}

/// One weight of many that is NaN.
#[test]
fn a_weight_that_is_nan_is_the_models_fault() {
    let interrupter = Interrupter::new();
    let model = TermModel::new(&[0.5, 0.25, f32::NAN, 1.0]);
    let mut learner = term(model, LossScaling::new().max_failures(1))
        .interrupter(interrupter.clone())
        .build()
        .unwrap();
    let hessian: Vec<Vec<f32>> =
        (0..4).map(|i| (0..4).map(|j| f32::from(u8::from(i == j))).collect()).collect();
    update(&mut learner, Term::new(&hessian, &[0.0; 4]));
    assert!(interrupter.should_stop());
    assert!(matches!(
        learner.model().failure(),
        Some(ScalingFailure::Scaling(ScalingError::LossNotFinite { .. }))
    ));
    assert_eq!(learner.model().inner().values()[0], 0.5, "the other weights are as they were");
}

#[test]
fn a_checkpoint_of_another_precision_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let scaled: Ask = |builder| builder;
    run(folder.path(), 1, None, scaled);
    let saved = SavedEpoch::open(folder.path(), 1).unwrap();
    let resumed = LearnerBuilder::new(TinyModel::new(&device()))
        .optimizer(AdamConfig::new().build())
        .schedule(cosine(0.05).warmup(Span::steps(5)))
        .run(RunLength::from_items(60, 6).epochs(4))
        .resume_from(&saved);
    let error = resumed.build().err().unwrap().to_string();
    assert!(error.contains("parameters in f16, and the model of now in f32"), "{error}");
}

#[test]
fn a_model_that_does_not_scale_its_loss_is_named() {
    let interrupter = Interrupter::new();
    let model = TermModel::new(&[1.0]).without_scaling();
    let mut learner =
        term(model, LossScaling::new()).interrupter(interrupter.clone()).build().unwrap();
    update(&mut learner, slope(1.0));
    assert!(interrupter.should_stop());
    assert_eq!(learner.model().failure(), Some(&ScalingFailure::NotScaled));
    assert_eq!(learner.model().inner().values(), [1.0]);
    let reason = interrupter.interruption().unwrap().reason.unwrap();
    assert!(reason.contains("loss.scale_loss().backward()"), "{reason}");
}

/// Decay, groups and freezing work on the masters: f16 alone would round a decay of 10⁻⁵ away.
#[test]
fn groups_and_decay_work_on_the_masters() {
    let builder = || {
        term(TermModel::new(&[1.0]), LossScaling::new())
            .schedule(constant(0.1))
            .run(RunLength::updates(1_000))
            .weight_decay(WeightDecay::independent(1e-4))
    };
    let mut learner = builder().build().unwrap();
    assert!(learner.model().explain().unwrap().notes.is_empty());
    (0..1_000).for_each(|_| update(&mut learner, slope(0.0)));
    let expected = (1.0f64 - 1e-4).powi(1_000);
    assert!((f64::from(learner.model().inner().values()[0]) - expected).abs() < 5e-4);
}

#[test]
fn master_weights_do_not_go_inside_of_groups() {
    let error = LearnerBuilder::new(TermModel::new(&[1.0]))
        .optimizer(MasterWeights::new(SgdConfig::new().build()))
        .schedule(constant(0.1))
        .run(RunLength::updates(10))
        .weight_decay(0.1)
        .build()
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("half_precision"), "{error}");
}

/// With masters in a loop of one's own.
#[test]
fn a_group_optimizer_keeps_masters_and_skips() {
    use burn::optim::GradientsParams;
    let run = RunLength::updates(10);
    let schedule = linear(1.0, 0.0).resolve(run).unwrap();
    let model = to_precision(
        vec![LinearConfig::new(1, 1).with_bias(false).init(&device())],
        FloatDType::F16,
    );
    let groups = GroupsConfig::new().resolve(&model, &schedule, run).unwrap();
    let mut optimizer =
        burn_anneal::groups::GroupOptimizer::with_master_weights(groups, SgdConfig::new().build())
            .unwrap();
    let mut model: Vec<Linear> = optimizer.prepare(model);
    let start = model[0].weight.val().into_scalar::<f32>();
    let mut gradients = GradientsParams::new();
    let gradient = Tensor::<2>::from_floats([[1e-4]], &Device::default());
    model = optimizer.skip(model);
    assert_eq!(optimizer.next_step(), 1);
    gradients.register(model[0].weight.id, gradient);
    let model = optimizer.step(model, gradients);
    let exported = burn_anneal::precision::with_master_weights(model, optimizer.to_record());
    let found = exported[0].weight.val().into_scalar::<f32>();
    assert!((start - found - 0.9e-4).abs() < 1e-7, "{start} {found}");
}

#[test]
fn what_is_out_of_range_or_missing_is_named() {
    let error = |builder: LearnerBuilder<TinyModel>| builder.build().err().unwrap().to_string();
    let scaled = |scaling: LossScaling| error(tiny(None, scaling));
    for scale in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let text = scaled(LossScaling::new().scale(scale));
        assert_eq!(
            text,
            format!(
                "loss_scaling: scale: {scale:?} is not allowed; allowed: 1.2e-38 to 3.4e38, as f32 has them"
            )
        );
    }
    assert!(scaled(LossScaling::new().growth_factor(1.0)).contains("growth_factor: 1.0"));
    assert!(scaled(LossScaling::new().backoff_factor(1.0)).contains("backoff_factor: 1.0"));
    assert!(scaled(LossScaling::new().growth_interval(0)).contains("growth_interval: 0"));

    let plain = || {
        LearnerBuilder::new(TinyModel::new(&device()))
            .optimizer(AdamConfig::new().build())
            .schedule(cosine(0.02))
            .run(RunLength::updates(200))
    };
    let stop = Interrupter::new;
    assert!(
        error(plain().loss_scaling(LossScaling::new()))
            .contains("interrupter(training.interrupter())")
    );
    assert!(error(plain().half_precision(FloatDType::F16)).contains("interrupter"));
    assert!(
        error(plain().half_precision(FloatDType::F32).interrupter(stop())).contains("F16, BF16")
    );
    assert!(
        error(plain().cap_rate(RateCap::given(1.0)))
            .contains("cap_rate: does nothing without loss_scaling")
    );
    assert!(error(plain().on_skip(OnSkip::Hold)).contains("on_skip"));
    let cap = tiny(None, LossScaling::new()).cap_rate(RateCap::given(-2.0));
    assert!(error(cap).contains("cap_rate: smoothness: -2.0"));
    let half = LearnerBuilder::new(to_precision(TinyModel::new(&device()), FloatDType::F16))
        .optimizer(AdamConfig::new().build())
        .schedule(cosine(0.02))
        .run(RunLength::updates(200))
        .loss_scaling(LossScaling::new())
        .interrupter(stop());
    assert!(error(half).contains("half_precision"));
    assert!(
        error(plain().half_precision_except(Selection::norms()))
            .contains("half_precision_except: does nothing without half_precision")
    );
    let nothing = plain().half_precision(FloatDType::BF16);
    assert!(error(nothing.half_precision_except(Selection::path("haed"))).contains("head"));
    let mixed = plain().half_precision(FloatDType::BF16);
    let mixed = mixed.half_precision_except(Selection::path("head")).build().unwrap().model();
    let dtypes =
        [&mixed.inner().hidden, &mixed.inner().head].map(|layer| layer.weight.val().dtype());
    assert_eq!(dtypes, [DType::BF16, DType::F32]);
    // bf16 has the range of f32 and needs no scaling, so nothing to stop a run with either.
    assert!(plain().half_precision(FloatDType::BF16).build().is_ok());
}

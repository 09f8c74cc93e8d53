//! Tasks of a model that learns: in Burn's learner, launched, on two devices, and resumed.

use super::device;
use anneal_tests::{Points, Quiet, TinyModel, batches, flat, points, seeded};
use burn::module::Module;
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::{FloatDType, Int, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{
    ClassificationOutput, ExecutionStrategy, InferenceStep, LearnerModel, MultiDeviceOptim,
    SupervisedTraining, TrainOutput, TrainStep,
};
use burn_anneal::control::{LoggedUpdate, TaskConflict, UpdateLog};
use burn_anneal::prelude::*;
use std::path::Path;

/// The classes of a [`TinyModel`], and whether a feature is above another, with a separate head.
#[derive(Module, Debug)]
struct TwoTasks {
    classes: TinyModel,
    above: Linear,
}

impl TwoTasks {
    fn new() -> Self {
        let above = TinyModel::seeded(9, &device()).head;
        Self { classes: TinyModel::seeded(5, &device()), above }
    }

    fn above(&self, points: Points) -> Tensor<1> {
        let features = points.features.clone();
        let count = features.dims()[0];
        let above = features
            .clone()
            .slice([0..count, 0..1])
            .greater(features.clone().slice([0..count, 1..2]));
        let targets: Tensor<1, Int> = above.int().flatten(0, 1);
        let features = features.cast(self.above.weight.val().dtype());
        let scores = self.above.forward(self.classes.hidden.forward(features).tanh());
        let scores = scores.cast(FloatDType::F32);
        CrossEntropyLossConfig::new().init(&scores.device()).forward(scores, targets)
    }
}

impl TrainStep for TwoTasks {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> TrainOutput<ClassificationOutput> {
        let mut tasks = TaskGradients::of(self);
        let classes = tasks.task("classes", |model| model.classes.forward(points.clone()));
        tasks.weighted_task("above", 0.5, |model| model.above(points));
        tasks.output(classes)
    }
}

impl InferenceStep for TwoTasks {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> ClassificationOutput {
        self.classes.forward(points)
    }
}

/// Twelve updates of two batches of 5 points, passed one after the other by a loop, or at once by two devices.
const BATCHES: usize = 24;

fn builder() -> LearnerBuilder<TwoTasks> {
    let groups = GroupsConfig::new()
        .group(Group::new("trunk", "classes.hidden"))
        .group(Group::rest("heads"));
    LearnerBuilder::new(TwoTasks::new(), SgdConfig::new().build(), cosine(0.5))
        .run(RunLength::from_items(5 * BATCHES, 5).gradient_accumulation(2))
        .gradient_reduction(GradientReduction::Mean)
        .groups(groups)
        .controller("conflict", TaskConflict::new().half_life(2).on_group("trunk"))
}

fn pass(training: &mut TrainingLoop<TwoTasks>, batch: usize) {
    let items: Vec<usize> = (5 * batch..5 * batch + 5).collect();
    training.pass(|model| TrainStep::step(model, points(&items, &device())));
}

fn training<M>(folder: &Path) -> SupervisedTraining<M>
where
    M: LearnerModel
        + TrainStep<Input = Points, Output = ClassificationOutput>
        + InferenceStep<Input = Points, Output = ClassificationOutput>,
{
    SupervisedTraining::new(folder, batches(5 * BATCHES, 5, 0), batches(5, 5, 0))
        .num_epochs(1)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
}

type Ran = (Vec<f32>, Vec<LoggedUpdate>);

fn logged(folder: &Path) -> Vec<LoggedUpdate> {
    UpdateLog::read(folder).unwrap().updates
}

/// A loop of these two batches for each update.
fn by_hand(builder: LearnerBuilder<TwoTasks>, of_update: impl Fn(usize) -> [usize; 2]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut training = builder.log_updates(folder.path()).build_loop().unwrap();
    for update in 0..BATCHES / 2 {
        of_update(update).into_iter().for_each(|batch| pass(&mut training, batch));
        training.update().unwrap();
    }
    (flat(&training.into_model()), logged(folder.path()))
}

fn assert_same((weights, log): &Ran, (expected, lines): &Ran, what: &str) {
    assert_eq!((log.len(), lines.len()), (12, 12), "{what}");
    for (found, expected) in weights.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{what}: {found}, not {expected}");
    }
    for (line, expected) in log.iter().zip(lines) {
        let [found, cosine] = [line, expected].map(|line| line.task_cosine.unwrap());
        assert!((found - cosine).abs() < 1e-4, "{what}: {found}, not {cosine}");
        assert!((line.rates[0] - expected.rates[0]).abs() < 1e-4, "{what}");
        assert!((line.loss.unwrap() - expected.loss.unwrap()).abs() < 1e-5, "{what}");
    }
}

#[test]
fn a_learner_of_every_kind_trains_as_a_loop() {
    let in_a_row = |update: usize| [2 * update, 2 * update + 1];
    let expected = by_hand(builder(), in_a_row);
    let factors: Vec<f64> =
        expected.1.iter().map(|line| line.rates[0] / line.schedule_rate).collect();
    assert!(factors.iter().any(|factor| *factor < 0.99), "the tasks conflict: {factors:?}");

    let folder = tempfile::tempdir().unwrap();
    let launched = builder().log_updates(folder.path());
    let result = launched.launch(training(folder.path()).grads_accumulation(2)).unwrap();
    let weights = flat(&result.finished().unwrap());
    assert_same(&(weights, logged(folder.path())), &expected, "launched");

    let folder = tempfile::tempdir().unwrap();
    let by_burn = training(folder.path()).grads_accumulation(2);
    let learner = builder().log_updates(folder.path()).build(by_burn.interrupter()).unwrap();
    let result = by_burn.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    let weights = flat(&result.model.into_inner());
    assert_same(&(weights, logged(folder.path())), &expected, "Burn's loop");

    let half =
        |builder: LearnerBuilder<TwoTasks>| builder.loss_scaling(LossScaling::fixed(4_096.0));
    assert_same(&by_hand(half(builder()), in_a_row), &expected, "scaled");
}

/// Device 0 has the first half of the items and device 1 the other.
#[test]
fn two_devices_train_as_one_with_the_batches_of_both() {
    let expected = by_hand(builder(), |update| [update, BATCHES / 2 + update]);
    let folder = tempfile::tempdir().unwrap();
    let devices = ExecutionStrategy::multi(vec![device(); 2], MultiDeviceOptim::OptimMainDevice);
    let builder = builder().run(RunLength::of_training()).execution(devices);
    let result = builder.log_updates(folder.path()).launch(training(folder.path())).unwrap();
    let weights = flat(&result.finished().unwrap());
    assert_same(&(weights, logged(folder.path())), &expected, "two devices");
}

/// The result of one backward pass of the summed losses. The output of a pass has only the loss of the classes.
#[test]
fn without_a_rule_it_is_the_training_of_the_weighted_sum() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [mut tasks, mut sum] = folders.each_ref().map(|folder| {
        LearnerBuilder::new(TwoTasks::new(), SgdConfig::new().build(), constant(0.3))
            .run(RunLength::updates(9))
            .log_updates(folder.path())
            .build_loop()
            .unwrap()
    });
    for batch in 0..9 {
        pass(&mut tasks, batch);
        tasks.update().unwrap();
        let points = points(&(5 * batch..5 * batch + 5).collect::<Vec<_>>(), &device());
        sum.pass(|model| {
            let loss = model.classes.forward(points.clone()).loss + model.above(points) * 0.5;
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        });
        sum.update().unwrap();
    }
    let weights = [tasks, sum].map(|training| flat(&training.into_model()));
    for (found, expected) in weights[0].iter().zip(&weights[1]) {
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
    let [tasks, sum] = folders.each_ref().map(|folder| logged(folder.path()));
    assert_eq!(tasks.len(), 9);
    for (found, expected) in tasks.iter().zip(&sum) {
        let [found, expected] = [found, expected].map(|line| line.loss.unwrap());
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
}

#[test]
fn a_loop_that_is_resumed_goes_on_bit_for_bit() {
    let adam = || {
        let adam = AdamWConfig::new().with_weight_decay(0.0).build();
        LearnerBuilder::new(TwoTasks::new(), adam, cosine(0.1))
            .run(RunLength::updates(BATCHES as u64))
            .controller("conflict", TaskConflict::new().half_life(3))
    };
    let train = |training: &mut TrainingLoop<TwoTasks>, part: std::ops::Range<usize>| {
        for batch in part {
            pass(training, batch);
            training.update().unwrap();
        }
    };
    let state = |training: &TrainingLoop<TwoTasks>| {
        training.explain().control.unwrap().controllers.remove(0).state
    };
    let mut whole = adam().build_loop().unwrap();
    train(&mut whole, 0..BATCHES);
    for cut in [1, 7, 15] {
        let folder = tempfile::tempdir().unwrap();
        let mut first = adam().build_loop().unwrap();
        train(&mut first, 0..cut);
        let saved = first.save(folder.path(), 1).unwrap();
        drop(first);
        let mut resumed = adam().resume_from(&saved).build_loop().unwrap();
        train(&mut resumed, cut..BATCHES);
        assert_eq!(state(&resumed), state(&whole), "cut at {cut}");
        assert_eq!(flat(resumed.model()), flat(whole.model()), "cut at {cut}");
    }
}

/// Saved after each of three epochs, and resumed from the second.
#[test]
fn a_launched_run_is_resumed_with_its_conflicts() {
    let launch = |folder: &Path, epochs: usize| {
        let training = SupervisedTraining::new(folder, seeded(60, 6, 3), seeded(12, 6, 4))
            .num_epochs(epochs)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .metrics((LossMetric::new(),));
        let builder = LearnerBuilder::new(TwoTasks::new(), SgdConfig::new().build(), constant(0.5));
        let result = builder
            .controller("conflict", TaskConflict::new().half_life(5))
            .checkpoints(Checkpoints::new(folder))
            .on_mismatch(OnMismatch::KeepStep)
            .resume(Resume::Newest)
            .log_updates(folder)
            .launch(training)
            .unwrap();
        (flat(&result.finished().unwrap()), logged(folder))
    };
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = launch(whole.path(), 3);
    launch(parts.path(), 2);
    let (weights, log) = launch(parts.path(), 3);
    assert_eq!(weights, expected.0);
    assert!(log == expected.1, "what was logged differs");
}

//! Averages of selected parts of a model.

use super::*;
use burn::module::{Param, ParamId};
use burn::tensor::{Int, Tensor};
use burn::train::{ExecutionStrategy, MultiDeviceOptim};

/// The weights of the hidden layer, in the order of the model.
const HIDDEN: usize = 25;

/// The evaluated weights at the end, and the trained weights after each update.
fn after(builder: LearnerBuilder<TinyModel>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut training = a_loop(builder);
    let step = |_| {
        update(&mut training);
        flat(training.model())
    };
    let path = (0..UPDATES).map(step).collect();
    (flat(&training.valid()), path)
}

#[track_caller]
fn assert_parts(builder: LearnerBuilder<TinyModel>, hidden: usize, head: usize) {
    let (found, path) = after(builder);
    let (of_hidden, of_head) = (mean(&path[30 - hidden..]), mean(&path[30 - head..]));
    assert_near(&found[..HIDDEN], &of_hidden[..HIDDEN], "hidden");
    assert_near(&found[HIDDEN..], &of_head[HIDDEN..], "head");
}

fn in_groups() -> LearnerBuilder<TinyModel> {
    let groups = GroupsConfig::new().group(Group::new("head", "head").multiple(0.5));
    builder().groups(groups.group(Group::rest("body")))
}

#[test]
fn the_last_average_that_selects_a_parameter_counts() {
    let latest = |count| Average::latest(count, 1);
    assert_parts(builder().average(latest(4).on("head")), 1, 4);
    assert_parts(builder().average(latest(9)).average(latest(4).on("head")), 9, 4);
    assert_parts(builder().average(latest(9)).average(Average::none().on("head")), 9, 1);
    let both = builder().average(latest(2).on("hidden")).average(latest(3).on("head"));
    assert_parts(both, 2, 3);
    assert_parts(in_groups().average(latest(4).on_group("head")), 1, 4);
    let groups = GroupsConfig::new().group(Group::new("head", "head")).group(Group::rest("body"));
    let groups = groups.weight_decay(0.1).no_weight_decay(Selection::biases());
    assert_parts(builder().groups(groups).average(latest(4).on_group("head")), 1, 4);
    let others = in_groups().average(latest(6)).average(Average::none().on_group("body"));
    assert_parts(others, 1, 6);
}

/// No average at all is the same as not configuring one.
#[test]
fn none_alone_changes_nothing() {
    let (found, path) = after(builder().average(Average::none()));
    assert_eq!(found, path[29]);
}

#[test]
fn frozen_parameters_are_what_they_are() {
    let groups = GroupsConfig::new().group(Group::new("body", "hidden").frozen());
    let groups = groups.group(Group::rest("rest"));
    let (found, path) = after(builder().groups(groups).average(Average::latest(4, 1)));
    assert_eq!(found[..HIDDEN], flat(&model())[..HIDDEN]);
    assert_near(&found, &mean(&path[26..]), "latest");

    let frozen = TinyModel { hidden: model().hidden.freeze(), ..model() };
    let builder = LearnerBuilder::new(frozen, sgd(), constant(0.1)).average(Average::latest(4, 1));
    let (found, path) = after(builder);
    assert_eq!(found[..HIDDEN], flat(&model())[..HIDDEN]);
    assert_near(&found, &mean(&path[26..]), "latest");
}

/// A weight in two places, a counter, and a buffer.
#[derive(Module, Debug)]
struct Odd {
    one: Param<Tensor<1>>,
    other: Param<Tensor<1>>,
    count: Param<Tensor<1, Int>>,
    buffer: Param<Tensor<1>>,
}

impl Odd {
    fn new(weight: f32, count: i32) -> Self {
        let tensor = |value: f32| Tensor::<1>::from_floats([value, value], &device());
        let id = |number: u64| ParamId::from(number);
        let one = Param::initialized(id(1), tensor(weight).require_grad());
        let counter = Tensor::<1, Int>::from_ints([count], &device());
        let buffer = Param::initialized(id(3), tensor(count as f32)).set_require_grad(false);
        Self { other: one.clone(), one, count: Param::initialized(id(2), counter), buffer }
    }
}

#[test]
fn a_weight_in_two_places_is_taken_once_and_what_does_not_train_is_copied() {
    let mut average = AveragedModel::new(Average::latest(2, 1)).unwrap();
    average.update(&Odd::new(1.0, 3));
    average.update(&Odd::new(3.0, 4));
    let found = average.valid(&Odd::new(7.0, 5));
    let values =
        |param: &Param<Tensor<1>>| param.val().into_data().iter::<f32>().collect::<Vec<_>>();
    assert_eq!((values(&found.one), values(&found.other)), (vec![2.0; 2], vec![2.0; 2]));
    assert_eq!(values(&found.buffer), [5.0; 2]);
    assert_eq!(found.count.val().into_data().iter::<i64>().collect::<Vec<_>>(), [5]);
}

fn multi(optim: MultiDeviceOptim) -> ExecutionStrategy {
    ExecutionStrategy::multi(vec![device(); 2], optim)
}

/// The weights validated in each epoch of a run on two devices: the device of tests, twice.
fn on_two_devices(burns: Option<MultiDeviceOptim>, average: Option<Average>) -> Vec<Vec<f32>> {
    let (folder, model) = (tempfile::tempdir().unwrap(), Seen::new());
    let seen = model.weights.clone();
    let builder = LearnerBuilder::new(model, sgd(), constant(0.1));
    let builder = average.into_iter().fold(builder, LearnerBuilder::average);
    let error = match burns {
        Some(optim) => {
            let training: SupervisedTraining<Annealed<Seen>> = training(folder.path(), 3);
            let training = training.with_training_strategy(multi(optim).into());
            let builder = builder.run(run().devices(2));
            let learner = builder.build(training.interrupter()).unwrap();
            training.launch(learner).error
        }
        None => {
            let builder = builder.execution(multi(MultiDeviceOptim::OptimMainDevice));
            builder.launch(training(folder.path(), 3)).unwrap().error
        }
    };
    assert!(error.is_none(), "{error:?}");
    let mut seen = seen.lock().unwrap().clone();
    seen.dedup();
    seen
}

#[test]
fn two_devices_average_what_they_train() {
    use MultiDeviceOptim::{OptimMainDevice, OptimSharded};
    for burns in [None, Some(OptimMainDevice), Some(OptimSharded)] {
        let raw = on_two_devices(burns, None);
        assert_eq!(raw.len(), 3);
        let average = Average::mean_from(0).every(Span::epochs(1));
        let seen = on_two_devices(burns, Some(average));
        for epoch in 0..3 {
            assert_near(&seen[epoch], &mean(&raw[..=epoch]), &format!("{burns:?}"));
        }
    }
}

//! Groups of parameters: their rates, freezing and decay, in Burn's learner and without it.

use anneal_tests::{TinyModel, points, supervised, trained};
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::nn::{
    BatchNorm, BatchNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamWConfig, GradientsParams, ModuleOptimizer, MultiGradientsParams, MuonConfig,
    OptimizerRecord, SgdConfig,
};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::{Interrupter, Learner, TrainOutput};
use burn_anneal::control::SpikeGuard;
use burn_anneal::groups::{Explanation, NameError, parameters};
use burn_anneal::prelude::*;
use std::path::Path;
use std::sync::Arc;

const RUN: u64 = 20;

fn device() -> Device {
    Device::default().autodiff()
}

fn run() -> RunLength {
    RunLength::updates_per_epoch(10).epochs(2)
}

fn adamw() -> burn::optim::AdamW {
    AdamWConfig::new().with_weight_decay(0.0).build()
}

fn builder(model: TinyModel) -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(model, adamw(), linear(0.1, 0.01)).run(run())
}

fn learner(model: TinyModel, groups: GroupsConfig) -> Learner<Annealed<TinyModel>> {
    builder(model).groups(groups).build(Interrupter::new()).unwrap()
}

/// Makes one update like Burn's loops.
fn update(learner: &mut Learner<Annealed<TinyModel>>, items: &[usize]) {
    let output = learner.train_step(points(items, &device()));
    learner.lr_step();
    learner.optimizer_step(output.grads);
}

fn train(learner: &mut Learner<Annealed<TinyModel>>, updates: std::ops::Range<usize>) {
    for update_number in updates {
        update(learner, &[update_number, update_number + 1, update_number + 2]);
    }
}

#[derive(Default)]
struct Values(Vec<Vec<f32>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_data().iter::<f32>().collect());
    }
}

fn values(module: &impl Module) -> Vec<Vec<f32>> {
    let mut values = Values::default();
    module.visit(&mut values);
    values.0
}

fn weights(learner: &Learner<Annealed<TinyModel>>) -> Vec<Vec<f32>> {
    values(&learner.model())
}

fn loss(model: &TinyModel, update: usize) -> Tensor<1> {
    model.forward(points(&[update, update + 1, update + 2], &device())).loss
}

/// Makes one update of a custom loop.
fn update_loop(training: &mut TrainingLoop<TinyModel>, update: usize) {
    training.pass(|model| {
        let loss = loss(model, update);
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    });
    training.update().unwrap();
}

/// The optimizer's record in the checkpoint of an epoch.
fn saved_optimizer(folder: &Path, epoch: usize) -> OptimizerRecord {
    OptimizerRecord::load(folder.join(format!("checkpoint/optim-{epoch}.bpk"))).unwrap()
}

/// Burn's own groups and schedulers, with the same rates, are the reference.
fn reference(model: TinyModel, hidden: f64, updates: usize) -> Vec<Vec<f32>> {
    reference_with(model, hidden, updates, |_, model| model)
}

/// The same, with a model that is changed before each update.
fn reference_with(
    mut model: TinyModel,
    hidden: f64,
    updates: usize,
    change: impl Fn(usize, TinyModel) -> TinyModel,
) -> Vec<Vec<f32>> {
    let mut optimizer = ModuleOptimizer::from(adamw());
    let schedule = |scale: f64| Scheduler::new(linear(0.1, 0.01).scale(scale), run()).unwrap();
    let mut scheduler = ModuleLrScheduler::new(schedule(1.0))
        .with_group(ParamGroup::from_predicate("hidden"), schedule(hidden));
    for update in 0..updates {
        model = change(update, model);
        let points = points(&[update, update + 1, update + 2], &device());
        let loss = model.forward(points).loss;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(scheduler.step(), model, gradients);
    }
    values(&model)
}

#[test]
fn layer_decay_trains_as_burns_own_groups_with_these_rates() {
    let model = TinyModel::new(&device());
    let mut ours = learner(model.clone(), layer_decay(0.25));
    train(&mut ours, 0..RUN as usize);
    assert_eq!(weights(&ours), reference(model.clone(), 0.25, RUN as usize));

    let mut one_rate = learner(model.clone(), GroupsConfig::new());
    train(&mut one_rate, 0..RUN as usize);
    assert_eq!(weights(&one_rate), reference(model, 1.0, RUN as usize));
}

#[test]
fn a_multiple_a_schedule_and_a_cap_give_each_group_its_rate() {
    let groups = GroupsConfig::new()
        .group(Group::new("trunk", "hidden").multiple(0.5))
        .group(Group::new("head", "head").schedule(constant(0.02)))
        .cap("trunk", 0.03);
    let learner = learner(TinyModel::new(&device()), groups);
    let model = learner.model();
    let groups = model.groups();
    assert_eq!(groups.names().collect::<Vec<_>>(), ["trunk", "head"]);
    // The run's schedule falls from 0.1 to 0.01 over 20 updates.
    assert_eq!(groups.rates(0).collect::<Vec<_>>(), [0.03, 0.02]);
    assert_eq!(groups.rate_of("hidden.weight", 10), Some(0.055 / 2.0));
    let explanation = model.explain();
    assert!(explanation.groups[0].capped && !explanation.groups[1].capped);
}

#[test]
fn weight_decay_shrinks_by_the_groups_own_rate_and_leaves_out_what_is_excluded() {
    let model = TinyModel::new(&device());
    let before = values(&model);
    let groups = layer_decay(0.5).weight_decay(0.2).no_weight_decay(Selection::biases());
    let mut learner = learner(model, groups);
    // With a gradient of 0, only the decay acts.
    let mut gradients = GradientsParams::new();
    let model = learner.model();
    for (id, shape) in
        [(model.inner().hidden.weight.id, [4, 5]), (model.inner().head.weight.id, [5, 3])]
    {
        gradients.register(id, Tensor::<2>::zeros(shape, &Device::default()));
    }
    gradients.register(
        model.inner().head.bias.as_ref().unwrap().id,
        Tensor::<1>::zeros([3], &Device::default()),
    );
    learner.lr_step();
    learner.optimizer_step(gradients);
    let after = weights(&learner);
    let close = |index: usize, shrink: f32| {
        before[index].iter().zip(&after[index]).all(|(b, a)| (b * shrink - a).abs() < 1e-7)
    };
    assert!(close(0, 1.0 - 0.05 * 0.2), "hidden.weight");
    assert!(close(2, 1.0 - 0.1 * 0.2), "head.weight");
    assert!(close(3, 1.0), "head.bias");
}

#[test]
fn a_frozen_group_does_not_move_has_no_state_and_starts_when_it_should() {
    let model = TinyModel::new(&device());
    let initial = values(&model);
    let groups = layer_decay(0.5).unfreeze_every(Span::percent(50.0)).weight_decay(0.1);
    let first = learner(model.clone(), groups.clone());
    let output = first.train_step(points(&[0, 1, 2], &device()));
    assert_eq!(output.grads.len(), 2, "the head's weight and bias");
    let mut learner = learner(model, groups);
    assert!(!learner.model().inner().hidden.weight.is_require_grad());
    train(&mut learner, 0..10);
    let frozen = weights(&learner);
    assert_eq!(frozen[..2], initial[..2]);
    assert_ne!(frozen[2..], initial[2..]);
    assert!(learner.model().inner().hidden.weight.is_require_grad(), "update 10 trains it");

    train(&mut learner, 10..11);
    let moved = weights(&learner);
    assert_ne!(moved[0], initial[0]);
    // Adam's first update moves each weight by nearly the rate, whatever the gradient: it starts with a fresh state.
    let rate = 0.055 * 0.5;
    let step = (moved[0][0] - initial[0][0] * (1.0 - rate * 0.1) as f32).abs();
    assert!((step / rate as f32 - 1.0).abs() < 0.05, "{step}");
}

#[test]
fn a_frozen_group_has_no_state_in_the_optimizers_record() {
    let groups = GroupsConfig::new()
        .group(Group::new("trunk", "hidden").unfreeze_at(Span::Steps(2)))
        .group(Group::rest("head"));
    let mut training = LearnerBuilder::new(TinyModel::new(&device()), adamw(), constant(0.1))
        .run(run())
        .groups(groups)
        .build_loop()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = vec![];
    for epoch in 1..=4 {
        update_loop(&mut training, 0);
        training.save(folder.path(), epoch).unwrap();
        tensors.push(saved_optimizer(folder.path(), epoch).len());
    }
    // Two moments for each of two parameters, then of four.
    assert_eq!(tensors, [4, 4, 8, 8]);
}

/// The state is that of the wrapped optimizer, to the name of each of its entries.
#[test]
fn a_record_loads_into_the_plain_optimizer_and_back() {
    let model = TinyModel::new(&device());
    let builder = |model: &TinyModel| {
        let builder = LearnerBuilder::new(model.clone(), adamw(), constant(0.1)).run(run());
        builder.groups(GroupsConfig::new())
    };
    let gradients =
        |model: &TinyModel| GradientsParams::from_grads(loss(model, 0).backward(), model);
    let mut ours = builder(&model).build_loop().unwrap();
    let mut plain = ModuleOptimizer::from(adamw());
    update_loop(&mut ours, 0);
    let ours_1 = ours.model().clone();
    let plain_1 = plain.step(0.1, model.clone(), gradients(&model));
    assert_eq!(values(&ours_1), values(&plain_1));

    // Each continues with the other's state.
    let folder = tempfile::tempdir().unwrap();
    ours.save(folder.path(), 1).unwrap();
    let mut crossed = builder(&ours_1).build(Interrupter::new()).unwrap();
    crossed.load_optim(plain.to_record());
    update(&mut crossed, &[0, 1, 2]);
    let mut back = ModuleOptimizer::from(adamw()).load_record(saved_optimizer(folder.path(), 1));
    let expected = plain.step(0.1, plain_1.clone(), gradients(&plain_1));
    assert_eq!(weights(&crossed), values(&expected));
    assert_eq!(values(&back.step(0.1, ours_1.clone(), gradients(&ours_1))), values(&expected));
}

/// Burn gives a parameter a new id when a record is loaded.
#[test]
fn groups_hold_after_pretrained_weights_are_loaded() {
    let pretrained = TinyModel::new(&device());
    let record = || {
        let bytes = pretrained.clone().into_record().into_bytes().unwrap();
        ModuleRecord::from_bytes(bytes).unwrap()
    };
    let expected = reference(TinyModel::new(&device()).load_record(record()), 0.25, 6);
    let mut learner = learner(TinyModel::new(&device()), layer_decay(0.25));
    let id = learner.model().inner().hidden.weight.id;
    learner.load_model(record());
    assert_ne!(learner.model().inner().hidden.weight.id, id);
    train(&mut learner, 0..6);
    assert_eq!(weights(&learner), expected);
}

#[test]
fn groups_hold_after_weights_are_loaded_in_mid_run() {
    let model = TinyModel::new(&device());
    let bytes = TinyModel::new(&device()).into_record().into_bytes().unwrap();
    let record = || ModuleRecord::from_bytes(bytes.clone()).unwrap();
    let expected = reference_with(model.clone(), 0.25, 6, |update, model| match update {
        3 => model.load_record(record()),
        _ => model,
    });
    let mut learner = learner(model, layer_decay(0.25));
    train(&mut learner, 0..3);
    learner.load_model(record());
    train(&mut learner, 3..6);
    assert_eq!(weights(&learner), expected);
}

#[test]
fn a_loop_that_loads_weights_goes_on_in_its_groups() {
    let sgd = SgdConfig::new().build();
    let mut training = LearnerBuilder::new(TinyModel::seeded(3, &device()), sgd, constant(0.1))
        .run(run())
        .groups(layer_decay(0.25))
        .build_loop()
        .unwrap();
    // What the update does to the first bias, over its gradient, which these weights make far larger than a rounding.
    let rate = |training: &mut TrainingLoop<TinyModel>| {
        let before = values(training.model())[1][0];
        let gradient: Vec<f32> = training.pass(|model| {
            let gradients = loss(model, 0).backward();
            let bias = model.hidden.bias.as_ref().unwrap().val();
            let gradient = bias.grad(&gradients).unwrap().into_data().iter().collect();
            TrainOutput::new(model, gradients, gradient)
        });
        training.update().unwrap();
        (before - values(training.model())[1][0]) / gradient[0]
    };
    let first = rate(&mut training);
    assert!((first - 0.025).abs() < 1e-4, "{first}");
    for seed in [4, 5] {
        let id = training.model().hidden.weight.id;
        let bytes = TinyModel::seeded(seed, &device()).into_record().into_bytes().unwrap();
        training.map_model(|model| model.load_record(ModuleRecord::from_bytes(bytes).unwrap()));
        assert_ne!(training.model().hidden.weight.id, id);
        let loaded = rate(&mut training);
        assert!((loaded - 0.025).abs() < 1e-4, "{loaded}");
    }
}

/// The trunk trains from update 10 on.
fn trunk_thaws() -> GroupsConfig {
    layer_decay(0.5).unfreeze_every(Span::percent(50.0))
}

#[test]
fn a_frozen_group_stays_frozen_where_weights_are_loaded() {
    let record = || {
        let bytes = TinyModel::new(&device()).into_record().into_bytes().unwrap();
        ModuleRecord::from_bytes(bytes).unwrap()
    };
    let mut learner = learner(TinyModel::new(&device()), trunk_thaws());
    train(&mut learner, 0..1);
    learner.load_model(record());
    let loaded = weights(&learner);
    train(&mut learner, 1..10);
    assert_eq!(weights(&learner)[..2], loaded[..2]);
    assert_ne!(weights(&learner)[2..], loaded[2..]);
    train(&mut learner, 10..11);
    assert_ne!(weights(&learner)[0], loaded[0]);
    assert_stays_frozen(|model| model.load_record(record()));
}

/// A model without frozen parameters.
#[test]
fn a_frozen_group_stays_frozen_where_a_loop_gets_another_model() {
    assert_stays_frozen(|_| TinyModel::new(&device()));
}

fn assert_stays_frozen(change: impl FnOnce(TinyModel) -> TinyModel) {
    let builder = builder(TinyModel::new(&device())).groups(trunk_thaws());
    let mut training = builder.build_loop().unwrap();
    update_loop(&mut training, 0);
    training.map_model(change);
    let changed = values(training.model());
    (1..10).for_each(|number| update_loop(&mut training, number));
    assert_eq!(values(training.model())[..2], changed[..2]);
    assert_ne!(values(training.model())[2..], changed[2..]);
    update_loop(&mut training, 10);
    assert_ne!(values(training.model())[0], changed[0]);
}

#[test]
fn learners_trained_side_by_side_do_not_disturb_each_other() {
    let model = TinyModel::new(&device());
    let whole = |decay: f64| {
        let mut alone = learner(model.clone(), layer_decay(decay));
        train(&mut alone, 0..RUN as usize);
        weights(&alone)
    };
    let expected = [0.25, 0.5].map(whole);
    let mut started = learner(model.clone(), layer_decay(0.25));
    train(&mut started, 0..7);
    // A clone shares Burn's optimizer with the learner that it was made of.
    let clone = started.clone();
    let other = learner(model.clone(), layer_decay(0.5));
    let finish = |mut learner: Learner<Annealed<TinyModel>>, from: usize| {
        std::thread::spawn(move || {
            train(&mut learner, from..RUN as usize);
            weights(&learner)
        })
    };
    let running = [finish(started, 7), finish(clone, 7), finish(other, 0)];
    let [first, second, third] = running.map(|thread| thread.join().unwrap());
    assert_eq!([first, second], [expected[0].clone(), expected[0].clone()]);
    assert_eq!(third, expected[1]);

    // In one thread, update by update.
    let [mut one, mut other] = [0.25, 0.5].map(|decay| learner(model.clone(), layer_decay(decay)));
    for number in 0..RUN as usize {
        train(&mut one, number..number + 1);
        train(&mut other, number..number + 1);
    }
    assert_eq!([weights(&one), weights(&other)], expected);
}

#[test]
fn gradients_of_several_devices_have_the_same_groups() {
    let model = TinyModel::new(&device());
    let mut single = learner(model.clone(), layer_decay(0.25));
    let mut multi = learner(model, layer_decay(0.25));
    for items in [[0, 1, 2], [3, 4, 5], [6, 7, 8]] {
        update(&mut single, &items);
        let output = multi.train_step(points(&items, &device()));
        multi.lr_step();
        let grads = vec![(output.grads, Device::default())];
        multi.optimizer_step_multi(MultiGradientsParams { grads });
    }
    assert_eq!(weights(&single), weights(&multi));
}

/// Two epochs of ten updates: the trunk trains from update 15 on, in the middle of the second.
fn unfreezing() -> GroupsConfig {
    layer_decay(0.5).unfreeze_layers_at([Span::percent(75.0), Span::Steps(0)])
}

#[test]
fn a_run_resumed_before_and_after_an_unfreezing_equals_the_whole_one() {
    let model = TinyModel::new(&device());
    for (start, first, whole) in [(Span::percent(75.0), 1, 2), (Span::percent(25.0), 1, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let groups = || layer_decay(0.5).unfreeze_layers_at([start, Span::Steps(0)]);
        let parts = || {
            let sgd = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build();
            LearnerBuilder::new(model.clone(), sgd, linear(0.1, 0.01)).run(run()).groups(groups())
        };
        let uninterrupted = folder.path().join("whole");
        let expected = trained(supervised(&uninterrupted, whole), parts());
        let split = folder.path().join("split");
        trained(supervised(&split, first), parts());
        let saved = Checkpoint::newest(&split).unwrap().unwrap();
        let learner = parts().resume_from(&saved).build(Interrupter::new()).unwrap();
        let trunk_trains = start == Span::percent(25.0);
        assert_eq!(learner.model().inner().hidden.weight.is_require_grad(), trunk_trains);
        let training = supervised(&split, whole).checkpoint(saved.epoch());
        let resumed = trained(training, parts().resume_from(&saved));
        assert_eq!(values(&resumed), values(&expected), "{start}");
    }
}

#[test]
fn a_checkpoint_of_other_groups_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::new(&device());
    trained(supervised(folder.path(), 1), builder(model.clone()).groups(unfreezing()));
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    let builder = || builder(model.clone()).resume_from(&saved);
    let build = |builder: LearnerBuilder<TinyModel>| builder.build(Interrupter::new());
    assert!(build(builder().groups(unfreezing())).is_ok());
    let error = build(builder()).err().unwrap().to_string();
    assert!(error.contains("was trained in groups, but now there are none"), "{error}");
    let error = build(builder().groups(layer_decay(0.5))).err().unwrap().to_string();
    assert!(error.contains("their rates, members or starts differ"), "{error}");
    let extended = build(builder().groups(layer_decay(0.5)).on_mismatch(OnMismatch::KeepStep));
    assert_eq!(extended.unwrap().model().explain().step, 10);
}

/// Such a checkpoint has no step for the groups except that of the schedule.
#[test]
fn groups_go_on_where_a_run_without_them_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::new(&device());
    trained(supervised(folder.path(), 1), builder(model.clone()));
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    for choice in [OnMismatch::KeepStep, OnMismatch::Restart] {
        let learner = builder(model.clone())
            .groups(layer_decay(0.5))
            .resume_from(&saved)
            .on_mismatch(choice)
            .build(Interrupter::new())
            .unwrap();
        let rates = learner.model().rate_metrics();
        let training = rates.into_iter().fold(supervised(folder.path(), 2), |training, metric| {
            training.metric_train_numeric(metric)
        });
        training.checkpoint(saved.epoch()).launch(learner);
        let log =
            std::fs::read_to_string(folder.path().join("train/epoch-2/Rate_head.log")).unwrap();
        let first: f64 = log.split(',').next().unwrap().parse().unwrap();
        // Update 10 of 20, on the way from 0.1 to 0.01.
        assert!((first - 0.055).abs() < 1e-9, "{choice:?}: {first}");
        std::fs::remove_dir_all(folder.path().join("train")).unwrap();
    }
}

#[test]
fn each_groups_rate_is_in_burns_logs() {
    let folder = tempfile::tempdir().unwrap();
    let learner = learner(TinyModel::new(&device()), unfreezing());
    let rates = learner.model().rate_metrics();
    let training = rates.into_iter().fold(supervised(folder.path(), 2), |training, metric| {
        training.metric_train_numeric(metric)
    });
    training.launch(learner);
    let log = |epoch: usize, name: &str| -> Vec<f64> {
        let path = folder.path().join(format!("train/epoch-{epoch}/{name}.log"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let values = text.lines().filter_map(|line| line.split(',').next()?.parse().ok());
        values.take(10).collect()
    };
    let base = |step: usize| 0.1 + (0.01 - 0.1) * step as f64 / RUN as f64;
    for epoch in 1..=2 {
        let (hidden, head) = (log(epoch, "Rate_hidden"), log(epoch, "Rate_head"));
        for i in 0..10 {
            let step = (epoch - 1) * 10 + i;
            let expected = if step < 15 { 0.0 } else { 0.5 * base(step) };
            assert!((head[i] - base(step)).abs() < 1e-9, "{head:?}");
            assert!((hidden[i] - expected).abs() < 1e-9, "{hidden:?}");
        }
    }
}

#[test]
fn a_rate_is_absent_from_the_logs_before_the_first_update() {
    let folder = tempfile::tempdir().unwrap();
    let (model, run) = (TinyModel::new(&device()), RunLength::updates_per_epoch(5));
    let run = run.epochs(2).gradient_accumulation(2);
    // Ten batches per epoch.
    let training = supervised(folder.path(), 2).grads_accumulation(2);
    let learner = LearnerBuilder::new(model, adamw(), linear(0.1, 0.0))
        .run(run)
        .build(training.interrupter())
        .unwrap();
    let rates = learner.model().rate_metrics();
    let training =
        rates.into_iter().fold(training, |training, rate| training.metric_train_numeric(rate));
    assert!(training.launch(learner).error.is_none());
    // A batch has the rate of the last update; the first update is made after two batches.
    let rate = |update: u64| 0.1 * (1.0 - update as f64 / 10.0);
    let batches: Vec<f64> = (1..20).map(|batch| rate((batch - 1) / 2)).collect();
    for (epoch, expected) in [(1, &batches[..9]), (2, &batches[9..])] {
        let path = folder.path().join(format!("train/epoch-{epoch}/Rate_model.log"));
        let text = std::fs::read_to_string(path).unwrap();
        let found: Vec<f64> =
            text.lines().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
        // The last line is the mean.
        assert_eq!(found.len(), expected.len() + 1, "epoch {epoch}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "epoch {epoch}: {found}, not {expected}");
        }
    }
}

#[derive(Module, Debug)]
struct Normed {
    trunk: Linear,
    norm: BatchNorm,
    head: Linear,
}

impl Normed {
    fn new(device: &Device) -> Self {
        Self {
            trunk: LinearConfig::new(4, 4).init(device),
            norm: BatchNormConfig::new(4).init(device),
            head: LinearConfig::new(4, 2).init(device),
        }
    }

    fn loss(&self, input: Tensor<2>) -> Tensor<1> {
        self.head.forward(self.norm.forward(self.trunk.forward(input))).square().sum()
    }
}

fn norm_moves_in(updates: u64, freeze_statistics: bool) -> Vec<bool> {
    let groups = GroupsConfig::new()
        .group(Group::new("head", "head"))
        .group(Group::rest("trunk").unfreeze_at(Span::Steps(2)))
        .freeze_statistics(freeze_statistics);
    let sgd = SgdConfig::new().build();
    let mut training = LearnerBuilder::new(Normed::new(&device()), sgd, constant(0.01))
        .run(run())
        .groups(groups)
        .build_loop()
        .unwrap();
    let statistics = |model: &Normed| -> Vec<f32> {
        model.norm.running_mean.value_sync().into_data().iter::<f32>().collect()
    };
    (0..updates)
        .map(|_| {
            let before = statistics(training.model());
            let input = Tensor::<2>::random([8, 4], burn::tensor::Distribution::Default, &device());
            training.pass(|model| {
                let loss = model.loss(input);
                TrainOutput::new(model, loss.clone().scaled_backward(), loss)
            });
            training.update().unwrap();
            statistics(training.model()) != before
        })
        .collect()
}

#[test]
fn batch_norm_statistics_of_a_frozen_part_move_unless_they_are_frozen_too() {
    assert_eq!(norm_moves_in(4, false), [true; 4]);
    assert_eq!(norm_moves_in(4, true), [false, false, true, true]);
}

/// Burn records no graph below a layer where nothing needs a gradient.
#[test]
fn the_backward_pass_ends_above_a_frozen_trunk() {
    let model = Normed::new(&device());
    let schedule = constant(0.01).resolve(run()).unwrap();
    let groups = GroupsConfig::new()
        .group(Group::new("head", "head"))
        .group(Group::rest("trunk").frozen())
        .resolve(&model, &schedule, run())
        .unwrap();
    let input = Tensor::<2>::ones([8, 4], &device());
    let below = |model: &Normed| model.norm.forward(model.trunk.forward(input.clone()));
    // A tensor with a graph cannot be made to require a gradient; one without can.
    let tracked = |tensor: Tensor<2>| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tensor.require_grad())).is_err()
    };
    assert!(tracked(below(&model)));
    assert!(!tracked(below(&groups.prepare(model, 0))));
}

#[test]
fn parameters_are_listed_in_order_with_what_they_are() {
    let all = parameters(&Normed::new(&device()));
    let list: Vec<_> = all.iter().map(|p| (p.path.as_str(), p.trainable, p.norm)).collect();
    assert_eq!(
        list,
        [
            ("trunk.weight", true, false),
            ("trunk.bias", true, false),
            ("norm.gamma", true, true),
            ("norm.beta", true, true),
            ("norm.running_mean", false, true),
            ("norm.running_var", false, true),
            ("head.weight", true, false),
            ("head.bias", true, false),
        ]
    );
}

/// A cap of a group limits all of its parts, but for one that has its own.
#[test]
fn a_cap_is_one_of_all_parts() {
    let model = TinyModel::new(&device());
    let run = RunLength::updates(RUN);
    let schedule = constant(0.1).resolve(run).unwrap();
    let rates = |caps: &[(&str, f64)]| -> Vec<f64> {
        let groups = layer_decay(0.5)
            .group(Group::new("all", ""))
            .weight_decay(0.1)
            .no_weight_decay(Selection::biases())
            .caps(caps.iter().map(|(name, cap)| (name.to_string(), *cap)));
        groups.resolve(&model, &schedule, run).unwrap().rates(0).collect()
    };
    assert_eq!(rates(&[("all", 0.06)]), [0.05, 0.05, 0.06, 0.06]);
    assert_eq!(rates(&[("all head", 0.06)]), [0.05, 0.05, 0.06, 0.06]);
    assert_eq!(rates(&[("all head", 0.06), ("all", 0.01)]), [0.01, 0.01, 0.06, 0.06]);
    let own = [("all head", 0.06), ("all head, no decay", 0.08)];
    assert_eq!(rates(&own), [0.05, 0.05, 0.06, 0.08]);
}

#[test]
fn the_table_says_what_each_group_does() {
    let groups = layer_decay(0.5)
        .unfreeze_every(Span::percent(50.0))
        .weight_decay(0.05)
        .no_weight_decay(Selection::biases());
    let learner = learner(TinyModel::new(&device()), groups);
    let table = learner.model().explain().to_string();
    assert_eq!(
        table,
        "\
update 0: linear(0.1, 0.01).length(20), 20 updates, rate 0.1
group             parameters  values  rate  multiplier  cap  shrink  kept              trains
hidden                     1      20     0         0.5    -       0     1  frozen, from 10 on
hidden, no decay           1       5     0         0.5    -       -     -  frozen, from 10 on
head                       1      15   0.1           1    -   0.005     1                 now
head, no decay             1       3   0.1           1    -       -     -                 now
weight decay of hidden, head: coupled(0.05)"
    );
    let json = learner.model().explain().to_json();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["groups"][0]["paths"][0], "hidden.weight");
    assert_eq!(json["groups"][0]["trains_from"], 10);
}

#[derive(Module, Debug)]
struct Stacked {
    stem: Linear,
    blocks: Vec<Linear>,
    head: Linear,
}

#[derive(Module, Debug)]
struct Tokens {
    token: Param<Tensor<2>>,
    stem: Linear,
    stem_norm: LayerNorm,
    blocks: Vec<Linear>,
    norm: LayerNorm,
    head: Linear,
}

impl Tokens {
    fn new() -> Self {
        let linear = || LinearConfig::new(4, 4).init(&device());
        let norm = || LayerNormConfig::new(4).init(&device());
        Self {
            token: Initializer::Zeros.init([1, 4], &device()),
            stem: linear(),
            stem_norm: norm(),
            blocks: vec![linear(), linear()],
            norm: norm(),
            head: linear(),
        }
    }

    fn explain(groups: GroupsConfig) -> Result<Explanation, BuildError> {
        let builder = LearnerBuilder::new(Self::new(), adamw(), constant(0.1)).run(run());
        Ok(builder.groups(groups).build_loop()?.explain())
    }
}

#[test]
fn a_norm_joins_the_layer_before_it_and_the_table_says_so() {
    let explained = Tokens::explain(layer_decay(0.5)).unwrap();
    let layers: Vec<_> = explained
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.parameters, group.multiplier))
        .collect();
    let expected = [
        ("token", 1, 0.0625),
        ("stem", 4, 0.125),
        ("blocks.0", 2, 0.25),
        ("blocks.1", 4, 0.5),
        ("head", 2, 1.0),
    ];
    assert_eq!(layers, expected);
    let line = "note: `stem_norm` joins layer `stem`, `norm` joins layer `blocks.1`";
    assert!(explained.to_string().lines().any(|other| other == line), "{explained}");
}

#[test]
fn what_no_pattern_matches_is_warned_about_unless_it_is_the_head() {
    let patterns = |more: &[(&str, &str)]| {
        let first = [("stem", "^stem"), ("blocks", r"^blocks\.(\d+)"), ("blocks", "^norm")];
        let patterns = first.iter().chain(more).copied();
        layer_decay(0.5)
            .weight_decay(0.1)
            .no_weight_decay(Selection::one_dimensional())
            .layers(LayerMap::from_patterns(patterns))
    };
    let notes = |more: &[(&str, &str)]| Tokens::explain(patterns(more)).unwrap().notes;
    let said = |path: &str, group: &str| {
        format!(
            "layers: no pattern matches `{path}` (group `{group}`), so the last layer takes it, with the head's \
             rate; add a pattern for it (a head needs one too, unless the model declares it last)"
        )
    };
    assert_eq!(notes(&[]), [said("token", "top")]);
    assert_eq!(notes(&[("head", "^head")]), [said("token", "top")]);
    assert!(notes(&[("stem", "^token")]).is_empty());

    let many = LayerMap::from_patterns([("stem", "^token"), ("head", "^head")]);
    let many = Tokens::explain(layer_decay(0.5).layers(many)).unwrap().notes;
    let starts =
        "layers: no pattern matches `stem.weight` (group `top`), `stem.bias` (group `top`), ";
    assert!(many[0].starts_with(starts), "{many:?}");
    assert!(
        many[0]
            .contains("`blocks.0.weight` (group `top`) and 5 more, so the last layer takes them"),
        "{many:?}"
    );

    let refused = Tokens::explain(patterns(&[("stem", "^token")]).strict_layers(true)).unwrap_err();
    let BuildError::Groups(GroupError::Unmatched { paths, patterns: named }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(paths, ["head.weight", "head.bias"]);
    assert_eq!(named, ["^stem", r"^blocks\.(\d+)", "^norm", "^token"]);
    let all = [("stem", "^token"), ("head", "^head")];
    assert!(Tokens::explain(patterns(&all).strict_layers(true)).unwrap().notes.is_empty());
}

/// The table of `docs/fine_tuning.md`.
#[test]
fn the_page_on_fine_tuning_shows_what_is_printed() {
    let linear = |from: usize, to: usize| LinearConfig::new(from, to).init(&device());
    let model = Stacked {
        stem: linear(12, 4),
        blocks: vec![linear(4, 4), linear(4, 4)],
        head: linear(4, 3),
    };
    let run = RunLength::updates(1_000);
    let schedule = cosine(1e-3).warmup(Span::percent(5.0)).resolve(run).unwrap();
    let groups = layer_decay(0.75)
        .unfreeze_every(Span::percent(10.0))
        .weight_decay(0.05)
        .no_weight_decay(Selection::biases_and_norms())
        .resolve(&model, &schedule, run)
        .unwrap();
    let table = groups.explain(150).to_string();
    assert!(include_str!("../docs/fine_tuning.md").contains(&table), "{table}");
}

#[test]
fn what_does_not_fit_the_model_is_named() {
    let error = |groups: GroupsConfig| {
        let built = builder(TinyModel::new(&device())).groups(groups).build(Interrupter::new());
        built.err().unwrap().to_string()
    };
    let new = GroupsConfig::new;
    let cases = [
        (layer_decay(1.5), "layer_decay: 1.5 is not allowed; allowed: above 0, at most 1"),
        (layer_decay(f64::NAN), "layer_decay: NaN"),
        (layer_decay(0.5).minimum_scale(-1.0), "minimum_scale: -1.0"),
        (new().minimum_scale(5.0), "minimum_scale: 5.0"),
        (
            new().layer_scales([0.1, 1.0]).minimum_scale(0.5),
            "minimum_scale: 0.5 is not allowed; allowed: none without layer_decay",
        ),
        (
            new().layer_scales([1.0]),
            "layer_scales: 1 values for 2 layers; the layers are `hidden`, `head`",
        ),
        (new().layer_scales([0.0, 1.0]), "layer_scales: 0.0"),
        (
            layer_decay(0.5).layer_scales([0.1, 1.0]),
            "layer_decay: 0.5 is not allowed; allowed: none with",
        ),
        (
            new().group(Group::new("head", "haed")),
            "`haed` matches no trained parameter; the nearest are `head.",
        ),
        (
            new().group(Group::new("head", "(head")),
            "groups.head.select.regexes: `(head` is not a valid regular",
        ),
        (
            new().group(Group::new("head", "head")),
            "2 parameters are in no group, for example `hidden.weight`",
        ),
        (
            new().group(Group::rest("all")).group(Group::new("head", "head")),
            "groups.head: all parameters that it selects are in earlier groups, for example `all`",
        ),
        (
            new().group(Group::new("norms", Selection::norms())).group(Group::rest("a")),
            "groups.norms.select: `norms` matches no trained parameter",
        ),
        (new().group(Group::rest("a")).group(Group::rest("a")), "groups.a: two have the name `a`"),
        (new().group(Group::rest("a").multiple(0.0)), "to freeze the group, use frozen"),
        (
            new().group(Group::rest("a").schedule(cosine(-1.0))),
            "groups.a.schedule: cosine.peak: -1.0",
        ),
        (new().group(Group::rest("a").frozen()), "no parameter is trained in the first update"),
        (new().group(Group::rest("a").unfreeze_at(Span::epochs(-1))), "groups.a.unfreeze_at: -1ep"),
        (
            layer_decay(0.5).unfreeze_every(Span::epochs(2)),
            "2ep is update 20; the run has 20 updates",
        ),
        (layer_decay(0.5).unfreeze_every(Span::Rest), "unfreeze_every: rest is not a known update"),
        (new().cap("haed", 0.1), "caps: there is no group `haed`; the groups are `model`"),
        (new().cap("model", 0.0), "caps.model: 0.0"),
        (new().weight_decay(-0.1), "weight_decay: -0.1"),
        (
            new().weight_decay(10.0),
            "weight_decay: 10.0 is not allowed; allowed: a share below 1 of each weight; it \
             is 1.0 at update 0, at the rate 0.1",
        ),
        (new().group(Group::rest("a").weight_decay(f64::NAN)), "groups.a.weight_decay: NaN"),
        (
            new().weight_decay(0.1).no_weight_decay(Selection::none().globs(["embed"])),
            "no_weight_decay.globs: `embed` matches no",
        ),
        (
            layer_decay(0.5).layers(LayerMap::from_patterns([("stem", "^stem")])),
            "layers.stem: `^stem` matches no",
        ),
        (
            layer_decay(0.5)
                .layers(LayerMap::from_patterns([("trunk", "^hidden")]))
                .strict_layers(true),
            "layers: no pattern matches `head.weight`, `head.bias`; the patterns are `^hidden`, and strict_layers \
             needs one for each parameter, the head's too",
        ),
        (
            layer_decay(0.5).strict_layers(true),
            "strict_layers: true is not allowed; allowed: false without patterns in layers",
        ),
    ];
    for (groups, expected) in cases {
        let message = error(groups);
        assert!(message.contains(expected), "{message}\ndoes not say: {expected}");
    }
}

#[test]
fn a_decay_of_the_optimizer_is_not_doubled() {
    let build = |groups: GroupsConfig| {
        let (model, adamw) = (TinyModel::new(&device()), AdamWConfig::new().build());
        let builder = LearnerBuilder::new(model, adamw, constant(0.1)).run(run()).groups(groups);
        builder.build(Interrupter::new())
    };
    let error = build(GroupsConfig::new().weight_decay(0.1)).err().unwrap().to_string();
    assert!(error.contains("with_weight_decay(0.0)"), "{error}");
    assert!(build(GroupsConfig::new()).is_ok());
}

#[test]
fn a_file_describes_groups() {
    let text = r#"
layer_decay = 0.75
unfreeze_every = "25%"
weight_decay = 0.05
no_weight_decay = { biases = true, norms = true }
layers = [
    { name = "trunk", pattern = "^hidden" },
]

[[group]]
name = "top"
select = { regexes = ["^head"] }
[group.schedule.step_decay]
peak = 1e-2
every = "1ep"
gamma = 0.1

[[group]]
name = "rest"
select = { everything = true }
multiple = 0.5
"#;
    let config = GroupsConfig::from_toml(text).unwrap();
    let model = TinyModel::new(&device());
    let schedule = constant(0.1).resolve(run()).unwrap();
    let groups = config.resolve(&model, &schedule, run()).unwrap();
    assert_eq!(groups.rate_of("head.weight", 0), Some(1e-2));
    assert_eq!(groups.rate_of("head.weight", 10), Some(1e-3));
    assert_eq!(groups.rate_of("hidden.weight", 4), None);
    assert_eq!(groups.rate_of("hidden.weight", 5), Some(0.1 * 0.5 * 0.75));

    let again = GroupsConfig::from_json(&config.to_json().unwrap()).unwrap();
    let again = again.resolve(&model, &schedule, run()).unwrap();
    assert_eq!(again.explain(3), groups.explain(3));

    let error = GroupsConfig::from_toml("layer_dcay = 0.5").unwrap_err().to_string();
    assert!(error.starts_with("toml:1:1: unknown field `layer_dcay`"), "{error}");
    assert!(error.contains("did you mean `layer_decay`?"), "{error}");
    let error = GroupsConfig::from_toml("version = 7").unwrap_err().to_string();
    assert!(error.contains("version: 7"), "{error}");
}

const TRAINING: &str = r#"
schedule = "linear(0.1, 0.01)"
weight_decay = 0.05
no_weight_decay = { biases = true }
clip_global_norm = 0.5

[groups]
layer_decay = 0.5

[[groups.group]]
name = "top"
select = "^head"
schedule = "constant(0.03)"

[[controller]]
name = "spike"
[controller.rule.spike_guard]
reaction = "clip"
signal = "gradient_norm"

[[average]]
ema = 0.9
"#;

/// As [`TRAINING`], by calls.
fn by_calls(model: TinyModel) -> LearnerBuilder<TinyModel> {
    let groups = layer_decay(0.5).group(Group::new("top", "^head").schedule(constant(0.03)));
    LearnerBuilder::new(model, adamw(), linear(0.1, 0.01))
        .weight_decay(0.05)
        .no_weight_decay(Selection::biases())
        .clip_global_norm(0.5)
        .groups(groups)
        .controller("spike", SpikeGuard::clip())
        .average(Average::ema(0.9))
}

#[test]
fn a_training_of_a_file_is_the_one_of_the_calls() {
    let model = TinyModel::new(&device());
    let of_file = |text: &str| {
        LearnerBuilder::new(model.clone(), adamw(), TrainingConfig::from_toml(text).unwrap())
    };
    let trained = |builder: LearnerBuilder<TinyModel>| {
        let mut learner = builder.run(run()).build(Interrupter::new()).unwrap();
        train(&mut learner, 0..15);
        let explained = learner.model().explain().to_string();
        (values(learner.model().inner()), explained)
    };
    let (by_file, by_calls) = (trained(of_file(TRAINING)), trained(by_calls(model.clone())));
    assert_eq!(by_file, by_calls);
    assert_ne!(by_file.0, trained(of_file("schedule = \"linear(0.1, 0.01)\"")).0);

    // A call comes on top of a file.
    let clipped = trained(of_file(TRAINING).clip_global_norm(0.01));
    assert_ne!(clipped.0, by_file.0);
}

/// What is wrong for the run or the model has its line and column in the file.
#[test]
fn what_does_not_fit_a_file_is_found_where_it_stands() {
    let error = |from: &str, to: &str| {
        let text = TRAINING.replace(from, to);
        assert_ne!(text, TRAINING);
        let config = TrainingConfig::from_toml(&text).unwrap();
        let builder = LearnerBuilder::new(TinyModel::new(&device()), adamw(), config);
        builder.run(run()).build(Interrupter::new()).err().unwrap().to_string()
    };
    for (from, to, expected) in [
        ("0.5\n\n[groups]", "-1\n\n[groups]", "toml:5:20: clip_global_norm: -1.0 is not allowed"),
        ("layer_decay = 0.5", "layer_decay = 1.5", "toml:8:15: layer_decay: 1.5 is not allowed"),
        (
            "^head",
            "^haed",
            "toml:12:10: groups.top.select.regexes: `^haed` matches no trained parameter",
        ),
        ("linear(0.1", "linear(-1", "toml:2:12: schedule.linear.start: -1.0"),
        (
            "layer_decay = 0.5",
            "strict_layers = true\nlayers = [{ name = \"trunk\", pattern = \"hidden\" }]",
            "toml:9:10: layers: no pattern matches `head.weight`, `head.bias`; the patterns are `hidden`",
        ),
        ("layer_decay = 0.5", "caps = { tail = 0.1 }", "toml:7:2: groups: "),
        ("ema = 0.9", "ema = 1.5", "toml:22:7: average.decay: 1.5"),
        (
            "reaction = \"clip\"",
            "reaction = \"clip\"\nthreshold = -3.0",
            "toml:19:13: controller.spike.threshold",
        ),
    ] {
        let error = error(from, to);
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_group_has_a_name_that_is_one_of_a_log_file_of_its_own() {
    let model = TinyModel::new(&device());
    let schedule = constant(0.1).resolve(run()).unwrap();
    let resolved = |first: &str, second: &str| {
        let trunk = Group::new(first, "hidden");
        GroupsConfig::new().group(trunk).group(Group::rest(second)).resolve(
            &model,
            &schedule,
            run(),
        )
    };
    let long = "n".repeat(300);
    for name in [
        "enc/1",
        "..\\enc",
        "a:b",
        "*",
        "what?",
        "\"a\"",
        "<a",
        "a>",
        "a|b",
        "a\nb",
        "a\tb",
        "",
        &long[..101],
        &long,
    ] {
        let error = GroupError::from(NameError::NotAllowed { name: name.to_string() });
        assert_eq!(resolved(name, "rest").unwrap_err(), error);
        assert_eq!(resolved("trunk", name).unwrap_err(), error);
    }
    // Burn writes a space as _, and some file systems ignore case.
    for (other, group) in [("enc 1", "enc_1"), ("enc_1", "enc 1"), ("Enc", "enc")] {
        let (name, other) = (group.to_string(), other.to_string());
        let error = GroupError::from(NameError::SameFile { name, other: other.clone() });
        assert_eq!(resolved(&other, group).unwrap_err(), error);
    }
    for name in ["enc 1", "blocks.3, no decay", "tête (β₁)", &long[..100]] {
        assert!(resolved(name, "rest").is_ok(), "{name}");
    }
}

/// Experts of which an update trains one.
#[derive(Module, Debug)]
struct Experts {
    experts: Vec<Linear>,
}

impl Experts {
    /// With 15 equal weights each.
    fn new(weights: [f32; 3]) -> Self {
        let expert = |weight: f32| Linear {
            weight: Param::from_tensor(Tensor::full([4, 3], weight, &device())),
            bias: Some(Param::from_tensor(Tensor::full([3], weight, &device()))),
        };
        Self { experts: weights.map(expert).into() }
    }
}

#[test]
fn a_norm_is_that_of_all_weights_of_a_group_whether_an_update_trains_them_or_not() {
    let norms = |weights: [f32; 3], groups: GroupsConfig, chosen: fn(usize) -> usize| {
        // 1 and less than 2⁻²⁵ is 1 in f32.
        let sgd = SgdConfig::new().build();
        let mut training = LearnerBuilder::new(Experts::new(weights), sgd, constant(1e-12))
            .run(run())
            .groups(groups)
            .build_loop()
            .unwrap();
        let mut metrics = training.norm_metrics();
        let updates = (0..7).map(|update| {
            training.pass(|model| {
                let input = Tensor::<2>::ones([2, 4], &device());
                let loss = model.experts[chosen(update)].forward(input).sum();
                TrainOutput::new(model, loss.clone().scaled_backward(), loss)
            });
            training.update().unwrap();
            metrics.iter_mut().map(|metric| metric.last().unwrap()).collect()
        });
        updates.collect::<Vec<Vec<f64>>>()
    };
    let assert_norms = |found: Vec<Vec<f64>>, expected: &[f64]| {
        assert_eq!(found.len(), 7);
        for (update, found) in found.iter().enumerate() {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 1e-6, "update {update}: {found}");
            }
        }
    };
    let whole = norms([1.0; 3], GroupsConfig::new(), |update| update % 3);
    assert_norms(whole, &[45f64.sqrt()]);
    // Two of them never get a gradient; one of these is frozen.
    let each = GroupsConfig::new()
        .group(Group::new("chosen", "experts.0"))
        .group(Group::new("never chosen", "experts.1"))
        .group(Group::rest("frozen").frozen());
    let each = norms([1.0, 2.0, 3.0], each, |_| 0);
    assert_norms(each, &[1.0, 2.0, 3.0].map(|weight| weight * 15f64.sqrt()));
}

/// Muon for one matrix, AdamW for the rest.
fn with_muon(model: TinyModel) -> LearnerBuilder<TinyModel> {
    builder(model).optimizer_for(Selection::regex("hidden.weight"), MuonConfig::new().build())
}

#[test]
fn two_optimizers_train_as_burns_own_and_go_on_after_saving() {
    for (groups, scale) in [(GroupsConfig::new(), 1.0), (layer_decay(0.25), 0.25)] {
        let parts = |model: TinyModel| with_muon(model).groups(groups.clone());
        let model = TinyModel::new(&device());
        let mut burns = ModuleOptimizer::from(adamw()).with_group(
            ParamGroup::from_path("hidden.weight"),
            MuonConfig::new().build(),
            None,
        );
        let schedule = |scale: f64| Scheduler::new(linear(0.1, 0.01).scale(scale), run()).unwrap();
        let mut scheduler = ModuleLrScheduler::new(schedule(1.0))
            .with_group(ParamGroup::from_predicate("hidden"), schedule(scale));
        let mut ours = parts(model.clone()).build_loop().unwrap();
        let mut learner = parts(model.clone()).build(Interrupter::new()).unwrap();
        let mut resumed = None;
        let folder = tempfile::tempdir().unwrap();
        let mut theirs = model;
        for number in 0..10 {
            if number == 5 {
                ours.save(folder.path(), 1).unwrap();
                let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
                let fresh = parts(TinyModel::new(&device()));
                resumed = Some(fresh.resume_from(&saved).build_loop().unwrap());
            }
            let gradients = loss(&theirs, number).backward();
            let gradients = GradientsParams::from_grads(gradients, &theirs);
            theirs = burns.step(scheduler.step(), theirs, gradients);
            update_loop(&mut ours, number);
            train(&mut learner, number..number + 1);
            let expected = values(&theirs);
            assert_eq!(values(ours.model()), expected, "update {number}");
            assert_eq!(weights(&learner), expected, "update {number}");
            if let Some(resumed) = &mut resumed {
                update_loop(resumed, number);
                assert_eq!(values(resumed.model()), expected, "update {number}");
            }
        }
    }
}

#[test]
fn two_optimizers_go_on_in_burns_training_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::new(&device());
    let whole = trained(supervised(&folder.path().join("whole"), 2), with_muon(model.clone()));
    let split = folder.path().join("split");
    trained(supervised(&split, 1), with_muon(model.clone()));
    let saved = Checkpoint::newest(&split).unwrap().unwrap();
    for other in [
        builder(model.clone()),
        builder(model.clone()).optimizer_for("head.weight", MuonConfig::new().build()),
        with_muon(model.clone()).optimizer_for("head.weight", MuonConfig::new().build()),
    ] {
        let error = other.resume_from(&saved).build(Interrupter::new()).err().unwrap();
        let is_other =
            matches!(error, BuildError::Checkpoint(CheckpointError::DifferentOptimizer { .. }));
        assert!(is_other, "{error}");
    }
    let training = supervised(&split, 2).checkpoint(saved.epoch());
    let resumed = trained(training, with_muon(model).resume_from(&saved));
    assert_eq!(values(&resumed), values(&whole));
}

#[test]
fn an_optimizer_for_nothing_or_for_what_it_does_not_take_is_refused() {
    let model = || TinyModel::new(&device());
    let muon = || MuonConfig::new().build();
    for (selection, expected) in [
        (
            Selection::regex("haed"),
            "optimizer_for.regexes: `haed` matches no trained parameter; the nearest are `head.",
        ),
        (Selection::norms(), "optimizer_for: `norms` matches no trained parameter"),
        (Selection::none(), "optimizer_for: `nothing` matches no trained parameter"),
    ] {
        let error = builder(model()).optimizer_for(selection, muon()).build_loop().err().unwrap();
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    let for_all = || LearnerBuilder::new(model(), muon(), constant(0.01)).run(run());
    let selected = builder(model()).optimizer_for(Selection::everything(), muon());
    for refused in [for_all(), selected] {
        let error = refused.build_loop().err().unwrap();
        let text = error.to_string();
        let words = "Muon does not support `hidden.bias`, which has 1 dimensions";
        assert!(text.contains(words), "{text}");
        assert!(text.contains("LearnerBuilder::optimizer_for"), "{text}");
        let BuildError::OptimizerRefuses { optimizer, path, rank, .. } = error else {
            panic!("{text}")
        };
        assert_eq!((optimizer.as_str(), path.as_str(), rank), ("Muon", "hidden.bias", 1));
    }
    assert!(for_all().optimizer_for(Selection::biases(), adamw()).build_loop().is_ok());
    // An optimizer without parameters.
    let unused = builder(model()).optimizer_for(Selection::biases(), adamw());
    let unused = unused.optimizer_for(Selection::everything(), adamw()).build_loop();
    let error = unused.err().unwrap().to_string();
    assert!(error.contains("later calls select all parameters of `biases` again"), "{error}");
    // The last one that selects a parameter gets it.
    let both = builder(model()).optimizer_for(Selection::everything(), muon());
    assert!(both.optimizer_for(Selection::biases(), adamw()).build_loop().is_ok());
}

/// An update in which the bias of the trunk gets no gradient.
fn update_without_bias(
    training: &mut TrainingLoop<TinyModel>,
    update: usize,
) -> Result<(), Arc<UpdateError>> {
    training.pass(|model| {
        let loss = loss(model, update);
        let mut output = TrainOutput::new(model, loss.clone().scaled_backward(), loss);
        output.grads.remove::<1>(model.hidden.bias.as_ref().unwrap().id);
        output
    });
    training.update().map(|_| ())
}

/// Makes updates in which the bias of the trunk gets no gradient; returns how many were made before one failed, and its
/// error.
fn made_without_bias(
    training: &mut TrainingLoop<TinyModel>,
    most: usize,
) -> Option<(usize, Arc<UpdateError>)> {
    (0..most).find_map(|update| Some((update, update_without_bias(training, update).err()?)))
}

fn assert_no_gradient(error: &UpdateError, within: u64) {
    let text = error.to_string();
    let UpdateError::NoGradient { paths, updates } = error else { panic!("{text}") };
    assert_eq!((paths.as_slice(), *updates), (["hidden.bias".to_string()].as_slice(), within));
    let expected = format!("`hidden.bias` got no gradient in any of the first {within} updates");
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_parameter_that_never_gets_a_gradient_stops_the_run() {
    let builder = || builder(TinyModel::new(&device()));
    let mut training = builder().expect_gradients_within(5).build_loop().unwrap();
    assert!(made_without_bias(&mut training, 4).is_none());
    let before = values(training.model());
    let error = update_without_bias(&mut training, 4).unwrap_err();
    assert_no_gradient(&error, 5);
    assert_eq!(values(training.model()), before, "the update that fails is not made");
    assert_no_gradient(&training.failure().unwrap(), 5);
    assert_no_gradient(&update_without_bias(&mut training, 5).unwrap_err(), 5);
    assert_eq!(values(training.model()), before);

    // By default 100.
    let (made, error) = made_without_bias(&mut builder().build_loop().unwrap(), 200).unwrap();
    assert_eq!(made, 99);
    assert_no_gradient(&error, 100);
    let mut never = builder().expect_gradients_within(None).build_loop().unwrap();
    assert!(made_without_bias(&mut never, 200).is_none());
    // A single gradient is enough.
    let mut seldom = builder().expect_gradients_within(5).build_loop().unwrap();
    assert!(made_without_bias(&mut seldom, 4).is_none());
    update_loop(&mut seldom, 4);
    assert!(made_without_bias(&mut seldom, 20).is_none());

    let error = builder().expect_gradients_within(0).build_loop().err().unwrap().to_string();
    assert!(error.starts_with("expect_gradients_within: ") && error.contains("None"), "{error}");
}

#[test]
fn a_frozen_parameter_is_expected_to_get_a_gradient_once_it_thaws() {
    let build = |trunk: Group| {
        builder(TinyModel::new(&device()))
            .groups(GroupsConfig::new().group(trunk).group(Group::rest("head")))
            .expect_gradients_within(5)
            .build_loop()
            .unwrap()
    };
    let mut thaws = build(Group::new("trunk", "hidden").unfreeze_at(Span::Steps(7)));
    let (made, error) = made_without_bias(&mut thaws, 20).unwrap();
    // Seven without it, and four more with it.
    assert_eq!(made, 11);
    assert_no_gradient(&error, 5);
    let mut frozen = build(Group::new("trunk", "hidden").frozen());
    assert!(made_without_bias(&mut frozen, 20).is_none());
}

#[test]
fn a_parameter_that_never_gets_a_gradient_stops_burns_training() {
    let interrupter = Interrupter::new();
    let builder = builder(TinyModel::new(&device())).expect_gradients_within(5);
    let mut learner = builder.build(interrupter.clone()).unwrap();
    for number in 0..5 {
        assert!(!interrupter.should_stop(), "after {number} updates");
        let mut output = learner.train_step(points(&[number, number + 1], &device()));
        output.grads.remove::<1>(learner.model().inner().hidden.bias.as_ref().unwrap().id);
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    let failure = learner.model().failure().unwrap();
    assert_no_gradient(&failure, 5);
    let error = interrupter.error().unwrap().to_string();
    assert!(error.ends_with(&failure.to_string()), "{error}");
}

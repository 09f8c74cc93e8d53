//! Groups of parameters: their rates, their freezing and their decay, in Burn's learner and alone.

use anneal_tests::{TinyModel, points, supervised};
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, MultiGradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::Learner;
use burn_anneal::groups::{GroupOptimizer, parameters};
use burn_anneal::prelude::*;

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
    LearnerBuilder::new(model).optimizer(adamw()).schedule(linear(0.1, 0.01)).run(run())
}

fn learner(model: TinyModel, groups: GroupsConfig) -> Learner<Annealed<TinyModel>> {
    builder(model).groups(groups).build().unwrap()
}

/// One update as Burn's loops make it.
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
    let schedule = |scale: f64| linear(0.1, 0.01).scale(scale).init(run()).unwrap();
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
    let groups = model.groups().unwrap();
    assert_eq!(groups.names().collect::<Vec<_>>(), ["trunk", "head"]);
    // The run's schedule falls from 0.1 to 0.01 over 20 updates.
    assert_eq!(groups.rates(0).collect::<Vec<_>>(), [0.03, 0.02]);
    assert_eq!(groups.rate_of("hidden.weight", 10), Some(0.055 / 2.0));
    let explanation = model.explain().unwrap();
    assert!(explanation.groups[0].capped && !explanation.groups[1].capped);
}

#[test]
fn weight_decay_shrinks_by_the_groups_own_rate_and_leaves_out_what_is_excluded() {
    let model = TinyModel::new(&device());
    let before = values(&model);
    let groups = layer_decay(0.5).weight_decay(0.2).no_weight_decay(Selection::biases());
    let mut learner = learner(model, groups);
    // A gradient of 0 leaves the decay alone.
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
    let mut learner = learner(model, groups);
    assert!(!learner.model().inner().hidden.weight.is_require_grad());

    let output = learner.train_step(points(&[0, 1, 2], &device()));
    assert_eq!(output.grads.len(), 2, "the head's weight and bias");
    train(&mut learner, 0..10);
    let frozen = weights(&learner);
    assert_eq!(frozen[..2], initial[..2]);
    assert_ne!(frozen[2..], initial[2..]);
    assert!(learner.model().inner().hidden.weight.is_require_grad(), "update 10 trains it");

    train(&mut learner, 10..11);
    let moved = weights(&learner);
    assert_ne!(moved[0], initial[0]);
    // Adam's first update moves each weight by nearly the rate, whatever the gradient: it begins with
    // a fresh state.
    let rate = 0.055 * 0.5;
    let step = (moved[0][0] - initial[0][0] * (1.0 - rate * 0.1) as f32).abs();
    assert!((step / rate as f32 - 1.0).abs() < 0.05, "{step}");
}

#[test]
fn a_frozen_group_has_no_state_in_the_optimizers_record() {
    let model = TinyModel::new(&device());
    let schedule = constant(0.1).resolve(run()).unwrap();
    let groups = GroupsConfig::new()
        .group(Group::new("trunk", "hidden").unfreeze_at(Span::Steps(2)))
        .group(Group::rest("head"))
        .resolve(&model, &schedule, run())
        .unwrap();
    let mut optimizer = GroupOptimizer::new(groups, adamw()).unwrap();
    let mut model = optimizer.prepare(model);
    let mut tensors = vec![];
    for _ in 0..4 {
        let gradients = model.forward(points(&[0, 1, 2], &device())).loss.backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(model, gradients);
        tensors.push(optimizer.to_record().len());
    }
    // Two moments for each of two parameters, then of four.
    assert_eq!(tensors, [4, 4, 8, 8]);
}

/// The state is that of the wrapped optimizer, to the name of each of its entries.
#[test]
fn a_record_loads_into_the_plain_optimizer_and_back() {
    let model = TinyModel::new(&device());
    let gradients = |model: &TinyModel| {
        GradientsParams::from_grads(
            model.forward(points(&[0, 1, 2], &device())).loss.backward(),
            model,
        )
    };
    let schedule = constant(0.1).resolve(run()).unwrap();
    let groups = || GroupsConfig::new().resolve(&model, &schedule, run()).unwrap();
    let mut ours = GroupOptimizer::new(groups(), adamw()).unwrap();
    let mut plain = ModuleOptimizer::from(adamw());
    let ours_1 = ours.step(model.clone(), gradients(&model));
    let plain_1 = plain.step(0.1, model.clone(), gradients(&model));
    assert_eq!(values(&ours_1), values(&plain_1));

    // Each goes on with the other's state.
    let mut crossed =
        GroupOptimizer::new(groups(), adamw()).unwrap().load_record(plain.to_record(), 1);
    let mut back = ModuleOptimizer::from(adamw()).load_record(ours.to_record());
    let expected = plain.step(0.1, plain_1.clone(), gradients(&plain_1));
    assert_eq!(values(&crossed.step(ours_1.clone(), gradients(&ours_1))), values(&expected));
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

/// Where nobody says that weights were loaded, an update is lost, not the groups.
#[test]
fn a_loop_that_loads_weights_unannounced_goes_on_in_its_groups() {
    let model = TinyModel::new(&device());
    let schedule = constant(0.1).resolve(run()).unwrap();
    let groups = layer_decay(0.25).resolve(&model, &schedule, run()).unwrap();
    let mut optimizer = GroupOptimizer::new(groups, SgdConfig::new().build()).unwrap();
    let step = |optimizer: &mut GroupOptimizer, model: TinyModel| {
        let loss = model.forward(points(&[0, 1, 2], &device())).loss;
        let gradients = loss.backward();
        let bias = model.hidden.bias.as_ref().unwrap().val();
        let gradient: Vec<f32> = bias.grad(&gradients).unwrap().into_data().iter().collect();
        let gradients = GradientsParams::from_grads(gradients, &model);
        let before = values(&model)[1].clone();
        let model = optimizer.step(model, gradients);
        let after = values(&model)[1].clone();
        let rate = (before[0] - after[0]) / gradient[0];
        (model, rate)
    };
    let model = optimizer.prepare(model);
    let (model, rate) = step(&mut optimizer, model);
    assert!((rate - 0.025).abs() < 1e-4, "{rate}");
    let bytes = model.clone().into_record().into_bytes().unwrap();
    let other = TinyModel::new(&device()).into_record().into_bytes().unwrap();
    let load =
        |model: TinyModel, bytes| model.load_record(ModuleRecord::from_bytes(bytes).unwrap());
    let (model, rate) = step(&mut optimizer, load(model, other));
    assert_eq!(rate, 0.0);
    let (model, rate) = step(&mut optimizer, model);
    assert!((rate - 0.025).abs() < 1e-4, "{rate}");
    // Announced, none is lost.
    let model = optimizer.prepare(load(model, bytes));
    let (_, rate) = step(&mut optimizer, model);
    assert!((rate - 0.025).abs() < 1e-4, "{rate}");
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
        let built = |saved: Option<&SavedEpoch>| {
            let builder = LearnerBuilder::new(model.clone())
                .optimizer(SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build())
                .schedule(linear(0.1, 0.01))
                .groups(groups())
                .run(run());
            match saved {
                Some(saved) => builder.resume_from(saved).build().unwrap(),
                None => builder.build().unwrap(),
            }
        };
        let uninterrupted = folder.path().join("whole");
        let expected = supervised(&uninterrupted, whole).launch(built(None)).model;
        let split = folder.path().join("split");
        supervised(&split, first).launch(built(None));
        let saved = SavedEpoch::newest(&split).unwrap().unwrap();
        let learner = built(Some(&saved));
        let trunk_trains = start == Span::percent(25.0);
        assert_eq!(learner.model().inner().hidden.weight.is_require_grad(), trunk_trains);
        let resumed = supervised(&split, whole).checkpoint(saved.epoch()).launch(learner).model;
        assert_eq!(values(&resumed), values(&expected), "{start}");
    }
}

#[test]
fn a_checkpoint_of_other_groups_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::new(&device());
    supervised(folder.path(), 1).launch(learner(model.clone(), unfreezing()));
    let saved = SavedEpoch::newest(folder.path()).unwrap().unwrap();
    let builder = || builder(model.clone()).resume_from(&saved);
    assert!(builder().groups(unfreezing()).build().is_ok());
    let error = builder().build().err().unwrap().to_string();
    assert!(error.contains("was trained in groups, and now there are none"), "{error}");
    let error = builder().groups(layer_decay(0.5)).build().err().unwrap().to_string();
    assert!(error.contains("their rates, members or starts are others"), "{error}");
    let extended = builder().groups(layer_decay(0.5)).on_mismatch(OnMismatch::Extend).build();
    assert_eq!(extended.unwrap().model().explain().unwrap().step, 10);
}

/// Such a checkpoint has no step for the groups but that of the schedule.
#[test]
fn groups_go_on_where_a_run_without_them_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let model = TinyModel::new(&device());
    supervised(folder.path(), 1).launch(builder(model.clone()).build().unwrap());
    let saved = SavedEpoch::newest(folder.path()).unwrap().unwrap();
    for choice in [OnMismatch::Extend, OnMismatch::Restart] {
        let learner = builder(model.clone())
            .groups(layer_decay(0.5))
            .resume_from(&saved)
            .on_mismatch(choice)
            .build()
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
    let model = Normed::new(&device());
    let schedule = constant(0.01).resolve(run()).unwrap();
    let groups = GroupsConfig::new()
        .group(Group::new("head", "head"))
        .group(Group::rest("trunk").unfreeze_at(Span::Steps(2)))
        .freeze_statistics(freeze_statistics)
        .resolve(&model, &schedule, run())
        .unwrap();
    let mut optimizer = GroupOptimizer::new(groups, SgdConfig::new().build()).unwrap();
    let mut model = optimizer.prepare(model);
    let statistics = |model: &Normed| -> Vec<f32> {
        model.norm.running_mean.value_sync().into_data().iter::<f32>().collect()
    };
    (0..updates)
        .map(|_| {
            let before = statistics(&model);
            let input = Tensor::<2>::random([8, 4], burn::tensor::Distribution::Default, &device());
            let gradients = GradientsParams::from_grads(model.loss(input).backward(), &model);
            model = optimizer.step(model.clone(), gradients);
            statistics(&model) != before
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

#[test]
fn the_table_says_what_each_group_does() {
    let groups = layer_decay(0.5)
        .unfreeze_every(Span::percent(50.0))
        .weight_decay(0.05)
        .no_weight_decay(Selection::biases());
    let learner = learner(TinyModel::new(&device()), groups);
    let table = learner.model().explain().unwrap().to_string();
    assert_eq!(
        table,
        "\
update 0: linear(0.1, 0.01).length(20), 20 updates, rate 0.1
group             parameters  values  rate  multiplier  cap  shrink  kept              trains
hidden                     1      20     0         0.5    -       0     1  frozen, from 10 on
hidden, no decay           1       5     0         0.5    -       -     -  frozen, from 10 on
head                       1      15   0.1           1    -   0.005     1                 now
head, no decay             1       3   0.1           1    -       -     -                 now
weight decay of hidden, head: coupled(0.05)
0 more that the model does not train"
    );
    let json = learner.model().explain().unwrap().to_json();
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
        let built = builder(TinyModel::new(&device())).groups(groups).build();
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
            "layer_scales: 1 values for 2 layers; the layers are hidden, head",
        ),
        (new().layer_scales([0.0, 1.0]), "layer_scales: 0.0"),
        (
            layer_decay(0.5).layer_scales([0.1, 1.0]),
            "layer_decay: 0.5 is not allowed; allowed: none beside",
        ),
        (
            new().group(Group::new("head", "haed")),
            "`haed` matches no trained parameter; the nearest are `head.",
        ),
        (
            new().group(Group::new("head", "(head")),
            "groups.head.select.paths: `(head` is no regular",
        ),
        (
            new().group(Group::new("head", "head")),
            "2 parameters are in no group, such as `hidden.weight`",
        ),
        (
            new().group(Group::rest("all")).group(Group::new("head", "head")),
            "groups.head: all that it selects is in a group before it, such as `all`",
        ),
        (
            new().group(Group::new("norms", Selection::norms())).group(Group::rest("a")),
            "groups.norms.select: `norms` matches no trained parameter",
        ),
        (new().group(Group::rest("a")).group(Group::rest("a")), "groups.a: there are two"),
        (new().group(Group::rest("a").multiple(0.0)), "to freeze the group use frozen"),
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
        (layer_decay(0.5).unfreeze_every(Span::Rest), "unfreeze_every: rest is at no update"),
        (new().cap("haed", 0.1), "caps: there is no group `haed`; the groups are model"),
        (new().cap("model", 0.0), "caps.model: 0.0"),
        (new().weight_decay(-0.1), "weight_decay: -0.1"),
        (
            new().weight_decay(10.0),
            "weight_decay: 10.0 is not allowed; allowed: what takes a share below 1 of each weight; it \
             takes 1.0 at update 0, at the rate 0.1",
        ),
        (new().group(Group::rest("a").weight_decay(f64::NAN)), "groups.a.weight_decay: NaN"),
        (
            new().weight_decay(0.1).no_weight_decay(Selection::none().names(["embed"])),
            "no_weight_decay.names: `embed` matches no",
        ),
        (
            layer_decay(0.5).layers(LayerMap::from_patterns([("stem", "^stem")])),
            "layers.stem: `^stem` matches no",
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
        LearnerBuilder::new(TinyModel::new(&device()))
            .optimizer(AdamWConfig::new().build())
            .schedule(constant(0.1))
            .groups(groups)
            .run(run())
            .build()
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
select = { paths = ["^head"] }
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

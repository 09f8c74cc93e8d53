//! Weight decay by policy, around Burn's bare optimizers, in groups, and in the builder.

use anneal_tests::{TinyModel, Weight, points, supervised, trained};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, LionConfig, ModuleOptimizer, Optimizer,
    RmsPropConfig, SgdConfig,
};
use burn::tensor::{Device, FloatDType, Tensor};
use burn::train::{Interrupter, Learner, TrainOutput};
use burn_anneal::decay::{DecayError, DecayedError};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

fn policies() -> Vec<WeightDecay> {
    let each = vec![
        WeightDecay::coupled(0.1),
        WeightDecay::coupled(Span::steps(50)),
        WeightDecay::coupled(linear(0.0, 0.5)),
        WeightDecay::independent(0.01),
        WeightDecay::independent(Span::percent(200.0)),
        WeightDecay::independent(linear(0.0, 0.02)),
        WeightDecay::from_l2(0.05),
        WeightDecay::relative(0.01),
        WeightDecay::corrected(0.2),
    ];
    let cautious = each.clone().into_iter().map(WeightDecay::cautious);
    each.iter().cloned().chain(cautious).collect()
}

/// Makes an update of a custom loop with these gradients.
fn update<M: Module>(
    training: &mut TrainingLoop<M>,
    gradients: impl FnOnce(&M) -> GradientsParams,
) {
    training.pass(|model| TrainOutput { grads: gradients(model), item: () });
    training.update().unwrap();
}

fn gradients(model: &TinyModel, update: usize) -> GradientsParams {
    let points = points(&[update, update + 1, update + 2], &device());
    GradientsParams::from_grads(model.forward(points).loss.backward(), model)
}

fn weights(model: &TinyModel) -> Vec<f32> {
    let mut all = vec![];
    for layer in [&model.hidden, &model.head] {
        all.extend(layer.weight.val().into_data().iter::<f32>());
        all.extend(layer.bias.as_ref().unwrap().val().into_data().iter::<f32>());
    }
    all
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{found}, not {expected}");
    }
}

#[test]
fn a_coupled_decay_is_burns_adamw() {
    let run = RunLength::updates(200);
    let config = cosine(0.05);
    let schedule = config.clone().resolve(run).unwrap();
    let own = AdamWConfig::new().with_weight_decay(0.5);
    let (optimizer, decay) = own.clone().take_weight_decay().unwrap();
    let mut burns = own.init();
    let mut bare =
        ModuleOptimizer::from(Decayed::new(optimizer.clone(), &decay, &schedule, run).unwrap());
    let start = TinyModel::new(&device());
    let mut grouped = LearnerBuilder::new(start.clone(), optimizer, config)
        .run(run)
        .groups(GroupsConfig::new().weight_decay(decay))
        .build_loop()
        .unwrap();
    let (mut theirs, mut ours) = (start.clone(), start.clone());
    for number in 0..200 {
        let rate = schedule.rate(number as u64);
        let before = gradients(&theirs, number);
        theirs = burns.step(rate, theirs, before);
        let before = gradients(&ours, number);
        ours = bare.step(rate, ours, before);
        update(&mut grouped, |model| gradients(model, number));
    }
    assert_ne!(weights(&theirs), weights(&start));
    assert_close(&weights(&ours), &weights(&theirs), 1e-6);
    assert_close(&weights(grouped.model()), &weights(&theirs), 1e-6);
}

/// With gradients that do not depend on the weights; otherwise the last digit of a weight sometimes decides whether it
/// shrinks, and training diverges from the reference.
#[test]
fn a_cautious_coupled_decay_is_burns_cautious_adamw() {
    let run = RunLength::updates(200);
    let schedule = constant(0.01).resolve(run).unwrap();
    let own = AdamWConfig::new().with_weight_decay(0.5).with_cautious_weight_decay(true);
    let (optimizer, decay) = own.clone().take_weight_decay().unwrap();
    let mut burns = own.init();
    let mut bare = ModuleOptimizer::from(Decayed::new(optimizer, &decay, &schedule, run).unwrap());
    let start = Weight::new(&[1.0, -1.0, 0.3, -0.2]);
    let (mut theirs, mut ours) = (start.clone(), start);
    for update in 0..200 {
        let gradient = [0, 1, 2, 3].map(|k| (update as f32 * 0.07 + k as f32).sin());
        let (one, other) = (theirs.gradient(&gradient), ours.gradient(&gradient));
        theirs = burns.step(0.01, theirs, one);
        ours = bare.step(0.01, ours, other);
    }
    assert_close(&ours.values(), &theirs.values(), 1e-6);
}

/// With a gradient of 0, only the decay changes the weight: Π(1 − d_t), in f64.
#[test]
fn every_policy_shrinks_by_its_share_around_every_optimizer() {
    let run = RunLength::updates(40);
    fn check(optimizer: impl Optimizer, decay: &WeightDecay, run: RunLength) {
        let config = linear(0.5, 0.0);
        let schedule = config.clone().resolve(run).unwrap();
        let shrinkage = decay.resolve(&schedule, run).unwrap();
        let share = |step: u64| shrinkage.at(step, schedule.rate(step));
        let expected = (0..40).map(|step| 1.0 - share(step)).product::<f64>() as f32;
        assert!(expected < 0.95, "{decay}");

        let start = Weight::new(&[1.0, -2.0]);
        let mut grouped = LearnerBuilder::new(start.clone(), optimizer.clone(), config)
            .run(run)
            .groups(GroupsConfig::new().weight_decay(decay.clone()))
            .build_loop()
            .unwrap();
        for _ in 0..40 {
            update(&mut grouped, |model| model.gradient(&[0.0, 0.0]));
        }
        assert_close(&grouped.model().values(), &[expected, -2.0 * expected], 1e-5);

        let mut bare = match Decayed::new(optimizer, decay, &schedule, run) {
            Ok(bare) => ModuleOptimizer::from(bare),
            Err(error) => {
                let needs_step = matches!(error, DecayedError::Decay(DecayError::NeedsStep { .. }));
                assert!(needs_step && shrinkage.follows_the_step(), "{error}");
                return;
            }
        };
        let mut model = start;
        for step in 0..40 {
            let gradient = model.gradient(&[0.0, 0.0]);
            model = bare.step(schedule.rate(step), model, gradient);
        }
        assert_close(&model.values(), &[expected, -2.0 * expected], 1e-5);
    }
    for decay in policies() {
        check(SgdConfig::new().build(), &decay, run);
        check(AdamConfig::new().build(), &decay, run);
        check(AdamWConfig::new().with_weight_decay(0.0).build(), &decay, run);
        check(LionConfig::new().with_weight_decay(0.0).build(), &decay, run);
        check(RmsPropConfig::new().build(), &decay, run);
    }
}

#[test]
fn a_rate_of_0_stops_a_coupled_decay_and_not_an_independent_one() {
    let run = RunLength::updates(10);
    let after = |decay: WeightDecay| {
        let schedule = piecewise_constant(0.1, [Span::steps(5)], [0.0]);
        let (model, sgd) = (Weight::new(&[1.0]), SgdConfig::new().build());
        let mut training = LearnerBuilder::new(model, sgd, schedule)
            .run(run)
            .groups(GroupsConfig::new().weight_decay(decay))
            .build_loop()
            .unwrap();
        for _ in 0..10 {
            update(&mut training, |model| model.gradient(&[0.0]));
        }
        training.model().values()[0]
    };
    assert!((after(WeightDecay::coupled(0.5)) - 0.95f32.powi(5)).abs() < 1e-6);
    assert!((after(WeightDecay::independent(0.05)) - 0.95f32.powi(10)).abs() < 1e-6);
}

/// Weights shrink only where the update moves them toward 0 or not at all: w u ≥ 0.
#[test]
fn a_cautious_decay_spares_weights_that_grow() {
    let run = RunLength::updates(10);
    let schedule = constant(0.1).resolve(run).unwrap();
    let mut model = Weight::new(&[1.0, 1.0, -1.0, -1.0, 1.0]);
    let decay = WeightDecay::independent(0.01).cautious();
    let mut optimizer = ModuleOptimizer::from(
        Decayed::new(SgdConfig::new().build(), &decay, &schedule, run).unwrap(),
    );
    // w ← w − 0.1 g.
    let gradient = model.gradient(&[1.0, -1.0, 1.0, -1.0, 0.0]);
    model = optimizer.step(0.1, model, gradient);
    assert_close(&model.values(), &[0.9 - 0.01, 1.1, -1.1, -0.9 + 0.01, 0.99], 1e-6);
}

/// The product of small numbers is 0 in f16, and 0 would count as "not growing".
#[test]
fn a_cautious_decay_sees_small_weights_grow_in_half_precision() {
    let run = RunLength::updates(10);
    let schedule = constant(1.0).resolve(run).unwrap();
    let decay = WeightDecay::independent(0.1).cautious();
    let mut optimizer = ModuleOptimizer::from(
        Decayed::new(SgdConfig::new().build(), &decay, &schedule, run).unwrap(),
    );
    let model = Weight::new(&[1e-3]).map(&mut ToHalf(FloatDType::F16));
    let mut gradients = GradientsParams::new();
    let gradient = Tensor::<1>::from_floats([-2e-5], &Device::default()).cast(FloatDType::F16);
    gradients.register(model.weight.id, gradient);
    let grown = optimizer.step(1.0, model, gradients).values()[0];
    assert!(grown > 1.01e-3, "{grown}");
}

/// ω(t) follows the run's update, also for a layer that starts late, and after an update without a gradient.
#[test]
fn a_scheduled_decay_follows_the_step_of_the_run() {
    let run = RunLength::updates(20);
    let start = TinyModel::new(&device());
    let groups = layer_decay(1.0)
        .unfreeze_layers_at([Span::steps(10), Span::steps(0)])
        .weight_decay(WeightDecay::coupled(linear(0.0, 0.2)))
        .no_weight_decay(Selection::biases());
    let sgd = SgdConfig::new().build();
    let mut training = LearnerBuilder::new(start.clone(), sgd, constant(1.0))
        .run(run)
        .groups(groups)
        .build_loop()
        .unwrap();
    let zeros = |model: &TinyModel, head: bool| {
        let mut gradients = GradientsParams::new();
        let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &Device::default());
        gradients.register(model.hidden.weight.id, zeros([4, 5]));
        if head {
            gradients.register(model.head.weight.id, zeros([5, 3]));
        }
        gradients
    };
    for step in 0..20 {
        update(&mut training, |model| zeros(model, step != 15));
    }
    let model = training.model();
    let kept = |steps: &[u64]| steps.iter().map(|&t| 1.0 - 0.01 * t as f32).product::<f32>();
    let late: Vec<u64> = (10..20).collect();
    let but_one: Vec<u64> = (0..20).filter(|&t| t != 15).collect();
    let scaled = |weight: &Param<Tensor<2>>, by: f32| -> Vec<f32> {
        weight.val().into_data().iter::<f32>().map(|value| value * by).collect()
    };
    let found = |weight: &Param<Tensor<2>>| scaled(weight, 1.0);
    assert_close(&found(&model.hidden.weight), &scaled(&start.hidden.weight, kept(&late)), 1e-6);
    assert_close(&found(&model.head.weight), &scaled(&start.head.weight, kept(&but_one)), 1e-6);
}

#[test]
fn a_frozen_parameter_does_not_shrink_and_exclusions_and_groups_have_their_own_decay() {
    let run = RunLength::updates(10);
    let start = TinyModel::new(&device());
    let groups = GroupsConfig::new()
        .group(Group::new("trunk", "hidden").unfreeze_at(Span::steps(5)))
        .group(Group::new("head", "head").weight_decay(WeightDecay::independent(0.2)))
        .weight_decay(WeightDecay::independent(0.1))
        .no_weight_decay(Selection::biases());
    let sgd = SgdConfig::new().build();
    let mut training = LearnerBuilder::new(start.clone(), sgd, constant(0.1))
        .run(run)
        .groups(groups)
        .build_loop()
        .unwrap();
    let table = training.groups().explain(6);
    let row = |name: &str| table.groups.iter().find(|group| group.name == name).unwrap();
    // One update of ten and of five that shrink the trunk, and six that shrink the head.
    assert_eq!(row("trunk").shrink, 0.1);
    assert!((row("trunk").kept.unwrap() - 0.9).abs() < 1e-12);
    assert!((row("trunk").kept_at_end.unwrap() - 0.9f64.powi(5)).abs() < 1e-12);
    assert!((row("head").kept.unwrap() - 0.8f64.powi(6)).abs() < 1e-12);
    assert_eq!(row("head").decay.as_deref(), Some("independent(0.2)"));
    assert_eq!((row("head, no decay").shrink, row("head, no decay").kept), (0.0, Some(1.0)));

    update(&mut training, |model| {
        let mut zero = GradientsParams::new();
        zero.register(model.hidden.weight.id, Tensor::<2>::zeros([4, 5], &Device::default()));
        zero
    });
    assert_eq!(weights(training.model()), weights(&start));
}

fn builder(model: TinyModel, optimizer: impl Optimizer) -> LearnerBuilder<TinyModel> {
    let run = RunLength::updates_per_epoch(10).epochs(2);
    LearnerBuilder::new(model, optimizer, linear(0.1, 0.0)).run(run)
}

fn build(builder: LearnerBuilder<TinyModel>) -> Result<Learner<Annealed<TinyModel>>, BuildError> {
    builder.build(Interrupter::new())
}

fn plain() -> burn::optim::AdamW {
    AdamWConfig::new().with_weight_decay(0.0).build()
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    let run = RunLength::updates(20);
    let schedule = linear(0.1, 0.0).resolve(run).unwrap();
    let built = |builder: LearnerBuilder<TinyModel>| build(builder).err().unwrap().to_string();
    let with = |decay: WeightDecay| {
        let builder = builder(TinyModel::new(&device()), plain());
        let in_builder = built(builder.weight_decay(decay.clone()));
        let bare = Decayed::new(plain(), &decay, &schedule, run).err().unwrap().to_string();
        assert_eq!(in_builder, bare);
        bare
    };
    assert!(with(WeightDecay::coupled(-0.1)).starts_with("weight_decay: -0.1 is not allowed"));
    let nan = with(WeightDecay::independent(f64::NAN));
    assert!(nan.starts_with("weight_decay.independent: NaN is not allowed"), "{nan}");
    let whole = with(WeightDecay::coupled(10.0));
    assert!(whole.contains("it is 1.0 at update 0, at the rate 0.1"), "{whole}");
    let late = with(WeightDecay::coupled(piecewise_constant(0.1, [Span::steps(5)], [30.0])));
    assert!(late.contains("at update 5, at the rate 0.07"), "{late}");

    // An optimizer with its own decay.
    for optimizer in [AdamWConfig::new(), AdamWConfig::new().with_weight_decay(1e-9)] {
        let builder = builder(TinyModel::new(&device()), optimizer.build());
        let error = built(builder.weight_decay(WeightDecay::independent(1e-3)));
        assert!(
            error.contains("independent(0.001)") && error.contains("take_weight_decay"),
            "{error}"
        );
        let decay = WeightDecay::coupled(0.1);
        let bare = Decayed::new(optimizer.build(), &decay, &schedule, run).err().unwrap();
        assert!(matches!(bare, DecayedError::Decay(DecayError::Doubled { .. })), "{bare}");
        // Without an outside decay, its own is allowed.
        assert!(Decayed::new(optimizer.build(), &WeightDecay::none(), &schedule, run).is_ok());
    }
    let l2 = SgdConfig::new().with_weight_decay(Some(WeightDecayConfig::new(1e-4))).build();
    let error = Decayed::new(l2, &WeightDecay::coupled(0.1), &schedule, run).err().unwrap();
    assert!(matches!(error, DecayedError::Decay(DecayError::Doubled { .. })), "{error}");

    // Neither "no decay" nor an exclusion reaches into such an optimizer.
    let own = || builder(TinyModel::new(&device()), AdamWConfig::new().build());
    assert!(
        built(own().weight_decay(0.0)).starts_with("weight_decay: coupled(0.0) is set outside")
    );
    let excluded = built(own().no_weight_decay(Selection::biases()));
    assert!(excluded.starts_with("no_weight_decay: biases is set outside"), "{excluded}");
    let in_group = GroupsConfig::new().group(Group::rest("all").weight_decay(0.0));
    assert!(build(own().groups(in_group)).is_err());
    assert!(build(own().groups(GroupsConfig::new())).is_ok());

    for other in [0.0, 0.2] {
        let twice = builder(TinyModel::new(&device()), plain())
            .weight_decay(0.1)
            .groups(GroupsConfig::new().weight_decay(other));
        assert!(
            built(twice).starts_with("weight_decay: given for the whole model and in its groups")
        );
    }
    let unused =
        GroupsConfig::new().weight_decay(f64::NAN).group(Group::rest("all").weight_decay(0.1));
    let unused = builder(TinyModel::new(&device()), plain()).groups(unused);
    assert!(built(unused).starts_with("weight_decay: NaN"));
    // 12 · 0.1 ≥ 1, but the head only trains from the rate 0.025 on.
    let late = |omega: f64| {
        let head = Group::new("head", "head").unfreeze_at(Span::steps(15)).weight_decay(omega);
        let groups = GroupsConfig::new().group(head).group(Group::rest("trunk"));
        builder(TinyModel::new(&device()), plain()).groups(groups)
    };
    assert!(build(late(12.0)).is_ok());
    assert!(built(late(40.0)).contains("at update 15"));
}

#[test]
fn every_policy_goes_on_bitwise_after_saving_and_loading() {
    for decay in policies() {
        let model = TinyModel::new(&device());
        let parts = || {
            builder(model.clone(), plain())
                .weight_decay(decay.clone())
                .no_weight_decay(Selection::biases())
        };
        let folder = tempfile::tempdir().unwrap();
        let whole = trained(supervised(&folder.path().join("whole"), 2), parts());
        let split = folder.path().join("split");
        trained(supervised(&split, 1), parts());
        let saved = Checkpoint::newest(&split).unwrap().unwrap();
        let training = supervised(&split, 2).checkpoint(saved.epoch());
        let resumed = trained(training, parts().resume_from(&saved));
        assert_ne!(weights(&whole), weights(&model), "{decay}");
        assert_eq!(weights(&resumed), weights(&whole), "{decay}");
    }
}

/// The same text is another decay in a run with other epochs, and different texts may be the same decay.
#[test]
fn a_checkpoint_of_another_decay_is_refused() {
    let model = TinyModel::new(&device());
    let parts = |per_epoch: u64, decay: WeightDecay| {
        let run = RunLength::updates_per_epoch(per_epoch).epochs(20 / per_epoch as usize);
        LearnerBuilder::new(model.clone(), plain(), linear(0.1, 0.0)).run(run).weight_decay(decay)
    };
    let ten = WeightDecay::independent(Span::epochs(10));
    let folder = tempfile::tempdir().unwrap();
    trained(supervised(folder.path(), 1), parts(10, ten.clone()));
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    let accepted = |per_epoch: u64, decay: WeightDecay| {
        build(parts(per_epoch, decay).resume_from(&saved)).is_ok()
    };
    assert!(accepted(10, ten.clone()) && accepted(10, WeightDecay::independent(0.01)));
    assert!(!accepted(20, ten.clone()) && !accepted(10, WeightDecay::independent(0.02)));
    assert!(!accepted(10, ten.cautious()));
}

#[test]
fn what_decays_is_in_burns_logs() {
    let folder = tempfile::tempdir().unwrap();
    let builder = builder(TinyModel::seeded(5, &device()), plain())
        .weight_decay(5.0)
        .no_weight_decay(Selection::biases());
    let learner = build(builder).unwrap();
    let (decays, steps) = (learner.model().decay_metrics(), learner.model().step_metrics());
    let norms = learner.model().norm_metrics();
    assert_eq!((decays.len(), steps.len(), norms.len()), (2, 2, 2));
    let training = supervised(folder.path(), 2);
    let trained = decays
        .into_iter()
        .chain(steps)
        .chain(norms)
        .fold(training, |training, metric| training.metric_train_numeric(metric))
        .launch(learner);
    let log = |name: &str, i: usize| -> f64 {
        let path = folder.path().join(format!("train/epoch-{}/{name}.log", 1 + i / 10));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        text.lines().nth(i % 10).unwrap().split(',').next().unwrap().parse().unwrap()
    };
    let mut kept = 1.0;
    for i in 0..20 {
        let share = 5.0 * 0.1 * (1.0 - i as f64 / 20.0);
        kept *= 1.0 - share;
        assert!((log("Decay_model", i) - share).abs() < 1e-9, "update {i}");
        assert!((log("Kept_model", i) - kept).abs() < 1e-9, "update {i}");
    }
    // Adam's first update moves each weight by the rate, except for ε next to this seed's gradients; the decay removes
    // half in addition.
    for name in ["Step_model", "Step_model,_no_decay"] {
        let first = log(name, 0);
        assert!((first / 0.1 - 1.0).abs() < 0.02, "{name}: {first}");
    }
    assert!(log("Step_model", 19) < log("Step_model", 0));
    let model = trained.model.into_inner();
    let squared = |layer: &burn::nn::Linear| layer.weight.val().square().sum().into_scalar::<f32>();
    let norm = f64::from(squared(&model.hidden) + squared(&model.head)).sqrt();
    assert!((log("Norm_model", 19) / norm - 1.0).abs() < 1e-5, "{norm}");
}

/// A cautious decay does not count in the step either.
#[test]
fn the_step_of_a_cautious_decay_is_that_of_the_optimizer() {
    let folder = tempfile::tempdir().unwrap();
    let builder = builder(TinyModel::seeded(5, &device()), plain())
        .weight_decay(WeightDecay::independent(0.5).cautious());
    let learner = build(builder).unwrap();
    let steps = learner.model().step_metrics();
    let training = supervised(folder.path(), 1);
    let training =
        steps.into_iter().fold(training, |training, step| training.metric_train_numeric(step));
    training.launch(learner);
    let log = std::fs::read_to_string(folder.path().join("train/epoch-1/Step_model.log")).unwrap();
    let first: f64 = log.split(',').next().unwrap().parse().unwrap();
    assert!((first / 0.1 - 1.0).abs() < 0.02, "{first}");
}

#[test]
fn a_decay_of_which_nothing_is_left_is_noted() {
    let notes =
        |builder: LearnerBuilder<TinyModel>| build(builder).unwrap().model().explain().notes;
    let with = || builder(TinyModel::new(&device()), plain());
    let all = notes(with().weight_decay(0.1).no_weight_decay(Selection::everything()));
    assert_eq!(all, ["weight_decay: coupled(0.1), but no parameter decays"]);
    let none = notes(with().no_weight_decay(Selection::biases()));
    assert_eq!(none, ["no_weight_decay: biases, but no parameter decays"]);
    assert!(notes(with().weight_decay(0.1).no_weight_decay(Selection::biases())).is_empty());
}

struct ToHalf(FloatDType);

impl ModuleMapper for ToHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let tensor = Tensor::from_inner(tensor.inner().cast(self.0)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

#[test]
fn a_decay_that_half_precision_rounds_away_is_said() {
    let run = RunLength::updates(10);
    let schedule = constant(1e-3).resolve(run).unwrap();
    let notes = |decay: f64, dtype: Option<FloatDType>| {
        let model = TinyModel::new(&device());
        let model = match dtype {
            Some(dtype) => model.map(&mut ToHalf(dtype)),
            None => model,
        };
        let groups = GroupsConfig::new().weight_decay(WeightDecay::independent(decay));
        groups.resolve(&model, &schedule, run).unwrap().explain(0).notes
    };
    assert!(notes(1e-5, None).is_empty());
    let lost = notes(1e-5, Some(FloatDType::F16));
    assert!(lost[0].contains("100 % of the updates") && lost[0].contains("f16"), "{lost:?}");
    assert!(lost[0].contains("master weights"), "{lost:?}");
    assert!(notes(3e-4, Some(FloatDType::F16)).is_empty());
    assert!(notes(3e-4, Some(FloatDType::BF16))[0].contains("bf16"));
    // A decay that follows the rate is lost once the rate has fallen: below 0.61 of the peak here.
    let falling = linear(4e-3, 0.0).resolve(run).unwrap();
    let model = TinyModel::new(&device()).map(&mut ToHalf(FloatDType::F16));
    let groups = GroupsConfig::new().weight_decay(0.1).resolve(&model, &falling, run).unwrap();
    assert!(
        groups.explain(0).notes[0].contains("60 % of the updates"),
        "{:?}",
        groups.explain(0).notes
    );
    // Check: 1 − 2⁻¹² rounds to 1 in f16, and no weight changes.
    let device = Device::default();
    let one = Tensor::<1>::from_floats([1.0, 1.5, 1.999], &device).cast(FloatDType::F16);
    let shrunk = |share: f64| -> bool {
        let after = one.clone().mul_scalar(1.0 - share);
        after.equal(one.clone()).all().into_scalar::<bool>()
    };
    assert!(shrunk(f64::exp2(-12.0)) && !shrunk(f64::exp2(-11.0)));
}

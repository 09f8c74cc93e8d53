//! Momentum that follows a schedule, and the effect of rate drops on it.

use anneal_tests::{TinyModel, Weight, supervised, trained};
use burn::module::Param;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, LionConfig, ModuleOptimizer, Optimizer,
    OptimizerRecord, RmsPropConfig, SgdConfig,
};
use burn::tensor::{Device, FloatDType, Tensor};
use burn::train::{Interrupter, Learner, TrainOutput};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

/// The rates of a run of this many updates.
type Rates = (ScheduleConfig, u64);

/// The weight before each update, and after the last, on ½ λ w² from w = 1.
fn on_a_quadratic(
    optimizer: impl Optimizer,
    groups: GroupsConfig,
    (schedule, updates): &Rates,
    curvature: f32,
) -> Vec<f64> {
    let (model, run) = (Weight::new(&[1.0]), RunLength::updates(*updates));
    let mut training = LearnerBuilder::new(model, optimizer, schedule.clone())
        .run(run)
        .groups(groups)
        .build_loop()
        .unwrap();
    let mut weights = vec![1.0];
    for _ in 0..*updates {
        training.pass(|model| TrainOutput {
            grads: model.gradient(&[curvature * model.values()[0]]),
            item: (),
        });
        training.update().unwrap();
        weights.push(f64::from(training.model().values()[0]));
    }
    weights
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (t, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{t}: {found}, not {expected}");
    }
}

const UPDATES: u64 = 60;

fn rates() -> Rates {
    (cosine(0.3).end(0.05).into(), UPDATES)
}

fn rate(t: usize) -> f64 {
    let (schedule, updates) = rates();
    schedule.resolve(RunLength::updates(updates)).unwrap().rate(t as u64)
}

fn momentum() -> ScheduleConfig {
    linear(0.9, 0.5).into()
}

fn momentum_at(t: usize) -> f64 {
    0.9 - 0.4 * t as f64 / UPDATES as f64
}

#[test]
fn sgds_momentum_is_that_of_the_update() {
    for (nesterov, dampening) in [(false, 0.0), (true, 0.0), (false, 0.3)] {
        let form = MomentumConfig::new().with_nesterov(nesterov).with_dampening(dampening);
        let config = SgdConfig::new().with_momentum(Some(form));
        let groups = GroupsConfig::new().momentum(momentum());
        let found = on_a_quadratic(ScheduledMomentum::from(config), groups, &rates(), 0.7);
        let (mut w, mut v): (f64, f64) = (1.0, 0.0);
        let mut expected = vec![w];
        for t in 0..UPDATES as usize {
            let (g, mu) = (0.7 * w, momentum_at(t));
            v = if t == 0 { g } else { mu * v + (1.0 - dampening) * g };
            w -= rate(t) * if nesterov { g + mu * v } else { v };
            expected.push(w);
        }
        assert_close(&found, &expected, 2e-6);
    }
    // A configuration without momentum has no dampening.
    let groups = || GroupsConfig::new().momentum(momentum());
    let plain = on_a_quadratic(ScheduledMomentum::from(SgdConfig::new()), groups(), &rates(), 0.7);
    let form = MomentumConfig::new().with_dampening(0.0);
    let named = ScheduledMomentum::from(SgdConfig::new().with_momentum(Some(form)));
    assert_eq!(plain, on_a_quadratic(named, groups(), &rates(), 0.7));
}

#[test]
fn lion_and_rmsprop_follow_theirs() {
    let constant_momentum = || GroupsConfig::new().momentum(constant(0.7));
    let lion = |beta_1: f32| LionConfig::new().with_weight_decay(0.0).with_beta_1(beta_1);
    let own = on_a_quadratic(lion(0.7).build(), GroupsConfig::new(), &rates(), 0.7);
    let followed = ScheduledMomentum::from(lion(0.95));
    assert_eq!(on_a_quadratic(followed, constant_momentum(), &rates(), 0.7), own);
    assert_ne!(on_a_quadratic(lion(0.95).build(), GroupsConfig::new(), &rates(), 0.7), own);

    let rmsprop = |momentum: f32| RmsPropConfig::new().with_momentum(momentum);
    let own = on_a_quadratic(rmsprop(0.7).build(), GroupsConfig::new(), &rates(), 0.7);
    let followed = ScheduledMomentum::from(rmsprop(0.2));
    assert_eq!(on_a_quadratic(followed, constant_momentum(), &rates(), 0.7), own);
    assert_ne!(on_a_quadratic(rmsprop(0.2).build(), GroupsConfig::new(), &rates(), 0.7), own);
}

#[test]
fn adams_first_moment_follows_with_either_correction() {
    for exact in [false, true] {
        let adam = ScheduledAdamConfig::new().beta_2(0.99);
        let adam = if exact { adam.exact_bias_correction() } else { adam };
        let groups = GroupsConfig::new().momentum(momentum());
        let found = on_a_quadratic(adam.build().unwrap(), groups, &rates(), 0.7);
        let (mut w, mut m, mut v, mut product): (f64, f64, f64, f64) = (1.0, 0.0, 0.0, 1.0);
        let mut expected = vec![w];
        for t in 0..UPDATES as usize {
            let (g, beta) = (0.7 * w, momentum_at(t));
            m = beta * m + (1.0 - beta) * g;
            v = 0.99 * v + 0.01 * g * g;
            product *= beta;
            let n = t as i32 + 1;
            let left = if exact { product } else { beta.powi(n) };
            let root = (v / (1.0 - 0.99f64.powi(n))).sqrt();
            w -= rate(t) * m / (1.0 - left) / (root + 1e-8);
            expected.push(w);
        }
        assert_close(&found, &expected, 1e-5);
    }
}

/// With a constant β₁ both corrections are equal, and match Burn's AdamW to the error of its f32 factors.
#[test]
fn without_a_schedule_it_is_burns_adam() {
    let schedule = rates();
    let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).build();
    let expected = on_a_quadratic(burns, GroupsConfig::new(), &schedule, 0.7);
    for groups in [GroupsConfig::new(), GroupsConfig::new().momentum(constant(0.9))] {
        let adam = ScheduledAdamConfig::new();
        for adam in [adam, adam.exact_bias_correction()] {
            let found = on_a_quadratic(adam.build().unwrap(), groups.clone(), &schedule, 0.7);
            assert_close(&found, &expected, 2e-4);
        }
    }
    let largest = AdamConfig::new().with_epsilon(1e-8).with_amsgrad(true).build();
    let expected = on_a_quadratic(largest, GroupsConfig::new(), &schedule, 0.7);
    let ours = ScheduledAdamConfig::new().amsgrad().build().unwrap();
    assert_close(&on_a_quadratic(ours, GroupsConfig::new(), &schedule, 0.7), &expected, 2e-4);
}

#[test]
fn a_record_of_burns_adam_loads_and_back() {
    let bytes = |record: OptimizerRecord| {
        OptimizerRecord::from_bytes(record.into_bytes().unwrap()).unwrap()
    };
    let burns = || AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).init();
    let ours = || ModuleOptimizer::from(ScheduledAdamConfig::new().build().unwrap());
    let start = Weight::new(&[1.0, -0.5]);
    let three = |optimizer: &mut ModuleOptimizer, model: Weight| {
        (0..3).fold(model, |model, i| {
            let gradient = model.gradient(&[0.3 + i as f32, -0.2]);
            optimizer.step(0.01, model, gradient)
        })
    };
    let (mut first, mut second) = (burns(), ours());
    let theirs = three(&mut first, start.clone());
    let own = three(&mut second, start);
    let mut crossed = ours().load_record(bytes(first.to_record()));
    let mut back = burns().load_record(bytes(second.to_record()));
    let mut fresh = ours();
    assert_eq!(crossed.to_record().len(), first.to_record().len());
    let expected = three(&mut first, theirs.clone()).values();
    let close = |found: Vec<f32>, tolerance: f32| {
        found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < tolerance)
    };
    assert!(close(three(&mut crossed, theirs.clone()).values(), 1e-5));
    assert!(close(three(&mut back, own).values(), 1e-5));
    // A fresh state would have gone elsewhere.
    assert!(!close(three(&mut fresh, theirs).values(), 1e-5));
}

fn rate_inside(nesterov: bool) -> RateInsideSgd {
    let sgd = RateInsideSgd::new(0.9).unwrap();
    if nesterov { sgd.nesterov() } else { sgd }
}

#[test]
fn the_rate_inside_the_velocity_is_its_formula() {
    for nesterov in [false, true] {
        let groups = GroupsConfig::new().momentum(momentum());
        let found = on_a_quadratic(rate_inside(nesterov), groups, &rates(), 0.7);
        let (mut w, mut v): (f64, f64) = (1.0, 0.0);
        let mut expected = vec![w];
        for t in 0..UPDATES as usize {
            let (push, mu) = (rate(t) * 0.7 * w, momentum_at(t));
            v = mu * v + push;
            w -= if nesterov { mu * v + push } else { v };
            expected.push(w);
        }
        assert_close(&found, &expected, 2e-6);
        // At a constant rate both forms are equal.
        let constant = (constant(0.1).into(), UPDATES);
        let form = MomentumConfig::new().with_nesterov(nesterov).with_dampening(0.0);
        let torch = SgdConfig::new().with_momentum(Some(form)).build();
        let torch = on_a_quadratic(torch, GroupsConfig::new(), &constant, 0.7);
        let inside = on_a_quadratic(rate_inside(nesterov), GroupsConfig::new(), &constant, 0.7);
        assert_close(&inside, &torch, 2e-6);
    }
}

/// A rate of 0.5 on a flat quadratic, λ = 0.01, drops to a thousandth at update 40, in mid-flight.
/// PyTorch's form almost stops; with the rate inside, the velocity of the old rate continues.
#[test]
fn a_drop_overshoots_with_the_rate_inside_and_each_policy_prevents_it() {
    let own = || step_decay(0.5, Span::steps(40), 1e-3);
    let schedule = (own().into(), 80);
    let flight = |weights: &[f64]| weights[40] - weights[80];
    let torch =
        SgdConfig::new().with_momentum(Some(MomentumConfig::new().with_dampening(0.0))).build();
    let torch = flight(&on_a_quadratic(torch, GroupsConfig::new(), &schedule, 0.01));
    let inside = |rate_drop: RateDrop, nesterov: bool| {
        let groups = GroupsConfig::new().rate_drop(rate_drop);
        flight(&on_a_quadratic(rate_inside(nesterov), groups, &schedule, 0.01))
    };
    for nesterov in [false, true] {
        let kept = inside(RateDrop::keep(), nesterov);
        // β/(1 − β) = 9 times the last velocity; without a policy nothing else happens.
        assert!(kept > 50.0 * torch, "{kept}, {torch}");
        for policy in [RateDrop::reset(), RateDrop::rescale(), RateDrop::damp(1, 0.0)] {
            let left = inside(policy, nesterov);
            assert!(left < 2.0 * torch, "{policy:?}: {left}, not {torch}");
        }
        // Damped by half for 20 updates, it moves by β/2/(1 − β/2) = 0.8 velocities.
        let damped = inside(RateDrop::damp(20, 0.5), nesterov);
        assert!(damped < 0.12 * kept && damped > torch, "{damped}, {kept}");
    }
    // A drop of the group's own schedule counts, not one of the run's.
    let steady = (constant(0.5).into(), 80);
    let of_group =
        GroupsConfig::new().rate_drop(RateDrop::reset()).group(Group::rest("all").schedule(own()));
    let of_run = GroupsConfig::new().rate_drop(RateDrop::reset());
    assert_eq!(
        on_a_quadratic(rate_inside(false), of_group, &steady, 0.01),
        on_a_quadratic(rate_inside(false), of_run, &schedule, 0.01)
    );
    // A cap below both rates leaves no drop.
    let capped = |rate_drop: RateDrop| {
        let groups = GroupsConfig::new().rate_drop(rate_drop).cap("model", 1e-4);
        on_a_quadratic(rate_inside(false), groups, &schedule, 0.01)
    };
    assert_eq!(capped(RateDrop::reset()), capped(RateDrop::keep()));
}

/// β₁ = 0 is sign descent with Adam's denominator, and 0 · ln 0 must not get into it.
#[test]
fn a_momentum_that_starts_at_0_is_corrected_by_nothing() {
    for adam in [ScheduledAdamConfig::new(), ScheduledAdamConfig::new().exact_bias_correction()] {
        let schedule = (constant(0.01).into(), 3);
        let groups = GroupsConfig::new().momentum(linear(0.0, 0.9));
        let found = on_a_quadratic(adam.build().unwrap(), groups, &schedule, 1.0);
        assert!((found[1] - 0.99).abs() < 1e-6 && found[2] < found[1], "{found:?}");
        let own = adam.beta_1(0.0).build().unwrap();
        let found = on_a_quadratic(own, GroupsConfig::new(), &schedule, 1.0);
        assert!((found[1] - 0.99).abs() < 1e-6 && found[3] < found[2], "{found:?}");
    }
}

/// In f16 torch's ε is 0, and a weight without a gradient would become 0/0.
#[test]
fn a_weight_without_a_gradient_stays_in_half_precision() {
    let model = Weight::new(&[1.0, 1.0]);
    let half =
        |values: &[f32]| Tensor::<1>::from_floats(values, &Device::default()).cast(FloatDType::F16);
    let weight = Tensor::from_inner(half(&[1.0, 1.0])).require_grad();
    let model = Weight { weight: Param::initialized(model.weight.id, weight) };
    let mut gradients = GradientsParams::new();
    gradients.register(model.weight.id, half(&[0.0, 0.5]));
    let mut optimizer = ModuleOptimizer::from(ScheduledAdamConfig::new().build().unwrap());
    let values = optimizer.step(0.125, model, gradients).values();
    assert_eq!(values[0], 1.0);
    assert!((values[1] - 0.875).abs() < 2e-3, "{values:?}");
}

/// On an eigenvalue λ, the pair (μ, ((1 − μ)/(1 + μ))²/λ) is critically damped Nesterov momentum:
/// (1 + b t) r^t with the double root r = (1 + μ)(1 − ηλ)/2.
#[test]
fn a_critically_damped_pair_does_not_swing() {
    let curvature = 4.0;
    let momentum: ScheduleConfig = constant(0.8).into();
    let pair = momentum.clone().follow_momentum(curvature);
    let eta = pair.clone().resolve(RunLength::updates(40)).unwrap().rate(0);
    let form = MomentumConfig::new().with_nesterov(true).with_dampening(0.0);
    let sgd = ScheduledMomentum::from(SgdConfig::new().with_momentum(Some(form)));
    let groups = GroupsConfig::new().momentum(momentum);
    let found = on_a_quadratic(sgd, groups, &(pair.into(), 40), curvature as f32);
    let root = 1.8 * (1.0 - eta * curvature) / 2.0;
    let b = found[1] / root - 1.0;
    for (t, weight) in found.iter().enumerate().skip(1) {
        let expected = (1.0 + b * t as f64) * root.powi(t as i32);
        assert!((weight - expected).abs() < 1e-5 && *weight > 0.0, "{t}: {weight}, {expected}");
    }
}

fn builder(model: TinyModel, optimizer: impl Optimizer) -> LearnerBuilder<TinyModel> {
    let run = RunLength::updates_per_epoch(10).epochs(2);
    LearnerBuilder::new(model, optimizer, step_decay(0.05, Span::epochs(1.5), 0.1)).run(run)
}

fn build(builder: LearnerBuilder<TinyModel>) -> Result<Learner<Annealed<TinyModel>>, BuildError> {
    builder.build(Interrupter::new())
}

#[test]
fn what_no_optimizer_follows_is_refused() {
    let model = || TinyModel::new(&device());
    let error = |builder: LearnerBuilder<TinyModel>| build(builder).err().unwrap().to_string();
    let adam = || ScheduledAdamConfig::new().build().unwrap();

    let plain = builder(model(), AdamConfig::new().build()).momentum(constant(0.9));
    assert!(error(plain).contains("ScheduledAdam"));
    let outside = builder(model(), adam()).rate_drop(RateDrop::reset());
    assert!(error(outside).contains("RateInsideSgd"));
    let sgd = ScheduledMomentum::from(SgdConfig::new());
    let outside = builder(model(), sgd).rate_drop(RateDrop::damp(5, 0.5));
    assert!(error(outside).contains("RateInsideSgd"));
    // A schedule that changes nothing needs nothing.
    assert!(build(builder(model(), adam()).rate_drop(RateDrop::keep())).is_ok());

    let high = builder(model(), adam()).momentum(constant(1.0));
    assert!(error(high).starts_with("momentum: 1.0 is not allowed"));
    let low = builder(model(), adam()).momentum(constant(-0.1));
    assert!(error(low).starts_with("momentum: constant.rate: -0.1"));
    let own = GroupsConfig::new().group(Group::rest("all").momentum(constant(2.0)));
    assert!(error(builder(model(), adam()).groups(own)).starts_with("groups.all.momentum"));
    let shared = GroupsConfig::new()
        .momentum(constant(2.0))
        .group(Group::rest("all").momentum(constant(0.5)));
    assert!(error(builder(model(), adam()).groups(shared)).starts_with("momentum: 2.0"));
    let drop = RateDrop::damp(0, 0.5);
    let inside = builder(model(), rate_inside(false)).rate_drop(drop);
    assert!(error(inside).starts_with("rate_drop.damp.updates: 0"));

    for (adam, field) in [
        (ScheduledAdamConfig::new().beta_1(1.0), "beta_1: 1.0"),
        (ScheduledAdamConfig::new().beta_2(-0.1), "beta_2: -0.1"),
        (ScheduledAdamConfig::new().epsilon(0.0), "epsilon: 0.0"),
        (ScheduledAdamConfig::new().epsilon(f64::NAN), "epsilon: NaN"),
    ] {
        assert!(adam.build().unwrap_err().to_string().starts_with(field));
    }
    assert!(RateInsideSgd::new(1.0).unwrap_err().to_string().starts_with("momentum: 1.0"));
}

fn weights(model: &TinyModel) -> Vec<f32> {
    let both = [&model.hidden, &model.head];
    both.iter()
        .flat_map(|layer| layer.weight.val().into_data().iter::<f32>().collect::<Vec<_>>())
        .collect()
}

/// Two epochs at once, and resumed in between, with builders from a closure.
fn assert_resumes(parts: impl Fn() -> LearnerBuilder<TinyModel>) {
    let folder = tempfile::tempdir().unwrap();
    let whole = trained(supervised(&folder.path().join("whole"), 2), parts());
    let split = folder.path().join("split");
    trained(supervised(&split, 1), parts());
    let saved = Checkpoint::newest(&split).unwrap().unwrap();
    let training = supervised(&split, 2).checkpoint(saved.epoch());
    let resumed = trained(training, parts().resume_from(&saved));
    assert_eq!(weights(&resumed), weights(&whole));
}

#[test]
fn every_form_goes_on_bitwise_after_saving_and_loading() {
    let model = TinyModel::new(&device());
    fn follows(model: &TinyModel, optimizer: impl Optimizer) -> LearnerBuilder<TinyModel> {
        builder(model.clone(), optimizer).momentum(momentum())
    }
    for nesterov in [false, true] {
        let form = MomentumConfig::new().with_nesterov(nesterov);
        let sgd = SgdConfig::new().with_momentum(Some(form));
        assert_resumes(|| follows(&model, ScheduledMomentum::from(sgd.clone())));
        // The drop is in the second epoch, and its damping lasts to the end.
        for policy in
            [RateDrop::keep(), RateDrop::reset(), RateDrop::rescale(), RateDrop::damp(8, 0.3)]
        {
            assert_resumes(|| follows(&model, rate_inside(nesterov)).rate_drop(policy));
        }
    }
    for adam in [
        ScheduledAdamConfig::new(),
        ScheduledAdamConfig::new().amsgrad(),
        ScheduledAdamConfig::new().exact_bias_correction(),
    ] {
        let adam = adam.build().unwrap();
        assert_resumes(|| follows(&model, adam).weight_decay(WeightDecay::relative(1e-2)));
    }
}

/// A checkpoint with another momentum is refused, like one with other groups.
#[test]
fn a_checkpoint_of_another_momentum_is_refused() {
    let model = TinyModel::new(&device());
    let parts = |peak: f64| {
        let adam = ScheduledAdamConfig::new().build().unwrap();
        builder(model.clone(), adam).momentum(linear(peak, 0.5))
    };
    let folder = tempfile::tempdir().unwrap();
    trained(supervised(folder.path(), 1), parts(0.9));
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    assert!(build(parts(0.9).resume_from(&saved)).is_ok());
    assert!(build(parts(0.8).resume_from(&saved)).is_err());

    let parts = |policy: RateDrop| builder(model.clone(), rate_inside(false)).rate_drop(policy);
    let folder = tempfile::tempdir().unwrap();
    trained(supervised(folder.path(), 1), parts(RateDrop::reset()));
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    assert!(build(parts(RateDrop::reset()).resume_from(&saved)).is_ok());
    assert!(build(parts(RateDrop::rescale()).resume_from(&saved)).is_err());
}

#[test]
fn the_momentum_is_in_the_table_and_in_burns_logs() {
    let one = one_cycle(0.1);
    let (model, adam) = (TinyModel::new(&device()), ScheduledAdamConfig::new().build().unwrap());
    let run = RunLength::updates_per_epoch(10).epochs(2);
    let builder = LearnerBuilder::new(model, adam, one.clone())
        .run(run)
        .momentum(one.clone().momentum(0.85, 0.95));
    let learner = build(builder).unwrap();
    let table = learner.model().explain();
    assert_eq!(table.groups[0].momentum, Some(0.95));
    assert!(table.to_string().contains("momentum"), "{table}");
    let folder = tempfile::tempdir().unwrap();
    let metrics = learner.model().momentum_metrics();
    let training = metrics.into_iter().fold(supervised(folder.path(), 1), |training, metric| {
        training.metric_train_numeric(metric)
    });
    training.launch(learner);
    let log = std::fs::read_to_string(folder.path().join("train/epoch-1/Momentum_model.log"));
    let expected = one.momentum(0.85, 0.95).resolve(RunLength::updates(20)).unwrap();
    for (t, line) in log.unwrap().lines().enumerate().take(10) {
        let found: f64 = line.split(',').next().unwrap().parse().unwrap();
        assert!((found - expected.rate(t as u64)).abs() < 1e-9, "{t}: {found}");
    }
}

/// Outside of groups, the optimizers follow their configuration.
#[test]
fn a_bare_optimizer_has_the_momentum_of_its_configuration() {
    let form = MomentumConfig::new().with_momentum(0.8);
    let config = SgdConfig::new().with_momentum(Some(form));
    let model = Weight::new(&[1.0]);
    let two = |mut optimizer: ModuleOptimizer| {
        (0..4).fold(model.clone(), |model, i| {
            let gradient = model.gradient(&[0.5 + i as f32]);
            optimizer.step(0.1, model, gradient)
        })
    };
    assert_eq!(
        two(ScheduledMomentum::from(config.clone()).into()).values(),
        two(config.init()).values()
    );
    let form = MomentumConfig::new().with_dampening(0.0).with_momentum(0.9);
    let torch = two(SgdConfig::new().with_momentum(Some(form)).init()).values()[0];
    let inside = two(rate_inside(false).into()).values()[0];
    assert!((inside - torch).abs() < 1e-6, "{inside}, {torch}");
}

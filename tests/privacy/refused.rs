//! Refusals of private training, and of other training about private parts.

use super::*;
use anneal_tests::{Quiet, TinyModel, batches};
use burn::module::RunningState;
use burn::nn::{BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::FloatDType;
use burn::train::{Interrupter, SupervisedTraining};
use burn_anneal::control::{
    BatchAgain, FiniteGuard, MetricOf, NoiseScale, Pid, Plateau, PrivacyAccountant, PrivacyBudget,
    PrivateRate, PrivateStep, Signal, SpikeGuard,
};

const BUDGET: PrivacyBudget =
    PrivacyBudget { epsilon: 3.0, delta: 1e-4, noise_multiplier: 1.0, sampling_rate: 0.25 };

const STEP: PrivateStep = PrivateStep {
    noise_multiplier: 1.0,
    clip: 1.0,
    batch: 5.0,
    parameters: 10_003,
    smoothness: 1.0,
};

/// The error of a loop that cannot be built.
fn refusal(builder: LearnerBuilder<Lines>, privacy: DifferentialPrivacy) -> String {
    match builder.build_private_loop(privacy, &loader(items(20), 5)) {
        Ok(_) => panic!("it was built"),
        Err(error) => error.to_string(),
    }
}

fn begins(error: &str, with: &str) {
    assert!(error.starts_with(with), "{error}");
}

#[test]
fn no_noise_and_clipping_off() {
    let of = |privacy| refusal(builder(0.1, 10), privacy);
    begins(&of(DifferentialPrivacy::clip(1.0)), "privacy: noise_multiplier: none");
    for noise in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
        let error = of(privacy(1.0, noise));
        begins(&error, "privacy: noise_multiplier");
        assert!(error.contains("without noise nothing is private"), "{error}");
    }
    for clip in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-13, 1e13] {
        begins(&of(privacy(clip, 1.0)), "privacy: clip");
    }
}

#[test]
fn budgets_and_rates_out_of_range() {
    let of = |privacy| refusal(builder(0.1, 10), privacy);
    for delta in [0.0, -1e-5, 0.05, 1.0, f64::NAN] {
        begins(&of(privacy(1.0, 1.0).budget(3.0, delta)), "privacy: budget.delta");
    }
    for epsilon in [0.0, f64::INFINITY] {
        begins(&of(DifferentialPrivacy::clip(1.0).budget(epsilon, 1e-4)), "privacy: epsilon");
        begins(&of(privacy(1.0, 1.0).budget(epsilon, 1e-4)), "controller: `privacy`: epsilon");
    }
    // The number of updates that the noise must last for is unknown.
    let endless = builder(0.1, 10).run(RunLength::unbounded());
    let budget = DifferentialPrivacy::clip(1.0).budget(3.0, 1e-4);
    begins(&refusal(endless, budget), "privacy: noise_multiplier: none");
    for smoothness in [0.0, f64::NAN] {
        let error = of(privacy(1.0, 1.0).best_rate(smoothness));
        begins(&error, "controller: `private rate`: smoothness");
    }
    let limits = BestRate::new(1.0).limits(2.0, 1.0);
    begins(&of(privacy(1.0, 1.0).best_rate(limits)), "controller: `private rate`: limits");
    let groups = GroupsConfig::new()
        .group(Group::new("unused", "^unused").unfreeze_at(Span::steps(2)))
        .group(Group::rest("rest"));
    let error = refusal(builder(0.1, 10).groups(groups), privacy(1.0, 1.0).best_rate(1.0));
    begins(&error, "best_rate: not supported in private training");
}

#[test]
fn loaders_that_draw_nothing() {
    for (items, expected, begin) in [
        (items(0), 1, "training: its loader has no items"),
        (items(20), 0, "loader: expected_batch"),
        (items(20), 21, "loader: expected_batch"),
    ] {
        let loader = loader(items, expected);
        let error = builder(0.1, 10).build_private_loop(privacy(1.0, 1.0), &loader).err().unwrap();
        begins(&error.to_string(), begin);
    }
}

#[test]
fn parts_that_follow_gradients_without_noise() {
    let of = |builder| refusal(builder, privacy(1.0, 1.0));
    let plain = || builder(0.1, 10);
    begins(
        &of(plain().half_precision(HalfPrecision::bf16())),
        "half_precision: not supported in private",
    );
    begins(&of(plain().loss_scaling(LossScaling::new())), "loss_scaling: not supported in private");
    begins(
        &of(plain().overflow_cap(OverflowCap::given(1.0))),
        "overflow_cap: not supported in private",
    );
    let scaled = plain().controller("mine", LossScaling::new().build().unwrap());
    begins(&of(scaled), "loss_scaling: not supported in private");
    let accumulating = RunLength::from_items(20, 5).epochs(3).gradient_accumulation(2);
    begins(&of(plain().run(accumulating)), "run: not supported in private");
    begins(&of(plain().run(RunLength::updates(10).devices(2))), "run: not supported in private");
    let ramp = RunLength::updates(10).gradient_accumulation_steps(&[(5, 2)]);
    begins(&of(plain().run(ramp)), "run: not supported in private");
    let half = Lines {
        unused: Param::from_tensor(Tensor::<1>::zeros([4], &device()).cast(FloatDType::BF16)),
        ..Lines::new()
    };
    let half = LearnerBuilder::new(half, SgdConfig::new().build(), constant(0.1));
    begins(&of(half.run(RunLength::updates(10))), "model: not supported in private");
}

#[test]
fn controllers_that_hear_of_the_data() {
    let of =
        |needs| refusal(builder(0.1, 10).controller("mine", Needing(needs)), privacy(1.0, 1.0));
    let none = Needs::default();
    for (needs, what) in [
        (Needs { loss: true, ..none }, "the loss"),
        (Needs { batch_gradient_norm: true, ..none }, "the norms of single batches"),
        (Needs { largest_gradient: true, ..none }, "the largest entry"),
        (Needs { batch_again: Some(BatchAgain { limit: 1.0 }), ..none }, "a repeated batch"),
        (Needs { task_cosine: true, ..none }, "the cosines"),
    ] {
        begins(&of(needs), &format!("controller: `mine` needs {what}"));
    }
    let plain = || builder(0.1, 10).run(RunLength::updates_per_epoch(5).epochs(2));
    let of = |builder| refusal(builder, privacy(1.0, 1.0));
    let plateau = |metric| plain().controller("mine", Plateau::min(metric).patience(1));
    begins(
        &of(plateau(MetricOf::train("Loss"))),
        "controller: `mine` needs the metric `train Loss`",
    );
    let pid = Pid::set_point(Signal::Loss, 1.0, [0.1, 0.0, 0.0]);
    begins(&of(plain().controller("mine", pid)), "controller: `mine` needs the loss");
    // By its own rule it needs several batches per update, which are refused earlier.
    let noise = NoiseScale::new().batch_size(5);
    begins(&of(plain().controller("mine", noise)), "controller: `mine`: batches_per_update");

    let good = plateau(MetricOf::valid("Loss"))
        .controller("spikes", SpikeGuard::clip())
        .controller("guard", FiniteGuard::skip(3).unwrap())
        .clip_global_norm(1.0);
    assert!(good.build_private_loop(privacy(1.0, 1.0), &loader(items(20), 5)).is_ok());
}

#[test]
fn controllers_of_private_training_where_nobody_makes_them() {
    let refused = |error: BuildError| {
        let found = matches!(&error, BuildError::OfPrivacy { controller } if controller == "mine");
        assert!(found && error.to_string().contains("build_private_loop"), "{error}");
    };
    macro_rules! everywhere {
        ($rule:expr) => {
            let with = || builder(0.1, 10).controller("mine", $rule);
            refused(with().build_loop().err().unwrap());
            let private = with().build_private_loop(privacy(1.0, 1.0), &loader(items(20), 5));
            refused(private.err().unwrap());
            let tiny = || {
                let model = TinyModel::new(&device());
                let builder = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1));
                builder.controller("mine", $rule)
            };
            let run = RunLength::updates_per_epoch(5).epochs(2);
            refused(tiny().run(run).build(Interrupter::new()).err().unwrap());
            let folder = tempfile::tempdir().unwrap();
            let training =
                SupervisedTraining::new(folder.path(), batches(6, 3, 0), batches(3, 3, 0));
            let training = training.num_epochs(2).renderer(Box::new(Quiet));
            refused(tiny().launch(training).err().unwrap());
        };
    }
    everywhere!(BUDGET);
    everywhere!(PrivateRate::new(STEP));
    everywhere!(PrivateRate::new(STEP).after(Span::steps(3)));
    everywhere!(PrivacyAccountant::new(1.0, 0.25).unwrap());
}

/// A layer, with a norm of one kind or another.
#[derive(Module, Debug)]
struct Normed {
    linear: Linear,
    norms: Vec<Norm>,
}

#[derive(Module, Debug)]
enum Norm {
    Batch(BatchNorm),
    Layer(LayerNorm),
}

impl Normed {
    fn new(norms: Vec<Norm>) -> Self {
        Self { linear: LinearConfig::new(3, 3).init(&device()), norms }
    }

    fn loss(&self, item: Tensor<1>) -> Tensor<1> {
        let rows = self.linear.forward(item.reshape([1, 3]));
        let normed = self.norms.iter().fold(rows, |rows, norm| match norm {
            Norm::Batch(norm) => norm.forward(rows),
            Norm::Layer(norm) => norm.forward(rows),
        });
        normed.square().sum()
    }
}

fn build<M: Module>(model: M) -> Result<PrivateLoop<M, Tensor<1>>, BuildError> {
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1))
        .run(RunLength::updates(10))
        .build_private_loop(privacy(1.0, 1.0), &loader(items(20), 20))
}

#[test]
fn batch_norms_that_are_not_frozen() {
    let batch_norm = || BatchNormConfig::new(3).init(&device());
    let layer_norm = || Norm::Layer(LayerNormConfig::new(3).init(&device()));
    let error = build(Normed::new(vec![layer_norm(), Norm::Batch(batch_norm())])).err().unwrap();
    let path = matches!(&error, BuildError::MixesItems { path } if path.starts_with("norms.1"));
    assert!(path, "{error}");

    for norm in [layer_norm(), Norm::Batch(batch_norm().freeze())] {
        let mut training = build(Normed::new(vec![norm])).unwrap();
        for _ in 0..3 {
            training.update(Normed::loss).unwrap();
        }
    }
}

/// Keeps a running sum of its inputs, unlike any of Burn's layers.
#[derive(Module, Debug)]
struct Remembers {
    weight: Param<Tensor<1>>,
    seen: RunningState<Tensor<1>>,
}

#[test]
fn layers_that_keep_something_of_what_they_see() {
    let weight = Param::from_tensor(Tensor::<1>::zeros([3], &device()));
    let seen = RunningState::new(Tensor::<1>::zeros([3], &device()));
    let mut training = build(Remembers { weight, seen }).unwrap();
    let loss = |model: &Remembers, item: Tensor<1>| {
        model.seen.update(model.seen.value_sync() + item.clone().detach());
        (model.weight.val() * item).sum()
    };
    for _ in 0..2 {
        let error = training.update(loss).unwrap_err();
        let paths = match &*error {
            UpdateError::MovesStatistics { paths } => paths.clone(),
            _ => panic!("{error}"),
        };
        assert_eq!(paths, ["seen"]);
    }
    assert_eq!(training.accountant().counted(), 0);
}

#[test]
fn signals_that_come_an_update_late() {
    let builder = builder(0.1, 10).delay_signals();
    begins(&refusal(builder, privacy(1.0, 1.0)), "delay_signals");
}

#[test]
fn a_buffer_that_is_not_finite_and_stays_so_does_not_move() {
    let weight = Param::from_tensor(Tensor::<1>::zeros([3], &device()));
    let mask = [0.0, f32::NEG_INFINITY, f32::NAN];
    let seen = RunningState::new(Tensor::<1>::from_floats(mask, &device()));
    let mut training = build(Remembers { weight, seen }).unwrap();
    for _ in 0..2 {
        let loss = |model: &Remembers, item: Tensor<1>| (model.weight.val() * item).sum();
        training.update(loss).unwrap();
    }
}

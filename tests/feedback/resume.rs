//! Every controller, saved and resumed in the middle of its work, continues bit for bit.

use super::*;
use anneal_tests::{Quiet, flat, seeded};
use burn::optim::AdamWConfig;
use burn::train::metric::LossMetric;
use burn::train::{Interrupter, SupervisedTraining};
use burn_anneal::control::{
    Cooldown, Curriculum, FiniteGuard, Follow, Greedy, Hypergradient, LocalSteps, MetricOf, Pid,
    Plateau, PruningRestart, Rehearsal, Signal, SpikeGuard,
};
use serde_json::Value;
use std::ops::Range;
use std::path::Path;

type Builder = LearnerBuilder<TinyModel>;
type With = fn(Builder, &str) -> Builder;

/// The controllers by name, with the announcements of the loop in some updates.
fn controllers() -> Vec<(&'static str, With, Option<&'static str>)> {
    vec![
        (
            "plateau",
            |b, n| b.controller(n, Plateau::min(MetricOf::valid("Loss")).patience(0).factor(0.5)),
            None,
        ),
        (
            "plateau of the loss",
            |b, n| b.controller(n, Plateau::min(Signal::Loss).mean_over(2).patience(0).factor(0.5)),
            None,
        ),
        (
            "greedy",
            |b, n| {
                let greedy = Greedy::min(Signal::Loss, 1e-4..=1.0).factor(0.5).patience(0);
                b.controller(n, greedy.window(3).warmup(1).cooldown(1))
            },
            None,
        ),
        ("pid", |b, n| b.controller(n, Pid::change_of(Signal::Loss, [2.0, 0.5, 0.5])), None),
        ("hypergradient", |b, n| b.controller(n, Hypergradient::on_log(10.0)), None),
        ("additive", |b, n| b.controller(n, Hypergradient::additive(10.0)), None),
        ("spike guard", |b, n| b.controller(n, SpikeGuard::clip().first(2).threshold(0.1)), None),
        (
            "cut",
            |b, n| {
                let guard = SpikeGuard::cut(0.5, 3).signal(Signal::Loss);
                b.controller(n, guard.first(2).threshold(0.1))
            },
            None,
        ),
        (
            "curriculum",
            |b, n| {
                let phases = Curriculum::new("easy", 1.0).phase("mixed", 0.5, 3);
                b.controller(n, phases.announced_phase("hard", 0.25).spike(3.0, 3))
            },
            Some("hard"),
        ),
        ("rehearsal", |b, n| b.controller(n, Rehearsal::every(4)), None),
        ("pruning", |b, n| b.controller(n, PruningRestart::new(4.0, 3)), Some("pruned")),
        ("temperature", |b, n| b.controller(n, Follow::temperature(0.5)), Some("temperature")),
        (
            "local steps",
            |b, n| b.controller(n, LocalSteps::new(3).budget(0.2).step_decay(0.5, 2)),
            None,
        ),
        (
            "within",
            |b, n| {
                let plateau = Plateau::min(Signal::Loss).patience(0).factor(0.5).on_group("high");
                b.controller(n, plateau.after(2).until(7))
            },
            None,
        ),
        ("cooldown", |b, n| b.controller(n, Cooldown::after_non_finite_loss(3).unwrap()), None),
        ("guard", |b, n| b.controller(n, FiniteGuard::skip(5).unwrap()), None),
    ]
}

const UPDATES: u64 = 12;

/// Runs a range of updates; the sixth has a NaN loss if requested, and every third ends an epoch.
fn train(
    training: &mut TrainingLoop<TinyModel>,
    updates: Range<u64>,
    announces: Option<&str>,
    has_nan: bool,
) {
    for number in updates {
        if let Some(name) = announces.filter(|_| number % 4 == 3) {
            training.announce_value(name, 0.1 * number as f64).unwrap();
        }
        training.pass(|model| {
            let points = batch(number * 7);
            let output = TrainStep::step(model, points);
            match has_nan && number == 5 {
                true => nan(output),
                false => output,
            }
        });
        training.update().unwrap();
        if number % 3 == 2 {
            let loss = [0.9, 1.1, 0.8, 0.8][(number / 3) as usize];
            training.end_epoch([(MetricOf::valid("Loss"), loss)]).unwrap();
        }
    }
}

type Output = burn::train::TrainOutput<burn::train::ClassificationOutput>;

fn nan(output: Output) -> Output {
    let mut output = output;
    output.item.loss = output.item.loss * f32::NAN;
    output
}

fn state(training: &TrainingLoop<TinyModel>) -> Value {
    training.explain().control.unwrap().controllers.remove(0).state
}

fn adam() -> Builder {
    let model = TinyModel::seeded(5, &device());
    let groups = GroupsConfig::new()
        .group(Group::new("low", "^hidden").multiple(0.25))
        .group(Group::rest("high"));
    let adam = AdamWConfig::new().with_weight_decay(0.0).build();
    LearnerBuilder::new(model, adam, cosine(0.3)).run(RunLength::updates(UPDATES)).groups(groups)
}

#[test]
fn a_controller_that_is_resumed_goes_on_bit_for_bit() {
    for (name, with, announces) in controllers() {
        let has_nan = ["cooldown", "guard"].contains(&name);
        let builder = || with(adam(), name);
        let mut whole = builder().build_loop().unwrap();
        let mut without = adam().build_loop().unwrap();
        train(&mut without, 0..UPDATES, None, false);
        let mut weights = vec![];
        let mut states = vec![];
        for number in 0..UPDATES {
            train(&mut whole, number..number + 1, announces, has_nan);
            weights.push(flat(whole.model()));
            states.push(state(&whole));
        }
        assert_ne!(weights[11], flat(without.model()), "{name} does something");
        for cut in 1..UPDATES {
            let folder = tempfile::tempdir().unwrap();
            let mut first = builder().build_loop().unwrap();
            train(&mut first, 0..cut, announces, has_nan);
            first.save(folder.path(), 1).unwrap();
            drop(first);
            let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
            let mut resumed = builder().resume_from(&saved).build_loop().unwrap();
            train(&mut resumed, cut..UPDATES, announces, has_nan);
            assert_eq!(state(&resumed), states[11], "{name}, cut at {cut}");
            assert_eq!(flat(resumed.model()), weights[11], "{name}, cut at {cut}");
        }
    }
}

/// A launched run with many controllers, interrupted in mid-epoch.
#[test]
fn a_launched_run_is_resumed_in_mid_epoch_with_all_of_them() {
    let launch = |folder: &Path, stop: Option<u64>| {
        let training = SupervisedTraining::new(folder, seeded(60, 6, 3), seeded(12, 6, 4))
            .num_epochs(3)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .metrics((LossMetric::new(),));
        let interrupter: Interrupter = training.interrupter();
        let stops = Stops(stop, interrupter);
        let result = adam()
            .run(RunLength::of_training())
            .controller("plateau", Plateau::min(MetricOf::valid("Loss")).patience(0).factor(0.5))
            .controller("pid", Pid::change_of(Signal::Loss, [2.0, 0.5, 0.5]).mean_over(4))
            .controller("hypergradient", Hypergradient::on_log(3.0))
            .controller("spikes", SpikeGuard::clip().first(3).threshold(0.5))
            .controller("stops", stops)
            .checkpoints(Checkpoints::new(folder).every_updates(1))
            .resume(Newest)
            .log_updates(folder)
            .launch(training)
            .unwrap();
        assert!(result.error.is_none(), "{:?}", result.error);
        flat(&result.model)
    };
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = launch(whole.path(), None);
    launch(parts.path(), Some(14));
    assert_eq!(launch(parts.path(), None), expected);
    let log = |folder: &Path| {
        let log = burn_anneal::control::UpdateLog::read(folder).unwrap();
        assert_eq!(log.updates.len(), 30);
        log.updates
    };
    assert_eq!(log(parts.path()), log(whole.path()));
}

/// Interrupts the run at an update.
#[derive(Clone)]
struct Stops(Option<u64>, Interrupter);

impl std::fmt::Debug for Stops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Controller for Stops {
    type State = ();

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Update(seen) = event
            && Some(seen.number) == self.0
        {
            self.1.stop(Some("for a test"));
        }
        Ok(Answer::default())
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// With master weights, the gradients of both updates are in f32, and the product matches that of an f32 model except
/// for the rounding of weights, about 2⁻¹¹ each.
#[test]
fn a_hypergradient_in_half_precision_is_resumed_too() {
    let halved = || {
        let half = HalfPrecision { loss_scaling: Some(LossScaling::new()), ..HalfPrecision::f16() };
        adam().half_precision(half).controller("learns", Hypergradient::on_log(10.0))
    };
    let products = |builder: LearnerBuilder<TinyModel>| {
        let mut training = builder.build_loop().unwrap();
        train(&mut training, 0..2, None, false);
        training.observation().gradient_dot.unwrap()
    };
    let in_f32 = products(adam().controller("learns", Hypergradient::on_log(10.0)));
    let in_f16 = products(halved());
    assert!((in_f16 / in_f32 - 1.0).abs() < 0.02, "{in_f16}, {in_f32}");
    let folder = tempfile::tempdir().unwrap();
    let mut whole = halved().build_loop().unwrap();
    train(&mut whole, 0..4, None, false);
    whole.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    let mut resumed = halved().resume_from(&saved).build_loop().unwrap();
    train(&mut whole, 4..UPDATES, None, false);
    train(&mut resumed, 4..UPDATES, None, false);
    assert_eq!(flat(&resumed.model_in_f32()), flat(&whole.model_in_f32()));
}

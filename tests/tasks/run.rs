//! Tasks in a custom loop: signals of controllers, scaling, and errors that stop the run.

use super::*;
use anneal_tests::{Needing, flat};
use burn::optim::SgdConfig;
use burn::train::TrainOutput;
use burn_anneal::control::{Needs, Observation, TaskConflict, UpdateLog};
use burn_anneal::{TaskError, UpdateError};

const A: [f32; 3] = [1.0, 2.0, 2.0];
const B: [f32; 3] = [-2.0, -1.0, 0.5];
const C: [f32; 3] = [0.0, 3.0, 4.0];

fn builder() -> LearnerBuilder<Linear> {
    let groups =
        GroupsConfig::new().group(Group::new("trunk", "^trunk")).group(Group::rest("heads"));
    LearnerBuilder::new(Linear::new(), SgdConfig::new().build(), constant(0.5))
        .run(RunLength::updates(500))
        .groups(groups)
}

/// A pass of two tasks with these gradients at the trunk; the second has half the weight.
fn pass(training: &mut TrainingLoop<Linear>, one: &[f32], other: &[f32]) {
    training.pass(|model| tasks(model, one, other));
}

fn tasks(model: &Linear, one: &[f32], other: &[f32]) -> TrainOutput<()> {
    let mut tasks = TaskGradients::of(model);
    tasks.task("one", |model| model.at(true, one, &[0.0, 0.0, 1.0]));
    tasks.weighted_task("other", 0.5, |model| model.at(false, other, &[2.0, 0.0, 0.0]));
    tasks.output(())
}

/// The result of one task only.
fn pass_alone(training: &mut TrainingLoop<Linear>) {
    training.pass(|model| {
        let mut tasks = TaskGradients::of(model);
        tasks.task("one", |model| model.at_trunk(&[0.0; 3]));
        tasks.output(())
    });
}

fn rates(training: &TrainingLoop<Linear>) -> Vec<f64> {
    training.rate_metrics().into_iter().map(|mut metric| metric.last().unwrap()).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
}

/// Of loss, norm and cosine.
fn all() -> Needing {
    Needing(Needs { loss: true, gradient_norm: true, task_cosine: true, ..Needs::default() })
}

#[test]
fn the_factor_is_that_of_the_cosine_for_all_groups_or_for_one() {
    let factor = 1.0 + 0.5 * cosine(&A, &B);
    let rule = || TaskConflict::new().strength(0.5);
    let mut all = builder().controller("conflict", rule()).build_loop().unwrap();
    let mut trunk =
        builder().controller("conflict", rule().on_group("trunk")).build_loop().unwrap();
    for training in [&mut all, &mut trunk] {
        pass(training, &A, &B);
        training.update().unwrap();
        close(training.observation().task_cosine.unwrap(), cosine(&A, &B));
    }
    for (found, expected) in rates(&all).into_iter().zip([0.5 * factor; 2]) {
        close(found, expected);
    }
    let of_trunk = rates(&trunk);
    close(of_trunk[0], 0.5 * factor);
    assert_eq!(of_trunk[1], 0.5);
    // The initial weights are 1.
    let expected = [0, 1, 2].map(|i| 1.0 - 0.5 * factor as f32 * (A[i] + 0.5 * B[i]));
    for (found, expected) in values(trunk.model().trunk.val()).into_iter().zip(expected) {
        close(found.into(), expected.into());
    }
    assert_eq!(values(trunk.model().one.val()), [1.0, 1.0, 0.5]);
    assert_eq!(values(trunk.model().other.val()), [0.5, 1.0, 1.0]);
}

/// A batch without a cosine does not count; an update without any has NaN.
#[test]
fn an_update_has_the_mean_of_its_batches() {
    let mut training = builder().controller("conflict", TaskConflict::new()).build_loop().unwrap();
    pass(&mut training, &A, &B);
    pass(&mut training, &A, &C);
    pass_alone(&mut training);
    training.update().unwrap();
    let mean = 0.5 * (cosine(&A, &B) + cosine(&A, &C));
    close(training.observation().task_cosine.unwrap(), mean);
    pass_alone(&mut training);
    training.update().unwrap();
    assert!(training.observation().task_cosine.unwrap().is_nan());
    let control = training.explain().control.unwrap();
    assert_eq!(control.state("conflict", "undefined"), Some(1.0));
    assert_eq!(control.state("conflict", "defined"), Some(1.0));
}

#[test]
fn three_tasks_have_the_mean_of_the_pairs_that_share_something() {
    let mut training = builder().controller("all", all()).build_loop().unwrap();
    training.pass(|model| {
        let mut tasks = TaskGradients::of(model);
        tasks.task("a", |model| model.at_trunk(&A));
        tasks.task("b", |model| model.at_trunk(&B));
        tasks.task("c", |model| model.at_trunk(&C));
        tasks.task("without a gradient", |model| model.at_trunk(&[0.0; 3]));
        tasks.task("apart", |model| model.one.val().sum());
        tasks.weighted_task("only looked at", 0.0, |model| model.at_trunk(&[1.0, 0.0, 0.0]));
        tasks.output(())
    });
    training.update().unwrap();
    let mean = (cosine(&A, &B) + cosine(&A, &C) + cosine(&B, &C)) / 3.0;
    close(training.observation().task_cosine.unwrap(), mean);
}

#[test]
fn nothing_is_measured_that_nobody_needs() {
    let loss = Needs { loss: true, ..Needs::default() };
    let mut training = builder().controller("loss", Needing(loss)).build_loop().unwrap();
    pass(&mut training, &A, &B);
    training.update().unwrap();
    let seen = training.observation();
    assert_eq!((seen.task_cosine, seen.loss.is_some()), (None, true));
}

/// Scaling counts once, in every precision; the loss is the weighted sum, and the gradients match those without
/// scaling.
#[test]
fn scaled_losses_train_as_losses_do() {
    type Ask = fn(LearnerBuilder<Linear>) -> LearnerBuilder<Linear>;
    let asks: [(&str, Ask); 4] = [
        ("plain", |builder| builder),
        ("scaled", |builder| builder.loss_scaling(LossScaling::fixed(1_024.0))),
        // In f16 a gradient of the trunk is at most 2¹⁴ · 3, but their sum exceeds the range of f16.
        ("f16", |builder| {
            let loss_scaling = Some(LossScaling::fixed(16_384.0));
            builder.half_precision(HalfPrecision { loss_scaling, ..HalfPrecision::f16() })
        }),
        ("bf16", |builder| builder.half_precision(HalfPrecision::bf16())),
    ];
    let one = [3.0, 2.0, 1.0];
    let other = [3.0, -2.0, 0.5];
    for (name, ask) in asks {
        let mut training = ask(builder().controller("all", all())).build_loop().unwrap();
        pass(&mut training, &one, &other);
        let updated = training.update().unwrap();
        assert_eq!(updated.skipped, None, "{name}");
        let Observation { loss, task_cosine, gradient_norm, .. } = training.observation();
        assert_eq!(loss, Some(7.0 + 0.5 * 3.5), "{name}");
        close(task_cosine.unwrap(), cosine(&one, &other));
        let norm = [4.5, 1.0, 1.25, 1.0, 1.0].map(|g: f64| g * g).iter().sum::<f64>().sqrt();
        close(gradient_norm.unwrap(), norm);
        let weights = values(training.model_in_f32().trunk.val());
        for (found, gradient) in weights.into_iter().zip([4.5, 1.0, 1.25]) {
            close(found.into(), 1.0 - 0.5 * gradient);
        }
    }
}

/// An update that overflows is skipped, and its cosine is ignored.
#[test]
fn an_overflow_is_skipped_and_not_counted() {
    let scaling = LossScaling::new().scale(128.0_f64.exp2() / 2.0);
    let builder = builder().loss_scaling(scaling).controller("conflict", TaskConflict::new());
    let mut training = builder.build_loop().unwrap();
    let mut skipped = 0;
    for _ in 0..4 {
        pass(&mut training, &A, &B);
        skipped += u64::from(training.update().unwrap().skipped.is_some());
    }
    let control = training.explain().control.unwrap();
    let counted = |name| control.state("conflict", name).unwrap() as u64;
    assert!(skipped > 0, "2¹²⁷ · 2 is infinite");
    assert_eq!((counted("defined"), counted("undefined")), (4 - skipped, 0));
}

/// A custom combination of the tasks' gradients: here only the first.
#[test]
fn a_gradient_of_ones_own_is_taken_as_it_is() {
    for scaling in [LossScaling::fixed(1.0), LossScaling::fixed(256.0)] {
        let builder = builder().loss_scaling(scaling).controller("all", all());
        let mut training = builder.build_loop().unwrap();
        training.pass(|model| {
            let mut tasks = TaskGradients::of(model);
            tasks.task("a", |model| model.at_trunk(&A));
            tasks.task("b", |model| model.at_trunk(&B));
            let first = tasks.gradients("a").unwrap();
            tasks.output_with(first, ())
        });
        training.update().unwrap();
        close(training.observation().task_cosine.unwrap(), cosine(&A, &B));
        assert_eq!(values(training.model().trunk.val()), [0.5, 0.0, 0.0]);
    }
}

/// The error of an update, which keeps the weights unchanged.
fn failure(
    builder: LearnerBuilder<Linear>,
    run: impl FnOnce(&Linear) -> TrainOutput<()>,
) -> UpdateError {
    let mut training = builder.build_loop().unwrap();
    training.pass(run);
    let error = training.update().unwrap_err();
    assert_eq!(flat(training.model()), flat(&Linear::new()));
    (*error).clone()
}

#[test]
fn wrong_tasks_stop_the_run_before_its_update() {
    let error = failure(builder(), |model| {
        let mut tasks = TaskGradients::of(model);
        tasks.weighted_task("it", f64::NAN, |model| model.at_trunk(&A));
        tasks.output(())
    });
    assert!(matches!(error, UpdateError::Tasks(TaskError::Weight { .. })), "{error}");
    assert!(error.to_string().contains("the weight of `it`: NaN is not allowed"), "{error}");
    let none = failure(builder(), |model| TaskGradients::of(model).output(()));
    assert!(matches!(none, UpdateError::Tasks(TaskError::None)), "{none}");
    let twice = failure(builder(), |model| {
        tasks(model, &A, &B);
        tasks(model, &A, &B)
    });
    assert!(matches!(twice, UpdateError::Tasks(TaskError::Again)), "{twice}");
    let both = failure(builder().loss_scaling(LossScaling::fixed(2.0)), |model| {
        model.at_trunk(&A).scaled_backward();
        tasks(model, &A, &B)
    });
    assert!(matches!(both, UpdateError::ScaledTwice { calls: 2 }), "{both}");
}

#[test]
fn a_controller_that_hears_of_no_tasks_stops_the_run() {
    let conflict = || builder().controller("conflict", TaskConflict::new());
    let plain = |model: &Linear| {
        let gradients = model.at_trunk(&A).scaled_backward();
        TrainOutput::new(model, gradients, ())
    };
    let error = failure(conflict(), plain);
    assert!(matches!(error, UpdateError::NoTasks), "{error}");
    assert!(error.to_string().contains("TaskGradients::of(&model)"), "{error}");
    // After its part of the run, the controller is not asked; this shows after the first update beyond.
    let ended = builder().controller("conflict", TaskConflict::new().until(1));
    let mut training = ended.build_loop().unwrap();
    for _ in 0..2 {
        pass(&mut training, &A, &B);
        training.update().unwrap();
    }
    training.pass(plain);
    training.update().unwrap();
}

#[test]
fn tasks_that_never_share_a_parameter_stop_the_run_in_words() {
    let mut training = builder().controller("conflict", TaskConflict::new()).build_loop().unwrap();
    let mut apart = || {
        training.pass(|model| {
            let mut tasks = TaskGradients::of(model);
            tasks.task("one", |model| model.one.val().sum());
            tasks.task("other", |model| model.other.val().sum() + model.trunk.val().sum());
            tasks.output(())
        });
        training.update().map(|_| ()).map_err(|error| error.to_string())
    };
    for update in 0..99 {
        assert_eq!(apart(), Ok(()), "{update}");
    }
    let error = apart().unwrap_err();
    assert!(error.contains("conflict: none of the first 100 updates has a cosine"), "{error}");
}

/// Also without a controller, and with one with delayed signals.
#[test]
fn the_log_has_the_cosine_of_each_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut late = builder().log_updates(folder.path()).delay_signals();
    late = late.controller("conflict", TaskConflict::new());
    let mut training = late.build_loop().unwrap();
    pass(&mut training, &A, &B);
    training.update().unwrap();
    assert_eq!(rates(&training), [0.5; 2]);
    pass(&mut training, &A, &C);
    training.update().unwrap();
    close(rates(&training)[0], 0.5 * (1.0 + cosine(&A, &B)));
    drop(training);
    let mut training = builder().log_updates(folder.path()).build_loop().unwrap();
    pass(&mut training, &A, &B);
    training.update().unwrap();
    pass_alone(&mut training);
    training.update().unwrap();
    training.pass(|model| TrainOutput::new(model, model.at_trunk(&A).backward(), ()));
    training.update().unwrap();
    drop(training);
    let updates = UpdateLog::read(folder.path()).unwrap().updates;
    close(updates[0].task_cosine.unwrap(), cosine(&A, &B));
    assert!(updates[1].task_cosine.is_some_and(f64::is_nan));
    assert_eq!(updates[2].task_cosine, None);
}

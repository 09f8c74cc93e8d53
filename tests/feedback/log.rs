//! The log of updates.

use super::*;
use anneal_tests::{Quiet, batches, flat};
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_anneal::LogUpdates;
use burn_anneal::control::{Cooldown, FiniteGuard, LoggedUpdate, UpdateLog};
use std::path::Path;

fn logged(folder: &Path) -> UpdateLog {
    UpdateLog::read(folder).unwrap()
}

/// The log matches the run: the losses of passes, the norms that a controller gets in another run, and the distance
/// between weights.
#[test]
fn a_line_says_what_an_update_did() {
    let folder = tempfile::tempdir().unwrap();
    let log = || LogUpdates::to(folder.path()).gradient_l1();
    let builder = tiny(0.5).controller("half", Says(Answer::factor(0.5)));
    let mut training = builder.clip_global_norm(0.1).log_updates(log()).build_loop().unwrap();
    let needs = Needs { gradient_norm: true, gradient_l1: true, ..Needs::default() };
    let heard = By(needs, |_| Answer::factor(0.5));
    let mut other = tiny(0.5).controller("half", heard).clip_global_norm(0.1).build_loop().unwrap();
    let (mut losses, mut norms, mut distances) = (vec![], vec![], vec![]);
    for number in 0..3 {
        let before = flat(training.model());
        let output = training.pass(|model| TrainStep::step(model, batch(number)));
        losses.push(f64::from(output.loss.into_scalar::<f32>()));
        training.update().unwrap();
        let moved = flat(training.model()).into_iter().zip(before).map(|(a, b)| f64::from(a - b));
        distances.push(moved.map(|moved| moved * moved).sum::<f64>().sqrt());
        update(&mut other);
        let seen = other.observation();
        norms.push((seen.gradient_norm, seen.gradient_l1));
    }
    drop(training);
    let UpdateLog { starts, updates } = logged(folder.path());
    assert_eq!(starts.len(), 1);
    assert_eq!((&starts[0].groups[..], starts[0].from), (&["low".into(), "high".into()][..], 0));
    assert_eq!(starts[0].controllers, ["half"]);
    for (number, (line, loss)) in updates.iter().zip(losses).enumerate() {
        assert_eq!((line.update, line.step, line.epoch), (number as u64, number as u64, 1));
        assert_eq!((line.loss, line.schedule_rate), (Some(loss), 0.5));
        assert_eq!(line.rates, [0.0625, 0.25]);
        assert_eq!(line.answers["half"].factor, Some(0.5));
        assert!(line.gradient_norm > Some(0.1), "before clipping");
        assert_eq!((line.gradient_norm, line.gradient_l1), norms[number]);
        // Differences of weights in f32 are rounded.
        let (moved, distance) = (line.update_norm.unwrap(), distances[number]);
        assert!((moved / distance - 1.0).abs() < 1e-4, "{moved}, not {distance}");
    }
    assert_eq!(updates.len(), 3);
}

/// Also without any controllers or other needs.
#[test]
fn a_log_alone_changes_no_weight() {
    let folder = tempfile::tempdir().unwrap();
    let mut plain = tiny(0.5).build_loop().unwrap();
    let mut logging = tiny(0.5).log_updates(folder.path()).build_loop().unwrap();
    for _ in 0..3 {
        update(&mut plain);
        update(&mut logging);
    }
    assert_eq!(flat(plain.model()), flat(logging.model()));
    drop(logging);
    let updates = logged(folder.path()).updates;
    assert!(updates.iter().all(|line| line.loss.is_some() && line.gradient_norm.is_some()));
    assert!(updates.iter().all(|line| line.gradient_l1.is_none() && line.answers.is_empty()));
}

#[test]
fn a_run_that_goes_on_goes_on_in_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let builder = tiny(0.5).log_updates(folder.path());
        builder.controller("cooldown", Cooldown::after_non_finite_loss(3).unwrap())
    };
    let mut training = run().build_loop().unwrap();
    for number in 0..6 {
        update(&mut training);
        if number == 3 {
            training.save(folder.path(), 1).unwrap();
        }
    }
    drop(training);
    let whole = logged(folder.path()).updates;
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    let mut training = run().resume_from(&saved).build_loop().unwrap();
    update(&mut training);
    update(&mut training);
    drop(training);
    let UpdateLog { starts, updates } = logged(folder.path());
    assert_eq!(starts.iter().map(|start| start.from).collect::<Vec<_>>(), [0, 4]);
    let in_one = |line: &LoggedUpdate| LoggedUpdate { epoch: 0, ..line.clone() };
    assert_eq!(
        updates.iter().map(in_one).collect::<Vec<_>>(),
        whole.iter().map(in_one).collect::<Vec<_>>()
    );
    // A new run starts a new log.
    drop(run().build_loop().unwrap());
    assert!(logged(folder.path()).updates.is_empty());
}

/// A NaN loss, and the reaction to it.
#[test]
fn a_skip_and_a_loss_that_is_nan_are_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let builder = tiny(0.5).log_updates(folder.path());
    let guard = FiniteGuard::skip(3).unwrap();
    let mut training = builder.controller("guard", guard).build_loop().unwrap();
    update(&mut training);
    training.pass(|model| {
        let points = batch(1);
        TrainStep::step(model, Points { features: points.features * f32::NAN, ..points })
    });
    training.update().unwrap();
    drop(training);
    let line = &logged(folder.path()).updates[1];
    assert!(line.loss.is_some_and(f64::is_nan) && line.gradient_norm.is_some_and(f64::is_nan));
    assert_eq!((&line.rates[..], line.update_norm), (&[0.0, 0.0][..], None));
    assert!(line.skipped.as_ref().is_some_and(|reason| reason.contains("NaN")));
    assert!(line.answers["guard"].skip.is_some());
}

#[test]
fn a_launched_run_has_all_of_its_updates_in_the_log_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), batches(60, 6, 0), batches(6, 3, 0))
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),));
    let model = TinyModel::seeded(5, &device());
    let builder = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1));
    let watch = builder.watch();
    let log = folder.path().join("run");
    builder.log_updates(log.as_path()).launch(training).unwrap().finished().unwrap();
    let updates = logged(&log).updates;
    let places: Vec<(u64, u64)> = updates.iter().map(|line| (line.update, line.epoch)).collect();
    let expected: Vec<(u64, u64)> = (0..20).map(|update| (update, update / 10 + 1)).collect();
    assert_eq!(places, expected);
    drop(tiny(0.5).log_updates(&log).build_loop().unwrap());
    assert!(watch.failure().is_none(), "who watches does not keep the log from the next run");
}

#[test]
fn two_runs_do_not_write_into_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let first = tiny(0.5).log_updates(folder.path()).build_loop().unwrap();
    let error = tiny(0.5).log_updates(folder.path()).build_loop().err().unwrap().to_string();
    assert!(error.contains("another run of this program writes to it"), "{error}");
    // A watch on a finished run does not block the log of the next.
    let monitor = first.monitor().clone();
    first.into_model();
    assert!(tiny(0.5).log_updates(folder.path()).build_loop().is_ok());
    assert!(monitor.failure().is_none());
}

/// A file instead of the folder, and a file that is not a log.
#[test]
fn a_log_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = tiny(0.5).log_updates(file).build_loop().err().unwrap().to_string();
    assert!(error.starts_with("log_updates: "), "{error}");
    std::fs::write(folder.path().join(UpdateLog::FILE), "mine\n").unwrap();
    let mut training = tiny(0.5).build_loop().unwrap();
    update(&mut training);
    let saved = training.save(folder.path(), 1).unwrap();
    let builder = tiny(0.5).log_updates(folder.path()).resume_from(&saved);
    let error = builder.build_loop().err().unwrap().to_string();
    assert!(error.contains("updates.jsonl: line 1 is not part of an update log"), "{error}");
}

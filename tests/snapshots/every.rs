//! Snapshots at intervals.

use super::*;
use burn_anneal::schedule::merge_coefficients;

/// The weights after some of thirty updates at a constant rate, in a run without snapshots.
fn weights_after(updates: &[u64]) -> Vec<(u64, Vec<f32>)> {
    super::weights_after(constant(0.05).into(), 30, updates)
}

#[test]
fn a_loop_leaves_them_after_each_span_and_at_the_end() {
    let epochs = RunLength::updates_per_epoch(10).epochs(3);
    for (span, expected) in [
        (Span::steps(7), vec![6, 13, 20, 27, 29]),
        (Span::steps(10), vec![9, 19, 29]),
        (Span::epochs(1), vec![9, 19, 29]),
        (Span::epochs(0.75), vec![7, 14, 22, 29]),
        (Span::percent(40), vec![11, 23, 29]),
        (Span::steps(31), vec![29]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path()).every(span);
        let builder = builder(constant(0.05)).run(epochs).snapshots(snapshots);
        let mut training = builder.build_loop().unwrap();
        assert!(training.explain().notes.is_empty(), "no word of cycles");
        (0..30).for_each(|_| update(&mut training));
        drop(training);
        assert_eq!(saved(folder.path()), weights_after(&expected), "{span}");
    }
}

/// Snapshots at intervals replace those at the ends of cycles.
#[test]
fn cycles_do_not_count_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path()).every(6).keep_last(3);
    let cycles = builder(warm_restarts(0.05, Span::steps(4))).run(RunLength::updates(20));
    let mut training = cycles.snapshots(snapshots).build_loop().unwrap();
    (0..20).for_each(|_| update(&mut training));
    drop(training);
    assert_eq!(numbers(folder.path()), [11, 17, 19]);
}

#[test]
fn a_run_without_an_end_leaves_them_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path()).every(5);
    let endless = builder(constant(0.05)).run(RunLength::unbounded()).snapshots(snapshots);
    let mut training = endless.build_loop().unwrap();
    (0..12).for_each(|_| update(&mut training));
    training.into_model();
    assert_eq!(numbers(folder.path()), [4, 9]);
}

#[test]
fn launch_leaves_the_same_and_they_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path()).every(Span::epochs(0.7));
    let builder = builder(constant(0.05)).snapshots(snapshots);
    let model = builder.launch(training(folder.path(), batches(60, 6, 0))).unwrap();
    let model = model.finished().unwrap();
    let expected = weights_after(&[6, 13, 20, 27, 29]);
    assert_eq!(saved(folder.path()), expected);

    let last = Snapshots::list(folder.path()).unwrap().split_off(2);
    let merged = merge(cosine(1.0), last, model).unwrap();
    let coefficients = merge_coefficients(cosine(1.0), &[21, 28, 30]).unwrap();
    for (index, found) in flat(&merged).into_iter().enumerate() {
        let weights = expected[2..].iter().map(|(_, weights)| f64::from(weights[index]));
        let sum: f64 = weights.zip(&coefficients).map(|(weight, c)| c * weight).sum();
        assert!((f64::from(found) - sum).abs() < 1e-6, "{found}, not {sum}");
    }
}

/// Interrupted before and after a snapshot was due, and resumed.
#[test]
fn a_run_that_is_resumed_has_each_once() {
    let mut reference: Option<Vec<(u64, Vec<f32>)>> = None;
    for stop in [None, Some(6), Some(7), Some(14), Some(23)] {
        let folder = tempfile::tempdir().unwrap();
        let launch = |stop: Option<u64>| {
            let training = training(folder.path(), seeded(60, 6, 5));
            let interrupter = training.interrupter();
            let stops = Arc::new(move || interrupter.stop(Some("enough")));
            builder(constant(0.05))
                .controller("stops", Before(stop.unwrap_or(u64::MAX), stops))
                .snapshots(Snapshots::new(folder.path()).every(Span::epochs(0.75)))
                .checkpoints(Checkpoints::new(folder.path()).every_updates(4))
                .resume(Newest)
                .launch(training)
                .unwrap()
                .finished()
                .unwrap()
        };
        if stop.is_some() {
            launch(stop);
            assert!(numbers(folder.path()).len() < 4, "{stop:?}");
        }
        launch(None);
        assert_eq!(numbers(folder.path()), [7, 14, 22, 29], "{stop:?}");
        let found = saved(folder.path());
        assert_eq!(&found, reference.get_or_insert(found.clone()), "{stop:?}");
    }
}

/// They count the updates of the run, wherever the schedule starts.
#[test]
fn a_restarted_schedule_does_not_move_them() {
    let folder = tempfile::tempdir().unwrap();
    let builder = |schedule: ScheduleConfig| {
        let snapshots = Snapshots::new(folder.path()).every(Span::percent(25));
        builder(schedule).run(RunLength::updates(20)).snapshots(snapshots)
    };
    let mut training = builder(constant(0.05).into()).build_loop().unwrap();
    (0..7).for_each(|_| update(&mut training));
    let checkpoint = training.save(folder.path(), 1).unwrap();
    drop(training);
    let resumed = builder(cosine(0.05).into()).resume_from(&checkpoint);
    let mut training = resumed.on_mismatch(OnMismatch::Restart).build_loop().unwrap();
    (7..20).for_each(|_| update(&mut training));
    drop(training);
    assert_eq!(numbers(folder.path()), [4, 9, 14, 19]);
}

#[test]
fn a_skipped_update_leaves_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let model = TermModel::new(&[1.0]);
    let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1))
        .run(RunLength::updates(9))
        .loss_scaling(LossScaling::new())
        .on_skip(OnSkip::Hold)
        .snapshots(Snapshots::new(folder.path()).every(3))
        .build_loop()
        .unwrap();
    for number in 0..9 {
        let slope = if number == 2 { f32::INFINITY } else { 0.5 };
        training.pass(|model| TrainStep::step(model, Term::new(&[vec![0.0]], &[slope])));
        training.update().unwrap();
    }
    drop(training);
    assert_eq!(numbers(folder.path()), [2, 5, 8]);
}

#[test]
fn what_is_wrong_with_a_span_is_said_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let error = |span: Span, run: RunLength| {
        let snapshots = Snapshots::new(folder.path()).every(span);
        let built = builder(constant(0.05)).run(run).snapshots(snapshots).build_loop();
        match built.err().unwrap() {
            BuildError::Snapshots(error) if error.field == "every" => {
                assert_eq!(error.value, span.to_string());
                error.allowed
            }
            other => panic!("{other}"),
        }
    };
    let epochs = RunLength::updates_per_epoch(10).epochs(3);
    for span in [
        Span::steps(0),
        Span::epochs(0.0),
        Span::epochs(-1.0),
        Span::epochs(f64::NAN),
        Span::epochs(f64::INFINITY),
        Span::percent(0.0),
        Span::percent(100.5),
        Span::percent(f64::NAN),
        Span::Rest,
    ] {
        assert!(error(span, epochs).starts_with("at least 1 update"), "{span}");
    }
    let allowed = error(Span::epochs(1), RunLength::updates(10));
    assert!(allowed.contains("no fixed epoch length"), "{allowed}");
    let allowed = error(Span::percent(1), RunLength::unbounded());
    assert!(allowed.contains("no end"), "{allowed}");
}

//! Runs that resume under other settings, and those that may not.

use super::*;

/// Sixty points in batches of six, or of another size, for two epochs, saved after each.
fn saved(folder: &Path, builder: LearnerBuilder<TinyModel>) {
    let builder = builder.checkpoints(Checkpoints::new(folder));
    launched(builder, training(folder, seeded(60, 6, 5), 2));
}

/// The rates of the rest of a run, and its description of how it resumed.
fn goes_on(
    builder: LearnerBuilder<TinyModel>,
    folder: &Path,
    loader: Loader,
    epochs: usize,
) -> Result<(Vec<f64>, String), BuildError> {
    let recorder = RateRecorder::default();
    let training = training(folder, loader, epochs).metric_train(recorder.clone());
    let builder = builder.checkpoints(Checkpoints::new(folder)).resume(Newest);
    let watch = builder.watch();
    let result = builder.launch(training)?;
    assert!(result.error.is_none(), "{:?}", result.error);
    let said = watch.explain().unwrap().resumed.unwrap_or_default();
    Ok((recorder.per_batch(), said))
}

fn rates(updates: u64, steps: std::ops::Range<u64>) -> Vec<f64> {
    let schedule = schedule().resolve(RunLength::updates(updates)).unwrap();
    steps.map(|step| schedule.rate(step)).collect()
}

/// Twenty updates of six points are done; batches of twelve give five updates per epoch.
#[test]
fn progress_is_mapped_as_it_is_asked_for() {
    for (choice, epochs, loader, updates, steps) in [
        // Twenty of thirty updates, at another length.
        (OnMismatch::KeepStep, 6, seeded(60, 12, 5), 30, 20..30),
        // Two of four epochs.
        (OnMismatch::KeepEpoch, 4, seeded(60, 12, 5), 20, 10..20),
        // 120 samples are one of four epochs of 120.
        (OnMismatch::KeepSamples, 4, seeded(120, 12, 5), 40, 10..40),
        // Two epochs of five are left.
        (OnMismatch::Restart, 4, seeded(60, 12, 5), 10, 0..10),
    ] {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), builder());
        let refusal = goes_on(builder(), folder.path(), loader.clone(), epochs).unwrap_err();
        assert!(refusal.to_string().contains("OnMismatch::"), "{choice:?}: {refusal}");
        let asked = builder().on_mismatch(choice);
        let (found, said) = goes_on(asked, folder.path(), loader, epochs).unwrap();
        assert_eq!(found, rates(updates, steps), "{choice:?}");
        assert!(said.contains("under another schedule"), "{choice:?}: {said}");
    }
}

/// Equal schedules, but another run: the same number of updates with other batches, data or devices.
#[test]
fn other_batches_are_refused_where_the_schedule_is_the_same() {
    let twice = || RunLength::of_training().gradient_accumulation(2);
    for (builder, loader, now) in [
        (builder(), seeded(120, 12, 5), "120 items in batches of 12"),
        (builder(), seeded(58, 6, 5), "58 items in batches of 6"),
        (
            builder().run(twice()),
            seeded(60, 3, 5),
            "60 items in batches of 3, 2 of them per update",
        ),
        (
            builder().execution(two_devices()),
            seeded(120, 6, 5),
            "120 items in batches of 6, on 2 devices",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), super::builder());
        let error = goes_on(builder, folder.path(), loader, 2).unwrap_err().to_string();
        let words = format!("over 60 items in batches of 6, but the current run is over {now};");
        assert!(error.contains(&words), "{error}");
    }
}

/// Stopped after five updates of the second epoch, 90 samples.
fn stopped_in_mid_epoch(folder: &Path, loader: Loader) {
    let training = training(folder, loader, 2);
    let stop = Some((14, training.interrupter()));
    let builder = builder().controller("hears", Hears::new(stop));
    launched(builder.checkpoints(Checkpoints::new(folder).every_updates(100)), training);
    let newest = Checkpoint::newest(folder).unwrap().unwrap();
    assert_eq!((newest.epoch(), newest.batches()), (1, 5));
}

#[test]
fn progress_in_mid_epoch_is_mapped_to_the_batch() {
    for (choice, items, batch, epochs, first) in [
        // Update 15 with ten updates per epoch, and with five.
        (OnMismatch::KeepStep, 120, 12, 3, 15),
        (OnMismatch::KeepStep, 60, 12, 6, 15),
        // One epoch and a half.
        (OnMismatch::KeepEpoch, 120, 6, 2, 30),
        (OnMismatch::KeepEpoch, 60, 12, 2, 7),
        // 90 of 120 samples of the first epoch.
        (OnMismatch::KeepSamples, 120, 12, 2, 7),
    ] {
        let what = format!("{choice:?}, {items} by {batch}");
        let folder = tempfile::tempdir().unwrap();
        stopped_in_mid_epoch(folder.path(), seeded(60, 6, 5));
        let builder = || builder().controller("hears", Hears::new(None)).on_mismatch(choice);
        let (found, _) =
            goes_on(builder(), folder.path(), seeded(items, batch, 5), epochs).unwrap();
        let updates = (epochs * items / batch) as u64;
        assert_eq!(found, rates(updates, first..updates), "{what}");
    }
}

/// Only launch counts samples, and the progress of a ramp does not carry over to other data.
#[test]
fn what_cannot_be_mapped_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let by_hand = builder().run(RunLength::updates(9)).build_loop().unwrap();
    by_hand.save(folder.path(), 1).unwrap();
    let asked = builder().on_mismatch(OnMismatch::KeepSamples);
    let error = goes_on(asked, folder.path(), seeded(60, 12, 5), 4).unwrap_err().to_string();
    assert!(error.contains("KeepSamples needs counted samples"), "{error}");

    let ramped = |choice| {
        let run =
            RunLength::of_training().gradient_accumulation(2).gradient_accumulation_ramp(1, 4);
        builder().run(run).on_mismatch(choice)
    };
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), ramped(OnMismatch::Refuse));
    for choice in [OnMismatch::Restart, OnMismatch::KeepStep] {
        let error = goes_on(ramped(choice), folder.path(), seeded(60, 12, 5), 4).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("does not carry over to other batches"), "{choice:?}: {error}");
    }
}

/// An epoch cannot be resumed if its batches are unknown.
#[test]
fn a_mid_epoch_is_not_gone_on_with_by_a_loader_of_unknown_order() {
    let folder = tempfile::tempdir().unwrap();
    stopped_in_mid_epoch(folder.path(), seeded(60, 6, 5));
    let builder = builder().controller("hears", Hears::new(None));
    let error = goes_on(builder, folder.path(), shuffled(60, 6), 2).unwrap_err();
    assert!(matches!(error, BuildError::UnknownOrder), "{error}");
}

/// The newest checkpoint is from the run that was started or resumed last, whatever its number.
#[test]
fn the_newest_is_of_the_last_run_and_a_new_one_does_not_begin_over_it() {
    let folder = tempfile::tempdir().unwrap();
    stopped_in_mid_epoch(folder.path(), seeded(60, 6, 5));
    let again = || builder().checkpoints(Checkpoints::new(folder.path()));
    let error = refused(again(), training(folder.path(), seeded(60, 6, 5), 2));
    assert!(
        error.contains("an earlier run; continue it with LearnerBuilder::resume(Newest)"),
        "{error}"
    );
    // 90 samples are seven updates of 120: a smaller number than the one before.
    let training = training(folder.path(), seeded(120, 12, 5), 2);
    let stop = Some((8, training.interrupter()));
    let mapped =
        builder().controller("hears", Hears::new(stop)).on_mismatch(OnMismatch::KeepSamples);
    let checkpoints = Checkpoints::new(folder.path()).every_updates(100);
    launched(mapped.checkpoints(checkpoints).resume(Newest), training);
    let newest = Checkpoint::newest(folder.path()).unwrap().unwrap();
    assert_eq!((newest.epoch(), newest.batches()), (0, 9));
}

/// Deleted or damaged files are reported.
#[test]
fn a_checkpoint_that_is_not_whole_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), builder());
    let file = |name: &str| folder.path().join("checkpoint").join(name);
    std::fs::write(file("model-2.bpk"), "half").unwrap();
    let (_, said) = goes_on(builder(), folder.path(), seeded(60, 6, 5), 2).unwrap();
    assert!(said.contains("resumed after epoch 1") && said.contains("model-2.bpk"), "{said}");
    for epoch in [1, 2] {
        std::fs::remove_file(file(&format!("optim-{epoch}.bpk"))).unwrap();
    }
    let error = goes_on(builder(), folder.path(), seeded(60, 6, 5), 2).unwrap_err().to_string();
    assert!(error.contains("no checkpoint in") && error.contains("optim-2.bpk"), "{error}");
}

/// Interrupted in an update of several batches, at the last update of an epoch, and during validation.
#[test]
fn an_interrupted_run_loses_nothing() {
    let make = |folder: &Path| training(folder, seeded(60, 6, 5), 2).grads_accumulation(4);
    let folder = tempfile::tempdir().unwrap();
    let whole = flat(&launched(builder(), make(folder.path())).model);
    for batches in 1..=22 {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = || Checkpoints::new(folder.path()).every_minutes(1e6);
        let training = make(folder.path());
        let stop = StopsAfter::new(batches, training.interrupter());
        let training = training.metric_train(stop.clone()).metric_valid(stop);
        launched(builder().checkpoints(checkpoints()), training);
        let rates = RateRecorder::default();
        let rest = make(folder.path()).metric_train(rates.clone());
        let result = launched(builder().checkpoints(checkpoints()).resume(Newest), rest);
        assert_eq!(flat(&result.model), whole, "after {batches} batches");
        // Two of twelve are for validation, and an update takes four; the metrics thread is some batches behind.
        let trained = if batches > 10 { (batches - 2).max(10) } else { batches };
        let updated = [20, 18, 14, 10, 8, 4, 0].into_iter().find(|done| *done <= trained).unwrap();
        assert!(rates.per_batch().len() <= 20 - updated, "{batches}");
    }
}

#[test]
fn checkpoints_of_mid_epoch_count_the_updates_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let training = training(folder.path(), seeded(60, 6, 5), 2);
    let stop = Some((15, training.interrupter()));
    let builder = builder().controller("hears", Hears::new(stop));
    launched(builder.checkpoints(Checkpoints::new(folder.path()).every_updates(12)), training);
    let names = std::fs::read_dir(folder.path().join("checkpoint")).unwrap();
    let mut names: Vec<_> =
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("model-1+"));
    names.sort();
    assert_eq!(
        names,
        ["model-1+2.bpk", "model-1+6.bpk"],
        "after update 12, and where it was stopped"
    );
}

/// A resumed run validates on the same batches.
#[test]
fn a_loader_that_shuffles_for_validation_is_resumed_too() {
    let make = |folder: &Path| {
        SupervisedTraining::new(folder, seeded(60, 6, 5), seeded(50, 7, 2))
            .num_epochs(4)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .metrics((LossMetric::new(),))
    };
    let hearing = |stop| builder().controller("hears", Hears::new(stop));
    let folder = tempfile::tempdir().unwrap();
    let whole = flat(&launched(hearing(None), make(folder.path())).model);
    let folder = tempfile::tempdir().unwrap();
    for stop in [Some(25), None] {
        let training = make(folder.path());
        let is_last = stop.is_none();
        let stop = stop.map(|stop| (stop, training.interrupter()));
        let checkpoints = Checkpoints::new(folder.path());
        let result = launched(hearing(stop).checkpoints(checkpoints).resume(Newest), training);
        if is_last {
            assert_eq!(flat(&result.model), whole);
        }
    }
}

/// A run with a restarted schedule resumes correctly from any update.
#[test]
fn a_restarted_run_is_resumed_exactly() {
    let new: ScheduleConfig = linear(0.02, 0.0).into();
    let again = |stop| {
        let builder = LearnerBuilder::new(model(), AdamWConfig::new().build(), new.clone());
        builder.on_mismatch(OnMismatch::Restart).controller("hears", Hears::new(stop))
    };
    let schedule = new.clone().resolve(RunLength::updates(30)).unwrap();
    let rates: Vec<f64> = (0..30).map(|step| schedule.rate(step)).collect();
    let mut ends = vec![];
    for stops in [vec![], vec![23, 37]] {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), builder().controller("hears", Hears::new(None)));
        for stop in stops.into_iter().map(Some).chain([None]) {
            let recorder = RateRecorder::default();
            let training = training(folder.path(), seeded(60, 6, 5), 5);
            let training = training.metric_train(recorder.clone());
            let stop = stop.map(|stop| (stop, training.interrupter()));
            let checkpoints = Checkpoints::new(folder.path()).every_updates(1);
            let builder = again(stop).checkpoints(checkpoints).resume(Newest);
            let model = launched(builder, training).model;
            if ends.is_empty() {
                assert_eq!(recorder.per_batch(), rates);
            } else {
                let found = recorder.per_batch();
                assert!(rates.windows(found.len()).any(|window| window == found), "{found:?}");
            }
            ends.push(flat(&model));
        }
    }
    assert_eq!(ends.first(), ends.last());
}

#[test]
fn a_run_at_its_end_gives_its_model_and_one_beyond_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = || Checkpoints::new(folder.path());
    let first = builder().checkpoints(checkpoints());
    let first = launched(first, training(folder.path(), seeded(60, 6, 5), 2));
    let again = builder().checkpoints(checkpoints()).resume(Newest);
    let again = launched(again, training(folder.path(), seeded(60, 6, 5), 2));
    assert_eq!(flat(&again.model), flat(&first.model));
    for choice in [OnMismatch::KeepStep, OnMismatch::KeepEpoch, OnMismatch::Restart] {
        let builder = builder().on_mismatch(choice);
        let error = goes_on(builder, folder.path(), seeded(60, 6, 5), 1).unwrap_err().to_string();
        assert!(error.contains("is at update 20 of 10,"), "{error}");
    }
}

#[test]
fn the_newest_of_nothing_begins_anew_and_what_was_half_written_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoint");
    std::fs::create_dir(&checkpoints).unwrap();
    for left in ["model-1.bpk", "optim-1.bpk.partial", "scheduler-1.bpk.partial.7-0.tmp"] {
        std::fs::write(checkpoints.join(left), "half").unwrap();
    }
    let (found, said) = goes_on(builder(), folder.path(), seeded(60, 6, 5), 2).unwrap();
    assert_eq!((found, said.as_str()), (rates(20, 0..20), ""));
    let names = std::fs::read_dir(checkpoints).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    let files = ["model", "optim", "scheduler"];
    let expected = files.iter().flat_map(|file| [1, 2].map(|n| format!("{file}-{n}.bpk")));
    assert_eq!(names, expected.collect::<Vec<_>>());
}

#[test]
fn what_the_training_is_told_of_a_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), builder());
    let named = Checkpoint::newest(folder.path()).unwrap().unwrap();
    let told = || {
        let training = training(folder.path(), seeded(60, 6, 5), 2);
        training.with_default_checkpointers().checkpoint(1)
    };
    let error = refused(builder(), told());
    assert!(error.contains("resumes after epoch 1, but the builder does not resume"), "{error}");
    let error = refused(builder().resume_from(&named), told());
    assert!(
        error.contains("resumes after epoch 1, but the builder resumes after epoch 2"),
        "{error}"
    );
    let both = builder().checkpoints(Checkpoints::new(folder.path())).resume(Newest);
    let error = refused(both.resume_from(&named), training(folder.path(), seeded(60, 6, 5), 2));
    assert!(error.contains("remove one of the two"), "{error}");
}

/// A longer run does not freeze a trained layer again, even after another resume.
#[test]
fn what_had_thawed_stays_so() {
    // 80 % of 20 updates is 16; of 40 it is 32, and of the 20 that are left after a restart 16.
    let grouped = |stop| {
        let groups = layer_decay(0.5).unfreeze_every(Span::percent(80.0));
        builder().groups(groups).controller("hears", Hears::new(stop))
    };
    for choice in [OnMismatch::KeepStep, OnMismatch::Restart] {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), grouped(None));
        // The second time it is the same run, and continues after epoch 3.
        for stop in [Some(31), None] {
            let training = training(folder.path(), seeded(60, 6, 5), 4);
            let stop = stop.map(|stop| (stop, training.interrupter()));
            let builder = grouped(stop).on_mismatch(choice);
            let builder = builder.checkpoints(Checkpoints::new(folder.path())).resume(Newest);
            let watch = builder.watch();
            let newest = Checkpoint::newest(folder.path()).unwrap().unwrap();
            let before = newest.load_in_f32(model()).unwrap();
            let result = launched(builder, training);
            let explained = watch.explain().unwrap();
            assert!(explained.groups.iter().all(|group| !group.frozen), "{explained}");
            let said = explained.resumed.unwrap();
            assert!(said.contains("`hidden` had thawed and stays trained"), "{choice:?}: {said}");
            assert_ne!(flat(&result.model.hidden), flat(&before.hidden), "{choice:?}");
        }
    }
}

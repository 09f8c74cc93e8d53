//! Runs that go on under something else, and those that may not.

use super::*;

/// Sixty points in batches of six, or of another size, for two epochs, saved after each.
fn saved(folder: &Path, builder: LearnerBuilder<TinyModel>) {
    let builder = builder.checkpoints(Checkpoints::new(folder));
    launched(builder, training(folder, seeded(60, 6, 5), 2));
}

/// The rates of the rest of a run, and what it says of how it went on.
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

/// Twenty updates of six points are done; batches of twelve have five updates an epoch.
#[test]
fn progress_is_mapped_as_it_is_asked_for() {
    for (choice, epochs, loader, updates, steps) in [
        // Twenty of thirty updates, at another length.
        (OnMismatch::KeepStep, 6, seeded(60, 12, 5), 30, 20..30),
        // Two of four epochs.
        (OnMismatch::KeepEpoch, 4, seeded(60, 12, 5), 20, 10..20),
        // 120 samples are one of four epochs of 120.
        (OnMismatch::KeepSamples, 4, seeded(120, 12, 5), 40, 10..40),
        // What is left are two epochs of five.
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

/// Equal schedules, and still another run: the number of updates is the same, those of an epoch are not.
#[test]
fn another_batch_size_is_refused_where_the_schedule_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let endless = || LearnerBuilder::new(model(), AdamWConfig::new().build(), constant(0.01));
    let endless = || endless().run(RunLength::unbounded());
    saved(folder.path(), endless());
    let error = goes_on(endless(), folder.path(), seeded(60, 6, 5), 4);
    assert!(error.is_ok());
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), builder());
    let error = goes_on(builder(), folder.path(), seeded(60, 12, 5), 4).unwrap_err().to_string();
    assert!(error.contains("10 updates an epoch, and now an epoch has 5"), "{error}");
}

/// A run that was restarted goes on as the run that it is, from any update.
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
        assert!(error.contains("at update 20 of a run of 10"), "{error}");
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
    assert!(error.contains("go on after epoch 1, and the builder was not"), "{error}");
    let error = refused(builder().resume_from(&named), told());
    assert!(error.contains("go on after epoch 1, and the builder after epoch 2"), "{error}");
    let both = builder().checkpoints(Checkpoints::new(folder.path())).resume(Newest);
    let error = refused(both.resume_from(&named), training(folder.path(), seeded(60, 6, 5), 2));
    assert!(error.contains("give one of the two"), "{error}");
}

/// A layer that trained is not frozen again by a longer run, also where that is resumed.
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
        // The second time it is the run that it was, and goes on after epoch 3.
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
            assert!(said.contains("`hidden` had thawed and stays so"), "{choice:?}: {said}");
            assert_ne!(flat(&result.model.hidden), flat(&before.hidden), "{choice:?}");
        }
    }
}

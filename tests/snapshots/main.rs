//! Snapshots: when they are written, their contents, and their deletion; and ensembles of them.

mod ensemble;
mod every;

use anneal_tests::{
    Points, Quiet, Term, TermModel, TinyModel, batches, flat, points, seeded, supervised, trained,
};
use burn::data::dataloader::DataLoader;
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{SupervisedTraining, TrainStep};
use burn_anneal::control::{Answer, Controller, Event, OutOfRange, Stop};
use burn_anneal::prelude::*;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn device() -> Device {
    Device::default().autodiff()
}

fn cycles(length: u64) -> ScheduleConfig {
    warm_restarts(0.05, Span::steps(length)).into()
}

fn builder(schedule: impl Into<ScheduleConfig>) -> LearnerBuilder<TinyModel> {
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
    LearnerBuilder::new(TinyModel::seeded(7, &device()), optimizer, schedule)
}

/// The batch of six for an update, with ten updates per epoch.
fn update(training: &mut TrainingLoop<TinyModel>) {
    let first = training.next_update() as usize % 10 * 6;
    let batch = points(&(first..first + 6).collect::<Vec<_>>(), &device());
    training.pass(|model| TrainStep::step(model, batch));
    training.update().unwrap();
}

fn in_a_loop(builder: LearnerBuilder<TinyModel>, updates: u64) -> TrainingLoop<TinyModel> {
    builder.run(RunLength::updates(updates)).build_loop().unwrap()
}

/// The weights after these updates, in a run without snapshots.
fn weights_after(schedule: ScheduleConfig, updates: u64, ends: &[u64]) -> Vec<(u64, Vec<f32>)> {
    let mut training = in_a_loop(builder(schedule), updates);
    let mut found = vec![];
    for number in 0..updates {
        update(&mut training);
        if ends.contains(&number) {
            found.push((number, flat(training.model())));
        }
    }
    found
}

/// The snapshots in a folder, read.
fn saved(folder: &Path) -> Vec<(u64, Vec<f32>)> {
    let read = |snapshot: Snapshot| {
        let model = snapshot.load(TinyModel::new(&Device::default())).unwrap();
        (snapshot.update(), flat(&model))
    };
    Snapshots::list(folder).unwrap().into_iter().map(read).collect()
}

fn numbers(folder: &Path) -> Vec<u64> {
    Snapshots::list(folder).unwrap().iter().map(Snapshot::update).collect()
}

fn training(folder: &Path, train: Arc<dyn DataLoader<Points>>) -> SupervisedTraining<TinyModel> {
    SupervisedTraining::new(folder, train, batches(6, 3, 0))
        .num_epochs(3)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
}

#[test]
fn a_loop_leaves_the_model_of_each_end_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path());
    let mut training = in_a_loop(builder(cycles(4)).snapshots(snapshots), 14);
    for _ in 0..14 {
        update(&mut training);
    }
    // The last one exists as soon as its update is made.
    assert!(numbers(folder.path()).contains(&13));
    drop(training);
    assert_eq!(saved(folder.path()), weights_after(cycles(4), 14, &[3, 7, 11, 13]));

    // The folder holds only snapshots, sorted by update.
    let names = fs::read_dir(folder.path().join("snapshots")).unwrap();
    let mut names: Vec<_> = names.map(|name| name.unwrap().path()).collect();
    names.sort();
    let listed = Snapshots::list(folder.path()).unwrap();
    assert_eq!(names, listed.iter().map(|it| it.path().to_path_buf()).collect::<Vec<_>>());
}

/// Three epochs of ten updates: two cycles of seven end in mid-epoch, and one with the run.
#[test]
fn launch_leaves_them_in_mid_epoch_too() {
    let folder = tempfile::tempdir().unwrap();
    let builder_of = |folder: &Path| builder(cycles(7)).snapshots(Snapshots::new(folder));
    let result = builder_of(folder.path()).launch(training(folder.path(), batches(60, 6, 0)));
    let model = result.unwrap().finished().unwrap();
    let expected = weights_after(cycles(7), 30, &[6, 13, 20, 27, 29]);
    assert_eq!(saved(folder.path()), expected);
    assert_eq!(flat(&model), expected[4].1);
}

#[test]
fn burns_own_loop_leaves_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunLength::from_items(60, 6).epochs(3);
    let builder = builder(cycles(7)).snapshots(Snapshots::new(folder.path())).run(run);
    trained(supervised(folder.path(), 3), builder);
    assert_eq!(saved(folder.path()), weights_after(cycles(7), 30, &[6, 13, 20, 27, 29]));
}

#[test]
fn the_last_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path()).keep_last(2);
    let mut training = in_a_loop(builder(cycles(4)).snapshots(snapshots), 20);
    // Other files are not touched.
    let mine = folder.path().join("snapshots/notes.txt");
    fs::write(&mine, "mine").unwrap();
    for number in 0..20 {
        update(&mut training);
        let newest = numbers(folder.path());
        assert!(newest.len() <= 3, "{newest:?} after {number}");
    }
    training.into_model();
    assert_eq!(numbers(folder.path()), [15, 19]);
    assert!(mine.exists());
}

/// Interrupted at any update, in the middle of an epoch or of a cycle, and resumed.
#[test]
fn a_run_that_is_interrupted_and_resumed_has_each_once() {
    let whole = weights_after(cycles(7), 30, &[6, 13, 20, 27, 29]).into_iter();
    let whole: Vec<_> = whole.map(|(number, _)| number).collect();
    let mut reference: Option<Vec<(u64, Vec<f32>)>> = None;
    for stop in [None, Some(5), Some(6), Some(7), Some(13), Some(19), Some(25)] {
        let folder = tempfile::tempdir().unwrap();
        let launch = |stop: Option<u64>| {
            let training = training(folder.path(), seeded(60, 6, 5));
            let interrupter = training.interrupter();
            let stops = Arc::new(move || interrupter.stop(Some("enough")));
            builder(cycles(7))
                .controller("stops", Before(stop.unwrap_or(u64::MAX), stops))
                .snapshots(Snapshots::new(folder.path()))
                .checkpoints(Checkpoints::new(folder.path()).every_updates(4))
                .resume(Newest)
                .launch(training)
                .unwrap()
                .finished()
                .unwrap()
        };
        if stop.is_some() {
            launch(stop);
            assert!(numbers(folder.path()).len() < 5, "{stop:?}");
        }
        launch(None);
        let found = saved(folder.path());
        assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), whole, "{stop:?}");
        assert_eq!(&found, reference.get_or_insert(found.clone()), "{stop:?}");
    }
}

/// Snapshots after the checkpoint are written again.
#[test]
fn later_ones_are_removed_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || builder(cycles(4)).snapshots(Snapshots::new(folder.path()));
    let mut training = in_a_loop(builder(), 20);
    (0..6).for_each(|_| update(&mut training));
    let checkpoint = training.save(folder.path(), 1).unwrap();
    (0..8).for_each(|_| update(&mut training));
    drop(training);
    assert_eq!(numbers(folder.path()), [3, 7, 11]);
    // A file that a killed process was writing.
    let scratch = folder.path().join("snapshots/update-00000000000000000015.bpk.12-0.tmp");
    fs::write(&scratch, "half").unwrap();

    let mut training = in_a_loop(builder().resume_from(&checkpoint), 20);
    assert_eq!(numbers(folder.path()), [3]);
    assert!(!scratch.exists());
    (6..20).for_each(|_| update(&mut training));
    drop(training);
    assert_eq!(saved(folder.path()), weights_after(cycles(4), 20, &[3, 7, 11, 15, 19]));
}

/// A restarted schedule starts at an update of the run.
#[test]
fn a_restarted_schedule_has_its_cycles_where_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let builder = |length| builder(cycles(length)).snapshots(Snapshots::new(folder.path()));
    let mut training = in_a_loop(builder(4), 20);
    (0..6).for_each(|_| update(&mut training));
    let checkpoint = training.save(folder.path(), 1).unwrap();
    drop(training);
    let resumed = builder(5).resume_from(&checkpoint).on_mismatch(OnMismatch::Restart);
    let mut training = in_a_loop(resumed, 20);
    (6..20).for_each(|_| update(&mut training));
    drop(training);
    assert_eq!(numbers(folder.path()), [3, 10, 15, 19]);
}

#[test]
fn half_precision_leaves_its_master_weights() {
    let folder = tempfile::tempdir().unwrap();
    let half = builder(cycles(4)).half_precision(HalfPrecision::f16());
    let mut training = in_a_loop(half.snapshots(Snapshots::new(folder.path())), 8);
    let mut expected = vec![];
    for number in 0..8 {
        update(&mut training);
        if number % 4 == 3 {
            expected.push((number, flat(&training.model_in_f32())));
        }
    }
    let rounded = flat(training.model());
    drop(training);
    assert_eq!(saved(folder.path()), expected);
    assert_ne!(expected[1].1, rounded);
}

/// A gradient that is infinite if the update must be skipped.
fn skipping(training: &mut TrainingLoop<TermModel>, skips: bool) {
    let slope = if skips { f32::INFINITY } else { 0.5 };
    let term = Term::new(&[vec![0.0]], &[slope]);
    training.pass(|model| TrainStep::step(model, term));
    assert_eq!(training.update().unwrap().skipped.is_some(), skips);
}

#[test]
fn where_the_last_update_of_a_cycle_is_skipped_it_is_written_after_it() {
    // Under Hold the schedule waits: its cycle ends one update later, and the run's last update belongs to the next
    // cycle.
    for (on_skip, expected) in [(OnSkip::Advance, vec![3, 7, 11]), (OnSkip::Hold, vec![4, 8, 11])] {
        let folder = tempfile::tempdir().unwrap();
        let model = TermModel::new(&[1.0]);
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), cycles(4));
        let mut training = builder
            .run(RunLength::updates(12))
            .loss_scaling(LossScaling::new())
            .on_skip(on_skip)
            .snapshots(Snapshots::new(folder.path()))
            .build_loop()
            .unwrap();
        (0..12).for_each(|number| skipping(&mut training, number == 3));
        drop(training);
        assert_eq!(numbers(folder.path()), expected, "{on_skip:?}");
    }
}

#[test]
fn without_cycles_there_is_one_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = || Snapshots::new(folder.path());
    let mut training = in_a_loop(builder(cosine(0.05)).snapshots(snapshots()), 5);
    let said = "the schedule has no cycles, so there is one snapshot";
    assert!(training.explain().notes.iter().any(|note| note.contains(said)));
    (0..5).for_each(|_| update(&mut training));
    // Beyond its end, a run has no further snapshots.
    (0..3).for_each(|_| update(&mut training));
    drop(training);
    assert_eq!(numbers(folder.path()), [4]);

    let other = tempfile::tempdir().unwrap();
    let cyclic = builder(cycles(2)).snapshots(Snapshots::new(other.path()));
    assert!(in_a_loop(cyclic, 5).explain().notes.is_empty());
}

#[test]
fn what_is_wrong_is_said_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let error = |snapshots: Snapshots| {
        let built = builder(cycles(2)).run(RunLength::updates(4)).snapshots(snapshots).build_loop();
        built.err().unwrap()
    };
    let zero = error(Snapshots::new(folder.path()).keep_last(0));
    assert!(matches!(&zero, BuildError::Snapshots(error) if error.field == "keep_last"), "{zero}");

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let no_folder = error(Snapshots::new(&file));
    assert!(matches!(no_folder, BuildError::Checkpoint(_)), "{no_folder}");

    let mut training = in_a_loop(builder(cycles(2)).snapshots(Snapshots::new(folder.path())), 2);
    (0..2).for_each(|_| update(&mut training));
    let old = error(Snapshots::new(folder.path()));
    assert!(matches!(old, BuildError::OldSnapshots { .. }), "{old}");
    // An empty or missing folder has none.
    assert!(numbers(&folder.path().join("nowhere")).is_empty());
}

/// The folder disappears in mid-run.
#[test]
fn what_cannot_be_written_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = || Snapshots::new(folder.path());
    let remove = || fs::remove_dir_all(folder.path().join("snapshots")).unwrap();
    let mut training = in_a_loop(builder(cycles(2)).snapshots(snapshots()), 6);
    remove();
    let batch = || points(&[1, 2, 3], &device());
    let error = (0..6).find_map(|_| {
        training.pass(|model| TrainStep::step(model, batch()));
        training.update().err()
    });
    assert!(matches!(*error.unwrap(), UpdateError::Snapshot { .. }));
    assert!(training.next_update() <= 4, "the next end of a cycle says it at the latest");
    drop(training);

    // Only the last one fails.
    let gone = folder.path().join("snapshots");
    let removes = Before(29, Arc::new(move || fs::remove_dir_all(&gone).unwrap()));
    let training = self::training(folder.path(), batches(60, 6, 0));
    let builder = builder(cosine(0.1)).snapshots(snapshots()).controller("removes", removes);
    let result = builder.launch(training).unwrap();
    let error = result.error.expect("it was stopped").to_string();
    assert!(error.contains("snapshots: ") && error.contains(".bpk"), "{error}");
}

#[test]
fn a_damaged_file_and_another_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = in_a_loop(builder(cycles(2)).snapshots(Snapshots::new(folder.path())), 2);
    (0..2).for_each(|_| update(&mut training));
    let snapshot = Snapshots::list(folder.path()).unwrap().remove(0);
    let other = TermModel::new(&[1.0]);
    assert!(matches!(snapshot.load(other), Err(CheckpointError::Damaged { .. })));
    // A loaded member no longer needs its file.
    let loaded = snapshot.load(TinyModel::new(&device())).unwrap();
    fs::write(snapshot.path(), "half").unwrap();
    assert_eq!(flat(&loaded), flat(training.model()));
    let error = snapshot.load(TinyModel::new(&device())).unwrap_err().to_string();
    assert!(error.contains("update-00000000000000000001.bpk"), "{error}");
}

/// Does something before an update.
#[derive(Clone)]
struct Before(u64, Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "before {}", self.0)
    }
}

impl Controller for Before {
    type State = ();

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Update(seen) = event
            && seen.number == self.0
        {
            self.1();
        }
        Ok(Answer::default())
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}

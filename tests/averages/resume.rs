//! Averages in checkpoints, and runs that resume with other averages.

use super::*;
use anneal_tests::seeded;
use burn::tensor::TensorReadError;
use burn::train::Interrupter;
use burn::train::metric::{Metric, MetricMetadata, MetricName, SerializedEntry};

fn kinds() -> [Average; 5] {
    [
        Average::ema(0.9).warmup(),
        Average::mean_from(4),
        Average::latest(3, 1),
        // Three of seven weights are taken after ten updates.
        Average::latest(7, 3),
        Average::mean_from(15),
    ]
}

fn averaged(average: &Average) -> LearnerBuilder<TinyModel> {
    builder().average(average.clone())
}

#[test]
fn a_loop_goes_on_as_if_nothing_had_happened() {
    for average in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = a_loop(averaged(&average));
        (0..10).for_each(|_| update(&mut whole));
        let saved = whole.save(folder.path(), 1).unwrap();
        let mut resumed = a_loop(averaged(&average).resume_from(&saved));
        assert_eq!(resumed.explain().notes, [format!("average: `{average}` of 4 parameters")]);
        for number in 10..UPDATES {
            let what = format!("{average}, update {number}");
            assert_eq!(flat(&resumed.valid()), flat(&whole.valid()), "{what}");
            update(&mut whole);
            update(&mut resumed);
        }
        assert_eq!(flat(&resumed.valid()), flat(&whole.valid()), "{average}");
        assert_eq!(flat(resumed.model()), flat(whole.model()), "{average}");
    }
}

/// Stops a run after this many batches, or a few more.
#[derive(Clone)]
struct Stops(usize, Arc<Mutex<usize>>, Interrupter);

impl Metric for Stops {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Stops".to_string())
    }

    fn update(&mut self, _: &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let mut seen = self.1.lock().unwrap();
        *seen += 1;
        if *seen == self.0 {
            self.2.stop(None);
        }
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

fn seeded_training(folder: &Path) -> SupervisedTraining<TinyModel> {
    SupervisedTraining::new(folder, seeded(60, 6, 3), batches(6, 3, 0))
        .num_epochs(3)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
}

/// The average and the raw weights at the end.
fn ends(
    builder: LearnerBuilder<TinyModel>,
    training: SupervisedTraining<TinyModel>,
) -> [Vec<f32>; 2] {
    let watch = builder.watch();
    let model = builder.launch(training).unwrap().finished().unwrap();
    [flat(&model), flat(&watch.run().unwrap().with_weights(&model, Weights::Raw))]
}

#[test]
fn a_launch_goes_on_from_anywhere() {
    for average in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let whole = ends(averaged(&average), seeded_training(folder.path()));
        assert_ne!(whole[0], whole[1]);
        // At the end of an epoch, in mid-epoch, and twice.
        for stops in [vec![13], vec![5], vec![3, 9]] {
            let folder = tempfile::tempdir().unwrap();
            let goes_on = || {
                let checkpoints = Checkpoints::new(folder.path()).every_updates(100);
                averaged(&average).checkpoints(checkpoints).resume(Newest)
            };
            for stop in &stops {
                let training = seeded_training(folder.path());
                let stop = Stops(*stop, Arc::default(), training.interrupter());
                let training = training.metric_train(stop);
                goes_on().launch(training).unwrap().finished().unwrap();
            }
            let found = ends(goes_on(), seeded_training(folder.path()));
            assert_eq!(found, whole, "{average}, stopped after {stops:?}");
        }
    }
}

/// Burn loads the checkpoint, whether the builder names it or not.
#[test]
fn burns_own_loop_goes_on_too() {
    for average in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let builder = || averaged(&average).run(run());
        let whole = anneal_tests::trained(supervised(folder.path(), 3), builder());
        let saved = Checkpoint::open(folder.path(), 2).unwrap();
        for resumed in [builder().resume_from(&saved), builder()] {
            let training = supervised(folder.path(), 3).checkpoint(2);
            let found = anneal_tests::trained(training, resumed);
            assert_eq!(flat(&found), flat(&whole), "{average}");
        }
    }
}

/// An average that takes no weights after the checkpoint is still the one that is evaluated.
#[test]
fn burns_own_loop_has_the_average_where_nobody_named_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || builder().run(run()).average(Average::mean_from(0).every(Span::epochs(2)));
    let whole = anneal_tests::trained(supervised(folder.path(), 3), builder());
    let saved = Checkpoint::open(folder.path(), 2).unwrap();
    for resumed in [builder().resume_from(&saved), builder()] {
        let found = anneal_tests::trained(supervised(folder.path(), 3).checkpoint(2), resumed);
        assert_eq!(flat(&found), flat(&whole));
    }
}

/// A checkpoint after ten updates.
fn saved_by(builder: LearnerBuilder<TinyModel>, folder: &Path) -> Checkpoint {
    let mut training = a_loop(builder);
    (0..10).for_each(|_| update(&mut training));
    training.save(folder, 1).unwrap()
}

#[test]
fn an_average_that_is_new_begins_with_the_weights() {
    let path = path(builder());
    let folder = tempfile::tempdir().unwrap();
    for before in [builder(), averaged(&Average::ema(0.9)), averaged(&Average::latest(4, 1))] {
        let saved = saved_by(before, folder.path());
        let mut resumed = a_loop(averaged(&Average::mean_from(0)).resume_from(&saved));
        let notes = resumed.explain().notes.join("\n");
        assert!(notes.contains("starts from"), "{notes}");
        assert_eq!(flat(&resumed.valid()), path[9]);
        for number in 10..20 {
            update(&mut resumed);
            let expected = mean(&path[10..=number]);
            assert_near(&flat(&resumed.valid()), &expected, &format!("update {number}"));
        }
    }
}

/// An average that starts later leaves the weights unchanged until then.
#[test]
fn an_average_of_another_kind_is_not_evaluated() {
    let path = path(builder());
    let folder = tempfile::tempdir().unwrap();
    let saved = saved_by(averaged(&Average::ema(0.9)), folder.path());
    let mut resumed = a_loop(averaged(&Average::mean_from(20)).resume_from(&saved));
    assert_eq!(flat(&resumed.valid()), path[9]);
    for raw in &path[10..20] {
        update(&mut resumed);
        assert_eq!(flat(&resumed.valid()), *raw);
    }
    update(&mut resumed);
    assert_eq!(flat(&resumed.valid()), path[20]);
}

/// An average of the same kind that starts later holds no earlier weights.
#[test]
fn an_average_that_now_begins_later_begins_anew() {
    let path = path(builder());
    let folder = tempfile::tempdir().unwrap();
    let saved = saved_by(averaged(&Average::mean_from(0)), folder.path());
    let mut resumed = a_loop(averaged(&Average::mean_from(20)).resume_from(&saved));
    let notes = resumed.explain().notes.join("\n");
    assert!(notes.contains("mean().start(0)") && notes.contains("mean().start(20)"), "{notes}");
    assert_eq!(flat(&resumed.valid()), path[9]);
    for number in 10..25 {
        update(&mut resumed);
        let expected = mean(&path[20.min(number)..=number]);
        assert_near(&flat(&resumed.valid()), &expected, &format!("update {number}"));
    }
}

/// With another selection, a note says which averages start anew.
#[test]
fn an_average_of_something_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let saved = saved_by(builder().average(Average::ema(0.9).on("head")), folder.path());
    let resumed = a_loop(builder().average(Average::ema(0.9).on("hidden")).resume_from(&saved));
    let notes = resumed.explain().notes.join("\n");
    assert!(notes.contains("head") && notes.contains("starts from its weights"), "{notes}");
}

#[test]
fn an_average_that_is_no_longer_asked_for_is_left_out() {
    let path = path(builder());
    let folder = tempfile::tempdir().unwrap();
    let saved = saved_by(averaged(&Average::ema(0.9)), folder.path());
    let mut resumed = a_loop(builder().resume_from(&saved));
    let notes = resumed.explain().notes.join("\n");
    assert!(notes.contains("it is dropped"), "{notes}");
    for raw in &path[10..20] {
        update(&mut resumed);
        assert_eq!(flat(&resumed.valid()), *raw);
    }
    let saved = resumed.save(folder.path(), 2).unwrap();
    let error = saved.load_averaged(model()).unwrap_err();
    assert!(matches!(error, CheckpointError::NoAverage { .. }), "{error}");
}

/// Parameters that are no longer averaged are the same in a checkpoint as in the run.
#[test]
fn a_part_that_is_no_longer_averaged_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for before in [
        builder().average(Average::ema(0.9)),
        builder().average(Average::ema(0.9).on("hidden")).average(Average::ema(0.9).on("head")),
    ] {
        let saved = saved_by(before, folder.path());
        let mut resumed =
            a_loop(builder().average(Average::ema(0.9).on("head")).resume_from(&saved));
        (0..10).for_each(|_| update(&mut resumed));
        let saved = resumed.save(folder.path(), 2).unwrap();
        let loaded = saved.load_averaged(TinyModel::new(&Device::default())).unwrap();
        assert_eq!(flat(&loaded), flat(&resumed.valid()));
    }
}

#[test]
fn a_checkpoint_without_averages_has_none_to_load() {
    let folder = tempfile::tempdir().unwrap();
    let error = saved_by(builder(), folder.path()).load_averaged(model()).unwrap_err();
    assert!(error.to_string().contains("the run had no averages"), "{error}");
    let mut training = a_loop(averaged(&Average::ema(0.9)));
    (0..10).for_each(|_| update(&mut training));
    let saved = training.save(folder.path(), 1).unwrap();
    let loaded = saved.load_averaged(TinyModel::new(&Device::default())).unwrap();
    assert_eq!(flat(&loaded), flat(&training.valid()));
}

/// Twenty updates in epochs of ten continue in epochs of five; weights are taken at the end of each.
#[test]
fn averages_follow_the_epochs_of_the_run_that_goes_on() {
    for choice in [OnMismatch::KeepStep, OnMismatch::KeepEpoch, OnMismatch::Restart] {
        let folder = tempfile::tempdir().unwrap();
        let averaged = || averaged(&Average::latest(1, Span::epochs(1)));
        let checkpoints = || Checkpoints::new(folder.path());
        let first = averaged().checkpoints(checkpoints());
        first.launch(training(folder.path(), 2)).unwrap().finished().unwrap();
        let epochs = if choice == OnMismatch::KeepStep { 6 } else { 4 };
        let rest = SupervisedTraining::new(folder.path(), batches(60, 12, 0), batches(6, 3, 0))
            .num_epochs(epochs)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .metrics((LossMetric::new(),));
        let goes_on = averaged().checkpoints(checkpoints()).resume(Newest).on_mismatch(choice);
        let [average, raw] = ends(goes_on, rest);
        assert_eq!(average, raw, "{choice:?}");
    }
}

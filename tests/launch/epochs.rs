//! What controllers hear of epochs, and how Burn's own parts act at the end of an epoch.

use super::*;

fn heard(controller: &Hears) -> Vec<f64> {
    controller.heard.lock().unwrap().clone()
}

/// The mean validation loss by hand: two batches of three points.
fn validated(model: &TinyModel) -> f64 {
    let loss = |items: &[usize]| -> f64 {
        let batch = points(items, &Device::default());
        f64::from(model.valid().forward(batch).loss.into_scalar::<f32>())
    };
    (loss(&[0, 1, 2]) + loss(&[3, 4, 5])) / 2.0
}

#[test]
fn controllers_hear_the_metrics_of_each_epoch_with_checkpoints_and_without() {
    for saves in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let hears = Hears::new(None);
        let builder = builder().controller("hears", hears.clone());
        let builder = match saves {
            true => builder.checkpoints(Checkpoints::new(folder.path())),
            false => builder,
        };
        let model = launched(builder, training(folder.path(), batches(60, 6, 0), 3)).model;
        let losses = heard(&hears);
        assert_eq!(losses.len(), 3);
        // Burn's metric sums f32 values in f64.
        assert!((losses[2] - validated(&model)).abs() < 1e-6, "{losses:?}");
        if saves {
            // The checkpoint of an epoch has the controller's state after its metrics.
            let second = Checkpoint::open(folder.path(), 2).unwrap();
            let fresh = Hears::new(None);
            let again = super::builder().controller("hears", fresh.clone()).resume_from(&second);
            let folder = tempfile::tempdir().unwrap();
            let resumed = launched(again, training(folder.path(), batches(60, 6, 0), 3)).model;
            assert_eq!(flat(&resumed), flat(&model));
            assert_eq!(heard(&fresh), losses[2..]);
        }
    }
}

#[test]
fn a_metric_that_is_not_there_stops_the_run_and_those_that_are_there_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), batches(60, 6, 0), batches(6, 3, 0))
        .num_epochs(3)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metric_train_numeric(LossMetric::new())
        .metric_valid_numeric(AccuracyMetric::new());
    let builder = builder().controller("hears", Hears::new(None)).metrics([RunMetrics::Rates]);
    let watch = builder.watch();
    let result = builder.launch(training).unwrap();
    let failure = watch.failure().unwrap().to_string();
    let words =
        "hears: it needs the metric `valid Loss`, which this training does not have; the known";
    assert!(failure.contains(words), "{failure}");
    for name in ["`train Loss`", "`valid Accuracy`", "`train Rate model`"] {
        assert!(failure.contains(name), "no {name} in {failure}");
    }
    assert!(result.error.unwrap().to_string().contains(&failure));
}

/// Burn's own loop: `EpochEvents` passes epochs to controllers, and without it the run stops.
#[test]
fn under_burns_own_loop_a_checkpointing_strategy_tells_them() {
    let run = RunLength::from_items(60, 6).epochs(3);
    let learner = |hears: &Hears, interrupter| {
        builder().run(run).controller("hears", hears.clone()).build(interrupter).unwrap()
    };
    let training = |folder: &Path| {
        SupervisedTraining::<Annealed<TinyModel>>::new(folder, batches(60, 6, 0), batches(6, 3, 0))
            .num_epochs(3)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .with_default_checkpointers()
            .metrics((LossMetric::new(),))
    };
    let launch = {
        let folder = tempfile::tempdir().unwrap();
        let hears = Hears::new(None);
        let builder = builder().controller("hears", hears.clone());
        let model = launched(builder, super::training(folder.path(), batches(60, 6, 0), 3)).model;
        (flat(&model), heard(&hears))
    };
    let folder = tempfile::tempdir().unwrap();
    let (hears, training_of_burn) = (Hears::new(None), training(folder.path()));
    let of_burn = learner(&hears, training_of_burn.interrupter());
    let events = EpochEvents::of(&of_burn.model(), KeepLastNCheckpoints::new(1));
    let result = training_of_burn.with_checkpointing_strategy(events).launch(of_burn);
    assert!(result.error.is_none(), "{:?}", result.error);
    assert_eq!((flat(&result.model), heard(&hears)), launch);
    assert_eq!(Checkpoint::newest(folder.path()).unwrap().unwrap().epoch(), 3);
    assert!(Checkpoint::open(folder.path(), 2).is_err(), "only the last is kept");

    let folder = tempfile::tempdir().unwrap();
    let training = training(folder.path());
    let learner = learner(&Hears::new(None), training.interrupter());
    let error = training.launch(learner).error.unwrap().to_string();
    assert!(
        error.contains("`hears` needs metrics of an epoch") && error.contains("EpochEvents"),
        "{error}"
    );
}

#[test]
fn a_loop_of_ones_own_tells_them() {
    let hears = Hears::new(None);
    let run = RunLength::updates(10);
    let mut training = builder().run(run).controller("hears", hears.clone()).build_loop().unwrap();
    training.end_epoch([(MetricOf::valid("Loss"), 0.5)]).unwrap();
    assert_eq!(heard(&hears), [0.5]);
    let error = training.end_epoch([(MetricOf::valid("Accuracy"), 0.5)]).unwrap_err().to_string();
    assert!(error.contains("the known names are `valid Accuracy`"), "{error}");
}

#[test]
fn the_users_strategy_and_early_stopping_work_as_in_burns_loop() {
    let folder = tempfile::tempdir().unwrap();
    let stopping = MetricEarlyStoppingStrategy::new(
        &LossMetric::new(),
        Aggregate::Mean,
        // The loss of a learning model falls: no improvement from the second epoch on.
        Direction::Highest,
        Split::Valid,
        StoppingCondition::NoImprovementSince { n_epochs: 2 },
    );
    let training = training(folder.path(), batches(60, 6, 0), 9)
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(1))
        .early_stopping(stopping);
    launched(builder().checkpoints(Checkpoints::new(folder.path())), training);
    assert_eq!(Checkpoint::newest(folder.path()).unwrap().unwrap().epoch(), 3);
    assert!(Checkpoint::open(folder.path(), 2).is_err());
    // Burn's own checkpointers, with files that Burn can read.
    let folder = tempfile::tempdir().unwrap();
    let training =
        super::training(folder.path(), batches(60, 6, 0), 2).with_default_checkpointers();
    let model = launched(builder(), training).model;
    let file = folder.path().join("checkpoint/model-2.bpk");
    assert_eq!(flat(&TinyModel::new(&Device::default()).load_file(file)), flat(&model));
    let log = folder.path().join(format!("valid/epoch-2/{}.log", LossMetric::new().name()));
    assert!(log.exists());
}

#[test]
fn metrics_of_the_updates_are_logged_under_the_names_of_groups() {
    let folder = tempfile::tempdir().unwrap();
    let groups = GroupsConfig::new()
        .group(Group::new("trunk", "^hidden").multiple(0.5).weight_decay(0.1))
        .group(Group::rest("head"));
    let adam = burn::optim::AdamConfig::new().build();
    let builder = LearnerBuilder::new(model(), adam, schedule()).groups(groups);
    let builder = builder.loss_scaling(LossScaling::new());
    let all = [RunMetrics::Rates, RunMetrics::Decay, RunMetrics::Norms, RunMetrics::Control];
    let watch = builder.watch();
    assert!(watch.explain().is_none(), "it has not begun");
    launched(builder.metrics(all), training(folder.path(), batches(60, 6, 0), 2));
    let log = |name: &str| -> Vec<f64> {
        let path = folder.path().join(format!("train/epoch-1/{name}.log"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let lines = text.lines().filter(|line| !line.ends_with("final"));
        lines.map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
    };
    let schedule = schedule().resolve(RunLength::updates(20)).unwrap();
    for (name, multiple) in [("Rate_trunk", 0.5), ("Rate_head", 1.0)] {
        for (step, rate) in log(name).into_iter().enumerate() {
            assert!((rate / (multiple * schedule.rate(step as u64)) - 1.0).abs() < 1e-12, "{name}");
        }
    }
    for name in ["Decay_trunk", "Kept_trunk", "Norm_trunk", "Norm_head", "Loss_Scale", "Skipped"] {
        assert_eq!(log(name).len(), 10, "{name}");
    }
    assert_eq!(watch.explain().unwrap().groups.len(), 2);
}

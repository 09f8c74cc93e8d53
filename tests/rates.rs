//! The rates of real `SupervisedTraining` runs match the schedule update by update, and a run has as many updates as
//! `RunLength` states.

use anneal_tests::{Quiet, RateRecorder, TinyModel, batches};
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::{ExecutionStrategy, Learner, MultiDeviceOptim, SupervisedTraining};
use burn_anneal::prelude::*;

struct Run {
    items: usize,
    batch_size: usize,
    epochs: usize,
    accumulation: usize,
    workers: usize,
    devices: Option<(usize, MultiDeviceOptim)>,
}

/// Trains, and returns the rates of the updates and those of the schedule.
fn rates(run: Run) -> (Vec<f64>, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default().autodiff();
    let devices = run.devices.map_or(1, |(count, _)| count);
    let length = RunLength::from_items(run.items, run.batch_size)
        .epochs(run.epochs)
        .gradient_accumulation(run.accumulation)
        .devices(devices);
    // No rate occurs twice in a row, so that updates can be distinguished; it does not hold its end.
    let config = linear(0.1, 0.01).warmup(Span::percent(20));
    let schedule = config.clone().resolve(length).unwrap();

    let recorder = RateRecorder::default();
    let mut training = SupervisedTraining::new(
        folder.path(),
        batches(run.items, run.batch_size, run.workers),
        batches(3, 3, 0),
    )
    .num_epochs(run.epochs)
    .renderer(Box::new(Quiet))
    .with_application_logger(None)
    .metric_train(recorder.clone());
    if run.accumulation > 1 {
        training = training.grads_accumulation(run.accumulation);
    }
    if let Some((count, optim)) = run.devices {
        let strategy = ExecutionStrategy::multi(vec![device.clone(); count], optim);
        training = training.with_training_strategy(strategy.into());
    }
    let (model, sgd) = (TinyModel::new(&device), SgdConfig::new().build());
    let builder = LearnerBuilder::new(model, sgd, config).run(length);
    let learner = builder.build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);

    let expected = (0..schedule.length().unwrap()).map(|step| schedule.rate(step)).collect();
    (recorder.per_update(), expected)
}

fn single(items: usize, batch_size: usize, epochs: usize, accumulation: usize) -> Run {
    Run { items, batch_size, epochs, accumulation, workers: 0, devices: None }
}

#[test]
fn every_update_uses_the_rate_of_its_step() {
    let (used, expected) = rates(single(40, 4, 3, 1));
    assert_eq!(expected.len(), 30);
    assert_eq!(used, expected);
}

#[test]
fn the_last_short_batch_counts() {
    let (used, expected) = rates(single(41, 4, 3, 1));
    assert_eq!(expected.len(), 33);
    assert_eq!(used, expected);
}

#[test]
fn accumulation_counts_anew_in_every_epoch() {
    // 11 batches, the last of one item: updates of 4, 4 and 3 batches.
    let (used, expected) = rates(single(41, 4, 3, 4));
    assert_eq!(expected.len(), 9);
    assert_eq!(used, expected);
    let (used, expected) = rates(single(40, 4, 2, 5));
    assert_eq!(expected.len(), 4);
    assert_eq!(used, expected);
}

#[test]
fn loader_workers_do_not_change_the_count() {
    for workers in [1, 3] {
        let (used, expected) = rates(Run { workers, ..single(41, 4, 2, 2) });
        assert_eq!(expected.len(), 12);
        assert_eq!(used, expected, "{workers} workers");
    }
}

#[test]
fn several_devices_make_one_update_a_round() {
    for optim in [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded] {
        // 41 items on 2 devices: 20 and 21, so 6 rounds of 4; every 2 rounds an update.
        let (used, expected) = rates(Run { devices: Some((2, optim)), ..single(41, 4, 2, 2) });
        assert_eq!(expected.len(), 6);
        assert_eq!(used, expected, "{optim:?}");
    }
}

#[test]
fn the_plain_way_into_burns_learner_gives_the_same_rates() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default().autodiff();
    let run = RunLength::from_items(20, 4).epochs(2);
    let schedule = cosine(0.1).warmup(Span::steps(2));
    let recorder = RateRecorder::default();
    let learner = Learner::new(
        TinyModel::new(&device),
        SgdConfig::new().init(),
        Scheduler::new(schedule.clone(), run).unwrap(),
    );
    SupervisedTraining::new(folder.path(), batches(20, 4, 0), batches(3, 3, 0))
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metric_train(recorder.clone())
        .launch(learner);
    let schedule = schedule.resolve(run).unwrap();
    let expected: Vec<f64> = (0..10).map(|step| schedule.rate(step)).collect();
    assert_eq!(recorder.per_batch(), expected);
}

//! Bugs of other schedulers, each tested in a real Burn run or a real resume; see
//! `docs/peer_bugs.md` for why they cannot happen here.

use anneal_tests::{Quiet, RateRecorder, TinyModel, batches, points};
use burn::lr_scheduler::LrScheduler;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_anneal::SavedStep;
use burn_anneal::prelude::*;
use std::path::Path;

const ITEMS: usize = 20;
const BATCH: usize = 4;
const UPDATES_PER_EPOCH: u64 = 5;
const EPOCHS: usize = 4;

fn run() -> RunLength {
    RunLength::from_items(ITEMS, BATCH).epochs(EPOCHS)
}

fn expected(config: &ScheduleConfig, steps: std::ops::Range<u64>) -> Vec<f64> {
    let schedule = config.clone().resolve(run()).unwrap();
    steps.map(|step| schedule.rate(step)).collect()
}

/// Trains up to the end of epoch `until` as a new process would: everything is new except the folder. Resumes after
/// epoch `from`, if given.
fn train(
    folder: &Path,
    config: &ScheduleConfig,
    run: RunLength,
    from: Option<usize>,
    until: usize,
    accumulation: usize,
) -> Vec<f64> {
    let recorder = RateRecorder::default();
    let (model, sgd) = (TinyModel::new(&Device::default().autodiff()), SgdConfig::new().build());
    let mut builder = LearnerBuilder::new(model, sgd, config.clone()).run(run);
    let mut training = SupervisedTraining::new(folder, batches(ITEMS, BATCH, 0), batches(3, 3, 0))
        .num_epochs(until)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((LossMetric::new(),))
        .metric_train(recorder.clone());
    if accumulation > 1 {
        training = training.grads_accumulation(accumulation);
    }
    if let Some(epoch) = from {
        let saved = Checkpoint::newest(folder).unwrap().unwrap();
        assert_eq!(saved.epoch(), epoch);
        builder = builder.resume_from(&saved);
        training = training.checkpoint(epoch);
    }
    let learner = builder.build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    if accumulation > 1 { recorder.per_update() } else { recorder.per_batch() }
}

/// The rates of a run that is interrupted after epoch `at`, before and after resuming.
fn interrupted(config: &ScheduleConfig, at: usize) -> (Vec<f64>, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let before = train(folder.path(), config, run(), None, at, 1);
    let after = train(folder.path(), config, run(), Some(at), EPOCHS, 1);
    (before, after)
}

fn interrupted_as_uninterrupted(config: &ScheduleConfig) {
    for at in 1..EPOCHS {
        let (mut rates, after) = interrupted(config, at);
        assert_eq!(rates.len() as u64, at as u64 * UPDATES_PER_EPOCH);
        rates.extend(after);
        assert_eq!(rates, expected(config, 0..20), "interrupted after epoch {at}");
    }
}

/// A `SequentialLR` created with `last_epoch` in its second part started with the first part's rate.
#[test]
fn pytorch_162591_a_sequence_resumes_in_its_second_part() {
    let second = cosine(0.1).end(1e-3);
    interrupted_as_uninterrupted(&linear(1e-3, 0.1).then(Span::steps(6), second).into());
    let third = linear(0.3, 0.1).then(Span::steps(7), exponential(0.2, Decay::Kappa(0.1)));
    interrupted_as_uninterrupted(&constant(0.4).then(Span::steps(3), third).into());
}

/// Creating the second scheduler of a `SequentialLR` changed the start rate of the first.
#[test]
fn pytorch_67586_a_sequence_starts_with_its_first_part() {
    let config = constant(0.01).then(Span::steps(5), exponential(0.1, Decay::Kappa(0.5))).into();
    let folder = tempfile::tempdir().unwrap();
    let rates = train(folder.path(), &config, run(), None, 2, 1);
    assert_eq!(rates[..5], [0.01; 5]);
    assert_eq!(rates[5], 0.1, "the second part starts at its own step 0");
}

/// In a `SequentialLR`, the scheduler created last set the first rate.
#[test]
fn pytorch_72874_the_order_of_making_the_parts_does_not_matter() {
    let first = linear(0.02, 0.2).length(Span::steps(5));
    let second = step_decay(0.2, Span::steps(4), 0.5);
    let forwards: ScheduleConfig = first.clone().then(Span::steps(5), second.clone()).into();
    let second_first = ScheduleConfig::from(second);
    let backwards: ScheduleConfig =
        ScheduleConfig::from(first).then(Span::steps(5), second_first).into();
    assert_eq!(forwards, backwards);
    let folder = tempfile::tempdir().unwrap();
    let rates = train(folder.path(), &backwards, run(), None, EPOCHS, 1);
    assert_eq!(rates[0], 0.02);
    assert_eq!(rates, expected(&forwards, 0..20));
}

/// A `SequentialLR` with a milestone of 0 started with the scheduler that it should have skipped, and
/// the second one missed its step 0.
#[test]
fn pytorch_185872_a_milestone_of_zero_counts_from_the_first_update() {
    let skipped: ScheduleConfig = constant(0.5).then(Span::steps(0), linear(0.1, 0.05)).into();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(train(folder.path(), &skipped, run(), None, 1, 1)[0], 0.1);
    let dropped: ScheduleConfig = multi_step(0.5, [Span::steps(0), Span::steps(3)], 0.5).into();
    let folder = tempfile::tempdir().unwrap();
    let rates = train(folder.path(), &dropped, run(), None, 1, 1);
    assert_eq!(rates, [0.25, 0.25, 0.25, 0.125, 0.125]);
}

/// Creating a `SequentialLR` after restoring the optimizer changed the optimizer's rate.
#[test]
fn pytorch_119168_the_order_of_restoring_does_not_matter() {
    let device = Device::default().autodiff();
    let items: Vec<usize> = (0..12).collect();
    let config = cosine(0.1).warmup(Span::steps(3));
    let step = |model: TinyModel, optimizer: &mut ModuleOptimizer, scheduler: &mut Scheduler| {
        let loss = model.forward(points(&items, &device)).loss;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let rate = scheduler.step();
        (rate, optimizer.step(ModuleLearningRate::from(rate), model, gradients))
    };
    let new = || {
        (
            ModuleOptimizer::from(AdamWConfig::new().build()),
            Scheduler::new(config.clone(), run()).unwrap(),
        )
    };

    let (mut optimizer, mut scheduler) = new();
    let mut model = TinyModel::new(&device);
    for _ in 0..7 {
        (_, model) = step(model, &mut optimizer, &mut scheduler);
    }
    let saved = (model.into_record(), scheduler.to_record());
    let saved_optimizer = optimizer;
    let restored = |scheduler_first: bool| {
        let (mut optimizer, mut scheduler) = new();
        if scheduler_first {
            scheduler.load_record(saved.1.clone());
        }
        let model = TinyModel::new(&device).load_record(saved.0.clone());
        optimizer = optimizer.load_record(saved_optimizer.to_record());
        if !scheduler_first {
            scheduler.load_record(saved.1.clone());
        }
        let (rate, model) = step(model, &mut optimizer, &mut scheduler);
        (rate, model.head.weight.val().into_data())
    };
    let (rate, weights) = restored(true);
    assert_eq!(rate, config.clone().resolve(run()).unwrap().rate(7));
    assert_eq!((rate, weights), restored(false));
}

/// A `CosineAnnealingLR` created with `last_epoch` to resume computed its rates from a wrong one.
#[test]
fn pytorch_60265_a_cosine_does_not_jump_at_a_resume() {
    let config = cosine(0.1).end(1e-3).into();
    interrupted_as_uninterrupted(&config);
    let (before, after) = interrupted(&config, 2);
    let jump = (before[before.len() - 1] - after[0]).abs();
    let largest =
        expected(&config, 0..20).windows(2).map(|pair| pair[0] - pair[1]).fold(0.0, f64::max);
    assert!(jump <= largest, "{jump} at the resume, at most {largest} elsewhere");
}

/// After resuming, the rate dropped one epoch too late.
#[test]
fn lightning_4655_and_1772_a_drop_is_not_an_epoch_late_after_a_resume() {
    let config = step_decay(0.8, Span::epochs(1), 0.5).into();
    let (before, after) = interrupted(&config, 2);
    assert_eq!(before[5..], [0.4; 5]);
    assert_eq!(after, [[0.2; 5], [0.1; 5]].concat());
}

/// The state of a cosine schedule was not in the checkpoint, so it restarted.
#[test]
fn lightning_5455_a_cosine_is_restored() {
    let config: ScheduleConfig = cosine(0.1).into();
    let (_, after) = interrupted(&config, 3);
    assert_eq!(after, expected(&config, 15..20));
    assert_ne!(after[0], 0.1);
}

/// After resuming, the warm-up ran a second time.
#[test]
fn yolov5_292_a_warmup_does_not_run_again_after_a_resume() {
    let config: ScheduleConfig = linear(0.1, 0.02).warmup(Span::steps(7)).into();
    interrupted_as_uninterrupted(&config);
    let (before, after) = interrupted(&config, 1);
    assert!(before[4] < after[0] && after[0] < after[1], "in the middle of the warm-up it goes on");
    let (_, after) = interrupted(&config, 2);
    assert!(after.windows(2).all(|pair| pair[1] < pair[0]), "{after:?}");
}

/// The scheduler stepped once per update, but resumed at the number of the epoch.
#[test]
fn speculators_900_a_resume_counts_updates_as_training_does() {
    let folder = tempfile::tempdir().unwrap();
    let config: ScheduleConfig = linear(0.1, 0.01).into();
    // 5 batches, 2 per update: 3 updates per epoch.
    let run = run().gradient_accumulation(2);
    let mut rates = train(folder.path(), &config, run, None, 2, 2);
    let mut scheduler = Scheduler::new(config.clone(), run).unwrap();
    for _ in 0..6 {
        scheduler.step();
    }
    assert_eq!(SavedStep::from_record(&scheduler.to_record()).unwrap().step, 6);
    rates.extend(train(folder.path(), &config, run, Some(2), EPOCHS, 2));
    let schedule = config.resolve(run).unwrap();
    assert_eq!(schedule.length(), Some(12));
    assert_eq!(rates, (0..12).map(|step| schedule.rate(step)).collect::<Vec<_>>());
}

/// Burn's `CosineAnnealingLrScheduler` restarts from its peak after its last step.
#[test]
fn burn_5128_a_cosine_does_not_restart_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let config: ScheduleConfig = cosine(0.1).end(1e-3).into();
    let two_epochs = RunLength::from_items(ITEMS, BATCH).epochs(2);
    let rates = train(folder.path(), &config, two_epochs, None, EPOCHS, 1);
    assert_eq!(rates[0], 0.1);
    assert_eq!(rates[10..], [1e-3; 10]);
}

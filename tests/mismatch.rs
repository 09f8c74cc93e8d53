//! Resuming under another schedule: refused, extended or restarted, as chosen before launch.

use anneal_tests::{Quiet, RateRecorder, TinyModel, batches};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining};
use burn_anneal::prelude::*;
use std::path::Path;

const ITEMS: usize = 20;
const BATCH: usize = 4; // 5 updates an epoch

fn run(epochs: usize) -> RunLength {
    RunLength::from_items(ITEMS, BATCH).epochs(epochs)
}

fn schedule() -> ScheduleConfig {
    linear(0.1, 0.01).warmup(Span::steps(3)).into()
}

fn builder(config: ScheduleConfig, epochs: usize) -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(TinyModel::new(&Device::default().autodiff()))
        .optimizer(AdamWConfig::new().build())
        .schedule(config)
        .run(run(epochs))
}

fn training(folder: &Path, epochs: usize) -> SupervisedTraining<Annealed<TinyModel>> {
    SupervisedTraining::new(folder, batches(ITEMS, BATCH, 0), batches(3, 3, 0))
        .num_epochs(epochs)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((LossMetric::new(),))
}

/// A folder with a run of two epochs, saved after each.
fn trained() -> (tempfile::TempDir, SavedEpoch) {
    let folder = tempfile::tempdir().unwrap();
    training(folder.path(), 2).launch(builder(schedule(), 2).build().unwrap());
    let saved = SavedEpoch::newest(folder.path()).unwrap().unwrap();
    assert_eq!(saved.epoch(), 2);
    (folder, saved)
}

fn resumed_rates(config: ScheduleConfig, epochs: usize, choice: OnMismatch) -> Vec<f64> {
    let (folder, saved) = trained();
    let recorder = RateRecorder::default();
    let learner = builder(config, epochs).resume_from(&saved).on_mismatch(choice).build().unwrap();
    training(folder.path(), epochs)
        .checkpoint(saved.epoch())
        .metric_train(recorder.clone())
        .launch(learner);
    recorder.per_batch()
}

fn rates(config: ScheduleConfig, epochs: usize, steps: std::ops::Range<u64>) -> Vec<f64> {
    let schedule = config.resolve(run(epochs)).unwrap();
    steps.map(|step| schedule.rate(step)).collect()
}

#[test]
fn exact_refuses_and_prints_both() {
    let (_folder, saved) = trained();
    let error = builder(schedule(), 4).resume_from(&saved).build().err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("the checkpoint of epoch 2 was saved under another"), "{text}");
    assert!(text.contains("go on at step 10"), "{text}");
    assert!(text.contains("linear(0.1, 0.01).length(7).warmup(3), 10 updates"), "{text}");
    assert!(text.contains("linear(0.1, 0.01).length(17).warmup(3), 20 updates"), "{text}");
    assert!(text.contains("extend") && text.contains("restart"), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn exact_accepts_the_same_schedule_said_in_another_way() {
    let (_folder, saved) = trained();
    let same = linear(0.1, 0.01).warmup(Span::percent(30));
    assert!(builder(same.into(), 2).resume_from(&saved).build().is_ok());
}

#[test]
fn extend_keeps_the_step() {
    let rates_used = resumed_rates(schedule(), 4, OnMismatch::Extend);
    assert_eq!(rates_used, rates(schedule(), 4, 10..20));
}

#[test]
fn restart_begins_the_new_schedule() {
    let new: ScheduleConfig = cosine(0.05).into();
    let rates_used = resumed_rates(new.clone(), 4, OnMismatch::Restart);
    assert_eq!(rates_used, rates(new, 4, 0..10));
}

#[test]
fn on_burns_own_path_the_saved_step_is_kept() {
    let (folder, saved) = trained();
    let recorder = RateRecorder::default();
    // No builder, so nothing can refuse; the warm-up must still not run twice.
    let learner = builder(schedule(), 4).build().unwrap();
    training(folder.path(), 4)
        .checkpoint(saved.epoch())
        .metric_train(recorder.clone())
        .launch(learner);
    assert_eq!(recorder.per_batch(), rates(schedule(), 4, 10..20));
}

#[test]
fn a_checkpoint_of_burns_scheduler_has_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let learner =
        Learner::new(TinyModel::new(&Device::default().autodiff()), SgdConfig::new().init(), 0.1);
    SupervisedTraining::new(folder.path(), batches(ITEMS, BATCH, 0), batches(3, 3, 0))
        .num_epochs(1)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((LossMetric::new(),))
        .launch(learner);
    let saved = SavedEpoch::newest(folder.path()).unwrap().unwrap();
    let error = builder(schedule(), 2).resume_from(&saved).build().err().unwrap();
    let foreign = BuildError::Checkpoint(CheckpointError::ForeignScheduler {
        path: folder.path().join("checkpoint/scheduler-1.bpk"),
    });
    assert_eq!(error.to_string(), foreign.to_string());
    let restart = builder(schedule(), 2).resume_from(&saved).on_mismatch(OnMismatch::Restart);
    assert!(restart.build().is_ok());
}

#[test]
fn the_newest_whole_epoch_is_found_past_a_truncated_one() {
    let (folder, _) = trained();
    // The scheduler's record ends in padding, so its last byte says nothing.
    for (name, last) in [("model-2.bpk", 1), ("optim-2.bpk", 1), ("scheduler-2.bpk", 256)] {
        let path = folder.path().join("checkpoint").join(name);
        let whole = std::fs::read(&path).unwrap();
        for kept in [whole.len() - last, whole.len() / 2, 3, 0] {
            std::fs::write(&path, &whole[..kept]).unwrap();
            let saved = SavedEpoch::newest(folder.path()).unwrap().unwrap();
            assert_eq!(saved.epoch(), 1, "{name} cut to {kept} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(SavedEpoch::newest(folder.path()).unwrap().unwrap().epoch(), 1, "no {name}");
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(SavedEpoch::newest(folder.path()).unwrap().unwrap().epoch(), 2);
}

#[test]
fn a_checkpoint_of_another_optimizer_is_refused_before_training() {
    let (_folder, saved) = trained();
    let momentum = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build();
    let builder = builder(schedule(), 2).resume_from(&saved).optimizer(momentum);
    let error = builder.build().err().unwrap().to_string();
    assert!(error.contains("optim-2.bpk") && error.contains("another optimizer"), "{error}");
}

#[test]
fn a_checkpoint_of_another_model_is_refused_before_training() {
    let (_folder, saved) = trained();
    let device = Device::default().autodiff();
    let mut other = TinyModel::new(&device);
    other.head = burn::nn::LinearConfig::new(5, 4).init(&device);
    let error = LearnerBuilder::new(other)
        .optimizer(AdamWConfig::new().build())
        .schedule(schedule())
        .run(run(2))
        .resume_from(&saved)
        .build()
        .err()
        .unwrap();
    assert!(error.to_string().contains("model-2.bpk"), "{error}");
}

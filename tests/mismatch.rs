//! Resuming under another schedule: refused, extended or restarted, as chosen before launch.

use anneal_tests::{Quiet, RateRecorder, TinyModel, batches};
use burn::module::Module;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer, Optimizer, SgdConfig};
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{Interrupter, Learner, SupervisedTraining};
use burn_anneal::prelude::*;
use std::path::Path;

const ITEMS: usize = 20;
const BATCH: usize = 4; // 5 updates per epoch

fn run(epochs: usize) -> RunLength {
    RunLength::from_items(ITEMS, BATCH).epochs(epochs)
}

fn schedule() -> ScheduleConfig {
    linear(0.1, 0.01).warmup(Span::steps(3)).into()
}

fn builder(config: ScheduleConfig, epochs: usize) -> LearnerBuilder<TinyModel> {
    builder_with(AdamWConfig::new().build(), config, epochs)
}

fn builder_with(
    optimizer: impl Optimizer,
    config: ScheduleConfig,
    epochs: usize,
) -> LearnerBuilder<TinyModel> {
    let model = TinyModel::new(&Device::default().autodiff());
    LearnerBuilder::new(model, optimizer, config).run(run(epochs))
}

fn build(builder: LearnerBuilder<TinyModel>) -> Result<Learner<Annealed<TinyModel>>, BuildError> {
    builder.build(Interrupter::new())
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
fn trained() -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let training = training(folder.path(), 2);
    let learner = builder(schedule(), 2).build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    assert_eq!(saved.epoch(), 2);
    (folder, saved)
}

fn resumed_rates(config: ScheduleConfig, epochs: usize, choice: OnMismatch) -> Vec<f64> {
    let (folder, saved) = trained();
    let recorder = RateRecorder::default();
    let builder = builder(config, epochs).resume_from(&saved).on_mismatch(choice);
    let training =
        training(folder.path(), epochs).checkpoint(saved.epoch()).metric_train(recorder.clone());
    let learner = builder.build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    recorder.per_batch()
}

fn rates(config: ScheduleConfig, epochs: usize, steps: std::ops::Range<u64>) -> Vec<f64> {
    let schedule = config.resolve(run(epochs)).unwrap();
    steps.map(|step| schedule.rate(step)).collect()
}

#[test]
fn refuse_is_the_default_and_prints_both() {
    let (_folder, saved) = trained();
    let error = build(builder(schedule(), 4).resume_from(&saved)).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("the checkpoint of epoch 2 was saved under another"), "{text}");
    assert!(text.contains("continue at step 10"), "{text}");
    assert!(text.contains("linear(0.1, 0.01).length(7).warmup(3), 10 updates"), "{text}");
    assert!(text.contains("linear(0.1, 0.01).length(17).warmup(3), 20 updates"), "{text}");
    assert!(
        text.contains("OnMismatch::KeepStep") && text.contains("OnMismatch::Restart"),
        "{text}"
    );
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn refuse_accepts_the_same_schedule_said_in_another_way() {
    let (_folder, saved) = trained();
    let same = linear(0.1, 0.01).warmup(Span::percent(30));
    assert!(build(builder(same.into(), 2).resume_from(&saved)).is_ok());
}

#[test]
fn keep_step_goes_on_under_the_new_schedule() {
    let rates_used = resumed_rates(schedule(), 4, OnMismatch::KeepStep);
    assert_eq!(rates_used, rates(schedule(), 4, 10..20));
}

/// Ten of the twenty updates are left.
#[test]
fn restart_begins_the_new_schedule_and_reaches_its_end() {
    let new: ScheduleConfig = linear(0.05, 0.0).warmup(Span::percent(20)).into();
    let rates_used = resumed_rates(new.clone(), 4, OnMismatch::Restart);
    assert_eq!(rates_used, rates(new, 2, 0..10));
}

/// Resumes after an epoch that the builder does not know, so that only Burn loads it; returns the error, the model and
/// the rates.
fn resumed_by_burn(
    folder: &Path,
    epoch: usize,
    builder: LearnerBuilder<TinyModel>,
) -> (Option<String>, Annealed<TinyModel>, Vec<f64>) {
    let recorder = RateRecorder::default();
    let training = training(folder, 4).checkpoint(epoch).metric_train(recorder.clone());
    let learner = builder.build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    (result.error.map(|error| error.to_string()), result.model, recorder.per_batch())
}

#[test]
fn on_burns_own_path_another_schedule_stops_the_run() {
    let (folder, _) = trained();
    let file = folder.path().join("checkpoint/model-2.bpk");
    let saved = TinyModel::new(&Device::default()).load_file(file).head.weight.val().into_data();
    for choice in [OnMismatch::Refuse, OnMismatch::KeepStep, OnMismatch::Restart] {
        let builder = builder(schedule(), 4).on_mismatch(choice);
        let (error, model, _) = resumed_by_burn(folder.path(), 2, builder);
        let (error, failure) = (error.unwrap(), model.failure().unwrap());
        assert!(matches!(*failure, UpdateError::Record { .. }), "{failure}");
        assert!(error.ends_with(&failure.to_string()), "{error}");
        for words in ["under another schedule", "resume_from", "on_mismatch"] {
            assert!(error.contains(words), "no `{words}` in {error}");
        }
        assert_eq!(model.inner().head.weight.val().into_data(), saved);
    }
}

/// Half of a resume: the builder names a checkpoint, but the training names none, or another epoch.
#[test]
fn what_only_one_of_two_is_told_stops_the_run_at_its_first_update() {
    let (folder, saved) = trained();
    let other = Checkpoint::open(folder.path(), 1).unwrap();
    for (named, loaded, words) in [
        (&saved, None, "call SupervisedTraining::checkpoint(2) too"),
        (&other, Some(2), "names a checkpoint of step 5, but the training loads one of step 10"),
    ] {
        let training = training(folder.path(), 4);
        let training = match loaded {
            Some(epoch) => training.checkpoint(epoch),
            None => training,
        };
        let builder = builder(schedule(), 4).resume_from(named).on_mismatch(OnMismatch::KeepStep);
        let learner = builder.build(training.interrupter()).unwrap();
        let result = training.launch(learner);
        let error = result.error.unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// The warm-up must not run twice.
#[test]
fn on_burns_own_path_the_saved_step_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    training(folder.path(), 1).launch(build(builder(schedule(), 4)).unwrap());
    let (error, _, rates_used) = resumed_by_burn(folder.path(), 1, builder(schedule(), 4));
    assert_eq!(error, None);
    assert_eq!(rates_used, rates(schedule(), 4, 5..20));
}

/// A folder with an epoch of Burn's own learner and scheduler.
fn trained_by_burn(optimizer: ModuleOptimizer) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let learner = Learner::new(TinyModel::new(&Device::default().autodiff()), optimizer, 0.1);
    SupervisedTraining::new(folder.path(), batches(ITEMS, BATCH, 0), batches(3, 3, 0))
        .num_epochs(1)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((LossMetric::new(),))
        .launch(learner);
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    (folder, saved)
}

#[test]
fn a_checkpoint_of_burns_scheduler_has_no_step() {
    let (folder, saved) = trained_by_burn(SgdConfig::new().init());
    let error = build(builder(schedule(), 2).resume_from(&saved)).err().unwrap();
    let foreign = BuildError::Checkpoint(CheckpointError::ForeignScheduler {
        path: folder.path().join("checkpoint/scheduler-1.bpk"),
    });
    assert_eq!(error.to_string(), foreign.to_string());
    let restart = builder(schedule(), 2).resume_from(&saved).on_mismatch(OnMismatch::Restart);
    assert!(build(restart).is_ok());
}

#[test]
fn the_newest_whole_epoch_is_found_past_a_truncated_one() {
    let (folder, _) = trained();
    // The scheduler's record ends with padding, so its last byte does not matter.
    for (name, last) in [("model-2.bpk", 1), ("optim-2.bpk", 1), ("scheduler-2.bpk", 256)] {
        let path = folder.path().join("checkpoint").join(name);
        let whole = std::fs::read(&path).unwrap();
        for kept in [whole.len() - last, whole.len() / 2, 3, 0] {
            std::fs::write(&path, &whole[..kept]).unwrap();
            let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
            assert_eq!(saved.epoch(), 1, "{name} cut to {kept} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Checkpoint::newest(folder.path()).unwrap().unwrap().epoch(), 1, "no {name}");
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(Checkpoint::newest(folder.path()).unwrap().unwrap().epoch(), 2);
}

#[test]
fn a_checkpoint_of_another_optimizer_is_refused_before_training() {
    let with_momentum = || SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build();
    let (_folder, saved) = trained();
    let builder = builder_with(with_momentum(), schedule(), 2).resume_from(&saved);
    let error = build(builder).err().unwrap();
    let text = error.to_string();
    let BuildError::Checkpoint(CheckpointError::DifferentOptimizer { checkpoint, saved, now }) =
        error
    else {
        panic!("{text}")
    };
    let (adamw, sgd) = ("AdamW; tensors of state: 2", "Sgd; tensors of state: 1");
    assert_eq!((checkpoint.epoch(), saved.as_str(), now.as_str()), (2, adamw, sgd));
    assert!(text.starts_with("the checkpoint of epoch 2 was trained with"), "{text}");

    // Plain SGD has no state to lose, and SGD with momentum is another optimizer.
    for (before, after) in [(false, true), (true, false)] {
        let folder = tempfile::tempdir().unwrap();
        let sgd = |momentum| if momentum { with_momentum() } else { SgdConfig::new().build() };
        let training = |from: Option<&Checkpoint>, momentum| {
            let builder = builder_with(sgd(momentum), schedule(), 2);
            match from {
                Some(saved) => builder.resume_from(saved).build_loop(),
                None => builder.build_loop(),
            }
        };
        training(None, before).unwrap().save(folder.path(), 1).unwrap();
        let saved = Checkpoint::open(folder.path(), 1).unwrap();
        assert!(training(Some(&saved), before).is_ok());
        let error = training(Some(&saved), after).err().unwrap().to_string();
        assert!(error.contains("Sgd; tensors of state: "), "{error}");
    }

    // A record without its optimizer's name, whose state would be lost.
    let (_folder, saved) = trained_by_burn(AdamWConfig::new().init());
    let builder = builder_with(with_momentum(), schedule(), 2).resume_from(&saved);
    let error = build(builder.on_mismatch(OnMismatch::Restart)).err().unwrap().to_string();
    assert!(error.contains("optim-1.bpk") && error.contains("another optimizer"), "{error}");
}

#[test]
fn a_checkpoint_of_another_model_is_refused_before_training() {
    let (_folder, saved) = trained();
    let device = Device::default().autodiff();
    let mut other = TinyModel::new(&device);
    other.head = burn::nn::LinearConfig::new(5, 4).init(&device);
    let adamw = AdamWConfig::new().build();
    let builder = LearnerBuilder::new(other, adamw, schedule()).run(run(2)).resume_from(&saved);
    let error = build(builder).err().unwrap();
    assert!(error.to_string().contains("model-2.bpk"), "{error}");
}

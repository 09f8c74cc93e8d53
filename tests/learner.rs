//! The builder: a wrapper without visible traces, and errors before training.

use anneal_tests::{FEATURES, Quiet, TinyModel, batches, points};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, Interrupter, Learner, MultiDeviceOptim, SupervisedTraining};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

fn run() -> RunLength {
    RunLength::from_items(12, 4).epochs(2)
}

fn builder_of(schedule: impl Into<ScheduleConfig>, run: RunLength) -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(TinyModel::new(&device()), SgdConfig::new().build(), schedule).run(run)
}

fn builder() -> LearnerBuilder<TinyModel> {
    builder_of(constant(0.1), run())
}

fn build(builder: LearnerBuilder<TinyModel>) -> Result<Learner<Annealed<TinyModel>>, BuildError> {
    builder.build(Interrupter::new())
}

#[derive(Default)]
struct Paths {
    stack: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.found.push(self.stack.join("."));
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.pop();
    }
}

fn paths(module: &impl Module) -> Vec<String> {
    let mut paths = Paths::default();
    module.visit(&mut paths);
    paths.found
}

fn logits(model: &TinyModel) -> Vec<f32> {
    let items: Vec<usize> = (0..FEATURES).collect();
    let output = model.forward(points(&items, &model.devices()[0])).output;
    output.into_data().iter::<f32>().collect()
}

#[test]
fn parameter_paths_have_no_prefix() {
    let annealed = build(builder()).unwrap().model();
    assert_eq!(paths(&annealed), paths(annealed.inner()));
    assert_eq!(paths(&annealed)[0], "hidden.weight");
}

#[test]
fn checkpoints_load_into_the_bare_model_and_back() {
    let annealed = build(builder()).unwrap().model();
    let expected = logits(annealed.inner());
    let bytes = annealed.into_record().into_bytes().unwrap();
    let record = || burn::store::ModuleRecord::from_bytes(bytes.clone()).unwrap();
    let bare = TinyModel::new(&device()).load_record(record());
    assert_eq!(logits(&bare), expected);

    let back = bare.into_record();
    let again = build(builder()).unwrap().model().load_record(back);
    assert_eq!(logits(again.inner()), expected);
}

#[test]
fn the_bare_model_comes_back_trained_and_equals_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let learner = build(builder().clip_global_norm(1.0)).unwrap();
    let before = logits(learner.model().inner());
    let result = SupervisedTraining::new(folder.path(), batches(12, 4, 0), batches(3, 3, 0))
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((LossMetric::new(),))
        .launch(learner);
    let model: TinyModel = result.model.into_inner();
    assert_ne!(logits(&model), before);
    let file = folder.path().join("checkpoint/model-2.bpk");
    let loaded = TinyModel::new(&Device::default()).load_file(file);
    assert_eq!(logits(&loaded), logits(&model));
}

#[test]
fn it_prints_as_the_users_model() {
    let annealed = build(builder()).unwrap().model();
    assert_eq!(annealed.to_string(), annealed.inner().to_string());
    assert_eq!(annealed.num_params(), annealed.inner().num_params());
}

#[test]
fn each_wrong_part_is_named() {
    let error = |builder: LearnerBuilder<TinyModel>| build(builder).err().unwrap().to_string();
    let empty = RunLength::from_items(12, 0);
    assert!(error(builder_of(constant(0.1), empty)).starts_with("run.batch_size: 0"));
    assert!(error(builder_of(cosine(0.0), run())).starts_with("cosine.peak: 0.0"));
    let long = cosine(0.1).warmup(Span::epochs(3));
    // A warm-up leaves an update.
    assert!(error(builder_of(long, run())).contains("at most 5 updates"));
    for max_norm in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(error(builder().clip_global_norm(max_norm)).starts_with("clip_global_norm"));
    }
    let plain = TinyModel::new(&Device::default());
    let sgd = SgdConfig::new().build();
    let plain = LearnerBuilder::new(plain, sgd, constant(0.1)).run(RunLength::updates(1));
    assert!(error(plain).contains("device.autodiff()"));
}

/// How a run ends in Burn's own loop.
fn by_burns_loop(
    run: RunLength,
    items: usize,
    batch_size: usize,
    epochs: usize,
    ask: impl FnOnce(SupervisedTraining<Annealed<TinyModel>>) -> SupervisedTraining<Annealed<TinyModel>>,
) -> (Option<String>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let training =
        SupervisedTraining::new(folder.path(), batches(items, batch_size, 0), batches(3, 3, 0))
            .num_epochs(epochs)
            .renderer(Box::new(Quiet))
            .with_application_logger(None);
    let training = ask(training);
    let learner = builder_of(linear(0.1, 0.0), run).build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    (result.error.map(|error| error.to_string()), result.model.explain().step)
}

/// The first update or epoch that does not match the run ends it.
#[test]
fn burns_loop_is_held_to_the_run_with_both_numbers_and_the_way_out() {
    let two = || ExecutionStrategy::multi(vec![device(); 2], MultiDeviceOptim::OptimMainDevice);
    let run = || RunLength::from_items(20, 2).epochs(3);
    // The training accumulates and the run does not; vice versa; another number of devices.
    let accumulated = by_burns_loop(run(), 20, 2, 3, |training| training.grads_accumulation(4));
    let planned = by_burns_loop(run().gradient_accumulation(4), 20, 2, 3, |training| training);
    let alone = by_burns_loop(run().devices(2), 20, 2, 3, |training| training);
    let joined = by_burns_loop(run(), 20, 2, 3, |t| t.with_training_strategy(two().into()));
    for ((error, step), found, expected) in
        [(accumulated, 4, 1), (planned, 1, 4), (alone, 1, 2), (joined, 2, 1)]
    {
        let error = error.unwrap();
        let words =
            format!("update 0 has {found} batches, but the run states {expected}; give RunLength");
        assert!(error.contains(&words) && error.contains("launch"), "{error}");
        assert_eq!(step, 1, "no update was made after it");
    }
    // Another batch size, or other data: an epoch shows it.
    for (items, batch_size, found) in [(20, 4, 5), (24, 2, 12)] {
        let (error, _) = by_burns_loop(run(), items, batch_size, 3, |training| training);
        let error = error.unwrap();
        let words = format!("epoch 1 has {found} updates, but the run states 10; give RunLength");
        assert!(error.contains(&words), "{error}");
    }
    // With a length in updates, an update has one batch by default.
    for run in [RunLength::updates(30), RunLength::updates_per_epoch(10).epochs(3)] {
        let (error, _) = by_burns_loop(run, 20, 2, 3, |training| training.grads_accumulation(4));
        assert!(error.unwrap().contains("update 0 has 4 batches, but the run states 1"), "{run:?}");
    }
    for run in [RunLength::updates(9), RunLength::updates_per_epoch(3).epochs(3)] {
        let run = run.gradient_accumulation(4);
        let (error, step) = by_burns_loop(run, 20, 2, 3, |training| training.grads_accumulation(4));
        assert_eq!((error, step), (None, 9), "{run:?}");
    }
    let run = run().gradient_accumulation(3).devices(2);
    let (error, step) = by_burns_loop(run, 20, 2, 3, |training| {
        training.grads_accumulation(3).with_training_strategy(two().into())
    });
    assert_eq!((error, step), (None, 6));
}

/// For the next test, which checks the output of this one.
#[test]
#[ignore = "run by another test"]
fn trains_more_epochs_than_the_run_has() {
    let (error, step) =
        by_burns_loop(RunLength::from_items(20, 2).epochs(1), 20, 2, 3, |training| training);
    assert_eq!((error, step), (None, 30));
}

#[test]
fn progress_beyond_the_run_is_said_on_stderr_once() {
    let arguments = ["--ignored", "--exact", "trains_more_epochs_than_the_run_has", "--nocapture"];
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let words =
        "training continues after the last update of linear(0.1, 0.0).length(10), 10 updates";
    assert_eq!(said.matches(words).count(), 1, "{said}");
}

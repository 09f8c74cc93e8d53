//! `launch`: the same weights as Burn's own loops, the run length stated once, and runs that resume as if never
//! interrupted.

mod after;
mod epochs;
mod inputs;
mod resume;

use anneal_tests::{
    Points, Quiet, RateRecorder, TinyModel, batches, flat, points, seeded, shuffled,
};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::{Device, TensorReadError};
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn::train::metric::{
    AccuracyMetric, LossMetric, Metric, MetricMetadata, MetricName, SerializedEntry,
};
use burn::train::{
    ExecutionStrategy, Interrupter, Learner, LearningResult, MetricEarlyStoppingStrategy,
    MultiDeviceOptim, StoppingCondition, SupervisedTraining,
};
use burn_anneal::control::{Answer, Controller, Event, MetricOf, Needs, OutOfRange, Stop};
use burn_anneal::groups::Group;
use burn_anneal::prelude::*;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

type Loader = Arc<dyn DataLoader<Points>>;

fn device() -> Device {
    Device::default().autodiff()
}

fn model() -> TinyModel {
    TinyModel::seeded(7, &device())
}

fn schedule() -> ScheduleConfig {
    cosine(0.05).warmup(Span::percent(20.0)).into()
}

fn builder() -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(model(), AdamWConfig::new().with_weight_decay(0.0).build(), schedule())
}

fn training(folder: &Path, train: Loader, epochs: usize) -> SupervisedTraining<TinyModel> {
    SupervisedTraining::new(folder, train, batches(6, 3, 0))
        .num_epochs(epochs)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(), AccuracyMetric::new()))
}

fn two_devices() -> ExecutionStrategy {
    ExecutionStrategy::multi(vec![device(); 2], MultiDeviceOptim::OptimMainDevice)
}

fn launched(
    builder: LearnerBuilder<TinyModel>,
    training: SupervisedTraining<TinyModel>,
) -> LearningResult<TinyModel> {
    let result = builder.launch(training).unwrap();
    assert!(result.error.is_none(), "{:?}", result.error);
    result
}

fn refused(builder: LearnerBuilder<TinyModel>, training: SupervisedTraining<TinyModel>) -> String {
    match builder.launch(training) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was launched"),
    }
}

/// Burn's own loop with the same optimizer and schedule.
fn by_burn(train: Loader, items: usize, accumulation: usize, devices: usize) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let run = RunLength::from_items(items, 6).epochs(3).devices(devices);
    let run = run.gradient_accumulation(accumulation);
    let training = training(folder.path(), train, 3);
    let training =
        if accumulation > 1 { training.grads_accumulation(accumulation) } else { training };
    let training = match devices {
        1 => training,
        _ => training.with_training_strategy(two_devices().into()),
    };
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    let result =
        training.launch(Learner::new(model(), optimizer, Scheduler::new(schedule(), run).unwrap()));
    assert!(result.error.is_none(), "{:?}", result.error);
    flat(&result.model)
}

/// Bit for bit; except that with accumulation on two devices, Burn adds in the order in which they finish, which
/// varies: sums of at most 48 terms, a few roundings of 6·10⁻⁸.
#[test]
fn weights_are_those_of_burns_loops() {
    type Make = fn(usize) -> Loader;
    let loaders: [(&str, Make); 2] =
        [("in order", |items| batches(items, 6, 0)), ("seeded", |items| seeded(items, 6, 3))];
    for (name, make) in loaders {
        for (items, accumulation) in [(60, 1), (58, 1), (60, 3), (61, 4)] {
            for devices in [1, 2] {
                let what = format!("{name}, {items} items by {accumulation} on {devices}");
                let folder = tempfile::tempdir().unwrap();
                let training = training(folder.path(), make(items), 3);
                let training = training.grads_accumulation(accumulation);
                let builder = match devices {
                    1 => builder(),
                    _ => builder().execution(two_devices()),
                };
                let found = flat(&launched(builder, training).model);
                let expected = by_burn(make(items), items, accumulation, devices);
                let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                let most = if devices > 1 && accumulation > 1 { 1e-6 } else { 0.0 };
                assert!(apart.fold(0.0, f32::max) <= most, "{what}");
                assert_ne!(found, flat(&model()), "{what}");
            }
        }
    }
}

/// A loader that Burn shuffles gives the same batches as in Burn's loop.
#[test]
fn a_shuffle_of_burns_is_the_one_of_its_loop() {
    let folder = tempfile::tempdir().unwrap();
    let found = launched(builder(), training(folder.path(), shuffled(60, 6), 3)).model;
    assert_eq!(flat(&found), by_burn(shuffled(60, 6), 60, 1, 1));
    assert_ne!(flat(&found), by_burn(batches(60, 6, 0), 60, 1, 1));
}

/// The length of the run comes from the training, and is compared if given.
#[test]
fn every_contradiction_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let training = || training(folder.path(), batches(60, 6, 0), 3);
    let run = RunLength::from_items(60, 6).epochs(3);
    launched(builder().run(run), training());
    launched(builder().run(RunLength::updates(30)), training());
    let error = refused(builder().run(RunLength::of_training().after(5)), training());
    assert!(error.starts_with("run.after: 5"), "{error}");
    for (run, words) in [
        (RunLength::from_items(60, 6).epochs(4), "epochs: the run says 4, but the training has 3"),
        (RunLength::from_items(60, 12), "batch size: the run says 12, but the training has 6"),
        (RunLength::from_items(50, 6), "items: the run says 50, but the training has 60"),
        (RunLength::updates(40), "updates: the run says 40, but the training has 30"),
        (
            RunLength::updates_per_epoch(9),
            "updates per epoch: the run says 9, but the training has 10",
        ),
        (run.devices(2), "devices: the run says 2, but the training has 1"),
    ] {
        let error = refused(builder().run(run), training());
        assert!(error.starts_with(words), "{error}");
    }
    let accumulated = training().grads_accumulation(4);
    let error = refused(builder().run(run.gradient_accumulation(2)), accumulated);
    assert!(
        error.starts_with("gradient accumulation: the run says 2, but the training has 4"),
        "{error}"
    );
    let error = refused(builder(), training().num_epochs(0));
    assert!(error.contains("num_epochs is 0"), "{error}");
    let empty = SupervisedTraining::new(folder.path(), batches(0, 6, 0), batches(3, 3, 0));
    let error = refused(builder(), empty.renderer(Box::new(Quiet)).with_application_logger(None));
    assert!(error.contains("no items"), "{error}");
}

/// Threads may give the short batch of an epoch at any time.
#[test]
fn the_batch_size_is_that_of_the_loader_whichever_batch_comes_first() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let recorder = RateRecorder::default();
        let training = training(folder.path(), batches(13, 6, 3), 2).metric_train(recorder.clone());
        launched(builder(), training);
        let schedule = schedule().resolve(RunLength::updates(6)).unwrap();
        let expected: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
        assert_eq!(recorder.per_batch(), expected);
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let training = || training(folder.path(), batches(60, 6, 0), 3);
    let sharded = ExecutionStrategy::multi(vec![device(); 2], MultiDeviceOptim::OptimSharded);
    let none = ExecutionStrategy::multi(vec![], MultiDeviceOptim::OptimMainDevice);
    let checkpoints = || Checkpoints::new(folder.path());
    for (builder, words) in [
        (builder().execution(sharded), "train with MultiDeviceOptim::OptimMainDevice"),
        (builder().execution(none), "without devices"),
        (builder().resume(Newest), "call LearnerBuilder::checkpoints"),
        (builder().checkpoints(checkpoints().every_updates(0)), "every_updates: 0"),
        (builder().checkpoints(checkpoints().every_minutes(f64::NAN)), "every_minutes: NaN"),
        (builder().checkpoints(checkpoints().every_updates(3)), "SeededLoader"),
    ] {
        let error = refused(builder, training());
        assert!(error.contains(words), "{error}");
    }
    // Parts for launch only are refused elsewhere.
    let run = RunLength::from_items(60, 6).epochs(3);
    for (builder, part) in [
        (builder().checkpoints(checkpoints()), "checkpoints"),
        (builder().checkpoints(checkpoints()).resume(Newest), "resume"),
        (builder().execution(two_devices()), "execution"),
        (builder().metrics([RunMetrics::Rates]), "metrics"),
    ] {
        let error = builder.run(run).build(Interrupter::new()).err().unwrap().to_string();
        assert!(error.starts_with(part) && error.contains("launch"), "{error}");
    }
    let error = builder().build(Interrupter::new()).err().unwrap();
    assert!(matches!(error, BuildError::NoRun), "{error}");
    let ramp = run.gradient_accumulation_ramp(1, 9);
    let error = builder().run(ramp).build(Interrupter::new()).err().unwrap().to_string();
    assert!(error.starts_with("gradient_accumulation_ramp"), "{error}");
}

/// The batches of an update follow the run: k batches equal one batch with their mean.
#[test]
fn accumulation_follows_a_ramp() {
    let run = RunLength::of_training().gradient_accumulation(4);
    let steps = [(0, 6), (6, 12), (18, 18), (36, 24)].map(|(at, size)| (Span::samples(at), size));
    for run in [run.gradient_accumulation_ramp(1, 3), run.batch_size_steps(&steps)] {
        follows_a_ramp(run);
    }
}

fn follows_a_ramp(run: RunLength) {
    let folder = tempfile::tempdir().unwrap();
    let rates = RateRecorder::default();
    let training = training(folder.path(), batches(60, 6, 0), 2).metric_train(rates.clone());
    let sgd = SgdConfig::new().build();
    let builder =
        LearnerBuilder::new(model(), sgd, linear(0.1, 0.0).length(Span::epochs(2))).run(run);
    let found =
        flat(&launched(builder.gradient_reduction(GradientReduction::Mean), training).model);
    // 1, 2, 3 and 4 batches, then 4, 4 and 2.
    let schedule = linear(0.1, 0.0).resolve(RunLength::updates(7)).unwrap();
    let mut by_hand = LearnerBuilder::new(model(), SgdConfig::new().build(), linear(0.1, 0.0))
        .run(RunLength::updates(7))
        .build_loop()
        .unwrap();
    let batch =
        |first: usize, count: usize| -> Vec<usize> { (6 * first..6 * (first + count)).collect() };
    let mut expected_rates = vec![];
    for (update, (first, count, full)) in
        [(0, 1, 1), (1, 2, 2), (3, 3, 3), (6, 4, 4), (0, 4, 4), (4, 4, 4), (8, 2, 4)]
            .into_iter()
            .enumerate()
    {
        by_hand.pass(|model| {
            let output = model.forward(points(&batch(first, count), &device()));
            // A mean over all batches that fit an update.
            let loss = output.loss.clone() * (count as f64 / full as f64);
            burn::train::TrainOutput::new(model, loss.clone().backward(), loss)
        });
        by_hand.update().unwrap();
        expected_rates.push(schedule.rate(update as u64));
    }
    let far =
        found.iter().zip(flat(by_hand.model())).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Sums of at most 24 terms in another order.
    assert!(far < 1e-6, "{far:e} apart");
    assert_eq!(rates.per_update(), expected_rates);
}

#[test]
fn two_devices_give_the_same_bits_in_each_run() {
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let training = training(folder.path(), seeded(62, 5, 1), 3).grads_accumulation(2);
        let builder = builder()
            .execution(two_devices())
            .gradient_reduction(GradientReduction::Mean)
            .loss_scaling(LossScaling::new().scale(64.0))
            .overflow_cap(OverflowCap::measured_every(2))
            .repeat_batches();
        flat(&launched(builder, training).model)
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

/// Stops a run before an update, and remembers what it hears.
#[derive(Clone)]
struct Hears {
    stop: Option<(u64, Interrupter)>,
    /// The validation losses of epochs, and the updates since the last one.
    state: (Vec<f64>, u64),
    heard: Arc<Mutex<Vec<f64>>>,
}

impl fmt::Debug for Hears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.state)
    }
}

impl Hears {
    fn new(stop: Option<(u64, Interrupter)>) -> Self {
        Self { stop, state: (vec![], 0), heard: Arc::default() }
    }
}

impl Controller for Hears {
    type State = (Vec<f64>, u64);

    fn needs(&self) -> Needs {
        Needs { loss: true, ..Needs::default() }
    }

    fn metrics(&self) -> Vec<MetricOf> {
        vec![MetricOf::valid("Loss")]
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        match event {
            Event::Update(seen) => {
                self.state.1 += 1;
                if let Some((_, interrupter)) =
                    self.stop.as_ref().filter(|(at, _)| *at == seen.number)
                {
                    interrupter.stop(Some("enough"));
                }
                // Its reaction to the last epoch affects the weights.
                Ok(Answer::factor(self.state.0.last().map_or(1.0, |loss| 1.0 / (1.0 + loss))))
            }
            Event::Epoch(seen) => {
                let loss = seen.metrics.get(&MetricOf::valid("Loss")).unwrap();
                self.state.0.push(loss);
                self.state.1 = 0;
                self.heard.lock().unwrap().push(loss);
                Ok(Answer::default())
            }
            _ => Ok(Answer::default()),
        }
    }

    fn state(&self) -> Self::State {
        self.state.clone()
    }

    fn restore(&mut self, state: Self::State) -> Result<(), OutOfRange> {
        self.state = state;
        Ok(())
    }
}

/// A builder with everything that has state.
fn everything(stop: Option<(u64, Interrupter)>) -> LearnerBuilder<TinyModel> {
    builder()
        .groups(layer_decay(0.5).unfreeze_every(Span::percent(40.0)).weight_decay(0.01))
        .clip_global_norm(1.0)
        .loss_scaling(LossScaling::new().scale(64.0).growth_interval(4))
        .controller("hears", Hears::new(stop))
}

/// Runs that are stopped at any update and resumed from their newest checkpoint end with the same bits, even if stopped
/// twice.
#[test]
fn a_run_goes_on_from_any_update_as_if_nothing_had_happened() {
    for (accumulation, devices) in [(1, 1), (3, 1), (2, 2)] {
        let execution = |builder: LearnerBuilder<TinyModel>| match devices {
            1 => builder,
            _ => builder.execution(two_devices()),
        };
        let make =
            |folder: &Path| training(folder, seeded(58, 6, 5), 3).grads_accumulation(accumulation);
        let folder = tempfile::tempdir().unwrap();
        let whole = launched(execution(everything(None)), make(folder.path()));
        let whole = flat(&whole.model);
        let updates = 3 * RunLength::from_items(58, 6)
            .gradient_accumulation(accumulation)
            .devices(devices)
            .resolve()
            .unwrap()
            .updates()
            .unwrap();
        for stop in 0..updates {
            let what = format!("stopped at {stop}, by {accumulation} on {devices}");
            let folder = tempfile::tempdir().unwrap();
            let checkpoints = || Checkpoints::new(folder.path()).every_updates(2);
            // Twice: again two updates later.
            for stop in [stop, stop + 2] {
                let training = make(folder.path());
                let stop = Some((stop, training.interrupter()));
                let builder = execution(everything(stop)).checkpoints(checkpoints());
                launched(builder.resume(Newest), training);
            }
            let builder = execution(everything(None)).checkpoints(checkpoints());
            let result = launched(builder.resume(Newest), make(folder.path()));
            assert_eq!(flat(&result.model), whole, "{what}");
        }
    }
}

/// Stops a run after this many batches, like a user.
#[derive(Clone)]
struct StopsAfter {
    batches: usize,
    seen: Arc<Mutex<usize>>,
    interrupter: Interrupter,
}

impl StopsAfter {
    fn new(batches: usize, interrupter: Interrupter) -> Self {
        Self { batches, seen: Arc::default(), interrupter }
    }
}

impl Metric for StopsAfter {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Stops".to_string())
    }

    fn update(&mut self, _: &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let mut seen = self.seen.lock().unwrap();
        *seen += 1;
        if *seen == self.batches {
            self.interrupter.stop(None);
        }
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

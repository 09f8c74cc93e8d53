//! Running statistics of averages: copied, averaged, or recomputed.

use super::*;
use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::{FloatDType, Tensor};

/// A layer, a batch norm, and a head.
#[derive(Module, Debug)]
struct Normed {
    first: Linear,
    norm: BatchNorm,
    head: Linear,
}

impl Normed {
    fn new() -> Self {
        let TinyModel { hidden, head } = model();
        Self { first: hidden, norm: BatchNormConfig::new(5).init(&device()), head }
    }

    fn forward(&self, points: Points) -> ClassificationOutput {
        let features = points.features.cast(self.first.weight.val().dtype());
        let hidden = self.norm.forward(self.first.forward(features));
        let output = self.head.forward(hidden).cast(FloatDType::F32);
        let loss = burn::nn::loss::CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), points.targets.clone());
        ClassificationOutput { loss, output, targets: points.targets }
    }

    fn statistics(&self) -> [Vec<f32>; 2] {
        [&self.norm.running_mean, &self.norm.running_var].map(|of| numbers(of.value_sync()))
    }
}

impl TrainStep for Normed {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> TrainOutput<ClassificationOutput> {
        let output = self.forward(points);
        TrainOutput::new(self, output.loss.clone().scaled_backward(), output)
    }
}

impl InferenceStep for Normed {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> ClassificationOutput {
        self.forward(points)
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn normed() -> LearnerBuilder<Normed> {
    LearnerBuilder::new(Normed::new(), sgd(), constant(0.05)).average(Average::ema(0.8))
}

fn looped(builder: LearnerBuilder<Normed>) -> TrainingLoop<Normed> {
    builder.run(run()).build_loop().unwrap()
}

/// The mean over batches of the mean and of the (biased) variance of each feature.
fn expected_of(model: &Normed, batches: &[Points]) -> [Vec<f64>; 2] {
    let of = |batch: &Points, feature: usize| {
        let features = Tensor::<2>::from_data(batch.features.to_data(), &Device::default());
        let rows = numbers(model.valid().first.forward(features));
        let column: Vec<f64> = rows.chunks(5).map(|row| f64::from(row[feature])).collect();
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        let squares = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        [mean, squares / column.len() as f64]
    };
    let all = |which: usize, feature| batches.iter().map(move |batch| of(batch, feature)[which]);
    let mean = |which, feature| all(which, feature).sum::<f64>() / batches.len() as f64;
    [0, 1].map(|which| (0..5).map(|feature| mean(which, feature)).collect())
}

#[track_caller]
fn assert_statistics(found: &Normed, expected: &[Vec<f64>; 2]) {
    for (found, expected) in found.statistics().iter().zip(expected) {
        assert_near(found, expected, "statistics");
    }
}

#[test]
fn they_are_those_of_training_unless_said_otherwise() {
    let mut training = looped(normed());
    (0..UPDATES).for_each(|_| update(&mut training));
    let raw = training.model().statistics();
    assert_ne!(raw, Normed::new().statistics());
    assert_eq!(training.valid().statistics(), raw);
    assert_ne!(
        numbers(training.valid().head.weight.val()),
        numbers(training.model().head.weight.val())
    );
}

#[test]
fn they_are_averaged_as_the_weights_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = looped(normed().average_statistics());
    let (mut expected, mut saved): ([Vec<f64>; 2], _) = ([vec![], vec![]], None);
    for number in 0..UPDATES {
        update(&mut training);
        for (expected, raw) in expected.iter_mut().zip(training.model().statistics()) {
            let d = if number == 0 { 0.0 } else { 0.8 };
            expected.resize(5, 0.0);
            let pairs = expected.iter_mut().zip(raw);
            pairs.for_each(|(e, raw)| *e = d * *e + (1.0 - d) * f64::from(raw));
        }
        assert_statistics(&training.valid(), &expected);
        if number == 9 {
            saved = Some(training.save(folder.path(), 1).unwrap());
        }
    }
    // A resumed run has them too, and the training model is not changed.
    let saved = saved.unwrap();
    let mut resumed = looped(normed().average_statistics().resume_from(&saved));
    let mut plain = looped(normed());
    (0..10).for_each(|_| update(&mut plain));
    assert_eq!(resumed.model().statistics(), plain.model().statistics());
    (10..UPDATES).for_each(|_| update(&mut resumed));
    assert_eq!(resumed.valid().statistics(), training.valid().statistics());
    assert_eq!(flat(&resumed.valid()), flat(&training.valid()));
}

/// Averages of statistics are not loaded if statistics are no longer averaged.
#[test]
fn those_of_a_run_before_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = looped(normed().average_statistics());
    (0..10).for_each(|_| update(&mut before));
    let saved = before.save(folder.path(), 1).unwrap();
    let mut resumed = looped(normed().resume_from(&saved));
    assert_eq!(resumed.valid().statistics(), before.model().statistics());
    (0..10).for_each(|_| update(&mut resumed));
    let loaded = resumed.save(folder.path(), 2).unwrap().load_averaged(Normed::new()).unwrap();
    assert_eq!(flat(&loaded), flat(&resumed.valid()));
    assert_eq!(loaded.statistics(), resumed.model().statistics());
}

#[test]
fn averaged_ones_can_be_told_from_those_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let mut by_hand = looped(normed().average_statistics());
    (0..UPDATES).for_each(|_| update(&mut by_hand));
    let builder = normed().average_statistics().checkpoints(Checkpoints::new(folder.path()));
    let watch = builder.watch();
    let model = builder.launch(training(folder.path(), 3)).unwrap().finished().unwrap();
    assert_eq!(model.statistics(), by_hand.valid().statistics());
    let raw = watch.run().unwrap().with_weights(&model, Weights::Raw);
    assert_eq!(raw.statistics(), by_hand.model().statistics());
    let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
    let loaded = saved.load_averaged(Normed::new().valid()).unwrap();
    assert_eq!(loaded.statistics(), model.statistics());
}

fn all_batches() -> Vec<Points> {
    (0..3).map(batch).collect()
}

#[test]
fn they_are_made_anew_by_passes() {
    let mut training = looped(normed().recompute_statistics(batches(60, 6, 0), 3));
    let mut plain = looped(normed());
    for _ in 0..12 {
        update(&mut training);
        update(&mut plain);
        let valid = training.valid();
        assert_statistics(&valid, &expected_of(&valid, &all_batches()));
        assert_eq!(training.model().statistics(), plain.model().statistics());
    }
    assert_eq!(flat(training.model()), flat(plain.model()));
}

/// Before any average there is nothing to recompute.
#[test]
fn without_an_average_they_stay() {
    let builder = LearnerBuilder::new(Normed::new(), sgd(), constant(0.05));
    let builder = builder.average(Average::mean_from(5)).recompute_statistics(batches(60, 6, 0), 3);
    let mut training = looped(builder);
    (0..5).for_each(|_| update(&mut training));
    assert_eq!(training.valid().statistics(), training.model().statistics());
}

#[test]
fn loops_of_burns_make_them_anew() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || normed().recompute_statistics(batches(60, 6, 0), 3);
    let mut by_hand = looped(builder());
    (0..UPDATES).for_each(|_| update(&mut by_hand));
    let of_launch = builder();
    let watch = of_launch.watch();
    let launched = of_launch.launch(training(folder.path(), 3)).unwrap().finished().unwrap();
    let raw = watch.run().unwrap().with_weights(&launched, Weights::Raw);
    assert_eq!(numbers(raw.head.weight.val()), numbers(by_hand.model().head.weight.val()));

    assert_eq!(flat(&by_hand.averaged_in_f32()), flat(&by_hand.valid()));

    let folder = tempfile::tempdir().unwrap();
    let training: SupervisedTraining<Annealed<Normed>> = training(folder.path(), 3);
    let learner = builder().run(run()).build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none());
    for model in [launched, result.model.into_inner()] {
        assert_statistics(&model, &expected_of(&model, &all_batches()));
        assert_eq!(flat(&model), flat(&by_hand.valid()));
    }
}

/// The average of f16 statistics is also in f32; recomputed statistics are rounded once.
#[test]
fn in_half_precision_they_are_averaged_in_f32() {
    let loss_scaling = Some(LossScaling::new().scale(64.0));
    let halved = || HalfPrecision { loss_scaling, ..HalfPrecision::f16() };
    let builder = normed().average_statistics().half_precision(halved());
    let mut training = looped(builder);
    let mut expected: [Vec<f64>; 2] = [vec![0.0; 5], vec![0.0; 5]];
    for number in 0..UPDATES {
        update(&mut training);
        for (expected, raw) in expected.iter_mut().zip(training.model().statistics()) {
            let d = if number == 0 { 0.0 } else { 0.8 };
            let pairs = expected.iter_mut().zip(raw);
            pairs.for_each(|(e, raw)| *e = d * *e + (1.0 - d) * f64::from(raw));
        }
    }
    assert_statistics(&training.averaged_in_f32(), &expected);

    let recomputed = normed().half_precision(halved());
    let mut training = looped(recomputed.recompute_statistics(batches(60, 6, 0), 3));
    (0..UPDATES).for_each(|_| update(&mut training));
    let in_f32 = training.averaged_in_f32();
    let expected = expected_of(&in_f32, &all_batches());
    for (found, expected) in training.valid().statistics().iter().flatten().zip(expected.concat()) {
        assert!((f64::from(*found) - expected).abs() < 5e-3, "{found} {expected}");
    }
}

fn pass(model: &Normed, batch: Points) {
    drop(model.forward(batch));
}

#[test]
fn a_model_of_ones_own_has_the_mean_over_batches() {
    let uneven = [0..6, 6..8, 10..20].map(|items| points(&items.collect::<Vec<_>>(), &device()));
    for momentum in [0.01, 0.1, 0.9, 1.0] {
        let mut model = Normed::new();
        model.norm = BatchNormConfig::new(5).with_momentum(momentum).init(&device());
        pass(&model, batch(5));
        let before = model.statistics();
        let found = recompute_statistics(model.clone(), uneven.clone(), pass);
        let in_valid = recompute_statistics(model.valid(), uneven.clone(), pass);
        let expected = expected_of(&model, &uneven);
        assert_statistics(&found, &expected);
        assert_statistics(&in_valid, &expected);
        assert_eq!(model.statistics(), before);
        assert!(found.devices()[0].is_autodiff() && !in_valid.devices()[0].is_autodiff());
        assert!(found.head.weight.is_require_grad());
        assert_eq!(numbers(found.head.weight.val()), numbers(model.head.weight.val()));
    }
}

/// Activations of any size.
#[test]
fn large_statistics_are_as_exact() {
    for size in [1e-3, 1e3, 1e5, 1e8] {
        let norm = BatchNormConfig::new(1).init(&device());
        let of = |rows: [[f64; 1]; 4]| Tensor::<2>::from_data(rows, &device()).mul_scalar(size);
        let batches = [of([[1.0], [2.0], [4.0], [5.0]]), of([[2.0], [6.0], [6.0], [6.0]])];
        let found = recompute_statistics(norm, batches, |norm: &BatchNorm, batch| {
            drop(norm.forward(batch));
        });
        let mean = f64::from(numbers(found.running_mean.value_sync())[0]) / size;
        let variance = f64::from(numbers(found.running_var.value_sync())[0]) / (size * size);
        assert!((mean - 4.0).abs() < 1e-4, "{size}: {mean}");
        assert!((variance - 2.75).abs() < 1e-4, "{size}: {variance}");
    }
}

/// A model as returned by a loop or a merge.
#[test]
fn a_model_in_training_is_evaluated_in_its_valid_form() {
    let model = Normed::new();
    pass(&model, batch(4));
    let before = model.statistics();
    let found = evaluate(&model, &*batches(20, 6, 0)).unwrap();
    assert_eq!(found, evaluate(&model.valid(), &*batches(20, 6, 0)).unwrap());
    assert_eq!(model.statistics(), before);
}

/// The first batch leaves the mean of a fresh norm at 0.
#[test]
fn a_first_batch_that_moves_nothing_counts() {
    for first in [[-1.0, 1.0], [0.0, 0.0]] {
        let batches = [first, [5.0, 7.0]]
            .map(|[a, b]| Tensor::<2>::from_data([[a, a + 4.0], [b, 4.0 - a]], &device()));
        let norm = BatchNormConfig::new(2).init(&device());
        let norm = recompute_statistics(norm, batches, |norm: &BatchNorm, batch| {
            drop(norm.forward(batch));
        });
        let found = numbers(norm.running_mean.value_sync());
        let near = |found: f32, expected: f32| (found - expected).abs() < 1e-4;
        // (0 + 6)/2, and (4 + 4)/2.
        assert!(near(found[0], 3.0) && near(found[1], 4.0), "{first:?}: {found:?}");
    }
}

#[test]
fn what_has_none_or_freezes_them_comes_back() {
    let tiny = model();
    let found = recompute_statistics(tiny.clone(), all_batches(), |model: &TinyModel, batch| {
        drop(model.forward(batch));
    });
    assert_eq!(flat(&found), flat(&tiny));
    let none = recompute_statistics(tiny.clone(), vec![], |_: &TinyModel, _: Points| {});
    assert_eq!(flat(&none), flat(&tiny));

    let model = Normed::new();
    pass(&model, batch(4));
    let frozen = Normed { norm: model.norm.clone().freeze(), ..model.clone() };
    let found = recompute_statistics(frozen.clone(), all_batches(), pass);
    assert_eq!(found.statistics(), frozen.statistics());
    assert!(!found.norm.gamma.is_require_grad() && found.head.weight.is_require_grad());
}

/// A loader that fails at its second batch.
struct Fails;

struct FailsNow(Option<Points>);

impl DataLoader<Points> for Fails {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Points> + 'a> {
        Box::new(FailsNow(Some(batch(0))))
    }

    fn num_items(&self) -> usize {
        12
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Points>> {
        Arc::new(Self)
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<Points>> {
        Arc::new(Self)
    }
}

impl Iterator for FailsNow {
    type Item = Result<Points, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.take().ok_or_else(|| DatasetError::new(std::io::Error::other("unreadable"))))
    }
}

impl DataLoaderIterator<Points> for FailsNow {
    fn progress(&self) -> Progress {
        Progress::new(6, 12, None)
    }
}

#[test]
fn a_loader_that_fails_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let builder = normed().recompute_statistics(Arc::new(Fails), 2);
    let result = builder.launch(training(folder.path(), 3)).unwrap();
    let error = result.error.unwrap().to_string();
    assert!(error.contains("recompute_statistics: the loader fails: unreadable"), "{error}");

    let mut in_a_loop = looped(normed().recompute_statistics(Arc::new(Fails), 2));
    update(&mut in_a_loop);
    in_a_loop.valid();
    let failure = in_a_loop.failure().unwrap().to_string();
    assert!(failure.contains("recompute_statistics: the loader fails: unreadable"), "{failure}");

    let error = evaluate(&Normed::new().valid(), &Fails).unwrap_err();
    assert!(matches!(error, EvaluateError::Loader(_)), "{error}");
}

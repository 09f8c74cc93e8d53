//! The noise scale of a model whose gradients are known: w − x for an item x, x normal around a mean.

use super::*;
use anneal_tests::Quiet;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};
use burn::train::metric::LossMetric;
use burn::train::{
    ExecutionStrategy, InferenceStep, Interrupter, LearnerModel, MultiDeviceOptim,
    RegressionOutput, SupervisedTraining, TrainOutput,
};
use burn_anneal::control::{GradientNoise, NoiseScale, UpdateLog};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::Arc;

/// The initial w, with mean 0 of x; and the deviations of x.
const GRADIENT: [f64; 4] = [0.5, -1.0, 0.25, 0.0];
const DEVIATIONS: [f64; 4] = [4.0, 1.0, 0.0, 3.0];

/// Items of a batch, batches of an update, items of an epoch.
const BATCH: usize = 8;
const BATCHES: usize = 4;
const ITEMS: usize = 2_048;

/// w, whose loss is the mean of ½‖w − x‖².
#[derive(Module, Debug)]
struct Center {
    weight: Param<Tensor<1>>,
}

impl Center {
    fn new() -> Self {
        let weight = Tensor::from_floats(GRADIENT.map(|w| w as f32), &device());
        Self { weight: Param::from_tensor(weight) }
    }

    fn output(&self, items: Tensor<2>) -> RegressionOutput {
        let weight = self.weight.val().cast(FloatDType::F32).unsqueeze::<2>();
        let (count, items) = (items.dims()[0], items.cast(FloatDType::F32));
        let loss = (weight - items.clone()).square().sum() / (2 * count) as f64;
        RegressionOutput::new(loss, items.clone(), items)
    }
}

impl TrainStep for Center {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, items: Tensor<2>) -> TrainOutput<RegressionOutput> {
        let output = self.output(items);
        TrainOutput::new(self, output.loss.clone().scaled_backward(), output)
    }
}

impl InferenceStep for Center {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, items: Tensor<2>) -> RegressionOutput {
        self.output(items)
    }
}

/// The item of this number.
fn item(number: usize) -> [f32; 4] {
    let mut random = ChaCha8Rng::seed_from_u64(number as u64);
    DEVIATIONS.map(|deviation| {
        let [u, v]: [f64; 2] = [random.random_range(0.0..1.0), random.random_range(0.0..1.0)];
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        (deviation * normal) as f32
    })
}

#[derive(Clone)]
struct ItemBatcher;

impl Batcher<usize, Tensor<2>> for ItemBatcher {
    fn batch(&self, numbers: Vec<usize>, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = numbers.iter().flat_map(|number| item(*number)).collect();
        Tensor::from_data(TensorData::new(values, [numbers.len(), 4]), device)
    }
}

fn batch(numbers: std::ops::Range<usize>) -> Tensor<2> {
    Batcher::batch(&ItemBatcher, numbers.collect(), &device())
}

fn loader(items: usize) -> Arc<dyn DataLoader<Tensor<2>>> {
    let loader = DataLoaderBuilder::new(ItemBatcher).batch_size(BATCH);
    loader.num_workers(0).build(InMemDataset::new((0..items).collect()))
}

/// ‖g‖² of the mean over these items.
fn squared_norm(items: &[usize]) -> f64 {
    let of = |k: usize| {
        let mean: f64 =
            items.iter().map(|i| f64::from(item(*i)[k])).sum::<f64>() / items.len() as f64;
        (GRADIENT[k] - mean).powi(2)
    };
    (0..4).map(of).sum()
}

/// |G|² and tr Σ by appendix A.1 of McCandlish et al., the means over updates of these batches.
fn expected(updates: &[Vec<Vec<usize>>]) -> [f64; 2] {
    let mut means = [0.0; 2];
    for update in updates {
        let small = update.iter().map(|items| squared_norm(items)).sum::<f64>();
        let small = small / update.len() as f64;
        let big = squared_norm(&update.concat());
        let (b, n) = (BATCH as f64, (BATCH * update.len()) as f64);
        means[0] += (n * big - b * small) / (n - b) / updates.len() as f64;
        means[1] += (small - big) / (1.0 / b - 1.0 / n) / updates.len() as f64;
    }
    means
}

/// The updates of `batches` full batches in a row.
fn in_a_row(updates: usize, batches: usize) -> Vec<Vec<Vec<usize>>> {
    let items = |batch: usize| (batch * BATCH..(batch + 1) * BATCH).collect();
    let update = |update: usize| (update * batches..(update + 1) * batches).map(items).collect();
    (0..updates).map(update).collect()
}

/// Checks the expected result, and after many updates the true noise scale.
fn assert_found(found: Option<GradientNoise>, updates: &[Vec<Vec<usize>>], near: f64, what: &str) {
    let found = found.unwrap_or_else(|| panic!("{what}: nothing is known"));
    let [gradient, noise] = expected(updates);
    assert_eq!(found.updates, updates.len() as u64, "{what}");
    for (found, expected) in [(found.squared_gradient, gradient), (found.noise, noise)] {
        assert!((found / expected - 1.0).abs() < near, "{what}: {found}, not {expected}");
    }
    let truth =
        DEVIATIONS.map(|d| d * d).iter().sum::<f64>() / GRADIENT.map(|g| g * g).iter().sum::<f64>();
    let scale = found.scale.unwrap_or_else(|| panic!("{what}: {found}"));
    assert!(scale.low <= truth && truth <= scale.high, "{what}: {scale}, not {truth}");
}

type Builder = LearnerBuilder<Center>;
type Ask = fn(Builder) -> Builder;

/// w does not move, and all updates have the same weight.
fn builder() -> Builder {
    let rule = NoiseScale::new().half_life(1 << 40);
    LearnerBuilder::new(Center::new(), SgdConfig::new().build(), constant(1e-12))
        .run(RunLength::from_items(ITEMS, BATCH).gradient_accumulation(BATCHES))
        .controller("noise scale", rule)
}

const ASKS: [(&str, Ask); 5] = [
    ("sum", |builder| builder),
    ("mean", |builder| builder.gradient_reduction(GradientReduction::Mean)),
    ("clipped", |builder| builder.clip_global_norm(1e-2)),
    ("scaled", |builder| builder.loss_scaling(LossScaling::fixed(1_024.0))),
    ("all", |builder| {
        let builder = builder.gradient_reduction(GradientReduction::Mean).clip_global_norm(1e-2);
        builder.loss_scaling(LossScaling::fixed(1_024.0))
    }),
];

/// The rounding of sums of squares in f32, and of the difference of two similar ones.
const SUMS: f64 = 1e-4;

/// Runs these updates in a custom loop.
fn train(training: &mut TrainingLoop<Center>, updates: std::ops::Range<usize>) {
    for update in updates {
        for first in (0..BATCHES).map(|k| (update * BATCHES + k) * BATCH) {
            training.pass(|model| TrainStep::step(model, batch(first..first + BATCH)));
        }
        training.update().unwrap();
    }
}

fn training<M>(folder: &Path, items: usize) -> SupervisedTraining<M>
where
    M: LearnerModel
        + TrainStep<Input = Tensor<2>, Output = RegressionOutput>
        + InferenceStep<Input = Tensor<2>, Output = RegressionOutput>,
{
    SupervisedTraining::new(folder, loader(items), loader(BATCH))
        .num_epochs(1)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
}

/// Launches a run, and returns the result and the updates excluded because of their batches.
fn launched(builder: Builder, items: usize, accumulation: usize) -> (Option<GradientNoise>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let watch = builder.watch();
    let training = training(folder.path(), items).grads_accumulation(accumulation);
    let result = builder.run(RunLength::of_training()).launch(training).unwrap();
    assert!(result.error.is_none(), "{:?}", result.error);
    let run = watch.run().unwrap();
    let control = run.explain().control.unwrap();
    let uneven = control.state("noise scale", "uneven").unwrap();
    (run.gradient_noise(), uneven as u64)
}

fn two_devices() -> ExecutionStrategy {
    ExecutionStrategy::multi(vec![device(); 2], MultiDeviceOptim::OptimMainDevice)
}

#[test]
fn it_is_that_of_the_gradients_in_every_loop() {
    let updates = in_a_row(ITEMS / BATCH / BATCHES, BATCHES);
    for (what, ask) in ASKS {
        let mut by_hand = ask(builder()).build_loop().unwrap();
        assert!(by_hand.gradient_noise().is_none());
        train(&mut by_hand, 0..updates.len());
        assert_found(by_hand.gradient_noise(), &updates, SUMS, &format!("{what}, by hand"));

        let (found, _) = launched(ask(builder()), ITEMS, BATCHES);
        assert_found(found, &updates, SUMS, &format!("{what}, launched"));

        let folder = tempfile::tempdir().unwrap();
        let by_burn = training(folder.path(), ITEMS).grads_accumulation(BATCHES);
        let learner = ask(builder()).build(by_burn.interrupter()).unwrap();
        let result = by_burn.launch(learner);
        assert!(result.error.is_none(), "{:?}", result.error);
        let found = result.model.gradient_noise();
        assert_found(found, &updates, SUMS, &format!("{what}, Burn's loop"));
    }
}

/// Device 0 has the first half of the items and device 1 the other; a round is an update, or part of one.
#[test]
fn each_batch_of_several_devices_counts() {
    for accumulation in [1, 2] {
        let on = |device: usize, round: usize| {
            let first = device * ITEMS / 2 + round * BATCH;
            (first..first + BATCH).collect::<Vec<usize>>()
        };
        let update = |update: usize| {
            let rounds = update * accumulation..(update + 1) * accumulation;
            rounds.flat_map(|round| [on(0, round), on(1, round)]).collect()
        };
        let updates: Vec<_> = (0..ITEMS / 2 / BATCH / accumulation).map(update).collect();
        for (what, ask) in ASKS {
            let what = format!("{what}, {accumulation} rounds");
            let builder = ask(builder()).execution(two_devices());
            assert_found(launched(builder, ITEMS, accumulation).0, &updates, SUMS, &what);

            let folder = tempfile::tempdir().unwrap();
            let by_burn = training(folder.path(), ITEMS).grads_accumulation(accumulation);
            let by_burn = by_burn.with_training_strategy(two_devices().into());
            let run = RunLength::from_items(ITEMS, BATCH).devices(2);
            let run = run.gradient_accumulation(accumulation);
            let learner = ask(self::builder()).run(run).build(Interrupter::new()).unwrap();
            let result = by_burn.launch(learner);
            assert!(result.error.is_none(), "{what}: {:?}", result.error);
            let found = result.model.gradient_noise();
            assert_found(found, &updates, SUMS, &format!("{what}, Burn's loop"));
        }
    }
}

/// Of 63 updates of 4 batches, and of a last one that is shorter.
#[test]
fn an_update_with_a_short_batch_is_left_out_and_a_shorter_one_weighed() {
    let mean: Ask = |builder| builder.gradient_reduction(GradientReduction::Mean);
    let whole = in_a_row(63, BATCHES);
    for (what, ask) in [("sum", ASKS[0].1), ("mean", mean)] {
        // 3 batches, of which one has 5 items.
        let (found, uneven) = launched(ask(builder()), 63 * 32 + 21, BATCHES);
        assert_eq!(uneven, 1, "{what}");
        assert_found(found, &whole, SUMS, &format!("{what}, a short batch"));
        // 2 full batches, which the mean of an update still divides by 4.
        let (found, uneven) = launched(ask(builder()), 63 * 32 + 16, BATCHES);
        let mut updates = whole.clone();
        updates.push(in_a_row(127, 2).pop().unwrap());
        assert_eq!(uneven, 0, "{what}");
        assert_found(found, &updates, SUMS, &format!("{what}, two batches"));
    }
}

/// Items and gradients rounded to 11 bits.
#[test]
fn half_precision_is_as_good_but_for_its_rounding() {
    let updates = in_a_row(ITEMS / BATCH / BATCHES, BATCHES);
    for scaling in [Some(LossScaling::fixed(256.0)), None] {
        let half = HalfPrecision { loss_scaling: scaling, ..HalfPrecision::f16() };
        let mut training = builder().half_precision(half).build_loop().unwrap();
        train(&mut training, 0..updates.len());
        assert_found(training.gradient_noise(), &updates, 2e-3, &format!("{scaling:?}"));
    }
}

/// At a scale of 2⁷⁰, squares of gradients overflow; the scale is halved until they do not.
#[test]
fn what_overflows_is_counted_and_left_out() {
    let scaling = LossScaling::new().scale(70.0_f64.exp2());
    let mut training = builder().loss_scaling(scaling).build_loop().unwrap();
    let mut made = vec![];
    for (number, update) in in_a_row(64, BATCHES).into_iter().enumerate() {
        train(&mut training, number..number + 1);
        let skipped = training.last_update().unwrap().skipped;
        made.extend(skipped.is_none().then_some(update));
    }
    assert!(40 < made.len() && made.len() < 64, "{}", made.len());
    assert_found(training.gradient_noise(), &made, SUMS, "after overflows");
    let control = training.explain().control.unwrap();
    assert_eq!(control.state("noise scale", "not_finite"), Some(64.0 - made.len() as f64));
}

#[test]
fn a_resumed_run_goes_on_bit_for_bit() {
    let builder = || {
        let rule = NoiseScale::new().half_life(20);
        LearnerBuilder::new(Center::new(), SgdConfig::new().build(), constant(1e-3))
            .run(RunLength::from_items(ITEMS, BATCH).gradient_accumulation(BATCHES))
            .gradient_reduction(GradientReduction::Mean)
            .controller("noise scale", rule.after(3))
    };
    let mut whole = builder().build_loop().unwrap();
    train(&mut whole, 0..40);
    assert!(whole.gradient_noise().unwrap().scale.is_some());
    for cut in [1, 3, 4, 17, 39] {
        let folder = tempfile::tempdir().unwrap();
        let mut first = builder().build_loop().unwrap();
        train(&mut first, 0..cut);
        first.save(folder.path(), 1).unwrap();
        let saved = Checkpoint::newest(folder.path()).unwrap().unwrap();
        let mut resumed = builder().resume_from(&saved).build_loop().unwrap();
        assert_eq!(resumed.gradient_noise(), first.gradient_noise());
        train(&mut resumed, cut..40);
        assert_eq!(resumed.gradient_noise(), whole.gradient_noise(), "{cut}");
    }
}

/// With signals delayed by one update, the last update is not heard.
#[test]
fn signals_may_come_late() {
    let mut training = builder().delay_signals().build_loop().unwrap();
    train(&mut training, 0..64);
    assert_found(training.gradient_noise(), &in_a_row(63, BATCHES), SUMS, "late");
}

#[test]
fn it_is_in_the_log_and_among_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = builder().log_updates(folder.path()).build_loop().unwrap();
    let mut metric = training.noise_scale_metrics().remove(0);
    train(&mut training, 0..2);
    assert_eq!(metric.last(), None, "two updates are too few");
    train(&mut training, 2..64);
    let noise = training.gradient_noise().unwrap();
    assert_eq!(metric.last(), noise.scale.map(|scale| scale.value));
    drop(training.into_model());
    let log = UpdateLog::read(folder.path()).unwrap();
    for (line, update) in log.updates.iter().zip(in_a_row(64, BATCHES)) {
        let of_batches: f64 = update.iter().map(|items| squared_norm(items)).sum::<f64>() / 4.0;
        let of_mean = squared_norm(&update.concat());
        let found = [line.batch_gradient_norm, line.mean_gradient_norm, line.gradient_norm];
        let expected = [of_batches.sqrt(), of_mean.sqrt(), 4.0 * of_mean.sqrt()];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found.unwrap() / expected - 1.0).abs() < 1e-5, "{found:?}, not {expected}");
        }
    }
}

#[test]
fn a_run_that_can_say_nothing_is_refused_with_what_to_do() {
    let one = || builder().run(RunLength::from_items(ITEMS, BATCH));
    let error = one().build_loop().map(|_| ()).unwrap_err().to_string();
    for word in ["noise scale", "batches_per_update: 1", "gradient_accumulation", "devices"] {
        assert!(error.contains(word), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let launched = builder().run(RunLength::of_training()).launch(training(folder.path(), ITEMS));
    assert!(launched.map(|_| ()).unwrap_err().to_string().contains("batches_per_update"));
    let counted = RunLength::updates(9).gradient_accumulation(BATCHES);
    let error = builder().run(counted).build_loop().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("batch_size: unknown"), "{error}");
}

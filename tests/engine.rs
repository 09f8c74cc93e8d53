//! Compares, weight by weight, training by the builder (in Burn's training and in a custom loop) with plain
//! hand-written loops with Burn's optimizers.

use anneal_tests::{Quiet, TinyModel, batches, flat, points};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use burn::train::{
    ExecutionStrategy, Interrupter, MultiDeviceOptim, SupervisedTraining, TrainOutput, TrainStep,
};
use burn_anneal::control::{Answer, Controller, Event, Needs, Observation, OutOfRange, Stop};
use burn_anneal::precision::to_precision;
use burn_anneal::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const BATCH: usize = 6;
const EPOCHS: usize = 2;

fn device() -> Device {
    Device::default().autodiff()
}

fn model() -> TinyModel {
    TinyModel::seeded(7, &device())
}

/// The largest difference of two weights.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Sgd,
    Momentum,
    AdamW,
}

impl Rule {
    const ALL: [Self; 3] = [Self::Sgd, Self::Momentum, Self::AdamW];

    fn peak(self) -> f64 {
        if self == Self::AdamW { 0.02 } else { 0.2 }
    }

    fn schedule(self) -> ScheduleConfig {
        cosine(self.peak()).warmup(Span::percent(20.0)).into()
    }

    /// The optimizer from Burn.
    fn plain(self) -> ModuleOptimizer {
        let momentum = Some(MomentumConfig::new());
        match self {
            Self::Sgd => SgdConfig::new().init(),
            Self::Momentum => SgdConfig::new().with_momentum(momentum).init(),
            Self::AdamW => AdamWConfig::new().with_weight_decay(0.0).init(),
        }
    }

    fn builder(self, run: RunLength) -> LearnerBuilder<TinyModel> {
        let momentum = Some(MomentumConfig::new());
        match self {
            Self::Sgd => {
                LearnerBuilder::new(model(), SgdConfig::new().build(), self.schedule()).run(run)
            }
            Self::Momentum => {
                let optimizer = SgdConfig::new().with_momentum(momentum).build();
                LearnerBuilder::new(model(), optimizer, self.schedule()).run(run)
            }
            Self::AdamW => {
                let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
                LearnerBuilder::new(model(), optimizer, self.schedule()).run(run)
            }
        }
    }
}

/// Batches; the last batch and the last update of an epoch may be short.
#[derive(Clone, Copy, Debug)]
struct Length {
    items: usize,
    accumulation: usize,
}

impl Length {
    /// 10 batches per epoch: 10 updates, or updates of 3, 3, 3 and 1 batches.
    const ALL: [Self; 4] = [
        Self { items: 60, accumulation: 1 },
        Self { items: 58, accumulation: 1 },
        Self { items: 60, accumulation: 3 },
        Self { items: 58, accumulation: 3 },
    ];

    fn run(self) -> RunLength {
        let run = RunLength::from_items(self.items, BATCH).epochs(EPOCHS);
        run.gradient_accumulation(self.accumulation)
    }

    /// The batches of each update of all epochs.
    fn updates(self) -> Vec<Vec<Vec<usize>>> {
        let items: Vec<usize> = (0..self.items).collect();
        let batches: Vec<Vec<usize>> = items.chunks(BATCH).map(<[usize]>::to_vec).collect();
        let epoch: Vec<_> = batches.chunks(self.accumulation).map(<[_]>::to_vec).collect();
        (0..EPOCHS).flat_map(|_| epoch.clone()).collect()
    }
}

/// The settings of an update.
#[derive(Clone, Copy)]
struct Now {
    rate: f64,
    peak: f64,
    accumulation: usize,
}

/// An update: g ← factor · Σ g, clipped; w ← (1 − share) w for weights that are not biases; then the optimizer.
#[derive(Clone, Copy)]
struct Update {
    factor: f64,
    max_norm: f64,
    /// Of `hidden` and of `head`.
    rates: [f64; 2],
    shares: [f64; 2],
    /// Of the loss.
    scale: f64,
}

impl Update {
    fn plain(now: Now) -> Self {
        let (factor, max_norm, scale) = (1.0, f64::INFINITY, 1.0);
        Self { factor, max_norm, rates: [now.rate; 2], shares: [0.0; 2], scale }
    }
}

/// A setting of the builder, and its effect.
struct Case {
    name: &'static str,
    ask: fn(LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel>,
    means: fn(Now) -> Update,
    half: Option<FloatDType>,
}

impl Case {
    const fn new(
        name: &'static str,
        ask: fn(LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel>,
        means: fn(Now) -> Update,
    ) -> Self {
        Self { name, ask, means, half: None }
    }

    const fn half(self, dtype: FloatDType) -> Self {
        Self { half: Some(dtype), ..self }
    }
}

/// Collects the gradients of the parameters in `part`, in f32 and times a factor.
struct Take<'a> {
    part: &'a str,
    path: Vec<String>,
    factor: f64,
    from: &'a mut GradientsParams,
    to: GradientsParams,
    squares: f64,
}

impl ModuleVisitor for Take<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.path.join(".").starts_with(self.part) {
            return;
        }
        let Some(gradient) = self.from.remove::<D>(param.id) else { return };
        let gradient = gradient.cast(FloatDType::F32).mul_scalar(self.factor);
        let values = gradient.clone().into_data();
        self.squares += values.iter::<f64>().map(|value| value * value).sum::<f64>();
        self.to.register(param.id, gradient);
    }
}

/// The gradients of a part of the model times a factor, and their norm.
fn take(
    model: &TinyModel,
    part: &str,
    from: &mut GradientsParams,
    factor: f64,
) -> (GradientsParams, f64) {
    let to = GradientsParams::new();
    let mut take = Take { part, path: vec![], factor, from, to, squares: 0.0 };
    model.visit(&mut take);
    (take.to, take.squares.sqrt())
}

/// w ← (1 − share) w.
struct Shrink {
    path: Vec<String>,
    shares: [f64; 2],
}

impl ModuleMapper for Shrink {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let share = match self.path.join(".").as_str() {
            "hidden.weight" => self.shares[0],
            "head.weight" => self.shares[1],
            _ => 0.0,
        };
        if share == 0.0 {
            return param;
        }
        let shrink = |weight: Tensor<D>| weight.inner().mul_scalar(1.0 - share);
        param.map(|weight| Tensor::from_inner(shrink(weight)).require_grad())
    }
}

/// A hand-written loop, which uses only the schedule's numbers and the cast from Anneal.
fn by_hand(rule: Rule, length: Length, case: &Case) -> TinyModel {
    let schedule = rule.schedule().resolve(length.run()).unwrap();
    let mut model = model();
    let mut optimizer = rule.plain();
    for (number, update) in length.updates().into_iter().enumerate() {
        let (rate, peak) = (schedule.rate(number as u64), rule.peak());
        let means = (case.means)(Now { rate, peak, accumulation: length.accumulation });
        let mut sum = GradientsAccumulator::new();
        for batch in update {
            let passed = match case.half {
                Some(dtype) => to_precision(model.clone(), dtype),
                None => model.clone(),
            };
            let loss = passed.forward(points(&batch, &device())).loss;
            let gradients = (loss * means.scale).backward();
            let mut gradients = GradientsParams::from_grads(gradients, &passed);
            sum.accumulate(&passed, take(&passed, "", &mut gradients, 1.0).0);
        }
        let (mut gradients, norm) = take(&model, "", &mut sum.grads(), means.factor);
        if means.max_norm.is_finite() {
            let factor = (means.max_norm / (norm + 1e-6)).min(1.0);
            gradients = take(&model, "", &mut gradients, factor).0;
        }
        model = model.map(&mut Shrink { path: vec![], shares: means.shares });
        for (part, rate) in ["hidden", "head"].into_iter().zip(means.rates) {
            let (gradients, _) = take(&model, part, &mut gradients, 1.0);
            model = optimizer.step(rate, model, gradients);
        }
    }
    model
}

/// The trained model, and its master weights.
struct Trained {
    model: TinyModel,
    in_f32: TinyModel,
    /// The folder, because Burn reads weights from files only when they are used.
    _folder: TempDir,
}

fn saved_in_f32(folder: &Path, epoch: usize) -> TinyModel {
    let saved = Checkpoint::open(folder, epoch).unwrap();
    saved.load_in_f32(TinyModel::seeded(1, &device())).unwrap()
}

/// By Burn's own training.
fn in_training(rule: Rule, length: Length, case: &Case) -> Trained {
    let folder = tempfile::tempdir().unwrap();
    let training = training(folder.path(), length.items).grads_accumulation(length.accumulation);
    let learner = (case.ask)(rule.builder(length.run())).build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none() && result.interrupted.is_none(), "{:?}", result.error);
    let in_f32 = saved_in_f32(folder.path(), EPOCHS);
    Trained { model: result.model.into_inner(), in_f32, _folder: folder }
}

fn training(folder: &Path, items: usize) -> SupervisedTraining<Annealed<TinyModel>> {
    SupervisedTraining::new(folder, batches(items, BATCH, 0), batches(3, 3, 0))
        .num_epochs(EPOCHS)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((burn::train::metric::LossMetric::new(),))
}

/// By a custom loop.
fn in_a_loop(rule: Rule, length: Length, case: &Case) -> Trained {
    let mut training = (case.ask)(rule.builder(length.run())).build_loop().unwrap();
    for update in length.updates() {
        for batch in update {
            training.pass(|model| TrainStep::step(model, points(&batch, &device())));
        }
        assert_eq!(training.update().unwrap().skipped, None);
    }
    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path(), 1).unwrap();
    let in_f32 = saved_in_f32(folder.path(), 1);
    Trained { model: training.into_model(), in_f32, _folder: folder }
}

/// Trains each rule for each length in both ways, and compares with the hand-written loop.
fn compare(cases: &[Case], bound: f32) {
    for (rule, length) in Rule::ALL.into_iter().flat_map(|r| Length::ALL.map(|l| (r, l))) {
        for case in cases {
            let expected = by_hand(rule, length, case);
            let ways = [
                ("training", in_training(rule, length, case)),
                ("a loop", in_a_loop(rule, length, case)),
            ];
            for (way, Trained { model, in_f32, _folder }) in ways {
                let what = format!("{} by {rule:?} in {way}, {length:?}", case.name);
                let far = distance(&flat(&in_f32), &flat(&expected));
                assert!(far <= bound, "{what}: {far:e} from the loop by hand");
                let expected = match case.half {
                    Some(dtype) => to_precision(in_f32, dtype),
                    None => in_f32,
                };
                assert_eq!(flat(&model), flat(&expected), "{what}");
            }
        }
    }
}

#[test]
fn plain_updates_sums_and_means_are_those_of_a_loop_by_hand() {
    let mean = |now: Now| Update { factor: 1.0 / now.accumulation as f64, ..Update::plain(now) };
    let cases = [
        Case::new("plain", |builder| builder, Update::plain),
        Case::new("mean", |builder| builder.gradient_reduction(GradientReduction::Mean), mean),
    ];
    compare(&cases, 0.0);
}

fn two_groups() -> GroupsConfig {
    GroupsConfig::new()
        .group(Group::new("low", "^hidden").multiple(0.3))
        .group(Group::rest("high").multiple(1.5))
}

/// The rates of `two_groups`.
fn two_rates(now: Now) -> [f64; 2] {
    [now.rate * 0.3, now.rate * 1.5]
}

#[test]
fn two_groups_train_at_their_multiples_of_the_rate() {
    let groups = |now: Now| Update { rates: two_rates(now), ..Update::plain(now) };
    compare(&[Case::new("groups", |builder| builder.groups(two_groups()), groups)], 0.0);
}

/// The formulas of docs/weight_decay.md.
#[test]
fn each_decay_takes_the_share_of_its_formula_before_the_update() {
    fn ask(builder: LearnerBuilder<TinyModel>, decay: WeightDecay) -> LearnerBuilder<TinyModel> {
        builder.weight_decay(decay).no_weight_decay(Selection::biases())
    }
    fn takes(now: Now, share: f64) -> Update {
        Update { shares: [share; 2], ..Update::plain(now) }
    }
    let cases = [
        Case::new(
            "coupled",
            |builder| ask(builder, WeightDecay::coupled(0.1)),
            |now| takes(now, now.rate * 0.1),
        ),
        Case::new(
            "independent",
            |builder| ask(builder, WeightDecay::independent(0.003)),
            |now| takes(now, 0.003),
        ),
        Case::new(
            "relative",
            |builder| ask(builder, WeightDecay::relative(0.003)),
            |now| takes(now, 0.003 * now.rate / now.peak),
        ),
        Case::new(
            "corrected",
            |builder| ask(builder, WeightDecay::corrected(0.1)),
            |now| takes(now, 0.1 * now.rate.powi(2) / now.peak),
        ),
        Case::new(
            "from an L2 penalty",
            |builder| ask(builder, WeightDecay::from_l2(0.01)),
            |now| takes(now, 0.01 * now.peak),
        ),
    ];
    compare(&cases, 0.0);
}

/// η and η₀ are those of the group.
#[test]
fn a_decay_follows_the_rate_of_its_group() {
    let cases = [
        Case::new(
            "coupled, in groups",
            |builder| {
                let groups = two_groups().weight_decay(0.1);
                builder.groups(groups.no_weight_decay(Selection::biases()))
            },
            |now| {
                let rates = two_rates(now);
                Update { rates, shares: rates.map(|rate| rate * 0.1), ..Update::plain(now) }
            },
        ),
        Case::new(
            "corrected, in groups",
            |builder| {
                let groups = two_groups().weight_decay(WeightDecay::corrected(0.1));
                builder.groups(groups.no_weight_decay(Selection::biases()))
            },
            |now| {
                let rates = two_rates(now);
                let peaks = [now.peak * 0.3, now.peak * 1.5];
                let share = |group: usize| 0.1 * rates[group].powi(2) / peaks[group];
                Update { rates, shares: [share(0), share(1)], ..Update::plain(now) }
            },
        ),
    ];
    compare(&cases, 0.0);
}

/// The hand-written loop in f64 rounds the clipping factor once. Anneal computes it in f32 on the device: a sum, a
/// root, a reciprocal and two products, at most 8 roundings of 2⁻²⁴, or a relative 5·10⁻⁷. 20 updates of at most 0.2 ·
/// 0.3 move a weight by at most 1.2, so this is 6·10⁻⁷; AdamW, which normalizes gradients, moves a weight by at most
/// 0.4.
const CLIPPING: f32 = 1e-6;

#[test]
fn clipping_by_the_global_norm_is_that_of_its_formula() {
    fn clipped(now: Now) -> Update {
        Update { max_norm: 0.3, ..Update::plain(now) }
    }
    let cases = [
        Case::new("clipping", |builder| builder.clip_global_norm(0.3), clipped),
        Case::new(
            "a mean, clipped",
            |builder| builder.gradient_reduction(GradientReduction::Mean).clip_global_norm(0.3),
            |now| Update { factor: 1.0 / now.accumulation as f64, ..clipped(now) },
        ),
    ];
    compare(&cases, CLIPPING);
}

const SCALE: f64 = 16_384.0;

fn f16() -> HalfPrecision {
    HalfPrecision { loss_scaling: Some(LossScaling::new().scale(SCALE)), ..HalfPrecision::f16() }
}

/// Master weights start from the original weights, not their f16 roundings. Multiplying a loss by a power of 2, and
/// dividing gradients by it, does not round.
#[test]
fn half_precision_is_a_loop_by_hand_with_master_weights() {
    fn scaled(now: Now) -> Update {
        Update { scale: SCALE, factor: 1.0 / SCALE, ..Update::plain(now) }
    }
    let cases = [
        Case::new("f16", |builder| builder.half_precision(f16()), scaled).half(FloatDType::F16),
        Case::new(
            "f16 in groups that decay",
            |builder| {
                let groups = two_groups().weight_decay(0.1);
                builder.half_precision(f16()).groups(groups.no_weight_decay(Selection::biases()))
            },
            |now| {
                let rates = two_rates(now);
                Update { rates, shares: rates.map(|rate| rate * 0.1), ..scaled(now) }
            },
        )
        .half(FloatDType::F16),
        Case::new("bf16", |builder| builder.half_precision(HalfPrecision::bf16()), Update::plain)
            .half(FloatDType::BF16),
        Case::new(
            "loss scaling in f32",
            |builder| builder.loss_scaling(LossScaling::new().scale(SCALE)),
            scaled,
        ),
    ];
    compare(&cases, 0.0);
}

#[test]
fn masters_begin_with_the_weights_of_before_the_cast() {
    let run = RunLength::updates(10);
    for (half, dtype) in [(f16(), FloatDType::F16), (HalfPrecision::bf16(), FloatDType::BF16)] {
        let builder =
            LearnerBuilder::new(model(), SgdConfig::new().build(), linear(0.0, 0.1)).run(run);
        let mut training = builder.half_precision(half).build_loop().unwrap();
        training.pass(|model| TrainStep::step(model, points(&[0, 1, 2], &device())));
        training.update().unwrap();
        let folder = tempfile::tempdir().unwrap();
        training.save(folder.path(), 1).unwrap();
        assert_eq!(flat(&saved_in_f32(folder.path(), 1)), flat(&model()));
        let rounded = to_precision(model(), dtype);
        assert_eq!(flat(training.model()), flat(&rounded));
        assert_ne!(flat(&rounded), flat(&model()));
    }
}

/// All of it at once, within the bound of clipping.
#[test]
fn everything_together_is_a_loop_by_hand() {
    fn all(now: Now) -> Update {
        let rates = two_rates(now);
        Update {
            factor: 1.0 / now.accumulation as f64 / SCALE,
            max_norm: 0.3,
            rates,
            shares: rates.map(|rate| rate * 0.1),
            scale: SCALE,
        }
    }
    let case = Case::new(
        "everything",
        |builder| {
            builder
                .groups(two_groups().weight_decay(0.1).no_weight_decay(Selection::biases()))
                .clip_global_norm(0.3)
                .gradient_reduction(GradientReduction::Mean)
                .loss_scaling(LossScaling::new().scale(SCALE))
        },
        all,
    );
    compare(&[case], CLIPPING);
}

/// AdamW of torch and Burn decays like a coupled decay: all weights, and by a rate rounded to f32.
#[test]
fn a_coupled_decay_is_that_of_burns_own_adamw() {
    let length = Length { items: 58, accumulation: 1 };
    let rule = Rule::AdamW;
    let own = {
        let schedule = rule.schedule().resolve(length.run()).unwrap();
        let mut optimizer = AdamWConfig::new().with_weight_decay(0.125).init();
        let updates = length.updates().into_iter().enumerate();
        updates.fold(model(), |model, (number, update)| {
            let loss = model.forward(points(&update[0], &device())).loss;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            optimizer.step(schedule.rate(number as u64), model, gradients)
        })
    };
    let case = Case::new("decay", |builder| builder.weight_decay(0.125), Update::plain);
    assert_eq!(flat(&in_training(rule, length, &case).model), flat(&own));
}

/// Needs and records all measurements, and makes every third update at half the rate and every other one with twice the
/// gradient.
#[derive(Clone, Debug, Default)]
struct Watches(Arc<Mutex<Vec<Observation>>>);

impl Controller for Watches {
    type State = ();

    fn needs(&self) -> Needs {
        Needs {
            loss: true,
            gradient_norm: true,
            gradient_l1: true,
            movement: true,
            last_movement: true,
            ..Needs::default()
        }
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        self.0.lock().unwrap().push(*seen.observation);
        Ok(Answer {
            factor: (seen.number % 3 == 0).then_some(0.5),
            gradient_factor: (seen.number % 2 == 0).then_some(2.0),
            ..Answer::default()
        })
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// The items of each update of an epoch: device 0 has the first half of 24, and device 1 the rest.
const JOINED: [[usize; 12]; 2] =
    [[0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17], [6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23]];

fn two_devices(folder: &Path, optim: MultiDeviceOptim) -> SupervisedTraining<Annealed<TinyModel>> {
    let devices = ExecutionStrategy::multi(vec![device(); 2], optim);
    training(folder, 24).with_training_strategy(devices.into())
}

fn run_of_two_devices() -> RunLength {
    RunLength::from_items(24, BATCH).epochs(EPOCHS).devices(2)
}

/// The mean over two batches of 6 equals that over one of 12, except for the order of f32 sums of at most 12 terms: a
/// few roundings of 6·10⁻⁸ in each gradient. For weights below 1, which 4 updates change by a fraction, this is less
/// than 10⁻⁶. Observations are compared relatively.
const SUMS: f64 = 1e-6;

#[test]
fn two_devices_train_as_one_with_the_joined_batch() {
    type Ask = fn(LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel>;
    let asks: [(&str, Ask); 6] = [
        ("plain", |builder| builder),
        ("groups", |builder| builder.groups(two_groups())),
        ("decay", |builder| builder.weight_decay(WeightDecay::independent(0.01))),
        ("clipping", |builder| builder.clip_global_norm(0.3)),
        ("loss scaling", |builder| builder.loss_scaling(LossScaling::new())),
        ("everything", |builder| {
            builder
                .groups(two_groups().weight_decay(0.1).no_weight_decay(Selection::biases()))
                .clip_global_norm(0.3)
                .loss_scaling(LossScaling::new().growth_interval(2))
        }),
    ];
    for (rule, optim) in Rule::ALL.into_iter().flat_map(|rule| {
        [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded].map(|o| (rule, o))
    }) {
        for (name, ask) in asks {
            let what = format!("{name} by {rule:?} with {optim:?}");
            let [by_two, by_one] = [Watches::default(), Watches::default()];
            let folder = tempfile::tempdir().unwrap();
            let training = two_devices(folder.path(), optim);
            let builder = rule.builder(run_of_two_devices());
            let builder = ask(builder.gradient_reduction(GradientReduction::Mean));
            let learner = builder.controller("watches", by_two.clone());
            let result = training.launch(learner.build(Interrupter::new()).unwrap());
            assert!(result.error.is_none(), "{what}: {:?}", result.error);

            let run = RunLength::from_items(24, 12).epochs(EPOCHS);
            let builder = ask(rule.builder(run)).controller("watches", by_one.clone());
            let mut alone = builder.build_loop().unwrap();
            for items in [JOINED; EPOCHS].concat() {
                alone.pass(|model| TrainStep::step(model, points(&items, &device())));
                alone.update().unwrap();
            }

            let far = distance(&flat(&result.model), &flat(alone.model()));
            assert!(f64::from(far) <= SUMS, "{what}: {far:e} apart");
            assert!(distance(&flat(alone.model()), &flat(&model())) > 1e-2, "{what}");
            let [by_two, by_one] = [by_two, by_one].map(|by| by.0.lock().unwrap().clone());
            assert_eq!((by_two.len(), by_one.len()), (4, 4), "{what}");
            for (two, one) in by_two.iter().zip(&by_one) {
                assert_eq!((two.batches, one.batches), (Some(2), Some(1)), "{what}");
                let numbers = |seen: &Observation| {
                    let Observation { loss, gradient_norm, gradient_l1, movement, .. } = *seen;
                    [loss, gradient_norm, gradient_l1, movement, seen.last_movement]
                };
                for (two, one) in numbers(two).into_iter().zip(numbers(one)) {
                    let (Some(two), Some(one)) = (two, one) else {
                        assert_eq!(two, one, "{what}");
                        continue;
                    };
                    assert!((two / one - 1.0).abs() <= SUMS, "{what}: saw {two}, alone {one}");
                }
            }
        }
    }
}

/// Whichever device finishes first, the batch of the first device is repeated: L is ‖Δg‖_∞ / ‖Δw‖₂ of its loss.
#[test]
fn a_smoothness_measured_on_two_devices_is_the_same_in_each_run() {
    let rate = 0.5;
    let trained = || {
        let folder = tempfile::tempdir().unwrap();
        let training = two_devices(folder.path(), MultiDeviceOptim::OptimMainDevice);
        let optimizer = SgdConfig::new().build();
        let builder =
            LearnerBuilder::new(model(), optimizer, constant(rate)).run(run_of_two_devices());
        let learner = builder
            .gradient_reduction(GradientReduction::Mean)
            .loss_scaling(LossScaling::fixed(1_024.0))
            .overflow_cap(OverflowCap::measured_every(1).limit(1e30))
            .repeat_batches()
            .build(training.interrupter())
            .unwrap();
        let result = training.launch(learner);
        assert!(result.error.is_none(), "{:?}", result.error);
        let control = result.model.explain().control.unwrap();
        let smoothness = control.state("overflow cap", "smoothness").unwrap();
        (smoothness.to_bits(), flat(&result.model))
    };
    let first = trained();
    for _ in 1..6 {
        assert_eq!(trained(), first);
    }

    // By hand: the gradient of a batch, and a step of the mean over both devices.
    let gradient = |model: &TinyModel, items: &[usize]| {
        let loss = model.forward(points(items, &device())).loss;
        GradientsParams::from_grads(loss.backward(), model)
    };
    let entries = |model: &TinyModel, mut gradients: GradientsParams| {
        struct Entries<'a>(&'a mut GradientsParams, Vec<f32>);
        impl ModuleVisitor for Entries<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.1.extend(self.0.remove::<D>(param.id).unwrap().into_data().iter::<f32>());
            }
        }
        let mut entries = Entries(&mut gradients, vec![]);
        model.visit(&mut entries);
        entries.1
    };
    let mut optimizer = SgdConfig::new().init();
    let mut model = model();
    let mut smoothness = 0.0;
    for items in [JOINED; EPOCHS].concat() {
        let before = model.clone();
        let gradients = gradient(&model, &items);
        model = optimizer.step(rate, model, gradients);
        let [old, new] =
            [&before, &model].map(|model| entries(model, gradient(model, &items[..6])));
        let moved: f32 =
            flat(&before).iter().zip(flat(&model)).map(|(old, new)| (new - old).powi(2)).sum();
        smoothness = f64::from(distance(&old, &new) / moved.sqrt());
    }
    // Differences of f32 numbers that agree in their first two digits or so.
    let found = f64::from_bits(first.0);
    assert!((found / smoothness - 1.0).abs() < 1e-4, "{found}, by hand {smoothness}");
}

/// Parameters as they seldom are: held twice, without numbers, and transposed.
#[derive(Module, Debug)]
struct Odd {
    weight: Param<Tensor<2>>,
    again: Param<Tensor<2>>,
    empty: Param<Tensor<3>>,
    transposed: Param<Tensor<2>>,
}

impl Odd {
    fn new() -> Self {
        let numbers = |count: usize| (0..count).map(|i| ((i * 7 % 11) as f32 - 5.0) / 8.0);
        let tensor = |dims: [usize; 2]| {
            let numbers: Vec<f32> = numbers(dims[0] * dims[1]).collect();
            Tensor::<2>::from_data(TensorData::new(numbers, dims), &device())
        };
        let weight = Param::from_tensor(tensor([3, 5]));
        Self {
            again: weight.clone(),
            weight,
            empty: Param::from_tensor(Tensor::zeros([2, 0, 3], &device())),
            transposed: Param::from_tensor(tensor([4, 3]).transpose()),
        }
    }

    /// The gradients of a loss that depends on the number of the update.
    fn step(&self, number: u64) -> TrainOutput<()> {
        let product = self.weight.val().transpose().matmul(self.transposed.val());
        let target = (number as f64).sin();
        let loss = (product - target).square().mean() + self.again.val().abs().mean();
        TrainOutput::new(self, (loss + self.empty.val().sum()).scaled_backward(), ())
    }
}

/// To the last bit, whatever belongs to an update, and with parameters of any kind.
#[test]
fn updates_in_one_pass_are_those_in_operations() {
    type Change = fn(LearnerBuilder<Odd>) -> LearnerBuilder<Odd>;
    let plain: Change = |builder| builder;
    let clipped: Change = |builder| {
        builder
            .clip_global_norm(0.5)
            .loss_scaling(LossScaling::new().scale(SCALE))
            .groups(GroupsConfig::new().weight_decay(0.1))
            .average(Average::ema(0.9))
    };
    let averaged: Change = |builder| {
        builder
            .weight_decay(WeightDecay::independent(0.01).cautious())
            .average(Average::mean_from(5).every(2))
            .average(Average::latest(3, 4).on(Selection::regex("transposed")))
    };
    let halved: Change = |builder| {
        builder.half_precision(f16()).clip_global_norm(0.5).average(Average::ema(0.9).warmup())
    };
    let in_bf16: Change = |builder| builder.half_precision(HalfPrecision::bf16()).weight_decay(0.1);
    for (name, change) in [
        ("plain", plain),
        ("clipped", clipped),
        ("averaged", averaged),
        ("f16", halved),
        ("bf16", in_bf16),
    ] {
        let [fused, in_operations] = [true, false].map(|fused| {
            let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
            let builder = LearnerBuilder::new(Odd::new(), optimizer, cosine(0.05));
            let builder = change(builder.run(RunLength::updates(30))).fused(fused);
            let mut training = builder.build_loop().unwrap();
            for number in 0..30 {
                training.pass(|model| model.step(number));
                training.update().unwrap();
            }
            let masters = flat(&training.model_in_f32());
            [flat(training.model()), masters, flat(&training.averaged_in_f32())]
        });
        assert_eq!(fused, in_operations, "{name}");
        assert_ne!(fused[0], flat(&Odd::new()), "{name}");
    }
}

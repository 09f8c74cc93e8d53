//! The cap on the rate: it prevents overflows of scaled gradients, and does not change healthy training.

use anneal_tests::{Term, TermModel};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, Optimizer, OptimizerRecord, SgdConfig};
use burn::tensor::{FloatDType, Tensor};
use burn::train::{Interrupter, Learner, TrainOutput};
use burn_anneal::groups::ControlSummary;
use burn_anneal::precision::ScalingError;
use burn_anneal::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// ½ wᵀHw + bᵀw.
struct Quadratic {
    hessian: Vec<Vec<f64>>,
    start: Vec<f32>,
}

/// A standard normal number, by Irwin and Hall.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

impl Quadratic {
    /// Q diag(λ) Qᵀ with a random reflection Q; `largest` is the largest eigenvalue, which is exact.
    fn random(size: usize, largest: f64, random: &mut ChaCha8Rng) -> Self {
        let v: Vec<f64> = (0..size).map(|_| normal(random)).collect();
        let square: f64 = v.iter().map(|x| x * x).sum();
        let mut eigenvalues: Vec<f64> =
            (0..size).map(|_| largest * 10f64.powf(-2.0 * random.random::<f64>())).collect();
        eigenvalues[0] = largest;
        let q = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / square;
        let entry = |i, j| (0..size).map(|k| q(i, k) * eigenvalues[k] * q(j, k)).sum::<f64>();
        let hessian = (0..size).map(|i| (0..size).map(|j| entry(i, j)).collect()).collect();
        let start = (0..size).map(|_| normal(random) as f32).collect();
        Self { hessian, start }
    }

    fn term(&self, slope: &[f32]) -> Term {
        let row = |row: &Vec<f64>| row.iter().map(|&x| x as f32).collect();
        Term::new(&self.hessian.iter().map(row).collect::<Vec<_>>(), slope)
    }

    fn times(&self, vector: &[f64]) -> Vec<f64> {
        let row = |row: &Vec<f64>| row.iter().zip(vector).map(|(h, v)| h * v).sum();
        self.hessian.iter().map(row).collect()
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn builder(
    model: TermModel,
    optimizer: impl Optimizer,
    schedule: impl Into<ScheduleConfig>,
    scaling: LossScaling,
) -> LearnerBuilder<TermModel> {
    LearnerBuilder::new(model, optimizer, schedule)
        .run(RunLength::updates(1_000))
        .half_precision(HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() })
        .repeat_batches()
}

fn built(builder: LearnerBuilder<TermModel>) -> TermLearner {
    builder.build(Interrupter::new()).unwrap()
}

type TermLearner = Learner<Annealed<TermModel>>;

fn update(learner: &mut TermLearner, term: Term) {
    let output = learner.train_step(term);
    learner.lr_step();
    learner.optimizer_step(output.grads);
}

fn summary(learner: &TermLearner) -> ControlSummary {
    learner.model().explain().control.unwrap()
}

/// The number of updates with a rate cut by the cap.
fn cuts(seen: &ControlSummary) -> f64 {
    seen.state("overflow cap", "cuts").unwrap()
}

/// The smoothness that the cap uses.
fn smoothness(learner: &TermLearner) -> Option<f64> {
    summary(learner).state("overflow cap", "smoothness")
}

fn values(learner: &TermLearner) -> Vec<f64> {
    learner.model().inner().values().into_iter().map(f64::from).collect()
}

/// Plain SGD at rates of 2.1 to 40 over L, where it diverges. With the exact L no update is skipped; without
/// the cap some are. (With the direction of the previous update instead of the current one, some are skipped
/// from about 3.4 over L on.)
#[test]
fn with_the_exact_smoothness_no_scaled_gradient_overflows() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut without_cap = 0;
    for problem in 0..40 {
        let size = 1 + problem % 12;
        let largest = 10f64.powf(random.random_range(-2.0..2.0));
        let quadratic = Quadratic::random(size, largest, &mut random);
        let rate = 10f64.powf(random.random_range(0.32..1.6)) / largest;
        let scaling =
            LossScaling::new().scale(64.0 / largest * f64::exp2(random.random_range(0..8).into()));
        let learner = |cap: Option<OverflowCap>| {
            let model = TermModel::new(&quadratic.start);
            let builder = builder(model, SgdConfig::new().build(), constant(rate), scaling);
            built(match cap {
                Some(cap) => builder.overflow_cap(cap),
                None => builder,
            })
        };
        let term = quadratic.term(&vec![0.0; size]);
        let mut capped = learner(Some(OverflowCap::given(largest)));
        let mut free = learner(None);
        for number in 0..200 {
            update(&mut capped, term.clone());
            let seen = summary(&capped);
            assert_eq!(seen.skipped, 0, "problem {problem}, update {number}: {seen}");
            update(&mut free, term.clone());
        }
        let seen = summary(&capped);
        assert!(cuts(&seen) > 0.0, "problem {problem}: {seen}");
        without_cap += u32::from(summary(&free).skipped > 0);
    }
    assert_eq!(without_cap, 40, "problems on which an update overflows without the cap");
}

/// The smoothness is measured in the last direction, so a few updates may overflow. Without the cap the weights
/// overflow, and the run stops.
#[test]
fn a_measured_smoothness_holds_a_rate_that_is_too_high() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    for problem in 0..20 {
        let size = 1 + problem % 8;
        let quadratic = Quadratic::random(size, 4.0, &mut random);
        let rate = random.random_range(2.2..40.0) / 4.0;
        let run = |cap: Option<OverflowCap>| {
            let model = TermModel::new(&quadratic.start);
            let sgd = SgdConfig::new().build();
            let builder = builder(model, sgd, constant(rate), LossScaling::new());
            let builder = match cap {
                Some(cap) => builder.overflow_cap(cap),
                None => builder,
            };
            let mut learner = built(builder);
            let term = quadratic.term(&vec![0.0; size]);
            (0..200).for_each(|_| update(&mut learner, term.clone()));
            (summary(&learner).skipped, learner.model().failure())
        };
        let (skipped, failure) = run(Some(OverflowCap::measured_every(1)));
        assert!(skipped < 15 && failure.is_none(), "problem {problem}: {skipped} {failure:?}");
        let (_, failure) = run(None);
        let error = match failure.as_deref() {
            Some(UpdateError::Controller(stopped)) => stopped.stop.downcast_ref(),
            other => panic!("problem {problem}: {other:?}"),
        };
        assert!(
            matches!(error, Some(ScalingError::LossNotFinite { updates: 20, .. })),
            "problem {problem}: {error:?}"
        );
    }
}

/// v ← 0.9 v + η g: the velocity of the first update continues, whatever the rate of the second.
#[test]
fn the_scale_falls_where_a_movement_does_not_follow_the_rate() {
    let sgd = RateInsideSgd::new(0.9).unwrap();
    let scaling = LossScaling::new().scale(1_000.0);
    let builder = builder(TermModel::new(&[0.0]), sgd, constant(1.0), scaling);
    let mut learner = built(builder.overflow_cap(OverflowCap::given(1.0)));
    update(&mut learner, Term::new(&[vec![1.0]], &[-30.0]));
    assert_eq!((values(&learner)[0], summary(&learner).factor), (30.0, 1.0));
    // The gradient is 61, 0.41 less than the limit allows, and w moves by |−27 + 61|.
    update(&mut learner, Term::new(&[vec![1.0]], &[31.0]));
    // In f16 61,000 is 60,992.
    let factor = (61.410 - 60.992) / 34.0;
    assert!((summary(&learner).factor - factor).abs() < 1e-4, "{}", summary(&learner));
    let moved = values(&learner)[0] - 30.0;
    assert!((moved - (27.0 - 61.0 * factor)).abs() < 0.05, "{moved}");
    // Of 1,000, 500, … the largest with s (61 + 26.3) below 61,410.
    assert_eq!(summary(&learner).loss_scale, Some(500.0));
}

/// The same with curvature in the arithmetic of f16: ½ Σ(Hw)ᵢwᵢ with a product of f16 matrices.
#[test]
fn it_holds_where_the_backward_pass_computes_in_f16() {
    fn in_f16(weight: Tensor<1>, term: Term) -> Tensor<1> {
        let half = FloatDType::F16;
        let curved = term.hessian.cast(half).matmul(weight.clone().unsqueeze_dim(1));
        (weight.cast(FloatDType::F32) * curved.squeeze_dim::<1>(1).cast(FloatDType::F32)).sum()
            * 0.5
    }
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for problem in 0..20 {
        let size = 2 + problem % 8;
        let quadratic = Quadratic::random(size, 4.0, &mut random);
        let rate = random.random_range(2.2..10.0) / 4.0;
        let overflows = |cap: bool| {
            let model = TermModel::with_loss(&quadratic.start, in_f16);
            let scaling = LossScaling::new().scale(16.0);
            let builder = builder(model, SgdConfig::new().build(), constant(rate), scaling);
            let builder = if cap { builder.overflow_cap(OverflowCap::given(4.0)) } else { builder };
            let mut learner = built(builder);
            let term = quadratic.term(&vec![0.0; size]);
            (0..150).for_each(|_| update(&mut learner, term.clone()));
            summary(&learner).skipped
        };
        assert_eq!(overflows(true), 0, "problem {problem}");
        assert!(overflows(false) > 0, "problem {problem}");
    }
}

/// Noise in every gradient, scaled gradients below half of 65,504: over 1,000 updates less than 1 % of the
/// rate is cut.
#[test]
fn healthy_training_keeps_its_rate() {
    const SCALE: f64 = 3_000.0;
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for size in [1, 3, 10, 30] {
        let quadratic = Quadratic::random(size, 2.0, &mut random);
        for cap in [OverflowCap::given(2.0), OverflowCap::measured_every(50)] {
            for (name, rate) in [("SGD", 0.25), ("Adam", 0.01)] {
                let scaling = LossScaling::new().scale(SCALE);
                let model = TermModel::new(&vec![0.5; size]);
                let rate = constant(rate);
                let builder = match name {
                    "SGD" => builder(model, SgdConfig::new().build(), rate, scaling),
                    _ => builder(model, AdamConfig::new().build(), rate, scaling),
                };
                let mut learner = built(builder.overflow_cap(cap));
                let (mut kept, mut highest) = (0.0, 0.0f64);
                for _ in 0..1_000 {
                    let noise: Vec<f32> =
                        (0..size).map(|_| random.random_range(-6.0..6.0)).collect();
                    update(&mut learner, quadratic.term(&noise));
                    let seen = learner.model().observation();
                    highest = highest.max(seen.largest_gradient.unwrap() * SCALE);
                    kept += summary(&learner).factor;
                }
                let case = format!("{size} weights, {name}, {cap:?}, up to {highest}: {kept}");
                assert!((12_000.0..32_752.0).contains(&highest), "{case}");
                assert_eq!(summary(&learner).skipped, 0);
                assert!(kept > 990.0, "{case}");
            }
        }
    }
}

/// f16 has every even number from 2,048 to 4,096. The first step of the warm-up moves the weight by 0.002, and
/// with it a gradient of 2,049.001 to 2,048.999: in f16 from 2,050 to 2,048, which looks like a smoothness of
/// 1,000 and would hold the later rates back. It is 1, and measured by the first rate that is high enough.
#[test]
fn rounding_in_the_first_steps_of_a_warm_up_does_not_hold_the_later_ones_back() {
    let warmup =
        exponential(1e-6, Decay::Toward { end: Level::Rate(0.25), length: Span::steps(80) });
    let model = TermModel::new(&[0.0]);
    let builder = builder(model, SgdConfig::new().build(), warmup, LossScaling::fixed(1.0));
    let mut learner = built(builder.overflow_cap(OverflowCap::measured_every(1_000)));
    for number in 0..80 {
        update(&mut learner, Term::new(&[vec![1.0]], &[2_049.001]));
        let seen = summary(&learner);
        assert_eq!(seen.factor, 1.0, "update {number}: {seen}");
        assert_eq!(smoothness(&learner).is_some(), number >= 64, "update {number}: {seen}");
    }
    let smoothness = smoothness(&learner).unwrap();
    assert!((smoothness - 1.0).abs() < 0.05, "{smoothness}");
}

/// f16 has every half number at 1,000. The weight creeps by 0.2 in f32, and jumps in f16 by 0.5, with the
/// second update.
#[test]
fn a_smoothness_is_that_of_the_weights_as_they_are_in_f16() {
    let model = TermModel::new(&[1_000.0]);
    let sgd = SgdConfig::new().build();
    let builder = builder(model, sgd, constant(0.05), LossScaling::fixed(16.0));
    let mut learner = built(builder.overflow_cap(OverflowCap::measured_every(1)));
    let mut found = vec![];
    for _ in 0..2 {
        // ½ w² − 996 w: the gradient is 4, and L is 1.
        update(&mut learner, Term::new(&[vec![1.0]], &[-996.0]));
        found.push((values(&learner)[0], smoothness(&learner)));
    }
    assert_eq!(found, [(1_000.0, None), (999.5, Some(1.0))]);
}

/// L is ‖HΔw‖_∞ / ‖Δw‖₂ whatever the noise of other batches is.
#[test]
fn a_smoothness_is_measured_on_one_batch() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for every in [1, 3] {
        let quadratic = Quadratic::random(6, 5.0, &mut random);
        let model = TermModel::new(&quadratic.start);
        let sgd = SgdConfig::new().build();
        let builder = builder(model, sgd, constant(0.1), LossScaling::fixed(256.0));
        let mut learner = built(builder.overflow_cap(OverflowCap::measured_every(every)));
        let mut expected = None;
        for number in 0..10 {
            let noise: Vec<f32> = (0..6).map(|_| random.random_range(-9.0..9.0)).collect();
            let before = values(&learner);
            update(&mut learner, quadratic.term(&noise));
            let after = values(&learner);
            if number % every == 0 {
                let step: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
                expected = Some(largest(&quadratic.times(&step)) / length(&step));
            }
            let found = smoothness(&learner).unwrap();
            let expected = expected.unwrap();
            // Gradients are f16: half a unit in the last place of 9 + 5 each time.
            assert!(
                (found / expected - 1.0).abs() < 0.02,
                "update {number}: {found}, not {expected}"
            );
        }
    }
}

/// The explanation and the model show the cut.
#[test]
fn it_says_when_and_by_how_much_it_cut() {
    // L = 1, w = 40, rate 3: g = 40, Δw = 120; (61,410 / 1,000 − 40) / 120 of the rate.
    let (model, sgd) = (TermModel::new(&[40.0]), SgdConfig::new().build());
    let builder = builder(model, sgd, constant(3.0), LossScaling::fixed(1_000.0));
    let mut learner = built(builder.overflow_cap(OverflowCap::given(1.0)));
    update(&mut learner, Term::new(&[vec![1.0]], &[0.0]));
    let factor = 21.41 / 120.0;
    let seen = summary(&learner);
    assert!((seen.factor - factor).abs() < 1e-3, "{seen}");
    assert_eq!(cuts(&seen), 1.0);
    let expected = 40.0 - 120.0 * factor;
    assert!((values(&learner)[0] - expected).abs() < 0.02);
    let text = learner.model().explain().to_string();
    let line = text.lines().find(|line| line.starts_with("overflow cap: ")).unwrap();
    assert!(line.starts_with("overflow cap: answered rate × 0.178"), "{text}");
    assert!(line.contains("cuts 1,") && line.contains("smoothness 1.0"), "{text}");
    assert!(text.contains("the last update at 0.178"), "{text}");
    let json = learner.model().explain().to_json();
    assert!(json.contains("\"cuts\": 1"), "{json}");
}

/// Groups keep their ratio under it, and a decay that follows the rate follows the cut rate.
#[test]
fn it_cuts_the_rates_of_all_groups_and_their_decay() {
    let (model, sgd) = (TermModel::new(&[40.0]), SgdConfig::new().build());
    let builder = builder(model, sgd, constant(3.0), LossScaling::fixed(1_000.0))
        .groups(GroupsConfig::new().group(Group::rest("all").multiple(0.5)))
        .weight_decay(0.1)
        .overflow_cap(OverflowCap::given(1.0));
    let mut learner = built(builder);
    update(&mut learner, Term::new(&[vec![1.0]], &[0.0]));
    // At the rate 1.5 the decay takes 40 · 0.15 = 6 and the gradient 60.
    let factor = 21.41 / 66.0;
    assert!((summary(&learner).factor - factor).abs() < 2e-3, "{}", summary(&learner));
    let expected = 40.0 - 66.0 * factor;
    assert!((values(&learner)[0] - expected).abs() < 0.1, "{:?} {expected}", values(&learner));
}

/// Without a cap no update is repeated; with a cap, the optimizer's state is that of one update.
#[test]
fn an_update_that_is_made_again_leaves_one_trace_in_the_optimizer() {
    let run = |cap: Option<OverflowCap>| {
        let scaling = LossScaling::fixed(16.0);
        let (model, adam) = (TermModel::new(&[4.0, -2.0]), AdamConfig::new().build());
        let builder = builder(model, adam, constant(0.5), scaling);
        let mut learner = built(match cap {
            Some(cap) => builder.overflow_cap(cap),
            None => builder,
        });
        let hessian = [vec![2.0, 0.5], vec![0.5, 1.0]];
        (0..20).for_each(|_| update(&mut learner, Term::new(&hessian, &[0.1, 0.2])));
        values(&learner)
    };
    // A cap that never cuts changes no bit.
    assert_eq!(run(Some(OverflowCap::given(1e-3))), run(None));
    assert_eq!(run(Some(OverflowCap::measured_every(3))), run(None));
}

/// Momentum after a cut is from one update, and after an overflow from none: v ← 0.9 v + g.
#[test]
fn an_update_that_is_made_again_or_skipped_leaves_the_optimizer_as_it_should_be() {
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
    let scaling = LossScaling::new().scale(1_000.0);
    let builder = builder(TermModel::new(&[40.0]), sgd, constant(3.0), scaling);
    let mut learner = built(builder.overflow_cap(OverflowCap::given(1.0)));
    let quadratic = || Term::new(&[vec![1.0]], &[0.0]);
    update(&mut learner, quadratic());
    // Burn's first velocity is the gradient.
    let velocity = 40.0;
    let first = summary(&learner).factor;
    assert!(first < 0.2);
    let weight = values(&learner)[0];
    assert!((weight - (40.0 - 3.0 * first * velocity)).abs() < 0.02);

    update(&mut learner, Term::new(&[vec![1.0]], &[1e4]));
    assert_eq!((summary(&learner).skipped, values(&learner)[0]), (1, weight));

    update(&mut learner, quadratic());
    let velocity = 0.9 * velocity + weight;
    let expected = weight - 3.0 * summary(&learner).factor * velocity;
    assert!(
        (values(&learner)[0] - expected).abs() < 0.05,
        "{:?}, not {expected}",
        values(&learner)
    );
}

/// A pass of a batch in a custom loop.
fn output(model: &TermModel, term: Term) -> TrainOutput<Tensor<1>> {
    let loss = Term::value(model.weight.val(), term);
    TrainOutput::new(model, loss.clone().scaled_backward(), loss)
}

/// The second batch of an update differs; the first is repeated.
#[test]
fn a_loop_measures_on_the_batch_that_it_repeats() {
    let sgd = SgdConfig::new().build();
    let builder = builder(TermModel::new(&[1.0]), sgd, constant(0.0625), LossScaling::fixed(256.0));
    let mut training = builder.overflow_cap(OverflowCap::measured_every(2)).build_loop().unwrap();
    let batches = || [2.0, 6.0].map(|curvature| Term::new(&[vec![curvature]], &[0.0]));
    for number in 0..3 {
        for batch in batches() {
            training.pass(|model| output(model, batch));
        }
        let [first, _] = batches();
        let updated = training.update_with(|model| output(model, first)).unwrap();
        assert_eq!((updated.number, updated.skipped), (number, None));
        let control = training.explain().control.unwrap();
        assert_eq!(control.state("overflow cap", "smoothness"), Some(2.0));
        // w ← w − (2 + 6) w / 16
        assert_eq!(training.model().values(), [0.5f32.powi(number as i32 + 1)]);
    }
}

#[test]
fn a_loop_that_repeats_no_batch_is_told_so() {
    let (model, sgd) = (TermModel::new(&[1.0]), SgdConfig::new().build());
    let builder = builder(model, sgd, constant(0.0625), LossScaling::fixed(256.0));
    let mut training = builder.overflow_cap(OverflowCap::measured_every(2)).build_loop().unwrap();
    training.pass(|model| output(model, Term::new(&[vec![2.0]], &[0.0])));
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::NoBatchAgain), "{error:?}");
    assert!(error.to_string().contains("TrainingLoop::update_with"), "{error}");
    assert_eq!(training.model().values(), [1.0], "as it was");
}

/// A trial update is undone, in the model and in the optimizer.
#[test]
fn a_run_that_is_stopped_leaves_weights_and_optimizer_as_they_were() {
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
    let scaling = LossScaling::fixed(1_024.0).max_failures(1);
    let builder = builder(TermModel::new(&[1.0]), sgd, constant(0.25), scaling);
    let mut training = builder.overflow_cap(OverflowCap::given(1.0)).build_loop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = |training: &TrainingLoop<TermModel>, epoch: usize| {
        training.save(folder.path(), epoch).unwrap();
        let path = folder.path().join(format!("checkpoint/optim-{epoch}.bpk"));
        OptimizerRecord::load(path).unwrap().into_bytes().unwrap().to_vec()
    };
    training.pass(|model| output(model, Term::new(&[vec![1.0]], &[0.0])));
    training.update().unwrap();
    assert_eq!(training.model().values(), [0.75]);
    let before = state(&training, 1);
    assert!(state(&training, 2) == before, "a state must be saved alike twice");
    training.pass(|model| output(model, Term::new(&[vec![1.0]], &[100.0])));
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::Controller(_)), "{error:?}");
    assert_eq!(training.model().values(), [0.75]);
    let after = state(&training, 3);
    let saved = Checkpoint::open(folder.path(), 3).unwrap();
    let masters = saved.load_in_f32(TermModel::new(&[0.0])).unwrap();
    assert_eq!(masters.values(), [0.75]);
    assert!(after == before, "the state of the optimizer is another");
}

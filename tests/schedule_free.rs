//! Schedule-free training: the average inside the optimizer, compared with the formula with separate x, y and z, and
//! combined with the other parts of a run.

use anneal_tests::{TinyModel, Weight, flat, points};
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, MuonConfig, Optimizer,
    RmsPropConfig, SgdConfig,
};
use burn::tensor::{DType, Device, FloatDType};
use burn::train::{TrainOutput, TrainStep};
use burn_anneal::control::{MetricOf, Plateau};
use burn_anneal::decay::{Decayed, DecayedError};
use burn_anneal::precision::to_precision;
use burn_anneal::prelude::*;
use burn_anneal::schedule_free::averaged;

/// Two parameters of two weights, on Σ ½ λ (w − target)².
type Pair = Vec<Weight>;

const START: [[f32; 2]; 2] = [[1.0, -0.5], [0.25, 2.0]];
const CURVATURE: [[f64; 2]; 2] = [[0.7, 2.0], [1.0, 0.3]];
const TARGET: [[f64; 2]; 2] = [[0.3, 0.1], [-0.4, 0.5]];

fn pair() -> Pair {
    START.iter().map(|values| Weight::new(values)).collect()
}

fn slope(i: usize, j: usize, weight: f64) -> f64 {
    CURVATURE[i][j] * (weight - TARGET[i][j])
}

fn gradients(model: &Pair) -> GradientsParams {
    let mut all = GradientsParams::new();
    for (i, part) in model.iter().enumerate() {
        let values = part.values().into_iter().enumerate();
        let slopes: Vec<f32> = values.map(|(j, w)| slope(i, j, w.into()) as f32).collect();
        all.register(part.weight.id, part.gradient(&slopes).remove::<1>(part.weight.id).unwrap());
    }
    all
}

fn update(training: &mut TrainingLoop<Pair>) {
    training.pass(|model| TrainOutput { grads: gradients(model), item: () });
    training.update().unwrap();
}

fn trained(builder: LearnerBuilder<Pair>, updates: u64) -> TrainingLoop<Pair> {
    let mut training = builder.build_loop().unwrap();
    (0..updates).for_each(|_| update(&mut training));
    training
}

const UPDATES: u64 = 60;

fn builder(optimizer: impl Optimizer, schedule: impl Into<ScheduleConfig>) -> LearnerBuilder<Pair> {
    LearnerBuilder::new(pair(), optimizer, schedule).run(RunLength::updates(UPDATES))
}

/// The method of the paper in f64, with all three sequences.
#[derive(Clone, Copy)]
struct Reference {
    momentum: f64,
    power: f64,
    polynomial: f64,
    warmup: u64,
    /// β₂ and ε.
    adam: Option<(f64, f64)>,
}

const PLAIN: Reference =
    Reference { momentum: 0.9, power: 2.0, polynomial: 0.0, warmup: 0, adam: None };

impl Reference {
    /// y and x of weight j of part i after updates at `rates`, with a decay of `share` of the rate.
    fn run(
        &self,
        (i, j): (usize, usize),
        rates: &[f64],
        share: impl Fn(f64) -> f64,
        cautious: bool,
    ) -> [f64; 2] {
        let start = f64::from(START[i][j]);
        let [mut x, mut y, mut z] = [start; 3];
        let (mut v, mut sum, mut largest) = (0.0, 0.0, 0.0_f64);
        for (k, rate) in rates.iter().enumerate() {
            let n = k as f64 + 1.0;
            let rate = if (k as u64) < self.warmup { rate * n / self.warmup as f64 } else { *rate };
            largest = largest.max(rate);
            let weight = n.powf(self.polynomial) * largest.powf(self.power);
            sum += weight;
            let c = if sum == 0.0 { 0.0 } else { weight / sum };
            let mut step = slope(i, j, y);
            if let Some((beta_2, epsilon)) = self.adam {
                v = beta_2 * v + (1.0 - beta_2) * step * step;
                step /= (v / (1.0 - beta_2.powf(n))).sqrt() + epsilon;
            }
            // The update moves the weight by −step: away from 0 if their signs differ.
            let spared = cautious && step * y < 0.0;
            z -= rate * step + if spared { 0.0 } else { share(rate) * y };
            x = (1.0 - c) * x + c * z;
            y = self.momentum * x + (1.0 - self.momentum) * z;
        }
        [y, x]
    }

    /// The largest distance of a loop from it, in y and in x.
    fn distance(
        &self,
        training: &TrainingLoop<Pair>,
        rates: impl Fn(usize) -> Vec<f64>,
        share: impl Fn(usize, f64) -> f64,
        cautious: bool,
    ) -> f64 {
        let at = training.valid();
        let mut worst = 0.0_f64;
        for (i, (y, x)) in training.model().iter().zip(&at).enumerate() {
            for j in 0..2 {
                let expected = self.run((i, j), &rates(i), |rate| share(i, rate), cautious);
                let found = [y.values()[j], x.values()[j]];
                for (found, expected) in found.into_iter().zip(expected) {
                    worst = worst.max((f64::from(found) - expected).abs());
                }
            }
        }
        worst
    }
}

fn constant_rate(rate: f64) -> impl Fn(usize) -> Vec<f64> {
    move |_| vec![rate; UPDATES as usize]
}

#[test]
fn sgd_and_adamw_are_their_formula() {
    for (momentum, warmup, power, polynomial) in [
        (0.9, 0, 2.0, 0.0),
        (0.95, 20, 2.0, 0.0),
        (0.8, 100, 0.5, 1.5),
        (1.0, 7, 0.0, 0.0),
        (0.3, 0, 0.0, 3.0),
    ] {
        let case = format!("β {momentum}, warm-up {warmup}, power {power}, r {polynomial}");
        let plain = Reference { momentum, power, polynomial, warmup, adam: None };
        let adam = Reference { adam: Some((0.95, 1e-6)), ..plain };

        let sgd = ScheduleFree::sgd().momentum(momentum).warmup(warmup);
        let sgd = sgd.weight_power(power).polynomial(polynomial).build().unwrap();
        let training = trained(builder(sgd.clone(), constant(0.5)).weight_decay(0.1), UPDATES);
        let off = plain.distance(&training, constant_rate(0.5), |_, rate| 0.1 * rate, false);
        assert!(off < 3e-6, "SGD, {case}: {off:e}");

        let adamw = ScheduleFree::adamw().momentum(momentum).warmup(warmup);
        let adamw = adamw.weight_power(power).polynomial(polynomial);
        let adamw = adamw.beta_2(0.95).epsilon(1e-6).build().unwrap();
        let training = trained(builder(adamw.clone(), constant(0.02)).weight_decay(0.5), UPDATES);
        let off = adam.distance(&training, constant_rate(0.02), |_, rate| 0.5 * rate, false);
        assert!(off < 3e-6, "AdamW, {case}: {off:e}");
    }
}

#[test]
fn groups_have_rates_and_decays_of_their_own() {
    let sgd = ScheduleFree::sgd().warmup(10).build().unwrap();
    for (decay, cautious) in
        [(WeightDecay::independent(0.02), false), (WeightDecay::independent(0.02).cautious(), true)]
    {
        let groups = GroupsConfig::new()
            .group(Group::new("first", Selection::regex("0.*")).multiple(0.5))
            .group(Group::rest("second").schedule(constant(0.3).warmup(Span::steps(30))))
            .weight_decay(decay)
            .no_weight_decay(Selection::regex("1.*"));
        let training = trained(builder(sgd.clone(), constant(0.4)).groups(groups), UPDATES);
        let rates = |i: usize| -> Vec<f64> {
            let second = |t: u64| 0.3 * ((t + 1) as f64 / 31.0).min(1.0);
            (0..UPDATES).map(|t| if i == 0 { 0.2 } else { second(t) }).collect()
        };
        let share = |i: usize, _| if i == 0 { 0.02 } else { 0.0 };
        let reference = Reference { warmup: 10, ..PLAIN };
        let off = reference.distance(&training, rates, share, cautious);
        assert!(off < 3e-6, "cautious: {cautious}: {off:e}");
    }
}

/// A warm-up of n updates inside starts with 1/n of the rate, like one of n − 1 outside.
#[test]
fn a_warm_up_inside_is_one_of_the_schedule() {
    let values = |optimizer: ScheduleFree<_>, schedule: ScheduleConfig| {
        let training = trained(builder(optimizer.clone(), schedule).weight_decay(0.1), UPDATES);
        [flat(training.model()), flat(&training.valid())].concat()
    };
    let inside = ScheduleFree::sgd().warmup(20).build().unwrap();
    let outside = ScheduleFree::sgd().build().unwrap();
    let found = values(inside, constant(0.5).into());
    let expected = values(outside.clone(), constant(0.5).warmup(Span::steps(19)).into());
    let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-6, "{off:e}");
    assert_ne!(expected, values(outside, constant(0.5).into()));
}

/// The decay of a bare optimizer is the builder's coupled one, and both together are refused.
#[test]
fn a_decay_of_its_own_is_that_of_the_builder() {
    let own = || ScheduleFree::adamw().weight_decay(0.1).warmup(10).build().unwrap();
    let plain = ScheduleFree::adamw().warmup(10).build().unwrap();
    let mut optimizer = ModuleOptimizer::from(own());
    let mut model = pair();
    for _ in 0..UPDATES {
        let gradients = gradients(&model);
        model = optimizer.step(0.02, model, gradients);
    }
    let mut training = builder(plain, constant(0.02)).weight_decay(0.1).build_loop().unwrap();
    (0..UPDATES).for_each(|_| update(&mut training));
    let near = |found: &Pair, expected: &Pair| {
        let pairs = flat(found).into_iter().zip(flat(expected));
        pairs.for_each(|(found, expected)| assert!((found - expected).abs() < 1e-6));
    };
    near(&model, training.model());
    near(&averaged(&model, &optimizer), &training.valid());
    let both = builder(own(), constant(0.02)).weight_decay(0.1).build_loop().err().unwrap();
    assert!(matches!(both, BuildError::Decay(_)), "{both}");
    assert!(ScheduleFree::sgd().weight_decay(-0.1).build().is_err());
}

/// The inner optimizer updates z as it would update a separate model with the same gradients.
#[test]
fn any_optimizer_of_burns_goes_inside() {
    let adam = AdamConfig::new().with_beta_1(0.0).with_epsilon(1e-8).build();
    let around = ScheduleFree::around(adam).build().unwrap();
    let training = trained(builder(around.clone(), constant(0.02)), UPDATES);
    let reference = Reference { adam: Some((0.999, 1e-8)), ..PLAIN };
    // Burn's bias corrections are in f32.
    let off = reference.distance(&training, constant_rate(0.02), |_, _| 0.0, false);
    assert!(off < 1e-4, "{off:e}");

    let config = RmsPropConfig::new().with_momentum(0.0).with_alpha(0.9);
    let around = ScheduleFree::around(config.build()).build().unwrap();
    let (mut optimizer, mut alone) = (ModuleOptimizer::from(around), config.init());
    let (mut y, mut z) = (pair(), pair());
    let mut x = [0.0; 4];
    for n in 1..=UPDATES {
        let slopes = gradients(&y);
        let mut same = GradientsParams::new();
        for (y, z) in y.iter().zip(&z) {
            same.register(z.weight.id, slopes.get::<1>(y.weight.id).unwrap());
        }
        y = optimizer.step(0.02, y, slopes);
        z = alone.step(0.02, z, same);
        for (x, z) in x.iter_mut().zip(flat(&z)) {
            *x += (f64::from(z) - *x) / n as f64;
        }
    }
    for (found, expected) in flat(&averaged(&y, &optimizer)).into_iter().zip(x) {
        assert!((f64::from(found) - expected).abs() < 3e-6, "{found}, not {expected}");
    }
}

#[test]
fn a_run_goes_on_bitwise_from_its_checkpoint() {
    let device = Device::default().autodiff();
    let start = TinyModel::seeded(5, &device);
    let step = |training: &mut TrainingLoop<TinyModel>, number: usize| {
        let batch = points(&(number * 6..number * 6 + 6).collect::<Vec<_>>(), &device);
        training.pass(|model| TrainStep::step(model, batch));
        training.update().unwrap();
    };
    fn goes_on<O: Optimizer>(
        start: &TinyModel,
        optimizer: ScheduleFree<O>,
        step: impl Fn(&mut TrainingLoop<TinyModel>, usize),
        half: bool,
    ) {
        let builder = || {
            let builder = LearnerBuilder::new(start.clone(), optimizer.clone(), constant(0.05))
                .run(RunLength::updates_per_epoch(10).epochs(2))
                .weight_decay(0.1);
            if half { builder.half_precision(HalfPrecision::bf16()) } else { builder }
        };
        let mut whole = builder().build_loop().unwrap();
        (0..20).for_each(|number| step(&mut whole, number));
        let folder = tempfile::tempdir().unwrap();
        let mut first = builder().build_loop().unwrap();
        (0..10).for_each(|number| step(&mut first, number));
        first.end_epoch([]).unwrap();
        let saved = first.save(folder.path(), 1).unwrap();
        let exported = saved.load_averaged(TinyModel::new(&Device::default())).unwrap();
        assert_eq!(flat(&exported), flat(&first.averaged_in_f32()));
        let mut second = builder().resume_from(&saved).build_loop().unwrap();
        assert_eq!(flat(&second.valid()), flat(&first.valid()));
        (10..20).for_each(|number| step(&mut second, number));
        assert_eq!(flat(second.model()), flat(whole.model()));
        // The average is the same too.
        assert_eq!(flat(&second.averaged_in_f32()), flat(&whole.averaged_in_f32()));
        assert_ne!(flat(&second.averaged_in_f32()), flat(whole.model()));
    }
    // Its warm-up continues in the second epoch.
    goes_on(&start, ScheduleFree::sgd().warmup(15).build().unwrap(), step, false);
    goes_on(&start, ScheduleFree::adamw().warmup(15).build().unwrap(), step, false);
    goes_on(&start, ScheduleFree::adamw().warmup(15).build().unwrap(), step, true);
}

/// A run that resumes with another β continues the same average.
#[test]
fn another_momentum_keeps_the_average() {
    let start = Weight::new(&[1.0, -2.0]);
    let mut optimizer = ModuleOptimizer::from(ScheduleFree::sgd().build().unwrap());
    let push = |optimizer: &mut ModuleOptimizer, model: Weight, rate: f64| {
        let gradient = model.gradient(&[0.5, -0.25]);
        optimizer.step(rate, model, gradient)
    };
    let model = (0..5).fold(start, |model, _| push(&mut optimizer, model, 0.1));
    let other = ModuleOptimizer::from(ScheduleFree::sgd().momentum(0.5).build().unwrap());
    let mut other = other.load_record(optimizer.to_record());
    // Before its first update, its state is from the old one.
    let before = averaged(&model, &optimizer).values();
    assert_eq!(averaged(&model, &other).values(), before);
    // An update at a rate of 0 changes only where gradients are taken, not the average.
    let moved = push(&mut other, model.clone(), 0.0);
    let found = averaged(&moved, &other).values();
    let z = |x: f32, y: f32| (y - 0.9 * x) / 0.1;
    for j in 0..2 {
        let z = z(before[j], model.values()[j]);
        // Its weight equals that of the others: c = 1/6.
        let x = before[j] + (z - before[j]) / 6.0;
        assert!((found[j] - x).abs() < 1e-5, "{found:?}, not {x}");
        assert!((moved.values()[j] - 0.5 * (x + z)).abs() < 1e-5);
    }
}

/// Gradients that are exact in f16, so that the master weights equal the weights in f32.
#[test]
fn in_half_precision_masters_train_and_are_averaged() {
    let train = |half: bool| {
        let adamw = ScheduleFree::adamw().build().unwrap();
        let run = RunLength::updates(UPDATES);
        let start = Weight::new(&[1.0, -0.5]);
        let builder = LearnerBuilder::new(start, adamw, constant(1e-4)).run(run).weight_decay(0.1);
        let scaling = Some(LossScaling::fixed(1.0));
        let f16 = HalfPrecision { loss_scaling: scaling, ..HalfPrecision::f16() };
        let builder = if half { builder.half_precision(f16) } else { builder };
        let mut training = builder.build_loop().unwrap();
        for t in 0..UPDATES {
            training.pass(|model| {
                let dtype = model.weight.val().dtype();
                let values = [if t % 3 == 0 { 0.5 } else { -0.25 }, 2f32.powi(-20)];
                let mut grads = GradientsParams::new();
                let gradient = model.gradient(&values).remove::<1>(model.weight.id).unwrap();
                grads.register(model.weight.id, gradient.cast(dtype));
                let loss = model.weight.val().sum().cast(FloatDType::F32);
                drop(loss.clone().scaled_backward());
                TrainOutput { grads, item: loss }
            });
            training.update().unwrap();
        }
        let trained = training.model_in_f32().values();
        (trained, training.valid())
    };
    let (full, at_full) = train(false);
    let (masters, at_half) = train(true);
    assert_eq!(masters, full);
    assert_eq!(at_half.weight.val().dtype(), DType::F16);
    assert_eq!(at_half.values(), to_precision(at_full, FloatDType::F16).values());
}

/// z is in f32 and so is the ε of 1e-8; a weight without a gradient would be 0/0 in f16.
#[test]
fn a_bare_optimizer_in_half_precision_makes_numbers() {
    let model = to_precision(Weight::new(&[1.0, 1.0]), FloatDType::F16);
    let mut optimizer = ModuleOptimizer::from(ScheduleFree::adamw().build().unwrap());
    let mut gradients = GradientsParams::new();
    let values = model.gradient(&[0.0, 0.5]).remove::<1>(model.weight.id).unwrap();
    gradients.register(model.weight.id, values.cast(FloatDType::F16));
    let model = optimizer.step(0.125, model, gradients);
    assert_eq!(model.weight.val().dtype(), DType::F16);
    assert_eq!(model.values(), [1.0, 0.875]);
    assert_eq!(averaged(&model, &optimizer).values(), [1.0, 0.875]);
}

#[test]
fn a_controller_lowers_the_rate_and_clipping_the_gradient() {
    let sgd = ScheduleFree::sgd().build().unwrap();
    let plateau = Plateau::min(MetricOf::valid("Loss")).patience(0).factor(0.5);
    let mut training = builder(sgd.clone(), constant(0.4))
        .controller("plateau", plateau)
        .clip_global_norm(1e6)
        .build_loop()
        .unwrap();
    for epoch in 0..3 {
        (0..20).for_each(|_| update(&mut training));
        training.end_epoch([(MetricOf::valid("Loss"), f64::from(epoch))]).unwrap();
    }
    let rates = |_| -> Vec<f64> { (0..60).map(|t| [0.4, 0.4, 0.2][t / 20]).collect() };
    assert_eq!(training.last_update().unwrap().rate, 0.2);
    let off = PLAIN.distance(&training, rates, |_, _| 0.0, false);
    assert!(off < 3e-6, "{off:e}");
    let clipped = trained(builder(sgd, constant(0.4)).clip_global_norm(1e-3), 1);
    let moved: f32 =
        flat(clipped.model()).iter().zip(START.as_flattened()).map(|(w, s)| (w - s).powi(2)).sum();
    assert!((moved.sqrt() - 4e-4).abs() < 1e-6, "{moved}");
}

/// Parameters of another optimizer, and those that do not train yet, are evaluated unchanged.
#[test]
fn only_what_is_averaged_is_evaluated_at_an_average() {
    let sgd = ScheduleFree::sgd().build().unwrap();
    let other = builder(SgdConfig::new().build(), constant(0.2))
        .optimizer_for(Selection::regex("1.*"), sgd.clone());
    let training = trained(other, UPDATES);
    let at = training.valid();
    let expected = PLAIN.run((1, 0), &[0.2; UPDATES as usize], |_| 0.0, false);
    assert!((f64::from(at[1].values()[0]) - expected[1]).abs() < 3e-6);
    assert_eq!(at[0].values(), training.model()[0].values());

    let late = Group::new("late", Selection::regex("1.*")).unfreeze_at(Span::steps(50));
    let groups = GroupsConfig::new().group(late).group(Group::rest("rest"));
    let mut training = builder(sgd.clone(), constant(0.2)).groups(groups).build_loop().unwrap();
    (0..50).for_each(|_| update(&mut training));
    assert_eq!(training.valid()[1].values(), START[1]);
    (0..10).for_each(|_| update(&mut training));
    // Its updates are counted from where it thaws.
    let expected = PLAIN.run((1, 0), &[0.2; 10], |_| 0.0, false);
    assert!((f64::from(training.valid()[1].values()[0]) - expected[1]).abs() < 3e-6);
}

fn error(builder: LearnerBuilder<Pair>) -> String {
    builder.build_loop().expect_err("it is refused").to_string()
}

#[test]
fn a_rate_that_falls_is_refused() {
    let sgd = || ScheduleFree::sgd().build().unwrap();
    let falls = error(builder(sgd(), cosine(0.1).warmup(Span::percent(10))));
    assert!(falls.contains("ScheduleFree<Sgd>") && falls.contains("at update 7"), "{falls}");
    assert!(falls.contains("`model` falls from 0.1 to"), "{falls}");
    for schedule in [
        exponential(0.1, Decay::Kappa(1e-10)).into(),
        constant(0.1).then(Span::steps(59), constant(0.05)).into(),
        one_cycle(0.1).into(),
    ] as [ScheduleConfig; 3]
    {
        assert!(error(builder(sgd(), schedule)).contains("falls"));
    }
    // A long run is checked at some updates, a run without an end at its start.
    let long = |run: RunLength, schedule: ScheduleConfig| {
        LearnerBuilder::new(pair(), sgd(), schedule).run(run).build_loop().is_ok()
    };
    let never = constant(0.1).warmup(Span::steps(1_000));
    assert!(long(RunLength::updates(1 << 52), never.clone().into()));
    assert!(long(RunLength::unbounded(), never.into()));
    assert!(!long(RunLength::updates(10_000_000), linear(0.1, 0.09).into()));
    assert!(!long(RunLength::unbounded(), step_decay(0.1, Span::steps(90_000), 0.5).into()));

    // A group of its own, and one of another optimizer.
    let own = |name: &str| {
        let decays = Group::new("decays", Selection::regex(name)).schedule(linear(0.1, 0.0));
        GroupsConfig::new().group(decays).group(Group::rest("rest"))
    };
    let first = builder(SgdConfig::new().build(), constant(0.1))
        .optimizer_for(Selection::regex("1.*"), sgd());
    assert!(first.clone().groups(own("0.*")).build_loop().is_ok());
    assert!(error(first.groups(own("1.*"))).contains("`decays` falls"));
    assert!(builder(sgd(), linear(0.0, 0.1)).build_loop().is_ok());
    // A parameter that never trains has no falling rate.
    let frozen = Group::new("decays", Selection::regex("0.*")).schedule(linear(0.1, 0.0)).frozen();
    let groups = GroupsConfig::new().group(frozen).group(Group::rest("rest"));
    assert!(builder(sgd(), constant(0.1)).groups(groups).build_loop().is_ok());
}

#[test]
fn muon_trains_beside_it() {
    let device = Device::default().autodiff();
    let model = TinyModel::seeded(2, &device);
    let adamw = ScheduleFree::adamw().build().unwrap();
    let matrices = Group::new("matrices", Selection::matrices()).schedule(linear(0.02, 0.0));
    let mut training = LearnerBuilder::new(model, adamw.clone(), constant(0.01))
        .optimizer_for(Selection::matrices(), MuonConfig::new().build())
        .groups(GroupsConfig::new().group(matrices).group(Group::rest("rest")))
        .run(RunLength::updates(8))
        .build_loop()
        .unwrap();
    for number in 0..8 {
        let batch = points(&(number * 6..number * 6 + 6).collect::<Vec<_>>(), &device);
        training.pass(|model| TrainStep::step(model, batch));
        training.update().unwrap();
    }
    let values = |model: &TinyModel| {
        let bias = model.head.bias.as_ref().unwrap().val().into_data();
        (model.head.weight.val().into_data(), bias)
    };
    let (trained, at) = (values(training.model()), values(&training.valid()));
    assert_eq!(trained.0, at.0);
    assert_ne!(trained.1, at.1);
}

#[test]
fn what_cannot_be_is_refused() {
    let sgd = ScheduleFree::sgd;
    for (wrong, says) in [
        (sgd().momentum(0.0), "momentum: 0.0 is not allowed"),
        (sgd().momentum(1.1), "momentum: 1.1"),
        (sgd().momentum(f64::NAN), "momentum: NaN"),
        (sgd().weight_power(-1.0), "weight_power: -1.0"),
        (sgd().weight_power(f64::INFINITY), "weight_power: inf"),
        (sgd().polynomial(f64::NAN), "polynomial: NaN"),
    ] {
        let error = wrong.build().err().unwrap().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    let adamw = ScheduleFree::adamw;
    for (wrong, says) in [
        (adamw().beta_2(1.0), "beta_2: 1.0"),
        (adamw().beta_2(f64::NAN), "beta_2: NaN"),
        (adamw().epsilon(0.0), "epsilon: 0.0"),
        (adamw().epsilon(f64::INFINITY), "epsilon: inf"),
    ] {
        let error = wrong.build().err().unwrap().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    let twice = ScheduleFree::around(sgd().build().unwrap()).build().err().unwrap().to_string();
    assert!(twice.contains("a schedule-free optimizer"), "{twice}");

    // A momentum schedule does not apply to β.
    let optimizer = || sgd().build().unwrap();
    let followed = builder(optimizer(), constant(0.1)).momentum(constant(0.9));
    assert!(error(followed).starts_with("momentum: ScheduleFree<Sgd>"));
    // A decay inside and one outside.
    let inside = ScheduleFree::around(AdamWConfig::new().with_weight_decay(0.1).build());
    let inside = inside.build().unwrap();
    assert!(builder(inside.clone(), constant(0.1)).build_loop().is_ok());
    assert!(error(builder(inside, constant(0.1)).weight_decay(0.1)).contains("decays all weights"));
    // A decay around it would not reach z.
    let run = RunLength::updates(10);
    let schedule = constant(0.1).resolve(run).unwrap();
    let decay = WeightDecay::coupled(0.1);
    let around = Decayed::new(optimizer(), &decay, &schedule, run).err().unwrap();
    assert!(matches!(around, DecayedError::Decay(_)));
    assert!(around.to_string().contains("wraps ScheduleFree"), "{around}");
}

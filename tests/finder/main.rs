//! A range test sweeps the actual training, and leaves everything unchanged; a search trains many models.

mod search;

use anneal_tests::{Points, TinyModel, Weight, batches, flat, points, seeded, shuffled};
use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig};
use burn::optim::{AdamWConfig, GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use burn::train::{ClassificationOutput, InferenceStep, RegressionOutput, TrainOutput, TrainStep};
use burn_anneal::plan::{Ended, Rule, Sweep, Verdict, Warmup};
use burn_anneal::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Burn's generator is shared by all threads.
fn alone() -> MutexGuard<'static, ()> {
    static RANDOM: Mutex<()> = Mutex::new(());
    RANDOM.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device() -> Device {
    Device::default().autodiff()
}

type Recipe = fn(TinyModel) -> LearnerBuilder<TinyModel>;

fn sgd(model: TinyModel) -> LearnerBuilder<TinyModel> {
    let momentum = burn::optim::momentum::MomentumConfig::new();
    let optimizer = SgdConfig::new().with_momentum(Some(momentum)).build();
    LearnerBuilder::new(model, optimizer, cosine(0.1).warmup(Span::steps(3)))
}

fn adam_in_groups(model: TinyModel) -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(model, AdamWConfig::new().with_weight_decay(0.0).build(), cosine(0.01))
        .groups(layer_decay(0.5).unfreeze_every(Span::percent(30.0)))
        .weight_decay(0.05)
        .clip_global_norm(1.0)
}

fn half(model: TinyModel) -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(model, AdamWConfig::new().build(), constant(0.01))
        .half_precision(HalfPrecision::f16())
}

fn schedule_free(model: TinyModel) -> LearnerBuilder<TinyModel> {
    let optimizer = ScheduleFree::adamw().warmup(3).build().unwrap();
    LearnerBuilder::new(model, optimizer, constant(0.01)).weight_decay(0.05)
}

const RECIPES: [(&str, Recipe); 4] = [
    ("SGD", sgd),
    ("AdamW in groups", adam_in_groups),
    ("f16", half),
    ("schedule-free", schedule_free),
];

/// The bits of the weights after the next two epochs of a loader.
fn trained(builder: LearnerBuilder<TinyModel>, loader: &dyn DataLoader<Points>) -> Vec<u32> {
    let run = RunLength::from_items(30, 6).epochs(2);
    let mut training = builder.run(run).build_loop().unwrap();
    for _ in 0..2 {
        for batch in loader.iter() {
            training.pass(|model| TrainStep::step(model, batch.unwrap()));
            training.update().unwrap();
        }
    }
    bits(&training.into_model())
}

fn bits(model: &impl Module) -> Vec<u32> {
    flat(model).into_iter().map(f32::to_bits).collect()
}

fn quick() -> LrFinder {
    LrFinder::new().sweep(Sweep::new(1e-6, 10.0).updates(20)).seeds(2)
}

#[test]
fn model_optimizer_schedule_and_loader_are_as_before() {
    let _alone = alone();
    for (name, recipe) in RECIPES {
        let loader = seeded(30, 6, 3);
        let expected = trained(recipe(TinyModel::seeded(1, &device())), loader.as_ref());

        let loader = seeded(30, 6, 3);
        let builder = recipe(TinyModel::seeded(1, &device()));
        quick().find(&builder, &loader).unwrap();
        assert_eq!(trained(builder, loader.as_ref()), expected, "{name}");
    }
}

#[test]
fn a_run_of_ones_own_goes_on_as_if_nobody_had_looked() {
    let _alone = alone();
    for (name, recipe) in RECIPES {
        let run = RunLength::from_items(30, 6).epochs(2);
        let train = |looks: bool| {
            let loader = seeded(30, 6, 3);
            let mut training =
                recipe(TinyModel::seeded(1, &device())).run(run).build_loop().unwrap();
            for epoch in 0..2 {
                for (index, batch) in loader.iter().enumerate() {
                    let batch = batch.unwrap();
                    if looks && index == 2 && epoch == 0 {
                        let pass = |model: &TinyModel| TrainStep::step(model, batch.clone());
                        let found = quick().find_in(&training, pass).unwrap();
                        assert_eq!(found.tests().len(), 2);
                    }
                    training.pass(|model| TrainStep::step(model, batch));
                    training.update().unwrap();
                }
            }
            (bits(training.model()), training.next_update())
        };
        assert_eq!(train(true), train(false), "{name}");
    }
}

/// Fails in its third batch.
struct Broken;

impl Dataset<usize> for Broken {
    fn get(&self, index: usize) -> Result<usize, DatasetError> {
        match index < 12 {
            true => Ok(index),
            false => Err(DatasetError::new(std::io::Error::other("unreadable"))),
        }
    }

    fn len(&self) -> usize {
        30
    }
}

struct PointBatcher;

impl Batcher<usize, Points> for PointBatcher {
    fn batch(&self, items: Vec<usize>, device: &Device) -> Points {
        points(&items, device)
    }
}

#[test]
fn after_an_error_everything_is_as_before_too() {
    let _alone = alone();
    let broken: Arc<dyn DataLoader<Points>> = Arc::new(SeededLoader::new(Broken, PointBatcher, 6));
    for (name, recipe) in RECIPES {
        let builder = recipe(TinyModel::seeded(1, &device()));
        let error = quick().find(&builder, &broken).unwrap_err().to_string();
        assert!(error.contains("unreadable"), "{error}");
        let loader = seeded(30, 6, 3);
        let expected = trained(recipe(TinyModel::seeded(1, &device())), loader.as_ref());
        assert_eq!(trained(builder, seeded(30, 6, 3).as_ref()), expected, "{name}");
    }
    let mut batches = broken.iter();
    let first = batches.next().unwrap().unwrap().targets.into_data();
    assert_eq!(first, points(&[0, 1, 2, 3, 4, 5], &Device::default()).targets.into_data());
}

/// With running statistics, which clones of a model share, and random numbers.
#[derive(Module, Debug)]
struct Noisy {
    norm: BatchNorm,
    dropout: Dropout,
    inner: TinyModel,
}

impl TrainStep for Noisy {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> TrainOutput<ClassificationOutput> {
        let features = self.dropout.forward(self.norm.forward(points.features));
        let output = self.inner.forward(Points { features, ..points });
        TrainOutput::new(self, output.loss.clone().scaled_backward(), output)
    }
}

impl InferenceStep for Noisy {
    type Input = Points;
    type Output = ClassificationOutput;

    fn step(&self, points: Points) -> ClassificationOutput {
        self.inner.forward(points)
    }
}

fn noisy() -> LearnerBuilder<Noisy> {
    let device = device();
    let model = Noisy {
        norm: BatchNormConfig::new(anneal_tests::FEATURES).init(&device),
        dropout: DropoutConfig::new(0.3).init(),
        inner: TinyModel::seeded(1, &device),
    };
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1)).run(RunLength::updates(100))
}

/// Three updates, optionally a range test, the generator's next numbers, and the model after two more updates.
fn looked_at(finder: Option<LrFinder>) -> (Vec<u32>, TensorData) {
    let device = device();
    let mut training = noisy().build_loop().unwrap();
    let pass = |model: &Noisy| TrainStep::step(model, points(&[1, 2, 3, 4], &device));
    device.seed(9);
    for _ in 0..3 {
        training.pass(pass);
        training.update().unwrap();
    }
    match finder {
        Some(finder) => drop(finder.seed(5).find_in(&training, pass).unwrap()),
        None => device.seed(5),
    }
    let drawn = Tensor::<1>::random([4], Distribution::Default, &device).into_data();
    for _ in 0..2 {
        training.pass(pass);
        training.update().unwrap();
    }
    (bits(&training.into_model().valid()), drawn)
}

#[test]
fn running_statistics_stay_and_generators_go_on_from_the_seed() {
    let _alone = alone();
    assert_eq!(looked_at(Some(quick())), looked_at(None));
}

#[test]
fn a_clone_of_a_builder_trains_with_statistics_of_its_own() {
    let _alone = alone();
    let builder = noisy();
    let trained = |builder: LearnerBuilder<Noisy>| {
        let device = device();
        device.seed(3);
        let mut training = builder.build_loop().unwrap();
        for _ in 0..3 {
            training.pass(|model| TrainStep::step(model, points(&[1, 2, 3, 4], &device)));
            training.update().unwrap();
        }
        bits(&training.into_model().valid())
    };
    assert_eq!(trained(builder.clone()), trained(builder));
}

#[test]
fn the_same_seed_finds_the_same_whatever_was_drawn_before() {
    let _alone = alone();
    let (builder, loader) = (noisy(), seeded(30, 6, 3));
    let found = quick().find(&builder, &loader).unwrap();
    device().seed(77);
    assert_eq!(quick().find(&builder, &loader).unwrap(), found);
    assert_ne!(found.tests()[0].points(), found.tests()[1].points(), "sweeps differ");
    assert_ne!(quick().seed(1).find(&builder, &loader).unwrap(), found);
}

/// ½ Σ λ w², whose gradient is λ w.
fn quadratic(model: &Weight, curvature: f32) -> Tensor<1> {
    model.weight.val().square().sum() * (0.5 * curvature)
}

fn weights(schedule: impl Into<ScheduleConfig>) -> LearnerBuilder<Vec<Weight>> {
    let model = vec![Weight::new(&[1.0]), Weight::new(&[2.0])];
    LearnerBuilder::new(model, SgdConfig::new().build(), schedule).run(RunLength::updates(1_000))
}

#[test]
fn the_whole_schedule_is_swept_with_its_groups_and_their_decay() {
    let _alone = alone();
    let groups = GroupsConfig::new()
        .group(Group::new("first", "^0").multiple(0.5))
        .group(Group::rest("rest"));
    let training = weights(cosine(0.3).warmup(Span::percent(10.0)))
        .groups(groups)
        .weight_decay(0.1)
        .build_loop()
        .unwrap();
    let sweep = Sweep::new(1e-3, 1.0).updates(30);
    let found = LrFinder::new()
        .sweep(sweep.clone())
        .seeds(1)
        .find_in(&training, |model: &Vec<Weight>| {
            let [first, rest] = [&model[0], &model[1]].map(|part| quadratic(part, 1.0));
            let loss = first + rest;
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        })
        .unwrap();

    let (mut first, mut rest) = (1.0_f64, 2.0_f64);
    let points = found.tests()[0].points();
    assert_eq!(points.len(), 30);
    for (index, point) in points.iter().enumerate() {
        let rate = sweep.rate(index as u64);
        assert_eq!(point.rate, rate);
        let loss = 0.5 * (first * first + rest * rest);
        assert!((point.loss / loss - 1.0).abs() < 1e-5, "{index}: {} for {loss}", point.loss);
        // Decoupled decay, then the gradient of the weights before it.
        first = first * (1.0 - 0.1 * 0.5 * rate) - 0.5 * rate * first;
        rest = rest * (1.0 - 0.1 * rate) - rate * rest;
    }
}

#[test]
fn it_stops_where_the_loss_diverges_and_counts_updates() {
    let _alone = alone();
    let run = RunLength::updates(1_000).gradient_accumulation(3);
    let training = weights(constant(0.1)).run(run).build_loop().unwrap();
    let mut passes = 0;
    let found = LrFinder::new()
        .seeds(1)
        .find_in(&training, |model: &Vec<Weight>| {
            passes += 1;
            let loss = quadratic(&model[1], 30.0);
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        })
        .unwrap();
    let test = &found.tests()[0];
    // The sum of three batches: stable below 2/90.
    let Ended::Diverged { rate } = test.ended() else { panic!("{:?}", test.ended()) };
    assert!((2.0 / 90.0..1.0).contains(&rate), "{rate}");
    assert_eq!(passes, 3 * test.points().len());
}

#[test]
fn fewer_batches_than_updates_and_a_shuffled_loader_are_said() {
    let _alone = alone();
    let builder = sgd(TinyModel::seeded(1, &device()));
    let loader = seeded(12, 6, 3);
    let found = quick().find(&builder, &loader).unwrap();
    assert!(found.to_string().contains("fewer batches"), "{found}");
    assert!(!found.to_string().contains("SeededLoader"), "{found}");

    let loader = shuffled(600, 6);
    let found = quick().find(&builder, &loader).unwrap();
    assert!(!found.to_string().contains("fewer batches"), "{found}");
    assert!(found.to_string().contains("not a SeededLoader"), "{found}");
}

#[test]
fn accumulation_and_epochs_of_the_run_are_respected() {
    let _alone = alone();
    let builder = sgd(TinyModel::seeded(1, &device()))
        .run(RunLength::of_training().gradient_accumulation(2).epochs(3));
    let found = quick().seeds(1).find(&builder, &seeded(600, 6, 3)).unwrap();
    assert!(!found.to_string().contains("fewer batches"), "{found}");
    let found = quick().seeds(1).find(&builder, &seeded(120, 6, 3)).unwrap();
    assert!(found.to_string().contains("repeated 2 times"), "{found}");

    // In a run of this many updates.
    let builder = sgd(TinyModel::seeded(1, &device())).run(RunLength::updates(50));
    quick().seeds(1).find(&builder, &batches(60, 6, 0)).unwrap();
}

#[test]
fn bad_input_is_refused_by_name() {
    let _alone = alone();
    let loader = seeded(30, 6, 3);
    let error = |finder: LrFinder| {
        let builder = sgd(TinyModel::seeded(1, &device()));
        finder.find(&builder, &loader).unwrap_err().to_string()
    };
    let high_to_low = error(LrFinder::new().sweep(Sweep::new(1.0, 1e-3)));
    assert!(high_to_low.starts_with("highest: 0.001"), "{high_to_low}");
    assert!(error(LrFinder::new().seeds(0)).starts_with("seeds: 0"));
    let at = error(LrFinder::new().at(Span::steps(1 << 40)));
    assert!(at.contains("at: "), "{at}");

    let frozen = TinyModel::seeded(1, &device()).no_grad();
    let frozen = sgd(frozen).find_rate(&loader).unwrap_err().to_string();
    assert!(frozen.contains("no parameters") || frozen.contains("parameter"), "{frozen}");
    let late = GroupsConfig::new()
        .group(Group::new("head", "^head").unfreeze_at(Span::percent(50.0)))
        .group(Group::rest("rest").frozen());
    let late = sgd(TinyModel::seeded(1, &device())).groups(late).find_rate(&loader);
    let late = late.unwrap_err().to_string();
    assert!(late.contains("no parameter is trained"), "{late}");

    let empty = seeded(0, 6, 3);
    let empty = sgd(TinyModel::seeded(1, &device())).find_rate(&empty).unwrap_err();
    assert!(empty.to_string().contains("no batches"), "{empty}");
}

#[test]
fn a_loss_that_is_nan_from_the_first_update_on_gives_no_rate() {
    let _alone = alone();
    let training = weights(constant(0.1)).build_loop().unwrap();
    let found = LrFinder::new()
        .find_in(&training, |model: &Vec<Weight>| {
            let loss = quadratic(&model[1], f32::NAN);
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        })
        .unwrap();
    assert!(matches!(found.verdict(), Verdict::Nothing(_)), "{found}");
    assert!(Rule::ALL.into_iter().all(|rule| found.suggestion_by(rule).is_none()));
    assert!(found.to_string().contains("first"), "{found}");
}

fn training_of_one() -> TrainingLoop<Vec<Weight>> {
    weights(constant(0.01)).build_loop().unwrap()
}

#[test]
fn the_largest_first_rate_of_a_quadratic_is_that_of_its_curvature() {
    let _alone = alone();
    // g = λ w, and the loss rises beyond 2 ‖g‖² / gᵀHg.
    let (curvatures, at) = ([3.0_f64, 20.0], [1.0_f64, 2.0]);
    let sum = |power: i32| -> f64 {
        curvatures.iter().zip(at).map(|(curvature, w)| curvature.powi(power) * w * w).sum()
    };
    let largest = 2.0 * sum(2) / sum(3);
    let training = weights(constant(0.01)).build_loop().unwrap();
    let pass = |model: &Vec<Weight>| {
        let loss = quadratic(&model[0], 3.0) + quadratic(&model[1], 20.0);
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    };
    let before = bits(training.model());
    let found = LrFinder::new().first_rate_in(&training, pass).unwrap();
    let rate = found.rate().unwrap();
    assert!(rate <= largest && largest < 1.1 * rate, "{found} for {largest}");
    assert!(found.found.evaluations < 15, "{found}");
    let along = found.along_update().unwrap();
    assert!((along.gradient_squared / sum(2) - 1.0).abs() < 1e-2, "{along:?}");
    assert!((along.curvature / (sum(3) / sum(2)) - 1.0).abs() < 1e-2, "{along:?}");
    assert!(along.curvature <= 20.0);
    assert_eq!(bits(training.model()), before);

    // An update of the mean of two batches equals that of one.
    let run = RunLength::updates(1_000).gradient_accumulation(2);
    let training = weights(constant(0.01)).gradient_reduction(GradientReduction::Mean).run(run);
    let mean = LrFinder::new().first_rate_in(&training.build_loop().unwrap(), pass).unwrap();
    assert_eq!(mean.rate(), Some(rate));
    // The update of their sum is twice as long.
    let sum_of_two = weights(constant(0.01)).run(run).build_loop().unwrap();
    let twice = LrFinder::new().first_rate_in(&sum_of_two, pass).unwrap().rate().unwrap();
    assert!(2.0 * twice <= largest && largest < 2.2 * twice, "{twice} for {largest}");

    let broken = |model: &Vec<Weight>| {
        let loss = quadratic(&model[0], f32::NAN);
        TrainOutput::new(model, loss.clone().scaled_backward(), loss)
    };
    let error = LrFinder::new().first_rate_in(&training_of_one(), broken).unwrap_err();
    assert!(error.to_string().contains("NaN before the update"), "{error}");
    let unknown = |model: &Vec<Weight>| {
        let loss = quadratic(&model[0], 1.0);
        TrainOutput::new(model, loss.backward(), "no loss")
    };
    let error = LrFinder::new().first_rate_in(&training_of_one(), unknown).unwrap_err();
    assert!(error.to_string().contains("rate finder"), "{error}");

    // A group with half of the rate has half of the curvature along the update.
    let groups = GroupsConfig::new()
        .group(Group::new("half", "^1").multiple(0.5))
        .group(Group::rest("rest"));
    let training = weights(constant(0.01)).groups(groups).build_loop().unwrap();
    let found = LrFinder::new().first_rate_in(&training, pass).unwrap();
    let scaled = 2.0 * (9.0 + 0.5 * 1600.0) / (27.0 + 0.25 * 8000.0 * 4.0);
    let rate = found.rate().unwrap();
    assert!(rate <= scaled && scaled < 1.1 * rate, "{found} for {scaled}");

    let finder = |lowest, highest| LrFinder::new().sweep(Sweep::new(lowest, highest));
    let high = finder(1.0, 10.0).first_rate_in(&training, pass).unwrap();
    assert!(high.rate().is_none() && high.to_string().contains("try lower"), "{high}");
    let low = finder(1e-6, 1e-3).first_rate_in(&training, pass).unwrap();
    assert!(low.rate() == Some(1e-3) && low.to_string().contains("try higher"), "{low}");
}

/// ¼ w⁴ of each weight, with a curvature that falls with the weights; batches are ignored.
#[derive(Module, Debug)]
struct Quartic {
    weight: Weight,
}

impl TrainStep for Quartic {
    type Input = Points;
    type Output = RegressionOutput;

    fn step(&self, points: Points) -> TrainOutput<RegressionOutput> {
        let output = InferenceStep::step(self, points);
        TrainOutput::new(self, output.loss.clone().scaled_backward(), output)
    }
}

impl InferenceStep for Quartic {
    type Input = Points;
    type Output = RegressionOutput;

    fn step(&self, _: Points) -> RegressionOutput {
        let loss = self.weight.weight.val().square().square().sum() * 0.25;
        let none = Tensor::<2>::zeros([1, 1], &loss.device());
        RegressionOutput { loss, output: none.clone(), targets: none }
    }
}

#[test]
fn a_warmup_is_as_long_as_the_curvature_asks_for() {
    let _alone = alone();
    let loader = seeded(30, 6, 3);
    let warmup = |peak: f64, updates: u64| {
        let model = Quartic { weight: Weight::new(&[10.0]) };
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), constant(peak));
        LrFinder::new().warmup(&builder, &loader, updates).unwrap()
    };
    // w ← w (1 − η w²) raises the loss for η above 2/w².
    let found = warmup(1.0, 64);
    let updates: Vec<u64> = found.stable.iter().map(|at| at.update).collect();
    assert_eq!(updates, [0, 1, 2, 4, 8, 16, 32, 64]);
    let (mut w, mut rate) = (10.0_f64, 0.0);
    for update in 0..=64_u64 {
        if let Some(at) = found.stable.iter().find(|at| at.update == update) {
            let stable = 2.0 / (w * w);
            // Rates up to 10 are tried.
            let right = match at.rate.is_finite() {
                true => at.rate < stable * 1.001 && stable < 1.101 * at.rate,
                false => stable > 10.0,
            };
            assert!(right, "{update}, {stable}: {found}");
            rate = (0.5 * at.rate).min(1.0);
        }
        w *= 1.0 - rate * w * w;
    }
    // 2/w² is 0.02 at first, and far above 2 in the end.
    let Some(Warmup::Updates { length, .. }) = found.advice else { panic!("{found}") };
    assert!((99..=110).contains(&length), "{found}");

    assert_eq!(warmup(1e-3, 8).advice, Some(Warmup::NotNeeded));
    let high = warmup(1e3, 1);
    assert!(matches!(high.advice, Some(Warmup::NotMeasured { last: 1, .. })), "{high}");
    assert!(found.to_string().contains("fewer batches than"), "{found}");
    let builder = sgd(TinyModel::seeded(1, &device()));
    let error = LrFinder::new().warmup(&builder, &loader, 0).unwrap_err().to_string();
    assert!(error.starts_with("updates: 0"), "{error}");
}

#[test]
fn a_parameter_in_two_places_is_swept_as_burns_loop_trains_it() {
    let _alone = alone();
    let weight = Weight::new(&[1.0]);
    let mut by_hand = vec![weight.clone(), weight];
    let builder = LearnerBuilder::new(by_hand.clone(), SgdConfig::new().build(), constant(0.01));
    let training = builder.run(RunLength::updates(10)).build_loop().unwrap();
    let loss = |model: &Vec<Weight>| quadratic(&model[0], 1.0) + quadratic(&model[1], 3.0);
    let sweep = Sweep::new(1e-3, 0.1).updates(20);
    let found = LrFinder::new()
        .sweep(sweep.clone())
        .seeds(1)
        .find_in(&training, |model: &Vec<Weight>| {
            let loss = loss(model);
            TrainOutput::new(model, loss.clone().scaled_backward(), loss)
        })
        .unwrap();
    let mut optimizer = SgdConfig::new().init();
    for (index, point) in found.tests()[0].points().iter().enumerate() {
        let loss = loss(&by_hand);
        let expected = f64::from(loss.clone().into_scalar::<f32>());
        assert!((point.loss / expected - 1.0).abs() < 1e-5, "{index}: {}, {expected}", point.loss);
        let gradients = GradientsParams::from_grads(loss.backward(), &by_hand);
        by_hand = optimizer.step(sweep.rate(index as u64), by_hand, gradients);
    }
}

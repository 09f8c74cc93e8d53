//! Controllers in Burn's learner and in a custom loop: their signals, the effect of their answers, and how they are
//! saved, refused and shown.

use anneal_tests::{FEATURES, Points, Term, TermModel, TinyModel, flat, points, supervised};
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsAccumulator, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, Interrupter, ItemLazy, Learner, TrainOutput, TrainStep};
use burn_anneal::control::{
    Answer, BatchAgain, Controller, Cooldown, Event, FiniteGuard, Needs, Observation, OutOfRange,
    Seen, Stop,
};
use burn_anneal::groups::ControlSummary;
use burn_anneal::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn device() -> Device {
    Device::default().autodiff()
}

/// Gives preset answers, and records what it hears. Its state is the number of updates that it heard of, on which
/// answers may depend.
#[derive(Clone, Debug)]
struct Told {
    needs: Needs,
    answers: Answers,
    updates: u64,
    heard: Arc<Mutex<Vec<Heard>>>,
}

type Answers = fn(&Seen<'_>, u64) -> Result<Answer, Stop>;

#[derive(Clone, Debug)]
struct Heard {
    number: u64,
    loss_scale: f64,
    seen: Observation,
    before: Answer,
    is_outcome: bool,
}

impl Told {
    fn new(answers: Answers) -> Self {
        Self { needs: Needs::default(), answers, updates: 0, heard: Arc::default() }
    }

    /// Answers nothing.
    fn needs(needs: Needs) -> Self {
        Self { needs, ..Self::new(|_, _| Ok(Answer::default())) }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What it heard before each update.
    fn seen(&self) -> Vec<(u64, Observation)> {
        let updates = self.heard().into_iter().filter(|heard| !heard.is_outcome);
        updates.map(|heard| (heard.number, heard.seen)).collect()
    }
}

impl Controller for Told {
    type State = u64;

    fn needs(&self) -> Needs {
        self.needs
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let (seen, is_outcome) = match event {
            Event::Update(seen) => (seen, false),
            Event::Outcome(seen, _) => (seen, true),
            _ => return Ok(Answer::default()),
        };
        self.heard.lock().unwrap().push(Heard {
            number: seen.number,
            loss_scale: seen.loss_scale,
            seen: *seen.observation,
            before: *seen.answered,
            is_outcome,
        });
        if is_outcome {
            return Ok(Answer::default());
        }
        self.updates += 1;
        (self.answers)(seen, self.updates - 1)
    }

    fn state(&self) -> u64 {
        self.updates
    }

    fn restore(&mut self, updates: u64) -> Result<(), OutOfRange> {
        self.updates = updates;
        Ok(())
    }
}

/// The same builder for a learner and for a loop.
enum Training {
    Learner(Box<Learner<Annealed<TermModel>>>, Interrupter),
    Loop(Box<TrainingLoop<TermModel>>),
}

impl Training {
    /// With an object for each of the two, for example a controller that records what it hears.
    fn both<T>(make: impl Fn() -> (LearnerBuilder<TermModel>, T)) -> [(Self, T); 2] {
        let interrupter = Interrupter::new();
        let (builder, of_learner) = make();
        let learner = Box::new(builder.build(interrupter.clone()).unwrap());
        let (builder, of_loop) = make();
        let training = Box::new(builder.build_loop().unwrap());
        [(Self::Learner(learner, interrupter), of_learner), (Self::Loop(training), of_loop)]
    }

    /// For which only the weights matter.
    fn plain(make: impl Fn() -> LearnerBuilder<TermModel>) -> [Self; 2] {
        Self::both(|| (make(), ())).map(|(training, ())| training)
    }

    /// Makes an update of these batches like Burn's training.
    fn update(&mut self, batches: &[Term]) -> Result<(), Arc<UpdateError>> {
        match self {
            Self::Learner(learner, _) => {
                let mut sum = GradientsAccumulator::new();
                for batch in batches {
                    let output = learner.train_step(batch.clone());
                    sum.accumulate(&learner.model(), output.grads);
                }
                learner.lr_step();
                learner.optimizer_step(sum.grads());
                learner.model().failure().map_or(Ok(()), Err)
            }
            Self::Loop(training) => {
                for batch in batches {
                    training.pass(|model| TrainStep::step(model, batch.clone()));
                }
                training.update().map(|_| ())
            }
        }
    }

    fn values(&self) -> Vec<f32> {
        match self {
            Self::Learner(learner, _) => learner.model().inner().values(),
            Self::Loop(training) => training.model().values(),
        }
    }

    fn observation(&self) -> Observation {
        match self {
            Self::Learner(learner, _) => learner.model().observation(),
            Self::Loop(training) => training.observation(),
        }
    }

    fn control(&self) -> ControlSummary {
        match self {
            Self::Learner(learner, _) => learner.model().explain().control.unwrap(),
            Self::Loop(training) => training.explain().control.unwrap(),
        }
    }
}

const RATE: f64 = 0.25;

fn terms(values: &[f32]) -> LearnerBuilder<TermModel> {
    with_loss(values, Term::value)
}

fn with_loss(values: &[f32], loss: fn(Tensor<1>, Term) -> Tensor<1>) -> LearnerBuilder<TermModel> {
    let run = RunLength::updates(1_000);
    let model = TermModel::with_loss(values, loss);
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(RATE)).run(run)
}

/// A batch with this gradient, whatever the weights.
fn slope(values: &[f32]) -> Term {
    Term::new(&vec![vec![0.0; values.len()]; values.len()], values)
}

// Answers.

const FACTORS: [f64; 5] = [1.0, 0.5, 0.0, 2.0, 0.25];

fn a_factor(seen: &Seen<'_>, _updates: u64) -> Result<Answer, Stop> {
    Ok(Answer::factor(FACTORS[seen.number as usize % 5]))
}

#[test]
fn a_factor_multiplies_the_movement_of_plain_sgd() {
    for mut training in Training::plain(|| terms(&[0.0]).controller("told", Told::new(a_factor))) {
        let mut weight = 0.0;
        for factor in FACTORS {
            training.update(&[slope(&[3.0])]).unwrap();
            weight -= (RATE * factor) as f32 * 3.0;
            assert_eq!(training.values(), [weight]);
            assert_eq!(training.control().factor, factor);
        }
    }
}

/// η is the rate after the controller, η₀ the peak of the schedule.
#[test]
fn decays_that_follow_the_rate_follow_the_factor() {
    type Share = fn(f64) -> f64;
    let decays: [(WeightDecay, Share); 4] = [
        (WeightDecay::coupled(0.5), |rate| rate * 0.5),
        (WeightDecay::independent(0.125), |_| 0.125),
        (WeightDecay::relative(0.125), |rate| 0.125 * rate / RATE),
        (WeightDecay::corrected(0.5), |rate| 0.5 * rate * rate / RATE),
    ];
    for (decay, share) in decays {
        let builder =
            || terms(&[1.0]).weight_decay(decay.clone()).controller("told", Told::new(a_factor));
        for mut training in Training::plain(builder) {
            let mut weight = 1.0f32;
            for factor in FACTORS {
                training.update(&[slope(&[2.0])]).unwrap();
                let rate = RATE * factor;
                weight = (1.0 - share(rate)) as f32 * weight - rate as f32 * 2.0;
                assert_eq!(training.values(), [weight], "{decay} at {factor}");
            }
        }
    }
}

fn tiny(rate: f64, low: f64) -> LearnerBuilder<TinyModel> {
    let run = RunLength::updates(100);
    let model = TinyModel::seeded(5, &device());
    let groups = GroupsConfig::new()
        .group(Group::new("low", "^hidden").multiple(low))
        .group(Group::rest("high"));
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(rate)).run(run).groups(groups)
}

fn batch(number: usize) -> Points {
    points(&[number, number + 1, number + 2], &device())
}

/// The rates of both groups are 0.125 and 0.5; a cap of 0.25 cuts the one of 0.5, and one of 0.0625 both.
#[test]
fn a_cap_is_the_most_that_the_rate_of_any_group_may_be() {
    let cases: [(Answers, f64, f64); 3] = [
        (|_, _| Ok(Answer { cap: Some(0.25), ..Answer::default() }), 0.25, 0.5),
        (|_, _| Ok(Answer { cap: Some(0.0625), ..Answer::default() }), 0.0625, 1.0),
        // After the factor, the rates are 0.0625 and 0.25; the cap leaves 0.125.
        (
            |_, _| Ok(Answer { cap: Some(0.125), factor: Some(0.5), ..Answer::default() }),
            0.125,
            0.5,
        ),
    ];
    for (answers, rate, low) in cases {
        let told = tiny(0.5, 0.25).controller("told", Told::new(answers));
        let mut loops = [told.build_loop().unwrap(), tiny(rate, low).build_loop().unwrap()];
        for training in &mut loops {
            for number in 0..4 {
                training.pass(|model| TrainStep::step(model, batch(number)));
                training.update().unwrap();
            }
        }
        let rates = loops[0].rate_metrics().into_iter().map(|mut metric| metric.last());
        assert_eq!(rates.collect::<Vec<_>>(), [Some(rate * low), Some(rate)]);
        assert_eq!(loops[0].last_update().unwrap().rate, rate);
        let [told, by_hand] = loops.map(TrainingLoop::into_model);
        assert_eq!(flat(&told), flat(&by_hand), "{rate}");
    }
}

#[test]
fn gradients_are_multiplied_after_they_are_clipped() {
    let told = || {
        Told::new(|seen, _| {
            let gradient_factor = [Some(2.0), None, Some(-0.5)][seen.number as usize];
            Ok(Answer { gradient_factor, ..Answer::default() })
        })
    };
    let factors = [2.0, 1.0, -0.5];
    for mut training in Training::plain(|| terms(&[0.0, 0.0]).controller("told", told())) {
        let mut sum = 0.0;
        for factor in factors {
            training.update(&[slope(&[3.0, 4.0])]).unwrap();
            sum += factor;
            assert_eq!(training.values(), [-0.25 * 3.0 * sum, -0.25 * 4.0 * sum]);
        }
    }
    // A norm of 5 is clipped to 2: the factor is rounded, by a few parts in 10⁷.
    let clipped = || terms(&[0.0, 0.0]).clip_global_norm(2.0).controller("told", told());
    for mut training in Training::plain(clipped) {
        let mut sum = 0.0;
        for factor in factors {
            training.update(&[slope(&[3.0, 4.0])]).unwrap();
            sum += factor;
            for (found, entry) in training.values().into_iter().zip([3.0, 4.0]) {
                let expected = -0.25 * entry * 0.4 * sum;
                assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
            }
        }
    }
}

#[test]
fn a_skip_leaves_the_weights_and_counts() {
    let told = || {
        Told::new(|seen, _| match seen.number % 2 {
            0 => Ok(Answer::default()),
            _ => Ok(Answer::skip("odd numbers are unlucky")),
        })
    };
    for mut training in Training::plain(|| terms(&[0.0]).controller("told", told())) {
        for (number, weight) in [-0.25, -0.25, -0.5, -0.5, -0.75].into_iter().enumerate() {
            training.update(&[slope(&[1.0])]).unwrap();
            assert_eq!(training.values(), [weight]);
            assert_eq!(training.control().skipped, number.div_ceil(2) as u64);
        }
    }
    // The schedule advances, or waits.
    let run = RunLength::updates(8);
    for (on_skip, rates) in
        [(OnSkip::Advance, [0.8, 0.0, 0.6, 0.0]), (OnSkip::Hold, [0.8, 0.0, 0.7, 0.0])]
    {
        let model = TermModel::new(&[0.0]);
        let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), linear(0.8, 0.0))
            .run(run)
            .controller("told", told())
            .on_skip(on_skip)
            .build_loop()
            .unwrap();
        for (number, rate) in rates.into_iter().enumerate() {
            training.pass(|model| TrainStep::step(model, slope(&[1.0])));
            let updated = training.update().unwrap();
            assert!((updated.rate - rate).abs() < 1e-12, "{on_skip:?}: {updated:?}");
            assert_eq!(updated.number, number as u64);
            let reason = (number % 2 == 1).then_some("odd numbers are unlucky");
            assert_eq!(updated.skipped, reason);
        }
    }
}

#[test]
fn answers_of_several_controllers_go_together_and_each_sees_those_before_its_own() {
    let first = Told::new(|_, _| {
        let (cap, gradient_factor) = (Some(0.1), Some(2.0));
        Ok(Answer { factor: Some(0.5), cap, gradient_factor, ..Answer::default() })
    });
    let second = || {
        Told::new(|_, _| {
            let (cap, gradient_factor) = (Some(0.0625), Some(4.0));
            Ok(Answer { factor: Some(0.75), cap, gradient_factor, ..Answer::default() })
        })
    };
    let make = || {
        let second = second();
        let builder = terms(&[0.0]).controller("first", first.clone());
        (builder.controller("second", second.clone()), second)
    };
    for (mut training, second) in Training::both(make) {
        training.update(&[slope(&[1.0])]).unwrap();
        // min(0.0625, 0.25 · 0.5 · 0.75) · 2 · 4
        assert_eq!(training.values(), [-0.5]);
        assert_eq!(training.control().factor, 0.375);
        let heard = second.heard();
        let before = heard[0].before;
        assert_eq!((before.factor, before.cap), (Some(0.5), Some(0.1)));
        assert!(!heard[0].is_outcome && heard[1].is_outcome && heard.len() == 2);
        let after = heard[1].before;
        assert_eq!((after.factor, after.cap), (Some(0.375), Some(0.0625)));
        assert_eq!(after.gradient_factor, Some(8.0));
    }
}

#[test]
fn floors_caps_and_factors_on_gradients_are_metrics_where_they_are_answered() {
    const ANSWERS: [[Option<f64>; 3]; 4] = [
        [Some(0.25), None, None],
        [None, Some(0.125), None],
        [None, None, Some(2.0)],
        [None, None, None],
    ];
    let told = Told::new(|seen, _| {
        let [floor, cap, gradient_factor] = ANSWERS[seen.number as usize];
        Ok(Answer { floor, cap, gradient_factor, ..Answer::default() })
    });
    let mut training = terms(&[0.0]).controller("told", told).build_loop().unwrap();
    let mut metrics = training.answer_metrics();
    let names = metrics.iter().map(|metric| burn::train::metric::Metric::name(metric).to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["Floor told", "Cap told", "Gradients told"]);
    for answered in ANSWERS {
        training.pass(|model| TrainStep::step(model, slope(&[1.0])));
        training.update().unwrap();
        let found: Vec<Option<f64>> = metrics.iter_mut().map(|metric| metric.last()).collect();
        assert_eq!(found, answered);
    }
}

/// A loss that is NaN if H is, with gradient b in any case.
fn with_a_constant(weight: Tensor<1>, term: Term) -> Tensor<1> {
    (weight * term.slope).sum() + term.hessian.sum()
}

#[test]
fn a_cooldown_halves_the_rate_after_a_loss_that_is_nan() {
    let cooldown = || Cooldown::after_non_finite_loss(3).unwrap();
    let builder = || with_loss(&[0.0], with_a_constant).controller("cooldown", cooldown());
    for mut training in Training::plain(builder) {
        // NaN at updates 1 and 6, and at 8, which restarts the count.
        let halved = [false, false, true, true, true, false, false, true, true, true, true, true];
        let mut weight = 0.0;
        for (number, halved) in halved.into_iter().enumerate() {
            let constant = if [1, 6, 8].contains(&number) { f32::NAN } else { 0.0 };
            training.update(&[Term::new(&[vec![constant]], &[1.0])]).unwrap();
            weight -= if halved { 0.125 } else { 0.25 };
            assert_eq!(training.values(), [weight], "update {number}");
        }
        assert_eq!(training.control().not_finite, 3);
    }
}

#[test]
fn an_answer_out_of_range_stops_the_run_and_names_the_controller() {
    let answers: [(Answers, &str); 4] = [
        (|_, _| Ok(Answer::factor(-1.0)), "factor: -1.0"),
        (|_, _| Ok(Answer::factor(f64::NAN)), "factor: NaN"),
        (|_, _| Ok(Answer { cap: Some(f64::NAN), ..Answer::default() }), "cap: NaN"),
        (
            |_, _| Ok(Answer { gradient_factor: Some(f64::INFINITY), ..Answer::default() }),
            "gradient_factor: inf",
        ),
    ];
    for (answers, said) in answers {
        let builder = || terms(&[1.0]).controller("my own", Told::new(answers));
        for mut training in Training::plain(builder) {
            let error = training.update(&[slope(&[1.0])]).unwrap_err().to_string();
            assert!(
                error.contains("my own: its answer is invalid") && error.contains(said),
                "{error}"
            );
            assert_eq!(training.values(), [1.0]);
        }
    }
}

/// "The weights are as they were before the update", says `UpdateError`.
#[test]
fn a_controller_that_stops_the_run_is_named_and_leaves_the_weights() {
    /// Stops at the second update, before it is made or after.
    #[derive(Clone, Debug)]
    struct Stops {
        after: bool,
        needs: Needs,
    }
    impl Controller for Stops {
        type State = ();

        fn needs(&self) -> Needs {
            self.needs
        }

        fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
            match event {
                Event::Update(seen) if seen.number == 1 && !self.after => Err(Stop::new("enough")),
                Event::Outcome(seen, _) if seen.number == 1 => Err(Stop::new("enough")),
                _ => Ok(Answer::default()),
            }
        }

        fn state(&self) {}

        fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
            Ok(())
        }
    }
    let tries = Needs { movement: true, ..Needs::default() };
    for (after, needs) in
        [(false, Needs::default()), (false, tries), (true, Needs::default()), (true, tries)]
    {
        let stops = Stops { after, needs };
        for mut training in Training::plain(|| terms(&[0.0]).controller("my own", stops.clone())) {
            training.update(&[slope(&[1.0])]).unwrap();
            for _ in 0..2 {
                let error = training.update(&[slope(&[1.0])]).unwrap_err();
                assert!(matches!(&*error, UpdateError::Controller(stopped)
                    if stopped.controller == "my own" && stopped.stop.to_string() == "enough"));
                assert!(error.to_string().ends_with("my own: enough"), "{error}");
                assert_eq!(training.values(), [-0.25], "{stops:?}");
            }
            if let Training::Learner(learner, interrupter) = &training {
                let failure = learner.model().failure().unwrap().to_string();
                assert!(interrupter.error().unwrap().to_string().ends_with(&failure));
                assert!(interrupter.should_stop() && interrupter.interruption().is_none());
            }
        }
    }
}

// Measurements.

const EVERYTHING: Needs = Needs {
    loss: true,
    gradient_norm: true,
    gradient_l1: true,
    gradient_dot: true,
    batch_gradient_norm: true,
    largest_gradient: true,
    // Passes here have no tasks; tests/tasks has some.
    task_cosine: false,
    private_gradient: false,
    movement: true,
    last_movement: true,
    batch_again: None,
    now: false,
};

/// Each within a rounding or two of f32.
fn assert_near(found: &Observation, expected: &Observation, what: &str) {
    let numbers = |seen: &Observation| {
        let Observation { loss, gradient_norm, gradient_l1, gradient_dot, .. } = *seen;
        let of_batches = [seen.batch_gradient_norm, seen.mean_gradient_norm, seen.largest_gradient];
        let moved = [seen.movement, seen.last_movement];
        [[loss, gradient_norm, gradient_l1, gradient_dot].as_slice(), &of_batches, &moved].concat()
    };
    for (number, expected) in numbers(found).into_iter().zip(numbers(expected)) {
        let near = match (number, expected) {
            (Some(number), Some(expected)) => {
                (number - expected).abs() <= 2e-7 * f64::max(expected.abs(), 1.0)
            }
            (number, expected) => number == expected,
        };
        assert!(near, "{what}: {number:?}, not {expected:?} in {found:?}");
    }
    assert_eq!((found.batches, found.overflow), (expected.batches, expected.overflow), "{what}");
}

/// Two batches with gradients (3, 4) and (2, 8), whose sum is (5, 12) with norm 13; at weights (1, −2) their losses are
/// −5 and −14.
#[test]
fn what_a_controller_needs_is_measured() {
    let batches = [slope(&[3.0, 4.0]), slope(&[2.0, 8.0])];
    let of_sum = Observation {
        loss: Some(-9.5),
        gradient_norm: Some(13.0),
        gradient_l1: Some(17.0),
        gradient_dot: None,
        batch_gradient_norm: Some(f64::sqrt((25.0 + 68.0) / 2.0)),
        mean_gradient_norm: Some(6.5),
        largest_gradient: Some(8.0),
        task_cosine: None,
        movement: Some(RATE * 13.0),
        last_movement: None,
        batches: Some(2),
        overflow: false,
    };
    let of_mean = Observation {
        gradient_norm: Some(6.5),
        gradient_l1: Some(8.5),
        movement: Some(RATE * 6.5),
        ..of_sum
    };
    let of_one = Observation {
        loss: Some(-5.0),
        gradient_norm: Some(5.0),
        gradient_l1: Some(7.0),
        batch_gradient_norm: Some(5.0),
        mean_gradient_norm: Some(5.0),
        largest_gradient: Some(4.0),
        movement: Some(RATE * 5.0),
        batches: Some(1),
        ..of_sum
    };
    // The norm is from before clipping, the movement from the update.
    let clipped = Observation { movement: Some(RATE * 2.0), ..of_sum };
    type Ask = fn(LearnerBuilder<TermModel>) -> LearnerBuilder<TermModel>;
    let scaled: Ask = |builder| builder.loss_scaling(LossScaling::fixed(1_024.0));
    let cases: [(&str, Ask, usize, Observation); 6] = [
        ("one batch", |builder| builder, 1, of_one),
        ("a sum", |builder| builder, 2, of_sum),
        (
            "a mean",
            |_| {
                let model = TermModel::new(&[1.0, -2.0]);
                LearnerBuilder::new(model, SgdConfig::new().build(), constant(RATE))
                    .gradient_reduction(GradientReduction::Mean)
            },
            2,
            of_mean,
        ),
        ("clipped", |builder| builder.clip_global_norm(2.0), 2, clipped),
        ("scaled", scaled, 2, of_sum),
        ("scaled, one batch", scaled, 1, of_one),
    ];
    for (what, ask, count, expected) in cases {
        let make = || {
            let told = Told::needs(EVERYTHING);
            let run = RunLength::updates(1_000).gradient_accumulation(count);
            (ask(terms(&[1.0, -2.0])).run(run).controller("told", told.clone()), told)
        };
        for (mut training, told) in Training::both(make) {
            training.update(&batches[..count]).unwrap();
            let seen = told.seen();
            assert_eq!(seen[0].0, 0);
            assert_near(&seen[0].1, &expected, what);
            assert_near(&training.observation(), &expected, what);
            let scale = if what.starts_with("scaled") { 1_024.0 } else { 1.0 };
            assert!(told.heard().iter().all(|heard| heard.loss_scale == scale), "{what}");
            // The next update knows the movement of this one.
            training.update(&batches[..count]).unwrap();
            let (number, next) = told.seen()[1];
            assert_eq!((number, next.gradient_norm), (1, expected.gradient_norm), "{what}");
            // The gradients are the same again, as the optimizer gets them.
            let length = expected.movement.unwrap() / RATE;
            let last = Observation {
                loss: next.loss,
                gradient_dot: Some(length * length),
                movement: next.movement,
                last_movement: expected.movement,
                ..expected
            };
            assert_near(&next, &last, what);
        }
    }
}

/// Before an update, it is the movement at the scheduled rate; in its outcome, the movement after the answer, which is
/// the last movement of the next update.
#[test]
fn the_movement_is_that_of_the_schedule_and_then_that_of_the_update() {
    let answers: Answers = |seen, _| Ok(Answer::factor([0.5, 1.0, 0.0][seen.number as usize]));
    let make = || {
        let told = Told { needs: EVERYTHING, ..Told::new(answers) };
        (terms(&[0.0, 0.0]).controller("told", told.clone()), told)
    };
    for (mut training, told) in Training::both(make) {
        for _ in 0..3 {
            training.update(&[slope(&[3.0, 4.0])]).unwrap();
        }
        let movements: Vec<_> = told
            .heard()
            .iter()
            .map(|heard| (heard.number, heard.seen.movement, heard.seen.last_movement))
            .collect();
        let expected = [
            (0, Some(1.25), None),
            (0, Some(0.625), None),
            (1, Some(1.25), Some(0.625)),
            (1, Some(1.25), Some(0.625)),
            (2, Some(1.25), Some(1.25)),
            (2, Some(0.0), Some(1.25)),
        ];
        assert_eq!(movements, expected);
        assert_eq!(training.values(), [-0.375 * 3.0, -0.375 * 4.0]);
    }
}

/// Each single need gives only its own signal.
#[test]
fn what_nobody_needs_is_not_measured() {
    let none = Needs::default();
    let cases = [
        (none, None),
        (Needs { loss: true, ..none }, Some(0)),
        (Needs { gradient_norm: true, ..none }, Some(1)),
        (Needs { gradient_l1: true, ..none }, Some(2)),
        (Needs { batch_gradient_norm: true, ..none }, Some(7)),
        (Needs { largest_gradient: true, ..none }, Some(3)),
        (Needs { movement: true, ..none }, Some(4)),
        (Needs { last_movement: true, ..none }, Some(5)),
        (Needs { gradient_dot: true, ..none }, Some(6)),
    ];
    for (needs, known) in cases {
        let known: [bool; 8] = std::array::from_fn(|i| Some(i) == known);
        for mut training in
            Training::plain(|| terms(&[1.0, -2.0]).controller("told", Told::needs(needs)))
        {
            // The movement of the last update is known from the second on.
            for _ in 0..2 {
                training.update(&[slope(&[3.0, 4.0])]).unwrap();
            }
            let seen = training.observation();
            let Observation { loss, gradient_norm, gradient_l1, largest_gradient, .. } = seen;
            let mut found = [
                loss,
                gradient_norm,
                gradient_l1,
                largest_gradient,
                seen.movement,
                seen.last_movement,
                seen.gradient_dot,
                seen.batch_gradient_norm,
            ]
            .map(|number| number.is_some());
            // The loss is always known, and read with the others.
            if needs != none {
                found[0] = known[0];
            }
            assert_eq!(found, known, "{needs:?}: {seen:?}");
        }
    }
    for mut training in Training::plain(|| terms(&[1.0]).clip_global_norm(1.0)) {
        training.update(&[slope(&[3.0])]).unwrap();
        assert_eq!(training.observation(), Observation::default());
    }
}

// Signals of the previous update.

#[test]
fn delayed_signals_are_those_of_the_update_before() {
    // A factor by the loss: one half if it is above 100.
    let answers: Answers = |seen, _| {
        let is_high = seen.observation.loss.is_some_and(|loss| loss > 100.0);
        Ok(if is_high { Answer::factor(0.5) } else { Answer::default() })
    };
    let make = |delayed: bool| {
        move || {
            let needs = Needs { movement: false, ..EVERYTHING };
            let told = Told { needs, ..Told::new(answers) };
            let builder = with_loss(&[0.0], with_a_constant).controller("told", told.clone());
            (if delayed { builder.delay_signals() } else { builder }, told)
        }
    };
    // The gradients are 1, 2, 3, …; the loss jumps at update 2.
    let term = |number: u64| {
        let constant = if number == 2 { 1_000.0 } else { 0.0 };
        Term::new(&[vec![constant]], &[number as f32 + 1.0])
    };
    for delayed in [false, true] {
        for (mut training, told) in Training::both(make(delayed)) {
            let mut weight = 0.0;
            for number in 0..5 {
                training.update(&[term(number)]).unwrap();
                let halved = if delayed { 3 } else { 2 };
                let factor = if number == halved { 0.5 } else { 1.0 };
                weight -= 0.25 * factor * (number as f32 + 1.0);
                assert_eq!(training.values(), [weight], "update {number}, delayed {delayed}");
            }
            let found: Vec<_> =
                told.seen().iter().map(|(number, seen)| (*number, seen.gradient_norm)).collect();
            let expected: Vec<_> = match delayed {
                false => (0..5).map(|number| (number, Some(number as f64 + 1.0))).collect(),
                true => (1..5).map(|number| (number, Some(number as f64))).collect(),
            };
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn signals_are_not_delayed_for_those_who_decide_about_the_update() {
    let error = |builder: LearnerBuilder<TermModel>| match builder.delay_signals().build_loop() {
        Err(BuildError::NeedsNow { controller }) => controller,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was accepted"),
    };
    let none = Needs::default();
    let needing = |needs: Needs| terms(&[1.0]).controller("my own", Told::needs(needs));
    assert_eq!(error(terms(&[1.0]).loss_scaling(LossScaling::new())), "loss scale");
    assert_eq!(error(terms(&[1.0]).not_finite(NotFinite::Stop)), "finite guard");
    assert_eq!(error(terms(&[1.0]).half_precision(HalfPrecision::f16())), "loss scale");
    assert_eq!(error(needing(Needs { now: true, ..none })), "my own");
    assert_eq!(error(needing(Needs { movement: true, ..none })), "my own");
    let again = Some(BatchAgain { limit: 1.0 });
    assert_eq!(error(needing(Needs { batch_again: again, ..none })), "my own");
    assert!(needing(Needs { movement: false, ..EVERYTHING }).delay_signals().build_loop().is_ok());
}

// Checkpoints.

/// Halves the rate at every third update that it hears of, by its own count.
fn by_count(_seen: &Seen<'_>, updates: u64) -> Result<Answer, Stop> {
    Ok(if updates % 3 == 2 { Answer::factor(0.5) } else { Answer::default() })
}

type Ask = fn(LearnerBuilder<TermModel>) -> LearnerBuilder<TermModel>;

/// Four updates, saved and resumed after the second or not: the final weights and states, and what was heard except for
/// the losses, since that of update 1 is NaN.
fn four_updates(
    told: &Told,
    ask: Ask,
    cut: bool,
) -> (Vec<f32>, Vec<serde_json::Value>, Vec<(u64, Observation)>) {
    let folder = tempfile::tempdir().unwrap();
    let told = Told { heard: Arc::default(), ..told.clone() };
    let builder = || ask(with_loss(&[0.0, 1.0], with_a_constant)).controller("told", told.clone());
    let mut training = builder().build_loop().unwrap();
    for number in 0..4 {
        if cut && number == 2 {
            training.save(folder.path(), 1).unwrap();
            let saved = Checkpoint::open(folder.path(), 1).unwrap();
            training = builder().resume_from(&saved).build_loop().unwrap();
            assert_eq!(training.next_update(), 2);
        }
        let constant = if number == 1 { f32::NAN } else { 0.0 };
        let term = Term::new(&vec![vec![constant; 2]; 2], &[number as f32 + 1.0, 2.0]);
        training.pass(|model| TrainStep::step(model, term));
        training.update().unwrap();
    }
    let controllers = training.explain().control.unwrap().controllers;
    let states = controllers.into_iter().map(|controller| controller.state).collect();
    let seen = told.seen().into_iter();
    let seen = seen.map(|(number, seen)| (number, Observation { loss: None, ..seen }));
    (training.model().values(), states, seen.collect())
}

fn assert_resumes(told: &Told, ask: Ask) {
    let (whole, states, seen) = four_updates(told, ask, false);
    let (resumed, states_of_resumed, seen_by_resumed) = four_updates(told, ask, true);
    assert_eq!(seen_by_resumed, seen);
    assert_eq!(states_of_resumed, states);
    assert_eq!(resumed, whole);
}

#[test]
fn a_resumed_loop_goes_on_as_if_it_had_not_stopped() {
    let needs = Needs { last_movement: false, ..EVERYTHING };
    let told = Told { needs, ..Told::new(by_count) };
    let asks: [Ask; 3] = [
        |builder| builder,
        // It rests at update 2.
        |builder| builder.controller("cooldown", Cooldown::after_non_finite_loss(2).unwrap()),
        |builder| builder.clip_global_norm(1.0).weight_decay(0.1),
    ];
    asks.into_iter().for_each(|ask| assert_resumes(&told, ask));
}

/// A rate by how far the last update moved the weights.
fn by_movement(seen: &Seen<'_>, _updates: u64) -> Result<Answer, Stop> {
    Ok(Answer::factor(1.0 / (1.0 + seen.observation.last_movement.unwrap_or(8.0))))
}

/// What the last update before the checkpoint moved is the last movement of the first after it.
#[test]
fn a_resumed_loop_knows_how_far_the_last_update_went() {
    let needs = Needs { last_movement: true, ..Needs::default() };
    assert_resumes(&Told { needs, ..Told::new(by_movement) }, |builder| builder);
}

/// What was measured of the last update before the checkpoint is heard of after it.
#[test]
fn a_resumed_loop_hears_of_the_last_update_before_it_stopped() {
    let needs = Needs { loss: true, gradient_norm: true, ..Needs::default() };
    let told = Told { needs, ..Told::new(by_count) };
    assert_resumes(&told, |builder| {
        let cooldown = Cooldown::after_non_finite_loss(1).unwrap();
        builder.delay_signals().controller("cooldown", cooldown)
    });
}

/// A schedule that starts anew has no update before its first, so what the run before measured last is dropped.
#[test]
fn a_restarted_loop_hears_nothing_of_the_run_before() {
    let folder = tempfile::tempdir().unwrap();
    let needs = Needs { movement: false, ..EVERYTHING };
    let told = || Told { needs, ..Told::new(|_, _| Ok(Answer::default())) };
    let builder = |told: &Told, rate: f64| {
        let model = TermModel::with_loss(&[0.0], with_a_constant);
        let optimizer = SgdConfig::new().build();
        LearnerBuilder::new(model, optimizer, constant(rate))
            .run(RunLength::updates(10))
            .controller("told", told.clone())
            .delay_signals()
    };
    let mut before = builder(&told(), 0.25).build_loop().unwrap();
    before.pass(|model| TrainStep::step(model, Term::new(&[vec![f32::NAN]], &[1.0])));
    before.update().unwrap();
    before.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let told = told();
    let restarts = builder(&told, 0.5).resume_from(&saved).on_mismatch(OnMismatch::Restart);
    let mut training = restarts.build_loop().unwrap();
    for number in 1..4 {
        assert_eq!(training.next_update(), number);
        training.pass(|model| TrainStep::step(model, slope(&[number as f32])));
        assert_eq!(training.update().unwrap().step, number - 1);
    }
    let heard = told.seen().into_iter();
    let heard: Vec<_> = heard.map(|(number, seen)| (number, seen.gradient_norm)).collect();
    assert_eq!(heard, [(2, Some(1.0)), (3, Some(2.0))]);
}

fn tiny_training(told: &Told) -> LearnerBuilder<TinyModel> {
    let run = RunLength::from_items(60, 6).epochs(3);
    let model = TinyModel::seeded(5, &device());
    LearnerBuilder::new(model, SgdConfig::new().build(), cosine(0.2))
        .run(run)
        .controller("counts", told.clone())
        .controller("cooldown", Cooldown::after_non_finite_loss(4).unwrap())
}

#[test]
fn a_resumed_training_of_burns_goes_on_as_if_it_had_not_stopped() {
    let trained = |folder: &Path, epochs: usize, from: Option<usize>| {
        let training = supervised(folder, epochs);
        let told = Told { needs: EVERYTHING, ..Told::new(by_count) };
        let builder = tiny_training(&told);
        let result = match from {
            Some(epoch) => {
                let saved = Checkpoint::open(folder, epoch).unwrap();
                let learner = builder.resume_from(&saved).build(training.interrupter()).unwrap();
                training.checkpoint(epoch).launch(learner)
            }
            None => training.launch(builder.build(Interrupter::new()).unwrap()),
        };
        assert!(result.error.is_none(), "{:?}", result.error);
        let control = result.model.explain().control.unwrap();
        let states: Vec<_> =
            control.controllers.into_iter().map(|controller| controller.state).collect();
        (flat(&result.model), states)
    };
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let expected = trained(&whole, 3, None);
    assert_eq!(expected.1, [serde_json::json!(30), serde_json::json!(0)]);
    // 10 updates are no multiple of 3.
    trained(&parts, 1, None);
    assert_eq!(trained(&parts, 3, Some(1)), expected);
}

#[test]
fn a_checkpoint_of_other_controllers_is_refused() {
    let told = || Told::new(by_count);
    let folder = tempfile::tempdir().unwrap();
    let mut training =
        terms(&[1.0]).controller("one", told()).controller("other", told()).build_loop().unwrap();
    training.pass(|model| TrainStep::step(model, slope(&[1.0])));
    training.update().unwrap();
    training.save(folder.path(), 1).unwrap();
    let saved = Checkpoint::open(folder.path(), 1).unwrap();
    let resume = |builder: LearnerBuilder<TermModel>| builder.resume_from(&saved);
    let both = |builder: LearnerBuilder<TermModel>| {
        builder.controller("one", told()).controller("other", told())
    };
    let others: [(LearnerBuilder<TermModel>, &str); 5] = [
        (terms(&[1.0]), "there are none"),
        (terms(&[1.0]).controller("one", told()), "there are `one`"),
        (
            terms(&[1.0]).controller("one", told()).controller("another", told()),
            "there are `another`, `one`",
        ),
        (both(terms(&[1.0])).controller("third", told()), "`third`"),
        (both(terms(&[1.0]).loss_scaling(LossScaling::new())), "`loss scale`"),
    ];
    for (builder, said) in others {
        let error = match resume(builder).build_loop() {
            Err(BuildError::Checkpoint(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("accepted, and now {said}"),
        };
        let fits = matches!(&error, CheckpointError::DifferentControllers { checkpoint, .. } if checkpoint.epoch() == 1);
        assert!(fits && error.to_string().contains(said), "{error}");
        assert!(error.to_string().contains("saved with `one`, `other`"), "{error}");
    }
    // Another kind of controller under the same name.
    let guard = FiniteGuard::skip(2).unwrap();
    let builder = terms(&[1.0]).controller("one", told()).controller("other", guard);
    let Err(BuildError::Checkpoint(error)) = resume(builder).build(Interrupter::new()) else {
        panic!("accepted");
    };
    assert!(
        matches!(&error, CheckpointError::DifferentControllers { checkpoint, .. } if checkpoint.epoch() == 1),
        "{error}"
    );
    assert!(error.to_string().contains("does not fit `other`"), "{error}");
    // Their order does not matter.
    let swapped = terms(&[1.0]).controller("other", told()).controller("one", told());
    assert!(resume(swapped).build_loop().is_ok());
    assert!(resume(both(terms(&[1.0]))).build(Interrupter::new()).is_ok());
}

// Building.

#[test]
fn two_controllers_of_one_name_and_bad_names_are_refused() {
    let named = |names: &[&str]| {
        let controller = |builder: LearnerBuilder<TermModel>, name: &&str| {
            builder.controller(*name, Told::new(by_count))
        };
        names.iter().fold(terms(&[1.0]), controller)
    };
    let long = "x".repeat(101);
    for name in ["", "a/b", r"a\b", "a:b", "a\nb", "who?", "a*b", "<a>", "a|b", "\"", &long] {
        let error = named(&["fine", name]).build_loop().err().unwrap();
        assert!(
            error.to_string().contains(&format!("`{name}` is not allowed as a name")),
            "{error}"
        );
    }
    for name in ["a b", "größe_2", "x−y", &long[1..]] {
        assert!(named(&[name]).build_loop().is_ok(), "{name}");
    }
    // The last two of each give the same file name.
    for [one, other] in [["one", "one"], ["my own", "my_own"], ["one", "ONE"]] {
        let error = named(&[one, "between", other]).build(Interrupter::new()).err().unwrap();
        assert!(error.to_string().starts_with(&format!("controller.{other}.name: ")), "{error}");
    }
    // The names of the builder's own controllers are taken.
    let taken: [(Ask, &str); 3] = [
        (|builder| builder.loss_scaling(LossScaling::new()), "loss scale"),
        (|builder| builder.not_finite(NotFinite::Stop), "finite guard"),
        (
            |builder| {
                builder.loss_scaling(LossScaling::new()).overflow_cap(OverflowCap::given(1.0))
            },
            "overflow cap",
        ),
    ];
    for (ask, name) in taken {
        let builder = ask(terms(&[1.0]).controller(name, Told::new(by_count)));
        let error = builder.build_loop().err().unwrap();
        assert!(error.to_string().contains(&format!("two have the name `{name}`")), "{error}");
        assert!(named(&[name]).build_loop().is_ok(), "{name}");
    }
}

/// A custom output.
struct Mine {
    loss: Tensor<1>,
}

impl ItemLazy for Mine {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        Ok(self)
    }
}

/// A model with it.
#[derive(Module, Debug)]
struct Own {
    layer: Linear,
}

impl Own {
    fn new() -> Self {
        let mut layer = LinearConfig::new(FEATURES, 1).with_bias(false).init(&device());
        layer.weight = Param::from_tensor(Tensor::zeros([FEATURES, 1], &device()));
        Self { layer }
    }
}

impl TrainStep for Own {
    type Input = f32;
    type Output = Mine;

    /// A loss equal to the batch's number, and a gradient of 1.
    fn step(&self, value: f32) -> TrainOutput<Mine> {
        let loss = self.layer.weight.val().sum() + value;
        TrainOutput::new(self, loss.clone().scaled_backward(), Mine { loss })
    }
}

impl InferenceStep for Own {
    type Input = f32;
    type Output = Mine;

    fn step(&self, value: f32) -> Mine {
        Mine { loss: self.layer.weight.val().sum() + value }
    }
}

fn own(controller: impl Controller) -> LearnerBuilder<Own> {
    let run = RunLength::updates(100);
    LearnerBuilder::new(Own::new(), SgdConfig::new().build(), constant(0.25))
        .run(run)
        .controller("my own", controller)
}

#[test]
fn the_loss_in_an_output_of_ones_own_must_be_named() {
    let needs_loss = || Told::needs(Needs { loss: true, ..Needs::default() });
    let error = own(needs_loss()).build(Interrupter::new()).err().unwrap();
    assert!(
        matches!(&error, BuildError::LossUnknown { controller } if controller == "my own"),
        "{error}"
    );
    // A controller that needs no loss gets none.
    let norm = Told::needs(Needs { gradient_norm: true, ..Needs::default() });
    let mut learner = own(norm).build(Interrupter::new()).unwrap();
    let pass = learner.train_step(7.0);
    learner.lr_step();
    learner.optimizer_step(pass.grads);
    let seen = learner.model().observation();
    assert_eq!((seen.loss, seen.gradient_norm), (None, Some(2.0)));

    let told = needs_loss();
    let builder = own(told.clone()).loss(|output| output.loss.clone());
    let mut learner = builder.build(Interrupter::new()).unwrap();
    let pass = learner.train_step(7.0);
    learner.lr_step();
    learner.optimizer_step(pass.grads);
    assert_eq!(told.seen()[0].1.loss, Some(7.0));
    assert!(learner.model().failure().is_none());
}

/// A loop finds the loss in one of Burn's outputs, in a tensor, or where it was named; only a pass can show it.
#[test]
fn the_loss_of_a_loop_is_found_in_its_passes() {
    let needs_loss = || Told::needs(Needs { loss: true, ..Needs::default() });
    let mut training = own(needs_loss()).build_loop().unwrap();
    training.pass(|model| TrainStep::step(model, 7.0));
    let error = training.update().unwrap_err();
    assert!(matches!(*error, UpdateError::LossUnknown), "{error}");
    assert_eq!(flat(training.model()), [0.0; FEATURES]);

    let told = needs_loss();
    let mut training = own(told.clone()).build_loop().unwrap();
    training.pass(|model| {
        let TrainOutput { grads, item } = TrainStep::step(model, 7.0);
        TrainOutput { grads, item: item.loss }
    });
    training.update().unwrap();
    assert_eq!(told.seen()[0].1.loss, Some(7.0));

    let told = needs_loss();
    let named = own(told.clone()).loss(|output| output.loss.clone());
    let mut training = named.build_loop().unwrap();
    training.pass(|model| TrainStep::step(model, 7.0));
    training.pass(|model| TrainStep::step(model, 9.0));
    training.update().unwrap();
    assert_eq!(told.seen()[0].1.loss, Some(8.0));
    assert_eq!(flat(training.model()), [-0.5; FEATURES]);
}

// What is shown.

#[test]
fn what_each_controller_answered_is_in_burns_logs() {
    // Skips update 4; one in three of the others is at half the rate, and all are at 0.75 of that.
    let skips: Answers = |seen, updates| match seen.number {
        4 => Ok(Answer::skip("four")),
        _ => by_count(seen, updates),
    };
    let folder = tempfile::tempdir().unwrap();
    let training = supervised(folder.path(), 2);
    let run = RunLength::from_items(60, 6).epochs(2);
    let model = TinyModel::seeded(5, &device());
    let learner = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1))
        .run(run)
        .controller("by count", Told::new(skips))
        .controller("less", Told::new(|_, _| Ok(Answer::factor(0.75))))
        .build(training.interrupter())
        .unwrap();
    let control = learner.model().control_metrics();
    let names: Vec<_> = control
        .iter()
        .map(|metric| burn::train::metric::Metric::name(metric).to_string())
        .collect();
    assert_eq!(names, ["Skipped", "Factor by count", "Factor less"]);
    let metrics = control.into_iter().chain(learner.model().rate_metrics());
    let result = metrics
        .fold(training, |training, metric| training.metric_train_numeric(metric))
        .launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    let log = |name: &str, update: usize| -> f64 {
        let file = format!("train/epoch-{}/{name}.log", 1 + update / 10);
        let text = std::fs::read_to_string(folder.path().join(&file));
        let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
        text.lines().nth(update % 10).unwrap().split(',').next().unwrap().parse().unwrap()
    };
    for update in 0..20 {
        let factor = if update % 3 == 2 { 0.5 } else { 1.0 };
        let is_skipped = update == 4;
        assert_eq!(log("Factor_by_count", update), factor, "update {update}");
        assert_eq!(log("Factor_less", update), 0.75, "update {update}");
        assert_eq!(log("Skipped", update), f64::from(u8::from(is_skipped)), "update {update}");
        let rate = if is_skipped { 0.0 } else { 0.1 * factor * 0.75 };
        assert!((log("Rate_model", update) - rate).abs() < 1e-12, "update {update}");
    }
    let control = result.model.explain().control.unwrap();
    // The last update has the number 19.
    assert_eq!((control.loss_scale, control.skipped, control.factor), (None, 1, 0.75));
    let text = control.to_string();
    assert!(text.starts_with("1 updates skipped; the last update at 0.75 of its rate\n"), "{text}");
    assert!(text.contains("\nby count: answered nothing; 20\n"), "{text}");
    assert!(text.contains("\nless: answered rate × 0.7500; 20\n"), "{text}");
}

#[test]
fn without_controllers_nothing_is_shown_of_them() {
    let training = terms(&[1.0]).build_loop().unwrap();
    assert!(training.control_metrics().is_empty());
    assert!(training.explain().control.is_none());
    assert_eq!(training.observation(), Observation::default());
}

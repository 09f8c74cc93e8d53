//! Each rule follows its formula, under every driver.

use super::*;
use anneal_tests::trained;
use burn::optim::GradientsParams;

/// The rule of an average, in closed form.
#[derive(Clone, Copy)]
enum Of {
    Ema { decay: f64, warmup: bool },
    Mean,
    Latest(usize),
}

/// The average after all these weights, taken from a start at an interval.
fn value(of: Of, start: usize, every: usize, path: &[Vec<f32>]) -> Vec<f64> {
    let taken = |i: &usize| *i >= start && (i + 1).is_multiple_of(every);
    let taken: Vec<Vec<f32>> = (0..path.len()).filter(taken).map(|i| path[i].clone()).collect();
    let Some(last) = taken.last() else { return mean(&path[path.len() - 1..]) };
    match of {
        Of::Mean => mean(&taken),
        Of::Latest(count) => mean(&taken[taken.len().saturating_sub(count)..]),
        Of::Ema { decay, warmup } => {
            let decays = (0..taken.len()).map(|n| match (n, warmup) {
                (0, _) => 0.0,
                (_, false) => decay,
                (n, true) => decay.min((1 + n) as f64 / (10 + n) as f64),
            });
            let decays: Vec<f64> = decays.collect();
            let share = |i: usize| (1.0 - decays[i]) * decays[i + 1..].iter().product::<f64>();
            let of = |j| (0..taken.len()).map(|i| share(i) * f64::from(taken[i][j])).sum();
            (0..last.len()).map(of).collect()
        }
    }
}

fn ema(decay: f64) -> Of {
    Of::Ema { decay, warmup: false }
}

fn half_life(updates: f64) -> Of {
    ema(0.5f64.powf(1.0 / updates))
}

/// Averages, each with its rule, first update and interval.
fn all() -> Vec<(Average, Of, usize, usize)> {
    let warm = |decay| Of::Ema { decay, warmup: true };
    vec![
        (Average::ema(0.0), ema(0.0), 0, 1),
        (Average::ema(0.9), ema(0.9), 0, 1),
        (Average::ema(0.9).warmup(), warm(0.9), 0, 1),
        (Average::ema(0.5).warmup(), warm(0.5), 0, 1),
        (Average::ema(0.8).start(7).every(4), ema(0.8), 7, 4),
        (Average::ema(0.8).warmup().start(7).every(4), warm(0.8), 7, 4),
        (Average::half_life(5), half_life(5.0), 0, 1),
        (Average::half_life(Span::epochs(1)), half_life(10.0), 0, 1),
        (Average::half_life(Span::percent(50)), half_life(15.0), 0, 1),
        (Average::half_life(6).every(3), half_life(2.0), 0, 3),
        (Average::half_life(1).every(3), half_life(1.0 / 3.0), 0, 3),
        (Average::half_life(5).warmup(), warm(0.5f64.powf(0.2)), 0, 1),
        (Average::mean_from(0), Of::Mean, 0, 1),
        (Average::mean_from(Span::percent(50)), Of::Mean, 15, 1),
        (Average::mean_from(Span::epochs(1)).every(Span::epochs(1)), Of::Mean, 10, 10),
        (Average::mean_from(29), Of::Mean, 29, 1),
        (Average::latest(1, 1), Of::Latest(1), 0, 1),
        (Average::latest(4, 1), Of::Latest(4), 0, 1),
        (Average::latest(3, 4).start(2), Of::Latest(3), 2, 4),
        (Average::mean_from(15).every(Span::epochs(1)), Of::Mean, 15, 10),
        (Average::latest(2, Span::epochs(1)), Of::Latest(2), 0, 10),
        (Average::latest(100, 1), Of::Latest(100), 0, 1),
    ]
}

#[test]
fn each_is_its_formula_after_every_update() {
    let path = path(builder());
    for (average, of, start, every) in all() {
        let mut training = a_loop(builder().average(average.clone()));
        for n in 0..path.len() {
            update(&mut training);
            let expected = value(of, start, every, &path[..=n]);
            assert_near(&flat(&training.valid()), &expected, &format!("{average}, update {n}"));
        }
        assert_eq!(flat(&training.averaged()), flat(&training.valid()));
        assert_eq!(flat(training.model()), path[29]);
    }
}

/// Bit for bit.
#[test]
fn all_drivers_give_the_same() {
    for (average, ..) in all() {
        let what = average.to_string();
        let mut training = a_loop(builder().average(average.clone()));
        (0..UPDATES).for_each(|_| update(&mut training));
        let expected = flat(&training.valid());

        assert_eq!(launched(builder().average(average.clone())), expected, "{what}");
        let folder = tempfile::tempdir().unwrap();
        let of_burns = builder().average(average.clone()).run(run());
        assert_eq!(flat(&trained(supervised(folder.path(), 3), of_burns)), expected, "{what}");

        let mut beside = AveragedModel::in_run(average, run()).unwrap();
        let (mut model, mut optimizer) = (model(), burn::optim::ModuleOptimizer::from(sgd()));
        for number in 0..UPDATES {
            let gradients = model.forward(batch(number)).loss.backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(0.1, model, gradients);
            beside.update(&model);
        }
        assert_eq!(flat(&beside.valid(&model)), expected, "{what}");
    }
}

/// Every update of several batches counts once.
#[test]
fn accumulated_batches_are_one_update() {
    let folder = tempfile::tempdir().unwrap();
    let training = training(folder.path(), 3).grads_accumulation(4);
    let builder_of = || builder().average(Average::latest(2, 1));
    let found = builder_of().launch(training).unwrap().finished().unwrap();
    // Updates of four, four and two batches, three times.
    let mut by_hand = builder_of().run(RunLength::updates(9)).build_loop().unwrap();
    let mut path = vec![];
    for number in 0..9 {
        let batches = [0..4, 4..8, 8..10][number % 3].clone();
        batches
            .for_each(|number| drop(by_hand.pass(|model| TrainStep::step(model, batch(number)))));
        by_hand.update().unwrap();
        path.push(flat(by_hand.model()));
    }
    assert_near(&flat(&found), &mean(&path[7..]), "latest(2)");
}

#[test]
fn one_beside_a_plain_optimizer_goes_on_from_its_record() {
    let model = model();
    let step = |number: u64| model.clone().map(&mut Times(1.0 + number as f64));
    let values = |average: &AveragedModel| flat(&average.valid(&step(7)));
    for average in [Average::ema(0.9).warmup(), Average::mean_from(3), Average::latest(4, 3)] {
        let mut whole = AveragedModel::new(average.clone()).unwrap();
        (0..8).for_each(|number| whole.update(&step(number)));
        let fresh = AveragedModel::new(average.clone()).unwrap();
        let record = || (whole.to_record(), whole.updates());
        let load = |average: AveragedModel, model: &TinyModel| {
            let (record, updates) = record();
            average.load_record(record, updates, model)
        };
        let mut again = load(fresh.clone(), &step(7)).unwrap();
        // With other ids and another average.
        assert!(matches!(load(fresh, &TinyModel::new(&device())), Err(AverageError::OtherRecord)));
        let other = AveragedModel::new(Average::latest(9, 1)).unwrap();
        assert!(matches!(load(other, &step(7)), Err(AverageError::OtherRecord)));
        for number in 8..20 {
            assert_eq!(values(&again), values(&whole), "{average}, update {number}");
            assert_ne!(values(&again), flat(&step(7)), "{average}, update {number}");
            whole.update(&step(number));
            again.update(&step(number));
        }
    }
}

/// Loaded weights that are not trained.
#[test]
fn models_without_autodiff_are_averaged_whole() {
    let plain = model().valid();
    let mut average = AveragedModel::new(Average::mean_from(0)).unwrap();
    for factor in [1.0, 2.0, 6.0] {
        average.update(&plain.clone().map(&mut Scaled(factor)));
    }
    let expected: Vec<f64> = flat(&plain).iter().map(|weight| 3.0 * f64::from(*weight)).collect();
    assert_near(&flat(&average.valid(&plain)), &expected, "mean of 1, 2 and 6");
}

struct Scaled(f64);

impl burn::module::ModuleMapper for Scaled {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<burn::tensor::Tensor<D>>,
    ) -> burn::module::Param<burn::tensor::Tensor<D>> {
        param.map(|tensor| tensor.mul_scalar(self.0))
    }
}

/// A model whose weights are multiplied.
struct Times(f64);

impl burn::module::ModuleMapper for Times {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<burn::tensor::Tensor<D>>,
    ) -> burn::module::Param<burn::tensor::Tensor<D>> {
        param.map(|tensor| tensor.mul_scalar(self.0).detach().require_grad())
    }
}

//! Averages in copies of a run, by finders, searches and Burn's learner.

use super::*;
use burn::train::Interrupter;
use burn_anneal::control::MetricOf;
use burn_anneal::plan::{Search, Space, Strategy, Sweep, Values};

fn averaged() -> LearnerBuilder<TinyModel> {
    builder().average(Average::ema(0.9).warmup())
}

fn finder() -> LrFinder {
    LrFinder::new().sweep(Sweep::new(1e-6, 10.0).updates(20))
}

#[test]
fn a_finder_tests_what_trains_and_leaves_nothing_behind() {
    let expected = launched(averaged());
    let (builder, loader) = (averaged(), batches(60, 6, 0));
    let found = finder().find(&builder, &loader).unwrap();
    let plain = finder().find(&super::builder(), &loader).unwrap();
    assert_eq!(format!("{:?}", found.tests()), format!("{:?}", plain.tests()));
    assert_eq!(launched(builder), expected);
}

#[test]
fn a_finder_in_a_run_disturbs_no_average() {
    let train = |looks: bool| {
        let mut training = a_loop(averaged());
        for number in 0..UPDATES {
            if looks && number == 15 {
                let pass = |model: &TinyModel| TrainStep::step(model, batch(3));
                finder().find_in(&training, pass).unwrap();
            }
            update(&mut training);
        }
        (flat(&training.valid()), flat(training.model()))
    };
    assert_eq!(train(true), train(false));
}

#[test]
fn a_search_compares_averages() {
    let folder = tempfile::tempdir().unwrap();
    let builder = |values: &Values, _: usize| {
        let sgd = SgdConfig::new().build();
        LearnerBuilder::new(model(), sgd, constant(values["rate"])).average(Average::mean_from(0))
    };
    let valid = || batches(12, 6, 0);
    let training = |number: usize| {
        SupervisedTraining::new(folder.path().join(number.to_string()), batches(60, 6, 0), valid())
            .num_epochs(3)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .metrics((LossMetric::new(),))
    };
    let search = Search::new(Space::new().log("rate", 0.01, 1.0)).strategy(Strategy::Grid(3));
    let found = search.launch(MetricOf::valid("Loss"), builder, training).unwrap();
    for trial in found.study.trials() {
        let mut by_hand = a_loop(builder(&trial.values, 0));
        (0..UPDATES).for_each(|_| update(&mut by_hand));
        let loss = evaluate(&by_hand.valid(), &*valid()).unwrap().loss;
        let burn_anneal::plan::Status::Finished(found) = trial.status else { panic!("{trial:?}") };
        assert!((found - loss).abs() < 1e-5, "{found} {loss}");
    }
}

#[test]
fn a_clone_of_a_learner_goes_its_own_way() {
    let learner = || averaged().run(run()).build(Interrupter::new()).unwrap();
    let train = |learner: &mut burn::train::Learner<Annealed<TinyModel>>, numbers: &[u64]| {
        for number in numbers {
            let output = TrainStep::step(&learner.model(), batch(*number));
            learner.lr_step();
            learner.optimizer_step(output.grads);
        }
        flat(&learner.model().valid())
    };
    let mut alone = learner();
    let expected = train(&mut alone, &[0, 1, 2, 3, 4]);

    let mut one = learner();
    train(&mut one, &[0, 1, 2]);
    let mut other = one.clone();
    train(&mut other, &[7, 7]);
    assert_eq!(train(&mut one, &[3, 4]), expected);
    let mut alone = learner();
    let apart = train(&mut alone, &[0, 1, 2, 7, 7]);
    assert_eq!(flat(&other.model().valid()), apart);
}

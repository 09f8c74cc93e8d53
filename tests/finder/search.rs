//! A search over trainings.

use crate::{alone, device};
use anneal_tests::{Quiet, TinyModel, batches};
use burn::optim::SgdConfig;
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_anneal::control::MetricOf;
use burn_anneal::plan::{Halving, Search, Space, Status, Strategy, Values};
use burn_anneal::prelude::*;
use std::path::Path;

fn training(folder: &Path, number: usize) -> SupervisedTraining<TinyModel> {
    let folder = folder.join(format!("trial-{number}"));
    SupervisedTraining::new(folder, batches(60, 6, 0), batches(12, 6, 0))
        .num_epochs(4)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
}

fn builder(values: &Values, _number: usize) -> LearnerBuilder<TinyModel> {
    assert!(values["rate"] < 0.5, "a rate that somebody's code does not bear");
    let model = TinyModel::seeded(1, &device());
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(values["rate"]))
}

/// The mean validation loss in the last epoch of a run without a search.
fn loss_at(rate: f64) -> f64 {
    let mut training = builder(&Values::from_iter([("rate", rate)]), 0)
        .run(RunLength::from_items(60, 6).epochs(4))
        .build_loop()
        .unwrap();
    for _ in 0..4 {
        for batch in batches(60, 6, 0).iter() {
            training.pass(|model| burn::train::TrainStep::step(model, batch.unwrap()));
            training.update().unwrap();
        }
    }
    let model = burn::module::Module::valid(training.model());
    let valid = batches(12, 6, 0);
    let losses = valid.iter().map(|batch| {
        let output = model.forward(batch.unwrap());
        f64::from(output.loss.into_scalar::<f32>())
    });
    losses.sum::<f64>() / 2.0
}

#[test]
fn each_trial_is_a_training_and_the_best_can_be_made_anew() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    // Half of the grid panics.
    let search = Search::new(Space::new().log("rate", 1e-3, 10.0)).strategy(Strategy::Grid(5));
    let mut found = search
        .file(folder.path().join("search.json"))
        .launch(MetricOf::valid("Loss"), builder, |number| training(folder.path(), number))
        .unwrap();

    let trials = found.study.trials();
    let rates: Vec<f64> = trials.iter().map(|trial| trial.values["rate"]).collect();
    assert_eq!(trials.len(), 5, "{rates:?}");
    for trial in &trials {
        let rate = trial.values["rate"];
        match &trial.status {
            Status::Finished(loss) => {
                let expected = loss_at(rate);
                assert!((loss - expected).abs() < 1e-5, "{rate}: {loss}, {expected}");
            }
            Status::Failed(reason) => {
                assert!(rate > 0.5 && reason.contains("not bear"), "{reason}")
            }
            other => panic!("{rate}: {other:?}"),
        }
    }
    let best = found.study.best().unwrap();
    assert!((best.values["rate"] - 0.1).abs() < 1e-9, "{}", found.study);
    let training = found.best_builder().unwrap().run(RunLength::updates(10)).build_loop().unwrap();
    assert_eq!(training.groups().schedule().rate(0), best.values["rate"]);
}

#[test]
fn a_trial_that_is_not_among_the_best_ends_early() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let search = Search::new(Space::new().log("rate", 1e-5, 0.4)).strategy(Strategy::Sobol);
    let found = search
        .trials(9)
        .halving(Halving::new(1, 4).factor(2))
        .launch(MetricOf::valid("Loss"), builder, |number| training(folder.path(), number))
        .unwrap();

    let epochs = |number: usize| {
        let logs = folder.path().join(format!("trial-{number}")).join("valid");
        std::fs::read_dir(logs).unwrap().count()
    };
    let mut stopped = 0;
    for trial in found.study.trials() {
        match trial.status {
            Status::Stopped { at, .. } => {
                stopped += 1;
                assert_eq!(epochs(trial.number) as u64, at, "trial {}", trial.number);
            }
            Status::Finished(_) => assert_eq!(epochs(trial.number), 4),
            other => panic!("{other:?}"),
        }
    }
    assert!((1..9).contains(&stopped), "{}", found.study);
}

#[test]
fn a_metric_that_is_not_there_fails_every_trial_and_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let search = Search::new(Space::new().log("rate", 1e-3, 0.4)).trials(2);
    let mut found = search
        .launch(MetricOf::valid("Accurcy"), builder, |number| training(folder.path(), number))
        .unwrap();
    for trial in found.study.trials() {
        let Status::Failed(reason) = trial.status else { panic!("{:?}", trial.status) };
        assert!(reason.contains("Accurcy") && reason.contains("`valid Loss`"), "{reason}");
    }
    assert!(found.best_builder().is_none());
}

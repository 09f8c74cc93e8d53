//! Seesaw and exploration in trainings.

use super::*;
use anneal_tests::{Quiet, batches};
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_anneal::control::{Exploration, Seesaw, UpdateLog};

/// The updates, accumulations and rates of a launched run are those of the plan, and it sees the same items.
#[test]
fn a_launched_run_trains_by_its_plan() {
    let run = RunLength::from_items(96, 6).epochs(4);
    let schedule = step_decay(0.1, Span::epochs(1), 0.5).warmup(Span::steps(4));
    let plan = Seesaw::up_to(8).plan(schedule, run).unwrap();
    assert!(plan.updates() < plan.updates_without(), "{plan}");
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), batches(96, 6, 0), batches(6, 3, 0))
        .num_epochs(4)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),));
    let model = TinyModel::seeded(5, &device());
    LearnerBuilder::new(model, SgdConfig::new().build(), plan.schedule().clone())
        .run(plan.run())
        .gradient_reduction(GradientReduction::Mean)
        .log_updates(folder.path())
        .launch(training)
        .unwrap()
        .finished()
        .unwrap();
    let updates = UpdateLog::read(folder.path()).unwrap().updates;
    assert_eq!(updates.len() as u64, plan.updates());
    assert_eq!(updates.iter().map(|line| line.batches.unwrap()).sum::<u64>() * 6, 4 * 96);
    for stage in plan.stages() {
        let of_stage = stage.first..stage.first + stage.updates;
        for line in updates.iter().filter(|line| of_stage.contains(&line.update)) {
            // The last update of an epoch may have fewer batches.
            assert!(line.batches.unwrap() <= stage.accumulation, "{line:?}");
            let warms_up = line.update < 4;
            assert!(warms_up || (line.schedule_rate - stage.rate).abs() < 1e-12, "{line:?}");
        }
    }
}

/// Three trainings, one of which starts at a far too high rate: it is dropped, and the better of the others continues.
#[test]
fn the_best_of_several_trainings_goes_on() {
    let scales = [1.0, 1e9, 1e-3];
    let exploration = Exploration::new(3, 20, 0.5, 0.1, 120);
    let mut explorer = exploration.build().unwrap();
    let run = exploration.length();
    let mut candidates = scales.map(|scale| {
        let groups = GroupsConfig::new().group(Group::rest("all").multiple(scale));
        let model = TinyModel::seeded(5, &device());
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), exploration.schedule());
        builder.run(run).groups(groups).build_loop().unwrap()
    });
    while let Some(turn) = explorer.turn() {
        let training = &mut candidates[turn.candidate];
        assert_eq!(training.next_update(), turn.update);
        let output = training.pass(|model| TrainStep::step(model, batch(0)));
        let updated = training.update().unwrap();
        assert!((updated.rate - turn.rate).abs() < 1e-12);
        let loss = f64::from(output.loss.into_scalar::<f32>());
        explorer.hear(turn.candidate, loss).unwrap();
    }
    assert_eq!(explorer.best(), Some(0));
    assert_eq!(explorer.dropped().map(|(candidate, _)| candidate).collect::<Vec<_>>(), [1]);
    assert_eq!(Some(candidates[0].next_update()), run.resolve().unwrap().updates());
    assert!(explorer.spent() <= 120);
}

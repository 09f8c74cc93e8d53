//! An exploration that trains models of different types.

use super::*;
use anneal_tests::{FEATURES, seeded};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{ExecutionError, Tensor};
use burn::train::{ItemLazy, TrainOutput};
use burn_anneal::ExploreError;
use burn_anneal::control::{Dropped, Exploration};
use std::sync::Arc;

/// One layer, with an output type of its own.
#[derive(Module, Debug)]
struct OneLayer {
    layer: Linear,
}

struct Scored(Tensor<1>);

impl ItemLazy for Scored {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainStep for OneLayer {
    type Input = Points;
    type Output = Scored;

    fn step(&self, points: Points) -> TrainOutput<Scored> {
        let scores = self.layer.forward(points.features);
        let loss = CrossEntropyLossConfig::new().init(&scores.device());
        let loss = loss.forward(scores, points.targets);
        TrainOutput::new(self, loss.clone().scaled_backward(), Scored(loss))
    }
}

fn exploration() -> Exploration {
    Exploration::new(3, 10, 0.5, 0.1, 70).keep(1)
}

fn builder<M: Module>(model: M) -> LearnerBuilder<M> {
    let rule = exploration();
    LearnerBuilder::new(model, SgdConfig::new().build(), rule.schedule()).run(rule.length())
}

/// A candidate whose rates are a billion times the schedule's.
fn broken() -> LearnerBuilder<TinyModel> {
    let groups = GroupsConfig::new().group(Group::rest("all").multiple(1e9));
    builder(TinyModel::seeded(6, &device())).groups(groups)
}

fn one_layer() -> LearnerBuilder<OneLayer> {
    device().seed(3);
    builder(OneLayer { layer: LinearConfig::new(FEATURES, 3).init(&device()) })
}

fn loader() -> Arc<dyn DataLoader<Points>> {
    // Three batches per epoch, on a device that no model uses.
    seeded(18, 6, 1)
}

/// The losses of a custom loop over the same batches.
fn losses(mut training: TrainingLoop<TinyModel>, updates: usize) -> Vec<f64> {
    let loader = loader().to_device(&device());
    let batches = std::iter::repeat_with(|| loader.iter().map(Result::unwrap).collect::<Vec<_>>());
    let losses = batches.flatten().take(updates).map(|batch| {
        let output = training.pass(|model| TrainStep::step(model, batch));
        training.update().unwrap();
        f64::from(output.loss.into_scalar::<f32>())
    });
    losses.collect()
}

#[test]
fn models_of_different_types_explore_and_the_best_trains_on() {
    let tiny = || builder(TinyModel::seeded(5, &device())).build_loop().unwrap();
    let (mut first, mut second) = (tiny(), broken().build_loop().unwrap());
    let mut third = one_layer().loss(|output: &Scored| output.0.clone()).build_loop().unwrap();
    let explored =
        exploration().train(&mut [&mut first, &mut second, &mut third], &loader()).unwrap();

    let dropped: Vec<_> = explored.dropped().collect();
    assert!(matches!(dropped[..], [(1, Dropped::Rose { update: 1, .. })]), "{dropped:?}");
    // A dropped candidate makes no update for its last loss, and the best makes all of its updates.
    let made = [first.next_update(), second.next_update(), third.next_update()];
    let best = explored.best().unwrap();
    assert_eq!(made, if best == 0 { [50, 1, 10] } else { [10, 1, 50] });
    assert_eq!(explored.spent(), 62);

    // A custom loop over the same batches has the same losses, the last 10 of which decide.
    let last = losses(tiny(), made[0] as usize).pop().unwrap();
    assert!((explored.loss(0).unwrap() - last).abs() < 1e-6, "{explored:?}, {last}");
}

#[test]
fn what_cannot_be_explored_is_refused() {
    let refused = |rule: Exploration, training: &mut TrainingLoop<TinyModel>| {
        rule.train(&mut [training], &loader()).unwrap_err()
    };
    let one = Exploration { candidates: 1, ..exploration() };
    let tiny = |rule: &Exploration, run: RunLength| {
        let model = TinyModel::seeded(5, &device());
        LearnerBuilder::new(model, SgdConfig::new().build(), rule.schedule()).run(run).build_loop()
    };
    let mut right = tiny(&one, one.length()).unwrap();
    let error = refused(exploration(), &mut right).to_string();
    assert_eq!(error, "the exploration is for 3 candidates, not 1");
    let error = refused(Exploration { high: 0.7, ..one.clone() }, &mut right);
    assert!(matches!(&error, ExploreError::OtherRun { candidate: 0, .. }), "{error}");
    let mut longer = tiny(&one, RunLength::updates(500)).unwrap();
    assert!(matches!(refused(one.clone(), &mut longer), ExploreError::OtherRun { .. }));
    let empty = one.train(&mut [&mut right], &seeded(0, 6, 1)).unwrap_err();
    assert!(matches!(empty, ExploreError::NoBatches), "{empty}");
    update(&mut right);
    let error = refused(one, &mut right).to_string();
    assert!(error.starts_with("candidate 0 is at update 1 of"), "{error}");

    let mut unknown = one_layer().build_loop().unwrap();
    let rule = Exploration { candidates: 1, budget: 50, ..exploration() };
    let error = rule.train(&mut [&mut unknown], &loader()).unwrap_err().to_string();
    assert!(
        error.starts_with("candidate 0: ") && error.contains("LearnerBuilder::loss"),
        "{error}"
    );
}

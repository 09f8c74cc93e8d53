//! The returned model, and models that are trained again.

use super::*;
use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Whether each parameter requires a gradient.
fn requires(model: &impl Module) -> Vec<bool> {
    struct Requires(Vec<bool>);
    impl ModuleVisitor for Requires {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().is_require_grad());
        }
    }
    let mut requires = Requires(vec![]);
    model.visit(&mut requires);
    requires.0
}

/// For a model whose last bias never trains.
fn partly_frozen() -> TinyModel {
    let mut model = model();
    model.head.bias = model.head.bias.map(|bias| bias.set_require_grad(false));
    model
}

fn frozen_trunk(builder: LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel> {
    let trunk = Group::new("trunk", "^hidden").frozen();
    builder.groups(GroupsConfig::new().group(trunk).group(Group::rest("rest")))
}

#[test]
fn the_model_requires_gradients_where_it_did_before() {
    let before = requires(&partly_frozen());
    assert_eq!(before, [true, true, true, false]);
    let builder = |run: Option<RunLength>| {
        let builder = LearnerBuilder::new(partly_frozen(), SgdConfig::new().build(), constant(0.1));
        frozen_trunk(match run {
            Some(run) => builder.run(run),
            None => builder,
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let result = launched(builder(None), training(folder.path(), batches(12, 6, 0), 1));
    assert_eq!(flat(&result.model.hidden), flat(&model().hidden), "it was frozen");
    assert_eq!(requires(&result.model.train()), before);

    let run = RunLength::from_items(12, 6);
    let training = SupervisedTraining::new(folder.path(), batches(12, 6, 0), batches(3, 3, 0))
        .renderer(Box::new(Quiet))
        .with_application_logger(None);
    let learner = builder(Some(run)).build(training.interrupter()).unwrap();
    assert_eq!(requires(&learner.model()), [false, false, true, false]);
    let result = training.launch(learner);
    assert_eq!(requires(&result.model.into_inner().train()), before);

    let in_a_loop = builder(Some(run)).build_loop().unwrap();
    assert_eq!(requires(in_a_loop.model()), [false, false, true, false]);
    assert_eq!(requires(&in_a_loop.into_model()), before);
}

/// A second phase trains the whole model, as if there had been no first one.
#[test]
fn a_second_phase_trains_what_the_first_froze() {
    let folder = tempfile::tempdir().unwrap();
    let first = launched(frozen_trunk(builder()), training(folder.path(), batches(60, 6, 0), 1));
    let second = |model| LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.05));
    let again = second(first.model.clone().train());
    let found = launched(again, training(folder.path(), batches(60, 6, 0), 1)).model;
    assert_ne!(flat(&found.hidden), flat(&first.model.hidden));
    // The same weights in a separate model.
    let fresh = model().load_record(first.model.into_record());
    let expected = launched(second(fresh), training(folder.path(), batches(60, 6, 0), 1)).model;
    assert_eq!(flat(&found), flat(&expected));
}

#[test]
fn a_model_that_is_wrapped_already_is_refused() {
    let run = RunLength::from_items(12, 6);
    let folder = tempfile::tempdir().unwrap();
    let training = || {
        SupervisedTraining::new(folder.path(), batches(12, 6, 0), batches(3, 3, 0))
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
    };
    let learner = builder().run(run).build(Interrupter::new()).unwrap();
    let trained = training().launch(learner).model;
    let again =
        LearnerBuilder::new(trained.clone().train(), SgdConfig::new().build(), constant(0.1));
    let error = again.run(run).build(Interrupter::new()).err().unwrap();
    assert!(matches!(error, BuildError::Annealed), "{error}");
    assert!(error.to_string().contains("into_inner()"), "{error}");
}

/// Burn's guide to further training: `Learner::new(result.model.train(), …)` trains it like the bare model.
#[test]
fn in_a_learner_of_burns_own_a_trained_model_is_the_bare_one() {
    let run = RunLength::from_items(12, 6).epochs(2);
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), batches(12, 6, 0), batches(3, 3, 0))
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None);
    let first = frozen_trunk(builder()).loss_scaling(LossScaling::new()).run(run);
    let first = first.build(training.interrupter()).unwrap();
    let trained = training.launch(first).model;
    let mut wrapped = Learner::new(trained.clone().train(), AdamWConfig::new().init(), 0.02);
    let mut bare = Learner::new(trained.into_inner().train(), AdamWConfig::new().init(), 0.02);
    let before = flat(&bare.model().hidden);
    for item in 0..5 {
        update(&mut wrapped, item);
        update(&mut bare, item);
    }
    assert_eq!(flat(&wrapped.model()), flat(&bare.model()));
    assert_ne!(flat(&bare.model().hidden), before, "what the first run froze trains");
    assert!(wrapped.model().failure().is_none());
}

fn update<M>(learner: &mut Learner<M>, item: usize)
where
    M: burn::train::LearnerModel + burn::train::TrainStep<Input = Points>,
{
    let output = learner.train_step(points(&[item, item + 1, item + 2], &device()));
    learner.lr_step();
    learner.optimizer_step(output.grads);
}

//! Where averages are evaluated, and their results.

use super::*;
use burn::train::checkpoint::MetricCheckpointingStrategy;
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn_anneal::Snapshots;

fn seen(weights: Weights) -> (LearnerBuilder<Seen>, SeenWeights) {
    let model = Seen::new();
    let seen = model.weights.clone();
    let builder = LearnerBuilder::new(model, sgd(), constant(0.1));
    (builder.average(Average::ema(0.9)).evaluate_with(weights), seen)
}

/// The average and the raw weights after each epoch.
fn epochs() -> Vec<[Vec<f32>; 2]> {
    let mut training = a_loop(builder().average(Average::ema(0.9)));
    let epoch = |_| {
        (0..10).for_each(|_| update(&mut training));
        [flat(&training.averaged()), flat(training.model())]
    };
    (0..3).map(epoch).collect()
}

/// Two batches per epoch.
fn validated(seen: &Mutex<Vec<Vec<f32>>>) -> Vec<Vec<f32>> {
    let mut seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 6);
    seen.dedup();
    seen
}

#[test]
fn validation_sees_what_was_asked_for() {
    let expected = epochs();
    for (which, weights) in [Weights::Average, Weights::Raw].into_iter().enumerate() {
        let expected_of = |epoch: &[Vec<f32>; 2]| epoch[which].clone();
        let in_epochs: Vec<_> = expected.iter().map(expected_of).collect();

        let (builder, seen_by) = seen(weights);
        let (watch, folder) = (builder.watch(), tempfile::tempdir().unwrap());
        let model = builder.launch(training(folder.path(), 3)).unwrap().finished().unwrap();
        assert_eq!(validated(&seen_by), in_epochs, "launch, {weights:?}");
        assert_eq!(flat(&model), in_epochs[2]);
        let ended = watch.run().unwrap();
        for (which, weights) in [Weights::Average, Weights::Raw].into_iter().enumerate() {
            let found = flat(&ended.with_weights(&model, weights));
            assert_eq!(found, expected[2][which], "{weights:?}");
        }

        let (builder, seen_by) = seen(weights);
        let folder = tempfile::tempdir().unwrap();
        let training: SupervisedTraining<Annealed<Seen>> = training(folder.path(), 3);
        let learner = builder.run(run()).build(training.interrupter()).unwrap();
        let result = training.launch(learner);
        assert!(result.error.is_none());
        assert_eq!(validated(&seen_by), in_epochs, "Burn's loop, {weights:?}");
        for (which, weights) in [Weights::Average, Weights::Raw].into_iter().enumerate() {
            let found = flat(&result.model.with_weights(result.model.inner(), weights));
            assert_eq!(found, expected[2][which], "Burn's loop, {weights:?}");
        }
        assert_eq!(flat(&result.model.into_inner()), in_epochs[2]);
    }
}

#[test]
fn a_loop_evaluates_what_was_asked_for() {
    let mut training = a_loop(builder().average(Average::ema(0.9)).evaluate_with(Weights::Raw));
    (0..UPDATES).for_each(|_| update(&mut training));
    let [average, raw] = epochs().pop().unwrap();
    assert_eq!(flat(&training.valid()), raw);
    assert_eq!(flat(&training.averaged()), average);
    let of = |weights| flat(&training.with_weights(training.model(), weights));
    assert_eq!((of(Weights::Average), of(Weights::Raw)), (average, raw.clone()));
    // Also for the evaluated weights.
    assert_eq!(flat(&training.with_weights(&training.averaged(), Weights::Raw)), raw);
    assert_eq!(flat(&training.into_model()), raw);
}

/// The validated weights decide which epoch is the best.
#[test]
fn the_best_checkpoint_is_that_of_the_weights_that_are_validated() {
    let valid = || batches(12, 6, 0);
    let builder_at = |rate| LearnerBuilder::new(model(), sgd(), constant(rate));
    let best = |losses: Vec<f64>| {
        let least = |a: &(usize, &f64), b: &(usize, &f64)| a.1.total_cmp(b.1);
        losses.iter().enumerate().min_by(least).unwrap().0 + 1
    };
    let mut have_differed = false;
    for rate in [0.3, 0.6, 1.0, 1.5, 2.0, 3.0] {
        let mut training = a_loop(builder_at(rate).average(Average::ema(0.9)));
        let mut losses = [vec![], vec![]];
        for _ in 0..3 {
            (0..10).for_each(|_| update(&mut training));
            losses[0].push(evaluate(&training.averaged(), &*valid()).unwrap().loss);
            losses[1].push(evaluate(&training.model().valid(), &*valid()).unwrap().loss);
            let by_run = [Weights::Average, Weights::Raw]
                .map(|weights| training.evaluate(training.model(), weights, &*valid()).unwrap());
            assert_eq!(
                by_run.map(|found| found.loss),
                losses.each_ref().map(|all| all[all.len() - 1])
            );
        }
        let expected = losses.map(best);
        have_differed |= expected[0] != expected[1];
        for (weights, expected) in [Weights::Average, Weights::Raw].into_iter().zip(expected) {
            let folder = tempfile::tempdir().unwrap();
            let strategy = MetricCheckpointingStrategy::new(
                &LossMetric::new(),
                Aggregate::Mean,
                Direction::Lowest,
                Split::Valid,
            );
            let training = SupervisedTraining::new(folder.path(), batches(60, 6, 0), valid())
                .num_epochs(3)
                .renderer(Box::new(Quiet))
                .with_application_logger(None)
                .metrics((LossMetric::new(),))
                .with_checkpointing_strategy(strategy);
            let builder = builder_at(rate).average(Average::ema(0.9)).evaluate_with(weights);
            let builder = builder.checkpoints(Checkpoints::new(folder.path()));
            builder.launch(training).unwrap().finished().unwrap();
            let found = Checkpoint::newest(folder.path()).unwrap().unwrap().epoch();
            assert_eq!(found, expected, "{rate}, {weights:?}");
        }
    }
    assert!(have_differed);
}

#[test]
fn snapshots_hold_what_is_evaluated() {
    for (which, weights) in [Weights::Average, Weights::Raw].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let cycles = warm_restarts(0.1, Span::steps(8));
        let mut training = LearnerBuilder::new(model(), sgd(), cycles)
            .average(Average::ema(0.9))
            .evaluate_with(weights)
            .snapshots(Snapshots::new(folder.path()))
            .run(RunLength::updates(20))
            .build_loop()
            .unwrap();
        let mut expected = vec![];
        for number in 0..20 {
            update(&mut training);
            if [7, 15, 19].contains(&number) {
                expected.push([flat(&training.averaged()), flat(training.model())][which].clone());
            }
        }
        drop(training);
        let load = |snapshot: Snapshot| flat(&snapshot.load(TinyModel::new(&device())).unwrap());
        let found: Vec<_> = Snapshots::list(folder.path()).unwrap().into_iter().map(load).collect();
        assert_eq!(found, expected, "{weights:?}");
    }
}

/// In half precision a snapshot is in f32, and so are its averages.
#[test]
fn a_snapshot_in_half_precision_holds_the_average_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path());
    let half = HalfPrecision::bf16();
    let builder = builder().half_precision(half).average(Average::ema(0.9)).snapshots(snapshots);
    let mut training = a_loop(builder);
    (0..UPDATES).for_each(|_| update(&mut training));
    let snapshot = Snapshots::list(folder.path()).unwrap().pop().unwrap();
    let found = snapshot.load(TinyModel::new(&device())).unwrap();
    assert_eq!(flat(&found), flat(&training.averaged_in_f32()));
}

/// Batches of 6, 6 and 2.
#[test]
fn a_loss_is_the_mean_over_items() {
    let model = model().valid();
    let plain = model.forward(points(&(0..14).collect::<Vec<_>>(), &Device::default()));
    let logits: Vec<f32> = plain.output.into_data().iter::<f32>().collect();
    let (mut loss, mut right) = (0.0, 0);
    for (item, logits) in logits.chunks(3).enumerate() {
        let class = item % 3;
        let exponents = logits.iter().map(|logit| f64::from(*logit).exp());
        loss += exponents.sum::<f64>().ln() - f64::from(logits[class]);
        let is_highest = logits.iter().all(|logit| *logit <= logits[class]);
        right += u32::from(is_highest);
    }
    for loader in [batches(14, 6, 0), batches(14, 6, 2), anneal_tests::seeded(14, 6, 1)] {
        let found = evaluate(&model, &*loader).unwrap();
        assert!((found.loss - loss / 14.0).abs() < 1e-6, "{found:?}");
        assert!((found.accuracy.unwrap() - f64::from(right) / 14.0).abs() < 1e-9, "{found:?}");
        assert_eq!(found.items, 14);
    }
    assert!(right > 0 && right < 14);
}

/// An output of an unknown type.
#[derive(Module, Debug)]
struct Mute {
    inner: TinyModel,
}

impl InferenceStep for Mute {
    type Input = Points;
    type Output = ();

    fn step(&self, _: Points) {}
}

#[test]
fn what_cannot_be_evaluated_is_said() {
    let error = evaluate(&model().valid(), &*batches(0, 6, 0)).unwrap_err();
    assert!(matches!(error, EvaluateError::NoItems), "{error}");
    let error = evaluate(&Mute { inner: model().valid() }, &*batches(6, 6, 0)).unwrap_err();
    assert!(matches!(error, EvaluateError::NoLoss), "{error}");
}

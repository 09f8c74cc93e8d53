//! Several devices, and several models.

use super::*;
use anneal_tests::{Quiet, batches, flat};
use burn::module::Module;
use burn::optim::MultiGradientsParams;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, Interrupter, MultiDeviceOptim, SupervisedTraining};
use burn_anneal::control::{Hypergradient, LoggedUpdate, Observation, UpdateLog};

/// The weights of two models that train in turns, each on the other's predictions.
fn in_turns(
    folder: &std::path::Path,
    epochs: std::ops::Range<u64>,
    resumes: bool,
) -> [Vec<f32>; 2] {
    let names = ["one", "other"];
    let folders = names.map(|name| folder.join(name));
    let saved = match resumes {
        true => Checkpoint::newest_of_all(folders.clone()).unwrap(),
        false => None,
    };
    let schedules: [ScheduleConfig; 2] =
        [cosine(0.5).into(), step_decay(0.3, Span::steps(3), 0.5).into()];
    let mut players: Vec<TrainingLoop<TinyModel>> = vec![];
    for (index, schedule) in schedules.into_iter().enumerate() {
        let model = TinyModel::seeded(index as u64, &device());
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), schedule)
            .run(RunLength::updates(20))
            .controller("falling", By(Needs { loss: true, ..Needs::default() }, by_loss));
        let builder = match &saved {
            Some(saved) => builder.resume_from(&saved[index]),
            None => builder,
        };
        players.push(builder.build_loop().unwrap());
    }
    for epoch in epochs {
        for number in 0..4 {
            for index in [0, 1] {
                let points = batch(epoch * 4 + number);
                let other = players[1 - index].model().valid();
                let targets = other.forward(Points {
                    features: points.features.clone().inner(),
                    targets: points.targets.clone().inner(),
                });
                let targets = targets.output.argmax(1).squeeze_dim::<1>(1);
                let targets = burn::tensor::Tensor::from_inner(targets);
                players[index].pass(|model| {
                    TrainStep::step(model, Points { targets: targets.clone(), ..points.clone() })
                });
                players[index].update().unwrap();
            }
        }
        for (player, folder) in players.iter().zip(&folders) {
            player.save(folder, epoch as usize + 1).unwrap();
        }
    }
    [0, 1].map(|index| flat(players[index].model()))
}

fn by_loss(seen: &Seen<'_>) -> Answer {
    Answer::factor(seen.observation.loss.map_or(1.0, |loss| 1.0 / (1.0 + loss)))
}

#[test]
fn two_models_in_turns_go_on_together() {
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = in_turns(whole.path(), 0..3, false);
    in_turns(parts.path(), 0..2, false);
    // The process was killed when it had saved one of them.
    std::fs::remove_file(parts.path().join("other/checkpoint/model-2.bpk")).unwrap();
    assert_eq!(in_turns(parts.path(), 1..3, true), expected);
    assert_ne!(in_turns(tempfile::tempdir().unwrap().path(), 0..2, false), expected);
}

#[test]
fn models_that_no_epoch_has_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["one", "other"].map(|name| folder.path().join(name));
    assert_eq!(Checkpoint::newest_of_all(folders.clone()).unwrap(), None);
    let mut training = tiny(0.5).build_loop().unwrap();
    update(&mut training);
    training.save(&folders[0], 1).unwrap();
    let error = Checkpoint::newest_of_all(folders.clone()).unwrap_err().to_string();
    assert!(error.starts_with("there is no epoch after which all of"), "{error}");
    training.save(&folders[1], 2).unwrap();
    assert!(Checkpoint::newest_of_all(folders.clone()).is_err());
    training.save(&folders[0], 2).unwrap();
    let found = Checkpoint::newest_of_all(folders).unwrap().unwrap();
    assert_eq!(found.map(|saved| saved.epoch()), [2, 2]);
}

/// A run on two devices, and what its controllers heard and decided at each update.
fn on_two_devices() -> (Vec<f32>, Vec<LoggedUpdate>) {
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), batches(60, 3, 0), batches(6, 3, 0))
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .metrics((LossMetric::new(),));
    let devices = ExecutionStrategy::multi(vec![device(); 2], MultiDeviceOptim::OptimMainDevice);
    let needs = Needs { loss: true, gradient_norm: true, gradient_dot: true, ..Needs::default() };
    let by_all = |seen: &Seen<'_>| {
        let Observation { loss, gradient_norm, gradient_dot, .. } = *seen.observation;
        let seen = loss.unwrap_or(0.0) + gradient_norm.unwrap_or(0.0);
        Answer::factor(1.0 / (1.0 + seen + gradient_dot.unwrap_or(0.0).abs()))
    };
    let builder = tiny(0.5).run(RunLength::of_training()).execution(devices);
    let builder = builder.controller("by all", By(needs, by_all)).log_updates(folder.path());
    let result = builder.launch(training).unwrap();
    assert!(result.error.is_none(), "{:?}", result.error);
    (flat(&result.model), UpdateLog::read(folder.path()).unwrap().updates)
}

/// Controllers are asked once per update, with numbers reduced over all devices: the rates apply to the gradients of
/// all workers, and do not depend on which worker is first.
#[test]
fn one_decision_is_made_for_all_devices() {
    let (weights, updates) = on_two_devices();
    assert_eq!(updates.len(), 20, "60 items in batches of 3, two of them an update, twice");
    let factors: Vec<f64> =
        updates.iter().map(|line| line.answers["by all"].factor.unwrap()).collect();
    for (line, factor) in updates.iter().zip(&factors) {
        let rates = [0.125 * factor, 0.5 * factor];
        assert_eq!(line.rates, rates);
    }
    factors.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    for _ in 0..5 {
        assert_eq!(on_two_devices(), (weights.clone(), updates.clone()));
    }
    // By hand: the first loss is the mean of both devices' first batches, which have the first and the second half of
    // the items.
    let model = TinyModel::seeded(5, &device());
    let loss = |items: &[usize]| {
        f64::from(model.forward(points(items, &device())).loss.into_scalar::<f32>())
    };
    let expected = (loss(&[0, 1, 2]) + loss(&[30, 31, 32])) / 2.0;
    assert!(
        (updates[0].loss.unwrap() - expected).abs() < 1e-6,
        "{:?}, {expected}",
        updates[0].loss
    );
}

/// Also if Burn distributes the parameters over the devices: the same gradients twice, so the product is the square of
/// their norm.
#[test]
fn gradients_of_several_devices_are_compared() {
    let builder = tiny(1e-30).run(RunLength::updates(10).devices(2));
    let builder = builder.controller("learns", Hypergradient::on_log(1e-9));
    let mut learner = builder.build(Interrupter::new()).unwrap();
    for update in 0..2 {
        let grads = [0, 1].map(|n| (learner.train_step(batch(n)).grads, Device::default()));
        learner.lr_step();
        learner.optimizer_step_multi(MultiGradientsParams { grads: grads.into() });
        assert!(learner.model().failure().is_none());
        let Observation { gradient_dot, gradient_norm, .. } = learner.model().observation();
        assert_eq!(gradient_norm, None, "nobody needs it");
        assert_eq!(gradient_dot.is_some(), update == 1);
    }
    let by_hand = learner.model();
    let gradients = [0, 1].map(|n| by_hand.inner().step(batch(n)).grads);
    let square: f32 = {
        let [one, other] = gradients.map(|gradients| {
            let weights = [&by_hand.inner().hidden, &by_hand.inner().head];
            let flat = weights.map(|layer| {
                let weight = gradients.get::<2>(layer.weight.id).unwrap().into_data();
                let bias = layer.bias.as_ref().unwrap();
                let bias = gradients.get::<1>(bias.id).unwrap().into_data();
                weight.iter::<f32>().chain(bias.iter::<f32>()).collect::<Vec<_>>()
            });
            flat.concat()
        });
        one.iter().zip(&other).map(|(a, b)| (a + b) * (a + b)).sum()
    };
    let found = learner.model().observation().gradient_dot.unwrap();
    assert!((found / f64::from(square) - 1.0).abs() < 1e-5, "{found}, {square}");
}

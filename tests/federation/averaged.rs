//! What is averaged, and what stays unchanged.

use super::*;
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;

fn device() -> Device {
    Device::default().autodiff()
}

fn vector(values: &[f32]) -> Param<Tensor<1>> {
    Param::from_tensor(Tensor::from_floats(values, &device()))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// A norm, and weights that are frozen by the model, frozen by a group, and trained.
#[derive(Module, Debug)]
struct Mixed {
    norm: BatchNorm,
    fixed: Param<Tensor<1>>,
    grouped: Param<Tensor<1>>,
    free: Param<Tensor<1>>,
}

impl Mixed {
    fn new() -> Self {
        Self {
            norm: BatchNormConfig::new(1).with_momentum(0.5).init(&device()),
            fixed: vector(&[0.1]).no_grad(),
            grouped: vector(&[0.3]),
            free: vector(&[0.0]),
        }
    }
}

/// An update on a batch with this mean; the loss has this slope in the free weight.
fn update(training: &mut TrainingLoop<Mixed>, mean: f32, slope: f32) -> Done {
    training.pass(|model| {
        let batch = Tensor::<2>::from_floats([[mean - 1.0], [mean + 1.0]], &device());
        let kept = model.fixed.val() * model.grouped.val();
        let loss = model.norm.forward(batch).sum() + (model.free.val() * slope + kept).sum();
        TrainOutput::new(model, loss.backward(), loss)
    });
    training.update()?;
    Ok(())
}

#[test]
fn statistics_are_weighted_means_and_what_is_frozen_stays() {
    let groups = GroupsConfig::new()
        .group(Group::new("frozen", "^grouped").frozen())
        .group(Group::rest("rest"));
    let builder = LearnerBuilder::new(Mixed::new(), sgd(None), constant(RATE))
        .run(RunLength::updates(10))
        .groups(groups);
    // The server's rate and momentum do not affect statistics.
    let mut federation = FederationBuilder::new(vec![builder; 2], 10)
        .server_rate(ServerRate::new(constant(0.25)).momentum(0.5))
        .client_weights([1.0, 3.0])
        .build()
        .unwrap();
    let (mut statistic, mut free, mut velocity) = (0.0, 0.0, 0.0);
    for number in 0..3 {
        let mut begins = vec![];
        let round = federation.round(|client, training| {
            begins.push(values(training.model().norm.running_mean.value())[0]);
            let of_batch = (client + 1) as f32;
            update(training, of_batch, of_batch)
        });
        // Means of 1 and 2, which each round weights by one half; slopes of 1 and 2.
        assert!(
            begins.iter().all(|begin| (f64::from(*begin) - statistic).abs() < 1e-6),
            "{begins:?}"
        );
        statistic = 0.5 * statistic + 0.5 * (0.25 * 1.0 + 0.75 * 2.0);
        velocity = 0.5 * velocity - RATE * 1.75;
        free += 0.25 * velocity;
        let valid = federation.valid();
        close(f64::from(values(valid.norm.running_mean.value_sync())[0]), statistic);
        close(f64::from(values(valid.free.val())[0]), free);
        assert_eq!(values(valid.fixed.val()), [0.1]);
        assert_eq!(values(valid.grouped.val()), [0.3]);
        // γ has no gradient, as the mean of a normalized batch is 0; β has one of 2 in both.
        let round = round.unwrap();
        close(round.drift, RATE * (0.25 * 0.75_f64).sqrt());
        close(round.movement, RATE * (1.75_f64.powi(2) + 4.0).sqrt());
        assert_eq!(round.number, number);
    }
    let model = federation.into_model();
    assert!(model.grouped.is_require_grad() && model.free.is_require_grad());
    assert!(!model.fixed.is_require_grad());
}

/// A change whose norm overflows is skipped once, and stops the server then.
#[test]
fn where_the_server_makes_no_update_its_statistics_stay() {
    let builder = LearnerBuilder::new(Mixed::new(), sgd(None), constant(RATE));
    let server = builder.clone().not_finite(NotFinite::Skip { most: 2 });
    let clients = vec![builder.run(RunLength::updates(10)); 2];
    let mut federation = FederationBuilder::new(clients, 10).server(server).build().unwrap();
    let kept = |federation: &Federation<Mixed>| {
        let Mixed { norm, free, .. } = federation.valid();
        let statistics = [norm.running_mean.value_sync(), norm.running_var.value_sync()];
        (statistics.map(values), values(free.val()))
    };
    federation.round(|client, training| update(training, client as f32, 1.0)).unwrap();
    let before = kept(&federation);
    let mut overflow = || {
        let round = federation.round(|_, training| update(training, 5.0, 1e25));
        (round, kept(&federation))
    };
    let (skipped, after) = overflow();
    assert_eq!((skipped.unwrap().server_rate, after), (0.0, before.clone()));
    let (failed, after) = overflow();
    assert!(matches!(failed.unwrap_err(), FederationError::Server(_)));
    assert_eq!(after, before);
    let again = federation.round(|_, _| panic!("nobody may train"));
    assert!(matches!(again.unwrap_err(), FederationError::Server(_)));
}

#[test]
fn what_no_client_moves_is_moved_by_the_server_alone() {
    let plain = |momentum| of(client(None)).server_rate(ServerRate::fed_avg().momentum(momentum));
    let decays = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(None), constant(1.0));
    let decays = of(client(None)).server(decays.weight_decay(0.25));
    for (builder, momentum, decay) in
        [(plain(0.0), 0.0, 0.0), (plain(0.5), 0.5, 0.0), (decays, 0.0, 0.25)]
    {
        let mut federation = builder.build().unwrap();
        let moved = round(&mut federation).movement;
        let before = weight(&federation);
        let still = federation.round(|_, _| Ok(())).unwrap();
        assert_eq!((still.movement, still.drift), (0.0, 0.0));
        let expected = before * (1.0 - decay) + momentum * moved;
        if expected == before {
            assert_eq!(weight(&federation), before);
        }
        close(weight(&federation), expected);
    }
}

/// A parameter in two places.
#[derive(Module, Debug)]
struct Tied {
    one: Param<Tensor<1>>,
    two: Param<Tensor<1>>,
}

#[test]
fn a_parameter_in_two_places_begins_each_round_as_one() {
    let one = vector(&[0.0]);
    let model = Tied { one: one.clone(), two: one };
    let builder = LearnerBuilder::new(model, sgd(None), constant(0.1)).run(RunLength::updates(40));
    let mut federation = FederationBuilder::new(vec![builder; 2], 20).build().unwrap();
    let mut w = 0.0;
    for _ in 0..3 {
        // Only one update, because Burn's optimizers do not update the second place.
        let found = federation.round(|client, training| {
            training.pass(|model| {
                // ½ (2 w − c)², whose gradient is 2 (2 w − c).
                let sum = model.one.val() + model.two.val();
                let loss = (sum - (client * 4) as f32).square().sum() * 0.5;
                TrainOutput::new(model, loss.backward(), loss)
            });
            training.update()?;
            Ok(())
        });
        // It leaves 0.6 of the distance to c/2: 0 and 2.
        close(found.unwrap().drift, 0.4);
        w = 1.0 + 0.6 * (w - 1.0);
        close(f64::from(values(federation.model().one.val())[0]), w);
    }
}

/// Updates far below the resolution of f16 at 1, on a linear loss, under a server that applies half of them: the exact
/// weights of the server must reach the master weights.
#[test]
fn in_half_precision_master_weights_are_averaged_and_set() {
    let half = HalfPrecision { loss_scaling: None, ..HalfPrecision::f16() };
    let slopes = [1.0, 3.0];
    let model = TermModel::new(&[1.0]).without_scaling();
    let builder = LearnerBuilder::new(model, sgd(None), constant(1e-5))
        .run(RunLength::updates(60))
        .half_precision(half);
    for stateless in [false, true] {
        let builder = FederationBuilder::new(vec![builder.clone(); 2], 20)
            .server_rate(ServerRate::new(constant(0.5)));
        let builder = if stateless { builder.stateless_clients() } else { builder };
        let mut federation = builder.build().unwrap();
        for number in 1..=20 {
            let found = federation.round(|client, training| {
                for _ in 0..3 {
                    let term = Term::new(&[vec![0.0]], &[slopes[client]]);
                    training.pass(|model| TrainStep::step(model, term));
                    training.update()?;
                }
                assert_eq!(training.model().weight.val().dtype(), burn::tensor::DType::F16);
                Ok(())
            });
            let found = found.unwrap();
            assert!((found.drift - 3e-5).abs() < 3e-7, "{}", found.drift);
            assert!((found.movement - 6e-5).abs() < 3e-7, "{}", found.movement);
            let expected = 1.0 - 3e-5 * f64::from(number);
            let w = f64::from(federation.model().values()[0]);
            assert!((w - expected).abs() < 2e-6, "{number}: {w}, not {expected}");
        }
    }
}

//! Refusals, and clients that fail.

use super::*;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use burn_anneal::control::{Cooldown, MetricOf, Plateau, TaskConflict};

fn error(builder: FederationBuilder<TermModel>) -> String {
    builder.build().err().unwrap().to_string()
}

/// Client 1 becomes NaN in the first round.
fn round_with_nan(federation: &mut Federation<TermModel>) -> Result<Round, FederationError> {
    let first = federation.next_round() == 0;
    federation.round(|client, training| {
        descend(training, if client == 1 && first { f64::NAN } else { CENTERS[client] })
    })
}

#[test]
fn a_client_that_is_not_finite_ends_in_an_error_that_names_it() {
    let mut federation = of(client(None)).build().unwrap();
    let error = round_with_nan(&mut federation).unwrap_err();
    assert!(
        matches!(&error, FederationError::ClientNotFinite { client: 1, parameter } if parameter == "weight"),
        "{error}"
    );
    assert_eq!((weight(&federation), federation.next_round()), (0.0, 0));
}

#[test]
fn or_is_left_out_and_comes_back_without_its_momentum() {
    let builder = of(client(Some(0.7))).leave_out_not_finite().client_weights([1.0, 2.0, 3.0, 4.0]);
    let mut federation = builder.build().unwrap();
    let found = round_with_nan(&mut federation).unwrap();
    assert_eq!((&found.clients[..], &found.not_finite[..]), (&[0, 2, 3][..], &[1][..]));
    assert!(found.drift.is_finite() && found.distances.len() == 3);
    let (mut own, mut velocity) = (CENTERS.map(|_| 0.0), CENTERS.map(|_| 0.0));
    for clients in [&[0, 2, 3][..], &[0, 1, 2, 3]] {
        let mut total = 0.0;
        let start = own[0];
        let mut w = 0.0;
        for &client in clients {
            own[client] = start;
            for _ in 0..STEPS {
                velocity[client] =
                    0.7 * velocity[client] + CURVATURE * (own[client] - CENTERS[client]);
                own[client] -= RATE * velocity[client];
            }
            total += client as f64 + 1.0;
            w += (client as f64 + 1.0) * own[client];
        }
        own = own.map(|_| w / total);
        if clients.len() == 4 {
            assert!(round_with_nan(&mut federation).unwrap().not_finite.is_empty());
        }
        close(weight(&federation), own[0]);
    }
}

#[test]
fn where_all_are_not_finite_it_is_an_error_still() {
    let mut federation = of(client(None)).leave_out_not_finite().build().unwrap();
    let error = federation.round(|_, training| descend(training, f64::INFINITY)).unwrap_err();
    assert!(matches!(error, FederationError::ClientNotFinite { client: 0, .. }), "{error}");
    assert_eq!(weight(&federation), 0.0);
}

#[test]
fn a_server_that_diverges_is_named_and_no_client_blamed() {
    let server = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(None), constant(3e38));
    let mut federation = of(client(None)).server(server).leave_out_not_finite().build().unwrap();
    federation.round(|_, training| descend(training, 4.0)).unwrap();
    let error = federation.round(|_, _| panic!("nobody may train")).unwrap_err();
    assert!(matches!(error, FederationError::ServerNotFinite { .. }), "{error}");
}

#[test]
fn what_local_updates_fail_with_is_given_back() {
    let mut federation = of(client(None)).build().unwrap();
    let error = federation.round(|client, training| match client {
        2 => Err("no batches".into()),
        _ => descend(training, 1.0),
    });
    assert_eq!(error.unwrap_err().to_string(), "client 2: no batches");
    assert_eq!((weight(&federation), federation.next_round()), (0.0, 0));
}

#[test]
fn clients_that_are_not_there_are_refused() {
    let mut federation = of(client(None)).build().unwrap();
    let mut of = |clients: &[usize]| {
        let error = federation.round_of(clients, |_, _| panic!("nobody may train")).unwrap_err();
        error.to_string()
    };
    assert_eq!(of(&[]), "clients: 0; allowed: at least 1");
    assert_eq!(of(&[0, 4]), "client 4: allowed: each of 0 to 3 at most once in a round");
    assert_eq!(of(&[2, 0, 2]), "client 2: allowed: each of 0 to 3 at most once in a round");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let none = FederationBuilder::<TermModel>::new([], ROUNDS);
    assert_eq!(error(none), "clients: 0; allowed: at least 1");
    let few = of(client(None)).client_weights([1.0; 3]);
    assert_eq!(error(few), "client_weights: 3 weights for 4 clients; give one for each");
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = error(of(client(None)).client_weights([1.0, 1.0, weight, 1.0]));
        assert!(error.contains("for client 2; allowed: finite, above 0"), "{error}");
    }
    let rate = error(of(client(None)).server_rate(ServerRate::fed_avg().momentum(1.0)));
    assert!(rate.starts_with("server_rate: momentum: "), "{rate}");
    assert!(FederationBuilder::new([client(None)], 0).build().is_err());

    let unbuilt = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(None), constant(RATE));
    let found = error(FederationBuilder::new([client(None), unbuilt.clone()], ROUNDS));
    assert!(found.starts_with("client 1: "), "{found}");
    let server = error(of(client(None)).server(unbuilt.clip_global_norm(-1.0)));
    assert!(server.starts_with("server: "), "{server}");

    let free = ScheduleFree::sgd().build().unwrap();
    let free = LearnerBuilder::new(TermModel::new(&[0.0]), free, constant(RATE))
        .run(RunLength::updates(100));
    let found = error(FederationBuilder::new([client(None), free], ROUNDS));
    assert!(found.starts_with("client 1: a schedule-free optimizer"), "{found}");
}

#[derive(Module, Debug)]
struct Numbers {
    first: Param<Tensor<1>>,
    other: Option<Param<Tensor<1>>>,
}

#[test]
fn models_that_are_not_built_alike_are_refused() {
    let param =
        |size| Param::from_tensor(Tensor::<1>::zeros([size], &Device::default().autodiff()));
    let client = |first, other: Option<usize>| {
        let model = Numbers { first: param(first), other: other.map(param) };
        LearnerBuilder::new(model, sgd(None), constant(RATE)).run(RunLength::updates(100))
    };
    let error = |other| {
        let builder = FederationBuilder::new([client(2, Some(1)), other], ROUNDS);
        builder.build().err().unwrap().to_string()
    };
    let shape = error(client(3, Some(1)));
    assert!(
        shape
            .starts_with("client 1: its model has `first` [3], where the server's has `first` [2]"),
        "{shape}"
    );
    let less = error(client(2, None));
    assert!(less.contains("has no more parameters, where the server's has `other` [1]"), "{less}");

    // A model that changes in a round.
    let builder = FederationBuilder::new([client(2, None), client(2, None)], ROUNDS);
    let mut federation = builder.build().unwrap();
    let error = federation.round(|client, training| {
        if client == 1 {
            training.map_model(|model| Numbers { other: Some(param(1)), ..model });
        }
        Ok(())
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("has `other` [1], where the server's has no more parameters"),
        "{error}"
    );

    // A parameter of another shape cannot be set in the next round either.
    let builder = FederationBuilder::new([client(2, None), client(2, None)], ROUNDS);
    let mut federation = builder.build().unwrap();
    let reshaped = federation.round(|_, training| {
        training.map_model(|model| Numbers { first: param(3), ..model });
        Err("no batches".into())
    });
    assert_eq!(reshaped.unwrap_err().to_string(), "client 0: no batches");
    let error = federation.round(|_, _| panic!("nobody may train")).unwrap_err();
    assert!(matches!(error, FederationError::OtherModel { client: 0, .. }), "{error}");
    federation.round_of(&[1], |_, _| Ok(())).unwrap();
}

#[test]
fn controllers_of_a_server_that_need_more_than_its_gradient_are_refused() {
    let server = || LearnerBuilder::new(TermModel::new(&[0.0]), sgd(None), constant(1.0));
    let cooldown = Cooldown::after_non_finite_loss(2).unwrap();
    let plateau = Plateau::min(MetricOf::valid("Loss"));
    for (server, controller, needs) in [
        (server().half_precision(HalfPrecision::f16()), "loss scale", "a loss"),
        (server().controller("own", cooldown), "own", "a loss"),
        (server().controller("own", TaskConflict::new()), "own", "the gradients of tasks"),
        (server().controller("own", plateau), "own", "a metric of epochs"),
    ] {
        let needs = format!("controller `{controller}` needs {needs}, but a round has");
        let error = error(of(client(None)).server(server));
        assert_eq!(error, format!("server: {needs} only the gradient −Δ"));
    }
}

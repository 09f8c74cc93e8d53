//! Rounds of local updates: closed forms on quadratics, averages, and refusals.

mod averaged;
mod refused;
mod resumed;

use anneal_tests::{Term, TermModel};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, SgdConfig};
use burn::train::TrainStep;
use burn_anneal::Round;
use burn_anneal::control::{LocalSteps, ServerRate};
use burn_anneal::prelude::*;
use std::error::Error;

const CURVATURE: f64 = 2.0;
const RATE: f64 = 0.1;
const STEPS: u64 = 5;
const ROUNDS: u64 = 8;
/// The minima c of the clients' losses ½ λ (w − c)².
const CENTERS: [f64; 4] = [1.0, 2.0, 4.0, -3.0];

type Done = Result<(), Box<dyn Error + Send + Sync>>;

fn sgd(momentum: Option<f64>) -> burn::optim::Sgd {
    let momentum =
        momentum.map(|momentum| MomentumConfig { momentum, dampening: 0.0, nesterov: false });
    SgdConfig::new().with_momentum(momentum).build()
}

fn client(momentum: Option<f64>) -> LearnerBuilder<TermModel> {
    let builder = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(momentum), constant(RATE));
    builder.run(RunLength::updates(ROUNDS * STEPS))
}

fn of(client: LearnerBuilder<TermModel>) -> FederationBuilder<TermModel> {
    FederationBuilder::new(vec![client; CENTERS.len()], ROUNDS)
}

/// Updates on ½ λ (w − c)².
fn descend(training: &mut TrainingLoop<TermModel>, center: f64) -> Done {
    for _ in 0..STEPS {
        let term = Term::new(&[vec![CURVATURE as f32]], &[(-CURVATURE * center) as f32]);
        training.pass(|model| TrainStep::step(model, term));
        training.update()?;
    }
    Ok(())
}

fn round(federation: &mut Federation<TermModel>) -> Round {
    federation.round(|client, training| descend(training, CENTERS[client])).unwrap()
}

fn weight(federation: &Federation<TermModel>) -> f64 {
    f64::from(federation.model().values()[0])
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 2e-5 * expected.abs().max(1.0), "{found}, not {expected}");
}

/// (1 − ηλ)^H: the remaining share of a distance after a round.
fn left(rate: f64) -> f64 {
    (1.0 - rate * CURVATURE).powi(STEPS as i32)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    self::mean(&values.iter().map(|value| (value - mean).powi(2)).collect::<Vec<_>>()).sqrt()
}

#[test]
fn federated_averaging_is_the_mean_and_clients_drift_by_the_formula() {
    let mut federation = of(client(None)).build().unwrap();
    let (center, mut w) = (mean(&CENTERS), 0.0);
    for number in 0..ROUNDS {
        assert_eq!(federation.next_round(), number);
        let found = round(&mut federation);
        assert_eq!((found.number, found.server_rate), (number, 1.0));
        assert_eq!((found.clients, found.not_finite), (vec![0, 1, 2, 3], vec![]));
        for (client, training) in federation.clients().iter().enumerate() {
            let own = CENTERS[client] + left(RATE) * (w - CENTERS[client]);
            close(f64::from(training.model().values()[0]), own);
            close(found.distances[client], (1.0 - left(RATE)) * (CENTERS[client] - center).abs());
        }
        close(found.drift, (1.0 - left(RATE)) * deviation(&CENTERS));
        close(found.movement, (1.0 - left(RATE)) * (center - w).abs());
        w = center + left(RATE) * (w - center);
        close(weight(&federation), w);
    }
    close(f64::from(federation.valid().values()[0]), w);
    close(f64::from(federation.into_model().values()[0]), w);
}

#[test]
fn a_server_with_momentum_is_a_heavy_ball_under_its_schedule() {
    let rate = ServerRate::new(linear(1.0, 0.2)).momentum(0.6);
    let steps = rate.resolve(ROUNDS).unwrap();
    let mut federation = of(client(None)).server_rate(rate).build().unwrap();
    let (mut before, mut now) = (0.0, 0.0);
    let mut last_rate = 1.0;
    for number in 0..ROUNDS {
        let rate = steps.rate(number);
        assert_eq!(round(&mut federation).server_rate, rate);
        // v = (w − w before) / η before.
        let velocity = 0.6 * (now - before) / last_rate;
        let change = (1.0 - left(RATE)) * (mean(&CENTERS) - now);
        (before, now) = (now, now + rate * (velocity + change));
        last_rate = rate;
        close(weight(&federation), now);
    }
}

#[test]
fn clients_count_by_their_weights() {
    let weights = [1.0, 5.0, 0.5, 3.5];
    let mut federation = of(client(None)).client_weights(weights).build().unwrap();
    let center = weights.iter().zip(CENTERS).map(|(p, c)| p / 10.0 * c).sum::<f64>();
    let square = weights.iter().zip(CENTERS).map(|(p, c)| p / 10.0 * (c - center).powi(2));
    let found = round(&mut federation);
    close(found.drift, (1.0 - left(RATE)) * square.sum::<f64>().sqrt());
    close(found.relative_drift() * center.abs() * (1.0 - left(RATE)), found.drift);
    close(weight(&federation), (1.0 - left(RATE)) * center);
}

#[test]
fn some_clients_take_part_and_the_others_wait() {
    let weights = [1.0, 3.0, 1.0, 1.0];
    let rates = linear(RATE, 0.0);
    let builder = LearnerBuilder::new(TermModel::new(&[0.0]), sgd(None), rates);
    let builder = builder.run(RunLength::updates(ROUNDS * STEPS));
    let mut federation = of(builder).client_weights(weights).build().unwrap();
    let mut seen = vec![];
    let found = federation.round_of(&[3, 1], |client, training| {
        seen.push(client);
        descend(training, CENTERS[client])
    });
    assert_eq!((found.unwrap().clients, seen), (vec![3, 1], vec![3, 1]));
    let shrinks = |step: u64| 1.0 - CURVATURE * RATE * (1.0 - step as f64 / 40.0);
    let once: f64 = (0..STEPS).map(shrinks).product();
    let w = (1.0 - once) * (0.75 * CENTERS[1] + 0.25 * CENTERS[3]);
    close(weight(&federation), w);

    // One continues its schedule, the other starts it.
    let updates: Vec<u64> = federation.clients().iter().map(TrainingLoop::next_update).collect();
    assert_eq!(updates, [0, STEPS, 0, STEPS]);
    federation.round_of(&[0, 1], |client, training| descend(training, CENTERS[client])).unwrap();
    let twice: f64 = (STEPS..2 * STEPS).map(shrinks).product();
    let each = |shrinks: f64, client: usize| CENTERS[client] + shrinks * (w - CENTERS[client]);
    close(weight(&federation), 0.25 * each(once, 0) + 0.75 * each(twice, 1));
}

#[test]
fn a_budget_for_drift_holds_in_the_clients() {
    let builder = client(None).controller("local", LocalSteps::new(STEPS).budget(0.2));
    let mut federation = of(builder).build().unwrap();
    let found = round(&mut federation);
    close(found.drift, (1.0 - left(0.2 / STEPS as f64)) * deviation(&CENTERS));
}

/// The weights after two rounds of clients with momentum, which is kept or reset.
fn with_momentum(keeps: bool) -> f64 {
    let mut velocities = [0.0; CENTERS.len()];
    let mut w = 0.0;
    for _ in 0..2 {
        let mut all = vec![];
        for (velocity, center) in velocities.iter_mut().zip(CENTERS) {
            let mut own = w;
            *velocity = if keeps { *velocity } else { 0.0 };
            for _ in 0..STEPS {
                *velocity = 0.7 * *velocity + CURVATURE * (own - center);
                own -= RATE * *velocity;
            }
            all.push(own);
        }
        w = mean(&all);
    }
    w
}

#[test]
fn clients_keep_their_momentum_unless_they_are_stateless() {
    assert!((with_momentum(true) - with_momentum(false)).abs() > 0.03);
    for (keeps, builder) in
        [(true, of(client(Some(0.7)))), (false, of(client(Some(0.7))).stateless_clients())]
    {
        let mut federation = builder.build().unwrap();
        round(&mut federation);
        round(&mut federation);
        close(weight(&federation), with_momentum(keeps));
    }
}

#[test]
fn a_server_of_its_own_clips_and_averages() {
    let model = TermModel::new(&[0.0]);
    let server = LearnerBuilder::new(model, sgd(None), constant(1.0))
        .clip_global_norm(0.125)
        .average(Average::ema(0.5));
    let mut federation = of(client(None)).server(server).build().unwrap();
    for number in 1..=3 {
        assert!(round(&mut federation).movement > 0.2);
        close(weight(&federation), 0.125 * f64::from(number));
    }
    // The server's weights are 1, 2 and 3 eighths, and the first average is the first of them.
    let average = 0.125 * ((1.0 + 2.0) / 2.0 + 3.0) / 2.0;
    close(f64::from(federation.valid().values()[0]), average);
    assert_eq!(federation.server().next_update(), 3);
}

/// Reddi et al. 2021, with Kingma and Ba's correction of the bias.
#[test]
fn a_server_with_adam_is_fed_adam() {
    let (beta_1, beta_2, epsilon, rate) = (0.9, 0.99, 0.1, 0.2);
    let adam = AdamConfig::new().with_beta_1(beta_1 as f32).with_beta_2(beta_2 as f32);
    let adam = adam.with_epsilon(epsilon as f32).build();
    let server = LearnerBuilder::new(TermModel::new(&[0.0]), adam, constant(rate));
    let mut federation = of(client(None)).server(server).build().unwrap();
    let (mut w, mut m, mut v) = (0.0, 0.0, 0.0);
    for number in 1..=ROUNDS as i32 {
        assert_eq!(round(&mut federation).server_rate, rate);
        let gradient = (1.0 - left(RATE)) * (w - mean(&CENTERS));
        m = beta_1 * m + (1.0 - beta_1) * gradient;
        v = beta_2 * v + (1.0 - beta_2) * gradient * gradient;
        let unbiased = (m / (1.0 - beta_1.powi(number)), v / (1.0 - beta_2.powi(number)));
        w -= rate * unbiased.0 / (unbiased.1.sqrt() + epsilon);
        close(weight(&federation), w);
    }
}

#[test]
fn clients_keep_their_averages_over_rounds() {
    let mut federation = of(client(None).average(Average::ema(0.5))).build().unwrap();
    let (mut w, mut averages) = (0.0, [None; CENTERS.len()]);
    for _ in 0..3 {
        round(&mut federation);
        let mut all = [w; CENTERS.len()];
        for ((own, average), center) in all.iter_mut().zip(&mut averages).zip(CENTERS) {
            for _ in 0..STEPS {
                *own -= RATE * CURVATURE * (*own - center);
                average.replace(average.map_or(*own, |average: f64| (average + *own) / 2.0));
            }
        }
        w = mean(&all);
        close(weight(&federation), w);
        for (training, average) in federation.clients().iter().zip(averages) {
            close(f64::from(training.valid().values()[0]), average.unwrap());
        }
    }
}

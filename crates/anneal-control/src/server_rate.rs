//! The server's rate for the mean of its clients' updates.

use crate::OutOfRange;
use anneal_schedule::prelude::{ScheduleExt, constant};
use anneal_schedule::{RunLength, Schedule, ScheduleConfig, ScheduleError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Schedules the server's rate over the rounds of federated training: the description.
///
/// In round r the clients start at the server's weights w and reach w₁ … w_n by local steps with [rates of
/// their own](crate::LocalSteps). Then the server computes
///
/// ```text
/// Δ = mean of w_i − w        v ← μ v + Δ        w ← w + η(r) v
/// ```
///
/// with a rate η from a schedule whose steps are rounds, and momentum μ. It does not observe the training:
/// once [resolved](Self::resolve), it gives the rate of any round.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `schedule` η | required; 1 in [`fed_avg`](Self::fed_avg) | a schedule; its spans are in rounds |
/// | `momentum` μ | 0 | at least 0, below 1 |
///
/// Source: McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data" (a rate
/// of 1: the mean of the weights); Hsu, Qi and Brown 2019, "Measuring the effects of non-identical data distribution
/// for federated visual classification" (momentum); Reddi et al. 2021, "Adaptive federated optimization" (rates of
/// both sides).
///
/// ```
/// use anneal_control::{LocalSteps, RunLength, ServerRate};
/// use anneal_schedule::prelude::*;
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let rounds = LocalSteps::new(20).rounds(&run)?.unwrap();
/// let server = ServerRate::new(linear(1.0, 0.0)).momentum(0.9).resolve(rounds)?;
/// assert_eq!([0, 25, 50].map(|round| server.rate(round)), [1.0, 0.5, 0.0]);
/// assert_eq!(server.momentum(), 0.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerRate {
    schedule: ScheduleConfig,
    #[serde(default)]
    momentum: f64,
}

/// Why a [`ServerRate`] is invalid.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ServerRateError {
    /// Its schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Its momentum.
    #[error(transparent)]
    Momentum(#[from] OutOfRange),
}

impl ServerRate {
    /// A schedule over rounds, without momentum.
    #[must_use]
    pub fn new(schedule: impl Into<ScheduleConfig>) -> Self {
        Self { schedule: schedule.into(), momentum: 0.0 }
    }

    /// Uses a rate of 1: the server's weights become the mean of the clients'.
    #[must_use]
    pub fn fed_avg() -> Self {
        Self::new(constant(1.0))
    }

    /// Sets the server's momentum.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// The schedule over rounds.
    pub fn schedule(&self) -> &ScheduleConfig {
        &self.schedule
    }

    /// Checks it for this number of rounds: see [`LocalSteps::rounds`](crate::LocalSteps::rounds).
    ///
    /// # Errors
    /// [`ServerRateError`] with the field, the value, and what is allowed.
    pub fn resolve(&self, rounds: u64) -> Result<ServerSteps, ServerRateError> {
        let ok = (0.0..1.0).contains(&self.momentum);
        OutOfRange::require("momentum", self.momentum, ok, "at least 0, below 1")?;
        let schedule = self.schedule.clone().resolve(RunLength::updates(rounds))?;
        Ok(ServerSteps { schedule, momentum: self.momentum })
    }
}

/// The steps of a server: see [`ServerRate`].
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSteps {
    schedule: Schedule,
    momentum: f64,
}

impl ServerSteps {
    /// The rate of a round, counted from 0; after the last one, the final rate of the schedule.
    pub fn rate(&self, round: u64) -> f64 {
        self.schedule.rate(round)
    }

    /// The momentum.
    pub fn momentum(&self) -> f64 {
        self.momentum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_schedule::prelude::{Span, cosine};

    /// Two clients with losses ½ (w − c)² at c = 1 and c = 3, and five steps of gradient descent per round.
    fn rounds(server: &ServerSteps, rounds: u64) -> Vec<f64> {
        let client = |c: f64, w: f64| (0..5).fold(w, |w, _| w - 0.1 * (w - c));
        let (mut w, mut v) = (0.0, 0.0);
        let round = |round| {
            v = server.momentum() * v + (client(1.0, w) + client(3.0, w)) / 2.0 - w;
            w += server.rate(round) * v;
            w
        };
        (0..rounds).map(round).collect()
    }

    #[test]
    fn fed_avg_is_the_mean_of_the_clients() {
        let server = ServerRate::fed_avg().resolve(50).unwrap();
        let shrinks = 0.9f64.powi(5);
        for (round, w) in (1..).zip(rounds(&server, 50)) {
            assert!((w - 2.0 * (1.0 - shrinks.powi(round))).abs() < 1e-14, "{round}");
        }
    }

    #[test]
    fn rate_and_momentum_are_those_of_the_server() {
        let server = ServerRate::new(constant(0.5)).momentum(0.8).resolve(50).unwrap();
        // e ← w − 2 follows the heavy ball e″ = (1 + μ − η s) e′ − μ e with s = 1 − 0.9⁵.
        let (mut before, mut now) = (-2.0, -2.0);
        let step = 0.5 * (1.0 - 0.9f64.powi(5));
        for w in rounds(&server, 50) {
            (before, now) = (now, (1.8 - step) * now - 0.8 * before);
            assert!((w - 2.0 - now).abs() < 1e-13);
        }
    }

    #[test]
    fn its_spans_are_of_rounds() {
        let config = || cosine(1.0).warmup(Span::percent(10));
        let server = ServerRate::new(config()).resolve(200).unwrap();
        let schedule = config().resolve(RunLength::updates(200)).unwrap();
        assert!((0..300).all(|round| server.rate(round) == schedule.rate(round)));
        assert_eq!(server.rate(20), 1.0);
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let error = |rule: ServerRate, rounds| rule.resolve(rounds).unwrap_err().to_string();
        for momentum in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let error = error(ServerRate::fed_avg().momentum(momentum), 10);
            assert!(error.starts_with("momentum:"), "{error}");
        }
        let negative = error(ServerRate::new(constant(-1.0)), 10);
        assert!(negative.starts_with("constant.rate: -1.0"), "{negative}");
        assert!(ServerRate::fed_avg().resolve(0).is_err());
        assert!(ServerRate::new(cosine(1.0).warmup(Span::epochs(1))).resolve(10).is_err());

        let rule = ServerRate::new(cosine(0.5)).momentum(0.9);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<ServerRate>(&json).unwrap(), rule);
    }
}

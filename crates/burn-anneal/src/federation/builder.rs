//! Builds a federation from the builders of its clients.

use super::{Federation, FederationError, check_model, newest};
use crate::builder::LearnerBuilder;
use crate::groups::found;
use crate::update::Monitored;
use anneal_control::{Controllers, Needs, ServerRate};
use anneal_schedule::RunLength;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use std::fmt;
use std::path::{Path, PathBuf};

/// Builds a [`Federation`].
///
/// | part | default | range |
/// | --- | --- | --- |
/// | `clients` | required | at least 1, with the same parameters; each starts its own run |
/// | `rounds` | required | at least 1 |
/// | [`server_rate`](Self::server_rate) | the mean of the clients' weights | see [`ServerRate`] |
/// | [`server`](Self::server) | | the server's own optimizer, instead of a rate |
/// | [`client_weights`](Self::client_weights) | 1 each | finite, above 0 |
#[must_use]
pub struct FederationBuilder<M> {
    clients: Vec<LearnerBuilder<M>>,
    rounds: u64,
    server: Server<M>,
    weights: Option<Vec<f64>>,
    is_stateless: bool,
    leaves_out: bool,
    resume: Option<PathBuf>,
}

impl<M> fmt::Debug for FederationBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FederationBuilder")
            .field("clients", &self.clients.len())
            .field("rounds", &self.rounds)
            .field("weights", &self.weights)
            .finish_non_exhaustive()
    }
}

/// How the server uses the mean of the clients.
enum Server<M> {
    Rate(ServerRate),
    Own(Box<LearnerBuilder<M>>),
}

impl<M: Module> FederationBuilder<M> {
    /// Makes a builder from the builders of the clients (often clones of one) and the number of rounds. The length of a
    /// client's run is its own updates: rounds × local steps. The server starts from the model of the first client.
    pub fn new(clients: impl IntoIterator<Item = LearnerBuilder<M>>, rounds: u64) -> Self {
        Self {
            clients: clients.into_iter().collect(),
            rounds,
            server: Server::Rate(ServerRate::fed_avg()),
            weights: None,
            is_stateless: false,
            leaves_out: false,
            resume: None,
        }
    }

    /// Sets the server's rate over the rounds and its momentum.
    pub fn server_rate(self, rate: ServerRate) -> Self {
        Self { server: Server::Rate(rate), ..self }
    }

    /// Uses a server with its own optimizer, schedule over rounds, averages, clipping and so on, and its own start
    /// model in f32. The length of its run is the number of rounds. Its gradient is −Δ = w − Σ p_i w_i: with Adam this
    /// is FedAdam. Its controllers may use that gradient, but there are no loss, tasks, batches or metrics.
    pub fn server(self, server: LearnerBuilder<M>) -> Self {
        Self { server: Server::Own(Box::new(server)), ..self }
    }

    /// Sets the weight of each client, for example its number of items; only the proportions matter.
    pub fn client_weights(self, weights: impl IntoIterator<Item = f64>) -> Self {
        Self { weights: Some(weights.into_iter().collect()), ..self }
    }

    /// Resets the clients' optimizer states (for example momentum) before each round, as in a federation so large that
    /// no client takes part twice. This also restarts their averages; schedules and controllers continue.
    pub fn stateless_clients(self) -> Self {
        Self { is_stateless: true, ..self }
    }

    /// Skips clients whose weights are NaN or infinite after a round, and resets their optimizer states, instead of
    /// returning an error. [`Round::not_finite`](super::Round::not_finite) lists them. If all clients are not finite,
    /// it is still an error.
    pub fn leave_out_not_finite(self) -> Self {
        Self { leaves_out: true, ..self }
    }

    /// Resumes from the newest complete round that [`Federation::save`] saved in a directory; without one, starts anew.
    pub fn resume(self, directory: impl AsRef<Path>) -> Self {
        Self { resume: Some(directory.as_ref().to_path_buf()), ..self }
    }

    /// Checks all parts and builds the federation.
    ///
    /// # Errors
    /// [`FederationError`] names the part, the field or client, and the allowed range.
    pub fn build(self) -> Result<Federation<M>, FederationError> {
        let count = self.clients.len();
        let first = self.clients.first().ok_or(FederationError::NoClients)?;
        let weights = self.weights.unwrap_or_else(|| vec![1.0; count]);
        if weights.len() != count {
            return Err(FederationError::WeightCount { weights: weights.len(), clients: count });
        }
        let is_wrong = |weight: &f64| !(weight.is_finite() && *weight > 0.0);
        if let Some(client) = weights.iter().position(is_wrong) {
            return Err(FederationError::Weight { client, weight: weights[client] });
        }
        let server = match self.server {
            Server::Own(server) => *server,
            Server::Rate(rate) => {
                let momentum = rate.resolve(self.rounds)?.momentum();
                let momentum = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
                let momentum = Some(momentum).filter(|it| it.momentum > 0.0);
                let sgd = SgdConfig::new().with_momentum(momentum).build();
                LearnerBuilder::new(first.model.clone(), sgd, rate.schedule().clone())
            }
        };
        let mut server = server.run(RunLength::updates(self.rounds));
        let mut builders = self.clients;
        let saved = self.resume.map(|directory| newest(&directory, count)).transpose()?.flatten();
        if let Some(saved) = saved {
            server = server.resume_from(&saved[count]);
            let each = builders.into_iter().zip(&saved);
            builders = each.map(|(client, saved)| client.resume_from(saved)).collect();
        }

        let server = server.build_loop();
        let server = server.map_err(|error| FederationError::BuildServer(error.into()))?;
        check_controllers(&server.monitor().slot().lock().controllers)?;
        let parameters = found(&server.monitor().release(server.model().clone()));
        let mut clients = vec![];
        for (client, builder) in builders.into_iter().enumerate() {
            let training = builder
                .build_loop()
                .map_err(|error| FederationError::BuildClient { client, error: error.into() })?;
            if training.monitor().plan.averaging.by_optimizer {
                return Err(FederationError::ScheduleFree { client });
            }
            check_model(client, &parameters, &found(training.model()))?;
            clients.push(training);
        }
        let (is_stateless, leaves_out) = (self.is_stateless, self.leaves_out);
        Ok(Federation { server, clients, weights, parameters, is_stateless, leaves_out })
    }
}

/// Checks that the server's controllers need only what a round has.
fn check_controllers(controllers: &Controllers) -> Result<(), FederationError> {
    let with = |has: fn(Needs) -> bool| {
        let mut names = controllers.names();
        names.find(|name| controllers.needs_of(name).is_some_and(has)).map(String::from)
    };
    let metric = controllers.metrics().into_iter().next();
    let unmet = [
        (with(|needs| needs.loss), "a loss"),
        (with(|needs| needs.task_cosine), "the gradients of tasks"),
        (with(|needs| needs.batch_again.is_some()), "a batch"),
        (metric.map(|(_, controller)| controller), "a metric of epochs"),
    ];
    match unmet.into_iter().find_map(|(controller, needs)| Some((controller?, needs))) {
        Some((controller, needs)) => Err(FederationError::ServerController { controller, needs }),
        None => Ok(()),
    }
}

//! Federated averaging: local updates of several clients, combined by a server.

mod builder;
mod error;
mod round;
mod split;

pub use builder::FederationBuilder;
pub use error::FederationError;
pub use round::Round;
pub use split::{ClientSplit, SplitError};

use crate::checkpoint::Checkpoint;
use crate::groups::{Found, Parameter, found};
use crate::training_loop::TrainingLoop;
use crate::update::{Monitored, in_f32};
use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use round::{Change, Outcome, not_finite};
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// The result of a client's local updates.
type Trained = Result<(), Box<dyn Error + Send + Sync>>;

/// Federated averaging and local SGD: clients train a model by local updates, and a server combines their weights after
/// each round. Built by a [`FederationBuilder`]; everything runs on one machine.
///
/// In a round, each participating client starts from the server's weights w and makes its own updates. The server then
/// computes, with p_i the weight of client i as a share of the participants' sum,
///
/// ```text
/// Δ = Σ p_i w_i − w        v ← μ v + Δ        w ← w + η(r) v
/// ```
///
/// or applies [its own optimizer](FederationBuilder::server) to the gradient −Δ.
///
/// - Running statistics s, for example of batch norms, become Σ p_i s_i, whatever the rate and momentum. A mean of
///   variances ignores the distance between the clients' means; [`recompute_statistics`](crate::recompute_statistics())
///   recomputes them from data.
/// - A parameter that no client changes in a round, for example a frozen one, has a Δ of exactly 0. The server keeps it
///   bit for bit, unless momentum from earlier changes or the server's own optimizer (for example by weight decay)
///   moves it: freeze it there too. Integers, booleans and quantized weights stay as they are in each client.
/// - Each client keeps the state of its optimizer, controllers and averages from round to round, and its schedule
///   counts its own updates: the schedule of a client that skips a round waits.
/// - In half precision, the server is in f32; it averages and sets the clients' master weights.
///
/// A round needs memory for the clients' changes, and two reads from the device.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::SgdConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn::train::TrainOutput;
/// use burn_anneal::control::{LocalSteps, ServerRate};
/// use burn_anneal::prelude::*;
///
/// let device = Device::default().autodiff();
/// let (rounds, steps) = (10, 5);
/// let client = LearnerBuilder::new(LinearConfig::new(2, 1).init(&device), SgdConfig::new().build(), constant(0.1))
///     .run(RunLength::updates(rounds * steps))
///     .controller("local steps", LocalSteps::new(steps).budget(0.4));
/// let mut federation = FederationBuilder::new(vec![client; 3], rounds)
///     .server_rate(ServerRate::fed_avg().momentum(0.5))
///     .build()?;
/// for _ in 0..rounds {
///     let round = federation.round(|client, training| {
///         for _ in 0..steps {
///             training.pass(|model| {
///                 let loss = (model.forward(Tensor::<2>::ones([4, 2], &device)) - client as f32).square().mean();
///                 TrainOutput::new(model, loss.backward(), loss)
///             });
///             training.update()?;
///         }
///         Ok(())
///     })?;
///     println!("round {}: drift {:.3}", round.number, round.drift);
/// }
/// let model = federation.into_model();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data"; Stich 2019, "Local SGD
/// converges fast and communicates little"; Hsu, Qi and Brown 2019 for the server's momentum; Reddi et al. 2021, "Adaptive federated
/// optimization", for its optimizer.
pub struct Federation<M> {
    server: TrainingLoop<M>,
    clients: Vec<TrainingLoop<M>>,
    /// The weight of each client.
    weights: Vec<f64>,
    /// The parameters of the server's model, which trains without groups.
    parameters: Vec<Found>,
    is_stateless: bool,
    leaves_out: bool,
}

impl<M> fmt::Debug for Federation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation")
            .field("clients", &self.clients.len())
            .field("weights", &self.weights)
            .finish_non_exhaustive()
    }
}

impl<M: Module> Federation<M> {
    /// Makes a round of all clients: `train` makes the local updates of each, in order.
    ///
    /// # Errors
    /// [`FederationError`], with the server's weights and statistics unchanged: if they are not finite, before any
    /// client trains; if `train` fails, or a client's weights are not finite, or its model differs; and if the server's
    /// update fails, after which no further round is possible.
    ///
    /// Clients are not rolled back: those that have trained keep their optimizer states and their place in their
    /// schedules. Repeating the round trains them again.
    pub fn round(
        &mut self,
        train: impl FnMut(usize, &mut TrainingLoop<M>) -> Trained,
    ) -> Result<Round, FederationError> {
        let all: Vec<usize> = (0..self.clients.len()).collect();
        self.round_of(&all, train)
    }

    /// Like [`round`](Self::round), with some of the clients, for example a random sample per round.
    ///
    /// # Errors
    /// The same as [`round`](Self::round), and if no client takes part, one is named twice, or one does not exist.
    pub fn round_of(
        &mut self,
        clients: &[usize],
        mut train: impl FnMut(usize, &mut TrainingLoop<M>) -> Trained,
    ) -> Result<Round, FederationError> {
        self.check_clients(clients)?;
        if let Some(failure) = self.server.failure() {
            return Err(failure.into());
        }
        let number = self.next_round();
        let (ids, before): (Vec<_>, Vec<_>) = self.server.weights().into_iter().unzip();
        let before: Vec<Tensor<1>> = before.into_iter().map(in_f32).collect();
        if let Some(index) = not_finite(&before) {
            let parameter = self.of(ids[index]).path.clone();
            return Err(FederationError::ServerNotFinite { parameter });
        }
        let is_trained: Vec<bool> = ids.iter().map(|id| self.of(*id).trainable).collect();
        let changes = self.local_updates(clients, &before, &mut train)?;
        let mut outcome = Outcome::of(changes, &is_trained);
        let mut not_finite = vec![];
        let lost = outcome.lost_clients();
        if let Some(&(client, index)) = lost.first() {
            if !self.leaves_out || lost.len() == clients.len() {
                let parameter = self.of(ids[index]).path.clone();
                return Err(FederationError::ClientNotFinite { client, parameter });
            }
            not_finite = lost.into_iter().map(|(client, _)| client).collect();
            not_finite.iter().for_each(|client| self.clients[*client].forget_optimizer());
            outcome = outcome.without(&not_finite, &is_trained);
        }
        let server_rate = self.synchronize(&before, outcome.mean.clone(), &is_trained)?;
        Ok(outcome.into_round(number, server_rate, not_finite))
    }

    /// The changes by the local updates of clients that start from these weights.
    fn local_updates(
        &mut self,
        clients: &[usize],
        before: &[Tensor<1>],
        train: &mut impl FnMut(usize, &mut TrainingLoop<M>) -> Trained,
    ) -> Result<Vec<Change>, FederationError> {
        let mut changes = vec![];
        for &client in clients {
            let training = &mut self.clients[client];
            if self.is_stateless {
                training.forget_optimizer();
            }
            training.set_weights(before);
            train(client, training).map_err(|error| FederationError::Client { client, error })?;
            self.check_model(client)?;
            let after = self.clients[client].weights();
            changes.push(Change::new(client, self.weights[client], before, after));
        }
        Ok(changes)
    }

    /// Makes the server's update and returns its rate. Without an update, the server keeps its weights and statistics.
    fn synchronize(
        &mut self,
        before: &[Tensor<1>],
        change: Vec<Tensor<1>>,
        is_trained: &[bool],
    ) -> Result<f64, FederationError> {
        if is_trained.contains(&false) {
            let each = before.iter().zip(&change).zip(is_trained);
            let with_statistics = each.map(|((before, change), is_trained)| match is_trained {
                true => before.clone(),
                false => before.clone() + change.clone(),
            });
            self.server.set_weights(&with_statistics.collect::<Vec<_>>());
        }
        let gradients = change.into_iter().map(Tensor::neg).collect();
        self.server.set_gradients(gradients, is_trained);
        let updated = self.server.update();
        if !matches!(&updated, Ok(updated) if updated.skipped.is_none()) {
            self.server.set_weights(before);
        }
        Ok(updated?.rate)
    }

    fn check_clients(&self, clients: &[usize]) -> Result<(), FederationError> {
        if clients.is_empty() {
            return Err(FederationError::NoClients);
        }
        let last = self.clients.len() - 1;
        let mut all = clients.to_vec();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(client) = twice.or_else(|| all.into_iter().find(|client| *client > last)) {
            return Err(FederationError::NoSuchClient { client, last });
        }
        clients.iter().try_for_each(|client| self.check_model(*client))
    }

    fn check_model(&self, client: usize) -> Result<(), FederationError> {
        check_model(client, &self.parameters, &found(self.clients[client].model()))
    }

    fn of(&self, id: ParamId) -> &Parameter {
        let of = self.parameters.iter().find(|found| found.id == id);
        &of.expect("the server's parameters keep their ids").parameter
    }

    /// The number of the next round.
    pub fn next_round(&self) -> u64 {
        self.server.next_update()
    }

    /// The server's model.
    pub fn model(&self) -> &M {
        self.server.model()
    }

    /// The server's model for validation; see [`TrainingLoop::valid`].
    pub fn valid(&self) -> M {
        self.server.valid()
    }

    /// Returns the server's model.
    pub fn into_model(self) -> M {
        self.server.into_model()
    }

    /// The server, whose updates are the rounds.
    pub fn server(&self) -> &TrainingLoop<M> {
        &self.server
    }

    /// The clients, with their models after the last local updates.
    pub fn clients(&self) -> &[TrainingLoop<M>] {
        &self.clients
    }

    /// Saves everything after a round, in folders `server`, `client-0`, … of a directory, and deletes all but the last
    /// two rounds. [`FederationBuilder::resume`] continues from there bit for bit.
    ///
    /// # Errors
    /// [`FederationError::Checkpoint`] if a file cannot be written.
    pub fn save(&self, directory: impl AsRef<Path>) -> Result<(), FederationError> {
        let folders = folders(directory.as_ref(), self.clients.len());
        let round = self.next_round() as usize;
        for (training, folder) in self.clients.iter().chain([&self.server]).zip(folders) {
            training.save(folder, round)?;
        }
        Ok(())
    }
}

/// The folders of the clients' checkpoints, and last that of the server.
fn folders(directory: &Path, clients: usize) -> Vec<PathBuf> {
    let client = |client| directory.join(format!("client-{client}"));
    (0..clients).map(client).chain([directory.join("server")]).collect()
}

/// The newest checkpoints common to clients and server, if anything was saved.
fn newest(directory: &Path, clients: usize) -> Result<Option<Vec<Checkpoint>>, FederationError> {
    Ok(Checkpoint::newest_of_each(&folders(directory, clients))?)
}

/// Checks that a client's model has the parameters of the server's.
fn check_model(client: usize, expected: &[Found], found: &[Found]) -> Result<(), FederationError> {
    let of = |found: Option<&Found>| match found.map(|found| &found.parameter) {
        Some(Parameter { path, shape, .. }) => format!("`{path}` {shape:?}"),
        None => "no more parameters".into(),
    };
    for index in 0..expected.len().max(found.len()) {
        let (found, expected) = (of(found.get(index)), of(expected.get(index)));
        if found != expected {
            return Err(FederationError::OtherModel { client, found, expected });
        }
    }
    Ok(())
}

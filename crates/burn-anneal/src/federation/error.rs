//! The errors of rounds of local training.

use crate::build_error::BuildError;
use crate::checkpoint::CheckpointError;
use crate::update::UpdateError;
use anneal_control::ServerRateError;
use std::error::Error;
use std::sync::Arc;
use thiserror::Error;

/// Why a [`Federation`](crate::Federation) cannot be built, or a round fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FederationError {
    /// There are no clients, or none takes part in a round.
    #[error("clients: 0; allowed: at least 1")]
    NoClients,
    /// A client does not exist, or is named twice.
    #[error("client {client}: allowed: each of 0 to {last} at most once in a round")]
    NoSuchClient {
        /// The client.
        client: usize,
        /// The last client.
        last: usize,
    },
    /// There are more or fewer weights than clients.
    #[error("client_weights: {weights} weights for {clients} clients; give one for each")]
    WeightCount {
        /// The weights.
        weights: usize,
        /// The clients.
        clients: usize,
    },
    /// The weight of a client is out of its range.
    #[error("client_weights: {weight} for client {client}; allowed: finite, above 0")]
    Weight {
        /// The client.
        client: usize,
        /// Its weight.
        weight: f64,
    },
    /// The rate or the momentum of the server is wrong.
    #[error("server_rate: {0}")]
    ServerRate(ServerRateError),
    /// A client cannot be built.
    #[error("client {client}: {error}")]
    BuildClient {
        /// The client.
        client: usize,
        /// Why.
        error: Box<BuildError>,
    },
    /// The server cannot be built.
    #[error("server: {0}")]
    BuildServer(Box<BuildError>),
    /// The model of a client differs from the server's.
    #[error(
        "client {client}: its model has {found}, where the server's has {expected}; all models must have the same \
         parameters"
    )]
    OtherModel {
        /// The client.
        client: usize,
        /// The first parameter that differs, and its shape.
        found: String,
        /// What the server has in its place.
        expected: String,
    },
    /// A controller of the server needs what a round does not have.
    #[error(
        "server: controller `{controller}` needs {needs}, but a round has only the gradient −Δ"
    )]
    ServerController {
        /// Its name.
        controller: String,
        /// What it needs.
        needs: &'static str,
    },
    /// A client's optimizer keeps weights of its own, which a round does not set.
    #[error(
        "client {client}: a schedule-free optimizer has separate weights for training and evaluation, but a round sets \
         only one of them; give the client another optimizer"
    )]
    ScheduleFree {
        /// The client.
        client: usize,
    },
    /// The local updates of a client failed; the server keeps its weights from before the round.
    #[error("client {client}: {error}")]
    Client {
        /// The client.
        client: usize,
        /// The error of its local updates.
        error: Box<dyn Error + Send + Sync>,
    },
    /// A client's weights are NaN or infinite after its local updates; the server keeps its weights from before the
    /// round.
    #[error(
        "client {client}: `{parameter}` is NaN or infinite after its local updates; lower its rate, or skip such \
         clients with leave_out_not_finite()"
    )]
    ClientNotFinite {
        /// The client.
        client: usize,
        /// The parameter.
        parameter: String,
    },
    /// The server's weights are NaN or infinite before any client trains.
    #[error("server: `{parameter}` is NaN or infinite; lower the server's rate")]
    ServerNotFinite {
        /// The parameter.
        parameter: String,
    },
    /// The server's update failed; it keeps its weights from before the round, and no further round is possible.
    #[error("server: {0}")]
    Server(Arc<UpdateError>),
    /// A checkpoint cannot be written or found.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<ServerRateError> for FederationError {
    fn from(error: ServerRateError) -> Self {
        Self::ServerRate(error)
    }
}

impl From<Arc<UpdateError>> for FederationError {
    fn from(error: Arc<UpdateError>) -> Self {
        Self::Server(error)
    }
}

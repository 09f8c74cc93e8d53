//! Why rounds of local training cannot begin, or go on.

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
    /// There is no client, or none takes part in a round.
    #[error("clients: 0; allowed: at least 1")]
    NoClients,
    /// A client was asked for that is not there, or twice.
    #[error("client {client}: allowed: each of 0 to {last} at most once in a round")]
    NoSuchClient {
        /// The client.
        client: usize,
        /// The last that there is.
        last: usize,
    },
    /// There is not one weight for each client.
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
    /// The model of a client is not built as that of the server is.
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
        "server: controller `{controller}` needs {needs}, and a round has only the gradient −Δ"
    )]
    ServerController {
        /// Its name.
        controller: String,
        /// What it needs.
        needs: &'static str,
    },
    /// A client's optimizer keeps weights that a round would not set.
    #[error(
        "client {client}: a schedule-free optimizer trains at other weights than it is evaluated at, and a round sets \
         one of them alone; give it another optimizer"
    )]
    ScheduleFree {
        /// The client.
        client: usize,
    },
    /// The local updates of a client failed; the server's weights are those of before the round.
    #[error("client {client}: {error}")]
    Client {
        /// The client.
        client: usize,
        /// What its local updates gave back.
        error: Box<dyn Error + Send + Sync>,
    },
    /// The local updates of a client ended in weights that are NaN or infinite; the server's weights are those of before the round.
    #[error(
        "client {client}: `{parameter}` is NaN or infinite after its local updates; lower its rate, or leave such \
         clients out by leave_out_not_finite()"
    )]
    ClientNotFinite {
        /// The client.
        client: usize,
        /// The parameter.
        parameter: String,
    },
    /// The server has weights that are NaN or infinite, before any client trains.
    #[error("server: `{parameter}` is NaN or infinite; lower the server's rate")]
    ServerNotFinite {
        /// The parameter.
        parameter: String,
    },
    /// The server's update failed; its weights are those of before the round, and no further round can be made.
    #[error("server: {0}")]
    Server(Arc<UpdateError>),
    /// A checkpoint cannot be written, or not be found.
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

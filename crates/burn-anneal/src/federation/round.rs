//! The changes of a round, and the drift between clients.

use crate::update::{in_f32, numbers};
use burn::module::ParamId;
use burn::tensor::Tensor;

/// The measurements of a round of a [`Federation`](crate::Federation).
///
/// With p_i the weights of the participating clients, which sum to 1, w the server's weights before the round and w_i
/// those of client i after it:
///
/// ```text
/// Δ = Σ p_i w_i − w        d_i = ‖w_i − Σ p_j w_j‖        drift = √(Σ p_i d_i²)        movement = ‖Δ‖
/// ```
///
/// Norms are Euclidean, over all trained parameters, without running statistics.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Round {
    /// Its number, from 0.
    pub number: u64,
    /// The participating clients, except those that are not finite.
    pub clients: Vec<usize>,
    /// d_i of each of them.
    pub distances: Vec<f64>,
    /// How far the clients drifted apart.
    pub drift: f64,
    /// How far their mean moved from the start.
    pub movement: f64,
    /// The rate of the server; 0 if its controller skipped the update.
    pub server_rate: f64,
    /// Clients that were skipped because their weights were not finite.
    pub not_finite: Vec<usize>,
}

impl Round {
    /// Drift divided by movement: 0 if all clients agree, above 1 if most of their changes cancel, NaN if nothing
    /// moved.
    pub fn relative_drift(&self) -> f64 {
        self.drift / self.movement
    }
}

/// The changes by a client's local updates.
pub(super) struct Change {
    pub client: usize,
    /// Its weight among the clients.
    pub weight: f64,
    /// w_i − w, parameter by parameter.
    pub by: Vec<Tensor<1>>,
}

impl Change {
    pub fn new(
        client: usize,
        weight: f64,
        before: &[Tensor<1>],
        after: Vec<(ParamId, Tensor<1>)>,
    ) -> Self {
        let change = |(before, (_, after)): (&Tensor<1>, (ParamId, Tensor<1>))| {
            in_f32(after).to_device(&before.device()).cast(before.dtype()) - before.clone()
        };
        Self { client, weight, by: before.iter().zip(after).map(change).collect() }
    }
}

/// The changes by all clients' local updates, and their measurements.
pub(super) struct Outcome {
    changes: Vec<Change>,
    /// Σ p_i (w_i − w), exactly 0 where no client changed a weight.
    pub mean: Vec<Tensor<1>>,
    /// The first non-finite parameter of each client.
    not_finite: Vec<Option<usize>>,
    distances: Vec<f64>,
    movement: f64,
}

impl Outcome {
    /// Measures the changes in one read.
    pub fn of(changes: Vec<Change>, is_trained: &[bool]) -> Self {
        let mean = mean(&changes);
        let trained = || (0..mean.len()).filter(|index| is_trained[*index]);
        let all = changes.iter().flat_map(|change| &change.by);
        let mut asked: Vec<Tensor<1>> = all.map(is_not_finite).collect();
        for Change { by, .. } in &changes {
            asked.extend(trained().map(|at| (by[at].clone() - mean[at].clone()).square().sum()));
        }
        asked.extend(trained().map(|at| mean[at].clone().square().sum()));

        let answers = numbers(asked);
        let (flags, squares) = answers.split_at(changes.len() * mean.len());
        let not_finite = flags.chunks(mean.len().max(1)).map(first_set).collect();
        let count = trained().count();
        let norm = |of: usize| squares[of * count..][..count].iter().sum::<f64>().sqrt();
        let distances = (0..changes.len()).map(norm).collect();
        let movement = norm(changes.len());
        Self { changes, mean, not_finite, distances, movement }
    }

    /// The clients whose weights are not finite, and where.
    pub fn lost_clients(&self) -> Vec<(usize, usize)> {
        let lost = self.changes.iter().zip(&self.not_finite);
        lost.filter_map(|(change, lost)| Some((change.client, (*lost)?))).collect()
    }

    /// The outcome of the other clients.
    pub fn without(self, clients: &[usize], is_trained: &[bool]) -> Self {
        let mut changes = self.changes;
        changes.retain(|change| !clients.contains(&change.client));
        Self::of(changes, is_trained)
    }

    pub fn into_round(self, number: u64, server_rate: f64, not_finite: Vec<usize>) -> Round {
        let squares = self.changes.iter().zip(&self.distances);
        let squares = squares.map(|(change, distance)| change.weight * distance.powi(2));
        Round {
            number,
            clients: self.changes.iter().map(|change| change.client).collect(),
            drift: (squares.sum::<f64>() / total(&self.changes)).sqrt(),
            distances: self.distances,
            movement: self.movement,
            server_rate,
            not_finite,
        }
    }
}

fn total(changes: &[Change]) -> f64 {
    changes.iter().map(|change| change.weight).sum()
}

fn mean(changes: &[Change]) -> Vec<Tensor<1>> {
    let total = total(changes);
    let of = |parameter: usize| {
        let terms = changes
            .iter()
            .map(|Change { by, weight, .. }| by[parameter].clone().mul_scalar(weight / total));
        terms.reduce(|sum, term| sum + term)
    };
    let parameters = changes.first().map_or(0, |change| change.by.len());
    (0..parameters).filter_map(of).collect()
}

/// The first tensor that is not finite, in one read.
pub(super) fn not_finite(tensors: &[Tensor<1>]) -> Option<usize> {
    first_set(&numbers(tensors.iter().map(is_not_finite).collect()))
}

fn first_set(flags: &[f64]) -> Option<usize> {
    flags.iter().position(|flag| *flag != 0.0)
}

/// 1 if any entry of a tensor is not finite, else 0.
fn is_not_finite(tensor: &Tensor<1>) -> Tensor<1> {
    match tensor.shape().num_elements() {
        0 => Tensor::zeros([1], &tensor.device()),
        _ => tensor.clone().is_finite().bool_not().any().float(),
    }
}

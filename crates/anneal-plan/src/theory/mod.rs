//! Models of training with exact answers.
//!
//! Each is small enough to solve, so it predicts what a schedule does, and tests hold it to an exact
//! computation or to a seeded simulation. None is a model of a network: each states its assumptions.
//!
//! | question | answer |
//! | --- | --- |
//! | at what loss does SGD end on a noisy quadratic? | [`NoisyQuadratic`], [`stationary_loss`] |
//! | how long until it is near the minimum? | [`steps_to_contract`] |
//! | how does the variance of the weights follow a falling rate? | [`Diffusion`] |
//! | how far is a step decay from its exponential? | [`Discretization`] |
//! | when does it leave a minimum over a barrier? | [`Escape`] |
//! | when does a step inject energy? | [`injected_energy`], [`largest_passive_rate`] |
//! | do two players converge? | [`game_radius`] |
//! | where is Nesterov's momentum stable, and when is it fastest? | [`Nesterov`], [`critical_momentum`] |
//! | how far do federated clients drift? | [`averaging`] |
//! | what does a schedule learn, and forget? | [`ContinualLearning`] |
//! | where does a classifier's direction go? | [`LogisticRegression`] |
//! | which rate samples a prior? | [`PacBayesRate`], [`gaussian_divergence`] |
//! | which decays add up to a curve? | [`peel`], [`relaxation_spectrum`] |
//! | how does a power law relax? | [`power_law_relaxation`], [`mittag_leffler`] |
//! | how do memories and movements adapt? | [`SpacedRepetition`], [`adapt`] |

mod check;
mod continual;
mod diffusion;
mod discretization;
mod energy;
mod escape;
mod federated;
mod games;
mod margins;
mod nesterov;
mod pac_bayes;
mod quadratic;
mod relaxation;
#[cfg(test)]
mod testing;

pub use continual::{Balance, ContinualLearning, Shape};
pub use diffusion::{Diffusion, DiffusionNoise};
pub use discretization::Discretization;
pub use energy::{Motion, injected_energy, largest_passive_rate};
pub use escape::Escape;
pub use federated::{Averaging, QuadraticClient, averaging};
pub use games::{Turns, game_radius};
pub use margins::LogisticRegression;
pub use nesterov::{Nesterov, critical_momentum};
pub use pac_bayes::{PacBayesRate, gaussian_divergence};
pub use quadratic::{Moments, NoisyQuadratic, stationary_loss, steps_to_contract};
pub use relaxation::{
    ExponentialDecay, RelaxationSpectrum, SpacedRepetition, TwoExponentials, adapt, mittag_leffler,
    peel, power_law_relaxation, relaxation_spectrum,
};

//! What can be wrong with a decay and its optimizer.

use thiserror::Error;

/// Why a weight decay does not go with an optimizer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DecayError {
    /// The optimizer has a decay of its own.
    #[error(
        "weight_decay: {weight_decay} outside the optimizer, which decays by itself too, so that \
         weights would shrink twice; turn its own decay off, as with \
         AdamWConfig::new().with_weight_decay(0.0), or take it over with take_weight_decay()"
    )]
    Doubled {
        /// The decay outside.
        weight_decay: String,
    },
    /// A decay that follows the run's step, in an optimizer that is told only the rate.
    #[error(
        "weight_decay: {weight_decay} follows the step of the run, of which Burn tells a bare \
         optimizer nothing; give it to LearnerBuilder::weight_decay, or in a loop of your own to \
         GroupsConfig::weight_decay and a GroupOptimizer"
    )]
    NeedsStep {
        /// The decay.
        weight_decay: String,
    },
}

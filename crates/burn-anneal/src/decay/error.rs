//! The errors of a weight decay and its optimizer.

use thiserror::Error;

/// Why a weight decay does not fit an optimizer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DecayError {
    /// The optimizer has a decay of its own.
    #[error(
        "{weight_decay} is set outside the optimizer, which also decays all weights itself; turn its own \
         decay off, for example with AdamWConfig::new().with_weight_decay(0.0), or take it over with \
         take_weight_decay(), which AdaGrad, Adam, AdamW, Lion, RMSProp and SGD have"
    )]
    Doubled {
        /// The decay set outside, for example `weight_decay: coupled(0.1)`.
        weight_decay: String,
    },
    /// The configuration contains NaN, so no decay can be taken from it.
    #[error("{config}: {reason}; its fields must be finite numbers")]
    NotANumber {
        /// The configuration.
        config: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The decay needs the step of the run, but a bare optimizer knows only the rate.
    #[error(
        "weight_decay: {weight_decay} follows the step of the run, which a bare optimizer does not know; give it to \
         LearnerBuilder::weight_decay, which works in your own loop too"
    )]
    NeedsStep {
        /// The decay.
        weight_decay: String,
    },
    /// The decay wraps a schedule-free optimizer, whose inner weights it cannot reach.
    #[error(
        "weight_decay: {weight_decay} wraps ScheduleFree, whose inner weights it cannot reach; give it to \
         LearnerBuilder::weight_decay, which works in your own loop too, or write \
         ScheduleFree::around(Decayed::new(…)?)"
    )]
    OutsideOfScheduleFree {
        /// The decay.
        weight_decay: String,
    },
    /// The decay wraps master weights and would decay the half-precision weights.
    #[error(
        "weight_decay: {weight_decay} wraps MasterWeights, where half precision would round it away; write \
         MasterWeights::new(Decayed::new(…)?)"
    )]
    OutsideOfMasters {
        /// The decay.
        weight_decay: String,
    },
}

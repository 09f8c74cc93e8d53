//! What can be wrong with a decay and its optimizer.

use thiserror::Error;

/// Why a weight decay does not go with an optimizer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DecayError {
    /// The optimizer has a decay of its own.
    #[error(
        "{weight_decay} is said outside the optimizer, which decays all weights by itself too; turn its \
         own decay off, as with AdamWConfig::new().with_weight_decay(0.0), or take it over with \
         take_weight_decay(), which AdaGrad, Adam, AdamW, Lion, RMSProp and SGD have"
    )]
    Doubled {
        /// What is said outside, such as `weight_decay: coupled(0.1)`.
        weight_decay: String,
    },
    /// A configuration with a number that is none, of which no decay can be taken.
    #[error("{config}: {reason}; its fields must be finite numbers")]
    NotANumber {
        /// The configuration.
        config: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A decay that follows the run's step, in an optimizer that is told only the rate.
    #[error(
        "weight_decay: {weight_decay} follows the step of the run, of which Burn tells a bare \
         optimizer nothing; give it to LearnerBuilder::weight_decay, which is for a loop of your own too"
    )]
    NeedsStep {
        /// The decay.
        weight_decay: String,
    },
    /// A decay around an optimizer that trains at other weights than it moves.
    #[error(
        "weight_decay: {weight_decay} is outside of ScheduleFree, which it would tell nothing; give it to \
         LearnerBuilder::weight_decay, which is for a loop of your own too, or write \
         ScheduleFree::around(Decayed::new(…)?)"
    )]
    OutsideOfScheduleFree {
        /// The decay.
        weight_decay: String,
    },
    /// A decay around master weights, which would decay those of half precision.
    #[error(
        "weight_decay: {weight_decay} is outside of MasterWeights, where half precision would round it \
         away; write MasterWeights::new(Decayed::new(…)?)"
    )]
    OutsideOfMasters {
        /// The decay.
        weight_decay: String,
    },
}

//! Settings of a training that are one word in a file.

use serde::{Deserialize, Serialize};

/// How the gradients of the batches of one update are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GradientReduction {
    /// Their sum, as in Burn: gradient accumulation over k batches makes an SGD update about k times as large,
    /// and a clipping norm about k times as tight.
    #[default]
    Sum,
    /// Their sum divided by gradient accumulation × devices, as torch users do by dividing the loss. A shorter
    /// last accumulation of an epoch is divided by the same number.
    Mean,
}

/// What happens to an update whose gradients are infinite or NaN, without loss scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NotFinite {
    /// Makes the update, and reports it in the log and in `explain`. Only known values are checked: the norm if
    /// gradients are clipped, otherwise the loss if it is known, some updates later so that the device does not
    /// wait.
    #[default]
    Report,
    /// Skips the update, and stops the run after too many skips in a row. Costs a sum over the gradients and a
    /// read from the device per update.
    Skip {
        /// The number of skips in a row that stops the run; at least 1.
        most: u64,
    },
    /// Stops the run, at the same cost.
    Stop,
}

/// How a skipped update affects the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnSkip {
    /// The schedule advances: a skipped update counts, so the rate reaches its end with the last epoch, as in torch
    /// with `scheduler.step()` after each batch. A run in f16 starts with a few skipped updates, so a warm-up loses
    /// its first few.
    #[default]
    Advance,
    /// The schedule waits: it skips no rate, but does not reach the last ones.
    Hold,
}

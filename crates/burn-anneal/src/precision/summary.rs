//! What loss scaling has come to, and why it stopped a run.

use anneal_control::ScalingError;
use serde::Serialize;
use std::fmt;
use thiserror::Error;

/// What loss scaling has come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalingSummary {
    /// The scale of the next loss.
    pub loss_scale: f64,
    /// Updates skipped so far.
    pub skipped: u64,
    /// How many updates the schedule is behind those that Burn counts.
    pub held: u64,
    /// The smoothness L of the cap on the rate; `None` without a cap, and before L is measured.
    pub smoothness: Option<f64>,
    /// Updates of which the cap cut the rate; `None` without a cap.
    pub cuts: Option<u64>,
    /// What the rate of the last update was multiplied by; 1 without a cap.
    pub factor: f64,
}

impl fmt::Display for ScalingSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss scale {}, {} updates skipped", self.loss_scale, self.skipped)?;
        if self.held > 0 {
            write!(f, ", for which the schedule waited {}", self.held)?;
        }
        let Some(cuts) = self.cuts else { return Ok(()) };
        match self.smoothness {
            Some(smoothness) => write!(f, "\nrate cap: smoothness {smoothness:.3e}")?,
            None => write!(f, "\nrate cap: smoothness not measured yet")?,
        }
        write!(f, ", {cuts} updates cut, the last update to {:.4} of its rate", self.factor)
    }
}

/// Why a run with loss scaling was stopped.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ScalingFailure {
    /// Neither a smaller scale nor the next batch helps.
    #[error(transparent)]
    Scaling(#[from] ScalingError),
    /// The gradients are not those of a scaled loss.
    #[error(
        "loss scaling is on, but the loss was not scaled; write `loss.scale_loss().backward()` in the \
         model's TrainStep::step, with burn_anneal::prelude::ScaleLoss, or in a loop of your own \
         `scaler.scale(loss).backward()`"
    )]
    NotScaled,
    /// A [`GradScaler`](super::GradScaler) was to be updated by nothing.
    #[error(
        "update() of a GradScaler came without a step() after the last one; call scale, unscale, step and \
         update in this order, once for each update"
    )]
    NotStepped,
}

//! What an update showed.

/// What one optimizer update showed, as far as somebody looked.
///
/// Controllers take from it what they need; what nobody measured is `None`. All of it is of gradients after
/// unscaling.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// The loss, before it was scaled.
    pub loss: Option<f64>,
    /// The Euclidean norm of all gradients together.
    pub gradient_norm: Option<f64>,
    /// The largest absolute entry of the gradient of a batch.
    pub largest_gradient: Option<f64>,
    /// How far the update moves the weights at the rate of the schedule: ‖Δw‖₂.
    pub movement: Option<f64>,
    /// Whether a gradient was infinite or NaN.
    pub overflow: bool,
}

impl Observation {
    /// Whether the loss, if it is known, and all gradients are finite.
    pub fn is_finite(&self) -> bool {
        !self.overflow && self.loss.is_none_or(f64::is_finite)
    }
}

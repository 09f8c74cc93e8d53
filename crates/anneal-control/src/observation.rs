//! What an update showed.

/// What one optimizer update showed, as far as somebody looked.
///
/// Controllers take from it what they need; what nobody measured is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// The loss, before it was scaled.
    pub loss: Option<f64>,
    /// The Euclidean norm of all gradients together, after unscaling.
    pub gradient_norm: Option<f64>,
    /// Whether a gradient was infinite or NaN.
    pub overflow: bool,
}

//! The measurements of an update.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The measurements of one optimizer update, as far as requested.
///
/// Controllers take from it what they [need](crate::Needs); anything not measured is `None`. Gradients are
/// taken after unscaling, reduced over the batches and devices of the update, and before clipping.
///
/// Its numbers are saved as bits, because JSON has no infinity or NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observation {
    /// The mean loss of its batches, before scaling.
    #[serde(with = "bits")]
    pub loss: Option<f64>,
    /// ‖g‖₂ of all gradients together.
    #[serde(with = "bits")]
    pub gradient_norm: Option<f64>,
    /// ‖g‖₁ of all gradients together.
    #[serde(with = "bits")]
    pub gradient_l1: Option<f64>,
    /// g·g′ of the clipped gradients of this update and those of the last update made, as the optimizer
    /// received them.
    #[serde(with = "bits")]
    pub gradient_dot: Option<f64>,
    /// The root mean square of ‖g‖₂ over its batches; `None` if a batch may have fewer items than the others.
    #[serde(with = "bits")]
    pub batch_gradient_norm: Option<f64>,
    /// ‖g‖₂ of the mean of its batches' gradients, even if an update is their sum; known if both other norms
    /// are.
    #[serde(with = "bits")]
    pub mean_gradient_norm: Option<f64>,
    /// The largest absolute entry of the gradient of one batch.
    #[serde(with = "bits")]
    pub largest_gradient: Option<f64>,
    /// ‖Δw‖₂: how far the update moves the weights at the rate of the schedule.
    #[serde(with = "bits")]
    pub movement: Option<f64>,
    /// How far the previous update moved the weights.
    #[serde(with = "bits")]
    pub last_movement: Option<f64>,
    /// The mean, over its batches, of the mean cosine between pairs of task gradients: from −1 to 1, NaN if
    /// no pair has one.
    #[serde(with = "bits")]
    pub task_cosine: Option<f64>,
    /// The number of batches, over all devices.
    pub batches: Option<u64>,
    /// Whether a gradient was infinite or NaN.
    pub overflow: bool,
}

impl Observation {
    /// Whether the loss, if known, and all gradients are finite.
    pub fn is_finite(&self) -> bool {
        !self.overflow && self.loss.is_none_or(f64::is_finite)
    }
}

/// Serializes numbers as bits.
mod bits {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        number.map(f64::to_bits).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(f64::from_bits))
    }
}

#[cfg(test)]
mod tests {
    use super::Observation;

    #[test]
    fn it_is_saved_to_the_bit() {
        for loss in [f64::NAN, f64::NEG_INFINITY, -0.0, 0.1] {
            let seen = Observation { loss: Some(loss), batches: Some(3), ..Observation::default() };
            let text = serde_json::to_string(&seen).unwrap();
            let read: Observation = serde_json::from_str(&text).unwrap();
            assert_eq!(read.loss.map(f64::to_bits), Some(loss.to_bits()));
            assert_eq!((read.batches, read.movement), (Some(3), None));
        }
    }
}

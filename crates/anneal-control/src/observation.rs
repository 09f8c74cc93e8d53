//! What an update showed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What one optimizer update showed, as far as somebody asked.
///
/// Controllers take from it what they [need](crate::Needs); what nobody measured is `None`. All of it is of
/// gradients after unscaling, reduced over the batches and devices of the update, and before clipping.
///
/// Saved, its numbers are their bits: JSON knows neither infinity nor NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observation {
    /// The mean loss of its batches, before it was scaled.
    #[serde(with = "bits")]
    pub loss: Option<f64>,
    /// ‖g‖₂ of all gradients together.
    #[serde(with = "bits")]
    pub gradient_norm: Option<f64>,
    /// ‖g‖₁ of all gradients together.
    #[serde(with = "bits")]
    pub gradient_l1: Option<f64>,
    /// g·g′ of the gradients of this update, clipped, and of the last that was made, as the optimizer got them.
    #[serde(with = "bits")]
    pub gradient_dot: Option<f64>,
    /// The root mean square, over its batches, of ‖g‖₂ of the gradient of each; `None` where a batch may have fewer
    /// items than the others.
    #[serde(with = "bits")]
    pub batch_gradient_norm: Option<f64>,
    /// ‖g‖₂ of the mean of its batches' gradients, also where an update is their sum; known where both other norms are.
    #[serde(with = "bits")]
    pub mean_gradient_norm: Option<f64>,
    /// The largest absolute entry of the gradient of one batch.
    #[serde(with = "bits")]
    pub largest_gradient: Option<f64>,
    /// How far the update moves the weights at the rate of the schedule: ‖Δw‖₂.
    #[serde(with = "bits")]
    pub movement: Option<f64>,
    /// How far the update before this one moved them.
    #[serde(with = "bits")]
    pub last_movement: Option<f64>,
    /// The mean, over its batches, of the mean cosine between pairs of task gradients: from −1 to 1, NaN where no pair
    /// has one.
    #[serde(with = "bits")]
    pub task_cosine: Option<f64>,
    /// How many batches it is of, all devices together.
    pub batches: Option<u64>,
    /// Whether a gradient was infinite or NaN.
    pub overflow: bool,
}

impl Observation {
    /// Whether the loss, if it is known, and all gradients are finite.
    pub fn is_finite(&self) -> bool {
        !self.overflow && self.loss.is_none_or(f64::is_finite)
    }
}

/// Numbers as their bits.
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

//! Testing a trained network.

use burn::tensor::TensorReadError;
use burn::train::InferenceStep;

use crate::loader::ImageLoader;
use crate::model::ImageClassifier;

/// What a network achieves on a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evaluation {
    /// Mean loss over the images.
    pub loss: f64,
    /// Share of the images that are classified right, from 0 to 1.
    pub accuracy: f64,
}

/// Tests a network, which must be in its `valid()` form, on all images of a loader.
///
/// # Errors
/// When the device fails.
pub fn evaluate<M: ImageClassifier>(
    model: &M,
    images: &ImageLoader,
) -> Result<Evaluation, TensorReadError> {
    let (mut loss, mut right, mut count) = (0.0, 0.0, 0.0);
    for batch in images.epoch(1) {
        let size = batch.targets.dims()[0] as f64;
        let output = InferenceStep::step(model, batch);
        let classes = output.output.argmax(1).squeeze_dim::<1>(1);
        right += classes.equal(output.targets).int().sum().try_into_scalar::<f64>()?;
        loss += size * output.loss.try_into_scalar::<f64>()?;
        count += size;
    }
    Ok(Evaluation { loss: loss / count, accuracy: right / count })
}

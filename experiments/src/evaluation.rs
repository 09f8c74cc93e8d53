//! Tests a trained network.

use burn_anneal::EvaluateError;

use anneal_examples::prelude::{ImageClassifier, ImageLoader};

/// The results of a network on a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evaluation {
    /// Mean loss over the images.
    pub loss: f64,
    /// Share of the images classified correctly, from 0 to 1.
    pub accuracy: f64,
}

/// Tests a classifier on all images of a loader.
///
/// # Errors
/// If there are no images, or the device fails.
pub fn evaluate<M: ImageClassifier>(
    model: &M,
    images: &ImageLoader,
) -> Result<Evaluation, EvaluateError> {
    let found = burn_anneal::evaluate(model, images)?;
    Ok(Evaluation { loss: found.loss, accuracy: found.accuracy.unwrap_or_default() })
}

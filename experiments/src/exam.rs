//! Test batches that do not come from a loader: changed, or with other classes.

use anneal_examples::loader::ImageBatch;
use burn::train::{ClassificationOutput, InferenceStep};

use crate::error::ExperimentError;
use crate::evaluation::Evaluation;
use crate::model::Classifier;

/// Batches that stay the same.
#[derive(Debug, Clone)]
pub struct Exam(Vec<ImageBatch>);

impl Exam {
    /// Of these batches.
    pub fn of(batches: impl IntoIterator<Item = ImageBatch>) -> Self {
        Self(batches.into_iter().collect())
    }

    /// Tests a classifier on all batches, with equal weight for each image.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(&self, classifier: &Classifier) -> Result<Evaluation, ExperimentError> {
        let (mut images, mut loss, mut right) = (0.0, 0.0, 0.0);
        for batch in &self.0 {
            let count = batch.targets.dims()[0] as f64;
            let output = InferenceStep::step(classifier, batch.clone());
            let found = of_output(output)?;
            loss += count * found.loss;
            right += count * found.accuracy;
            images += count;
        }
        Ok(Evaluation { loss: loss / images, accuracy: right / images })
    }
}

/// The results of the outputs for one batch.
///
/// # Errors
/// If the device fails.
pub fn of_output(output: ClassificationOutput) -> Result<Evaluation, ExperimentError> {
    let count = output.targets.dims()[0] as f64;
    let right = output.output.argmax(1).squeeze_dim::<1>(1).equal(output.targets);
    let right = right.int().sum().try_into_scalar::<f64>()?;
    Ok(Evaluation { loss: output.loss.try_into_scalar()?, accuracy: right / count })
}

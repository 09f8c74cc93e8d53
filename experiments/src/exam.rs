//! Batches to test on that no loader gives: changed, or with other classes.

use anneal_examples::evaluation::Evaluation;
use anneal_examples::loader::ImageBatch;
use anneal_examples::prelude::*;
use burn::train::InferenceStep;

use crate::model::Classifier;

/// Batches that stay the same.
#[derive(Debug, Clone)]
pub struct Exam(Vec<ImageBatch>);

impl Exam {
    /// Of these batches.
    pub fn of(batches: impl IntoIterator<Item = ImageBatch>) -> Self {
        Self(batches.into_iter().collect())
    }

    /// Tests a classifier on all of them, each image alike.
    ///
    /// # Errors
    /// When the device fails.
    pub fn evaluate(&self, classifier: &Classifier) -> Result<Evaluation, ExampleError> {
        let (mut images, mut loss, mut right) = (0.0, 0.0, 0.0);
        for batch in &self.0 {
            let count = batch.targets.dims()[0] as f64;
            let output = InferenceStep::step(classifier, batch.clone());
            let found = output.output.argmax(1).squeeze_dim::<1>(1).equal(output.targets);
            loss += count * output.loss.try_into_scalar::<f64>()?;
            right += found.int().sum().try_into_scalar::<f64>()?;
            images += count;
        }
        Ok(Evaluation { loss: loss / images, accuracy: right / images })
    }
}

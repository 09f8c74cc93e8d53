//! Evaluates a model on a loader.

use crate::loader::{EpochStart, look};
use crate::update::known_loss;
use burn::data::dataloader::DataLoader;
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::tensor::TensorReadError;
use burn::train::{ClassificationOutput, InferenceStep};
use std::any::Any;
use thiserror::Error;

/// The loss and accuracy of a model on the items of a loader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean loss, with each batch weighted by its items.
    pub loss: f64,
    /// The share of correctly classified items, from 0 to 1; `None` if the model does not classify.
    pub accuracy: Option<f64>,
    /// The number of items.
    pub items: usize,
}

/// Why a model cannot be evaluated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The loader is empty.
    #[error("evaluate: the loader has no items; give it a dataset with at least one")]
    NoItems,
    /// The loader fails.
    #[error("evaluate: the loader fails: {0}")]
    Loader(DatasetError),
    /// The output has no known loss.
    #[error(
        "evaluate: the output of the model's InferenceStep has no known loss; allowed: one of Burn's outputs, or the \
         loss as a tensor"
    )]
    NoLoss,
    /// The device fails.
    #[error("evaluate: the device fails: {0}")]
    Device(TensorReadError),
}

/// Evaluates a model in its `valid()` form on all batches of a loader (of its first epoch, if the loader knows epochs).
///
/// Burn's training validates one model, either the average or the raw weights;
/// [`Monitored::evaluate`](crate::Monitored::evaluate) evaluates the other, and casts batches to the precision of the
/// run.
///
/// ```no_run
/// # use burn::data::dataloader::DataLoader;
/// # use burn::train::{InferenceStep, LearnerModel, SupervisedTraining, ValidLoader};
/// use burn_anneal::prelude::*;
/// use burn_anneal::evaluate;
///
/// # fn compare<M: LearnerModel>(
/// #     builder: LearnerBuilder<M>, training: SupervisedTraining<M>, test: ValidLoader<M>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let builder = builder.average(Average::ema(0.999));
/// let watch = builder.watch();
/// let averaged = builder.launch(training)?.finished()?;
/// println!("average: {:?}", evaluate(&averaged, &*test)?);
/// if let Some(run) = watch.run() {
///     println!("raw weights: {:?}", run.evaluate(&averaged, Weights::Raw, &*test)?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`EvaluateError`] if the loader is empty or fails, or the loss is not known.
pub fn evaluate<M: InferenceStep + Module>(
    model: &M,
    loader: &dyn DataLoader<M::Input>,
) -> Result<Evaluation, EvaluateError>
where
    M::Output: 'static,
{
    evaluate_by(model, loader, |model, batch| model.step(batch))
}

/// Evaluates like [`evaluate`], with a custom pass.
pub(crate) fn evaluate_by<M: InferenceStep + Module>(
    model: &M,
    loader: &dyn DataLoader<M::Input>,
    pass: impl Fn(&M, M::Input) -> M::Output,
) -> Result<Evaluation, EvaluateError>
where
    M::Output: 'static,
{
    let model = model.valid();
    let (mut batches, _) = look(loader, EpochStart { epoch: 1, batches: 0 });
    let (mut loss, mut right, mut items, mut done) = (0.0, Some(0.0), 0, 0);
    while let Some(batch) = batches.next() {
        let batch = batch.map_err(EvaluateError::Loader)?;
        let output = pass(&model, batch);
        let of_batch = known_loss(&output).ok_or(EvaluateError::NoLoss)?.mean();
        let classified = right_of(&output);
        let before = std::mem::replace(&mut done, batches.progress().items_processed);
        let size = match &classified {
            Some((size, _)) => *size,
            None => done.saturating_sub(before).max(1),
        };
        items += size;
        loss += size as f64 * of_batch.try_into_scalar::<f64>().map_err(EvaluateError::Device)?;
        right = match (right, classified) {
            (Some(right), Some((_, of_batch))) => {
                Some(right + of_batch.map_err(EvaluateError::Device)?)
            }
            _ => None,
        };
    }
    if items == 0 {
        return Err(EvaluateError::NoItems);
    }
    let mean = |sum: f64| sum / items as f64;
    Ok(Evaluation { loss: mean(loss), accuracy: right.map(mean), items })
}

/// The items of an output, and how many of them are classified correctly.
fn right_of(output: &dyn Any) -> Option<(usize, Result<f64, TensorReadError>)> {
    let output = output.downcast_ref::<ClassificationOutput>()?;
    let classes = output.output.clone().argmax(1).squeeze_dim::<1>(1);
    let right = classes.equal(output.targets.clone()).int().sum().try_into_scalar::<f64>();
    Some((output.targets.dims()[0], right))
}

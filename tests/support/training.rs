//! Burn's own training loop on the small model.

use crate::{Quiet, TinyModel, batches};
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_anneal::LearnerBuilder;
use burn_anneal::prelude::Annealed;
use std::path::Path;

/// Ten updates per epoch, with checkpoints and logs in a folder.
pub fn supervised(folder: &Path, epochs: usize) -> SupervisedTraining<Annealed<TinyModel>> {
    SupervisedTraining::new(folder, batches(60, 6, 0), batches(3, 3, 0))
        .num_epochs(epochs)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
        .with_default_checkpointers()
        .metrics((LossMetric::new(),))
}

/// Trains to the end, without an error.
pub fn trained(
    training: SupervisedTraining<Annealed<TinyModel>>,
    builder: LearnerBuilder<TinyModel>,
) -> TinyModel {
    let learner = builder.build(training.interrupter()).unwrap();
    let result = training.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    result.model.into_inner()
}

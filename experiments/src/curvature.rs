//! What the first update and a sweep show of the curvature, beside its largest eigenvalue.

use std::fmt::Write as _;
use std::sync::Arc;

use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::TrainStep;
use burn_anneal::groups::Curvature;
use burn_anneal::plan::{Sweep, mean_curvature};
use burn_anneal::prelude::*;

use crate::model::Classifier;

/// A table of curvatures of digits' losses at random weights, under plain SGD.
///
/// # Errors
/// When the device fails.
pub fn table(loaders: &[(u64, ImageLoader)], device: &Device) -> Result<String, ExampleError> {
    let mut text = "| seed | largest eigenvalue | along the first update | mean, ‖g‖²/2 loss | from a sweep | \
                    largest first rate | 2 / largest eigenvalue |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (seed, loader) in loaders {
        device.seed(*seed);
        let model = Classifier::new(device);
        let run = RunLength::updates(1_000);
        let builder = LearnerBuilder::new(model.clone(), SgdConfig::new().build(), constant(0.1));
        let builder = builder.run(run);
        let shared: Arc<dyn DataLoader<ImageBatch>> = Arc::new(loader.clone());
        let first = LrFinder::new().first_rate(&builder, &shared)?;
        let along = first.along_update();
        let mean =
            along.and_then(|along| mean_curvature(along.gradient_squared, first.loss, 0.0).ok());
        let sweep = LrFinder::new().sweep(Sweep::new(1e-4, 10.0)).seeds(1);
        let swept = sweep.find(&builder, &shared)?.tests()[0].curvature(0.0);
        let groups = GroupsConfig::new().resolve(&model, &constant(0.1).resolve(run)?, run)?;
        let largest = match loader.epoch(1).next() {
            Some(batch) => Curvature::new()
                .measure(&model, &groups, |model| TrainStep::step(model, batch.clone()).grads)?
                .iter()
                .map(|(_, largest)| largest)
                .next(),
            None => None,
        };
        let shown = |value: Option<f64>| value.map_or("none".into(), |value| format!("{value:.3}"));
        let _ = writeln!(
            text,
            "| {seed} | {} | {} | {} | {} | {} | {} |",
            shown(largest),
            shown(along.map(|along| along.curvature)),
            shown(mean),
            shown(swept.map(|swept| swept.curvature)),
            shown(first.rate()),
            shown(largest.map(|largest| 2.0 / largest)),
        );
    }
    Ok(text)
}

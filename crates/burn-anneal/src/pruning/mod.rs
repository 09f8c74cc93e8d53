//! Prunes weights by their magnitude.

mod mask;

pub use mask::PruningMask;

use crate::groups::{Found, GroupError, Parameter, Selection, found};
use crate::update::{ByParameter, in_f32};
use anneal_schedule::OutOfRange;
use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use thiserror::Error;

/// Describes pruning the weights of the smallest magnitude.
///
/// ```text
/// pruned: the k weights of the smallest |w|,   k = round(sparsity · number of weights)
/// ```
///
/// Weights are ranked over all layers together, or [within each](Self::per_layer). Ties go to the first in the order of
/// the model, so the share is met exactly. The sparsity counts all weights, including those already pruned: zeros have
/// the smallest magnitude, so pruning again to a higher sparsity keeps them pruned.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `sparsity` | required | at least 0, below 1 |
/// | `per_layer` | false | |
/// | `only` | weights of two or more dimensions, except those of norms | must select a weight |
///
/// Source: Han et al. 2015, "Learning both weights and connections for efficient neural networks"; PyTorch's
/// `global_unstructured` and `l1_unstructured`.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::AdamWConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn::train::TrainOutput;
/// use burn_anneal::control::PruningRestart;
/// use burn_anneal::prelude::*;
///
/// let device = Device::default().autodiff();
/// let model = LinearConfig::new(8, 4).init(&device);
/// let mut training = LearnerBuilder::new(model, AdamWConfig::new().build(), cosine(0.01))
///     .controller("restart", PruningRestart::new(4.0, 50))
///     .run(RunLength::updates(1_000))
///     .build_loop()?;
///
/// let mask = MagnitudePruning::new(0.75).mask(training.model())?;
/// training.prune(mask); // to zero, where they stay
/// training.announce("pruned")?;
///
/// # let pass = |model: &burn::nn::Linear| {
/// #     let loss = model.forward(Tensor::<2>::ones([2, 8], &device)).square().mean();
/// #     TrainOutput::new(model, loss.clone().scaled_backward(), loss)
/// # };
/// training.pass(pass);
/// training.update()?;
/// let weights = training.model().weight.val().into_data();
/// assert_eq!(weights.iter::<f32>().filter(|weight| *weight == 0.0).count(), 24);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MagnitudePruning {
    sparsity: f64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    per_layer: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<Selection>,
}

impl MagnitudePruning {
    /// Prunes this share of all weights.
    #[must_use]
    pub fn new(sparsity: f64) -> Self {
        Self { sparsity, per_layer: false, only: None }
    }

    /// Prunes the same share of each layer. Without it, a layer may lose all of its weights, which breaks the network;
    /// [`PruningMask::layers`] lists the share of each layer.
    #[must_use]
    pub fn per_layer(self) -> Self {
        Self { per_layer: true, ..self }
    }

    /// Prunes only these parameters.
    #[must_use]
    pub fn only(self, selection: impl Into<Selection>) -> Self {
        Self { only: Some(selection.into()), ..self }
    }

    /// Finds the weights to prune. In half precision many weights have the same magnitude, so give the model in f32:
    /// [`TrainingLoop::model_in_f32`](crate::TrainingLoop::model_in_f32). Reads the magnitudes from the device.
    ///
    /// # Errors
    /// [`PruningError`] if the sparsity is out of its range, nothing is selected, or weights are NaN or infinite.
    pub fn mask<M: Module>(&self, model: &M) -> Result<PruningMask, PruningError> {
        let sparsity = self.sparsity;
        let ok = (0.0..1.0).contains(&sparsity);
        OutOfRange::require("sparsity", sparsity, ok, "at least 0, below 1")
            .map_err(PruningError::OutOfRange)?;
        let layers = self.layers(model)?;
        let magnitudes = |layer: &Layer| layer.magnitudes.clone();
        let pruned = match self.per_layer {
            true => layers.iter().flat_map(|it| smallest(&it.magnitudes, sparsity)).collect(),
            false => smallest(&layers.iter().flat_map(magnitudes).collect::<Vec<_>>(), sparsity),
        };
        Ok(PruningMask::new(layers, pruned))
    }

    fn layers<M: Module>(&self, model: &M) -> Result<Vec<Layer>, PruningError> {
        let found = found(model);
        let all: Vec<Parameter> = found.iter().map(|found| found.parameter.clone()).collect();
        let selected = match &self.only {
            Some(only) => only.named("pruning.only", &all)?,
            None => all.iter().map(|parameter| parameter.rank() > 1 && !parameter.norm).collect(),
        };
        let selected = found.into_iter().zip(selected).filter(|(_, selected)| *selected);
        let layers = Layer::of(model, selected.map(|(found, _)| found).collect());
        let is_finite = |layer: &Layer| layer.magnitudes.iter().all(|it| it.is_finite());
        match layers.iter().find(|layer| !is_finite(layer)) {
            Some(Layer { path, .. }) => Err(PruningError::NotFinite { parameter: path.clone() }),
            None if !layers.iter().any(Layer::is_filled) => Err(PruningError::Nothing),
            None => Ok(layers),
        }
    }
}

/// The magnitudes of a parameter's weights.
struct Layer {
    path: String,
    magnitudes: Vec<f64>,
    device: Device,
}

impl Layer {
    fn is_filled(&self) -> bool {
        !self.magnitudes.is_empty()
    }

    /// The layers of these parameters, if they are floating-point.
    fn of<M: Module>(model: &M, found: Vec<Found>) -> Vec<Self> {
        let wanted: HashSet<ParamId> = found.iter().map(|it| it.id).collect();
        let weights = ByParameter::weights(model, |id, _| wanted.contains(&id));
        let layer = |(id, weight): &(ParamId, Tensor<1>)| {
            let Found { parameter, .. } = found.iter().find(|it| it.id == *id)?;
            let magnitudes = in_f32(Tensor::clone(weight)).abs().into_data();
            Some(Self {
                path: parameter.path.clone(),
                device: weight.device(),
                magnitudes: magnitudes.iter::<f64>().collect(),
            })
        };
        weights.iter().filter_map(layer).collect()
    }
}

/// Marks this share of the magnitudes as the smallest; ties go to the first.
fn smallest(magnitudes: &[f64], share: f64) -> Vec<bool> {
    let count = (share * magnitudes.len() as f64).round() as usize;
    let mut order: Vec<usize> = (0..magnitudes.len()).collect();
    if count < order.len() {
        order.select_nth_unstable_by(count, |&a, &b| {
            magnitudes[a].total_cmp(&magnitudes[b]).then(a.cmp(&b))
        });
    }
    let mut are_smallest = vec![false; magnitudes.len()];
    order[..count].iter().for_each(|&index| are_smallest[index] = true);
    are_smallest
}

/// Why weights cannot be pruned.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PruningError {
    /// A value is out of its range.
    #[error("pruning.{0}")]
    OutOfRange(OutOfRange),
    /// A path or a name that selects no parameter.
    #[error(transparent)]
    Selection(#[from] GroupError),
    /// There is nothing to prune.
    #[error(
        "pruning: no weight is selected; allowed: floating-point parameters, with two or more dimensions unless \
         MagnitudePruning::only selects others"
    )]
    Nothing,
    /// Weights are NaN or infinite.
    #[error("pruning: `{parameter}` is NaN or infinite; prune a model whose weights are finite")]
    NotFinite {
        /// The parameter.
        parameter: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the smallest by stable sorting.
    fn by_sorting(magnitudes: &[f64], count: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..magnitudes.len()).collect();
        order.sort_by(|&a, &b| magnitudes[a].total_cmp(&magnitudes[b]));
        (0..magnitudes.len()).map(|index| order[..count].contains(&index)).collect()
    }

    #[test]
    fn the_smallest_are_as_many_as_the_share_says() {
        let magnitudes: Vec<f64> = (0..97).map(|i| f64::from(i * 31 % 17)).collect();
        for (share, count) in [(0.0, 0), (0.004, 0), (0.5, 49), (0.9, 87), (0.996, 97)] {
            assert_eq!(smallest(&magnitudes, share), by_sorting(&magnitudes, count), "{share}");
        }
        assert!(smallest(&[], 0.5).is_empty());
    }

    #[test]
    fn of_equals_the_first_go_first() {
        assert_eq!(smallest(&[1.0, 0.5, 1.0, 1.0], 0.5), [true, true, false, false]);
        assert_eq!(smallest(&[0.0; 5], 0.6), [true, true, true, false, false]);
    }

    #[test]
    fn it_is_read_back() {
        for rule in
            [MagnitudePruning::new(0.5), MagnitudePruning::new(0.9).per_layer().only("head")]
        {
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<MagnitudePruning>(&json).unwrap(), rule);
        }
        let short: MagnitudePruning = serde_json::from_str(r#"{"sparsity":0.5}"#).unwrap();
        assert_eq!(short, MagnitudePruning::new(0.5));
    }
}

//! Running statistics of weights that no forward pass of training has seen.

use crate::deep_copy::deep_copy;
use crate::loader::{EpochStart, look};
use crate::update::Updater;
use crate::update::{ByParameter, Points, in_f32, numbers};
use burn::data::dataloader::DataLoader;
use burn::data::dataset::DatasetError;
use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn::train::InferenceStep;
use std::collections::HashMap;
use std::sync::Arc;

/// A model whose running statistics, such as those of batch norms, are the means over these batches: what torch calls
/// `update_bn`. Averaged or merged weights have none of their own, as they never trained.
///
/// `pass` runs a forward pass of a batch on the device of training; what it gives is not looked at. Each batch counts
/// alike, whatever the momentum of a layer is. A model without running statistics, and one whose norms are frozen, comes
/// back as it is, as it does without batches. The result is in the form in which the model is.
///
/// It takes a pass for each batch, and three more for the first: a layer that moves a statistic r to (1 − m) r + m b
/// leaves m b of r = 0, and of another r what is (1 − m) r more.
///
/// ```
/// use burn::nn::{BatchNorm, BatchNormConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::recompute_statistics;
///
/// let device = Device::default().autodiff();
/// let norm = BatchNormConfig::new(1).init(&device);
/// let batches = [[1.0, 3.0], [5.0, 7.0]].map(|[a, b]| Tensor::<2>::from_data([[a], [b]], &device));
/// let norm = recompute_statistics(norm, batches, |norm: &BatchNorm, batch| drop(norm.forward(batch)));
/// assert!((norm.running_mean.value().into_scalar::<f32>() - 4.0).abs() < 1e-4);
/// ```
pub fn recompute_statistics<M: Module, I: Clone>(
    model: M,
    batches: impl IntoIterator<Item = I>,
    mut pass: impl FnMut(&M, I),
) -> M {
    let mut batches = batches.into_iter().peekable();
    let Some(first) = batches.peek().cloned() else { return model };
    let is_training = model.devices().iter().all(|device| device.is_autodiff());
    let training = if is_training { deep_copy(&model) } else { model.valid().train() };
    let mut after = |before: &Points, batch: I| {
        let copy = before.put(deep_copy(&training));
        pass(&copy, batch);
        // Those of all passes are in the `valid()` form only.
        floats(&copy.valid())
    };
    let before = floats(&training.valid());
    let moved = after(&Points::default(), first.clone());
    let difference =
        |(id, before): (&ParamId, &Tensor<1>)| (moved[id].clone() - before.clone()).max_abs();
    let differences = numbers(before.iter().map(difference).collect());
    let moving = before.iter().zip(differences).filter(|(_, difference)| *difference != 0.0);
    let moving: Vec<(ParamId, Tensor<1>)> =
        moving.map(|((id, before), _)| (*id, before.clone())).collect();
    let filled = |value: &dyn Fn(&ParamId, &Tensor<1>) -> Tensor<1>| {
        let each = moving.iter();
        Points::of(each.map(|(id, before)| (*id, value(id, before))))
    };
    let zeros = filled(&|_, before| before.zeros_like());
    let with_zeros = after(&zeros, first.clone());
    // As large as m b, so that the difference is as exact.
    let size = |id: &ParamId| with_zeros[id].clone().abs().add_scalar(1.0);
    let with_sizes = after(&filled(&|id, _| size(id)), first);
    let momentum = |id: &ParamId| {
        let stays = (with_sizes[id].clone() - with_zeros[id].clone()) / size(id);
        stays.neg().add_scalar(1.0)
    };
    let mut count = 0.0;
    let mut sums: HashMap<ParamId, Tensor<1>> = HashMap::new();
    for batch in batches {
        count += 1.0;
        for (id, value) in after(&zeros, batch) {
            let sum = sums.remove(&id);
            sums.insert(id, sum.map_or(value.clone(), |sum| sum + value));
        }
    }
    let mean = |id: &ParamId| (*id, sums[id].clone().div_scalar(count) / momentum(id));
    let means = Points::of(moving.iter().map(|(id, _)| mean(id)));
    means.put(if is_training { training.clone() } else { model.valid() })
}

/// Gives averaged weights statistics of their own, or says why it cannot.
pub(crate) type Recompute<M> = Arc<dyn Fn(M, &Updater) -> Result<M, String> + Send + Sync>;

/// That of the first batches of a loader.
pub(crate) fn recompute_over<M: InferenceStep + Module>(
    loader: Arc<dyn DataLoader<M::Input>>,
    batches: usize,
) -> Recompute<M>
where
    M::Input: Clone + Send + Sync + 'static,
{
    Arc::new(move |model, updater| {
        let loader = match model.devices().into_iter().next() {
            Some(device) => loader.to_device(&device.autodiff()),
            None => loader.clone(),
        };
        let (all, _) = look(loader.as_ref(), EpochStart { epoch: 1, batches: 0 });
        let batches: Result<Vec<M::Input>, DatasetError> = all.take(batches).collect();
        let batches = batches.map_err(|error| format!("the loader fails: {error}"))?;
        if batches.is_empty() {
            return Err("the loader has no batches".into());
        }
        Ok(recompute_statistics(model, batches, |model, batch| {
            updater.run(batch, |batch| drop(model.step(batch)));
        }))
    })
}

/// All floating-point parameters and buffers that have elements, in f32 at least.
fn floats<M: Module>(model: &M) -> HashMap<ParamId, Tensor<1>> {
    let all = ByParameter::weights(model, |_, _| true);
    let filled = all.iter().filter(|(_, tensor)| tensor.shape().num_elements() > 0);
    filled.map(|(id, tensor)| (*id, in_f32(tensor.clone()))).collect()
}

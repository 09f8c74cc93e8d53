//! Recomputes the running statistics of averaged or merged weights.

use crate::deep_copy::deep_copy;
use crate::groups::found;
use crate::loader::{EpochStart, look};
use crate::update::{ByParameter, Points, Updater, in_f32, numbers};
use burn::data::dataloader::DataLoader;
use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn::train::InferenceStep;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Recomputes running statistics, for example of batch norms, as means over these batches, like torch's `update_bn`.
/// Averaged or merged weights have no statistics of their own, because they were never trained.
///
/// `pass` runs the forward pass of a batch on the training device. All batches have the same weight, whatever the
/// momentum of a layer. A model without running statistics or with frozen norms is returned unchanged, as is any model
/// without batches. The result has the same form as the model.
///
/// This takes one pass per batch, and three more for the first: a layer that moves a statistic r to (1 − m) r + m b
/// gives m b at r = 0, and (1 − m) r more at another r.
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
    let mut batches = batches.into_iter();
    let Some(first) = batches.next() else { return model };
    let is_training = model.devices().iter().all(|device| device.is_autodiff());
    let training = if is_training { deep_copy(&model) } else { model.valid().train() };
    // The values that a pass leaves, starting from other values of what is not trained.
    let mut after = |before: &Values, batch: I| {
        let values = before.iter().map(|(id, value)| (*id, value.clone()));
        let copy = Points::of(values).put(deep_copy(&training));
        pass(&copy, batch);
        // Only the `valid()` form has the statistics of all passes.
        let mut left = floats(&copy.valid(), |_| true);
        left.retain(|id, _| before.contains_key(id));
        left
    };
    // A batch may happen to keep one value of a statistic, but not two.
    let is_trained = trained(&training);
    let now = floats(&training.valid(), |id| !is_trained.contains(&id));
    let shifted = map(&now, |_, value| value.add_scalar(1.0));
    let mut moving = moved(&now, &after(&now, first.clone()));
    moving.extend(moved(&shifted, &after(&shifted, first.clone())));
    let now: Values = now.into_iter().filter(|(id, _)| moving.contains(id)).collect();
    if now.is_empty() {
        return model;
    }
    let zeros = map(&now, |_, value| value.zeros_like());
    let of_first = after(&zeros, first.clone());
    // About the size of m b, to keep the difference exact.
    let sizes = map(&of_first, |_, value| value.abs().add_scalar(1.0));
    let with_sizes = after(&sizes, first);
    let stays = map(&of_first, |id, value| (with_sizes[&id].clone() - value) / sizes[&id].clone());
    let (mut count, mut sums) = (1.0, of_first);
    for batch in batches {
        count += 1.0;
        let of_batch = after(&zeros, batch);
        sums = map(&sums, |id, sum| sum + of_batch[&id].clone());
    }
    let means = map(&sums, |id, sum| sum / count / stays[&id].clone().neg().add_scalar(1.0));
    let copy = if is_training { training.clone() } else { model.valid() };
    Points::of(means.into_iter()).put(copy)
}

/// Runs a pass, and returns the paths of the running statistics, which change without being trained.
pub(crate) fn moved_by<M: Module, T>(model: &M, pass: impl FnOnce() -> T) -> (T, Vec<String>) {
    let is_trained = trained(model);
    // Only the `valid()` form has the statistics of all passes.
    let values = || floats(&model.valid(), |id| !is_trained.contains(&id));
    let (before, given) = (values(), pass());
    let moved = moved(&before, &values());
    let named = found(model).into_iter().filter(|found| moved.contains(&found.id));
    (given, named.map(|found| found.parameter.path).collect())
}

/// Flat tensors by parameter.
type Values = HashMap<ParamId, Tensor<1>>;

fn map(values: &Values, of: impl Fn(ParamId, Tensor<1>) -> Tensor<1>) -> Values {
    values.iter().map(|(id, value)| (*id, of(*id, value.clone()))).collect()
}

/// The parameters that differ. Infinities, as in an attention mask, and NaN equal themselves.
fn moved(before: &Values, after: &Values) -> HashSet<ParamId> {
    let differs = |before: &Tensor<1>, after: &Tensor<1>| {
        let both_nan = before.clone().is_nan().bool_and(after.clone().is_nan());
        after.clone().equal(before.clone()).bool_or(both_nan).bool_not().any().float()
    };
    let (ids, differ): (Vec<_>, Vec<_>) =
        before.iter().map(|(id, before)| (*id, differs(before, &after[id]))).unzip();
    let moved = ids.into_iter().zip(numbers(differ));
    moved.filter(|(_, differs)| *differs != 0.0).map(|(id, _)| id).collect()
}

/// All wanted floating-point parameters and buffers of a module that are not empty, in at least f32.
fn floats<M: Module>(model: &M, is_wanted: impl Fn(ParamId) -> bool) -> Values {
    let all = ByParameter::weights(model, |id, _| is_wanted(id));
    let filled = all.iter().filter(|(_, tensor)| tensor.shape().num_elements() > 0);
    filled.map(|(id, tensor)| (*id, in_f32(tensor.clone()))).collect()
}

/// The parameters that are trained.
fn trained<M: Module>(model: &M) -> HashSet<ParamId> {
    ByParameter::weights(model, |_, is_trained| is_trained).iter().map(|(id, _)| *id).collect()
}

/// Recomputes the statistics of averaged weights, or returns why it cannot.
pub(crate) type Recompute<M> = Arc<dyn Fn(M, &Updater) -> Result<M, String> + Send + Sync>;

/// Recomputes statistics over the first batches of a loader.
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
        let (mut count, mut failure) = (0, None);
        let batches = all.take(batches).map_while(|batch| match batch {
            Ok(batch) => Some(batch),
            Err(error) => {
                failure = Some(format!("the loader fails: {error}"));
                None
            }
        });
        let batches = batches.inspect(|_| count += 1);
        let model = recompute_statistics(model, batches, |model, batch| {
            updater.run(batch, |batch| drop(model.step(batch)));
        });
        match failure {
            Some(failure) => Err(failure),
            None if count == 0 => Err("the loader has no batches".into()),
            None => Ok(model),
        }
    })
}

//! The mask of pruned weights.

use super::Layer;
use crate::groups::found;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Tensor, TensorData};
use std::collections::HashMap;

/// Marks the pruned weights of a model.
///
/// [`TrainingLoop::prune`](crate::TrainingLoop::prune) keeps them at zero. In other loops, [`apply`](Self::apply) the
/// mask after each update, because momentum and the moments of an adaptive optimizer still move weights without a
/// gradient. A mask names its parameters by their paths; the default mask prunes nothing.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use burn_anneal::{MagnitudePruning, PruningMask};
///
/// let model = LinearConfig::new(10, 10).init(&Device::default());
/// let mask = MagnitudePruning::new(0.9).mask(&model)?;
/// assert_eq!((mask.sparsity(), mask.pruned()), (0.9, 90));
/// let pruned = mask.apply(model);
/// assert_eq!(PruningMask::of_zeros(&pruned).layers().collect::<Vec<_>>(), [("weight", 0.9)]);
/// # Ok::<(), burn_anneal::PruningError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PruningMask {
    /// The masks by path, in the order of the model.
    layers: Vec<(String, Masked)>,
}

/// The mask of a parameter.
#[derive(Clone, Debug)]
struct Masked {
    /// True for each pruned weight, flattened.
    flags: Tensor<1, Bool>,
    pruned: usize,
    weights: usize,
}

impl Masked {
    fn share(&self) -> f64 {
        self.pruned as f64 / self.weights as f64
    }

    /// Zeroes the pruned weights; a tensor of another size is returned unchanged.
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        if tensor.shape().num_elements() != self.weights || self.pruned == 0 {
            return tensor;
        }
        let flags = self.flags.clone().to_device(&tensor.device());
        let flags: Tensor<D, Bool> = flags.reshape(tensor.shape());
        tensor.mask_fill(flags, 0.0)
    }
}

impl PruningMask {
    /// Makes a mask from one flag for each weight of the layers.
    pub(super) fn new(layers: Vec<Layer>, pruned: Vec<bool>) -> Self {
        let mut pruned = pruned.into_iter();
        let masked = |Layer { path, magnitudes, device }: Layer| {
            let weights = magnitudes.len();
            let flags: Vec<bool> = pruned.by_ref().take(weights).collect();
            let pruned = flags.iter().filter(|flag| **flag).count();
            let data = TensorData::new(flags, [weights]);
            (path, Masked { flags: Tensor::from_data(data, &device), pruned, weights })
        };
        Self { layers: layers.into_iter().filter(Layer::is_filled).map(masked).collect() }
    }

    /// The mask of all zeros in parameters of two or more dimensions, to resume from a checkpoint of a pruned model. It
    /// treats any zero as a pruned weight.
    pub fn of_zeros<M: Module>(model: &M) -> Self {
        let matrices = found(model).into_iter().filter(|found| found.parameter.rank() > 1);
        let layers = Layer::of(model, matrices.collect());
        let pruned = layers.iter().flat_map(|layer| &layer.magnitudes).map(|it| *it == 0.0);
        let pruned = pruned.collect();
        let mask = Self::new(layers, pruned);
        Self { layers: mask.layers.into_iter().filter(|(_, layer)| layer.pruned > 0).collect() }
    }

    /// Sets the pruned weights of the model to 0. Parameters that are not in the mask, or have another size, stay
    /// unchanged.
    #[must_use]
    pub fn apply<M: Module>(&self, model: M) -> M {
        if self.pruned() == 0 {
            return model;
        }
        model.map(&mut Apply { mask: self, path: vec![], met: HashMap::new() })
    }

    /// The number of pruned weights.
    pub fn pruned(&self) -> usize {
        self.layers.iter().map(|(_, layer)| layer.pruned).sum()
    }

    /// The pruned share of the weights that can be pruned; 0 if there are none.
    pub fn sparsity(&self) -> f64 {
        let weights: usize = self.layers.iter().map(|(_, layer)| layer.weights).sum();
        self.pruned() as f64 / weights.max(1) as f64
    }

    /// The path of each parameter that can be pruned, and its pruned share.
    pub fn layers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.layers.iter().map(|(path, layer)| (path.as_str(), layer.share()))
    }

    /// Sets the gradients of pruned weights to 0, so that norms cover only the other weights.
    pub(crate) fn of_gradients<M: Module>(
        &self,
        model: &M,
        gradients: GradientsParams,
    ) -> GradientsParams {
        if self.pruned() == 0 {
            return gradients;
        }
        let mut masked = OfGradients { mask: self, path: vec![], gradients };
        model.visit(&mut masked);
        masked.gradients
    }

    fn of(&self, path: &[String]) -> Option<&Masked> {
        let path = path.join(".");
        self.layers.iter().find(|(of, _)| *of == path).map(|(_, layer)| layer)
    }
}

struct Apply<'a> {
    mask: &'a PruningMask,
    path: Vec<String>,
    /// A parameter that the model holds twice has its first path in the mask.
    met: HashMap<ParamId, &'a Masked>,
}

impl ModuleMapper for Apply<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let found = self.mask.of(&self.path).or_else(|| self.met.get(&param.id).copied());
        let Some(masked) = found else { return param };
        self.met.insert(param.id, masked);
        let (id, tensor, mapper) = param.consume();
        let tensor = match tensor.gradient_checkpointing_strategy() {
            // A leaf of the autodiff graph must stay a leaf.
            Some(strategy) => {
                let requires_grad = tensor.is_require_grad();
                Tensor::from_inner(masked.apply(tensor.inner()))
                    .with_gradient_checkpointing_strategy(strategy)
                    .set_require_grad(requires_grad)
            }
            None => masked.apply(tensor),
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

struct OfGradients<'a> {
    mask: &'a PruningMask,
    path: Vec<String>,
    gradients: GradientsParams,
}

impl ModuleVisitor for OfGradients<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(masked) = self.mask.of(&self.path)
            && let Some(gradient) = self.gradients.remove::<D>(param.id)
        {
            self.gradients.register(param.id, masked.apply(gradient));
        }
    }
}

//! The parameters of a module, in order.

use anneal_config::Parameter;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use std::collections::HashSet;

/// A parameter of a module, with its properties in Burn.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub parameter: Parameter,
    pub id: ParamId,
    /// Whether Burn's distributed training synchronizes its gradients.
    pub distributed: bool,
}

/// Lists the float parameters of a module, including running statistics, in the order in which Burn visits
/// them.
///
/// A parameter that occurs twice is listed once, at its first place, where Burn's optimizers update it.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use burn_anneal::groups::parameters;
/// let layer = LinearConfig::new(3, 2).init(&Device::default().autodiff());
/// let all = parameters(&layer);
/// assert_eq!((all[0].path.as_str(), all[0].shape.as_slice()), ("weight", [3, 2].as_slice()));
/// assert_eq!((all[1].path.as_str(), all[1].rank()), ("bias", 1));
/// ```
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    found(module).into_iter().map(|found| found.parameter).collect()
}

/// The [`parameters`] of a module with their ids.
pub(crate) fn found<M: Module>(module: &M) -> Vec<Found> {
    let mut list = List::default();
    module.visit(&mut list);
    list.found
}

#[derive(Default)]
struct List {
    /// Name and container type of each level.
    path: Vec<(String, String)>,
    seen: HashSet<ParamId>,
    found: Vec<Found>,
}

impl ModuleVisitor for List {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_string(), container_type.to_string()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.seen.insert(param.id) {
            return;
        }
        let is_list = |kind: &str| matches!(kind, "Vec" | "Array");
        let mut parameter = Parameter::new(joined(&self.path), param.lazy_shape().to_vec());
        parameter.trainable = param.is_require_grad();
        parameter.norm = self.path.last().is_some_and(|(_, container)| is_norm(container));
        let levels = 0..self.path.len();
        parameter.lists = levels.filter(|&level| is_list(&self.path[level].1)).collect();
        self.found.push(Found { parameter, id: param.id, distributed: is_distributed(param) });
    }
}

/// Burn answers this only for floating-point tensors that record gradients.
fn is_distributed<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    if !param.is_initialized() {
        return false;
    }
    let tensor = param.base();
    tensor.dtype().is_float() && tensor.device().is_autodiff() && tensor.is_distributed()
}

fn joined(path: &[(String, String)]) -> String {
    path.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
}

/// Whether the container of a parameter is one of Burn's normalization layers.
pub(crate) fn is_norm(container: &str) -> bool {
    const NORMS: [&str; 5] = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "RmsNorm"];
    container.strip_prefix("Struct:").is_some_and(|name| NORMS.contains(&name))
}

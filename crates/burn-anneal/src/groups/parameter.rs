//! The parameters of a module, in order.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use std::collections::HashSet;

/// A float parameter of a module.
///
/// Its path is the one that Burn saves it under: the names of the fields and the indices of lists
/// from the root, joined by dots.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `blocks.3.convolution.weight`
    pub path: String,
    /// The length of each dimension.
    pub shape: Vec<usize>,
    /// Whether it requires a gradient. Running statistics never do; weights do unless the model has
    /// frozen them itself.
    pub trainable: bool,
    /// Whether it belongs to a normalization layer of Burn's (batch, group, instance, layer, RMS).
    pub norm: bool,
    /// The components of the path, counted from 0, that are an index in a list of modules.
    pub(crate) lists: Vec<usize>,
    pub(crate) id: Option<ParamId>,
    /// Whether Burn's distributed training synchronizes its gradients.
    pub(crate) distributed: bool,
}

impl Parameter {
    /// A trainable parameter of which only path and shape are known, such as one of another library.
    pub fn new(path: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            path: path.into(),
            shape: shape.into(),
            trainable: true,
            norm: false,
            lists: vec![],
            id: None,
            distributed: false,
        }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether its name is `bias` (or `beta`, as in Burn's norms).
    pub fn is_bias(&self) -> bool {
        matches!(self.path.rsplit('.').next(), Some("bias" | "beta"))
    }
}

/// Lists the float parameters of any module in the order that Burn visits them in, running
/// statistics among them.
///
/// A parameter that the module holds twice is listed once, where it is met first: there Burn's
/// optimizers update it.
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
    let mut list = List::default();
    module.visit(&mut list);
    list.found
}

#[derive(Default)]
struct List {
    /// Name of each level, and what it is in.
    path: Vec<(String, String)>,
    seen: HashSet<ParamId>,
    found: Vec<Parameter>,
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
        self.found.push(Parameter {
            path: joined(&self.path),
            shape: param.lazy_shape().to_vec(),
            trainable: param.is_require_grad(),
            norm: self.path.last().is_some_and(|(_, container)| is_norm(container)),
            lists: (0..self.path.len()).filter(|&level| is_list(&self.path[level].1)).collect(),
            id: Some(param.id),
            distributed: is_distributed(param),
        });
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

/// Burn names the struct that holds a parameter.
pub(crate) fn is_norm(container: &str) -> bool {
    const NORMS: [&str; 5] = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "RmsNorm"];
    container.strip_prefix("Struct:").is_some_and(|name| NORMS.contains(&name))
}

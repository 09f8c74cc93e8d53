//! From one floating-point type to another.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, GradientCheckpointingStrategy, Tensor};

/// The module with all its floating-point parameters, and buffers such as running statistics, in another
/// precision.
///
/// What trains goes on to train: a parameter keeps its id, and its gradients are those of the new precision.
/// The module must cast its inputs itself, as in `images.cast(self.output.weight.val().dtype())`, and is wise
/// to cast what goes into the loss to f32. Nothing stays in f32, norms and their statistics neither.
///
/// It shares nothing with other clones of the module: running statistics, which Burn shares among them, are
/// copied.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{DType, Device, FloatDType};
/// use burn_anneal::precision::to_precision;
///
/// let device = Device::default().autodiff();
/// let layer = to_precision(LinearConfig::new(4, 2).init(&device), FloatDType::F16);
/// assert_eq!(layer.weight.val().dtype(), DType::F16);
/// assert!(layer.weight.val().is_require_grad());
/// ```
pub fn to_precision<M: Module>(module: M, dtype: FloatDType) -> M {
    let mut found = Find::default();
    module.visit(&mut found);
    // Both make running statistics of their own, with what forward passes have not added to them yet.
    let copy = module.valid();
    let copy = if found.checkpointing.is_some() { copy.train() } else { copy };
    copy.map(&mut Cast { dtype, checkpointing: found.checkpointing })
}

struct Cast {
    dtype: FloatDType,
    /// `None` for a module that records no gradients.
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, self.cast_leaf(tensor), mapper)
    }
}

impl Cast {
    /// A leaf of the graph of derivatives stays one: a plain cast would be an operation of the graph.
    fn cast_leaf<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let Some(checkpointing) = self.checkpointing else { return tensor.cast(self.dtype) };
        let requires_grad = tensor.is_require_grad();
        Tensor::from_inner(tensor.inner().cast(self.dtype))
            .with_gradient_checkpointing_strategy(checkpointing)
            .set_require_grad(requires_grad)
    }
}

/// Whether a module has parameters in half precision.
pub(crate) fn has_half_parameters<M: Module>(module: &M) -> bool {
    dtypes(module).into_iter().any(is_half)
}

/// The precisions of a module's parameters, in words.
pub(crate) fn precisions<M: Module>(module: &M) -> String {
    let dtypes = dtypes(module).into_iter().map(|dtype| format!("{dtype:?}").to_lowercase());
    dtypes.collect::<Vec<_>>().join(" and ")
}

/// The types of a module's parameters, as they come first.
fn dtypes<M: Module>(module: &M) -> Vec<DType> {
    let mut find = Find::default();
    module.visit(&mut find);
    find.dtypes
}

#[derive(Default)]
struct Find {
    dtypes: Vec<DType>,
    /// That of the first parameter that has one.
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl ModuleVisitor for Find {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        if !self.dtypes.contains(&tensor.dtype()) {
            self.dtypes.push(tensor.dtype());
        }
        self.checkpointing = self.checkpointing.or(tensor.gradient_checkpointing_strategy());
    }
}

/// Whether numbers of this type are those of half precision.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// In f32 at least.
pub(crate) fn in_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if is_half(tensor.dtype()) { tensor.cast(FloatDType::F32) } else { tensor }
}

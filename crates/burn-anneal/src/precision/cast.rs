//! Casts modules from one floating-point type to another.

use crate::groups::{GroupError, Selection, found, parameters};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{FloatDType, GradientCheckpointingStrategy, Tensor};
use std::collections::HashSet;

/// Casts all floating-point parameters and buffers (for example running statistics) of a module to another
/// precision.
///
/// Parameters keep their ids and keep training, with gradients in the new precision. The module must cast its
/// inputs itself, for example `images.cast(self.output.weight.val().dtype())`, and should cast the inputs of the
/// loss to f32. Quantized parameters stay unchanged. Norms and their statistics are cast too; to keep them in f32,
/// use [`to_precision_except`]. A tensor that is not a parameter, for example the table of a
/// `PositionalEncoding`, stays unchanged.
///
/// The result shares nothing with other clones of the module: running statistics, which Burn's clones share, are
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
    cast_all_but(module, dtype, HashSet::new())
}

/// Like [`to_precision`], but selected parameters keep their precision.
///
/// Keep batch norms in f32: a variance above 65,504 is infinite in f16, which makes their output 0, unnoticed by loss
/// scaling. The module must cast their inputs and outputs.
///
/// # Errors
/// [`GroupError::NoMatch`] for a path or name that selects nothing.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
/// use burn::tensor::{DType, Device, FloatDType, Tensor};
/// use burn_anneal::groups::Selection;
/// use burn_anneal::precision::to_precision_except;
///
/// #[derive(Module, Debug)]
/// struct Normed {
///     layer: Linear,
///     norm: BatchNorm,
/// }
///
/// impl Normed {
///     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
///         let x = self.layer.forward(x.cast(self.layer.weight.val().dtype()));
///         self.norm.forward(x.clone().cast(self.norm.gamma.val().dtype())).cast(x.dtype())
///     }
/// }
///
/// let device = Device::default().autodiff();
/// let model = Normed {
///     layer: LinearConfig::new(3, 2).init(&device),
///     norm: BatchNormConfig::new(2).init(&device),
/// };
/// let model = to_precision_except(model, FloatDType::F16, &Selection::norms())?;
/// assert_eq!(model.norm.gamma.val().dtype(), DType::F32);
/// assert_eq!(model.forward(Tensor::ones([4, 3], &device)).dtype(), DType::F16);
/// # Ok::<(), burn_anneal::groups::GroupError>(())
/// ```
pub fn to_precision_except<M: Module>(
    module: M,
    dtype: FloatDType,
    kept: &Selection,
) -> Result<M, GroupError> {
    let selected = kept.of(&parameters(&module))?;
    let kept = found(&module).into_iter().zip(selected);
    let kept = kept.filter(|(_, selected)| *selected).map(|(found, _)| found.id).collect();
    Ok(cast_all_but(module, dtype, kept))
}

fn cast_all_but<M: Module>(module: M, dtype: FloatDType, kept: HashSet<ParamId>) -> M {
    let mut found = Find::default();
    module.visit(&mut found);
    // Both copy the running statistics, including pending changes of forward passes.
    let copy = module.valid();
    let copy = if found.checkpointing.is_some() { copy.train() } else { copy };
    copy.map(&mut Cast { dtype, checkpointing: found.checkpointing, kept })
}

struct Cast {
    dtype: FloatDType,
    /// `None` if the module records no gradients.
    checkpointing: Option<GradientCheckpointingStrategy>,
    kept: HashSet<ParamId>,
}

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let stays = self.kept.contains(&id) || !tensor.dtype().is_float();
        let tensor = if stays { tensor } else { self.cast_leaf(tensor) };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

impl Cast {
    /// Casts a leaf of the autodiff graph to a leaf; a plain cast would be an operation of the graph.
    fn cast_leaf<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let Some(checkpointing) = self.checkpointing else { return tensor.cast(self.dtype) };
        let requires_grad = tensor.is_require_grad();
        Tensor::from_inner(tensor.inner().cast(self.dtype))
            .with_gradient_checkpointing_strategy(checkpointing)
            .set_require_grad(requires_grad)
    }
}

/// The strategy of the first parameter that has one.
#[derive(Default)]
struct Find {
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl ModuleVisitor for Find {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let strategy = || param.base().gradient_checkpointing_strategy();
        self.checkpointing = self.checkpointing.or_else(strategy);
    }
}

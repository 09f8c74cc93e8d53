//! Clipping by the norm of all gradients together.

use crate::precision::in_f32;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams};
use burn::tensor::{Device, Tensor};
use thiserror::Error;

/// Clips gradients by their global norm:
///
/// ```text
/// g ← g · min(1, max_norm / (‖g‖₂ + 10⁻⁶))
/// ```
///
/// with one norm over the gradients of *all* parameters, as torch's `clip_grad_norm_` and optax's
/// `clip_by_global_norm` do. Burn's own `GradientClipping::Norm` clips each tensor by itself, which
/// changes the direction of the update. Norm and factor stay on the device: nothing is read.
/// Half-precision gradients are squared and summed in f32.
///
/// A gradient with a NaN or an infinity makes the norm, and so all gradients, useless; this does
/// not hide it.
///
/// ```
/// use burn::module::{Module, Param};
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::GlobalNormClip;
///
/// #[derive(Module, Debug)]
/// struct Pair {
///     a: Param<Tensor<1>>,
///     b: Param<Tensor<1>>,
/// }
///
/// let device = Device::default().autodiff();
/// let model = Pair {
///     a: Param::from_tensor(Tensor::from_floats([1.0], &device)),
///     b: Param::from_tensor(Tensor::from_floats([1.0], &device)),
/// };
/// // The gradient is (3, 4): its norm is 5.
/// let loss = (model.a.val() * 3.0 + model.b.val() * 4.0).sum();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// let clipped = GlobalNormClip::new(1.0)?.clip(&model, gradients);
///
/// let a = clipped.gradients.get::<1>(model.a.id).unwrap().into_scalar::<f32>();
/// let b = clipped.gradients.get::<1>(model.b.id).unwrap().into_scalar::<f32>();
/// assert!((a - 0.6).abs() < 1e-6 && (b - 0.8).abs() < 1e-6);
/// # Ok::<(), burn_anneal::ClipError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalNormClip {
    max_norm: f64,
}

/// A norm that nothing can be clipped to.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("clip_global_norm: {max_norm:?} is not allowed; allowed: a finite number above 0")]
pub struct ClipError {
    max_norm: f64,
}

/// Clipped gradients.
#[derive(Debug)]
pub struct Clipped {
    /// The gradients of the model's parameters.
    pub gradients: GradientsParams,
    /// Their norm before clipping, one number, still on its device; `None` without gradients.
    pub norm: Option<Tensor<1>>,
}

/// Keeps the quotient finite at a norm of 0; torch's constant.
const NORM_EPSILON: f64 = 1e-6;

impl GlobalNormClip {
    /// Clips to `max_norm`.
    ///
    /// # Errors
    /// [`ClipError`] unless it is a finite number above 0.
    pub fn new(max_norm: f64) -> Result<Self, ClipError> {
        if max_norm > 0.0 && max_norm.is_finite() {
            Ok(Self { max_norm })
        } else {
            Err(ClipError { max_norm })
        }
    }

    /// Clips the gradients of `module`'s parameters; gradients of anything else are dropped.
    pub fn clip<M: Module>(&self, module: &M, gradients: GradientsParams) -> Clipped {
        let rescale = Rescale { factor: 1.0, clip: Some(*self) };
        let (gradients, norm) = rescale.apply(module, gradients.into());
        Clipped { gradients, norm }
    }
}

/// What happens to the gradients of an update before the optimizer sees them: times a factor, then
/// clipped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rescale {
    /// 1 / (gradients summed) for a mean; 1 for a sum.
    pub factor: f64,
    pub clip: Option<GlobalNormClip>,
}

impl Rescale {
    /// Rescales without a look at the norm, unless clipping needs it.
    pub(crate) fn rescale_if_asked<M: Module>(
        &self,
        module: &M,
        gradients: GradAdaptor,
    ) -> GradAdaptor {
        if self.factor == 1.0 && self.clip.is_none() {
            return gradients;
        }
        self.rescale(module, gradients).0
    }

    /// Sums over devices, rescales, and leaves each gradient on the device that its parameter is
    /// optimized on. The norm is that before clipping.
    pub(crate) fn rescale<M: Module>(
        &self,
        module: &M,
        gradients: GradAdaptor,
    ) -> (GradAdaptor, Option<Tensor<1>>) {
        let devices: Option<Vec<Device>> = match &gradients {
            GradAdaptor::Single(_) => None,
            GradAdaptor::Multi(all) => {
                Some(all.grads.iter().map(|(_, device)| device.clone()).collect())
            }
        };
        let (gradients, norm) = self.apply(module, gradients);
        let Some(devices) = devices else { return (gradients.into(), norm) };
        let grads = devices.into_iter().map(|device| (GradientsParams::new(), device)).collect();
        let mut spread = Spread { from: gradients, to: MultiGradientsParams { grads } };
        module.visit(&mut spread);
        (spread.to.into(), norm)
    }

    /// The gradients times a number.
    pub(crate) fn multiply<M: Module>(
        module: &M,
        gradients: GradientsParams,
        factor: f64,
    ) -> GradientsParams {
        let to = GradientsParams::new();
        let mut scale = ScaleBy { from: gradients, to, factor, clipped: None };
        module.visit(&mut scale);
        scale.to
    }

    fn apply<M: Module>(
        &self,
        module: &M,
        gradients: GradAdaptor,
    ) -> (GradientsParams, Option<Tensor<1>>) {
        let mut sum = SumOfSquares { from: gradients, to: GradientsParams::new(), squares: vec![] };
        module.visit(&mut sum);
        if sum.squares.is_empty() {
            return (sum.to, None);
        }
        let norm = Tensor::cat(sum.squares, 0).sum().sqrt() * self.factor;
        let clipped = self.clip.map(|clip| {
            ((norm.clone() + NORM_EPSILON).recip() * clip.max_norm).clamp_max(1.0) * self.factor
        });
        if clipped.is_none() && self.factor == 1.0 {
            return (sum.to, Some(norm));
        }
        let to = GradientsParams::new();
        let mut scale = ScaleBy { from: sum.to, to, factor: self.factor, clipped };
        module.visit(&mut scale);
        (scale.to, Some(norm))
    }
}

/// Collects ‖g‖² of each parameter once; a parameter that the model holds twice has one gradient.
struct SumOfSquares {
    from: GradAdaptor,
    to: GradientsParams,
    squares: Vec<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some((gradient, _)) = self.from.remove::<D>(param.id) else { return };
        let square = in_f32(gradient.clone()).square().sum();
        let square = match self.squares.first() {
            Some(first) => square.to_device(&first.device()).cast(first.dtype()),
            None => square,
        };
        self.squares.push(square);
        self.to.register(param.id, gradient);
    }
}

struct ScaleBy {
    from: GradientsParams,
    to: GradientsParams,
    factor: f64,
    /// What stands for the factor where gradients are clipped: their norm is on the device.
    clipped: Option<Tensor<1>>,
}

impl ModuleVisitor for ScaleBy {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.from.remove::<D>(param.id) else { return };
        let dtype = gradient.dtype();
        let gradient = in_f32(gradient);
        let scaled = match &self.clipped {
            None => gradient * self.factor,
            Some(factor) => {
                let factor = factor.clone().to_device(&gradient.device()).cast(gradient.dtype());
                gradient * factor.reshape([1; D])
            }
        };
        self.to.register(param.id, scaled.cast(dtype));
    }
}

/// Puts each gradient back into the slot of its device.
struct Spread {
    from: GradientsParams,
    to: MultiGradientsParams,
}

impl ModuleVisitor for Spread {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.from.remove::<D>(param.id) else { return };
        let device = gradient.device();
        let slot = self.to.grads.iter().position(|(_, slot)| *slot == device).unwrap_or(0);
        self.to.grads[slot].0.register(param.id, gradient);
    }
}

//! Reduces the gradients of batches and devices to those of an update: mean or sum, unscaled, clipped.

use super::tensors::{ByParameter, in_f32};
use anneal_control::Needs;
use burn::module::Module;
use burn::optim::{GradAdaptor, GradientsParams};
use burn::tensor::{Device, Tensor};
use thiserror::Error;

/// Clips gradients by their global norm:
///
/// ```text
/// g ← g · min(1, max_norm / (‖g‖₂ + 10⁻⁶))
/// ```
///
/// with one norm over the gradients of *all* parameters, like torch's `clip_grad_norm_` and optax's
/// `clip_by_global_norm`. Burn's own `GradientClipping::Norm` clips each tensor separately, which
/// changes the direction of the update. Norm and factor stay on the device: nothing is read.
/// Half-precision gradients are squared and summed in f32.
///
/// A NaN or infinity in a gradient spoils the norm, and so all gradients; clipping does not hide it.
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

/// An invalid norm to clip to.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("clip_global_norm: {max_norm:?} is not allowed; allowed: a finite number above 0")]
pub struct ClipError {
    max_norm: f64,
}

/// Clipped gradients.
#[derive(Debug)]
#[non_exhaustive]
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
        let reduced = rescale.reduce(module, gradients.into(), &Needs::default());
        Clipped { norm: reduced.norm, gradients: reduced.gradients.into_single(module) }
    }
}

/// Scales, then clips, the gradients of an update before the optimizer gets them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rescale {
    /// 1 / (number of gradients) for a mean, 1 for a sum; divided by the loss scale.
    pub factor: f64,
    pub clip: Option<GlobalNormClip>,
}

/// The gradients of an update.
#[derive(Clone)]
pub(crate) struct Reduced {
    pub gradients: ByParameter,
    /// The devices to distribute them to again.
    devices: Option<Vec<Device>>,
    /// ‖g‖₂ before clipping, if needed.
    pub norm: Option<Tensor<1>>,
    /// ‖g‖₁ before clipping.
    pub l1: Option<Tensor<1>>,
}

impl Rescale {
    /// Whether gradients stay unchanged and unmeasured.
    pub fn is_none(&self, needs: &Needs) -> bool {
        let looks = needs.gradient_norm || needs.gradient_l1 || needs.gradient_dot;
        self.factor == 1.0 && self.clip.is_none() && !looks
    }

    /// Sums over devices, rescales and clips, with one norm for all uses.
    pub fn reduce<M: Module>(&self, module: &M, gradients: GradAdaptor, needs: &Needs) -> Reduced {
        let devices = match &gradients {
            GradAdaptor::Single(_) => None,
            GradAdaptor::Multi(all) => {
                Some(all.grads.iter().map(|(_, device)| device.clone()).collect())
            }
        };
        let gradients = ByParameter::gradients(module, gradients);
        let sum = if self.clip.is_some() || needs.gradient_norm { gradients.norm() } else { None };
        let l1 = if needs.gradient_l1 { gradients.l1() } else { None };
        let norm = sum.map(|norm| norm * self.factor);
        let l1 = l1.map(|l1| l1 * self.factor.abs());
        let clipped = self.clip.zip(norm.clone()).map(|(clip, norm)| {
            ((norm + NORM_EPSILON).recip() * clip.max_norm).clamp_max(1.0) * self.factor
        });
        let gradients = match clipped {
            None => gradients.times(self.factor),
            Some(factor) => gradients.map(|gradient| {
                let dtype = gradient.dtype();
                let gradient = in_f32(gradient);
                let factor = factor.clone().to_device(&gradient.device()).cast(gradient.dtype());
                (gradient * factor).cast(dtype)
            }),
        };
        Reduced { gradients, devices, norm, l1 }
    }
}

impl Reduced {
    /// Multiplies all gradients by a factor.
    pub fn times(self, factor: f64) -> Self {
        Self { gradients: self.gradients.times(factor), ..self }
    }

    /// The gradients for the optimizer, each on the device where its parameter is optimized.
    pub fn into_gradients<M: Module>(self, module: &M) -> GradAdaptor {
        self.gradients.into_gradients(module, self.devices)
    }
}

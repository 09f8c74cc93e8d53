//! Reduces the gradients of batches and devices to those of an update: mean or sum, unscaled, clipped.

use super::tensors::{ByParameter, in_f32};
use anneal_control::Needs;
use burn::module::Module;
use burn::optim::{GradAdaptor, GradientsParams};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;
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

    /// What gradients of this norm are multiplied by. A number is read only where nothing waits for it.
    fn factor(self, norm: Tensor<1>) -> Factor {
        let Self { max_norm } = self;
        #[cfg(feature = "flex")]
        if crate::fused::parameter::on_flex(&norm) {
            // NaN has to spoil the gradients.
            let factor = max_norm / (norm.into_scalar::<f64>() + NORM_EPSILON);
            return Factor::Known(if factor > 1.0 { 1.0 } else { factor });
        }
        let factor = ((norm + NORM_EPSILON).recip() * max_norm).clamp_max(1.0);
        Factor::OnDevice(Arc::new(factor))
    }

    /// Clips the gradients of `module`'s parameters; gradients of anything else are dropped.
    pub fn clip<M: Module>(&self, module: &M, gradients: GradientsParams) -> Clipped {
        let rescale = Rescale { factor: 1.0, clip: Some(*self) };
        let gradients = ByParameter::gradients(module, gradients.into());
        let (factor, Norms { norm, .. }) = rescale.measure(&gradients, &Needs::default());
        let gradients = gradients.map(|gradient| factor.times(gradient));
        Clipped { norm, gradients: gradients.into_single(module) }
    }
}

/// Scales, then clips, the gradients of an update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rescale {
    /// 1 / (number of gradients) for a mean, 1 for a sum; divided by the loss scale.
    pub factor: f64,
    pub clip: Option<GlobalNormClip>,
}

/// What the gradients of an update are multiplied by.
#[derive(Clone, Debug)]
pub(crate) enum Factor {
    Known(f64),
    /// One number.
    OnDevice(Arc<Tensor<1>>),
}

/// The gradients of an update, and what the optimizer multiplies them by.
pub(crate) struct Gradients {
    held: Held,
    pub factor: Factor,
}

enum Held {
    /// As Burn has them, to be used once.
    Once(GradAdaptor),
    /// Summed over devices, to be used several times, and the devices to distribute them to again.
    Often(ByParameter, Option<Vec<Device>>),
}

/// The measurements of the gradients of an update.
#[derive(Clone, Debug)]
pub(crate) struct Norms {
    /// ‖g‖₂ before clipping, if needed.
    pub norm: Option<Tensor<1>>,
    /// ‖g‖₁ before clipping, if needed.
    pub l1: Option<Tensor<1>>,
}

impl Rescale {
    /// Measures gradients, with one norm for all uses. They can be copied if `often` is set.
    pub fn reduce<M: Module>(
        &self,
        module: &M,
        gradients: GradAdaptor,
        needs: &Needs,
        often: bool,
    ) -> (Gradients, Norms) {
        let is_measured = self.clip.is_some() || needs.gradient_norm || needs.gradient_l1;
        let (held, (factor, norms)) = match gradients {
            GradAdaptor::Single(gradients) if !often && is_measured => {
                let measured = self.measure(&ByParameter::copy(module, &gradients), needs);
                (Held::Once(gradients.into()), measured)
            }
            gradients if !often && !is_measured => {
                (Held::Once(gradients), self.measure(&ByParameter::default(), needs))
            }
            gradients => {
                let devices = devices_of(&gradients);
                let gradients = ByParameter::gradients(module, gradients);
                let measured = self.measure(&gradients, needs);
                (Held::Often(gradients, devices), measured)
            }
        };
        (Gradients { held, factor }, norms)
    }

    fn measure(&self, gradients: &ByParameter, needs: &Needs) -> (Factor, Norms) {
        let sum = if self.clip.is_some() || needs.gradient_norm { gradients.norm() } else { None };
        let l1 = if needs.gradient_l1 { gradients.l1() } else { None };
        let norm = sum.map(|norm| norm * self.factor);
        let l1 = l1.map(|l1| l1 * self.factor.abs());
        let factor = match self.clip.zip(norm.clone()) {
            Some((clip, norm)) => clip.factor(norm).and(self.factor),
            None => Factor::Known(self.factor),
        };
        (factor, Norms { norm, l1 })
    }
}

/// The devices of gradients from several.
fn devices_of(gradients: &GradAdaptor) -> Option<Vec<Device>> {
    match gradients {
        GradAdaptor::Single(_) => None,
        GradAdaptor::Multi(all) => {
            Some(all.grads.iter().map(|(_, device)| device.clone()).collect())
        }
    }
}

impl Gradients {
    /// The same gradients; `None` if they can be used only once.
    pub fn copy(&self) -> Option<Self> {
        let Held::Often(gradients, devices) = &self.held else { return None };
        let held = Held::Often(gradients.clone(), devices.clone());
        Some(Self { held, factor: self.factor.clone() })
    }

    /// The gradients for the optimizer, each on the device where its parameter is optimized, not yet multiplied.
    pub fn into_adaptor<M: Module>(self, module: &M) -> GradAdaptor {
        match self.held {
            Held::Once(gradients) => gradients,
            Held::Often(gradients, devices) => gradients.into_gradients(module, devices),
        }
    }
}

impl Factor {
    /// No change.
    pub const NONE: Self = Self::Known(1.0);

    /// Both factors in one.
    pub fn and(self, factor: f64) -> Self {
        match self {
            _ if factor == 1.0 => self,
            Self::Known(known) => Self::Known(known * factor),
            Self::OnDevice(number) => {
                Self::OnDevice(Arc::new(Tensor::clone(&number).mul_scalar(factor)))
            }
        }
    }

    /// Multiplies a gradient, in at least f32.
    pub fn times<const D: usize>(&self, gradient: Tensor<D>) -> Tensor<D> {
        let dtype = gradient.dtype();
        match self {
            Self::Known(1.0) => gradient,
            Self::Known(factor) => in_f32(gradient).mul_scalar(*factor).cast(dtype),
            Self::OnDevice(number) => {
                let gradient = in_f32(gradient);
                let number = Tensor::clone(number).to_device(&gradient.device());
                let number = number.cast(gradient.dtype());
                (gradient * number.reshape([1; D])).cast(dtype)
            }
        }
    }
}

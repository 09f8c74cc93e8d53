//! Loss scaling in a loop of one's own.

use super::gradients::{in_f32_gradients, read};
use super::pass::{scaled, unscaled};
use crate::clip::{GlobalNormClip, Rescale};
use anneal_control::{
    ControlError, LossScaler, LossScalerState, LossScaling, Observation, ScaledUpdate, ScalingError,
};
use burn::module::Module;
use burn::optim::{GradAdaptor, GradientsParams};
use burn::tensor::Tensor;

/// Loss scaling in a loop of one's own, as torch's `GradScaler`: scale, backward, unscale, step, update.
///
/// Gradients come unscaled and in f32, so the optimizer of a model in half precision is one with
/// [`MasterWeights`](super::MasterWeights). With gradient accumulation each batch is scaled and unscaled, and
/// their sum goes to [`step`](Self::step); the scale moves once an update.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
/// use burn::tensor::{Device, FloatDType, Tensor};
/// use burn_anneal::precision::{GradScaler, LossScaling, MasterWeights, to_precision};
///
/// let device = Device::default().autodiff();
/// let mut model = to_precision(LinearConfig::new(4, 2).init(&device), FloatDType::F16);
/// let mut optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
/// let mut scaler = GradScaler::new(LossScaling::new())?;
/// for _ in 0..3 {
///     let input = Tensor::<2>::ones([8, 4], &device).cast(FloatDType::F16);
///     let loss = model.forward(input).cast(FloatDType::F32).square().mean();
///     let gradients = GradientsParams::from_grads(scaler.scale(loss).backward(), &model);
///     let gradients = scaler.unscale(&model, gradients);
///     model = scaler.step(model, gradients, |model, gradients| optimizer.step(0.1, model, gradients));
///     scaler.update()?;
/// }
/// assert_eq!(scaler.state().skipped, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct GradScaler {
    scaler: LossScaler,
    clip: Option<GlobalNormClip>,
    losses: Vec<Tensor<1>>,
    unscaled: bool,
    seen: Observation,
}

impl GradScaler {
    /// Starts at the scale of the description.
    ///
    /// # Errors
    /// [`ControlError`] names the field, the value, and what is allowed.
    pub fn new(scaling: LossScaling) -> Result<Self, ControlError> {
        let scaler = scaling.build()?;
        let seen = Observation::default();
        Ok(Self { scaler, clip: None, losses: vec![], unscaled: false, seen })
    }

    /// Clips in [`step`](Self::step) by the norm that the check for overflow computes anyway.
    pub fn clip_global_norm(mut self, clip: GlobalNormClip) -> Self {
        self.clip = Some(clip);
        self
    }

    /// The loss times the scale, in f32, to go backward from.
    pub fn scale<const D: usize>(&mut self, loss: Tensor<D>) -> Tensor<D> {
        self.losses.push(unscaled(&loss));
        scaled(loss, self.scaler.scale())
    }

    /// The gradients of the module's parameters in f32, divided by the scale.
    pub fn unscale<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
    ) -> GradientsParams {
        self.unscaled = true;
        let gradients = in_f32_gradients(module, gradients);
        Rescale::multiply(module, gradients, 1.0 / self.scaler.scale())
    }

    /// Makes the update, unless a gradient is infinite or NaN: then the model comes back as it was. Waits for
    /// the device, once. Where nothing was [unscaled](Self::unscale) since the last update, that is done first.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: GradientsParams,
        optimize: impl FnOnce(M, GradientsParams) -> M,
    ) -> M {
        let (gradients, factor) = match std::mem::take(&mut self.unscaled) {
            true => (gradients, 1.0),
            false => (in_f32_gradients(&model, gradients), 1.0 / self.scaler.scale()),
        };
        let rescale = Rescale { factor, clip: self.clip };
        let (gradients, norm) = rescale.rescale(&model, gradients.into());
        self.seen = read(norm, std::mem::take(&mut self.losses), vec![], None);
        match gradients {
            GradAdaptor::Single(gradients) if !self.seen.overflow => optimize(model, gradients),
            _ => model,
        }
    }

    /// Moves the scale by what [`step`](Self::step) saw, and says what became of the update: a scheduler's
    /// step may depend on it.
    ///
    /// # Errors
    /// [`ScalingError`] where training cannot go on: see [`LossScaling::max_failures`].
    pub fn update(&mut self) -> Result<ScaledUpdate, ScalingError> {
        self.scaler.observe(&self.seen)
    }

    /// What the last [`step`](Self::step) saw.
    pub fn seen(&self) -> &Observation {
        &self.seen
    }

    /// The scale of the next loss.
    pub fn current_scale(&self) -> f64 {
        self.scaler.scale()
    }

    /// What a checkpoint saves: it is serializable with serde.
    pub fn state(&self) -> LossScalerState {
        self.scaler.state()
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`ControlError`] for a scale that is not above 0 and finite.
    pub fn restored(self, state: LossScalerState) -> Result<Self, ControlError> {
        Ok(Self { scaler: self.scaler.restored(state)?, ..self })
    }
}

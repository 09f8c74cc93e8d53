//! Loss scaling in a loop of one's own.

use super::ScalingFailure;
use super::gradients::{in_f32_gradients, read};
use super::pass::{scaled, unscaled};
use crate::clip::{GlobalNormClip, Rescale};
use anneal_control::{
    ControlError, LossScaler, LossScalerState, LossScaling, Observation, ScaledUpdate,
};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradAdaptor, GradientsParams};
use burn::tensor::Tensor;
use std::collections::HashSet;

/// Loss scaling in a loop of one's own, as torch's `GradScaler`: scale, backward, unscale, step, update.
///
/// Gradients come unscaled and in f32, so the optimizer of a model in half precision is one with
/// [`MasterWeights`](super::MasterWeights). With gradient accumulation each batch is scaled and unscaled, and
/// their sum goes to [`step`](Self::step); the scale moves once an update. Several models or optimizers have a
/// step each before the one update. What differs from torch: gradients are values, so that nobody knows whether
/// they were unscaled twice; and a loss that is not finite skips the steps of all models until the update.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
/// use burn::tensor::{Device, FloatDType, Tensor};
/// use burn_anneal::precision::{GradScaler, LossScaling, MasterWeights, to_precision};
///
/// # use burn::module::Initializer;
/// let device = Device::default().autodiff();
/// let layer = LinearConfig::new(4, 2);
/// # let layer = layer.with_initializer(Initializer::Constant { value: 0.1 });
/// let mut model = to_precision(layer.init(&device), FloatDType::F16);
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
    /// Those that were scaled since the last update.
    losses: Vec<Tensor<1>>,
    /// The parameters whose gradients were unscaled since their last step.
    unscaled: HashSet<ParamId>,
    /// The parameters of the steps since the last update.
    stepped_ids: HashSet<ParamId>,
    seen: Observation,
    /// Whether there was a step since the last update, or why there was none.
    stepped: Result<(), ScalingFailure>,
}

impl GradScaler {
    /// Starts at the scale of the description.
    ///
    /// # Errors
    /// [`ControlError`] names the field, the value, and what is allowed.
    pub fn new(scaling: LossScaling) -> Result<Self, ControlError> {
        let scaler = scaling.build()?;
        Ok(Self {
            scaler,
            clip: None,
            losses: vec![],
            unscaled: HashSet::new(),
            stepped_ids: HashSet::new(),
            seen: Observation::default(),
            stepped: Err(ScalingFailure::NotStepped),
        })
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
        self.unscaled.extend(ids(module, &gradients));
        let gradients = in_f32_gradients(module, gradients);
        Rescale::multiply(module, gradients, 1.0 / self.scaler.scale())
    }

    /// Makes the update, unless a gradient or the loss is infinite or NaN: then the model comes back as it was.
    /// Waits for the device, once. Gradients that were not [unscaled](Self::unscale) since the last step of this
    /// model are unscaled first.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: GradientsParams,
        optimize: impl FnOnce(M, GradientsParams) -> M,
    ) -> M {
        if self.losses.is_empty() {
            self.stepped = Err(ScalingFailure::NotScaled);
            return model;
        }
        let ids = ids(&model, &gradients);
        if ids.iter().any(|id| !self.stepped_ids.insert(*id)) {
            log::error!(
                "a GradScaler made a second step() of the same parameters without an update() between them, \
                 so its scale stands still; call update() once after the steps of all optimizers"
            );
        }
        let unscaled = ids.iter().filter(|id| self.unscaled.remove(id)).count() > 0;
        let (gradients, factor) = match unscaled {
            true => (gradients, 1.0),
            false => (in_f32_gradients(&model, gradients), 1.0 / self.scaler.scale()),
        };
        let rescale = Rescale { factor, clip: self.clip };
        let (gradients, norm) = rescale.rescale(&model, gradients.into());
        let seen = read(norm, self.losses.clone(), vec![], None);
        // That of another model since the last update.
        let overflow = self.stepped.is_ok() && self.seen.overflow;
        self.seen = Observation { overflow: overflow || seen.overflow, ..seen };
        if self.stepped != Err(ScalingFailure::NotScaled) {
            self.stepped = Ok(());
        }
        match gradients {
            GradAdaptor::Single(gradients) if seen.is_finite() => optimize(model, gradients),
            _ => model,
        }
    }

    /// Moves the scale by what the steps since the last update saw, and says what became of them: a
    /// scheduler's step may depend on it.
    ///
    /// # Errors
    /// [`ScalingFailure::Scaling`] where training cannot go on: see [`LossScaling::max_failures`];
    /// [`ScalingFailure::NotStepped`] and [`ScalingFailure::NotScaled`] where something was left out.
    pub fn update(&mut self) -> Result<ScaledUpdate, ScalingFailure> {
        self.losses.clear();
        self.unscaled.clear();
        self.stepped_ids.clear();
        std::mem::replace(&mut self.stepped, Err(ScalingFailure::NotStepped))?;
        Ok(self.scaler.observe(&self.seen)?)
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

/// The ids of the parameters that have a gradient.
fn ids<M: Module>(module: &M, gradients: &GradientsParams) -> HashSet<ParamId> {
    let mut ids = Ids { gradients, found: HashSet::new() };
    module.visit(&mut ids);
    ids.found
}

struct Ids<'a> {
    gradients: &'a GradientsParams,
    found: HashSet<ParamId>,
}

impl ModuleVisitor for Ids<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.gradients.get::<D>(param.id).is_some() {
            self.found.insert(param.id);
        }
    }
}

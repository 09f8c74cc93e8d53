//! Burn's optimizers with a scheduled momentum.

use crate::update::current_momentum;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    LearningRate, Lion, LionConfig, Optimizer, RmsProp, RmsPropConfig, Sgd, SgdConfig,
};
use burn::tensor::{Device, Tensor};
use std::fmt;
use std::sync::Arc;

/// One of Burn's optimizers with a scheduled momentum (SGD, RMSProp) or β₁ (Lion).
///
/// It is made from the optimizer's configuration. In a learner or
/// [`TrainingLoop`](crate::TrainingLoop) with a momentum schedule, update t uses μ(t); elsewhere it is the
/// configured optimizer. Maths, state and record are Burn's: each update makes a new optimizer, which is
/// free because Burn's optimizers hold no tensors.
///
/// SGD: v ← μ(t) v + (1 − dampening) g, and w ← w − η v, or w − η (g + μ(t) v) with Nesterov momentum, as
/// in PyTorch. If the configuration has no momentum, dampening is 0, as in torch. For Adam, see
/// [`ScheduledAdam`](super::ScheduledAdam).
///
/// ```
/// use burn::optim::SgdConfig;
/// use burn_anneal::momentum::ScheduledMomentum;
/// use burn_anneal::prelude::*;
///
/// # fn train<M: burn::module::Module>(model: M, run: RunLength) -> Result<(), BuildError> {
/// // Critically damped: the rate that goes with each momentum on a curvature of 50.
/// let momentum = linear(0.5, 0.95);
/// let schedule = momentum.clone().follow_momentum(50.0);
/// let optimizer = ScheduledMomentum::from(SgdConfig::new());
/// let training = LearnerBuilder::new(model, optimizer, schedule).run(run).momentum(momentum).build_loop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScheduledMomentum<O> {
    at: Arc<dyn Fn(f64) -> O + Send + Sync>,
    own: O,
}

impl<O: fmt::Debug> fmt::Debug for ScheduledMomentum<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduledMomentum").field("own", &self.own).finish_non_exhaustive()
    }
}

impl<O: Optimizer> ScheduledMomentum<O> {
    /// Wraps any optimizer: `at` makes it with a given momentum, `own` is used without a schedule.
    pub fn new(own: O, at: impl Fn(f64) -> O + Send + Sync + 'static) -> Self {
        Self { at: Arc::new(at), own }
    }
}

#[cfg(feature = "flex")]
impl<O> ScheduledMomentum<O> {
    /// The optimizer with a given momentum.
    pub(crate) fn at(&self, momentum: f64) -> O {
        (self.at)(momentum)
    }

    /// The optimizer without a schedule.
    pub(crate) fn own(&self) -> &O {
        &self.own
    }
}

impl From<LionConfig> for ScheduledMomentum<Lion> {
    fn from(config: LionConfig) -> Self {
        Self::new(config.build(), move |beta_1| config.clone().with_beta_1(beta_1 as f32).build())
    }
}

impl From<RmsPropConfig> for ScheduledMomentum<RmsProp> {
    fn from(config: RmsPropConfig) -> Self {
        Self::new(config.build(), move |momentum| {
            config.clone().with_momentum(momentum as f32).build()
        })
    }
}

impl From<SgdConfig> for ScheduledMomentum<Sgd> {
    fn from(config: SgdConfig) -> Self {
        // Burn's configuration exposes its momentum only when serialized.
        let fields = serde_json::to_value(&config).unwrap_or_default();
        let own = fields.get("momentum").cloned().unwrap_or_default();
        // Also `None` for NaN, which JSON cannot represent.
        let own: Option<MomentumConfig> = serde_json::from_value(own).unwrap_or_default();
        let form = own.unwrap_or_else(|| MomentumConfig::new().with_dampening(0.0));
        Self::new(config.build(), move |momentum| {
            let form = MomentumConfig { momentum, ..form.clone() };
            config.clone().with_momentum(Some(form)).build()
        })
    }
}

impl<O: Optimizer> Optimizer for ScheduledMomentum<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        match current_momentum() {
            Some(momentum) => (self.at)(momentum).step(rate, weight, gradient, state),
            None => self.own.step(rate, weight, gradient, state),
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

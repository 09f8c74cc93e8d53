//! A training loop with private gradients.

use super::description::{Budget, DifferentialPrivacy};
use super::loader::PoissonLoader;
use super::secret::Secret;
use super::sum::{ClippedSum, Mechanism};
use crate::average::moved_by;
use crate::training_loop::TrainingLoop;
use crate::update::{ByParameter, Monitor, Monitored, UpdateError, Updated, fail};
use anneal_control::{MetricOf, OutOfRange, PrivacyAccountant};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Trains a model with differential privacy (DP-SGD) in a custom loop: a [`TrainingLoop`] that draws its samples, clips
/// the gradient of each item, adds noise, and counts the privacy spent. The reading methods of [`TrainingLoop`] are
/// available: `model`, `valid`, `explain`, `save`.
///
/// ```text
/// g̃ = (Σ_i g_i min(1, C / ‖g_i‖₂) + N(0, σ²C²)) / B
/// ```
///
/// [`LearnerBuilder::build_private_loop`](crate::LearnerBuilder::build_private_loop) builds it, with the usual groups,
/// schedules, optimizers, averages and checkpoints.
///
/// ```
/// use burn::data::dataloader::batcher::Batcher;
/// use burn::data::dataset::InMemDataset;
/// use burn::nn::LinearConfig;
/// use burn::optim::SgdConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::prelude::*;
///
/// struct Rows;
///
/// impl Batcher<[f32; 2], Tensor<2>> for Rows {
///     fn batch(&self, items: Vec<[f32; 2]>, device: &Device) -> Tensor<2> {
///         Tensor::<1>::from_floats(items.concat().as_slice(), device).reshape([-1, 2])
///     }
/// }
///
/// let data = InMemDataset::new((0..1_000).map(|i| [(i as f32).sin(), (i as f32).cos()]).collect());
/// let loader = PoissonLoader::new(data, Rows, 10);
/// let model = LinearConfig::new(2, 2).init(&Device::default().autodiff());
/// let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1))
///     .run(RunLength::updates(20))
///     .build_private_loop(DifferentialPrivacy::clip(1.0).budget(2.0, 1e-5), &loader)?;
/// for _ in 0..20 {
///     // The loss of a batch of one item.
///     training.update(|model, row| (model.forward(row.clone()) - row).square().sum())?;
/// }
/// assert!(training.epsilon(1e-5)? <= 2.0 && training.updates_left() == Some(0));
/// let model = training.into_model();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An update runs a forward and a backward pass for each item of the sample, one after the other. It reads one value
/// from the device: whether untrained parameters, for example of a frozen trunk, are unchanged. Noise is drawn on the
/// host, one number per weight and update.
///
/// **Guaranteed.** The noisy gradients of all updates, and everything derived only from them, are (ε, δ)-differentially
/// private for datasets that differ by one added item: weights, optimizer, checkpoints, averages, answers of
/// controllers, the log of updates, [`observation`](Monitored::observation). An infinite or NaN gradient counts as 0,
/// so no item adds more than C, up to the rounding of f32. Parameters without a gradient get noise too, and an empty
/// sample is an update, so the sample stays hidden.
///
/// **Not guaranteed.**
/// - The loss that your closure computes, and anything else that it outputs: it sees the data. The same holds for
///   metrics of the training data. Metrics of validation data do not protect the people in that data.
/// - Choices made by comparing several trainings, for example of the rate, or a range test on the same data. Each
///   training spends its ε, and the choice spends more.
/// - One item replaced by another, for which ε is larger; a person with several items.
/// - Updates that were made and discarded: a run resumed from an older checkpoint counts only the updates in it.
/// - Initial weights that were trained on the data.
/// - Attacks on rounding: noise is drawn in f64 and rounded to f32, and the clipped gradients are summed in f32.
/// - Time: a large sample takes longer.
/// - Anything, once the [seed](DifferentialPrivacy::seed) is known.
pub struct PrivateLoop<M, O> {
    training: TrainingLoop<M>,
    privacy: DifferentialPrivacy,
    mechanism: Mechanism,
    loader: PoissonLoader<O>,
    device: Device,
    secret: Secret,
}

impl<M, O> fmt::Debug for PrivateLoop<M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateLoop")
            .field("training", &self.training)
            .field("privacy", &self.privacy)
            .finish_non_exhaustive()
    }
}

impl<M, O> Monitored for PrivateLoop<M, O> {
    fn monitor(&self) -> &Monitor {
        self.training.monitor()
    }
}

/// Gives access to the methods that change neither the model nor the run.
impl<M, O> Deref for PrivateLoop<M, O> {
    type Target = TrainingLoop<M>;

    fn deref(&self) -> &TrainingLoop<M> {
        &self.training
    }
}

impl<M: Module, O> PrivateLoop<M, O> {
    pub(crate) fn new(
        training: TrainingLoop<M>,
        privacy: DifferentialPrivacy,
        mechanism: Mechanism,
        loader: PoissonLoader<O>,
        secret: Secret,
    ) -> Self {
        let device = training.model().devices().into_iter().next().unwrap_or_default();
        Self { training, privacy, mechanism, loader, device, secret }
    }

    /// Draws the sample of the next update and makes the update. Calls `loss` for each item with the batch of that
    /// item; it returns the loss, which is not stored. A loss without parameters, for example of an item without a
    /// target, adds nothing.
    ///
    /// # Errors
    /// [`UpdateError`] if training cannot continue. This includes a spent budget (see
    /// [`updates_left`](Self::updates_left)), a pass that changes running statistics, and a failing dataset, after
    /// which the same update can be tried again.
    pub fn update<const D: usize>(
        &mut self,
        mut loss: impl FnMut(&M, O) -> Tensor<D>,
    ) -> Result<Updated, Arc<UpdateError>> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        if let Some(error) = self.budget_spent() {
            return Err(self.fail(error));
        }
        let number = self.next_update();
        let (sum, moved) = moved_by(self.model(), || self.sum_of_sample(number, &mut loss));
        if !moved.is_empty() {
            return Err(self.fail(UpdateError::MovesStatistics { paths: moved }));
        }
        let weights = ByParameter::weights(self.model(), |_, trains| trains);
        let mean = sum?.noisy_mean(weights, &mut self.secret.noise(number));
        self.training.gradients = Some(mean.into_single(self.model()));
        self.training.update()
    }

    fn sum_of_sample<const D: usize>(
        &self,
        number: u64,
        loss: &mut impl FnMut(&M, O) -> Tensor<D>,
    ) -> Result<ClippedSum, UpdateError> {
        let (model, mut sum) = (self.model(), ClippedSum::new(self.mechanism));
        for batch in self.loader.sample(&self.secret, number, &self.device) {
            let failed = |error: DatasetError| UpdateError::Items { reason: error.to_string() };
            let loss = loss(model, batch.map_err(failed)?);
            if loss.is_tracked() {
                let gradient = GradientsParams::from_grads(loss.backward(), model);
                sum.add(&ByParameter::gradients(model, gradient.into()));
            }
        }
        Ok(sum)
    }

    /// The error if the budget allows no further update. Checked before the sample is drawn, so that no update goes
    /// uncounted.
    fn budget_spent(&self) -> Option<UpdateError> {
        let Budget { epsilon, delta } = self.privacy.budgeted()?;
        let accountant = self.accountant();
        let is_spent = accountant.epsilon_after(1, delta).is_ok_and(|next| next > epsilon);
        let updates = accountant.counted();
        is_spent.then_some(UpdateError::BudgetSpent { updates, epsilon, delta })
    }

    fn fail(&self, error: UpdateError) -> Arc<UpdateError> {
        let monitor = self.monitor();
        fail(&monitor.plan, &mut monitor.slot().lock(), error)
    }

    /// The accountant of the privacy spent, by noise and sampling rate of the updates.
    pub fn accountant(&self) -> PrivacyAccountant {
        let slot = self.monitor().slot();
        let state = slot.lock();
        state.controllers.privacy().cloned().expect("a private loop has one")
    }

    /// The ε of all updates so far at this δ, including updates before a resumed checkpoint.
    ///
    /// # Errors
    /// [`OutOfRange`] if δ is not above 0 and below 1.
    pub fn epsilon(&self, delta: f64) -> Result<f64, OutOfRange> {
        self.accountant().epsilon(delta)
    }

    /// The number of updates that the budget still allows; `None` without a budget.
    pub fn updates_left(&self) -> Option<u64> {
        let budget = self.privacy.budgeted()?;
        self.accountant().steps_within(budget.epsilon, budget.delta).ok()
    }

    /// σ, as given or as found for the budget.
    pub fn noise_multiplier(&self) -> f64 {
        self.mechanism.noise_multiplier
    }

    /// Like [`TrainingLoop::end_epoch`], with metrics of validation data.
    ///
    /// # Errors
    /// The same as there.
    pub fn end_epoch(
        &mut self,
        metrics: impl IntoIterator<Item = (MetricOf, f64)>,
    ) -> Result<(), Arc<UpdateError>> {
        self.training.end_epoch(metrics)
    }

    /// Like [`TrainingLoop::into_model`].
    pub fn into_model(self) -> M {
        self.training.into_model()
    }
}

//! What private training requires of the other parts, and what it refuses.

use super::{LearnerBuilder, NamedController};
use crate::build_error::BuildError;
use crate::private::{DifferentialPrivacy, PoissonLoader, PrivateLoop, Secret, batch_norm};
use crate::update::half_parameters;
use anneal_control::{Controllers, Needs, Split};
use anneal_schedule::{RunLength, ScheduleExt};
use burn::module::Module;

/// What private training adds to the user's controllers.
#[derive(Clone, Default)]
pub(super) struct OfPrivacy {
    pub controllers: Vec<NamedController>,
    pub warning: Option<String>,
}

impl<M: Module> LearnerBuilder<M> {
    /// Checks all parts and builds a custom loop for differentially private training: see [`PrivateLoop`] for what this
    /// guarantees, and what it does not. Each update is one sample of the loader.
    ///
    /// Controllers, the log and metrics see only the noisy gradient. Parts that would leak anything else are errors:
    /// controllers that need the loss, norms of single batches, repeated batches, or metrics of training data; loss
    /// scaling, half precision and [`overflow_cap`](Self::overflow_cap), which follow gradients without noise; batch
    /// norms that are not frozen, which mix items and keep statistics of them; gradient accumulation. A [`PrivateRate`]
    /// and a
    /// [`PrivacyBudget`] are built from [`DifferentialPrivacy`]; passing one as a controller is an error in every training.
    ///
    /// [`clip_global_norm`](Self::clip_global_norm) is allowed: it clips the noisy gradient as a whole, and does not
    /// replace the clip of each item.
    ///
    /// # Errors
    /// [`BuildError`] names the part, the field, and what is allowed.
    ///
    /// [`PrivateRate`]: crate::control::PrivateRate
    /// [`PrivacyBudget`]: crate::control::PrivacyBudget
    pub fn build_private_loop<O>(
        mut self,
        privacy: DifferentialPrivacy,
        loader: &PoissonLoader<O>,
    ) -> Result<PrivateLoop<M, O>, BuildError> {
        let control = |error| BuildError::Control { part: "privacy", error };
        let run = self.run_of_loop()?;
        self.refuse_what_is_not_private(run)?;
        loader.check()?;
        let mechanism = privacy.mechanism(loader, run).map_err(control)?;
        let parameters = match privacy.has_best_rate() {
            true => self.parameters_with_noise(run)?,
            false => 0,
        };
        let rate = loader.sampling_rate();
        let controllers = privacy.controllers(&mechanism, rate, parameters).map_err(control)?;
        self.of_privacy = Some(OfPrivacy { controllers, warning: privacy.warning() });
        let secret =
            Secret::new(privacy.seed).map_err(|reason| BuildError::NoRandomness { reason })?;
        let training = self.build_loop()?;
        Ok(PrivateLoop::new(training, privacy, mechanism, loader.clone(), secret))
    }

    fn refuse_what_is_not_private(&self, run: RunLength) -> Result<(), BuildError> {
        if let Some(path) = batch_norm(&self.model) {
            return Err(BuildError::MixesItems { path });
        }
        let accumulates = run.has_ramp() || run.batches_per_update(0) > 1;
        let refused = [
            (self.config.half_precision.is_some(), "half_precision", "clip and noise need f32"),
            (!half_parameters(&self.model).is_empty(), "model", "clip and noise need f32"),
            (
                self.config.overflow_cap.is_some(),
                "overflow_cap",
                "it follows gradients without noise",
            ),
            (
                self.statistics.is_some(),
                "recompute_statistics",
                "its statistics of the data have no noise",
            ),
            (
                accumulates,
                "run",
                "an update is one sample; remove gradient accumulation and devices, and raise expected_batch instead",
            ),
        ];
        match refused.into_iter().find(|(is_there, ..)| *is_there) {
            Some((_, part, reason)) => Err(BuildError::NotPrivate { part, reason }),
            None => Ok(()),
        }
    }

    /// How many entries the gradient has, which must be the same in all updates.
    fn parameters_with_noise(&self, run: RunLength) -> Result<u64, BuildError> {
        let schedule = self.config.schedule.clone().resolve(run)?;
        let (groups, _) = self.resolve_groups(&schedule, run)?;
        let groups = &groups.table.groups;
        if groups.iter().any(|group| group.trains_from.is_some_and(|from| from > 0)) {
            let reason = "it needs a fixed number of parameters; remove it, or train the same groups throughout";
            return Err(BuildError::NotPrivate { part: "best_rate", reason });
        }
        let trained = groups.iter().filter(|group| !group.is_frozen(0));
        Ok(trained.map(|group| group.elements as u64).sum())
    }

    /// Checks that a controller of the user is not one that private training creates.
    pub(super) fn check_private_controller(
        &self,
        controllers: &Controllers,
        name: &str,
    ) -> Result<(), BuildError> {
        match controllers.needs_of(name).is_some_and(|needs| needs.private_gradient) {
            true => Err(BuildError::OfPrivacy { controller: name.to_string() }),
            false => Ok(()),
        }
    }

    /// Checks that controllers of private training see only the noisy gradient.
    pub(super) fn check_privacy(&self, controllers: &Controllers) -> Result<(), BuildError> {
        if self.of_privacy.is_none() {
            return Ok(());
        }
        if controllers.loss_scale().is_some() {
            let reason = "the data would decide which updates are skipped";
            return Err(BuildError::NotPrivate { part: "loss_scaling", reason });
        }
        let heard = |needs: Needs| {
            // Lists every field, so that a new one does not compile until it is handled here.
            let Needs {
                loss,
                batch_gradient_norm,
                largest_gradient,
                batch_again,
                task_cosine,
                gradient_norm: _,
                gradient_l1: _,
                gradient_dot: _,
                movement: _,
                last_movement: _,
                now: _,
                private_gradient: _,
            } = needs;
            let raw = [
                (loss, "the loss"),
                (batch_gradient_norm, "the norms of single batches"),
                (largest_gradient, "the largest entry of a batch's gradient"),
                (batch_again.is_some(), "a repeated batch"),
                (task_cosine, "the cosines between task gradients"),
            ];
            raw.into_iter().find(|(is_needed, _)| *is_needed).map(|(_, of)| of)
        };
        let needs = |name| controllers.needs_of(name).and_then(heard);
        if let Some((name, of)) = controllers.names().find_map(|name| Some((name, needs(name)?))) {
            let (controller, of) = (name.to_string(), of.to_string());
            return Err(BuildError::HearsOfData { controller, of });
        }
        let mut metrics = controllers.metrics().into_iter();
        match metrics.find(|(metric, _)| metric.split == Split::Train) {
            Some((metric, controller)) => {
                Err(BuildError::HearsOfData { controller, of: format!("the metric `{metric}`") })
            }
            None => Ok(()),
        }
    }
}

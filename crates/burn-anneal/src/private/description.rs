//! Describes differentially private training.

use super::PoissonLoader;
use super::sum::Mechanism;
use crate::builder::NamedController;
use anneal_control::{
    Describe, OutOfRange, PrivacyAccountant, PrivacyBudget, PrivateRate, PrivateStep,
};
use anneal_schedule::{RunLength, Span};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Describes how the gradients of a training become differentially private, for
/// [`LearnerBuilder::build_private_loop`](crate::LearnerBuilder::build_private_loop).
///
/// ```text
/// g̃ = (Σ_i g_i min(1, C / ‖g_i‖₂) + N(0, σ²C²)) / B
/// ```
///
/// over the items of a sample, with B the *expected* batch of the [`PoissonLoader`], and noise on every entry of every
/// trained parameter.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `clip` C | required | 10⁻¹² to 10¹² |
/// | `budget` ε, δ | none: the spending is counted, without a limit | ε finite, above 0; δ above 0, below 1/items |
/// | `noise_multiplier` σ | the least that keeps the whole run within the budget | finite, above 0 |
/// | `best_rate` | none: the schedule's own rates | see [`BestRate`] |
/// | `seed` | none: from the operating system | any |
///
/// Give a budget, a noise multiplier, or both. With a budget, the run stops before an update that would exceed it.
///
/// C has the unit of one item's gradient: the median norm on public data is a good start. For the rate, only η C
/// matters: a smaller clip needs a larger rate.
///
/// Source: Abadi et al. 2016, "Deep learning with differential privacy", arXiv 1607.00133, algorithm 1, with its lots
/// drawn as its analysis assumes.
///
/// ```
/// use burn_anneal::DifferentialPrivacy;
///
/// // ε = 2 at δ = 10⁻⁵ by the end of the run, whatever its length is.
/// let privacy = DifferentialPrivacy::clip(1.0).budget(2.0, 1e-5);
/// // Or so much noise, until the budget is spent.
/// let privacy = privacy.noise_multiplier(1.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DifferentialPrivacy {
    clip: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noise_multiplier: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best_rate: Option<BestRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    pub epsilon: f64,
    pub delta: f64,
}

/// Sets the rate of each private update to the best one according to the noisy gradient: a [`PrivateRate`] with the
/// clip, noise, batch and number of parameters of the training.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `smoothness` L | required | finite, above 0: the rate is below 1/L; of public data, or a guess |
/// | `half_life` | none: no smoothing | a span of at least 1 update |
/// | `limits`: least, most of the factor on the schedule's rate | 1/100, 100 | finite, 0 < least < most |
///
/// ```
/// use burn_anneal::{BestRate, DifferentialPrivacy};
/// let privacy = DifferentialPrivacy::clip(1.0)
///     .budget(2.0, 1e-5)
///     .best_rate(BestRate::new(4.0).half_life(20).limits(0.1, 10.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestRate {
    smoothness: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    half_life: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<(f64, f64)>,
}

impl BestRate {
    /// Describes the best rate for a loss with this largest curvature.
    pub fn new(smoothness: f64) -> Self {
        Self { smoothness, half_life: None, limits: None }
    }

    /// Smooths the norm of the noisy gradient by a moving mean with this half-life.
    #[must_use]
    pub fn half_life(self, updates: impl Into<Span>) -> Self {
        Self { half_life: Some(updates.into()), ..self }
    }

    /// Limits the factor on the schedule's rate.
    #[must_use]
    pub fn limits(self, least: f64, most: f64) -> Self {
        Self { limits: Some((least, most)), ..self }
    }

    fn of(&self, mechanism: &Mechanism, parameters: u64) -> PrivateRate {
        let rule = PrivateRate::new(PrivateStep {
            noise_multiplier: mechanism.noise_multiplier,
            clip: mechanism.clip,
            batch: mechanism.batch,
            parameters,
            smoothness: self.smoothness,
        });
        let rule = self.half_life.map_or(rule, |half_life| rule.half_life(half_life));
        self.limits.map_or(rule, |(least, most)| rule.limits(least, most))
    }
}

impl From<f64> for BestRate {
    fn from(smoothness: f64) -> Self {
        Self::new(smoothness)
    }
}

/// The name of the controller that counts updates or keeps to the budget.
const PRIVACY: &str = "privacy";
/// The name of the controller that chooses rates.
const PRIVATE_RATE: &str = "private rate";

impl DifferentialPrivacy {
    /// Clips the gradient of each item to this norm.
    pub fn clip(norm: f64) -> Self {
        Self { clip: norm, noise_multiplier: None, budget: None, best_rate: None, seed: None }
    }

    /// Sets the ε that the run may spend at this δ; it stops before an update that would spend more.
    #[must_use]
    pub fn budget(self, epsilon: f64, delta: f64) -> Self {
        Self { budget: Some(Budget { epsilon, delta }), ..self }
    }

    /// Sets the standard deviation of the noise on a sum of clipped gradients, divided by the clip.
    #[must_use]
    pub fn noise_multiplier(self, noise_multiplier: f64) -> Self {
        Self { noise_multiplier: Some(noise_multiplier), ..self }
    }

    /// Sets each rate to the best one according to the noisy gradient; see [`BestRate`], or give only the smoothness.
    #[must_use]
    pub fn best_rate(self, best_rate: impl Into<BestRate>) -> Self {
        Self { best_rate: Some(best_rate.into()), ..self }
    }

    /// Draws samples and noise from generators with this seed, ChaCha20 with one stream per update, so that the run can
    /// be repeated, and resumes from a checkpoint bit for bit.
    ///
    /// **For tests only.** Whoever knows the seed can remove the noise; and two runs with the same seed, for example at
    /// two rates, have the same noise, so together they are not private.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The warning about a setting that is allowed but hardly intended.
    pub(crate) fn warning(&self) -> Option<String> {
        let seed = self.seed?;
        Some(format!(
            "privacy: samples and noise come from the seed {seed}, which is for tests only; remove the seed for private training"
        ))
    }

    /// Checks the description and finds the noise.
    pub(crate) fn mechanism<O>(
        &self,
        loader: &PoissonLoader<O>,
        run: RunLength,
    ) -> Result<Mechanism, OutOfRange> {
        let (clip, batch) = (self.clip, loader.expected_batch() as f64);
        OutOfRange::require("clip", clip, (1e-12..=1e12).contains(&clip), "10⁻¹² to 10¹²")?;
        if let Some(Budget { delta, .. }) = self.budget {
            let ok = delta > 0.0 && delta < 1.0 / loader.items() as f64;
            OutOfRange::require(
                "budget.delta",
                delta,
                ok,
                "above 0, below 1 divided by the number of items",
            )?;
        }
        let noise_multiplier = match self.noise_multiplier {
            Some(noise_multiplier) => noise_multiplier,
            None => self.noise_for(loader.sampling_rate(), run)?,
        };
        let deviation = noise_multiplier * clip;
        let ok = [deviation, deviation / batch].iter().all(|it| (*it as f32).is_normal())
            && deviation > 0.0;
        let allowed = "finite, above 0, with σC and σC/B in the range of f32: without noise nothing is private";
        OutOfRange::require("noise_multiplier", noise_multiplier, ok, allowed)?;
        Ok(Mechanism { clip, noise_multiplier, batch })
    }

    /// The least noise that keeps the run within the budget.
    fn noise_for(&self, sampling_rate: f64, run: RunLength) -> Result<f64, OutOfRange> {
        let updates = run.resolve().ok().and_then(|run| run.updates());
        let (Some(Budget { epsilon, delta }), Some(updates)) = (self.budget, updates) else {
            let allowed =
                "given, or a budget and a run of known length: without noise nothing is private";
            let value = "none";
            return Err(OutOfRange::new("noise_multiplier", value, allowed));
        };
        PrivacyAccountant::noise_multiplier_for(epsilon, delta, sampling_rate, updates)
    }

    /// The controllers that count updates and choose rates, for a training that adds noise to `parameters` parameters.
    pub(crate) fn controllers(
        &self,
        mechanism: &Mechanism,
        sampling_rate: f64,
        parameters: u64,
    ) -> Result<Vec<NamedController>, OutOfRange> {
        let noise_multiplier = mechanism.noise_multiplier;
        let counts: Arc<dyn Describe> = match self.budget {
            Some(Budget { epsilon, delta }) => {
                Arc::new(PrivacyBudget { epsilon, delta, noise_multiplier, sampling_rate })
            }
            None => Arc::new(PrivacyAccountant::new(noise_multiplier, sampling_rate)?),
        };
        let mut controllers = vec![(PRIVACY.to_string(), counts)];
        if let Some(best_rate) = self.best_rate {
            let rule = best_rate.of(mechanism, parameters);
            controllers.push((PRIVATE_RATE.to_string(), Arc::new(rule)));
        }
        Ok(controllers)
    }

    pub(crate) fn has_best_rate(&self) -> bool {
        self.best_rate.is_some()
    }

    pub(super) fn budgeted(&self) -> Option<Budget> {
        self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_it() {
        let bare = DifferentialPrivacy::clip(1.5).budget(2.0, 1e-5);
        let text = r#"{"clip":1.5,"budget":{"epsilon":2.0,"delta":0.00001}}"#;
        assert_eq!(serde_json::from_str::<DifferentialPrivacy>(text).unwrap(), bare);
        let best_rate = BestRate::new(4.0).half_life(Span::percent(2.0)).limits(0.1, 1.0);
        let all = bare.noise_multiplier(1.1).seed(7).best_rate(best_rate);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<DifferentialPrivacy>(&text).unwrap(), all);
        assert!(serde_json::from_str::<DifferentialPrivacy>(r#"{"clip":1.5,"nose":1}"#).is_err());
        assert_eq!(bare.best_rate(4.0), bare.best_rate(BestRate::new(4.0)));
    }
}

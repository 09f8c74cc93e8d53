//! The privacy spent by training: a Rényi accountant.

use super::check_noise_multiplier;
use super::conversion::min_epsilon;
use super::sampled_gaussian::divergence;
use crate::{Answer, Controller, Event, Needs, OutOfRange, Stop};
use serde::{Deserialize, Serialize};

/// Counts the updates of DP-SGD, and computes the (ε, δ) of their differential privacy.
///
/// An update draws every item independently with probability q (Poisson sampling), clips the gradient of each
/// drawn item to a norm of C, and adds normal noise of deviation σC to each entry of their sum. At each order
/// α its Rényi divergence, between data sets that differ by one additional item, is
///
/// ```text
/// ρ(α) = ln A(α) / (α − 1)        α / 2σ² for q = 1
/// A(α) = Σ_k C(α, k) (1 − q)^(α−k) q^k e^((k² − k) / 2σ²)        for integer α
/// ```
///
/// and for other α a bound by the same paper's series, which is loose or infinite for large q. The
/// divergences of updates add up, even across different noise and sampling rates, and
///
/// ```text
/// ε = min over α of Σρ + ln(1 − 1/α) − ln(δ α) / (α − 1)        at least 0; 0 if δ² > 1 − e^(−Σρ) at any α
/// ```
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `noise_multiplier` σ | required | finite, above 0 |
/// | `sampling_rate` q | required | above 0, at most 1: expected batch size over items |
/// | `orders` α | 1.1, 1.2 … 10.9, 11, 12 … 63, 128, 256, 512, 1024 | finite, above 1 and at most 10,000 |
///
/// The numbers match dp-accounting's `RdpAccountant`. It is plain data, so a file or a checkpoint holds it as
/// JSON: the noise, the rate and the updates of each phase. A change of noise or rate starts a phase; phases
/// with the same noise and rate are merged.
///
/// **What ε covers.** Everything the updates release together: the noisy gradients, and whatever is computed
/// from them alone, for example the weights after each update. δ should be well below 1 over the number of
/// items.
///
/// **What it does not cover.**
/// - Batches cut from a shuffled epoch, or of a fixed size: sampling is Poisson, so batches vary in size, and
///   an item may be in two consecutive ones, or in none of an epoch.
/// - Data sets that differ by one replaced item, for which ε is larger.
/// - Trainings made to find hyperparameters; metrics of the training data; the number of items, if that is
///   secret. Each spends more.
/// - Floating-point noise, which is not truly normal, or noise from a generator that is not cryptographic.
/// - Losses, norms, or rates computed from gradients before the noise.
///
/// As a [`Controller`] it counts each update, and never stops the run. Restored from a checkpoint, even one
/// of a [`PrivacyBudget`](crate::PrivacyBudget), it keeps its counts, and continues with its own noise and
/// rate.
///
/// It is an upper bound: an accountant based on privacy loss distributions may find a smaller ε for the same
/// updates.
///
/// Source: Mironov, Talwar and Zhang 2019, "Rényi differential privacy of the sampled Gaussian mechanism", arXiv
/// 1908.10530 (A); Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", arXiv 2004.00010,
/// proposition 12 (ε); dp-accounting 0.6.0.
///
/// ```
/// use anneal_control::PrivacyAccountant;
///
/// // 60,000 images, 256 of them expected in a batch, 15 epochs.
/// let mut accountant = PrivacyAccountant::new(1.1, 256.0 / 60_000.0)?;
/// accountant.steps(3_500);
/// assert!((accountant.epsilon(1e-5)? - 1.2788).abs() < 1e-4);
/// // How many more updates until ε is 2? And with how much noise would all of them have had an ε of 1?
/// assert_eq!(accountant.steps_within(2.0, 1e-5)?, 5_142);
/// let noise = PrivacyAccountant::noise_multiplier_for(1.0, 1e-5, 256.0 / 60_000.0, 3_500)?;
/// assert!((noise - 1.2615).abs() < 1e-4);
/// # Ok::<(), anneal_control::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct PrivacyAccountant {
    orders: Vec<f64>,
    /// The last one is the current one.
    phases: Vec<Phase>,
}

/// Updates with the same noise and rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phase {
    noise_multiplier: f64,
    sampling_rate: f64,
    steps: u64,
    /// The divergences of one update, at each order.
    #[serde(skip)]
    divergences: Vec<f64>,
}

/// The serialized form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    #[serde(default = "default_orders", skip_serializing_if = "is_default")]
    orders: Vec<f64>,
    phases: Vec<Phase>,
}

fn default_orders() -> Vec<f64> {
    let tenths = (1..100).map(|tenths| 1.0 + f64::from(tenths) / 10.0);
    let integers = (11..64).chain([128, 256, 512, 1024]).map(f64::from);
    tenths.chain(integers).collect()
}

fn is_default(orders: &[f64]) -> bool {
    orders == default_orders()
}

impl PrivacyAccountant {
    /// An accountant for this noise multiplier and sampling rate, with no updates yet.
    ///
    /// # Errors
    /// [`OutOfRange`] for no noise, or a rate that is not a probability above 0.
    pub fn new(noise_multiplier: f64, sampling_rate: f64) -> Result<Self, OutOfRange> {
        Self::with_orders(noise_multiplier, sampling_rate, default_orders())
    }

    /// Like [`new`](Self::new), with custom Rényi orders. Each gives a valid bound, and the best one counts.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`OutOfRange`] for no order or one out of range.
    pub fn with_orders(
        noise_multiplier: f64,
        sampling_rate: f64,
        orders: Vec<f64>,
    ) -> Result<Self, OutOfRange> {
        let ok = |order: &f64| *order > 1.0 && *order <= 1e4;
        let all = !orders.is_empty() && orders.iter().all(ok);
        OutOfRange::require("orders", &orders, all, "at least one; above 1, at most 10,000")?;
        let phases = vec![Phase::new(noise_multiplier, sampling_rate, &orders)?];
        Ok(Self { orders, phases })
    }

    /// Counts an update.
    pub fn step(&mut self) {
        self.steps(1);
    }

    /// Counts several updates.
    pub fn steps(&mut self, steps: u64) {
        if let Some(now) = self.phases.last_mut() {
            now.steps = now.steps.saturating_add(steps);
        }
    }

    /// Changes the noise multiplier or sampling rate from here on. The privacy spent so far remains.
    ///
    /// # Errors
    /// [`OutOfRange`] as in [`new`](Self::new); nothing changes in that case.
    pub fn change(&mut self, noise_multiplier: f64, sampling_rate: f64) -> Result<(), OutOfRange> {
        let same = |phase: &Phase| {
            (phase.noise_multiplier, phase.sampling_rate) == (noise_multiplier, sampling_rate)
        };
        let now = match self.phases.iter().position(same) {
            Some(known) => self.phases.remove(known),
            None => Phase::new(noise_multiplier, sampling_rate, &self.orders)?,
        };
        self.phases.retain(|phase| phase.steps > 0);
        self.phases.push(now);
        Ok(())
    }

    /// The number of counted updates.
    pub fn counted(&self) -> u64 {
        self.phases.iter().fold(0, |sum, phase| sum.saturating_add(phase.steps))
    }

    /// The Rényi orders, in the given order.
    pub fn orders(&self) -> &[f64] {
        &self.orders
    }

    /// The ε of all counted updates at this δ: 0 before the first; infinite if no order bounds it, as with
    /// very little noise.
    ///
    /// # Errors
    /// [`OutOfRange`] for a δ that is not above 0 and below 1.
    pub fn epsilon(&self, delta: f64) -> Result<f64, OutOfRange> {
        self.epsilon_after(0, delta)
    }

    /// The ε after `more` further updates.
    ///
    /// # Errors
    /// [`OutOfRange`] for a δ that is not above 0 and below 1.
    pub fn epsilon_after(&self, more: u64, delta: f64) -> Result<f64, OutOfRange> {
        Ok(self.least(more, delta)?.0)
    }

    /// The Rényi order that attains this ε, the first of several: if it is at either end, orders beyond it
    /// might give a smaller ε.
    ///
    /// # Errors
    /// [`OutOfRange`] for a δ that is not above 0 and below 1.
    pub fn best_order(&self, delta: f64) -> Result<f64, OutOfRange> {
        Ok(self.least(0, delta)?.1)
    }

    /// ε after `more` further updates, and its order.
    fn least(&self, more: u64, delta: f64) -> Result<(f64, f64), OutOfRange> {
        let ok = delta > 0.0 && delta < 1.0;
        OutOfRange::require("delta", delta, ok, "above 0, below 1")?;
        let mut spent = vec![0.0; self.orders.len()];
        let last = self.phases.len() - 1;
        for (i, phase) in self.phases.iter().enumerate() {
            let steps = phase.steps.saturating_add(if i == last { more } else { 0 });
            // Without updates, even an infinite divergence counts as 0.
            if steps > 0 {
                let updates = phase.divergences.iter().map(|divergence| steps as f64 * divergence);
                spent.iter_mut().zip(updates).for_each(|(spent, more)| *spent += more);
            }
        }
        Ok(min_epsilon(self.orders.iter().copied().zip(spent), delta))
    }
}

impl Controller for PrivacyAccountant {
    type State = Self;

    fn needs(&self) -> Needs {
        Needs { private_gradient: true, now: true, ..Needs::default() }
    }

    fn privacy(&self) -> Option<&PrivacyAccountant> {
        Some(self)
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Update(_) = event {
            self.step();
        }
        Ok(Answer::default())
    }

    fn state(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, mut state: Self) -> Result<(), OutOfRange> {
        if let Some(now) = self.phases.last() {
            state.change(now.noise_multiplier, now.sampling_rate)?;
        }
        *self = state;
        Ok(())
    }
}

impl Phase {
    fn new(noise_multiplier: f64, sampling_rate: f64, orders: &[f64]) -> Result<Self, OutOfRange> {
        check_noise_multiplier(noise_multiplier)?;
        let ok = sampling_rate > 0.0 && sampling_rate <= 1.0;
        OutOfRange::require("sampling_rate", sampling_rate, ok, "above 0, at most 1")?;
        let of = |order: &f64| divergence(noise_multiplier, sampling_rate, *order);
        let divergences = orders.iter().map(of).collect();
        Ok(Self { noise_multiplier, sampling_rate, steps: 0, divergences })
    }
}

impl From<PrivacyAccountant> for Saved {
    fn from(PrivacyAccountant { orders, phases }: PrivacyAccountant) -> Self {
        Self { orders, phases }
    }
}

impl TryFrom<Saved> for PrivacyAccountant {
    type Error = OutOfRange;

    fn try_from(Saved { orders, phases }: Saved) -> Result<Self, OutOfRange> {
        let mut phases = phases.into_iter();
        let none = || OutOfRange::new("phases", "[]", "at least one");
        let first = phases.next().ok_or_else(none)?;
        let mut accountant =
            Self::with_orders(first.noise_multiplier, first.sampling_rate, orders)?;
        accountant.steps(first.steps);
        for phase in phases {
            accountant.change(phase.noise_multiplier, phase.sampling_rate)?;
            accountant.steps(phase.steps);
        }
        Ok(accountant)
    }
}

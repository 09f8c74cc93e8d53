//! The noise of gradients, and how large a batch still pays off.

mod advice;
mod estimate;
mod moments;

pub use advice::{BatchAdvice, BatchCost};
pub use estimate::{GradientNoise, NoiseScaleEstimate};

use crate::describe::updates;
use crate::{
    Answer, AnyController, Controller, Describe, Event, Needs, OutOfRange, Run, Seen, Span, Stop,
};
use moments::Moments;
use serde::{Deserialize, Serialize};

/// Measures the gradient noise scale 𝓑 = tr Σ / |G|², the batch size at which noise and gradient have equal
/// length. It never changes an update.
///
/// An update of n batches of b items, from several devices or an accumulation, has gradients g₁ … g_n and
/// their mean ḡ. The noise of a single one has n times the variance of the mean's, so
///
/// ```text
/// s = (1/n) Σ ‖g_j‖²       E s = |G|² + tr Σ / b
/// m = ‖ḡ‖²                 E m = |G|² + tr Σ / (n b)
///
/// |G|² ≈ (n m − s) / (n − 1)          tr Σ ≈ b (s − m) n / (n − 1)
/// ```
///
/// Both are unbiased but very noisy in a single update, and their quotient is neither. So each is averaged
/// separately over updates, with weights that halve every `half_life`, and 𝓑 is the quotient of the means.
/// Its 95 % interval is Fieller's, from the variances and covariance of both over the same updates; while
/// |G|² does not exceed its own uncertainty, 𝓑 is unknown. [`GradientNoise`] has all of this;
/// [`NoiseScaleEstimate::advice`] derives which batch size pays off, and at which rate.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `batch_size` b | that of the run | at least 1 item; must match the run if it has one |
/// | `half_life` | 100 updates | at least 4 updates |
///
/// An update of a single batch gives no measurement. A run in which no update has more is refused. The run
/// knows this from [`RunLength::gradient_accumulation`](crate::RunLength::gradient_accumulation) and
/// [`devices`](crate::RunLength::devices), which a launched run sets by itself.
///
/// Gradients are taken before clipping, unscaled, and averaged, whether an update uses their mean or their
/// sum. An update that an earlier controller skips is left out; so is one in which a batch may be shorter
/// than the others, for example the last of an epoch, and one that is not finite. The state counts all of
/// them: `single`, `uneven`, `not_finite` and `skipped`.
///
/// It costs a norm over the gradients of each batch, and one over the update, shared with clipping. The
/// interval assumes gradients that change little within a half-life. If batches are drawn without replacement
/// from N items, |G|² is lower than that of all N by tr Σ / N, so a noise scale near N or beyond is unknown
/// or meaningless.
///
/// Source: McCandlish et al. 2018, "An empirical model of large-batch training", arXiv 1812.06162, appendix A.1; Fieller
/// 1954, "Some problems in interval estimation".
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, NoiseScale, Observation, RunLength};
///
/// let run = RunLength::from_items(50_000, 32).gradient_accumulation(4).resolve()?;
/// let mut controllers = Controllers::default();
/// controllers.add("noise scale", NoiseScale::new().half_life(20).build(&run)?);
/// for number in 0..40 {
///     // ‖g_j‖² is |G|² + tr Σ/32, and ‖ḡ‖² is |G|² + tr Σ/128, up and down by a tenth.
///     let (gradient, noise) = (1.0 + 0.1 * (number as f64).sin(), 256.0);
///     let seen = Observation {
///         batches: Some(4),
///         batch_gradient_norm: Some(f64::sqrt(gradient + noise / 32.0)),
///         mean_gradient_norm: Some(f64::sqrt(gradient + noise / 128.0)),
///         ..Observation::default()
///     };
///     controllers.update(Due::at(number, 0.1), &seen)?;
/// }
/// let scale = controllers.gradient_noise().unwrap().scale.unwrap();
/// assert!(scale.low < 256.0 && 256.0 < scale.high && scale.high < 1.1 * scale.low);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NoiseScale {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_size: Option<u64>,
    #[serde(default = "default_half_life")]
    half_life: Span,
}

fn default_half_life() -> Span {
    Span::Steps(100)
}

/// At half of it, the effective updates stay below the required minimum.
const SHORTEST_HALF_LIFE: u64 = 4;

impl Default for NoiseScale {
    fn default() -> Self {
        Self { batch_size: None, half_life: default_half_life() }
    }
}

impl NoiseScale {
    /// Uses the batch size of the run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the items per batch, before accumulation and per device, if the run is not counted in items.
    #[must_use]
    pub fn batch_size(self, items: u64) -> Self {
        Self { batch_size: Some(items), ..self }
    }

    /// Sets the half-life of an update's weight.
    #[must_use]
    pub fn half_life(self, updates: impl Into<Span>) -> Self {
        Self { half_life: updates.into(), ..self }
    }

    fn items(&self, run: &Run) -> Result<u64, OutOfRange> {
        let allowed = "at least 1 item, and equal to that of the run if it is counted in items";
        let items = self.batch_size.or(run.batch_size());
        let ok = run.batch_size().is_none_or(|of_run| items == Some(of_run));
        let value = || items.map_or("unknown".into(), |items| items.to_string());
        items
            .filter(|items| *items >= 1 && ok)
            .ok_or_else(|| OutOfRange::new("batch_size", value(), allowed))
    }
}

impl Describe for NoiseScale {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let batch_size = self.items(run)? as f64;
        let half_life = updates("half_life", self.half_life, run)?;
        let ok = half_life >= SHORTEST_HALF_LIFE;
        OutOfRange::require("half_life", half_life, ok, "at least 4 updates")?;
        let batches = run.max_batches_per_update();
        let allowed = "at least 2: accumulate the gradients of several smaller batches, set with RunLength's \
                       gradient_accumulation, or train on several devices";
        OutOfRange::require("batches_per_update", batches, batches >= 2, allowed)?;
        let memory = (-1.0 / half_life as f64).exp2();
        Ok(Meter { batch_size, memory, state: MeterState::default() }.into())
    }
}

/// The measuring controller.
#[derive(Clone, Debug)]
struct Meter {
    batch_size: f64,
    /// The decay factor of all weights per update.
    memory: f64,
    state: MeterState,
}

/// The state that a checkpoint saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MeterState {
    moments: Moments,
    /// Measured updates.
    measured: u64,
    /// Updates of a single batch.
    single: u64,
    /// Updates whose batches may differ in size.
    uneven: u64,
    not_finite: u64,
    /// Updates that an earlier controller skipped.
    skipped: u64,
}

impl Meter {
    fn measure(&mut self, seen: &Seen<'_>) {
        let state = &mut self.state;
        let observation = seen.observation;
        let norms = observation.batch_gradient_norm.zip(observation.mean_gradient_norm);
        let batches = observation.batches.unwrap_or(0);
        let count = match norms {
            _ if observation.overflow => &mut state.not_finite,
            _ if seen.answered.skip.is_some() => &mut state.skipped,
            _ if batches < 2 => &mut state.single,
            None => &mut state.uneven,
            Some((of_batches, of_mean)) => {
                let (n, s, m) = (batches as f64, of_batches.powi(2), of_mean.powi(2));
                let squared_gradient = (n * m - s) / (n - 1.0);
                let noise = self.batch_size * (s - m) * n / (n - 1.0);
                let moments = state.moments.with(self.memory, squared_gradient, noise);
                match moments.is_finite() {
                    true => {
                        state.moments = moments;
                        &mut state.measured
                    }
                    false => &mut state.not_finite,
                }
            }
        };
        *count = count.saturating_add(1);
    }
}

impl Controller for Meter {
    type State = MeterState;

    fn needs(&self) -> Needs {
        Needs { gradient_norm: true, batch_gradient_norm: true, ..Needs::default() }
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn gradient_noise(&self) -> Option<GradientNoise> {
        let MeterState { moments, measured, .. } = &self.state;
        (*measured > 0).then(|| GradientNoise::of(moments, *measured))
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Update(seen) = event {
            self.measure(seen);
        }
        Ok(Answer::default())
    }

    fn state(&self) -> MeterState {
        self.state
    }

    fn restore(&mut self, state: MeterState) -> Result<(), OutOfRange> {
        let ok = state.moments.is_sound()
            && (state.measured > 0) == (state.moments != Moments::default());
        OutOfRange::require("moments", state.moments, ok, "those of measured updates")?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

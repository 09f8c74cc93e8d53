//! Handles updates whose gradients or loss are far above the usual.

use crate::describe::updates;
use crate::{
    Answer, AnyController, Controller, Describe, Event, Needs, Observation, OutOfRange, Run,
    Signal, Span, Stop,
};
use serde::{Deserialize, Serialize};

/// Clips gradients whose norm is far above its moving mean, or cuts the rate, or skips the update.
///
/// ```text
/// z = (g − μ) / (√v + ε)                               a spike if z > z*
/// g* = μ + z* √v · z*/z  for a spike, else g           what a spike is clipped to
/// μ ← α μ + (1 − α) g*      v ← α v + (1 − α) (g* − μ)²
/// ```
///
/// μ and v start as mean and variance of the first values, among which nothing is a spike. The larger a
/// spike, the closer to the mean it is clipped, and only its g* enters the statistics. Values below the mean
/// are not spikes. If all values were equal (v = 0), there is no scale, and nothing is a spike.
///
/// | made by | at a spike |
/// | --- | --- |
/// | [`clip`](Self::clip) | the gradients × g*/g: ZClip |
/// | [`cut`](Self::cut) | the rate × a factor, in this update and those after it, k in total; another spike restarts the count |
/// | [`skip`](Self::skip) | the update is skipped; the last of `most` in a row stops the run |
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `signal` | `gradient_norm` | `gradient_norm`, `gradient_l1`, `largest_gradient`; except with `clip`, also `loss` |
/// | `memory` α | 0.97 | 0 < α < 1 |
/// | `threshold` z* | 2.5 | finite, above 0 |
/// | `first` | 25 updates | at least 2 |
/// | `epsilon` ε | 1e-6 | finite, at least 0 |
/// | `cut`: factor, updates | given | 0 < factor < 1; at least 1 |
/// | `skip`: most | given | at least 1 |
///
/// The norm is measured before clipping by value or norm, and g*/g multiplies the clipped gradient: with
/// both, a spike is reduced twice. An ε that is not small compared with √v, as for norms below 1e-4, hides
/// spikes.
///
/// An infinite or NaN value is counted, does not enter the statistics, and is a spike for `cut` and `skip`; a
/// missing value is only counted. An update that an earlier controller skips, for example for an overflow of
/// a scaled gradient, is ignored. The state records what happened: `spikes`, the number of the `last_spike`,
/// and `not_finite`.
///
/// Source: Kumar et al. 2025, ZClip: Adaptive Spike Mitigation for LLM Pre-Training, arXiv 2504.02507; its
/// defaults, and the arithmetic of its package zclip 1.0.0 (`mode="zscore"`,
/// `clip_option="adaptive_scaling"`, without `max_grad_norm`, and without its 1e-6 in g*/(g + 1e-6)).
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Observation, RunLength, SpikeGuard};
///
/// let mut controllers = Controllers::default();
/// let run = RunLength::updates(1_000).resolve()?;
/// controllers.add("spikes", SpikeGuard::clip().first(2).epsilon(0.0).build(&run)?);
/// let factors = [0.9, 1.1, 2.0].map(|norm| {
///     let seen = Observation { gradient_norm: Some(norm), ..Observation::default() };
///     controllers.update(Due::at(0, 0.1), &seen).unwrap().answer.gradient_factor
/// });
/// // The mean is 1 and the deviation 0.1, so z is 10, and 2 becomes 1 + 2.5 · 0.1 · 2.5/10.
/// assert!(factors[1].is_none() && (factors[2].unwrap() - 1.0625 / 2.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SpikeGuard {
    reaction: Reaction,
    #[serde(default = "default_signal")]
    signal: Signal,
    #[serde(default = "default_memory")]
    memory: f64,
    #[serde(default = "default_threshold")]
    threshold: f64,
    #[serde(default = "default_first")]
    first: Span,
    #[serde(default = "default_epsilon")]
    epsilon: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Reaction {
    Clip,
    Cut { factor: f64, updates: Span },
    Skip { most: u64 },
}

fn default_signal() -> Signal {
    Signal::GradientNorm
}

fn default_memory() -> f64 {
    0.97
}

fn default_threshold() -> f64 {
    2.5
}

fn default_first() -> Span {
    Span::Steps(25)
}

fn default_epsilon() -> f64 {
    1e-6
}

impl SpikeGuard {
    /// Clips the gradients: ZClip.
    pub fn clip() -> Self {
        Self::new(Reaction::Clip)
    }

    /// Multiplies the rate by a factor for this many updates, starting with the spike.
    pub fn cut(factor: f64, updates: impl Into<Span>) -> Self {
        Self::new(Reaction::Cut { factor, updates: updates.into() })
    }

    /// Skips the update, and stops the run at the last of `most` consecutive ones.
    pub fn skip(most: u64) -> Self {
        Self::new(Reaction::Skip { most })
    }

    fn new(reaction: Reaction) -> Self {
        Self {
            reaction,
            signal: default_signal(),
            memory: default_memory(),
            threshold: default_threshold(),
            first: default_first(),
            epsilon: default_epsilon(),
        }
    }

    /// Sets the signal.
    #[must_use]
    pub fn signal(self, signal: impl Into<Signal>) -> Self {
        Self { signal: signal.into(), ..self }
    }

    /// Sets the share of the statistics that is kept from one value to the next.
    #[must_use]
    pub fn memory(self, memory: f64) -> Self {
        Self { memory, ..self }
    }

    /// Sets how many deviations above the mean make a spike.
    #[must_use]
    pub fn threshold(self, deviations: f64) -> Self {
        Self { threshold: deviations, ..self }
    }

    /// Sets how many values initialize the statistics.
    #[must_use]
    pub fn first(self, updates: impl Into<Span>) -> Self {
        Self { first: updates.into(), ..self }
    }

    /// Sets the constant added to the deviation.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }
}

impl Describe for SpikeGuard {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        use Signal::{GradientL1, GradientNorm, LargestGradient, Loss};
        let clips = self.reaction == Reaction::Clip;
        let (allows, allowed) = match clips {
            true => (false, "`gradient_norm`, `gradient_l1` or `largest_gradient`"),
            false => (true, "`gradient_norm`, `gradient_l1`, `largest_gradient` or `loss`"),
        };
        let of_gradient = matches!(self.signal, GradientNorm | GradientL1 | LargestGradient);
        let ok = of_gradient || (allows && self.signal == Loss);
        OutOfRange::require("signal", self.signal.to_string(), ok, allowed)?;
        let memory = self.memory > 0.0 && self.memory < 1.0;
        OutOfRange::require("memory", self.memory, memory, "above 0, below 1")?;
        let threshold = self.threshold > 0.0 && self.threshold.is_finite();
        OutOfRange::require("threshold", self.threshold, threshold, "finite, above 0")?;
        let epsilon = self.epsilon >= 0.0 && self.epsilon.is_finite();
        OutOfRange::require("epsilon", self.epsilon, epsilon, "finite, at least 0")?;
        let first = updates("first", self.first, run)?;
        OutOfRange::require("first", first, first >= 2, "at least 2 updates")?;
        let cut = match self.reaction {
            Reaction::Clip => 0,
            Reaction::Cut { factor, updates: length } => {
                let ok = factor > 0.0 && factor < 1.0;
                OutOfRange::require("factor", factor, ok, "above 0, below 1")?;
                let length = updates("updates", length, run)?;
                OutOfRange::require("updates", length, length >= 1, "at least 1")?;
                length
            }
            Reaction::Skip { most } => {
                OutOfRange::require("most", most, most >= 1, "at least 1")?;
                0
            }
        };
        Ok(Guard { rule: self.clone(), first, cut, state: GuardState::default() }.into())
    }
}

#[derive(Clone, Debug)]
struct Guard {
    rule: SpikeGuard,
    /// The number of values that initialize the statistics.
    first: u64,
    /// The number of updates with a cut rate after a spike.
    cut: u64,
    state: GuardState,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GuardState {
    /// The number of initial values so far.
    first: u64,
    mean: f64,
    variance: f64,
    spikes: u64,
    /// The update number of the last spike.
    last_spike: Option<u64>,
    in_a_row: u64,
    /// Remaining updates with a cut rate.
    left: u64,
    not_finite: u64,
}

impl Guard {
    fn value(&self, seen: &Observation) -> Option<f64> {
        match self.rule.signal {
            Signal::Loss => seen.loss,
            Signal::GradientL1 => seen.gradient_l1,
            Signal::LargestGradient => seen.largest_gradient,
            _ => seen.gradient_norm,
        }
    }

    /// Judges a value: returns what a spike is clipped to, or the value itself if it is not finite; `None` if
    /// it is not a spike.
    fn judge(&mut self, value: f64) -> Option<f64> {
        let GuardState { first, mean, variance, .. } = self.state;
        let SpikeGuard { memory, threshold, epsilon, reaction, .. } = self.rule;
        // Its square enters the variance.
        if !(value * value).is_finite() {
            self.state.not_finite += 1;
            return (reaction != Reaction::Clip).then_some(value);
        }
        if first < self.first {
            let count = (first + 1) as f64;
            let off = value - mean;
            self.state.first += 1;
            self.state.mean += off / count;
            self.state.variance += (off * (value - self.state.mean) - variance) / count;
            return None;
        }
        let deviation = variance.sqrt();
        let z = (value - mean) / (deviation + epsilon);
        let spike = z > threshold && variance > 0.0;
        let usual = if spike { mean + threshold * deviation * threshold / z } else { value };
        self.state.mean = memory * mean + (1.0 - memory) * usual;
        let off = usual - self.state.mean;
        self.state.variance = memory * variance + (1.0 - memory) * off * off;
        spike.then_some(usual)
    }

    fn react(&mut self, value: f64, usual: f64) -> Result<Answer, Stop> {
        match self.rule.reaction {
            Reaction::Clip => {
                return Ok(Answer { gradient_factor: Some(usual / value), ..Answer::default() });
            }
            Reaction::Cut { .. } => self.state.left = self.cut,
            Reaction::Skip { most } if self.state.in_a_row < most => {
                return Ok(Answer::skip("a spike, far above the moving mean"));
            }
            Reaction::Skip { most } => {
                return Err(Stop::new(format!(
                    "{} is {value}, the last of {most} spikes in a row above its moving mean of {:.4}: a lower \
                     learning rate may keep training stable; if such a rise is intended, allow more spikes",
                    self.rule.signal, self.state.mean,
                )));
            }
        }
        Ok(Answer::default())
    }

    /// The rate during a cut.
    fn rate(&mut self) -> Answer {
        let Reaction::Cut { factor, .. } = self.rule.reaction else { return Answer::default() };
        if self.state.left == 0 {
            return Answer::default();
        }
        self.state.left -= 1;
        Answer::factor(factor)
    }
}

impl Controller for Guard {
    type State = GuardState;

    fn needs(&self) -> Needs {
        Needs { now: true, ..self.rule.signal.needs() }
    }

    fn role(&self) -> Option<&'static str> {
        Some(match self.rule.reaction {
            Reaction::Clip => "a guard that clips spikes",
            Reaction::Cut { .. } => "a guard that cuts the rate at spikes",
            Reaction::Skip { .. } => "a guard that skips spikes",
        })
    }

    fn is_of_update(&self) -> bool {
        !matches!(self.rule.reaction, Reaction::Cut { .. })
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        if seen.answered.skip.is_some() {
            return Ok(self.rate());
        }
        let Some(value) = self.value(seen.observation) else {
            self.state.not_finite += 1;
            return Ok(self.rate());
        };
        let Some(usual) = self.judge(value) else {
            self.state.in_a_row = 0;
            return Ok(self.rate());
        };
        self.state.spikes += 1;
        self.state.in_a_row += 1;
        self.state.last_spike = Some(seen.number);
        Ok(self.react(value, usual)?.then(self.rate()))
    }

    fn state(&self) -> GuardState {
        self.state.clone()
    }

    fn restore(&mut self, state: GuardState) -> Result<(), OutOfRange> {
        let variance = state.variance;
        OutOfRange::require("variance", variance, variance >= 0.0, "at least 0")?;
        self.state = GuardState { left: state.left.min(self.cut), ..state };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Due, FiniteGuard, RunLength};

    fn of_norm(norm: f64) -> Observation {
        Observation { gradient_norm: Some(norm), ..Observation::default() }
    }

    /// Wandering norms, with spikes in updates 40, 41 and 80, and a dip in 60.
    fn norms() -> Vec<f64> {
        let norm = |t: u64| {
            let noise = (t * t * 7 % 31) as f64 / 31.0;
            match t {
                40 => 9.0,
                41 => 4.0,
                60 => 0.01,
                80 => 300.0,
                _ => 1.5 - t as f64 / 200.0 + 0.3 * noise,
            }
        };
        (0..120).map(norm).collect()
    }

    /// ZClip as published: first a buffer, then the two averages. Returns the clipped norms.
    fn zclip(norms: &[f64]) -> Vec<f64> {
        let (first, rest) = norms.split_at(25);
        let mut mean = first.iter().sum::<f64>() / 25.0;
        let mut variance = first.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 25.0;
        let clipped = rest.iter().map(|&g| {
            let std = variance.sqrt();
            let z = (g - mean) / (std + 1e-6);
            let to = if z > 2.5 { mean + (2.5 * std) / (z / 2.5) } else { g };
            mean = 0.97 * mean + (1.0 - 0.97) * to;
            variance = 0.97 * variance + (1.0 - 0.97) * (to - mean).powi(2);
            to
        });
        first.iter().copied().chain(clipped).collect()
    }

    #[test]
    fn it_clips_as_zclip_does() {
        let mut driver = Driver::new(SpikeGuard::clip());
        let mut clipped = vec![];
        for (t, (norm, expected)) in norms().into_iter().zip(zclip(&norms())).enumerate() {
            let factor = driver.decide(&of_norm(norm)).answer.gradient_factor;
            let found = norm * factor.unwrap_or(1.0);
            assert!((found / expected - 1.0).abs() < 1e-12, "{t}: {found}, not {expected}");
            clipped.extend(factor.map(|_| t));
        }
        assert_eq!(clipped, [40, 41, 80]);
        assert_eq!(driver.state()["spikes"], 3);
        assert_eq!(driver.state()["last_spike"], 80);
    }

    #[test]
    fn it_cuts_the_rate_from_the_spike_on() {
        let mut driver = Driver::new(SpikeGuard::cut(0.25, 3));
        let rates: Vec<f64> = norms().iter().map(|norm| driver.update(&of_norm(*norm))).collect();
        let cut: Vec<usize> = (0..120).filter(|t| rates[*t] == 0.25).collect();
        // The spike in 41 restarts the count.
        assert_eq!(cut, [40, 41, 42, 43, 80, 81, 82]);
        assert_eq!(rates.iter().filter(|rate| **rate == 1.0).count(), 120 - 7);
        let mut driver =
            Driver::new(SpikeGuard::cut(0.25, Span::epochs(0.02)).signal(Signal::Loss));
        let losses = [1.0; 30].into_iter().chain([f64::NAN, 1.0, 1.0, f64::INFINITY, 1.0, 1.0]);
        let rates: Vec<f64> = losses.map(|loss| driver.loss(loss)).collect();
        assert_eq!(driver.update(&Observation::default()), 1.0, "none is no spike");
        assert_eq!(rates[29..], [1.0, 0.25, 0.25, 1.0, 0.25, 0.25, 1.0]);
        assert_eq!(
            (&driver.state()["not_finite"], &driver.state()["spikes"]),
            (&3.into(), &2.into())
        );
    }

    #[test]
    fn it_skips_and_stops() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("it", SpikeGuard::skip(2).first(2).build(&run).unwrap());
        let mut update = |norm| controllers.update(Due::at(0, 1.0), &of_norm(norm));
        let skips =
            [0.9, 1.1, 9.0, 1.0, 9.0].map(|norm| update(norm).unwrap().answer.skip.is_some());
        assert_eq!(skips, [false, false, true, false, true]);
        let error = update(8.0).unwrap_err().to_string();
        assert!(error.contains("gradient_norm is 8, the last of 2 spikes"), "{error}");
    }

    #[test]
    fn what_is_not_finite_moves_no_statistics() {
        let mut with = Driver::new(SpikeGuard::clip());
        let mut without = Driver::new(SpikeGuard::clip());
        for (t, norm) in norms().into_iter().enumerate() {
            if t % 7 == 0 {
                for norm in [Some(f64::NAN), Some(f64::INFINITY), Some(1e200), None] {
                    let seen = Observation { gradient_norm: norm, ..Observation::default() };
                    assert_eq!(with.decide(&seen).answer.gradient_factor, None);
                }
            }
            let seen = of_norm(norm);
            assert_eq!(with.decide(&seen).answer, without.decide(&seen).answer);
        }
        assert_eq!(with.state()["not_finite"], 4 * 18);
        assert_eq!(with.state()["mean"], without.state()["mean"]);
    }

    #[test]
    fn an_update_that_is_skipped_is_not_looked_at() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("guard", FiniteGuard::skip(9).unwrap());
        controllers.add("it", SpikeGuard::cut(0.5, 2).build(&run).unwrap());
        let overflow = Observation { overflow: true, ..of_norm(f64::INFINITY) };
        assert_eq!(controllers.update(Due::at(0, 1.0), &overflow).unwrap().answer.factor, None);
    }

    #[test]
    fn equal_values_say_nothing_of_what_is_usual() {
        let mut driver = Driver::new(SpikeGuard::clip().epsilon(0.0));
        for norm in [[0.0; 25].as_slice(), &[1.0]].concat() {
            assert_eq!(driver.decide(&of_norm(norm)).answer.gradient_factor, None);
        }
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let rules = [SpikeGuard::clip(), SpikeGuard::cut(0.5, 3), SpikeGuard::skip(5).memory(0.9)];
        for (rule, at) in
            rules.into_iter().flat_map(|rule| [10, 41, 100].map(|at| (rule.clone(), at)))
        {
            let mut whole = Driver::new(rule.clone());
            let (before, after) = (norms()[..at].to_vec(), norms()[at..].to_vec());
            before.iter().for_each(|norm| drop(whole.decide(&of_norm(*norm))));
            let mut resumed = Driver::new(rule.clone()).resume(&whole);
            for norm in after {
                assert_eq!(resumed.decide(&of_norm(norm)), whole.decide(&of_norm(norm)));
            }
            assert_eq!(resumed.state(), whole.state());
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<SpikeGuard>(&text).unwrap(), rule);
        }
        let short: SpikeGuard = serde_json::from_str(r#"{"reaction": "clip"}"#).unwrap();
        assert_eq!(short, SpikeGuard::clip());
    }

    #[test]
    fn refuses_each_field() {
        let run = RunLength::updates(10).resolve().unwrap();
        let field = |rule: SpikeGuard| rule.build(&run).unwrap_err().field;
        assert_eq!(field(SpikeGuard::clip().signal(Signal::Loss)), "signal");
        assert_eq!(field(SpikeGuard::skip(1).signal(Signal::UpdateNorm)), "signal");
        for memory in [0.0, 1.0, f64::NAN] {
            assert_eq!(field(SpikeGuard::clip().memory(memory)), "memory");
        }
        for threshold in [0.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(SpikeGuard::clip().threshold(threshold)), "threshold");
        }
        for epsilon in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(SpikeGuard::clip().epsilon(epsilon)), "epsilon");
        }
        for first in [Span::Steps(1), Span::epochs(1.0), Span::Rest] {
            assert_eq!(field(SpikeGuard::clip().first(first)), "first");
        }
        for factor in [0.0, 1.0, f64::NAN] {
            assert_eq!(field(SpikeGuard::cut(factor, 1)), "factor");
        }
        assert_eq!(field(SpikeGuard::cut(0.5, 0)), "updates");
        assert_eq!(field(SpikeGuard::skip(0)), "most");
    }
}

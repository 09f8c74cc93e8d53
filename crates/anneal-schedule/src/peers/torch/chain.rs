//! Any torch scheduler, sequence or chain, as computed by torch.

use super::link::{TorchCyclicMode, TorchLink};
use crate::curve::{Describe, Rate};
use crate::{ScheduleError, scope::Scope};
use serde::{Deserialize, Serialize};

/// A curve as computed by torch, if no curve of this crate is equal.
///
/// A track is a series of schedulers (`SequentialLR`, or a single one); several tracks act in order at every
/// epoch (`ChainedScheduler`). The effect of a scheduler on the rate has a closed form over any range of
/// epochs, so the rate at t is the last one that was set, advanced by every track since. Only if a cosine
/// towards a rate above 0 or a `SWALR` is chained with others is there no closed form: then the epochs until
/// the others have settled, at most [`LONGEST_START`](Self::LONGEST_START), are computed once on resolution.
///
/// Made by [`torch::translate`](super::translate); it has no builder.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TorchChain {
    /// The rate that the first scheduler finds.
    pub lr: f64,
    /// The tracks, in the order in which they act.
    pub tracks: Vec<Vec<TorchPhase>>,
    /// The first rates, if they have no closed form.
    #[serde(skip)]
    start: Vec<f64>,
}

/// A range of a track in which one scheduler acts, until the next one starts.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TorchPhase {
    /// It starts from the rate that it finds.
    Start {
        /// The first step.
        at: u64,
        /// The scheduler.
        link: TorchLink,
    },
    /// It sets the rate at its first step, as torch does at a milestone.
    Restart {
        /// The first step.
        at: u64,
        /// The rate there.
        lr: f64,
        /// The scheduler.
        link: TorchLink,
    },
    /// It continues from the rate that it finds as if its epoch 0 were a later one.
    Resume {
        /// The first step.
        at: u64,
        /// The scheduler.
        link: TorchLink,
    },
}

impl TorchPhase {
    pub(super) fn at(&self) -> u64 {
        match self {
            Self::Start { at, .. } | Self::Restart { at, .. } | Self::Resume { at, .. } => *at,
        }
    }

    pub(super) fn link(&self) -> &TorchLink {
        match self {
            Self::Start { link, .. } | Self::Restart { link, .. } | Self::Resume { link, .. } => {
                link
            }
        }
    }

    /// The factor of the distance from the fixed rate at epoch 0.
    fn entry(&self) -> f64 {
        match self {
            Self::Start { link, .. } => link.start(),
            Self::Restart { .. } => 1.0,
            Self::Resume { link, .. } => link.resume().unwrap_or(1.0),
        }
    }

    /// The last step up to `step` at which this phase sets the rate, and the rate.
    fn last_set(&self, step: u64) -> Option<(u64, f64)> {
        let set = self.link().last_set(step - self.at());
        let set = set.map(|epoch| (self.at() + epoch, self.link().value(epoch)));
        match self {
            Self::Restart { at, lr, .. } => set.filter(|set| set.0 > *at).or(Some((*at, *lr))),
            _ => set,
        }
    }

    /// `rate` after this phase's steps in `(after, to]`, which only scale it.
    fn advance(&self, rate: f64, after: Option<u64>, to: u64) -> f64 {
        let (link, at) = (self.link(), self.at());
        let ratio = match after {
            Some(after) if after >= at => link.ratio(after - at, to - at),
            _ => clamped(self.entry() * link.ratio(0, to - at)),
        };
        let fixed = link.fixed();
        if fixed == 0.0 || ratio == 0.0 {
            fixed + rate * ratio
        } else {
            fixed + clamped(rate - fixed) * ratio
        }
    }
}

impl TorchChain {
    /// The maximum number of first epochs that are computed one by one.
    pub const LONGEST_START: u64 = 1_000_000;

    /// The chain of `tracks` that starts with the rate `lr`.
    pub fn new(lr: f64, tracks: Vec<Vec<TorchPhase>>) -> Self {
        Self { lr, tracks, start: vec![] }
    }

    /// The last step up to `step` at which a track sets the rate, with the track and the rate.
    fn last_set(&self, step: u64) -> Option<(u64, usize, f64)> {
        let sets = self.tracks.iter().enumerate().filter_map(|(i, track)| {
            let (at, rate) = last_set(track, step)?;
            Some((at, i, rate))
        });
        sets.max_by_key(|&(at, track, _)| (at, track))
    }

    /// The rate at `step` before clamping.
    fn raw(&self, step: u64) -> f64 {
        if let Some(&rate) = usize::try_from(step).ok().and_then(|step| self.start.get(step)) {
            return rate;
        }
        let computed = self.start.len().checked_sub(1);
        let computed = computed.map(|last| (last as u64, self.tracks.len(), self.start[last]));
        let set = self.last_set(step).into_iter().chain(computed);
        let origin = set.max_by_key(|&(at, track, _)| (at, track));
        self.tracks.iter().enumerate().fold(
            origin.map_or(self.lr, |origin| origin.2),
            |rate, (i, track)| {
                let after = match origin {
                    // The tracks after the one that set the rate have changed it at the same step.
                    Some((at, setter, _)) if i > setter => at.checked_sub(1),
                    Some((at, ..)) => Some(at),
                    None => None,
                };
                clamped(advance(track, rate, after, step))
            },
        )
    }

    /// The rates of steps 0 to `last`, computed one by one.
    fn one_by_one(&self, last: u64) -> Vec<f64> {
        let mut rate = self.lr;
        (0..=last)
            .map(|step| {
                for track in &self.tracks {
                    let phase = phase_at(track, step);
                    rate = match phase.last_set(step) {
                        Some((at, _))
                            if at == step && phase.link().is_wave() && at > phase.at() =>
                        {
                            clamped(rate + phase.link().climb())
                        }
                        Some((at, set)) if at == step => set,
                        _ => advance(track, rate, step.checked_sub(1), step),
                    };
                }
                rate
            })
            .collect()
    }

    /// The number of first steps that must be computed one by one; an error says why that does not help.
    pub(super) fn start_length(&self) -> Result<u64, &'static str> {
        if self.tracks.len() < 2 {
            return Ok(0);
        }
        let is_wave = |phase: &TorchPhase| phase.link().is_wave();
        let sets = |phase: &TorchPhase| {
            let link = phase.link();
            link.is_absolute()
                || matches!(link, TorchLink::Swalr { .. })
                || matches!(phase, TorchPhase::Restart { at: 1.., .. })
        };
        let (waves, others): (Vec<_>, Vec<_>) =
            self.tracks.iter().partition(|track| track.iter().any(is_wave));
        if waves.len() > 1 || (waves.len() == 1 && others.iter().copied().flatten().any(sets)) {
            return Err("there is no closed form of a CosineAnnealingLR next to another one, or \
                        next to one that sets the rate");
        }
        let mut length = 0;
        for phase in self.tracks.iter().flatten() {
            // A SWALR sets the rate once it has reached its target.
            if let TorchLink::Swalr { anneal_epochs, .. } = phase.link() {
                length = length.max(phase.at().saturating_add(*anneal_epochs).saturating_add(1));
            }
        }
        if waves.iter().copied().flatten().any(|phase| is_wave(phase) && phase.link().fixed() > 0.0)
        {
            for track in others {
                let settled = settles(track).ok_or(
                    "there is no closed form of a CosineAnnealingLR with eta_min above 0 next to \
                     one that never settles",
                )?;
                length = length.max(settled.saturating_add(2));
            }
        }
        if length > Self::LONGEST_START {
            return Err("there is no closed form before a SWALR next to others, or the others \
                        next to a CosineAnnealingLR with eta_min above 0, have settled; that may \
                        take at most 1,000,000 updates");
        }
        Ok(length)
    }

    /// Whether torch itself would make the rate negative.
    fn is_negative(&self) -> bool {
        // A rate below the lower end of a wave falls as the wave rises: it is lowest at the top of the wave,
        // or where its phase ends earlier.
        let computed = self.start.len() as u64;
        let lowest = self.tracks.iter().flat_map(|track| {
            let ends = track.iter().skip(1).map(|next| next.at().saturating_sub(1));
            let ends = ends.chain([u64::MAX]);
            track.iter().zip(ends).flat_map(move |(phase, end)| {
                let top = match phase.link() {
                    TorchLink::CosineAnnealingLr { t_max, .. } => {
                        let wave = t_max.saturating_mul(2);
                        let waves = computed.saturating_sub(phase.at()).div_ceil(wave).max(1);
                        phase.at().saturating_add(wave.saturating_mul(waves))
                    }
                    _ => end,
                };
                [phase.at(), top.min(end)]
            })
        });
        let mut rates = lowest.map(|step| self.raw(step)).chain(self.start.iter().copied());
        rates.any(|rate| rate < 0.0)
    }
}

/// Makes rates finite where torch would overflow.
fn clamped(rate: f64) -> f64 {
    rate.clamp(-f64::MAX, f64::MAX)
}

fn phase_at(track: &[TorchPhase], step: u64) -> &TorchPhase {
    &track[track.partition_point(|phase| phase.at() <= step).saturating_sub(1)]
}

fn last_set(track: &[TorchPhase], step: u64) -> Option<(u64, f64)> {
    let begun = track.partition_point(|phase| phase.at() <= step);
    let mut end = step;
    track[..begun].iter().rev().find_map(|phase| {
        let set = phase.last_set(end);
        end = phase.at().saturating_sub(1);
        set
    })
}

fn advance(track: &[TorchPhase], mut rate: f64, after: Option<u64>, to: u64) -> f64 {
    for (i, phase) in track.iter().enumerate().filter(|(_, phase)| phase.at() <= to) {
        let end = track.get(i + 1).map_or(to, |next| to.min(next.at().saturating_sub(1)));
        if after.is_none_or(|after| after < end) {
            rate = clamped(phase.advance(rate, after, end));
        }
    }
    rate
}

fn settles(track: &[TorchPhase]) -> Option<u64> {
    let last = track.last()?;
    last.link().settles()?.checked_add(last.at())
}

impl Describe for TorchChain {
    type Resolved = TorchChain;

    fn resolve(&self, scope: &Scope<'_>) -> Result<TorchChain, ScheduleError> {
        scope.within("lr", self.lr, 0.0..=f64::MAX)?;
        if self.tracks.is_empty() {
            return Err(scope.out_of_range("tracks", "[]".into(), "at least one track"));
        }
        for (i, track) in self.tracks.iter().enumerate() {
            check_track(track, &format!("tracks[{i}]"), scope)?;
        }
        let refused = |allowed: String| {
            let tracks = format!("{} tracks", self.tracks.len());
            scope.out_of_range("tracks", tracks, allowed)
        };
        let mut resolved = self.clone();
        let no_closed_form = |reason| refused(format!("tracks with a closed form: {reason}"));
        resolved.start = match self.start_length().map_err(no_closed_form)? {
            0 => vec![],
            length => resolved.one_by_one(length - 1),
        };
        if resolved.is_negative() {
            return Err(refused("tracks that keep the rate at 0 or above".into()));
        }
        scope.require(
            "lr",
            resolved.peak(),
            resolved.peak() > 0.0,
            "a schedule with a rate above 0",
        )?;
        Ok(resolved)
    }
}

fn check_track(track: &[TorchPhase], field: &str, scope: &Scope<'_>) -> Result<(), ScheduleError> {
    let mut next = 0;
    for (i, phase) in track.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let at = phase.at();
        if (i == 0 && at != 0) || (i > 0 && at < next) {
            let allowed = if i == 0 { "0" } else { "after the phase before it" };
            return Err(scope.out_of_range(&format!("{field}.at"), at.to_string(), allowed));
        }
        next = at.saturating_add(1);
        if let TorchPhase::Restart { lr, .. } = phase {
            scope.within(&format!("{field}.lr"), *lr, 0.0..=f64::MAX)?;
        }
        check_link(phase.link(), &format!("{field}.link"), scope)?;
        if matches!(phase, TorchPhase::Resume { link, .. } if link.resume().is_none()) {
            let allowed = "a scheduler that torch can resume";
            return Err(scope.out_of_range(&format!("{field}.resume"), "link".into(), allowed));
        }
    }
    if track.is_empty() {
        return Err(scope.out_of_range(field, "[]".into(), "at least one phase"));
    }
    Ok(())
}

fn check_link(link: &TorchLink, field: &str, scope: &Scope<'_>) -> Result<(), ScheduleError> {
    let within = |name: &str, value: f64, least: f64, most: f64| {
        scope.within(&format!("{field}.{name}"), value, least..=most).map(|_| ())
    };
    let rate = |name: &str, value: f64| within(name, value, 0.0, f64::MAX);
    let above_0 = |name: &str, value: f64, most: f64| {
        let allowed = format!("above 0, at most {most:?}");
        let ok = value > 0.0 && value <= most;
        scope.require(&format!("{field}.{name}"), value, ok, &allowed).map(|_| ())
    };
    let count = |name: &str, value: u64| above_0(name, value as f64, f64::MAX);
    match link {
        TorchLink::Hold => Ok(()),
        TorchLink::StepLr { step_size, gamma } => {
            count("step_size", *step_size)?;
            rate("gamma", *gamma)
        }
        TorchLink::MultiStepLr { milestones, gamma } => {
            if !milestones.is_sorted() {
                let (field, value) = (format!("{field}.milestones"), format!("{milestones:?}"));
                return Err(scope.out_of_range(&field, value, "in order"));
            }
            rate("gamma", *gamma)
        }
        TorchLink::ExponentialLr { gamma } => rate("gamma", *gamma),
        TorchLink::ConstantLr { factor, total_iters: 0 } => within("factor", *factor, 0.0, 1.0),
        TorchLink::ConstantLr { factor, .. } => above_0("factor", *factor, 1.0),
        TorchLink::LinearLr { start_factor, end_factor, .. } => {
            above_0("start_factor", *start_factor, 1.0)?;
            within("end_factor", *end_factor, 0.0, 1.0)
        }
        TorchLink::PolynomialLr { power, .. } => rate("power", *power),
        TorchLink::CosineAnnealingLr { base_lr, t_max, eta_min } => {
            count("t_max", *t_max)?;
            rate("base_lr", *base_lr)?;
            rate("eta_min", *eta_min)
        }
        TorchLink::CosineAnnealingWarmRestarts { base_lr, t_0, t_mult, eta_min } => {
            count("t_0", *t_0)?;
            count("t_mult", *t_mult)?;
            rate("base_lr", *base_lr)?;
            rate("eta_min", *eta_min)
        }
        TorchLink::CyclicLr { base_lr, max_lr, step_size_up, step_size_down, mode } => {
            within("step_size_up", *step_size_up, MIN_EPOCHS, MAX_EPOCHS)?;
            within("step_size_down", *step_size_down, 0.0, MAX_EPOCHS)?;
            rate("base_lr", *base_lr)?;
            rate("max_lr", *max_lr)?;
            match mode {
                TorchCyclicMode::ExpRange(gamma) => {
                    // A growing cycle that falls first would fall below 0.
                    let most = if max_lr < base_lr { 1.0 } else { f64::MAX };
                    within("mode.exp_range", *gamma, 0.0, most)
                }
                _ => Ok(()),
            }
        }
        TorchLink::OneCycleLr { initial_lr, max_lr, min_lr, total_steps, pct_start, .. } => {
            count("total_steps", *total_steps)?;
            within("pct_start", *pct_start, 0.0, 1.0)?;
            rate("initial_lr", *initial_lr)?;
            rate("max_lr", *max_lr)?;
            rate("min_lr", *min_lr)
        }
        TorchLink::Swalr { swa_lr, .. } => rate("swa_lr", *swa_lr),
    }
}

/// Bounds on the cycle length, beyond all practical use, that prevent overflow.
const MIN_EPOCHS: f64 = 1e-6;
const MAX_EPOCHS: f64 = 1e18;

impl Rate for TorchChain {
    fn rate(&self, step: u64) -> f64 {
        self.raw(step).clamp(0.0, f64::MAX)
    }

    fn end_rate(&self, step: u64) -> f64 {
        let jumps = self.tracks.iter().any(|track| {
            let phase = phase_at(track, step);
            phase.at() == step || phase.link().jumps(step - phase.at())
        });
        self.rate(if jumps { step.saturating_sub(1) } else { step })
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        let ends = self.tracks.iter().flat_map(|track| {
            let next = track.iter().skip(1).map(TorchPhase::at).chain([u64::MAX]);
            track.iter().zip(next).filter_map(move |(phase, next)| {
                let end = phase.link().cycle_end(from.saturating_sub(phase.at()))?;
                Some(phase.at().saturating_add(end)).filter(|end| *end < next)
            })
        });
        ends.min()
    }

    fn peak(&self) -> f64 {
        let alone = self.tracks.len() == 1;
        let phases = || self.tracks.iter().flatten();
        let set = phases().map(|phase| match phase {
            TorchPhase::Restart { lr, link, .. } => lr.max(link.top()),
            other => other.link().top(),
        });
        let computed = self.start.iter().copied();
        let highest = set.chain(computed).fold(self.lr, f64::max);
        let growth = |phase: &TorchPhase| phase.entry().max(1.0) * phase.link().growth(alone);
        phases().map(growth).fold(highest, |peak, growth| (peak * growth).min(f64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{AnnealStrategy, refused, resolved};

    fn cosine(eta_min: f64) -> TorchLink {
        TorchLink::CosineAnnealingLr { base_lr: 1.0, t_max: 7, eta_min }
    }

    fn start(at: u64, link: TorchLink) -> TorchPhase {
        TorchPhase::Start { at, link }
    }

    fn decay() -> TorchLink {
        TorchLink::ExponentialLr { gamma: 0.9 }
    }

    fn warmup() -> TorchLink {
        TorchLink::LinearLr { start_factor: 0.1, end_factor: 1.0, total_iters: 9 }
    }

    #[test]
    fn the_closed_form_is_one_step_after_the_other() {
        let steps = TorchLink::MultiStepLr { milestones: vec![0, 3, 3, 20], gamma: 0.5 };
        let poly = TorchLink::PolynomialLr { total_iters: 12, power: 0.5 };
        let strategy = AnnealStrategy::Cosine;
        let average = TorchLink::Swalr { swa_lr: 0.3, anneal_epochs: 8, anneal_strategy: strategy };
        let restarts = TorchLink::CosineAnnealingWarmRestarts {
            base_lr: 1.0,
            t_0: 3,
            t_mult: 2,
            eta_min: 0.2,
        };
        for tracks in [
            vec![vec![start(0, cosine(0.2))]],
            vec![vec![start(0, decay()), TorchPhase::Resume { at: 5, link: cosine(0.2) }]],
            vec![vec![start(0, cosine(0.0))], vec![start(0, decay())]],
            vec![
                vec![start(0, warmup())],
                vec![start(0, cosine(0.2))],
                vec![start(0, steps.clone())],
            ],
            vec![vec![start(0, restarts)], vec![start(0, poly)], vec![start(0, decay())]],
            vec![vec![start(0, decay())], vec![start(0, average)], vec![start(0, steps)]],
            vec![
                vec![start(0, warmup()), TorchPhase::Restart { at: 15, lr: 0.7, link: decay() }],
                vec![TorchPhase::Resume { at: 0, link: decay() }],
            ],
        ] {
            let chain = TorchChain::new(0.8, tracks);
            let schedule = resolved(chain.clone(), 1_000);
            for (step, expected) in chain.one_by_one(200).into_iter().enumerate() {
                let rate = schedule.rate(step as u64);
                assert!(
                    (rate - expected).abs() < 1e-12,
                    "{schedule} at {step}: {rate}, {expected}"
                );
            }
        }
    }

    #[test]
    fn far_out_it_stays_finite() {
        let growing = TorchLink::StepLr { step_size: 1, gamma: 1e300 };
        let chain = TorchChain::new(1.0, vec![vec![start(0, growing)], vec![start(0, decay())]]);
        let schedule = resolved(chain, 1 << 63);
        for step in [0, 1, 2, 1 << 40, (1 << 63) - 1, u64::MAX] {
            assert!((0.0..=f64::MAX).contains(&schedule.rate(step)), "{step}");
        }
        let wave = resolved(TorchChain::new(1.0, vec![vec![start(0, cosine(0.2))]]), 1 << 63);
        // A wave lasts 14 updates.
        assert!((wave.rate((1 << 62) / 14 * 14) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn the_end_of_a_run_on_a_drop_does_not_hold_the_drop() {
        let steps = TorchLink::StepLr { step_size: 4, gamma: 0.5 };
        let schedule = resolved(TorchChain::new(1.0, vec![vec![start(0, steps)]]), 8);
        assert_eq!([3, 4, 7, 8, 100].map(|step| schedule.rate(step)), [1.0, 0.5, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn refuses_each_field() {
        let chain = |lr, tracks| refused(TorchChain::new(lr, tracks));
        let one = |link| chain(1.0, vec![vec![start(0, link)]]);
        assert_eq!(chain(-1.0, vec![vec![start(0, decay())]]), "torch_chain.lr");
        assert_eq!(chain(0.0, vec![vec![start(0, decay())]]), "torch_chain.lr");
        assert_eq!(chain(1.0, vec![]), "torch_chain.tracks");
        assert_eq!(chain(1.0, vec![vec![]]), "torch_chain.tracks[0]");
        assert_eq!(chain(1.0, vec![vec![start(1, decay())]]), "torch_chain.tracks[0][0].at");
        let twice = vec![vec![start(0, decay()), start(0, decay())]];
        assert_eq!(chain(1.0, twice), "torch_chain.tracks[0][1].at");
        let restart = TorchPhase::Restart { at: 0, lr: -1.0, link: decay() };
        assert_eq!(chain(1.0, vec![vec![restart]]), "torch_chain.tracks[0][0].lr");
        let still = TorchLink::PolynomialLr { total_iters: 0, power: 1.0 };
        let resume = TorchPhase::Resume { at: 0, link: still };
        assert_eq!(chain(1.0, vec![vec![resume]]), "torch_chain.tracks[0][0].resume");
        let two = vec![vec![start(0, cosine(0.1))], vec![start(0, decay())]];
        assert_eq!(chain(1.0, two), "torch_chain.tracks");
        let below = vec![vec![TorchPhase::Resume { at: 0, link: cosine(1e9) }]];
        assert_eq!(chain(0.0, below), "torch_chain.tracks");
        let swa = |swa_lr| TorchLink::Swalr {
            swa_lr,
            anneal_epochs: 1,
            anneal_strategy: AnnealStrategy::Linear,
        };
        let cycles = |up: f64, down: f64, max_lr: f64, gamma: f64| TorchLink::CyclicLr {
            base_lr: 0.5,
            max_lr,
            step_size_up: up,
            step_size_down: down,
            mode: TorchCyclicMode::ExpRange(gamma),
        };
        let restarts = |t_0, t_mult, eta_min| TorchLink::CosineAnnealingWarmRestarts {
            base_lr: 1.0,
            t_0,
            t_mult,
            eta_min,
        };
        let one_cycle = |max_lr, total_steps, pct_start| TorchLink::OneCycleLr {
            initial_lr: 0.1,
            max_lr,
            min_lr: 0.0,
            total_steps,
            pct_start,
            anneal_strategy: AnnealStrategy::Cosine,
            three_phase: false,
        };
        let linear = |start_factor, end_factor| TorchLink::LinearLr {
            start_factor,
            end_factor,
            total_iters: 3,
        };
        for (link, field) in [
            (TorchLink::StepLr { step_size: 0, gamma: 0.5 }, "step_size"),
            (TorchLink::StepLr { step_size: 1, gamma: f64::NAN }, "gamma"),
            (TorchLink::MultiStepLr { milestones: vec![3, 1], gamma: 0.5 }, "milestones"),
            (TorchLink::ExponentialLr { gamma: -0.5 }, "gamma"),
            (TorchLink::ConstantLr { factor: 0.0, total_iters: 3 }, "factor"),
            (TorchLink::ConstantLr { factor: 1.5, total_iters: 0 }, "factor"),
            (linear(0.0, 1.0), "start_factor"),
            (linear(0.5, 1.5), "end_factor"),
            (TorchLink::PolynomialLr { total_iters: 3, power: -1.0 }, "power"),
            (TorchLink::CosineAnnealingLr { base_lr: 1.0, t_max: 0, eta_min: 0.0 }, "t_max"),
            (cosine(-0.1), "eta_min"),
            (restarts(0, 1, 0.0), "t_0"),
            (restarts(1, 0, 0.0), "t_mult"),
            (restarts(1, 1, f64::NAN), "eta_min"),
            (cycles(0.0, 1.0, 1.0, 1.0), "step_size_up"),
            (cycles(1.0, -1.0, 1.0, 1.0), "step_size_down"),
            (cycles(1.0, 1.0, f64::INFINITY, 1.0), "max_lr"),
            (cycles(1.0, 1.0, 0.1, 1.5), "mode.exp_range"),
            (one_cycle(1.0, 0, 0.5), "total_steps"),
            (one_cycle(1.0, 3, 1.5), "pct_start"),
            (one_cycle(-1.0, 3, 0.5), "max_lr"),
            (swa(-0.1), "swa_lr"),
        ] {
            assert_eq!(one(link), format!("torch_chain.tracks[0][0].link.{field}"));
        }
    }
}

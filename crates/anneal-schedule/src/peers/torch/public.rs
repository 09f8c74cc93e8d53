//! Converts tracks to this crate's own curves, if they are equal.

use super::chain::{TorchChain, TorchPhase};
use super::link::{TorchCyclicMode, TorchLink};
use crate::{
    AfterEnd, AnnealStrategy, CycleScaling, Decay, RunLength, ScheduleConfig, ScheduleExt, Span,
    constant, cosine, cyclic, exponential, linear, multi_step, one_cycle, polynomial, product,
    sequence, step_decay, warm_restarts,
};

/// The description of the tracks' effect on `lr`, as this crate's own curves if possible.
pub(super) fn description(lr: f64, tracks: Vec<Vec<TorchPhase>>) -> ScheduleConfig {
    let tracks = effective(tracks);
    let own = match &tracks[..] {
        [track] => one_after_another(lr, track),
        tracks => all_at_once(lr, tracks),
    };
    own.filter(|own| own.clone().resolve(RunLength::unbounded()).is_ok())
        .unwrap_or_else(|| TorchChain::new(lr, tracks).into())
}

/// Removes tracks that another one undoes at every step, and those without effect.
fn effective(mut tracks: Vec<Vec<TorchPhase>>) -> Vec<Vec<TorchPhase>> {
    let absolute = |track: &Vec<TorchPhase>| track.iter().all(|phase| phase.link().is_absolute());
    if let Some(last) = tracks.iter().rposition(absolute) {
        tracks.drain(..last);
    }
    let first = tracks[0].clone();
    let holds = |track: &Vec<TorchPhase>| {
        let hold = |phase: &TorchPhase| {
            *phase == TorchPhase::Start { at: phase.at(), link: TorchLink::Hold }
        };
        track.iter().all(hold)
    };
    tracks.retain(|track| !holds(track));
    if tracks.is_empty() { vec![first] } else { tracks }
}

fn one_after_another(lr: f64, track: &[TorchPhase]) -> Option<ScheduleConfig> {
    let parts: Vec<(u64, ScheduleConfig)> = track
        .iter()
        .map(|phase| {
            let curve = match phase {
                TorchPhase::Restart { lr, link, .. } if !link.is_absolute() => curve(link, *lr)?,
                TorchPhase::Start {
                    at: 0,
                    link: TorchLink::Swalr { swa_lr, anneal_epochs, anneal_strategy },
                } => average(lr, *swa_lr, *anneal_epochs, *anneal_strategy)?,
                TorchPhase::Start { at, link } if *at == 0 || link.is_absolute() => {
                    curve(link, lr * link.start())?
                }
                _ => return None,
            };
            Some((phase.at(), curve))
        })
        .collect::<Option<_>>()?;
    if let [(_, only)] = &parts[..] {
        return Some(only.clone());
    }
    let lengths = parts.iter().skip(1).zip(&parts).map(|(next, this)| Span::steps(next.0 - this.0));
    let lengths = lengths.chain([Span::Rest]).collect::<Vec<_>>();
    let parts = lengths.into_iter().zip(parts.into_iter().map(|part| part.1));
    Some(sequence(parts.collect::<Vec<_>>()).into())
}

fn all_at_once(lr: f64, tracks: &[Vec<TorchPhase>]) -> Option<ScheduleConfig> {
    let curves = tracks.iter().enumerate().map(|(i, track)| match &track[..] {
        [TorchPhase::Start { link, .. }] if only_multiplies(link) => {
            curve(link, if i == 0 { lr } else { 1.0 } * link.start())
        }
        _ => None,
    });
    Some(product(curves.collect::<Option<Vec<_>>>()?).into())
}

fn only_multiplies(link: &TorchLink) -> bool {
    !link.is_absolute() && !link.is_wave() && !matches!(link, TorchLink::Swalr { .. })
}

/// `link` from the rate `first` at its epoch 0. Values outside a curve's range fail to resolve.
fn curve(link: &TorchLink, first: f64) -> Option<ScheduleConfig> {
    Some(match link {
        TorchLink::Hold => constant(first).into(),
        TorchLink::StepLr { step_size, gamma } => {
            step_decay(first, Span::steps(*step_size), *gamma).into()
        }
        TorchLink::MultiStepLr { milestones, gamma } => {
            let later = milestones.iter().filter(|&&milestone| milestone > 0);
            let later: Vec<Span> = later.map(|&milestone| Span::steps(milestone)).collect();
            match later.is_empty() {
                true => constant(first).into(),
                false => multi_step(first, later, *gamma).into(),
            }
        }
        TorchLink::ExponentialLr { gamma } => {
            exponential(first, Decay::Factor { factor: *gamma, per: Span::steps(1) }).into()
        }
        TorchLink::ConstantLr { total_iters: 0, .. }
        | TorchLink::LinearLr { total_iters: 0, .. }
        | TorchLink::PolynomialLr { total_iters: 0, .. } => constant(first).into(),
        TorchLink::ConstantLr { factor, total_iters } => {
            constant(first).then(Span::steps(*total_iters), constant(first / factor)).into()
        }
        TorchLink::LinearLr { start_factor, end_factor, total_iters } => {
            linear(first, first / start_factor * end_factor)
                .length(Span::steps(*total_iters))
                .into()
        }
        TorchLink::PolynomialLr { total_iters, power } => {
            polynomial(first, 0.0, *power).length(Span::steps(*total_iters)).into()
        }
        TorchLink::CosineAnnealingLr { base_lr, t_max, eta_min } => {
            if first != *base_lr {
                return None;
            }
            let wave = cosine(first).end(*eta_min).length(Span::steps(*t_max));
            wave.after(AfterEnd::Continue).into()
        }
        TorchLink::CosineAnnealingWarmRestarts { base_lr, t_0, t_mult, eta_min } => {
            let cycles = warm_restarts(*base_lr, Span::steps(*t_0)).end(*eta_min);
            cycles.multiplier(*t_mult as f64).into()
        }
        TorchLink::CyclicLr { base_lr, max_lr, step_size_up, step_size_down, mode } => {
            let (up, down) = (whole(*step_size_up)?, whole(*step_size_down)?);
            let scaling = match mode {
                TorchCyclicMode::Triangular => CycleScaling::Triangular,
                TorchCyclicMode::Triangular2 => CycleScaling::Triangular2,
                TorchCyclicMode::ExpRange(gamma) => CycleScaling::ExpRange(*gamma),
            };
            let cycles = cyclic(*base_lr, *max_lr, up).scaling(scaling);
            if up == down { cycles.into() } else { cycles.down(down).into() }
        }
        TorchLink::OneCycleLr {
            initial_lr,
            max_lr,
            min_lr,
            total_steps,
            pct_start,
            anneal_strategy,
            three_phase,
        } => {
            // torch's phases end one update earlier.
            let last = total_steps - 1;
            let rise = (pct_start * *total_steps as f64 - 1.0) / last as f64;
            let cycle = one_cycle(*max_lr).start(*initial_lr).end(*min_lr).pct_start(rise);
            let cycle = cycle.anneal(*anneal_strategy).length(Span::steps(last));
            if *three_phase { cycle.three_phase().into() } else { cycle.into() }
        }
        TorchLink::Swalr { .. } => return None,
    })
}

/// `SWALR` from the rate `from`.
fn average(from: f64, to: f64, epochs: u64, anneal: AnnealStrategy) -> Option<ScheduleConfig> {
    let length = Span::steps(epochs);
    match anneal {
        _ if epochs == 0 => Some(constant(to).into()),
        AnnealStrategy::Linear => Some(linear(from, to).length(length).into()),
        AnnealStrategy::Cosine => Some(cosine(from).end(to).length(length).into()),
    }
}

/// A length of whole updates.
fn whole(length: f64) -> Option<Span> {
    (length.fract() == 0.0 && (1.0..9e15).contains(&length)).then_some(Span::steps(length as u64))
}

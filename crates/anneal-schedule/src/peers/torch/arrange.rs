//! Arranges schedulers in tracks: when each one acts, and how it is entered.

use super::build::{Leaf, Scheduler};
use super::chain::TorchPhase;
use super::link::TorchLink;
use crate::peers::PeerError;

/// One scheduler's stretch of a track.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    at: u64,
    how: How,
    /// `None` has no effect.
    leaf: Option<&'a Leaf>,
}

/// How a scheduler is entered.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// The first step.
    Start,
    /// The first step of its constructor, which nothing undoes.
    Made,
    /// The same step, from a rate that was set just before.
    StartFrom(f64),
    /// A plain step, which it treats as one of its later ones.
    Resume,
    /// The same plain step, from a rate that was set just before.
    ResumeFrom(f64),
    /// Its closed form at epoch 0, at a milestone.
    Restart,
}

/// How a scheduler starts at update 0.
#[derive(Clone, Copy, PartialEq)]
enum Begin {
    /// It is the outermost one.
    Alone,
    /// It is part of a chain.
    InChain,
    /// It comes first in a sequence, and stands for several: torch takes a plain step.
    Stepped,
}

/// The tracks of a scheduler.
pub(super) fn tracks(scheduler: &Scheduler) -> Result<Vec<Vec<Entry<'_>>>, PeerError> {
    begin(scheduler, Begin::Alone)
}

fn begin(scheduler: &Scheduler, how: Begin) -> Result<Vec<Vec<Entry<'_>>>, PeerError> {
    match scheduler {
        Scheduler::Leaf(leaf) => {
            let how = match how {
                Begin::Alone => How::Start,
                Begin::InChain => How::Made,
                Begin::Stepped => How::Resume,
            };
            Ok(vec![vec![Entry { at: 0, how, leaf: Some(leaf) }]])
        }
        Scheduler::Chain(schedulers) => {
            let how = if how == Begin::Alone { Begin::InChain } else { how };
            let tracks: Result<Vec<_>, _> =
                schedulers.iter().map(|scheduler| begin(scheduler, how)).collect();
            Ok(tracks?.into_iter().flatten().collect())
        }
        Scheduler::Sequence { schedulers, milestones, initial_lr } => {
            sequence(schedulers, milestones, *initial_lr, how)
        }
    }
}

fn sequence<'a>(
    schedulers: &'a [Scheduler],
    milestones: &[i64],
    initial_lr: f64,
    how: Begin,
) -> Result<Vec<Vec<Entry<'a>>>, PeerError> {
    // A plain step at update 0 advances a sequence, but not the schedulers inside it.
    let ahead = i64::from(how == Begin::Stepped);
    let index = |step: u64| bisect_right(milestones, step as i64 + ahead);
    let is_milestone = |i: usize, step: u64| i > 0 && milestones[i - 1] == step as i64 + ahead;
    let mut steps: Vec<u64> =
        milestones.iter().filter_map(|&step| u64::try_from(step - ahead).ok()).collect();
    steps.sort_unstable();

    let first = index(0);
    let mut tracks = if how == Begin::Stepped && is_milestone(first, 0) {
        vec![vec![Entry { at: 0, how: How::Restart, leaf: Some(alone(&schedulers[first])?) }]]
    } else if how == Begin::Stepped && first != bisect_right(milestones, 0) {
        return Err(refused("SequentialLR", UNSORTED));
    } else {
        first_of_sequence(&schedulers[first], how)?
    };
    if how == Begin::InChain {
        set_first(&mut tracks, initial_lr);
    }
    let mut now = first;
    for at in steps.into_iter().filter(|&at| at > 0) {
        let next = index(at);
        if next == now {
            continue;
        }
        now = next;
        let leaf = Some(alone(&schedulers[next])?);
        let entered = match (is_milestone(next, at), how) {
            (true, _) => How::Restart,
            (false, Begin::Stepped) => return Err(refused("SequentialLR", UNSORTED)),
            (false, _) => How::Resume,
        };
        for (i, track) in tracks.iter_mut().enumerate() {
            track.retain(|entry| entry.at < at);
            track.push(match i {
                0 => Entry { at, how: entered, leaf },
                _ => Entry { at, how: How::Start, leaf: None },
            });
        }
    }
    Ok(tracks)
}

/// The scheduler of a sequence that acts at update 0.
fn first_of_sequence(scheduler: &Scheduler, how: Begin) -> Result<Vec<Vec<Entry<'_>>>, PeerError> {
    match (scheduler, how) {
        (Scheduler::Leaf(_), Begin::Stepped) => begin(scheduler, Begin::Stepped),
        (Scheduler::Leaf(_), _) => begin(scheduler, Begin::Alone),
        (_, Begin::Stepped) => Err(refused(
            "SequentialLR",
            "a SequentialLR that comes first in another and starts with several schedulers itself \
             is stepped several times by torch before update 0",
        )),
        _ => begin(scheduler, Begin::Stepped),
    }
}

/// Sets the rate before the first step of the first track.
fn set_first(tracks: &mut [Vec<Entry<'_>>], initial_lr: f64) {
    if let Some(entry) = tracks.first_mut().and_then(|track| track.first_mut()) {
        entry.how = match entry.how {
            How::Start | How::Made => How::StartFrom(initial_lr),
            How::Resume => How::ResumeFrom(initial_lr),
            other => other,
        };
    }
}

/// The single scheduler entered at a milestone.
fn alone(scheduler: &Scheduler) -> Result<&Leaf, PeerError> {
    match scheduler {
        Scheduler::Leaf(leaf) => Ok(leaf),
        _ => Err(refused(
            "SequentialLR",
            "torch raises NotImplementedError if a SequentialLR or ChainedScheduler inside a \
             SequentialLR is not its first scheduler",
        )),
    }
}

const UNSORTED: &str = "a SequentialLR that comes first in another needs its milestones in order";

fn refused(name: &str, reason: &'static str) -> PeerError {
    PeerError::Refused { name: name.to_string(), reason }
}

/// Python's `bisect_right`, step by step: the list may be unsorted.
pub(super) fn bisect_right(list: &[i64], x: i64) -> usize {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = (low + high) / 2;
        if x < list[middle] { high = middle } else { low = middle + 1 }
    }
    low
}

/// The effect of the entry on the rate.
pub(super) fn rate_phase(entry: &Entry<'_>) -> Result<TorchPhase, PeerError> {
    let at = entry.at;
    let Some(leaf) = entry.leaf else {
        return Ok(TorchPhase::Start { at, link: TorchLink::Hold });
    };
    let link = leaf.link.clone();
    let resume = || {
        let reason = "torch enters it by a plain step here, and computes a rate from none of its \
                      epochs";
        link.resume().ok_or_else(|| refused(&leaf.name, reason))
    };
    let moved = |lr: f64, ratio: f64| link.fixed() + (lr - link.fixed()) * ratio;
    Ok(match entry.how {
        // A constructor may set a different rate from the first step.
        How::Made if link.last_set(0).is_some() && leaf.made != link.value(0) => {
            TorchPhase::Restart { at, lr: leaf.made, link }
        }
        _ if link.is_absolute() => TorchPhase::Start { at, link },
        How::Start | How::Made => TorchPhase::Start { at, link },
        // torch has no closed form of it, so its first step is always the same.
        How::Restart if matches!(link, TorchLink::Swalr { .. }) => TorchPhase::Start { at, link },
        How::Restart => {
            let reason = "torch divides by 0 if it is entered at a milestone with total_iters 0";
            let lr = leaf.restart.ok_or_else(|| refused(&leaf.name, reason))?;
            TorchPhase::Restart { at, lr, link }
        }
        How::Resume if resume()? == link.start() => TorchPhase::Start { at, link },
        How::Resume => TorchPhase::Resume { at, link },
        How::StartFrom(lr) => TorchPhase::Restart { at, lr: moved(lr, link.start()), link },
        How::ResumeFrom(lr) => TorchPhase::Restart { at, lr: moved(lr, resume()?), link },
    })
}

/// The effect of the tracks on the momentum, which is `made` once all schedulers are constructed.
pub(super) fn momentum_tracks(tracks: &[Vec<Entry<'_>>], made: f64) -> Vec<Vec<TorchPhase>> {
    let phase = |entry: &Entry<'_>| {
        let link = entry.leaf.and_then(|leaf| leaf.momentum.clone()).unwrap_or(TorchLink::Hold);
        TorchPhase::Start { at: entry.at, link }
    };
    let mut tracks: Vec<Vec<TorchPhase>> =
        tracks.iter().map(|track| track.iter().map(phase).collect()).collect();
    // Update 0 has the momentum set by the last constructor, not by the last track.
    let acting = tracks.iter().rev().find(|track| track[0].link().is_absolute());
    if acting.is_some_and(|track| track[0].link().value(0) != made)
        && let Some(first) = tracks.last_mut().and_then(|track| track.first_mut())
    {
        *first = TorchPhase::Restart { at: 0, lr: made, link: first.link().clone() };
    }
    tracks
}

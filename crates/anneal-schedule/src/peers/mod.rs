//! Translates a peer's scheduler into a description that matches it to the last digits the peer computes.
//!
//! ```
//! use anneal_schedule::peers;
//! use serde_json::json;
//!
//! let arguments = json!({ "T_max": 100, "eta_min": 1e-5 });
//! let translation = peers::translate("torch", "CosineAnnealingLR", &arguments, 0.1)?;
//! assert_eq!(translation.schedule()?.rate(0), 0.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`schedule_by_name`] instead takes a name from transformers or timm, a peak, a warm-up and a run.
//!
//! Arguments have the peer's names and defaults. Every length is in updates. Each peer's module lists the
//! schedulers and arguments it knows; for an unknown one, the error suggests the nearest.

mod arguments;
mod by_name;
mod curve;
mod error;
pub mod fastai;
mod forms;
mod growth;
pub mod keras;
pub mod optax;
pub mod timm;
pub mod torch;
pub mod transformers;

pub use by_name::{schedule_by_name, schedule_by_name_with};
pub use curve::PeerCurve;
pub use error::PeerError;
pub use growth::PeerGrowth;

// For the translations of peers in anneal-control.
#[doc(hidden)]
pub use arguments::Arguments;

pub(crate) use curve::PEER_FUNCTIONS;

use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, suggest};
use serde_json::Value;

/// A translated scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// The learning rate.
    pub rate: ScheduleConfig,
    /// The momentum, if the scheduler changes it too; its `rate(t)` is the momentum of update t.
    pub momentum: Option<ScheduleConfig>,
}

impl Translation {
    /// The learning rate as an endless schedule, like the peer's own.
    ///
    /// # Errors
    /// [`ScheduleError`] if a value that the peer accepts is out of range here.
    pub fn schedule(&self) -> Result<Schedule, ScheduleError> {
        self.rate.clone().resolve(RunLength::unbounded())
    }

    /// Returns this translation if it resolves.
    pub(crate) fn checked(self, name: &str) -> Result<Self, PeerError> {
        let error = |error| PeerError::Schedule { name: name.to_string(), error };
        self.schedule().map_err(error)?;
        if let Some(momentum) = &self.momentum {
            momentum.clone().resolve(RunLength::unbounded()).map_err(error)?;
        }
        Ok(self)
    }
}

impl<C: Into<ScheduleConfig>> From<C> for Translation {
    fn from(rate: C) -> Self {
        Self { rate: rate.into(), momentum: None }
    }
}

/// A peer library.
struct Peer {
    name: &'static str,
    /// Translates a scheduler's name and arguments at a base rate.
    translate: fn(&str, &Value, f64) -> Result<Translation, PeerError>,
    schedulers: fn() -> Vec<&'static str>,
    /// Whether its schedulers scale the rate of an optimizer, rather than state their own rates.
    scales_base_rate: bool,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "torch",
        translate: torch::translate,
        schedulers: || torch::NAMES.to_vec(),
        scales_base_rate: true,
    },
    Peer {
        name: "optax",
        translate: optax::translate,
        schedulers: || optax::SCHEDULES.iter().map(|known| known.0).collect(),
        scales_base_rate: false,
    },
    Peer {
        name: "timm",
        translate: timm::translate,
        schedulers: || timm::NAMES.to_vec(),
        scales_base_rate: true,
    },
    Peer {
        name: "transformers",
        translate: transformers::translate,
        schedulers: || transformers::NAMES.to_vec(),
        scales_base_rate: true,
    },
    Peer {
        name: "keras",
        translate: keras::translate,
        schedulers: || keras::SCHEDULES.iter().map(|known| known.0).collect(),
        scales_base_rate: false,
    },
    Peer {
        name: "fastai",
        translate: fastai::translate,
        schedulers: || fastai::NAMES.to_vec(),
        scales_base_rate: false,
    },
];

fn find_peer(peer: &str) -> Result<&'static Peer, PeerError> {
    PEERS.iter().find(|known| known.name == peer).ok_or_else(|| PeerError::UnknownPeer {
        peer: peer.to_string(),
        near: suggest::nearest(peer, names()),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// Translates the scheduler `name` of `peer` with its `arguments`, a JSON object.
///
/// `base_lr` is the rate of the peer's optimizer, which the scheduler scales; schedulers that state their own
/// rates ignore it.
///
/// # Errors
/// [`PeerError`] with the peer, scheduler or argument that is unknown, wrong or refused.
pub fn translate(
    peer: &str,
    name: &str,
    arguments: &Value,
    base_lr: f64,
) -> Result<Translation, PeerError> {
    let translate = find_peer(peer)?.translate;
    if !(base_lr > 0.0 && base_lr.is_finite()) {
        return Err(PeerError::Argument {
            name: name.to_string(),
            argument: "base_lr".into(),
            value: format!("{base_lr:?}"),
            allowed: "a finite number above 0".into(),
        });
    }
    translate(name, arguments, base_lr)
}

/// Looks up `name` in a peer's list of `schedulers`, or returns why it is missing.
fn find<T: Copy>(
    peer: &'static str,
    name: &str,
    schedulers: &[(&'static str, T)],
    refused: &[(&'static str, &'static str)],
) -> Result<T, PeerError> {
    if let Some(&(_, reason)) = refused.iter().find(|known| known.0 == name) {
        return Err(PeerError::Refused { name: name.to_string(), reason });
    }
    let found = schedulers.iter().find(|known| known.0 == name);
    found.map(|known| known.1).ok_or_else(|| {
        let names: Vec<&str> = schedulers.iter().map(|known| known.0).collect();
        PeerError::unknown_scheduler(peer, name, &names)
    })
}

/// The names of the peers.
pub fn names() -> impl Iterator<Item = &'static str> {
    PEERS.iter().map(|known| known.name)
}

/// The names of the schedulers of `peer` that can be translated.
///
/// # Errors
/// [`PeerError::UnknownPeer`].
pub fn schedulers(peer: &str) -> Result<Vec<&'static str>, PeerError> {
    find_peer(peer).map(|peer| (peer.schedulers)())
}

/// Whether the scheduler `name` of `peer` scales the optimizer's rate; otherwise it states its own rates, and the
/// base rate has no effect.
///
/// # Errors
/// [`PeerError::UnknownPeer`].
pub fn scales_base_rate(peer: &str, name: &str) -> Result<bool, PeerError> {
    let states_its_own = peer == "torch" && torch::OWN_RATES.contains(&name);
    find_peer(peer).map(|peer| peer.scales_base_rate && !states_its_own)
}

/// Whether the scheduler `name` of `peer` is usually stepped once per epoch, so that its lengths count epochs.
///
/// # Errors
/// [`PeerError::UnknownPeer`].
pub fn counts_epochs(peer: &str, name: &str) -> Result<bool, PeerError> {
    let per_batch = peer == "torch" && torch::OWN_RATES.contains(&name);
    find_peer(peer).map(|peer| matches!(peer.name, "torch" | "timm") && !per_batch)
}

//! Translation: a peer's scheduler becomes a description here, the same to the last digits that
//! the peer computes.
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
//! Arguments are those of the peer, by name; what the peer lets you leave out may be left out.
//! Every length is in updates. Each peer's module lists the schedulers and arguments that it
//! knows; an unknown one is an error that offers the nearest.

mod arguments;
mod error;
pub mod fastai;
mod forms;
mod growth;
pub mod keras;
pub mod optax;
pub mod timm;
pub mod torch;
pub mod transformers;

pub use error::PeerError;
pub use growth::PeerGrowth;

pub(crate) use arguments::Arguments;

use crate::{Build, RunLength, Schedule, ScheduleConfig, ScheduleError, suggest};
use serde_json::Value;

/// What a peer's scheduler becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// The learning rate.
    pub rate: ScheduleConfig,
    /// The momentum, where the scheduler moves it too; its `rate(t)` is the momentum of update t.
    pub momentum: Option<ScheduleConfig>,
}

impl Translation {
    /// The learning rate as a schedule without an end, as the peer's own is.
    ///
    /// # Errors
    /// [`ScheduleError`] where a value that the peer takes is out of range here.
    pub fn schedule(&self) -> Result<Schedule, ScheduleError> {
        self.rate.clone().resolve(RunLength::unbounded())
    }

    /// This translation, if what it says can be resolved.
    pub(crate) fn checked(self, name: &str) -> Result<Self, PeerError> {
        let error = |source| PeerError::Schedule { name: name.to_string(), source };
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

/// One peer: its name, and the translation of a scheduler's name and arguments at a base rate.
type Peer = (&'static str, fn(&str, &Value, f64) -> Result<Translation, PeerError>);

const PEERS: &[Peer] = &[
    ("torch", torch::translate),
    ("optax", optax::translate),
    ("timm", timm::translate),
    ("transformers", transformers::translate),
    ("keras", keras::translate),
    ("fastai", fastai::translate),
];

/// Translates the scheduler `name` of `peer` with its `arguments`, a JSON object.
///
/// `base_lr` is the rate that the peer's optimizer was made with, or the rate that the peer scales;
/// schedulers that say their rates themselves do not use it.
///
/// # Errors
/// [`PeerError`] names the peer, scheduler or argument that is unknown, wrong or refused.
pub fn translate(
    peer: &str,
    name: &str,
    arguments: &Value,
    base_lr: f64,
) -> Result<Translation, PeerError> {
    match PEERS.iter().find(|known| known.0 == peer) {
        Some((_, translate)) if base_lr > 0.0 && base_lr.is_finite() => {
            translate(name, arguments, base_lr)
        }
        Some(_) => Err(PeerError::Argument {
            name: name.to_string(),
            argument: "base_lr".into(),
            value: format!("{base_lr:?}"),
            allowed: "a finite number above 0".into(),
        }),
        None => Err(PeerError::UnknownPeer {
            peer: peer.to_string(),
            near: suggest::nearest(peer, PEERS.iter().map(|known| known.0)),
            known: PEERS.iter().map(|known| known.0).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// What a peer's list of `schedulers` has under `name`, or why it has nothing.
fn find<T: Copy>(
    peer: &'static str,
    name: &str,
    schedulers: &[(&'static str, T)],
    refused: &[(&'static str, &'static str)],
) -> Result<T, PeerError> {
    if let Some(&(_, reason)) = refused.iter().find(|known| known.0 == name) {
        return Err(PeerError::Refused { name: name.to_string(), reason });
    }
    let names = || schedulers.iter().map(|known| known.0);
    let found = schedulers.iter().find(|known| known.0 == name);
    found.map(|known| known.1).ok_or_else(|| PeerError::UnknownScheduler {
        peer,
        name: name.to_string(),
        near: suggest::nearest(name, names()),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// The names of the peers.
pub fn names() -> impl Iterator<Item = &'static str> {
    PEERS.iter().map(|known| known.0)
}

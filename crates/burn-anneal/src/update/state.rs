//! The state of a run, and how the parts of a learner share it.

use super::averaging::Points;
use super::batches::Batches;
use super::clock::Clock;
use super::error::UpdateError;
use super::index::Index;
use super::ledger::Ledger;
use super::signals::{Reading, Signals};
use anneal_control::{Controllers, Decision, Observation, SavedControllers};
use anneal_schedule::MadeOf;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The version of the saved state.
const VERSION: u32 = 2;

/// The name of the controller that caps the rate before gradients overflow; in version 1 it was `rate cap`.
pub(crate) const OVERFLOW_CAP: &str = "overflow cap";

/// The state of a run.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub identity: Identity,
    pub clock: Clock,
    pub controllers: Controllers,
    pub index: Index,
    /// The step that the model is frozen for.
    pub prepared: u64,
    /// The signals of the last update.
    pub seen: Observation,
    /// The decision about it.
    pub decision: Decision,
    /// The signals of the last update, for controllers with delayed signals.
    pub unread: Option<Unread>,
    /// How far the last update moved the weights.
    pub last_movement: Option<Reading>,
    pub batches: Batches,
    pub place: Place,
    /// The updates made before the schedule began.
    pub origin: u64,
    /// The updates of an epoch, if their number is fixed.
    pub updates_per_epoch: Option<u64>,
    /// The data of an epoch.
    pub made_of: Option<MadeOf>,
    /// The number of times the run was started or resumed; tells which checkpoint is newer, whatever their epochs.
    pub generation: u64,
    /// The groups that started late and now train.
    pub thawed: Vec<String>,
    /// The record that Burn must load before the first update.
    pub expects_record: Option<Expected>,
    /// The number of epochs whose metrics controllers got.
    pub epochs_heard: u64,
    /// Whether the end of the schedule was reported.
    pub is_past_end: bool,
    /// The averages in words.
    pub averages: Vec<String>,
    /// The weights that are evaluated instead of the trained ones.
    pub evaluated: Points,
    /// The trained weights, after the averages replaced them.
    pub raw: Points,
    pub ledger: Ledger,
    pub failure: Option<Arc<UpdateError>>,
}

/// The measurements of an update, read or not yet.
#[derive(Clone, Debug)]
pub(crate) enum Unread {
    Signals(Box<Signals>),
    Read(Observation),
}

impl Unread {
    pub fn read(self) -> Observation {
        match self {
            Self::Signals(signals) => signals.read(),
            Self::Read(observation) => observation,
        }
    }
}

/// The optimizer and groups that a checkpoint must have to resume here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Identity {
    /// The fingerprint of the groups, if any were configured.
    pub groups: Option<u64>,
    /// The optimizers by name.
    pub optimizer: String,
}

/// A record that was named in the builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub epoch: usize,
    /// `None` if another scheduler saved it.
    pub step: Option<u64>,
}

/// The place of a run in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Place {
    /// Finished epochs.
    pub epochs: u64,
    /// Updates of the next epoch.
    pub updates: u64,
    /// Batches per device of the next epoch.
    pub rounds: u64,
    /// Items of the whole run; `None` if they are not counted.
    pub items: Option<u64>,
}

/// The state saved in a checkpoint. A missing entry takes its default; an unknown one is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    version: u32,
    #[serde(default)]
    pub identity: Identity,
    #[serde(default)]
    pub clock: Clock,
    #[serde(default)]
    pub controllers: SavedControllers,
    #[serde(default)]
    pub place: Option<Place>,
    #[serde(default)]
    pub origin: u64,
    #[serde(default)]
    pub updates_per_epoch: Option<u64>,
    #[serde(default)]
    pub made_of: Option<MadeOf>,
    #[serde(default)]
    pub generation: u64,
    #[serde(default)]
    pub thawed: Vec<String>,
    #[serde(default)]
    pub averages: Vec<String>,
    #[serde(default)]
    unread: Option<Observation>,
    #[serde(default)]
    last_movement: Option<u64>,
}

impl Saved {
    /// Reads the text of [`State::save`].
    pub fn read(text: &str) -> Result<Self, String> {
        let mut saved: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match saved.version {
            VERSION => {}
            1 => {
                let states = &mut saved.controllers.states;
                if let Some(cap) = states.remove("rate cap") {
                    states.insert(OVERFLOW_CAP.to_owned(), cap);
                }
            }
            version => {
                return Err(format!("it has version {version}; this program reads 1 to {VERSION}"));
            }
        }
        Ok(saved)
    }
}

impl State {
    /// The state of a new run.
    pub fn new(identity: Identity, controllers: Controllers, index: Index) -> Self {
        Self {
            identity,
            clock: Clock::default(),
            controllers,
            index,
            prepared: 0,
            seen: Observation::default(),
            decision: Decision::default(),
            unread: None,
            last_movement: None,
            batches: Batches::default(),
            place: Place::default(),
            origin: 0,
            updates_per_epoch: None,
            made_of: None,
            generation: 0,
            thawed: vec![],
            expects_record: None,
            epochs_heard: 0,
            is_past_end: false,
            averages: vec![],
            evaluated: Points::default(),
            raw: Points::default(),
            ledger: Ledger::default(),
            failure: None,
        }
    }

    pub fn save(&mut self) -> String {
        self.ledger.read();
        let unread = self.unread.take().map(Unread::read);
        self.unread = unread.map(Unread::Read);
        let movement = self.last_movement.take().and_then(Reading::read);
        self.last_movement = movement.map(Reading::Read);
        let saved = Saved {
            version: VERSION,
            identity: self.identity.clone(),
            clock: self.clock,
            controllers: self.controllers.save(),
            place: Some(self.place),
            origin: self.origin,
            updates_per_epoch: self.updates_per_epoch,
            made_of: self.made_of,
            generation: self.generation,
            thawed: self.thawed.clone(),
            averages: self.averages.clone(),
            unread,
            last_movement: movement.map(f64::to_bits),
        };
        serde_json::to_string(&saved).unwrap_or_default()
    }

    /// Restores the state from a checkpoint.
    pub fn restore(&mut self, saved: Saved) -> Result<(), String> {
        self.controllers.restore(saved.controllers).map_err(|error| error.to_string())?;
        self.clock = saved.clock;
        self.origin = saved.origin;
        self.thawed = saved.thawed;
        self.generation = saved.generation + 1;
        self.place = saved.place.unwrap_or_default();
        self.unread = saved.unread.map(Unread::Read);
        self.last_movement = saved.last_movement.map(|bits| Reading::Read(f64::from_bits(bits)));
        Ok(())
    }

    /// The warning if a checkpoint has other averages.
    pub fn averages_differ(&self, saved: &[String]) -> Option<String> {
        let in_words = |averages: &[String]| match averages {
            [] => "no averages".to_string(),
            some => some.join(" and "),
        };
        let what = match (saved, &self.averages[..]) {
            (saved, now) if saved == now => return None,
            (_, []) => "it is dropped",
            ([], _) => "the average starts from the weights",
            _ => {
                "a parameter with an average of the same kind continues it, any other starts from its weights"
            }
        };
        let (saved, now) = (in_words(saved), in_words(&self.averages));
        Some(format!("average: the checkpoint has {saved}, but the run has {now}; {what}"))
    }

    /// Whether a checkpoint needs to save nothing but the step.
    pub fn keeps_nothing(&self) -> bool {
        self.controllers.is_empty() && self.identity.groups.is_none()
    }

    /// Drops the measurements of an earlier run.
    pub fn forget_measured(&mut self) {
        self.unread = None;
        self.last_movement = None;
    }

    /// Ends an epoch.
    pub fn end_epoch(&mut self) {
        self.place.epochs += 1;
        (self.place.updates, self.place.rounds) = (0, 0);
    }
}

/// A state shared by the model and the scheduler of one learner.
///
/// A clone of the scheduler, made by cloning the learner, has its own copy. The model follows the scheduler whose rates
/// it is given, since they contain the slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub number: u32,
    state: Arc<Mutex<State>>,
}

/// All slots in use, by number.
static SLOTS: Mutex<Vec<Weak<Mutex<State>>>> = Mutex::new(vec![]);

impl Slot {
    pub fn new(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().position(|slot| slot.strong_count() == 0);
        let number = free.unwrap_or(slots.len());
        match free {
            Some(free) => slots[free] = Arc::downgrade(&state),
            None => slots.push(Arc::downgrade(&state)),
        }
        Self { number: number as u32, state }
    }

    /// The slot of this number.
    pub fn of(number: u32) -> Option<Self> {
        let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        let state = slots.get(number as usize)?.upgrade()?;
        Some(Self { number, state })
    }

    /// A copy that shares nothing.
    pub fn detached(&self) -> Self {
        Self::new(self.lock().clone())
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

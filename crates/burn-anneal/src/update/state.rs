//! What a run has come to, and how the parts of a learner share it.

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

/// The version of what is saved.
const VERSION: u32 = 2;

/// The name of the controller that caps the rate before gradients overflow; in version 1 it was `rate cap`.
pub(crate) const OVERFLOW_CAP: &str = "overflow cap";

/// What a run has come to.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub identity: Identity,
    pub clock: Clock,
    pub controllers: Controllers,
    pub index: Index,
    /// The step that the model is frozen for.
    pub prepared: u64,
    /// What the last update showed.
    pub seen: Observation,
    /// What was decided about it.
    pub decision: Decision,
    /// What was measured of the last update, for controllers that hear late.
    pub unread: Option<Unread>,
    /// How far the last update moved the weights.
    pub last_movement: Option<Reading>,
    pub batches: Batches,
    pub place: Place,
    /// The updates that were made before the schedule began.
    pub origin: u64,
    /// Those of an epoch, where it has a fixed number.
    pub updates_per_epoch: Option<u64>,
    /// What epochs are made of.
    pub made_of: Option<MadeOf>,
    /// How often the run was begun or resumed: which of two checkpoints is newer, whatever their epochs are.
    pub generation: u64,
    /// The groups that began late and train by now.
    pub thawed: Vec<String>,
    /// The record that Burn is to load before the first update.
    pub expects_record: Option<Expected>,
    /// Epochs of which controllers have heard.
    pub epochs_heard: u64,
    /// Whether somebody was told that the schedule has ended.
    pub is_past_end: bool,
    /// The averages in words.
    pub averages: Vec<String>,
    /// What is evaluated in the place of the weights.
    pub evaluated: Points,
    /// The weights that train, since the averages were put in their place.
    pub raw: Points,
    pub ledger: Ledger,
    pub failure: Option<Arc<UpdateError>>,
}

/// What was measured of an update, and read or not.
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

/// What a checkpoint must be of to go on here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Identity {
    /// The fingerprint of the groups, where there are some that somebody asked for.
    pub groups: Option<u64>,
    /// The optimizers by name.
    pub optimizer: String,
}

/// A record that was named to the builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub epoch: usize,
    /// `None` where it is that of another scheduler.
    pub step: Option<u64>,
}

/// Where a run is in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Place {
    /// Epochs that are over.
    pub epochs: u64,
    /// Updates of the epoch after them.
    pub updates: u64,
    /// Batches that each device has had of it.
    pub rounds: u64,
    /// Items of the whole run; `None` where nobody counted them.
    pub items: Option<u64>,
}

/// What a checkpoint saves. An entry that is missing takes its default; one that is unknown is an error.
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
    /// Reads what [`State::save`] wrote.
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
                return Err(format!(
                    "it is of version {version}; this program reads 1 to {VERSION}"
                ));
            }
        }
        Ok(saved)
    }
}

impl State {
    /// That of a run that begins.
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

    /// Goes on from a checkpoint.
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

    /// What is to be said where a checkpoint has other averages.
    pub fn averages_differ(&self, saved: &[String]) -> Option<String> {
        let in_words = |averages: &[String]| match averages {
            [] => "no averages".to_string(),
            some => some.join(" and "),
        };
        let what = match (saved, &self.averages[..]) {
            (saved, now) if saved == now => return None,
            (_, []) => "it is left out",
            ([], _) => "the average begins with the weights",
            _ => {
                "a parameter whose average is of the same kind goes on with it, any other begins with its weights"
            }
        };
        let (saved, now) = (in_words(saved), in_words(&self.averages));
        Some(format!("average: the checkpoint has {saved}, and the run {now}; {what}"))
    }

    /// Whether there is nothing that a checkpoint would have to say but the step.
    pub fn keeps_nothing(&self) -> bool {
        self.controllers.is_empty() && self.identity.groups.is_none()
    }

    /// Forgets what was measured, which is of a run before.
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

/// A state that model and scheduler of one learner share.
///
/// A clone of the scheduler, as a clone of the learner makes it, has a copy of its own; the model follows the
/// scheduler whose rates it is given, which tell the slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub number: u32,
    state: Arc<Mutex<State>>,
}

/// All slots that are in use, by their numbers.
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

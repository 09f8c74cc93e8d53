//! What an update tells the optimizer that runs inside it.
//!
//! Burn shares an optimizer among the clones of a learner, so the optimizer can hold nothing that
//! belongs to one of them. An update runs on one thread from its beginning to its end: what it says
//! stands here for that long, and only for that thread.

use super::measure::{Step, Sum};
use super::members::Known;
use crate::decay::Shrink;
use crate::momentum::DropEffect;
use burn::module::ParamId;
use burn::tensor::{FloatDType, Tensor};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// What happens to the parameters of a group in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub rate: f64,
    pub shrink: Shrink,
    pub frozen: bool,
    pub momentum: Momentum,
}

/// The momentum of a group in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Momentum {
    /// That of the schedule, where there is one.
    pub momentum: Option<f64>,
    pub drop: DropEffect,
}

impl Momentum {
    /// What an optimizer finds where nobody says anything.
    const NONE: Self = Self { momentum: None, drop: DropEffect::NONE };
}

/// What an optimizer has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub momentum: bool,
    pub drop: bool,
    /// It has master weights of its own.
    pub masters: bool,
}

/// Whose state an optimizer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// A parameter of the group with this index.
    Group(usize),
    /// A parameter of which a record told the id.
    Id(ParamId),
}

#[derive(Default)]
struct Context {
    settings: Vec<Setting>,
    known: Arc<HashMap<ParamId, Known>>,
    introduced: Option<usize>,
    strangers: usize,
    /// The group of the parameter that is updated now.
    current: Option<usize>,
    asked: Asked,
    /// The steps of the groups, where they are measured.
    steps: Option<Vec<Step>>,
    /// How far all weights moved, their decay included, where that is measured.
    movement: Option<Sum>,
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// An update from its beginning to its end.
pub(crate) struct Update(Option<Context>);

impl Update {
    /// Begins an update, of which the steps of each group may be measured, and the movement of all weights.
    pub fn begin(
        settings: Vec<Setting>,
        known: Arc<HashMap<ParamId, Known>>,
        measures_steps: bool,
        measures_movement: bool,
    ) -> Self {
        let steps = measures_steps.then(|| vec![Step::default(); settings.len()]);
        let movement = measures_movement.then(Sum::default);
        let context = Context { settings, known, steps, movement, ..Context::default() };
        Self(CONTEXT.replace(Some(context)))
    }

    /// ‖Δw‖₂ so far, where it is measured.
    pub fn take_movement(&self) -> Option<Tensor<1>> {
        let movement = CONTEXT.with_borrow_mut(|context| context.as_mut()?.movement.take());
        movement?.root()
    }

    /// The steps of the groups so far, where they are measured.
    pub fn take_steps(&self) -> Option<Vec<Step>> {
        CONTEXT.with_borrow_mut(|context| context.as_mut()?.steps.take())
    }

    /// Begins the introduction of parameters of a group.
    pub fn introducing(group: usize) -> Self {
        let context = Context { introduced: Some(group), ..Context::default() };
        Self(CONTEXT.replace(Some(context)))
    }

    /// Begins an update of parameters that are all of one group, of which nobody needs to be told.
    pub fn of_one_group(setting: Setting) -> Self {
        let context = Context { settings: vec![setting], current: Some(0), ..Context::default() };
        Self(CONTEXT.replace(Some(context)))
    }

    /// What optimizers have asked for since it began.
    pub fn asked(&self) -> Asked {
        CONTEXT.with_borrow(|context| context.as_ref().map_or(Asked::default(), |c| c.asked))
    }

    /// How many parameters nobody had introduced.
    pub fn strangers(&self) -> usize {
        CONTEXT.with_borrow(|context| context.as_ref().map_or(0, |context| context.strangers))
    }
}

impl Drop for Update {
    fn drop(&mut self) {
        CONTEXT.set(self.0.take());
    }
}

/// What an optimizer does with a parameter.
pub(crate) enum Answer {
    /// Remember its group, and leave the parameter as it is.
    Remember(usize),
    /// Update it, as one of this group.
    Update(usize, Setting),
    /// Leave it as it is.
    Leave,
}

/// Asks about a parameter, of which the state tells the owner.
pub(crate) fn ask(owner: Option<Owner>) -> Answer {
    CONTEXT.with_borrow_mut(|context| {
        let Some(context) = context else {
            log::error!("an optimizer of groups ran outside of an update; nothing was updated");
            return Answer::Leave;
        };
        if let Some(group) = context.introduced {
            return Answer::Remember(group);
        }
        let group = match owner {
            Some(Owner::Group(group)) => Some(group),
            Some(Owner::Id(id)) => context.known.get(&id).and_then(|known| known.group),
            None => None,
        };
        match group.and_then(|group| Some((group, *context.settings.get(group)?))) {
            Some((_, Setting { frozen: true, .. })) => Answer::Leave,
            Some((group, setting)) => {
                context.current = Some(group);
                Answer::Update(group, setting)
            }
            None => {
                context.strangers += 1;
                Answer::Leave
            }
        }
    })
}

/// The momentum of the parameter that is updated now.
pub(crate) fn current_momentum() -> Option<f64> {
    current(|asked| asked.momentum = true).momentum
}

/// What a drop of the rate does to the parameter that is updated now.
pub(crate) fn current_drop() -> DropEffect {
    current(|asked| asked.drop = true).drop
}

/// Whether parameters are introduced, so that what an optimizer with master weights sees is not the real one.
pub(crate) fn is_introducing() -> bool {
    CONTEXT.with_borrow_mut(|context| {
        let Some(context) = context else { return false };
        context.asked.masters = true;
        context.introduced.is_some()
    })
}

fn current(ask: impl FnOnce(&mut Asked)) -> Momentum {
    CONTEXT.with_borrow_mut(|context| {
        let Some(context) = context else { return Momentum::NONE };
        ask(&mut context.asked);
        let setting = context.current.and_then(|group| context.settings.get(group));
        setting.map_or(Momentum::NONE, |setting| setting.momentum)
    })
}

/// Whether the steps of this update are measured.
pub(crate) fn is_measured() -> bool {
    CONTEXT.with_borrow(|context| context.as_ref().is_some_and(|context| context.steps.is_some()))
}

/// Whether the movement of all weights is measured in this update.
pub(crate) fn is_movement_measured() -> bool {
    CONTEXT
        .with_borrow(|context| context.as_ref().is_some_and(|context| context.movement.is_some()))
}

/// Measures the movement of a parameter, by its decay too.
pub(crate) fn measure_movement<const D: usize>(moved: Tensor<D>) {
    CONTEXT.with_borrow_mut(|context| {
        if let Some(movement) = context.as_mut().and_then(|context| context.movement.as_mut()) {
            movement.add(moved.cast(FloatDType::F32));
        }
    });
}

/// Measures a parameter that moved from `before`, its decay done, to `after`.
pub(crate) fn measure<const D: usize>(before: Tensor<D>, after: Tensor<D>) {
    CONTEXT.with_borrow_mut(|context| {
        let Some(Context { steps: Some(steps), current: Some(group), .. }) = context else {
            return;
        };
        steps[*group].add(before, after);
    });
}

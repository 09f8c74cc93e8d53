//! What a pass and an update tell those that run inside them.
//!
//! Burn hands a `TrainStep::step` a model and a batch, and an optimizer rate, weight, gradient and state; both may be
//! shared by the clones of a learner, so they can hold nothing that belongs to one of them. A pass, and an update,
//! runs on one thread from its beginning to its end: what it says stands here for that long, and only for that
//! thread. Passes and updates of several learners may lie inside each other, where a thread takes up other work
//! while it waits; each puts its own in the place of the outer one, and that back when it ends.

use super::average::Shown;
use super::measure::{Step, Sum};
use super::signals::on_one_device;
use super::tensors::in_f32;
use crate::groups::Groups;
use anneal_schedule::DropEffect;
use burn::module::ParamId;
use burn::tensor::{FloatDType, Tensor};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The weights that a parameter is evaluated at: Σ factor · tensor, in f32 at least.
pub(crate) type Evaluated = Vec<(Tensor<1>, f64)>;

/// What happens to the parameters of a group in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub rate: f64,
    /// What the rate may not exceed, whatever a model makes of it.
    pub cap: f64,
    pub shrink: Shrink,
    pub frozen: bool,
    pub momentum: Momentum,
}

/// What a decay takes in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shrink {
    /// The share of each weight.
    pub share: f64,
    /// Whether only weights shrink that the update moves towards 0, or leaves.
    pub cautious: bool,
}

impl Shrink {
    /// Where nothing decays.
    pub const NONE: Self = Self { share: 0.0, cautious: false };
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
    pub const NONE: Self = Self { momentum: None, drop: DropEffect::NONE };
}

/// What an optimizer has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub momentum: bool,
    pub drop: bool,
    /// It has master weights of its own.
    pub masters: bool,
    /// It trains at other weights than those that are evaluated, and decays them itself.
    pub evaluation: bool,
}

/// Whose state an optimizer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The parameter of this index, of a learner.
    Index { learner: u64, index: u32 },
    /// A parameter of which a record told the id.
    Id(ParamId),
}

/// The parameters of a learner, for an optimizer that holds a state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub ids: HashMap<ParamId, u32>,
    /// The group of each by its index; `None` for what is not trained.
    pub groups: Vec<Option<u32>>,
}

/// What an update says, and hears of its parameters.
pub(crate) struct Settings {
    pub learner: u64,
    pub known: Arc<Known>,
    pub groups: Vec<Setting>,
    /// The rate that Burn is given; the least there is in the place of 0, so that a factor of it shows.
    pub base: f64,
    /// The step of the schedule, and the groups, of which the decay may follow the rate.
    pub step: u64,
    pub resolved: Groups,
    /// Where the steps of the groups are measured.
    pub steps: Option<Vec<Step>>,
    /// How far all weights moved, their decay included, where that is measured.
    pub movement: Option<Sum>,
    /// Whether each parameter keeps its gradient, to be compared with that of the next update.
    pub keeps_gradients: bool,
    /// Whether there are averages.
    pub keeps_averages: bool,
}

/// More than that is no factor that somebody made of a rate of 0, but a rate of their own.
const MAX_OF_ZERO: f64 = 1e9;

/// What an update heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// Parameters that were updated, or left because they are frozen.
    pub reached: usize,
    /// Parameters of which nobody knows whose they are.
    pub unknown: usize,
    pub steps: Option<Vec<Step>>,
    /// ‖Δw‖₂.
    pub movement: Option<Tensor<1>>,
    /// A rate that somebody gave the optimizer in the place of 0.
    pub rate_for_zero: Option<f64>,
}

/// A parameter that is shown to an optimizer before it is updated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub learner: u64,
    pub index: u32,
    /// Whether the weight that is shown is the one that master weights begin with.
    pub is_master: bool,
}

enum Context {
    Update {
        settings: Box<Settings>,
        heard: Box<Heard>,
        current: Option<usize>,
    },
    Registration(Registration),
    /// Gradients times those of the update before, which the states hold.
    Comparison {
        products: Vec<Tensor<1>>,
    },
    /// A parameter is shown as it is now, for its average, and does not move.
    Averaging {
        id: ParamId,
        shown: Shown,
        evaluated: Option<Evaluated>,
    },
    /// One group, of which nobody needs to be told.
    Probe {
        setting: Setting,
        asked: Asked,
    },
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// How often the optimizer of each learner ran where no update of its does.
static MISSES: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// How often the optimizer of a learner ran on a thread without its update, since the program began.
pub(crate) fn misses(learner: u64) -> u64 {
    MISSES.lock().unwrap_or_else(PoisonError::into_inner).get(&learner).copied().unwrap_or(0)
}

fn miss(owner: Option<Owner>) -> Told {
    if let Some(Owner::Index { learner, .. }) = owner {
        *MISSES.lock().unwrap_or_else(PoisonError::into_inner).entry(learner).or_default() += 1;
    }
    Told::Leave
}

/// An update, an registration or a probe, from its beginning to its end.
pub(crate) struct Scope(Option<Context>);

impl Scope {
    pub fn update(settings: Settings) -> Self {
        let (settings, heard) = (Box::new(settings), Box::default());
        Self::begin(Context::Update { settings, heard, current: None })
    }

    pub fn registration(registration: Registration) -> Self {
        Self::begin(Context::Registration(registration))
    }

    pub fn comparison() -> Self {
        Self::begin(Context::Comparison { products: vec![] })
    }

    /// Shows a parameter for its average.
    pub fn averaging(id: ParamId, shown: Shown) -> Self {
        Self::begin(Context::Averaging { id, shown, evaluated: None })
    }

    pub fn probe(setting: Setting) -> Self {
        Self::begin(Context::Probe { setting, asked: Asked::default() })
    }

    fn begin(context: Context) -> Self {
        Self(CONTEXT.replace(Some(context)))
    }

    /// What the update heard.
    pub fn heard(self) -> Heard {
        CONTEXT.with_borrow_mut(|context| match context {
            Some(Context::Update { settings, heard, .. }) => Heard {
                steps: settings.steps.take(),
                movement: settings.movement.take().and_then(Sum::root),
                ..std::mem::take(&mut **heard)
            },
            _ => Heard::default(),
        })
    }

    /// The sum of all products; `None` where there was no gradient before.
    pub fn product(self) -> Option<Tensor<1>> {
        CONTEXT.with_borrow_mut(|context| match context {
            Some(Context::Comparison { products }) => {
                on_one_device(std::mem::take(products)).map(Tensor::sum)
            }
            _ => None,
        })
    }

    /// What the parameter that was shown is evaluated at; `None` for its weight as it is.
    pub fn evaluated(self) -> Option<Evaluated> {
        CONTEXT.with_borrow_mut(|context| match context {
            Some(Context::Averaging { evaluated, .. }) => evaluated.take(),
            _ => None,
        })
    }

    /// What optimizers asked for.
    pub fn asked(self) -> Asked {
        CONTEXT.with_borrow(|context| match context {
            Some(Context::Probe { asked, .. }) => *asked,
            _ => Asked::default(),
        })
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CONTEXT.set(self.0.take());
    }
}

/// What is measured of a parameter while it is updated, and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    pub step: bool,
    pub movement: bool,
    /// Its gradient is kept.
    pub gradient: bool,
    /// Its average is kept.
    pub average: bool,
}

/// What an optimizer does with a parameter.
pub(crate) enum Told {
    /// Remember whose it is, and leave the parameter as it is.
    Remember(Owner),
    /// Update it.
    Update { owner: Owner, rate: f64, shrink: Shrink, measures: Measures },
    /// Compare its gradient with the one before, and leave it as it is.
    Compare,
    /// See to its average, and leave it as it is.
    Average { owner: Owner, shown: Shown },
    /// Leave it as it is.
    Leave,
}

/// Asks about a parameter, of which the state tells the owner, and which Burn would update at `rate`.
pub(crate) fn ask(owner: Option<Owner>, rate: f64) -> Told {
    CONTEXT.with_borrow_mut(|context| match context {
        Some(Context::Registration(Registration { learner, index, .. })) => {
            Told::Remember(Owner::Index { learner: *learner, index: *index })
        }
        Some(Context::Update { settings, heard, current }) => {
            let index = match owner {
                Some(Owner::Index { learner, .. }) if learner != settings.learner => {
                    return miss(owner);
                }
                Some(Owner::Index { index, .. }) => Some(index),
                Some(Owner::Id(id)) => settings.known.ids.get(&id).copied(),
                None => None,
            };
            let group = index.and_then(|index| {
                Some((index, (*settings.known.groups.get(index as usize)?)? as usize))
            });
            let Some((index, group)) = group else {
                heard.unknown += 1;
                return Told::Leave;
            };
            let setting = settings.groups[group];
            heard.reached += 1;
            if setting.frozen {
                return Told::Leave;
            }
            *current = Some(group);
            // What a model's own `TrainStep::optimize` made of the rate.
            let factor = if rate == settings.base { 1.0 } else { rate / settings.base };
            if factor > MAX_OF_ZERO && settings.base == f64::MIN_POSITIVE {
                heard.rate_for_zero = Some(rate);
                return Told::Leave;
            }
            let rate = (setting.rate * factor).min(setting.cap);
            let share = match rate == setting.rate {
                true => setting.shrink.share,
                false => settings.resolved.table.groups[group].shrinkage.at(settings.step, rate),
            };
            Told::Update {
                owner: Owner::Index { learner: settings.learner, index },
                rate,
                shrink: Shrink { share, ..setting.shrink },
                measures: Measures {
                    step: settings.steps.is_some(),
                    movement: settings.movement.is_some(),
                    gradient: settings.keeps_gradients,
                    average: settings.keeps_averages,
                },
            }
        }
        Some(Context::Comparison { .. }) => Told::Compare,
        Some(Context::Averaging { id, shown, .. }) => {
            Told::Average { owner: owner.unwrap_or(Owner::Id(*id)), shown: *shown }
        }
        _ => miss(owner),
    })
}

/// Adds the product of a gradient and the one before.
pub(crate) fn measure_product(gradient: Tensor<1>, before: Tensor<1>) {
    let before = in_f32(before.to_device(&gradient.device()));
    let product = (in_f32(gradient) * before).sum();
    CONTEXT.with_borrow_mut(|context| {
        if let Some(Context::Comparison { products }) = context {
            products.push(product);
        }
    });
}

/// Measures a parameter of which all movement, its decay included, is `moved`.
pub(crate) fn measure_movement<const D: usize>(moved: Tensor<D>) {
    CONTEXT.with_borrow_mut(|context| {
        let Some(Context::Update { settings, .. }) = context else { return };
        if let Some(movement) = &mut settings.movement {
            movement.add(moved.cast(FloatDType::F32));
        }
    });
}

/// Measures a parameter that moved from `before`, its decay done, to `after`.
pub(crate) fn measure_step<const D: usize>(before: Tensor<D>, after: Tensor<D>) {
    CONTEXT.with_borrow_mut(|context| {
        let Some(Context::Update { settings, current: Some(group), .. }) = context else { return };
        if let Some(steps) = &mut settings.steps {
            steps[*group].add(before, after);
        }
    });
}

/// The momentum of the parameter that is updated now.
pub(crate) fn current_momentum() -> Option<f64> {
    current(|asked| asked.momentum = true).momentum
}

/// What a drop of the rate does to the parameter that is updated now.
pub(crate) fn current_drop() -> DropEffect {
    current(|asked| asked.drop = true).drop
}

/// The parameter that is registered now, so that what an optimizer with master weights sees is not updated.
pub(crate) fn registration() -> Option<Registration> {
    current(|asked| asked.masters = true);
    CONTEXT.with_borrow(|context| match context {
        Some(Context::Registration(registration)) => Some(*registration),
        _ => None,
    })
}

/// Whether a parameter is only shown, to say by [`evaluate_at`] what it is evaluated at. For optimizers that train at
/// other weights.
pub(crate) fn is_averaging() -> bool {
    current(|asked| asked.evaluation = true);
    CONTEXT.with_borrow(|context| matches!(context, Some(Context::Averaging { .. })))
}

/// Says what the parameter that is shown is evaluated at.
pub(crate) fn evaluate_at(weights: Evaluated) {
    CONTEXT.with_borrow_mut(|context| {
        if let Some(Context::Averaging { evaluated, .. }) = context {
            *evaluated = Some(weights);
        }
    });
}

/// What the decay of the parameter that is updated now takes at this rate. For optimizers that train at other weights,
/// which decay them themselves.
pub(crate) fn current_shrink(rate: f64) -> Shrink {
    CONTEXT.with_borrow(|context| match context {
        Some(Context::Update { settings, current: Some(group), .. }) => {
            let shrinkage = &settings.resolved.table.groups[*group].shrinkage;
            Shrink { share: shrinkage.at(settings.step, rate), cautious: shrinkage.is_cautious() }
        }
        _ => Shrink::NONE,
    })
}

fn current(ask: impl FnOnce(&mut Asked)) -> Momentum {
    CONTEXT.with_borrow_mut(|context| match context {
        Some(Context::Probe { setting, asked }) => {
            ask(asked);
            setting.momentum
        }
        Some(Context::Update { settings, current: Some(group), .. }) => {
            settings.groups[*group].momentum
        }
        _ => Momentum::NONE,
    })
}

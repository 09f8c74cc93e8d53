//! The thread-local context of the current pass or update.
//!
//! Burn passes a `TrainStep::step` a model and a batch, and an optimizer the rate, weight, gradient and state. Clones
//! of a learner may share both, so they cannot hold the state of one of them. But a pass or an update runs on one
//! thread from start to end, so its context is stored here for that time, for that thread only. Passes and updates of
//! several learners may be nested if a thread does other work while it waits; each replaces the outer context and
//! restores it when it ends.

use super::average::Shown;
use super::measure::{Step, Sum};
use super::reduce::Factor;
use super::signals::on_one_device;
use super::tensors::in_f32;
use crate::groups::Groups;
use anneal_config::AverageRule;
use anneal_schedule::DropEffect;
use burn::module::ParamId;
use burn::tensor::{FloatDType, Tensor};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The weights that a parameter is evaluated at: Σ factor · tensor, in at least f32.
pub(crate) type Evaluated = Vec<(Tensor<1>, f64)>;

/// The settings of a group's parameters in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub rate: f64,
    /// The largest rate allowed, even if the model changes the rate.
    pub cap: f64,
    pub shrink: Shrink,
    pub frozen: bool,
    pub momentum: Momentum,
}

/// The decay of one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shrink {
    /// The share of each weight that it removes.
    pub share: f64,
    /// Whether it applies only to weights that the update moves toward 0 or not at all.
    pub cautious: bool,
}

impl Shrink {
    /// No decay.
    pub const NONE: Self = Self { share: 0.0, cautious: false };
}

/// The momentum of a group in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Momentum {
    /// The scheduled momentum, if there is a schedule.
    pub momentum: Option<f64>,
    pub drop: DropEffect,
}

impl Momentum {
    /// The default without a schedule.
    pub const NONE: Self = Self { momentum: None, drop: DropEffect::NONE };
}

/// The needs of an optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub momentum: bool,
    pub drop: bool,
    /// It has master weights of its own.
    pub masters: bool,
    /// It evaluates other weights than it trains, and decays them itself.
    pub evaluation: bool,
}

/// The parameter that an optimizer state belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The parameter with this index in a learner.
    Index { learner: u64, index: u32 },
    /// The parameter with this id, from a record.
    Id(ParamId),
}

/// The parameters of a learner, for an optimizer with state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub ids: HashMap<ParamId, u32>,
    /// The id of each parameter by index; `None` if the model no longer has it.
    pub id_of: Vec<Option<ParamId>>,
    /// The group of each parameter by index; `None` if it is not trained.
    pub groups: Vec<Option<u32>>,
    /// The average of each parameter by index.
    pub averages: Vec<Option<usize>>,
}

/// The settings of an update, and the measurements of its parameters.
pub(crate) struct Settings {
    pub learner: u64,
    pub known: Arc<Known>,
    pub groups: Vec<Setting>,
    /// What each gradient is multiplied by.
    pub factor: Factor,
    /// The rate passed to Burn; the smallest positive number instead of 0, so that a factor on it shows.
    pub base: f64,
    /// The step of the schedule, and the groups, whose decay may follow the rate.
    pub step: u64,
    pub resolved: Groups,
    /// The steps of the groups, if measured.
    pub steps: Option<Vec<Step>>,
    /// How far all weights moved, including decay, if measured.
    pub movement: Option<Sum>,
    /// Whether each parameter keeps its gradient, to compare it with that of the next update.
    pub keeps_gradients: bool,
    /// Whether there are averages.
    pub keeps_averages: bool,
    /// The rule of each average that takes the weights in this update; empty if they are taken after it.
    pub averages_due: Vec<Option<AverageRule>>,
}

/// A larger factor on a rate of 0 means that the model has replaced the rate.
const MAX_OF_ZERO: f64 = 1e9;

/// The result of an update.
#[derive(Default)]
pub(crate) struct Heard {
    /// The number of parameters that were updated, or are frozen.
    pub reached: usize,
    /// The number of parameters that are not known.
    pub unknown: usize,
    pub steps: Option<Vec<Step>>,
    /// ‖Δw‖₂.
    pub movement: Option<Tensor<1>>,
    /// A rate that the optimizer got instead of 0.
    pub rate_for_zero: Option<f64>,
    /// The weights that parameters are evaluated at, if these were found in the update.
    pub evaluated: Vec<(ParamId, Evaluated)>,
}

/// A parameter that is shown to an optimizer before its update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub learner: u64,
    pub index: u32,
    /// Whether the shown weight is the initial master weight.
    pub is_master: bool,
}

/// The parameter being updated.
#[derive(Clone, Copy)]
struct Current {
    index: u32,
    group: usize,
}

enum Context {
    Update {
        settings: Box<Settings>,
        heard: Box<Heard>,
        current: Option<Current>,
    },
    Registration(Registration),
    /// Products of gradients with those of the previous update, which the states hold.
    Comparison {
        factor: Factor,
        products: Vec<Tensor<1>>,
    },
    /// A parameter is shown for its average, and stays unchanged.
    Averaging {
        id: ParamId,
        shown: Shown,
        evaluated: Option<Evaluated>,
    },
    /// A test update of one group.
    Probe {
        setting: Setting,
        asked: Asked,
    },
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// How often the optimizer of each learner ran outside its update.
static MISSES: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// How often the optimizer of a learner ran on a thread without its update, since the start of the program.
pub(crate) fn misses(learner: u64) -> u64 {
    MISSES.lock().unwrap_or_else(PoisonError::into_inner).get(&learner).copied().unwrap_or(0)
}

fn miss(owner: Option<Owner>) -> Told {
    if let Some(Owner::Index { learner, .. }) = owner {
        *MISSES.lock().unwrap_or_else(PoisonError::into_inner).entry(learner).or_default() += 1;
    }
    Told::Leave
}

/// The scope of an update, a registration or a probe, from start to end.
pub(crate) struct Scope(Option<Context>);

impl Scope {
    pub fn update(settings: Settings) -> Self {
        let (settings, heard) = (Box::new(settings), Box::default());
        Self::begin(Context::Update { settings, heard, current: None })
    }

    pub fn registration(registration: Registration) -> Self {
        Self::begin(Context::Registration(registration))
    }

    /// Compares gradients times a factor.
    pub fn comparison(factor: Factor) -> Self {
        Self::begin(Context::Comparison { factor, products: vec![] })
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

    /// The result of the update.
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

    /// The sum of all products; `None` if there was no earlier gradient.
    pub fn product(self) -> Option<Tensor<1>> {
        CONTEXT.with_borrow_mut(|context| match context {
            Some(Context::Comparison { products, .. }) => {
                on_one_device(std::mem::take(products)).map(Tensor::sum)
            }
            _ => None,
        })
    }

    /// The evaluated weights of the shown parameter; `None` if it is its own weight.
    pub fn evaluated(self) -> Option<Evaluated> {
        CONTEXT.with_borrow_mut(|context| match context {
            Some(Context::Averaging { evaluated, .. }) => evaluated.take(),
            _ => None,
        })
    }

    /// The needs of the optimizers.
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

/// What to keep of a parameter during an update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    pub step: bool,
    pub movement: bool,
    /// Whether to keep its gradient.
    pub gradient: bool,
    /// Whether to keep its average.
    pub average: bool,
    /// How to add its weight to the average, if this is due.
    pub averaged_by: Option<AverageRule>,
}

/// What an optimizer must do with a parameter.
pub(crate) enum Told {
    /// Remember its owner, and leave the parameter unchanged.
    Remember { owner: Owner, is_master: bool },
    /// Update it.
    Update { owner: Owner, rate: f64, shrink: Shrink, factor: Factor, measures: Measures },
    /// Compare its gradient, times a factor, with the previous one, and leave it unchanged.
    Compare(Factor),
    /// Handle its average, and leave it unchanged.
    Average { owner: Owner, shown: Shown },
    /// Leave it unchanged.
    Leave,
}

impl Told {
    /// The owner of the parameter, if it gets a state.
    pub fn owner(&self) -> Option<Owner> {
        match self {
            Self::Remember { owner, .. }
            | Self::Update { owner, .. }
            | Self::Average { owner, .. } => Some(*owner),
            Self::Compare(_) | Self::Leave => None,
        }
    }
}

/// Asks what to do with a parameter, whose owner is in its state, and which Burn would update at `rate`.
pub(crate) fn ask(owner: Option<Owner>, rate: f64) -> Told {
    CONTEXT.with_borrow_mut(|context| match context {
        Some(Context::Registration(Registration { learner, index, is_master })) => {
            let owner = Owner::Index { learner: *learner, index: *index };
            Told::Remember { owner, is_master: *is_master }
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
            *current = Some(Current { index, group });
            // The model's own `TrainStep::optimize` may have changed the rate.
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
                factor: settings.factor.clone(),
                measures: Measures {
                    step: settings.steps.is_some(),
                    movement: settings.movement.is_some(),
                    gradient: settings.keeps_gradients,
                    average: settings.keeps_averages,
                    averaged_by: settings.known.averages[index as usize]
                        .and_then(|average| *settings.averages_due.get(average)?),
                },
            }
        }
        Some(Context::Comparison { factor, .. }) => Told::Compare(factor.clone()),
        Some(Context::Averaging { id, shown, .. }) => {
            Told::Average { owner: owner.unwrap_or(Owner::Id(*id)), shown: *shown }
        }
        _ => miss(owner),
    })
}

/// Adds the product of a gradient and the previous one.
pub(crate) fn measure_product(gradient: Tensor<1>, before: Tensor<1>) {
    let before = in_f32(before.to_device(&gradient.device()));
    let product = (in_f32(gradient) * before).sum();
    CONTEXT.with_borrow_mut(|context| {
        if let Some(Context::Comparison { products, .. }) = context {
            products.push(product);
        }
    });
}

/// Measures a parameter whose whole movement, including decay, is `moved`.
pub(crate) fn measure_movement<const D: usize>(moved: Tensor<D>) {
    CONTEXT.with_borrow_mut(|context| {
        let Some(Context::Update { settings, .. }) = context else { return };
        if let Some(movement) = &mut settings.movement {
            movement.add(moved.cast(FloatDType::F32));
        }
    });
}

/// Measures a parameter that moved from `before`, after its decay, to `after`.
pub(crate) fn measure_step<const D: usize>(before: Tensor<D>, after: Tensor<D>) {
    CONTEXT.with_borrow_mut(|context| {
        let Some(Context::Update { settings, current: Some(current), .. }) = context else {
            return;
        };
        if let Some(steps) = &mut settings.steps {
            steps[current.group].add(before, after);
        }
    });
}

/// The momentum of the parameter being updated.
pub(crate) fn current_momentum() -> Option<f64> {
    current(|asked| asked.momentum = true).momentum
}

/// The effect of a rate drop on the parameter being updated.
pub(crate) fn current_drop() -> DropEffect {
    current(|asked| asked.drop = true).drop
}

/// Says that an optimizer has master weights of its own.
pub(crate) fn has_masters() {
    current(|asked| asked.masters = true);
}

/// Whether a parameter is only shown, to report its evaluated weights with [`evaluate_at`]. For optimizers that
/// evaluate other weights than they train.
pub(crate) fn is_averaging() -> bool {
    current(|asked| asked.evaluation = true);
    CONTEXT.with_borrow(|context| matches!(context, Some(Context::Averaging { .. })))
}

/// Reports the evaluated weights of the parameter that is shown or updated.
pub(crate) fn evaluate_at(weights: Evaluated) {
    CONTEXT.with_borrow_mut(|context| match context {
        Some(Context::Averaging { evaluated, .. }) => *evaluated = Some(weights),
        Some(Context::Update { settings, heard, current: Some(current) }) => {
            let id = settings.known.id_of[current.index as usize];
            heard.evaluated.extend(id.map(|id| (id, weights)));
        }
        _ => {}
    });
}

/// The decay of the parameter being updated at this rate. For optimizers that evaluate other weights than they train,
/// and decay them themselves.
pub(crate) fn current_shrink(rate: f64) -> Shrink {
    CONTEXT.with_borrow(|context| match context {
        Some(Context::Update { settings, current: Some(current), .. }) => {
            let shrinkage = &settings.resolved.table.groups[current.group].shrinkage;
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
        Some(Context::Update { settings, current: Some(current), .. }) => {
            settings.groups[current.group].momentum
        }
        _ => Momentum::NONE,
    })
}

//! An optimizer that treats each parameter as its group says.

use super::context::{
    Answer, Asked, Momentum, Owner, Setting, Update, ask, is_measured, is_movement_measured,
    measure, measure_movement,
};
use super::members::{At, Members};
use super::{GroupError, Groups};
use crate::decay::{self, DecayError, Outcome, Shrink, decays_by_itself};
use crate::momentum::DropEffect;
use crate::precision::MasterWeights;
use burn::module::{Module, Param, ParamId};
use burn::optim::{
    GradientsParams, LearningRate, ModuleOptimizer, MultiGradientsParams, Optimizer,
    OptimizerRecord, RecordState, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};

/// Wraps an optimizer so that each parameter has its group's rate and decay.
///
/// Burn tells an optimizer neither the name nor the id of the parameter, only its state. So the state
/// says which parameter it is of: one that is new is introduced by [`Members`], and Burn's record has
/// the id in the name of each of its entries. Nothing is added to the record: it is that of the wrapped
/// optimizer.
#[derive(Clone)]
pub(crate) struct Grouped<O> {
    inner: O,
}

impl<O: Optimizer> Grouped<O> {
    pub fn new(inner: O) -> Self {
        Self { inner }
    }
}

/// The state of one parameter, and which parameter that is.
#[derive(Clone)]
pub(crate) struct GroupedState<S> {
    of: Owner,
    inner: Option<S>,
}

impl<S: RecordState> RecordState for GroupedState<S> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(inner) = &self.inner {
            inner.state_flatten(prefix, out);
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let of = Owner::Id(ParamId::from(prefix.parse::<u64>().ok()?));
        Some(Self { of, inner: S::state_unflatten(prefix, source, device) })
    }
}

impl<O: Optimizer> Optimizer for Grouped<O> {
    type State<const D: usize> = GroupedState<O::State<D>>;

    fn step<const D: usize>(
        &self,
        _rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (of, inner) = match state {
            Some(state) => (Some(state.of), state.inner),
            None => (None, None),
        };
        match ask(of) {
            Answer::Update(group, Setting { rate, shrink, .. }) => {
                let before = is_movement_measured().then(|| tensor.clone());
                let Outcome { weight, state: inner, decayed } =
                    decay::step(&self.inner, rate, shrink, tensor, gradient, inner, is_measured());
                if let Some(before) = before {
                    measure_movement(weight.clone() - before);
                }
                if let Some(decayed) = decayed {
                    measure(decayed, weight.clone());
                }
                (weight, Some(GroupedState { of: Owner::Group(group), inner }))
            }
            Answer::Remember(group) => {
                (tensor, Some(GroupedState { of: Owner::Group(group), inner }))
            }
            Answer::Leave => (tensor, of.map(|of| GroupedState { of, inner })),
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let inner = state.inner.map(|inner| O::to_device(inner, device));
        GroupedState { of: state.of, inner }
    }
}

/// Groups and their optimizer for a training loop of one's own.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, SgdConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::groups::{GroupOptimizer, layer_decay};
/// use burn_anneal::prelude::*;
///
/// let run = RunLength::updates(100);
/// let device = Device::default().autodiff();
/// let model = vec![LinearConfig::new(4, 8).init(&device), LinearConfig::new(8, 2).init(&device)];
/// let schedule = cosine(0.1).resolve(run)?;
/// let groups = layer_decay(0.5).unfreeze_every(Span::percent(20.0)).resolve(&model, &schedule, run)?;
///
/// let mut optimizer = GroupOptimizer::new(groups, SgdConfig::new().build())?;
/// let mut model = optimizer.prepare(model);
/// for _ in 0..3 {
///     let input = Tensor::<2>::ones([1, 4], &device);
///     let loss = model.iter().fold(input, |x, layer| layer.forward(x).tanh()).sum();
///     let gradients = GradientsParams::from_grads(loss.backward(), &model);
///     model = optimizer.step(model, gradients);
/// }
/// assert!(optimizer.explain().groups[0].frozen);
/// assert_eq!(optimizer.next_step(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct GroupOptimizer {
    groups: Groups,
    members: Members,
    optimizer: ModuleOptimizer,
}

impl GroupOptimizer {
    /// Starts at update 0. The optimizer's rate, decay and momentum come from the groups.
    ///
    /// # Errors
    /// [`GroupError::Decay`] where groups and optimizer decay both, [`GroupError::Momentum`] where the
    /// optimizer does not follow a momentum that the groups have.
    pub fn new(groups: Groups, optimizer: impl Optimizer) -> Result<Self, GroupError> {
        check_optimizer(&groups, &ModuleOptimizer::from(optimizer.clone()))?;
        let optimizer = Grouped::new(optimizer).into();
        Ok(Self { groups, members: Members::new(0), optimizer })
    }

    /// As [`new`](Self::new), with [master weights](MasterWeights) for a model in half precision: rates,
    /// decays and the optimizer work on its copy in f32.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_master_weights(
        groups: Groups,
        optimizer: impl Optimizer,
    ) -> Result<Self, GroupError> {
        check_optimizer(&groups, &ModuleOptimizer::from(optimizer.clone()))?;
        let optimizer = MasterWeights::new(Grouped::new(optimizer)).into();
        Ok(Self { groups, members: Members::new(0), optimizer })
    }

    /// Freezes what the next update does not train, and looks the parameters up: once, before the first
    /// forward pass, and again after weights or a record were loaded. [`step`](Self::step) keeps it up
    /// to date.
    pub fn prepare<M: Module>(&mut self, model: M) -> M {
        self.members.expect_other_ids();
        self.groups.prepare(model, self.next_step())
    }

    /// Makes an update with its rates, and prepares the model for the next.
    pub fn step<M: Module>(&mut self, model: M, gradients: GradientsParams) -> M {
        self.update(model, |rate, model, optimizer| optimizer.step(rate, model, gradients))
    }

    /// As [`step`](Self::step), with the sum of gradients from several devices.
    pub fn step_multi<M: Module>(&mut self, model: M, gradients: MultiGradientsParams) -> M {
        self.update(model, |rate, model, optimizer| optimizer.step_multi(rate, model, gradients))
    }

    fn update<M: Module>(
        &mut self,
        model: M,
        optimize: impl FnOnce(LearningRate, M, &mut ModuleOptimizer) -> M,
    ) -> M {
        let step = self.next_step();
        let rate = self.groups.schedule().rate(step);
        let optimize = |model, optimizer: &mut _| optimize(rate, model, optimizer);
        self.members.update(&self.groups, At::step(step), model, &mut self.optimizer, optimize)
    }

    /// Counts an update that is left out, as after an overflow in half precision, and prepares the model for
    /// the next. Where the schedule shall wait instead, nothing is to be done.
    pub fn skip<M: Module>(&mut self, model: M) -> M {
        let step = self.next_step();
        self.members.skip(&self.groups, step, model)
    }

    /// The number of the next update.
    pub fn next_step(&self) -> u64 {
        self.members.next_step()
    }

    /// The groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// What each group is and does in the next update.
    pub fn explain(&self) -> super::Explanation {
        self.groups.explain(self.next_step())
    }

    /// The state of the optimizer, to be saved beside [`next_step`](Self::next_step).
    pub fn to_record(&self) -> OptimizerRecord {
        self.optimizer.to_record()
    }

    /// Goes on at `next_step` with a saved state. Whether it was saved in the same groups says
    /// [`Groups::fingerprint`].
    pub fn load_record(mut self, record: OptimizerRecord, next_step: u64) -> Self {
        self.optimizer = self.optimizer.load_record(record);
        self.members = Members::new(next_step);
        self
    }
}

/// Whether the optimizer does what the groups ask of it, and nothing that they do too.
pub(crate) fn check_optimizer(
    groups: &Groups,
    optimizer: &ModuleOptimizer,
) -> Result<(), GroupError> {
    let all = &groups.table.groups;
    if let Some(said) = groups.table.said_of_decay.as_ref().filter(|_| decays_by_itself(optimizer))
    {
        return Err(DecayError::Doubled { weight_decay: said.clone() }.into());
    }
    let asked = what_it_asks(optimizer);
    if asked.masters {
        return Err(GroupError::MasterWeights);
    }
    if !asked.momentum && all.iter().any(|group| group.momentum.is_some()) {
        return Err(GroupError::Momentum);
    }
    if !asked.drop && groups.table.rate_drop.changes_something() {
        return Err(GroupError::RateDrop);
    }
    Ok(())
}

/// Whether an optimizer keeps weights of half precision in f32.
pub(crate) fn has_master_weights(optimizer: &ModuleOptimizer) -> bool {
    what_it_asks(optimizer).masters
}

fn what_it_asks(optimizer: &ModuleOptimizer) -> Asked {
    let device = Device::default();
    let weight = Param::from_tensor(Tensor::<2>::ones([2, 2], &device.clone().autodiff()));
    let mut gradients = GradientsParams::new();
    gradients.register(weight.id, Tensor::<2>::zeros([2, 2], &device));
    let update = Update::of_one_group(Setting {
        rate: 0.0,
        shrink: Shrink { share: 0.0, cautious: false },
        frozen: false,
        momentum: Momentum { momentum: Some(0.5), drop: DropEffect::NONE },
    });
    optimizer.clone().step(0.0, weight, gradients);
    update.asked()
}

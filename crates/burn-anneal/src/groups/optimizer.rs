//! An optimizer that treats each parameter as its group says.

use super::context::{Answer, Owner, Setting, ask};
use super::members::Members;
use super::{GroupError, Groups};
use burn::module::{Module, Param, ParamId};
use burn::optim::{
    GradientsParams, LearningRate, ModuleOptimizer, Optimizer, OptimizerRecord, RecordState,
    StateSink, StateSource,
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
                let tensor = if shrink == 1.0 { tensor } else { tensor.mul_scalar(shrink) };
                let (tensor, inner) = self.inner.step(rate, tensor, gradient, inner);
                (tensor, Some(GroupedState { of: Owner::Group(group), inner }))
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

/// Whether an optimizer changes a weight whose gradient is 0.
pub(crate) fn decays_by_itself(optimizer: &ModuleOptimizer) -> bool {
    let device = Device::default();
    let weight = Param::from_tensor(Tensor::<1>::ones([1], &device.clone().autodiff()));
    let mut gradients = GradientsParams::new();
    gradients.register(weight.id, Tensor::<1>::zeros([1], &device));
    let weight = optimizer.clone().step(1e-2, weight, gradients);
    weight.val().into_data().iter::<f32>().any(|value| value != 1.0)
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
    /// Starts at update 0. The optimizer's rate and decay come from the groups.
    ///
    /// # Errors
    /// [`GroupError::DoubleDecay`] where groups and optimizer decay both.
    pub fn new(groups: Groups, optimizer: impl Optimizer) -> Result<Self, GroupError> {
        check_decay(&groups, &ModuleOptimizer::from(optimizer.clone()))?;
        let optimizer = Grouped::new(optimizer).into();
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
        let step = self.next_step();
        self.members.update(&self.groups, step, model, &mut self.optimizer, |model, optimizer| {
            optimizer.step(self.groups.schedule().rate(step), model, gradients)
        })
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

    /// Goes on at `next_step` with a saved state.
    pub fn load_record(mut self, record: OptimizerRecord, next_step: u64) -> Self {
        self.optimizer = self.optimizer.load_record(record);
        self.members = Members::new(next_step);
        self
    }
}

pub(crate) fn check_decay(groups: &Groups, optimizer: &ModuleOptimizer) -> Result<(), GroupError> {
    let decays = groups.table.groups.iter().map(|group| group.weight_decay);
    let weight_decay = decays.fold(0.0, f64::max);
    if weight_decay > 0.0 && decays_by_itself(optimizer) {
        return Err(GroupError::DoubleDecay { weight_decay });
    }
    Ok(())
}

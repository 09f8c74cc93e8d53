//! How the state of loss scaling comes into a checkpoint.
//!
//! Burn saves records of the model, the optimizer and the scheduler. The model's is that of the bare model,
//! and the scheduler does not hear of updates. So the state goes into the optimizer's, as that of a parameter
//! that no model has.

use anneal_control::{LossScalerState, RateLimiterState};
use burn::module::{Param, ParamGroup, ParamId};
use burn::optim::{
    GradientsParams, LearningRate, ModuleOptimizer, Optimizer, RecordState, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};
use std::cell::Cell;

const KEPT: u64 = 0x616e_6e65_616c_0002;

/// What a checkpoint saves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    pub scaler: LossScalerState,
    pub limiter: RateLimiterState,
    /// How many updates the schedule is behind those that Burn counts.
    pub held: u64,
    /// How many steps of the schedule were left out just before the next update.
    pub left_out: u64,
}

/// The optimizer, with a place for it.
pub(crate) fn keeping(optimizer: ModuleOptimizer) -> ModuleOptimizer {
    optimizer.with_group(ParamGroup::from_ids(vec![ParamId::from(KEPT)]), Keeper, None)
}

/// What an optimizer keeps; `None` where it has kept nothing yet.
pub(crate) fn kept(optimizer: &mut ModuleOptimizer) -> Option<Kept> {
    visit(optimizer, Order::Read(None));
    match ORDER.take() {
        Some(Order::Read(kept)) => kept,
        _ => None,
    }
}

pub(super) fn keep(optimizer: &mut ModuleOptimizer, kept: Kept) {
    visit(optimizer, Order::Keep(kept));
    ORDER.take();
}

fn visit(optimizer: &mut ModuleOptimizer, order: Order) {
    let device = Device::default();
    let param = Tensor::<1>::from_floats([0.0], &device.clone().autodiff());
    let mut gradients = GradientsParams::new();
    gradients.register(ParamId::from(KEPT), Tensor::<1>::from_floats([0.0], &device));
    ORDER.set(Some(order));
    optimizer.step(0.0, Param::initialized(ParamId::from(KEPT), param), gradients);
}

#[derive(Clone, Copy)]
enum Order {
    Keep(Kept),
    Read(Option<Kept>),
}

thread_local! {
    static ORDER: Cell<Option<Order>> = const { Cell::new(None) };
}

/// The optimizer of that parameter.
#[derive(Clone)]
struct Keeper;

impl Optimizer for Keeper {
    type State<const D: usize> = Kept;

    fn step<const D: usize>(
        &self,
        _rate: LearningRate,
        tensor: Tensor<D>,
        _gradient: Tensor<D>,
        state: Option<Kept>,
    ) -> (Tensor<D>, Option<Kept>) {
        match ORDER.get() {
            Some(Order::Keep(kept)) => (tensor, Some(kept)),
            _ => {
                ORDER.set(Some(Order::Read(state)));
                (tensor, state)
            }
        }
    }

    fn to_device<const D: usize>(state: Kept, _device: &Device) -> Kept {
        state
    }
}

impl RecordState for Kept {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let Self { scaler, limiter, held, left_out } = self;
        out.push_scalar(prefix, "loss_scale", scaler.scale.into());
        out.push_scalar(prefix, "good_updates", scaler.good_updates.into());
        out.push_scalar(prefix, "skipped", scaler.skipped.into());
        out.push_scalar(prefix, "failures_in_a_row", scaler.failures_in_a_row.into());
        if let Some(smoothness) = limiter.smoothness {
            out.push_scalar(prefix, "smoothness", smoothness.into());
        }
        out.push_scalar(prefix, "since_measured", limiter.since_measured.into());
        out.push_scalar(prefix, "cuts", limiter.cuts.into());
        out.push_scalar(prefix, "held", (*held).into());
        out.push_scalar(prefix, "left_out", (*left_out).into());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, _device: &Device) -> Option<Self> {
        let mut number = |name: &str| u64::try_from(source.take_scalar(prefix, name)?).ok();
        let (good_updates, skipped) = (number("good_updates")?, number("skipped")?);
        let failures_in_a_row = number("failures_in_a_row")?;
        let (since_measured, cuts) = (number("since_measured")?, number("cuts")?);
        let (held, left_out) = (number("held")?, number("left_out")?);
        let scale = f32::try_from(source.take_scalar(prefix, "loss_scale")?).ok()?;
        let smoothness =
            source.take_scalar(prefix, "smoothness").and_then(|found| f64::try_from(found).ok());
        Some(Self {
            scaler: LossScalerState { scale, good_updates, skipped, failures_in_a_row },
            limiter: RateLimiterState { smoothness, since_measured, cuts },
            held,
            left_out,
        })
    }
}

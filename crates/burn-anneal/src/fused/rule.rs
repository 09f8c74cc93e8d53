//! Optimizers whose update can be made in one pass, and what they keep of a parameter.

use super::parameter::{Buffer, Parameter};
use burn::optim::{Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::Device;
use std::fmt::Debug;

/// An optimizer whose update can be made in one pass.
pub trait HasRule: Optimizer {
    /// The numbers that it was built with.
    type Numbers: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// The names that its own state has in a record.
    const NAMES: Names;

    /// Finds its numbers; `None` if it is not the optimizer that the rule is for.
    fn numbers(&self) -> Option<Self::Numbers>;

    /// The numbers with another momentum, or β₁.
    fn with_momentum(numbers: &Self::Numbers, momentum: f64) -> Self::Numbers;

    /// Updates a parameter.
    fn update(numbers: &Self::Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept);
}

/// What an optimizer keeps of a parameter.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// In the order of their names.
    pub(crate) moments: [Option<Buffer>; 4],
    /// The number of updates, if they are counted.
    pub(crate) updates: usize,
    pub(crate) number: Option<f64>,
}

/// The names of what is kept.
#[derive(Debug)]
pub struct Names {
    pub(crate) moments: &'static [&'static str],
    /// How many of these a state has in any case.
    pub(crate) required: usize,
    pub(crate) updates: Option<&'static str>,
    /// A further number.
    pub(crate) number: Option<&'static str>,
}

impl Names {
    /// Those of moments.
    pub(crate) const fn of(moments: &'static [&'static str], required: usize) -> Self {
        Self { moments, required, updates: None, number: None }
    }
}

impl Kept {
    pub(super) fn flatten(&self, names: &Names, prefix: &str, out: &mut StateSink) {
        for (name, moment) in names.moments.iter().zip(&self.moments) {
            if let Some(moment) = moment {
                out.push_tensor(prefix, name, moment.to_data());
            }
        }
        if let Some(name) = names.updates {
            out.push_scalar(prefix, name, self.updates.into());
        }
        if let Some((name, number)) = names.number.zip(self.number) {
            out.push_scalar(prefix, name, number.into());
        }
    }

    pub(super) fn unflatten(names: &Names, prefix: &str, source: &mut StateSource) -> Option<Self> {
        let mut kept = Self::default();
        for (name, moment) in names.moments.iter().zip(&mut kept.moments) {
            *moment = source.take_tensor(prefix, name).map(Buffer::from_data);
        }
        if kept.moments[..names.required].iter().any(Option::is_none) {
            return None;
        }
        if let Some(name) = names.updates {
            kept.updates = source.take_scalar(prefix, name)?.try_into().ok()?;
        }
        let number = names.number.and_then(|name| source.take_scalar(prefix, name));
        kept.number = number.and_then(|number| number.try_into().ok());
        Some(kept)
    }

    /// The same as the optimizer's own state.
    pub(super) fn own_state<O: HasRule, const D: usize>(
        &self,
        device: &Device,
    ) -> Option<O::State<D>> {
        let mut sink = StateSink::default();
        self.flatten(&O::NAMES, "", &mut sink);
        let mut source = StateSource::new(sink.scalars.into_iter().collect());
        for (name, data) in sink.tensors {
            source.insert_tensor(name, data);
        }
        O::State::<D>::state_unflatten("", &mut source, device)
    }
}

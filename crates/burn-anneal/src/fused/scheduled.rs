//! Optimizers with a scheduled momentum.

use super::parameter::{How, Parameter};
use super::rule::HasRule;
use crate::momentum::ScheduledMomentum;
use crate::update::current_momentum;

/// The numbers without a schedule, and under one at any momentum.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers<N> {
    own: N,
    scheduled: N,
}

impl<O: HasRule> HasRule for ScheduledMomentum<O> {
    type Moments<const D: usize> = O::Moments<D>;
    type Numbers = Numbers<O::Numbers>;

    fn numbers(&self) -> Option<Self::Numbers> {
        let scheduled = self.at(0.5).numbers()?;
        // A function may change more than the momentum.
        let is_all =
            |momentum| self.at(momentum).numbers() == Some(O::with_momentum(&scheduled, momentum));
        let own = self.own().numbers()?;
        (is_all(0.25) && is_all(0.75)).then_some(Numbers { own, scheduled })
    }

    fn with_momentum(numbers: &Self::Numbers, _: f64) -> Self::Numbers {
        numbers.clone()
    }

    fn update<const D: usize>(
        numbers: &Self::Numbers,
        how: How,
        parameter: &mut Parameter,
        moments: Option<Self::Moments<D>>,
    ) -> Self::Moments<D> {
        match current_momentum() {
            Some(momentum) => {
                let numbers = O::with_momentum(&numbers.scheduled, momentum);
                O::update(&numbers, how, parameter, moments)
            }
            None => O::update(&numbers.own, how, parameter, moments),
        }
    }

    fn own_state<const D: usize>(moments: Self::Moments<D>) -> Self::State<D> {
        O::own_state(moments)
    }
}

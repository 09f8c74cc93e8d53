//! Optimizers with a scheduled momentum.

use super::parameter::Parameter;
use super::rule::{HasRule, Kept, Names};
use crate::momentum::ScheduledMomentum;
use crate::update::current_momentum;

/// The numbers without a schedule, and under one at any momentum.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers<N> {
    own: N,
    scheduled: N,
}

impl<O: HasRule> HasRule for ScheduledMomentum<O> {
    type Numbers = Numbers<O::Numbers>;
    const NAMES: Names = O::NAMES;

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

    fn update(numbers: &Self::Numbers, rate: f64, parameter: &mut Parameter, kept: &mut Kept) {
        match current_momentum() {
            Some(momentum) => {
                let numbers = O::with_momentum(&numbers.scheduled, momentum);
                O::update(&numbers, rate, parameter, kept);
            }
            None => O::update(&numbers.own, rate, parameter, kept),
        }
    }
}

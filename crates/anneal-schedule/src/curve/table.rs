//! A table of rates.

use super::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = rates\[⌊t / every⌋\], then the last rate.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `rates` | learning rates | at least one; finite, at least 0, one of them above 0 |
/// | `every` | how long each rate holds, a span | inside the run; default 1 update |
///
/// Source: torch `LambdaLR` with a list.
///
/// ```
/// use anneal_schedule::{prelude::*, table};
/// let schedule = table([0.4, 0.2, 0.1]).every(Span::epochs(1))
///     .resolve(RunLength::updates_per_epoch(10).epochs(5))?;
/// assert_eq!([0, 9, 10, 20, 49].map(|step| schedule.rate(step)), [0.4, 0.4, 0.2, 0.1, 0.1]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Table<L: Length = Span> {
    /// The rates, in order.
    pub rates: Vec<f64>,
    /// How long each of them holds; default one update.
    #[serde(default)]
    pub every: Option<L>,
}

/// A [`Table`] of the rates of the first updates; the last one is held.
pub fn table(rates: impl Into<Vec<f64>>) -> Table {
    Table { rates: rates.into(), every: None }
}

impl Table {
    /// Holds each rate for `every` instead of one update.
    pub fn every(mut self, every: Span) -> Self {
        self.every = Some(every);
        self
    }
}

/// The index at `step` into a list of `length` values that hold for `every` updates each.
pub(super) fn place(step: u64, every: Option<u64>, length: usize) -> usize {
    let place = step / every.unwrap_or(1);
    usize::try_from(place).unwrap_or(usize::MAX).min(length - 1)
}

impl Describe for Table {
    type Resolved = Table<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Table<u64>, ScheduleError> {
        let rates = self
            .rates
            .iter()
            .enumerate()
            .map(|(i, &rate)| scope.within(&format!("rates[{i}]"), rate, 0.0..=f64::MAX))
            .collect::<Result<Vec<f64>, _>>()?;
        if !rates.iter().any(|&rate| rate > 0.0) {
            return Err(scope.out_of_range(
                "rates",
                format!("{rates:?}"),
                "at least one rate above 0",
            ));
        }
        let every = self.every.map(|span| scope.length("every", span)).transpose()?;
        Ok(Table { rates, every })
    }
}

impl Rate for Table<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.rates[place(step, self.every, self.rates.len())]
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.rate(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleConfig;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, refused, resolved};

    #[test]
    fn gives_each_update_its_rate_and_holds_the_last() {
        let schedule = resolved(table([0.0, 0.5, 0.25]), 10);
        assert_eq!([0, 1, 2, 3, 10].map(|t| schedule.rate(t)), [0.0, 0.5, 0.25, 0.25, 0.25]);
        assert_eq!(schedule.rate(u64::MAX), 0.25);
        assert_eq!(schedule.peak(), 0.5);
    }

    #[test]
    fn what_the_run_cuts_off_is_not_held() {
        let schedule = resolved(table([1.0, 0.5, 0.25]), 2);
        assert_eq!([1, 2, 3].map(|t| schedule.rate(t)), [0.5, 0.5, 0.5]);
        let part = resolved(
            table([1.0, 0.5]).every(Span::steps(3)).then(Span::steps(3), constant(2.0)),
            5,
        );
        assert_eq!([2, 3, 4].map(|t| part.rate(t)), [1.0, 2.0, 2.0]);
    }

    #[test]
    fn reads_and_writes_its_text() {
        let text = "table([0.4, 0.2]).every(1ep)";
        let config: ScheduleConfig = table([0.4, 0.2]).every(Span::epochs(1)).into();
        assert_eq!(text.parse(), Ok(config.clone()));
        assert_eq!(config.to_string(), text);
        assert_eq!("table([1, 0])".parse(), Ok(ScheduleConfig::from(table([1.0, 0.0]))));
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(table([])), "table.rates");
        assert_eq!(refused(table([0.0, -0.0])), "table.rates");
        for rate in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(table([0.1, rate])), "table.rates[1]");
        }
        for every in [Span::steps(0), Span::steps(101), Span::percent(-1)] {
            assert_eq!(refused(table([0.1]).every(every)), "table.every");
        }
    }
}

//! The update axis, in epochs if they are known.

use super::axis::{count, nice};

/// The positions of updates and ticks on the axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    /// The number of updates drawn.
    updates: u64,
    /// The number of updates per unit of the axis.
    unit: u64,
    /// The name of the unit.
    pub name: &'static str,
}

impl Time {
    /// An axis of `updates` updates. It counts epochs if their length is known and there are at least two.
    pub fn of(updates: u64, epoch: Option<u64>) -> Self {
        match epoch.filter(|epoch| updates / epoch >= 2) {
            Some(epoch) => Self { updates, unit: epoch, name: "epoch" },
            None => Self { updates, unit: 1, name: "update" },
        }
    }

    /// The position on the axis at which an update starts.
    pub fn at(&self, update: u64) -> f64 {
        update as f64 / self.unit as f64
    }

    /// The position at which the last update ends.
    pub fn end(&self) -> f64 {
        self.at(self.updates)
    }

    /// The tick distance for about `ticks` ticks: whole epochs or updates.
    pub fn tick_step(&self, ticks: f64) -> f64 {
        nice(self.end() / ticks).max(1.0)
    }

    /// The label of a tick.
    pub fn label(&self, number: f64) -> String {
        match number {
            // Same unit as its neighbours.
            1e3..1e4 if self.end() >= 1e4 => format!("{}k", number / 1e3),
            _ => count(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_at_whole_epochs() {
        for (epochs, ticks, step) in [(2, 6.0, 1.0), (3, 6.0, 1.0), (7, 6.0, 2.0), (90, 6.0, 20.0)]
        {
            let time = Time::of(epochs * 391, Some(391));
            assert_eq!((time.name, time.end()), ("epoch", epochs as f64));
            assert_eq!(time.tick_step(ticks), step, "{epochs}");
            assert_eq!(time.at(391), 1.0);
        }
    }

    #[test]
    fn without_epochs_or_in_one_it_counts_updates() {
        for epoch in [None, Some(391)] {
            let time = Time::of(391, epoch);
            assert_eq!((time.name, time.end(), time.tick_step(6.0)), ("update", 391.0, 100.0));
        }
        assert_eq!(Time::of(3, None).tick_step(6.0), 1.0);
    }

    #[test]
    fn labels_of_one_axis_have_one_unit() {
        let labels = |updates| [0.0, 2_500.0, 8_000.0].map(|at| Time::of(updates, None).label(at));
        assert_eq!(labels(9_999), ["0", "2500", "8000"]);
        assert_eq!(labels(10_000), ["0", "2.5k", "8k"]);
    }
}

//! The probability that a search hits its target.

use super::sample::grid_coordinate;
use super::space::{Axis, Scale};
use crate::OutOfRange;
use std::ops::RangeInclusive;

/// An interval of an axis that a search should hit, for example the rates that train well.
///
/// ```text
/// random:  1 − (1 − p)ⁿ           p: the share of the axis, on the scale of the samples
///          p = ln(b/a) / ln(high/low)                 log-uniform
///          p = (b − a) / (high − low)                 uniform
/// grid:    1 or 0: whether one of its n points is in the interval
/// grid, random interval:  the share of its places, on the log scale, that contain a point
/// ```
///
/// A grid includes both ends of the axis; a single point is the middle. The possible places of an interval
/// are those at which an equally wide one (as a ratio) is inside the axis, all equally likely.
///
/// ```
/// use anneal_plan::{Axis, Target};
///
/// // Rates within a factor of 3 of 0.002, on an axis of six decades.
/// let good = Target::new(Axis::log("rate", 1e-6, 1.0), 0.002 / 3.0..=0.002 * 3.0)?;
/// assert_eq!(format!("{:.2}", good.log_uniform(15)), "0.93");
/// assert_eq!(format!("{:.2}", good.uniform(15)), "0.08");
/// assert_eq!(good.log_uniform_samples(0.95), 18);
/// // Points at 1e-6, 0.25, 0.5, 0.75 and 1: none is near.
/// assert!(!good.uniform_grid(5));
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// Source of the comparison: Bergstra and Bengio 2012.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    axis: Axis,
    from: f64,
    to: f64,
}

impl Target {
    /// An interval [a, b] of a log axis.
    ///
    /// # Errors
    /// An axis that cannot be searched or is linear, or an interval that is not inside it.
    pub fn new(axis: Axis, interval: RangeInclusive<f64>) -> Result<Self, OutOfRange> {
        axis.check()?;
        OutOfRange::require("axis", axis.scale, axis.scale == Scale::Log, "a log axis")?;
        let (from, to) = interval.into_inner();
        let inside = axis.low <= from && from < to && to <= axis.high;
        let allowed = format!("an interval inside {:?}..={:?}", axis.low, axis.high);
        OutOfRange::require("interval", from..=to, inside, allowed)?;
        Ok(Self { axis, from, to })
    }

    /// The probability that one of n log-uniform samples hits.
    pub fn log_uniform(&self, samples: u64) -> f64 {
        one_of(samples, self.width())
    }

    /// The probability that one of n uniform samples hits.
    pub fn uniform(&self, samples: u64) -> f64 {
        let linear = self.linear();
        one_of(samples, linear.unit(self.to) - linear.unit(self.from))
    }

    /// The number of log-uniform samples needed to hit with at least this probability, which is in [0, 1);
    /// `u64::MAX` if no number suffices.
    pub fn log_uniform_samples(&self, chance: f64) -> u64 {
        match self.width() {
            _ if chance <= 0.0 => 0,
            1.0 => 1,
            width => ((-chance.min(1.0)).ln_1p() / (-width).ln_1p()).ceil() as u64,
        }
    }

    /// Whether a point of the log grid of n points hits.
    pub fn log_grid(&self, points: u32) -> bool {
        self.hit_by(&self.axis, points)
    }

    /// Whether a point of the linear grid of n points hits.
    pub fn uniform_grid(&self, points: u32) -> bool {
        self.hit_by(&self.linear(), points)
    }

    /// The probability that a point of the log grid of n points hits an interval of this width at a random
    /// place.
    pub fn log_grid_anywhere(&self, points: u32) -> f64 {
        self.hit_anywhere(&self.axis, points)
    }

    /// The probability that a point of the linear grid of n points hits an interval of this width at a random
    /// place.
    pub fn uniform_grid_anywhere(&self, points: u32) -> f64 {
        self.hit_anywhere(&self.linear(), points)
    }

    /// The share of the axis, on the log scale.
    fn width(&self) -> f64 {
        (self.axis.unit(self.to) - self.axis.unit(self.from)).min(1.0)
    }

    fn linear(&self) -> Axis {
        Axis { scale: Scale::Linear, ..self.axis.clone() }
    }

    fn hit_by(&self, axis: &Axis, points: u32) -> bool {
        grid_values(axis, points).any(|value| (self.from..=self.to).contains(&value))
    }

    /// A point at u hits the intervals that start in [u − width, u]; returns the length of all of these
    /// together.
    fn hit_anywhere(&self, axis: &Axis, points: u32) -> f64 {
        let (width, places) = (self.width(), 1.0 - self.width());
        if places <= 0.0 {
            return if points > 0 { 1.0 } else { 0.0 };
        }
        let (mut length, mut covered) = (0.0, 0.0);
        for u in grid_values(axis, points).map(|value| self.axis.unit(value)) {
            let (from, to) = ((u - width).max(covered), u.min(places));
            length += (to - from).max(0.0);
            covered = to.max(covered);
        }
        length / places
    }
}

fn one_of(samples: u64, p: f64) -> f64 {
    // 1 − (1 − p)ⁿ, accurate for a small p too.
    if samples == 0 { 0.0 } else { -(samples as f64 * (-p).ln_1p()).exp_m1() }
}

fn grid_values(axis: &Axis, points: u32) -> impl Iterator<Item = f64> {
    (0..u64::from(points)).map(move |i| axis.value(grid_coordinate(points, i)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Space;
    use crate::search::sample;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const ROUNDS: u64 = 20_000;

    fn target(interval: RangeInclusive<f64>) -> Target {
        Target::new(Axis::log("rate", 1e-5, 1.0), interval).unwrap()
    }

    /// Checks a share of the rounds within five standard errors.
    fn agrees(hits: usize, chance: f64) {
        let share = hits as f64 / ROUNDS as f64;
        let error = (chance * (1.0 - chance) / ROUNDS as f64).sqrt();
        assert!((share - chance).abs() <= 5.0 * error, "{share} instead of {chance}");
    }

    #[test]
    fn chances_of_samples_are_those_of_a_simulation() {
        let target = target(2e-2..=6e-2);
        let space = Space::new().axis(target.axis.clone());
        let hits = |sample: fn(&Space, u64, u64) -> Vec<f64>, samples: u64| {
            let hit = |round: &u64| {
                (0..samples).any(|i| {
                    let rate = space.values(&sample(&space, 5, round * samples + i))["rate"];
                    (target.from..=target.to).contains(&rate)
                })
            };
            (0..ROUNDS).filter(hit).count()
        };
        for samples in [1, 3, 10] {
            agrees(hits(sample::random, samples), target.log_uniform(samples));
            agrees(hits(sample::linear_random, samples), target.uniform(samples));
        }
    }

    #[test]
    fn chances_of_grids_are_those_of_a_simulation() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let axis = Axis::log("rate", 1e-5, 1.0);
        for width in [0.003, 0.05, 0.2, 0.3, 0.7] {
            for points in [1, 2, 3, 4, 5, 9, 40] {
                let (mut log, mut uniform) = (0, 0);
                for _ in 0..ROUNDS {
                    let start: f64 = random.random::<f64>() * (1.0 - width);
                    let placed = target(axis.value(start)..=axis.value(start + width));
                    log += usize::from(placed.log_grid(points));
                    uniform += usize::from(placed.uniform_grid(points));
                }
                let any = target(axis.value(0.1)..=axis.value(0.1 + width));
                agrees(log, any.log_grid_anywhere(points).min(1.0));
                agrees(uniform, any.uniform_grid_anywhere(points).min(1.0));
            }
        }
    }

    /// By hand: n − 2 inner points each hit w of 1 − w; the ends hit nothing.
    #[test]
    fn a_log_grid_hits_as_its_inner_points_do() {
        let axis = Axis::log("rate", 1e-5, 1.0);
        let wide = |w| target(1e-5..=axis.value(w));
        assert!((wide(0.1).log_grid_anywhere(6) - 4.0 * 0.1 / 0.9).abs() < 1e-12);
        assert!((wide(0.25).log_grid_anywhere(6) - 1.0).abs() < 1e-12, "wider than a gap");
        assert_eq!(wide(0.1).log_grid_anywhere(2), 0.0);
        assert!((wide(0.1).log_grid_anywhere(1) - 0.1 / 0.9).abs() < 1e-12, "the middle alone");
    }

    #[test]
    fn the_whole_axis_is_always_hit_and_nothing_by_nothing() {
        let whole = target(1e-5..=1.0);
        assert_eq!(
            (whole.log_uniform(1), whole.uniform(1), whole.log_grid_anywhere(1)),
            (1.0, 1.0, 1.0)
        );
        assert_eq!(
            (whole.log_uniform(0), whole.uniform(0), whole.log_grid_anywhere(0)),
            (0.0, 0.0, 0.0)
        );
        assert!(!whole.log_grid(0));
        assert_eq!(whole.log_uniform_samples(0.5), 1);
        assert_eq!(whole.log_uniform_samples(1.0), 1);
    }

    /// The smallest n with 1 − (1 − p)ⁿ at least this large.
    #[test]
    fn samples_are_as_few_as_suffice() {
        let target = target(1e-3..=2e-3);
        for chance in [0.01, 0.5, 0.9, 0.999] {
            let samples = target.log_uniform_samples(chance);
            assert!(target.log_uniform(samples) >= chance);
            assert!(target.log_uniform(samples - 1) < chance);
        }
        assert_eq!(target.log_uniform_samples(0.0), 0);
        assert_eq!(target.log_uniform_samples(1.0), u64::MAX);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let axis = || Axis::log("rate", 1e-5, 1.0);
        for (from, to) in [(1e-6, 0.1), (0.1, 2.0), (0.1, 0.1), (0.2, 0.1), (f64::NAN, 0.1)] {
            let error = Target::new(axis(), from..=to).unwrap_err().to_string();
            assert!(error.starts_with("interval"), "{error}");
        }
        assert!(Target::new(Axis::linear("momentum", 0.0, 1.0), 0.1..=0.2).is_err());
        assert!(Target::new(Axis::log("rate", 0.0, 1.0), 0.1..=0.2).is_err());
    }
}

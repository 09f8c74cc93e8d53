//! Points of the unit cube that do not depend on other trials.

use super::sobol::{Sobol, mixed};
use super::space::{Axis, Scale, Space};
use crate::OutOfRange;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The i-th random point: uniform in the cube, so log-uniform on a log axis.
pub(super) fn random(space: &Space, seed: u64, i: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(i);
    space.axes().iter().map(|_| random.random()).collect()
}

/// The i-th random point with uniform values, even on log axes: nine of ten are in the highest decade.
pub(super) fn linear_random(space: &Space, seed: u64, i: u64) -> Vec<f64> {
    let on_axis = |(axis, u): (&Axis, f64)| {
        let linear = Axis { scale: Scale::Linear, ..axis.clone() };
        axis.unit(linear.value(u))
    };
    space.axes().iter().zip(random(space, seed, i)).map(on_axis).collect()
}

/// The i-th point of the scrambled Sobol sequence with this seed.
pub(super) fn sobol(space: &Space, seed: u64, i: u64) -> Result<Vec<f64>, OutOfRange> {
    Ok(Sobol::new(space.axes().len(), mixed(seed))?.point(i as u32))
}

/// The i-th point of the grid with this many points per axis, including both ends; the last axis varies
/// fastest. A single point is the middle.
pub(super) fn grid(space: &Space, points: u32, i: u64) -> Vec<f64> {
    let mut rest = i;
    let mut coordinates: Vec<f64> = space
        .axes()
        .iter()
        .map(|_| {
            let index = rest % u64::from(points);
            rest /= u64::from(points);
            grid_coordinate(points, index)
        })
        .collect();
    coordinates.reverse();
    coordinates
}

/// The number of points of the grid.
pub(super) fn grid_size(space: &Space, points: u32) -> u64 {
    u64::from(points).saturating_pow(space.axes().len() as u32)
}

/// The coordinate in [0, 1] of a point of an axis's grid.
pub(super) fn grid_coordinate(points: u32, index: u64) -> f64 {
    match points {
        1 => 0.5,
        _ => index as f64 / f64::from(points - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space::new().log("rate", 1e-4, 1.0).linear("momentum", 0.0, 1.0)
    }

    #[test]
    fn a_grid_is_all_combinations() {
        let points: Vec<Vec<f64>> =
            (0..grid_size(&space(), 3)).map(|i| grid(&space(), 3, i)).collect();
        let ends = [0.0, 0.5, 1.0];
        let all: Vec<Vec<f64>> = ends.iter().flat_map(|a| ends.map(|b| vec![*a, b])).collect();
        assert_eq!(points, all);
        assert_eq!(grid(&space(), 1, 0), [0.5, 0.5]);
    }

    /// Each decade gets a quarter of the log-uniform points; of uniform ones the lowest gets 0.09 %, the
    /// highest 90 %.
    #[test]
    fn decades_get_their_shares() {
        let n = 20_000;
        let share = |points: &dyn Fn(u64) -> Vec<f64>, from: f64, to: f64| {
            let hits = (0..n).filter(|i| {
                let rate = space().values(&points(*i))["rate"];
                (from..to).contains(&rate)
            });
            hits.count() as f64 / n as f64
        };
        let close =
            |share: f64, p: f64| (share - p).abs() < 5.0 * (p * (1.0 - p) / n as f64).sqrt();
        let log = |i| random(&space(), 3, i);
        let uniform = |i| linear_random(&space(), 3, i);
        for decade in [1e-4, 1e-3, 1e-2, 1e-1] {
            assert!(close(share(&log, decade, decade * 10.0), 0.25), "log-uniform from {decade}");
            let p = 9.0 * decade / (1.0 - 1e-4);
            assert!(close(share(&uniform, decade, decade * 10.0), p), "uniform from {decade}");
        }
    }

    #[test]
    fn points_depend_on_seed_and_number_alone() {
        assert_eq!(random(&space(), 1, 7), random(&space(), 1, 7));
        for (seed, i) in [(2, 7), (1, 8)] {
            assert_ne!(random(&space(), 1, 7), random(&space(), seed, i));
            assert_ne!(sobol(&space(), 1, 7).unwrap(), sobol(&space(), seed, i).unwrap());
        }
    }
}

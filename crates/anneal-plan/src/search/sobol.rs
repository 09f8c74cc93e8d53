//! Points that fill a cube evenly.

use crate::OutOfRange;

/// The maximum number of dimensions of a [`Sobol`] sequence, and so of axes of a [`Space`](crate::Space).
pub(crate) const MAX_DIMENSIONS: usize = 21;

/// For each dimension but the first: its primitive polynomial, with the highest power in the highest bit, and
/// the first direction numbers m, as many as its degree. From `new-joe-kuo-6.21201`.
const DIRECTIONS: [(u32, &[u32]); MAX_DIMENSIONS - 1] = [
    (3, &[1]),
    (7, &[1, 3]),
    (11, &[1, 3, 1]),
    (13, &[1, 1, 1]),
    (19, &[1, 1, 3, 3]),
    (25, &[1, 3, 5, 13]),
    (37, &[1, 1, 5, 5, 17]),
    (41, &[1, 1, 5, 5, 5]),
    (47, &[1, 1, 7, 11, 19]),
    (55, &[1, 1, 5, 1, 1]),
    (59, &[1, 1, 1, 3, 11]),
    (61, &[1, 3, 5, 5, 31]),
    (67, &[1, 3, 3, 9, 7, 49]),
    (91, &[1, 1, 1, 15, 21, 21]),
    (97, &[1, 3, 1, 13, 27, 49]),
    (103, &[1, 1, 1, 15, 7, 5]),
    (109, &[1, 3, 1, 15, 13, 25]),
    (115, &[1, 1, 5, 5, 19, 61]),
    (131, &[1, 3, 7, 11, 23, 15, 103]),
    (137, &[1, 3, 7, 13, 13, 15, 69]),
];

/// A Sobol sequence: its first 2^k points cover the unit cube more evenly than random ones.
///
/// ```text
/// x_i = ⊕ v_j over the bits j of the Gray code of i,   i = 0, 1, … below 2³²
/// ```
///
/// [`new`](Self::new) applies Owen's nested uniform scrambling: each bit is flipped or not by a hash of the
/// higher bits, the dimension and the seed. The points remain as evenly spread, each is uniform in [0, 1),
/// and none is at the corner 0. [`unscrambled`](Self::unscrambled) gives the points of
/// `scipy.stats.qmc.Sobol(scramble=False)`.
///
/// Sources: the direction numbers of Joe and Kuo 2008, up to 21 dimensions; Owen 1995.
///
/// ```
/// use anneal_plan::Sobol;
///
/// let sobol = Sobol::unscrambled(2)?;
/// assert_eq!([1, 2, 3].map(|i| sobol.point(i)), [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]);
/// assert_eq!(Sobol::new(2, 7)?.point(1), Sobol::new(2, 7)?.point(1));
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sobol {
    directions: Vec<[u32; 32]>,
    seed: Option<u64>,
}

impl Sobol {
    /// The sequence scrambled with a seed.
    ///
    /// # Errors
    /// `dimensions` is not 1 to 21.
    pub fn new(dimensions: usize, seed: u64) -> Result<Self, OutOfRange> {
        Ok(Self { seed: Some(seed), ..Self::unscrambled(dimensions)? })
    }

    /// The plain sequence, whose first point is 0 in all dimensions.
    ///
    /// # Errors
    /// `dimensions` is not 1 to 21.
    pub fn unscrambled(dimensions: usize) -> Result<Self, OutOfRange> {
        let known = (1..=MAX_DIMENSIONS).contains(&dimensions);
        OutOfRange::require("dimensions", dimensions, known, "1 to 21")?;
        Ok(Self { directions: (0..dimensions).map(directions).collect(), seed: None })
    }

    /// The i-th point, counted from 0; the sequence repeats after 2³².
    pub fn point(&self, i: u32) -> Vec<f64> {
        let gray = i ^ (i >> 1);
        let coordinate = |(dimension, directions): (usize, &[u32; 32])| {
            let set = (0..32).filter(|bit| gray >> bit & 1 == 1);
            let bits = set.fold(0, |sum, bit| sum ^ directions[bit]);
            let bits = self.seed.map_or(bits, |seed| scramble(bits, seed, dimension as u64));
            f64::from(bits) / 2f64.powi(32)
        };
        self.directions.iter().enumerate().map(coordinate).collect()
    }
}

/// The direction numbers v of a dimension, from the recurrence of its polynomial.
fn directions(dimension: usize) -> [u32; 32] {
    let Some((polynomial, initial)) = dimension.checked_sub(1).map(|i| DIRECTIONS[i]) else {
        return std::array::from_fn(|bit| 1 << (31 - bit));
    };
    let degree = initial.len();
    let mut v = [0; 32];
    for bit in 0..32 {
        v[bit] = match initial.get(bit) {
            Some(m) => m << (31 - bit),
            None => (1..degree)
                .filter(|k| polynomial >> (degree - k) & 1 == 1)
                .fold(v[bit - degree] ^ (v[bit - degree] >> degree), |sum, k| sum ^ v[bit - k]),
        };
    }
    v
}

/// Flips each bit by a hash of those above it.
fn scramble(bits: u32, seed: u64, dimension: u64) -> u32 {
    let key = mixed(seed ^ mixed(dimension + 1));
    (0..32).fold(bits, |scrambled, bit| {
        // Leading one: prefixes of different lengths differ.
        let prefix = (1 << bit) | (u64::from(bits) >> (32 - bit));
        scrambled ^ (((mixed(key ^ prefix) >> 63) as u32) << (31 - bit))
    })
}

/// SplitMix64's mix of a number.
pub(crate) fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `scipy.stats.qmc.Sobol(21, scramble=False, bits=32)` of scipy 1.17, as multiples of 2⁻¹².
    #[test]
    fn plain_points_are_those_of_scipy() {
        let expected: [(u32, [u32; 21]); 3] = [
            (
                5,
                [
                    3584, 3584, 512, 1536, 3584, 2560, 3584, 1536, 1536, 512, 1536, 3584, 3584,
                    512, 3584, 1536, 3584, 1536, 1536, 2560, 2560,
                ],
            ),
            (
                100,
                [
                    1696, 1056, 3168, 2976, 3616, 3040, 96, 1952, 2592, 2848, 1888, 2784, 1952,
                    3488, 1312, 2016, 2784, 3040, 3424, 1376, 3104,
                ],
            ),
            (
                4095,
                [
                    1, 3855, 1369, 3693, 3851, 323, 3889, 1601, 785, 1009, 2333, 1317, 1511, 2129,
                    2257, 1707, 255, 2495, 3331, 2135, 925,
                ],
            ),
        ];
        let sobol = Sobol::unscrambled(21).unwrap();
        for (i, point) in expected {
            assert_eq!(sobol.point(i), point.map(|x| f64::from(x) / 4096.0), "point {i}");
        }
        assert_eq!(sobol.point(0), [0.0; 21]);
    }

    /// In each dimension, 2^k consecutive points fall one into each of 2^k equal cells, and in the first two
    /// dimensions one into each box of area 2^−k: a (0, k, 2)-net.
    #[test]
    fn scrambled_points_stay_a_net() {
        for seed in 0..20 {
            let sobol = Sobol::new(MAX_DIMENSIONS, seed).unwrap();
            let points: Vec<Vec<f64>> = (0..256).map(|i| sobol.point(i)).collect();
            let all_cells = |cell: &dyn Fn(&[f64]) -> usize| {
                let mut cells: Vec<usize> = points.iter().map(|x| cell(x)).collect();
                cells.sort_unstable();
                cells == (0..256).collect::<Vec<_>>()
            };
            for dimension in 0..MAX_DIMENSIONS {
                assert!(all_cells(&|x| (x[dimension] * 256.0) as usize), "dimension {dimension}");
            }
            for k in 0..=8 {
                let (wide, high) = ((1 << k) as f64, (256 >> k) as f64);
                let cell = |x: &[f64]| (x[0] * wide) as usize * (256 >> k) + (x[1] * high) as usize;
                assert!(all_cells(&cell), "boxes of 1/{wide} by 1/{high}");
            }
        }
    }

    /// Over seeds a point is uniform, with mean ½ and variance 1/12 within five standard errors, and
    /// independent of another in its lower bits.
    #[test]
    fn scrambled_points_are_uniform_over_seeds() {
        let seeds = 4_000;
        for (i, dimension) in [(0, 0), (1, 1), (100, 20)] {
            let at = |seed| Sobol::new(21, seed).unwrap().point(i)[dimension];
            let x: Vec<f64> = (0..seeds).map(at).collect();
            let mean = x.iter().sum::<f64>() / seeds as f64;
            let variance = x.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / seeds as f64;
            assert!((mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / seeds as f64).sqrt(), "{mean}");
            // The variance of (x − ½)² is 1/180.
            assert!((variance - 1.0 / 12.0).abs() < 5.0 * (1.0 / 180.0 / seeds as f64).sqrt());
        }
    }

    #[test]
    fn other_dimensions_are_refused() {
        for dimensions in [0, MAX_DIMENSIONS + 1] {
            let error = Sobol::new(dimensions, 0).unwrap_err().to_string();
            assert_eq!(error, format!("dimensions: {dimensions} is not allowed; allowed: 1 to 21"));
        }
    }
}

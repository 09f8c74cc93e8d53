//! Losses of sweeps with known fall and noise.

/// Standard normal numbers from a seed: SplitMix64 and Box–Muller.
pub(crate) struct Normal(u64);

impl Normal {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    /// Above 0, at most 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((bits ^ (bits >> 31)) >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    pub(crate) fn next(&mut self) -> f64 {
        let (radius, angle) = (-2.0 * self.uniform().ln(), std::f64::consts::TAU * self.uniform());
        radius.sqrt() * angle.cos()
    }
}

/// A loss that falls from 2.3 by `fall` around a rate of 1e-3, and rises steeply from 0.3 on.
pub(crate) fn curve(rate: f64, fall: f64) -> f64 {
    2.3 - fall / (1.0 + (1e-3 / rate).sqrt()) + (rate / 0.3).powi(3)
}

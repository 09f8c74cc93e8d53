//! The covariance of a function between two places.

use serde::{Deserialize, Serialize};

/// The shape of a covariance over a distance r, measured in length scales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kernel {
    /// e^(−r²/2): functions with all derivatives.
    Rbf,
    /// (1 + √5 r + 5r²/3) e^(−√5 r): functions with two derivatives, which losses resemble more.
    #[default]
    Matern52,
}

impl Kernel {
    /// The correlation at a squared distance r².
    pub(super) fn correlation(self, square: f64) -> f64 {
        match self {
            Self::Rbf => (-0.5 * square).exp(),
            Self::Matern52 => {
                let r = (5.0 * square).sqrt();
                (1.0 + r + r * r / 3.0) * (-r).exp()
            }
        }
    }

    /// Its derivative with respect to ln l, for a length scale l whose axis has the share s of r², is s times
    /// this.
    pub(super) fn slope(self, square: f64) -> f64 {
        match self {
            Self::Rbf => (-0.5 * square).exp(),
            Self::Matern52 => {
                let r = (5.0 * square).sqrt();
                5.0 / 3.0 * (1.0 + r) * (-r).exp()
            }
        }
    }
}

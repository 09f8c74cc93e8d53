//! Two players on a bilinear game.

use super::check::positive;
use crate::OutOfRange;

/// Who sees whose update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Both players use the weights before the update.
    Simultaneous,
    /// The second player uses the first one's new weight.
    Alternating,
}

/// The spectral radius of gradient descent and ascent on min_x max_y σxy: above 1, the players spiral away
/// from the equilibrium at 0.
///
/// ```text
/// x ← x − η_G σ y        y ← y + η_D σ x        k = η_G η_D σ²
/// simultaneous  √(1 + k): always above 1
/// alternating   1 for k ≤ 4, otherwise (k − 2 + √(k(k − 4)))/2
/// ```
///
/// At a radius of 1 below k = 4 the weights stay on an ellipse, without converging; at k = 4 the eigenvalue
/// −1 is a double one, and they grow linearly. Only the product of the rates matters, not their ratio. A game
/// with a matrix in place of σ has the singular values of the matrix.
///
/// Source: Gidel et al. 2019, "Negative momentum for improved game dynamics".
///
/// ```
/// use anneal_plan::theory::{Turns, game_radius};
/// assert!(game_radius(Turns::Simultaneous, 0.1, 0.1, 1.0)? > 1.0);
/// assert_eq!(game_radius(Turns::Alternating, 0.1, 0.1, 1.0)?, 1.0);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// A rate or a coupling that is not above 0.
pub fn game_radius(
    turns: Turns,
    generator_rate: f64,
    discriminator_rate: f64,
    coupling: f64,
) -> Result<f64, OutOfRange> {
    positive("generator_rate", generator_rate)?;
    positive("discriminator_rate", discriminator_rate)?;
    positive("coupling", coupling)?;
    let product = generator_rate * discriminator_rate * coupling * coupling;
    Ok(match turns {
        Turns::Simultaneous => (1.0 + product).sqrt(),
        Turns::Alternating if product <= 4.0 => 1.0,
        Turns::Alternating => 0.5 * (product - 2.0 + (product * (product - 4.0)).sqrt()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;
    use nalgebra::Matrix2;

    fn step(turns: Turns, rates: (f64, f64), coupling: f64, [x, y]: [f64; 2]) -> [f64; 2] {
        let moved = x - rates.0 * coupling * y;
        let seen = if turns == Turns::Simultaneous { x } else { moved };
        [moved, y + rates.1 * coupling * seen]
    }

    /// The largest absolute eigenvalue of the matrix whose columns are the steps from (1, 0) and (0, 1).
    fn by_matrix(turns: Turns, rates: (f64, f64), coupling: f64) -> f64 {
        let column = |start| step(turns, rates, coupling, start);
        let ([a, b], [c, d]) = (column([1.0, 0.0]), column([0.0, 1.0]));
        let eigenvalues = Matrix2::new(a, c, b, d).complex_eigenvalues();
        eigenvalues.iter().map(|value| value.norm()).fold(0.0, f64::max)
    }

    #[test]
    fn radii_are_those_of_the_updates() {
        for turns in [Turns::Simultaneous, Turns::Alternating] {
            for rates in [(0.1, 0.1), (0.01, 3.0), (1.0, 0.5), (2.0, 1.9), (2.0, 2.2), (5.0, 7.0)] {
                for coupling in [0.5, 1.0, 1.4] {
                    let found = game_radius(turns, rates.0, rates.1, coupling).unwrap();
                    assert_close(found, by_matrix(turns, rates, coupling), 1e-12);
                }
            }
        }
    }

    /// 10,000 updates: simultaneous players leave by the radius, alternating ones stay on their ellipse
    /// η_D x² − η_D η_G σ xy + η_G y², leave linearly at k = 4, and geometrically above.
    #[test]
    fn players_stay_only_if_they_alternate() {
        let play = |turns, rates, updates| {
            (0..updates).fold([1.0, 0.0], |at, _| step(turns, rates, 1.0, at))
        };
        let rates: (f64, f64) = (0.05, 0.02);
        let [x, y] = play(Turns::Simultaneous, rates, 10_000);
        // η_D x² + η_G y² grows by 1 + η_G η_D at each update.
        let grown = (rates.1 * x * x + rates.0 * y * y) / rates.1;
        assert_close(grown, 1.001f64.powi(10_000), 1e-9);
        let [x, y] = play(Turns::Alternating, rates, 10_000);
        let invariant = rates.1 * x * x - rates.0 * rates.1 * x * y + rates.0 * y * y;
        assert_close(invariant, rates.1, 1e-9);
        // The matrix plus 1 is nilpotent: after n updates, (−1)ⁿ (1 − 2n, −2n).
        assert_eq!(play(Turns::Alternating, (2.0, 2.0), 1_000), [-1_999.0, -2_000.0]);
        let [x, _] = play(Turns::Alternating, (2.0, 2.1), 1_000);
        assert!(x.abs() > 1e20, "{x}");
    }

    #[test]
    fn arguments_are_checked() {
        let field = |g, d, c| game_radius(Turns::Alternating, g, d, c).unwrap_err().field;
        assert_eq!(field(0.0, 1.0, 1.0), "generator_rate");
        assert_eq!(field(1.0, f64::NAN, 1.0), "discriminator_rate");
        assert_eq!(field(1.0, 1.0, -1.0), "coupling");
    }
}

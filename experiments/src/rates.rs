//! Trains at several rates, so that every arm uses its best one.

use crate::error::ExperimentError;

/// The result of a training at a rate.
#[derive(Debug)]
pub struct Tried<T> {
    /// The rate.
    pub rate: f64,
    /// The loss that rates are judged by; non-finite losses count as infinite.
    pub loss: f64,
    /// What was found.
    pub found: T,
}

/// Trains at each of the rates.
///
/// # Errors
/// Those of `train`.
pub fn at_rates<T>(
    rates: &[f64],
    mut train: impl FnMut(f64) -> Result<T, ExperimentError>,
    loss: impl Fn(&T) -> f64,
) -> Result<Vec<Tried<T>>, ExperimentError> {
    let mut at = |&rate| {
        let found = train(rate)?;
        let loss = loss(&found);
        let loss = if loss.is_finite() { loss } else { f64::INFINITY };
        Ok(Tried { rate, loss, found })
    };
    rates.iter().map(&mut at).collect()
}

/// The result with the lowest loss, the first of ties; there must be at least one.
pub fn best<T>(tried: &[Tried<T>]) -> &Tried<T> {
    let best = tried.iter().min_by(|one, other| one.loss.total_cmp(&other.loss));
    best.expect("an experiment has a rate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_loss_decides_and_a_lost_training_is_the_worst() {
        let found = [f64::NAN, 0.3, 0.2, 0.2];
        let tried =
            at_rates(&[0.0, 1.0, 2.0, 3.0], |rate| Ok(found[rate as usize]), |loss| *loss).unwrap();

        assert_eq!((best(&tried).rate, best(&tried).found), (2.0, 0.2));
        assert_eq!(tried[0].loss, f64::INFINITY);
        assert_eq!(best(&tried[..1]).rate, 0.0);
    }
}

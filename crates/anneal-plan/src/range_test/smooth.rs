//! The moving average that smooths the losses of a range test.

/// The exponential moving average with which fastai and Lightning smooth losses, with bias correction.
///
/// ```text
/// v ← β v + (1 − β) loss        smoothed = v / (1 − β^count)        β = 0.98
/// ```
///
/// Over the first values it is close to their plain mean; later it covers about the last 1/(1 − β) = 50.
///
/// Source: fastai's `AvgSmoothLoss` (2.8), in 64 bits instead of 32.
///
/// ```
/// use anneal_plan::Smooth;
///
/// let mut smooth = Smooth::default();
/// assert!((smooth.hear(2.0) - 2.0).abs() < 1e-12);
/// assert!((smooth.hear(1.0) - (0.98 * 2.0 + 1.0) / 1.98).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Smooth {
    value: f64,
    count: u64,
}

impl Smooth {
    /// The decay factor of a value's weight.
    const BETA: f64 = 0.98;

    /// Takes the next loss, and returns the mean so far.
    pub fn hear(&mut self, loss: f64) -> f64 {
        self.count += 1;
        self.value = Self::BETA * self.value + (1.0 - Self::BETA) * loss;
        self.value / (1.0 - Self::BETA.powf(self.count as f64))
    }

    /// The smoothed values of all `losses`.
    pub fn all(losses: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut smooth = Self::default();
        losses.into_iter().map(|loss| smooth.hear(loss)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean with explicit weights β^(n−i).
    #[test]
    fn it_is_the_weighted_mean() {
        let losses: Vec<f64> = (0..200).map(|i| (f64::from(i) * 0.7).sin() + 2.0).collect();
        for (i, found) in Smooth::all(losses.clone()).into_iter().enumerate() {
            let weights = (0..=i).map(|j| 0.98f64.powi((i - j) as i32));
            let sum: f64 = weights.clone().sum();
            let mean = weights.zip(&losses).map(|(w, loss)| w * loss).sum::<f64>() / sum;
            assert!((found / mean - 1.0).abs() < 1e-12, "{i}: {found} {mean}");
        }
    }
}

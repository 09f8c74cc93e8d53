//! The Rényi divergence of one update: the sampled Gaussian mechanism.

use super::normal::ln_cdf;

/// The number of terms of a series after which an order is given up.
const MAX_TERMS: u32 = 1_000;

/// The Rényi divergence of this order between the noisy sums of a Poisson sample from two data sets that
/// differ by one item; infinite if unknown.
///
/// ```text
/// ln A / (α − 1)      A = E over z ~ N(0, σ²) of ((1 − q) + q e^((2z − 1) / 2σ²))^α
/// ```
pub fn divergence(noise_multiplier: f64, sampling_rate: f64, order: f64) -> f64 {
    if sampling_rate == 1.0 {
        return order / (2.0 * noise_multiplier.powi(2));
    }
    let mechanism = SampledGaussian::new(noise_multiplier, sampling_rate);
    let log_moment = match order.fract() == 0.0 {
        true => mechanism.log_moment(order),
        false => mechanism.log_moment_bound(order),
    };
    // The next integer order has a larger divergence; for enormous noise, rounding leaves only that one.
    match log_moment > 1e-10 * sampling_rate {
        true => log_moment / (order - 1.0),
        false => mechanism.log_moment(order.ceil()) / (order.ceil() - 1.0),
    }
}

/// The mechanism at a sampling rate below 1.
struct SampledGaussian {
    noise: f64,
    /// ln q, and ln(1 − q).
    ln_in: f64,
    ln_out: f64,
    /// 1 / 2σ².
    scale: f64,
    /// The point where a sample with the item is as likely as one without: z₀ in the paper.
    even: f64,
}

impl SampledGaussian {
    fn new(noise: f64, rate: f64) -> Self {
        let variance = noise * noise;
        Self {
            noise,
            ln_in: rate.ln(),
            ln_out: (-rate).ln_1p(),
            scale: 0.5 / variance,
            even: variance * ((1.0 - rate) / rate).ln() + 0.5,
        }
    }

    /// ln A at an integer order:
    ///
    /// ```text
    /// A = Σ C(α, k) (1 − q)^(α−k) q^k e^((k² − k) / 2σ²) = 1 + Σ C(α, k) (1 − q)^(α−k) q^k (e^((k² − k) / 2σ²) − 1)
    /// ```
    ///
    /// Nothing cancels in the second form.
    fn log_moment(&self, order: f64) -> f64 {
        let mut ln_choose = 0.0;
        let mut excess = f64::NEG_INFINITY;
        for k in 1..=order as u32 {
            let k = f64::from(k);
            ln_choose += ((order - k + 1.0) / k).ln();
            let exponent = (k * k - k) * self.scale;
            let ln_gain = exponent + (-(-exponent).exp_m1()).ln();
            let ln_weight = ln_choose + k * self.ln_in + (order - k) * self.ln_out;
            excess = ln_add(excess, ln_weight + ln_gain);
        }
        ln_add(0.0, excess)
    }

    /// A bound on ln A at any other order: the series of the integrals below and above z₀, with |C(α, k)|.
    /// Infinite if it does not converge.
    fn log_moment_bound(&self, order: f64) -> f64 {
        let (mut ln_choose, mut total) = (0.0, f64::NEG_INFINITY);
        for k in 0..MAX_TERMS {
            let i = f64::from(k);
            let j = order - i;
            let below = self.ln_weight(i, j) + ln_cdf((self.even - i) / self.noise);
            let above = self.ln_weight(j, i) + ln_cdf((j - self.even) / self.noise);
            total = ln_add(total, ln_choose + ln_add(below, above));
            if ln_choose + below.max(above) < total - 30.0 {
                return total;
            }
            ln_choose += (j / (i + 1.0)).abs().ln();
        }
        f64::INFINITY
    }

    /// ln of q^i (1 − q)^j e^((i² − i) / 2σ²).
    fn ln_weight(&self, i: f64, j: f64) -> f64 {
        i * self.ln_in + j * self.ln_out + (i * i - i) * self.scale
    }
}

/// ln(e^a + e^b).
fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high.is_infinite() { high } else { high + (low - high).exp().ln_1p() }
}

//! Diffusion limits of SGD with a rate that falls as the inverse of time.

use super::check::{not_negative, positive};
use crate::OutOfRange;

/// How the noise of a diffusion depends on the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffusionNoise {
    /// σ√η dW, of constant temperature: Langevin dynamics in the time ∫η. The variance tends to σ²/(2a)
    /// under every schedule with infinite travel.
    SqrtRate,
    /// σ η dW, of SGD itself: the variance depends on the schedule, and tends to 0 with the rate.
    Rate,
}

/// A weight that diffuses around a minimum while the rate falls as η(t) = η₀/(1 + βt).
///
/// ```text
/// dθ = −a η (θ − θ*) dt + σ √η dW        V(t) = σ²/(2a) + (V₀ − σ²/(2a)) e^(−2aS)
/// dθ = −a η (θ − θ*) dt + σ η dW         V(t) = V₀ e^(−2aS) + σ²η₀² τ/(1 + βt) · φ(2aη₀τ − βτ)
/// τ = ln(1 + βt)/β, or t for β = 0       S = η₀τ = ∫η       φ(x) = (1 − e^(−x))/x
/// E[θ − θ*] = (θ₀ − θ*) e^(−aS)
/// ```
///
/// Both solve V' = −2aηV + (noise)², V(0) = V₀. With p = 2aη₀/β, e^(−2aS) = (1 + βt)^(−p).
///
/// | field | range |
/// | --- | --- |
/// | `drift` a, `rate` η₀ | above 0, finite |
/// | `decay` β | at least 0, finite; 0 is a constant rate |
/// | `noise` σ | at least 0, finite |
///
/// Assumes that ηa is small, so that an update is a short time. Source: Mandt, Hoffman and Blei 2017,
/// "Stochastic gradient descent as approximate Bayesian inference"; Li, Tai and E 2017, "Stochastic modified
/// equations and adaptive stochastic gradient algorithms".
///
/// ```
/// use anneal_plan::theory::{Diffusion, DiffusionNoise};
///
/// let diffusion = Diffusion::new(1.0, 0.1, 0.5, 1.0)?;
/// let langevin = diffusion.variance(DiffusionNoise::SqrtRate, 0.0, 1e30)?;
/// assert!((langevin - 0.5).abs() < 1e-4);
/// assert!(diffusion.variance(DiffusionNoise::Rate, 0.0, 1e30)? < 1e-10);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diffusion {
    drift: f64,
    rate: f64,
    decay: f64,
    noise: f64,
}

impl Diffusion {
    /// A diffusion with drift a, initial rate η₀, decay β and noise σ.
    ///
    /// # Errors
    /// An argument outside its range.
    pub fn new(drift: f64, rate: f64, decay: f64, noise: f64) -> Result<Self, OutOfRange> {
        positive("drift", drift)?;
        positive("rate", rate)?;
        not_negative("decay", decay)?;
        not_negative("noise", noise)?;
        Ok(Self { drift, rate, decay, noise })
    }

    /// The factor e^(−aS) by which the expected distance to the minimum has shrunk at `time`.
    ///
    /// # Errors
    /// A time below 0 or not finite.
    pub fn contraction(&self, time: f64) -> Result<f64, OutOfRange> {
        not_negative("time", time)?;
        Ok((-self.drift * self.rate * self.warped(time)).exp())
    }

    /// The variance at `time`, from the variance V₀ = `start` at 0.
    ///
    /// # Errors
    /// A start or a time below 0 or not finite.
    pub fn variance(
        &self,
        noise: DiffusionNoise,
        start: f64,
        time: f64,
    ) -> Result<f64, OutOfRange> {
        not_negative("start", start)?;
        let kept = self.contraction(time)?.powi(2);
        let Self { drift, rate, decay, .. } = *self;
        let noise_variance = self.noise * self.noise;
        let tau = self.warped(time);
        Ok(match noise {
            DiffusionNoise::SqrtRate => {
                let lost = -(-2.0 * drift * rate * tau).exp_m1();
                start * kept + lost * noise_variance / (2.0 * drift)
            }
            DiffusionNoise::Rate => {
                let scale = noise_variance * rate * rate * tau / (1.0 + decay * time);
                start * kept + scale * mean_decay(2.0 * drift * rate * tau - decay * tau)
            }
        })
    }

    /// τ = ∫dt/(1 + βt).
    fn warped(&self, time: f64) -> f64 {
        if self.decay == 0.0 { time } else { (self.decay * time).ln_1p() / self.decay }
    }
}

/// (1 − e^(−x))/x, the mean of e^(−xs) over s in [0, 1].
fn mean_decay(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { -(-x).exp_m1() / x }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Normals, assert_close, mean_and_error};
    use super::*;
    use DiffusionNoise::{Rate, SqrtRate};

    fn amplitude(noise: DiffusionNoise, rate: f64) -> f64 {
        match noise {
            SqrtRate => rate.sqrt(),
            Rate => rate,
        }
    }

    /// Euler–Maruyama with 400 steps and 20,000 paths. The variance of a step follows from that of the one
    /// before, so the error of the step size is known, and is added to 4 standard errors (4 % of the
    /// variance).
    #[test]
    fn variances_are_those_of_simulated_paths() {
        const PATHS: usize = 20_000;
        let (steps, time, start) = (400, 4.0, 2.0);
        let step = time / f64::from(steps);
        for (decay, noise) in [(0.0, SqrtRate), (1.5, SqrtRate), (0.0, Rate), (1.5, Rate)] {
            let model = Diffusion::new(0.7, 0.9, decay, 1.3).unwrap();
            let mut normals = Normals::new(11);
            let mut paths: Vec<f64> =
                (0..PATHS).map(|_| f64::sqrt(start) * normals.next()).collect();
            let mut exact = start;
            for i in 0..steps {
                let rate = 0.9 / (1.0 + decay * f64::from(i) * step);
                let (kept, added) = (1.0 - 0.7 * rate * step, 1.3 * amplitude(noise, rate));
                for path in &mut paths {
                    *path = kept * *path + added * step.sqrt() * normals.next();
                }
                exact = kept * kept * exact + added * added * step;
            }
            let squares: Vec<f64> = paths.iter().map(|path| path * path).collect();
            let (mean, error) = mean_and_error(&squares);
            let found = model.variance(noise, start, time).unwrap();
            let of_steps = (exact - found).abs();
            assert!(of_steps < error, "{noise:?} {decay}: {exact} {found}");
            assert!((mean - found).abs() <= 4.0 * error + of_steps, "{mean} ± {error}: {found}");
        }
    }

    /// V' = −2aηV + (noise)², by the central difference of V, whose error is of second order.
    #[test]
    fn variances_solve_their_equation() {
        for (decay, rate) in [(0.0, 0.5), (1e-9, 0.5), (0.3, 0.05), (1.0, 0.5), (4.0, 3.0)] {
            // With a = 1, the second to last has 2aη₀ = β.
            let model = Diffusion::new(1.0, rate, decay, 1.1).unwrap();
            for noise in [SqrtRate, Rate] {
                let variance = |time: f64| model.variance(noise, 0.7, time).unwrap();
                assert_eq!(variance(0.0), 0.7);
                for time in [0.1, 1.0, 5.0] {
                    let now = rate / (1.0 + decay * time);
                    let added = (1.1 * amplitude(noise, now)).powi(2);
                    let slope = -2.0 * now * variance(time) + added;
                    let at = |h: f64| (variance(time + h) - variance(time - h)) / (2.0 * h);
                    let (wide, narrow) = (at(2e-3), at(1e-3));
                    // Richardson's extrapolation removes the second order.
                    assert_close((4.0 * narrow - wide) / 3.0, slope, 1e-8);
                }
            }
        }
    }

    #[test]
    fn only_the_noise_of_sgd_lets_a_decay_win() {
        let at = |noise, decay, time| {
            Diffusion::new(2.0, 0.4, decay, 1.0).unwrap().variance(noise, 3.0, time).unwrap()
        };
        // σ²/2a under every decay, and much later under a faster one.
        for decay in [0.0, 0.1, 1.0] {
            assert_close(at(SqrtRate, decay, 1e12), 0.25, 1e-9);
        }
        assert!(at(SqrtRate, 1.0, 20.0) > at(SqrtRate, 0.0, 20.0));
        // σ²η₀/2a at a constant rate.
        assert_close(at(Rate, 0.0, 1e3), 0.1, 1e-12);
        // V = Au⁻¹ + (V₀ − A)u^(−p) for u = 1 + βt, p = 2aη₀/β = 1.6 and A = σ²η₀²/(2aη₀ − β).
        let (u, along): (f64, f64) = (1e6 + 1.0, 0.16 / 0.6);
        assert_close(at(Rate, 1.0, 1e6), along / u + (3.0 - along) * u.powf(-1.6), 1e-12);
    }

    #[test]
    fn arguments_are_checked() {
        let field = |a, b, c, d| Diffusion::new(a, b, c, d).unwrap_err().field;
        assert_eq!(field(0.0, 1.0, 1.0, 1.0), "drift");
        assert_eq!(field(1.0, f64::NAN, 1.0, 1.0), "rate");
        assert_eq!(field(1.0, 1.0, -1.0, 1.0), "decay");
        assert_eq!(field(1.0, 1.0, 1.0, f64::INFINITY), "noise");
        let model = Diffusion::new(1.0, 1.0, 1.0, 1.0).unwrap();
        assert_eq!(model.variance(Rate, -1.0, 1.0).unwrap_err().field, "start");
        assert_eq!(model.variance(Rate, 1.0, f64::NAN).unwrap_err().field, "time");
    }
}

//! Escapes from a minimum over a barrier.

use super::check::{positive, share};
use anneal_schedule::analysis::{AnalysisError, Window};

/// The chance that SGD leaves a minimum over a barrier of height B during a run.
///
/// ```text
/// p_t = e^(−B/(c η_t))                 per update
/// P = 1 − Π(1 − p_t)                   over the run
/// H = Σ p_t                            escapes to expect if each led to another such minimum
/// ```
///
/// Arrhenius' law at a temperature of c · η, without its prefactor: only B/c matters, the rate at which an
/// update escapes with probability 1/e. It assumes that updates escape independently, and that B/(cη) is
/// well above 1. A schedule whose early updates have nearly all of H anneals: it settles in the minimum
/// that it has found by then. P is about H while it is small; a P near 1 is early too, because nothing is
/// left to escape.
///
/// Source: Kramers 1940, "Brownian motion in a field of force and the diffusion model of chemical
/// reactions"; for the rate as temperature: Jastrzębski et al. 2017, "Three factors influencing minima in
/// SGD".
///
/// ```
/// use anneal_plan::theory::Escape;
/// use anneal_schedule::analysis::{AnalysisError, Window};
/// use anneal_schedule::prelude::*;
///
/// let run = RunLength::updates(100);
/// let early = |schedule: &Schedule| -> Result<Option<f64>, AnalysisError> {
///     Ok(Escape::of(&Window::run(schedule)?, 0.5, 0.1)?.early_share)
/// };
/// // The share of the first tenth of the updates.
/// let (flat, falling) = (constant(0.1).resolve(run)?, cosine(0.1).resolve(run)?);
/// assert_eq!(early(&flat)?.map(|share| (100.0 * share).round()), Some(13.0));
/// assert_eq!(early(&falling)?.map(|share| (100.0 * share).round()), Some(43.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Escape {
    /// P over the run.
    pub probability: f64,
    /// The updates that count as early: `early` of the run, rounded up.
    pub early_steps: u64,
    /// The share of P that the early updates have; `None` if P is 0.
    pub early_share: Option<f64>,
    /// H over the run.
    pub expected: f64,
    /// The share of H that the early updates have; `None` if H is 0.
    pub early_share_of_expected: Option<f64>,
}

impl Escape {
    /// The chance over a window, for a `barrier` of B/c in units of the rate; `early` is the share of the run
    /// whose escapes count as early.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] for a barrier that is not above 0, or a share that is not between 0 and
    /// 1; [`AnalysisError::TooManySteps`].
    pub fn of(window: &Window<'_>, barrier: f64, early: f64) -> Result<Self, AnalysisError> {
        positive("barrier", barrier)?;
        share("early", early)?;
        let early_steps = (early * window.steps() as f64).ceil() as u64;
        let (mut all, mut at_early) = (Sums::default(), Sums::default());
        for (step, rate) in (1..).zip(window.rates("escape")?) {
            let chance = (-barrier / rate).exp();
            all.log_stays += (-chance).ln_1p();
            all.expected += chance;
            if step == early_steps {
                at_early = all;
            }
        }
        let share = |part: f64, whole: f64| (whole > 0.0).then_some(part / whole);
        Ok(Self {
            probability: all.probability(),
            early_steps,
            early_share: share(at_early.probability(), all.probability()),
            expected: all.expected,
            early_share_of_expected: share(at_early.expected, all.expected),
        })
    }
}

/// Over the first updates.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// ln Π(1 − p_t).
    log_stays: f64,
    /// Σ p_t.
    expected: f64,
}

impl Sums {
    fn probability(self) -> f64 {
        -self.log_stays.exp_m1()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, assert_mean, run};
    use super::*;
    use anneal_schedule::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn of(schedule: &Schedule, barrier: f64) -> Escape {
        Escape::of(&Window::run(schedule).unwrap(), barrier, 0.1).unwrap()
    }

    /// 40,000 runs that escape at each update by chance; standard errors are at most 0.25 %.
    #[test]
    fn chances_are_those_of_simulated_runs() {
        const RUNS: usize = 40_000;
        for schedule in [run(constant(0.1), 100), run(cosine(0.1), 100), run(linear(0.2, 0.0), 100)]
        {
            let barrier = 0.6;
            let mut random = ChaCha8Rng::seed_from_u64(5);
            let mut escapes =
                || (0..100).find(|&t| random.random::<f64>() < (-barrier / schedule.rate(t)).exp());
            let found: Vec<Option<u64>> = (0..RUNS).map(|_| escapes()).collect();
            let expected = of(&schedule, barrier);
            let share = |chosen: &dyn Fn(u64) -> bool| -> Vec<f64> {
                found.iter().map(|at| f64::from(u8::from(at.is_some_and(chosen)))).collect()
            };
            assert_mean(&share(&|_| true), expected.probability);
            let early = expected.early_share.unwrap() * expected.probability;
            assert_mean(&share(&|at| at < 10), early);
        }
    }

    /// The mean time to cross from −1 to 1 in f = x⁴/4 − x²/2, whose barrier is ¼, by diffusion of temperature
    /// D: ∫ e^(f(y)/D) ∫ e^(−f(z)/D) dz dy/D, the inner one up to y.
    fn crossing_time(temperature: f64) -> f64 {
        let width = 1e-4;
        let energy = |x: f64| (0.25 * x.powi(4) - 0.5 * x * x) / temperature;
        let (mut inner, mut outer) = (0.0, 0.0);
        for i in -30_000..10_000 {
            let x = (f64::from(i) + 0.5) * width;
            let density = (-energy(x)).exp() * width;
            if x > -1.0 {
                outer += energy(x).exp() * (inner + 0.5 * density) * width;
            }
            inner += density;
        }
        outer / temperature
    }

    /// ln time = B/D + constant + O(D), so the slope over 1/D between D and D/2 is B + O(D²): halving D divides
    /// its error by about 4.
    #[test]
    fn the_exponent_is_that_of_a_diffusion() {
        let error = |temperature: f64| {
            let slope = (crossing_time(0.5 * temperature) / crossing_time(temperature)).ln();
            (slope * temperature - 0.25).abs()
        };
        let errors = [0.04, 0.02, 0.01].map(error);
        assert!(errors.windows(2).all(|pair| pair[1] < 0.3 * pair[0]), "{errors:?}");
    }

    #[test]
    fn one_update_escapes_with_its_chance() {
        let found = of(&run(constant(0.5), 1), 0.5);
        assert_close(found.probability, (-1f64).exp(), 1e-15);
        assert_eq!((found.early_steps, found.early_share), (1, Some(1.0)));
        // 1e-300 per update: no chance is lost to rounding.
        let rare = of(&run(constant(1.0), 100), 300.0 * 10f64.ln());
        assert_close(rare.probability, 1e-298, 1e-10);
        assert_close(rare.early_share.unwrap(), 0.1, 1e-10);
    }

    /// The higher the barrier, the more of the escapes are at the peak.
    #[test]
    fn a_high_barrier_is_crossed_early_or_never() {
        let schedule = run(cosine(0.1), 1_000);
        let early = |barrier| of(&schedule, barrier).early_share_of_expected.unwrap();
        let shares = [0.1, 0.4, 1.0, 4.0, 20.0].map(early);
        assert!(shares.windows(2).all(|pair| pair[0] < pair[1]), "{shares:?}");
        assert!(shares[4] > 0.99, "{shares:?}");
        let rates = (0..1_000).map(|step| (-0.4 / schedule.rate(step)).exp());
        let found = of(&schedule, 0.4);
        assert_close(found.expected, rates.clone().sum(), 1e-12);
        assert_close(shares[1], rates.take(100).sum::<f64>() / found.expected, 1e-12);
        // The first of several escapes is early.
        let low = of(&schedule, 0.1);
        assert!(low.expected > 100.0 && low.early_share.unwrap() > 1.0 - 1e-12, "{low:?}");
        let still = of(&run(constant(0.1), 10), 1e6);
        assert_eq!((still.early_share, still.early_share_of_expected), (None, None));
    }

    #[test]
    fn arguments_are_checked() {
        let schedule = run(constant(0.1), 10);
        let window = Window::run(&schedule).unwrap();
        for (barrier, early, field) in
            [(0.0, 0.1, "barrier"), (f64::NAN, 0.1, "barrier"), (1.0, 1.0, "early")]
        {
            match Escape::of(&window, barrier, early) {
                Err(AnalysisError::OutOfRange(error)) => assert_eq!(error.field, field),
                other => panic!("{other:?}"),
            }
        }
    }
}

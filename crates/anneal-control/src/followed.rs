//! The numbers that a rate can follow, and their factors.

use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// The number that a [`Follow`](crate::Follow) follows; see there for the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Followed {
    BatchSize { reference: u64 },
    NoiseLevel,
    Curvature { smallest: f64 },
    Momentum { reference: f64 },
    MechanicalMomentum { reference: f64 },
    Temperature { reference: f64 },
    GradientNoiseScale { batch_size: u64 },
    Difficulty { rho: f64 },
}

impl Followed {
    /// The name of its announcement.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchSize { .. } => "batch size",
            Self::NoiseLevel => "noise level",
            Self::Curvature { .. } => "curvature",
            Self::Momentum { .. } | Self::MechanicalMomentum { .. } => "momentum",
            Self::Temperature { .. } => "temperature",
            Self::GradientNoiseScale { .. } => "gradient noise scale",
            Self::Difficulty { .. } => "difficulty",
        }
    }

    pub fn role(self) -> &'static str {
        match self {
            Self::BatchSize { .. } => "a follower of the batch size",
            Self::NoiseLevel => "a follower of the noise level",
            Self::Curvature { .. } => "a follower of the curvature",
            Self::Momentum { .. } | Self::MechanicalMomentum { .. } => "a follower of the momentum",
            Self::Temperature { .. } => "a follower of the temperature",
            Self::GradientNoiseScale { .. } => "a follower of the gradient noise scale",
            Self::Difficulty { .. } => "a follower of the difficulty",
        }
    }

    /// The factor for a number, if it is in range; it may be infinite.
    pub fn factor(self, number: f64) -> Option<f64> {
        let positive = number > 0.0 && number.is_finite();
        let not_negative = number >= 0.0 && number.is_finite();
        let is_momentum = (0.0..1.0).contains(&number);
        let damped = |momentum: f64| ((1.0 - momentum) / (1.0 + momentum)).powi(2);
        let (ok, factor) = match self {
            // Samples are whole numbers, as in a `FollowBatchSize`.
            Self::BatchSize { reference } => (positive, number.round().max(1.0) / reference as f64),
            Self::NoiseLevel => (not_negative, 1.0 / (1.0 + number)),
            Self::Curvature { smallest } => (positive, smallest / number),
            Self::Momentum { reference } => (is_momentum, damped(number) / damped(reference)),
            Self::MechanicalMomentum { reference } => {
                (is_momentum, ((1.0 - number) / (1.0 - reference)).powi(2))
            }
            Self::Temperature { reference } => (positive, number / reference),
            Self::GradientNoiseScale { batch_size } => {
                (not_negative, 1.0 / (1.0 + number / batch_size as f64))
            }
            Self::Difficulty { rho } => ((0.0..=1.0).contains(&number), (-rho * number).exp()),
        };
        ok.then_some(factor)
    }

    pub fn check(self) -> Result<(), OutOfRange> {
        let samples = |field, samples: u64| {
            OutOfRange::require(field, samples, samples >= 1, "at least 1 sample")
        };
        let positive = |field, number: f64| {
            let ok = number.is_finite() && number > 0.0;
            OutOfRange::require(field, number, ok, "finite, above 0")
        };
        match self {
            Self::BatchSize { reference } => samples("reference", reference),
            Self::GradientNoiseScale { batch_size } => samples("batch_size", batch_size),
            Self::NoiseLevel => Ok(()),
            Self::Momentum { reference } | Self::MechanicalMomentum { reference } => {
                let ok = (0.0..1.0).contains(&reference);
                OutOfRange::require("reference", reference, ok, "at least 0, below 1")
            }
            Self::Temperature { reference } => positive("reference", reference),
            Self::Curvature { smallest } => positive("smallest", smallest),
            Self::Difficulty { rho } => {
                let ok = rho > 0.0 && rho <= 700.0;
                OutOfRange::require("rho", rho, ok, "above 0, at most 700")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::driver::Driver;
    use crate::{Follow, Observation, RunLength};
    use anneal_schedule::inverse_curvature;
    use anneal_schedule::prelude::*;

    /// Announcing a schedule's numbers step by step gives the rates of the combinator that follows it.
    fn agrees(
        name: &str,
        numbers: impl ScheduleExt,
        rates: impl ScheduleExt,
        rule: Follow,
        tuned: f64,
    ) {
        let run = RunLength::updates(500);
        let (numbers, rates) = (numbers.resolve(run).unwrap(), rates.resolve(run).unwrap());
        let mut driver = Driver::new(rule);
        driver.rate = tuned;
        for step in 0..500 {
            driver.announce(name, Some(numbers.rate(step)));
            let rate = driver.update(&Observation::default());
            let expected = rates.rate(step);
            assert!(
                (rate / expected - 1.0).abs() < 1e-13,
                "{name}, {step}: {rate}, not {expected}"
            );
        }
        assert!(rates.rate(0) != rates.rate(499));
    }

    #[test]
    fn closed_loop_and_open_loop_agree() {
        let sizes = || linear(0.2, 300.0);
        let rule = Follow::batch_size(256);
        agrees("batch size", sizes(), sizes().follow_batch_size(0.1 / 256.0), rule, 0.1);
        let betas = || linear(1e-4, 2.0);
        let rule = Follow::noise_level();
        agrees("noise level", betas(), betas().follow_noise(0.3), rule, 0.3);
        // At the smallest curvature the rate is the peak.
        let curvatures = || linear(4.0, 0.25);
        let table: Vec<f64> = {
            let curvatures = curvatures().resolve(RunLength::updates(500)).unwrap();
            (0..500).map(|step| curvatures.rate(step)).collect()
        };
        let smallest = table[499];
        let rule = Follow::curvature(smallest);
        agrees("curvature", curvatures(), inverse_curvature(0.3, table), rule, 0.3);
        let critical = |momentum: f64| ((1.0 - momentum) / (1.0 + momentum)).powi(2) / 2.5;
        let momenta = || linear(0.0, 0.99);
        let rule = Follow::momentum(0.9);
        agrees("momentum", momenta(), momenta().follow_momentum(2.5), rule, critical(0.9));
        let temperatures = || exponential(0.5, Decay::Kappa(0.01));
        let rule = Follow::temperature(0.2);
        agrees("temperature", temperatures(), temperatures().follow_temperature(0.6), rule, 0.12);
    }

    /// Rates that the mechanical map turned into momentum are recovered.
    #[test]
    fn the_mechanical_map_turned_round_gives_the_rates() {
        let rates = || step_decay(0.04, Span::steps(50), 0.5);
        let momenta = rates().mechanical_momentum(2.0);
        agrees("momentum", momenta, rates(), Follow::mechanical_momentum(0.8), 0.01);
    }

    #[test]
    fn square_roots_are_those_of_the_scaling_rule() {
        let mut driver = Driver::new(Follow::batch_size(256).square_root());
        for size in [1, 64, 256, 1_000] {
            driver.announce("batch size", Some(size as f64));
            let factor = driver.update(&Observation::default());
            let expected = anneal_schedule::square_root_scaling(1.0, 256, size).unwrap();
            assert_eq!(factor, expected);
        }
    }

    /// ε_opt(B) = ε_max / (1 + 𝓑/B) is the rate at which the expected loss of a noisy quadratic falls most:
    /// −ε |G|² + ½ ε² (Gᵀ H G + tr(HΣ)/B).
    #[test]
    fn the_gradient_noise_scale_gives_the_best_rate() {
        // G = (3, 4), H = 2 I, tr Σ = 10 |G|²: 𝓑 = 10 and ε_max = |G|²/Gᵀ H G = 1/2.
        let mut driver = Driver::new(Follow::gradient_noise_scale(5));
        driver.rate = 0.5;
        driver.announce("gradient noise scale", Some(10.0));
        let rate = driver.update(&Observation::default());
        let loss = |rate: f64| -rate * 25.0 + 0.5 * rate * rate * (50.0 + 2.0 * 250.0 / 5.0);
        assert!((1..=2_000).all(|i| loss(rate) <= loss(f64::from(i) / 1_000.0) + 1e-12));
    }

    #[test]
    fn difficulty_is_an_exponential() {
        let mut driver = Driver::new(Follow::difficulty(2.0));
        for (difficulty, factor) in
            [(0.0, 1.0), (0.5, 0.367_879_441_171_442_3), (1.0, 0.135_335_283)]
        {
            driver.announce("difficulty", Some(difficulty));
            assert!((driver.update(&Observation::default()) - factor).abs() < 1e-9);
        }
        for difficulty in [-0.1, 1.1] {
            driver.announce("difficulty", Some(difficulty));
        }
        assert_eq!(driver.state()["out_of_range"], 2);
    }

    #[test]
    fn each_number_has_its_range() {
        let momenta = [-0.1, 1.0, 1.5];
        for (name, rule, refused) in [
            ("batch size", Follow::batch_size(8), vec![0.0, -1.0]),
            ("noise level", Follow::noise_level(), vec![-0.1]),
            ("curvature", Follow::curvature(1.0), vec![0.0, -1.0]),
            ("momentum", Follow::momentum(0.9), momenta.to_vec()),
            ("momentum", Follow::mechanical_momentum(0.9), momenta.to_vec()),
            ("temperature", Follow::temperature(1.0), vec![0.0, -1.0]),
            ("gradient noise scale", Follow::gradient_noise_scale(8), vec![-1.0]),
        ] {
            let mut driver = Driver::new(rule);
            for &number in &refused {
                driver.announce(name, Some(number));
            }
            assert_eq!(driver.state()["out_of_range"], refused.len(), "{name}");
            assert_eq!(driver.update(&Observation::default()), 1.0, "{name}");
        }
    }
}

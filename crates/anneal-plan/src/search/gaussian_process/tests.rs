//! Compares with scikit-learn, finite differences and functions drawn from a known process.

use super::*;
use nalgebra::{Cholesky, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A standard normal number, by Box and Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn points(count: usize, dimensions: usize, random: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    (0..count).map(|_| (0..dimensions).map(|_| random.random()).collect()).collect()
}

/// Values of a function drawn from a process, with its noise.
fn drawn(process: &GaussianProcess, x: &[Vec<f64>], random: &mut ChaCha8Rng) -> Vec<f64> {
    let factor = Cholesky::new(process.covariances(x)).unwrap().l();
    let draw = factor * DVector::from_fn(x.len(), |_, _| normal(random));
    draw.iter().copied().collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{found} not {expected}");
}

/// Values from scikit-learn 1.9.
#[test]
fn scikit_learn_predicts_the_same_with_a_length_scale_for_each_dimension() {
    let x = [vec![0.1, 0.9], vec![0.4, 0.2], vec![0.45, 0.25], vec![0.8, 0.7]];
    let y = [1.0, -0.5, -0.7, 0.3];
    let expected = [
        (
            Kernel::Rbf,
            [-0.5205738126413557, -0.5322172715755915],
            [0.4002704274352912, 0.09166943375690943],
            -4.030588438488078,
        ),
        (
            Kernel::Matern52,
            [-0.5176957719667001, -0.516982868752029],
            [0.5456181494490193, 0.09509792577728758],
            -4.078946319376063,
        ),
    ];
    for (kernel, means, stds, likelihood) in expected {
        let process = GaussianProcess::new(kernel, 1.7, vec![0.3, 0.6]).noise(0.01);
        let posterior = process.observe(&x, &y).unwrap();
        close(posterior.log_marginal_likelihood(), likelihood);
        for (i, at) in [[0.5, 0.5], [0.4, 0.2]].into_iter().enumerate() {
            close(posterior.predict(&at).unwrap().mean, means[i]);
            close(posterior.predict(&at).unwrap().std, stds[i]);
        }
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for kernel in [Kernel::Rbf, Kernel::Matern52] {
        for scales in [vec![0.4], vec![0.4, 0.9, 0.2]] {
            let x = points(12, 3, &mut random);
            let y: Vec<f64> = (0..12).map(|_| normal(&mut random)).collect();
            // With respect to ln variance, each ln l, ln noise.
            let likelihood = |nudged: usize, by: f64| {
                let factor = |i: usize| if i == nudged { by.exp() } else { 1.0 };
                let nudge = |(i, l): (usize, &f64)| l * factor(i + 1);
                let l = scales.iter().enumerate().map(nudge).collect();
                let noise = 0.05 * factor(scales.len() + 1);
                GaussianProcess::new(kernel, 1.3 * factor(0), l)
                    .noise(noise)
                    .observe(&x, &y)
                    .unwrap()
            };
            let gradient = likelihood(0, 0.0).log_marginal_likelihood_gradient();
            assert_eq!(gradient.len(), scales.len() + 2);
            for (i, slope) in gradient.into_iter().enumerate() {
                let [up, down] =
                    [1e-5, -1e-5].map(|by| likelihood(i, by).log_marginal_likelihood());
                let expected = (up - down) / 2e-5;
                assert!(
                    (slope - expected).abs() < 1e-6 * (1.0 + expected.abs()),
                    "{i}: {slope} {expected}"
                );
            }
        }
    }
}

/// 40 functions drawn from one process: on average the fitted logarithms are close to the true ones.
#[test]
fn a_fit_recovers_the_process_that_drew_the_values() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let truth = GaussianProcess::new(Kernel::Rbf, 1.0, vec![0.15, 0.6]).noise(0.02);
    let mut sum = [0.0; 3];
    for _ in 0..40 {
        let x = points(60, 2, &mut random);
        let y = drawn(&truth, &x, &mut random);
        let fitted = GaussianProcess::fit(Kernel::Rbf, &x, &y).unwrap();
        let found =
            [fitted.length_scales[0] / 0.15, fitted.length_scales[1] / 0.6, fitted.noise / 0.02];
        sum.iter_mut().zip(found).for_each(|(sum, ratio)| *sum += ratio.ln() / 40.0);
    }
    assert!(sum[0].abs() < 0.1 && sum[1].abs() < 0.2 && sum[2].abs() < 0.2, "{sum:?}");
}

/// The objective of a fit, as stated in its documentation.
fn density(p: &GaussianProcess, x: &[Vec<f64>], y: &[f64]) -> f64 {
    let gamma = |shape: f64, rate: f64, x: f64| (shape - 1.0) * x.ln() - rate * x;
    let scales: f64 = p.length_scales.iter().map(|l| gamma(3.0, 6.0, *l)).sum();
    let priors = gamma(2.0, 1.0, p.variance) + scales + gamma(1.1, 30.0, p.noise);
    p.observe(x, y).unwrap().log_marginal_likelihood() + priors
}

/// A few values that are either a fast function or noise: of several maxima of the density it finds the
/// highest, by a grid of 360 points.
#[test]
fn a_fit_is_at_the_highest_of_several_tops() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for round in 0..30 {
        let x = points(12, 1, &mut random);
        let noise = [0.0, 0.1, 0.5][round % 3];
        let f = |x: f64| (1.0 - noise) * (12.0 * x).sin();
        let y: Vec<f64> = x.iter().map(|x| f(x[0]) + noise * normal(&mut random)).collect();
        let fitted = density(&GaussianProcess::fit(Kernel::Rbf, &x, &y).unwrap(), &x, &y);
        let mut highest = f64::NEG_INFINITY;
        for l in [0.05, 0.07, 0.09, 0.12, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2] {
            for noise in [1e-6, 1e-4, 1e-2, 0.1, 0.3, 1.0] {
                for variance in [0.1, 0.3, 0.6, 1.0, 2.0, 4.0] {
                    let process = GaussianProcess::new(Kernel::Rbf, variance, vec![l]).noise(noise);
                    highest = highest.max(density(&process, &x, &y));
                }
            }
        }
        assert!(fitted > highest - 0.01, "round {round}: {fitted} below {highest}");
    }
}

/// The fit is a maximum of the density: no small change of one logarithm increases it by much.
#[test]
fn a_fit_is_at_a_top() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for dimensions in [1, 3] {
        let x = points(25, dimensions, &mut random);
        let y: Vec<f64> =
            x.iter().map(|x| (5.0 * x[0]).sin() + 0.1 * normal(&mut random)).collect();
        let fitted = GaussianProcess::fit(Kernel::Matern52, &x, &y).unwrap();
        let density = |process: &GaussianProcess| density(process, &x, &y);
        let top = density(&fitted);
        for factor in [0.8, 0.95, 1.05, 1.25] {
            let mut nudged = vec![fitted.clone().noise(fitted.noise * factor)];
            nudged.push(GaussianProcess { variance: fitted.variance * factor, ..fitted.clone() });
            for j in 0..dimensions {
                let mut other = fitted.clone();
                other.length_scales[j] *= factor;
                nudged.push(other);
            }
            for other in nudged {
                assert!(density(&other) < top + 0.005, "{other:?} over {fitted:?}");
            }
        }
    }
}

#[test]
fn little_noise_interpolates_and_far_away_the_prior_is_back() {
    let process = GaussianProcess::new(Kernel::Matern52, 2.0, vec![0.2]).noise(1e-10);
    let x: Vec<Vec<f64>> = (0..9).map(|i| vec![f64::from(i) / 8.0]).collect();
    let y: Vec<f64> = x.iter().map(|x| x[0].powi(3)).collect();
    let posterior = process.observe(&x, &y).unwrap();
    for (x, y) in x.iter().zip(&y) {
        let Prediction { mean, std } = posterior.predict(x).unwrap();
        assert!((mean - y).abs() < 1e-8 && std < 1e-4);
    }
    let Prediction { mean, std } = posterior.predict(&[50.0]).unwrap();
    assert!(mean.abs() < 1e-12 && (std - 2f64.sqrt()).abs() < 1e-12);
}

/// With noise s² and n values at one place, the mean is n v ȳ / (n v + s²), by the formula for a normal mean.
#[test]
fn values_at_one_place_are_averaged() {
    let process = GaussianProcess::new(Kernel::Rbf, 2.0, vec![0.2]).noise(0.5);
    let posterior = process.observe(&vec![vec![0.3]; 4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    let Prediction { mean, std } = posterior.predict(&[0.3]).unwrap();
    close(mean, 4.0 * 2.0 * 2.5 / (4.0 * 2.0 + 0.5));
    close(std, (2.0f64 * 0.5 / (4.0 * 2.0 + 0.5)).sqrt());
}

#[test]
fn duplicates_without_noise_and_a_few_values_are_no_obstacle() {
    let exact = GaussianProcess::new(Kernel::Rbf, 1.0, vec![0.5]);
    let posterior = exact.observe(&[vec![0.1], vec![0.1], vec![0.1]], &[1.0, 1.0, 1.0]).unwrap();
    assert!((posterior.predict(&[0.1]).unwrap().mean - 1.0).abs() < 1e-6);
    let prior = exact.observe(&[], &[]).unwrap().predict(&[0.3]).unwrap();
    assert_eq!((prior.mean, prior.std), (0.0, 1.0));
    for values in [&[][..], &[0.0], &[0.0, 0.0], &[-1.0, 1.0], &[0.0; 30]] {
        let spread: Vec<Vec<f64>> = (0..values.len()).map(|i| vec![i as f64 / 40.0, 0.5]).collect();
        let same = vec![vec![0.5, 0.5]; values.len()];
        for x in [spread, same] {
            let fitted = GaussianProcess::fit(Kernel::Matern52, &x, values).unwrap();
            let prediction = fitted.observe(&x, values).unwrap().predict(&[0.5, 0.5]).unwrap();
            assert!(prediction.mean.is_finite() && prediction.std.is_finite(), "{values:?}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let process = |variance, l, noise| GaussianProcess::new(Kernel::Rbf, variance, l).noise(noise);
    let refused = |process: GaussianProcess, x: &[Vec<f64>], y: &[f64], field: &str| {
        let error = process.observe(x, y).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    };
    let (nan, x) = (f64::NAN, [vec![0.0], vec![1.0]]);
    for bad in [0.0, -1.0, nan, f64::INFINITY] {
        refused(process(bad, vec![1.0], 0.0), &x, &[0.0; 2], "variance");
        refused(process(1.0, vec![bad], 0.0), &x, &[0.0; 2], "length_scales");
    }
    refused(process(1.0, vec![], 0.0), &x, &[0.0; 2], "length_scales");
    refused(process(1.0, vec![1.0; 2], 0.0), &x, &[0.0; 2], "length_scales: 2");
    refused(process(1.0, vec![1.0], -0.1), &x, &[0.0; 2], "noise");
    refused(process(1.0, vec![1.0], 0.0), &x, &[0.0], "y: 1");
    refused(process(1.0, vec![1.0], 0.0), &x, &[0.0, nan], "y");
    refused(process(1.0, vec![1.0], 0.0), &[vec![0.0], vec![nan]], &[0.0; 2], "x");
    refused(process(1.0, vec![1.0], 0.0), &[vec![0.0], vec![0.0, 1.0]], &[0.0; 2], "x");
    refused(process(1.0, vec![1.0], 0.0), &[vec![]], &[0.0], "x");
    assert!(GaussianProcess::fit(Kernel::Rbf, &x, &[0.0, nan]).is_err());
}

/// A place must have as many coordinates as those observed, or as there are length scales.
#[test]
fn no_place_of_another_length_is_predicted() {
    let process = |l| GaussianProcess::new(Kernel::Rbf, 1.0, l);
    let posterior = process(vec![1.0]).observe(&[vec![0.1, 0.2]], &[1.0]).unwrap();
    for place in [&[][..], &[0.1], &[0.1, 0.2, 0.3], &[0.1, f64::NAN], &[f64::INFINITY, 0.2]] {
        let error = posterior.predict(place).unwrap_err().to_string();
        let expected = format!("place: {place:?} is not allowed; allowed: 2 finite numbers");
        assert_eq!(error, expected);
    }
    assert!((posterior.predict(&[0.1, 0.2]).unwrap().mean - 1.0).abs() < 1e-9);
    let prior = |l| process(l).observe(&[], &[]).unwrap();
    assert!(prior(vec![1.0; 2]).predict(&[0.1]).is_err());
    assert!(prior(vec![1.0; 2]).predict(&[0.1, 0.2]).is_ok());
    assert!(prior(vec![1.0]).predict(&[0.1, 0.2]).is_ok());
    assert!(prior(vec![1.0]).predict(&[f64::NAN]).is_err());
}

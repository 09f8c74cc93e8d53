//! The quality of a GAN's digits, judged by a classifier of real digits.

use std::sync::Arc;

use anneal_examples::data::{CLASSES, Images};
use anneal_examples::model::ImageClassifier;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::Tensor;
use burn::train::TrainStep;
use burn_anneal::prelude::*;

use super::eigen::{Matrix, eigen, product, root};
use crate::batches::InMemory;
use crate::cli::Settings;
use crate::digits::{Digits, tensor_of};
use crate::error::ExperimentError;
use crate::evaluation::evaluate;
use crate::model::{Classifier, FEATURES};

/// A classifier of real digits, and its features of the test digits.
pub struct Judge {
    classifier: Classifier,
    real: Gaussian,
    /// Its accuracy on the real test digits.
    pub accuracy: f64,
    /// The distance between real training digits and the test digits, which a perfect generator would reach.
    pub floor: f64,
}

/// The verdict about digits.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// The Fréchet distance of their features from those of real digits.
    pub distance: f64,
    /// The entropy of their predicted classes, relative to ten equally frequent classes.
    pub variety: f64,
}

impl Judge {
    /// Trains a judge on the real digits.
    ///
    /// # Errors
    /// If it cannot be trained.
    pub fn train(digits: &Digits, settings: &Settings) -> Result<Self, ExperimentError> {
        const BATCH: usize = 64;
        digits.device.seed(0);
        let classifier = Classifier::new(&digits.device.clone().autodiff());
        let loader = digits.train_loader(BATCH, 0);
        let epochs = settings.either(10, 2);
        let run = RunLength::from_items(digits.train.len(), BATCH).epochs(epochs);
        let adam = AdamConfig::new().build();
        let mut training =
            LearnerBuilder::new(classifier, adam, cosine(2e-3)).run(run).build_loop()?;
        for epoch in 1..=epochs {
            for batch in loader.batches_of(epoch) {
                training.pass(|model| TrainStep::step(model, batch));
                training.update()?;
            }
        }
        let classifier = training.into_model().valid();
        let accuracy = accuracy(&classifier, digits)?;
        let real = Gaussian::of(&features(&classifier, tensor_of(&digits.test, &digits.device))?);
        let others: Arc<Images> = Arc::new(digits.train.balanced_first(digits.test.len()));
        let others = Gaussian::of(&features(&classifier, tensor_of(&others, &digits.device))?);
        let floor = real.distance(&others);
        Ok(Self { classifier, real, accuracy, floor })
    }

    /// Judges `[digits, pixels]`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn judge(&self, digits: Tensor<2>) -> Result<Quality, ExperimentError> {
        let seen = self.classifier.features(digits);
        let classes = self.classifier.scores(seen.clone()).argmax(1);
        let distance = self.real.distance(&Gaussian::of(&rows(seen)?));
        Ok(Quality { distance, variety: variety(&classes.try_into_vec_as::<i64>()?) })
    }
}

fn accuracy<M: ImageClassifier>(model: &M, digits: &Digits) -> Result<f64, ExperimentError> {
    Ok(evaluate(model, &digits.loader_of(&digits.test))?.accuracy)
}

fn features(classifier: &Classifier, digits: Tensor<2>) -> Result<Vec<Vec<f64>>, ExperimentError> {
    rows(classifier.features(digits))
}

fn rows(features: Tensor<2>) -> Result<Vec<Vec<f64>>, ExperimentError> {
    let values: Vec<f64> = features.try_into_vec_as()?;
    Ok(values.chunks(FEATURES).map(Vec::from).collect())
}

/// The entropy of the classes, relative to the largest possible.
fn variety(classes: &[i64]) -> f64 {
    let shares = (0..CLASSES as i64).map(|class| {
        classes.iter().filter(|found| **found == class).count() as f64 / classes.len() as f64
    });
    shares.filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum::<f64>()
        / (CLASSES as f64).ln()
}

/// The normal distribution with the mean and the covariance of some features.
#[derive(Debug, Clone)]
struct Gaussian {
    mean: Vec<f64>,
    covariance: Matrix,
}

impl Gaussian {
    fn of(features: &[Vec<f64>]) -> Self {
        let (count, size) = (features.len() as f64, features.first().map_or(0, Vec::len));
        let mean: Vec<f64> = (0..size)
            .map(|index| features.iter().map(|row| row[index]).sum::<f64>() / count)
            .collect();
        let mut covariance = vec![vec![0.0; size]; size];
        for row in features {
            for i in 0..size {
                for j in 0..size {
                    covariance[i][j] += (row[i] - mean[i]) * (row[j] - mean[j]) / (count - 1.0);
                }
            }
        }
        Self { mean, covariance }
    }

    /// The square of the Fréchet distance: ‖μ − ν‖² + tr(A + B − 2(√A B √A)^½), for means μ, ν and covariances A, B.
    fn distance(&self, other: &Self) -> f64 {
        let between: f64 = self.mean.iter().zip(&other.mean).map(|(a, b)| (a - b).powi(2)).sum();
        let trace = |matrix: &Matrix| (0..matrix.len()).map(|i| matrix[i][i]).sum::<f64>();
        let half = root(self.covariance.clone());
        let (values, _) = eigen(product(&product(&half, &other.covariance), &half));
        let shared: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
        between + trace(&self.covariance) + trace(&other.covariance) - 2.0 * shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(mean: [f64; 2], deviations: [f64; 2]) -> Gaussian {
        let [a, b] = deviations.map(|deviation| deviation * deviation);
        Gaussian { mean: mean.into(), covariance: vec![vec![a, 0.0], vec![0.0, b]] }
    }

    #[test]
    fn the_distance_of_independent_normals_is_that_of_means_and_deviations() {
        let (one, other) = (gaussian([0.0, 1.0], [1.0, 2.0]), gaussian([3.0, 1.0], [2.0, 5.0]));

        // 3² + (2 − 1)² + (5 − 2)²
        assert!((one.distance(&other) - 19.0).abs() < 1e-9);
        assert!(one.distance(&one).abs() < 1e-9);
    }

    #[test]
    fn correlation_counts() {
        let mut turned = gaussian([0.0, 0.0], [1.0, 1.0]);
        (turned.covariance[0][1], turned.covariance[1][0]) = (1.0, 1.0);

        // Eigenvalues 0 and 2 against 1 and 1: 1 + (√2 − 1)².
        let expected = 1.0 + (2f64.sqrt() - 1.0).powi(2);
        let found = gaussian([0.0, 0.0], [1.0, 1.0]).distance(&turned);
        assert!((found - expected).abs() < 1e-9, "{found}");
    }

    #[test]
    fn features_have_a_mean_and_a_covariance() {
        let found = Gaussian::of(&[vec![1.0, 0.0], vec![3.0, 4.0]]);

        assert_eq!(found.mean, [2.0, 2.0]);
        assert_eq!(found.covariance, [[2.0, 4.0], [4.0, 8.0]]);
    }

    #[test]
    fn variety_is_1_for_ten_equal_classes_and_0_for_one() {
        assert!((variety(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) - 1.0).abs() < 1e-12);
        assert_eq!(variety(&[3, 3, 3]), 0.0);
    }
}

//! Clients that train the classifier on their own digits, and the measurements of their rounds.

use std::sync::Arc;

use anneal_examples::data::Augmentation;
use anneal_examples::loader::ImageLoader;
use anneal_examples::prelude::*;
use burn::train::TrainStep;
use burn_anneal::Round;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::evaluation::{Evaluation, evaluate};
use crate::model::Classifier;

/// The number of tests in a run.
const TESTS: u64 = 20;

/// How clients train.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// The number of clients.
    pub clients: usize,
    /// How digits are split among them.
    pub split: ClientSplit,
    /// Images per local update.
    pub batch_size: usize,
    /// Local updates per round.
    pub steps: u64,
    /// The number of rounds.
    pub count: u64,
}

/// The measurements of a training.
#[derive(Debug, Clone, Default)]
pub struct FederatedCourse {
    /// The measurements of each round.
    pub rounds: Vec<Round>,
    /// The accuracy on the test digits, by the local updates of a client before it.
    pub accuracy: Vec<(f64, f64)>,
    /// The server's model on the validation digits at the end.
    pub valid: Evaluation,
    /// The server's model on the test digits at the end.
    pub test: Evaluation,
    steps: u64,
}

impl Rounds {
    /// The local updates of each client.
    pub fn updates(&self) -> u64 {
        self.steps * self.count
    }

    /// Trains a classifier from a seed. `client` makes the builder of a client by its number, and `federate` sets the
    /// rest.
    ///
    /// # Errors
    /// If digits cannot be dealt, nothing can be built, or the device fails. A run whose weights are not finite ends,
    /// and what it achieves is NaN.
    pub fn train(
        &self,
        digits: &Digits,
        seed: u64,
        client: impl Fn(usize, Classifier) -> LearnerBuilder<Classifier>,
        federate: impl FnOnce(FederationBuilder<Classifier>) -> FederationBuilder<Classifier>,
    ) -> Result<FederatedCourse, ExperimentError> {
        let device = digits.device.clone().autodiff();
        digits.device.seed(seed);
        let classifier = Classifier::new(&device);
        let run = RunLength::updates(self.updates());
        let clients = (0..self.clients).map(|number| client(number, classifier.clone()).run(run));
        let mut federation = federate(FederationBuilder::new(clients, self.count)).build()?;

        let dealt = self.split.of(digits.train.labels(), self.clients, seed)?;
        let loaders: Vec<ImageLoader> = dealt
            .iter()
            .map(|items| {
                let images = Arc::new(digits.train.select(items));
                train_loader(images, self.batch_size, Augmentation::NONE, seed, &device)
            })
            .collect();
        let mut batches: Vec<_> = loaders.iter().map(InMemory::all_batches).collect();
        let test_digits = digits.loader_of(&digits.test);
        let mut course = FederatedCourse { steps: self.steps, ..FederatedCourse::default() };
        for number in 1..=self.count {
            let round = federation.round(|client, training| {
                for batch in batches[client].by_ref().take(self.steps as usize) {
                    training.pass(|model| TrainStep::step(model, batch));
                    training.update()?;
                }
                Ok(())
            });
            course.rounds.push(match round {
                Err(FederationError::ClientNotFinite { .. }) => return Ok(course.lost()),
                round => round?,
            });
            if number % self.count.div_ceil(TESTS) == 0 || number == self.count {
                course.test = evaluate(&federation.valid(), &test_digits)?;
                course.accuracy.push(((number * self.steps) as f64, course.test.accuracy));
            }
        }
        course.valid = evaluate(&federation.valid(), &digits.loader_of(&digits.valid))?;
        Ok(course)
    }
}

impl FederatedCourse {
    /// The training with NaN results, for weights that are not finite.
    fn lost(self) -> Self {
        let nothing = Evaluation { loss: f64::NAN, accuracy: f64::NAN };
        Self { valid: nothing, test: nothing, ..self }
    }

    /// The drift of the first round, in which all runs of a seed start from the same weights.
    pub fn first_drift(&self) -> f64 {
        self.rounds.first().map_or(f64::NAN, |round| round.drift)
    }

    /// The mean drift of the rounds.
    pub fn drift(&self) -> f64 {
        self.mean(|round| round.drift)
    }

    /// The mean of their drift over their movement.
    pub fn relative_drift(&self) -> f64 {
        self.mean(Round::relative_drift)
    }

    fn mean(&self, of: impl Fn(&Round) -> f64) -> f64 {
        self.rounds.iter().map(of).sum::<f64>() / self.rounds.len() as f64
    }

    /// The drift of each round, by the local updates of a client before its end.
    pub fn drifts(&self) -> Vec<(f64, f64)> {
        let point = |round: &Round| (((round.number + 1) * self.steps) as f64, round.drift);
        self.rounds.iter().map(point).collect()
    }
}

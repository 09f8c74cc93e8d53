//! Compares one training with ensembles of the snapshots at restarts.

use std::sync::Arc;

use anneal_examples::data::Augmentation;
use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::model::ImageNetwork;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::AdamWConfig;
use burn::tensor::Tensor;
use burn::train::TrainStep;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::colors::Colors;
use crate::error::ExperimentError;
use crate::evaluation::Evaluation;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::ColorClassifier;
use crate::table::Column;

/// The rate after each restart, and a lower and a higher one.
const RATE: f64 = 4e-3;
const LOW: f64 = 1e-3;
const HIGH: f64 = 1.2e-2;

const WEIGHT_DECAY: f32 = 0.02;
const BATCH: usize = 50;

/// Images tested at once.
const TESTED_AT_ONCE: usize = 250;

const STUDY: Study = Study {
    name: "snapshots",
    title: "Snapshot ensembles beside one cosine",
    columns: &[
        Column::share("last"),
        Column::share("best single"),
        Column::share("probabilities"),
        Column::share("logits"),
        Column::lower("loss, last"),
        Column::lower("loss, averaged"),
        Column::neutral("weights apart"),
        Column { name: "disagreement", higher_is_better: None, is_share: true },
        Column::neutral("divergence"),
    ],
    panels: &[
        Drawn::new("members, the last ones", "test accuracy of their mean", Scale::Percent),
        Drawn::new("update", "learning rate", Scale::Rate),
    ],
    expected: Expected {
        words: "restarts move the weights to other minima, so the models at the ends of cycles make different errors, \
                and their mean is more often right than one model trained equally long; models along one cosine differ \
                less where they are good.",
        better: &[
            ("3 cycles", "one cosine"),
            ("6 cycles", "one cosine"),
            ("3 cycles", "along one cosine"),
            ("6 cycles", "along one cosine"),
        ],
        by: 2,
        adaptive: &[
            "3 cycles, low",
            "3 cycles",
            "3 cycles, high",
            "6 cycles, low",
            "6 cycles",
            "6 cycles, high",
        ],
    },
};

/// A schedule, and the number of equal parts of the run at whose ends the model is kept, whatever the rate.
type Arm = (ScheduleConfig, Option<usize>);

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let bench = Bench::load(settings)?;
    let once = || ScheduleConfig::from(cosine(RATE));
    let cycles = |count: usize, peak: f64| {
        let cycle = Span::percent(100.0 / count as f64);
        (ScheduleConfig::from(warm_restarts(peak, cycle)), None)
    };
    let arms: [(&str, Arm); 8] = [
        ("one cosine", (once(), None)),
        ("along one cosine", (once(), Some(6))),
        ("3 cycles, low", cycles(3, LOW)),
        ("3 cycles", cycles(3, RATE)),
        ("3 cycles, high", cycles(3, HIGH)),
        ("6 cycles, low", cycles(6, LOW)),
        ("6 cycles", cycles(6, RATE)),
        ("6 cycles, high", cycles(6, HIGH)),
    ];
    let note = format!(
        "Three convolutions on {} CIFAR-10 images, without augmentation, for {} epochs in every arm, tested on {}: one image is {:.1} %. AdamW; \
         cycles begin at {RATE}, low at {LOW}, high at {HIGH}. The best single member is chosen by the test images, \
         which flatters it. Along one cosine are six models, at each sixth of the run. Weights apart is the mean of \
         ‖w_i − w_j‖/√(‖w_i‖‖w_j‖), disagreement the share of other classes, divergence the symmetric one of Kullback \
         and Leibler in nats, each over all pairs of members; one model alone has none.",
        bench.colors.train.len(),
        bench.epochs,
        bench.colors.test.len(),
        100.0 / bench.colors.test.len() as f64,
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| bench.trial(arm, seed))
}

/// The models of a run, and the rate of each update.
type Left = (Vec<ColorClassifier>, Vec<(f64, f64)>);

/// What all arms share.
struct Bench {
    colors: Colors,
    epochs: usize,
}

impl Bench {
    fn load(settings: &Settings) -> Result<Self, ExperimentError> {
        Ok(Self { colors: Colors::sample(settings)?, epochs: settings.either(30, 6) })
    }

    fn trial(&self, arm: &Arm, seed: u64) -> Result<Trial, ExperimentError> {
        let (members, rates) = self.train(arm, seed)?;
        let score = |members: &[ColorClassifier], average| self.score(members, average);
        let each = members.iter().map(|member| {
            score(std::slice::from_ref(member), MeanOf::Probabilities).map(|score| score.accuracy)
        });
        let each: Vec<f64> = each.collect::<Result<_, _>>()?;
        let counts = 1..=members.len();
        let means =
            counts.map(|count| score(&members[members.len() - count..], MeanOf::Probabilities));
        let means: Vec<Evaluation> = means.collect::<Result<_, _>>()?;
        let logits = score(&members, MeanOf::Outputs)?;
        let ensemble = Ensemble::of_models(members);
        let weights = ensemble.weight_diversity()?.distance;
        let predictions = ensemble.prediction_diversity(&self.test_loader(), forward)?;
        let [last, all] = [means[0], means[means.len() - 1]];
        let curve = (1..).zip(&means).map(|(count, mean)| (f64::from(count), mean.accuracy));
        Ok(Trial {
            numbers: vec![
                last.accuracy,
                each.into_iter().fold(0.0, f64::max),
                all.accuracy,
                logits.accuracy,
                last.loss,
                all.loss,
                weights.mean().unwrap_or(0.0),
                predictions.disagreement.mean().unwrap_or(0.0),
                predictions.divergence.mean().unwrap_or(0.0),
            ],
            lines: vec![curve.collect(), rates],
        })
    }

    fn train(&self, (schedule, parts): &Arm, seed: u64) -> Result<Left, ExperimentError> {
        let device = self.colors.device.clone().autodiff();
        self.colors.device.seed(seed);
        let folder = tempfile::tempdir()
            .map_err(|source| ExperimentError::File { path: std::env::temp_dir(), source })?;
        let optimizer = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY).build();
        let run = RunLength::from_items(self.colors.train.len(), BATCH).epochs(self.epochs);
        let mut training =
            LearnerBuilder::new(ColorClassifier::new(&device), optimizer, schedule.clone())
                .run(run)
                .snapshots(Snapshots::new(folder.path()))
                .build_loop()?;
        let images = Arc::clone(&self.colors.train);
        let loader = train_loader(images, BATCH, Augmentation::NONE, seed, &device);
        let (mut along, mut rates) = (vec![], vec![]);
        for epoch in 1..=self.epochs {
            for batch in loader.batches_of(epoch) {
                training.pass(|model| TrainStep::step(model, batch));
                let updated = training.update()?;
                rates.push((updated.number as f64, updated.rate));
            }
            if parts.is_some_and(|parts| (epoch * parts).is_multiple_of(self.epochs)) {
                along.push(training.model().valid());
            }
        }
        if parts.is_some() {
            return Ok((along, rates));
        }
        let model = training.into_model().valid();
        let snapshots = Snapshots::list(folder.path())?;
        let members = snapshots.iter().map(|snapshot| snapshot.load(model.clone()));
        Ok((members.collect::<Result<_, _>>()?, rates))
    }

    fn test_loader(&self) -> ImageLoader {
        test_loader(Arc::clone(&self.colors.test), TESTED_AT_ONCE, &self.colors.device)
    }

    /// The results of the ensemble.
    fn score(
        &self,
        members: &[ColorClassifier],
        mean_of: MeanOf,
    ) -> Result<Evaluation, ExperimentError> {
        let loader = self.test_loader();
        let ensemble = Ensemble::of_models(members.iter().cloned()).mean_of(mean_of);
        let logits = Tensor::cat(ensemble.predict(&loader, forward)?, 0);
        let targets = Tensor::cat(loader.batches_of(1).map(|batch| batch.targets).collect(), 0);
        let right = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(targets.clone());
        let loss = CrossEntropyLossConfig::new().init(&self.colors.device).forward(logits, targets);
        Ok(Evaluation {
            loss: loss.try_into_scalar()?,
            accuracy: right.float().mean().try_into_scalar()?,
        })
    }
}

fn forward(model: &ColorClassifier, batch: ImageBatch) -> Tensor<2> {
    model.forward(batch.images)
}

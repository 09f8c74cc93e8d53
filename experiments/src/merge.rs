//! Compares merged snapshots of a constant rate with decaying from the same checkpoint with the same data.

use std::sync::Arc;

use anneal_examples::data::{Augmentation, Images};
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::train::TrainStep;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::colors::Colors;
use crate::error::ExperimentError;
use crate::evaluation::{Evaluation, evaluate};
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::ColorClassifier;
use crate::table::Column;

const RATE: f64 = 4e-3;
const WEIGHT_DECAY: f32 = 0.02;
const BATCH: usize = 50;

/// Images tested at once.
const TESTED_AT_ONCE: usize = 250;

/// The last percentages of a run that are merged or decayed over.
const SHARES: [usize; 3] = [10, 20, 40];

/// Snapshots in an epoch.
const IN_EPOCH: f64 = 4.0;

const STUDY: Study = Study {
    name: "merge",
    title: "Merging checkpoints beside decaying",
    columns: &[
        Column::share("10 %"),
        Column::share("20 %"),
        Column::share("40 %"),
        Column::lower("loss, 10 %"),
        Column::lower("loss, 20 %"),
        Column::lower("loss, 40 %"),
        Column::lower("training loss, 10 %"),
        Column::lower("training loss, 20 %"),
        Column::lower("training loss, 40 %"),
    ],
    panels: &[
        Drawn::new("last percent of the run", "test accuracy", Scale::Percent),
        Drawn::new("last percent of the run", "test loss, of that as it is", Scale::Percent),
        Drawn::new("last percent of the run", "training loss, of that as it is", Scale::Percent),
    ],
    expected: Expected {
        words: "both methods remove the noise of a high rate from the weights, so both are better than the last \
                weights; merging comes close to decaying, but not beyond it, because its gradients are taken at the \
                weights of the constant rate.",
        better: &[
            ("merged, linear", "as it is"),
            ("merged, cosine", "as it is"),
            ("merged, 1 − √", "as it is"),
            ("decayed, linear", "as it is"),
            ("decayed, linear", "merged, linear"),
            ("decayed, cosine", "merged, cosine"),
            ("decayed, 1 − √", "merged, 1 − √"),
        ],
        by: 1,
        adaptive: &["merged, linear", "merged, cosine", "merged, 1 − √"],
    },
};

/// What to do with the last part of a run.
enum Arm {
    Nothing,
    Merge(Curve),
    Decay(Curve),
}

/// A decay from a rate to 0 over this number of updates.
type Curve = fn(f64, Span) -> ScheduleConfig;

fn straight(rate: f64, span: Span) -> ScheduleConfig {
    linear(rate, 0.0).length(span).into()
}

fn half_wave(rate: f64, span: Span) -> ScheduleConfig {
    cosine(rate).length(span).into()
}

fn root(rate: f64, span: Span) -> ScheduleConfig {
    stable_decay(rate, span).shape(DecayShape::OneMinusSqrt).length(span).into()
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let bench = Bench::load(settings)?;
    let arms: [(&str, Arm); 7] = [
        ("as it is", Arm::Nothing),
        ("merged, linear", Arm::Merge(straight)),
        ("merged, cosine", Arm::Merge(half_wave)),
        ("merged, 1 − √", Arm::Merge(root)),
        ("decayed, linear", Arm::Decay(straight)),
        ("decayed, cosine", Arm::Decay(half_wave)),
        ("decayed, 1 − √", Arm::Decay(root)),
    ];
    let note = format!(
        "Three convolutions without norms, so without running statistics, on {} CIFAR-10 images, cropped and mirrored at random, for {} \
         epochs in every arm, tested on {}: one image is {:.1} %. AdamW at {RATE} after a warm-up of an epoch; {IN_EPOCH} \
         snapshots in an epoch. All arms of a seed share the run at the constant rate: what is decayed goes on from its \
         checkpoint with the same batches.",
        bench.colors.train.len(),
        bench.epochs,
        bench.colors.test.len(),
        100.0 / bench.colors.test.len() as f64,
    );
    let mut stable: Option<Stable> = None;
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let stable = match stable.take() {
            Some(found) if found.seed == seed => stable.insert(found),
            _ => stable.insert(bench.stable(seed)?),
        };
        bench.trial(arm, stable)
    })
}

/// A run at a constant rate: its model, its snapshots, and its checkpoint before the last part of each share.
struct Stable {
    seed: u64,
    folder: tempfile::TempDir,
    model: ColorClassifier,
    checkpoints: Vec<Checkpoint>,
}

/// What all arms share.
struct Bench {
    colors: Colors,
    epochs: usize,
}

impl Bench {
    fn load(settings: &Settings) -> Result<Self, ExperimentError> {
        Ok(Self { colors: Colors::sample(settings)?, epochs: settings.either(20, 10) })
    }

    /// The epochs before the last part.
    fn before(&self, share: usize) -> usize {
        self.epochs - self.epochs * share / 100
    }

    /// The updates of this number of epochs.
    fn updates(&self, epochs: usize) -> u64 {
        (epochs * self.colors.train.len().div_ceil(BATCH)) as u64
    }

    fn stable(&self, seed: u64) -> Result<Stable, ExperimentError> {
        let folder = tempfile::tempdir()
            .map_err(|source| ExperimentError::File { path: std::env::temp_dir(), source })?;
        let snapshots = Snapshots::new(folder.path()).every(Span::epochs(1.0 / IN_EPOCH));
        let builder = self.builder(constant(RATE), seed).snapshots(snapshots);
        let mut training = builder.build_loop()?;
        let mut checkpoints = vec![];
        for epoch in 1..=self.epochs {
            self.pass_over(&mut training, epoch, seed)?;
            if SHARES.iter().any(|share| self.before(*share) == epoch) {
                // In a separate folder, because a loop keeps only its last two.
                let folder = folder.path().join(epoch.to_string());
                checkpoints.push(training.save(folder, epoch)?);
            }
        }
        Ok(Stable { seed, folder, model: training.into_model().valid(), checkpoints })
    }

    /// Under a warm-up of an epoch.
    fn builder(
        &self,
        schedule: impl Into<ScheduleConfig>,
        seed: u64,
    ) -> LearnerBuilder<ColorClassifier> {
        self.colors.device.seed(seed);
        let model = ColorClassifier::new(&self.colors.device.clone().autodiff());
        let optimizer = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY).build();
        let run = RunLength::from_items(self.colors.train.len(), BATCH).epochs(self.epochs);
        LearnerBuilder::new(model, optimizer, schedule.into().warmup(Span::epochs(1))).run(run)
    }

    fn pass_over(
        &self,
        training: &mut TrainingLoop<ColorClassifier>,
        epoch: usize,
        seed: u64,
    ) -> Result<(), ExperimentError> {
        let device = self.colors.device.clone().autodiff();
        let images = Arc::clone(&self.colors.train);
        let loader = train_loader(images, BATCH, Augmentation::CROP_AND_FLIP, seed, &device);
        for batch in loader.batches_of(epoch) {
            training.pass(|model| TrainStep::step(model, batch));
            training.update()?;
        }
        Ok(())
    }

    fn trial(&self, arm: &Arm, stable: &Stable) -> Result<Trial, ExperimentError> {
        let model = |share: usize| match arm {
            Arm::Nothing => Ok(stable.model.clone()),
            Arm::Merge(curve) => self.merged(*curve, share, stable),
            Arm::Decay(curve) => self.decayed(*curve, share, stable),
        };
        let models: Vec<_> = SHARES.into_iter().map(model).collect::<Result<_, _>>()?;
        let [test, train] = [&self.colors.test, &self.colors.train].map(|images| {
            models.iter().map(|model| self.score(model, images)).collect::<Result<Vec<_>, _>>()
        });
        let test = test?;
        let accuracies: Vec<f64> = test.iter().map(|score| score.accuracy).collect();
        let [losses, train] =
            [test, train?].map(|scores| scores.iter().map(|score| score.loss).collect::<Vec<_>>());
        let line = |values: &[f64], unit: f64| {
            let point = |(share, value): (&usize, &f64)| (*share as f64, value / unit);
            SHARES.iter().zip(values).map(point).collect()
        };
        let as_it_is = |images| self.score(&stable.model, images).map(|score| score.loss);
        let lines = vec![
            line(&accuracies, 1.0),
            line(&losses, as_it_is(&self.colors.test)?),
            line(&train, as_it_is(&self.colors.train)?),
        ];
        Ok(Trial { numbers: [accuracies, losses, train].concat(), lines })
    }

    fn score(
        &self,
        model: &ColorClassifier,
        images: &Arc<Images>,
    ) -> Result<Evaluation, ExperimentError> {
        let loader = test_loader(Arc::clone(images), TESTED_AT_ONCE, &self.colors.device);
        Ok(evaluate(model, &loader)?)
    }

    fn merged(
        &self,
        curve: Curve,
        share: usize,
        stable: &Stable,
    ) -> Result<ColorClassifier, ExperimentError> {
        let first = self.updates(self.before(share)) - 1;
        let last = Snapshots::list(stable.folder.path())?.into_iter();
        let last = last.filter(|snapshot| snapshot.update() >= first);
        Ok(merge(curve(1.0, Span::percent(100)), last, stable.model.clone())?)
    }

    fn decayed(
        &self,
        curve: Curve,
        share: usize,
        stable: &Stable,
    ) -> Result<ColorClassifier, ExperimentError> {
        let before = self.before(share);
        let updates = self.updates(self.epochs - before);
        // The warm-up is one of the earlier epochs.
        let length = Span::steps(self.updates(before - 1));
        let schedule = constant(RATE).then(length, curve(RATE, Span::steps(updates)));
        let saved = stable.checkpoints.iter().find(|saved| saved.epoch() == before);
        let saved = saved.expect("each share has its checkpoint");
        let builder = self.builder(schedule, stable.seed);
        let mut training =
            builder.resume_from(saved).on_mismatch(OnMismatch::KeepStep).build_loop()?;
        for epoch in before + 1..=self.epochs {
            self.pass_over(&mut training, epoch, stable.seed)?;
        }
        Ok(training.into_model().valid())
    }
}

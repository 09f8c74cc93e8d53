//! Averages of weights instead of a decay, at any time of the run.

use std::sync::Arc;

use anneal_examples::data::{Augmentation, DataSource};
use anneal_examples::loader::ImageLoader;
use anneal_examples::model::ImageNetwork;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn::train::TrainStep;
use burn_anneal::prelude::*;
use burn_anneal::recompute_statistics;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::colors::Colors;
use crate::error::ExperimentError;
use crate::evaluation::evaluate;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::ColorClassifier;
use crate::table::Column;

/// The rates of a curve that ends at 0, of a constant one, and of schedule-free training.
const DECAYING: f64 = 1.6e-2;
const CONSTANT: f64 = 4e-3;
const SCHEDULE_FREE: f64 = 1.6e-2;

const WEIGHT_DECAY: f64 = 0.02;
const BATCH: usize = 50;

/// Images tested at once.
const TESTED_AT_ONCE: usize = 250;

/// The number of evaluations in the run; divisible by 4.
const LOOKS: usize = 12;

/// The number of batches for recomputing the batch-norm statistics of averaged weights.
const STATISTICS: usize = 20;

/// The share of the run so far that is merged, and the number of snapshots in it at the end.
const MERGED: f64 = 0.4;
const SNAPSHOTS: f64 = 12.0;

const STUDY: Study = Study {
    name: "averages",
    title: "Averages instead of a decay, on the CIFAR-10 sample",
    columns: &[
        Column::share("at ¼"),
        Column::share("at ½"),
        Column::share("at ¾"),
        Column::share("at the end"),
        Column::lower("loss at the end"),
    ],
    panels: &[
        Drawn::new("share of the run, %", "test accuracy", Scale::Percent),
        Drawn::new("update", "learning rate", Scale::Rate),
    ],
    expected: Expected {
        words: "a decaying rate pays off only at the end of the run; averages of a run at a constant rate, and \
                schedule-free training, are about as good at the end, and better at any time before, so the length of \
                the run need not be known.",
        better: &[
            ("constant, EMA", "cosine"),
            ("constant, SWA", "cosine"),
            ("constant, merged", "cosine"),
            ("schedule-free", "cosine"),
            ("constant, EMA", "constant"),
        ],
        by: 1,
        adaptive: &["constant, EMA", "constant, SWA", "constant, merged", "schedule-free"],
    },
};

const ON_MORE: Study = Study {
    name: "averages_10000",
    title: "Averages instead of a decay, on 10,000 images of CIFAR-10",
    ..STUDY
};

/// The weights of a run to evaluate.
#[derive(Clone, Copy)]
enum Kind {
    Weights,
    Ema,
    Swa,
    Merged,
    ScheduleFree,
}

/// Trains all arms, on the sample or on `more` images.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings, more: bool) -> Result<Report, ExperimentError> {
    let bench = Bench::load(settings, more)?;
    let stays = || ScheduleConfig::from(constant(CONSTANT).warmup(Span::percent(2.0)));
    let arms = [
        ("cosine", (cosine(DECAYING).warmup(Span::percent(2.0)).into(), Kind::Weights)),
        (
            "trapezoid",
            (
                stable_decay(DECAYING, Span::percent(25.0)).warmup(Span::percent(2.0)).into(),
                Kind::Weights,
            ),
        ),
        ("constant", (stays(), Kind::Weights)),
        ("constant, EMA", (stays(), Kind::Ema)),
        ("constant, SWA", (stays(), Kind::Swa)),
        ("constant, merged", (stays(), Kind::Merged)),
        (
            "schedule-free",
            (constant(SCHEDULE_FREE).warmup(Span::percent(2.0)).into(), Kind::ScheduleFree),
        ),
    ];
    let note = format!(
        "Three convolutions on {} CIFAR-10 images with crops and flips, for {} epochs in every arm, tested on {}: one image is \
         {:.2} %. AdamW. EMA has a half-life of 3 % of the run, SWA is the mean of all weights from a tenth of the run on, \
         merged are the snapshots of the last {:.0} % of the run so far, as 1 − √ would have decayed; averaged weights get the statistics of their \
         batch norms over {STATISTICS} batches. Rates are the best of a grid by factors of two for the end of the run, on the sample \
         and two other seeds: {DECAYING} for the cosine, which the trapezoid has too, {CONSTANT} where the rate stays, {SCHEDULE_FREE} \
         schedule-free.",
        bench.colors.train.len(),
        bench.epochs,
        bench.colors.test.len(),
        100.0 / bench.colors.test.len() as f64,
        100.0 * MERGED,
    );
    let study = if more { ON_MORE } else { STUDY };
    study.conduct(settings, &arms, &note, |(schedule, kind), seed| {
        bench.trial(schedule, *kind, seed)
    })
}

/// The state shared by all arms.
struct Bench {
    colors: Colors,
    epochs: usize,
}

impl Bench {
    fn load(settings: &Settings, more: bool) -> Result<Self, ExperimentError> {
        let (colors, epochs) = match more {
            true => (Colors::load(settings, DataSource::Full, [10_000, 2_000])?, 12),
            false => (Colors::sample(settings)?, settings.either(36, 12)),
        };
        Ok(Self { colors, epochs })
    }

    fn trial(
        &self,
        schedule: &ScheduleConfig,
        kind: Kind,
        seed: u64,
    ) -> Result<Trial, ExperimentError> {
        let device = self.colors.device.clone().autodiff();
        self.colors.device.seed(seed);
        let folder = tempfile::tempdir()
            .map_err(|source| ExperimentError::File { path: std::env::temp_dir(), source })?;
        let loader = train_loader(
            Arc::clone(&self.colors.train),
            BATCH,
            Augmentation::CROP_AND_FLIP,
            seed,
            &device,
        );
        let model = ColorClassifier::new(&device);
        let adamw = AdamWConfig::new().with_weight_decay(0.0).build();
        let builder = match kind {
            Kind::ScheduleFree => LearnerBuilder::new(
                model,
                ScheduleFree::adamw().build().map_err(BuildError::from)?,
                schedule.clone(),
            ),
            _ => LearnerBuilder::new(model, adamw, schedule.clone()),
        };
        let every = Span::percent(100.0 * MERGED / SNAPSHOTS);
        let builder = match kind {
            Kind::Ema => builder.average(Average::half_life(Span::percent(3.0)).warmup()),
            Kind::Swa => builder.average(Average::mean_from(Span::percent(10.0))),
            Kind::Merged => builder.snapshots(Snapshots::new(folder.path()).every(every)),
            Kind::Weights | Kind::ScheduleFree => builder,
        };
        let builder = match kind {
            Kind::Weights | Kind::Merged => builder,
            _ => builder.recompute_statistics(Arc::new(loader.clone()), STATISTICS),
        };
        let run = RunLength::from_items(self.colors.train.len(), BATCH).epochs(self.epochs);
        let mut training = builder.run(run).weight_decay(WEIGHT_DECAY).build_loop()?;
        let test = test_loader(Arc::clone(&self.colors.test), TESTED_AT_ONCE, &self.colors.device);
        let (mut looks, mut rates) = (vec![], vec![]);
        for epoch in 1..=self.epochs {
            for batch in loader.batches_of(epoch) {
                training.pass(|model| TrainStep::step(model, batch));
                let updated = training.update()?;
                rates.push((updated.number as f64, updated.rate));
            }
            // Afterwards all snapshots are written.
            training.end_epoch([])?;
            if !(epoch * LOOKS).is_multiple_of(self.epochs) {
                continue;
            }
            let model = match kind {
                Kind::Merged => merged(&training, folder.path(), &loader)?,
                _ => training.valid(),
            };
            let share = 100.0 * epoch as f64 / self.epochs as f64;
            looks.push((share, evaluate(&model, &test)?));
        }
        let accuracy = |look: usize| looks[look].1.accuracy;
        let quarters = (1..=4).map(|quarter| accuracy(quarter * LOOKS / 4 - 1));
        let numbers = quarters.chain([looks[LOOKS - 1].1.loss]).collect();
        let line = (0..LOOKS).map(|look| (looks[look].0, accuracy(look)));
        Ok(Trial { numbers, lines: vec![line.collect(), rates] })
    }
}

/// Approximately the model after a decay over the last part of the run so far.
fn merged(
    training: &TrainingLoop<ColorClassifier>,
    folder: &std::path::Path,
    loader: &ImageLoader,
) -> Result<ColorClassifier, ExperimentError> {
    let all = Snapshots::list(folder)?;
    let intervals = (MERGED * all.len() as f64).ceil() as usize;
    let latest = &all[all.len().saturating_sub(intervals + 1)..];
    let decay = stable_decay(1.0, Span::percent(100.0)).shape(DecayShape::OneMinusSqrt);
    let merged = merge(decay, latest, training.valid())?;
    let batches = loader.batches_of(1).take(STATISTICS);
    Ok(recompute_statistics(merged, batches, |model, batch| drop(model.forward(batch.images))))
}

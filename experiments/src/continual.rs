//! Two halves of the classes in turn: how much of the first is forgotten while the second is learned.

use std::ops::Range;
use std::sync::Arc;

use anneal_examples::data::Images;
use anneal_examples::loader::ImageBatch;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn_anneal::control::Rehearsal;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::course::Course;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::exam::Exam;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::Classifier;
use crate::rates::{at_rates, best};
use crate::table::Column;

/// The first class of the second half.
const FIRST_OF_SECOND: u8 = 5;
const CLASSES: u8 = 10;

/// One of this many updates of the second half rehearses the first.
const EVERY: u64 = 10;

/// The rate of the first half, which falls to zero.
const FIRST_RATE: f64 = 0.1;

/// Rates of the second half; each arm uses its best one.
const RATES: [f64; 15] = [
    0.002, 0.003, 0.004, 0.006, 0.008, 0.011, 0.016, 0.023, 0.032, 0.045, 0.064, 0.09, 0.128, 0.18,
    0.256,
];

/// The accuracy on the second half at which the first half is compared.
const LEARNED: f64 = 0.8;

const BATCH_SIZE: usize = 32;

const STUDY: Study = Study {
    name: "continual",
    title: "Five digits learned after the first five",
    columns: &[
        Column::share("mean accuracy"),
        Column::share("first half"),
        Column::share("second half"),
        Column::share("first half at 80 % of the second"),
        Column::neutral("rate"),
    ],
    panels: &[
        Drawn::new("accuracy on the second half", "accuracy on the first half", Scale::Percent),
        Drawn::new("update of the second half", "learning rate", Scale::Rate),
    ],
    expected: Expected {
        words: "learning grows with the rate, forgetting with its square, so a falling rate keeps more than a constant \
                one that learns as much; if the first half is rehearsed, a rate that halves from one rehearsal to the \
                next keeps most.",
        better: &[
            ("cosine", "constant"),
            ("exponential", "constant"),
            ("step", "constant"),
            ("rehearsed, half-life R", "rehearsed, constant"),
            ("rehearsed, half-life R", "rehearsed, half-life 3"),
            ("rehearsed, half-life R", "rehearsed, half-life 4R"),
        ],
        by: 0,
        adaptive: &["rehearsed, half-life R"],
    },
};

/// How the second half is learned: the schedule, whether the first is rehearsed, and by what half-life the rate falls
/// in between, in updates.
struct Arm {
    schedule: fn(f64) -> ScheduleConfig,
    rehearses: bool,
    half_life: Option<u64>,
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let lessons = Lessons {
        halves: [0..FIRST_OF_SECOND, FIRST_OF_SECOND..CLASSES].map(|it| Half::of(&digits, it)),
        device: digits.device,
        epochs: settings.either([10, 5], [1, 2]),
    };
    let taught = settings.seeds().map(|seed| lessons.first(seed));
    let taught = taught.collect::<Result<Vec<_>, _>>()?;
    let level: fn(f64) -> ScheduleConfig = |rate| constant(rate).into();
    let plain = |schedule| Arm { schedule, rehearses: false, half_life: None };
    let rehearsed = |half_life| Arm { schedule: level, rehearses: true, half_life };
    let arms = [
        ("constant", plain(level)),
        ("step", plain(|rate| step_decay(rate, Span::percent(25.0), 0.4).into())),
        ("cosine", plain(|rate| cosine(rate).into())),
        (
            "exponential",
            plain(|rate| exponential(rate, Decay::HalfLife(Span::percent(20.0))).into()),
        ),
        ("rehearsed, constant", rehearsed(None)),
        ("rehearsed, half-life 3", rehearsed(Some(3))),
        ("rehearsed, half-life R", rehearsed(Some(EVERY))),
        ("rehearsed, half-life 4R", rehearsed(Some(4 * EVERY))),
    ];
    let rates = settings.either(&RATES[..], &RATES[9..12]);
    let [before, after] = lessons.epochs;
    let note = format!(
        "Plain SGD. Digits 0 to 4 are learned for {before} epochs under a cosine from {FIRST_RATE}, once for all arms of a seed, \
         then 5 to 9 for {after}, of {BATCH_SIZE} digits a batch, and all ten are told apart; each arm and seed at the one of \
         the rates {rates:?} that has the highest mean accuracy on the validation digits. Where the first half is rehearsed, \
         every R-th batch is one of it, R = {EVERY}, and half-lives are in updates. The fourth column is read off the upper picture, whose lines go from the lowest rate to the highest."
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let classifier = &taught[seed as usize];
        let train = |rate| lessons.second(classifier, arm, rate, seed);
        let tried = at_rates(rates, train, |learned| 1.0 - mean(learned.valid))?;
        let Learned { test, course, .. } = &best(&tried).found;
        let trade: Vec<(f64, f64)> =
            tried.iter().map(|tried| (tried.found.test[1], tried.found.test[0])).collect();
        Ok(Trial {
            numbers: vec![
                mean(*test),
                test[0],
                test[1],
                at(LEARNED, &trade).unwrap_or(f64::NAN),
                best(&tried).rate,
            ],
            lines: vec![trade, course.rate_line()],
        })
    })
}

fn mean(accuracies: [f64; 2]) -> f64 {
    accuracies.iter().sum::<f64>() / 2.0
}

/// The height of a line where it first reaches a position from the left; `None` if it does not.
fn at(place: f64, line: &[(f64, f64)]) -> Option<f64> {
    let part = line.windows(2).find(|part| part[0].0 <= place && place < part[1].0)?;
    let ((left, from), (right, to)) = (part[0], part[1]);
    Some(from + (to - from) * (place - left) / (right - left))
}

/// Digits of some classes.
struct Half {
    first_class: u8,
    train: Arc<Images>,
    valid: Exam,
    test: Exam,
}

impl Half {
    fn of(digits: &Digits, classes: Range<u8>) -> Self {
        let first_class = classes.start;
        let images = |of: &Images| Arc::new(of.of_classes(classes.clone()));
        let exam = |of| {
            let batches = digits.loader_of(&images(of));
            Exam::of(batches.batches_of(1).map(|batch| of_classes(batch, first_class)))
        };
        Self {
            first_class,
            train: images(&digits.train),
            valid: exam(&digits.valid),
            test: exam(&digits.test),
        }
    }

    /// The batches of one epoch after the other.
    fn batches(&self, device: &Device, seed: u64) -> impl Iterator<Item = ImageBatch> {
        let device = device.clone().autodiff();
        let (images, none) = (Arc::clone(&self.train), Augmentation::NONE);
        let loader = train_loader(images, BATCH_SIZE, none, seed, &device);
        let epoch = move |epoch| loader.batches_of(epoch).collect::<Vec<_>>();
        (1..).flat_map(epoch).map(|batch| of_classes(batch, self.first_class))
    }

    fn updates(&self, epochs: usize) -> usize {
        epochs * self.train.len().div_ceil(BATCH_SIZE)
    }
}

/// A batch whose classes are numbered from 0 on, as those from `first` on.
fn of_classes(batch: ImageBatch, first: u8) -> ImageBatch {
    ImageBatch { targets: batch.targets.add_scalar(i32::from(first)), ..batch }
}

struct Lessons {
    halves: [Half; 2],
    device: Device,
    /// Of each half.
    epochs: [usize; 2],
}

struct Learned {
    course: Course,
    /// The accuracies on the halves at the end.
    valid: [f64; 2],
    test: [f64; 2],
}

impl Lessons {
    /// Learns the first half.
    fn first(&self, seed: u64) -> Result<Classifier, ExperimentError> {
        self.device.seed(seed);
        let ([half, _], [epochs, _]) = (&self.halves, self.epochs);
        let updates = half.updates(epochs);
        let classifier = Classifier::new(&self.device.clone().autodiff());
        let sgd = SgdConfig::new().build();
        let builder = LearnerBuilder::new(classifier, sgd, cosine(FIRST_RATE));
        let mut training = builder.run(RunLength::updates(updates as u64)).build_loop()?;
        for batch in half.batches(&self.device, seed).take(updates) {
            Course::default().update(&mut training, batch)?;
        }
        Ok(training.into_model())
    }

    /// Then the second.
    fn second(
        &self,
        classifier: &Classifier,
        arm: &Arm,
        rate: f64,
        seed: u64,
    ) -> Result<Learned, ExperimentError> {
        let ([first, second], [_, epochs]) = (&self.halves, self.epochs);
        let updates = second.updates(epochs) as u64;
        let (classifier, sgd) = (classifier.clone(), SgdConfig::new().build());
        let builder = LearnerBuilder::new(classifier, sgd, (arm.schedule)(rate));
        let builder = match arm.half_life {
            None => builder,
            Some(half_life) => {
                builder.controller("rehearsal", Rehearsal::every(EVERY).half_life(half_life))
            }
        };
        let mut training = builder.run(RunLength::updates(updates)).build_loop()?;
        let mut course = Course::default();
        let [mut old, mut new] =
            [first, second].map(|half| half.batches(&self.device, seed + 1_000));
        for update in 0..updates {
            let is_rehearsal = arm.rehearses && update.is_multiple_of(EVERY);
            let batches = if is_rehearsal { &mut old } else { &mut new };
            course.update(&mut training, batches.next().expect("epochs go on"))?;
        }
        let model = training.into_model().valid();
        let accuracies = |exam: fn(&Half) -> &Exam| -> Result<[f64; 2], ExperimentError> {
            let of = |half| Ok::<_, ExperimentError>(exam(half).evaluate(&model)?.accuracy);
            Ok([of(first)?, of(second)?])
        };
        Ok(Learned {
            course,
            valid: accuracies(|half| &half.valid)?,
            test: accuracies(|half| &half.test)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_between_its_points() {
        let line = [(0.0, 1.0), (0.5, 0.5), (1.0, 0.25), (0.6, 0.0), (0.9, 0.0)];

        assert_eq!([0.25, 0.5, 0.75].map(|place| at(place, &line)), [0.75, 0.5, 0.375].map(Some));
        assert_eq!([-0.1, 1.0].map(|place| at(place, &line)), [None; 2]);
    }
}

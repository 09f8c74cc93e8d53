//! Digits that get noisier in phases, and rates that fall at these phases or elsewhere.

use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Distribution;
use burn::train::TrainStep;
use burn_anneal::control::{Curriculum, Follow};
use burn_anneal::groups::Curvature;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::course::Course;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::exam::Exam;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::model::Classifier;
use crate::rates::{Tried, at_rates, best};
use crate::table::Column;

/// The standard deviation of the noise on pixels whose own is 1, in each phase but the last, which has all in turn.
const LEVELS: [f64; 3] = [0.0, 1.0, 2.0];
const PHASES: usize = LEVELS.len() + 1;

/// The factor of each phase.
const FACTORS: [f64; PHASES] = [1.0, 0.5, 0.25, 0.125];

/// Peak rates; each arm uses its best one.
const RATES: [f64; 5] = [0.05, 0.08, 0.12, 0.18, 0.27];

/// The spike before the last phase: half of the peak rate or all of it, for half an epoch.
const SPIKES: [f64; 2] = [0.5, 1.0];
const SPIKE_UPDATES: u64 = 50;

const BATCH_SIZE: usize = 32;

const STUDY: Study = Study {
    name: "curriculum",
    title: "Digits that get noisier, and drops of the rate",
    columns: &[
        Column::lower("test loss"),
        Column::share("test accuracy"),
        Column::neutral("ηλ, phase 2"),
        Column::neutral("ηλ, phase 3"),
        Column::neutral("ηλ, phase 4"),
        Column::neutral("peak rate"),
    ],
    panels: &[
        Drawn::new("epoch", "valid accuracy", Scale::Percent).within(0.75, 1.0),
        Drawn::new("update", "learning rate", Scale::Rate),
        Drawn::new("1,000 × peak rate", "final accuracy", Scale::Percent),
    ],
    expected: Expected {
        words: "noise raises the curvature λ and the variance of gradients; dropping the rate η when it rises keeps |1 \
                − ηλ| and the stationary variance ησ²/(λ(2 − ηλ)) bounded, so drops at the phases end lower than the \
                same drops elsewhere, and a short spike before the final mix finds a better compromise.",
        better: &[
            ("drops at the phases", "constant"),
            ("drops at the phases", "drops too early"),
            ("drops at the phases", "drops too late"),
            ("drops at the phases", "cosine"),
            ("by difficulty", "constant"),
            ("drops, spike to ½", "drops at the phases"),
            ("drops, spike to 1", "drops at the phases"),
        ],
        by: 0,
        adaptive: &[
            "by difficulty",
            "drops at the phases",
            "drops, spike to ½",
            "drops, spike to 1",
        ],
    },
};

/// The control in addition to the schedule.
#[derive(Debug, Clone)]
enum Control {
    Nothing,
    Phases(Curriculum),
    /// A follower of the noise of each update's batch.
    Difficulty(Follow),
}

/// A schedule for a peak rate, and its control.
type Arm = (fn(f64) -> ScheduleConfig, Control);

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let lessons = Lessons { digits, epochs_per_phase: settings.either(3, 1) };
    let level: fn(f64) -> ScheduleConfig = |rate| constant(rate).into();
    let fall: fn(f64) -> ScheduleConfig = |rate| cosine(rate).into();
    let at_phases = drops([25.0, 50.0, 75.0]);
    let length = settings.either(SPIKE_UPDATES, 5);
    let [low, high] = SPIKES.map(|height| at_phases.clone().spike(height, length));
    let arms: [(&str, Arm); 8] = [
        ("constant", (level, Control::Nothing)),
        ("cosine", (fall, Control::Nothing)),
        ("by difficulty", (level, Control::Difficulty(Follow::difficulty(4f64.ln())))),
        ("drops at the phases", (level, Control::Phases(at_phases))),
        ("drops too early", (level, Control::Phases(drops([12.5, 37.5, 62.5])))),
        ("drops too late", (level, Control::Phases(drops([37.5, 62.5, 87.5])))),
        ("drops, spike to ½", (level, Control::Phases(low))),
        ("drops, spike to 1", (level, Control::Phases(high))),
    ];
    let rates = settings.either(&RATES[..], &RATES[..2]);
    let note = format!(
        "Plain SGD; each arm and seed at the one of the peak rates {rates:?} whose validation loss is lowest. Four phases of \
         equal length: noise of the standard deviations {LEVELS:?} on pixels whose own is 1, then batches of all three in \
         turn, the noisiest first, on which all are tested. Drops by factors {FACTORS:?}; too early and too late are half a phase. A spike: so many times the peak \
         rate for {length} updates before the last phase. By difficulty: \
         `Follow::difficulty` with d = the level of the batch over the highest and ρ = ln 4. λ is the largest eigenvalue at \
         the first update of a phase, for its noise; below 2 over it plain SGD is stable on a quadratic."
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let train = |rate| lessons.train(arm, rate, seed);
        let tried = at_rates(rates, train, |it| it.course.valid_loss())?;
        let Tried { rate, found: Learned { course, stability }, .. } = best(&tried);
        let [second, third, fourth] = *stability;
        let epochs = (1..).zip(&course.valid).map(|(epoch, it)| (f64::from(epoch), it.accuracy));
        let last =
            |it: &Tried<Learned>| Some((1e3 * it.rate, it.found.course.valid.last()?.accuracy));
        Ok(Trial {
            numbers: vec![course.test.loss, course.test.accuracy, second, third, fourth, *rate],
            lines: vec![
                epochs.collect(),
                course.rate_line(),
                tried.iter().filter_map(last).collect(),
            ],
        })
    })
}

/// The factors of the phases, from these percentages of the run on.
fn drops(starts: [f64; PHASES - 1]) -> Curriculum {
    let later = FACTORS[1..].iter().zip(starts).enumerate();
    later.fold(Curriculum::new("phase 1", FACTORS[0]), |rule, (index, (factor, start))| {
        rule.phase(format!("phase {}", index + 2), *factor, Span::percent(start))
    })
}

struct Lessons {
    digits: Digits,
    epochs_per_phase: usize,
}

struct Learned {
    course: Course,
    /// ηλ at the start of each phase except the first: 2 is the limit.
    stability: [f64; PHASES - 1],
}

impl Lessons {
    fn train(&self, arm: &Arm, rate: f64, seed: u64) -> Result<Learned, ExperimentError> {
        let (schedule, control) = arm;
        let Digits { device, train, valid, test } = &self.digits;
        device.seed(seed);
        let epochs = PHASES * self.epochs_per_phase;
        let run = RunLength::from_items(train.len(), BATCH_SIZE).epochs(epochs);
        let classifier = Classifier::new(&device.clone().autodiff());
        let builder = LearnerBuilder::new(classifier, SgdConfig::new().build(), schedule(rate));
        let mut training = match control {
            Control::Nothing => builder,
            Control::Phases(rule) => builder.controller("curriculum", rule.clone()),
            Control::Difficulty(rule) => builder.controller("difficulty", rule.clone()),
        }
        .run(run)
        .build_loop()?;
        let loader = self.digits.train_loader(BATCH_SIZE, seed);
        let [valid, test] = [valid, test].map(|it| exam(&self.digits.loader_of(it)));
        let mut course = Course::default();
        let mut stability = [f64::NAN; PHASES - 1];
        for epoch in 1..=epochs {
            let phase = (epoch - 1) / self.epochs_per_phase;
            let begins = phase > 0 && (epoch - 1) % self.epochs_per_phase == 0;
            let curvature = match begins {
                true => Some(self.curvature(&training, LEVELS[phase.min(LEVELS.len() - 1)])?),
                false => None,
            };
            let first = course.rates.len();
            for batch in loader.batches_of(epoch) {
                let in_turn = (course.rates.len() - first + LEVELS.len() - 1) % LEVELS.len();
                let level = LEVELS.get(phase).unwrap_or(&LEVELS[in_turn]);
                if let Control::Difficulty(_) = control {
                    training.announce_value("difficulty", level / LEVELS[LEVELS.len() - 1])?;
                }
                course.update(&mut training, with_noise(batch, *level))?;
            }
            if let Some(curvature) = curvature {
                stability[phase - 1] = course.rates[first] * curvature;
            }
            course.valid.push(valid.evaluate(&training.valid())?);
        }
        course.test = test.evaluate(&training.into_model().valid())?;
        Ok(Learned { course, stability })
    }

    /// The largest eigenvalue of the Hessian for digits of this noise.
    fn curvature(
        &self,
        training: &TrainingLoop<Classifier>,
        level: f64,
    ) -> Result<f64, ExperimentError> {
        const IMAGES: usize = 128;
        let Some(batch) = self.digits.train_loader(IMAGES, 0).batches_of(1).next() else {
            return Ok(f64::NAN);
        };
        let batch = with_noise(batch, level);
        let gradients = |model: &Classifier| TrainStep::step(model, batch.clone()).grads;
        let power = Curvature::new().tolerance(1e-2).max_iterations(40);
        let found = power.measure(training.model(), training.groups(), gradients)?;
        Ok(found.iter().next().map_or(f64::NAN, |(_, largest)| largest))
    }
}

/// Digits at all noise levels.
fn exam(loader: &ImageLoader) -> Exam {
    Exam::of(LEVELS.iter().flat_map(|level| loader.batches_of(1).map(|it| with_noise(it, *level))))
}

fn with_noise(batch: ImageBatch, level: f64) -> ImageBatch {
    let noise = batch.images.random_like(Distribution::Normal(0.0, 1.0));
    ImageBatch { images: batch.images + noise * level, ..batch }
}

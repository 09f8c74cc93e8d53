//! A GAN on digits with cyclic rates of its players: half a period apart, in phase, and constant at the mean.

mod eigen;
mod players;
mod quality;

use anneal_examples::plot::Scale;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::Tensor;
use burn::train::TrainOutput;
use burn_anneal::prelude::*;
use players::{Discriminator, Generator, noise, wants_high, wants_low};
use quality::Judge;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::digits::{Digits, FROM_MINUS_1_TO_1, tensor_of};
use crate::error::ExperimentError;
use crate::harness::{self, Drawn, Expected, Report, Study, Trial};
use crate::model::PIXELS;
use crate::picture;
use crate::table::Column;

const BATCH: usize = 32;

/// The mean of all rates.
const MEAN_RATE: f64 = 2e-3;

/// Updates of each player, and of a cycle.
const UPDATES: u64 = 2_000;
const PERIOD: u64 = 200;

/// The number of judged digits, and how often per cycle.
const JUDGED: usize = 1_000;
const JUDGED_IN_A_CYCLE: u64 = 4;

/// Digits of each arm in the picture: rows and columns.
const ROWS: usize = 2;
const COLUMNS: usize = 20;

const STUDY: Study = Study {
    name: "gan",
    title: "A GAN under rates in cycles",
    columns: &[
        Column::lower("Fréchet distance"),
        Column::lower("at its best"),
        Column::share("variety of classes"),
    ],
    panels: &[
        Drawn::new("", "Fréchet distance", Scale::Logarithmic),
        Drawn::new("", "rate of the generator", Scale::Rate),
        Drawn::new("update, of the first two cycles", "of the discriminator", Scale::Rate),
    ],
    expected: Expected {
        words: "players whose rates peak in turns each face a slow opponent, and come closer to real digits than \
                players that move fast at the same time, or always at the mean rate.",
        better: &[
            ("out of phase, 50 %", "in phase, 50 %"),
            ("out of phase, 50 %", "constant"),
            ("out of phase, 90 %", "in phase, 90 %"),
            ("out of phase, 90 %", "constant"),
        ],
        by: 0,
        adaptive: &["out of phase, 50 %", "out of phase, 90 %"],
    },
};

/// The rates of the two players: cycles around the mean with this relative amplitude.
#[derive(Debug, Clone, Copy)]
enum Rates {
    Constant,
    InPhase(f64),
    OutOfPhase(f64),
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, FROM_MINUS_1_TO_1)?;
    let judge = Judge::train(&digits, settings)?;
    let note = format!(
        "Rates go by 50 % or 90 % of {MEAN_RATE} up and down, half a period of {PERIOD} updates apart \
         where they are out of phase. The Fréchet distance, squared, is that of the Fréchet inception \
         distance, but between what a small classifier, which knows {:.1} % of the real test digits, sees \
         in {JUDGED} made digits and in the real ones: its mean over the last cycle. As many real training \
         digits are {:.3} away from those of the test. Variety is the entropy of the classes that digits \
         are taken for, 100 % for ten equal ones.",
        100.0 * judge.accuracy,
        judge.floor
    );
    let mut pictured = real_digits(&digits)?;
    let report = STUDY.conduct(
        settings,
        &[
            ("constant", Rates::Constant),
            ("in phase, 50 %", Rates::InPhase(0.5)),
            ("out of phase, 50 %", Rates::OutOfPhase(0.5)),
            ("in phase, 90 %", Rates::InPhase(0.9)),
            ("out of phase, 90 %", Rates::OutOfPhase(0.9)),
        ],
        &note,
        |rates, seed| {
            let (trial, generator) = train(&digits, &judge, *rates, seed, settings)?;
            if seed == 0 {
                let sample = generator.forward(noise(ROWS * COLUMNS, &digits.device));
                pictured.extend(rows_of(sample)?);
            }
            Ok(trial)
        },
    )?;
    let path = settings.folder().join("gan_samples.png");
    let sheet = picture::sheet(&pictured)
        .map_err(|source| ExperimentError::File { path: path.clone(), source })?;
    harness::write(&path, sheet)?;
    Ok(report.with_file(path))
}

impl Rates {
    /// The schedules of the generator and the discriminator.
    fn schedules(self, period: u64) -> [ScheduleConfig; 2] {
        let half = Span::steps(period / 2);
        let cycles =
            |swing: f64| cyclic((1.0 - swing) * MEAN_RATE, (1.0 + swing) * MEAN_RATE, half);
        match self {
            Self::Constant => [constant(MEAN_RATE).into(), constant(MEAN_RATE).into()],
            Self::InPhase(swing) => [cycles(swing).into(), cycles(swing).into()],
            Self::OutOfPhase(swing) => [cycles(swing).into(), cycles(swing).phase(half).into()],
        }
    }
}

/// Trains both players in turns, and returns the generator.
fn train(
    digits: &Digits,
    judge: &Judge,
    rates: Rates,
    seed: u64,
    settings: &Settings,
) -> Result<(Trial, Generator), ExperimentError> {
    let (updates, period) = (settings.either(UPDATES, 24), settings.either(PERIOD, 8));
    digits.device.seed(seed);
    let device = digits.device.clone().autodiff();
    let adam = || AdamConfig::new().with_beta_1(0.5).build();
    let [of_generator, of_discriminator] = rates.schedules(period);
    let run = RunLength::updates(updates);
    let mut generator =
        LearnerBuilder::new(Generator::new(&device), adam(), of_generator).run(run).build_loop()?;
    let mut discriminator =
        LearnerBuilder::new(Discriminator::new(&device), adam(), of_discriminator)
            .run(run)
            .build_loop()?;
    let judged = noise(settings.either(JUDGED, 100), &digits.device);

    let loader = digits.train_loader(BATCH, seed);
    let batches = loader.all_batches().take(updates as usize);
    let (mut qualities, mut distances, mut rates) = (vec![], vec![], [vec![], vec![]]);
    for (batch, update) in batches.zip(1..) {
        let real = batch.images.reshape([-1, PIXELS as i32]);
        let made = generator.model().valid().forward(noise(BATCH, &digits.device));
        discriminator.pass(|discriminator| {
            let loss = wants_high(discriminator.forward(real))
                + wants_low(discriminator.forward(made.autodiff()));
            TrainOutput::new(discriminator, loss.clone().scaled_backward(), loss)
        });
        let of_discriminator = discriminator.update()?.rate;
        let opponent = discriminator.model().valid();
        generator.pass(|generator| {
            let made = generator.forward(noise(BATCH, &device));
            let loss = wants_high(opponent.forward(made));
            TrainOutput::new(generator, loss.clone().scaled_backward(), loss)
        });
        let of_generator = generator.update()?.rate;
        if update <= 2 * period {
            rates[0].push((update as f64, of_generator));
            rates[1].push((update as f64, of_discriminator));
        }
        if update % (period / JUDGED_IN_A_CYCLE) == 0 {
            let quality = judge.judge(generator.model().valid().forward(judged.clone()))?;
            distances.push((update as f64, quality.distance));
            qualities.push(quality);
        }
    }
    let last_cycle = &qualities[qualities.len().saturating_sub(JUDGED_IN_A_CYCLE as usize)..];
    let mean = |of: fn(&quality::Quality) -> f64| {
        last_cycle.iter().map(of).sum::<f64>() / last_cycle.len() as f64
    };
    let best = qualities.iter().map(|quality| quality.distance).fold(f64::INFINITY, f64::min);
    let numbers = vec![mean(|quality| quality.distance), best, mean(|quality| quality.variety)];
    let [of_generator, of_discriminator] = rates;
    let lines = vec![distances, of_generator, of_discriminator];
    Ok((Trial { numbers, lines }, generator.into_model().valid()))
}

/// The first row of the picture.
fn real_digits(digits: &Digits) -> Result<Vec<Vec<Vec<f32>>>, ExperimentError> {
    rows_of(tensor_of(&digits.test, &digits.device).narrow(0, 0, COLUMNS))
}

/// Digits in rows for the picture.
fn rows_of(digits: Tensor<2>) -> Result<Vec<Vec<Vec<f32>>>, ExperimentError> {
    let pixels: Vec<f32> = digits.try_into_vec_as()?;
    let all: Vec<Vec<f32>> = pixels.chunks(PIXELS).map(Vec::from).collect();
    Ok(all.chunks(COLUMNS).map(Vec::from).collect())
}

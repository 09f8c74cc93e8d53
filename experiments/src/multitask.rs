//! A trunk with two heads: rates that react to conflicts between the tasks, and separate schedules for trunk and heads.

use std::cell::OnceCell;

use anneal_examples::data::CLASSES;
use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use burn::train::{ClassificationOutput, TrainOutput};
use burn_anneal::control::TaskConflict;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::evaluation::Evaluation;
use crate::exam::of_output;
use crate::harness::{Drawn, Expected, Report, Study, Trial, smoothed};
use crate::model::PIXELS;
use crate::rates::{Tried, at_rates, best};
use crate::table::Column;

const BATCH: usize = 32;
const HIDDEN: usize = 64;

/// The number of features that both heads share.
const FEATURES: usize = 8;

/// The peak rates; each arm uses its best one.
const RATES: [f64; 5] = [0.05, 0.1, 0.2, 0.4, 0.8];

/// The half-life, in updates, of the mean cosine that the rule follows.
const HALF_LIFE: u64 = 10;

const PARITY: Study = Study {
    name: "multitask",
    title: "Class and parity of digits",
    columns: &[
        Column::lower("valid loss"),
        Column::share("class accuracy"),
        Column::share("parity accuracy"),
        Column::neutral("peak rate"),
        Column::neutral("mean cosine"),
        Column::neutral("share of conflicts"),
    ],
    panels: PANELS,
    expected: EXPECTED,
};

const REBUILDING: Study = Study {
    name: "multitask_pixels",
    title: "Class and pixels of digits",
    columns: &[
        Column::lower("valid loss"),
        Column::share("class accuracy"),
        Column::lower("error of pixels"),
        Column::neutral("peak rate"),
        Column::neutral("mean cosine"),
        Column::neutral("share of conflicts"),
    ],
    ..PARITY
};

const PANELS: &[Drawn] = &[
    Drawn::new("update", "mean cosine", Scale::Signed),
    Drawn::new("update", "rate of the trunk", Scale::Rate),
    Drawn::new("epoch", "valid loss", Scale::Rate),
];

const EXPECTED: Expected = Expected {
    words: "a lower rate while gradients conflict protects both tasks; a trunk decays best smoothly, its heads in steps.",
    better: &[
        ("rule", "smooth"),
        ("rule, trunk", "smooth"),
        ("stepped heads", "smooth"),
        ("stepped heads", "stepped"),
    ],
    by: 0,
    adaptive: &["rule", "rule, trunk", "stepped heads"],
};

/// The task in addition to the classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Beside {
    /// Whether a digit is odd, which follows from its class.
    Parity,
    /// The digit itself, of which its class is only a small part.
    Pixels,
}

/// A trunk of two layers, and a head for each task.
#[derive(Module, Debug)]
struct TwoHeads {
    first: Linear,
    second: Linear,
    classes: Linear,
    others: Linear,
    #[module(skip)]
    beside: Beside,
}

impl TwoHeads {
    fn new(beside: Beside, device: &Device) -> Self {
        let layer = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let others = if beside == Beside::Parity { 2 } else { PIXELS };
        Self {
            first: layer(PIXELS, HIDDEN),
            second: layer(HIDDEN, FEATURES),
            classes: layer(FEATURES, CLASSES),
            others: layer(FEATURES, others),
            beside,
        }
    }

    fn features(&self, batch: &ImageBatch) -> Tensor<2> {
        let pixels = batch.images.clone().flatten(1, 3);
        relu(self.second.forward(relu(self.first.forward(pixels))))
    }

    fn class(&self, batch: &ImageBatch) -> ClassificationOutput {
        output(self.classes.forward(self.features(batch)), batch.targets.clone())
    }

    fn parity(&self, batch: &ImageBatch) -> ClassificationOutput {
        let parities = batch.targets.clone().remainder_scalar(2);
        output(self.others.forward(self.features(batch)), parities)
    }

    /// The mean squared error of a pixel.
    fn pixels(&self, batch: &ImageBatch) -> Tensor<1> {
        let rebuilt = self.others.forward(self.features(batch));
        (rebuilt - batch.images.clone().flatten(1, 3)).square().mean()
    }

    fn other(&self, batch: &ImageBatch) -> Tensor<1> {
        match self.beside {
            Beside::Parity => self.parity(batch).loss,
            Beside::Pixels => self.pixels(batch),
        }
    }

    fn step(&self, batch: &ImageBatch) -> TrainOutput<Tensor<1>> {
        let mut tasks = TaskGradients::of(self);
        tasks.task("class", |model| model.class(batch));
        tasks.task("other", |model| model.other(batch));
        let loss = tasks.loss();
        tasks.output(loss)
    }
}

fn output(scores: Tensor<2>, targets: Tensor<1, Int>) -> ClassificationOutput {
    let loss = CrossEntropyLossConfig::new().init(&scores.device());
    let loss = loss.forward(scores.clone(), targets.clone());
    ClassificationOutput::new(loss, scores, targets)
}

/// How a rate falls; both have a mean of about half their peak.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Smooth,
    Stepped,
}

impl Shape {
    fn from(self, peak: f64) -> ScheduleConfig {
        match self {
            Self::Smooth => cosine(peak).into(),
            Self::Stepped => multi_step(peak, [Span::percent(50), Span::percent(75)], 0.1).into(),
        }
    }
}

/// The parameters whose rate reacts to conflicts.
#[derive(Debug, Clone, Copy)]
enum Rule {
    None,
    OfAll,
    OfTrunk,
}

/// How a network trains.
#[derive(Debug, Clone, Copy)]
struct Arm {
    trunk: Shape,
    heads: Shape,
    rule: Rule,
}

/// Trains all arms, each at every rate.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings, beside: Beside) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let bench = Bench { digits, beside, epochs: settings.either(10, 3) };
    let smooth = |rule| Arm { trunk: Shape::Smooth, heads: Shape::Smooth, rule };
    let plain = smooth(Rule::None);
    let arms = [
        ("smooth", plain),
        ("rule", smooth(Rule::OfAll)),
        ("rule, trunk", smooth(Rule::OfTrunk)),
        ("stepped", Arm { trunk: Shape::Stepped, heads: Shape::Stepped, ..plain }),
        ("stepped heads", Arm { heads: Shape::Stepped, ..plain }),
    ];
    let arms = arms.map(|(name, arm)| (name, (arm, OnceCell::new())));
    let (other, study) = match beside {
        Beside::Parity => ("whether it is odd", PARITY),
        Beside::Pixels => ("its pixels", REBUILDING),
    };
    let note = format!(
        "A trunk of two layers, of which both heads see {FEATURES} numbers, learns the class of a digit and {other}, on {} digits for {} \
         epochs with plain SGD; the loss is the sum of both. Smooth is a cosine, stepped a tenth from half of the run on and \
         a hundredth from three quarters on; the rule answers to a moving mean of the cosines with a half-life of {HALF_LIFE} \
         updates, in all groups or in the trunk. Each arm has that of the peak rates {RATES:?} with the lowest valid loss over \
         these seeds.",
        bench.digits.train.len(),
        bench.epochs,
    );
    study.conduct(settings, &arms, &note, |(arm, tried), seed| {
        if tried.get().is_none() {
            // The runs of all seeds together choose the rate.
            let _ = tried.set(bench.tried(*arm, settings)?);
        }
        let runs = &best(tried.get().expect("it is set")).found;
        Ok(runs[seed as usize].clone())
    })
}

/// What all arms share.
struct Bench {
    digits: Digits,
    beside: Beside,
    epochs: usize,
}

impl Bench {
    /// The runs of an arm at each rate, by seed; the mean of their validation losses decides.
    fn tried(
        &self,
        arm: Arm,
        settings: &Settings,
    ) -> Result<Vec<Tried<Vec<Trial>>>, ExperimentError> {
        let train = |rate| settings.seeds().map(|seed| self.train(arm, rate, seed)).collect();
        at_rates(&RATES, train, |runs: &Vec<Trial>| runs.iter().map(|run| run.numbers[0]).sum())
    }

    fn train(&self, arm: Arm, rate: f64, seed: u64) -> Result<Trial, ExperimentError> {
        let device = self.digits.device.clone().autodiff();
        self.digits.device.seed(seed);
        let model = TwoHeads::new(self.beside, &device);
        let groups = GroupsConfig::new()
            .group(Group::new("trunk", "^(first|second)"))
            .group(Group::rest("heads").schedule(arm.heads.from(rate)));
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), arm.trunk.from(rate))
            .run(RunLength::from_items(self.digits.train.len(), BATCH).epochs(self.epochs))
            .groups(groups);
        let conflict = TaskConflict::new().half_life(Span::steps(HALF_LIFE));
        let mut training = match arm.rule {
            // It only measures, and does not change the rate.
            Rule::None => builder.controller("conflict", conflict.strength(0.0)),
            Rule::OfAll => builder.controller("conflict", conflict),
            Rule::OfTrunk => builder.controller("conflict", conflict.on_group("trunk")),
        }
        .build_loop()?;
        let mut trunk = training.rate_metrics().remove(0);
        let batches = self.digits.train_loader(BATCH, seed);
        let valid_digits = self.digits.loader_of(&self.digits.valid);
        let (mut cosines, mut rates, mut valid) = (vec![], vec![], vec![]);
        for epoch in 1..=self.epochs {
            for batch in batches.batches_of(epoch) {
                training.pass(|model| model.step(&batch));
                training.update()?;
                let cosine = training.observation().task_cosine;
                cosines.extend(cosine.filter(|cosine| cosine.is_finite()));
                rates.extend(trunk.last());
            }
            valid.push((epoch as f64, score(&training.valid(), &valid_digits)?.loss));
        }
        let test =
            score(&training.into_model().valid(), &self.digits.loader_of(&self.digits.test))?;
        let count = cosines.len() as f64;
        let conflicts = cosines.iter().filter(|cosine| **cosine < 0.0).count() as f64;
        Ok(Trial {
            numbers: vec![
                valid.last().map_or(f64::NAN, |(_, loss)| *loss),
                test.class,
                test.other,
                rate,
                cosines.iter().sum::<f64>() / count,
                conflicts / count,
            ],
            lines: vec![smoothed(&cosines, 50), smoothed(&rates, 10), valid],
        })
    }
}

/// The results of both heads.
#[derive(Debug, Default)]
struct Score {
    /// The sum of both losses.
    loss: f64,
    /// The share of correct classes.
    class: f64,
    /// The share of correct parities, or the mean squared error of a pixel.
    other: f64,
}

fn score(model: &TwoHeads, images: &ImageLoader) -> Result<Score, ExperimentError> {
    let mut score = Score::default();
    for batch in images.batches_of(1) {
        let share = batch.targets.dims()[0] as f64 / images.num_items() as f64;
        let class = of_output(model.class(&batch))?;
        let other = match model.beside {
            Beside::Parity => of_output(model.parity(&batch))?,
            Beside::Pixels => {
                let loss = model.pixels(&batch).try_into_scalar()?;
                Evaluation { loss, accuracy: loss }
            }
        };
        score.loss += share * (class.loss + other.loss);
        score.class += share * class.accuracy;
        score.other += share * other.accuracy;
    }
    Ok(score)
}

//! The gradient noise scale during training, and a test of its predictions about batch sizes.

mod network;
mod training;

use anneal_examples::plot::{self, Panel, Scale, Series, Titles};
use burn_anneal::control::NoiseScaleEstimate;
use burn_anneal::schedule::linear_scaling;
use training::{Course, Pictures, Plan};

use crate::cli::Settings;
use crate::error::ExperimentError;
use crate::harness::{self, Drawn, Expected, Report, Study, Trial};
use crate::table::Column;

/// The batch size whose rate was tuned, and that rate.
const BATCH_SIZE: usize = 32;
const RATE: f64 = 0.15;

/// The target loss of a full and of a short run.
const TARGET: [f64; 2] = [1.4, 2.1];

/// Images after which a run ends in any case.
const IMAGES: [usize; 2] = [90_000, 6_400];

/// Images of the training whose noise scale is plotted.
const DRAWN: [usize; 2] = [48_000, 6_400];

const STUDY: Study = Study {
    name: "noise_scale",
    title: "Batch sizes, and rates by the noise scale",
    columns: &[
        Column::neutral("rate"),
        Column::lower("updates"),
        Column::neutral("predicted updates"),
        Column::lower("1,000 images"),
        Column::neutral("noise scale"),
    ],
    panels: &[
        Drawn::new("images", "training loss", Scale::Rate).within(0.0, 3.0),
        Drawn::new("update", "training loss", Scale::Rate).within(0.0, 3.0),
    ],
    expected: Expected {
        words: "with batches of B images, a run needs U_min (1 + 𝓑/B) updates and E_min (1 + B/𝓑) images to reach a \
                loss, at rates that grow like 1/(1 + 𝓑/B); a rate that grows like B is too high unless B is far below \
                𝓑.",
        better: &[("64", "16"), ("256", "64"), ("256", "256, linear")],
        by: 1,
        adaptive: &["16", "32", "64", "128", "256"],
    },
};

/// How the rate follows the batch size.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Noise,
    Linear,
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let pictures = Pictures::load(settings)?;
    let plan = Plan {
        batch_size: BATCH_SIZE,
        rate: RATE,
        target: settings.either(TARGET[0], TARGET[1]),
        stops: false,
        images: settings.either(DRAWN[0], DRAWN[1]),
    };
    let reference = settings.seeds().map(|seed| pictures.train(&plan, seed));
    let reference = reference.collect::<Result<Vec<_>, _>>()?;
    let mean = |of: &dyn Fn(&Course) -> f64| {
        reference.iter().map(of).sum::<f64>() / reference.len() as f64
    };
    let noise_scale = mean(&|course| course.noise_scale(BATCH_SIZE));
    let updates = mean(&|course| course.updates);
    let estimate = NoiseScaleEstimate { value: noise_scale, low: noise_scale, high: noise_scale };
    let advice = estimate.advice(BATCH_SIZE as u64, RATE)?;
    let note = format!(
        "Plain SGD on {} images of the CIFAR-10 sample, flipped and shifted, to a training loss of {}; the rate was tuned \
         for batches of {BATCH_SIZE}. Their runs take {updates:.0} updates, and have a noise scale of {noise_scale:.0}, \
         from which all rates and predictions come; in the last column is that of the runs themselves. A second picture \
         has the noise scale over longer ones.",
        pictures.len(),
        plan.target,
    );
    let arms = [
        ("16", (16, Rule::Noise)),
        ("32", (32, Rule::Noise)),
        ("64", (64, Rule::Noise)),
        ("128", (128, Rule::Noise)),
        ("256", (256, Rule::Noise)),
        ("256, linear", (256, Rule::Linear)),
    ];
    let report = STUDY.conduct(settings, &arms, &note, |(batch_size, rule), seed| {
        let cost = advice.at(*batch_size as u64);
        let rate = match rule {
            Rule::Noise => cost.rate,
            Rule::Linear => linear_scaling(RATE, BATCH_SIZE as u64, *batch_size as u64)?,
        };
        let images = settings.either(IMAGES[0], IMAGES[1]);
        let plan = Plan { batch_size: *batch_size, rate, stops: true, images, ..plan };
        let course = match *batch_size {
            BATCH_SIZE => reference[seed as usize].clone(),
            _ => pictures.train(&plan, seed)?,
        };
        let images = |updates: f64| updates * *batch_size as f64;
        let predicted = updates * cost.updates / advice.now().updates;
        let of_run = course.noise_scale(*batch_size);
        let numbers = vec![rate, course.updates, predicted, images(course.updates) / 1e3, of_run];
        let losses = course.losses.iter().copied();
        let losses: Vec<_> =
            losses.take_while(|(update, _)| course.is_on_the_way(*update)).collect();
        let by_images = losses.iter().map(|(update, loss)| (images(*update), *loss));
        Ok(Trial { numbers, lines: vec![by_images.collect(), losses] })
    })?;
    let path = settings.folder().join("noise_scale_over_training.svg");
    harness::write(&path, over_training(&reference))?;
    Ok(report.with_file(path))
}

/// The noise scale of the first seed with its interval, and that of the others.
fn over_training(courses: &[Course]) -> String {
    let line = |name: String, course: &Course, of: fn(&NoiseScaleEstimate) -> f64| {
        let every = course.scales.len().div_ceil(500).max(1);
        let points = course.scales.iter().step_by(every);
        // The first updates are very uncertain.
        let point = |(update, scale): &(f64, _)| (*update, of(scale).clamp(10.0, 1_000.0));
        Series { name, points: points.map(point).collect() }
    };
    let mut series = vec![];
    for (seed, course) in courses.iter().enumerate() {
        series.push(line(format!("seed {seed}"), course, |scale| scale.value));
    }
    if let Some(first) = courses.first() {
        series.push(line("seed 0, low".into(), first, |scale| scale.low));
        series.push(line("seed 0, high".into(), first, |scale| scale.high));
    }
    let titles = Titles { title: "", subtitle: "", x: "update", y: "noise scale, images" };
    let panel = Panel { titles, scale: Scale::Logarithmic, series };
    plot::panels("The noise scale over a training", &[panel])
}

//! Compares the suggestion of a range test with the best rate of a real grid.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anneal_examples::backend::SelectedDevice;
use anneal_examples::data::{self, Augmentation, CLASSES, DataSource, Dataset, Images};
use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::model::ImageClassifier;
use anneal_examples::plot::{self, Panel, Scale, Series, Titles};
use anneal_examples::prelude::*;
use anneal_examples::weights::IMAGENET_CLASSES;
use burn::data::dataloader::DataLoader;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::Device;
use burn::train::TrainStep;
use burn_anneal::plan::{RangeTests, Rule, Sweep, Verdict};
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::cli::{RangeTestSettings, Settings};
use crate::error::ExperimentError;
use crate::evaluation::evaluate;
use crate::harness::write;
use crate::model::Classifier;

const TITLE: &str = "What a range test suggests, and the best rate of a grid";

/// The rates of a grid per decade.
const A_DECADE: i32 = 3;

/// The factor within which a suggestion counts as near the best rate.
const NEAR: f64 = 3.0;

/// Images tested at once.
const TESTED_AT_ONCE: usize = 100;

/// Makes a network, with random values for new parameters.
type Make<M> = Box<dyn Fn(&Device) -> Result<M, ExperimentError>>;

/// A network, its task, and its training.
struct Problem<M> {
    name: &'static str,
    how: &'static str,
    make: Make<M>,
    builder: fn(M, f64) -> LearnerBuilder<M>,
    train: Arc<Images>,
    valid: Arc<Images>,
    batch_size: usize,
    epochs: usize,
    /// Powers of ten: the rates of the grid.
    decades: (i32, i32),
    finder: LrFinder,
}

/// The results of one seed of a problem.
struct Measured {
    problem: &'static str,
    seed: u64,
    found: RangeTests,
    /// Each rate, and the validation loss at the end of a run with it; infinite if it diverged.
    grid: Vec<(f64, f64)>,
}

/// Measures all problems.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(arguments: &RangeTestSettings) -> Result<String, ExperimentError> {
    let started = Instant::now();
    let settings = &arguments.shared;
    let device = SelectedDevice::select(None)?.device;
    let mut measured = vec![];
    let mut hows = String::new();
    digits(settings)?.measure(settings, &device, &mut measured, &mut hows)?;
    things(settings)?.measure(settings, &device, &mut measured, &mut hows)?;
    match &arguments.weights {
        Some(weights) => {
            let problem = fine_tuning(settings, weights)?;
            problem.measure(settings, &device, &mut measured, &mut hows)?;
        }
        None => hows += "- Fine-tuning: left out, for it needs `--weights FILE`.\n",
    }
    let folder = settings.folder();
    let mut files = vec![];
    for first in measured.iter().filter(|measured| measured.seed == 0) {
        let name = first.problem.to_lowercase().replace([' ', '-'], "_");
        files.push(folder.join(format!("range_test_{name}.svg")));
        write(&files[files.len() - 1], first.found.svg())?;
    }
    files.push(folder.join("range_test.svg"));
    write(&files[files.len() - 1], plot::panels(TITLE, &panels(&measured)))?;
    let text = text(settings, arguments.weights.is_some(), &measured, &hows);
    files.push(folder.join("range_test.md"));
    write(&files[files.len() - 1], &text)?;
    let files: Vec<String> = files.iter().map(|file| format!("  {}", file.display())).collect();
    let seconds = started.elapsed().as_secs_f64();
    Ok(format!("{text}\n{} runs in {seconds:.0} s; written:\n{}", measured.len(), files.join("\n")))
}

/// A small network without norms, under SGD with momentum.
fn digits(settings: &Settings) -> Result<Problem<Classifier>, ExperimentError> {
    let splits = data::load(Dataset::Mnist, DataSource::Sample, None)?;
    let (train, valid) = splits.train.split(splits.train.len() / 5 * 4);
    let count = |images: &Images| settings.either(images.len(), images.len() / 10);
    Ok(Problem {
        name: "MNIST",
        how: "a network of three layers without norms; SGD with momentum 0.9, batches of 32, 5 epochs of 3,200 digits",
        make: Box::new(|device| Ok(Classifier::new(device))),
        builder: |model, rate| {
            let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
            let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
            LearnerBuilder::new(model, sgd, cosine(rate).warmup(Span::percent(10.0)))
        },
        train: Arc::new(train.balanced_first(count(&train))),
        valid: Arc::new(valid.balanced_first(count(&valid))),
        batch_size: 32,
        epochs: settings.either(5, 1),
        decades: settings.either((-3, 0), (-2, -1)),
        finder: LrFinder::new().sweep(Sweep::new(1e-6, 10.0).updates(settings.either(100, 30))),
    })
}

/// A residual network with norms, under AdamW.
fn things(
    settings: &Settings,
) -> Result<Problem<anneal_examples::model::ResidualNetwork>, ExperimentError> {
    let (train, valid) = cifar(settings.either(2_000, 200), settings.either(500, 100))?;
    Ok(Problem {
        name: "CIFAR sample",
        how: "the residual network of `cifar_cosine`; AdamW with a decay of 0.02, batches of 64, 4 epochs of 1,500 images",
        make: Box::new(|device| Ok(ResidualNetworkConfig::default().init(device))),
        builder: |model, rate| {
            let adamw = AdamWConfig::new().with_weight_decay(0.02).build();
            LearnerBuilder::new(model, adamw, cosine(rate).warmup(Span::percent(10.0)))
        },
        train,
        valid,
        batch_size: 64,
        epochs: settings.either(4, 1),
        decades: settings.either((-4, -1), (-3, -2)),
        finder: LrFinder::new().sweep(Sweep::new(1e-7, 10.0).updates(settings.either(100, 20))),
    })
}

/// A network for ImageNet, with rates that fall from layer to layer.
fn fine_tuning(
    settings: &Settings,
    weights: &Path,
) -> Result<Problem<EfficientNet>, ExperimentError> {
    let (train, valid) = cifar(settings.either(480, 40), settings.either(200, 40))?;
    let with = |images: Arc<Images>| {
        let images = Arc::unwrap_or_clone(images);
        Arc::new(images.with_normalization(EfficientNet::NORMALIZATION))
    };
    let weights = weights.to_owned();
    let image_size = settings.either(64, 32);
    Ok(Problem {
        name: "Fine-tuning",
        how: "EfficientNet-Lite0 with its ImageNet weights, images of 64 pixels, rates that fall to 0.9 from layer to layer; \
              AdamW, batches of 16, one epoch of 480 images",
        make: Box::new(move |device| {
            let config = EfficientNetConfig { classes: IMAGENET_CLASSES, image_size };
            let mut network = config.init(device);
            network.load_pytorch(&weights)?;
            let output = EfficientNet::new_output(CLASSES, device);
            Ok(network.with_output(output).keeping_statistics())
        }),
        builder: |model, rate| {
            let adamw = AdamWConfig::new().with_weight_decay(0.0).build();
            let groups = layer_decay(0.9).layers(LayerMap::from_patterns(EfficientNet::LAYERS));
            LearnerBuilder::new(model, adamw, cosine(rate).warmup(Span::percent(10.0)))
                .groups(groups)
        },
        train: with(train),
        valid: with(valid),
        batch_size: 16,
        epochs: 1,
        decades: settings.either((-4, -2), (-4, -3)),
        finder: LrFinder::new()
            .sweep(Sweep::new(1e-6, 1.0).updates(settings.either(60, 20)))
            .seeds(settings.either(2, 1)),
    })
}

/// Images to train on, and others to validate on.
fn cifar(train: usize, valid: usize) -> Result<(Arc<Images>, Arc<Images>), ExperimentError> {
    let images = data::load(Dataset::Cifar10, DataSource::Sample, None)?.train;
    let (of_valid, others) = images.split(valid.min(images.len() / 5));
    Ok((Arc::new(others.balanced_first(train.min(others.len()))), Arc::new(of_valid)))
}

impl<M: ImageClassifier> Problem<M> {
    fn measure(
        &self,
        settings: &Settings,
        device: &Device,
        measured: &mut Vec<Measured>,
        hows: &mut String,
    ) -> Result<(), ExperimentError> {
        let _ = writeln!(hows, "- {}: {}.", self.name, self.how);
        let device = device.clone().autodiff();
        for seed in settings.seeds() {
            device.seed(seed);
            let model = (self.make)(&device)?;
            let loader = self.loader(seed, &device);
            let shared: Arc<dyn DataLoader<ImageBatch>> = Arc::new(loader.clone());
            let found = self.finder.find(&(self.builder)(model.clone(), 1e-2), &shared)?;
            say(format_args!("{}, seed {seed}\n{found}\n", self.name));
            let mut grid = vec![];
            for power in self.decades.0 * A_DECADE..=self.decades.1 * A_DECADE {
                let rate = 10f64.powf(f64::from(power) / f64::from(A_DECADE));
                device.seed(seed);
                // Clones share their running statistics.
                let copy = model.valid().train();
                let loss = self.loss_at(copy, rate, &loader, &device)?;
                say(format_args!("{}, seed {seed}, rate {rate:.2e}: loss {loss:.4}", self.name));
                grid.push((rate, loss));
            }
            measured.push(Measured { problem: self.name, seed, found, grid });
        }
        Ok(())
    }

    fn loader(&self, seed: u64, device: &Device) -> ImageLoader {
        train_loader(Arc::clone(&self.train), self.batch_size, Augmentation::NONE, seed, device)
    }

    /// The validation loss of a run whose highest rate is `rate`.
    fn loss_at(
        &self,
        model: M,
        rate: f64,
        loader: &ImageLoader,
        device: &Device,
    ) -> Result<f64, ExperimentError> {
        let run = RunLength::from_items(self.train.len(), self.batch_size).epochs(self.epochs);
        let mut training = (self.builder)(model, rate).run(run).build_loop()?;
        for epoch in 1..=self.epochs {
            for batch in loader.batches_of(epoch) {
                training.pass(|model| TrainStep::step(model, batch));
                training.update()?;
            }
        }
        let images = test_loader(Arc::clone(&self.valid), TESTED_AT_ONCE, &device.clone().inner());
        let loss = evaluate(&training.into_model().valid(), &images)?.loss;
        Ok(if loss.is_finite() { loss } else { f64::INFINITY })
    }
}

impl Measured {
    /// The best rate of the grid, and its loss.
    fn best(&self) -> (f64, f64) {
        let better = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        self.grid.iter().min_by(better).copied().unwrap_or((f64::NAN, f64::NAN))
    }

    /// The loss at the nearest rate of the grid.
    fn loss_near(&self, rate: f64) -> f64 {
        let distance = |(of, _): &&(f64, f64)| (of / rate).ln().abs();
        let nearest = self.grid.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.map_or(f64::NAN, |(_, loss)| *loss)
    }

    /// How many times larger a rule's suggestion is than the best rate.
    fn factor(&self, rule: Rule) -> Option<f64> {
        Some(self.found.suggestion_by(rule)? / self.best().0)
    }

    fn is_clear(&self) -> bool {
        self.found.verdict() == Verdict::Clear
    }

    fn row(&self) -> String {
        let best = self.best();
        let verdict = match self.found.verdict() {
            Verdict::Clear => "clear",
            Verdict::Wide { .. } => "wide",
            Verdict::Nothing(_) => "nothing",
        };
        let valley = self.found.interval(Rule::Valley);
        let shown = valley.map_or("none".to_owned(), |valley| {
            format!("{:.1e} ({:.1e} to {:.1e})", valley.median, valley.lowest, valley.highest)
        });
        let loss = valley.map_or("".to_owned(), |v| format!("{:.3}", self.loss_near(v.median)));
        let factors = Rule::ALL.map(|rule| match self.factor(rule) {
            Some(factor) if (0.01..100.0).contains(&factor) => format!("{factor:.2}"),
            Some(factor) => format!("{factor:.0e}"),
            None => "none".to_owned(),
        });
        format!(
            "| {} | {} | {verdict} | {shown} | {:.1e} | {:.3} | {loss} | {} |\n",
            self.problem,
            self.seed,
            best.0,
            best.1,
            factors.join(" | "),
        )
    }
}

fn panels(measured: &[Measured]) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = vec![];
    let mut last = "";
    for run in measured {
        if run.problem != last {
            let titles = Titles { title: "", subtitle: "", x: "log10 of the rate", y: run.problem };
            panels.push(Panel { titles, scale: Scale::Logarithmic, series: vec![] });
            last = run.problem;
        }
        let finite = run.grid.iter().filter(|(_, loss)| loss.is_finite());
        let points = finite.map(|(rate, loss)| (rate.log10(), loss.min(20.0))).collect();
        if let Some(panel) = panels.last_mut() {
            panel.series.push(Series { name: format!("seed {}", run.seed), points });
        }
    }
    panels
}

/// How often a rule came near the best rate in runs with a clear verdict.
fn near(measured: &[Measured], rule: Rule) -> (usize, usize) {
    let clear = measured.iter().filter(|run| run.is_clear());
    let factors: Vec<Option<f64>> = clear.map(|run| run.factor(rule)).collect();
    let is_near = |factor: &&Option<f64>| factor.is_some_and(|f| (1.0 / NEAR..=NEAR).contains(&f));
    (factors.iter().filter(is_near).count(), factors.len())
}

fn text(settings: &Settings, has_weights: bool, measured: &[Measured], hows: &str) -> String {
    let seeds = settings.seeds().count();
    let weights = if has_weights { " --weights efficientnet-lite0.pth" } else { "" };
    let mut text = format!(
        "# {TITLE}\n\n`cargo run --bin experiments -- range_test --seeds {seeds}{weights}{}`\n\n{hows}\n\
         Valley is the median of the sweeps of one seed, and its interval. The best rate is the one of the grid, \
         {A_DECADE} rates a decade, whose run under a warm-up and a cosine ends at the lowest validation loss. The last columns \
         are each rule's suggestion over the best rate.\n\n",
        settings.flags(),
    );
    text += "| problem | seed | verdict | valley | best rate | its loss | loss near valley ";
    text += &Rule::ALL.map(|rule| format!("| {rule} ")).concat();
    text += "|\n|";
    text += &"---|".repeat(7 + Rule::ALL.len());
    text += "\n";
    measured.iter().for_each(|run| text += &run.row());
    let _ = writeln!(
        text,
        "\nWithin a factor of {NEAR} of the best rate, of the runs whose verdict is clear:\n"
    );
    for rule in Rule::ALL {
        let (count, all) = near(measured, rule);
        let _ = writeln!(text, "- {rule}: {count} of {all}");
    }
    text
}

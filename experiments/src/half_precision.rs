//! Trains the same network from the same seed in f32, in plain f16, in f16 with loss scaling and master weights, and in
//! f16 with an additional cap on the rate.
//!
//! ```text
//! cargo run --bin experiments -- half_precision                                     4,000 digits, 10 epochs each
//! cargo run --bin experiments -- half_precision --methods f16-scaled             only one of them
//! cargo run --bin experiments -- half_precision --help                           everything else
//! ```

use std::num::NonZeroUsize;

use anneal_examples::arguments::whole_number;
use anneal_examples::plot::{self, Panel, Scale, Series, Titles};
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn::tensor::FloatDType;
use burn_anneal::precision::to_precision;
use burn_anneal::prelude::*;
use clap::{Args, ValueEnum};

use crate::comparison::{Comparison, Session, Subject, seeds};
use crate::error::ExperimentError;

/// The defaults of the command line.
pub const DEFAULTS: Defaults =
    Defaults { about: "", epochs: 10, batch_size: 64, learning_rate: 2e-2 };

/// The number of good updates in a row after which the scale grows. These runs are shorter than PyTorch's 2,000, and
/// PyTorch's initial scale fits this network.
const GROWTH_INTERVAL: u64 = 50;

/// Updates between two measurements of the smoothness.
const MEASURED_EVERY: u64 = 25;

#[derive(Debug, Clone, Args)]
pub struct PrecisionArguments {
    #[command(flatten)]
    shared: Arguments,

    /// Train with every method from N seeds: --seed, --seed + 1, ...
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,

    /// Ways to train
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Method::value_variants().to_vec())]
    methods: Vec<Method>,
}

/// A way to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// In f32
    F32,
    /// Everything in f16, including the optimizer
    F16Plain,
    /// In f16 with loss scaling and master weights
    F16Scaled,
    /// With an additional cap on the rate
    F16Capped,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16Plain => "f16-plain",
            Self::F16Scaled => "f16-scaled",
            Self::F16Capped => "f16-capped",
        }
    }

    fn scales(self) -> bool {
        matches!(self, Self::F16Scaled | Self::F16Capped)
    }
}

/// Trains and compares.
///
/// # Errors
/// If something is wrong with the arguments, or a run fails.
pub fn run(arguments: &PrecisionArguments) -> Result<Comparison, ExperimentError> {
    let shared = &arguments.shared;
    let seeds = seeds(shared, arguments.seeds)?;
    let group = Session::open_group("half_precision", Dataset::Mnist, Augmentation::SHIFT, shared)?;
    say(format_args!("{group}\n"));
    let schedule = shared.schedule(|peak| one_cycle(peak).into())?;
    let mut comparison = Comparison::begin(&group, Subject::Methods)?;
    let mut traces = vec![];
    for seed in seeds {
        for &method in &arguments.methods {
            let session = group.member(method.name(), seed)?;
            let (rates, report) = train(&session, &schedule, method)?;
            comparison.add(method.name(), &rates, report);
            if seed == shared.seed {
                traces.push(Trace::read(&session, method)?);
            }
        }
    }
    comparison.add_picture("precision.svg", &picture(&traces))?;
    say(table(&traces));
    comparison.finish()
}

fn train(
    session: &Session,
    schedule: &ScheduleConfig,
    method: Method,
) -> Result<(Schedule, Report), ExperimentError> {
    let model = DigitNetworkConfig::default().init(&session.device());
    let model = match method {
        Method::F16Plain => to_precision(model, FloatDType::F16),
        _ => model,
    };
    let optimizer = AdamWConfig::new().with_weight_decay(0.01).build();
    let scaling = LossScaling::new().growth_interval(GROWTH_INTERVAL);
    let half = HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() };
    session.train_unless_finished(schedule.clone(), |schedule| {
        let learner = LearnerBuilder::new(model, optimizer, schedule).clip_global_norm(1.0);
        match method {
            Method::F32 | Method::F16Plain => learner,
            Method::F16Scaled => learner.half_precision(half),
            Method::F16Capped => learner
                .half_precision(half)
                .overflow_cap(OverflowCap::measured_every(MEASURED_EVERY))
                .repeat_batches(),
        }
    })
}

/// The logs of a run for each update.
struct Trace {
    method: Method,
    loss: Vec<f64>,
    /// The rate used; 0 if the update was skipped.
    rate: Vec<f64>,
    scale: Vec<f64>,
    skipped: Vec<f64>,
    factor: Vec<f64>,
}

impl Trace {
    fn read(session: &Session, method: Method) -> Result<Self, ExperimentError> {
        let logged = |metric: &str, there: bool| match there {
            true => session.logged(metric),
            false => Ok(vec![]),
        };
        let factor = logged("Factor overflow cap", method == Method::F16Capped)?;
        let skipped = logged("Skipped", method.scales())?;
        let mut rate = session.logged("Learning Rate")?;
        for (rate, factor) in rate.iter_mut().zip(&factor) {
            *rate *= factor;
        }
        for (rate, skipped) in rate.iter_mut().zip(&skipped) {
            *rate *= 1.0 - skipped;
        }
        let (loss, scale) = (session.logged("Loss")?, logged("Loss Scale", method.scales())?);
        Ok(Self { method, loss, rate, scale, skipped, factor })
    }

    /// A line over the updates, counted from 1, up to the first number that is not finite.
    fn series(&self, values: &[f64]) -> Series {
        let points = values.iter().zip(1..).map(|(value, update)| (f64::from(update), *value));
        let points = points.take_while(|(_, value)| value.is_finite()).collect();
        Series { name: self.method.name().to_owned(), points }
    }
}

/// Means over this number of updates.
fn smoothed(values: &[f64]) -> Vec<f64> {
    const WINDOW: usize = 10;
    let mean = |end: usize| {
        let window = &values[(end + 1).saturating_sub(WINDOW)..=end];
        window.iter().sum::<f64>() / window.len() as f64
    };
    (0..values.len()).map(mean).collect()
}

fn picture(traces: &[Trace]) -> String {
    let titles = |x, y| Titles { title: "", subtitle: "", x, y };
    let series = |of: fn(&Trace) -> Vec<f64>| -> Vec<Series> {
        traces.iter().map(|trace| trace.series(&of(trace))).collect()
    };
    let panels = [
        Panel {
            titles: titles("", "loss"),
            scale: Scale::Rate,
            series: series(|trace| smoothed(&trace.loss)),
        },
        Panel {
            titles: titles("", "loss scale"),
            scale: Scale::Logarithmic,
            series: series(|trace| trace.scale.clone()),
        },
        Panel {
            titles: titles("update", "learning rate"),
            scale: Scale::Rate,
            series: series(|trace| trace.rate.clone()),
        },
    ];
    plot::panels("Training in f32 and in f16", &panels)
}

/// The effect of scaling in the first seed's runs.
fn table(traces: &[Trace]) -> String {
    let mut text = format!(
        "{:20}  {:>12}  {:>12}  {:>12}  {:>12}  {:>10}\n",
        "first seed", "first loss", "last loss", "last scale", "skipped", "rate cut"
    );
    for Trace { method, loss, scale, skipped, factor, .. } in traces {
        let losses = smoothed(loss);
        let shown =
            |value: Option<&f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        let cut = match factor.len() {
            0 => "-".to_owned(),
            updates => {
                let cut = factor.iter().map(|factor| 1.0 - factor).sum::<f64>() / updates as f64;
                format!("{:.2} %", 100.0 * cut)
            }
        };
        let skipped = match skipped.len() {
            0 => "-".to_owned(),
            _ => skipped.iter().sum::<f64>().to_string(),
        };
        let scale = scale.last().map_or("-".to_owned(), |scale| format!("{scale}"));
        text += &format!(
            "{:20}  {:>12}  {:>12}  {scale:>12}  {skipped:>12}  {cut:>10}\n",
            method.name(),
            shown(losses.first()),
            shown(losses.last()),
        );
    }
    text
}

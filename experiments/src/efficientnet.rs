//! Compares ways to fine-tune EfficientNet-Lite0 with its ImageNet weights from PyTorch on real CIFAR-10 images.
//!
//! ```text
//! cargo run --bin experiments -- efficientnet --weights efficientnet-lite0.pth
//! cargo run --bin experiments -- efficientnet --help        the flags, and where the weights are
//! ```
//!
//! Each way sees the same images, equally augmented, for the same number of epochs. Where the weights
//! are loaded, batch normalizations keep the statistics that come with them:
//!
//! - `probe`: only the last layer is trained, on features that the rest computes once;
//! - `one-rate`: a new last layer, and all layers at one rate;
//! - `layer-wise`: the probe's last layer, rates that fall from layer to layer, and layers that start
//!   to train one after another, from the top down;
//! - `one-rate-moving`, optional: `one-rate`, but with batch norms that use each batch's statistics and
//!   update their running ones, which is the default of a loaded network;
//! - `from-scratch`, optional: all layers at one rate, without the weights.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anneal_examples::arguments::{image_size, percent, positive_rate, share, whole_number};
use anneal_examples::data::CLASSES;
use anneal_examples::prelude::*;
use anneal_examples::weights::{self, HOW_TO_GET, IMAGENET_CLASSES, WeightsError};
use burn::nn::Linear;
use burn::optim::AdamWConfig;
use burn_anneal::groups::Groups;
use burn_anneal::prelude::*;
use clap::{Args, ValueEnum};

use crate::comparison::unfreezing::resolve_unfreezing;
use crate::comparison::{Comparison, LinearProbe, Session, Subject, seeds};
use crate::error::ExperimentError;

/// The defaults of the command line.
pub const DEFAULTS: Defaults =
    Defaults { about: "", epochs: 2, batch_size: 16, learning_rate: 2.5e-4 };

#[derive(Debug, Clone, Args)]
#[command(after_help = HOW_TO_GET)]
pub struct FineTuning {
    #[command(flatten)]
    shared: Arguments,

    /// EfficientNet-Lite0's weights, as PyTorch saved them; see below. Only from-scratch needs none
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// What to compare, separated by commas
    #[arg(
        long,
        value_enum,
        value_name = "METHOD,METHOD...",
        value_delimiter = ',',
        default_value = "probe,one-rate,layer-wise"
    )]
    methods: Vec<Method>,

    /// Train with every method from N seeds: --seed, --seed + 1, ...
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,

    /// Size in pixels that images are enlarged to
    #[arg(long, value_name = "PIXELS", default_value = "96", value_parser = image_size, allow_negative_numbers = true)]
    image_size: usize,

    /// Learning rate of the top layer at its peak in the method layer-wise. The other methods take
    /// --lr, but for the probe: 1e-3, in batches of 64, 5 passes over the features
    #[arg(
        long,
        value_name = "RATE",
        default_value = "5e-4",
        value_parser = positive_rate,
        allow_negative_numbers = true,
        conflicts_with = "schedule"
    )]
    top_lr: f64,

    /// Rate of each layer as a share of the rate above it, for layer-wise
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = share, allow_negative_numbers = true)]
    layer_decay: f64,

    /// Percent of the run after which each layer follows the one above it, for layer-wise
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = percent, allow_negative_numbers = true)]
    unfreeze_every: f64,

    /// Train on four fifths of the training images and test on the others: to choose rates by
    #[arg(long)]
    hold_out: bool,
}

/// A way to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Method {
    Probe,
    OneRate,
    OneRateMoving,
    LayerWise,
    FromScratch,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::OneRate => "one-rate",
            Self::OneRateMoving => "one-rate-moving",
            Self::LayerWise => "layer-wise",
            Self::FromScratch => "from-scratch",
        }
    }
}

/// Trains and compares.
///
/// # Errors
/// If something is wrong with the arguments, or a run fails.
pub fn run(arguments: &FineTuning) -> Result<Comparison, ExperimentError> {
    let seeds = seeds(&arguments.shared, arguments.seeds)?;
    let group = arguments.open_group()?;
    // What is wrong with anything is said before any of it is trained or overwritten.
    for seed in seeds.clone() {
        for method in arguments.in_order() {
            arguments.check(&group.member(method.name(), seed)?, method)?;
        }
    }
    let groups = arguments.check_networks(&group)?;
    say(format_args!("{group}"));
    if let Some(groups) = groups {
        say(format_args!("\n{}: {}", Method::LayerWise.name(), groups.explain(0)));
    }

    let mut comparison = Comparison::begin(&group, Subject::Methods)?;
    for seed in seeds {
        let mut probe = None;
        for method in arguments.in_order() {
            let session = group.member(method.name(), seed)?;
            let (rates, report) = match method {
                Method::Probe => {
                    let trained = LinearProbe::train(&session, &arguments.pretrained(&session)?)?;
                    probe = Some(trained.output);
                    (trained.rates, trained.report)
                }
                Method::OneRate => arguments.one_rate(&session, arguments.pretrained(&session)?)?,
                Method::OneRateMoving => {
                    arguments.one_rate(&session, arguments.loaded(&session)?)?
                }
                Method::FromScratch => arguments.one_rate(&session, arguments.random(&session))?,
                Method::LayerWise => arguments.layer_wise(&session, probe.clone())?,
            };
            comparison.add(method.name(), &rates, report);
        }
    }
    comparison.finish()
}

impl FineTuning {
    fn open_group(&self) -> Result<Session, ExperimentError> {
        let group = Session::open_group(
            "efficientnet",
            Dataset::Cifar10,
            Augmentation::CROP_AND_FLIP,
            &self.shared,
        )?
        .with_normalization(EfficientNet::NORMALIZATION);
        let mut flags = vec![
            ("--image-size", self.image_size.to_string()),
            ("--layer-decay", self.layer_decay.to_string()),
            ("--unfreeze-every", self.unfreeze_every.to_string()),
            ("--hold-out", self.hold_out.to_string()),
        ];
        if let Some(path) = &self.weights {
            flags.push(("--weights", weights::fingerprint(path)?));
        }
        let group = group.with_flags(flags)?;
        Ok(if self.hold_out { group.holding_out() } else { group })
    }

    /// Refuses a schedule that does not fit, and a run to resume that cannot continue under it.
    fn check(&self, session: &Session, method: Method) -> Result<(), ExperimentError> {
        match method {
            Method::Probe => LinearProbe::check(session),
            method => session.finished(&self.schedule(method)?).map(drop),
        }
    }

    /// Refuses weights and groups that do not fit; gives the groups, if there are any.
    fn check_networks(&self, group: &Session) -> Result<Option<Groups>, ExperimentError> {
        let methods = self.in_order();
        if methods.iter().all(|method| *method == Method::FromScratch) {
            return Ok(None);
        }
        let network = self.pretrained(group)?;
        if !methods.contains(&Method::LayerWise) {
            return Ok(None);
        }
        let (length, every) = (group.run_length(), self.unfreeze_every);
        let rates = self.schedule(Method::LayerWise)?.resolve(length)?;
        resolve_unfreezing(&self.groups(), every, &network, &rates, length).map(Some)
    }

    fn weights(&self) -> Result<&Path, WeightsError> {
        self.weights.as_deref().ok_or(WeightsError::NotGiven)
    }

    /// Layer-wise training starts from the probe's last layer, so the probe comes first.
    fn in_order(&self) -> Vec<Method> {
        let mut methods = self.methods.clone();
        if methods.contains(&Method::LayerWise) {
            methods.push(Method::Probe);
        }
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    /// The network with the weights of the file, but for a new last layer.
    fn loaded(&self, session: &Session) -> Result<EfficientNet, ExperimentError> {
        let device = session.device();
        let config = EfficientNetConfig { classes: IMAGENET_CLASSES, image_size: self.image_size };
        let mut network = config.init(&device);
        network.load_pytorch(self.weights()?)?;
        Ok(network.with_output(EfficientNet::new_output(CLASSES, &device)))
    }

    /// The loaded network, whose normalizations keep the statistics of the file.
    fn pretrained(&self, session: &Session) -> Result<EfficientNet, ExperimentError> {
        Ok(self.loaded(session)?.keeping_statistics())
    }

    fn random(&self, session: &Session) -> EfficientNet {
        let config = EfficientNetConfig { classes: CLASSES, image_size: self.image_size };
        config.init(&session.device())
    }

    fn schedule(&self, method: Method) -> Result<ScheduleConfig, ExperimentError> {
        let peak = match method {
            Method::LayerWise => self.top_lr,
            _ => self.shared.learning_rate,
        };
        let own = |_| cosine(peak).warmup(Span::percent(10.0)).into();
        Ok(self.shared.schedule(own)?)
    }

    fn groups(&self) -> GroupsConfig {
        layer_decay(self.layer_decay)
            .layers(LayerMap::from_patterns(EfficientNet::LAYERS))
            .unfreeze_every(Span::percent(self.unfreeze_every))
    }

    fn one_rate(
        &self,
        session: &Session,
        network: EfficientNet,
    ) -> Result<(Schedule, Report), ExperimentError> {
        self.train(session, network, self.schedule(Method::OneRate)?, None)
    }

    fn layer_wise(
        &self,
        session: &Session,
        probe: Option<Linear>,
    ) -> Result<(Schedule, Report), ExperimentError> {
        let network = self.pretrained(session)?;
        let network = match probe {
            Some(output) => network.with_output(output),
            None => network,
        };
        self.train(session, network, self.schedule(Method::LayerWise)?, Some(self.groups()))
    }

    fn train(
        &self,
        session: &Session,
        network: EfficientNet,
        schedule: ScheduleConfig,
        groups: Option<GroupsConfig>,
    ) -> Result<(Schedule, Report), ExperimentError> {
        let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
        session.train_unless_finished(schedule, |schedule| {
            let learner = LearnerBuilder::new(network, optimizer, schedule);
            match groups {
                Some(groups) => learner.groups(groups),
                None => learner,
            }
        })
    }
}

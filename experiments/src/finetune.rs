//! Pretrains a small residual network on five classes of CIFAR-10, and fine-tunes it on a few images of
//! the other five, in four ways.
//!
//! ```text
//! cargo run --bin experiments -- finetune                             3 seeds
//! cargo run --bin experiments -- finetune --help                   everything else
//! ```
//!
//! Every way sees the same images, equally augmented, for the same number of epochs:
//!
//! - `from-scratch`: a network with random weights, all layers at one rate;
//! - `one-rate`: the pretrained network under a new last layer, all layers at one rate;
//! - `layer-wise`: rates that fall from layer to layer, and layers that start to train one after another,
//!   from the top down;
//! - `head-only`: only the new last layer is trained.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use anneal_examples::arguments::{percent, positive_rate, share, whole_number};
use anneal_examples::model::ResidualNetwork;
use anneal_examples::prelude::*;
use burn::optim::AdamWConfig;
use burn_anneal::groups::Groups;
use burn_anneal::prelude::*;
use burn_store::{BurnpackStore, ModuleSnapshot};
use clap::Args;

use crate::comparison::unfreezing::resolve_unfreezing;
use crate::comparison::{Comparison, Session, Subject, seeds};
use crate::error::ExperimentError;

/// The defaults of the command line.
pub const DEFAULTS: Defaults =
    Defaults { about: "", epochs: 30, batch_size: 32, learning_rate: 2e-3 };

/// The peak rate of the pretraining.
const PRETRAINING_RATE: f64 = 4e-3;

/// Decoupled weight decay of all trained parameters.
const WEIGHT_DECAY: f64 = 0.02;

/// Airplane, automobile, bird, cat, deer.
const OLD_CLASSES: Range<u8> = 0..5;
/// Dog, frog, horse, ship, truck.
const NEW_CLASSES: Range<u8> = 5..10;

#[derive(Debug, Clone, Args)]
pub struct FineTuning {
    #[command(flatten)]
    shared: Arguments,

    /// Train with every method from N seeds: --seed, --seed + 1, ...
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,

    /// Epochs of the pretraining; --epochs is for the fine-tuning
    #[arg(long, value_name = "N", default_value = "20", value_parser = whole_number, allow_negative_numbers = true)]
    pretraining_epochs: NonZeroUsize,

    /// Images of each new class to fine-tune on; fewer if --limit leaves fewer
    #[arg(
        long,
        value_name = "N",
        default_value = "20",
        value_parser = whole_number,
        allow_negative_numbers = true,
        conflicts_with = "limit"
    )]
    shots: NonZeroUsize,

    /// Learning rate of the last layer at its peak in the methods layer-wise and head-only; the other
    /// methods take --lr, and the pretraining 4e-3
    #[arg(
        long,
        value_name = "RATE",
        default_value = "4e-3",
        value_parser = positive_rate,
        allow_negative_numbers = true,
        conflicts_with = "schedule"
    )]
    top_lr: f64,

    /// Rate of each layer as a share of the rate above it, for layer-wise
    #[arg(long, value_name = "SHARE", default_value = "0.8", value_parser = share, allow_negative_numbers = true)]
    layer_decay: f64,

    /// Percent of the run after which each layer follows the one above it, for layer-wise
    #[arg(long, value_name = "PERCENT", default_value = "3", value_parser = percent, allow_negative_numbers = true)]
    unfreeze_every: f64,

    /// Train on four fifths of the training images and test on the others: to choose rates by
    #[arg(long)]
    hold_out: bool,
}

/// A way to train.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    FromScratch,
    OneRate,
    LayerWise,
    HeadOnly,
}

impl Method {
    const ALL: [Self; 4] = [Self::FromScratch, Self::OneRate, Self::LayerWise, Self::HeadOnly];

    const fn name(self) -> &'static str {
        match self {
            Self::FromScratch => "from-scratch",
            Self::OneRate => "one-rate",
            Self::LayerWise => "layer-wise",
            Self::HeadOnly => "head-only",
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
    let pretraining = arguments.pretraining(&group);
    let fine_tuning = arguments.fine_tuning(&group)?;
    // What is wrong with anything is said before any of it is trained or overwritten.
    for seed in seeds.clone() {
        check(&pretraining.member("pretraining", seed)?, pretraining_schedule())?;
        for method in Method::ALL {
            check(&fine_tuning.member(method.name(), seed)?, arguments.schedule(method)?)?;
        }
    }
    let groups = arguments.resolve_groups(&fine_tuning)?;
    say(format_args!("pretraining: {pretraining}\nfine-tuning: {fine_tuning}"));
    for (method, groups) in groups {
        say(format_args!("\n{}: {}", method.name(), groups.explain(0)));
    }

    let mut comparison = Comparison::begin(&group, Subject::Methods)?;
    for seed in seeds {
        let pretraining = pretraining.member("pretraining", seed)?;
        arguments.pretrain(&pretraining)?;
        for method in Method::ALL {
            let session = fine_tuning.member(method.name(), seed)?;
            let (rates, report) =
                arguments.fine_tune(&session, method, &pretraining.model_file())?;
            comparison.add(method.name(), &rates, report);
        }
    }
    comparison.finish()
}

impl FineTuning {
    fn open_group(&self) -> Result<Session, ExperimentError> {
        let group = Session::open_group(
            "finetune",
            Dataset::Cifar10,
            Augmentation::CROP_AND_FLIP,
            &self.shared,
        )?
        .with_flags([
            ("--pretraining-epochs", self.pretraining_epochs.to_string()),
            ("--shots", self.shots.to_string()),
            ("--layer-decay", self.layer_decay.to_string()),
            ("--unfreeze-every", self.unfreeze_every.to_string()),
            ("--hold-out", self.hold_out.to_string()),
        ])?;
        Ok(if self.hold_out { group.holding_out() } else { group })
    }

    fn pretraining(&self, group: &Session) -> Session {
        group.clone().of_classes(OLD_CLASSES).with_epochs(self.pretraining_epochs)
    }

    fn fine_tuning(&self, group: &Session) -> Result<Session, ExperimentError> {
        group.clone().of_classes(NEW_CLASSES).with_shots(self.shots)
    }

    /// The groups of the methods that have some.
    fn resolve_groups(&self, session: &Session) -> Result<Vec<(Method, Groups)>, ExperimentError> {
        let (network, length) = (network(session), session.run_length());
        let mut resolved = vec![];
        for method in Method::ALL {
            let Some(groups) = self.groups(method) else { continue };
            let (rates, every) = (self.schedule(method)?.resolve(length)?, self.unfreeze_every);
            resolved.push((method, resolve_unfreezing(&groups, every, &network, &rates, length)?));
        }
        Ok(resolved)
    }

    fn schedule(&self, method: Method) -> Result<ScheduleConfig, ExperimentError> {
        let peak = match method {
            Method::FromScratch | Method::OneRate => self.shared.learning_rate,
            Method::LayerWise | Method::HeadOnly => self.top_lr,
        };
        let own = |_| cosine(peak).warmup(Span::percent(10.0)).into();
        Ok(self.shared.schedule(own)?)
    }

    fn groups(&self, method: Method) -> Option<GroupsConfig> {
        let groups = match method {
            Method::FromScratch | Method::OneRate => return None,
            // The layers of the network's tree: the stem, each block, the last layer.
            Method::LayerWise => {
                layer_decay(self.layer_decay).unfreeze_every(Span::percent(self.unfreeze_every))
            }
            Method::HeadOnly => GroupsConfig::new()
                .group(Group::new("head", "^output"))
                .group(Group::rest("trunk").frozen()),
        };
        Some(groups.weight_decay(WEIGHT_DECAY))
    }

    fn pretrain(&self, session: &Session) -> Result<(), ExperimentError> {
        self.train(session, network(session), pretraining_schedule(), None)?;
        Ok(())
    }

    fn fine_tune(
        &self,
        session: &Session,
        method: Method,
        pretrained: &Path,
    ) -> Result<(Schedule, Report), ExperimentError> {
        let mut network = network(session);
        if method != Method::FromScratch {
            load_all_but_the_last_layer(&mut network, pretrained)?;
        }
        self.train(session, network, self.schedule(method)?, self.groups(method))
    }

    fn train(
        &self,
        session: &Session,
        network: ResidualNetwork,
        schedule: ScheduleConfig,
        groups: Option<GroupsConfig>,
    ) -> Result<(Schedule, Report), ExperimentError> {
        let adam_w = |decay| AdamWConfig::new().with_weight_decay(decay).build();
        session.train_unless_finished(schedule, |schedule| match groups {
            // The groups have the decay, so that their table shows it.
            Some(groups) => LearnerBuilder::new(network, adam_w(0.0), schedule).groups(groups),
            None => LearnerBuilder::new(network, adam_w(WEIGHT_DECAY as f32), schedule),
        })
    }
}

fn pretraining_schedule() -> ScheduleConfig {
    cosine(PRETRAINING_RATE).warmup(Span::percent(10.0)).into()
}

/// Refuses a schedule that does not fit, and a run to resume that cannot continue under it.
fn check(session: &Session, schedule: ScheduleConfig) -> Result<(), ExperimentError> {
    session.finished(&schedule).map(drop)
}

fn network(session: &Session) -> ResidualNetwork {
    let classes = NEW_CLASSES.len();
    ResidualNetworkConfig { classes, ..ResidualNetworkConfig::default() }.init(&session.device())
}

/// Drops the pretrained last layer, which is for other classes.
fn load_all_but_the_last_layer(
    network: &mut ResidualNetwork,
    file: &Path,
) -> Result<(), ExperimentError> {
    let unusable = |reason| ExperimentError::Record { path: file.to_owned(), reason };
    let mut store =
        BurnpackStore::from_file(file).with_regex(r"^(stem|blocks)\.").allow_partial(true);
    let loaded = network.load_from(&mut store).map_err(|error| unusable(error.to_string()))?;
    match loaded.missing.iter().find(|(path, _)| !path.starts_with("output.")) {
        Some((path, _)) => Err(unusable(format!("it has no {path}"))),
        None => Ok(()),
    }
}

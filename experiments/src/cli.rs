//! The command line.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anneal_examples::arguments::whole_number;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{efficientnet, finetune, half_precision, schedules, weight_decay};

/// The default folder of results.
const OUT: &str = "docs/experiments";

/// Measures the effect of schedules and controllers on the training of small networks on MNIST and CIFAR-10
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The experiment.
    #[command(subcommand)]
    pub experiment: Experiment,
}

impl Arguments {
    /// The command, with the defaults of each comparison.
    fn command_with_defaults() -> clap::Command {
        [
            ("efficientnet", efficientnet::DEFAULTS),
            ("finetune", finetune::DEFAULTS),
            ("half_precision", half_precision::DEFAULTS),
            ("schedules", schedules::DEFAULTS),
            ("weight_decay", weight_decay::DEFAULTS),
        ]
        .into_iter()
        .fold(Self::command(), |command, (name, defaults)| {
            command.mut_subcommand(name, |command| defaults.apply(command))
        })
    }

    /// Reads the command line; on `--help` or an error, prints it and ends the program.
    pub fn read() -> Self {
        let matches = Self::command_with_defaults().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The experiments.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Averages of weights, merged snapshots and schedule-free training compared with decays, at any time of the run
    Averages(Settings),
    /// The same on 10,000 images of the whole CIFAR-10, which is downloaded once
    #[command(name = "averages_10000")]
    Averages10000(Settings),
    /// Ways to fine-tune EfficientNet-Lite0 with its ImageNet weights on CIFAR-10, side by side
    Efficientnet(efficientnet::FineTuning),
    /// Ways to fine-tune a small network on a few images of five other classes of CIFAR-10, side by side
    Finetune(finetune::FineTuning),
    /// The same network on MNIST in f32, and in f16 with and without loss scaling
    #[command(name = "half_precision")]
    HalfPrecision(half_precision::PrecisionArguments),
    /// The same network on CIFAR-10 from the same seeds under five schedules
    Schedules(schedules::ComparisonArguments),
    /// The same network on CIFAR-10 under one schedule and several weight decays of one strength
    #[command(name = "weight_decay")]
    WeightDecay(weight_decay::DecayArguments),
    /// Two halves of the classes in turn: what is learned and forgotten under falling and constant rates
    Continual(Settings),
    /// The temperature of a contrastive loss and the rate, annealed together and separately
    Contrastive(Settings),
    /// Digits that get noisier in phases, and drops of the rate at these phases or elsewhere
    Curriculum(Settings),
    /// The curvature by the first update, by a sweep, and by power iteration
    Curvature(Settings),
    /// A denoiser of digits, with rates that follow the noise level
    Diffusion(Settings),
    /// Simulated clients with two classes of digits each: their rate, local steps, server rate and drift
    Federated(Settings),
    /// A GAN with cyclic rates of its two players, in phase and half a period apart
    Gan(Settings),
    /// Gradient descent on the rate of SGD, from rates that are far too low or too high
    Hypergradient(Settings),
    /// Workers that synchronize seldom or often, and the rate that each allows
    #[command(name = "local_sgd")]
    LocalSgd(Settings),
    /// Merged checkpoints of a constant rate, compared with decaying over the same part of the run
    Merge(Settings),
    /// Class and parity of digits with one trunk: a rate that reacts to conflicts, and separate schedules for trunk and
    /// heads
    Multitask(Settings),
    /// The same for the class of a digit and its pixels, two tasks that conflict
    #[command(name = "multitask_pixels")]
    MultitaskPixels(Settings),
    /// The gradient noise scale during training, and batch sizes with the rates and costs that it predicts
    #[command(name = "noise_scale")]
    NoiseScale(Settings),
    /// A rate that is far too high, with and without a PID controller on the loss
    Pid(Settings),
    /// A rate that falls when the validation loss stops improving, compared with fixed schedules
    Plateau(Settings),
    /// Accuracy against ε under differential privacy, at fixed rates and at the best rate according to the noisy
    /// gradient
    Privacy(Settings),
    /// Weights pruned in three shocks, under rates that fall smoothly, in steps, or restart
    Pruning(Settings),
    /// The suggestion of a range test, compared with the best rate of a real grid
    #[command(name = "range_test")]
    RangeTest(RangeTestSettings),
    /// Random, grid, Gaussian-process and halving searches for a rate, at equal budget
    Search(Settings),
    /// Eight small nets: a stress test and then steps for the best, compared with equal shares
    #[command(name = "search_architectures")]
    SearchArchitectures(Settings),
    /// One training without restarts, compared with ensembles of the models from restarts
    Snapshots(Settings),
    /// Broken batches, with and without a guard against gradient spikes
    Spikes(Settings),
}

/// The settings of every experiment.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Train every arm from N seeds: 0, 1, ...
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,

    /// Use few images and updates: a few seconds, to check that it works; the numbers mean nothing
    #[arg(long, requires = "out")]
    short: bool,

    /// Folder for the table and the pictures [default: docs/experiments]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The settings of the range test.
#[derive(Debug, Clone, Args)]
pub struct RangeTestSettings {
    #[command(flatten)]
    pub shared: Settings,

    /// PyTorch file of EfficientNet-Lite0's weights, for fine-tuning; see `experiments efficientnet --help`
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

impl Settings {
    /// The seeds.
    pub fn seeds(&self) -> Range<u64> {
        0..self.seeds.get() as u64
    }

    /// A setting of the experiment, or of a short run.
    pub fn either<T>(&self, long: T, short: T) -> T {
        if self.short { short } else { long }
    }

    /// The flag of a short run, whose results are not kept.
    pub fn flags(&self) -> &'static str {
        self.either("", " --short")
    }

    /// The folder of results.
    pub fn folder(&self) -> &Path {
        self.out.as_deref().unwrap_or(Path::new(OUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Experiment, String> {
        let all = std::iter::once(&"experiments").chain(arguments);
        let parsed = Arguments::command_with_defaults().try_get_matches_from(all);
        let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
        parsed.map(|arguments| arguments.experiment).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_means_three_seeds_and_the_docs() {
        let Experiment::Gan(settings) = parse(&["gan"]).unwrap() else { panic!() };

        assert_eq!((settings.seeds(), settings.folder()), (0..3, Path::new("docs/experiments")));
        assert_eq!(settings.either("long", "short"), "long");
    }

    #[test]
    fn a_short_run_never_goes_where_results_are_kept() {
        let error = parse(&["gan", "--short"]).unwrap_err();
        assert!(error.contains("--out"), "{error}");

        assert!(parse(&["gan", "--short", "--out", "elsewhere"]).is_ok());
    }

    #[test]
    fn no_seed_is_refused() {
        let error = parse(&["gan", "--seeds", "0"]).unwrap_err();
        assert!(error.contains("--seeds") && error.contains("at least 1"), "{error}");
    }
}

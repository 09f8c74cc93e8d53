//! The command line.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anneal_examples::arguments::whole_number;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{efficientnet, finetune, half_precision, schedules, weight_decay};

/// Where results go unless said otherwise.
const OUT: &str = "docs/experiments";

/// Measures what schedules and controllers do to the training of small networks on MNIST and CIFAR-10
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// What to measure.
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

    /// Reads the command line; on `--help` or a mistake, says so and ends the program.
    pub fn read() -> Self {
        let matches = Self::command_with_defaults().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The experiments.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Averages of weights, merged snapshots and schedule-free training beside decays, at any time of the run
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
    /// Two halves of the classes in turn: what is learned and what is forgotten under rates that fall and do not
    Continual(Settings),
    /// The temperature of a contrastive loss and the rate, annealed together and apart
    Contrastive(Settings),
    /// Digits that get noisier in phases, and drops of the rate that fall with them or do not
    Curriculum(Settings),
    /// The curvature by the first update, by a sweep, and by power iteration
    Curvature(Settings),
    /// A denoiser of digits, whose rates answer to the level of noise
    Diffusion(Settings),
    /// Simulated clients with two classes of digits each: their rate, local steps, server rate and drift
    Federated(Settings),
    /// A GAN whose two players have rates in cycles, in phase and half a period apart
    Gan(Settings),
    /// Gradient descent on the rate of SGD, from rates far too low and too high
    Hypergradient(Settings),
    /// Workers that synchronize seldom or often, and the rate that each allows
    #[command(name = "local_sgd")]
    LocalSgd(Settings),
    /// Checkpoints of a constant rate, merged, beside decaying over the same part of the run
    Merge(Settings),
    /// Class and parity of digits by one trunk: a rate that answers to conflict, and shapes of trunk and heads of their own
    Multitask(Settings),
    /// The same for the class of a digit and its pixels, two tasks that conflict
    #[command(name = "multitask_pixels")]
    MultitaskPixels(Settings),
    /// The noise scale of gradients over a training, and batch sizes with the rates and costs that it predicts
    #[command(name = "noise_scale")]
    NoiseScale(Settings),
    /// A rate far too high, with and without a PID controller that answers to the loss
    Pid(Settings),
    /// A rate that falls where the validation loss gets no better, beside fixed schedules
    Plateau(Settings),
    /// Accuracy against ε under differential privacy, at fixed rates and at the best rate that the noisy gradient shows
    Privacy(Settings),
    /// Weights pruned in three shocks, under rates that fall smoothly, in steps, and start anew
    Pruning(Settings),
    /// What a range test suggests, beside the best of a real grid of rates
    #[command(name = "range_test")]
    RangeTest(RangeTestSettings),
    /// Random, grid, Gaussian-process and halving searches for a rate, at equal budget
    Search(Settings),
    /// Eight small nets: a stress test and then steps for the best, beside equal shares
    #[command(name = "search_architectures")]
    SearchArchitectures(Settings),
    /// One training that ends once, beside ensembles of the models that restarts leave
    Snapshots(Settings),
    /// Broken batches, with and without a guard against spikes of the gradient
    Spikes(Settings),
}

/// What every experiment can be told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Train every arm from so many seeds: 0, 1, ...
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole_number, allow_negative_numbers = true)]
    seeds: NonZeroUsize,

    /// Fewer images and updates: a few seconds, to see that it works; the numbers mean nothing
    #[arg(long, requires = "out")]
    short: bool,

    /// Folder for the table and the pictures [default: docs/experiments]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What the range test can be told besides.
#[derive(Debug, Clone, Args)]
pub struct RangeTestSettings {
    #[command(flatten)]
    pub shared: Settings,

    /// EfficientNet-Lite0's weights, as PyTorch saved them, to fine-tune; `experiments efficientnet --help` says where they are
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

impl Settings {
    /// The seeds.
    pub fn seeds(&self) -> Range<u64> {
        0..self.seeds.get() as u64
    }

    /// A number of the experiment, or that of a short run.
    pub fn either<T>(&self, long: T, short: T) -> T {
        if self.short { short } else { long }
    }

    /// What the command says besides, where it is not one that results are kept of.
    pub fn flags(&self) -> &'static str {
        self.either("", " --short")
    }

    /// Where results go.
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

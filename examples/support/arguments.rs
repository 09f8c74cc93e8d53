//! The command-line arguments shared by all examples.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn_anneal::prelude::{FileError, OnMismatch, ScheduleConfig, ScheduleExt, TextError};
use clap::{ArgMatches, Command, FromArgMatches, Parser};

use crate::backend::Backend;
use crate::data::DataSource;

/// The batches of a run with `--smoke`.
const SMOKE_BATCHES: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// The arguments of a benchmark.
#[derive(Debug, Clone, Parser)]
pub struct BenchArguments {
    /// The arguments of an example.
    #[command(flatten)]
    pub shared: Arguments,

    /// The flag that `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The arguments of any example.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(version)]
pub struct Arguments {
    /// Number of passes through the training images
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true)]
    pub epochs: NonZeroUsize,

    /// Images per update
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true)]
    pub batch_size: NonZeroUsize,

    /// Learning rate at its peak
    #[arg(long = "lr", value_name = "RATE", value_parser = positive_rate, allow_negative_numbers = true)]
    pub learning_rate: f64,

    /// Schedule as text, for example 'cosine(1e-3).warmup(5%)', or a TOML or JSON file, instead of the example's own
    #[arg(long, value_name = "TEXT|FILE", conflicts_with = "learning_rate")]
    pub schedule: Option<String>,

    /// Seed of the parameters, the shuffles and the augmentation
    #[arg(long, value_name = "N", default_value = "0", value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,

    /// Images to train and test on
    #[arg(long, value_enum, default_value_t = DataSource::Sample)]
    pub data: DataSource,

    /// Train on only N images, balanced over the classes
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true)]
    pub limit: Option<NonZeroUsize>,

    /// Folder for the model, the logs and the picture; new or empty, unless --resume is given
    /// [default: runs/EXAMPLE, or the first free one of runs/EXAMPLE-2, -3, ...]
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    pub out: Option<PathBuf>,

    /// Continue the run in --out (by default the newest in runs/) after its newest checkpoint, or start it
    /// if there is none yet
    #[arg(long)]
    pub resume: bool,

    /// What --resume does if the schedule (for example by more --epochs) or the batch size has changed
    #[arg(long, value_enum, default_value_t = Mismatch::Refuse, requires = "resume")]
    pub on_mismatch: Mismatch,

    /// Also save a checkpoint after every N updates of an epoch, not only at its end
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true)]
    pub save_every: Option<NonZeroUsize>,

    /// Train for only a few updates, to check that everything works
    #[arg(long)]
    pub smoke: bool,

    /// Backend to compute on [default: the accelerator of this build, or flex]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
}

/// What a resumed run does under another schedule or with another batch size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mismatch {
    /// Refuse, and print both
    Refuse,
    /// Continue at the saved update
    KeepStep,
    /// Continue at the saved epoch
    KeepEpoch,
    /// Continue at the same number of images
    KeepSamples,
    /// Start the schedule at step 0, over the rest of the training
    Restart,
}

impl From<Mismatch> for OnMismatch {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Refuse => Self::Refuse,
            Mismatch::KeepStep => Self::KeepStep,
            Mismatch::KeepEpoch => Self::KeepEpoch,
            Mismatch::KeepSamples => Self::KeepSamples,
            Mismatch::Restart => Self::Restart,
        }
    }
}

/// The defaults of an example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// What the example does, for `--help`.
    pub about: &'static str,
    /// Epochs to train.
    pub epochs: usize,
    /// Images per update.
    pub batch_size: usize,
    /// Learning rate at its peak.
    pub learning_rate: f64,
}

impl Defaults {
    /// Reads the command line; on `--help` or an error, prints it and ends the program, like
    /// [`clap::Parser::parse`].
    ///
    /// `A` is [`Arguments`] or a parser that flattens it into its own arguments.
    pub fn parse<A: Parser>(&self) -> A {
        self.read(self.command::<A>().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Reads arguments from an iterator, whose first item is the program's name.
    ///
    /// # Errors
    /// A message that names the flag, its value and the allowed range.
    pub fn parse_from<A: Parser>(
        &self,
        arguments: impl IntoIterator<Item = &'static str>,
    ) -> Result<A, clap::Error> {
        self.read(self.command::<A>().try_get_matches_from(arguments)?)
    }

    fn command<A: Parser>(&self) -> Command {
        // clap would use the doc comment of the flattened `Arguments` as the description.
        self.apply(A::command().about(self.about).long_about(None))
    }

    /// Puts the defaults into a command that flattens [`Arguments`].
    pub fn apply(&self, command: Command) -> Command {
        let defaults = [
            ("epochs", self.epochs.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("learning_rate", self.learning_rate.to_string()),
        ];
        defaults.into_iter().fold(command, |command, (name, default)| {
            command.mut_arg(name, |flag| flag.required(false).default_value(default))
        })
    }

    fn read<A: FromArgMatches>(&self, matches: ArgMatches) -> Result<A, clap::Error> {
        A::from_arg_matches(&matches)
    }
}

/// Why `--schedule` is not a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleArgumentError {
    /// The text is not a schedule.
    #[error("--schedule: {0}")]
    Text(#[from] TextError),
    /// The file does not hold a schedule.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Arguments {
    /// The schedule to train under: the one from `--schedule`, or the example's own for the peak rate. With `--smoke`,
    /// it is cut if it is longer than the run.
    ///
    /// # Errors
    /// If `--schedule` is neither the text nor the file of a schedule.
    pub fn schedule(
        &self,
        own: impl FnOnce(f64) -> ScheduleConfig,
    ) -> Result<ScheduleConfig, ScheduleArgumentError> {
        let schedule = match &self.schedule {
            Some(text) if text.contains('(') && !Path::new(text).exists() => text.parse()?,
            Some(path) => ScheduleConfig::load(path)?,
            None => own(self.learning_rate),
        };
        Ok(if self.smoke { schedule.truncate().into() } else { schedule })
    }

    /// With `--smoke`, limits the run to one epoch of a few batches.
    pub(crate) fn shortened(mut self) -> Self {
        if self.smoke {
            let images = self.batch_size.saturating_mul(SMOKE_BATCHES);
            self.epochs = NonZeroUsize::MIN;
            self.limit = Some(self.limit.map_or(images, |limit| limit.min(images)));
        }
        self
    }
}

/// Why the value of a flag is refused; clap adds the flag and the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Not a count.
    #[error("must be a whole number, at least 1")]
    NotACount,
    /// Not a seed.
    #[error("must be a whole number from 0 to 2^64 - 1")]
    NotASeed,
    /// Not a learning rate.
    #[error("must be a finite number above 0")]
    NotARate,
    /// Not a share above 0.
    #[error("must be a number above 0 and at most 1")]
    NotAShare,
    /// Not a percentage.
    #[error("must be a number from 0 to 100")]
    NotAPercentage,
    /// Not an image size.
    #[error("must be a whole number from 32 to 512")]
    NotASize,
}

/// Reads a count for a flag.
///
/// # Errors
/// [`ArgumentError::NotACount`].
pub fn whole_number(text: &str) -> Result<NonZeroUsize, ArgumentError> {
    text.parse().map_err(|_| ArgumentError::NotACount)
}

/// Reads a seed for a flag.
///
/// # Errors
/// [`ArgumentError::NotASeed`].
pub fn seed(text: &str) -> Result<u64, ArgumentError> {
    text.parse().map_err(|_| ArgumentError::NotASeed)
}

/// Reads a learning rate for a flag.
///
/// # Errors
/// [`ArgumentError::NotARate`].
pub fn positive_rate(text: &str) -> Result<f64, ArgumentError> {
    number(text, |rate| rate.is_finite() && rate > 0.0).ok_or(ArgumentError::NotARate)
}

/// Reads a share for a flag.
///
/// # Errors
/// [`ArgumentError::NotAShare`].
pub fn share(text: &str) -> Result<f64, ArgumentError> {
    number(text, |share| share > 0.0 && share <= 1.0).ok_or(ArgumentError::NotAShare)
}

/// Reads a percentage for a flag.
///
/// # Errors
/// [`ArgumentError::NotAPercentage`].
pub fn percent(text: &str) -> Result<f64, ArgumentError> {
    number(text, |percent| (0.0..=100.0).contains(&percent)).ok_or(ArgumentError::NotAPercentage)
}

/// Reads an image size for a flag.
///
/// # Errors
/// [`ArgumentError::NotASize`].
pub fn image_size(text: &str) -> Result<usize, ArgumentError> {
    text.parse().ok().filter(|size| (32..=512).contains(size)).ok_or(ArgumentError::NotASize)
}

fn number(text: &str, allowed: impl FnOnce(f64) -> bool) -> Option<f64> {
    text.parse().ok().filter(|&number| allowed(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_anneal::prelude::RunLength;

    const DEFAULTS: Defaults =
        Defaults { about: "Trains a test", epochs: 20, batch_size: 64, learning_rate: 4e-3 };

    fn parse(arguments: &[&'static str]) -> Result<Arguments, String> {
        let all = std::iter::once("example").chain(arguments.iter().copied());
        DEFAULTS.parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_means_the_examples_defaults() {
        let arguments = parse(&[]).unwrap();

        assert_eq!(arguments.epochs.get(), 20);
        assert_eq!(arguments.batch_size.get(), 64);
        assert_eq!(arguments.learning_rate, 4e-3);
        assert_eq!(arguments.data, DataSource::Sample);
        assert_eq!((arguments.limit, arguments.backend), (None, None));
        assert!(!arguments.resume);
    }

    #[test]
    fn help_says_what_the_example_does_and_shows_the_defaults() {
        let help = parse(&["--help"]).unwrap_err();

        assert!(help.starts_with("Trains a test\n"), "{help}");
        for default in ["[default: 20]", "[default: 64]", "[default: 0.004]"] {
            assert!(help.contains(default), "{default} is not in:\n{help}");
        }
    }

    #[test]
    fn every_bad_value_names_its_flag_and_what_is_allowed() {
        let count = "must be a whole number, at least 1";
        let rate = "must be a finite number above 0";
        for (flag, value, allowed) in [
            ("--epochs", "0", count),
            ("--epochs", "2.5", count),
            ("--batch-size", "0", count),
            ("--limit", "0", count),
            ("--lr", "0", rate),
            ("--lr", "-0.1", rate),
            ("--lr", "NaN", rate),
            ("--lr", "inf", rate),
            ("--seed", "-1", "must be a whole number from 0 to 2^64 - 1"),
            ("--seed", "18446744073709551616", "must be a whole number from 0 to 2^64 - 1"),
        ] {
            let message = parse(&[flag, value]).unwrap_err();
            let line = message.lines().next().unwrap();
            assert!(
                line.contains(flag) && line.contains(value) && line.contains(allowed),
                "{flag} {value} gave: {line}"
            );
        }
    }

    #[test]
    fn shares_percentages_and_sizes_have_both_ends() {
        assert_eq!(
            (share("1"), share("0"), share("1.01")),
            (Ok(1.0), Err(ArgumentError::NotAShare), Err(ArgumentError::NotAShare))
        );
        assert_eq!(
            (percent("0"), percent("100"), percent("-1")),
            (Ok(0.0), Ok(100.0), Err(ArgumentError::NotAPercentage))
        );
        assert_eq!(percent("NaN"), Err(ArgumentError::NotAPercentage));
        assert_eq!(
            (image_size("32"), image_size("512"), image_size("31")),
            (Ok(32), Ok(512), Err(ArgumentError::NotASize))
        );
    }

    #[test]
    fn a_schedule_file_has_its_own_rates() {
        assert!(parse(&["--schedule", "a.toml"]).is_ok());
        assert!(parse(&["--schedule", "a.toml", "--lr", "0.1"]).is_err());
    }

    #[test]
    fn a_schedule_is_a_text_or_a_file() {
        let arguments = parse(&["--schedule", "cosine(1e-3).warmup(5%)"]).unwrap();
        let expected = "cosine(1e-3).warmup(5%)".parse().unwrap();
        assert_eq!(arguments.schedule(|_| unreachable!()).unwrap(), expected);

        let broken = parse(&["--schedule", "cosine(1e-3"]).unwrap();
        let error = broken.schedule(|_| unreachable!()).unwrap_err().to_string();
        assert!(error.starts_with("--schedule: "), "{error}");
    }

    #[test]
    fn a_smoke_run_is_an_epoch_of_three_batches_at_most() {
        let shortened = |more: &[&'static str]| {
            let all = [&["--smoke", "--batch-size", "8"], more].concat();
            let arguments = parse(&all).unwrap().shortened();
            (arguments.epochs.get(), arguments.limit.map(NonZeroUsize::get))
        };
        assert_eq!(shortened(&[]), (1, Some(24)));
        assert_eq!(shortened(&["--limit", "10"]), (1, Some(10)));
    }

    #[test]
    fn a_smoke_run_is_the_beginning_of_a_long_schedule() {
        let text = "constant(0.1).warmup(1_000)";
        let under = |more: &[&'static str]| {
            let all = [&["--schedule", text], more].concat();
            let schedule = parse(&all).unwrap().schedule(|_| unreachable!()).unwrap();
            schedule.resolve(RunLength::updates(3)).map(|schedule| schedule.truncated_from())
        };
        assert!(under(&[]).is_err());
        assert!(under(&["--smoke"]).unwrap().is_some_and(|updates| updates > 1_000));
    }

    #[test]
    fn a_missing_schedule_file_is_an_error() {
        let arguments = parse(&["--schedule", "no/such/file.toml"]).unwrap();

        let error = arguments.schedule(|_| unreachable!()).unwrap_err();

        assert!(error.to_string().contains("no/such/file.toml"));
    }
}

//! The length of a run from flags.

use crate::count::count;
use crate::error::{Error, note};
use crate::input::Input;
use anneal_schedule::{RunLength, ScheduleConfig, ScheduleExt, Span};
use clap::{Args, ValueEnum};
use std::str::FromStr;

/// The length of the run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Length of the run in updates
    #[arg(
        long,
        value_name = "N",
        value_parser = count,
        allow_negative_numbers = true,
        conflicts_with_all = ["epochs", "samples", "tokens"]
    )]
    steps: Option<u64>,
    #[command(flatten)]
    length: LengthArgs,
}

impl RunArgs {
    /// The run given by the flags, possibly without an end.
    pub fn run(&self) -> Result<Run, Error> {
        self.length.run_or("--steps", self.steps)
    }
}

/// The length of the run in other units than updates.
#[derive(Debug, Args)]
pub struct LengthArgs {
    /// Length of the run in epochs, with --steps-per-epoch, or with --items and --batch-size
    #[arg(
        long,
        value_name = "N",
        value_parser = count,
        allow_negative_numbers = true,
        conflicts_with_all = ["samples", "tokens"]
    )]
    epochs: Option<u64>,
    /// Updates in each epoch
    #[arg(
        long,
        value_name = "M",
        value_parser = count,
        allow_negative_numbers = true,
        requires = "epochs",
        conflicts_with = "items"
    )]
    steps_per_epoch: Option<u64>,
    /// If the schedule is longer than the run, use its beginning
    #[arg(long)]
    truncate: bool,
    #[command(flatten)]
    batches: BatchArgs,
}

/// Samples, tokens and batches
#[derive(Debug, Args)]
#[command(next_help_heading = "Samples, tokens and batches")]
struct BatchArgs {
    /// Items of each epoch
    #[arg(long, value_name = "N", value_parser = count, requires_all = ["epochs", "batch_size"])]
    items: Option<u64>,
    /// Length of the run in samples, without epochs
    #[arg(long, value_name = "N", value_parser = count, requires = "batch_size", conflicts_with = "tokens")]
    samples: Option<u64>,
    /// Length of the run in tokens, without epochs
    #[arg(long, value_name = "N", value_parser = count, requires_all = ["batch_size", "tokens_per_sample"])]
    tokens: Option<u64>,
    /// Samples of each batch
    #[arg(long, value_name = "B", value_parser = count)]
    batch_size: Option<u64>,
    /// Tokens of each sample
    #[arg(long, value_name = "K", value_parser = count, requires = "batch_size")]
    tokens_per_sample: Option<u64>,
    /// Batches of each update
    #[arg(long, value_name = "K", value_parser = count, requires = "batch_size")]
    accumulation: Option<u64>,
    /// Begin with updates of FROM samples and reach the full batch in a straight line, such as 16:12Btok
    #[arg(long, value_name = "FROM:OVER", requires = "batch_size", conflicts_with = "batch_steps")]
    batch_ramp: Option<Pair>,
    /// Change the samples of an update from each position on, such as 25%:512,50%:1024
    #[arg(long, value_name = "AT:SIZE", value_delimiter = ',', requires = "batch_size")]
    batch_steps: Vec<Pair>,
    /// Round the batch sizes of a ramp to multiples of this
    #[arg(long, value_name = "N", value_parser = count, requires = "batch_ramp")]
    batch_multiple: Option<u64>,
    /// What percentages are a share of
    #[arg(long, value_enum, default_value_t)]
    percent_of: PercentOf,
}

/// What percentages are a share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum PercentOf {
    #[default]
    Updates,
    /// Samples, and so tokens
    Samples,
}

/// Two values with a colon between them.
#[derive(Clone, Debug, PartialEq)]
struct Pair(String, String);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.split_once(':').map(|(one, other)| Self(one.into(), other.into()));
        pair.ok_or_else(|| {
            format!("`{text}` has no colon; allowed: two values with a colon between them")
        })
    }
}

/// A position in the run.
fn position(flag: &str, text: &str) -> Result<Span, Error> {
    text.parse().map_err(|error| Error::Usage(format!("{flag}: {error}")))
}

/// A number of samples.
fn size(flag: &str, text: &str) -> Result<usize, Error> {
    let number = count(text).map_err(|error| Error::Usage(format!("{flag}: {error}")))?;
    Ok(whole(number))
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl LengthArgs {
    /// The run given by these flags, otherwise one of the length given by `steps_flag`, otherwise one without
    /// an end.
    pub fn run_or(&self, steps_flag: &'static str, steps: Option<u64>) -> Result<Run, Error> {
        let length = self.batches.added(self.counted(steps)?)?;
        let resolved = length.resolve().map_err(|error| Error::Usage(error.to_string()))?;
        if let (Some(updates), Some(ramp)) = (resolved.updates(), length.unreached_ramp()) {
            note(&format!("{ramp}: the run ends before the ramp does, after {updates} updates"));
        }
        Ok(Run { length, truncate: self.truncate, steps_flag })
    }

    fn counted(&self, steps: Option<u64>) -> Result<RunLength, Error> {
        let BatchArgs { items, samples, tokens, batch_size, .. } = self.batches;
        // With a batch size, updates have samples; a size of 0 is refused later.
        let accumulation = self.batches.accumulation.unwrap_or(1);
        let in_update = batch_size.map(|size| size.saturating_mul(accumulation).max(1));
        let batch_size = whole(batch_size.unwrap_or(1));
        if let Some(flag) = self.batches.ramp().filter(|_| samples.or(tokens).or(items).is_none()) {
            return Err(Error::Usage(format!(
                "{flag} changes the number of updates; give the length of the run as --samples N, --tokens N, or \
                 --epochs N --items N"
            )));
        }
        Ok(match (self.epochs, samples, tokens, steps) {
            (Some(epochs), ..) => {
                let epoch = match (self.steps_per_epoch, items) {
                    (Some(updates), _) => match in_update {
                        Some(samples) => {
                            let items = whole(updates.saturating_mul(samples));
                            RunLength::from_items(items, batch_size)
                        }
                        None => RunLength::updates_per_epoch(updates),
                    },
                    (None, Some(items)) => RunLength::from_items(whole(items), batch_size),
                    (None, None) => {
                        let message =
                            "--epochs needs --steps-per-epoch M, or --items N with --batch-size B";
                        return Err(Error::Usage(message.into()));
                    }
                };
                epoch.epochs(whole(epochs))
            }
            (None, Some(samples), ..) => RunLength::samples(samples, batch_size),
            (None, None, Some(tokens), _) => RunLength::tokens(tokens, batch_size),
            (None, None, None, Some(steps)) => match in_update {
                Some(samples) => RunLength::samples(steps.saturating_mul(samples), batch_size),
                None => RunLength::updates(steps),
            },
            (None, None, None, None) => RunLength::unbounded(),
        })
    }
}

impl BatchArgs {
    /// The flag of the batches that change, if they do.
    fn ramp(&self) -> Option<&'static str> {
        let steps = (!self.batch_steps.is_empty()).then_some("--batch-steps");
        self.batch_ramp.as_ref().map(|_| "--batch-ramp").or(steps)
    }

    /// The run with tokens, accumulation and ramps.
    fn added(&self, mut run: RunLength) -> Result<RunLength, Error> {
        if let Some(tokens) = self.tokens_per_sample {
            run = run.tokens_per_sample(whole(tokens));
        }
        if let Some(batches) = self.accumulation {
            run = run.gradient_accumulation(whole(batches));
        }
        if let Some(Pair(from, over)) = &self.batch_ramp {
            let flag = "--batch-ramp";
            run = run.batch_size_ramp(size(flag, from)?, position(flag, over)?);
        }
        if let Some(multiple) = self.batch_multiple {
            run = run.batch_size_multiple(whole(multiple));
        }
        if !self.batch_steps.is_empty() {
            let flag = "--batch-steps";
            let steps = self
                .batch_steps
                .iter()
                .map(|Pair(at, samples)| Ok((position(flag, at)?, size(flag, samples)?)));
            run = run.batch_size_steps(&steps.collect::<Result<Vec<_>, Error>>()?);
        }
        match self.percent_of {
            PercentOf::Updates => Ok(run),
            PercentOf::Samples => Ok(run.percent_of_samples()),
        }
    }
}

/// The length of a run, and the flag that sets it in updates.
#[derive(Debug)]
pub struct Run {
    /// The length.
    pub length: RunLength,
    truncate: bool,
    pub steps_flag: &'static str,
}

impl Run {
    /// Whether the length is given.
    pub fn is_known(&self) -> bool {
        self.length != RunLength::unbounded()
    }

    /// The description of an input for this run.
    pub fn config(&self, input: &Input) -> ScheduleConfig {
        let config = input.config.clone();
        if self.truncate { config.truncate().into() } else { config }
    }
}

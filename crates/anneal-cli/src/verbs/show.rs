//! `anneal show`: schedules in one chart, and their key figures.

use crate::drawing::{Chart, Series, picture, short, terminal};
use crate::error::{Error, without_control};
use crate::figures::Figures;
use crate::input::{Input, RunArgs};
use clap::Args;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw schedules into one chart, with a table of their key figures
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal show 'cosine(3e-4).warmup(5%)' --steps 1000
  anneal show gpt.toml 'linear(6e-4, 0.0).warmup(2000)' --steps 100000 --log
  anneal show resnet.toml --epochs 90 --steps-per-epoch 5005 --out resnet.svg

The chart shows updates 0 to N − 1 of a run of N updates: give --steps N, or --epochs with
--steps-per-epoch. Where the run is longer than a million updates, ≈ marks a mean that was taken
from a part of them. NO_COLOR in the environment takes the colors away.")]
pub struct Show {
    /// .toml or .json files, or texts such as 'cosine(3e-4).warmup(5%)'
    #[arg(value_name = "SCHEDULE", required = true, num_args = 1..=26)]
    schedules: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    /// Draw the rates on a logarithmic axis
    #[arg(long)]
    log: bool,
    /// Draw a picture into this file, .svg or .png, instead of the terminal
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The width of what is written where there is no terminal.
const PIPED_WIDTH: usize = 80;

impl Show {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let run = self.run.run()?;
        let picture = self.out.as_deref().map(|path| Format::of(path).map(|format| (path, format)));
        let picture = picture.transpose()?;
        let inputs = self.schedules.iter().map(|name| Input::read(name));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let series = inputs.iter().map(|input| {
            let (name, label) = (without_control(&input.name), without_control(&input.label));
            Ok(Series { name, label, schedule: input.resolve(&run)? })
        });
        let series = series.collect::<Result<Vec<_>, Error>>()?;
        let Some(updates) = series[0].schedule.length() else {
            return Err(Error::Usage(
                "a run without an end cannot be drawn; give --steps N, or --epochs N \
                 --steps-per-epoch M"
                    .into(),
            ));
        };
        let chart = Chart { series, updates, log: self.log };
        let (width, colors) = terminal_width_and_colors();
        match picture {
            Some((path, format)) => format.write(&chart, path)?,
            None => writeln!(out, "{}", terminal::draw(&chart, width, colors))?,
        }
        for (index, series) in chart.series.iter().enumerate() {
            let mark = terminal::colored(&terminal::mark(index).to_string(), index, colors);
            writeln!(out, "{mark}  {}", fitted(&series.name, width - 3))?;
        }
        writeln!(out, "\n{}", table(&chart))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn terminal_width_and_colors() -> (usize, bool) {
    if !std::io::stdout().is_terminal() {
        return (PIPED_WIDTH, false);
    }
    let width = terminal_size::terminal_size().map_or(PIPED_WIDTH, |size| size.0.0.into());
    let says = |name| std::env::var_os(name).unwrap_or_default();
    (width.max(20), says("NO_COLOR").is_empty() && says("TERM") != "dumb")
}

fn fitted(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        name.to_string()
    } else {
        name.chars().take(width - 1).chain(['…']).collect()
    }
}

/// A row of key figures for each schedule.
fn table(chart: &Chart) -> String {
    let head = ["", "first", "peak", "at", "last", "mean", "updates", "fingerprint"];
    let mut rows = vec![head.map(str::to_string)];
    for (index, series) in chart.series.iter().enumerate() {
        let figures = Figures::of(&series.schedule, chart.updates);
        let near = if figures.exact { "" } else { "≈" };
        rows.push([
            terminal::mark(index).to_string(),
            short(figures.first),
            short(figures.peak),
            figures.peak_at.to_string(),
            short(figures.last),
            format!("{near}{}", short(figures.mean)),
            chart.updates.to_string(),
            series.schedule.fingerprint().to_string(),
        ]);
    }
    let width = |column: usize| {
        rows.iter().map(|row: &[String; 8]| row[column].chars().count()).max().unwrap_or(0)
    };
    let lines = rows.iter().map(|row| {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(at, cell)| format!("{cell:>0$}", width(at))).collect();
        cells.join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The kind of a picture, by the ending of its name.
enum Format {
    Svg,
    Png,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Error> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(Error::Usage(format!("{}: a picture ends in .svg or .png", path.display()))),
        }
    }

    fn write(&self, chart: &Chart, path: &Path) -> Result<(), Error> {
        let bytes = match self {
            Self::Svg => picture::svg(chart).into_bytes(),
            Self::Png => picture::png(chart)
                .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?,
        };
        std::fs::write(path, bytes)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
    }
}

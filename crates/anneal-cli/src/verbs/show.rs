//! `anneal show`: draws schedules in one chart, with their key figures.

use crate::drawing::picture::{self, Look};
use crate::drawing::{Chart, Series, Time, batches, short, terminal};
use crate::error::{Error, without_control};
use crate::figures::Figures;
use crate::files;
use crate::input::Input;
use crate::run_arguments::RunArgs;
use clap::Args;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw schedules in one chart, with a table of their key figures
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal show 'cosine(3e-4).warmup(5%)' --steps 1000
  anneal show gpt.toml 'linear(6e-4, 0.0).warmup(2000)' --steps 100000 --log
  anneal show resnet.toml --epochs 90 --steps-per-epoch 5005 --out resnet.svg
  anneal show 'one_cycle(0.1)' --steps 1000 --out small.png --size 480x180 --title 'One cycle'
  echo 'cosine(3e-4)' | anneal show - --steps 1e6

The chart shows updates 0 to N − 1 of a run of N updates: give --steps N, or --epochs with
--steps-per-epoch, which also makes the axis count epochs. A run that is shorter than its schedule is
refused, unless --truncate shows the beginning of the longer one. --width, COLUMNS in the environment or
the terminal sets the width of the chart, by default 80 characters. For runs of more than a million updates,
≈ marks a mean taken from a sample of them. NO_COLOR in the environment turns colors off.")]
pub struct Show {
    /// .toml or .json files, texts such as 'cosine(3e-4).warmup(5%)', or - for stdin
    #[arg(value_name = "SCHEDULE", required = true, num_args = 1..=26)]
    schedules: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    /// Draw the rates on a logarithmic axis
    #[arg(long)]
    log: bool,
    /// Write a picture to this file, .svg or .png, instead of drawing in the terminal
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Width and height of the picture [default: 760x420, taller with a legend]
    #[arg(long, value_name = "WxH", value_parser = size, requires = "out")]
    size: Option<(u32, u32)>,
    /// Title above the picture
    #[arg(long, value_name = "TEXT", requires = "out")]
    title: Option<String>,
    /// Width of the chart in characters, 40 to 400
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(40..=400))]
    width: Option<u16>,
}

/// The width of the output without a terminal.
const PIPED_WIDTH: usize = 80;

fn size(text: &str) -> Result<(u32, u32), String> {
    const ALLOWED: &str = "allowed: WIDTHxHEIGHT, such as 480x180, each 100 to 4000";
    let side = |digits: &str| digits.parse().ok().filter(|side| (100..=4_000).contains(side));
    let sides = text.split_once('x').and_then(|(width, height)| side(width).zip(side(height)));
    sides.ok_or_else(|| ALLOWED.into())
}

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
        let time = Time::of(updates, series[0].schedule.run().updates_per_epoch());
        let batches = batches(series[0].schedule.run(), updates)
            .map_err(|error| Error::Schedule(error.to_string()))?;
        let chart = Chart { series, updates, time, values: "learning rate", log: self.log };
        let charts: Vec<Chart> = [chart].into_iter().chain(batches).collect();
        let chart = &charts[0];
        let width = self.width.map_or_else(width, usize::from);
        let colors = has_colors();
        match picture {
            Some((path, format)) => {
                let title = self.title.as_deref().map(without_control);
                format.write(&charts, &Look { size: self.size, title }, path)?;
            }
            None => {
                for (index, chart) in charts.iter().enumerate() {
                    if index > 0 {
                        writeln!(out, "{}", chart.values)?;
                    }
                    writeln!(out, "{}", terminal::draw(chart, width, colors))?;
                }
            }
        }
        for (index, series) in chart.series.iter().enumerate() {
            let mark = terminal::colored(&terminal::mark(index).to_string(), index, colors);
            writeln!(out, "{mark}  {}", fitted(&series.name, width - 3))?;
        }
        writeln!(out, "\n{}", table(chart))?;
        for (index, series) in chart.series.iter().enumerate() {
            if let Some(long) = series.schedule.truncated_from() {
                let mark = terminal::mark(index);
                let (ends, long) = (grouped(chart.updates), grouped(long));
                writeln!(
                    out,
                    "{mark}: the run ends after {ends} of {long} updates of the schedule"
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The width from the environment or the terminal, otherwise a fixed one.
pub fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let size = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
        size.map_or(PIPED_WIDTH, |size| size.0.0.into())
    };
    said.unwrap_or_else(terminal).clamp(20, 400)
}

pub fn has_colors() -> bool {
    let says = |name| std::env::var_os(name).unwrap_or_default();
    std::io::stdout().is_terminal() && says("NO_COLOR").is_empty() && says("TERM") != "dumb"
}

/// A count with a comma after each thousand.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

/// The format of a picture, from the extension of its name.
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
            _ => Err(Error::Usage(format!(
                "{}: the name of a picture must end in .svg or .png",
                path.display()
            ))),
        }
    }

    fn write(&self, charts: &[Chart], look: &Look, path: &Path) -> Result<(), Error> {
        let bytes = match self {
            Self::Svg => picture::svg(charts, look).into_bytes(),
            Self::Png => picture::png(charts, look)
                .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?,
        };
        files::write(path, &bytes)
    }
}

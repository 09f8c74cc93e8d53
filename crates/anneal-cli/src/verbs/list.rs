//! `anneal list`: every curve and combinator, with its arguments and a plot.

use super::show::{has_colors, width};
use crate::analysis_arguments::ReportFormat;
use crate::drawing::{Chart, Series, Time, terminal};
use crate::error::Error;
use anneal_schedule::{
    Argument, Entry, Kind, RunLength, Schedule, ScheduleExt, catalogue, find_entry,
};
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// List the curves and combinators, with their arguments and a plot of each
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal list
  anneal list cosine warmup
  anneal list --format json

With names, it shows each in full: the formula, each argument with its default, the names in other
libraries, and an example as a text, in a file and in Rust. Curves are drawn over 10 epochs of 10 updates.")]
pub struct List {
    /// Names to show in full, for example cosine
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

impl List {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let found = self
            .names
            .iter()
            .map(|name| find_entry(name).map_err(|error| Error::Usage(error.to_string())));
        let found = found.collect::<Result<Vec<&Entry>, Error>>()?;
        let (width, colors) = (width(), has_colors());
        match self.format {
            ReportFormat::Json if found.is_empty() => writeln!(out, "{}", json_of(catalogue()))?,
            ReportFormat::Json => writeln!(out, "{}", json_of(found))?,
            ReportFormat::Text if found.is_empty() => write!(out, "{}", all(width)?)?,
            ReportFormat::Text => {
                for (place, entry) in found.into_iter().enumerate() {
                    let gap = if place > 0 { "\n" } else { "" };
                    write!(out, "{gap}{}", in_full(entry, width, colors)?)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The width of the plot in a list.
const PLOT: usize = 20;

/// The length of the run in which an example is drawn.
const UPDATES: u64 = 100;

fn all(width: usize) -> Result<String, Error> {
    let mut text = String::new();
    for (kind, title) in [(Kind::Curve, "Curves"), (Kind::Combinator, "\nCombinators")] {
        text += &format!("{title}\n");
        for entry in catalogue().iter().filter(|entry| entry.kind == kind) {
            let plot = plot(&example(entry)?);
            text += &fitted(&format!("  {}", call(entry)), width);
            text += &fitted(&format!("    {plot}  {}", entry.summary), width);
        }
    }
    Ok(text + "\nIn full: anneal list NAME\n")
}

/// `cosine(peak) .end .length`: its positional arguments, and those with a call of their own.
fn call(entry: &Entry) -> String {
    let dot = if begins(entry) { "" } else { "." };
    let names: Vec<&str> = entry.arguments.iter().map(|argument| argument.name).collect();
    let (here, further) = names.split_at(by_position(entry).min(names.len()));
    let further: String = further.iter().map(|name| format!(" .{name}")).collect();
    match entry.name {
        "then" => ".then(length, schedule)".into(),
        name => format!("{dot}{name}({}){further}", here.join(", ")),
    }
}

/// The number of positional arguments in the example.
fn by_position(entry: &Entry) -> usize {
    let call = format!("{}(", entry.name);
    let inside = entry.example.split_once(&call).map_or("", |(_, inside)| inside);
    let (mut depth, mut commas) = (1, 0);
    for c in inside.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 1 => commas += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    commas + usize::from(!inside.starts_with(')'))
}

/// Whether its call starts a text.
fn begins(entry: &Entry) -> bool {
    entry.example.starts_with(entry.name)
}

fn example(entry: &Entry) -> Result<Schedule, Error> {
    let run = RunLength::from_items(UPDATES as usize, 10).epochs(10);
    entry.config().resolve(run).map_err(|error| Error::Schedule(error.to_string()))
}

/// The rates as a row of blocks, from 0 to the highest.
fn plot(schedule: &Schedule) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = |column: usize| column as u64 * UPDATES / PLOT as u64;
    let mean = |column: usize| {
        let rates = (step(column)..step(column + 1)).map(|update| schedule.rate(update));
        rates.sum::<f64>() / (step(column + 1) - step(column)) as f64
    };
    let means: Vec<f64> = (0..PLOT).map(mean).collect();
    let highest = means.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let block = |rate: &f64| BLOCKS[((rate / highest * 8.0) as usize).min(7)];
    means.iter().map(block).collect()
}

fn fitted(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return format!("{line}\n");
    }
    line.chars().take(width - 1).chain("…\n".chars()).collect()
}

fn in_full(entry: &Entry, width: usize, colors: bool) -> Result<String, Error> {
    let schedule = example(entry)?;
    let series = Series { name: entry.name.into(), label: entry.name.into(), schedule };
    let time = Time::of(UPDATES, None);
    let chart =
        Chart { series: vec![series], updates: UPDATES, time, values: "learning rate", log: false };
    let toml = entry.config().to_toml().map_err(|error| Error::Usage(error.to_string()))?;
    let mut text = format!("{}: {}\n\n", entry.name, entry.summary);
    text += &terminal::draw(&chart, width, colors);
    text += &format!("\nRate of update t: {}\n", entry.formula);
    if !entry.arguments.is_empty() {
        text += &format!("\nArguments\n{}", table(entry.arguments));
    }
    if !entry.elsewhere.is_empty() {
        text += &format!("\nElsewhere: {}\n", entry.elsewhere.join(", "));
    }
    text += &format!("\nAs a text\n  {}\n\nIn Rust\n  {}\n", entry.example, entry.rust);
    text += "\nIn a file (or as the text above)\n";
    for line in toml.lines().filter(|line| !line.is_empty()) {
        text += &format!("  {line}\n");
    }
    Ok(text)
}

fn table(arguments: &[Argument]) -> String {
    let unit = |argument: &Argument| argument.unit.to_string();
    let default = |argument: &Argument| match argument.default {
        Some(default) => format!("default {default}"),
        None => "required".into(),
    };
    let name = |argument: &Argument| argument.name.to_string();
    let width = |cell: &dyn Fn(&Argument) -> String| {
        arguments.iter().map(|argument| cell(argument).chars().count()).max().unwrap_or(0)
    };
    let (names, defaults) = (width(&name), width(&default));
    let line = |argument: &Argument| {
        format!(
            "  {:names$}  {:defaults$}  {} ({})\n",
            name(argument),
            default(argument),
            argument.meaning,
            unit(argument)
        )
    };
    arguments.iter().map(line).collect()
}

fn json_of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Value {
    let argument = |argument: &Argument| {
        json!({
            "name": argument.name,
            "unit": argument.unit,
            "default": argument.default,
            "meaning": argument.meaning,
        })
    };
    let entry = |entry: &Entry| {
        json!({
            "name": entry.name,
            "table": entry.table,
            "kind": if entry.kind == Kind::Curve { "curve" } else { "combinator" },
            "summary": entry.summary,
            "formula": entry.formula,
            "arguments": entry.arguments.iter().map(argument).collect::<Vec<_>>(),
            "elsewhere": entry.elsewhere,
            "example": entry.example,
            "rust": entry.rust,
        })
    };
    entries.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plotted(text: &str) -> String {
        let config = text.parse::<anneal_schedule::ScheduleConfig>().unwrap();
        plot(&config.resolve(RunLength::updates(UPDATES)).unwrap())
    }

    #[test]
    fn a_plot_has_a_block_for_each_twentieth() {
        assert_eq!(plotted("constant(0.3)"), "█".repeat(20));
        assert_eq!(plotted("step_decay(1.0, 50, 0.5)"), "█".repeat(10) + &"▅".repeat(10));
        assert_eq!(plotted("linear(1.0, 0.0)"), "███▇▇▆▆▆▅▅▄▄▄▃▃▂▂▂▁▁");
    }

    #[test]
    fn a_list_keeps_to_the_width() {
        for width in [20, 60, 80, 200] {
            let text = all(width).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= width.max(26)), "{text}");
        }
    }
}

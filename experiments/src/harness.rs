//! Runs arms and seeds, and writes a table, a picture, and a comparison with expectations.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anneal_examples::plot::{self, Panel, Scale, Series, Titles};
use anneal_examples::prelude::*;

use crate::cli::Settings;
use crate::error::ExperimentError;
use crate::table::{Column, Row, Table};

/// The lowest and the highest loss in pictures.
pub const LOSSES: (f64, f64) = (1e-3, 100.0);

/// The description of an experiment.
#[derive(Debug)]
pub struct Study {
    /// Its name on the command line and of its files.
    pub name: &'static str,
    /// The title of its picture.
    pub title: &'static str,
    /// The measures of a run.
    pub columns: &'static [Column],
    /// The panels of the picture of the first seed's runs.
    pub panels: &'static [Drawn],
    /// The expectation from theory.
    pub expected: Expected,
}

/// One part of the picture.
#[derive(Debug)]
pub struct Drawn {
    x: &'static str,
    y: &'static str,
    scale: Scale,
    least: f64,
    most: f64,
}

/// The expectation from theory: which arm is better than which other by a column.
#[derive(Debug)]
pub struct Expected {
    /// In a sentence.
    pub words: &'static str,
    /// The better arm first.
    pub better: &'static [(&'static str, &'static str)],
    /// The column that decides.
    pub by: usize,
    /// The arms under test.
    pub adaptive: &'static [&'static str],
}

/// The results of one run.
#[derive(Debug, Clone)]
pub struct Trial {
    /// A number for each column.
    pub numbers: Vec<f64>,
    /// A line for each panel; an arm without points is not drawn.
    pub lines: Vec<Vec<(f64, f64)>>,
}

/// The results of an experiment.
#[derive(Debug)]
pub struct Report {
    table: Table,
    text: String,
    files: Vec<PathBuf>,
    seconds: f64,
}

impl Study {
    /// Trains every arm from every seed with `run`, and writes the table and the picture, with `note` below the table.
    ///
    /// # Errors
    /// If a run fails, or a file cannot be written.
    pub fn conduct<A>(
        &self,
        settings: &Settings,
        arms: &[(&'static str, A)],
        note: &str,
        run: impl FnMut(&A, u64) -> Result<Trial, ExperimentError>,
    ) -> Result<Report, ExperimentError> {
        self.conduct_for(self.name, settings, arms, note, run)
    }

    /// Like [`conduct`](Self::conduct), for one of several tables of the experiment with this name on the command line.
    ///
    /// # Errors
    /// The same as [`conduct`](Self::conduct).
    pub fn conduct_for<A>(
        &self,
        command: &str,
        settings: &Settings,
        arms: &[(&'static str, A)],
        note: &str,
        mut run: impl FnMut(&A, u64) -> Result<Trial, ExperimentError>,
    ) -> Result<Report, ExperimentError> {
        let started = Instant::now();
        let folder = settings.folder();
        fs::create_dir_all(folder)
            .map_err(|source| ExperimentError::File { path: folder.to_owned(), source })?;
        let mut rows: Vec<Row> =
            arms.iter().map(|(arm, _)| Row { arm, runs: Vec::new() }).collect();
        let mut panels: Vec<Panel<'_>> = self.panels.iter().map(Drawn::empty).collect();
        for seed in settings.seeds() {
            for ((name, arm), row) in arms.iter().zip(&mut rows) {
                let trial = run(arm, seed)?;
                say(format_args!("seed {seed}   {name:22}   {}", self.shown(&trial.numbers)));
                row.runs.push(trial.numbers);
                if seed == settings.seeds().start {
                    for ((panel, drawn), points) in
                        panels.iter_mut().zip(self.panels).zip(trial.lines)
                    {
                        if !points.is_empty() {
                            panel.series.push(drawn.line(name, points));
                        }
                    }
                }
            }
        }
        let table = Table { columns: self.columns.into(), rows };
        let picture = folder.join(format!("{}.svg", self.name));
        write(&picture, plot::panels(self.title, &panels))?;
        let text = self.text(command, &table, note, settings.flags());
        let fragment = folder.join(format!("{}.md", self.name));
        write(&fragment, &text)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Report { table, text, files: vec![fragment, picture], seconds })
    }

    fn shown(&self, numbers: &[f64]) -> String {
        let shown = |(column, number): (&Column, &f64)| {
            format!("{} {}", column.name, column.cell(std::slice::from_ref(number)))
        };
        self.columns.iter().zip(numbers).map(shown).collect::<Vec<_>>().join("   ")
    }

    /// The text for the docs.
    fn text(&self, command: &str, table: &Table, note: &str, flags: &str) -> String {
        let Expected { words, better, by, adaptive } = &self.expected;
        let seeds = table.rows.first().map_or(0, |row| row.runs.len());
        let spread = match seeds {
            1 => "One seed.".to_owned(),
            _ => format!("Means over {seeds} seeds, with the standard deviation of a single seed."),
        };
        let seen: String = better
            .iter()
            .map(|(one, other)| {
                format!("- {one} better than {other}? {}.\n", table.duel(one, other, *by))
            })
            .collect();
        let lost = match table.lost_by(adaptive) {
            _ if adaptive.is_empty() => String::new(),
            lost if lost.is_empty() => {
                "- Where it does not win: nowhere in this table.\n".to_owned()
            }
            lost => format!("- Where it does not win: {}.\n", lost.join("; ")),
        };
        format!(
            "# {}\n\n`cargo run --bin experiments -- {} --seeds {seeds}{flags}`\n\n{}\n{spread} The picture shows \
             the first seed. {note}\n\nExpected: {words}\n\n{seen}{lost}",
            self.title,
            command,
            table.markdown(),
        )
    }
}

impl Drawn {
    /// With the names of its axes.
    pub const fn new(x: &'static str, y: &'static str, scale: Scale) -> Self {
        Self { x, y, scale, least: f64::NEG_INFINITY, most: f64::INFINITY }
    }

    /// Values outside this range are drawn at its limits, so that the rest has room.
    pub const fn within(self, least: f64, most: f64) -> Self {
        Self { least, most, ..self }
    }

    fn empty(&self) -> Panel<'_> {
        let titles = Titles { title: "", subtitle: "", x: self.x, y: self.y };
        Panel { titles, scale: self.scale, series: Vec::new() }
    }

    /// A line, up to the first number that is not finite or that the axis cannot show.
    fn line(&self, name: &str, points: Vec<(f64, f64)>) -> Series {
        let has_place =
            |&(_, y): &(f64, f64)| y.is_finite() && (self.scale != Scale::Logarithmic || y > 0.0);
        let points = points.into_iter().take_while(has_place);
        let points = points.map(|(x, y)| (x, y.clamp(self.least, self.most))).collect();
        Series { name: name.to_owned(), points }
    }
}

/// Means over this number of updates, each placed at the last of them.
pub fn smoothed(values: &[f64], window: usize) -> Vec<(f64, f64)> {
    let mean = |(index, values): (usize, &[f64])| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        ((index * window + values.len()) as f64, mean)
    };
    values.chunks(window.max(1)).enumerate().map(mean).collect()
}

/// Writes a file of results, and creates its folder if necessary.
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), ExperimentError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, contents))
        .map_err(|source| ExperimentError::File { path: path.to_owned(), source })
}

impl Report {
    /// With a further file.
    pub fn with_file(mut self, path: PathBuf) -> Self {
        self.files.push(path);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: usize = self.table.rows.iter().map(|row| row.runs.len()).sum();
        writeln!(formatter, "{}", self.text)?;
        writeln!(formatter, "{runs} runs in {:.0} s; written:", self.seconds)?;
        let files: Vec<String> =
            self.files.iter().map(|file| format!("  {}", file.display())).collect();
        formatter.write_str(&files.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_numbers_do() {
        let points = vec![(0.0, 1.0), (1.0, 0.0), (2.0, f64::NAN), (3.0, 1.0)];

        let rate = Drawn::new("", "", Scale::Rate).within(0.0, 0.5);
        assert_eq!(rate.line("", points.clone()).points, [(0.0, 0.5), (1.0, 0.0)]);
        let logarithmic = Drawn::new("", "", Scale::Logarithmic);
        assert_eq!(logarithmic.line("", points).points, [(0.0, 1.0)]);
    }

    #[test]
    fn means_stand_at_the_last_of_their_updates() {
        assert_eq!(smoothed(&[1.0, 3.0, 5.0], 2), [(2.0, 2.0), (3.0, 5.0)]);
        assert_eq!(smoothed(&[], 2), []);
    }
}

//! Several schedules, or ways to train, side by side.

pub mod probe;
pub mod session;
pub mod unfreezing;

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anneal_examples::files;
use anneal_examples::plot::{self, Bar, Scale, Series, Titles};
use anneal_examples::prelude::*;
use anneal_examples::summary::Summary;
use burn_anneal::prelude::Schedule;
use serde::Serialize;

use crate::error::ExperimentError;

pub use probe::LinearProbe;
pub use session::Session;

/// The seeds of a comparison, from `--seed` on.
///
/// # Errors
/// If they do not fit into 64 bits.
pub fn seeds(
    arguments: &Arguments,
    count: NonZeroUsize,
) -> Result<RangeInclusive<u64>, ExperimentError> {
    let (seed, seeds) = (arguments.seed, count.get());
    let last = seed.checked_add(seeds as u64 - 1);
    last.map(|last| seed..=last).ok_or(ExperimentError::SeedTooLarge { seed, seeds })
}

/// The runs of several schedules or methods, and their results.
#[derive(Debug, Clone)]
pub struct Comparison {
    example: String,
    folder: PathBuf,
    subject: Subject,
    contenders: Vec<Contender>,
    pictures: Vec<&'static str>,
}

/// The subject of a [`Comparison`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Schedules, which a picture shows too.
    Schedules,
    /// Ways to train.
    Methods,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Schedules => "schedule",
            Self::Methods => "method",
        }
    }
}

/// One schedule or method and its runs, one for each seed.
#[derive(Debug, Clone)]
struct Contender {
    name: String,
    rates: Schedule,
    reports: Vec<Report>,
}

/// A mean over seeds, and the standard deviation of a single seed's value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; nothing for a single seed.
    pub standard_deviation: Option<f64>,
}

/// One line of the table, as in `comparison.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The name of the schedule or method.
    pub name: String,
    /// The schedule.
    pub rates: String,
    /// Accuracy on the test images after the last epoch, from 0 to 1.
    pub final_accuracy: Spread,
    /// Accuracy after the best epoch. The best epoch is chosen on the test images themselves, so this is optimistic for
    /// every schedule.
    pub best_accuracy: Spread,
    /// Training loss of the last epoch.
    pub final_train_loss: Spread,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
}

impl Comparison {
    /// Starts a comparison in the folder of a group.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn begin(group: &Session, subject: Subject) -> Result<Self, ExperimentError> {
        group.create()?;
        Ok(Self {
            example: group.example().to_owned(),
            folder: group.folder().to_owned(),
            subject,
            contenders: Vec::new(),
            pictures: Vec::new(),
        })
    }

    /// Adds a run of the schedule or method `name`.
    pub fn add(&mut self, name: &str, rates: &Schedule, report: Report) {
        match self.contenders.iter_mut().find(|contender| contender.name == name) {
            Some(contender) => contender.reports.push(report),
            None => self.contenders.push(Contender {
                name: name.to_owned(),
                rates: rates.clone(),
                reports: vec![report],
            }),
        }
    }

    /// Adds an extra picture with this file name.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add_picture(&mut self, name: &'static str, svg: &str) -> Result<(), ExperimentError> {
        self.pictures.push(name);
        Ok(files::write(&self.folder.join(name), svg)?)
    }

    /// Writes the table, the pictures and the summary.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(self) -> Result<Self, ExperimentError> {
        let file = |name: &str| self.folder.join(name);
        files::write_json(&file("comparison.json"), &self.rows())?;
        files::write(&file("accuracies.svg"), &self.picture_of_accuracies())?;
        if self.subject == Subject::Schedules {
            files::write(&file("schedules.svg"), &self.picture_of_rates())?;
        }
        if let Some(summary) = self.summary() {
            summary.save(&self.folder)?;
        }
        Ok(self)
    }

    /// The table, one row for each schedule or method.
    pub fn rows(&self) -> Vec<Row> {
        self.contenders.iter().map(Contender::row).collect()
    }

    /// The summary of the best row: means over its seeds, and the time of all runs together.
    fn summary(&self) -> Option<Summary> {
        let best = self.contenders.iter().max_by(|one, other| {
            let accuracy = |contender: &Contender| contender.row().final_accuracy.mean;
            accuracy(one).total_cmp(&accuracy(other))
        })?;
        let all = self.contenders.iter().flat_map(|contender| &contender.reports);
        Some(Summary {
            example: self.example.clone(),
            seconds: all.map(|report| report.summary.seconds).sum(),
            ms_per_update: best.spread(|report| report.summary.ms_per_update).mean,
            test_accuracy: best.spread(|report| report.summary.test_accuracy).mean,
            final_train_loss: best.spread(|report| report.summary.final_train_loss).mean,
            ..best.reports.first()?.summary.clone()
        })
    }

    fn picture_of_accuracies(&self) -> String {
        match self.subject {
            Subject::Schedules => {
                let titles = Titles {
                    title: "Test accuracy under each schedule",
                    subtitle: "",
                    x: "epoch",
                    y: "test accuracy",
                };
                plot::comparison(titles, Scale::Percent, &self.series(Contender::accuracies))
            }
            Subject::Methods => {
                let bars: Vec<Bar> = self.contenders.iter().map(Contender::bar).collect();
                let titles = Titles {
                    title: "Test accuracy of each method",
                    subtitle: match bars.iter().all(|bar| bar.deviation.is_some()) {
                        true => "mean over the seeds, with the standard deviation of a single seed",
                        false => "",
                    },
                    x: "",
                    y: "test accuracy",
                };
                plot::bars(titles, &bars)
            }
        }
    }

    fn picture_of_rates(&self) -> String {
        let titles =
            Titles { title: "The schedules", subtitle: "", x: "update", y: "learning rate" };
        plot::comparison(titles, Scale::Rate, &self.series(Contender::rate_points))
    }

    fn series(&self, points: impl Fn(&Contender) -> Vec<(f64, f64)>) -> Vec<Series> {
        let series =
            |contender| Series { name: Contender::name(contender), points: points(contender) };
        self.contenders.iter().map(series).collect()
    }
}

impl Contender {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn bar(&self) -> Bar {
        let accuracy = self.row().final_accuracy;
        Bar { name: self.name(), height: accuracy.mean, deviation: accuracy.standard_deviation }
    }

    fn row(&self) -> Row {
        Row {
            name: self.name.clone(),
            rates: self.rates.to_string(),
            final_accuracy: self.spread(|report| report.summary.test_accuracy),
            best_accuracy: self.spread(|report| report.history.best_accuracy()),
            final_train_loss: self.spread(|report| report.summary.final_train_loss),
            seeds: self.reports.iter().map(|report| report.summary.seed).collect(),
        }
    }

    fn spread(&self, value: impl Fn(&Report) -> f64) -> Spread {
        Spread::of(&self.reports.iter().map(value).collect::<Vec<_>>())
    }

    /// Accuracy after each epoch, as a mean over the seeds.
    fn accuracies(&self) -> Vec<(f64, f64)> {
        let epochs = self.reports.iter().map(|report| report.history.epochs.len()).min();
        (0..epochs.unwrap_or(0))
            .map(|index| {
                let spread = self.spread(|report| report.history.epochs[index].valid_accuracy);
                ((index + 1) as f64, spread.mean)
            })
            .collect()
    }

    fn rate_points(&self) -> Vec<(f64, f64)> {
        let updates = self.reports.first().map_or(0, |report| report.summary.updates);
        plot::rate_points(|step| self.rates.rate(step), updates)
    }
}

impl Spread {
    /// Mean and sample standard deviation of some values.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Self { mean, standard_deviation }
    }

    fn percent(self) -> String {
        let mean = 100.0 * self.mean;
        match self.standard_deviation {
            Some(deviation) => format!("{mean:.2} ± {:.2} %", 100.0 * deviation),
            None => format!("{mean:.2} %"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:20}  {:>16}  {:>16}  {:>16}",
            self.subject.name(),
            "final accuracy",
            "best accuracy",
            "final train loss"
        )?;
        for row in self.rows() {
            writeln!(
                formatter,
                "{:20}  {:>16}  {:>16}  {:>16.4}",
                row.name,
                row.final_accuracy.percent(),
                row.best_accuracy.percent(),
                row.final_train_loss.mean
            )?;
        }
        let subject = self.subject.name();
        let own = match self.subject {
            Subject::Schedules => "accuracies.svg, schedules.svg",
            Subject::Methods => "accuracies.svg",
        };
        let pictures = [own].iter().chain(&self.pictures).copied().collect::<Vec<_>>().join(", ");
        write!(
            formatter,
            "\nsaved in    {}\n\
             \x20 table     comparison.json, summary.json (of the best {subject})\n\
             \x20 pictures  {pictures}\n\
             \x20 runs      <{subject}>/seed-<n>/",
            self.folder.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_over_seeds() {
        let spread = Spread::of(&[0.5, 0.52, 0.54]);
        assert!((spread.mean - 0.52).abs() < 1e-12);
        assert!((spread.standard_deviation.unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(spread.percent(), "52.00 ± 2.00 %");

        assert_eq!(Spread::of(&[0.5]).percent(), "50.00 %");
    }
}

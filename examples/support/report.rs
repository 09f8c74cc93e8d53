//! The report at the end of an example.

use std::fmt;
use std::path::PathBuf;

use crate::backend::SelectedDevice;
use crate::history::History;
use crate::summary::Summary;

/// The files that a run may save in its folder.
const FILES: [(&str, &[&str]); 5] = [
    ("model", &["model.bpk"]),
    ("picture", &["schedule.svg"]),
    ("numbers", &["summary.json", "history.json"]),
    ("logs", &["train", "valid", "experiment.log"]),
    ("checkpoints", &["checkpoint"]),
];

/// The outcome of a run and where its files are.
#[derive(Debug, Clone)]
pub struct Report {
    /// The numbers.
    pub summary: Summary,
    /// The epochs.
    pub history: History,
    /// Number of test images.
    pub test_images: usize,
    /// The device used.
    pub device: SelectedDevice,
    /// The epoch after which this process resumed an interrupted run.
    pub resumed_from: Option<usize>,
    /// The run's folder.
    pub folder: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        writeln!(
            formatter,
            "test accuracy   {:.2} % of {} images",
            100.0 * summary.test_accuracy,
            self.test_images
        )?;
        write!(
            formatter,
            "training time   {}, {:.1} ms per update, on {}",
            duration(summary.seconds),
            summary.ms_per_update,
            self.device
        )?;
        if let Some(epoch) = self.resumed_from {
            write!(formatter, ", resumed after epoch {epoch}")?;
        }
        writeln!(
            formatter,
            "\nlearning rate   {:.3e} first, {:.3e} peak, {:.3e} last, over {} updates",
            summary.rate_first, summary.rate_peak, summary.rate_last, summary.updates
        )?;
        write!(formatter, "saved in        {}", self.folder.display())?;
        for (what, names) in FILES {
            let saved: Vec<&str> = names.iter().copied().filter(|name| self.saved(name)).collect();
            if !saved.is_empty() {
                write!(formatter, "\n  {what:13} {}", saved.join(", "))?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn saved(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }
}

/// Formats seconds for a person.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(94.0), "1 min 34 s");
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }
}

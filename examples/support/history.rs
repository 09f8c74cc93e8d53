//! The results of each epoch: `history.json`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ExampleError;
use crate::files;

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean training loss over the epoch's batches, while the parameters changed.
    #[serde(deserialize_with = "files::number_or_null")]
    pub train_loss: f64,
    /// Loss on the test images after the epoch, without label smoothing.
    #[serde(deserialize_with = "files::number_or_null")]
    pub valid_loss: f64,
    /// Share of the test images classified correctly after the epoch, from 0 to 1.
    pub valid_accuracy: f64,
    /// Learning rate of the epoch's last update.
    pub rate: f64,
    /// Number of updates.
    pub updates: u64,
    /// Time of the updates, without testing and saving.
    pub seconds: f64,
}

impl fmt::Display for EpochRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "train loss {:.4}   valid loss {:.4}   valid accuracy {:5.2} %   rate {:.3e}   {:.1} ms/update",
            self.train_loss,
            self.valid_loss,
            100.0 * self.valid_accuracy,
            self.rate,
            1e3 * self.seconds / self.updates.max(1) as f64,
        )
    }
}

/// All epochs of a run so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// The epochs, in order.
    pub epochs: Vec<EpochRecord>,
}

impl History {
    /// Loads the history from a run's folder, up to and including epoch `last`.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or lacks an epoch.
    pub fn load(folder: &Path, last: usize) -> Result<Self, ExampleError> {
        let mut history: Self = files::read_json(&Self::path(folder))?;
        history.epochs.retain(|record| record.epoch <= last);
        match (1..=last).find(|&epoch| history.epochs.iter().all(|record| record.epoch != epoch)) {
            None => Ok(history),
            Some(epoch) => Err(ExampleError::MissingEpoch { path: Self::path(folder), epoch }),
        }
    }

    /// Writes the history to the run's folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ExampleError> {
        files::write_json(&Self::path(folder), self)
    }

    /// The best accuracy of any epoch.
    pub fn best_accuracy(&self) -> f64 {
        self.epochs.iter().map(|record| record.valid_accuracy).fold(0.0, f64::max)
    }

    /// Time of all updates, in seconds.
    pub fn seconds(&self) -> f64 {
        self.epochs.iter().map(|record| record.seconds).sum()
    }

    /// Number of all updates.
    pub fn updates(&self) -> u64 {
        self.epochs.iter().map(|record| record.updates).sum()
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("history.json")
    }
}

/// A metric of each update from Burn's logs: the values of each epoch of a history.
///
/// For an epoch resumed in its middle, Burn keeps only the rest.
///
/// # Errors
/// If a log cannot be read.
pub fn logged(
    folder: &Path,
    history: &History,
    metric: &str,
) -> Result<Vec<Vec<f64>>, ExampleError> {
    let file = format!("{}.log", metric.replace(' ', "_"));
    let of_epoch = |record: &EpochRecord| {
        let log = folder.join(format!("train/epoch-{}/{file}", record.epoch));
        let text = fs::read_to_string(&log).map_err(|source| ExampleError::file(&log, source))?;
        // One line per update with the value and a count, and one line for the whole epoch.
        let updates = text.lines().filter(|line| !line.ends_with("final"));
        Ok(updates.filter_map(|line| line.split(',').next()?.parse().ok()).collect())
    };
    history.epochs.iter().map(of_epoch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_is_of_the_updates_and_not_of_the_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let record = |epoch| EpochRecord { epoch, updates: 2, ..EpochRecord::default() };
        let history = History { epochs: (1..=2).map(record).collect() };
        for (epoch, lines) in [(1, "3.5,1\n2.5,1\n3,final\n"), (2, "1.5,1\n0.5,1\n1,final\n")] {
            let log = folder.path().join(format!("train/epoch-{epoch}"));
            fs::create_dir_all(&log).unwrap();
            fs::write(log.join("Norm_weights.log"), lines).unwrap();
        }
        let found = logged(folder.path(), &history, "Norm weights").unwrap();
        assert_eq!(found, [[3.5, 2.5], [1.5, 0.5]]);
        let missing = logged(folder.path(), &history, "Norm heads").unwrap_err().to_string();
        assert!(missing.contains("Norm_heads.log"), "{missing}");
    }
}

//! `summary.json`: the outcome of a run, for programs to read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ExampleError;
use crate::files;

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the example.
    pub example: String,
    /// Dataset and its source, for example `cifar10 sample`.
    pub dataset: String,
    /// Backend, for example `flex`.
    pub backend: String,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Updates of the whole run.
    pub updates: u64,
    /// Time of the updates, without testing and saving after each epoch.
    pub seconds: f64,
    /// Mean time of an update.
    pub ms_per_update: f64,
    /// Share of the test images that the trained network classifies correctly, from 0 to 1.
    pub test_accuracy: f64,
    /// Mean training loss of the last epoch.
    #[serde(deserialize_with = "files::number_or_null")]
    pub final_train_loss: f64,
    /// Learning rate of the first update.
    pub rate_first: f64,
    /// Largest learning rate of any update.
    pub rate_peak: f64,
    /// Learning rate of the last update.
    pub rate_last: f64,
    /// Seed of the parameters, the shuffles and the augmentation.
    pub seed: u64,
}

impl Summary {
    /// Name of the file in a run's folder.
    pub const FILE: &'static str = "summary.json";

    /// Reads the summary of a finished run.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn load(folder: &Path) -> Result<Self, ExampleError> {
        files::read_json(&folder.join(Self::FILE))
    }

    /// Writes the summary into a run's folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ExampleError> {
        files::write_json(&folder.join(Self::FILE), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_survives_its_file_and_holds_exactly_the_documented_fields() {
        let folder = tempfile::tempdir().unwrap();
        let summary = Summary {
            example: "cifar_cosine".to_owned(),
            dataset: "cifar10 sample".to_owned(),
            backend: "flex".to_owned(),
            epochs: 20,
            updates: 640,
            seconds: 60.5,
            ms_per_update: 71.25,
            test_accuracy: 0.55,
            final_train_loss: 1.1,
            rate_first: 6e-5,
            rate_peak: 4e-3,
            rate_last: 1.9e-8,
            seed: 0,
        };

        summary.save(folder.path()).unwrap();

        assert_eq!(Summary::load(folder.path()).unwrap(), summary);
        let json: serde_json::Map<String, serde_json::Value> =
            files::read_json(&folder.path().join(Summary::FILE)).unwrap();
        let mut fields: Vec<&str> = json.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "backend",
                "dataset",
                "epochs",
                "example",
                "final_train_loss",
                "ms_per_update",
                "rate_first",
                "rate_last",
                "rate_peak",
                "seconds",
                "seed",
                "test_accuracy",
                "updates",
            ]
        );
    }
}

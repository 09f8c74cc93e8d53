//! The settings of a run, so that `--resume` continues with the same batches.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::arguments::Arguments;
use crate::data::Dataset;
use crate::error::ExampleError;
use crate::files;

/// Everything that determines the batches of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    example: String,
    dataset: String,
    data: String,
    limit: Option<usize>,
    batch_size: usize,
    seed: u64,
    /// What only some examples have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    others: BTreeMap<String, String>,
}

impl Settings {
    /// Name of the file in a run's folder.
    pub(crate) const FILE: &'static str = "settings.json";

    /// The settings of a run of `example`.
    pub fn new(example: &str, dataset: Dataset, arguments: &Arguments) -> Self {
        Self {
            example: example.to_owned(),
            dataset: dataset.to_string(),
            data: arguments.data.to_string(),
            limit: arguments.limit.map(|limit| limit.get()),
            batch_size: arguments.batch_size.get(),
            seed: arguments.seed,
            others: BTreeMap::new(),
        }
    }

    /// The same settings with the value of a flag that only this example has.
    pub(crate) fn with_flag(mut self, flag: &str, value: impl ToString) -> Self {
        self.others.insert(flag.to_owned(), value.to_string());
        self
    }

    /// The same settings with another seed.
    pub(crate) fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Name of the example.
    pub fn example(&self) -> &str {
        &self.example
    }

    /// The `--limit` of the run in a folder, which a resumed run keeps.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn limit_in(folder: &Path) -> Result<Option<NonZeroUsize>, ExampleError> {
        let started: Self = files::read_json(&folder.join(Self::FILE))?;
        Ok(started.limit.and_then(NonZeroUsize::new))
    }

    /// Whether a folder holds a run.
    pub(crate) fn exist_in(folder: &Path) -> bool {
        folder.join(Self::FILE).exists()
    }

    /// Writes the settings into a run's folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ExampleError> {
        files::write_json(&folder.join(Self::FILE), self)
    }

    /// Checks that the run in a folder was started with these settings, except for flags that only some examples have.
    /// Settings that change the updates per epoch may differ if `may_differ`.
    ///
    /// # Errors
    /// The first flag that differs, with both values.
    pub fn check_against(&self, folder: &Path, may_differ: bool) -> Result<(), ExampleError> {
        let started: Self = files::read_json(&folder.join(Self::FILE))?;
        let differs = |flag: &str, given: &dyn ToString, started: &dyn ToString| {
            Err(ExampleError::other_settings(folder, flag, given, started))
        };
        let limit = |settings: &Self| settings.limit.map_or("none".to_owned(), |n| n.to_string());
        if self.example != started.example {
            return differs("the example", &self.example, &started.example);
        }
        if self.dataset != started.dataset {
            return differs("the dataset", &self.dataset, &started.dataset);
        }
        if self.data != started.data {
            return differs("--data", &self.data, &started.data);
        }
        if self.limit != started.limit && !may_differ {
            return differs("--limit", &limit(self), &limit(&started));
        }
        if self.batch_size != started.batch_size && !may_differ {
            return differs("--batch-size", &self.batch_size, &started.batch_size);
        }
        if self.seed != started.seed {
            return differs("--seed", &self.seed, &started.seed);
        }
        Ok(())
    }

    /// Checks that the run in a folder was started with the same values of flags that only some examples have.
    ///
    /// # Errors
    /// The first flag that differs, with both values.
    pub(crate) fn check_flags_against(&self, folder: &Path) -> Result<(), ExampleError> {
        let started: Self = files::read_json(&folder.join(Self::FILE))?;
        let value = |settings: &Self, flag: &str| {
            settings.others.get(flag).map_or("nothing".to_owned(), String::clone)
        };
        for flag in self.others.keys().chain(started.others.keys()) {
            let (given, started) = (value(self, flag), value(&started, flag));
            if given != started {
                return Err(ExampleError::other_settings(folder, flag, &given, &started));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            example: "cifar_cosine".to_owned(),
            dataset: "cifar10".to_owned(),
            data: "sample".to_owned(),
            limit: None,
            batch_size: 64,
            seed: 0,
            others: BTreeMap::new(),
        }
    }

    #[test]
    fn the_same_settings_go_on() {
        let folder = tempfile::tempdir().unwrap();
        settings().save(folder.path()).unwrap();

        settings().check_against(folder.path(), false).unwrap();
    }

    #[test]
    fn other_settings_are_named_with_both_values() {
        let folder = tempfile::tempdir().unwrap();
        settings().save(folder.path()).unwrap();

        let others = [
            (Settings { seed: 7, ..settings() }, "--seed is 7"),
            (Settings { batch_size: 32, ..settings() }, "--batch-size is 32"),
            (Settings { limit: Some(9), ..settings() }, "--limit is 9"),
            (Settings { data: "full".to_owned(), ..settings() }, "--data is full"),
            (Settings { example: "mine".to_owned(), ..settings() }, "the example is mine"),
        ];
        for (other, words) in others {
            let message = other.check_against(folder.path(), false).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_flag_of_the_example_that_differs_or_is_left_out_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let started = settings().with_flag("--weights", "a file");
        started.save(folder.path()).unwrap();

        started.check_flags_against(folder.path()).unwrap();
        for (other, words) in [
            (settings(), "--weights is nothing, but"),
            (settings().with_flag("--weights", "another"), "--weights is another, but"),
        ] {
            let message = other.check_flags_against(folder.path()).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("with a file"), "{message}");
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(Settings::FILE), "{\"seed\": 1").unwrap();

        let error = settings().check_against(folder.path(), false).unwrap_err();

        assert!(error.to_string().contains(Settings::FILE));
    }
}

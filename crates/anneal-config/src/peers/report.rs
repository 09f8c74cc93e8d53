//! What a translation says beside the training itself.

use super::Untranslated;
use crate::{GradientReduction, TrainingConfig};
use anneal_schedule::peers::{Arguments, PeerError};
use serde_json::Value;

/// Collects what the translation of a configuration says.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) notes: Vec<String>,
    pub(super) untranslated: Vec<Untranslated>,
    pub(super) unrelated: Vec<String>,
}

/// The settings of a configuration that are not read.
pub(super) struct Unread {
    /// Settings that do not concern the training; a name that ends in `*` stands for all that begin so.
    pub(super) unrelated: &'static [&'static str],
    /// Settings without a counterpart, with the reason.
    pub(super) without: &'static [(&'static str, &'static str)],
}

impl Report {
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The items of a batch.
    pub(super) fn batches(&mut self, items: u64) {
        self.note(format!("batches of {items} items per device: set it in your data loader"));
    }

    /// Updates of several batches, whose mean the peer takes.
    pub(super) fn accumulation(&mut self, batches: u64, training: &mut TrainingConfig) {
        if batches > 1 {
            training.gradient_reduction = GradientReduction::Mean;
            self.note(format!(
                "accumulation: call training.grads_accumulation({batches}), and \
                 RunLength::…gradient_accumulation({batches}) if you give the length of the run"
            ));
        }
    }

    /// A setting without a counterpart.
    pub(super) fn without(&mut self, setting: impl Into<String>, reason: impl Into<String>) {
        self.untranslated.push(Untranslated { setting: setting.into(), reason: reason.into() });
    }

    /// Reads the settings of `name` with `read`, and lists those that it did not ask for, with the reason.
    pub(super) fn read<T, E: From<PeerError>>(
        &mut self,
        name: &str,
        given: &Value,
        known: &Unread,
        read: impl FnOnce(&Arguments<'_>, &mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let (result, unread, asked) =
            Arguments::read_some(name, given, |arguments| read(arguments, self))?;
        self.sort(given, &unread, &asked, known);
        Ok(result)
    }

    fn sort(&mut self, given: &Value, unread: &[&str], read: &[&'static str], known: &Unread) {
        for &setting in unread {
            let reason = known.without.iter().find(|without| without.0 == setting);
            if let Some((_, reason)) = reason {
                if has_effect(&given[setting]) {
                    self.without(setting, *reason);
                }
            } else if known.unrelated.iter().any(|name| is_meant(name, setting)) {
                self.unrelated.push(setting.to_string());
            } else {
                let names = read
                    .iter()
                    .chain(known.unrelated)
                    .chain(known.without.iter().map(|one| &one.0));
                let near = nearest(setting, names.copied().filter(|name| !name.ends_with('*')));
                self.without(setting, format!("an unknown setting{near}"));
            }
        }
    }
}

fn is_meant(name: &str, setting: &str) -> bool {
    name.strip_suffix('*').map_or(name == setting, |beginning| setting.starts_with(beginning))
}

/// Whether a setting is on: not null, false, 0 or empty.
pub(super) fn has_effect(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "no" | "none" | "None"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// `; did you mean …?` with the known name nearest to `name`, or nothing if none is near.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let similar = known.into_iter().map(|known| (strsim::jaro_winkler(name, known), known));
    let near = similar.filter(|one| one.0 > 0.8).max_by(|one, other| one.0.total_cmp(&other.0));
    near.map_or(String::new(), |(_, known)| format!("; did you mean `{known}`?"))
}

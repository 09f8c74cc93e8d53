//! A list of every public curve and combinator.

mod combinators;
mod curves;

use crate::{ScheduleConfig, names};
use thiserror::Error;

/// A curve or combinator of the text form: its name, its arguments, and an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The name of its call in the text form and in Rust.
    pub name: &'static str,
    /// The name of its table in a file.
    pub table: &'static str,
    /// Whether it starts a schedule or changes one.
    pub kind: Kind,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The rate of update t.
    pub formula: &'static str,
    /// Its arguments: first those of its call, in order, then those with calls of their own.
    pub arguments: &'static [Argument],
    /// Its names in other libraries.
    pub elsewhere: &'static [&'static str],
    /// An example in the text form.
    pub example: &'static str,
    /// The same in Rust.
    pub rust: &'static str,
    build: fn() -> ScheduleConfig,
}

impl Entry {
    /// The [`example`](Self::example) as a description.
    pub fn config(&self) -> ScheduleConfig {
        (self.build)()
    }
}

/// The kind of an [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A curve: it starts a schedule.
    Curve,
    /// A combinator: it makes a schedule from one or more.
    Combinator,
}

/// An argument of an [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Argument {
    /// Its name: used by position, as a call, or as a key in a file.
    pub name: &'static str,
    /// Its unit or type: `rate`, `rate or share` (of the peak, `10%`), `length`, `number`, `count`, `flag`, or the allowed words.
    pub unit: &'static str,
    /// The default; `None` if the argument is required.
    pub default: Option<&'static str>,
    /// Its meaning, in one line.
    pub meaning: &'static str,
}

/// A required argument.
const fn needed(name: &'static str, unit: &'static str, meaning: &'static str) -> Argument {
    Argument { name, unit, default: None, meaning }
}

/// An optional argument.
const fn optional(
    name: &'static str,
    unit: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Argument {
    Argument { name, unit, default: Some(default), meaning }
}

const RATE: &str = "rate";
const LEVEL: &str = "rate or share";
const LENGTH: &str = "length";
const NUMBER: &str = "number";
const COUNT: &str = "count";
const FLAG: &str = "flag";

/// Defines entries, each with its example as a text and as the equivalent Rust.
macro_rules! entries {
    ($list:ident, $kind:ident: $(
        $name:ident $(in $table:ident)?, $summary:literal, $formula:literal,
        [$($argument:expr),* $(,)?], [$($elsewhere:literal),* $(,)?],
        $example:literal = $rust:expr;
    )*) => {
        pub(super) const $list: &[$crate::Entry] = &[$(
            $crate::Entry {
                name: stringify!($name),
                table: entries!(@table $name $($table)?),
                kind: $crate::Kind::$kind,
                summary: $summary,
                formula: $formula,
                arguments: &[$($argument),*],
                elsewhere: &[$($elsewhere),*],
                example: $example,
                rust: stringify!($rust),
                build: || $rust.into(),
            }
        ),*];
    };
    (@table $name:ident) => { stringify!($name) };
    (@table $name:ident $table:ident) => { stringify!($table) };
}
use entries;

/// All curves and combinators that a text or a file can hold: curves first, common ones before rare ones in
/// each group. It omits [`custom`](crate::custom), which is code.
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::{Kind, catalogue};
/// let cosine = catalogue().iter().find(|entry| entry.name == "cosine").unwrap();
/// assert_eq!(cosine.kind, Kind::Curve);
/// assert_eq!(cosine.arguments[1].name, "end");
/// assert_eq!(cosine.example.parse(), Ok(cosine.config()));
/// # Ok::<(), TextError>(())
/// ```
pub fn catalogue() -> &'static [Entry] {
    static ALL: std::sync::LazyLock<Vec<Entry>> =
        std::sync::LazyLock::new(|| [curves::CURVES, combinators::COMBINATORS].concat());
    &ALL
}

/// An unknown name of a curve or combinator, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct UnknownEntry(String);

/// Returns the entry with this name in the text form, or with this table name in a file.
///
/// # Errors
/// [`UnknownEntry`] suggests what to write instead: the name here of another library's name, or the nearest
/// name.
pub fn find_entry(name: &str) -> Result<&'static Entry, UnknownEntry> {
    let name = if name == "wsd" { "warmup_stable_decay" } else { name };
    let named = |entry: &&Entry| entry.name == name;
    let in_file = |entry: &&Entry| entry.table == name;
    let found = catalogue().iter().find(named).or_else(|| catalogue().iter().find(in_file));
    found.ok_or_else(|| {
        let known: Vec<&str> = catalogue().iter().map(|entry| entry.name).collect();
        UnknownEntry(names::unknown_curve(name, &known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{FUNCTIONS, METHODS};
    use crate::{RunLength, ScheduleExt, suggest};
    use serde_json::{Value, json};

    /// Entries that only translations write.
    const INTERNAL: [&str; 13] = [
        "custom",
        "torch_chain",
        "fastai_annealer",
        "fastai_combined_cos",
        "optax_cosine",
        "optax_join",
        "keras_restarts",
        "peer_growth",
        "timm_cycles",
        "timm_step",
        "timm_wsd",
        "transformers_decay",
        "peer",
    ];

    #[test]
    fn every_public_curve_and_combinator_is_listed() {
        for (name, _) in
            FUNCTIONS.iter().chain(METHODS).filter(|known| !INTERNAL.contains(&known.0))
        {
            assert!(catalogue().iter().any(|entry| entry.table == *name), "{name}");
        }
        assert!(catalogue().iter().all(|entry| !INTERNAL.contains(&entry.table)));
    }

    #[test]
    fn examples_are_the_same_in_text_and_in_rust_and_resolve() {
        let run = RunLength::from_items(1_000, 100).epochs(10);
        for entry in catalogue() {
            assert_eq!(entry.example.parse(), Ok(entry.config()), "{}", entry.name);
            assert!(entry.example.contains(&format!("{}(", entry.name)), "{}", entry.name);
            let schedule =
                entry.config().resolve(run).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            assert_eq!(schedule.length(), Some(100));
        }
    }

    /// The fields of the outermost table of a description.
    fn fields(entry: &Entry) -> serde_json::Map<String, Value> {
        let json = serde_json::to_value(entry.config()).unwrap();
        json[entry.table].as_object().unwrap_or_else(|| panic!("{}", entry.name)).clone()
    }

    #[test]
    fn arguments_are_those_of_the_file_format() {
        for entry in catalogue().iter().filter(|entry| entry.name != "warmup_stable_decay") {
            let wrong = json!({ entry.table: { "?": 0 } });
            let error = serde_json::from_value::<ScheduleConfig>(wrong).unwrap_err().to_string();
            // The schedule before a call is not an argument of it.
            let known: Vec<&str> = suggest::candidates(error.split(';').next().unwrap())
                .into_iter()
                .filter(|field| *field != "schedule")
                .collect();
            let listed: Vec<&str> = entry.arguments.iter().map(|argument| argument.name).collect();
            if entry.name == entry.table {
                assert_eq!(sorted(listed), sorted(known), "{}", entry.name);
            } else {
                assert!(listed.iter().all(|name| known.contains(name)), "{}: {error}", entry.name);
            }
        }
    }

    fn sorted(mut names: Vec<&str>) -> Vec<&str> {
        names.sort_unstable();
        names
    }

    #[test]
    fn defaults_are_what_a_file_without_the_field_means() {
        for entry in catalogue().iter().filter(|entry| entry.name == entry.table) {
            for argument in entry.arguments {
                let mut without = fields(entry);
                without.remove(argument.name);
                let read =
                    serde_json::from_value::<ScheduleConfig>(json!({ entry.table: without }));
                let place = format!("{}.{}", entry.name, argument.name);
                assert_eq!(read.is_ok(), argument.default.is_some(), "{place}");
                let (Ok(read), Some(default)) = (read, argument.default) else { continue };
                match &serde_json::to_value(read).unwrap()[entry.table][argument.name] {
                    Value::Number(number) => {
                        assert_eq!(number.as_f64(), default.parse().ok(), "{place}");
                    }
                    Value::String(word) => assert_eq!(word, default, "{place}"),
                    Value::Bool(flag) => assert_eq!(flag.to_string(), default, "{place}"),
                    // Computed, or absent.
                    other => assert!(other.is_null(), "{place}: {other}"),
                }
            }
        }
    }

    #[test]
    fn an_entry_is_found_by_its_name_its_table_and_explained_by_another() {
        assert_eq!(find_entry("linear").unwrap().table, "polynomial");
        assert_eq!(find_entry("repeat").unwrap().name, "repeat_every");
        assert_eq!(find_entry("wsd").unwrap().name, "warmup_stable_decay");
        assert!(find_entry("cosin").unwrap_err().to_string().contains("did you mean `cosine`?"));
        let other = find_entry("CosineAnnealingWarmRestarts").unwrap_err().to_string();
        assert!(other.ends_with("write warm_restarts here"), "{other}");
        assert!(!find_entry("zzz").unwrap_err().to_string().contains("torch_chain"));
    }
}

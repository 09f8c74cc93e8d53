//! The source text of a description, and the positions of its fields.

use crate::FileError;
use crate::file::{VERSION, from_json, from_toml, parse_error, read};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::fmt::{self, Display};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The text of a TOML or JSON file, kept so that later errors can give the position of their field.
///
/// A wrong key is found while the file is read. A value out of range is found only when the length of the run
/// is known; that error has the path of the field, and this type finds its line and column.
///
/// ```
/// use anneal_schedule::Source;
/// let source = Source::toml("recipe.toml", "[schedule.cosine]\npeak = -1.0\n");
/// assert_eq!(source.locate("schedule.cosine.peak"), (2, 8));
/// let error = source.error("schedule.cosine.peak", "too small");
/// assert_eq!(error.to_string(), "recipe.toml:2:8: too small");
/// ```
#[derive(Clone)]
pub struct Source {
    origin: String,
    text: String,
    format: Format,
}

/// The format of a text.
#[derive(Clone, Copy, Debug)]
enum Format {
    Toml,
    Json,
}

impl Source {
    /// The text of a `.toml` or `.json` file.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read, is not UTF-8, or has another extension.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Format::Toml,
            Some("json") => Format::Json,
            _ => return Err(FileError::UnknownExtension { path: path.into() }),
        };
        let origin = path.display().to_string();
        let bytes = read(path).map_err(|error| FileError::Read { path: path.into(), error })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            parse_error(&origin, &String::from_utf8_lossy(valid), "the text is not UTF-8".into())
        })?;
        Ok(Self { origin, text, format })
    }

    /// A TOML text; errors name `origin` as the file.
    pub fn toml(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), text: text.into(), format: Format::Toml }
    }

    /// A JSON text; errors name `origin` as the file.
    pub fn json(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), text: text.into(), format: Format::Json }
    }

    /// The name of the file in errors: its path.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads any description.
    ///
    /// # Errors
    /// [`FileError`] with file, line and column; for an unknown field it suggests the nearest known one, if
    /// the type denies unknown fields.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        match self.format {
            Format::Toml => from_toml(&self.text, &self.origin),
            Format::Json => from_json(&self.text, &self.origin),
        }
    }

    /// Reads a description with a `version`, which is checked first: keys of a newer version are unknown here.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`FileError::Version`].
    pub fn parse_versioned<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if let Ok(Head { version }) = self.parse() {
            self.check_version(version)?;
        }
        self.parse()
    }

    /// Checks the version of a part of the file.
    ///
    /// # Errors
    /// [`FileError::Version`].
    pub fn check_version(&self, found: u32) -> Result<(), FileError> {
        match (1..=VERSION).contains(&found) {
            true => Ok(()),
            false => Err(FileError::Version { origin: self.origin.clone(), found }),
        }
    }

    /// Line and column, counted from 1, of a field such as `schedule.warmup.schedule.cosine.peak` or
    /// `schedule.product.schedules[0].cosine.peak`.
    ///
    /// This is the start of the value, or of the table's name. A missing field has the position of the
    /// innermost table around it; a field inside a text has the position of the text.
    pub fn locate(&self, field: &str) -> (usize, usize) {
        let byte = match self.format {
            Format::Toml => in_toml(&self.text, field),
            Format::Json => in_json(&self.text, field),
        };
        position(&self.text[..byte])
    }

    /// An error about a field, at its position.
    pub fn error(&self, field: &str, message: impl Display) -> FileError {
        let (line, column) = self.locate(field);
        FileError::Parse { origin: self.origin.clone(), line, column, message: message.to_string() }
    }
}

/// Without the text.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Line and column, counted from 1, after the text `before`.
pub(crate) fn position(before: &str) -> (usize, usize) {
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The byte offset of the field `path` in a TOML text.
fn in_toml(text: &str, mut path: &str) -> usize {
    let Ok(table) = DeTable::parse(text) else { return 0 };
    let root = DeValue::Table(table.into_inner());
    let (mut value, mut byte) = (&root, 0);
    loop {
        let found = match value {
            DeValue::Table(table) => table
                .iter()
                .filter_map(|(key, value)| Some((key, value, behind_key(path, key.get_ref())?)))
                // Prefer the longer name of `a` and `a.b`.
                .max_by_key(|(key, ..)| key.get_ref().len())
                .map(|(key, value, rest)| {
                    let named = if value.get_ref().is_table() { key.span() } else { value.span() };
                    (named.start, value, rest)
                }),
            DeValue::Array(values) => behind_index(path).and_then(|(index, rest)| {
                let value = values.get(index)?;
                Some((value.span().start, value, rest))
            }),
            _ => None,
        };
        let Some((start, inner, rest)) = found else { return byte };
        (value, byte, path) = (inner.get_ref(), start, rest);
    }
}

/// The byte offset of the field `path` in a JSON text.
fn in_json(text: &str, mut path: &str) -> usize {
    let mut byte = text.len() - text.trim_start_matches('\u{feff}').trim_start().len();
    loop {
        let inside = json_entries(&text[byte..]);
        let found = match behind_index(path) {
            Some((index, rest)) => inside.get(index).map(|(_, start)| (*start, rest)),
            None => inside
                .iter()
                .filter_map(|(key, start)| Some((key.len(), *start, behind_key(path, key)?)))
                .max_by_key(|(length, ..)| *length)
                .map(|(_, start, rest)| (start, rest)),
        };
        let Some((start, rest)) = found else { return byte };
        (byte, path) = (byte + start, rest);
    }
}

/// The entries of the JSON object or array at the start of `text`: the key of each value, empty in an array,
/// and the byte offset of the value.
fn json_entries(text: &str) -> Vec<(String, usize)> {
    let mut entries = vec![];
    let is_object = text.starts_with('{');
    let mut at = 1;
    while text.starts_with(['{', '[']) {
        at = after_space(text, at, &[',']);
        let key = match is_object {
            true => json_value::<String>(&text[at..]),
            false => Some((String::new(), 0)),
        };
        let Some((key, length)) = key else { break };
        let value = after_space(text, at + length, &[':']);
        let Some((IgnoredAny, length)) = json_value(&text[value..]) else { break };
        entries.push((key, value));
        at = value + length;
    }
    entries
}

/// The first byte offset from `at` on that is neither white space nor one of `signs`.
fn after_space(text: &str, at: usize, signs: &[char]) -> usize {
    let rest = text[at..].trim_start_matches(|c: char| c.is_whitespace() || signs.contains(&c));
    text.len() - rest.len()
}

/// The JSON value at the start of a text, and its length in bytes.
fn json_value<T: DeserializeOwned>(text: &str) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

/// The rest of a path that starts with `key`, or with the name that errors give it.
fn behind_key<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let in_errors = if key == "polynomial" { "linear" } else { key };
    let rest = path.strip_prefix(key).or_else(|| path.strip_prefix(in_errors))?;
    match rest.chars().next() {
        Some('.') => Some(&rest[1..]),
        Some('[') | None => Some(rest),
        _ => None,
    }
}

/// The index at the start of a path, as in `[2].cosine`, and the rest.
fn behind_index(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    const TOML: &str = r#"version = 1

[schedule.warmup]
length = "5%"
[schedule.warmup.schedule.product]
schedules = [
  { cosine = { peak = -1.0 } },
  { linear_ = 3 },
]
[groups."a.b"]
rate = "cosine(-1)"
[[parts]]
length = 3
[[parts]]
  length = 4
"#;

    const JSON: &str = r#"{
  "schedule": {
    "warmup": { "length": "5%", "schedule": { "product": { "schedules": [
      { "cosine": { "peak": -1.0 } }, {}
    ] } } }
  },
  "groups": { "a": 1, "a.b": { "rate" : "cosine(-1)" } }
}"#;

    #[test]
    fn every_field_has_a_place_in_toml() {
        let source = Source::toml("toml", TOML);
        for (field, place) in [
            ("version", (1, 11)),
            ("schedule.warmup.length", (4, 10)),
            // Table names, and missing fields.
            ("schedule.warmup", (3, 11)),
            ("schedule.warmup.start", (3, 11)),
            ("schedule.warmup.schedule.product.schedules[0].cosine.peak", (7, 23)),
            ("schedule.warmup.schedule.product.schedules[0].cosine.end", (7, 5)),
            ("schedule.warmup.schedule.product.schedules[1]", (8, 3)),
            ("schedule.warmup.schedule.product.schedules[2].cosine.peak", (6, 13)),
            // A name with a dot, and a path into a text.
            ("groups.a.b.rate.cosine.peak", (11, 8)),
            ("groups.a.b", (10, 9)),
            ("parts[1].length", (15, 12)),
            ("nothing", (1, 1)),
            ("", (1, 1)),
        ] {
            assert_eq!(source.locate(field), place, "{field}");
        }
        assert_eq!(Source::toml("toml", "a = [").locate("a"), (1, 1));
    }

    #[test]
    fn every_field_has_a_place_in_json() {
        for (mark, source) in [("", JSON.to_string()), ("\u{feff}", format!("\u{feff}{JSON}"))] {
            let source = Source::json("json", source);
            for (field, place) in [
                ("schedule.warmup.length", (3, 27)),
                ("schedule.warmup.start", (3, 15)),
                ("schedule.warmup.schedule.product.schedules[0].cosine.peak", (4, 29)),
                ("schedule.warmup.schedule.product.schedules[1].cosine", (4, 39)),
                ("schedule.warmup.schedule.product.schedules[7]", (3, 73)),
                ("groups.a.b.rate.cosine.peak", (7, 41)),
                ("groups.a", (7, 20)),
            ] {
                assert_eq!(source.locate(field), place, "{field}");
            }
            assert_eq!(source.locate("nothing"), (1, 1 + mark.chars().count()));
        }
        assert_eq!(Source::json("json", "{").locate("a"), (1, 1));
    }

    #[test]
    fn what_does_not_resolve_has_a_place() {
        let folder = std::env::temp_dir().join(format!("anneal-source-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("recipe.toml");
        let text = "[schedule.warmup]\nlength = 40\n[schedule.warmup.schedule.cosine]\npeak = -1\n";
        std::fs::write(&path, text).unwrap();
        let load = |updates| ScheduleConfig::load_for(&path, RunLength::updates(updates));
        let place = |line| format!("{}:{line}: warmup.", path.display());
        let found = load(100).unwrap_err().to_string();
        let expected =
            "schedule.cosine.peak: -1.0 is not allowed; allowed: a finite number above 0";
        assert_eq!(found, place("4:8") + expected);
        let long = load(20).unwrap_err();
        assert!(long.to_string().starts_with(&(place("2:10") + "length: 40 is 40")), "{long}");
        assert!(matches!(
            long,
            FileError::Schedule { line: 2, column: 10, error: ScheduleError::TooLong { .. }, .. }
        ));
        // The run is not part of the file.
        assert_eq!(
            load(0).unwrap_err().to_string(),
            "run.updates: 0 is not allowed; allowed: 1 to 2^63"
        );
        std::fs::write(&path, text.replace("-1", "1")).unwrap();
        assert_eq!(load(100).unwrap().rate(40), 1.0);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

//! Selects the parameters of a group, or those that a rule excludes.

use super::pattern::{at_start, glob, no_match};
use super::{GroupError, Parameter};
use crate::text_or_table::{self, TextOrTable};
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Not;

/// Selects parameters by path, by name, or by kind. A parameter is selected if any part of the
/// selection selects it.
///
/// ```
/// use anneal_config::{Parameter, Selection};
/// let parameters = [Parameter::new("embed.weight", [9, 4]), Parameter::new("head.bias", [9])];
/// let selected = Selection::biases().globs(["embed.*"]).of(&parameters)?;
/// assert_eq!(selected, [true, true]);
/// # Ok::<(), anneal_config::GroupError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::table_or_text))]
#[serde(deny_unknown_fields, default, remote = "Self")]
#[must_use]
pub struct Selection {
    /// Regular expressions for the beginning of a path; each must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regexes: Vec<String>,
    /// Paths in which `*` stands for any text and `?` for any character; each must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    globs: Vec<String>,
    /// Like `globs`, but each may match nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    globs_if_present: Vec<String>,
    /// Parameters whose name is `bias` or `beta`.
    #[serde(skip_serializing_if = "Not::not")]
    biases: bool,
    /// Parameters of Burn's normalization layers.
    #[serde(skip_serializing_if = "Not::not")]
    norms: bool,
    /// Parameters with at most one dimension.
    #[serde(skip_serializing_if = "Not::not")]
    one_dimensional: bool,
    /// Parameters with two dimensions.
    #[serde(skip_serializing_if = "Not::not")]
    matrices: bool,
    /// Every parameter.
    #[serde(skip_serializing_if = "Not::not")]
    everything: bool,
}

impl Selection {
    /// No parameter.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether it selects nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// Every parameter.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Parameters whose name is `bias` or `beta`.
    pub fn biases() -> Self {
        Self { biases: true, ..Self::default() }
    }

    /// Parameters of Burn's normalization layers.
    pub fn norms() -> Self {
        Self { norms: true, ..Self::default() }
    }

    /// Biases and norms, which usually have no weight decay.
    pub fn biases_and_norms() -> Self {
        Self { biases: true, norms: true, ..Self::default() }
    }

    /// Parameters with at most one dimension, which timm excludes from weight decay.
    pub fn one_dimensional() -> Self {
        Self { one_dimensional: true, ..Self::default() }
    }

    /// Parameters with two dimensions, as for Muon. This includes embeddings and the head, which usually get
    /// another optimizer.
    pub fn matrices() -> Self {
        Self { matrices: true, ..Self::default() }
    }

    /// Parameters whose path begins with a match of the regular expression.
    pub fn regex(pattern: impl Into<String>) -> Self {
        Self::default().regexes([pattern])
    }

    /// Adds parameters whose path begins with a match of one of these regular expressions. Each must match.
    pub fn regexes<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.regexes.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Adds parameters with these paths, in which `*` stands for any text and `?` for any character. Each must
    /// match.
    pub fn globs<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.globs.extend(names.into_iter().map(Into::into));
        self
    }

    /// Like [`globs`](Self::globs), but each may match nothing: for a list that several models share, for
    /// example timm's `no_weight_decay`.
    pub fn globs_if_present<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.globs_if_present.extend(names.into_iter().map(Into::into));
        self
    }

    /// Checks its patterns; errors name `field`.
    ///
    /// # Errors
    /// [`GroupError::Pattern`] if one is not a valid regular expression.
    pub fn check(&self, field: &str) -> Result<(), GroupError> {
        self.regexes
            .iter()
            .try_for_each(|pattern| at_start(&format!("{field}.regexes"), pattern).map(drop))?;
        self.globs.iter().try_for_each(|name| glob(&format!("{field}.globs"), name).map(drop))?;
        let field = format!("{field}.globs_if_present");
        self.globs_if_present.iter().try_for_each(|name| glob(&field, name).map(drop))
    }

    /// Whether each parameter is selected.
    ///
    /// # Errors
    /// [`GroupError::NoMatch`] if a pattern or a path matches none of them.
    pub fn of(&self, parameters: &[Parameter]) -> Result<Vec<bool>, GroupError> {
        self.named("selection", parameters)
    }

    /// Like [`of`](Self::of); errors name `field`.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn named(&self, field: &str, parameters: &[Parameter]) -> Result<Vec<bool>, GroupError> {
        let mut selected: Vec<bool> = parameters.iter().map(|p| self.selects_kind(p)).collect();
        let mut add = |regex: Regex| {
            let mut found = false;
            for (parameter, selected) in parameters.iter().zip(&mut selected) {
                let matches = regex.is_match(&parameter.path);
                found |= matches;
                *selected |= matches;
            }
            found
        };
        for pattern in &self.regexes {
            let field = format!("{field}.regexes");
            if !add(at_start(&field, pattern)?) {
                return Err(no_match(&field, pattern, parameters));
            }
        }
        for name in &self.globs {
            let field = format!("{field}.globs");
            if !add(glob(&field, name)?) {
                return Err(no_match(&field, name, parameters));
            }
        }
        for name in &self.globs_if_present {
            add(glob(&format!("{field}.globs_if_present"), name)?);
        }
        Ok(selected)
    }

    fn selects_kind(&self, parameter: &Parameter) -> bool {
        self.everything
            || self.biases && parameter.is_bias()
            || self.norms && parameter.norm
            || self.one_dimensional && parameter.rank() <= 1
            || self.matrices && parameter.rank() == 2
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.everything, "everything"),
            (self.biases, "biases"),
            (self.norms, "norms"),
            (self.one_dimensional, "one-dimensional"),
            (self.matrices, "matrices"),
        ];
        let kinds = kinds.into_iter().filter(|(selected, _)| *selected).map(|(_, kind)| kind);
        let texts = self.regexes.iter().chain(&self.globs).chain(&self.globs_if_present);
        let parts: Vec<&str> = kinds.chain(texts.map(String::as_str)).collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

impl Serialize for Selection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::read(deserializer)
    }
}

/// A text is a regular expression.
impl TextOrTable for Selection {
    const ALLOWED: &str =
        "a regular expression for the beginning of a path, or a table such as { biases = true }";

    fn from_text(text: &str) -> Result<Self, String> {
        const KINDS: [&str; 5] = ["biases", "norms", "one_dimensional", "matrices", "everything"];
        match KINDS.contains(&text) {
            true => Err(format!(
                "`{text}` is a kind of parameter, and a text is a regular expression; allowed: {{ {text} = true }}"
            )),
            false => Ok(Self::regex(text)),
        }
    }

    fn from_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error> {
        Self::deserialize(table)
    }
}

/// A regular expression for the beginning of the path.
impl From<&str> for Selection {
    fn from(pattern: &str) -> Self {
        Self::regex(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Vec<Parameter> {
        let mut norm = Parameter::new("blocks.0.norm.gamma", [4]);
        norm.norm = true;
        vec![
            Parameter::new("stem.weight", [4, 3]),
            Parameter::new("stem.bias", [4]),
            norm,
            Parameter::new("head.weight", [4, 2]),
        ]
    }

    #[test]
    fn kinds_add_up() {
        let of = |selection: Selection| selection.of(&parameters()).unwrap();
        assert_eq!(of(Selection::biases()), [false, true, false, false]);
        assert_eq!(of(Selection::biases_and_norms()), [false, true, true, false]);
        assert_eq!(of(Selection::one_dimensional()), [false, true, true, false]);
        assert_eq!(of(Selection::norms().regexes(["stem", "head"])), [true; 4]);
        assert_eq!(of(Selection::matrices()), [true, false, false, true]);
        assert_eq!(of(Selection::none()), [false; 4]);
    }

    #[test]
    fn what_selects_nothing_is_an_error_with_the_nearest_paths() {
        let error = |selection: Selection| selection.of(&parameters()).unwrap_err().to_string();
        let path = error("^haed".into());
        assert!(
            path.contains("`^haed` matches no trained parameter; the nearest are `head.weight`"),
            "{path}"
        );
        assert!(error(Selection::none().globs(["stem"])).contains("selection.globs"));
        let optional = Selection::none().globs_if_present(["dist_token"]);
        assert_eq!(optional.of(&parameters()).unwrap(), [false; 4]);
    }
}

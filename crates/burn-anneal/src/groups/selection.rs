//! Which parameters a group has, or a rule excludes.

use super::pattern::{at_start, glob, no_match};
use super::{GroupError, Parameter};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Selects parameters by path, by name, or by kind. A parameter is selected when any part of the
/// selection selects it.
///
/// ```
/// use burn_anneal::groups::{Parameter, Selection};
/// let parameters = [Parameter::new("embed.weight", [9, 4]), Parameter::new("head.bias", [9])];
/// let selected = Selection::biases().globs(["embed.*"]).of(&parameters)?;
/// assert_eq!(selected, [true, true]);
/// # Ok::<(), burn_anneal::groups::GroupError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[must_use]
pub struct Selection {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regexes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    globs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    globs_if_present: Vec<String>,
    biases: bool,
    norms: bool,
    one_dimensional: bool,
    matrices: bool,
    everything: bool,
}

impl Selection {
    /// Nothing yet.
    pub fn none() -> Self {
        Self::default()
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

    /// Biases and norms: what is mostly left out of weight decay.
    pub fn biases_and_norms() -> Self {
        Self { biases: true, norms: true, ..Self::default() }
    }

    /// Parameters of at most one dimension; timm's rule for weight decay.
    pub fn one_dimensional() -> Self {
        Self { one_dimensional: true, ..Self::default() }
    }

    /// Parameters of two dimensions: those that Muon is for. It also selects embeddings and the head, which
    /// are mostly left to another optimizer.
    pub fn matrices() -> Self {
        Self { matrices: true, ..Self::default() }
    }

    /// Parameters whose path begins with a match of the regular expression.
    pub fn regex(pattern: impl Into<String>) -> Self {
        Self::default().regexes([pattern])
    }

    /// And those whose path begins with a match of one of these regular expressions, each of which
    /// must match.
    pub fn regexes<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.regexes.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// And those with these paths, in which `*` stands for any text and `?` for any character. Each
    /// must match.
    pub fn globs<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.globs.extend(names.into_iter().map(Into::into));
        self
    }

    /// As [`globs`](Self::globs), but a name that no parameter has is no error: for a list that is
    /// shared by several models, such as timm's `no_weight_decay`.
    pub fn globs_if_present<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.globs_if_present.extend(names.into_iter().map(Into::into));
        self
    }

    /// For each parameter, whether it is selected.
    ///
    /// # Errors
    /// [`GroupError::NoMatch`] for a path or a name that selects none of them.
    pub fn of(&self, parameters: &[Parameter]) -> Result<Vec<bool>, GroupError> {
        self.named("selection", parameters)
    }

    /// As [`of`](Self::of), for the selection in this field.
    pub(crate) fn named(
        &self,
        field: &str,
        parameters: &[Parameter],
    ) -> Result<Vec<bool>, GroupError> {
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

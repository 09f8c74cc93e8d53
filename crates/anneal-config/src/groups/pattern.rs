//! Patterns of parameter paths.

use super::{GroupError, Parameter};
use regex::Regex;

/// Compiles a pattern that must match at the start of a path, in each of its alternatives.
pub(crate) fn at_start(field: &str, pattern: &str) -> Result<Regex, GroupError> {
    compile(field, pattern, &format!(r"\A(?:{pattern})"))
}

/// Compiles a name in which `*` stands for any text, `?` for any character and `[…]` for one of
/// several, as in timm's lists and Python's `fnmatch`.
pub(crate) fn glob(field: &str, name: &str) -> Result<Regex, GroupError> {
    let mut regex = String::from(r"(?s)\A");
    let mut rest = name.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' if rest.clone().any(|later| later == ']') => regex.push_str(&class(&mut rest)),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    compile(field, name, &format!(r"{regex}\z"))
}

/// The characters up to the closing bracket, as a character class.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let negated = rest.next_if_eq(&'!').is_some();
    let inside: String = rest.by_ref().take_while(|&character| character != ']').collect();
    let escaped = inside.replace('\\', r"\\").replace('[', r"\[").replace('^', r"\^");
    format!("[{}{escaped}]", if negated { "^" } else { "" })
}

fn compile(field: &str, pattern: &str, regex: &str) -> Result<Regex, GroupError> {
    Regex::new(regex).map_err(|error| GroupError::Pattern {
        field: field.to_string(),
        pattern: pattern.to_string(),
        // The last line gives the reason; the lines before it draw the place.
        reason: error
            .to_string()
            .lines()
            .last()
            .unwrap_or_default()
            .trim()
            .trim_start_matches("error: ")
            .to_string(),
    })
}

/// The error for a pattern that matches nothing, with the three paths that look most like it.
pub(crate) fn no_match(field: &str, pattern: &str, parameters: &[Parameter]) -> GroupError {
    let wanted: String =
        pattern.chars().filter(|c| c.is_alphanumeric() || "._".contains(*c)).collect();
    let mut paths: Vec<(f64, &str)> = parameters
        .iter()
        .map(|parameter| {
            // A pattern usually names the beginning of a path.
            let start: String = parameter.path.chars().take(wanted.chars().count()).collect();
            (strsim::normalized_damerau_levenshtein(&wanted, &start), parameter.path.as_str())
        })
        .collect();
    paths.sort_by(|one, other| other.0.total_cmp(&one.0));
    GroupError::NoMatch {
        field: field.to_string(),
        pattern: pattern.to_string(),
        nearest: paths.into_iter().take(3).map(|(_, path)| path.to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_at_the_start_in_each_alternative() {
        let regex = at_start("layers", "^conv1|bn1").unwrap();
        let matching = ["conv1.weight", "bn1.bias"];
        assert!(matching.iter().all(|path| regex.is_match(path)));
        assert!(
            !["layer1.0.conv1.weight", "layer1.0.bn1.bias"].iter().any(|path| regex.is_match(path))
        );
    }

    #[test]
    fn a_glob_matches_the_whole_name() {
        let matches = |name: &str, path: &str| glob("names", name).unwrap().is_match(path);
        assert!(matches("cls_token", "cls_token") && !matches("cls_token", "cls_token2"));
        assert!(matches("*.bias_table", "a.b.bias_table") && !matches("*.bias", "a.bias_table"));
        assert!(matches("norm?.[ab]", "norm1.b") && !matches("norm?.[!ab]", "norm1.b"));
        assert!(matches("a.b", "a.b") && !matches("a.b", "axb") && matches("a[0", "a[0"));
    }

    #[test]
    fn what_is_no_regex_is_named() {
        let error = at_start("layers.stem", "^(stem").unwrap_err().to_string();
        assert!(
            error.starts_with("layers.stem: `^(stem` is not a valid regular expression: "),
            "{error}"
        );
        let error = at_start("layers.stem", "(?=stem)").unwrap_err().to_string();
        assert!(error.contains("look-around"), "{error}");
    }
}

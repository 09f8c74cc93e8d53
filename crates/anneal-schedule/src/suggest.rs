//! "Did you mean …?"

/// `; did you mean …?` with the known name that is nearest to `name`, or nothing where none is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map_or(String::new(), |(_, known)| format!("; did you mean `{known}`?"))
}

/// The names that a message of serde's offers instead of an unknown one.
pub(crate) fn candidates(message: &str) -> Vec<String> {
    backticked(message).skip(1).map(str::to_string).collect()
}

/// A message of serde's about an unknown name, with the nearest known one, and about a choice whose
/// fields have names, with an example.
pub(crate) fn improve(message: &str) -> String {
    if message.contains("expected struct variant") {
        return format!("{message}: name its fields, as in factor(factor = 0.99, per = 1)");
    }
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match backticked(message).next().filter(|_| unknown) {
        Some(name) => format!("{message}{}", nearest(name, backticked(message).skip(1))),
        None => message.to_string(),
    }
}

fn backticked(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_nonsense_is_not() {
        let message = "unknown field `peek`, expected one of `peak`, `end`, `length`";
        assert_eq!(improve(message), format!("{message}; did you mean `peak`?"));
        let nonsense = "unknown field `zzz`, expected `peak` or `end`";
        assert_eq!(improve(nonsense), nonsense);
        assert_eq!(improve("missing field `peak`"), "missing field `peak`");
        let unnamed = improve("invalid type: floating point `0.99`, expected struct variant");
        assert!(unnamed.ends_with("as in factor(factor = 0.99, per = 1)"), "{unnamed}");
    }
}

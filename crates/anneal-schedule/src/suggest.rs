//! "Did you mean …?"

use crate::names;

/// `; did you mean …?` with the known name nearest to `name`, or nothing if none is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest_name(name, known).map_or(String::new(), |known| format!("; did you mean `{known}`?"))
}

/// The known name nearest to `name`, if one is near.
pub(crate) fn nearest_name<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, &known.to_lowercase()), known))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

/// The names that a serde message offers in place of an unknown one.
pub(crate) fn candidates(message: &str) -> Vec<&str> {
    backticked(message).skip(1).collect()
}

/// Improves a serde message: names what is expected in the words of a file, and adds the nearest known name for
/// an unknown one.
pub(crate) fn improve(message: &str) -> String {
    if let Some(expected) = expected_in_a_file(message) {
        let found = message.split_once(", expected ").map_or("invalid type", |(found, _)| found);
        return format!("{found}, expected {expected}");
    }
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some(name) = backticked(message).next().filter(|_| unknown) else {
        return message.to_string();
    };
    let known = candidates(message);
    if known.contains(&"cosine") && known.contains(&"warmup") {
        return names::unknown_table(name);
    }
    format!("{message}{}", names::near_field(name, &known))
}

/// What a message about a wrong type expects, if serde says it in terms of Rust.
fn expected_in_a_file(message: &str) -> Option<&'static str> {
    if message == "wanted string or table" {
        return Some(CHOICE);
    }
    let (found, expected) = message.split_once(", expected ")?;
    Some(match expected.split(' ').next()? {
        "newtype" if found.ends_with("unit variant") => {
            "a table of its settings, such as { plateau = { signal = \"loss\" } }"
        }
        "struct" if expected.starts_with("struct variant") => {
            "its values with their names: factor(factor = 0.99, per = 1) in a text, \
             { factor = { factor = 0.99, per = 1 } } in a table"
        }
        "struct" | "map" => "a table",
        "string" if expected == "string or map" => CHOICE,
        "a" if expected == "a sequence" && found.ends_with("map") => {
            "a list of tables: in TOML, each begins with its name in double brackets, such as [[average]]"
        }
        "a" if expected == "a sequence" => "a list",
        "a" if expected == "a string" => "a text",
        "a" if expected == "a boolean" => "true or false",
        "f64" if found.ends_with("%\"") => {
            "a number: a share is of the peak, so it may be an end, a start, a base, a floor or a cap, \
             but not the peak itself; any other share is a fraction, such as 0.3"
        }
        "f64" | "f32" => "a number",
        "u64" | "u32" | "usize" => "a whole number, at least 0",
        _ => return None,
    })
}

const CHOICE: &str = "a word, or one key and its value, such as half_life = \"10ep\"";

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
        assert!(
            unnamed.contains("`0.99`, expected its values with their names: factor("),
            "{unnamed}"
        );
    }

    #[test]
    fn the_name_of_another_library_is_explained() {
        let message = "unknown field `eta_min`, expected one of `peak`, `end`, `length`";
        assert_eq!(improve(message), format!("{message}; `eta_min` is called `end` here"));
        let message = "unknown field `T_max`, expected one of `peak`, `end`, `length`";
        assert_eq!(improve(message), format!("{message}; `T_max` is called `length` here"));
    }
}

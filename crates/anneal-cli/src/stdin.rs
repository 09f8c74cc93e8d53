//! Reads from stdin, given as `-`.

use crate::error::Error;
use crate::input::Input;
use anneal_schedule::Source;
use std::io::{self, Read};

/// The name of stdin in messages.
const NAME: &str = "stdin";

/// The maximum number of bytes read, as for a file.
const MAX_BYTES: u64 = 64 << 20;

/// Reads all of stdin.
pub fn read() -> Result<String, Error> {
    let wrong = |why: &str| Error::Usage(format!("{NAME}: {why}"));
    let mut bytes = vec![];
    let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(&error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong("larger than the 64 MiB allowed for a schedule"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("the text is not UTF-8"))
}

impl Input {
    /// Reads a text such as `cosine(0.1)`, TOML or JSON from stdin, and detects which it is.
    pub fn from_stdin() -> Result<Self, Error> {
        let text = read()?;
        let trimmed = text.trim_start_matches('\u{feff}').trim();
        if trimmed.is_empty() {
            let allowed = "allowed: a schedule such as cosine(3e-4), or a TOML or JSON file";
            return Err(Error::Usage(format!("{NAME}: is empty; {allowed}")));
        }
        if is_chain(trimmed) {
            return Self::read_whole(trimmed);
        }
        let source = match trimmed.starts_with('{') {
            true => Source::json(NAME, &text),
            false => Source::toml(NAME, &text),
        };
        Self::from_source(NAME.into(), NAME.into(), source)
    }
}

/// Whether a text is a builder chain: a name and an opening parenthesis.
fn is_chain(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = text.len() - text.trim_start_matches(is_name).len();
    name > 0 && text[name..].trim_start().starts_with('(')
}

#[cfg(test)]
mod tests {
    use super::is_chain;

    #[test]
    fn a_chain_begins_with_a_call() {
        for chain in ["cosine(0.1)", "sum([constant(1)])", "cosine (0.1)", "cosin(1", "a()"] {
            assert!(is_chain(chain), "{chain}");
        }
        for other in
            ["[schedule.constant]", "version = 1", "# cosine(0.1)", "schedule.a = \"(\"", "(", "{}"]
        {
            assert!(!is_chain(other), "{other}");
        }
    }
}

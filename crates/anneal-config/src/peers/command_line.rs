//! The options of a command line.

use super::TranslationError;
use super::input::number;
use serde_json::{Map, Value};

/// Which options take no value, and which take several; all others take one.
pub(super) struct Shapes {
    pub(super) flags: &'static [&'static str],
    pub(super) lists: &'static [&'static str],
    /// Other spellings, with the name that they stand for.
    pub(super) aliases: &'static [(&'static str, &'static str)],
}

/// Whether a text is a command line rather than a file.
pub(super) fn is_command_line(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_program = first.ends_with(".py") || first.ends_with(".sh");
    first.starts_with('-') && first != "---" && !first.ends_with(':') && first != "-"
        || is_program
        || ["python", "python3", "torchrun", "accelerate"].contains(&first)
}

/// The options of the program's own, as a table: after the name of a Python file, if there is one.
pub(super) fn options(text: &str, shapes: &Shapes) -> Result<Value, TranslationError> {
    let syntax = |error| TranslationError::Syntax { format: "a command line", error, hint: "" };
    let words = words(text).map_err(syntax)?;
    let program = words.iter().position(|word| word.ends_with(".py")).map_or(0, |at| at + 1);
    let mut entries = Map::new();
    let mut words = words[program..].iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--").or_else(|| short(word)) else { continue };
        let (option, value) = match option.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (option, None),
        };
        let name = option.replace('-', "_");
        let name = shapes
            .aliases
            .iter()
            .find(|alias| alias.0 == name)
            .map_or(name, |alias| alias.1.to_string());
        let value = match value {
            Some(value) => plain(value),
            None if shapes.flags.contains(&name.as_str()) => true.into(),
            None if shapes.lists.contains(&name.as_str()) => {
                let mut values = vec![];
                while let Some(value) = words.next_if(|word| is_value(word)) {
                    values.push(plain(value));
                }
                values.into()
            }
            None => words.next_if(|word| is_value(word)).map_or(true.into(), plain),
        };
        // As in Python, the last one counts.
        entries.insert(name, value);
    }
    Ok(entries.into())
}

/// The letter of a short option.
fn short(word: &str) -> Option<&str> {
    word.strip_prefix('-').filter(|option| option.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn is_value(word: &str) -> bool {
    !word.starts_with('-') || number(word).is_some()
}

fn plain(text: &str) -> Value {
    number(text).map_or_else(|| text.into(), Value::Number)
}

/// The words of a line, with quotes and continued lines as in a shell.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (vec![], None::<String>, None::<char>);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None) => match characters.next() {
                Some('\r') => {
                    characters.next_if_eq(&'\n');
                }
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("a quotation that begins with {open} does not end")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHAPES: Shapes =
        Shapes { flags: &["amp"], lists: &["opt_betas"], aliases: &[("b", "batch_size")] };

    #[test]
    fn options_are_read_as_a_shell_and_python_do() {
        let text = "python -m x train.py /data --amp --lr=1e-3 --opt-betas 0.9 .95 \\\n -b 64 --min-lr -1 --name 'a b' --last";
        let expected = json!({
            "amp": true, "lr": 1e-3, "opt_betas": [0.9, 0.95], "batch_size": 64, "min_lr": -1, "name": "a b", "last": true,
        });
        assert_eq!(options(text, &SHAPES), Ok(expected));
        assert_eq!(
            options("--amp /data --lr 1 --lr 2", &SHAPES),
            Ok(json!({ "amp": true, "lr": 2 }))
        );
        let error = options("--name 'a", &SHAPES).unwrap_err().to_string();
        assert!(error.contains("does not end"), "{error}");
    }

    #[test]
    fn files_are_no_command_lines() {
        for text in
            ["--lr 1", "python train.py", "./distributed_train.sh 8 --lr 1", "train.py /data"]
        {
            assert!(is_command_line(text), "{text}");
        }
        for text in ["lr: 1", "---\nlr: 1", "{}", "", "- lr", "-"] {
            assert!(!is_command_line(text), "{text}");
        }
    }
}

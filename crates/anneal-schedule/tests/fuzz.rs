//! Arbitrary input in a file or a text: broken, hostile, or almost right.
//!
//! Random edits break good inputs (`corpus/texts.txt`, in every form, and the recipes of `docs/schedules`);
//! inputs that were once refused badly are kept in `corpus/found` and tried unchanged. To run for ten minutes
//! or more instead of 5,000 inputs:
//!
//! `PROPTEST_CASES=3000000 cargo test -p anneal-schedule --test fuzz`

use anneal_schedule::analysis::{Analysis, Options};
use anneal_schedule::lint::lint;
use anneal_schedule::prelude::*;
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The form of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Toml,
    Json,
    Text,
}

impl Form {
    fn of(extension: &str) -> Self {
        match extension {
            "toml" => Self::Toml,
            "json" => Self::Json,
            "txt" => Self::Text,
            other => panic!("a corpus holds .toml, .json and .txt, not .{other}"),
        }
    }

    fn read(self, input: &str) -> Result<ScheduleConfig, String> {
        match self {
            Self::Toml => ScheduleConfig::from_toml(input).map_err(|error| error.to_string()),
            Self::Json => ScheduleConfig::from_json(input).map_err(|error| error.to_string()),
            Self::Text => input.parse().map_err(|error: TextError| error.to_string()),
        }
    }
}

fn inputs_in(folder: &str) -> Vec<(Form, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let form = Form::of(path.extension().unwrap().to_str().unwrap());
            (form, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Every good text, as a text and in both file formats, and the recipes.
static SEEDS: LazyLock<Vec<(Form, String)>> = LazyLock::new(|| {
    let mut seeds = inputs_in("../../docs/schedules");
    for text in include_str!("corpus/texts.txt").lines() {
        seeds.push((Form::Text, text.into()));
        // A custom curve is printed, but not read.
        if let Ok(config) = text.parse::<ScheduleConfig>() {
            seeds.push((Form::Toml, config.to_toml().unwrap()));
            seeds.push((Form::Json, config.to_json().unwrap()));
            // Also in a file, where an error is located within the text.
            seeds.push((Form::Toml, format!("schedule = {text:?}\n")));
            seeds.push((Form::Toml, format!("schedule = \"\"\"\n{text}\"\"\"\n")));
            seeds.push((Form::Json, format!("{{\n\"schedule\": {text:?}}}")));
        }
    }
    seeds
});

/// Tokens that challenge a reader: numbers, spans, and structure.
const TOKENS: &[&str] = &[
    "nan",
    "NaN",
    "-nan",
    "inf",
    "+inf",
    "-inf",
    "Infinity",
    "1e999",
    "-1e999",
    "1e-999",
    "0",
    "-0.0",
    "-1",
    "0.5",
    "1e308",
    "5e-324",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "-9223372036854775809",
    "0x10",
    "0o7",
    "1_000",
    "1__0",
    "1e",
    ".5",
    "5.",
    "10%",
    "-5%",
    "101%",
    "1e999%",
    "nan%",
    "5ep",
    "-3ep",
    "2.5ep",
    "1e300ep",
    "rest",
    "\"rest\"",
    "\"5%\"",
    "\"18446744073709551616\"",
    "true",
    "false",
    "null",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "=",
    ":",
    "\"",
    "'",
    "\"\"\"",
    "\\",
    "\\u0000",
    "\n",
    "\r",
    "\t",
    "#",
    "\u{feff}",
    "\u{202e}",
    "é",
    "1979-05-27T07:32:00Z",
    "[[schedule]]",
    "[schedule.cosine]\n",
    "schedule",
    "schedules",
    "parts",
    "peak",
    "peak = 0.1\n",
    "\"peak\": 0.1,",
    "version = 1\n",
    "version = 2\n",
    "length",
    "rate",
    "start",
    "end",
    "cosine",
    "constant(0.1)",
    ".warmup(5%)",
    ".floor(0.001)",
    ".end(10%)",
    ".start(25%)",
    ".include_start()",
    ".include_peak()",
    ".replace()",
    ".smooth(1000)",
    ".repeat_every(10)",
    ".repeat_times(3)",
    ".truncate()",
    ".truncate(90ep)",
    ".then(5, constant(0.1))",
    ".overlay()",
    "sum([",
    "sequence([(",
    "kappa(0.5)",
    "toward(end = 0)",
];

/// An edit of an input, at positions between 0 and 1.
#[derive(Clone, Debug)]
enum Edit {
    Delete(f64, f64),
    Duplicate(f64, f64),
    Token(f64, usize),
    /// Replaces a number by another token.
    Number(f64, usize),
    Any(f64, String),
    /// Joins the start of the input and the rest of another seed.
    Splice(f64, usize, f64),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = || 0.0..1.0f64;
    let token = || 0..TOKENS.len();
    prop_oneof![
        2 => (place(), 0.0..0.3f64).prop_map(|(at, length)| Edit::Delete(at, length)),
        1 => (place(), 0.0..0.3f64).prop_map(|(at, length)| Edit::Duplicate(at, length)),
        4 => (place(), token()).prop_map(|(at, token)| Edit::Token(at, token)),
        8 => (place(), token()).prop_map(|(at, token)| Edit::Number(at, token)),
        1 => (place(), "\\PC{0,8}").prop_map(|(at, any)| Edit::Any(at, any)),
        1 => (place(), any::<usize>(), place()).prop_map(|(at, seed, from)| Edit::Splice(at, seed, from)),
    ]
}

/// The byte at a relative position between 0 and 1, on a character boundary.
fn byte(input: &str, place: f64) -> usize {
    let byte = (place * (input.len() + 1) as f64) as usize;
    (0..=byte.min(input.len())).rev().find(|&byte| input.is_char_boundary(byte)).unwrap_or(0)
}

fn apply(input: &mut String, edit: &Edit) {
    match edit {
        Edit::Delete(at, length) => {
            let (start, end) = (byte(input, *at), byte(input, (at + length).min(1.0)));
            input.replace_range(start..end, "");
        }
        Edit::Duplicate(at, length) => {
            let (start, end) = (byte(input, *at), byte(input, (at + length).min(1.0)));
            let part = input[start..end].to_owned();
            input.insert_str(end, &part);
        }
        Edit::Token(at, token) => input.insert_str(byte(input, *at), TOKENS[*token]),
        Edit::Number(at, token) => {
            let numbers: Vec<(usize, &str)> = input
                .match_indices(|c: char| c.is_ascii_digit())
                .filter(|(start, _)| {
                    !input[..*start].ends_with(|c: char| c.is_alphanumeric() || "._-".contains(c))
                })
                .collect();
            let Some(&(start, _)) = numbers.get((at * numbers.len() as f64) as usize) else {
                return;
            };
            let length = input[start..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || "._-+%".contains(c)))
                .unwrap_or(input.len() - start);
            input.replace_range(start..start + length, TOKENS[*token]);
        }
        Edit::Any(at, any) => input.insert_str(byte(input, *at), any),
        Edit::Splice(at, seed, from) => {
            let other = &SEEDS[seed % SEEDS.len()].1;
            input.truncate(byte(input, *at));
            input.push_str(&other[byte(other, *from)..]);
        }
    }
}

/// Reads an input all the way to its rates, and back to every form.
fn check(form: Form, input: &str) -> Result<(), TestCaseError> {
    let config = match form.read(input) {
        Ok(config) => config,
        Err(message) => {
            prop_assert!(!message.trim().is_empty() && !message.contains('\n'), "{message:?}");
            return Ok(());
        }
    };
    let text = config.to_string();
    if let Ok(toml) = config.to_toml() {
        prop_assert_eq!(&Form::Toml.read(&toml).unwrap().to_string(), &text);
    }
    if let Ok(json) = config.to_json() {
        prop_assert_eq!(Form::Json.read(&json), Ok(config.clone()));
    }
    for run in [
        RunLength::updates(1),
        RunLength::updates(1_000),
        RunLength::from_items(1_000, 64).epochs(90),
        RunLength::updates(1 << 63),
        RunLength::unbounded(),
    ] {
        let Ok(schedule) = config.clone().resolve(run) else { continue };
        // A description that resolves contains no NaN, which would differ from itself.
        prop_assert_eq!(Form::Text.read(&text), Ok(config.clone()));
        let length = schedule.length().unwrap_or(0);
        for step in [0, 1, 500, length.saturating_sub(1), length, 1_000_000_000_000, u64::MAX] {
            let (rate, peak) = (schedule.rate(step), schedule.peak());
            prop_assert!(
                rate.is_finite() && rate >= 0.0 && rate <= peak * (1.0 + 1e-12),
                "{schedule} at {step}: {rate:?} of {peak:?}"
            );
        }
        prop_assert!(!schedule.to_string().is_empty());
        schedule.fingerprint();
        if (1..=1_000).contains(&length) {
            let options = Options::new().curvature(10.0).weight_decay(0.1);
            // An answer, or an error for impossible requests; never a panic.
            let _ = Analysis::of(&schedule, &options);
            let _ = lint(&config, run, &options);
        }
    }
    Ok(())
}

#[test]
fn good_inputs_are_good_and_what_was_found_once_stays_fixed() {
    for (form, input) in SEEDS.iter() {
        assert!(form.read(input).is_ok() || input.starts_with("custom"), "{input}");
        check(*form, input).unwrap_or_else(|error| panic!("{input}: {error}"));
    }
    for (form, input) in inputs_in("tests/corpus/found") {
        check(form, &input).unwrap_or_else(|error| panic!("{input}: {error}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn whatever_is_written_is_read_or_refused(
        seed in any::<prop::sample::Index>(), edits in prop::collection::vec(edit(), 1..5),
    ) {
        let (form, mut input) = seed.get(&SEEDS).clone();
        edits.iter().for_each(|edit| apply(&mut input, edit));
        check(form, &input).map_err(|error| TestCaseError::fail(format!("{form:?} {input:?}: {error}")))?;
    }
}

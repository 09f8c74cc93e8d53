//! Positional arguments, and calls that stand for others.

use super::{Fields, field, node};
use crate::node::{FUNCTIONS, METHODS, PEER_FUNCTIONS};
use ciborium::Value;

/// Calls that start a schedule and stand for others, with their positional fields.
const SHORTHANDS: &[(&str, &[&str])] = &[
    ("linear", &["start", "end"]),
    ("warmup_stable_decay", &["peak", "warmup", "decay"]),
    ("wsd", &["peak", "warmup", "decay"]),
];

/// Calls on a schedule that stand for others, with the call and its positional field.
const SPELLINGS: &[(&str, &str, &[&str])] =
    &[("repeat_every", "repeat", &["every"]), ("repeat_times", "repeat", &["count"])];

/// Calls that combine two schedules.
pub(super) const PAIRS: [&str; 3] = ["then", "times", "plus"];

/// Further positional fields of a call, after those of its builder function.
const FURTHER: &[(&str, &[&str])] = &[
    ("cosine", &["end", "length"]),
    ("tanh", &["end", "length"]),
    ("linear", &["length"]),
    ("polynomial", &["length"]),
    ("one_cycle", &["length"]),
    ("exponential", &["per"]),
    ("warm_restarts", &["multiplier", "end"]),
    ("cyclic", &["down"]),
    ("warmup", &["ramp"]),
];

/// The positional fields of the first call of a chain, in order.
pub(super) fn function(name: &str) -> Option<Vec<&'static str>> {
    let mut all = FUNCTIONS.iter().chain(SHORTHANDS).chain(PEER_FUNCTIONS);
    let known = all.find(|known| known.0 == name)?;
    Some(with_further(name, known.1))
}

/// The table of a later call, and its positional fields.
pub(super) fn method(name: &str) -> Option<(&'static str, Vec<&'static str>)> {
    if let Some(&(_, table, fields)) = SPELLINGS.iter().find(|known| known.0 == name) {
        return Some((table, fields.to_vec()));
    }
    let known = METHODS.iter().find(|known| known.0 == name)?;
    Some((known.0, with_further(name, known.1)))
}

fn with_further(name: &str, fields: &[&'static str]) -> Vec<&'static str> {
    let further = FURTHER.iter().find(|known| known.0 == name).map_or(&[][..], |known| known.1);
    [fields, further].concat()
}

/// The calls available on a schedule.
pub(crate) fn calls() -> impl Iterator<Item = &'static str> {
    let methods = METHODS.iter().map(|known| known.0).filter(|name| *name != "repeat");
    methods.chain(SPELLINGS.iter().map(|known| known.0)).chain(PAIRS)
}

/// The positional field that a value fills: of `end` and `length`, a number with a fraction or 0 is the end,
/// and a length the other. A percentage may be either, except where Rust's builder takes an end there.
///
/// # Errors
/// What to write instead.
pub(super) fn place<'a>(
    call: &str,
    fields: &[&'a str],
    place: usize,
    value: &Value,
) -> Result<&'a str, String> {
    let here = fields.get(place).copied().ok_or_else(|| takes(call))?;
    let either = fields.ends_with(&["end", "length"]) && place + 2 >= fields.len();
    match value {
        _ if !either || call == "linear" && here == "end" && is_percentage(value) => Ok(here),
        Value::Float(_) => Ok("end"),
        Value::Integer(number) if *number == 0.into() => Ok("end"),
        Value::Text(share) if is_percentage(value) && call != "linear" => Err(format!(
            "{share} may be the end or the length; write end = {share}, a share of the peak, \
             or length = {share}, a share of the run"
        )),
        _ => Ok("length"),
    }
}

fn is_percentage(value: &Value) -> bool {
    value.as_text().is_some_and(|text| text.ends_with('%'))
}

/// The fields of a call in the terms of the file format, or an error with what to write instead.
pub(super) fn completed(name: &str, mut fields: Fields) -> Result<Fields, String> {
    if name != "exponential" {
        return Ok(fields);
    }
    let per = fields.iter().position(|(key, _)| key.as_text() == Some("per"));
    let per = per.map(|per| fields.remove(per).1);
    let Some((_, decay)) = fields.iter_mut().find(|(key, _)| key.as_text() == Some("decay")) else {
        return Ok(fields);
    };
    match (&*decay, per) {
        (Value::Float(_), per) => {
            let factor = decay.clone();
            let per = per.unwrap_or_else(|| 1.into());
            *decay = node("factor", vec![("factor".into(), factor), ("per".into(), per)]);
            Ok(fields)
        }
        (Value::Map(_), None) => Ok(fields),
        _ => Err("exponential takes a peak and a speed: 0.99, a factor per update; \
                  0.5, 10ep, a factor and its span; half_life(10ep), kappa(0.01) or \
                  toward(end = 1e-5)"
            .into()),
    }
}

/// The arguments to name if a call lacks a field.
pub(super) fn takes(name: &str) -> String {
    let fields = function(name).or_else(|| method(name).map(|(_, fields)| fields));
    let (either, fields) = match fields.unwrap_or_default() {
        fields if fields.ends_with(&["end", "length"]) => {
            (" and an end, a length or both", fields[..fields.len() - 2].to_vec())
        }
        fields => ("", fields),
    };
    match name {
        "repeat" => "repeat_every takes a length, repeat_times a count".into(),
        _ => format!("{name} takes {}{either}", fields.join(", ")),
    }
}

/// Splits `warmup_stable_decay(…)` into the length of its warm-up and the fields of `stable_decay(…)`.
pub(super) fn without_warmup(fields: &Fields) -> (Option<Value>, Fields) {
    let rest = fields.iter().filter(|(key, _)| key.as_text() != Some("warmup")).cloned().collect();
    (field(fields, "warmup").cloned(), rest)
}

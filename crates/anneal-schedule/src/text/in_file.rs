//! A text in a file, in place of any schedule: `schedule = "cosine(0.1).warmup(5%)"`.

use super::{TextError, parse};
use crate::{Length, ScheduleConfig, suggest};
use serde::de::{self, DeserializeSeed, EnumAccess, Error, IgnoredAny, MapAccess, VariantAccess};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

impl<'de, L: Length> Deserialize<'de> for ScheduleConfig<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScheduleVisitor(PhantomData))
    }
}

struct ScheduleVisitor<L>(PhantomData<L>);

impl<'de, L: Length> de::Visitor<'de> for ScheduleVisitor<L> {
    type Value = ScheduleConfig<L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a schedule: a table such as [schedule.cosine], or a text such as \"cosine(0.1)\"",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ScheduleConfig<L>, E> {
        let value = parse::value(text).map_err(E::custom)?;
        let wrong = |error: serde_json::Error| {
            E::custom(TextError { column: 1, message: suggest::improve(&error.to_string()) })
        };
        ScheduleConfig::deserialize(serde_json::to_value(&value).map_err(wrong)?).map_err(wrong)
    }

    fn visit_map<M: MapAccess<'de>>(self, table: M) -> Result<ScheduleConfig<L>, M::Error> {
        ScheduleConfig::from_table(OneEntry(table))
    }
}

/// A table with one entry, which serde reads as a variant.
struct OneEntry<M>(M);

fn one_table<E: Error>() -> E {
    E::custom(
        "a schedule is a single table, named after its curve or combinator; combine several in a sequence, \
         product or sum",
    )
}

impl<'de, M: MapAccess<'de>> EnumAccess<'de> for OneEntry<M> {
    type Error = M::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<(S::Value, Self), M::Error> {
        let name = self.0.next_key_seed(seed)?.ok_or_else(one_table)?;
        Ok((name, self))
    }
}

impl<'de, M: MapAccess<'de>> VariantAccess<'de> for OneEntry<M> {
    type Error = M::Error;

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<S::Value, M::Error> {
        let value = self.0.next_value_seed(seed)?;
        match self.0.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(one_table()),
        }
    }

    fn unit_variant(self) -> Result<(), M::Error> {
        Err(one_table())
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, M::Error> {
        Err(one_table())
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, M::Error> {
        Err(one_table())
    }
}

/// The position in a file of an error in the text that starts at byte `start`, and the message. Other
/// messages keep their position.
#[cfg(feature = "files")]
pub(crate) fn place_in<'a>(file: &str, start: usize, message: &'a str) -> (usize, &'a str) {
    let found = message.strip_prefix("column ").and_then(|rest| rest.split_once(": "));
    let Some((column, rest)) = found else { return (start, message) };
    let Ok(column) = column.parse::<usize>() else { return (start, message) };
    (characters(&file[start..]).nth(column - 1).map_or(start, |at| start + at), rest)
}

/// The byte offsets at which the characters of a quoted text start, and at which it ends.
#[cfg(feature = "files")]
fn characters(quoted: &str) -> impl Iterator<Item = usize> + '_ {
    let quote = quoted.chars().next().unwrap_or('"');
    let three = quoted.get(..3).is_some_and(|open| open.chars().all(|c| c == quote));
    let mut at = if three { 3 } else { 1 };
    // A line break directly after three quotes is not part of the text.
    if three && quoted[at..].starts_with("\r\n") {
        at += 2;
    } else if three && quoted[at..].starts_with('\n') {
        at += 1;
    }
    std::iter::from_fn(move || {
        let here = at;
        let rest = quoted.get(at..)?;
        let escape =
            if quote == '"' && rest.starts_with('\\') { rest.chars().nth(1) } else { None };
        at += match escape {
            Some('u') => 6,
            Some('U') => 10,
            Some(escaped) => 1 + escaped.len_utf8(),
            None => rest.chars().next()?.len_utf8(),
        };
        Some(here)
    })
}

/// The byte offset at which the JSON string starts that ends at byte `end` of a file.
#[cfg(feature = "files")]
pub(crate) fn string_that_ends(json: &str, end: usize) -> Option<usize> {
    let (mut open, mut escaped) = (None, false);
    for (at, c) in json.char_indices() {
        match (open, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(start), '"') if at + 1 >= end => return Some(start),
            (Some(_), '"') => open = None,
            (None, '"') => open = Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use crate::prelude::*;

    fn toml(text: &str) -> String {
        ScheduleConfig::from_toml(text).unwrap_err().to_string()
    }

    fn json(text: &str) -> String {
        ScheduleConfig::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn a_text_may_stand_wherever_a_schedule_does() {
        let expected: ScheduleConfig =
            cosine(0.1).warmup(Span::percent(5)).then(Span::epochs(3), constant(0.01)).into();
        for whole in [
            "schedule = \"cosine(0.1).warmup(5%).then(3ep, constant(0.01))\"",
            "schedule = 'cosine(0.1).warmup(5%).then(3ep, constant(0.01))'",
            "schedule = \"\"\"\ncosine(0.1)\n  .warmup(5%)\n  .then(3ep, constant(0.01))\n\"\"\"",
            "[[schedule.sequence.parts]]\nlength = \"3ep\"\nschedule = \"cosine(0.1).warmup(5%)\"\n\
             [[schedule.sequence.parts]]\nschedule = \"constant(0.01)\"",
        ] {
            let read = ScheduleConfig::from_toml(whole).unwrap_or_else(|e| panic!("{whole}: {e}"));
            assert_eq!(read, expected);
            assert_eq!(ScheduleConfig::from_toml(&read.to_toml().unwrap()).unwrap(), expected);
        }
        let whole = r#"{"schedule": {"sequence": {"parts": [
            {"length": "3ep", "schedule": {"warmup": {"length": "5%", "schedule": "cosine(0.1)"}}},
            {"schedule": "constant(0.01)"}]}}}"#;
        assert_eq!(ScheduleConfig::from_json(whole).unwrap(), expected);
    }

    #[test]
    fn an_error_in_a_text_is_found_in_its_file() {
        let flor = "unknown call `flor`; did you mean `floor`?";
        // `flor` is the 13th character of the text, which starts after the quote in column 13.
        assert_eq!(toml("\nschedule = \"cosine(0.1).flor(1)\""), format!("toml:2:25: {flor}"));
        assert_eq!(toml("schedule = 'cosine(0.1).flor(1)'"), format!("toml:1:25: {flor}"));
        let lines = "schedule = \"\"\"\ncosine(0.1)\n  .flor(1)\"\"\"";
        assert_eq!(toml(lines), format!("toml:3:4: {flor}"));
        let inside = "[schedule.warmup]\nlength = 5\nschedule = \"cosine(0.1).flor(1)\"";
        assert_eq!(toml(inside), format!("toml:3:25: {flor}"));
        let escaped = r#"schedule = "sum([constant(1, \"x\").flor(1)])""#;
        assert!(toml(escaped).starts_with("toml:1:30: constant takes rate"), "{}", toml(escaped));
        let after = r#"schedule = "constant(\u0031).flor(1)""#;
        assert_eq!(toml(after), format!("toml:1:30: {flor}"));

        assert_eq!(json(r#"{"schedule": "cosine(0.1).flor(1)"}"#), format!("json:1:27: {flor}"));
        let nested = "{\"schedule\": {\"scale\": {\"factor\": 2,\n  \"schedule\": \"cosine(0.1).flor(1)\"}}}";
        assert_eq!(json(nested), format!("json:2:28: {flor}"));
        let after = r#"{"schedule": "constant(\u0031).flor(1)"}"#;
        assert_eq!(json(after), format!("json:1:32: {flor}"));
        assert!(toml("schedule = \"cosine\"").starts_with("toml:1:13: expected a curve, such as"));
        assert!(toml("schedule = \"\"").starts_with("toml:1:13: "), "{}", toml("schedule = \"\""));
        assert!(toml("schedule = 3").contains("a text such as"), "{}", toml("schedule = 3"));
    }
}

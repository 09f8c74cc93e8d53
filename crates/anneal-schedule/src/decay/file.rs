//! A weight decay in a file: a number, or a table with the policy's name.
//!
//! ```toml
//! weight_decay = 0.05
//! weight_decay = { independent = 1e-4 }
//! weight_decay = { relative = "10ep", cautious = true }
//! weight_decay = { coupled = "cosine(0.1)" }
//! weight_decay = { l2 = 5e-4 }
//! ```

use super::{Policy, Strength, WeightDecay};
use crate::{ScheduleConfig, Span};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

impl Serialize for Strength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Coefficient(value) | Self::L2(value) => serializer.serialize_f64(*value),
            Self::TimeScale(span) => serializer.collect_str(span),
            Self::Scheduled(schedule) => schedule.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Strength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrengthVisitor)
    }
}

struct StrengthVisitor;

impl<'de> Visitor<'de> for StrengthVisitor {
    type Value = Strength;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a coefficient, a time scale such as \"10ep\", or a schedule such as \"cosine(0.1)\"",
        )
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Strength, E> {
        Ok(Strength::Coefficient(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Strength, E> {
        Ok(Strength::Coefficient(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Strength, E> {
        Ok(Strength::Coefficient(value as f64))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Strength, E> {
        if value.contains('(') {
            let schedule = ScheduleConfig::deserialize(value.into_deserializer())?;
            return Ok(Strength::Scheduled(Box::new(schedule)));
        }
        value.parse::<Span>().map(Strength::TimeScale).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Strength, A::Error> {
        let schedule = ScheduleConfig::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Strength::Scheduled(Box::new(schedule)))
    }
}

impl Serialize for WeightDecay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + usize::from(self.cautious)))?;
        map.serialize_entry(self.key(), &self.strength)?;
        if self.cautious {
            map.serialize_entry("cautious", &true)?;
        }
        map.end()
    }
}

/// Decoupled weight decay: a coefficient, as in torch's AdamW, or a table with the strength under the name of its policy.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "WeightDecay", transform = or_coefficient))]
#[serde(deny_unknown_fields)]
struct Table {
    /// Removes the share η_t ω of each weight per update: it fades with the rate.
    coupled: Option<Strength>,
    /// Removes the share ω of each weight per update, whatever the rate.
    independent: Option<Strength>,
    /// Removes the share ω η_t/η₀ of each weight per update: the same at the peak for any peak rate.
    relative: Option<Strength>,
    /// Removes the share ω η_t²/η₀ of each weight per update: keeps the relative update of normalized weights.
    corrected: Option<Strength>,
    /// Removes the share α η₀ of each weight per update: the regularization α of an L2 penalty for any peak rate.
    l2: Option<f64>,
    /// Decays only weights that the update moves towards 0, or leaves.
    #[serde(default)]
    cautious: bool,
}

impl Table {
    fn weight_decay(self) -> Option<WeightDecay> {
        let strengths = [
            (Policy::Coupled, self.coupled),
            (Policy::Independent, self.independent),
            (Policy::Relative, self.relative),
            (Policy::Corrected, self.corrected),
            (Policy::Independent, self.l2.map(Strength::L2)),
        ];
        let mut given = strengths.into_iter().filter_map(|(policy, found)| Some((policy, found?)));
        match (given.next(), given.next()) {
            (Some((policy, strength)), None) => {
                Some(WeightDecay { policy, strength, cautious: self.cautious })
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for WeightDecay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WeightDecayVisitor)
    }
}

struct WeightDecayVisitor;

impl<'de> Visitor<'de> for WeightDecayVisitor {
    type Value = WeightDecay;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a coefficient, or a table such as { independent = 1e-4 }")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<WeightDecay, E> {
        Ok(WeightDecay::coupled(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<WeightDecay, E> {
        Ok(WeightDecay::coupled(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<WeightDecay, E> {
        Ok(WeightDecay::coupled(value as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WeightDecay, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        table.weight_decay().ok_or_else(|| {
            A::Error::custom(
                "give exactly one of `coupled`, `independent`, `relative`, `corrected` and `l2`",
            )
        })
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::{Strength, Table, WeightDecay};
    use crate::{ScheduleConfig, Span};
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde_json::json;
    use std::borrow::Cow;

    impl JsonSchema for WeightDecay {
        fn schema_name() -> Cow<'static, str> {
            Table::schema_name()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            Table::json_schema(generator)
        }
    }

    /// A number stands for the coefficient of a coupled decay.
    pub(super) fn or_coefficient(table: &mut Schema) {
        table.insert("type".into(), json!(["number", "object"]));
    }

    impl JsonSchema for Strength {
        fn schema_name() -> Cow<'static, str> {
            "Strength".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let schedule = generator.subschema_for::<ScheduleConfig>();
            let span = generator.subschema_for::<Span>();
            json_schema!({
                "description": "A coefficient, a time scale such as \"10ep\", or a schedule.",
                "if": { "type": "number" },
                "then": { "minimum": 0 },
                "else": { "if": { "type": "object" }, "then": schedule, "else": { "anyOf": [span, { "pattern": r"\(" }] } },
            })
        }
    }
}
#[cfg(feature = "schema")]
use schema::or_coefficient;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::prelude::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        weight_decay: WeightDecay,
    }

    fn read(text: &str) -> Result<WeightDecay, String> {
        let text = format!("weight_decay = {text}");
        file::from_toml::<Holder>(&text, "toml")
            .map(|holder| holder.weight_decay)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read_and_written() {
        let expected = [
            ("0.05", WeightDecay::coupled(0.05)),
            ("1", WeightDecay::coupled(1.0)),
            ("{ independent = 1e-4 }", WeightDecay::independent(1e-4)),
            ("{ relative = \"10ep\", cautious = true }", {
                WeightDecay::relative(Span::epochs(10)).cautious()
            }),
            ("{ coupled = { cosine = { peak = 0.1 } } }", WeightDecay::coupled(cosine(0.1))),
            ("{ corrected = 2 }", WeightDecay::corrected(2.0)),
            ("{ l2 = 5e-4 }", WeightDecay::from_l2(5e-4)),
        ];
        for (text, expected) in expected {
            assert_eq!(read(text).unwrap(), expected, "{text}");
            let json = serde_json::to_string(&expected).unwrap();
            assert_eq!(serde_json::from_str::<WeightDecay>(&json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_decay_says_what_one_is() {
        for (text, part) in [
            ("{ coupled = 0.1, l2 = 0.1 }", "exactly one of `coupled`"),
            ("{ cautious = true }", "exactly one of"),
            ("{ independant = 0.1 }", "did you mean `independent`?"),
            ("{ relative = \"10 parsecs\" }", "parsecs"),
            ("{ relative = { cosin = { peak = 0.1 } } }", "did you mean `cosine`?"),
            ("\"0.1\"", "a coefficient, or a table"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

//! The description of training in half precision.

use crate::groups::Selection;
use crate::text_or_table::{self, TextOrTable};
use anneal_control::LossScaling;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Training in f16 or bf16, with master weights in f32 for any optimizer.
///
/// The model is cast, and so are its inputs if they are a tensor, or a pair whose first item is a tensor. For your
/// own batch type, call `LearnerBuilder::cast_inputs`, unless the model casts it. The model should cast the inputs
/// of its loss to f32; its `TrainStep::step` must call `scaled_backward`.
///
/// ```
/// use anneal_config::{HalfPrecision, Selection};
/// use anneal_control::LossScaling;
///
/// let half = HalfPrecision {
///     except: Selection::norms(),
///     loss_scaling: Some(LossScaling::new().growth_interval(500)),
///     ..HalfPrecision::f16()
/// };
/// ```
///
/// In a file it is a word, `half_precision = "bf16"`, or a table:
///
/// ```toml
/// [half_precision]
/// dtype = "f16"
/// except = { norms = true }
/// loss_scaling = { growth_interval = 500 }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HalfPrecision {
    /// f16 or bf16.
    pub dtype: HalfDtype,
    /// Parameters that are not cast, for example [`Selection::norms`]; the model casts the tensors that go
    /// into and out of them.
    pub except: Selection,
    /// The scale of the loss; see [`LossScaling`].
    pub loss_scaling: Option<LossScaling>,
}

/// A 16-bit floating-point type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HalfDtype {
    /// IEEE half precision: 5 bits of exponent, 10 of mantissa; at most 65,504.
    F16,
    /// bfloat16: 8 bits of exponent as in f32, 7 of mantissa.
    Bf16,
}

impl HalfPrecision {
    /// f16, with loss scaling as in torch.
    pub fn f16() -> Self {
        Self::of(HalfDtype::F16)
    }

    /// bf16, which has the range of f32 and needs no loss scaling.
    pub fn bf16() -> Self {
        Self::of(HalfDtype::Bf16)
    }

    fn of(dtype: HalfDtype) -> Self {
        let loss_scaling = (dtype == HalfDtype::F16).then(LossScaling::new);
        Self { dtype, except: Selection::none(), loss_scaling }
    }
}

/// Its table in a file.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "HalfPrecision"))]
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::table_or_text))]
#[serde(deny_unknown_fields)]
pub(crate) struct HalfPrecisionFile {
    /// "f16" or "bf16".
    dtype: HalfDtype,
    /// Parameters that stay in f32.
    #[serde(default, skip_serializing_if = "Selection::is_none")]
    except: Selection,
    /// The scale of the loss, or "none"; by default, only f16 has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_scaling: Option<Scaling>,
}

/// Loss scaling, or `"none"`.
#[derive(Clone, Copy)]
struct Scaling(Option<LossScaling>);

impl Serialize for HalfPrecision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { dtype, except, loss_scaling } = self.clone();
        let usual = Self::of(dtype);
        if *self == usual {
            return dtype.serialize(serializer);
        }
        let said = (loss_scaling != usual.loss_scaling).then_some(Scaling(loss_scaling));
        HalfPrecisionFile { dtype, except, loss_scaling: said }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HalfPrecision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::read(deserializer)
    }
}

impl TextOrTable for HalfPrecision {
    const ALLOWED: &str = "\"f16\", \"bf16\", or a table with dtype, except and loss_scaling";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "f16" => Ok(Self::f16()),
            "bf16" => Ok(Self::bf16()),
            other => Err(format!("half_precision: `{other}` is not allowed; allowed: f16, bf16")),
        }
    }

    fn from_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error> {
        let HalfPrecisionFile { dtype, except, loss_scaling } =
            HalfPrecisionFile::deserialize(table)?;
        let usual = Self::of(dtype);
        let loss_scaling = loss_scaling.map_or(usual.loss_scaling, |Scaling(said)| said);
        Ok(Self { dtype, except, loss_scaling })
    }
}

impl Serialize for Scaling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(scaling) => scaling.serialize(serializer),
            None => serializer.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Scaling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::read(deserializer)
    }
}

impl TextOrTable for Scaling {
    const ALLOWED: &str = "\"none\", or a table such as { growth_interval = 500 }";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            other => {
                Err(format!("loss_scaling: `{other}` is not allowed; allowed: none, or a table"))
            }
        }
    }

    fn from_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error> {
        LossScaling::deserialize(table).map(|scaling| Self(Some(scaling)))
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::{HalfPrecision, HalfPrecisionFile, LossScaling, Scaling};
    use schemars::{JsonSchema, Schema, SchemaGenerator};
    use std::borrow::Cow;

    impl JsonSchema for HalfPrecision {
        fn schema_name() -> Cow<'static, str> {
            HalfPrecisionFile::schema_name()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            HalfPrecisionFile::json_schema(generator)
        }
    }

    impl JsonSchema for Scaling {
        fn schema_name() -> Cow<'static, str> {
            "LossScalingOrNone".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let mut schema = LossScaling::json_schema(generator);
            crate::schema::table_or_text(&mut schema);
            schema
        }
    }
}

//! Values in a file that are a text or a table.

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A value that is read from a text or a table.
pub(crate) trait TextOrTable: Sized {
    /// The allowed values, for errors.
    const ALLOWED: &str;

    fn from_text(text: &str) -> Result<Self, String>;

    fn from_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error>;
}

pub(crate) fn read<'de, T: TextOrTable, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Read(PhantomData))
}

struct Read<T>(PhantomData<T>);

impl<'de, T: TextOrTable> Visitor<'de> for Read<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::ALLOWED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_map<M: MapAccess<'de>>(self, table: M) -> Result<T, M::Error> {
        T::from_table(MapAccessDeserializer::new(table))
    }
}

//! Lengths before and after resolution.

use crate::{Level, Span};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::{Debug, Display};

/// A length in a schedule: a [`Span`] in a description, a count of updates (`u64`) once resolved.
///
/// Curves are generic over both: a user describes and a file holds a `Cosine<Span>`; a
/// [`Schedule`](crate::Schedule) evaluates a `Cosine<u64>`.
pub trait Length:
    Copy
    + Debug
    + Display
    + PartialEq
    + Default
    + Serialize
    + DeserializeOwned
    + private::InSchema
    + private::Sealed
{
    /// A rate beside such lengths: a [`Level`] in a description, an `f64` once resolved.
    type Level: Copy
        + Debug
        + PartialEq
        + Default
        + Serialize
        + DeserializeOwned
        + private::InSchema;

    /// Whether this is the default length, "what is left of the run", which need not be printed.
    fn fills_the_run(self) -> bool;
}

impl Length for Span {
    type Level = Level;

    fn fills_the_run(self) -> bool {
        self == Span::Rest
    }
}

impl Length for u64 {
    type Level = f64;

    /// Once resolved, the last part of a sequence lasts forever.
    fn fills_the_run(self) -> bool {
        self == u64::MAX
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for crate::Span {}
    impl Sealed for u64 {}

    /// What a schema can describe; anything without one.
    #[cfg(feature = "schema")]
    pub trait InSchema: schemars::JsonSchema {}
    #[cfg(feature = "schema")]
    impl<T: schemars::JsonSchema> InSchema for T {}
    #[cfg(not(feature = "schema"))]
    pub trait InSchema {}
    #[cfg(not(feature = "schema"))]
    impl<T> InSchema for T {}
}

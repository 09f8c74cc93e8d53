//! Lengths before and after resolution.

use crate::Span;
use std::fmt::{Debug, Display};

/// A length in a schedule: a [`Span`] in a description, a count of updates (`u64`) once resolved.
///
/// Curves are generic over both: a user describes and a file holds a `Cosine<Span>`; a
/// [`Schedule`](crate::Schedule) evaluates a `Cosine<u64>`.
pub trait Length: Copy + Debug + Display + PartialEq + private::Sealed {
    /// Whether this is the default length, "what is left of the run", which need not be printed.
    fn fills_the_run(self) -> bool;
}

impl Length for Span {
    fn fills_the_run(self) -> bool {
        self == Span::Rest
    }
}

impl Length for u64 {
    /// Once resolved, the last part of a sequence lasts forever.
    fn fills_the_run(self) -> bool {
        self == u64::MAX
    }
}

mod private {
    // A schema shows a default length as a file would.
    #[cfg(feature = "schema")]
    pub trait Sealed: Default + serde::Serialize + schemars::JsonSchema {}
    #[cfg(not(feature = "schema"))]
    pub trait Sealed {}
    impl Sealed for crate::Span {}
    impl Sealed for u64 {}
}

//! What a length is before and after it is resolved.

use crate::Span;
use std::fmt::{Debug, Display};

/// A length in a schedule: a [`Span`] in a description, a count of updates (`u64`) once resolved.
///
/// Curves are written once for both: `Cosine<Span>` is what a user describes and a file holds,
/// `Cosine<u64>` is what a [`Schedule`](crate::Schedule) evaluates.
pub trait Length: Copy + Debug + Display + PartialEq + private::Sealed {
    /// Whether this length is the default, "what is left of the run", and need not be printed.
    fn fills_the_run(self) -> bool;
}

impl Length for Span {
    fn fills_the_run(self) -> bool {
        self == Span::Rest
    }
}

impl Length for u64 {
    /// The last part of a sequence lasts for ever once resolved.
    fn fills_the_run(self) -> bool {
        self == u64::MAX
    }
}

mod private {
    // A default length in a schema is written as it would be in a file.
    #[cfg(feature = "schema")]
    pub trait Sealed: Default + serde::Serialize + schemars::JsonSchema {}
    #[cfg(not(feature = "schema"))]
    pub trait Sealed {}
    impl Sealed for crate::Span {}
    impl Sealed for u64 {}
}

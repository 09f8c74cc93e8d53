//! The one list of curves and combinators; everything that has to know them all is derived here.

use crate::combine::*;
use crate::curve::*;
use crate::{ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! nodes {
    ($($name:ident $variant:ident $(<$length:ident>)?),* $(,)?) => {
        /// Any curve or combinator.
        ///
        /// With [`Span`] lengths it is a description ([`ScheduleConfig`]); resolved, with lengths
        /// in updates, it is what a [`Schedule`](crate::Schedule) evaluates. In a file it is a
        /// table named after the curve: `[schedule.cosine]`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
        pub enum Node<L = Span> {$(
            #[doc = concat!("A [`", stringify!($variant), "`].")]
            $variant($variant $(<$length>)?),
        )*}

        impl Node {
            /// Resolves whatever curve or combinator this is.
            pub(crate) fn resolve_in(&self, scope: &Scope<'_>) -> Result<Node<u64>, ScheduleError> {
                match self {$(
                    Self::$variant(inner) => {
                        inner.resolve(&scope.named(stringify!($name))).map(Node::$variant)
                    }
                )*}
            }
        }

        impl Rate for Node<u64> {
            fn rate(&self, step: u64) -> f64 {
                match self {$(Self::$variant(inner) => inner.rate(step),)*}
            }

            fn held(&self, step: u64) -> f64 {
                match self {$(Self::$variant(inner) => inner.held(step),)*}
            }

            fn peak(&self) -> f64 {
                match self {$(Self::$variant(inner) => inner.peak(),)*}
            }
        }

        impl fmt::Display for Node<Span> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {$(Self::$variant(inner) => inner.fmt(f),)*}
            }
        }

        impl fmt::Display for Node<u64> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {$(Self::$variant(inner) => inner.fmt(f),)*}
            }
        }

        $(impl From<$variant> for Node {
            fn from(inner: $variant) -> Self {
                Self::$variant(inner)
            }
        })*
    };
}

nodes! {
    constant Constant,
    step_decay StepDecay<L>,
    multi_step MultiStep<L>,
    exponential Exponential<L>,
    polynomial Polynomial<L>,
    cosine Cosine<L>,
    warm_restarts WarmRestarts<L>,
    one_cycle OneCycle<L>,
    stable_decay StableDecay<L>,
    warmup Warmup<L>,
    sequence Sequence<L>,
    product Product<L>,
    sum Sum<L>,
    minimum Minimum<L>,
    maximum Maximum<L>,
    scale Scale<L>,
    floor Floor<L>,
    cap Cap<L>,
}

/// The description of a schedule: plain data that a file can hold and builder calls grow.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let config: ScheduleConfig = cosine(3e-4).warmup(Span::percent(5.0)).into();
/// let schedule = config.resolve(RunLength::updates(1_000))?;
/// assert_eq!(schedule.rate(50), 3e-4);
/// # Ok::<(), ScheduleError>(())
/// ```
pub type ScheduleConfig = Node<Span>;

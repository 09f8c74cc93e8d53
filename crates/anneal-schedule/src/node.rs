//! The single list of curves and combinators, from which everything that needs all of them is derived.

use crate::combine::*;
use crate::curve::*;
use crate::curve::{pieces::Piece, tail::Tail};
#[cfg(feature = "peers")]
use crate::peers::PeerCurve;
use crate::{Length, ScheduleError, Span, scope::Scope, text};
use serde::de::{self, EnumAccess, VariantAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The builder functions or calls of the text form, with their positional fields.
pub(crate) type Calls = &'static [(&'static str, &'static [&'static str])];

/// Defines an enum of curves, each named after its builder, and what it delegates to them.
macro_rules! curves {
    (
        $(#[$attribute:meta])*
        enum $Enum:ident $({ $(#[$condition:meta])* $Others:ident($others:ident) })?
        $($calls:ident {
            $($name:ident($($argument:ident),*) $variant:ident $(<$length:ident>)?,)*
        })*
    ) => {
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(bound = "L: crate::Length", rename_all = "snake_case"))]
        $(#[$attribute])*
        #[non_exhaustive]
        pub enum $Enum<L: $crate::Length = Span> {
            $($(
                #[doc = concat!("A [`", stringify!($variant), "`].")]
                $variant($variant $(<$length>)?),
            )*)*
            $(
                /// A curve that exists only in another library.
                $(#[$condition])*
                #[cfg_attr(feature = "schema", schemars(skip))]
                $Others($others<L>),
            )?
        }

        $(
            /// Names, with their positional fields in the text form.
            pub(crate) const $calls: Calls =
                &[$((stringify!($name), &[$(stringify!($argument)),*]),)*];
        )*

        impl $Enum {
            /// All names.
            const NAMES: &[&str] = &[$($(stringify!($name),)*)*];

            /// Resolves this curve or combinator.
            pub(crate) fn resolve_in(
                &self,
                scope: &Scope<'_>,
            ) -> Result<$Enum<u64>, ScheduleError> {
                match self {
                    $($(Self::$variant(inner) => {
                        let name = inner.name_in_errors(stringify!($name));
                        inner.resolve(&scope.named(name)).map($Enum::$variant)
                    })*)*
                    $($(#[$condition])* Self::$Others(inner) => {
                        inner.resolve_in(scope).map($Enum::$Others)
                    })?
                }
            }
        }

        impl $Enum<u64> {
            /// The curve or combinator inside.
            pub(crate) fn curve(&self) -> &dyn Rate {
                match self {
                    $($(Self::$variant(inner) => inner,)*)*
                    $($(#[$condition])* Self::$Others(inner) => inner.curve(),)?
                }
            }
        }

        impl<L: $crate::Length> Serialize for $Enum<L> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let name = stringify!($Enum);
                match self {
                    // A span needs a self-describing format, and so do these fields; such a format needs no
                    // index.
                    $($(Self::$variant(inner) => {
                        serializer.serialize_newtype_variant(name, 0, stringify!($name), inner)
                    })*)*
                    $($(#[$condition])* Self::$Others(inner) => inner.serialize(serializer),)?
                }
            }
        }

        impl<L: $crate::Length> $Enum<L> {
            /// Reads the fields of the curve or combinator `name`.
            pub(crate) fn read<'de, A: VariantAccess<'de>>(
                name: &str,
                fields: A,
            ) -> Result<Self, A::Error> {
                $($(if name == stringify!($name) {
                    return fields.newtype_variant().map(Self::$variant);
                })*)*
                Err(de::Error::unknown_variant(name, $Enum::NAMES))
            }
        }

        $($(impl From<$variant> for $crate::ScheduleConfig {
            fn from(inner: $variant) -> Self {
                $Enum::$variant(inner).into()
            }
        }

        impl fmt::Display for $variant {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $crate::ScheduleConfig::from(self.clone()).fmt(f)
            }
        })*)*
    };
}
#[cfg(feature = "peers")]
pub(crate) use curves;

curves! {
    /// The description of a schedule: plain data that a file can hold and builder calls extend.
    ///
    /// It is any curve or combinator. In a file it is a table with its name, `[schedule.cosine]`; as text it
    /// is the builder chain `cosine(3e-4).warmup(5%)`.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// let config: ScheduleConfig = cosine(3e-4).warmup(Span::percent(5.0)).into();
    /// let schedule = config.resolve(RunLength::updates(1_000))?;
    /// assert_eq!(schedule.rate(50), 3e-4);
    /// # Ok::<(), ScheduleError>(())
    /// ```
    ///
    /// Its lengths are [`Span`]s. In a resolved schedule the same structs hold lengths in updates, `L` =
    /// `u64`.
    #[cfg_attr(feature = "schema", schemars(transform = crate::schema::table_or_text))]
    enum ScheduleConfig { #[cfg(feature = "peers")] Peer(PeerCurve) }
    FUNCTIONS {
        constant(rate) Constant,
        step_decay(peak, every, gamma) StepDecay<L>,
        multi_step(peak, milestones, gamma) MultiStep<L>,
        exponential(peak, decay) Exponential<L>,
        polynomial(start, end, power) Polynomial<L>,
        power_law(peak, timescale, power) PowerLaw<L>,
        inverse_time(peak, decay, per) InverseTime<L>,
        piecewise_constant(start, boundaries, values) PiecewiseConstant<L>,
        piecewise_interpolate(start, boundaries, values) PiecewiseInterpolate<L>,
        cosine(peak) Cosine<L>,
        warm_restarts(peak, cycle) WarmRestarts<L>,
        cyclic(base, peak, up) Cyclic<L>,
        one_cycle(peak) OneCycle<L>,
        stable_decay(peak, decay) StableDecay<L>,
        custom(name) Custom,
        table(rates) Table<L>,
        inverse_curvature(peak, curvatures) InverseCurvature<L>,
        inverse_sqrt(peak, timescale) InverseSqrt<L>,
        noam(factor, model_size, warmup_length) Noam<L>,
        tanh(peak) Tanh<L>,
        sequence(parts) Sequence<L>,
        product(schedules) Product<L>,
        sum(schedules) Sum<L>,
        minimum(schedules) Minimum<L>,
        maximum(schedules) Maximum<L>,
    }
    METHODS {
        warmup(length) Warmup<L>,
        scale(factor) Scale<L>,
        floor(floor) Floor<L>,
        cap(cap) Cap<L>,
        repeat() Repeat<L>,
        truncate(length) Truncate<L>,
        delay(length) Delay<L>,
        stretch(factor) Stretch<L>,
        by_samples() BySamples<L>,
        phase(shift) Phase<L>,
        smooth(window) Smooth<L>,
        follow_batch_size(noise_scale) FollowBatchSize<L>,
        follow_noise(peak) FollowNoise<L>,
        follow_momentum(curvature) FollowMomentum<L>,
        mechanical_momentum(friction) MechanicalMomentum<L>,
        follow_temperature(ratio) FollowTemperature<L>,
    }
}

#[cfg(feature = "peers")]
pub(crate) use crate::peers::PEER_FUNCTIONS;

/// Empty without the feature `peers`.
#[cfg(not(feature = "peers"))]
pub(crate) const PEER_FUNCTIONS: Calls = &[];

#[cfg(feature = "peers")]
impl From<PeerCurve> for ScheduleConfig {
    fn from(curve: PeerCurve) -> Self {
        Self::Peer(curve)
    }
}

impl Rate for ScheduleConfig<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.curve().rate(step)
    }

    fn fill(&self, first: u64, rates: &mut [f64]) {
        self.curve().fill(first, rates);
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.curve().end_rate(step)
    }

    fn peak(&self) -> f64 {
        self.curve().peak()
    }

    fn mean(&self, step: u64, window: u64) -> Option<f64> {
        self.curve().mean(step, window)
    }

    fn tail(&self) -> Tail {
        self.curve().tail()
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        self.curve().pieces(steps)
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        self.curve().cycle_end(from)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        self.curve().inner()
    }
}

impl<L: Length> ScheduleConfig<L> {
    /// Reads a table named after its curve or combinator.
    pub(crate) fn from_table<'de, A: EnumAccess<'de>>(table: A) -> Result<Self, A::Error> {
        let (Name(name), fields) = table.variant()?;
        #[cfg(feature = "peers")]
        if PEER_FUNCTIONS.iter().any(|known| known.0 == name) {
            return PeerCurve::read(&name, fields).map(Self::Peer);
        }
        Self::read(&name, fields)
    }
}

/// A known name; an unknown one is refused while it is read, so that the error has its position.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = ScheduleConfig::NAMES.contains(&name.as_str());
        match known || PEER_FUNCTIONS.iter().any(|known| known.0 == name) {
            true => Ok(Self(name)),
            false => Err(de::Error::unknown_variant(&name, ScheduleConfig::NAMES)),
        }
    }
}

impl fmt::Display for ScheduleConfig<Span> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(self))
    }
}

impl fmt::Display for ScheduleConfig<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write_resolved(self))
    }
}

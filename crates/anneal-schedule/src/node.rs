//! The one list of curves and combinators; everything that has to know them all is derived here.

use crate::combine::*;
use crate::curve::*;
use crate::curve::{pieces::Piece, tail::Tail};
use crate::peers::PeerGrowth;
use crate::peers::fastai::{FastaiAnnealer, FastaiCombinedCos};
use crate::peers::keras::KerasRestarts;
use crate::peers::optax::{OptaxCosine, OptaxJoin};
use crate::peers::timm::{TimmCycles, TimmStep, TimmWsd};
use crate::peers::torch::TorchChain;
use crate::peers::transformers::TransformersDecay;
use crate::{ScheduleError, Span, scope::Scope, text};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! nodes {
    (
        functions { $($function:ident($($argument:ident),*) $functions:ident $(<$fl:ident>)?,)* }
        methods { $($method:ident($($parameter:ident),*) $methods:ident $(<$ml:ident>)?,)* }
    ) => {
        /// The builder functions of the text form, with the fields that they take by position.
        pub(crate) const FUNCTIONS: &[(&str, &[&str])] =
            &[$((stringify!($function), &[$(stringify!($argument)),*]),)*];

        /// The builder calls of the text form that combine what stands before them, which becomes
        /// their field `schedule`.
        pub(crate) const METHODS: &[(&str, &[&str])] =
            &[$((stringify!($method), &[$(stringify!($parameter)),*]),)*];

        nodes! {
            $($function $functions $(<$fl>)?,)*
            $($method $methods $(<$ml>)?,)*
        }
    };
    ($($name:ident $variant:ident $(<$length:ident>)?),* $(,)?) => {
        /// Any curve or combinator.
        ///
        /// With [`Span`] lengths it is a description ([`ScheduleConfig`]); resolved, with lengths
        /// in updates, it is what a [`Schedule`](crate::Schedule) evaluates. In a file it is a
        /// table named after the curve: `[schedule.cosine]`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
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

            fn fill(&self, first: u64, rates: &mut [f64]) {
                match self {$(Self::$variant(inner) => inner.fill(first, rates),)*}
            }

            fn end_rate(&self, step: u64) -> f64 {
                match self {$(Self::$variant(inner) => inner.end_rate(step),)*}
            }

            fn peak(&self) -> f64 {
                match self {$(Self::$variant(inner) => inner.peak(),)*}
            }

            fn mean(&self, step: u64, window: u64) -> Option<f64> {
                match self {$(Self::$variant(inner) => inner.mean(step, window),)*}
            }

            fn tail(&self) -> Tail {
                match self {$(Self::$variant(inner) => inner.tail(),)*}
            }

            fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
                match self {$(Self::$variant(inner) => inner.pieces(steps),)*}
            }

            fn cycle_end(&self, from: u64) -> Option<u64> {
                match self {$(Self::$variant(inner) => inner.cycle_end(from),)*}
            }

            fn inner(&self) -> Vec<Inner<'_>> {
                match self {$(Self::$variant(inner) => inner.inner(),)*}
            }
        }

        $(impl From<$variant> for Node {
            fn from(inner: $variant) -> Self {
                Self::$variant(inner)
            }
        }

        impl fmt::Display for $variant {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Node::from(self.clone()).fmt(f)
            }
        })*
    };
}

nodes! {
    functions {
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
        torch_chain(lr, tracks) TorchChain,
        fastai_annealer(start, end, length) FastaiAnnealer,
        fastai_combined_cos(start, middle, end, length) FastaiCombinedCos,
        sequence(parts) Sequence<L>,
        product(schedules) Product<L>,
        sum(schedules) Sum<L>,
        minimum(schedules) Minimum<L>,
        maximum(schedules) Maximum<L>,
        optax_cosine(start, end, exponent) OptaxCosine<L>,
        optax_join(parts) OptaxJoin<L>,
        keras_restarts(start, cycle) KerasRestarts<L>,
        peer_growth(start, factor, per) PeerGrowth<L>,
        timm_cycles(base_lr, t_initial, shape) TimmCycles,
        timm_step(base_lr, decay_t, decay_rate) TimmStep,
        timm_wsd(base_lr, t_initial, decay_t) TimmWsd,
        transformers_decay(base_lr, length, shape) TransformersDecay,
    }
    methods {
        warmup(length) Warmup<L>,
        scale(factor) Scale<L>,
        floor(floor) Floor<L>,
        cap(cap) Cap<L>,
        repeat(length) Repeat<L>,
        delay(length) Delay<L>,
        stretch(factor) Stretch<L>,
        phase(shift) Phase<L>,
        smooth(window) Smooth<L>,
        follow_batch_size(noise_scale) FollowBatchSize<L>,
        follow_noise(peak) FollowNoise<L>,
        follow_momentum(curvature) FollowMomentum<L>,
        mechanical_momentum(friction) MechanicalMomentum<L>,
        follow_temperature(ratio) FollowTemperature<L>,
    }
}

impl fmt::Display for Node<Span> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(self))
    }
}

impl fmt::Display for Node<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write_resolved(self))
    }
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

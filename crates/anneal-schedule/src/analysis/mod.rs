//! Analysis of a schedule without training.
//!
//! | question | answer |
//! | --- | --- |
//! | how smooth is it? | [`Window::flatness`] → [`Flatness`] |
//! | how far does it travel, how much noise does it let in? | [`Window::travel`] → [`Travel`] |
//! | would it converge if it continued forever? | [`robbins_monro`] → [`RobbinsMonro`] |
//! | when has it cooled down? | [`Window::cooling`] → [`Cooling`] |
//! | is it stable on a curvature λ? | [`Window::stability`] → [`Stability`] |
//! | how strong is the weight decay really? | [`Window::weight_decay`] → [`EffectiveDecay`] |
//! | how large are Adam's steps? | [`AdamStep`] |
//! | which step decay matches which exponential? | [`partner`], [`same_end`], [`same_half_life`], [`same_decay`] |
//! | all of the above | [`Analysis::of`] |
//!
//! A [`Window`] selects the updates to analyze. If the schedule consists of parts with known sums (constant,
//! step decay, exponential, straight line, half a cosine wave, with warm-ups, floors, caps, factors and
//! sequences of them), the results come from closed forms and cost the same for any length; otherwise from a
//! sum over the window's updates, at most [`MAX_SUMMED`] of them. Longer windows are refused with
//! [`AnalysisError::TooManySteps`]: no sum ever skips an update. Each result states its [`Method`].
//!
//! ```
//! use anneal_schedule::prelude::*;
//! use anneal_schedule::analysis::{Analysis, Options};
//!
//! let schedule = cosine(0.1).warmup(Span::percent(5.0)).resolve(RunLength::updates(1_000))?;
//! let analysis = Analysis::of(&schedule, &Options::new().weight_decay(1e-4).curvature(15.0))?;
//! assert_eq!(analysis.cooling.peak_step, 50);
//! assert_eq!(analysis.stability.unwrap().updates_above, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod accumulator;
mod adam_step;
mod cooling;
mod deviation;
mod error;
mod flatness;
mod matching;
mod report;
mod robbins_monro;
mod stability;
mod travel;
mod weight_decay;
mod window;

pub use crate::curve::tail::Tail;
pub use adam_step::AdamStep;
pub use cooling::Cooling;
pub use deviation::Deviation;
pub use error::AnalysisError;
pub use flatness::Flatness;
pub use matching::{LogGap, Match, partner, same_decay, same_end, same_half_life};
pub use report::{Analysis, Options};
pub use robbins_monro::{Answer, RobbinsMonro, robbins_monro};
pub use stability::{
    Optimizer, Stability, best_constant_rate, contraction, descent_limit, stationary_variance,
};
pub use travel::Travel;
pub use weight_decay::EffectiveDecay;
pub use window::{MAX_SUMMED, Method, Window};

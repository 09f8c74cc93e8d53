//! One pass over the numbers of a parameter.

use super::real::Real;
use pulp::{Arch, NullaryFnOnce};
use std::array::from_fn;

/// What an optimizer does with one weight.
pub trait Rule<E, const N: usize>: Copy + Send + Sync {
    /// The weight after the update; changes its moments.
    fn update(&self, weight: E, gradient: E, moments: &mut [E; N]) -> E;
}

/// A rule in numbers that are cast to the type of the weights.
pub trait Rules<const N: usize> {
    /// The rule for this type.
    type For<E: Real>: Rule<E, N>;

    /// Rounds its numbers as Burn rounds scalars.
    fn rounded<E: Real>(&self) -> Self::For<E>;
}

/// A rule after a decay of all weights: w ← keep · w first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decayed<E, R> {
    pub keep: E,
    pub rule: R,
}

impl<E: Real, const N: usize, R: Rule<E, N>> Rule<E, N> for Decayed<E, R> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, moments: &mut [E; N]) -> E {
        self.rule.update(weight * self.keep, gradient, moments)
    }
}

/// A rule before a decay of the weights that it moves towards 0, or not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct CautiouslyDecayed<E, R> {
    pub share: E,
    pub rule: R,
}

impl<E: Real, const N: usize, R: Rule<E, N>> Rule<E, N> for CautiouslyDecayed<E, R> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, moments: &mut [E; N]) -> E {
        let updated = self.rule.update(weight, gradient, moments);
        let zero = E::default();
        let rises = (weight > zero) & (updated > weight);
        let falls = (weight < zero) & (updated < weight);
        updated - if rises | falls { zero } else { weight * self.share }
    }
}

/// Where the weights are read and written.
#[derive(Debug)]
pub(super) enum Weights<'a, E> {
    /// In place.
    InPlace { weights: &'a mut [E], gradients: &'a [E] },
    /// Into the buffer of the gradients, which nobody needs afterwards.
    IntoGradients { weights: &'a [E], gradients: &'a mut [E] },
    /// Into another buffer.
    Into { weights: &'a [E], gradients: &'a [E], to: &'a mut [E] },
}

/// All that a pass reads and writes, of one length.
#[derive(Debug)]
pub(super) struct Streams<'a, E, const N: usize> {
    pub weights: Weights<'a, E>,
    pub moments: [&'a mut [E]; N],
}

/// The fewest numbers that are worth a thread.
const GRAIN: usize = 1 << 15;

/// Updates all numbers, on several threads if there are enough.
pub(super) fn update_all<E: Real, const N: usize>(
    arch: Arch,
    streams: Streams<'_, E, N>,
    rule: impl Rule<E, N>,
) {
    let length = streams.len();
    if length < 2 * GRAIN || rayon::current_num_threads() == 1 {
        return arch.dispatch(Block { streams, rule });
    }
    // At a cache line, so that no two threads write to the same.
    let middle = (length / 2).next_multiple_of(64);
    let (left, right) = streams.split_at(middle);
    rayon::join(|| update_all(arch, left, rule), || update_all(arch, right, rule));
}

impl<'a, E, const N: usize> Streams<'a, E, N> {
    fn len(&self) -> usize {
        match &self.weights {
            Weights::InPlace { weights, .. } => weights.len(),
            Weights::IntoGradients { weights, .. } | Weights::Into { weights, .. } => weights.len(),
        }
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        let (left, right) = match self.weights {
            Weights::InPlace { weights, gradients } => {
                let (weights, gradients) =
                    (weights.split_at_mut(middle), gradients.split_at(middle));
                (
                    Weights::InPlace { weights: weights.0, gradients: gradients.0 },
                    Weights::InPlace { weights: weights.1, gradients: gradients.1 },
                )
            }
            Weights::IntoGradients { weights, gradients } => {
                let (weights, gradients) =
                    (weights.split_at(middle), gradients.split_at_mut(middle));
                (
                    Weights::IntoGradients { weights: weights.0, gradients: gradients.0 },
                    Weights::IntoGradients { weights: weights.1, gradients: gradients.1 },
                )
            }
            Weights::Into { weights, gradients, to } => {
                let (weights, gradients) = (weights.split_at(middle), gradients.split_at(middle));
                let to = to.split_at_mut(middle);
                (
                    Weights::Into { weights: weights.0, gradients: gradients.0, to: to.0 },
                    Weights::Into { weights: weights.1, gradients: gradients.1, to: to.1 },
                )
            }
        };
        let mut moments = self.moments.map(|moments| {
            let (left, right) = moments.split_at_mut(middle);
            (left, Some(right))
        });
        let rights = from_fn(|k| moments[k].1.take().unwrap_or_default());
        (
            Self { weights: left, moments: moments.map(|(left, _)| left) },
            Self { weights: right, moments: rights },
        )
    }
}

/// Streams that one thread updates, with the instructions of the machine.
struct Block<'a, E, R, const N: usize> {
    streams: Streams<'a, E, N>,
    rule: R,
}

impl<E: Real, R: Rule<E, N>, const N: usize> NullaryFnOnce for Block<'_, E, R, N> {
    type Output = ();

    // Plain loops over slices of one length, which the compiler turns into vector instructions.
    #[inline(always)]
    fn call(self) {
        let Self { streams: Streams { weights, moments }, rule } = self;
        macro_rules! update {
            ($weights:ident, $gradients:ident, $to:ident) => {{
                let length = $weights.len();
                assert_eq!($gradients.len(), length);
                assert_eq!($to.len(), length);
                for moments in &moments {
                    assert_eq!(moments.len(), length);
                }
                for i in 0..length {
                    let mut own = [E::default(); N];
                    for k in 0..N {
                        own[k] = moments[k][i];
                    }
                    $to[i] = rule.update($weights[i], $gradients[i], &mut own);
                    for k in 0..N {
                        moments[k][i] = own[k];
                    }
                }
            }};
        }
        match weights {
            Weights::InPlace { weights, gradients } => update!(weights, gradients, weights),
            Weights::IntoGradients { weights, gradients } => update!(weights, gradients, gradients),
            Weights::Into { weights, gradients, to } => update!(weights, gradients, to),
        }
    }
}

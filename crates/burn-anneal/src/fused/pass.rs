//! One pass over the numbers of a parameter.
//!
//! It goes through them in blocks that stay in the nearest cache, and does with each block all that an update does:
//! the factor of the gradient, the decay, the rule of the optimizer, the average and the copy in half precision.

use super::real::Real;
use burn::tensor::{bf16, f16};
use half::slice::HalfFloatSliceExt;
use pulp::{Arch, NullaryFnOnce};
use std::array::from_fn;
use std::ops::Range;

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

/// What happens to each number around the rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<E> {
    /// What each gradient is multiplied by.
    pub factor: E,
    /// What each weight is multiplied by before the rule.
    pub keep: E,
    /// The share of each weight that is taken off after the rule, if this moves the weight towards 0 or not at all.
    pub cautious_share: Option<E>,
    /// The share of the weight in its average.
    pub in_average: E,
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

/// The weights of a model in half precision, rounded from those that are updated.
#[derive(Debug)]
pub(super) enum Rounded<'a> {
    F16(Halves<'a, f16>),
    Bf16(Halves<'a, bf16>),
}

/// Numbers in half precision, before and after an update.
#[derive(Debug)]
pub(super) struct Halves<'a, H> {
    /// Those before it, if they are not in `to`.
    pub from: Option<&'a [H]>,
    pub to: &'a mut [H],
}

/// All that a pass reads and writes, of one length.
#[derive(Debug)]
pub(super) struct Streams<'a, E, const N: usize> {
    pub weights: Weights<'a, E>,
    pub moments: [&'a mut [E]; N],
    pub average: Option<&'a mut [E]>,
    pub rounded: Option<Rounded<'a>>,
}

/// The fewest numbers that are worth a thread.
const GRAIN: usize = 1 << 15;

/// Whether this many numbers are worth two threads, and where to divide them: at a cache line, so that no two threads
/// write to the same.
fn middle(length: usize) -> Option<usize> {
    let is_worth_it = length >= 2 * GRAIN && rayon::current_num_threads() > 1;
    is_worth_it.then(|| (length / 2).next_multiple_of(64))
}

/// Updates all numbers, on several threads if there are enough.
pub(super) fn update_all<E: Real, const N: usize>(
    arch: Arch,
    streams: Streams<'_, E, N>,
    around: Around<E>,
    rule: impl Rule<E, N>,
) {
    let Some(middle) = middle(streams.len()) else {
        return arch.dispatch(Update { streams, around, rule });
    };
    let (left, right) = streams.split_at(middle);
    rayon::join(|| update_all(arch, left, around, rule), || update_all(arch, right, around, rule));
}

impl<E> Weights<'_, E> {
    /// The weights before the update.
    fn before(&self) -> &[E] {
        match self {
            Self::InPlace { weights, .. } => weights,
            Self::IntoGradients { weights, .. } | Self::Into { weights, .. } => weights,
        }
    }
}

impl<'a, E, const N: usize> Streams<'a, E, N> {
    fn len(&self) -> usize {
        self.weights.before().len()
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        let weights = match self.weights {
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
        let average = self.average.map(|average| average.split_at_mut(middle)).unzip();
        let rounded = self.rounded.map(|rounded| rounded.split_at(middle)).unzip();
        (
            Self {
                weights: weights.0,
                moments: moments.map(|(left, _)| left),
                average: average.0,
                rounded: rounded.0,
            },
            Self { weights: weights.1, moments: rights, average: average.1, rounded: rounded.1 },
        )
    }
}

impl<'a> Rounded<'a> {
    fn split_at(self, middle: usize) -> (Self, Self) {
        match self {
            Self::F16(halves) => {
                let (left, right) = halves.split_at(middle);
                (Self::F16(left), Self::F16(right))
            }
            Self::Bf16(halves) => {
                let (left, right) = halves.split_at(middle);
                (Self::Bf16(left), Self::Bf16(right))
            }
        }
    }
}

impl<'a, H> Halves<'a, H> {
    fn split_at(self, middle: usize) -> (Self, Self) {
        let (left, right) = self.from.map(|from| from.split_at(middle)).unzip();
        let to = self.to.split_at_mut(middle);
        (Self { from: left, to: to.0 }, Self { from: right, to: to.1 })
    }
}

/// The numbers of a block; its buffers take 3 KiB in f32.
const BLOCK: usize = 256;

/// Streams that one thread updates, with the instructions of the machine.
struct Update<'a, E, R, const N: usize> {
    streams: Streams<'a, E, N>,
    around: Around<E>,
    rule: R,
}

impl<E: Real, R: Rule<E, N>, const N: usize> NullaryFnOnce for Update<'_, E, R, N> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let length = self.streams.len();
        let mut buffers = [[E::default(); BLOCK]; 3];
        let mut start = 0;
        while start < length {
            let end = (start + BLOCK).min(length);
            self.block(start..end, &mut buffers);
            start = end;
        }
    }
}

// Plain loops over slices of one length, which the compiler turns into vector instructions.
impl<E: Real, R: Rule<E, N>, const N: usize> Update<'_, E, R, N> {
    #[inline(always)]
    fn block(&mut self, range: Range<usize>, buffers: &mut [[E; BLOCK]; 3]) {
        let Self { streams: Streams { weights, moments, average, rounded }, around, rule } = self;
        let [before, copies, halves] = buffers.each_mut().map(|buffer| &mut buffer[..range.len()]);
        let is_changed = rounded.is_some() || around.cautious_share.is_some();
        if is_changed {
            before.copy_from_slice(&weights.before()[range.clone()]);
        }
        match rounded {
            Some(Rounded::F16(rounded)) => rounded.restore(range.clone(), before, [copies, halves]),
            Some(Rounded::Bf16(rounded)) => {
                rounded.restore(range.clone(), before, [copies, halves])
            }
            None => {}
        }
        let moments = moments.each_mut().map(|moment| &mut moment[range.clone()]);
        macro_rules! update {
            ($weights:ident, $gradients:ident, $to:ident) => {{
                let length = $to.len();
                assert_eq!($weights.len(), length);
                assert_eq!($gradients.len(), length);
                for moments in &moments {
                    assert_eq!(moments.len(), length);
                }
                for i in 0..length {
                    let mut own = [E::default(); N];
                    for k in 0..N {
                        own[k] = moments[k][i];
                    }
                    let (weight, gradient) =
                        ($weights[i] * around.keep, $gradients[i] * around.factor);
                    $to[i] = rule.update(weight, gradient, &mut own);
                    for k in 0..N {
                        moments[k][i] = own[k];
                    }
                }
            }};
        }
        let now = match weights {
            Weights::InPlace { weights, gradients } => {
                let (to, gradients) = (&mut weights[range.clone()], &gradients[range.clone()]);
                match is_changed {
                    true => update!(before, gradients, to),
                    false => update!(to, gradients, to),
                }
                to
            }
            Weights::IntoGradients { weights, gradients } => {
                let to = &mut gradients[range.clone()];
                let from = if is_changed { &*before } else { &weights[range.clone()] };
                update!(from, to, to);
                to
            }
            Weights::Into { weights, gradients, to } => {
                let (to, gradients) = (&mut to[range.clone()], &gradients[range.clone()]);
                let from = if is_changed { &*before } else { &weights[range.clone()] };
                update!(from, gradients, to);
                to
            }
        };
        if let Some(share) = around.cautious_share {
            decay_cautiously(share, before, now);
        }
        if let Some(average) = average {
            for (average, weight) in average[range.clone()].iter_mut().zip(&*now) {
                *average = *average + (*weight - *average) * around.in_average;
            }
        }
        match rounded {
            Some(Rounded::F16(rounded)) => E::round(now, &mut rounded.to[range]),
            Some(Rounded::Bf16(rounded)) => E::round(now, &mut rounded.to[range]),
            None => {}
        }
    }
}

/// Takes a share of the weights `before` from those that were moved towards 0, or not at all.
#[inline(always)]
fn decay_cautiously<E: Real>(share: E, before: &[E], now: &mut [E]) {
    let zero = E::default();
    for (now, before) in now.iter_mut().zip(before) {
        let rises = (*before > zero) & (*now > *before);
        let falls = (*before < zero) & (*now < *before);
        *now = *now - if rises | falls { zero } else { *before * share };
    }
}

impl<H: Copy> Halves<'_, H>
where
    [H]: HalfFloatSliceExt,
{
    /// Replaces weights by the halves that are not their rounded copies. Writes to `to`.
    #[inline(always)]
    fn restore<E: Real>(
        &mut self,
        range: Range<usize>,
        weights: &mut [E],
        [copies, now]: [&mut [E]; 2],
    ) {
        let halves = &mut self.to[range.clone()];
        if let Some(from) = self.from {
            halves.copy_from_slice(&from[range]);
        }
        E::widen(halves, now);
        E::round(weights, halves);
        E::widen(halves, copies);
        for (weight, (copy, now)) in weights.iter_mut().zip(copies.iter().zip(&*now)) {
            *weight = if *copy == *now { *weight } else { *now };
        }
    }
}

/// Σ x², in f64 over the sums of blocks; on several threads if there are enough.
pub(super) fn sum_of_squares<E: Real>(arch: Arch, numbers: &[E]) -> f64 {
    let Some(middle) = middle(numbers.len()) else { return arch.dispatch(SumOfSquares(numbers)) };
    let (left, right) = numbers.split_at(middle);
    let (left, right) = rayon::join(|| sum_of_squares(arch, left), || sum_of_squares(arch, right));
    left + right
}

struct SumOfSquares<'a, E>(&'a [E]);

impl<E: Real> NullaryFnOnce for SumOfSquares<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let mut sum = 0.0;
        for block in self.0.chunks(BLOCK) {
            let mut sums = [E::default(); 32];
            let parts = block.chunks_exact(sums.len());
            let rest = parts.remainder().iter().map(|x| (*x * *x).wide()).sum::<f64>();
            for part in parts {
                for (sum, x) in sums.iter_mut().zip(part) {
                    *sum = *sum + *x * *x;
                }
            }
            sum += rest + sums.iter().map(|sum| sum.wide()).sum::<f64>();
        }
        sum
    }
}

//! The numbers that kernels compute with.

use burn::tensor::Element;
use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// f32 or f64.
pub trait Real:
    Element
    + Pod
    + Default
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The nearest number, as Burn rounds a scalar for a tensor.
    fn of(value: f64) -> Self;
    /// √x.
    fn root(self) -> Self;
    /// x · by + add, rounded once.
    fn fused(self, by: Self, add: Self) -> Self;
    /// The same number.
    fn wide(self) -> f64;
    /// Casts from half precision.
    fn widen<H>(halves: &[H], to: &mut [Self])
    where
        [H]: HalfFloatSliceExt;
    /// Casts to half precision.
    fn round<H>(numbers: &[Self], to: &mut [H])
    where
        [H]: HalfFloatSliceExt;
}

macro_rules! real {
    ($($real:ident $widen:ident $round:ident),*) => {$(
        impl Real for $real {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $real
            }

            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn fused(self, by: Self, add: Self) -> Self {
                self.mul_add(by, add)
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn widen<H>(halves: &[H], to: &mut [Self])
            where
                [H]: HalfFloatSliceExt,
            {
                halves.$widen(to);
            }

            #[inline(always)]
            fn round<H>(numbers: &[Self], to: &mut [H])
            where
                [H]: HalfFloatSliceExt,
            {
                to.$round(numbers);
            }
        }
    )*};
}

real! { f32 convert_to_f32_slice convert_from_f32_slice, f64 convert_to_f64_slice convert_from_f64_slice }

/// Divides many numbers by one, with the result of a division: x / c to the last bit.
///
/// A processor divides several times slower than it multiplies. With r = 1/c rounded, q = x r is within 2 units of the
/// last place; q + r (x − q c) with fused operations is within one, and the same again is x / c correctly rounded
/// (Markstein 1990, "Computation of elementary functions on the IBM RISC System/6000 processor", theorem 7.2). Only
/// where q or x − q c is subnormal or infinite may the last bit differ.
#[derive(Clone, Copy, Debug)]
pub struct Divisor<E> {
    by: E,
    reciprocal: E,
}

impl<E: Real> Divisor<E> {
    /// A divisor above 0.
    pub fn new(by: f64) -> Self {
        let by = E::of(by);
        Self { by, reciprocal: E::of(1.0) / by }
    }

    /// x / c.
    #[inline(always)]
    pub fn divide(self, x: E) -> E {
        let Self { by, reciprocal } = self;
        let quotient = x * reciprocal;
        let quotient = (-quotient).fused(by, x).fused(reciprocal, quotient);
        (-quotient).fused(by, x).fused(reciprocal, quotient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every 61st significand, which is all that a quotient depends on, and a few random ones in f64.
    #[test]
    fn it_divides_to_the_last_bit() {
        for beta in [0.9f32, 0.999, 0.98, 0.5] {
            for update in [1, 2, 7, 40, 1_000] {
                let by = 1.0 - beta.powi(update);
                let (narrow, wide) =
                    (Divisor::<f32>::new(by.into()), Divisor::<f64>::new(by.into()));
                let mut bits = u64::from(by.to_bits());
                for significand in (0..1 << 23).step_by(61) {
                    let x = f32::from_bits(1f32.to_bits() | significand);
                    assert_eq!(narrow.divide(x), x / by, "{x} / {by}");
                    bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let x = f64::from_bits(1f64.to_bits() | bits >> 12);
                    assert_eq!(wide.divide(x), x / f64::from(by), "{x} / {by}");
                }
            }
        }
    }
}

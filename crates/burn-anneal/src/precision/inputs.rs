//! Casts the inputs of a model in half precision.

use burn::tensor::{Bool, FloatDType, Int, Tensor};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Casts the inputs of a model to its precision: known types, and types with a cast by the user.
#[derive(Clone)]
pub(crate) struct Casts {
    dtype: FloatDType,
    own: HashMap<TypeId, OwnCast>,
}

/// Casts a value of a type that only the user knows.
pub(crate) type OwnCast = Arc<dyn Fn(Box<dyn Any>, FloatDType) -> Box<dyn Any> + Send + Sync>;

/// Wraps the user's cast of a type.
pub(crate) fn own_cast<I: 'static>(
    cast: impl Fn(I, FloatDType) -> I + Send + Sync + 'static,
) -> (TypeId, OwnCast) {
    let cast = move |item: Box<dyn Any>, dtype| match item.downcast::<I>() {
        Ok(item) => Box::new(cast(*item, dtype)) as Box<dyn Any>,
        Err(item) => item,
    };
    (TypeId::of::<I>(), Arc::new(cast))
}

impl Casts {
    pub fn new(dtype: FloatDType, own: HashMap<TypeId, OwnCast>) -> Self {
        Self { dtype, own }
    }

    /// The item, cast if its type is known.
    pub fn cast<I: 'static>(&self, item: I) -> I {
        let Some(own) = self.own.get(&TypeId::of::<I>()) else {
            let mut item = Some(item);
            cast_known(&mut item, self.dtype);
            return item.expect("what is taken is put back");
        };
        let cast = own(Box::new(item), self.dtype).downcast::<I>();
        *cast.expect("a cast is found by its type")
    }
}

impl fmt::Debug for Casts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inputs to {:?}, {} types by the user", self.dtype, self.own.len())
    }
}

/// Casts an `Option` of a tensor, or the first tensor of a pair: the second may be targets, which are not inputs of the
/// model.
fn cast_known(item: &mut dyn Any, dtype: FloatDType) {
    macro_rules! one {
        ($($rank:literal)*) => {
            $(if let Some(item) = item.downcast_mut::<Option<Tensor<$rank>>>() {
                *item = item.take().map(|tensor| tensor.cast(dtype));
            })*
        };
    }
    macro_rules! pairs {
        ($first:literal: $($second:literal)*) => {
            $(pairs!($first, Tensor<$second>);
            pairs!($first, Tensor<$second, Int>);
            pairs!($first, Tensor<$second, Bool>);)*
        };
        ($first:literal, $second:ty) => {
            if let Some(item) = item.downcast_mut::<Option<(Tensor<$first>, $second)>>() {
                *item = item.take().map(|(input, other)| (input.cast(dtype), other));
            }
        };
    }
    one!(1 2 3 4 5 6);
    pairs!(1: 1 2 3 4);
    pairs!(2: 1 2 3 4);
    pairs!(3: 1 2 3 4);
    pairs!(4: 1 2 3 4);
    pairs!(5: 1 2 3 4 5);
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    #[derive(Debug)]
    struct Batch {
        images: Tensor<4>,
    }

    #[test]
    fn what_is_known_is_cast_and_what_is_said() {
        let device = Device::default();
        let casts = Casts::new(FloatDType::F16, HashMap::new());
        let tensor = casts.cast(Tensor::<3>::ones([1, 2, 3], &device));
        assert_eq!(tensor.dtype(), DType::F16);
        let classes = Tensor::<1, Int>::zeros([1], &device);
        let (input, _) = casts.cast((Tensor::<2>::ones([1, 2], &device), classes));
        assert_eq!(input.dtype(), DType::F16);
        // Targets may exceed the range of f16.
        let targets = Tensor::<2>::full([1, 1], 250_001.0, &device);
        let (input, targets) = casts.cast((Tensor::<2>::ones([1, 2], &device), targets));
        assert_eq!((input.dtype(), targets.dtype()), (DType::F16, DType::F32));

        let batch = || Batch { images: Tensor::ones([1, 1, 2, 2], &device) };
        assert_eq!(casts.cast(batch()).images.dtype(), DType::F32);
        let own = own_cast(|batch: Batch, dtype| Batch { images: batch.images.cast(dtype) });
        let casts = Casts::new(FloatDType::BF16, HashMap::from([own]));
        assert_eq!(casts.cast(batch()).images.dtype(), DType::BF16);
    }
}

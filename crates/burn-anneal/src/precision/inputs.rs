//! Casting what goes into a model in half precision.

use burn::tensor::{Bool, FloatDType, Int, Tensor};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Casts the inputs of a model to its precision: those whose type is known here, and those that a user says how to
/// cast.
#[derive(Clone)]
pub(crate) struct Casts {
    dtype: FloatDType,
    own: HashMap<TypeId, OwnCast>,
}

/// Casts a value of which only its owner knows the type.
pub(crate) type OwnCast = Arc<dyn Fn(Box<dyn Any>, FloatDType) -> Box<dyn Any> + Send + Sync>;

/// That of a type.
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

    /// The item, cast, and whether anybody knows its type.
    pub fn cast<I: 'static>(&self, item: I) -> (I, bool) {
        let Some(own) = self.own.get(&TypeId::of::<I>()) else {
            let mut item = Some(item);
            let is_known = cast_known(&mut item, self.dtype);
            return (item.expect("what is taken is put back"), is_known);
        };
        let cast = own(Box::new(item), self.dtype).downcast::<I>();
        (*cast.expect("a cast is found by its type"), true)
    }
}

impl fmt::Debug for Casts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inputs to {:?}, {} types by the user", self.dtype, self.own.len())
    }
}

/// Casts an `Option` of tensors, or of a pair of them, and says whether it is one.
fn cast_known(item: &mut dyn Any, dtype: FloatDType) -> bool {
    macro_rules! one {
        ($($rank:literal)*) => {
            $(if let Some(item) = item.downcast_mut::<Option<Tensor<$rank>>>() {
                *item = item.take().map(|tensor| tensor.cast(dtype));
                return true;
            }
            if item.is::<Option<Tensor<$rank, Int>>>() {
                return true;
            })*
        };
    }
    macro_rules! pair {
        ($first:literal: $($second:literal)*) => {
            $(if let Some(item) = item.downcast_mut::<Option<(Tensor<$first>, Tensor<$second>)>>() {
                *item = item.take().map(|(one, other)| (one.cast(dtype), other.cast(dtype)));
                return true;
            }
            if let Some(item) = item.downcast_mut::<Option<(Tensor<$first>, Tensor<$second, Int>)>>() {
                *item = item.take().map(|(one, other)| (one.cast(dtype), other));
                return true;
            }
            if let Some(item) = item.downcast_mut::<Option<(Tensor<$first>, Tensor<$second, Bool>)>>() {
                *item = item.take().map(|(one, other)| (one.cast(dtype), other));
                return true;
            }
            if item.is::<Option<(Tensor<$first, Int>, Tensor<$second, Int>)>>() {
                return true;
            })*
        };
    }
    one!(1 2 3 4 5 6);
    pair!(1: 1 2 3 4);
    pair!(2: 1 2 3 4);
    pair!(3: 1 2 3 4);
    pair!(4: 1 2 3 4);
    pair!(5: 1 2 3 4 5);
    item.is::<Option<()>>()
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
        let (tensor, known) = casts.cast(Tensor::<3>::ones([1, 2, 3], &device));
        assert_eq!((tensor.dtype(), known), (DType::F16, true));
        let targets = Tensor::<1, Int>::zeros([1], &device);
        let ((input, _), known) = casts.cast((Tensor::<2>::ones([1, 2], &device), targets));
        assert_eq!((input.dtype(), known), (DType::F16, true));

        let batch = || Batch { images: Tensor::ones([1, 1, 2, 2], &device) };
        let (left, known) = casts.cast(batch());
        assert_eq!((left.images.dtype(), known), (DType::F32, false));
        let own = own_cast(|batch: Batch, dtype| Batch { images: batch.images.cast(dtype) });
        let casts = Casts::new(FloatDType::BF16, HashMap::from([own]));
        let (cast, known) = casts.cast(batch());
        assert_eq!((cast.images.dtype(), known), (DType::BF16, true));
    }
}

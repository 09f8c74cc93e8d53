//! Lists of schedules, possibly of different types.

/// A list of schedules as an argument: an array or a vector of one type, or a tuple of up to eight types.
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::{minimum, product};
/// let product = product((cosine(0.1), linear(1.0, 0.5), constant(2.0)));
/// assert_eq!(product.to_string(), "product([cosine(0.1), linear(1.0, 0.5), constant(2.0)])");
/// let minimum = minimum([cosine(0.1), cosine(0.2)]);
/// assert_eq!(minimum.to_string(), "minimum([cosine(0.1), cosine(0.2)])");
/// ```
pub trait IntoList<T> {
    /// The list.
    fn into_list(self) -> Vec<T>;
}

impl<T, A: Into<T>, const N: usize> IntoList<T> for [A; N] {
    fn into_list(self) -> Vec<T> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T, A: Into<T>> IntoList<T> for Vec<A> {
    fn into_list(self) -> Vec<T> {
        self.into_iter().map(Into::into).collect()
    }
}

macro_rules! tuples {
    ($($($name:ident)+,)+) => {$(
        impl<T, $($name: Into<T>),+> IntoList<T> for ($($name,)+) {
            #[allow(non_snake_case)]
            fn into_list(self) -> Vec<T> {
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    )+};
}

tuples! {
    A,
    A B,
    A B C,
    A B C D,
    A B C D E,
    A B C D E F,
    A B C D E F G,
    A B C D E F G H,
}

//! Whether the gradients of two tasks point the same way.

use super::Task;
use crate::update::{ByParameter, in_f32, known_mean, numbers, on_one_device};
use burn::tensor::Tensor;
use std::fmt;
use thiserror::Error;

/// The cosine between the gradients of two tasks, over the parameters that both have one for.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskCosine {
    /// The name of one.
    pub first: String,
    /// The name of the other.
    pub second: String,
    /// From −1, against each other, to 1, the same way; or why there is none.
    pub cosine: Result<f64, NoCosine>,
}

/// Why the gradients of two tasks have no cosine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoCosine {
    /// One has no gradient.
    #[error("`{task}` has no gradient in this batch")]
    NoGradient {
        /// Its name.
        task: String,
    },
    /// No parameter has a gradient of both.
    #[error("they share no parameter")]
    NothingShared,
    /// One is 0 for all parameters that they share.
    #[error("the gradient of `{task}` is 0, or its weight is")]
    Zero {
        /// Its name.
        task: String,
    },
    /// One is infinite or NaN somewhere.
    #[error("the gradient of `{task}` is not finite")]
    NotFinite {
        /// Its name.
        task: String,
    },
}

impl fmt::Display for TaskCosine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` and `{}`: ", self.first, self.second)?;
        match &self.cosine {
            Ok(cosine) => write!(f, "{cosine:.3}"),
            Err(reason) => write!(f, "none, as {reason}"),
        }
    }
}

/// The cosine of two gradients, and the length of each, whose largest entry is 1: NaN where it is not finite, 0 where it
/// is 0. Of the parameters that both are for; `None` where there are none.
///
/// Squares of what is divided by its largest entry neither overflow nor vanish.
fn angle(one: &ByParameter, other: &ByParameter) -> Option<[Tensor<1>; 3]> {
    let (one, other) = one.shared(other);
    let [(one, length), (other, other_length)] = [in_units(one)?, in_units(other)?];
    let dot = one.dot(other)?;
    let of_dot = |length: &Tensor<1>| length.clone().to_device(&dot.device()).cast(dot.dtype());
    let cosine = dot.clone() / (of_dot(&length) * of_dot(&other_length));
    Some([cosine, length, other_length])
}

/// In units of its largest entry, and how long it is.
fn in_units(gradient: ByParameter) -> Option<(ByParameter, Tensor<1>)> {
    let largest = gradient.largest()?;
    let is_zero = largest.clone().equal_elem(0.0);
    let unit = largest.mask_fill(is_zero, 1.0);
    let gradient = gradient.map(|entries| {
        let entries = in_f32(entries);
        let unit = unit.clone().to_device(&entries.device()).cast(entries.dtype());
        entries / unit
    });
    let length = gradient.norm()?;
    Some((gradient, length))
}

fn pairs(tasks: &[Task]) -> impl Iterator<Item = (&Task, &Task)> {
    tasks.iter().enumerate().flat_map(|(i, one)| tasks[i + 1..].iter().map(move |two| (one, two)))
}

/// The mean over the pairs that have a cosine, on the device; NaN where none has.
pub(super) fn mean(tasks: &[Task], device_of: &Tensor<1>) -> Tensor<1> {
    let trained = |(one, two): &(&Task, &Task)| one.weight > 0.0 && two.weight > 0.0;
    let cosine = |(one, two): (&Task, &Task)| {
        angle(&one.gradients, &two.gradients).map(|[cosine, ..]| cosine)
    };
    let cosines = pairs(tasks).filter(trained).filter_map(cosine).collect();
    match on_one_device(cosines) {
        Some(cosines) => known_mean(cosines),
        None => Tensor::from_floats([f32::NAN], &device_of.device()),
    }
}

/// That of each pair, in one read.
pub(super) fn of_pairs(tasks: &[Task]) -> Vec<TaskCosine> {
    let angles: Vec<_> =
        pairs(tasks).map(|(one, two)| angle(&one.gradients, &two.gradients)).collect();
    let mut read = numbers(angles.iter().flatten().flatten().cloned().collect()).into_iter();
    let mut next = |angle: &Option<[Tensor<1>; 3]>| {
        angle.as_ref().map(|angle| angle.each_ref().map(|_| read.next().unwrap_or(f64::NAN)))
    };
    let cosine = |((one, two), angle): ((&Task, &Task), &_)| TaskCosine {
        first: one.name.clone(),
        second: two.name.clone(),
        cosine: judge([one, two], next(angle)),
    };
    pairs(tasks).zip(&angles).map(cosine).collect()
}

/// What a cosine is, by the lengths of both gradients.
fn judge(tasks: [&Task; 2], angle: Option<[f64; 3]>) -> Result<f64, NoCosine> {
    let name = |task: &Task| task.name.clone();
    if let Some(task) = tasks.into_iter().find(|task| task.gradients.is_empty()) {
        return Err(NoCosine::NoGradient { task: name(task) });
    }
    let Some([cosine, one, two]) = angle else { return Err(NoCosine::NothingShared) };
    for (task, length) in tasks.into_iter().zip([one, two]) {
        if !length.is_finite() {
            return Err(NoCosine::NotFinite { task: name(task) });
        }
        if length == 0.0 || task.weight == 0.0 {
            return Err(NoCosine::Zero { task: name(task) });
        }
    }
    Ok(cosine.clamp(-1.0, 1.0))
}

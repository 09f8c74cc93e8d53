//! The cosine between the gradients of tasks.

use super::Task;
use crate::update::{ByParameter, in_f32, known_mean, numbers, on_one_device};
use burn::tensor::Tensor;
use std::fmt;
use thiserror::Error;

/// The cosine between the gradients of two tasks, over the parameters that have both gradients.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskCosine {
    /// The name of one task.
    pub first: String,
    /// The name of the other task.
    pub second: String,
    /// From −1 (opposite directions) to 1 (same direction), or why there is none.
    pub cosine: Result<f64, NoCosine>,
}

/// Why the gradients of two tasks have no cosine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoCosine {
    /// A task has no gradient.
    #[error("`{task}` has no gradient in this batch")]
    NoGradient {
        /// Its name.
        task: String,
    },
    /// No parameter has a gradient of both tasks.
    #[error("they share no parameter")]
    NothingShared,
    /// A gradient is 0 for all shared parameters, or its weight is 0.
    #[error("the gradient of `{task}` is 0, or its weight is")]
    Zero {
        /// Its name.
        task: String,
    },
    /// A gradient has an infinite or NaN entry.
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
            Err(reason) => write!(f, "none: {reason}"),
        }
    }
}

/// The cosine of two gradients, and their lengths in units of the largest entry: NaN if not finite, 0 if the gradient
/// is
/// 0. Covers the shared parameters; `None` if there are none.
///
/// After division by the largest entry, squares neither overflow nor vanish.
fn angle(one: &ByParameter, other: &ByParameter) -> Option<[Tensor<1>; 3]> {
    let (one, other) = one.shared(other);
    let [(one, length), (other, other_length)] = [in_units(one)?, in_units(other)?];
    let dot = one.dot(other)?;
    let of_dot = |length: &Tensor<1>| length.clone().to_device(&dot.device()).cast(dot.dtype());
    let cosine = dot.clone() / (of_dot(&length) * of_dot(&other_length));
    Some([cosine, length, other_length])
}

/// The gradient in units of its largest entry, and its length.
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

/// The mean over the pairs that have a cosine, on the device; NaN if there are none.
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

/// The cosine of each pair, in one read.
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

/// Checks a cosine by the lengths of both gradients.
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

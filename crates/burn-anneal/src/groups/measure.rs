//! How far an update really moves the weights of each group, and how long they are.

use burn::tensor::{FloatDType, Tensor};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many updates are kept for metrics, which Burn computes in another thread, some updates later.
const KEPT: usize = 256;

/// How far each group moved in the last updates, and how long its weights are, on the device.
///
/// Clones share it: it is read by metrics that were made before Burn cloned the learner. Nothing of
/// training depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    wanted: Arc<AtomicBool>,
    updates: Arc<Mutex<VecDeque<Update>>>,
}

/// The number of an update, and what it did to each group.
type Update = (u64, Vec<Step>);

/// What one update did to one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// Of what was added to the weights.
    step: Sum,
    /// Of the weights after it.
    weights: Sum,
    elements: usize,
}

impl Step {
    /// Adds a parameter that moved from `before`, its decay done, to `after`.
    pub fn add<const D: usize>(&mut self, before: Tensor<D>, after: Tensor<D>) {
        self.elements += before.shape().num_elements();
        self.step.add((before - after.clone()).cast(FloatDType::F32));
        self.weights.add(after.cast(FloatDType::F32));
    }
}

/// A sum of squares on the device, in f32: the square of a small f16 is 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(Option<Tensor<1>>);

impl Sum {
    /// The root of the sum, on the device; `None` where nothing was added.
    pub fn root(self) -> Option<Tensor<1>> {
        Some(self.0?.sqrt())
    }

    pub fn add<const D: usize>(&mut self, values: Tensor<D>) {
        let squares = values.square().sum();
        self.0 = Some(match self.0.take() {
            Some(sum) => {
                let device = sum.device();
                sum + squares.to_device(&device)
            }
            None => squares,
        });
    }

    /// Waits for the device.
    fn read(self) -> Option<f64> {
        Some(f64::from(self.0?.try_into_scalar::<f32>().ok()?))
    }
}

impl Measured {
    /// From now on updates are measured.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub fn keep(&self, number: u64, steps: Vec<Step>) {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        if updates.len() == KEPT {
            updates.pop_front();
        }
        updates.push_back((number, steps));
    }

    /// An update that was left out, though it may have been tried: no step, and the weights as they were.
    pub fn skip(&self, number: u64) {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        while updates.back().is_some_and(|(last, _)| *last == number) {
            updates.pop_back();
        }
        if let Some((_, last)) = updates.back() {
            let still = |of: &Step| Step { step: Sum::default(), ..of.clone() };
            let still = last.iter().map(still).collect();
            updates.push_back((number, still));
        }
    }

    /// The root of the mean square of what an update added to the weights of a group; `None` where it
    /// was not measured.
    pub fn step(&self, number: u64, group: usize) -> Option<f64> {
        let found = self.found(number, group)?;
        Some((found.step.read()? / found.elements as f64).sqrt())
    }

    /// The Euclidean norm of the weights of a group after an update; `None` where it was not measured.
    pub fn norm(&self, number: u64, group: usize) -> Option<f64> {
        Some(self.found(number, group)?.weights.read()?.sqrt())
    }

    fn found(&self, number: u64, group: usize) -> Option<Step> {
        let updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, steps) = updates.iter().rev().find(|(of, _)| *of == number)?;
        steps.get(group).cloned()
    }
}

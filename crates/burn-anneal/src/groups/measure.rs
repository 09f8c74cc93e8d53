//! How far an update really moves the weights of each group.

use burn::tensor::{FloatDType, Tensor};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many updates are kept for metrics, which Burn computes in another thread, some updates later.
const KEPT: usize = 256;

/// The squared length of each group's step in the last updates, on the device.
///
/// Clones share it: it is read by metrics that were made before Burn cloned the learner. Nothing of
/// training depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    wanted: Arc<AtomicBool>,
    updates: Arc<Mutex<VecDeque<(u64, Vec<Step>)>>>,
}

/// What one update did to one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    squared: Option<Tensor<1>>,
    weights: usize,
}

impl Step {
    /// Adds a parameter that moved from `before`, its decay done, to `after`.
    pub fn add<const D: usize>(&mut self, before: Tensor<D>, after: Tensor<D>) {
        self.weights += before.shape().num_elements();
        // The square of an f16 step would be 0.
        let squared = (before - after).cast(FloatDType::F32).square().sum();
        self.squared = Some(match self.squared.take() {
            Some(sum) => {
                let device = sum.device();
                sum + squared.to_device(&device)
            }
            None => squared,
        });
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

    pub fn keep(&self, step: u64, steps: Vec<Step>) {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        if updates.len() == KEPT {
            updates.pop_front();
        }
        updates.push_back((step, steps));
    }

    /// The root of the mean square of what update `step` added to the weights of a group; `None` where it
    /// was not measured. Waits for the device.
    pub fn step(&self, step: u64, group: usize) -> Option<f64> {
        let found = {
            let updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, steps) = updates.iter().rev().find(|(number, _)| *number == step)?;
            steps.get(group)?.clone()
        };
        let squared = f64::from(found.squared?.try_into_scalar::<f32>().ok()?);
        Some((squared / found.weights as f64).sqrt())
    }
}

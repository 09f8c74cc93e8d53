//! Reports updates that are not finite, without a controller for them.

use super::signals::numbers;
use burn::tensor::Tensor;

/// The number of updates read at once, so that the device hardly ever waits.
const AT_ONCE: usize = 64;

/// Records the gradient norm of each update, or its loss if no norm is computed, and reports infinite or NaN ones every
/// few updates, and when a checkpoint is saved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    unread: Vec<(u64, Tensor<1>)>,
    /// The number of updates that were not finite.
    pub not_finite: u64,
}

impl Ledger {
    /// Records the value of an update.
    pub fn note(&mut self, number: u64, value: Tensor<1>) {
        self.unread.push((number, value));
        if self.unread.len() >= AT_ONCE {
            self.read();
        }
    }

    /// Reports an update that was not finite.
    pub fn report(&mut self, number: u64, value: f64) {
        self.not_finite += 1;
        // A diverged run reports only now and then.
        if self.not_finite.is_power_of_two() {
            log::error!(
                "update {number} was made with a loss or gradients of {value} ({} such updates so far); to skip \
                 such updates or to stop, call LearnerBuilder::not_finite",
                self.not_finite
            );
        }
    }

    /// Reads the recorded values.
    pub fn read(&mut self) {
        let (updates, values): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unread).into_iter().unzip();
        for (number, value) in updates.into_iter().zip(numbers(values)) {
            if !value.is_finite() {
                self.report(number, value);
            }
        }
    }
}

//! A metric that records rates.

use burn::tensor::TensorReadError;
use burn::train::metric::{Metric, MetricMetadata, MetricName, SerializedEntry};
use std::sync::{Arc, Mutex};

/// Records the rate that Burn reports after every batch.
#[derive(Clone, Default)]
pub struct RateRecorder {
    rates: Arc<Mutex<Vec<f64>>>,
}

impl RateRecorder {
    /// The rates after each batch so far.
    pub fn per_batch(&self) -> Vec<f64> {
        self.rates.lock().unwrap().clone()
    }

    /// The rates of the updates so far, for a schedule that never uses a rate twice in a row:
    /// batches between two updates report the last update's rate, or 0 before the first.
    pub fn per_update(&self) -> Vec<f64> {
        let mut rates = self.per_batch();
        rates.dedup();
        rates.retain(|&rate| rate != 0.0);
        rates
    }
}

impl Metric for RateRecorder {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Rates".to_string())
    }

    fn update(
        &mut self,
        _item: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let rate = metadata.lr.as_ref().map_or(0.0, |rates| rates.base());
        self.rates.lock().unwrap().push(rate);
        Ok(SerializedEntry::new(format!("{rate:e}"), format!("{rate:e}")))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

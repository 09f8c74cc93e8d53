//! The state of one parameter.

use super::progress::Progress;
use crate::update::{Evaluated, flat, in_f32};
use burn::optim::{RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// The state of one parameter: z, the progress of the average, and the state of the inner optimizer.
#[derive(Clone, Debug)]
pub struct ScheduleFreeState<S, const D: usize> {
    /// In at least f32.
    pub(super) z: Tensor<D>,
    /// The β that y was computed with.
    pub(super) momentum: f64,
    pub(super) progress: Progress,
    pub(super) base: Option<S>,
}

impl<S, const D: usize> ScheduleFreeState<S, D> {
    pub(super) fn begin(z: Tensor<D>, momentum: f64) -> Self {
        Self { z, momentum, progress: Progress::default(), base: None }
    }

    /// x = y/β + (1 − 1/β) z.
    pub(super) fn evaluated(&self, y: Tensor<D>) -> Evaluated {
        let factor = self.momentum.recip();
        vec![(in_f32(flat(y)), factor), (flat(self.z.clone()), 1.0 - factor)]
    }
}

/// Names in the record.
const OWN: &str = "schedule_free";
const Z: &str = "z";
const MOMENTUM: &str = "momentum";
const UPDATES: &str = "updates";
const LARGEST: &str = "largest_rate";
const TOTAL: &str = "total_weight";
const BASE: &str = "base";

impl<S: RecordState, const D: usize> RecordState for ScheduleFreeState<S, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let own = format!("{prefix}.{OWN}");
        out.push_tensor(&own, Z, self.z.to_data());
        out.push_scalar(&own, MOMENTUM, self.momentum.into());
        out.push_scalar(&own, UPDATES, self.progress.updates.into());
        out.push_scalar(&own, LARGEST, self.progress.largest.into());
        out.push_scalar(&own, TOTAL, self.progress.total.into());
        if let Some(base) = &self.base {
            base.state_flatten(&format!("{own}.{BASE}"), out);
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let own = format!("{prefix}.{OWN}");
        let z = source.take_tensor(&own, Z)?;
        let dtype = z.dtype();
        let mut number = |name| f64::try_from(source.take_scalar(&own, name)?).ok();
        let momentum = number(MOMENTUM)?;
        let (largest, total) = (number(LARGEST)?, number(TOTAL)?);
        let updates = source.take_scalar(&own, UPDATES)?.try_into().ok()?;
        let base = S::state_unflatten(&format!("{own}.{BASE}"), source, device);
        let z = Tensor::from_data(z, (device, dtype));
        Some(Self { z, momentum, progress: Progress { updates, largest, total }, base })
    }
}

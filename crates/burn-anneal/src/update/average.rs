//! The average of one parameter, stored next to its optimizer state.

use super::context::Evaluated;
use super::tensors::{flat, in_f32};
use anneal_config::AverageRule;
use burn::optim::{StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// A number that differs for averages of different kinds.
fn kind(rule: AverageRule) -> u64 {
    match rule {
        AverageRule::Ema { .. } => 1,
        AverageRule::Mean => 2,
        AverageRule::Latest(count) => (count as u64).saturating_add(2),
    }
}

/// The share of the next weights in the mean, after `taken` others.
fn share(rule: AverageRule, taken: u64) -> f64 {
    let n = taken as f64;
    match rule {
        AverageRule::Ema { decay, warmup: false } => 1.0 - decay,
        AverageRule::Ema { decay, warmup: true } => 1.0 - decay.min((1.0 + n) / (10.0 + n)),
        AverageRule::Mean | AverageRule::Latest(_) => 1.0 / (n + 1.0),
    }
}

/// a + share · (w − a): an average of constant weights equals them bit for bit.
pub(crate) fn add<const D: usize>(average: Tensor<1>, weight: Tensor<D>, share: f64) -> Tensor<1> {
    let towards = (in_f32(flat(weight)) - average.clone()).mul_scalar(share);
    average + towards
}

/// What happens to the average of a parameter that is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    /// The weights are added.
    Taken(AverageRule),
    /// It is read; an average of another kind is dropped.
    Kept(AverageRule),
    /// It is read, whatever its kind.
    Any,
    /// It is dropped.
    LeftOut,
}

/// The average of a parameter, in at least f32.
#[derive(Clone, Debug)]
pub(crate) struct Averaged {
    /// The average, or the latest weights.
    tensors: Vec<Tensor<1>>,
    /// The number of weights averaged.
    taken: u64,
    kind: u64,
}

/// Its names in a record; each tensor also has a number.
const AVERAGE: &str = "average";
const TAKEN: &str = "average_taken";
const KIND: &str = "average_kind";

impl Averaged {
    /// The average after its weights are shown.
    pub fn shown<const D: usize>(
        average: Option<Self>,
        shown: Shown,
        weight: Tensor<D>,
    ) -> Option<Self> {
        match shown {
            Shown::Taken(rule) => Some(Self::take(average, rule, weight)),
            Shown::Kept(rule) => average.filter(|found| found.kind == kind(rule)),
            Shown::Any => average,
            Shown::LeftOut => None,
        }
    }

    /// Adds weights; a missing average, or one of another kind, starts from them.
    fn take<const D: usize>(average: Option<Self>, rule: AverageRule, weight: Tensor<D>) -> Self {
        let weight = in_f32(flat(weight));
        let kind = kind(rule);
        let is_same = |found: &Self| found.kind == kind && found.tensors[0].dims() == weight.dims();
        let Some(Self { mut tensors, taken, .. }) = average.filter(is_same) else {
            return Self { tensors: vec![weight], taken: 1, kind };
        };
        match rule {
            AverageRule::Ema { .. } | AverageRule::Mean => {
                let average = tensors.swap_remove(0);
                tensors = vec![add(average, weight, share(rule, taken))];
            }
            AverageRule::Latest(count) => match tensors.get_mut((taken % count as u64) as usize) {
                Some(oldest) => *oldest = weight,
                None => tensors.push(weight),
            },
        }
        Self { tensors, taken: taken + 1, kind }
    }

    /// Hands out the average to be updated in the pass of its weights, with the share of these; `None` if they start
    /// it, or it has several tensors. [`put_back`](Self::put_back) comes after.
    pub fn take_out(&mut self, rule: AverageRule, count: usize) -> Option<(Tensor<1>, f64)> {
        let is_one = !matches!(rule, AverageRule::Latest(_));
        let is_same =
            self.kind == kind(rule) && self.tensors.first()?.shape().num_elements() == count;
        let share = share(rule, self.taken);
        (is_one && is_same).then(|| (self.tensors.swap_remove(0), share))
    }

    /// Puts the average back after weights were added to it.
    pub fn put_back(&mut self, average: Tensor<1>) {
        self.tensors = vec![average];
        self.taken += 1;
    }

    /// The evaluated weights.
    pub fn evaluated(&self) -> Evaluated {
        let factor = 1.0 / self.tensors.len() as f64;
        self.tensors.iter().map(|tensor| (tensor.clone(), factor)).collect()
    }

    pub fn flatten(&self, prefix: &str, out: &mut StateSink) {
        for (place, tensor) in self.tensors.iter().enumerate() {
            out.push_tensor(prefix, &format!("{AVERAGE}.{place}"), tensor.to_data());
        }
        out.push_scalar(prefix, TAKEN, self.taken.into());
        out.push_scalar(prefix, KIND, self.kind.into());
    }

    pub fn unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let mut tensors = vec![];
        while let Some(data) = source.take_tensor(prefix, &format!("{AVERAGE}.{}", tensors.len())) {
            let dtype = data.dtype();
            tensors.push(Tensor::from_data(data, (device, dtype)));
        }
        let mut number = |name| source.take_scalar(prefix, name)?.try_into().ok();
        let (taken, kind) = (number(TAKEN)?, number(KIND)?);
        (!tensors.is_empty()).then_some(Self { tensors, taken, kind })
    }

    pub fn move_to(&mut self, device: &Device) {
        for tensor in &mut self.tensors {
            *tensor = tensor.clone().to_device(device);
        }
    }
}

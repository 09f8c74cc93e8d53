//! The average of one parameter, beside the state of its optimizer.

use super::context::Evaluated;
use super::tensors::{flat, in_f32};
use burn::optim::{StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// How weights become an average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// e ← d e + (1 − d) w, with d = min(decay, (1 + n) / (10 + n)) after n weights where it warms up.
    Ema { decay: f64, warmup: bool },
    /// The mean of all.
    Mean,
    /// The mean of so many, the latest.
    Latest(usize),
}

impl Rule {
    /// A number that is another for averages that hold something else.
    fn kind(self) -> u64 {
        match self {
            Self::Ema { .. } => 1,
            Self::Mean => 2,
            Self::Latest(count) => (count as u64).saturating_add(2),
        }
    }

    /// What the next weights count in the mean, after `taken` others.
    fn share(self, taken: u64) -> f64 {
        let n = taken as f64;
        match self {
            Self::Ema { decay, warmup: false } => 1.0 - decay,
            Self::Ema { decay, warmup: true } => 1.0 - decay.min((1.0 + n) / (10.0 + n)),
            Self::Mean | Self::Latest(_) => 1.0 / (n + 1.0),
        }
    }
}

/// What becomes of the average of a parameter that is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    /// The weights are taken in.
    Taken(Rule),
    /// It is looked at; one of another kind is forgotten.
    Kept(Rule),
    /// It is looked at, whatever it is.
    Any,
    /// There is none any more.
    LeftOut,
}

/// The average of a parameter, in f32 at least.
#[derive(Clone, Debug)]
pub(crate) struct Averaged {
    /// The average, or the latest weights.
    tensors: Vec<Tensor<1>>,
    /// How many weights it has taken in.
    taken: u64,
    kind: u64,
}

/// Its names in a record; each tensor has its number besides.
const AVERAGE: &str = "average";
const TAKEN: &str = "average_taken";
const KIND: &str = "average_kind";

impl Averaged {
    /// What is left of an average, or begins, where its weights are shown.
    pub fn shown<const D: usize>(
        average: Option<Self>,
        shown: Shown,
        weight: Tensor<D>,
    ) -> Option<Self> {
        match shown {
            Shown::Taken(rule) => Some(Self::take(average, rule, weight)),
            Shown::Kept(rule) => average.filter(|found| found.kind == rule.kind()),
            Shown::Any => average,
            Shown::LeftOut => None,
        }
    }

    /// Takes weights in; an average that is not there, or of another kind, begins with them.
    fn take<const D: usize>(average: Option<Self>, rule: Rule, weight: Tensor<D>) -> Self {
        let weight = in_f32(flat(weight));
        let kind = rule.kind();
        let is_same = |found: &Self| found.kind == kind && found.tensors[0].dims() == weight.dims();
        let Some(Self { mut tensors, taken, .. }) = average.filter(is_same) else {
            return Self { tensors: vec![weight], taken: 1, kind };
        };
        match rule {
            Rule::Ema { .. } | Rule::Mean => {
                let average = tensors.swap_remove(0);
                // So that an average of weights that stay is those weights, to the last bit.
                let towards = (weight - average.clone()).mul_scalar(rule.share(taken));
                tensors = vec![average + towards];
            }
            Rule::Latest(count) => match tensors.get_mut((taken % count as u64) as usize) {
                Some(oldest) => *oldest = weight,
                None => tensors.push(weight),
            },
        }
        Self { tensors, taken: taken + 1, kind }
    }

    /// What is evaluated.
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

    pub fn to_device(&self, device: &Device) -> Self {
        let tensors = self.tensors.iter().map(|tensor| tensor.clone().to_device(device)).collect();
        Self { tensors, taken: self.taken, kind: self.kind }
    }
}

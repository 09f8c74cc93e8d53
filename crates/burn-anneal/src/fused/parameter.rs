//! The tensors of a parameter as slices, on the `flex` backend.

use super::pass::{
    Around, Halves, Rounded, Rule, Rules, Streams, Weights, sum_of_squares, update_all,
};
use super::real::Real;
use super::rule::Kept;
use crate::update::{Shrink, Weight};
use burn::backend::{BackendTensor, BackendTypes, DispatchTensorKind, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pulp::Arch;

type Primitive = <Flex as BackendTypes>::FloatTensorPrimitive;

/// Whether a tensor is on `flex`.
pub(crate) fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex()
}

fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// Contiguous numbers that cover their whole buffer.
#[derive(Clone, Debug)]
pub struct Buffer(Primitive);

impl Buffer {
    /// The numbers of a tensor [on `flex`](on_flex), copied if they are not contiguous.
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let DispatchTensorKind::Flex(BackendTensor::Float(primitive)) = tensor.into_dispatch().kind
        else {
            unreachable!("a float tensor on flex")
        };
        let layout = primitive.layout();
        let bytes = layout.num_elements() * primitive.dtype().size();
        let is_whole = primitive.bytes().len() == bytes && layout.is_contiguous();
        Self(if is_whole { primitive } else { primitive.to_contiguous() })
    }

    pub fn from_data(data: TensorData) -> Self {
        Self(Primitive::from_data(data))
    }

    pub fn to_data(&self) -> TensorData {
        self.0.clone().into_data()
    }

    /// The numbers as a tensor.
    pub fn into_tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_primitive::<Flex>(self.0)
    }

    /// As many zeros, of the same type.
    fn zeros_like(&self) -> Self {
        Self(Primitive::zeros(self.0.shape(), self.0.dtype()))
    }

    fn len(&self) -> usize {
        self.0.layout().num_elements()
    }

    fn is_like(&self, other: &Self) -> bool {
        self.0.dtype() == other.0.dtype() && self.0.layout().shape() == other.0.layout().shape()
    }

    /// The buffer to write numbers of the same kind to: `spare`, if it is free and fits.
    fn free_like(&self, spare: Option<Self>) -> Self {
        let fits = |spare: &Self| spare.0.is_unique() && spare.is_like(self);
        spare.filter(fits).unwrap_or_else(|| self.zeros_like())
    }

    /// Σ x²; `None` in half precision.
    pub fn sum_of_squares(&self, arch: Arch) -> Option<f64> {
        match self.0.dtype() {
            DType::F32 => Some(sum_of_squares::<f32>(arch, self.0.storage())),
            DType::F64 => Some(sum_of_squares::<f64>(arch, self.0.storage())),
            _ => None,
        }
    }
}

/// A parameter and its gradient during an update.
#[derive(Debug)]
pub struct Parameter {
    weight: Buffer,
    gradient: Buffer,
    /// A buffer of the same size that may be free.
    pub(super) spare: Option<Buffer>,
    /// The average of the weights, and the share of the new weights in it.
    average: Option<(Buffer, f64)>,
    /// The model's weights in half precision, if `weight` are their masters.
    rounded: Option<Buffer>,
    /// What the gradient is multiplied by.
    factor: f64,
    shrink: Shrink,
    arch: Arch,
}

/// Whether both are `flex` tensors of one type and shape, in f32 or f64, and what is kept has that size.
pub(super) fn fits<const D: usize>(
    weight: &Weight<D>,
    gradient: &Tensor<D>,
    average: Option<&Tensor<1>>,
    kept: &Kept,
) -> bool {
    let Weight { trained, rounded } = weight;
    let (dims, dtype) = (trained.dims(), trained.dtype());
    let count: usize = dims.iter().product();
    is_real(dtype)
        && gradient.dtype() == dtype
        && gradient.dims() == dims
        && rounded.as_ref().is_none_or(|rounded| rounded.dims() == dims && on_flex(rounded))
        && average.is_none_or(|average| average.dtype() == dtype && on_flex(average))
        && kept.moments.iter().flatten().all(|moment| moment.len() == count)
        && on_flex(trained)
        && on_flex(gradient)
}

impl Parameter {
    /// Takes tensors that [fit](fits), to multiply the gradient by a factor.
    pub(super) fn take<const D: usize>(
        arch: Arch,
        (factor, shrink): (f64, Shrink),
        Weight { trained, rounded }: Weight<D>,
        gradient: Tensor<D>,
        average: Option<(Tensor<1>, f64)>,
    ) -> Self {
        Self {
            weight: Buffer::of(trained),
            gradient: Buffer::of(gradient),
            spare: None,
            average: average.map(|(average, share)| (Buffer::of(average), share)),
            rounded: rounded.map(Buffer::of),
            factor,
            shrink,
            arch,
        }
    }

    /// The buffer of a moment, of zeros if there is none yet.
    pub fn moment<'a>(&self, moment: &'a mut Option<Buffer>) -> &'a mut Buffer {
        let dtype = self.weight.0.dtype();
        let moment = moment.get_or_insert_with(|| self.weight.zeros_like());
        // A record may have it in another type.
        if moment.0.dtype() != dtype {
            *moment = Buffer::from_data(moment.to_data().convert_dtype(dtype));
        }
        moment
    }

    /// Updates the weights and the moments by a rule.
    pub fn update<const N: usize>(&mut self, moments: [&mut Buffer; N], rules: &impl Rules<N>) {
        match self.weight.0.dtype() {
            DType::F64 => self.update_as(moments, rules.rounded::<f64>()),
            _ => self.update_as(moments, rules.rounded::<f32>()),
        }
    }

    fn update_as<E: Real, const N: usize>(
        &mut self,
        moments: [&mut Buffer; N],
        rule: impl Rule<E, N>,
    ) {
        let Shrink { share, cautious } = self.shrink;
        let around = Around {
            factor: E::of(self.factor),
            keep: E::of(if cautious { 1.0 } else { 1.0 - share }),
            cautious_share: (cautious && share != 0.0).then(|| E::of(share)),
            in_average: E::of(self.average.as_ref().map_or(0.0, |(_, share)| *share)),
        };
        let mut spare = self.spare.take();
        // A learner holds its model during an update. The gradient is used up, and has the right size.
        let in_place = self.weight.0.is_unique();
        let into_gradients = !in_place && self.gradient.0.is_unique();
        let mut to = (!in_place && !into_gradients).then(|| self.weight.free_like(spare.take()));
        let weights = match &mut to {
            Some(to) => Weights::Into {
                weights: self.weight.0.storage(),
                gradients: self.gradient.0.storage(),
                to: to.0.storage_mut(),
            },
            None if in_place => Weights::InPlace {
                weights: self.weight.0.storage_mut(),
                gradients: self.gradient.0.storage(),
            },
            None => Weights::IntoGradients {
                weights: self.weight.0.storage(),
                gradients: self.gradient.0.storage_mut(),
            },
        };
        let held = self.rounded.as_ref().filter(|now| !now.0.is_unique());
        let mut halves = held.map(|now| now.free_like(spare));
        let rounded = match (&mut self.rounded, &mut halves) {
            (None, _) => None,
            (Some(now), Some(to)) => Some(halves_of(Some(now), to)),
            (Some(now), None) => Some(halves_of(None, now)),
        };
        let average = self.average.as_mut().map(|(average, _)| average.0.storage_mut());
        let moments = moments.map(|moment| moment.0.storage_mut());
        update_all(self.arch, Streams { weights, moments, average, rounded }, around, rule);
        if into_gradients {
            std::mem::swap(&mut self.weight, &mut self.gradient);
        }
        if let Some(to) = to {
            // Free once the model before the update is dropped.
            self.spare = Some(std::mem::replace(&mut self.weight, to));
        }
        if let Some(halves) = halves {
            self.spare = self.rounded.replace(halves);
        }
    }

    /// The weight after the update, and the average.
    pub(super) fn into_tensors<const D: usize>(self) -> (Weight<D>, Option<Tensor<1>>) {
        let Self { weight, rounded, average, .. } = self;
        let rounded = rounded.map(Buffer::into_tensor);
        let average = average.map(|(average, _)| average.into_tensor());
        (Weight { trained: weight.into_tensor(), rounded }, average)
    }
}

/// Numbers in half precision before an update, if they are not in `to`.
fn halves_of<'a>(from: Option<&'a Buffer>, to: &'a mut Buffer) -> Rounded<'a> {
    match to.0.dtype() {
        DType::BF16 => Rounded::Bf16(Halves {
            from: from.map(|from| from.0.storage()),
            to: to.0.storage_mut(),
        }),
        _ => {
            Rounded::F16(Halves { from: from.map(|from| from.0.storage()), to: to.0.storage_mut() })
        }
    }
}

//! The tensors of a parameter as slices, on the `flex` backend.

use super::pass::{CautiouslyDecayed, Decayed, Rule, Rules, Streams, Weights, update_all};
use super::real::Real;
use crate::update::Shrink;
use burn::backend::{BackendTensor, BackendTypes, DispatchTensorKind, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Tensor};
use pulp::Arch;

type Primitive = <Flex as BackendTypes>::FloatTensorPrimitive;

/// The rate and the decay of an update.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub rate: f64,
    pub(crate) shrink: Shrink,
}

fn has_buffer<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::F64) && tensor.device() == Device::flex()
}

/// Contiguous numbers that cover their whole buffer.
#[derive(Debug)]
pub struct Buffer(Primitive);

impl Buffer {
    /// The numbers of a tensor that [`has_buffer`], copied if they are not contiguous.
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let DispatchTensorKind::Flex(BackendTensor::Float(primitive)) = tensor.into_dispatch().kind
        else {
            unreachable!("a float tensor on flex")
        };
        let layout = primitive.layout();
        let bytes = layout.num_elements() * primitive.dtype().size();
        let is_whole = layout.is_contiguous() && layout.start_offset() == 0;
        match is_whole && primitive.bytes().len() == bytes {
            true => Self(primitive),
            false => Self(primitive.to_contiguous()),
        }
    }

    /// The numbers as a tensor.
    pub fn into_tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_primitive::<Flex>(self.0)
    }

    /// As many zeros, of the same type.
    fn zeros_like(&self) -> Self {
        Self(Primitive::zeros(self.0.shape(), self.0.dtype()))
    }
}

/// A parameter and its gradient during an update.
#[derive(Debug)]
pub struct Parameter {
    weight: Buffer,
    gradient: Buffer,
    /// A buffer of the same size that may be free.
    spare: Option<Buffer>,
    arch: Arch,
}

impl Parameter {
    /// Whether both are `flex` tensors of one type and shape, in f32 or f64.
    pub fn fits<const D: usize>(weight: &Tensor<D>, gradient: &Tensor<D>) -> bool {
        let alike = weight.dtype() == gradient.dtype() && weight.dims() == gradient.dims();
        alike && has_buffer(weight) && has_buffer(gradient)
    }

    /// Takes tensors that [fit](Self::fits).
    pub fn take<const D: usize>(
        arch: Arch,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        spare: Option<Tensor<D>>,
    ) -> Self {
        let spare = spare.filter(|spare| Self::fits(&weight, spare)).map(Buffer::of);
        Self { weight: Buffer::of(weight), gradient: Buffer::of(gradient), spare, arch }
    }

    /// The buffer of a moment; zeros if there is none yet.
    pub fn moment<const D: usize>(&self, tensor: Option<Tensor<D>>) -> Buffer {
        let Some(tensor) = tensor else { return self.weight.zeros_like() };
        // A record may have them in another type.
        let tensor = match tensor.dtype() == self.weight.0.dtype() {
            true => tensor,
            false => tensor.cast(self.weight.0.dtype()),
        };
        Buffer::of(tensor.to_device(&Device::flex()))
    }

    /// Updates the weights and the moments by a rule.
    pub fn update<const N: usize>(
        &mut self,
        how: How,
        moments: [&mut Buffer; N],
        rules: &impl Rules<N>,
    ) {
        match self.weight.0.dtype() {
            DType::F64 => self.update_as::<f64, N>(how, moments, rules),
            _ => self.update_as::<f32, N>(how, moments, rules),
        }
    }

    fn update_as<E: Real, const N: usize>(
        &mut self,
        how: How,
        moments: [&mut Buffer; N],
        rules: &impl Rules<N>,
    ) {
        let rule = rules.rounded::<E>();
        let Shrink { share, cautious } = how.shrink;
        match cautious && share != 0.0 {
            true => self.pass(moments, CautiouslyDecayed { share: E::of(share), rule }),
            false => self.pass(moments, Decayed { keep: E::of(1.0 - share), rule }),
        }
    }

    fn pass<E: Real, const N: usize>(&mut self, moments: [&mut Buffer; N], rule: impl Rule<E, N>) {
        let moments = moments.map(|moment| moment.0.storage_mut::<E>());
        let spare = self.spare.take();
        if self.weight.0.is_unique() {
            let weights = self.weight.0.storage_mut();
            let gradients = self.gradient.0.storage();
            let weights = Weights::InPlace { weights, gradients };
            return update_all(self.arch, Streams { weights, moments }, rule);
        }
        // A learner holds its model during an update. The gradient is used up, and has the right size.
        if self.gradient.0.is_unique() {
            let gradients = self.gradient.0.storage_mut();
            let weights = self.weight.0.storage();
            let weights = Weights::IntoGradients { weights, gradients };
            update_all(self.arch, Streams { weights, moments }, rule);
            std::mem::swap(&mut self.weight, &mut self.gradient);
            return;
        }
        let free = spare.filter(|spare| spare.0.is_unique());
        let mut to = free.unwrap_or_else(|| self.weight.zeros_like());
        let weights = Weights::Into {
            weights: self.weight.0.storage(),
            gradients: self.gradient.0.storage(),
            to: to.0.storage_mut(),
        };
        update_all(self.arch, Streams { weights, moments }, rule);
        // Free once the model before the update is dropped.
        self.spare = Some(std::mem::replace(&mut self.weight, to));
    }

    /// The weight after the update, and the buffer to write the next one to.
    pub fn into_tensors<const D: usize>(self) -> (Tensor<D>, Option<Tensor<D>>) {
        (self.weight.into_tensor(), self.spare.map(Buffer::into_tensor))
    }
}

//! A model of one weight vector with a given loss.

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use burn::train::{InferenceStep, RegressionOutput, TrainOutput, TrainStep};
use burn_anneal::prelude::ScaledBackward;

/// A weight vector whose batches are terms of a quadratic.
#[derive(Module, Debug)]
#[must_use]
pub struct TermModel {
    /// The vector.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    loss: fn(Tensor<1>, Term) -> Tensor<1>,
    #[module(skip)]
    scales: bool,
}

/// ½ wᵀHw + bᵀw.
#[derive(Clone, Debug)]
pub struct Term {
    /// H, symmetric.
    pub hessian: Tensor<2>,
    /// b.
    pub slope: Tensor<1>,
}

impl Term {
    /// Makes a term from rows and a vector, in f32 on an autodiff device.
    pub fn new(hessian: &[Vec<f32>], slope: &[f32]) -> Self {
        let device = Device::default().autodiff();
        let size = slope.len();
        let entries: Vec<f32> = hessian.iter().flatten().copied().collect();
        let hessian = Tensor::<1>::from_floats(entries.as_slice(), &device).reshape([size, size]);
        Self { hessian, slope: Tensor::from_floats(slope, &device) }
    }

    /// Its value at weights of any precision: computed in f32, so that in half precision only weights and
    /// their gradients are rounded.
    pub fn value(weight: Tensor<1>, term: Term) -> Tensor<1> {
        let weight = weight.cast(FloatDType::F32);
        let curved = term.hessian.matmul(weight.clone().unsqueeze_dim(1)).squeeze_dim::<1>(1);
        (weight.clone() * curved).sum() * 0.5 + (weight * term.slope).sum()
    }
}

impl TermModel {
    /// A model with these weights, on an autodiff device, and the loss of [`Term::value`].
    pub fn new(values: &[f32]) -> Self {
        Self::with_loss(values, Term::value)
    }

    /// Sets another loss.
    pub fn with_loss(values: &[f32], loss: fn(Tensor<1>, Term) -> Tensor<1>) -> Self {
        let weight = Tensor::from_floats(values, &Device::default().autodiff());
        Self { weight: Param::from_tensor(weight), loss, scales: true }
    }

    /// Omits scaling of the loss.
    pub fn without_scaling(self) -> Self {
        Self { scales: false, ..self }
    }

    /// Its values.
    pub fn values(&self) -> Vec<f32> {
        self.weight.val().into_data().iter::<f32>().collect()
    }
}

fn output(loss: Tensor<1>) -> RegressionOutput {
    let nothing = loss.clone().unsqueeze_dim::<2>(1);
    RegressionOutput::new(loss, nothing.clone(), nothing)
}

impl TrainStep for TermModel {
    type Input = Term;
    type Output = RegressionOutput;

    fn step(&self, term: Term) -> TrainOutput<RegressionOutput> {
        let loss = (self.loss)(self.weight.val(), term);
        let gradients = match self.scales {
            true => loss.clone().scaled_backward(),
            false => loss.clone().backward(),
        };
        TrainOutput::new(self, gradients, output(loss))
    }
}

impl InferenceStep for TermModel {
    type Input = Term;
    type Output = RegressionOutput;

    fn step(&self, term: Term) -> RegressionOutput {
        output((self.loss)(self.weight.val(), term))
    }
}

//! The gradients of several tasks, alone and in all kinds of training.

mod gradients;
mod run;
mod trained;

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

fn vector(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &device())
}

/// A trunk and two heads with linear losses, so that a test can set their gradients.
#[derive(Module, Debug)]
struct Linear {
    trunk: Param<Tensor<1>>,
    one: Param<Tensor<1>>,
    other: Param<Tensor<1>>,
}

impl Linear {
    fn new() -> Self {
        let ones = || Param::from_tensor(vector(&[1.0, 1.0, 1.0]));
        Self { trunk: ones(), one: ones(), other: ones() }
    }

    /// A loss with this gradient at the trunk.
    fn at_trunk(&self, gradient: &[f32]) -> Tensor<1> {
        (self.trunk.val().cast(FloatDType::F32) * vector(gradient)).sum()
    }

    /// A loss with this gradient also at the head of the task `one`, or at the other head.
    fn at(&self, is_one: bool, gradient: &[f32], at_head: &[f32]) -> Tensor<1> {
        let head = if is_one { &self.one } else { &self.other };
        self.at_trunk(gradient) + (head.val().cast(FloatDType::F32) * vector(at_head)).sum()
    }
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.cast(FloatDType::F32).into_data().iter::<f32>().collect()
}

/// The cosine of two vectors, by its formula in f64.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

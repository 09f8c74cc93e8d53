//! A model in half precision.

use super::to_precision_except;
use crate::groups::{GroupError, found};
use crate::update::{half_parameters, largest_entries};
use anneal_config::{HalfDtype, HalfPrecision};
use burn::module::{Module, ParamId};
use burn::tensor::{DType, Device, FloatDType};
use std::collections::HashSet;
use thiserror::Error;

/// Why a model cannot train in half precision.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PrecisionError {
    /// The device does not compute in this precision.
    #[error(
        "half_precision: {device} does not compute in {dtype:?}; use f32 there, or another device"
    )]
    Unsupported {
        /// The device.
        device: String,
        /// The precision.
        dtype: FloatDType,
    },
    /// A weight is too large.
    #[error(
        "half_precision: `{path}` has an entry of {value}, which is infinite in {dtype:?}; keep it in f32 with \
         HalfPrecision {{ except, .. }}, or make it smaller"
    )]
    TooLarge {
        /// The path of the parameter.
        path: String,
        /// Its largest entry.
        value: f64,
        /// The precision.
        dtype: FloatDType,
    },
    /// The selection that stays in f32 does not fit the model.
    #[error("half_precision.except: {0}")]
    Except(GroupError),
}

/// The type in Burn.
pub(crate) fn float_dtype(half: &HalfPrecision) -> FloatDType {
    match half.dtype {
        HalfDtype::F16 => FloatDType::F16,
        HalfDtype::Bf16 => FloatDType::BF16,
    }
}

/// Casts the model to half precision, and returns it with the parameters that were cast.
pub(crate) fn cast_to_half<M: Module>(
    half: &HalfPrecision,
    model: &M,
) -> Result<(M, HashSet<ParamId>), PrecisionError> {
    let dtype = float_dtype(half);
    let lacks = |device: &&Device| !device.supports_dtype(DType::from(dtype));
    if let Some(device) = model.devices().iter().find(lacks) {
        let device = format!("{:?}", device.clone().inner());
        return Err(PrecisionError::Unsupported { device, dtype });
    }
    let cast = to_precision_except(model.clone(), dtype, &half.except)?;
    let after = largest_entries(&cast);
    for (id, value) in largest_entries(model) {
        let fits = after.iter().all(|(of, value)| *of != id || value.is_finite());
        if value.is_finite() && !fits {
            let path = found(model).into_iter().find(|found| found.id == id);
            let path = path.map_or_else(String::new, |found| found.parameter.path);
            return Err(PrecisionError::TooLarge { path, value, dtype });
        }
    }
    let halves = half_parameters(&cast);
    Ok((cast, halves))
}

impl From<GroupError> for PrecisionError {
    fn from(error: GroupError) -> Self {
        Self::Except(error)
    }
}

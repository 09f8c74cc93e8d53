//! Training in half precision: the description.

use super::{LossScaling, to_precision_except};
use crate::groups::{GroupError, Selection, parameters};
use crate::update::{half_parameters, largest_entries};
use burn::module::{Module, ParamId};
use burn::tensor::{DType, Device, FloatDType};
use std::collections::HashSet;
use thiserror::Error;

/// Training in f16 or bf16, with [master weights](super::MasterWeights) in f32 for any optimizer.
///
/// The model is cast, and so are its inputs where they are a tensor, or a pair of which the first is one.
/// [`LearnerBuilder::cast_inputs`](crate::LearnerBuilder::cast_inputs) says how to cast a batch of your own, unless the model
/// does it. It should cast what goes into its loss to f32; its `TrainStep::step` must call
/// [`scaled_backward`](crate::ScaledBackward::scaled_backward).
///
/// ```
/// use burn_anneal::groups::Selection;
/// use burn_anneal::precision::{HalfPrecision, LossScaling};
///
/// let half = HalfPrecision {
///     except: Selection::norms(),
///     loss_scaling: Some(LossScaling::new().growth_interval(500)),
///     ..HalfPrecision::f16()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct HalfPrecision {
    /// F16 or BF16.
    pub dtype: FloatDType,
    /// Parameters that stay as they are, such as [`Selection::norms`]; the model casts what goes into them, and
    /// what comes out: see [`to_precision_except`].
    pub except: Selection,
    /// The scale of the loss; see [`LossScaling`].
    pub loss_scaling: Option<LossScaling>,
}

impl HalfPrecision {
    /// f16, with loss scaling as torch has it.
    pub fn f16() -> Self {
        Self {
            dtype: FloatDType::F16,
            except: Selection::none(),
            loss_scaling: Some(LossScaling::new()),
        }
    }

    /// bf16, which has the range of f32 and needs no loss scaling.
    pub fn bf16() -> Self {
        Self { dtype: FloatDType::BF16, except: Selection::none(), loss_scaling: None }
    }
}

/// Why a model does not train in half precision.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PrecisionError {
    /// The precision is not half.
    #[error("half_precision.dtype: {dtype:?} is not allowed; allowed: F16, BF16")]
    NotHalf {
        /// The precision.
        dtype: FloatDType,
    },
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
    /// A weight that is too large.
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
    /// What is left out fits nothing in the model.
    #[error("half_precision.except: {0}")]
    Except(GroupError),
}

impl HalfPrecision {
    /// The model in half precision, and which of its parameters were cast.
    pub(crate) fn cast<M: Module>(
        &self,
        model: &M,
    ) -> Result<(M, HashSet<ParamId>), PrecisionError> {
        let dtype = self.dtype;
        if !matches!(dtype, FloatDType::F16 | FloatDType::BF16) {
            return Err(PrecisionError::NotHalf { dtype });
        }
        let lacks = |device: &&Device| !device.supports_dtype(DType::from(dtype));
        if let Some(device) = model.devices().iter().find(lacks) {
            let device = format!("{:?}", device.clone().inner());
            return Err(PrecisionError::Unsupported { device, dtype });
        }
        let cast = to_precision_except(model.clone(), dtype, &self.except)?;
        let after = largest_entries(&cast);
        for (id, value) in largest_entries(model) {
            let fits = after.iter().all(|(of, value)| *of != id || value.is_finite());
            if value.is_finite() && !fits {
                let all = parameters(model);
                let path = all.into_iter().find(|parameter| parameter.id == Some(id));
                let path = path.map_or_else(String::new, |parameter| parameter.path);
                return Err(PrecisionError::TooLarge { path, value, dtype });
            }
        }
        let halves = half_parameters(&cast);
        Ok((cast, halves))
    }
}

impl From<GroupError> for PrecisionError {
    fn from(error: GroupError) -> Self {
        Self::Except(error)
    }
}

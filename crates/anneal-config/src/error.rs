//! The errors of the description of a training.

use crate::average::AverageError;
use crate::groups::GroupError;
use crate::names::NameError;
use anneal_control::OutOfRange;
use anneal_schedule::ScheduleError;
use thiserror::Error;

/// Why a description of a training is not valid.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A part is given both for the whole model and in its groups.
    #[error("{part}: given for the whole model and in its groups; give it in one place")]
    GivenTwice {
        /// The part.
        part: &'static str,
    },
    /// Loss scaling is given separately in half precision.
    #[error(
        "loss_scaling: half precision has its own; set it with HalfPrecision {{ loss_scaling: Some(…), .. }}, or in a \
         file with half_precision.loss_scaling"
    )]
    ScalingTwice,
    /// The schedule does not fit the run, or has a field out of its range.
    #[error("schedule.{0}")]
    Schedule(ScheduleError),
    /// The length of the run is not valid.
    #[error(transparent)]
    Run(ScheduleError),
    /// A guard is combined with loss scaling.
    #[error(
        "not_finite: loss scaling already skips updates that are not finite; remove one of the two"
    )]
    GuardedTwice,
    /// The name of a controller is not allowed.
    #[error("controller.{}.name: {error}", error.name())]
    ControllerName {
        /// What is wrong with it.
        #[from]
        error: NameError,
    },
    /// The groups have a field out of its range, or do not fit the run.
    #[error(transparent)]
    Groups(GroupError),
    /// A value is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A value of a controller is out of its range.
    #[error("controller.{controller}.{error}")]
    Controller {
        /// The controller.
        controller: String,
        /// What is wrong with it.
        error: OutOfRange,
    },
    /// An average does not fit the run, or has a value out of its range.
    #[error("{error}")]
    Average {
        /// Its index, from 0.
        index: usize,
        /// What is wrong with it.
        error: AverageError,
    },
}

impl ConfigError {
    /// The field with the error, for [`TrainingConfig::locate`](crate::TrainingConfig::locate).
    pub fn field(&self) -> String {
        match self {
            Self::GivenTwice { part } => (*part).to_string(),
            Self::ScalingTwice => "loss_scaling".to_string(),
            Self::GuardedTwice => "not_finite".to_string(),
            Self::ControllerName { error } => format!("controller.{}.name", error.name()),
            Self::Schedule(error) => format!("schedule.{}", error.field()),
            Self::Run(error) => error.field().to_string(),
            Self::Groups(error) => error.field(),
            Self::OutOfRange(error) => error.field.clone(),
            Self::Controller { controller, error } => {
                format!("controller.{controller}.{}", error.field)
            }
            Self::Average { index, error } => match error {
                AverageError::OutOfRange(error) => match error.field.as_str() {
                    "decay" => format!("average[{index}].ema"),
                    field => format!("average[{index}].{field}"),
                },
                AverageError::Groups(error) => {
                    format!("average[{index}]{}", error.field().trim_start_matches("average"))
                }
                _ => format!("average[{index}]"),
            },
        }
    }
}

//! Options of `lint` and `analyze` for the loss and the optimizer.

use crate::error::Error;
use anneal_schedule::analysis::{AnalysisError, Optimizer, Options};
use clap::{Args, ValueEnum};

/// The loss and the optimizer.
#[derive(Debug, Args)]
pub struct AnalysisArguments {
    /// Largest curvature λ of the loss: analyzes the stability
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true)]
    curvature: Option<f64>,
    /// Coefficient ω of a weight decay that follows the rate: analyzes its effect
    #[arg(long, value_name = "OMEGA", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Optimizer for the stability analysis
    #[arg(long, value_enum, default_value_t, requires = "curvature")]
    optimizer: OptimizerName,
    /// Its momentum μ, or Adam's β₁ [default: 0.9]
    #[arg(long, value_name = "MU", allow_negative_numbers = true, requires = "curvature")]
    momentum: Option<f64>,
}

/// An optimizer
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum OptimizerName {
    #[default]
    Sgd,
    HeavyBall,
    Nesterov,
    /// λ refers to the preconditioned Hessian
    Adam,
}

impl AnalysisArguments {
    /// Converts the flags to options.
    pub fn options(&self) -> Result<Options, Error> {
        let momentum = self.momentum.unwrap_or(0.9);
        let optimizer = match self.optimizer {
            OptimizerName::Sgd if self.momentum.is_some() => {
                let allowed = "allowed: heavy-ball, nesterov, adam";
                return Err(Error::Usage(format!("--momentum needs --optimizer; {allowed}")));
            }
            OptimizerName::Sgd => Optimizer::Sgd,
            OptimizerName::HeavyBall => Optimizer::HeavyBall { momentum },
            OptimizerName::Nesterov => Optimizer::Nesterov { momentum },
            OptimizerName::Adam => Optimizer::Adam { beta_1: momentum },
        };
        let mut options = Options::new().optimizer(optimizer);
        options.curvature = self.curvature;
        options.weight_decay = self.weight_decay;
        Ok(options)
    }
}

/// The format of a report
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ReportFormat {
    #[default]
    Text,
    Json,
}

/// The error for an analysis without a result.
pub fn unanswered(name: &str, error: &AnalysisError) -> Error {
    match error {
        AnalysisError::NeedsSteps => Error::Usage(format!(
            "{name}: the run has no end; give --steps N, or --epochs N --steps-per-epoch M"
        )),
        AnalysisError::OutOfRange { .. } => Error::Usage(error.to_string()),
        _ => Error::Schedule(error.to_string()),
    }
}

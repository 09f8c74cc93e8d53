//! What `lint` and `analyze` may be told about the loss and the optimizer.

use crate::error::Error;
use anneal_schedule::analysis::{AnalysisError, Optimizer, Options};
use clap::{Args, ValueEnum};

/// The loss and the optimizer.
#[derive(Debug, Args)]
pub struct AnalysisArguments {
    /// Largest curvature λ of the loss: asks for the stability
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true)]
    curvature: Option<f64>,
    /// Coefficient ω of a weight decay that follows the rate: asks for its effect
    #[arg(long, value_name = "OMEGA", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Whose stability is asked for
    #[arg(long, value_enum, default_value_t, requires = "curvature")]
    optimizer: OptimizerName,
    /// Its momentum μ, or β₁ of Adam [default: 0.9]
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
    /// λ is that of the preconditioned Hessian
    Adam,
}

impl AnalysisArguments {
    /// What the flags say.
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

/// How a report is written
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ReportFormat {
    #[default]
    Text,
    Json,
}

/// The error for a question that has no answer.
pub fn unanswered(name: &str, error: &AnalysisError) -> Error {
    match error {
        AnalysisError::NeedsSteps => Error::Usage(format!(
            "{name}: the run has no end; give --steps N, or --epochs N --steps-per-epoch M"
        )),
        AnalysisError::OutOfRange { .. } => Error::Usage(error.to_string()),
        _ => Error::Schedule(error.to_string()),
    }
}

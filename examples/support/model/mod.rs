//! The networks of the examples.

mod digits;
mod efficientnet;
mod residual;
mod step;

pub use digits::{DigitNetwork, DigitNetworkConfig};
pub use efficientnet::{EfficientNet, EfficientNetConfig, InvertedBottleneck, NormedConvolution};
pub use residual::{ConvolutionNorm, ResidualBlock, ResidualNetwork, ResidualNetworkConfig};
pub use step::{ImageClassifier, ImageNetwork, inference_step, training_step};

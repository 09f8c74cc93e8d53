//! The shared parts of Anneal's examples apart from training: data, networks, the command line, the folder of a run,
//! its display and its output files.
//!
//! An example reads [`Arguments`](arguments::Arguments), opens a [`Run`](run::Run), and contains all code for training.
//! [`prelude`] has everything that an example uses.

pub mod arguments;
pub mod backend;
pub mod data;
pub mod error;
pub mod files;
mod folder;
pub mod history;
pub mod loader;
pub mod model;
pub mod plot;
pub mod progress;
pub mod report;
pub mod run;
pub mod settings;
pub mod summary;
pub mod terminal;
pub mod weights;

/// Everything that an example uses.
pub mod prelude {
    pub use crate::arguments::{Arguments, Defaults};
    pub use crate::data::{self, Augmentation, Dataset};
    pub use crate::error::ExampleError;
    pub use crate::history::{EpochRecord, History};
    pub use crate::loader::{ImageBatch, ImageLoader, test_loader, train_loader};
    pub use crate::model::{
        DigitNetworkConfig, EfficientNet, EfficientNetConfig, ImageClassifier,
        ResidualNetworkConfig,
    };
    pub use crate::progress::Progress;
    pub use crate::report::Report;
    pub use crate::run::Run;
    pub use crate::terminal::{conclude, say};
}

//! What Anneal's examples share: data, models, arguments, progress display, pictures.
//!
//! An example reads [`Arguments`](arguments::Arguments), opens a [`Session`](session::Session),
//! builds a learner under its own schedule, and trains it in the session.
//! [`prelude`] has all that an example names.

pub mod arguments;
pub mod backend;
pub mod comparison;
pub mod data;
pub mod error;
pub mod evaluation;
mod files;
mod folder;
pub mod history;
pub mod loader;
pub mod model;
pub mod plot;
pub mod probe;
pub mod progress;
pub mod report;
pub mod session;
pub mod settings;
pub mod summary;
pub mod terminal;
pub mod unfreezing;
pub mod weights;

/// All that an example names.
pub mod prelude {
    pub use crate::arguments::{Arguments, Defaults};
    pub use crate::comparison::{Comparison, Subject};
    pub use crate::data::{Augmentation, Dataset};
    pub use crate::error::ExampleError;
    pub use crate::evaluation::evaluate;
    pub use crate::history::{EpochRecord, History};
    pub use crate::model::{
        DigitNetworkConfig, EfficientNet, EfficientNetConfig, ResidualNetworkConfig,
    };
    pub use crate::probe::LinearProbe;
    pub use crate::report::Report;
    pub use crate::session::{Session, Trained};
    pub use crate::terminal::{conclude, say};
    pub use crate::weights::WeightsError;
}

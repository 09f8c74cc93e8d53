//! Shared helpers of the workspace tests: a small model with data that trains in milliseconds, a metric that records
//! the rate of every update, and a renderer that shows nothing.

// Tests do not print them.
#![allow(missing_debug_implementations)]

mod digits;
mod flat;
mod golden;
mod model;
mod needing;
mod peers;
mod program;
mod quiet;
mod recorder;
mod term;
mod torch_spec;
mod training;
mod weight;

pub use digits::{DigitBatch, DigitModel, Digits};
pub use flat::flat;
pub use golden::{golden_file, golden_lines};
pub use model::{FEATURES, Points, TinyModel, batches, points, seeded, shuffled};
pub use needing::Needing;
pub use peers::{Compare, agree_with_peers};
pub use program::{Outcome, Program};
pub use quiet::Quiet;
pub use recorder::RateRecorder;
pub use term::{Term, TermModel};
pub use torch_spec::TorchSpec;
pub use training::{supervised, trained};
pub use weight::Weight;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The examples of the page on the first steps, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/first_steps.md")]
pub struct FirstStepsPage;

/// The examples of the page on schedules, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/schedules.md")]
pub struct SchedulesPage;

/// The examples of the page on names in other libraries, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/coming_from.md")]
pub struct ComingFromPage;

/// The examples of the page on troubleshooting, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/troubleshooting.md")]
pub struct TroubleshootingPage;

/// The examples of the page on files, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/files.md")]
pub struct FilesPage;

/// The examples of the page on fine-tuning, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/fine_tuning.md")]
pub struct FineTuning;

/// The examples of the page on averages, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/averages.md")]
pub struct AveragesPage;

/// The examples of the page on weight decay, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/weight_decay.md")]
pub struct WeightDecayPage;

/// The examples of the page on controllers, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/feedback.md")]
pub struct FeedbackPage;

/// The examples of the page on finding rates, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/finding_rates.md")]
pub struct FindingRatesPage;

/// The examples of the page on launching, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/launch.md")]
pub struct LaunchPage;

/// The examples of the page on checkpoints and resuming, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/resuming.md")]
pub struct ResumingPage;

/// The examples of the page on gradient accumulation and several devices, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/accumulation.md")]
pub struct AccumulationPage;

/// The example of the page on bugs of peers, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/peer_bugs.md")]
pub struct PeerBugsPage;

/// The examples of the page on schedule-free training, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/schedule_free.md")]
pub struct ScheduleFreePage;

/// The examples of the page on snapshots, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/snapshots.md")]
pub struct SnapshotsPage;

/// The examples of the page on merging checkpoints, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/merging.md")]
pub struct MergingPage;

/// The examples of the page on half precision, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/half_precision.md")]
pub struct HalfPrecisionPage;

/// The examples of the recipe for continual learning, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/continual.md")]
pub struct ContinualRecipe;

/// The examples of the recipe for contrastive losses, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/contrastive.md")]
pub struct ContrastiveRecipe;

/// The examples of the recipe for curricula, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/curriculum.md")]
pub struct CurriculumRecipe;

/// The examples of the recipe for diffusion, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/diffusion.md")]
pub struct DiffusionRecipe;

/// The examples of the recipe for federated training, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/federated.md")]
pub struct FederatedRecipe;

/// The examples of the recipe for local SGD, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/local_sgd.md")]
pub struct LocalSgdRecipe;

/// The examples of the recipe for several losses, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/multitask.md")]
pub struct MultitaskRecipe;

/// The examples of the recipe for differential privacy, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/privacy.md")]
pub struct PrivacyRecipe;

/// The examples of the recipe for pruning, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/pruning.md")]
pub struct PruningRecipe;

/// The examples of the recipe for searches over architectures, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes/search_architectures.md")]
pub struct SearchArchitecturesRecipe;

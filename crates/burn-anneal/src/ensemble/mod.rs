//! Averages the predictions of several models.

mod diversity;
mod error;
mod pairs;

pub use diversity::{PredictionDiversity, WeightDiversity};
pub use error::EnsembleError;
pub use pairs::Pairs;

use crate::checkpoint::load_model;
use crate::loader::{EpochStart, look};
use crate::update::in_f32;
use burn::data::dataloader::DataLoader;
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, FloatDType, Tensor};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Averages the predictions of several models of one architecture, for example the snapshots of a run.
///
/// Members in files are loaded one at a time, and each makes one pass over the data: memory holds one model, its
/// predictions and their running mean, whatever the number of members. To predict batch by batch instead, load all
/// members once with [`loaded`](Self::loaded). Members are in their `valid()` form, and predictions in at least f32.
///
/// ```
/// use burn_anneal::prelude::*;
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::tensor::{Device, Tensor};
/// # let device = Device::default();
/// # let models = [(); 3].map(|()| LinearConfig::new(4, 2).init(&device));
/// // From files: Ensemble::of(Snapshots::list("runs/mine")?, model)
/// let ensemble = Ensemble::of_models(models).mean_of(MeanOf::Probabilities);
/// let batch = Tensor::<2>::ones([8, 4], &device);
/// let logits: Tensor<2> = ensemble.predict_batch(batch, |model: &Linear, batch| model.forward(batch))?;
/// assert_eq!(logits.dims(), [8, 2]);
/// println!("{}", ensemble.weight_diversity()?);
/// # Ok::<(), EnsembleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ensemble<M> {
    members: Members<M>,
    mean_of: MeanOf,
}

/// The quantity that an [`Ensemble`] averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MeanOf {
    /// Probabilities, the softmax over the last dimension of the output. The result is their logarithms, which are
    /// logits too: their softmax gives the mean of m members,
    ///
    /// ```text
    /// ln p̄ = ln Σ_i e^(ln p_i) − ln m
    /// ```
    ///
    /// summed so that nothing overflows and no small probability underflows to 0.
    #[default]
    Probabilities,
    /// The outputs themselves: logits, or the values of a regression. The softmax of mean logits is the normalized
    /// geometric mean of the probabilities.
    Outputs,
}

#[derive(Clone, Debug)]
enum Members<M> {
    /// Records, and the model to load each into.
    Files(Vec<PathBuf>, M),
    Models(Vec<M>),
}

impl<M: Module> Ensemble<M> {
    /// Makes an ensemble of model records in files, for example [`Snapshot`](crate::Snapshot)s, each loaded into
    /// `model`.
    pub fn of<P: AsRef<Path>>(files: impl IntoIterator<Item = P>, model: M) -> Self {
        let files = files.into_iter().map(|path| path.as_ref().to_path_buf()).collect();
        Self { members: Members::Files(files, model), mean_of: MeanOf::default() }
    }

    /// Makes an ensemble of models in memory.
    pub fn of_models(models: impl IntoIterator<Item = M>) -> Self {
        let models = models.into_iter().map(|model| model.valid()).collect();
        Self { members: Members::Models(models), mean_of: MeanOf::default() }
    }

    /// Sets the quantity to average; by default probabilities.
    #[must_use]
    pub fn mean_of(mut self, mean_of: MeanOf) -> Self {
        self.mean_of = mean_of;
        self
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        match &self.members {
            Members::Files(files, _) => files.len(),
            Members::Models(models) => models.len(),
        }
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads all members into memory.
    ///
    /// # Errors
    /// [`EnsembleError::Member`] if one cannot be loaded.
    pub fn loaded(self) -> Result<Self, EnsembleError> {
        let models = (0..self.len()).map(|index| self.member(index).map(Cow::into_owned));
        let models: Vec<M> = models.collect::<Result<_, _>>()?;
        Ok(Self::of_models(models).mean_of(self.mean_of))
    }

    /// Averages the predictions of all members for each batch of a loader, in order.
    ///
    /// Each member makes a pass over the loader, which must give the same batches each time: a test loader does, and a
    /// [`SeededLoader`](crate::SeededLoader) gives its first epoch; do not use a loader that Burn shuffles. Logs one
    /// line per member.
    ///
    /// # Errors
    /// [`EnsembleError`] if there are no members or no batches, a member cannot be loaded or has other outputs than the
    /// first, or a prediction is NaN or infinite.
    pub fn predict<B, const D: usize>(
        &self,
        loader: &dyn DataLoader<B>,
        forward: impl Fn(&M, B) -> Tensor<D>,
    ) -> Result<Vec<Tensor<D>>, EnsembleError> {
        self.mean(|| epoch(loader), forward)
    }

    /// Averages the predictions of all members for one batch; members in files are loaded each time.
    ///
    /// # Errors
    /// The same as [`predict`](Self::predict).
    pub fn predict_batch<B: Clone, const D: usize>(
        &self,
        batch: B,
        forward: impl Fn(&M, B) -> Tensor<D>,
    ) -> Result<Tensor<D>, EnsembleError> {
        let mean = self.mean(|| [Ok(batch.clone())].into_iter(), forward)?;
        mean.into_iter().next().ok_or(EnsembleError::NoBatches)
    }

    fn mean<B, I: Iterator<Item = Result<B, DatasetError>>, const D: usize>(
        &self,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B) -> Tensor<D>,
    ) -> Result<Vec<Tensor<D>>, EnsembleError> {
        let mut sums: Vec<Tensor<D>> = vec![];
        for member in 0..self.len() {
            let answers = self.answers(member, batches(), &forward, self.mean_of)?;
            sums = match member {
                0 => answers,
                _ => {
                    self.alike(member, sums, answers)?.map(|pair| self.mean_of.add(pair)).collect()
                }
            };
        }
        let mean = |sum: Tensor<D>| match self.mean_of {
            MeanOf::Probabilities => sum - (self.len() as f64).ln(),
            MeanOf::Outputs => sum / self.len() as f64,
        };
        match sums.is_empty() {
            true => Err(EnsembleError::NoMembers),
            false => Ok(sums.into_iter().map(mean).collect()),
        }
    }

    /// The outputs of a member for each batch, ready to be averaged.
    fn answers<B, const D: usize>(
        &self,
        member: usize,
        batches: impl Iterator<Item = Result<B, DatasetError>>,
        forward: impl Fn(&M, B) -> Tensor<D>,
        mean_of: MeanOf,
    ) -> Result<Vec<Tensor<D>>, EnsembleError> {
        let model = self.member(member)?;
        log::info!("{} predicts", self.name(member));
        let answer = |batch: Result<B, DatasetError>| {
            let batch = batch.map_err(|error| EnsembleError::Data { reason: error.to_string() })?;
            Ok(mean_of.term(in_f32(forward(&model, batch).without_autodiff())))
        };
        let answers: Vec<Tensor<D>> = batches.map(answer).collect::<Result<_, _>>()?;
        if answers.is_empty() {
            return Err(EnsembleError::NoBatches);
        }
        let wrong = answers.iter().map(|answer| mean_of.wrong(answer.clone())).collect();
        match numbers(wrong)?.iter().all(|wrong| *wrong == 0.0) {
            true => Ok(answers),
            false => Err(EnsembleError::NotFinite { member: self.name(member) }),
        }
    }

    /// Pairs the outputs of a member with those before it, for the same batches.
    fn alike<const D: usize>(
        &self,
        member: usize,
        before: Vec<Tensor<D>>,
        answers: Vec<Tensor<D>>,
    ) -> Result<impl Iterator<Item = (Tensor<D>, Tensor<D>)>, EnsembleError> {
        let (found, expected) = (answers.len(), before.len());
        if found != expected {
            return Err(EnsembleError::Batches { member: self.name(member), found, expected });
        }
        let pairs = || before.iter().zip(&answers).map(|(one, other)| (one.dims(), other.dims()));
        if let Some((batch, (expected, found))) =
            pairs().enumerate().find(|(_, (one, other))| one != other)
        {
            let (found, expected) = (found.to_vec(), expected.to_vec());
            let member = self.name(member);
            return Err(EnsembleError::Shape { member, batch, found, expected });
        }
        Ok(before.into_iter().zip(answers))
    }

    fn member(&self, index: usize) -> Result<Cow<'_, M>, EnsembleError> {
        match &self.members {
            Members::Models(models) => Ok(Cow::Borrowed(&models[index])),
            Members::Files(files, model) => match load_model(&files[index], model.clone()) {
                Ok(model) => Ok(Cow::Owned(model.valid())),
                Err(error) => {
                    let (member, error) = (self.name(index), Box::new(error));
                    Err(EnsembleError::Member { member, error })
                }
            },
        }
    }

    fn name(&self, index: usize) -> String {
        let member = format!("member {index} of {}", self.len());
        match &self.members {
            Members::Files(files, _) => format!("{member}, {}", files[index].display()),
            Members::Models(_) => member,
        }
    }
}

/// The batches of a loader; always the first epoch if it knows its epochs.
fn epoch<B>(loader: &dyn DataLoader<B>) -> impl Iterator<Item = Result<B, DatasetError>> {
    look(loader, EpochStart { epoch: 1, batches: 0 }).0
}

/// The values of tensors of one element.
fn numbers(tensors: Vec<Tensor<1>>) -> Result<Vec<f64>, EnsembleError> {
    let Some(device) = tensors.first().map(Tensor::device) else { return Ok(vec![]) };
    let tensors = tensors.into_iter().map(|tensor| tensor.to_device(&device).cast(FloatDType::F32));
    let read = Tensor::cat(tensors.collect(), 0).try_into_data();
    let data = read.map_err(|error| EnsembleError::Device { reason: error.to_string() })?;
    Ok(data.iter::<f64>().collect())
}

impl MeanOf {
    /// The terms of the sum.
    fn term<const D: usize>(self, output: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Probabilities => log_softmax(output, D - 1),
            Self::Outputs => output,
        }
    }

    /// 0 if all terms can be summed; the logarithm of a probability of 0 can, NaN cannot.
    fn wrong<const D: usize>(self, term: Tensor<D>) -> Tensor<1> {
        let wrong: Tensor<D, Bool> = match self {
            Self::Probabilities => term.is_nan(),
            Self::Outputs => term.is_finite().bool_not(),
        };
        wrong.any().float()
    }

    fn add<const D: usize>(self, (sum, term): (Tensor<D>, Tensor<D>)) -> Tensor<D> {
        match self {
            Self::Probabilities => log_add_exp(sum, term),
            Self::Outputs => sum + term,
        }
    }
}

/// ln(e^a + e^b), with the larger factored out.
fn log_add_exp<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let larger = a.clone().max_pair(b.clone());
    // Two that are −∞ have nothing to factor out.
    let larger = larger.clone().mask_fill(larger.is_inf(), 0.0);
    ((a - larger.clone()).exp() + (b - larger.clone()).exp()).log() + larger
}

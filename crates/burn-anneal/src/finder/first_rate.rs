//! The largest stable rate of the next update.

use super::batches::Batches;
use super::{FindError, LrFinder, Seeded, Subject};
use crate::annealed::optimize;
use crate::build_error::BuildError;
use crate::builder::LearnerBuilder;
use crate::training_loop::TrainingLoop;
use crate::update::ByParameter;
use anneal_plan::{FirstRate, FoundRate, LargestStable, TwoSteps};
use burn::module::Module;
use burn::train::{LearnerModel, TrainLoader, TrainOutput, TrainStep};
use std::fmt;

/// The largest rate at which an update does not raise the loss of its own batch, and how it was found; see
/// [`LrFinder::first_rate`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FirstRateFound {
    /// The result, and the number of updates tried.
    pub found: FoundRate,
    /// The loss before the update.
    pub loss: f64,
    /// The rates tried, in order, and the loss after each; infinite after a skipped update.
    pub tried: Vec<(f64, f64)>,
    /// Two small rates and the loss after each, which give the curvature; `None` if no rate is stable.
    pub small: Option<[(f64, f64); 2]>,
}

/// The small rates, as shares of the largest: so small that the loss is nearly quadratic, so large that f32 resolves
/// it.
const SMALL: [f64; 2] = [1.0 / 64.0, 1.0 / 32.0];

impl FirstRateFound {
    /// The largest rate found that does not raise the loss.
    pub fn rate(&self) -> Option<f64> {
        self.found.largest.rate()
    }

    /// The gradient along the update u and the curvature along it, from the losses after two small updates.
    ///
    /// ```text
    /// loss(w − η u) = loss − η g·u + ½ η² uᵀHu
    /// gradient_squared = g·u        curvature = uᵀHu / g·u
    /// ```
    ///
    /// For plain SGD u = g, so the curvature is the Rayleigh quotient of the gradient: for a smooth loss, at most the
    /// largest eigenvalue of the Hessian. For other optimizers it is the quotient in the optimizer's own metric. `None`
    /// if no rate is stable or the losses do not fall.
    pub fn along_update(&self) -> Option<TwoSteps> {
        let [first, second] = self.small?;
        TwoSteps::new(self.loss, first, second).ok()
    }
}

impl fmt::Display for FirstRateFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, loss, .. } = self;
        match found.largest {
            LargestStable::Between { stable, rises } => {
                write!(
                    f,
                    "largest stable first rate {stable:.2e}: the loss of {loss:.4} rises at {rises:.2e}"
                )?;
            }
            LargestStable::AtLeast { highest } => {
                write!(
                    f,
                    "the loss of {loss:.4} does not rise up to {highest:.2e}: try higher rates"
                )?;
            }
            LargestStable::Below { lowest } => {
                write!(f, "the loss of {loss:.4} rises even at {lowest:.2e}: try lower rates")?;
            }
        }
        write!(f, " ({} updates tried)", found.evaluations)
    }
}

/// How a copy makes its passes and its update.
pub(super) struct Trial<'a, M> {
    pub pass: &'a mut dyn FnMut(&mut TrainingLoop<M>),
    pub make: &'a dyn Fn(&mut TrainingLoop<M>) -> Result<bool, FindError>,
}

/// Tries the next update of `base` at several rates, with its schedule held at `step`.
pub(super) fn first_rate<M: Module>(
    base: &TrainingLoop<M>,
    step: u64,
    bounds: FirstRate,
    seeded: &Seeded,
    trial: Trial<'_, M>,
) -> Result<FirstRateFound, FindError> {
    let Trial { pass, make } = trial;
    let mut loss_of = |copy: &mut TrainingLoop<M>| {
        // The same random numbers each time.
        seeded.begin(0);
        pass(copy);
        copy.updater.monitor.take_loss()
    };
    let mut first = base.steered(step, vec![]);
    let controller = "rate finder".to_string();
    let loss = loss_of(&mut first).ok_or(BuildError::LossUnknown { controller })?;
    if !loss.is_finite() {
        return Err(FindError::NotFinite { loss });
    }
    let gradients = first.gradients.take().unwrap_or_default();
    let gradients = ByParameter::copy(first.model(), &gradients);
    let mut loss_after = |rate: f64| {
        let mut copy = base.steered(step, vec![rate]);
        copy.gradients = Some(gradients.clone().into_single(copy.model()));
        Ok::<f64, FindError>(if make(&mut copy)? {
            loss_of(&mut copy).unwrap_or(f64::NAN)
        } else {
            f64::INFINITY
        })
    };
    let mut tried = vec![];
    let found = bounds.find(loss, |rate| {
        let after = loss_after(rate)?;
        tried.push((rate, after));
        Ok::<f64, FindError>(after)
    })?;
    let small = match found.largest.rate() {
        Some(largest) => {
            let [first, second] = SMALL.map(|part| part * largest);
            Some([(first, loss_after(first)?), (second, loss_after(second)?)])
        }
        None => None,
    };
    Ok(FirstRateFound { found, loss, tried, small })
}

impl LrFinder {
    /// Finds the largest rate at which the first update does not raise the loss of its own batch, by bisection:
    ///
    /// ```text
    /// loss(w − η u) ≤ loss(w)
    /// ```
    ///
    /// with the update u of the built training, including groups, decay and precision. It is an upper bound: a warm-up
    /// starts well below it. It takes about a dozen updates, each with a pass of the same batch and the same dropout.
    /// The search is within the rates of the [`sweep`](Self::sweep).
    ///
    /// ```no_run
    /// # use burn::train::{LearnerModel, TrainLoader, TrainStep};
    /// # use burn_anneal::prelude::*;
    /// # fn look<M: LearnerModel>(builder: &LearnerBuilder<M>, loader: &TrainLoader<M>) -> Result<(), FindError>
    /// # where
    /// #     <M as TrainStep>::Input: Clone,
    /// # {
    /// println!("{}", LrFinder::new().first_rate(builder, loader)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`FindError`] if the run cannot be built, or its loss is not finite.
    pub fn first_rate<M: LearnerModel>(
        &self,
        builder: &LearnerBuilder<M>,
        loader: &TrainLoader<M>,
    ) -> Result<FirstRateFound, FindError>
    where
        <M as TrainStep>::Input: Clone,
    {
        let Subject { base, loader, .. } = builder.subject(loader)?;
        let mut batches = Batches::new(&loader, 1, 1);
        let batches = batches.many(base.batches_per_update())?;
        let (step, seeded) = self.begin(&base)?;
        let mut pass = |copy: &mut TrainingLoop<M>| pass_all(copy, &batches);
        let trial = Trial { pass: &mut pass, make: &made };
        first_rate(&base, step, self.bounds_beyond(0.0), &seeded, trial)
    }

    /// Like [`first_rate`](Self::first_rate), for the next update of a custom loop: `pass` runs a forward and backward
    /// pass of the same batch each time, or cycles through the batches of an update if the run accumulates.
    ///
    /// # Errors
    /// [`FindError`] if training cannot continue, or the loss is not finite.
    pub fn first_rate_in<M: Module, O: 'static>(
        &self,
        training: &TrainingLoop<M>,
        mut pass: impl FnMut(&M) -> TrainOutput<O>,
    ) -> Result<FirstRateFound, FindError> {
        let (step, seeded) = self.begin(training)?;
        let mut pass = |copy: &mut TrainingLoop<M>| {
            for _ in 0..copy.batches_per_update() {
                copy.pass(&mut pass);
            }
        };
        let make = |copy: &mut TrainingLoop<M>| Ok(copy.update()?.skipped.is_none());
        let trial = Trial { pass: &mut pass, make: &make };
        first_rate(training, step, self.bounds_beyond(0.0), &seeded, trial)
    }

    pub(super) fn begin<M: Module>(
        &self,
        base: &TrainingLoop<M>,
    ) -> Result<(u64, Seeded), FindError> {
        Ok((self.step_of(base)?, Seeded::new(base.model(), self.seed)))
    }

    /// The rates of the sweep, extended to a little beyond `rate`.
    pub(super) fn bounds_beyond(&self, rate: f64) -> FirstRate {
        FirstRate::new(self.sweep.rate(0), self.sweep.rate(u64::MAX).max(1.5 * rate))
    }
}

/// Runs the passes of all batches of an update.
pub(super) fn pass_all<M: LearnerModel>(
    copy: &mut TrainingLoop<M>,
    batches: &[<M as TrainStep>::Input],
) where
    <M as TrainStep>::Input: Clone,
{
    for batch in batches {
        copy.pass_batch(batch.clone(), TrainStep::step);
    }
}

/// Makes an update with the model's own `TrainStep::optimize`; returns whether it was made, not skipped.
pub(super) fn made<M: LearnerModel>(copy: &mut TrainingLoop<M>) -> Result<bool, FindError> {
    Ok(copy.make(&optimize, None)?.skipped.is_none())
}

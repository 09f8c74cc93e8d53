//! What models with exact answers predict of a schedule, for `analyze`.

use crate::analysis_arguments::unanswered;
use crate::count::count;
use crate::drawing::short;
use crate::error::Error;
use anneal_plan::theory::{Escape, NoisyQuadratic, stationary_loss, steps_to_contract};
use anneal_schedule::analysis::{Analysis, AnalysisError, Optimizer, Options, Window};
use anneal_schedule::{OutOfRange, Schedule};
use clap::Args;
use serde::Serialize;
use std::fmt;

/// The noise and the barrier.
#[derive(Debug, Args)]
pub struct PredictionArguments {
    /// Standard deviation σ of one example's gradient: predicts the end of plain SGD on ½λw²
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true, requires = "curvature")]
    noise: Option<f64>,
    /// Examples averaged in each gradient; its noise is σ/√B [default: as --batch-size, or 1]
    #[arg(
        long,
        value_name = "B",
        value_parser = count,
        allow_negative_numbers = true,
        requires = "noise"
    )]
    batch: Option<u64>,
    /// Barrier around a minimum over the temperature at a rate of 1: predicts when SGD escapes
    /// [default: the peak rate]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    barrier: Option<f64>,
}

/// The predictions for a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Predictions {
    /// On a quadratic, if a noise was given.
    quadratic: Option<OnQuadratic>,
    escape: Escapes,
}

/// The predictions for plain SGD on ½λw² with gradient noise.
#[derive(Clone, Copy, Debug, Serialize)]
struct OnQuadratic {
    curvature: f64,
    /// The standard deviation of the noise of an update, σ/√B.
    noise: f64,
    batch: u64,
    last: f64,
    peak: f64,
    /// `None` if the last rate is unstable.
    stationary_loss: Option<f64>,
    /// `None` if it is larger than an f64.
    noise_loss: Option<f64>,
    /// `None` if the peak is unstable.
    updates_to_1_percent: Option<u64>,
    /// λΣη.
    scaled_travel: f64,
}

/// When SGD escapes over a barrier.
#[derive(Clone, Copy, Debug, Serialize)]
struct Escapes {
    barrier: f64,
    is_peak: bool,
    first_tenth: u64,
    /// `None` if no update can escape.
    share_of_first_tenth: Option<f64>,
}

impl PredictionArguments {
    /// The predictions; `None` unless a flag asks for them.
    pub fn predict(
        &self,
        name: &str,
        schedule: &Schedule,
        options: &Options,
        analysis: &Analysis,
    ) -> Result<Option<Predictions>, Error> {
        if self.noise.or(self.barrier).is_none() {
            return Ok(None);
        }
        if self.noise.is_some() && options.optimizer != Optimizer::Sgd {
            let why = "--noise predicts plain SGD; allowed: --optimizer sgd, or no --optimizer";
            return Err(Error::Usage(why.into()));
        }
        let predicted = Window::run(schedule).and_then(|window| {
            let quadratic = self
                .noise
                .zip(options.curvature)
                .map(|(noise, curvature)| self.on_quadratic(&window, analysis, noise, curvature));
            Ok(Predictions {
                quadratic: quadratic.transpose()?,
                escape: self.escapes(&window, analysis.cooling.peak)?,
            })
        });
        predicted.map(Some).map_err(|error| unanswered(name, &error))
    }

    fn on_quadratic(
        &self,
        window: &Window<'_>,
        analysis: &Analysis,
        noise: f64,
        curvature: f64,
    ) -> Result<OnQuadratic, AnalysisError> {
        let of_run = window.schedule().run().batch_of(window.steps() - 1);
        let batch = self.batch.or(of_run).unwrap_or(1);
        OutOfRange::require("batch", batch, batch > 0, "at least 1")?;
        // Checks σ before the division.
        NoisyQuadratic::new(curvature, noise, 0.0)?;
        let noise = noise / (batch as f64).sqrt();
        let (last, peak) = (analysis.last, analysis.cooling.peak);
        Ok(OnQuadratic {
            curvature,
            noise,
            batch,
            last,
            peak,
            stationary_loss: if_it_converges(stationary_loss(last, curvature, noise))?,
            noise_loss: if_it_converges(NoisyQuadratic::new(curvature, noise, 0.0)?.end(window))?
                .map(|end| end.loss),
            updates_to_1_percent: if_it_converges(steps_to_contract(peak, curvature, 0.01))?
                .flatten(),
            scaled_travel: curvature * analysis.travel.travel,
        })
    }

    fn escapes(&self, window: &Window<'_>, peak: f64) -> Result<Escapes, AnalysisError> {
        let barrier = self.barrier.unwrap_or(peak);
        let escape = Escape::of(window, barrier, 0.1)?;
        Ok(Escapes {
            barrier,
            is_peak: self.barrier.is_none(),
            first_tenth: escape.early_steps,
            share_of_first_tenth: escape.early_share_of_expected,
        })
    }
}

/// `None` where gradient descent diverges.
fn if_it_converges<T>(found: Result<T, AnalysisError>) -> Result<Option<T>, AnalysisError> {
    match found {
        Err(AnalysisError::Unstable { .. } | AnalysisError::Overflow { .. }) => Ok(None),
        found => found.map(Some),
    }
}

impl fmt::Display for Predictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![];
        if let Some(quadratic) = &self.quadratic {
            writeln!(
                f,
                "predictions for plain SGD on ½λw²: λ = {}, noise σ/√B = {} for B = {}",
                short(quadratic.curvature),
                short(quadratic.noise),
                quadratic.batch
            )?;
            rows.extend(quadratic.rows());
        }
        rows.push(self.escape.row());
        let width = rows.iter().map(|row| row.1.chars().count()).max().unwrap_or(0);
        for (label, value, note) in rows {
            writeln!(f, "{label:<20}  {value:<width$}  {note}")?;
        }
        Ok(())
    }
}

/// Label, value and formula.
type Row = (&'static str, String, String);

fn or_none(value: Option<impl fmt::Display>) -> String {
    value.map_or("none".into(), |value| value.to_string())
}

impl OnQuadratic {
    fn rows(&self) -> [Row; 4] {
        let at = |which: &str, rate: f64| {
            let share = rate * self.curvature;
            let diverges = if share < 2.0 { "" } else { ": SGD diverges" };
            format!("at the {which} rate η = {}, ηλ = {}{diverges}", short(rate), short(share))
        };
        [
            (
                "stationary loss",
                or_none(self.stationary_loss.map(short)),
                format!("½λ · ησ²/(Bλ(2 − ηλ)) {}", at("last", self.last)),
            ),
            (
                "loss due to noise",
                or_none(self.noise_loss.map(short)),
                "½λv after the last update, by v ← (1 − ηλ)²v + η²σ²/B from 0".into(),
            ),
            (
                "updates to 1 %",
                or_none(self.updates_to_1_percent),
                format!("least n with |1 − ηλ|ⁿ ≤ 0.01 {}", at("peak", self.peak)),
            ),
            (
                "scaled travel",
                short(self.scaled_travel),
                "λΣη: small rates leave e^(−λΣη) of the distance to the minimum".into(),
            ),
        ]
    }
}

impl Escapes {
    fn row(&self) -> Row {
        let chosen = if self.is_peak { ", the peak rate" } else { "" };
        let share = self.share_of_first_tenth.map(|share| format!("{} %", short(100.0 * share)));
        let note = format!(
            "share of Σe^(−b/η) in the first {} updates, for a barrier b = {}{chosen}",
            self.first_tenth,
            short(self.barrier)
        );
        ("early escapes", or_none(share), note)
    }
}

//! What the rates of the run show, whatever the schedule is made of.

use super::{Code, Finding, Severity};
use crate::analysis::{AnalysisError, Cooling, Options, Window};

/// The share of the named peak that some update should have.
const WARM: f64 = 0.5;

/// The share of the run at its end that may be frozen: well-known step decays use a quarter.
const FROZEN: f64 = 0.25;

/// The share of the run at its end that may have a rate of 0.
const ZERO: f64 = 0.01;

/// The share of its largest that a weight decay should keep.
const KEPT: f64 = 0.1;

/// The largest rate that anybody uses but for layer-wise optimizers such as LARS; super-convergence has 3.
const HIGH: f64 = 10.0;

/// What a weight decay should shrink a weight by, over the run.
const SHRINK: f64 = 1e-3;

pub(super) fn findings(
    window: &Window<'_>,
    options: &Options,
) -> Result<Vec<Finding>, AnalysisError> {
    let warm = window.cooling(1.0)?;
    let checks = [
        too_high(&warm),
        never_warm(window, &warm),
        frozen(window, options)?,
        unstable(window, options)?,
        vanishing(window, options)?,
        fading(window, options)?,
    ];
    Ok(checks.into_iter().flatten().collect())
}

fn too_high(warm: &Cooling) -> Option<Finding> {
    let (code, message, change) = if warm.peak > HIGH {
        (
            Code::RateTooHigh,
            format!(
                "the largest rate is {:.3e}; hardly any training bears more than 10",
                warm.peak
            ),
            "check the peak and its exponent; layer-wise optimizers such as LARS are the exception",
        )
    } else if warm.peak == 1.0 {
        (
            Code::LooksLikeMultiplier,
            "the largest rate is exactly 1, like the multipliers that torch's LambdaLR takes"
                .into(),
            "give rates: multiply by the optimizer's base rate, as in `.scale(3e-4)`; Prodigy and \
             D-Adaptation do want 1",
        )
    } else {
        return None;
    };
    let (severity, step) = (Severity::Warning, Some(warm.peak_step));
    Some(Finding { code, severity, step, message, change: change.into() })
}

fn never_warm(window: &Window<'_>, warm: &Cooling) -> Option<Finding> {
    let named = window.schedule().peak();
    (warm.peak < WARM * named).then(|| Finding {
        code: Code::NeverWarm,
        severity: Severity::Warning,
        step: Some(warm.peak_step),
        message: format!(
            "the largest rate is {:.3e}, {:.0} % of the peak {named:.3e}",
            warm.peak,
            100.0 * warm.peak / named
        ),
        change: "shorten the warm-up or what lowers the rate, or name the peak that you want"
            .into(),
    })
}

fn frozen(window: &Window<'_>, options: &Options) -> Result<Option<Finding>, AnalysisError> {
    let steps = window.steps();
    // A level of exactly a hundredth, as after two drops by 10, may be just below it in f64.
    let frozen = window.cooling(options.frozen_below * (1.0 - 1e-9))?.frozen_tail;
    let zero = window.below("lint", f64::MIN_POSITIVE)?.tail;
    let too_many = |tail: u64, share: f64| tail > 1 && tail as f64 > share * steps as f64;
    let (tail, what) = if too_many(frozen, FROZEN) {
        (frozen, format!("below {} % of the peak", 100.0 * options.frozen_below))
    } else if too_many(zero, ZERO) {
        (zero, "0".into())
    } else {
        return Ok(None);
    };
    Ok(Some(Finding {
        code: Code::FrozenTail,
        severity: Severity::Warning,
        step: Some(steps - tail),
        message: format!(
            "the rate is {what} for the last {tail} of {steps} updates, which learn nothing"
        ),
        change: "let the decay last to the end of the run, give it a floor, or shorten the run"
            .into(),
    }))
}

fn unstable(window: &Window<'_>, options: &Options) -> Result<Option<Finding>, AnalysisError> {
    let Some(curvature) = options.curvature else { return Ok(None) };
    let found = window.stability(curvature, options.optimizer)?;
    if found.updates_above == 0 {
        return Ok(None);
    }
    let severity = match found.first_below {
        None => Severity::Error,
        Some(_) => Severity::Warning,
    };
    Ok(Some(Finding {
        code: Code::AboveStabilityCeiling,
        severity,
        step: window.below("lint", found.largest_rate)?.first_above,
        message: format!(
            "{} updates have a rate of {:.3e} or more, which is unstable at curvature {curvature}",
            found.updates_above, found.largest_rate
        ),
        change: format!(
            "keep the rate below {:.3e}: lower the peak, or cap it",
            found.largest_rate
        ),
    }))
}

fn vanishing(window: &Window<'_>, options: &Options) -> Result<Option<Finding>, AnalysisError> {
    let Some(omega) = options.weight_decay else { return Ok(None) };
    window.largest_decay(omega)?;
    let total = decayed(window, omega)?;
    Ok((omega > 0.0 && total < SHRINK).then(|| Finding {
        code: Code::VanishingDecay,
        severity: Severity::Note,
        step: None,
        message: format!(
            "the weight decay {omega} shrinks a weight by {:.2e} of it over the whole run",
            -f64::exp_m1(-total)
        ),
        change: "raise the weight decay, make it independent of the rate, or leave it out".into(),
    }))
}

/// Σηω: all that is asked, and it has a closed form more often than Π(1 − ηω).
fn decayed(window: &Window<'_>, omega: f64) -> Result<f64, AnalysisError> {
    Ok(omega * window.travel()?.travel)
}

/// A decay that vanishes altogether is another finding.
fn fading(window: &Window<'_>, options: &Options) -> Result<Option<Finding>, AnalysisError> {
    let Some(omega) = options.weight_decay.filter(|&omega| omega > 0.0) else { return Ok(None) };
    if decayed(window, omega)? < SHRINK {
        return Ok(None);
    }
    let (steps, peak) = (window.steps(), window.cooling(1.0)?.peak);
    // A level of exactly a tenth, as after a drop by 10, may be just below it in f64.
    let tail = window.below("lint", KEPT * peak * (1.0 - 1e-9))?.tail;
    Ok((tail > 0).then(|| Finding {
        code: Code::FadingDecay,
        severity: Severity::Note,
        step: Some(steps - tail),
        message: format!(
            "the weight decay follows the rate, as in torch's AdamW: it takes at most {:.2e} of a weight, \
             and less than a tenth of that in the last {tail} of {steps} updates",
            omega * peak
        ),
        change: "keep it where a recipe was tuned with it; else make the decay independent of the rate"
            .into(),
    }))
}

//! Findings about the rates of a run, independent of the schedule's structure.

use super::{Code, Finding, Severity};
use crate::analysis::{AnalysisError, Cooling, Options, Window};

/// The share of the named peak that some update should reach.
const WARM: f64 = 0.5;

/// The share of the run that may be frozen at its end: well-known step decays use a quarter.
const FROZEN: f64 = 0.25;

/// The share of the run that may have a rate of 0 at its end.
const ZERO: f64 = 0.01;

/// The share of its maximum that a weight decay should keep.
const KEPT: f64 = 0.1;

/// The largest rate in use, except for layer-wise optimizers such as LARS; super-convergence has 3.
const HIGH: f64 = 10.0;

/// The share by which a weight decay should shrink a weight over the run.
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
                "the largest rate is {:.3e}; hardly any training tolerates more than 10",
                warm.peak
            ),
            "check the peak and its exponent; layer-wise optimizers such as LARS are the exception",
        )
    } else if warm.peak == 1.0 {
        (
            Code::LooksLikeMultiplier,
            "the largest rate is exactly 1, like the multipliers that torch's LambdaLR takes"
                .into(),
            "give rates: multiply by the optimizer's base rate, as in `.scale(3e-4)`; only Prodigy and \
             D-Adaptation expect 1",
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
        change: "shorten the warm-up, remove what lowers the rate, or name the peak that you want"
            .into(),
    })
}

fn frozen(window: &Window<'_>, options: &Options) -> Result<Option<Finding>, AnalysisError> {
    let steps = window.steps();
    // After two drops by 10, a level of exactly a hundredth may be slightly below it in f64.
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
            "the rate is {what} for the last {tail} of {steps} updates, which train nothing"
        ),
        change: "extend the decay to the end of the run, give it a floor, or shorten the run"
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
            "the weight decay {omega} shrinks a weight by only a share of {:.2e} over the whole run",
            -f64::exp_m1(-total)
        ),
        change: "raise the weight decay, make it independent of the rate, or omit it".into(),
    }))
}

/// Σηω: sufficient here, and it has a closed form more often than Π(1 − ηω).
fn decayed(window: &Window<'_>, omega: f64) -> Result<f64, AnalysisError> {
    Ok(omega * window.travel()?.travel)
}

/// A decay that vanishes altogether is a different finding.
fn fading(window: &Window<'_>, options: &Options) -> Result<Option<Finding>, AnalysisError> {
    let Some(omega) = options.weight_decay.filter(|&omega| omega > 0.0) else { return Ok(None) };
    if decayed(window, omega)? < SHRINK {
        return Ok(None);
    }
    let (steps, peak) = (window.steps(), window.cooling(1.0)?.peak);
    // After a drop by 10, a level of exactly a tenth may be slightly below it in f64.
    let tail = window.below("lint", KEPT * peak * (1.0 - 1e-9))?.tail;
    Ok((tail > 0).then(|| Finding {
        code: Code::FadingDecay,
        severity: Severity::Note,
        step: Some(steps - tail),
        message: format!(
            "the weight decay follows the rate, as in torch's AdamW: it removes at most {:.2e} of a weight per update, \
             and less than a tenth of that in the last {tail} of {steps} updates",
            omega * peak
        ),
        change: "keep it if the recipe was tuned with it; otherwise make the decay independent of the rate"
            .into(),
    }))
}

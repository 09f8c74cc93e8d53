//! Guarantees for all public types.

use crate::analysis::{Analysis, AnalysisError, Options};
use crate::lint::Finding;
use crate::peers::{PeerError, Translation};
use crate::*;
use std::error::Error;

#[test]
fn everything_may_go_to_another_thread() {
    fn check<T: Send + Sync + 'static>() {}
    check::<(Schedule, ScheduleConfig, RunLength, Run, Span, WeightDecay, Shrinkage, Source)>();
    check::<(Analysis, Options, Finding, Translation, RateDrop, Fingerprint, Warmup, Cosine)>();
    check::<(ScheduleError, FileError, TextError, AnalysisError, PeerError, OutOfRange)>();
    check::<(AgreementError, MergeRecipeError, ParseSpanError)>();
}

/// A printer of error chains, such as anyhow's, prints each cause once.
#[test]
fn no_error_says_its_cause_twice() {
    let schedule = || cosine(-1.0).resolve(RunLength::updates(9)).unwrap_err();
    let run = || RunLength::updates(0).resolve().unwrap_err();
    let merged = merge_coefficients(cosine(-1.0), &[1, 2]).unwrap_err();
    let path = || "recipe.toml".into();
    let errors: [Box<dyn Error>; 10] = [
        Box::new(schedule()),
        Box::new(merged),
        Box::new(AnalysisError::from(OutOfRange::new("steps", 0, "at least 1"))),
        Box::new(AgreementError::from(run())),
        Box::new(AgreementError::from(Contradiction { what: "epochs", run: 1, training: 2 })),
        Box::new(PeerError::Schedule { name: "StepLR".into(), error: schedule() }),
        Box::new(FileError::Read { path: path(), error: std::io::Error::other("broken") }),
        Box::new(FileError::Run(run())),
        Box::new(FileError::Schedule {
            origin: "recipe.toml".into(),
            line: 1,
            column: 1,
            error: schedule(),
        }),
        Box::new("5 weeks".parse::<Span>().unwrap_err()),
    ];
    for error in errors {
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            assert!(!text.contains(&error.to_string()), "{text}: {error}");
            text += &error.to_string();
            cause = error.source();
        }
    }
}

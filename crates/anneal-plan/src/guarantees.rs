//! Guarantees for all public types.

use crate::*;
use std::error::Error;

#[test]
fn everything_may_go_to_another_thread() {
    fn check<T: Send + Sync + 'static>() {}
    check::<(Sweep, RangeTest, RangeTests, Verdict, FirstRate, FoundRate, WarmupAdvice, Warmup)>();
    check::<(Search, Space, Axis, Strategy, Halving, Values, TrialRecord, GaussianProcess, Sobol)>(
    );
    check::<(OutOfRange, SearchError)>();
    check::<(theory::NoisyQuadratic, theory::LogisticRegression, theory::RelaxationSpectrum)>();
}

/// A printer of error chains, such as anyhow's, prints each cause once.
#[test]
fn no_error_says_its_cause_twice() {
    let errors = [
        SearchError::File { path: "trials.json".into(), error: std::io::Error::other("broken") },
        OutOfRange::new("trials", 0, "at least 1").into(),
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

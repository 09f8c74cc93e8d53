//! Guarantees for all public types.

use crate::*;
use std::error::Error;

#[test]
fn everything_may_go_to_another_thread() {
    fn check<T: Send + Sync + 'static>() {}
    check::<(Rule, Scoped<Rule>, Signal, Observation, EpochMetrics, MetricOf, Decision)>();
    check::<(LossScaler, OverflowLimiter, SavedControllers, UpdateLog, SeesawPlan)>();
    check::<(PrivacyAccountant, Explorer, NoiseScaleEstimate, Answer, Needs)>();
    check::<(OutOfRange, SetupError, AnnounceError, RestoreError, Stopped, LogError)>();
    check::<(ScalingError, SeesawError, ServerRateError)>();
}

/// A printer of error chains, such as anyhow's, prints each cause once.
#[test]
fn no_error_says_its_cause_twice() {
    let out_of_range = || OutOfRange::new("factor", 2.0, "below 1");
    let errors: [Box<dyn Error>; 4] = [
        Box::new(LogError::File { path: "a.jsonl".into(), error: std::io::Error::other("broken") }),
        Box::new(SeesawError::from(out_of_range())),
        Box::new(ServerRateError::from(out_of_range())),
        Box::new(SeesawError::from(RunLength::updates(0).resolve().unwrap_err())),
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

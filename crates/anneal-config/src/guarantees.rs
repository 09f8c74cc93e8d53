//! Guarantees for all public types.

use crate::*;
use anneal_control::OutOfRange;
use anneal_schedule::{RunLength, ScheduleError};
use std::error::Error;

#[test]
fn everything_may_go_to_another_thread() {
    fn check<T: Send + Sync + 'static>() {}
    check::<(TrainingConfig, GroupsConfig, Group, Selection, LayerMap, Layers, Parameter)>();
    check::<(ControllerConfig, HalfPrecision, Average, TimedAverage, NotFinite, OnSkip)>();
    check::<(ConfigError, GroupError, AverageError)>();
}

/// A printer of error chains, such as anyhow's, prints each cause once.
#[test]
fn no_error_says_its_cause_twice() {
    let out_of_range = || OutOfRange::new("factor", 2.0, "below 1");
    let no_run = || -> ScheduleError { RunLength::updates(0).resolve().unwrap_err() };
    let average = || AverageError::from(no_run());
    let errors: [Box<dyn Error>; 7] = [
        Box::new(ConfigError::Schedule(no_run())),
        Box::new(ConfigError::from(out_of_range())),
        Box::new(ConfigError::Groups(GroupError::Value(no_run()))),
        Box::new(ConfigError::Average { index: 0, error: average() }),
        Box::new(ConfigError::Controller { controller: "pid".into(), error: out_of_range() }),
        Box::new(AverageError::from(GroupError::NothingTrains)),
        Box::new(GroupError::Schedule { field: "momentum".into(), error: no_run() }),
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

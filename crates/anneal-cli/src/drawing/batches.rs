//! The batches of a run, drawn below its rates.

use super::{Chart, Series, Time};
use anneal_schedule::{Run, RunLength, ScheduleError, ScheduleExt, custom};
use std::sync::Arc;

/// The number of updates at which samples are counted.
const COUNTED: u64 = 2_000;

/// Charts of the samples of each update, and of the samples or tokens before it, if the batches change.
pub fn batches(run: Run, updates: u64) -> Result<Vec<Chart>, ScheduleError> {
    let Some(counted) = Counted::of(run, updates).filter(|_| run.has_ramp()) else {
        return Ok(vec![]);
    };
    let (size, counted) = (counted.clone(), counted);
    let tokens = run.tokens_per_sample();
    let per_sample = tokens.map_or(1.0, |tokens| tokens as f64);
    let seen = if tokens.is_some() { "tokens seen" } else { "samples seen" };
    let lines = [
        ("samples of an update", custom("size", move |update| size.at(update).1)),
        (seen, custom("seen", move |update| counted.at(update).0 * per_sample)),
    ];
    let charts = lines.into_iter().map(|(values, line)| {
        let schedule = line.peak(f64::MAX).resolve(RunLength::updates(updates))?;
        let series = vec![Series { name: String::new(), label: String::new(), schedule }];
        Ok(Chart { series, updates, time: Time::of(updates, None), values, log: false })
    });
    charts.collect()
}

/// The samples before some updates.
#[derive(Clone)]
struct Counted {
    at: Arc<[(u64, u64)]>,
}

impl Counted {
    fn of(run: Run, updates: u64) -> Option<Self> {
        let places = u128::from(updates.min(COUNTED));
        let update = |place| (place * u128::from(updates) / places) as u64;
        let counted = |place| Some((update(place), run.samples_before(update(place))?));
        Some(Self { at: (0..=places).map(counted).collect::<Option<Vec<_>>>()?.into() })
    }

    /// The samples before an update, and those of it, as a mean between two counted ones.
    fn at(&self, update: u64) -> (f64, f64) {
        let next = self.at.partition_point(|(counted, _)| *counted <= update);
        let next = next.clamp(1, self.at.len() - 1);
        let ((first, before), (end, after)) = (self.at[next - 1], self.at[next]);
        let size = (after - before) as f64 / (end - first) as f64;
        (before as f64 + size * (update - first) as f64, size)
    }
}

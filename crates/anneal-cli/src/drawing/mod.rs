//! Draws schedules into one chart, in a terminal or as a picture.

mod axis;
mod batches;
mod columns;
pub mod picture;
pub mod terminal;
mod time;

pub use axis::short;
pub use batches::batches;
pub use time::Time;

use anneal_schedule::Schedule;
use axis::Axis;
use columns::{Column, columns};

/// One schedule of a chart.
#[derive(Debug)]
pub struct Series {
    /// The file or the text, as given by the user.
    pub name: String,
    /// Its label in the legend of a picture.
    pub label: String,
    /// The schedule.
    pub schedule: Schedule,
}

/// Several schedules over the updates of one run.
#[derive(Debug)]
pub struct Chart {
    /// The schedules; at least one.
    pub series: Vec<Series>,
    /// The number of updates drawn, at least one.
    pub updates: u64,
    /// The unit of the time axis.
    pub time: Time,
    /// What the schedules give.
    pub values: &'static str,
    /// Whether the axis of the values is logarithmic.
    pub log: bool,
}

impl Chart {
    /// Each schedule in `count` columns, and the axis of the rates.
    fn columns(&self, count: usize) -> (Vec<Vec<Column>>, Axis) {
        let all: Vec<Vec<Column>> = self
            .series
            .iter()
            .map(|series| columns(|step| series.schedule.rate(step), self.updates, count))
            .collect();
        let rates = all.iter().flatten().flat_map(|column| [column.low.1, column.high.1]);
        let axis = Axis::of(rates, self.log);
        (all, axis)
    }
}

/// A note about rates that do not fit on a logarithmic axis.
const BELOW: &str = "rates of 0 or below the axis are drawn at its lower edge";

//! Draws range tests.

use super::{RangeTest, RangeTests, Rule};
use crate::number::short;
use crate::picture::{Axis, COLORS, Line, Mark, Picture};

impl RangeTests {
    /// The smoothed losses of every seed against the rate, and the medians of the rules, for a terminal of
    /// this width.
    pub fn terminal(&self, columns: usize) -> String {
        self.picture().terminal(columns)
    }

    /// The same picture as SVG.
    pub fn svg(&self) -> String {
        self.picture().svg()
    }

    fn picture(&self) -> Picture {
        // A diverged loss would leave no room for the fall.
        let falls = || self.tests.iter().filter_map(RangeTest::fall);
        let top = falls().map(|fall| fall.before).fold(f64::NEG_INFINITY, f64::max);
        let bottom = falls().map(|fall| fall.after).fold(f64::INFINITY, f64::min);
        let ceiling = if top > bottom { top + 0.5 * (top - bottom) } else { f64::INFINITY };
        let points = |test: &RangeTest| {
            let smoothed = test.smoothed().into_iter().filter(|point| point.loss <= ceiling);
            smoothed.map(|point| (point.rate, point.loss)).collect()
        };
        let line = |(i, test): (usize, &RangeTest)| Line {
            name: format!("seed {}: {}", i + 1, test.ended()),
            points: points(test),
            color: COLORS[i % COLORS.len()],
            dashed: false,
        };
        let mark = |rule: Rule| {
            let at = self.suggestion_by(rule)?;
            Some(Mark { at, label: format!("{rule} {}", short(at)) })
        };
        let logarithmic = self.tests.iter().any(|test| test.sweep().is_exponential());
        Picture {
            title: format!("Range test: {}", self.verdict()),
            x: Axis { title: "learning rate".into(), logarithmic },
            y: Axis { title: "smoothed loss".into(), logarithmic: false },
            lines: self.tests.iter().enumerate().map(line).collect(),
            band: None,
            dots: vec![],
            marks: Rule::ALL.into_iter().filter_map(mark).collect(),
        }
    }
}

//! Draws the model of the values.

use super::gaussian_process::Prediction;
use super::space::{Axis, Scale, Short};
use super::surrogate::{Outcome, Surrogate};
use crate::picture::{self, Band, COLORS, Dots, Line, MarkerShape, Picture};

const POINTS: u32 = 200;

impl Surrogate {
    /// The expected value along each axis as pictures one below the other, in SVG: the mean, a band of two
    /// standard deviations on both sides, and the trials. The other axes are at the [best](Self::best)
    /// values, unlike those of most trials. Values far worse than the median are drawn as clipped, and trials
    /// without a final value at their estimate.
    pub fn svg(&self) -> String {
        picture::stacked(self.pictures())
    }

    /// The same [pictures](Self::svg) in lines of at most this many characters, at least 40.
    pub fn terminal(&self, columns: usize) -> String {
        let pictures: Vec<String> =
            self.pictures().map(|picture| picture.terminal(columns)).collect();
        pictures.join("\n")
    }

    fn pictures(&self) -> impl Iterator<Item = Picture> {
        (0..self.space().axes().len()).map(|axis| self.picture(axis))
    }

    fn picture(&self, i: usize) -> Picture {
        let (axes, axis) = (self.space().axes(), &self.space().axes()[i]);
        let (mut mean, mut band) = (vec![], vec![]);
        let mut place = self.best_place().to_vec();
        for step in 0..=POINTS {
            place[i] = f64::from(step) / f64::from(POINTS);
            let (x, at) = (axis.value(place[i]), self.at(&place));
            let Prediction { mean: middle, std } = at;
            mean.push((x, middle));
            band.push((x, middle - 2.0 * std, middle + 2.0 * std));
        }
        let kinds = [
            (Outcome::Finished, "finished", COLORS[0], MarkerShape::Circle, 'o'),
            (Outcome::Stopped, "stopped, value expected", COLORS[1], MarkerShape::Triangle, '^'),
            (Outcome::Failed, "failed, value expected", COLORS[3], MarkerShape::Cross, 'x'),
        ];
        let dots = kinds.into_iter().map(|(kind, name, color, shape, sign)| {
            let trials = self.trials().filter(|(_, _, outcome)| *outcome == kind);
            let points = trials.map(|(place, value, _)| (axis.value(place[i]), value)).collect();
            Dots { name: name.into(), points, color, shape, sign }
        });
        let best = self.best();
        let others = axes.iter().filter(|other| other.name != axis.name);
        let others: Vec<String> = others
            .map(|Axis { name, .. }| format!("{name} {}", Short(best[name.as_str()])))
            .collect();
        let at =
            if others.is_empty() { String::new() } else { format!(" at {}", others.join(", ")) };
        Picture {
            title: format!("Value by {}{at}", axis.name),
            x: picture::Axis { title: axis.name.clone(), logarithmic: axis.scale == Scale::Log },
            y: picture::Axis { title: "value".into(), logarithmic: false },
            lines: vec![Line {
                name: "mean".into(),
                points: mean,
                color: COLORS[0],
                dashed: false,
            }],
            band: Some(Band { name: "two standard deviations".into(), points: band }),
            marks: vec![],
            dots: dots.filter(|dots| !dots.points.is_empty()).collect(),
        }
    }
}

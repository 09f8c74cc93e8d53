//! Draws curves as SVG, or in braille dots for a terminal.

use crate::number::short;
use kuva::backend::svg::SvgBackend;
use kuva::backend::terminal::TerminalBackend;
pub(crate) use kuva::plot::scatter::MarkerShape;
use kuva::plot::{BandPlot, ScatterPlot};
use kuva::prelude::{Layout, LinePlot, Plot, TextAnnotation, Theme, TickFormat};
use kuva::render::annotations::ReferenceLine;
use kuva::render::render::{Scene, render_multiple};
use std::sync::Arc;

/// Colors that are distinguishable with any kind of color vision (Okabe and Ito, 2008).
pub(crate) const COLORS: [&str; 7] =
    ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"];

/// Width and height of a picture in a file, the approximate width between its axes, and the size of a
/// terminal character.
const SVG: (f64, f64) = (760.0, 440.0);
const AXES: f64 = 620.0;
const CHARACTER: (f64, f64) = (8.0, 16.0);
const ROWS: usize = 22;
/// The minimum width: fewer columns leave no room between the axes.
const FEWEST_COLUMNS: usize = 40;

/// Lower and upper end of the horizontal and of the vertical axis.
type Ends = ((f64, f64), (f64, f64));

/// Values of larger magnitude are not drawn: their differences would overflow.
const LARGEST: f64 = 1e150;

/// A picture of lines over one horizontal axis. Points that are not finite, or not above 0 on a logarithmic
/// axis, are omitted; the line continues to the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    pub band: Option<Band>,
    pub marks: Vec<Mark>,
    pub dots: Vec<Dots>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Axis {
    pub title: String,
    pub logarithmic: bool,
}

/// A line with a name for the legend.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    pub color: &'static str,
    pub dashed: bool,
}

/// A shaded area: horizontal value, lower edge, upper edge, from left to right.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    pub name: String,
    pub points: Vec<(f64, f64, f64)>,
}

/// A vertical line at a horizontal value.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub at: f64,
    pub label: String,
}

/// Single points drawn with the same sign in a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Dots {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub color: &'static str,
    pub shape: MarkerShape,
    pub sign: char,
}

impl Axis {
    /// The position of a value along the axis, if it can be drawn.
    fn place(&self, value: f64) -> Option<f64> {
        match self.logarithmic {
            true => (value > 0.0 && value.is_finite()).then(|| value.log10()),
            false => (value.abs() <= LARGEST).then_some(value),
        }
    }

    /// Axis ends slightly beyond these positions.
    fn ends(&self, places: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return (0.0, 1.0);
        }
        // A single value needs enough room on both sides to be visible in its digits.
        let room = if high - low > 1e-9 * high.abs().max(low.abs()) {
            0.04 * (high - low)
        } else {
            (0.1 * high.abs()).max(0.5 * f64::from(u8::from(self.logarithmic)))
        };
        let room = if room > 0.0 { room } else { 1.0 };
        (low - room, high + room)
    }

    /// The tick distance: whole decades on a logarithmic axis with at least one, otherwise 1, 2 or 5 times a
    /// power of 10.
    fn step(&self, (low, high): (f64, f64)) -> f64 {
        const TICKS: f64 = 6.0;
        let least = (high - low) / TICKS;
        let power = 10f64.powf(least.log10().floor());
        let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= least).unwrap_or(10.0);
        match self.logarithmic {
            true if high - low >= 2.0 => least.ceil().max(1.0),
            _ => factor * power,
        }
    }

    fn format(&self, step: f64) -> TickFormat {
        match self.logarithmic {
            true => TickFormat::Custom(Arc::new(|place| short(10f64.powf(place)))),
            // As many digits as needed to tell ticks apart.
            false => TickFormat::Custom(Arc::new(move |place| {
                let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
                match (1e-6..1e4).contains(&step) {
                    true => format!("{:.digits$}", place + 0.0),
                    false => short((place / step).round() * step + 0.0),
                }
            })),
        }
    }
}

impl Picture {
    /// Renders it for a file.
    pub(crate) fn svg(&self) -> String {
        SvgBackend::default().render_scene(&self.drawn(SVG, false))
    }

    /// Renders it for a terminal: lines of at most `columns` characters (at least 40), without colors.
    /// Letters tell lines apart.
    pub(crate) fn terminal(&self, columns: usize) -> String {
        let columns = columns.max(FEWEST_COLUMNS);
        let size = (columns as f64 * CHARACTER.0, ROWS as f64 * CHARACTER.1);
        let chart = TerminalBackend::new(columns, ROWS).render_scene(&self.drawn(size, true));
        let mut lines: Vec<String> = vec![self.title.clone(), self.y.title.clone()];
        lines.extend(plain(&chart).lines().map(str::to_owned));
        if self.lines.len() > 1 {
            lines.extend(
                self.lines.iter().enumerate().map(|(i, l)| format!("{}  {}", letter(i), l.name)),
            );
        }
        let drawn = |(_, mark): &(usize, &Mark)| self.x.place(mark.at).is_some();
        lines.extend(self.dots.iter().map(|dots| format!("{}  {}", dots.sign, dots.name)));
        let marks = self.marks.iter().enumerate().filter(drawn);
        lines.extend(marks.map(|(i, mark)| format!("{}  {}", i + 1, mark.label)));
        let lines = lines.iter().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| line.chars().take(columns).collect::<String>().trim_end().to_owned() + "\n")
            .collect()
    }

    fn drawn(&self, size: (f64, f64), terminal: bool) -> Scene {
        let lines: Vec<Vec<(f64, f64)>> =
            self.lines.iter().map(|line| self.placed(&line.points)).collect();
        let dots: Vec<Vec<(f64, f64)>> =
            self.dots.iter().map(|dots| self.placed(&dots.points)).collect();
        let band: Vec<(f64, f64, f64)> =
            self.band.iter().flat_map(|band| self.placed_band(band)).collect();
        let marks = self.marks.iter().filter_map(|mark| self.x.place(mark.at));
        let points = || lines.iter().chain(&dots).flatten();
        let x = points().map(|p| p.0).chain(marks).chain(band.iter().map(|b| b.0));
        let y = points().map(|p| p.1).chain(band.iter().flat_map(|b| [b.1, b.2]));
        let ends = (self.x.ends(x), self.y.ends(y));

        let mut plots = self.band_plots(&band, terminal);
        let alone = self.lines.len() + self.dots.len() <= 1 && self.band.is_none();
        let named = !alone && !terminal;
        for (line, points) in self.lines.iter().zip(&lines) {
            let plot = LinePlot::new().with_data(points.clone()).with_color(line.color);
            let plot = if line.dashed { plot.with_dashed() } else { plot };
            plots.push(Plot::Line(if named { plot.with_legend(&line.name) } else { plot }));
        }
        for (kind, points) in self.dots.iter().zip(&dots).filter(|_| !terminal) {
            let plot = ScatterPlot::new().with_data(points.clone()).with_color(kind.color);
            let plot = plot.with_marker(kind.shape).with_size(4.5);
            plots.push(Plot::Scatter(if named { plot.with_legend(&kind.name) } else { plot }));
        }
        if plots.is_empty() {
            plots.push(Plot::Line(LinePlot::new()));
        }
        let mut layout = self.layout(&plots, ends, size, terminal);
        if terminal && lines.len() > 1 {
            for (i, points) in lines.iter().enumerate().filter(|(_, points)| !points.is_empty()) {
                // Each at its own place along its line.
                let at = points[(points.len() - 1) * (i + 1) / (lines.len() + 1)];
                layout = layout.with_annotation(TextAnnotation::new(letter(i), at.0, at.1));
            }
        }
        for (kind, points) in self.dots.iter().zip(&dots).filter(|_| terminal) {
            for (x, y) in points {
                layout = layout.with_annotation(TextAnnotation::new(kind.sign, *x, *y));
            }
        }
        render_multiple(plots, self.marked(layout, ends, terminal))
    }

    fn band_plots(&self, points: &[(f64, f64, f64)], terminal: bool) -> Vec<Plot> {
        let (Some(band), false) = (&self.band, points.is_empty()) else { return vec![] };
        let edge = |of: fn(&(f64, f64, f64)) -> f64| points.iter().map(of).collect::<Vec<f64>>();
        let (x, low, high) = (edge(|b| b.0), edge(|b| b.1), edge(|b| b.2));
        if terminal {
            let edge = |y| Plot::Line(LinePlot::new().with_data(x.iter().copied().zip(y)));
            return vec![edge(low), edge(high)];
        }
        let area = BandPlot::new(x, low, high).with_color(COLORS[0]).with_opacity(0.15);
        // A band has no separate entry in a legend.
        let entry = LinePlot::new().with_color("#d9eaf4").with_stroke_width(8.0);
        vec![Plot::Band(area), Plot::Line(entry.with_legend(&band.name))]
    }

    fn marked(&self, mut layout: Layout, (x, y): Ends, terminal: bool) -> Layout {
        for (i, mark) in self.marks.iter().enumerate() {
            let Some(at) = self.x.place(mark.at) else { continue };
            // One below the other, because agreeing rates are side by side.
            let height = y.1 - (0.05 + 0.06 * (i % 12) as f64) * (y.1 - y.0);
            let (label, beside) = match terminal {
                true => ((i + 1).to_string(), 0.0),
                false => (mark.label.clone(), beside(&mark.label, at, x)),
            };
            let label = TextAnnotation::new(label, at + beside, height).with_color("#444444");
            let line = ReferenceLine::vertical(at).with_color("#666666");
            layout = layout.with_reference_line(line).with_annotation(label);
        }
        layout
    }

    fn placed(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let place = |&(x, y): &(f64, f64)| Some((self.x.place(x)?, self.y.place(y)?));
        points.iter().filter_map(place).collect()
    }

    fn placed_band(&self, band: &Band) -> Vec<(f64, f64, f64)> {
        let place = |&(x, low, high): &(f64, f64, f64)| {
            Some((self.x.place(x)?, self.y.place(low)?, self.y.place(high)?))
        };
        band.points.iter().filter_map(place).collect()
    }

    fn layout(&self, plots: &[Plot], (x, y): Ends, size: (f64, f64), terminal: bool) -> Layout {
        let (x_step, y_step) = (self.x.step(x), self.y.step(y));
        let theme = Theme {
            grid_color: "#e4e4e4".into(),
            legend_border: "none".into(),
            axis_color: "#444444".into(),
            tick_color: "#444444".into(),
            ..Theme::light()
        };
        let layout = Layout::auto_from_plots(plots)
            .with_x_axis_min(x.0)
            .with_x_axis_max(x.1)
            .with_y_axis_min(y.0)
            .with_y_axis_max(y.1)
            .with_x_tick_step(x_step)
            .with_y_tick_step(y_step)
            .with_x_tick_format(self.x.format(x_step))
            .with_y_tick_format(self.y.format(y_step))
            .with_x_label(&self.x.title)
            .with_width(size.0)
            .with_height(size.1)
            .with_theme(theme);
        match terminal {
            true => layout.with_show_grid(false).with_tick_size(12),
            false => layout.with_title(&self.title).with_title_wrap(64).with_y_label(&self.y.title),
        }
    }
}

/// The pictures one below the other, as one SVG.
pub(crate) fn stacked(pictures: impl Iterator<Item = Picture>) -> String {
    let (width, height) = SVG;
    let placed: Vec<String> = pictures
        .enumerate()
        .map(|(i, picture)| {
            // A name applies to a whole file.
            let svg = picture.svg().replace("kuva-clip-", &format!("picture-{i}-clip-"));
            format!("<g transform=\"translate(0 {})\">{svg}</g>", i as f64 * height)
        })
        .collect();
    let size = format!("width=\"{width}\" height=\"{}\"", placed.len() as f64 * height);
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\" {size}>{}</svg>", placed.concat())
}

/// The offset of the middle of a label from its line at `at`, so that it is next to it.
fn beside(label: &str, at: f64, (low, high): (f64, f64)) -> f64 {
    let half = (3.5 * label.chars().count() as f64 + 5.0) * (high - low) / AXES;
    if at + 2.0 * half < high { half } else { -half }
}

/// The letter of a line in a terminal.
fn letter(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

/// Removes color sequences.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(points: Vec<(f64, f64)>, logarithmic: bool) -> Picture {
        let axis = |title: &str| Axis { title: title.into(), logarithmic };
        let line = |name: &str, shift: f64| Line {
            name: name.into(),
            points: points.iter().map(|&(x, y)| (x, y + shift)).collect(),
            color: COLORS[0],
            dashed: shift > 0.0,
        };
        Picture {
            title: "range test".into(),
            x: axis("learning rate"),
            y: axis("loss"),
            lines: vec![line("seed 1", 0.0), line("seed 2", 0.5)],
            band: Some(Band {
                name: "interval".into(),
                points: points.iter().map(|&(x, y)| (x, y - 0.1, y + 0.1)).collect(),
            }),
            marks: vec![
                Mark { at: 1e-3, label: "valley".into() },
                Mark { at: f64::NAN, label: "steep".into() },
            ],
            dots: vec![Dots {
                name: "failed".into(),
                points,
                color: COLORS[3],
                shape: MarkerShape::Cross,
                sign: 'x',
            }],
        }
    }

    fn curve() -> Vec<(f64, f64)> {
        (0..100).map(|i| 1e-7 * 1.2f64.powi(i)).map(|x| (x, 3.0 - 2.0 * x / (x + 1e-3))).collect()
    }

    #[test]
    fn both_pictures_carry_their_words() {
        let picture = picture(curve(), true);
        let svg = picture.svg();
        for word in [
            "<svg",
            "range test",
            "learning rate",
            "loss",
            "seed 1",
            "valley",
            "interval",
            "failed",
        ] {
            assert!(svg.contains(word), "{word} is not in the picture");
        }
        let text = picture.terminal(70);
        for word in [
            "range test",
            "learning rate",
            "loss",
            "a  seed 1",
            "b  seed 2",
            "1  valley",
            "x  failed",
        ] {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(!text.contains("steep") && !svg.contains("steep"));
    }

    #[test]
    fn a_terminal_picture_keeps_to_its_width() {
        for columns in [0, 1, 40, 80, 200] {
            let long = Picture { title: "range ".repeat(60), ..picture(curve(), true) };
            let text = long.terminal(columns);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns.max(40), "{columns}: {widest}\n{text}");
        }
    }

    /// A falling line starts at the upper left of the axes and ends at the lower right.
    #[test]
    fn a_falling_line_falls() {
        let mut falling =
            picture((0..50).map(|i| (f64::from(i), 50.0 - f64::from(i))).collect(), false);
        (falling.band, falling.marks, falling.dots) = (None, vec![], vec![]);
        falling.lines.truncate(1);
        let text = falling.terminal(60);
        let dots = |line: &str| line.chars().position(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
        let columns: Vec<usize> = text.lines().filter_map(dots).collect();
        assert!(columns.len() > 10 && columns.is_sorted(), "{columns:?}\n{text}");
    }

    #[test]
    fn any_points_are_drawn_without_panic() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let one = [1.0, 0.0, -1.0, 1e-300, 1e300, f64::MAX, f64::MIN_POSITIVE, nan, inf, -inf];
        let mut curves: Vec<Vec<(f64, f64)>> = vec![vec![]];
        for x in one {
            curves.extend(one.map(|y| vec![(x, y)]));
            curves.extend(one.map(|y| vec![(1.0, 2.0), (x, y), (3.0, 1.0)]));
        }
        curves.push(vec![(1.0, 1.0), (1.0 + 1e-15, 1.0 + 1e-15)]);
        for points in curves {
            for logarithmic in [false, true] {
                let picture = picture(points.clone(), logarithmic);
                let svg = picture.svg();
                assert!(svg.contains("</svg>") && !svg.contains("NaN"), "{points:?}");
                assert!(!svg.contains("inf\"") && !svg.contains("inf "), "{points:?}");
                assert!(!picture.terminal(50).is_empty(), "{points:?}");
            }
        }
        assert!(Picture::default().svg().contains("</svg>"));
        assert!(!Picture::default().terminal(80).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.1 + 0.2, 1e-7, 123_456.0, -0.5, 10f64.powf(-2.5)];
        assert_eq!(numbers.map(short), ["0", "0.3", "1e-7", "1.23e5", "-0.5", "0.00316"]);
    }
}

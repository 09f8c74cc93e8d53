//! Pictures, as SVG.

use std::sync::Arc;

use kuva::prelude::{
    BarPlot, Figure, FigureLegendPosition, Layout, LinePlot, Plot, SvgBackend, Theme, TickFormat,
};

/// The most points of a line; more are not visible.
const POINTS: u64 = 1_000;

/// Colors that people with any kind of color vision can distinguish (Okabe and Ito, 2008).
const COLORS: [&str; 8] =
    ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442"];

/// One line of a [`comparison`].
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// One of the [`bars`] of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Its label.
    pub name: String,
    /// Its height: a share of 1.
    pub height: f64,
    /// How far its whiskers go up and down, if it has any.
    pub deviation: Option<f64>,
}

/// The number format of the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Learning rates, or other numbers from 0: all decimal, or all scientific if they are very small.
    Rate,
    /// Numbers of either sign, below 1,000 or so.
    Signed,
    /// Shares of 1 as percentages.
    Percent,
    /// Numbers above 0 with a large range, on a logarithmic axis.
    Logarithmic,
}

impl Scale {
    /// The number format for an axis up to `largest`.
    fn format(self, largest: f64) -> TickFormat {
        let write: fn(f64) -> String = match self {
            Self::Signed => |value| format!("{}", rounded(value)),
            Self::Rate if largest >= 1e-3 => |rate| format!("{}", rounded(rate)),
            Self::Rate => |rate| format!("{rate:e}"),
            Self::Percent => |share| format!("{} %", rounded(100.0 * share)),
            Self::Logarithmic => |value| format!("{value}"),
        };
        TickFormat::Custom(Arc::new(write))
    }
}

/// Rounds away binary noise, which would show as 0.30000000000000004.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// Titles of a picture and its axes.
#[derive(Debug, Clone, Copy)]
pub struct Titles<'a> {
    /// Above the picture.
    pub title: &'a str,
    /// In smaller letters below the title; may be empty.
    pub subtitle: &'a str,
    /// Below the horizontal axis.
    pub x: &'a str,
    /// Left of the vertical axis.
    pub y: &'a str,
}

/// The rates of a schedule over the updates of a run: all points, or evenly spaced ones.
pub fn rate_points(rate: impl Fn(u64) -> f64, updates: u64) -> Vec<(f64, f64)> {
    let last = updates.saturating_sub(1);
    let count = updates.clamp(1, POINTS);
    (0..count)
        .map(|index| u128::from(index) * u128::from(last) / u128::from((count - 1).max(1)))
        .map(|step| (step as f64, rate(step as u64)))
        .collect()
}

/// Evenly spaced points, including the first and the last.
pub fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let index = |place: (f64, f64)| points[place.0 as usize];
    rate_points(|step| step as f64, points.len() as u64)
        .into_iter()
        .take(points.len())
        .map(index)
        .collect()
}

/// A picture of one schedule: the rate of each update.
pub fn schedule(title: &str, subtitle: &str, points: Vec<(f64, f64)>) -> String {
    let corner = corner(&points);
    let line = LinePlot::new()
        .with_data(points)
        .with_color(COLORS[0])
        .with_stroke_width(2.5)
        .with_fill()
        .with_fill_opacity(0.12);
    let titles = Titles { title, subtitle, x: "update", y: "learning rate" };
    draw(vec![Plot::Line(line)], titles, Scale::Rate, corner)
}

/// A picture of several lines, with a legend.
pub fn comparison(titles: Titles<'_>, scale: Scale, series: &[Series]) -> String {
    let corner = corner(series.iter().flat_map(|series| &series.points));
    draw(lines(series), titles, scale, corner)
}

fn lines(series: &[Series]) -> Vec<Plot> {
    series
        .iter()
        .zip(COLORS.iter().cycle())
        .map(|(series, color)| {
            let line = LinePlot::new()
                .with_data(series.points.clone())
                .with_color(*color)
                .with_stroke_width(2.0)
                .with_legend(&series.name);
            Plot::Line(line)
        })
        .collect()
}

/// One part of a picture of several [`panels`].
#[derive(Debug, Clone)]
pub struct Panel<'a> {
    /// Titles of its axes; its own title and subtitle are not shown.
    pub titles: Titles<'a>,
    /// The number format of its vertical axis.
    pub scale: Scale,
    /// Its lines.
    pub series: Vec<Series>,
}

/// A picture of several quantities below each other, with one legend: the first line of each has the first
/// color.
pub fn panels(title: &str, panels: &[Panel<'_>]) -> String {
    let (plots, layouts) = panels
        .iter()
        .map(|panel| {
            let lines = lines(&panel.series);
            let corner = corner(panel.series.iter().flat_map(|series| &series.points));
            let layout = axes(&lines, Titles { title: "", ..panel.titles }, panel.scale, corner);
            (lines, layout)
        })
        .unzip();
    let figure = Figure::new(panels.len(), 1)
        .with_title(title)
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(760.0, 260.0)
        .with_shared_legend_position(FigureLegendPosition::RightTop);
    SvgBackend::default().render_scene(&figure.render())
}

/// A picture of shares, side by side.
pub fn bars(titles: Titles<'_>, bars: &[Bar]) -> String {
    let plot = bars.iter().zip(COLORS.iter().cycle()).fold(BarPlot::new(), |plot, (bar, color)| {
        plot.with_colored_bar(&bar.name, bar.height, *color)
    });
    let deviations: Vec<f64> = bars.iter().filter_map(|bar| bar.deviation).collect();
    // Either all bars have whiskers, or none.
    let plot = if deviations.len() == bars.len() { plot.with_error(deviations) } else { plot };
    let plots = vec![Plot::Bar(plot)];
    let layout = layout(&plots, titles)
        .with_y_axis_min(0.0)
        .with_y_axis_max(1.0)
        .with_y_tick_format(Scale::Percent.format(1.0));
    kuva::render_to_svg(plots, layout)
}

/// The largest horizontal and vertical values.
fn corner<'a>(points: impl IntoIterator<Item = &'a (f64, f64)>) -> (f64, f64) {
    points.into_iter().fold((0.0, 0.0), |(right, top), &(x, y)| (x.max(right), y.max(top)))
}

fn draw(lines: Vec<Plot>, titles: Titles<'_>, scale: Scale, corner: (f64, f64)) -> String {
    let layout = axes(&lines, titles, scale, corner);
    kuva::render_to_svg(lines, layout)
}

fn axes(lines: &[Plot], titles: Titles<'_>, scale: Scale, corner: (f64, f64)) -> Layout {
    let layout = layout(lines, titles)
        .with_x_axis_max(corner.0.max(1.0))
        .with_y_tick_format(scale.format(corner.1));
    match scale {
        // Without this, half of a rate may look like zero.
        Scale::Rate => layout.with_y_axis_min(0.0),
        Scale::Signed | Scale::Percent => layout,
        Scale::Logarithmic => layout.with_log_y(),
    }
}

fn layout(plots: &[Plot], titles: Titles<'_>) -> Layout {
    let theme = Theme {
        grid_color: "#e4e4e4".into(),
        legend_border: "none".into(),
        axis_color: "#444444".into(),
        tick_color: "#444444".into(),
        ..Theme::light()
    };
    let layout = Layout::auto_from_plots(plots)
        .with_title(titles.title)
        .with_x_label(titles.x)
        .with_y_label(titles.y)
        .with_width(760.0)
        .with_height(420.0)
        .with_theme(theme);
    match titles.subtitle {
        "" => layout,
        subtitle => layout.with_subtitle(subtitle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_is_drawn_update_by_update() {
        let points = rate_points(|step| step as f64 / 10.0, 4);

        assert_eq!(points, [(0.0, 0.0), (1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]);
        assert_eq!(rate_points(|_| 0.5, 1), [(0.0, 0.5)]);
    }

    #[test]
    fn a_long_run_keeps_its_first_and_last_update() {
        let points = rate_points(|step| step as f64, u64::MAX);

        assert_eq!(points.len(), POINTS as usize);
        assert_eq!(points[0].0, 0.0);
        assert_eq!(points[points.len() - 1].0, (u64::MAX - 1) as f64);
    }

    #[test]
    fn pictures_carry_their_words() {
        let svg = schedule("one cycle", "640 updates", vec![(0.0, 0.1), (1.0, 0.2)]);
        for word in ["<svg", "one cycle", "640 updates", "learning rate"] {
            assert!(svg.contains(word), "{word} is not in the picture");
        }

        let series = [("constant", 0.25), ("cosine", 0.5)].map(|(name, height)| Series {
            name: name.to_owned(),
            points: vec![(1.0, height), (2.0, 2.0 * height)],
        });
        let height = Bar { name: "probe".to_owned(), height: 0.8, deviation: Some(0.01) };
        let titles = Titles { title: "methods", subtitle: "", x: "", y: "test accuracy" };
        let svg = bars(titles, &[height]);
        for word in ["methods", "probe", "80 %", "100 %"] {
            assert!(svg.contains(word), "{word} is not in the picture");
        }

        let titles = Titles { title: "accuracies", subtitle: "", x: "epoch", y: "test accuracy" };
        let svg = comparison(titles, Scale::Percent, &series);
        for word in ["constant", "cosine", " %", "epoch"] {
            assert!(svg.contains(word), "{word} is not in the picture");
        }
    }
}

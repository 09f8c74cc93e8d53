//! Draws a chart as a picture: SVG or PNG.

use super::{Axis, BELOW, Chart, Column, Series};
use kuva::backend::raster::RasterBackend;
use kuva::backend::svg::SvgBackend;
use kuva::plot::LineStyle;
use kuva::plot::legend::{LegendEntry, LegendShape};
use kuva::prelude::{Figure, Layout, LegendPosition, LinePlot, Plot, Theme, TickFormat};
use kuva::render::render::{Scene, render_multiple};
use std::sync::Arc;

/// Up to this many updates, each one is drawn as a step.
const EACH: u64 = 1_000;

/// Dots per unit of a PNG: 600 dpi if the picture is as wide as a column of a paper.
const PNG_SCALE: f32 = 3.0;

/// The default size of a picture.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;

/// The maximum length of a label in the legend.
const LABEL: usize = 60;

/// Colors that are distinguishable with any kind of color vision (Okabe and Ito, 2008).
const COLORS: [&str; 7] =
    ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"];

/// The appearance of a picture.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Width and height; by default it fits a page, and is taller with a long legend.
    pub size: Option<(u32, u32)>,
    /// The title above the picture.
    pub title: Option<String>,
}

/// The picture as SVG.
pub fn svg(charts: &[Chart], look: &Look) -> String {
    SvgBackend.render_scene(&scene(charts, look))
}

/// The picture as PNG.
pub fn png(charts: &[Chart], look: &Look) -> Result<Vec<u8>, String> {
    RasterBackend::new().with_scale(PNG_SCALE).render_scene(&scene(charts, look))
}

/// The charts one below the other.
fn scene(charts: &[Chart], look: &Look) -> Scene {
    if let [chart] = charts {
        let (lines, layout) = drawing(chart, look);
        return render_multiple(lines, layout);
    }
    let (width, height) = look
        .size
        .map_or((WIDTH, HEIGHT * 1.6), |(width, height)| (f64::from(width), f64::from(height)));
    let look = Look { title: None, ..look.clone() };
    let (lines, layouts) = charts.iter().map(|chart| drawing(chart, &look)).unzip();
    let figure = Figure::new(charts.len(), 1).with_plots(lines).with_layouts(layouts);
    figure.with_figure_size(width, height).render()
}

fn drawing(chart: &Chart, look: &Look) -> (Vec<Plot>, Layout) {
    let (series, axis) = chart.columns(EACH.min(chart.updates) as usize);
    let drawn = series.iter().enumerate().map(|(index, columns)| {
        let (color, style) = color_and_style(index);
        line(columns, chart, &axis).with_color(color).with_line_style(style)
    });
    let lines: Vec<Plot> = drawn.map(Plot::Line).collect();
    let mut layout = layout(&lines, chart, &axis);
    if series.len() > 1 {
        let entries = chart.series.iter().enumerate().map(|(index, series)| entry(index, series));
        layout = layout
            .with_legend_entries(entries.collect())
            .with_legend_position(LegendPosition::OutsideBottomColumns)
            // The box would cover the edge of the axis label.
            .with_legend_box(false);
    }
    if let Some(title) = &look.title {
        layout = layout.with_title(legend(title));
    }
    let layout = match look.size {
        Some((width, height)) => {
            let (width, height) = (f64::from(width), f64::from(height));
            let scale = (width / WIDTH).min(height / HEIGHT).clamp(0.6, 1.0);
            layout.with_width(width).with_height(height).with_scale(scale)
        }
        // Without a given size, the legend makes the picture as tall as needed.
        None if series.len() > 1 => layout.with_width(WIDTH),
        None => layout.with_width(WIDTH).with_height(HEIGHT),
    };
    (lines, layout)
}

/// The color and the dash style of a line: lines of one color differ in their dashes.
fn color_and_style(index: usize) -> (&'static str, LineStyle) {
    let styles = [LineStyle::Solid, LineStyle::Dashed, LineStyle::Dotted, LineStyle::DashDot];
    let style = styles[index / COLORS.len() % styles.len()].clone();
    (COLORS[index % COLORS.len()], style)
}

fn entry(index: usize, series: &Series) -> LegendEntry {
    let (color, style) = color_and_style(index);
    LegendEntry {
        label: legend(&series.label),
        color: color.into(),
        shape: LegendShape::Line,
        dasharray: style.dasharray(),
    }
}

/// Each rate lasts until the next update; a long run is reduced to the ends and extremes of each column,
/// which is narrower than the line.
fn line(columns: &[Column], chart: &Chart, axis: &Axis) -> LinePlot {
    let at = |(step, rate): (u64, f64)| (chart.time.at(step), axis.coordinate(rate));
    let end = columns.last().map(|column| (chart.updates, column.last.1));
    let line = LinePlot::new().with_stroke_width(2.0);
    if chart.updates <= EACH {
        line.with_data(columns.iter().map(|column| column.first).chain(end).map(at)).with_step()
    } else {
        let mut points: Vec<_> = columns.iter().flat_map(Column::points).chain(end).collect();
        points.dedup();
        line.with_data(points.into_iter().map(at))
    }
}

fn layout(lines: &[Plot], chart: &Chart, axis: &Axis) -> Layout {
    let theme = Theme {
        grid_color: "#e4e4e4".into(),
        legend_border: "none".into(),
        axis_color: "#444444".into(),
        tick_color: "#444444".into(),
        ..Theme::light()
    };
    let (time, rates) = (chart.time, *axis);
    let label = if axis.cut { format!("{} ({BELOW})", time.name) } else { time.name.into() };
    Layout::auto_from_plots(lines)
        .with_x_label(label)
        .with_y_label(chart.values)
        .with_x_axis_min(0.0)
        .with_x_axis_max(time.end())
        .with_x_tick_step(time.tick_step(6.0))
        .with_x_tick_format(TickFormat::Custom(Arc::new(move |tick| time.label(tick))))
        .with_y_axis_min(axis.low)
        // A line along the upper edge would be cut in half.
        .with_y_axis_max(axis.high + 0.02 * (axis.high - axis.low))
        .with_y_tick_step(1.0)
        .with_y_tick_format(TickFormat::Custom(Arc::new(move |tick| rates.label(tick))))
        .with_theme(theme)
}

/// A label that fits into a legend; a `$` would start a formula.
fn legend(label: &str) -> String {
    let mut shown: String = label.chars().take(LABEL).collect();
    if shown.len() < label.len() {
        shown.push('…');
    }
    shown.replace('$', "\\$")
}

#[cfg(test)]
mod tests {
    use super::super::Time;
    use super::*;
    use anneal_schedule::prelude::*;

    #[test]
    fn a_step_lasts_until_the_next_update() {
        let schedule = linear(0.1, 0.3).resolve(RunLength::updates(2)).unwrap();
        let series = vec![Series { name: "".into(), label: "".into(), schedule }];
        let chart = Chart { series, updates: 2, time: Time::of(2, None), values: "", log: false };
        let (columns, axis) = chart.columns(2);
        let line = line(&columns[0], &chart, &axis);
        let points: Vec<(f64, f64)> = line.data.iter().map(Into::into).collect();
        // The axis has ticks at multiples of 0.05.
        assert_eq!(points, [(0.0, 2.0), (1.0, 4.0), (2.0, 4.0)]);
        assert!(line.step);
    }

    #[test]
    fn labels_are_no_formulas() {
        assert_eq!(legend("$a$"), "\\$a\\$");
        assert_eq!(legend(&"x".repeat(100)).chars().count(), LABEL + 1);
    }
}

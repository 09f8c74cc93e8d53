//! A chart as a picture: SVG or PNG.

use super::axis::{count, nice};
use super::{Axis, BELOW, Chart, Column, Series};
use kuva::plot::LineStyle;
use kuva::plot::legend::{LegendEntry, LegendShape};
use kuva::prelude::{Layout, LegendPosition, LinePlot, Plot, Theme, TickFormat};
use std::sync::Arc;

/// Updates up to which each one is drawn, as a step.
const EACH: u64 = 1_000;

/// Dots of a PNG for each unit of the drawing: 600 of them for an inch where the picture is as wide
/// as a column of a paper.
const PNG_SCALE: f32 = 3.0;

/// Characters of a label in the legend.
const LABEL: usize = 60;

/// Colors that people with any kind of color vision tell apart (Okabe and Ito, 2008).
const COLORS: [&str; 7] =
    ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"];

/// The picture as SVG.
pub fn svg(chart: &Chart) -> String {
    let (lines, layout) = drawing(chart);
    kuva::render_to_svg(lines, layout)
}

/// The picture as PNG.
pub fn png(chart: &Chart) -> Result<Vec<u8>, String> {
    let (lines, layout) = drawing(chart);
    kuva::render_to_raster(lines, layout, PNG_SCALE)
}

fn drawing(chart: &Chart) -> (Vec<Plot>, Layout) {
    let (series, axis) = chart.columns(EACH.min(chart.updates) as usize);
    let drawn = series.iter().enumerate().map(|(index, columns)| {
        let (color, style) = look(index);
        line(columns, chart.updates, &axis).with_color(color).with_line_style(style)
    });
    let lines: Vec<Plot> = drawn.map(Plot::Line).collect();
    let layout = layout(&lines, chart, &axis);
    let layout = if series.len() > 1 {
        // This legend makes the picture higher: by as much as it needs, where it is given whole.
        let entries = chart.series.iter().enumerate().map(|(index, series)| entry(index, series));
        layout
            .with_legend_entries(entries.collect())
            .with_legend_position(LegendPosition::OutsideBottomColumns)
            // The box would cover the edge of the axis' label.
            .with_legend_box(false)
    } else {
        layout.with_height(420.0)
    };
    (lines, layout)
}

/// The color and the dashes of a line: lines of one color differ in their dashes.
fn look(index: usize) -> (&'static str, LineStyle) {
    let styles = [LineStyle::Solid, LineStyle::Dashed, LineStyle::Dotted, LineStyle::DashDot];
    let style = styles[index / COLORS.len() % styles.len()].clone();
    (COLORS[index % COLORS.len()], style)
}

fn entry(index: usize, series: &Series) -> LegendEntry {
    let (color, style) = look(index);
    LegendEntry {
        label: legend(&series.label),
        color: color.into(),
        shape: LegendShape::Line,
        dasharray: style.dasharray(),
    }
}

/// The rate of each update lasts until the next one; of a long run, the ends and extremes of each
/// column, which is narrower than the line.
fn line(columns: &[Column], updates: u64, axis: &Axis) -> LinePlot {
    let at = |(step, rate): (u64, f64)| (step as f64, axis.coordinate(rate));
    let end = columns.last().map(|column| (updates, column.last.1));
    let line = LinePlot::new().with_stroke_width(2.0);
    if updates <= EACH {
        line.with_data(columns.iter().map(|column| column.first).chain(end).map(at)).with_step()
    } else {
        line.with_data(columns.iter().flat_map(Column::points).chain(end).map(at))
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
    let updates = chart.updates as f64;
    let rates = *axis;
    let label = if axis.cut { format!("update ({BELOW})") } else { "update".into() };
    Layout::auto_from_plots(lines)
        .with_x_label(label)
        .with_y_label("learning rate")
        .with_width(760.0)
        .with_x_axis_min(0.0)
        .with_x_axis_max(updates)
        .with_x_tick_step(nice(updates / 6.0).max(1.0))
        .with_x_tick_format(TickFormat::Custom(Arc::new(count)))
        .with_y_axis_min(axis.low)
        // A line along the upper edge would be cut in half.
        .with_y_axis_max(axis.high + 0.02 * (axis.high - axis.low))
        .with_y_tick_step(1.0)
        .with_y_tick_format(TickFormat::Custom(Arc::new(move |tick| rates.label(tick))))
        .with_theme(theme)
}

/// A label that fits into a legend, in which `$` would begin a formula.
fn legend(label: &str) -> String {
    let mut shown: String = label.chars().take(LABEL).collect();
    if shown.len() < label.len() {
        shown.push('…');
    }
    shown.replace('$', "\\$")
}

#[cfg(test)]
mod tests {
    use super::super::columns;
    use super::*;

    #[test]
    fn a_step_lasts_until_the_next_update() {
        let columns = columns(|step| [0.1, 0.2][step as usize], 2, 2);
        let line = line(&columns, 2, &Axis::of([0.2].into_iter(), false));
        let points: Vec<(f64, f64)> = line.data.iter().map(Into::into).collect();
        // The axis has its ticks at multiples of 0.05.
        assert_eq!(points, [(0.0, 2.0), (1.0, 4.0), (2.0, 4.0)]);
        assert!(line.step);
    }

    #[test]
    fn labels_are_no_formulas() {
        assert_eq!(legend("$a$"), "\\$a\\$");
        assert_eq!(legend(&"x".repeat(100)).chars().count(), LABEL + 1);
    }
}

//! Draws a chart with braille characters of two by four dots.

use super::{Axis, BELOW, Chart, Column, Time};

/// The number of text rows between the axes.
const ROWS: usize = 16;

/// Distinguishable terminal colors: blue, yellow, green, red, magenta, cyan.
const COLORS: [u8; 6] = [34, 33, 32, 31, 35, 36];

/// The letter that marks a schedule in charts and tables.
pub fn mark(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

/// `text` in the color of a schedule, if colors are on.
pub fn colored(text: &str, index: usize, colors: bool) -> String {
    match colors {
        true => format!("\x1b[{}m{text}\x1b[0m", COLORS[index % COLORS.len()]),
        false => text.to_string(),
    }
}

/// The chart as lines of at most `width` characters.
pub fn draw(chart: &Chart, width: usize, colors: bool) -> String {
    let labels = |axis: &Axis| -> Vec<(f64, String)> {
        axis.ticks().map(|tick| (tick, axis.label(tick))).collect()
    };
    // The width of the labels determines the number of columns, and the columns determine the axis: labels
    // are assumed to be at most this wide.
    const LABEL: usize = 7;
    let canvas_width = width.saturating_sub(LABEL + 2).max(10);
    let (series, axis) = chart.columns(2 * canvas_width);
    let mut canvas = Canvas::new(canvas_width);
    for (index, columns) in series.iter().enumerate() {
        canvas.curve(columns, &axis, index);
    }
    if series.len() > 1 {
        for (index, columns) in series.iter().enumerate() {
            canvas.marks(columns, &axis, index, series.len());
        }
    }
    let labels = labels(&axis);
    let mut lines = vec![];
    for (row, cells) in canvas.cells.iter().enumerate() {
        let tick = labels.iter().find(|(tick, _)| row_of(dot_row(*tick, &axis)) == row);
        let (label, joint) = tick.map_or(("", '│'), |(_, label)| (label.as_str(), '┤'));
        lines.push(format!("{label:>LABEL$} {joint}{}", line(cells, colors)));
    }
    lines.extend(below(&chart.time, canvas_width, LABEL));
    if axis.cut {
        lines.push(format!("{:LABEL$}  {BELOW}", ""));
    }
    lines.iter().map(|line| line.trim_end().to_string() + "\n").collect()
}

/// The row of dots for a coordinate, counted from the top.
fn dot_row(coordinate: f64, axis: &Axis) -> usize {
    let height = (coordinate - axis.low) / (axis.high - axis.low);
    let dots = ROWS * 4 - 1;
    dots - (height * dots as f64).round() as usize
}

fn row_of(dot_row: usize) -> usize {
    dot_row / 4
}

/// A character of the canvas, and the schedule it belongs to.
#[derive(Clone, Copy, Default)]
struct Cell {
    dots: u8,
    mark: Option<char>,
    series: usize,
}

impl Cell {
    fn seen(&self) -> Option<char> {
        let dots = Some(self.dots).filter(|&dots| dots > 0);
        self.mark.or_else(|| char::from_u32(0x2800 + u32::from(dots?)))
    }
}

struct Canvas {
    cells: Vec<Vec<Cell>>,
}

impl Canvas {
    fn new(width: usize) -> Self {
        Self { cells: vec![vec![Cell::default(); width]; ROWS] }
    }

    /// Draws the rates of each column as dots, joined to the previous column.
    fn curve(&mut self, columns: &[Column], axis: &Axis, series: usize) {
        let row = |rate: f64| dot_row(axis.coordinate(rate), axis);
        let mut before = None;
        for (x, column) in columns.iter().enumerate() {
            let (top, bottom) = (row(column.high.1), row(column.low.1));
            let joined = before.unwrap_or(top);
            // Up to the dot next to the last one, so that a slope is thin and a jump is closed.
            let (top, bottom) = (top.min(joined + 1), bottom.max(joined.saturating_sub(1)));
            for y in top..=bottom {
                self.dot(x, y, series);
            }
            before = Some(row(column.last.1));
        }
    }

    fn dot(&mut self, x: usize, y: usize, series: usize) {
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let cell = &mut self.cells[row_of(y)][x / 2];
        cell.dots |= BITS[x % 2][y % 4];
        cell.series = series;
    }

    /// Marks each curve with its letter in several places, different for each schedule.
    fn marks(&mut self, columns: &[Column], axis: &Axis, series: usize, all: usize) {
        const MARKS: usize = 4;
        let width = columns.len() / 2;
        for place in 0..MARKS {
            let x = (width * (place * all + series) / (MARKS * all) + width / (2 * MARKS * all))
                .min(width - 1);
            let y = dot_row(axis.coordinate(columns[2 * x].last.1), axis);
            self.cells[row_of(y)][x] = Cell { dots: 0, mark: Some(mark(series)), series };
        }
    }
}

/// The visible text of a row; neighbouring cells of one schedule share a color.
fn line(cells: &[Cell], colors: bool) -> String {
    let same = |one: &Cell, other: &Cell| {
        one.seen().is_some() == other.seen().is_some() && one.series == other.series
    };
    cells
        .chunk_by(same)
        .map(|cells| {
            let text: String = cells.iter().map(|cell| cell.seen().unwrap_or(' ')).collect();
            match cells[0].seen() {
                Some(_) => colored(&text, cells[0].series, colors),
                None => text,
            }
        })
        .collect()
}

/// The update axis and its numbers.
fn below(time: &Time, width: usize, label: usize) -> [String; 2] {
    let step = time.tick_step((width as f64 / 14.0).max(1.0));
    let room = width.saturating_sub(time.name.len() + 1);
    let (mut axis, mut numbers) = (vec!['─'; width], vec![' '; room]);
    for tick in (0..).map(|index| f64::from(index) * step).take_while(|&at| at < time.end()) {
        let at = (tick / time.end() * width as f64) as usize;
        axis[at.min(width - 1)] = '┬';
        let number: Vec<char> = time.label(tick).chars().collect();
        if let Some(places) = numbers.get_mut(at..at + number.len()) {
            places.copy_from_slice(&number);
        }
    }
    let line = |cells: Vec<char>| cells.into_iter().collect::<String>();
    [
        format!("{:label$} └{}", "", line(axis)),
        format!("{:label$}  {} {}", "", line(numbers), time.name),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Series;
    use super::*;
    use anneal_schedule::prelude::*;

    fn chart(configs: &[&str], updates: u64, log: bool) -> Chart {
        let series = configs.iter().map(|text| {
            let config: ScheduleConfig = text.parse().unwrap();
            let schedule = config.resolve(RunLength::updates(updates)).unwrap();
            Series { name: text.to_string(), label: text.to_string(), schedule }
        });
        Chart { series: series.collect(), updates, time: Time::of(updates, None), values: "", log }
    }

    fn drawn(configs: &[&str], updates: u64, log: bool, width: usize) -> String {
        draw(&chart(configs, updates, log), width, false)
    }

    #[test]
    fn lines_keep_to_the_width() {
        for width in [20, 40, 80, 200] {
            for updates in [1, 7, 100, 12_345, 1 << 60] {
                let text = drawn(&["cosine(0.1).warmup(10%)"], updates, true, width);
                let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= width.max(BELOW.len() + 9), "{width}, {updates}:\n{text}");
            }
        }
    }

    #[test]
    fn steps_are_flat_with_jumps_between_them() {
        let text = drawn(&["step_decay(1.0, 50, 0.5)"], 100, false, 49);
        let rows: Vec<String> = text.lines().map(|line| line.chars().skip(9).collect()).collect();
        // The first half is a row of dots at the top, where the axis ends at 1. The jump starts next to its
        // last dot, is closed, and ends in the row of dots of the second half.
        assert_eq!(rows[0], "⠉".repeat(20) + "⡆", "{text}");
        assert!(rows[1..7].iter().all(|row| row.trim() == "⡇"), "{text}");
        assert_eq!(rows[7].trim(), "⣇".to_string() + &"⣀".repeat(19), "{text}");
        assert!(rows[8..16].iter().all(|row| row.trim().is_empty()), "{text}");
    }

    #[test]
    fn epochs_stand_at_whole_numbers() {
        let epochs =
            Chart { time: Time::of(900, Some(100)), ..chart(&["cosine(0.1)"], 900, false) };
        let text = draw(&epochs, 80, false);
        let numbers: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(numbers, ["0", "2", "4", "6", "8", "epoch"], "{text}");
    }

    #[test]
    fn one_update_is_seen() {
        let text = drawn(&["constant(0.1)"], 1, false, 40);
        assert!(text.lines().next().unwrap().contains('⠉'), "{text}");
    }

    #[test]
    fn several_schedules_are_told_apart_without_colors() {
        let text = drawn(&["constant(1.0)", "constant(0.5)"], 10, false, 80);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains('a') && !lines[0].contains('b'), "{text}");
        assert!(lines.iter().any(|line| line.contains('b') && !line.contains('a')), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(draw(&chart(&["constant(1.0)"], 1, false), 80, true).contains("\x1b[34m"));
    }
}

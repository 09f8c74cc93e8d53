//! A schedule split into the columns of a drawing.

/// The number of updates sampled per column.
const LOOKED_AT: u128 = 64;

/// An update and its rate.
pub type Point = (u64, f64);

/// The updates that share one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    pub first: Point,
    /// The lowest rate.
    pub low: Point,
    /// The highest rate.
    pub high: Point,
    pub last: Point,
}

impl Column {
    /// Its points from left to right.
    pub fn points(&self) -> [Point; 4] {
        let (early, late) =
            if self.low.0 < self.high.0 { (self.low, self.high) } else { (self.high, self.low) };
        [self.first, early, late, self.last]
    }
}

/// The rates of updates 0 to `updates` − 1 in `count` columns. If there are fewer updates than columns, an
/// update fills several.
pub fn columns(rate: impl Fn(u64) -> f64, updates: u64, count: usize) -> Vec<Column> {
    let border = |index: usize| index as u128 * u128::from(updates) / count as u128;
    (0..count)
        .map(|index| {
            let first = border(index);
            let end = border(index + 1).max(first + 1);
            column(&rate, first, end)
        })
        .collect()
}

fn column(rate: &impl Fn(u64) -> f64, first: u128, end: u128) -> Column {
    let gaps = (end - first - 1).min(LOOKED_AT - 1);
    let mut points = (0..=gaps)
        .map(|index| (first + index * (end - 1 - first) / gaps.max(1)) as u64)
        .map(|step| (step, rate(step)));
    let point = points.next().unwrap_or((first as u64, rate(first as u64)));
    points.fold(Column { first: point, low: point, high: point, last: point }, |column, point| {
        Column {
            first: column.first,
            low: if point.1 < column.low.1 { point } else { column.low },
            high: if point.1 > column.high.1 { point } else { column.high },
            last: point,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_update_of_a_short_run_is_seen() {
        let rate = |step: u64| if step == 77 { 1.0 } else { 0.0 };
        let found = columns(rate, 200, 10);
        assert_eq!(found[3].high, (77, 1.0));
        assert_eq!(found.iter().filter(|column| column.high.1 == 1.0).count(), 1);
        assert_eq!((found[0].first.0, found[9].last.0), (0, 199));
    }

    #[test]
    fn an_update_of_a_tiny_run_takes_several_columns() {
        let found = columns(|step| step as f64, 2, 4);
        assert_eq!(
            found.iter().map(|column| column.high.1).collect::<Vec<_>>(),
            [0.0, 0.0, 1.0, 1.0]
        );
    }

    #[test]
    fn the_longest_run_keeps_its_ends() {
        let found = columns(|step| step as f64, 1 << 63, 1_000);
        assert_eq!((found[0].first.0, found[999].last.0), (0, (1 << 63) - 1));
        assert!(found.windows(2).all(|pair| pair[0].last.0 < pair[1].first.0));
    }
}

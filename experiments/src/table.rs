//! The measurements: a number for each arm, column and seed.

use crate::comparison::Spread;

/// One measure of a run.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Whether more is better; `None` if it is neutral.
    pub higher_is_better: Option<bool>,
    /// Whether it is a share of 1, written in percent.
    pub is_share: bool,
}

impl Column {
    /// A number for which less is better.
    pub const fn lower(name: &'static str) -> Self {
        Self { name, higher_is_better: Some(false), is_share: false }
    }

    /// A number that is neither good nor bad.
    pub const fn neutral(name: &'static str) -> Self {
        Self { name, higher_is_better: None, is_share: false }
    }

    /// A share of 1 for which more is better.
    pub const fn share(name: &'static str) -> Self {
        Self { name, higher_is_better: Some(true), is_share: true }
    }

    /// Whether one value is better than the other; a non-finite value never is.
    pub fn is_better(self, one: f64, other: f64) -> bool {
        let Some(higher_is_better) = self.higher_is_better else { return false };
        let better = if higher_is_better { one > other } else { one < other };
        one.is_finite() && (!other.is_finite() || better)
    }

    /// Writes the values of all seeds: their mean, and the standard deviation of one, with the same number of digits.
    pub fn cell(self, values: &[f64]) -> String {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if finite.is_empty() {
            return "not finite".to_owned();
        }
        let Spread { mean, standard_deviation } = Spread::of(&finite);
        let write = |value: f64| match (self.is_share, mean.abs()) {
            (true, _) => format!("{:.2} %", 100.0 * value),
            (false, 1e4..) => format!("{value:.1e}"),
            (false, 0.1..) => format!("{value:.3}"),
            (false, _) => format!("{value:.4}"),
        };
        let mut text = write(mean);
        if let Some(deviation) = standard_deviation {
            text += &format!(" ± {}", write(deviation));
        }
        if finite.len() < values.len() {
            let lost = values.len() - finite.len();
            text += &format!(" ({lost} of {} not finite)", values.len());
        }
        text
    }
}

/// One arm of an experiment and its runs.
#[derive(Debug, Clone)]
pub struct Row {
    /// The name of the arm.
    pub arm: &'static str,
    /// The number of each column, for each seed.
    pub runs: Vec<Vec<f64>>,
}

/// The numbers of all arms.
#[derive(Debug, Clone)]
pub struct Table {
    /// The measures.
    pub columns: Vec<Column>,
    /// The arms.
    pub rows: Vec<Row>,
}

impl Table {
    /// The numbers of an arm in a column, for each seed.
    pub fn values(&self, arm: &str, column: usize) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.arm == arm);
        rows.flat_map(|row| row.runs.iter().map(|run| run[column])).collect()
    }

    /// The mean of an arm in a column; not finite if one of the numbers is not.
    pub fn mean(&self, arm: &str, column: usize) -> f64 {
        Spread::of(&self.values(arm, column)).mean
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let cells = |first: &str, of: &dyn Fn(usize, Column) -> String| {
            let columns = self.columns.iter().enumerate().map(|(index, column)| of(index, *column));
            line(std::iter::once(first.to_owned()).chain(columns).collect())
        };
        let mut text = cells("", &|_, column| column.name.to_owned());
        text += &cells("---", &|_, _| "---".to_owned());
        for row in &self.rows {
            text += &cells(row.arm, &|index, column| column.cell(&self.values(row.arm, index)));
        }
        text
    }

    /// Describes whether one arm was better than another, and in how many of the seeds.
    pub fn duel(&self, one: &str, other: &str, column: usize) -> String {
        let by = self.columns[column];
        let (ours, theirs) = (self.values(one, column), self.values(other, column));
        let won = ours.iter().zip(&theirs).filter(|(one, other)| by.is_better(**one, **other));
        let (won, seeds) = (won.count(), ours.len());
        let in_the_mean = by.is_better(self.mean(one, column), self.mean(other, column));
        let answer = match (in_the_mean, won == seeds) {
            (true, true) => "yes",
            (true, false) => "in the mean only",
            (false, _) => "no",
        };
        format!(
            "{answer}: {} {} for {one}, {} for {other}; better in {won} of {seeds} seeds",
            by.name,
            by.cell(&ours),
            by.cell(&theirs)
        )
    }

    /// The columns in which none of these arms has the best mean: the best arm, and the best of these.
    pub fn lost_by(&self, arms: &[&str]) -> Vec<String> {
        let lost = |(index, column): (usize, &Column)| {
            let mean = |row: &Row| self.mean(row.arm, index);
            let better =
                |best, row| if column.is_better(mean(row), mean(best)) { row } else { best };
            let best = self.rows.iter().reduce(better)?;
            let ours = self.rows.iter().filter(|row| arms.contains(&row.arm)).reduce(better)?;
            column.is_better(mean(best), mean(ours)).then(|| {
                let shown = |row: &Row| {
                    format!("{} {}", row.arm, column.cell(&self.values(row.arm, index)))
                };
                format!("{}: {}, {}", column.name, shown(best), shown(ours))
            })
        };
        self.columns.iter().enumerate().filter_map(lost).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |arm, runs: [[f64; 2]; 2]| Row { arm, runs: runs.map(Vec::from).into() };
        Table {
            columns: vec![Column::lower("loss"), Column::share("accuracy")],
            rows: vec![
                row("fixed", [[0.5, 0.75], [0.7, 0.97]]),
                row("adaptive", [[0.4, 0.5], [0.6, 0.5]]),
                row("broken", [[f64::NAN, 0.1], [1.0, 0.1]]),
            ],
        }
    }

    #[test]
    fn it_has_means_and_deviations_of_what_is_finite() {
        let text = table().markdown();
        let lines: Vec<&str> = text.lines().collect();

        assert_eq!(lines[0], "|  | loss | accuracy |");
        assert_eq!(lines[2], "| fixed | 0.600 ± 0.141 | 86.00 % ± 15.56 % |");
        assert!(lines[4].contains("| 1.000 (1 of 2 not finite) |"), "{text}");
    }

    #[test]
    fn a_duel_is_decided_by_the_mean_and_counted_by_seed() {
        let table = table();

        let won = table.duel("adaptive", "fixed", 0);
        assert!(won.starts_with("yes: loss 0.500") && won.ends_with("2 of 2 seeds"), "{won}");
        assert!(table.duel("adaptive", "broken", 0).starts_with("yes"));
        assert!(table.duel("broken", "fixed", 0).starts_with("no"));
        assert!(table.duel("adaptive", "fixed", 1).starts_with("no"));
    }

    #[test]
    fn what_an_arm_does_not_win_is_named() {
        let lost = table().lost_by(&["adaptive", "broken"]);

        assert_eq!(lost.len(), 1);
        assert!(lost[0].starts_with("accuracy: fixed 86.00 %"), "{}", lost[0]);
        assert!(lost[0].ends_with("adaptive 50.00 % ± 0.00 %"), "{}", lost[0]);
        assert!(table().lost_by(&["fixed", "adaptive"]).is_empty());
    }
}

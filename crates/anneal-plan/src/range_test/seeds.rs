//! Combines sweeps from several seeds.

use super::verdict::spread;
use super::{Apart, NothingSeen, RangeTest, Rule, Verdict};
use crate::OutOfRange;
use crate::number::short;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The factor by which seeds may disagree.
const SEEDS_APART: f64 = 10.0;

/// The results of several sweeps with different seeds: an interval for each rule, and one verdict.
///
/// A sweep that [says nothing](Verdict::Nothing) is left out of intervals. Together they say nothing unless
/// more than half of them say something; they are [`Wide`](Verdict::Wide) if `valley` differs by more than 10
/// times between seeds, or the medians of `valley`, `steep` and `minimum` by more than 1000 times.
///
/// `to_string()` is a table with the verdict and what to do next.
///
/// ```
/// use anneal_plan::{RangeTests, Rule, Sweep};
///
/// let sweep = Sweep::new(1e-6, 10.0);
/// let loss = |rate: f64| 1.0 + 1.0 / (1.0 + rate / 1e-3) + (rate / 0.3).powi(4);
/// let tests = RangeTests::new((0..3).map(|_| sweep.run(loss)).collect::<Result<_, _>>()?)?;
/// let valley = tests.interval(Rule::Valley).expect("a clear curve");
/// assert_eq!(tests.suggestion(), Some(valley.median));
/// assert_eq!((valley.lowest, valley.highest, valley.seeds), (valley.median, valley.median, 3));
/// println!("{tests}\n{}", tests.terminal(80));
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct RangeTests {
    pub(super) tests: Vec<RangeTest>,
    notes: Vec<String>,
}

/// The form in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    pub(super) tests: Vec<RangeTest>,
    #[serde(default)]
    notes: Vec<String>,
}

/// The suggestions of a rule over several seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interval {
    /// The lowest suggestion.
    pub lowest: f64,
    /// The median; for an even number of seeds, the geometric mean of the middle two.
    pub median: f64,
    /// The highest suggestion.
    pub highest: f64,
    /// The number of seeds with a suggestion.
    pub seeds: usize,
}

impl Interval {
    fn of(mut rates: Vec<f64>) -> Option<Self> {
        rates.sort_by(f64::total_cmp);
        let seeds = rates.len();
        let (&lowest, &highest) = (rates.first()?, rates.last()?);
        let (below, above) = (rates[(seeds - 1) / 2], rates[seeds / 2]);
        let median = if below == above { below } else { below.sqrt() * above.sqrt() };
        Some(Self { lowest, median, highest, seeds })
    }
}

impl RangeTests {
    /// Combines one test per seed.
    ///
    /// # Errors
    /// There is no test.
    pub fn new(tests: Vec<RangeTest>) -> Result<Self, OutOfRange> {
        OutOfRange::require("tests", tests.len(), !tests.is_empty(), "at least 1")?;
        Ok(Self { tests, notes: vec![] })
    }

    /// Adds a note about how the sweep was made.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The notes about how the sweep was made.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The test of each seed.
    pub fn tests(&self) -> &[RangeTest] {
        &self.tests
    }

    /// The suggestions of a rule, over the seeds that have one; `None` if the verdict is `Nothing`.
    pub fn interval(&self, rule: Rule) -> Option<Interval> {
        self.majority().is_ok().then(|| self.across(rule))?
    }

    /// The median of [`Rule::Valley`]; `None` if the verdict is `Nothing`.
    pub fn suggestion(&self) -> Option<f64> {
        self.suggestion_by(Rule::Valley)
    }

    /// The median of a rule; `None` if the verdict is `Nothing`.
    pub fn suggestion_by(&self, rule: Rule) -> Option<f64> {
        Some(self.interval(rule)?.median)
    }

    /// Whether the curves together are meaningful.
    pub fn verdict(&self) -> Verdict {
        if let Err(why) = self.majority() {
            return Verdict::Nothing(why);
        }
        let valley = self.across(Rule::Valley);
        let factor = spread(valley.iter().flat_map(|valley| [valley.lowest, valley.highest]));
        if factor > SEEDS_APART {
            return Verdict::Wide { factor, between: Apart::Seeds };
        }
        let medians = Verdict::compared().into_iter().filter_map(|rule| self.across(rule));
        Verdict::rules(medians.map(|interval| interval.median))
    }

    /// The number of seeds that say something, or why they are too few.
    fn majority(&self) -> Result<usize, NothingSeen> {
        let (mut some, mut first) = (0, None);
        for test in &self.tests {
            match test.verdict() {
                Verdict::Nothing(why) => first = first.or(Some(why)),
                _ => some += 1,
            }
        }
        match first {
            Some(why) if 2 * some <= self.tests.len() => Err(why),
            _ => Ok(some),
        }
    }

    fn across(&self, rule: Rule) -> Option<Interval> {
        Interval::of(self.tests.iter().filter_map(|test| test.suggestion_by(rule)).collect())
    }

    /// The suggested next step.
    fn next(&self) -> String {
        let verdict = self.verdict();
        if let Verdict::Nothing(why) = verdict {
            return why.next().to_owned();
        }
        let Some(valley) = self.interval(Rule::Valley) else { return String::new() };
        match verdict {
            Verdict::Wide { .. } if self.tests.len() == 1 => {
                format!("sweep with more seeds before you rely on {}", short(valley.median))
            }
            Verdict::Wide { .. } => {
                let (lowest, highest) = (short(valley.lowest), short(valley.highest));
                format!("search from {lowest} to {highest} with short trainings")
            }
            _ => format!("train with a peak rate of {}", short(valley.median)),
        }
    }
}

impl TryFrom<Saved> for RangeTests {
    type Error = OutOfRange;

    fn try_from(saved: Saved) -> Result<Self, OutOfRange> {
        Ok(Self { notes: saved.notes, ..Self::new(saved.tests)? })
    }
}

impl From<RangeTest> for RangeTests {
    fn from(test: RangeTest) -> Self {
        Self { tests: vec![test], notes: vec![] }
    }
}

/// A table of the rules, the verdict, and what to do next.
impl fmt::Display for RangeTests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, test) in self.tests.iter().enumerate() {
            write!(f, "seed {}: {}; {}", i + 1, test.sweep(), test.ended())?;
            match test.skipped() {
                0 => writeln!(f)?,
                skipped => writeln!(f, "; {skipped} updates skipped")?,
            }
        }
        if self.interval(Rule::Valley).is_some() {
            writeln!(
                f,
                "{:12}{:>10}{:>12}{:>12}{:>8}",
                "rule", "median", "lowest", "highest", "seeds"
            )?;
        }
        for rule in Rule::ALL {
            let Some(Interval { lowest, median, highest, seeds }) = self.interval(rule) else {
                continue;
            };
            let [median, lowest, highest] = [median, lowest, highest].map(short);
            writeln!(f, "{rule:12}{median:>10}{lowest:>12}{highest:>12}{seeds:>8}")?;
        }
        writeln!(f, "{}", self.verdict())?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        write!(f, "next: {}", self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sweep;
    use super::super::synthetic::{Normal, curve};
    use super::*;

    fn test(seed: u64, fall: f64, noise: f64) -> RangeTest {
        let mut normal = Normal::new(seed);
        Sweep::default().run(|rate| curve(rate, fall) + noise * normal.next()).unwrap()
    }

    fn tests(seeds: u64, fall: f64, noise: f64) -> RangeTests {
        RangeTests::new((0..seeds).map(|seed| test(seed, fall, noise)).collect()).unwrap()
    }

    #[test]
    fn intervals_are_those_of_the_seeds() {
        assert_eq!(Interval::of(vec![]), None);
        let of = |rates: &[f64]| Interval::of(rates.to_vec()).unwrap();
        let found = Interval { lowest: 1.0, median: 2.0, highest: 9.0, seeds: 3 };
        assert_eq!(of(&[9.0, 1.0, 2.0]), found);
        assert_eq!(of(&[16.0, 1.0, 4.0, 64.0]).median, 8.0);
        let tests = tests(5, 1.5, 0.05);
        let valley = tests.interval(Rule::Valley).unwrap();
        let mut each: Vec<f64> = tests.tests().iter().map(|t| t.suggestion().unwrap()).collect();
        each.sort_by(f64::total_cmp);
        assert_eq!([valley.lowest, valley.median, valley.highest], [each[0], each[2], each[4]]);
        assert_eq!(tests.verdict(), Verdict::Clear);
    }

    #[test]
    fn where_most_seeds_say_nothing_there_is_no_rate() {
        for (falling, some) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            let fall = |seed: u64| if seed < falling { 1.5 } else { 0.0 };
            let all = (0..4).map(|seed| test(seed, fall(seed), 0.05)).collect();
            let tests = RangeTests::new(all).unwrap();
            assert_eq!(tests.suggestion().is_some(), some, "{falling} of 4");
            for rule in Rule::ALL {
                let seeds = tests.interval(rule).map(|interval| interval.seeds as u64);
                assert_eq!(seeds, some.then_some(falling), "{rule}");
            }
        }
    }

    #[test]
    fn seeds_far_apart_are_wide() {
        let at = |place: f64| {
            let loss =
                |rate: f64| 1.0 + 1.0 / (1.0 + rate / place) + (rate / place / 300.0).powi(4);
            Sweep::new(1e-9, 10.0).run(loss).unwrap()
        };
        let tests = RangeTests::new(vec![at(1e-6), at(1e-2)]).unwrap();
        let verdict = tests.verdict();
        assert!(matches!(verdict, Verdict::Wide { between: Apart::Seeds, .. }), "{verdict}");
        assert!(tests.suggestion().is_some());
        assert!(tests.to_string().contains("next: search from"), "{tests}");
    }

    #[test]
    fn one_seed_says_what_its_test_says() {
        for (fall, noise) in [(1.5, 0.05), (1.5, 0.2), (0.0, 0.1), (0.6, 0.2)] {
            for seed in 0..20 {
                let test = test(seed, fall, noise);
                let tests = RangeTests::from(test.clone());
                assert_eq!(tests.verdict(), test.verdict());
                for rule in Rule::ALL {
                    assert_eq!(tests.suggestion_by(rule), test.suggestion_by(rule));
                }
            }
        }
    }

    #[cfg(feature = "plots")]
    #[test]
    fn words_and_pictures_have_the_rates_or_none() {
        let clear = tests(3, 1.5, 0.05);
        let rate = short(clear.suggestion().unwrap());
        for word in ["valley", "lightning", "clear", &format!("peak rate of {rate}")] {
            assert!(clear.to_string().contains(word), "{word} is not in\n{clear}");
        }
        for picture in [clear.svg(), clear.terminal(80)] {
            assert!(picture.contains(&format!("valley {rate}")), "{picture}");
        }
        let nothing = tests(3, 0.0, 0.1);
        for text in [nothing.to_string(), nothing.svg(), nothing.terminal(80)] {
            assert!(!text.contains("valley") && text.contains("nothing: "), "{text}");
        }
    }

    #[test]
    fn they_are_read_back_as_they_were_written() {
        let tests = tests(2, 1.5, 0.1);
        let text = serde_json::to_string(&tests).unwrap();
        assert_eq!(serde_json::from_str::<RangeTests>(&text).unwrap(), tests);
        assert!(serde_json::from_str::<RangeTests>("[]").is_err());
    }
}

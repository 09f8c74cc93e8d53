//! Judges whether a curve is meaningful.

use super::{Ended, RangeTest, Rule};
use crate::number::short;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The minimum number of points.
pub(super) const FEWEST: usize = 20;
/// The minimum fall in standard errors of the noise.
const ERRORS: f64 = 5.0;
/// A fall below this share of the loss counts as flat.
const FLAT: f64 = 1e-3;
/// The factor by which the rules may disagree about one curve.
const RULES_APART: f64 = 1000.0;
/// The rules that locate the fall, whatever the size of the loss.
const COMPARED: [Rule; 3] = [Rule::Valley, Rule::Steep, Rule::Minimum];

/// Whether a range test is meaningful.
///
/// A curve is meaningful if its raw loss fell further than noise explains: [`Fall`] has the formula.
/// Otherwise there is no suggestion.
///
/// | verdict | when |
/// | --- | --- |
/// | `Nothing` | fewer than 20 points; a fall within the noise, or below 1/1000 of the loss; no points left for `valley` |
/// | `Wide` | a fall, but `valley`, `steep` and `minimum` disagree by more than 1000 times, or `valley` between seeds by more than 10 |
/// | `Clear` | otherwise |
///
/// On a smooth curve the three rules are up to 100 times apart, because `valley` reads the first half of a
/// fall and `minimum` its end, delayed by the moving average of 50 points. A rule that mistakes noise for the
/// fall picks the ends of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A fall, and agreement on where it is.
    Clear,
    /// A fall, but no agreement on where it is.
    Wide {
        /// The largest rate divided by the smallest.
        factor: f64,
        /// What disagrees.
        between: Apart,
    },
    /// No fall, or none that can be read. There is no suggestion.
    Nothing(NothingSeen),
}

/// What disagrees in a [`Verdict::Wide`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Apart {
    /// `valley`, `steep` and `minimum`.
    Rules,
    /// `valley` of different seeds.
    Seeds,
}

/// Why a range test says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NothingSeen {
    /// Fewer than 20 points.
    TooFew {
        /// The number of points.
        points: usize,
    },
    /// Too few points, because more updates were skipped than made.
    Skipped {
        /// The number of skipped updates.
        updates: u64,
    },
    /// The loss fell, but the sweep ended within the parts that no rule reads: the first tenth of its updates
    /// and the last 5 points.
    BrokeOff {
        /// The number of points.
        points: usize,
    },
    /// The loss changed by less than 1/1000.
    Flat {
        /// The loss at the lowest rates.
        loss: f64,
    },
    /// The loss was not finite at the first update.
    NotFinite,
    /// The loss diverged, or became non-finite, before it fell; with fewer than 20 points, before any of them
    /// was below the first.
    Diverged {
        /// The rate at which it did.
        rate: f64,
    },
    /// The noise is larger than the fall.
    Noise {
        /// How far the loss fell.
        fall: f64,
        /// How far noise alone may make it appear to fall.
        needed: f64,
    },
}

/// How far the raw loss of a sweep fell, compared with its noise.
///
/// ```text
/// m      = max(5, ⌊points/10⌋)
/// before = median of the first m losses
/// after  = the lowest median of m consecutive later losses
/// noise  = median |loss_{i+1} − loss_i| / (0.6745 √2), up to the end of these
/// needed = 5 · noise · √(π/m)
/// ```
///
/// Estimating the noise from neighbours keeps a slow fall out of it. The median of |x| of a normal x is
/// 0.6745 of its standard deviation; a median of m normal values has variance π/(2m), so √(π/m) is the
/// standard error of the difference of two. Five of them keep a chance fall rare over all possible positions
/// of `after`: below 1 in 100 curves of flat noise, normal or heavy-tailed. It uses medians because one bad
/// batch is not a fall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fall {
    /// The loss at the lowest rates.
    pub before: f64,
    /// The loss at its lowest.
    pub after: f64,
    /// The standard deviation of the loss from batch to batch.
    pub noise: f64,
    /// How far noise alone may make the loss appear to fall.
    pub needed: f64,
}

impl Fall {
    pub(super) fn of(losses: &[f64]) -> Option<Self> {
        if losses.len() < FEWEST {
            return None;
        }
        let m = (losses.len() / 10).max(5);
        let before = median(&losses[..m]);
        let (window, after) =
            losses[m..].windows(m).map(median).enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let fallen = &losses[..window + 2 * m];
        let steps: Vec<f64> = fallen.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        let noise = median(&steps) / (0.6745 * std::f64::consts::SQRT_2);
        let needed = ERRORS * noise * (std::f64::consts::PI / m as f64).sqrt();
        Some(Self { before, after, noise, needed })
    }

    /// How far the loss fell; negative if it only rose.
    pub fn size(&self) -> f64 {
        self.before - self.after
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => 0.5 * sorted[middle - 1] + 0.5 * sorted[middle],
    }
}

impl Verdict {
    pub(super) fn of(test: &RangeTest) -> Self {
        match nothing(test) {
            Some(why) => Self::Nothing(why),
            None => Self::rules(COMPARED.into_iter().filter_map(|rule| test.read(rule))),
        }
    }

    /// The verdict on a falling curve from which the rules read these rates.
    pub(super) fn rules(rates: impl Iterator<Item = f64>) -> Self {
        match spread(rates) {
            factor if factor > RULES_APART => Self::Wide { factor, between: Apart::Rules },
            _ => Self::Clear,
        }
    }

    /// The rules that must agree.
    pub(super) fn compared() -> [Rule; 3] {
        COMPARED
    }
}

/// The largest divided by the smallest.
pub(super) fn spread(rates: impl Iterator<Item = f64>) -> f64 {
    let ends = |(low, high): (f64, f64), rate: f64| (low.min(rate), high.max(rate));
    let (low, high) = rates.fold((f64::INFINITY, 0.0), ends);
    if low < high { high / low } else { 1.0 }
}

fn nothing(test: &RangeTest) -> Option<NothingSeen> {
    let fall = test.fall();
    if let Some(fall) = fall.filter(|fall| fall.size() > fall.needed) {
        let flat = fall.size() < FLAT * fall.before.abs();
        if flat {
            return Some(NothingSeen::Flat { loss: fall.before });
        }
        let points = test.points().len();
        let unread = test.read(Rule::Valley).is_none();
        return unread.then(|| skipped(test).unwrap_or(NothingSeen::BrokeOff { points }));
    }
    let Some(fall) = fall else { return Some(too_few(test)) };
    if let Ended::Diverged { rate } | Ended::NotFinite { rate } = test.ended() {
        return Some(NothingSeen::Diverged { rate });
    }
    Some(match fall.needed < FLAT * fall.before.abs() || fall.needed == 0.0 {
        true => NothingSeen::Flat { loss: fall.before },
        false => NothingSeen::Noise { fall: fall.size(), needed: fall.needed },
    })
}

/// The reason for too few points.
fn too_few(test: &RangeTest) -> NothingSeen {
    let points = test.points();
    let Some(first) = points.first() else {
        return match test.ended() {
            Ended::NotFinite { .. } => NothingSeen::NotFinite,
            _ => skipped(test).unwrap_or(NothingSeen::TooFew { points: 0 }),
        };
    };
    let fell = points.iter().any(|point| point.loss < first.loss);
    match test.ended().rate() {
        Some(rate) if !fell => NothingSeen::Diverged { rate },
        _ => skipped(test).unwrap_or(NothingSeen::TooFew { points: points.len() }),
    }
}

/// The reason, if more updates were skipped than made.
fn skipped(test: &RangeTest) -> Option<NothingSeen> {
    let updates = test.skipped();
    (updates > test.points().len() as u64).then_some(NothingSeen::Skipped { updates })
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear => f.write_str("clear: the loss fell further than its noise explains"),
            Self::Wide { factor, between } => {
                let between = match between {
                    Apart::Rules => "valley, steep and minimum",
                    Apart::Seeds => "the seeds",
                };
                write!(f, "wide: the loss fell, but {between} disagree by {} times", short(*factor))
            }
            Self::Nothing(why) => write!(f, "nothing: {why}"),
        }
    }
}

impl fmt::Display for NothingSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooFew { points } => write!(f, "{points} points are too few"),
            Self::Skipped { updates } => {
                write!(f, "{updates} updates were skipped, and too few were left")
            }
            Self::BrokeOff { points } => {
                write!(f, "it ended too early to be read, after {points} points")
            }
            Self::Flat { loss } => write!(f, "the loss stayed at {}", short(loss)),
            Self::NotFinite => f.write_str("the loss was not finite at the first update"),
            Self::Diverged { rate } => {
                write!(f, "the loss diverged at {} without falling first", short(rate))
            }
            Self::Noise { fall, needed } if fall > 0.0 => write!(
                f,
                "the loss fell by {}, but noise alone may look like a fall of {}",
                short(fall),
                short(needed)
            ),
            Self::Noise { .. } => f.write_str("the loss did not fall"),
        }
    }
}

impl NothingSeen {
    /// The suggested next step.
    pub(super) fn next(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "start lower, or use more updates",
            Self::Skipped { .. } => {
                "start with a lower loss scale, and look for NaN and infinity in the gradients"
            }
            // More updates alone do not help before their first tenth is over.
            Self::BrokeOff { .. } => {
                "start lower: the first tenth of the updates and the last 5 points are not read"
            }
            Self::Flat { .. } => {
                "raise the highest rate, and check that the parameters are trained"
            }
            Self::NotFinite => {
                "look for NaN in the data, and for overflows in the model: no rate fixes that"
            }
            Self::Diverged { .. } => "start at a rate 1000 times lower",
            Self::Noise { .. } => {
                "use more updates, larger batches or a higher highest rate, over several seeds"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Normal, curve};
    use super::super::{RangeTests, Sweep};
    use super::*;

    const SEEDS: u64 = 1000;

    /// The share of seeds whose sweep of `updates` updates has a verdict that `is` accepts.
    fn share(
        updates: u64,
        loss: impl Fn(f64, &mut Normal) -> f64,
        is: impl Fn(Verdict) -> bool,
    ) -> f64 {
        let verdict = |seed: u64| {
            let mut noise = Normal::new(seed);
            Sweep::default().updates(updates).run(|rate| loss(rate, &mut noise)).unwrap().verdict()
        };
        (0..SEEDS).filter(|&seed| is(verdict(seed))).count() as f64 / SEEDS as f64
    }

    fn says_nothing(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Nothing(_))
    }

    #[test]
    fn flat_noise_says_nothing() {
        type Noise = fn(&mut Normal) -> f64;
        let normal: Noise = Normal::next;
        // Batch losses have heavy upper tails.
        let exponential: Noise = |normal| -normal.uniform().ln();
        let heavy: Noise = |normal| normal.next() / normal.uniform().sqrt();
        for updates in [20, 40, 100, 400] {
            for (name, noise) in
                [("normal", normal), ("exponential", exponential), ("heavy", heavy)]
            {
                let found = share(updates, |_, n| 2.3 + 0.1 * noise(n), says_nothing);
                assert!(found >= 0.99, "{name}, {updates} updates: {found}");
            }
        }
    }

    /// Noise on a flat loss that then diverges.
    #[test]
    fn a_rise_is_no_fall() {
        let rising = |rate: f64, n: &mut Normal| curve(rate, 0.0) + 0.1 * n.next();
        let diverged =
            |v| matches!(v, Verdict::Nothing(NothingSeen::Diverged { rate }) if rate > 0.3);
        assert!(share(100, rising, diverged) >= 0.99);
    }

    /// A fall of 10 times the noise: more than the 2.8 that 100 updates need at least.
    #[test]
    fn a_fall_is_clear() {
        let falling = |rate: f64, n: &mut Normal| curve(rate, 1.5) + 0.05 * n.next();
        assert!(share(100, falling, |verdict| verdict == Verdict::Clear) >= 0.99);
        // As large as the noise: indistinguishable from it.
        let lost = |rate: f64, n: &mut Normal| curve(rate, 0.1) + 0.1 * n.next();
        assert!(share(100, lost, says_nothing) >= 0.95);
        // In between it is found, though the rules may disagree.
        let noisy = |rate: f64, n: &mut Normal| curve(rate, 1.5) + 0.2 * n.next();
        assert!(share(100, noisy, |verdict| !says_nothing(verdict)) >= 0.99);
    }

    /// For 100 updates, needed = 5 σ √(π/10), and σ is recovered.
    #[test]
    fn noise_is_measured() {
        let mut normal = Normal::new(7);
        let losses: Vec<f64> =
            (0..5000).map(|i| 3.0 - 1e-4 * f64::from(i) + 0.2 * normal.next()).collect();
        let fall = Fall::of(&losses).unwrap();
        assert!((fall.noise / 0.2 - 1.0).abs() < 0.05, "{fall:?}");
        let standard_error = 0.2 * (std::f64::consts::PI / 500.0).sqrt();
        assert!((fall.needed / (5.0 * standard_error) - 1.0).abs() < 0.05, "{fall:?}");
        // Middles of the first and the last 500.
        assert!((fall.size() - 0.45).abs() < 5.0 * standard_error, "{fall:?}");
    }

    #[test]
    fn reasons_are_told_apart() {
        let sweep = Sweep::default();
        let why = |loss: fn(f64) -> f64| match sweep.run(loss).unwrap().verdict() {
            Verdict::Nothing(why) => why,
            other => panic!("{other}"),
        };
        assert_eq!(why(|_| 2.5), NothingSeen::Flat { loss: 2.5 });
        assert!(matches!(why(|rate| 2.5 - 1e-5 * rate), NothingSeen::Flat { .. }));
        assert!(
            matches!(why(|rate| 1.0 + 1e9 * rate), NothingSeen::Diverged { rate } if rate < 1e-6)
        );
        assert_eq!(why(|_| f64::NAN), NothingSeen::NotFinite);
        assert!(matches!(
            why(|rate| 1.0 + 0.3 * (1e3 * rate.ln()).sin()),
            NothingSeen::Noise { .. }
        ));
        let mut short = sweep.begin().unwrap();
        (0..19).for_each(|i| short.hear(10.0 - f64::from(i)));
        let verdict = short.finish().verdict();
        assert_eq!(verdict, Verdict::Nothing(NothingSeen::TooFew { points: 19 }));
        // A loss that falls within the first points, and so at no rate of the sweep.
        assert_eq!(why(|rate| if rate < 1e-5 { 1.0 } else { 2.0 }).next(), why(|_| 1.0).next());
    }

    /// A loss that falls by a fifth with each update, and is 1000 from update `end` on.
    fn breaking(sweep: Sweep, end: usize) -> RangeTest {
        let mut update = 0;
        let run = sweep.run(|_| {
            update += 1;
            if update > end { 1000.0 } else { 2.3 * 0.8f64.powi(update as i32) }
        });
        run.unwrap()
    }

    #[test]
    fn what_breaks_off_before_it_is_read_says_nothing() {
        // Rules read from point 40 to the fifth before the last.
        for (end, read) in [(20, false), (30, false), (44, false), (45, true), (60, true)] {
            let test = breaking(Sweep::new(0.01, 10.0).updates(400), end);
            let points = test.points().len();
            assert_eq!(points, end + 1);
            let broke_off = Verdict::Nothing(NothingSeen::BrokeOff { points });
            assert_eq!(test.verdict() != broke_off, read, "{end}: {}", test.verdict());
            assert_eq!((test.suggestion().is_some(), test.curvature(0.0).is_some()), (read, read));
            let words = RangeTests::from(test).to_string();
            assert_eq!(words.contains("too early to be read"), !read, "{words}");
            let next = if read { "next: " } else { "next: start lower" };
            assert!(words.contains(next) && !words.ends_with("next: "), "{words}");
        }
    }

    #[test]
    fn few_points_that_fell_did_not_diverge_at_once() {
        for sweep in [Sweep::new(1e-4, 10.0).updates(20), Sweep::default()] {
            for end in [3, 10, 18] {
                let test = breaking(sweep.clone(), end);
                let points = test.points().len();
                let too_few = NothingSeen::TooFew { points };
                assert_eq!((points, test.verdict()), (end + 1, Verdict::Nothing(too_few)));
                assert_eq!(too_few.next(), "start lower, or use more updates");
            }
            let at_once = Verdict::Nothing(NothingSeen::Diverged { rate: sweep.rate(1) });
            assert_eq!(breaking(sweep.clone(), 1).verdict(), at_once);
            let mut rising = 1.0;
            let test = sweep.run(|_| {
                rising *= 1.1;
                if rising > 3.0 { f64::NAN } else { rising }
            });
            let verdict = test.unwrap().verdict();
            assert!(matches!(verdict, Verdict::Nothing(NothingSeen::Diverged { .. })), "{verdict}");
        }
    }

    #[test]
    fn skipped_updates_are_no_lack_of_updates() {
        let falling = |skipped: u64, heard: u64, factor: f64| {
            let sweep = Sweep::default().updates((skipped + heard).max(20));
            let mut sweeping = sweep.begin().unwrap();
            (0..skipped).for_each(|_| sweeping.skip());
            (0..heard).for_each(|i| sweeping.hear(factor.powi(i as i32)));
            match sweeping.finish().verdict() {
                Verdict::Nothing(why) => why,
                other => panic!("{other}"),
            }
        };
        let why = |skipped: u64, heard: u64| falling(skipped, heard, 1.0);
        assert_eq!(why(100, 0), NothingSeen::Skipped { updates: 100 });
        assert_eq!(why(85, 15), NothingSeen::Skipped { updates: 85 });
        assert!(why(100, 0).next().contains("gradients"));
        assert_eq!(why(3, 15), NothingSeen::TooFew { points: 15 });
        assert_eq!(why(0, 0), NothingSeen::TooFew { points: 0 });
        assert_eq!(why(80, 20), NothingSeen::Flat { loss: 1.0 });
        assert_eq!(falling(379, 21, 0.8), NothingSeen::Skipped { updates: 379 });
    }

    #[test]
    fn extreme_losses_have_a_verdict() {
        for large in [f64::MAX, -f64::MAX, 1e-300, 0.0] {
            for pattern in [[large, -large], [0.0, large], [large, large]] {
                let mut i = 0;
                let loss = |_| {
                    i += 1;
                    pattern[i % 2]
                };
                let test = Sweep::default().run(loss).unwrap();
                assert!(says_nothing(test.verdict()), "{large}: {:?}", test.verdict());
            }
        }
    }
}

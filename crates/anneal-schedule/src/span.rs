//! Lengths that resolve once the length of the run is known.

use crate::run::Run;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A length in updates, in epochs, or as a percentage of the run.
///
/// | variant | text | updates |
/// | --- | --- | --- |
/// | [`Steps`](Span::Steps) | `500` | 500 |
/// | [`Epochs`](Span::Epochs) | `5ep` | 5 × updates per epoch |
/// | [`Percent`](Span::Percent) | `10%` | 0.1 × updates of the whole run |
/// | [`Rest`](Span::Rest) | `rest` | what is left of the run |
///
/// A percentage always refers to the *whole* run, even inside a part of a sequence. Cumulative positions are
/// rounded half up, not lengths, so parts that add up to the run on paper add up to it in updates: 33.4 %,
/// 33.3 % and 33.3 % of 100 updates are 33, 34 and 33.
///
/// ```
/// use anneal_schedule::Span;
/// assert_eq!("5ep".parse(), Ok(Span::epochs(5)));
/// assert_eq!(Span::percent(10.0).to_string(), "10%");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub enum Span {
    /// A number of updates, at least 1.
    Steps(u64),
    /// A number of epochs, above 0; fractions are allowed.
    Epochs(f64),
    /// A percentage of the whole run, in (0, 100].
    Percent(f64),
    /// What is left of the run, or of the enclosing part of a sequence.
    #[default]
    Rest,
}

impl Span {
    /// `steps` updates.
    pub fn steps(steps: u64) -> Self {
        Self::Steps(steps)
    }

    /// `epochs` epochs; whole or fractional.
    pub fn epochs(epochs: impl Into<f64>) -> Self {
        Self::Epochs(epochs.into())
    }

    /// `percent` % of the run: `percent(5.0)` is a twentieth.
    pub fn percent(percent: impl Into<f64>) -> Self {
        Self::Percent(percent.into())
    }

    /// `times` times this span; [`Rest`](Span::Rest) is unchanged.
    pub fn times(self, times: u64) -> Self {
        match self {
            Self::Steps(steps) => Self::Steps(steps.saturating_mul(times)),
            Self::Epochs(epochs) => Self::Epochs(epochs * times as f64),
            Self::Percent(percent) => Self::Percent(percent * times as f64),
            Self::Rest => Self::Rest,
        }
    }

    /// The update at this distance from the start of the run, rounded half up. `None` if the run has no
    /// length in epochs or percent to resolve it, and for [`Rest`](Span::Rest) and numbers that are negative
    /// or not finite.
    ///
    /// ```
    /// use anneal_schedule::{RunLength, Span};
    /// let run = RunLength::updates_per_epoch(25).epochs(4).resolve()?;
    /// assert_eq!(Span::epochs(1.5).update_in(&run), Some(38));
    /// assert_eq!(Span::percent(10.0).times(3).update_in(&run), Some(30));
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn update_in(self, run: &Run) -> Option<u64> {
        match self {
            Self::Rest => return None,
            Self::Epochs(n) | Self::Percent(n) if !(n >= 0.0 && n.is_finite()) => return None,
            _ => {}
        }
        Position::default().after(self).update(run)
    }

    pub(crate) fn is_zero(self) -> bool {
        matches!(self, Self::Steps(0))
            || matches!(self, Self::Epochs(n) | Self::Percent(n) if n == 0.0)
    }
}

impl From<u64> for Span {
    fn from(steps: u64) -> Self {
        Self::Steps(steps)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Epochs(epochs) => write!(f, "{epochs}ep"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rest => write!(f, "rest"),
        }
    }
}

/// A text that is not a span.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a length; allowed: updates (\"500\"), epochs (\"5ep\"), a share of the run (\"10%\") or \"rest\""
)]
pub struct ParseSpanError(String);

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let error = || ParseSpanError(text.to_string());
        let number = |digits: &str| decimal(digits.trim()).ok_or_else(error);
        if trimmed == "rest" {
            Ok(Self::Rest)
        } else if let Some(percent) = trimmed.strip_suffix('%') {
            number(percent).map(Self::Percent)
        } else if let Some(epochs) = trimmed.strip_suffix("ep") {
            number(epochs).map(Self::Epochs)
        } else {
            whole(trimmed).map(Self::Steps).ok_or_else(error)
        }
    }
}

/// A finite number in a file or text: digits, optionally separated by underscores.
pub(crate) fn decimal(digits: &str) -> Option<f64> {
    without_separators(digits)?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A whole number of updates, such as `500`, `10_000` or `1e6`.
pub(crate) fn whole(digits: &str) -> Option<u64> {
    let plain = without_separators(digits)?;
    plain.parse().ok().or_else(|| {
        let power_of_ten = digits.contains(['e', 'E']) && !digits.contains('.');
        decimal(digits).filter(|_| power_of_ten).and_then(as_updates)
    })
}

/// A float that counts updates: whole, and at most 2⁵³, so that no digit is lost.
fn as_updates(number: f64) -> Option<u64> {
    let exact = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    exact.then_some(number as u64)
}

/// Digits without separating underscores; `None` if an underscore is elsewhere.
fn without_separators(digits: &str) -> Option<String> {
    let is_digit = |part: Option<char>| part.is_some_and(|c| c.is_ascii_digit());
    let mut parts = digits.split('_').peekable();
    let mut plain = String::new();
    while let Some(part) = parts.next() {
        plain.push_str(part);
        let next = parts.peek();
        let between = |next: &&str| is_digit(part.chars().last()) && is_digit(next.chars().next());
        if !next.is_none_or(between) {
            return None;
        }
    }
    Some(plain)
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

/// The allowed forms of a length.
const LENGTHS: &str = "a number of updates (500), \"5ep\", \"10%\" or \"rest\"";

impl de::Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a length: {LENGTHS}")
    }

    fn visit_u64<E: de::Error>(self, steps: u64) -> Result<Span, E> {
        Ok(Span::Steps(steps))
    }

    fn visit_i64<E: de::Error>(self, steps: i64) -> Result<Span, E> {
        u64::try_from(steps).map(Span::Steps).map_err(|_| {
            E::custom(format!("length {steps} is not allowed; allowed: at least 1 update"))
        })
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Span, E> {
        as_updates(number).map(Span::Steps).ok_or_else(|| {
            let share = if number > 0.0 && number < 1.0 {
                "; write a share of the run in percent, such as \"5%\""
            } else {
                ""
            };
            E::custom(format!("{number} is not a length; allowed: {LENGTHS}{share}"))
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }
}

/// A point of the run as a sum of spans, kept per unit so that adding percentages, epochs and updates is
/// rounded only once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    steps: i128,
    epochs: f64,
    percent: f64,
}

impl Position {
    /// The position of update `step`.
    pub(crate) fn at(step: u64) -> Self {
        Self { steps: step.into(), ..Self::default() }
    }

    /// This position plus `span`, which is not [`Span::Rest`].
    pub(crate) fn after(self, span: Span) -> Self {
        self.moved(span, 1)
    }

    /// This position minus `span`, which is not [`Span::Rest`].
    pub(crate) fn before(self, span: Span) -> Self {
        self.moved(span, -1)
    }

    fn moved(mut self, span: Span, sign: i8) -> Self {
        match span {
            Span::Steps(steps) => self.steps += i128::from(sign) * i128::from(steps),
            Span::Epochs(epochs) => self.epochs += f64::from(sign) * epochs,
            Span::Percent(percent) => self.percent += f64::from(sign) * percent,
            Span::Rest => {}
        }
        self
    }

    /// The update at this position: the exact sum rounded half up. `None` if the run cannot resolve epochs or
    /// percent.
    pub(crate) fn update(self, run: &Run) -> Option<u64> {
        let (whole, part) = self.exactly(run)?;
        // A sum such as 33.3 % + 16.7 % may miss a half by a rounding error; tolerate 2 ulp.
        let forgiven = (2.0 * f64::EPSILON * part.abs()).min(1e-6);
        let up = part - part.floor() + forgiven >= 0.5;
        let update = whole.saturating_add(part.floor() as i128 + i128::from(up));
        Some(u64::try_from(update.max(0)).unwrap_or(u64::MAX))
    }

    /// Whether this position, unrounded, is at or after update `end`.
    pub(crate) fn reaches(self, end: u64, run: &Run) -> bool {
        self.exactly(run)
            .is_some_and(|(whole, part)| (whole - i128::from(end)) as f64 + part >= 0.0)
    }

    /// The position in updates, as a whole number and a fraction.
    fn exactly(self, run: &Run) -> Option<(i128, f64)> {
        let (mut whole, mut part) = (self.steps, 0.0);
        let mut add = |units: f64, count: u64, of: f64| {
            // Whole multiples use integers; multiply units × count before dividing, because 29 × 50 / 100 is
            // 14.5 exactly and 0.29 × 50 is not.
            let multiples = (units / of).trunc();
            whole = whole.saturating_add((multiples as i128).saturating_mul(count.into()));
            part += (units - multiples * of) * count as f64 / of;
        };
        if self.epochs != 0.0 {
            add(self.epochs, run.updates_per_epoch()?, 1.0);
        }
        if self.percent != 0.0 {
            add(self.percent, run.updates()?, 100.0);
        }
        Some((whole, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for span in [Span::Steps(500), Span::epochs(2.5), Span::percent(10), Span::Rest] {
            assert_eq!(span.to_string().parse(), Ok(span));
            let json = serde_json::to_string(&span).unwrap();
            assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), span, "{json}");
        }
    }

    #[test]
    fn what_is_harmless_is_accepted() {
        for (text, span) in [
            (" 500", Span::Steps(500)),
            ("10_000", Span::Steps(10_000)),
            ("1e6", Span::Steps(1_000_000)),
            ("5 %", Span::percent(5)),
            (" 2.5 ep ", Span::epochs(2.5)),
            ("1_000ep", Span::epochs(1_000)),
        ] {
            assert_eq!(text.parse(), Ok(span), "{text}");
        }
        assert_eq!(serde_json::from_str::<Span>("1e6").unwrap(), Span::Steps(1_000_000));
        for number in ["0.05", "5.5", "1e300", "-1.0"] {
            let error = serde_json::from_str::<Span>(number).unwrap_err().to_string();
            assert!(error.contains("is not a length"), "{error}");
        }
        let share = serde_json::from_str::<Span>("0.05").unwrap_err().to_string();
        assert!(share.contains("such as \"5%\""), "{share}");
    }

    #[test]
    fn nonsense_is_refused_with_the_allowed_forms() {
        for text in [
            "",
            "ten",
            "10 percent",
            "-5",
            "5.5",
            "%",
            "ep",
            "nan%",
            "infep",
            "1e999%",
            "1__0",
            "_1",
            "1_",
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("10%") && error.contains("5ep"), "{error}");
        }
        assert!(serde_json::from_str::<Span>("-3").unwrap_err().to_string().contains("at least 1"));
    }

    #[test]
    fn halves_round_up_even_where_f64_would_miss_them() {
        let run = crate::RunLength::updates(50).resolve().unwrap();
        let at = |percent| Position::default().after(Span::Percent(percent)).update(&run);
        assert_eq!(at(29.0), Some(15)); // 14.5
        assert_eq!(at(28.9), Some(14)); // 14.45
        assert_eq!(at(1.0), Some(1)); // 0.5
        let third = Position::default().after(Span::Percent(33.3)).after(Span::Percent(15.7));
        assert_eq!(third.update(&run), Some(25)); // 24.5 if 33.3 + 15.7 were 49
    }

    #[test]
    fn long_runs_keep_their_last_digit() {
        for updates in [1 << 51, (1 << 52) + 1, (1 << 53) - 1, (1 << 60) - 1, 1 << 63] {
            let run = crate::RunLength::updates_per_epoch(updates).resolve().unwrap();
            for span in [Span::percent(100), Span::epochs(1), Span::steps(updates)] {
                let end = Position::default().after(span);
                assert_eq!(end.update(&run), Some(updates), "{span}");
                assert!(end.reaches(updates, &run), "{span}");
                assert_eq!(end.before(span).update(&run), Some(0), "{span}");
            }
        }
    }
}

//! Lengths that resolve once the length of the run is known.

use crate::position::Position;
use crate::run::Run;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A length in updates, epochs, samples or tokens, or as a percentage of the run.
///
/// | variant | text | updates |
/// | --- | --- | --- |
/// | [`Steps`](Span::Steps) | `500`, `10k` | 500, 10,000 |
/// | [`Epochs`](Span::Epochs) | `5ep` | 5 × updates per epoch |
/// | [`Samples`](Span::Samples) | `50_000sp`, `2Msp`, `2Mimg` | until as many samples were seen |
/// | [`Tokens`](Span::Tokens) | `260e9tok`, `260Btok`, `1.2Ttok` | until as many tokens were seen |
/// | [`Percent`](Span::Percent) | `10%` | 0.1 × updates of the whole run, or [of its samples](crate::RunLength::percent_of_samples) |
/// | [`Rest`](Span::Rest) | `rest` | what is left of the run |
///
/// A number may end in `k`, `M`, `B` (or `G`) or `T`. Samples need a run that counts them, tokens also
/// [`tokens_per_sample`](crate::RunLength::tokens_per_sample).
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
    /// A number of samples, above 0.
    Samples(f64),
    /// A number of tokens, above 0.
    Tokens(f64),
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

    /// `samples` samples, or images.
    pub fn samples(samples: impl Into<f64>) -> Self {
        Self::Samples(samples.into())
    }

    /// `tokens` tokens: `tokens(260e9)` is 260 billion.
    pub fn tokens(tokens: impl Into<f64>) -> Self {
        Self::Tokens(tokens.into())
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
            Self::Samples(samples) => Self::Samples(samples * times as f64),
            Self::Tokens(tokens) => Self::Tokens(tokens * times as f64),
            Self::Percent(percent) => Self::Percent(percent * times as f64),
            Self::Rest => Self::Rest,
        }
    }

    /// The update at this distance from the start of the run, rounded half up. `None` if the run does not count this
    /// unit, and for [`Rest`](Span::Rest) and numbers that are negative
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
        let ok = match self {
            Self::Rest => false,
            Self::Steps(_) => true,
            Self::Epochs(n) | Self::Samples(n) | Self::Tokens(n) | Self::Percent(n) => {
                n >= 0.0 && n.is_finite()
            }
        };
        if ok { Position::default().after(self, run).update(run) } else { None }
    }

    pub(crate) fn is_zero(self) -> bool {
        match self {
            Self::Steps(steps) => steps == 0,
            Self::Epochs(n) | Self::Samples(n) | Self::Tokens(n) | Self::Percent(n) => n == 0.0,
            Self::Rest => false,
        }
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
            Self::Samples(samples) => write!(f, "{}sp", short(*samples)),
            Self::Tokens(tokens) => write!(f, "{}tok", short(*tokens)),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rest => write!(f, "rest"),
        }
    }
}

/// A text that is not a span.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a length; allowed: {LENGTHS}{}", self.hint())]
pub struct ParseSpanError {
    text: String,
}

impl ParseSpanError {
    /// The message where a number is allowed too.
    pub(crate) fn or_number(&self) -> String {
        let Self { text } = self;
        format!("`{text}` is neither a number nor a length; lengths are {LENGTHS}{}", self.hint())
    }

    /// What to write for units of other libraries.
    fn hint(&self) -> String {
        const UNITS: [&str; 5] = ["%", "ep", "sp", "img", "tok"];
        let has_two = |unit: &str| {
            let parts = self.text.split_once(unit);
            let parts = parts.filter(|(number, _)| scaled(number.trim()).is_some());
            parts.is_some_and(|(_, rest)| {
                let rest = rest.trim();
                UNITS.contains(&rest) || rest.starts_with(|c: char| c.is_ascii_digit())
            })
        };
        if UNITS.into_iter().any(has_two) {
            return "; a length has one unit".into();
        }
        let number = self.text.rfind(|c: char| c.is_ascii_digit()).map_or(0, |last| last + 1);
        let unit = &self.text[number..];
        let unit = unit.trim().trim_start_matches(SCALES.map(|(letter, _)| letter)).trim_start();
        let here = match unit {
            thousands if thousands.starts_with('K') => "thousands are written \"10k\"",
            "ba" | "step" | "steps" | "updates" | "it" | "iters" => "updates have no unit",
            "dur" => "a share of the run is a percentage: 0.1dur is \"10%\"",
            "epoch" | "epochs" | "e" => "epochs are written \"5ep\"",
            "percent" | "pct" => "percentages are written \"10%\"",
            "samples" | "sample" | "images" => "samples are written \"2Msp\" or \"2Mimg\"",
            "tokens" | "token" => "tokens are written \"260Btok\"",
            "sec" | "s" | "min" | "h" => "time is not known before the run",
            _ => return String::new(),
        };
        format!("; {here}")
    }
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let error = || ParseSpanError { text: text.to_string() };
        if trimmed == "rest" {
            return Ok(Self::Rest);
        }
        type Unit = fn(f64) -> Span;
        let units: [(&str, Unit); 5] = [
            ("%", Span::Percent),
            ("ep", Span::Epochs),
            ("sp", Span::Samples),
            ("img", Span::Samples),
            ("tok", Span::Tokens),
        ];
        for (unit, span) in units {
            if let Some(digits) = trimmed.strip_suffix(unit) {
                return scaled(digits.trim()).map(span).ok_or_else(error);
            }
        }
        let updates = || scaled(trimmed).filter(|_| trimmed.ends_with(SCALES.map(|(c, _)| c)));
        let updates = whole(trimmed).or_else(|| updates().and_then(as_updates));
        updates.map(Self::Steps).ok_or_else(error)
    }
}

/// Letters that multiply a number.
const SCALES: [(char, f64); 5] = [('k', 1e3), ('M', 1e6), ('B', 1e9), ('G', 1e9), ('T', 1e12)];

/// A finite number in a file or text, which may end in a letter that multiplies it.
fn scaled(digits: &str) -> Option<f64> {
    let scale =
        SCALES.iter().find_map(|(letter, scale)| Some((digits.strip_suffix(*letter)?, *scale)));
    let (digits, scale) = scale.unwrap_or((digits, 1.0));
    // The decimal digits decide: 1.2 × 1e12 may miss 1.2e12 by a rounding error.
    let number = decimal(digits.trim())?;
    let scaled = match digits.contains(['e', 'E']) || scale == 1.0 {
        true => number * scale,
        false => decimal(&format!("{}e{}", digits.trim(), scale.log10().round()))?,
    };
    Some(scaled).filter(|number| number.is_finite())
}

/// A number as it is usually written: `2M`, `1.2T`, or all digits.
fn short(number: f64) -> String {
    let plain = number.to_string();
    let letters = SCALES.iter().filter(|(letter, _)| *letter != 'G').rev();
    let mut written = letters.map(|(letter, scale)| format!("{}{letter}", number / scale));
    let is_short = |text: &String| text.len() < plain.len() && scaled(text) == Some(number);
    written.find(|text| is_short(text) && !text.starts_with("0.")).unwrap_or(plain)
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
const LENGTHS: &str = "updates (500), epochs (\"5ep\"), samples (\"2Msp\"), tokens (\"260Btok\"), a share of the run \
                       (\"10%\") or \"rest\"";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for span in [
            Span::Steps(500),
            Span::epochs(2.5),
            Span::percent(10),
            Span::Rest,
            Span::samples(50_000),
            Span::samples(1_281_167),
            Span::samples(2.5),
            Span::tokens(260e9),
            Span::tokens(1.2e12),
            Span::tokens(14.8e12),
            Span::tokens(1e300),
        ] {
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
            ("10k", Span::Steps(10_000)),
            ("1.5M", Span::Steps(1_500_000)),
            ("50_000sp", Span::samples(50_000)),
            ("2Mimg", Span::samples(2_000_000)),
            ("2 M img", Span::samples(2_000_000)),
            ("260e9tok", Span::tokens(260e9)),
            ("260Btok", Span::tokens(260e9)),
            ("260Gtok", Span::tokens(260e9)),
            ("1.2Ttok", Span::tokens(1.2e12)),
            ("252_000Mtok", Span::tokens(252e9)),
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
            "5ep10%",
            "1.2345k",
            "tok",
            "Mtok",
            "1MMtok",
            "1e400tok",
            "5mtok",
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("10%") && error.contains("5ep"), "{error}");
        }
        assert!(serde_json::from_str::<Span>("-3").unwrap_err().to_string().contains("at least 1"));
    }

    #[test]
    fn lengths_are_written_as_people_do() {
        for (span, text) in [
            (Span::samples(50_000), "50ksp"),
            (Span::samples(1_281_167), "1281167sp"),
            (Span::samples(500), "500sp"),
            (Span::tokens(260e9), "260Btok"),
            (Span::tokens(1.2e12), "1.2Ttok"),
            (Span::tokens(252e6), "252Mtok"),
            (Span::tokens(0.5), "0.5tok"),
        ] {
            assert_eq!(span.to_string(), text);
        }
        for (text, hint) in [
            ("500ba", "; updates have no unit"),
            ("1ksteps", "; updates have no unit"),
            ("2M tokens", "; tokens are written"),
            ("10K", "; thousands are written \"10k\""),
            ("5ep10%", "; a length has one unit"),
            ("0.06dur", "; a share of the run is a percentage"),
            ("5 epochs", "; epochs are written \"5ep\""),
            ("260e9 tokens", "; tokens are written"),
            ("30min", "; time is not known"),
            ("5parsec", "(\"10%\") or \"rest\""),
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn halves_round_up_even_where_f64_would_miss_them() {
        let run = crate::RunLength::updates(50).resolve().unwrap();
        let at = |percent| Position::default().after(Span::Percent(percent), &run).update(&run);
        assert_eq!(at(29.0), Some(15)); // 14.5
        assert_eq!(at(28.9), Some(14)); // 14.45
        assert_eq!(at(1.0), Some(1)); // 0.5
        let third = Position::default().after(Span::Percent(33.3), &run);
        let third = third.after(Span::Percent(15.7), &run);
        assert_eq!(third.update(&run), Some(25)); // 24.5 if 33.3 + 15.7 were 49
    }

    #[test]
    fn long_runs_keep_their_last_digit() {
        for updates in [1 << 51, (1 << 52) + 1, (1 << 53) - 1, (1 << 60) - 1, 1 << 63] {
            let run = crate::RunLength::updates_per_epoch(updates).resolve().unwrap();
            for span in [Span::percent(100), Span::epochs(1), Span::steps(updates)] {
                let end = Position::default().after(span, &run);
                assert_eq!(end.update(&run), Some(updates), "{span}");
                assert!(end.reaches(updates, &run), "{span}");
                assert_eq!(end.before(span, &run).update(&run), Some(0), "{span}");
            }
        }
    }
}

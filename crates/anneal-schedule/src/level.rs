//! Rates that may be given as a share of a peak.

use crate::ScheduleError;
use crate::scope::Scope;
use crate::span::decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A rate, or a percentage of the peak.
///
/// | variant | text | rate |
/// | --- | --- | --- |
/// | [`Rate`](Level::Rate) | `3e-5` | 3e-5 |
/// | [`Percent`](Level::Percent) | `10%` | a tenth of the peak |
///
/// The peak is that of the curve: in a [`Polynomial`](crate::Polynomial) its start, in a
/// [`Floor`](crate::Floor) and a [`Cap`](crate::Cap) that of the schedule inside, in a
/// [`Warmup`](crate::Warmup) the rate that it rises to. 10 % of 3e-4 is the number that one would write, 3e-5.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let run = RunLength::updates(100);
/// let share = cosine(3e-4).end(Level::percent(10.0)).resolve(run)?;
/// assert_eq!(share, cosine(3e-4).end(3e-5).resolve(run)?);
/// assert_eq!("10%".parse(), Ok(Level::percent(10.0)));
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum Level {
    /// A learning rate.
    Rate(f64),
    /// A percentage of the peak, in [0, 100].
    Percent(f64),
}

impl Level {
    /// `percent` % of the peak: `percent(10.0)` is a tenth of it.
    pub fn percent(percent: impl Into<f64>) -> Self {
        Self::Percent(percent.into())
    }
}

/// The rate 0.
impl Default for Level {
    fn default() -> Self {
        Self::Rate(0.0)
    }
}

impl From<f64> for Level {
    fn from(rate: f64) -> Self {
        Self::Rate(rate)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate:?}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A text that is not a level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a rate; allowed: {LEVELS}")]
pub struct ParseLevelError(String);

/// The allowed forms of a level.
const LEVELS: &str = "a rate (3e-5), or a share of the peak (\"10%\")";

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let level = match trimmed.strip_suffix('%') {
            Some(percent) => decimal(percent.trim()).map(Self::Percent),
            None => decimal(trimmed).map(Self::Rate),
        };
        level.ok_or_else(|| ParseLevelError(text.to_string()))
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rate(rate) => serializer.serialize_f64(*rate),
            percent => serializer.collect_str(percent),
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LevelVisitor)
    }
}

struct LevelVisitor;

impl de::Visitor<'_> for LevelVisitor {
    type Value = Level;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LEVELS)
    }

    fn visit_f64<E: de::Error>(self, rate: f64) -> Result<Level, E> {
        Ok(Level::Rate(rate))
    }

    fn visit_u64<E: de::Error>(self, rate: u64) -> Result<Level, E> {
        Ok(Level::Rate(rate as f64))
    }

    fn visit_i64<E: de::Error>(self, rate: i64) -> Result<Level, E> {
        Ok(Level::Rate(rate as f64))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Level, E> {
        text.parse().map_err(E::custom)
    }
}

impl Scope<'_> {
    /// The rate that `level` stands for if the peak is `peak`. Only a share is checked.
    pub(crate) fn level(&self, field: &str, level: Level, peak: f64) -> Result<f64, ScheduleError> {
        let refused = |allowed| Err(self.out_of_range(field, level.to_string(), allowed));
        match level {
            Level::Rate(rate) => Ok(rate),
            Level::Percent(percent) if !(0.0..=100.0).contains(&percent) => {
                refused("0% to 100% of the peak, or a rate")
            }
            Level::Percent(_) if !(peak > 0.0 && peak.is_finite()) => {
                refused("a rate: there is no peak to take a share of")
            }
            Level::Percent(percent) => Ok(share(percent, peak)),
        }
    }

    /// The end of a curve that falls from `peak`: a rate in [0, peak], or a share of the peak.
    pub(crate) fn end(&self, end: Level, peak: f64) -> Result<f64, ScheduleError> {
        let rate = self.level("end", end, peak)?;
        let allowed = format!("in [0.0, {peak:?}], or a share of the peak such as \"10%\"");
        Ok(self.require("end", rate, (0.0..=peak).contains(&rate), &allowed)? + 0.0)
    }
}

/// `percent` % of `peak`, and the nearest number of 15 digits if the product misses it by a rounding error.
fn share(percent: f64, peak: f64) -> f64 {
    let product = (peak * (percent / 100.0)).min(peak);
    let short = format!("{product:.14e}").parse().unwrap_or(product);
    let missed = (short - product).abs() <= 2.0 * f64::EPSILON * product;
    if missed && short <= peak { short } else { product }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::tanh;

    #[test]
    fn text_round_trips() {
        for (level, text) in [
            (Level::Rate(1e-6), "1e-6"),
            (Level::Rate(0.5), "0.5"),
            (Level::percent(10), "10%"),
            (Level::percent(0.1), "0.1%"),
            (Level::percent(7), "7%"),
        ] {
            assert_eq!(level.to_string(), text);
            assert_eq!(text.parse(), Ok(level));
            let json = serde_json::to_string(&level).unwrap();
            assert_eq!(serde_json::from_str::<Level>(&json).unwrap(), level, "{json}");
        }
        for (json, level) in [("1", Level::Rate(1.0)), ("-1", Level::Rate(-1.0))] {
            assert_eq!(serde_json::from_str::<Level>(json).unwrap(), level);
        }
        assert_eq!(" 1_0 % ".parse(), Ok(Level::percent(10)));
        assert_eq!("3e-5".parse(), Ok(Level::Rate(3e-5)));
    }

    #[test]
    fn nonsense_is_refused_with_the_allowed_forms() {
        for text in ["", "%", "ten", "10ep", "nan%", "1e999%", "inf", "rest", "10%%"] {
            let error = text.parse::<Level>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}` is not a rate; allowed: a rate")), "{error}");
        }
        let error = serde_json::from_str::<Level>("true").unwrap_err().to_string();
        assert!(error.contains("expected a rate (3e-5), or a share of the peak"), "{error}");
    }

    #[test]
    fn a_share_is_the_decimal_number_that_one_would_write() {
        for (percent, peak, rate) in
            [(10.0, 3e-4, 3e-5), (1.0, 6e-4, 6e-6), (7.0, 0.1, 0.007), (0.1, 0.3, 3e-4)]
        {
            assert_eq!(share(percent, peak), rate);
        }
        // A peak with more digits than that keeps them.
        let peak = std::f64::consts::PI / 1e4;
        assert_eq!(share(100.0, peak), peak);
        assert_eq!(share(50.0, peak), peak / 2.0);
        assert_eq!((share(0.0, peak), share(100.0, f64::MAX)), (0.0, f64::MAX));
    }

    /// A schedule with a level somewhere, and a length.
    type With = fn(Level, Span) -> ScheduleConfig;

    /// Each place for a level, with a share of the peak and with its rate.
    #[test]
    fn a_share_resolves_to_its_rate_everywhere() {
        let run = RunLength::updates(100);
        let ten = Span::steps(10);
        let places: [(&str, With); 12] = [
            ("cosine.end", |level, _| cosine(0.4).end(level).into()),
            ("polynomial.end", |level, _| polynomial(0.4, level, 2.0).into()),
            ("one_cycle.start", |level, _| one_cycle(0.4).start(level).into()),
            ("one_cycle.end", |level, _| one_cycle(0.4).end(level).into()),
            ("stable_decay.end", |level, span| stable_decay(0.4, span).end(level).into()),
            ("tanh.end", |level, _| tanh(0.4).end(level).into()),
            ("warm_restarts.end", |level, span| warm_restarts(0.4, span).end(level).into()),
            ("exponential.decay.toward.end", |end, length| {
                exponential(0.4, Decay::Toward { end, length }).into()
            }),
            ("cyclic.base", |level, span| cyclic(level, 0.4, span).into()),
            ("floor.floor", |level, _| cosine(0.4).floor(level).into()),
            ("cap.cap", |level, _| cosine(0.4).cap(level).into()),
            ("warmup.start", |level, span| cosine(0.4).warmup(span).start(level).into()),
        ];
        for (field, config) in places {
            let share = config(Level::percent(25), ten);
            let resolved = share.clone().resolve(run).unwrap();
            assert_eq!(resolved, config(0.1.into(), ten).resolve(run).unwrap(), "{field}");
            assert!(resolved.to_string().contains("0.1"), "{resolved}");
            // The share is kept in texts and files, and the rate is what is used.
            let text = share.to_string();
            assert!(text.contains("25%"), "{text}");
            assert_eq!(text.parse(), Ok(share.clone()), "{text}");
            assert_eq!(ScheduleConfig::from_toml(&share.to_toml().unwrap()).unwrap(), share);
            assert_eq!(ScheduleConfig::from_json(&share.to_json().unwrap()).unwrap(), share);
            for percent in [-1.0, 100.5, f64::NAN, f64::INFINITY] {
                let error = config(Level::percent(percent), ten).resolve(run).unwrap_err();
                assert_eq!(error.field(), field);
                let found = format!("{percent}% is not allowed; allowed: 0% to 100% of the peak");
                assert!(error.to_string().contains(&found), "{error}");
            }
        }
    }

    #[test]
    fn nothing_is_a_share_only_where_0_is_allowed() {
        let run = RunLength::updates(100);
        let none = Level::percent(0);
        assert_eq!(cosine(0.1).end(none).resolve(run), cosine(0.1).resolve(run));
        let zero: [ScheduleConfig; 5] = [
            cosine(0.1).floor(none).into(),
            cosine(0.1).cap(none).into(),
            one_cycle(0.1).start(none).into(),
            exponential(0.1, Decay::Toward { end: none, length: Span::Rest }).into(),
            stable_decay(0.1, Span::steps(5)).shape(DecayShape::Exponential).end(none).into(),
        ];
        for config in zero {
            let error = config.clone().resolve(run).unwrap_err().to_string();
            assert!(error.contains("above 0"), "{config}: {error}");
        }
    }

    #[test]
    fn a_share_of_nothing_is_refused() {
        let ten = Level::percent(10);
        let warmup = linear(0.0, 1.0).warmup(Span::steps(5)).start(ten);
        for (config, field) in [
            (ScheduleConfig::from(linear(0.0, ten)), "linear.end"),
            (warmup.into(), "warmup.start"),
        ] {
            let error = config.resolve(RunLength::updates(100)).unwrap_err().to_string();
            let expected =
                "10% is not allowed; allowed: a rate: there is no peak to take a share of";
            assert_eq!(error, format!("{field}: {expected}"));
        }
    }

    #[test]
    fn a_rate_above_the_peak_hints_at_a_share() {
        let error = cosine(3e-4).end(0.1).resolve(RunLength::updates(100)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cosine.end: 0.1 is not allowed; allowed: in [0.0, 0.0003], or a share of the peak such as \"10%\""
        );
    }
}

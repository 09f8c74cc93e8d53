//! Any function of the step, with a name.

use super::{Describe, Rate};
use crate::{ScheduleError, scope::Scope};
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// η(t) = the function's value at t, clamped to [0, peak].
///
/// The function must be pure: it must depend on the step alone. Its name identifies it: two custom curves are
/// equal, and have the same fingerprint, if their names and peaks are. Change the name when the code changes.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `name` | | not empty |
/// | `peak` | upper bound of the learning rate | finite, above 0; default 1 |
///
/// The function's values are checked twice. [`resolve`](crate::ScheduleExt::resolve) evaluates it at 1,000
/// updates spread over the run (without an end: the first 1,000) and refuses a value that is not finite,
/// negative, or above the peak. An invalid value at another update is replaced by the nearest rate in [0,
/// peak], and NaN by 0: an update without effect rather than a lost model. After the run ends, the rate of
/// its last update is held; the function is not evaluated beyond it.
///
/// A file cannot hold code. Writing or reading a description that contains a custom curve is an error that
/// says so; as text it is printed, `custom("name")`, but not read. A [`Table`](super::Table) of its values
/// can be written.
///
/// Source: torch `LambdaLR`.
///
/// ```
/// use anneal_schedule::{custom, prelude::*};
/// let config = custom("sawtooth", |step| 1.0 - 0.125 * (step % 8) as f64);
/// let schedule = config.warmup(Span::steps(5)).resolve(RunLength::updates(100))?;
/// assert_eq!([5, 6, 13].map(|step| schedule.rate(step)), [1.0, 0.875, 1.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Custom {
    name: String,
    peak: f64,
    function: Arc<dyn Fn(u64) -> f64 + Send + Sync>,
    /// Whether it is part of a resolved schedule, whose fingerprint hashes its name; a description, in
    /// contrast, may have to be written to a file.
    resolved: bool,
}

/// A [`Custom`] curve: any `function` of the step with rates of at most 1.
pub fn custom(
    name: impl Into<String>,
    function: impl Fn(u64) -> f64 + Send + Sync + 'static,
) -> Custom {
    Custom { name: name.into(), peak: DEFAULT_PEAK, function: Arc::new(function), resolved: false }
}

/// Enough for rates and for factors of rates, and the maximum that Burn's own schedulers allow.
const DEFAULT_PEAK: f64 = 1.0;

/// The number of updates at which the function is probed when it is resolved.
const PROBES: u64 = 1_000;

/// Why a file cannot hold one.
const CODE: &str = "a custom curve is code, which cannot be written to a file or read from one; \
                    use a table of its values, or one of the file's own curves";

impl Custom {
    /// Declares that the function never returns more than `peak`.
    pub fn peak(mut self, peak: f64) -> Self {
        self.peak = peak;
        self
    }

    /// The name that identifies the function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Probes the function at updates spread over the run.
    fn probe(&self, scope: &Scope<'_>) -> Result<(), ScheduleError> {
        let updates = scope.left().unwrap_or(PROBES).max(1);
        let probes = updates.min(PROBES);
        for probe in 0..probes {
            // From the first update to the last; the product is at most 2⁶³ · 1,000, so it needs 128 bits.
            let last = u128::from(updates - 1);
            let step = last * u128::from(probe) / u128::from((probes - 1).max(1));
            let rate = (self.function)(step as u64);
            if !(rate >= 0.0 && rate <= self.peak) {
                let found = format!("{rate:?} at update {step} of {:?}", self.name);
                let allowed =
                    format!("in [0, {:?}]; for higher rates set a higher peak", self.peak);
                return Err(scope.out_of_range("function", found, allowed));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).field("peak", &self.peak).finish()
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.peak == other.peak
    }
}

impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A resolved curve is hashed; the text form is written from a value that nobody reads back.
        if serializer.is_human_readable() && !self.resolved {
            return Err(S::Error::custom(format!("custom({:?}): {CODE}", self.name)));
        }
        let stated = self.peak != DEFAULT_PEAK;
        let mut fields = serializer.serialize_struct("Custom", 1 + usize::from(stated))?;
        fields.serialize_field("name", &self.name)?;
        if stated {
            fields.serialize_field("peak", &self.peak)?;
        }
        fields.end()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Custom {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Custom".into()
    }

    /// No value is valid: a file cannot hold code.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "A file cannot hold code; use a table.", "not": {} })
    }
}

impl<'de> Deserialize<'de> for Custom {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(CODE))
    }
}

impl Describe for Custom {
    type Resolved = Custom;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Custom, ScheduleError> {
        if self.name.is_empty() {
            return Err(scope.out_of_range("name", "\"\"".into(), "a non-empty name"));
        }
        scope.positive("peak", self.peak)?;
        self.probe(scope)?;
        Ok(Custom { resolved: true, ..self.clone() })
    }
}

impl Rate for Custom {
    fn rate(&self, step: u64) -> f64 {
        let rate = (self.function)(step);
        // Adding 0 turns −0 into 0.
        if rate.is_nan() { 0.0 } else { rate.clamp(0.0, self.peak) + 0.0 }
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use crate::curve::{constant, refused, resolved};
    use crate::prelude::*;
    use crate::{Custom, custom};

    fn halves() -> Custom {
        custom("halves", |step| 0.5f64.powi(step.min(1_000) as i32))
    }

    #[test]
    fn follows_the_function_and_holds_its_last_rate() {
        let schedule = resolved(halves(), 4);
        assert_eq!(
            [0, 1, 2, 3, 4, 9].map(|t| schedule.rate(t)),
            [1.0, 0.5, 0.25, 0.125, 0.125, 0.125]
        );
        // A part of a sequence starts at its own step 0.
        let part = resolved(constant(0.1).then(Span::steps(2), halves()), 4);
        assert_eq!([1, 2, 3].map(|t| part.rate(t)), [0.1, 1.0, 0.5]);
    }

    #[test]
    fn what_the_probe_misses_is_clamped() {
        // In a run of 10⁶ updates the probes are about 1,001 updates apart and miss updates 1 to 4.
        let schedule = resolved(
            custom("spikes", |step| match step {
                1 => f64::NAN,
                2 => f64::INFINITY,
                3 => -0.5,
                4 => 7.0,
                _ => -0.0,
            }),
            1_000_000,
        );
        let rates = [0, 1, 2, 3, 4].map(|step| schedule.rate(step));
        assert_eq!(rates, [0.0, 0.0, 1.0, 0.0, 1.0]);
        assert!(rates.iter().all(|rate| rate.is_sign_positive()));
    }

    #[test]
    fn the_name_and_the_peak_are_its_identity() {
        let (one, other) = (custom("a", |_| 0.1), custom("a", |_| 0.2));
        assert_eq!(one, other);
        assert_ne!(one, custom("b", |_| 0.1));
        assert_ne!(one, other.clone().peak(2.0));
        let print = |config: Custom| resolved(config, 10).fingerprint();
        assert_eq!(print(one.clone()), print(other));
        assert_ne!(print(one.clone()), print(custom("b", |_| 0.1)));
        assert_ne!(print(one.clone()), print(one.peak(2.0)));
    }

    #[test]
    fn no_file_holds_code() {
        let config: ScheduleConfig = halves().scale(0.5).warmup(Span::steps(5)).into();
        let reasons = [
            config.to_toml().unwrap_err().to_string(),
            config.to_json().unwrap_err().to_string(),
            serde_json::to_string(&config).unwrap_err().to_string(),
        ];
        for reason in reasons {
            assert!(reason.contains("custom(\"halves\")") && reason.contains("table"), "{reason}");
        }
        for reason in [
            ScheduleConfig::from_toml("[schedule.custom]\nname = \"halves\"\n").unwrap_err(),
            ScheduleConfig::from_json("{\"schedule\": {\"custom\": {\"name\": \"halves\"}}}")
                .unwrap_err(),
        ] {
            let reason = reason.to_string();
            assert!(reason.contains("code") && reason.contains("table"), "{reason}");
        }
    }

    #[test]
    fn the_text_prints_it_and_does_not_read_it() {
        let config: ScheduleConfig = custom("10%", |_| 0.1).peak(2.0).scale(0.5).into();
        assert_eq!(config.to_string(), "custom(\"10%\").peak(2.0).scale(0.5)");
        let schedule = resolved(halves(), 10);
        assert_eq!(schedule.to_string(), "custom(\"halves\"), 10 updates");
        for text in ["custom(\"halves\")", "custom(\"halves\").peak(2.0).warmup(5)", "custom(a)"] {
            let reason = text.parse::<ScheduleConfig>().unwrap_err().to_string();
            assert!(reason.starts_with("column 1: a custom curve is code"), "{reason}");
        }
        let inside = "sum([constant(1.0), custom(\"halves\")])".parse::<ScheduleConfig>();
        assert!(inside.unwrap_err().to_string().starts_with("column 21: a custom curve is code"));
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(custom("", |_| 0.1)), "custom.name");
        for peak in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(custom("a", |_| 0.0).peak(peak)), "custom.peak");
        }
        for wrong in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            assert_eq!(refused(custom("a", move |_| wrong)), "custom.function");
            // Only at the last of the 100 updates, which is always probed.
            let late = custom("a", move |step| if step == 99 { wrong } else { 0.1 });
            assert_eq!(refused(late), "custom.function");
        }
        assert_eq!(refused(custom("a", |_| 1.1)), "custom.function");
        assert_eq!(resolved(custom("a", |_| 1.1).peak(1.1), 10).rate(0), 1.1);
        let endless = custom("a", |step| step as f64).resolve(RunLength::unbounded());
        let error = endless.unwrap_err().to_string();
        assert_eq!(
            error,
            "custom.function: 2.0 at update 2 of \"a\" is not allowed; \
             allowed: in [0, 1.0]; for higher rates set a higher peak"
        );
    }
}

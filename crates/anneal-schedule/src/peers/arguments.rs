//! Reads a scheduler's arguments by name.

use super::PeerError;
use crate::suggest;
use serde_json::{Map, Value};
use std::cell::RefCell;

/// The arguments of one scheduler. Each is read once, by name; the remaining ones are unknown.
#[derive(Debug)]
pub struct Arguments<'a> {
    scheduler: &'a str,
    given: &'a Map<String, Value>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Arguments<'a> {
    /// Reads the arguments of `scheduler` with `read`, and refuses any that it did not ask for.
    pub fn read<T>(
        scheduler: &'a str,
        arguments: &'a Value,
        read: impl FnOnce(&Self) -> Result<T, PeerError>,
    ) -> Result<T, PeerError> {
        let given = arguments.as_object().ok_or_else(|| PeerError::NoObject {
            name: scheduler.to_string(),
            found: arguments.to_string(),
        })?;
        let arguments = Self { scheduler, given, known: RefCell::new(vec![]) };
        let result = read(&arguments);
        let known = arguments.known.into_inner();
        // A mistyped name explains a missing one better than the reverse; but if reading stopped early, an
        // argument may be unknown only because it was not reached.
        let complete =
            !matches!(&result, Err(error) if !matches!(error, PeerError::Missing { .. }));
        let unknown = given.keys().find(|name| !known.contains(&name.as_str()));
        match unknown.filter(|_| complete) {
            Some(unknown) if result.is_ok() || is_near(unknown, &known) => {
                Err(PeerError::UnknownArgument {
                    name: scheduler.to_string(),
                    argument: unknown.clone(),
                    near: suggest::nearest(unknown, known.iter().copied()),
                    // If one is missing, those after it were not read.
                    known: match result {
                        Ok(_) => format!("; known: {}", known.join(", ")),
                        Err(_) => String::new(),
                    },
                })
            }
            _ => result,
        }
    }

    /// Reads the settings of `name` with `read`. Returns its result, the settings it did not ask for, and the names
    /// that it asked for.
    pub fn read_some<T, E: From<PeerError>>(
        name: &'a str,
        settings: &'a Value,
        read: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<(T, Vec<&'a str>, Vec<&'static str>), E> {
        let given = settings.as_object().ok_or_else(|| PeerError::NoObject {
            name: name.to_string(),
            found: settings.to_string(),
        })?;
        let arguments = Self { scheduler: name, given, known: RefCell::new(vec![]) };
        let result = read(&arguments)?;
        let known = arguments.known.into_inner();
        let unread = given.keys().map(String::as_str).filter(|key| !known.contains(key));
        Ok((result, unread.collect(), known))
    }

    /// The scheduler's name.
    pub fn scheduler(&self) -> &str {
        self.scheduler
    }

    /// The value of an argument; `None` if it is omitted or null.
    pub fn value(&self, argument: &'static str) -> Option<&'a Value> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&argument) {
            known.push(argument);
        }
        self.given.get(argument).filter(|value| !value.is_null())
    }

    /// Accepts an argument that does not affect the rates of a fresh run, for example `verbose`.
    pub fn ignore(&self, argument: &'static str) {
        self.value(argument);
    }

    /// Refuses an argument if it is given, with what is `allowed` instead.
    pub fn refuse(&self, argument: &'static str, allowed: &str) -> Result<(), PeerError> {
        self.value(argument).map_or(Ok(()), |value| Err(self.wrong(argument, value, allowed)))
    }

    /// A finite number, or `None` if omitted.
    pub fn optional_number(&self, argument: &'static str) -> Result<Option<f64>, PeerError> {
        self.value(argument).map(|value| self.as_number(argument, value)).transpose()
    }

    /// A finite number.
    pub fn number(&self, argument: &'static str) -> Result<f64, PeerError> {
        self.optional_number(argument)?.ok_or_else(|| self.missing(argument, "a number"))
    }

    /// A finite number with a default.
    pub fn number_or(&self, argument: &'static str, default: f64) -> Result<f64, PeerError> {
        Ok(self.optional_number(argument)?.unwrap_or(default))
    }

    /// A count, or `None` if omitted.
    pub fn optional_count(&self, argument: &'static str) -> Result<Option<u64>, PeerError> {
        self.value(argument).map(|value| self.as_count(argument, value)).transpose()
    }

    /// A count: a whole number, at least 0.
    pub fn count(&self, argument: &'static str) -> Result<u64, PeerError> {
        self.optional_count(argument)?.ok_or_else(|| self.missing(argument, COUNT))
    }

    /// A count with a default.
    pub fn count_or(&self, argument: &'static str, default: u64) -> Result<u64, PeerError> {
        Ok(self.optional_count(argument)?.unwrap_or(default))
    }

    /// True or false, with a default.
    pub fn flag_or(&self, argument: &'static str, default: bool) -> Result<bool, PeerError> {
        self.value(argument).map_or(Ok(default), |value| {
            value.as_bool().ok_or_else(|| self.wrong(argument, value, "true or false"))
        })
    }

    /// A text, or `None` if omitted.
    pub fn optional_text(&self, argument: &'static str) -> Result<Option<&'a str>, PeerError> {
        let text =
            |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(argument, value, "a text"));
        self.value(argument).map(text).transpose()
    }

    /// One of several words; the first is the default.
    pub fn choice(
        &self,
        argument: &'static str,
        words: &[&'static str],
    ) -> Result<&'static str, PeerError> {
        let Some(value) = self.value(argument) else { return Ok(words[0]) };
        let found = words.iter().find(|&&word| value.as_str() == Some(word));
        found.copied().ok_or_else(|| self.wrong(argument, value, &words.join(", ")))
    }

    /// A list, or `None` if omitted.
    pub fn list(&self, argument: &'static str) -> Result<Option<&'a [Value]>, PeerError> {
        let list = |value: &'a Value| {
            value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(argument, value, "a list"))
        };
        self.value(argument).map(list).transpose()
    }

    /// A list of finite numbers.
    pub fn numbers(&self, argument: &'static str) -> Result<Vec<f64>, PeerError> {
        let list =
            self.list(argument)?.ok_or_else(|| self.missing(argument, "a list of numbers"))?;
        list.iter().map(|value| self.as_number(argument, value)).collect()
    }

    /// A list of counts.
    pub fn counts(&self, argument: &'static str) -> Result<Vec<u64>, PeerError> {
        let list =
            self.list(argument)?.ok_or_else(|| self.missing(argument, "a list of counts"))?;
        list.iter().map(|value| self.as_count(argument, value)).collect()
    }

    /// A rate: a finite number, at least 0.
    pub fn rate(&self, argument: &'static str) -> Result<f64, PeerError> {
        let rate = self.number(argument)?;
        self.require(argument, rate, rate >= 0.0, "a rate, at least 0")
    }

    /// A finite number, at least 0.
    pub fn not_negative(&self, argument: &'static str) -> Result<f64, PeerError> {
        let number = self.number(argument)?;
        self.require(argument, number, number >= 0.0, "a number, at least 0")
    }

    /// A finite number, at least 0, with a default.
    pub fn not_negative_or(&self, argument: &'static str, default: f64) -> Result<f64, PeerError> {
        let number = self.number_or(argument, default)?;
        self.require(argument, number, number >= 0.0, "a number, at least 0")
    }

    /// A length in updates: a whole number, at least 1.
    pub fn length(&self, argument: &'static str) -> Result<u64, PeerError> {
        let length = self.count(argument)?;
        self.require(argument, length, length > 0, "a whole number, at least 1")
    }

    /// A whole number, possibly negative.
    pub fn whole(&self, argument: &'static str) -> Result<i64, PeerError> {
        let value = self.value(argument).ok_or_else(|| self.missing(argument, "a whole number"))?;
        self.as_whole(argument, value)
    }

    /// A whole number, possibly negative, with a default.
    pub fn whole_or(&self, argument: &'static str, default: i64) -> Result<i64, PeerError> {
        self.value(argument).map_or(Ok(default), |value| self.as_whole(argument, value))
    }

    fn as_whole(&self, argument: &str, value: &Value) -> Result<i64, PeerError> {
        let whole = |number: &f64| number.fract() == 0.0 && number.abs() < 9.0e15;
        value
            .as_i64()
            .or_else(|| value.as_f64().filter(whole).map(|number| number as i64))
            .ok_or_else(|| self.wrong(argument, value, "a whole number"))
    }

    /// A list of whole numbers, possibly negative.
    pub fn whole_numbers(&self, argument: &'static str) -> Result<Vec<i64>, PeerError> {
        let missing = || self.missing(argument, "a list of whole numbers");
        let list = self.list(argument)?.ok_or_else(missing)?;
        list.iter().map(|value| self.as_whole(argument, value)).collect()
    }

    fn as_number(&self, argument: &str, value: &Value) -> Result<f64, PeerError> {
        let number = value.as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(argument, value, "a finite number"))
    }

    /// Accepts a float without a fraction, which is common in Python code.
    fn as_count(&self, argument: &str, value: &Value) -> Result<u64, PeerError> {
        let whole = |number: &f64| number.fract() == 0.0 && (0.0..9.0e15).contains(number);
        value
            .as_u64()
            .or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
            .ok_or_else(|| self.wrong(argument, value, COUNT))
    }

    /// Returns `value` if `ok`, else an error with what is `allowed`.
    pub fn require<T: std::fmt::Debug>(
        &self,
        argument: &str,
        value: T,
        ok: bool,
        allowed: &str,
    ) -> Result<T, PeerError> {
        if ok { Ok(value) } else { Err(self.wrong(argument, format!("{value:?}"), allowed)) }
    }

    /// The error for an omitted argument.
    pub fn missing(&self, argument: &'static str, allowed: &str) -> PeerError {
        let (name, allowed) = (self.scheduler.to_string(), allowed.to_string());
        PeerError::Missing { name, argument, allowed }
    }

    /// The error for an argument of the wrong kind or out of range.
    pub fn wrong(&self, argument: &str, value: impl ToString, allowed: &str) -> PeerError {
        PeerError::Argument {
            name: self.scheduler.to_string(),
            argument: argument.to_string(),
            value: value.to_string(),
            allowed: allowed.to_string(),
        }
    }
}

const COUNT: &str = "a whole number, at least 0";

fn is_near(unknown: &str, known: &[&str]) -> bool {
    !suggest::nearest(unknown, known.iter().copied()).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(arguments: Value) -> Result<(u64, f64, &'static str), String> {
        Arguments::read("StepLR", &arguments, |arguments| {
            arguments.ignore("verbose");
            Ok((
                arguments.count("step_size")?,
                arguments.number_or("gamma", 0.1)?,
                arguments.choice("mode", &["min", "max"])?,
            ))
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_and_whole_floats_are_read() {
        assert_eq!(read(json!({ "step_size": 3.0 })), Ok((3, 0.1, "min")));
        let all = json!({ "step_size": 3, "gamma": 1, "mode": "max", "verbose": true });
        assert_eq!(read(all), Ok((3, 1.0, "max")));
        assert_eq!(read(json!({ "step_size": 3, "gamma": null })), Ok((3, 0.1, "min")));
    }

    #[test]
    fn each_mistake_is_named() {
        for (arguments, message) in [
            (json!([1]), "must be a JSON object"),
            (json!({}), "`step_size` is missing; it must be a whole number"),
            (json!({ "stepsize": 3 }), "no argument `stepsize`; did you mean `step_size`?"),
            (json!({ "step_size": 3, "x": 1 }), "no argument `x`; known: verbose, step_size"),
            (json!({ "step_size": -3 }), "`step_size` = -3 is not allowed; allowed: a whole"),
            (json!({ "step_size": 3.5 }), "`step_size` = 3.5 is not allowed"),
            (json!({ "step_size": 3, "gamma": "x" }), "`gamma` = \"x\" is not allowed"),
            (json!({ "step_size": 3, "mode": "mix" }), "allowed: min, max"),
        ] {
            let error = read(arguments.clone()).unwrap_err();
            assert!(error.contains(message), "{arguments}: {error}");
        }
    }
}

//! A scheduler as the call that makes it: `StepLR(optimizer, step_size=30)`.

use super::TranslationError;
use super::input::number;
use serde_json::{Map, Value, json};

/// The positional arguments of functions and classes, in order.
const POSITIONAL: &[(&str, &[&str])] = &[
    ("StepLR", &["optimizer", "step_size", "gamma"]),
    ("MultiStepLR", &["optimizer", "milestones", "gamma"]),
    ("ExponentialLR", &["optimizer", "gamma"]),
    ("ConstantLR", &["optimizer", "factor", "total_iters"]),
    ("LinearLR", &["optimizer", "start_factor", "end_factor", "total_iters"]),
    ("PolynomialLR", &["optimizer", "total_iters", "power"]),
    ("CosineAnnealingLR", &["optimizer", "T_max", "eta_min"]),
    ("CosineAnnealingWarmRestarts", &["optimizer", "T_0", "T_mult", "eta_min"]),
    ("CyclicLR", &["optimizer", "base_lr", "max_lr", "step_size_up", "step_size_down"]),
    (
        "OneCycleLR",
        &["optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch", "pct_start"],
    ),
    ("ReduceLROnPlateau", &["optimizer", "mode", "factor", "patience", "threshold"]),
    ("SWALR", &["optimizer", "swa_lr", "anneal_epochs", "anneal_strategy"]),
    ("SequentialLR", &["optimizer", "schedulers", "milestones"]),
    ("ChainedScheduler", &["schedulers", "optimizer"]),
    ("constant_schedule", &["value"]),
    ("linear_schedule", &["init_value", "end_value", "transition_steps", "transition_begin"]),
    ("polynomial_schedule", &["init_value", "end_value", "power", "transition_steps"]),
    (
        "exponential_decay",
        &["init_value", "transition_steps", "decay_rate", "transition_begin", "staircase"],
    ),
    ("cosine_decay_schedule", &["init_value", "decay_steps", "alpha", "exponent"]),
    (
        "warmup_cosine_decay_schedule",
        &["init_value", "peak_value", "warmup_steps", "decay_steps", "end_value"],
    ),
    ("warmup_constant_schedule", &["init_value", "peak_value", "warmup_steps"]),
    ("piecewise_constant_schedule", &["init_value", "boundaries_and_scales"]),
    ("join_schedules", &["schedules", "boundaries"]),
    (
        "CosineDecay",
        &["initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps"],
    ),
    ("ExponentialDecay", &["initial_learning_rate", "decay_steps", "decay_rate", "staircase"]),
    ("InverseTimeDecay", &["initial_learning_rate", "decay_steps", "decay_rate", "staircase"]),
    ("PiecewiseConstantDecay", &["boundaries", "values"]),
    (
        "PolynomialDecay",
        &["initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle"],
    ),
    (
        BY_NAME,
        &[
            "name",
            "optimizer",
            "num_warmup_steps",
            "num_training_steps",
            "scheduler_specific_kwargs",
        ],
    ),
    ("TrainingArguments", &["output_dir"]),
    ("fit_one_cycle", &["n_epoch", "lr_max", "div", "div_final", "pct_start", "wd", "moms"]),
    ("fit_flat_cos", &["n_epoch", "lr", "div_final", "pct_start", "wd"]),
    ("fit_sgdr", &["n_cycles", "cycle_len", "lr_max", "cycle_mult", "cbs", "reset_opt", "wd"]),
    ("fine_tune", &["epochs", "base_lr", "freeze_epochs", "lr_mult", "pct_start", "div"]),
];

/// transformers' function that takes the name of a scheduler.
const BY_NAME: &str = "get_scheduler";

/// Of transformers' other functions, all begin alike.
const TRANSFORMERS: &[&str] =
    &["optimizer", "num_warmup_steps", "num_training_steps", "num_cycles"];

/// Arguments that are objects, which say nothing about the rate.
const OBJECTS: &[&str] = &["optimizer", "cbs"];

/// Reads a call as `{"name": …, "args": {…}}`; `None` if the text is none.
pub(super) fn read(text: &str) -> Result<Option<Value>, TranslationError> {
    let text = text.trim();
    let name =
        text.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ' '));
    if !name.starts_with('(') || !text.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Ok(None);
    }
    let mut reader = Reader { text, at: 0, variable: None };
    let read = reader.value().and_then(|value| match reader.rest().trim() {
        "" => Ok(value),
        _ => Err(reader.expected("the end")),
    });
    let syntax = |error| TranslationError::Syntax { format: "a call", error, hint: "" };
    read.map(Some).map_err(syntax)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The variable that was read last, as null, until someone allows it.
    variable: Option<&'a str>,
}

/// What is expected in place of an argument without a name.
fn by_name(call: &str, has_more: bool) -> String {
    let near = match POSITIONAL.iter().any(|known| known.0 == call) && has_more {
        true => String::new(),
        false => {
            let schedulers = POSITIONAL.iter().map(|known| known.0).filter(|name| *name != BY_NAME);
            super::report::nearest(call, schedulers)
        }
    };
    format!("the arguments of {call} by name{near}")
}

/// Nested values deeper than this are refused.
const DEEPEST: usize = 32;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn expected(&self, what: &str) -> String {
        let column = self.text[..self.at].chars().count() + 1;
        format!(
            "column {column}: expected {what}; write numbers, texts, lists and names, without arithmetic"
        )
    }

    /// Takes `sign` if it comes next.
    fn takes(&mut self, sign: char) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len_utf8() } else { 0 };
        found
    }

    fn value(&mut self) -> Result<Value, String> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(self.expected(&format!("at most {DEEPEST} nested values")));
        }
        self.skip_spaces();
        let Some(first) = self.rest().chars().next() else { return Err(self.expected("a value")) };
        match first {
            '[' => self.list('[', ']', depth),
            '(' => self.list('(', ')', depth),
            '{' => self.table(depth),
            '"' | '\'' => self.quoted(first),
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            c if c.is_alphabetic() || c == '_' => self.named(depth),
            _ => Err(self.expected("a value")),
        }
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Result<Value, String> {
        self.takes(open);
        let mut items = vec![];
        while !self.takes(close) {
            items.push(self.nested(depth + 1)?);
            self.no_variable("an item of a list")?;
            if !self.takes(',') && !self.rest().trim_start().starts_with(close) {
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
        Ok(items.into())
    }

    fn table(&mut self, depth: usize) -> Result<Value, String> {
        self.takes('{');
        let mut entries = Map::new();
        while !self.takes('}') {
            let key = match self.nested(depth + 1)? {
                Value::String(key) => key,
                key => key.to_string(),
            };
            if !self.takes(':') {
                return Err(self.expected("`:`"));
            }
            let value = self.nested(depth + 1)?;
            self.no_variable(&format!("`{key}`"))?;
            if entries.insert(key.clone(), value).is_some() {
                return Err(format!("`{key}` is given twice"));
            }
            if !self.takes(',') && !self.rest().trim_start().starts_with('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
        Ok(entries.into())
    }

    fn quoted(&mut self, quote: char) -> Result<Value, String> {
        let inside = &self.rest()[1..];
        let end = inside.find(quote).ok_or_else(|| self.expected(&format!("a closing {quote}")))?;
        self.at += end + 2;
        Ok(inside[..end].into())
    }

    fn number(&mut self) -> Result<Value, String> {
        let is_part = |(i, c): &(usize, char)| {
            let after_exponent = *i > 0 && self.rest()[..*i].ends_with(['e', 'E']);
            c.is_ascii_digit()
                || matches!(c, '.' | '_' | 'e' | 'E')
                || matches!(c, '-' | '+') && (*i == 0 || after_exponent)
        };
        let length = self.rest().char_indices().take_while(is_part).count();
        let digits = self.rest()[..length].replace('_', "");
        let value = number(&digits).map(Value::Number).ok_or_else(|| self.expected("a number"))?;
        self.at += length;
        Ok(value)
    }

    /// A constant, a call, or the name of an object, which is null.
    fn named(&mut self, depth: usize) -> Result<Value, String> {
        let length = self.rest().find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')));
        let path = &self.rest()[..length.unwrap_or(self.rest().len())];
        if path == "lambda" {
            let column = self.text[..self.at].chars().count() + 1;
            return Err(format!(
                "column {column}: a lambda is code; write the function as a schedule of your own"
            ));
        }
        self.at += path.len();
        let name = path.rsplit('.').next().unwrap_or(path);
        if self.takes('(') {
            return self.call(name, depth);
        }
        Ok(match name {
            "True" => true.into(),
            "False" => false.into(),
            "None" => Value::Null,
            name if path.contains("SchedulerType.") => name.to_lowercase().into(),
            _ => {
                self.variable = Some(path);
                Value::Null
            }
        })
    }

    /// Refuses a variable, whose value is unknown.
    fn no_variable(&mut self, place: &str) -> Result<(), String> {
        match self.variable.take() {
            Some(variable) => Err(format!("{place} is the variable {variable}: write its value")),
            None => Ok(()),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Value, String> {
        let positional =
            POSITIONAL.iter().find(|known| known.0 == name).map_or(&[][..], |known| known.1);
        let of_transformers = name.starts_with("get_") && name != BY_NAME;
        let positional = if of_transformers { TRANSFORMERS } else { positional };
        let (mut arguments, mut count, mut plain) = (Map::new(), 0, vec![]);
        while !self.takes(')') {
            let key = self.key();
            let value = self.nested(depth + 1)?;
            let key = match key {
                Some(key) => Some(key),
                None => {
                    plain.push(value.clone());
                    count += 1;
                    positional.get(count - 1).copied()
                }
            };
            match key {
                Some(key) if !OBJECTS.contains(&key) => self.no_variable(&format!("`{key}`"))?,
                _ => self.variable = None,
            }
            match key {
                Some(key) if arguments.contains_key(key) => {
                    return Err(format!("`{key}` is given twice"));
                }
                Some(key) => drop(arguments.insert(key.to_string(), value)),
                // An object, such as the optimizer.
                None if value.is_null() || name == "slice" => {}
                None => return Err(self.expected(&by_name(name, count > positional.len()))),
            }
            if !self.takes(',') && !self.rest().trim_start().starts_with(')') {
                return Err(self.expected("`,` or `)`"));
            }
        }
        arguments.retain(|_, value| !value.is_null());
        match name {
            "slice" => Ok(json!({ "slice": plain })),
            BY_NAME => chosen(arguments),
            _ => Ok(json!({ "name": name, "args": arguments })),
        }
    }

    /// The name of an argument, if one comes next.
    fn key(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
        let after = rest[length..].trim_start();
        let is_key = length > 0 && after.starts_with('=') && !after.starts_with("==");
        is_key.then(|| {
            self.at += rest.len() - after.len() + 1;
            &rest[..length]
        })
    }
}

/// The scheduler that `get_scheduler` is asked for.
fn chosen(mut arguments: Map<String, Value>) -> Result<Value, String> {
    let Some(Value::String(name)) = arguments.remove("name") else {
        return Err(format!("{BY_NAME} needs the name of a scheduler, such as \"cosine\""));
    };
    if let Some(Value::Object(more)) = arguments.remove("scheduler_specific_kwargs") {
        for (key, value) in more {
            if arguments.insert(key.clone(), value).is_some() {
                return Err(format!("`{key}` is given twice"));
            }
        }
    }
    Ok(json!({ "name": name, "args": arguments }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_names_and_arguments() {
        for (text, expected) in [
            (
                "StepLR(optimizer, 30, gamma=0.1)",
                json!({ "name": "StepLR", "args": { "step_size": 30, "gamma": 0.1 } }),
            ),
            (
                "learn.fit_one_cycle(5, slice(1e-5, 1e-3), wd=None, moms=(0.95, 0.85, 0.95))",
                json!({ "name": "fit_one_cycle", "args": { "n_epoch": 5, "lr_max": { "slice": [1e-5, 1e-3] }, "moms": [0.95, 0.85, 0.95] } }),
            ),
            (
                "SequentialLR(opt, schedulers=[LinearLR(opt, total_iters=5), ExponentialLR(opt, 0.9)], milestones=[5])",
                json!({ "name": "SequentialLR", "args": {
                    "schedulers": [{ "name": "LinearLR", "args": { "total_iters": 5 } }, { "name": "ExponentialLR", "args": { "gamma": 0.9 } }],
                    "milestones": [5],
                } }),
            ),
            (
                "get_scheduler('cosine', optimizer, 10, 100, scheduler_specific_kwargs={'num_cycles': 2})",
                json!({ "name": "cosine", "args": { "num_warmup_steps": 10, "num_training_steps": 100, "num_cycles": 2 } }),
            ),
            (
                "get_scheduler(name=SchedulerType.COSINE, optimizer=optimizer, num_warmup_steps=10)",
                json!({ "name": "cosine", "args": { "num_warmup_steps": 10 } }),
            ),
            (
                "optax.piecewise_constant_schedule(0.1, {100: 0.5, 2_000: -1e-1})",
                json!({ "name": "piecewise_constant_schedule", "args": { "init_value": 0.1, "boundaries_and_scales": { "100": 0.5, "2000": -0.1 } } }),
            ),
        ] {
            assert_eq!(read(text).unwrap(), Some(expected), "{text}");
        }
        for text in ["", "{\"a\": 1}", "StepLR", "--sched cosine", "[1]"] {
            assert_eq!(read(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_value_is_named_with_its_column() {
        for (text, words) in [
            ("StepLR(step_size=3*10)", "column 19: expected `,` or `)`"),
            ("StepLR(step_size=", "expected a value"),
            ("StepLR(step_size=3", "expected `,` or `)`"),
            ("StepLR(step_size=3, step_size=4)", "`step_size` is given twice"),
            ("StepLR(step_size=3) + 1", "expected the end"),
            ("Unknown(3)", "the arguments of Unknown by name; write"),
            (
                "CosineAnnealingWarmRestart(o, 10)",
                "by name; did you mean `CosineAnnealingWarmRestarts`?",
            ),
            ("cosine_decay(0.1, 100)", "did you mean `cosine_decay_schedule`?"),
            ("learn.fit_onecycle(3)", "did you mean `fit_one_cycle`?"),
            ("StepLR(mode='min)", "a closing '"),
            ("LambdaLR(o, lambda e: 0.95 ** e)", "column 13: a lambda is code; write the function"),
            ("optax.sgdr_schedule([1])", "the arguments of sgdr_schedule by name; write"),
            (
                "StepLR(optimizer, 30, gamma=cfg.gamma)",
                "`gamma` is the variable cfg.gamma: write its",
            ),
            ("StepLR(optimizer, STEP)", "`step_size` is the variable STEP: write its value"),
            ("SequentialLR(o, [warmup, cosine], [5])", "an item of a list is the variable warmup"),
            ("piecewise_constant_schedule(0.1, {100: x})", "`100` is the variable x"),
            ("get_scheduler(optimizer=o)", "get_scheduler needs the name of a scheduler"),
            (
                "get_scheduler('cosine', o, 5, scheduler_specific_kwargs={'num_warmup_steps': 6})",
                "`num_warmup_steps` is given twice",
            ),
            (&format!("a({}", "[".repeat(1_000)), "nested"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

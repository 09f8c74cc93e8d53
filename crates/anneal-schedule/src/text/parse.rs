//! Parses a text into a description.

use super::forms::{self, PAIRS};
use super::{Fields, PARTS, SCHEDULE, SCHEDULES, TextError, alone, field, node, read};
use crate::catalogue::{Kind, catalogue};
use crate::{MAX_DEPTH, ScheduleConfig, Span, names, span, suggest};
use ciborium::Value;

/// The maximum nesting of lists; no field needs more than two.
const MAX_LISTS: usize = 4;

pub(super) fn parse(text: &str) -> Result<ScheduleConfig, TextError> {
    let (value, start) = value_and_start(text)?;
    read(&value).map_err(|error| {
        let parser = Parser { text, at: 0, depth: 0 };
        parser.error(start, &suggest::improve(&error.to_string()))
    })
}

/// The value of the text, in serde's data model.
pub(super) fn value(text: &str) -> Result<Value, TextError> {
    value_and_start(text).map(|found| found.0)
}

/// The value of a text, and the byte offset at which its outermost call starts.
fn value_and_start(text: &str) -> Result<(Value, usize), TextError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let draft = parser.schedule()?;
    parser.skip_spaces();
    if parser.at < text.len() {
        return Err(parser.error(parser.at, "expected `.` and a call, or the end of the text"));
    }
    let start = draft.start;
    Ok((parser.finish(draft)?, start))
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of the next character.
    at: usize,
    /// Number of schedules and lists that enclose the parser's position.
    depth: usize,
}

/// A curve or combinator whose fields are not complete yet.
struct Draft {
    name: String,
    fields: Fields,
    /// The byte offset of its name.
    start: usize,
    /// Nesting depth of the schedules inside it.
    height: usize,
}

/// The value of a field, and the nesting depth of the schedules inside it.
struct Argument {
    name: Option<String>,
    value: Value,
    height: usize,
    start: usize,
}

impl Parser<'_> {
    /// `name(…).name(…)…`
    fn schedule(&mut self) -> Result<Draft, TextError> {
        let (start, name) = self.name("a curve, such as cosine(0.1)")?;
        self.nested(start, MAX_DEPTH)?;
        let mut draft = self.function(start, name)?;
        while self.take('.') {
            let (start, name) = self.name("a builder call, such as warmup(5%)")?;
            draft = self.call(draft, start, name)?;
            if draft.height > MAX_DEPTH {
                return Err(self.too_deep(start));
            }
        }
        self.depth -= 1;
        Ok(draft)
    }

    fn nested(&mut self, start: usize, most: usize) -> Result<(), TextError> {
        self.depth += 1;
        if self.depth > most + 1 { Err(self.too_deep(start)) } else { Ok(()) }
    }

    fn too_deep(&self, start: usize) -> TextError {
        self.error(start, &format!("nested too deep; allowed: at most {MAX_DEPTH} levels"))
    }

    /// The first call of a chain.
    fn function(&mut self, start: usize, name: String) -> Result<Draft, TextError> {
        let Some(positional) = forms::function(&name) else {
            return Err(self.error(start, &unknown_curve(&name)));
        };
        let (fields, height) = self.fields(&name, &positional)?;
        let fields =
            forms::completed(&name, fields).map_err(|message| self.error(start, &message))?;
        let draft = Draft { name, fields, start, height };
        match draft.name.as_str() {
            "linear" => Ok(Draft { name: "polynomial".into(), ..draft }),
            "warmup_stable_decay" | "wsd" => self.warmup_stable_decay(draft),
            _ => Ok(draft),
        }
    }

    /// `stable_decay(peak, decay).warmup(warmup)`
    fn warmup_stable_decay(&self, draft: Draft) -> Result<Draft, TextError> {
        let (length, fields) = forms::without_warmup(&draft.fields);
        let Some(length) = length else {
            let message = format!("missing field `warmup`; {}", forms::takes(&draft.name));
            return Err(self.error(draft.start, &message));
        };
        let inner = Draft { name: "stable_decay".into(), fields, ..draft };
        let mut fields: Fields = vec![("length".into(), length)];
        let (start, height) = (inner.start, inner.height + 1);
        fields.push((SCHEDULE.into(), self.finish(inner)?));
        Ok(Draft { name: "warmup".into(), fields, start, height })
    }

    /// A later call of a chain: a combinator around the schedule so far, or one of its fields.
    fn call(&mut self, inner: Draft, start: usize, name: String) -> Result<Draft, TextError> {
        if PAIRS.contains(&name.as_str()) {
            return self.pair(inner, start, &name);
        }
        if let Some((table, positional)) = forms::method(&name) {
            let (mut fields, height) = self.fields(&name, &positional)?;
            let height = height.max(inner.height) + 1;
            fields.push((SCHEDULE.into(), self.finish(inner)?));
            return Ok(Draft { name: table.into(), fields, start, height });
        }
        let Draft { fields, .. } = &inner;
        if field(fields, &name).is_some() {
            return Err(self.error(start, &format!("`{name}` is given twice")));
        }
        let mut arguments = self.arguments()?;
        let value = match (arguments.pop(), arguments.is_empty()) {
            (None, _) => Value::Bool(true),
            (Some(Argument { name: None, value, height: 0, .. }), true) => value,
            _ => return Err(self.error(start, &format!("`{name}` takes one value"))),
        };
        let mut draft = inner;
        draft.fields.push((name.as_str().into(), value));
        // Checked at once, so that an unknown field is reported at its own column.
        self.check(&draft, start, &name)?;
        Ok(draft)
    }

    /// `.then(length, next)`, `.times(other)`, `.plus(other)`
    fn pair(&mut self, inner: Draft, start: usize, name: &str) -> Result<Draft, TextError> {
        let arguments = self.arguments()?;
        let takes = if name == "then" { "a length and a schedule" } else { "a schedule" };
        let wrong = || self.error(start, &format!("`{name}` takes {takes}"));
        let mut arguments = arguments.into_iter();
        let length = if name == "then" {
            let length = arguments.next().filter(|length| length.height == 0);
            Some(length.ok_or_else(wrong)?.value)
        } else {
            None
        };
        let next = arguments.next().filter(|next| next.height > 0).ok_or_else(wrong)?;
        if arguments.next().is_some() {
            return Err(wrong());
        }
        let height = next.height.max(inner.height) + 1;
        match length {
            Some(length) => self.then(inner, length, next.value, start),
            None => {
                let name = if name == "times" { "product" } else { "sum" };
                let mut all = match field(&inner.fields, SCHEDULES) {
                    // Adds a factor or summand.
                    Some(Value::Array(all)) if inner.name == name => all.clone(),
                    _ => vec![self.finish(inner)?],
                };
                all.push(next.value);
                let fields = vec![(SCHEDULES.into(), Value::Array(all))];
                Ok(Draft { name: name.into(), fields, start, height })
            }
        }
        .map(|draft| Draft { height: draft.height.max(height), ..draft })
    }

    /// Ends the last part of a sequence after `length`, and continues with `next`.
    fn then(
        &self,
        inner: Draft,
        length: Value,
        next: Value,
        start: usize,
    ) -> Result<Draft, TextError> {
        let part = |length: Value, schedule: Value| {
            Value::Map(vec![("length".into(), length), (SCHEDULE.into(), schedule)])
        };
        let (mut parts, height) = match (inner.name.as_str(), field(&inner.fields, PARTS)) {
            ("sequence", Some(Value::Array(parts))) => (parts.clone(), inner.height),
            _ => {
                let height = inner.height + 1;
                (vec![part("rest".into(), self.finish(inner)?)], height)
            }
        };
        if let Some(Value::Map(last)) = parts.last_mut() {
            last[0].1 = length;
        }
        parts.push(part("rest".into(), next));
        let fields = vec![(PARTS.into(), Value::Array(parts))];
        Ok(Draft { name: "sequence".into(), fields, start, height })
    }

    /// The arguments of a call as fields: by position or by name.
    fn fields(&mut self, call: &str, positional: &[&str]) -> Result<(Fields, usize), TextError> {
        let (mut fields, mut height): (Fields, usize) = (vec![], 0);
        for (place, argument) in self.arguments()?.into_iter().enumerate() {
            let name = match argument.name.as_deref() {
                Some(name) => name,
                None => forms::place(call, positional, place, &argument.value)
                    .map_err(|message| self.error(argument.start, &message))?,
            };
            if field(&fields, name).is_some() {
                return Err(self.error(argument.start, &format!("`{name}` is given twice")));
            }
            height = height.max(argument.height);
            fields.push((name.into(), argument.value));
        }
        let schedules = matches!(call, "sequence") || positional == [SCHEDULES];
        Ok((fields, height.max(usize::from(schedules)) + 1))
    }

    /// `(value, name = value, …)`
    fn arguments(&mut self) -> Result<Vec<Argument>, TextError> {
        self.expect('(')?;
        self.items(')', |parser| {
            parser.skip_spaces();
            let start = parser.at;
            let word = parser.word();
            let name = if word.is_some() && parser.take('=') {
                word
            } else {
                parser.at = start;
                None
            };
            let (value, height) = parser.value()?;
            Ok(Argument { name, value, height, start })
        })
    }

    /// Comma-separated items, up to the closing bracket.
    fn items<T>(
        &mut self,
        close: char,
        item: impl Fn(&mut Self) -> Result<T, TextError>,
    ) -> Result<Vec<T>, TextError> {
        let mut items = vec![];
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(close) {
                return Ok(items);
            }
            if !self.take(',') {
                let is_number =
                    self.text[self.at..].starts_with(|c: char| c == '+' || c.is_ascii_digit());
                let hint = if is_number { "; a length has one unit" } else { "" };
                return Err(self.error(self.at, &format!("expected `,` or `{close}`{hint}")));
            }
        }
    }

    /// A number, a length, a word, a text, a list, a part of a sequence, a choice or a schedule.
    fn value(&mut self) -> Result<(Value, usize), TextError> {
        self.skip_spaces();
        let start = self.at;
        match self.rest().chars().next() {
            Some('[') => self.list(start),
            Some('(') => self.part(),
            Some('"') => Ok((self.quoted()?.into(), 0)),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => Ok((self.number()?, 0)),
            Some(c) if c.is_ascii_alphabetic() => self.word_or_call(start),
            _ => Err(self.error(start, "expected a value")),
        }
    }

    fn list(&mut self, start: usize) -> Result<(Value, usize), TextError> {
        self.nested(start, MAX_DEPTH + MAX_LISTS)?;
        self.expect('[')?;
        let items = self.items(']', Self::value)?;
        self.depth -= 1;
        let height = items.iter().map(|item| item.1).max().unwrap_or(0);
        Ok((Value::Array(items.into_iter().map(|item| item.0).collect()), height))
    }

    /// `(length, schedule)`
    fn part(&mut self) -> Result<(Value, usize), TextError> {
        let start = self.at;
        let arguments: Result<[Argument; 2], _> = self.arguments()?.try_into();
        match arguments {
            Ok([length, schedule]) if schedule.height > 0 && length.height == 0 => {
                let fields =
                    vec![("length".into(), length.value), (SCHEDULE.into(), schedule.value)];
                Ok((Value::Map(fields), schedule.height))
            }
            _ => Err(self.error(start, "expected a part of a sequence: (length, schedule)")),
        }
    }

    fn word_or_call(&mut self, start: usize) -> Result<(Value, usize), TextError> {
        let Some(word) = self.word() else {
            return Err(self.error(start, "expected a value"));
        };
        match word.as_str() {
            "true" => return Ok((true.into(), 0)),
            "false" => return Ok((false.into(), 0)),
            "NaN" | "nan" | "inf" => {
                return Err(
                    self.error(start, &format!("{word} is not allowed; allowed: a finite number"))
                );
            }
            _ => {}
        }
        if !self.peek('(') {
            return Ok((word.into(), 0));
        }
        if forms::function(&word).is_some() {
            self.at = start;
            let draft = self.schedule()?;
            let height = draft.height;
            return Ok((self.finish(draft)?, height));
        }
        Ok((Value::Map(vec![(word.as_str().into(), self.choice(start, &word)?)]), 0))
    }

    /// The contents of a choice's parentheses: one value, or named ones.
    fn choice(&mut self, start: usize, word: &str) -> Result<Value, TextError> {
        self.nested(start, MAX_DEPTH + MAX_LISTS)?;
        let mut arguments = self.arguments()?;
        self.depth -= 1;
        if let [Argument { name: None, height: 0, .. }] = arguments[..] {
            return Ok(arguments.remove(0).value);
        }
        let mut fields = vec![];
        for argument in arguments {
            let Some(name) = argument.name.filter(|_| argument.height == 0) else {
                let near = suggest::nearest(word, functions());
                let message =
                    format!("`{word}` takes one value or named values, a = 1, b = 2{near}");
                return Err(self.error(argument.start, &message));
            };
            fields.push((name.into(), argument.value));
        }
        Ok(Value::Map(fields))
    }

    fn number(&mut self) -> Result<Value, TextError> {
        let start = self.at;
        let is_digit = |c: char| c.is_ascii_digit() || c == '_';
        self.take_while(|c| c == '-' || c == '+');
        self.take_while(is_digit);
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(is_digit);
        }
        let exponent = self.rest().strip_prefix(['e', 'E']).unwrap_or_default();
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            self.at = self.text.len() - digits.len();
            self.take_while(|c| c.is_ascii_digit());
        }
        let digits = &self.text[start..self.at];
        let unit = self.rest().trim_start();
        let has_unit = unit.starts_with(|c: char| c == '%' || c.is_ascii_alphabetic());
        if has_unit && digits.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
            self.at = self.text.len() - unit.len();
            self.take_while(|c| "%._".contains(c) || c.is_ascii_alphanumeric());
            let length = &self.text[start..self.at];
            return match length.parse::<Span>() {
                Ok(_) => Ok(length.into()),
                Err(error) => Err(self.error(start, &error.or_number())),
            };
        }
        if let Some(whole) = span::whole(digits).filter(|_| !digits.contains(['e', 'E'])) {
            return Ok(whole.into());
        }
        match span::decimal(digits) {
            Some(number) => Ok(number.into()),
            None => Err(self.error(start, &format!("`{digits}` is not a finite number"))),
        }
    }

    /// A text in quotes, with Rust's escapes for a quote and a backslash.
    fn quoted(&mut self) -> Result<String, TextError> {
        let (start, mut text, mut escaped) = (self.at, String::new(), false);
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                '"' if !escaped => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                '\\' if !escaped => escaped = true,
                c => {
                    text.push(c);
                    escaped = false;
                }
            }
        }
        Err(self.error(start, "the text has no closing `\"`"))
    }

    /// Reads the fields of a finished draft once, so that an error has this call's column.
    fn finish(&self, draft: Draft) -> Result<Value, TextError> {
        self.check(&draft, draft.start, "")?;
        Ok(node(&draft.name, draft.fields))
    }

    /// Reads a draft without the schedules inside it. Until it is finished, a field may be missing.
    fn check(&self, draft: &Draft, start: usize, name: &str) -> Result<(), TextError> {
        let unfinished = !name.is_empty();
        let Err(error) = read(&node(&draft.name, alone(&draft.fields))) else { return Ok(()) };
        let reason = error.to_string();
        if unfinished && !reason.starts_with("unknown field") {
            return Ok(());
        }
        let message = if unfinished {
            unknown_call(&draft.name, name, &suggest::candidates(&reason))
        } else if reason.starts_with("missing field") {
            format!("{reason}; {}", forms::takes(&draft.name))
        } else {
            suggest::improve(&reason)
        };
        Err(self.error(start, &message))
    }

    fn name(&mut self, expected: &str) -> Result<(usize, String), TextError> {
        self.skip_spaces();
        let start = self.at;
        let name = self.word().filter(|_| self.peek('('));
        name.map(|name| (start, name))
            .ok_or_else(|| self.error(start, &format!("expected {expected}")))
    }

    fn word(&mut self) -> Option<String> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let word = &self.text[start..self.at];
        word.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| word.to_string())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take_while(&mut self, matches: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !matches(c)).unwrap_or(rest.len());
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn peek(&mut self, c: char) -> bool {
        self.skip_spaces();
        self.rest().starts_with(c)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, c: char) -> Result<(), TextError> {
        if self.take(c) { Ok(()) } else { Err(self.error(self.at, &format!("expected `{c}`"))) }
    }

    fn error(&self, at: usize, message: &str) -> TextError {
        // The text may contain line breaks; an error is one line.
        let mut line = String::new();
        for c in message.chars() {
            if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
        }
        TextError { column: self.text[..at].chars().count() + 1, message: line }
    }
}

/// The public calls that start a schedule.
fn functions() -> impl Iterator<Item = &'static str> {
    let begins = |name: &&str| forms::function(name).is_some();
    catalogue().iter().map(|entry| entry.name).filter(begins)
}

fn unknown_curve(name: &str) -> String {
    names::unknown_curve(name, &functions().collect::<Vec<_>>())
}

/// The message for a call that is neither a combinator nor one of the `fields` of `curve`; a mistyped
/// combinator looks like the latter.
fn unknown_call(curve: &str, name: &str, fields: &[&str]) -> String {
    if catalogue().iter().any(|entry| entry.name == name && entry.kind == Kind::Curve) {
        return format!(
            "`{name}` starts a schedule; to continue with it, write .then(5ep, {name}(…))"
        );
    }
    let own: Vec<&str> = fields.iter().copied().filter(|field| !is_inside(field)).collect();
    let calls: Vec<&str> = forms::calls().collect();
    let near = names::near_field(name, &[&own[..], &calls[..]].concat());
    let own = match &own[..] {
        _ if !near.is_empty() => String::new(),
        [] => format!("; every schedule has {}", calls.join(", ")),
        own => {
            format!("; {curve} has {}, and every schedule warmup, then, floor …", own.join(", "))
        }
    };
    format!("unknown call `{name}`{near}{own}")
}

fn is_inside(field: &str) -> bool {
    [SCHEDULE, SCHEDULES, PARTS].contains(&field)
}

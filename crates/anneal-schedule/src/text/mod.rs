//! The text form of a description: the builder chain.

mod forms;
mod in_file;
mod parse;
mod write;

#[cfg(test)]
pub(crate) use forms::calls;
#[cfg(feature = "files")]
pub(crate) use in_file::{place_in, string_that_ends};
pub(crate) use write::{write, write_resolved};

use crate::ScheduleConfig;
use ciborium::Value;
use std::str::FromStr;
use thiserror::Error;

/// Why a text is not a valid description.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
#[non_exhaustive]
pub struct TextError {
    /// The position of the error, in characters, counted from 1.
    pub column: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Reads what [`Display`](std::fmt::Display) writes: the builder chain, with spans as in a file (`500`,
/// `5ep`, `10%`, `rest`). An end, a start, a base, a floor or a cap may be a share of the peak, `end(10%)`.
///
/// ```text
/// cosine(3e-4).end(10%).warmup(5%)
/// exponential(0.1, half_life(10ep)).warmup(500).ramp(cosine)
/// constant(0.1).then(50%, step_decay(0.01, 10ep, 0.5))
/// product([cosine(0.1), linear(1.0, 0.5)])
/// exponential(0.1, 0.99)
/// cosine(0.1, 1e-5, 90ep).repeat_times(3).truncate()
/// ```
///
/// A field that the first call does not take is a call of its own, `.end(1e-6)`; a true flag needs no value,
/// `.overlay()`; fields of a choice are named, `.stable(rsqrt(timescale = 30))`. Beyond the arguments of the
/// builder functions, these may be positional: the end and the length of a cosine or tanh, told apart by
/// their type, so a percentage needs its name; the length of a linear, polynomial or one-cycle; a factor per update for an exponential, or a
/// factor and a length; the multiplier of warm restarts. The factor of `step_decay` and `multi_step` defaults
/// to 0.1. `wsd` is short for `warmup_stable_decay`. [`catalogue`](crate::catalogue()) lists all.
///
/// A file may use a text in place of any schedule: `schedule = "cosine(3e-4).warmup(5%)"`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let config: ScheduleConfig = "cosine(3e-4).end(10%).warmup(5%)".parse()?;
/// assert_eq!(config, cosine(3e-4).end(Level::percent(10)).warmup(Span::percent(5)).into());
/// assert_eq!(config.to_string().parse(), Ok(config));
/// # Ok::<(), TextError>(())
/// ```
impl FromStr for ScheduleConfig {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        parse::parse(text)
    }
}

/// The field of a combinator that holds one schedule.
const SCHEDULE: &str = "schedule";
const SCHEDULES: &str = "schedules";
const PARTS: &str = "parts";

/// The field that holds a user-defined name.
const NAME: &str = "name";

/// The fields of one curve or combinator, in order.
type Fields = Vec<(Value, Value)>;

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

/// The form of a curve in serde's data model: a map with its name as the only key.
fn node(name: &str, fields: Fields) -> Value {
    Value::Map(vec![(name.into(), Value::Map(fields))])
}

/// Reads a description through JSON's data model, in which a whole number is also a valid rate.
fn read(value: &Value) -> Result<ScheduleConfig, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(value)?)
}

/// The fields with the schedules inside them replaced: enough to check the curve or combinator alone, without
/// the cost of checking what is inside it.
fn alone(fields: &Fields) -> Fields {
    let placeholder = || node("constant", vec![("rate".into(), 1.0.into())]);
    fields
        .iter()
        .map(|(key, value)| match key.as_text() {
            Some(SCHEDULE) => (key.clone(), placeholder()),
            Some(SCHEDULES | PARTS) => (key.clone(), Value::Array(vec![])),
            _ => (key.clone(), value.clone()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;
    use crate::{product, sequence};

    fn config(text: &str) -> ScheduleConfig {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        text.parse::<ScheduleConfig>().unwrap_err().to_string()
    }

    #[test]
    fn the_text_is_the_builder_chain() {
        for (text, built) in [
            ("constant(0.1)", constant(0.1).into()),
            ("step_decay(0.1, 30ep, 0.5)", step_decay(0.1, Span::epochs(30), 0.5).into()),
            (
                "multi_step(0.1, [50%, 150], 0.5)",
                multi_step(0.1, [Span::percent(50), Span::steps(150)], 0.5).into(),
            ),
            ("linear(1.0, 0.0).length(10).cycle()", {
                linear(1.0, 0.0).length(Span::steps(10)).cycle().into()
            }),
            ("polynomial(1.0, 0.0, 2.0)", polynomial(1.0, 0.0, 2.0).into()),
            (
                "exponential(0.1, half_life(2.5ep))",
                exponential(0.1, Decay::HalfLife(Span::epochs(2.5))).into(),
            ),
            (
                "exponential(0.1, toward(end = 0.001))",
                exponential(0.1, Decay::Toward { end: Level::Rate(1e-3), length: Span::Rest })
                    .into(),
            ),
            (
                "cosine(0.0003).end(1e-6).after(continue)",
                cosine(3e-4).end(1e-6).after(AfterEnd::Continue).into(),
            ),
            (
                "stable_decay(1.0, 10%).stable(rsqrt(timescale = 30)).shape(power(2.0))",
                stable_decay(1.0, Span::percent(10))
                    .stable(Stable::Rsqrt { timescale: Span::steps(30) })
                    .shape(DecayShape::Power(2.0))
                    .into(),
            ),
            (
                "warm_restarts(1.0, 1ep).multiplier(2.0).cycle_warmup(5).limit(3)",
                warm_restarts(1.0, Span::epochs(1))
                    .multiplier(2.0)
                    .cycle_warmup(Span::steps(5))
                    .limit(3)
                    .into(),
            ),
            (
                "cosine(1.0).end(0.5%).warmup(5).start(10%).include_start().include_peak().replace()",
                cosine(1.0)
                    .end(Level::percent(0.5))
                    .warmup(Span::steps(5))
                    .start(Level::percent(10))
                    .include_start()
                    .include_peak()
                    .replace()
                    .into(),
            ),
            (
                "cyclic(25%, 1.0, 5).floor(30%).cap(90%)",
                cyclic(Level::percent(25), 1.0, Span::steps(5))
                    .floor(Level::percent(30))
                    .cap(Level::percent(90))
                    .into(),
            ),
            ("linear(0.1, 10%)", linear(0.1, Level::percent(10)).into()),
            (
                "exponential(0.1, toward(end = 1%))",
                exponential(0.1, Decay::Toward { end: Level::percent(1), length: Span::Rest })
                    .into(),
            ),
            (
                "constant(1.0).warmup(5%).ramp(cosine).overlay().floor(0.1).cap(0.9).scale(2.0)",
                constant(1.0)
                    .warmup(Span::percent(5))
                    .ramp(Ramp::Cosine)
                    .overlay()
                    .floor(0.1)
                    .cap(0.9)
                    .scale(2.0)
                    .into(),
            ),
            (
                "constant(1.0).then(5ep, constant(2.0)).then(10%, constant(3.0))",
                constant(1.0)
                    .then(Span::epochs(5), constant(2.0))
                    .then(Span::percent(10), constant(3.0))
                    .into(),
            ),
            (
                "sequence([(6, constant(1.0)), (4, constant(2.0))])",
                sequence([(Span::steps(6), constant(1.0)), (Span::steps(4), constant(2.0))]).into(),
            ),
            (
                "linear(1.0, 0.0).repeat_every(3ep).count(2).repeat_times(4)",
                linear(1.0, 0.0).repeat_every(Span::epochs(3)).count(2).repeat_times(4).into(),
            ),
            (
                "cosine(0.1).truncate(30ep).scale(2.0).truncate()",
                cosine(0.1).truncate().length(Span::epochs(30)).scale(2.0).truncate().into(),
            ),
            (
                "product([constant(1.0).scale(2.0), constant(2.0)])",
                product((constant(1.0).scale(2.0), constant(2.0))).into(),
            ),
        ] {
            let built: ScheduleConfig = built;
            assert_eq!(config(text), built);
            assert_eq!(built.to_string(), text);
        }
    }

    #[test]
    fn a_sequence_inside_a_sequence_stays_inside() {
        let inner = constant(1.0).then(Span::steps(2), constant(2.0));
        let outer: ScheduleConfig =
            sequence(((Span::steps(5), inner), (Span::Rest, constant(3.0)))).into();
        let text = outer.to_string();
        assert_eq!(
            text,
            "sequence([(5, constant(1.0).then(2, constant(2.0))), (rest, constant(3.0))])"
        );
        assert_eq!(config(&text), outer);
    }

    #[test]
    fn shorter_forms_are_read_too() {
        assert_eq!(config(" constant( 1 ) "), constant(1.0).into());
        assert_eq!(config("cosine(peak = 0.1)"), cosine(0.1).into());
        assert_eq!(
            config("constant(1.0).times(constant(2.0)).plus(constant(3.0))"),
            constant(1.0).times(constant(2.0)).plus(constant(3.0)).into()
        );
        assert_eq!(
            config("warmup_stable_decay(1.0, 10, 20%)"),
            warmup_stable_decay(1.0, Span::steps(10), Span::percent(20)).into()
        );
        for (short, long) in [
            ("wsd(1.0, 10, 20%)", "stable_decay(1.0, 20%).warmup(10)"),
            ("exponential(0.1, 0.99)", "exponential(0.1, factor(factor = 0.99, per = 1))"),
            ("exponential(0.1, 0.5, 10ep)", "exponential(0.1, factor(factor = 0.5, per = 10ep))"),
            ("step_decay(0.1, 30)", "step_decay(0.1, 30, 0.1)"),
            ("multi_step(0.1, [30, 60])", "multi_step(0.1, [30, 60], 0.1)"),
            ("cosine(0.1, 1e-5)", "cosine(0.1).end(1e-5)"),
            ("cosine(0.1, 0)", "cosine(0.1).end(0.0)"),
            ("cosine(0.1, 1000)", "cosine(0.1).length(1000)"),
            ("cosine(0.1, 1e-5, 90ep)", "cosine(0.1).end(1e-5).length(90ep)"),
            ("cosine(0.1, 1000, 1e-5)", "cosine(0.1).end(1e-5).length(1000)"),
            ("tanh(0.1, length = 50%)", "tanh(0.1).length(50%)"),
            ("tanh(0.1, 0.0, length = 50%)", "tanh(0.1).length(50%)"),
            ("cosine(0.1, end = 10%)", "cosine(0.1).end(10%)"),
            ("linear(0.1, 10%)", "linear(0.1, end = 10%)"),
            ("linear(0.1, 10%, 50%)", "linear(0.1, 10%).length(50%)"),
            ("linear(0.1, 500)", "linear(0.1, 0.0).length(500)"),
            ("cosine(0.1).floor( 10 % )", "cosine(0.1).floor(10%)"),
            ("cosine(0.1).cap(1)", "cosine(0.1).cap(1.0)"),
            ("exponential(0.1, toward(end = 1))", "exponential(0.1, toward(end = 1.0))"),
            ("linear(0.1)", "linear(0.1, 0.0)"),
            ("linear(0.1, 0, 500)", "linear(0.1, 0.0).length(500)"),
            ("polynomial(0.1, 0.0, 2, 500)", "polynomial(0.1, 0.0, 2.0).length(500)"),
            ("one_cycle(0.1, 1000)", "one_cycle(0.1).length(1000)"),
            ("warm_restarts(0.1, 10, 2)", "warm_restarts(0.1, 10).multiplier(2.0)"),
            ("cyclic(0.1, 1, 10, 20)", "cyclic(0.1, 1.0, 10).down(20)"),
            ("cosine(0.1).warmup(500, cosine)", "cosine(0.1).warmup(500).ramp(cosine)"),
            ("cosine(0.1).warmup(5 %)", "cosine(0.1).warmup(5%)"),
            ("cosine(0.1).warmup(10_000)", "cosine(0.1).warmup(10000)"),
            ("cosine(0.1).warmup(1e4)", "cosine(0.1).warmup(10000)"),
            ("cosine(0.1).repeat(every = 3ep)", "cosine(0.1).repeat_every(3ep)"),
            ("cosine(0.1).repeat(count = 3)", "cosine(0.1).repeat_times(3)"),
            ("linear(1, 0).times(constant(2)).times(constant(3))", {
                "product([linear(1.0, 0.0), constant(2.0), constant(3.0)])"
            }),
        ] {
            assert_eq!(config(short), config(long), "{short}");
        }
    }

    #[test]
    fn errors_point_at_the_column_and_name_what_is_near() {
        for (text, column, words) in [
            ("cosin(0.1)", 1, "did you mean `cosine`?"),
            ("cosine(0.1).flor(1)", 13, "did you mean `floor`?"),
            ("cosine(0.1).exponnt(2)", 13, "did you mean `exponent`?"),
            ("constant(0.1, 0.2)", 15, "constant takes rate"),
            ("cosine(0.1, 0.01, 5, 6)", 22, "cosine takes peak and an end, a length or both"),
            ("cosine(0.1, 5, 6)", 16, "`length` is given twice"),
            ("cosine(0.1, 10%)", 13, "write end = 10%, a share of the peak, or length = 10%"),
            ("tanh(0.1, 1e-4, 50%)", 17, "50% may be the end or the length"),
            ("cosine(10%)", 1, "expected a number: a share is of the peak, so it may be an end,"),
            ("linear(10%, 0.1)", 1, "but not the peak itself"),
            (
                "cosine(0.1).end(10ep)",
                1,
                "`10ep` is not a rate; allowed: a rate (3e-5), or a share",
            ),
            (
                "cosine(0.1).floor(rest)",
                13,
                "`rest` is not a rate; allowed: a rate (3e-5), or a share",
            ),
            (
                "cosine(0.1).warmup(5).start_at_zero()",
                23,
                "`start_at_zero` is called `include_start` here",
            ),
            ("one_cycle(0.1).div_factor(25)", 16, "or a share such as 4%"),
            ("cosine_annealing(0.1)", 1, "write cosine here"),
            ("CosineAnnealingWarmRestarts(0.1)", 1, "write warm_restarts here"),
            ("constant_with_warmup(0.1)", 1, "write constant(0.1).warmup(5%) here"),
            ("foo(1)", 1, "known: constant, cosine, linear"),
            ("warmup(5)", 1, "comes after a curve, as in cosine(0.1).warmup(…)"),
            ("ReduceLROnPlateau(0.1)", 1, "add a controller"),
            ("cosine(0.1).eta_min(0)", 13, "`eta_min` is called `end` here"),
            ("cosine(0.1, eta_min = 0)", 1, "`eta_min` is called `end` here"),
            ("cosine(0.1).T_max(90)", 13, "`T_max` is called `length` here"),
            ("cosine(0.1).num_warmup_steps(9)", 13, "`num_warmup_steps` is called `warmup` here"),
            ("one_cycle(0.1).div_factor(25)", 16, "peak / div_factor, as `start`"),
            ("one_cycle(max_lr = 0.1)", 1, "`max_lr` is called `peak` here"),
            ("cosine(0.1).zzz(9)", 13, "cosine has peak, end, length, exponent"),
            ("cosine(0.1).linear(0.1)", 13, "write .then(5ep, linear(…))"),
            ("cosine(0.1).repeat(3)", 20, "repeat_every takes a length, repeat_times a count"),
            ("exponential(0.1, 10ep)", 1, "half_life(10ep)"),
            ("exponential(0.1)", 1, "missing field `decay`; exponential takes peak, decay"),
            ("cyclic(0.1, 1.0)", 1, "missing field `up`; cyclic takes base, peak, up"),
            ("wsd(0.1, 5%)", 1, "missing field `decay`"),
            ("wsd(0.1)", 1, "missing field `warmup`; wsd takes peak, warmup, decay"),
            ("step_decay(0.1)", 1, "missing field `every`; step_decay takes peak, every, gamma"),
            ("cosine(0.1).end(0).end(0)", 20, "given twice"),
            ("cosine(0.1).end(1, 2)", 13, "takes one value"),
            ("cosine(0.1", 11, "`,` or `)`"),
            ("cosine(0.1) cosine(0.1)", 13, "end of the text"),
            ("cosine(0.1).warmup(0.05)", 13, "such as \"5%\""),
            ("cosine(0.1).length(260e9token)", 20, "tokens are written \"260Btok\""),
            ("cosine(0.1).length(0.5dur)", 20, "0.1dur is \"10%\""),
            ("cosine(0.1).length(5ep10%)", 20, "`5ep10%` is neither a number nor a length"),
            ("cosine(fast)", 1, "expected a number"),
            ("cosine(0.1).length(5.5)", 1, "5.5 is not a length; allowed: updates (500)"),
            ("", 1, "a curve"),
            ("constant(\"1)", 10, "no closing"),
            ("constant(1.0).warmup(\"5\nx\")", 15, "`5\\nx` is not a length"),
        ] {
            let message = refused(text);
            assert!(message.starts_with(&format!("column {column}: ")), "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn nesting_is_limited() {
        let chain = format!("constant(1.0){}", ".scale(1.0)".repeat(100_000));
        assert!(refused(&chain).contains("at most 16"), "{}", refused(&chain));
        let inside = "sum([".repeat(100_000);
        assert!(refused(&inside).contains("at most 16"));
        let lists = format!("multi_step(1.0, {}", "[".repeat(100_000));
        assert!(refused(&lists).contains("at most"), "{}", refused(&lists));
    }

    #[test]
    fn numbers_of_every_kind_come_back() {
        for rate in [-0.0, 5e-324, f64::MAX, f64::MIN_POSITIVE, 0.1 + 0.2, -1.5] {
            assert_eq!(config(&constant(rate).to_string()), constant(rate).into());
        }
        for text in ["NaN", "-NaN", "inf", "-inf", "1e999", "-", "1e", "0x10"] {
            let message = refused(&format!("constant({text})"));
            assert!(
                message.starts_with("column 10: ") || message.contains("`,` or `)`"),
                "{message}"
            );
        }
    }
}

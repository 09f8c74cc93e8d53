//! Schedules as a person would write them, with the same rates.

use anneal_schedule::{
    Level, Part, RunLength, Schedule, ScheduleConfig, ScheduleExt, Sequence, Span, Warmup, cosine,
    polynomial, sequence,
};
use serde_json::Value;

/// A difference of rates that only rounding makes, as a share of the peak.
const ROUNDING: f64 = 1e-12;

/// The updates of a run that are compared.
const COMPARED: u64 = 200_000;

/// Writes a rise before a schedule as its warm-up, a sequence within a sequence as one, and numbers without the digits
/// that a product adds.
pub(super) fn tidy(schedule: &ScheduleConfig) -> ScheduleConfig {
    let Ok(mut value) = serde_json::to_value(schedule) else { return schedule.clone() };
    visit(&mut value);
    serde_json::from_value(value).unwrap_or_else(|_| schedule.clone())
}

/// The same for a run of known length, whose end no curve has to say.
pub(super) fn tidy_in(schedule: &ScheduleConfig, run: RunLength) -> ScheduleConfig {
    let tidied = tidy(schedule);
    let Ok(value) = serde_json::to_value(&tidied) else { return tidied };
    let Ok(whole) = tidied.clone().resolve(run) else { return tidied };
    let shorter = [without_end(&value, true), without_end(&value, false)].into_iter().flatten();
    shorter.into_iter().find(|shorter| is_same(shorter, &whole, run)).unwrap_or(tidied)
}

fn visit(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(short) = number.as_f64().and_then(short) {
                *value = short.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(visit),
        Value::Object(fields) => {
            fields.values_mut().for_each(visit);
            let node = (fields.len() == 1).then(|| serde_json::from_value(value.clone()).ok());
            if let Some(Some(ScheduleConfig::Sequence(sequence))) = node
                && let Some(changed) = of_sequence(&sequence)
                && let Ok(changed) = serde_json::to_value(changed)
            {
                *value = changed;
            }
        }
        _ => {}
    }
}

/// The number with far fewer digits that rounding to 15 of them gives, if it is the same within rounding errors.
fn short(number: f64) -> Option<f64> {
    let rounded: f64 = format!("{number:.14e}").parse().ok()?;
    let is_near = (rounded - number).abs() <= 4.0 * f64::EPSILON * number.abs();
    let is_short = rounded.to_string().len() + 3 <= number.to_string().len();
    (is_near && is_short).then_some(rounded)
}

fn of_sequence(sequence: &Sequence) -> Option<ScheduleConfig> {
    let [first, rest @ ..] = sequence.parts.as_slice() else { return None };
    match (&first.schedule, rest) {
        (ScheduleConfig::Sequence(inner), _) => flattened(inner, first.length, rest),
        (_, [last]) if last.length == Span::Rest => {
            warmed_up(first, &last.schedule).or_else(|| beneath(sequence, first, &last.schedule))
        }
        _ => None,
    }
}

/// The parts of a sequence that is itself the first part of one.
fn flattened(inner: &Sequence, length: Span, rest: &[Part]) -> Option<ScheduleConfig> {
    let (last, before) = inner.parts.split_last()?;
    let Span::Steps(mut left) = length else { return None };
    for part in before {
        let Span::Steps(updates) = part.length else { return None };
        left = left.checked_sub(updates).filter(|&left| left > 0)?;
    }
    let mut parts = before.to_vec();
    parts.push(Part { length: Span::steps(left), ..last.clone() });
    parts.extend_from_slice(rest);
    (last.length == Span::Rest).then(|| sequence(parts).into())
}

/// A straight rise to the first rate of `after` as its warm-up.
fn warmed_up(rise: &Part, after: &ScheduleConfig) -> Option<ScheduleConfig> {
    let ScheduleConfig::Polynomial(line) = &rise.schedule else { return None };
    let Level::Rate(top) = line.end else { return None };
    if line.power != 1.0 || line.cycle || line.start >= top {
        return None;
    }
    let is_whole = line.length == Span::Rest || line.length == rise.length;
    let has_peak = match (line.length, rise.length) {
        (Span::Steps(line), Span::Steps(part)) => line + 1 == part,
        _ => false,
    };
    let run = RunLength::from_items(1_000, 1).tokens_per_sample(1).epochs(1_000_000);
    let first = after.clone().resolve(run).ok()?.rate(0);
    if !(is_whole || has_peak) || (first - top).abs() > ROUNDING * top {
        return None;
    }
    let warmup = Warmup::new(rise.length, after.clone()).start(line.start).include_start();
    Some(if has_peak { warmup.include_peak() } else { warmup }.into())
}

/// A straight rise before one cycle of timm's, which goes on underneath, as a warm-up that replaces its beginning.
fn beneath(whole: &Sequence, rise: &Part, after: &ScheduleConfig) -> Option<ScheduleConfig> {
    let (ScheduleConfig::Polynomial(line), Span::Steps(offset)) = (&rise.schedule, rise.length)
    else {
        return None;
    };
    let value = serde_json::to_value(after).ok()?;
    let cycle = value.get("timm_cycles")?;
    let number = |place: &str| cycle.pointer(place).and_then(Value::as_f64);
    let length = cycle.get("t_initial")?.as_u64()?;
    let (peak, low) = (number("/base_lr")?, number("/lr_min")?);
    let span = Span::steps(length);
    let curve: ScheduleConfig = match number("/shape/poly_cycles/power") {
        Some(power) => polynomial(peak, low, power).length(span).into(),
        None => {
            cosine(peak).end(low).length(span).k(number("/shape/cosine_cycles/k_decay")?).into()
        }
    };
    let schedule = curve.warmup(rise.length).start(line.start).include_start().replace().into();
    // Several cycles, or another start or target, have other rates.
    let run = RunLength::updates(length.saturating_add(offset).saturating_mul(2));
    let known = ScheduleConfig::from(whole.clone()).resolve(run).ok()?;
    is_same(&schedule, &known, run).then_some(schedule)
}

/// The schedule whose innermost curve takes the rest of the run and holds its end, with or without a cut.
fn without_end(value: &Value, uncut: bool) -> Option<ScheduleConfig> {
    let mut value = value.clone();
    if uncut && let Some(inner) = value.pointer("/truncate/schedule").cloned() {
        value = inner;
    }
    let mut curve = value.as_object_mut()?.values_mut().next()?;
    while curve.get("schedule").is_some() {
        curve = curve.get_mut("schedule")?.as_object_mut()?.values_mut().next()?;
    }
    for (field, usual) in [("length", "rest"), ("after", "hold")] {
        if let Some(field) = curve.get_mut(field) {
            *field = usual.into();
        }
    }
    serde_json::from_value(value).ok()
}

fn is_same(one: &ScheduleConfig, other: &Schedule, run: RunLength) -> bool {
    let Ok(one) = one.clone().resolve(run) else { return false };
    let Some(updates) = other.length() else { return false };
    let near = ROUNDING * other.peak();
    let stride = updates.div_ceil(COMPARED).max(1) as usize;
    let mut steps =
        (0..updates).step_by(stride).chain(updates.saturating_sub(COMPARED / 10)..updates);
    steps.all(|step| (one.rate(step) - other.rate(step)).abs() <= near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_as_a_person_would_write_them() {
        for (given, expected) in [
            (
                "linear(0.0, 3e-4).then(500, cosine(3e-4).length(900))",
                "cosine(0.0003).length(900).warmup(500).include_start()",
            ),
            (
                "linear(1e-5, 0.1).length(5).then(5, multi_step(0.1, [24], 0.1)).stretch(7)",
                "multi_step(0.1, [24], 0.1).warmup(5).start(1e-5).include_start().stretch(7.0)",
            ),
            (
                "linear(0.01, 0.1).length(19).then(20, constant(0.1))",
                "constant(0.1).warmup(20).start(0.01).include_start().include_peak()",
            ),
            (
                "sequence([(10, constant(0.1).then(4, constant(0.2))), (rest, constant(0.3))])",
                "constant(0.1).then(4, constant(0.2)).then(6, constant(0.3))",
            ),
            ("cosine(0.1).end(0.010000000000000002)", "cosine(0.1).end(0.01)"),
        ] {
            let config: ScheduleConfig = given.parse().unwrap();
            assert_eq!(tidy(&config).to_string(), expected);
            let run = RunLength::updates(2_000);
            let (before, after) = (config.resolve(run).unwrap(), tidy(&given.parse().unwrap()));
            let after = after.resolve(run).unwrap();
            for step in 0..2_000 {
                assert!((before.rate(step) - after.rate(step)).abs() < 1e-15, "{given} at {step}");
            }
        }
    }

    #[test]
    fn a_cycle_of_timm_runs_beneath_its_warm_up() {
        let translated = |arguments: &str, name| {
            let arguments = serde_json::from_str(arguments).unwrap();
            tidy(&anneal_schedule::peers::translate("timm", name, &arguments, 1e-3).unwrap().rate)
        };
        let cosine =
            r#"{"t_initial": 300, "lr_min": 1e-5, "warmup_t": 20, "warmup_lr_init": 1e-6}"#;
        assert_eq!(
            translated(cosine, "cosine").to_string(),
            "cosine(0.001).end(1e-5).length(300).warmup(20).start(1e-6).include_start().replace()"
        );
        let poly = r#"{"t_initial": 300, "power": 0.9, "warmup_t": 20}"#;
        assert_eq!(
            translated(poly, "poly").to_string(),
            "polynomial(0.001, 0.0, 0.9).length(300).warmup(20).include_start().replace()"
        );
        let several = r#"{"t_initial": 300, "warmup_t": 20, "cycle_limit": 3}"#;
        assert!(translated(several, "cosine").to_string().contains("timm_cycles"));
    }

    #[test]
    fn what_is_no_warm_up_stays() {
        for text in [
            // Not to the first rate, falling, a curve, cut off, three parts.
            "linear(0.0, 0.2).then(50, cosine(0.1))",
            "linear(0.2, 0.1).then(50, cosine(0.1))",
            "polynomial(0.0, 0.1, 2.0).then(50, cosine(0.1))",
            "linear(0.0, 0.1).length(60).then(50, cosine(0.1))",
            "linear(0.01, 0.1).then(50, linear(0.1, 0.01)).then(50, constant(0.01))",
            "one_cycle(0.1).pct_start(0.29292929292929293)",
        ] {
            let config: ScheduleConfig = text.parse().unwrap();
            assert_eq!(tidy(&config), config, "{text}");
        }
    }

    #[test]
    fn the_end_of_the_run_needs_no_length() {
        for (given, updates, expected) in [
            ("cosine(0.1).length(100).after(continue)", 100, "cosine(0.1)"),
            ("cosine(0.1).length(101)", 100, "cosine(0.1).length(101).truncate()"),
            (
                "linear(0.0, 0.1).then(10, cosine(0.1).length(90).after(continue))",
                100,
                "cosine(0.1).warmup(10).include_start()",
            ),
            (
                "linear(0.0, 0.1).then(10, cosine(0.1).length(80))",
                100,
                "cosine(0.1).length(80).warmup(10).include_start()",
            ),
            ("linear(0.1, 0.0).length(100).truncate()", 100, "linear(0.1, 0.0)"),
        ] {
            let config: ScheduleConfig = given.parse().unwrap();
            let run = RunLength::updates(updates);
            assert_eq!(tidy_in(&super::super::fitted(config, run), run).to_string(), expected);
        }
    }
}

//! Every translated scheduler of `tests/golden/schedules.jsonl` gives the same rates as the peer, and survives every
//! form in which it can be written.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with a `schedules.jsonl`.

use anneal_schedule::peers;
use anneal_schedule::prelude::*;
use anneal_tests::golden_lines;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line {
    peer: String,
    name: String,
    args: Value,
    base_lr: f64,
    rates: Vec<f64>,
    momenta: Option<Vec<f64>>,
    tolerance: Option<f64>,
}

/// The largest relative error of a line, or its failure.
fn compare(line: &Line) -> Result<f64, String> {
    let translation = peers::translate(&line.peer, &line.name, &line.args, line.base_lr)
        .map_err(|error| error.to_string())?;
    let tolerance = line.tolerance.unwrap_or(1e-9);
    let mut worst = compare_curve(&translation.rate, &line.rates, tolerance)?;
    match (&translation.momentum, &line.momenta) {
        (Some(momentum), Some(momenta)) => {
            worst = worst.max(compare_curve(momentum, momenta, tolerance)?);
        }
        (None, Some(_)) => return Err("the translation has no momentum".into()),
        (_, None) => {}
    }
    Ok(worst)
}

fn compare_curve(config: &ScheduleConfig, expected: &[f64], tolerance: f64) -> Result<f64, String> {
    survives_writing(config)?;
    let schedule =
        config.clone().resolve(RunLength::unbounded()).map_err(|error| error.to_string())?;
    if expected.is_empty() {
        return Err("there is nothing to compare with".into());
    }
    let mut worst = 0.0_f64;
    for (t, &expected) in expected.iter().enumerate() {
        let found = schedule.rate(t as u64);
        let error = (found - expected).abs();
        if error.is_nan() || error > (tolerance * expected.abs()).max(1e-12) {
            return Err(format!("{config}: {found:e} at update {t}, the peer has {expected:e}"));
        }
        if expected.abs() > 1e-12 {
            worst = worst.max(error / expected.abs());
        }
    }
    Ok(worst)
}

fn survives_writing(config: &ScheduleConfig) -> Result<(), String> {
    let written = |error: FileError| error.to_string();
    let (toml, json) = (config.to_toml().map_err(written)?, config.to_json().map_err(written)?);
    let text = config.to_string();
    for (form, back) in [
        (&toml, ScheduleConfig::from_toml(&toml).map_err(written)),
        (&json, ScheduleConfig::from_json(&json).map_err(written)),
        (&text, text.parse().map_err(|error: TextError| error.to_string())),
    ] {
        if back.as_ref() != Ok(config) {
            return Err(format!("{form} reads back as {back:?}"));
        }
    }
    Ok(())
}

#[test]
fn translations_have_the_rates_of_their_peers() {
    let lines: Vec<Line> = golden_lines("schedules.jsonl");
    assert!(!lines.is_empty(), "no golden line");
    let mut peers: BTreeMap<&str, (usize, usize, f64)> = BTreeMap::new();
    let mut wrong = vec![];
    for line in &lines {
        let (passed, all, worst) = peers.entry(&line.peer).or_default();
        *all += 1;
        match compare(line) {
            Ok(error) => (*passed, *worst) = (*passed + 1, worst.max(error)),
            Err(error) => {
                wrong.push(format!("{} {} {}: {error}", line.peer, line.name, line.args));
            }
        }
    }
    for (peer, (passed, all, worst)) in &peers {
        println!("{peer:14} {passed:5} of {all:5} schedulers, worst relative error {worst:.1e}");
    }
    let first = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{first}", wrong.len(), lines.len());
}

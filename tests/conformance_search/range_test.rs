//! The suggestions of fastai and Lightning from the curve of a range test.

use burn_anneal::plan::Rule;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Curve {
    #[serde(rename = "lrs")]
    rates: Vec<f64>,
    losses: Vec<f64>,
    suggestions: BTreeMap<Rule, Option<f64>>,
}

pub fn compare(line: Value) -> Result<(), String> {
    let curve: Curve = serde_json::from_value(line).map_err(|error| error.to_string())?;
    for (rule, expected) in curve.suggestions {
        let found = rule.suggest(&curve.rates, &curve.losses);
        let agree = match (found, expected) {
            (Some(found), Some(expected)) => (found / expected - 1.0).abs() <= 1e-9,
            (found, expected) => found == expected,
        };
        if !agree {
            return Err(format!("{rule} suggests {found:?}, the peer {expected:?}"));
        }
    }
    Ok(())
}

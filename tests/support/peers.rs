//! Lines of golden files with answers of peers; one test for each kind.

use crate::golden_lines;
use serde_json::Value;
use std::collections::BTreeMap;

/// Compares a line with the result of this workspace.
pub type Compare = fn(Value) -> Result<(), String>;

/// All kinds of lines of all tests.
const KINDS: [&str; 11] = [
    "convex_bound",
    "dp_epsilon",
    "gaussian_process",
    "grad_scaler",
    "greedy",
    "loss_law",
    "pid",
    "plateau",
    "range_test",
    "refined_schedule",
    "timm_plateau",
];

/// Compares all lines of these kinds in `feedback.jsonl` and `closed_loop_and_planning.jsonl`, and prints how many agree.
///
/// # Panics
/// If a line does not agree or has a kind without a test, or a kind has no line. The folder in `ANNEAL_GOLDEN` may have
/// only some kinds.
pub fn agree_with_peers(kinds: &[(&str, Compare)]) {
    let mut counts: BTreeMap<&str, (usize, usize)> =
        kinds.iter().map(|(kind, _)| (*kind, (0, 0))).collect();
    let mut wrong = vec![];
    for file in ["feedback.jsonl", "closed_loop_and_planning.jsonl"] {
        for (i, line) in golden_lines::<Value>(file).into_iter().enumerate() {
            let kind = line["kind"].as_str().unwrap_or_default();
            assert!(KINDS.contains(&kind), "{file}, line {}: nobody answers `{kind}`", i + 1);
            let Some((kind, compare)) = kinds.iter().find(|known| known.0 == kind) else {
                continue;
            };
            let (agreed, all) = counts.entry(kind).or_default();
            *all += 1;
            match compare(line) {
                Ok(()) => *agreed += 1,
                Err(error) => wrong.push(format!("{file}, line {}, {kind}: {error}", i + 1)),
            }
        }
    }
    for (kind, (agreed, all)) in &counts {
        println!("{kind:16} {agreed:3} of {all:3} lines agree");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<&str> =
        counts.iter().filter(|(_, (_, all))| *all == 0).map(|(kind, _)| *kind).collect();
    let most = if std::env::var_os("ANNEAL_GOLDEN").is_some() { kinds.len() - 1 } else { 0 };
    assert!(missing.len() <= most, "there is no line of {missing:?}");
}

//! Every line of `tests/golden/feedback.jsonl` and `closed_loop_and_planning.jsonl` of a peer of a search or a range test
//! is answered as the peer answered it. Lines of other kinds are for other tests.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with these files.

mod gaussian_process;
mod range_test;

use anneal_tests::golden_lines;
use serde_json::Value;
use std::collections::BTreeMap;

/// Compares a line with what is computed here.
type Compare = fn(Value) -> Result<(), String>;

const KINDS: [(&str, Compare); 2] =
    [("gaussian_process", gaussian_process::compare), ("range_test", range_test::compare)];

/// Kinds of lines that are for other tests.
const ELSEWHERE: [&str; 9] = [
    "grad_scaler",
    "greedy",
    "pid",
    "plateau",
    "timm_plateau",
    "dp_epsilon",
    "convex_bound",
    "refined_schedule",
    "loss_law",
];

#[test]
fn peers_are_answered_as_they_answered() {
    let mut counts: BTreeMap<&str, (usize, usize)> =
        KINDS.iter().map(|(kind, _)| (*kind, (0, 0))).collect();
    let mut wrong = vec![];
    for file in ["feedback.jsonl", "closed_loop_and_planning.jsonl"] {
        for (i, line) in golden_lines::<Value>(file).into_iter().enumerate() {
            let kind = line["kind"].as_str().unwrap_or_default();
            if ELSEWHERE.contains(&kind) {
                continue;
            }
            let Some(&(kind, compare)) = KINDS.iter().find(|known| known.0 == kind) else {
                panic!("{file}, line {}: nothing here answers the kind `{kind}`", i + 1);
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
    // Another folder may have some kinds alone.
    let most = if std::env::var_os("ANNEAL_GOLDEN").is_some() { KINDS.len() - 1 } else { 0 };
    assert!(missing.len() <= most, "there is no line of {missing:?}");
}

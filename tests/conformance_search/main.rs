//! Range tests and searches give the same answers as their peers for every line of `tests/golden/feedback.jsonl` and
//! `closed_loop_and_planning.jsonl`.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with these files.

mod gaussian_process;
mod range_test;

#[test]
fn peers_are_answered_as_they_answered() {
    anneal_tests::agree_with_peers(&[
        ("gaussian_process", gaussian_process::compare),
        ("range_test", range_test::compare),
    ]);
}

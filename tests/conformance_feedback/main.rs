//! Controllers and the privacy accountant give the same answers as their peers for every trace of
//! `tests/golden/feedback.jsonl` and `closed_loop_and_planning.jsonl`.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with these files.

mod dp_epsilon;
mod grad_scaler;
mod greedy;
mod pid;
mod plateau;
mod timm_plateau;
mod trace;

#[test]
fn traces_of_peers_are_answered_as_they_answered() {
    anneal_tests::agree_with_peers(&[
        ("dp_epsilon", dp_epsilon::compare),
        ("grad_scaler", grad_scaler::compare),
        ("greedy", greedy::compare),
        ("pid", pid::compare),
        ("plateau", plateau::compare),
        ("timm_plateau", timm_plateau::compare),
    ]);
}

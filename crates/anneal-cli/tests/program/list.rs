//! `anneal list`

use crate::anneal;
use serde_json::Value;

#[test]
fn every_public_curve_is_listed_and_no_internal_one() {
    let list = anneal(["list"]).fine();
    for name in [
        "cosine(peak) .end",
        "linear(start, end) .length",
        "multi_step(peak, milestones, gamma)\n",
        "warmup_stable_decay(peak, warmup, decay)",
        ".truncate()",
        ".repeat_every(",
    ] {
        assert!(list.contains(name), "{name}: {list}");
    }
    for internal in ["torch_chain", "timm_", "optax_join", "peer_growth", "fastai"] {
        assert!(!list.contains(internal), "{internal}: {list}");
    }
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
}

#[test]
fn a_name_is_given_in_full() {
    let cosine = anneal(["list", "cosine"]).fine();
    for words in [
        "end + ½(peak − end)(1 + cos(π t/T))",
        "exponent  default 1",
        "peak      required",
        "CosineAnnealingLR",
        "cosine(0.1).end(1e-4)",
        "[schedule.cosine]",
        "⠉",
    ] {
        assert!(cosine.contains(words), "{words}: {cosine}");
    }
    let two = anneal(["list", "linear", "repeat"]).fine();
    assert!(two.contains("linear: ") && two.contains("repeat_every: "), "{two}");
    assert!(two.contains("repeat_every(Span::epochs(2))"), "{two}");
}

#[test]
fn a_json_has_all_of_it() {
    let all: Value = serde_json::from_str(&anneal(["list", "--format", "json"]).fine()).unwrap();
    assert!(all.as_array().unwrap().len() > 40, "{all}");
    let one: Value =
        serde_json::from_str(&anneal(["list", "step_decay", "--format", "json"]).fine()).unwrap();
    assert_eq!(one[0]["arguments"][2]["default"], "0.1");
}

#[test]
fn an_unknown_name_says_the_nearest() {
    assert!(anneal(["list", "cosin"]).error(2).contains("did you mean `cosine`?"));
    assert!(anneal(["list", "StepLR"]).error(2).contains("write step_decay here"));
}

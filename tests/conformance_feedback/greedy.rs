//! transformers' `GreedyLR`.

use serde_json::Value;

pub fn compare(line: Value) -> Result<(), String> {
    crate::trace::compare("transformers", "GreedyLR", line)
}

//! torch's `ReduceLROnPlateau`.

use serde_json::Value;

pub fn compare(line: Value) -> Result<(), String> {
    crate::trace::compare("torch", "ReduceLROnPlateau", line)
}

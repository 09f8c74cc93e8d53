//! timm's `PlateauLRScheduler`.

use serde_json::Value;

pub fn compare(line: Value) -> Result<(), String> {
    crate::trace::compare("timm", "PlateauLRScheduler", line)
}

//! What the benches that compare variants of an update share.

use std::time::Instant;

/// How often each variant is timed. `cargo test` runs benches too, to see that they start.
pub fn rounds() -> usize {
    if std::env::args().any(|argument| argument == "--bench") { 41 } else { 1 }
}

/// The time that this thread has had a core to itself, where the kernel tells it: other programs then
/// count less. Of what runs on one thread alone.
pub struct Clock {
    wall: Instant,
    on_core: Option<u64>,
}

impl Clock {
    pub fn now() -> Self {
        Self { wall: Instant::now(), on_core: on_core() }
    }

    pub fn seconds_since(&self) -> f64 {
        match (self.on_core, on_core()) {
            (Some(before), Some(now)) => (now - before) as f64 * 1e-9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn on_core() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The median, of at least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! Cycle ends.

use super::pieces::leading;
use super::{Inner, Rate};
use crate::Part;

/// The last update of the cycle that contains `from`; `number` gives the cycle of an update and is monotone.
/// `None` if the cycle has no end.
pub(crate) fn last_of_cycle<N: PartialEq>(from: u64, number: impl Fn(u64) -> N) -> Option<u64> {
    let (now, updates) = (number(from), u64::MAX - from);
    let same = leading(updates, |update| number(from + update) == now);
    (same < updates).then(|| from + same.saturating_sub(1))
}

/// The first update from `from` on at which a wave is lowest: of the two updates around each turn, the one
/// with the lower rate. `waves` gives the number of waves passed at an update, and `at` is its inverse; waves
/// start at the top. `None` once f64 can no longer tell single waves apart.
pub(crate) fn lowest_of_wave(
    from: u64,
    waves: impl Fn(u64) -> f64,
    at: impl Fn(f64) -> f64,
    rate: impl Fn(u64) -> f64,
) -> Option<u64> {
    let turn = |passed: f64| {
        let before = at(passed) as u64;
        let after = before.saturating_add(1);
        if rate(after) <= rate(before) { after } else { before }
    };
    // Waves shorter than an update turn several times within one.
    let lowest = |from: u64| {
        let first = (waves(from) - 0.5).floor().max(0.0);
        (0..64).map(|wave| turn(first + f64::from(wave) + 0.5)).find(|&update| update >= from)
    };
    lowest(from).filter(|&update| lowest(update) == Some(update))
}

/// The first update from `from` on that ends a cycle inside one of these parts, or that ends a part that has
/// fallen if the next one goes higher.
pub(crate) fn end_in_parts(parts: &[Part<u64>], starts: &[u64], from: u64) -> Option<u64> {
    let inner = |(part, &start): (&Part<u64>, &u64)| {
        Inner { node: &part.schedule, start, length: part.length }.cycle_end(from)
    };
    let borders = parts.windows(2).zip(&starts[1..]).filter_map(|(pair, &next)| {
        let [Part { length, schedule: before }, after] = pair else { return None };
        let last = length.saturating_sub(1);
        let lowest = before.rate(last);
        // Below its first rate, or, because a warm-up may start lower, below the rate it had before.
        let stayed = leading(last, |back| before.rate(last - 1 - back) == lowest);
        let earlier = before.rate((last - stayed).saturating_sub(1));
        let has_fallen = lowest < before.rate(0) || lowest < earlier;
        let is_end = has_fallen && after.schedule.peak() > lowest;
        (is_end && next > from).then(|| next - 1)
    });
    parts.iter().zip(starts).filter_map(inner).chain(borders).min()
}

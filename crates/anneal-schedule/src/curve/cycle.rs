//! Where cycles end.

use super::pieces::leading;
use super::{Inner, Rate};
use crate::Part;

/// The last update from `from` on in the same cycle, where `number` counts cycles up, or down, by
/// the update; `None` where the cycle has no end.
pub(crate) fn last_of_cycle<N: PartialEq>(from: u64, number: impl Fn(u64) -> N) -> Option<u64> {
    let (now, updates) = (number(from), u64::MAX - from);
    let same = leading(updates, |update| number(from + update) == now);
    (same < updates).then(|| from + same.saturating_sub(1))
}

/// The first update from `from` on at which a wave is lowest: of the two around each of its turns,
/// that with the lower rate. `waves` says how many have passed at an update, and `at` when so many
/// have; they begin at the top. `None` where numbers of f64 no longer tell single waves apart.
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
    // Waves of less than an update have several turns in one.
    let lowest = |from: u64| {
        let first = (waves(from) - 0.5).floor().max(0.0);
        (0..64).map(|wave| turn(first + f64::from(wave) + 0.5)).find(|&update| update >= from)
    };
    lowest(from).filter(|&update| lowest(update) == Some(update))
}

/// The first update from `from` on that ends a cycle in one of these parts, or a part that has
/// fallen where the next one goes higher.
pub(crate) fn end_in_parts(parts: &[Part<u64>], starts: &[u64], from: u64) -> Option<u64> {
    let inner = |(part, &start): (&Part<u64>, &u64)| {
        Inner { node: &part.schedule, start, length: part.length }.cycle_end(from)
    };
    let borders = parts.windows(2).zip(&starts[1..]).filter_map(|(pair, &next)| {
        let [Part { length, schedule: before }, after] = pair else { return None };
        let last = length.saturating_sub(1);
        let lowest = before.rate(last);
        // Below its first rate, or, as a warm-up may begin lower, below what it had before it stayed.
        let stayed = leading(last, |back| before.rate(last - 1 - back) == lowest);
        let earlier = before.rate((last - stayed).saturating_sub(1));
        let has_fallen = lowest < before.rate(0) || lowest < earlier;
        let is_end = has_fallen && after.schedule.peak() > lowest;
        (is_end && next > from).then(|| next - 1)
    });
    parts.iter().zip(starts).filter_map(inner).chain(borders).min()
}

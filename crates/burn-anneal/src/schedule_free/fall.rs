//! Finds a falling rate.

use crate::groups::Groups;

/// The most updates to check.
const MOST: u64 = 100_000;

/// A rate that fell.
pub(crate) struct Fall {
    pub group: String,
    /// The first update found with a lower rate, that rate, and the largest rate before it.
    pub update: u64,
    pub rate: f64,
    pub before: f64,
}

/// The first fall of the rate of a group that has one of these parameters. A long run is checked at evenly spaced
/// updates, a run without an end at its first updates.
pub(crate) fn first_fall(groups: &Groups, paths: &[String]) -> Option<Fall> {
    let table = &groups.table;
    let mut of: Vec<usize> =
        paths.iter().filter_map(|path| table.of_path.get(path)).copied().collect();
    of.sort_unstable();
    of.dedup();
    let length = table.base.length().unwrap_or(MOST);
    let every = length.div_ceil(MOST).max(1);
    let mut largest = vec![0.0_f64; of.len()];
    for update in (0..length).step_by(usize::try_from(every).unwrap_or(usize::MAX)) {
        let base = table.base.rate(update);
        for (group, before) in of.iter().map(|group| &table.groups[*group]).zip(&mut largest) {
            if group.is_frozen(update) {
                continue;
            }
            let rate = group.rate(base, update);
            // The end of a warm-up may be off by a rounding error.
            if rate < *before * (1.0 - 1e-9) {
                return Some(Fall { group: group.name.clone(), update, rate, before: *before });
            }
            *before = before.max(rate);
        }
    }
    None
}

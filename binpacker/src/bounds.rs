//! Lower bounds: numbers of bundles that no plan can go below.
//!
//! A unit over a limit has a bundle to itself in every plan, so the bounds are of the rest, plus these.

use crate::blocks::Blocks;
use crate::cap::Limits;
use crate::plan::Bound;
use crate::units::{Unit, Units};

/// The best bound and what proves it; the simplest proof where several are equal.
pub fn lower_bound(units: &Units, limits: &Limits, blocks: &Blocks) -> (u32, Bound) {
    let rest: Vec<&Unit> = units.units.iter().filter(|unit| !limits.is_oversize(units, unit)).collect();
    let alone = blocks.oversize.len() as u64;
    let tests: u64 = rest.iter().map(|unit| u64::from(unit.tests)).sum();
    let candidates = [
        (l1(units, &rest, blocks.widest), Bound::L1),
        (tests.div_ceil(u64::from(limits.max_tests)), Bound::TestCount),
        (l2(units, &rest, blocks.widest), Bound::L2),
    ];
    let best = candidates.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
    let (bundles, bound) = best.unwrap_or((0, Bound::L1));
    (u32::try_from(bundles + alone).unwrap_or(u32::MAX), bound)
}

/// All the time there is, with each scope's setup as often as it must be paid, over what one bundle holds.
fn l1(units: &Units, rest: &[&Unit], capacity: u64) -> u64 {
    let items = &units.problem.items;
    let positions = rest.iter().flat_map(|unit| units.positions(unit));
    let mut by_scope: Vec<(u32, u64)> =
        positions.map(|&p| (items[p as usize].scope, items[p as usize].micros)).collect();
    by_scope.sort_unstable();
    let mut total = 0u128;
    for scope in by_scope.chunk_by(|a, b| a.0 == b.0) {
        let setup = units.problem.setup.of(scope[0].0);
        let micros: u128 = scope.iter().map(|&(_, micros)| u128::from(micros)).sum();
        total += micros + u128::from(setup) * ceil(micros, capacity.saturating_sub(setup)).max(1);
    }
    let least = u128::from(!rest.is_empty());
    u64::try_from(ceil(total, capacity).max(least)).unwrap_or(u64::MAX)
}

/// Martello and Toth's L2 over the units, each bundle paying at least the cheapest setup.
///
/// For each threshold a up to half the capacity C: units longer than C - a have a bundle each, into which nothing of
/// a or longer goes; those longer than C/2 have a bundle each too; the rest of a and longer fills what these leave.
fn l2(units: &Units, rest: &[&Unit], capacity: u64) -> u64 {
    let cheapest =
        rest.iter().flat_map(|unit| units.scopes(unit)).map(|&scope| units.problem.setup.of(scope)).min();
    let capacity = capacity.saturating_sub(cheapest.unwrap_or_default());
    let mut sizes: Vec<u64> = rest.iter().map(|unit| unit.micros).collect();
    sizes.sort_unstable_by_key(|&size| std::cmp::Reverse(size));
    let mut sums = vec![0u128; sizes.len() + 1];
    for (i, &size) in sizes.iter().enumerate() {
        sums[i + 1] = sums[i] + u128::from(size);
    }
    let longer_than = |size: u64| sizes.partition_point(|&s| s > size);
    let halves = longer_than(capacity / 2);
    // Each distinct size is a threshold, at the end of its stretch; without any below half, the long ones are counted.
    let mut best = halves as u64;
    let mut end = halves;
    while end < sizes.len() {
        let threshold = sizes[end];
        end += sizes[end..].partition_point(|&s| s == threshold);
        let alone = longer_than(capacity - threshold.min(capacity)).min(halves);
        let shared = (halves - alone) as u128;
        let room = shared * u128::from(capacity) - (sums[halves] - sums[alone]);
        let over = (sums[end] - sums[halves]).saturating_sub(room);
        let needed = halves as u128 + ceil(over, capacity);
        best = best.max(u64::try_from(needed).unwrap_or(u64::MAX));
    }
    best
}

/// `amount / by`, up; 0 where nothing can be said because `by` is 0.
fn ceil(amount: u128, by: u64) -> u128 {
    if by == 0 { 0 } else { amount.div_ceil(u128::from(by)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Item, Problem};

    fn l2_of(sizes: &[u64], capacity: u64) -> u64 {
        let items = (0u32..).zip(sizes).map(|(test, &micros)| Item { test, micros, scope: test });
        let problem = Problem::new(items.collect(), 1);
        let units = Units::of(&problem).unwrap();
        l2(&units, &units.units.iter().collect::<Vec<_>>(), capacity)
    }

    #[test]
    fn l2_sees_what_does_not_pair() {
        // Six of 60 % pair with nothing: L1 would say 4.
        assert_eq!(l2_of(&[6; 6], 10), 6);
        // 7 + 7 + 7 leave no room for 4: L1 says 4 of (21 + 12) / 10.
        assert_eq!(l2_of(&[7, 7, 7, 4, 4, 4], 10), 5);
        // Three of exactly a third fill a bundle.
        assert_eq!(l2_of(&[3; 9], 9), 3);
        assert_eq!(l2_of(&[5, 5, 5], 10), 2);
        assert_eq!(l2_of(&[], 10), 0);
        assert_eq!(l2_of(&[0, 0], 0), 0);
    }
}

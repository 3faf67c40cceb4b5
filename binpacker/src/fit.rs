//! Best fit: each size into the fullest bin that still takes it.

use std::collections::BTreeSet;

/// How many bins with room are looked at for one that takes the tests too.
const SCAN: usize = 64;

/// Bins of `room` and `max_tests` for these (load, tests), given in decreasing order: the places of each bin's sizes.
/// A size over `room` has a bin to itself.
pub fn best_fit(sizes: impl IntoIterator<Item = (u64, u32)>, room: u64, max_tests: u32) -> Vec<Vec<u32>> {
    let mut bins: Vec<Vec<u32>> = Vec::new();
    let mut tests_in: Vec<u32> = Vec::new();
    // (room left, bin), without the bins that are full.
    let mut open: BTreeSet<(u64, u32)> = BTreeSet::new();
    for (place, (load, tests)) in (0u32..).zip(sizes) {
        let takes = |bin: u32| u64::from(tests_in[bin as usize]) + u64::from(tests) <= u64::from(max_tests);
        let best = open.range((load, 0)..).take(SCAN).copied().find(|&(_, bin)| takes(bin));
        let (left, bin) = match best {
            Some((left, bin)) => {
                open.remove(&(left, bin));
                (Some(left - load), bin)
            }
            None => {
                bins.push(Vec::new());
                tests_in.push(0);
                (room.checked_sub(load), bins.len() as u32 - 1)
            }
        };
        bins[bin as usize].push(place);
        tests_in[bin as usize] += tests;
        if let Some(left) = left.filter(|_| tests_in[bin as usize] < max_tests) {
            open.insert((left, bin));
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_bin_that_takes_it_is_chosen() {
        assert_eq!(best_fit([(7, 1), (6, 1), (4, 1), (3, 1)], 10, 100), [vec![0, 3], vec![1, 2]]);
    }

    #[test]
    fn a_bin_takes_no_more_tests_than_it_may() {
        assert_eq!(best_fit([(1, 1); 5], 10, 2).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        // The fullest bin that fits has no place for two more tests; the next has.
        assert_eq!(best_fit([(5, 2), (4, 1), (2, 2)], 6, 3), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn what_is_over_the_room_is_alone() {
        assert_eq!(best_fit([(11, 1), (0, 1)], 10, 9), [vec![0], vec![1]]);
    }
}

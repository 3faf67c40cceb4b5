//! Best fit: each load into the fullest bin that still takes it.

use std::collections::BTreeSet;

use crate::load::{Capacity, Load};

/// How many bins with room are looked at for one that takes the load too.
const SCAN: usize = 64;

/// Bins for these loads, given in decreasing order: the places of each bin's loads. A load that fits nowhere has a bin to
/// itself.
pub fn best_fit(loads: impl IntoIterator<Item = Load>, capacity: &Capacity) -> Vec<Vec<u32>> {
    let mut bins: Vec<Vec<u32>> = Vec::new();
    let mut held: Vec<Load> = Vec::new();
    // (left under the cap, bin), without the bins that are full.
    let mut open: BTreeSet<(u64, u32)> = BTreeSet::new();
    for (place, load) in (0u32..).zip(loads) {
        let takes = |(_, bin): &(u64, u32)| capacity.takes(&held[*bin as usize].plus(load));
        let near = open.range((load.micros, 0)..).take(SCAN).copied().find(takes);
        let surely = || open.range((capacity.surely(&load), 0)..).take(SCAN).copied().find(takes);
        let bin = match near.or_else(surely) {
            Some(found) => {
                open.remove(&found);
                found.1
            }
            None => {
                bins.push(Vec::new());
                held.push(Load::default());
                bins.len() as u32 - 1
            }
        };
        bins[bin as usize].push(place);
        held[bin as usize] = held[bin as usize].plus(load);
        let held = &held[bin as usize];
        if let Some(left) = capacity.left(held).filter(|_| held.tests < capacity.max_tests) {
            open.insert((left, bin));
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Risk;

    fn fit(loads: &[(u64, u32)], cap: u64, max_tests: u32) -> Vec<Vec<u32>> {
        let capacity = Capacity { cap, fixed: 0, max_tests, risk: Risk::default() };
        best_fit(loads.iter().map(|&(micros, tests)| Load { micros, tests, variance: 0 }), &capacity)
    }

    #[test]
    fn the_fullest_bin_that_takes_it_is_chosen() {
        assert_eq!(fit(&[(7, 1), (6, 1), (4, 1), (3, 1)], 10, 100), [vec![0, 3], vec![1, 2]]);
    }

    #[test]
    fn a_bin_takes_no_more_tests_than_it_may() {
        assert_eq!(fit(&[(1, 1); 5], 10, 2).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        // The fullest bin that fits has no place for two more tests; the next has.
        assert_eq!(fit(&[(5, 2), (4, 1), (2, 2)], 6, 3), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn what_is_over_the_room_is_alone() {
        assert_eq!(fit(&[(11, 1), (0, 1)], 10, 9), [vec![0], vec![1]]);
    }

    #[test]
    fn variances_add_and_not_deviations() {
        let capacity =
            Capacity { cap: 400, fixed: 0, max_tests: 99, risk: Risk { z_milli: 1_000, common_permille: 0 } };
        // Nine of mean 30 and deviation 40 need 270 + 120; by their deviations they would need 630.
        let bins = best_fit([Load { micros: 30, variance: 1_600, tests: 1 }; 10], &capacity);
        assert_eq!(bins.iter().map(Vec::len).collect::<Vec<_>>(), [9, 1]);
    }
}

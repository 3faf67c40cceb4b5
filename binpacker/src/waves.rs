//! Bundles in waves of one for each slot, the longest blocks first, where the slots are known: what may overrun the most
//! begins first, while there is still something left to make up for it with, and nothing short makes it wait.

use std::collections::BTreeSet;

use crate::blocks::Block;
use crate::cap::FIXED_COSTS_PER_BUNDLE;
use crate::load::{Capacity, Load};
use crate::problem::Scopes;
use crate::scopes::union;

/// The places of each bin's blocks, which are given with what each comes to by itself, the longest first. Each goes into
/// the emptiest bin of its wave; a bin that does not take it is done, and what is shorter does not go back to it. Of the last
/// wave no bin is less than is worth its fixed cost.
pub fn bins(blocks: &[(Load, &Block)], scopes: &Scopes, capacity: &Capacity, slots: u32) -> Vec<Vec<u32>> {
    let common = scopes.sum(&common(blocks));
    let least =
        capacity.fixed.saturating_mul(FIXED_COSTS_PER_BUNDLE).min(capacity.after(common).room()).max(1);
    let alone = |load: &Load| load.micros.saturating_sub(common);
    let mut rest = blocks.iter().fold(0u64, |sum, (load, _)| sum.saturating_add(alone(load)));
    let mut bins: Vec<Bin> = Vec::new();
    // (microseconds, bin), of those that are not done.
    let mut wave: BTreeSet<(u64, usize)> = BTreeSet::new();
    for (place, (load, block)) in (0u32..).zip(blocks) {
        let bin = loop {
            let Some((_, bin)) = wave.pop_first() else {
                let width = rest.div_ceil(least).clamp(1, u64::from(slots.max(1)));
                wave.extend((0..width as usize).map(|more| (0, bins.len() + more)));
                bins.resize_with(bins.len() + width as usize, Bin::default);
                continue;
            };
            if bins[bin].places.is_empty() || capacity.takes(&bins[bin].with(block, scopes)) {
                break bin;
            }
        };
        rest = rest.saturating_sub(alone(load));
        let held = &mut bins[bin];
        held.load = held.with(block, scopes);
        held.scopes = union(&held.scopes, &block.scopes);
        held.places.push(place);
        wave.insert((held.load.micros, bin));
    }
    bins.into_iter().map(|bin| bin.places).filter(|places| !places.is_empty()).collect()
}

#[derive(Default)]
struct Bin {
    places: Vec<u32>,
    /// With setups.
    load: Load,
    scopes: Vec<u32>,
}

impl Bin {
    fn with(&self, block: &Block, scopes: &Scopes) -> Load {
        let unpaid = block.scopes.iter().filter(|scope| self.scopes.binary_search(scope).is_err());
        self.load.plus(block.load).with_setup(unpaid.map(|&scope| scopes.micros(scope)).sum())
    }
}

/// The scopes that all blocks use: each bin pays for them, as for its fixed cost.
fn common(blocks: &[(Load, &Block)]) -> Vec<u32> {
    let [(_, first), others @ ..] = blocks else { return Vec::new() };
    let in_all = |scope: &u32| others.iter().all(|(_, block)| block.scopes.binary_search(scope).is_ok());
    first.scopes.iter().copied().filter(in_all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Risk;

    fn packed(micros: &[u64], cap: u64, slots: u32) -> Vec<Vec<u64>> {
        let block =
            |&micros: &u64| Block { load: Load { micros, variance: 0, tests: 1 }, ..Block::default() };
        let blocks: Vec<Block> = micros.iter().map(block).collect();
        let blocks: Vec<(Load, &Block)> = blocks.iter().map(|block| (block.load, block)).collect();
        let capacity = Capacity { cap, fixed: 1, max_tests: 99, risk: Risk::default() };
        let bins = bins(&blocks, &Scopes::default(), &capacity, slots);
        bins.into_iter().map(|bin| bin.iter().map(|&place| micros[place as usize]).collect()).collect()
    }

    #[test]
    fn the_longest_begin_at_once_and_nothing_short_is_put_before_what_waits() {
        let waves = packed(&[50, 40, 30, 20, 20, 10, 4, 4], 81, 2);
        assert_eq!(waves, [vec![50, 20], vec![40, 30], vec![20], vec![10, 4, 4]]);
    }

    #[test]
    fn the_last_wave_has_no_more_bins_than_are_worth_it() {
        // A bin is worth ten times its fixed cost of 1, so what 18 are left for after the first wave goes into two.
        assert_eq!(packed(&[10; 8], 41, 2), [vec![10; 4], vec![10; 4]]);
        assert_eq!(packed(&[6; 15], 41, 2), [vec![6; 6], vec![6; 6], vec![6, 6], vec![6]]);
        assert_eq!(packed(&[2; 44], 41, 2).last(), Some(&vec![2; 4]));
    }

    #[test]
    fn what_is_over_the_room_is_alone() {
        assert_eq!(packed(&[90, 10, 5], 41, 1), [vec![90], vec![10, 5]]);
    }

    #[test]
    fn what_all_use_is_paid_once_in_each_bin() {
        let mut scopes = Scopes::default();
        let sandbox = scopes.add(30);
        let block = Block {
            scopes: vec![sandbox],
            load: Load { micros: 10, variance: 0, tests: 1 },
            ..Block::default()
        };
        let blocks = [(block.load.with_setup(30), &block); 6];
        let capacity = Capacity { cap: 60, fixed: 3, max_tests: 99, risk: Risk::default() };
        assert_eq!(bins(&blocks, &scopes, &capacity, 9), [vec![0, 3], vec![1, 4], vec![2, 5]]);
    }
}

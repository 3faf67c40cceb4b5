//! Completion: each bin begins with the largest that is left, or where none is long with any, and ends with the one or two of all
//! that are left that fill it best. Where there are many sizes, one of them nearly always fits exactly, for as long as many are left.

use std::collections::BTreeSet;

use crate::budget::Steps;
use crate::mbs;
use crate::random::GOLDEN;

/// So many of the last bins are packed once more.
const END: usize = 64;
/// So many of what is short fit into a bin; a bin in so many begins with the largest all the same.
const SHORT: u64 = 4;
const OFTEN: usize = 4;
/// So many sizes are tried with the best other one.
const TRIED: u64 = 16;

/// Bins for these (size, tests), given in decreasing order of sizes, none zero or larger than the capacity: the places of each
/// bin's. `None` if the steps did not suffice.
pub fn bins(sizes: &[(u64, u32)], capacity: u64, max_tests: u32, steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let total: u128 = sizes.iter().map(|&(size, _)| u128::from(size)).sum();
    let mean = u64::try_from(total / sizes.len().max(1) as u128).unwrap_or(u64::MAX);
    let mut left = Left(sizes.iter().zip(0u32..).map(|(&(size, _), place)| (size, place)).collect());
    let mut bins = Vec::new();
    let mut turn = 0u64;
    while let Some((size, seed)) = left.seed(sizes, capacity, bins.len(), &mut turn) {
        left.0.remove(&(size, seed));
        let mut bin =
            Bin { places: vec![seed], room: capacity.checked_sub(size)?, tests: sizes[seed as usize].1 };
        while bin.room > 0 {
            if !steps.take(1) {
                return None;
            }
            // With room for more than two or three, the largest that leaves some for others.
            let several = bin.room >= mean.saturating_mul(5) / 2;
            let any = left.spread(sizes, bin.room.saturating_sub(mean), &mut turn);
            let large = any.filter(|_| several);
            let found = if large.is_some() { [large, None] } else { left.last_ones(bin.room, steps) };
            let found: Vec<(u64, u32)> = found.into_iter().flatten().collect();
            let tests =
                found.iter().fold(bin.tests, |sum, (_, place)| sum.saturating_add(sizes[*place as usize].1));
            if found.is_empty() || tests > max_tests {
                break;
            }
            for entry in found {
                left.0.remove(&entry);
                bin.room -= entry.0;
                bin.places.push(entry.1);
            }
            bin.tests = tests;
        }
        bins.push(bin.places);
    }
    Some(with_better_end(bins, sizes, capacity, max_tests, steps))
}

/// The last bins are of what is left, which fills them badly: they are packed once more.
fn with_better_end(
    mut bins: Vec<Vec<u32>>,
    sizes: &[(u64, u32)],
    capacity: u64,
    max_tests: u32,
    steps: &mut Steps,
) -> Vec<Vec<u32>> {
    let end = bins.split_off(bins.len().saturating_sub(END));
    let mut places = end.concat();
    places.sort_unstable();
    let own: Vec<(u64, u32)> = places.iter().map(|&place| sizes[place as usize]).collect();
    match mbs::bins(&own, mbs::Room::full(capacity, max_tests), steps) {
        Some(better) if better.len() < end.len() => {
            bins.extend(
                better
                    .into_iter()
                    .map(|bin| bin.into_iter().map(|at| places[at as usize]).collect::<Vec<_>>()),
            );
        }
        _ => bins.extend(end),
    }
    bins
}

struct Bin {
    places: Vec<u32>,
    room: u64,
    tests: u32,
}

/// (size, place).
struct Left(BTreeSet<(u64, u32)>);

impl Left {
    /// The largest where it is long, and now and then in any case; else one of any size. If all of the last ones were short, many
    /// would go into a bin, and no few fill it.
    fn seed(&self, sizes: &[(u64, u32)], capacity: u64, bin: usize, turn: &mut u64) -> Option<(u64, u32)> {
        let largest = *self.0.last()?;
        if largest.0 >= capacity / SHORT || bin.is_multiple_of(OFTEN) {
            return Some(largest);
        }
        self.spread(sizes, capacity, turn)
    }

    /// One of at most this size; large and small ones in turn, so that what is left stays mixed.
    fn spread(&self, sizes: &[(u64, u32)], most: u64, turn: &mut u64) -> Option<(u64, u32)> {
        let (from, to) = (self.at_most(most)?.1, self.0.first()?.1);
        *turn = turn.wrapping_add(GOLDEN);
        let share = (u64::from(to.abs_diff(from)) * (*turn >> 32)) >> 32;
        self.at_most(sizes[from.min(to) as usize + share as usize].0)
    }

    fn at_most(&self, size: u64) -> Option<(u64, u32)> {
        self.0.range(..=(size, u32::MAX)).next_back().copied()
    }

    /// The one or two that leave the least room.
    fn last_ones(&self, room: u64, steps: &mut Steps) -> [Option<(u64, u32)>; 2] {
        let one = self.at_most(room);
        let Some((size, _)) = one else { return [None, None] };
        let mut best = (room - size, [one, None]);
        for part in 1..=TRIED {
            if best.0 == 0 || !steps.take(1) {
                break;
            }
            let share =
                u64::try_from(u128::from(room) * u128::from(part) / u128::from(2 * TRIED)).unwrap_or(room);
            let Some(first) = self.at_most(share) else { continue };
            let other = self.0.range(..=(room - first.0, u32::MAX)).rev().find(|entry| **entry != first);
            if let Some(&other) = other
                && room - first.0 - other.0 < best.0
            {
                best = (room - first.0 - other.0, [Some(other), Some(first)]);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_end_with_what_fills_them() {
        let bins = |sizes: &[u64], capacity| {
            let sizes: Vec<(u64, u32)> = sizes.iter().map(|&size| (size, 1)).collect();
            bins(&sizes, capacity, 99, &mut Steps::new(1_000, &|| false)).unwrap()
        };
        assert_eq!(bins(&[7, 6, 4, 3], 10), [vec![0, 3], vec![1, 2]]);
        // Best fit decreasing would put 5 with 6, and need three.
        assert_eq!(bins(&[6, 5, 4, 4, 3, 2], 12).len(), 2);
        assert!(bins(&[], 12).is_empty());
    }

    #[test]
    fn many_sizes_leave_next_to_nothing() {
        let sizes: Vec<(u64, u32)> = (0..20_000).map(|i: u64| (150_000_000 - i * 6_250 - i % 7, 1)).collect();
        let total: u64 = sizes.iter().map(|(size, _)| size).sum();
        let found = bins(&sizes, 600_000_000, 99, &mut Steps::new(30_000_000, &|| false)).unwrap();
        assert!(found.len() as u64 <= total.div_ceil(600_000_000) + 2, "{}", found.len());
        let mut places: Vec<u32> = found.concat();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..20_000));
        assert_eq!(bins(&sizes, 600_000_000, 99, &mut Steps::new(20, &|| false)), None);
    }

    #[test]
    fn what_is_left_at_the_end_is_as_mixed_as_at_the_beginning() {
        // Of 30 to 150 s. If each bin began with the largest, the last hundreds would be of 30 to 70 s and leave bins unfilled.
        let sizes: Vec<(u64, u32)> = (0..8_000).map(|i: u64| (150_000_000 - i * 15_000 + i % 7, 1)).collect();
        let found = bins(&sizes, 600_000_000, 99, &mut Steps::new(30_000_000, &|| false)).unwrap();
        let left =
            |bin: &Vec<u32>| 600_000_000 - bin.iter().map(|&place| sizes[place as usize].0).sum::<u64>();
        let wasted: u64 = found[..found.len() - END].iter().map(left).sum();
        assert!(wasted < 60_000_000, "{wasted}");
    }
}

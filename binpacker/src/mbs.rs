//! Minimum bin slack: each bin in turn by depth-first search for the subset that fills it best (Fleszar and Hindi 2002,
//! their MBS', where each bin begins with the largest that is left).

use rayon::prelude::*;

use crate::budget::Steps;

/// How many subsets are looked at for one bin, at most and at least.
const NODES: u64 = 20_000;
const FEWEST_NODES: u64 = 100;
/// Of many sizes, so many are packed together, and so many of their last bins are packed once more with those of others.
const CHUNK: usize = 8_192;
const POOLED: usize = 4;

/// What bins hold, and when one is full enough.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub capacity: u64,
    pub max_tests: u32,
    /// A bin with no more slack than this is not improved.
    pub enough: u64,
    pub nodes: u64,
}

impl Room {
    /// Each bin as full as can be found.
    pub fn full(capacity: u64, max_tests: u32) -> Self {
        Self { capacity, max_tests, enough: 0, nodes: NODES }
    }
}

/// Like [`bins`], for as many sizes as there are: dealt out to chunks that are packed each by itself, where each bin may have its
/// share of the slack that so many bins have in all.
pub fn chunked(sizes: &[(u64, u32)], room: Room, target: u64, steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let total: u128 = sizes.iter().map(|&(size, _)| u128::from(size)).sum();
    let spare = (u128::from(room.capacity) * u128::from(target)).saturating_sub(total);
    let enough = u64::try_from(spare / u128::from(target.max(1))).unwrap_or_default();
    let chunks = sizes.len().div_ceil(CHUNK);
    let mut half = steps.fork();
    let share = half.split(chunks as u64);
    let bins_each = target.div_ceil(chunks.max(1) as u64) + POOLED as u64;
    let nodes = (share.left() / (2 * bins_each)).clamp(FEWEST_NODES, NODES);
    let packed = (0..chunks).into_par_iter().map(|chunk| {
        let places: Vec<u32> = (chunk..sizes.len()).step_by(chunks).map(|place| place as u32).collect();
        let mut steps = half.split(chunks as u64);
        let found = of_places(sizes, &places, Room { enough, nodes, ..room }, &mut steps);
        (found, steps.was_cancelled)
    });
    let packed: Vec<(Option<Vec<Vec<u32>>>, bool)> = packed.collect();
    steps.was_cancelled |= packed.iter().any(|(_, cancelled)| *cancelled);
    let (mut bins, mut pool) = (Vec::new(), Vec::new());
    for (found, _) in packed {
        let mut found = found?;
        pool.extend(found.split_off(found.len().saturating_sub(POOLED)).concat());
        bins.append(&mut found);
    }
    // By size, as places are.
    pool.sort_unstable();
    bins.extend(of_places(sizes, &pool, room, &mut half)?);
    Some(bins)
}

fn of_places(sizes: &[(u64, u32)], places: &[u32], room: Room, steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let own: Vec<(u64, u32)> = places.iter().map(|&place| sizes[place as usize]).collect();
    let found = bins(&own, room, steps)?;
    Some(found.into_iter().map(|bin| bin.into_iter().map(|at| places[at as usize]).collect()).collect())
}

/// Bins for these (size, tests), given in decreasing order of sizes, none zero or larger than the capacity: the places of
/// each bin's. `None` if the steps did not suffice.
pub fn bins(sizes: &[(u64, u32)], room: Room, steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let mut left: Vec<(u64, u32, u32)> =
        (0u32..).zip(sizes).map(|(place, &(size, tests))| (size, tests, place)).collect();
    let mut bins = Vec::new();
    let mut search = Search::default();
    while let Some(&(largest, tests, seed)) = left.first() {
        let beside = Room {
            capacity: room.capacity.checked_sub(largest)?,
            max_tests: room.max_tests.saturating_sub(tests),
            ..room
        };
        search.run(&left, beside, steps)?;
        let mut bin = vec![seed];
        bin.extend(search.best.iter().map(|&at| left[at].2));
        let mut chosen = search.best.iter().copied().peekable();
        let mut at = 0;
        left.retain(|_| {
            let is_taken = at == 0 || chosen.next_if_eq(&at).is_some();
            at += 1;
            !is_taken
        });
        bins.push(bin);
    }
    Some(bins)
}

/// A search for one bin, over what is left behind the first.
#[derive(Default)]
struct Search {
    /// At each place, the sum of the sizes from there on.
    suffix: Vec<u128>,
    chosen: Vec<usize>,
    /// Ascending.
    best: Vec<usize>,
}

impl Search {
    fn run(&mut self, left: &[(u64, u32, u32)], room: Room, steps: &mut Steps) -> Option<()> {
        self.suffix.clear();
        self.suffix.resize(left.len() + 1, 0);
        for at in (0..left.len()).rev() {
            self.suffix[at] = self.suffix[at + 1] + u128::from(left[at].0);
        }
        self.chosen.clear();
        self.best.clear();
        let (mut slack, mut tests_left, mut least) = (room.capacity, room.max_tests, room.capacity);
        let mut nodes = room.nodes;
        let mut next = 1;
        while nodes > 0 && least > room.enough {
            next += left[next..].partition_point(|entry| entry.0 > slack);
            // All that is behind would leave less than the best.
            if next < left.len() && u128::from(slack) < self.suffix[next] + u128::from(least) {
                nodes -= 1;
                if !steps.take(1) {
                    return None;
                }
                let (size, of_it, _) = left[next];
                if of_it <= tests_left {
                    self.chosen.push(next);
                    slack -= size;
                    tests_left -= of_it;
                    if slack < least {
                        least = slack;
                        self.best.clone_from(&self.chosen);
                    }
                }
                next += 1;
            } else {
                let Some(last) = self.chosen.pop() else { break };
                let (size, of_it, _) = left[last];
                slack += size;
                tests_left += of_it;
                // An equal one in its place would give the same.
                next = last + left[last..].partition_point(|entry| entry.0 >= size);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sizes: &[u64], capacity: u64) -> Vec<Vec<u32>> {
        let sizes: Vec<(u64, u32)> = sizes.iter().map(|&size| (size, 1)).collect();
        bins(&sizes, Room::full(capacity, 99), &mut Steps::new(1 << 30, &|| false)).unwrap()
    }

    #[test]
    fn the_subset_that_fills_is_found_where_best_fit_does_not() {
        // Best fit decreasing needs three.
        assert_eq!(of(&[6, 5, 4, 4, 3, 2], 12), [vec![0, 2, 5], vec![1, 3, 4]]);
        assert_eq!(of(&[44, 24, 24, 22, 21, 17, 8, 8, 6, 6], 61).len(), 3);
    }

    #[test]
    fn tests_are_counted_and_steps_end() {
        let sizes = [(1, 1); 5];
        assert_eq!(bins(&sizes, Room::full(10, 2), &mut Steps::new(1_000, &|| false)).unwrap().len(), 3);
        assert_eq!(bins(&[(5, 1); 9], Room::full(10, 9), &mut Steps::new(2, &|| false)), None);
    }

    #[test]
    fn chunks_leave_no_more_than_their_share_of_the_slack() {
        // Sizes of 25 to 150 s, about seven to a bin of 600 s, in three chunks.
        let sizes: Vec<(u64, u32)> = (0..20_000).map(|i: u64| (150_000_000 - i * 6_250 - i % 7, 1)).collect();
        let total: u64 = sizes.iter().map(|(size, _)| size).sum();
        let least = total.div_ceil(600_000_000);
        let room = Room::full(600_000_000, 99);
        let bins = chunked(&sizes, room, least, &mut Steps::new(30_000_000, &|| false)).unwrap();
        assert!(bins.len() as u64 <= least + 2, "{} of {least}", bins.len());
        let mut places: Vec<u32> = bins.concat();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..20_000));
    }
}

//! Minimum bin slack: each bin in turn by depth-first search for the subset that fills it best (Fleszar and Hindi 2002,
//! their MBS', where each bin begins with the largest that is left).

use crate::budget::Steps;

/// How many subsets are looked at for one bin.
const NODES: u64 = 20_000;

/// Bins for these (size, tests), given in decreasing order of sizes, none zero or larger than the capacity: the places of
/// each bin's.
/// `None` if the steps did not suffice.
pub fn bins(sizes: &[(u64, u32)], capacity: u64, max_tests: u32, steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let mut left: Vec<(u64, u32, u32)> =
        (0u32..).zip(sizes).map(|(place, &(size, tests))| (size, tests, place)).collect();
    let mut bins = Vec::new();
    let mut search = Search::default();
    while let Some(&(largest, tests, seed)) = left.first() {
        search.run(&left, capacity.checked_sub(largest)?, max_tests.saturating_sub(tests), steps)?;
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
    fn run(&mut self, left: &[(u64, u32, u32)], room: u64, tests: u32, steps: &mut Steps) -> Option<()> {
        self.suffix.clear();
        self.suffix.resize(left.len() + 1, 0);
        for at in (0..left.len()).rev() {
            self.suffix[at] = self.suffix[at + 1] + u128::from(left[at].0);
        }
        self.chosen.clear();
        self.best.clear();
        let (mut slack, mut tests_left, mut least) = (room, tests, room);
        let mut nodes = NODES;
        let mut next = 1;
        while nodes > 0 && least > 0 {
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
        bins(&sizes, capacity, 99, &mut Steps::new(1 << 30, &|| false)).unwrap()
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
        assert_eq!(bins(&sizes, 10, 2, &mut Steps::new(1_000, &|| false)).unwrap().len(), 3);
        assert_eq!(bins(&[(5, 1); 9], 10, 9, &mut Steps::new(2, &|| false)), None);
    }
}

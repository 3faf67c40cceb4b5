//! Sizes in whole ticks: those that are equal are one type with a demand, which is a row of the master program.

use std::collections::BTreeMap;

/// Ticks of exact sizes, at most, and cells of a table of the knapsack.
const MOST_TICKS: u64 = 150_000;
const MOST_CELLS: u64 = 48_000_000;
/// Above this the master program is what takes long.
const MOST_TYPES: usize = 1_300;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    pub capacity: usize,
    /// Decreasing, none zero or over the capacity.
    pub sizes: Vec<usize>,
    pub demands: Vec<u32>,
    /// Of each type, what it stands for.
    pub places: Vec<Vec<u32>>,
}

/// Which way sizes are rounded to ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounded {
    /// What fits in ticks fits: for bins.
    Up,
    /// What fits fits in ticks: for bounds. What comes to nothing is left out.
    Down,
}

impl Types {
    /// With the greatest tick that all sizes are whole numbers of, if so many ticks and types can be searched.
    pub fn exact(sizes: &[u64], room: u64) -> Option<Self> {
        let tick = sizes.iter().fold(0, |tick, &size| gcd(tick, size));
        let ticks = room.checked_div(tick)?;
        if ticks > MOST_TICKS {
            return None;
        }
        let types = Self::of(sizes.iter().map(|&size| (size / tick) as usize), ticks as usize);
        types.is_small().then_some(types)
    }

    pub fn rounded(sizes: &[u64], room: u64, ticks: u32, way: Rounded) -> Self {
        let scaled = |&size: &u64| {
            let product = u128::from(size) * u128::from(ticks);
            let room = u128::from(room.max(1));
            let ticks = if way == Rounded::Up { product.div_ceil(room) } else { product / room };
            ticks as usize
        };
        Self::of(sizes.iter().map(scaled), ticks as usize)
    }

    fn of(sizes: impl Iterator<Item = usize>, capacity: usize) -> Self {
        let mut by_size: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (place, size) in (0u32..).zip(sizes).filter(|(_, size)| *size > 0) {
            by_size.entry(size).or_default().push(place);
        }
        let (sizes, places): (Vec<usize>, Vec<Vec<u32>>) = by_size.into_iter().rev().unzip();
        let demands = places.iter().map(|places| places.len() as u32).collect();
        Self { capacity, sizes, demands, places }
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is something to be searched, and not too much.
    pub fn is_small(&self) -> bool {
        (1..=MOST_TYPES).contains(&self.len()) && self.cells(&self.demands) <= MOST_CELLS
    }

    /// What a table of the knapsack has for so many of each type: a row for each power of two.
    pub fn cells(&self, limits: &[u32]) -> u64 {
        let most =
            limits.iter().zip(&self.sizes).map(|(&limit, &size)| limit.min((self.capacity / size) as u32));
        let rows: u64 = most.map(|most| u64::from(u32::BITS - most.leading_zeros())).sum();
        rows * (self.capacity as u64 + 1)
    }

    /// What is left to be packed beside these patterns. What a larger one has too much serves the smaller ones.
    pub fn residual<'p>(&self, patterns: impl Iterator<Item = (&'p Pattern, u32)>) -> Vec<u32> {
        let mut covered = vec![0u64; self.len()];
        for (pattern, bins) in patterns {
            for &(kind, times) in pattern {
                covered[kind as usize] += u64::from(times) * u64::from(bins);
            }
        }
        let mut carried = 0;
        let left = |(&demand, covered): (&u32, u64)| {
            let there = covered + carried;
            carried = there.saturating_sub(u64::from(demand));
            u64::from(demand).saturating_sub(there) as u32
        };
        self.demands.iter().zip(covered).map(left).collect()
    }

    /// The places that each of these bins has, if they hold all.
    pub fn places(&self, bins: &[Pattern]) -> Option<Vec<Vec<u32>>> {
        let mut slots: Vec<(u32, usize)> = Vec::new();
        for (bin, pattern) in bins.iter().enumerate() {
            let own =
                pattern.iter().flat_map(|&(kind, times)| std::iter::repeat_n((kind, bin), times as usize));
            slots.extend(own);
        }
        slots.sort_unstable();
        let mut slots = slots.into_iter().peekable();
        let mut filled = vec![Vec::new(); bins.len()];
        let mut free: Vec<usize> = Vec::new();
        for (kind, places) in (0u32..).zip(&self.places) {
            while let Some((_, bin)) = slots.next_if(|slot| slot.0 == kind) {
                free.push(bin);
            }
            for &place in places {
                filled[free.pop()?].push(place);
            }
        }
        Some(filled)
    }
}

/// A set that fits a bin: (type, times), ascending.
pub type Pattern = Vec<(u32, u32)>;

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_as_great_as_can_be_and_rounding_goes_the_safe_way() {
        let types = Types::exact(&[6_000, 4_000, 6_000], 15_500).unwrap();
        assert_eq!(
            (types.capacity, types.sizes.as_slice(), types.demands.as_slice()),
            (7, [3, 2].as_slice(), [2, 1].as_slice())
        );
        assert_eq!(types.places, [vec![0, 2], vec![1]]);
        assert_eq!(Types::exact(&[1, 999_999_999], 1_000_000_000), None);
        let up = Types::rounded(&[501, 500, 1], 1_000, 10, Rounded::Up);
        assert_eq!((up.sizes, up.capacity), (vec![6, 5, 1], 10));
        assert_eq!(Types::rounded(&[501, 500, 1], 1_000, 10, Rounded::Down).sizes, [5]);
    }

    #[test]
    fn what_is_too_much_of_a_larger_serves_a_smaller() {
        let types = Types::exact(&[3, 3, 2, 2, 1], 6).unwrap();
        let (threes, mixed) = (vec![(0, 2)], vec![(0, 1), (1, 1)]);
        assert_eq!(types.residual([(&threes, 1), (&mixed, 1)].into_iter()), [0, 0, 1]);
        let bins = types.places(&[threes, mixed, vec![(2, 1)]]).unwrap();
        assert_eq!(bins.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(types.places(&[vec![(0, 2)], vec![(2, 3)]]), None);
    }
}

//! What is packed in whole ticks: things that are alike are one type with a demand, which is a row of the master program.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Ticks of exact sizes, at most, and cells of a table of the knapsack.
const MOST_TICKS: u64 = 150_000;
const MOST_CELLS: u64 = 48_000_000;
/// Above this the master program is what takes long.
const MOST_TYPES: usize = 1_300;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// A set fits a bin that fits by one of these.
    pub views: Vec<View>,
    /// Of each type, ascending: what a bin with one of it pays for.
    pub classes: Vec<usize>,
    pub demands: Vec<u32>,
    /// Of each type, what it stands for.
    pub places: Vec<Vec<u32>>,
    /// Of each type, whether one of the next may be wherever one of it may.
    pub covers: Vec<bool>,
}

/// A way to measure: a set fits by it if its sizes and its classes' setups come to no more than the capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub capacity: usize,
    /// Of each type; in the first view decreasing within each class.
    pub sizes: Vec<usize>,
    /// Of each class.
    pub setups: Vec<usize>,
}

/// A thing to be packed, as it is measured: its place, its class, and its size by each view.
pub type Measured = (u32, usize, Vec<usize>);

/// Which way sizes are rounded to ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounded {
    /// What fits in ticks fits: for bins.
    Up,
    /// What fits fits in ticks: for bounds. What comes to nothing is left out.
    Down,
}

impl Types {
    /// Plain sizes with the greatest tick that all are whole numbers of, if so many ticks and types can be searched.
    pub fn exact(sizes: &[u64], room: u64) -> Option<Self> {
        let (tick, ticks) = tick(sizes.iter().copied(), room)?;
        let types = Self::plain(sizes.iter().map(|&size| (size / tick) as usize), ticks);
        types.is_small().then_some(types)
    }

    pub fn rounded(sizes: &[u64], room: u64, ticks: u32, way: Rounded) -> Self {
        Self::plain(sizes.iter().map(|&size| scaled(size, room, ticks, way)), ticks as usize)
    }

    fn plain(sizes: impl Iterator<Item = usize>, capacity: usize) -> Self {
        Self::of((0u32..).zip(sizes).map(|(place, size)| (place, 0, vec![size])), vec![(capacity, vec![0])])
    }

    /// By views of so much capacity with such setups. Nothing is left of what takes no room.
    pub fn of(things: impl Iterator<Item = Measured>, views: Vec<(usize, Vec<usize>)>) -> Self {
        let mut alike: BTreeMap<(usize, Reverse<Vec<usize>>), Vec<u32>> = BTreeMap::new();
        for (place, class, sizes) in things {
            let pays = |(_, setups): &(usize, Vec<usize>)| setups[class] > 0;
            if sizes.iter().any(|&size| size > 0) || views.iter().any(pays) {
                alike.entry((class, Reverse(sizes))).or_default().push(place);
            }
        }
        let mut types = Self {
            views: Vec::with_capacity(views.len()),
            classes: alike.keys().map(|(class, _)| *class).collect(),
            demands: alike.values().map(|places| places.len() as u32).collect(),
            places: Vec::new(),
            covers: Vec::new(),
        };
        for (at, (capacity, setups)) in views.into_iter().enumerate() {
            let sizes = alike.keys().map(|(_, sizes)| sizes.0[at]).collect();
            types.views.push(View { capacity, sizes, setups });
        }
        types.places = alike.into_values().collect();
        types.covers = (0..types.len()).map(|kind| types.covers_next(kind)).collect();
        types
    }

    fn covers_next(&self, kind: usize) -> bool {
        let next = kind + 1;
        let is_larger = |view: &View| view.sizes[kind] >= view.sizes[next];
        self.classes.get(next) == Some(&self.classes[kind]) && self.views.iter().all(is_larger)
    }

    pub fn len(&self) -> usize {
        self.demands.len()
    }

    /// Sizes are all there is to it.
    pub fn is_plain(&self) -> bool {
        self.views.len() == 1 && self.plain_view().setups.iter().all(|&setup| setup == 0)
    }

    /// The only view of what is plain.
    pub fn plain_view(&self) -> &View {
        &self.views[0]
    }

    /// Whether there is something to be searched, and not too much.
    pub fn is_small(&self) -> bool {
        let cells = |view: &View| view.cells(&self.demands, &self.classes);
        (1..=MOST_TYPES).contains(&self.len()) && self.views.iter().all(|view| cells(view) <= MOST_CELLS)
    }

    /// What tables of the knapsack have for so many of each type.
    pub fn cells(&self, limits: &[u32]) -> u64 {
        self.views.iter().map(|view| view.cells(limits, &self.classes)).sum()
    }

    /// What is left to be packed beside these patterns. What a larger one has too much serves the smaller ones.
    pub fn residual<'p>(&self, patterns: impl Iterator<Item = (&'p Pattern, u32)>) -> Vec<u32> {
        let mut covered = vec![0u64; self.len()];
        for (pattern, bins) in patterns {
            for &(kind, times) in pattern {
                covered[kind as usize] += u64::from(times) * u64::from(bins);
            }
        }
        let mut left = Vec::with_capacity(self.len());
        let mut carried = 0;
        for (kind, covered) in covered.into_iter().enumerate() {
            let (there, demand) = (covered + carried, u64::from(self.demands[kind]));
            carried = if self.covers[kind] { there.saturating_sub(demand) } else { 0 };
            left.push(demand.saturating_sub(there) as u32);
        }
        left
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
            if !self.covers[kind as usize] {
                free.clear();
            }
        }
        Some(filled)
    }
}

impl View {
    /// So many of this type fit into a bin, at most.
    pub fn most(&self, kind: usize) -> u32 {
        let most = self.capacity.checked_div(self.sizes[kind]).unwrap_or(usize::MAX);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// What a table of the knapsack has: a row for each power of two of a type, and one for each class.
    fn cells(&self, limits: &[u32], classes: &[usize]) -> u64 {
        let most = limits.iter().enumerate().map(|(kind, &limit)| limit.min(self.most(kind)));
        let rows: u64 = most.map(|most| u64::from(u32::BITS - most.leading_zeros())).sum();
        let entered = classes.chunk_by(|a, b| a == b).count() as u64;
        (rows + entered) * (self.capacity as u64 + 1)
    }
}

/// A set that fits a bin: (type, times), ascending.
pub type Pattern = Vec<(u32, u32)>;

/// The greatest tick that all of these are whole numbers of, and how many whole ones there are room for, if not too many.
pub fn tick(amounts: impl Iterator<Item = u64>, room: u64) -> Option<(u64, usize)> {
    let tick = amounts.fold(0, gcd);
    let ticks = room.checked_div(tick)?;
    (ticks <= MOST_TICKS).then_some((tick, ticks as usize))
}

/// In ticks of which the room has so many; a little over the room is over the ticks.
pub fn scaled(size: u64, room: u64, ticks: u32, way: Rounded) -> usize {
    let product = u128::from(size) * u128::from(ticks);
    let room = u128::from(room.max(1));
    let scaled = if way == Rounded::Up { product.div_ceil(room) } else { product / room };
    usize::try_from(scaled).unwrap_or(usize::MAX).min(2 * ticks as usize)
}

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
            (types.plain_view(), types.demands.as_slice()),
            (&View { capacity: 7, sizes: vec![3, 2], setups: vec![0] }, [2, 1].as_slice())
        );
        assert!(types.is_plain());
        assert_eq!(types.places, [vec![0, 2], vec![1]]);
        assert_eq!(Types::exact(&[1, 999_999_999], 1_000_000_000), None);
        let up = Types::rounded(&[501, 500, 1], 1_000, 10, Rounded::Up);
        assert_eq!((&up.plain_view().sizes, up.plain_view().capacity), (&vec![6, 5, 1], 10));
        assert_eq!(Types::rounded(&[501, 500, 1], 1_000, 10, Rounded::Down).plain_view().sizes, [5]);
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

    #[test]
    fn only_what_is_no_larger_by_any_view_takes_a_place() {
        // Of class 0 (5, 1) and (4, 2), of class 1 (3, 1) and (3, 0).
        let things = [(0, 1, vec![3, 0]), (1, 0, vec![4, 2]), (2, 0, vec![5, 1]), (3, 1, vec![3, 1])];
        let types = Types::of(things.into_iter(), vec![(10, vec![0, 2]), (9, vec![0, 1])]);
        assert_eq!((types.places.concat(), &types.classes), (vec![2, 1, 3, 0], &vec![0, 0, 1, 1]));
        assert_eq!(types.covers, [false, false, true, false]);
        let bin = vec![(0, 2), (2, 2)];
        assert_eq!(types.residual([(&bin, 1)].into_iter()), [0, 1, 0, 0]);
        assert_eq!(types.places(std::slice::from_ref(&bin)), None);
        assert_eq!(types.places(&[bin, vec![(1, 1)]]).unwrap()[0].len(), 3);
    }
}

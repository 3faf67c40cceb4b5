//! Which steps from load to load a packing into so many bins can have: those whose bins are worth enough, by any values.
//!
//! With demands d, values v of which a bin has at most m, and T bins, all that bins are worth less than m comes to T m - sum d v in
//! all. So no bin is worth less than m by more than that, and an arc is in no packing if its best bin is (de Lima et al. 2023).

use super::types::Types;

/// Cells of a table, at most.
pub const MOST_CELLS: u64 = 6_000_000;
/// Cells that a step goes over.
const CELLS_PER_STEP: u64 = 8;
/// No value is as low.
const NEVER: i64 = i64::MIN / 4;

/// The arcs (load, type) that may be in a packing into `bins` bins. In each bin types ascend.
pub struct Arcs<'t> {
    pub types: &'t Types,
    pub bins: u64,
    /// What all bins together leave.
    pub waste: u64,
    /// Of each type and load.
    alive: Vec<bool>,
    pub left: usize,
}

impl<'t> Arcs<'t> {
    /// All of them, of plain types; `None` if not even the sizes' sum fits, or it is too much to search.
    pub fn new(types: &'t Types, bins: u64) -> Option<Self> {
        let view = types.plain_view();
        let cells = types.len() * (view.capacity + 1);
        let sum: u64 =
            view.sizes.iter().zip(&types.demands).map(|(&size, &n)| size as u64 * u64::from(n)).sum();
        let waste = (bins * view.capacity as u64).checked_sub(sum)?;
        (cells as u64 <= MOST_CELLS).then(|| Self {
            types,
            bins,
            waste,
            alive: vec![true; cells],
            left: cells,
        })
    }

    /// Leaves out what no packing has, by these values of which no bin has more than `most`.
    pub fn cut(&mut self, values: &[u64], most: u64) {
        let types = self.types;
        let worth: i128 =
            types.demands.iter().zip(values).map(|(&n, &value)| i128::from(n) * i128::from(value)).sum();
        let spare = i128::from(self.bins) * i128::from(most) - worth;
        let least = i64::try_from(i128::from(most) - spare).unwrap_or(NEVER).max(NEVER / 2);
        let before = self.forward(values);
        self.backward(values, &before, least);
    }

    fn width(&self) -> usize {
        self.types.plain_view().capacity + 1
    }

    fn copies(&self, kind: usize) -> u32 {
        self.types.demands[kind].min(self.types.plain_view().most(kind))
    }

    /// Of each type and load, the best value of types up to it that come to exactly the load, and leave one of it.
    fn forward(&self, values: &[u64]) -> Vec<i64> {
        let width = self.width();
        let mut best = vec![NEVER; width];
        best[0] = 0;
        let mut before = Vec::with_capacity(width * self.types.len());
        for (kind, &value) in values.iter().enumerate() {
            let (size, alive) = (self.types.plain_view().sizes[kind], &self.alive[kind * width..][..width]);
            for copy in 0..self.copies(kind) {
                if copy + 1 == self.copies(kind) {
                    before.extend_from_slice(&best);
                }
                for load in (size..width).rev() {
                    let with = best[load - size] + value as i64;
                    if alive[load - size] && with > best[load] {
                        best[load] = with;
                    }
                }
            }
        }
        before
    }

    /// The same from the other end, which ends where the waste allows; and what is worth too little is left out.
    fn backward(&mut self, values: &[u64], before: &[i64], least: i64) {
        let width = self.width();
        let ends = |load: usize| (width - 1 - load) as u64 <= self.waste;
        let mut best: Vec<i64> = (0..width).map(|load| if ends(load) { 0 } else { NEVER }).collect();
        let mut left = 0;
        for kind in (0..self.types.len()).rev() {
            let (size, value, copies) =
                (self.types.plain_view().sizes[kind], values[kind] as i64, self.copies(kind));
            let was = self.alive[kind * width..][..width].to_vec();
            for copy in 0..copies {
                if copy + 1 == copies {
                    let alive = &mut self.alive[kind * width..][..width];
                    for load in 0..width {
                        let worth = before[kind * width + load]
                            + value
                            + best.get(load + size).copied().unwrap_or(NEVER);
                        alive[load] = was[load] && worth >= least;
                        left += usize::from(alive[load]);
                    }
                }
                for load in 0..width - size {
                    let with = best[load + size] + value;
                    if was[load] && with > best[load] {
                        best[load] = with;
                    }
                }
            }
        }
        self.left = left;
    }

    /// (load, type), those of each load together.
    pub fn list(&self) -> Vec<(usize, usize)> {
        let width = self.width();
        let alive = self.alive.iter().enumerate().filter(|(_, alive)| **alive);
        let mut list: Vec<(usize, usize)> = alive.map(|(at, _)| (at % width, at / width)).collect();
        list.sort_unstable();
        list
    }

    /// What one cut comes to in steps.
    pub fn steps(&self) -> u64 {
        let cells: u64 =
            (0..self.types.len()).map(|kind| u64::from(self.copies(kind))).sum::<u64>() * self.width() as u64;
        cells / CELLS_PER_STEP + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_packing_has_is_left_out() {
        // Bins of 10 without waste: 6 + 4, 5 + 5, and never 6 + 3 or 4 + 4.
        let types = Types::exact(&[6, 5, 5, 4], 10).unwrap();
        let mut arcs = Arcs::new(&types, 2).unwrap();
        assert_eq!(arcs.waste, 0);
        arcs.cut(&[6, 5, 4], 10);
        assert_eq!(arcs.list(), [(0, 0), (0, 1), (5, 1), (6, 2)]);
        // Nothing is left of what cannot be.
        let types = Types::exact(&[6, 5, 5, 3, 1], 10).unwrap();
        let mut arcs = Arcs::new(&types, 2).unwrap();
        arcs.cut(&[6, 5, 3, 1], 10);
        assert!(arcs.left > 0);
        assert!(Arcs::new(&types, 1).is_none());
    }
}

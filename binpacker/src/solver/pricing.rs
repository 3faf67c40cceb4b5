//! Pricing: the sets that fit a bin whose values come to most, exactly, by dynamic programming over loads.

use super::types::{Pattern, Types};

/// Sets that are told, at most.
const PATTERNS: usize = 100;

/// What a bin is worth in whole numbers. All sums of values are far below 2^53, so that they are exact in floating point, which is
/// what a processor does many of at once.
pub const ONE: u64 = 1 << 32;

/// The best sets for some values.
pub struct Priced {
    /// What the best comes to. No set that fits comes to more.
    pub most: u64,
    /// Sets with different last items, the best first.
    pub patterns: Vec<(u64, Pattern)>,
}

/// A table that is used again for other values.
#[derive(Default)]
pub struct Pricing {
    best: Vec<f64>,
    before: Vec<f64>,
    /// Of each row and load whether the row was taken.
    taken: Vec<bool>,
    rows: Vec<Row>,
}

/// So many copies of a type.
#[derive(Clone, Copy)]
struct Row {
    kind: u32,
    times: u32,
    size: usize,
    value: u64,
}

impl Pricing {
    /// The best sets of at most so many of each type, the types in this order or the other.
    pub fn best(&mut self, types: &Types, limits: &[u32], values: &[u64], backwards: bool) -> Priced {
        self.fill_rows(types, limits, values, backwards);
        let width = types.capacity + 1;
        self.best.clear();
        self.best.resize(width, 0.0);
        self.before.clear();
        self.before.resize(width, 0.0);
        self.taken.clear();
        self.taken.resize(width * self.rows.len(), false);
        let mut ends: Vec<(u64, usize)> = Vec::with_capacity(self.rows.len());
        let rows = self.rows.iter().zip(self.taken.chunks_exact_mut(width));
        for (at, (row, taken)) in rows.enumerate() {
            std::mem::swap(&mut self.best, &mut self.before);
            let (value, size) = (row.value as f64, row.size);
            ends.push((row.value + self.before[types.capacity - size] as u64, at));
            self.best[..size].copy_from_slice(&self.before[..size]);
            let without = &self.before[size..];
            let with = &self.before[..width - size];
            for (((best, taken), without), with) in
                self.best[size..].iter_mut().zip(&mut taken[size..]).zip(without).zip(with)
            {
                let with = with + value;
                *taken = with > *without;
                *best = if with > *without { with } else { *without };
            }
        }
        let most = self.best[types.capacity] as u64;
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.truncate(PATTERNS);
        let patterns = ends.into_iter().map(|(value, at)| (value, self.traced(at, width))).collect();
        Priced { most, patterns }
    }

    /// Copies in powers of two, so that any number of them up to the limit is a sum.
    fn fill_rows(&mut self, types: &Types, limits: &[u32], values: &[u64], backwards: bool) {
        self.rows.clear();
        let mut add = |kind: usize| {
            let (size, value) = (types.sizes[kind], values[kind]);
            let mut left = limits[kind].min((types.capacity / size) as u32);
            let mut times = 1;
            while left > 0 && value > 0 {
                let now = times.min(left);
                let (size, value) = (size * now as usize, value * u64::from(now));
                self.rows.push(Row { kind: kind as u32, times: now, size, value });
                left -= now;
                times *= 2;
            }
        };
        if backwards {
            (0..types.len()).rev().for_each(&mut add);
        } else {
            (0..types.len()).for_each(&mut add);
        }
    }

    /// The set that ends with a row.
    fn traced(&self, last: usize, width: usize) -> Pattern {
        let mut load = width - 1 - self.rows[last].size;
        let mut chosen = vec![last];
        for at in (0..last).rev() {
            if self.taken[at * width + load] {
                load -= self.rows[at].size;
                chosen.push(at);
            }
        }
        let mut pattern: Pattern =
            chosen.into_iter().map(|at| (self.rows[at].kind, self.rows[at].times)).collect();
        pattern.sort_unstable();
        pattern.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        pattern
    }

    /// What a call comes to in steps.
    pub fn steps(types: &Types, limits: &[u32]) -> u64 {
        types.cells(limits) / CELLS_PER_STEP + 1
    }
}

/// Cells of the table that take as long as a step.
const CELLS_PER_STEP: u64 = 24;

/// The bound that these values prove: in any packing into proper sets each bin is worth at most `most` (Farley 1990).
pub fn farley(types: &Types, values: &[u64], most: u64) -> u64 {
    let worth =
        types.demands.iter().zip(values).map(|(&demand, &value)| u128::from(demand) * u128::from(value));
    let bound = worth.sum::<u128>().div_ceil(u128::from(most.max(1)));
    u64::try_from(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_set_is_found_and_each_fits() {
        let types = Types::exact(&[7, 5, 5, 4, 3, 3, 3, 3, 1], 12).unwrap();
        let (limits, values) = (types.demands.clone(), vec![70, 55, 41, 34, 9]);
        let brute = (0..64u32 * 64).fold(0, |most, code| {
            let times = [code & 1, code >> 1 & 3, code >> 3 & 1, code >> 4 & 7, code >> 7 & 1];
            let fits = times.iter().zip(&types.sizes).map(|(&t, &s)| t as usize * s).sum::<usize>() <= 12;
            let proper = times.iter().zip(&limits).all(|(times, limit)| times <= limit);
            let value = times.iter().zip(&values).map(|(&t, &v)| u64::from(t) * v).sum();
            if fits && proper { most.max(value) } else { most }
        });
        for backwards in [false, true] {
            let priced = Pricing::default().best(&types, &limits, &values, backwards);
            assert_eq!((priced.most, priced.patterns[0].0), (brute, brute));
            for (value, pattern) in priced.patterns {
                let sum = |of: &dyn Fn(usize) -> u64| -> u64 {
                    pattern.iter().map(|&(kind, times)| u64::from(times) * of(kind as usize)).sum()
                };
                assert_eq!(sum(&|kind| values[kind]), value);
                assert!(sum(&|kind| types.sizes[kind] as u64) <= 12);
                assert!(pattern.iter().all(|&(kind, times)| times <= limits[kind as usize]));
            }
        }
    }

    #[test]
    fn any_values_prove_a_bound() {
        // Nine of a little over a third: two go into a bin.
        let types = Types::exact(&[34; 9], 100).unwrap();
        let most = Pricing::default().best(&types, &types.demands, &[ONE / 3], false).most;
        assert_eq!(farley(&types, &[ONE / 3], most), 5);
    }
}

//! Pricing: the sets that fit a bin whose values come to most, exactly, by dynamic programming over loads, class by class.

use super::types::{Pattern, Types, View};

/// Sets that are told, at most.
const PATTERNS: usize = 100;
/// Cells of the table that take as long as a step.
const CELLS_PER_STEP: u64 = 24;

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

/// Tables that are used again for other values.
///
/// Classes come one after the other. What a bin is worth that has something of a class is looked at with its setup paid, and
/// joined with what it is worth without the class when all of its types have been looked at.
#[derive(Default)]
pub struct Pricing {
    /// Of each load, without the class at hand, and with it.
    best: Vec<f64>,
    inside: Vec<f64>,
    before: Vec<f64>,
    /// Of each row and load whether the row was taken.
    taken: Vec<bool>,
    /// Of each group and load whether the bin has something of it.
    entered: Vec<bool>,
    rows: Vec<Row>,
    groups: Vec<Group>,
}

/// So many copies of a type.
#[derive(Clone, Copy)]
struct Row {
    kind: u32,
    times: u32,
    size: usize,
    value: u64,
}

/// The rows of a class.
#[derive(Clone, Copy)]
struct Group {
    setup: usize,
    from: usize,
    to: usize,
}

impl Pricing {
    /// The best sets of at most so many of each type, the types in this order or the other.
    pub fn best(&mut self, types: &Types, limits: &[u32], values: &[u64], backwards: bool) -> Priced {
        let mut best = Priced { most: 0, patterns: Vec::new() };
        for view in &types.views {
            self.fill_rows(types, view, (limits, values), backwards);
            let found = self.by(view);
            best.most = best.most.max(found.most);
            best.patterns.extend(found.patterns);
        }
        if types.views.len() > 1 {
            best.patterns.sort_unstable_by(|a, b| b.cmp(a));
            best.patterns.dedup();
            best.patterns.truncate(PATTERNS);
        }
        best
    }

    fn by(&mut self, view: &View) -> Priced {
        let width = view.capacity + 1;
        for table in [&mut self.best, &mut self.inside, &mut self.before] {
            table.clear();
            table.resize(width, 0.0);
        }
        self.taken.clear();
        self.taken.resize(width * self.rows.len(), false);
        self.entered.clear();
        self.entered.resize(width * self.groups.len(), false);
        let mut ends: Vec<(u64, usize)> = Vec::with_capacity(self.rows.len());
        for (number, group) in self.groups.iter().enumerate() {
            let setup = group.setup.min(width);
            self.inside[..setup].fill(f64::NEG_INFINITY);
            self.inside[setup..].copy_from_slice(&self.best[..width - setup]);
            for at in group.from..group.to {
                std::mem::swap(&mut self.inside, &mut self.before);
                let row = self.rows[at];
                let rest = self.before[view.capacity - row.size];
                if rest >= 0.0 {
                    ends.push((row.value + rest as u64, at));
                }
                let taken = &mut self.taken[at * width..][..width];
                take(row, &self.before, &mut self.inside, taken);
            }
            let entered = &mut self.entered[number * width..][..width];
            for ((best, entered), inside) in self.best.iter_mut().zip(entered).zip(&self.inside) {
                *entered = *inside > *best;
                *best = if *entered { *inside } else { *best };
            }
        }
        let most = self.best[view.capacity] as u64;
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.truncate(PATTERNS);
        let patterns = ends.into_iter().map(|(value, at)| (value, self.traced(at, width))).collect();
        Priced { most, patterns }
    }

    /// Copies in powers of two, so that any number of them up to the limit is a sum.
    fn fill_rows(&mut self, types: &Types, view: &View, (limits, values): (&[u32], &[u64]), backwards: bool) {
        self.rows.clear();
        self.groups.clear();
        let mut class = None;
        let mut add = |kind: usize| {
            if class != Some(types.classes[kind]) {
                class = Some(types.classes[kind]);
                let (setup, from) = (view.setups[types.classes[kind]], self.rows.len());
                self.groups.push(Group { setup, from, to: from });
            }
            let (size, value) = (view.sizes[kind], values[kind]);
            let mut left = limits[kind].min(view.most(kind));
            let mut times = 1;
            while left > 0 && value > 0 {
                let now = times.min(left);
                let (size, value) = (size * now as usize, value * u64::from(now));
                self.rows.push(Row { kind: kind as u32, times: now, size, value });
                left -= now;
                times *= 2;
            }
            if let Some(group) = self.groups.last_mut() {
                group.to = self.rows.len();
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
        let mut number = self.groups.partition_point(|group| group.to <= last);
        let mut end = last;
        loop {
            let group = self.groups[number];
            for at in (group.from..end).rev() {
                if self.taken[at * width + load] {
                    load -= self.rows[at].size;
                    chosen.push(at);
                }
            }
            load -= group.setup;
            let Some(before) = (0..number).rev().find(|before| self.entered[before * width + load]) else {
                break;
            };
            (number, end) = (before, self.groups[before].to);
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

/// With a row or without it, whichever is worth more at each load.
fn take(row: Row, before: &[f64], after: &mut [f64], taken: &mut [bool]) {
    let (value, size) = (row.value as f64, row.size);
    after[..size].copy_from_slice(&before[..size]);
    let (without, with) = (&before[size..], &before[..before.len() - size]);
    for (((after, taken), without), with) in
        after[size..].iter_mut().zip(&mut taken[size..]).zip(without).zip(with)
    {
        let with = with + value;
        *taken = with > *without;
        *after = if with > *without { with } else { *without };
    }
}

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
            let fits =
                times.iter().zip(&types.plain_view().sizes).map(|(&t, &s)| t as usize * s).sum::<usize>()
                    <= 12;
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
                assert!(sum(&|kind| types.plain_view().sizes[kind] as u64) <= 12);
                assert!(pattern.iter().all(|&(kind, times)| times <= limits[kind as usize]));
            }
        }
    }

    #[test]
    fn setups_are_paid_once_and_any_view_will_do() {
        // Classes without setup, with one of 3 and one of 4; by the second view everything has another size.
        let things = [
            (0, 0, vec![5, 4]),
            (1, 0, vec![2, 3]),
            (2, 1, vec![4, 3]),
            (3, 1, vec![4, 3]),
            (4, 1, vec![1, 2]),
            (5, 2, vec![6, 5]),
            (6, 2, vec![3, 1]),
        ];
        let types = Types::of(things.into_iter(), vec![(14, vec![0, 3, 4]), (13, vec![0, 4, 3])]);
        let values = [50, 23, 39, 11, 71, 22];
        let fits = |pattern: &Pattern| {
            types.views.iter().any(|view| {
                let sizes: usize =
                    pattern.iter().map(|&(kind, n)| view.sizes[kind as usize] * n as usize).sum();
                let mut used: Vec<usize> =
                    pattern.iter().map(|&(kind, _)| types.classes[kind as usize]).collect();
                used.dedup();
                sizes + used.into_iter().map(|class| view.setups[class]).sum::<usize>() <= view.capacity
            })
        };
        let worth = |pattern: &Pattern| -> u64 {
            pattern.iter().map(|&(kind, n)| values[kind as usize] * u64::from(n)).sum()
        };
        let all = (0..96u32).map(|code| -> Pattern {
            let times = [
                code & 1,
                code >> 1 & 1,
                (code >> 2) % 3,
                ((code >> 2) / 3) & 1,
                ((code >> 2) / 6) & 1,
                (code >> 2) / 12,
            ];
            (0..).zip(times).filter(|(_, n)| *n > 0).collect()
        });
        let most = all.filter(|pattern| fits(pattern)).map(|pattern| worth(&pattern)).max();
        for backwards in [false, true] {
            let priced = Pricing::default().best(&types, &types.demands, &values, backwards);
            assert_eq!((Some(priced.most), priced.patterns[0].0), (most, priced.most));
            for (value, pattern) in priced.patterns {
                assert!(fits(&pattern) && worth(&pattern) == value, "{pattern:?} {value}");
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

//! Sizes in decreasing order, with what bounds ask of them.

use std::cmp::Reverse;

pub struct Sizes {
    pub capacity: u64,
    /// Decreasing, none over the capacity.
    pub sizes: Vec<u64>,
    /// At each place, the sum of all before it.
    sums: Vec<u128>,
}

impl Sizes {
    /// A size over the capacity counts as one that fills it: it needs no less.
    pub fn of(mut sizes: Vec<u64>, capacity: u64) -> Self {
        sizes.iter_mut().for_each(|size| *size = (*size).min(capacity));
        sizes.sort_unstable_by_key(|&size| Reverse(size));
        let mut sums = Vec::with_capacity(sizes.len() + 1);
        let mut sum = 0u128;
        sums.push(sum);
        for &size in &sizes {
            sum += u128::from(size);
            sums.push(sum);
        }
        Self { capacity, sizes, sums }
    }

    /// How many are longer.
    pub fn longer_than(&self, size: u64) -> usize {
        self.sizes.partition_point(|&s| s > size)
    }

    /// How many are as long or longer.
    pub fn at_least(&self, size: u64) -> usize {
        self.sizes.partition_point(|&s| s >= size)
    }

    /// The sum of those from one place to another.
    pub fn sum(&self, from: usize, to: usize) -> u128 {
        self.sums[to] - self.sums[from]
    }

    /// Each size that there is with its number, decreasing.
    pub fn distinct(&self) -> Vec<(u64, u64)> {
        self.sizes.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect()
    }
}

/// `amount / by`, up; 0 where nothing can be said because `by` is 0.
pub fn ceil(amount: u128, by: u64) -> u64 {
    let whole = if by == 0 { 0 } else { amount.div_ceil(u128::from(by)) };
    u64::try_from(whole).unwrap_or(u64::MAX)
}

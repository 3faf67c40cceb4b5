//! Dual feasible functions: what turns every set of sizes that fits into one that fits too, so that the sum of what they make of
//! the sizes is a bound (Fekete and Schepers 2001; Clautiaux, Alves and Valerio de Carvalho 2010).

use super::sizes::{Sizes, ceil};
use crate::plan::Bound;

/// The greatest k of u(k), alone and after U(e).
const MOST_K: u64 = 100;
const MOST_K_AFTER: u64 = 20;
/// Values that CCM1 may compute, at most, and thresholds that are sampled in any case.
const VALUES: usize = 2_000_000;
const FEWEST_SAMPLES: usize = 8;
const MOST_SAMPLES: usize = 1_000;

/// The best bound of all families; it stops at the first that reaches the target, since no bound can say more.
pub fn best(sizes: &Sizes, target: u64) -> (u64, Bound) {
    let mut best = (0, Bound::Fekete { k: 1 });
    if sizes.capacity == 0 {
        return best;
    }
    let distinct = sizes.distinct();
    let take = |found: (u64, Bound), best: &mut (u64, Bound)| {
        if found.0 > best.0 {
            *best = found;
        }
        best.0 >= target
    };
    for k in 1..=MOST_K {
        let whole = 0..sizes.sizes.len();
        if take((fekete(sizes, k, whole.start, whole.end), Bound::Fekete { k: k as u32 }), &mut best) {
            return best;
        }
    }
    for e in thresholds(&distinct, sizes.capacity) {
        let (full, end) = (sizes.longer_than(sizes.capacity - e), sizes.at_least(e));
        for k in 1..=MOST_K_AFTER {
            if take((fekete(sizes, k, full, end), Bound::FeketeAfterU { k: k as u32 }), &mut best) {
                return best;
            }
        }
        if take((ccm1(&distinct, e, sizes.capacity), Bound::Ccm1), &mut best) {
            return best;
        }
    }
    best
}

/// Thresholds worth trying, up to half the capacity: each size, and what each long one leaves, and one more.
fn thresholds(distinct: &[(u64, u64)], capacity: u64) -> Vec<u64> {
    let half = capacity / 2;
    let of_size = |&(size, _): &(u64, u64)| if size <= half { size } else { capacity - size + 1 };
    let mut all: Vec<u64> = distinct.iter().map(of_size).filter(|e| (1..=half).contains(e)).collect();
    all.sort_unstable();
    all.dedup();
    let samples = (VALUES / distinct.len().max(1)).clamp(FEWEST_SAMPLES, MOST_SAMPLES);
    if all.len() <= samples {
        return all;
    }
    (0..samples).map(|i| all[i * (all.len() - 1) / (samples - 1)]).collect()
}

/// u(k) of the sizes between two places; those before them fill a bundle each, those behind them count nothing.
///
/// u(k) of a size w, in bundles: w/C where (k+1)w/C is whole, else floor((k+1)w/C)/k. It has few steps, so the sizes on each
/// are counted, all in units of 1/(k(k+1)).
fn fekete(sizes: &Sizes, k: u64, full: usize, end: usize) -> u64 {
    let threshold = |t: u64| u128::from(t) * u128::from(sizes.capacity);
    let within = |place: usize| place.clamp(full, end.max(full));
    let mut sum = 0u128;
    let mut from = within(0);
    for t in (1..=k + 1).rev() {
        let step = u64::try_from(threshold(t) / u128::from(k + 1)).unwrap_or(u64::MAX);
        let over = within(sizes.longer_than(step));
        sum += (over - from) as u128 * u128::from(t * (k + 1));
        let is_whole = threshold(t).is_multiple_of(u128::from(k + 1));
        from = if is_whole { within(sizes.at_least(step)) } else { over };
        sum += (from - over) as u128 * u128::from(t * k);
    }
    full as u64 + ceil(sum, k * (k + 1))
}

/// f_CCM1 of each size w, in units of 1/(2 floor(C/e)): 2(floor(C/e) - floor((C-w)/e)) over half, floor(C/e) at half, else
/// 2 floor(w/e).
fn ccm1(distinct: &[(u64, u64)], e: u64, capacity: u64) -> u64 {
    let whole = capacity / e;
    let value = |w: u64| match u128::from(w) * 2 {
        twice if twice > u128::from(capacity) => 2 * (whole - (capacity - w) / e),
        twice if twice == u128::from(capacity) => whole,
        _ => 2 * (w / e),
    };
    let sum = distinct.iter().map(|&(w, times)| u128::from(value(w)) * u128::from(times)).sum();
    ceil(sum, 2 * whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_a_little_over_a_third_do_not_fit() {
        // L1 says 4 and L2 does not see it: none is over half.
        let sizes = Sizes::of(vec![34; 9], 100);
        assert_eq!(best(&sizes, 99), (5, Bound::Fekete { k: 2 }));
    }

    #[test]
    fn a_function_of_a_set_that_fits_is_at_most_a_bundle() {
        // All sets of sizes that fill 12, by every function: never more than one.
        fn sets(rest: u64, most: u64, set: &mut Vec<u64>, visit: &mut dyn FnMut(&[u64])) {
            visit(set);
            for size in 1..=most.min(rest) {
                set.push(size);
                sets(rest - size, size, set, visit);
                set.pop();
            }
        }
        for capacity in [7, 12] {
            sets(capacity, capacity, &mut Vec::new(), &mut |set| {
                let sizes = Sizes::of(set.to_vec(), capacity);
                assert!(best(&sizes, 99).0 <= 1, "{set:?}");
            });
        }
    }
}

//! Weights: numbers for means and variances that never come to more than a bundle's capacity, so that every bound for exact
//! sizes bounds uncertain ones too.
//!
//! What fits under the cap is, over the plane of mean and variance, what lies under a convex falling curve. All bundles lie
//! between the rays of the least and the greatest variance per mean of any unit; between these, the curve lies under the
//! chord of the points where it meets them. So the linear function that is the capacity on the chord is a weight.

use crate::load::{Capacity, Load};

/// The capacity as a weight has at most so many bits, so that rounding the others down loses nothing to speak of.
const BITS: u32 = 50;

pub struct Weights {
    pub capacity: u64,
    /// For a mean, and for a variance; shifted right by `shift`.
    per_mean: u128,
    per_variance: u128,
    shift: u32,
}

impl Weights {
    /// Of bundles of this capacity, made of these loads and of setups, if there are any.
    pub fn of(capacity: &Capacity, loads: &[Load], setups: bool) -> Self {
        if capacity.is_scalar(loads.iter().copied()) {
            return Self::of_means(capacity.room());
        }
        let by_chord = || {
            let (least, greatest) = ratios(loads, setups)?;
            Self::of_chord(meet(capacity, least, false)?, meet(capacity, greatest, true)?)
        };
        by_chord().unwrap_or_else(|| Self::of_means(most_mean(capacity)))
    }

    fn of_means(capacity: u64) -> Self {
        Self { capacity, per_mean: 1, per_variance: 0, shift: 0 }
    }

    /// The chord through (a, b) and (c, d), each a mean and a variance on or beyond the curve.
    fn of_chord((a, b): (u128, u128), (c, d): (u128, u128)) -> Option<Self> {
        let per_mean = d.checked_sub(b)?;
        let per_variance = a.checked_sub(c)?;
        let capacity = a.checked_mul(d)?.checked_sub(b.checked_mul(c)?)?;
        if capacity == 0 {
            return None;
        }
        let shift = (u128::BITS - capacity.leading_zeros()).saturating_sub(BITS);
        let scaled = u64::try_from((capacity >> shift) + 1).ok()?;
        Some(Self { capacity: scaled, per_mean, per_variance, shift })
    }

    /// At most the weight of such a load. Where it is beyond counting, it is the capacity, which is enough.
    pub fn weight(&self, load: &Load) -> u64 {
        let of_mean = u128::from(load.micros).checked_mul(self.per_mean);
        let of_variance = load.variance.checked_mul(self.per_variance);
        let sum = of_mean.and_then(|mean| mean.checked_add(of_variance?));
        sum.map_or(self.capacity, |sum| u64::try_from(sum >> self.shift).unwrap_or(u64::MAX))
    }

    /// At most the weight of a setup of so long.
    pub fn setup(&self, micros: u64) -> u64 {
        self.weight(&Load { micros, ..Load::default() })
    }
}

/// A variance per mean. Products of a variance and a mean below these are counted exactly.
type Ratio = (u128, u128);
const VARIANCE_BITS: u32 = 80;
const MEAN_BITS: u32 = 47;

/// The least and the greatest there are.
fn ratios(loads: &[Load], setups: bool) -> Option<(Ratio, Ratio)> {
    let mut least = setups.then_some((0, 1));
    let mut greatest: Option<Ratio> = None;
    for load in loads {
        let ratio = (load.variance, u128::from(load.micros));
        if ratio.0 >> VARIANCE_BITS > 0 || ratio.1 >> MEAN_BITS > 0 {
            return None;
        }
        if ratio.1 == 0 {
            // Nothing of no length counts for anything.
            if ratio.0 == 0 { continue } else { return None }
        }
        if least.is_none_or(|least| is_less(ratio, least)) {
            least = Some(ratio);
        }
        if greatest.is_none_or(|greatest| is_less(greatest, ratio)) {
            greatest = Some(ratio);
        }
    }
    let (least, greatest) = (least?, greatest?);
    // Where all are alike, a narrow wedge around them.
    let least = if is_less(least, greatest) { least } else { (least.0 / 2, least.1) };
    is_less(least, greatest).then_some((least, greatest))
}

fn is_less(a: Ratio, b: Ratio) -> bool {
    a.0 * b.1 < b.0 * a.1
}

/// A point on a ray, at or a little beyond where it meets the curve; its variance is rounded away from the other ray.
fn meet(capacity: &Capacity, (variance, mean): Ratio, up: bool) -> Option<(u128, u128)> {
    let at = |m: u64| {
        let product = variance.checked_mul(u128::from(m))?;
        Some(if up { product.div_ceil(mean) } else { product / mean })
    };
    // Below this the curve is convex.
    let slope = u64::from(capacity.risk.z_milli) * u64::from(capacity.risk.common_permille);
    if slope >= 1_000_000 {
        return None;
    }
    let (mut low, mut high) = (0, capacity.room().saturating_add(1));
    while low < high {
        let middle = low.midpoint(high);
        let load = Load { micros: middle, variance: at(middle)?, tests: 0 };
        if capacity.left(&load).is_none() { high = middle } else { low = middle + 1 }
    }
    // Two more than the rounding of quantiles can make up for.
    let beyond = low.checked_add(2)?;
    Some((u128::from(beyond), at(beyond)?))
}

/// The longest mean that fits if nothing varies by itself.
fn most_mean(capacity: &Capacity) -> u64 {
    let (mut low, mut high) = (0, capacity.room());
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if capacity.left(&Load { micros: middle, ..Load::default() }).is_some() {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Risk;

    #[test]
    fn what_fits_never_weighs_more_than_the_capacity() {
        let capacity = Capacity { cap: 600_000, fixed: 20_000, max_tests: 99, risk: Risk::of(0.1, 0.1) };
        let loads: Vec<Load> = (1..=60)
            .map(|i| Load { micros: i * 3_000, variance: u128::from(i * i * (i % 7)) * 1_000_000, tests: 1 })
            .collect();
        for setups in [false, true] {
            let weights = Weights::of(&capacity, &loads, setups);
            let mut fullest = 0;
            for first in 0..loads.len() {
                let (mut sum, mut weight) = (Load::default(), 0);
                for load in loads[first..].iter().chain(&loads) {
                    if capacity.takes(&sum.plus(*load)) {
                        sum = sum.plus(*load);
                        weight += weights.weight(load);
                    }
                }
                assert!(weight <= weights.capacity, "{weight} of {}", weights.capacity);
                fullest = fullest.max(weight);
            }
            assert!(fullest > weights.capacity / 10 * 8, "{fullest} of {}", weights.capacity);
        }
    }

    #[test]
    fn what_does_not_vary_weighs_its_length() {
        let capacity = Capacity { cap: 100, fixed: 10, max_tests: 9, risk: Risk::of(0.1, 0.0) };
        let load = Load { micros: 30, variance: 0, tests: 1 };
        let weights = Weights::of(&capacity, &[load], true);
        assert_eq!((weights.capacity, weights.weight(&load), weights.setup(7)), (90, 30, 7));
    }
}

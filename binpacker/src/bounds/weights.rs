//! Weights: numbers for means and variances that never come to more than a bundle's capacity, so that every bound for exact
//! sizes bounds uncertain ones too.
//!
//! What fits under the cap is, over the plane of mean and variance, what lies under a convex falling curve. All bundles lie
//! between the rays of the least and the greatest variance per mean of any unit; between these, the curve lies under the
//! chord of the points where it meets them. So the linear function that is the capacity on the chord is a weight.

use crate::load::{Capacity, Load};

/// The capacity as a weight has at most so many bits, so that rounding the others down loses nothing to speak of.
const BITS: u32 = 50;
/// Microseconds that rounding makes of a quantile, and more.
const TOLERANCE: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// By wedges of the plane, so many where there are two rays to it: whatever fits weighs no more than the capacity by one of
    /// these. The narrower they are, the nearer are their chords to the curve.
    pub fn of_wedges(capacity: &Capacity, loads: &[Load], setups: bool, wedges: u32) -> Vec<Self> {
        if !varies(capacity, loads) {
            return vec![Self::of_means(most_mean(capacity))];
        }
        let by_chords = || {
            let (least, greatest) = ratios(loads, setups)?;
            let rays = rays(least, greatest, wedges);
            let chord = |pair: &[Ratio]| {
                Self::of_chord(meet(capacity, pair[0], false)?, meet(capacity, pair[1], true)?)
            };
            rays.windows(2).map(chord).collect::<Option<Vec<_>>>()
        };
        by_chords().unwrap_or_else(|| vec![Self::of(capacity, loads, setups)])
    }

    /// By lines that touch the curve from below, so that what weighs, rounded up, no more than the capacity by one of these fits.
    /// They touch where bundles like these lie. There may be none.
    pub fn of_tangents(capacity: &Capacity, bundles: &[Load], tangents: u32) -> Vec<Self> {
        if !varies(capacity, bundles) {
            return vec![Self::of_means(most_mean(capacity))];
        }
        let ratio = |load: &Load| load.variance as f64 / (load.micros as f64).max(1.0);
        let most = bundles.iter().map(ratio).fold(0.0, f64::max);
        let least = bundles.iter().map(ratio).fold(most, f64::min).max(most / 100.0);
        // Evenly by deviation.
        let (from, to) = (least.sqrt(), most.sqrt());
        let steps = f64::from(tangents.max(2) - 1);
        let rays = (0..tangents.max(1)).map(|ray| (from + (to - from) * f64::from(ray) / steps).powi(2));
        let mut lines: Vec<Self> = rays.filter_map(|ratio| Self::of_tangent(capacity, ratio)).collect();
        lines.dedup();
        lines
    }

    /// The line that touches the curve where its variance is so much per mean.
    fn of_tangent(capacity: &Capacity, ratio: f64) -> Option<Self> {
        // Less by what rounding can make up for.
        let capacity = Capacity { cap: capacity.cap.checked_sub(TOLERANCE)?, ..*capacity };
        let (z, common) = is_convex(&capacity)?;
        let variance = |micros: u64| (ratio * micros as f64).ceil() as u128;
        let fits = |micros| capacity.left(&Load { micros, variance: variance(micros), tests: 0 }).is_some();
        let (mut low, mut high) = (0, capacity.room());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        let mean = low.saturating_add(capacity.fixed) as f64;
        let slope = 2.0 * (capacity.cap as f64 - mean) / (z * z) + 2.0 * common * common * mean;
        let per_mean = slope.ceil() as u128;
        let touched = per_mean.checked_mul(u128::from(low))?.checked_add(variance(low))?;
        let shift = (u128::BITS - touched.leading_zeros()).saturating_sub(BITS);
        let capacity =
            u64::try_from(touched >> shift).ok().filter(|&capacity| capacity > 0 && per_mean > 0)?;
        Some(Self { capacity, per_mean, per_variance: 1, shift })
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

    /// At least the weight of such a load.
    pub fn weight_up(&self, load: &Load) -> u64 {
        let of_mean = u128::from(load.micros).checked_mul(self.per_mean);
        let of_variance = load.variance.checked_mul(self.per_variance);
        let below = (1u128 << self.shift) - 1;
        let sum = of_mean.and_then(|mean| mean.checked_add(of_variance?)?.checked_add(below));
        sum.and_then(|sum| u64::try_from(sum >> self.shift).ok()).unwrap_or(u64::MAX)
    }
}

/// A variance per mean. Products of a variance and a mean below these are counted exactly.
pub(super) type Ratio = (u128, u128);
const VARIANCE_BITS: u32 = 80;
const MEAN_BITS: u32 = 47;

/// The least and the greatest there are.
pub(super) fn ratios(loads: &[Load], setups: bool) -> Option<(Ratio, Ratio)> {
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

pub(super) fn is_less(a: Ratio, b: Ratio) -> bool {
    a.0 * b.1 < b.0 * a.1
}

/// A point on a ray, at or a little beyond where it meets the curve; its variance is rounded away from the other ray.
pub(super) fn meet(capacity: &Capacity, (variance, mean): Ratio, up: bool) -> Option<(u128, u128)> {
    let at = |m: u64| {
        let product = variance.checked_mul(u128::from(m))?;
        Some(if up { product.div_ceil(mean) } else { product / mean })
    };
    is_convex(capacity)?;
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

/// The quantile and the common factor, if what fits lies under a convex curve.
fn is_convex(capacity: &Capacity) -> Option<(f64, f64)> {
    let (z, common) = (capacity.risk.z_milli, capacity.risk.common_permille);
    let is_convex = z > 0 && u64::from(z) * u64::from(common) < 1_000_000;
    is_convex.then(|| (f64::from(z) / 1000.0, f64::from(common) / 1000.0))
}

/// Whether these have deviations of their own that count.
pub fn varies(capacity: &Capacity, loads: &[Load]) -> bool {
    capacity.risk.z_milli > 0 && loads.iter().any(|load| load.variance > 0)
}

/// From the least to the greatest, evenly by deviation.
pub(super) fn rays(least: Ratio, greatest: Ratio, wedges: u32) -> Vec<Ratio> {
    let root = |ratio: Ratio| (ratio.0 as f64 / ratio.1 as f64).sqrt();
    let (from, to) = (root(least), root(greatest));
    let mut rays = vec![least];
    for ray in 1..wedges {
        let ratio = (from + (to - from) * f64::from(ray) / f64::from(wedges)).powi(2);
        let ratio = ((ratio * 65_536.0) as u128, 65_536);
        if is_less(rays[rays.len() - 1], ratio) && is_less(ratio, greatest) {
            rays.push(ratio);
        }
    }
    rays.push(greatest);
    rays
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
    fn wedges_and_tangents_are_near_the_curve_on_either_side() {
        let capacity = Capacity { cap: 600_000, fixed: 20_000, max_tests: 99, risk: Risk::of(0.1, 0.1) };
        let load = |i: u64| Load {
            micros: 40_000 + i % 90_000,
            variance: u128::from(i * i % 900) * 1_000_000,
            tests: 1,
        };
        let loads: Vec<Load> = (0..400).map(|i| load(i * 7_919)).collect();
        let bundles: Vec<Load> = loads
            .chunks(6)
            .map(|few| few.iter().fold(Load::default(), |sum, load| sum.plus(*load)))
            .collect();
        let wedges = Weights::of_wedges(&capacity, &loads, true, 8);
        let tangents = Weights::of_tangents(&capacity, &bundles, 5);
        assert_eq!((wedges.len(), tangents.len()), (8, 5));
        let (mut fit, mut by_tangent, mut by_chord) = (0, 0, 0);
        for first in 0..loads.len() {
            for many in 3..9 {
                let bundle: Vec<&Load> = loads.iter().cycle().skip(first).take(many).collect();
                let whole = bundle.iter().fold(Load::default(), |sum, load| sum.plus(**load));
                let weighs = |by: &Weights, up: bool| -> u64 {
                    bundle.iter().map(|load| if up { by.weight_up(load) } else { by.weight(load) }).sum()
                };
                let fits = capacity.takes(&whole);
                let inside = tangents.iter().any(|by| weighs(by, true) <= by.capacity);
                let outside = wedges.iter().all(|by| weighs(by, false) > by.capacity);
                assert!(fits || !inside, "{whole:?} is said to fit");
                assert!(!fits || !outside, "{whole:?} is said not to fit");
                fit += u32::from(fits);
                by_tangent += u32::from(inside);
                by_chord += u32::from(!outside);
            }
        }
        assert!(by_tangent * 100 > fit * 97 && by_chord * 97 < fit * 100, "{by_tangent} {fit} {by_chord}");
    }

    #[test]
    fn what_does_not_vary_weighs_its_length() {
        let capacity = Capacity { cap: 100, fixed: 10, max_tests: 9, risk: Risk::of(0.1, 0.0) };
        let load = Load { micros: 30, variance: 0, tests: 1 };
        let weights = Weights::of(&capacity, &[load], true);
        assert_eq!((weights.capacity, weights.weight(&load)), (90, 30));
    }
}

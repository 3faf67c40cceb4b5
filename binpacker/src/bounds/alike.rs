//! Weights of uncertain loads, each by how many of its like fill a bundle, so that no bundle has more than its capacity.
//!
//! What fits under the cap lies, over the plane of mean and variance, under a convex falling curve. The ray of a load, on
//! which all that is like it lies, meets the curve in a point, and the load is so great a part of that. If the parts in a
//! bundle came to more than one, the bundle would be a mean of such points, which is on the curve or beyond, and more than
//! that. So the cheapest that could be is to pack each load with its like, and no plan is cheaper than that.

use super::weights::{Ratio, Weights, is_less, meet, ratios, rays};
use crate::load::{Capacity, Load};

/// What a full bundle weighs.
const FULL: u64 = 1 << 50;
/// So many rays for each load, and at most so many: the load's own is the next that varies less.
const RAYS_EACH: usize = 4;
const MOST_RAYS: usize = 1024;

/// How loads are weighed.
pub enum Measure {
    /// By a line, where nothing varies, or what fits is not under a convex curve.
    Line(Weights),
    Alike(Alike),
}

/// Rays, from the least variance per mean on, each with a mean at which it is beyond the curve.
pub struct Alike(Vec<(Ratio, u128)>);

impl Measure {
    /// Of bundles of this capacity, made of these loads and of setups, if there are any.
    pub fn of(capacity: &Capacity, loads: &[Load], setups: bool) -> Self {
        let varies = !capacity.is_scalar(loads.iter().copied());
        let alike = if varies { Alike::of(capacity, loads, setups) } else { None };
        alike.map_or_else(|| Self::Line(Weights::of(capacity, loads, setups)), Self::Alike)
    }

    pub fn capacity(&self) -> u64 {
        match self {
            Self::Line(line) => line.capacity,
            Self::Alike(_) => FULL,
        }
    }

    /// At most the weight of such a load.
    pub fn weight(&self, load: &Load) -> u64 {
        match self {
            Self::Line(line) => line.weight(load),
            Self::Alike(alike) => alike.weight(load),
        }
    }

    /// At most the weight of a setup of so long.
    pub fn setup(&self, micros: u64) -> u64 {
        self.weight(&Load { micros, ..Load::default() })
    }
}

impl Alike {
    fn of(capacity: &Capacity, loads: &[Load], setups: bool) -> Option<Self> {
        let (least, greatest) = ratios(loads, setups)?;
        let wedges = MOST_RAYS.min(RAYS_EACH * loads.len()) as u32;
        let rays = rays(least, greatest, wedges).into_iter();
        // Its variance is rounded down, so that no load has less of the point's variance than of its mean.
        let met = |ray| Some((ray, meet(capacity, ray, false)?.0));
        rays.map(met).collect::<Option<Vec<_>>>().map(Self)
    }

    fn weight(&self, load: &Load) -> u64 {
        let ratio = (load.variance, u128::from(load.micros));
        // The first varies no more than any load.
        let ray = self.0.partition_point(|(ray, _)| !is_less(ratio, *ray)).saturating_sub(1);
        let weight = u128::from(load.micros) * u128::from(FULL) / self.0[ray].1;
        u64::try_from(weight).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Risk;

    #[test]
    fn what_fits_never_weighs_more_than_a_bundle_and_what_is_alike_as_much() {
        let capacity = Capacity { cap: 600_000, fixed: 20_000, max_tests: 99, risk: Risk::of(0.1, 0.1) };
        let load = |i: u64| Load {
            micros: 500 + i % 9_000,
            variance: u128::from(i * i % 97) * u128::from(i % 89) * 1_000,
            tests: 0,
        };
        let loads: Vec<Load> = (1..400).map(|i| load(i * 7_919)).collect();
        for setups in [false, true] {
            let (by, line) = (Measure::of(&capacity, &loads, setups), Weights::of(&capacity, &loads, setups));
            let share = |load: &Load| by.weight(load) as f64 / by.capacity() as f64;
            let by_line = |load: &Load| line.weight(load) as f64 / line.capacity as f64;
            for first in 0..loads.len() {
                // As many as fit, of all kinds, and of one.
                for step in [1, 7, 0] {
                    let (mut bundle, mut weight, mut at) = (Load::default(), 0u64, first);
                    while capacity.takes(&bundle.plus(loads[at])) {
                        bundle = bundle.plus(loads[at]);
                        weight += by.weight(&loads[at]);
                        at = (at + step) % loads.len();
                    }
                    assert!(weight <= by.capacity(), "{weight}, from {first} by {step}");
                    let full = weight as f64 / by.capacity() as f64 + share(&loads[at]);
                    assert!(step > 0 || full > 0.995, "{full} of a bundle of {:?}", loads[first]);
                }
                assert!(share(&loads[first]) > by_line(&loads[first]) - 1e-6, "{:?}", loads[first]);
            }
        }
    }
}

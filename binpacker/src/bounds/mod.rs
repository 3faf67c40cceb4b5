//! Lower bounds: numbers of bundles that no plan can go below.
//!
//! A unit over a limit has a bundle to itself in every plan, so the bounds are of the rest, plus these.

mod alike;
mod chance;
mod dff;
mod l2;
mod setup;
mod sizes;
pub mod weights;

use crate::load::{Capacity, Load};
use crate::plan::Bound;
use crate::units::{Unit, Units};
use alike::Measure;
use setup::Class;
use sizes::Sizes;

/// What the bounds of some units, none of them over a limit, are made of.
pub struct Bounds<'u, 'p> {
    units: &'u Units<'p>,
    capacity: Capacity,
    members: Vec<&'u Unit>,
    loads: Vec<Load>,
    by: Measure,
    weights: Vec<u64>,
    classes: Vec<Class>,
}

impl<'u, 'p> Bounds<'u, 'p> {
    pub fn new(units: &'u Units<'p>, capacity: Capacity, numbers: impl Iterator<Item = u32>) -> Self {
        let members: Vec<&Unit> = numbers.map(|number| units.unit(number)).collect();
        let loads: Vec<Load> = members.iter().map(|unit| unit.load).collect();
        let scopes = &units.problem.scopes;
        let setups = members.iter().any(|unit| scopes.sum(units.scopes(unit)) > 0);
        let by = Measure::of(&capacity, &loads, setups);
        let weights: Vec<u64> = loads.iter().map(|load| by.weight(load)).collect();
        let classes = setup::classes(units, &members, &weights, &by);
        Self { units, capacity, members, loads, by, weights, classes }
    }

    /// The best bound and what proves it; the simplest proof where several are equal. Nothing is tried any more once it
    /// reaches `target`, which there is a plan of.
    pub fn best(&self, target: u64) -> (u64, Bound) {
        let mut best = self.of_totals();
        let tests: u64 = self.loads.iter().map(|load| u64::from(load.tests)).sum();
        let by_tests = tests.div_ceil(u64::from(self.capacity.max_tests));
        if by_tests > best.0 {
            best = (by_tests, Bound::TestCount);
        }
        if best.0 >= target {
            return best;
        }
        let sizes = self.sizes();
        let l2 = || (l2::l2(&sizes), Bound::L2);
        let pairs = || (l2::pairs(&sizes), Bound::Pairs);
        let dff = || dff::best(&sizes, target);
        for bound in [&l2 as &dyn Fn() -> (u64, Bound), &pairs, &dff] {
            let found = bound();
            if found.0 > best.0 {
                best = found;
            }
            if best.0 >= target {
                break;
            }
        }
        best
    }

    /// What all loads and setups come to, over what one bundle holds.
    fn of_totals(&self) -> (u64, Bound) {
        let scopes = &self.units.problem.scopes;
        let of_weights = setup::minimum_class(&self.weights, &self.classes, scopes, &self.by);
        let varies = !self.capacity.is_scalar(self.loads.iter().copied());
        let name = match (varies, self.classes.is_empty()) {
            (true, _) => Bound::Chance,
            (false, true) => Bound::L1,
            (false, false) => Bound::Setup,
        };
        if !varies {
            return (of_weights, name);
        }
        let setup = |class: &Class| scopes.micros(class.scope).saturating_mul(class.times);
        let setups = self.classes.iter().fold(0, |sum, class| setup(class).saturating_add(sum));
        let all = self.loads.iter().fold(Load::default(), |sum, load| sum.plus(*load)).with_setup(setups);
        (of_weights.max(chance::together(&self.capacity, &all)), name)
    }

    /// Weights with their shares of the setups: no bundle has more of these than its capacity.
    pub fn sizes(&self) -> Sizes {
        let share = |(unit, &weight): (&&Unit, &u64)| {
            let scopes = self.units.scopes(unit);
            weight.saturating_add(setup::share(
                weight,
                scopes,
                &self.classes,
                &self.units.problem.scopes,
                &self.by,
            ))
        };
        let sizes = self.members.iter().zip(&self.weights).map(share).collect();
        Sizes::of(sizes, self.by.capacity())
    }
}

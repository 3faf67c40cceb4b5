//! The minimum-class bound: each scope is paid for in at least so many bundles as its own units need.

use std::cmp::Reverse;

use super::alike::Measure;
use super::l2::l2;
use super::sizes::{Sizes, ceil};
use crate::load::Load;
use crate::problem::Scopes;
use crate::units::{Unit, Units};

/// What a class needs at least.
pub struct Class {
    pub scope: u32,
    /// Of all that use it, without setups.
    pub total: u128,
    /// The scopes that all of these use, this one among them: what any bundle with one of them pays.
    pub paid_with: u64,
    /// Bundles that pay for it, at least.
    pub times: u64,
    pub units: u64,
    /// By how much all of it in one bundle, with its setup, weighs more than its units and its setup by themselves; or than
    /// these with one more setup, if that is less. None where its units use other scopes too.
    pub more: u64,
}

/// The scopes that cost something, ascending, with what the weights make of them.
pub fn classes(units: &Units, members: &[&Unit], weights: &[u64], by: &Measure) -> Vec<Class> {
    let scopes = &units.problem.scopes;
    let uses = members.iter().zip(weights).flat_map(|(unit, &weight)| {
        let costly = units.scopes(unit).iter().filter(|&&scope| scopes.micros(scope) > 0);
        costly.map(move |&scope| (scope, Reverse(weight), *unit))
    });
    let mut uses: Vec<(u32, Reverse<u64>, &Unit)> = uses.collect();
    uses.sort_unstable_by_key(|(scope, weight, unit)| (*scope, *weight, unit.first));
    uses.chunk_by(|a, b| a.0 == b.0).map(|class| one(units, class, by)).collect()
}

fn one(units: &Units, members: &[(u32, Reverse<u64>, &Unit)], by: &Measure) -> Class {
    let common = common(units, members.iter().map(|(_, _, unit)| *unit));
    let paid_with = by.setup(units.problem.scopes.sum(&common));
    let room = by.capacity().saturating_sub(paid_with);
    let total = members.iter().map(|(_, weight, _)| u128::from(weight.0)).sum();
    let sizes = Sizes::of(members.iter().map(|(_, weight, _)| weight.0).collect(), room);
    let times = ceil(total, room).max(l2(&sizes)).max(1);
    let mut class =
        Class { scope: members[0].0, total, paid_with, times, units: members.len() as u64, more: 0 };
    class.more = more(units, &class, members, by);
    class
}

/// Whoever puts the class into one bundle has the weight of its whole load, which is no less than the weights of its parts and may
/// be more where durations vary; and whoever does not pays one more setup.
fn more(units: &Units, class: &Class, members: &[(u32, Reverse<u64>, &Unit)], by: &Measure) -> u64 {
    let scopes = &units.problem.scopes;
    let setup = scopes.micros(class.scope);
    let alone = |unit: &Unit| scopes.sum(units.scopes(unit)) == setup;
    if class.times > 1 || !members.iter().all(|(_, _, unit)| alone(unit)) {
        return 0;
    }
    let whole = members.iter().fold(Load::default(), |sum, (_, _, unit)| sum.plus(unit.load));
    let apart = class.total + u128::from(by.setup(setup));
    let more = u128::from(by.weight(&whole.with_setup(setup))).saturating_sub(apart);
    u64::try_from(more).unwrap_or(u64::MAX).min(by.setup(setup))
}

/// What all of these use.
fn common<'u>(units: &'u Units, mut members: impl Iterator<Item = &'u Unit>) -> Vec<u32> {
    let mut common = members.next().map_or_else(Vec::new, |unit| units.scopes(unit).to_vec());
    for unit in members {
        if common.len() <= 1 {
            break;
        }
        let scopes = units.scopes(unit);
        common.retain(|scope| scopes.binary_search(scope).is_ok());
    }
    common
}

/// All loads and each scope as often as it must be paid, over what one bundle holds.
pub fn minimum_class(weights: &[u64], classes: &[Class], scopes: &Scopes, by: &Measure) -> u64 {
    let loads: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let setup = |class: &Class| {
        u128::from(by.setup(scopes.micros(class.scope))) * u128::from(class.times) + u128::from(class.more)
    };
    let total = loads + classes.iter().map(setup).sum::<u128>();
    ceil(total, by.capacity()).max(u64::from(!weights.is_empty()))
}

/// What a unit of this weight has of its scopes' setups, so that the shares of units in a bundle never come to more than the
/// bundle pays: by weight, of all that one bundle can hold of the scope.
pub fn share(weight: u64, scopes: &[u32], classes: &[Class], of: &Scopes, by: &Measure) -> u64 {
    let of_one = |scope: &u32| {
        let class = &classes[classes.binary_search_by_key(scope, |class| class.scope).ok()?];
        let setup = u128::from(by.setup(of.micros(*scope)));
        let held = class.total.min(u128::from(by.capacity().saturating_sub(class.paid_with)));
        let share = if class.total == 0 {
            setup / u128::from(class.units)
        } else {
            setup * u128::from(weight) / held.max(1)
        };
        u64::try_from(share).ok()
    };
    scopes.iter().filter_map(of_one).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Capacity;
    use crate::problem::{Item, Problem, Risk};

    #[test]
    fn a_class_in_one_bundle_weighs_its_whole_load_or_pays_twice() {
        // Of a class half vary much and half little: apart, each with its like, they would weigh less.
        let capacity = Capacity { cap: 600_000, fixed: 0, max_tests: 99, risk: Risk::of(0.1, 0.0) };
        let more = |setup: u64| {
            let mut scopes = Scopes::default();
            let set = scopes.add_alone(setup);
            let item = |test: u32| Item {
                test,
                micros: 10_000,
                sd_micros: if test.is_multiple_of(2) { 10_000 } else { 100 },
                scopes: set,
                ..Item::default()
            };
            let problem = Problem { scopes, ..Problem::new((0..8).map(item).collect(), 600) };
            let units = Units::of(&problem).unwrap();
            let members: Vec<&Unit> = units.units.iter().collect();
            let loads: Vec<Load> = members.iter().map(|unit| unit.load).collect();
            let by = Measure::of(&capacity, &loads, true);
            let weights: Vec<u64> = loads.iter().map(|load| by.weight(load)).collect();
            let class = &classes(&units, &members, &weights, &by)[0];
            (class.more as f64 / by.setup(setup) as f64 * setup as f64) as u64
        };
        let whole = more(50_000);
        assert!((1_000..49_000).contains(&whole), "{whole}");
        assert!(more(500).abs_diff(500) <= 1, "{}", more(500));
    }
}

//! The minimum-class bound: each scope is paid for in at least so many bundles as its own units need.

use std::cmp::Reverse;

use super::alike::Measure;
use super::l2::l2;
use super::sizes::{Sizes, ceil};
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

fn one(units: &Units, class: &[(u32, Reverse<u64>, &Unit)], by: &Measure) -> Class {
    let common = common(units, class.iter().map(|(_, _, unit)| *unit));
    let paid_with = by.setup(units.problem.scopes.sum(&common));
    let room = by.capacity().saturating_sub(paid_with);
    let total = class.iter().map(|(_, weight, _)| u128::from(weight.0)).sum();
    let sizes = Sizes::of(class.iter().map(|(_, weight, _)| weight.0).collect(), room);
    let times = ceil(total, room).max(l2(&sizes)).max(1);
    Class { scope: class[0].0, total, paid_with, times, units: class.len() as u64 }
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
    let setup = |class: &Class| u128::from(by.setup(scopes.micros(class.scope))) * u128::from(class.times);
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

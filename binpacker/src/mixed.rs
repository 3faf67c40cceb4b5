//! What the solver packs where durations vary, or units share setups: sets of units that fit are told by several sums, each with the
//! setups of the classes that it has something of.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::bounds::weights::{Weights, varies};
use crate::budget::Steps;
use crate::load::{Capacity, Load};
use crate::packing::{self, Packing};
use crate::pieces;
use crate::plan::Unsolved;
use crate::scoped::{Bins, Rule};
use crate::solver::{Goods, MOST, Measured, Rounded, SMALL, Types, scaled, tick};
use crate::units::Units;

/// Lines under the curve of what fits, and wedges of the plane over it, where durations vary.
const TANGENTS: u32 = 5;
const WEDGES: u32 = 8;
/// Deviations are alike within so many ticks: they count for less than means.
const TICKS_OF_DEVIATION: u32 = 8;

pub struct Mixed<'u, 'p> {
    units: &'u Units<'p>,
    capacity: Capacity,
    things: Vec<Thing>,
    /// Of each class; the first is of what shares nothing.
    setups: Vec<Setup>,
    /// What fits by one of these fits.
    inner: Vec<Weights>,
    /// What fits fits by one of these.
    outer: Vec<Weights>,
    varies: bool,
}

/// What a bundle with something of a class pays for it. Scopes that classes share count for each of them, or for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Setup {
    at_most: u64,
    at_least: u64,
}

/// A unit, with what only it pays for.
#[derive(Clone, Copy)]
struct Thing {
    number: u32,
    class: usize,
    load: Load,
}

impl<'u, 'p> Mixed<'u, 'p> {
    /// These units; with a packing of them, whose bundles are like those that are looked for.
    pub fn of(
        units: &'u Units<'p>,
        numbers: &[u32],
        capacity: &Capacity,
        packing: &Packing,
    ) -> Result<Self, Unsolved> {
        let shares = pieces::share(
            numbers.iter().map(|&number| units.scopes(units.unit(number))),
            &units.problem.scopes,
        );
        let why = if shares { Unsolved::Scopes } else { Unsolved::Varies };
        if numbers.len() > MOST {
            return Err(why);
        }
        let (things, setups) = classes(units, numbers);
        let loads: Vec<Load> = things.iter().map(|thing| thing.load).collect();
        let bundles: Vec<Load> = packing.bins.iter().map(|bin| packing::load(units, bin)).collect();
        let pays = setups.iter().any(|setup| setup.at_least > 0);
        let outer = Weights::of_wedges(capacity, &loads, pays, WEDGES);
        let inner = Weights::of_tangents(capacity, &bundles, TANGENTS);
        let varies = varies(capacity, &loads);
        if inner.is_empty() {
            return Err(Unsolved::Varies);
        }
        Ok(Self { units, capacity: *capacity, things, setups, inner, outer, varies })
    }

    /// Why, if nothing was searched.
    pub fn unsolved(&self) -> Unsolved {
        if self.setups.len() > 1 { Unsolved::Scopes } else { Unsolved::Varies }
    }

    /// The units of these places.
    pub fn packing(&self, bins: &[Vec<u32>]) -> Packing {
        let bin = |bin: &Vec<u32>| bin.iter().map(|&place| self.things[place as usize].number).collect();
        Packing::of(self.units, bins.iter().map(bin).collect())
    }

    fn types(&self, places: &[u32], ticks: u32, way: Rounded) -> Types {
        let views = if way == Rounded::Up { &self.inner } else { &self.outer };
        let size = |by: &Weights, load: &Load| {
            let weight = if way == Rounded::Up { by.weight_up(load) } else { by.weight(load) };
            scaled(weight, by.capacity, ticks, way)
        };
        let setup = |by: &Weights, setup: &Setup| {
            let micros = if way == Rounded::Up { setup.at_most } else { setup.at_least };
            size(by, &Load { micros, ..Load::default() })
        };
        let setups =
            |by: &Weights| -> Vec<usize> { self.setups.iter().map(|each| setup(by, each)).collect() };
        let of_views = views.iter().map(|by| (ticks as usize, setups(by)));
        let mut measured: Vec<Measured> = Vec::with_capacity(places.len());
        for (alike, load) in self.alike(places, ticks, way) {
            let sizes: Vec<usize> = views.iter().map(|by| size(by, &load)).collect();
            let class = self.things[alike[0] as usize].class;
            measured.extend(alike.into_iter().map(|place| (place, class, sizes.clone())));
        }
        Types::of(measured.into_iter(), of_views.collect())
    }

    /// Those of a class that are alike but for about a tick, and the greatest or the least of them.
    fn alike(&self, places: &[u32], ticks: u32, way: Rounded) -> Vec<(Vec<u32>, Load)> {
        let mut alike: BTreeMap<(usize, usize, usize), Vec<u32>> = BTreeMap::new();
        for &place in places {
            let Thing { class, load, .. } = self.things[place as usize];
            let room = if self.varies { self.capacity.room() } else { self.inner[0].capacity };
            let deviation = if self.varies { load.variance.isqrt() } else { 0 };
            let deviation = u64::try_from(deviation).unwrap_or(u64::MAX);
            let deviation = scaled(deviation, room, ticks / TICKS_OF_DEVIATION, way);
            alike.entry((class, scaled(load.micros, room, ticks, way), deviation)).or_default().push(place);
        }
        let of_all = |places: Vec<u32>| {
            let loads = || places.iter().map(|&place| self.things[place as usize].load);
            let (means, variances) = (loads().map(|load| load.micros), loads().map(|load| load.variance));
            let (mean, variance) = match way {
                Rounded::Up => (means.max(), variances.max()),
                Rounded::Down => (means.min(), variances.min()),
            };
            let load =
                Load { micros: mean.unwrap_or_default(), variance: variance.unwrap_or_default(), tests: 1 };
            (places, load)
        };
        alike.into_values().map(of_all).collect()
    }

    fn is_large(&self, place: u32) -> bool {
        self.things[place as usize].load.micros >= self.capacity.room() / SMALL
    }
}

impl Goods for Mixed<'_, '_> {
    fn len(&self) -> usize {
        self.things.len()
    }

    /// Where nothing varies, and no classes share a scope.
    fn exact(&self) -> Option<Types> {
        if self.varies || self.setups.iter().any(|setup| setup.at_least < setup.at_most) {
            return None;
        }
        let sizes = self.things.iter().map(|thing| thing.load.micros);
        let (tick, ticks) =
            tick(sizes.chain(self.setups.iter().map(|setup| setup.at_most)), self.inner[0].capacity)?;
        let whole = |micros: u64| usize::try_from(micros / tick).unwrap_or(usize::MAX).min(2 * ticks + 1);
        let things = (0u32..).zip(&self.things);
        let things = things.map(|(place, thing)| (place, thing.class, vec![whole(thing.load.micros)]));
        let setups = self.setups.iter().map(|setup| whole(setup.at_most)).collect();
        let types = Types::of(things, vec![(ticks, setups)]);
        types.is_small().then_some(types)
    }

    fn rounded(&self, ticks: u32, way: Rounded) -> Types {
        let wanted = |place: &u32| way == Rounded::Down || self.is_large(*place);
        let places: Vec<u32> = (0..self.things.len() as u32).filter(wanted).collect();
        self.types(&places, ticks, way)
    }

    /// The longest first, class by class, into bins that have paid for the class where that goes.
    fn filled(&self, mut bins: Vec<Vec<u32>>) -> Option<Vec<Vec<u32>>> {
        let mut open = Bins::new(&self.units.problem.scopes, &self.capacity);
        let mut there = vec![false; self.things.len()];
        for bin in &bins {
            bin.iter().for_each(|&place| there[place as usize] = true);
            let numbers: Vec<u32> = bin.iter().map(|&place| self.things[place as usize].number).collect();
            if !self.capacity.takes(&packing::load(self.units, &numbers)) {
                return None;
            }
            open.open(numbers.iter().map(|&number| packing::piece(self.units, number)));
        }
        let mut rest: Vec<u32> =
            (0..self.things.len() as u32).filter(|&place| !there[place as usize]).collect();
        let of_place = |place: u32| self.things[place as usize];
        rest.sort_by_key(|&place| (of_place(place).class, Reverse(of_place(place).load.micros), place));
        let mut steps = Steps::new(u64::MAX, &|| false);
        for place in rest {
            let piece = packing::piece(self.units, of_place(place).number);
            match open.place(piece, Rule::SameScope, &mut steps) {
                Some(bin) => bins[bin as usize].push(place),
                None => {
                    open.open([piece]);
                    bins.push(vec![place]);
                }
            }
        }
        Some(bins)
    }
}

/// Units by what they pay for, and what that costs.
fn classes(units: &Units, numbers: &[u32]) -> (Vec<Thing>, Vec<Setup>) {
    let scopes = &units.problem.scopes;
    let mut by_scopes: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    for &number in numbers {
        let used = units.scopes(units.unit(number)).iter().copied();
        let costly = used.filter(|&scope| scopes.micros(scope) > 0).collect();
        by_scopes.entry(costly).or_default().push(number);
    }
    let owners = Owners::of(&by_scopes);
    let (mut things, mut setups) = (Vec::with_capacity(numbers.len()), vec![Setup::default()]);
    for (class, (used, numbers)) in by_scopes.iter().enumerate() {
        let cost = |wanted: &dyn Fn(Owner) -> bool| {
            let counted = used.iter().filter(|scope| wanted(owners.0[*scope]));
            counted.fold(0u64, |sum, &scope| sum.saturating_add(scopes.micros(scope)))
        };
        let (own, shared) = (cost(&|owner| !owner.is_shared), cost(&|owner| owner.is_shared));
        let owned = cost(&|owner| owner.is_shared && owner.class == class);
        // What only one unit pays for is as if it were longer.
        let (alone, rest) = if numbers.len() == 1 { (own, 0) } else { (0, own) };
        let setup = Setup { at_most: shared.saturating_add(rest), at_least: owned.saturating_add(rest) };
        let class = if setup.at_most == 0 { 0 } else { setups.len() };
        if class > 0 {
            setups.push(setup);
        }
        let load = |number: u32| units.unit(number).load.with_setup(alone);
        things.extend(numbers.iter().map(|&number| Thing { number, class, load: load(number) }));
    }
    things.sort_unstable_by_key(|thing: &Thing| thing.number);
    (things, setups)
}

/// Which class each scope is of: where several use it, that with the most units, so that it is never counted twice.
struct Owners(BTreeMap<u32, Owner>);

#[derive(Clone, Copy)]
struct Owner {
    class: usize,
    units: usize,
    is_shared: bool,
}

impl Owners {
    fn of(by_scopes: &BTreeMap<Vec<u32>, Vec<u32>>) -> Self {
        let mut owners: BTreeMap<u32, Owner> = BTreeMap::new();
        for (class, (used, numbers)) in by_scopes.iter().enumerate() {
            for &scope in used {
                let new = Owner { class, units: numbers.len(), is_shared: false };
                let before = owners.insert(scope, new);
                if let Some(before) = before {
                    let larger = if before.units >= new.units { before } else { new };
                    owners.insert(scope, Owner { is_shared: true, ..larger });
                }
            }
        }
        Self(owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Item, Problem, Risk, Scopes};

    fn item(test: u32, micros: u64) -> Item {
        Item { test, micros, ..Item::default() }
    }

    #[test]
    fn classes_are_of_what_is_shared() {
        let mut scopes = Scopes::default();
        let (one, two, free) = (scopes.add(300), scopes.add(200), scopes.add(0));
        let (both, own, none) = (scopes.set(&[one, two, free]), scopes.add_alone(50), scopes.set(&[free]));
        let with = |test, scopes| Item { scopes, ..item(test, 1_000) };
        let items = vec![with(0, both), with(1, own), with(2, both), with(3, none), item(4, 1_000)];
        let mut problem = Problem { scopes, ..Problem::new(items, 10) };
        let units = Units::of(&problem).unwrap();
        let (things, setups) = classes(&units, &[0, 1, 2, 3, 4]);
        let setup = |at_least, at_most| Setup { at_least, at_most };
        assert_eq!(setups, [setup(0, 0), setup(500, 500)]);
        let of = |thing: &Thing| (thing.number, thing.class, thing.load.micros);
        let told: Vec<_> = things.iter().map(of).collect();
        assert_eq!(told, [(0, 1, 1_000), (1, 0, 1_050), (2, 1, 1_000), (3, 0, 1_000), (4, 0, 1_000)]);
        // One that uses a part of what others use is a class, for which that is not counted twice, or is.
        problem.items[4].scopes = problem.scopes.set(&[two]);
        let units = Units::of(&problem).unwrap();
        let (things, setups) = classes(&units, &[0, 1, 2, 3, 4]);
        assert_eq!(setups, [setup(0, 0), setup(500, 500), setup(0, 200)]);
        assert_eq!(things.iter().map(|thing| thing.class).collect::<Vec<_>>(), [1, 0, 1, 0, 2]);
    }

    #[test]
    fn what_is_small_fills_gaps_and_what_does_not_fit_is_refused() {
        let mut items: Vec<Item> = (0..4).map(|test| item(test, 4_900)).collect();
        items.push(item(4, 100));
        items.iter_mut().for_each(|item| item.sd_micros = 10);
        let problem = Problem { risk: Risk::of(0.1, 0.0), ..Problem::new(items, 10) };
        let units = Units::of(&problem).unwrap();
        let capacity = Capacity { cap: 10_000, fixed: 0, max_tests: 9, risk: problem.risk };
        let packing = Packing::of(&units, (0..5).map(|number| vec![number]).collect());
        let mixed = Mixed::of(&units, &[0, 1, 2, 3, 4], &capacity, &packing).unwrap();
        assert_eq!(mixed.rounded(600, Rounded::Up).demands, [4]);
        assert_eq!(mixed.rounded(600, Rounded::Down).demands, [4, 1]);
        assert_eq!(mixed.filled(vec![vec![0, 1], vec![2, 3]]).unwrap(), [vec![0, 1, 4], vec![2, 3]]);
        assert_eq!(mixed.filled(vec![vec![0, 1, 2], vec![3]]), None);
    }
}

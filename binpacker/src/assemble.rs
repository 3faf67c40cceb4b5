//! From packed units to the plan: tests in their order, and what each bundle and the whole come to.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::cap::Limits;
use crate::load::Load;
use crate::order;
use crate::packing;
use crate::plan::{BLOCKERS, Blocker, Bound, Bundle, Longest, Oversize, Part, Plan, Stage};
use crate::search::Found;
use crate::units::{Unit, Units};

/// The plan of all environments together.
pub fn assemble(units: &Units, limits: &Limits, found: Vec<Found>) -> Plan {
    let lower_bound = found.iter().map(|found| found.lower_bound).sum::<u64>();
    let bound = match found.as_slice() {
        [] => Bound::L1,
        [one] => one.bound,
        _ => Bound::Environments,
    };
    let stage = found.iter().map(|found| found.stage).max().unwrap_or(Stage::Blocks);
    let unsolved = found.iter().find_map(|found| found.unsolved);
    let repeatable = found.iter().all(|found| found.repeatable);
    let bins = found.into_iter().flat_map(|found| {
        let oversize = found.oversize.into_iter().map(|number| (vec![number], true));
        oversize.chain(found.bins.into_iter().map(|bin| (bin, false)))
    });
    let bins: Vec<(Vec<u32>, bool)> = bins.collect();
    let repeated_setup_micros = repeated_setup(units, bins.iter().map(|(bin, _)| bin.as_slice()));
    let mut made: Vec<(Bundle, u32, Option<Part>)> =
        bins.into_iter().map(|(bin, oversize)| bundle(units, limits, &bin, oversize)).collect();
    made.sort_by_key(|(bundle, first, _)| (Reverse(bundle.total_micros()), *first));
    let mut plan = Plan {
        bundles: Vec::with_capacity(made.len()),
        cap_micros: limits.soft.cap,
        lower_bound: u32::try_from(lower_bound).unwrap_or(u32::MAX),
        bound,
        stage,
        unsolved,
        repeatable,
        repeated_setup_micros,
        oversize: Vec::new(),
        longest: longest(units),
        blockers: blockers(units, limits),
    };
    for (place, (bundle, _, oversize)) in (0u32..).zip(made) {
        plan.oversize.extend(oversize.map(|part| Oversize { bundle: place, part }));
        plan.bundles.push(bundle);
    }
    plan
}

/// The bundle of a bin, its first position, and what makes it oversize.
fn bundle(units: &Units, limits: &Limits, bin: &[u32], oversize: bool) -> (Bundle, u32, Option<Part>) {
    let members = || bin.iter().map(|&number| units.unit(number));
    let items = &units.problem.items;
    let oversize = members().next().filter(|_| oversize).map(|unit| part(units, unit));
    let first = members().map(|unit| unit.first).min().unwrap_or_default();
    let setup = units.problem.scopes.sum(&packing::scopes(units, bin));
    let tests = members().fold(Load::default(), |sum, unit| sum.plus(unit.load));
    let whole = tests.with_setup(setup).with_setup(limits.hard.fixed);
    let risk = units.problem.risk;
    let bundle = Bundle {
        tests: in_order(units, bin).into_iter().map(|p| items[p as usize].test).collect(),
        environment: members().next().map(|unit| unit.environment).unwrap_or_default(),
        micros: tests.micros,
        setup_micros: setup.saturating_add(limits.hard.fixed),
        sd_micros: risk.deviation(whole.micros, whole.variance).round() as u64,
        overrun_ppm: risk.overrun_ppm(whole.micros, whole.variance, limits.hard.cap),
    };
    (bundle, first, oversize)
}

/// The positions of a bin's tests in the order to run in: the framework's, except where an ordered relation says otherwise.
/// Where slots are known, what takes longer than a bundle costs goes before all else, the longest first, for at the end of a
/// run nothing makes up for it. What shares its first scope with it, its file, goes with it.
fn in_order(units: &Units, bin: &[u32]) -> Vec<u32> {
    let least = units.problem.slots.map_or(u64::MAX, |_| units.problem.fixed_micros());
    let mut families: BTreeMap<Result<u32, u32>, Vec<u32>> = BTreeMap::new();
    for &number in bin {
        let scope = units.scopes(units.unit(number)).first().copied();
        families.entry(scope.ok_or(number)).or_default().push(number);
    }
    let longest = |family: &Vec<u32>| family.iter().map(|&number| units.unit(number).load.micros).max();
    let first = |family: &Vec<u32>| family.iter().map(|&number| units.unit(number).first).min();
    let (mut long, others): (Vec<_>, Vec<_>) =
        families.into_values().partition(|family| longest(family) > Some(least));
    long.sort_by_key(|family| (Reverse(longest(family)), first(family)));
    long.push(others.concat());
    long.iter().flat_map(|family| by_framework(units, family)).collect()
}

fn by_framework(units: &Units, family: &[u32]) -> Vec<u32> {
    let members = || family.iter().map(|&number| units.unit(number));
    let mut positions: Vec<u32> = members().flat_map(|unit| units.positions(unit)).copied().collect();
    positions.sort_unstable();
    let edges: Vec<(u32, u32)> = members().flat_map(|unit| units.edges(unit)).copied().collect();
    order::sorted(&positions, &edges).expect("each unit was put in order already")
}

/// What all bins pay, without what each scope costs once.
fn repeated_setup<'b>(units: &Units, bins: impl Iterator<Item = &'b [u32]>) -> u64 {
    let scopes = &units.problem.scopes;
    let mut paid = vec![false; scopes.len()];
    let mut repeated = 0u64;
    for bin in bins {
        for scope in packing::scopes(units, bin) {
            if std::mem::replace(&mut paid[scope as usize], true) {
                repeated = repeated.saturating_add(scopes.micros(scope));
            }
        }
    }
    repeated
}

fn longest(units: &Units) -> Option<Longest> {
    // The first of several that are equally long.
    let unit = units.units.iter().max_by_key(|unit| (unit.load.micros, Reverse(unit.first)))?;
    Some(Longest { part: part(units, unit), micros: unit.load.micros })
}

fn blockers(units: &Units, limits: &Limits) -> Vec<Blocker> {
    let needed = |unit: &Unit| {
        let alone = units.alone(unit);
        limits.hard.risk.quantile(limits.hard.fixed.saturating_add(alone.micros), alone.variance)
    };
    let mut longest: Vec<(u64, &Unit)> = Vec::with_capacity(BLOCKERS + 1);
    for unit in &units.units {
        let needed = needed(unit);
        let at = longest.partition_point(|(other, _)| *other >= needed);
        if at < BLOCKERS {
            longest.insert(at, (needed, unit));
            longest.truncate(BLOCKERS);
        }
    }
    let blocker = |(cap_micros, unit): (u64, &Unit)| Blocker {
        part: part(units, unit),
        micros: unit.load.micros,
        cap_micros,
    };
    longest.into_iter().map(blocker).collect()
}

fn part(units: &Units, unit: &Unit) -> Part {
    let test = |&position: &u32| units.problem.items[position as usize].test;
    if Units::is_relation(unit) {
        Part::Relation(units.positions(unit).iter().map(test).collect())
    } else {
        Part::Test(test(&unit.first))
    }
}

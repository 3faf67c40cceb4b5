//! What a packing comes to, and how it is put together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use crate::cap::Limits;
use crate::greedy::Bin;
use crate::order;
use crate::units::{Unit, Units};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order to dispatch in: the longest first, unless others go before them.
    pub bundles: Vec<Bundle>,
    /// The cap that was packed under: the one asked for, or the effective cap.
    pub cap_micros: u64,
    /// No plan under this cap has fewer bundles.
    pub lower_bound: u32,
    /// What proves the lower bound.
    pub bound: Bound,
    /// Bundles that are over a limit because one test or relation is, by their place in `bundles`.
    pub oversize: Vec<Oversize>,
    /// What sets the floor of the makespan, however many slots there are.
    pub longest: Option<Longest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// In the framework's order, except where an ordered relation says otherwise.
    pub tests: Vec<u32>,
    /// Predicted, of its tests.
    pub micros: u64,
    /// Predicted, of what else it pays: its fixed cost and the setups of its scopes.
    pub setup_micros: u64,
}

/// Names of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The total with setups over the cap.
    L1,
    /// Martello and Toth's L2: long units that do not pair.
    L2,
    /// The number of tests over the most a bundle may have.
    TestCount,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversize {
    pub bundle: u32,
    pub part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Longest {
    pub part: Part,
    /// Predicted, of its tests.
    pub micros: u64,
}

/// What cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Test(u32),
    /// All tests of relations that overlap, in the order to run in.
    Relation(Vec<u32>),
}

impl Bundle {
    pub fn total_micros(&self) -> u64 {
        self.micros.saturating_add(self.setup_micros)
    }
}

impl Plan {
    /// Predicted, of all bundles with their setups.
    pub fn total_micros(&self) -> u64 {
        self.bundles.iter().fold(0, |sum, bundle| sum.saturating_add(bundle.total_micros()))
    }

    /// This plan, and then another, of other tests.
    #[must_use]
    pub fn followed_by(mut self, other: Plan) -> Plan {
        let place = self.bundles.len() as u32;
        let moved = |oversize: Oversize| Oversize { bundle: place + oversize.bundle, ..oversize };
        self.oversize.extend(other.oversize.into_iter().map(moved));
        self.bundles.extend(other.bundles);
        self.cap_micros = self.cap_micros.max(other.cap_micros);
        // A plan of all is one of each part too; that two parts need as many together is not said.
        if other.lower_bound > self.lower_bound {
            (self.lower_bound, self.bound) = (other.lower_bound, other.bound);
        }
        let micros = |longest: &Option<Longest>| longest.as_ref().map(|longest| longest.micros);
        if micros(&other.longest) > micros(&self.longest) {
            self.longest = other.longest;
        }
        self
    }

    /// Predicted, from the first dispatch to the last end, if each slot takes the next bundle when it is free.
    pub fn makespan_micros(&self, slots: u32) -> u64 {
        let slots = (slots.max(1) as usize).min(self.bundles.len().max(1));
        let mut free_at: BinaryHeap<_> = (0..slots).map(|_| Reverse(0u64)).collect();
        for bundle in &self.bundles {
            if let Some(Reverse(at)) = free_at.pop() {
                free_at.push(Reverse(at.saturating_add(bundle.total_micros())));
            }
        }
        free_at.into_iter().map(|Reverse(at)| at).max().unwrap_or_default()
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::TestCount => "test count",
        })
    }
}

pub(crate) fn assemble(units: &Units, limits: &Limits, bins: Vec<Bin>, bound: (u32, Bound)) -> Plan {
    let mut made: Vec<(Bundle, u32, Option<Part>)> = bins.into_iter().map(|bin| bundle(units, bin)).collect();
    made.sort_by_key(|(bundle, first, _)| (Reverse(bundle.total_micros()), *first));
    let mut plan = Plan {
        bundles: Vec::with_capacity(made.len()),
        cap_micros: limits.cap_micros,
        lower_bound: bound.0,
        bound: bound.1,
        oversize: Vec::new(),
        longest: longest(units),
    };
    for (place, (bundle, _, oversize)) in (0u32..).zip(made) {
        plan.oversize.extend(oversize.map(|part| Oversize { bundle: place, part }));
        plan.bundles.push(bundle);
    }
    plan
}

/// The bundle of a bin, its first position, and what makes it oversize.
fn bundle(units: &Units, bin: Bin) -> (Bundle, u32, Option<Part>) {
    let members = || bin.units.iter().map(|&number| &units.units[number as usize]);
    let items = &units.problem.items;
    let mut positions: Vec<u32> = members().flat_map(|unit| units.positions(unit)).copied().collect();
    positions.sort_unstable();
    let first = positions.first().copied().unwrap_or_default();
    let mut scopes: Vec<u32> = positions.iter().map(|&p| items[p as usize].scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let oversize = members().next().filter(|_| bin.oversize).map(|unit| part(units, unit));
    let edges: Vec<(u32, u32)> = members().flat_map(|unit| units.edges(unit)).copied().collect();
    let order = order::sorted(&positions, &edges).expect("each unit was put in order already");
    let bundle = Bundle {
        tests: order.iter().map(|&p| items[p as usize].test).collect(),
        micros: members().fold(0, |sum, unit| sum.saturating_add(unit.micros)),
        setup_micros: units.setup(&scopes).saturating_add(units.problem.fixed_micros()),
    };
    (bundle, first, oversize)
}

fn longest(units: &Units) -> Option<Longest> {
    // The first of several that are equally long.
    let unit = units.units.iter().max_by_key(|unit| (unit.micros, Reverse(unit.first)))?;
    Some(Longest { part: part(units, unit), micros: unit.micros })
}

fn part(units: &Units, unit: &Unit) -> Part {
    let test = |&position: &u32| units.problem.items[position as usize].test;
    if Units::is_relation(unit) {
        Part::Relation(units.positions(unit).iter().map(test).collect())
    } else {
        Part::Test(test(&unit.first))
    }
}

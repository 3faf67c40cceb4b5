//! The portfolio: best fit of single units in several orders, by several rules, each member by itself.

use std::cmp::Reverse;

use rayon::prelude::*;

use crate::budget::Steps;
use crate::load::Capacity;
use crate::packing::{self, Packing};
use crate::random::{GOLDEN, mixed};
use crate::scoped::{self, Bins, Piece, Rule};
use crate::split;
use crate::units::Units;

/// How many members go by sizes that chance has changed, and by how much at most, in percent.
const JITTERED: u64 = 4;
const PERCENT: u64 = 10;
/// What a unit takes at least, where there are many.
const STEPS_EACH: u64 = 4;

#[derive(Debug, Clone, Copy)]
enum Order {
    /// The longest first.
    Longest,
    /// The scope with the longest units in all first, then the longest.
    HeaviestScope,
    /// What costs the most setup first, then the longest.
    DearestScope,
    /// What varies most for its length first: it costs least among its like.
    Alike,
    /// The longest first, after a change by chance.
    Jittered(u64),
}

/// What the members work on.
pub struct Portfolio<'u, 'p> {
    pub units: &'u Units<'p>,
    /// None of them over a limit.
    pub numbers: &'u [u32],
    pub capacity: Capacity,
    pub seed: u64,
    /// A packing of so few bins is optimal.
    pub target: u64,
}

impl Portfolio<'_, '_> {
    /// The best packing of all members, the first of several that are equal, and whether one was cancelled. Each has an equal
    /// share of the steps, so that it does not matter which thread it runs on.
    pub fn best(&self, steps: &Steps) -> (Option<Packing>, bool) {
        let costly = self.numbers.iter().any(|&number| self.setup(number) > 0);
        let members = members(costly, self.seed);
        // None would come to an end.
        if steps.left() / (members.len() as u64) < self.numbers.len() as u64 * STEPS_EACH {
            return (None, false);
        }
        let shares: Vec<_> =
            members.iter().map(|&member| (member, steps.split(members.len() as u64))).collect();
        let tried = shares.into_par_iter().map(|((order, rule), mut steps)| {
            let packing = self.member(order, rule, &mut steps);
            (packing, steps.was_cancelled)
        });
        let tried: Vec<_> = tried.collect();
        let cancelled = tried.iter().any(|(_, cancelled)| *cancelled);
        let better = |a: Packing, b: Packing| if b.is_better_than(&a) { b } else { a };
        (tried.into_iter().filter_map(|(packing, _)| packing).reduce(better), cancelled)
    }

    /// The packing of units with their like, if there are steps for it.
    pub fn alike(&self, steps: &mut Steps) -> Option<Packing> {
        let suffices = steps.left() >= self.numbers.len() as u64 * STEPS_EACH;
        if suffices { self.member(Order::Alike, Rule::Fullest, steps) } else { None }
    }

    fn member(&self, order: Order, rule: Rule, steps: &mut Steps) -> Option<Packing> {
        let pieces: Vec<Piece> =
            self.numbers.iter().map(|&number| packing::piece(self.units, number)).collect();
        let places = self.order(order);
        let bins = Bins::new(&self.units.problem.scopes, &self.capacity);
        let fitted = scoped::fit(&pieces, &places, bins, rule, steps)?;
        let bin = |places: Vec<u32>| places.into_iter().map(|place| self.numbers[place as usize]).collect();
        let packing = Packing::of(self.units, fitted.into_iter().map(bin).collect());
        let fewer = split::fewer(self.units, &packing, self.target, &self.capacity, steps);
        Some(fewer.unwrap_or(packing))
    }

    fn setup(&self, number: u32) -> u64 {
        let units = self.units;
        units.problem.scopes.sum(units.scopes(units.unit(number)))
    }

    fn order(&self, order: Order) -> Vec<u32> {
        let unit = |place: u32| self.units.unit(self.numbers[place as usize]);
        let scopes = |place: u32| self.units.scopes(unit(place));
        let micros = |place: u32| unit(place).load.micros;
        let mut places: Vec<u32> = (0..self.numbers.len() as u32).collect();
        match order {
            Order::Longest => places.sort_by_key(|&p| (Reverse(micros(p)), p)),
            Order::Alike => places.sort_by(|&a, &b| {
                let ratio = |p: u32| unit(p).load.variance_per_mean();
                ratio(b).total_cmp(&ratio(a)).then(micros(b).cmp(&micros(a))).then(a.cmp(&b))
            }),
            Order::Jittered(seed) => {
                places.sort_by_cached_key(|&p| (Reverse(jittered(micros(p), seed, p)), p))
            }
            Order::DearestScope => places.sort_by_cached_key(|&p| {
                (Reverse(self.setup(self.numbers[p as usize])), scopes(p), Reverse(micros(p)), p)
            }),
            Order::HeaviestScope => {
                places.sort_by_key(|&p| (scopes(p), Reverse(micros(p)), p));
                let mut families: Vec<&[u32]> = places.chunk_by(|&a, &b| scopes(a) == scopes(b)).collect();
                families.sort_by_key(|family| {
                    let total = family.iter().fold(0u64, |sum, &p| sum.saturating_add(micros(p)));
                    (Reverse(total), family.first().copied())
                });
                places = families.concat();
            }
        }
        places
    }
}

fn members(costly: bool, seed: u64) -> Vec<(Order, Rule)> {
    let jittered = |member| Order::Jittered(seed.wrapping_mul(JITTERED).wrapping_add(member));
    let by_chance = (0..JITTERED).map(|member| (jittered(member), Rule::Fullest));
    let mut members = vec![(Order::Longest, Rule::Fullest)];
    if costly {
        for rule in [Rule::SameScope, Rule::Fullest] {
            members.extend([(Order::HeaviestScope, rule), (Order::DearestScope, rule)]);
        }
        members.push((Order::Longest, Rule::SameScope));
    }
    members.extend(by_chance);
    members
}

/// A size, a little more by chance, which seed and place name.
fn jittered(micros: u64, seed: u64, place: u32) -> u64 {
    let percent = mixed(seed.wrapping_mul(GOLDEN).wrapping_add(u64::from(place) + 1)) % PERCENT;
    micros.saturating_add(micros / 100 * percent + micros % 100 * percent / 100)
}

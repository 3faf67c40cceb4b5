//! One bin fewer: the emptiest bin is taken apart, and its units fill the gaps of the others, which pay its setups again.

use std::cmp::Reverse;

use crate::budget::Steps;
use crate::load::Capacity;
use crate::packing::{self, Packing};
use crate::scoped::{Bins, Rule};
use crate::units::Units;

/// The packing with as many bins fewer as can be had so, down to the target. `None` if there is none.
pub fn fewer(
    units: &Units,
    packing: &Packing,
    target: u64,
    capacity: &Capacity,
    steps: &mut Steps,
) -> Option<Packing> {
    let mut bins = packing.bins.clone();
    while bins.len() as u64 > target {
        let emptiest = (0..bins.len()).min_by_key(|&bin| packing::load(units, &bins[bin]).micros)?;
        let found = [Rule::SameScopeElseEmptiest, Rule::Fullest]
            .into_iter()
            .find_map(|rule| without(units, &bins, emptiest, (capacity, rule), steps));
        match found {
            Some(fewer) => bins = fewer,
            None => break,
        }
    }
    (bins.len() < packing.bins.len()).then(|| Packing::of(units, bins))
}

/// The other bins with the units of this one.
fn without(
    units: &Units,
    bins: &[Vec<u32>],
    emptiest: usize,
    (capacity, rule): (&Capacity, Rule),
    steps: &mut Steps,
) -> Option<Vec<Vec<u32>>> {
    let mut others: Vec<Vec<u32>> = bins.to_vec();
    let mut spread = others.remove(emptiest);
    let mut gaps = Bins::new(&units.problem.scopes, capacity);
    let mut room = 0u64;
    for bin in &others {
        if !steps.take(bin.len() as u64) {
            return None;
        }
        gaps.open(bin.iter().map(|&number| packing::piece(units, number)));
        room = room.saturating_add(capacity.left(&packing::load(units, bin)).unwrap_or_default());
    }
    let needed = spread.iter().fold(0u64, |sum, &number| sum.saturating_add(units.unit(number).load.micros));
    if needed > room {
        return None;
    }
    let by_scope_and_size = |&number: &u32| {
        let unit = units.unit(number);
        (Reverse(units.scopes(unit)), Reverse(unit.load.micros), unit.first)
    };
    spread.sort_by_key(by_scope_and_size);
    for number in spread {
        let bin = gaps.place(packing::piece(units, number), rule, steps)?;
        others[bin as usize].push(number);
    }
    Some(others)
}

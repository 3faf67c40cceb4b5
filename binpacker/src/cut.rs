//! Bins that are not full are packed once more, one after the other, and what does not fit is cut: its rest begins the next bin,
//! which pays its setup again. Where blocks are long and setups short, that is less than what the blocks leave.

use std::cmp::Reverse;

use crate::budget::Steps;
use crate::load::{Capacity, Load};
use crate::packing::{self, Packing};
use crate::scopes::union;
use crate::units::Units;

/// A bin is full if it leaves less than one in so many parts of its room.
const PARTS: u64 = 100;

/// The packing with its bins that are not full cut anew. `None` if the steps do not suffice, or there are none.
pub fn anew(units: &Units, packing: &Packing, capacity: &Capacity, steps: &mut Steps) -> Option<Packing> {
    let is_full = |bin: &Vec<u32>| {
        capacity.left(&packing::load(units, bin)).is_some_and(|left| left < capacity.room() / PARTS)
    };
    let (mut bins, open): (Vec<_>, Vec<_>) = packing.bins.iter().cloned().partition(is_full);
    let loose = open.concat();
    if open.len() < 2 || !steps.take(loose.len() as u64) {
        return None;
    }
    let micros = |number: &u32| units.unit(*number).load.micros;
    let mut parts = packing::parts(units, &loose);
    parts.sort_by_cached_key(|part| {
        (Reverse(part.iter().map(micros).fold(0, u64::saturating_add)), part.first().copied())
    });
    let mut filling = Filling { units, capacity, bin: Vec::new(), load: Load::default(), paid: Vec::new() };
    for mut part in parts {
        part.sort_by_key(|number| (Reverse(micros(number)), *number));
        loop {
            part.retain(|&number| !filling.takes(number));
            if part.is_empty() {
                break;
            }
            if filling.bin.is_empty() || !steps.take(part.len() as u64) {
                return None;
            }
            bins.push(filling.taken());
        }
    }
    bins.push(filling.taken());
    bins.retain(|bin| !bin.is_empty());
    Some(Packing::of(units, bins))
}

/// A bin that is being filled.
struct Filling<'u, 'p> {
    units: &'u Units<'p>,
    capacity: &'u Capacity,
    bin: Vec<u32>,
    load: Load,
    paid: Vec<u32>,
}

impl Filling<'_, '_> {
    /// Puts the unit into the bin if it fits.
    fn takes(&mut self, number: u32) -> bool {
        let unit = self.units.unit(number);
        let scopes = self.units.scopes(unit);
        let new = scopes.iter().filter(|scope| self.paid.binary_search(scope).is_err());
        let setup =
            new.fold(0, |sum: u64, &scope| sum.saturating_add(self.units.problem.scopes.micros(scope)));
        let load = self.load.plus(unit.load).with_setup(setup);
        let fits = self.capacity.takes(&load);
        if fits {
            self.bin.push(number);
            self.load = load;
            self.paid = union(&self.paid, scopes);
        }
        fits
    }

    fn taken(&mut self) -> Vec<u32> {
        (self.load, self.paid) = (Load::default(), Vec::new());
        std::mem::take(&mut self.bin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Item, Problem, Scopes};
    use crate::risk::Risk;

    #[test]
    fn blocks_that_leave_much_are_cut() {
        // Four files of 7 x 10 and a setup of 1, of which no two go together, are three bins of 110 when cut.
        let mut scopes = Scopes::default();
        let files = [(); 4].map(|()| scopes.add_alone(1));
        let item = |test: u32| Item { test, micros: 10, scopes: files[test as usize / 7], ..Item::default() };
        let problem = Problem { scopes, ..Problem::new((0..28).map(item).collect(), 1) };
        let units = Units::of(&problem).unwrap();
        let capacity = Capacity { cap: 110, fixed: 0, max_tests: 99, risk: Risk::default() };
        let blocks = (0..4).map(|file| (file * 7..file * 7 + 7).collect()).collect();
        let packing = Packing::of(&units, blocks);
        let cut = anew(&units, &packing, &capacity, &mut Steps::new(1_000, &|| false)).unwrap();
        assert_eq!(cut.bins.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 8]);
        assert_eq!(cut.setup, 6);
        assert_eq!(anew(&units, &packing, &capacity, &mut Steps::new(9, &|| false)), None);
    }
}

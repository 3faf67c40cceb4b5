//! Best fit where bins pay for scopes: what a piece costs a bin depends on what the bin has paid for already.

use std::collections::{BTreeSet, HashMap};

use crate::budget::Steps;
use crate::load::{Capacity, Load};
use crate::problem::Scopes;
use crate::scopes::union;

/// How many bins are looked at, of those with room and of those that have a scope.
const SCAN: usize = 32;

/// A unit or a block.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Without setups.
    pub load: Load,
    /// Ascending.
    pub scopes: &'a [u32],
}

/// Which of the bins that take a piece gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The fullest.
    Fullest,
    /// The fullest of those that have paid for a scope of it; else the fullest.
    SameScope,
    /// The fullest of those that have paid for a scope of it; else the emptiest, where most of what follows fits too.
    SameScopeElseEmptiest,
}

/// Bins under way.
pub struct Bins<'p> {
    scopes: &'p Scopes,
    capacity: Capacity,
    bins: Vec<Bin>,
    /// (left under the cap, bin).
    open: BTreeSet<(u64, u32)>,
    /// The bins that have paid for a scope that costs something.
    paid: HashMap<u32, Vec<u32>>,
}

#[derive(Debug, Default)]
struct Bin {
    /// With setups.
    load: Load,
    scopes: Vec<u32>,
    left: Option<u64>,
}

impl<'p> Bins<'p> {
    pub fn new(scopes: &'p Scopes, capacity: &Capacity) -> Self {
        Self { scopes, capacity: *capacity, bins: Vec::new(), open: BTreeSet::new(), paid: HashMap::new() }
    }

    /// Opens a bin for these, whether they fit or not; its number.
    pub fn open<'a>(&mut self, pieces: impl IntoIterator<Item = Piece<'a>>) -> u32 {
        let number = self.bins.len() as u32;
        self.bins.push(Bin::default());
        for piece in pieces {
            self.add(number, piece);
        }
        self.settle(number);
        number
    }

    /// Puts a piece into a bin that takes it, if there is one; its number.
    pub fn place(&mut self, piece: Piece, rule: Rule, steps: &mut Steps) -> Option<u32> {
        let same = self.with_its_scopes(piece, steps);
        let found = match rule {
            Rule::Fullest => same.into_iter().chain(self.with_room(piece, steps)).min(),
            Rule::SameScope => same.or_else(|| self.with_room(piece, steps)),
            Rule::SameScopeElseEmptiest => same.or_else(|| self.emptiest(piece, steps)),
        };
        let (_, bin) = found?;
        self.put(bin, piece);
        Some(bin)
    }

    /// The fullest afterwards of the bins that have paid for a scope of it: (left then, bin).
    fn with_its_scopes(&self, piece: Piece, steps: &mut Steps) -> Option<(u64, u32)> {
        let costly = piece.scopes.iter().filter(|&&scope| self.scopes.micros(scope) > 0);
        let bins =
            costly.filter_map(|scope| self.paid.get(scope)).flat_map(|bins| bins.iter().rev().take(SCAN));
        bins.filter_map(|&bin| {
            steps.take(1);
            self.left_with(bin, piece).map(|left| (left, bin))
        })
        .min()
    }

    /// The fullest that takes it: (left then, bin).
    fn with_room(&self, piece: Piece, steps: &mut Steps) -> Option<(u64, u32)> {
        let alone = piece.load.with_setup(self.scopes.sum(piece.scopes));
        let mut takes = |&(_, bin): &(u64, u32)| {
            steps.take(1);
            self.left_with(bin, piece).map(|left| (left, bin))
        };
        let near = self.open.range((alone.micros, 0)..).take(SCAN).find_map(&mut takes);
        near.or_else(|| self.open.range((self.capacity.surely(&alone), 0)..).take(SCAN).find_map(takes))
    }

    fn emptiest(&self, piece: Piece, steps: &mut Steps) -> Option<(u64, u32)> {
        self.open.iter().rev().take(SCAN).find_map(|&(_, bin)| {
            steps.take(1);
            self.left_with(bin, piece).map(|left| (left, bin))
        })
    }

    fn left_with(&self, bin: u32, piece: Piece) -> Option<u64> {
        let bin = &self.bins[bin as usize];
        let load = bin.load.plus(piece.load).with_setup(self.unpaid(bin, piece.scopes));
        self.capacity.left(&load).filter(|_| load.tests <= self.capacity.max_tests)
    }

    /// What a bin does not pay for yet.
    fn unpaid(&self, bin: &Bin, scopes: &[u32]) -> u64 {
        let new = scopes.iter().filter(|scope| bin.scopes.binary_search(scope).is_err());
        new.fold(0, |sum, &scope| sum.saturating_add(self.scopes.micros(scope)))
    }

    fn put(&mut self, number: u32, piece: Piece) {
        if let Some(left) = self.bins[number as usize].left {
            self.open.remove(&(left, number));
        }
        self.add(number, piece);
        self.settle(number);
    }

    /// What is left in a bin is told once all that is new in it was added.
    fn settle(&mut self, number: u32) {
        let bin = &mut self.bins[number as usize];
        bin.left = self.capacity.left(&bin.load).filter(|_| bin.load.tests < self.capacity.max_tests);
        if let Some(left) = bin.left {
            self.open.insert((left, number));
        }
    }

    fn add(&mut self, number: u32, piece: Piece) {
        let unpaid = self.unpaid(&self.bins[number as usize], piece.scopes);
        let bin = &mut self.bins[number as usize];
        for &scope in piece.scopes {
            let is_new = bin.scopes.binary_search(&scope).is_err();
            if is_new && self.scopes.micros(scope) > 0 {
                self.paid.entry(scope).or_default().push(number);
            }
        }
        match piece.scopes {
            [] => {}
            [scope] => {
                if let Err(at) = bin.scopes.binary_search(scope) {
                    bin.scopes.insert(at, *scope);
                }
            }
            scopes => bin.scopes = union(&bin.scopes, scopes),
        }
        bin.load = bin.load.plus(piece.load).with_setup(unpaid);
    }
}

/// Bins for all pieces in this order: the places of each bin's pieces. `None` if the steps did not suffice.
pub fn fit(
    pieces: &[Piece],
    order: &[u32],
    mut bins: Bins,
    rule: Rule,
    steps: &mut Steps,
) -> Option<Vec<Vec<u32>>> {
    let mut places: Vec<Vec<u32>> = Vec::new();
    for &place in order {
        if !steps.take(1) {
            return None;
        }
        let piece = pieces[place as usize];
        match bins.place(piece, rule, steps) {
            Some(bin) => places[bin as usize].push(place),
            None => {
                bins.open([piece]);
                places.push(vec![place]);
            }
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Risk;

    #[test]
    fn a_bin_that_has_paid_takes_more() {
        let mut scopes = Scopes::default();
        let (one, two) = (scopes.add(40), scopes.add(40));
        let piece = |micros, scopes| Piece { load: Load { micros, variance: 0, tests: 1 }, scopes };
        let (one, two) = ([one], [two]);
        let pieces = [piece(40, &one), piece(30, &two), piece(20, &one), piece(20, &two), piece(10, &two)];
        let capacity = Capacity { cap: 100, fixed: 0, max_tests: 9, risk: Risk::default() };
        let mut steps = Steps::new(1_000, &|| false);
        let bins = Bins::new(&scopes, &capacity);
        let fitted = fit(&pieces, &[0, 1, 2, 3, 4], bins, Rule::SameScope, &mut steps);
        assert_eq!(fitted, Some(vec![vec![0, 2], vec![1, 3, 4]]));
        let bins = Bins::new(&scopes, &capacity);
        assert_eq!(fit(&pieces, &[0, 1], bins, Rule::Fullest, &mut Steps::new(1, &|| false)), None);
    }
}

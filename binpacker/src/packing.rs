//! A packing under way: which units are in which bin, and which of two packings is better.

use crate::load::Load;
use crate::scoped::Piece;
use crate::units::Units;

/// Bins of units, none of them over a limit by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    pub bins: Vec<Vec<u32>>,
    /// What all bins pay for setups, in microseconds.
    pub setup: u64,
}

impl Packing {
    pub fn of(units: &Units, bins: Vec<Vec<u32>>) -> Self {
        let setup = bins.iter().fold(0, |sum: u64, bin| sum.saturating_add(setup(units, bin)));
        Self { bins, setup }
    }

    /// Fewer bins, then less setup.
    pub fn is_better_than(&self, other: &Self) -> bool {
        (self.bins.len(), self.setup) < (other.bins.len(), other.setup)
    }
}

pub fn piece<'u>(units: &'u Units, number: u32) -> Piece<'u> {
    let unit = units.unit(number);
    Piece { load: unit.load, scopes: units.scopes(unit) }
}

/// The scopes that a bin uses, ascending.
pub fn scopes(units: &Units, bin: &[u32]) -> Vec<u32> {
    match bin {
        [one] => units.scopes(units.unit(*one)).to_vec(),
        [first, rest @ ..] if rest.iter().all(|n| is_like(units, *first, *n)) => scopes(units, &[*first]),
        _ => {
            let mut all: Vec<u32> =
                bin.iter().flat_map(|&number| units.scopes(units.unit(number))).copied().collect();
            all.sort_unstable();
            all.dedup();
            all
        }
    }
}

fn is_like(units: &Units, one: u32, other: u32) -> bool {
    units.scopes(units.unit(one)) == units.scopes(units.unit(other))
}

fn setup(units: &Units, bin: &[u32]) -> u64 {
    units.problem.scopes.sum(&scopes(units, bin))
}

/// Of a bin, with setups.
pub fn load(units: &Units, bin: &[u32]) -> Load {
    let tests = bin.iter().fold(Load::default(), |sum, &number| sum.plus(units.unit(number).load));
    tests.with_setup(setup(units, bin))
}

/// The units of a bin by what they use: what stays together when a bin is taken apart.
pub fn parts(units: &Units, bin: &[u32]) -> Vec<Vec<u32>> {
    let mut bin = bin.to_vec();
    bin.sort_by(|&a, &b| (units.scopes(units.unit(a)), a).cmp(&(units.scopes(units.unit(b)), b)));
    let alike = |a: &u32, b: &u32| !units.scopes(units.unit(*a)).is_empty() && is_like(units, *a, *b);
    bin.chunk_by(alike).map(<[u32]>::to_vec).collect()
}

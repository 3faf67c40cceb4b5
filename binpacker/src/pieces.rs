//! What the solver packs where nothing varies: units, or blocks of them, whose sizes do not depend on the bin they are in.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::blocks::{Block, Blocks};
use crate::bounds::Bounds;
use crate::load::Capacity;
use crate::plan::Unsolved;
use crate::problem::Scopes;
use crate::solver::{Goods, Rounded, SMALL, Types};
use crate::units::Units;

/// Sizes that are to be packed into bins of one room.
pub struct Pieces {
    /// None zero or over the room.
    pub sizes: Vec<u64>,
    pub room: u64,
    /// The units of each.
    units: Vec<Vec<u32>>,
    /// Units that take no room.
    free: Vec<u32>,
    /// Each unit is one, so that a bound for these is one for all.
    pub are_units: bool,
}

impl Pieces {
    /// Units where none shares a scope that costs something with another; else blocks, if that is so for these.
    pub fn of(
        units: &Units,
        numbers: &[u32],
        blocks: &Blocks,
        capacity: &Capacity,
    ) -> Result<Self, Unsolved> {
        let scopes = &units.problem.scopes;
        if !capacity.is_scalar(numbers.iter().map(|&number| units.unit(number).load)) {
            return Err(Unsolved::Varies);
        }
        let of_unit = |&number: &u32| units.scopes(units.unit(number));
        let alone = |&number: &u32| Block {
            units: vec![number],
            load: units.unit(number).load,
            scopes: of_unit(&number).to_vec(),
        };
        if !share(numbers.iter().map(of_unit), scopes) {
            let alone: Vec<Block> = numbers.iter().map(alone).collect();
            return Self::of_blocks(&alone, scopes, capacity, true);
        }
        Self::of_blocks(&blocks.blocks, scopes, capacity, false)
    }

    fn of_blocks(
        blocks: &[Block],
        scopes: &Scopes,
        capacity: &Capacity,
        are_units: bool,
    ) -> Result<Self, Unsolved> {
        if share(blocks.iter().map(|block| block.scopes.as_slice()), scopes) {
            return Err(Unsolved::Scopes);
        }
        let mut pieces =
            Self { sizes: Vec::new(), room: capacity.room(), units: Vec::new(), free: Vec::new(), are_units };
        for block in blocks {
            match block.load.micros.saturating_add(scopes.sum(&block.scopes)) {
                0 => pieces.free.extend(&block.units),
                size => {
                    pieces.sizes.push(size);
                    pieces.units.push(block.units.clone());
                }
            }
        }
        let fit = pieces.sizes.iter().all(|&size| size <= pieces.room);
        if fit { Ok(pieces) } else { Err(Unsolved::Slots) }
    }

    /// The units of bins, if so many tests may be in each.
    pub fn bins(&self, units: &Units, bins: &[Vec<u32>], max_tests: u32) -> Option<Vec<Vec<u32>>> {
        let tests = |number: &u32| u64::from(units.unit(*number).load.tests);
        let most = u64::from(max_tests);
        let mut free = self.free.iter().copied().peekable();
        let filled = bins.iter().map(|bin| {
            let mut bin: Vec<u32> =
                bin.iter().flat_map(|&piece| self.units[piece as usize].clone()).collect();
            let mut there: u64 = bin.iter().map(tests).sum();
            while let Some(number) = free.next_if(|number| there + tests(number) <= most) {
                there += tests(&number);
                bin.push(number);
            }
            (there <= most).then_some(bin)
        });
        let filled = filled.collect::<Option<Vec<_>>>()?;
        free.peek().is_none().then_some(filled)
    }
}

/// Sizes and the room of a bin, which is all there is to be known.
pub struct Plain {
    /// None zero or over the room.
    pub sizes: Vec<u64>,
    pub room: u64,
}

impl Plain {
    fn is_large(&self, place: u32) -> bool {
        self.sizes[place as usize] >= self.room / SMALL
    }
}

impl Goods for Plain {
    fn len(&self) -> usize {
        self.sizes.len()
    }

    fn exact(&self) -> Option<Types> {
        Types::exact(&self.sizes, self.room)
    }

    fn rounded(&self, ticks: u32, way: Rounded) -> Types {
        let wanted = |place: &u32| way == Rounded::Down || self.is_large(*place);
        let places: Vec<u32> = (0..self.sizes.len() as u32).filter(wanted).collect();
        let sizes: Vec<u64> = places.iter().map(|&place| self.sizes[place as usize]).collect();
        let mut types = Types::rounded(&sizes, self.room, ticks, way);
        types.places.iter_mut().flatten().for_each(|place| *place = places[*place as usize]);
        types
    }

    /// By best fit decreasing.
    fn filled(&self, mut bins: Vec<Vec<u32>>) -> Option<Vec<Vec<u32>>> {
        let mut there = vec![false; self.sizes.len()];
        let mut open: BTreeSet<(u64, usize)> = BTreeSet::new();
        for (bin, places) in bins.iter().enumerate() {
            places.iter().for_each(|&place| there[place as usize] = true);
            let load = places.iter().map(|&place| self.sizes[place as usize]).sum();
            open.insert((self.room.checked_sub(load)?, bin));
        }
        let mut rest: Vec<u32> =
            (0..self.sizes.len() as u32).filter(|&place| !there[place as usize]).collect();
        rest.sort_by_key(|&place| (Reverse(self.sizes[place as usize]), place));
        for place in rest {
            let size = self.sizes[place as usize];
            let (left, bin) = match open.range((size, 0)..).next().copied() {
                Some(found) => {
                    open.remove(&found);
                    found
                }
                None => {
                    bins.push(Vec::new());
                    (self.room, bins.len() - 1)
                }
            };
            bins[bin].push(place);
            open.insert((left.checked_sub(size)?, bin));
        }
        Some(bins)
    }
}

/// Sizes that no bin has more of than its room, whatever units share, and however they vary.
pub fn relaxed(units: &Units, numbers: &[u32], capacity: Capacity) -> Plain {
    let sizes = Bounds::new(units, capacity, numbers.iter().copied()).sizes();
    let room = sizes.capacity;
    Plain { sizes: sizes.sizes.into_iter().filter(|&size| size > 0).collect(), room }
}

/// Whether a scope that costs something is used by several of these.
pub fn share<'s>(used: impl Iterator<Item = &'s [u32]>, scopes: &Scopes) -> bool {
    let mut seen = vec![false; scopes.len()];
    let mut costly = used.flatten().filter(|&&scope| scopes.micros(scope) > 0);
    costly.any(|&scope| std::mem::replace(&mut seen[scope as usize], true))
}

//! Blocks: units that share scopes and are packed as one, so that the scopes' setup is paid once.

use std::cmp::Reverse;

use crate::cap::Limits;
use crate::fit;
use crate::load::{Capacity, Load};
use crate::merge;
use crate::units::Units;

/// A piece of a scope that had to be cut is worth at least this many of its setups.
const SETUPS_PER_PIECE: u64 = 5;

/// The units of a problem in blocks. Units are numbers into [`Units::units`].
pub struct Blocks {
    /// Each within the limits, except for [`Blocks::widest`].
    pub blocks: Vec<Block>,
    /// Units that are over a limit by themselves.
    pub oversize: Vec<Block>,
    /// The greatest cap of a block: the effective one, or more where a piece must be worth its setup.
    pub widest: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub units: Vec<u32>,
    /// Of its tests, without setups.
    pub load: Load,
    /// Ascending.
    pub scopes: Vec<u32>,
}

impl Blocks {
    /// Of these units.
    pub fn of(units: &Units, limits: &Limits, numbers: &[u32]) -> Self {
        let mut made = Self { blocks: Vec::new(), oversize: Vec::new(), widest: limits.soft.cap };
        let mut by_scopes: Vec<(&[u32], u32)> = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let unit = units.unit(number);
            let scopes = units.scopes(unit);
            let alone = || Block { units: vec![number], load: unit.load, scopes: scopes.to_vec() };
            if limits.is_oversize(units, unit) {
                made.oversize.push(alone());
            } else if scopes.is_empty() {
                made.blocks.push(alone());
            } else {
                by_scopes.push((scopes, number));
            }
        }
        by_scopes.sort_unstable();
        for family in by_scopes.chunk_by(|a, b| a.0 == b.0) {
            let cutter = Cutter::of(units, limits, family);
            made.widest = made.widest.max(cutter.capacity.cap);
            made.blocks.extend(cutter.blocks());
        }
        made.blocks = merge::merged(std::mem::take(&mut made.blocks), &units.problem.scopes, &limits.soft);
        made
    }
}

/// The units that use the same scopes, and how to cut them.
struct Cutter<'u, 'p> {
    units: &'u Units<'p>,
    members: Vec<u32>,
    scopes: &'u [u32],
    setup: u64,
    total: u64,
    /// Of a piece, with the setup paid.
    capacity: Capacity,
}

impl<'u, 'p> Cutter<'u, 'p> {
    fn of(units: &'u Units<'p>, limits: &Limits, family: &[(&'u [u32], u32)]) -> Self {
        let scopes = family[0].0;
        let setup = units.problem.scopes.sum(scopes);
        let members: Vec<u32> = family.iter().map(|&(_, number)| number).collect();
        let micros = || members.iter().map(|&number| units.unit(number).load.micros);
        let total = micros().fold(0u64, u64::saturating_add);
        let longest = micros().max().unwrap_or_default();
        let soft = limits.soft.after(setup);
        let most_pieces =
            total.checked_div(setup.saturating_mul(SETUPS_PER_PIECE)).map_or(u64::MAX, |n| n.max(1));
        let worth_its_setup = soft.room() > 0 && total.div_ceil(soft.room()) <= most_pieces;
        // With room for one unit more than an even share, cutting in order needs no piece more than the even share does.
        let even = || total.div_ceil(most_pieces).saturating_add(longest).saturating_add(soft.fixed);
        let cap = if worth_its_setup { soft.cap } else { even().clamp(soft.cap, limits.hard.cap) };
        Self { units, members, scopes, setup, total, capacity: Capacity { cap, ..soft } }
    }

    fn blocks(self) -> Vec<Block> {
        let mut pieces = self.in_order();
        let by_tests = self.tests(&self.members).div_ceil(u64::from(self.capacity.max_tests));
        let room = self.capacity.room();
        let least = if room == 0 { 1 } else { self.total.div_ceil(room) }.max(by_tests);
        if pieces.len() as u64 > least {
            let fitted = self.best_fit();
            if fitted.len() < pieces.len() {
                pieces = fitted;
            }
        }
        self.top_up(&mut pieces);
        pieces
    }

    fn tests(&self, members: &[u32]) -> u64 {
        members.iter().map(|&number| u64::from(self.units.unit(number).load.tests)).sum()
    }

    fn fits(&self, piece: &Block, number: u32) -> bool {
        self.capacity.takes(&piece.load.plus(self.units.unit(number).load))
    }

    fn put(&self, piece: &mut Block, number: u32) {
        piece.load = piece.load.plus(self.units.unit(number).load);
        piece.units.push(number);
    }

    fn empty(&self) -> Block {
        Block { scopes: self.scopes.to_vec(), ..Block::default() }
    }

    /// Neighbours stay together: they share fixtures smaller than the scope.
    fn in_order(&self) -> Vec<Block> {
        let mut pieces = vec![self.empty()];
        for &number in &self.members {
            if pieces.last().is_some_and(|piece| !piece.units.is_empty() && !self.fits(piece, number)) {
                pieces.push(self.empty());
            }
            if let Some(piece) = pieces.last_mut() {
                self.put(piece, number);
            }
        }
        pieces
    }

    /// Fuller pieces, where order leaves gaps.
    fn best_fit(&self) -> Vec<Block> {
        let load = |number: &u32| self.units.unit(*number).load;
        let mut members = self.members.clone();
        members.sort_by_key(|number| Reverse(load(number).micros));
        let bins = fit::best_fit(members.iter().map(load), &self.capacity);
        let piece = |bin: Vec<u32>| {
            let mut piece = self.empty();
            bin.into_iter().for_each(|place| self.put(&mut piece, members[place as usize]));
            piece
        };
        bins.into_iter().map(piece).collect()
    }

    /// The last piece takes from the one before it until both are worth their setup.
    fn top_up(&self, pieces: &mut [Block]) {
        let floor = self.setup.saturating_mul(SETUPS_PER_PIECE);
        let [.., donor, last] = pieces else { return };
        while last.load.micros < floor {
            let Some(&number) = donor.units.last() else { return };
            let load = self.units.unit(number).load;
            if donor.load.minus(load).micros < floor || !self.fits(last, number) {
                return;
            }
            donor.units.pop();
            donor.load = donor.load.minus(load);
            self.put(last, number);
        }
    }
}

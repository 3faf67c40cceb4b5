//! Blocks: units that share a scope and are packed as one, so that the scope's setup is paid once.

use std::cmp::Reverse;

use crate::cap::Limits;
use crate::fit;
use crate::units::Units;

/// A piece of a scope that had to be cut is worth at least this many of its setups.
const SETUPS_PER_PIECE: u64 = 5;

/// The units of a problem in blocks. Units are numbers into [`Units::units`].
pub struct Blocks {
    /// Each within the limits, except for [`Blocks::widest`].
    pub blocks: Vec<Block>,
    /// Units that are over a limit by themselves.
    pub oversize: Vec<Block>,
    /// The greatest load a block may have: the effective limit, or more where a piece must be worth its setup.
    pub widest: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Block {
    pub units: Vec<u32>,
    /// Microseconds with setups.
    pub load: u64,
    pub tests: u32,
}

impl Blocks {
    pub fn of(units: &Units, limits: &Limits) -> Self {
        let mut made = Self { blocks: Vec::new(), oversize: Vec::new(), widest: limits.soft };
        let mut by_scope = Vec::with_capacity(units.units.len());
        for (number, unit) in (0u32..).zip(&units.units) {
            let alone = || Block { units: vec![number], load: units.load(unit), tests: unit.tests };
            match units.scopes(unit) {
                _ if limits.is_oversize(units, unit) => made.oversize.push(alone()),
                [scope] => by_scope.push((*scope, number)),
                _ => made.blocks.push(alone()),
            }
        }
        by_scope.sort_unstable();
        for scope in by_scope.chunk_by(|a, b| a.0 == b.0) {
            let cutter = Cutter::of(units, limits, scope);
            made.widest = made.widest.max(cutter.capacity.saturating_add(cutter.setup));
            made.blocks.extend(cutter.blocks());
        }
        made
    }
}

/// One scope and how to cut it. Its loads are without the setup until the end.
struct Cutter<'u, 'p> {
    units: &'u Units<'p>,
    members: Vec<u32>,
    setup: u64,
    total: u64,
    /// Of a piece.
    capacity: u64,
    max_tests: u32,
}

impl<'u, 'p> Cutter<'u, 'p> {
    fn of(units: &'u Units<'p>, limits: &Limits, scope: &[(u32, u32)]) -> Self {
        let setup = units.problem.setup.of(scope[0].0);
        let members: Vec<u32> = scope.iter().map(|&(_, number)| number).collect();
        let micros = || members.iter().map(|&number| units.units[number as usize].micros);
        let total = micros().fold(0u64, u64::saturating_add);
        let longest = micros().max().unwrap_or_default();
        let room = limits.soft.saturating_sub(setup);
        let most_pieces =
            total.checked_div(setup.saturating_mul(SETUPS_PER_PIECE)).map_or(u64::MAX, |n| n.max(1));
        let worth_its_setup = room > 0 && total.div_ceil(room) <= most_pieces;
        // With room for one unit more than an even share, cutting in order needs no piece more than the even share does.
        let even =
            || total.div_ceil(most_pieces).saturating_add(longest).min(limits.hard().saturating_sub(setup));
        let capacity = if worth_its_setup { room } else { even().max(room) };
        Self { units, members, setup, total, capacity, max_tests: limits.max_tests }
    }

    fn blocks(self) -> Vec<Block> {
        let mut pieces = self.in_order();
        let by_tests = self.tests(&self.members).div_ceil(u64::from(self.max_tests));
        let least = self
            .total
            .checked_div(self.capacity)
            .map_or(1, |_| self.total.div_ceil(self.capacity))
            .max(by_tests);
        if pieces.len() as u64 > least {
            let fitted = self.best_fit();
            if fitted.len() < pieces.len() {
                pieces = fitted;
            }
        }
        self.top_up(&mut pieces);
        for piece in &mut pieces {
            piece.load = piece.load.saturating_add(self.setup);
        }
        pieces
    }

    fn tests(&self, members: &[u32]) -> u64 {
        members.iter().map(|&number| u64::from(self.units.units[number as usize].tests)).sum()
    }

    fn fits(&self, piece: &Block, number: u32) -> bool {
        let unit = &self.units.units[number as usize];
        let load = piece.load.saturating_add(unit.micros);
        load <= self.capacity && u64::from(piece.tests) + u64::from(unit.tests) <= u64::from(self.max_tests)
    }

    fn put(&self, piece: &mut Block, number: u32) {
        let unit = &self.units.units[number as usize];
        piece.load = piece.load.saturating_add(unit.micros);
        piece.tests += unit.tests;
        piece.units.push(number);
    }

    /// Neighbours stay together: they share fixtures smaller than the scope.
    fn in_order(&self) -> Vec<Block> {
        let mut pieces = vec![Block::default()];
        for &number in &self.members {
            if pieces.last().is_some_and(|piece| !piece.units.is_empty() && !self.fits(piece, number)) {
                pieces.push(Block::default());
            }
            if let Some(piece) = pieces.last_mut() {
                self.put(piece, number);
            }
        }
        pieces
    }

    /// Fuller pieces, where order leaves gaps.
    fn best_fit(&self) -> Vec<Block> {
        let unit = |number: u32| &self.units.units[number as usize];
        let mut members = self.members.clone();
        members.sort_by_key(|&number| Reverse(unit(number).micros));
        let sizes = members.iter().map(|&number| (unit(number).micros, unit(number).tests));
        let bins = fit::best_fit(sizes, self.capacity, self.max_tests);
        let piece = |bin: Vec<u32>| {
            let mut piece = Block::default();
            bin.into_iter().for_each(|i| self.put(&mut piece, members[i as usize]));
            piece
        };
        bins.into_iter().map(piece).collect()
    }

    /// The last piece takes from the one before it until both are worth their setup.
    fn top_up(&self, pieces: &mut [Block]) {
        let floor = self.setup.saturating_mul(SETUPS_PER_PIECE);
        let [.., donor, last] = pieces else { return };
        while last.load < floor {
            let Some(&number) = donor.units.last() else { return };
            let unit = &self.units.units[number as usize];
            if donor.load.saturating_sub(unit.micros) < floor || !self.fits(last, number) {
                return;
            }
            donor.units.pop();
            donor.load -= unit.micros;
            donor.tests -= unit.tests;
            self.put(last, number);
        }
    }
}

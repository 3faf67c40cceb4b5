//! The stages of a search, each of which begins with the best packing so far and ends when a bound proves it.
//!
//! A stage takes the search, improves its packing or its bound, and takes steps. A solver is one more stage at the end: it
//! finds a packing to begin with, the bound with what proves it, and the steps that are left.

use std::cmp::Reverse;

use crate::balance;
use crate::blocks::{Block, Blocks};
use crate::bounds::Bounds;
use crate::bounds::weights::{Weights, varies};
use crate::budget::{Algorithm, Budget, Steps};
use crate::cap::Limits;
use crate::complete;
use crate::cut;
use crate::exchange::Exchange;
use crate::fit;
use crate::load::{Capacity, Load};
use crate::mbs;
use crate::mixed::Mixed;
use crate::packing::{self, Packing};
use crate::pieces::{self, Pieces, Plain};
use crate::plan::{Bound, Stage, Unsolved};
use crate::portfolio::Portfolio;
use crate::reduce;
use crate::scoped::{self, Bins, Piece, Rule};
use crate::solver::{Gap, MOST};
use crate::split;
use crate::units::Units;
use crate::waves;

/// Minimum bin slack is for bins of few blocks; each as full as can be found only where there are not too many.
const MBS_BLOCKS_PER_BIN: u64 = 30;
const MBS_BLOCKS: usize = 20_000;
/// Lines under what fits, of which the middle one is taken.
const TANGENTS: u32 = 3;
/// More blocks than these are even enough by themselves.
const BALANCED: usize = 2_000;

/// The units of one environment, and what is known of them so far.
pub struct Search<'u, 'p> {
    units: &'u Units<'p>,
    limits: &'u Limits,
    /// Those that are not oversize.
    numbers: Vec<u32>,
    blocks: Blocks,
    capacity: Capacity,
    /// The best packing so far, without what is oversize.
    packing: Packing,
    stage: Stage,
    bound: (u64, Bound),
    steps: Steps<'u>,
    algorithm: Algorithm,
    seed: u64,
    unsolved: Option<Unsolved>,
    cancelled: bool,
}

/// Packs within steps: the places in each bin.
type Way<'w> = dyn Fn(&mut Steps) -> Option<Vec<Vec<u32>>> + 'w;

/// What a search comes to.
pub struct Found {
    pub bins: Vec<Vec<u32>>,
    /// Units that are over a limit by themselves.
    pub oversize: Vec<u32>,
    /// Of all, with what is oversize.
    pub lower_bound: u64,
    pub bound: Bound,
    pub stage: Stage,
    pub unsolved: Option<Unsolved>,
    /// Nothing was cut short but by steps.
    pub repeatable: bool,
}

impl<'u, 'p> Search<'u, 'p> {
    /// Begins with the best fit of blocks, and a bound.
    pub fn begin(
        units: &'u Units<'p>,
        limits: &'u Limits,
        numbers: &[u32],
        budget: &Budget<'u>,
        steps: Steps<'u>,
    ) -> Self {
        let blocks = Blocks::of(units, limits, numbers);
        let mut numbers: Vec<u32> = blocks.blocks.iter().flat_map(|block| block.units.clone()).collect();
        numbers.sort_unstable();
        let capacity = limits.soft;
        let longest_first = longest_first(units, &blocks.blocks);
        let packing = match units.problem.slots.filter(|_| limits.is_effective()) {
            Some(slots) => {
                let bins = waves::bins(&longest_first, &units.problem.scopes, &capacity, slots);
                packing_of(units, &longest_first, bins)
            }
            None => of_blocks(units, &longest_first, &capacity),
        };
        let mut search = Self {
            units,
            limits,
            numbers,
            blocks,
            capacity,
            packing,
            stage: Stage::Blocks,
            bound: (0, Bound::L1),
            steps,
            algorithm: budget.algorithm,
            seed: budget.seed,
            unsolved: None,
            cancelled: false,
        };
        search.bound = search.proven_bound();
        search
    }

    /// All stages, until a bound proves the packing. Of bundles that slots keep short it is not their number that counts.
    pub fn run(mut self) -> Found {
        if self.limits.is_effective() {
            let left = self.algorithm != Algorithm::Greedy && !self.is_proven();
            self.unsolved = left.then_some(Unsolved::Slots);
        } else if !self.units.problem.uncertain {
            let stages =
                [Self::slack, Self::split, Self::alike, Self::portfolio, Self::solve, Self::exchange];
            let stages = match self.algorithm {
                Algorithm::Greedy => &stages[..4],
                Algorithm::Ilp => &stages[4..5],
                Algorithm::Auto => &stages[..],
            };
            for stage in stages {
                if self.is_proven() || self.cancelled {
                    break;
                }
                stage(&mut self);
                self.cancelled |= self.steps.was_cancelled;
            }
        }
        self.balance();
        Found {
            lower_bound: self.bound.0 + self.blocks.oversize.len() as u64,
            bound: self.bound.1,
            bins: self.packing.bins,
            oversize: self.blocks.oversize.iter().flat_map(|block| block.units.clone()).collect(),
            stage: self.stage,
            unsolved: self.unsolved,
            repeatable: !self.cancelled,
        }
    }

    fn is_proven(&self) -> bool {
        self.packing.bins.len() as u64 <= self.bound.0
    }

    fn proven_bound(&self) -> (u64, Bound) {
        let bounds = Bounds::new(self.units, self.widest(), self.numbers.iter().copied());
        bounds.best(self.packing.bins.len() as u64)
    }

    /// Pieces of a scope may be wider than the effective cap, and a bound must hold for them too.
    fn widest(&self) -> Capacity {
        Capacity { cap: self.blocks.widest, ..self.capacity }
    }

    fn offer(&mut self, packing: Option<Packing>, stage: Stage) {
        if let Some(packing) = packing.filter(|packing| packing.is_better_than(&self.packing)) {
            self.packing = packing;
            self.stage = stage;
        }
    }

    /// Where no slot has more than one bundle, these are made even.
    fn balance(&mut self) {
        let slots = self.units.problem.slots.unwrap_or_default() as usize;
        let (bins, parts) = (self.packing.bins.len(), self.blocks.blocks.len());
        if !self.units.problem.uncertain && (2..=slots).contains(&bins) && parts <= BALANCED {
            let packing = balance::balanced(self.units, &self.packing, &self.capacity, &mut self.steps);
            self.packing = packing;
            self.cancelled |= self.steps.was_cancelled;
        }
    }

    /// What is not full cut anew, then the emptiest bin over the gaps of the others.
    fn split(&mut self) {
        let (target, capacity) = (self.bound.0, self.capacity);
        let cut = cut::anew(self.units, &self.packing, &capacity, &mut self.steps);
        self.offer(cut, Stage::Split);
        if self.is_proven() {
            return;
        }
        let fewer = split::fewer(self.units, &self.packing, target, &capacity, &mut self.steps);
        self.offer(fewer, Stage::Split);
    }

    /// Exact reduction, completion and minimum bin slack over blocks, where there are few to a bin.
    fn slack(&mut self) {
        let blocks = &self.blocks.blocks;
        let few = blocks.len() as u64 <= self.packing.bins.len() as u64 * MBS_BLOCKS_PER_BIN;
        let sized = if few { BySize::of(self.units, blocks, &self.capacity, &self.packing) } else { None };
        let Some(BySize { sizes, blocks, room, exact }) = sized else { return };
        let all = (0..sizes.len() as u32).collect();
        // A bound for the number of tests is not looked at by the reduction.
        let tests: u64 = blocks.iter().map(|block| u64::from(block.load.tests)).sum();
        let free = exact && tests <= u64::from(self.capacity.max_tests);
        let (mut bins, rest) = if free { reduce::reduced(&sizes, room) } else { (Vec::new(), all) };
        let left: Vec<(u64, u32)> =
            rest.iter().map(|&at| (sizes[at as usize], blocks[at as usize].load.tests)).collect();
        let mut steps = self.steps.fork();
        let target = self.bound.0.saturating_sub(bins.len() as u64);
        let max_tests = self.capacity.max_tests;
        let full = mbs::Room::full(room, max_tests);
        let ways: [&Way; 3] = [
            &|steps| complete::bins(&left, room, max_tests, steps),
            &|steps| mbs::chunked(&left, full, target, steps),
            &|steps| if left.len() <= MBS_BLOCKS { mbs::bins(&left, full, steps) } else { None },
        ];
        let mut best: Option<(Vec<Vec<u32>>, Stage)> = None;
        for (way, stage) in ways.into_iter().zip([Stage::Completion, Stage::Slack, Stage::Slack]) {
            let fewest = best.as_ref().map_or(usize::MAX, |(bins, _)| bins.len());
            if fewest as u64 > target
                && let Some(found) = way(&mut steps).filter(|found| found.len() < fewest)
            {
                best = Some((found, stage));
            }
        }
        self.cancelled |= steps.was_cancelled;
        let Some((found, stage)) = best else { return };
        bins.extend(
            found.into_iter().map(|bin| bin.into_iter().map(|at| rest[at as usize]).collect::<Vec<_>>()),
        );
        let units_of =
            |bin: Vec<u32>| bin.into_iter().flat_map(|at| blocks[at as usize].units.clone()).collect();
        let packing = Packing::of(self.units, bins.into_iter().map(units_of).collect());
        let fits = |bin: &Vec<u32>| self.capacity.takes(&packing::load(self.units, bin));
        if exact || packing.bins.iter().all(fits) {
            self.offer(Some(packing), stage);
        }
    }

    /// Where durations vary, blocks and then single units with their like.
    fn alike(&mut self) {
        let loads = self.numbers.iter().map(|&number| self.units.unit(number).load);
        if !varies(&self.capacity, &loads.collect::<Vec<_>>()) {
            return;
        }
        let mut blocks = longest_first(self.units, &self.blocks.blocks);
        // A sort that leaves equal ones as they are.
        blocks.sort_by(|(a, _), (b, _)| b.variance_per_mean().total_cmp(&a.variance_per_mean()));
        let packing = of_blocks(self.units, &blocks, &self.capacity);
        self.offer(Some(packing), Stage::Portfolio);
        if self.is_proven() {
            return;
        }
        let mut steps = self.steps.split(1);
        let packing = self.members().alike(&mut steps);
        self.steps = steps;
        self.offer(packing, Stage::Portfolio);
    }

    /// Single units likewise.
    fn portfolio(&mut self) {
        let shared = self.algorithm == Algorithm::Auto;
        // The members' steps are not taken from these, so the solver has its own half.
        let solvers = if shared { self.steps.fork() } else { self.steps.split(1) };
        let (packing, cancelled) = self.members().best(&self.steps);
        self.steps = solvers;
        self.cancelled |= cancelled;
        self.offer(packing, Stage::Portfolio);
    }

    /// One bin fewer, and another, as long as what is over then can be exchanged away.
    fn exchange(&mut self) {
        if self.can_be_exchanged() {
            let exchange = Exchange::new(self.units, &self.packing, &self.capacity, self.seed);
            let packing = exchange.fewer(self.bound.0, &mut self.steps);
            self.offer(packing, Stage::Exchange);
        }
    }

    fn can_be_exchanged(&self) -> bool {
        self.algorithm == Algorithm::Auto && self.numbers.len() <= MOST
    }

    fn members(&self) -> Portfolio<'_, 'p> {
        Portfolio {
            units: self.units,
            numbers: &self.numbers,
            capacity: self.capacity,
            seed: self.seed,
            target: self.bound.0,
        }
    }

    /// The solver, over units; and over blocks, where these have no sizes of their own. What it does not model is left to greedy,
    /// which is said.
    fn solve(&mut self) {
        let for_exchange = self.can_be_exchanged().then(|| self.steps.fork());
        let pieces = Pieces::of(self.units, &self.numbers, &self.blocks, &self.capacity);
        let mut unsolved = pieces.as_ref().err().copied();
        let whole = pieces.as_ref().is_ok_and(|pieces| pieces.are_units);
        if !whole {
            unsolved = self.close_mixed().err();
        }
        if let Ok(pieces) = &pieces
            && !self.is_proven()
        {
            self.close(pieces);
        }
        if !whole && !self.is_proven() {
            self.bound_by_columns();
        }
        self.unsolved = unsolved.filter(|_| !self.is_proven());
        if let Some(steps) = for_exchange {
            self.steps.join(steps);
        }
    }

    fn close(&mut self, pieces: &Pieces) {
        let (settled, rest) = reduce::reduced(&pieces.sizes, pieces.room);
        let sizes: Vec<u64> = rest.iter().map(|&at| pieces.sizes[at as usize]).collect();
        let bins = settled.len() as u64;
        let upper = self.packing.bins.len() as u64;
        let lower = self.bound.0.saturating_sub(bins);
        let plain = Plain { sizes, room: pieces.room };
        let mut gap = Gap::new(&plain, lower, upper.saturating_sub(bins));
        gap.close(&mut self.steps);
        if pieces.are_units && gap.lower + bins > self.bound.0 {
            self.bound = (gap.lower + bins, gap.bound.unwrap_or(Bound::Reduction));
        }
        let all_settled = || rest.is_empty().then(|| (Vec::new(), Stage::Completion));
        let Some((found, stage)) = gap.bins.or_else(all_settled) else { return };
        let found = found.into_iter().map(|bin| bin.into_iter().map(|at| rest[at as usize]).collect());
        let all: Vec<Vec<u32>> = settled.into_iter().chain(found).collect();
        let bins = pieces.bins(self.units, &all, self.capacity.max_tests);
        self.offer(bins.map(|bins| Packing::of(self.units, bins)), stage);
    }

    /// With half the steps, as blocks may be better. An error if it was too much to search.
    fn close_mixed(&mut self) -> Result<(), Unsolved> {
        let mixed = Mixed::of(self.units, &self.numbers, &self.capacity, &self.packing)?;
        let mut steps = self.steps.fork();
        let mut gap = Gap::new(&mixed, self.bound.0, self.packing.bins.len() as u64);
        gap.close(&mut steps);
        self.steps.join(steps);
        if let Some(bound) = gap.bound {
            self.bound = (gap.lower, bound);
        }
        if let Some((bins, stage)) = gap.bins {
            self.offer(Some(mixed.packing(&bins)), stage);
        }
        if gap.was_searched { Ok(()) } else { Err(mixed.unsolved()) }
    }

    fn bound_by_columns(&mut self) {
        if self.numbers.len() > MOST {
            return;
        }
        let relaxed = pieces::relaxed(self.units, &self.numbers, self.widest());
        let mut gap = Gap::new(&relaxed, self.bound.0, self.packing.bins.len() as u64);
        gap.bound(&mut self.steps);
        if let Some(bound) = gap.bound {
            self.bound = (gap.lower, bound);
        }
    }
}

/// Blocks, the largest first, by sizes of which a bundle has room for so much: whatever fits by them fits.
struct BySize<'b> {
    sizes: Vec<u64>,
    blocks: Vec<&'b Block>,
    room: u64,
    /// Whatever fits, fits by them.
    exact: bool,
}

impl<'b> BySize<'b> {
    /// Where durations vary, by a line under what fits, at the middle of where these bins are.
    fn of(units: &Units, blocks: &'b [Block], capacity: &Capacity, packing: &Packing) -> Option<Self> {
        let exact = capacity.is_scalar(blocks.iter().map(|block| block.load));
        let bins = || packing.bins.iter().map(|bin| packing::load(units, bin)).collect::<Vec<_>>();
        let lines = if exact { Vec::new() } else { Weights::of_tangents(capacity, &bins(), TANGENTS) };
        let line = lines.get(lines.len() / 2);
        if !exact && line.is_none() {
            return None;
        }
        let size = |block: &Block| {
            let load = block.load.with_setup(units.problem.scopes.sum(&block.scopes));
            line.map_or(load.micros, |line| line.weight_up(&load))
        };
        let mut sized: Vec<(u64, &Block)> = blocks.iter().map(|block| (size(block), block)).collect();
        sized.sort_by_key(|(size, block)| (Reverse(*size), block.units.first().copied()));
        let room = line.map_or(capacity.room(), |line| line.capacity);
        let (sizes, blocks): (Vec<u64>, Vec<&Block>) = sized.into_iter().unzip();
        sizes.iter().all(|size| (1..=room).contains(size)).then_some(Self { sizes, blocks, room, exact })
    }
}

/// Best fit of blocks, in this order; without any history, each by itself.
fn of_blocks(units: &Units, blocks: &[(Load, &Block)], capacity: &Capacity) -> Packing {
    let scopes = &units.problem.scopes;
    let fitted = if units.problem.uncertain {
        (0..blocks.len() as u32).map(|place| vec![place]).collect()
    } else if pieces::share(blocks.iter().map(|(_, block)| block.scopes.as_slice()), scopes) {
        let pieces: Vec<Piece> =
            blocks.iter().map(|(_, block)| Piece { load: block.load, scopes: &block.scopes }).collect();
        let order: Vec<u32> = (0..pieces.len() as u32).collect();
        let mut steps = Steps::new(u64::MAX, &|| false);
        scoped::fit(&pieces, &order, Bins::new(scopes, capacity), Rule::SameScope, &mut steps)
            .unwrap_or_default()
    } else {
        fit::best_fit(blocks.iter().map(|(load, _)| *load), capacity)
    };
    packing_of(units, blocks, fitted)
}

/// Of the places of blocks in each bin.
fn packing_of(units: &Units, blocks: &[(Load, &Block)], bins: Vec<Vec<u32>>) -> Packing {
    let bin = |places: Vec<u32>| {
        places.into_iter().flat_map(|place| blocks[place as usize].1.units.iter().copied()).collect()
    };
    Packing::of(units, bins.into_iter().map(bin).collect())
}

/// Blocks with what each comes to in a bin of its own, the longest first.
fn longest_first<'b>(units: &Units, blocks: &'b [Block]) -> Vec<(Load, &'b Block)> {
    let scopes = &units.problem.scopes;
    let total = |block: &Block| block.load.with_setup(scopes.sum(&block.scopes));
    let mut by_load: Vec<(Load, &Block)> = blocks.iter().map(|block| (total(block), block)).collect();
    by_load.sort_by_key(|(load, block)| (Reverse(load.micros), block.units.first().copied()));
    by_load
}

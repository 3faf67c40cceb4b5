//! What closes the gap that greedy leaves where bins hold few things: column generation, which bounds, dives from it, and at last
//! the arc-flow program.
//!
//! Floating point chooses here and proves nothing: values are whole numbers before a bound is made of them, and bins are filled
//! by exact sizes. Only that the arc-flow program has no solution is its solver's word, which has a bound of its own name.

mod arcs;
mod dive;
mod exact;
mod flow;
mod generation;
mod master;
mod pricing;
mod types;

pub use types::{Measured, Rounded, Types, scaled, tick};

use crate::budget::Steps;
use crate::plan::{Bound, Stage};
use dive::DISCREPANCIES;
use flow::Flow;
use generation::Generation;
use types::Pattern;

/// Ticks of a bin where sizes are too many or too fine, one after the other.
const TICKS: [u32; 5] = [600, 1_200, 2_400, 4_800, 9_600];
/// Those that are for bounds too.
const BOUND_TICKS: [u32; 3] = [600, 2_400, 9_600];
/// More are even enough for greedy.
pub const MOST: usize = 20_000;
/// What is below one in so many parts of a bin is not rounded: it fills what the others leave.
pub const SMALL: u64 = 50;

/// What is packed, as the solver sees it, and what becomes of its bins.
pub trait Goods {
    /// How many there are.
    fn len(&self) -> usize;

    /// In ticks that nothing is lost by, if there are not too many.
    fn exact(&self) -> Option<Types>;

    /// In so many ticks to a bin: rounded up for bins, without what is small; rounded down for bounds, all of it.
    fn rounded(&self, ticks: u32, way: Rounded) -> Types;

    /// Bins of all, given bins of some: what is in none of these is in their gaps, or in more bins. `None` if something does not
    /// fit.
    fn filled(&self, bins: Vec<Vec<u32>>) -> Option<Vec<Vec<u32>>>;
}

/// What is known of some goods, and what is found.
pub struct Gap<'g> {
    goods: &'g dyn Goods,
    /// No packing has fewer bins, and one that is known has so many.
    pub lower: u64,
    pub upper: u64,
    /// What raised the lower bound, if something has.
    pub bound: Option<Bound>,
    /// The places of a packing with `upper` bins, if it was found here, and by what.
    pub bins: Option<(Vec<Vec<u32>>, Stage)>,
    /// Something was not too much to be searched.
    pub was_searched: bool,
}

impl<'g> Gap<'g> {
    pub fn new(goods: &'g dyn Goods, lower: u64, upper: u64) -> Self {
        Self { goods, lower, upper, bound: None, bins: None, was_searched: false }
    }

    fn is_closed(&self) -> bool {
        self.lower >= self.upper
    }

    fn raise(&mut self, lower: u64, bound: Bound) {
        // A bound above what there is would be an error here; it is not made worse by believing it.
        debug_assert!(lower <= self.upper, "a bound of {lower} over {} bins", self.upper);
        if lower > self.lower && lower <= self.upper {
            (self.lower, self.bound) = (lower, Some(bound));
        }
    }

    /// Bins and bounds, as near to each other as the steps allow.
    pub fn close(&mut self, steps: &mut Steps) {
        if let Some(types) = self.goods.exact() {
            self.search(&types, true, steps);
            return;
        }
        for ticks in TICKS {
            if BOUND_TICKS.contains(&ticks) {
                self.bound_in(ticks, steps);
            }
            self.search_in(ticks, steps);
        }
    }

    /// The bound of column generation alone.
    pub fn bound(&mut self, steps: &mut Steps) {
        match self.goods.exact() {
            Some(types) => self.bound_of(&types, steps),
            None => BOUND_TICKS.into_iter().for_each(|ticks| self.bound_in(ticks, steps)),
        }
    }

    fn bound_in(&mut self, ticks: u32, steps: &mut Steps) {
        if let Some(types) = self.rounded(ticks, Rounded::Down) {
            let mut half = steps.fork();
            self.bound_of(&types, &mut half);
            steps.join(half);
        }
    }

    fn search_in(&mut self, ticks: u32, steps: &mut Steps) {
        if let Some(types) = self.rounded(ticks, Rounded::Up) {
            let mut half = steps.fork();
            self.search(&types, false, &mut half);
            steps.join(half);
        }
    }

    /// If there is something to be gained, and it is not too much.
    fn rounded(&self, ticks: u32, way: Rounded) -> Option<Types> {
        if self.is_closed() || self.goods.len() > MOST {
            return None;
        }
        Some(self.goods.rounded(ticks, way)).filter(Types::is_small)
    }

    fn bound_of(&mut self, types: &Types, steps: &mut Steps) {
        self.was_searched = true;
        let Some(bins) = dive::packed(types, &types.demands, steps) else { return };
        let Some(mut generation) = Generation::new(types, &bins) else { return };
        generation.root(steps);
        self.raise(generation.bound, Bound::Columns);
    }

    /// Column generation and dives over types. Whether it proves a bound, too.
    fn search(&mut self, types: &Types, proves: bool, steps: &mut Steps) {
        self.was_searched = true;
        let Some(bins) = dive::packed(types, &types.demands, steps) else { return };
        self.offer(types, &bins, Stage::Columns);
        if self.is_closed() {
            return;
        }
        let Some(mut generation) = Generation::new(types, &bins) else { return };
        let root = generation.root(steps);
        if proves {
            self.raise(generation.bound, Bound::Columns);
        }
        if root.is_none() {
            return;
        }
        let mut half = steps.fork();
        for discrepancy in DISCREPANCIES {
            if self.is_closed() || half.left() == 0 || (!proves && generation.bound >= self.upper) {
                break;
            }
            if let Some(bins) = dive::dive(&mut generation, (self.lower, self.upper), discrepancy, &mut half)
            {
                self.offer(types, &bins, Stage::Columns);
            }
        }
        steps.join(half);
        if proves && types.is_plain() {
            self.prove(&mut generation, steps);
        }
    }

    /// Whether the bins that the lower bound asks for are enough, until it meets what there is.
    fn prove(&mut self, generation: &mut Generation, steps: &mut Steps) {
        let types = generation.types;
        while !self.is_closed() {
            match exact::packed_into(generation, self.lower, steps) {
                Flow::Found(bins) => {
                    self.offer(types, &bins, Stage::ArcFlow);
                    return;
                }
                Flow::Infeasible => self.raise(self.lower + 1, Bound::ArcFlow),
                Flow::Unknown => return,
            }
        }
    }

    /// Takes bins of these types that are fewer, with all else in their gaps.
    fn offer(&mut self, types: &Types, bins: &[Pattern], stage: Stage) {
        let Some(mut places) = types.places(bins) else { return };
        places.retain(|bin| !bin.is_empty());
        let Some(places) = self.goods.filled(places) else { return };
        if (places.len() as u64) < self.upper {
            self.upper = places.len() as u64;
            self.bins = Some((places, stage));
        }
    }
}

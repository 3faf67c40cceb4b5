//! What closes the gap that greedy leaves where bins hold few items: column generation, which bounds, dives from it, and at last
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

use std::collections::BTreeSet;

use crate::budget::Steps;
use crate::plan::{Bound, Stage};
use dive::DISCREPANCIES;
use flow::Flow;
use generation::Generation;
use types::{Pattern, Rounded, Types};

/// Ticks of a bin where sizes are too many or too fine, one after the other.
const TICKS: [u32; 3] = [600, 1_200, 2_400];
/// Ticks for the bound.
const FINEST: u32 = 2_400;
/// More are even enough for greedy.
const MOST_ROUNDED: usize = 20_000;
/// Sizes below one in so many of a bin are not rounded: they fill what the others leave.
const SMALL: u64 = 50;

/// What is known of some sizes, and what is found.
pub struct Gap<'s> {
    /// None zero or over the room.
    pub sizes: &'s [u64],
    pub room: u64,
    /// No packing has fewer bins, and one that is known has so many.
    pub lower: u64,
    pub upper: u64,
    /// What raised the lower bound, if something has.
    pub bound: Option<Bound>,
    /// The places of a packing with `upper` bins, if it was found here, and by what.
    pub bins: Option<(Vec<Vec<u32>>, Stage)>,
}

impl<'s> Gap<'s> {
    pub fn new(sizes: &'s [u64], room: u64, lower: u64, upper: u64) -> Self {
        Self { sizes, room, lower, upper, bound: None, bins: None }
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
        if let Some(types) = Types::exact(self.sizes, self.room) {
            self.search(&types, true, None, steps);
            return;
        }
        let large: Vec<u32> = (0..self.sizes.len() as u32).filter(|&place| self.is_large(place)).collect();
        let sizes: Vec<u64> = large.iter().map(|&place| self.sizes[place as usize]).collect();
        for ticks in TICKS.into_iter().filter(|_| sizes.len() <= MOST_ROUNDED) {
            let types = Types::rounded(&sizes, self.room, ticks, Rounded::Up);
            if !self.is_closed() && types.is_small() {
                let mut half = steps.fork();
                self.search(&types, false, Some(&large), &mut half);
                steps.join(half);
            }
        }
        self.bound_in_ticks(steps);
    }

    /// The bound of column generation alone.
    pub fn bound(&mut self, steps: &mut Steps) {
        match Types::exact(self.sizes, self.room) {
            Some(types) => self.bound_of(&types, steps),
            None => self.bound_in_ticks(steps),
        }
    }

    fn is_large(&self, place: u32) -> bool {
        self.sizes[place as usize] >= self.room / SMALL
    }

    fn bound_in_ticks(&mut self, steps: &mut Steps) {
        if self.sizes.len() > MOST_ROUNDED {
            return;
        }
        let types = Types::rounded(self.sizes, self.room, FINEST, Rounded::Down);
        if !self.is_closed() && types.is_small() {
            self.bound_of(&types, steps);
        }
    }

    fn bound_of(&mut self, types: &Types, steps: &mut Steps) {
        let Some(bins) = dive::packed(types, &types.demands, steps) else { return };
        let Some(mut generation) = Generation::new(types, &bins) else { return };
        if let Some((_, bound)) = generation.root(steps) {
            self.raise(bound, Bound::Columns);
        }
    }

    /// Column generation and dives over types, of some places or of all. Whether it proves a bound, too.
    fn search(&mut self, types: &Types, proves: bool, of: Option<&[u32]>, steps: &mut Steps) {
        let Some(bins) = dive::packed(types, &types.demands, steps) else { return };
        self.offer(types, &bins, of, Stage::Columns);
        if self.is_closed() {
            return;
        }
        let Some(mut generation) = Generation::new(types, &bins) else { return };
        let Some((_, bound)) = generation.root(steps) else { return };
        if proves {
            self.raise(bound, Bound::Columns);
        }
        let mut half = steps.fork();
        for discrepancy in DISCREPANCIES {
            if self.is_closed() || half.left() == 0 || (!proves && bound >= self.upper) {
                break;
            }
            if let Some(bins) = dive::dive(&mut generation, (self.lower, self.upper), discrepancy, &mut half)
            {
                self.offer(types, &bins, of, Stage::Columns);
            }
        }
        steps.join(half);
        if proves {
            self.prove(&mut generation, steps);
        }
    }

    /// Whether the bins that the lower bound asks for are enough, until it meets what there is.
    fn prove(&mut self, generation: &mut Generation, steps: &mut Steps) {
        let types = generation.types;
        while !self.is_closed() {
            match exact::packed_into(generation, self.lower, steps) {
                Flow::Found(bins) => {
                    self.offer(types, &bins, None, Stage::ArcFlow);
                    return;
                }
                Flow::Infeasible => self.raise(self.lower + 1, Bound::ArcFlow),
                Flow::Unknown => return,
            }
        }
    }

    /// Takes bins that are fewer, of these places, with what is small in their gaps.
    fn offer(&mut self, types: &Types, bins: &[Pattern], of: Option<&[u32]>, stage: Stage) {
        let Some(mut places) = types.places(bins) else { return };
        if let Some(of) = of {
            places.iter_mut().flatten().for_each(|place| *place = of[*place as usize]);
            self.fill(&mut places);
        }
        places.retain(|bin| !bin.is_empty());
        if (places.len() as u64) < self.upper {
            self.upper = places.len() as u64;
            self.bins = Some((places, stage));
        }
    }

    /// What is small, by best fit decreasing.
    fn fill(&self, bins: &mut Vec<Vec<u32>>) {
        let mut small: Vec<u32> =
            (0..self.sizes.len() as u32).filter(|&place| !self.is_large(place)).collect();
        small.sort_by_key(|&place| (std::cmp::Reverse(self.sizes[place as usize]), place));
        let load = |bin: &Vec<u32>| bin.iter().map(|&place| self.sizes[place as usize]).sum::<u64>();
        let mut open: BTreeSet<(u64, usize)> =
            bins.iter().enumerate().map(|(bin, places)| (self.room - load(places), bin)).collect();
        for place in small {
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
            open.insert((left - size, bin));
        }
    }
}

//! As many bins, but more even: where there is a slot for each bundle, the longest of them is what a run takes.

use std::cmp::Reverse;

use crate::budget::Steps;
use crate::load::Capacity;
use crate::packing::{self, Packing};
use crate::units::Units;

/// The packing after moves and swaps from the fullest bin, from here or from the longest part first into the emptiest bin. What
/// uses the same scopes stays together, and no more is paid for setups.
pub fn balanced(units: &Units, packing: &Packing, capacity: &Capacity, steps: &mut Steps) -> Packing {
    let parts: Vec<Vec<Vec<u32>>> = packing.bins.iter().map(|bin| packing::parts(units, bin)).collect();
    let here = Even { units, capacity, bins: parts };
    let anew = here.longest_first().filter(|anew| anew.setup() <= packing.setup);
    let best = [Some(here), anew].into_iter().flatten().map(|mut even| {
        even.improve(packing.setup, steps);
        even
    });
    let best = best.min_by_key(Even::longest);
    best.map_or_else(|| packing.clone(), |even| even.packing())
}

struct Even<'u, 'p> {
    units: &'u Units<'p>,
    capacity: &'u Capacity,
    /// Of each bin its parts.
    bins: Vec<Vec<Vec<u32>>>,
}

/// A part of the fullest bin goes to another, which gives one for it or none.
#[derive(Clone, Copy)]
struct Change {
    part: usize,
    to: usize,
    back: Option<usize>,
}

impl<'u, 'p> Even<'u, 'p> {
    fn packing(&self) -> Packing {
        let bins = self.bins.iter().map(|parts| parts.concat()).collect();
        Packing::of(self.units, bins)
    }

    fn setup(&self) -> u64 {
        self.packing().setup
    }

    fn micros(&self, parts: &[Vec<u32>]) -> u64 {
        packing::load(self.units, &parts.concat()).micros
    }

    fn longest(&self) -> u64 {
        self.bins.iter().map(|parts| self.micros(parts)).max().unwrap_or_default()
    }

    /// All parts anew, if they fit.
    fn longest_first(&self) -> Option<Self> {
        let mut parts = self.bins.concat();
        let micros = |part: &Vec<u32>| packing::load(self.units, part).micros;
        parts.sort_by_cached_key(|part| (Reverse(micros(part)), part.first().copied()));
        let mut bins = vec![Vec::new(); self.bins.len()];
        let mut filled = vec![0u64; bins.len()];
        for part in parts {
            let emptiest = (0..bins.len()).min_by_key(|&bin| filled[bin])?;
            bins[emptiest].push(part);
            filled[emptiest] = self.micros(&bins[emptiest]);
        }
        let fits = |parts: &Vec<Vec<u32>>| {
            !parts.is_empty() && self.capacity.takes(&packing::load(self.units, &parts.concat()))
        };
        bins.iter().all(fits).then_some(Self { bins, ..*self })
    }

    /// Until nothing that the fullest bin can give makes the longer of two shorter.
    fn improve(&mut self, most_setup: u64, steps: &mut Steps) {
        while let Some(fullest) = (0..self.bins.len()).max_by_key(|&bin| self.micros(&self.bins[bin])) {
            let Some(change) = self.best_change(fullest, most_setup, steps) else { return };
            let (from, to) = self.changed(fullest, change);
            (self.bins[fullest], self.bins[change.to]) = (from, to);
        }
    }

    fn best_change(&self, fullest: usize, most_setup: u64, steps: &mut Steps) -> Option<Change> {
        let now = self.micros(&self.bins[fullest]);
        let mut best: Option<(u64, Change)> = None;
        for part in 0..self.bins[fullest].len() {
            for to in (0..self.bins.len()).filter(|&bin| bin != fullest) {
                let backs = (0..self.bins[to].len()).map(Some);
                for back in std::iter::once(None).chain(backs) {
                    if !steps.take(1 + self.bins[to].len() as u64) {
                        return None;
                    }
                    let change = Change { part, to, back };
                    let longer = self.longer_after(fullest, change, most_setup);
                    if let Some(longer) = longer.filter(|&l| l < best.map_or(now, |(least, _)| least)) {
                        best = Some((longer, change));
                    }
                }
            }
        }
        best.map(|(_, change)| change)
    }

    /// The longer of the two bins after a change that both take, and that costs no setup.
    fn longer_after(&self, fullest: usize, change: Change, most_setup: u64) -> Option<u64> {
        let (from, to) = self.changed(fullest, change);
        if from.is_empty() {
            return None;
        }
        let loads = [from, to].map(|parts| packing::load(self.units, &parts.concat()));
        let before: u64 = [fullest, change.to].iter().map(|&bin| self.micros(&self.bins[bin])).sum();
        // The tests are the same, so what the sum has gained is setup.
        let gained = (loads[0].micros + loads[1].micros).saturating_sub(before);
        let kept = gained == 0 || self.setup() + gained <= most_setup;
        let fits = loads.iter().all(|load| self.capacity.takes(load));
        (kept && fits).then(|| loads[0].micros.max(loads[1].micros))
    }

    fn changed(&self, fullest: usize, change: Change) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
        let (mut from, mut to) = (self.bins[fullest].clone(), self.bins[change.to].clone());
        let part = from.swap_remove(change.part);
        if let Some(back) = change.back {
            from.push(to.swap_remove(back));
        }
        to.push(part);
        (from, to)
    }
}

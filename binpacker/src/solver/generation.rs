//! Column generation: sets are added to the master program until no set is worth more than a bin (Gilmore and Gomory 1961).

use super::master::{Fractions, Master};
use super::pricing::{ONE, Pricing, farley};
use super::types::{Pattern, Types};
use crate::budget::Steps;

/// Sets that the master program has, at most.
const MOST_COLUMNS: usize = 30_000;
/// A set is worth adding if it is worth more than a bin by this part of it.
const WORTH: u64 = ONE + ONE / 10_000_000;

pub struct Generation<'t> {
    pub types: &'t Types,
    pub master: Master,
    /// What its values have proven so far.
    pub bound: u64,
    pricing: Pricing,
    backwards: bool,
}

/// Where the generation came to.
pub struct Generated {
    pub fractions: Fractions,
    /// No set is worth adding.
    pub converged: bool,
    /// The values of the types in whole numbers, and what a bin of them comes to at most.
    pub values: Vec<u64>,
    pub most: u64,
}

impl<'t> Generation<'t> {
    /// Begins with these bins, which hold all.
    pub fn new(types: &'t Types, bins: &[Pattern]) -> Option<Self> {
        let mut master = Master::new(types)?;
        for bin in bins {
            master.add(bin.clone())?;
        }
        Some(Self { types, master, bound: 0, pricing: Pricing::default(), backwards: false })
    }

    /// In so many rounds at most, with sets of at most so many of each type. `None` if the steps did not suffice.
    pub fn run(&mut self, limits: &[u32], rounds: u32, steps: &mut Steps) -> Option<Generated> {
        for round in 1.. {
            let fractions = self.master.solve(steps)?;
            let values: Vec<u64> = fractions.duals.iter().map(|&dual| whole(dual)).collect();
            if !steps.take(Pricing::steps(self.types, limits)) {
                return None;
            }
            let priced = self.pricing.best(self.types, limits, &values, self.backwards);
            self.backwards = !self.backwards;
            if limits == self.types.demands {
                self.bound = self.bound.max(farley(self.types, &values, priced.most));
            }
            let mut new = false;
            for (_, pattern) in priced.patterns.into_iter().take_while(|(value, _)| *value > WORTH) {
                new |= self.master.add(pattern)?;
            }
            if !new || round == rounds || self.master.columns.len() > MOST_COLUMNS {
                return Some(Generated { fractions, converged: !new, values, most: priced.most });
            }
        }
        None
    }

    /// All of it. What its values prove on the way is kept, even if it does not come to an end.
    pub fn root(&mut self, steps: &mut Steps) -> Option<Generated> {
        let types = self.types;
        self.run(&types.demands, u32::MAX, steps)
    }
}

/// What floating point says of a value, in parts of a bin. What is no number is nothing.
fn whole(dual: f64) -> u64 {
    (dual.clamp(0.0, 1024.0) * ONE as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(sizes: &[u64], room: u64) -> u64 {
        let types = Types::exact(sizes, room).unwrap();
        let alone: Vec<Pattern> = (0..types.len() as u32).map(|kind| vec![(kind, 1)]).collect();
        let mut generation = Generation::new(&types, &alone).unwrap();
        assert!(generation.root(&mut Steps::new(u64::MAX, &|| false)).unwrap().converged);
        generation.bound
    }

    #[test]
    fn the_bound_sees_what_no_total_does() {
        // Halves and thirds that leave a little: 3 and 2 to a bin, and no better.
        assert_eq!(bound(&[34; 9], 100), 5);
        // 6 goes with 4 alone, and 5 with 5.
        assert_eq!(bound(&[6, 6, 5, 5, 4, 4, 4], 10), 4);
        assert_eq!(bound(&[1; 1000], 10), 100);
        assert_eq!(bound(&[7], 10), 1);
    }

    #[test]
    fn a_bound_is_there_before_the_end() {
        let sizes: Vec<u64> = (0..60).map(|i| 300 + i * 37 % 199).collect();
        let types = Types::exact(&sizes, 1_000).unwrap();
        let alone: Vec<Pattern> = (0..types.len() as u32).map(|kind| vec![(kind, 1)]).collect();
        let after = |steps: u64| {
            let mut generation = Generation::new(&types, &alone).unwrap();
            (generation.root(&mut Steps::new(steps, &|| false)).is_some(), generation.bound)
        };
        let (ended, whole) = after(u64::MAX);
        let (ended_early, part) = after(15_000);
        assert!(ended && !ended_early && 0 < part && part <= whole, "{part} of {whole}");
    }
}

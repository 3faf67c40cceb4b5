//! Packs tests into the fewest bundles under a cap, and proves how few there can be.
//!
//! No async, no I/O, no clock, no random number: a [`Problem`] in, a [`Plan`] out, the same plan for the same problem, seed and
//! steps, on any number of threads. All feasibility and all bounds are decided in whole microseconds, but for the bound of
//! the arc-flow program, which is its solver's word. `docs/packing.md` explains the method.

mod assemble;
mod balance;
mod blocks;
mod bounds;
mod budget;
mod cap;
mod complete;
mod cut;
mod exchange;
mod fit;
mod load;
mod mbs;
mod merge;
mod mixed;
mod order;
mod packing;
mod pieces;
pub mod plan;
mod portfolio;
pub mod problem;
mod random;
mod reduce;
mod risk;
mod scoped;
mod scopes;
mod search;
mod solver;
mod split;
mod units;
pub mod verify;
mod waves;

#[cfg(test)]
mod properties;

pub use budget::{Algorithm, Budget, STEPS, steps_within};
pub use plan::{Blocker, Bound, Bundle, Longest, Oversize, Part, Plan, Stage, Unsolved};
pub use problem::{Error, Item, Problem, RelationItems, Risk, ScopeSet, Scopes};
pub use verify::verify;

use rayon::prelude::*;
use search::Search;
use units::Units;

/// The plan of `problem` within the default budget.
pub fn pack(problem: &Problem) -> Result<Plan, Error> {
    pack_within(problem, &Budget::default())
}

/// The plan of `problem`: each environment by itself, with its share of the steps.
pub fn pack_within(problem: &Problem, budget: &Budget) -> Result<Plan, Error> {
    let units = Units::of(problem)?;
    let limits = cap::Limits::of(&units);
    let all = units.units.len() as u64;
    let found = units.environments().into_par_iter().map(|numbers| {
        let steps = budget.share(numbers.len() as u64, all);
        Search::begin(&units, &limits, &numbers, budget, steps).run()
    });
    let plan = assemble::assemble(&units, &limits, found.collect());
    debug_assert_eq!(verify(problem, &plan), Ok(()));
    Ok(plan)
}

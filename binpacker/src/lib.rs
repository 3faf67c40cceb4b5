//! Packs tests into the fewest bundles under a cap, and proves how few there can be.
//!
//! No async, no I/O, no clock, no random number, no other crate: a [`Problem`] in, a [`Plan`] out, the same plan for
//! the same problem. All feasibility is decided in whole microseconds.

mod blocks;
mod bounds;
mod cap;
mod fit;
mod greedy;
mod order;
pub mod plan;
pub mod problem;
mod units;
pub mod verify;

#[cfg(test)]
mod properties;

pub use plan::{Bound, Bundle, Longest, Oversize, Part, Plan};
pub use problem::{Error, Item, Problem, RelationItems, SetupCosts};
pub use verify::verify;

use units::Units;

/// The plan of `problem`, by the greedy stage: blocks by best fit decreasing.
pub fn pack(problem: &Problem) -> Result<Plan, Error> {
    let units = Units::of(problem)?;
    let limits = cap::Limits::of(&units);
    let blocks = blocks::Blocks::of(&units, &limits);
    let bound = bounds::lower_bound(&units, &limits, &blocks);
    let bins = greedy::bins(&blocks, &limits, problem.uncertain);
    Ok(plan::assemble(&units, &limits, bins, bound))
}

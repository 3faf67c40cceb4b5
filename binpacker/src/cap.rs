//! The caps: the one asked for, and the effective one that gives every slot work.

use crate::load::{Capacity, Load};
use crate::units::{Unit, Units};

/// Bundles a slot should have: the longest tests in its first, what can be taken back freely in its last.
const BUNDLES_PER_SLOT: u64 = 3;
/// A bundle should be this many times its fixed cost.
pub const FIXED_COSTS_PER_BUNDLE: u64 = 10;

/// What a bundle may come to.
pub struct Limits {
    /// Under the cap asked for.
    pub hard: Capacity,
    /// Under the effective cap.
    pub soft: Capacity,
}

impl Limits {
    pub fn of(units: &Units) -> Self {
        let problem = units.problem;
        let hard = Capacity {
            cap: problem.cap_micros(),
            fixed: problem.fixed_micros(),
            max_tests: problem.max_tests(),
            risk: problem.risk,
        };
        // Without history the effective cap would be computed from nothing.
        let slots = problem.slots.filter(|_| !problem.uncertain);
        let cap = slots.map_or(hard.cap, |slots| hard.cap.min(wanted(units, &hard, slots)));
        Self { hard, soft: Capacity { cap, ..hard } }
    }

    /// Whether bundles are kept shorter than they may be.
    pub fn is_effective(&self) -> bool {
        self.soft.cap < self.hard.cap
    }

    /// Whether a bundle of this unit alone is over a limit.
    pub fn is_oversize(&self, units: &Units, unit: &Unit) -> bool {
        !self.hard.takes(&units.alone(unit))
    }
}

/// The cap with which every slot has work, the longest unit still fits, and the fixed cost stays small.
fn wanted(units: &Units, hard: &Capacity, slots: u32) -> u64 {
    let (problem, fixed) = (units.problem, hard.fixed);
    let needed = |load: Load| problem.risk.quantile(fixed.saturating_add(load.micros), load.variance);
    let longest = units.units.iter().map(|unit| needed(units.alone(unit))).max().unwrap_or(fixed);
    let tests = units.units.iter().fold(0u64, |sum, unit| sum.saturating_add(unit.load.micros));
    let share = tests.saturating_add(setups_once(units)).div_ceil(BUNDLES_PER_SLOT * u64::from(slots.max(1)));
    longest.max(share.saturating_add(fixed)).max(fixed.saturating_mul(FIXED_COSTS_PER_BUNDLE))
}

/// All scopes that are used, each paid once.
fn setups_once(units: &Units) -> u64 {
    let scopes = &units.problem.scopes;
    let mut used = vec![false; scopes.len()];
    for unit in &units.units {
        units.scopes(unit).iter().for_each(|&scope| used[scope as usize] = true);
    }
    let used = (0u32..).zip(used).filter(|(_, used)| *used);
    used.fold(0, |sum, (scope, _)| sum.saturating_add(scopes.micros(scope)))
}

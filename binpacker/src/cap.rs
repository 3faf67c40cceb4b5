//! The caps: the one asked for, and the effective one that gives every slot work.

use crate::units::{Unit, Units};

/// Bundles a slot should have, so that a slow one can be made up for.
const BUNDLES_PER_SLOT: u64 = 4;
/// A bundle should be this many times its fixed cost.
const FIXED_COSTS_PER_BUNDLE: u64 = 10;

/// What a bundle may cost, in microseconds without its fixed cost.
pub struct Limits {
    /// Under the cap asked for; `None` where the fixed cost alone is over it.
    hard: Option<u64>,
    /// Under the effective cap.
    pub soft: u64,
    pub max_tests: u32,
    /// The effective cap itself, with the fixed cost.
    pub cap_micros: u64,
}

impl Limits {
    pub fn of(units: &Units) -> Self {
        let problem = units.problem;
        let (cap, fixed) = (problem.cap_micros(), problem.fixed_micros());
        // Without history the effective cap would be computed from nothing.
        let slots = problem.slots.filter(|_| !problem.uncertain);
        let effective = slots.map_or(cap, |slots| cap.min(wanted(units, slots)));
        Self {
            hard: cap.checked_sub(fixed),
            soft: effective.saturating_sub(fixed),
            max_tests: problem.max_tests(),
            cap_micros: effective,
        }
    }

    pub fn hard(&self) -> u64 {
        self.hard.unwrap_or_default()
    }

    /// Whether a bundle of this unit alone is over a limit.
    pub fn is_oversize(&self, units: &Units, unit: &Unit) -> bool {
        self.hard.is_none_or(|hard| units.load(unit) > hard) || unit.tests > self.max_tests
    }
}

/// The cap with which every slot has work, the longest unit still fits, and the fixed cost stays small.
fn wanted(units: &Units, slots: u32) -> u64 {
    let problem = units.problem;
    let fixed = problem.fixed_micros();
    let longest = units.units.iter().map(|unit| units.load(unit)).max().unwrap_or_default();
    let tests = units.units.iter().fold(0u64, |sum, unit| sum.saturating_add(unit.micros));
    let mut scopes: Vec<u32> = problem.items.iter().map(|item| item.scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let total = tests.saturating_add(units.setup(&scopes));
    let share = total.div_ceil(BUNDLES_PER_SLOT * u64::from(slots.max(1)));
    longest.max(share).saturating_add(fixed).max(fixed.saturating_mul(FIXED_COSTS_PER_BUNDLE))
}

//! The machines of a scenario, each with an executor: how large they are, when they join, and what is wrong with them.

use seagull_domain::{Resources, Sickness};

use crate::random::Random;

pub struct ExecutorPlan {
    pub name: String,
    pub slots: u16,
    pub capacity: Resources,
    pub joins_at: u64,
    /// How many milliseconds its clock counts in a second.
    pub clock: u64,
    pub sick: Option<Sick>,
}

/// A machine on which something does not work that works on the others.
#[derive(Debug, Clone, Copy)]
pub struct Sick {
    pub sickness: Sickness,
    pub from: u64,
    /// A time that never comes where it stays so.
    pub until: u64,
    /// What fails there fails at once; and it is files that cannot be had, not a sandbox.
    pub at_once: bool,
}

pub fn executor(r: &mut Random, index: u64) -> ExecutorPlan {
    let joins_at = if index > 0 && r.chance(250) { r.within(0..=30_000) } else { r.within(0..=200) };
    ExecutorPlan {
        name: format!("e{index}"),
        slots: r.within(1..=4) as u16,
        capacity: Resources::UNBOUNDED,
        joins_at,
        clock: 1000,
        sick: None,
    }
}

/// Never the first, so that every run can end.
pub fn sick(r: &mut Random) -> Sick {
    let sickness = if r.chance(350) { Sickness::NothingStarts } else { Sickness::TestsFail };
    let from = if r.chance(850) { 0 } else { r.within(0..=10_000) };
    let until = if r.chance(150) { u64::MAX } else { from + r.within(15_000..=40_000) };
    Sick { sickness, from, until, at_once: r.chance(500) }
}

/// The first can have each environment; another may be too small for any, or have no larger slot.
pub fn capacity(r: &mut Random, index: usize, needed_kib: u64) -> Resources {
    let times = if index == 0 { r.within(1..=4) } else { r.within(0..=5) };
    let memory_kib = needed_kib * times + needed_kib / 2;
    Resources { memory_kib, millicpus: if r.chance(300) { r.within(500..=4000) } else { u64::MAX } }
}

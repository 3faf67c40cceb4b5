//! Where a test without a verdict, and all those of a run, are at a moment, as their scheduler has it.

use crate::{AttemptId, ExecutorId, SlotNumber};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// A slot is at it, and was heard to be for so many milliseconds.
    Running { attempt: AttemptId, executor: ExecutorId, slot: SlotNumber, millis: u64 },
    /// A slot has it, and so many tests before it.
    Next { attempt: AttemptId, executor: ExecutorId, slot: SlotNumber, behind: u32 },
    /// No slot has it, and so many bundles of its run go before it. So many slots that are there may take it; so many more
    /// are of executors where it was, which it avoids while there are others; and so many other runs have something on
    /// slots.
    Queued { behind: u32, slots: u32, avoided: u32, runs: u32 },
}

/// What a run under way waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Tests that slots are at,
    pub running: u32,
    /// that come after these on their slots,
    pub next: u32,
    /// and that no slot has.
    pub queued: u32,
    /// Of these, suspects,
    pub suspects: u32,
    /// those that come after one in their *ordered* relation,
    pub followers: u32,
    /// and those that nobody takes who is there, but executors that are cordoned or do not start them.
    pub barred: u32,
    pub discovering: Option<Discovering>,
    pub silent: Vec<Silent>,
    /// Its scheduler stands still, for there is no room on its disk.
    pub disk_is_full: bool,
}

/// Where a discovery is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovering {
    pub executor: ExecutorId,
    /// For how many milliseconds it was heard to be; None until it is.
    pub millis: Option<u64>,
}

/// An executor that has something of the run and is not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    pub executor: ExecutorId,
    /// For how many milliseconds.
    pub millis: u64,
    /// In how many milliseconds it is lost, if that goes on.
    pub left_ms: u64,
}

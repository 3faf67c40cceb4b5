//! Where a test without a verdict is at a moment, as its scheduler has it.

use crate::{AttemptId, ExecutorId, SlotNumber};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// A slot is at it, and was heard to be for so many milliseconds.
    Running { attempt: AttemptId, executor: ExecutorId, slot: SlotNumber, millis: u64 },
    /// A slot has it, and so many tests before it.
    Next { attempt: AttemptId, executor: ExecutorId, slot: SlotNumber, behind: u32 },
    /// No slot has it, and so many bundles of its run go before it. So many slots that are there take what the run has, and
    /// so many other runs have something on slots.
    Queued { behind: u32, slots: u32, runs: u32 },
}

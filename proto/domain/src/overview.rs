//! What is told of many runs at once: a run in a list, and what a test came to in each.

use crate::{Counts, ExecutorId, RunId, RunSpec, RunVerdict, Verdict};

/// The label of a run's spec that names the run it runs a part of again.
pub const RERUN_OF: &str = "rerun-of";

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOverview {
    pub run: RunId,
    pub owner: String,
    pub project: String,
    pub rev: String,
    /// Unix milliseconds, by the client's clock.
    pub submitted_at: u64,
    /// The run that this one runs a part of again.
    pub rerun_of: Option<RunId>,
    /// So far; nothing before the tests are known.
    pub counts: Counts,
    /// Of one that another process has, only once it has ended.
    pub suite_errors: u32,
    pub state: RunState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    UnderWay,
    /// Its process is gone, and it has not ended: it goes on when it is asked for again.
    BrokenOff,
    Ended {
        verdict: RunVerdict,
        exit_code: u8,
        /// Unix milliseconds, by the scheduler's clock.
        at: u64,
    },
}

/// Where a run stands in a list, which has the newest first, by when they were submitted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunPlace {
    pub submitted_at: u64,
    pub run: RunId,
}

impl RunOverview {
    pub fn place(&self) -> RunPlace {
        RunPlace { submitted_at: self.submitted_at, run: self.run.clone() }
    }

    /// A run that has only begun.
    pub fn of(spec: &RunSpec, state: RunState) -> RunOverview {
        RunOverview {
            run: spec.id.clone(),
            owner: spec.owner.clone(),
            project: spec.project.clone(),
            rev: spec.rev.clone(),
            submitted_at: spec.submitted_at,
            rerun_of: spec.rerun_of(),
            counts: Counts::default(),
            suite_errors: 0,
            state,
        }
    }
}

/// A run that did not pass, and what is left of its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPassed {
    pub run: RunId,
    pub verdict: RunVerdict,
    /// Tests of the project whose last verdict is not good.
    pub tests: u32,
}

/// What a test came to in an ended run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    pub run: RunId,
    /// Unix milliseconds, by the client's clock.
    pub submitted_at: u64,
    pub verdict: Verdict,
    /// How many results it had, and how many of them failed.
    pub results: u32,
    pub failed: u32,
    /// Microseconds of its last result.
    pub micros: Option<u64>,
    /// Where that came from.
    pub executor: Option<ExecutorId>,
}

/// What is kept of a test over runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestHistory {
    /// The ids that were meant: the rest is of the one, if it is one. Not more than some.
    pub tests: Vec<String>,
    /// How many ids match in all.
    pub matching: u32,
    /// What its duration is taken for: microseconds that half of its runs stay below.
    pub typical_us: Option<u64>,
    /// How many runs that was learned from.
    pub learned_from: u32,
    /// The newest first.
    pub runs: Vec<PastRun>,
    /// So many ended runs of the project were searched.
    pub searched: u32,
    /// So many of its newest that have ended are not indexed yet, and were not.
    pub behind: u32,
}

//! What is found in many runs at once: tests by what they came to, failures by what was said of them.

use crate::{ExecutorId, RunId, TestIndex, Verdict};

/// By what tests are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// In how many runs they failed.
    Failing,
    /// On how many revisions they both passed and failed.
    Flaky,
    /// How long they took, on average, where they passed.
    Slowest,
    /// How much longer they took than in the window of the same length before.
    Slower,
}

/// A test in a ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    pub test: String,
    /// Runs of the window in which it was executed.
    pub runs: u32,
    /// In how many of them it failed, or on how many revisions it was flaky; 0 where it is ranked by time.
    pub count: u32,
    /// Mean microseconds where it passed, in the window and in the one before.
    pub micros: Option<u64>,
    pub before: Option<u64>,
}

/// Failures with one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureGroup {
    pub fingerprint: String,
    /// Runs and tests that have such a failure, each pair once; and how many different tests these are.
    pub failures: u32,
    pub tests: u32,
    /// Of the newest.
    pub message: String,
    pub location: String,
    pub test: String,
    pub run: RunId,
    /// When its run was first seen, in Unix milliseconds.
    pub at: u64,
}

/// What a test came to in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameTo {
    pub test: String,
    pub position: TestIndex,
    pub verdict: Verdict,
    pub results: u32,
    pub failed: u32,
    /// Microseconds of its last result, and where that came from.
    pub micros: Option<u64>,
    pub executor: Option<ExecutorId>,
    /// Of its last failure.
    pub message: String,
}

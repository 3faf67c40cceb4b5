//! What is known of one test of a run: its results, its verdict, and what it has left.

use seagull_domain::{Attachment, AttemptId, ExecutorId, Outcome, TestCause, TestResult, TextRef, Verdict};

/// What is known of one test.
#[derive(Debug, Clone, Default)]
pub struct TestRecord {
    pub verdict: Option<Verdict>,
    /// Its results, in the order they arrived. Evidence is not among them.
    pub runs: Vec<Execution>,
    /// Why it was not found where it should have run.
    pub missing: Option<Box<str>>,
    /// What it has left.
    pub attached: Vec<Attached>,
}

/// A file that was left in an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub attempt: AttemptId,
    pub file: Attachment,
}

/// One result of a test.
#[derive(Debug, Clone)]
pub struct Execution {
    pub outcome: Outcome,
    /// Microseconds of setup, call and teardown.
    pub phases: [u64; 3],
    /// Set where there is more to say than the outcome: a quarter of a million plain passes stay small.
    pub note: Option<Box<Note>>,
}

#[derive(Debug, Clone)]
pub struct Note {
    pub detail: String,
    pub cause: Option<TestCause>,
    pub message: String,
    pub location: String,
    pub text: Option<TextRef>,
    pub executor: ExecutorId,
}

impl TestRecord {
    pub fn failures(&self) -> impl Iterator<Item = &Execution> {
        self.runs.iter().filter(|run| run.outcome == Outcome::Failed)
    }

    /// Where it failed.
    pub fn failed_on(&self) -> impl Iterator<Item = &ExecutorId> {
        self.failures().filter_map(|run| Some(&run.note.as_deref()?.executor))
    }

    pub fn longest(&self) -> Option<&Execution> {
        self.runs.iter().max_by_key(|run| run.micros())
    }

    /// Whether it is to be shown as a failure; one without a verdict is, if it failed.
    pub fn is_failure(&self) -> bool {
        match self.verdict {
            Some(verdict) => verdict == Verdict::Failed,
            None => self.failures().next().is_some(),
        }
    }
}

impl Execution {
    pub fn of(result: &TestResult, executor: &ExecutorId) -> Self {
        let worth = result.outcome == Outcome::Failed
            || !result.detail.is_empty()
            || !result.message.is_empty()
            || result.cause.is_some();
        let note = || Note {
            detail: result.detail.clone(),
            cause: result.cause,
            message: result.message.clone(),
            location: result.location.clone(),
            text: result.text,
            executor: executor.clone(),
        };
        Self { outcome: result.outcome, phases: result.phases, note: worth.then(note).map(Box::new) }
    }

    pub fn micros(&self) -> u64 {
        self.phases.iter().sum()
    }
}

//! The verdict rules: pure functions from outcomes to verdicts to exit codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outcome::words;
use crate::{InfraCause, Outcome};

/// Which outcomes occurred among a test's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    pub passed: bool,
    pub failed: bool,
    pub skipped: bool,
}

impl Seen {
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed = true,
            Outcome::Failed => self.failed = true,
            Outcome::Skipped => self.skipped = true,
        }
    }

    pub fn any(self) -> bool {
        self.passed || self.failed || self.skipped
    }
}

/// The one verdict of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    Skipped,
    /// Passed and failed in the same run.
    Flaky,
    /// Failed, but the failure does not count.
    Quarantined,
    NotExecuted(NotExecuted),
}

/// Why a test has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotExecuted {
    Cancelled,
    /// Nobody watched the run any more.
    Orphaned,
    FailFast,
    /// Its id was discovered, but not found again by a worker of the same environment.
    UnstableId,
    /// Its retry budget for an infrastructure cause is spent.
    Infra(InfraCause),
}

impl Verdict {
    /// The verdict of a decided test from the outcomes that occurred; `none` says why where there are none.
    pub fn of(seen: Seen, none: NotExecuted) -> Verdict {
        match (seen.passed, seen.failed, seen.skipped) {
            (true, true, _) => Verdict::Flaky,
            (false, true, _) => Verdict::Failed,
            (true, false, _) => Verdict::Passed,
            (false, false, true) => Verdict::Skipped,
            (false, false, false) => Verdict::NotExecuted(none),
        }
    }

    /// The word for it in events, reports and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
            Verdict::Flaky => "flaky",
            Verdict::Quarantined => "quarantined",
            Verdict::NotExecuted(_) => "not_executed",
        }
    }
}

impl fmt::Display for NotExecuted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotExecuted::Cancelled => f.write_str("cancelled"),
            NotExecuted::Orphaned => f.write_str("orphaned"),
            NotExecuted::FailFast => f.write_str("fail-fast"),
            NotExecuted::UnstableId => f.write_str("unstable id"),
            NotExecuted::Infra(cause) => cause.fmt(f),
        }
    }
}

/// How many tests have which verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub total: u32,
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
    pub flaky: u32,
    pub quarantined: u32,
    pub not_executed: u32,
}

impl Counts {
    pub fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Failed => &mut self.failed,
            Verdict::Skipped => &mut self.skipped,
            Verdict::Flaky => &mut self.flaky,
            Verdict::Quarantined => &mut self.quarantined,
            Verdict::NotExecuted(_) => &mut self.not_executed,
        } += 1;
    }

    /// Tests with a verdict so far.
    pub fn decided(&self) -> u32 {
        self.passed + self.failed + self.skipped + self.flaky + self.quarantined + self.not_executed
    }

    /// Tests without one.
    pub fn open(&self) -> u32 {
        self.total.saturating_sub(self.decided())
    }
}

/// The verdict of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    Passed,
    Failed,
    Incomplete,
    Cancelled,
}

words!(RunVerdict {
    Passed => "passed",
    Failed => "failed",
    Incomplete => "incomplete",
    Cancelled => "cancelled",
});

/// What the verdict of a run depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ledger {
    pub counts: Counts,
    pub suite_errors: u32,
    pub cancelled: bool,
    /// A flaky test is a failure (`--flaky fail`).
    pub flaky_fails: bool,
    /// Nothing could start, for an infrastructure cause.
    pub nothing_started: bool,
    /// The manifest is empty because what was asked for is empty by definition (`last-failed` of a green run).
    pub empty_by_definition: bool,
}

impl Ledger {
    /// The run's verdict and the exit code of the process that waited for it, by the design's precedence.
    pub fn close(&self) -> (RunVerdict, u8) {
        let counts = self.counts;
        let failed = counts.failed > 0 || self.suite_errors > 0 || (self.flaky_fails && counts.flaky > 0);
        if self.cancelled {
            (RunVerdict::Cancelled, 130)
        } else if failed {
            (RunVerdict::Failed, 100)
        } else if self.nothing_started {
            (RunVerdict::Incomplete, 102)
        } else if counts.total == 0 && self.empty_by_definition {
            (RunVerdict::Passed, 0)
        } else if counts.not_executed > 0 || counts.total == 0 || counts.decided() != counts.total {
            (RunVerdict::Incomplete, 101)
        } else {
            (RunVerdict::Passed, 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_table_is_the_designs() {
        use Verdict::*;
        let none = super::NotExecuted::Cancelled;
        // passed, failed, skipped
        let table = [
            ((false, false, false), NotExecuted(none)),
            ((false, false, true), Skipped),
            ((false, true, false), Failed),
            ((false, true, true), Failed),
            ((true, false, false), Passed),
            ((true, false, true), Passed),
            ((true, true, false), Flaky),
            ((true, true, true), Flaky),
        ];
        for ((passed, failed, skipped), verdict) in table {
            assert_eq!(Verdict::of(Seen { passed, failed, skipped }, none), verdict);
        }
    }

    #[test]
    fn exit_codes_follow_their_precedence() {
        let counts = |passed, failed, flaky, not_executed| Counts {
            total: passed + failed + flaky + not_executed,
            passed,
            failed,
            flaky,
            not_executed,
            ..Counts::default()
        };
        let ledger = |counts| Ledger { counts, ..Ledger::default() };
        assert_eq!(ledger(counts(3, 0, 1, 0)).close(), (RunVerdict::Passed, 0));
        assert_eq!(ledger(counts(3, 1, 0, 1)).close(), (RunVerdict::Failed, 100));
        assert_eq!(ledger(counts(3, 0, 0, 1)).close(), (RunVerdict::Incomplete, 101));
        assert_eq!(ledger(counts(0, 0, 0, 0)).close(), (RunVerdict::Incomplete, 101));
        let flaky = Ledger { flaky_fails: true, ..ledger(counts(3, 0, 1, 0)) };
        assert_eq!(flaky.close(), (RunVerdict::Failed, 100));
        let suite_error = Ledger { suite_errors: 1, ..ledger(counts(3, 0, 0, 0)) };
        assert_eq!(suite_error.close(), (RunVerdict::Failed, 100));
        let cancelled = Ledger { cancelled: true, ..ledger(counts(1, 1, 0, 1)) };
        assert_eq!(cancelled.close(), (RunVerdict::Cancelled, 130));
        let nothing = Ledger { nothing_started: true, ..ledger(counts(0, 0, 0, 2)) };
        assert_eq!(nothing.close(), (RunVerdict::Incomplete, 102));
        let empty = Ledger { empty_by_definition: true, ..ledger(counts(0, 0, 0, 0)) };
        assert_eq!(empty.close(), (RunVerdict::Passed, 0));
        // A test without a verdict is never green.
        let lost = Counts { total: 4, passed: 3, ..Counts::default() };
        assert_eq!(ledger(lost).close(), (RunVerdict::Incomplete, 101));
    }
}

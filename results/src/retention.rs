//! How long what is kept stays. Pure.

use std::time::{Duration, SystemTime};

use crate::{ARTIFACT, ATTACHMENT};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The age at which what is kept of each class may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Logs of attempts in which nothing failed, and of the others.
    pub passed_logs: Duration,
    pub failed_logs: Duration,
    /// Streams of ended runs, with all else that is kept of them, and what an index has of them.
    pub results: Duration,
    /// What is known of tests that no run has had for so long.
    pub timings: Duration,
    /// Artifacts that nobody has wanted for so long.
    pub artifacts: Duration,
    /// Attachments of tests that nobody has wanted for so long.
    pub attachments: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            passed_logs: 7 * DAY,
            failed_logs: 30 * DAY,
            results: 90 * DAY,
            timings: 365 * DAY,
            artifacts: 14 * DAY,
            attachments: 30 * DAY,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    PassedLogs,
    FailedLogs,
    Results,
    Timings,
    Artifacts,
    Attachments,
}

impl Class {
    /// What a blob is of, by how it begins: what is no artifact and no attachment is a manifest.
    pub fn of_blob(begins: [u8; 4]) -> Class {
        match begins {
            ARTIFACT => Class::Artifacts,
            ATTACHMENT => Class::Attachments,
            _ => Class::Results,
        }
    }

    /// All that blobs are of.
    pub const OF_BLOBS: [Class; 3] = [Class::Artifacts, Class::Attachments, Class::Results];

    pub fn word(self) -> &'static str {
        match self {
            Class::PassedLogs => "passed-logs",
            Class::FailedLogs => "failed-logs",
            Class::Results => "results",
            Class::Timings => "timings",
            Class::Artifacts => "artifacts",
            Class::Attachments => "attachments",
        }
    }
}

impl Retention {
    pub fn of(&self, class: Class) -> Duration {
        match class {
            Class::PassedLogs => self.passed_logs,
            Class::FailedLogs => self.failed_logs,
            Class::Results => self.results,
            Class::Timings => self.timings,
            Class::Artifacts => self.artifacts,
            Class::Attachments => self.attachments,
        }
    }

    /// When what may go now was kept, at the latest.
    pub fn before(&self, class: Class, now: SystemTime) -> SystemTime {
        now.checked_sub(self.of(class)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_go_before_results_and_results_before_what_they_taught() {
        let retention = Retention { artifacts: Duration::MAX, ..Retention::default() };
        let order = [Class::PassedLogs, Class::FailedLogs, Class::Results, Class::Timings];
        assert!(order.map(|class| retention.of(class)).is_sorted());
        let now = SystemTime::UNIX_EPOCH + 8 * DAY;
        assert_eq!(retention.before(Class::PassedLogs, now), SystemTime::UNIX_EPOCH + DAY);
        assert_eq!(retention.before(Class::Artifacts, now), SystemTime::UNIX_EPOCH);
    }
}

//! Verdicts, why there is none, and how many there are.

use seagull_domain::{Counts, NotExecuted, Verdict};

use super::Invalid;
use super::scalar::{self, Checked};
use super::words;
use crate::v1;

pub(super) fn verdict_parts(verdict: Verdict) -> (v1::Verdict, Option<v1::NotExecuted>) {
    match verdict {
        Verdict::Passed => (v1::Verdict::Passed, None),
        Verdict::Failed => (v1::Verdict::Failed, None),
        Verdict::Skipped => (v1::Verdict::Skipped, None),
        Verdict::Flaky => (v1::Verdict::Flaky, None),
        Verdict::Quarantined => (v1::Verdict::Quarantined, None),
        Verdict::NotExecuted(why) => (v1::Verdict::NotExecuted, Some(why.into())),
    }
}

pub(super) fn verdict(number: i32, why: Option<v1::NotExecuted>) -> Checked<Verdict> {
    let verdict = match (v1::Verdict::try_from(number), why) {
        (Ok(v1::Verdict::Passed), None) => Verdict::Passed,
        (Ok(v1::Verdict::Failed), None) => Verdict::Failed,
        (Ok(v1::Verdict::Skipped), None) => Verdict::Skipped,
        (Ok(v1::Verdict::Flaky), None) => Verdict::Flaky,
        (Ok(v1::Verdict::Quarantined), None) => Verdict::Quarantined,
        (Ok(v1::Verdict::NotExecuted), Some(why)) => Verdict::NotExecuted(why.try_into()?),
        (Ok(v1::Verdict::Unspecified) | Err(_), _) => {
            return Err(Invalid::new("VerdictReached.verdict", format!("has the unknown value {number}")));
        }
        (Ok(_), _) => {
            return Err(Invalid::new(
                "VerdictReached.why",
                "is set if and only if the test was not executed",
            ));
        }
    };
    Ok(verdict)
}

impl From<NotExecuted> for v1::NotExecuted {
    fn from(why: NotExecuted) -> Self {
        let (reason, cause) = match why {
            NotExecuted::Cancelled => (v1::NotExecutedReason::Cancelled, None),
            NotExecuted::FailFast => (v1::NotExecutedReason::FailFast, None),
            NotExecuted::Orphaned => (v1::NotExecutedReason::Orphaned, None),
            NotExecuted::UnstableId => (v1::NotExecutedReason::UnstableId, None),
            NotExecuted::Infra(cause) => (v1::NotExecutedReason::Infra, Some(cause)),
        };
        Self { reason: reason.into(), cause: words::optional_number(cause) }
    }
}

impl TryFrom<v1::NotExecuted> for NotExecuted {
    type Error = Invalid;

    fn try_from(message: v1::NotExecuted) -> Checked<Self> {
        let cause = words::optional(message.cause, "NotExecuted.cause")?;
        Ok(match (v1::NotExecutedReason::try_from(message.reason), cause) {
            (Ok(v1::NotExecutedReason::Cancelled), None) => Self::Cancelled,
            (Ok(v1::NotExecutedReason::FailFast), None) => Self::FailFast,
            (Ok(v1::NotExecutedReason::Orphaned), None) => Self::Orphaned,
            (Ok(v1::NotExecutedReason::UnstableId), None) => Self::UnstableId,
            (Ok(v1::NotExecutedReason::Infra), Some(cause)) => Self::Infra(cause),
            (Ok(v1::NotExecutedReason::Unspecified) | Err(_), _) => {
                let reason = format!("has the unknown value {}", message.reason);
                return Err(Invalid::new("NotExecuted.reason", reason));
            }
            (Ok(_), _) => {
                return Err(Invalid::new("NotExecuted.cause", "is set if and only if the reason is infra"));
            }
        })
    }
}

impl From<Counts> for v1::Counts {
    fn from(counts: Counts) -> Self {
        Self {
            total: counts.total,
            passed: counts.passed,
            failed: counts.failed,
            skipped: counts.skipped,
            flaky: counts.flaky,
            quarantined: counts.quarantined,
            not_executed: counts.not_executed,
        }
    }
}

impl TryFrom<v1::Counts> for Counts {
    type Error = Invalid;

    fn try_from(message: v1::Counts) -> Checked<Self> {
        Ok(Self {
            total: scalar::tests(message.total, "Counts.total")?,
            passed: scalar::tests(message.passed, "Counts.passed")?,
            failed: scalar::tests(message.failed, "Counts.failed")?,
            skipped: scalar::tests(message.skipped, "Counts.skipped")?,
            flaky: scalar::tests(message.flaky, "Counts.flaky")?,
            quarantined: scalar::tests(message.quarantined, "Counts.quarantined")?,
            not_executed: scalar::tests(message.not_executed, "Counts.not_executed")?,
        })
    }
}

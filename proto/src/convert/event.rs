//! The events of a run.

use seagull_domain::{Alone, InfraCause, PlanSummary, RunEvent, SecondCopy, SlotNumber, StreamItem};

use super::Invalid;
use super::sandbox;
use super::scalar::{self, Checked};
use super::verdict::{verdict, verdict_parts};
use super::words::{self, Word};
use crate::v1::stream_item::Event;
use crate::{limits, v1};

impl From<StreamItem> for v1::StreamItem {
    fn from(item: StreamItem) -> Self {
        Self { seq: item.seq.0, event: Some(item.event.into()) }
    }
}

impl TryFrom<v1::StreamItem> for StreamItem {
    type Error = Invalid;

    fn try_from(message: v1::StreamItem) -> Checked<Self> {
        let event = scalar::required(message.event, "StreamItem.event")?;
        Ok(Self { seq: scalar::seq(message.seq, "StreamItem.seq")?, event: event.try_into()? })
    }
}

impl From<RunEvent> for Event {
    fn from(event: RunEvent) -> Self {
        match event {
            RunEvent::RunStarted(spec) => Self::RunStarted(Box::new((*spec).into())),
            RunEvent::ManifestConfirmed { generation, manifest, tests } => {
                Self::ManifestConfirmed(v1::ManifestConfirmed {
                    generation: generation.0,
                    manifest: scalar::digest_bytes(manifest),
                    tests,
                })
            }
            RunEvent::Plan(summary) => Self::Plan(summary.into()),
            RunEvent::AttemptAssigned { attempt, executor, slot, discovery, tests, copy } => {
                Self::AttemptAssigned(v1::AttemptAssigned {
                    attempt: attempt.0,
                    executor: executor.into(),
                    slot: slot.0,
                    discovery,
                    tests,
                    copy: copy
                        .map(|SecondCopy { test, beside }| v1::SecondCopy { test: test.0, beside: beside.0 }),
                })
            }
            RunEvent::TakenBack { attempt, tests, why } => {
                Self::TakenBack(v1::TakenBack { attempt: attempt.0, tests, why: why.number() })
            }
            RunEvent::TestFinished { result, attempt, executor, slot, evidence } => {
                Self::TestFinished(Box::new(v1::TestFinished {
                    result: Some(result.into()),
                    attempt: attempt.0,
                    executor: executor.into(),
                    slot: slot.0,
                    evidence: words::optional_number(evidence),
                }))
            }
            RunEvent::Verdict { test, verdict } => {
                let (verdict, why) = verdict_parts(verdict);
                Self::Verdict(v1::VerdictReached { test: test.0, verdict: verdict.into(), why })
            }
            RunEvent::TestMissing { test, attempt, executor, reason } => {
                let (executor, reason) = (executor.into(), scalar::fitted(reason, limits::LINE_BYTES));
                Self::TestMissing(v1::TestMissing { test: test.0, attempt: attempt.0, executor, reason })
            }
            RunEvent::SuiteError { error, executor } => Self::SuiteError(v1::SuiteErrorRaised {
                error: Some(error.into()),
                executor: executor.map(Into::into),
            }),
            RunEvent::Coverage { .. }
            | RunEvent::Attached { .. }
            | RunEvent::Held { .. }
            | RunEvent::Left { .. }
            | RunEvent::Used { .. }
            | RunEvent::Images { .. } => of_attempt(event),
            RunEvent::AttemptLost { .. }
            | RunEvent::TestCutOff { .. }
            | RunEvent::ExecutorLost { .. }
            | RunEvent::ExecutorDrained { .. }
            | RunEvent::ExecutorCordoned { .. }
            | RunEvent::ExecutorBack { .. } => of_executor(event),
            RunEvent::DiscoveryFailed { message } => {
                Self::DiscoveryFailed(scalar::fitted(message, limits::REPORT_BYTES))
            }
            RunEvent::ResultsDiscarded { manifest, tests, count } => {
                let manifest = scalar::digest_bytes(manifest);
                let tests = tests.iter().map(|test| test.0).take(limits::NAMED_TESTS).collect();
                Self::ResultsDiscarded(v1::ResultsDiscarded { manifest, tests, count })
            }
            RunEvent::Stopping { reason } => Self::Stopping(reason.into()),
            RunEvent::JudgementAwaited { verdict } => {
                Self::JudgementAwaited(v1::JudgementAwaited { verdict: verdict.number() })
            }
            RunEvent::RunFinished { verdict, counts, exit_code } => Self::RunFinished(v1::RunFinished {
                verdict: verdict.number(),
                counts: Some(counts.into()),
                exit_code: exit_code.into(),
            }),
        }
    }
}

/// What attempts leave or use besides their results.
fn of_attempt(event: RunEvent) -> Event {
    match event {
        RunEvent::Coverage { data, executor, slot } => {
            let (data, executor) = (Some(data.into()), executor.into());
            Event::Coverage(v1::CoverageTold { data, executor, slot: slot.0 })
        }
        RunEvent::Attached { test, file, attempt, executor, slot } => {
            let (test, file, executor) = (test.map(|test| test.0), Some(file.into()), executor.into());
            Event::Attached(v1::AttachmentTold { test, file, attempt: attempt.0, executor, slot: slot.0 })
        }
        RunEvent::Held { test, hold, attempt, executor, slot } => {
            let (test, hold, executor) = (test.map(|test| test.0), Some(hold.into()), executor.into());
            Event::Held(v1::HeldTold { test, hold, attempt: attempt.0, executor, slot: slot.0 })
        }
        RunEvent::Left { test, left, attempt, executor, slot } => {
            let (test, left, executor) = (test.map(|test| test.0), Some(left.into()), executor.into());
            Event::Left(v1::LeftTold { test, left, attempt: attempt.0, executor, slot: slot.0 })
        }
        RunEvent::Used { used, attempt, executor, slot } => {
            let (used, executor) = (Some(used.into()), executor.into());
            Event::Used(v1::UsedTold { used, attempt: attempt.0, executor, slot: slot.0 })
        }
        RunEvent::Images { images, attempt, executor, slot } => {
            let (images, executor) = (sandbox::told(images), executor.into());
            Event::Images(v1::ImagesTold { images, attempt: attempt.0, executor, slot: slot.0 })
        }
        _ => unreachable!("called for these alone"),
    }
}

/// What becomes of executors and of what they have.
fn of_executor(event: RunEvent) -> Event {
    match event {
        RunEvent::AttemptLost { attempt, executor, cause, message, tests, charged, suspect, alone, free } => {
            Event::AttemptLost(v1::AttemptLost {
                attempt: attempt.0,
                executor: executor.into(),
                cause: cause.number(),
                message: scalar::fitted(message, limits::LINE_BYTES),
                tests,
                charged: charged.iter().map(|test| test.0).take(limits::NAMED_TESTS).collect(),
                suspect: suspect.map(|test| test.0),
                alone: alone.map(|Alone { ms, chance }| v1::Alone { millis: ms.map(millis), chance }),
                free,
            })
        }
        RunEvent::TestCutOff { test, attempt, executor, ran_ms, cause } => {
            Event::TestCutOff(v1::TestCutOff {
                test: test.0,
                attempt: attempt.0,
                executor: executor.into(),
                ran_millis: millis(ran_ms),
                cause: cause.map_or(0, InfraCause::number),
            })
        }
        RunEvent::ExecutorLost { executor, cause } => {
            Event::ExecutorLost(v1::ExecutorLost { executor: executor.into(), cause: cause.number() })
        }
        RunEvent::ExecutorDrained { executor, cause, why } => {
            let (executor, why) = (executor.into(), scalar::fitted(why, limits::WORD_BYTES));
            Event::ExecutorDrained(v1::ExecutorDrained { executor, cause: cause.number(), why })
        }
        RunEvent::ExecutorCordoned { executor, sickness, attempts, elsewhere } => {
            Event::ExecutorCordoned(v1::ExecutorCordoned {
                executor: executor.into(),
                sickness: sickness.number(),
                attempts: attempts.min(limits::TESTS),
                elsewhere: elsewhere.min(limits::TESTS),
            })
        }
        RunEvent::ExecutorBack { executor } => {
            Event::ExecutorBack(v1::ExecutorBack { executor: executor.into() })
        }
        _ => unreachable!("called for these alone"),
    }
}

impl TryFrom<Event> for RunEvent {
    type Error = Invalid;

    fn try_from(event: Event) -> Checked<Self> {
        Ok(match event {
            Event::RunStarted(spec) => Self::RunStarted(Box::new((*spec).try_into()?)),
            Event::ManifestConfirmed(message) => Self::ManifestConfirmed {
                generation: scalar::generation(message.generation, "ManifestConfirmed.generation")?,
                manifest: scalar::digest(&message.manifest, "ManifestConfirmed.manifest")?,
                tests: scalar::tests(message.tests, "ManifestConfirmed.tests")?,
            },
            Event::Plan(summary) => Self::Plan(summary.try_into()?),
            Event::AttemptAssigned(message) => assigned(message)?,
            Event::TakenBack(message) => Self::TakenBack {
                attempt: scalar::attempt(message.attempt, "TakenBack.attempt")?,
                tests: scalar::tests(message.tests, "TakenBack.tests")?,
                why: words::optional(message.why, "TakenBack.why")?.unwrap_or_default(),
            },
            Event::TestFinished(message) => test_finished(*message)?,
            Event::Verdict(message) => Self::Verdict {
                test: scalar::test(message.test, "VerdictReached.test")?,
                verdict: verdict(message.verdict, message.why)?,
            },
            Event::TestMissing(message) => test_missing(message)?,
            Event::SuiteError(message) => Self::SuiteError {
                error: scalar::required(message.error, "SuiteErrorRaised.error")?.try_into()?,
                executor: message
                    .executor
                    .map(|executor| scalar::id(executor, "SuiteErrorRaised.executor"))
                    .transpose()?,
            },
            Event::Coverage(message) => Self::Coverage {
                data: scalar::required(message.data, "CoverageTold.data")?.try_into()?,
                executor: scalar::id(message.executor, "CoverageTold.executor")?,
                slot: slot(message.slot, "CoverageTold.slot")?,
            },
            Event::Attached(message) => Self::Attached {
                test: message.test.map(|test| scalar::test(test, "AttachmentTold.test")).transpose()?,
                file: scalar::required(message.file, "AttachmentTold.file")?.try_into()?,
                attempt: scalar::attempt(message.attempt, "AttachmentTold.attempt")?,
                executor: scalar::id(message.executor, "AttachmentTold.executor")?,
                slot: slot(message.slot, "AttachmentTold.slot")?,
            },
            Event::Held(message) => held(message)?,
            Event::Left(message) => left(message)?,
            Event::Used(message) => Self::Used {
                used: scalar::required(message.used, "UsedTold.used")?.try_into()?,
                attempt: scalar::attempt(message.attempt, "UsedTold.attempt")?,
                executor: scalar::id(message.executor, "UsedTold.executor")?,
                slot: slot(message.slot, "UsedTold.slot")?,
            },
            Event::Images(message) => Self::Images {
                images: sandbox::heard(message.images, "ImagesTold.images")?,
                attempt: scalar::attempt(message.attempt, "ImagesTold.attempt")?,
                executor: scalar::id(message.executor, "ImagesTold.executor")?,
                slot: slot(message.slot, "ImagesTold.slot")?,
            },
            Event::AttemptLost(message) => attempt_lost(message)?,
            Event::TestCutOff(message) => cut_off(message)?,
            Event::ExecutorLost(message) => Self::ExecutorLost {
                executor: scalar::id(message.executor, "ExecutorLost.executor")?,
                cause: words::word(message.cause, "ExecutorLost.cause")?,
            },
            Event::ExecutorDrained(message) => Self::ExecutorDrained {
                executor: scalar::id(message.executor, "ExecutorDrained.executor")?,
                cause: words::word(message.cause, "ExecutorDrained.cause")?,
                why: scalar::text(message.why, limits::WORD_BYTES, "ExecutorDrained.why")?,
            },
            Event::ExecutorCordoned(message) => cordoned(message)?,
            Event::ExecutorBack(message) => {
                Self::ExecutorBack { executor: scalar::id(message.executor, "ExecutorBack.executor")? }
            }
            Event::DiscoveryFailed(message) => Self::DiscoveryFailed {
                message: scalar::text(message, limits::REPORT_BYTES, "StreamItem.discovery_failed")?,
            },
            Event::ResultsDiscarded(message) => discarded(message)?,
            Event::Stopping(reason) => Self::Stopping { reason: reason.try_into()? },
            Event::JudgementAwaited(message) => {
                Self::JudgementAwaited { verdict: words::word(message.verdict, "JudgementAwaited.verdict")? }
            }
            Event::RunFinished(message) => run_finished(message)?,
        })
    }
}

fn slot(number: u32, field: &'static str) -> Checked<SlotNumber> {
    scalar::slot_number(number, field)
}

fn assigned(message: v1::AttemptAssigned) -> Checked<RunEvent> {
    Ok(RunEvent::AttemptAssigned {
        attempt: scalar::attempt(message.attempt, "AttemptAssigned.attempt")?,
        executor: scalar::id(message.executor, "AttemptAssigned.executor")?,
        slot: slot(message.slot, "AttemptAssigned.slot")?,
        discovery: message.discovery,
        tests: scalar::tests(message.tests, "AttemptAssigned.tests")?,
        copy: message.copy.map(second_copy).transpose()?,
    })
}

fn second_copy(message: v1::SecondCopy) -> Checked<SecondCopy> {
    Ok(SecondCopy {
        test: scalar::test(message.test, "SecondCopy.test")?,
        beside: scalar::attempt(message.beside, "SecondCopy.beside")?,
    })
}

fn test_finished(message: v1::TestFinished) -> Checked<RunEvent> {
    Ok(RunEvent::TestFinished {
        result: scalar::required(message.result, "TestFinished.result")?.try_into()?,
        attempt: scalar::attempt(message.attempt, "TestFinished.attempt")?,
        executor: scalar::id(message.executor, "TestFinished.executor")?,
        slot: slot(message.slot, "TestFinished.slot")?,
        evidence: words::optional(message.evidence, "TestFinished.evidence")?,
    })
}

fn held(message: v1::HeldTold) -> Checked<RunEvent> {
    Ok(RunEvent::Held {
        test: message.test.map(|test| scalar::test(test, "HeldTold.test")).transpose()?,
        hold: scalar::required(message.hold, "HeldTold.hold")?.try_into()?,
        attempt: scalar::attempt(message.attempt, "HeldTold.attempt")?,
        executor: scalar::id(message.executor, "HeldTold.executor")?,
        slot: slot(message.slot, "HeldTold.slot")?,
    })
}

fn left(message: v1::LeftTold) -> Checked<RunEvent> {
    Ok(RunEvent::Left {
        test: message.test.map(|test| scalar::test(test, "LeftTold.test")).transpose()?,
        left: scalar::required(message.left, "LeftTold.left")?.try_into()?,
        attempt: scalar::attempt(message.attempt, "LeftTold.attempt")?,
        executor: scalar::id(message.executor, "LeftTold.executor")?,
        slot: slot(message.slot, "LeftTold.slot")?,
    })
}

fn cut_off(message: v1::TestCutOff) -> Checked<RunEvent> {
    Ok(RunEvent::TestCutOff {
        test: scalar::test(message.test, "TestCutOff.test")?,
        attempt: scalar::attempt(message.attempt, "TestCutOff.attempt")?,
        executor: scalar::id(message.executor, "TestCutOff.executor")?,
        ran_ms: scalar::at_most(message.ran_millis, limits::MILLIS, "TestCutOff.ran_millis")?,
        cause: words::optional(message.cause, "TestCutOff.cause")?,
    })
}

fn test_missing(message: v1::TestMissing) -> Checked<RunEvent> {
    Ok(RunEvent::TestMissing {
        test: scalar::test(message.test, "TestMissing.test")?,
        attempt: scalar::attempt(message.attempt, "TestMissing.attempt")?,
        executor: scalar::id(message.executor, "TestMissing.executor")?,
        reason: scalar::text(message.reason, limits::LINE_BYTES, "TestMissing.reason")?,
    })
}

fn attempt_lost(message: v1::AttemptLost) -> Checked<RunEvent> {
    let field = "AttemptLost.charged";
    let suspect = message.suspect.map(|test| scalar::test(test, "AttemptLost.suspect"));
    Ok(RunEvent::AttemptLost {
        attempt: scalar::attempt(message.attempt, "AttemptLost.attempt")?,
        executor: scalar::id(message.executor, "AttemptLost.executor")?,
        cause: words::word(message.cause, "AttemptLost.cause")?,
        message: scalar::text(message.message, limits::LINE_BYTES, "AttemptLost.message")?,
        tests: scalar::tests(message.tests, "AttemptLost.tests")?,
        charged: scalar::list(message.charged, limits::NAMED_TESTS, field, |test| scalar::test(test, field))?,
        suspect: suspect.transpose()?,
        alone: message.alone.map(alone).transpose()?,
        free: message.free,
    })
}

fn alone(message: v1::Alone) -> Checked<Alone> {
    let bounded = |ms| scalar::at_most(ms, limits::MILLIS, "Alone.millis");
    Ok(Alone {
        ms: message.millis.map(bounded).transpose()?,
        chance: scalar::at_most(message.chance, 1000, "Alone.chance")?,
    })
}

fn millis(ms: u64) -> u64 {
    ms.min(limits::MILLIS)
}

fn cordoned(message: v1::ExecutorCordoned) -> Checked<RunEvent> {
    Ok(RunEvent::ExecutorCordoned {
        executor: scalar::id(message.executor, "ExecutorCordoned.executor")?,
        sickness: words::word(message.sickness, "ExecutorCordoned.sickness")?,
        attempts: scalar::tests(message.attempts, "ExecutorCordoned.attempts")?,
        elsewhere: scalar::tests(message.elsewhere, "ExecutorCordoned.elsewhere")?,
    })
}

fn discarded(message: v1::ResultsDiscarded) -> Checked<RunEvent> {
    let field = "ResultsDiscarded.tests";
    Ok(RunEvent::ResultsDiscarded {
        manifest: scalar::digest(&message.manifest, "ResultsDiscarded.manifest")?,
        tests: scalar::list(message.tests, limits::NAMED_TESTS, field, |test| scalar::test(test, field))?,
        count: scalar::tests(message.count, "ResultsDiscarded.count")?,
    })
}

fn run_finished(message: v1::RunFinished) -> Checked<RunEvent> {
    Ok(RunEvent::RunFinished {
        verdict: words::word(message.verdict, "RunFinished.verdict")?,
        counts: message.counts.unwrap_or_default().try_into()?,
        exit_code: u8::try_from(message.exit_code)
            .map_err(|_| Invalid::new("RunFinished.exit_code", "is over 255"))?,
    })
}

impl From<PlanSummary> for v1::PlanSummary {
    fn from(summary: PlanSummary) -> Self {
        Self {
            bundles: summary.bundles,
            slots: summary.slots,
            cap_ms: summary.cap_ms.min(limits::MILLIS),
            total_ms: summary.total_ms.min(limits::MOMENT),
            longest_ms: summary.longest_ms.min(limits::MOMENT),
            makespan_ms: summary.makespan_ms.min(limits::MOMENT),
            lower_bound: summary.lower_bound,
            bound: scalar::fitted(summary.bound, limits::WORD_BYTES),
            unknown: summary.unknown,
            oversize: summary.oversize,
            planning_ms: summary.planning_ms.min(limits::MILLIS),
        }
    }
}

impl TryFrom<v1::PlanSummary> for PlanSummary {
    type Error = Invalid;

    fn try_from(message: v1::PlanSummary) -> Checked<Self> {
        let sum = |millis, field| scalar::at_most(millis, limits::MOMENT, field);
        Ok(Self {
            bundles: scalar::tests(message.bundles, "PlanSummary.bundles")?,
            slots: scalar::at_most(message.slots, limits::SLOT_NUMBERS, "PlanSummary.slots")?,
            cap_ms: scalar::at_most(message.cap_ms, limits::MILLIS, "PlanSummary.cap_ms")?,
            total_ms: sum(message.total_ms, "PlanSummary.total_ms")?,
            longest_ms: sum(message.longest_ms, "PlanSummary.longest_ms")?,
            makespan_ms: sum(message.makespan_ms, "PlanSummary.makespan_ms")?,
            lower_bound: scalar::tests(message.lower_bound, "PlanSummary.lower_bound")?,
            bound: scalar::text(message.bound, limits::WORD_BYTES, "PlanSummary.bound")?,
            unknown: scalar::tests(message.unknown, "PlanSummary.unknown")?,
            oversize: scalar::tests(message.oversize, "PlanSummary.oversize")?,
            planning_ms: scalar::at_most(message.planning_ms, limits::MILLIS, "PlanSummary.planning_ms")?,
        })
    }
}

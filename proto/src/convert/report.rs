//! The state of an executor.

use std::collections::BTreeSet;

use prost::Message;
use prost::encoding::encoded_len_varint;
use seagull_domain::{
    AttemptReport, AttemptState, Batch, Discovery, Drain, EndCause, InfraCause, Record, Report, Resources,
    TestIndex, WorkerReport,
};

use super::Invalid;
use super::desired::slot_index;
use super::sandbox;
use super::scalar::{self, Checked};
use super::words::{self, Word};
use crate::v1::{attempt_report, ended, record};
use crate::{PROTOCOL, limits, v1};

impl From<Report> for v1::ReportMessage {
    /// Leaves out the last batches where one message cannot hold them all; the report they are part of is repeated
    /// until they are acknowledged.
    fn from(report: Report) -> Self {
        let draining = report.draining.is_some();
        let (drain_cause, drain_why) = report.draining.map(drain_parts).unwrap_or_default();
        let mut message = Self {
            protocol: Some(PROTOCOL),
            executor: report.executor.into(),
            boot: report.boot.into(),
            sequence: report.sequence,
            known_epoch: report.known.0.0,
            known_version: report.known.1,
            slots: report.slots.into(),
            memory_kib: known(report.capacity.memory_kib),
            millicpus: known(report.capacity.millicpus),
            labels: report.labels,
            draining,
            drain_cause,
            drain_why,
            attempts: report.attempts.into_iter().map(Into::into).collect(),
            workers: report.workers.into_iter().map(Into::into).collect(),
            batches: Vec::new(),
        };
        let mut room = limits::MESSAGE_BYTES.saturating_sub(message.encoded_len());
        for batch in report.batches {
            let batch = v1::Batch::from(batch);
            let length = batch.encoded_len();
            // A field's key takes one byte.
            let needed = 1 + encoded_len_varint(length as u64) + length;
            if needed > room {
                break;
            }
            room -= needed;
            message.batches.push(batch);
        }
        message
    }
}

impl TryFrom<v1::ReportMessage> for Report {
    type Error = Invalid;

    /// Does not look at the protocol range; see [`crate::agree`].
    fn try_from(message: v1::ReportMessage) -> Checked<Self> {
        let slots = scalar::at_most(message.slots, limits::SLOTS, "ReportMessage.slots")?;
        let attempts = scalar::list(
            message.attempts,
            limits::ATTEMPTS,
            "ReportMessage.attempts",
            AttemptReport::try_from,
        )?;
        let mut seen = BTreeSet::new();
        if !attempts.iter().all(|report| seen.insert(report.attempt)) {
            return Err(Invalid::new("ReportMessage.attempts", "has an attempt twice"));
        }
        let drain = drain(message.drain_cause, message.drain_why);
        let epoch = scalar::epoch(message.known_epoch, "ReportMessage.known_epoch")?;
        let version = scalar::number(message.known_version, "ReportMessage.known_version")?;
        Ok(Self {
            executor: scalar::id(message.executor, "ReportMessage.executor")?,
            boot: scalar::id(message.boot, "ReportMessage.boot")?,
            sequence: scalar::number(message.sequence, "ReportMessage.sequence")?,
            known: (epoch, version),
            slots: u16::try_from(slots)
                .map_err(|_| Invalid::new("ReportMessage.slots", format!("is {slots}")))?,
            capacity: Resources {
                memory_kib: amount(message.memory_kib, "ReportMessage.memory_kib")?,
                millicpus: amount(message.millicpus, "ReportMessage.millicpus")?,
            },
            labels: scalar::labels(message.labels, "ReportMessage.labels")?,
            draining: message.draining.then_some(drain).transpose()?,
            attempts,
            workers: scalar::list(message.workers, limits::ATTEMPTS, "ReportMessage.workers", |m| {
                worker(m, slots)
            })?,
            // Not bounded in number: the size of the message bounds it, and an empty batch is refused.
            batches: message.batches.into_iter().map(Batch::try_from).collect::<Checked<_>>()?,
        })
    }
}

/// What is not known is without bound.
fn known(amount: u64) -> Option<u64> {
    Some(amount).filter(|amount| *amount <= limits::NUMBER)
}

fn amount(amount: Option<u64>, field: &'static str) -> Checked<u64> {
    amount.map_or(Ok(u64::MAX), |amount| scalar::number(amount, field))
}

fn drain_parts(drain: Drain) -> (i32, String) {
    (drain.cause.number(), scalar::fitted(drain.why, limits::WORD_BYTES))
}

/// Of the causes only those that were announced may be.
fn drain(cause: i32, why: String) -> Checked<Drain> {
    let cause = words::optional(cause, "ReportMessage.drain_cause")?.unwrap_or(InfraCause::Drained);
    if cause.is_charged() {
        return Err(Invalid::new("ReportMessage.drain_cause", format!("is {cause}")));
    }
    Ok(Drain { cause, why: scalar::text(why, limits::WORD_BYTES, "ReportMessage.drain_why")? })
}

impl From<WorkerReport> for v1::WorkerReport {
    fn from(report: WorkerReport) -> Self {
        Self { run: report.run.into(), slot: report.slot.0.into(), number: report.number.0 }
    }
}

fn worker(message: v1::WorkerReport, slots: u32) -> Checked<WorkerReport> {
    Ok(WorkerReport {
        run: scalar::id(message.run, "WorkerReport.run")?,
        slot: slot_index(message.slot, slots, "WorkerReport.slot")?,
        number: scalar::slot_number(message.number, "WorkerReport.number")?,
    })
}

impl From<AttemptReport> for v1::AttemptReport {
    fn from(report: AttemptReport) -> Self {
        let state = match report.state {
            AttemptState::Waiting => attempt_report::State::Waiting(v1::Waiting {}),
            AttemptState::Running(test) => {
                attempt_report::State::Running(v1::Running { test: test.map(|test| test.0) })
            }
            AttemptState::Ended(cause) => {
                attempt_report::State::Ended(v1::Ended { cause: Some(cause.into()) })
            }
        };
        Self {
            attempt: report.attempt.0,
            run: report.run.into(),
            generation: report.generation.0,
            kept: report.kept.into_iter().map(|test| test.0).collect(),
            state: Some(state),
        }
    }
}

impl TryFrom<v1::AttemptReport> for AttemptReport {
    type Error = Invalid;

    fn try_from(message: v1::AttemptReport) -> Checked<Self> {
        let state = match scalar::required(message.state, "AttemptReport.state")? {
            attempt_report::State::Waiting(v1::Waiting {}) => AttemptState::Waiting,
            attempt_report::State::Running(running) => AttemptState::Running(
                running.test.map(|test| scalar::test(test, "Running.test")).transpose()?,
            ),
            attempt_report::State::Ended(ended) => {
                AttemptState::Ended(scalar::required(ended.cause, "Ended.cause")?.try_into()?)
            }
        };
        Ok(Self {
            attempt: scalar::attempt(message.attempt, "AttemptReport.attempt")?,
            run: scalar::id(message.run, "AttemptReport.run")?,
            generation: scalar::generation(message.generation, "AttemptReport.generation")?,
            kept: scalar::list(message.kept, limits::BUNDLE_ENTRIES, "AttemptReport.kept", kept)?,
            state,
        })
    }
}

fn kept(index: u32) -> Checked<TestIndex> {
    scalar::test(index, "AttemptReport.kept")
}

impl From<EndCause> for ended::Cause {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::Completed => Self::Completed(v1::Completed {}),
            EndCause::Discovered(discovery) => Self::Discovered(v1::Discovered {
                manifest: scalar::digest_bytes(discovery.manifest),
                tests: discovery.tests.min(limits::TESTS),
            }),
            EndCause::DiscoveryFailed(words) => {
                Self::DiscoveryFailed(scalar::fitted(words, limits::REPORT_BYTES))
            }
            EndCause::Cancelled => Self::Cancelled(v1::Cancelled {}),
            EndCause::GaveBack(cause, message) => Self::GaveBack(v1::GaveBack {
                cause: cause.number(),
                message: scalar::fitted(message, limits::LINE_BYTES),
            }),
        }
    }
}

impl TryFrom<ended::Cause> for EndCause {
    type Error = Invalid;

    fn try_from(message: ended::Cause) -> Checked<Self> {
        Ok(match message {
            ended::Cause::Completed(v1::Completed {}) => Self::Completed,
            ended::Cause::Discovered(discovered) => Self::Discovered(Discovery {
                manifest: scalar::digest(&discovered.manifest, "Discovered.manifest")?,
                tests: scalar::tests(discovered.tests, "Discovered.tests")?,
            }),
            ended::Cause::DiscoveryFailed(words) => {
                Self::DiscoveryFailed(scalar::text(words, limits::REPORT_BYTES, "Ended.discovery_failed")?)
            }
            ended::Cause::Cancelled(v1::Cancelled {}) => Self::Cancelled,
            ended::Cause::GaveBack(gave_back) => Self::GaveBack(
                words::word(gave_back.cause, "GaveBack.cause")?,
                scalar::text(gave_back.message, limits::LINE_BYTES, "GaveBack.message")?,
            ),
        })
    }
}

impl From<Batch> for v1::Batch {
    fn from(batch: Batch) -> Self {
        Self {
            run: batch.run.into(),
            attempt: batch.attempt.0,
            number: batch.number,
            records: batch.records.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Batch> for Batch {
    type Error = Invalid;

    fn try_from(message: v1::Batch) -> Checked<Self> {
        let number = scalar::at_most(message.number, limits::SMALL_NUMBER, "Batch.number")?;
        if message.records.is_empty() {
            return Err(Invalid::new("Batch.records", "is empty"));
        }
        Ok(Self {
            run: scalar::id(message.run, "Batch.run")?,
            attempt: scalar::attempt(message.attempt, "Batch.attempt")?,
            number: scalar::at_least_one(number, "Batch.number")?,
            records: scalar::list(message.records, limits::BATCH_RECORDS, "Batch.records", Record::try_from)?,
        })
    }
}

impl From<Record> for v1::Record {
    fn from(record: Record) -> Self {
        let record = match record {
            Record::Result(result) => record::Record::Result(Box::new(result.into())),
            Record::Missing { test, reason } => record::Record::Missing(v1::Missing {
                test: test.0,
                reason: scalar::fitted(reason, limits::LINE_BYTES),
            }),
            Record::SuiteError(error) => record::Record::SuiteError(error.into()),
            Record::Coverage(data) => record::Record::Coverage(data.into()),
            Record::Attached { test, file } => {
                let (test, file) = (test.map(|test| test.0), Some(file.into()));
                record::Record::Attached(v1::Attached { test, file })
            }
            Record::Held { test, hold } => {
                let (test, hold) = (test.map(|test| test.0), Some(hold.into()));
                record::Record::Held(v1::Held { test, hold })
            }
            Record::Left { test, left } => {
                let (test, left) = (test.map(|test| test.0), Some(left.into()));
                record::Record::Left(v1::Left { test, left })
            }
            Record::Used(used) => record::Record::Used(used.into()),
            Record::Images(images) => record::Record::Images(v1::Images { images: sandbox::told(images) }),
        };
        Self { record: Some(record) }
    }
}

impl TryFrom<v1::Record> for Record {
    type Error = Invalid;

    fn try_from(message: v1::Record) -> Checked<Self> {
        Ok(match scalar::required(message.record, "Record.record")? {
            record::Record::Result(result) => Self::Result((*result).try_into()?),
            record::Record::Missing(missing) => Self::Missing {
                test: scalar::test(missing.test, "Missing.test")?,
                reason: scalar::text(missing.reason, limits::LINE_BYTES, "Missing.reason")?,
            },
            record::Record::SuiteError(error) => Self::SuiteError(error.try_into()?),
            record::Record::Coverage(data) => Self::Coverage(data.try_into()?),
            record::Record::Attached(attached) => Self::Attached {
                test: attached.test.map(|test| scalar::test(test, "Attached.test")).transpose()?,
                file: scalar::required(attached.file, "Attached.file")?.try_into()?,
            },
            record::Record::Held(held) => Self::Held {
                test: held.test.map(|test| scalar::test(test, "Held.test")).transpose()?,
                hold: scalar::required(held.hold, "Held.hold")?.try_into()?,
            },
            record::Record::Left(left) => Self::Left {
                test: left.test.map(|test| scalar::test(test, "Left.test")).transpose()?,
                left: scalar::required(left.left, "Left.left")?.try_into()?,
            },
            record::Record::Used(used) => Self::Used(used.try_into()?),
            record::Record::Images(told) => Self::Images(sandbox::heard(told.images, "Images.images")?),
        })
    }
}

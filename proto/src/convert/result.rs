//! Results of tests, suite errors, and where their texts lie.

use seagull_domain::{Attachment, SuiteError, TestResult, TextRef};

use super::Invalid;
use super::scalar::{self, Checked};
use super::words::{self, Word};
use crate::{limits, v1};

/// Makes a result one that may be sent: cuts its texts and figures to the protocol's bounds, so that it is at most
/// [`limits::RESULT_BYTES`] encoded. Sending does it too; who keeps results does it before, to keep what is sent.
pub fn fit_result(result: &mut TestResult) {
    scalar::fit_text(&mut result.detail, limits::WORD_BYTES);
    scalar::fit_text(&mut result.message, limits::LINE_BYTES);
    scalar::fit_text(&mut result.location, limits::LOCATION_BYTES);
    result.phases = result.phases.map(|micros| micros.min(limits::MICROS));
    result.peak_kib = result.peak_kib.min(limits::KIB);
    result.cpu_us = result.cpu_us.min(limits::MICROS);
    result.started_at = result.started_at.min(limits::MOMENT);
}

impl From<TextRef> for v1::TextRef {
    fn from(text: TextRef) -> Self {
        Self { log: text.log.0, offset: text.offset, length: text.length }
    }
}

impl TryFrom<v1::TextRef> for TextRef {
    type Error = Invalid;

    fn try_from(message: v1::TextRef) -> Checked<Self> {
        let room = limits::LOG_BYTES - u64::from(message.length);
        Ok(Self {
            log: scalar::attempt(message.log, "TextRef.log")?,
            offset: scalar::at_most(message.offset, room, "TextRef.offset")?,
            length: message.length,
        })
    }
}

fn text(message: Option<v1::TextRef>) -> Checked<Option<TextRef>> {
    message.map(TextRef::try_from).transpose()
}

impl From<TestResult> for v1::TestResult {
    fn from(mut result: TestResult) -> Self {
        fit_result(&mut result);
        let [setup_us, call_us, teardown_us] = result.phases;
        Self {
            test: result.test.0,
            ordinal: result.ordinal.into(),
            last: result.last,
            outcome: result.outcome.number(),
            detail: result.detail,
            cause: words::optional_number(result.cause),
            setup_us,
            call_us,
            teardown_us,
            peak_kib: result.peak_kib,
            cpu_us: result.cpu_us,
            started_at: result.started_at,
            message: result.message,
            location: result.location,
            text: result.text.map(Into::into),
        }
    }
}

impl TryFrom<v1::TestResult> for TestResult {
    type Error = Invalid;

    fn try_from(message: v1::TestResult) -> Checked<Self> {
        let micros = |micros, field| scalar::at_most(micros, limits::MICROS, field);
        Ok(Self {
            test: scalar::test(message.test, "TestResult.test")?,
            ordinal: u16::try_from(message.ordinal)
                .map_err(|_| Invalid::new("TestResult.ordinal", "is over 65535"))?,
            last: message.last,
            outcome: words::word(message.outcome, "TestResult.outcome")?,
            detail: scalar::text(message.detail, limits::WORD_BYTES, "TestResult.detail")?,
            cause: words::optional(message.cause, "TestResult.cause")?,
            phases: [
                micros(message.setup_us, "TestResult.setup_us")?,
                micros(message.call_us, "TestResult.call_us")?,
                micros(message.teardown_us, "TestResult.teardown_us")?,
            ],
            peak_kib: scalar::at_most(message.peak_kib, limits::KIB, "TestResult.peak_kib")?,
            cpu_us: scalar::at_most(message.cpu_us, limits::MICROS, "TestResult.cpu_us")?,
            started_at: scalar::at_most(message.started_at, limits::MOMENT, "TestResult.started_at")?,
            message: scalar::text(message.message, limits::LINE_BYTES, "TestResult.message")?,
            location: scalar::text(message.location, limits::LOCATION_BYTES, "TestResult.location")?,
            text: text(message.text)?,
        })
    }
}

impl From<Attachment> for v1::Attachment {
    fn from(file: Attachment) -> Self {
        Self { name: file.name, bytes: file.bytes, blob: file.blob.map(scalar::digest_bytes) }
    }
}

impl TryFrom<v1::Attachment> for Attachment {
    type Error = Invalid;

    fn try_from(message: v1::Attachment) -> Checked<Self> {
        let name = scalar::text(message.name, limits::WORD_BYTES, "Attachment.name")?;
        if !Attachment::is_name(&name) {
            return Err(Invalid::new("Attachment.name", "is no relative path"));
        }
        Ok(Self {
            name,
            bytes: scalar::at_most(message.bytes, limits::MOMENT, "Attachment.bytes")?,
            blob: message.blob.map(|digest| scalar::digest(&digest, "Attachment.blob")).transpose()?,
        })
    }
}

impl From<SuiteError> for v1::SuiteError {
    fn from(error: SuiteError) -> Self {
        Self {
            title: scalar::fitted(error.title, limits::WORD_BYTES),
            message: scalar::fitted(error.message, limits::LINE_BYTES),
            text: error.text.map(Into::into),
        }
    }
}

impl TryFrom<v1::SuiteError> for SuiteError {
    type Error = Invalid;

    fn try_from(message: v1::SuiteError) -> Checked<Self> {
        Ok(Self {
            title: scalar::text(message.title, limits::WORD_BYTES, "SuiteError.title")?,
            message: scalar::text(message.message, limits::LINE_BYTES, "SuiteError.message")?,
            text: text(message.text)?,
        })
    }
}
